"""Pictures of frames of numbers and of tests: curves, bands, intervals, points, null distributions, runs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.display.specs import LineSpec, spec
from repsim_nb.display.specs.lines import band_spec, curves_spec, intervals_spec
from repsim_nb.display.specs.scatter import scatter_spec
from repsim_nb.display.specs.to_final import ByRun, to_final_spec
from repsim_nb.results.inference import Test

from .axes import drop_none, expect
from .drawing import draw
from .line_painter import draw_panels


def curves(frame: pd.DataFrame, *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "", title: str = "") -> Axes:
    """Draw a line for each column of a DataFrame, over its index.

    Parameters
    ----------
    frame : DataFrame (points, lines) of float
        The index has the horizontal positions; names are drawn at equal distances. Columns with the name of a measure
        or of a family of models have its fixed color.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    xlabel : str
        The label of the horizontal axis; "" takes the name of the index.
    ylabel : str
        The label of the vertical axis.
    title : str
        The title.

    Returns
    -------
    Axes
        The axes with the lines.

    Raises
    ------
    TypeError
        If `frame` is not a DataFrame.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> ax = plots.curves(pd.DataFrame({"cka": [0.1, 0.4]}, index=pd.Index([1, 2], name="noise")))
    >>> ax.get_xlabel(), len(ax.lines)
    ('noise', 1)
    """
    return draw(curves_spec(frame, xlabel=xlabel, ylabel=ylabel, title=title), ax=ax)


def band(
    frames: Mapping[str, pd.DataFrame], *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "", title: str = ""
) -> Axes:
    """Draw lines with their intervals as areas.

    Parameters
    ----------
    frames : {name: DataFrame}
        One DataFrame for each line, with the columns "mean", "low" and "high" and the horizontal positions in its
        index. The name of a measure or of a family of models has its fixed color.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    xlabel : str
        The label of the horizontal axis; "" takes the name of the index.
    ylabel : str
        The label of the vertical axis.
    title : str
        The title.

    Returns
    -------
    Axes
        The axes with the lines and areas.

    Raises
    ------
    TypeError
        If `frames` is not a dict of DataFrames.
    ValueError
        If there is no DataFrame, one lacks a column, or they have different names in their index.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> frame = pd.DataFrame({"mean": [0.5, 0.6], "low": [0.4, 0.5], "high": [0.6, 0.7]}, index=[50, 100])
    >>> [text.get_text() for text in plots.band({"cka": frame}).get_legend().get_texts()]
    ['cka']
    """
    return draw(band_spec(frames, xlabel=xlabel, ylabel=ylabel, title=title), ax=ax)


def intervals(
    frames: Mapping[str, pd.DataFrame],
    *,
    ax: Axes | None = None,
    xlabel: str = "",
    title: str = "",
    line: float | None = None,
) -> Axes:
    """Draw values with their intervals, one row for each value.

    Parameters
    ----------
    frames : {name: DataFrame}
        DataFrames with the columns "mean", "low" and "high". All have the same index, whose order is kept from top to
        bottom.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    xlabel : str
        The label of the horizontal axis.
    title : str
        The title.
    line : float, optional
        A value to compare with, such as the chance level: a vertical dashed line.

    Returns
    -------
    Axes
        The axes with the intervals.

    Raises
    ------
    TypeError
        If `frames` is not a dict of DataFrames.
    ValueError
        If there is no DataFrame, one lacks a column, or they have different rows.

    Notes
    -----
    If there is one DataFrame, and some of its rows are measures or families of models, these rows have their fixed
    colors and the others are grey. Otherwise each DataFrame has one color: the fixed one, if its name has one.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> frame = pd.DataFrame({"mean": [0.7, 0.4], "low": [0.6, 0.2], "high": [0.8, 0.6]}, index=["CKA", "Procrustes"])
    >>> ax = plots.intervals({"same layer found": frame}, line=0.5, xlabel="fraction of layers")
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['CKA', 'Procrustes']
    """
    return draw(intervals_spec(frames, xlabel=xlabel, title=title, line=line), ax=ax)


def scatter(  # noqa: PLR0913
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    ax: Axes | None = None,
    color: str | None = None,
    fit: object = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Axes:
    """Draw one column of a DataFrame against another, one point for each row.

    Parameters
    ----------
    frame : DataFrame
        One row for each point, such as `rs.comparison.pairs` returns.
    x, y : str
        The columns with the horizontal and the vertical positions. Rows without a number in one of them are left out,
        and the title shows their number.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    color : str, optional
        The column with the group of each point, with at most 8 groups. The legend shows the number of points in each
        group. Points without a group are grey.
    fit : True, value or list of values, optional
        The points that get a least-squares line: True for one line through all points, or one or several values of the
        column `color` for one line through each of these groups ([True] for a column of bool). The legend shows the
        slopes.
    xlabel, ylabel : str
        The labels of the axes; "" takes the names of the columns.
    title : str
        The title.

    Returns
    -------
    Axes
        The axes with the points.

    Raises
    ------
    TypeError
        If `frame` is not a DataFrame.
    ValueError
        If a column or a value of `fit` is unknown, there are more than 8 groups, no row has both numbers, or a line has
        fewer than 2 different horizontal positions.

    Notes
    -----
    Groups that are numbers or pandas categories are sorted. Others are in order of appearance.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> frame = pd.DataFrame({"CKA": [0.1, 0.5, 0.9], "JSD": [0.8, 0.4, 0.2]})
    >>> [text.get_text() for text in plots.scatter(frame, "CKA", "JSD", fit=True).get_legend().get_texts()]
    ['slope −0.750']
    """
    shown = scatter_spec(frame, x, y, color=color, fit=fit, xlabel=xlabel, ylabel=ylabel, title=title)
    return draw(shown, ax=ax)


def null(test: Test | LineSpec, *, ax: Axes | None = None, xlabel: str = "", title: str = "") -> Axes:
    """Draw the null distribution of a permutation test as a histogram, and the observed statistic as a line.

    Parameters
    ----------
    test : Test or LineSpec
        A permutation test, such as `inference.anosim` or `inference.permutation_test` returns.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    xlabel : str
        The name of the statistic, for the horizontal axis.
    title : str
        A line above the p-value.

    Returns
    -------
    Axes
        The axes with the histogram. The title has the p-value, the alternative and the number of permutations.

    Raises
    ------
    TypeError
        If `test` is not a Test.
    ValueError
        If the p-value comes from a formula, so that there is no null distribution.

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import inference, plots
    >>> test = inference.Test(0.4, 0.01, np.linspace(-0.2, 0.2, 99), "greater", 99)
    >>> plots.null(test).get_title()
    'p = 0.01 (greater, 99 permutations)'
    """
    expect(test, (Test, LineSpec), "null draws a Test, such as rs.inference.anosim returns")
    return draw(spec(test, **drop_none(xlabel=xlabel or None, title=title or None)), ax=ax)


def to_final(
    similarity: pd.DataFrame,
    dissimilarity: pd.DataFrame,
    *,
    figure: Figure | None = None,
    rho: pd.Series | None = None,
    color: ByRun = None,
    dash: ByRun = None,
    names: tuple[str, str] = ("CKA", "JSD (nats)"),
    xlabel: str = "",
) -> list[Axes]:
    """Draw how training runs approach their final model, in three panels.

    The first panel has the similarity of each step to the final model, the second the dissimilarity. The third has one
    against the other, without the final step of each run, which is compared with itself.

    Parameters
    ----------
    similarity, dissimilarity : DataFrame (steps, runs)
        What `trajectories.compare_to_final` returns for a similarity and for a dissimilarity.
    figure : Figure, optional
        The figure to draw in; None creates one. Its size is set to fit the panels.
    rho : Series (runs,), optional
        The rank correlation of the two in each run, such as `trajectories.correlate_runs(...)["statistic"]`. It is in
        the legend, and its median and range are above the third panel.
    color, dash : {run: value} or Series (runs,), optional
        The groups of runs that share a color or a dash pattern; None gives each run its own color.
    names : (str, str)
        The names of the similarity and of the dissimilarity, for the axes.
    xlabel : str
        What a step is, such as "epoch"; "" takes the name of the index.

    Returns
    -------
    list of Axes
        The three panels, from left to right.

    Raises
    ------
    TypeError
        If one of the two is not a DataFrame.
    ValueError
        If the two have different runs or steps, a run has no color or dash, or there are more groups than colors or
        dash patterns.

    Notes
    -----
    The figure has the form of figure 3.5 in Yellapragada (2020). If steps are dense at the beginning, their axis is
    linear there and logarithmic after that. Steps with names are at equal distances.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> steps = pd.Index([0, 1, 2], name="step")
    >>> similarity = pd.DataFrame({"run": [0.2, 0.8, 1.0]}, index=steps)
    >>> [ax.get_ylabel() for ax in plots.to_final(similarity, 1 - similarity)][:2]
    ['CKA to the final model', 'JSD (nats) to the final model']
    """
    shown = to_final_spec(similarity, dissimilarity, rho=rho, color=color, dash=dash, names=names, xlabel=xlabel)
    return draw_panels(shown, figure=figure)
