"""Pictures of tables: a comparison as a heat map, samples by samples, what measures answer."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb import measures
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.inference import NullTable
from repsim_nb.support.containers import to_array
from repsim_nb.support.labels import varying_fields
from repsim_nb.support.validation import check_labels, to_numpy

from .frame import MASKED, as_written, decimals, new_axes, new_figure, side_by_side

_LEAST = 9.5  # points from one label of an axis to the next


def heatmap_size(comparison: Comparison) -> tuple[float, float]:
    """Width and height in inches at which a heatmap of this comparison can be read."""
    rows, columns = comparison.values.shape
    longest = [max(map(len, labels)) for labels in comparison.labels()]
    return (
        min(max(0.42 * columns, 2.4), 9) + 0.07 * longest[0] + 1.7,
        min(max(0.42 * rows, 2.4), 9) + 0.05 * longest[1] + 1.1,
    )


def colour_limits(comparison: Comparison) -> tuple[float, float]:
    """The measure's range, so that pictures can be compared; a signed similarity starts at 0 unless values are below;
    no end is infinite.
    """
    finite = comparison.values.to_numpy()[np.isfinite(comparison.values.to_numpy())]
    low, high = comparison.measure.range
    if np.isinf(high):  # no picture can show it all: up to the largest value here
        high = float(finite.max()) if finite.size and finite.max() > max(low, 0) else 1.0
    smallest, largest = (finite.min(), finite.max()) if finite.size else (low, high)
    low = min(0.0, np.floor(smallest * 10) / 10) if low < 0 or smallest < low - 1e-6 else low
    return float(low), float(largest if largest > high + 1e-6 else high)


def colour_map(comparison: Comparison) -> str:
    """viridis, turned so that bright is alike."""
    return "viridis" if comparison.kind == "similarity" else "viridis_r"


def axis_titles(comparison: Comparison) -> tuple[str, str]:
    """What rows and columns are: the model where it is one, and the field that varies."""
    titles = []
    both = comparison.constants()
    apart = [
        name
        for name in {**both[0], **both[1]}
        if name not in ("model", "layer") and both[0].get(name) != both[1].get(name)
    ]
    for axis, fixed in zip((comparison.values.index, comparison.values.columns), both, strict=True):
        what = "/".join(map(str, varying_fields(axis))) or str(axis.names[-1] if axis.nlevels == 1 else "layer")
        title = f"{what} of {fixed['model']}" if "model" in fixed and what != "model" else what
        differing = [
            f"{name} {axis.get_level_values(name)[0]}" for name in apart if axis.get_level_values(name).nunique() == 1
        ]
        titles.append(title + (f" ({', '.join(differing)})" if differing else ""))
    return titles[0], titles[1]


def heading(comparison: Comparison) -> tuple[str, str]:
    """Two lines: the measure and the models; the data and the number of samples."""
    rows, columns = comparison.constants()
    models = [fixed["model"] for fixed in (rows, columns) if "model" in fixed]
    data = dict.fromkeys(str(fixed["dataset"]) for fixed in (rows, columns) if "dataset" in fixed)
    layer = (
        f" at {rows['layer']}"
        if rows.get("layer") and rows.get("layer") == columns.get("layer") and comparison.values.size > 1
        else ""
    )
    return (
        comparison.name + (f": {' × '.join(dict.fromkeys(models))}" if models else "") + layer,
        " × ".join(data) + (", " if data else "") + f"n = {comparison.n}",
    )


def bar_label(comparison: Comparison) -> str:
    """The measure's name between the words that say what low and high mean."""
    low, high = ("unlike", "alike") if comparison.kind == "similarity" else ("alike", "unlike")
    return f"{low}  ←  {comparison.name}  →  {high}"


