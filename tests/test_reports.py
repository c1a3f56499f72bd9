import itertools
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import repsim_nb as rs
from repsim_nb import reports
from repsim_nb.display.reports.running import parse_parameters

ROOT = Path(__file__).parents[1]
TWINS = {model: f"untrained-{model}" for model in "abc"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    page = rs.reports.run(
        "report_comparison",
        out,
        models=["zoo:mnist-cnn-0", "zoo:mnist-vit-0"],
        measures=["cka", "mean_cca"],
        dataset="digits",
        fast=True,
    )
    return out, page.read_text()


def test_a_report_is_one_file_that_loads_nothing(made):
    _, page = made
    assert (
        not re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", page)
        and "cdnjs" not in page
        and "unpkg" not in page
    )
    assert "widget-view" not in page and page.count("data:image/png;base64") >= 2
    for words in (
        "mnist-cnn-0",
        "mnist-vit-0",
        "200 samples",
        "digits/test[n=200,seed=0]",
        "Headline",
        "untrained models of the same architectures",
        "<code>mnist-cnn-0/fc</code>",
        "Caveats",
        "exceed n - 1",
        "torch",
        "best partner",
    ):
        assert words in page, words
    assert "load_model(spec)" not in page, "a report shows no code"


def test_it_writes_tables_and_pictures_next_to_the_page(made):
    out, _ = made
    assert {
        "cka.csv",
        "mean_cca.csv",
        "cka_untrained.csv",
        "headline.csv",
        "headline.png",
        "best_partner.csv",
        "heatmaps.png",
        "map.png",
        "report_comparison.ipynb",
        "report_comparison.html",
    } <= {p.name for p in out.iterdir()}
    table = pd.read_csv(out / "cka.csv")
    data = rs.load_dataset("digits", n=200)
    x = rs.record(["zoo:mnist-cnn-0", "zoo:mnist-vit-0"], data, progress=False)
    direct = rs.compare("cka", x).tidy()
    assert len(table) == 144 and table.value.tolist() == pytest.approx(direct.value.tolist(), abs=1e-6)
    assert pd.read_csv(out / "mean_cca.csv").undefined.notna().any()
    baseline = pd.read_csv(out / "cka_untrained.csv")
    assert set(baseline.model_row) == {"untrained-mnist-cnn-0", "untrained-mnist-vit-0"}
    (pair,) = pd.read_csv(out / "headline.csv").itertuples()
    twins = rs.record(
        [rs.models.untrained_twin(f"zoo:{m}", seed=k) for k, m in enumerate(pair[1:3])], data, [-2], progress=False
    )
    assert pair.untrained == pytest.approx(rs.compare("cka", twins).values.iloc[0, 1], abs=1e-6)
    assert pair.verdict == "more alike" and pair.low > pair.untrained_high


def test_what_was_found_is_written_in_sentences():
    columns = ["value", "low", "high", "untrained", "untrained_low", "untrained_high", "verdict"]
    layers, nan = dict.fromkeys("abc", "fc"), float("nan")

    def write(*rows):
        pairs = pd.MultiIndex.from_tuples(list(itertools.combinations("abc", 2))[: len(rows)])
        return reports.headline(pd.DataFrame(rows, pairs, columns), "cka", layers)

    more, same = (0.9, 0.8, 1.0, 0.5, 0.4, 0.6, "more alike"), (0.5, 0.4, 0.7, 0.5, 0.4, 0.6, "no clear difference")
    assert "show **no clear difference** from untrained models" in write(same)
    found = write(more, same, same)
    assert "- Most alike: <code>a/fc</code> and <code>b/fc</code> are **more alike**" in found
    assert "- Least alike: <code>b/fc</code>" in found and "Of 3 pairs" in found and "1 more alike, 2 no clear" in found
    alone = write((0.9, nan, nan, nan, nan, nan, ""))
    assert alone == "<code>a/fc</code> and <code>b/fc</code>: cka **0.90**, without an untrained baseline."
    assert "No pair of models has a value" in write((nan, nan, nan, 0.5, nan, nan, ""))


def test_trained_and_untrained_are_compared_in_the_direction_of_the_measure():
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=(80, 4)), rng.normal(size=(4, 80, 4))
    x = rs.from_arrays({"a/fc": a, "b/fc": a + 0.2 * noise[0], "c/fc": noise[3]})
    y = rs.from_arrays({"untrained-a/fc": noise[1], "untrained-b/fc": noise[2]})
    for measure in ("cka_debiased", "procrustes"):
        found = reports.compare_with_untrained(measure, x, y, dict.fromkeys("abc", "fc"), twins=TWINS)
        assert found.index[0] == ("a", "b") and found["verdict"].tolist() == ["more alike", "", ""], measure
        assert found["untrained"].notna().tolist() == [True, False, False]
    swapped = reports.compare_with_untrained(
        "cka_debiased",
        rs.from_arrays({"a/fc": noise[1], "b/fc": noise[2]}),
        rs.from_arrays({"untrained-a/fc": a, "untrained-b/fc": a + 0.2 * noise[0]}),
        dict.fromkeys("ab", "fc"),
        twins=TWINS,
    )
    assert swapped["verdict"].tolist() == ["less alike"]


