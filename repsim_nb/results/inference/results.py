"""Results of inference: tests, moments of a null distribution and intervals, with what their functions share."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from repsim_nb.support.summaries import percent, summarize
from repsim_nb.support.validation import check_fraction, check_integer

ROUNDING = 1e-10  # of one statistic, summed in another order in float64
TESTED = 0.05  # curves of three moments are accurate for larger p-values, whatever the data
BACKED = 1e-9  # six standard deviations: further out three moments do not determine the tail


@dataclass(frozen=True, eq=False, repr=False)
class Test:
    """A statistic with its p-value.

    Attributes
    ----------
    statistic : float
        The statistic of the data as they are.
    p_value : float
        The probability of a statistic at least as extreme if there is no relation, in (0, 1]. By permutation it is
        (1 + number of permutations at least as extreme) / (n_permutations + 1), or, if all orders were used, the
        fraction of orders that are at least as extreme.
    null : array (n_permutations,) or None
        The statistics of the permutations; None if a formula gave the p-value.
    alternative : str
        Which statistics are extreme: "greater", "less", or "two-sided" (large in size, whatever the sign).
    n_permutations : int or None
        The number of permutations; None if a formula gave the p-value.
    permuted : str
        What was permuted: "samples" (or values, or items), "groups" of rows, "group means" (the statistic is then a
        value of these means), or "units" of items.

    Examples
    --------
    >>> rank_test = rs.inference.rank_correlation([1, 2, 3, 4], [1, 3, 2, 4], p="exact")
    >>> rank_test.statistic, rank_test.n_permutations
    (0.8, 24)
    """

    __test__ = False  # no test of pytest's

    statistic: float
    p_value: float
    null: np.ndarray | None = None
    alternative: str = "two-sided"
    n_permutations: int | None = None
    permuted: str = field(default="samples", kw_only=True)

    def _facts(self) -> list[str]:
        """Return what text and HTML show after statistic and p-value."""
        by = f"{self.n_permutations} permutations" if self.n_permutations else "no permutations"
        of = f" of {self.permuted}" if self.n_permutations and self.permuted != "samples" else ""
        return [self.alternative, by + of]

    def __repr__(self) -> str:
        """Return the statistic, p-value and permutations as text."""
        found = f"statistic={self.statistic:.4g}, p_value={self.p_value:.3g}"
        return f"{type(self).__name__}({', '.join([found, *self._facts()])})"

    def _repr_html_(self) -> str:
        found = f"statistic {self.statistic:.4g}, p = {self.p_value:.3g}"
        return summarize(type(self).__name__, found, self._facts(), page=f"inference.{type(self).__name__}")


@dataclass(frozen=True, eq=False, repr=False)
class GroupTest(Test):
    """A test of groups of items: the fields of a `Test`, and mean dissimilarities.

    Attributes
    ----------
    statistic : float
        R of `anosim`, or Welch's W of `centre_test`.
    p_value : float
        The p-value, as in `Test`.
    null : array (n_permutations,)
        The statistics of the permutations.
    alternative : str
        "greater": the test is one-sided.
    n_permutations : int
        The number of labellings.
    permuted : str
        What exchanged its label, "samples" (items) or "units" of items.
    within : float
        Mean dissimilarity of the pairs of items of one group.
    between : float
        Mean dissimilarity of the pairs of items of two groups. Both means are over the pairs that the test counts.
    groups : {group: int}
        The number of items of each group.

    Examples
    --------
    >>> positions = np.array([0.0, 1.0, 2.5, 10.0, 11.0, 13.0])
    >>> found = rs.inference.anosim(pd.DataFrame(abs(positions[:, None] - positions)), list("aaabbb"))
    >>> round(found.within, 2), round(found.between, 2), found.groups
    (1.83, 10.17, {'a': 3, 'b': 3})
    """

    within: float | None = None
    between: float | None = None
    groups: Mapping[Any, int] = field(default_factory=dict)

    def _facts(self) -> list[str]:
        """Return the facts of a test, the means and the number of groups."""
        means = [f"mean within groups {self.within:.4g}", f"between groups {self.between:.4g}"]
        return [*super()._facts(), *means, f"{len(self.groups)} groups"]


@dataclass(frozen=True, eq=False)
class Moments:
    """The null distribution of a value: its mean, variance and skewness over all n! orders of the samples of one side.

    Attributes
    ----------
    mean, variance, skewness : float
        Exact moments of the value over all orders.
    least : float
        The smallest p-value that the method supports. A p-value that equals it is an upper bound.
    count : function or None
        Computes `random_values`; None if p-values come from the curve.
    rounding : float
        Values that differ by less are equal when they are counted.

    Notes
    -----
    p-values and quantiles are those of Pearson's type III curve (a shifted gamma distribution) with these moments. If a
    few samples outweigh all others, that curve has the wrong tails. p-values and quantiles are then counted in
    `random_values`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> null = rs.inference.null_moments("cka", rng.normal(size=(60, 5)), rng.normal(size=(60, 8)))
    >>> round(null.quantile(0.95), 2), round(null.p_value(0.2), 4)
    (0.13, 0.0001)
    """

    mean: float
    variance: float
    skewness: float
    least: float = BACKED
    count: Callable[[], np.ndarray] | None = field(default=None, repr=False)
    rounding: float = field(default=ROUNDING, repr=False)

    @functools.cached_property
    def random_values(self) -> np.ndarray | None:
        """The values of random orders (n_permutations,) if tails are counted; None if the curve is used."""
        return None if self.count is None else self.count()

    @property
    def sd(self) -> float:
        """The standard deviation of the value over all orders."""
        return math.sqrt(self.variance)

    def _repr_html_(self) -> str:
        facts = [f"mean {self.mean:.4g}", f"sd {self.sd:.4g}", f"skewness {self.skewness:.3g}"]
        return summarize("Moments", "of a value under permuted samples", facts, page="inference.Moments")

    def p_value(self, value: float) -> float:
        """Return the probability that a random order gives this value or a larger one.

        Parameters
        ----------
        value : float
            A value of the measure.

        Returns
        -------
        float
            At least `least`; a p-value that equals `least` is an upper bound. NaN for NaN.

        Examples
        --------
        >>> null = Moments(mean=0.1, variance=0.0004, skewness=1.0)
        >>> round(null.p_value(0.15), 3)
        0.021
        """
        if (values := self.random_values) is None or math.isnan(value):
            return float(tail((value - self.mean) / self.sd, self.skewness, self.least))
        return max(float((1 + np.sum(values >= value - self.rounding)) / (1 + len(values))), self.least)

    def quantile(self, level: float) -> float:
        """Return the value that a fraction `level` of the orders do not exceed.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Returns
        -------
        float
            The quantile, in the units of the measure.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.

        Examples
        --------
        >>> null = Moments(mean=0.1, variance=0.0004, skewness=1.0)
        >>> round(null.quantile(0.95), 3)
        0.138
        """
        check_level(level)
        if (values := self.random_values) is not None:
            return quantile_of(values, level)
        return self.mean + self.sd * float(stats.pearson3(self.skewness).ppf(level))


def p_text(p: float, at_most: bool) -> str:
    """Format a p-value: "≤ 1e-09" if it is an upper bound."""
    return f"{'≤ ' if at_most else ''}{p:.2g}"


def quantile_of(values: np.ndarray, level: float) -> float:
    """Return the value that one more random value exceeds with a probability of at most 1 - level.

    It is the largest value if there are too few.
    """
    return float(np.sort(values)[min(math.ceil(level * (len(values) + 1)), len(values)) - 1])


def tail(z: Any, skewness: Any, least: Any) -> Any:
    """Return the upper tail of Pearson's type III curve at z standard deviations, never below `least`."""
    return np.clip(stats.pearson3.sf(z, skewness), least, 1.0)


