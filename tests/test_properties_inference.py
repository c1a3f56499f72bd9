"""p-values, moments, intervals and tests of tables on odd data: what all orders give, or leaving out by hand, or a
sentence.
"""

import functools
import itertools
import math

import independent
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from odd_data import KINDS, MEASURES, Refused, expected, is_coarse, numbers, outcome, quick, sides, value_and_right
from scipy import stats

import repsim_nb as rs
from repsim_nb import inference

# -- permutations of samples

CLOSED = (
    "cka",
    "cka_debiased",
    "cka_rbf",
    "distance_correlation",
    "dcor debiased",
    "rsa",
    "rsa euclidean pearson False",
    "rsa dot cosine True",
    "rsa correlation spearman True",
)
OPEN = (
    "mutual cosine 1",
    "jaccard euclidean 3",
    "cknna 2",
    "procrustes",
    "nbs",
    "mean_cca",
    "gulp",
    "dcor",
    "rsa cosine row_cosine False",
    "output_rank",
    "kappa",
    "disagreement",
)


def all_orders(name, case):
    """The definition over all orders of the second side -> (values, the definition's own); None where one has none."""
    definition, precision = MEASURES[name][1], max(case[0][2], case[1][2])
    x, y, n = case[0][1], case[1][1], case[4]
    if (MEASURES[name][0].compares == "outputs" and x.shape[1] != y.shape[1]) or n < MEASURES[name][0].min_samples:
        return None
    values = [
        expected(lambda order=order: definition(x, y[list(order)], precision))
        for order in itertools.permutations(range(n))
    ]
    return None if None in values else np.array(values)


small = functools.partial(
    sides,
    low=4,
    high=5,
    kinds=tuple(kind for kind in KINDS if kind != "offset"),
    forms=("float64", "int8", "frame", "sparse", "torch", "bool"),
)


@pytest.mark.parametrize("name", CLOSED + OPEN)
@quick(6)
@given(case=small())
def test_a_p_value_is_the_share_of_all_orders(name, case):
    values, measure = all_orders(name, case), MEASURES[name][0]
    found = outcome(lambda: inference.permutation_test(measure, case[0][0], case[1][0]))
    if values is None:
        assert isinstance(found, Refused), f"{name}: {found}, which is undefined"
        return
    assert not isinstance(found, Refused), f"{name} of {case[2]} and {case[3]}: {found}"
    seen, sign = values[0], 1 if measure.kind == "similarity" else -1
    assert found.statistic == pytest.approx(seen, abs=3e-7)
    # equal values of a root differ by the root of rounding
    near = (np.mean(sign * values >= sign * seen + 1e-7), np.mean(sign * values >= sign * seen - 1e-7))
    assert near[1] > 0 and near[0] - 1e-12 <= found.p_value <= near[1] + 1e-12, (
        f"{name} of {case[2]} and {case[3]}: p = {found.p_value}, and {near} of all orders"
    )
    if name not in ("dcor", "distance_correlation", "dcor debiased", "cka_rbf") and "euclidean" not in name:
        assert found.p_value == pytest.approx(near[1]), f"{name} of {case[2]} and {case[3]}"
    turned = outcome(
        lambda: inference.permutation_test(
            measure, case[0][1], case[1][1][:, ::-1] if measure.compares == "activations" else case[1][1]
        )
    )
    assert near[0] - 1e-12 <= turned.p_value <= near[1] + 1e-12, "columns in another order"


