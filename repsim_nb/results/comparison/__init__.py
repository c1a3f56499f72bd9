"""Comparisons: one measure over all pairs of two sets of representations, as a labelled table."""

from .comparing import compare, pairs
from .table import Comparison

__all__ = ["Comparison", "compare", "pairs"]
