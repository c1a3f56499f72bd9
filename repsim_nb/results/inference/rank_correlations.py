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
from repsim_nb.support.rdms import RDM
from repsim_nb.support.seeds import generator_of

from .partial_correlation import align_all, check_left, correlation, standardize_ranks, statistic_by_order
from .results import Test, check_permutations, compare_with_null, one_order
from .square_tables import Direction, SquareTable, as_numbers, precision_of
from .units import Groups, units_of

RANKS = ("spearman", "kendall")
ALTERNATIVES = ("two-sided", "greater", "less")
ALL_VALUES = 9  # all orders are used for up to so many values (362,880 orders)
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
    """Test the rank correlation of two sequences, or of two square tables over the same items.

    For tables it answers: do two measures order the pairs of models in the same way? The p-value accounts for pairs
    that share an item. For RDMs it is the Mantel test, with `given` the partial Mantel test: are two RDMs alike beyond
    what a third explains?

    Parameters
    ----------
    a, b : sequence (m,), or Comparison, DataFrame or RDM, square
        Two sequences, or two tables, whose pairs above the diagonal are correlated as dissimilarities. Both directions
        of a pair are averaged. Items of tables, and values of two Series, are matched by their labels (if the labels
        are of other data, by the fields that vary). A frame must have 0 on its diagonal. A frame of similarities is
        refused, because it would reverse the sign: pass the Comparison, or its ``.dissimilarity()``.
    kind : {"spearman", "kendall"}
        Spearman's ρ or Kendall's τ-b. Numbers that are equal up to rounding are tied.
    alternative : {"two-sided", "greater", "less"}
        Which correlations are extreme.
    p : {"mantel", "asymptotic", "exact"}, optional
        How the p-value is computed. "mantel", the default for tables, permutes the items of `b`: all orders of up to 7
        units, otherwise `n_permutations` random ones. "asymptotic", the default for sequences, uses Student's t for ρ
        and the normal distribution for τ. "exact" uses all orders of up to 9 values (of up to 500 for τ without ties).
        For tables the last two ignore that pairs with a common item depend on each other.
    groups : one value an item, {model: group}, a field of the labels, or a DataFrame, optional
        Items of one group depend on each other (seeds of one architecture, models from one pre-training). Whole groups
        of one size are then permuted, and their items keep their order. A DataFrame has a column for each crossed
        grouping. Only for tables with p="mantel".
    given : as a and b, optional
        A third table (or sequence) that is held constant: the partial rank correlation.
    direction : {"dissimilarity", "similarity"}, optional
        What plain frames contain, needed if they have NaN on the diagonal.
    n_permutations : int
        The number of random orders for p="mantel".
    seed : int
        The seed of these orders.

    Returns
    -------
    Test
        `statistic` is the rank correlation. `permuted` is "groups" if whole groups were permuted. The p-value is never
        0.

    Raises
    ------
    ValueError
        If there is no rank correlation (a side is constant up to rounding, fewer than 3 values, NaN, nothing left of a
        side when `given` is held constant), for a frame of similarities, if sides do not match, and if no two groups
        have the same size.
    TypeError
        For a table and a sequence.

    Notes
    -----
    The partial correlation is (ab - ag · bg) / sqrt((1 - ag²)(1 - bg²)), from the three rank correlations ab, ag and bg
    (g is `given`). For sequences of n values, p is that of n - 1 values without `given`: Student's t with n - 3 degrees
    of freedom for ρ, and for τ the normal distribution with variance 2 (2 (n - 1) + 5) / (9 (n - 1)(n - 2)), which
    ignores ties. For tables, the ranks of `b` are regressed on those of `given`, the residuals are permuted and added
    to the prediction, and the partial correlation is computed again (method 2 of Legendre 2000).

    Fractions of simulated nulls with p <= .05:

    - tables of 24 or 25 items in 5, 8 or 12 groups (400 each): .068, .055 and .045 with groups, .80, .59 and .28
      without; 5 × 5 crossed groups: .060 with, .33 without.
    - tables of 6, 10 and 20 items that both depend on a third (400 each): .07 to .10 with `given`, .98 without. Partial
      Mantel tests are somewhat liberal, since items that are similar in `given` have similar residuals. Do not rely on
      a p near .05.
    - sequences of 6 to 100 values (1,000 each): for ρ .05 to .07 if `given` explains up to half of both sides, and .08
      to .10 if it explains nine tenths, because ranks are not linear functions of each other. For τ .01 to .04, but a
      partial τ is above 0 (.11 at 10 values) if `given` explains half of both sides, so prefer ρ.

    References
    ----------
    N. Mantel 1967, The detection of disease clustering and a generalized regression approach, Cancer Research 27.
    M. G. Kendall 1942, Partial rank correlation, Biometrika 32.
    M. G. Kendall 1945, The treatment of ties in ranking problems, Biometrika 33.
    P. Legendre 2000, Comparison of permutation methods for the partial correlation and partial Mantel tests, Journal of
    Statistical Computation and Simulation 67.
    D. Freedman, D. Lane 1983, A nonstochastic interpretation of reported significance levels, Journal of Business &
    Economic Statistics 1.

    Examples
    --------
    >>> rng = np.random.default_rng(5)
    >>> depth = rng.normal(size=30)
    >>> a, b = depth + 0.3 * rng.normal(size=(2, 30))
    >>> rank_correlation(a, b).p_value < 0.001
    True
    >>> rank_correlation(a, b, given=depth).p_value > 0.05
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
    tables = [isinstance(side, (Comparison, pd.DataFrame, RDM)) for side in sides]
    if any(tables) and not all(tables):
        raise TypeError(
            "a rank correlation needs two sequences, or two square tables; got a table and a"
            f" sequence{'' if given is None else ' (given must be like both)'}."
        )
    if given is not None and p == "exact":
        raise ValueError(
            "p='exact' uses all orders of the values, but with given= not all orders are equally likely. Use"
            " p='asymptotic', or p='mantel' for tables."
        )
    if groups is not None and not (all(tables) and p in (None, "mantel")):
        raise ValueError(
            "groups= is for two tables with p='mantel', which exchanges whole groups of items; got "
            + ("two sequences." if not all(tables) else f"p={p!r}.")
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
                f"direction= is for frames; got two sequences, which are correlated as they are. Leave out"
                f" direction={direction!r}."
            )
        if p == "mantel":
            raise ValueError(
                "p='mantel' permutes the items of tables; got two sequences. Use p='exact' (up to 9 values) or"
                " p='asymptotic'."
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
    """Test the partial rank correlation of two sequences given a third, with the p of one value fewer."""
    check_values(x, y, also=z)
    n = len(x)
    if n < 4:
        raise ValueError(f"a partial rank correlation needs at least 4 values; there are {n}.")
    check_left(x, y, z, kind)
    r = correlation(x, y, kind, z)
    if kind == "spearman":
        p = 2 * float(stats.t.sf(abs(r) * math.sqrt((n - 3) / max(1 - r**2, 1e-300)), n - 3))
    else:
        p = 2 * float(stats.norm.sf(abs(r) / math.sqrt(2 * (2 * (n - 1) + 5) / (9 * (n - 1) * (n - 2)))))
    return Test(r, _one_sided(max(p, 2 * one_order(n)), r, alternative), None, alternative)


def asymptotic_test(x: np.ndarray, y: np.ndarray, kind: str, alternative: str) -> Test:
    """Test the rank correlation of two sequences by its asymptotic p. Only exactly equal numbers are tied."""
    check_values(x, y)
    found = stats.spearmanr(x, y) if kind == "spearman" else stats.kendalltau(x, y, method="asymptotic")
    statistic = float(found.statistic)
    # the formula's 0 at ρ = 1 is less than one order of all, on either side
    two_sided = max(float(found.pvalue), 2 * one_order(len(x)))
    return Test(statistic, _one_sided(two_sided, statistic, alternative), None, alternative)


def _one_sided(two_sided: float, statistic: float, alternative: str) -> float:
    """Return the p-value of an alternative from the two-sided one."""
    if alternative == "two-sided":
        return two_sided
    return two_sided / 2 if (statistic > 0 if alternative == "greater" else statistic < 0) else 1 - two_sided / 2


def _exact(x: np.ndarray, y: np.ndarray, kind: str, alternative: str) -> Test:
    """Test the rank correlation of two sequences by all orders of the values."""
    ties = len(np.unique(x)) < len(x) or len(np.unique(y)) < len(y)
    if kind == "kendall" and not ties:
        if len(x) > MOST_EXACT:
            raise ValueError(
                f"p='exact' counts the orders of up to {MOST_EXACT} values; there are {len(x)}. Use p='asymptotic',"
                " which is as accurate for so many."
            )
        found = stats.kendalltau(x, y, method="exact", alternative=alternative)
        return Test(float(found.statistic), max(float(found.pvalue), one_order(len(x))), None, alternative)
    if len(x) > ALL_VALUES:
        raise ValueError(
            f"p='exact' uses all orders of up to {ALL_VALUES}"
            f" values{' (of more for Kendall without ties)' if kind == 'kendall' else ''}; there are {len(x)}. Use"
            " p='asymptotic'."
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
    """Test the rank correlation of two tables by permuting the items of the second."""
    check_permutations(n_permutations)
    upper = np.triu_indices(len(place), 1)
    x, y, *given = (table[upper] for table in tables)
    check_values(x, y, "pairs", *given)
    if given:
        check_left(x, y, given[0], kind, "pairs")
    orders, every = units_of(index, groups, place=place).orders(generator_of(seed), n_permutations)
    statistic = statistic_by_order(tables[0], tables[1], kind, *tables[2:])
    null = np.array([statistic(order) for order in orders])
    return compare_with_null(
        statistic(np.arange(len(place))), null, alternative, every, permuted="samples" if groups is None else "groups"
    )


def _sequences(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return two sequences as arrays in one order, equal values up to rounding made equal."""
    if isinstance(a, pd.Series) and isinstance(b, pd.Series) and not a.index.equals(b.index):
        if not (a.index.is_unique and b.index.is_unique and len(a) == len(b) and a.index.isin(b.index).all()):
            raise ValueError(
                "two Series are matched by their labels, so they must have the same unique ones; got"
                f" {join_names(a.index, 4)} and {join_names(b.index, 4)}."
            )
        b = b.loc[a.index]
    (x, finest), (y, other) = ((as_numbers(side), precision_of(side)) for side in (a, b))
    if x.ndim != 1 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(
            f"a rank correlation needs two sequences of one length; got the shapes {x.shape} and {y.shape}."
        )
    return merge_ties(x, tolerance_of(x, finest)), merge_ties(y, tolerance_of(y, other))


def check_values(x: np.ndarray, y: np.ndarray, what: str = "values", also: np.ndarray | None = None) -> None:
    """Check that values have a rank correlation. also: the values that are held constant."""
    for values in (x, y) if also is None else (x, y, also):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise ValueError(
                f"{bad} of {len(values)} {what} are undefined (NaN) or infinite. Leave these items out on both sides."
            )
        if len(values) < 3:
            raise ValueError(f"a rank correlation needs at least 3 {what}; there are {len(values)}.")
        if values.min() == values.max():
            side = "one side" if values is not also else "what is held constant (given)"
            raise ValueError(
                f"all {len(values)} {what} of {side} are {values[0]:.4g} up to rounding, so there is no order to"
                " correlate."
            )
