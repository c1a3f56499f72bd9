"""Can the number be trusted?

Whether a measure goes with what models can do, tells layers apart, and notices what is taken away.
"""

from .curves import Sensitivity, closed_form, sensitivity
from .damage import DAMAGES, Damage
from .functionality import binomial_sd, paired_sd, reliability
from .layers import Specificity, specificity
from .means import PairMeans, pair_means
from .pairs import correlate, functionality, reference_pairs
from .ranking import MEASURES, benchmark, rank_pairs
from .results import Benchmark

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