@as_written
def heatmap(
    comparison: Comparison | NullTable,
    *,
    ax: Axes | None = None,
    annotate: bool | None = None,
    title: str | None = None,
    marks: pd.DataFrame | None = None,
    marks_mean: str | None = None,
) -> Axes:
    """The table as a picture: rows down, columns across, in their order (layers in forward order).

    annotate: write the values into the cells; None does where there are at most 100. Cells without a value are hatched.
    marks: a frame of the table's labels, True where a cell gets a dot in its corner; of a `NullTable` the cells above
    their null.  marks_mean: what a dot means, for the title.
    """
    if isinstance(comparison, NullTable):
        if marks is None:
            marks, marks_mean = comparison.above(), marks_mean or "above its null, false discovery rate 5 %"
        comparison = comparison.comparison
    if not isinstance(comparison, Comparison):
        raise TypeError(
            f"a heatmap shows a Comparison, what rs.compare returns, or a NullTable; got {type(comparison).__name__}"
        )
    values = comparison.values.to_numpy(float)
    marked = None if marks is None else _marked(marks, comparison)
    ax = new_axes(ax, *heatmap_size(comparison))
    low, high = colour_limits(comparison)
    ax.patch.set(facecolor=MASKED, hatch="////", edgecolor="white")
    image = ax.imshow(
        np.ma.masked_invalid(values),
        cmap=colour_map(comparison),
        vmin=low,
        vmax=high,
        aspect="auto",
        interpolation="nearest",
    )
    crowded = max(map(len, comparison.labels()[1])) > 4
    ax.tick_params(axis="x", rotation=90 if crowded and values.shape[1] > 12 else 45 if crowded else 0)
    box = ax.get_window_extent()
    for axis, labels, length in (
        (ax.yaxis, comparison.labels()[0], box.height),
        (ax.xaxis, comparison.labels()[1], box.width),
    ):
        room = length / ax.figure.dpi * 72 / len(labels)  # points a label; as many are written as can be read
        step = max(1, int(np.ceil(_LEAST / room)))
        axis.set_ticks(range(0, len(labels), step), labels[::step])
        axis.set_tick_params(labelsize=min(9, max(6.5, 0.85 * room * step)), length=2)
    if crowded and values.shape[1] <= 12:
        mpl.artist.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    down, across = axis_titles(comparison)
    ax.set(ylabel=down, xlabel=across)
    first, second = heading(comparison)
    masked = f", {len(comparison.undefined)} hatched cells undefined" if comparison.undefined else ""
    said = f"\n• {marks_mean}" if marked is not None and marks_mean else ""
    ax.set_title((title if title is not None else f"{first}\n{second}{masked}") + said, fontsize=11)
    ax.figure.colorbar(image, ax=ax, shrink=0.95, pad=0.03).set_label(bar_label(comparison))
    if annotate if annotate is not None else values.size <= 100:
        _write_values(ax, values, image)
    if marked is not None:
        _write_marks(ax, values, marked, image)
    return ax


def _marked(marks: pd.DataFrame, comparison: Comparison) -> np.ndarray:
    """Which cells get a mark (rows, columns)."""
    if not isinstance(marks, pd.DataFrame) or not all(pd.api.types.is_bool_dtype(kind) for kind in marks.dtypes):
        raise TypeError(
            "marks are a frame of True and False with the labels of the table, such as null_table(...).above(); got"
            f" {type(marks).__name__}"
        )
    if not (marks.index.equals(comparison.values.index) and marks.columns.equals(comparison.values.columns)):
        raise ValueError(
            "marks have the labels of the table, in its order; the table has"
            f" {' × '.join(map(str, comparison.values.shape))} cells, marks have "
            f"{' × '.join(map(str, marks.shape))}{' with other labels' if marks.shape == comparison.values.shape else ''}"
        )
    return marks.to_numpy()


def _write_marks(ax: Axes, values: np.ndarray, marked: np.ndarray, image: Any) -> None:
    """A dot in the upper right corner of each marked cell, in the middle of one too small for that, in ink that can be
    seen on it.
    """
    rows, columns = np.nonzero(marked & np.isfinite(values))
    box = ax.get_window_extent()
    cell = min(box.width / values.shape[1], box.height / values.shape[0]) / ax.figure.dpi * 72
    size, away = (min(0.17 * cell, 4.0), 0.34) if cell >= 14 else (0.3 * cell, 0.0)
    inks = [ink_on(image, value) for value in values[rows, columns]]
    ax.scatter(columns + away, rows - away, s=size**2, c=inks, linewidths=0, gid="marks")


