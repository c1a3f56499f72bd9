"""Means over pairs of models: which pairs count, what the intervals hold, differences of the same draws."""

import numpy as np
import pandas as pd
import pytest

from repsim_nb import grounding

pair_means = grounding.pair_means


def pairs_of(number, effects=None, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=number) if effects is None else effects
    one, other = np.triu_indices(number, 1)
    index = pd.MultiIndex.from_arrays([[f"n{k}" for k in one], [f"n{k}" for k in other]])
    return pd.DataFrame(
        {
            name: 0.5 + by + 0.03 * (u[one] + u[other]) + 0.05 * rng.normal(size=len(one))
            for name, by in (("a", 0.0), ("b", shift))
        },
        index=index,
    )


def test_pairs_count_as_often_as_both_models_come():
    frame = pairs_of(5)
    found = pair_means(frame, derived={"ratio": lambda mean: mean["a"] / mean["b"]}, n_bootstrap=50, seed=3)
    np.testing.assert_allclose(found.table.loc[["a", "b"], "mean"], frame.mean())
    assert (
        found.table.loc["ratio", "mean"] == pytest.approx(frame["a"].mean() / frame["b"].mean())
        and found.unit == "models (5)"
    )
    counts = np.random.default_rng(3).multinomial(5, np.full(5, 0.2), size=50)[0]
    several = np.repeat([f"n{k}" for k in range(5)], counts)
    values = [frame.loc[tuple(sorted((p, q))), "a"] for i, p in enumerate(several) for q in several[i + 1 :] if p != q]
    assert found.draws.loc[0, "a"] == pytest.approx(np.mean(values))
    np.testing.assert_allclose(found.draws["ratio"], found.draws["a"] / found.draws["b"])
    assert (
        (found.table["low"] < found.table["mean"]).all()
        and (found.table["mean"] < found.table["high"]).all()
        and "<table" in found._repr_html_()
    )


def test_groups_are_drawn_whole_and_pairs_within_them_are_left_out():
    frame = pairs_of(9)
    of = {f"n{k}": k // 3 for k in range(9)}
    found = pair_means(frame, groups=of)
    between = [of[a] != of[b] for a, b in frame.index]
    assert (
        found.table.loc["a", "mean"] == pytest.approx(frame["a"][between].mean())
        and found.units == 3
        and found.unit == "groups (3)"
    )
    crossed = pd.DataFrame(
        {"start": np.repeat(range(3), 3), "tuning": np.tile(range(3), 3)}, index=[f"n{k}" for k in range(9)]
    )
    both = [
        crossed.loc[a, "start"] != crossed.loc[b, "start"] and crossed.loc[a, "tuning"] != crossed.loc[b, "tuning"]
        for a, b in frame.index
    ]
    assert (
        pair_means(frame, groups=crossed).table.loc["a", "mean"] == pytest.approx(frame["a"][both].mean())
        and sum(both) == 18
    )


def test_differences_are_of_the_same_draws():
    found = pair_means(pairs_of(8, shift=0.1))
    row = found.compare_with("b", ["a"]).loc["a"]
    assert (
        row["difference"] == pytest.approx(found.table.loc["b", "mean"] - found.table.loc["a", "mean"])
        and row["significant"]
        and row["low"] > 0.02
    )
    assert found.compare_with("a").loc["b", "high"] == pytest.approx(-row["low"])
    with pytest.raises(ValueError, match="unknown statistic 'c'"):
        found.compare_with("c")
    with pytest.raises(ValueError, match="the only statistic"):
        pair_means(pairs_of(8)[["a"]]).compare_with("a")


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda f: f.iloc[:0], {}, "pairs with values in all columns"),
        (lambda f: f.assign(a=np.nan), {}, "10 of 10 pairs have none"),
        (lambda f: pd.concat([f, f.iloc[[0]].swaplevel()]), {}, "occur twice. Average both directions"),
        (
            lambda f: pd.concat(
                [f, pd.DataFrame({"a": [0.0], "b": [0.0]}, index=pd.MultiIndex.from_tuples([("n0", "n0")]))]
            ),
            {},
            "'n0' with itself",
        ),
        (lambda f: f.iloc[:1], {}, "at least 3 of them"),
        (lambda f: f, {"n_bootstrap": 3}, "n_bootstrap must be an integer >= 20"),
        (lambda f: f, {"seed": "a"}, "seed must be an integer >= 0; got 'a'"),
        (lambda f: f, {"derived": {"a": lambda mean: mean["a"]}}, "'a' is a column of the pairs"),
    ],
)
def test_pairs_without_a_mean_are_refused(change, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        pair_means(change(pairs_of(5)), **options)


def test_a_derived_statistic_without_a_value_is_refused():
    with pytest.raises(ValueError, match="'ratio' is undefined: the function returns nan for the means a "):
        pair_means(pairs_of(5), derived={"ratio": lambda mean: mean["a"] * np.nan})
    with pytest.raises(ValueError, match=r"'above' is undefined in \d+ of 999 resamples of models"):
        pair_means(
            pairs_of(5), derived={"above": lambda mean: mean["a"] if mean["a"] >= pairs_of(5)["a"].mean() else np.nan}
        )
    with pytest.raises(TypeError, match="names of both models in its index .two levels.; got DataFrame"):
        pair_means(pairs_of(5).reset_index(drop=True))


def test_intervals_hold_the_mean_of_the_population_and_no_difference_is_seldom_real():
    rng, held, real = np.random.default_rng(0), [], []
    for k in range(150):
        found = pair_means(pairs_of(6, effects=rng.normal(size=6), seed=k), n_bootstrap=199, seed=k)
        row = found.table.loc["a"]
        held.append(row["low"] <= 0.5 <= row["high"])
        real.append(found.compare_with("a").loc["b", "significant"])
    assert np.mean(held) >= 0.92 and np.mean(real) <= 0.08


def test_a_derived_statistic_is_computed_in_each_resample_whatever_the_function_does_with_its_means():
    frame = pairs_of(6)
    found = pair_means(frame, derived={"log": lambda mean: float(np.log(2 + np.mean(mean["a"])))}, n_bootstrap=99)
    np.testing.assert_allclose(found.draws["log"], np.log(2 + found.draws["a"]))
    assert found.table.loc["log", "low"] < found.table.loc["log", "mean"] < found.table.loc["log", "high"]


def test_groups_are_named_because_the_order_of_pairs_is_none_of_models():
    frame = pairs_of(6)
    of = {
        name: k // 2
        for k, name in enumerate(sorted({*frame.index.get_level_values(0), *frame.index.get_level_values(1)}))
    }
    first, again = pair_means(frame, groups=of, n_bootstrap=99), pair_means(frame.iloc[::-1], groups=of, n_bootstrap=99)
    np.testing.assert_allclose(first.table["mean"], again.table["mean"])
    with pytest.raises(TypeError, match="groups of the models of pairs must name the models"):
        pair_means(frame, groups=[0, 0, 1, 1, 2, 2])
