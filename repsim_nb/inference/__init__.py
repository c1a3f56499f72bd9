"""What a number is worth: rank correlations, tests by permutation, means within and between groups, and the levels of having nothing in common and of another sample set."""

from .groups import anosim, block_means
from .intervals import rank_interval
from .levels import sample_sets, unrelated
from .ranks import by_run, rank_correlation
from .results import GroupTest, Interval, Test

__all__ = ["GroupTest", "Interval", "Test", "anosim", "block_means", "by_run", "rank_correlation", "rank_interval", "sample_sets", "unrelated"]
