"""Pictures: a result goes in, matplotlib Axes come out. Nothing is computed here that is not about drawing.

In every picture bright is alike and dark is unlike, whichever way the measure counts.
"""

from __future__ import annotations

import io
import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from . import measures
from .comparison import Comparison, constant_fields, short_labels
from .embedding import Embedding
from .errors import unknown

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")  # Okabe and Ito: told apart by all
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MASKED = "#c8c8c8"


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # only here: pyplot shows the picture at the end of a notebook cell

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def _figure(figure: Figure | None, width: float, height: float) -> Figure:
    if figure is not None:
        figure.set_size_inches(width, height)
        return figure
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def png(draw: Callable[[Axes], Any], width: float, height: float, dpi: int = 100) -> bytes:
    """The picture that `draw(ax)` makes, as PNG; safe in any thread (no pyplot)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure.add_subplot())
    return figure_png(figure, dpi)


def figure_png(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def heatmap_size(comparison: Comparison) -> tuple[float, float]:
    """Width and height in inches at which a heatmap of this comparison can be read."""
    rows, columns = comparison.values.shape
    longest = [max(map(len, labels)) for labels in comparison.labels()]
    return (min(max(0.42 * columns, 2.4), 9) + 0.07 * longest[0] + 1.7, min(max(0.42 * rows, 2.4), 9) + 0.05 * longest[1] + 1.1)


def colour_limits(comparison: Comparison) -> tuple[float, float]:
    """The measure's range, so that pictures can be compared; a signed similarity starts at 0 unless values are below; no end is infinite."""
    finite = comparison.values.to_numpy()[np.isfinite(comparison.values.to_numpy())]
    low, high = comparison.measure.range
    if np.isinf(high):  # no picture can show it all: up to the largest value here
        high = float(finite.max()) if finite.size and finite.max() > max(low, 0) else 1.0
    smallest, largest = (finite.min(), finite.max()) if finite.size else (low, high)
    low = min(0.0, np.floor(smallest * 10) / 10) if low < 0 or smallest < low - 1e-6 else low
    return float(low), float(largest if largest > high + 1e-6 else high)


def decimals(low: float, high: float) -> int:
    """How many decimals tell values between these apart: two, and more where all of them are small."""
    return max(2, 1 + int(np.ceil(-np.log10(high - low)))) if high > low else 2


def colour_map(comparison: Comparison) -> str:
    """viridis, turned so that bright is alike."""
    return "viridis" if comparison.kind == "similarity" else "viridis_r"


def colours_of(name: str, steps: int = 256) -> list[str]:
    """A colour map as hexadecimal colours from its low to its high end, for a view that draws by itself."""
    return [mpl.colors.to_hex(c) for c in mpl.colormaps[name](np.linspace(0, 1, steps))]


def axis_titles(comparison: Comparison) -> tuple[str, str]:
    """What rows and columns are: the model where it is one, and the field that varies."""
    titles = []
    both = comparison.constants()
    apart = [name for name in {**both[0], **both[1]} if name not in ("model", "layer") and both[0].get(name) != both[1].get(name)]
    for axis, fixed in zip((comparison.values.index, comparison.values.columns), both, strict=True):
        varying = [str(name) for name in axis.names if str(name) not in fixed and axis.get_level_values(name).nunique() > 1]
        what = "/".join(varying) or str(axis.names[-1] if axis.nlevels == 1 else "layer")
        title = f"{what} of {fixed['model']}" if "model" in fixed and what != "model" else what
        differing = [f"{name} {axis.get_level_values(name)[0]}" for name in apart if axis.get_level_values(name).nunique() == 1]
        titles.append(title + (f" ({', '.join(differing)})" if differing else ""))
    return titles[0], titles[1]


def heading(comparison: Comparison) -> tuple[str, str]:
    """Two lines: the measure and the models; the data and the number of samples."""
    rows, columns = comparison.constants()
    models = [fixed["model"] for fixed in (rows, columns) if "model" in fixed]
    data = dict.fromkeys(str(fixed["dataset"]) for fixed in (rows, columns) if "dataset" in fixed)
    layer = f" at {rows['layer']}" if rows.get("layer") and rows.get("layer") == columns.get("layer") and comparison.values.size > 1 else ""
    return comparison.name + (f": {' × '.join(dict.fromkeys(models))}" if models else "") + layer, " × ".join(data) + (", " if data else "") + f"n = {comparison.n}"


