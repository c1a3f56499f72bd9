"""MatrixSpec: tables as colored cells, such as comparisons, frames of numbers, and similarities of samples."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.inference import BestMatch, NullTable
from repsim_nb.support.containers import to_array
from repsim_nb.support.labels import short_axis, varying_fields
from repsim_nb.support.validation import check_labels, to_numpy

from .base import Cells, FigureSpec, Labels, Spec, check_frame, finite, spec
from .colors import color_map

_MOST_SAMPLES = 300  # in a matrix of samples by samples


@dataclass(frozen=True)
class Ticks(Spec):
    """How the labels of rows and columns of a MatrixSpec are written.

    Parameters
    ----------
    all : bool
        Write every label; otherwise as many as can be read.
    by_run : bool
        Write equal labels that follow one another once, in the middle.
    smallest : float
        The smallest font size, in points.
    slanted_from : int
        Slant the labels of columns if one has at least this many characters.
    upright_from : int
        Write slanted labels upright if there are at least this many columns.
    on_top : bool
        Write the labels of columns above the matrix.

    Examples
    --------
    >>> from repsim_nb import specs
    >>> shown = specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c"), ticks=specs.Ticks(all=True, on_top=True))
    >>> shown.ticks.on_top
    True
    """

    all: bool = False
    by_run: bool = False
    smallest: float = 6.5
    slanted_from: int = 5
    upright_from: int = 13
    on_top: bool = False


@dataclass(frozen=True)
class MatrixSpec(FigureSpec):
    """A table as colored cells.

    Parameters
    ----------
    values : tuple of rows of float or None
        The numbers that colors stand for; None is a hatched cell.
    row_labels, column_labels : tuple of str
        A label for each row and column.
    row_title, column_title : str
        The titles of the axes.
    title, subtitle : str
        The two lines of the heading.
    bar_label : str
        The title of the color bar.
    low, high : float
        The values at the ends of the color map.
    color_map : "viridis", "viridis_r" or "PuOr"
        The colors from low to high; "viridis_r" reverses them, so that bright is similar for dissimilarities, too.
        "PuOr" is for differences: orange below the middle, purple above it.
    texts : tuple of rows of str
        The text of each cell, written if there is room; "" is no text.
    annotate : bool
        Write the texts in a picture. A view writes them if cells are large enough.
    bare_below : float
        The value below which cells have no text, which the color bar then states; 0 for no such limit.
    notes : tuple of (row, column, text)
        Why cells are undefined.
    marks : tuple of (row, column)
        Cells with a dot.
    mark_meaning : str
        What a dot means.
    row_breaks, column_breaks : tuple of int
        The rows and columns in front of which a line is drawn.
    bar_ticks : tuple of (value, text)
        The ticks of the color bar; empty for numbers that matplotlib chooses.
    ticks : Ticks
        How the labels of rows and columns are written.
    square : bool
        Draw cells as squares.
    wrap : bool
        Break long lines of the heading in a picture.
    size : (float, float)
        Width and height of the figure in inches.

    Examples
    --------
    >>> from repsim_nb import specs
    >>> shown = specs.MatrixSpec(((0.0, None),), ("a",), ("b", "c"), notes=((0, 1, "no value"),))
    >>> shown.colors[0], specs.MatrixSpec.from_json(shown.to_json()) == shown
    ('#440154', True)
    """

    values: Cells
    row_labels: Labels
    column_labels: Labels
    row_title: str = ""
    column_title: str = ""
    title: str = ""
    subtitle: str = ""
    bar_label: str = ""
    low: float = 0.0
    high: float = 1.0
    color_map: str = "viridis"
    texts: tuple[Labels, ...] = ()
    annotate: bool = True
    bare_below: float = 0.0
    notes: tuple[tuple[int, int, str], ...] = ()
    marks: tuple[tuple[int, int], ...] = ()
    mark_meaning: str = ""
    row_breaks: tuple[int, ...] = ()
    column_breaks: tuple[int, ...] = ()
    bar_ticks: tuple[tuple[float, str], ...] = ()
    ticks: Ticks = Ticks()
    square: bool = False
    wrap: bool = False

    @property
    def colors(self) -> tuple[str, ...]:
        """The color map as hexadecimal colors, from low to high."""
        return color_map(self.color_map)


def decimals(low: float, high: float) -> int:
    """Return the number of decimals for values in a range: two, or more if the range is small."""
    return max(2, 1 + int(np.ceil(-np.log10(high - low)))) if high > low else 2


def cells(values: np.ndarray) -> Cells:
    """Return a matrix as a tuple of rows, with None for undefined numbers."""
    return tuple(tuple(map(finite, row)) for row in values.tolist())


def texts_of(values: np.ndarray, low: float, high: float) -> tuple[Labels, ...]:
    """Return the texts of cells, with as many decimals as their range needs; "" for undefined numbers."""
    places = decimals(low, high)
    return tuple(tuple(f"{value:z.{places}f}" if np.isfinite(value) else "" for value in row) for row in values)


def _size(rows: Labels, columns: Labels) -> tuple[float, float]:
    return (
        min(max(0.42 * len(columns), 2.4), 9) + 0.07 * max(map(len, rows)) + 1.7,
        min(max(0.42 * len(rows), 2.4), 9) + 0.05 * max(map(len, columns)) + 1.1,
    )


# -- comparisons


@spec.register
def comparison_spec(
    result: Comparison,
    *,
    annotate: bool | None = None,
    title: str | None = None,
    marks: pd.DataFrame | None = None,
    marks_mean: str | None = None,
) -> MatrixSpec:
    """Return the spec of a comparison; options as for `plots.heatmap`."""
    values, (rows, columns), fixed = result.values.to_numpy(float), result.labels(), result.constants()
    low, high = _limits(values, result.measure.range)
    first, second = _heading(result.name, result.n, fixed, values.size)
    row_title, column_title = (
        _axis_title(axis, its, other)
        for axis, its, other in zip((result.values.index, result.values.columns), fixed, fixed[::-1], strict=True)
    )
    low_end, high_end = ("dissimilar", "similar") if result.kind == "similarity" else ("similar", "dissimilar")
    reasons = {
        (i, j): result.undefined.get((result.values.index[i], result.values.columns[j]), "")
        for i, j in np.argwhere(~np.isfinite(values)).tolist()
    }
    return MatrixSpec(
        values=cells(values),
        row_labels=rows,
        column_labels=columns,
        row_title=row_title,
        column_title=column_title,
        title=first if title is None else title,
        subtitle=second if title is None else "",
        bar_label=f"{low_end}  ←  {result.name}  →  {high_end}",
        low=low,
        high=high,
        color_map="viridis" if result.kind == "similarity" else "viridis_r",  # bright is alike
        texts=texts_of(values, low, high),
        annotate=values.size <= 100 if annotate is None else annotate,
        notes=tuple((i, j, reason) for (i, j), reason in reasons.items()),
        marks=() if marks is None else _find_marked(marks, result.values),
        mark_meaning=marks_mean or "",
        size=_size(rows, columns),
    )


@spec.register
def tested_spec(
    result: NullTable | BestMatch, *, marks: pd.DataFrame | None = None, marks_mean: str | None = None, **options: Any
) -> MatrixSpec:
    """Return the spec of a table whose cells, or whose best pair, were tested: cells above chance have a dot."""
    if marks is None:
        marks, meaning = (
            (result.above(), "above its null, false discovery rate 5 %")
            if isinstance(result, NullTable)
            else (result.significant(), "above chance, family-wise error 5 %")
        )
        marks_mean = marks_mean or meaning
    return comparison_spec(result.comparison, marks=marks, marks_mean=marks_mean, **options)


def _limits(values: np.ndarray, possible: tuple[float, float]) -> tuple[float, float]:
    """Return the range of the measure, so that pictures can be compared.

    The range of a signed similarity starts at 0 unless a value is negative. No end is infinite.
    """
    defined = values[np.isfinite(values)]
    low, high = possible
    if np.isinf(high):  # no picture can show it all: up to the largest value here
        high = float(defined.max()) if defined.size and defined.max() > max(low, 0) else 1.0
    smallest, largest = (defined.min(), defined.max()) if defined.size else (low, high)
    if high > 1 and defined.size and 0 < largest <= 0.75 * high:  # most of the colors would show nothing
        high = float(np.ceil(largest * 5 - 1e-9) / 5)
    low = min(0.0, np.floor(smallest * 10) / 10) if low < 0 or smallest < low - 1e-6 else low
    return float(low), float(largest if largest > high + 1e-6 else high)


def _axis_title(axis: pd.Index, fixed: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the field that varies along an axis, the model if there is one, and what the other axis does not have."""
    what = "/".join(map(str, varying_fields(axis))) or str(axis.names[-1] if axis.nlevels == 1 else "layer")
    title = f"{what} of {fixed['model']}" if "model" in fixed and what != "model" else what
    differing = [
        f"{name} {axis.get_level_values(name)[0]}"
        for name in dict.fromkeys([*fixed, *other])
        if name not in ("model", "layer")
        and fixed.get(name) != other.get(name)
        and axis.get_level_values(name).nunique() == 1
    ]
    return title + (f" ({', '.join(differing)})" if differing else "")


