"""A network and what is needed to record it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..errors import unknown
from .running import OUTPUT, capture, evaluating, forward


def images(batch: Any) -> Any:
    """The default `preprocess`: uint8 pictures become float32 in [0, 1], channels first; other arrays become float32 tensors.

    (n, h, w) -> (n, 1, h, w);  (n, h, w, c) -> (n, c, h, w).  Other tensors, and lists, pass unchanged.
    """
    if isinstance(batch, list) or (isinstance(batch, Tensor) and batch.dtype != torch.uint8):
        return batch
    array = np.asarray(batch)
    if array.dtype != np.uint8:
        return torch.as_tensor(array, dtype=None if array.dtype.kind in "iub" else torch.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(array)).float() / 255
    return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


def default_layers(module: nn.Module) -> tuple[str, ...]:
    """What is recorded of a network that does not say: its `layers` attribute, else every leaf that owns parameters; then the output."""
    own = getattr(module, "layers", None)
    known = dict(module.named_modules())
    if isinstance(own, (tuple, list)) and own and all(isinstance(name, str) and name in known for name in own):
        return (*own, OUTPUT)
    leaves = [name for name, m in module.named_modules() if name and not any(m.children()) and any(True for _ in m.parameters())]
    return (*leaves, OUTPUT)


@dataclass(frozen=True)
class Model:
    """A named network, ready to record.

    layers: what `record` takes by default, in the order in which the module registers them (a network of the zoo: forward order);
    the last is "output", what the network returns. Any other name of `module.named_modules()` can be recorded too.
    card: what is known of it (architecture, data, seed, accuracy, ...).
    """

    name: str
    module: nn.Module = field(repr=False)
    preprocess: Callable[[Any], Any] = field(default=images, repr=False)
    layers: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def check_layers(self, layers: str | int | Sequence[str | int] | None) -> tuple[str, ...]:
        """The names of the layers asked for; a number counts in `layers`, so that -2 is the one before the output.

        ValueError with the nearest names where one is unknown, or is asked for twice.
        """
        if layers is None:
            return self.layers
        layers = (layers,) if isinstance(layers, (str, int)) else tuple(layers)
        for number in (name for name in layers if isinstance(name, int)):
            if not -len(self.layers) <= number < len(self.layers):
                raise ValueError(f"'{self.name}' has {len(self.layers)} layers; there is no number {number}")
        layers = tuple(self.layers[name] if isinstance(name, int) else name for name in layers)
        known = [name for name, _ in self.module.named_modules() if name]
        for name in layers:
            if name != OUTPUT and name not in known:
                raise unknown(f"layer of '{self.name}'", name, dict.fromkeys([*self.layers, *known]))
        if not layers or len(set(layers)) < len(layers):
            raise ValueError(f"layers of '{self.name}' must be at least one and all different; got {list(layers)}")
        return layers

    def describe(self, inputs: Any = None) -> pd.DataFrame:
        """A row a layer, in forward order: its type, its parameters and, where an input is known, the shape of one sample's activation.

        inputs: a small batch as `record` would take it; a network of the zoo knows its own.
        """
        modules = dict(self.module.named_modules())
        rows = {}
        for name in self.layers:
            m = self.module if name == OUTPUT else modules[name]
            rows[name] = {"type": type(m).__name__, "parameters": sum(p.numel() for p in m.parameters())}
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")
        table.loc[OUTPUT, "type"] = f"{type(self.module).__name__} (whole)"
        if inputs is None and "input_shape" in self.card:
            inputs = np.zeros((1, *self.card["input_shape"]), np.uint8)
        if inputs is not None:
            shapes = _shapes(self, inputs)
            table["shape"] = [shapes.get(name) for name in table.index]
            table = table.loc[sorted(table.index, key=list(shapes).index)] if len(shapes) == len(table) else table
        return table


def _shapes(model: Model, inputs: Any) -> dict[str, tuple[int, ...]]:
    """The shape of one sample's activation at each layer, in the order in which the layers run."""
    seen: dict[str, tuple[int, ...]] = {}

    def note(name: str, out: Any) -> None:
        if isinstance(out, Tensor):
            seen.setdefault(name, tuple(out.shape[1:]))

    with capture(model.module, model.layers, note), evaluating(model.module) as place:
        forward(model.module, model.preprocess(inputs), place)
    return seen
