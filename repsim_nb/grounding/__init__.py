"""Is a measure worth its number? Whether it finds the same layer in another network, what must be deleted before it notices, and how well it foretells what networks can do."""

from .benchmark import CATALOGUE, Benchmark, benchmark
from .correlations import correlate, reference_pairs, scores
from .sensitivity import Sensitivity, sensitivity
from .specificity import Specificity, specificity

__all__ = ["CATALOGUE", "Benchmark", "Sensitivity", "Specificity", "benchmark", "correlate", "reference_pairs", "scores", "sensitivity", "specificity"]
