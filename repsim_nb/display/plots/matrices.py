"""Pictures of tables: one painter, `draw_matrix`, and a function for each kind of table."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from repsim_nb.display.specs import MatrixSpec, spec
from repsim_nb.display.specs.confusions import confusion_frame_spec
from repsim_nb.display.specs.matrices import answers_spec, grid_spec, samples_specs
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.inference import NullTable
from repsim_nb.results.probes import Probe
from repsim_nb.support.labels import Choice

from .axes import drop_none, expect, grid_shape, new_axes, new_figure, without_markup
from .drawing import draw
from .wrapping import title_room, wrap_title

_LEAST_GAP = 9.5  # points from one label of an axis to the next
_LEAST_TEXT = 5.0  # points, of the smallest text that is written into a cell
_MASKED = "#c8c8c8"


def heatmap(
    result: Comparison | NullTable | MatrixSpec,
    *,
    ax: Axes | None = None,
    annotate: bool | None = None,
    title: str | None = None,
    marks: pd.DataFrame | None = None,
    marks_mean: str | None = None,
) -> Axes:
    """Draw a comparison: rows down, columns across, in their order (layers in forward order).

    Parameters
    ----------
    result : Comparison, NullTable or MatrixSpec
        Cells without a value are hatched. Those of a NullTable that are above their null have a dot.
    ax : Axes, optional
        Where to draw.
    annotate : bool, optional
        Write the values into the cells; None does if there are at most 100.
    title : str, optional
        In place of the measure, models, data and number of samples.
    marks : DataFrame of bool, optional
        With the labels of the table; a cell gets a dot if it is True.
    marks_mean : str, optional
        What a dot means, for the title.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError, ValueError
        If `result` or `marks` is of another type, or `marks` has other labels.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> rs.plots.heatmap(rs.compare("cka", {"a": x, "b": x**2})).get_title()
    'cka\\nn = 20'
    """
    if isinstance(result, Probe):
        raise TypeError("heatmap draws a Comparison or a NullTable; draw a probe with plots.confusion(probe).")
    expect(result, (Comparison, NullTable, MatrixSpec), "heatmap draws a Comparison (from rs.compare) or a NullTable")
    options = drop_none(annotate=annotate, title=title, marks=marks, marks_mean=marks_mean)
    return draw(spec(result, **options), ax=ax)


def heatmaps(
    comparisons: Sequence[Comparison | NullTable | MatrixSpec],
    *,
    columns: int = 3,
    annotate: bool | None = None,
    figure: Figure | None = None,
) -> list[Axes]:
    """Draw several comparisons in one figure.

    Parameters
    ----------
    comparisons : sequence of Comparison, NullTable or MatrixSpec
    columns : int
        How many are next to each other.
    annotate : bool, optional
        Write the values into the cells; None does if there are at most 100.
    figure : Figure, optional
        Where to draw.

    Returns
    -------
    list of Axes
        One for each comparison; see `heatmap`.

    Raises
    ------
    ValueError
        If `comparisons` is a single comparison, or empty.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> tables = [rs.compare(name, {"a": x, "b": x**2}) for name in ("cka", "procrustes")]
    >>> [ax.get_title().splitlines()[0] for ax in rs.plots.heatmaps(tables)]
    ['cka', 'procrustes']
    """
    if isinstance(comparisons, (Comparison, NullTable, MatrixSpec)) or not len(comparisons):
        raise ValueError("heatmaps draws a list of at least one comparison; draw a single one with plots.heatmap.")
    rows, columns = grid_shape(columns, len(comparisons))
    shown = [spec(comparison, **drop_none(annotate=annotate)) for comparison in comparisons]
    width, height = (max(lengths) for lengths in zip(*(one.size for one in shown), strict=True))
    figure = new_figure(figure, columns * width, rows * height, pad=0.12)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[len(shown) :]:
        ax.remove()
    return [draw(one, ax=ax) for ax, one in zip(axes, shown, strict=False)]


def grid(
    frame: pd.DataFrame,
    *,
    ax: Axes | None = None,
    label: str = "",
    title: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Axes:
    """Draw any frame of numbers as a matrix with its values written in; cells without a number are hatched.

    Parameters
    ----------
    frame : DataFrame of numbers
    ax : Axes, optional
        Where to draw.
    label, title : str
        What the numbers are, for the color bar; the title.
    low, high : float, optional
        The values at the ends of the colors; None is the smallest and the largest number.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If there is no number.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> ax = plots.grid(pd.DataFrame([[0.1, 0.2]], columns=["a", "b"]), label="fraction")
    >>> [text.get_text() for text in ax.texts]
    ['0.10', '0.20']
    """
    return draw_matrix(grid_spec(frame, label=label, title=title, low=low, high=high), ax=ax)


def answers(frame: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw the values of measures on a representation and its transforms; bright is alike.

    Parameters
    ----------
    frame : DataFrame
        Rows are measures by short name, columns transforms. A missing value is hatched.
    ax : Axes, optional
        Where to draw.
    title : str

    Returns
    -------
    Axes
        Colors of a similarity run from 1 to 0, those of a dissimilarity from 0 to the largest value of its row.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> ax = plots.answers(pd.DataFrame({"same": [1.0, 0.0], "noise": [0.3, 0.9]}, index=["cka", "procrustes"]))
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['cka ↑', 'procrustes ↓']
    """
    return draw_matrix(answers_spec(frame, title=title), ax=ax)


