"""Intervals of the lessons: means over units, and the spread of one measure at equal values of another."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sizes import fewest, sized

from repsim_nb.studies.population import KINDS
from repsim_nb.studies.spread import mean_interval, pair_interval, residual_factor


def pairs_of(seed, groups=10, noise=0.3, of_group=0.0):
    """Two models in each group; log y is a line in x, plus noise of pairs and of groups."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), 2)
    one, other = np.triu_indices(len(group), 1)
    x = rng.normal(size=len(one))
    own = of_group * rng.normal(size=groups)
    y = np.exp(1 - 0.5 * x + own[group[one]] + own[group[other]] + noise * rng.normal(size=len(one)))
    return pd.DataFrame({"x": x, "y": y}, index=pd.MultiIndex.from_arrays([one, other])), dict(
        enumerate(group.tolist())
    )


def test_the_factor_is_that_of_the_residuals():
    points, groups = pairs_of(0)
    found = residual_factor(points, "x", "y", groups)
    line = stats.linregress(points["x"], np.log(points["y"]))
    rest = np.log(points["y"]) - line.intercept - line.slope * points["x"]
    assert found.estimate == pytest.approx(np.exp(np.sqrt((rest**2).sum() / (len(rest) - 2))))
    assert found.low < found.estimate < found.high
    assert residual_factor(points.assign(y=7 * points["y"]), "x", "y", groups).high == pytest.approx(
        found.high
    )  # whatever the unit


@pytest.mark.parametrize("of_group", [0.0, 0.2])
def test_the_interval_holds_the_population_value(of_group):
    true = np.exp(np.sqrt(0.3**2 + 2 * of_group**2))  # of pairs of two groups, which nearly all are
    draws = sized(25, 60)
    inside = [
        true in residual_factor(*pairs_of(seed, 20, of_group=of_group)[:1], "x", "y", pairs_of(seed, 20)[1])
        for seed in range(draws)
    ]
    assert sum(inside) >= fewest(draws, 0.95, 700)


def test_what_has_no_interval_says_so():
    points, groups = pairs_of(1)
    with pytest.raises(ValueError, match="at least 6; there are 5"):
        residual_factor(*pairs_of(1, groups=5)[:1], "x", "y", groups)
    with pytest.raises(ValueError, match="of positive values; 3 of 190"):
        residual_factor(points.assign(y=points["y"].where(np.arange(190) > 2, -1.0)), "x", "y", groups)
    with pytest.raises(ValueError, match="'x' determines 'y'"):
        residual_factor(points.assign(y=np.exp(points["x"])), "x", "y", groups)


def test_what_leaves_no_value_is_named():
    """A value that is missing without one group would be an interval without ends."""
    points, groups = pairs_of(1)
    only = points.assign(seen=[2 in pair or 3 in pair for pair in points.index])  # the models of group 1
    with pytest.raises(ValueError, match="the statistic has no value without '1'"):
        pair_interval(lambda some: some.loc[some["seen"], "y"].mean(), only, groups)
    with pytest.raises(ValueError, match="the statistic of all 190 pairs has no value; got nan"):
        pair_interval(lambda some: np.nan, points, groups)
    with pytest.raises(ValueError, match="groups has no value for '11'; it has values for '0', '1', '2' and 16 more"):
        residual_factor(points, "x", "y", {name: group for name, group in groups.items() if name != 11})
    for lacking in (None, np.nan):
        with pytest.raises(ValueError, match="groups has no value for '11'"):
            residual_factor(points, "x", "y", pd.Series(groups, dtype=object).where(np.arange(20) != 11, lacking))
    with pytest.raises(
        ValueError,
        match=r"groups has no value for '0', '1', '2' and 17 more.* 0 \(int\) and '0' \(str\) are the same as text",
    ):
        residual_factor(points, "x", "y", {str(name): group for name, group in groups.items()})
    with pytest.raises(ValueError, match="groups needs one value a model"):
        residual_factor(points, "x", "y", pd.concat([pd.Series(groups), pd.Series({3: 7})]))
    in_tuples = residual_factor(points, "x", "y", {name: ("kind", group) for name, group in groups.items()})
    assert (
        in_tuples == residual_factor(points, "x", "y", pd.Series(groups)) == residual_factor(points, "x", "y", groups)
    )


@pytest.mark.parametrize("level", [95, 0, 1, -0.5, True, "0.95"])
def test_a_level_is_a_fraction(level):
    points, groups = pairs_of(1)
    for call in (
        lambda: mean_interval([0.1, 0.2, 0.3], level=level),
        lambda: residual_factor(points, "x", "y", groups, level=level),
        lambda: pair_interval(lambda some: some["y"].mean(), points, groups, level=level),
    ):
        with pytest.raises(ValueError, match="level must be a number between 0 and 1, such as 0.95; got"):
            call()


def test_a_mean_has_students_interval():
    values = [0.8, 0.9, 1.0, 0.7]
    found = mean_interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.estimate, found.high) == pytest.approx((low, 0.85, high))
    for bad in ([1, 2], [1, 2, np.nan], [[1, 2, 3]]):
        with pytest.raises(ValueError, match="at least 3 values"):
            mean_interval(bad)


def test_no_two_models_of_the_kinds_start_from_the_same_weights():
    assert len(KINDS) == 18 and len({recipe["seed"] for recipe in KINDS.values()}) == 18
    assert {recipe["about"]["kind"] for recipe in KINDS.values()} == {"mnist", "fashion", "untrained"}
