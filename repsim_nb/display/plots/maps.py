"""Pictures of maps: points whose distances stand for dissimilarities, how they are told apart, and how far to trust
them.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Annotation
from matplotlib.transforms import ScaledTranslation

from repsim_nb.results.embedding import Embedding
from repsim_nb.support.errors import unknown_name
from repsim_nb.support.labels import Choice

from .frame import as_written, legend, new_axes, new_figure, side_by_side
from .marking import NEUTRAL, Marks, map_heading, map_trust, marks, marks_of_all

_HALO = (patheffects.withStroke(linewidth=2.2, foreground="white"),)
_RING = "#222222"
_AREA = {"D": 0.8, "P": 1.5, "X": 1.4, "*": 1.9, "^": 1.15, "v": 1.15}  # so that marks of all shapes look equally large


def embedding(
    result: Embedding,
    *,
    ax: Axes | None = None,
    colour: Choice | None = None,
    shape: Choice | None = None,
    path: str | None = None,
    until: float | None = None,
    labels: bool | str | None = None,
    title: str | None = None,
) -> Axes:
    """A map of points. colour, shape: what tells them apart: a field of the labels, {model: value}, or one value a
    point (`marks` says more).

    path: a field of the labels; points that share it are joined in order, from an open mark to a filled one.  until:
    the last step shown; the frame stays.
    labels: write each point's label, or only one field of it ("layer"); with a path, True writes the name of each path
    at its end. None writes what fits: the names of paths that no legend tells, the labels of at most 12 points. How far
    to trust the map stands below it; a ring is around points that were placed into it.
    """
    drawn = marks(result, colour=colour, shape=shape, path=path, until=until)
    _check_labels(result, labels)
    ax, written = _one(result, drawn, path, labels, title, ax=ax)
    _spread([ax], [written])
    return ax


@as_written
def _one(
    result: Embedding, drawn: Marks, path: str | None, labels: bool | str | None, title: str | None, *, ax: Axes | None
) -> tuple[Axes, list[Annotation]]:
    """A map, and its labels still to be spread: that takes a finished layout."""
    ax = new_axes(ax, *map_size(result))
    written = _draw(ax, result, drawn, path, labels)
    first, second = map_heading(result)
    ax.set_title(
        title if title is not None else textwrap.fill(first, 62) + (f"\n{second}" if second else ""), fontsize=11
    )
    ax.set_xlabel(_under(result, 84), fontsize=9)
    ax.set_aspect("equal", adjustable="datalim")
    handles = _handles(drawn, path, bool(result.placed))
    legend(ax, handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, handletextpad=0.4)
    if drawn.scale is not None and handles:  # below the legend
        _bar(ax.figure, drawn, cax=ax.inset_axes((1.04, 0.01, 0.035, max(0.25, 0.88 - 0.047 * len(handles)))))
    elif drawn.scale is not None:
        _bar(ax.figure, drawn, ax=ax, shrink=0.8, pad=0.02, aspect=28)
    return ax, written


def map_size(result: Embedding) -> tuple[float, float]:
    """Width and height in inches at which a map of so many points can be read."""
    across, up = np.ptp(_flat(result.points), axis=0)
    height = 5.6 if len(result.points) > 30 else 4.8
    return 2.2 + (height - 1.1) * float(np.clip(across / up if up > 0 else 1.5, 1.1, 1.5)), height


def embeddings(
    results: Sequence[Embedding],
    *,
    columns: int = 3,
    titles: Sequence[str] | None = None,
    figure: Figure | None = None,
    equal: bool = True,
    colour: Choice | None = None,
    shape: Choice | None = None,
    path: str | None = None,
    until: float | None = None,
    labels: bool | str | None = None,
) -> list[Axes]:
    """Several maps in one figure, `columns` side by side, with one legend for all: the same value has the same colour
    and shape everywhere.

    equal: one unit of dissimilarity is equally long on all maps of a measure (t-SNE, which has no such unit, has a
    scale of its own). The rest as for `embedding`; more than 8 paths are named only where labels ask for it.
    """
    results = list(results)
    if not results:
        raise ValueError("there are no maps to draw: pass a list of what rs.embedding.mds returns")
    if titles is not None and len(titles) != len(results):
        raise ValueError(f"one title a map is needed: {len(results)} maps, {len(titles)} titles")
    every = marks_of_all(results, colour=colour, shape=shape, path=path, until=until)
    for result in results:
        _check_labels(result, labels)
    axes, written = _several(results, every, columns, titles, equal, path, labels, figure=figure)
    _spread(axes, written)
    return axes


@as_written
def _several(
    results: list[Embedding],
    every: list[Marks],
    columns: int,
    titles: Sequence[str] | None,
    equal: bool,
    path: str | None,
    labels: bool | str | None,
    *,
    figure: Figure | None,
) -> tuple[list[Axes], list[list[Annotation]]]:
    """Maps, and the labels of each still to be spread."""
    rows, columns = side_by_side(columns, len(results))
    limits = _limits(results, equal)
    tallest = max((high[1] - low[1]) / (high[0] - low[0]) for low, high in limits)
    width = 3.9 if columns > 2 else 4.6
    figure = new_figure(figure, columns * width + 1.9, rows * (width * 0.86 * tallest + 1.35))
    if figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[len(results) :]:
        ax.remove()
    axes, written = axes[: len(results)], []
    for k, (ax, result, drawn, (low, high)) in enumerate(zip(axes, results, every, limits, strict=True)):
        written.append(_draw(ax, result, drawn, path, labels, most=8))
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ax.set_aspect("equal", adjustable="box")
        first, second = map_heading(result)
        ax.set_title(
            "\n".join(
                textwrap.fill(line, 44) for line in ([titles[k]] if titles is not None else [first, second]) if line
            ),
            fontsize=10,
        )
        ax.set_xlabel(_under(result, 54), fontsize=8)
    handles = _handles(every[0], path, any(result.placed for result in results))
    if every[0].scale is not None:
        _bar(figure, every[0], ax=axes, shrink=0.8, pad=0.02, aspect=28)
    legend(figure, handles, loc="outside right upper", frameon=False, fontsize=9, handletextpad=0.4)
    return axes, written


def _check_labels(result: Embedding, labels: bool | str | None) -> None:
    if isinstance(labels, str) and labels not in result.points.index.names:
        raise unknown_name("field for labels", labels, result.points.index.names)


def _limits(results: Sequence[Embedding], equal: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Lower left and upper right corner of each map: all of one size where scales are equal, and never much wider than
    high.
    """
    boxes = []
    for result in results:
        points = _flat(result.points)
        boxes.append((points.min(axis=0), points.max(axis=0)))
    sizes = np.array([high - low for low, high in boxes])
    units = [(result.kind == "tsne", result.name) for result in results]
    for unit in dict.fromkeys(units) if equal else ():
        same = [i for i, its in enumerate(units) if its == unit]
        sizes[same] = sizes[same].max(axis=0, initial=0)
    sizes *= 1.2
    ratio = np.clip(
        np.max(sizes[:, 1] / sizes[:, 0].clip(1e-9)), 0.66, 1.0
    )  # of all maps: boxes of one shape stand in line
    sizes[:, 0] = np.maximum(np.maximum(sizes[:, 0], sizes[:, 1] / ratio), 1e-9)
    sizes[:, 1] = sizes[:, 0] * ratio
    return [((low + high - size) / 2, (low + high + size) / 2) for (low, high), size in zip(boxes, sizes, strict=True)]


