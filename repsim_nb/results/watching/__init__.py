"""Training as it runs: the representations of a fixed set of samples, compared along the way."""

from .training_record import TrainingRecord

__all__ = ["TrainingRecord"]
