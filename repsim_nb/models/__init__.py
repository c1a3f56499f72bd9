"""Networks: `load_model(spec)` gives a `Model`; `zoo()` lists those that ship."""

from .architectures import ARCHITECTURES
from .model import Model
from .running import OUTPUT
from .sources import SOURCES, load_model, normalise, zoo, zoo_names

__all__ = ["ARCHITECTURES", "OUTPUT", "SOURCES", "Model", "load_model", "normalise", "zoo", "zoo_names"]
