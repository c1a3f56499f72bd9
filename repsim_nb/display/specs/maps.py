"""MapSpec: points whose distances stand for dissimilarities, with their colors, shapes and paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.results.embedding import Embedding
from repsim_nb.results.embedding.trust import rate_map
from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.labels import Choice, constant_fields, short_labels, step_order, values_per_item

from .base import FigureSpec, Labels, spec
from .colors import CLASS_COLORS, COLORS, MARKERS, MISSING, NEUTRAL, color_map, group_colors
from .galleries import GallerySpec

_TIMES = ("step", "epoch")  # numbers that are an amount, however few there are
_MOST_PATHS = 24  # so many paths are named if no legend names them
Legend = tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
Scale = tuple[str, float, float, tuple[str, ...]]


@dataclass(frozen=True)
class MapSpec(FigureSpec):
    """Points on a map whose two axes have the same unit.

    Parameters
    ----------
    points : tuple of (x, y)
        The positions.
    labels : tuple of str
        A name for each point.
    colors : tuple of str
        A hexadecimal color for each point.
    shapes : tuple of str
        A marker of matplotlib for each point: o s ^ D v P X *, or "." for no value.
    shown : tuple of bool
        False hides a point; the axes still include it.
    notes : tuple of str
        Lines of text for each point, which a view shows under the pointer; may be empty.
    names : tuple of (int, str)
        Texts that a picture writes next to points: (number of the point, text).
    runs : tuple of tuple of int
        The numbers of the points that a path joins, in order.
    path : str
        The field that has one path for each value, such as "model"; "" without paths.
    ringed : tuple of int
        The numbers of points that were added to the map by `add_points`; they have a ring.
    legend : tuple of (heading, tuple of (label, color, marker))
        The headings and entries of the legend.
    scale : (heading, low, high, colors from low to high) or None
        The color bar, if color stands for an amount.
    title, subtitle, remark : str
        Lines above the map.
    meaning : str
        A line below the map: what a small distance means.
    footer : str
        A line below the map: how far to trust it.
    links : tuple of tuple of int
        For each point, those to which a view draws lines when it is pointed at; empty for none.
    unit : str or None
        The measure, so that `plots.embeddings` draws maps of one measure to one scale; None for t-SNE, whose distances
        have no unit.
    size : (float, float)
        Width and height of the figure in inches.

    Examples
    --------
    >>> from repsim_nb import specs
    >>> blue = ("#0072B2", "#0072B2")
    >>> shown = specs.MapSpec(((0.0, 0.0), (1.0, 0.5)), ("a", "b"), blue, ("o", "o"), (True, True), title="mine")
    >>> specs.MapSpec.from_json(shown.to_json()) == shown
    True
    """

    points: tuple[tuple[float, float], ...]
    labels: Labels
    colors: tuple[str, ...]
    shapes: tuple[str, ...]
    shown: tuple[bool, ...]
    notes: Labels = ()
    names: tuple[tuple[int, str], ...] = ()
    runs: tuple[tuple[int, ...], ...] = ()
    path: str = ""
    ringed: tuple[int, ...] = ()
    legend: Legend = ()
    scale: Scale | None = None
    title: str = ""
    subtitle: str = ""
    remark: str = ""
    meaning: str = ""
    footer: str = ""
    unit: str | None = None
    links: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class MapsSpec(FigureSpec):
    """Several maps next to each other, with one legend and one scale.

    Parameters
    ----------
    maps : tuple of MapSpec
        The maps, from left to right. The legend and the scale are those of the first.
    gallery : GallerySpec, optional
        Some of the points in a list below the maps, in views and reports.
    size : (float, float)
        Width and height of the figure in inches.

    Examples
    --------
    >>> from repsim_nb import plots, specs
    >>> one = specs.MapSpec(((0.0, 0.0), (1.0, 0.5)), ("a", "b"), ("#0072B2",) * 2, ("o", "o"), (True, True))
    >>> len(plots.draw(specs.MapsSpec((one, one))).figure.axes)
    2
    """

    maps: tuple[MapSpec, ...]
    gallery: GallerySpec | None = None


@dataclass(frozen=True)
class _Styles:
    """Colors and shapes of points, with their legend."""

    colors: tuple[str, ...]
    shapes: tuple[str, ...]
    legend: Legend = ()
    scale: Scale | None = None


@spec.register
def embedding_spec(result: Embedding, *, title: str | None = None, **options: Any) -> MapSpec:
    """Return the spec of a map; options as for `plots.embedding`."""
    titles = None if title is None else [title]
    return embedding_specs([result], titles=titles, most_paths=_MOST_PATHS, **options)[0]


def embedding_specs(
    results: Sequence[Embedding],
    *,
    color: Choice | None = None,
    shape: Choice | None = None,
    path: str | None = None,
    until: float | None = None,
    labels: bool | str | None = None,
    titles: Sequence[str] | None = None,
    most_paths: int = 8,
) -> list[MapSpec]:
    """Return the specs of maps that share one legend and one scale; options as for `plots.embeddings`."""
    for role, name in (("path", path), ("labels", labels if isinstance(labels, str) else None)):
        for result in results:
            if name is not None and name not in result.points.index.names:
                raise unknown_name(f"field for {role}", name, result.points.index.names)
    by_color, by_shape = (
        None
        if choice is None
        else pd.concat([values_per_item(result.points.index, choice, role) for result in results], ignore_index=True)
        for choice, role in ((color, "color"), (shape, "shape"))
    )
    styles, start, specs = style_points(sum(len(result.points) for result in results), by_color, by_shape), 0, []
    for k, result in enumerate(results):
        index, title = result.points.index, _heading(result)
        span = slice(start, start := start + len(index))
        shown, runs = _find_visible(result.points, until), _runs(result.points, path)
        specs.append(
            MapSpec(
                points=tuple((float(x), float(y)) for x, y in flat(result.points)),
                labels=short_labels(index),
                colors=styles.colors[span],
                shapes=styles.shapes[span],
                shown=shown,
                names=_names(index, shown, runs, path, labels, styles.legend, most_paths),
                runs=runs,
                path=path or "",
                ringed=tuple(range(len(index) - len(result.placed), len(index))),
                legend=styles.legend,
                scale=styles.scale,
                title=title[0] if titles is None else titles[k],
                subtitle=title[1] if titles is None else "",
                meaning=_meaning(result),
                footer=_trust(result),
                unit=None if result.kind == "tsne" else result.name,
                size=_size(result.points),
            )
        )
    return specs


def flat(points: pd.DataFrame) -> np.ndarray:
    """Return the first two axes of points; the second is 0 if there is only one."""
    values = points.to_numpy(float)
    return values[:, :2] if values.shape[1] > 1 else np.column_stack([values[:, 0], np.zeros(len(values))])


def _size(points: pd.DataFrame) -> tuple[float, float]:
    across, up = np.ptp(flat(points), axis=0)
    height = 5.6 if len(points) > 30 else 4.8
    return 2.2 + (height - 1.1) * float(np.clip(across / up if up > 0 else 1.5, 1.1, 1.5)), height


def _names(
    index: pd.Index,
    shown: tuple[bool, ...],
    runs: tuple[tuple[int, ...], ...],
    path: str | None,
    labels: bool | str | None,
    legend: Legend,
    most_paths: int,
) -> tuple[tuple[int, str], ...]:
    """Return (number of the point, text) of the labels to write."""
    visible = [i for i, seen in enumerate(shown) if seen]
    if labels is False:
        return ()
    if isinstance(labels, str) and labels != path:
        return tuple((i, str(index.get_level_values(labels)[i])) for i in visible)
    if path is None:
        short = short_labels(index)
        return tuple((i, short[i]) for i in visible) if labels or len(index) <= 12 else ()
    ends = [seen[-1] for run in runs if (seen := [i for i in run if shown[i]])]
    names = {i: str(index.get_level_values(path)[i]) for i in ends}
    in_legend = any(
        len(entries) == len(runs) and {label for label, _, _ in entries} == set(names.values()) for _, entries in legend
    )
    return tuple(names.items()) if labels or (not in_legend and len(ends) <= most_paths) else ()


# -- colors, shapes and paths


def style_points(count: int, by_color: pd.Series | None, by_shape: pd.Series | None) -> _Styles:
    styles, legend = _Styles((COLORS[0],) * count, ("o",) * count), []
    if by_color is not None and is_amount(by_color):
        colors, scale = _scale_colors(by_color)
        styles = replace(styles, colors=colors, scale=scale)
    elif by_color is not None:
        palette = COLORS if by_color.nunique() <= len(COLORS) else CLASS_COLORS
        colors, entries = _group_signs(by_color, "color", palette, MISSING)
        styles = replace(styles, colors=colors)
        legend.append((str(by_color.name), tuple((label, color, "o") for label, color in entries)))
    if by_shape is not None:
        shapes, markers = _group_signs(by_shape, "shape", MARKERS, ".")
        styles = replace(styles, shapes=shapes)
        if legend and by_color is not None and by_color.name == by_shape.name and by_color.equals(by_shape):
            both = zip(legend.pop()[1], markers, strict=True)  # one legend for both
            legend.append((str(by_shape.name), tuple((label, color, m) for (label, color, _), (_, m) in both)))
        else:
            legend.append((str(by_shape.name), tuple((label, NEUTRAL, marker) for label, marker in markers)))
    return replace(styles, legend=tuple(legend))


def is_amount(values: pd.Series) -> bool:
    """Return whether values are amounts, which get a continuous color, or names of groups.

    Amounts are more than two steps of training, and more than 8 different numbers other than the classes 0, 1, ..., up
    to 11.
    """
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return False
    if str(values.name).lower() in _TIMES and values.nunique() > 2:
        return True
    if values.nunique() <= len(COLORS):
        return False
    different = np.unique(values.dropna())
    classes = len(different) <= len(CLASS_COLORS) and np.array_equal(different, np.arange(len(different)))
    return not classes


def _scale_colors(values: pd.Series) -> tuple[tuple[str, ...], tuple[str, float, float, tuple[str, ...]]]:
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    palette = color_map("viridis")
    places = ((values - low) / (high - low) * (len(palette) - 1)).round()
    return tuple(palette[int(k)] if math.isfinite(k) else MISSING for k in places), (
        str(values.name),
        low,
        high,
        palette,
    )


def _group_signs(
    values: pd.Series, role: str, palette: Sequence[str], missing: str
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Return the sign of every point, and (label, sign) of every group.

    Numbers are in order of size, other groups in order of appearance.
    """
    groups = list(dict.fromkeys(values.dropna()))
    if pd.api.types.is_numeric_dtype(values):
        groups.sort()
    if len(groups) > len(palette):
        raise ValueError(
            f"{role} can distinguish {len(palette)} groups; '{values.name}' has {len(groups)}: {join_names(groups, 8)}."
            " Choose a field with fewer"
            f" values{', or numbers, which get a continuous color' if role == 'color' else ''}."
        )
    signs = dict(zip(groups, group_colors(groups, palette) if role == "color" else palette, strict=False))
    entries = [(f"{group:g}" if isinstance(group, float) else str(group), sign) for group, sign in signs.items()]
    if values.isna().any():
        entries.append(("no value", missing))
    return tuple(missing if pd.isna(v) else signs[v] for v in values), entries


