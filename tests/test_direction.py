"""Which way numbers count: similarities never pass for dissimilarities without a word, nor probabilities for logits;
and what groups' spreads do to tests of groups.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.stats import f_oneway, ttest_ind
from sizes import most, sized

import repsim_nb as rs
from repsim_nb.measures import JSD, KL
from repsim_nb.results.inference import anosim, centre_test, dispersion_test, rank_correlation, rank_interval


def models(m=8, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(30, 4))
    return {f"m{k}": shared + rng.uniform(0.2, 3) * rng.normal(size=(30, 4)) for k in range(m)}


def frame(d, labels=None):
    return pd.DataFrame(d, *[labels or [f"i{k}" for k in range(len(d))]] * 2)


def test_a_frame_of_similarities_is_refused_and_never_turned():
    table, other = rs.compare("cka", models()), rs.compare("procrustes", models())
    for call in (rank_correlation, rank_interval):
        for sides in (
            (table, table.values),
            (table.values, table),
            (table.values, table.values),
            (other.values, table.values),
        ):
            with pytest.raises(ValueError, match=r"\.dissimilarity\(\)"):
                call(*sides)
    found = rank_correlation(table, other).statistic
    for a in (table, table.dissimilarity()):
        for b in (other, other.values, other.dissimilarity()):
            assert rank_correlation(a, b).statistic == pytest.approx(found, abs=1e-12)


def test_a_frame_without_a_value_above_0_is_named():
    """It may contain cross-validated distances, so this is a warning; negative distances have the same form."""
    d, other = rs.compare("procrustes", models(10)).dissimilarity(), rs.compare("cka", models(10))
    kinds = list("aabbaabbab")
    for call in (
        lambda t: rank_correlation(t, other).statistic,
        lambda t: anosim(t, kinds, n_permutations=49).statistic,
    ):
        with pytest.warns(UserWarning, match="no pair has a value above 0, and the lowest is -.*pass -frame"):
            assert call(-d) == pytest.approx(-call(d))
    hollow = other.values.where(~np.eye(10, dtype=bool))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rank_correlation(d.max().max() / 2 * (1 - np.eye(10)) - d, other).statistic < 0, "values above 0"
        assert rank_correlation(other, hollow, direction="similarity").statistic == pytest.approx(1)
    with pytest.raises(ValueError, match="cannot be negative"):
        rs.embedding.mds(-d)


def test_a_diagonal_without_values_is_no_missing_pair():
    table, other = rs.compare("cka", models(10)), rs.compare("procrustes", models(10))
    d = table.dissimilarity()
    hollow = d.where(~np.eye(10, dtype=bool))
    assert np.isnan(np.diag(hollow)).all()
    assert np.allclose(rs.embedding.mds(hollow).points, rs.embedding.mds(d).points)
    assert np.allclose(rs.embedding.tsne(hollow).points, rs.embedding.tsne(d).points)
    for call in (
        lambda t: rank_correlation(t, other, direction="dissimilarity").p_value,
        lambda t: rank_interval(t, other, direction="dissimilarity").low,
        *(
            lambda t, f=f: f(t, list("aabbaabbab"), n_permutations=49).p_value
            for f in (anosim, centre_test, dispersion_test)
        ),
    ):
        assert call(hollow) == pytest.approx(call(d))
    hole = d.copy()
    hole.iloc[1, 2] = np.nan
    with pytest.raises(ValueError, match="undefined"):
        rs.embedding.mds(hole)


def test_a_frame_whose_diagonal_says_nothing_needs_a_direction():
    table = rs.compare("cka", models())
    hollow = table.values.where(~np.eye(8, dtype=bool))
    for call in (rank_correlation, rank_interval):
        for sides in ((table, hollow), (hollow, table), (hollow, hollow)):
            with pytest.raises(ValueError, match="direction='similarity'"):
                call(*sides)
        with pytest.raises(ValueError, match="direction"):
            call(table, hollow, direction="distance")
        with pytest.raises(ValueError, match="0 on its whole diagonal"):
            call(table, table.dissimilarity(), direction="similarity")
    for frame_ in (hollow, table.values):
        assert rank_correlation(table, frame_, direction="similarity").statistic == pytest.approx(1)
        assert rank_correlation(frame_, table, direction="similarity").p_value == rank_correlation(table, table).p_value
    assert rank_correlation(table, hollow, direction="dissimilarity").statistic == pytest.approx(-1)
    other = rs.compare("procrustes", models())
    assert rank_interval(hollow, other, direction="similarity").low == pytest.approx(rank_interval(table, other).low)
    with pytest.raises(ValueError, match="sequences"):
        rank_correlation([1, 2, 3, 4], [2, 1, 3, 4], direction="similarity")


def test_labels_that_differ_as_integers_and_text_are_named():
    d = squareform(pdist(np.random.default_rng(0).normal(size=(8, 2))))
    read = pd.DataFrame(d, index=range(8), columns=[str(k) for k in range(8)])
    for call in (
        lambda t: rs.embedding.mds(t),
        lambda t: anosim(t, list("aabbaabb")),
        lambda t: rank_correlation(t, t),
        lambda t: rank_interval(t, t),
    ):
        with pytest.raises(ValueError, match=r"frame.columns = frame.index"):
            call(read)
    text, numbers = frame(d, [str(k) for k in range(8)]), frame(d, list(range(8)))
    with pytest.raises(ValueError, match="same as text"):
        rank_correlation(text, numbers.set_axis([*range(1, 8), 99], axis=0).set_axis([*range(1, 8), 99], axis=1))
    with pytest.raises(ValueError, match="same as text"):
        anosim(text, {k: "ab"[k % 2] for k in range(8)})
    with pytest.raises(ValueError, match="same as text"):
        rs.embedding.mds(numbers).add_points(pd.DataFrame(d[:1] + 1, ["new"], [str(k) for k in range(8)]))


def test_two_tables_are_tested_by_permuting_items():
    rng = np.random.default_rng(0)
    a, b = (frame(squareform(pdist(rng.normal(size=(9, 2))))) for _ in range(2))
    assert rank_correlation(a, b).p_value == rank_correlation(a, b, p="mantel").p_value
    assert rank_correlation(a, b).null is not None and rank_correlation(a, b, p="asymptotic").null is None
    x, y = rng.normal(size=(2, 12))
    assert rank_correlation(x, y).p_value == rank_correlation(x, y, p="asymptotic").p_value


@pytest.mark.parametrize("measure", [JSD, KL])
def test_probabilities_are_no_logits(measure):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 20, 5))
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    for rows in (
        p,
        p.astype(np.float32),
        p.astype(np.float16),
        np.stack([np.eye(5)[rng.integers(0, 5, 20)] for _ in range(2)]),
    ):
        with pytest.raises(ValueError, match=r"inputs='probabilities'"):
            measure()(*rows)
    assert measure(inputs="probabilities")(*p) == pytest.approx(measure()(*logits)) and np.isfinite(measure()(*(p + 1)))
    assert measure()(*(p + 1)) == pytest.approx(measure()(*(p + 2)))


# -- spreads and centres


def coordinates(d):
    """Principal coordinates, those of negative eigenvalues apart."""
    centre = np.eye(len(d)) - 1 / len(d)
    values, vectors = np.linalg.eigh(-0.5 * centre @ d**2 @ centre)
    return vectors[:, values > 0] * np.sqrt(values[values > 0]), vectors[:, values < 0] * np.sqrt(-values[values < 0])


@pytest.mark.parametrize("euclidean", [True, False])
def test_dispersion_by_principal_coordinates(euclidean):
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], (6, 9, 5))
    d = squareform(pdist(rng.normal(size=(20, 4)) * (1 + codes[:, None]), "euclidean" if euclidean else "cityblock"))
    d = d if euclidean else squareform(squareform(d) ** 2)
    real, imaginary = coordinates(d)
    assert (imaginary.shape[1] > 1 and np.abs(imaginary).max() > 1) != euclidean
    sizes = np.bincount(codes)
    squared = sum(
        sign * np.sum((c - np.stack([c[codes == k].mean(0) for k in range(3)])[codes]) ** 2, axis=1)
        for sign, c in ((1, real), (-1, imaginary))
    )
    z = np.sqrt(np.abs(squared) * sizes[codes] / (sizes[codes] - 1))
    found = dispersion_test(frame(d), list(codes))
    assert found.statistic == pytest.approx(f_oneway(*(z[codes == k] for k in range(3))).statistic)
    assert found.spreads == pytest.approx({k: z[codes == k].mean() for k in range(3)}) and found.groups == {
        0: 6,
        1: 9,
        2: 5,
    }


def test_welch_of_one_feature_is_the_square_of_his_t():
    rng = np.random.default_rng(0)
    x, codes = rng.normal(size=20), np.repeat([0, 1], (7, 13))
    x = x * (1 + codes) + codes
    assert centre_test(frame(cdist(x[:, None], x[:, None])), list(codes)).statistic == pytest.approx(
        ttest_ind(x[:7], x[7:], equal_var=False).statistic ** 2
    )


@pytest.mark.parametrize("spreads", [(1, 3), (3, 1)])
def test_centres_that_agree_are_not_distinguished_by_spread(spreads):
    rng, codes, small = np.random.default_rng(1), np.repeat([0, 1], (8, 24)), {"centre": 0, "anosim": 0, "spread": 0}
    draws = sized(100, 300)
    for seed in range(draws):
        d = frame(squareform(pdist(rng.normal(size=(32, 4)) * np.repeat(spreads, (8, 24))[:, None])))
        for name, test in (("centre", centre_test), ("anosim", anosim), ("spread", dispersion_test)):
            small[name] += test(d, list(codes), n_permutations=99, seed=seed).p_value <= 0.05
    assert small["centre"] <= most(draws, 0.05, 1000) and small["spread"] > 29 / 30 * draws
    assert (small["anosim"] > 5 / 6 * draws) == (spreads == (3, 1))
    apart = frame(
        squareform(
            pdist(
                np.random.default_rng(0).normal(size=(32, 4)) * np.repeat(spreads, (8, 24))[:, None]
                + 6 * codes[:, None]
            )
        )
    )
    assert centre_test(apart, list(codes)).p_value == 0.001


def test_groups_without_a_spread_are_errors():
    d = frame(squareform(pdist(np.random.default_rng(0).normal(size=(6, 2)))))
    for test in (centre_test, dispersion_test):
        with pytest.raises(ValueError, match="a group of one item has no spread"):
            test(d, list("aaabbc"))
    same = frame(squareform(pdist(np.array([[0.0], [0], [0], [1], [2], [4]]))))
    with pytest.raises(ValueError, match="all items of one group are alike"):
        centre_test(same, list("aaabbb"))
    with pytest.raises(ValueError, match="equally far from its centre"):
        dispersion_test(frame(squareform(pdist(np.array([[0.0], [1], [5], [7]])))), list("aabb"))


def test_strata_keep_centres_and_spreads_apart():
    rng = np.random.default_rng(0)
    stratum, groups = np.repeat([0, 1], 12), np.tile([0, 1], 12)
    d = frame(squareform(pdist(rng.normal(size=(24, 3)) + 20 * stratum[:, None] + 2 * groups[:, None])))
    assert centre_test(d, list(groups)).p_value > 0.1 > centre_test(d, list(groups), strata=list(stratum)).p_value
    assert 0 < dispersion_test(d, list(groups), strata=list(stratum)).p_value <= 1