def _heading(name: str, n: int, fixed: tuple[dict[str, Any], dict[str, Any]], size: int) -> tuple[str, str]:
    """Return two lines: the measure and the models; the data and the number of samples."""
    rows, columns = fixed
    models = dict.fromkeys(str(side["model"]) for side in fixed if "model" in side)
    data = dict.fromkeys(str(side["dataset"]) for side in fixed if "dataset" in side)
    same_layer = rows.get("layer") and rows.get("layer") == columns.get("layer") and size > 1
    return (
        name + (f": {' × '.join(models)}" if models else "") + (f" at {rows['layer']}" if same_layer else ""),
        " × ".join(data) + (", " if data else "") + f"n = {n}",
    )


def _find_marked(marks: pd.DataFrame, table: pd.DataFrame) -> tuple[tuple[int, int], ...]:
    """Return the cells that get a mark; undefined cells get none."""
    if not isinstance(marks, pd.DataFrame) or not all(pd.api.types.is_bool_dtype(kind) for kind in marks.dtypes):
        raise TypeError(
            "marks must be a DataFrame of True and False with the labels of the table, such as null_table(...).above();"
            f" got {type(marks).__name__}{' with other values' if isinstance(marks, pd.DataFrame) else ''}."
        )
    if not all(
        mine.equals(its) or mine.equals(short_axis(its)) for mine, its in zip(marks.axes, table.axes, strict=True)
    ):
        raise ValueError(
            f"marks must have the labels of the table in the same order; the table has"
            f" {' × '.join(map(str, table.shape))} cells, marks have {' × '.join(map(str, marks.shape))}"
            f"{' with other labels' if marks.shape == table.shape else ''}."
        )
    shown = marks.to_numpy() & np.isfinite(table.to_numpy(float))
    return tuple((i, j) for i, j in np.argwhere(shown).tolist())


