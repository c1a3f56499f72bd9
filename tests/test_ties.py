"""Ties up to rounding: equal numbers are equal wherever their order matters, and chance breaks the ties of neighbours on each side for itself."""

import itertools

import numpy as np
import pandas as pd
import pytest
import repsim_nb as rs
import torch
from repsim_nb.errors import UndefinedError
from repsim_nb.inference import anosim, by_run, permutation_test, rank_correlation, rank_interval
from repsim_nb.measures import CKNNA, RSA, JaccardKNN, MutualKNN, OutputRank
from repsim_nb.measures.ties import merge_ties, ranks_with_ties, rounding_of, row_ranks
from scipy import stats
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.stats import ortho_group

FIRSTS = ("correlation", "cosine", "dot", "euclidean")


def frame(d):
    return pd.DataFrame(d, *[[f"i{k}" for k in range(len(d))]] * 2)


def polygon(m, turn=0.0):
    angles = 2 * np.pi * np.arange(m) / m + turn
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def codes(seed=0, n=40, classes=5):
    return np.eye(classes)[np.random.default_rng(seed).permutation(np.arange(n) % classes)]


# -- ranks

def test_ranks_of_equal_numbers_and_of_numbers_equal_up_to_rounding():
    rng = np.random.default_rng(0)
    values = rng.normal(size=5000)
    assert np.array_equal(ranks_with_ties(values), stats.rankdata(values))
    tied = np.round(values, 2)
    noisy = tied + rng.uniform(-1e-14, 1e-14, 5000)
    assert np.array_equal(ranks_with_ties(noisy, 1e-12), stats.rankdata(tied))
    assert np.array_equal(stats.rankdata(merge_ties(noisy, 1e-12)), stats.rankdata(tied))
    assert np.array_equal(row_ranks(noisy.reshape(50, 100), np.full(50, 1e-12)), stats.rankdata(tied.reshape(50, 100), axis=1))
    many = rng.integers(1, 3, 5000)
    assert np.array_equal(np.repeat(ranks_with_ties(noisy, 1e-12, many), many), stats.rankdata(np.repeat(tied, many)))


@pytest.mark.parametrize("step", [0.1, 0.5, 0.9])
def test_a_run_of_near_numbers_is_no_tie(step):
    rng = np.random.default_rng(0)
    run = np.cumsum(rng.uniform(0.5, 1.5, 2000)) * step
    merged = merge_ties(run, 1.0)
    widths = pd.Series(run).groupby(merged).agg(np.ptp)
    assert widths.max() <= 1.0 and len(widths) >= run[-1] / 2
    order = rng.permutation(2000)
    assert np.array_equal(merge_ties(run[order], 1.0), merged[order])
    assert np.array_equal(ranks_with_ties(-run, 1.0), 2001 - ranks_with_ties(run, 1.0))


def test_a_tie_inside_a_run_stays_together():
    run = np.concatenate([np.arange(100) * 0.6, 30 + np.linspace(0, 1e-6, 50)])
    assert len(np.unique(merge_ties(run, 1.0)[100:])) == 1


def test_infinity_and_nan_are_kept():
    assert ranks_with_ties(np.array([np.inf, 1, np.inf, -np.inf]), 1e-9).tolist() == [3.5, 2, 3.5, 1]
    assert np.array_equal(merge_ties([np.nan, 1, np.nan, 1 + 1e-12], 1e-9), [np.nan, 1, np.nan, 1], equal_nan=True)


# -- RSA

