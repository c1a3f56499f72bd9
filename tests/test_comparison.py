import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

import repsim_nb as rs
from repsim_nb.measures import CCA, NBS, DegenerateComparisonError, Measure, UndefinedError
from repsim_nb.results.comparison.defined_cells import find_defined
from repsim_nb.support.errors import Stopped
from repsim_nb.support.labels import values_per_item


@pytest.fixture
def three(rng):
    x = rng.normal(size=(50, 6))
    return {"a": x, "b": x @ rng.normal(size=(6, 4)), "c": rng.normal(size=(50, 30))}


def test_a_dict_of_arrays_is_enough(three):
    c = rs.compare("cka", three)
    assert list(c.values.index) == list(c.values.columns) == ["a", "b", "c"] and c.values.index.names == ["label"]
    assert c.values.loc["a", "b"] == rs.measures.get("cka")(three["a"], three["b"]) and np.allclose(
        np.diag(c.values), 1
    )
    assert c.n == 50 and c.is_square and c.kind == "similarity" and c.name == "cka"
    assert np.allclose(c.dissimilarity(), 1 - c.values)


def test_keys_become_index_levels(recorded):
    c = rs.compare("cka", recorded.where(model="mnist-cnn-0"), recorded.where(model="mnist-mlp-0"))
    assert (
        list(c.values.index.names) == ["model", "layer", "dataset", "step", "pool"]
        and c.values.shape == (5, 4)
        and not c.is_square
    )
    assert c.labels() == (("conv1", "conv2", "conv3", "fc", "output"), ("fc1", "fc2", "fc3", "output"))
    assert c.constants()[0] == {"model": "mnist-cnn-0", "dataset": "mnist/test[n=200,seed=0]"}
    whole = rs.compare("cka", recorded)
    part = whole.between({"model": "mnist-cnn-0"}, {"model": "mnist-mlp-0"})
    assert np.allclose(part.values, c.values, atol=1e-12) and whole.where(layer="output").values.shape == (3, 3)
    assert whole.where(model=["mnist-cnn-0", "mnist-cnn-1"], layer="fc").labels()[0] == ("mnist-cnn-0", "mnist-cnn-1")


def test_tidy_is_a_row_a_cell(three, recorded):
    tidy = rs.compare("mean_cca", three, {"z": three["a"]}).tidy()
    assert list(tidy.columns) == ["label_row", "label_column", "value", "undefined"] and tidy.label_row.tolist() == [
        "a",
        "b",
        "c",
    ]
    long = rs.compare("cka", recorded).tidy()
    row = long.query(
        "model_row == 'mnist-cnn-0' and layer_row == 'fc' and model_column == 'mnist-mlp-0' and layer_column == 'fc2'"
    )
    assert len(long) == 14 * 14 and len(row) == 1


def test_where_teaches(recorded):
    c = rs.compare("cka", recorded.where(layer="output"))
    with pytest.raises(ValueError, match="unknown model 'mnist-cnn'. Did you mean"):
        c.where(model="mnist-cnn")
    with pytest.raises(ValueError, match="unknown field 'leyer'. Did you mean 'layer'"):
        c.where(leyer="output")


def test_undefined_raises_or_is_masked_with_its_reason(three):
    three["d"] = np.ones((50, 3))
    three["e"] = np.arange(50.0 * 30).reshape(50, 30) ** 1.1 + three["c"]
    with pytest.raises(UndefinedError, match="mean_cca of 'd': it is constant"):
        rs.compare("mean_cca", three)
    with pytest.raises(DegenerateComparisonError, match=r"mean_cca of 'c' and 'e': ranks 30 \+ 30 exceed n - 1 = 49"):
        rs.compare("mean_cca", {k: three[k] for k in "ce"}, {"e": three["e"]})
    c = rs.compare("mean_cca", three, on_undefined="mask")
    assert (
        c.values.loc["a", "b"] > 0.9
        and c.values.loc["d"].isna().all()
        and c.values["d"].isna().all()
        and np.isnan(c.values.loc["c", "e"])
    )
    assert (
        "constant" in c.undefined["d", "a"]
        and c.undefined["a", "d"] == c.undefined["d", "a"]
        and "ranks" in c.undefined["c", "e"]
    )
    assert len(c.undefined) == int(c.values.isna().sum().sum())
    assert c.where(label=["a", "b"]).undefined == {} and len(c.where(label=["a", "d"]).undefined) == 3
    assert "constant" in c._repr_html_() and "undefined" in repr(c)
    with pytest.raises(ValueError, match="unknown on_undefined 'msk'. Did you mean 'mask'"):
        rs.compare("cka", three, on_undefined="msk")


