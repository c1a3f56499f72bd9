"""Solutions of the course that are written by hand give the values of the package."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.linear_model import Ridge

import repsim_nb as rs
from repsim_nb import course, measures


def exercises(session):
    return {name: exercise.solution for name, exercise in course.load_session(session).exercises.items()}


@pytest.mark.parametrize("seed", range(3))
def test_invariances(seed):
    solutions = exercises("invariances")
    rng = np.random.default_rng(seed)
    x, y = course.load_session("invariances").exercises["linear_cka"].inputs(rng)
    k, l, h = x @ x.T, y @ y.T, solutions["hsic_debiased"]  # noqa: E741
    assert solutions["linear_cka"](x, y) == pytest.approx(measures.get("cka")(x, y), rel=1e-12)
    assert h(k, l) / np.sqrt(h(k, k) * h(l, l)) == pytest.approx(measures.get("cka_debiased")(x, y), rel=1e-9)
    assert solutions["procrustes"](x, y) == pytest.approx(measures.get("procrustes")(x, y), rel=1e-12)
    np.testing.assert_allclose(solutions["centre_gram"](k), solutions["gram"](x), atol=1e-9)


def test_a_layer_recorded_by_hand_is_the_one_that_record_gives():
    solutions = exercises("representations")
    model = rs.load_model("zoo:mnist-cnn-0")
    images = np.random.default_rng(0).integers(0, 256, size=(9, 28, 28)).astype(np.uint8)
    flat = solutions["capture"](model.module, "conv3", list(model.preprocess(images).split(4)))
    pooled = solutions["pool_positions"](flat.reshape(9, 48, 3, 3))
    for pool, by_hand in (("flatten", flat), ("mean", pooled)):
        recorded = rs.record(model, images, "conv3", pool=pool, progress=False)["conv3"]
        np.testing.assert_allclose(by_hand, recorded, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_maps(seed):
    found, solutions = course.load_session("maps").exercises, exercises("maps")
    rng = np.random.default_rng(seed)
    x, y = found["rsa"].inputs(rng)
    assert solutions["rsa"](x, y) == pytest.approx(rs.measures.get("rsa")(x, y), rel=1e-9)
    (v,) = found["ranks"].inputs(rng)
    np.testing.assert_array_equal(solutions["ranks"](v), scipy.stats.rankdata(v))
    d, k = found["mds"].inputs(rng)
    theirs = rs.embedding.mds(pd.DataFrame(d), n_components=k, kind="classical")
    points = solutions["mds"](d, k)
    np.testing.assert_allclose(found["mds"].up_to(points), found["mds"].up_to(theirs.points), rtol=1e-6)
    assert solutions["stress"](d, points) == pytest.approx(theirs.stress, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_misleading(seed):
    found, solutions = course.load_session("misleading").exercises, exercises("misleading")
    rng = np.random.default_rng(seed)
    x, y = found["chance_level"].inputs(rng)
    assert solutions["chance_level"](x, y) == pytest.approx(rs.inference.null_moments("cka", x, y).mean, rel=1e-9)
    assert solutions["debiased_cka"](x, y) == pytest.approx(measures.get("cka_debiased")(x, y), rel=1e-9)
    centred = x - x.mean(0)
    directions = np.linalg.svd(centred)[2][:3]
    assert solutions["cka_after_deletion"](x, 3) == pytest.approx(measures.get("cka")(x, centred @ directions.T))
    x, rows = found["translation_limit"].inputs(rng)
    assert solutions["translation_limit"](x, rows) == pytest.approx(rs.reliability.translation_limit(x, rows))


def test_brains():
    solutions, brains = exercises("brains"), rs.datasets.brains()
    upper = [scipy.stats.rankdata(rdm.vector()) / len(rdm.vector()) for rdm in brains.people.values()]
    ceiling = rs.inference.noise_ceiling("rsa", brains.people)
    assert solutions["noise_ceiling"](np.array(upper)) == pytest.approx((ceiling.lower, ceiling.upper), rel=1e-9)
    x, y, z = course.load_session("brains").exercises["partial_correlation"].inputs(np.random.default_rng(0))
    r = np.corrcoef([x, y, z])
    by_formula = (r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))
    assert solutions["partial_correlation"](x, y, z) == pytest.approx(by_formula, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_project(seed):
    found, solutions = course.load_session("project").exercises, exercises("project")
    rng = np.random.default_rng(seed)
    (p,) = found["holm"].inputs(rng)
    np.testing.assert_allclose(solutions["holm"](p), rs.inference.holm(p), rtol=1e-12)
    assert [solutions["units_needed"](alpha) for alpha in (0.1, 0.05, 0.01, 0.001)] == [3, 4, 5, 7]


@pytest.mark.parametrize("seed", range(3))
def test_function(seed):
    found, solutions = course.load_session("function").exercises, exercises("function")
    rng = np.random.default_rng(seed)
    first, second = found["kappa"].inputs(rng)
    assert solutions["kappa"](first, second) == pytest.approx(
        measures.get("kappa")(np.eye(9)[first], np.eye(9)[second])
    )
    p, q = found["jsd"].inputs(rng)
    assert solutions["jsd"](p, q) == pytest.approx(measures.get("jsd")(np.log(p), np.log(q)), rel=1e-9)
    train, targets, test, penalty = found["probe_scores"].inputs(rng)
    ridge = Ridge(alpha=penalty).fit(train, targets)
    np.testing.assert_allclose(solutions["probe_scores"](train, targets, test, penalty), ridge.predict(test), rtol=1e-9)
    variance = np.linalg.svd(train - train.mean(0), compute_uv=False) ** 2
    less = solutions["keep_directions"](train, train, 2)
    closed_form = np.sqrt(np.sum(variance[:2] ** 2) / np.sum(variance**2))
    assert measures.get("cka")(train, less) == pytest.approx(closed_form, rel=1e-9)
    distances, accuracies = found["gap_correlation"].inputs(rng)
    gaps = np.abs(accuracies[:, None] - accuracies)
    theirs = rs.inference.rank_correlation(pd.DataFrame(distances), pd.DataFrame(gaps), n_permutations=19).statistic
    assert solutions["gap_correlation"](distances, accuracies) == pytest.approx(theirs, rel=1e-9)
    assert solutions["without_each_model"](distances, accuracies)[0] == pytest.approx(
        solutions["gap_correlation"](distances[1:, 1:], accuracies[1:]), rel=1e-9
    )


@pytest.mark.parametrize("seed", range(3))
def test_trust(seed):
    found, solutions = course.load_session("trust").exercises, exercises("trust")
    rng = np.random.default_rng(seed)
    x, y, orders = found["null_values"].inputs(rng)
    by_package = [measures.get("cka")(x, y[order]) for order in orders]
    np.testing.assert_allclose(solutions["null_values"](x, y, orders), by_package, rtol=1e-9)
    test = rs.inference.permutation_test("cka", x, y, n_permutations=99, exact=False, seed=seed)
    assert solutions["p_value"](test.statistic, test.null) == pytest.approx(test.p_value)
    assert solutions["best_p_values"](np.array([test.statistic]), test.null[:, None]) == pytest.approx(test.p_value)
    values = rng.normal(size=20)  # the jackknife error of a mean is the usual one
    low, high = solutions["jackknife_interval"](values.mean(), (values.sum() - values) / 19)
    assert (high - low) / (2 * 1.96) == pytest.approx(values.std(ddof=1) / np.sqrt(20), rel=1e-9)
    order, size = found["whole_groups"].inputs(rng)
    groups = np.repeat(np.arange(len(order)), size)
    np.testing.assert_array_equal(groups[solutions["whole_groups"](order, size)], np.repeat(order, size))
    low, high, threshold = found["verdicts"].inputs(rng)
    words = {"reproduced": "yes", "not reproduced": "no", "undecided": "undecided"}
    judged = [
        rs.inference.judge(((a + b) / 2, a, b), above=threshold, level=0.95).outcome
        for a, b in zip(low, high, strict=True)
    ]
    assert solutions["verdicts"](low, high, threshold) == [words[one] for one in judged]
