"""Data in a fixed order: your own as a `Dataset`, and data sets without a download by `load_dataset(name)`."""

from .dataset import Dataset
from .episodes import VisitedStates, returns, rollouts
from .inputs import fingerprint_inputs
from .packages import animals_10k, mnist_5k
from .published import BrainRDMs, brains, imagenet_distances, imagenet_models
from .sources import DATASETS, SPLITS, balanced, describe, load_dataset

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
