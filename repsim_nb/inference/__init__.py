"""What a number is worth: rank correlations, tests by permutation, what shuffled samples give in closed form, means within and between groups, and the levels of having nothing in common and of another sample set."""

from .groups import anosim, block_means
from .intervals import rank_interval
from .levels import sample_sets, unrelated
from .nulls import NullTable, calibrated, null_moments, null_table, permutation_test
from .ranks import by_run, rank_correlation
from .results import GroupTest, Interval, Moments, Test

__all__ = [
    "GroupTest", "Interval", "Moments", "NullTable", "Test", "anosim", "block_means", "by_run", "calibrated", "null_moments", "null_table", "permutation_test", "rank_correlation",
    "rank_interval", "sample_sets", "unrelated",
]  # fmt: skip
