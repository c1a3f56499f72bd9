"""Pictures of maps: points whose distances stand for dissimilarities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from ..comparison import constant_fields, short_labels
from ..embedding import Embedding
from ..errors import unknown
from .frame import COLOURS, MARKERS, new_axes


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
    ax = new_axes(ax, 6.4, 4.8)
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
