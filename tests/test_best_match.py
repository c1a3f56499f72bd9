"""The best pair of a table: values of each order, p-values that know of the choice, and what cannot be tested."""

import itertools

import numpy as np
import pytest
from sizes import fewest, most, sized

import repsim_nb as rs
from repsim_nb.measures import get
from repsim_nb.results.inference import shared_permutations
from repsim_nb.results.inference.shared_permutations import tables_of_orders
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.workers import SERIAL


def sides(rng, n, shared=0.0, rows=2, columns=3):
    """Layers that resemble those of their own side, and, if asked for, one of the other side."""
    bases = rng.normal(size=(2, n, 6))
    xs = {f"a{k}": bases[0] + 0.7 * rng.normal(size=(n, 6)) for k in range(rows)}
    ys = {f"b{k}": bases[1] + 0.7 * rng.normal(size=(n, 6)) for k in range(columns)}
    ys["b1"] = ys["b1"] + shared * xs["a0"]
    return xs, ys


MEASURES = ("cka", "cka_debiased", "cka_rbf", "rsa", "distance_correlation", "procrustes", "mutual_knn", "mean_cca")


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_of_orders_are_those_of_reordered_samples(rng, monkeypatch, name, dtype):
    monkeypatch.setattr(shared_permutations, "_ENTRIES", 90)  # blocks of three rows, the last one smaller
    xs, ys = ([x.astype(dtype) for x in side.values()] for side in sides(rng, 31, 0.5))
    orders = np.stack([np.arange(31), *(rng.permutation(31) for _ in range(9))])
    ticks = []
    found, rounding = tables_of_orders(get(name), xs, ys, orders, SERIAL, lambda *given: ticks.append(given))
    direct = [[[get(name)(x, y[order]) for y in ys] for x in xs] for order in orders]
    assert found.shape == (10, 2, 3) and np.allclose(found, direct, rtol=0, atol=rounding) and rounding < 1e-4
    assert ticks[-1][0] == ticks[-1][1] and ticks == sorted(ticks)


def test_matrices_that_do_not_fit_are_taken_in_parts(rng, monkeypatch):
    xs, ys = (list(side.values()) for side in sides(rng, 30, 0.5, 3, 5))
    orders = np.stack([rng.permutation(30) for _ in range(20)])
    whole, _ = tables_of_orders(get("cka"), xs, ys, orders, SERIAL, lambda *_: None)
    monkeypatch.setattr(shared_permutations, "MATRIX_BYTES", 2 * 4 * 30 * 30)
    ticks = []
    parts, _ = tables_of_orders(get("cka"), xs, ys, orders, SERIAL, lambda *given: ticks.append(given))
    assert np.allclose(parts, whole, rtol=0, atol=1e-12) and ticks[-1] == (6 * 20, 6 * 20)


@pytest.mark.parametrize("name", ["cka", "procrustes"])
def test_all_orders_of_few_samples_give_the_exact_p_value(rng, name):
    xs, ys = sides(rng, 6, 0.8)
    sign = 1 if get(name).kind == "similarity" else -1
    tables = np.array(
        [
            [[sign * get(name)(x, y[list(order)]) for y in ys.values()] for x in xs.values()]
            for order in itertools.permutations(range(6))
        ]
    )
    of_rows = tables.max(2)
    z = (tables - tables.mean(0)) / tables.std(0)
    adjusted = [[np.mean(z.max((1, 2)) >= cell - 1e-8) for cell in row] for row in z[0]]
    for statistic, of in (
        ("max", tables.max((1, 2))),
        ("mean", tables.mean((1, 2))),
        ("mean_best", tables.max(2).mean(1)),
    ):
        found = rs.inference.best_match(name, xs, ys, statistic=statistic)
        assert np.isclose(found.value, sign * of[0]) and found.p_value == np.mean(of >= of[0] - 1e-10), statistic
        assert found.n_permutations == 720 and np.allclose(found.null, sign * of)
        assert np.allclose(found.rows["p_value"], (of_rows >= of_rows[0] - 1e-10).mean(0))
        assert np.allclose(found.adjusted, adjusted)


def test_a_planted_pair_is_found_and_the_others_are_not(rng):
    xs, ys = sides(rng, 80, 1.0, 3, 4)
    found = rs.inference.best_match("cka", xs, ys, n_permutations=199)
    assert found.pair == ("a0", "b1") and found.p_value == 1 / 200 and found.rows.loc["a0", "match"] == "b1"
    assert np.isclose(found.value, found.comparison.values.to_numpy().max()) and 0 < found.corrected < 1
    assert found.adjusted.loc["a0", "b1"] == 1 / 200 and (found.rows["p_adjusted"] >= found.rows["p_value"]).all()
    assert found.corrected == pytest.approx((found.value - found.threshold) / (1 - found.threshold))
    assert found.significant().loc["a0", "b1"] and not found.significant().drop(columns="b1").to_numpy().any()
    same = rs.inference.best_match("cka", xs, ys, n_permutations=199)
    assert same.p_value == found.p_value and (same.null == found.null).all(), "the seed decides"
    assert "best pair: a0 and b1" in repr(found) and "p_adjusted" in str(found) and "b1" in found._repr_html_()


