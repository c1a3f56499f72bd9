"""A network and what is needed to record it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..errors import listed, unknown
from .layers import blocks, is_pattern, matching
from .running import OUTPUT, capture, evaluating, forward, module_of, tensor_of

AUTO = "auto"


def images(batch: Any) -> Any:
    """The default `preprocess`: uint8 pictures become float32 in [0, 1], channels first; other arrays become tensors of their type.

    (n, h, w) -> (n, 1, h, w);  (n, h, w, c) -> (n, c, h, w).  Other tensors, and lists, pass unchanged. (Numbers take the precision of
    the weights when they enter the network.)
    """
    if isinstance(batch, Mapping):
        return {name: torch.as_tensor(column) if isinstance(column, np.ndarray) else column for name, column in batch.items()}
    if isinstance(batch, list) or (isinstance(batch, Tensor) and batch.dtype != torch.uint8):
        return batch
    array = np.asarray(batch)
    if array.dtype != np.uint8:
        return torch.tensor(array)
    tensor = torch.from_numpy(np.require(array, requirements=("C", "W"))).float() / 255  # torch warns of what cannot be written to
    return tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


@dataclass(frozen=True)
class Model:
    """A named network, ready to record.

    layers: what `record` takes by default (one a block), the last being "output", what the network returns; `describe` shows them with
    their shapes. Any other module can be recorded too, by its name.
    card: what is known of it (architecture, data, seed, accuracy, ...).
    """

    name: str
    module: nn.Module = field(repr=False)
    preprocess: Callable[[Any], Any] = field(default=images, repr=False)
    layers: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def check_layers(self, layers: str | int | Sequence[str | int] | None) -> tuple[str, ...]:
        """The names of the layers asked for; None is `self.layers`.

        Each is a name of a module, "output", a number that counts in `self.layers` (-2 is the one before the output), "auto" (one a block),
        or a pattern: "blocks.*.mlp" (* within a part of the name, ** for any number of parts). "act#2" is the second call of act in one pass.
        ValueError with the nearest names where one is unknown, or is asked for twice by name.
        """
        if layers is None:
            return self.layers
        layers = one_by_one(layers)
        modules = dict(self.module.named_modules(remove_duplicate=False))
        known = [name for name, _ in self.module.named_modules() if name]
        found: list[str] = []
        for layer in layers:
            if isinstance(layer, int):
                if not -len(self.layers) <= layer < len(self.layers):
                    raise ValueError(f"'{self.name}' has {len(self.layers)} layers; there is no number {layer}")
                names = [self.layers[layer]]
            elif layer == AUTO and AUTO not in modules:
                names = [*blocks(self.module), OUTPUT]
            elif is_pattern(layer):
                names = matching(layer, [*known, OUTPUT])
                if not names:
                    raise ValueError(f"no layer of '{self.name}' fits the pattern '{layer}' (* stands for one part of a name, ** for any number). There are {listed(known, 20)}")
            else:
                if layer != OUTPUT and (not layer or module_of(layer, modules)[0] not in modules):
                    raise unknown("layer", layer, dict.fromkeys([*self.layers, *known]), f"These are the layers of '{self.name}'.")
                names = [layer]
            if not is_pattern(str(layer)) and any(name in found for name in names):
                raise ValueError(f"layers of '{self.name}' must be all different; got {list(layers)}")
            found += [name for name in names if name not in found]
        if not found:
            raise ValueError(f"layers of '{self.name}' must be at least one; got {list(layers)}")
        return tuple(found)

    def by_name(self, layers: str | int | Sequence[str | int] | None) -> frozenset[str]:
        """Those of the layers asked for that were meant one by one: it is an error if they cannot be recorded, not so with a pattern's."""
        one = [layer for layer in one_by_one(layers or ()) if isinstance(layer, int) or not (is_pattern(layer) or layer == AUTO)]
        return frozenset(self.check_layers(one)) if one else frozenset()

    def describe(self, inputs: Any = None, layers: str | int | Sequence[str | int] | None = None) -> pd.DataFrame:
        """A row a layer: its type, its parameters and, where an input is known, in forward order with the shape of one sample's activation.

        inputs: a small batch as `record` would take it; most networks know one of their own.  layers: as for `record`; "**" is every module.
        """
        given, inputs = inputs is not None, self.example() if inputs is None else inputs
        wanted, seen = self.check_layers(layers), {}
        try:
            seen = {} if inputs is None else _shapes(self, inputs, wanted)
        except Exception:
            if given:
                raise
            inputs = None  # what its card says was not enough: the table comes without shapes
        order = {name: place for place, name in enumerate(seen)}
        modules = dict(self.module.named_modules(remove_duplicate=False))
        rows: dict[str, dict[str, Any]] = {}
        for name in sorted(wanted, key=lambda name: order.get(name, len(order))):
            module = self.module if name == OUTPUT else modules[module_of(name, modules)[0]]
            rows[name] = {"type": type(module).__name__ + (" (whole)" if name == OUTPUT else ""), "parameters": sum(p.numel() for p in module.parameters())}
            if inputs is not None:
                rows[name]["shape"] = seen.get(name)
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("layer")

    def example(self) -> Any:
        """Two inputs of the form that the network takes, as far as that is known; else None."""
        if hasattr(self.preprocess, "example"):
            return self.preprocess.example()
        return np.zeros((2, *self.card["input_shape"]), np.uint8) if "input_shape" in self.card else None


def table_of_cards(cards: Iterable[tuple[str, Mapping[str, Any]]]) -> pd.DataFrame:
    """(name, card) one by one as a row each, in their order: the fields of the cards, but for lists, dicts and the name, which is the index."""
    named = list(cards)
    rows = [{key: value for key, value in card.items() if key != "name" and not isinstance(value, (list, tuple, Mapping))} for _, card in named]
    return pd.DataFrame(rows, index=pd.Index([name for name, _ in named], name="model"))


def one_by_one(layers: str | int | Sequence[str | int]) -> tuple[str | int, ...]:
    """What was asked for as a tuple; TypeError where that is neither names nor numbers."""
    found = (layers,) if isinstance(layers, (str, int)) else tuple(layers) if isinstance(layers, Iterable) else (layers,)
    for layer in found:
        if not isinstance(layer, (str, int)) or isinstance(layer, bool):
            raise TypeError(f"layers are names, patterns or whole numbers; got {layer!r}")
    return found


def _shapes(model: Model, inputs: Any, layers: Sequence[str]) -> dict[str, tuple[int, ...] | None]:
    """The shape of one sample's activation at each layer, in the order in which the layers first end; None where it gives no tensor."""
    seen: dict[str, tuple[int, ...] | None] = {}

    def note(name: str, out: Any) -> None:
        try:
            seen.setdefault(name, tuple(tensor_of(out).shape[1:]))
        except ValueError:
            seen.setdefault(name, None)

    with capture(model.module, layers, note), evaluating(model.module) as place:
        forward(model.module, model.preprocess(inputs), place)
    return seen
