"""Shape distances next to Procrustes: values in closed form, and the two ends of the dial."""

import math

import numpy as np
import pytest
import scipy.linalg

from repsim_nb.measures import CCA, DegenerateComparisonError, Procrustes, SizeAndShape, WhitenedShape


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 7)) * np.geomspace(5, 0.2, 7)
    return x, x[:, :5] @ rng.normal(size=(5, 5)) + 2 * rng.normal(size=(60, 5))


def test_alpha_1_is_procrustes_and_alpha_0_the_angle_of_cca(pair):
    x, y = pair
    assert WhitenedShape(alpha=1)(x, y) == pytest.approx(Procrustes(form="angle")(x, y), abs=1e-12)
    total = 5 * CCA()(x, y)  # of five canonical correlations
    assert WhitenedShape(alpha=0)(x, y) == pytest.approx(math.acos(total / math.sqrt(7 * 5)), abs=1e-10)
    values = [WhitenedShape(alpha=alpha)(x, y) for alpha in (0, 1e-6, 0.3, 0.7, 1 - 1e-6, 1)]
    assert values[1] == pytest.approx(values[0], abs=1e-4) and values[4] == pytest.approx(values[5], abs=1e-4)
    assert len({round(value, 2) for value in (values[0], *values[2:4], values[5])}) == 4, "a dial that turns"


@pytest.mark.parametrize("normalise", [True, False])
def test_whitening_is_the_formula_of_the_paper(pair, normalise):
    sides = []
    for side in pair:
        side = side - side.mean(axis=0)
        if normalise:  # the norm that the whitened side has
            side = side / np.linalg.norm(side) * math.sqrt(side.shape[1])
        root = scipy.linalg.fractional_matrix_power(side.T @ side, -0.5)
        side = side @ (0.6 * root + 0.4 * np.eye(side.shape[1]))
        sides.append(side / np.linalg.norm(side))
    overlap = np.linalg.svd(sides[0].T @ sides[1], compute_uv=False).sum()
    found = WhitenedShape(alpha=0.4, normalise=normalise)(*pair)
    assert found == pytest.approx(math.acos(overlap), abs=1e-9)


def test_directions_that_are_only_rounding_are_not_whitened(pair):
    x, y = pair
    wide = np.hstack([x, x @ np.ones((7, 3)), np.full((60, 2), 4.0)])
    turned = np.hstack([x, np.zeros((60, 5))]) @ np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    assert WhitenedShape()(turned, y) == pytest.approx(WhitenedShape()(x, y), abs=1e-10)
    assert WhitenedShape().prepare(wide).shape == (60, 7)
    assert WhitenedShape(alpha=0).prepare(np.random.default_rng(2).normal(size=(10, 30))).shape == (10, 9)


def test_certain_correlations_are_refused(pair):
    with pytest.raises(DegenerateComparisonError, match=r"ranks 7 \+ 5 exceed n - 1 = 11"):
        WhitenedShape(alpha=0)(*(side[:12] for side in pair))
    assert WhitenedShape(alpha=0)(*(side[:13] for side in pair)) > 0


def test_size_and_shape_is_the_residual_after_the_best_rotation(pair):
    x, y = (side - side.mean(axis=0) for side in pair)
    y = np.pad(y, ((0, 0), (0, 2)))
    rotation, _ = scipy.linalg.orthogonal_procrustes(x, y)
    residual = np.linalg.norm(x @ rotation - y)
    assert SizeAndShape()(*pair) == pytest.approx(residual, rel=1e-12)
    assert SizeAndShape(form="squared")(*pair) == pytest.approx(residual**2, rel=1e-12)
    assert SizeAndShape()(3 * pair[0], 3 * pair[1]) == pytest.approx(3 * residual, rel=1e-12)
    unit = (side / np.linalg.norm(side) for side in (x, y))
    assert SizeAndShape()(*unit) == pytest.approx(Procrustes(form="distance")(*pair), rel=1e-12)


def test_a_distance_near_0_keeps_its_digits(pair):
    x, _ = pair
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.normal(size=(9, 9)))[0]
    padded = np.hstack([x, np.zeros((60, 2))])
    assert SizeAndShape()(1e3 * x, 1e3 * padded @ rotation) < 1e-8, "the root of rounding would be 1e-5"
    noise = rng.normal(size=padded.shape)
    noise -= noise.mean(axis=0)
    centred = padded - padded.mean(axis=0)
    best, _ = scipy.linalg.orthogonal_procrustes(centred + 1e-9 * noise, centred)
    right = np.linalg.norm((centred + 1e-9 * noise) @ best - centred)
    assert SizeAndShape()(x, (padded + 1e-9 * noise) @ rotation) == pytest.approx(right, rel=1e-4)
