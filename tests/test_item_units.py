"""Items that depend on each other: Mantel and intervals over whole groups, crossed groups, a third table held constant,
differences of correlations, block means over items.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from sizes import sized

import repsim_nb as rs
from repsim_nb.results.inference import block_means, judge, rank_correlation, rank_differences, rank_interval
from repsim_nb.results.inference.units import simultaneous


def square(d, names=None):
    labels = pd.Index(names if names is not None else [f"i{k}" for k in range(len(d))], name="label")
    return pd.DataFrame(np.asarray(d, float), index=labels, columns=labels)


def distances(x):
    return square(squareform(pdist(x)))


def upper(frame):
    return frame.to_numpy()[np.triu_indices(len(frame), 1)]


def three(rng, m, shared=1.0):
    """Two tables that both hold a third."""
    z = rng.normal(size=(m, 2))
    return [distances(np.c_[shared * z, 0.7 * rng.normal(size=(m, 2))]) for _ in "xy"] + [distances(z)]


# -- Mantel over groups


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_mantel_exchanges_whole_groups(kind, rng):
    codes = np.repeat(np.arange(4), 2)
    a, b = (distances(rng.normal(size=(4, 2))[codes] + 0.2 * rng.normal(size=(8, 2))) for _ in "ab")
    found = rank_correlation(a, b, kind, groups=list("aabbccdd"))
    f = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}[kind]
    null = [
        f(upper(a), upper(b.iloc[order, order])).statistic
        for order in ([2 * g + k for g in chosen for k in (0, 1)] for chosen in itertools.permutations(range(4)))
    ]
    assert (
        found.n_permutations == 24
        and found.permuted == "groups"
        and np.allclose(found.null, null)
        and "24 permutations of groups" in repr(found)
    )
    assert (
        found.p_value == np.mean(np.abs(null) >= abs(found.statistic) - 1e-9)
        and rank_correlation(a, b, kind).permuted == "samples"
    )
    assert (
        rank_correlation(a, b.iloc[::-1, ::-1], kind, groups=dict(zip(a.index, "aabbccdd", strict=True))).p_value
        == found.p_value
    )


def test_crossed_groups_exchange_the_levels_of_each(rng):
    first, second = np.repeat(np.arange(3), 3), np.tile(np.arange(3), 3)
    a, b = (distances(rng.normal(size=(9, 2))) for _ in "ab")
    found = rank_correlation(a, b, groups=pd.DataFrame({"pretraining": first, "tuning": second}, index=a.index))
    orders = {
        tuple(np.arange(9).reshape(3, 3)[list(p)][:, list(q)].ravel())
        for p in itertools.permutations(range(3))
        for q in itertools.permutations(range(3))
    }
    null = sorted(stats.spearmanr(upper(a), upper(b.iloc[list(o), list(o)])).statistic for o in orders)
    assert found.n_permutations == 36 and np.allclose(np.sort(found.null), null)


def test_p_is_uniform_over_groups_and_far_too_small_over_items():
    rejected = {"groups": 0, "items": 0}
    codes = np.repeat(np.arange(8), 3)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        a, b = (distances(rng.normal(size=(8, 2))[codes] + 0.3 * rng.normal(size=(24, 2))) for _ in "ab")
        for how, its in (("groups", list(codes)), ("items", None)):
            rejected[how] += (
                rank_correlation(a, b, alternative="greater", groups=its, n_permutations=99).p_value <= 0.05
            )
    assert rejected["groups"] <= 12 and rejected["items"] > 40, rejected


def test_groups_that_cannot_be_exchanged_are_errors(rng):
    a, b = (distances(rng.normal(size=(6, 2))) for _ in "ab")
    with pytest.raises(ValueError, match="no two of these 3 have the same number of items"):
        rank_correlation(a, b, groups=list("abbccc"))
    with pytest.raises(ValueError, match="at least 3 of them"):
        rank_correlation(a, b, groups=list("aaabbb"))
    with pytest.raises(
        ValueError,
        match="groups= is for two tables with p='mantel', which exchanges whole groups of items; got p='asymptotic'",
    ):
        rank_correlation(a, b, p="asymptotic", groups=list("aabbcc"))
    with pytest.raises(ValueError, match="got two sequences"):
        rank_correlation([1, 2, 3, 4], [2, 1, 3, 4], groups=[1, 1, 2, 3])


# -- a third table held constant


def by_residuals(x, y, z):
    """The partial rank correlation as Pearson's correlation of the residuals of ranks."""
    rx, ry, rz = (stats.rankdata(v) for v in (x, y, z))
    design = np.c_[np.ones(len(rz)), rz]
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (rx, ry)]
    return np.corrcoef(*left)[0, 1]


