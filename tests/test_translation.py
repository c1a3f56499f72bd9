"""Translated subsets: theorem 1 of Davari and others 2023 against brute force, its corollaries, and their published
table.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

import repsim_nb as rs
from repsim_nb import plots, reliability
from repsim_nb.support.errors import UndefinedError

CKA = rs.measures.get("cka")
SMALL = np.array([[3.0, 0], [-1, 0], [-1, 1], [-1, -1]])
SUBSETS = [np.array(kept) for kept in itertools.product((False, True), repeat=4) if 0 < sum(kept) < 4]
DISTANCES = 10.0 ** np.arange(-6, 7)
# mean CKA of X and X M over ten seeds, X two cubes of 10,000 points in 500 dimensions and M a matrix of normal numbers
# with the mean (rows) and standard deviation (columns) of MOMENTS: output of neurips_22/tests_rebuttal/figure4-Copy1
# in the authors' repository shoroi/cka_christmas_tree at 132326c, Figure 4b of a version of the paper
MOMENTS = (1, 5, 10, 25, 50, 100, 500, 1000, 5000)
PUBLISHED = np.array([
    [0.09114311, 0.61579063, 0.70776669, 0.71550897, 0.71567443, 0.71567596, 0.71567054, 0.71566986, 0.71566936],
    [0.04752932, 0.09114311, 0.21943082, 0.61579062, 0.70776669, 0.7152254, 0.71567597, 0.71567259, 0.71566986],
    [0.04615579, 0.05712641, 0.09114311, 0.30322316, 0.61579062, 0.70776669, 0.71567444, 0.71567597, 0.71567052],
    [0.04577058, 0.04752932, 0.05301649, 0.09114311, 0.21943081, 0.52980326, 0.71522539, 0.71566224, 0.71567262],
    [0.04571533, 0.04615579, 0.04752932, 0.05712641, 0.09114311, 0.21943081, 0.7077667, 0.71522539, 0.71567597],
    [0.04570142, 0.04581192, 0.04615579, 0.04855883, 0.05712641, 0.09114311, 0.61579062, 0.7077667, 0.71567442],
    [0.04569688, 0.04570142, 0.04571533, 0.04581192, 0.04615579, 0.04752932, 0.09114311, 0.21943081, 0.70776671],
    [0.04569672, 0.0456979, 0.04570142, 0.04572571, 0.04581192, 0.04615579, 0.05712641, 0.09114311, 0.61579061],
    [0.04569666, 0.04569672, 0.04569688, 0.0456979, 0.04570142, 0.04571533, 0.04615579, 0.04752932, 0.09114311],
])  # fmt: skip


@pytest.fixture
def x(rng):
    return rng.normal(size=(60, 7)) * 1.4 ** np.arange(7) + 5


@pytest.fixture
def subset(rng):
    return rng.random(60) < 0.3


def test_the_example_has_its_held_values():
    assert reliability.diagnose(SMALL).facts.loc["participation ratio", "x"] == pytest.approx(49 / 37, rel=1e-12)
    first = SUBSETS[7]
    assert first.tolist() == [True, False, False, False]
    assert reliability.translation_limit(SMALL, first) == pytest.approx(6 / 37**0.5, rel=1e-12)
    values = reliability.translated_cka(SMALL, first, (0, 1), [1, 2, np.inf])
    np.testing.assert_allclose(values, [0.99106899, 0.97426801, 6 / 37**0.5], atol=5e-9)
    assert values[1] < values[2] < values[0], "the path to the limit is not monotone"


@pytest.mark.parametrize("subset", SUBSETS, ids=lambda kept: "".join("01"[int(k)] for k in kept))
def test_every_subset_of_the_example_against_a_distance_of_a_million(subset):
    limit = reliability.translation_limit(SMALL, subset)
    own = SMALL[subset].mean(axis=0)
    fraction, ratio = subset.mean(), 49 / 37
    assert limit == pytest.approx(fraction / (1 - fraction) * own @ own / 3.5 * ratio**0.5, rel=1e-12), "theorem 1"
    assert limit == pytest.approx(reliability.translation_limit(SMALL, ~subset), rel=1e-12)
    for direction in ((1, 0), (0, 1), (-2, 3)):
        for far in (1e6, -1e6):
            assert CKA(SMALL, reliability.translate(SMALL, subset, direction, far)) == pytest.approx(limit, abs=4e-6)
        assert reliability.translated_cka(SMALL, subset, direction, np.inf) == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize("shape", [(60, 7), (40, 90)])
def test_any_distance_is_what_the_measure_says_of_a_copy(rng, shape):
    x = rng.normal(size=shape) * rng.exponential(size=shape[1]) + 3
    subset = np.arange(len(x)) % 3 == 0
    for direction in (None, rng.normal(size=shape[1])):
        distances = np.r_[-DISTANCES, 0, DISTANCES]
        found = reliability.translated_cka(x, subset, direction, distances)
        right = [CKA(x, reliability.translate(x, subset, direction, c)) for c in distances]
        np.testing.assert_allclose(found, right, atol=1e-13)
        limit = reliability.translation_limit(x, subset)
        beyond = reliability.translated_cka(x, subset, direction, [1e40, -1e160, 1e300, -np.inf])
        np.testing.assert_allclose(beyond, limit, rtol=1e-12)
        near = reliability.translated_cka(x, subset, direction, [1e-12, 1e-300])
        np.testing.assert_allclose(near, 1, rtol=1e-15)


@pytest.mark.parametrize("unit", [1e-150, 1e-30, 1e30, 1e150])
def test_the_size_of_the_numbers_does_not_matter(x, subset, unit):
    for distance in (0.5, 2, 30):
        right = reliability.translated_cka(x, subset, range(1, 8), distance)
        assert reliability.translated_cka(unit * x, subset, range(1, 8), unit * distance) == pytest.approx(right, 1e-10)
    assert reliability.translation_limit(unit * x, subset) == pytest.approx(reliability.translation_limit(x, subset))


def test_a_copy_that_is_nearly_constant_has_its_value_too():
    """The two classes fall onto each other; what is left is a difference of large numbers."""
    rng = np.random.default_rng(0)
    subset = np.arange(40) < 15
    x = 1e3 * np.outer(subset, [1.0, 2.0]) + 1e-3 * rng.normal(size=(40, 2))
    distance = np.linalg.norm([1e3, 2e3])
    found = reliability.translated_cka(x, subset, (1, 2), -distance)
    assert found == pytest.approx(CKA(x, reliability.translate(x, subset, (1, 2), -distance)), abs=1e-9)
    assert found < 0.2
    alone = np.outer(subset, [1.0, 2.0])
    with pytest.raises(UndefinedError, match="constant"):
        reliability.translated_cka(alone, subset, (1, 2), -np.linalg.norm([1.0, 2.0]))


def test_the_limit_of_a_subset_with_the_mean_of_the_others_is_zero(x, subset):
    x[subset] += x[~subset].mean(axis=0) - x[subset].mean(axis=0)
    assert reliability.translation_limit(x, subset) == pytest.approx(0, abs=1e-25)
    assert reliability.translated_cka(x, subset, np.ones(7), 1e9) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="the same mean.*Pass direction="):
        reliability.translate(x, subset)


def test_one_outlier_moves_cka_little_if_samples_are_many_for_the_directions(rng):
    """The corollary: the limit is √d ‖x₀‖² / ((n - 1) mean ‖x‖²), with x centred."""
    x = rng.normal(size=(300, 10))
    centred = x - x.mean(axis=0)
    lengths = (centred**2).sum(axis=1)
    ratio = reliability.diagnose(x).facts.loc["participation ratio", "x"]
    for row in (0, 7):
        limit = reliability.translation_limit(x, np.arange(300) == row)
        assert limit == pytest.approx(ratio**0.5 * lengths[row] / (299 * lengths.mean()), rel=1e-9)


def test_only_the_subset_moves_as_far_as_it_should(x, subset):
    before = x.copy()
    moved = reliability.translate(x, subset, np.arange(1.0, 8), -3)
    assert np.array_equal(x, before) and np.array_equal(moved[~subset], x[~subset])
    steps = moved[subset] - x[subset]
    unit = np.arange(1.0, 8) / np.linalg.norm(np.arange(1.0, 8))
    np.testing.assert_allclose(steps, np.broadcast_to(-3 * unit, steps.shape), atol=1e-12)
    assert np.array_equal(reliability.translate(x, subset, unit, 0), x)
    away = reliability.translate(x, subset, distance=2.0)
    gap = x[subset].mean(axis=0) - x[~subset].mean(axis=0)
    wider = away[subset].mean(axis=0) - away[~subset].mean(axis=0)
    np.testing.assert_allclose(wider, gap * (1 + 2 / np.linalg.norm(gap)), atol=1e-12)


def test_lists_and_tensors_with_gradients_are_arrays_too(x, subset):
    direction = torch.ones(x.shape[1], requires_grad=True)
    moved = reliability.translate(x, subset, np.ones(x.shape[1]), 2.0)
    assert np.array_equal(reliability.translate(x.tolist(), subset.tolist(), direction, 2.0), moved)
    value = reliability.translated_cka(x, subset, np.ones(x.shape[1]), 2.0)
    assert reliability.translated_cka(x.tolist(), subset, direction, 2.0) == value


def test_shapes_and_libraries(rng):
    images = rng.normal(size=(20, 2, 3, 3)).astype(np.float32)
    subset = np.arange(20) < 5
    step = rng.normal(size=(2, 3, 3))
    moved = reliability.translate(images, subset, step, 4)
    assert moved.shape == images.shape and moved.dtype == np.float64
    tensor = reliability.translate(torch.from_numpy(images), torch.from_numpy(subset), step.ravel(), 4)
    assert np.array_equal(moved, tensor)
    frame = pd.DataFrame(images.reshape(20, -1), index=[f"s{i}" for i in range(20)])
    labelled = pd.Series(subset, index=frame.index)
    assert np.array_equal(reliability.translate(frame, labelled, step, 4), moved.reshape(20, -1))
    with pytest.raises(ValueError, match="order"):
        reliability.translate(frame, labelled.sample(frac=1, random_state=0), step, 4)


@pytest.mark.parametrize("name", ["translate", "translated_cka", "translation_limit", "separating_direction"])
def test_what_is_no_subset_is_refused(name, x):
    function = getattr(reliability, name)
    for wrong in (np.zeros(60, bool), np.ones(60, bool), np.ones(7, bool), np.eye(60, dtype=bool)):
        with pytest.raises(ValueError, match="subset must have one value a sample, 60 in all"):
            function(x, wrong)
    with pytest.raises(ValueError, match="For indices of rows, use np.isin"):
        function(x, [3, 4, 5])


def test_what_is_no_direction_or_distance_is_refused(x, subset):
    for direction, message in (
        (np.zeros(7), "finite and not zero"),
        (np.full(7, np.nan), "finite and not zero"),
        (np.ones(6), "one number for each of 7 features; got 6"),
    ):
        for function in (reliability.translate, reliability.translated_cka):
            with pytest.raises(ValueError, match=message):
                function(x, subset, direction, 1.0)
    with pytest.raises(ValueError, match="finite number; got inf. For the limit use translation_limit"):
        reliability.translate(x, subset, distance=np.inf)
    with pytest.raises(ValueError, match="got NaN"):
        reliability.translated_cka(x, subset, distance=[1, np.nan])


@pytest.mark.parametrize("shape", [(80, 6), (80, 200)])
def test_a_separator_stays_with_its_margin(rng, shape):
    from sklearn.svm import SVC

    x = rng.normal(size=shape) + 4
    subset = np.arange(80) < 25
    x[subset, 0] += 6
    direction = reliability.separating_direction(x, subset)
    assert np.linalg.norm(direction) == pytest.approx(1)

    def gap(values):
        scores = values @ direction
        return scores[subset].min() - scores[~subset].max()

    largest = SVC(kernel="linear", C=1e6, tol=1e-8).fit(x, subset)
    margin = 2 / np.linalg.norm(largest.coef_)
    assert gap(x) == pytest.approx(margin, rel=1e-3), "the largest margin there is"
    cut = (x[subset] @ direction).min() - gap(x) / 2
    for distance in (0, 1e-3, 1, 1e3, 1e6):
        moved = reliability.translate(x, subset, direction, distance)
        assert gap(moved) >= gap(x) - 1e-9 * (1 + distance)
        assert np.array_equal(moved @ direction > cut, subset), "the same plane separates as before"
    limit = reliability.translation_limit(x, subset)
    assert CKA(x, moved) == pytest.approx(limit, abs=1e-4)
    assert limit < 0.9


def test_what_no_plane_separates_is_refused(rng):
    x = rng.normal(size=(100, 3))
    with pytest.raises(ValueError, match="no plane separates the 40 samples of the subset"):
        reliability.separating_direction(x, np.arange(100) < 40)
    with pytest.raises(ValueError, match="no plane separates the 1 sample of"):
        reliability.separating_direction(SMALL, SUBSETS[3])


def test_curves_are_the_values_of_the_measures(x, subset):
    use = ["cka", "procrustes", "mutual_knn", rs.measures.CCA(summary="projection_weighted", weights="y")]
    found = reliability.translation_curves(x, subset, np.ones(7), [0, 2, 1e3], use=use)
    assert found.index.name == "distance" and list(found.index) == [0, 2, 1e3]
    for name, measure in zip(found, use, strict=True):
        for distance, value in found[name].items():
            moved = reliability.translate(x, subset, np.ones(7), distance)
            assert value == pytest.approx(rs.measures.get(measure)(x, moved), abs=1e-12), name
    np.testing.assert_allclose(found["cka"], reliability.translated_cka(x, subset, np.ones(7), found.index), atol=1e-12)
    assert "distance" in plots.curves(found).get_xlabel()


def test_relative_curves_begin_at_one_and_say_who_sees_the_translation(rng):
    x = rng.normal(size=(120, 5))
    found = reliability.translation_curves(x, np.arange(120) < 30, use=["cka", "procrustes", "mean_cca"], relative=True)
    np.testing.assert_allclose(found.iloc[0], 1, atol=1e-9)
    last = found.iloc[-1]
    assert last["cka"] < 0.1 < 0.5 < last["mean_cca"]
    wide = rng.normal(size=(20, 30))
    undefined = reliability.translation_curves(wide, np.arange(20) < 5, None, [0, 1], use=["mean_cca", "cka"])
    assert undefined["mean_cca"].isna().all() and undefined["cka"].notna().all()


def closed_form(c, z):
    """CKA of x and x (z + ratio), as a function of the ratio; c = xᵀx. A ratio adds a matrix of rank one."""
    row, cz = c.sum(axis=1), c @ z
    inner, added = z.T @ cz, z.T @ row
    width, total, norm = len(c), row.sum(), np.linalg.norm(c)
    both = (cz**2).sum(), 2 * (cz.sum(axis=1) @ row), width * (row @ row)
    # ‖inner + ratio (added 1ᵀ + 1 addedᵀ) + ratio² total 1 1ᵀ‖²
    own = (
        (inner**2).sum(),
        4 * inner.sum(axis=0) @ added,
        2 * total * inner.sum() + 2 * width * (added @ added) + 2 * added.sum() ** 2,
        4 * total * width * added.sum(),
        (total * width) ** 2,
    )
    value = np.polynomial.polynomial.polyval
    return lambda ratio: value(ratio, both) / np.sqrt(value(ratio, own)) / norm


def two_cubes(seed, number=10_000, width=500):
    """The data of the authors: a matrix of normal numbers, then two cubes whose centres are 1.1 apart.

    The cubes are in float32, as there, and moved so that their mean is near 0, which changes no value.
    """
    draw = np.random.RandomState(seed)
    z, x = draw.normal(0, 1, [width, width]), np.empty((2 * number, width), np.float32)
    for rows, centre in ((slice(None, number), -0.55), (slice(number, None), 0.55)):
        x[rows] = draw.random_sample((number, width)) - 0.5
        x[rows, 0] += centre
    return z, x


def products(x):
    """xᵀx of the centred x, in float64."""
    sums = x.sum(axis=0, dtype=float)
    return (x.T @ x).astype(float) - np.outer(sums, sums) / len(x)


def test_the_published_table_of_two_cubes():
    """Six digits in all 81 cells, as float32 allows; a cell depends on mean / standard deviation."""
    ratios = np.divide.outer(MOMENTS, MOMENTS)
    mean = np.zeros((9, 9))
    for seed in range(10):
        z, x = two_cubes(seed)
        mean += closed_form(products(x), z)(ratios) / 10
    np.testing.assert_allclose(mean, PUBLISHED, atol=2e-7)


def test_the_closed_form_of_the_table_is_what_the_measure_says():
    z, x = two_cubes(0, 200, 20)
    x = x.astype(float)
    for ratio in (0.01, 1, 50):
        assert CKA(x, x @ (z + ratio)) == pytest.approx(closed_form(products(x), z)(ratio), rel=1e-10)
