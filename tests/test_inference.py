import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from sizes import sized

import repsim_nb as rs
from repsim_nb.results.inference import GroupTest, Test, anosim, chance_values, rank_correlation, sample_sets
from repsim_nb.support.errors import Stopped


def square(d, names=None):
    labels = pd.Index(names or [f"i{k}" for k in range(len(d))], name="label")
    return pd.DataFrame(np.asarray(d, float), index=labels, columns=labels)


def of_points(x):
    return square(squareform(pdist(x)))


# -- rank correlation


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_values_and_p_are_scipys_with_ties_too(kind, alternative, rng):
    theirs = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    for sign in (1, -1):
        a = rng.normal(size=40).round(1)
        b = (sign * a + rng.normal(size=40)).round(1)
        found, expected = rank_correlation(a, b, kind, alternative), theirs(a, b)
        assert (
            np.isclose(found.statistic, expected.statistic) and found.null is None and found.alternative == alternative
        )
        two = expected.pvalue
        wanted = {
            "two-sided": two,
            "greater": two / 2 if sign > 0 else 1 - two / 2,
            "less": two / 2 if sign < 0 else 1 - two / 2,
        }[alternative]
        assert np.isclose(found.p_value, wanted, rtol=1e-9)


@pytest.mark.parametrize("m", [5, 22, 400])
@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_no_p_value_is_zero_however_perfect_the_order(kind, m):
    x = np.arange(m)
    for alternative, y in (("two-sided", x), ("greater", x**3), ("less", -x)):
        assert 0 < rank_correlation(x, y, kind, alternative).p_value < 0.05


@pytest.mark.parametrize("m", [4, 171, 200])
def test_an_exact_p_value_is_not_zero_either(m):
    assert rank_correlation(range(m), range(m), "kendall", p="exact").p_value > 0
    one = rank_correlation(range(4), range(4), alternative="greater").p_value
    assert one >= 1 / 24 - 1e-12, "one order of all"
    with pytest.raises(ValueError, match="counts the orders of up to 500 values; there are 501"):
        rank_correlation(range(501), range(501), "kendall", p="exact")


def test_runs_are_correlated_without_their_own_last_step(rng):
    steps = pd.Index([0, 1, 2, 3, 5], name="step")
    a = pd.DataFrame({"r": [0.1, 0.4, 0.3, 0.8, 1], "short": [0.2, 0.1, 0.5, 1, np.nan]}, index=steps)
    b = pd.DataFrame({"r": [0.5, 0.2, 0.3, 0.1, 0], "short": [0.1, 0.2, 0.3, 0, np.nan]}, index=steps)
    table = rs.trajectories.correlate_runs(a, b)
    assert list(table["n"]) == [4, 3] and table.loc["r", "statistic"] == pytest.approx(
        stats.spearmanr(a["r"][:4], b["r"][:4]).statistic
    )
    assert table.loc["short", "statistic"] == pytest.approx(stats.spearmanr(a["short"][:3], b["short"][:3]).statistic)
    with pytest.raises(ValueError, match="the run 'short': a rank correlation needs at least 3 values; there are 2"):
        rs.trajectories.correlate_runs(a.iloc[1:], b.iloc[1:])
    with pytest.raises(ValueError, match="same runs and steps"):
        rs.trajectories.correlate_runs(a, b[["r"]])


def test_similarities_in_a_frame_are_not_taken_for_dissimilarities(rng):
    similar = square(np.corrcoef(rng.normal(size=(6, 9))))
    with pytest.raises(ValueError, match="0 on its diagonal; this one has 1 there. Are they similarities"):
        anosim(similar, list("aaabbb"))


