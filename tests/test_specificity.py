"""Specificity: units of the interval, paired differences of measures, medians with never."""

import numpy as np
import pandas as pd
import pytest
from sizes import sized

import repsim_nb as rs
from repsim_nb.results.grounding.layer_matching import differing_pairs, resample_accuracy
from repsim_nb.results.inference.results import percentile_interval
from repsim_nb.results.inference.units import Units, simultaneous, widen_level

grounding = rs.grounding


def layered(models=6, noise=1.0, seed=0, apart=0.0, together=0):
    """Four layers that move away from each other step by step.

    Models come in groups of `together` that share a part of their noise.
    """
    rng = np.random.default_rng(seed)
    base, away = rng.normal(size=(40, 6)), 0.6 * rng.normal(size=(3, 40, 6))
    found, shared = {}, {}
    for k in range(models):
        level = noise * np.exp(apart * rng.normal())
        group = k // together if together else k
        for depth in range(4):
            shared.setdefault((group, depth), rng.normal(size=base.shape))
            own = rng.normal(size=base.shape)
            x = base + away[:depth].sum(axis=0) + level * (0.3 * own + 0.9 * shared[group, depth] if together else own)
            found[rs.Key(f"n{k}", f"l{depth}", "d", 0, "flatten")] = x
    return found


def test_draws_are_of_whole_models_and_the_interval_is_widened():
    xs = layered(5)
    found = grounding.specificity(xs, n_bootstrap=300)
    assert len(found.draws) == 300 and found.units == 5
    off = ~np.eye(5, dtype=bool)
    assert found.accuracy == pytest.approx(found.pairs.to_numpy()[off].mean()) == found.interval.estimate
    plain = np.quantile(found.draws, [0.025, 0.975])
    assert found.interval.low < plain[0] and plain[1] < found.interval.high <= found.draws.max()
    hits = found.pairs.to_numpy()
    counts = np.random.default_rng(0).multinomial(5, np.full(5, 0.2), size=1)[0]
    several = np.repeat(np.arange(5), counts)
    expected = [hits[a, b] for a in several for b in several if a != b]
    assert found.draws[0] == pytest.approx(np.mean(expected))


def test_groups_are_drawn_whole_and_pairs_within_them_do_not_count():
    xs = layered(9, noise=2.0, together=3)
    of = {f"n{k}": k // 3 for k in range(9)}
    found, single = grounding.specificity(xs, groups=of, n_bootstrap=200), grounding.specificity(xs, n_bootstrap=200)
    codes = np.repeat(np.arange(3), 3)
    different = codes[:, None] != codes
    pairs = found.pairs.to_numpy()
    assert (
        found.accuracy == pytest.approx(pairs[different].mean())
        and found.units == 3
        and "3 units: groups" in repr(found)
    )
    assert single.accuracy > found.accuracy, "models of one group are near to each other"
    same = found._units.draw(np.random.default_rng(0), 200)
    assert (same.reshape(200, 3, 3) == same.reshape(200, 3, 3)[:, :, :1]).all()
    table = rs.compare("cka", xs).dissimilarity().to_numpy().reshape(9, 4, 9, 4).swapaxes(1, 2)
    assert found.by_layer["across_models"].iloc[1] == pytest.approx(table[different][:, 1, 1].mean())
    pd.testing.assert_frame_equal(found.within, single.within)


def test_of_crossed_groupings_pairs_count_that_differ_in_both():
    xs = layered(9)
    frame = pd.DataFrame(
        {"start": np.repeat(list("abc"), 3), "tuning": list("xyz") * 3}, index=[f"n{k}" for k in range(9)]
    )
    found = grounding.specificity(xs, groups=frame, n_bootstrap=200)
    pairs = found.pairs.to_numpy()
    counted = [pairs[i, j] for i in range(9) for j in range(9) if i // 3 != j // 3 and i % 3 != j % 3]
    assert found.accuracy == pytest.approx(np.mean(counted)) and len(counted) == 36 and "start x tuning" in repr(found)
    of = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 2, 0), (1, 0, 0), (2, 0, 0)]
    with pytest.raises(ValueError, match="differ in every grouping, and no pair does"):
        grounding.specificity(
            layered(7), groups=pd.DataFrame(of, columns=list("abc"), index=[f"n{k}" for k in range(7)])
        )


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ({f"n{k}": k // 3 for k in range(6)}, "at least 3 of them"),
        ([*"ab" * 12], "at least 3 of them"),
        ([*"abc" * 8], "items of 'n0', 'n1', 'n2' and 3 more are in several groups"),
        ({"n0": 1}, "groups has no value for 'n1'"),
    ],
)
def test_groups_that_cannot_be_drawn_are_refused(groups, sentence):
    with pytest.raises(ValueError, match=sentence):
        grounding.specificity(layered(6), groups=groups, n_bootstrap=20)


