"""Null distributions by permutation, in closed form and for whole tables; and that p-values are calibrated."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sizes import sized
from test_measures import EVERYTHING, outputs, pair_of

import repsim_nb as rs
from repsim_nb.measures import ALL, CKA, RSA, DistanceCorrelation, MutualKNN
from repsim_nb.results.inference import Moments, NullTable, chance_corrected, null_moments, null_table, permutation_test
from repsim_nb.results.inference.results import tail
from repsim_nb.support.errors import Stopped, UndefinedError

CLOSED = {
    "cka": CKA(),
    "cka_debiased": CKA(debiased=True),
    "cka_rbf": CKA(kernel="rbf"),
    "cka_rbf_debiased": CKA(kernel="rbf", debiased=True),
    "distance_correlation": DistanceCorrelation(),
    "distance_correlation_debiased": DistanceCorrelation(debiased=True),
    **{
        f"rsa_{f}_{s}_{d}": RSA(first=f, second=s, diagonal=d)
        for f in ("correlation", "cosine", "dot", "euclidean")
        for s in ("spearman", "pearson", "cosine")
        for d in (False, True)
    },
}
NOT_CLOSED = {
    "cka_minibatch": ALL["cka_minibatch"],
    "root": DistanceCorrelation(squared=False),
    "rows": RSA(second="row_pearson"),
    **{
        name: ALL[name]
        for name in (
            "rsa_cosine",
            "mean_cca",
            "procrustes",
            "mutual_knn",
            "linear_predictivity",
            "gulp",
            "disagreement",
        )
    },
}
FEW = ("cka", "cka_debiased", "cka_rbf", "distance_correlation", "rsa_correlation_spearman_False")


def unlike(n, p=3, q=7, seed=0):
    """Two sides of other width, scale and mean, a little related."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) + 0.5
    y = rng.normal(size=(n, q)) * np.arange(1, q + 1)
    y[:, 0] += x[:, 0]
    return x, y


def of_all(measure, x, y):
    return np.array([measure(x, y[list(order)]) for order in itertools.permutations(range(len(x)))])


def skewness(values):
    return ((values - values.mean()) ** 3).mean() / values.std() ** 3


# -- by permutation


@pytest.mark.parametrize(
    "name",
    [
        "cka",
        "cka_minibatch",
        "mean_cca",
        "procrustes",
        "gulp",
        "rsa_cosine",
        "distance_correlation",
        "soft_matching",
        "disagreement",
        "kl",
    ],
)
def test_few_samples_have_all_their_orders_counted(name):
    measure = ALL[name]
    x, y = outputs(n=5) if measure.compares == "outputs" else unlike(5, p=2, q=1 if name == "mean_cca" else 4)
    found, values = permutation_test(measure, x, y), of_all(measure, x, y)
    assert found.n_permutations == 120 and found.statistic == pytest.approx(values[0], abs=1e-12)
    assert np.allclose(np.sort(found.null), np.sort(values), rtol=0, atol=1e-10)
    extreme = values >= values[0] - 1e-9 if measure.kind == "similarity" else values <= values[0] + 1e-9
    assert found.p_value == extreme.mean() and found.alternative == (
        "greater" if measure.kind == "similarity" else "less"
    )


def test_random_orders_are_reproducible_and_never_give_0():
    x, y = pair_of(n=40)
    found = permutation_test("cka", x, y, n_permutations=199, seed=3)
    assert (
        found.p_value == 1 / 200
        and len(found.null) == 199
        and found.statistic == rs.measures.get("cka")(x, y) > found.null.max()
    )
    assert np.array_equal(found.null, permutation_test("cka", x, y, n_permutations=199, seed=3).null)
    assert not np.array_equal(found.null, permutation_test("cka", x, y, n_permutations=199, seed=4).null)
    rng = np.random.default_rng(3)
    assert np.allclose(found.null[:5], [CKA()(x, y[rng.permutation(40)]) for _ in range(5)], rtol=0, atol=1e-12), (
        "in the order of the seed"
    )


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_every_measure_can_be_permuted(name):
    measure = EVERYTHING[name]
    x, y = outputs(n=50) if measure.compares == "outputs" else pair_of(n=50)
    y = y[np.random.default_rng(2).permutation(len(y))]
    if type(measure).__name__ in ("MagnitudeDifference", "ConcentricityDifference", "UniformityDifference"):
        with pytest.raises(UndefinedError, match="is the same for every order of the samples"):
            permutation_test(measure, x, y, n_permutations=19)
        return
    found = permutation_test(measure, x, y, n_permutations=19)
    order = np.random.default_rng(0).permutation(len(y))
    assert found.null[0] == pytest.approx(measure(x, y[order]), abs=1e-9) and 0.05 <= found.p_value <= 1