def _find_visible(points: pd.DataFrame, until: float | None) -> tuple[bool, ...]:
    if until is None:
        return (True,) * len(points)
    if "step" not in points.index.names:
        raise ValueError(
            "until is the last step to show, and these points have no field 'step'; they have"
            f" {join_names(points.index.names)}."
        )
    steps = points.index.get_level_values("step")
    names = [step for step in steps if isinstance(step, str)]
    if names or isinstance(until, str):
        raise ValueError(
            f"until is the last step to show, and both it and the steps must be numbers; got {until!r}, and the steps"
            f" are {join_names(dict.fromkeys(steps), 5)}."
        )
    if steps.min() > until:
        raise ValueError(f"until must be at least the first step, {steps.min()}; got {until}.")
    return tuple(bool(step <= until) for step in steps)


def _runs(points: pd.DataFrame, path: str | None) -> tuple[tuple[int, ...], ...]:
    if path is None:
        return ()
    field = points.index.get_level_values(path)
    steps = points.index.get_level_values("step") if "step" in points.index.names else None
    runs = []
    for value in dict.fromkeys(field):
        rows = np.flatnonzero(field == value).tolist()
        if steps is not None and steps[rows].nunique() > 1:
            rows.sort(key=lambda row: step_order(steps[row]))
        runs.append(tuple(rows))
    return tuple(runs)


