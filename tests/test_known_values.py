"""Known values of the measures: closed forms, hand-made cases, independent implementations; then calibration."""

import itertools
import math
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.spatial.distance import cdist, jensenshannon
from scipy.special import log_softmax, rel_entr
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import cohen_kappa_score
from sklearn.neighbors import NearestNeighbors
from test_measures import outputs, pair_of

import repsim_nb as rs
from repsim_nb.measures import (
    CCA,
    CKA,
    CKNNA,
    GULP,
    JSD,
    KL,
    NBS,
    RSA,
    AccuracyGap,
    DegenerateComparisonError,
    Disagreement,
    JaccardKNN,
    Kappa,
    LinearPredictivity,
    MutualKNN,
    OutputRank,
    Procrustes,
    SoftMatching,
    UndefinedError,
    neighbour_search,
    plans,
)

# -- known values


def naive_hsic1(k, m):
    """Song et al. 2012, eq. 5, by its double sums."""
    n = len(k)
    k, m = (a - np.diag(np.diag(a)) for a in (k, m))
    one = np.ones(n)
    return (
        np.trace(k @ m) + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def kernels(x, kind="linear", bandwidth=1.0, diagonal=True):
    if kind == "linear":
        return x @ x.T
    d = cdist(x, x, "sqeuclidean")
    middle = np.median(d if diagonal else d[~np.eye(len(d), dtype=bool)])
    return np.exp(-d / (2 * bandwidth**2 * middle))


def ratio(hsic, k, m):
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


@pytest.mark.parametrize("kind", ["linear", "rbf"])
@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("bandwidth", [1.0, 0.4])
def test_cka_is_its_definition(kind, diagonal, bandwidth):
    x, y = pair_of()
    k, m = (kernels(v, kind, bandwidth, diagonal) for v in (x, y))
    h = np.eye(len(x)) - 1 / len(x)
    options = {"kernel": kind, "bandwidth": bandwidth, "median": "with_diagonal" if diagonal else "off_diagonal"}
    assert CKA(**options)(x, y) == pytest.approx(ratio(lambda a, b: np.trace(a @ h @ b @ h), k, m), abs=1e-12)
    assert CKA(**options, debiased=True)(x, y) == pytest.approx(ratio(naive_hsic1, k, m), abs=1e-12)


def test_linear_cka_in_feature_space():
    x, y = (v - v.mean(0) for v in pair_of())
    assert CKA()(x, y) == pytest.approx(
        np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y), abs=1e-12
    )


@pytest.mark.parametrize(
    "n, size, ends", [(60, 20, [20, 40, 60]), (62, 20, [20, 40, 62]), (64, 20, [20, 40, 60, 64]), (10, 100, [10])]
)
def test_minibatch_cka_is_a_ratio_of_sums_weighted_by_size(n, size, ends):
    x, y = pair_of(n=n)
    starts = [0, *ends[:-1]]

    def total(a, b):
        return sum(
            (e - s) * naive_hsic1(a[s:e] @ a[s:e].T, b[s:e] @ b[s:e].T) for s, e in zip(starts, ends, strict=True)
        )

    assert CKA(batch_size=size)(x, y) == pytest.approx(total(x, y) / math.sqrt(total(x, x) * total(y, y)), abs=1e-12)


def test_the_last_short_batch_does_not_move_the_value():
    x, y = pair_of(n=2004, p=40, q=40)
    assert CKA(batch_size=200)(x, y) == pytest.approx(CKA(batch_size=200)(x[:2000], y[:2000]), abs=0.01)


def test_cka_with_a_mean_offset_in_float32():
    x, y = pair_of(n=400, p=20, q=20, shift=0)
    shifted = CKA()((x + 10).astype(np.float32), (y + 1000).astype(np.float32))
    assert shifted == pytest.approx(CKA()(x, y), abs=1e-4)


def test_cka_of_a_deletion_has_its_closed_form():
    x, _ = pair_of(n=200)
    x = x - x.mean(0)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    for k in (1, 3, 6):
        kept = u[:, :k] * s[:k] @ vt[:k]
        assert CKA()(x, kept) == pytest.approx(math.sqrt((s[:k] ** 4).sum() / (s**4).sum()), abs=1e-10)
        assert Procrustes()(x, kept) == pytest.approx(2 - 2 * math.sqrt((s[:k] ** 2).sum() / (s**2).sum()), abs=1e-10)
        for summary in ("mean", "mean_squared"):
            assert CCA(summary=summary)(x, kept) == pytest.approx(1, abs=1e-10)
        assert CCA(summary="projection_weighted")(x, kept) == pytest.approx(1, abs=1e-9)
        assert CCA(summary="projection_weighted", normalise="all")(x, kept) < 1 - 1e-3


