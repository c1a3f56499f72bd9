"""Known values of the measures for special questions: closed forms and definitions written out."""

import itertools
import math

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist
from test_measures import pair_of

import repsim_nb as rs
from repsim_nb.measures import (
    AlignedCosine,
    ConcentricityDifference,
    DegenerateComparisonError,
    EigenspaceOverlap,
    MagnitudeDifference,
    MutualKNN,
    RankSimilarity,
    RSMNormDifference,
    SecondOrderCosine,
    UndefinedError,
    UniformityDifference,
)

# -- a rotation, and subspaces


def row_cosines(x, y):
    return np.sum(x * y, axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)


def test_aligned_cosine_is_that_of_scipys_rotation():
    x, y = pair_of(p=6, q=6)
    assert AlignedCosine()(x, y) == pytest.approx(row_cosines(x @ orthogonal_procrustes(x, y)[0], y).mean(), abs=1e-12)
    narrow = np.hstack([y[:, :4], np.zeros((len(y), 2))])
    padded = row_cosines(x @ orthogonal_procrustes(x, narrow)[0], narrow).mean()
    assert AlignedCosine()(x, y[:, :4]) == pytest.approx(padded, abs=1e-12), "features that are 0"
    assert AlignedCosine()(np.hstack([x, x[:, :2]]), y) == pytest.approx(
        AlignedCosine()(np.hstack([x, x[:, :2]]) @ np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0], y)
    ), "duplicated columns leave the rotation free where nothing is"


def test_aligned_cosine_has_no_value_if_several_rotations_are_best():
    corners = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
    x, y = corners[:, [0, 1]], corners[:, [0, 2]]  # the second columns are orthogonal, so its sign is free
    with pytest.raises(UndefinedError, match="1 directions of one side have no inner product with the other side"):
        AlignedCosine()(x, y)
    with pytest.raises(UndefinedError, match=r"sample 2 \(1 such in all\): its activations are all 0"):
        AlignedCosine()(np.vstack([x[:2], [[0, 0]], x[3:]]), y)


def test_eigenspace_overlap_counts_shared_directions():
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 9)))[0]
    x, y = basis[:, :5], basis[:, 3:9]  # of 5 and 6 directions 2 are shared
    assert EigenspaceOverlap()(x, y) == pytest.approx(2 / 6, abs=1e-12)
    mixed = np.hstack([x, x[:, :1] + x[:, 1:2]])  # a dependent column adds no direction
    assert EigenspaceOverlap()(mixed, y) == pytest.approx(2 / 6, abs=1e-12)
    assert EigenspaceOverlap()(mixed.astype(np.float32), y) == pytest.approx(2 / 6, abs=1e-6)
    turned = np.cos(0.3) * basis[:, :1] + np.sin(0.3) * basis[:, 1:2]
    assert EigenspaceOverlap()(basis[:, :1], turned) == pytest.approx(np.cos(0.3) ** 2, abs=1e-12)


def test_eigenspace_overlap_of_unrelated_data_is_the_smaller_rank_over_n():
    rng = np.random.default_rng(0)
    values = [EigenspaceOverlap()(rng.normal(size=(60, 12)), rng.normal(size=(60, 20))) for _ in range(200)]
    assert np.mean(values) == pytest.approx(12 / 60, abs=0.003)
    with pytest.raises(DegenerateComparisonError, match=r"span all 20 dimensions of the samples, .* 12 / 20"):
        EigenspaceOverlap()(rng.normal(size=(20, 30)), rng.normal(size=(20, 12)))


# -- matrices of samples


@pytest.mark.parametrize("first", ["euclidean", "cosine", "correlation"])
def test_rsm_norms_are_those_of_numpy(first):
    x, y = pair_of()
    a, b = (cdist(side, side, first) for side in (x, y))
    upper = np.triu_indices(len(x), 1)
    assert RSMNormDifference(first=first)(x, y) == pytest.approx(np.linalg.norm((a - b)[upper]), rel=1e-12)
    assert RSMNormDifference(first=first, norm="spectral")(x, y) == pytest.approx(np.linalg.norm(a - b, 2), rel=1e-12)


def test_rsm_norm_keeps_the_unit_of_distances():
    x, y = (1e6 + side for side in pair_of())
    right = np.linalg.norm(cdist(x, x) - cdist(y, y)) / np.sqrt(2)
    assert RSMNormDifference()(x, y) == pytest.approx(right, rel=1e-9)
    assert RSMNormDifference()(1e150 * x, 1e150 * y) == pytest.approx(1e150 * right, rel=1e-9)


