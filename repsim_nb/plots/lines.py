"""Pictures of lines: values along something that is turned."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from .frame import COLOURS, MARKERS, new_axes


def curves(frame: pd.DataFrame, *, ax: Axes | None = None, xlabel: str = "", ylabel: str = "dissimilarity", title: str = "") -> Axes:
    """One line a column, over the index; the legend stands beside them."""
    ax = new_axes(ax, 7.2, 4.2)
    x = np.asarray(frame.index, dtype=float)
    for name, colour, marker in zip(frame, itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False):
        ax.plot(x, frame[name], color=colour, marker=marker, markersize=5, linewidth=1.6, label=str(name))
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    ax.set(xlabel=xlabel or str(frame.index.name or ""), ylabel=ylabel)
    ax.set_title(title, fontsize=11)
    ax.grid(True, color="0.92")
    return ax
