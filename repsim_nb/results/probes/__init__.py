"""Linear probes: what a classifier reads from representations.

`dataset_bias` asks which model, and which data, they came from; `linear_probe` reads any targets.
"""

from .dataset_probe import dataset_bias
from .results import DatasetProbe, Probe, group_breaks
from .target_probe import linear_probe

__all__ = ["DatasetProbe", "Probe", "dataset_bias", "group_breaks", "linear_probe"]
