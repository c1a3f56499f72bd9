"""Groups against a base group, units that exchange labels whole, and what ANOSIM refuses."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

from repsim_nb.results.inference import anosim, centre_test, contrasts, dispersion_test
from repsim_nb.results.inference.labelled_items import relabel


def distances(x, names=None):
    index = pd.Index(names if names is not None else [f"i{k}" for k in range(len(x))], name="label")
    return pd.DataFrame(squareform(pdist(np.asarray(x, float))), index, index)


def families(rng, spread=1.0, shift=0.0, base=5, group=2, strata=2, p=4):
    """Items in strata that lie far apart: base, a group that may be moved or more spread out, and a group that is
    neither.
    """
    x, groups, layers = [], [], []
    for stratum in range(strata):
        off = 20 * rng.normal(size=p)
        for name, many, scale, moved in (("base", base, 1, 0), ("other", group, spread, shift), ("same", group, 1, 0)):
            x.append(off + scale * rng.normal(size=(many, p)) + moved)
            groups += [name] * many
            layers += [stratum] * many
    return distances(np.concatenate(x)), groups, layers


def slowly(d, groups, layers, base, name):
    """Mean dissimilarity to base minus within base, the mean over strata, for every way to choose the base items within
    strata.
    """
    d, groups, layers = d.to_numpy(), np.array(groups), np.array(layers)

    def statistic(chosen):
        found = []
        for stratum in np.unique(layers):
            rows = [i for i in np.flatnonzero(layers == stratum) if groups[i] in (base, name)]
            within = [d[i, j] for i, j in itertools.combinations(rows, 2) if i in chosen and j in chosen]
            across = [d[i, j] for i, j in itertools.combinations(rows, 2) if (i in chosen) != (j in chosen)]
            found.append(np.mean(across) - np.mean(within))
        return np.mean(found)

    per = [
        list(
            itertools.combinations(
                [i for i in np.flatnonzero(layers == s) if groups[i] in (base, name)],
                int(((groups == base) & (layers == s)).sum()),
            )
        )
        for s in np.unique(layers)
    ]
    null = np.array([statistic(set(itertools.chain(*chosen))) for chosen in itertools.product(*per)])
    seen = statistic(set(np.flatnonzero(groups == base)))
    return seen, np.mean(null >= seen - 1e-9), len(null)


@pytest.mark.parametrize("strata", [1, 2])
def test_a_contrast_is_that_of_a_slow_loop_over_all_labellings(strata, rng):
    d, groups, layers = families(rng, strata=strata, base=4)
    found = contrasts(d, groups, "base", strata=layers)
    assert list(found.index) == ["other", "same"] and found.index.name == "group"
    assert list(found) == [
        "to_base",
        "base",
        "within",
        "difference",
        "p_value",
        "p_holm",
        "least",
        "R",
        "spread_p",
        "items",
    ]
    for name, row in found.iterrows():
        seen, p, many = slowly(d, groups, layers, "base", name)
        assert (
            row["difference"] == pytest.approx(seen) == row["to_base"] - row["base"]
            and row["p_value"] == pytest.approx(p)
            and row["least"] == 1 / many
        )
        assert row["items"] == 2 * strata and pd.isna(row["spread_p"])
    smaller, larger = sorted(found["p_value"])
    assert sorted(found["p_holm"]) == pytest.approx(sorted([min(1, 2 * smaller), min(1, max(2 * smaller, larger))]))


def test_columns_say_how_far_and_how_spread(rng):
    d, groups, layers = families(rng, shift=6, base=5, group=4)
    found = contrasts(d, groups, "base", strata=layers)
    moved, same = found.loc["other"], found.loc["same"]
    assert (
        moved["p_holm"] == 2 * moved["least"] if moved["least"] > 1 / 1000 else moved["p_holm"] == pytest.approx(0.002)
    )
    assert moved["R"] > 0.9 > 0.5 > abs(same["R"]) and same["p_value"] > 0.05 and moved["to_base"] > 3 * moved["base"]
    groups_, layers_ = np.array(groups), np.array(layers)
    inside = [
        d.to_numpy()[np.ix_(rows, rows)][np.triu_indices(4, 1)].mean()
        for rows in (np.flatnonzero((groups_ == "other") & (layers_ == s)) for s in (0, 1))
    ]
    assert moved["within"] == pytest.approx(np.mean(inside))
    two = np.isin(groups_, ["base", "other"])
    assert moved["spread_p"] == dispersion_test(d.loc[two, two], list(groups_[two]), strata=list(layers_[two])).p_value
    assert moved["R"] == pytest.approx(anosim(d.loc[two, two], list(groups_[two]), strata=list(layers_[two])).statistic)


def test_one_item_has_no_pair_within_and_other_strata_do_not_count(rng):
    x = rng.normal(size=(12, 3))
    groups = ["base"] * 5 + ["one"] + ["base"] * 5 + ["elsewhere"]
    layers = [0] * 6 + [1] * 6
    found = contrasts(distances(x), groups, "base", strata=layers)
    assert pd.isna(found["within"]).all() and list(found["items"]) == [1, 1] and list(found["least"]) == [1 / 6, 1 / 6]
    alone = contrasts(distances(x[:6]), groups[:6], "base")
    assert found.loc["one", "p_value"] == alone.loc["one", "p_value"] and found.loc["one", "base"] == pytest.approx(
        alone.loc["one", "base"]
    )


def test_contrasts_hold_their_level_and_see_shift_and_spread():
    """One p at most .05 in twenty where a group is as base; a group that is moved or more spread out is farther from
    base items; one that is less spread out is not.
    """
    small = {kind: 0 for kind in ("null", "moved", "spread", "narrow")}
    for kind, options, many in (
        ("null", {}, 150),
        ("moved", {"shift": 1.5}, 40),
        ("spread", {"spread": 2}, 40),
        ("narrow", {"spread": 0.5}, 40),
    ):
        for seed in range(many):
            d, groups, layers = families(np.random.default_rng(seed), **options)
            small[kind] += contrasts(d, groups, "base", strata=layers).loc["other", "p_value"] <= 0.05
    assert 1 <= small["null"] <= 17 and small["moved"] > 30 and small["spread"] > 24 and small["narrow"] <= 2, small


def test_contrasts_that_are_not_there_are_errors(rng):
    d, groups, _ = families(rng)
    with pytest.raises(ValueError, match="unknown base group 'bas'.*Did you mean 'base'"):
        contrasts(d, groups, "bas")
    with pytest.raises(ValueError, match="'a' is compared with 'b' by the pairs within 'b', but it has one item"):
        contrasts(distances(rng.normal(size=(4, 2))), list("aaab"), "b")
    with pytest.raises(
        ValueError, match="'x' is compared with 'base' within strata by the pairs within 'base', but in no stratum"
    ):
        contrasts(
            distances(rng.normal(size=(5, 2))), ["base", "base", "base", "x", "x"], "base", strata=[0, 0, 0, 1, 1]
        )
    with pytest.raises(
        ValueError,
        match=(
            r"unknown base group '0' \(str\). Did you mean 0 \(int\)\? The two are the same as text, but not as"
            r" labels.$"
        ),
    ):
        contrasts(distances(rng.normal(size=(9, 2))), [0] * 5 + [1] * 2 + [2] * 2, "0")
    with pytest.raises(ValueError, match=r"unknown base group 0 \(int\). Did you mean '0' \(str\)"):
        contrasts(distances(rng.normal(size=(9, 2))), list("000001122"), 0)
    with pytest.raises(ValueError, match="there is only one, 'base'"):
        contrasts(d, ["base"] * len(d), "base")


# -- what ANOSIM refuses


def test_a_group_with_one_pair_is_refused(rng):
    """With one pair within, or none, R is the tightness of the other groups: it is .9 although those two items are as
    far from each other as from all others.
    """
    x = np.concatenate([0.01 * rng.normal(size=(6, 8)), 10 * np.eye(8)[:2]])
    groups = ["true"] * 6 + ["permuted"] * 2
    for which in (slice(None), slice(0, 7)):
        with pytest.raises(
            ValueError, match=r"one pair or none \('permuted'\).*tightness of the other groups.*inference.contrasts"
        ):
            anosim(distances(x[which]), groups[which])
    twice = distances(np.concatenate([x, x + 50]))
    with pytest.raises(ValueError, match=r"one pair or none within any stratum \('permuted'\)"):
        anosim(twice, groups * 2, strata=np.repeat([0, 1], 8))
    found = contrasts(distances(x), groups, "true").loc["permuted"]
    assert found["R"] > 0.8 and found["within"] > 0.9 * found["to_base"], "far from base, and from each other"


def test_three_items_in_one_stratum_are_enough_and_pairs_everywhere_are_fair(rng):
    x = rng.normal(size=(11, 3))
    groups, strata = list("aaabbb") + list("aaabb"), [0] * 6 + [1] * 5
    assert anosim(distances(x), groups, strata=strata).p_value > 0
    pairs = anosim(distances(x[:6]), list("aabbcc"))
    assert pairs.n_permutations == 90 and pairs.p_value * 15 == pytest.approx(round(pairs.p_value * 15)), (
        "15 ways to make pairs, each 6 times"
    )


# -- units and all labellings


@pytest.mark.parametrize("test", [anosim, centre_test])
def test_few_labellings_are_gone_through(test, rng):
    d = distances(rng.normal(size=(7, 3)))
    found = test(d, list("aaaabbb"), n_permutations=9)
    assert (
        found.n_permutations == 35
        and len(found.null) == 35
        and found.p_value * 35 == pytest.approx(np.sum(found.null >= found.statistic - 1e-9))
    )
    assert np.isclose(found.null, found.statistic).any() and found.p_value == test(d, list("aaaabbb"), seed=4).p_value
    apart = distances(np.r_[rng.normal(size=(4, 3)), 50 + rng.normal(size=(3, 3))])
    assert test(apart, list("aaaabbb")).p_value == pytest.approx(1 / 35), "4 of 7 in one way only"


def test_no_p_value_of_dispersion_is_zero(rng):
    narrow, wide = 0.01 * np.eye(4) * np.arange(1, 5), 100 * np.eye(4) * np.arange(1, 5)
    found = dispersion_test(distances(np.r_[narrow, wide]), list("aaaabbbb"))
    assert found.n_permutations == 70 and 1 / 70 <= found.p_value <= 1
    assert found.p_value * 70 == pytest.approx(np.sum(found.null >= found.statistic * (1 - 1e-9)))


def test_spreads_are_about_the_centre_within_a_stratum(rng):
    """Strata that lie far apart are no spread."""
    x = np.r_[rng.normal(size=(6, 3)), rng.normal(size=(6, 3))]
    groups, strata = list("aaabbb") * 2, np.repeat([0, 1], 6)
    near, far = (dispersion_test(distances(x + gap * strata[:, None]), groups, strata=strata) for gap in (0, 1000))
    assert (
        far.spreads == pytest.approx(near.spreads, rel=1e-4)
        and far.statistic == pytest.approx(near.statistic, rel=1e-3)
        and max(far.spreads.values()) < 5
    )
    parts = [dispersion_test(distances(x[strata == s]), list("aaabbb")).statistic for s in (0, 1)]
    assert near.statistic == pytest.approx(np.mean(parts))
    with pytest.raises(ValueError, match="a group of one item in a stratum has no spread. Leave out 'b'"):
        dispersion_test(distances(x[:10]), list("aaabbbaaab"), strata=strata[:10])
    with pytest.raises(
        ValueError,
        match="both items of a group of two are equally far from its centre.*give 'b' 3 items or more in each stratum",
    ):
        dispersion_test(distances(x[:11]), list("aaabbbaaabb"), strata=strata[:11])


def test_units_exchange_their_labels_whole(rng):
    units = np.repeat(np.arange(6), 2)
    codes = np.repeat([0, 1], 6)
    labels, every = relabel(codes, np.zeros(12, int), units, 99, rng)
    assert (
        every
        and len(labels) == 20
        and (labels[:, ::2] == labels[:, 1::2]).all()
        and (labels.sum(axis=1) == 6).all()
        and len(np.unique(labels, axis=0)) == 20
    )
    x = rng.normal(size=(6, 3))[units] + 0.1 * rng.normal(size=(12, 3))
    for test in (anosim, centre_test):
        found = test(distances(x), list(codes), units=list(units))
        assert found.permuted == "units" and found.n_permutations == 20 and found.p_value >= 1 / 20
        alone = test(distances(x), list(codes), n_permutations=49)
        assert alone.permuted == "samples" and alone.statistic == pytest.approx(found.statistic)
    table = contrasts(distances(x), ["base"] * 6 + ["new"] * 6, "base", units=list(units))
    assert table.loc["new", "least"] == 1 / 20 and pd.isna(table.loc["new", "spread_p"])
    with pytest.raises(ValueError, match="spreads need at least 4 units in each group; 0 has 3, 1 has 3"):
        dispersion_test(distances(x), list(codes), units=list(units))
    units = np.repeat(np.arange(8), 2)
    x = rng.normal(size=(8, 3))[units] + 0.1 * rng.normal(size=(16, 3))
    found, alone = (dispersion_test(distances(x), [0] * 8 + [1] * 8, units=of) for of in (list(units), None))
    assert found.permuted == "units" and found.n_permutations == 70 and found.p_value >= 1 / 70
    assert alone.permuted == "samples" and alone.statistic == pytest.approx(found.statistic)


def test_units_over_strata_move_in_all_of_them(rng):
    """Runs from one seed at three rates: the seed is the unit, the rate the stratum."""
    seed, rate = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    codes = (seed > 1).astype(int)
    labels, every = relabel(codes, rate, seed, 99, rng)
    assert every and len(labels) == 6 and (labels.reshape(-1, 4, 3) == labels.reshape(-1, 4, 3)[:, :, :1]).all()
    free, _ = relabel(codes, rate, None, 999, rng)
    assert len(free) == 6**3
    unlike = np.array([0, 0, 1, 1, 2, 3])  # two units of two items, two of one
    labels, _ = relabel(np.array([0, 0, 1, 1, 0, 1]), np.zeros(6, int), unlike, 99, rng)
    assert len(labels) == 4, "units of one size change places"


def test_units_that_cannot_be_exchanged_are_errors(rng):
    d = distances(rng.normal(size=(8, 3)))
    with pytest.raises(ValueError, match="all items of a unit must be in one group.*'u1' has items in 'a', 'b'"):
        anosim(d, list("aaaabbbb"), units=["u0"] * 3 + ["u1"] * 2 + ["u2"] * 3)
    with pytest.raises(ValueError, match="there is no other labelling"):
        anosim(d, list("aaaaabbb"), units=[0] * 5 + [1] * 3)
    groups, units = list("aaaa") + list("bb") + list("mmm") + list("nnn"), [0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4]
    with pytest.raises(
        ValueError,
        match=(
            "'m', 'n' cannot be compared with 'a'.*no unit of 'm' has as many as a unit of 'a'. Leave 'm', 'n' out, or"
            " give no units if items are independent"
        ),
    ):
        contrasts(distances(rng.normal(size=(12, 3))), groups, "a", units=units)
    kept = [place for place, name in enumerate(groups) if name in "ab"]
    assert list(
        contrasts(
            distances(rng.normal(size=(6, 3))), [groups[k] for k in kept], "a", units=[units[k] for k in kept]
        ).index
    ) == ["b"]
    with pytest.raises(ValueError, match="units needs one label for each of 8"):
        centre_test(d, list("aaaabbbb"), units=[1, 2])


def test_p_is_uniform_if_units_share_what_they_have():
    """Ten units of four items: taken for independent items they reject far too often."""
    rejected = {"units": 0, "items": 0}
    units, codes = np.repeat(np.arange(10), 4), ["a"] * 20 + ["b"] * 20
    for seed in range(150):
        rng = np.random.default_rng(seed)
        d = distances(rng.normal(size=(10, 3))[units] + 0.4 * rng.normal(size=(40, 3)))
        for how, its in (("units", list(units)), ("items", None)):
            rejected[how] += anosim(d, codes, units=its, n_permutations=99).p_value <= 0.05
    assert rejected["units"] <= 17 and rejected["items"] > 60, rejected


def test_only_a_missing_spread_is_missing(monkeypatch):
    table = pd.DataFrame(np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0))))
    groups = ["base"] * 4 + ["few"] * 2 + ["more"] * 2
    assert contrasts(table, groups, "base")["spread_p"].isna().all(), "groups of two have no spread"

    def fails(*_, **__):
        raise ValueError("another error")

    monkeypatch.setattr("repsim_nb.results.inference.group_contrasts.dispersion_test", fails)
    with pytest.raises(ValueError, match="another error"):
        contrasts(table, groups, "base")
