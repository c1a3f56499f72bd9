"""Run a notebook with parameters, and read it as one HTML file that needs neither the notebook nor a model."""

import lazy_loader

from repsim_nb.support.errors import load_late
from repsim_nb.support.escaping import literal  # for notebooks that write names into Markdown

# Baselines need scipy, and pictures matplotlib: the command line finds a wrong parameter without them.
_load, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["compare_with_untrained", "headline"],
        "live_pictures": ["LivePicture", "live"],
        "pages": ["to_html"],
        "running": ["notebook_path", "run"],
    },
)
__all__ = ["LivePicture", "compare_with_untrained", "headline", "literal", "live", "notebook_path", "run", "to_html"]
__getattr__, __dir__ = load_late("rs.reports", _load, __all__)
