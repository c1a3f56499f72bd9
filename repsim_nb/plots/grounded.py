"""Pictures of what measures are worth: ranked by the benchmark, by how they tell layers apart, by what they notice of deletions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from ..grounding import Benchmark, Sensitivity, Specificity
from ..measures import short_name
from .frame import COLOURS, as_written, labelled, legend, new_axes, new_figure
from .lines import LINES, styles

_DELETED = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)  # where the axis of deletions has numbers
_TIMES = 4.0  # thresholds that the axis reaches; curves go on above it


@as_written
def benchmark(result: Benchmark, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Measures ranked by Spearman's ρ, the best on top: points with their intervals over networks; Kendall's τ as open diamonds; the dashed line is no correlation.

    result: of `grounding.benchmark` or `grounding.ranked`. Measures without a value are named below.
    """
    if not isinstance(result, Benchmark):
        raise TypeError(f"this picture shows what grounding.benchmark returns; got {type(result).__name__}")
    table, y = result.table, np.arange(len(result.table))
    ax = new_axes(ax, 7.2, 1.7 + 0.26 * max(4, len(table)))
    ax.hlines(y, table["low"], table["high"], color=LINES[0], linewidth=1.8)
    spearman = f"Spearman's ρ, {result.level:.0%} of resamples of networks"
    drawn = ax.plot(table["spearman"], y, "o", color=LINES[0], markersize=5.5, label=spearman)
    drawn += ax.plot(table["kendall"], y, "D", markerfacecolor="none", markeredgecolor=LINES[1], markersize=4.5, label="Kendall's τ")
    ax.axvline(0, color="0.35", linewidth=1, linestyle="--", zorder=0)
    ax.set_yticks(y, list(table.index))
    ax.set_ylim(len(table) - 0.4, -0.6)
    lost = f"\nundefined: {', '.join(result.undefined)}" if result.undefined else ""
    ax.set_xlabel(f"rank correlation of dissimilarity with the gap in functionality{lost}", fontsize=9)
    references = len(result.per_reference) // len(table)
    many = f"{result.networks} networks, {references} reference{'s' * (references != 1)}, {int(table['n'].iloc[0])} pairs"
    ax.set_title(title if title is not None else f"Which measures see what networks can do\n{many}", fontsize=11)
    below = ax.transAxes + ScaledTranslation(0, -0.5 - 0.15 * bool(lost), ax.figure.dpi_scale_trans)
    legend(ax, labelled(ax, drawn), loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, ncols=2, frameon=False, fontsize=8.5,
           borderaxespad=0)
    ax.grid(True, axis="x", color="0.92")
    ax.set_axisbelow(True)
    return ax