@pytest.mark.parametrize("first", FIRSTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_spearman_of_a_category_model(first, dtype, library):
    model, rng = codes(), np.random.default_rng(1)
    y = rng.normal(size=(40, 7)).astype(dtype)
    i = np.tril_indices(40, -1)
    same = (model @ model.T)[i] * (-1 if first == "euclidean" else 1)
    right = stats.spearmanr(same, RSA(first=first, second="pearson").matrix(y.astype(float))[i]).statistic
    assert abs(right) < 0.3
    forms = [model, 0.1 + 0.9 * model, model[:, ::-1], 3 * model, 0.3 * model + 0.7]
    if first != "correlation":
        forms.append(model @ ortho_group.rvs(5, random_state=0))
    for form in forms if first != "dot" else forms[:1] + forms[2:4] + forms[5:]:
        measure = RSA(first=first)
        x = library(form.astype(dtype))
        assert measure(x, library(y)) == pytest.approx(right, abs=1e-5)
        assert measure(x, library(model.astype(dtype))) == pytest.approx(1, abs=1e-5)


def test_order_of_rows_columns_and_kinds_of_integers_change_nothing():
    rng = np.random.default_rng(0)
    counts, y = rng.poisson(1.0, size=(60, 6)) + np.eye(60, 6, dtype=int), rng.normal(size=(60, 9))
    for first in FIRSTS:
        measure = RSA(first=first)
        counts = np.where(np.ptp(counts, axis=1, keepdims=True) == 0, [[1, 0, 0, 0, 0, 2]], counts)
        value, rows = measure(counts, y), rng.permutation(60)
        assert measure(counts[rows], y[rows]) == pytest.approx(value, abs=1e-12)
        assert measure(counts[:, rng.permutation(6)], y) == pytest.approx(value, abs=1e-12)
        assert measure(counts.astype(np.int8), y) == measure(counts.astype(float), y) == value
        assert measure(counts.astype(np.float16), y) == pytest.approx(value, abs=1e-6)


def test_equal_rows_have_equal_distances_beside_a_large_mean():
    rng = np.random.default_rng(0)
    groups = np.arange(40) % 4
    centres = rng.normal(size=(4, 300))
    y = rng.normal(size=(40, 5))
    i = np.tril_indices(40, -1)
    right = stats.spearmanr(np.round(pdist(centres[groups]), 8), squareform(squareform(pdist(y)))).statistic
    turned = ortho_group.rvs(300, random_state=1)
    for x in (centres[groups], centres[groups] @ turned, centres[groups] @ turned + 1e4, 1e-3 * centres[groups] + 7):
        assert RSA(first="euclidean")(x, y) == pytest.approx(right, abs=1e-9)
    d = cdist(centres[groups], centres[groups])[i]
    assert np.corrcoef(stats.rankdata(np.round(d, 8)), RSA(first="euclidean").prepare(centres[groups] @ turned + 1e4))[0, 1] == pytest.approx(1)


def test_float32_with_many_pairs_is_not_merged():
    x = np.random.default_rng(0).normal(size=(700, 50)).astype(np.float32)
    i = np.tril_indices(700, -1)
    exact = stats.rankdata(np.corrcoef(x.astype(float))[i])
    assert len(np.unique(RSA().prepare(x.astype(float)))) == len(exact)
    assert np.corrcoef(RSA().prepare(x), exact)[0, 1] > 1 - 1e-9


def test_all_pairs_equal_up_to_rounding_are_refused():
    simplex = np.eye(6) @ ortho_group.rvs(6, random_state=0)
    for first in ("cosine", "dot", "euclidean"):
        with pytest.raises(UndefinedError, match="equally alike"):
            RSA(first=first)(simplex, np.random.default_rng(0).normal(size=(6, 3)))


# -- the whole matrix

@pytest.mark.parametrize("first", FIRSTS)
@pytest.mark.parametrize("second", ["cosine", "pearson", "spearman"])
def test_with_the_diagonal_the_whole_matrix_counts(first, second):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(15, 4)), rng.normal(size=(15, 6))
    measure = RSA(first=first, second=second, diagonal=True)
    a, b = (np.asarray(measure.matrix(v)).ravel() for v in (x, y))
    right = {"cosine": lambda: a @ b / np.sqrt(a @ a * (b @ b)), "pearson": lambda: np.corrcoef(a, b)[0, 1],
             "spearman": lambda: stats.spearmanr(np.round(a, 12), np.round(b, 12)).statistic}[second]()  # fmt: skip
    assert measure(x, y) == pytest.approx(right)
    order, one, other = rng.permutation(15), measure.prepare(x), measure.prepare(y)
    assert measure.pair(one, measure.permute(other, order)) == pytest.approx(measure(x, y[order]))
    assert (measure.square(one) * measure.square(other)).sum() == pytest.approx(right)


def test_moments_over_all_orders_with_the_diagonal():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 4))
    for second in ("cosine", "pearson", "spearman"):
        measure = RSA(first="dot", second=second, diagonal=True)
        every = [measure(x, y[list(order)]) for order in itertools.permutations(range(6))]
        found = rs.inference.null_moments(measure, x, y)
        assert (found.mean, found.variance) == pytest.approx((np.mean(every), np.var(every)))


# -- neighbours