def test_what_cannot_be_compared_with_untrained_models_is_refused():
    values = np.random.default_rng(0).normal(size=(30, 3))
    x = rs.from_arrays({"a/fc": values, "b/fc": values**2})

    def call(layers, xs=x, **options):
        return reports.compare_with_untrained("cka_debiased", xs, x, layers, twins={}, **options)

    with pytest.raises(ValueError, match="at least 2 models to compare; got 1"):
        call({"a": "fc"})
    with pytest.raises(ValueError, match="unknown model 'bb'. Did you mean 'b'"):
        call({"a": "fc", "bb": "fc"})
    with pytest.raises(ValueError, match="unknown layer 'fc2'"):
        call({"a": "fc", "b": "fc2"})
    with pytest.raises(ValueError, match="most must be an integer >= 1"):
        call({"a": "fc", "b": "fc"}, most=0)
    steps = rs.from_arrays({rs.Key("a", "fc", step=k): values for k in range(2)} | {rs.Key("b", "fc"): values})
    with pytest.raises(ValueError, match="one recording for each model and layer"):
        call({"a": "fc", "b": "fc"}, steps)


@pytest.fixture(scope="module")
def five():
    """Five models, of which the fifth is constant, and untrained twins of two of them under names of their own."""
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=(40, 3)), rng.normal(size=(5, 40, 3))
    trained = {f"{model}/fc": a + 0.3 * k * noise[k] for k, model in enumerate("abcd")} | {"e/fc": np.ones((40, 3))}
    return rs.from_arrays(trained), rs.from_arrays({"ta/fc": noise[3], "tb/fc": noise[4], "tb/out": noise[4]})


