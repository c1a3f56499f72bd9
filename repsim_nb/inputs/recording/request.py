"""`LayerRequest`: which layers of a model were asked for, and along which axis their features lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from repsim_nb.inputs.models import OUTPUT, Model
from repsim_nb.inputs.models.model import AUTO, list_layers
from repsim_nb.support.errors import join_names
from repsim_nb.support.validation import is_integer


class LayerRequest:
    """The layers that a call asks for, before it is known which of them can be recorded.

    names: layers asked for by a name or a pattern.  by_name: those asked for by a name.  usual: the layers that numbers
    count, and that "auto" or no request means.  numbers: as given.  axes: the axis of features by layer, "" for all.
    """

    def __init__(self, model: Model, layers: Any, axis: int | Mapping[str, int] | None) -> None:
        asked = list_layers(AUTO if layers is None else layers)
        words = [layer for layer in asked if isinstance(layer, str) and layer != AUTO]
        self.model = model
        self.numbers = [layer for layer in asked if not isinstance(layer, str)]
        self.auto = AUTO in asked
        self.names, self.by_name = model.check_layers(words) if words else (), model.by_name(words)
        self.usual: tuple[str, ...] = ()
        if layers is None or self.numbers:
            self.usual = model.layers
        elif self.auto:
            self.usual = model.check_layers(AUTO)
        self.axes = _axis_by_layer(model, axis)

    @property
    def layers(self) -> list[str]:
        """All layers that may be recorded."""
        return list(dict.fromkeys([*self.names, *self.usual]))

    @property
    def question(self) -> tuple[Any, ...]:
        """The request as a value that can be fingerprinted."""
        return self.names, self.usual, self.auto, tuple(self.numbers), tuple(sorted(self.axes.items()))

    @property
    def is_exact(self) -> bool:
        """Whether it names each layer; if not, only a run shows which layers it means."""
        return not self.usual and self.by_name == set(self.names)

    def axis_of(self, *names: str) -> int | None:
        """Return the axis of the features that the user gave for a layer, for its module, or for all layers."""
        around = [other for name in names for other in (name.partition("[")[0], module_of(name))]
        return next((self.axes[name] for name in (*names, *around, "") if name in self.axes), None)

    def choose(self, found: Iterable[str], usual: list[str]) -> tuple[set[str], set[str]]:
        """Return the layers to record, and those of them that were asked for one by one, whose problems are errors.

        found: the layers that can be recorded.  usual: the layers that numbers count.
        """
        for number in self.numbers:
            if not -len(usual) <= number < len(usual):
                raise ValueError(
                    f"'{self.model.name}' has {len(usual)} layers, {join_names(usual)}; there is no number {number}."
                )
        by_number = {usual[number] for number in self.numbers}
        wanted = by_number | {layer for layer in found if is_one_of(layer, self.names)}
        wanted |= set(usual) if self.auto else set()
        return wanted, by_number | {layer for layer in wanted if is_one_of(layer, self.by_name)}


def module_of(layer: str) -> str:
    """Return the module of a layer that is a call or an item: "act" for "act#2" and "act[1]".

    "output#1" is a layer of its own, and no call of "output".
    """
    layer = layer.partition("[")[0]
    base = layer.rpartition("#")[0]
    return base if base and base != OUTPUT else layer


def is_one_of(layer: str, names: Iterable[str]) -> bool:
    """Return whether a layer was asked for by one of these names of layers or modules."""
    return layer in names or module_of(layer) in names


def _axis_by_layer(model: Model, axis: Any) -> dict[str, int]:
    """Return the option `axis` by layer; "" means all layers. ValueError if it is no axis, or for unknown layers."""
    given = dict(axis) if isinstance(axis, Mapping) else {} if axis is None else {"": axis}
    for layer, at in given.items():
        if not is_integer(at) or at == 0:
            raise ValueError(
                "axis must be the axis of the features, an integer such as 1 or -1 (axis 0 contains the samples), or a"
                f" dict {{layer: axis}}; got {at!r}" + (f" for '{layer}'." if layer else ".")
            )
    return {name: int(at) for layer, at in given.items() for name in (model.check_layers(layer) if layer else ("",))}
