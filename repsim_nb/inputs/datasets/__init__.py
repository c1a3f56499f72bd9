"""Data in a fixed order: your own as a `Dataset`, and data sets without a download by `load_dataset(name)`."""

from .dataset import Dataset
from .episodes import VisitedStates, returns, rollouts
from .inputs import fingerprint_inputs
from .packages import animals_10k, mnist_5k
from .sources import DATASETS, SPLITS, balanced, describe, load_dataset

__all__ = [
    "DATASETS",
    "SPLITS",
    "Dataset",
    "VisitedStates",
    "animals_10k",
    "balanced",
    "describe",
    "fingerprint_inputs",
    "load_dataset",
    "mnist_5k",
    "returns",
    "rollouts",
]
