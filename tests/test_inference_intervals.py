"""Intervals: of rank correlations of tables over items, of block means over samples."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from sizes import fewest, sized

import repsim_nb as rs
from repsim_nb.results.inference import Interval, rank_correlation, rank_interval


def square(d, names=None):
    labels = pd.Index(names or [f"i{k}" for k in range(len(d))], name="label")
    return pd.DataFrame(np.asarray(d, float), index=labels, columns=labels)


def two_spaces(items, alpha, rng, copies=1):
    """Distances of the same items in two spaces: the second is alpha of the first and noise. copies: items come so many
    times, a little apart.
    """
    u = rng.normal(size=(items, 3))
    v = alpha * u + np.sqrt(1 - alpha**2) * rng.normal(size=u.shape)
    return tuple(
        square(
            squareform(pdist(np.repeat(x, copies, axis=0) + (copies > 1) * 0.1 * rng.normal(size=(items * copies, 3))))
        )
        for x in (u, v)
    )


def rho_of_pairs(alpha, n=200_000):
    """Spearman's ρ of independent pairs of items."""
    rng = np.random.default_rng(7)
    u = rng.normal(size=(2, n, 3))
    v = alpha * u + np.sqrt(1 - alpha**2) * rng.normal(size=u.shape)
    return stats.spearmanr(*(np.linalg.norm(x[0] - x[1], axis=1) for x in (u, v))).statistic


def test_an_interval_holds_values_and_prints_what_it_is():
    interval = Interval(0.25, 0.75, 0.95)
    assert 0.25 in interval and 0.5 in interval and 0.76 not in interval and np.nan not in interval
    assert repr(interval) == "Interval(low=0.25, high=0.75, level=0.95)" and interval == Interval(0.25, 0.75, 0.95)


# -- rank correlations


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_an_interval_is_the_jackknifes_over_items_on_fishers_scale(kind, rng):
    a, b = two_spaces(9, 0.8, rng)
    f = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    seen = f(pdist_of(a), pdist_of(b)).statistic
    left = np.array(
        [
            f(pdist_of(a.drop(k, axis=0).drop(k, axis=1)), pdist_of(b.drop(k, axis=0).drop(k, axis=1))).statistic
            for k in a.index
        ]
    )
    reach = stats.t.ppf(0.95, 8) * np.sqrt(8 / 9 * ((left - left.mean()) ** 2).sum()) / (1 - seen**2)
    found = rank_interval(a, b.iloc[::-1, ::-1], kind, level=0.9)
    assert (found.low, found.high) == pytest.approx(
        (np.tanh(np.arctanh(seen) - reach), np.tanh(np.arctanh(seen) + reach))
    ) and found.level == 0.9
    assert (
        rank_correlation(a, b, kind).statistic in found
        and found.low > rank_interval(a, b, kind).low
        and found.high < rank_interval(a, b, kind).high
    )


def pdist_of(frame):
    return frame.to_numpy()[np.triu_indices(len(frame), 1)]


@pytest.mark.parametrize(("items", "alpha"), [(12, 0.75), (16, 0.45), (30, 0.75)])
def test_intervals_cover_the_correlation_over_all_items(items, alpha):
    rng = np.random.default_rng(items)
    true, held, draws = rho_of_pairs(alpha), [0, 0], sized(40, 120)
    for _ in range(draws):
        tables = two_spaces(items, alpha, rng)
        for k, level in enumerate((0.95, 0.6)):
            held[k] += true in rank_interval(*tables, level=level)
    assert held[0] >= 0.9 * draws and draws / 2 <= held[1] <= 5 / 6 * draws, "nine tenths or more, and six, not all"


def test_items_of_one_group_are_left_out_together():
    """Two seeds of each model: intervals that treat them as independent items are too short."""
    alpha, groups, rng = 0.45, list(np.repeat(range(10), 2)), np.random.default_rng(3)
    true, held = rank_correlation(*two_spaces(400, alpha, np.random.default_rng(0), copies=2)).statistic, [0, 0]
    draws = sized(50, 100)
    for _ in range(draws):
        tables = two_spaces(10, alpha, rng, copies=2)
        held[0] += true in rank_interval(*tables, groups=groups)
        held[1] += true in rank_interval(*tables)
    assert held[0] >= fewest(draws, 0.95, 600) and held[1] <= 0.9 * draws and held[1] < held[0] - draws / 20
    a, b = two_spaces(8, 0.8, rng)
    assert (
        rank_interval(a, b, groups=list("abcdefgh"))
        == rank_interval(a, b)
        == rank_interval(a, b, groups=dict(zip(a.index, range(8), strict=True)))
    )


def test_comparisons_are_taken_as_dissimilarities(recorded):
    x = recorded.where(model="mnist-cnn-*")
    alike, unlike = rs.compare("cka", x), rs.compare("procrustes", x)
    found = rank_interval(alike, unlike)
    assert (
        found.low > 0.3
        and found == rank_interval(alike.dissimilarity(), unlike.values)
        and rank_correlation(alike, unlike).statistic in found
    )
    with pytest.raises(ValueError, match="groups needs at least 6 of them; these tables have 2 in common"):
        rank_interval(alike, unlike, groups="model")


def test_intervals_that_are_not_there_are_errors(rng):
    a, b = two_spaces(8, 0.8, rng)
    hole, one = a.copy(), square(1 - np.eye(8))
    hole.iloc[2, 5] = np.nan
    lone = one.copy()
    lone.iloc[3, :3] = lone.iloc[:3, 3] = 2
    for sides, says in (
        ((a.iloc[:5, :5], b.iloc[:5, :5]), "leaves out items needs at least 6 of them; these tables have 5 in common"),
        ((a, b.iloc[:7, :7]), "got 8 and 7 items, 7 of them in common"),
        ((hole, b), "1 of 28 pairs are undefined"),
        ((a, one), "all 28 pairs of one side are 1"),
        ((a, lone), "no interval: without 'i3', all pairs of one side have the same value"),
        ((a, 2 * a), "order all 28 pairs alike: a rank correlation of 1 is the same whichever item is left out"),
        ((a, (9 - a) * (1 - np.eye(8))), "in reverse: a rank correlation of -1"),
    ):
        with pytest.raises(ValueError, match=says):
            rank_interval(*sides)
    for options, says in (
        ({"kind": "spearmann"}, "Did you mean 'spearman'"),
        ({"level": 95}, "between 0 and 1, such as 0.95; got 95"),
        ({"groups": list("aabbccdd")}, "these tables have 4 in common"),
    ):
        with pytest.raises(ValueError, match=says):
            rank_interval(a, b, **options)
