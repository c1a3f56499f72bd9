"""Rows that depend on each other: whole groups are left out, exchanged, drawn; pairs of rows within a group do not
count.
"""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sizes import sized

import repsim_nb as rs
from benchmarks import hard_nulls
from repsim_nb.measures import CKA, RSA, DistanceCorrelation
from repsim_nb.measures.between import between_groups, matrices_between
from repsim_nb.results.inference import (
    chance_corrected,
    influence,
    interval,
    null_moments,
    null_table,
    permutation_test,
    sample_size,
)
from repsim_nb.results.inference.grouped_rows import group_means, permute_groups, rows_by_group
from repsim_nb.support.row_labels import attach_labels

PAIRWISE = [
    CKA(debiased=True),
    CKA(debiased=True, kernel="rbf"),
    CKA(debiased=True, kernel="rbf", median="off_diagonal"),
    DistanceCorrelation(debiased=True),
    RSA(),
    RSA(second="pearson"),
    RSA(first="euclidean", second="cosine"),
]


def sides(groups=12, size=4, seed=0, correlation=0.7):
    return hard_nulls.related(np.random.default_rng(seed), groups, size, correlation)


def by_hand(x, y, codes):
    """Debiased CKA of rows of four different groups, each four as often."""

    def hsic(k, m):
        found = []
        for i, j, q, r in itertools.permutations(range(len(codes)), 4):
            if len({codes[i], codes[j], codes[q], codes[r]}) == 4:
                found.append(k[i, j] * m[i, j] - 2 * k[i, j] * m[i, q] + k[i, j] * m[q, r])
        return np.mean(found)

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


def test_debiased_cka_between_groups_is_a_mean_over_four_groups():
    rng = np.random.default_rng(0)
    codes = np.array([0, 3, 0, 1, 1, 1, 2, 3, 4, 4])
    x = rng.normal(size=(10, 3)) + 5
    y = x[:, :2] + rng.normal(size=(10, 2))
    assert between_groups(CKA(debiased=True))(x, y, codes) == pytest.approx(by_hand(x, y, codes), rel=1e-9)


def test_rsa_between_groups_is_the_correlation_of_pairs_of_different_groups():
    x, y = sides()
    codes = np.repeat(np.arange(12), 4)
    apart = np.tri(48, k=-1, dtype=bool) & (codes[:, None] != codes)
    expected = stats.spearmanr(np.corrcoef(x)[apart], np.corrcoef(y)[apart]).statistic
    assert between_groups(RSA())(x, y, codes) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("measure", PAIRWISE, ids=str)
def test_groups_of_one_row_are_the_measure_itself(measure):
    x, y = sides(30, 1)
    assert between_groups(measure)(x, y, np.random.default_rng(1).permutation(30)) == pytest.approx(
        measure(x, y), abs=1e-9
    )


@pytest.mark.parametrize("measure", PAIRWISE, ids=str)
def test_matrices_give_the_value_of_every_exchange(measure):
    x, y = sides()
    rng = np.random.default_rng(2)
    codes = rng.permutation(np.repeat(np.arange(12), 4))
    one, other = matrices_between(measure, x, y, codes)
    for order in (np.arange(12), rng.permutation(12)):
        moved = permute_groups(rows_by_group(codes), order)
        assert np.vdot(one, other[np.ix_(moved, moved)]) == pytest.approx(
            between_groups(measure)(x, y[moved], codes), abs=1e-9
        )


def test_an_exchange_moves_whole_groups_in_their_order():
    codes = np.array([1, 0, 1, 0, 2, 2])
    assert permute_groups(rows_by_group(codes), np.array([2, 0, 1])).tolist() == [1, 4, 3, 5, 0, 2]


@pytest.mark.parametrize("correlation", [0.3, 0.9])
def test_intervals_hold_the_value_of_rows_of_other_groups(correlation):
    rng = np.random.default_rng(7)
    value = np.mean([rs.measures.get("cka_debiased")(*hard_nulls.related(rng, 4000, 1, correlation)) for _ in range(3)])
    held = alone = 0
    for seed in range(25):
        x, y = sides(25, 8, seed, correlation)
        held += value in interval("cka_debiased", x, y, groups=np.repeat(np.arange(25), 8))
        alone += value in interval("cka_debiased", x, y)
    assert held >= 20 and (correlation < 0.9 or alone < held - 5), (
        "rows taken as independent make intervals that are far too short"
    )


