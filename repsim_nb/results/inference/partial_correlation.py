"""Rank correlations, also with a third table held constant, and their values if items of one table are permuted."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.measures.confounds import partial
from repsim_nb.measures.ties import ranks_with_ties

from .square_tables import Direction, SquareTable, align_tables, to_table

NOTHING_LEFT = 1e-12  # 1 - r² of a side and what is held constant: less is rounding


def align_all(
    a: SquareTable, others: list[SquareTable], direction: Direction | None = None
) -> tuple[list[np.ndarray], pd.Index, np.ndarray]:
    """Return tables over the same items as arrays (m, m) in one order, a first.

    Also returned are the index of a, and the positions of the items of the arrays in that index.
    """
    a, *others = map(to_table, (a, *others))
    found: list[np.ndarray] = []
    place = np.zeros(0, int)
    for other in others:
        x, y, mine = align_tables(a, other, direction)
        if not found:
            found, place = [x], mine
        found.append(y[np.argsort(mine)][:, np.argsort(mine)][np.ix_(place, place)])
    return found, (a if isinstance(a, pd.DataFrame) else a.values).index, place


def standardize_ranks(values: np.ndarray, kind: str) -> np.ndarray:
    """Return a vector of unit length such that the inner product of two is their rank correlation.

    These are centred ranks, or, for Kendall, the signs of the differences of all pairs.
    """
    if kind == "spearman":
        ranks = ranks_with_ties(values) - (len(values) + 1) / 2
    else:
        first, second = np.triu_indices(len(values), 1)
        ranks = np.sign(values[second] - values[first])
    return ranks / np.sqrt(ranks @ ranks)


def remove_third(xy: float, xz: float, yz: float) -> float:
    """Return (xy - xz · yz) / √((1 - xz²)(1 - yz²)); NaN if z determines x or y."""
    return float(np.clip(partial(xy, xz, yz, NOTHING_LEFT), -1, 1))


def correlation(x: np.ndarray, y: np.ndarray, kind: str, z: np.ndarray | None = None) -> float:
    """Return the rank correlation of values (k,), with z held constant if it is given; NaN if one side is constant.

    Values that are equal up to rounding must be equal.
    """
    if z is not None:
        return remove_third(correlation(x, y, kind), correlation(x, z, kind), correlation(y, z, kind))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    if kind == "kendall":
        return float(stats.kendalltau(x, y).statistic)
    return float(standardize_ranks(x, kind) @ standardize_ranks(y, kind))


def check_left(x: np.ndarray, y: np.ndarray, z: np.ndarray, kind: str, what: str = "values") -> None:
    """Check that z does not order all values as one side does, so that something is left when z is held constant."""
    for side, values in (("first", x), ("second", y)):
        r = correlation(values, z, kind)
        if 1 - r**2 < NOTHING_LEFT:
            raise ValueError(
                f"what is held constant (given) orders all {len(x)} {what} {'as' if r > 0 else 'in reverse of how'} the"
                f" {side} side does (rank correlation {r:.0f}), so that nothing is left of that side."
            )


def statistic_by_order(
    x: np.ndarray, y: np.ndarray, kind: str, z: np.ndarray | None = None
) -> Callable[[np.ndarray], float]:
    """Return a function from an order of the items of the second table (m, m) to the rank correlation of both.

    With z, the ranks of y are regressed on those of z, the residuals are permuted and added to the prediction, and the
    partial correlation is computed again (Legendre 2000, method 2).
    """
    upper = np.triu_indices(len(x), 1)
    if z is None and kind == "kendall":
        return lambda order: float(stats.kendalltau(x[upper], y[np.ix_(order, order)][upper]).statistic)
    a, b = (standardize_ranks(side[upper], "spearman") for side in (x, y))
    c = np.zeros_like(a) if z is None else standardize_ranks(z[upper], "spearman")
    slope = float(b @ c)
    left = np.zeros(x.shape)
    left[upper] = b - slope * c
    left += left.T
    if kind == "kendall":
        assert z is not None
        xz, digits = correlation(x[upper], z[upper], kind), 1e-9

        def partial_statistic(order: np.ndarray) -> float:
            """Return the partial τ of one order."""
            values = ranks_with_ties(slope * c + left[np.ix_(order, order)][upper], digits / len(c))
            found = remove_third(correlation(x[upper], values, kind), xz, correlation(values, z[upper], kind))
            return 0.0 if math.isnan(found) else found

        return partial_statistic
    a = a - float(a @ c) * c
    size = math.sqrt(float(a @ a))

    def statistic(order: np.ndarray) -> float:
        """Return ρ, or the partial ρ, of one order."""
        residual = left[np.ix_(order, order)][upper]
        residual = residual - float(residual @ c) * c
        length = math.sqrt(float(residual @ residual))
        return float(a @ residual) / (size * length) if length > 1e-9 else 0.0

    return statistic
