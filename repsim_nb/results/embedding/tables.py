"""What maps are made of: tables of dissimilarities and samples, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.results.comparison import Comparison, check_diagonal
from repsim_nb.support.labels import explain_same_text
from repsim_nb.support.validation import check_representation, to_numpy


def read_table(source: Comparison | pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """-> (a frame of dissimilarities, what is known of it)"""
    if isinstance(source, Comparison):
        return source.dissimilarity(), {"name": source.name, "n": source.n}
    if isinstance(source, pd.DataFrame):
        return source, {}
    hint = (
        "; an array of dissimilarities needs its labels, pd.DataFrame(d, index=labels, columns=labels)"
        if hasattr(source, "shape")
        else ""
    )
    raise TypeError(f"a map is made of a Comparison or a frame of dissimilarities; got {type(source).__name__}{hint}")


def to_numbers(frame: pd.DataFrame) -> np.ndarray:
    try:
        return frame.to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a map needs numbers as dissimilarities; the table holds something else ({error})") from error


def check_distances(frame: pd.DataFrame, *, plain: bool) -> np.ndarray:
    if not frame.index.equals(frame.columns):
        raise ValueError(
            "a map needs a square table, the same items in rows and columns; this one is "
            f"{frame.shape[0]} × {frame.shape[1]} with other labels{explain_same_text(frame.columns, frame.index)}"
        )
    d = to_numbers(frame).copy()
    if plain:
        check_diagonal(frame)
    if len(d) < 3:
        raise ValueError(f"a map needs at least 3 items; there are {len(d)}")
    np.fill_diagonal(d, 0)  # an item beside itself is no pair: NaN there is none that is missing
    if not np.isfinite(d).all():
        missing = ~np.isfinite(d)
        i, j = np.argwhere(missing)[0]
        raise ValueError(
            f"a map needs every pair; {int(missing.sum())} cells are undefined, the first '{label_at(frame.index, i)}'"
            f" and '{label_at(frame.columns, j)}', and most of them lie with"
            f" '{label_at(frame.index, int(missing.sum(1).argmax()))}': leave that out, or take a measure that is"
            " defined for all"
        )
    check_sign(d, frame)
    d = (d + d.T) / 2
    if not d.max() > 0:
        raise ValueError("all items are alike (every dissimilarity is 0), so there is nothing to map")
    return d.clip(min=0)  # rounding below 0


def rescale(d: np.ndarray) -> tuple[np.ndarray, float]:
    """d in a unit near its largest: no square can overflow, and no tolerance is too coarse.

    (A power of two: no digit is lost.)
    """
    unit = 2.0 ** int(np.frexp(d.max())[1] - 1)
    return d / unit, unit


def check_sign(d: np.ndarray, frame: pd.DataFrame) -> None:
    if d.min() < -1e-6 * np.abs(d).max():
        i, j = np.unravel_index(d.argmin(), d.shape)
        raise ValueError(
            f"a dissimilarity cannot be negative; that of '{label_at(frame.index, i)}' and"
            f" '{label_at(frame.columns, j)}' is {d.min():.3g}"
        )


def check_samples(source: Any) -> np.ndarray:
    if not hasattr(source, "shape") or not hasattr(source, "dtype"):
        raise TypeError(
            "a t-SNE is made of a Comparison, a frame of dissimilarities or an array (samples, features); got"
            f" {type(source).__name__}"
            + ("; of a recording take one layer, x['fc']" if isinstance(source, Mapping) else "")
        )
    x = to_numpy(check_representation(source)).astype(float)
    return x / max(np.abs(x).max(), np.finfo(float).tiny)  # no square of it can overflow


def check_perplexity(perplexity: float | None, points: int) -> float:
    if points < 7:
        raise ValueError(
            "a t-SNE needs at least 7 points, since each must have two neighbours and others beside; there are"
            f" {points}: mds maps 3 or more"
        )
    most = (points - 1) / 3
    if perplexity is None:
        return min(30, int(most))
    if not 1 <= perplexity <= most:
        raise ValueError(
            f"the perplexity of a t-SNE of {points} points is from 1 to {int(most)} (three times as many neighbours"
            f" must be there); got {perplexity:g}"
        )
    return float(perplexity)


def label_at(index: pd.Index, i: int) -> str:
    label = index[i]
    return "/".join(map(str, label[:2])) if isinstance(label, tuple) else str(label)
