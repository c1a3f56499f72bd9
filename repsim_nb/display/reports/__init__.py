"""Run a notebook with parameters, and read it as one HTML file that needs neither the notebook nor a model."""

from repsim_nb.support.escaping import literal  # for notebooks that write names into Markdown

from .baselines import compare_with_untrained, headline
from .live_pictures import LivePicture, live
from .pages import to_html
from .running import notebook_path, run

__all__ = ["LivePicture", "compare_with_untrained", "headline", "literal", "live", "notebook_path", "run", "to_html"]
