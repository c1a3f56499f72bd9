"""Run models over data and record the activations of their layers: `record`, and `Run`, which streaming uses too."""

from .arguments import refuse_shared
from .record_models import record
from .run import Run, to_dataset, warn_left_out

__all__ = ["Run", "record", "refuse_shared", "to_dataset", "warn_left_out"]
