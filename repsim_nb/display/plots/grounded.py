"""Pictures of what measures are worth: ranked by the benchmark, by how they tell layers apart, by what they notice of
damage.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from repsim_nb.display.specs.colors import COLORS, OTHER, fixed_color
from repsim_nb.measures import short_name
from repsim_nb.results.grounding import Benchmark, Sensitivity, Specificity

from .frame import as_written, labelled, legend, new_axes, new_figure
from .lines import LINES, styles

_DELETED = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)  # where the axis of what is deleted has numbers
_SAME = 0.03  # curves that differ by less all along are on each other in the picture
_TIMES = 4.0  # thresholds that the axis reaches; curves go on above it


@as_written
def benchmark(
    result: Benchmark, *, ax: Axes | None = None, title: str | None = None, limits: tuple[float, float] | None = None
) -> Axes:
    """Draw measures ranked by Spearman's ρ, the highest on top: points with their intervals over units, Kendall's τ as
    open diamonds, no correlation as a dashed line.

    Parameters
    ----------
    result : Benchmark
        What `grounding.benchmark` or `grounding.rank_pairs` returns. Measures without a value are named below.
    ax : Axes, optional
        Where to draw.
    title : str, optional
        The first line of the title, such as the name of the subtask; how many models and pairs there are is on the
        second line.
    limits : (float, float), optional
        The ends of the horizontal axis, so that two figures share it.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If `result` is not a Benchmark.
    ValueError
        If an interval or a point is outside of `limits`.
    """
    if not isinstance(result, Benchmark):
        raise TypeError(f"this picture shows what grounding.benchmark returns; got {type(result).__name__}")
    table, y = result.table, np.arange(len(result.table))
    _check_limits(table, limits)
    ax = new_axes(ax, 7.2, 1.7 + 0.26 * max(4, len(table)))
    colors = [fixed_color(name) or OTHER for name in table.index]
    ax.hlines(y, table["low"], table["high"], color=colors, linewidth=1.8)
    ax.scatter(table["spearman"], y, s=30, color=colors, zorder=3)
    ax.scatter(table["kendall"], y, s=22, marker="D", facecolors="none", edgecolors=colors, zorder=3)
    unit = "models" if result.units in (0, result.models) else f"{result.units} units"
    drawn = [
        Line2D(
            [],
            [],
            color="0.35",
            marker="o",
            markersize=5.5,
            linewidth=1.8,
            label=f"Spearman's ρ, {result.level:.0%} interval over {unit}",
        ),
        Line2D(
            [],
            [],
            linestyle="",
            marker="D",
            markerfacecolor="none",
            markeredgecolor="0.35",
            markersize=4.5,
            label="Kendall's τ",
        ),
    ]
    ax.axvline(0, color="0.35", linewidth=1, linestyle="--", zorder=0)
    ax.set_yticks(y, list(table.index))
    ax.set_ylim(len(table) - 0.4, -0.6)
    if limits is not None:
        ax.set_xlim(*limits)
    lost = f"\nundefined: {', '.join(result.undefined)}" if result.undefined else ""
    ax.set_xlabel(f"rank correlation of dissimilarity with the gap in functionality{lost}", fontsize=9)
    references, n = len(result.sets) // len(table), int(table["n"].iloc[0])
    many = f"{result.models} models, " + (
        f"all {n} pairs" if result.pairing == "all" else f"{references} reference{'s' * (references != 1)}, {n} pairs"
    )
    ax.set_title(f"{title if title is not None else 'Which measures see what models can do'}\n{many}", fontsize=11)
    below = ax.transAxes + ScaledTranslation(0, -0.5 - 0.15 * bool(lost), ax.figure.dpi_scale_trans)
    legend(
        ax,
        labelled(ax, drawn),
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=below,
        ncols=2,
        frameon=False,
        fontsize=8.5,
        borderaxespad=0,
    )
    ax.grid(True, axis="x", color="0.92")
    ax.set_axisbelow(True)
    return ax


def _check_limits(table: pd.DataFrame, limits: tuple[float, float] | None) -> None:
    if limits is None:
        return
    shown = table[["low", "high", "spearman", "kendall"]]
    least, most = float(shown.min(axis=None)), float(shown.max(axis=None))
    if not (isinstance(limits, (tuple, list)) and len(limits) == 2 and limits[0] <= least and most <= limits[1]):
        raise ValueError(
            f"limits are the ends of the axis, (low, high), and all that is drawn is between {least:.2f} and"
            f" {most:.2f}; got {limits!r}"
        )


@as_written
def specificity(result: Specificity, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """How far the other layers of a model are from each, beside the same layer of another model (bar): a number k
    stands at the mean dissimilarity to layers k away,
    bold where it is the first above the bar. Where numbers stand below the bar, the measure does not tell layers from
    seeds.
    """
    if not isinstance(result, Specificity):
        raise TypeError(f"this picture shows what grounding.specificity returns; got {type(result).__name__}")
    moves, away = result.by_layer, result.by_steps
    ax = new_axes(ax, max(6.6, 3.6 + 0.62 * len(moves)), 4.2)
    x = np.arange(len(moves))
    bars = ax.bar(
        x, moves["across_models"], width=0.62, color=LINES[4], alpha=0.75, label="the same layer of another model"
    )
    top = max(float(np.nanmax(away.to_numpy())), float(moves["across_models"].max()))
    for at, layer in enumerate(moves.index):
        below, aside = -np.inf, 0.0  # a number that would stand on the one below it stands next to it
        for k, far in away.loc[layer].dropna().sort_values().items():
            aside = 0.22 - aside if far - below < 0.045 * top else 0.0
            first = moves.loc[layer, "layers_to_move"] == k
            look = (
                {"fontsize": 10, "fontweight": "bold", "color": "black"}
                if first
                else {"fontsize": 8.5, "color": "0.35"}
            )
            ax.text(at + aside, far, str(k), ha="center", va="center", **look)
            below = far
    numbers = ax.plot(
        [], [], linestyle="", marker="$k$", color="0.35", markersize=6, label="layers k away in one model"
    )
    ax.set(ylim=(0, 1.08 * top), xlabel=str(moves.index.name), ylabel=f"dissimilarity ({short_name(result.measure)})")
    names = [str(layer) for layer in moves.index]
    slanted = max(map(len, names)) > 4 and len(names) > 4
    ax.set_xticks(x, names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    interval = f" [{result.interval.low:.2f}, {result.interval.high:.2f}]" if result.interval else ""
    lost = f"; never for {result.never} of {len(moves)} layers" if result.never else ""
    moved = f"layers to move: {result.layers_to_move_text} (median)"
    ax.set_title(
        (
            title
            if title is not None
            else f"same layer found: {result.accuracy:.2f}{interval} (chance {result.chance:.2f})\n{moved}{lost}"
        ),
        fontsize=11,
    )
    legend(ax, labelled(ax, [bars, *numbers]), loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8.5)
    ax.grid(True, axis="y", color="0.92")
    ax.set_axisbelow(True)
    return ax


@as_written
def sensitivity(result: Sensitivity, *, figure: Figure | None = None, title: str | None = None) -> list[Axes]:
    """Draw at which amount of damage measures notice it.

    The upper panel has the dissimilarity by amount, in thresholds: 1 is the mean difference of two models, where a
    measure notices. A closed form is dashed. The lower panel, if there was a probe, has its held-out accuracy.

    Parameters
    ----------
    result : Sensitivity
        What `grounding.sensitivity` returns.
    figure : Figure, optional
        Where to draw.
    title : str, optional
        The kind of damage and the number of models unless given.

    Returns
    -------
    list of Axes
        One or two, the upper one first.

    Raises
    ------
    TypeError
        If `result` is not a Sensitivity.

    Notes
    -----
    If parts are deleted, the horizontal axis is even in the logarithm of what is left. Otherwise the amounts that were
    tried are at equal distances. Curves leave the picture above four thresholds. Curves that coincide are drawn a
    little apart, so that each is seen.

    Examples
    --------
    >>> from repsim_nb import grounding, plots
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5))
    >>> noisy = {name: x + 0.1 * rng.normal(size=x.shape) for name in "abc"}
    >>> found = grounding.sensitivity(noisy, measures=["cka"], damage="noise", amounts=[0.1, 0.5], draws=1)
    >>> [ax.get_xlabel() for ax in plots.sensitivity(found)]
    ['standard deviation of noise, in that of the representation']
    """
    if not isinstance(result, Sensitivity):
        raise TypeError(f"this picture shows what grounding.sensitivity returns; got {type(result).__name__}")
    probed, parts = result.accuracy is not None, result.damage.parts is not None
    figure = new_figure(figure, 8.4, 5.8 if probed else 4.2)
    axes = list(
        figure.subplots(2 if probed else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 1.2] if probed else [1])[
            :, 0
        ]
    )
    amounts, drawn = result.curves.index.to_numpy(float), []
    x = 1 - amounts if parts else np.arange(len(amounts))
    scaled = result.curves / result.table["threshold"].reindex(result.curves.columns)
    shifts = _apart(scaled)
    for name, style, apart in zip(scaled, styles(scaled, len(x)), shifts, strict=True):
        threshold, noticed = result.table.loc[name, "threshold"], result.table.loc[name, "noticed"]
        style["color"] = style["color"].replace("#000000", "0.55")  # black is the closed form's
        when = "never" if noticed == "never" else f"at {result.text(noticed)}"
        drawn += axes[0].plot(
            x,
            scaled[name],
            label=f"{name}: {when}",
            transform=axes[0].transData + ScaledTranslation(0, apart / 72, figure.dpi_scale_trans),
            **style,
        )
        if name in result.closed_form:
            axes[0].plot(
                x, result.closed_form[name] / threshold, color="black", linewidth=1, linestyle=(0, (4, 3)), zorder=4
            )
    if len(result.closed_form.columns):
        drawn += axes[0].plot([], [], color="black", linewidth=1, linestyle=(0, (4, 3)), label="closed form")
    axes[0].axhline(1, color="0.35", linewidth=1.2, linestyle=":")
    top = 1.1 * float(scaled.to_numpy().max())
    axes[0].set(
        ylim=(-0.08, max(1.2, min(_TIMES, top))), ylabel="dissimilarity to the whole,\nin differences of two models"
    )
    legend(
        axes[0],
        labelled(axes[0], drawn),
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        fontsize=9,
        title="noticed" + ("\n(curves on each other drawn apart)" if any(shifts) else ""),
        title_fontsize=9,
        alignment="left",
    )
    axes[0].set_title(
        (title if title is not None else f"When measures notice damage: {result.damage.name} ({result.models} models)"),
        fontsize=11,
    )
    if probed:
        axes[1].plot(x, result.accuracy, color=COLORS[5], marker="o", markersize=4)
        axes[1].set_ylabel("probe accuracy\n(held out)")
    if parts:
        ticks = [share for share in _DELETED if 1 - share >= 0.9 * x.min()]
        axes[-1].set_xscale("log")
        axes[-1].set_xlim(1.04, x.min() / 1.04)
        axes[-1].set_xticks([1 - share for share in ticks], [f"{100 * share:g}" for share in ticks])
        axes[-1].set_xticks([], minor=True)
        axes[-1].set_xlabel(f"{result.damage.axis}, % (even in the logarithm of what is left)")
    else:
        axes[-1].set_xticks(x, [result.text(amount).removesuffix(" levels") for amount in amounts])
        axes[-1].set_xlabel(result.damage.axis)
    for ax in axes:
        ax.grid(True, color="0.92")
        ax.set_axisbelow(True)
    return axes


def _apart(curves: pd.DataFrame) -> list[float]:
    """By how many points each curve is moved up: those that are on each other all along stand 4 points apart, the first
    of them where it is.
    """
    groups: list[list[str]] = []
    for name in curves:
        for group in groups:
            if np.abs(curves[name] - curves[group[0]]).max() < _SAME:
                group.append(name)
                break
        else:
            groups.append([name])
    return [4.0 * group.index(name) for name in curves for group in groups if name in group]