@dataclass(frozen=True, repr=False)
class Interval:
    """A confidence interval.

    `value in interval` is whether the value is between the two ends.

    Attributes
    ----------
    low, high : float
        The ends of the interval, in the units of the measure.
    level : float
        The confidence level: the fraction of such intervals that contain the population value, such as 0.95.
    estimate : float or None
        The point estimate; None if there is none.

    Examples
    --------
    >>> interval = Interval(low=0.25, high=0.75, level=0.95)
    >>> 0.5 in interval, 0.8 in interval
    (True, False)
    """

    low: float
    high: float
    level: float
    estimate: float | None = None

    def __contains__(self, value: float) -> bool:
        """Return whether a value is between the two ends."""
        return self.low <= value <= self.high

    def __repr__(self) -> str:
        """Return the ends, the level and the estimate as text."""
        middle = "" if self.estimate is None else f", estimate={self.estimate:.4g}"
        return f"Interval(low={self.low:.4g}, high={self.high:.4g}, level={self.level:g}{middle})"

    def _repr_html_(self) -> str:
        ends = f"[{self.low:.3f}, {self.high:.3f}]"
        name = ends if self.estimate is None else f"{self.estimate:.3f} {ends}"
        return summarize("Interval", name, [f"{percent(self.level)} confidence"], page="inference.Interval")