@pytest.mark.parametrize("most", [1, 2, 3, 6, 20])
def test_the_most_and_the_least_alike_pairs_are_chosen_among_those_with_a_value(five, most):
    layers = dict.fromkeys("abcde", "fc")
    every = reports.compare_with_untrained("procrustes", *five, layers, twins={}, most=99)["value"]
    assert len(every) == 10 and every.index[0] == ("a", "b") and every.isna().tolist() == [False] * 6 + [True] * 4
    found = reports.compare_with_untrained("procrustes", *five, layers, twins={}, most=most)["value"]
    if most == 20:
        assert found.equals(every)
    else:
        defined = every.dropna()
        rows = [*range(most - most // 2), *range(6 - most // 2, 6)]
        assert found.equals(defined.iloc[rows])


def test_a_twin_is_found_by_its_name_and_may_lack_the_layer(five):
    xs, untrained = five
    layers = dict.fromkeys("ab", "fc")
    named = reports.compare_with_untrained("cka", xs, untrained, layers, twins={"a": "ta", "b": "tb"})
    assert named["untrained"].item() == pytest.approx(rs.measures.get("cka")(untrained["ta/fc"], untrained["tb/fc"]))
    lacking = untrained.where(model="tb", layer="out") | untrained.where(model="ta")
    for given, twins in ((lacking, {"a": "ta", "b": "tb"}), (untrained, {"a": "ta"}), (rs.store.Activations({}), {})):
        (row,) = reports.compare_with_untrained("cka", xs, given, layers, twins=twins).to_dict("records")
        assert np.isnan(row["untrained"]) and row["verdict"] == "" and row["low"] < row["high"]


def test_a_missing_interval_has_a_reason_and_no_verdict(five):
    xs, untrained = five
    layers, twins = dict.fromkeys("ab", "fc"), {"a": "ta", "b": "tb"}
    for name in ("mutual_knn", "jaccard_knn", "cknna", "linear_predictivity"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            (row,) = reports.compare_with_untrained(name, xs, untrained, layers, twins=twins).to_dict("records")
        assert np.isnan([row["low"], row["untrained_low"]]).all() and row["verdict"] == "", name
        assert np.isfinite([row["value"], row["untrained"]]).all()
        assert row["note"].startswith(f"{name} has no reliable interval: ")
    few = [rs.from_arrays({str(key): x[:12] for key, x in side.items()}) for side in five]
    (row,) = reports.compare_with_untrained("cka", *few, layers, twins=twins).to_dict("records")
    assert row["note"] == "An interval needs at least 20 samples; there are 12." and row["verdict"] == ""
    same = rs.from_arrays({"a/fc": xs["a/fc"], "b/fc": xs["a/fc"]})
    (row,) = reports.compare_with_untrained("cka", same, untrained, layers, twins=twins).to_dict("records")
    assert row["note"].startswith("cka has no interval: ") and np.isnan(row["low"]) and row["untrained_low"] < 1


def test_an_error_that_is_no_missing_interval_is_shown(five):
    def odd(x, y):
        if len(x) < 40:
            raise ValueError("odd")
        return 1.0

    measure = rs.measures.from_function(odd, kind="similarity", symmetric=True)
    with pytest.raises(ValueError, match="odd"):
        reports.compare_with_untrained(measure, *five, dict.fromkeys("ab", "fc"), twins={})


def test_names_in_text_stay_code_and_pictures_in_text_are_embedded(tmp_path):
    import nbformat

    for text, embedded in (("of <code>a_b</code>", False), ("![p](p.png)", True)):
        (tmp_path / "p.png").write_bytes(b"\x89PNG")
        cells = [nbformat.v4.new_markdown_cell(text)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "n.ipynb")
        page = reports.to_html(tmp_path / "n.ipynb").read_text()
        assert ("<code>a_b</code>" in page) != embedded


@pytest.mark.parametrize(
    "parameters, error, words",
    [
        ({"model": ["a"]}, ValueError, "unknown parameter of report_comparison.ipynb 'model'. Did you mean 'models'"),
        ({"models": [object()]}, TypeError, "got object in 'models'"),
        ({"models": {"a": {1, 2}}}, TypeError, "got set in 'models'"),
        ({"fast": "no"}, TypeError, "fast must be true or false; got 'no'"),
        ({"fast": 1}, TypeError, "fast must be true or false; got 1"),
        ({"seed": "one"}, TypeError, "seed must be an integer; got 'one'"),
        ({"seed": True}, TypeError, "seed must be an integer; got True"),
        ({"models": 3}, TypeError, "models must be a list; got 3"),
        ({"dataset": ["mnist"]}, TypeError, r"dataset must be text; got \['mnist'\]"),
        ({"dataset": "mnits"}, ValueError, "unknown dataset 'mnits'. Did you mean 'mnist'"),
        ({"models": ["zoo:mnist-cnn-0", "zoo:mnist-cmn-1"]}, ValueError, "Did you mean 'mnist-cnn-"),
        ({"measures": ["ckaa"]}, ValueError, "unknown measure 'ckaa'. Did you mean 'cka'"),
    ],
)
def test_parameters_are_checked_before_anything_runs(tmp_path, parameters, error, words):
    with pytest.raises(error, match=words):
        rs.reports.run("report_comparison", tmp_path / "out", **parameters)
    assert not (tmp_path / "out").exists()


def test_a_tuple_is_a_list_and_not_the_text_of_one(tmp_path, monkeypatch):
    papermill = pytest.importorskip("papermill")
    given = {}

    class Stop(Exception):
        pass

    def execute(*_, parameters, **__):
        given.update(parameters)
        raise Stop

    monkeypatch.setattr(papermill, "execute_notebook", execute)
    with pytest.raises(Stop):
        rs.reports.run("report_comparison", tmp_path, models=("zoo:mnist-cnn-0", "zoo:mnist-cnn-1"))
    assert given["models"] == ["zoo:mnist-cnn-0", "zoo:mnist-cnn-1"]


def test_a_parameter_is_data_and_never_code(tmp_path):
    evil = "'); import pathlib; pathlib.Path('harm').write_text('done') #"
    with pytest.raises(RuntimeError, match="failed in cell .*(a checkpoint must be a file|is no model)"):
        rs.reports.run("report_comparison", tmp_path, models=["zoo:mnist-cnn-0", evil], fast=True)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"models": ["zoo:mnist-cnn-0"]}, "compares at least two different models"),
        ({"models": ["zoo:mnist-cnn-0", "zooo:mnist-cnn-1"]}, "Did you mean 'zoo'"),
    ],
)
def test_a_report_that_fails_says_why(tmp_path, parameters, words):
    with pytest.raises(RuntimeError, match=f"report_comparison.ipynb failed in cell .*{words}"):
        rs.reports.run("report_comparison", tmp_path, **parameters)


