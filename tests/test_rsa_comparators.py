"""The ranks without correction for ties, and the whitened forms of RSA."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr
from test_measures import pair_of

import repsim_nb as rs
from repsim_nb.measures import CKA, RSA, DistanceCorrelation, UndefinedError
from repsim_nb.measures.between import form_between

X, Y = pair_of(n=15)


def naive_tau_a(a, b):
    pairs = itertools.combinations(range(len(a)), 2)
    return np.mean([np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in pairs])


def weighted(a, b, n, centred):
    """The cosine with the inverse of the covariance of squared distances, written out."""
    contrasts = np.array([np.eye(n)[i] - np.eye(n)[j] for i, j in itertools.combinations(range(n), 2)])
    inverse = np.linalg.pinv((contrasts @ contrasts.T) ** 2, hermitian=True, rcond=1e-10)
    a, b = (side - side.mean() if centred else side for side in (a, b))
    return a @ inverse @ b / np.sqrt((a @ inverse @ a) * (b @ inverse @ b))


def test_the_whitened_cosine_of_squared_distances_is_linear_cka_and_that_of_distances_distance_correlation():
    for x, y in ((X, Y), pair_of(n=8, p=20, q=30)):
        assert RSA(first="squared_euclidean", second="whitened_cosine")(x, y) == pytest.approx(CKA()(x, y), abs=1e-12)
        assert RSA(first="euclidean", second="whitened_cosine")(x, y) == pytest.approx(
            DistanceCorrelation()(x, y), abs=1e-12
        )


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("first", "metric"), [("squared_euclidean", "sqeuclidean"), ("correlation", "correlation")])
def test_whitened_forms_weigh_with_the_inverse_of_the_covariance_of_errors(first, metric, centred):
    second = "whitened_pearson" if centred else "whitened_cosine"
    right = weighted(pdist(X, metric), pdist(Y, metric), len(X), centred)
    assert RSA(first=first, second=second)(X, Y) == pytest.approx(right, abs=1e-9)


@pytest.mark.parametrize("first", ["euclidean", "squared_euclidean", "correlation"])
def test_rho_a_and_tau_a_count_what_they_say(first):
    a, b = (pdist(side, "correlation" if first == "correlation" else "euclidean") for side in (X, Y))
    assert RSA(first=first, second="tau_a")(X, Y) == pytest.approx(naive_tau_a(a, b), abs=1e-12)
    assert RSA(first=first, second="rho_a")(X, Y) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_ties_lower_rho_a_and_tau_a_and_the_expected_rank_of_broken_ties_is_rho_a():
    grid = np.random.default_rng(0).integers(0, 3, size=(8, 2)).astype(float)
    y = Y[:8]
    a, b = pdist(grid), pdist(y)
    assert RSA(first="euclidean", second="tau_a")(grid, y) == pytest.approx(naive_tau_a(np.round(a, 9), b), abs=1e-12)
    rng, broken = np.random.default_rng(1), []
    for _ in range(1500):  # ρ_a is the mean of Spearman over random orders of the tied
        broken.append(
            np.corrcoef(np.lexsort((rng.random(len(a)), np.round(a, 9))).argsort(), b.argsort().argsort())[0, 1]
        )
    found = RSA(first="euclidean", second="rho_a")(grid, y)
    assert found == pytest.approx(np.mean(broken), abs=4 * np.std(broken) / np.sqrt(1500))
    assert abs(found) < abs(RSA(first="euclidean")(grid, y))
    for second in ("rho_a", "tau_a"):
        measure = RSA(first="euclidean", second=second)
        assert measure(grid, grid) < 1
        table = measure.table([grid, y]).values
        assert table[0, 0] == pytest.approx(measure(grid, grid)) and table[0, 1] == pytest.approx(measure(grid, y))


@pytest.mark.parametrize("second", ["rho_a", "tau_a", "whitened_cosine", "whitened_pearson", "pearson"])
def test_an_rdm_is_a_side(second):
    for first, metric, squared in (
        ("squared_euclidean", "sqeuclidean", True),
        ("squared_euclidean", "euclidean", False),
        ("correlation", "correlation", True),
    ):
        measure = RSA(first=first, second=second)
        rdm = rs.RDM(pdist(X, metric), squared=squared)
        assert measure(rdm, Y) == pytest.approx(measure(X, Y), abs=1e-9), first
        assert measure(Y, rdm) == pytest.approx(measure(Y, X), abs=1e-9)
    gaps = squareform(pdist(X))
    gaps[0, 1] = gaps[1, 0] = np.nan
    if second != "pearson":
        with pytest.raises(UndefinedError, match=f"missing pairs, and second='{second}' of RSA needs all of them"):
            measure(rs.RDM(gaps, missing=np.isnan(gaps)), Y)


def test_equal_dissimilarities_have_no_whitened_correlation_but_a_whitened_cosine():
    even = np.eye(15)
    with pytest.raises(UndefinedError, match="all pairs of samples are equally alike"):
        RSA(first="squared_euclidean", second="whitened_pearson")(even, Y)
    same = RSA(first="squared_euclidean", second="whitened_cosine")
    assert same(even, Y) == pytest.approx(CKA()(even, Y), abs=1e-12)


def test_permutation_tests_and_intervals_take_them():
    for second in ("rho_a", "tau_a", "whitened_cosine"):
        measure = RSA(first="squared_euclidean", second=second)
        found = rs.inference.permutation_test(measure, X, Y, n_permutations=19, seed=0)
        assert found.statistic == pytest.approx(measure(X, Y)) and found.p_value == 0.05
    moments = rs.inference.null_moments(RSA(first="squared_euclidean", second="whitened_cosine"), X, Y)
    assert moments.mean == pytest.approx(rs.inference.null_moments("cka", X, Y).mean, abs=1e-12)
    with pytest.raises(NotImplementedError):
        rs.inference.null_moments(RSA(second="rho_a"), X, Y)
    assert form_between(RSA(second="tau_a")) is None and form_between(RSA()) is not None
