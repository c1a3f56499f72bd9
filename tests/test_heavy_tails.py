"""p-values where a few samples outweigh all others: counted in random orders, where a curve of three moments is too
short; and no p-value that nothing backs.
"""

import math

import numpy as np
import pytest
from scipy import stats
from sizes import most, sized

import repsim_nb as rs
from benchmarks import hard_nulls
from repsim_nb.results.inference import null_moments, null_table, permutation_test
from repsim_nb.results.inference.counted_p_values import FEWEST, HITS, MOST, count_p_values, permutations_for
from repsim_nb.results.inference.results import BACKED, tail
from repsim_nb.support.workers import SERIAL

DEBIASED = rs.measures.get("cka_debiased")


def heavy(seed, n=100, p=10, sigma=1.0):
    return hard_nulls.lognormal(np.random.default_rng(seed), hard_nulls.Tails(n, p, sigma))


def by_curve(table):
    return tail(table.z.to_numpy(), table.skewness.to_numpy(), 0.0)


def test_unrelated_pairs_have_p_values_that_permutations_confirm():
    xs, ys = {i: heavy([1, i], sigma=1.5) for i in range(16)}, {i: heavy([2, i], sigma=1.5) for i in range(16)}
    table = null_table("cka_debiased", xs, ys)
    p = table.p_value.to_numpy()
    assert (by_curve(table) < 1e-4).any(), "the curve is too short for some of them"
    assert p.min() > 1e-4 and table.counted.to_numpy()[p < 0.05].all()
    for i, j in np.argwhere(p <= np.sort(p.ravel())[2])[:3]:
        other = permutation_test("cka_debiased", xs[i], ys[j], n_permutations=4999, seed=5).p_value
        assert p[i, j] == pytest.approx(other, rel=0.7)
        assert null_moments("cka_debiased", xs[i], ys[j], n_permutations=4999).p_value(
            table.value.iloc[i, j]
        ) == pytest.approx(other, rel=0.7)


def test_one_side_with_heavy_tails_next_to_equal_classes_is_counted():
    """The product of what both sides have of heavy rows is 0 then, and the curve ends inside the data."""
    table = null_table(
        "cka_debiased",
        {i: heavy([1, i], p=2) for i in range(12)},
        {i: hard_nulls.codes(np.random.default_rng([2, i]), hard_nulls.Tails(100, 2, 1.0)) for i in range(12)},
    )
    p = table.p_value.to_numpy()
    assert (by_curve(table) < 1e-3).any() and p.min() > 1e-4 and table.counted.to_numpy()[p < 0.05].all()


@pytest.mark.parametrize("n, overlap", [(12, 5), (20, 8), (20, 9), (60, 20)])
def test_values_of_two_codes_are_few(n, overlap):
    """The curve leaves out the probability of the very value that was seen. Exact: hypergeometric, on both sides."""
    x, y = np.zeros((2, n, 1))
    x[: n // 2] = y[:overlap] = y[n // 2 : n - overlap] = 1
    exact = 2 * stats.hypergeom(n, n // 2, n // 2).sf(overlap - 1)
    value = rs.measures.get("cka")(x, y)
    assert null_moments("cka", x, y).p_value(value) == pytest.approx(exact, abs=4 * (exact / 9999) ** 0.5)
    assert null_table("cka", {"x": x}, {"y": y}).p_value.iloc[0, 0] == pytest.approx(
        exact, abs=4 * (exact / 9999) ** 0.5, rel=0.7
    )


def test_in_tables_with_nothing_in_them_hardly_anything_is_found():
    tables = sized(6, 20)
    mistaken = hard_nulls.null_tables(hard_nulls.Tails(100, 10, 1.0), tables)["mistaken"]
    assert mistaken <= most(tables, 0.08, 1000)


def test_shares_of_small_p_values():
    pairs = sized(250, 1000)
    found = hard_nulls.tails(hard_nulls.Tails(100, 10, 1.0), pairs)
    assert 0 < found["counted"] < 0.1
    for share, small in ((0.01, found["below_01"]), (0.001, found["below_001"])):
        assert small * pairs <= most(pairs, share, 2000)


def test_gaussian_data_keep_the_p_values_of_the_curve():
    rng = np.random.default_rng(0)
    common = rng.normal(size=(100, 10))
    table = null_table(
        "cka_debiased",
        {i: common * 0.6 + rng.normal(size=(100, 10)) for i in range(6)},
        {i: common * 0.6 + rng.normal(size=(100, 10)) for i in range(6)},
    )
    assert not table.counted.to_numpy().any()
    assert table.p_value.to_numpy() == pytest.approx(np.maximum(by_curve(table), BACKED), rel=1e-9)
    assert (table.p_value.to_numpy() < 0.01).mean() > 0.5


def test_a_p_value_that_nothing_backs_is_an_upper_bound():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 10))
    gaussian = null_table(
        "cka_debiased", {"x": x}, {"y": x + 0.3 * rng.normal(size=x.shape), "z": rng.normal(size=x.shape)}
    )
    assert (
        gaussian.p_value.loc["x", "y"] == BACKED == gaussian.least.loc["x", "y"]
        and gaussian.at_most.loc["x", "y"]
        and not gaussian.at_most.loc["x", "z"]
    )
    assert null_moments("cka_debiased", x, x + 0.3 * rng.normal(size=x.shape)).p_value(0.9) == BACKED
    s = heavy(3)
    related = null_table(
        "cka_debiased", {"x": s}, {"y": s @ rng.normal(size=(10, 10)) + 9 * heavy(4)}, n_permutations=499
    )
    assert related.counted.iloc[0, 0] and related.p_value.iloc[0, 0] == 1 / 500 and related.at_most.iloc[0, 0]
    few = rng.normal(size=(9, 30))
    assert null_moments(
        "cka_debiased", few, few + 0.01 * rng.normal(size=few.shape), n_permutations=99
    ).least >= 1 / math.factorial(9)