def test_a_dissimilarity_is_judged_like_the_similarity_it_mirrors(rng):
    xs, ys = sides(rng, 40, 0.6)
    cka = get("cka")
    mirrored = rs.measures.from_function(
        lambda x, y: 1 - cka(x, y), kind="dissimilarity", symmetric=True, range=(0, 1), name="mirrored"
    )
    one, other = (rs.inference.best_match(m, xs, ys, n_permutations=99) for m in (cka, mirrored))
    assert one.pair == other.pair and one.p_value == other.p_value and np.allclose(one.adjusted, other.adjusted)
    assert np.isclose(one.value, 1 - other.value) and np.isclose(one.threshold, 1 - other.threshold)
    assert np.isclose(one.corrected, other.corrected) and np.allclose(one.null, 1 - other.null)
    assert np.allclose(one.rows["value"], 1 - other.rows["value"])


def test_the_best_of_unrelated_layers_is_no_discovery():
    """Family-wise error .05, with layers that resemble each other; the best pair alone would be above chance far more
    often.
    """
    draws, found, alone = sized(60, 1000), [], []
    for seed in range(draws):
        xs, ys = sides(np.random.default_rng(seed), 24, rows=4, columns=4)
        one = rs.inference.best_match("cka", xs, ys, n_permutations=99, seed=seed)
        found.append((one.p_value <= 0.05, one.significant().to_numpy().any()))
        x, y = xs[one.pair[0]], ys[one.pair[1]]
        alone.append(rs.inference.null_moments("cka", x, y).p_value(one.value) <= 0.05)
    for errors in np.sum(found, axis=0):
        assert fewest(draws, 0.05) <= errors <= most(draws, 0.05)
    assert np.mean(alone) > 0.15


def test_a_wide_layer_with_a_high_chance_level_hides_no_narrow_one(rng):
    n = 50
    x = rng.normal(size=(n, 3))
    xs = {"narrow": x}
    ys = {"wide": rng.normal(size=(n, 400)), "narrow": 0.8 * x + rng.normal(size=(n, 3))}
    found = rs.inference.best_match("cka_rbf", xs, ys, n_permutations=199)
    assert found.adjusted.loc["narrow", "narrow"] <= 0.01 < 0.05 < found.adjusted.loc["narrow", "wide"]


def test_the_statistic_may_be_a_function_of_the_table(rng):
    xs, ys = sides(rng, 30, 1.0, 3, 3)

    def same_depth(table):
        return np.trace(table)

    found = rs.inference.best_match("cka", xs, ys, statistic=same_depth, n_permutations=49)
    assert found.statistic == "same_depth" and np.isclose(found.value, np.trace(found.comparison.values))
    assert found.corrected is None and 1 / 50 <= found.p_value <= 1
    with pytest.raises(ValueError, match="statistic must return one finite number for a table; <lambda> returned"):
        rs.inference.best_match("cka", xs, ys, statistic=lambda table: table[0], n_permutations=49)
    for wrong in (np.nan, "large"):
        with pytest.raises(ValueError, match="statistic must return one finite number"):
            rs.inference.best_match("cka", xs, ys, statistic=lambda table, it=wrong: it, n_permutations=49)
    with pytest.raises(ValueError, match="unknown statistic 'maxx'. Did you mean 'max'"):
        rs.inference.best_match("cka", xs, ys, statistic="maxx")


def test_the_labels_of_the_best_pair_are_those_of_the_sides(rng):
    xs, ys = (
        {f"{model}/{layer}": x for layer, x in side.items()}
        for model, side in zip("ab", sides(rng, 80, 1.0), strict=True)
    )
    xs, ys = rs.from_arrays(xs), rs.from_arrays(ys)
    found = rs.inference.best_match("cka", xs, ys, n_permutations=19)
    assert np.isclose(rs.measures.get("cka")(xs[found.pair[0]], ys[found.pair[1]]), found.value)
    first, second = (f"{key.model}/{key.layer}" for key in found.pair)
    assert f"best pair: {first} and {second};" in repr(found)


def test_rows_of_groups_are_averaged(rng):
    xs, ys = sides(rng, 60, 1.0)
    groups = np.repeat(range(20), 3)
    found = rs.inference.best_match("cka", xs, ys, groups=groups, n_permutations=99)
    means = [{name: x.reshape(20, 3, -1).mean(1) for name, x in side.items()} for side in (xs, ys)]
    direct = rs.inference.best_match("cka", *means, n_permutations=99)
    assert found.permuted == "group means" and direct.permuted == "samples"
    assert found.value == pytest.approx(direct.value) and found.p_value == direct.p_value


