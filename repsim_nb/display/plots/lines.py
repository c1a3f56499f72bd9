"""Pictures of lines: values along something that is turned."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repsim_nb.display.specs.colors import COLORS, MARKERS, OTHER, fixed_color, group_colors, line_colors
from repsim_nb.display.specs.colors import LINE_COLORS as LINES
from repsim_nb.results.inference import Test
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import check_one_value

from .frame import as_written, labelled, legend, new_axes, new_figure

DASHES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
ByRun = Mapping[str, object] | pd.Series | None  # {run: value}


@as_written
def curves(
    frame: pd.DataFrame, *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "dissimilarity", title: str = ""
) -> Axes:
    """One line a column, over the index (names stand evenly); the legend stands beside them.

    Measures and families of networks have their fixed colors.
    """
    ax = new_axes(ax, 7.2, 4.2)
    x = _along(ax, [frame.index])
    drawn = []
    for name, style in zip(frame, styles(frame, len(frame)), strict=True):
        drawn += ax.plot(x, frame[name], label=str(name), **style)
    return _finished(ax, drawn, xlabel or str(frame.index.name or ""), ylabel, title)


@as_written
def band(
    frames: Mapping[str, pd.DataFrame], *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "", title: str = ""
) -> Axes:
    """Lines with their intervals. frames: {name: frame with the columns mean, low and high}, over their index.

    Measures and families of networks have their fixed colors.
    """
    _check_bands(frames)
    ax = new_axes(ax, 7.2, 4.2)
    named = not all(pd.api.types.is_numeric_dtype(frame.index) for frame in frames.values())
    places, drawn = _along(ax, [frame.index for frame in frames.values()]), []
    for (name, frame), style in zip(frames.items(), styles(frames, max(map(len, frames.values()))), strict=True):
        x = places if named else np.asarray(frame.index, dtype=float)
        ax.fill_between(x, frame["low"], frame["high"], color=style["color"], alpha=0.18, linewidth=0)
        drawn += ax.plot(x, frame["mean"], label=str(name), **style)
        xlabel = xlabel or str(frame.index.name or "")
    return _finished(ax, drawn, xlabel, ylabel, title)


@as_written
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
        If some rows of a single frame are measures or families of networks, these have their fixed colors and the other
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
    _check_bands(frames)
    index = next(iter(frames.values())).index
    for name, frame in frames.items():
        if not frame.index.equals(index):
            raise ValueError(
                f"intervals stand in rows that all frames share; '{name}' has {join_names(frame.index, 4)}, the first"
                f" {join_names(index, 4)}"
            )
    words = [", ".join(dict.fromkeys(map(str, row))) if isinstance(row, tuple) else str(row) for row in index]
    ax = new_axes(ax, 6.4, 0.9 + 0.24 * max(4, len(index)) * (1 + 0.25 * (len(frames) - 1)))
    apart, drawn = np.linspace(-0.17, 0.17, len(frames)) if len(frames) > 1 else [0.0], []
    fixed = [fixed_color(name) for name in index] if len(frames) == 1 else []
    rows = [color or OTHER for color in fixed] if any(fixed) else None
    for (name, frame), shift, (color, _), marker in zip(
        frames.items(), apart, line_colors(frames, LINES), itertools.cycle(MARKERS), strict=False
    ):
        y = np.arange(len(index)) + shift
        ax.hlines(y, frame["low"], frame["high"], color=rows or color, linewidth=1.6)
        drawn.append(
            ax.scatter(
                frame["mean"], y, s=25, marker=marker, color=rows or color, zorder=2, label=None if rows else str(name)
            )
        )
    if line is not None:
        ax.axvline(line, color="0.35", linewidth=1, linestyle="--", zorder=0)
    ax.set_yticks(range(len(index)), words)
    ax.set_ylim(len(index) - 0.4, -0.6)
    return _finished(ax, drawn if len(frames) > 1 else [], xlabel, "", title)


def _check_bands(frames: Mapping[str, pd.DataFrame]) -> None:
    if not frames:
        raise ValueError("there is nothing to draw: pass {name: frame with the columns mean, low and high}")
    for name, frame in frames.items():
        lacking = [column for column in ("mean", "low", "high") if column not in frame]
        if lacking:
            raise ValueError(
                f"intervals have the columns mean, low and high; the frame '{name}' lacks {join_names(lacking)}"
            )


def _along(ax: Axes, indexes: list[pd.Index]) -> np.ndarray:
    """Where values of the first index stand: numbers at their size, names evenly with their text below, the same for
    all lines.
    """
    first = indexes[0]
    if all(map(pd.api.types.is_numeric_dtype, indexes)):
        return np.asarray(first, dtype=float)
    for other in indexes[1:]:
        if not other.equals(first):
            raise ValueError(
                f"lines over names need the same names; these are {join_names(first, 4)} and {join_names(other, 4)}"
            )
    ax.set_xticks(range(len(first)), [str(name) for name in first])
    return np.arange(len(first))


def styles(names: Iterable[Hashable], points: int) -> list[dict]:
    """How lines of these names are told apart: by color (fixed for measures and families of networks) and marker, and
    by their dashes where a color comes again.
    """
    size, rim = (5, 0.5) if points <= 12 else (4, 0)
    marked = itertools.cycle(MARKERS)
    return [
        {
            "color": color,
            "linestyle": DASHES[again % len(DASHES)],
            "linewidth": 1.6,
            "marker": next(marked),
            "markersize": size,
            "markeredgecolor": "white",
            "markeredgewidth": rim,
        }
        for color, again in line_colors(names, LINES)
    ]


def _finished(ax: Axes, drawn: Sequence[Artist], xlabel: str, ylabel: str, title: str) -> Axes:
    if drawn:
        legend(ax, labelled(ax, drawn), loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.set_title(title, fontsize=11)
    ax.grid(True, color="0.92")
    ax.set_axisbelow(True)
    return ax


@as_written
def null(test: Test, *, ax: Axes | None = None, xlabel: str = "", title: str = "") -> Axes:
    """What chance alone gives (the statistics under permutation), and where the observed statistic stands."""
    if not isinstance(test, Test):
        raise TypeError(f"this picture shows a Test, such as rs.inference.anosim returns; got {type(test).__name__}")
    if test.null is None:
        raise ValueError(
            "this p-value comes from a formula, so there is no null distribution to draw; take one by permutation,"
            ' p="mantel" or p="exact"'
        )
    ax = new_axes(ax, 6.4, 3.6)
    ax.hist(test.null, bins=min(40, max(8, len(test.null) // 20)), color="0.72", edgecolor="white", linewidth=0.4)
    ax.axvline(test.statistic, color=COLORS[5], linewidth=2.2)
    ax.margins(x=0.08)
    low, high = ax.get_xlim()
    left = test.statistic > (low + high) / 2  # the word stands on the side with room
    ax.set_ylim(0, 1.16 * ax.get_ylim()[1])
    ax.annotate(
        f"observed: {_minus(test.statistic, 2)}",
        (test.statistic, 0.97),
        xycoords=ax.get_xaxis_transform(),
        xytext=(-6 if left else 6, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=COLORS[5],
        fontsize=10,
    )
    ax.set(xlabel=xlabel or "statistic", ylabel="permutations")
    ax.set_title(
        f"{title}\n".lstrip("\n") + f"p = {test.p_value:.2g} ({test.alternative}, {len(test.null):,} permutations)",
        fontsize=11,
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


@as_written
def to_final(
    similarity: pd.DataFrame,
    dissimilarity: pd.DataFrame,
    *,
    rho: pd.Series | None = None,
    color: ByRun = None,
    dash: ByRun = None,
    names: tuple[str, str] = ("CKA", "JSD (nats)"),
    xlabel: str = "",
    figure: Figure | None = None,
) -> list[Axes]:
    """How runs come near their end: similarity to the last step by step, dissimilarity by step, and one against the
    other.

    similarity, dissimilarity: frames of `trajectories.compare_to_final`, a column a run.
    color, dash: {run: value}, what tells runs apart; None for both is a color a run.
    rho: their rank correlation for each run (`rs.trajectories.correlate_runs(...)["statistic"]`): the legend has it,
    the third panel its median and range.
    names: what the two are, for the axes.  xlabel: what a step is ("epoch"). The third panel leaves out each run's last
    step, which stands against itself. An axis of steps that are dense at first is linear there and logarithmic after;
    steps with names stand evenly.  [the form of Yellapragada 2020, figure 3.5]
    Errors: ValueError where the frames hold different runs or steps, a run has no value for color or dash, or there
    are too many values.
    """
    if list(similarity.columns) != list(dissimilarity.columns) or not similarity.index.equals(dissimilarity.index):
        what, pair = (
            ("steps", (similarity.index, dissimilarity.index))
            if set(similarity.columns) == set(dissimilarity.columns)
            else ("runs", (similarity.columns, dissimilarity.columns))
        )
        raise ValueError(
            f"both frames need the same runs and steps in the same order; their {what} are {join_names(pair[0], 4)} and"
            f" {join_names(pair[1], 4)}"
        )
    runs = similarity.columns
    groups = [
        _told(runs, choice, palette, role)
        for choice, palette, role in ((color, LINES, "color"), (dash, DASHES, "dash"))
    ]
    alone = [
        {"color": style["color"], "linestyle": style["linestyle"]}
        for style, _ in zip(styles(runs, 0), runs, strict=True)
    ]
    looks = {
        run: {
            "color": groups[0][1].get(run, one["color"] if dash is None else LINES[0]),
            "linestyle": groups[1][1].get(run, one["linestyle"] if color is None else "-"),
        }
        for run, one in zip(runs, alone, strict=True)
    }
    before = {
        run: np.flatnonzero((similarity[run].notna() & dissimilarity[run].notna()).to_numpy())[:-1] for run in runs
    }
    handles = []
    for (heading, _, entries), kind in zip(groups, ("color", "linestyle"), strict=True):
        if entries:
            handles += [
                Line2D([], [], ls="", label=heading),
                *(Line2D([], [], **{"color": "0.3", kind: sign}, label=str(value)) for value, sign in entries.items()),
            ]
    said = {run: run if rho is None else f"{_minus(rho[run])}  {run}" for run in runs}
    handles += [
        Line2D([], [], ls="", label="run" if rho is None else "rank correlation ρ"),
        *(Line2D([], [], **looks[run], label=said[run]) for run in runs),
    ]
    figure = new_figure(figure, 13.2, max(4.2, 0.4 + 0.178 * len(handles)))
    axes = list(figure.subplots(1, 3))
    x = [_along(ax, [similarity.index]) for ax in axes[:2]]
    for run in runs:
        style = {**looks[run], "linewidth": 1.3, "marker": "o", "markersize": 2.6, "alpha": 0.85}
        axes[0].plot(x[0], similarity[run], **style)
        axes[1].plot(x[1], dissimilarity[run], **style)
        axes[2].plot(similarity[run].iloc[before[run]], dissimilarity[run].iloc[before[run]], **style)
    step = xlabel or str(similarity.index.name or "step")
    for ax, name in zip(axes, names, strict=False):
        ax.set(xlabel=step, ylabel=f"{name} to the final network")
        ax.set_title(f"{name} by {step}", fontsize=10)
        _dense_first(ax, similarity.index)
    axes[2].set(xlabel=f"{names[0]} to the final network", ylabel=f"{names[1]} to the final network")
    if rho is not None:
        axes[2].set_title(f"median ρ {_minus(np.median(rho))} ({_minus(min(rho))} to {_minus(max(rho))})", fontsize=10)
    for ax in axes:
        ax.grid(True, color="0.92")
        ax.set_axisbelow(True)
    legend(figure, handles, loc="outside right upper", frameon=False, fontsize=8.5, handlelength=2.4, labelspacing=0.3)
    return axes


def _minus(value: float, places: int = 3) -> str:
    return f"{value:z.{places}f}".replace("-", "\N{MINUS SIGN}")


def _dense_first(ax: Axes, steps: pd.Index) -> None:
    """Steps that begin evenly and grow sparse (0, 1, ..., 10, 15, ..., 100) stand evenly at first and by their
    logarithm after.
    """
    if not pd.api.types.is_numeric_dtype(steps) or len(steps) < 6:
        return
    apart = np.diff(np.asarray(steps, float))
    even = int(np.argmax(apart != apart[0])) if (apart != apart[0]).any() else len(apart)
    bend, last = float(steps[even]), float(steps[-1])
    if steps[0] != 0 or even < 4 or last < 4 * bend:
        return
    ax.set_xscale("symlog", linthresh=bend, linscale=1)
    ticks = [0, bend / 2, bend, *(bend * k * 10**p for p in range(9) for k in (2, 5, 10) if bend * k * 10**p <= last)]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set_xlim(-0.05 * bend, last * 1.08)
    ax.set_xlabel(f"{ax.get_xlabel()} (even to {bend:g}, then logarithmic)")


def _told(runs: pd.Index, choice: ByRun, palette: tuple, role: str) -> tuple[str, dict, dict]:
    """-> (heading, {run: sign}, {value: sign} for the legend), both empty without a choice."""
    if choice is None:
        return role, {}, {}
    values = check_one_value(choice, role, "run")
    missing = [run for run in runs if run not in values]
    if missing:
        raise ValueError(
            f"{role} has no value for the run {join_names(missing, 3)}; it knows {join_names(values.keys(), 4)}"
        )
    different = list(dict.fromkeys(values[run] for run in runs))
    if len(different) > len(palette):
        raise ValueError(
            f"{role} can tell {len(palette)} groups of runs apart; there are {len(different)}:"
            f" {join_names(different, 8)}"
        )
    signs = dict(zip(different, group_colors(different, palette) if role == "color" else palette, strict=False))
    return str(getattr(choice, "name", None) or role), {run: signs[values[run]] for run in runs}, signs