# -- neighbours


def distances_of(x, metric):
    found = cdist(x, x, metric)
    np.fill_diagonal(found, np.inf)
    return found


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_rank_similarity_is_its_definition(metric):
    x, y = pair_of(n=40)
    k = 7
    one, other = (np.argsort(distances_of(side, metric), axis=1)[:, :k].tolist() for side in (x, y))
    found = []
    for a, b in zip(one, other, strict=True):
        both = set(a) & set(b)
        parts = [2 / ((1 + abs(a.index(j) - b.index(j))) * (a.index(j) + b.index(j) + 2)) for j in both]
        found.append(sum(parts) / sum(1 / m for m in range(1, len(both) + 1)) if both else 0.0)
    assert RankSimilarity(k=k, metric=metric)(x, y) == pytest.approx(np.mean(found), abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "values"), [("cosine", "distances"), ("cosine", "similarities"), ("euclidean", "distances")]
)
def test_second_order_cosine_is_its_definition(metric, values):
    x, y = pair_of(n=40)
    a, b = (distances_of(side, metric) for side in (x, y))
    found = []
    for i in range(len(x)):
        either = np.union1d(np.argsort(a[i])[:7], np.argsort(b[i])[:7])
        u, v = (1 - d[i, either] if values == "similarities" else d[i, either] for d in (a, b))
        found.append(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    measure = SecondOrderCosine(k=7, metric=metric, values=values)
    assert measure(x, y) == pytest.approx(np.mean(found), abs=1e-12)


def test_neighbours_that_are_tied_count_whatever_the_order_of_the_samples():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, size=(2, 30, 2)).astype(float)  # a grid: many ties
    order = rng.permutation(30)
    for measure in (RankSimilarity(k=4, metric="euclidean"), SecondOrderCosine(k=9, metric="euclidean")):
        value = measure(x, y)
        assert measure(x[order], y[order]) == pytest.approx(value, abs=1e-12)
        a, b = measure.prepare(x), measure.prepare(y)
        assert measure.pair(a, measure.permute(b, order)) == pytest.approx(measure(x, y[order]), abs=1e-12)
    assert MutualKNN(k=4, metric="euclidean")(x, x) < 1 and RankSimilarity(k=4, metric="euclidean")(x, x) < 1


def test_two_tied_neighbours_share_rank_and_place():
    # sample 0 has two others at distance 1: with k = 1 each counts half, at the mean rank 1.5
    x, y = np.array([[0.0], [1.0], [-1.0], [5.0]]), np.array([[0.0], [1.0], [-2.0], [5.0]])
    # sample 0: x ties 1 and 2, y has 1; sample 1: 0 on both; sample 2: 0 on both; sample 3: 1 on both
    harmonic = 2 - 2 * math.log(2)  # of 1/2
    expected = (0.5 * 2 / (1.5 * 2.5) / harmonic + 3) / 4
    assert RankSimilarity(k=1, metric="euclidean")(x, y) == pytest.approx(expected, abs=1e-12)


def test_copies_have_no_second_order_cosine():
    x = np.repeat(np.eye(4), 3, axis=0)
    with pytest.raises(UndefinedError, match="sample 0: its distances to all neighbours are 0"):
        SecondOrderCosine(k=2)(x, x)
    assert SecondOrderCosine(k=2, values="similarities")(x, x) == pytest.approx(1, abs=1e-12)


# -- one number a side


def test_differences_of_magnitude_and_concentricity():
    x, y = pair_of()
    means = [side.mean(axis=0) for side in (x, y)]
    sizes = [np.linalg.norm(mean) for mean in means]
    assert MagnitudeDifference()(x, y) == pytest.approx(abs(sizes[0] - sizes[1]), rel=1e-12)
    assert MagnitudeDifference()(1e200 * x, 1e200 * y) == pytest.approx(1e200 * abs(sizes[0] - sizes[1]), rel=1e-12)
    along = [row_cosines(side, np.tile(side.mean(axis=0), (len(side), 1))).mean() for side in (x, y)]
    assert ConcentricityDifference()(x, y) == pytest.approx(abs(along[0] - along[1]), rel=1e-10)
    with pytest.raises(UndefinedError, match="the mean of its samples is 0"):
        ConcentricityDifference()(np.vstack([x, -x]), np.vstack([y, y]))