def _flat(points: pd.DataFrame) -> np.ndarray:
    """The first two axes of the points, the second 0 where there is one only."""
    values = points.to_numpy(float)
    return values[:, :2] if values.shape[1] > 1 else np.column_stack([values[:, 0], np.zeros(len(values))])


# -- points and paths
# ------------------------------------------------------------------------------------------------------


def _draw(
    ax: Axes, result: Embedding, drawn: Marks, path: str | None, labels: bool | str | None, most: int = 24
) -> list[Annotation]:
    """Paths, points and rings -> the labels, still to be spread. most: so many paths are named unasked."""
    points = _flat(result.points)
    size = float(np.clip(62 * np.sqrt(30 / len(points)), 13, 62))
    shown, colours = np.array(drawn.shown), np.array(drawn.colours)
    ends: list[int] = []
    sizes, faces, edges, widths = (
        np.full(len(points), size),
        colours.copy(),
        np.full(len(points), "#ffffff"),
        np.full(len(points), 0.7 if size > 30 else 0.4),
    )
    if drawn.runs:
        sizes[:] = min(size, 26)
        for run in drawn.runs:
            rows = [i for i in run if shown[i]]
            if rows:
                ends.append(rows[-1])
                _join(ax, points, rows, drawn)
                sizes[[rows[0], rows[-1]]] = 58
                if len(rows) > 1:
                    faces[rows[0]], edges[rows[0]], widths[rows[0]] = "#ffffff", colours[rows[0]], 1.6
    if drawn.scale is not None:
        edges[edges == "#ffffff"] = "#555555"  # the bright end of a scale is seen on white by its rim
    new = np.arange(len(points)) >= len(points) - len(result.placed)  # a twin of a point may have its label
    order = np.argsort(sizes, kind="stable")  # small marks of a path below its start and end
    for marker, placed in itertools.product(dict.fromkeys(drawn.shapes), (False, True)):  # what was placed lies on top
        rows = [i for i in order if drawn.shapes[i] == marker and shown[i] and new[i] == placed]
        if rows:
            ax.scatter(
                *points[rows].T,
                s=sizes[rows] * _AREA.get(marker, 1),
                facecolor=faces[rows],
                edgecolor=edges[rows],
                linewidth=widths[rows],
                marker=marker,
                zorder=3 + placed / 2,
            )
    ax.update_datalim(points)  # also those not shown yet: the frame stays
    ax.autoscale_view()
    placed = np.flatnonzero(shown & new)
    if len(placed):
        ax.scatter(
            *points[placed].T,
            s=np.maximum(sizes[placed] * 4, 130),
            facecolor="none",
            edgecolor=_RING,
            linewidth=1.3,
            zorder=4,
            gid="ring",
        )
    ax.margins(0.12)
    ax.grid(True, color="0.93", zorder=0)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8, length=2, color="0.6")
    ax.spines[:].set_color("0.75")
    texts = _texts(result, drawn, path, labels, ends, most)
    small = 8 if len(texts) <= 20 else 7 if len(texts) <= 45 else 6.2
    return [
        ax.annotate(
            text,
            points[i],
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=small,
            color="0.15",
            zorder=5,
            path_effects=_HALO,
        )
        for i, text in texts
    ]


