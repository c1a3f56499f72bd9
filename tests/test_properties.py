"""Whatever comes in, what comes out is the value that the definition gives, or a sentence: all measures and all of `inference`, on data that are tied, duplicated, flat, faint or odd.

The definitions are written once more in `independent`.
"""

import functools
import itertools
import math
import warnings

import independent
import numpy as np
import pandas as pd
import pytest
import repsim_nb as rs
import scipy.sparse
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from repsim_nb import inference
from repsim_nb.errors import UndefinedError
from repsim_nb.measures import ALL, CKA, CKNNA, RSA, DistanceCorrelation, JaccardKNN, MutualKNN, Procrustes
from scipy import stats


def quick(examples):
    phases = Phase.explicit, Phase.generate  # a case is a few small numbers: to look for a smaller one takes minutes
    return settings(deadline=None, derandomize=True, max_examples=examples, database=None, phases=phases, report_multiple_bugs=False)


class Refused(str):
    """The sentence of a refusal."""


def outcome(call):
    """What a call gives, or its sentence. Anything else that is raised is a fault, a warning of arithmetic too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", message="output_rank", category=UserWarning)
        try:
            return call()
        except (UndefinedError, ValueError, TypeError) as error:
            assert type(error).__module__.startswith("repsim_nb") or type(error) in (ValueError, TypeError), f"no error of ours: {error!r}"
            assert len(str(error)) >= 30 and " " in str(error), f"no sentence: {error!r}"
            return Refused(error)


def expected(call):
    """What a definition gives; None if it is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except independent.Undefined:
            return None


# -- data

KINDS = ("normal", "codes", "counts", "levels", "duplicated", "one feature", "wide", "offset", "lognormal", "grouped", "constant", "nearly constant")
FORMS = ("float64", "float32", "float16", "int8", "int64", "bool", "frame", "sparse", "torch", "torch32", "mixed frame")
WHOLE = {"codes", "counts", "levels", "nearly constant"}


