"""Data in a fixed order: your own as a `Dataset`, and data sets without a download by `load_dataset(name)`."""

from typing import TYPE_CHECKING

import lazy_loader

from repsim_nb.support.errors import load_late

if TYPE_CHECKING:
    from .dataset import Dataset
    from .episodes import VisitedStates, returns, rollouts
    from .inputs import fingerprint_inputs
    from .packages import animals_10k, mnist_5k
    from .published import BrainRDMs, brains, imagenet_distances, imagenet_models
    from .sources import DATASETS, SPLITS, balanced, describe, load_dataset

# Most of them need torch: an unknown name of a data set is found without it.
_load, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dataset": ["Dataset"],
        "episodes": ["VisitedStates", "returns", "rollouts"],
        "inputs": ["fingerprint_inputs"],
        "packages": ["animals_10k", "mnist_5k"],
        "published": ["BrainRDMs", "brains", "imagenet_distances", "imagenet_models"],
        "sources": ["DATASETS", "SPLITS", "balanced", "describe", "load_dataset"],
    },
)
__all__ = [
    "DATASETS",
    "SPLITS",
    "BrainRDMs",
    "Dataset",
    "VisitedStates",
    "animals_10k",
    "balanced",
    "brains",
    "describe",
    "fingerprint_inputs",
    "imagenet_distances",
    "imagenet_models",
    "load_dataset",
    "mnist_5k",
    "returns",
    "rollouts",
]
__getattr__, __dir__ = load_late("rs.datasets", _load, __all__)