def test_the_partial_correlation_is_that_of_residuals(rng):
    x, y, z = rng.integers(0, 8, size=(3, 20))  # with ties
    y = y + z
    found = rank_correlation(x, y, given=z)
    r = by_residuals(x, y, z)
    assert found.statistic == pytest.approx(r) and found.p_value == pytest.approx(
        2 * stats.t.sf(abs(r) * np.sqrt(17 / (1 - r**2)), 17)
    )
    assert rank_correlation(x, y, given=z, alternative="greater").p_value == pytest.approx(
        found.p_value / 2 if r > 0 else 1 - found.p_value / 2
    )
    tau = [stats.kendalltau(a, b).statistic for a, b in ((x, y), (x, z), (y, z))]
    partial = rank_correlation(x, y, "kendall", given=z)
    assert partial.statistic == pytest.approx(
        (tau[0] - tau[1] * tau[2]) / np.sqrt((1 - tau[1] ** 2) * (1 - tau[2] ** 2))
    )
    assert partial.p_value == pytest.approx(
        2 * stats.norm.sf(abs(partial.statistic) / np.sqrt(2 * (2 * 19 + 5) / (9 * 19 * 18)))
    )
    series = [pd.Series(v, [f"k{i}" for i in range(20)]) for v in (x, y, z)]
    assert rank_correlation(
        series[0], series[1].iloc[::-1], given=series[2].sample(frac=1, random_state=0)
    ).statistic == pytest.approx(r)


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_residuals_of_one_table_are_permuted(kind, rng):
    a, b, c = three(rng, 5)
    found = rank_correlation(a, b.iloc[::-1, ::-1], kind, "greater", given=c.iloc[[2, 0, 1, 4, 3], [2, 0, 1, 4, 3]])
    rank = [stats.rankdata(upper(t)) - 5.5 for t in (a, b, c)]
    slope = rank[1] @ rank[2] / (rank[2] @ rank[2])
    left = np.zeros((5, 5))
    left[np.triu_indices(5, 1)] = rank[1] - slope * rank[2]
    left = left + left.T
    null = []
    for order in itertools.permutations(range(5)):
        y = (slope * rank[2] + left[np.ix_(order, order)][np.triu_indices(5, 1)]).round(9)
        if kind == "spearman":
            xy, xz, yz = (np.corrcoef(*pair)[0, 1] for pair in ((rank[0], y), (rank[0], rank[2]), (y, rank[2])))
        else:
            xy, xz, yz = (
                stats.kendalltau(*pair).statistic for pair in ((rank[0], y), (rank[0], rank[2]), (y, rank[2]))
            )
        null.append((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))
    assert found.n_permutations == 120 and np.allclose(found.null, null) and found.statistic == pytest.approx(null[0])
    assert found.p_value == np.mean(np.array(null) >= null[0] - 1e-9)