@as_written
def specificity(result: Specificity, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """How far the other layers of a network are from each, beside the same layer of another network (bar): a number k stands at the mean dissimilarity to layers k away,
    bold where it is the first above the bar. Where numbers stand below the bar, the measure does not tell layers from seeds."""
    if not isinstance(result, Specificity):
        raise TypeError(f"this picture shows what grounding.specificity returns; got {type(result).__name__}")
    moves, away = result.moves, result.away
    ax = new_axes(ax, max(6.6, 3.6 + 0.62 * len(moves)), 4.2)
    x = np.arange(len(moves))
    bars = ax.bar(x, moves["cross_network"], width=0.62, color=LINES[4], alpha=0.75, label="the same layer of another network")
    for at, layer in enumerate(moves.index):
        for k in away:
            if np.isfinite(away.loc[layer, k]):
                first = moves.loc[layer, "layers_to_move"] == k
                look = {"fontsize": 10, "fontweight": "bold", "color": "black"} if first else {"fontsize": 8.5, "color": "0.35"}
                ax.text(at, away.loc[layer, k], str(k), ha="center", va="center", **look)
    numbers = ax.plot([], [], linestyle="", marker="$k$", color="0.35", markersize=6, label="layers k away in one network")
    top = max(float(np.nanmax(away.to_numpy())), float(moves["cross_network"].max()))
    ax.set(ylim=(0, 1.08 * top), xlabel=str(moves.index.name), ylabel=f"dissimilarity ({short_name(result.measure)})")
    names = [str(layer) for layer in moves.index]
    slanted = max(map(len, names)) > 4 and len(names) > 4
    ax.set_xticks(x, names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    interval = f" [{result.interval.low:.2f}, {result.interval.high:.2f}]" if result.interval else ""
    lost = f"; never for {result.never} of {len(moves)} layers" if result.never else ""
    mean = f"layers to move: {result.layers_to_move:.2g}" if result.layers_to_move is not None else "layers to move"
    ax.set_title(title if title is not None else f"same layer found: {result.accuracy:.2f}{interval} (chance {result.chance:.2f})\n{mean}{lost}", fontsize=11)
    legend(ax, labelled(ax, [bars, *numbers]), loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8.5)
    ax.grid(True, axis="y", color="0.92")
    ax.set_axisbelow(True)
    return ax


@as_written
def sensitivity(result: Sensitivity, *, figure: Figure | None = None, title: str | None = None) -> list[Axes]:
    """What measures notice of deletions -> Axes, above: dissimilarity by the share of components deleted, in thresholds (1 is the mean difference of two networks, where
    it notices), the closed form dashed over what was measured; below, where there was a probe: its held-out accuracy.

    The axis is even in the logarithm of what is left. Curves leave the picture above four thresholds.
    """
    if not isinstance(result, Sensitivity):
        raise TypeError(f"this picture shows what grounding.sensitivity returns; got {type(result).__name__}")
    probed = result.accuracy is not None
    figure = new_figure(figure, 8.4, 5.8 if probed else 4.2)
    axes = list(figure.subplots(2 if probed else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 1.2] if probed else [1])[:, 0])
    left, drawn = 1 - result.curves.index.to_numpy(float), []
    for name, style in zip(result.curves, styles(len(left)), strict=False):
        threshold, deleted = result.table.loc[name, "threshold"], result.table.loc[name, "deleted"]
        style["color"] = style["color"].replace("#000000", "0.55")  # black is the closed form's
        when = "never" if deleted == "never" else f"at {100 * deleted:.3g} %"
        drawn += axes[0].plot(left, result.curves[name] / threshold, label=f"{name}: {when}", **style)
        if name in result.closed_form:
            axes[0].plot(left, result.closed_form[name] / threshold, color="black", linewidth=1, linestyle=(0, (4, 3)), zorder=4)
    if len(result.closed_form.columns):
        drawn += axes[0].plot([], [], color="black", linewidth=1, linestyle=(0, (4, 3)), label="closed form")
    axes[0].axhline(1, color="0.35", linewidth=1.2, linestyle=":")
    top = 1.1 * float((result.curves / result.table["threshold"]).to_numpy().max())
    axes[0].set(ylim=(-0.08, max(1.2, min(_TIMES, top))), ylabel="dissimilarity to the whole,\nin differences of two networks")
    legend(axes[0], labelled(axes[0], drawn), loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9,
           title="noticed when deleted", title_fontsize=9, alignment="left")
    axes[0].set_title(title if title is not None else f"Deleting principal components, the smallest first ({result.networks} networks)", fontsize=11)
    if probed:
        axes[1].plot(left, result.accuracy, color=COLOURS[5], marker="o", markersize=4)
        axes[1].set_ylabel("probe accuracy\n(held out)")
    ticks = [share for share in _DELETED if 1 - share >= 0.9 * left.min()]
    axes[-1].set_xscale("log")
    axes[-1].set_xlim(1.04, left.min() / 1.04)
    axes[-1].set_xticks([1 - share for share in ticks], [f"{100 * share:g}" for share in ticks])
    axes[-1].set_xticks([], minor=True)
    axes[-1].set_xlabel("components deleted, % (even in the logarithm of what is left)")
    for ax in axes:
        ax.grid(True, color="0.92")
        ax.set_axisbelow(True)
    return axes