def numbers(kind, n, p, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    if kind == "codes":
        return np.eye(p)[rng.integers(0, p, n)]
    if kind == "counts":
        return rng.poisson(0.5, size=(n, p)).astype(float)
    if kind == "levels":
        return rng.integers(0, 3, size=(n, p)).astype(float)
    if kind == "duplicated":
        return x[rng.integers(0, max(2, n // 2), n)]
    if kind == "one feature":
        return x[:, :1]
    if kind == "wide":
        return rng.normal(size=(n, n + 3))
    if kind == "offset":
        return x + 1e4
    if kind == "lognormal":
        return x * np.exp(rng.normal(size=(n, 1)))
    if kind == "grouped":
        return x[np.arange(n) // 3] + 0.05 * rng.normal(size=(n, p))
    if kind == "constant":
        return np.full((n, p), 2.0)
    if kind == "nearly constant":
        x = np.ones((n, p))
        x[0] += np.arange(1, p + 1)
        return x
    return x


def formed(x, form):
    """-> (what a user may have, the numbers that it holds, how finely they are known)"""
    if form in ("int8", "int64", "bool"):
        x = np.round(np.clip(x, -100, 100)) if form != "bool" else x > 0.5
        return x.astype(form), x.astype(float), 4e-15
    if form in ("float32", "float16", "torch32"):
        given = x.astype("float16" if form == "float16" else "float32")
        return (torch.tensor(given) if form == "torch32" else given), given.astype(float), 1e-6
    if form == "frame":
        return pd.DataFrame(x, columns=[f"u{i}" for i in range(x.shape[1])]), x, 4e-15
    if form == "mixed frame":
        x = x.copy()
        x[:, 0] = np.round(np.clip(x[:, 0], -100, 100))
        frame = pd.DataFrame(x)
        frame[0] = frame[0].astype("int32")
        return frame, x, 4e-15
    if form == "sparse":
        return scipy.sparse.csr_matrix(x), x, 4e-15
    return (torch.tensor(x) if form == "torch" else x), x, 4e-15


@st.composite
def sides(draw, low=6, high=18, kinds=KINDS, forms=FORMS):
    n = draw(st.integers(low, high))
    kind, other = draw(st.sampled_from(kinds)), draw(st.sampled_from(kinds))
    p, q = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    seed = draw(st.integers(0, 999))
    form, its = draw(st.sampled_from(forms)), draw(st.sampled_from(forms))
    y = numbers(other, n, q, seed + 1000)
    if kind != "offset" and draw(st.booleans()) and y.shape[1] == p:
        y = y + numbers(kind, n, p, seed)[:, : y.shape[1]]
    return formed(numbers(kind, n, p, seed), form), formed(y, its), (kind, form), (other, its), n


def is_coarse(side):
    """Numbers beside a mean that their precision hardly tells apart."""
    kind, form = side
    return kind == "offset" and form in ("float32", "float16", "torch32")


def agree(found, right, precision, what):
    if right is None:
        assert isinstance(found, Refused), f"{what}: {found}, which is undefined"
        return
    assert not isinstance(found, Refused), f"{what}: refused ({found}), and it is {right}"
    assert math.isfinite(found), f"{what}: {found}"
    assert found == pytest.approx(right, abs=3e-7 if precision < 1e-8 else 3e-3), what


# -- measures

def options():
    """{name: (measure, its definition)}"""
    found = {name: (measure, independent.NAMED[name]) for name, measure in ALL.items()}
    for first, second, diagonal in itertools.product(("correlation", "cosine", "dot", "euclidean"), ("spearman", "pearson", "cosine", "row_cosine", "row_pearson"), (False, True)):
        found[f"rsa {first} {second} {diagonal}"] = (
            RSA(first=first, second=second, diagonal=diagonal), lambda x, y, e, f=first, s=second, d=diagonal: independent.rsa(x, y, f, s, d, e),
        )  # fmt: skip
    for metric, k in itertools.product(("cosine", "euclidean"), (1, 3)):
        found[f"mutual {metric} {k}"] = MutualKNN(k=k, metric=metric), lambda x, y, e, k=k, m=metric: independent.knn(x, y, k, m, e)
        found[f"jaccard {metric} {k}"] = JaccardKNN(k=k, metric=metric), lambda x, y, e, k=k, m=metric: independent.knn(x, y, k, m, e, jaccard=True)
    found |= {f"cknna {k}": (CKNNA(k=k), lambda x, y, e, k=k: independent.cknna(x, y, k, e)) for k in (2, 4)}
    found["cka batches of 5"] = CKA(batch_size=5), lambda x, y, e: independent.cka_minibatch(x, y, 5)
    for unbiased, diagonal in itertools.product((False, True), (False, True)):
        measure = CKA(kernel="rbf", bandwidth=0.7, debiased=unbiased, median="with_diagonal" if diagonal else "off_diagonal")
        found[str(measure)] = measure, lambda x, y, e, u=unbiased, d=diagonal: independent.cka_rbf(x, y, 0.7, d, u)
    found["dcor"] = DistanceCorrelation(squared=False), lambda x, y, e: independent.distance_correlation(x, y, squared=False)
    found["dcor debiased"] = DistanceCorrelation(debiased=True), lambda x, y, e: independent.distance_correlation(x, y, unbiased=True)
    found["angle"] = Procrustes(form="angle"), independent.NAMED["angular_shape"]
    return found


MEASURES = options()


def value_and_right(name, case):
    (x, a, one), (y, b, other), _, _, n = case
    measure, definition = MEASURES[name]
    found = outcome(lambda: measure(x, y))
    if n < measure.least or measure.of == "outputs" and a.shape[1] != b.shape[1]:
        return found, None
    return found, expected(lambda: definition(a, b, max(one, other)))


@pytest.mark.parametrize("name", MEASURES)
@quick(12)
@given(case=sides(low=11))
def test_a_measure_gives_its_definition_or_a_sentence(name, case):
    found, right = value_and_right(name, case)
    what = f"{name} of {case[2]} and {case[3]}, n = {case[4]}"
    if is_coarse(case[2]) or is_coarse(case[3]):
        assert isinstance(found, Refused) or math.isfinite(found), what
        return
    agree(found, right, max(case[0][2], case[1][2]), what)


@quick(25)
@given(case=sides(low=11))
@example(case=(*(formed(np.tile(np.eye(3), (5, 1)), "int8"),) * 2, ("codes", "int8"), ("codes", "int8"), 15))
def test_most_data_have_values(case):
    """So that the property above is not kept by refusing everything: of data that are not constant debiased CKA, RSA of distances and shared neighbours have values."""
    if any(kind in ("constant", "nearly constant") or np.ptp(side[1], axis=0).max() == 0 for side, (kind, _) in zip(case[:2], case[2:4], strict=True)):
        return
    if is_coarse(case[2]) or is_coarse(case[3]):
        return
    for measure in ("cka", "nbs", RSA(first="euclidean"), MutualKNN(k=3, metric="euclidean")):
        found = outcome(lambda measure=measure: rs.measures.get(measure)(case[0][0], case[1][0]))
        assert not isinstance(found, Refused), f"{measure} of {case[2]} and {case[3]}: {found}"


def test_hsic_is_the_mean_over_four_different_samples():
    k, m = (independent.gram(numbers("lognormal", 7, 3, seed)) for seed in (0, 1))
    assert independent.hsic(k, m) == pytest.approx(independent.hsic_of_four(k, m, range(7)))


# -- what changes nothing

STABLE = [name for name, (measure, _) in MEASURES.items() if measure.of == "activations" and name not in ("linear_predictivity", "cka batches of 5")]


@pytest.mark.parametrize("name", MEASURES)
@quick(5)
@given(case=sides(low=11, forms=("float64",)), seed=st.integers(0, 99))
def test_order_and_containers_change_nothing(name, case, seed):
    measure, rng = MEASURES[name][0], np.random.default_rng(seed)
    x, y, n = case[0][1], case[1][1], case[4]
    first = outcome(lambda: measure(x, y))

    def same(call, what, tolerance=1e-9):
        again = outcome(call)
        assert isinstance(first, Refused) == isinstance(again, Refused), f"{name}, {what}: {first} and {again}, {case[2]}, {case[3]}"
        if not isinstance(first, Refused):
            assert again == pytest.approx(first, abs=tolerance), f"{name}, {what}"

    rows = rng.permutation(n)
    loose = 1e-7 if name in ("procrustes_distance", "angular_shape", "angle") or "offset" in (case[2][0], case[3][0]) else 1e-9  # a root, or digits that the offset took
    if name not in ("linear_predictivity", "cka batches of 5"):
        same(lambda: measure(x[rows], y[rows]), "rows of both sides in another order", loose)
    if measure.of == "activations":
        same(lambda: measure(x[:, rng.permutation(x.shape[1])], y[:, rng.permutation(y.shape[1])]), "columns in another order", loose)
    same(lambda: measure(pd.DataFrame(x), y), "a frame", 1e-12)
    same(lambda: measure(pd.DataFrame(x, index=[f"s{i}" for i in range(n)]), pd.DataFrame(y, index=[f"s{i}" for i in range(n)])), "frames with names", 1e-12)
    same(lambda: measure(scipy.sparse.csr_matrix(x), scipy.sparse.coo_array(y)), "sparse matrices", 1e-12)
    same(lambda: measure(torch.tensor(x), torch.tensor(y)), "tensors", max(loose, 1e-8))
    same(lambda: measure(torch.tensor(x), y), "a tensor beside an array", max(loose, 1e-8))
    same(lambda: measure(np.asfortranarray(x), y[:, ::-1][:, ::-1]), "another layout", loose)
    a, b = (np.round(np.clip(side, -99, 99) * 4) / 4 for side in (x, y))  # numbers that every precision holds
    first = outcome(lambda: measure(a, b))
    same(lambda: measure(a.astype(np.float32), b.astype(np.float16)), "float32 beside float16", 3e-3)
    same(lambda: measure((4 * a).astype(np.int16), (4 * b).astype(np.int64)), "integers", 1e-9) if "scaling" in measure.invariant_to else None