def test_what_both_owe_to_a_third_is_taken_out():
    """Partial Mantel tests are somewhat liberal; without what is given nearly every study rejects."""
    rejected = {"given": 0, "alone": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        z = squareform(pdist(rng.normal(size=(10, 2))))
        a, b = (square(z + 0.8 * squareform(pdist(rng.normal(size=(10, 2))))) for _ in "ab")
        for how, its in (("given", square(z)), ("alone", None)):
            rejected[how] += rank_correlation(a, b, alternative="greater", given=its, n_permutations=99).p_value <= 0.05
    assert rejected["given"] <= 16 and rejected["alone"] > 85, rejected


def test_p_of_partial_correlations_of_sequences_is_uniform():
    ps, kendall = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=30)
        x, y = z + rng.normal(size=(2, 30))
        ps.append(rank_correlation(x, y, given=z).p_value)
        kendall.append(rank_correlation(x - z, y - z, "kendall", given=z).p_value)
    assert stats.kstest(ps, "uniform").pvalue > 0.01 and 4 <= np.sum(np.array(kendall) <= 0.05) <= 24


def test_what_cannot_be_held_constant_is_an_error(rng):
    a, b, c = three(rng, 6)
    for given, says in (
        (a, "as the first side does .rank correlation 1., so that nothing is left of that side"),
        (square(9 * (1 - np.eye(6)) - b.to_numpy() * (1 - np.eye(6))), "in reverse of how the second side does"),
        (square(1 - np.eye(6)), r"all 15 pairs of what is held constant \(given\) are 1"),
    ):
        for call in (rank_correlation, rank_interval):
            with pytest.raises(ValueError, match=says):
                call(a, b, given=given)
    with pytest.raises(TypeError, match="got a table and a sequence .given must be like both."):
        rank_correlation(a, b, given=upper(c))
    with pytest.raises(ValueError, match="at least 4 values; there are 3"):
        rank_correlation([1, 2, 3], [2, 1, 3], given=[1, 3, 2])
    with pytest.raises(ValueError, match="with given= not all orders are equally likely"):
        rank_correlation([1, 2, 3, 4], [2, 1, 3, 4], p="exact", given=[1, 3, 2, 4])


# -- intervals


def crossed(rng, first=5, second=5, alpha=0.9):
    """Two tables over first × second items, whose places are the sum of an effect of each and of both."""
    codes = np.repeat(np.arange(first), second), np.tile(np.arange(second), first)
    u, v = (
        [
            rng.normal(size=(first, 3))[codes[0]],
            0.7 * rng.normal(size=(second, 3))[codes[1]],
            0.3 * rng.normal(size=(first * second, 3)),
        ]
        for _ in "uv"
    )
    mixed = [alpha * a + np.sqrt(1 - alpha**2) * b for a, b in zip(u, v, strict=True)]
    a = distances(sum(u))
    return (
        a,
        distances(sum(mixed)),
        pd.DataFrame(dict(zip(("pretraining", "tuning"), codes, strict=True)), index=a.index),
    )


def test_variances_of_crossed_groups_are_added(rng):
    a, b, groups = crossed(rng, 6, 5)
    seen, variance, df = stats.spearmanr(upper(a), upper(b)).statistic, [], []
    for name in groups:
        without = []
        for level in range(groups[name].nunique()):
            kept = (groups[name] != level).to_numpy()
            without.append(stats.spearmanr(upper(a.loc[kept, kept]), upper(b.loc[kept, kept])).statistic)
        df.append(len(without) - 1)
        variance.append(df[-1] * np.var(without) / (1 - seen**2) ** 2)
    freedom = sum(variance) ** 2 / sum(v**2 / d for v, d in zip(variance, df, strict=True))
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(sum(variance))
    found = rank_interval(a, b, groups=groups)
    assert (found.low, found.high) == pytest.approx(
        (np.tanh(np.arctanh(seen) - reach), np.tanh(np.arctanh(seen) + reach))
    )
    assert rank_interval(a, b, groups=groups[["pretraining"]]) == rank_interval(
        a, b, groups=list(groups["pretraining"])
    )
    with pytest.raises(
        ValueError, match="leaves out levels of 'tuning' needs at least 5 of them; these tables have 4 in common"
    ):
        rank_interval(a, b, groups=groups.assign(tuning=np.arange(30) % 4))