def test_canonical_correlations_against_an_eigenproblem():
    x, y = (v - v.mean(0) for v in pair_of(n=300))
    a = np.linalg.solve(x.T @ x, x.T @ y) @ np.linalg.solve(y.T @ y, y.T @ x)
    rho = np.sqrt(np.sort(np.linalg.eigvals(a).real)[::-1][:6])
    assert CCA()(x, y) == pytest.approx(rho.mean(), abs=1e-9)
    assert CCA(summary="mean_squared")(x, y) == pytest.approx((rho**2).mean(), abs=1e-9)


@pytest.mark.parametrize("p, q", [(8, 6), (6, 8), (5, 5)])
def test_pwcca_by_its_definition_with_whitened_directions(p, q):
    x, y = (v - v.mean(0) for v in pair_of(n=300, p=p, q=q))

    def by_hand(x, y, normalise):
        white = [v @ np.linalg.inv(np.linalg.cholesky(v.T @ v).T) for v in (x, y)]
        u, rho, _ = np.linalg.svd(white[0].T @ white[1], full_matrices=normalise == "all")
        alpha = np.abs((white[0] @ u).T @ x).sum(1)
        return (alpha[: len(rho)] * rho).sum() / alpha.sum()

    assert CCA(summary="projection_weighted")(x, y) == pytest.approx(by_hand(x, y, "kept"), abs=1e-9)
    assert CCA(summary="projection_weighted", weights="y")(x, y) == pytest.approx(by_hand(y, x, "kept"), abs=1e-9)
    if p <= q:  # where every direction has a partner the two conventions agree
        assert CCA(summary="projection_weighted", normalise="all")(x, y) == pytest.approx(
            by_hand(x, y, "all"), abs=1e-9
        )
    else:
        assert CCA(summary="projection_weighted", normalise="all")(x, y) < CCA(summary="projection_weighted")(x, y)


def test_svcca_keeps_the_fewest_components_with_the_share():
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.normal(size=(100, 4)) - 0)[0]
    x = np.linalg.qr(x - x.mean(0))[0] * np.sqrt([90, 9, 0.9, 0.1])  # 90 % + 9 % = 99 %
    assert (
        CCA(variance=0.99).prepare(x).q.shape[1] == 2
        and CCA(variance=0.9901).prepare(x).q.shape[1] == 3
        and CCA(variance=0.5).prepare(x).q.shape[1] == 1
    )
    assert CCA(variance=1.0).prepare(x).q.shape[1] == 4


def test_duplicated_and_dead_columns_change_no_cca():
    x, y = pair_of()
    padded = np.hstack([x, x[:, :3], np.zeros((len(x), 2)), np.ones((len(x), 1))])
    for summary in ("mean", "mean_squared"):
        assert CCA(summary=summary)(padded, y) == pytest.approx(CCA(summary=summary)(x, y), abs=1e-9)


def test_centred_samples_have_one_direction_less():
    """In double precision the direction that centring took out is a rounding error of any size."""
    ranks = [CCA().prepare(np.random.default_rng(seed).normal(size=(100, 1000))).q.shape[1] for seed in range(4)]
    assert ranks == [99] * 4


def test_cca_refuses_where_ranks_fill_the_samples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 10)), rng.normal(size=(20, 10))
    for measure in (CCA(), CCA(summary="mean_squared"), CCA(summary="projection_weighted"), CCA(variance=1.0)):
        with pytest.raises(
            DegenerateComparisonError, match=r"ranks 10 \+ 10 exceed n - 1 = 19, so 1 canonical correlations are 1"
        ):
            measure(x, y)
    assert 0 < CCA()(x[:, :9], y) < 1
    with pytest.warns(RuntimeWarning, match="exceed n - 1"):
        assert CCA(degenerate="allow")(x, y) > 0.6
    wide = rng.normal(size=(20, 40))
    with pytest.warns(RuntimeWarning):
        assert CCA(degenerate="allow")(wide, wide @ rng.normal(size=(40, 40))) == pytest.approx(1)


def test_procrustes_is_the_best_rotation():
    x, y = pair_of(p=6, q=6)
    x, y = (v - v.mean(0) for v in (x, y))
    x, y = (v / np.linalg.norm(v) for v in (x, y))
    u, _, vt = np.linalg.svd(y.T @ x)
    best = np.linalg.norm(x - y @ u @ vt) ** 2
    assert Procrustes()(x, y) == pytest.approx(best, abs=1e-12)
    assert Procrustes(form="distance")(x, y) == pytest.approx(math.sqrt(best), abs=1e-12)
    assert Procrustes(form="angle")(x, y) == pytest.approx(math.acos(NBS()(x, y)), abs=1e-12)
    padded = np.hstack([y, np.zeros((len(y), 9))])
    assert Procrustes()(x, padded) == pytest.approx(best, abs=1e-12)