def _texts(
    result: Embedding, drawn: Marks, path: str | None, labels: bool | str | None, ends: list[int], most: int
) -> list[tuple[int, str]]:
    """(point, label) of the labels to be written."""
    if labels is False:
        return []
    index = result.points.index
    shown = [i for i, visible in enumerate(drawn.shown) if visible]
    if isinstance(labels, str) and labels != path:
        return [(i, str(index.get_level_values(labels)[i])) for i in shown]
    if path is None:
        return [(i, drawn.labels[i]) for i in shown] if labels or len(index) <= 12 else []
    names = index.get_level_values(path)
    told = any(
        len(entries) == len(drawn.runs) and {label for label, _, _ in entries} == {str(names[i]) for i in ends}
        for _, entries in drawn.legend
    )
    return [(i, str(names[i])) for i in ends] if labels or (not told and len(ends) <= most) else []


def _join(ax: Axes, points: np.ndarray, rows: list[int], drawn: Marks) -> None:
    """The line of a path, and arrowheads on the way, so far apart that they can be seen."""
    colour = drawn.colours[rows[0]] if len({drawn.colours[i] for i in rows}) == 1 else "#9a9a9a"
    way = points[rows]
    ax.plot(*way.T, color=colour, linewidth=1.2, alpha=0.75, zorder=2, solid_joinstyle="round")
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    length, whole = steps.sum(), np.linalg.norm(np.ptp(points, axis=0))
    if not length > 0.01 * whole:
        return
    along = np.r_[0, np.cumsum(steps)]
    heads = int(np.clip(length / (0.16 * whole), 1, 6))
    for place in (np.arange(heads) + 0.5) / heads * length:
        k = int(np.clip(np.searchsorted(along, place, side="right") - 1, 0, len(steps) - 1))
        direction = (way[k + 1] - way[k]) / steps[k]
        tip = way[k] + direction * (place - along[k])
        ax.add_patch(
            FancyArrowPatch(
                tip - direction * 0.004 * whole,
                tip + direction * 0.004 * whole,
                arrowstyle="-|>",
                mutation_scale=10,
                color=colour,
                linewidth=0.8,
                shrinkA=0,
                shrinkB=0,
                zorder=2.5,
            )
        )