def compare_with_null(
    statistic: float,
    null: np.ndarray,
    alternative: str,
    every: bool = False,
    rounding: float = ROUNDING,
    permuted: str = "samples",
) -> Test:
    """Test a statistic by counting in its null distribution.

    every: whether the null has all orders, the given one among them. rounding: statistics that differ by less are
    equal.
    """
    sizes = {"two-sided": (np.abs(null), abs(statistic)), "greater": (null, statistic), "less": (-null, -statistic)}
    values, seen = sizes[alternative]
    extreme = int(np.sum(values >= seen - rounding))
    p_value = extreme / len(null) if every else (1 + extreme) / (len(null) + 1)
    return Test(statistic, p_value, null, alternative, len(null), permuted=permuted)


def least_backed(n: int) -> float:
    """Return the smallest p-value that a curve of three moments supports for n samples, at least that of one order."""
    return max(one_order(n), BACKED)


def one_order(n: int) -> float:
    """Return 1/n!, the fraction of one order of n things, or the smallest positive number."""
    return max(math.exp(-math.lgamma(n + 1)), sys.float_info.min)


def percentile_interval(values: Any, level: float) -> tuple[float, float]:
    """Return the two quantiles between which a fraction `level` of the values lie."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def check_permutations(n: int) -> None:
    """Check a number of permutations."""
    check_integer(n, "n_permutations", minimum=1, hint="999 or more for a p-value of 0.001")


def check_level(level: float) -> None:
    """Check a confidence level."""
    check_fraction(level, "level", hint="such as 0.95")


def check_quantile(level: float, n_permutations: int) -> None:
    """Check that a null distribution of so many permutations has this quantile."""
    if level > n_permutations / (n_permutations + 1):
        raise ValueError(
            f"the quantile {level:g} of a null distribution needs more than {n_permutations} permutations. Use"
            f" n_permutations={math.ceil(level / (1 - level))} or more."
        )


def check_draws(n_bootstrap: int, level: float) -> None:
    """Check the number of resamples and the level of an interval over models."""
    check_level(level)
    check_integer(
        n_bootstrap, "n_bootstrap", minimum=20, hint="such as 999 for an interval that does not change with the seed"
    )


def limit_move(whole: float, half: float, quarter: float) -> float:
    """Return by how much the limit from all and half of the samples differs from that from halves and quarters.

    It is 0 if the bias falls as 1/n.
    """
    return 2 * whole - 3 * half + quarter


def jackknife(without: np.ndarray) -> tuple[float, int]:
    """Return the variance of a statistic from its values without each part (parts,), and its degrees of freedom."""
    parts = len(without)
    return (parts - 1) / parts * float(((without - without.mean()) ** 2).sum()), parts - 1


def add_variances(variances: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Return the sum of independent variances, with the degrees of freedom of Satterthwaite.

    If all variances are 0, the degrees of freedom are the fewest of them.
    """
    each, df = np.array(variances, float).T
    bottom = float((each**2 / df).sum())
    return float(each.sum()), float(each.sum() ** 2 / bottom) if bottom > 0 else float(df.min())


def student_interval(estimate: float, variance: float, df: float, level: float) -> Interval:
    """Return the estimate plus and minus Student's t times its standard error."""
    reach = float(stats.t.ppf((1 + level) / 2, df)) * math.sqrt(variance)
    return Interval(float(estimate - reach), float(estimate + reach), level, float(estimate))
