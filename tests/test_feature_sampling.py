"""Corrections for sampled features: sum by sum for few samples, and against populations that are known."""

import itertools

import independent
import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.measures import CKA, DoublyDebiasedCKA, UndefinedError
from repsim_nb.measures.feature_sampling import corrected_participation_ratio, feature_moments

WEIGHTS = np.geomspace(1, 0.2, 8), np.geomspace(0.2, 1, 8)
TRUE_CKA = (WEIGHTS[0] @ WEIGHTS[1]) / np.sqrt((WEIGHTS[0] ** 2).sum() * (WEIGHTS[1] ** 2).sum())
TRUE_RATIO = WEIGHTS[0].sum() ** 2 / (WEIGHTS[0] ** 2).sum()


def sampled(seed, n, p, q):
    """n samples of p and q neurons, of two endless populations that mix eight signals with other weights."""
    rng = np.random.default_rng(seed)
    signals = rng.normal(size=(n, 8))
    return tuple(
        signals @ (rng.normal(size=(8, width)) * np.sqrt(weights)[:, None])
        for width, weights in zip((p, q), WEIGHTS, strict=True)
    )


def test_the_moments_are_means_over_different_samples():
    x = np.random.default_rng(0).normal(size=(6, 3)) * [1, 2, 0.5] + 1
    every, own = feature_moments(x - x.mean(axis=0))
    four = list(itertools.permutations(range(6), 4))

    def variances(a, b):
        return np.mean([a[i] * (a[i] - a[j]) * b[k] * (b[k] - b[m]) for i, j, k, m in four])

    def covariances(a, b):
        return np.mean([(a[i] - a[j]) * b[i] * (a[k] - a[m]) * b[k] for i, j, k, m in four])

    pairs = list(itertools.product(x.T, repeat=2))
    for name, mean in (("variances", variances), ("hsic", covariances)):
        assert getattr(every, name) / 18 == pytest.approx(sum(mean(a, b) for a, b in pairs), rel=1e-10)
        assert getattr(own, name) / 18 == pytest.approx(sum(mean(a, a) for a in x.T), rel=1e-10)
    wide = np.hstack([x, x[:, ::-1] ** 2, x**3])
    wide = wide - wide.mean(axis=0)
    by_samples, by_features = (feature_moments(wide, products)[0] for products in (wide @ wide.T, wide.T @ wide))
    assert by_samples.hsic == pytest.approx(by_features.hsic, rel=1e-9), "either product serves"


def test_it_is_the_cka_of_the_populations():
    both = DoublyDebiasedCKA(), CKA(debiased=True)
    values = np.array([[measure(*sampled(seed, 60, 30, 40)) for measure in both] for seed in range(40)])
    mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(40)
    assert abs(mean[0] - TRUE_CKA) < 3 * error[0] and error[0] < 0.02
    assert mean[1] < TRUE_CKA - 0.05, "few features make debiased CKA too small"
    many = sampled(3, 400, 800, 800)
    assert both[0](*many) == pytest.approx(TRUE_CKA, abs=0.04)
    assert both[1](*many) == pytest.approx(both[0](*many), abs=0.01), "many features need no correction"


def test_it_is_what_it_declares():
    rng = np.random.default_rng(2)
    signals = rng.normal(size=(200, 3))
    sides = (signals @ rng.normal(size=(3, width)) + rng.normal(size=(200, width)) for width in (40, 60))
    check = rs.testing.check_measure(DoublyDebiasedCKA(), *sides)
    # a copy with noise shares its features, which the measure takes for two samples: it may be above 1
    assert set(check.failures) <= {"range", "direction"}, check


def test_each_pair_of_features_counts_once():
    x, y = sampled(8, 12, 5, 4)

    def similarity(one, other):  # the mean over pairs of different features, each by the unbiased HSIC
        pairs = itertools.product(range(one.shape[1]), range(other.shape[1]))
        kept = [(one[:, i], other[:, j]) for i, j in pairs if one is not other or i != j]
        kernels = [[np.outer(column, column) for column in both] for both in kept]
        return np.mean([independent.hsic(*both) for both in kernels])

    right = similarity(x, y) / np.sqrt(similarity(x, x) * similarity(y, y))
    assert DoublyDebiasedCKA()(x, y) == pytest.approx(right, rel=1e-9)