def test_different_samples_are_never_masked(three):
    three["b"] = three["b"][:-1]
    with pytest.raises(ValueError, match="'a' has 50 rows, 'b' has 49"):
        rs.compare("cka", three, on_undefined="mask")
    with pytest.raises(ValueError, match="'a' has 50 rows, 'y' has 49"):
        rs.compare("cka", {"a": three["a"]}, {"y": three["b"]})


def test_recordings_of_other_data_or_of_hidden_layers_are_refused(recorded):
    other = rs.record("zoo:mnist-mlp-0", rs.load_dataset("fashion", n=200), progress=False)
    with pytest.raises(
        ValueError,
        match=r"'mnist-cnn-0/conv1' was recorded on 'mnist/test\[n=200,seed=0\]', 'mnist-mlp-0/fc1' on 'fashion",
    ):
        rs.compare("cka", recorded, other)
    with pytest.raises(ValueError, match="jsd compares outputs of models, and 'mnist-cnn-0/conv1' is a hidden layer"):
        rs.compare("jsd", recorded)
    assert rs.compare("jsd", recorded.where(layer="output")).values.shape == (3, 3)


def test_nan_names_model_and_layer(recorded):
    x = {key: recorded[key] for key in recorded.where(model="mnist-mlp-0")}
    broken = np.array(recorded["mnist-mlp-0/fc2"])
    broken[3, 4] = np.nan
    x[next(k for k in x if k.layer == "fc2")] = broken
    with pytest.raises(
        UndefinedError,
        match="cka of 'mnist-mlp-0/fc2': it holds 1 values that are NaN or infinite, the first at sample 3, feature 4",
    ):
        rs.compare("cka", x)


def test_bad_requests_teach(three):
    with pytest.raises(ValueError, match="nothing to compare"):
        rs.compare("cka", {})
    with pytest.raises(TypeError, match="takes xs as a mapping"):
        rs.compare("cka", three["a"], three["b"])
    with pytest.raises(ValueError, match="unknown measure 'ckaa'"):
        rs.compare("ckaa", three)
    with pytest.raises(ValueError, match="'1' is there twice"):
        rs.compare("cka", {1: three["a"], "1": three["b"]})
    for wrong in (3.0, three["a"][:, 0]):
        with pytest.raises(ValueError, match=r"cka of 'z': a representation is \(samples, features\)"):
            rs.compare("cka", {"z": wrong})
    with pytest.raises(ValueError, match="plain text have no fields: rs.from_arrays"):
        rs.compare("cka", three).where(model="a")
    with pytest.raises(TypeError, match="selected by fields"):
        rs.compare("cka", three).between("a", "b")


def test_an_asymmetric_measure_keeps_both_orientations(three):
    c = rs.compare("pwcca", {k: three[k] for k in "ab"})
    assert c.values.loc["a", "b"] == CCA(summary="projection_weighted")(three["a"], three["b"])
    assert c.values.loc["b", "a"] == CCA(summary="projection_weighted")(three["b"], three["a"])


class Counting(NBS):
    """Counts its work: what is prepared once is prepared once."""

    calls: ClassVar = {"prepare": 0, "pair": 0}
    lock = threading.Lock()

    def prepare(self, x):
        with self.lock:
            self.calls["prepare"] += 1
        return super().prepare(x)

    def pair(self, a, b):
        with self.lock:
            self.calls["pair"] += 1
        return super().pair(a, b)