# -- other tables


def grid_spec(
    frame: pd.DataFrame, *, label: str = "", title: str = "", low: float | None = None, high: float | None = None
) -> MatrixSpec:
    """Return the spec of a frame of numbers; options as for `plots.grid`."""
    check_frame(frame, "grid", "a cell for each number")
    values = frame.to_numpy(float)
    defined = values[np.isfinite(values)]
    if not defined.size:
        raise ValueError(f"There is no number to draw in this frame of {frame.shape[0]} × {frame.shape[1]}.")
    rows, columns = (tuple(map(str, axis)) for axis in (frame.index, frame.columns))
    low, high = (float(end if given is None else given) for given, end in ((low, defined.min()), (high, defined.max())))
    return MatrixSpec(
        values=cells(values),
        row_labels=rows,
        column_labels=columns,
        row_title=str(frame.index.name or ""),
        column_title=str(frame.columns.name or ""),
        title=title,
        bar_label=textwrap.fill(label, 34),
        low=low,
        high=high,
        texts=texts_of(values, low, high),
        ticks=Ticks(all=True, smallest=9, slanted_from=9, upright_from=99),
        size=(
            0.72 * len(columns) + 0.085 * max(map(len, rows)) + 2.0,
            0.44 * len(rows) + 0.05 * max(map(len, columns)) + 1.2,
        ),
    )


