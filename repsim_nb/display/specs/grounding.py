"""LineSpec of how far measures can be trusted: a benchmark, specificity, sensitivity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from repsim_nb.measures import short_name
from repsim_nb.results.grounding import Benchmark, Sensitivity, Specificity
from repsim_nb.support.summaries import count_of, percent

from .base import spec
from .colors import COLORS, LINE_COLORS, OTHER, fixed_color
from .lines import Layer, LineSpec, PanelsSpec, line_styles, numbers

_DELETED = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)  # where the axis of what is deleted has numbers
_SAME = 0.03  # curves that differ by less all along are on each other in the picture
_TIMES = 4.0  # thresholds that the axis reaches; curves go on above it
_CLOSED = Layer("line", colors=("black",), dash="4 3", width=1, order=4, label="closed form")


@spec.register
def benchmark_spec(
    result: Benchmark,
    *,
    title: str = "Which measures see what models can do",
    limits: tuple[float, float] | None = None,
) -> LineSpec:
    """Return the spec of a benchmark; options as for `plots.benchmark`."""
    table, y = result.table, numbers(range(len(result.table)))
    _check_limits(table, limits)
    unit = "models" if result.units in (0, result.models) else f"{result.units} units"
    colors = tuple(fixed_color(name) or OTHER for name in table.index)
    undefined = f"\nundefined: {', '.join(result.undefined)}" if result.undefined else ""
    references, n = len(result.sets) // len(table), int(table["n"].iloc[0])
    pairs = f"all {n} pairs" if result.pairing == "all" else f"{count_of(references, 'reference')}, {n} pairs"
    ranked = f"Spearman's ρ, {percent(result.level)} interval over {unit}"
    points = Layer("points", numbers(table["spearman"]), y, colors=colors, marker="o", size=30**0.5, order=3)
    gray = Layer("line", colors=("0.35",), marker="o", size=5.5, width=1.8, label=ranked)
    return LineSpec(
        (
            Layer("vertical", (0.0,), colors=("0.35",), dash="--", width=1, order=0),
            Layer("ranges", y=y, low=numbers(table["low"]), high=numbers(table["high"]), colors=colors, width=1.8),
            points,
            replace(points, x=numbers(table["kendall"]), marker="D", size=22**0.5, open=True),
            gray,
            replace(gray, dash="", marker="D", size=4.5, open=True, label="Kendall's τ"),
        ),
        title=f"{title}\n{count_of(result.models, 'model')}, {pairs}",
        x_title=f"rank correlation of dissimilarity with the gap in functionality{undefined}",
        y_ticks=tuple((float(place), str(name)) for place, name in enumerate(table.index)),
        x_limits=(None, None) if limits is None else (float(limits[0]), float(limits[1])),
        y_limits=(len(table) - 0.4, -0.6),
        legend_below=True,
        grid="x",
        size=(7.2, 1.7 + 0.26 * max(4, len(table))),
    )


def _check_limits(table: pd.DataFrame, limits: tuple[float, float] | None) -> None:
    """Raise an error if a value would be outside the limits of the axis."""
    if limits is None:
        return
    shown = table[["low", "high", "spearman", "kendall"]]
    least, most = float(shown.min(axis=None)), float(shown.max(axis=None))
    if not (isinstance(limits, (tuple, list)) and len(limits) == 2 and limits[0] <= least and most <= limits[1]):  # type: ignore[redundant-expr]
        raise ValueError(
            f"limits must be the ends of the axis, (low, high), and include all values, {least:.2f} to {most:.2f}; got"
            f" {limits!r}."
        )


@spec.register
def specificity_spec(result: Specificity, *, title: str | None = None) -> LineSpec:
    """Return the spec of a specificity; options as for `plots.specificity`."""
    table, away = result.by_layer, result.by_steps
    top = max(float(np.nanmax(away.to_numpy())), float(table["across_models"].max()))
    names, places = [str(layer) for layer in table.index], range(len(table))
    found: dict[bool, list[tuple[float, float, str]]] = {False: [], True: []}  # whether it is the first above the bar
    for at, layer in enumerate(table.index):
        below, aside = -np.inf, 0.0  # a number that would be on the one below it is next to it
        for k, far in away.loc[layer].dropna().sort_values().items():
            aside = 0.22 - aside if far - below < 0.045 * top else 0.0
            found[bool(table.loc[layer, "layers_to_move"] == k)].append((at + aside, float(far), str(k)))
            below = far
    texts = []
    for first, entries in found.items():
        if entries:
            x, y, words = zip(*entries, strict=True)
            color, size = ("black", 10.0) if first else ("0.35", 8.5)
            texts.append(Layer("texts", x, y, texts=words, colors=(color,), size=size, bold=first))
    interval = f" [{result.interval.low:.2f}, {result.interval.high:.2f}]" if result.interval else ""
    never = f"; never for {result.never} of {len(table)} layers" if result.never else ""
    heading = (
        f"same layer found: {result.accuracy:.2f}{interval} (chance {result.chance:.2f})\n"
        f"layers to move: {result.layers_to_move_text} (median){never}"
    )
    bars = Layer(
        "bars",
        numbers(places),
        numbers(table["across_models"]),
        label="the same layer of another model",
        colors=(LINE_COLORS[4],),
        width=0.62,
        opacity=0.75,
    )
    numbered = Layer("line", colors=("0.35",), dash="", marker="$k$", size=6, label="layers k away in one model")
    return LineSpec(
        (bars, *texts, numbered),
        title=heading if title is None else title,
        x_title=str(table.index.name),
        y_title=f"dissimilarity ({short_name(result.measure)})",
        x_ticks=tuple((float(place), name) for place, name in zip(places, names, strict=True)),
        slanted=max(map(len, names)) > 4 and len(names) > 4,
        y_limits=(0.0, 1.08 * top),
        grid="y",
        size=(max(6.6, 3.6 + 0.62 * len(table)), 4.2),
    )


@spec.register
def sensitivity_spec(result: Sensitivity, *, title: str | None = None) -> PanelsSpec:
    """Return the spec of a sensitivity; options as for `plots.sensitivity`."""
    amounts, parts = result.curves.index.to_numpy(float), result.damage.parts is not None
    x = numbers(1 - amounts if parts else range(len(amounts)))
    scaled = result.curves / result.table["threshold"].reindex(result.curves.columns)
    layers, raised = [], find_offsets(scaled)
    for name, style, up in zip(scaled, line_styles(scaled, len(x)), raised, strict=True):
        noticed, color = result.table.loc[name, "noticed"], style.colors[0].replace("#000000", "0.55")
        label = f"{name}: {'never' if noticed == 'never' else f'at {result.text(noticed)}'}"
        layers.append(replace(style, x=x, y=numbers(scaled[name]), label=label, raised=up, colors=(color,)))
        if name in result.closed_form:
            exact = result.closed_form[name] / result.table.loc[name, "threshold"]
            layers.append(replace(_CLOSED, x=x, y=numbers(exact), label=""))
    layers += [_CLOSED] * bool(len(result.closed_form.columns))
    layers.append(Layer("horizontal", y=(1.0,), colors=("0.35",), dash=":", width=1.2))
    top = 1.1 * float(scaled.to_numpy().max())
    heading = f"When measures notice damage: {result.damage.name} ({count_of(result.models, 'model')})"
    panels = [
        LineSpec(
            tuple(layers),
            title=heading if title is None else title,
            y_title="dissimilarity to the whole,\nin differences of two models",
            legend_title="noticed" + ("\n(curves on each other drawn apart)" if any(raised) else ""),
            y_limits=(-0.08, max(1.2, min(_TIMES, top))),
        )
    ]
    if result.accuracy is not None:
        probe = Layer("line", x, numbers(result.accuracy), colors=(COLORS[5],), marker="o", size=4, width=1.5)
        panels.append(LineSpec((probe,), y_title="probe accuracy\n(held out)"))
    if parts:
        least = 1 - float(amounts.max())
        ticks = [fraction for fraction in _DELETED if 1 - fraction >= 0.9 * least]
        panels[-1] = replace(
            panels[-1],
            x_title=f"{result.damage.axis}, % (even in the logarithm of what is left)",
            x_ticks=tuple((1 - fraction, f"{100 * fraction:g}") for fraction in ticks),
            x_limits=(1.04, least / 1.04),
            x_scale="log",
        )
    else:
        words = [result.text(amount).removesuffix(" levels") for amount in amounts]
        x_ticks = tuple((float(place), word) for place, word in enumerate(words))
        panels[-1] = replace(panels[-1], x_title=result.damage.axis, x_ticks=x_ticks, slanted=len(words) > 12)
    return PanelsSpec(tuple(panels), shared_x=True, size=(8.4, 5.8 if len(panels) > 1 else 4.2))


def find_offsets(curves: pd.DataFrame) -> list[float]:
    """Return by how many points each curve is moved up: 4 for each earlier curve that has the same values."""
    groups: list[list[str]] = []
    for name in curves:
        for group in groups:
            if np.abs(curves[name] - curves[group[0]]).max() < _SAME:
                group.append(name)
                break
        else:
            groups.append([name])
    return [4.0 * group.index(name) for name in curves for group in groups if name in group]
