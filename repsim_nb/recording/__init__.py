"""Running models over data to keep what their layers say: `record`; and the `Run` that streaming shares."""

from .keep import record
from .run import Run, dataset_of, length_of

__all__ = ["Run", "dataset_of", "length_of", "record"]
