"""What a number is worth: rank correlations, tests by permutation, and the levels of having nothing in common and of another sample set."""

from .groups import anosim
from .levels import sample_sets, unrelated
from .ranks import by_run, rank_correlation
from .results import GroupTest, Test

__all__ = ["GroupTest", "Test", "anosim", "by_run", "rank_correlation", "sample_sets", "unrelated"]