@pytest.mark.parametrize("name", ["cka", "distance_correlation", "rsa_cosine", "procrustes"])
def test_orders_of_equal_value_are_counted_in_float32_too(name):
    """One sample of twenty is unlike the others: which sample of y it meets is all there is, so no p-value is below .05
    but by the luck of the draw.
    """
    x = np.full((20, 2), [0, 1], np.float32)
    x[3] = 1, 0
    for seed in range(12):
        y = np.random.default_rng(seed).normal(size=(20, 4)).astype(np.float32)
        found, fine = (
            permutation_test(name, x.astype(kind), y.astype(kind), n_permutations=199, seed=seed)
            for kind in (np.float32, np.float64)
        )
        assert found.p_value == fine.p_value > 0.02


def test_torch_and_half_precision_are_permuted_too():
    x, y = pair_of(n=30)
    value = permutation_test("procrustes", x, y, n_permutations=9).null
    assert np.allclose(permutation_test("procrustes", torch.tensor(x), y, n_permutations=9).null, value, atol=1e-9)
    assert np.allclose(
        permutation_test("rsa", torch.tensor(x).float(), torch.tensor(y).float(), n_permutations=9).null,
        permutation_test("rsa", x, y, n_permutations=9).null,
        atol=1e-3,
    )


def test_permutations_can_be_stopped_and_say_what_is_wrong():
    x, y = pair_of(n=30)

    def stop(done, total):
        if done:
            raise Stopped

    with pytest.raises(Stopped):
        permutation_test("cka", x, y, progress=stop)
    with pytest.raises(ValueError, match="n_permutations must be an integer >= 1"):
        permutation_test("cka", x, y, n_permutations=0)
    with pytest.raises(ValueError, match="exact must be True"):
        permutation_test("cka", x, y, exact="yes")
    with pytest.raises(ValueError, match="of up to 9 samples .*; there are 30"):
        permutation_test("cka", x, y, exact=True)
    with pytest.raises(ValueError, match="same samples"):
        permutation_test("cka", x, y[:-1])
    with pytest.raises(UndefinedError, match="constant"):
        permutation_test("cka", x, np.ones((30, 2)))
    assert permutation_test("cka", x[:7], y[:7], exact=False, n_permutations=9).n_permutations == 9


# -- in closed form