def samples(
    matrices: Mapping[str, np.ndarray],
    *,
    targets: np.ndarray | None = None,
    classes: Sequence[str] = (),
    figure: Figure | None = None,
) -> list[Axes]:
    """Draw similarity matrices (samples, samples) next to each other, one a representation.

    Of more than 300 samples 300 are drawn, evenly taken.

    Parameters
    ----------
    matrices : {name: array (n, n)}
    targets : array (n,), optional
        The class of each sample; samples are sorted by it.
    classes : sequence of str
        Names of the classes 0, 1, ....
    figure : Figure, optional
        Where to draw.

    Returns
    -------
    list of Axes

    Examples
    --------
    >>> from repsim_nb import measures, plots
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> [ax.get_title() for ax in plots.samples({"mine": measures.first_order(x)})]
    ['mine']
    """
    return draw_samples(samples_specs(matrices, targets=targets, classes=classes), figure=figure)


def confusion(
    result: Probe | pd.DataFrame | MatrixSpec,
    *,
    by: Choice | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw which class was predicted for which, as fractions of each row; bright is many.

    Parameters
    ----------
    result : Probe, DataFrame or MatrixSpec
        What `probes.dataset_bias` or `probes.linear_probe` returns, or a frame of fractions (classes, classes) from
        elsewhere, such as a published one. Cells that round to 0.00 have no text.
    by : choice, optional
        Group rows and columns, with lines between groups: a field of the labels ("dataset", "model"), {label: value},
        or one value a class. None takes the field by which the result is ordered.
    ax : Axes, optional
        Where to draw.
    title : str, optional

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a frame does not hold fractions, or a field is unknown.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> plots.confusion(pd.DataFrame([[0.9, 0.1], [0.2, 0.8]], list("ab"), list("ab"))).get_title().splitlines()
    ['balanced accuracy 0.850 (chance 0.500)', '2 sets']
    """
    expect(
        result,
        (Probe, pd.DataFrame, MatrixSpec),
        "confusion draws what probes.dataset_bias returns, or a DataFrame with the fractions of each row",
    )
    make = confusion_frame_spec if isinstance(result, pd.DataFrame) else spec
    return draw(make(result, **drop_none(by=by, title=title)), ax=ax)


@draw.register
@without_markup
def draw_matrix(shown: MatrixSpec, *, ax: Axes | None = None) -> Axes:
    """Draw a matrix as its spec describes it, with a color bar."""
    ax = new_axes(ax, *shown.size)
    image = _paint(ax, shown)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.95, pad=0.03)  # first, since it takes its room from the axes
    box = ax.get_window_extent()
    _write_labels(ax, shown, box.width, box.height)
    width, height = (
        72 * length / ax.figure.dpi / count
        for length, count in ((box.width, len(shown.values[0])), (box.height, len(shown.values)))
    )
    written = shown.annotate and _write_texts(ax, shown, image, width, height)
    _write_marks(ax, shown, image, min(width, height))
    _write_titles(ax, shown, box.width / ax.figure.dpi)
    bare = f" (bare: below {shown.bare_below})" if written and shown.bare_below else ""
    bar.set_label(shown.bar_label + bare, fontsize=9 if shown.ticks.all else 10)
    if shown.bar_ticks:
        places, names = zip(*shown.bar_ticks, strict=True)
        bar.set_ticks(places, labels=names, fontsize=9)
    return ax


@without_markup
def draw_samples(shown: Sequence[MatrixSpec], *, figure: Figure | None = None) -> list[Axes]:
    """Draw several matrices of one color map in one row, with one color bar."""
    figure = new_figure(figure, shown[0].size[0] * len(shown) + 0.6, shown[0].size[1])
    axes = list(figure.subplots(1, len(shown), squeeze=False)[0])
    for ax, one in zip(axes, shown, strict=True):
        image, box = _paint(ax, one), ax.get_window_extent()
        _write_labels(ax, one, box.width, box.height)
        _write_titles(ax, one, one.size[0])
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02).set_label(shown[0].bar_label, fontsize=9)
    return axes


def _paint(ax: Axes, shown: MatrixSpec) -> AxesImage:
    """The cells, and lines between groups."""
    ax.patch.set(facecolor=_MASKED, hatch="////", edgecolor="white")
    image = ax.imshow(
        np.ma.masked_invalid(np.array(shown.values, float)),
        cmap=shown.color_map,
        vmin=shown.low,
        vmax=shown.high,
        aspect="equal" if shown.square else "auto",
        interpolation="nearest",
    )
    for place in shown.row_breaks:
        ax.axhline(place - 0.5, color="white", linewidth=1.4)
    for place in shown.column_breaks:
        ax.axvline(place - 0.5, color="white", linewidth=1.4)
    return image


def _write_labels(ax: Axes, shown: MatrixSpec, width: float, height: float) -> None:
    """Labels of rows and columns, as many as the spec asks for and as can be read; width, height: pixels."""
    ticks, longest = shown.ticks, max(map(len, shown.column_labels), default=0)
    slanted = longest >= ticks.slanted_from
    upright = slanted and len(shown.column_labels) >= ticks.upright_from
    ax.tick_params(axis="x", rotation=90 if upright else 45 if slanted else 0)
    for axis, labels, length in ((ax.yaxis, shown.row_labels, height), (ax.xaxis, shown.column_labels, width)):
        room = 72 * length / ax.figure.dpi / max(1, len(labels))  # points a label
        step = 1 if ticks.all else max(1, int(np.ceil(_LEAST_GAP / room)))
        places = _middles(labels) if ticks.by_run else range(0, len(labels), step)
        axis.set_ticks(places, [labels[int(place)] for place in places])
        size = min(9, max(ticks.smallest, 0.85 * room * step))
        axis.set_tick_params(labelsize=size, length=0 if ticks.by_run or ticks.on_top else 2)
    if slanted and not upright:
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    if ticks.on_top:
        ax.xaxis.tick_top()


def _middles(labels: Sequence[str]) -> list[float]:
    """The middle of each run of equal labels."""
    ends = np.cumsum([len(list(run)) for _, run in itertools.groupby(labels)])
    return [float(first + last - 1) / 2 for first, last in itertools.pairwise([0, *ends])]


def _write_texts(ax: Axes, shown: MatrixSpec, image: AxesImage, width: float, height: float) -> bool:
    """Write texts into the cells, if they can be read; return whether they can."""
    size = min(8, width / 2.5, height / 1.3)
    if size < _LEAST_TEXT:
        return False
    for i, row in enumerate(shown.texts):
        for j, text in enumerate(row):
            if text:
                color = _ink_on(image, shown.values[i][j])
                ax.text(j, i, text, ha="center", va="center", fontsize=size, color=color)
    return True


def _write_marks(ax: Axes, shown: MatrixSpec, image: AxesImage, cell: float) -> None:
    """A dot in the upper right corner of each marked cell; in the middle of a small cell."""
    if shown.marks:
        rows, columns = np.array(shown.marks).T
        size, away = (min(0.17 * cell, 4.0), 0.34) if cell >= 14 else (0.3 * cell, 0.0)
        inks = [_ink_on(image, shown.values[i][j]) for i, j in shown.marks]
        ax.scatter(columns + away, rows - away, s=size**2, c=inks, linewidths=0, gid="marks")


def _write_titles(ax: Axes, shown: MatrixSpec, width: float) -> None:
    ax.set(ylabel=shown.row_title, xlabel=shown.column_title)
    if shown.square or shown.ticks.on_top:
        ax.xaxis.label.set_fontsize(9)
    hatched = f", {len(shown.notes)} hatched cells undefined" if shown.subtitle and shown.notes else ""
    lines = [shown.title, *([shown.subtitle + hatched] if shown.subtitle else [])]
    if shown.wrap:
        room = title_room(width, max(map(len, shown.row_labels)))
        lines = [wrap_title(line, room) for line in lines]
    if shown.marks and shown.mark_meaning:
        lines.append(f"• {shown.mark_meaning}")
    ax.set_title(
        "\n".join(lines), fontsize=10 if shown.wrap or shown.square else 11, pad=12 if shown.ticks.on_top else 6
    )


def _ink_on(image: AxesImage, value: float | None) -> str:
    """The color in which a text can be read on the color of a value."""
    red, green, blue, _ = image.to_rgba(np.array([value], float))[0]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"
