"""PanelsSpec of training runs that approach their final model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pandas as pd

from repsim_nb.results.trajectories import before_last
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import check_one_value

from .base import check_frame
from .colors import DASHES, LINE_COLORS, group_colors
from .lines import Layer, LineSpec, PanelsSpec, along, line_styles, minus, numbers

ByRun: TypeAlias = Mapping[str, object] | pd.Series | None  # {run: value}


def to_final_spec(
    similarity: pd.DataFrame,
    dissimilarity: pd.DataFrame,
    *,
    rho: pd.Series | None = None,
    color: ByRun = None,
    dash: ByRun = None,
    names: tuple[str, str] = ("CKA", "JSD (nats)"),
    xlabel: str = "",
) -> PanelsSpec:
    """Return the spec of runs that approach their final model; options as for `plots.to_final`."""
    _check_frames(similarity, dissimilarity)
    runs = list(similarity.columns)
    groups = [_groups(runs, color, LINE_COLORS, "color"), _groups(runs, dash, DASHES, "dash")]
    styles = []
    for run, alone in zip(runs, line_styles(runs, 0), strict=True):
        first = alone.colors[0] if dash is None else LINE_COLORS[0]
        style = replace(alone, colors=(groups[0][1].get(run, first),), width=1.3, marker="o", size=2.6, rim=None)
        dashes = groups[1][1].get(run, alone.dash if color is None else "-")
        styles.append(replace(style, dash=dashes, opacity=0.85, label=""))
    step, (x, ticks) = xlabel or str(similarity.index.name or "step"), along([similarity.index])
    axis = _dense_first(similarity.index, step) if not ticks else LineSpec((), x_title=step, x_ticks=ticks)
    panels = [
        replace(
            axis,
            layers=tuple(replace(style, x=x, y=numbers(frame[run])) for run, style in zip(runs, styles, strict=True)),
            title=f"{name} by {step}",
            y_title=f"{name} to the final model",
        )
        for frame, name in zip((similarity, dissimilarity), names, strict=True)
    ]
    against = LineSpec(
        tuple(
            replace(style, x=numbers(similarity[run].iloc[before]), y=numbers(dissimilarity[run].iloc[before]))
            for run, style in zip(runs, styles, strict=True)
            for before in [before_last(similarity[run], dissimilarity[run])]
        ),
        title="" if rho is None else f"median ρ {minus(np.median(rho))} ({minus(min(rho))} to {minus(max(rho))})",
        x_title=f"{names[0]} to the final model",
        y_title=f"{names[1]} to the final model",
    )
    legend = []
    for (heading, _, entries), field in zip(groups, ("colors", "dash"), strict=True):
        legend += [Layer("heading", label=heading)] * bool(entries)
        for value, sign in entries.items():
            entry = Layer("line", label=str(value), colors=("0.3",), width=1.5)
            legend.append(replace(entry, colors=(sign,)) if field == "colors" else replace(entry, dash=sign))
    labels = [str(run) if rho is None else f"{minus(rho[run])}  {run}" for run in runs]
    legend.append(Layer("heading", label="run" if rho is None else "rank correlation ρ"))
    legend += [
        Layer("line", label=name, colors=style.colors, dash=style.dash, width=1.5)
        for name, style in zip(labels, styles, strict=True)
    ]
    return PanelsSpec((*panels, against), tuple(legend), size=(13.2, max(4.2, 0.4 + 0.178 * len(legend))))


def _check_frames(similarity: pd.DataFrame, dissimilarity: pd.DataFrame) -> None:
    """Raise an error unless both frames have the same runs and steps."""
    for frame in (similarity, dissimilarity):
        check_frame(frame, "to_final", "what trajectories.compare_to_final returns")
    if list(similarity.columns) != list(dissimilarity.columns) or not similarity.index.equals(dissimilarity.index):
        same = set(similarity.columns) == set(dissimilarity.columns)
        what, (one, other) = (
            ("steps", (similarity.index, dissimilarity.index))
            if same
            else ("runs", (similarity.columns, dissimilarity.columns))
        )
        raise ValueError(
            f"Both frames need the same runs and steps in the same order; their {what} are {join_names(one, 4)} and"
            f" {join_names(other, 4)}."
        )


def _dense_first(steps: pd.Index, title: str) -> LineSpec:
    """Return the axis of steps.

    If the steps begin evenly and become sparse (0, 1, ..., 10, 15, ..., 100), it is linear, then logarithmic.
    """
    even = LineSpec((), x_title=title)
    if len(steps) < 6:
        return even
    gaps = np.diff(np.asarray(steps, float))
    regular = int(np.argmax(gaps != gaps[0])) if (gaps != gaps[0]).any() else len(gaps)
    bend, last = float(steps[regular]), float(steps[-1])
    if steps[0] != 0 or regular < 4 or last < 4 * bend:
        return even
    ticks = [0, bend / 2, bend, *(bend * k * 10**p for p in range(9) for k in (2, 5, 10) if bend * k * 10**p <= last)]
    return replace(
        even,
        x_title=f"{title} (even to {bend:g}, then logarithmic)",
        x_ticks=tuple((float(tick), f"{tick:g}") for tick in ticks),
        x_limits=(-0.05 * bend, last * 1.08),
        x_scale="symlog",
        bend=bend,
    )


def _groups(
    runs: list[str], choice: ByRun, palette: tuple[str, ...], role: str
) -> tuple[str, dict[str, str], dict[object, str]]:
    """Return (heading, {run: sign}, {value: sign} for the legend), both empty without a choice."""
    if choice is None:
        return role, {}, {}
    values = check_one_value(choice, role, "run")
    missing = [run for run in runs if run not in values]
    if missing:
        raise ValueError(
            f"{role} has no value for the run {join_names(missing, 3)}; it has values for"
            f" {join_names(values.keys(), 4)}."
        )
    different = list(dict.fromkeys(values[run] for run in runs))
    if len(different) > len(palette):
        raise ValueError(
            f"{role} can distinguish {len(palette)} groups of runs; got {len(different)}: {join_names(different, 8)}."
        )
    signs = dict(zip(different, group_colors(different, palette) if role == "color" else palette, strict=False))
    return str(getattr(choice, "name", None) or role), {run: signs[values[run]] for run in runs}, signs
