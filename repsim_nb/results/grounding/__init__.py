"""Tests of measures: whether they follow what models can do, distinguish layers, and detect damage."""

from .benchmark_result import Benchmark
from .damage import DAMAGES, Damage
from .damage_curves import closed_form, sensitivity
from .layer_matching import specificity
from .means_over_pairs import PairMeans, pair_means
from .model_benchmark import MEASURES, benchmark
from .noise import accuracy_reliability, binomial_sd, paired_sd
from .pairs import correlate, functionality, reference_pairs
from .ranking import rank_pairs
from .sensitivity_result import Sensitivity
from .specificity_result import Specificity

__all__ = [
    "DAMAGES",
    "MEASURES",
    "Benchmark",
    "Damage",
    "PairMeans",
    "Sensitivity",
    "Specificity",
    "accuracy_reliability",
    "benchmark",
    "binomial_sd",
    "closed_form",
    "correlate",
    "functionality",
    "pair_means",
    "paired_sd",
    "rank_pairs",
    "reference_pairs",
    "sensitivity",
    "specificity",
]
