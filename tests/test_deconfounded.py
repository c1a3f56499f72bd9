"""Measures with the similarity of the inputs taken out: values, laws, and the rows of the inputs that follow those of
the representations.
"""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch

import repsim_nb as rs
from repsim_nb import inference
from repsim_nb.measures import ALL, CKA, RSA, DistanceCorrelation, deconfounded, short_name
from repsim_nb.results.comparison import Comparison
from repsim_nb.support.errors import UndefinedError

BASES = {
    "cka": CKA(),
    "cka_debiased": CKA(debiased=True),
    "cka_rbf": CKA(kernel="rbf"),
    "cka_rbf_debiased": CKA(kernel="rbf", debiased=True),
    "dcor": DistanceCorrelation(),
    "dcor_debiased": DistanceCorrelation(debiased=True),
    "rsa": RSA(),
    "rsa_pearson": RSA(second="pearson"),
    "rsa_distances": RSA(first="euclidean", second="pearson"),
    "rsa_whole": RSA(first="dot", second="cosine", diagonal=True),
}


def related(seed=0, n=60, p=8, noise=1.0, shared=0.0):
    """x, y and the inputs c (n, p): x and y are rotations of c, something that both share, and noise of their own."""
    rng = np.random.default_rng(seed)
    c, s = rng.normal(size=(2, n, p))
    sides = [
        c @ np.linalg.qr(rng.normal(size=(p, p)))[0] + shared * s + noise * rng.normal(size=(n, p)) for _ in range(2)
    ]
    return sides[0], sides[1], c


def u_centred(square):
    """U-centring by its definition (Székely, Rizzo 2014)."""
    n = len(square)
    rows = square.sum(axis=1)
    found = square - rows[:, None] / (n - 2) - rows[None] / (n - 2) + square.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(found, 0)
    return found


def residual_cosine(a, b, c, *, intercept):
    """Regress the numbers of c out of those of a and of b by least squares, and take the cosine of what is left."""
    design = np.column_stack([c.ravel(), np.ones(c.size)]) if intercept else c.reshape(-1, 1)
    left = [values.ravel() - design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0] for values in (a, b)]
    return left[0] @ left[1] / np.sqrt((left[0] @ left[0]) * (left[1] @ left[1]))


def test_linear_cka_is_the_regression_of_gram_matrices():
    x, y, c = related(p=7)
    centred = [side - side.mean(axis=0) for side in (x, y, c)]
    a, b, k = (side @ side.T for side in centred)
    assert deconfounded("cka", c)(x, y) == pytest.approx(residual_cosine(a, b, k, intercept=False), abs=1e-12)
    assert deconfounded("cka", c)(x, y) == pytest.approx(
        residual_cosine(a, b, k, intercept=True), abs=1e-12
    )  # centred: there is none


def test_debiased_distance_correlation_is_the_partial_distance_correlation():
    x, y, c = related(1)
    a, b, k = (u_centred(np.linalg.norm(side[:, None] - side[None], axis=2)) for side in (x, y, c))
    left = [square - (square * k).sum() / (k * k).sum() * k for square in (a, b)]
    expected = (left[0] * left[1]).sum() / np.sqrt((left[0] ** 2).sum() * (left[1] ** 2).sum())
    assert deconfounded(DistanceCorrelation(debiased=True), c)(x, y) == pytest.approx(expected, abs=1e-12)