def test_procrustes_sees_a_difference_that_float32_would_lose():
    x, _ = (v.astype(np.float32) for v in pair_of(n=500, p=30))
    noise = np.random.default_rng(1).normal(size=x.shape)
    near = (x + 1e-4 * noise).astype(np.float32)
    assert Procrustes(form="distance")(x, near) == pytest.approx(
        Procrustes(form="distance")(x.astype(float), near.astype(float)), rel=1e-9
    )
    assert 1e-5 < Procrustes(form="distance")(x, near) < 1e-3


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("first", ["correlation", "cosine", "dot", "euclidean"])
def test_rsa_by_scipy(first, diagonal):
    x, y = pair_of(n=30)
    matrix = {
        "correlation": np.corrcoef,
        "cosine": lambda v: 1 - cdist(v, v, "cosine"),
        "dot": lambda v: v @ v.T,
        "euclidean": lambda v: cdist(v, v),
    }[first]
    k, m = matrix(x), matrix(y)
    if first in ("correlation", "cosine"):
        for a in (k, m):
            np.fill_diagonal(a, 1)  # ties, which rounding must not break
    upper = np.nonzero(np.ones((30, 30))) if diagonal else np.triu_indices(30, 1)
    assert RSA(first=first, diagonal=diagonal)(x, y) == pytest.approx(
        spearmanr(*(a.round(12)[upper] for a in (k, m)))[0], abs=1e-12
    )
    assert RSA(first=first, second="pearson", diagonal=diagonal)(x, y) == pytest.approx(
        np.corrcoef(k[upper], m[upper])[0, 1], abs=1e-12
    )
    rows = [[a if diagonal else np.delete(a, i) for i, a in enumerate(side)] for side in (k, m)]
    cosine = np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(*rows, strict=True)])
    assert RSA(first=first, second="row_cosine", diagonal=diagonal)(x, y) == pytest.approx(cosine, abs=1e-12)
    pearson = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*rows, strict=True)])
    assert RSA(first=first, second="row_pearson", diagonal=diagonal)(x, y) == pytest.approx(pearson, abs=1e-12)


def test_rsa_names_the_sample_that_has_no_similarity():
    x, y = pair_of()
    dead = x.copy()
    dead[4] = 0
    with pytest.raises(UndefinedError, match="'x': sample 4 .* all 0"):
        RSA(first="cosine")(dead, y)
    dead[4] = 2.5
    with pytest.raises(UndefinedError, match="sample 4 .* features are all equal"):
        RSA()(dead, y)
    with pytest.raises(UndefinedError, match="at least 2 features"):
        RSA()(x[:, :1], y)


def test_unrelated_data_looks_alike_to_row_cosine_as_predicted():
    rng = np.random.default_rng(0)
    n, d = 200, 50
    value = np.mean(
        [rs.measures.get("rsa_cosine")(rng.normal(size=(n, d)), rng.normal(size=(n, d))) for _ in range(10)]
    )
    assert value == pytest.approx(1 / (1 + (n - 1) / d), abs=0.02)


def test_jsd_by_scipy_and_at_its_ends():
    x, y = outputs()
    p, q = (np.exp(v) / np.exp(v).sum(1, keepdims=True) for v in (x, y))
    assert JSD()(x, y) == pytest.approx(
        np.mean([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)]), abs=1e-12
    )
    assert JSD(inputs="probabilities")(p, q) == pytest.approx(JSD()(x, y), abs=1e-12)
    a, b = np.eye(4)[[0, 1]], np.eye(4)[[2, 3]]
    assert JSD(inputs="probabilities")(a, b) == pytest.approx(math.log(2)) and JSD(inputs="probabilities")(a, a) == 0
    assert JSD()(np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]])) == pytest.approx(math.log(2))


def test_disagreement_and_output_rank_by_hand():
    x, y = np.array([[3.0, 2, 1], [0, 5, 1], [1, 0, 9]]), np.array([[3.0, 2, 1], [5, 0, 1], [0, 1, 9]])
    assert Disagreement()(x, y) == pytest.approx(1 / 3)
    assert OutputRank()(x, y) == pytest.approx(np.mean([spearmanr(a, b)[0] for a, b in zip(x, y, strict=True)]))
    two = np.array([[1.0, 2], [2, 1], [3, 4]]), np.array([[1.0, 2], [1, 2], [3, 4]])
    assert OutputRank()(*two) == pytest.approx(2 * (2 / 3) - 1)