def test_differences_are_of_the_same_resamples():
    xs = layered(8, noise=1.4)
    names = ("cka", "procrustes", "mean_cca")
    found = {name: grounding.specificity(xs, name, n_bootstrap=400) for name in names}
    table = found["cka"].compare_with({name: found[name] for name in names[1:]})
    assert list(table.index) == ["procrustes", "mean_cca"] and list(table.columns) == [
        "difference",
        "low",
        "high",
        "p_value",
        "detectable",
        "significant",
    ]
    difference = found["cka"].accuracy - found["mean_cca"].accuracy
    row = table.loc["mean_cca"]
    assert row["difference"] == pytest.approx(difference) and (row["low"] + row["high"]) / 2 == pytest.approx(
        difference
    )
    assert row["significant"] == (row["low"] > 0 or row["high"] < 0) and 0 < row["p_value"] <= 1
    turned = found["mean_cca"].compare_with(found["cka"])
    assert turned.loc["cka", "difference"] == pytest.approx(-difference)
    alone = found["cka"].compare_with([found["mean_cca"]]).loc["mean_cca"]
    assert alone["high"] - alone["low"] < row["high"] - row["low"], "two intervals that hold at once are wider than one"
    itself = found["cka"].compare_with({"again": grounding.specificity(xs, "cka", n_bootstrap=400)}).loc["again"]
    assert (itself["difference"], itself["low"], itself["high"], itself["p_value"], bool(itself["significant"])) == (
        0,
        0,
        0,
        1,
        False,
    )


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (lambda xs: grounding.specificity(xs, seed=1, n_bootstrap=50), "the same seed= and n_bootstrap="),
        (lambda xs: grounding.specificity(xs, n_bootstrap=60), "the same seed= and n_bootstrap="),
        (lambda xs: grounding.specificity(xs, level=0.9, n_bootstrap=50), "the same level="),
        (
            lambda xs: grounding.specificity(xs, groups={f"n{k}": k // 2 for k in range(6)}, n_bootstrap=50),
            "same groups=",
        ),
        (
            lambda xs: grounding.specificity({key: x for key, x in xs.items() if key.model != "n5"}, n_bootstrap=50),
            "needs the same models in the same order",
        ),
        (
            lambda xs: grounding.specificity({key: x for key, x in xs.items() if key.layer != "l3"}, n_bootstrap=50),
            "needs the same layers",
        ),
        (
            lambda xs: grounding.specificity({key: x for key, x in xs.items() if key.model < "n2"}, n_bootstrap=50),
            "has two models",
        ),
    ],
)
def test_differences_of_other_designs_are_refused(other, sentence):
    xs = layered(6)
    with pytest.raises(ValueError, match=sentence):
        grounding.specificity(xs, n_bootstrap=50).compare_with({"other": other(xs)})


def test_what_is_no_specificity_is_refused():
    found = grounding.specificity(layered(4), n_bootstrap=50)
    with pytest.raises(TypeError, match="what grounding.specificity returns; got float"):
        found.compare_with({"cka": 0.7})
    with pytest.raises(ValueError, match="needs another measure"):
        found.compare_with({})
    with pytest.raises(ValueError, match="'cka' occurs twice"):
        found.compare_with([found, found])
    with pytest.raises(ValueError, match="unknown measure 'procrusts'. Did you mean 'procrustes'"):
        found.compare_with("procrusts")


