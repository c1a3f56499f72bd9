"""Multi-scale CKA: the random walk written out, values by hand, and both ends of the dial."""

import math

import numpy as np
import pytest
import torch
from independent import multiscale_cka
from scipy.spatial.distance import pdist
from test_measures import pair_of

import repsim_nb as rs
from repsim_nb.measures import CCA, CKA, MultiscaleCKA, UndefinedError


@pytest.mark.parametrize("n", [60, 7])  # more samples than features, and fewer
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_it_is_cka_of_the_random_walks(steps, n):
    x, y = pair_of(n=n)
    for one, other in ((x, y), (y, x), (1e150 * x, 1e-150 * y)):
        right = multiscale_cka(*(side / np.abs(side).max() for side in (one, other)), steps)
        assert MultiscaleCKA(steps=steps)(one, other) == pytest.approx(right, abs=1e-10)


def test_a_case_by_hand():
    """Orthogonal columns: G has the eigenvalues 4 and 1 on one side, and one of these directions on the other."""
    corners = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    x, y = corners * [2, 1], corners[:, :1]
    for steps in (0.5, 1, 2, 3):
        assert MultiscaleCKA(steps=steps)(x, y) == pytest.approx(4**steps / math.sqrt(16**steps + 1), abs=1e-14)


@pytest.mark.parametrize(
    "options", [{}, {"kernel": "rbf"}, {"kernel": "rbf", "bandwidth": 0.4, "median": "off_diagonal"}]
)
def test_one_step_is_cka(options):
    x, y = pair_of()
    one, cka = MultiscaleCKA(steps=1, **options), CKA(**options)
    assert one(x, y) == pytest.approx(cka(x, y), abs=1e-12)
    assert one(x.astype(np.float32), y) == pytest.approx(cka(x, y), abs=1e-6)
    wide, other = np.random.default_rng(0).normal(size=(2, 20, 50))
    assert one(wide, other) == pytest.approx(cka(wide, other), abs=1e-12)


def test_powers_of_an_rbf_kernel_are_those_of_its_matrix():
    x, y = pair_of()
    cka = CKA(kernel="rbf")
    powers = [np.linalg.matrix_power(cka.gram_matrix(cka.prepare(side)), 3) for side in (x, y)]
    right = np.sum(powers[0] * powers[1]) / np.linalg.norm(powers[0]) / np.linalg.norm(powers[1])
    assert MultiscaleCKA(kernel="rbf", steps=3)(x, y) == pytest.approx(right, abs=1e-12)


def test_many_steps_compare_the_first_directions():
    x, y = pair_of()
    first, second = (np.linalg.svd(side - side.mean(axis=0))[0][:, 0] for side in (x, y))
    for steps in (1e3, 1e9, 1e300):
        assert MultiscaleCKA(steps=steps)(x, y) == pytest.approx((first @ second) ** 2, abs=1e-12)


def test_directions_that_are_equally_large_stay_so():
    """Rounding makes one of them larger, which many steps must not take for the first."""
    rng = np.random.default_rng(0)
    u, v = np.linalg.qr(rng.normal(size=(30, 6)) - rng.normal(size=6))[0], rng.normal(size=(30, 3))
    u = np.linalg.qr(u - u.mean(axis=0))[0]
    values = []
    for _ in range(4):
        rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
        values += [MultiscaleCKA(steps=steps)((u * [3, 3, 3, 1, 1, 1]) @ rotation, v) for steps in (1e3, 1e15)]
    first = np.linalg.svd(v - v.mean(axis=0))[0][:, 0]
    assert values == pytest.approx([np.sum((u[:, :3].T @ first) ** 2) / math.sqrt(3)] * 8, abs=1e-12)


def test_few_steps_compare_subspaces_of_the_numerical_rank():
    x, y = pair_of()
    shared = 6 * CCA(summary="mean_squared")(x, y)  # the sum of six squared correlations
    deficient = np.hstack([x, x @ np.ones((8, 2)), np.full((60, 1), 0.1)])  # no direction more
    offset = deficient.astype(np.float32) + np.float32(100)
    for side, tolerance in ((x, 1e-9), (deficient, 1e-9), (offset, 1e-3)):
        assert MultiscaleCKA(steps=1e-12)(side, y) == pytest.approx(shared / math.sqrt(8 * 6), abs=tolerance)
    assert MultiscaleCKA(steps=1e-300)(x, x @ np.triu(np.ones((8, 8)))) == pytest.approx(1, abs=1e-9)


def test_the_null_distribution_has_a_closed_form():
    x, y = pair_of(n=30)
    measure, rng = MultiscaleCKA(steps=3), np.random.default_rng(0)
    a, b = measure.prepare(x), measure.prepare(y)
    drawn = [measure.pair(a, measure.permute(b, rng.permutation(30))) for _ in range(400)]
    found = rs.inference.null_moments(measure, x, y)
    assert np.mean(drawn) == pytest.approx(found.mean, abs=4 * found.sd / math.sqrt(400))
    with pytest.raises(NotImplementedError, match="multiscale_cka has no differentiable form"):
        MultiscaleCKA().loss(torch.tensor(x), torch.tensor(y))


def test_it_can_be_deconfounded_but_has_no_form_for_groups():
    x, y = pair_of()
    z = np.random.default_rng(1).normal(size=(60, 4)) + x[:, :4]
    measure = MultiscaleCKA(steps=3)
    both, one, other = measure(x, y), measure(x, z), measure(y, z)
    right = (both - one * other) / math.sqrt((1 - one**2) * (1 - other**2))
    assert rs.measures.deconfounded(measure, z)(x, y) == pytest.approx(right, abs=1e-10)
    with pytest.warns(UserWarning, match="intervals of this measure were not calibrated"):
        rs.inference.interval(measure, x, y)
        with pytest.raises(ValueError, match="has no form without the pairs of rows within a group"):
            rs.inference.interval(measure, x, y, groups=np.repeat(np.arange(15), 4))


def test_an_rdm_that_is_not_euclidean_has_even_powers_only():
    judged, y = rs.RDM(np.random.default_rng(0).random(30 * 29 // 2)), pair_of(n=30)[1]
    cka = CKA()
    powers = [np.linalg.matrix_power(cka.gram_matrix(cka.prepare(side)), 4) for side in (judged, y)]
    right = np.sum(powers[0] * powers[1]) / np.linalg.norm(powers[0]) / np.linalg.norm(powers[1])
    assert MultiscaleCKA(steps=4)(judged, y) == pytest.approx(right, abs=1e-12)
    for steps in (1, 0.5, 3):
        with pytest.raises(UndefinedError, match=f"power of {steps:g} is no similarity. Use an even number of steps"):
            MultiscaleCKA(steps=steps)(judged, y)
    x = pair_of(n=30)[0]
    rounded = rs.RDM(pdist(x).astype(np.float32))
    assert MultiscaleCKA(steps=3)(rounded, y) == pytest.approx(MultiscaleCKA(steps=3)(x, y), abs=1e-5)


def test_more_outliers_than_the_median_distance_shows_are_no_rdm():
    x, y = pair_of()
    x[0] = 1e7  # its squared distances leave rounding in all others
    assert 0 < MultiscaleCKA(kernel="rbf", steps=3)(x, y) < 1
