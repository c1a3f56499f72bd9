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
    sides = {"xs": xs} if ys is None else {"xs": xs, "ys": ys}
    _check_same_data(*sides.values())
    _check_same_tokens(*sides.values())
    _check_outputs(measure, *sides.values())
    check_sides(sides, measure)
    # opened once: a store maps a file at each access
    left, right = to_arrays(xs), None if ys is None else to_arrays(ys)
    check_same_samples(left, right or {})
    return left, right


def _check_same_data(*sides: Mapping[Any, Any]) -> None:
    """Refuse recordings on several data sets, unless `rs.align` aligned these data sets with each other."""
    data: dict[str, Any] = {}
    labels_of_align: set[str | None] = set()
    for side in sides:
        aligned = getattr(side, "aligned", {})
        for label in side:
            if getattr(label, "dataset", ""):
                data.setdefault(label.dataset, label)
                labels_of_align.add(aligned.get(label))
    if len(data) > 1 and (len(labels_of_align) > 1 or None in labels_of_align):
        (one, first), (other, second), *_ = data.items()
        raise ValueError(
            f"compare needs the same samples in every representation: '{format_label(first)}' was recorded on"
            f" '{one}', '{format_label(second)}' on '{other}'. Select one with x.where(dataset=...). If their samples"
            " correspond, align them by their ids, rs.align(xs, ys), or record both under one dataset name."
        )


def _check_same_tokens(*sides: Mapping[Any, Any]) -> None:
    """Refuse recordings with a row for each token whose tokens were split differently."""
    cuts = {
        label.pool: label for side in sides for label in side if str(getattr(label, "pool", "")).startswith("tokens")
    }
    if len(cuts) > 1:
        first, second, *_ = cuts.values()
        raise ValueError(
            f"compare needs the same samples in every representation: '{format_label(first)}' and"
            f" '{format_label(second)}' split the texts into different tokens, so their rows do not correspond. Record"
            " them with one row for each text: record(..., pool='mean')."
        )


def _check_outputs(measure: Measure, *sides: Mapping[Any, Any]) -> None:
    """Refuse all but logits or probabilities (samples, classes), if the measure compares outputs."""
    if measure.compares != "outputs":
        return
    for side in sides:
        for label in side:
            if not re.fullmatch(r"output(\.\w+|\[\d+\])?", getattr(label, "layer", "output")):
                raise ValueError(
                    f"{measures.short_name(measure)} compares outputs of models, and '{format_label(label)}' is a"
                    " hidden layer. Use x.where(layer='output')."
                )
    for side in sides:
        known = getattr(side, "no_logits", {})
        for label in side:
            if label in known:
                raise ValueError(
                    f"{measures.short_name(measure)} compares logits (samples, classes); '{format_label(label)}' is"
                    f" something else: {known[label]}"
                )
