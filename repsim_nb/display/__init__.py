"""Results in, pictures out: matplotlib figures, live widgets, explorers and reports."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submodules=["explorers", "plots", "reports", "specs", "views"]
)
