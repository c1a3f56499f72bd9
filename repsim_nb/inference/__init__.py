"""What a number is worth: what chance alone gives, how far it moves with other samples or other items, rank correlations, groups, and what each sample adds to it."""

from .groups import SpreadTest, anosim, block_means, centre_test, dispersion_test
from .influence import influence
from .intervals import interval, rank_interval
from .levels import sample_sets, unrelated
from .nulls import NullTable, chance_corrected, null_moments, null_table
from .permutations import permutation_test
from .ranks import by_run, rank_correlation
from .results import GroupTest, Interval, Moments, Test
from .sizes import SampleSize, sample_size

__all__ = [
    "GroupTest", "Interval", "Moments", "NullTable", "SampleSize", "SpreadTest", "Test", "anosim", "block_means", "by_run", "chance_corrected", "centre_test", "dispersion_test", "influence", "interval", "null_moments", "null_table",
    "permutation_test", "rank_correlation", "rank_interval", "sample_sets", "sample_size", "unrelated",
]  # fmt: skip