def answers_spec(frame: pd.DataFrame, *, title: str = "") -> MatrixSpec:
    """Return the spec of measures (rows) on transformed data (columns); options as for `plots.answers`."""
    check_frame(frame, "answers", "rows are measures, columns transforms")
    kinds, values = [measures.get(name).kind for name in frame.index], frame.to_numpy(float)
    arrows = ["↑" if kind == "similarity" else "↓" for kind in kinds]
    largest = np.nanmax(np.abs(values), axis=1, initial=1e-12)
    alike = np.array(
        [
            row if kind == "similarity" else 1 - row / np.nanmax(row, initial=1e-12)
            for kind, row in zip(kinds, values, strict=True)
        ]
    )
    return MatrixSpec(
        values=cells(alike),
        row_labels=tuple(f"{name} {arrow}" for name, arrow in zip(frame.index, arrows, strict=True)),
        column_labels=tuple(textwrap.fill(str(name), 11) for name in frame.columns),
        column_title="↑ larger is more alike    ↓ larger is less alike    hatched: no value",
        title=title,
        texts=tuple(texts_of(row[None], 0.0, float(most))[0] for row, most in zip(values, largest, strict=True)),
        bar_ticks=((0.0, "dissimilar"), (1.0, "similar")),
        ticks=Ticks(all=True, smallest=9, slanted_from=99, on_top=True),
        size=(2.4 + 0.86 * frame.shape[1], 1.5 + 0.33 * len(frame)),
    )


def samples_specs(
    matrices: Mapping[str, np.ndarray], *, targets: np.ndarray | None = None, classes: Sequence[str] = ()
) -> tuple[MatrixSpec, ...]:
    """Return the specs of samples by samples, one for each representation; options as for `plots.samples`."""
    if not isinstance(matrices, Mapping):
        raise TypeError(
            "samples draws similarities of samples by name, {'name': rs.measures.first_order(x)}; got"
            f" {type(matrices).__name__}."
        )
    if not matrices:
        raise ValueError(
            "samples needs at least one matrix, {'name': rs.measures.first_order(x)}; this mapping is empty."
        )
    matrices = {name: to_numpy(to_array(matrix)) for name, matrix in matrices.items()}
    for name, matrix in matrices.items():
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(
                f"samples draws matrices of samples by samples; '{name}' has shape {matrix.shape}. For a representation"
                " pass rs.measures.first_order(x)."
            )
        if len(matrix) != len(next(iter(matrices.values()))):
            raise ValueError(
                f"samples draws matrices of the same samples; '{next(iter(matrices))}' has"
                f" {len(next(iter(matrices.values())))} and '{name}' {len(matrix)}."
            )
    n = len(next(iter(matrices.values())))
    targets = None if targets is None else check_labels(targets, n, "targets")
    order = np.argsort(targets, kind="stable") if targets is not None else np.arange(n)
    order = order[np.linspace(0, n - 1, min(_MOST_SAMPLES, n)).astype(int)]
    labels = () if targets is None else tuple(_class_name(target, classes) for target in targets[order])
    return tuple(
        MatrixSpec(
            values=cells(matrix[np.ix_(order, order)]),
            row_labels=labels,
            column_labels=labels,
            column_title="" if labels else "samples",
            title=name,
            bar_label="correlation of two samples",
            low=-1.0,
            annotate=False,
            ticks=Ticks(all=True, by_run=True, smallest=8, slanted_from=3, upright_from=0),
            square=True,
            size=(3.5, 3.7),
        )
        for name, matrix in matrices.items()
    )


def _class_name(target: Any, classes: Sequence[str]) -> str:
    known = isinstance(target, (int, np.integer)) and 0 <= target < len(classes)
    return str(classes[target]) if known else str(target)