@pytest.mark.parametrize("name", CLOSED)
@quick(6)
@given(case=small())
def test_null_moments_are_those_of_all_orders(name, case):
    values, measure = all_orders(name, case), MEASURES[name][0]
    found = outcome(lambda: inference.null_moments(measure, case[0][0], case[1][0], n_permutations=199))
    table = outcome(lambda: inference.null_table(measure, {"x": case[0][0]}, {"y": case[1][0]}, n_permutations=199))
    score = outcome(lambda: inference.chance_corrected(measure, case[0][0], case[1][0], n_permutations=199))
    if values is None or values.std() <= 1e-8:
        assert isinstance(found, Refused) and isinstance(table, Refused) and isinstance(score, Refused), (
            f"{name} of {case[2]} and {case[3]}: {found}, {table}, {score}"
        )
        return
    assert not isinstance(found, Refused) and not isinstance(table, Refused), (
        f"{name} of {case[2]} and {case[3]}: {found}, {table}"
    )
    n, right = case[4], (values.mean(), values.std(), stats.skew(values))
    assert (found.mean, found.sd) == pytest.approx(right[:2], abs=1e-6)
    assert found.skewness == pytest.approx(right[2], abs=1e-3)
    cells = [
        float(frame.iloc[0, 0])
        for frame in (table.value, table.mean, table.sd, table.skewness, table.p_value, table.least)
    ]
    assert cells[:4] == pytest.approx([values[0], *right], abs=1e-3)
    for p in (found.p_value(values[0]), cells[4]):
        assert 1 / math.factorial(n) <= p * (1 + 1e-9) and p <= 1
    assert cells[4] >= cells[5] > 0
    if table.counted.iloc[0, 0]:
        exact = np.mean(values >= values[0] - 1e-7)
        assert abs(cells[4] - exact) <= 5 * math.sqrt(exact * (1 - exact) / 199) + 0.01
    elif found.count is None:
        curve = stats.pearson3.sf((values[0] - right[0]) / right[1], right[2])
        assert cells[4] == pytest.approx(np.clip(curve, cells[5], 1), abs=0.01)
        assert found.quantile(0.9) == pytest.approx(right[0] + right[1] * stats.pearson3.ppf(0.9, right[2]), abs=1e-3)
    assert isinstance(score, Refused) or 0 <= score <= 1 + 1e-9


@pytest.mark.parametrize("name", [*CLOSED, *OPEN, "linear_predictivity", "pwcca"])
@quick(4)
@given(case=sides(low=12, high=16))
def test_p_values_by_random_orders_are_counts(name, case):
    measure = MEASURES[name][0]
    found = outcome(lambda: inference.permutation_test(measure, case[0][0], case[1][0], n_permutations=19))
    score = outcome(lambda: inference.chance_corrected(measure, case[0][0], case[1][0], n_permutations=19))
    chance = outcome(lambda: inference.chance_values(measure, {"x": case[0][0], "y": case[1][0]}, n_pairs=3))
    assert isinstance(score, Refused) or 0 <= score <= 1 + 1e-9
    assert isinstance(chance, Refused) or (chance.shape == (3,) and np.isfinite(chance).all())
    if isinstance(found, Refused):
        return
    sign = 1 if measure.kind == "similarity" else -1
    assert np.isfinite(found.null).all() and len(found.null) == 19
    counts = [(1 + np.sum(sign * found.null >= sign * found.statistic - slack)) / 20 for slack in (-3e-6, 3e-6)]
    assert counts[0] - 1e-12 <= found.p_value <= counts[1] + 1e-12 and found.p_value >= 1 / 20
    right = value_and_right(name, case)[1]
    if right is not None and not is_coarse(case[2]) and not is_coarse(case[3]):
        assert found.statistic == pytest.approx(right, abs=3e-3)


@quick(6)
@given(case=small(low=8, high=8, kinds=("normal", "lognormal", "grouped")))
def test_groups_of_rows_are_exchanged_and_pairs_within_do_not_count(case):
    groups = np.repeat(np.arange(4), 2)
    x, y = case[0][1], case[1][1]
    if np.ptp(x, axis=0).max() == 0 or np.ptp(y, axis=0).max() == 0:
        return
    kernels = independent.gram(x), independent.gram(y)
    own = [independent.hsic_of_four(k, k, groups) for k in kernels]
    found = outcome(
        lambda: inference.permutation_test("cka_debiased", case[0][0], case[1][0], groups=[f"s{g}" for g in groups])
    )
    if min(own) <= 1e-12:
        assert isinstance(found, Refused) or abs(min(own)) < 1e-12
        return
    assert not isinstance(found, Refused), found
    values = []
    for order in itertools.permutations(range(4)):
        rows = np.concatenate([[2 * g, 2 * g + 1] for g in order])
        values.append(
            independent.hsic_of_four(kernels[0], kernels[1][np.ix_(rows, rows)], groups) / math.sqrt(own[0] * own[1])
        )
    assert found.permuted == "groups" and found.statistic == pytest.approx(values[0], abs=1e-8)
    assert found.p_value == pytest.approx(np.mean(np.array(values) >= values[0] - 1e-9))


