"""Ties up to rounding: equal numbers are equal wherever their order matters, and chance breaks the ties of neighbours
on each side for itself.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cdist, pdist, squareform
from scipy.stats import ortho_group
from sizes import sized

import repsim_nb as rs
from repsim_nb.measures import CKNNA, RSA, JaccardKNN, MutualKNN, OutputRank
from repsim_nb.measures.neighbour_search import shared_places
from repsim_nb.measures.ties import merge_ties, ranks_with_ties, row_ranks, tolerance_of
from repsim_nb.results.inference import anosim, permutation_test, rank_correlation, rank_interval
from repsim_nb.results.reliability.row_findings import neighbour_fractions
from repsim_nb.results.trajectories import correlate_runs
from repsim_nb.support.errors import UndefinedError

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
    assert np.array_equal(
        row_ranks(noisy.reshape(50, 100), np.full(50, 1e-12)), stats.rankdata(tied.reshape(50, 100), axis=1)
    )


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


def test_equal_rows_have_equal_distances_next_to_a_large_mean():
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
    assert np.corrcoef(stats.rankdata(np.round(d, 8)), RSA(first="euclidean").prepare(centres[groups] @ turned + 1e4))[
        0, 1
    ] == pytest.approx(1)


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


def lower(first, x):
    """The entries below the diagonal, by an independent formula in float64."""
    x = x.astype(float)
    i = np.tril_indices(len(x), -1)
    return (squareform(pdist(x)) if first == "euclidean" else x @ x.T if first == "dot" else np.corrcoef(x))[i]


def far(kind, size, dtype, seed=0, n=60):
    """A related pair in which sample 7 is far from all others, or all sizes differ widely."""
    g = np.random.default_rng(seed)
    x = g.normal(size=(n, 20))
    y = x + g.normal(size=x.shape)
    if kind == "norms":
        scale = np.exp(size * g.normal(size=(n, 1)))
        x, y = x * scale, y * scale
    for v in (x, y):
        v[7] = v[7] * size if kind == "times" else v[7] + size if kind == "at" else v[7]
    return x.astype(dtype), y.astype(dtype)


@pytest.mark.parametrize("first", ["correlation", "dot", "euclidean"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "size"), [("norms", 3), ("norms", 4), ("norms", 6), ("times", 1e3), ("times", 1e8), ("at", 1e5)]
)
def test_a_far_sample_ties_no_others(first, dtype, kind, size):
    x, y = far(kind, size, dtype)
    right = stats.spearmanr(lower(first, x), lower(first, y)).statistic
    close = 1e-9 if dtype == np.float64 else 1e-4
    for diagonal in (False, True)[: 1 if first == "dot" else 2]:
        found = RSA(first=first, diagonal=diagonal)(x, y)
        assert diagonal or found == pytest.approx(right, abs=close)
        assert found == pytest.approx(RSA(first=first, diagonal=diagonal)(x.astype(float), y.astype(float)), abs=close)
    assert RSA(first=first)(x, torch.tensor(y).numpy()) == RSA(first=first)(x, y)


def test_ties_of_each_own_tolerance_have_one_value_in_common():
    values, tolerance = np.array([0.0, 1, 1.4, 5, 5.9, 6.1, 40]), np.array([0.1, 0.1, 0.1, 2, 0.1, 0.1, 100])
    assert ranks_with_ties(values, tolerance).tolist() == [1, 2, 3, 4.5, 4.5, 6.5, 6.5]
    rng = np.random.default_rng(0)
    noise, sizes = rng.uniform(-1, 1, 300), 10 ** rng.uniform(-8, 4, 300)
    assert len(np.unique(ranks_with_ties(noise * sizes, 3 * sizes))) == 1  # all are 0, each within its own rounding
    order, same = rng.permutation(300), np.full(300, 1e-12)
    tied = np.round(noise, 1) + rng.uniform(-1e-14, 1e-14, 300)
    assert np.array_equal(ranks_with_ties(tied[order], same), ranks_with_ties(tied, 1e-12)[order])


def test_pairs_at_right_angles_are_tied_whatever_their_sizes():
    scale = 10 ** np.random.default_rng(0).uniform(-2, 3, 30)
    x = np.eye(6)[np.arange(30) % 6] * scale[:, None]
    y = np.random.default_rng(1).normal(size=(30, 4))
    turned = x @ ortho_group.rvs(6, random_state=0)
    assert RSA(first="dot")(turned, y) == pytest.approx(
        stats.spearmanr(lower("dot", x), lower("dot", y)).statistic, abs=1e-9
    )


def test_data_as_coarse_as_their_differences_are_refused():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(40, 10)) + 1.5e6).astype(np.float32)
    alone = x.copy()
    alone[7] *= 1e3  # its pairs still differ, which alone would make 1 of any two such
    for coarse in (x, alone):
        with pytest.raises(UndefinedError, match="equally alike|rounding of its numbers"):
            RSA(first="euclidean")(coarse, rng.normal(size=(40, 3)))
    mild = (rng.normal(size=(40, 10)) + 1e4).astype(np.float32)
    y = rng.normal(size=(40, 3))
    assert RSA(first="euclidean")(mild, y) == pytest.approx(
        stats.spearmanr(lower("euclidean", mild), lower("euclidean", y)).statistic, abs=1e-3
    )


# -- the whole matrix


@pytest.mark.parametrize("first", FIRSTS)
@pytest.mark.parametrize("second", ["cosine", "pearson", "spearman"])
def test_with_the_diagonal_the_whole_matrix_counts(first, second):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(15, 4)), rng.normal(size=(15, 6))
    measure = RSA(first=first, second=second, diagonal=True)
    a, b = (np.asarray(measure.matrix(v)).ravel() for v in (x, y))
    right = {
        "cosine": lambda: a @ b / np.sqrt(a @ a * (b @ b)),
        "pearson": lambda: np.corrcoef(a, b)[0, 1],
        "spearman": lambda: stats.spearmanr(np.round(a, 12), np.round(b, 12)).statistic,
    }[second]()
    assert measure(x, y) == pytest.approx(right)
    order, one, other = rng.permutation(15), measure.prepare(x), measure.prepare(y)
    assert measure.pair(one, measure.permute(other, order)) == pytest.approx(measure(x, y[order]))
    assert (measure.gram_matrix(one) * measure.gram_matrix(other)).sum() == pytest.approx(right)


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
    x, y, k = (
        np.eye(3)[rng.integers(0, 3, 20)] @ rng.normal(size=(3, 3)),
        rng.integers(0, 3, size=(20, 3)).astype(float),
        4,
    )
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
    right = hsic(both * grams[0], both * grams[1]) / np.sqrt(
        np.prod([hsic(m * g, m * g) for m, g in zip(masks, grams, strict=True)])
    )
    assert CKNNA(k=k)(x, y) == pytest.approx(right, abs=1e-10) and CKNNA(k=19)(x, y) == pytest.approx(
        rs.measures.get("cka_debiased")(x, y)
    )


@pytest.mark.parametrize(
    "measure", [MutualKNN(k=7), MutualKNN(k=7, metric="euclidean"), JaccardKNN(k=7), CKNNA(k=7)], ids=str
)
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
    assert measure(x.astype(np.float32), torch.tensor(y)[:, [2, 0, 1]].numpy()) == pytest.approx(
        measure(x, y), abs=1e-12
    )
    assert measure(x, x) < 1


def nearest(similarity, k):
    """The k largest of each row without itself (n, n), in extended precision."""
    similarity = similarity.copy()
    np.fill_diagonal(similarity, -np.inf)
    w = np.zeros(similarity.shape)
    np.put_along_axis(w, np.argsort(-similarity, axis=1)[:, :k], 1, axis=1)
    return w


def hsic(k, m):
    n, k, m = len(k), k * (1 - np.eye(len(k))), m * (1 - np.eye(len(m)))
    return np.sum(k * m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * k.sum(0) @ m.sum(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "size"),
    [("times", 1), ("times", 1e3), ("times", 1e5), ("times", 1e7), ("at", 1e3), ("at", 1e6), ("at", 1e7), ("norms", 1)],
)
def test_without_ties_a_far_sample_moves_no_neighbours_of_others(dtype, kind, size):
    for seed in range(3):
        x, y = far(kind, size, dtype, seed)
        long = [v.astype(np.longdouble) for v in (x, y)]
        a, b = (nearest(-((v[:, None] - v[None]) ** 2).sum(-1), 10) for v in long)
        assert MutualKNN(k=10, metric="euclidean")(x, y) == pytest.approx(np.sum(a * b) / 600, abs=1e-12)
        assert JaccardKNN(k=10, metric="euclidean")(x, y) == pytest.approx(
            np.mean((a * b).sum(1) / (20 - (a * b).sum(1))), abs=1e-12
        )
        a, b = (
            nearest(v @ v.T, 10) for v in (v / np.linalg.norm(v.astype(float), axis=1, keepdims=True) for v in long)
        )
        assert MutualKNN(k=10)(x, y) == pytest.approx(np.sum(a * b) / 600, abs=1e-12)
        k, m = ((v - v.mean(0)) @ (v - v.mean(0)).T for v in long)
        a, b = nearest(k, 10), nearest(m, 10)
        a, b, k, m = a * a.T, b * b.T, k.astype(float), m.astype(float)
        right = hsic(a * b * k, a * b * m) / np.sqrt(hsic(a * k, a * k) * hsic(b * m, b * m))
        assert CKNNA(k=10)(x, y) == pytest.approx(right, abs=1e-12)


def test_a_sample_beyond_all_digits_leaves_the_neighbours_of_the_others():
    x, y = far("times", 1e10, np.float32)
    a, b = (nearest(-squareform(pdist(v.astype(float)) ** 2), 10) for v in (x, y))
    assert MutualKNN(k=10, metric="euclidean")(x, y) == pytest.approx(
        np.sum(a * b) / 600, abs=1 / 60
    )  # its own row is all that may be tied


def test_diagnose_counts_neighbours_by_the_same_rule():
    x = np.eye(3)[np.arange(12) % 3] @ ortho_group.rvs(3, random_state=0)
    for dtype in (np.float32, np.float64):
        rows = x.astype(dtype).astype(float)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        found = neighbour_fractions(rows @ rows.T, (np.arange(12), np.arange(12)), 2, float(np.finfo(dtype).eps))
        assert found == pytest.approx(np.full(12, 2 / 11))  # of three others alike two have a place
    values = np.array([[5.0, 3, 3, 3, 1], [1, 2, 3, 4, 5]])
    near, tied, weight = shared_places(values, 2, np.zeros((2, 1)))
    assert (
        near.tolist() == [[True] * 4 + [False], [False] * 3 + [True] * 2]
        and tied.sum() == 3
        and weight.tolist() == [1 / 3, 1]
    )


def test_chance_is_exact_with_ties():
    rng = np.random.default_rng(0)
    x, y = np.eye(3)[[0, 0, 0, 1, 1, 2]], rng.integers(0, 2, size=(6, 2)) + 1.0
    for measure, exact in ((MutualKNN(k=2), True), (JaccardKNN(k=2), False)):
        a, b = measure.prepare(x), measure.prepare(y)
        mean = np.mean(
            [measure.pair(a, measure.permute(b, np.array(order))) for order in itertools.permutations(range(6))]
        )
        assert mean == pytest.approx(measure.chance(6)) if exact else mean < measure.chance(6)


def test_p_values_of_unrelated_categories_are_uniform():
    p, draws = [], sized(80, 200)
    for seed in range(draws):
        g = np.random.default_rng(seed)
        x, y = np.eye(3)[g.integers(0, 3, 40)], np.eye(3)[g.integers(0, 3, 40)]
        p.append(permutation_test(MutualKNN(k=5), x, y, n_permutations=79, seed=seed).p_value)
    share = int((np.array(p) <= 0.05).sum())
    assert stats.binomtest(share, draws, 0.05).pvalue > 0.001 and stats.kstest(p, "uniform").pvalue > 0.001


# -- tables and sequences


def test_a_regular_pentagon_next_to_itself():
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
        b = (
            b
            if isinstance(b, rs.Comparison)
            else b.set_axis(a.index if isinstance(a, pd.DataFrame) else b.index, axis=0)
        )
        b = b if isinstance(b, rs.Comparison) else b.set_axis(b.index, axis=1)
        for call in (rank_correlation, rank_interval):
            with pytest.raises(ValueError, match="no order to correlate"):
                call(a, b)
    with pytest.raises(ValueError, match="no order to correlate"):
        rank_correlation([0.3, 0.1 + 0.2, 0.3], [1, 2, 3])
    run = pd.DataFrame({"a": [0.3, 0.1 + 0.2, 0.3, 0.30000000000000004, 0.5]})
    with pytest.raises(ValueError, match="the run 'a'"):
        correlate_runs(run, pd.DataFrame({"a": np.arange(5.0)}))


def test_sequences_are_tied_up_to_rounding():
    noisy, y = [0.1 + 0.2, 0.3, 0.7, 0.1 * 7, 1.5, 0.2], [1, 2, 4, 3, 6, 5]
    for kind, theirs in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        for p in ("asymptotic", "exact"):
            assert rank_correlation(noisy, y, kind, p=p).statistic == pytest.approx(
                theirs(np.round(noisy, 9), y).statistic
            )
    single = np.array([0.3, 0.30000004, 0.7, 0.7, 1.5, 0.2], np.float32)
    assert rank_correlation(single, y).statistic == pytest.approx(
        stats.spearmanr([0.3, 0.3, 0.7, 0.7, 1.5, 0.2], y).statistic
    )
    assert tolerance_of(np.array([1.0, 2.0])) < 1e-14 < tolerance_of(np.array([1.0, 2.0], np.float32))


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-12, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_numbers_are_no_rounding_of_1(size, dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    y = x + 0.5 * rng.normal(size=50)
    small, other = (size * x).astype(dtype), (size * y).astype(dtype)
    right = stats.spearmanr(small, other).statistic
    assert rank_correlation(small, other).statistic == pytest.approx(right, abs=1e-12)
    d, e = ((size * squareform(pdist(rng.normal(size=(9, 2))))).astype(dtype) for _ in range(2))
    i = np.triu_indices(9, 1)
    assert rank_correlation(frame(d), frame(e)).statistic == pytest.approx(
        stats.spearmanr(d[i], e[i]).statistic, abs=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frames_of_1_less_rounding_are_constant(dtype):
    rng = np.random.default_rng(0)
    s = np.ones((8, 8), dtype) - np.triu(rng.integers(0, 4, (8, 8)), 1).astype(dtype) * (np.finfo(dtype).eps / 2)
    d = frame(dtype(1) - np.minimum(s, s.T))
    assert d.dtypes.iloc[0] == dtype and len(np.unique(d)) > 3
    with pytest.raises(ValueError, match="no order to correlate"):
        rank_correlation(d, frame(squareform(pdist(rng.normal(size=(8, 2))))))


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