def test_constant_outputs_are_left_out_and_counted():
    x, y = outputs()
    flat = x.copy()
    flat[[1, 5]] = 7.0
    keep = np.delete(np.arange(len(x)), [1, 5])
    with pytest.warns(UserWarning, match="2 of 50 samples have constant outputs") as issued:
        assert OutputRank()(flat, y) == pytest.approx(OutputRank()(x[keep], y[keep]))
    assert issued[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OutputRank()(x, y)
    with pytest.raises(UndefinedError, match="every sample has constant outputs"):
        OutputRank()(np.ones_like(x), y)


# -- neighbours


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 7, 59])
def test_neighbours_by_scikit_learn(metric, k):
    x, y = pair_of(shift=3.0)
    sets = [
        [
            set(row[1:])
            for row in NearestNeighbors(n_neighbors=k + 1, metric=metric, algorithm="brute").fit(v).kneighbors(v)[1]
        ]
        for v in (x, y)
    ]
    common = np.array([len(a & b) for a, b in zip(*sets, strict=True)])
    assert MutualKNN(k=k, metric=metric)(x, y) == pytest.approx(common.mean() / k, abs=1e-12)
    assert JaccardKNN(k=k, metric=metric)(x, y) == pytest.approx(
        np.mean([len(a & b) / len(a | b) for a, b in zip(*sets, strict=True)]), abs=1e-12
    )
    assert (common == k).all() == (k == 59), "with all others as neighbours every two representations agree"


def test_others_at_equal_distance_share_the_last_places(monkeypatch):
    line = np.array([[0.0], [1.0], [-1.0], [5.0]])

    def weights(k):
        return MutualKNN(k=k, metric="euclidean").prepare(line).matrix().toarray().tolist()

    assert weights(1) == [[0, 0.5, 0.5, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]
    assert weights(2) == [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    rng = np.random.default_rng(0)
    copies = np.tile(
        rng.normal(size=(40, 50)) * rng.uniform(0.1, 10, size=(40, 1)), (3, 1)
    )  # sample i is sample i + 40 and i + 80
    halves = (np.arange(120)[:, None] % 40 == np.arange(120) % 40) * 0.5
    np.fill_diagonal(halves, 0)
    for metric in ("cosine", "euclidean"):
        for block in (2**21, 500, 1):
            monkeypatch.setattr(neighbour_search, "BLOCK", block)
            for form in (copies, torch.tensor(copies), copies.astype(np.float32), np.asfortranarray(copies)):
                assert np.array_equal(MutualKNN(k=1, metric=metric).prepare(form).matrix().toarray(), halves)
    monkeypatch.setattr(neighbour_search, "BLOCK", 700)
    assert np.array_equal(CKNNA(k=9).prepare(copies).pairs, CKNNA(k=9).prepare(torch.tensor(copies)).pairs)


def test_neighbours_of_samples_that_differ_by_little_beside_their_mean():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 10))
    assert MutualKNN(k=5, metric="euclidean")(x, x + 1e7) == 1
    far = 1e4 + x  # cosines above 1 - 1e-7
    directions = far / np.linalg.norm(far, axis=1, keepdims=True)
    nearest = cdist(directions, directions).argsort(axis=1)[:, 1:6]
    assert np.array_equal(MutualKNN(k=5).prepare(far).plain(5), np.sort(nearest, axis=1))


def test_chance_is_the_mean_over_all_orders():
    x, y = (v[:6] for v in pair_of())
    for measure in (MutualKNN(k=2), JaccardKNN(k=2), JaccardKNN(k=3, metric="euclidean")):
        values = [measure(x, y[list(order)]) for order in itertools.permutations(range(6))]
        assert np.mean(values) == pytest.approx(measure.chance(6), abs=1e-12)
    assert MutualKNN().chance(1000) == 10 / 999 and JaccardKNN(k=5).chance(6) == 1
    with pytest.raises(UndefinedError, match="mutual_knn needs at least 11 samples; got 10"):
        MutualKNN().chance(10)


