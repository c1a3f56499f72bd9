"""How far a number would move with other samples, or with other items."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .. import measures
from ..comparison import Choice, Comparison, short_labels
from ..errors import UndefinedError, unknown
from ..measures import Measure
from ..progress import Tick
from ..workers import all_of
from .grouped import Units
from .ranks import RANKS, check_values
from .results import Interval, check_level
from .squares import Direction, Table, by_item_defined, squares

FEWEST = 6  # items: with 5 the interval held a ρ of .95 in 83 of 100 simulations only
FEWEST_SAMPLES = 20


def interval(
    measure: str | Measure, x: Any, y: Any, *, groups: Any = None, level: float = 0.95, parts: int = 10, seed: int = 0, progress: bool | Tick = False
) -> Interval:
    """Confidence interval for the population value of a measure, from n samples that were drawn one by one, or in groups -> Interval, with the estimate in its middle.

    Parameters
    ----------
    x, y : arrays (n, ...)
    groups : labels (n,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus). Whole groups are left out, and pairs of rows within a group
        do not count. Recordings by token know the groups of their rows. Measures that can do this: debiased CKA, debiased distance correlation, RSA.
    level : float
        The share of such intervals that contain the population value.
    parts : int
        The number of parts into which samples (or groups) are divided, from 5.

    Notes
    -----
    The jackknife, twice: samples are permuted (seed) and divided into `parts` parts. What the measure loses without each part shows its bias, which falls as 1/n and is taken out. What the
    estimate without bias loses without each part shows its standard error; for that every two parts are left out together. Student's t has (parts - 1) degrees of freedom. So the estimate may lie outside
    what was measured, where that is biased at n samples, and the interval is not cut at the ends of the measure's range. It takes 1 + parts (parts + 1) / 2 calls of the measure, 56.
    (A bootstrap draws samples twice, and to a measure of pairs two copies are a perfect likeness.)

    Simulated, 400 times each, against the value at 20,000 samples (benchmarks/CALIBRATION.md): of 100 intervals at level 0.95 92 to 96 held it, of sides that are related, of up to 50 features: for debiased
    CKA, Procrustes and RSA at 200 and 1,000 samples, and for debiased CKA of 25 and 100 groups of 8 rows. It fails where the bias falls slower than 1/n: under Procrustes, NBS and CCA, of sides that
    share some directions and have nothing in common in others (80 at 200 samples, 93 at 1,000), and of unrelated sides altogether (5 and 48); there CKA and RSA have intervals that are too wide
    (98 to 100). Procrustes of 300 features at 200 samples never held it. The value of shared neighbours belongs to n samples and has no limit. Intervals of predictions are far too wide.

    Raises
    ------
    ValueError
        For fewer than 20 samples or groups, other n, or groups with a measure that cannot leave out the pairs within them.
    UndefinedError
        Where the measure has no value without two parts, or no part moves it.

    References
    ----------
    Quenouille 1956; Tukey 1958.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> found = interval("cka_debiased", x, x + rng.normal(size=(200, 5)))
    >>> 0.5 in found
    True
    """
    measure = measures.get(measure)
    check_level(level)
    if not isinstance(parts, (int, np.integer)) or isinstance(parts, bool) or parts < 5:
        raise ValueError(f"parts is a whole number from 5, 10 for 56 calls of the measure; got {parts!r}")
    units = Units(measure, x, y, groups, "an interval")
    if units.number < FEWEST_SAMPLES:
        raise ValueError(f"an interval needs at least {FEWEST_SAMPLES} {units.name} to leave some out; there are {units.number}")
    parts = min(parts, units.number)
    part = np.random.default_rng(seed).permutation(units.number) % parts
    left_out = [(k, other) for k in range(parts) for other in range(k, parts)]

    def without(pair: tuple[int, int]) -> float:
        kept = np.flatnonzero(~np.isin(part, pair))
        try:
            return units.value(kept)
        except UndefinedError as error:
            raise UndefinedError(f"with {units.number - len(kept)} of {units.number} {units.name} left out, as the interval needs it (parts={parts}): {error}") from error

    seen = units.value()
    found = all_of(without, left_out, progress=progress, what=f"interval of {measures.short_name(measure)}", unit="part")
    table = np.zeros((parts, parts))  # without one part on the diagonal, without two off it
    table[tuple(np.transpose(left_out))] = table.T[tuple(np.transpose(left_out))] = found
    one = table.diagonal()
    middle = parts * seen - (parts - 1) * one.mean()
    without_one = (parts - 1) * one - (parts - 2) * (table.sum(axis=1) - one) / (parts - 1)  # the estimate without bias, of what is left
    error = math.sqrt((parts - 1) / parts * float(((without_one - without_one.mean()) ** 2).sum()))
    if error <= 1e-12 * max(1.0, abs(seen)):
        raise UndefinedError(f"{measures.short_name(measure)} is {seen:.4g} whichever {units.name} are left out, so no interval can be told from them (are the two sides the same?)")
    reach = float(stats.t.ppf((1 + level) / 2, parts - 1)) * error
    return Interval(float(middle - reach), float(middle + reach), level, float(middle))


def rank_interval(a: Table, b: Table, kind: str = "spearman", *, groups: Choice | None = None, direction: Direction | None = None, level: float = 0.95) -> Interval:
    """Between which values the rank correlation of two square tables lies over all items like these -> Interval.

    Pairs that share an item are not independent, so whole items are left out, one at a time: the jackknife's standard error of the correlation, on Fisher's scale artanh ρ, times Student's t
    with (items - 1) degrees of freedom. Tables, items, ties, `direction` and `kind` as in `rank_correlation`, of which this is the interval (whether there is any correlation at all, that tests by permutation).
    groups: what to leave out together, as in `anosim`: items of one group (seeds of one architecture) are no independent draws, groups are.
    It estimates the correlation over all pairs of a population from which the items were drawn independently. Simulated (distances of points in two spaces, 6 to 53 items, ρ from 0.2 to 0.95):
    of 100 intervals at level 0.95 it held that in 93 to 99, at 8 to 12 items rather too often; with heavy tails and ρ = 0.95 in 91. Where each item came two or three times, a little apart, only in
    60 to 88, and with these as `groups` in 91 to 97. It says nothing of items of another kind, and nothing of the samples the tables were made of.
    Errors: ValueError for fewer than 6 items or groups, undefined pairs, a side that is constant (also without one of them), and for ρ = ±1, which no item moves.  [Arvesen 1969]
    """
    if kind not in RANKS:
        raise unknown("rank correlation", kind, RANKS)
    check_level(level)
    x, y, mine = squares(a, b, direction)
    index = (a.values if isinstance(a, Comparison) else a).index
    codes, names = (np.arange(len(mine)), short_labels(index[mine])) if groups is None else pd.factorize(by_item_defined(index, groups, "groups").iloc[mine])
    many, what = len(names), "items" if groups is None else "groups"
    if many < FEWEST:
        raise ValueError(f"an interval from leaving out {what} needs at least {FEWEST} of them; these tables share {many}")
    everything = np.triu_indices(len(x), 1)
    check_values(x[everything], y[everything], "pairs")
    seen = _correlation(x, y, kind)
    if 1 - abs(seen) < 1e-12:
        raise ValueError(f"the two tables order all {len(everything[0])} pairs {'alike' if seen > 0 else 'in reverse'}, a rank correlation of {seen:.0f}, which no item moves: it has no interval")
    without = np.array([_correlation(x[np.ix_(codes != k, codes != k)], y[np.ix_(codes != k, codes != k)], kind) for k in range(many)])
    if not np.isfinite(without).all():
        raise ValueError(f"without '{names[int(np.argmin(np.isfinite(without)))]}' all pairs of one side are the same, so that all order hangs on it: there is no interval")
    error = math.sqrt((many - 1) / many * float(((without - without.mean()) ** 2).sum())) / (1 - seen**2)
    reach = float(stats.t.ppf((1 + level) / 2, many - 1)) * error
    return Interval(math.tanh(math.atanh(seen) - reach), math.tanh(math.atanh(seen) + reach), level, seen)


def _correlation(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    """Of the pairs of two tables, in which equal values up to rounding are equal; NaN where a side is constant."""
    upper = np.triu_indices(len(x), 1)
    x, y = x[upper], y[upper]
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float((stats.spearmanr if kind == "spearman" else stats.kendalltau)(x, y).statistic)
