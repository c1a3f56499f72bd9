"""Linear probes: what a classifier reads from representations.

`dataset_bias` predicts which model, and which data, they come from; `linear_probe` predicts any classes.
"""

from .probing import dataset_bias, linear_probe
from .results import DatasetProbe, Probe, group_breaks

__all__ = ["DatasetProbe", "Probe", "dataset_bias", "group_breaks", "linear_probe"]
