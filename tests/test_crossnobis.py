"""Cross-validated distances: their formula, and a zero that noise does not move."""

import itertools

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.measures import UndefinedError, crossnobis
from repsim_nb.measures.cross_validated import _estimate

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(6, 6)) + 2 * np.eye(6)  # correlated noise with variances that differ
COVARIANCE = MIX.T @ MIX


def noisy(rng, truth, repeats):
    return truth + rng.normal(size=(repeats, *truth.shape)) @ MIX


def by_hand(x, inverse_of):
    repeats, n, p = x.shape
    found = np.zeros((n, n))
    for i, j in itertools.product(range(n), repeat=2):
        parts = []
        for r, s in itertools.permutations(range(repeats), 2):
            parts.append((x[r, i] - x[r, j]) @ inverse_of(r, s) @ (x[s, i] - x[s, j]) / p)
        found[i, j] = np.mean(parts)
    return found


def test_the_three_forms_are_their_formulas():
    x = noisy(RNG, RNG.normal(size=(4, 6)), 5)
    given = np.linalg.inv(COVARIANCE)
    assert np.allclose(crossnobis(x, noise=COVARIANCE).values, by_hand(x, lambda r, s: given))
    assert np.allclose(crossnobis(x, noise="none").values, by_hand(x, lambda r, s: np.eye(6)))

    def of_the_others(r, s):
        others = np.delete(x, [r, s], axis=0)
        others = others - others.mean(axis=1, keepdims=True)
        deviations = (others - others.mean(axis=0)).reshape(-1, 6)
        covariance = deviations.T @ deviations / (3 * 2)  # (conditions - 1) times (repeats - 1)
        return np.linalg.inv(0.7 * covariance + 0.3 * np.diag(np.diag(covariance)))

    assert np.allclose(crossnobis(x, shrinkage=0.3).values, by_hand(x, of_the_others))


@pytest.fixture(scope="module")
def simulated():
    rng = np.random.default_rng(1)
    truth = np.zeros((3, 6))
    truth[2] = [2, 0, -1, 0, 1, 3]
    return truth, [noisy(rng, truth, 5) for _ in range(300)]


@pytest.mark.parametrize("noise", ["repeats", "none", "given"])
def test_equal_conditions_have_the_expectation_0_and_others_their_distance(simulated, noise):
    truth, runs = simulated
    found = np.array([crossnobis(x, noise=COVARIANCE if noise == "given" else noise).vector() for x in runs])
    errors = found.std(axis=0) / np.sqrt(len(found))
    assert abs(found[:, 0].mean()) < 3.5 * errors[0], "conditions 0 and 1 are equal"
    inverse = {"none": np.eye(6), "given": np.linalg.inv(COVARIANCE)}.get(noise)
    if inverse is not None:
        assert np.allclose(found[:, 1:].mean(axis=0), truth[2] @ inverse @ truth[2] / 6, atol=4 * errors[1])
    else:
        assert (found[:, 1:].mean(axis=0) > 5 * errors[1:]).all()


def test_noise_that_is_estimated_from_the_same_repeats_would_move_the_zero():
    rng = np.random.default_rng(2)
    same = []
    for _ in range(600):
        x = noisy(rng, np.zeros((3, 6)), 5)
        same.append(crossnobis(x, noise=_estimate(x, 0.0)).vector())
    assert np.mean(same) > 5 * np.std(same) / np.sqrt(len(same))


def test_baselines_of_repeats_and_order_do_not_matter():
    x = noisy(RNG, RNG.normal(size=(4, 6)), 5)
    values = crossnobis(x).values
    assert np.allclose(crossnobis(x + 1e3 * RNG.normal(size=(5, 1, 6))).values, values, atol=1e-8)
    assert np.allclose(crossnobis(x[::-1]).values, values)
    assert np.allclose(crossnobis(x[:, [3, 1, 0, 2]]).values, values[np.ix_([3, 1, 0, 2], [3, 1, 0, 2])])
    assert np.allclose(crossnobis(x @ np.diag([1, 2, 3, 4, 5, 6])).values, values), "units of features do not matter"


def test_the_estimated_shrinkage_takes_more_features_than_deviations():
    x = RNG.normal(size=(4, 5, 60))
    assert np.isfinite(crossnobis(x).values).all()
    with pytest.raises(UndefinedError, match="cannot be inverted: there are more features than deviations"):
        crossnobis(x, shrinkage=0.0)
    many = np.random.default_rng(3).normal(size=(200, 5, 6)) @ MIX
    assert np.allclose(_estimate(many, None), COVARIANCE, rtol=0.2, atol=0.2 * np.diag(COVARIANCE).max())


def test_rsa_takes_negative_distances():
    model = RNG.normal(size=(6, 6))
    rdm = crossnobis(noisy(RNG, 0.1 * model, 4), ids=[f"c{i}" for i in range(6)])
    assert rdm.squared and (rdm.values < 0).any() and rdm.ids.tolist()[0] == "c0"
    for measure in (
        rs.measures.RSA(first="squared_euclidean", second="whitened_cosine"),
        rs.measures.RSA(first="euclidean", second="rho_a"),
    ):
        assert -1 <= measure(rdm, model) <= 1


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda x: crossnobis(x[0]), ValueError, r"must be \(repeats, conditions, features\)"),
        (lambda x: crossnobis(x[:1]), ValueError, "at least 2 repeats"),
        (lambda x: crossnobis(x[:3]), ValueError, "needs at least 4 repeats, two of them .* got 3"),
        (lambda x: crossnobis(x, noise=np.eye(3)), ValueError, r"of the 6 features, \(6, 6\); got shape \(3, 3\)"),
        (lambda x: crossnobis(x, noise=MIX), ValueError, "which is not symmetric"),
        (lambda x: crossnobis(x, noise="other"), ValueError, "got 'other'"),
        (lambda x: crossnobis(x, noise=np.full((6, 6), np.nan)), ValueError, "noise holds NaN"),
        (lambda x: crossnobis(x, noise="none", shrinkage=0.5), ValueError, "Leave it out"),
        (lambda x: crossnobis(x, shrinkage=2), ValueError, "shrinkage of crossnobis"),
        (lambda x: crossnobis(np.where(x > 2, np.nan, x)), UndefinedError, "NaN or infinite numbers, the first for"),
        (lambda x: crossnobis(x * [1, 1, 1, 1, 1, 0]), UndefinedError, "feature 5 has no noise"),
    ],
)
def test_bad_input_is_one_clear_exception(change, kind, words):
    with pytest.raises(kind, match=words):
        change(np.random.default_rng(4).normal(size=(5, 4, 6)))