def test_p_values_are_uniform_with_groups_and_far_too_small_without():
    labels, with_groups, without, closed = np.repeat(np.arange(20), 5), [], [], []
    for seed in range(sized(40, 100)):
        rng = np.random.default_rng(seed)
        x, y = (hard_nulls.grouped(rng, 20, 5, 0.7, 6) for _ in range(2))
        with_groups.append(permutation_test("cka_debiased", x, y, groups=labels, n_permutations=99, seed=seed).p_value)
        without.append(null_moments("cka_debiased", x, y).p_value(rs.measures.get("cka_debiased")(x, y)))
        closed.append(null_table("cka_debiased", {"x": x}, {"y": y}, groups=labels).p_value.iloc[0, 0])
    for p in (with_groups, closed):
        assert stats.kstest(p, "uniform").pvalue > 0.001
    assert np.mean(np.array(without) < 0.01) > 0.3


def test_groups_of_unlike_sizes_are_means_of_as_many_rows_each():
    """Means of more rows vary less, on both sides alike: exchanged as they are, a sixth of unrelated pairs would have p
    below .05.
    """
    p = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(60), rng.integers(1, 21, 60))
        x, y = rng.normal(size=(2, len(labels), 10))
        test = permutation_test("cka_debiased", x, y, groups=labels, n_permutations=99, seed=seed)
        p.append(test.p_value)
    assert test.permuted == "group means" and "group means" in repr(test)
    assert np.mean(np.array(p) <= 0.05) <= stats.binom(120, 0.05).ppf(0.999) / 120
    x = np.arange(12.0)[:, None]
    assert group_means(x, np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2])).ravel().tolist() == [2.0, 4.5, 8.5]
    assert group_means(x, np.repeat([1, 0, 2], 4)).ravel().tolist() == [5.5, 1.5, 9.5]


@pytest.mark.parametrize(
    "kind",
    [
        list,
        np.array,
        torch.tensor,
        pd.Series,
        pd.Categorical,
        lambda v: np.array(v)[:, None],
        lambda v: [f"sentence {i}" for i in v],
    ],
)
def test_labels_of_all_kinds_are_the_same_groups(kind):
    x, y = sides(24, 3)
    labels = np.repeat(np.arange(24), 3).tolist()
    assert interval("cka_debiased", x, y, groups=kind(labels)).low == interval("cka_debiased", x, y, groups=labels).low
    assert permutation_test("procrustes", x, y, groups=kind(labels), n_permutations=19).p_value == 0.05


def test_arrays_that_know_their_groups_use_them():
    x, y = sides(24, 3)
    labels = np.repeat(np.arange(24), 3)
    known = attach_labels(x, groups=labels)
    assert (
        interval("cka_debiased", known, y).low
        == interval("cka_debiased", x, y, groups=labels).low
        != interval("cka_debiased", x, y).low
    )
    assert influence("cka_debiased", known, y).shape == (24,)
    assert permutation_test("cka", x, known, n_permutations=9).permuted == "groups"
    table = null_table("cka", {"x": known}, {"y": y})
    assert table.comparison.n == 24 and table.permuted == "group means" and "n=24 group means" in repr(table)
    assert null_moments("cka", known, y).mean == null_moments("cka", x, y, groups=labels).mean
    assert (
        chance_corrected("cka", known, y)
        == chance_corrected("cka", x, y, groups=labels)
        != chance_corrected("cka", x, y)
    )
    assert interval("cka_debiased", known, y, groups=range(72)).low == interval("cka_debiased", x, y).low, (
        "rows that are called independent are"
    )


def test_influence_is_the_value_less_that_without_the_group():
    x, y = sides(10, 3)
    codes = np.repeat(np.arange(10), 3)
    for measure in (CKA(debiased=True), rs.measures.get("procrustes")):

        def value(rows, measure=measure):
            return (
                between_groups(measure)(x[rows], y[rows], codes[rows])
                if isinstance(measure, CKA)
                else measure(x[rows], y[rows])
            )

        found = influence(measure, x, y, groups=codes)
        assert found == pytest.approx([value(np.arange(30)) - value(np.flatnonzero(codes != k)) for k in range(10)])


