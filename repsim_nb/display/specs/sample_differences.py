"""Specs of where two representations differ: samples by displacement, and the classes of their neighbours."""

from __future__ import annotations

import numpy as np
import pandas as pd

from repsim_nb.results.inference import NeighbourConfusion, SampleDifferences
from repsim_nb.support.validation import check_choice

from .base import spec
from .colors import CLASS_COLORS, COLORS, group_colors
from .lines import Layer, LineSpec, numbers
from .maps import Legend, MapSpec, MapsSpec, style_points
from .matrices import MatrixSpec, Ticks, cells, texts_of


@spec.register
def sample_differences_spec(result: SampleDifferences, *, title: str | None = None) -> LineSpec:
    """Return the spec of all samples, sorted by displacement; options as for `plots.differences`."""
    order = result.order()
    places, values = np.arange(1, result.n + 1), result.table["displacement"].to_numpy()[order]
    size, groups = float(np.clip(900 / result.n, 9, 30)) ** 0.5, [("", np.ones(result.n, bool), COLORS[0])]
    if has_class_colors(result):
        own = result.table["class"].iloc[order]
        groups = [(name, (own == name).to_numpy(), color) for name, color in _class_colors(result).items()]
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


def has_class_colors(result: SampleDifferences) -> bool:
    """Return whether there are classes, and few enough for a color each."""
    return "class" in result.table and len(result.table["class"].cat.categories) <= len(CLASS_COLORS)


def _class_colors(result: SampleDifferences) -> dict[str, str]:
    names = list(result.table["class"].cat.categories)
    colors = group_colors(names, COLORS if len(names) <= len(COLORS) else CLASS_COLORS)
    return dict(zip(names, colors, strict=True))


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
    texts = tuple(tuple(map(_format_difference, row)) for row in values) if signed else texts_of(values, low, high)
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


def _format_difference(value: float) -> str:
    """Return a difference as text; "" if it rounds to 0."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") if abs(value) >= 0.005 else ""


def sample_labels(result: SampleDifferences) -> tuple[str, ...]:
    """Return the class, if it is known, with the id of each sample in brackets; otherwise the id."""
    ids = result.table.index
    if "class" not in result.table:
        return tuple(map(str, ids))
    return tuple(f"{name} ({sample})" for name, sample in zip(result.table["class"].astype(str), ids, strict=True))


def sample_maps_spec(
    result: SampleDifferences, points: tuple[np.ndarray, np.ndarray], footers: tuple[str, str], color: str
) -> MapsSpec:
    """Return the spec of two maps of the same samples.

    points: of both maps, (n, 2) each.  footers: a line below each map.  color: a column of the table.
    """
    table = result.table
    if color == "class":
        of_class = _class_colors(result)
        colors = tuple(of_class[name] for name in table["class"])
        legend: Legend = (("class", tuple((name, own, "o") for name, own in of_class.items())),)
        scale = None
    else:
        styles = style_points(result.n, pd.Series(table[color].to_numpy(float), name=color), None)
        colors, legend, scale = styles.colors, styles.legend, styles.scale
    facts = ["rank", "displacement", "kept", *(["influence"] if "influence" in table else [])]
    notes = tuple(
        "\n".join(f"{name}: {row[name]:{'.10g' if name == 'rank' else '.3g'}}" for name in facts)
        for row in table[facts].to_dict(orient="records")
    )
    labels = sample_labels(result)
    return MapsSpec(
        tuple(
            MapSpec(
                points=tuple((float(x), float(y)) for x, y in places),
                labels=labels,
                colors=colors,
                shapes=("o",) * result.n,
                shown=(True,) * result.n,
                notes=notes,
                legend=legend,
                scale=scale,
                title=name,
                subtitle=f"n = {result.n}",
                footer=footer,
                unit=name,  # a scale of its own
            )
            for name, places, footer in zip(result.names, points, footers, strict=True)
        ),
        size=(11.1, 5.3),
    )
