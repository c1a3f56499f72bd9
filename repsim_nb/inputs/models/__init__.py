"""Load models: `load_model(spec)` returns a `Model`; `zoo()` and `pretrained()` list models that are installed."""

from typing import TYPE_CHECKING

import lazy_loader

from repsim_nb.support.errors import load_late

if TYPE_CHECKING:
    from .architectures import ARCHITECTURES
    from .loading import load_model
    from .model import Model, is_model
    from .packages import pretrained
    from .preparing import Pictures, Texts
    from .running import OUTPUT
    from .shipped import available, zoo
    from .shipped_names import zoo_names
    from .sources import SOURCES, build, cards, normalise
    from .untrained import untrained_twin

# Most of them need torch: an unknown name of a model is found without it.
_load, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architectures": ["ARCHITECTURES"],
        "model": ["Model", "is_model"],
        "packages": ["pretrained"],
        "preparing": ["Pictures", "Texts"],
        "running": ["OUTPUT"],
        "loading": ["load_model"],
        "shipped": ["available", "zoo"],
        "shipped_names": ["zoo_names"],
        "sources": ["SOURCES", "build", "cards", "normalise"],
        "untrained": ["untrained_twin"],
    },
)
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
__getattr__, __dir__ = load_late("rs.models", _load, __all__)
