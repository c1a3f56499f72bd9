"""Specs of where two representations differ: samples by displacement, and the classes of their neighbours."""

from __future__ import annotations

import numpy as np

from repsim_nb.results.inference import NeighbourConfusion, SampleDifferences
from repsim_nb.support.validation import check_choice

from .base import spec
from .colors import CLASS_COLORS, COLORS, group_colors
from .lines import Layer, LineSpec, numbers
from .matrices import MatrixSpec, Ticks, cells, texts_of


@spec.register
def sample_differences_spec(result: SampleDifferences, *, title: str | None = None) -> LineSpec:
    """Return the spec of all samples, sorted by displacement; options as for `plots.differences`."""
    order = result.order()
    places, values = np.arange(1, result.n + 1), result.table["displacement"].to_numpy()[order]
    size, groups = float(np.clip(900 / result.n, 9, 30)) ** 0.5, [("", np.ones(result.n, bool), COLORS[0])]
    own = result.table["class"].iloc[order] if "class" in result.table else None
    if own is not None and len(own.cat.categories) <= len(CLASS_COLORS):
        names = list(own.cat.categories)
        colors = group_colors(names, COLORS if len(names) <= len(COLORS) else CLASS_COLORS)
        groups = [(name, (own == name).to_numpy(), color) for name, color in zip(names, colors, strict=True)]
    layers = [
        Layer(
            "points",
            numbers(places[which]),
            numbers(values[which]),
            label=name,
            colors=(color,),
            marker="o",
            size=size,
            rim=0.0,
        )
        for name, which, color in groups
    ]
    ends = (1.0, float(result.n)), (1.0, 1.0)
    chance = Layer("line", *ends, label="unrelated (expected)", colors=("0.35",), dash="--", width=1.2)
    number = f"{result.table['kept'].mean():.1f} of {result.k} neighbours kept, n = {result.n}"
    return LineSpec(
        (*layers, chance),
        title=f"{' × '.join(result.names)}\n{number}" if title is None else title,
        x_title="samples, those that differ most first",
        y_title="displacement of the neighbours",
        y_limits=(min(0.0, float(values.min())), None),
        size=(7.2, 4.2),
    )


@spec.register
def neighbour_confusion_spec(
    result: NeighbourConfusion, *, side: str = "difference", title: str | None = None
) -> MatrixSpec:
    """Return the spec of the classes of neighbours; options as for `plots.neighbour_confusion`."""
    check_choice(side, "side", ("difference", "x", "y"))
    frame = getattr(result, side)
    values, labels = frame.to_numpy(float), tuple(map(str, frame.index))
    signed = side == "difference"
    end = max(0.05, float(np.ceil(20 * np.abs(values).max()) / 20)) if signed else 1.0
    low, high = (-end, end) if signed else (0.0, 1.0)
    texts = tuple(tuple(_signed(value) for value in row) for row in values) if signed else texts_of(values, low, high)
    name = {"difference": " minus ".join(result.names[::-1]), "x": result.names[0], "y": result.names[1]}[side]
    long = max(map(len, labels))
    room = max(0.46 * len(labels), 2.6)
    return MatrixSpec(
        values=cells(values),
        row_labels=labels,
        column_labels=labels,
        row_title="class of the sample",
        column_title="class of its neighbours",
        title=f"neighbours by class: {name}" if title is None else title,
        subtitle=f"{result.k} neighbours of each of {result.n} samples" if title is None else "",
        bar_label="difference of fractions" if signed else "fraction of the neighbours",
        low=low,
        high=high,
        color_map="PuOr" if signed else "viridis",
        texts=texts,
        annotate=len(labels) <= 20,
        ticks=Ticks(all=len(labels) <= 30, smallest=4, slanted_from=4, upright_from=25),
        wrap=title is None,
        size=(min(room, 9) + 0.07 * long + 2.2, min(room, 9) + 0.05 * long + 1.4),
    )


def _signed(value: float) -> str:
    """Return a difference as text; "" if it rounds to 0."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") if abs(value) >= 0.005 else ""
