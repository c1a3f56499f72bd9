"""Grounding: rank correlations with functionality, the benchmark, layers distinguished, deletions noticed."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import repsim_nb as rs
from repsim_nb.measures.arrays import PrincipalComponents
from repsim_nb.studies.published import GROUNDING_BERT, layer_experiment

grounding = rs.grounding


# -- pairs


@pytest.fixture(scope="module")
def bert():
    return layer_experiment()


def test_the_published_figures_come_out_of_the_published_pairs(bert):
    references = grounding.reference_pairs(bert, "QNLI_diff")
    last = references[references["layer1"] == 11]
    assert len(last) == 120 and set(last["seed1"]) == {4} and len(references) == 12 * 120
    found = grounding.correlate(last, list(GROUNDING_BERT), "QNLI_diff")
    pd.testing.assert_frame_equal(found[["spearman", "kendall"]].T.round(3), GROUNDING_BERT, check_names=False)
    assert (found["n"] == 120).all() and (found[["spearman_p", "kendall_p"]] < 1e-12).all(axis=None)
    other = grounding.reference_pairs(bert, "SST2_diff")
    assert set(other.loc[other["layer1"] == 11, "seed1"]) == {5}


def test_over_references_statistics_are_averaged_and_p_values_doubled(bert):
    references = grounding.reference_pairs(bert, "QNLI_diff")
    found = grounding.correlate(references, "CKA", "QNLI_diff", by="layer1").loc["CKA"]
    each = [grounding.correlate(part, "CKA", "QNLI_diff").loc["CKA"] for _, part in references.groupby("layer1")]
    assert found["spearman"] == pytest.approx(np.mean([e["spearman"] for e in each])) and found[
        "kendall"
    ] == pytest.approx(np.mean([e["kendall"] for e in each]))
    assert found["spearman_p"] == pytest.approx(2 * np.mean([e["spearman_p"] for e in each])) and found["n"] == 1440
    less = grounding.correlate(references, "CKA", "QNLI_diff", by=["layer1"], alternative="less").loc["CKA"]
    assert less["spearman_p"] == 1 and less["spearman"] == found["spearman"]


def test_statistics_are_those_of_scipy_one_sided(rng):
    frame = pd.DataFrame(rng.integers(0, 9, size=(40, 2)).astype(float), columns=["d", "gap"])
    found = grounding.correlate(frame, "d", "gap").loc["d"]
    for kind, of in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        theirs = of(frame["d"], frame["gap"], **({"method": "asymptotic"} if kind == "kendall" else {}))
        p = theirs.pvalue / 2 if theirs.statistic > 0 else 1 - theirs.pvalue / 2
        assert (found[kind], found[f"{kind}_p"]) == pytest.approx((theirs.statistic, p))


def all_pairs(f):
    items = list(f.index)
    rows = [(*a, *b, abs(f[a] - f[b])) for i, a in enumerate(items) for b in items[i:]]
    return pd.DataFrame(rows, columns=["seed1", "layer1", "seed2", "layer2", "gap"])


def test_functionality_follows_from_gaps_but_for_its_level(rng):
    index = pd.MultiIndex.from_product([[1, 2, 3], [0, 1, 2, 3]], names=["seed", "layer"])
    f = pd.Series(np.tile([0.5, 0.6, 0.7, 0.8], 3) + rng.uniform(0, 0.05, 12), index=index)
    pairs = all_pairs(f).sample(frac=1, random_state=0)
    np.testing.assert_allclose(grounding.functionality(pairs, "gap"), f - f.min(), atol=1e-12)
    references = grounding.reference_pairs(pairs, "gap")
    assert [tuple(r) for r in references[["seed1", "layer1"]].drop_duplicates().to_numpy()] == [
        (f.xs(k, level="layer").idxmax(), k) for k in range(4)
    ]
    assert (references.groupby("layer1").size() == 12).all()
    named = grounding.reference_pairs(
        pairs.assign(layer1="l" + pairs["layer1"].astype(str), layer2="l" + pairs["layer2"].astype(str)), "gap"
    )
    assert (
        np.array_equal(named[["seed1", "seed2", "gap"]], references[["seed1", "seed2", "gap"]])
        and (named["layer1"] == "l" + references["layer1"].astype(str)).all()
    )
    assert all(
        row.gap == pytest.approx(abs(f[row.seed1, row.layer1] - f[row.seed2, row.layer2]))
        for row in references.itertuples()
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p: p.assign(gap=p["gap"] ** 2), "must be differences of one number for each item"),
        (lambda p: p[(p["seed1"] != 1) | (p["layer1"] != 0) | (p["layer2"] != 2)], "there is none for"),
        (lambda p: p.assign(gap=0.0), "is 0 or less in all"),
        (lambda p: p.assign(gap=np.nan), "undefined"),
        (lambda p: p.rename(columns={"layer2": "layer_2"}), "Did you mean 'layer_2'"),
        (lambda p: pd.concat([p, p.iloc[[1]]]), "must occur once, .* twice"),
    ],
)
def test_frames_that_hold_no_gaps_are_told(change, sentence):
    f = pd.Series(np.arange(6.0) ** 2, index=pd.MultiIndex.from_product([[1, 2], [0, 1, 2]]))
    with pytest.raises(ValueError, match=sentence):
        grounding.reference_pairs(change(all_pairs(f)), "gap")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("CKa", "gap"), "unknown column of pairs 'CKa'. Did you mean 'CKA'"),
        (("same", "gap"), "'same' is 1 in all 6 pairs"),
        (("hole", "gap"), r"'hole' is undefined \(NaN\) or infinite in 1 of 6"),
        (("word", "gap"), "column 'word' must be numbers"),
        (([], "gap"), "at least one column of distances"),
    ],
)
def test_columns_that_cannot_be_judged_are_told(arguments, sentence):
    frame = pd.DataFrame(
        {
            "CKA": range(6),
            "same": 1.0,
            "hole": [1, 2, np.nan, 4, 5, 6],
            "word": list("abcdef"),
            "gap": [1, 2, 3, 5, 4, 6],
            "k": [0, 0, 0, 1, 1, 1],
        }
    )
    with pytest.raises(ValueError, match=sentence):
        grounding.correlate(frame, *arguments)
    with pytest.raises(ValueError, match="for k=1, 'gap'|for k=1 'still'"):
        grounding.correlate(frame.assign(still=[1, 2, 3, 4, 4, 4]), "still", "gap", by="k")
    for by in (None, "k"):
        with pytest.raises(ValueError, match="correlate needs pairs"):
            grounding.correlate(frame[:0], "CKA", "gap", by=by)
    with pytest.raises(ValueError, match="2 columns 'CKA'"):
        grounding.correlate(pd.concat([frame, frame[["CKA"]]], axis=1), "CKA", "gap")


# -- the benchmark

LAYERS, NETWORKS, SAMPLES = ("l0", "l1", "l2"), 7, 30


def population(seed=0, width=4):
    """Seven models of three layers.

    F is in the mean of what they represent, so that a measure which looks there sees all of it.
    """
    rng = np.random.default_rng(seed)
    xs, f = {}, {}
    for k, quality in enumerate(rng.permutation(NETWORKS) / NETWORKS):
        for depth, layer in enumerate(LAYERS):
            key = rs.Key(f"n{k}", layer, "d", 0, "flatten")
            f[key] = 0.4 + 0.1 * depth + 0.3 * quality + 0.01 * rng.random()
            x = rng.normal(size=(SAMPLES, width))
            xs[key] = x - x.mean() + f[key]
    return xs, f


def mean_gap(x, y):
    return abs(x.mean() - y.mean())


def corner_gap(x, y):
    return abs(x[0, 0] - y[0, 0] - (x.mean() - y.mean()))


SEES = rs.measures.from_function(mean_gap, kind="dissimilarity", symmetric=True)
BLIND = rs.measures.from_function(corner_gap, kind="dissimilarity", symmetric=True)


def test_a_measure_that_sees_functionality_comes_first_and_a_blind_one_last():
    xs, f = population()
    found = grounding.benchmark(xs, f, measures={"blind": BLIND, "sees": SEES}, n_bootstrap=199)
    assert (
        list(found.table.index) == ["sees", "blind"]
        and list(found.table["rank"]) == [1, 2]
        and (found.table["n"] == 3 * 20).all()
    )
    sees, blind = found.table.loc["sees"], found.table.loc["blind"]
    assert (sees["spearman"], sees["kendall"], sees["low"], sees["high"]) == pytest.approx((1, 1, 1, 1)) and sees[
        "spearman_p"
    ] < 1e-9
    assert (
        sees["model_p"] == pytest.approx(1 / found.n_permutations) and found.n_permutations == 720
    )  # the order that was seen, of all 6! of the models that are no reference
    assert blind["low"] < 0 < blind["high"] and blind["model_p"] > 0.05
    difference = found.compare_with().loc["blind"]
    assert (
        difference["difference"] == pytest.approx(1 - blind["spearman"])
        and difference["significant"]
        and difference["low"] > 0
        and difference["p_value"] < 0.05
    )
    assert found.compare_with("blind").loc["sees", "high"] == pytest.approx(-difference["low"]) and list(
        found.differences.index
    ) == [("sees", "blind")]
    best = {layer: max((key for key in f if key.layer == layer), key=f.get) for layer in LAYERS}
    assert list(found.sets.loc["sees", "reference"]) == [best[layer].model for layer in LAYERS]
    assert "7 models, 60 pairs; highest ρ: sees 1.000" in repr(found) and "<table" in found._repr_html_()


def test_the_table_is_that_of_its_pairs_and_distances_are_the_measures_own():
    xs, f = population()
    found = grounding.benchmark(
        {key: x.astype(np.float32) for key, x in xs.items()},
        f,
        measures=["cka", "pwcca_all", "pwcca_all_other"],
        n_bootstrap=20,
    )
    again = grounding.correlate(found.pairs, list(found.table.index), "gap", by="layer1")
    pd.testing.assert_frame_equal(
        found.table[["spearman", "spearman_p", "kendall", "kendall_p", "n"]], again, check_names=False
    )
    row = found.pairs.iloc[7]
    one, other = (
        next(
            x.astype(np.float32).astype(float)
            for key, x in xs.items()
            if (key.model, key.layer) == (row[f"model{e}"], row[f"layer{e}"])
        )
        for e in (1, 2)
    )
    for name, measure in (
        ("cka", rs.measures.CKA()),
        ("pwcca_all", rs.measures.CCA(summary="projection_weighted", normalise="all")),
    ):
        assert row[name] == pytest.approx(1 - measure(one, other), abs=1e-12)
    assert row["pwcca_all_other"] == pytest.approx(
        1 - rs.measures.CCA(summary="projection_weighted", normalise="all")(other, one), abs=1e-9
    )
    assert row["gap"] == pytest.approx(abs(mean_gap(one, other)), abs=1e-6)


def test_only_pairs_of_references_are_computed_and_the_pair_with_itself_on_request():
    xs, f = population()
    seen = []
    counting = rs.measures.from_function(
        lambda x, y: seen.append(1) or mean_gap(x, y), name="counting", kind="dissimilarity", symmetric=True
    )
    found = grounding.benchmark(xs, f, measures=[counting], self_pairs=True, n_bootstrap=20)
    assert len(seen) == len(found.pairs) == 3 * 21 and (found.pairs["gap"] == 0).sum() == 3


def test_models_that_are_no_field_change_places_layer_by_layer():
    """Also where they have their layers in another order."""
    xs, f = population()
    order = sorted(xs, key=lambda key: (key.model, -int(key.layer[1:]) if key.model < "n4" else int(key.layer[1:])))
    told = {"measures": [SEES, BLIND], "n_bootstrap": 20}
    given = grounding.benchmark(
        {"/".join(key[:2]): xs[key] for key in order},
        {"/".join(key[:2]): f[key] for key in order},
        model=[key.model for key in order],
        per=[key.layer for key in order],
        **told,
    )
    one, other = (found.table["model_p"].sort_index() for found in (given, grounding.benchmark(xs, f, **told)))
    pd.testing.assert_series_equal(one, other, check_names=False)


def test_functionality_comes_by_label_by_levels_or_by_model():
    xs, f = population()
    index = pd.MultiIndex.from_tuples([(*key, 0.0) for key in f], names=[*rs.Key._fields, "deleted"])
    by_levels = pd.Series(list(f.values()), index=index).sample(frac=1, random_state=0)
    short = pd.Series({(key.layer, key.model): value for key, value in f.items()}).rename_axis(["layer", "model"])
    tables = [
        grounding.benchmark(xs, given, measures=["cka"], n_bootstrap=20).table
        for given in (f, by_levels, short, pd.Series(f))
    ]
    for table in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], table)
    last = {key: x for key, x in xs.items() if key.layer == "l2"}
    by_model = grounding.benchmark(last, {key.model: f[key] for key in last}, measures=[SEES], n_bootstrap=50)
    assert by_model.table.loc["mean_gap", "spearman"] == pytest.approx(1) and len(by_model.pairs) == 6


def test_gaps_that_are_equal_stay_tied():
    """|.4 - .1| and |.7 - .4| differ in their last digit."""
    xs, f = population()
    tied = {key: 0.1 * (1 + int(key.model[1:]) + 3 * LAYERS.index(key.layer)) for key in f}
    best = [max(value for key, value in tied.items() if key.layer == layer) for layer in LAYERS]
    assert len({abs(one - value) for one in best for value in tied.values()}) > 13
    gaps = grounding.benchmark(xs, tied, measures=["cka"], n_bootstrap=20).pairs["gap"]
    assert gaps.nunique() == 13 and np.allclose(sorted(gaps.unique()), 0.1 * np.arange(13))


def test_references_can_be_chosen_among_some():
    xs, f = population()
    some = [key for key in xs if key.model in ("n0", "n3")]
    found = grounding.benchmark(xs, f, measures=["cka"], among=some, n_bootstrap=20)
    assert set(found.sets["reference"]) <= {"n0", "n3"}
    whole = grounding.benchmark(xs, f, measures=["cka"], per=None, n_bootstrap=20)
    assert len(whole.pairs) == len(xs) - 1 and whole.pairs["reference"].iloc[0] == "/".join(max(f, key=f.get)[:2])


def test_where_functionality_is_the_models_pairs_stay_within_a_layer():
    xs, _ = population()
    of_model = {name: number for number, name in enumerate(dict.fromkeys(key.model for key in xs))}
    found = grounding.benchmark(xs, of_model, measures=["cka"], n_bootstrap=20)
    assert (found.pairs["layer1"] == found.pairs["layer2"]).all() and len(found.pairs) == 3 * (len(of_model) - 1)
    asked = grounding.benchmark(xs, of_model, measures=["cka"], across=True, n_bootstrap=20)
    assert len(asked.pairs) == 3 * (len(xs) - 1)


def test_a_measure_without_values_has_a_reason():
    xs, f = population(width=20)
    found = grounding.benchmark(xs, f, measures=["cka", "mean_cca"], n_bootstrap=20)
    assert (
        list(found.table.index) == ["cka"]
        and "60 of 60 pairs are undefined" in found.undefined["mean_cca"]
        and "canonical correlations are 1" in found.undefined["mean_cca"]
    )
    assert "mean_cca: 60 of 60" in found._repr_html_() and "1 undefined" in repr(found)
    with pytest.raises(ValueError, match="'mean_cca' is undefined: 60 of 60"):
        found.compare_with("mean_cca")
    with pytest.raises(ValueError, match="unknown measure of this benchmark 'ckaa'. Did you mean 'cka'"):
        found.compare_with("ckaa")
    flat = rs.measures.from_function(lambda x, y: 1.0, name="flat", kind="similarity", symmetric=True)
    assert (
        "'flat' is 0 in all 20 pairs"
        in grounding.benchmark(xs, f, measures=["cka", flat], n_bootstrap=20).undefined["flat"]
    )


def test_too_few_pairs_are_refused_before_anything_is_computed():
    rng = np.random.default_rng(0)
    computed = []

    def counting(x, y):
        computed.append(1)
        return float(np.abs(x - y).mean())

    measure = rs.measures.from_function(counting, kind="dissimilarity", symmetric=True)
    F = {f"n{k}": 0.1 * k for k in range(3)}
    xs = rs.from_arrays({f"{name}/fc": rng.normal(size=(20, 3)) for name in F})
    with pytest.raises(ValueError, match="reference of layer=fc needs 3 pairs or more .*; it has 2"):
        grounding.benchmark(xs, F, measures=[measure], n_bootstrap=20)
    both = rs.from_arrays({f"{name}/{layer}": rng.normal(size=(20, 3)) for name in F for layer in ("fc", "out")})
    flat = {key: F[key.model] * (key.layer == "fc") for key in both}
    with pytest.raises(ValueError, match="layer=out needs 3 pairs or more .*; it has 3, and the first gap is 0"):
        grounding.benchmark(both, flat, measures=[measure], pairs="all", across=False, n_bootstrap=20)
    with pytest.raises(ValueError, match="too few models for an interval: .* all gaps were the same"):
        grounding.benchmark(xs, F, measures=[measure], pairs="all", n_bootstrap=20)
    assert not computed
    F |= {"n3": 0.4}
    xs = rs.from_arrays({f"{name}/fc": rng.normal(size=(20, 3)) for name in F})
    for pairs in ("reference", "all"):
        assert grounding.benchmark(xs, F, measures=[measure], pairs=pairs, n_bootstrap=20).models == 4 and computed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda xs, f: (xs, dict.fromkeys(f, 0.5), {}), "functionality must differ .*; it is 0.5 for all 21 items"),
        (lambda xs, f: (xs, f | {next(iter(f)): np.nan}, {}), "functionality is undefined .* for 'n0/l0"),
        (lambda xs, f: (xs, f | {next(iter(f)): "high"}, {}), "functionality needs one number for each item, .*'high'"),
        (
            lambda xs, f: (xs, {key: v for key, v in f.items() if key.model != "n2"}, {}),
            "functionality has no value for 'n",
        ),
        (lambda xs, f: (xs, pd.Series(f).rename_axis(list("abcde")), {}), "at least one field that both have"),
        (lambda xs, f: ({key: x for key, x in xs.items() if key.model < "n2"}, f, {}), "there are 2"),
        (lambda xs, f: (xs, f, {"per": "layr"}), "Did you mean 'layer'"),
        (lambda xs, f: (xs, f, {"among": ["n9"]}), "among must be labels of representations; got 'n9'"),
        (lambda xs, f: (xs, f, {"among": list(xs)[:2]}), "has no label with 'l2'"),
        (lambda xs, f: (xs, f, {"n_bootstrap": 1}), "n_bootstrap must be an integer >= 20"),
        (lambda xs, f: (xs, f, {"measures": []}), "at least one measure; got none"),
        (lambda xs, f: (xs, f, {"seed": "a"}), "seed must be an integer >= 0; got 'a'"),
        (lambda xs, f: (xs, f, {"measures": ["ckaa"]}), "unknown measure 'ckaa'"),
        (lambda xs, f: (xs, f, {"measures": {"gap": "cka"}}), "'gap' is a column of the pairs"),
    ],
)
def test_what_cannot_be_ranked_is_told(change, sentence):
    xs, f, options = change(*population())
    with pytest.raises(ValueError, match=sentence):
        grounding.benchmark(xs, f, **({"measures": ["cka"], "n_bootstrap": 20} | options))


def test_published_pairs_are_ranked_with_intervals(bert):
    found = grounding.rank_pairs(
        grounding.reference_pairs(bert, "QNLI_diff"), ["PWCCA", "CKA", "Procrustes"], "QNLI_diff"
    )
    assert (
        list(found.table.index) == ["CKA", "Procrustes", "PWCCA"]
        and found.models == 10
        and found.compare_with().loc["PWCCA", "significant"]
    )
    assert found.table["spearman"].round(3).tolist() == [0.628, 0.574, 0.491]


# -- specificity


def layered(noise, models=4, seed=0, step=1.0):
    """Layers that move away from each other step by step, and models that are the same but for noise."""
    rng = np.random.default_rng(seed)
    base, away = rng.normal(size=(40, 6)), rng.normal(size=(3, 40, 6))
    return {
        rs.Key(f"n{k}", f"l{depth}", "d", 0, "flatten"): (
            base + step * sum(away[:depth], np.zeros_like(base)) + noise * rng.normal(size=base.shape)
        )
        for k in range(models)
        for depth in range(4)
    }


def test_layers_are_found_where_models_hardly_differ_and_not_where_all_is_noise():
    found = grounding.specificity(layered(0.01))
    assert (
        (found.accuracy, found.chance) == (1, 0.25)
        and (found.interval.low, found.interval.high) == (0, 1)
        and found.layers_to_move == 1
        and found.never == 0
    )
    more = grounding.specificity(layered(0.01, models=6), n_bootstrap=99).interval
    assert (more.low, more.high) == (1, 1)  # four models are too few to draw from
    np.testing.assert_array_equal(found.matches, np.eye(4))
    table = rs.compare("cka", layered(0.01)).dissimilarity().to_numpy().reshape(4, 4, 4, 4).swapaxes(1, 2)
    assert found.by_layer["across_models"].iloc[2] == pytest.approx(
        np.mean([table[a, b, 2, 2] for a in range(4) for b in range(4) if a != b])
    )
    assert found.by_layer["one_away"].iloc[2] == pytest.approx(
        np.mean([[table[a, a, 2, 1], table[a, a, 2, 3]] for a in range(4)])
    )
    assert found.by_steps.loc["l2", 1] == found.by_layer.loc["l2", "one_away"]
    assert found.by_steps.loc["l3", 3] == pytest.approx(found.within.loc["l3", "l0"])
    assert (
        found.by_steps.isna().sum().sum() == 2 and (found.by_layer["across_models"] == np.diag(found.across)).all()
    )  # the two in the middle have nothing three away
    far = grounding.specificity(layered(30, models=6), "cka", n_bootstrap=99)
    assert far.interval.low < far.accuracy < 0.6 and 0.25 in far.interval


def test_layers_that_never_are_as_far_as_a_seed_are_told():
    found = grounding.specificity(layered(5, step=0), "procrustes")
    same = {
        key: layered(0, models=1, step=0)[key._replace(model="n0", layer="l0")] * (1 + (key.model == "n1"))
        for key in layered(0, models=2)
    }
    tied = grounding.specificity(same, rs.measures.RSA(first="dot", second="pearson"))
    assert (
        tied.accuracy == pytest.approx(0.25) and tied.interval is None and "2 models" in repr(tied)
    )  # all layers are the nearest: each counts for its share
    rng = np.random.default_rng(0)
    seeds = [rng.normal(size=(40, 6)) for _ in range(3)]
    still = grounding.specificity(
        {
            rs.Key(f"n{k}", f"l{depth}", "d", 0, "flatten"): x + 0.01 * rng.normal(size=x.shape)
            for k, x in enumerate(seeds)
            for depth in range(3)
        },
        "procrustes",
    )
    assert (
        still.never == 3
        and still.layers_to_move == np.inf
        and still.layers_to_move_text == "more than 2"
        and set(still.by_layer["layers_to_move"]) == {"never"}
        and "never for 3 of 3 layers" in repr(still)
    )
    assert found.never < 4 and "never" in still._repr_html_()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda xs: {key: x for key, x in xs.items() if key.model == "n0"},
            "two or more models and two or more layers",
        ),
        (lambda xs: {key: x for key, x in xs.items() if key[:2] != ("n1", "l2")}, "there is no 'l2 of n1'"),
        (
            lambda xs: xs | {rs.Key("n0", "l0", "d", 3, "flatten"): xs[rs.Key("n0", "l0", "d", 0, "flatten")]},
            "'n0' has 'l0' twice",
        ),
        (
            lambda xs: {f"{key.model}/{key.layer}": x for key, x in xs.items()},
            "unknown field for model 'model'.*rs.from_arrays",
        ),
    ],
)
def test_models_without_the_same_layers_are_told(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        grounding.specificity(change(layered(0.1)))


def test_a_choice_that_names_nothing_is_told():
    with pytest.raises(TypeError, match="got <function"):
        grounding.specificity(layered(0.1), model=lambda key: key.model)


# -- sensitivity


def spectrum(models=3, seed=0, noise=0.3):
    """One layer of models: directions of falling size, the third smallest of which tells two classes apart."""
    rng = np.random.default_rng(seed)
    targets = np.arange(120) % 2
    signal = np.column_stack([rng.normal(size=(120, 9)) * 2.0 ** -np.arange(9), 0.0 * targets])
    signal[:, 7] = 0.02 * (2 * targets - 1) * (1 + 0.01 * rng.normal(size=120))
    turn = [np.linalg.qr(rng.normal(size=(10, 10)))[0] for _ in range(models)]
    scale = 2.0 ** -np.arange(10)
    return {
        f"n{k}": (signal + noise * scale * 0.1 * rng.normal(size=signal.shape)) @ turn[k] + 3 for k in range(models)
    }, targets


def test_curves_are_the_closed_forms_and_what_never_notices_says_so():
    xs, _ = spectrum()
    names = [
        "cka",
        "procrustes",
        "nbs",
        "mean_cca",
        "mean_squared_cca",
        "pwcca",
        "pwcca_other",
        "pwcca_all_other",
        "pwcca_all",
        "rsa",
    ]
    found = grounding.sensitivity(xs, measures=names, amounts=np.arange(10) / 10)
    assert list(found.closed_form) == names[:8] and not found.undefined
    np.testing.assert_allclose(found.curves[names[:8]], found.closed_form, atol=1e-8)
    squares = [np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 for x in xs.values()]
    np.testing.assert_allclose(
        found.closed_form.loc[0.7, ["cka", "procrustes"]],
        [
            np.mean([1 - np.sqrt((s[:3] ** 2).sum() / (s**2).sum()) for s in squares]),
            np.mean([2 - 2 * np.sqrt(s[:3].sum() / s.sum()) for s in squares]),
        ],
    )
    assert (
        found.table.loc[["mean_cca", "mean_squared_cca", "pwcca", "pwcca_all_other"], "noticed"] == "never"
    ).all() and found.table.loc["pwcca_all", "noticed"] != "never"
    assert (
        found.accuracy is None
        and list(found.table) == ["threshold", "noticed", "earliest", "latest"]
        and "mean_cca: never" in repr(found)
    )


def test_a_measure_notices_at_the_first_deletion_above_the_mean_of_two_models():
    xs, targets = spectrum()
    ticks = []
    found = grounding.sensitivity(
        xs,
        targets,
        measures=["cka", "procrustes", "mean_cca"],
        amounts=np.arange(10) / 10,
        cost=1e4,
        progress=lambda *given: ticks.append(given),
    )
    assert ticks == [(k, 39) for k in range(40)], "three measures and ten probes of each model, to be stopped between"
    for name in ("cka", "procrustes"):
        table = rs.compare(name, xs).dissimilarity().to_numpy()
        threshold = table[~np.eye(3, dtype=bool)].mean()
        assert found.table.loc[name, "threshold"] == pytest.approx(threshold)
        assert found.table.loc[name, "noticed"] == next(
            share for share, value in found.closed_form[name].items() if value > threshold
        )
        assert (
            found.table.loc[name, "accuracy"]
            == found.accuracy.loc[found.table.loc[name, "noticed"]]
            == pytest.approx(found.accuracy.iloc[0] - found.table.loc[name, "accuracy_loss"])
        )
    assert (
        found.accuracy.loc[0.1] > 0.95 and found.accuracy.loc[0.5] < 0.75
    )  # what distinguishes the classes is deleted among the first
    assert (
        found.models == 3
        and found.each.loc[("n1", 0.3), "accuracy"] <= 1
        and np.isnan(found.table.loc["mean_cca", "accuracy"])
    )


def test_what_is_left_is_in_the_columns_that_were():
    xs, _ = spectrum(models=2)
    parts = PrincipalComponents(xs["n0"])
    np.testing.assert_allclose(parts.leading(10), xs["n0"], atol=1e-12)
    assert (
        np.linalg.matrix_rank(parts.leading(5) - parts.leading(5).mean(0), tol=1e-10) == 5
        and parts.rank == len(parts.squares) == 10
    )
    np.testing.assert_allclose(parts.leading(5).mean(0), xs["n0"].mean(0), atol=1e-12)


def full(rank):
    return np.random.default_rng(rank).normal(size=(40, rank))


def test_fractions_are_of_whole_components():
    assert grounding.DAMAGES["components"].reachable((0.31, 0.5, 0.97, 0.98, 0.99), [full(10), full(10)]) == [
        0,
        0.3,
        0.5,
        0.9,
    ]
    assert grounding.DAMAGES["components"].reachable((0.5, 0.97, 0.98), [full(10), full(12)]) == [0, 0.5, 0.97]
    xs, _ = spectrum()
    assert list(grounding.sensitivity(xs, measures=["cka"]).curves.index) == [k / 10 for k in range(10)]


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (lambda xs: {"n0": xs["n0"]}, {}, "two or more models, .*; got n0"),
        (lambda xs: xs, {"amounts": [0.5, 1.0]}, "numbers from 0 to below 1"),
        (lambda xs: xs, {"targets": [0, 1]}, "targets needs one label for each of"),
        (
            lambda xs: {rs.Key("n0", name, "d", 0, "flatten"): x for name, x in xs.items()},
            {},
            "needs one layer of each model",
        ),
        (lambda xs: xs | {"n1": np.ones((120, 4))}, {}, "'n1': .*constant"),
        (lambda xs: {"n0": xs["n0"], "n1": xs["n0"]}, {}, "the models do not differ by it"),
        (
            lambda xs: {name: np.random.default_rng(k).normal(size=(12, 30)) for k, name in enumerate(xs)},
            {"measures": ["mean_cca"]},
            "pairs of models are undefined",
        ),
    ],
)
def test_what_has_no_threshold_is_told(change, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        grounding.sensitivity(change(spectrum()[0]), **({"measures": ["cka"]} | options))
    with pytest.raises(TypeError, match="a list of numbers, such as .* got 0.5"):
        grounding.sensitivity(spectrum()[0], amounts=0.5)


# -- pictures


def test_pictures_show_ranks_layers_to_move_and_when_deletions_are_noticed():
    xs, f = population(width=20)
    ax = rs.plots.benchmark(
        grounding.benchmark(xs, f, measures={"sees": SEES, "cka": "cka", "mean_cca": "mean_cca"}, n_bootstrap=20)
    )
    assert (
        [tick.get_text() for tick in ax.get_yticklabels()] == ["sees", "cka"]
        and "undefined: mean_cca" in ax.get_xlabel()
        and ax.collections[1].get_offsets()[0][0] == pytest.approx(1)
    )
    assert "7 models, 3 references, 60 pairs" in ax.get_title()
    xs, targets = spectrum()
    found = grounding.sensitivity(xs, targets, measures=["cka", "mean_cca", "rsa"], amounts=(0.2, 0.5, 0.8, 0.9))
    above, below = rs.plots.sensitivity(found)
    words = [text.get_text() for text in above.get_legend().get_texts()]
    assert (
        words[1:2] == ["mean_cca: never"]
        and words[-1] == "closed form"
        and words[0].startswith("cka: at ")
        and len(words) == 4
    )
    np.testing.assert_allclose(
        above.get_lines()[0].get_ydata(), found.curves["cka"] / found.table.loc["cka", "threshold"]
    )
    np.testing.assert_allclose(below.get_lines()[0].get_ydata(), found.accuracy)
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["0", "50", "80", "90"]
    assert len(rs.plots.sensitivity(grounding.sensitivity(xs, measures=["cka"]))) == 1
    layers = grounding.specificity(layered(0.6))
    ax = rs.plots.specificity(layers)
    bold = {(round(text.get_position()[0]), text.get_text()) for text in ax.texts if text.get_fontweight() == "bold"}
    assert (
        bold == {(at, str(k)) for at, k in enumerate(layers.by_layer["layers_to_move"]) if k != "never"}
        and len(ax.texts) == 10
    )
    assert [patch.get_height() for patch in ax.patches] == pytest.approx(
        list(layers.by_layer["across_models"])
    ) and f"{layers.accuracy:.2f}" in ax.get_title()
    for draw in (rs.plots.benchmark, rs.plots.sensitivity, rs.plots.specificity):
        with pytest.raises(TypeError, match="draws what grounding"):
            draw(found.curves)
    plt.close("all")