# -- intervals and single samples

RESAMPLED = (
    "cka_debiased",
    "cka",
    "rsa",
    "rsa euclidean pearson False",
    "distance_correlation",
    "procrustes",
    "mutual euclidean 3",
    "gulp",
    "kappa",
    "jsd",
)


def of_rows(name, case):
    """The definition for some of the samples."""
    (_, x, one), (_, y, other) = case[:2]
    return lambda rows: MEASURES[name][1](x[rows], y[rows], max(one, other))


@pytest.mark.parametrize("name", RESAMPLED)
@quick(3)
@given(case=sides(low=20, high=22, forms=("float64", "frame", "sparse", "int8", "torch")))
def test_an_interval_is_the_jackknife_twice(name, case):
    measure, n, parts = MEASURES[name][0], case[4], 5
    found = outcome(lambda: inference.interval(measure, case[0][0], case[1][0], parts=parts, seed=1))
    part, value = np.random.default_rng(1).permutation(n) % parts, of_rows(name, case)
    if measure.compares == "outputs" and case[0][1].shape[1] != case[1][1].shape[1]:
        assert isinstance(found, Refused)
        return

    def unbiased(kept):
        rows = np.isin(part, kept)
        return len(kept) * value(rows) - (len(kept) - 1) * np.mean([value(rows & (part != k)) for k in kept])

    def jackknife():
        estimate = unbiased(range(parts))
        without = np.array([unbiased([k for k in range(parts) if k != left]) for left in range(parts)])
        return estimate, math.sqrt((parts - 1) / parts * ((without - without.mean()) ** 2).sum()) * stats.t.ppf(
            0.975, parts - 1
        )

    right = expected(jackknife)
    if right is None or right[1] < 1e-7:
        assert isinstance(found, Refused) or (right is not None and found.high - found.low < 1e-6), (
            f"{name} of {case[2]} and {case[3]}: {found}, {right}"
        )
        return
    assert not isinstance(found, Refused), f"{name} of {case[2]} and {case[3]}: {found}"
    assert found.low <= found.estimate <= found.high
    assert (found.estimate, found.high - found.estimate) == pytest.approx(right, abs=1e-4), (
        f"{name} of {case[2]} and {case[3]}"
    )


@pytest.mark.parametrize("name", RESAMPLED)
@quick(4)
@given(case=sides(low=6, high=12, forms=("float64", "frame", "sparse", "int8", "torch", "bool")))
def test_influence_is_leaving_out(name, case):
    measure, n = MEASURES[name][0], case[4]
    found = outcome(lambda: inference.influence(measure, case[0][0], case[1][0]))
    value = of_rows(name, case)
    if (measure.compares == "outputs" and case[0][1].shape[1] != case[1][1].shape[1]) or n <= measure.min_samples:
        assert isinstance(found, Refused)
        return
    right = expected(lambda: np.array([value(np.arange(n)) - value(np.delete(np.arange(n), i)) for i in range(n)]))
    if right is None:
        assert isinstance(found, Refused), f"{name} of {case[2]} and {case[3]}: {found}, which is undefined"
        return
    constant = measure.compares == "outputs" and any(np.ptp(side[1], axis=0).max() == 0 for side in case[:2])
    assert not isinstance(found, Refused) or constant, f"{name} of {case[2]} and {case[3]}: {found}"
    if not isinstance(found, Refused):
        assert found == pytest.approx(right, abs=1e-5), f"{name} of {case[2]} and {case[3]}"


