"""Two releases of a model: verdicts whose truth is known, layers without a partner, exit codes of the command."""

import copy
import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import repsim_nb as rs
from repsim_nb.__main__ import main
from repsim_nb.display.reports import drift_command

N = 120


class Root(nn.Module):
    """The root of an offset minus the input: NaN for larger inputs."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset

    def forward(self, x):
        return (self.offset - x).sqrt()


def noisy(x, similarity, seed=1):
    """x with noise: the linear CKA of the two is `similarity` in the population, if features are independent."""
    noise = np.random.default_rng(seed).normal(size=x.shape)
    return x + np.sqrt(1 / similarity - 1) * noise


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(N, 6))


@pytest.fixture(scope="module")
def images():
    return rs.load_dataset("mnist", n=60)


@pytest.fixture(scope="module")
def mlp():
    return rs.load_model("zoo:mnist-mlp-0")


@pytest.fixture(scope="module")
def retrained(mlp, tmp_path_factory):
    """A file with the weights of the same model, whose last layer is another one."""
    weights = copy.deepcopy(mlp.module.state_dict())
    torch.manual_seed(0)
    last = list(weights)[-2:]
    for name in last:
        weights[name] = torch.randn_like(weights[name])
    path = tmp_path_factory.mktemp("weights") / "next.safetensors"
    save_file({name: value.contiguous() for name, value in weights.items()}, str(path))
    return path


def test_equal_weights_have_a_similarity_of_exactly_one(mlp, images):
    found = rs.drift(mlp, copy.deepcopy(mlp), images)
    assert (found.layers[["value", "low", "high"]] == 1.0).all(axis=None)
    assert (found.verdict, found.exit_code, found.changed, found.undecided, found.number) == ("same", 0, (), (), 0)
    assert "bit for bit" in found.summary and found.old != found.new


def test_a_release_whose_last_layer_was_trained_again_is_named_by_that_layer(mlp, retrained, images):
    new = rs.load_model(retrained, architecture="zoo:mnist-mlp-0")
    found = rs.drift(mlp, new, images)
    assert found.changed == ("output",) and found.exit_code == 1
    rows = found.layers.set_index("layer")
    assert (rows.drop(index="output")["note"] == "identical").all() and found.number == 1


@pytest.mark.parametrize(("similarity", "verdict"), [(0.995, "same"), (0.9, "changed")])
def test_verdicts_are_those_of_the_population(x, similarity, verdict):
    found = rs.drift({"fc": x}, {"fc": noisy(x, similarity)})
    (row,) = found.layers.to_dict("records")
    assert row["verdict"] == found.verdict == verdict and row["low"] <= similarity <= row["high"]
    assert abs(row["chance"]) < 1e-9 and row["p_value"] < 1e-6


def test_a_threshold_inside_the_interval_is_undecided_and_says_how_many_samples_decide(x):
    found = rs.drift({"fc": x}, {"fc": noisy(x, 0.975)})
    (row,) = found.layers.to_dict("records")
    assert row["low"] < 0.98 <= row["high"] and found.verdict == "undecided" and found.exit_code == 3
    assert found.undecided == ("fc",) and "samples would decide it" in row["note"] and "Undecided" in found.summary


def test_intervals_hold_together(x):
    one = rs.drift({"a": x}, {"a": noisy(x, 0.97)})
    four = rs.drift(dict.fromkeys("abcd", x), {name: noisy(x, 0.97) for name in "abcd"})
    alone = rs.inference.interval("cka_debiased", x, noisy(x, 0.97), level=1 - 0.05 / 4)
    assert one.number == 1 and four.number == 4
    assert four.layers["low"].to_numpy() == pytest.approx(alone.low, abs=1e-9)
    assert four.layers["low"].iloc[0] < one.layers["low"].iloc[0]
    two = rs.drift({"a": x}, {"a": noisy(x, 0.97)}, measure=["cka_debiased", "rsa"])
    assert two.number == 2 and list(two.comparisons) == ["cka_debiased", "rsa"]


def test_layers_of_one_side_are_reported_and_keep_the_verdict_from_same(x):
    found = rs.drift({"in": x, "fc": x[:, :3]}, {"in": x, "head": x[:, :3], "extra": x[::-1]})
    verdicts = dict(zip(found.table()["layer"], found.layers["verdict"], strict=True))
    assert verdicts == {
        "in": "same",
        "fc (only in old)": "only in old",
        "head (only in new)": "only in new",
        "extra (only in new)": "only in new",
    }
    notes = found.layers.set_index("verdict")["note"]
    assert "rename fc to head" in notes["only in old"] and "rename" not in notes["only in new"].iloc[1]
    assert found.exit_code == 3 and "3 layers have no partner" in found.summary
    paired = rs.drift({"in": x, "fc": x[:, :3]}, {"in": x, "head": x[:, :3]}, rename={"fc": "head"})
    assert paired.verdict == "same" and paired.table()["layer"].tolist() == ["in", "fc → head"]


def test_layers_that_cannot_be_recorded_are_reported_and_keep_the_verdict_from_same():
    def build(bias):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2))
        nn.init.constant_(model[2].bias, bias)
        return rs.load_model(model, name="m", layers=["1", "3", "output"])

    samples = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
    alive, dead = build(0.0), build(-50.0)  # whose second layer is 0 for all samples
    with pytest.warns(UserWarning, match="recorded: .* left out"):
        found = rs.drift(alive, dead, samples)
    rows = found.layers.set_index("layer")
    assert found.exit_code == 1 and rows.loc["1", "verdict"] == "same"
    assert rows.loc["3", "verdict"] == "changed" and rows.loc["3", "note"].startswith("in the new model it is constant")
    assert found.changed == ("3", "output") and found.undecided == () and found.table()["layer"][1] == "3"
    assert found.summary.startswith("Changed: 2 layers of 3 are constant, or NaN, in one release")
    with pytest.warns(UserWarning, match="recorded: .* left out"):
        assert rs.drift(dead, alive, samples).changed == ("3", "output"), "in either direction"
    with pytest.warns(UserWarning, match="left out"):
        both = rs.drift(dead, build(-50.0), samples)
    assert both.undecided == ("3", "output") and both.verdict == "undecided"
    assert both.layers["note"].str.startswith("not recorded: it is constant").sum() == 2
    assert rs.drift(dead, build(-50.0), samples, "1").exit_code == 0


@pytest.mark.parametrize("late", [False, True], ids=["in samples that are tried first", "in others"])
def test_a_layer_that_gives_nan_in_one_release_has_changed_whichever_samples_show_it(late):
    samples = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    samples[100 if late else 0] = 9  # sample 100 is not among those of which the first are chosen
    whole, bad = (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Root(offset), nn.Linear(4, 2)) for offset in (99, 8))
    bad.load_state_dict(whole.state_dict())
    with torch.no_grad():
        for model in (whole, bad):
            model[0].weight.copy_(torch.eye(4)), model[0].bias.zero_()
    old, new = (rs.load_model(model, name="m", layers=["1", "2"]) for model in (whole, bad))
    with pytest.warns(UserWarning, match="recorded: .*'2'.* gives NaN or infinite numbers"):
        found = rs.drift(old, new, samples)
    rows = found.layers.set_index("layer")
    assert rows["verdict"].to_dict() == {"1": "same", "2": "changed", "output": "changed"}
    assert found.changed == ("2", "output")
    assert "gives NaN or infinite numbers" in rows.loc["2", "note"]


def test_other_widths_are_compared_and_noted(x):
    found = rs.drift({"fc": x}, {"fc": np.hstack([x, x])})
    row = found.table().iloc[0]
    assert row["width"] == "6 → 12" and row["note"].startswith("the width differs") and row["verdict"] == "same"
    assert row["value"] == pytest.approx(1, abs=1e-9)


LOST = {
    "constant": (np.ones_like, r"it is constant: all 120 samples have the same activations"),
    "nan": (lambda x: np.where(x == x[3], np.nan, x), "values that are NaN or infinite, the first at sample 3"),
    "infinite": (lambda x: np.where(x == x[3], np.inf, x), "values that are NaN or infinite, the first at sample 3"),
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", LOST)
def test_a_layer_that_is_constant_or_nan_in_one_release_only_has_changed(x, name, wide, tmp_path):
    lose, why = LOST[name]
    x = np.tile(x, 30) if wide else x
    for sides, word, other in (((x, lose(x)), "new", "old"), ((lose(x), x), "old", "new")):
        found = rs.drift({"a": sides[0], "b": x}, {"a": sides[1], "b": noisy(x, 0.999)})
        assert found.layers["verdict"].tolist() == ["changed", "same"] and found.exit_code == 1
        note = found.layers["note"][0]
        assert (
            note.startswith(f"in the {word} model")
            and why in note
            and f"in the {other} model it has different values" in note
        )
        assert found.changed == ("a",) and np.isnan(found.layers.loc[0, "value"])
        assert found.summary == ("Changed: 1 layer of 2 is constant, or NaN, in one release only, on 120 samples: 'a'.")
        assert rs.Drift.load(found.save(tmp_path / "drift.json")).summary == found.summary in repr(found)
        rs.plots.draw(rs.spec(found))
    with_less = rs.drift({"a": x, "b": x}, {"a": lose(x), "b": noisy(x, 0.5)}, measure=["cka_debiased", "rsa"])
    assert with_less.changed == ("a", "b") and "less than 0.98 similar to old" in with_less.summary
    assert with_less.summary.endswith("1 layer is constant, or NaN, in one release only: 'a'.")
    twice = rs.drift({"a": lose(x), "b": x}, {"a": lose(x) * 2, "b": x})
    assert twice.layers["verdict"].tolist() == ["undecided", "same"], "neither release has a value"


def test_a_measure_that_has_no_value_for_another_reason_is_undecided(x):
    points = np.eye(30)  # all dissimilarities are equal
    found = rs.drift({"a": x[:30]}, {"a": points}, measure="rsa")
    assert found.verdict == "undecided" and "equally" in found.layers["note"][0]


def test_layers_that_are_constant_in_both_releases_are_the_same(x):
    both = rs.drift({"a": np.ones_like(x), "b": x}, {"a": np.ones_like(x), "b": x})
    assert both.verdict == "same" and np.isnan(both.layers["value"][0])
    assert both.layers["note"][0] == "identical; it is constant: all 120 samples have the same activations"


def test_what_is_not_reliable_is_never_the_same(x):
    close = noisy(x, 0.9999)
    assert rs.drift({"a": x}, {"a": close}).verdict == "same"
    found = rs.drift({"a": x}, {"a": close}, measure="nbs")
    assert found.verdict == "undecided" and "not calibrated" in found.layers["note"][0]
    steps = np.cumsum(x, axis=0)  # rows that follow one another are alike
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the warning is a note
        grouped = rs.drift({"a": steps}, {"a": noisy(steps, 0.5)})
    assert grouped.verdict == "undecided" and "follow one another" in grouped.layers["note"][0]
    assert rs.drift({"a": steps}, {"a": x}, groups=range(N)).verdict == "changed"


def test_rows_in_groups_are_left_out_together_and_counted(x):
    groups = np.repeat(np.arange(N // 4), 4)
    found = rs.drift({"a": x}, {"a": noisy(x, 0.97)}, groups=groups)
    whole = rs.inference.interval("cka_debiased", x, noisy(x, 0.97), groups=groups)
    assert found.layers.loc[0, ["low", "high"]].tolist() == pytest.approx([whole.low, whole.high])
    assert found.groups == 30 and "120 rows in 30 groups" in found.summary
    assert rs.drift({"a": x}, {"a": x}).groups is None


def test_wide_layers_have_the_same_interval_as_before_their_reduction(x):
    wide = x @ np.random.default_rng(2).normal(size=(6, 300))
    other = noisy(wide, 0.9)
    found = rs.drift({"a": wide}, {"a": other}, level=0.95)
    whole = rs.inference.interval("cka_debiased", wide, other)
    assert found.layers.loc[0, ["low", "high"]].tolist() == pytest.approx([whole.low, whole.high], abs=1e-9)


def test_recordings_of_sides_that_prepare_inputs_otherwise_are_warned_of(mlp, images):
    with pytest.warns(UserWarning, match="prepare the same samples in other ways"):
        found = rs.drift(mlp, mlp.module, images, layers="output")
    assert "preprocess" in found.notes[0] and "preprocess" in repr(found)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"measure": "procrustes"}, ValueError, "best value is 1.*Use 'cka_debiased'"),
        ({"measure": "mutual_knn"}, ValueError, "mutual_knn has none: the value depends"),
        ({"measure": "kappa"}, ValueError, "^drift compares layers, and kappa compares outputs. Use 'cka_debiased'"),
        ({"measure": []}, ValueError, "at least one measure"),
        ({"measure": ["cka", "cka"]}, ValueError, "all different"),
        ({"measure": "ckaa"}, ValueError, "Did you mean 'cka'"),
        ({"at_least": 0}, ValueError, "above 0 and at most 1.*got 0"),
        ({"at_least": 98}, ValueError, "above 0 and at most 1.*got 98"),
        ({"at_least": "high"}, ValueError, "got 'high'"),
        ({"rename": {"fk": "fc"}}, ValueError, "Did you mean 'fc'"),
        ({"data": "mnist"}, TypeError, "data and layers are for models"),
        ({"level": 1}, ValueError, "level must be"),
    ],
)
def test_what_cannot_be_asked_is_an_error(x, options, error, words):
    with pytest.raises(error, match=words):
        rs.drift({"fc": x}, {"fc": x}, **options)


def test_sides_must_be_of_one_kind_and_large_enough(x, mlp):
    with pytest.raises(TypeError, match="two models and data"):
        rs.drift({"fc": x}, mlp, "mnist")
    with pytest.raises(TypeError, match="two models and data"):
        rs.drift(mlp, mlp)
    with pytest.raises(ValueError, match="at least 20 samples.*there are 10"):
        rs.drift({"fc": x[:10]}, {"fc": x[:10]})
    twice = rs.from_arrays({"a/fc": x, "b/fc": x})
    with pytest.raises(ValueError, match="'fc' is there twice"):
        rs.drift(twice, twice)


def test_a_saved_result_is_the_same_and_other_files_are_refused(x, tmp_path):
    found = rs.drift({"a": x, "b": x}, {"a": noisy(x, 0.9), "c": x}, measure=["cka_debiased", "rsa"])
    again = rs.Drift.load(found.save(tmp_path / "drift.json"))
    pd.testing.assert_frame_equal(again.layers, found.layers)
    assert again.comparisons == found.comparisons and (again.summary, again.number) == (found.summary, found.number)
    content = json.loads((tmp_path / "drift.json").read_text())
    assert (content["verdict"], content["exit_code"]) == ("changed", 1)
    for text in ("{}", "no", '{"format": "repsim_nb.Drift/1"}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(ValueError, match="contains no result of drift"):
            rs.Drift.load(tmp_path / "other.json")


def test_its_spec_has_a_row_for_each_layer_and_the_threshold(x):
    found = rs.drift({"a": x, "b": x}, {"a": noisy(x, 0.9), "c": x})
    shown = rs.spec(found)
    assert [text for _, text in shown.y_ticks] == found.table()["layer"].tolist()
    line, ranges, points = shown.layers
    assert line.x == (0.98,) and ranges.low[0] == pytest.approx(found.layers["low"][0]) and points.x[1:] == (None, None)


# -- the command


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words, n=40):
        code = drift_command.main([*map(str, words), "--n", str(n), "--no-page"])
        return code, *capsys.readouterr()

    return call


def test_the_command_has_an_exit_code_for_each_outcome(run, retrained, tmp_path):
    code, out, err = run("zoo:mnist-mlp-0", "zoo:mnist-mlp-0", "mnist")
    assert code == 0 and out.startswith("No change") and "identical" in out and not err
    code, out, _ = run("zoo:mnist-mlp-0", retrained, "mnist", "--architecture", "zoo:mnist-mlp-0")
    assert code == 1 and "'output'" in out and json.loads((tmp_path / "drift/drift.json").read_text())["exit_code"] == 1
    code, out, _ = run("zoo:mnist-mlp-0", "zoo:mnist-cnn-0", "mnist", "--layers", "-1", "--at-least", ".8")
    assert code in (1, 3)


def test_layers_of_other_names_need_a_partner(run):
    pair = "zoo:mnist-mlp-0", "zoo:mnist-cnn-0", "mnist"
    code, out, _ = run(*pair, "--at-least", ".01")
    assert code == 3 and "only in old" in out and "only in new" in out
    code, out, _ = run(*pair, "--at-least", ".01", "--layers", "fc1", "--rename", "fc1=fc", "--measure", "cka_debiased")
    assert code == 0 and "fc1 → fc" in out
    code, _, err = run(*pair, "--layers", "fc1")
    assert code == 2 and "unknown layer 'fc1'" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zoo:mnist-mlp-9", "zoo:mnist-mlp-0", "mnist"], "Did you mean 'mnist-mlp-"),
        (["zoo:mnist-mlp-0", "nowhere.safetensors", "mnist"], "nowhere.safetensors"),
        (["zoo:mnist-mlp-0", "zoo:mnist-mlp-0", "mnits"], "Did you mean 'mnist'"),
        (["zoo:mnist-mlp-0", "zoo:mnist-mlp-0", "mnist", "--at-least", "2"], "at_least must be"),
        (["zoo:mnist-mlp-0", "zoo:mnist-mlp-0", "mnist", "--at-least", "high"], "invalid float"),
        (["zoo:mnist-mlp-0", "zoo:mnist-mlp-0", "mnist", "--measure", "procrustes"], "best value is 1"),
        (["zoo:mnist-mlp-0", "zoo:mnist-mlp-0", "mnist", "--rename", "fc"], "takes OLD=NEW"),
        (["zoo:mnist-mlp-0"], "required"),
    ],
)
def test_what_could_not_be_carried_out_is_two(run, words, message):
    code, out, err = run(*words)
    assert code == 2 and message in err and "Traceback" not in err and not out


def test_an_error_of_any_kind_is_no_change(run, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(drift_command, "_compare", broken)
    assert run("a", "b", "c")[::2] == (2, "drift: out of order\n")


def test_data_can_be_a_file(tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros((30, 4), np.float32))
    (tmp_path / "mine.txt").write_text("one\n\ntwo\n")
    assert drift_command.read_data(str(tmp_path / "mine.npy"), 20, 0).name == "mine[n=20,seed=0]"
    assert len(drift_command.read_data(str(tmp_path / "mine.txt"), 20, 0)) == 2
    same = rs.load_dataset("mnist", split="train", n=20, seed=3)
    found = drift_command.read_data("mnist/train", 20, 3)
    assert found.name == same.name and np.array_equal(found.inputs, same.inputs)


def test_the_face_of_the_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["repsim_nb", "drift", "--help"])
    assert main() == 0
    assert "undecided" in capsys.readouterr().out


def test_the_command_writes_the_page_of_what_it_found(tmp_path, monkeypatch, capsys):
    asked = {}

    def draw(notebook, out, **parameters):
        asked.update(parameters, notebook=notebook)
        raise RuntimeError("no kernel")

    monkeypatch.setattr("repsim_nb.display.reports.running.run", draw)
    words = ["zoo:mnist-mlp-0", "zoo:mnist-mlp-0", "mnist", "--n", "20", "--out", str(tmp_path / "a")]
    assert drift_command.main(words) == 0, "the verdict stands without a page"
    assert asked == {"notebook": "report_drift", "saved": str(tmp_path / "a/drift.json")}
    assert "the page could not be written: no kernel" in capsys.readouterr().err


@pytest.mark.full
def test_the_page_is_one_file_that_opens_with_the_verdict(x, tmp_path):
    saved = rs.drift({"in": x, "a_b": x}, {"in": x, "a_b": noisy(x, 0.9)}).save(tmp_path / "drift.json")
    page = rs.reports.run("report_drift", tmp_path / "out", saved=str(saved)).read_text()
    assert "<b>Changed:</b> 1 layer of 2 of new" in page and page.count('class="rs-live"') == 2
    assert "http://" not in page.replace("http://www.w3.org", "") and "load_model" not in page
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"drift.json", "layers.csv", "layers.png"}
