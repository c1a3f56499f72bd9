"""Standard errors: the jackknife, sums of variances, and the interval by Student's t that follows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from .results import Interval


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