def test_the_inequality_of_cantelli_settles_what_is_far_out():
    s = heavy(5, n=300)
    table = null_table("cka_debiased", {"x": s}, {"y": s + 0.1 * heavy(6, n=300)}, n_permutations=199)
    z = table.z.iloc[0, 0]
    assert z**2 > 199 and not table.counted.iloc[0, 0] and table.at_most.iloc[0, 0]
    assert table.p_value.iloc[0, 0] == pytest.approx(1 / (1 + z**2))


def test_counting_ends_with_the_twentieth_order_that_is_as_extreme():
    x, y = heavy(1, n=40), heavy(2, n=40)
    a, b = (DEBIASED.gram_matrix(DEBIASED.prepare(side)) for side in (x, y))
    rng = np.random.default_rng(4)
    values = np.array([np.vdot(a, b[np.ix_(order, order)]) for order in (rng.permutation(40) for _ in range(2000))])
    for threshold, many in (
        (np.quantile(values, 0.9), 2000),
        (np.quantile(values, 0.999), 2000),
        (values.max() + 0.1, 300),
    ):
        count = count_p_values(
            DEBIASED, [x], [y], {(0, 0): float(threshold)}, many, 4, SERIAL, lambda done, total: None
        )[0, 0]
        extreme = np.flatnonzero(values[:many] >= threshold - 1e-12)
        assert count.p_value == pytest.approx(
            HITS / (extreme[HITS - 1] + 1) if len(extreme) >= HITS else (1 + len(extreme)) / (many + 1)
        )
        assert (count.p_value == count.least) == (len(extreme) == 0)


def test_a_table_with_itself_is_the_same_both_ways_and_the_same_again():
    xs = {i: heavy([3, i]) for i in range(8)}
    one, again = (null_table("cka_debiased", xs, seed=2) for _ in range(2))
    assert one.p_value.equals(again.p_value) and one.p_value.to_numpy() == pytest.approx(
        one.p_value.to_numpy().T, rel=1e-6
    )
    assert (np.diag(one.adjusted()) == 1).all()


@pytest.mark.parametrize("name", ["cka", "cka_rbf", "distance_correlation", "rsa"])
def test_other_measures_are_counted_alike(name):
    xs, ys = (
        {i: heavy([4, i], n=60, sigma=1.5) for i in range(6)},
        {i: heavy([5, i], n=60, sigma=1.5) for i in range(6)},
    )
    table = null_table(name, xs, ys, n_permutations=1999)
    i, j = np.unravel_index(np.argmin(table.p_value.to_numpy()), table.p_value.shape)
    assert table.p_value.iloc[i, j] == pytest.approx(
        permutation_test(name, xs[i], ys[j], n_permutations=1999, seed=3).p_value, rel=0.7, abs=0.004
    )


def test_cells_without_a_value_or_a_null_are_masked_on_request():
    rng = np.random.default_rng(0)
    xs = {"a": rng.normal(size=(20, 3)), "b": rng.normal(size=(20, 3)), "same": np.ones((20, 2)), "apart": np.eye(20)}
    with pytest.raises(rs.measures.UndefinedError):
        null_table("cka", xs)
    table = null_table("cka", xs, on_undefined="mask")
    assert np.isfinite(table.p_value.loc["a", "b"]) and table.p_value.loc["a", ["same", "apart"]].isna().all()
    assert "constant" in table.undefined["a", "same"] and "every order" in table.undefined["a", "apart"]
    assert not table.above().loc["a", "same"] and table.adjusted().loc["a", "apart"] == 1
    assert "1 of" in repr(table) or "0 of" in repr(table)


def test_how_many_permutations():
    assert (
        permutations_for(1, 100) == MOST
        and permutations_for(10**6, 1000) == FEWEST
        and FEWEST < permutations_for(500, 1000) < MOST
    )


@pytest.mark.parametrize("n", [5, 8, 40])
def test_nothing_is_left_of_one_odd_sample_once_it_is_u_centred(n):
    """By features its squared length is a difference of large numbers, so rounding of 1e-9 looked like a value."""
    x = np.ones((n, 2))
    x[0] += [1, 2]
    y = np.random.default_rng(0).normal(size=(n, 3))
    for call in (
        lambda: DEBIASED(x, y),
        lambda: DEBIASED(y, x),
        lambda: rs.compare(DEBIASED, {"x": x, "y": y}),
        lambda: null_table(DEBIASED, {"x": x}, {"y": y}),
    ):
        with pytest.raises(rs.measures.UndefinedError, match="nothing is left"):
            call()
