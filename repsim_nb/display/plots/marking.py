"""How the points of a map are told apart: colours, shapes, paths and their legend, for any view that draws by
itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from repsim_nb.results.embedding import Embedding
from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.labels import Choice, constant_fields, short_labels, step_order, values_per_item

from .colors import group_colors
from .frame import CLASS_COLOURS, COLOURS, MARKERS, colours_of

NEUTRAL = "#666666"  # of marks whose colour says nothing
MISSING = "#bdbdbd"  # of points that have no value
_TIMES = ("step", "epoch")  # numbers that are an amount, however few there are


@dataclass(frozen=True)
class Marks:
    """What every point of a map looks like.

    One entry a point in `colours`, `shapes`, `labels` and `shown` (False: later than `until`).

    legend: (heading, ((label, colour, marker), ...)) for each attribute.  runs: the points that a path joins, in order.
    scale: (heading, low, high, colours from low to high) where colour tells an amount, else None.
    """

    colours: tuple[str, ...]
    shapes: tuple[str, ...]
    labels: tuple[str, ...]
    shown: tuple[bool, ...]
    legend: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = ()
    runs: tuple[tuple[int, ...], ...] = ()
    scale: tuple[str, float, float, tuple[str, ...]] | None = None


def marks(
    result: Embedding,
    *,
    colour: Choice | None = None,
    shape: Choice | None = None,
    path: str | None = None,
    until: float | None = None,
) -> Marks:
    """How to tell the points of a map apart -> Marks.

    colour, shape: a field of the labels, {model: value} or a Series by model, or one value a point. Up to 12 groups
    have a colour each, up to 8 a shape; numbers with more than 8 different values are an amount, with a scale instead
    of a legend (classes 0, 1, ..., 11 are groups). Families of networks have fixed colors.
    path: a field of the labels; points that share it are joined, in order of their step where it varies, else in the
    order of points. until: the last step shown.
    Errors: ValueError for an unknown field, a model or point without a value, too many groups.
    """
    points = result.points
    if path is not None and path not in points.index.names:
        raise unknown_name("field for path", path, points.index.names)
    return _marks(
        points,
        *(
            None if choice is None else values_per_item(points.index, choice, role)
            for choice, role in ((colour, "colour"), (shape, "shape"))
        ),
        path,
        until,
    )


def marks_of_all(
    results: Sequence[Embedding],
    *,
    colour: Choice | None = None,
    shape: Choice | None = None,
    path: str | None = None,
    until: float | None = None,
) -> list[Marks]:
    """The marks of several maps that share one legend and one scale: the same value looks the same on all."""
    parts = [marks(result, colour=colour, shape=shape, path=path, until=until) for result in results]
    points = pd.concat([result.points.iloc[:, :1].set_axis(["x"], axis=1) for result in results])
    joint = [
        (
            None
            if choice is None
            else pd.concat(
                [values_per_item(result.points.index, choice, role) for result in results], ignore_index=True
            )
        )
        for choice, role in ((colour, "colour"), (shape, "shape"))
    ]
    whole, start = _marks(points, *joint, None, None), 0
    for k, part in enumerate(parts):
        span = slice(start, start := start + len(part.labels))
        parts[k] = replace(
            part, colours=whole.colours[span], shapes=whole.shapes[span], legend=whole.legend, scale=whole.scale
        )
    return parts


def _marks(
    points: pd.DataFrame, by_colour: pd.Series | None, by_shape: pd.Series | None, path: str | None, until: float | None
) -> Marks:
    scale = None
    colours, shapes, legend = (COLOURS[0],) * len(points), ("o",) * len(points), []
    if by_colour is not None and is_amount(by_colour):
        colours, scale = _scaled(by_colour)
    elif by_colour is not None:
        colours, entries = _grouped(
            by_colour, "colour", COLOURS if by_colour.nunique() <= len(COLOURS) else CLASS_COLOURS, MISSING
        )
        legend.append((str(by_colour.name), tuple((label, c, "o") for label, c in entries)))
    if by_shape is not None:
        shapes, entries = _grouped(by_shape, "shape", MARKERS, ".")
        if (
            by_colour is not None and scale is None and by_colour.name == by_shape.name and by_colour.equals(by_shape)
        ):  # told twice, said once
            legend = [
                (heading, tuple((label, c, m) for (label, c, _), (_, m) in zip(old, entries, strict=True)))
                for heading, old in legend
            ]
        else:
            legend.append((str(by_shape.name), tuple((label, NEUTRAL, m) for label, m in entries)))
    return Marks(
        colours, shapes, short_labels(points.index), _shown(points, until), tuple(legend), _runs(points, path), scale
    )


def is_amount(values: pd.Series) -> bool:
    """Whether values are an amount (a continuous colour) and no names of groups: numbers, more than 8 different, and
    not classes 0, 1, ... up to 11.
    """
    if (
        not pd.api.types.is_numeric_dtype(values)
        or pd.api.types.is_bool_dtype(values)
        or values.nunique() <= len(COLOURS)
    ):
        return False
    different = np.unique(values.dropna())
    classes = len(different) <= len(CLASS_COLOURS) and np.array_equal(different, np.arange(len(different)))
    return not classes or str(values.name).lower() in _TIMES


def _scaled(values: pd.Series) -> tuple[tuple[str, ...], tuple[str, float, float, tuple[str, ...]]]:
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    palette = tuple(colours_of("viridis"))
    places = ((values - low) / (high - low) * (len(palette) - 1)).round()
    return tuple(palette[int(k)] if math.isfinite(k) else MISSING for k in places), (
        str(values.name),
        low,
        high,
        palette,
    )


def _grouped(
    values: pd.Series, role: str, palette: Sequence[str], missing: str
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """The sign of every point, and (label, sign) of every group: numbers in order of size, other groups in order of
    appearance.
    """
    groups = list(dict.fromkeys(values.dropna()))
    if pd.api.types.is_numeric_dtype(values):
        groups.sort()
    if len(groups) > len(palette):
        raise ValueError(
            f"{role} can tell {len(palette)} groups apart; there are {len(groups)} of '{values.name}':"
            f" {join_names(groups, 8)}. Take an attribute with fewer"
            f" values{', or numbers, which get a continuous colour' if role == 'colour' else ''}"
        )
    signs = dict(zip(groups, group_colors(groups, palette) if role == "colour" else palette, strict=False))
    entries = [(f"{group:g}" if isinstance(group, float) else str(group), sign) for group, sign in signs.items()]
    if values.isna().any():
        entries.append(("no value", missing))
    return tuple(missing if pd.isna(v) else signs[v] for v in values), entries


def _shown(points: pd.DataFrame, until: float | None) -> tuple[bool, ...]:
    if until is None:
        return (True,) * len(points)
    if "step" not in points.index.names:
        raise ValueError(
            "until takes the last step that is shown, and points have no field 'step', only"
            f" {join_names(points.index.names)}"
        )
    steps = points.index.get_level_values("step")
    names = [step for step in steps if isinstance(step, str)]
    if names or isinstance(until, str):
        raise ValueError(
            f"until takes the last step that is shown, a number among steps that are numbers; got {until!r}, and steps"
            f" are {join_names(dict.fromkeys(steps), 5)}"
        )
    if steps.min() > until:
        raise ValueError(f"nothing is left to show: until is {until}, and the first step is {steps.min()}")
    return tuple(bool(step <= until) for step in steps)


def _runs(points: pd.DataFrame, path: str | None) -> tuple[tuple[int, ...], ...]:
    if path is None:
        return ()
    field = points.index.get_level_values(path)
    steps = points.index.get_level_values("step") if "step" in points.index.names else None
    runs = []
    for value in dict.fromkeys(field):
        rows = np.flatnonzero(field == value)
        if steps is not None and steps[rows].nunique() > 1:
            rows = sorted(rows, key=lambda row: step_order(steps[row]))
        runs.append(tuple(int(i) for i in rows))
    return tuple(runs)


# -- words
# -----------------------------------------------------------------------------------------------------------------


def map_heading(result: Embedding) -> tuple[str, str]:
    """Two lines: the method, the points and the measure; what is the same for all points, and the number of samples."""
    fixed = constant_fields(result.points.index)
    title = (
        f"{result.method} of {len(result.points)} points"
        + (f" by {result.name}" if result.name else "")
        + (f" at {fixed['layer']}" if "layer" in fixed else "")
    )
    about = [str(fixed[name]) for name in ("model", "dataset") if name in fixed]
    return title, ", ".join([*about, *([f"n = {result.n}"] if result.n else [])])


def map_trust(result: Embedding) -> str:
    """How far to trust a map, in words and numbers."""
    kept = result.trustworthiness
    if result.kind == "tsne":
        word = "faithful" if kept >= 0.9 else "fair" if kept >= 0.75 else "poor"
        return (
            f"trustworthiness {kept:.2f} ({word}), perplexity {result.perplexity:g}, seed {result.seed}; distances"
            " between groups mean nothing"
        )
    words = "faithful" if result.stress < 0.1 else "fair" if result.stress < 0.2 else "poor: distances mislead"
    dimensions = result.points.shape[1]
    of = f" of all {dimensions} axes, of which two are drawn" if dimensions > 2 else ""
    placed = f"; placed points: misfit up to {max(result.misfits):.2f}" if result.misfits else ""
    return (
        f"stress {result.stress:.2f} ({words}){of}, trustworthiness {kept:.2f}, negative eigenvalues"
        f" {result.negative_fraction:.0%}, seed {result.seed}{placed}"
    )