def test_what_cannot_be_tested_is_said(rng):
    xs, ys = sides(rng, 30)
    with pytest.raises(ValueError, match="needs more than 9 permutations. Use n_permutations=19 or more"):
        rs.inference.best_match("cka", xs, ys, n_permutations=9)
    with pytest.raises(ValueError, match="level"):
        rs.inference.best_match("cka", xs, ys, level=1.5)
    with pytest.raises(UndefinedError, match="constant"):
        rs.inference.best_match("cka", xs, {**ys, "flat": np.ones((30, 2))})
    with pytest.raises(UndefinedError, match="'a0' and 'even': every order of the samples gives the same value"):
        rs.inference.best_match("cka", xs, {**ys, "even": np.eye(30)}, n_permutations=19)
    with pytest.raises(ValueError, match="samples"):
        rs.inference.best_match("cka", xs, {"b": np.ones((20, 2))})
    with pytest.raises(ValueError, match="'a0' is on both sides, where it is its own best match"):
        rs.inference.best_match("cka", xs, {**ys, "a0": xs["a0"]})
    for wrong in (xs["a0"], list(xs.values())):
        with pytest.raises(TypeError, match="best_match takes xs as a mapping of labels to arrays"):
            rs.inference.best_match("cka", wrong, ys)
    with pytest.raises(ValueError, match="seed must be an integer >= 0; got -1"):
        rs.inference.best_match("cka", xs, ys, seed=-1)
    with pytest.raises(TypeError, match="best_match needs two sides"):
        rs.inference.best_match("cka", xs, None)
    found = rs.inference.best_match("cka", xs, ys, n_permutations=19)
    with pytest.raises(ValueError, match="level"):
        found.significant(5)


def test_progress_can_stop_it(rng):
    class Enough(Exception):
        pass

    def stop(done, total):
        if done > 16:
            raise Enough

    with pytest.raises(Enough):
        rs.inference.best_match("cka", *sides(rng, 30), progress=stop)


def test_a_heatmap_marks_what_the_search_leaves_above_chance(rng):
    found = rs.inference.best_match("cka", *sides(rng, 80, 1.0), n_permutations=99)
    spec = rs.spec(found)
    assert (0, 1) in spec.marks and {j for _, j in spec.marks} == {1} and "family-wise error 5 %" in spec.mark_meaning
    assert "family-wise error 5 %" in rs.plots.heatmap(found).figure.axes[0].get_title()
    assert len(rs.plots.heatmaps([found, found.comparison])) == 2


@pytest.mark.parametrize("name", ["cka_debiased", "procrustes"])
def test_layers_without_a_value_are_left_out_of_the_test(rng, name):
    xs, ys = sides(rng, 40, 1.0)
    without = rs.inference.best_match(name, xs, ys, n_permutations=99)
    xs, ys = {"dead": np.ones((40, 3)), **xs}, {**ys, "still": np.zeros((40, 2))}
    with pytest.raises(UndefinedError, match="'dead'"):
        rs.inference.best_match(name, xs, ys, n_permutations=99)
    found = rs.inference.best_match(name, xs, ys, n_permutations=99, on_undefined="mask")
    assert found.rows.equals(without.rows) and found.pair == without.pair and found.p_value == without.p_value
    assert found.comparison.values.shape == found.adjusted.shape == (3, 4) and len(found.comparison.undefined) == 6
    assert found.adjusted.iloc[1:, :3].equals(without.adjusted) and found.adjusted.isna().to_numpy().sum() == 6
    assert not found.significant()["still"].any() and len(rs.spec(found).marks) == without.significant().sum().sum()
    with pytest.raises(UndefinedError, match="no pair is left.*constant"):
        rs.inference.best_match(name, {"dead": xs["dead"]}, ys, on_undefined="mask")


def test_rdms_with_missing_pairs_are_tested_pair_by_pair(rng):
    layers = {f"b{k}": rng.normal(size=(20, 4)) for k in range(2)}
    distances = rs.measures.first_order(layers["b1"] + 0.3 * rng.normal(size=(20, 4)), "euclidean")
    missing = np.zeros((20, 20), bool)
    missing[0, 1] = missing[1, 0] = True
    found = rs.inference.best_match("rsa", {"people": rs.RDM(distances, missing=missing)}, layers, n_permutations=39)
    assert found.pair == ("people", "b1") and found.p_value == 1 / 40
    whole = rs.inference.best_match("rsa", {"people": rs.RDM(distances)}, layers, n_permutations=39)
    assert np.allclose(found.null, whole.null, atol=0.03)


def test_a_pair_that_no_order_changes_leaves_the_others_their_test(rng):
    x, noise = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    ys = {"near": x + 0.5 * rng.normal(size=(30, 4)), "far": noise}  # of noise no unit finds a partner at this price
    measure = rs.measures.PartialSoftMatching(price=0.1)
    with pytest.raises(UndefinedError, match="'x' and 'far': every order"):
        rs.inference.best_match(measure, {"x": x}, ys, n_permutations=39)
    found = rs.inference.best_match(measure, {"x": x}, ys, n_permutations=39, on_undefined="mask")
    assert found.pair == ("x", "near")
    assert found.p_value == found.adjusted.loc["x", "near"] == 1 / 40 and found.adjusted.loc["x", "far"] == 1