def test_measures_given_by_name_are_tested_on_the_same_models():
    xs = layered(6)
    found, other = (grounding.specificity(xs, measure, n_bootstrap=50, seed=3) for measure in ("cka", "procrustes"))
    wanted = found.compare_with(other)
    pd.testing.assert_frame_equal(found.compare_with("procrustes"), wanted)
    pd.testing.assert_frame_equal(found.compare_with(rs.measures.get("procrustes")), wanted)
    both = found.compare_with({"by name": "procrustes", "result": other})
    assert both.loc["by name"].equals(both.loc["result"]) and list(both.index) == ["by name", "result"]
    benchmark = grounding.benchmark(
        xs, {f"n{k}": k for k in range(6)}, measures=["cka", "procrustes"], pairs="all", n_bootstrap=50
    )
    pd.testing.assert_frame_equal(
        benchmark.compare_with(rs.measures.get("procrustes")), benchmark.compare_with("procrustes")
    )


def test_representations_that_have_changed_are_not_compared():
    xs = {key: np.array(x) for key, x in layered(6).items()}
    found = grounding.specificity(xs, n_bootstrap=50)
    next(iter(xs.values()))[:10] *= 5
    with pytest.raises(ValueError, match="have changed since this result"):
        found.compare_with("procrustes")


def test_a_change_that_the_measure_does_not_see_is_a_change():
    xs = {key: np.array(x) for key, x in layered(4).items()}
    found = grounding.specificity(xs, n_bootstrap=50)
    first = next(iter(xs.values()))
    first *= 2
    with pytest.raises(ValueError, match="have changed since this result"):
        found.compare_with("mean_cca")


def test_other_measures_are_tested_without_another_run_of_the_first():
    calls = []

    def gap(x, y):
        calls.append(1)
        return float(np.abs(x - y).mean())

    xs = layered(4)
    found = grounding.specificity(
        xs, rs.measures.from_function(gap, kind="dissimilarity", symmetric=True), n_bootstrap=50
    )
    before = len(calls)
    found.compare_with("procrustes")
    assert calls and len(calls) == before


def test_never_counts_as_more_than_all_layers_in_the_median():
    found = grounding.specificity(layered(3), n_bootstrap=20)

    def median(*steps):
        moves = found.by_layer.assign(layers_to_move=pd.Series(steps, index=found.by_layer.index, dtype=object))
        changed = grounding.Specificity(**{**vars(found), "by_layer": moves})
        return changed.layers_to_move, changed.layers_to_move_text

    assert median(1, 2, 3, "never") == (2.5, "2.5") and median("never", 1, 1, 1) == (1, "1")
    assert median(3, "never", "never", "never") == (np.inf, "more than 3") == median(3, 2, "never", "never")


def test_the_interval_holds_the_accuracy_of_the_population():
    """Of 200 sets of models of a large population; groups are drawn as they depend on each other."""
    population = layered(160, noise=1.2, apart=0.4, seed=1)
    hits = grounding.specificity(population, n_bootstrap=20).pairs.to_numpy()
    truth, rng = hits[~np.eye(160, dtype=bool)].mean(), np.random.default_rng(0)
    for number, least in ((5, 0.93), (10, 0.92)):
        units = Units({"models": np.arange(number)})
        held = []
        for _ in range(sized(100, 200)):
            chosen = rng.choice(160, number, replace=False)
            draws = resample_accuracy(hits[np.ix_(chosen, chosen)], differing_pairs(units), units, 199, rng)
            low, high = percentile_interval(draws, widen_level(0.95, number))
            held.append(low <= truth <= high)
        assert least <= np.mean(held) <= 0.995


def test_a_difference_that_is_none_is_seldom_real():
    """Two measures that are as specific as each other: the same one, of noise of its own."""
    sides = [
        grounding.specificity(layered(100, noise=1.2, apart=0.4, seed=seed), n_bootstrap=20).pairs.to_numpy()
        for seed in (1, 1001)
    ]
    rng, units, other = np.random.default_rng(0), Units({"models": np.arange(6)}), ~np.eye(6, dtype=bool)
    none = sides[0][~np.eye(100, dtype=bool)].mean() - sides[1][~np.eye(100, dtype=bool)].mean()
    real = []
    for k in range(sized(60, 150)):
        chosen = rng.choice(100, 6, replace=False)
        one, two = (side[np.ix_(chosen, chosen)] for side in sides)
        draws = [resample_accuracy(side, other, units, 199, np.random.default_rng(k)) for side in (one, two)]
        found = simultaneous(
            pd.Series({"other": one[other].mean() - two[other].mean() - none}),
            pd.DataFrame({"other": draws[0] - draws[1]}),
            6,
        )
        real.append(found.loc["other", "p_value"] <= 0.05)
    assert np.mean(real) <= 0.08