def test_each_representation_is_prepared_once_and_each_pair_done_once(three):
    for xs, ys, expected in (
        (three, None, {"prepare": 3, "pair": 6}),
        (three, {"z": three["a"], "y": three["b"]}, {"prepare": 5, "pair": 6}),
    ):
        Counting.calls = {"prepare": 0, "pair": 0}
        rs.compare(Counting(), xs, ys)
        assert Counting.calls == expected


@pytest.mark.parametrize("name", ["cka", "mean_cca", "procrustes", "rsa", "pwcca"])
def test_serial_threads_and_processes_agree(three, name):
    three["d"] = np.ones((50, 3))
    serial = rs.compare(name, three, on_undefined="mask")
    for kind in (ThreadPoolExecutor, ProcessPoolExecutor):
        with kind(2) as executor:
            spread = rs.compare(name, three, on_undefined="mask", executor=executor)
        assert (
            np.allclose(spread.values, serial.values, atol=1e-12, equal_nan=True)
            and spread.undefined == serial.undefined
        )


@pytest.mark.parametrize("name", ["cka", "rsa", "procrustes", "pwcca"])
def test_progress_is_told_and_can_stop(three, name, capsys, monkeypatch):
    told = []
    rs.compare(
        name, three, {"z": three["a"]}, on_undefined="mask", progress=lambda done, total: told.append((done, total))
    )
    assert (
        told[-1][0] == told[-1][1]
        and [done for done, _ in told] == sorted(done for done, _ in told)
        and len({total for _, total in told}) == 1
        and len(told) > 4
    )

    def stop(done, total):
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        rs.compare(name, three, on_undefined="mask", progress=stop)
    monkeypatch.setattr("repsim_nb.support.progress.tqdm", lambda **options: tqdm(**options | {"delay": 0}))
    rs.compare(name, three, on_undefined="mask", progress=True)
    assert rs.measures.short_name(rs.measures.get(name)) in capsys.readouterr().err


def test_saved_and_loaded_it_is_the_same(tmp_path, three, recorded):
    three["d"] = np.ones((50, 3))
    measure = CCA(summary="projection_weighted", weights="y", variance=0.9)
    for c in (
        rs.compare(measure, three, on_undefined="mask"),
        rs.compare("cka_debiased", recorded.where(model="mnist-mlp-0"), recorded),
    ):
        loaded = rs.Comparison.load(c.save(tmp_path / "c.json"))
        pd.testing.assert_frame_equal(loaded.values, c.values, check_exact=True)
        assert (loaded.undefined, loaded.measure, loaded.n, loaded.kind) == (c.undefined, c.measure, c.n, c.kind)
    whole = (tmp_path / "c.json").read_text()
    for content in (
        whole[:-20],
        "{}",
        "[1]",
        "",
        whole.replace('"n"', '"m"'),
        whole.replace('"measure"', '"x"'),
        whole.replace('"undefined": [', '"undefined": [[99, 0, "?"]'),
    ):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(ValueError, match="c.json contains no comparison, or is damaged"):
            rs.Comparison.load(tmp_path / "c.json")
    with pytest.raises(FileNotFoundError):
        rs.Comparison.load(tmp_path / "absent.json")


def test_a_measure_of_ones_own_is_passed_when_loading(tmp_path, three):
    c = rs.compare(Counting(), three)
    c.save(tmp_path / "c.json")
    with pytest.raises(ValueError, match="a measure of your own, Counting"):
        rs.Comparison.load(tmp_path / "c.json")
    assert isinstance(rs.Comparison.load(tmp_path / "c.json", measure=Counting()).measure, Measure)


def furthest(x, y):
    return float(np.abs(x - y).max())


def test_a_measure_whose_options_are_no_data_is_saved_by_its_name(tmp_path, rng):
    measure = rs.measures.from_function(furthest, kind="dissimilarity", symmetric=True)
    c = rs.compare(measure, {"a": rng.normal(size=(9, 2)), "b": rng.normal(size=(9, 2))})
    c.save(tmp_path / "c.json")
    with pytest.raises(
        ValueError,
        match=(
            r"written with furthest, whose options .of FromFunction. are not plain data. Pass the measure:"
            r" Comparison.load\(path, measure=...\)"
        ),
    ):
        rs.Comparison.load(tmp_path / "c.json")
    loaded = rs.Comparison.load(tmp_path / "c.json", measure=measure)
    assert loaded.values.equals(c.values) and loaded.measure == measure and loaded.name == "furthest"