def test_a_report_never_overwrites_its_notebook_nor_leaves_an_older_page(tmp_path):
    own = tmp_path / "mine.ipynb"
    own.write_bytes((ROOT / "notebooks/report_comparison.ipynb").read_bytes())
    before = own.read_bytes()
    with pytest.raises(ValueError, match="would overwrite mine.ipynb itself"):
        rs.reports.run(own, tmp_path)
    assert own.read_bytes() == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.html").write_text("an older report")
    with pytest.raises(RuntimeError, match="two different models"):
        rs.reports.run(own, tmp_path / "out", models=["zoo:mnist-cnn-0"])
    assert not (tmp_path / "out/mine.html").exists()


def test_functional_measures_and_two_single_layers(tmp_path):
    page = rs.reports.run(
        "report_comparison",
        tmp_path,
        models=["zoo:mnist-cnn-0", "zoo:mnist-mlp-0"],
        measures=["jsd", "disagreement"],
        fast=True,
    ).read_text()
    assert "<code>mnist-cnn-0/output</code>" in page and "alike</strong> than untrained" in page and "No map" in page


def test_notebooks_by_name_or_path(tmp_path):
    assert reports.notebook_path("00_tour").name == "00_tour.ipynb" and reports.notebook_path("00_tour.ipynb").is_file()
    assert reports.notebook_path(ROOT / "notebooks/00_tour.ipynb") == ROOT / "notebooks/00_tour.ipynb"
    with pytest.raises(ValueError, match="unknown notebook '00_tuor'. Did you mean '00_tour'"):
        reports.notebook_path("00_tuor")
    with pytest.raises(ValueError, match="unknown notebook"):
        reports.notebook_path(tmp_path / "absent.ipynb")


