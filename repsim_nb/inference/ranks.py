"""Rank correlations of sequences, of tables, and along runs of training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..comparison import Comparison
from ..errors import listed, unknown
from ..measures.ties import merge_ties, ranks_with_ties, tolerance_of
from .results import Test, by_counting, check_permutations, one_order
from .squares import Direction, Table, as_numbers, precision_of, squares

RANKS = ("spearman", "kendall")
ALTERNATIVES = ("two-sided", "greater", "less")
ALL_VALUES, ALL_ITEMS = 9, 7  # of no more values (362,880 orders) or items of a table (5,040) all orders are gone through
MOST_EXACT = 500  # values without ties, for Kendall's exact distribution


def rank_correlation(
    a: Sequence[float] | Table,
    b: Sequence[float] | Table,
    kind: str = "spearman",
    alternative: str = "two-sided",
    p: str | None = None,
    *,
    direction: Direction | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> Test:
    """Spearman's ρ or Kendall's τ-b of two sequences (m,), or of two square tables over the same items -> Test.

    Of tables the pairs above the diagonal are correlated, as dissimilarities. A frame with 0 on its diagonal holds them. One of similarities is refused, since beside a Comparison it would
    turn the sign: pass the Comparison, or its .dissimilarity().
    direction: "dissimilarity" or "similarity", what plain frames hold. A frame without values (NaN) on its diagonal needs it, for its numbers do not tell.
    Numbers that are equal up to rounding are tied. Both directions of a pair are averaged; items are brought into one order by their labels, as are two Series (of other data the same networks are the same items: those count that agree in the fields that vary).
    p: "asymptotic" (Student's t for ρ, the normal distribution for τ; one-sided p/2 if the statistic has the sign asked for, else 1 - p/2); "exact", all orders of up to
    9 values (of any number for τ without ties); "mantel", for tables: the items of one are permuted, since pairs that share an item are not independent and the
    other two take them as if. All orders of up to 7 items are gone through, else n_permutations. None: "mantel" for tables, "asymptotic" for sequences.
    Errors: ValueError where there is no rank correlation (a side constant up to rounding, fewer than 3 values, NaN), for a frame of similarities, or if sides do not match.
    [Mantel 1967; Kendall 1945]
    """
    for what, choice, known in (("rank correlation", kind, RANKS), ("alternative", alternative, ALTERNATIVES), ("p-value", p, ("asymptotic", "exact", "mantel"))):
        if choice not in known and not (choice is None and what == "p-value"):
            raise unknown(what, choice, known)
    tables = [isinstance(side, (Comparison, pd.DataFrame)) for side in (a, b)]
    if any(tables) and not all(tables):
        raise TypeError("a rank correlation is of two sequences, or of two square tables; here a table stands beside a sequence")
    if all(tables):
        x, y, _ = squares(a, b, direction)
        if p in (None, "mantel"):
            return _mantel(x, y, kind, alternative, n_permutations, seed)
        upper = np.triu_indices(len(x), 1)
        x, y = x[upper], y[upper]
    else:
        if direction is not None:
            raise ValueError(f"direction says what the numbers of frames are; these are sequences, correlated as they stand: leave out direction={direction!r}")
        x, y = _sequences(a, b)
        if p == "mantel":
            raise ValueError("'mantel' permutes the items of tables; these are sequences: take p='exact' (up to 9 values) or p='asymptotic'")
    if p == "exact":
        check_values(x, y)
        return _exact(x, y, kind, alternative)
    return by_formula(x, y, kind, alternative)


def by_formula(x: np.ndarray, y: np.ndarray, kind: str, alternative: str) -> Test:
    """The rank correlation of two sequences with its asymptotic p; only numbers that are the same to the last digit are tied."""
    check_values(x, y)
    found = stats.spearmanr(x, y) if kind == "spearman" else stats.kendalltau(x, y, method="asymptotic")
    statistic = float(found.statistic)
    two_sided = max(float(found.pvalue), 2 * one_order(len(x)))  # the formula's 0 at ρ = 1 is less than one order of all, on either side
    return Test(statistic, _one_sided(two_sided, statistic, alternative), None, alternative)


def by_run(a: pd.DataFrame, b: pd.DataFrame, kind: str = "spearman", alternative: str = "two-sided") -> pd.DataFrame:
    """The rank correlation of two things along each run of training, without its last step (which stands against itself) -> DataFrame, a row a run: statistic, p_value, n.

    a, b: frames of `comparison.to_final`, a column a run; a step that either lacks does not count. Steps of one run follow each other, and p takes them as independent.
    Errors: ValueError for other runs or steps, and for a run without a rank correlation, by its name.
    """
    if not (a.columns.equals(b.columns) and a.index.equals(b.index)):
        raise ValueError(f"both frames need the same runs and steps; these have {listed(a.columns, 4)} and {listed(b.columns, 4)}, {len(a)} and {len(b)} steps")
    rows = {}
    for run in a.columns:
        both = (a[run].notna() & b[run].notna()).to_numpy()
        before = np.flatnonzero(both)[:-1]
        try:
            test = rank_correlation(a[run].iloc[before].to_numpy(), b[run].iloc[before].to_numpy(), kind, alternative)
        except ValueError as error:
            raise ValueError(f"the run '{run}': {error}") from error
        rows[run] = {"statistic": test.statistic, "p_value": test.p_value, "n": len(before)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def _one_sided(two_sided: float, statistic: float, alternative: str) -> float:
    if alternative == "two-sided":
        return two_sided
    return two_sided / 2 if (statistic > 0 if alternative == "greater" else statistic < 0) else 1 - two_sided / 2


def _exact(x: np.ndarray, y: np.ndarray, kind: str, alternative: str) -> Test:
    ties = len(np.unique(x)) < len(x) or len(np.unique(y)) < len(y)
    if kind == "kendall" and not ties:
        if len(x) > MOST_EXACT:
            raise ValueError(f"'exact' counts the orders of up to {MOST_EXACT} values; there are {len(x)}, for which p='asymptotic' is as good")
        found = stats.kendalltau(x, y, method="exact", alternative=alternative)
        return Test(float(found.statistic), max(float(found.pvalue), one_order(len(x))), None, alternative)
    if len(x) > ALL_VALUES:
        raise ValueError(f"'exact' goes through all orders, of up to {ALL_VALUES} values{' (of more for Kendall without ties)' if kind == 'kendall' else ''}; there are {len(x)}: take p='asymptotic'")
    orders = np.array(list(itertools.permutations(range(len(x)))), dtype=np.int8)
    first, second = np.triu_indices(len(x), 1)
    a, b = _standard(x, kind), _standard(y, kind)
    if kind == "spearman":
        null = b[orders] @ a
    else:  # signs of pairs
        square = np.zeros((len(y), len(y)))
        square[first, second], square[second, first] = b, -b
        null = sum((square[orders[:, i], orders[:, j]] * sign for i, j, sign in zip(first, second, a, strict=True)), np.zeros(len(orders)))
    return by_counting(float(null[0]), null, alternative, every=True)


def _mantel(x: np.ndarray, y: np.ndarray, kind: str, alternative: str, n_permutations: int, seed: int) -> Test:
    check_permutations(n_permutations)
    m = len(x)
    upper = np.triu_indices(m, 1)
    check_values(x[upper], y[upper], "pairs")
    every = m <= ALL_ITEMS
    rng = np.random.default_rng(seed)
    orders = map(np.array, itertools.permutations(range(m))) if every else (rng.permutation(m) for _ in range(n_permutations))
    if kind == "spearman":
        a, b = np.zeros((m, m)), np.zeros((m, m))
        for square, side in ((a, x), (b, y)):
            square[upper] = _standard(side[upper], kind)
        b += b.T
        flat = a[upper]

        def statistic(order: np.ndarray) -> float:
            return float(flat @ b[np.ix_(order, order)][upper])
    else:
        flat = x[upper]

        def statistic(order: np.ndarray) -> float:
            return float(stats.kendalltau(flat, y[np.ix_(order, order)][upper]).statistic)

    return by_counting(statistic(np.arange(m)), np.array([statistic(order) for order in orders]), alternative, every)


def _standard(values: np.ndarray, kind: str) -> np.ndarray:
    """What has the rank correlation as inner product: ranks, centred and of unit length; for Kendall the signs of all pairs' differences, of unit length."""
    if kind == "spearman":
        ranks = ranks_with_ties(values) - (len(values) + 1) / 2
    else:
        first, second = np.triu_indices(len(values), 1)
        ranks = np.sign(values[second] - values[first])
    return ranks / np.sqrt(ranks @ ranks)


def _sequences(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(a, pd.Series) and isinstance(b, pd.Series) and not a.index.equals(b.index):
        if not (a.index.is_unique and b.index.is_unique and len(a) == len(b) and a.index.isin(b.index).all()):
            raise ValueError(f"two Series are brought into one order by their labels, and these have different ones: {listed(a.index, 4)} and {listed(b.index, 4)}")
        b = b.loc[a.index]
    (x, finest), (y, other) = ((as_numbers(side), precision_of(side)) for side in (a, b))
    if x.ndim != 1 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(f"a rank correlation is of two sequences of one length; these have the shapes {x.shape} and {y.shape}")
    return merge_ties(x, tolerance_of(x, finest)), merge_ties(y, tolerance_of(y, other))


def check_values(x: np.ndarray, y: np.ndarray, what: str = "values") -> None:
    for values in (x, y):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(f"{bad} of {len(values)} {what} are undefined (NaN) or infinite: leave those items out on both sides")
        if len(values) < 3:
            raise ValueError(f"a rank correlation needs at least 3 {what}; there are {len(values)}")
        if values.min() == values.max():
            raise ValueError(f"all {len(values)} {what} of one side are {values[0]:.4g}, so there is no order to correlate (rounding aside)")