def test_two_comparisons_are_equal_if_their_content_is(tmp_path, three):
    three["d"] = np.ones((50, 3))
    c = rs.compare("cka", three, on_undefined="mask")
    same = rs.Comparison.load(c.save(tmp_path / "c.json"))
    assert (c == same) is True and hash(c) == hash(same) and len({c, same}) == 1
    others = (
        rs.compare("nbs", three, on_undefined="mask"),
        rs.compare("cka", {name: x[:40] for name, x in three.items()}, on_undefined="mask"),
        c.take([0, 1, 2, 3], [1, 0, 2, 3]),
        rs.Comparison(c.values, c.measure, c.n),
        rs.Comparison(c.values + 1e-12, c.measure, c.n, c.undefined),
    )
    assert [(c == other) is False for other in others] == [True] * 5
    assert (c == 1) is False and (c == c.values.to_numpy().tolist()) is False


def test_a_measure_and_representations_in_the_wrong_order_are_explained_in_one_line(three):
    with pytest.raises(TypeError, match="takes the measure first.*got dict as the measure") as caught:
        rs.compare(three, "cka")
    assert len(str(caught.value)) < 200


def test_a_device_that_is_not_there_is_named(three):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match="'cuda'.*'cpu'"):
        rs.compare("cka", three, device="cuda")


# -- steps of training


@pytest.fixture
def steps(rng):
    """Two models that approach their end, two layers each; b has no step 2; c has one step only."""
    z = rng.normal(size=(60, 8))
    trained = {("a", 10): 10, ("a", 2): 2, ("a", "last"): 20, ("a", 0): 0, ("b", 10): 10, ("b", 0): 0}
    made = {
        rs.Key(model, layer, "d", step): z * far + rng.normal(size=(60, 8))
        for (model, step), far in trained.items()
        for layer in ("fc", "output")
    }
    return {**made, rs.Key("c", "fc", "d", 0): z}


def test_each_step_is_compared_with_the_last_of_its_own_network(steps):
    found = rs.trajectories.compare_to_final("cka", steps)
    assert list(found.columns) == ["a/fc", "a/output", "b/fc", "b/output"] and found.columns.name == "model"
    assert list(found.index) == [0, 2, 10, "last"] and found.index.name == "step"
    cka = rs.measures.get("cka")
    for model, layer, last in (("a", "fc", "last"), ("a", "output", "last"), ("b", "fc", 10), ("b", "output", 10)):
        column = found[f"{model}/{layer}"]
        end = steps[rs.Key(model, layer, "d", last)]
        for step in found.index:
            key = rs.Key(model, layer, "d", step)
            assert (
                column[step] == pytest.approx(cka(steps[key], end), abs=1e-12)
                if key in steps
                else np.isnan(column[step])
            )
    assert found["b/fc"].isna().tolist() == [False, True, False, True] and found["b/fc"][10] == pytest.approx(1)


def test_columns_are_named_by_what_differs_and_only_what_is_needed_is_compared(steps, monkeypatch):
    shapes = []
    table = Measure.table
    monkeypatch.setattr(
        Measure,
        "table",
        lambda self, xs, ys=None, **rest: shapes.append((len(xs), len(ys))) or table(self, xs, ys, **rest),
    )
    told = []
    layer = {key: x for key, x in steps.items() if key.layer == "fc"}
    assert list(
        rs.trajectories.compare_to_final(
            "procrustes", layer, progress=lambda done, total: told.append((done, total))
        ).columns
    ) == ["a", "b"]
    assert (
        shapes == [(4, 1), (2, 1)]
        and told[-1] == (6, 6)
        and told == sorted(told)
        and {total for _, total in told} == {6}
    )
    assert list(
        rs.trajectories.compare_to_final("cka", {key: x for key, x in layer.items() if key.model == "a"}).columns
    ) == ["a"]
    assert list(
        rs.trajectories.compare_to_final("cka", {key: x for key, x in steps.items() if key.model == "a"}).columns
    ) == ["fc", "output"]


