"""Checks of `compare` before it starts: its two sides, and what their labels show already."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from repsim_nb import measures
from repsim_nb.measures import Measure, check_same_samples
from repsim_nb.measures.table_inputs import check_sides, to_arrays
from repsim_nb.support.errors import check_name, format_label

OnUndefined = Literal["raise", "mask"]


def open_sides(
    measure: Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None,
    on_undefined: str,
    *,
    correspond: bool = False,
) -> tuple[dict[Any, Any], dict[Any, Any] | None]:
    """Return both sides as arrays of the same samples, or raise the error that explains what is wrong.

    correspond: whether the caller checked by `check_correspondence` that the rows are the same samples.
    """
    check_name("on_undefined", on_undefined, ("raise", "mask"))
    check_mappings("compare", measure, xs, ys)
    if not correspond:
        check_correspondence(xs, ys or {})
    check_outputs(measure, xs, ys or {})
    check_sides({"xs": xs} if ys is None else {"xs": xs, "ys": ys}, measure)
    # opened once: a store maps a file at each access
    left, right = to_arrays(xs), None if ys is None else to_arrays(ys)
    check_same_samples(left, right or {})
    return left, right


def check_mappings(function: str, measure: Measure, xs: Any, ys: Any) -> None:
    """Refuse sides that are not mappings of labels to arrays."""
    for name, side in (("xs", xs), ("ys", ys)):
        if not isinstance(side, Mapping) and (name == "xs" or side is not None):
            raise TypeError(
                f"{function} takes {name} as a mapping of labels to arrays, such as {{'a': x}}; got"
                f" {type(side).__name__}. For two arrays: rs.measures.get('{measures.short_name(measure)}')(x, y), or"
                " {'a': x} and {'b': y}."
            )


def check_correspondence(*sides: Mapping[Any, Any], labels: Collection[Any] | None = None) -> None:
    """Refuse recordings whose labels show that their rows are not the same samples. labels: check only these."""
    chosen = [[label for label in side if labels is None or label in labels] for side in sides]
    _check_same_data(sides, chosen)
    _check_same_tokens([label for of_side in chosen for label in of_side])


def _check_same_data(sides: Sequence[Mapping[Any, Any]], chosen: Sequence[Sequence[Any]]) -> None:
    """Refuse recordings on two data sets, unless `rs.align` chose their samples together."""
    first_on: dict[str, Any] = {}
    calls = set()  # of rs.align; None for a recording that was not aligned
    for side, labels in zip(sides, chosen, strict=True):
        aligned = getattr(side, "aligned", {})
        for label in labels:
            if getattr(label, "dataset", ""):
                first_on.setdefault(label.dataset, label)
                calls.add(aligned.get(label))
    if len(first_on) > 1 and (len(calls) > 1 or None in calls):
        (one, first), (other, second), *_ = first_on.items()
        raise ValueError(
            f"compare needs the same samples in every representation: '{format_label(first)}' was recorded on"
            f" '{one}', '{format_label(second)}' on '{other}'. Select one with x.where(dataset=...). If their samples"
            " correspond, align them by their ids, rs.align(xs, ys), or record both under one dataset name. Join"
            " aligned recordings with xs | ys, since a dict does not show that they were aligned."
        )


def _check_same_tokens(labels: Sequence[Any]) -> None:
    """Refuse recordings by token whose models split the texts into different tokens."""
    cuts = {label.pool: label for label in labels if str(getattr(label, "pool", "")).startswith("tokens")}
    if len(cuts) > 1:
        first, second, *_ = cuts.values()
        raise ValueError(
            f"compare needs the same samples in every representation: '{format_label(first)}' and"
            f" '{format_label(second)}' split the texts into different tokens, so their rows do not correspond. Record"
            " them with one row for each text: record(..., pool='mean')."
        )


def check_outputs(measure: Measure, *sides: Mapping[Any, Any]) -> None:
    """Refuse hidden layers, and outputs that are not (samples, classes), if the measure compares outputs."""
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
