"""Rank correlations of two sequences or of two tables, with p-values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.measures.ties import merge_ties, tolerance_of
from repsim_nb.results.comparison import Comparison
from repsim_nb.support.errors import join_names, unknown_name

from .partial_correlation import align_all, check_left, correlation, standardize_ranks, statistic_by_order
from .results import Test, check_permutations, compare_with_null, one_order
from .square_tables import Direction, SquareTable, as_numbers, precision_of
from .units import Groups, Units, units_of

RANKS = ("spearman", "kendall")
ALTERNATIVES = ("two-sided", "greater", "less")
ALL_VALUES = 9  # of no more values (362,880 orders) all orders are gone through
MOST_EXACT = 500  # values without ties, for Kendall's exact distribution


def rank_correlation(  # noqa: PLR0913 - keyword-only, independent of each other
    a: Sequence[float] | SquareTable,
    b: Sequence[float] | SquareTable,
    kind: str = "spearman",
    alternative: str = "two-sided",
    p: str | None = None,
    *,
    groups: Groups = None,
    given: Sequence[float] | SquareTable | None = None,
    direction: Direction | None = None,
    n_permutations: int = 999,
    seed: int = 0,
) -> Test:
    """Spearman's ρ or Kendall's τ-b of two sequences (m,), or of two square tables over the same items, with a p-value.

    Parameters
    ----------
    a, b : sequences (m,), or Comparisons or square DataFrames
        The pairs above the diagonal of tables are correlated, as dissimilarities. A frame with 0 on its diagonal holds
        dissimilarities. A frame of similarities is refused, since next to a Comparison it would turn the sign: pass the
        Comparison, or its ``.dissimilarity()``. Both directions of a pair are averaged. Items are brought into one
        order by their labels, as are two Series (if the labels are of other data, the fields that vary identify the
        items).
    kind : {"spearman", "kendall"}
        Numbers that are equal up to rounding are tied.
    alternative : {"two-sided", "greater", "less"}
    p : {"mantel", "asymptotic", "exact"}, optional
        "mantel", for tables: the items of `b` are permuted, since pairs that share an item are not independent, which
        the other two ignore. All orders of up to 7 units are used, otherwise `n_permutations`. "asymptotic": Student's
        t for ρ, the normal distribution for τ. "exact": all orders of up to 9 values (of any number for τ without
        ties). None is "mantel" for tables, "asymptotic" for sequences.
    groups : one value an item, {model: group}, a field of the labels, or a DataFrame, optional
        Items of one group depend on each other (seeds of one architecture, models from one pre-training). Whole
        groups of one size are then permuted, their items in the order in which they stand. A DataFrame has a column for
        each crossed grouping. Only for tables with p="mantel".
    given : of the kind of a and b, optional
        A third table (or sequence) that is held constant: the partial rank correlation.
    direction : {"dissimilarity", "similarity"}, optional
        What plain frames hold. A frame without values (NaN) on its diagonal needs it.
    n_permutations, seed : int

    Returns
    -------
    Test
        `permuted` is "groups" if whole groups were permuted. The p-value is never 0.

    Raises
    ------
    ValueError
        If there is no rank correlation (a side is constant up to rounding, fewer than 3 values, NaN, nothing left of a
        side when `given` is held constant), for a frame of similarities, if sides do not match, and for groups of which
        no two have one size.

    Notes
    -----
    The partial correlation is (ab - ag · bg) / sqrt((1 - ag²)(1 - bg²)), from the three rank correlations ab, ag and bg
    (g is `given`). For sequences of n values p is that of n - 1 values without `given`: Student's t with n - 3 degrees
    of freedom, and for τ the normal distribution with variance 2 (2 (n - 1) + 5) / (9 (n - 1)(n - 2)), which knows no
    ties. For tables the residuals of the ranks of `b` given those of `given` are permuted, added to what `given`
    predicts, and the partial correlation is computed again (method 2 of Legendre 2000).

    Simulated nulls, with the fraction of p <= .05: tables of 24 or 25 items in 5, 8 or 12 groups (400 each) .068, .055
    and .045 with groups, and .80, .59 and .28 without; 5 x 5 crossed groups .060, and .33 without. Tables of 6, 10 and
    20 items that both hold a third (400 each) .07 to .10 with `given`, .98 without: partial Mantel tests are somewhat
    liberal, since items that are alike in `given` share their residuals, too. A p near .05 decides nothing there.
    Sequences (6 to 100 values, 1,000 each): ρ .05 to .07 if `given` explains up to half of both sides, .08 to .10 if it
    explains nine tenths, because ranks are no linear functions of each other; τ .01 to .04, but a partial τ is above 0
    (.11 at 10 values) if `given` explains half of both sides: prefer ρ.

    References
    ----------
    Mantel 1967; Kendall 1942, 1945; Legendre 2000; Freedman, Lane 1983.

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> depth = rng.normal(size=30)
    >>> a, b = depth + 0.3 * rng.normal(size=(2, 30))
    >>> bool(rank_correlation(a, b).p_value < 0.001 and rank_correlation(a, b, given=depth).p_value > 0.05)
    True
    """
    for what, choice, known in (
        ("rank correlation", kind, RANKS),
        ("alternative", alternative, ALTERNATIVES),
        ("p-value", p, ("asymptotic", "exact", "mantel")),
    ):
        if choice not in known and not (choice is None and what == "p-value"):
            raise unknown_name(what, choice, known)
    sides = [a, b] if given is None else [a, b, given]
    tables = [isinstance(side, (Comparison, pd.DataFrame)) for side in sides]
    if any(tables) and not all(tables):
        raise TypeError(
            "a rank correlation is of two sequences, or of two square tables; here a table stands beside a"
            f" sequence{'' if given is None else ' (given is of the kind of both)'}"
        )
    if given is not None and p == "exact":
        raise ValueError(
            "'exact' goes through all orders of the values, and with given= not all orders are equally likely: take"
            " p='asymptotic', or p='mantel' for tables"
        )
    if groups is not None and not (all(tables) and p in (None, "mantel")):
        raise ValueError(
            "groups are exchanged whole among the items of two tables, with p='mantel'; "
            + ("these are sequences" if not all(tables) else f"here p is {p!r}")
        )
    if all(tables):
        squares, index, place = align_all(a, sides[1:], direction)
        if p in (None, "mantel"):
            return _mantel(squares, kind, alternative, n_permutations, seed, groups, index, place)
        upper = np.triu_indices(len(place), 1)
        values = [square[upper] for square in squares]
    else:
        if direction is not None:
            raise ValueError(
                "direction says what the numbers of frames are; these are sequences, correlated as they stand: leave"
                f" out direction={direction!r}"
            )
        if p == "mantel":
            raise ValueError(
                "'mantel' permutes the items of tables; these are sequences: take p='exact' (up to 9 values) or"
                " p='asymptotic'"
            )
        values = [*_sequences(a, b), *([] if given is None else _sequences(a, given)[1:])]
    if given is not None:
        x, y, z = values
        return _partial(x, y, z, kind, alternative)
    x, y = values
    if p == "exact":
        check_values(x, y)
        return _exact(x, y, kind, alternative)
    return asymptotic_test(x, y, kind, alternative)


def _partial(x: np.ndarray, y: np.ndarray, z: np.ndarray, kind: str, alternative: str) -> Test:
    """The partial rank correlation of two sequences given a third, with the p of one value fewer."""
    check_values(x, y, also=z)
    n = len(x)
    if n < 4:
        raise ValueError(f"a partial rank correlation needs at least 4 values; there are {n}")
    check_left(x, y, z, kind)
    r = correlation(x, y, kind, z)
    if kind == "spearman":
        p = 2 * float(stats.t.sf(abs(r) * math.sqrt((n - 3) / max(1 - r**2, 1e-300)), n - 3))
    else:
        p = 2 * float(stats.norm.sf(abs(r) / math.sqrt(2 * (2 * (n - 1) + 5) / (9 * (n - 1) * (n - 2)))))
    return Test(r, _one_sided(max(p, 2 * one_order(n)), r, alternative), None, alternative)


def asymptotic_test(x: np.ndarray, y: np.ndarray, kind: str, alternative: str) -> Test:
    """The rank correlation of two sequences with its asymptotic p; only numbers that are the same to the last digit are
    tied.
    """
    check_values(x, y)
    found = stats.spearmanr(x, y) if kind == "spearman" else stats.kendalltau(x, y, method="asymptotic")
    statistic = float(found.statistic)
    # the formula's 0 at ρ = 1 is less than one order of all, on either side
    two_sided = max(float(found.pvalue), 2 * one_order(len(x)))
    return Test(statistic, _one_sided(two_sided, statistic, alternative), None, alternative)


def _one_sided(two_sided: float, statistic: float, alternative: str) -> float:
    if alternative == "two-sided":
        return two_sided
    return two_sided / 2 if (statistic > 0 if alternative == "greater" else statistic < 0) else 1 - two_sided / 2


def _exact(x: np.ndarray, y: np.ndarray, kind: str, alternative: str) -> Test:
    ties = len(np.unique(x)) < len(x) or len(np.unique(y)) < len(y)
    if kind == "kendall" and not ties:
        if len(x) > MOST_EXACT:
            raise ValueError(
                f"'exact' counts the orders of up to {MOST_EXACT} values; there are {len(x)}, for which p='asymptotic'"
                " is as good"
            )
        found = stats.kendalltau(x, y, method="exact", alternative=alternative)
        return Test(float(found.statistic), max(float(found.pvalue), one_order(len(x))), None, alternative)
    if len(x) > ALL_VALUES:
        raise ValueError(
            f"'exact' goes through all orders, of up to {ALL_VALUES}"
            f" values{' (of more for Kendall without ties)' if kind == 'kendall' else ''}; there are {len(x)}: take"
            " p='asymptotic'"
        )
    orders = np.array(list(itertools.permutations(range(len(x)))), dtype=np.int8)
    first, second = np.triu_indices(len(x), 1)
    a, b = standardize_ranks(x, kind), standardize_ranks(y, kind)
    if kind == "spearman":
        null = b[orders] @ a
    else:  # signs of pairs
        square = np.zeros((len(y), len(y)))
        square[first, second], square[second, first] = b, -b
        null = sum(
            (square[orders[:, i], orders[:, j]] * sign for i, j, sign in zip(first, second, a, strict=True)),
            np.zeros(len(orders)),
        )
    return compare_with_null(float(null[0]), null, alternative, every=True)


def _mantel(
    tables: list[np.ndarray],
    kind: str,
    alternative: str,
    n_permutations: int,
    seed: int,
    groups: Groups,
    index: pd.Index,
    place: np.ndarray,
) -> Test:
    check_permutations(n_permutations)
    upper = np.triu_indices(len(place), 1)
    x, y, *given = (table[upper] for table in tables)
    check_values(x, y, "pairs", *given)
    if given:
        check_left(x, y, given[0], kind, "pairs")
    units = units_of(index, groups)
    units = Units({name: pd.factorize(codes[place])[0] for name, codes in units.groupings.items()})
    orders, every = units.orders(np.random.default_rng(seed), n_permutations)
    statistic = statistic_by_order(tables[0], tables[1], kind, *tables[2:])
    null = np.array([statistic(order) for order in orders])
    return compare_with_null(
        statistic(np.arange(len(place))), null, alternative, every, permuted="samples" if groups is None else "groups"
    )


def _sequences(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(a, pd.Series) and isinstance(b, pd.Series) and not a.index.equals(b.index):
        if not (a.index.is_unique and b.index.is_unique and len(a) == len(b) and a.index.isin(b.index).all()):
            raise ValueError(
                "two Series are brought into one order by their labels, and these have different ones:"
                f" {join_names(a.index, 4)} and {join_names(b.index, 4)}"
            )
        b = b.loc[a.index]
    (x, finest), (y, other) = ((as_numbers(side), precision_of(side)) for side in (a, b))
    if x.ndim != 1 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(
            f"a rank correlation is of two sequences of one length; these have the shapes {x.shape} and {y.shape}"
        )
    return merge_ties(x, tolerance_of(x, finest)), merge_ties(y, tolerance_of(y, other))


def check_values(x: np.ndarray, y: np.ndarray, what: str = "values", also: np.ndarray | None = None) -> None:
    for values in (x, y) if also is None else (x, y, also):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(
                f"{bad} of {len(values)} {what} are undefined (NaN) or infinite: leave those items out on both sides"
            )
        if len(values) < 3:
            raise ValueError(f"a rank correlation needs at least 3 {what}; there are {len(values)}")
        if values.min() == values.max():
            side = "one side" if values is not also else "what is held constant (given)"
            raise ValueError(
                f"all {len(values)} {what} of {side} are {values[0]:.4g}, so there is no order to correlate (rounding"
                " aside)"
            )