def test_too_many_neighbours_or_no_direction_is_undefined():
    x, y = pair_of(n=10)
    for measure in (MutualKNN(), JaccardKNN(), CKNNA()):
        with pytest.raises(UndefinedError, match="at least 11 samples are needed; it has 10"):
            measure(x, y)
    dead = x.copy()
    dead[3] = 0
    with pytest.raises(UndefinedError, match="'x': sample 3 .* activations are all 0"):
        MutualKNN(k=2)(dead, y)
    assert 0 <= MutualKNN(k=2, metric="euclidean")(dead, y) <= 1
    with pytest.raises(UndefinedError, match="all samples have the same direction"):
        MutualKNN(k=2)(np.outer(np.arange(1.0, 11), [1, 2, 3]), y)


def test_neighbours_never_hold_all_pairs():
    x = np.random.default_rng(0).normal(size=(4000, 3))
    for measure in (MutualKNN(metric="euclidean"), CKNNA()):
        tracemalloc.start()
        measure.prepare(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.75 * 8 * 4000**2


def test_cknna_is_its_definition():
    x, y = pair_of()
    grams, masks = [], []
    for v in (x, y):
        v = v - v.mean(0)
        grams.append(v @ v.T)
        ranks = np.argsort(np.argsort(-(grams[-1] - np.diag(np.full(60, np.inf))), axis=1), axis=1)
        masks.append((ranks < 10) & (ranks < 10).T)
    hsic = [
        naive_hsic1(masks[0] * masks[1] * grams[0], masks[0] * masks[1] * grams[1]),
        *(naive_hsic1(m * g, m * g) for m, g in zip(masks, grams, strict=True)),
    ]
    assert CKNNA()(x, y) == pytest.approx(hsic[0] / math.sqrt(hsic[1] * hsic[2]), abs=1e-12)
    assert CKNNA(k=59)(x, y) == pytest.approx(CKA(debiased=True)(x, y), abs=1e-12)


def test_cknna_at_its_ends():
    a, b = (
        np.eye(4).repeat(2, axis=0),
        np.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3]],
    )  # pairs (0, 1), (2, 3), ...; pairs (0, 4), (1, 5), ...
    assert CKNNA(k=1)(a, b) == 0 and CKNNA(k=1)(a, 3 * a + 1) == pytest.approx(1)
    with pytest.raises(UndefinedError, match="equally alike"):
        CKNNA(k=7)(np.eye(8), np.random.default_rng(0).normal(size=(8, 3)))


# -- prediction


def test_linear_predictivity_by_scikit_learn():
    x, y = pair_of(n=62)
    fold = np.arange(62) % 5

    def held_out(model, x, y):
        missed = total = 0
        for i in range(5):
            known, tested = fold != i, fold == i
            missed += ((y[tested] - model.fit(x[known], y[known]).predict(x[tested])) ** 2).sum()
            total += ((y[tested] - y[known].mean(0)) ** 2).sum()
        return 1 - missed / total

    assert LinearPredictivity()(x, y) == pytest.approx(held_out(LinearRegression(), x, y), abs=1e-12)
    assert LinearPredictivity(predict="x")(x, y) == pytest.approx(held_out(LinearRegression(), y, x), abs=1e-12)
    wide = np.hstack([x, np.random.default_rng(0).normal(size=(62, 90))])

    class LeastNorm:  # LinearRegression takes rounding for a direction if columns have linear relations, before 1.7
        def fit(self, x, y):
            self.start, self.end = x.mean(0), y.mean(0)
            self.weights = np.linalg.pinv(x - self.start) @ (y - self.end)
            return self

        def predict(self, x):
            return (x - self.start) @ self.weights + self.end

    assert LinearPredictivity()(wide, y) == pytest.approx(held_out(LeastNorm(), wide, y), abs=1e-10), (
        "least squares of minimum norm"
    )

    class Relative(Ridge):
        def fit(self, x, y):
            self.alpha = 0.3 * ((x - x.mean(0)) ** 2).sum() / np.linalg.matrix_rank(x - x.mean(0))
            return super().fit(x, y)

    for side in (x, wide):
        assert LinearPredictivity(ridge=0.3)(side, y) == pytest.approx(held_out(Relative(), side, y), abs=1e-10)
        in_sample = 1 - ((y - Relative().fit(side, y).predict(side)) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
        assert LinearPredictivity(ridge=0.3, folds=None)(side, y) == pytest.approx(in_sample, abs=1e-10)


def test_in_sample_predictivity_is_kornbliths_and_refuses_full_rank():
    x, y = (v - v.mean(0) for v in pair_of())
    q = np.linalg.qr(x)[0]
    assert LinearPredictivity(folds=None)(x, y) == pytest.approx(
        np.linalg.norm(q.T @ y) ** 2 / np.linalg.norm(y) ** 2, abs=1e-12
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 19)), rng.normal(size=(20, 3))
    with pytest.raises(DegenerateComparisonError, match="rank 19, the largest that 20 samples allow"):
        LinearPredictivity(folds=None)(x, y)
    assert LinearPredictivity(folds=None)(y, x) < 0.5 and LinearPredictivity(folds=None)(x[:, :18], y) < 1
    with pytest.raises(DegenerateComparisonError):
        LinearPredictivity(folds=None, predict="x")(y, np.hstack([x, x]))


