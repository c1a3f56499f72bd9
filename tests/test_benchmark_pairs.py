"""The benchmark over all pairs and over references: joint permutations, resamples of both ends, units, what F
allows.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import repsim_nb as rs
from repsim_nb import grounding, inference
from repsim_nb.results.grounding.item_values import residuals
from repsim_nb.results.grounding.noise import shrink
from repsim_nb.results.grounding.pair_sets import PairSets
from repsim_nb.results.inference.units import holm, simultaneous, units_of, widen_level


def square(values):
    return np.abs(values[:, None] - values)


def pairs_of(distance, f, layers, *, groups=None, reference=None):
    """Pairs of n models in some layers; distance (layers, n, n), f (n,)."""
    n = len(f)
    one, other = (
        np.triu_indices(n, 1) if reference is None else (np.full(n - 1, reference), np.delete(np.arange(n), reference))
    )
    place = np.repeat(np.arange(layers), len(one))
    x = np.concatenate([distance[layer][one, other] for layer in range(layers)])
    one, other = np.tile(one, layers), np.tile(other, layers)
    sets = {layer: np.flatnonzero(place == layer) for layer in range(layers)}
    units = units_of(pd.RangeIndex(n), groups)
    found = PairSets(
        one,
        other,
        (place, place),
        sets,
        np.abs(f[one] - f[other]),
        units,
        None if reference is None else np.array([reference]),
    )
    return found, {"x": x}


def spearman(a, b):
    return stats.spearmanr(a, b).statistic


@pytest.fixture
def small(rng):
    d = rng.normal(size=(2, 6, 6))
    return d + d.swapaxes(1, 2), rng.normal(size=6)


def test_one_order_of_models_is_used_for_all_layers(small):
    d, f = small
    found, xs = pairs_of(d, f, 2)
    null, every = found.null(xs, 9, 0)
    upper = np.triu_indices(6, 1)
    expected = [
        np.mean([spearman(layer[upper], square(f[list(order)])[upper]) for layer in d])
        for order in itertools.permutations(range(6))
    ]
    assert every and len(null) == 720
    np.testing.assert_allclose(np.sort(null[:, 0]), np.sort(expected), atol=1e-12)
    assert any(value == pytest.approx(expected[0]) for value in null[:1, 0])  # the first order is the one that was seen


def test_references_keep_their_place(small):
    d, f = small
    found, xs = pairs_of(d, f, 2, reference=2)
    null, every = found.null(xs, 9, 0)
    others, expected = [0, 1, 3, 4, 5], []
    for order in itertools.permutations(others):
        moved = dict(zip(others, order, strict=True))
        expected.append(
            np.mean([spearman([layer[2, j] for j in others], [abs(f[2] - f[moved[j]]) for j in others]) for layer in d])
        )
    assert every and len(null) == 120
    np.testing.assert_allclose(np.sort(null[:, 0]), np.sort(expected), atol=1e-12)


def test_groups_change_places_whole_and_so_do_levels_of_crossed_groupings(small):
    d, f = small
    upper = np.triu_indices(6, 1)

    def of(orders):
        return np.sort(
            [np.mean([spearman(layer[upper], square(f[np.array(order)])[upper]) for layer in d]) for order in orders]
        )

    found, xs = pairs_of(d, f, 2, groups=list("aabbcc"))
    null, every = found.null(xs, 9, 0)
    assert every and len(null) == 6
    np.testing.assert_allclose(
        np.sort(null[:, 0]),
        of([np.concatenate([[2 * k, 2 * k + 1] for k in order]) for order in itertools.permutations(range(3))]),
        atol=1e-12,
    )
    rng = np.random.default_rng(1)
    d9, f9 = rng.normal(size=(1, 9, 9)), rng.normal(size=9)
    d9 = d9 + d9.swapaxes(1, 2)
    crossed = pd.DataFrame({"first": np.repeat([0, 1, 2], 3), "second": np.tile([0, 1, 2], 3)})
    found, xs = pairs_of(d9, f9, 1, groups=crossed)
    null, every = found.null(xs, 9, 0)
    grid, upper = np.arange(9).reshape(3, 3), np.triu_indices(9, 1)
    expected = [
        spearman(d9[0][upper], square(f9[grid[np.ix_(a, b)].ravel()])[upper])
        for a in itertools.permutations(range(3))
        for b in itertools.permutations(range(3))
    ]
    assert every and len(null) == 36
    np.testing.assert_allclose(np.sort(null[:, 0]), np.sort(expected), atol=1e-12)


def test_both_ends_of_a_pair_are_drawn(small):
    d, f = small
    found, xs = pairs_of(d, f, 2)
    levels = found.units.draw_levels(np.random.default_rng(5), 40)
    drawn = found.draws(xs, 40, 5)["x"].to_numpy()
    one, other = np.triu_indices(6, 1)
    expected = []
    for counts in levels[0]:
        weights = counts[one] * counts[other]  # a model with its own copy is no pair
        expected.append(
            np.mean(
                [
                    (
                        spearman(np.repeat(layer[one, other], weights), np.repeat(np.abs(f[one] - f[other]), weights))
                        if (weights > 0).sum() > 1
                        else np.nan
                    )
                    for layer in d
                ]
            )
        )
    np.testing.assert_allclose(drawn, expected, atol=1e-12)


def test_a_group_that_is_drawn_twice_has_its_own_pairs_twice_and_none_with_its_copy():
    units = units_of(pd.RangeIndex(6), list("aabbcc"))
    counts = units.pair_counts([np.array([[2, 1, 0]])], np.array([0, 0, 2, 0]), np.array([1, 2, 3, 5]))
    assert counts.tolist() == [[2, 2, 1, 0]]
    assert units.counts([np.array([[2, 1, 0]])]).tolist() == [[2, 2, 1, 1, 0, 0]]


def seen(found, xs):
    return np.mean([spearman(xs["x"][rows], found.gap[rows]) for rows in found.sets.values()])


def test_given_takes_out_what_both_owe_to_another_number():
    """Representations follow another accuracy, and so does F: ρ is high; of what is left of F it is not, and its
    p-value holds.
    """
    plain, held = [], []
    for seed in range(150):
        rng = np.random.default_rng([seed, 11])
        c = rng.normal(size=12)
        z = np.stack([rng.normal(size=12) + 1.5 * c, rng.normal(size=12)], axis=1)
        d = np.linalg.norm(z[:, None] - z, axis=2)[None]
        f = c + 0.7 * rng.normal(size=12)
        for of, out in ((f, plain), (residuals(f, c, np.zeros(12)), held)):
            found, xs = pairs_of(d, of, 1)
            null, _ = found.null(xs, 99, seed)
            out.append((1 + np.sum(null[:, 0] >= seen(found, xs) - 1e-12)) / 100)
    assert np.mean(np.array(plain) <= 0.05) > 0.4 and np.mean(np.array(held) <= 0.05) < 0.1


def test_what_is_held_constant_is_a_line_in_each_layer():
    f, given, cells = np.array([1.0, 2, 3, 5, 9, 8, 7, 5]), np.array([0.0, 1, 2, 3, 0, 1, 2, 3]), np.repeat([0, 1], 4)
    left = residuals(f, given, cells)
    for k in (0, 1):
        assert left[cells == k] == pytest.approx(
            f[cells == k] - np.polyval(np.polyfit(given[:4], f[cells == k], 1), given[:4])
        )
    xs, f = population()
    other = {name: value**2 for name, value in f.items()}
    held = grounding.benchmark(xs, f, measures=["cka"], pairs="all", given=other, n_bootstrap=20)
    assert (
        held.pairs["gap"].max()
        < 0.1 * grounding.benchmark(xs, f, measures=["cka"], pairs="all", n_bootstrap=20).pairs["gap"].max()
    )
    with pytest.raises(ValueError, match="nothing is left"):
        grounding.benchmark(xs, f, measures=["cka"], pairs="all", given=f)
    with pytest.raises(ValueError, match="at least four models in each layer, with different values"):
        grounding.benchmark(xs, f, measures=["cka"], pairs="all", given=dict.fromkeys(f, 0.9))


def test_models_as_units_reject_too_often_where_seeds_are_the_units():
    plain, grouped = [], []
    groups = np.repeat(np.arange(5), 4)
    for seed in range(150):
        rng = np.random.default_rng([seed, 7])
        z, f = (0.8 * rng.normal(size=(5, k))[groups] + 0.6 * rng.normal(size=(20, k)) for k in (3, 1))
        d = np.linalg.norm(z[:, None] - z, axis=2)[None]
        for units, out in ((None, plain), (groups, grouped)):
            found, xs = pairs_of(d, f[:, 0], 1, groups=units)
            null, every = found.null(xs, 99, seed)
            out.append((np.sum(null[:, 0] >= seen(found, xs) - 1e-12) + (not every)) / (len(null) + (not every)))
    assert np.mean(np.array(plain) <= 0.1) > 0.2 and np.mean(np.array(grouped) <= 0.1) < 0.16


# -- the public functions


def population(models=8, layers=3, seed=0, slope=1.0):
    rng = np.random.default_rng(seed)
    f = {f"n{k}": 0.5 + 0.05 * k for k in range(models)}
    base = rng.normal(size=(40, 5))
    xs = {
        rs.Key(name, f"l{layer}", "d", 0, "flatten"): base + (1 + slope * f[name] * 4) * 0.3 * rng.normal(size=(40, 5))
        for name in f
        for layer in range(layers)
    }
    return xs, f


def test_all_pairs_within_each_layer_or_of_all_layers():
    xs, f = population()
    found = grounding.benchmark(xs, f, measures=["cka", "pwcca_all"], pairs="all", n_bootstrap=50)
    assert (
        found.pairing == "all" and len(found.pairs) == 3 * 28 and (found.pairs["layer1"] == found.pairs["layer2"]).all()
    )
    assert (
        "spearman_p" not in found.table
        and found.n_permutations == 1000
        and "1000 orders of models" in repr(found)
        and "all pairs" in found._repr_html_()
    )
    row = found.pairs.iloc[4]
    one, other = (
        next(x for key, x in xs.items() if (key.model, key.layer) == (row[f"model{e}"], row[f"layer{e}"]))
        for e in (1, 2)
    )
    both = [grounding.MEASURES["pwcca_all"](*sides) for sides in ((one, other), (other, one))]
    assert row["pwcca_all"] == pytest.approx(1 - np.mean(both)) and row["cka"] == pytest.approx(
        1 - rs.measures.CKA()(one, other)
    )
    assert found.table.loc["cka", "spearman"] == pytest.approx(
        np.mean([spearman(part["cka"], part["gap"]) for _, part in found.pairs.groupby("layer1")])
    )
    across = grounding.benchmark(xs, f, measures=["cka"], pairs="all", across=True, n_bootstrap=50)
    assert len(across.pairs) == 24 * 23 // 2 and list(across.sets.index.get_level_values("layer")) == ["all"]


def test_pairs_that_are_there_already_give_the_same():
    xs, f = population()
    found = grounding.benchmark(xs, f, measures=["cka", "procrustes"], pairs="all", n_bootstrap=50)
    again = grounding.rank_pairs(
        found.pairs, ["cka", "procrustes"], "gap", model="model", pairs="all", across=False, n_bootstrap=50
    )
    pd.testing.assert_frame_equal(found.table, again.table)
    pd.testing.assert_frame_equal(found.compare_with(), again.compare_with())


def test_models_of_one_group_are_one_unit():
    xs, f = population()
    groups = {name: f"g{int(name[1:]) // 2}" for name in f}
    found = grounding.benchmark(xs, f, measures=["cka"], pairs="all", groups=groups, n_bootstrap=50)
    assert (found.units, found.models, found.n_permutations) == (4, 8, 24) and "8 models in 4 units" in repr(found)
    frame, order_of = found.pairs, {name: k for k, name in enumerate(f)}
    frame = frame[frame["model1"].map(groups) != frame["model2"].map(groups)]
    counted = 0
    for order in itertools.permutations(range(4)):
        moved = {name: f[f"n{2 * order[k // 2] + k % 2}"] for name, k in order_of.items()}
        gap = np.abs(frame["model1"].map(moved) - frame["model2"].map(moved)).round(12)
        counted += (
            np.mean([spearman(part["cka"], gap[part.index]) for _, part in frame.groupby("layer1")])
            >= found.table.loc["cka", "spearman"] - 1e-12
        )
    assert found.table.loc["cka", "model_p"] == counted / 24 >= 1 / 24
    crossed = pd.DataFrame({"a": [k // 2 for k in range(8)], "b": [k % 2 for k in range(8)]}, index=list(f))
    with pytest.raises(ValueError, match="b: .* at least 3"):
        grounding.benchmark(xs, f, measures=["cka"], pairs="all", groups=crossed, n_bootstrap=50)
    few = grounding.benchmark(xs, f, measures=["cka"], groups=groups, n_bootstrap=50)
    assert few.n_permutations == 6 and "data cannot show whether" in few.about and few.table["detectable"].isna().all()
    uneven = {name: "one" if k < 5 else f"g{k}" for k, name in enumerate(f)}
    assert (
        grounding.benchmark(xs, f, measures=["cka"], pairs="all", groups=uneven, n_bootstrap=50).n_permutations == 6
    )  # the large group has none to change places with


def test_a_group_has_whole_models():
    xs, f = population()
    with pytest.raises(ValueError, match="a group consists of whole models, and items of 'n0', 'n1'"):
        grounding.benchmark(xs, f, measures=["cka"], pairs="all", groups=["a", "b", "c"] * 8, n_bootstrap=50)


def test_why_models_cannot_change_places_is_said():
    xs, f = population()
    lacking = {key: x for key, x in xs.items() if key != rs.Key("n0", "l0", "d", 0, "flatten")}
    crossed = pd.DataFrame({"a": [0, 0, 0, 1, 1, 1, 2, 2], "b": [0, 1, 2, 0, 1, 2, 0, 1]}, index=list(f))
    sizes = {name: "abbccccc"[k] for k, name in enumerate(f)}
    for given, groups, sentence in (
        (lacking, None, "models do not have the same items"),
        (xs, crossed, "every combination of a x b exactly once; there are 8 items"),
        (xs, sizes, "no two of these 3 have the same number of items"),
    ):
        found = grounding.benchmark(given, f, measures=["cka"], pairs="all", groups=groups, n_bootstrap=50)
        assert (
            "model_p" not in found.table
            and "there is no model_p: " in found.about
            and sentence in found.about
            and sentence in found.no_permutation
        )


def test_given_leaves_the_pairs_what_they_are():
    """F is of models, so layers are compared one by one; what a line in another number leaves of it is, too, but for
    rounding.
    """
    xs, f = population(models=11, layers=2)
    given = {name: k * 0.37 % 1 for k, name in enumerate(f)}
    shuffled = dict(
        sorted(
            xs.items(),
            key=lambda item: (item[0].layer, item[0].model[::-1] if item[0].layer == "l1" else item[0].model),
        )
    )
    for pairs in ("all", "reference"):
        plain = grounding.benchmark(shuffled, f, measures=["cka"], pairs=pairs, n_bootstrap=20)
        held = grounding.benchmark(shuffled, f, measures=["cka"], pairs=pairs, given=given, n_bootstrap=20)
        assert len(held.pairs) == len(plain.pairs) == (110 if pairs == "all" else 20)


def test_values_that_are_equal_up_to_rounding_are_tied_in_the_estimate_the_null_and_the_draws():
    one, other = np.triu_indices(5, 1)
    near = np.where(np.arange(10) % 2, 0.25, 0.5)
    frame = pd.DataFrame({"seed1": one, "layer1": 0, "seed2": other, "layer2": 0, "gap": np.arange(10) / 10})
    frame["equal"], frame["near"] = near, np.nextafter(near, 1, where=np.arange(10) > 4, out=near.copy())
    found = grounding.rank_pairs(frame, ["near", "equal"], "gap", pairs="all", n_bootstrap=50)
    assert (frame["near"] != frame["equal"]).any() and found.n_permutations == 120
    pd.testing.assert_series_equal(found.table.loc["near"], found.table.loc["equal"], check_names=False)
    assert found.table["model_p"].min() >= 1 / 120
    row = found.compare_with("near").loc["equal"]
    assert row["difference"] == 0 and row["p_value"] == 1 and not row["significant"]


def test_a_measure_sees_no_difference_between_rotations():
    rng = np.random.default_rng(0)
    base = [rng.normal(size=(30, 4)) for _ in range(4)]
    turns = [np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2)]
    xs = {f"n{k}": x for k, x in enumerate([*base, base[0] @ turns[0], base[0] @ turns[1]])}
    f = {name: 0.1 * k for k, name in enumerate(xs)}
    measure = rs.measures.from_function(
        lambda x, y: rs.measures.CKA()(x, y) * (1 + 1e-16),
        kind="similarity",
        symmetric=True,
        range=(0, 1),
        name="again",
    )
    found = grounding.benchmark(
        xs, f, measures={"cka": "cka", "again": measure}, pairs="all", model=list(xs), per=None, n_bootstrap=50
    )
    assert found.compare_with("cka").loc["again"].to_dict() | {"level": 0} == {
        "difference": 0,
        "low": 0,
        "high": 0,
        "p_value": 1,
        "detectable": 0,
        "significant": False,
        "level": 0,
    }
    assert found.table["model_p"].min() >= 1 / 720


def test_groups_and_functionality_by_the_models_that_were_chosen():
    xs, f = population()
    named = {f"{key.model}_{key.layer}": x for key, x in xs.items()}
    nets, layers = [key.model for key in xs], [key.layer for key in xs]
    of = {name: f"g{int(name[1:]) // 2}" for name in f}
    expected = grounding.benchmark(xs, f, measures=["cka"], pairs="all", groups=of, noise=0.01, n_bootstrap=50)
    for groups in (of, pd.Series(of), list(of.values()), pd.DataFrame({"group": of})):
        for noise in (0.01, dict.fromkeys(f, 0.01)):
            found = grounding.benchmark(
                named,
                f,
                measures=["cka"],
                pairs="all",
                model=nets,
                per=layers,
                groups=groups,
                noise=noise,
                n_bootstrap=50,
            )
            np.testing.assert_allclose(found.table.to_numpy(), expected.table.to_numpy())
            assert found.reliability == pytest.approx(expected.reliability)
    assert (
        grounding.specificity(named, model=nets, per=layers, groups=of, n_bootstrap=50).interval
        == grounding.specificity(xs, groups=of, n_bootstrap=50).interval
    )


def test_pairs_name_their_groups_and_have_one_reference_a_layer():
    xs, f = population()
    pairs = grounding.benchmark(xs, f, measures=["cka"], pairs="all", n_bootstrap=50).pairs
    with pytest.raises(TypeError, match="groups of the models of pairs must name the models"):
        grounding.rank_pairs(
            pairs, ["cka"], "gap", model="model", pairs="all", across=False, groups=[0, 0, 1, 1, 2, 2, 3, 3]
        )
    with pytest.raises(
        ValueError, match="pairs='reference' needs one first item for each layer, the reference; layer l0 has 7"
    ):
        grounding.rank_pairs(pairs, ["cka"], "gap", model="model")
    with pytest.raises(ValueError, match=r"that of \('n0', 'l0'\) and \('n1', 'l0'\) occurs twice"):
        grounding.rank_pairs(pd.concat([pairs, pairs.iloc[:1]]), ["cka"], "gap", model="model", pairs="all")
    with pytest.raises(ValueError, match="'cka' is the only one with a row"):
        grounding.rank_pairs(
            pairs, ["cka"], "gap", model="model", pairs="all", across=False, n_bootstrap=50
        ).compare_with()


def test_noise_of_pairs_needs_no_direction_of_the_functionality():
    xs, f = population(layers=1)
    found = grounding.benchmark(xs, f, measures=["cka"], pairs="all", across=True, noise=0.02, n_bootstrap=50)
    for noise in (0.02, pd.Series(0.02, index=pd.Index(list(f), name="model"))):
        again = grounding.rank_pairs(
            found.pairs, ["cka"], "gap", model="model", pairs="all", noise=noise, n_bootstrap=50
        )
        assert again.reliability == pytest.approx(found.reliability) and again.ceiling == pytest.approx(
            found.ceiling, abs=0.02
        )
    with pytest.raises(ValueError, match="standard deviation of the error of F"):
        grounding.rank_pairs(found.pairs, ["cka"], "gap", model="model", pairs="all", noise=-1.0)


def test_two_measures_of_one_name_are_not_one():
    xs, f = population()
    two = [rs.measures.deconfounded("cka_debiased", np.random.default_rng(k).normal(size=(40, 3))) for k in range(2)]
    with pytest.raises(ValueError, match="two measures have the name"):
        grounding.benchmark(xs, f, measures=two)


def test_references_and_all_pairs_do_not_mix():
    xs, f = population()
    with pytest.raises(ValueError, match="pairs='all' has none"):
        grounding.benchmark(xs, f, measures=["cka"], pairs="all", self_pairs=True)
    with pytest.raises(ValueError, match="unknown choice of pairs 'al'"):
        grounding.benchmark(xs, f, measures=["cka"], pairs="al")


# -- what F allows


def test_reliability_is_what_another_test_set_would_show_again(rng):
    truth = pd.Series(0.8 + 0.02 * rng.normal(size=3000), index=pd.Index([f"n{k}" for k in range(3000)], name="model"))
    seen, again = (pd.Series(rng.binomial(500, truth) / 500, index=truth.index) for _ in range(2))
    found = grounding.accuracy_reliability(seen, grounding.binomial_sd(seen, 500)).loc["all"]
    assert (
        found["reliability"] == pytest.approx(np.corrcoef(seen, again)[0, 1], abs=0.05)
        and 0.4 < found["reliability"] < 0.7
    )
    chance = pd.Series(rng.binomial(500, 0.8, size=3000) / 500, index=truth.index)
    assert (
        abs(grounding.accuracy_reliability(chance, grounding.binomial_sd(chance, 500)).loc["all", "reliability"]) < 0.1
    )


def test_images_that_all_models_see_make_no_difference_between_them(rng):
    """Difficult images move all accuracies together: the paired error is that of another set of images, less what they
    share.
    """
    ability, between = rng.normal(scale=0.4, size=40), []
    for _ in range(200):
        difficulty = rng.normal(scale=2, size=300)
        correct = rng.random((40, 300)) < 1 / (1 + np.exp(difficulty - ability[:, None]))
        between.append(
            (
                correct.mean(axis=1) - correct.mean(),
                grounding.paired_sd(correct),
                grounding.binomial_sd(correct.mean(), 300),
            )
        )
    accuracies, paired, binomial = (np.array(part) for part in zip(*between, strict=True))
    error = accuracies.std(axis=0, ddof=1).mean()
    assert paired.mean() == pytest.approx(error, rel=0.03) and binomial.mean() > 1.15 * error
    again = np.mean([np.corrcoef(accuracies[k], accuracies[k + 1])[0, 1] for k in range(0, 200, 2)])
    variance = np.mean([row.var(ddof=1) for row in accuracies])
    assert 1 - error**2 / variance == pytest.approx(again, abs=0.05)
    with pytest.raises(ValueError, match="got other numbers"):
        grounding.paired_sd([[0.5, 1], [0, 1]])
    with pytest.raises(ValueError, match="two or more models by two or more images"):
        grounding.paired_sd([0, 1, 1])


def test_exchanged_models_have_what_depth_gives():
    xs, f = population()
    found = grounding.benchmark(
        xs, {key: f[key.model] + 0.2 * int(key.layer[1]) for key in xs}, measures=["cka"], pairs="all", n_bootstrap=50
    )
    flat = grounding.benchmark(xs, f, measures=["cka"], pairs="all", n_bootstrap=50)
    assert (
        abs(flat.table.loc["cka", "permuted"]) < 0.1
        and found.table.loc["cka", "permuted"] < found.table.loc["cka", "spearman"]
    )


def test_reliability_is_within_layers_if_layers_differ():
    index = pd.MultiIndex.from_product([["a", "b", "c"], ["l0", "l1"]], names=["model", "layer"])
    f = pd.Series([0.5, 0.7, 0.52, 0.72, 0.54, 0.74], index=index)
    found = grounding.accuracy_reliability(f, 0.01)
    assert (
        list(found.index) == ["l0", "l1"]
        and found["sd"].to_numpy() == pytest.approx([0.02, 0.02])
        and found["reliability"].to_numpy() == pytest.approx([0.75, 0.75])
    )
    pd.testing.assert_frame_equal(grounding.accuracy_reliability(f, 0.01, by="layer"), found)
    with pytest.raises(ValueError, match="unknown field for by 'layr'. Did you mean 'layer'"):
        grounding.accuracy_reliability(f, 0.01, by=("layr",))
    with pytest.raises(ValueError, match="a has several. Name more fields in by="):
        grounding.accuracy_reliability(f, 0.01, by=())
    with pytest.raises(ValueError, match="no field 'net'"):
        grounding.accuracy_reliability(f, 0.01, model="net")
    with pytest.raises(ValueError, match="standard deviation of the error"):
        grounding.accuracy_reliability(f, -0.01)
    with pytest.raises(ValueError, match="fraction from 0 to 1; got 80"):
        grounding.binomial_sd(80.0, 100)
    np.testing.assert_allclose(grounding.binomial_sd([0.5, 0.9], 100), [0.05, 0.03])
    with pytest.raises(ValueError, match="got nan"):
        grounding.binomial_sd(np.array([0.5, np.nan]), 100)


def test_reliability_of_what_a_line_leaves_allows_for_the_line():
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        f, given = rng.normal(size=(2, 6))
        found.append(shrink(residuals(f, given, np.zeros(6)), np.ones(6), np.zeros(6), fitted=2)[1])
    variance = 1 / (1 - np.array(found))  # that of the residuals, in that of the noise
    assert abs(variance.mean() - 1) < 0.1


def test_the_ceiling_is_what_the_true_functionality_reaches():
    """A measure that is |F - F'| of the true F, and F as so many images show it."""
    rng, reached, said = np.random.default_rng(0), [], []
    for _ in range(40):
        truth = {f"n{k}": value for k, value in enumerate(rng.normal(0.7, 0.03, 14))}
        xs = {name: np.full((6, 1), value) + np.arange(6)[:, None] for name, value in truth.items()}
        seen = {name: value + 0.02 * rng.normal() for name, value in truth.items()}
        sees = rs.measures.from_function(
            lambda x, y: abs(x.mean() - y.mean()), name="sees", kind="dissimilarity", symmetric=True
        )
        found = grounding.benchmark(
            xs,
            seen,
            measures=[sees],
            pairs="all",
            model=list(truth),
            per=None,
            noise=0.02,
            n_bootstrap=20,
            n_permutations=1,
        )
        reached.append(found.table.loc["sees", "spearman"])
        said.append(found.ceiling)
    assert np.mean(said) == pytest.approx(np.mean(reached), abs=0.05) and 0.3 < np.mean(reached) < 0.8