def heatmap(comparison: Comparison, *, ax: Axes | None = None, annotate: bool | None = None, title: str | None = None) -> Axes:
    """The table as a picture: rows down, columns across, in their order (layers in forward order).

    annotate: write the values into the cells; None does where there are at most 100. Cells without a value are hatched.
    """
    if not isinstance(comparison, Comparison):
        raise TypeError(f"a heatmap shows a Comparison, what rs.compare returns; got {type(comparison).__name__}")
    values = comparison.values.to_numpy(float)
    ax = _axes(ax, *heatmap_size(comparison))
    low, high = colour_limits(comparison)
    ax.patch.set(facecolor=_MASKED, hatch="////", edgecolor="white")
    image = ax.imshow(np.ma.masked_invalid(values), cmap=colour_map(comparison), vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    for axis, labels in ((ax.yaxis, comparison.labels()[0]), (ax.xaxis, comparison.labels()[1])):
        step = max(1, -(-len(labels) // 40))
        axis.set_ticks(range(0, len(labels), step), labels[::step])
    crowded = max(map(len, comparison.labels()[1])) > 4
    ax.tick_params(axis="x", rotation=90 if crowded and values.shape[1] > 12 else 45 if crowded else 0, labelsize=9, length=2)
    if crowded and values.shape[1] <= 12:
        mpl.artist.setp(ax.get_xticklabels(), ha="right", rotation_mode="anchor")
    ax.tick_params(axis="y", labelsize=9, length=2)
    down, across = axis_titles(comparison)
    ax.set(ylabel=down, xlabel=across)
    first, second = heading(comparison)
    masked = f", {len(comparison.undefined)} hatched cells undefined" if comparison.undefined else ""
    ax.set_title(title if title is not None else f"{first}\n{second}{masked}", fontsize=11)
    ax.figure.colorbar(image, ax=ax, shrink=0.95, pad=0.03).set_label(bar_label(comparison))
    if annotate if annotate is not None else values.size <= 100:
        _write_values(ax, values, image)
    return ax


def heatmaps(comparisons: Sequence[Comparison], *, columns: int = 3, annotate: bool | None = None, figure: Figure | None = None) -> list[Axes]:
    """Several heatmaps in one figure, `columns` side by side."""
    columns = min(columns, len(comparisons))
    rows = -(-len(comparisons) // columns)
    sizes = [heatmap_size(c) for c in comparisons]
    figure = _figure(figure, columns * max(w for w, _ in sizes), rows * max(h for _, h in sizes))
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[len(comparisons) :]:
        ax.remove()
    return [heatmap(c, ax=ax, annotate=annotate) for ax, c in zip(axes, comparisons, strict=False)]


def bar_label(comparison: Comparison) -> str:
    """The measure's name between the words that say what low and high mean."""
    low, high = ("unlike", "alike") if comparison.kind == "similarity" else ("alike", "unlike")
    return f"{low}  ←  {comparison.name}  →  {high}"


def _write_values(ax: Axes, values: np.ndarray, image: Any) -> None:
    places = decimals(image.norm.vmin, image.norm.vmax)
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            ax.text(j, i, f"{value:z.{places}f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")


def embedding(
    result: Embedding,
    *,
    ax: Axes | None = None,
    colour: str | Mapping[str, Any] | Sequence[Any] | None = None,
    shape: str | Mapping[str, Any] | Sequence[Any] | None = None,
    path: str | None = None,
    labels: bool | str | None = None,
    title: str | None = None,
) -> Axes:
    """A map of points. colour, shape: what tells them apart: a field of the labels, {model: value}, or one value a point.

    path: a field of the labels; points that share it are joined in order, from an open mark to an arrow, and only the last is labelled.
    labels: write each point's label, or only one field of it ("layer"); None does where there are at most 12 points. How far to trust the map stands below it.
    """
    for role, field in (("path", path), ("labels", labels)):
        if isinstance(field, str) and field not in result.points.index.names:
            raise unknown(f"field for {role}", field, result.points.index.names)
    ax = _axes(ax, 6.4, 4.8)
    points, dimensions = result.points, result.points.shape[1]
    points = points.iloc[:, :2] if dimensions > 1 else points.assign(y=0.0)
    groups = {"colour": _values(points, colour), "shape": _values(points, shape)}
    for rank, (palette, values) in enumerate(zip((COLOURS, MARKERS), groups.values(), strict=True)):
        if values is not None and values.nunique() > len(palette):
            raise ValueError(f"{('colour', 'shape')[rank]} can tell {len(palette)} groups apart; there are {values.nunique()}: {', '.join(map(str, values.unique()[:9]))}, ...")
    colours, shapes = ({v: p for v, p in zip(dict.fromkeys(values), palette, strict=False)} if values is not None else {} for palette, values in zip((COLOURS, MARKERS), groups.values(), strict=True))
    runs = [np.arange(len(points))] if path is None else [np.flatnonzero(points.index.get_level_values(path) == v) for v in dict.fromkeys(points.index.get_level_values(path))]
    starts = {int(rows[0]) for rows in runs}
    for i, (x, y) in enumerate(points.iloc[:, :2].to_numpy()):
        face = colours[groups["colour"].iloc[i]] if colours else COLOURS[0]
        marker = shapes[groups["shape"].iloc[i]] if shapes else "o"
        start = path is not None and i in starts
        ax.scatter([x], [y], s=62, facecolor="white" if start else face, marker=marker, edgecolor=face if start else "white", linewidth=1.6 if start else 0.8, zorder=3)
    names = points.index.get_level_values(labels) if isinstance(labels, str) else short_labels(points.index)
    for rows in runs if path is not None else ():
        _join(ax, points.iloc[rows, :2].to_numpy(), colours[groups["colour"].iloc[rows[0]]] if colours else "0.6")
    written: list[Annotation] = []
    if labels if labels is not None else len(points) <= 12:
        for i in np.concatenate(runs if path is None else [rows[-1:] for rows in runs]):
            right = points.iloc[i, 0] > points.iloc[:, 0].mean()  # towards the middle, away from the frame
            written.append(ax.annotate(names[i], points.iloc[i, :2], xytext=(-6 if right else 6, 5), ha="right" if right else "left", textcoords="offset points", fontsize=8))
    _legend(ax, [("colour", colour, [Line2D([], [], ls="", marker="o", color=c, label=str(v)) for v, c in colours.items()]),
                 ("shape", shape, [Line2D([], [], ls="", marker=m, color="0.4", label=str(v)) for v, m in shapes.items()])])
    method = {"smacof": "MDS (SMACOF)", "classical": "classical MDS"}[result.kind]
    fixed = constant_fields(points.index)
    about = ", ".join([*([str(fixed["dataset"])] if "dataset" in fixed else []), *([f"n = {result.n}"] if result.n else [])])
    ax.set_title(title if title is not None else f"{method} of {len(points)} points{f' by {result.name}' if result.name else ''}" + (f"\n{about}" if about else ""), fontsize=11)
    trust = "faithful" if result.stress < 0.1 else "fair" if result.stress < 0.2 else "poor: distances mislead"
    ax.set_xlabel("distance on the map ≈ dissimilarity" + (", open mark = first" if path is not None else "")
                  + f"\nstress {result.stress:.2f} ({trust}{f', of all {dimensions} axes' if dimensions > 2 else ''}), negative eigenvalues {result.negative_share:.0%}, seed {result.seed}", fontsize=9)
    ax.set_aspect("equal", adjustable="datalim")
    ax.margins(0.16)
    ax.grid(True, color="0.92", zorder=0)
    ax.tick_params(labelsize=8)
    _spread(ax, written)
    return ax


def _spread(ax: Axes, written: list[Annotation]) -> None:
    """Move labels up or down, by whole lines, until none lies on another; points that coincide get a stack of labels."""
    if len(written) < 2:
        return
    ax.figure.canvas.figure.draw_without_rendering()  # only a finished layout says where points are
    placed: list[Bbox] = []
    for label in written:
        box, frame = label.get_window_extent(), ax.get_window_extent()
        line = box.height * 1.1
        steps = sorted(range(-len(written), len(written) + 1), key=lambda k: (abs(k), -k))
        free = [k for k in steps if not any(box.translated(0, k * line).overlaps(other) for other in placed)]
        inside = [k for k in free if frame.y0 <= box.y0 + k * line and box.y1 + k * line <= frame.y1]
        step = (inside or free or [0])[0]
        across, up = label.xyann
        label.xyann = (across, up + step * line * 72 / ax.figure.dpi)
        placed.append(box.translated(0, step * line))


def _legend(ax: Axes, parts: list[tuple[str, Any, list[Line2D]]]) -> None:
    """One legend beside the map: what colours mean, then what shapes mean, each under its name."""
    handles, heads = [], []
    for role, choice, marks in parts:
        if marks:
            heads.append(str(choice if isinstance(choice, str) else getattr(choice, "name", None) or role))
            handles += [Line2D([], [], ls="", label=heads[-1]), *marks]
    if handles:
        legend = ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
        for handle, text in zip(handles, legend.get_texts(), strict=True):
            text.set_fontweight("bold" if handle.get_marker() == "None" else "normal")


def _join(ax: Axes, points: np.ndarray, colour: str) -> None:
    ax.plot(points[:, 0], points[:, 1], color=colour, linewidth=1.2, alpha=0.7, zorder=2)
    if len(points) > 1:
        ax.annotate("", points[-1], points[-2], arrowprops={"arrowstyle": "-|>", "color": colour, "alpha": 0.7, "shrinkB": 6}, zorder=2)


def _values(points: pd.DataFrame, choice: Any) -> pd.Series | None:
    """One value a point: from a field of the labels, a mapping of models, or the sequence itself."""
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in points.index.names:
            raise ValueError(f"points have the fields {list(points.index.names)}; '{choice}' is none of them. For another attribute pass {{model: value}}")
        return pd.Series(points.index.get_level_values(choice))
    if isinstance(choice, (Mapping, pd.Series)):
        models = points.index.get_level_values("model" if "model" in points.index.names else 0)
        missing = [m for m in models if m not in choice]
        if missing:
            raise ValueError(f"there is no value for '{missing[0]}'" + (f" and {len(missing) - 1} others" if missing[1:] else ""))
        return pd.Series([choice[m] for m in models])
    values = pd.Series(list(choice))
    if len(values) != len(points):
        raise ValueError(f"one value a point is needed: {len(points)} points, {len(values)} values")
    return values


def samples(matrices: Mapping[str, np.ndarray], *, targets: np.ndarray | None = None, classes: Sequence[str] = (), figure: Figure | None = None, most: int = 300) -> list[Axes]:
    """Sample-by-sample similarity matrices side by side, one a representation; with targets, samples stand sorted by class.

    most: draw that many samples, evenly taken, so that a picture stays a picture.
    """
    figure = _figure(figure, 3.5 * len(matrices) + 0.6, 3.7)
    axes = figure.subplots(1, len(matrices), squeeze=False)[0]
    n = len(next(iter(matrices.values())))
    order = np.argsort(targets, kind="stable") if targets is not None else np.arange(n)
    order = order[np.linspace(0, n - 1, min(most, n)).astype(int)]
    for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
        image = ax.imshow(matrix[np.ix_(order, order)], cmap="viridis", vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(name, fontsize=10)
        _class_ticks(ax, None if targets is None else np.asarray(targets)[order], classes)
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
    names = [str(classes[t]) if len(classes) > t else str(t) for t in targets[starts]]
    ax.set_yticks(middles, names, fontsize=8)
    ax.set_xticks(middles, names, fontsize=8, rotation=90 if max(map(len, names)) > 2 else 0)
    ax.tick_params(length=0)


def answers(frame: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """What measures (rows, by short name) say of a representation and its transformed twins (columns): bright is alike, hatched has no value.

    Colours run from identical to 0 for a similarity, for a dissimilarity to the largest value of its row.
    """
    ax = _axes(ax, 2.4 + 0.86 * frame.shape[1], 1.5 + 0.33 * len(frame))
    kinds = {name: measures.get(name).kind for name in frame.index}
    alike = np.array([row if kinds[name] == "similarity" else 1 - row / np.nanmax(row, initial=1e-12) for name, row in zip(frame.index, frame.to_numpy(float), strict=True)])
    ax.patch.set(facecolor=_MASKED, hatch="////", edgecolor="white")
    image = ax.imshow(np.ma.masked_invalid(alike), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    ax.set_yticks(range(len(frame)), [f"{name} {'↑' if kinds[name] == 'similarity' else '↓'}" for name in frame.index], fontsize=9)
    ax.set_xticks(range(frame.shape[1]), [textwrap.fill(str(name), 11) for name in frame.columns], fontsize=9)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for i, row in enumerate(frame.to_numpy(float)):
        places = decimals(0.0, float(np.nanmax(np.abs(row), initial=1e-12)))
        for j in np.flatnonzero(np.isfinite(row)):
            ax.text(j, i, f"{row[j]:z.{places}f}", ha="center", va="center", fontsize=8, color="white" if alike[i, j] < 0.5 else "black")
    bar = ax.figure.colorbar(image, ax=ax, pad=0.015, ticks=[0, 1], aspect=30)
    bar.ax.set_yticklabels(["unlike", "alike"], fontsize=9)
    ax.set_xlabel("↑ larger is more alike    ↓ larger is less alike    hatched: no value", fontsize=9)
    if title:
        ax.set_title(title, fontsize=11, pad=12)
    return ax


def curves(frame: pd.DataFrame, *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "dissimilarity", title: str = "") -> Axes:
    """One line a column, over the index; the legend stands beside them."""
    ax = _axes(ax, 7.2, 4.2)
    x = np.asarray(frame.index, dtype=float)
    for name, colour, marker in zip(frame, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
        ax.plot(x, frame[name], color=colour, marker=marker, markersize=5, linewidth=1.6, label=str(name))
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    ax.set(xlabel=xlabel or str(frame.index.name or ""), ylabel=ylabel)
    ax.set_title(title, fontsize=11)
    ax.grid(True, color="0.92")
    return ax
