"""Can the number be trusted? Whether a measure goes with what networks can do, tells layers apart, and notices what is taken away."""

from .deletions import Sensitivity, closed_form, sensitivity
from .layers import Specificity, specificity
from .pairs import correlate, functionality, reference_pairs
from .ranking import MEASURES, Benchmark, benchmark, ranked

__all__ = [
    "MEASURES", "Benchmark", "Sensitivity", "Specificity", "benchmark", "closed_form", "correlate", "functionality", "ranked", "reference_pairs",
    "sensitivity", "specificity",
]  # fmt: skip