def test_a_feature_that_only_the_left_out_samples_have_predicts_nothing():
    x, y = pair_of(n=50)
    lonely = np.zeros((50, 1))
    lonely[[0, 5]] = 7.3  # both in the first fold
    for others in (x, x[:, :0]):
        values = [
            LinearPredictivity()(np.hstack([others, lonely + shift]), y) for shift in (0, 0.1, 1 / 3, 1.0, math.pi, 1e3)
        ]
        assert np.ptp(values) < 1e-9 and -1 < values[0] < 1


def test_gulp_is_its_definition_and_ends_in_cca():
    x, y = (v - v.mean(0) for v in pair_of(n=300))
    x, y = (v * math.sqrt(300) / np.linalg.norm(v) for v in (x, y))

    def dense(ridge):
        xx, yy, xy = x.T @ x / 300, y.T @ y / 300, x.T @ y / 300
        ix, iy = (np.linalg.inv(s + ridge * np.eye(len(s))) for s in (xx, yy))
        return np.trace(ix @ xx @ ix @ xx) + np.trace(iy @ yy @ iy @ yy) - 2 * np.trace(ix @ xy @ iy @ xy.T)

    for ridge in (1e-2, 1e-4, 1.0):
        assert GULP(ridge=ridge)(3 * x + 1, y) == pytest.approx(dense(ridge), abs=1e-12)
    assert GULP(ridge=1e-13)(x, y) == pytest.approx(8 + 6 - 2 * 6 * CCA(summary="mean_squared")(x, y), abs=1e-9)
    noise = np.random.default_rng(0).normal(size=(301, 200))
    apart = np.linalg.qr(noise - noise.mean(0))[
        0
    ]  # 100 equal variances of 1/100 on each side, nothing shared: the largest distance there is
    assert GULP()(apart[:, :100], apart[:, 100:]) == pytest.approx(50, abs=1e-9) and GULP().range == (0, 50)


# -- units


def test_soft_matching_of_equal_widths_is_the_best_permutation():
    x, y = pair_of(p=6, q=6)
    assert SoftMatching()(x, 4 * x[:, [3, 1, 0, 5, 4, 2]] - 1) == pytest.approx(0, abs=1e-15)
    u, v = (a - a.mean(0) for a in (x, y))
    for measure, a, b in (
        (SoftMatching(), u / np.linalg.norm(u), v / np.linalg.norm(v)),
        (SoftMatching(preprocess=False), x, y),
    ):
        best = min(((a - b[:, list(order)]) ** 2).sum() for order in itertools.permutations(range(6))) / 6
        assert measure(x, y) == pytest.approx(best, abs=1e-12)
        assert Procrustes()(x, y) < 6 * SoftMatching()(x, y), "a permutation is a rotation"


@pytest.mark.parametrize("p, q", [(2, 3), (4, 2), (1, 5)])
def test_soft_matching_of_unequal_widths_by_all_orders_of_copies(p, q, monkeypatch):
    x, y = pair_of(p=p, q=q)
    common = math.lcm(p, q)
    a, b = np.repeat(x, common // p, axis=1), np.repeat(y, common // q, axis=1)
    best = min(((a - b[:, list(order)]) ** 2).sum() for order in itertools.permutations(range(common))) / common
    assert SoftMatching(preprocess=False)(x, y) == pytest.approx(best, rel=1e-12)
    monkeypatch.setattr(plans, "_QUICK", 0)
    monkeypatch.setattr(plans, "_COPIES", 0)
    assert SoftMatching(preprocess=False)(x, y) == pytest.approx(best, rel=1e-12), "without copies, too"


def by_program(x, y):
    """SciPy's linear program of the definition."""
    x, y = (v - v.mean(0) for v in (x, y))
    p, q = x.shape[1], y.shape[1]
    costs = cdist(x.T / np.linalg.norm(x), y.T / np.linalg.norm(y), "sqeuclidean")
    sums = np.vstack([np.kron(np.eye(p), np.ones(q)), np.kron(np.ones(p), np.eye(q))])
    return linprog(costs.ravel(), A_eq=sums, b_eq=np.concatenate([np.full(p, 1 / p), np.full(q, 1 / q)])).fun


def test_the_three_ways_to_match_agree_and_too_much_is_refused(monkeypatch):
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=(100, 46)), 1)  # ties and units that hardly move
    y = np.maximum(x @ rng.normal(size=(46, 34)), 0)
    y[:, 3] = 0
    with monkeypatch.context() as always:
        always.setattr(plans, "_SMALL", math.lcm(46, 34))
        by_copies = SoftMatching()(x, y)
        assert SoftMatching()(y, x) == pytest.approx(by_copies, abs=1e-16)
    for one, other in ((x, y), (y, x)):
        assert SoftMatching()(one, other) == pytest.approx(by_copies, abs=1e-14), "by linear programs"
    monkeypatch.setattr(plans, "_QUICK", 0)
    with monkeypatch.context() as never:
        never.setattr(plans, "best_of_few_pairs", lambda agreement: None)
        for one, other in ((x, y), (y, x)):
            assert SoftMatching()(one, other) == pytest.approx(by_copies, abs=1e-14), "unit by unit"
    assert by_copies == pytest.approx(by_program(x, y), abs=1e-9)
    monkeypatch.setattr(plans, "_CELLS", 46 * 34 - 1)
    with pytest.raises(
        UndefinedError,
        match="matching 46 units with 34 takes too long .*Pool the activations, or choose a sample of the units",
    ):
        SoftMatching()(x, y)