def broken(d, k, rng):
    """Neighbours by distance, ties broken by chance (n, n)."""
    d = np.round(d, 9) + rng.uniform(0, 1e-10, d.shape)
    np.fill_diagonal(d, np.inf)
    w = np.zeros_like(d)
    np.put_along_axis(w, np.argsort(d, axis=1)[:, :k], 1, axis=1)
    return w


def test_the_value_is_the_expectation_over_random_choices():
    rng = np.random.default_rng(0)
    x, y = np.eye(3)[rng.integers(0, 3, 24)], rng.integers(0, 3, size=(24, 2)).astype(float)
    dx, dy = cdist(x, x), cdist(y, y)
    for k in (1, 4, 10):
        wx, wy = (np.mean([broken(d, k, rng) for _ in range(3000)], axis=0) for d in (dx, dy))
        assert MutualKNN(k=k, metric="euclidean")(x, y) == pytest.approx((wx * wy).sum() / 24 / k, abs=0.005)
        exact = []
        for d in (np.round(dx, 9), np.round(dy, 9)):
            w = np.zeros((24, 24))
            for i, j in itertools.permutations(range(24), 2):
                others = np.delete(d[i], i)
                t = np.sort(others)[k - 1]
                w[i, j] = 1 if d[i, j] < t else (k - (others < t).sum()) / (others == t).sum() if d[i, j] == t else 0
            exact.append(w)
        s = (exact[0] * exact[1]).sum(axis=1)
        assert MutualKNN(k=k, metric="euclidean")(x, y) == pytest.approx(s.mean() / k, abs=1e-12)
        assert JaccardKNN(k=k, metric="euclidean")(x, y) == pytest.approx((s / (2 * k - s)).mean(), abs=1e-12)


def test_cknna_weighs_pairs_by_four_weights():
    def hsic(k, m):
        n = len(k)
        k, m, one = k * (1 - np.eye(n)), m * (1 - np.eye(n)), np.ones(n)
        return (k * m).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m @ one).sum()

    rng = np.random.default_rng(0)
    x, y, k = np.eye(3)[rng.integers(0, 3, 20)] @ rng.normal(size=(3, 3)), rng.integers(0, 3, size=(20, 3)).astype(float), 4
    grams, masks = [], []
    for side in (x, y):
        side = side - side.mean(0)
        g = side @ side.T
        d, w = np.round(g, 9), np.zeros((20, 20))
        for i, j in itertools.permutations(range(20), 2):
            others = np.delete(d[i], i)
            t = np.sort(others)[-k]
            w[i, j] = 1 if d[i, j] > t else (k - (others > t).sum()) / (others == t).sum() if d[i, j] == t else 0
        grams.append(g)
        masks.append(w * w.T)
    both = masks[0] * masks[1]
    right = hsic(both * grams[0], both * grams[1]) / np.sqrt(np.prod([hsic(m * g, m * g) for m, g in zip(masks, grams, strict=True)]))
    assert CKNNA(k=k)(x, y) == pytest.approx(right, abs=1e-10) and CKNNA(k=19)(x, y) == pytest.approx(rs.measures.get("cka_debiased")(x, y))


@pytest.mark.parametrize("measure", [MutualKNN(k=7), MutualKNN(k=7, metric="euclidean"), JaccardKNN(k=7), CKNNA(k=7)], ids=str)
def test_permuting_moves_weights_with_their_samples(measure):
    rng = np.random.default_rng(0)
    x, y = np.eye(4)[rng.integers(0, 4, 50)], rng.integers(0, 3, size=(50, 3)) + 0.5
    for side in (x, y, rng.normal(size=(50, 3))):
        order, prepared = rng.permutation(50), measure.prepare(side)
        again, right = measure.permute(prepared, order), measure.prepare(side[order])
        for one, other in zip(again, right, strict=True):
            assert np.allclose(one, other)
        assert measure.pair(measure.prepare(x), again) == pytest.approx(measure(x, side[order]), abs=1e-12)
    assert measure(x[order], y[order]) == pytest.approx(measure(x, y), abs=1e-12)
    assert measure(x.astype(np.float32), torch.tensor(y)[:, [2, 0, 1]].numpy()) == pytest.approx(measure(x, y), abs=1e-12)
    assert measure(x, x) < 1


