"""What a number is worth: what chance alone gives, how far it moves with other samples or other items, rank correlations, groups, and what each sample adds to it."""

from .groups import anosim, block_means
from .influence import influence
from .intervals import interval, rank_interval
from .levels import sample_sets, unrelated
from .nulls import NullTable, calibrated, null_moments, null_table, permutation_test
from .ranks import by_run, rank_correlation
from .results import GroupTest, Interval, Moments, Test
from .sizes import SampleSize, sample_size

__all__ = [
    "GroupTest", "Interval", "Moments", "NullTable", "SampleSize", "Test", "anosim", "block_means", "by_run", "calibrated", "influence", "interval", "null_moments", "null_table",
    "permutation_test", "rank_correlation", "rank_interval", "sample_sets", "sample_size", "unrelated",
]  # fmt: skip
