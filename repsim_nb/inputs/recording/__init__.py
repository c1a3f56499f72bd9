"""Running models over data and recording the activations of their layers: `record`; and the `Run` that streaming
shares.
"""

from .distinct import refuse_shared
from .keep import record
from .run import Run, dataset_of, warn_left_out

__all__ = ["Run", "dataset_of", "record", "refuse_shared", "warn_left_out"]