# -- outputs


def test_kl_by_scipy_and_at_its_ends():
    x, y = outputs()
    p, q = (np.exp(log_softmax(v, axis=1)) for v in (x, y))
    assert KL()(x, y) == pytest.approx(rel_entr(p, q).sum(1).mean(), abs=1e-12)
    for form in (np.asarray, torch.tensor):
        assert KL(inputs="probabilities")(form(p), form(q)) == pytest.approx(KL()(x, y), abs=1e-12)
    assert JSD()(x, y) == pytest.approx(sum(KL(inputs="probabilities")(v, (p + q) / 2) for v in (p, q)) / 2, abs=1e-12)
    assert KL()(np.array([[2000.0, 0], [0, 1]]), np.array([[0, 2000.0], [0, 1]])) == pytest.approx(1000), (
        "logits have no probability of 0"
    )
    half, sure = np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([[0.5, 0.5], [1.0, 0.0]])
    for form in (np.asarray, torch.tensor):
        assert KL(inputs="probabilities")(form(sure), form(half)) == pytest.approx(math.log(2) / 2)
        with pytest.raises(
            UndefinedError,
            match=r"'x' and 'y': at sample 1 the second side gives class 1 the probability 0 and the first side 0.5",
        ):
            KL(inputs="probabilities")(form(half), form(sure))


def test_kappa_by_scikit_learn():
    x, y = outputs()
    assert Kappa()(x, y) == pytest.approx(cohen_kappa_score(x.argmax(1), y.argmax(1)), abs=1e-12)
    two = np.eye(2)
    assert Kappa()(two[[0, 1, 0, 1]], two[[1, 0, 1, 0]]) == -1 and Kappa()(two[[0, 0, 1, 1]], two[[0, 1, 0, 1]]) == 0
    same = two[[0, 0, 0]]
    with pytest.raises(UndefinedError, match="always predict one and the same class"):
        Kappa()(same, same)
    assert Kappa()(same, 1 - same) == 0, (
        "always the one and always the other: no agreement, and none was to be expected"
    )


def test_accuracy_gap_by_hand(tmp_path):
    targets = torch.tensor([0, 1, 1, 2])
    x, y = np.eye(3)[[0, 1, 1, 0]], np.eye(3)[[0, 2, 2, 0]]
    measure = AccuracyGap(targets)
    assert (
        measure(x, y) == 0.5
        and measure(torch.tensor(x), torch.tensor(y)) == 0.5
        and str(measure) == repr(measure) == "AccuracyGap(4 targets)"
    )
    assert measure == AccuracyGap([0, 1, 1, 2]) and hash(measure) == hash(
        AccuracyGap(np.array([0, 1, 1, 2], dtype=np.uint8))
    )
    with pytest.raises(ValueError, match="there are 4 targets and 3 samples"):
        measure(x[:3], y[:3])
    with pytest.raises(UndefinedError, match="'x': the targets go up to class 2, and the outputs have 2 classes"):
        measure(x[:, :2], y)
    c = rs.compare(measure, {"a": x, "b": y})
    assert rs.Comparison.load(c.save(tmp_path / "gap.json")).measure == measure


# -- calibration


