"""Pictures of tables: a function for each kind of table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.display.specs import MatrixSpec, spec
from repsim_nb.display.specs.confusions import confusion_frame_spec
from repsim_nb.display.specs.matrices import answers_spec, grid_spec, samples_specs
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.inference import BestMatch, NullTable
from repsim_nb.results.probes import Probe
from repsim_nb.support.labels import Choice
from repsim_nb.support.rdms import RDM

from .axes import drop_none, expect, grid_axes, grid_shape, new_figure
from .drawing import draw
from .matrix_painter import draw_matrix, draw_samples

Drawable = Comparison | NullTable | BestMatch | MatrixSpec
_DRAWABLE = get_args(Drawable)


def heatmap(
    result: Drawable,
    *,
    ax: Axes | None = None,
    annotate: bool | None = None,
    title: str | None = None,
    marks: pd.DataFrame | None = None,
    marks_mean: str | None = None,
) -> Axes:
    r"""Draw a comparison as a heatmap: bright cells are similar, dark cells dissimilar.

    Rows and columns keep the order of the table, which is the forward order of the layers after `rs.record`.

    Parameters
    ----------
    result : Comparison, NullTable, BestMatch or MatrixSpec
        The table to draw. Undefined cells are hatched. In a NullTable or BestMatch, cells above chance have a dot.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    annotate : bool, optional
        Whether to write the values into the cells; None writes them if there are at most 100 cells.
    title : str, optional
        The title. None shows the measure, models, data and number of samples.
    marks : DataFrame of bool (rows, columns), optional
        The cells that get a dot, with the labels of the table in the same order.
    marks_mean : str, optional
        What a dot means. It is added to the title.

    Returns
    -------
    Axes
        The axes with the heatmap. The color bar belongs to the same figure.

    Raises
    ------
    TypeError
        If `result` is not a table, or `marks` is not a DataFrame of bool.
    ValueError
        If `marks` has other labels than the table.

    See Also
    --------
    heatmaps : Several comparisons in one figure.
    grid : Any DataFrame of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> rs.plots.heatmap(rs.compare("cka", {"a": x, "b": x**2})).get_title()
    'cka\nn = 20'
    """
    if isinstance(result, Probe):
        raise TypeError(
            "heatmap draws a Comparison, a NullTable or a BestMatch; draw a probe with plots.confusion(probe)."
        )
    if isinstance(result, RDM):
        raise TypeError("heatmap draws tables of values; draw an RDM with plots.draw(rs.spec(rdm)).")
    expect(result, _DRAWABLE, "heatmap draws a Comparison (from rs.compare), a NullTable or a BestMatch")
    options = drop_none(annotate=annotate, title=title, marks=marks, marks_mean=marks_mean)
    return draw(spec(result, **options), ax=ax)


def heatmaps(
    comparisons: Iterable[Drawable] | Mapping[Any, Drawable],
    *,
    columns: int = 3,
    annotate: bool | None = None,
    figure: Figure | None = None,
) -> list[Axes]:
    """Draw several comparisons in one figure.

    Parameters
    ----------
    comparisons : iterable of Comparison, NullTable, BestMatch or MatrixSpec, or {name: one of them}
        The tables to draw, from left to right and from top to bottom. A name becomes the title of its table.
    columns : int
        The number of heatmaps in a row, at least 1.
    annotate : bool, optional
        Whether to write the values into the cells; None writes them if a table has at most 100 cells.
    figure : Figure, optional
        The figure to draw in; None creates one. Its size is set to fit the heatmaps.

    Returns
    -------
    list of Axes
        One for each comparison; see `heatmap`.

    Raises
    ------
    TypeError
        If `comparisons` is no iterable.
    ValueError
        If `comparisons` is a single comparison or empty, or `columns` is below 1.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> tables = [rs.compare(name, {"a": x, "b": x**2}) for name in ("cka", "procrustes")]
    >>> [ax.get_title().splitlines()[0] for ax in rs.plots.heatmaps(tables)]
    ['cka', 'procrustes']
    >>> [ax.get_title().splitlines()[0] for ax in rs.plots.heatmaps({"one": tables[0], "two": tables[1]})]
    ['one', 'two']
    """
    if isinstance(comparisons, _DRAWABLE):
        raise ValueError("heatmaps draws a list of comparisons; draw a single one with plots.heatmap.")
    if not isinstance(comparisons, Iterable):
        raise TypeError(f"heatmaps draws a list of comparisons; got {type(comparisons).__name__}.")
    names = list(comparisons) if isinstance(comparisons, Mapping) else []
    comparisons = list(comparisons.values() if isinstance(comparisons, Mapping) else comparisons)
    if not comparisons:
        raise ValueError("heatmaps draws a list of at least one comparison; this one is empty.")
    rows, columns = grid_shape(columns, len(comparisons))
    shown = [cast(MatrixSpec, spec(comparison, **drop_none(annotate=annotate))) for comparison in comparisons]
    if names:
        shown = [
            replace(one, title=str(name), subtitle=", ".join(filter(None, (one.title, one.subtitle))))
            for name, one in zip(names, shown, strict=True)
        ]
    width, height = (max(lengths) for lengths in zip(*(one.size for one in shown), strict=True))
    figure = new_figure(figure, columns * width, rows * height, pad=0.12)
    axes = grid_axes(figure, rows, columns, len(shown))
    return [draw(one, ax=ax) for ax, one in zip(axes, shown, strict=True)]


def grid(
    frame: pd.DataFrame,
    *,
    ax: Axes | None = None,
    label: str = "",
    title: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Axes:
    """Draw a DataFrame of numbers as a matrix with its values in the cells.

    Parameters
    ----------
    frame : DataFrame (rows, columns) of float
        The numbers to draw. Cells without a number are hatched.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    label : str
        What the numbers are. It stands next to the color bar.
    title : str
        The title.
    low, high : float, optional
        The values at the ends of the color bar; None takes the smallest and the largest number.

    Returns
    -------
    Axes
        The axes with the matrix.

    Raises
    ------
    TypeError
        If `frame` is not a DataFrame.
    ValueError
        If the frame has no number.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> ax = plots.grid(pd.DataFrame([[0.1, 0.2]], columns=["a", "b"]), label="fraction")
    >>> [text.get_text() for text in ax.texts]
    ['0.10', '0.20']
    """
    return draw_matrix(grid_spec(frame, label=label, title=title, low=low, high=high), ax=ax)


def answers(frame: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Draw what measures return for a representation and its transforms.

    Bright cells are similar, dark cells dissimilar, for similarities and for dissimilarities.

    Parameters
    ----------
    frame : DataFrame (measures, transforms) of float
        One row for each measure, with its short name ("cka") as label, and one column for each transform. Missing
        values are hatched.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    title : str
        The title.

    Returns
    -------
    Axes
        The axes with the matrix. Row labels have an arrow up for a similarity and an arrow down for a dissimilarity.

    Raises
    ------
    TypeError
        If `frame` is not a DataFrame.
    ValueError
        If a row is not the name of a measure.

    Notes
    -----
    The colors of a similarity run from 0 (dark) to 1 (bright). The colors of a dissimilarity run from the largest value
    in its row (dark) to 0 (bright).

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
    """Draw matrices of the similarity of samples next to each other, one for each representation.

    At most 300 samples are drawn. If there are more, 300 of them are taken at equal distances.

    Parameters
    ----------
    matrices : {name: array (n, n)}
        Correlations of n samples for each representation, from -1 to 1, such as `rs.measures.first_order` returns.
    targets : array (n,), optional
        The class of each sample. Samples are sorted by class; None keeps their order.
    classes : sequence of str
        The names of the classes 0, 1, ....
    figure : Figure, optional
        The figure to draw in; None creates one. Its size is set to fit the matrices.

    Returns
    -------
    list of Axes
        One for each matrix.

    Raises
    ------
    TypeError
        If `matrices` is not a dict of matrices.
    ValueError
        If it is empty, if a matrix is not samples by samples, and if there is not one target for each sample.

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
    """Draw a confusion matrix: the true class in rows, the predicted class in columns.

    Values are fractions of their row. Bright cells are large fractions. Cells that round to 0.00 have no text.

    Parameters
    ----------
    result : Probe, DataFrame or MatrixSpec
        What `probes.dataset_bias` or `probes.linear_probe` returns, or a DataFrame (classes, classes) of fractions from
        another source, such as a paper.
    by : str, dict or sequence, optional
        How to group rows and columns, with lines between groups: a field of the labels ("dataset" or "model"),
        {label: group}, or one group for each class. None takes the field by which the result is ordered.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    title : str, optional
        The title. None shows the balanced accuracy and its chance level.

    Returns
    -------
    Axes
        The axes with the confusion matrix.

    Raises
    ------
    TypeError
        If `result` is neither a Probe nor a DataFrame.
    ValueError
        If a DataFrame has values outside of 0 to 1, its rows and columns differ, or a field is unknown.

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
