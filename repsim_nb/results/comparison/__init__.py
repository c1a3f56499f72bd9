"""Comparisons: one measure over all pairs of two sets of representations, as a labelled table."""

from .comparing import compare, compare_with_moments, pairs
from .inputs import OnUndefined
from .table import Comparison

__all__ = ["Comparison", "OnUndefined", "compare", "compare_with_moments", "pairs"]
