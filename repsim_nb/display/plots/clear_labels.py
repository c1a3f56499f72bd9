"""Labels of points on a map, moved so that they cover neither each other nor the marks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import ScaledTranslation

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


def spread(axes: Iterable[Axes], written: Iterable[list[Annotation]]) -> None:
    """Move each label next to its point, to a place where it covers no other label and few marks.

    Labels stay inside the axes. A label far from its point gets a thin line.
    """
    written = list(written)
    if not any(written):
        return
    figure = next(label for labels in written for label in labels).figure.canvas.figure
    figure.draw_without_rendering()  # the places of points are known when the layout is finished
    for ax, labels in zip(axes, written, strict=True):
        _place(ax, labels, figure.dpi / 72)


def _place(ax: Axes, labels: list[Annotation], pixel: float) -> None:
    marks_at = (
        np.concatenate([ax.transData.transform(c.get_offsets()) for c in ax.collections])
        if ax.collections
        else np.empty((0, 2))
    )
    lines_at = (
        np.concatenate([_sample(ax.transData.transform(line.get_xydata()), 6 * pixel) for line in ax.lines])
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
            _lead(ax, np.asarray(label.xy), moves[best[k]] / pixel, (high - low)[best[k]] / 2 / pixel)


def _lead(ax: Axes, point: np.ndarray, move: np.ndarray, half: np.ndarray) -> None:
    """Draw a thin line from a point to the rim of its label."""
    rim = move * (1 - min(1.0, np.min(half / np.maximum(np.abs(move), 1e-9))))
    where = ax.figure.dpi_scale_trans + ScaledTranslation(point[0], point[1], ax.transData)  # type: ignore[arg-type]
    ax.add_artist(
        Line2D(
            [0, rim[0] / 72], [0, rim[1] / 72], transform=where, color="0.55", linewidth=0.6, zorder=2.8, gid="leader"
        )
    )


def _sample(way: np.ndarray, spacing: float) -> np.ndarray:
    """Points on a polyline, so far apart."""
    pieces = [
        np.linspace(a, b, max(2, int(np.hypot(*(b - a)) / spacing)), endpoint=False) for a, b in itertools.pairwise(way)
    ]
    return np.concatenate(pieces) if pieces else way


def _inside(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return how many points lie in each box."""
    return ((points[None] > low[:, None]) & (points[None] < high[:, None])).all(axis=2).sum(axis=1)