@pytest.mark.parametrize("n", [4, 5, 6])
@pytest.mark.parametrize("name", list(CLOSED))
def test_moments_are_those_of_all_orders(name, n):
    measure, (x, y) = CLOSED[name], unlike(n)
    values = permutation_test(measure, x, y).null
    assert len(values) == math.factorial(n)
    found, table = null_moments(measure, x, y), null_table(measure, {"x": x}, {"y": y})
    wanted = values.mean(), values.var(), skewness(values)
    assert np.allclose((found.mean, found.variance, found.skewness), wanted, rtol=0, atol=1e-9)
    assert np.allclose(
        (table.mean.iloc[0, 0], table.sd.iloc[0, 0] ** 2, table.skewness.iloc[0, 0]), wanted, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("name", FEW)
def test_moments_are_those_of_many_orders(name):
    measure, (x, y) = CLOSED[name], unlike(200, p=20, q=60)
    found, null = null_moments(measure, x, y), permutation_test(measure, x, y, n_permutations=10_000).null
    assert abs(found.mean - null.mean()) < 4 * found.sd / 100
    assert found.sd == pytest.approx(null.std(), rel=0.05) and found.skewness == pytest.approx(skewness(null), abs=0.15)
    assert found.quantile(0.95) == pytest.approx(np.quantile(null, 0.95), abs=0.15 * found.sd)
    for level in (0.5, 0.05, 0.01):
        assert np.mean(null >= found.quantile(1 - level)) == pytest.approx(
            level, abs=4 * math.sqrt(level * (1 - level) / 10_000) + 0.005
        )


@pytest.mark.parametrize(("n", "p", "q"), [(60, 5, 300), (300, 30, 250), (600, 400, 20)])
@pytest.mark.parametrize("name", FEW)
def test_wide_and_narrow_in_either_precision_are_the_same(name, n, p, q):
    """Other ways to the same sums: products of features, kept matrices, several blocks of rows, float32."""
    measure, (x, y) = CLOSED[name], unlike(n, p, q)
    plain = null_moments(measure, x, y)
    for kind, close in ((np.float64, 1e-8), (np.float32, 2e-3)):
        table = null_table(measure, {"x": x.astype(kind)}, {"y": y.astype(kind)})
        assert table.mean.iloc[0, 0] == pytest.approx(plain.mean, abs=close * plain.sd + 1e-12)
        assert table.sd.iloc[0, 0] == pytest.approx(plain.sd, rel=close) and table.skewness.iloc[0, 0] == pytest.approx(
            plain.skewness, abs=close
        )


def test_the_mean_for_centred_matrices_is_known():
    x, y = unlike(50, 10, 30)
    d = [np.trace(c) ** 2 / np.trace(c @ c) for c in (np.cov(x.T), np.cov(y.T))]
    assert null_moments("cka", x, y).mean == pytest.approx(math.sqrt(d[0] * d[1]) / 49, abs=1e-12)
    assert null_moments("cka_debiased", x, y).mean == pytest.approx(0, abs=1e-15)


def test_p_values_and_quantiles_are_of_one_curve():
    found = Moments(0.2, 0.01, 0.5, 1e-6)
    assert found.sd == pytest.approx(0.1) and found.p_value(found.quantile(0.9)) == pytest.approx(0.1, abs=1e-9)
    assert found.p_value(50.0) == 1e-6 and Moments(0.2, 0.01, -0.5).p_value(50.0) > 0, "never 0"
    gamma = stats.gamma(a=16, scale=0.1 / 4)  # the same curve: skewness 2/√a, sd √a · scale
    assert found.p_value(0.35) == pytest.approx(gamma.sf(0.35 - 0.2 + 16 * 0.1 / 4), abs=1e-9)
    with pytest.raises(ValueError, match="level"):
        found.quantile(1.5)


@pytest.mark.parametrize("name", list(NOT_CLOSED))
def test_other_measures_take_permutations(name):
    measure = NOT_CLOSED[name]
    x, y = outputs() if measure.compares == "outputs" else pair_of()
    for call in (lambda: null_moments(measure, x, y), lambda: null_table(measure, {"x": x, "y": y})):
        with pytest.raises(NotImplementedError, match="has no closed form here: .* Use permutation_test"):
            call()


def test_where_every_order_gives_the_same_nothing_stands_above_it():
    _, y = unlike(8)
    with pytest.raises(UndefinedError, match="every order of the samples gives the same value"):
        null_moments("cka", np.eye(8), y)
    with pytest.raises(UndefinedError, match="'apart' and 'apart'.*every order|'apart' and 'other'.*every order"):
        null_table("cka", {"apart": np.eye(8, dtype=np.float32), "other": y})
    with pytest.raises(UndefinedError, match="constant"):
        null_moments("cka", y, np.ones((8, 2)))


# -- tables


def some(count=6, n=40, seed=0):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(n, 5))
    return {
        f"r{k}": (
            (base if k < 3 else rng.normal(size=(n, 5))) @ rng.normal(size=(5, 4 + k))
            + 0.5 * rng.normal(size=(n, 4 + k))
        )
        for k in range(count)
    }


