"""What is in another order, or of other items, is refused where parts of the package meet."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import repsim_nb as rs
from repsim_nb import grounding, inference, probes
from repsim_nb.display.specs.matrices import samples_specs

N = 40
NAMES = [f"s{i:02}" for i in range(N)]
rng = np.random.default_rng(0)
INPUTS = pd.DataFrame(rng.normal(size=(N, 3)), index=NAMES)
ORDER = rng.permutation(N)
LAYERS = {
    f"{model}/{layer}": INPUTS.to_numpy() @ rng.normal(size=(3, 4)) + rng.normal(size=(N, 4))
    for model in "abcd"
    for layer in ("l1", "l2")
}
XS = rs.from_arrays(LAYERS, ids=NAMES)
F = {model: k / 10 for k, model in enumerate("abcd")}
X, Y = XS["a/l1"], XS["b/l1"]
OUTPUTS = rng.normal(size=(N, 3))

OF_MEASURES = {
    "specificity": lambda measure: grounding.specificity(XS, measure, n_bootstrap=20),
    "benchmark": lambda measure: grounding.benchmark(
        XS, F, measures={"m": measure}, pairs="all", n_bootstrap=20, n_permutations=9
    ),
    "sensitivity": lambda measure: grounding.sensitivity(
        XS.where(layer="l1"), measures={"m": measure}, damage="noise", amounts=[0.5], draws=1
    ),
    "locate_differences": lambda measure: inference.locate_differences(X, Y, measure=measure),
}


@pytest.mark.parametrize("name", OF_MEASURES)
def test_the_inputs_that_a_measure_holds_constant_are_in_the_order_of_the_samples(name):
    OF_MEASURES[name](rs.measures.deconfounded("cka_debiased", INPUTS))
    with pytest.raises(ValueError, match="'inputs' their 40 samples are the same, in another order"):
        OF_MEASURES[name](rs.measures.deconfounded("cka_debiased", INPUTS.iloc[ORDER]))


def frame(values, columns):
    return pd.DataFrame(values, columns=list(columns))


def named_array(values, columns):
    return xr.DataArray(values, dims=("sample", "class"), coords={"class": list(columns)})


def table(values, columns):
    return pytest.importorskip("pyarrow").table(dict(zip(columns, values.T, strict=True)))


OF_OUTPUTS = {
    "measure": lambda x, y: rs.measures.get("jsd")(x, y),
    "compare": lambda x, y: rs.compare("jsd", {"a": x}, {"b": y}),
    "permutation_test": lambda x, y: inference.permutation_test("disagreement", x, y, n_permutations=9),
    "chance_corrected": lambda x, y: inference.chance_corrected("jsd", x, y, n_permutations=19),
    "chance_values": lambda x, y: inference.chance_values("jsd", {"a": x, "b": y}, n_pairs=1),
    "specificity": lambda x, y: grounding.specificity(
        {"a": x, "b": y}, "jsd", model=["m", "n"], per=["l", "l"], n_bootstrap=20
    ),
}


@pytest.mark.parametrize("make", [frame, named_array, table])
@pytest.mark.parametrize("name", OF_OUTPUTS)
def test_classes_in_another_order_are_refused_wherever_outputs_meet(name, make):
    x, y = make(OUTPUTS, "xyz"), make(OUTPUTS[:, ::-1], "zyx")
    with pytest.raises(ValueError, match="same columns in another order"):
        OF_OUTPUTS[name](x, y)


def test_classes_that_are_only_partly_the_same_are_refused():
    assert rs.measures.get("jsd")(frame(OUTPUTS, "xyz"), frame(OUTPUTS, "abc")) == 0  # other names of the same classes
    assert rs.measures.get("jsd")(named_array(OUTPUTS, "xyz"), OUTPUTS) == 0
    with pytest.raises(ValueError, match="'z', 'w' have no partner"):
        rs.measures.get("jsd")(frame(OUTPUTS, "xyz"), frame(OUTPUTS, "xyw"))


def test_chance_values_of_outputs_are_not_of_hidden_layers():
    with pytest.raises(ValueError, match="'a/l1' is a hidden layer"):
        inference.chance_values("jsd", XS, n_pairs=1)


def test_a_count_of_rows_does_not_name_a_random_subset():
    subset = rs.from_arrays({"a/fc": LAYERS["a/l1"]}, ids=2 * ORDER)
    counted = pd.DataFrame(LAYERS["b/l1"])
    with pytest.raises(ValueError, match="only counts its 40 rows, and 'x' has an id that is not among them"):
        rs.align(subset["fc"], counted)
    with pytest.raises(ValueError, match="only counts its 40 rows"):
        rs.align({"x": counted, "y": subset["fc"]})
    named = counted.set_axis(list(counted.index))
    assert list(rs.align(named, subset["fc"])[0].index) == sorted(2 * ORDER[2 * ORDER < N])
    whole = pd.DataFrame(rng.normal(size=(2 * N, 3)))
    np.testing.assert_array_equal(rs.align(subset["fc"], whole)[1], whole.iloc[2 * ORDER])


GROUPS = pd.Series(np.repeat(np.arange(20), 2), index=NAMES)


def test_groups_of_a_set_are_in_the_order_of_its_samples():
    sets = {name: pd.DataFrame(x, index=NAMES) for name, x in (("a", LAYERS["a/l1"]), ("b", LAYERS["b/l1"] + 2))}
    same = probes.dataset_bias(sets, groups=GROUPS, n_permutations=3)
    assert (
        same.balanced_accuracy
        == probes.dataset_bias(sets, groups=GROUPS.to_numpy(), n_permutations=3).balanced_accuracy
    )
    for groups in (GROUPS.iloc[ORDER], {"a": GROUPS, "b": GROUPS.iloc[ORDER]}):
        with pytest.raises(ValueError, match="groups of '[ab]': labels must be in the order of the samples"):
            probes.dataset_bias(sets, groups=groups, n_permutations=3)


def test_targets_and_ids_of_a_data_set_are_in_the_order_of_its_inputs():
    pytest.importorskip("torch")
    targets = pd.Series(np.arange(N) % 2, index=NAMES)
    assert rs.Dataset("d", INPUTS, targets=targets).targets.tolist() == targets.tolist()
    assert rs.Dataset("d", INPUTS.to_numpy(), targets=targets.reset_index(drop=True), ids=3 * ORDER).ids is not None
    for inputs, options in (
        (INPUTS, {"targets": targets.iloc[ORDER]}),
        (INPUTS.to_numpy(), {"targets": targets.iloc[ORDER], "ids": NAMES}),
        (INPUTS, {"ids": pd.Series(NAMES, index=NAMES).iloc[ORDER]}),
    ):
        with pytest.raises(ValueError, match="dataset 'd': labels must be in the order of the samples"):
            rs.Dataset("d", inputs, **options)


D = pd.DataFrame(np.abs(np.subtract.outer(np.arange(4.0) ** 2, np.arange(4.0) ** 2)), list("abcd"), list("abcd"))


def test_the_labels_of_pairs_are_no_ids_of_an_rdm():
    pairs = pd.Series([1.0, 2, 3, 4, 5, 6], index=[f"pair {k}" for k in range(6)])
    assert rs.RDM(pairs).ids is None


def test_an_rdm_has_the_ids_of_a_named_array():
    rdm = rs.RDM(xr.DataArray(D.to_numpy(), dims=("one", "other"), coords={"one": list("abcd"), "other": list("abcd")}))
    assert rdm.ids.tolist() == list("abcd")
    rows = xr.DataArray(D.to_numpy(), dims=("one", "other"), coords={"one": list("abcd"), "other": list("dcba")})
    with pytest.raises(ValueError, match="same samples in rows and columns"):
        rs.RDM(rows)


def test_ids_and_missing_pairs_of_an_rdm_are_in_the_order_of_its_frame():
    missing = pd.DataFrame(False, D.index, D.columns)
    missing.loc["a", "b"] = missing.loc["b", "a"] = True
    assert rs.RDM(D, missing=missing).missing[0, 1] and rs.RDM(D, ids=list("wxyz")).ids.tolist() == list("wxyz")
    with pytest.raises(ValueError, match="those of 'missing' their 4 samples are the same, in another order"):
        rs.RDM(D, missing=missing.loc[list("dbca"), list("dbca")])
    with pytest.raises(ValueError, match="ids= their 4 samples are the same, in another order"):
        rs.RDM(D, ids=list("dbca"))


ONE, OTHER = ({name: LAYERS[f"{model}/{layer}"] for name, layer in (("in", "l1"), ("out", "l2"))} for model in "ab")
ONE["late"], OTHER["late"] = LAYERS["c/l1"], LAYERS["d/l1"]


@pytest.mark.parametrize("measure", ["cka", "procrustes", "pwcca", "mutual_knn"])
def test_layers_of_two_models_with_the_same_names_are_no_square_table(measure):
    found, own = rs.compare(measure, ONE, OTHER), rs.compare(measure, ONE)
    assert own.is_square and rs.compare(measure, ONE, dict(ONE)).is_square and not found.is_square
    assert found.mean_of([0, 1, 2], [0, 1, 2]) == pytest.approx(found.values.to_numpy().mean())  # the diagonal counts
    for use in (
        rs.embedding.mds,
        lambda table: rs.comparison.pairs({"one": table}),
        lambda table: inference.rank_correlation(table, own),
        lambda table: inference.anosim(table, [0, 0, 1]),
        rs.Comparison.drop_undefined,
    ):
        with pytest.raises(ValueError, match="same labels of other representations in rows and columns"):
            use(found)


def test_one_layer_of_two_models_with_the_same_name_is_no_item_with_itself():
    found = rs.compare("cka", {"fc": ONE["in"]}, {"fc": OTHER["in"]})
    assert found.mean_of([0], [0]) == pytest.approx(found.values.iloc[0, 0]) and not found.is_square


def test_a_target_below_0_has_no_name_of_a_class():
    (shown,) = samples_specs({"x": np.eye(3)}, targets=np.array([-1, 0, 1]), classes=("cat", "dog"))
    assert shown.row_labels == ("-1", "cat", "dog")
    with pytest.raises(ValueError, match="classes must have a name for each target"):
        inference.locate_differences(X, Y, targets=np.arange(N) % 3 - 1, classes=("cat", "dog"))


def test_releases_are_compared_on_one_data_set():
    old, new = (
        rs.from_arrays({rs.Key(model, "fc", data): LAYERS[f"{model}/l1"]}) for model, data in (("a", "x"), ("b", "y"))
    )
    with pytest.raises(ValueError, match="'a/fc' was recorded on 'x', 'b/fc' on 'y'"):
        rs.drift(old, new)
    old, new = (rs.from_arrays(dict(side), ids=ids) for side, ids in ((old, NAMES), (new, NAMES[::-1])))
    assert rs.drift(*rs.align(old, new)).n == N


def test_a_watched_model_and_the_inputs_that_are_held_constant_have_the_same_samples():
    nn = pytest.importorskip("torch.nn")
    data = rs.Dataset("d", INPUTS.to_numpy("float32"), ids=NAMES)
    with pytest.raises(ValueError, match="'inputs' their 40 samples are the same, in another order"):
        rs.watch(nn.Linear(3, 4), data, measure=rs.measures.deconfounded("cka", INPUTS.iloc[ORDER]), live=False)


def test_short_labels_of_different_items_differ():
    x = LAYERS["a/l1"]
    keys = [rs.Key("a/b", "c"), rs.Key("a", "b/c"), rs.Key("a", "z")]
    slashes = rs.compare("cka", dict(zip(keys, (x, x**2, x**3), strict=True)))
    assert slashes.labels()[0] == ("a/b / c", "a / b/c", "a / z")
    assert rs.comparison.pairs({"cka": slashes}).index.is_unique
    steps = [rs.Key("m", "fc", "d", step) for step in (5, "5", "last")]
    assert rs.compare("cka", dict(zip(steps, (x, x**2, x**3), strict=True))).labels()[0] == ("5", "'5'", "last")
    assert [str(key) for key in steps] == ["m/fc (d, 5)", "m/fc (d, '5')", "m/fc (d, last)"]


def test_a_mask_in_numbers_selects_no_rows_again_and_again():
    pytest.importorskip("torch")
    mask = (np.arange(N) % 3 == 0).astype(np.uint8)  # as scipy.io.loadmat reads a logical array
    data = rs.Dataset("d", INPUTS.to_numpy(), ids=NAMES)
    rdm, table = rs.RDM(np.abs(np.subtract.outer(np.arange(N), np.arange(N)))), rs.compare("cka", XS)
    assert len(data.take(mask.astype(bool), "some")) == len(rdm[mask.astype(bool)]) == 14
    for select in (
        lambda: data.take(mask, "some"),
        lambda: rdm[mask.astype(int)],
        lambda: table.take(mask[:8], slice(None)),
        lambda: table.take([0, 1], mask[:8].tolist()),
    ):
        with pytest.raises(ValueError, match="If they are a mask"):
            select()
    assert len(data.take(np.repeat([0, 5], 20), "drawn")) == N and len(rdm[[0, 1, 1]]) == 3


def test_an_image_of_two_random_subsets_is_not_in_training_and_in_test_rows():
    rows = [np.random.default_rng(seed).choice(100, 40, replace=False) for seed in range(2)]
    keys = [rs.Key(model, "fc", f"mnist/test[n=40,seed={seed}]") for model in "ab" for seed in range(2)]
    images = {key: rows[key.dataset.endswith("seed=1]")] for key in keys}
    sets = {key: rng.normal(size=(40, 3)) for key in keys}
    found = probes.dataset_bias(rs.from_arrays(sets, ids=images), n_permutations=3)
    tested = [set(images[key][found.predictions.query(f"true == {k}")["sample"]]) for k, key in enumerate(keys)]
    everywhere = set.union(*tested)
    assert all(own == everywhere & set(images[key]) for own, key in zip(tested, keys, strict=True))
    assert found.n_test + found.n_train == 160 and set(rows[0]) & set(rows[1]) & everywhere


SENTENCES = np.repeat(np.arange(30), 4)
TOKENS = rng.normal(size=(30, 6))[SENTENCES] + 0.01 * rng.normal(size=(120, 6))
CLASSES = rng.integers(0, 2, 30)[SENTENCES]
BY_TOKEN = rs.from_arrays(
    {rs.Key(m, "fc", "d", pool="tokens"): TOKENS @ rng.normal(size=(6, 6)) for m in "ab"}, groups=SENTENCES
)


def sentences_on_both_sides(predictions):
    rows = np.unique(predictions["sample"])
    return set(SENTENCES[rows]) & set(np.delete(SENTENCES, rows))


def test_tokens_of_one_sentence_are_not_in_training_and_in_test_rows():
    x = BY_TOKEN["a/fc"] if "a/fc" in BY_TOKEN else next(iter(BY_TOKEN.values()))
    known, given = (probes.linear_probe(x, CLASSES, groups=groups, n_permutations=9) for groups in (None, SENTENCES))
    assert not sentences_on_both_sides(known.predictions) and known.predictions.equals(given.predictions)
    assert sentences_on_both_sides(probes.linear_probe(x, CLASSES, groups=range(120), n_permutations=9).predictions)
    held = probes.linear_probe(x[:80], CLASSES[:80], test=(x[80:], CLASSES[80:]), n_permutations=9)
    assert held.predictions["image"].nunique() == 10
    assert not sentences_on_both_sides(probes.dataset_bias(BY_TOKEN, n_permutations=3).predictions)


def test_damage_of_tokens_is_probed_on_other_sentences(monkeypatch):
    asked = []
    probe = probes.linear_probe
    monkeypatch.setattr(
        "repsim_nb.results.grounding.damage_curves.linear_probe",
        lambda *given, **options: asked.append(options["groups"]) or probe(*given, **options),
    )
    grounding.sensitivity(BY_TOKEN, measures=["cka"], damage="noise", targets=CLASSES, amounts=[0.1], draws=1)
    assert all(np.array_equal(groups, SENTENCES) for groups in asked) and asked