@as_written
def grid(
    frame: pd.DataFrame,
    *,
    ax: Axes | None = None,
    label: str = "",
    title: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Axes:
    """A heat map of any frame of numbers, with its values written in; cells without one are hatched.

    label: what the numbers are, beside the bar.  low, high: the ends of the colours; None is the smallest and the
    largest number.
    """
    values = frame.to_numpy(float)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError(f"there is no number to draw in this frame of {frame.shape[0]} × {frame.shape[1]}")
    rows, columns = ([str(name) for name in axis] for axis in (frame.index, frame.columns))
    ax = new_axes(
        ax,
        0.72 * len(columns) + 0.085 * max(map(len, rows)) + 2.0,
        0.44 * len(rows) + 0.05 * max(map(len, columns)) + 1.2,
    )
    ax.patch.set(facecolor=MASKED, hatch="////", edgecolor="white")
    low, high = finite.min() if low is None else low, finite.max() if high is None else high
    image = ax.imshow(
        np.ma.masked_invalid(values), cmap="viridis", vmin=low, vmax=high, aspect="auto", interpolation="nearest"
    )
    ax.set_yticks(range(len(rows)), rows, fontsize=9)
    ax.set_xticks(range(len(columns)), columns, fontsize=9)
    if max(map(len, columns)) > 8:
        mpl.artist.setp(ax.get_xticklabels(), rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(length=2)
    ax.set(ylabel=str(frame.index.name or ""), xlabel=str(frame.columns.name or ""))
    ax.set_title(title, fontsize=11)
    _write_values(ax, values, image)
    ax.figure.colorbar(image, ax=ax, shrink=0.95, pad=0.03).set_label(textwrap.fill(label, 34), fontsize=9)
    return ax


@as_written
def heatmaps(
    comparisons: Sequence[Comparison], *, columns: int = 3, annotate: bool | None = None, figure: Figure | None = None
) -> list[Axes]:
    """Several heatmaps in one figure, `columns` side by side."""
    rows, columns = side_by_side(columns, len(comparisons))
    sizes = [heatmap_size(c) for c in comparisons]
    figure = new_figure(figure, columns * max(w for w, _ in sizes), rows * max(h for _, h in sizes))
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[len(comparisons) :]:
        ax.remove()
    return [heatmap(c, ax=ax, annotate=annotate) for ax, c in zip(axes, comparisons, strict=False)]


def _write_values(ax: Axes, values: np.ndarray, image: Any) -> None:
    places = decimals(image.norm.vmin, image.norm.vmax)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            ax.text(j, i, f"{value:z.{places}f}", ha="center", va="center", fontsize=8, color=ink_on(image, value))


def ink_on(image: Any, value: float) -> str:
    """The colour in which a value can be read on the colour that the image gives it."""
    red, green, blue, _ = image.cmap(image.norm(value))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


@as_written
def samples(
    matrices: Mapping[str, np.ndarray],
    *,
    targets: np.ndarray | None = None,
    classes: Sequence[str] = (),
    figure: Figure | None = None,
    most: int = 300,
) -> list[Axes]:
    """Sample-by-sample similarity matrices side by side, one a representation; with targets, samples stand sorted by
    class.

    most: draw that many samples, evenly taken, so that a picture stays a picture.
    """
    figure = new_figure(figure, 3.5 * len(matrices) + 0.6, 3.7)
    axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    matrices = {name: to_numpy(to_array(matrix)) for name, matrix in matrices.items()}
    n = len(next(iter(matrices.values())))
    targets = None if targets is None else check_labels(targets, n, "targets")
    order = np.argsort(targets, kind="stable") if targets is not None else np.arange(n)
    order = order[np.linspace(0, n - 1, min(most, n)).astype(int)]
    for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
        image = ax.imshow(matrix[np.ix_(order, order)], cmap="viridis", vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(name, fontsize=10)
        _class_ticks(ax, None if targets is None else targets[order], classes)
    bar = figure.colorbar(image, ax=list(axes), shrink=0.8, pad=0.02)
    bar.set_label("correlation of two samples", fontsize=9)
    return list(axes)


def _class_ticks(ax: Axes, targets: np.ndarray | None, classes: Sequence[str]) -> None:
    if targets is None:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel("samples", fontsize=9)
        return
    starts = np.flatnonzero(np.r_[True, targets[1:] != targets[:-1]])
    middles = (starts + np.r_[starts[1:], len(targets)] - 1) / 2
    names = [
        str(classes[t]) if isinstance(t, (int, np.integer)) and len(classes) > t else str(t) for t in targets[starts]
    ]
    ax.set_yticks(middles, names, fontsize=8)
    ax.set_xticks(middles, names, fontsize=8, rotation=90 if max(map(len, names)) > 2 else 0)
    ax.tick_params(length=0)


@as_written
def answers(frame: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """What measures (rows, by short name) say of a representation and its transformed twins (columns): bright is alike,
    hatched has no value.

    Colours run from identical to 0 for a similarity, for a dissimilarity to the largest value of its row.
    """
    ax = new_axes(ax, 2.4 + 0.86 * frame.shape[1], 1.5 + 0.33 * len(frame))
    kinds = {name: measures.get(name).kind for name in frame.index}
    alike = np.array(
        [
            row if kinds[name] == "similarity" else 1 - row / np.nanmax(row, initial=1e-12)
            for name, row in zip(frame.index, frame.to_numpy(float), strict=True)
        ]
    )
    ax.patch.set(facecolor=MASKED, hatch="////", edgecolor="white")
    image = ax.imshow(np.ma.masked_invalid(alike), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    ax.set_yticks(
        range(len(frame)), [f"{name} {'↑' if kinds[name] == 'similarity' else '↓'}" for name in frame.index], fontsize=9
    )
    ax.set_xticks(range(frame.shape[1]), [textwrap.fill(str(name), 11) for name in frame.columns], fontsize=9)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for i, row in enumerate(frame.to_numpy(float)):
        places = decimals(0.0, float(np.nanmax(np.abs(row), initial=1e-12)))
        for j in np.flatnonzero(np.isfinite(row)):
            ax.text(
                j,
                i,
                f"{row[j]:z.{places}f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if alike[i, j] < 0.5 else "black",
            )
    bar = ax.figure.colorbar(image, ax=ax, pad=0.015, ticks=[0, 1], aspect=30)
    bar.ax.set_yticklabels(["unlike", "alike"], fontsize=9)
    ax.set_xlabel("↑ larger is more alike    ↓ larger is less alike    hatched: no value", fontsize=9)
    if title:
        ax.set_title(title, fontsize=11, pad=12)
    return ax
