"""Intervals of the lessons: means over units, and how far pairs of networks with equal values of one measure differ in another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ..inference import Interval

FEWEST = 6  # groups, to leave one out


def residual_factor(points: pd.DataFrame, x: str, y: str, groups: Mapping[Any, Any] | pd.Series, *, level: float = 0.95) -> Interval:
    """Typical factor between the value y of a pair and what its value x predicts, with an interval over groups of networks.

    Parameters
    ----------
    points : DataFrame
        A row a pair of networks, as `comparison.pairs` gives: the names of both in a MultiIndex.
    x, y : str
        Columns. y is positive, such as a divergence.
    groups : {network: group}
        Networks of one group (seeds of one architecture) are left out together, with all their pairs.
    level : float
        The fraction of intervals that contain the population value.

    Returns
    -------
    Interval
        exp(s), with s the standard deviation of log y around a straight line in x. 1 if x determines y; 1.3 if a typical pair has 1.3 times, or 1 / 1.3 of, what its x predicts.

    Raises
    ------
    ValueError
        For fewer than 6 groups, a y that is not positive, and if all pairs lie on the line.

    Notes
    -----
    `pair_interval` of log s. Simulated (10 and 20 groups of two networks; effects of groups, of networks and of pairs; 1,000 times each): of 100 intervals at level
    0.95 93 to 99 contained the population value.

    References
    ----------
    Arvesen 1969.
    """
    if not (points[y] > 0).all():
        raise ValueError(f"factors are of positive values; {int((~(points[y] > 0)).sum())} of {len(points)} values of '{y}' are not")
    whole = np.ptp(np.log(points[y]))

    def spread(some: pd.DataFrame) -> float:
        up, design = np.log(some[y].to_numpy(float)), np.column_stack([np.ones(len(some)), some[x].to_numpy(float)])
        rest = up - design @ np.linalg.lstsq(design, up, rcond=None)[0]
        sd = math.sqrt(rest @ rest / (len(rest) - 2))
        if sd <= 1e-9 * whole:
            raise ValueError(f"all pairs lie on one line: '{x}' determines '{y}', and there is no spread to measure")
        return math.log(sd)

    found = pair_interval(spread, points, groups, level=level)
    return Interval(*(math.exp(math.exp(end)) for end in (found.low, found.high)), level, math.exp(math.exp(found.estimate)))


def pair_interval(statistic: Callable[[pd.DataFrame], float], points: pd.DataFrame, groups: Mapping[Any, Any] | pd.Series, *, level: float = 0.95) -> Interval:
    """A statistic of pairs of networks, with an interval over groups of networks.

    Parameters
    ----------
    statistic : function(points) -> float
        Smooth in the values of the pairs, such as a mean; the logarithm of what is positive.
    points : DataFrame
        A row a pair of networks, the names of both in a MultiIndex.
    groups : {network: group}
        Networks of one group are left out together, with all their pairs.
    level : float

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        For fewer than 6 groups.

    Notes
    -----
    The jackknife over groups, with Student's t. Simulated as in `residual_factor`, for the mean of log y, 500 times each: 92 to 96 of 100 intervals at level 0.95 contained the population value.

    References
    ----------
    Arvesen 1969.
    """
    ends = [points.index.get_level_values(end) for end in (0, 1)]
    codes, names = pd.factorize(np.array([groups[name] for end in ends for name in end], dtype=object))
    one, other = codes[: len(points)], codes[len(points) :]
    if len(names) < FEWEST:
        raise ValueError(f"an interval over groups leaves out each of at least {FEWEST}; there are {len(names)}")
    seen, many = statistic(points), len(names)
    without = np.array([statistic(points[(one != k) & (other != k)]) for k in range(many)])
    reach = float(stats.t.ppf((1 + level) / 2, many - 1)) * math.sqrt((many - 1) / many * float(((without - without.mean()) ** 2).sum()))
    return Interval(seen - reach, seen + reach, level, seen)


def mean_interval(values: Any, *, level: float = 0.95) -> Interval:
    """The mean of independent values, one a unit, with Student's t interval.

    Parameters
    ----------
    values : sequence (units,)
        Three or more, such as one for each network or for each pair that was trained.
    level : float

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        For fewer than 3 values, and for undefined ones.
    """
    found = np.asarray(values, float)
    if found.ndim != 1 or len(found) < 3 or not np.isfinite(found).all():
        raise ValueError(f"an interval for a mean needs at least 3 values, one a unit, all defined; got {values!r}")
    reach = float(stats.t.ppf((1 + level) / 2, len(found) - 1)) * float(found.std(ddof=1)) / math.sqrt(len(found))
    return Interval(float(found.mean()) - reach, float(found.mean()) + reach, level, float(found.mean()))
