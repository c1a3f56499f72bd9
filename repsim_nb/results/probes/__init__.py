"""Linear probes: what a classifier reads from representations.

`dataset_bias` asks which model, and which data, they came from; `linear_probe` reads any targets.
"""

from .probing import dataset_bias, linear_probe
from .results import DatasetProbe, Probe, group_breaks

__all__ = ["DatasetProbe", "Probe", "dataset_bias", "group_breaks", "linear_probe"]