# -- legend and words
# ------------------------------------------------------------------------------------------------------


def _handles(drawn: Marks, path: str | None, placed: bool) -> list[Line2D]:
    """One legend: what colours mean, then shapes, then the marks of a path and of placed points, each under its
    name.
    """
    parts = [
        (
            heading,
            [
                Line2D(
                    [],
                    [],
                    ls="",
                    marker=marker,
                    color=colour,
                    markeredgecolor="white",
                    markeredgewidth=0.5,
                    markersize=8,
                    label=textwrap.fill(label, 30),
                )
                for label, colour, marker in entries
            ],
        )
        for heading, entries in drawn.legend
    ]
    if path is not None and any(len(run) > 1 for run in drawn.runs):
        line = {"color": NEUTRAL, "linewidth": 1.2}
        parts.append(
            (
                f"path of a {path}",
                [
                    Line2D(
                        [],
                        [],
                        ls="",
                        marker="o",
                        markerfacecolor="white",
                        markeredgecolor=NEUTRAL,
                        markeredgewidth=1.5,
                        label="first",
                    ),
                    Line2D([], [], marker=">", markersize=5, label="on the way", **line),
                    Line2D(
                        [], [], ls="", marker="o", markersize=8, color=NEUTRAL, markeredgecolor="white", label="last"
                    ),
                ],
            )
        )
    if placed:
        parts.append(
            (
                "ring",
                [
                    Line2D(
                        [],
                        [],
                        ls="",
                        marker="o",
                        markersize=11,
                        markerfacecolor="none",
                        markeredgecolor=_RING,
                        markeredgewidth=1.3,
                        label="placed into the map",
                    )
                ],
            )
        )
    return list(
        itertools.chain.from_iterable([Line2D([], [], ls="", label=heading), *handles] for heading, handles in parts)
    )


def _bar(figure: Figure, drawn: Marks, **where: Any) -> None:
    heading, low, high, palette = drawn.scale
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), mpl.colors.ListedColormap(palette))
    figure.colorbar(scale, **where).set_label(heading, fontsize=10)


def _under(result: Embedding, width: int) -> str:
    shown = (
        "two of the axes of a map: near on paper may be far"
        if result.points.shape[1] > 2
        else "distance on the map ≈ dissimilarity"
    )
    meaning = "near on the map ≈ alike" if result.kind == "tsne" else shown
    return f"{meaning}\n{_wrapped(map_trust(result), width)}"


def _wrapped(text: str, width: int) -> str:
    """Broken after a comma or semicolon, so that numbers stay with their words."""
    lines = [""]
    for part in text.replace("; ", ";\0").replace(", ", ",\0").split("\0"):
        if lines[-1] and len(lines[-1]) + len(part) + 1 > width:
            lines.append(part)
        else:
            lines[-1] = f"{lines[-1]} {part}".strip()
    return "\n".join(lines)


# -- labels that keep clear of each other
# ----------------------------------------------------------------------------------

_AROUND = [
    (1, 0.6),
    (-1, 0.6),
    (1, -0.6),
    (-1, -0.6),
    (0, 1),
    (0, -1),
    (1, 0),
    (-1, 0),
    (0.5, 1),
    (-0.5, 1),
    (0.5, -1),
    (-0.5, -1),
]
_FAR = (5, 8, 13, 20, 28, 38, 50, 64, 80, 100)  # points
_LEAD = 20  # points; from here on a thin line leads to the label
_ROUNDS = 3


def _spread(axes: Iterable[Axes], written: Iterable[list[Annotation]]) -> None:
    """Move each label beside its point to where it covers no other label, as few marks as can be, and stays inside; one
    that had to go far gets a thin line.
    """
    written = list(written)
    if not any(written):
        return
    figure = next(label for labels in written for label in labels).figure.canvas.figure
    figure.draw_without_rendering()  # only a finished layout says where points are
    for ax, labels in zip(axes, written, strict=True):
        _spread_one(ax, labels, figure.dpi / 72)