def test_intervals_over_crossed_groups_cover():
    true = np.mean(
        [stats.spearmanr(*map(upper, crossed(np.random.default_rng(900 + k), 24, 24)[:2])).statistic for k in range(3)]
    )
    held = {"crossed": 0, "items": 0}
    for seed in range(60):
        a, b, groups = crossed(np.random.default_rng(seed))
        for how, its in (("crossed", groups), ("items", None)):
            held[how] += true in rank_interval(a, b, groups=its)
    assert held["crossed"] >= 52 and held["items"] <= held["crossed"] - 6, held


def test_an_interval_with_a_third_table_held_constant_is_the_jackknifes(rng):
    a, b, c = three(rng, 8)
    seen = by_residuals(upper(a), upper(b), upper(c))
    without = [by_residuals(*(upper(t.drop(k, axis=0).drop(k, axis=1)) for t in (a, b, c))) for k in a.index]
    reach = stats.t.ppf(0.975, 7) * np.sqrt(7 * np.var(without)) / (1 - seen**2)
    found = rank_interval(a, b, given=c)
    assert (found.low, found.estimate, found.high) == pytest.approx(
        (np.tanh(np.arctanh(seen) - reach), seen, np.tanh(np.arctanh(seen) + reach))
    )


# -- differences


def noisy(points, noises, rng):
    return {f"t{k}": distances(points + noise * rng.normal(size=points.shape)) for k, noise in enumerate(noises)}


def test_differences_have_the_jackknifes_error_and_hold_at_once(rng):
    points = rng.normal(size=(9, 3))
    tables, b = noisy(points, (0.3, 1, 2), rng), distances(points)
    found = rank_differences(tables, b, against="t1", level=0.9)
    assert judge(found.loc["t0"], above=0).level == 0.9
    assert (
        list(found) == ["correlation", "difference", "low", "high", "p_value", "detectable", "significant"]
        and list(found.index) == ["t0", "t2"]
        and found.attrs["against"] == "t1"
    )
    own = {name: stats.spearmanr(upper(t), upper(b)).statistic for name, t in tables.items()}
    assert found["correlation"].to_dict() == pytest.approx({k: own[k] for k in ("t0", "t2")}) and found[
        "difference"
    ].to_dict() == pytest.approx({k: own["t1"] - own[k] for k in ("t0", "t2")})
    drop = [
        {
            name: (
                stats.spearmanr(
                    upper(t.drop(k, axis=0).drop(k, axis=1)), upper(b.drop(k, axis=0).drop(k, axis=1))
                ).statistic
            )
            for name, t in tables.items()
        }
        for k in b.index
    ]
    error = pd.Series({name: np.sqrt(8 * np.var([one["t1"] - one[name] for one in drop])) for name in ("t0", "t2")})
    ratio = (found["high"] - found["low"]) / 2 / error
    assert ratio["t0"] == pytest.approx(ratio["t2"]) and stats.t.ppf(0.95, 8) < ratio["t0"] < stats.t.ppf(0.98, 8)
    assert (found["detectable"] / error).to_list() == pytest.approx([stats.t.ppf(0.95, 8) + stats.t.ppf(0.8, 8)] * 2)
    assert (found["significant"] == ((found["low"] > 0) | (found["high"] < 0))).all() and (
        (found["p_value"] <= 0.1) == found["significant"]
    ).all()
    single = rank_differences({"t1": tables["t1"], "t2": tables["t2"]}, b, against="t1").loc["t2"]
    assert (single["high"] - single["low"]) / 2 == pytest.approx(stats.t.ppf(0.975, 8) * error["t2"], rel=0.05)


def test_the_best_of_several_pays_for_all_pairs(rng):
    points = rng.normal(size=(12, 3))
    tables, b = noisy(points, (0.3, 1, 2, 3), rng), distances(points)
    best, named = rank_differences(tables, b), rank_differences(tables, b, against="t0")
    assert (
        best.attrs["against"] == "t0"
        and best.index.name == "t0 minus"
        and np.allclose(best["difference"], named["difference"])
    )
    assert (
        (best["high"] - best["low"] > named["high"] - named["low"]).all()
        and (best["p_value"] >= named["p_value"] - 0.01).all()
        and (best["p_value"] > 0).all()
    )
    assert rank_differences(tables, b, seed=1)["low"].to_list() == pytest.approx(best["low"].to_list(), abs=0.02)
    again = rank_differences({name: t.iloc[::-1, ::-1] for name, t in tables.items()}, b, kind="spearman")
    assert np.allclose(again.drop(columns="significant"), best.drop(columns="significant"))


