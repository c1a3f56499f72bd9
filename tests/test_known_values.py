"""Known values of the measures: closed forms, hand-made cases, independent implementations; then calibration."""

import math
import warnings

import numpy as np
import pytest
from scipy.spatial.distance import cdist, jensenshannon
from scipy.stats import spearmanr
from test_measures import outputs, pair_of

import repsim_nb as rs
from repsim_nb.measures import CCA, CKA, JSD, NBS, RSA, DegenerateComparisonError, Disagreement, OutputRank, Procrustes, UndefinedError

# -- known values ----------------------------------------------------------------------------------------------------------

def naive_hsic1(k, m):
    """Song et al. 2012, eq. 5, by its double sums."""
    n = len(k)
    k, m = (a - np.diag(np.diag(a)) for a in (k, m))
    one = np.ones(n)
    return (np.trace(k @ m) + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))


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
    assert CKA()(x, y) == pytest.approx(np.linalg.norm(y.T @ x) ** 2 / np.linalg.norm(x.T @ x) / np.linalg.norm(y.T @ y), abs=1e-12)


@pytest.mark.parametrize("n, size, ends", [(60, 20, [20, 40, 60]), (62, 20, [20, 40, 62]), (64, 20, [20, 40, 60, 64]), (10, 100, [10])])
def test_minibatch_cka_is_a_ratio_of_sums_weighted_by_size(n, size, ends):
    x, y = pair_of(n=n)
    starts = [0, *ends[:-1]]

    def total(a, b):
        return sum((e - s) * naive_hsic1(a[s:e] @ a[s:e].T, b[s:e] @ b[s:e].T) for s, e in zip(starts, ends, strict=True))

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
        assert CCA(summary="projection_weighted", normalise="all")(x, y) == pytest.approx(by_hand(x, y, "all"), abs=1e-9)
    else:
        assert CCA(summary="projection_weighted", normalise="all")(x, y) < CCA(summary="projection_weighted")(x, y)


def test_svcca_keeps_the_fewest_components_with_the_share():
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.normal(size=(100, 4)) - 0)[0]
    x = np.linalg.qr(x - x.mean(0))[0] * np.sqrt([90, 9, 0.9, 0.1])  # 90 % + 9 % = 99 %
    assert CCA(variance=0.99).prepare(x).q.shape[1] == 2 and CCA(variance=0.9901).prepare(x).q.shape[1] == 3 and CCA(variance=0.5).prepare(x).q.shape[1] == 1
    assert CCA(variance=1.0).prepare(x).q.shape[1] == 4


def test_duplicated_and_dead_columns_change_no_cca():
    x, y = pair_of()
    padded = np.hstack([x, x[:, :3], np.zeros((len(x), 2)), np.ones((len(x), 1))])
    for summary in ("mean", "mean_squared"):
        assert CCA(summary=summary)(padded, y) == pytest.approx(CCA(summary=summary)(x, y), abs=1e-9)


def test_cca_refuses_where_ranks_fill_the_samples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 10)), rng.normal(size=(20, 10))
    for measure in (CCA(), CCA(summary="mean_squared"), CCA(summary="projection_weighted"), CCA(variance=1.0)):
        with pytest.raises(DegenerateComparisonError, match=r"ranks 10 \+ 10 exceed n - 1 = 19, so 1 canonical correlations are 1"):
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
    assert Procrustes(form="distance")(x, near) == pytest.approx(Procrustes(form="distance")(x.astype(float), near.astype(float)), rel=1e-9)
    assert 1e-5 < Procrustes(form="distance")(x, near) < 1e-3


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("first", ["correlation", "cosine", "dot", "euclidean"])
def test_rsa_by_scipy(first, diagonal):
    x, y = pair_of(n=30)
    matrix = {
        "correlation": np.corrcoef, "cosine": lambda v: 1 - cdist(v, v, "cosine"), "dot": lambda v: v @ v.T, "euclidean": lambda v: cdist(v, v),
    }[first]  # fmt: skip
    k, m = matrix(x), matrix(y)
    if first in ("correlation", "cosine"):
        for a in (k, m):
            np.fill_diagonal(a, 1)  # ties, which rounding must not break
    upper = np.triu_indices(30, 0 if diagonal else 1)
    assert RSA(first=first, diagonal=diagonal)(x, y) == pytest.approx(spearmanr(k[upper], m[upper])[0], abs=1e-12)
    assert RSA(first=first, second="pearson", diagonal=diagonal)(x, y) == pytest.approx(np.corrcoef(k[upper], m[upper])[0, 1], abs=1e-12)
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
    value = np.mean([rs.measures.get("rsa_cosine")(rng.normal(size=(n, d)), rng.normal(size=(n, d))) for _ in range(10)])
    assert value == pytest.approx(1 / (1 + (n - 1) / d), abs=0.02)


def test_jsd_by_scipy_and_at_its_ends():
    x, y = outputs()
    p, q = (np.exp(v) / np.exp(v).sum(1, keepdims=True) for v in (x, y))
    assert JSD()(x, y) == pytest.approx(np.mean([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)]), abs=1e-12)
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
    with pytest.warns(UserWarning, match="2 of 50 samples have constant outputs"):
        assert OutputRank()(flat, y) == pytest.approx(OutputRank()(x[keep], y[keep]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        OutputRank()(x, y)
    with pytest.raises(UndefinedError, match="every sample has constant outputs"):
        OutputRank()(np.ones_like(x), y)


# -- calibration -----------------------------------------------------------------------------------------------------------

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
        single, double = (CKA(kernel="rbf", bandwidth=bandwidth)(x.astype(t), y.astype(t)) for t in (np.float32, np.float64))
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
