"""What a number is worth: rank correlations, tests by permutation, and the levels of having nothing in common and of another sample set."""

from .groups import anosim
from .intervals import rank_interval
from .levels import sample_sets, unrelated
from .ranks import by_run, rank_correlation
from .results import GroupTest, Interval, Test

__all__ = ["GroupTest", "Interval", "Test", "anosim", "by_run", "rank_correlation", "rank_interval", "sample_sets", "unrelated"]
