"""Block means: how alike items are within groups and between, with intervals over samples."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sizes import fewest, most, sized

import repsim_nb as rs
from repsim_nb.results.inference import block_means
from repsim_nb.support.errors import UndefinedError

KIND = {"a": "p", "b": "p", "c": "q", "d": "q"}


def maps(features=8, latent=6):
    """How four items come from latent vectors: two pairs, alike within."""
    rng = np.random.default_rng(11)
    scale = 1 / np.sqrt(np.arange(1, latent + 1))[:, None]
    w = {name: scale * rng.normal(size=(latent, features)) for name in KIND}
    return w | {"b": w["a"] + 0.6 * w["b"], "d": w["c"] + 0.6 * w["d"]}


def draw(n, rng):
    latent = rng.normal(size=(n, 6))
    return {name: latent @ w + np.sqrt(0.3) * rng.normal(size=(n, 8)) for name, w in maps().items()}


def true_means():
    """The block means of CKA over all samples, from the covariances."""
    w = maps()
    own = {name: np.linalg.norm(v.T @ v + 0.3 * np.eye(8)) for name, v in w.items()}
    cka = {(i, j): np.linalg.norm(w[i].T @ w[j]) ** 2 / (own[i] * own[j]) for i in w for j in w}
    return [cka["a", "b"], np.mean([cka[i, j] for i in "ab" for j in "cd"]), cka["c", "d"]]


def test_means_are_of_the_pairs_and_intervals_the_jackknifes(rng):
    xs = draw(60, rng)
    frame = block_means("cka", xs, KIND, parts=7, level=0.9, seed=3)
    assert list(frame.columns) == ["mean", "low", "high", "smallest", "largest", "pairs"] and frame.index.names == [
        "group",
        "other",
    ]
    assert list(frame.index) == [("p", "p"), ("p", "q"), ("q", "q")] and list(frame["pairs"]) == [1, 4, 1]
    table = rs.compare("cka", xs).values
    between = table.loc[["a", "b"], ["c", "d"]].to_numpy()
    assert np.allclose(
        frame.loc[("p", "q"), ["mean", "smallest", "largest"]], [between.mean(), between.min(), between.max()]
    )
    assert np.allclose(frame["mean"][[("p", "p"), ("q", "q")]], [table.loc["a", "b"], table.loc["c", "d"]])
    part = np.random.default_rng(3).permutation(60) % 7
    left = np.array(
        [
            rs.compare("cka", {k: x[part != j] for k, x in xs.items()})
            .values.loc[["a", "b"], ["c", "d"]]
            .to_numpy()
            .mean()
            for j in range(7)
        ]
    )
    reach = stats.t.ppf(0.95, 6) * np.sqrt(6 / 7 * ((left - left.mean()) ** 2).sum())
    assert frame.loc[("p", "q"), ["low", "high"]].to_list() == pytest.approx(
        [between.mean() - reach, between.mean() + reach]
    )


def test_leaving_out_one_sample_of_a_mean_gives_the_t_interval(rng):
    """Of what is a mean over samples the jackknife is the textbook's interval exactly."""
    xs = {"a": rng.normal(size=(30, 1)), "b": rng.normal(size=(30, 1)) + 1}
    gap = rs.measures.from_function(
        lambda x, y: float(np.mean(np.abs(x - y))), kind="dissimilarity", name="gap", symmetric=True
    )
    frame = block_means(gap, xs, ["one", "one"], parts=30)
    each = np.abs(xs["a"] - xs["b"]).ravel()
    assert frame.iloc[0][["low", "high"]].to_list() == pytest.approx(
        stats.t.interval(0.95, 29, each.mean(), stats.sem(each))
    )


def test_intervals_cover_the_true_means():
    true, held, draws = true_means(), np.zeros((2, 3)), sized(20, 60)
    for seed in range(draws):
        xs = draw(500, np.random.default_rng(seed))
        for k, level in enumerate((0.95, 0.6)):
            frame = block_means("cka_debiased", xs, KIND, parts=10, level=level, seed=seed)
            held[k] += (frame["low"] <= true) & (true <= frame["high"])
    assert (held[0] >= fewest(draws, 0.95, 300)).all()
    assert ((held[1] >= fewest(draws, 0.6, 700)) & (held[1] <= most(draws, 0.6, 700))).all()


def test_more_samples_narrow_an_interval(rng):
    xs = draw(800, rng)
    few, many = (block_means("cka", {k: x[:n] for k, x in xs.items()}, KIND) for n in (100, 800))
    ratio = (few["high"] - few["low"]) / (many["high"] - many["low"])
    assert 1.8 < ratio.median() < 4.5, "√8 is 2.8"