def test_sizes_are_numbers_of_groups():
    x, y = sides(60, 4)
    found = sample_size("cka_debiased", x, y, groups=np.repeat(np.arange(60), 4), within=0.2)
    assert found.seen == 60 and found.curve.index.max() == 60 and "groups" in repr(found)


def test_labels_keep_to_the_index_of_the_samples():
    x, y = (pd.DataFrame(side, index=[f"s{i}" for i in range(60)]) for side in sides(20, 3))
    labels = pd.Series(np.repeat(np.arange(20), 3), index=x.index)
    moved = labels.sample(frac=1, random_state=0)
    for function in (interval, permutation_test, null_moments, influence, sample_size, chance_corrected):
        with pytest.raises(ValueError, match="another order"):
            function("cka_debiased", x, y, groups=moved)
    with pytest.raises(ValueError, match="another order"):
        null_table("cka_debiased", {"x": x}, {"y": y}, groups=moved)
    with pytest.raises(ValueError, match="rs.align"):
        null_table("cka_debiased", {"x": x}, {"y": y.iloc[::-1]}, groups=labels)
    with pytest.raises(ValueError, match="same samples"):
        null_table("cka_debiased", {"x": x}, {"y": y.iloc[:30]}, groups=labels)


def test_rows_that_look_grouped_are_asked_for():
    x, y = sides(25, 8, correlation=0.9)
    z = np.random.default_rng(0).normal(size=x.shape)
    for function in (interval, permutation_test, null_moments, chance_corrected):
        with pytest.warns(UserWarning, match="groups=") as issued:
            function("cka_debiased", x, y)
        assert [one.filename for one in issued] == [__file__] * len(issued), "the line of the caller"
    with pytest.warns(UserWarning, match="groups="):
        null_table("cka_debiased", {"x": x, "y": y})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        permutation_test("cka_debiased", x, z, n_permutations=9)  # independent rows of one side make the test valid
        interval("cka_debiased", x, y, groups=np.repeat(np.arange(25), 8))
        interval("cka_debiased", x, y, groups=range(200))
        interval("cka_debiased", z, z + 1 * np.random.default_rng(1).normal(size=z.shape))


def test_tensors_with_gradients_are_read():
    x, y = (torch.tensor(side, requires_grad=True) for side in sides(24, 3))
    labels = np.repeat(np.arange(24), 3)
    assert null_moments("cka", x, y, groups=labels).mean > 0
    assert permutation_test("cka", x, y, groups=labels, n_permutations=9).p_value == 0.1


def test_what_cannot_be_is_an_error():
    x, y = sides(24, 3)
    labels = np.repeat(np.arange(24), 3)
    with pytest.raises(ValueError, match="procrustes has no form without the pairs of rows within a group.*groupby"):
        interval("procrustes", x, y, groups=labels)
    with pytest.raises(ValueError, match="at least 20 groups.*there are 18"):
        interval("cka_debiased", x[:54], y[:54], groups=labels[:54])
    with pytest.raises(ValueError, match="groups (holds|needs) one label for each of 72; there are 70"):
        permutation_test("cka", x, y, groups=labels[:70])
    with pytest.raises(ValueError, match="at least 4 groups, .*the 72 rows are in 2 groups"):
        null_moments("cka_debiased", x, y, groups=labels // 12)
    with pytest.raises(ValueError, match="at least 20 .*; there are 1"):
        sample_size("cka_debiased", x, y, groups=[0] * 72)
    with pytest.raises(NotImplementedError, match="RSA"):
        between_groups(RSA(diagonal=True))
    with pytest.raises(ValueError, match="n_permutations=999"):
        chance_corrected("procrustes", x, y, groups=labels, level=0.999, n_permutations=199)
    with pytest.raises(rs.measures.UndefinedError, match="4 groups"):
        influence("cka_debiased", x[:12], y[:12], groups=labels[:12])