def test_uniformity_of_directions_in_closed_form():
    basis = np.eye(10)  # all pairs are √2 apart, so the mean is (1 + 9 e^(-2t)) / 10
    opposite = np.vstack([basis[:1]] * 5 + [-basis[:1]] * 5)  # half of the pairs are 2 apart, half are copies
    for t in (0.5, 2.0):
        right = math.log((1 + 9 * math.exp(-2 * t)) / 10) - math.log((1 + math.exp(-4 * t)) / 2)
        assert UniformityDifference(t=t)(3 * basis, opposite) == pytest.approx(abs(right), abs=1e-12)
    assert UniformityDifference(unit=False)(1e3 * basis, 1e5 * basis) == 0, "log(1/n) on both sides"


def test_uniformity_in_blocks(monkeypatch):
    x, y = pair_of()
    whole = UniformityDifference()(x, y)
    monkeypatch.setattr(rs.measures.summary_differences, "_BLOCK", 7 * len(x))
    assert UniformityDifference()(x, y) == pytest.approx(whole, abs=1e-14)


@pytest.mark.parametrize("name", ["magnitude_difference", "concentricity_difference", "uniformity_difference"])
def test_a_summary_has_no_chance_level(name):
    x, y = pair_of()
    assert rs.measures.get(name)(x, y[::-1]) == pytest.approx(rs.measures.get(name)(x, y), abs=1e-14)
    with pytest.raises(ValueError, match=f"{name} is the same for every order of the samples"):
        rs.inference.permutation_test(name, x, y, n_permutations=9)


def test_functions_that_take_all_measures_leave_out_those_for_special_questions():
    assert not set(rs.measures.FURTHER) & set(rs.measures.REPRESENTATIONAL) and set(rs.measures.FURTHER) < set(
        rs.measures.ALL
    )
    assert not set(rs.measures.FURTHER) & set(rs.grounding.MEASURES)


# -- dimensions


def test_shared_dimensions_count_common_directions():
    basis = np.linalg.qr(np.hstack([np.ones((50, 1)), np.random.default_rng(0).normal(size=(50, 9))]))[0][:, 1:]
    x, y = 3 * basis[:, :5] + 1, basis[:, 2:9]
    shared = rs.measures.shared_dimensions
    assert shared(x, x) == pytest.approx(5, abs=1e-9) and shared(y, y) == pytest.approx(7, abs=1e-9)
    assert shared(x, y) == pytest.approx(3, abs=1e-9) and shared(y, x) == pytest.approx(3, abs=1e-9)
    assert shared(basis[:, :2], basis[:, 2:4]) == pytest.approx(0, abs=1e-12)


def test_shared_dimensions_are_their_definition_whatever_is_wide():
    for shape in ({"n": 40}, {"n": 12, "p": 30, "q": 20}):
        x, y = pair_of(**shape)
        k, m = ((side - side.mean(axis=0)) @ (side - side.mean(axis=0)).T for side in (x, y))
        right = np.trace(k) * np.trace(m) * np.sum(k * m) / np.sum(k * k) / np.sum(m * m)
        assert rs.measures.shared_dimensions(x, y) == pytest.approx(right, rel=1e-10)
    with pytest.raises(UndefinedError, match="constant"):
        rs.measures.shared_dimensions(np.ones((10, 3)), np.eye(10))


def test_shared_dimensions_of_permuted_samples_are_on_average_the_product_of_both_over_n():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 5))
    values = [rs.measures.shared_dimensions(x, y[rng.permutation(40)]) for _ in range(300)]
    own = rs.measures.shared_dimensions(x, x) * rs.measures.shared_dimensions(y, y)
    assert np.mean(values) == pytest.approx(own / 39, abs=4 * np.std(values) / np.sqrt(300))


@pytest.mark.parametrize("name", ["size_and_shape", "rsm_norm_difference"])
def test_huge_units_do_not_overflow(name, rng):
    """Squares of sizes raised OverflowError, which left a table without its other cells."""
    x, y = rng.normal(size=(2, 20, 4))
    measure = rs.measures.get(name)
    assert measure(1e200 * x, 1e200 * y) == pytest.approx(1e200 * measure(x, y), rel=1e-9)
    assert measure(1e200 * x, y) == pytest.approx(1e200 * measure(x, 1e-200 * y), rel=1e-9)


def test_equal_units_are_matched_at_0_without_a_sign(rng):
    x = rng.normal(size=(20, 4))
    assert str(rs.measures.get("partial_soft_matching")(x, x.copy())) == "0.0"
