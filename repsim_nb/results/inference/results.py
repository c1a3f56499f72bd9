"""What inference gives: a statistic with its p-value, moments of a null distribution, intervals."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_fraction, check_integer

ROUNDING = 1e-10  # of one statistic, summed in another order in float64
TESTED = 0.05  # curves of three moments hold up to here, whatever the data
BACKED = 1e-9  # six standard deviations: further out three moments say nothing of how often an order comes


@dataclass(frozen=True, eq=False, repr=False)
class Test:
    """A statistic, and how often chance alone would give one like it.

    p_value: by permutation (1 + #{null at least as extreme}) / (n_permutations + 1), never 0; #{...} / n_permutations
    where all orders were gone through.
    null: the statistics under permutation (n_permutations,), None where a formula gave the p-value.
    alternative: what counts as extreme: "greater", "less", or "two-sided" (by size, whatever the sign).
    permuted: what was permuted: "samples" (or values, or items), "groups" of rows, "group means", of which the
    statistic is then a value, or "units" of items.
    """

    __test__ = False  # no test of pytest's

    statistic: float
    p_value: float
    null: np.ndarray | None = None
    alternative: str = "two-sided"
    n_permutations: int | None = None
    permuted: str = field(default="samples", kw_only=True)

    def _facts(self) -> list[str]:
        """What text and HTML say after statistic and p-value."""
        by = f"{self.n_permutations} permutations" if self.n_permutations else "no permutations"
        of = f" of {self.permuted}" if self.n_permutations and self.permuted != "samples" else ""
        return [self.alternative, by + of]

    def __repr__(self) -> str:
        found = f"statistic={self.statistic:.4g}, p_value={self.p_value:.3g}"
        return f"{type(self).__name__}({', '.join([found, *self._facts()])})"

    def _repr_html_(self) -> str:
        found = f"statistic {self.statistic:.4g}, p = {self.p_value:.3g}"
        return summarize(type(self).__name__, found, self._facts(), page=f"inference.{type(self).__name__}")


@dataclass(frozen=True, eq=False, repr=False)
class GroupTest(Test):
    """A test of groups of items; `statistic` is R for ANOSIM.

    within, between: mean dissimilarities of the pairs that count. groups: {group: number of items}.
    """

    within: float | None = None
    between: float | None = None
    groups: Mapping[Any, int] = field(default_factory=dict)

    def _facts(self) -> list[str]:
        means = [f"within={self.within:.4g}", f"between={self.between:.4g}"]
        return [*super()._facts(), *means, f"{len(self.groups)} groups"]


@dataclass(frozen=True, eq=False)
class Moments:
    """What permuting the samples of one side makes of a value, over all n! orders: its mean, variance and skewness.

    p-values and quantiles are those of Pearson's type III curve (a shifted gamma distribution) with these three
    moments. Where a few samples outweigh all others that curve says nothing of its tails: then p-values and quantiles
    are counted in `random_values`, the values of random orders (None: the curve holds).
    least: the smallest p-value that can be backed. A p-value that equals it is an upper bound.
    """

    mean: float
    variance: float
    skewness: float
    least: float = BACKED
    count: Callable[[], np.ndarray] | None = field(default=None, repr=False)
    rounding: float = field(default=ROUNDING, repr=False)

    @functools.cached_property
    def random_values(self) -> np.ndarray | None:
        return None if self.count is None else self.count()

    @property
    def sd(self) -> float:
        return math.sqrt(self.variance)

    def _repr_html_(self) -> str:
        facts = [f"mean {self.mean:.4g}", f"sd {self.sd:.4g}", f"skewness {self.skewness:.3g}"]
        return summarize("Moments", "of a value under permuted samples", facts, page="inference.Moments")

    def p_value(self, value: float) -> float:
        """How often an order gives this value or more; at most that often if it is `least`."""
        if (values := self.random_values) is None:
            return float(tail((value - self.mean) / self.sd, self.skewness, self.least))
        return max(float((1 + np.sum(values >= value - self.rounding)) / (1 + len(values))), self.least)

    def quantile(self, level: float) -> float:
        """The value below which a fraction `level` of the orders lie."""
        check_level(level)
        if (values := self.random_values) is not None:
            return quantile_of(values, level)
        return self.mean + self.sd * float(stats.pearson3(self.skewness).ppf(level))


def p_text(p: float, at_most: bool) -> str:
    """A p-value as text: "≤ 1e-09" if it is an upper bound."""
    return f"{'≤ ' if at_most else ''}{p:.2g}"


def quantile_of(values: np.ndarray, level: float) -> float:
    """The value that one more of the same kind exceeds with a probability of at most 1 - level (the largest where there
    are too few to tell).
    """
    return float(np.sort(values)[min(math.ceil(level * (len(values) + 1)), len(values)) - 1])


def tail(z: Any, skewness: Any, least: Any) -> Any:
    """The upper tail of Pearson's type III curve at z standard deviations, never below `least`."""
    return np.clip(stats.pearson3.sf(z, skewness), least, 1.0)


@dataclass(frozen=True, repr=False)
class Interval:
    """A confidence interval from low to high; `estimate` is the best single guess.

    A fraction `level` of such intervals holds what they estimate. `0.5 in interval` asks whether that value fits.
    """

    low: float
    high: float
    level: float
    estimate: float | None = None

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __repr__(self) -> str:
        middle = "" if self.estimate is None else f", estimate={self.estimate:.4g}"
        return f"Interval(low={self.low:.4g}, high={self.high:.4g}, level={self.level:g}{middle})"

    def _repr_html_(self) -> str:
        ends = f"[{self.low:.3f}, {self.high:.3f}]"
        name = ends if self.estimate is None else f"{self.estimate:.3f} {ends}"
        return summarize("Interval", name, [f"{self.level:.0%} confidence"], page="inference.Interval")


def compare_with_null(
    statistic: float,
    null: np.ndarray,
    alternative: str,
    every: bool = False,
    rounding: float = ROUNDING,
    permuted: str = "samples",
) -> Test:
    """The test by counting in the null; `every`: it holds all orders, the one that was seen among them.  rounding:
    statistics that differ by less are the same.
    """
    sizes = {"two-sided": (np.abs(null), abs(statistic)), "greater": (null, statistic), "less": (-null, -statistic)}
    values, seen = sizes[alternative]
    extreme = int(np.sum(values >= seen - rounding))
    p_value = extreme / len(null) if every else (1 + extreme) / (len(null) + 1)
    return Test(statistic, p_value, null, alternative, len(null), permuted=permuted)


def least_backed(n: int) -> float:
    """The smallest p-value that a curve of three moments can back for n samples; at least that of one order of all."""
    return max(one_order(n), BACKED)


def one_order(n: int) -> float:
    """1/n!, the fraction of one order of n things, or the smallest number there is."""
    return max(math.exp(-math.lgamma(n + 1)), sys.float_info.min)


def percentile_interval(values: Any, level: float) -> tuple[float, float]:
    """The two ends that hold a fraction `level` of the values, by quantiles."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def check_permutations(n: int) -> None:
    check_integer(n, "n_permutations", minimum=1, hint="999 or more for a p-value of 0.001")


def check_level(level: float) -> None:
    check_fraction(level, "level", hint="such as 0.95")


def check_draws(n_bootstrap: int, level: float) -> None:
    """ValueError for numbers that no interval over models can be made of."""
    check_level(level)
    check_integer(
        n_bootstrap, "n_bootstrap", minimum=20, hint="such as 999 for an interval that does not change with the seed"
    )


def jackknife(without: np.ndarray) -> tuple[float, int]:
    """The variance of a statistic from its values without each part (parts,), and its degrees of freedom."""
    parts = len(without)
    return (parts - 1) / parts * float(((without - without.mean()) ** 2).sum()), parts - 1


def add_variances(variances: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The sum of variances that are independent of each other, with the degrees of freedom of Satterthwaite; the fewest
    of them if all variances are 0.
    """
    each, df = np.array(variances, float).T
    bottom = float((each**2 / df).sum())
    return float(each.sum()), float(each.sum() ** 2 / bottom) if bottom > 0 else float(df.min())


def student_interval(estimate: float, variance: float, df: float, level: float) -> Interval:
    """The estimate plus and minus Student's t times its standard error."""
    reach = float(stats.t.ppf((1 + level) / 2, df)) * math.sqrt(variance)
    return Interval(float(estimate - reach), float(estimate + reach), level, float(estimate))
