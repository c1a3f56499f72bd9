"""Square tables as arrays: brought into one order, both directions of a pair averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..comparison import Choice, Comparison, by_item, shared
from ..errors import listed

Table = Comparison | pd.DataFrame


def squares(a: Table, b: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two tables over the same items as arrays (m, m) in one order of items, Comparisons as dissimilarities; and the places of those items in a."""
    x, y = frame_of(a), frame_of(b)
    mine, other = shared(x.index, y.index)
    if not len(mine) == len(x) == len(y):
        raise ValueError(f"two tables are correlated over the same items; these have {len(x)} and {len(y)}, {len(mine)} of them in common. Choose with .where(...)")
    x, y = x.iloc[mine, mine], y.iloc[other, other]
    return symmetric(x), symmetric(y), mine


def frame_of(table: Table) -> pd.DataFrame:
    """A square table as a frame: a Comparison as dissimilarities, a frame as it is."""
    frame = table.dissimilarity() if isinstance(table, Comparison) else table
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"a table is a Comparison or a DataFrame, the same items in rows and columns; got {type(table).__name__}")
    if not frame.index.equals(frame.columns):
        hint = ": for a column of numbers give it alone, frame['name']" if min(frame.shape) == 1 else ""
        raise ValueError(f"a table of pairs is square, the same items in rows and columns; this one is {frame.shape[0]} × {frame.shape[1]} with other labels{hint}")
    return frame


def symmetric(frame: pd.DataFrame) -> np.ndarray:
    square = as_numbers(frame)
    return (square + square.T) / 2


def as_numbers(values: Any) -> np.ndarray:
    try:
        return np.asarray(values.to_numpy(float, na_value=np.nan) if isinstance(values, (pd.Series, pd.DataFrame)) else values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"statistics need numbers; something else is there ({error})") from error


def by_item_defined(index: pd.Index, choice: Choice, what: str) -> pd.Series:
    """One value an item, as in `comparison.by_item`; ValueError where one is undefined."""
    values = by_item(index, choice, what)
    if values.isna().any():
        raise ValueError(f"{what} is undefined for {listed((index[i] for i in np.flatnonzero(values.isna())), 3)}: leave those items out")
    return values
