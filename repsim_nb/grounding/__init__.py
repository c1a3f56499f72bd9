"""Can the number be trusted? Whether a measure goes with what networks can do, tells layers apart, and notices what is taken away."""

from .pairs import correlate, functionality, reference_pairs
from .ranking import MEASURES, Benchmark, benchmark, ranked

__all__ = ["MEASURES", "Benchmark", "benchmark", "correlate", "functionality", "ranked", "reference_pairs"]