@quick(8)
@given(
    case=sides(low=24, high=28, forms=("float64", "frame", "sparse", "float32", "torch")),
    name=st.sampled_from(("cka_debiased", "rsa", "procrustes")),
)
def test_sample_sizes_and_sets(case, name):
    measure, value, n = MEASURES[name][0], of_rows(name, case), case[4]
    x, y = case[0][0], case[1][0]
    size = outcome(lambda: inference.sample_size(measure, x, y, sizes=[10, n]))
    if not isinstance(size, Refused):
        assert (
            np.isfinite(size.curve.to_numpy()).all()
            and math.isfinite(size.limit)
            and (size.enough is None or size.enough >= 1)
        )
        assert (size.curve["low"] <= size.curve["mean"]).all() and (size.curve["mean"] <= size.curve["high"]).all()
        assert size.limit == pytest.approx(inference.interval(measure, x, y).estimate)
        if not is_coarse(case[2]) and not is_coarse(case[3]):
            assert size.curve["mean"][n] == pytest.approx(value(np.arange(n)), abs=3e-3)
    items = {"a": x, "b": y, "c": numbers("normal", n, 3, 5), "d": numbers("lognormal", n, 4, 6)}
    blocks = outcome(lambda: inference.block_means(measure, items, {"a": 1, "b": 1, "c": 2, "d": 2}, parts=5))
    if isinstance(blocks, Refused):
        return
    assert (
        np.isfinite(blocks.to_numpy(float)).all()
        and (blocks["low"] <= blocks["mean"]).all()
        and (blocks["mean"] <= blocks["high"]).all()
    )
    if not is_coarse(case[2]) and not is_coarse(case[3]):
        assert blocks["mean"][1, 1] == pytest.approx(value(np.arange(n)), abs=3e-3)
        assert blocks["mean"][2, 2] == pytest.approx(MEASURES[name][1](items["c"], items["d"], 1e-12), abs=1e-6)
    table = rs.compare(measure, items, progress=False)
    sets = outcome(lambda: inference.sample_sets(measure, items, table, [10, n], n_sets=3))
    if not isinstance(sets, Refused):
        assert (
            np.isfinite(sets.to_numpy(float)).all()
            and (sets["low"] <= sets["high"]).all()
            and (sets["mean"].abs() <= 1 + 1e-9).all()
        )
        assert sets["mean"][n] == pytest.approx(1)


@quick(20)
@given(case=sides(low=6, high=30))
def test_diagnose_says_what_is_there(case):
    found = outcome(lambda: rs.reliability.diagnose(case[0][0], case[1][0]))
    constant = any(np.ptp(side[1], axis=0).max() == 0 for side in case[:2])
    if isinstance(found, Refused):
        assert constant or is_coarse(case[2]) or is_coarse(case[3]), found
        return
    assert not constant
    for finding in found.findings:
        assert len(finding.sentence) >= 30 and len(finding.advice) >= 20 and "nan" not in finding.sentence.split(), (
            finding
        )
    for side, name, (_, x, _) in zip(case[2:4], ("x", "y"), case[:2], strict=True):
        facts = found.facts[name]
        if is_coarse(side):
            continue
        values = np.linalg.eigvalsh(independent.gram(x))
        # features of the population are unrelated: as many directions as features, of which there is no limit
        some = facts.drop("participation ratio, corrected")
        numeric = [fact for fact in some if isinstance(fact, (float, np.floating))]
        assert np.isfinite(numeric).all(), facts
        assert facts["rank"] == np.linalg.matrix_rank(
            independent.unit(x), tol=1e-5 if "32" in side[1] or "16" in side[1] else 1e-7
        )
        assert facts["participation ratio"] == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-3)
    repr(found), found._repr_html_()


# -- tables of items


