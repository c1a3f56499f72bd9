"""Units of a study: items that are drawn and exchanged together, in one grouping or in crossed ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice

from .results import percentile_interval
from .square_tables import require_values_per_item

Groups: TypeAlias = Choice | pd.DataFrame | None  # a frame has a column for each of several crossed groupings
EVERY = 5040  # all orders are used if there are no more than those of 7 units
FEWEST_UNITS = 3
# with fewer units resamples do not show how much a value varies (46 to 91 % of simulated intervals at level 0.95
# contained it), so their intervals have no ends
ENOUGH_UNITS = 5


class NoOrder(ValueError):
    """No two units can change places, for the reason in the message."""


@dataclass(frozen=True, eq=False)
class Units:
    """Items in independent groups; `groupings` is {name: codes (m,)}.

    With one grouping, whole groups are drawn and exchanged. With several crossed groupings (pre-training seed and
    fine-tuning seed), the levels of each are drawn and exchanged.
    """

    groupings: dict[str, np.ndarray]

    @property
    def number(self) -> int:
        """The number of groups, the smallest if there are several groupings."""
        return min(int(codes.max()) + 1 for codes in self.groupings.values())

    @property
    def name(self) -> str:
        """The name of the grouping, or of all of them."""
        return " x ".join(self.groupings)

    @property
    def text(self) -> str:
        """The name with the number, such as "models (10)"."""
        return f"{self.name} ({self.number})"

    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return whether two items, by their positions, are in different groups in every grouping."""
        return np.logical_and.reduce([codes[one] != codes[other] for codes in self.groupings.values()])

    def draw_levels(self, rng: np.random.Generator, n: int) -> list[np.ndarray]:
        """Return how often each group comes in n draws with replacement (n, groups), for each grouping."""
        numbers = [int(codes.max()) + 1 for codes in self.groupings.values()]
        return [rng.multinomial(number, np.full(number, 1 / number), size=n) for number in numbers]

    def counts(self, levels: list[np.ndarray]) -> np.ndarray:
        """Return how often each item comes in these draws (n, m), the product over crossed groupings (Owen 2007)."""
        return np.prod([drawn[:, codes] for drawn, codes in zip(levels, self.groupings.values(), strict=True)], axis=0)

    def pair_counts(self, levels: list[np.ndarray], one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return how often each pair of items (one, other) comes in these draws (n, pairs).

        The pairs within a group that is drawn twice come twice. Pairs of one copy with the other do not count: they
        would be pairs between two groups that are as similar as one.
        """
        found = np.ones((len(levels[0]), len(one)), dtype=np.int64)
        for drawn, codes in zip(levels, self.groupings.values(), strict=True):
            a, b = codes[one], codes[other]
            found *= drawn[:, a] * np.where(a == b, 1, drawn[:, b])
        return found

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return `counts` of n draws (n, m)."""
        return self.counts(self.draw_levels(rng, n))

    def draw_nonempty(self, rng: np.random.Generator, n: int, counts: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return `draw` of n draws for which `counts` is above 0; others are drawn again."""
        found = np.zeros((0, len(next(iter(self.groupings.values())))))
        while len(found) < n:
            drawn = self.draw(rng, n).astype(float)
            found = np.concatenate([found, drawn[counts(drawn) > 0]])
        return found[:n]

    def orders(
        self, rng: np.random.Generator, n: int, fixed: Sequence[int] | np.ndarray = ()
    ) -> tuple[np.ndarray, bool]:
        """Return orders of the items (n or fewer, m) that exchange whole groups, and whether these are all orders.

        If they are all orders, the first is the identity. Groups of one size change places and keep the order of their
        items. Levels of crossed groupings change places with all their items. Groups with a `fixed` item stay.
        """
        exchanges = self._exchange_groups(fixed) if len(self.groupings) == 1 else self._exchange_levels(fixed)
        total = math.prod(math.factorial(len(rows)) for rows in exchanges)
        if total == 1:
            raise NoOrder(
                f"a permutation exchanges groups of one size, but no two of these {self.number}"
                f" {'that may move ' if len(fixed) else ''}have the same number of items ({self.name}). Use groups of"
                " one size, or leave groups out."
            )
        m = len(next(iter(self.groupings.values())))
        if total <= EVERY:
            every = itertools.product(*(itertools.permutations(range(len(rows))) for rows in exchanges))
            return np.array([self._compose(exchanges, chosen, m) for chosen in every]), True
        return (
            np.array(
                [self._compose(exchanges, [rng.permutation(len(rows)) for rows in exchanges], m) for _ in range(n)]
            ),
            False,
        )

    def _exchange_groups(self, fixed: Sequence[int] | np.ndarray) -> list[list[np.ndarray]]:
        """Return classes of groups that may change places, each group as the positions of its items."""
        (codes,) = self.groupings.values()
        sizes: dict[int, list[np.ndarray]] = {}
        for code in np.setdiff1d(np.arange(codes.max() + 1), codes[list(fixed)]):
            places = np.flatnonzero(codes == code)
            sizes.setdefault(len(places), []).append(places)
        return list(sizes.values())

    def _exchange_levels(self, fixed: Sequence[int] | np.ndarray) -> list[list[np.ndarray]]:
        """Return for each grouping the item positions of every level, in the order of the other groupings."""
        table = pd.DataFrame(self.groupings)
        if table.duplicated().any() or len(table) != math.prod(table.nunique()):
            raise NoOrder(
                f"a permutation of crossed groupings needs every combination of {self.name} exactly once; there are"
                f" {len(table)} items and {len(table.drop_duplicates())} of {math.prod(table.nunique())} combinations."
                " Use one grouping, whose groups are then exchanged whole."
            )
        found = []
        for name in table:
            rest = [other for other in table if other != name]
            still = set(table[name].iloc[list(fixed)])
            found.append(
                [
                    group.sort_values(rest).index.to_numpy()
                    for level, group in table.groupby(name, sort=True)
                    if level not in still
                ]
            )
        return found

    @staticmethod
    def _compose(exchanges: list[list[np.ndarray]], chosen: Iterable[Iterable[int]], m: int) -> np.ndarray:
        """Return one order of the items from an order of the groups of each class."""
        order = np.arange(m)
        for rows, places in zip(exchanges, chosen, strict=True):
            step = np.arange(m)
            for to, come in enumerate(places):
                step[rows[to]] = rows[come]
            order = order[step]
        return order


def units_of(index: pd.Index, groups: Groups, what: str = "items", place: np.ndarray | None = None) -> Units:
    """Return the units of these items, or of those at some places; groups=None makes each item a unit.

    groups: one value an item (a field of the labels, {model: group}, a Series, a sequence), or a frame with a column
    for each crossed grouping, by model or by label. ValueError for fewer than 3 groups, and if one is undefined.
    """
    if groups is None:
        found = {what: (np.arange(len(index)), index)}
    elif isinstance(groups, pd.DataFrame):
        if not len(groups.columns):
            raise ValueError("a frame of groups must have a column for each grouping; got one without columns.")
        if not groups.columns.map(str).is_unique:
            raise ValueError(
                f"the columns of a frame of groups must have different names; got {join_names(groups.columns)}."
            )
        found = {
            str(name): pd.factorize(require_values_per_item(index, groups[name], f"groups['{name}']"))
            for name in groups
        }
    else:
        chosen = require_values_per_item(index, groups, "groups")
        found = {str(chosen.name) if chosen.name is not None else "groups": pd.factorize(chosen)}
    for name, (_, levels) in found.items():
        if len(levels) < FEWEST_UNITS:
            raise ValueError(
                f"{name}: intervals and tests over units need at least {FEWEST_UNITS} of them, and 10 or more to be"
                f" useful; there {'is' if len(levels) == 1 else 'are'} {len(levels)} ({join_names(levels, 3)})."
            )
    return Units({n: codes if place is None else pd.factorize(codes[place])[0] for n, (codes, _) in found.items()})


def widen_level(level: float, units: int) -> float:
    """Return the level at which a percentile interval over few units is as wide as one with Student's t.

    Quantiles of a bootstrap are too narrow by the factor sqrt((n - 1) / n), and because they are those of a normal
    distribution (Hesterberg 2015, expanded percentile).
    """
    return 1 - 2 * float(stats.norm.sf(math.sqrt(units / (units - 1)) * stats.t.ppf((1 + level) / 2, units - 1)))


def interval_over_units(
    draws: np.ndarray, units: int, level: float, ends: tuple[float, float] = (-math.inf, math.inf), widen: bool = True
) -> tuple[float, float]:
    """Return the percentile interval of draws, widened for few units; `ends` for fewer than 5 units.

    `ends` are the lowest and the highest possible value. With 5 units, `ends` are also returned if all draws are equal,
    since most resamples then contain the same units.
    """
    if units < ENOUGH_UNITS or (units == ENOUGH_UNITS and np.ptp(draws) == 0):
        return ends
    return percentile_interval(draws, widen_level(level, units) if widen else level)


def simultaneous(
    estimates: pd.Series, draws: pd.DataFrame, units: int, level: float = 0.95, *, widen: bool = True
) -> pd.DataFrame:
    """Return simultaneous intervals of differences from paired draws (max-t).

    Parameters
    ----------
    estimates : Series
        The differences.
    draws : DataFrame (draws, estimates)
        The same differences in resamples; a row is one resample. The interval of a column that never varies is its one
        value.
    units : int
        The number of independent units. With fewer than 5, intervals have no ends, and nothing is significant.
    level : float
        The fraction of studies in which all intervals contain their population values.
    widen : bool
        Widen intervals for few units, as draws with replacement need it; False for draws that are wide enough.

    Returns
    -------
    DataFrame
        The index is that of `estimates`, and the level is in ``.attrs["level"]``. Columns:

        - difference: the estimate.
        - low, high: the interval.
        - p_value: adjusted for the number of differences, never 0.
        - detectable: the size of a single difference that such an interval distinguishes from 0 in 8 of 10 studies with
          so many units.
        - significant: whether 0 is outside the interval.

    Notes
    -----
    Each draw has a maximum over all columns of |draw - mean| / sd. The interval is estimate ± c · s: c is the quantile
    `level` of these maxima, on the scale of Student's t, and s is the standard deviation of the draws, widened for few
    units. p_value is the fraction of maxima that are at least |estimate| / s.

    References
    ----------
    P. H. Westfall, S. S. Young 1993, Resampling-based multiple testing, Wiley.
    """
    values, size = draws[list(estimates.index)].to_numpy(float), np.abs(estimates.to_numpy(float))
    few = stats.t(units - 1) if widen else stats.norm
    plain = values.std(axis=0, ddof=1)
    still = plain * math.sqrt(units / (units - 1) if widen else 1.0) <= 1e-12 * np.maximum(1.0, size)
    plain = np.where(still, 1.0, plain)
    furthest = np.where(still, 0.0, np.abs(values - values.mean(axis=0)) / plain).max(axis=1, initial=0.0)
    # as far out for Student's t as these are for the normal distribution
    beyond = few.isf(stats.norm.sf(np.sort(furthest)))
    sd = plain * (math.sqrt(units / (units - 1)) if widen else 1.0)
    p = (1 + (beyond[None] >= (size / sd)[:, None] - 1e-12).sum(axis=1)) / (1 + len(values))
    p = np.where(still, np.where(size > 1e-12, 1 / (1 + len(values)), 1.0), p)
    sd = np.where(still, 0.0, sd)
    reach, detectable = np.quantile(beyond, level) * sd, (few.ppf((1 + level) / 2) + few.ppf(0.8)) * sd
    if units < ENOUGH_UNITS:
        reach, detectable, p = np.inf, np.inf, 1.0
    low, high = estimates - reach, estimates + reach
    found = pd.DataFrame(
        {
            "difference": estimates,
            "low": low,
            "high": high,
            "p_value": p,
            "detectable": detectable,
            "significant": (low > 0) | (high < 0),
        },
        index=estimates.index,
    )
    found.attrs["level"] = level
    return found


def with_deviations(draws: np.ndarray, sd: np.ndarray, units: int) -> np.ndarray:
    """Return draws (draws, m) around 0, so scaled that these are the standard deviations which `simultaneous` uses.

    It widens those of its draws for few units, which is undone here.
    """
    drawn = draws.std(axis=0, ddof=1)
    scale = np.divide(sd, drawn, out=np.zeros_like(sd), where=drawn > 0) * math.sqrt(1 - 1 / units)
    return (draws - draws.mean(axis=0)) * scale


def holm(p_values: pd.Series | Sequence[float]) -> pd.Series:
    """Return p-values adjusted for their number by the method of Holm.

    If each adjusted p-value up to 0.05 is called significant, the probability of one or more false results is at most
    0.05, whatever the dependence of the tests.

    Parameters
    ----------
    p_values : Series, or sequence of float
        One p-value a test, from 0 to 1. NaN is allowed for a test without a p-value, and counts as a test.

    Returns
    -------
    Series
        The adjusted p-values, at most 1, with the index of `p_values`. NaN stays NaN.

    Raises
    ------
    ValueError
        For numbers below 0 or above 1.

    References
    ----------
    S. Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.

    Examples
    --------
    >>> holm(pd.Series({"a": 0.01, "b": 0.04, "c": 0.02})).to_dict()
    {'a': 0.03, 'b': 0.04, 'c': 0.04}
    """
    series = pd.Series(p_values)
    p = series.to_numpy(float, na_value=np.nan)
    if bad := [f"{value:g}" for value in p if value < 0 or value > 1]:
        raise ValueError(f"p-values must be numbers from 0 to 1; got {', '.join(bad[:3])}.")
    order, found = np.argsort(p, kind="stable"), np.empty(len(p))
    found[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return pd.Series(found, index=series.index)
