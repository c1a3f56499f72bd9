"""Representations of the same samples: their labels, how many samples, and some of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import measures
from ..comparison import check_ids
from ..measures.base import one_library


def labels_of(xs: Mapping[Any, Any]) -> tuple[list[Any], int]:
    """-> (labels, the number of samples that all share)"""
    if not isinstance(xs, Mapping) or not xs:
        raise TypeError(f"representations come by label, {{'a': x, 'b': y}}, or as a recording; got {'none' if isinstance(xs, Mapping) else type(xs).__name__}")
    check_ids({"xs": xs})
    return list(xs), measures.same_samples({label: x if hasattr(x := xs[label], "ndim") else np.asarray(x) for label in xs})


def pair_of(x: Any, y: Any) -> tuple[Any, Any, int]:
    """Both sides as arrays of one library, and how many samples they share."""
    left, right = ({name: side if hasattr(side, "ndim") else np.asarray(side)} for name, side in (("x", x), ("y", y)))
    n = measures.same_samples(left, right)
    left, right = one_library(left, right)
    return left["x"], right["y"], n


def rows_of(x: Any, which: np.ndarray) -> Any:
    return (x if hasattr(x, "ndim") else np.asarray(x))[which]
