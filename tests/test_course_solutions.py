"""Solutions of the course that are written by hand give the values of the package."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

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