def test_differences_take_groups_and_a_third_table(rng):
    points = rng.normal(size=(25, 3))
    tables, b, c = noisy(points, (0.3, 1), rng), distances(points), distances(rng.normal(size=(25, 2)))
    groups = pd.DataFrame({"first": np.repeat(np.arange(5), 5), "second": np.tile(np.arange(5), 5)}, index=b.index)
    found = rank_differences(tables, b, groups=groups, given=c, kind="kendall", against="t0").loc["t1"]
    value = {k: rank_correlation(t, b, "kendall", given=c, n_permutations=1).statistic for k, t in tables.items()}
    assert found["difference"] == pytest.approx(value["t0"] - value["t1"])
    variance = 0
    for name in groups:
        without = []
        for level in range(5):
            kept = (groups[name] != level).to_numpy()
            one = [
                rank_correlation(
                    t.loc[kept, kept], b.loc[kept, kept], "kendall", given=c.loc[kept, kept], n_permutations=1
                ).statistic
                for t in tables.values()
            ]
            without.append(one[0] - one[1])
        variance += 4 * np.var(without)
    assert found["detectable"] == pytest.approx((stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) * np.sqrt(variance))


def test_equal_tables_do_not_differ(rng):
    points = rng.normal(size=(8, 3))
    tables = noisy(points, (1, 1), rng)
    found = rank_differences(
        {"one": tables["t0"], "same": tables["t0"] * 3, "other": tables["t1"]}, distances(points), against="one"
    ).loc["same"]
    assert (
        found["difference"] == found["low"] == found["high"] == 0 and found["p_value"] == 1 and not found["significant"]
    )
    with pytest.raises(ValueError, match="rank_differences needs at least two tables; there is 1"):
        rank_differences({"one": tables["t0"]}, distances(points))
    with pytest.raises(ValueError, match="unknown table 't2'"):
        rank_differences(tables, distances(points), against="t2")
    with pytest.raises(ValueError, match="'t0' and the other table order all 28 pairs alike"):
        rank_differences(tables, tables["t0"])
    with pytest.raises(TypeError, match="tables must be named"):
        rank_differences(list(tables.values()), distances(points))
    with pytest.raises(
        ValueError, match=r"unknown table '0' \(str\). Did you mean 0 \(int\)\? The two are the same as text"
    ):
        rank_differences({0: tables["t0"], 1: tables["t1"]}, distances(points), against="0")


def test_all_intervals_of_differences_hold_together():
    """Five tables that are equally good: hardly ever is a difference real, and where there are differences all
    intervals hold them.
    """
    real = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(10, 3))
        real += rank_differences(noisy(points, (0.9,) * 4, rng), distances(points))["significant"].any()
    assert real <= 5
    estimates = pd.Series([0.0, 0.0])
    assert (
        simultaneous(estimates, pd.DataFrame(np.random.default_rng(0).normal(size=(2000, 2))), 10)["p_value"].min()
        > 0.9
    )


# -- block means over items

KINDS = {name: name[0] for name in ("p0", "p1", "p2", "p3", "q0", "q1", "q2")}


def recordings(rng, n=60, sd=0.6):
    shared = np.random.default_rng(3).normal(size=(2, 6, 8))
    latent = rng.normal(size=(n, 6))
    return {
        name: latent @ (shared[int(name[0] == "q")] + sd * rng.normal(size=(6, 8))) + 0.5 * rng.normal(size=(n, 8))
        for name in KINDS
    }


