"""What a result looks like: put into the view that answers the mouse, and as PNG for a notebook that is only read."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from repsim_nb.display import plots
from repsim_nb.display.views import MatrixView, ScatterView
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.embedding import Embedding
from repsim_nb.results.probes import DatasetProbe

RINGED = ("ring", (("placed into the map", "#000000", "ring"),))


def table_image(comparison: Comparison) -> bytes:
    """The PNG of a table."""
    return plots.png(lambda ax: plots.heatmap(comparison, ax=ax), *plots.heatmap_size(comparison))


def confusion_image(bias: DatasetProbe) -> bytes:
    """The PNG of a confusion matrix."""
    return plots.png(lambda ax: plots.confusion(bias, ax=ax), *plots.confusion_size(bias.labels()))


def map_image(result: Embedding, *, notes: Sequence[str] | None = None, said: str = "", **looks: Any) -> bytes:
    """The PNG of a map, with the looks that its view has."""
    title = "\n".join(textwrap.fill(line, 70) for line in (*plots.map_heading(result), said) if line) if said else None
    return plots.png(lambda ax: plots.embedding(result, ax=ax, title=title, **looks), *plots.map_size(result))


def figure_image(figure: Figure) -> bytes:
    """The PNG of a figure; drawn through pyplot, it would show up a second time."""
    image = plots.figure_png(figure)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)
    return image


def fill_matrix(view: MatrixView, comparison: Comparison) -> None:
    """A table, with its labels, colours, and the reasons of masked cells."""
    values = comparison.values.to_numpy(float)
    (rows, columns), (down, across) = comparison.labels(), plots.axis_titles(comparison)
    index, header = comparison.values.index, comparison.values.columns
    title, subtitle = plots.heading(comparison)
    low, high = plots.colour_limits(comparison)
    with view.hold_sync():
        view.values = [[float(v) if np.isfinite(v) else None for v in row] for row in values]
        view.row_labels, view.column_labels, view.row_title, view.column_title = list(rows), list(columns), down, across
        view.notes = {
            f"{i},{j}": comparison.undefined.get((index[i], header[j]), "")
            for i, j in np.argwhere(~np.isfinite(values)).tolist()
        }
        masked = f", {len(view.notes)} cells undefined (point at one to see why)" if view.notes else ""
        view.title, view.subtitle, view.low, view.high = title, subtitle + masked, low, high
        view.colours, view.bar_label = plots.colours_of(plots.colour_map(comparison)), plots.bar_label(comparison)
        view.row_breaks, view.column_breaks, view.write_from = [], [], 0.0
        view.chosen, view.picture = [], view.picture + 1


def fill_confusion(view: MatrixView, bias: DatasetProbe) -> None:
    """Which set was taken for which, with lines between groups of sets."""
    labels = list(bias.labels())
    with view.hold_sync():
        view.values, view.row_labels, view.column_labels, view.notes = (
            bias.confusion.to_numpy().tolist(),
            labels,
            labels,
            {},
        )
        (view.row_title, view.column_title), (view.title, view.subtitle) = (
            plots.confusion_titles(bias),
            plots.confusion_heading(bias),
        )
        view.low, view.high, view.colours, view.bar_label = 0.0, 1.0, plots.colours_of("viridis"), "share of the row"
        view.row_breaks = view.column_breaks = bias.breaks(bias.ordered_by) if bias.ordered_by else []
        view.write_from = plots.ROUNDS_TO_NOTHING
        view.chosen, view.picture = [], view.picture + 1


def fill_scatter(
    view: ScatterView, result: Embedding, *, notes: Sequence[str] | None = None, said: str = "", **looks: Any
) -> None:
    """A map, with its marks.  notes: a text a point.  said: a line below the heading.  looks: what `plots.marks` takes.

    What was chosen stays chosen where the points are the same.
    """
    marks = plots.marks(result, **looks)
    points = result.points.to_numpy(float)[:, :2]
    points = np.column_stack([points, np.zeros(len(points))]) if points.shape[1] == 1 else points
    title, subtitle = plots.map_heading(result)
    same = view.points == points.tolist() and view.labels == list(marks.labels)
    with view.hold_sync():
        view.points, view.labels, view.notes = points.tolist(), list(marks.labels), list(notes or [""] * len(points))
        view.colours, view.shapes, view.shown = list(marks.colours), list(marks.shapes), list(marks.shown)
        view.runs = [list(run) for run in marks.runs]
        view.ringed = list(range(len(points) - len(result.placed), len(points)))
        view.legend = [
            [heading, [list(entry) for entry in entries]]
            for heading, entries in (*marks.legend, *([RINGED] if result.placed else []))
        ]
        view.scale = None if marks.scale is None else [*marks.scale[:3], list(marks.scale[3])]
        view.title, view.subtitle, view.footer = (
            title,
            "\n".join(part for part in (subtitle, said) if part),
            plots.map_trust(result),
        )
        if not same:
            view.chosen, view.selected, view.picture = [], [], view.picture + 1


def fill_image(view: widgets.Image, figure: Figure, *, image: bytes) -> None:
    """A figure, as the PNG that was made of it."""
    view.value = image


@dataclass(frozen=True)
class Face:
    """How results of one kind are shown.

    view: what they are shown in.  fill(view, result, **looks), in a moment.  image(result, **looks): the PNG.
    made(result): looks that take work, made beforehand.
    """

    view: type[widgets.DOMWidget]
    fill: Callable[..., None]
    image: Callable[..., bytes]
    made: Callable[[Any], Mapping[str, Any]] = lambda result: {}


Picture = Figure | Comparison | Embedding | DatasetProbe
FACES: dict[type, Face] = {
    Figure: Face(
        widgets.Image, fill_image, lambda figure, image: image, lambda figure: {"image": figure_image(figure)}
    ),
    Comparison: Face(MatrixView, fill_matrix, table_image),
    DatasetProbe: Face(MatrixView, fill_confusion, confusion_image),
    Embedding: Face(ScatterView, fill_scatter, map_image),
}


def face_of(result: Any) -> Face | None:
    """How this is shown; None where it is no picture."""
    return next((face for kind, face in FACES.items() if isinstance(result, kind)), None)
