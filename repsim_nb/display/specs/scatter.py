"""LineSpec of points: one column of a frame against another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from repsim_nb.support.errors import as_clause, check_name, join_names
from repsim_nb.support.summaries import count_of

from .base import check_frame
from .colors import COLORS, group_colors
from .lines import Layer, LineSpec, numbers

_GRAY = "#c8c8c8"  # of points without a value
Groups = dict[object, tuple[np.ndarray, str]]  # {value: (its points, its color)}


def scatter_spec(
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    color: str | None = None,
    fit: object = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> LineSpec:
    """Return the spec of one column against another; options as for `plots.scatter`."""
    check_frame(frame, "scatter", "a point for each row")
    for role, name in (("x", x), ("y", y), *([] if color is None else [("color", color)])):
        check_name(f"column for {role}", name, frame.columns)
    places = np.column_stack([_numbers(frame, x), _numbers(frame, y)])
    drawn = np.isfinite(places).all(axis=1)
    if not drawn.any():
        raise ValueError(
            f"scatter needs a row with numbers in both '{x}' and '{y}'; got {len(frame)} rows, and none has both."
        )
    groups = _groups(frame, color, drawn)
    size = float(np.clip(3600 / drawn.sum(), 9, 36)) ** 0.5
    points = Layer("points", marker="o", size=size, rim=0.4, opacity=0.75)
    layers = [
        replace(points, x=numbers(places[which, 0]), y=numbers(places[which, 1]), colors=(shade,))
        for which, shade in (groups or {"": (drawn, COLORS[0])}).values()
    ]
    if groups:
        layers.append(Layer("heading", label=str(color)))
        layers += [
            Layer("line", label=f"{_text(value)} ({which.sum()})", colors=(shade,), dash="", marker="o", size=5.5)
            for value, (which, shade) in groups.items()
        ]
    lines = [
        (_text(value), shade, *_least_squares(places[which], value))
        for value, which, shade in _to_fit(groups, fit, color, drawn)
    ]
    layers += [Layer("heading", label="least squares")] * bool(groups and lines)
    for value, shade, slope, ends in lines:
        words = f"slope {slope:#.3g}".rstrip(".").replace("-", "\N{MINUS SIGN}")
        label = f"{value}: {words}" if groups else words
        across, up = map(numbers, ends)
        layers.append(Layer("line", across, up, label=label, colors=(shade,), width=2, halo=True))
    out = int((~drawn).sum())
    left_out = f"{out} of {len(frame)} points {'is' if out == 1 else 'are'} undefined and left out" if out else ""
    return LineSpec(
        tuple(layers),
        title="\n".join(filter(None, (title, left_out))),
        x_title=xlabel or str(x),
        y_title=ylabel or str(y),
        size=(6.4, 4.2),
    )


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    try:
        return frame[name].to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"scatter places points by numbers; the column '{name}' has other values ({as_clause(error)})."
        ) from error


def _groups(frame: pd.DataFrame, color: str | None, drawn: np.ndarray) -> Groups:
    """Return the points and the color of each value, those without a value last; {} without a column."""
    if color is None:
        return {}
    values = frame[color]
    different = list(dict.fromkeys(values.dropna()))
    if isinstance(values.dtype, pd.CategoricalDtype):
        different = [value for value in values.cat.categories if value in different]
    elif pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        different = sorted(different)
    if len(different) > len(COLORS):
        raise ValueError(
            f"color can distinguish {len(COLORS)} groups of points; '{color}' has {len(different)} values:"
            f" {join_names(different, 8)}."
        )
    found: Groups = {
        value: ((values == value).to_numpy(bool, na_value=False) & drawn, shade)
        for value, shade in zip(different, group_colors(different, COLORS), strict=True)
    }
    bare = values.isna().to_numpy() & drawn
    return found | ({f"no {color}": (bare, _GRAY)} if bare.any() else {})


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _to_fit(groups: Groups, fit: object, color: str | None, drawn: np.ndarray) -> list[tuple[object, np.ndarray, str]]:
    """Return (name, points, color) of each line to fit."""
    if fit is None or fit is False:
        return []
    if fit is True:
        return [("all", drawn, "0.15")]
    if color is None:
        raise ValueError(
            f"fit must be True, or values of the column given as color; got fit={fit!r} without a color. For one line"
            " through all points use fit=True."
        )
    wanted = list(fit) if isinstance(fit, (list, tuple, set, np.ndarray, pd.Series, pd.Index)) else [fit]
    for value in wanted:
        check_name(f"value of '{color}' for fit", value, groups)
    return [(value, *groups[value]) for value in wanted]


def _least_squares(places: np.ndarray, value: object) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """Return the slope of a fitted line, and its ends as (x, y)."""
    x, y = places.T
    if len(x) < 2 or x.min() == x.max():
        many = count_of(len(x), "point") + (f", all at {x[0]:.4g}" if len(x) > 1 else "")
        raise ValueError(f"fit needs points at 2 or more different x; '{value}' has {many}.")
    middle = x.mean()
    slope = float((x - middle) @ (y - y.mean()) / ((x - middle) @ (x - middle)))
    ends = np.array([x.min(), x.max()])
    return slope, (ends, y.mean() + slope * (ends - middle))