def test_debiased_cka_is_0_and_biased_cka_is_as_predicted_on_noise():
    rng = np.random.default_rng(1)
    n, p, q = 100, 200, 50
    noise = [(rng.normal(size=(n, p)), rng.normal(size=(n, q))) for _ in range(60)]
    debiased = np.array([CKA(debiased=True)(x, y) for x, y in noise])
    assert abs(debiased.mean()) < 3.5 * debiased.std() / math.sqrt(len(debiased))
    assert np.mean([CKA()(x, y) for x, y in noise]) == pytest.approx(math.sqrt(p * q / ((n + p) * (n + q))), abs=0.01)
    batches = np.array([CKA(batch_size=25)(x, y) for x, y in noise])
    assert abs(batches.mean()) < 3.5 * batches.std() / math.sqrt(len(batches))


def test_cka_of_all_equal_distances_is_undefined_when_debiased():
    rng = np.random.default_rng(0)
    for x in (np.eye(8), np.eye(8) @ np.linalg.qr(rng.normal(size=(8, 8)))[0], np.eye(8, dtype=np.float32)):
        for measure in (CKA(debiased=True), CKA(batch_size=4)):
            with pytest.raises(UndefinedError, match="equally far"):
                measure(x, rng.normal(size=(8, 3)))


def test_a_faint_sample_is_no_empty_one():
    x, y = (v.astype(np.float32) for v in pair_of(shift=0))
    faint = x.copy()
    faint[3] *= np.float32(1e-9)
    for first in ("cosine", "correlation"):
        assert RSA(first=first)(faint, y) == pytest.approx(RSA(first=first)(x, y), abs=1e-5)


def test_a_wide_rbf_kernel_does_not_drown_in_rounding():
    x, y = pair_of()
    for bandwidth in (30.0, 1000.0):
        single, double = (
            CKA(kernel="rbf", bandwidth=bandwidth)(x.astype(t), y.astype(t)) for t in (np.float32, np.float64)
        )
        assert single == pytest.approx(double, abs=1e-4)


def test_a_median_distance_of_zero_is_undefined():
    x = np.zeros((20, 3))
    x[0] = 1
    with pytest.raises(UndefinedError, match="median distance between samples is 0"):
        CKA(kernel="rbf")(x, np.random.default_rng(0).normal(size=(20, 3)))


def test_blocked_float32_cka_is_right_on_long_products():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, 300)).astype(np.float32)
    y = (x + rng.normal(size=x.shape)).astype(np.float32)
    for measure in (CKA(), CKA(debiased=True)):
        assert measure(x, y) == pytest.approx(measure(x.astype(float), y.astype(float)), abs=5e-7)


def test_predictivity_and_neighbours_of_unrelated_data_are_as_predicted():
    rng = np.random.default_rng(1)
    noise = [(rng.normal(size=(100, 20)), rng.normal(size=(100, 30))) for _ in range(60)]
    assert np.mean([LinearPredictivity(folds=None)(x, y) for x, y in noise]) == pytest.approx(20 / 99, abs=0.01)
    # least squares of p = 20 features on m = 80 samples misses by (m - 2)/(m - p - 2) times what the mean misses by
    assert np.mean([LinearPredictivity()(x, y) for x, y in noise]) == pytest.approx(1 - 78 / 58, abs=0.03)
    for measure in (MutualKNN(), JaccardKNN()):
        values = np.array([measure(x, y) for x, y in noise])
        assert abs(values.mean() - measure.chance(100)) < 3.5 * values.std() / math.sqrt(60)
    cknna = np.array([CKNNA()(x, y) for x, y in noise])
    assert abs(cknna.mean()) < 0.1 < 0.3 < CKNNA()(*pair_of())


@pytest.mark.parametrize("n", [200, 20_000])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_faint_directions_count_in_float32_however_many_samples(n, offset):
    """Half of 20 directions are shared, and variances fall over three decades: rounding of float32 is far below the
    faintest.
    """
    rng = np.random.default_rng(0)
    base = rng.normal(size=(n, 30))
    scale, mix = np.geomspace(1, 1e-3, 20), [np.linalg.qr(rng.normal(size=(20, 20)))[0] for _ in range(2)]
    x, y = base[:, :20] * scale @ mix[0] + offset * 1e-3, base[:, 10:] * scale @ mix[1] + offset * 1e-3
    for measure in (CCA(), LinearPredictivity(folds=None)):
        assert measure(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(measure(x, y), abs=5e-3)


def test_masked_arrays_are_refused():
    x, _ = pair_of()
    for measure in (JSD(), CKA(), Procrustes()):
        with pytest.raises(UndefinedError, match="'x': it is a masked array"):
            measure(np.ma.masked_greater(x, 1), x)