@st.composite
def tables(draw, low=4, high=12):
    """Dissimilarities of points, as a frame: with ties, copies, rounding, float32."""
    m, kind, seed = (
        draw(st.integers(low, high)),
        draw(st.sampled_from(("points", "grid", "codes", "copies", "lognormal", "constant"))),
        draw(st.integers(0, 999)),
    )
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(m, 3))
    if kind == "grid":
        points = rng.integers(0, 3, size=(m, 2)).astype(float)
    elif kind == "codes":
        points = np.eye(3)[rng.integers(0, 3, m)] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    elif kind == "copies":
        points = points[rng.integers(0, m // 2 + 1, m)]
    elif kind == "lognormal":
        points = points * np.exp(rng.normal(size=(m, 1)))
    elif kind == "constant":
        points = np.eye(m) @ np.linalg.qr(rng.normal(size=(m, m)))[0]
    d = np.sqrt(independent.squared_distances(points)).astype(float)
    precision = 1e-12
    if draw(st.booleans()):
        d, precision = d.astype(np.float32), 2e-6
    return d, precision, kind, seed


def pairs(d, precision):
    """The pairs, those equal up to rounding equal (m, m), with which the definitions start."""
    d = np.asarray(d, float)
    found = independent.tied(d.ravel(), precision).reshape(d.shape)
    return found, found[np.triu_indices(len(d), 1)]


def frame_of(d, seed=None):
    labels = [f"i{k}" for k in range(len(d))]
    frame = pd.DataFrame(d, labels, labels)
    return frame if seed is None else frame.sample(frac=1, random_state=seed).pipe(lambda f: f[f.index])


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
@quick(15)
@given(one=tables(4, 5), seed=st.integers(0, 99), alternative=st.sampled_from(["two-sided", "greater", "less"]))
def test_mantel_is_all_orders_of_items(kind, one, seed, alternative):
    d, m, rng = one[0], len(one[0]), np.random.default_rng(seed)
    e = np.round(np.sqrt(independent.squared_distances(rng.normal(size=(m, 2)))).astype(float), seed % 3)
    found = outcome(lambda: inference.rank_correlation(frame_of(d), frame_of(e, seed), kind, alternative))
    (_, a), (square, b) = pairs(d, one[1]), pairs(e, 1e-12)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert isinstance(found, Refused), f"{found} of {one[2]}"
        return
    correlate = stats.spearmanr if kind == "spearman" else stats.kendalltau
    values = np.array(
        [
            correlate(a, square[np.ix_(order, order)][np.triu_indices(m, 1)]).statistic
            for order in map(list, itertools.permutations(range(m)))
        ]
    )
    extreme = {
        "two-sided": np.abs(values) >= abs(values[0]) - 1e-9,
        "greater": values >= values[0] - 1e-9,
        "less": values <= values[0] + 1e-9,
    }[alternative]
    assert (found.statistic, found.p_value) == pytest.approx((values[0], extreme.mean()), abs=1e-9), one[2]


@quick(40)
@given(
    x=st.lists(st.integers(0, 5), min_size=3, max_size=5),
    seed=st.integers(0, 99),
    kind=st.sampled_from(["spearman", "kendall"]),
    noise=st.booleans(),
)
def test_rank_correlation_of_sequences_with_ties(x, seed, kind, noise):
    rng = np.random.default_rng(seed)
    x, y = np.array(x, float), rng.integers(0, 4, len(x)).astype(float)
    given_ = (0.1 * x + 0.2) * (1 + 2e-16 * rng.integers(-1, 2, len(x))) if noise else x
    sides_ = pd.Series(given_), torch.tensor(y) if seed % 2 else y.tolist()
    correlate, tests = stats.spearmanr if kind == "spearman" else stats.kendalltau, {}
    for p in ("exact", "asymptotic"):
        tests[p] = outcome(lambda p=p: inference.rank_correlation(*sides_, kind, p=p))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert all(isinstance(test, Refused) for test in tests.values())
        return
    values = np.array([correlate(x, y[list(order)]).statistic for order in itertools.permutations(range(len(x)))])
    assert (tests["exact"].statistic, tests["exact"].p_value) == pytest.approx(
        (values[0], np.mean(np.abs(values) >= abs(values[0]) - 1e-9))
    )
    assert (
        tests["asymptotic"].statistic == pytest.approx(values[0])
        and 1 / math.factorial(len(x)) <= tests["asymptotic"].p_value <= 1
    )
    steps = [*range(len(x)), "last"]
    runs = [pd.DataFrame({"run": [*side, 0.0]}, index=steps) for side in (given_, y)]
    assert rs.trajectories.correlate_runs(*runs, kind).loc["run", "statistic"] == pytest.approx(values[0])


@quick(15)
@given(one=tables(6, 9), seed=st.integers(0, 99))
def test_rank_intervals_leave_out_items(one, seed):
    d, m, rng = one[0], len(one[0]), np.random.default_rng(seed)
    e = np.round(
        np.asarray(d, float) + np.sqrt(independent.squared_distances(rng.normal(size=(m, 2)))).astype(float), 1
    )
    found = outcome(lambda: inference.rank_interval(frame_of(d), frame_of(e, seed)))
    (a, flat), (b, other) = pairs(d, one[1]), pairs(e, 1e-12)
    upper = np.triu_indices(m - 1, 1)
    without = [
        (np.delete(np.delete(a, k, 0), k, 1)[upper], np.delete(np.delete(b, k, 0), k, 1)[upper]) for k in range(m)
    ]
    if any(np.ptp(side) == 0 for pair in [(flat, other), *without] for side in pair):
        assert isinstance(found, Refused), f"{found} of {one[2]}"
        return
    rho, others = (
        stats.spearmanr(flat, other).statistic,
        np.array([stats.spearmanr(*pair).statistic for pair in without]),
    )
    reach = math.sqrt((m - 1) / m * ((others - others.mean()) ** 2).sum()) / (1 - rho**2) * stats.t.ppf(0.975, m - 1)
    assert not isinstance(found, Refused), found
    assert (found.low, found.estimate, found.high) == pytest.approx(
        (math.tanh(math.atanh(rho) - reach), rho, math.tanh(math.atanh(rho) + reach)), abs=1e-9
    ), one[2]


@quick(25)
@given(one=tables(6, 8), seed=st.integers(0, 99))
def test_groups_of_items(one, seed):
    d, m, rng = one[0], len(one[0]), np.random.default_rng(seed)
    codes = rng.permutation(np.arange(m) % 2)
    groups = pd.Series(np.array(["a", "b"])[codes], index=frame_of(d).index)
    tests = {
        test: outcome(lambda test=test: test(frame_of(d), groups, n_permutations=199))
        for test in (inference.anosim, inference.centre_test, inference.dispersion_test)
    }
    for test in tests.values():
        if not isinstance(test, Refused):
            assert np.isfinite(test.statistic) and 1 / 200 <= test.p_value <= 1 and not np.isnan(test.null).any()
    upper, (_, values) = np.triu_indices(m, 1), pairs(d, one[1])
    ranks, n_pairs = stats.rankdata(values), m * (m - 1) / 2
    orders = {order for order in itertools.permutations(codes.tolist())}

    def r(labels):
        within = np.equal.outer(labels, labels)[upper]
        return (ranks[~within].mean() - ranks[within].mean()) / (n_pairs / 2)

    seen, null = r(codes), np.array([r(np.array(order)) for order in orders])
    exact = np.mean(null >= seen - 1e-9)
    found = tests[inference.anosim]
    assert found.statistic == pytest.approx(seen, abs=1e-9), one[2]
    assert abs(found.p_value - exact) <= 5 * math.sqrt(exact * (1 - exact) / 199) + 0.01, one[2]
    vectors, eigenvalues = principal(d)
    points = vectors * np.sqrt(eigenvalues)
    members = [points[codes == k] for k in (0, 1)]
    distances = [
        np.linalg.norm(some - some.mean(0), axis=1) * math.sqrt(len(some) / (len(some) - 1)) for some in members
    ]
    spread, centre = tests[inference.dispersion_test], tests[inference.centre_test]
    if all(np.ptp(some) < 1e-4 for some in distances):
        return
    if not isinstance(spread, Refused):
        assert spread.statistic == pytest.approx(stats.f_oneway(*distances).statistic, rel=1e-3, abs=1e-4), one[2]
    if not isinstance(centre, Refused):
        variances = [((some - some.mean(0)) ** 2).sum() / (len(some) - 1) / len(some) for some in members]
        assert centre.statistic == pytest.approx(
            ((members[0].mean(0) - members[1].mean(0)) ** 2).sum() / sum(variances), rel=1e-3, abs=1e-4
        ), one[2]


def principal(d):
    """Points with these Euclidean distances."""
    values, vectors = np.linalg.eigh(-independent.double_centred(np.asarray(d, float) ** 2) / 2)
    return vectors, np.clip(values, 0, None)
