"""Measures on odd data: the value that the definition gives, written once more in `independent`, or a sentence.

Order and containers change nothing.
"""

import math

import independent
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from odd_data import MEASURES, Refused, agree, formed, is_coarse, numbers, outcome, quick, sides, value_and_right

import repsim_nb as rs
from repsim_nb.measures import CKA, RSA, MutualKNN
from repsim_nb.support.errors import UndefinedError


@pytest.mark.parametrize("name", MEASURES)
@quick(10)
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
    """So that the property above is not kept by refusing everything: of data that are not constant debiased CKA, RSA of
    distances and shared neighbours have values.
    """
    if any(
        kind in ("constant", "nearly constant") or np.ptp(side[1], axis=0).max() == 0
        for side, (kind, _) in zip(case[:2], case[2:4], strict=True)
    ):
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


@pytest.mark.parametrize("name", MEASURES)
@quick(5)
@given(case=sides(low=11, forms=("float64",)), seed=st.integers(0, 99))
def test_order_and_containers_change_nothing(name, case, seed):
    measure, rng = MEASURES[name][0], np.random.default_rng(seed)
    x, y, n = case[0][1], case[1][1], case[4]
    first = outcome(lambda: measure(x, y))

    def same(call, what, tolerance=1e-9):
        again = outcome(call)
        assert isinstance(first, Refused) == isinstance(again, Refused), (
            f"{name}, {what}: {first} and {again}, {case[2]}, {case[3]}"
        )
        if not isinstance(first, Refused):
            assert again == pytest.approx(first, abs=tolerance), f"{name}, {what}"

    rows = rng.permutation(n)
    roots = (
        name in ("procrustes_distance", "angular_shape", "angle", "distance_correlation", "dcor", "dcor debiased")
        or "euclidean" in name
    )
    loose = (
        1e-7 if roots or "offset" in (case[2][0], case[3][0]) else 1e-9
    )  # a root of rounding, or digits that the offset took
    if name not in ("linear_predictivity", "cka batches of 5"):
        same(lambda: measure(x[rows], y[rows]), "rows of both sides in another order", loose)
    if measure.compares == "activations":
        same(
            lambda: measure(x[:, rng.permutation(x.shape[1])], y[:, rng.permutation(y.shape[1])]),
            "columns in another order",
            loose,
        )
    same(lambda: measure(pd.DataFrame(x), y), "a frame", loose)
    same(
        lambda: measure(
            pd.DataFrame(x, index=[f"s{i}" for i in range(n)]), pd.DataFrame(y, index=[f"s{i}" for i in range(n)])
        ),
        "frames with names",
        loose,
    )
    same(lambda: measure(scipy.sparse.csr_matrix(x), scipy.sparse.coo_array(y)), "sparse matrices", loose)
    same(lambda: measure(torch.tensor(x), torch.tensor(y)), "tensors", max(loose, 1e-8))
    same(lambda: measure(torch.tensor(x), y), "a tensor and an array", max(loose, 1e-8))
    same(lambda: measure(np.asfortranarray(x), y[:, ::-1][:, ::-1]), "another layout", loose)
    a, b = (np.round(np.clip(side, -99, 99) * 4) / 4 for side in (x, y))  # numbers that every precision holds
    first = outcome(lambda: measure(a, b))
    same(lambda: measure(a.astype(np.float32), b.astype(np.float16)), "float32 and float16", 3e-3)
    (
        same(lambda: measure((4 * a).astype(np.int16), (4 * b).astype(np.int64)), "integers", 1e-9)
        if "scaling" in measure.invariant_to
        else None
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("median", ["with_diagonal", "off_diagonal"])
def test_an_rbf_kernel_has_no_width_by_rounding(dtype, median):
    """Copies are at the distance 0, not at what rounding leaves of it: a kernel of that width is noise."""
    rng = np.random.default_rng(0)
    x = numbers("nearly constant", 13, 3, 0).astype(dtype)
    for side in (x, torch.tensor(x)):
        with pytest.raises(UndefinedError, match="no width"):
            CKA(kernel="rbf", median=median)(side, side)
    assert (
        CKA(kernel="rbf", median=median)(
            rng.normal(size=(13, 3)).astype(dtype) * 1e-3 + 1, x[:, ::-1] + rng.normal(size=(13, 3)).astype(dtype)
        )
        > 0
    )
