"""Pictures of frames of numbers and of tests: curves, bands, intervals, points, null distributions, runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.display.specs import LineSpec, spec
from repsim_nb.display.specs.lines import band_spec, curves_spec, intervals_spec
from repsim_nb.display.specs.scatter import scatter_spec
from repsim_nb.display.specs.to_final import to_final_spec
from repsim_nb.results.inference import Test

from .axes import drop_none, expect
from .drawing import draw
from .lines import draw_panels


def curves(frame: pd.DataFrame, *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "", title: str = "") -> Axes:
    """Draw a line for each column of a frame, over its index.

    Parameters
    ----------
    frame : DataFrame of numbers
        Names in the index are at equal distances. Columns that are measures or families of models have their fixed
        colors.
    ax : Axes, optional
        Where to draw.
    xlabel, ylabel, title : str
        Texts of the axes and the title. Without `xlabel` the name of the index is taken.

    Returns
    -------
    Axes

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
        Frames with the columns mean, low and high, over their index. Names that are measures or families of models have
        their fixed colors.
    ax : Axes, optional
        Where to draw.
    xlabel, ylabel, title : str
        Texts of the axes and the title. Without `xlabel` the name of the index is taken.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If `frames` is not a dict of DataFrames.
    ValueError
        If there is no frame, a frame lacks a column, or indexes of names differ.

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
    """Draw values with their intervals, one row each, one below the other.

    Parameters
    ----------
    frames : {name: DataFrame}
        Frames with the columns mean, low and high, all over the same index, whose order is kept.
    ax : Axes, optional
        Where to draw.
    xlabel, title : str
        Text of the axis and the title.
    line : float, optional
        A value to compare with, such as chance level or zero: a vertical dashed line.

    Returns
    -------
    Axes
        If some rows of a single frame are measures or families of models, these have their fixed colors and the other
        rows are gray. Otherwise each frame has one color, the fixed one if it has one.

    Raises
    ------
    ValueError
        If there is no frame, a frame lacks a column, or the frames have different rows.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> frame = pd.DataFrame({"mean": [0.7, 0.4], "low": [0.6, 0.2], "high": [0.8, 0.6]}, index=["CKA", "Procrustes"])
    >>> ax = plots.intervals({"same layer found": frame}, line=0.5, xlabel="fraction of layers")
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['CKA', 'Procrustes']
    """
    return draw(intervals_spec(frames, xlabel=xlabel, title=title, line=line), ax=ax)


def scatter(frame: pd.DataFrame, x: str, y: str, *, ax: Axes | None = None, **options: Any) -> Axes:
    """Draw one column of a frame against another, a point a row; `comparison.pairs` makes such frames.

    Parameters
    ----------
    frame : DataFrame
    x, y : str
        Columns of numbers. Points that are undefined in either are left out, and the title says how many.
    ax : Axes, optional
        Where to draw.
    color : str, optional
        A column of up to 8 different values; categories and numbers are in their own order, others in order of
        appearance. The legend says how many points each has; those without a value are gray.
    fit : value, list of values or True, optional
        The values of that column whose points get a least-squares line each. True is one line through all points; for a
        column of true and false [True] is the value. The legend has the slope.
    xlabel, ylabel, title : str, optional
        Texts of the axes and the title. Without them the axes have the names of the columns.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        For an unknown column or value, too many values, no point to draw, or fewer than 2 places along x to fit a line
        to.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> frame = pd.DataFrame({"CKA": [0.1, 0.5, 0.9], "JSD": [0.8, 0.4, 0.2]})
    >>> [text.get_text() for text in plots.scatter(frame, "CKA", "JSD", fit=True).get_legend().get_texts()]
    ['slope −0.750']
    """
    return draw(scatter_spec(frame, x, y, **options), ax=ax)


def null(test: Test | LineSpec, *, ax: Axes | None = None, xlabel: str = "", title: str = "") -> Axes:
    """Draw the statistics under permutation, and where the observed statistic is.

    Parameters
    ----------
    test : Test or LineSpec
        A permutation test, such as `inference.anosim` returns.
    ax : Axes, optional
        Where to draw.
    xlabel, title : str
        What the statistic is; the line above the p-value.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If `test` is no Test.
    ValueError
        If its p-value comes from a formula.

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
    similarity: pd.DataFrame, dissimilarity: pd.DataFrame, *, figure: Figure | None = None, **options: Any
) -> list[Axes]:
    """Draw how runs of training come near their end, in three panels.

    The panels have the similarity to the last step by step, the dissimilarity by step, and one against the other
    without each run's last step, which would be compared with itself.

    Parameters
    ----------
    similarity, dissimilarity : DataFrame (steps, runs)
        What `trajectories.compare_to_final` returns. An axis of steps that are dense at first is linear there and
        logarithmic after; steps with names are at equal distances.
    figure : Figure, optional
        Where to draw.
    rho : Series, optional
        The rank correlation of the two for each run (`trajectories.correlate_runs(...)["statistic"]`): it is in the
        legend, and its median and range above the third panel.
    color, dash : {run: value} or Series, optional
        What tells runs apart; without them each run has a color.
    names : (str, str), optional
        What the two are, for the axes.
    xlabel : str, optional
        What a step is, such as "epoch".

    Returns
    -------
    list of Axes

    Raises
    ------
    ValueError
        If the frames have different runs or steps, a run has no value for color or dash, or there are too many values.

    Notes
    -----
    The form is that of Yellapragada (2020), figure 3.5.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> steps = pd.Index([0, 1, 2], name="step")
    >>> similarity = pd.DataFrame({"run": [0.2, 0.8, 1.0]}, index=steps)
    >>> [ax.get_ylabel() for ax in plots.to_final(similarity, 1 - similarity)][:2]
    ['CKA to the final model', 'JSD (nats) to the final model']
    """
    return draw_panels(to_final_spec(similarity, dissimilarity, **options), figure=figure)