def test_words_of_the_command_line_become_data():
    assert parse_parameters(["n=500", "x=.5", "fast=true", "layers=None", "models=a,b", "name=it's", "one=a,"]) == {
        "n": 500,
        "x": 0.5,
        "fast": True,
        "layers": None,
        "models": ["a", "b"],
        "name": "it's",
        "one": ["a"],
    }
    for wrong in ("fast", "=3", "a b=3"):
        with pytest.raises(ValueError, match="must be written name=value"):
            parse_parameters([wrong])


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path):
    def call(*words):
        return subprocess.run([sys.executable, "-m", "repsim_nb", *words], capture_output=True, text=True)

    wrong = call("report", "report_comparison", str(tmp_path), "modls=a")
    assert wrong.returncode == 1 and wrong.stderr.count("\n") == 1 and "Did you mean 'models'" in wrong.stderr
    text = call("report", "report_comparison", str(tmp_path / "out"), "fast=no")
    assert text.returncode == 1 and text.stderr == "report: fast must be true or false; got 'no'.\n"
    assert not (tmp_path / "out").exists()
    unknown, no_out = call("repot"), call("report", "report_comparison")
    assert unknown.returncode == 2 and unknown.stderr.startswith("unknown command 'repot'.\nusage")
    assert no_out.returncode == 2 and "OUT, the folder of the report, is missing" in no_out.stderr
    usage = call("report")
    assert usage.returncode == 2 and "usage" in usage.stderr and call().returncode == 2
    code = "import sys, repsim_nb.display.reports.running; print({'matplotlib', 'scipy', 'torch'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout == "set()\n", "a wrong word is found before anything large is imported"
    doctor = call("doctor")
    assert doctor.returncode == 0 and "torch" in doctor.stdout and "25 models" in doctor.stdout


def test_widgets_fall_back_to_their_pictures(tmp_path):
    view = "application/vnd.jupyter.widget-view+json"
    outputs = [
        {
            "output_type": "display_data",
            "metadata": {},
            "data": {view: {}, "image/png": "iVBORw0KGgo=", "text/plain": "Explorer"},
        },
        {"output_type": "display_data", "metadata": {}, "data": {view: {}, "text/plain": "  0%|   | 0/10"}},
        {"output_type": "stream", "name": "stderr", "text": "  0%|   | 0/10"},
        {"output_type": "stream", "name": "stdout", "text": "said"},
    ]
    cell = {
        "cell_type": "code",
        "id": "a",
        "execution_count": 1,
        "metadata": {},
        "source": "shown = 1",
        "outputs": outputs,
    }
    path = tmp_path / "a.ipynb"
    path.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {"widgets": {view: {}}}, "cells": [cell]})
    )
    page = reports.to_html(path).read_text()
    assert "data:image/png;base64" in page and "0/10" not in page and "said" in page and "shown" in page


def test_code_can_be_read_on_dark_pages(tmp_path):
    source = "import numpy as np  # why\nx = np.zeros(3)[0] + 1.5\nprint('a', x, None, len(x), @)"
    cell = {"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": source, "outputs": []}
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}))
    page = reports.to_html(path).read_text()
    used = {}
    for name, style in re.findall(r"\.highlight \.?(\w*) *{([^}]*)}", page):
        used |= dict.fromkeys(re.findall(r"color: var\((--jp-mirror-editor-[\w-]+)\)", style), name)
    assert len(used) > 5
    dark = page.split("prefers-color-scheme: dark) { body.jp-Notebook {")[1].split("}")[0]
    colors = dict(re.findall(r"(--[\w-]+): #(\w+)", dark))
    for name in used:
        full = colors[name] if len(colors[name]) == 6 else "".join(2 * sign for sign in colors[name])
        red, green, blue = (int(full[k : k + 2], 16) for k in (0, 2, 4))
        assert 0.299 * red + 0.587 * green + 0.114 * blue > 120, f"{name} is too dark"


def test_a_report_says_that_intervals_are_over_samples_only_if_it_has_some(made):
    assert "Intervals are over samples" in made[1] and "The values have no intervals" not in made[1]
    cells = json.loads((ROOT / "notebooks/report_comparison.ipynb").read_text())["cells"]
    (source,) = ["".join(cell["source"]) for cell in cells if "Intervals are over samples" in "".join(cell["source"])]
    headline = pd.DataFrame({"value": [0.5], "low": [np.nan], "high": [np.nan], "note": [""]})
    names = {"headline": headline, "notes": [], "name": "cka", "data": range(9), "written": str, "Markdown": str}
    exec(source, names)
    assert names["notes"] == [
        "The values have no intervals: other samples, another training run or other weights would move them."
    ]
