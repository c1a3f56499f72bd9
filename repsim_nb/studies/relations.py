"""How strongly, and how steeply, one measure follows another over pairs of agents, with intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.results.inference import Interval, Test
from repsim_nb.support.errors import check_name

from .spread import pair_interval

Statistic = Callable[[pd.DataFrame], float]
SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "plain": (float, float),
    "correlation": (math.atanh, math.tanh),
    "positive": (math.log, math.exp),
}
"""Where errors are symmetric, and the way back."""


def slope(points: pd.DataFrame, y: str = "JSD", x: str = "CKA") -> float:
    """Return the slope of the best-fit line of y on x. Pairs without a value are left out, as in `spearman`."""
    defined = points[[x, y]].dropna()
    return float(np.polyfit(defined[x], defined[y], 1)[0])


def spearman(points: pd.DataFrame, y: str = "JSD", x: str = "CKA") -> float:
    """Return the Spearman correlation of two columns, over the pairs for which both are defined."""
    defined = points[[x, y]].dropna()
    return float(stats.spearmanr(defined[x], defined[y]).statistic)


def mean_spearman(points: pd.DataFrame, y: str = "JSD", x: str = "CKA") -> float:
    """Return the Spearman correlation of two columns, the mean over panels, as in table 3.1."""
    panels = points.groupby(["tested", "trained"], sort=False)
    return float(np.mean([spearman(panel, y, x) for _, panel in panels]))


def slope_variation(points: pd.DataFrame, y: str = "JSD", x: str = "CKA") -> float:
    """Return the standard deviation of the slopes of the panels, over the size of their mean."""
    slopes = [slope(panel, y, x) for _, panel in points.groupby(["tested", "trained"], sort=False)]
    return float(np.std(slopes, ddof=1) / abs(np.mean(slopes)))


def over_seeds(
    points: pd.DataFrame, statistic: Statistic, seeds: pd.Series, *, scale: str = "plain", level: float = 0.95
) -> Interval:
    """Compute a statistic of pairs, with an interval over runs: seeds are left out, with all their agents.

    Parameters
    ----------
    points : DataFrame
        From `agents.compare_agents` or `agents.compare_all`.
    statistic : function(points) -> float
        Such as `spearman`.
    seeds : Series
        The seed of each agent, by name: `cards["seed"]` of a `Behaviour`.
    scale : {"plain", "correlation", "positive"}
        The scale on which errors are symmetric: that of the statistic, artanh, or the logarithm.
    level : float
        The fraction of intervals that contain the population value.

    Returns
    -------
    Interval

    Notes
    -----
    `spread.pair_interval` with the seeds as groups. A seed decides the first weights in all four rooms, so its runs in
    all rooms are left out together.
    """
    to, back = SCALES[check_name("scale", scale, SCALES)]
    found = pair_interval(lambda some: to(statistic(some)), points, seeds, level=level)
    return Interval(back(found.low), back(found.high), level, statistic(points))


def equal_slopes(points: pd.DataFrame, seeds: pd.Series, y: str = "JSD", x: str = "CKA") -> Test:
    """Test whether the best-fit lines of all rooms of training have the same slope, on average over rooms of testing.

    Parameters
    ----------
    points : DataFrame
        From `agents.compare_all`.
    seeds : Series
        The seed of each agent, by name.
    y, x : str
        Columns.

    Returns
    -------
    Test
        Hotelling's T² of the differences between rooms.

    Notes
    -----
    The slopes of k rooms are computed without each of m seeds in turn. The jackknife's pseudo-values are m vectors of k
    slopes; T² asks whether their differences between rooms have a mean of 0. (m - k + 1) / ((m - 1)(k - 1)) · T² has an
    F distribution with k - 1 and m - k + 1 degrees of freedom.
    """
    ends = [points.index.get_level_values(end).map(seeds) for end in (0, 1)]

    def slopes(some: pd.DataFrame) -> np.ndarray:
        means = some.groupby(["trained", "tested"]).apply(lambda panel: slope(panel, y, x)).groupby("trained").mean()
        return means.to_numpy()

    left = sorted(set(seeds))
    whole = slopes(points)
    pseudo = np.array(
        [len(left) * whole - (len(left) - 1) * slopes(points[(ends[0] != one) & (ends[1] != one)]) for one in left]
    )
    gaps = pseudo[:, 1:] - pseudo[:, :1]
    m, k = len(left), len(whole)
    middle = gaps.mean(0)
    t2 = m * middle @ np.linalg.solve(np.atleast_2d(np.cov(gaps.T)), middle)
    f = (m - k + 1) / ((m - 1) * (k - 1)) * t2
    return Test(statistic=float(t2), p_value=float(stats.f.sf(f, k - 1, m - k + 1)), alternative="greater")
