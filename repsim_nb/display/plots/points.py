"""Pictures of points: one value against another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from repsim_nb.display.specs.colors import COLORS, group_colors
from repsim_nb.support.errors import join_names, unknown_name

from .frame import as_written, legend, new_axes


@as_written
def scatter(  # noqa: PLR0913
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    color: str | None = None,
    fit: object = None,
    ax: Axes | None = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Axes:
    """One column of a frame against another, a point a row; `comparison.pairs` makes such frames.

    color: a column of up to 8 different values, categories and numbers in their own order, others as they come; the
    legend says how many points each has (those without a value are grey).  fit: the value of that column, or a list of
    values, whose points get a least-squares line, each its own; True is one line through all points (of a column of
    true and false [True] is the value). The slope stands in the legend. Points that are undefined on either axis are
    left out, and the title says how many.
    Errors: ValueError for an unknown column or value, too many values, no point to draw, fewer than 2 places along x to
    fit a line to.
    """
    for role, name in (("x", x), ("y", y), *([] if color is None else [("color", color)])):
        if name not in frame.columns:
            raise unknown_name(f"column for {role}", name, frame.columns)
    places = np.column_stack([_numbers(frame, x), _numbers(frame, y)])
    drawn = np.isfinite(places).all(axis=1)
    if not drawn.any():
        raise ValueError(f"no point to draw: of {len(frame)} rows none has a number in both '{x}' and '{y}'")
    groups = _groups(frame, color, drawn)
    lines = [
        (_written(value), shade, *_least_squares(places[which], value))
        for value, which, shade in _to_fit(groups, fit, color, drawn)
    ]
    ax = new_axes(ax, 6.4, 4.2)
    handles = [Line2D([], [], ls="", label=str(color))] * bool(groups)
    size = float(np.clip(3600 / drawn.sum(), 9, 36))
    for value, (which, shade) in (groups or {"": (drawn, COLORS[0])}).items():
        ax.scatter(*places[which].T, s=size, color=shade, alpha=0.75, edgecolors="white", linewidths=0.4)
        handles += [
            Line2D([], [], ls="", marker="o", color=shade, markersize=5.5, label=f"{_written(value)} ({which.sum()})")
        ] * bool(groups)
    handles += [Line2D([], [], ls="", label="least squares")] * bool(groups and lines)
    for value, shade, slope, ends in lines:
        said = f"slope {slope:#.3g}".rstrip(".").replace("-", "\N{MINUS SIGN}")
        handles += ax.plot(
            *ends,
            color=shade,
            linewidth=2,
            label=f"{value}: {said}" if groups else said,
            path_effects=[patheffects.withStroke(linewidth=4, foreground="white")],
        )
    legend(
        ax,
        handles,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        borderaxespad=0,
        frameon=False,
        fontsize=9,
        handlelength=1.4,
    )
    ax.set(xlabel=xlabel or str(x), ylabel=ylabel or str(y))
    out = int((~drawn).sum())
    ax.set_title(
        "\n".join(
            filter(
                None,
                [
                    title,
                    f"{out} of {len(frame)} points {'is' if out == 1 else 'are'} undefined and left out" if out else "",
                ],
            )
        ),
        fontsize=11,
    )
    ax.grid(True, color="0.92")
    ax.set_axisbelow(True)
    return ax


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    try:
        return frame[name].to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"points stand at numbers, and the column '{name}' holds something else ({error})") from error


def _groups(frame: pd.DataFrame, color: str | None, drawn: np.ndarray) -> dict[object, tuple[np.ndarray, str]]:
    """{value: (its points, its color)}, those without a value last; none without a column."""
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
            f"color can tell {len(COLORS)} groups of points apart; '{color}' has {len(different)} values:"
            f" {join_names(different, 8)}"
        )
    found = {
        value: ((values == value).to_numpy(bool, na_value=False) & drawn, shade)
        for value, shade in zip(different, group_colors(different, COLORS), strict=True)
    }
    bare = values.isna().to_numpy() & drawn
    return found | ({f"no {color}": (bare, "#c8c8c8")} if bare.any() else {})


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _to_fit(
    groups: dict[object, tuple[np.ndarray, str]], fit: object, color: str | None, drawn: np.ndarray
) -> list[tuple[object, np.ndarray, str]]:
    """-> [(what the line is of, its points, its color)]"""
    if fit is None or fit is False:
        return []
    if fit is True:
        return [("all", drawn, "0.15")]
    if color is None:
        raise ValueError(
            f"fit names values of the column that colors the points, and there is no color; got fit={fit!r}. For one"
            " line through all points: fit=True"
        )
    wanted = list(fit) if pd.api.types.is_list_like(fit) else [fit]
    for value in wanted:
        if value not in groups:
            raise unknown_name(f"value of '{color}' for fit", value, groups)
    return [(value, *groups[value]) for value in wanted]


def _least_squares(places: np.ndarray, value: object) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
    """-> (slope, the line's ends as (x, y))"""
    x, y = places.T
    if len(x) < 2 or x.min() == x.max():
        many = f"{len(x)} point{'s' * (len(x) != 1)}" + (f", all at {x[0]:.4g}" if len(x) > 1 else "")
        raise ValueError(f"a line is fitted to points at 2 or more places along x; '{value}' has {many}")
    middle = x.mean()
    slope = float((x - middle) @ (y - y.mean()) / ((x - middle) @ (x - middle)))
    ends = np.array([x.min(), x.max()])
    return slope, (ends, y.mean() + slope * (ends - middle))
