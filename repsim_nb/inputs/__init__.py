"""Data and models in, representations out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "batches",
        "code_analysis",
        "datasets",
        "fingerprints",
        "models",
        "policies",
        "pooling",
        "randomness",
        "recording",
        "store",
    ],
)