def test_rsa_is_the_partial_correlation_of_ranks_or_of_distances():
    from scipy.stats import rankdata

    x, y, c = related(2)
    pairs = np.tril_indices(len(x), -1)
    of_samples = [np.corrcoef(side)[pairs] for side in (x, y, c)]
    assert deconfounded("rsa", c)(x, y) == pytest.approx(
        residual_cosine(*map(rankdata, of_samples), intercept=True), abs=1e-12
    )
    distances = [np.linalg.norm(side[:, None] - side[None], axis=2)[pairs] for side in (x, y, c)]
    assert deconfounded(BASES["rsa_distances"], c)(x, y) == pytest.approx(
        residual_cosine(*distances, intercept=True), abs=1e-12
    )


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_prepared_is_direct_and_the_table_is_the_pairs(base):
    x, y, c = related(3)
    measure, z = deconfounded(base, c), np.random.default_rng(9).normal(size=(60, 3))
    squares = [base.gram_matrix(base.prepare(side)) for side in (x, y, c)]
    value = measure(x, y)
    assert value == pytest.approx(residual_cosine(*squares, intercept=False), abs=1e-12)
    assert measure.pair(measure.prepare(x), measure.prepare(y)) == pytest.approx(value, abs=1e-12)
    table = rs.compare(measure, {"x": x, "y": y, "z": z}).values
    assert (
        table.loc["x", "y"] == pytest.approx(value, abs=1e-12)
        and np.allclose(table, table.T)
        and np.allclose(np.diag(table), 1)
    )
    assert np.allclose(rs.compare(measure, {"x": x, "z": z}, {"y": y}).values["y"], table.loc[["x", "z"], "y"])
    assert measure.kind == "similarity" and measure.range == (-1.0, 1.0) and measure.min_samples == base.min_samples + 1


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("kind", ["permutation", "orthogonal", "scaling", "translation", "linear"])
def test_invariances_are_those_of_the_base(base, kind):
    from test_measures import transformed

    x, y, c = related(4, p=6)
    measure = deconfounded(base, c)
    assert measure.invariant_to == base.invariant_to
    same = measure(transformed(x, kind), y) == pytest.approx(measure(x, y), abs=1e-9)
    assert same == (kind in base.invariant_to)


@pytest.mark.parametrize("base", [CKA(debiased=True), DistanceCorrelation(debiased=True), RSA()], ids=str)
def test_an_unrelated_confound_changes_little_and_that_of_both_takes_all(base):
    x, y, c = related(5, n=400, noise=0.7)
    other = np.random.default_rng(6).normal(size=(400, 8))
    plain = base(x, y)
    assert plain > 0.2
    assert abs(deconfounded(base, other)(x, y) - plain) < 0.02
    assert abs(deconfounded(base, c)(x, y)) < (
        0.1 if isinstance(base, RSA) else 0.05
    )  # ranks of correlations are no linear function of those of the inputs
    x, y, c = related(5, n=400, noise=0.7, shared=0.7)
    assert 0.05 < deconfounded(base, c)(x, y) < base(x, y)


def test_wide_inputs_give_the_value_of_all_their_features():
    x, y, _ = related(7)
    wide = np.random.default_rng(8).normal(size=(60, 500)) + x @ np.random.default_rng(9).normal(size=(8, 500))
    for base in (CKA(), CKA(debiased=True), CKA(kernel="rbf"), RSA(), DistanceCorrelation()):
        r = [base(x, y), base(x, wide), base(y, wide)]
        expected = (r[0] - r[1] * r[2]) / np.sqrt((1 - r[1] ** 2) * (1 - r[2] ** 2))
        assert deconfounded(base, wide)(x, y) == pytest.approx(expected, abs=1e-9)


