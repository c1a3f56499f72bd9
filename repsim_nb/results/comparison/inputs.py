"""Checks of `compare` before it starts: its two sides, and what their labels show already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from repsim_nb import measures
from repsim_nb.measures import Measure, check_same_samples
from repsim_nb.measures.table_inputs import check_sides, to_arrays
from repsim_nb.support.errors import check_name, format_label

OnUndefined = Literal["raise", "mask"]


def open_sides(
    measure: Measure, xs: Mapping[Any, Any], ys: Mapping[Any, Any] | None, on_undefined: str
) -> tuple[dict[Any, Any], dict[Any, Any] | None]:
    """Return both sides as arrays of the same samples, or raise the error that explains what is wrong."""
    check_name("on_undefined", on_undefined, ("raise", "mask"))
    for name, side in (("xs", xs), ("ys", ys)):
        if side is not None and not isinstance(side, Mapping):
            raise TypeError(
                f"compare takes {name} as a mapping of labels to arrays, such as {{'a': x}}; got {type(side).__name__}."
            )
    _check_keys(measure, xs, ys or {})
    _check_outputs(measure, xs, ys or {})
    check_sides({"xs": xs} if ys is None else {"xs": xs, "ys": ys}, measure)
    # opened once: a store maps a file at each access
    left, right = to_arrays(xs), None if ys is None else to_arrays(ys)
    check_same_samples(left, right or {})
    return left, right


def _check_keys(measure: Measure, *sides: Mapping[Any, Any]) -> None:
    """Refuse recordings of other samples, and hidden layers if the measure compares outputs, by their labels."""
    labels = [label for side in sides for label in side]
    data: dict[str, Any] = {}
    on_data = [(side, label) for side in sides for label in side if getattr(label, "dataset", "")]
    aligned = {getattr(side, "aligned", {}).get(label) for side, label in on_data}  # by which call of rs.align
    for _, label in on_data:
        data.setdefault(label.dataset, label)
    if len(data) > 1 and (len(aligned) > 1 or None in aligned):
        (one, first), (other, second), *_ = data.items()
        raise ValueError(
            f"compare needs the same samples in every representation: '{format_label(first)}' was recorded on"
            f" '{one}', '{format_label(second)}' on '{other}'. Select one with x.where(dataset=...). If their samples"
            " correspond, align them by their ids, rs.align(xs, ys), or record both under one dataset name."
        )
    cuts = {
        getattr(label, "pool", ""): label for label in labels if str(getattr(label, "pool", "")).startswith("tokens")
    }
    if len(cuts) > 1:
        first, second, *_ = cuts.values()
        raise ValueError(
            f"compare needs the same samples in every representation: '{format_label(first)}' and"
            f" '{format_label(second)}' split the texts into different tokens, so their rows do not correspond. Record"
            " them with one row for each text: record(..., pool='mean')."
        )
    hidden = [
        label for label in labels if not re.fullmatch(r"output(\.\w+|\[\d+\])?", getattr(label, "layer", "output"))
    ]
    if measure.compares == "outputs" and hidden:
        raise ValueError(
            f"{measures.short_name(measure)} compares outputs of models, and '{format_label(hidden[0])}' is a hidden"
            " layer. Use x.where(layer='output')."
        )


def _check_outputs(measure: Measure, *sides: Mapping[Any, Any]) -> None:
    """Refuse outputs that recordings marked as something else than logits or probabilities (samples, classes)."""
    if measure.compares != "outputs":
        return
    for side in sides:
        known = getattr(side, "no_logits", {})
        for label in side:
            if label in known:
                raise ValueError(
                    f"{measures.short_name(measure)} compares logits (samples, classes); '{format_label(label)}' is"
                    f" something else: {known[label]}"
                )