@pytest.mark.parametrize("name", FEW)
def test_a_table_is_compare_with_the_null_of_every_cell(name):
    measure, xs = CLOSED[name], some()
    ticks = []
    table = null_table(measure, xs, progress=lambda done, total: ticks.append((done, total)))
    assert ticks[-1][0] == ticks[-1][1] > 0
    assert table.comparison.values.equals(rs.compare(measure, xs).values) and table.value is table.comparison.values
    for frame in (table.mean, table.sd, table.skewness, table.z, table.p_value, table.adjusted(), table.above()):
        assert frame.index.equals(table.value.index) and frame.columns.equals(table.value.columns)
    for i, j in ((0, 1), (5, 2), (4, 4)):
        a, b = xs[f"r{i}"], xs[f"r{j}"]
        one = null_moments(measure, a, b)
        assert table.mean.iloc[i, j] == pytest.approx(one.mean, abs=1e-10) and table.sd.iloc[i, j] == pytest.approx(
            one.sd, rel=1e-8
        )
        if one.count is None:
            assert table.p_value.iloc[i, j] == pytest.approx(one.p_value(measure(a, b)), rel=1e-5)
        assert table.z.iloc[i, j] == pytest.approx((measure(a, b) - one.mean) / one.sd, rel=1e-8)
    left, right = ({k: xs[k] for k in keys} for keys in (("r0", "r4"), ("r1", "r2", "r5")))
    assert np.allclose(
        null_table(measure, left, right).p_value, table.p_value.loc[list(left), list(right)], rtol=1e-6, atol=1e-12
    )


def test_adjusted_p_values_count_each_pair_once_and_no_item_with_itself():
    xs = some()
    table = null_table("cka", xs)
    upper = np.triu_indices(6, 1)
    wanted = stats.false_discovery_control(table.p_value.to_numpy()[upper])
    adjusted = table.adjusted()
    assert (
        np.allclose(adjusted.to_numpy()[upper], wanted)
        and np.array_equal(adjusted, adjusted.T)
        and (np.diag(adjusted) == 1).all()
    )
    above = table.above()
    assert (
        (above.to_numpy()[upper] == (wanted <= 0.05)).all()
        and not np.diag(above).any()
        and above.iloc[0, 1]
        and not above.iloc[4, 5]
    )
    assert table.above(1e-300).to_numpy().sum() == 0
    both = null_table("cka", xs, xs)
    assert both.above().to_numpy().diagonal().all(), "two sets that happen to be equal are tested like any other"
    assert np.allclose(both.adjusted(), stats.false_discovery_control(both.p_value.to_numpy().ravel()).reshape(6, 6))
    with pytest.raises(ValueError, match="rate must be a number between 0 and 1, the fraction of false discoveries"):
        table.above(5)
    alone = null_table("cka", {"a": xs["r0"]})
    assert alone.adjusted().iloc[0, 0] == 1 and not alone.above().iloc[0, 0]


def test_a_table_says_in_a_line_what_it_found():
    table = null_table("cka", some())
    found = int(table.above().to_numpy().sum()) // 2
    assert (
        repr(table) == f"NullTable(cka, 6 × 6, n=40: {found} of 15 pairs above their null (false discovery rate 5 %))"
    )
    page = table._repr_html_()
    assert (
        page.count("•") == 2 * found + 1 and f"{table.value.iloc[0, 1]:.3f} •" in page and isinstance(table, NullTable)
    )


def test_a_table_has_the_errors_of_compare():
    xs = some()
    for call in (rs.compare, null_table):
        with pytest.raises(UndefinedError, match="'flat'.*constant"):
            call("cka", {**xs, "flat": np.ones((40, 3))})
        with pytest.raises(UndefinedError, match="'far'.*all samples are equally far"):
            call("cka_debiased", {**xs, "far": np.eye(40)})
        with pytest.raises(ValueError, match="same samples"):
            call("cka", {**xs, "short": np.ones((39, 3))})
        with pytest.raises(TypeError, match="mapping of labels"):
            call("cka", list(xs.values()))


# -- calibrated values