def test_groups_come_as_for_anosim(recorded):
    last = recorded.where(layer=-2)
    assert {key.model for key in last} == {"mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0"}
    kinds = {"mnist-cnn-0": "cnn", "mnist-cnn-1": "cnn", "mnist-mlp-0": "mlp"}
    frame = block_means("cka", last, kinds)
    assert rs.inference.judge(frame.iloc[0], above=0).level == 0.95
    assert list(frame.index) == [("cnn", "cnn"), ("cnn", "mlp")], "one model has no pair within"
    assert (
        frame["mean"].between(0, 1).all()
        and (frame["low"] < frame["mean"]).all()
        and (frame["mean"] < frame["high"]).all()
        and list(frame["pairs"]) == [1, 2]
    )
    assert frame.loc[("cnn", "cnn"), "mean"] == pytest.approx(rs.compare("cka", last).values.iloc[0, 1])
    pd.testing.assert_frame_equal(frame, block_means("cka", last, pd.Series(kinds, name="kind")))
    pd.testing.assert_frame_equal(frame, block_means("cka", last, list(kinds.values())))
    assert list(block_means("cka", last, "model").index) == [
        ("mnist-cnn-0", "mnist-cnn-1"),
        ("mnist-cnn-0", "mnist-mlp-0"),
        ("mnist-cnn-1", "mnist-mlp-0"),
    ]
    ax = rs.plots.intervals({"mnist": frame})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cnn", "cnn, mlp"]


def test_groups_stand_in_the_order_they_come_in(rng):
    frame = block_means("cka", draw(40, rng), ["z", "a", "z", "a"], parts=4)
    assert list(frame.index) == [("z", "z"), ("z", "a"), ("a", "a")]


def test_both_directions_of_a_pair_are_averaged(rng):
    xs = draw(80, rng)
    assert not rs.measures.get("linear_predictivity").symmetric
    frame = block_means("linear_predictivity", {name: xs[name] for name in "ac"}, {"a": 1, "c": 2}, parts=4)
    table = rs.compare("linear_predictivity", {name: xs[name] for name in "ac"}).values.to_numpy()
    assert (
        frame.loc[(1, 2), "mean"] == pytest.approx((table[0, 1] + table[1, 0]) / 2)
        and abs(table[0, 1] - table[1, 0]) > 1e-3
        and frame["pairs"].to_list() == [1]
    )


def test_the_seed_draws_the_parts_and_progress_counts_tables(rng):
    xs, calls = draw(50, rng), []
    first = block_means("cka", xs, KIND, parts=5, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(k, 6) for k in range(7)]
    pd.testing.assert_frame_equal(first, block_means("cka", xs, KIND, parts=5))
    other = block_means("cka", xs, KIND, parts=5, seed=1)
    assert np.allclose(first["mean"], other["mean"]) and not np.allclose(first["low"], other["low"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"parts": 1}, "parts must be an integer >= 2.*got 1"),
        ({"parts": 2.5}, "parts must be an integer >= 2.*got 2.5"),
        ({"parts": 31}, "parts must be at most 30, the number of samples; got 31"),
        ({"level": 95}, "between 0 and 1, such as 0.95; got 95"),
        ({"groups": {"a": 1, "b": 1, "c": 2}}, "groups has no value for 'd'"),
        ({"groups": [1, 2, None, 1]}, "groups must have a value for each item; it is undefined for 'c'"),
        ({"groups": "kind"}, "unknown field for groups 'kind'"),
        ({"measure": "cka_debaised"}, "Did you mean 'cka_debiased'"),
    ],
)
def test_what_cannot_be_is_an_error(rng, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        block_means(**{"measure": "cka", "xs": draw(30, rng), "groups": KIND} | options)


def test_samples_and_items_must_suffice(rng):
    xs = draw(5, rng)
    with pytest.raises(ValueError, match="without one of 2 parts 2 of 5 samples are left, but cka needs at least 3"):
        block_means("cka", xs, KIND, parts=2)
    with pytest.raises(ValueError, match="there is one item, 'a'"):
        block_means("cka", {"a": xs["a"]}, ["p"], parts=3)
    with pytest.raises(TypeError, match="a recording or a mapping"):
        block_means("cka", [xs["a"]], ["p"])
    with pytest.raises(ValueError, match="same samples|samples"):
        block_means("cka", xs | {"d": xs["d"][:4]}, KIND)
    lonely = np.zeros((5, 2))
    lonely[0] = 1
    with pytest.raises(
        UndefinedError, match=r"with 1 of 5 samples left out, as the interval needs it \(parts=5\): .*'a'"
    ):
        block_means("cka", {"a": lonely, "b": xs["b"]}, ["p", "p"], parts=5)