def test_unrelated_populations_have_0_and_one_of_itself_1():
    rng = np.random.default_rng(1)
    others = [rng.normal(size=(50, 4)) @ rng.normal(size=(4, 20)) for _ in range(40)]
    values = [DoublyDebiasedCKA()(sampled(seed, 50, 20, 3)[0], other) for seed, other in enumerate(others)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(40)
    x, _ = sampled(0, 50, 20, 3)
    assert DoublyDebiasedCKA()(x, x.copy()) == 1 and DoublyDebiasedCKA().table([x, x[:, :10]]).values[0, 0] == 1
    wide, _ = sampled(0, 80, 400, 3)
    assert DoublyDebiasedCKA()(wide[:, :200], wide[:, 200:]) == pytest.approx(1, abs=0.05), "samples of one population"


def test_features_without_anything_in_common_are_refused():
    x, y = sampled(0, 50, 20, 20)
    with pytest.raises(UndefinedError, match="a single feature"):
        DoublyDebiasedCKA()(x, y[:, :1])
    with pytest.raises(UndefinedError, match="2 features share no similarity between samples"):
        DoublyDebiasedCKA()(x, np.linalg.qr(x - x.mean(axis=0))[0][:, :2])


def test_participation_ratios_are_those_of_dimensionality():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 8)) + 0.3 * rng.normal(size=(30, 8)) + 2
    facts = rs.reliability.diagnose(x).facts["x"]
    # participation_ratio(x, return_all=True) of dimensionality 0.1.4: "naive" and "both"
    assert facts["participation ratio"] == pytest.approx(2.3853854712271354, rel=1e-10)
    assert facts["participation ratio, corrected"] == pytest.approx(4.021120578960211, rel=1e-10)


def test_the_corrected_participation_ratio_is_that_of_the_population():
    found = []
    for seed in range(40):
        x, _ = sampled(seed, 60, 25, 2)
        facts = rs.reliability.diagnose(x).facts["x"]
        found.append([facts["participation ratio, corrected"], facts["participation ratio"]])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(40)
    assert abs(mean[0] - TRUE_RATIO) < 3 * error[0] + 0.2 and mean[1] < TRUE_RATIO - 1
    assert 1 / mean[1] == pytest.approx(1 / TRUE_RATIO + 1 / 60 + 1 / 25, rel=0.05), "the rule of thumb"
    many = sampled(1, 1000, 500, 2)[0]
    assert corrected_participation_ratio(many - many.mean(axis=0)) == pytest.approx(TRUE_RATIO, rel=0.06)


def test_where_the_ratio_has_no_estimate():
    x = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 6)))[0]
    x = np.linalg.qr(x - x.mean(axis=0))[0]
    assert corrected_participation_ratio(x) == np.inf, "features without shared variance: no end of dimensions"
    assert np.isnan(corrected_participation_ratio(x[:3])) and np.isnan(corrected_participation_ratio(x[:, :1]))


def test_noise_has_no_value_in_place_of_any_value():
    rng = np.random.default_rng(0)
    measure, refused = DoublyDebiasedCKA(), 0
    for _ in range(60):  # independent features: a length near 0 gave values such as 69 and -12
        try:
            assert abs(measure(*rng.normal(size=(2, 40, 6)))) < 3
        except UndefinedError as error:
            refused += "standard errors" in str(error)
    assert refused >= 55


def test_noise_has_no_finite_dimension():
    rng = np.random.default_rng(0)
    found = [corrected_participation_ratio(x - x.mean(axis=0)) for x in rng.normal(size=(40, 30, 6))]
    assert np.isinf(found).mean() > 0.9, "the numbers were anything, such as 187 of 6 features"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_same_features_in_another_order_are_the_same_features(dtype):
    x = sampled(4, 40, 12, 3)[0].astype(dtype)
    measure = DoublyDebiasedCKA()
    assert [measure(x, y) for y in (x[:, ::-1].copy(), 3 * x, x + 3)] == [1, 1, 1]
    assert measure(x, x @ np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]) != 1, "other features"