def slowly(a, b, kind, alternative):
    """By the definition: the fraction of all orders of b that are as extreme."""
    f = {
        "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
        "kendall": lambda x, y: stats.kendalltau(x, y).statistic,
    }[kind]
    null = np.array([f(a, [b[i] for i in order]) for order in itertools.permutations(range(len(b)))])
    null, seen = {"two-sided": (abs(null), abs(f(a, b))), "greater": (null, f(a, b)), "less": (-null, -f(a, b))}[
        alternative
    ]
    return np.mean(null >= seen - 1e-9)


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_exact_goes_through_all_orders(kind, alternative):
    for a, b in (([1, 2, 3, 4, 5], [2, 1, 3, 5, 4]), ([1, 1, 2, 3, 5], [4, 2, 2, 1, 1])):
        found = rank_correlation(a, b, kind, alternative, "exact")
        assert np.isclose(found.p_value, slowly(a, b, kind, alternative))
    best = rank_correlation(range(6), range(6), kind, "greater", "exact")
    assert best.statistic == pytest.approx(1) and np.isclose(best.p_value, 1 / math.factorial(6))


def test_series_are_brought_into_one_order():
    a, b = pd.Series([1, 2, 3, 4], list("abcd")), pd.Series([4, 3, 2, 1], list("dcba"))
    assert rank_correlation(a, b).statistic == pytest.approx(1) and rank_correlation(
        a, b.to_numpy()
    ).statistic == pytest.approx(-1)


def test_tables_are_correlated_over_their_pairs_as_dissimilarities(recorded):
    x = recorded.where(model="mnist-cnn-*")
    alike, unlike = rs.compare("cka", x), rs.compare("procrustes", x)
    upper = np.triu_indices(len(x), 1)
    found = rank_correlation(alike, unlike, "kendall")
    assert (
        np.isclose(
            found.statistic,
            stats.kendalltau(1 - alike.values.to_numpy()[upper], unlike.values.to_numpy()[upper]).statistic,
        )
        and found.statistic > 0.5
    )
    other = unlike.dissimilarity().iloc[::-1, ::-1]
    assert rank_correlation(alike, other, "kendall").statistic == found.statistic
    d = square([[0, 1, 5], [3, 0, 7], [4, 2, 0]])  # both directions are averaged: 2, 4.5, 4.5
    assert np.isclose(
        rank_correlation(d, square([[0, 1, 2], [1, 0, 3], [2, 3, 0]])).statistic,
        stats.spearmanr([2, 4.5, 4.5], [1, 2, 3]).statistic,
    )


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_mantel_permutes_the_items_of_one(kind, rng):
    x = rng.normal(size=(5, 3))
    a, b = of_points(x), of_points(x + 0.5 * rng.normal(size=x.shape))
    found = rank_correlation(a, b, kind, "greater", "mantel")
    upper = np.triu_indices(5, 1)
    f = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    null = [
        f(a.to_numpy()[upper], b.to_numpy()[np.ix_(order, order)][upper]).statistic
        for order in map(list, itertools.permutations(range(5)))
    ]
    assert (
        np.allclose(found.null, null)
        and found.n_permutations == 120
        and np.isclose(found.p_value, np.mean(np.array(null) >= null[0] - 1e-9))
    )
    x = rng.normal(size=(12, 3))
    a, b = of_points(x), of_points(x + 0.3 * rng.normal(size=x.shape))
    found = rank_correlation(a, b, kind, "greater", "mantel", n_permutations=49, seed=3)
    assert (
        found.p_value == 1 / 50
        and len(found.null) == 49
        and np.array_equal(
            found.null, rank_correlation(a, b, kind, "greater", "mantel", n_permutations=49, seed=3).null
        )
    )
    assert not np.array_equal(
        found.null, rank_correlation(a, b, kind, "greater", "mantel", n_permutations=49, seed=4).null
    )
    assert (
        np.isclose(found.statistic, rank_correlation(a, b, kind).statistic)
        and rank_correlation(a, b, kind, "less", "mantel", n_permutations=49).p_value == 1
    )