@pytest.mark.parametrize(
    ("name", "p", "n"),
    [
        ("cka", 10, 50),
        ("cka", 500, 50),
        ("cka_debiased", 500, 50),
        ("distance_correlation", 50, 100),
        ("rsa", 10, 60),
        ("cka", 200, 500),
    ],
)
def test_unrelated_data_are_0_in_95_of_100(name, p, n):
    rng = np.random.default_rng(1)
    draws = 120 if n < 500 else 40
    zero = np.mean(
        [chance_corrected(name, rng.normal(size=(n, p)), rng.normal(size=(n, p))) == 0 for _ in range(draws)]
    )
    assert abs(zero - 0.95) < 3.3 * math.sqrt(0.95 * 0.05 / draws)


@pytest.mark.parametrize("name", ["cka", "cka_debiased", "rsa", "procrustes", "mean_cca", "mutual_knn", "disagreement"])
def test_identical_are_1_and_by_permutation_unrelated_are_0(name):
    measure = ALL[name]
    x, y = outputs() if measure.compares == "outputs" else pair_of(n=80)
    assert chance_corrected(measure, x, x, n_permutations=99) == pytest.approx(1, abs=1e-6)
    assert 0 < chance_corrected(measure, x, y, n_permutations=99) < 1
    rng = np.random.default_rng(5)
    zero = [chance_corrected(measure, x, y[rng.permutation(len(y))], n_permutations=39) == 0 for _ in range(30)]
    assert np.mean(zero) >= 0.8


@pytest.mark.parametrize("name", ["cka", "distance_correlation"])
def test_calibrated_values_of_other_widths_and_numbers_of_samples_can_be_compared(name):
    """One relation, 3 parts of 10 of the variance in common, at 10 and 200 features and 60 and 200 samples: raw values
    lie far apart, calibrated ones do not.
    """
    rng = np.random.default_rng(0)
    raw, fair = {}, {}
    for n, p in itertools.product((60, 200), (10, 200)):
        pairs = [(x := rng.normal(size=(n, p)), 0.3**0.5 * x + 0.7**0.5 * rng.normal(size=(n, p))) for _ in range(6)]
        raw[n, p], fair[n, p] = (
            np.mean([value(*pair) for pair in pairs])
            for value in (rs.measures.get(name), lambda x, y: chance_corrected(name, x, y))
        )
    assert np.ptp(list(raw.values())) > 0.35 and np.ptp(list(fair.values())) < 0.08
    assert all(0.2 < value < 0.33 for value in fair.values())


def test_what_cannot_be_calibrated_says_so():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 10, 40))
    with pytest.raises(UndefinedError, match="as good as the best possible value"):
        chance_corrected(MutualKNN(k=9), x, y)
    unbounded = rs.measures.from_function(
        lambda a, b: float((a * b[:, :1]).sum()),
        kind="similarity",
        symmetric=True,
        name="unbounded",
        range=(-np.inf, np.inf),
    )
    with pytest.raises(ValueError, match="infinite"):
        chance_corrected(unbounded, x, y)


# -- p-values are calibrated


@pytest.mark.parametrize("name", ["cka", "cka_debiased", "distance_correlation", "rsa"])
def test_p_values_in_closed_form_are_uniform_where_nothing_is_related(name):
    rng, found = np.random.default_rng(11), []
    for _ in range(sized(150, 1000)):
        x, y = rng.normal(size=(30, 4)), rng.exponential(size=(30, 6))
        null = null_moments(name, x, y, n_permutations=sized(999, 9999))
        found.append(null.p_value(ALL[name](x, y)))
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_p_values_of_a_table_are_uniform_where_nothing_is_related():
    """1,600 cells; those of one row share a representation, which leaves each uniform and makes them hardly
    dependent.
    """
    rng = np.random.default_rng(12)
    xs, ys = ({f"{side}{k}": rng.normal(size=(40, 3 + k % 9)) for k in range(40)} for side in "xy")
    table = null_table("cka", xs, ys)
    assert stats.kstest(table.p_value.to_numpy().ravel(), "uniform").pvalue > 0.01
    assert abs(table.z.to_numpy().mean()) < 0.1 and table.z.to_numpy().std() == pytest.approx(1, abs=0.05)
    assert table.above().to_numpy().mean() < 0.01


