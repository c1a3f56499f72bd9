"""Two releases of a model: whether the second represents the data as the first did."""

from .drift_result import Drift
from .judging_layers import drift

__all__ = ["Drift", "drift"]