def test_with_a_functionality_that_is_chance_a_high_p_says_nothing():
    xs, f = population()
    found = grounding.benchmark(xs, f, measures=["cka"], pairs="all", noise=1.0, n_bootstrap=50)
    assert (
        found.reliability < 0
        and "a high model_p is no evidence" in found.about
        and "a high model_p is no evidence" in found._repr_html_()
    )
    good = grounding.benchmark(xs, f, measures=["cka"], pairs="all", noise=0.001, n_bootstrap=50)
    assert good.reliability > 0.99 and good.ceiling > 0.98 and "reaches ρ = " in good.about


# -- lists


def test_simultaneous_intervals_all_hold_at_once():
    """Ten correlated means of 20 values: single intervals of .95 all hold far less often."""
    rng, together, single = np.random.default_rng(0), 0, 0
    for _ in range(150):
        values = rng.normal(size=(20, 10))
        counts = rng.multinomial(20, np.full(20, 1 / 20), size=300)
        draws = pd.DataFrame(counts @ values / 20)
        found = simultaneous(pd.Series(values.mean(axis=0)), draws, 20)
        together += ((found["low"] <= 0) & (found["high"] >= 0)).all()
        ends = stats.t.interval(0.95, 19, loc=values.mean(axis=0), scale=values.std(axis=0, ddof=1) / np.sqrt(20))
        single += ((ends[0] <= 0) & (ends[1] >= 0)).all()
        assert ((found["p_value"] <= 0.05) == ((found["low"] > 0) | (found["high"] < 0))).mean() > 0.85 and (
            found["p_value"] > 0
        ).all()
    assert together / 150 > 0.9 and single / 150 < 0.8


