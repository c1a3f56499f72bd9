"""Results: tables of comparisons, and what tests, maps, probes and benchmarks make of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "comparison",
        "embedding",
        "grounding",
        "inference",
        "probes",
        "reliability",
        "streaming",
        "trajectories",
    ],
)