def test_items_are_left_out_group_by_group(rng):
    xs = recordings(rng)
    found = block_means("cka_debiased", xs, KINDS, over="items", level=0.9)
    table = rs.compare("cka_debiased", xs).values

    def mean(one, other):
        return np.mean(
            [
                table.loc[i, j]
                for i, j in (itertools.combinations(one, 2) if one == other else itertools.product(one, other))
            ]
        )

    p, q = ([name for name in KINDS if name[0] == kind] for kind in "pq")
    left = np.array([mean([k for k in p if k != one], [k for k in p if k != one]) for one in p])
    reach = stats.t.ppf(0.95, 3) * np.sqrt(3 * np.var(left))
    assert found.loc[("p", "p"), ["low", "high"]].to_list() == pytest.approx([mean(p, p) - reach, mean(p, p) + reach])
    variance = [
        3 * np.var([mean([k for k in p if k != one], q) for one in p]),
        2 * np.var([mean(p, [k for k in q if k != one]) for one in q]),
    ]
    freedom = sum(variance) ** 2 / (variance[0] ** 2 / 3 + variance[1] ** 2 / 2)
    reach = stats.t.ppf(0.95, freedom) * np.sqrt(sum(variance))
    assert found.loc[("p", "q"), ["low", "high"]].to_list() == pytest.approx([mean(p, q) - reach, mean(p, q) + reach])


def test_both_sources_are_added(rng):
    xs = recordings(rng)
    frames = {
        over: block_means("cka_debiased", xs, KINDS, over=over, parts=10) for over in ("samples", "items", "both")
    }
    assert all(np.allclose(frame["mean"], frames["samples"]["mean"]) for frame in frames.values())
    wide = {over: frame["high"] - frame["low"] for over, frame in frames.items()}
    assert (wide["both"] > wide["samples"]).all() and np.allclose(
        *(block_means("cka_debiased", xs, KINDS, parts=10)[end] for end in ("low", "low"))
    )
    row = ("p", "p")
    variances = [
        (wide["samples"][row] / 2 / stats.t.ppf(0.975, 9)) ** 2,
        (wide["items"][row] / 2 / stats.t.ppf(0.975, 3)) ** 2,
    ]
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 9 + variances[1] ** 2 / 3)
    assert wide["both"][row] / 2 == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(sum(variances)))
    assert (
        wide["items"][row]
        == (lambda frame: frame["high"] - frame["low"])(
            block_means("cka_debiased", xs, KINDS, over="items", parts=999)
        )[row]
    ), "parts are of samples"


def test_too_few_items_are_an_error(rng):
    xs = {name: x for name, x in recordings(rng).items() if name != "q2"}
    for over in ("items", "both"):
        with pytest.raises(ValueError, match=r"at least 3 of them in each; .* 'q \(2\)'. Use over='samples'"):
            block_means("cka", xs, {name: name[0] for name in xs}, over=over)
    with pytest.raises(ValueError, match="unknown source of variation 'images'"):
        block_means("cka", xs, {name: name[0] for name in xs}, over="images")


def test_intervals_over_items_hold_for_other_items():
    """An interval over samples only does not cover other models."""
    rng = np.random.default_rng(0)
    shared = np.random.default_rng(3).normal(size=(2, 6, 8))[0]
    maps = [shared + 0.6 * rng.normal(size=(6, 8)) for _ in range(200)]
    noise = 0.25 * np.eye(8)
    own = [np.linalg.norm(w.T @ w + noise) for w in maps]
    true = np.mean(
        [np.linalg.norm(maps[i].T @ maps[j]) ** 2 / own[i] / own[j] for i, j in itertools.combinations(range(200), 2)]
    )
    held, draws = dict.fromkeys(("samples", "items", "both"), 0), sized(20, 40)
    for seed in range(draws):
        xs = {name: x for name, x in recordings(np.random.default_rng(seed), 200).items() if name[0] == "p"}
        for over in held:
            row = block_means("cka_debiased", xs, ["p"] * 4, over=over, parts=8, row_groups=range(200)).iloc[0]
            held[over] += row["low"] <= true <= row["high"]
    assert held["both"] >= 0.9 * draws and held["samples"] <= 0.6 * draws and held["items"] <= held["both"], held
