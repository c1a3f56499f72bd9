"""Can the number be trusted?

Whether a measure goes with what models can do, distinguishes layers, and notices what is taken away.
"""

from .benchmark_result import Benchmark
from .candidates import MEASURES
from .closed_forms import closed_form
from .correlation import correlate
from .damage import DAMAGES, Damage
from .damage_curves import sensitivity
from .gaps import functionality, reference_pairs
from .layer_matching import specificity
from .means_over_pairs import PairMeans, pair_means
from .model_benchmark import benchmark
from .noise import binomial_sd, paired_sd, reliability
from .pair_benchmark import rank_pairs
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
    "benchmark",
    "binomial_sd",
    "closed_form",
    "correlate",
    "functionality",
    "pair_means",
    "paired_sd",
    "rank_pairs",
    "reference_pairs",
    "reliability",
    "sensitivity",
    "specificity",
]
