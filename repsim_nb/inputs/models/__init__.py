"""Load models: `load_model(spec)` returns a `Model`; `zoo()` and `pretrained()` list models that are installed."""

from .architectures import ARCHITECTURES
from .model import Model, is_model
from .packages import pretrained
from .preparing import Pictures, Texts
from .running import OUTPUT
from .shipped import available, zoo, zoo_names
from .sources import SOURCES, build, cards, load_model, normalise
from .untrained import untrained_twin

__all__ = [
    "ARCHITECTURES",
    "OUTPUT",
    "SOURCES",
    "Model",
    "Pictures",
    "Texts",
    "available",
    "build",
    "cards",
    "is_model",
    "load_model",
    "normalise",
    "pretrained",
    "untrained_twin",
    "zoo",
    "zoo_names",
]
