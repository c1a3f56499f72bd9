"""An RDM is a representation: one side, or both, of the measures that need no features."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import pdist, squareform

import repsim_nb as rs
from repsim_nb.measures import CKA, RSA, DistanceCorrelation, MultiscaleCKA, UndefinedError, first_order
from repsim_nb.support.rdms import RDM

N = 24
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 8))
Y = X @ rng.normal(size=(8, 12)) + rng.normal(size=(N, 12))
IDS = [f"image {i}" for i in range(N)]
SECONDS = ("spearman", "pearson", "cosine", "row_cosine", "row_pearson")
KERNELS = [
    CKA(),
    CKA(debiased=True),
    CKA(kernel="rbf"),
    CKA(kernel="rbf", median="off_diagonal", debiased=True),
    CKA(batch_size=8),
    CKA(kernel="rbf", batch_size=8),
    DistanceCorrelation(),
    DistanceCorrelation(squared=False),
    DistanceCorrelation(debiased=True),
    MultiscaleCKA(),
    MultiscaleCKA(steps=0.5),
    MultiscaleCKA(kernel="rbf", steps=3),
]


def rdm_of(x, first="euclidean", **options):
    matrix = first_order(x, first)
    return RDM(matrix if first == "euclidean" else 1 - matrix, **options)


def holes(n=N, fraction=0.1):
    absent = np.triu(np.random.default_rng(3).random((n, n)) < fraction, 1)
    return absent | absent.T


# -- values


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("first", ["correlation", "cosine", "euclidean"])
def test_rsa_of_the_rdm_of_x_is_rsa_of_x(first, second, diagonal):
    measure = RSA(first=first, second=second, diagonal=diagonal)
    value, a, b = measure(X, Y), rdm_of(X, first), rdm_of(Y, first)
    assert measure(a, Y) == pytest.approx(value, abs=1e-12)
    assert measure(X, b) == pytest.approx(value, abs=1e-12)
    assert measure(a, b) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("measure", KERNELS, ids=str)
def test_kernel_measures_of_euclidean_rdms_are_those_of_x(measure):
    value, a, b = measure(X, Y), rdm_of(X), RDM(pdist(Y) ** 2, squared=True)
    table = rs.compare(measure, {"a": a, "x": X}, {"b": b, "y": Y}).values.to_numpy()
    np.testing.assert_allclose(table, value, atol=1e-12)
    assert measure.pair(measure.prepare(a), measure.prepare(b)) == pytest.approx(value, abs=1e-12)


def test_two_rdms_are_correlated_as_scipy_does():
    a, b = rng.random(N * (N - 1) // 2), rng.integers(0, 4, N * (N - 1) // 2)
    assert RSA()(RDM(a), RDM(b)) == pytest.approx(stats.spearmanr(a, b).statistic)
    assert RSA(second="pearson")(RDM(a), RDM(b)) == pytest.approx(stats.pearsonr(a, b).statistic)
    cosine = RSA(first="euclidean", second="cosine")
    assert cosine(RDM(a), RDM(b)) == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_values_in_float32_are_compared_in_float32():
    rdm = rdm_of(X).astype(np.float32)
    assert CKA()(rdm, Y) == pytest.approx(CKA()(X, Y), abs=1e-5)
    assert RSA(first="euclidean")(rdm, Y) == pytest.approx(RSA(first="euclidean")(X, Y), abs=1e-4)


def test_distances_of_first_order_are_those_of_unit_frobenius_norm():
    unit = (X - X.mean(axis=0)) / np.linalg.norm(X - X.mean(axis=0))
    for first, metric in (("euclidean", "euclidean"), ("squared_euclidean", "sqeuclidean")):
        np.testing.assert_allclose(first_order(7 * X + 3, first), squareform(pdist(unit, metric)), atol=1e-12)


def test_a_tensor_can_be_the_other_side():
    assert CKA()(rdm_of(X), torch.from_numpy(Y)) == pytest.approx(CKA()(X, Y))


def test_negative_distances_are_not_squared():
    """Cross-validated distances that were not stated to be squared would change their order."""
    values = [1.0, -0.5, 3.0, 2.0, 4.0, 0.2]
    x = np.random.default_rng(0).normal(size=(4, 3))
    for second in ("spearman", "whitened_cosine"):
        measure = RSA(first="squared_euclidean", second=second)
        assert -1 <= measure(rs.RDM(values, squared=True), x) <= 1
        with pytest.raises(UndefinedError, match="negative values, which .*would square.*squared=True"):
            measure(rs.RDM(values), x)


def test_negative_squared_distances_have_a_linear_kernel():
    squared = pdist(X) ** 2 - 8.0
    assert CKA()(RDM(squared, squared=True), Y) < 1
    for measure in (CKA(kernel="rbf"), DistanceCorrelation()):
        with pytest.raises(UndefinedError, match="negative values, such as .* use RSA, or 'cka'"):
            measure(RDM(squared, squared=True), Y)
    with pytest.raises(UndefinedError, match=r"Cross-validated distances are squared ones"):
        CKA()(RDM(squared), Y)


def test_deconfounded_measures_take_rdms():
    z = rng.normal(size=(N, 3))
    measure = rs.measures.deconfounded("cka", z)
    assert measure(rdm_of(X), Y) == pytest.approx(measure(X, Y), abs=1e-10)
    assert measure.pair(measure.prepare(rdm_of(X)), measure.prepare(rdm_of(Y))) == pytest.approx(measure(X, Y))


def test_an_rdm_can_be_held_constant():
    z = rng.normal(size=(N, 3))
    for base in ("cka", RSA(first="euclidean"), "distance_correlation"):
        one, other = (rs.measures.deconfounded(base, c) for c in (z, rdm_of(z)))
        assert other(X, Y) == pytest.approx(one(X, Y), abs=1e-10)
        assert other.pair(other.prepare(X), other.prepare(rdm_of(Y))) == pytest.approx(one(X, Y), abs=1e-10)
        assert other(torch.from_numpy(X), torch.from_numpy(Y)) == pytest.approx(one(X, Y), abs=1e-10)
        assert rs.compare(other, {"x": X, "y": Y}).values.iloc[0, 1] == pytest.approx(one(X, Y), abs=1e-10)
        rows = np.arange(0, N, 2)
        assert other.select_rows(rows)(X[rows], Y[rows]) == pytest.approx(one.select_rows(rows)(X[rows], Y[rows]))


def test_partial_mantel_tests_take_rdms():
    z = rng.normal(size=(N, 3))
    one, other, third = (RDM(pdist(x), IDS) for x in (np.hstack([X, 3 * z]), np.hstack([Y, 9 * z]), z))
    found = rs.inference.rank_correlation(one, other, given=third, n_permutations=99)
    assert found.statistic == pytest.approx(rs.measures.deconfounded("rsa", third)(one, other))
    frames = [rdm.to_frame() for rdm in (one, other, third)]
    again = rs.inference.rank_correlation(*frames[:2], given=frames[2], n_permutations=99)
    assert (again.statistic, again.p_value) == (found.statistic, found.p_value)
    turned = rs.inference.rank_correlation(one, other[::-1], given=third, n_permutations=99)
    assert turned.statistic == pytest.approx(found.statistic), "items are matched by their ids"
    interval = rs.inference.rank_interval(one, other)
    assert rs.inference.rank_correlation(one, other).statistic == pytest.approx(interval.estimate)


def test_groups_of_samples_are_tested():
    kinds = np.repeat(["a", "b"], N // 2)
    rdm = RDM(pdist(X + 3 * (kinds == "a")[:, None]), IDS)
    assert rs.inference.anosim(rdm, kinds, n_permutations=99).p_value == 0.01


# -- missing pairs


@pytest.mark.parametrize("first", ["correlation", "euclidean"])
def test_rsa_leaves_missing_pairs_out_on_both_sides(first):
    a, b = rdm_of(X, first), rdm_of(Y, first)
    one, two = RDM(a.values, missing=holes()), RDM(b.values, missing=holes(fraction=0.2))
    known = np.triu(~one.missing & ~two.missing, 1)
    assert RSA(first=first)(one, two) == pytest.approx(stats.spearmanr(a.values[known], b.values[known]).statistic)
    pearson = RSA(first=first, second="pearson")
    assert pearson(one, two) == pytest.approx(stats.pearsonr(a.values[known], b.values[known]).statistic)
    known = np.triu(~one.missing, 1)
    assert pearson(one, Y) == pytest.approx(stats.pearsonr(a.values[known], b.values[known]).statistic)


@pytest.mark.parametrize("second", SECONDS)
def test_a_table_with_missing_pairs_has_the_values_of_single_pairs(second):
    measure = RSA(second=second)
    xs = {"one": RDM(rdm_of(X, "correlation").values, missing=holes()), "x": X, "y": Y}
    table = rs.compare(measure, xs)
    assert table.values.loc["one", "one"].item() == pytest.approx(1)
    assert table.values.loc["one", "y"].item() == measure(xs["one"], Y)
    assert table.values.loc["x", "y"].item() == pytest.approx(measure(X, Y), abs=1e-12)


def test_rows_leave_out_their_own_missing_pairs():
    absent = np.zeros((N, N), bool)
    absent[0, 1] = absent[1, 0] = True
    a, b = rdm_of(X), rdm_of(Y)
    measure = RSA(first="euclidean", second="row_pearson")
    rows = []
    for i in range(N):
        others = [j for j in range(N) if j != i and not absent[i, j]]
        rows.append(np.corrcoef(a.values[i, others], b.values[i, others])[0, 1])
    assert measure(RDM(a.values, missing=absent), Y) == pytest.approx(np.mean(rows))


def test_what_needs_all_pairs_says_so():
    some = RDM(rdm_of(X).values, IDS, missing=holes())
    for measure in KERNELS[:1] + KERNELS[-1:]:
        with pytest.raises(UndefinedError, match=r"without a value for \d+ of 276 pairs, the first \(\d"):
            measure(some, Y)
    with pytest.raises(NotImplementedError, match="missing pairs"):
        rs.inference.null_table("rsa", {"a": some}, {"b": Y})
    with pytest.raises(UndefinedError, match="of samples must be known on both sides; got 0"):
        RSA()(RDM([1.0, 2.0, np.nan], missing=[False, False, True]), RDM([np.nan] * 2 + [1], missing=[1, 1, 0]))


# -- tests, tables, maps


@pytest.mark.parametrize("measure", [RSA(first="euclidean"), CKA(debiased=True), DistanceCorrelation(squared=False)])
def test_a_permutation_test_permutes_the_samples(measure):
    found, other = (rs.inference.permutation_test(measure, a, Y, n_permutations=49, seed=5) for a in (X, rdm_of(X)))
    assert found.p_value == other.p_value
    np.testing.assert_allclose(found.null, other.null, atol=1e-12)


def test_a_permutation_test_with_missing_pairs_permutes_them_along():
    measure, some = RSA(first="euclidean"), RDM(rdm_of(X).values, missing=holes())
    found = rs.inference.permutation_test(measure, Y, some, n_permutations=3, seed=5)
    order = np.random.default_rng(5).permutation(N)
    assert found.null[0] == pytest.approx(measure(Y, some[order]))


def test_few_samples_are_permuted_in_every_order():
    found, other = (rs.inference.permutation_test("cka", a, Y[:5]) for a in (X[:5], rdm_of(X)[:5]))
    assert (other.p_value, len(other.null)) == (found.p_value, 120)


def test_inference_has_the_same_results_as_for_features():
    rdm = rdm_of(X)
    for function in (rs.inference.null_moments, rs.inference.interval, rs.inference.influence):
        one, other = function("cka", X, Y), function("cka", rdm, Y)
        one, other = (getattr(a, "__dict__", None) or {"values": a} for a in (one, other))
        for name in set(one) & {"values", "mean", "variance", "low", "high", "estimate"}:
            np.testing.assert_allclose(other[name], one[name], atol=1e-10)
    tables = [rs.inference.null_table("cka_debiased", {"a": a}, {"b": Y}).p_value for a in (X, rdm)]
    np.testing.assert_allclose(*tables, rtol=1e-6)
    best = rs.inference.best_match("rsa", {"a": rdm_of(X, "correlation")}, {"b": Y}, n_permutations=19)
    assert best.comparison.values.iloc[0, 0] == pytest.approx(RSA()(X, Y))


def test_a_map_of_its_samples():
    rdm = rdm_of(X, ids=IDS)
    found, other = (rs.embedding.mds(a) for a in (rdm, RDM(pdist(X) ** 2, IDS, squared=True)))
    assert found.points.index.tolist() == IDS
    assert found.stress == pytest.approx(other.stress)
    assert rs.embedding.tsne(rdm).points.shape == (N, 2)
    with pytest.raises(UndefinedError, match="without a value for"):
        rs.embedding.mds(RDM(rdm.values, missing=holes()))


def test_an_explorer_offers_the_measures_that_compare_rdms():
    xs = rs.from_arrays({"people/judged": rdm_of(X), "net/one": X, "net/two": Y}, ids=IDS)
    explorer = rs.explorers.comparison(xs, measure="cka", a="people", b="net").wait()
    assert explorer.result.values.iloc[0, 0] == pytest.approx(1)
    reasons = explorer.controls["measure"].reasons
    assert reasons["procrustes"] == "needs features, and there are RDMs"
    assert not {"cka", "rsa", "distance_correlation"} & set(reasons)
    explorer.choose("judged", "two")
    assert "n = 24 samples" in explorer.wait().detail
    xs = rs.from_arrays({"people/all": rdm_of(X), "one/all": X, "two/all": Y})
    found = rs.explorers.embedding_map(xs, measure="rsa").wait()
    assert found.result.points.shape == (3, 2)
    assert found.controls["measure"].reasons["nbs"] == reasons["nbs"]


def test_its_picture():
    shown = rs.spec(RDM(rdm_of(X).values, IDS, missing=holes()))
    i, j = np.argwhere(holes())[0]
    assert shown.values[i][j] is None
    assert (i, j, "this pair is missing") in shown.notes
    assert (shown.row_labels, shown.low) == (tuple(IDS), 0)
    assert len(rs.spec(RDM(rng.random(400 * 399 // 2))).values) == 300


# -- what else is refused


@pytest.mark.parametrize(
    "name", sorted(set(rs.measures.ALL) - {"rsa", "rsa_cosine", "distance_correlation", "multiscale_cka"})
)
def test_other_measures_refuse_with_a_reason(name):
    if name.startswith("cka"):
        return
    with pytest.raises(UndefinedError, match="it is an RDM, dissimilarities of samples whose features are not known"):
        rs.measures.get(name)(rdm_of(X), Y)
    masked = rs.compare(name, {"a": rdm_of(X)}, {"b": Y}, on_undefined="mask") if name != "jsd" else None
    assert masked is None or "it is an RDM" in next(iter(masked.undefined.values()))


def test_other_functions_refuse_with_a_reason():
    for function in (rs.reliability.diagnose, lambda x: rs.inference.locate_differences(x, Y)):
        with pytest.raises(UndefinedError, match="it is an RDM"):
            function(rdm_of(X))
    with pytest.raises(ValueError, match="Leave device out"):
        rs.compare("cka", {"a": rdm_of(X)}, {"b": Y}, device="cpu")
    with pytest.raises(TypeError, match=r"use rdm\.values"):
        np.asarray(rdm_of(X))
    with pytest.raises(UndefinedError, match="inner products of samples do not follow from dissimilarities"):
        RSA(first="dot", second="cosine")(rdm_of(X), Y)


def test_a_constant_rdm_is_undefined():
    flat = RDM(np.ones(N * (N - 1) // 2))
    for measure in (RSA(), RSA(second="pearson"), CKA(debiased=True)):
        with pytest.raises(UndefinedError, match="equally"):
            measure(flat, Y)
    with pytest.raises(UndefinedError, match="all 24 samples are at distance 0"):
        CKA()(RDM(np.zeros((N, N))), Y)


BAD = {
    "length": ([1.0, 2.0], r"such as 1 for 2 samples or 3 for 3; got 2"),
    "shape": (np.zeros((3, 4)), r"square matrix .* got shape \(3, 4\)"),
    "similarities": (np.ones((3, 3)), r"0 on its diagonal.* pass 1 - values"),
    "symmetry": ([[0, 1.0], [2.0, 0]], r"\(0, 1\) is 1 and \(1, 0\) is 2"),
    "nan": ([1.0, np.nan, 2.0], r"1 of them have NaN or infinity, the first \(0, 2\).*missing=np\.isnan"),
    "text": (["a", "b", "c"], r"must be numbers"),
    "one": (np.zeros((1, 1)), r"at least 2 samples"),
    "frame": (pd.DataFrame(np.zeros((2, 2)), index=["a", "b"], columns=["b", "a"]), r"index and the columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_values_that_are_no_dissimilarities(name):
    values, match = BAD[name]
    with pytest.raises(ValueError, match=match):
        RDM(values)


def test_values_of_which_none_is_above_0_are_similarities():
    """Refused, but if they are squared: a cross-validated distance of equal conditions is below 0 half the time."""
    near, absent = -rdm_of(X).values, holes()
    for values, options in (
        (near, {}),
        (near.astype(np.float32), {}),
        (near[np.triu_indices(N, 1)], {}),
        (pd.DataFrame(near), {}),
        (np.where(absent, 1.0, near), {"missing": absent}),
        (np.where(near < near.min() / 2, near, 0.0), {}),
    ):
        with pytest.raises(ValueError, match=r"no pair has a value above 0, and the lowest is -.*pass -values"):
            RDM(values, **options)
        with pytest.warns(UserWarning, match=r"no pair has a value above 0, .* 1 in 100 for 6\).*pass -values"):
            assert RDM(values, squared=True, **options).vector()[0] <= 0
    some = near[np.triu_indices(N, 1)]
    for values in (
        some - some.min() / 2,
        np.zeros(3),
        np.full(3, -0.0),
        np.full(3, 1 - np.nextafter(1, 2)),
        [0.0, 1e-3, -5.0],
    ):
        assert len(RDM(values)) >= 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_below_0_by_rounding_are_0(dtype):
    pairs, eps = N * (N - 1) // 2, np.finfo(dtype).eps
    steps = np.random.default_rng(0).integers(1, 4, pairs)
    for values in (-eps * steps / 10, np.where(steps == 1, 0, -eps * steps / 10), np.full(pairs, -eps)):
        flat = RDM(values.astype(dtype))
        assert not flat.vector().any()
        with pytest.raises(UndefinedError, match="all 24 samples are at distance 0"):
            CKA()(flat, Y)
        with pytest.raises(UndefinedError, match="equally"):
            RSA()(flat, Y)
    far = pdist(X, "sqeuclidean").astype(dtype)
    far[:3] = [0, -eps * far.max(), -1e-7 * far.max()]
    plain, squared = RDM(far), RDM(far, squared=True)
    np.testing.assert_array_equal(plain.vector(), far.clip(min=0))
    np.testing.assert_array_equal(squared.vector(), far, err_msg="cross-validated distances keep their sign")
    with_zeros = RDM(far.clip(min=0), squared=True)
    np.testing.assert_array_equal(squared.distances(), with_zeros.distances())
    for measure in (DistanceCorrelation(), CKA(kernel="rbf"), CKA(kernel="rbf", debiased=True)):
        assert measure(squared, Y) == pytest.approx(measure(with_zeros, Y), abs=1e-6)
    far[0] = -1e-5 * far.max()
    for rdm in (RDM(far), RDM(far, squared=True)):
        with pytest.raises(UndefinedError, match="negative values, such as"):
            DistanceCorrelation()(rdm, Y)


def test_crossnobis_of_equal_conditions_is_taken_as_it_is():
    noise = np.random.default_rng(1).normal(size=(40, 4, 2, 20))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [rs.measures.crossnobis(runs, noise="none") for runs in noise]
    below = [(rdm.vector() < 0).all() for rdm in found]
    assert 10 < sum(below) < 30 and all(rdm.squared for rdm in found)


def test_missing_and_ids_are_checked():
    with pytest.raises(ValueError, match=r"True and False, of the shape of the values .*\(3,\)"):
        RDM([1.0, 2.0, 3.0], missing=[True])
    with pytest.raises(ValueError, match="missing must be symmetric"):
        RDM(np.zeros((2, 2)), missing=[[0, 1], [0, 0]])
    with pytest.raises(ValueError, match="there are 3 samples and 2 ids"):
        RDM([1.0, 2.0, 3.0], ids=["a", "b"])
    with pytest.raises(TypeError, match=r"rdm\.values\[i, j\]"):
        rdm_of(X)[0, 1]


# -- the object


def test_a_vector_and_a_matrix_are_the_same():
    vector = pdist(X)
    rdm = RDM(vector, IDS)
    np.testing.assert_array_equal(rdm.values, squareform(vector))
    np.testing.assert_array_equal(rdm.vector(), vector)
    assert rdm == RDM(squareform(vector), IDS)
    assert rdm == pickle.loads(pickle.dumps(rdm)) == copy.deepcopy(rdm)
    assert rdm != RDM(vector)
    assert RDM(pd.DataFrame(squareform(vector), IDS, IDS)).ids.tolist() == IDS
    assert RDM(torch.from_numpy(vector)) == RDM(vector)
    assert not rdm.values.flags.writeable


def test_rounding_is_taken_out():
    similar = np.corrcoef(X)
    rdm = RDM(1 - similar + np.triu(np.full((N, N), 1e-14)))
    np.testing.assert_array_equal(rdm.values, rdm.values.T)
    assert not rdm.values.diagonal().any()


def test_samples_are_selected_in_rows_and_columns():
    rdm, order = rdm_of(X, ids=IDS), rng.permutation(N)[:9]
    some = rdm[order]
    np.testing.assert_array_equal(some.values, rdm.values[np.ix_(order, order)])
    assert some.ids.tolist() == [IDS[i] for i in order]
    assert RSA(first="euclidean")(some, Y[order]) == pytest.approx(RSA(first="euclidean")(X[order], Y[order]))
    assert len(rdm[np.arange(N) < 5]) == len(rdm[:5]) == 5


def test_ids_are_compared_and_aligned():
    rdm, order = rdm_of(X, ids=IDS), rng.permutation(N)[:20]
    xs = rs.from_arrays({"net/one": X, "net/two": Y}, ids=IDS)
    with pytest.raises(ValueError, match="rs.align"):
        rs.measures.get("cka")(rdm[order], xs["net/one"])
    theirs, mine = rs.align({"people": rdm[order]}, xs)
    assert theirs["people"].ids.tolist() == mine["net/one"].ids.tolist()
    value = rs.compare("cka", theirs, mine).values.iloc[0, 1]
    assert value == pytest.approx(CKA()(X[order], Y[order]))
    back = rs.align(mine, rs.from_arrays({"people/judged": rdm}))[1]["people/judged"]
    assert back == rdm[order]
    with pytest.raises(ValueError, match=r"rs\.RDM\(values, ids=ids\)"):
        rs.align({"a": rdm_of(X)}, xs)


def test_recordings_hold_rdms():
    rdm = rdm_of(X)
    xs = rs.from_arrays({"people/judged": rdm, "net/one": X}, ids=IDS, groups=["a", "b"] * (N // 2))
    assert xs["people/judged"].ids.tolist() == IDS
    assert xs["people/judged"].groups.tolist() == ["a", "b"] * (N // 2)
    assert len(xs | {"people/judged": rdm}) == 2
    with pytest.raises(ValueError, match="with different arrays"):
        xs | {"people/judged": rdm_of(Y)}
    assert xs.table()["n"].tolist() == [N, N]


@pytest.mark.parametrize("empty", [0.0, np.nan])
def test_a_matrix_of_one_half_is_told_to_be_passed_as_a_vector(rng, empty):
    whole = rdm_of(rng.normal(size=(6, 3)))
    above, half = np.triu_indices(6, 1), np.full((6, 6), empty)
    half[above] = whole.vector()
    for given, part in ((half, half[above]), (half.T, half.T.T[above])):
        for missing in (None, np.isnan(given)):
            with pytest.raises(ValueError, match=r"only the part (above|below) the diagonal .*triu_indices"):
                RDM(given, missing=missing)
        assert np.array_equal(RDM(part).values, whole.values)


def test_a_heatmap_of_an_rdm_names_what_draws_it():
    with pytest.raises(TypeError, match=r"plots\.draw\(rs\.spec\(rdm\)\)"):
        rs.plots.heatmap(RDM([1.0, 2.0, 3.0]))


def test_rounding_of_one_minus_a_similarity_is_no_excuse_for_small_values():
    near = np.float32(1) - np.array([[1, 1 - 6e-8, 1], [1, 1, 1], [1 - 1.2e-7, 1, 1 - 6e-8]], np.float32)
    assert not rs.RDM(near).values.diagonal().any()  # all of it is rounding
    wrong = np.array([[0, 1, 2], [3, 0, 4], [5, 6, 0]], np.float32) * np.float32(1.3e-8)
    with pytest.raises(ValueError, match="an RDM is symmetric"):
        rs.RDM(wrong)
    similar = np.array([[1, 0.3, 0.2], [0.3, 1, 0.1], [0.2, 0.1, 1]], np.float32) * np.float32(1.3e-8)
    with pytest.raises(ValueError, match="0 on its diagonal"):
        rs.RDM(similar)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_sizes_at_the_ends_of_float32_are_checked_without_overflow(size):
    values = (squareform(np.arange(1, 7)) * size).astype(np.float32)
    np.testing.assert_array_equal(rs.RDM(values).values, values)
    with pytest.raises(ValueError, match="an RDM is symmetric"):
        rs.RDM(values * (1 + np.tri(4, dtype=np.float32)))
