"""Run a notebook with parameters, and read it as one HTML file that needs neither the notebook nor a model."""

from repsim_nb.support.escaping import literal  # for notebooks that write names into Markdown

from .baselines import compare_with_untrained, headline
from .pages import to_html
from .running import main, notebook_path, parse_parameters, run

__all__ = [
    "compare_with_untrained",
    "headline",
    "literal",
    "main",
    "notebook_path",
    "parse_parameters",
    "run",
    "to_html",
]
