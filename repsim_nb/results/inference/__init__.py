"""How far a number can be trusted: chance levels, intervals, rank correlations, tests of groups, influence."""

from .best_matches import BestMatch, best_match
from .blocks import block_means
from .ceilings import NoiseCeiling, noise_ceiling
from .correlation_differences import rank_differences
from .dispersion import SpreadTest, dispersion_test
from .group_contrasts import contrasts
from .group_tests import anosim, centre_test
from .intervals import interval, rank_interval
from .judging import cannot_ask, judge, judge_exact, judge_p
from .levels import chance_values, sample_sets
from .locating import locate_differences
from .model_comparisons import ModelComparison, compare_models
from .null_tables import NullTable, null_table
from .nulls import chance_corrected, null_moments
from .permutations import permutation_test
from .rank_correlations import rank_correlation
from .results import GroupTest, Interval, Moments, Test
from .reweighting import Reweighted, reweighted_rsa
from .sample_differences import NeighbourConfusion, SampleDifferences
from .sample_influence import influence
from .sample_sizes import SampleSize, sample_size
from .shape_intervals import procrustes_interval
from .units import holm
from .verdicts import Verdict

__all__ = [
    "BestMatch",
    "GroupTest",
    "Interval",
    "ModelComparison",
    "Moments",
    "NeighbourConfusion",
    "NoiseCeiling",
    "NullTable",
    "Reweighted",
    "SampleDifferences",
    "SampleSize",
    "SpreadTest",
    "Test",
    "Verdict",
    "anosim",
    "best_match",
    "block_means",
    "cannot_ask",
    "centre_test",
    "chance_corrected",
    "chance_values",
    "compare_models",
    "contrasts",
    "dispersion_test",
    "holm",
    "influence",
    "interval",
    "judge",
    "judge_exact",
    "judge_p",
    "locate_differences",
    "noise_ceiling",
    "null_moments",
    "null_table",
    "permutation_test",
    "procrustes_interval",
    "rank_correlation",
    "rank_differences",
    "rank_interval",
    "reweighted_rsa",
    "sample_sets",
    "sample_size",
]
