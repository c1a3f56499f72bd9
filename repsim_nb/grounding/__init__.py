"""Can the number be trusted? Whether a measure goes with what networks can do, tells layers apart, and notices what is taken away."""

from .pairs import correlate, functionality, reference_pairs

__all__ = ["correlate", "functionality", "reference_pairs"]