def test_chance_is_exact_with_ties():
    rng = np.random.default_rng(0)
    x, y = np.eye(3)[[0, 0, 0, 1, 1, 2]], rng.integers(0, 2, size=(6, 2)) + 1.0
    for measure, exact in ((MutualKNN(k=2), True), (JaccardKNN(k=2), False)):
        a, b = measure.prepare(x), measure.prepare(y)
        mean = np.mean([measure.pair(a, measure.permute(b, np.array(order))) for order in itertools.permutations(range(6))])
        assert mean == pytest.approx(measure.chance(6)) if exact else mean < measure.chance(6)


def test_p_values_of_unrelated_categories_are_uniform():
    p = []
    for seed in range(200):
        g = np.random.default_rng(seed)
        x, y = np.eye(3)[g.integers(0, 3, 40)], np.eye(3)[g.integers(0, 3, 40)]
        p.append(permutation_test(MutualKNN(k=5), x, y, n_permutations=79, seed=seed).p_value)
    share = int((np.array(p) <= 0.05).sum())
    assert stats.binomtest(share, 200, 0.05).pvalue > 0.001 and stats.kstest(p, "uniform").pvalue > 0.001


# -- tables and sequences

def test_a_regular_pentagon_beside_itself():
    one, other = (frame(squareform(pdist(polygon(5, turn)))) for turn in (0.0, 0.3))
    for kind in ("spearman", "kendall"):
        found = rank_correlation(one, other, kind, "greater")
        assert found.statistic == pytest.approx(1) and found.p_value == pytest.approx(10 / 120)
        assert rank_correlation(one, other, kind, p="asymptotic").statistic == pytest.approx(1)


def test_sides_constant_up_to_rounding_are_refused():
    d = [frame(squareform(pdist(np.eye(6) @ ortho_group.rvs(6, random_state=seed)))) for seed in (0, 1)]
    assert len(np.unique(d[0].to_numpy())) > 2  # rounding differs
    x = np.random.default_rng(0).normal(size=(50, 8))
    same = rs.compare("cka", {f"m{k}": x @ ortho_group.rvs(8, random_state=k) for k in range(6)})
    for a, b in (d, (same, same), (same.dissimilarity(), frame(squareform(pdist(np.arange(12.0).reshape(6, 2) ** 2))))):
        b = b if isinstance(b, rs.Comparison) else b.set_axis(a.index if isinstance(a, pd.DataFrame) else b.index, axis=0)
        b = b if isinstance(b, rs.Comparison) else b.set_axis(b.index, axis=1)
        for call in (rank_correlation, rank_interval):
            with pytest.raises(ValueError, match="no order to correlate"):
                call(a, b)
    with pytest.raises(ValueError, match="no order to correlate"):
        rank_correlation([0.3, 0.1 + 0.2, 0.3], [1, 2, 3])
    run = pd.DataFrame({"a": [0.3, 0.1 + 0.2, 0.3, 0.30000000000000004, 0.5]})
    with pytest.raises(ValueError, match="the run 'a'"):
        by_run(run, pd.DataFrame({"a": np.arange(5.0)}))


def test_sequences_are_tied_up_to_rounding():
    noisy, y = [0.1 + 0.2, 0.3, 0.7, 0.1 * 7, 1.5, 0.2], [1, 2, 4, 3, 6, 5]
    for kind, theirs in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        for p in ("asymptotic", "exact"):
            assert rank_correlation(noisy, y, kind, p=p).statistic == pytest.approx(theirs(np.round(noisy, 9), y).statistic)
    single = np.array([0.3, 0.30000004, 0.7, 0.7, 1.5, 0.2], np.float32)
    assert rank_correlation(single, y).statistic == pytest.approx(stats.spearmanr([0.3, 0.3, 0.7, 0.7, 1.5, 0.2], y).statistic)
    assert rounding_of(np.array([1.0, 2.0])) < 1e-14 < rounding_of(np.array([1.0, 2.0], np.float32))


def test_anosim_of_a_polygon_does_not_rank_rounding():
    d = squareform(pdist(polygon(8, 0.2)))
    groups = list("ababbaba")
    found, right = anosim(frame(d), groups), anosim(frame(np.round(d, 9)), groups)
    assert found.statistic == pytest.approx(right.statistic, abs=1e-12) and found.p_value == right.p_value


def test_outputs_equal_up_to_rounding_are_tied():
    rng = np.random.default_rng(0)
    x, y = np.round(rng.normal(size=(30, 10)), 1), rng.normal(size=(30, 10))
    noisy = x + rng.uniform(-1e-16, 1e-16, x.shape)
    right = np.mean([stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)])
    assert OutputRank()(noisy, y) == pytest.approx(right)
