"""Layers without a value: those that only one release has, that cannot be recorded, or that are constant in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repsim_nb.support.errors import UndefinedError, as_clause
from repsim_nb.support.validation import check_representation

from .drift_result import CHANGED, UNDECIDED
from .layer_pairs import LayerPair, Recorded

WORDS = ("old", "new")
_OTHERWISE = "has different values for different samples"


def judge_lost(x: Any, y: Any) -> tuple[str, str] | None:
    """Return the verdict and the note on a layer that is constant, NaN or infinite in a release; None if in neither.

    If it is so in one release only, it has changed, though no similarity is defined.
    """
    reasons = [_why_unusable(side) for side in (x, y)]
    if all(reasons):
        return UNDECIDED, "; in the new model ".join(dict.fromkeys(reasons))
    if not any(reasons):
        return None
    word, other = WORDS if reasons[0] else WORDS[::-1]
    return CHANGED, f"in the {word} model {reasons[0] or reasons[1]}; in the {other} model it {_OTHERWISE}"


def _why_unusable(x: Any) -> str:
    try:
        check_representation(x)
    except UndefinedError as why:
        return as_clause(why)
    return ""


def rows_not_recorded(recorded: Recorded, rename: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of layers that could be recorded of neither model."""
    old, new = recorded.left_out
    pairs = [(layer, rename.get(layer, layer), why) for layer, why in old.items()]
    return [
        {
            "measure": "",
            "layer": layer,
            "new_layer": partner,
            "verdict": UNDECIDED,
            "note": f"not recorded: it {as_clause(why)}",
        }
        for layer, partner, why in pairs
        if partner in new
    ]


def judge_alone(
    pair: LayerPair, partners: Mapping[str, tuple[str, float]], recorded: Recorded, rename: Mapping[str, str]
) -> dict[str, Any]:
    """Return the verdict on a layer that only one side has, and why, or the name of a likely partner.

    A layer that the other side has as well, constant or with NaN for all samples that were tried, has changed.
    """
    here = 0 if pair.new is None else 1
    layer = str(pair.old or pair.new)
    names = rename if here == 0 else {after: before for before, after in rename.items()}
    there = names.get(layer, layer)
    why = recorded.left_out[1 - here].get(there, "")
    note = f"in the {WORDS[1 - here]} model it {as_clause(why)}" if why else "it cannot be compared"
    if there in recorded.without_values[1 - here]:
        both = {"layer": layer, "new_layer": there} if here == 0 else {"layer": there, "new_layer": layer}
        return both | {"verdict": CHANGED, "note": f"{note}; in the {WORDS[here]} model it {_OTHERWISE}"}
    for old, (new, value) in partners.items():
        if pair.old == old or pair.new == new:
            other = new if pair.old == old else old
            note = (
                f"{note}; '{other}' of the other model is {value:.3f} similar: if it is the same layer, rename"
                f" {old} to {new}"
            )
    return {"verdict": f"only in {WORDS[here]}", "note": note}