def _spread_one(ax: Axes, labels: list[Annotation], pixel: float) -> None:
    marks_at = (
        np.concatenate([ax.transData.transform(c.get_offsets()) for c in ax.collections])
        if ax.collections
        else np.empty((0, 2))
    )
    lines_at = (
        np.concatenate([_sampled(ax.transData.transform(line.get_xydata()), 6 * pixel) for line in ax.lines])
        if ax.lines
        else np.empty((0, 2))
    )
    rings_at = np.concatenate(
        [np.empty((0, 2)), *(ax.transData.transform(c.get_offsets()) for c in ax.collections if c.get_gid() == "ring")]
    )
    frame, legend = ax.get_window_extent(), ax.get_legend()
    fixed = [np.r_[box.min, box.max] for box in ([legend.get_window_extent()] if legend is not None else [])]
    far = np.repeat(_FAR, len(_AROUND))
    tried = []
    for label in labels:
        box = label.get_window_extent()
        half = np.array([box.width, box.height]) / 2
        anchor = ax.transData.transform(label.xy)
        moves = np.array(
            [(x * (half[0] + away * pixel), y * (half[1] + away * pixel * 0.8)) for away in _FAR for x, y in _AROUND]
        )
        low, high = anchor + moves - half, anchor + moves + half
        cost = far / 3 + np.tile(np.arange(len(_AROUND)), len(_FAR)) / 12
        cost = (
            cost
            + 12 * _inside(marks_at, low - 3 * pixel, high + 3 * pixel)
            + 1.5 * _inside(lines_at, low, high)
            + 30 * _inside(rings_at, low - 8 * pixel, high + 8 * pixel)
        )
        cost = cost + 900 * ((low < [frame.x0, frame.y0]) | (high > [frame.x1, frame.y1])).any(axis=1)
        leads = anchor + np.linspace(0, 1, 12)[:, None, None] * moves * (far >= _LEAD)[:, None]  # (12, candidates, 2)
        tried.append((moves, low, high, cost, leads))
    best: dict[int, int] = {}
    for _ in range(_ROUNDS if len(labels) <= 60 else 1):  # a label that came early makes room for one that came late
        for k, (_, low, high, cost, leads) in enumerate(tried):
            others = [(np.r_[tried[j][1][at], tried[j][2][at]], tried[j][4][:, at]) for j, at in best.items() if j != k]
            for other in [*fixed, *(box for box, _ in others)]:
                cost = (
                    cost
                    + 400 * ((low < other[2:]) & (high > other[:2])).all(axis=1)
                    + 40 * ((leads > other[:2]) & (leads < other[2:])).all(axis=2).any(axis=0)
                )
            for _, lead in others:
                cost = cost + 40 * (_inside(lead[1:], low, high) > 0)
            best[k] = int(cost.argmin())
    for k, (label, (moves, low, high, _, _)) in enumerate(zip(labels, tried, strict=True)):
        label.xyann = tuple(moves[best[k]] / pixel)
        if far[best[k]] >= _LEAD:
            _lead(ax, label.xy, moves[best[k]] / pixel, (high - low)[best[k]] / 2 / pixel)


def _lead(ax: Axes, point: np.ndarray, move: np.ndarray, half: np.ndarray) -> None:
    """A thin line from a point to the rim of its label."""
    rim = move * (1 - min(1.0, np.min(half / np.maximum(np.abs(move), 1e-9))))
    where = ax.figure.dpi_scale_trans + ScaledTranslation(*point, ax.transData)
    ax.add_artist(
        Line2D(
            [0, rim[0] / 72], [0, rim[1] / 72], transform=where, color="0.55", linewidth=0.6, zorder=2.8, gid="leader"
        )
    )


def _sampled(way: np.ndarray, apart: float) -> np.ndarray:
    """Points on a polyline, so far apart."""
    pieces = [
        np.linspace(a, b, max(2, int(np.hypot(*(b - a)) / apart)), endpoint=False) for a, b in itertools.pairwise(way)
    ]
    return np.concatenate(pieces) if pieces else way


def _inside(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How many points lie in each box."""
    return ((points[None] > low[:, None]) & (points[None] < high[:, None])).all(axis=2).sum(axis=1)
