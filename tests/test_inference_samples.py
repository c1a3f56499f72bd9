"""Intervals over samples, sample sizes, influence."""

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb import inference, measures
from repsim_nb.errors import Stopped, UndefinedError
from repsim_nb.inference.sizes import sample_sets_of
from repsim_nb.measures import CKA, RSA, DistanceCorrelation

MORE = {"rsa_pearson": RSA(second="pearson"), "rsa_euclidean": RSA(first="euclidean", second="pearson"), "distance_debiased": DistanceCorrelation(debiased=True),
        "distance_root": DistanceCorrelation(squared=False), "rsa_diagonal": RSA(second="pearson", diagonal=True), "rbf_debiased": CKA(kernel="rbf", debiased=True)}  # fmt: skip


def related(n=40, p=7, q=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + 1
    return x, x @ rng.normal(size=(p, q)) + rng.normal(size=(n, q))


# -- influence -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("measure", [*measures.REPRESENTATIONAL.values(), *MORE.values()], ids=[*measures.REPRESENTATIONAL, *MORE])
def test_influence_is_the_value_less_that_without_the_sample(measure):
    x, y = related(24)
    brute = np.array([measure(x, y) - measure(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(len(x))])
    np.testing.assert_allclose(inference.influence(measure, x, y), brute, atol=1e-8)


def test_influence_finds_the_sample_that_makes_two_alike(rng):
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 5))
    x[17] = y[17] = 30
    found = inference.influence("cka", x.astype(np.float32), y)
    assert found.argmax() == 17 and found[17] > 0.5 and np.abs(np.delete(found, 17)).max() < 0.05


@pytest.mark.parametrize("measure", ["cka", "distance_correlation", MORE["rsa_euclidean"]])
def test_a_sample_that_is_nearly_all_of_a_matrix_hides_nothing(measure):
    """Sums over the others are rounding of a sum in which one sample stands a million times as far out."""
    x, y = related(24)
    measure = measures.get(measure)
    for far in (1e2, 1e4):
        x[5], y[5] = x[5] * far, y[5] * far
        brute = np.array([measure(x, y) - measure(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(len(x))])
        np.testing.assert_allclose(inference.influence(measure, x, y), brute, atol=1e-8)


def test_influence_says_what_is_wrong(rng):
    x, y = related(20)
    with pytest.raises(UndefinedError, match="needs at least 4 samples, so that one can be left out of 5 or more; there are 4"):
        inference.influence("cka_debiased", x[:4], y[:4])
    lonely = np.zeros((20, 2))
    lonely[3] = 1
    for measure in ("cka", "procrustes"):
        with pytest.raises(UndefinedError, match="without sample 3"):
            inference.influence(measure, lonely, y)

    def stop(done, total):
        raise Stopped

    with pytest.raises(Stopped):
        inference.influence("procrustes", x, y, progress=stop)


def test_the_most_influential_images_are_shown():
    images = rs.load_dataset("mnist", n=30)
    found = np.zeros(30)
    found[[4, 9, 21]] = 0.3, -0.5, 0.1
    said = [ax.get_xlabel().split("\n") for ax in rs.plots.influential(images, found, most=3)]
    assert [(name, amount) for name, amount in said] == [(images.classes[images.targets[i]], amount) for i, amount in ((9, "\N{MINUS SIGN}0.5"), (4, "+0.3"), (21, "+0.1"))]
    with pytest.raises(ValueError, match="30 images and 29 values"):
        rs.plots.influential(images, found[:29])
    with pytest.raises(ValueError, match="shows pictures"):
        rs.plots.influential(rs.Dataset("texts", ["one", "two", "three"]), np.arange(3.0))


# -- intervals -------------------------------------------------------------------------------------------------------------

def test_an_interval_takes_the_bias_of_few_samples_out():
    x, y = related(4000, 20, 10)
    few = measures.get("procrustes")(x[:150], y[:150])
    whole = measures.get("procrustes")(x, y)
    found = inference.interval("procrustes", x[:150], y[:150])
    assert few < found.estimate and whole in found and abs(found.estimate - whole) < abs(few - whole) / 2
    assert found.estimate == pytest.approx((found.low + found.high) / 2) and "estimate=" in repr(found)
    narrow = inference.interval("procrustes", x[:150], y[:150], level=0.5)
    assert found.low < narrow.low < narrow.high < found.high and narrow.estimate == found.estimate


def test_an_interval_says_what_is_wrong():
    x, y = related(40)
    for change, sentence in (({"level": 1}, "level is the share"), ({"parts": 3}, "parts is a whole number from 5")):
        with pytest.raises(ValueError, match=sentence):
            inference.interval("cka", x, y, **change)
    with pytest.raises(ValueError, match="at least 20 samples to leave some out; there are 12"):
        inference.interval("cka", x[:12], y[:12])
    with pytest.raises(ValueError, match="same samples"):
        inference.interval("cka", x, y[:30])
    with pytest.raises(UndefinedError, match="is 1 whichever samples are left out"):
        inference.interval("cka", x, 2 * x)
    rare = np.zeros((40, 1))
    rare[5] = 1
    with pytest.raises(UndefinedError, match=r"with [48] of 40 samples left out, as the interval needs it \(parts=10\)"):
        inference.interval("cka", rare, y)


# -- sample sizes ----------------------------------------------------------------------------------------------------------

def test_the_curve_is_the_mean_over_its_sets():
    x, y = related(200)
    found = inference.sample_size("cka", x, y, sizes=[20, 60, 200], seed=5)
    for n in (20, 60, 200):
        sets = sample_sets_of(n, 200, 5)
        assert all(len(set(rows)) == n for rows in sets)
        brute = np.mean([measures.get("cka")(x[rows], y[rows]) for rows in sets])
        assert found.curve.loc[n, "mean"] == pytest.approx(brute, abs=1e-8) and found.curve.loc[n, "sets"] == len(sets)
    assert found.limit == inference.interval("cka", x, y, seed=5).estimate


def test_enough_samples_are_enough():
    """Of fresh sets of so many samples nineteen in twenty lie within the distance asked for."""
    x, y = related(2000, 20, 10, seed=1)
    found = inference.sample_size("cka", x[:1000], y[:1000], within=0.05)
    assert not found.extrapolated and 20 < found.enough < 500
    value, cka = measures.get("cka")(x, y), measures.get("cka")
    fresh = [cka(x[k : k + found.enough], y[k : k + found.enough]) for k in range(1000, 2000 - found.enough, found.enough // 2)]
    assert np.mean([abs(one - value) <= 0.05 for one in fresh]) >= 0.8
    finer = inference.sample_size("cka", x[:1000], y[:1000], within=0.01)
    assert finer.enough > 2 * found.enough


def test_what_goes_on_moving_has_no_number():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 500))
    found = inference.sample_size("procrustes", x, x + rng.normal(size=(60, 500)))
    assert found.enough is None and not found.extrapolated and "still moves at 60 samples" in repr(found)
    assert "are enough for ±0.02, extrapolated from 60" in repr(inference.sample_size("cka_debiased", *related(60)))


@pytest.mark.parametrize(("change", "sentence"), [
    ({"within": 0}, "within is how near"), ({"sizes": [2]}, "sizes are numbers of samples from 3"), ({"sizes": [40]}, "one of them below 40"), ({"sizes": [10, 50]}, "to 40"), ({"level": 2}, "level is"),
])  # fmt: skip
def test_sizes_that_cannot_be_are_told(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        inference.sample_size("cka", *related(40), **change)