def test_networks_without_steps_are_an_error(steps, three):
    with pytest.raises(ValueError, match="needs keys with a step, .* got 'a'"):
        rs.trajectories.compare_to_final("cka", three)
    with pytest.raises(ValueError, match="among 1 recording no two are steps of one model .*'0'"):
        rs.trajectories.compare_to_final("cka", {key: x for key, x in steps.items() if key.model == "c"})
    with pytest.raises(ValueError, match="among 3 recordings no two are steps of one model"):
        rs.trajectories.compare_to_final(
            "cka", {key: x for key, x in steps.items() if key.step == 0 and key.layer == "fc"}
        )
    constant = {**steps, rs.Key("a", "fc", "d", 0): np.ones((60, 3))}
    with pytest.raises(UndefinedError, match="constant"):
        rs.trajectories.compare_to_final("cka", constant)


def test_what_is_told_of_items_is_found_by_model_by_label_or_in_order():
    axis = pd.MultiIndex.from_tuples([("a", "fc"), ("a", "out"), ("b", "fc")], names=["model", "layer"])
    assert list(values_per_item(axis, {"a": 1, "b": 2}, "groups")) == [1, 1, 2] and list(
        values_per_item(axis, "layer", "groups")
    ) == ["fc", "out", "fc"]
    assert list(values_per_item(axis, pd.Series([3, 1, 2], [axis[2], axis[0], axis[1]]), "groups")) == [1, 2, 3]
    assert (
        list(values_per_item(axis, pd.Series([1, 2, 3], name="loss"), "groups")) == [1, 2, 3]
        and values_per_item(axis, pd.Series([1, 2, 3], name="loss"), "groups").name == "loss"
    )
    with pytest.raises(ValueError, match="groups has no value for 'a', 'b'; it has values for 'x', 'y', 'z'"):
        values_per_item(axis, pd.Series([1, 2, 3], ["x", "y", "z"]), "groups")  # as many, of others
    with pytest.raises(ValueError, match="groups needs one label for each of 3; there are 2"):
        values_per_item(axis, [1, 2], "groups")


@pytest.mark.parametrize("square", [True, False])
def test_what_is_left_of_a_table_has_values_and_the_worst_goes_first(square):
    missing = np.random.default_rng(0).random((40, 7, 7 if square else 4)) < 0.15
    for one in missing:
        rows, columns, out = find_defined(np.where(one, np.nan, 1.0), square=square)
        assert not one[np.ix_(rows, columns)].any()
        assert len(out) == (~rows).sum() + (0 if square else (~columns).sum())
        whole = one | one.T if square else one
        if out:
            rates = np.append(whole.mean(axis=1), whole.mean(axis=0))
            first = {whole[out[0]].mean()} | ({whole[:, out[0]].mean()} if out[0] < whole.shape[1] else set())
            assert max(first) == rates.max()
    rows, columns, _ = find_defined(np.full((2, 2), np.nan), square=square)
    assert not (rows.any() and columns.any())


def test_items_without_a_value_are_left_out_and_blocks_have_means():
    index = pd.Index(list("abcd"), name="label")
    values = pd.DataFrame(
        [[1, 0.5, np.nan, 0.1], [0.5, 1, np.nan, 0.3], [np.nan] * 4, [0.1, 0.3, np.nan, 1]], index, index
    )
    table = rs.Comparison(values, rs.measures.get("cka"), 9, {("c", "a"): "why"})
    whole, out = table.drop_undefined()
    assert (
        list(whole.values.index) == ["a", "b", "d"]
        and out == ("c",)
        and not whole.undefined
        and whole.drop_undefined() == (whole, ())
    )
    rows, columns, out = find_defined(values.to_numpy(), square=False)
    assert rows.tolist() == [True, True, False, True] and columns.tolist() == [True, True, False, True]
    assert out == [2, 2], "column c, and then row c"
    first = np.array([True, True, False])
    assert (
        whole.mean_of(first, first) == 0.5
        and whole.mean_of(first, ~first) == pytest.approx(0.2)
        and whole.mean_of([0], [0]) is None
    )