def test_mantel_holds_its_level_where_the_formula_does_not(rng):
    """Distances of unrelated points: pairs share items, so the formula finds too much."""
    by, draws = {"mantel": [], "asymptotic": []}, sized(120, 300)
    for _ in range(draws):
        a, b = (of_points(rng.standard_cauchy(size=(10, 1))) for _ in "ab")
        for p, found in by.items():
            found.append(rank_correlation(a, b, alternative="greater", p=p, n_permutations=99).p_value)
    assert (
        min(by["mantel"]) >= 1 / 100
        and stats.kstest(np.array(by["mantel"]) - rng.uniform(0, 0.01, draws), "uniform").pvalue > 0.01
    )
    assert stats.kstest(by["asymptotic"], "uniform").pvalue < 1e-4


def test_a_rank_correlation_that_is_not_there_is_an_error(rng):
    for wrong, says in (
        (([1, 1, 1], [1, 2, 3]), "all 3 values of one side are 1 up to rounding, so there is no order"),
        (([1, 2, np.nan], [1, 2, 3]), r"1 of 3 values are undefined \(NaN\)"),
        (([1, 2], [1, 2]), "at least 3 values; there are 2"),
        (([1, 2, 3], [1, 2, 3, 4]), r"shapes \(3,\) and \(4,\)"),
        ((["a", "b", "c"], [1, 2, 3]), "must be numbers; got something else"),
        (
            (pd.Series([1, 2, 3]), pd.Series([1, 2, 3], [1, 2, 3])),
            "the same unique ones; got '0', '1', '2' and '1', '2', '3'",
        ),
        (
            (pd.DataFrame({"a": [1, 2, 3]}),) * 2,
            r"got 3 × 1 with other labels. Pass a single column of numbers as a Series, frame\['name'\]",
        ),
        ((square(1 - np.eye(4)), of_points(rng.normal(size=(4, 2)))), "all 6 pairs of one side are 1"),
        (
            (of_points(rng.normal(size=(4, 2))), of_points(rng.normal(size=(5, 2)))),
            "got 4 and 5 items, 4 of them in common",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            rank_correlation(*wrong)
    for options, says in (
        ({"p": "exact"}, "of up to 9 values; there are 12. Use p='asymptotic'"),
        ({"p": "mantel"}, "p='mantel' permutes the items of tables"),
        ({"kind": "spearmann"}, "Did you mean 'spearman'"),
        ({"alternative": "larger"}, "unknown alternative 'larger'"),
        ({"p": "exakt"}, "Did you mean 'exact'"),
    ):
        with pytest.raises(ValueError, match=says):
            rank_correlation(range(12), range(12), **options)
    a = of_points(rng.normal(size=(9, 2)))
    with pytest.raises(ValueError, match="all 36 pairs of one side are 1"):
        rank_correlation(a, square(1 - np.eye(9)), p="mantel")
    with pytest.raises(ValueError, match="n_permutations must be an integer >= 1"):
        rank_correlation(a, a, p="mantel", n_permutations=0)
    with pytest.raises(TypeError, match="got a table and a sequence"):
        rank_correlation(a, range(36))


# -- groups


def directly(d, codes):
    """R of Clarke 1993, pair by pair."""
    pairs = list(itertools.combinations(range(len(d)), 2))
    ranks = stats.rankdata([d[i, j] for i, j in pairs])
    within, between = (
        [r for r, (i, j) in zip(ranks, pairs, strict=True) if (codes[i] == codes[j]) is same] for same in (True, False)
    )
    return (np.mean(between) - np.mean(within)) / (len(pairs) / 2)


def test_r_is_that_of_a_slow_loop_and_one_where_all_within_is_nearer(rng):
    for sizes in ((5, 5), (3, 7, 4), (3, 4, 5, 6)):
        codes = [f"g{k}" for k, size in enumerate(sizes) for _ in range(size)]
        d = of_points(rng.integers(0, 4, size=(len(codes), 2)))  # with ties
        found = anosim(d, codes, n_permutations=99)
        assert np.isclose(found.statistic, directly(d.to_numpy(), codes)) and found.groups == {
            f"g{k}": size for k, size in enumerate(sizes)
        }
        same = np.equal.outer(codes, codes)
        upper = np.triu(np.ones(d.shape, bool), 1)
        assert np.isclose(found.within, d.to_numpy()[upper & same].mean()) and np.isclose(
            found.between, d.to_numpy()[upper & ~same].mean()
        )
    apart = anosim(square([[0, 1, 8, 9], [1, 0, 7, 8], [8, 7, 0, 2], [9, 8, 2, 0]]), list("aabb"))
    assert apart.statistic == 1 and apart.within == 1.5 and apart.between == 8 and isinstance(apart, Test)
    assert apart.p_value == 2 / 6 and apart.n_permutations == 6, "of all six ways to choose two of four, two do as well"
    assert (
        anosim(square(1 - np.eye(6)), list("aabbcc")).statistic == 0
        and anosim(square(1 - np.eye(6)), list("aabbcc")).p_value == 1
    )
    assert repr(apart).startswith("GroupTest(statistic=1, p_value=0.") and "\n" not in repr(apart)


def test_the_null_is_that_of_permuted_labels(rng):
    d, codes = of_points(rng.normal(size=(9, 2))), list("aaabbbccc")
    every = {labels: directly(d.to_numpy(), labels) for labels in set(itertools.permutations(codes))}
    found = anosim(d, codes, n_permutations=20, seed=5)
    assert found.n_permutations == len(every) == 1680 and np.allclose(
        np.sort(found.null), np.sort(list(every.values()))
    ), "all labellings, if they are few"
    assert found.p_value == np.mean(np.array(list(every.values())) >= found.statistic - 1e-9)
    d, codes = of_points(rng.normal(size=(11, 2))), list("aaabbbbcccc")
    found = anosim(d, codes, n_permutations=2000, seed=5)
    every = {
        tuple(labels): directly(d.to_numpy(), list(labels)) for labels in (rng.permutation(codes) for _ in range(2000))
    }
    assert stats.ks_2samp(found.null, list(every.values())).pvalue > 0.01 and abs(found.null.mean()) < 0.02
    assert found.p_value == (1 + np.sum(found.null >= found.statistic - 1e-9)) / 2001
    assert np.array_equal(found.null, anosim(d, codes, n_permutations=2000, seed=5).null)


@pytest.mark.parametrize("strata", [False, True])
def test_p_is_uniform_where_labels_mean_nothing(strata, rng):
    draws, ps, m = sized(150, 400), [], 10 if strata else 8  # so many that not all labellings are gone through
    for _ in range(draws):
        d = of_points(rng.normal(size=(2 * m, 3)) + 5 * np.repeat([0, 1], m)[:, None])
        labels = (
            rng.permuted(np.tile(["a", "b"], (2, m // 2)), axis=1).ravel()
            if strata
            else rng.permutation(np.repeat(["a", "b"], m))
        )
        ps.append(
            anosim(
                d,
                labels,
                strata=np.repeat([0, 1], m) if strata else None,
                n_permutations=99,
                seed=int(rng.integers(1e9)),
            ).p_value
        )
    assert min(ps) >= 1 / 100 and stats.kstest(np.array(ps) - rng.uniform(0, 0.01, draws), "uniform").pvalue > 0.01


def test_strata_take_out_what_another_attribute_does(rng):
    """Sorts lie far apart, seeds make a small difference within each: alone it drowns, within strata it is seen.

    And the other way round.
    """
    sort, seed = np.repeat([0, 1], 12), np.tile(np.repeat([0, 1], 6), 2)
    d = of_points(rng.normal(size=(24, 2)) * 0.3 + np.stack([50 * sort, seed], 1))
    alone, within = anosim(d, seed), anosim(d, seed, strata=sort)
    assert within.p_value <= 0.002 and within.statistic > 0.5 > alone.statistic
    parts = [anosim(d.iloc[rows, rows], seed[rows]) for rows in (sort == 0, sort == 1)]
    assert np.isclose(within.statistic, np.mean([part.statistic for part in parts])) and np.isclose(
        within.within, np.mean([part.within for part in parts])
    )
    confounded = np.where(
        np.arange(24) % 6 == 0, 1 - sort, sort
    )  # follows the sort but for one item of each seed, and says nothing beyond
    assert anosim(d, confounded).p_value < 0.01 < anosim(d, confounded, strata=sort).p_value
    skipped = anosim(d, [*seed[:12], *[0] * 12], strata=sort)  # the second stratum has one group only
    assert np.isclose(skipped.statistic, parts[0].statistic) and np.isclose(skipped.within, parts[0].within)


def test_groups_are_a_field_a_mapping_a_series_or_a_sequence(recorded):
    c = rs.compare("cka", recorded)
    sort = {"mnist-cnn-0": "cnn", "mnist-cnn-1": "cnn", "mnist-mlp-0": "mlp"}
    models = c.values.index.get_level_values("model")
    found = [
        anosim(c, groups)
        for groups in (
            sort,
            pd.Series(sort),
            [sort[model] for model in models],
            pd.Series(list(models.map(sort))).to_numpy(),
        )
    ]
    assert len({(f.statistic, f.p_value) for f in found}) == 1 and found[0].groups == {"cnn": 10, "mlp": 4}
    assert anosim(c, "model").groups == {"mnist-cnn-0": 5, "mnist-cnn-1": 5, "mnist-mlp-0": 4}
    apart = square([[0, 1, 8, 9], [1, 0, 7, 8], [8, 7, 0, 2], [9, 8, 2, 0]], list("abcd"))
    plain = anosim(apart, {"a": 1, "b": 1, "c": 2, "d": 2})
    assert plain.statistic == 1 and isinstance(plain, GroupTest)


def test_groups_that_cannot_be_compared_are_errors(recorded):
    d = of_points(np.arange(10.0).reshape(5, 2))
    for groups, says in (
        (list("aaaaa"), "there is only one, 'a', for all 5 items"),
        (list("aabb"), "groups needs one label for each of 5; there are 4"),
        (list("abcde"), "each group has one item, so that no pair is within"),
        (["a", "a", "b", "b", None], "groups must have a value for each item; it is undefined for 'i4'"),
        ({"i0": 1, "i1": 2}, "groups has no value for 'i2', 'i3', 'i4'; it has values for 'i0', 'i1'"),
        ("modle", "unknown field for groups 'modle'"),
        (
            pd.Series(list("abacb"), ["i0", "i0", "i1", "i2", "i3"]),
            "groups needs one value a model; 'i0' has several in 'groups': 'a', 'b'",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            anosim(d, groups)
    with pytest.raises(ValueError, match="no stratum has pairs of both kinds; groups: 'a \\(3\\)', 'b \\(2\\)'"):
        anosim(d, list("aaabb"), strata=list("xxxyy"))
    with pytest.raises(ValueError, match="strata needs one label for each of 5; there are 1"):
        anosim(d, list("aaabb"), strata=["x"])
    with pytest.raises(ValueError, match="1 pairs are undefined"):
        anosim(d.where(~((d.index.to_numpy()[:, None] == "i0") & (d.columns == "i1"))), list("aaabb"))
    with pytest.raises(ValueError, match="got 5 × 4 with other labels"):
        anosim(d.iloc[:, :4], list("aaabb"))
    with pytest.raises(ValueError, match="Did you mean 'model'"):
        anosim(rs.compare("cka", recorded), "modle")
    with pytest.raises(TypeError, match="got ndarray"):
        anosim(d.to_numpy(), list("aaabb"))


# -- levels


def test_unrelated_is_high_for_cosine_rsa_and_zero_for_debiased_cka(rng):
    """Gaussian data of d features and n samples: about 1 / (1 + (n - 1) / d) for the one, 0 for the other."""
    n, d = 120, 60
    xs = {name: rng.normal(size=(n, d)) for name in "abcd"}
    rsa, cka = chance_values("rsa_cosine", xs), chance_values("cka_debiased", xs)
    assert (
        rsa.shape == (50,)
        and abs(rsa.mean() - 1 / (1 + (n - 1) / d)) < 0.01
        and abs(cka.mean()) < 4 * cka.std() / math.sqrt(50)
        and cka.std() < 0.05
    )
    wide = {name: x[:30] for name, x in xs.items()}
    assert chance_values("rsa_cosine", wide, n_pairs=10).mean() > 0.6 and rsa.mean() < 0.4
    assert np.array_equal(rsa, chance_values("rsa_cosine", xs)) and not np.array_equal(
        rsa, chance_values("rsa_cosine", xs, seed=1)
    )


def test_what_is_alike_is_unrelated_once_permuted(recorded):
    one = recorded.where(model="mnist-cnn-0", layer="fc")
    (x,) = one.values()
    assert (
        rs.measures.get("cka_debiased")(x, x) == pytest.approx(1)
        and abs(chance_values("cka_debiased", one).mean()) < 0.02
    )
    layers = recorded.where(layer=["fc", "fc3"])
    assert rs.compare("cka", layers).values.to_numpy().min() > 0.4 > chance_values("cka", layers).max()
    assert chance_values("cka", {k: torch_of(v) for k, v in layers.items()}, n_pairs=3) == pytest.approx(
        chance_values("cka", layers, n_pairs=3), abs=1e-5
    )
    with pytest.raises(ValueError, match="n_pairs must be an integer >= 1"):
        chance_values("cka", layers, n_pairs=0)
    with pytest.raises(TypeError, match="representations must be a recording or a mapping"):
        chance_values("cka", list(layers.values()))
    with pytest.raises(ValueError, match="the same samples"):
        chance_values("cka", {"a": x, "b": x[:50]})


def torch_of(x):
    import torch

    return torch.tensor(np.asarray(x))


def test_sample_sets_come_nearer_the_reference_as_they_grow(recorded):
    reference = rs.compare("cka_debiased", recorded)
    calls = []
    found = sample_sets(
        "cka_debiased",
        recorded,
        reference,
        [20, 60, 200],
        n_sets=8,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert (
        found.index.name == "n"
        and list(found.index) == [20, 60, 200]
        and list(found.columns) == ["mean", "low", "high", "sets"]
    )
    assert (
        found["mean"].is_monotonic_increasing
        and found.loc[200, ["mean", "low", "high"]].to_numpy() == pytest.approx(1)
        and list(found["sets"]) == [8, 8, 1]
    )
    assert (
        (found["low"] <= found["mean"]).all()
        and (found["mean"] <= found["high"]).all()
        and found.loc[60, "low"] > found.loc[20, "low"]
    )
    assert calls[0] == (0, 17) and calls[-1] == (17, 17)
    again = sample_sets("cka_debiased", recorded, reference, [20], n_sets=8)
    assert again.loc[20].equals(found.loc[20]) and not sample_sets(
        "cka_debiased", recorded, reference, [20], n_sets=8, seed=1
    ).loc[20].equals(found.loc[20])
    narrow = sample_sets("cka_debiased", recorded, reference, [20], n_sets=8, level=0.5)
    assert found.loc[20, "low"] < narrow.loc[20, "low"] <= narrow.loc[20, "high"] < found.loc[20, "high"]


def test_sample_sets_say_what_is_wrong_and_can_be_stopped(recorded):
    reference = rs.compare("cka", recorded)
    with pytest.raises(ValueError, match="from 3, the minimum for cka, to 200; got \\[50, 201\\]"):
        sample_sets("cka", recorded, reference, [50, 201])
    with pytest.raises(ValueError, match="level must be a number between 0 and 1; got 95"):
        sample_sets("cka", recorded, reference, [50], level=95)
    with pytest.raises(ValueError, match="got 10 and 14 items, 10 of them in common"):
        sample_sets("cka", recorded.where(model="mnist-cnn-*"), reference, [50])

    def stop(done, total):
        raise Stopped("stopped")

    with pytest.raises(Stopped):
        sample_sets("cka", recorded, reference, [50], progress=stop)