def test_widened_percentiles_are_as_wide_as_students_t():
    assert widen_level(0.95, 10) == pytest.approx(
        1 - 2 * stats.norm.sf(np.sqrt(10 / 9) * stats.t.ppf(0.975, 9))
    ) and widen_level(0.95, 10_000) == pytest.approx(0.95, abs=1e-3)


def test_holm_is_that_of_statsmodels_by_hand():
    assert holm(pd.Series([0.01, 0.04, 0.03, 0.5], index=list("abcd"))).to_dict() == pytest.approx(
        {"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5}
    )
    assert holm([0.01, 0.04, 0.03, 0.5]).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.5])
    twice = holm(pd.Series([0.02, np.nan, 0.01], index=["a", "b", "a"]))  # a test without a p-value counts as a test
    assert list(twice.index) == ["a", "b", "a"] and np.allclose(twice, [0.04, np.nan, 0.03], equal_nan=True)
    for wrong in (-0.1, 1.2):
        with pytest.raises(ValueError, match=f"from 0 to 1; got {wrong:g}"):
            holm([0.5, wrong])


# -- few units, groups by name, wrong input


def nested(seed, name=str, groups=5, each=5):
    """Models in groups that are alike in F and in their distances, which have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    m = groups * each
    z, f = (np.repeat(rng.normal(size=groups), each) + 0.3 * rng.normal(size=m) for _ in range(2))
    i, j = np.tril_indices(m, -1)
    frame = pd.DataFrame(
        {
            "seed1": [name(k) for k in i],
            "layer1": 0,
            "seed2": [name(k) for k in j],
            "layer2": 0,
            "d": np.abs(z[i] - z[j]),
            "gap": np.abs(f[i] - f[j]),
        }
    )
    return frame, {name(k): k // each for k in range(m)}


def test_groups_of_models_are_by_name_whatever_names_are():
    (text, by_text), (number, by_number) = nested(0), nested(0, int)
    options = {"pairs": "all", "n_bootstrap": 200}
    first = grounding.rank_pairs(text, ["d"], "gap", groups=by_text, **options)
    for groups in (by_number, pd.Series(by_number), pd.Series(by_number)[::-1], pd.DataFrame({"g": by_number})):
        pd.testing.assert_frame_equal(
            grounding.rank_pairs(number, ["d"], "gap", groups=groups, **options).table, first.table
        )
    with pytest.raises(TypeError, match="groups of the models of pairs must name the models"):
        grounding.rank_pairs(text, ["d"], "gap", groups=pd.Series(list(by_text.values())), **options)


def test_pairs_within_a_group_do_not_count():
    """They are near in everything, so that with them rho is above 0 where nothing is to be seen."""
    found, low, p, whole = [], [], [], []
    for seed in range(40):
        frame, groups = nested(seed)
        result = grounding.rank_pairs(frame, ["d"], "gap", pairs="all", groups=groups, n_bootstrap=199)
        row = result.table.loc["d"]
        assert row["n"] == 250 and len(result.pairs) == 300
        found.append(row["spearman"])
        low.append(row["low"] > 0)
        p.append(row["model_p"] <= 0.05)
        whole.append(spearman(frame["d"], frame["gap"]))
    assert abs(np.mean(found)) < 0.08 < 0.13 < np.mean(whole) and np.mean(low) <= 0.1 and np.mean(p) <= 0.15


@pytest.mark.parametrize("models", [3, 4])
def test_intervals_over_very_few_units_have_no_ends_that_say_something(models):
    xs, f = population(models=models, layers=2)
    for pairs in ("all", "reference"):
        found = grounding.benchmark(xs, f, measures=["cka", "procrustes"], pairs=pairs, across=True, n_bootstrap=50)
        assert (found.table["low"] == -1).all() and (found.table["high"] == 1).all()
        assert not found.compare_with()["significant"].any() and (found.compare_with()["p_value"] == 1).all()
        assert inference.judge(found.table.loc["cka"], above=0).outcome == "undecided"
    assert grounding.specificity(xs, n_bootstrap=50).interval == inference.Interval(
        0, 1, 0.95, grounding.specificity(xs, n_bootstrap=50).accuracy
    )


def test_gaps_are_sizes_and_names_of_one_kind():
    frame, _ = nested(0)
    with pytest.raises(
        ValueError, match=r"'gap' must be the size of a difference, \|F - F'\|; it is below 0 in 300 of 300"
    ):
        grounding.rank_pairs(frame.assign(gap=-frame["gap"] - 1), ["d"], "gap", pairs="all")
    number, _ = nested(0, int)
    with pytest.raises(ValueError, match="'seed1' and 'seed2' need labels of one type.*are the same as text"):
        grounding.rank_pairs(number.assign(seed2=number["seed2"].astype(str)), ["d"], "gap", pairs="all")


def test_items_that_do_not_correspond_do_not_change_places():
    xs, f = population()
    named = {f"{key.model}_{key.layer}": x for key, x in xs.items()}
    found = grounding.benchmark(
        named, f, measures=["cka"], pairs="all", model=[key.model for key in xs], per=None, n_bootstrap=50
    )
    assert "model_p" not in found.table and "'n0' has several items" in found.about


def test_reliability_needs_two_models_and_numbers():
    f = pd.Series([0.8, np.nan, 0.9], index=pd.Index(list("abc"), name="model"))
    with pytest.raises(ValueError, match="some are undefined"):
        grounding.accuracy_reliability(f, 0.01)
    for few in (f[:1], f[:0]):
        with pytest.raises(ValueError, match="there are fewer than two"):
            grounding.accuracy_reliability(few, 0.01)
    with pytest.raises(TypeError, match="functionality must be a Series"):
        grounding.accuracy_reliability({"a": 0.8, "b": 0.9}, 0.01)
    with pytest.raises(ValueError, match="correct.T"):
        grounding.paired_sd(np.eye(4)[:, :2])
