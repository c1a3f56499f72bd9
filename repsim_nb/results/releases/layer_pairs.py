"""Which layer of one release is which layer of the next: by name, by a given renaming, and what has no partner."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from repsim_nb.support.errors import check_name, join_names


class Recorded(NamedTuple):
    """The recordings of the old and the new model, on the same samples.

    names: of both models.  data: the name of the samples.  left_out: of each model, {layer that was asked for, or is a
    default layer: why it could not be recorded}.  without_values: those of them that are constant or give NaN.
    notes: what recording warned of.
    """

    sides: list[Mapping[Any, Any]]
    names: list[str]
    data: str
    left_out: list[Mapping[str, str]]
    without_values: list[Collection[str]]
    notes: list[str]


class LayerPair(NamedTuple):
    """A layer of the old release and its partner in the new one; None if there is none."""

    old: str | None
    new: str | None

    @property
    def label(self) -> str:
        """The layer as text: "fc", "fc → head", "fc (only in old)"."""
        if self.old is None or self.new is None:
            return f"{self.old or self.new} (only in {'old' if self.new is None else 'new'})"
        return self.old if self.old == self.new else f"{self.old} → {self.new}"


def arrays_by_layer(side: Mapping[Any, Any], what: str) -> dict[str, Any]:
    """Return {layer: array}; ValueError if a layer is there twice, as in recordings of two models or two steps."""
    found: dict[str, Any] = {}
    for key in side:
        layer = str(getattr(key, "layer", key))
        if layer in found:
            raise ValueError(
                f"{what} must have one recording of each layer; '{layer}' is there twice among {join_names(side, 4)}."
                " Select one model and one step with .where(model=..., step=...)."
            )
        found[layer] = side[key]
    if not found:
        raise ValueError(f"{what} has no layer to compare.")
    return found


def pair_layers(old: Iterable[str], new: Iterable[str], rename: Mapping[str, str]) -> list[LayerPair]:
    """Pair layers by name, or as `rename` says, in the order of the old ones; layers of the new one alone come last."""
    old, new = list(old), list(new)
    for before, after in rename.items():
        check_name("layer of the old model in rename", before, old)
        check_name("layer of the new model in rename", after, new)
    if len(set(rename.values())) < len(rename):
        raise ValueError(f"rename must give each layer another partner; got {dict(rename)}.")
    taken = set(rename.values())
    pairs = []
    for layer in old:
        partner = rename.get(layer, layer if layer in new and layer not in taken else None)
        pairs.append(LayerPair(layer, partner))
    partners = {pair.new for pair in pairs}
    return pairs + [LayerPair(None, layer) for layer in new if layer not in partners]


def likely_partners(values: pd.DataFrame, pairs: Iterable[LayerPair], at_least: float) -> dict[str, tuple[str, float]]:
    """Return {old layer without a partner: (new layer without one, value)}, each the most similar of the other.

    values: the similarity of all layers of both, with the names of layers on both axes. Only similarities of at least
    `at_least` count.
    """
    alone_old = [pair.old for pair in pairs if pair.old is not None and pair.new is None]
    alone_new = [pair.new for pair in pairs if pair.new is not None and pair.old is None]
    if not alone_old or not alone_new:
        return {}
    block = values.loc[alone_old, alone_new].astype(float).fillna(-math.inf)
    found = {}
    for layer in alone_old:
        best = str(block.loc[layer].idxmax())
        value = float(block.loc[layer, best])
        if value >= at_least and block[best].idxmax() == layer:
            found[layer] = best, value
    return found
