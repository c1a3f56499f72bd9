"""Pictures of lines: values along something that is turned."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..errors import listed
from ..inference import Test, rank_correlation
from .frame import COLOURS, MARKERS, new_axes, new_figure
from .marking import one_value

DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
ByRun = Mapping[str, object] | pd.Series | None  # {run: value}


def curves(frame: pd.DataFrame, *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "dissimilarity", title: str = "") -> Axes:
    """One line a column, over the index; the legend stands beside them."""
    ax = new_axes(ax, 7.2, 4.2)
    x = np.asarray(frame.index, dtype=float)
    for name, colour, marker in zip(frame, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
        ax.plot(x, frame[name], color=colour, marker=marker, markersize=5, linewidth=1.6, label=str(name))
    _beside(ax)
    ax.set(xlabel=xlabel or str(frame.index.name or ""), ylabel=ylabel)
    ax.set_title(title, fontsize=11)
    ax.grid(True, color="0.92")
    return ax


def band(frames: Mapping[str, pd.DataFrame], *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "", title: str = "") -> Axes:
    """Lines with their intervals. frames: {name: frame with the columns mean, low and high}, over their index."""
    ax = new_axes(ax, 7.2, 4.2)
    for (name, frame), colour, marker in zip(frames.items(), itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
        lacking = [column for column in ("mean", "low", "high") if column not in frame]
        if lacking:
            raise ValueError(f"a band has the columns mean, low and high; the frame '{name}' lacks {listed(lacking)}")
        x = np.asarray(frame.index, dtype=float)
        ax.fill_between(x, frame["low"], frame["high"], color=colour, alpha=0.18, linewidth=0)
        ax.plot(x, frame["mean"], color=colour, marker=marker, markersize=5, linewidth=1.6, label=str(name))
        xlabel = xlabel or str(frame.index.name or "")
    _beside(ax)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_title(title, fontsize=11)
    ax.grid(True, color="0.92")
    return ax


def null(test: Test, *, ax: Axes | None = None, xlabel: str = "", title: str = "") -> Axes:
    """What chance alone gives (the statistics under permutation), and where the observed statistic stands."""
    if test.null is None:
        raise ValueError("this p-value comes from a formula, so there is no null distribution to draw; take one by permutation")
    ax = new_axes(ax, 6.4, 3.4)
    ax.hist(test.null, bins=min(40, max(8, len(test.null) // 20)), color="0.72", label=f"{len(test.null)} permutations")
    ax.axvline(test.statistic, color=COLOURS[5], linewidth=2.2, label=f"observed: {test.statistic:.2f}, p = {test.p_value:.2g}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, frameon=False, fontsize=9)
    ax.set(xlabel=xlabel or "statistic", ylabel="permutations")
    ax.set_title(title, fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def to_final(
    similarity: pd.DataFrame, dissimilarity: pd.DataFrame, *, colour: ByRun = None, dash: ByRun = None, names: tuple[str, str] = ("CKA", "JSD (nats)"), figure: Figure | None = None
) -> list[Axes]:
    """How runs come near their end: similarity to the last step by step, dissimilarity by step, and one against the other.

    similarity, dissimilarity: frames of `comparison.to_final`, a column a run.  colour, dash: {run: value}, what tells runs apart; None is a colour a run.
    names: what the two are, for the axes. The third panel, without the last step, holds the median and range of the runs' Spearman ρ. [the form of Yellapragada 2020, figure 3.5]
    """
    if list(similarity.columns) != list(dissimilarity.columns) or not similarity.index.equals(dissimilarity.index):
        raise ValueError(f"both frames need the same runs and steps; these have {listed(similarity.columns, 4)} and {listed(dissimilarity.columns, 4)}")
    colours, dashes = _told(similarity.columns, colour, COLOURS, "colour", "run"), _told(similarity.columns, dash, DASHES, "dash", None)
    figure = new_figure(figure, 13.2, 4.2)
    axes = list(figure.subplots(1, 3))
    for run in similarity.columns:
        style = {"color": colours[1][run], "linestyle": dashes[1][run], "linewidth": 1.3, "marker": "o", "markersize": 2.6, "alpha": 0.85}
        axes[0].plot(similarity.index, similarity[run], **style)
        axes[1].plot(similarity.index, dissimilarity[run], **style)
        axes[2].plot(similarity[run].iloc[:-1], dissimilarity[run].iloc[:-1], **style)
    for ax, name in zip(axes, names, strict=False):
        ax.set(xlabel="epoch" if similarity.index.name == "step" else str(similarity.index.name), ylabel=f"{name} to the final network")
    axes[2].set(xlabel=f"{names[0]} to the final network", ylabel=f"{names[1]} to the final network")
    rho = [rank_correlation(similarity[run].iloc[:-1].dropna(), dissimilarity[run].iloc[:-1].dropna()).statistic for run in similarity.columns]
    axes[2].set_title(f"Spearman's ρ of a run: {np.median(rho):.2f} (from {min(rho):.2f} to {max(rho):.2f})", fontsize=10)
    axes[0].set_title(f"{names[0]} by epoch", fontsize=10)
    axes[1].set_title(f"{names[1]} by epoch", fontsize=10)
    for ax in axes:
        ax.grid(True, color="0.92")
    handles = []
    for (heading, _, entries), kind in ((colours, "color"), (dashes, "linestyle")):
        if entries:
            handles += [Line2D([], [], ls="", label=heading), *(Line2D([], [], **{"color": "0.3", kind: sign}, label=str(value)) for value, sign in entries.items())]
    legend = figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    for handle, text in zip(handles, legend.get_texts(), strict=True):
        text.set_fontweight("bold" if handle.get_linestyle() == "None" else "normal")
    return axes


def _told(runs: pd.Index, choice: ByRun, palette: tuple, role: str, otherwise: str | None) -> tuple[str, dict, dict]:
    """-> (heading, {run: sign}, {value: sign} for the legend); without a choice a sign a run, or one for all where `otherwise` is None."""
    if choice is None and otherwise is None:
        return "", dict.fromkeys(runs, palette[0]), {}
    values = {run: run for run in runs} if choice is None else one_value(choice, role, "run")
    missing = [run for run in runs if run not in values]
    if missing:
        raise ValueError(f"{role} has no value for the run {listed(missing, 3)}; it knows {listed(values.keys(), 4)}")
    different = list(dict.fromkeys(values[run] for run in runs))
    if choice is not None and len(different) > len(palette):
        raise ValueError(f"{role} can tell {len(palette)} groups apart; there are {len(different)}: {listed(different, 8)}")
    signs = dict(zip(different, itertools.cycle(palette), strict=False))
    return str(getattr(choice, "name", None) or otherwise or role), {run: signs[values[run]] for run in runs}, signs


def _beside(ax: Axes) -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