# -- words


def _heading(result: Embedding) -> tuple[str, str]:
    """Return the method, points and measure; and what all points have in common, with the number of samples."""
    fixed = constant_fields(result.points.index)
    title = (
        f"{result.method} of {len(result.points)} points"
        + (f" by {result.name}" if result.name else "")
        + (f" at {fixed['layer']}" if "layer" in fixed else "")
    )
    about = [str(fixed[name]) for name in ("model", "dataset") if name in fixed]
    return title, ", ".join([*about, *([f"n = {result.n}"] if result.n else [])])


def _trust(result: Embedding) -> str:
    """Describe in words and numbers how far to trust a map."""
    trust = result.trustworthiness
    word = rate_map(result.kind, result.stress, trust)
    if result.kind == "tsne":
        return (
            f"trustworthiness {trust:.2f} ({word}), perplexity {result.perplexity:g}, seed {result.seed}; distances"
            " between groups mean nothing"
        )
    words = "poor: distances mislead" if word == "poor" else word
    dimensions = result.points.shape[1]
    of = f" of all {dimensions} axes, of which two are drawn" if dimensions > 2 else ""
    placed = f"; placed points: misfit up to {max(result.misfits):.2f}" if result.misfits else ""
    return (
        f"stress {result.stress:.2f} ({words}){of}, trustworthiness {trust:.2f}, negative eigenvalues"
        f" {result.negative_fraction:.0%}, seed {result.seed}{placed}"
    )


def _meaning(result: Embedding) -> str:
    if result.kind == "tsne":
        return "near on the map ≈ alike"
    if result.points.shape[1] > 2:
        return "two of the axes of a map: near on paper may be far"
    return "distance on the map ≈ dissimilarity"