def test_runs_are_correlated_as_frames(steps):
    found = rs.trajectories.compare_to_final("cka", steps)
    for a, b in ((found, found.to_numpy()), (found.to_numpy(), found)):
        with pytest.raises(TypeError, match="two DataFrames .steps, runs., as compare_to_final.* got ndarray"):
            rs.trajectories.correlate_runs(a, b)


# -- pairs


def test_pairs_put_tables_of_features_and_of_outputs_side_by_side(recorded):
    features, outputs = rs.compare("cka", recorded.where(layer=-2)), rs.compare("kl", recorded.where(layer="output"))
    found = rs.comparison.pairs({"CKA": features, "KL": outputs.take([2, 0, 1], [2, 0, 1])})
    assert list(found.index) == [
        ("mnist-cnn-0", "mnist-cnn-1"),
        ("mnist-cnn-0", "mnist-mlp-0"),
        ("mnist-cnn-1", "mnist-mlp-0"),
    ] and found.index.names == ["row", "column"]
    upper, kl = np.triu_indices(3, 1), outputs.values.to_numpy()
    assert np.allclose(found["CKA"], features.values.to_numpy()[upper], rtol=1e-14), "a similarity stays one"
    assert np.allclose(found["KL"], ((kl + kl.T) / 2)[upper]) and not np.allclose(kl, kl.T), (
        "both directions are averaged"
    )
    layers = rs.comparison.pairs({"CKA": rs.compare("cka", recorded.where(model="mnist-mlp-0"))})
    assert list(layers.index.get_level_values("row")) == ["fc1"] * 3 + ["fc2"] * 2 + ["fc3"]


def test_pairs_are_of_what_all_tables_share_and_what_is_undefined_stays_so(three):
    three["d"] = np.ones((50, 3))
    masked = rs.compare("cka", {key: three[key] for key in "dcab"}, on_undefined="mask")
    found = rs.comparison.pairs(
        {"masked": masked, "less": rs.compare("procrustes", {key: three[key] for key in "abc"})}
    )
    assert list(found.index) == [("c", "a"), ("c", "b"), ("a", "b")] and found.loc[
        ("a", "b"), "masked"
    ] == pytest.approx(masked.values.loc["a", "b"], abs=1e-12)
    whole = rs.comparison.pairs({"masked": masked})
    assert len(whole) == 6 and whole["masked"].isna().sum() == 3 and whole.loc[("d", "a")].isna().all()


def test_pairs_teach(three):
    table = rs.compare("cka", three)
    for wrong, says in (
        ({"CKA": rs.compare("cka", three, {"z": three["a"]})}, "square comparison, .*; 'CKA' has 3 rows and 1 columns"),
        (
            {"one": table, "two": table.where(label="b")},
            "1 is common to .one .3 items, such as a.., .two .1 items, such as b..",
        ),
        ({"row": table}, "'row' is a level of the index of pairs. Give the comparison another name"),
    ):
        with pytest.raises(ValueError, match=says):
            rs.comparison.pairs(wrong)
    for wrong, says in (
        ([table], "takes comparisons by name, .*; got list"),
        ({}, "got none"),
        ({"CKA": table.values}, "'CKA' is a DataFrame"),
    ):
        with pytest.raises(TypeError, match=says):
            rs.comparison.pairs(wrong)


def test_an_array_that_is_read_only_goes_to_a_device_without_a_warning(rng, tmp_path):
    np.save(tmp_path / "x.npy", rng.normal(size=(30, 4)))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rs.compare("cka", {"a": mapped}, {"b": np.array(mapped) ** 2}, device="cpu")
    assert found.values.iloc[0, 0] == pytest.approx(rs.measures.get("cka")(mapped, np.array(mapped) ** 2))