def test_p_values_by_permutation_are_uniform_where_nothing_is_related():
    rng = np.random.default_rng(13)
    found = [
        permutation_test("cka", rng.normal(size=(15, 3)), rng.normal(size=(15, 5)), n_permutations=39, seed=k).p_value
        - rng.uniform(0, 1 / 40)
        for k in range(sized(400, 1000))
    ]
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("name", FEW)
def test_what_is_related_is_found(name):
    measure, rng = CLOSED[name], np.random.default_rng(14)
    found = []
    for _ in range(40):
        x = rng.normal(size=(50, 5))
        y = x @ rng.normal(size=(5, 5)) + 2 * rng.normal(size=(50, 5))
        found.append(null_moments(measure, x, y).p_value(measure(x, y)))
    assert np.mean(np.array(found) < 0.05) > 0.8


# -- on a heat map


def dots(ax):
    (drawn,) = [c for c in ax.collections if c.get_gid() == "marks"]
    return drawn


def test_a_heat_map_marks_what_stands_above_its_null():
    table = null_table("cka", some())
    ax = rs.plots.heatmap(table)
    assert {(round(y), round(x)) for x, y in dots(ax).get_offsets()} == {
        tuple(cell) for cell in np.argwhere(table.above().to_numpy())
    }
    assert ax.get_title().endswith("• above its null, false discovery rate 5 %")
    inks = {tuple(colour[:3]) for colour in dots(ax).get_facecolors()}
    assert inks <= {(0, 0, 0), (1, 1, 1)}
    marks = table.value > 0.9
    ax = rs.plots.heatmap(table.comparison, marks=marks, marks_mean="over .9", title="mine")
    assert len(dots(ax).get_offsets()) == marks.to_numpy().sum() and ax.get_title() == "mine\n• over .9"
    assert not [c for c in rs.plots.heatmap(table.comparison).collections if c.get_gid() == "marks"]
    many = rs.compare("cka", some(60))
    crowded = dots(rs.plots.heatmap(many, marks=many.values > 0.5))
    assert np.allclose(np.asarray(crowded.get_offsets()) % 1, 0), "in the middle of small cells"


def test_marks_have_the_labels_of_the_table():
    comparison = rs.compare("cka", some())
    with pytest.raises(ValueError, match="marks must have the labels of the table"):
        rs.plots.heatmap(comparison, marks=(comparison.values > 0.5).iloc[:3])
    with pytest.raises(ValueError, match="with other labels"):
        rs.plots.heatmap(comparison, marks=pd.DataFrame(np.ones((6, 6), bool)))
    for wrong in (comparison.values, comparison.values.to_numpy() > 0.5):
        with pytest.raises(TypeError, match="a DataFrame of True and False"):
            rs.plots.heatmap(comparison, marks=wrong)


def test_one_outlier_is_counted_and_named():
    """The outliers meet in a fraction 1/n of all orders, which a curve of three moments does not show (p .005)."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 40, 5))
    x[3], y[3] = 100 * x[3], 100 * y[3]
    table = null_table("cka", {"x": x}, {"y": y})
    by_permutation = permutation_test("cka", x, y, n_permutations=19_999).p_value
    assert table.counted.iloc[0, 0] and tail(table.z.iloc[0, 0], table.skewness.iloc[0, 0], 0) < 0.006
    assert table.p_value.iloc[0, 0] == pytest.approx(by_permutation, rel=0.5) and 0.01 < by_permutation < 1 / 40
    assert sum(finding.title == "outliers" for finding in rs.reliability.diagnose(x, y).findings) == 2


def test_the_p_value_of_an_undefined_value_is_undefined():
    """Also if tails are counted, in which no random value is NaN or more."""
    by_curve = Moments(0.0, 1.0, 0.0)
    by_count = Moments(0.0, 1.0, 0.0, 0.01, lambda: np.arange(99.0))
    assert np.isnan(by_curve.p_value(np.nan)) and np.isnan(by_count.p_value(np.nan))
    assert by_count.p_value(100.0) == 0.01 and by_count.p_value(49.0) == pytest.approx(51 / 100)