def test_libraries_precisions_and_processes():
    x, y, c = related(10)
    measure = deconfounded("cka_debiased", c)
    value = measure(x, y)
    assert measure(torch.tensor(x), torch.tensor(y)) == pytest.approx(value, abs=1e-12)
    assert measure(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(value, abs=1e-5)
    for given in (torch.tensor(c), pd.DataFrame(c)):
        assert deconfounded("cka_debiased", given)(x, y) == pytest.approx(value, abs=1e-12)
        assert deconfounded("cka_debiased", given) == measure
    with ProcessPoolExecutor(2) as executor:
        for base in ("cka_debiased", "rsa"):
            one = deconfounded(base, c)
            assert rs.compare(one, {"x": x, "y": y}, executor=executor).values.loc["x", "y"] == pytest.approx(
                one(x, y), abs=1e-12
            )


def test_a_measure_is_its_base_and_the_numbers_of_its_inputs():
    x, y, c = related(11)
    given = c.copy()
    measure = deconfounded("cka_debiased", given)
    assert short_name(measure) == "cka_debiased without inputs"
    assert measure == deconfounded(CKA(debiased=True), c) and hash(measure) == hash(deconfounded(CKA(debiased=True), c))
    assert measure != deconfounded("cka", c) and measure != deconfounded("cka_debiased", c + 1e-9)
    assert str(measure) != str(deconfounded("cka_debiased", c + 1e-9))
    value = measure(x, y)
    given[:] = 0  # what the caller does with its array afterwards changes nothing
    assert measure(x, y) == value and measure == deconfounded("cka_debiased", c)
    for twin in (pickle.loads(pickle.dumps(measure)), copy.deepcopy(measure)):
        assert twin == measure and twin(x, y) == value
    assert repr(measure).startswith("deconfounded('cka_debiased', inputs 60 × 8 #")


def test_a_saved_comparison_asks_for_the_measure_and_knows_its_inputs(tmp_path):
    x, y, c = related(12)
    measure = deconfounded("cka", c)
    found = rs.compare(measure, {"x": x, "y": y})
    path = found.save(tmp_path / "table.json")
    with pytest.raises(ValueError, match="without inputs.*Pass the measure"):
        Comparison.load(path)
    assert Comparison.load(path, measure=deconfounded("cka", c)).values.equals(found.values)
    with pytest.raises(ValueError, match="was written with the measure"):
        Comparison.load(path, measure=deconfounded("cka", c * 2))


def test_datasets_and_ids():
    x, y, c = related(13)
    ids = [f"i{k}" for k in range(60)]
    data = rs.Dataset("some", np.clip(40 * c + 128, 0, 255).astype(np.uint8).reshape(60, 2, 4), ids=ids)
    measure = deconfounded("cka", data)
    assert measure(x, y) == pytest.approx(deconfounded("cka", data.inputs.reshape(60, 8).astype(float))(x, y), abs=1e-6)
    xs = rs.from_arrays({"a/1": x, "b/1": y}, ids=ids)
    assert rs.compare(measure, xs).values.iloc[0, 1] == pytest.approx(measure(x, y), abs=1e-12)
    moved = rs.from_arrays({"a/1": x, "b/1": y}, ids=ids[::-1])
    for call in (
        lambda: rs.compare(measure, moved),
        lambda: inference.block_means(measure, moved, ["a", "b"]),
        lambda: inference.influence(measure, *(pd.DataFrame(v, index=ids[::-1]) for v in (x, y))),
    ):
        with pytest.raises(ValueError, match="'inputs'.*in another order"):
            call()
    with pytest.raises(ValueError, match="must be numbers with one row for each sample"):
        deconfounded("cka", rs.Dataset("texts", ["one", "two"] * 10))


def test_what_is_refused():
    x, y, c = related(14)
    for base in (
        "procrustes",
        "mutual_knn",
        "cka_minibatch",
        "rsa_cosine",
        "jsd",
        DistanceCorrelation(squared=False),
        deconfounded("cka", c),
    ):
        with pytest.raises(
            ValueError,
            match="Use one of cka, cka_debiased, cka_rbf, distance_correlation, rsa, multiscale_cka, also with other",
        ):
            deconfounded(base, c)
    allowed = [name for name, measure in ALL.items() if not _refused(measure, c)]
    assert allowed == ["cka", "cka_debiased", "cka_rbf", "distance_correlation", "rsa", "multiscale_cka"]
    with pytest.raises(ValueError, match="one array"):
        deconfounded("cka", {"a": c})
    with pytest.raises(ValueError, match="inputs of deconfounded: it is constant"):
        deconfounded("cka", np.ones((60, 3)))
    measure = deconfounded("cka", c)
    with pytest.raises(ValueError, match=r"the inputs are 60 samples, and 'x' has 50 rows.*select_rows"):
        measure(x[:50], y[:50])
    with pytest.raises(ValueError, match="60 samples, and the representation has 50 rows"):
        measure.prepare(x[:50])


def _refused(measure, inputs):
    try:
        deconfounded(measure, inputs)
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_of_the_inputs_themselves_nothing_is_left(base, kind):
    x, y, c = (side.astype(kind) for side in related(15))
    measure, copied = deconfounded(base, c), 3 * c
    with pytest.raises(UndefinedError, match="similarity matrix is that of the inputs"):
        measure(x, copied)
    with pytest.raises(UndefinedError, match="similarity matrix is that of the inputs"):
        measure.prepare(copied)
    for table in (
        rs.compare(measure, {"x": x, "c": copied, "y": y}, on_undefined="mask"),
        rs.compare(measure, {"x": x, "c": copied}, {"y": y}, on_undefined="mask"),
    ):
        bad = table.values.isna()
        assert bad.loc["c"].all() and not bad.loc["x", "y"] and all("'c'" in why for why in table.undefined.values())


def test_other_undefined_cells_keep_their_reasons():
    x, y, c = related(16)
    constant = np.ones((60, 2))
    for ys in (None, {"y": y, "k": constant}):
        xs = {"x": x, "k": constant} if ys else {"x": x, "y": y, "k": constant}
        table = rs.compare(deconfounded("rsa", c), xs, ys, on_undefined="mask")
        assert table.values.loc["x", "y"] == pytest.approx(deconfounded("rsa", c)(x, y), abs=1e-12)
        assert all("of 'k': it is constant" in why for why in table.undefined.values())
    with pytest.raises(
        UndefinedError, match="of 'inputs': "
    ):  # half of the inputs are copies: an RBF kernel has no width
        rs.compare(
            deconfounded("cka_rbf", np.repeat([[0.0], [1.0]], [59, 1], axis=0)), {"x": x, "y": y}, on_undefined="mask"
        )


# -- the rows of the inputs follow


def test_of_rows():
    x, y, c = related(17, p=100)
    for base in ("cka_debiased", "rsa", "cka_rbf"):
        some = np.r_[0:20, 30:55]
        assert deconfounded(base, c).select_rows(some)(x[some], y[some]) == pytest.approx(
            deconfounded(base, c[some])(x[some], y[some]), abs=1e-9
        )
    assert CKA().select_rows(some) == CKA()


@pytest.mark.parametrize(
    "base", [CKA(), CKA(debiased=True), RSA(second="pearson"), RSA(), DistanceCorrelation(debiased=True)], ids=str
)
def test_influence_is_what_is_lost_without_each_sample(base):
    x, y, c = related(18, n=30)
    expected = [
        deconfounded(base, c)(x, y) - deconfounded(base, np.delete(c, i, 0))(np.delete(x, i, 0), np.delete(y, i, 0))
        for i in range(30)
    ]
    assert np.allclose(inference.influence(deconfounded(base, c), x, y), expected, atol=1e-9)


def test_intervals_sample_sizes_and_sample_sets_take_the_same_rows():
    x, y, c = related(19, n=120, shared=0.7)
    measure = deconfounded("cka_debiased", c)
    joint = rs.measures.from_function(
        lambda a, b: deconfounded("cka_debiased", a[:, 8:])(a[:, :8], b[:, :8]),
        kind="similarity",
        symmetric=True,
        name="joint",
    )
    wide = [np.hstack([side, c]) for side in (x, y)]
    one, other = inference.interval(measure, x, y), inference.interval(joint, *wide)
    assert (one.low, one.high, one.estimate) == pytest.approx((other.low, other.high, other.estimate), abs=1e-9)
    assert inference.sample_size(measure, x, y, sizes=[40, 120]).curve["mean"].to_numpy() == pytest.approx(
        inference.sample_size(joint, *wide, sizes=[40, 120]).curve["mean"].to_numpy(), abs=1e-9
    )
    xs = {
        name: side + 0.3 * k * np.random.default_rng(k).normal(size=x.shape)
        for k, (name, side) in enumerate({"a": x, "b": y, "c": x, "d": y}.items())
    }
    found = inference.sample_sets(measure, xs, rs.compare(measure, xs), sizes=[60, 120], n_sets=3)
    assert found.loc[120, "mean"] == pytest.approx(1.0)


def test_block_means_take_the_same_rows():
    x, y, c = related(20, n=100, shared=0.7)
    xs = {"a": x, "b": y, "c": x + 0.5 * np.random.default_rng(1).normal(size=x.shape)}
    joint = rs.measures.from_function(
        lambda a, b: deconfounded("cka_debiased", a[:, 8:])(a[:, :8], b[:, :8]),
        kind="similarity",
        symmetric=True,
        name="joint",
    )
    one = inference.block_means(deconfounded("cka_debiased", c), xs, ["g", "g", "h"], parts=5)
    other = inference.block_means(
        joint, {name: np.hstack([side, c]) for name, side in xs.items()}, ["g", "g", "h"], parts=5
    )
    assert np.allclose(one, other, atol=1e-9)


def test_rows_in_groups():
    x, y, c = related(21, n=80)
    groups = np.repeat(np.arange(40), 2)
    for base in (CKA(debiased=True), RSA()):
        measure = deconfounded(base, c)
        single = inference.influence(measure, x, y, groups=range(80))
        assert np.allclose(single, inference.influence(measure, x, y), atol=1e-9)
        from repsim_nb.measures.between import between_groups

        form, own = between_groups(base), np.arange(80)
        assert between_groups(measure)(x, y, own) == pytest.approx(measure(x, y), abs=1e-9)
        r = form(x, y, groups), form(x, c, groups), form(y, c, groups)
        expected = (r[0] - r[1] * r[2]) / np.sqrt((1 - r[1] ** 2) * (1 - r[2] ** 2))
        assert between_groups(measure)(x, y, groups) == pytest.approx(expected, abs=1e-12)
        assert expected in inference.interval(measure, x, y, groups=groups)
    with pytest.raises(ValueError, match="no form without the pairs of rows within a group"):
        inference.interval(deconfounded("cka", c), x, y, groups=groups)


def test_an_interval_contains_the_population_value():
    """x and y share nothing beyond the inputs: the value in the population is 0. 40 sets of samples."""
    inside = 0
    for seed in range(40):
        x, y, c = related(seed, n=100, p=5)
        inside += 0.0 in inference.interval(deconfounded("cka_debiased", c), x, y, parts=5)
    assert inside >= 34


def test_permuting_samples_is_refused_since_it_would_reject_too_often():
    rng, rejected = np.random.default_rng(0), 0
    for seed in range(40):
        x, y, c = related(seed, n=150, p=5)
        a, b, k = (CKA(debiased=True).gram_matrix(CKA(debiased=True).prepare(side)) for side in (x, y, c))
        a, b = (square - (square * k).sum() * k for square in (a, b))
        null = []
        for _ in range(39):
            order = rng.permutation(150)
            null.append((a * b[np.ix_(order, order)]).sum())
        rejected += (1 + np.sum(np.array(null) >= (a * b).sum())) / 40 <= 0.05
    assert rejected >= 6  # of 40 true nulls at level .05: 2 would be right
    measure = deconfounded("cka_debiased", c)
    for call in (
        lambda: inference.permutation_test(measure, x, y),
        lambda: inference.null_moments(measure, x, y),
        lambda: inference.null_table(measure, {"x": x, "y": y}),
        lambda: inference.chance_corrected(measure, x, y),
        lambda: inference.chance_values(measure, {"x": x, "y": y}),
    ):
        with pytest.raises(ValueError, match="cannot be permuted"):
            call()


def test_specificity_and_embedding_take_it():
    x, y, c = related(22, n=100, shared=0.7)
    rng = np.random.default_rng(0)
    xs = {
        f"m{k}/l{layer}": (x if layer else y) + 0.5 * rng.normal(size=x.shape) for k in range(4) for layer in range(2)
    }
    xs = rs.from_arrays(xs)
    assert rs.grounding.specificity(xs, deconfounded("cka_debiased", c)).accuracy > 0.5
    assert rs.embedding.mds(rs.compare(deconfounded("cka_debiased", c), xs)).points.shape == (8, 2)
