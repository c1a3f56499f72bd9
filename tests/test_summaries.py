"""How a notebook shows results, models and data: one form, readable in every theme, that loads nothing by itself."""

import dataclasses
import inspect
import os
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from public import public

import repsim_nb as rs
from repsim_nb.support import summaries


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One object of each public class that notebooks show as HTML, by its public name."""
    rng = np.random.default_rng(0)
    x = rs.from_arrays({f"{m}/fc": rng.normal(size=(40, 5)) for m in "abcdef"})
    table = rs.compare("cka_debiased", x)
    layers = dict(zip(("in", "out"), rng.normal(size=(2, 50, 4)), strict=True))
    seeds = rs.from_arrays({f"{m}/{k}": a + 0.5 * rng.normal(size=a.shape) for m in "abc" for k, a in layers.items()})
    near = rng.normal(size=(80, 6)) * 2.0 ** -np.arange(6)
    noisy = {name: near + 0.1 * rng.normal(size=near.shape) for name in "abc"}
    accuracy = {m: k / 10 for k, m in enumerate("abcdef")}
    pairs = pd.MultiIndex.from_tuples([(a, b) for a in range(8) for b in range(a)])
    targets = np.arange(90) % 3
    sets = {rs.Key(m, "fc", "u"): rng.normal(3 * (m == "b"), 1, (40, 2)) for m in ("a", "b")}
    differences = rs.inference.locate_differences(near, noisy["a"], targets=np.arange(80) % 2)
    store = rs.Store(tmp_path_factory.mktemp("store"))
    rs.record("zoo:mnist-mlp-0", rs.load_dataset("mnist", n=20), into=store, progress=False)
    return {
        "Comparison": table,
        "Activations": x,
        "RDM": rs.RDM(rng.random(780)),
        "Store": store,
        "Drift": rs.drift({"fc": near}, {"fc": noisy["a"]}),
        "TrainingRecord": rs.TrainingRecord(
            pd.DataFrame([[1, "fc", "start", 0.9]], columns=["step", "layer", "compared_to", "value"]),
            *("cka", "mlp", "", "mnist", 100, 0.1),
        ),
        "measures.CKA": rs.measures.get("cka_debiased"),
        "measures.Deconfounded": rs.measures.deconfounded("cka", rng.normal(size=(40, 5))),
        "measures.UnitRanking": rs.measures.rank_units(rng.normal(size=(40, 5)), rng.normal(size=(40, 4))),
        "testing.MeasureCheck": rs.testing.check_measure("cka"),
        "Model": rs.load_model("zoo:mnist-cnn-0"),
        "Dataset": rs.load_dataset("mnist", n=20),
        "datasets.VisitedStates": rs.datasets.VisitedStates(
            "states", np.zeros((2, 3)), steps=pd.DataFrame({"step": [0, 1]})
        ),
        "inference.Interval": rs.inference.Interval(0.1, 0.3, 0.95, 0.2),
        "inference.NoiseCeiling": rs.inference.noise_ceiling("rsa", noisy),
        "inference.ModelComparison": rs.inference.compare_models("rsa", {"a": near}, noisy, n_bootstrap=20),
        "inference.Reweighted": rs.inference.reweighted_rsa(near, rs.RDM(rs.measures.first_order(near, "euclidean"))),
        "inference.Test": rs.inference.Test(0.4, 0.01, n_permutations=99),
        "inference.GroupTest": rs.inference.anosim(table, [0, 0, 0, 1, 1, 1]),
        "inference.SpreadTest": rs.inference.dispersion_test(table, [0, 0, 0, 1, 1, 1]),
        "inference.Moments": rs.inference.null_moments("cka", x["a/fc"], x["b/fc"]),
        "inference.NullTable": rs.inference.null_table("cka", x),
        "inference.BestMatch": rs.inference.best_match(
            "cka", x.where(model="a"), x.where(model="b"), n_permutations=19
        ),
        "inference.SampleSize": rs.inference.sample_size("cka_debiased", near, noisy["a"], within=0.1, sizes=[25, 50]),
        "inference.Verdict": rs.inference.judge((0.67, 0.61, 0.72), above=0.5, unit="models"),
        "inference.SampleDifferences": differences,
        "inference.NeighbourConfusion": differences.confusion(),
        "embedding.Embedding": rs.embedding.mds(table),
        "probes.Probe": rs.probes.linear_probe(rng.normal(size=(90, 2)), targets, n_permutations=99),
        "probes.DatasetProbe": rs.probes.dataset_bias(sets, n_permutations=99),
        "reliability.Diagnosis": rs.reliability.diagnose(near),
        "reliability.LeftOut": rs.reliability.leave_out("cka", near, noisy["a"]),
        "reliability.Report": rs.reliability.report(near, noisy["a"]),
        "grounding.Benchmark": rs.grounding.benchmark(x, accuracy, measures=["cka"], pairs="all"),
        "grounding.PairMeans": rs.grounding.pair_means(pd.DataFrame({"cka": rng.uniform(0.2, 0.4, 28)}, index=pairs)),
        "grounding.Sensitivity": rs.grounding.sensitivity(noisy, measures=["cka"], damage="noise", amounts=[0.3, 0.4]),
        "grounding.Specificity": rs.grounding.specificity(seeds, "cka"),
    }


@pytest.fixture(scope="module")
def pages():
    """The pages of the API reference, as the site builds them."""
    tools = str(Path(__file__).parents[1] / "docs/_tools")
    sys.path.insert(0, tools)
    try:
        import api
    finally:
        sys.path.remove(tools)
    return [name.page for name in api.collect().values() if name.page]


def test_every_class_with_a_summary_is_among_these(shown):
    kinds = {kind for kind in public().values() if inspect.isclass(kind) and hasattr(kind, "_repr_html_")}
    kinds -= {kind for kind in kinds if issubclass(kind, rs.measures.Measure)}
    assert kinds <= {type(thing) for thing in shown.values()}


def test_every_kind_is_shown_in_one_form(shown, pages, monkeypatch):
    monkeypatch.setenv("REPSIM_NB_DOCS", "https://example.org/docs/")
    for name, thing in shown.items():
        text = thing._repr_html_()
        kind = "Measure" if isinstance(thing, rs.measures.Measure) else name.rpartition(".")[2]
        assert f"<b>{kind}</b>" in text, name
        (page,) = re.findall("href='https://example.org/docs/(.*?).html'", text)
        assert page.removesuffix("_class") == f"api/{name.replace('.', '/') if '.' in name else f'top/{name}'}"
        assert page in pages, f"{name} links to {page}"
        assert not re.search(r"\bsrc=|<script|<link|<img|@import|url\(", text), "nothing is loaded by itself"
        assert not re.search(r"(?<!-)color:|background|[:=]\s*['\"]?#[0-9a-f]{3}", text), "colors are those of the page"
        assert len(text) < 6000, f"{name} is compact"


def test_every_measure_links_to_its_page(pages, monkeypatch):
    monkeypatch.setenv("REPSIM_NB_DOCS", "..")
    for name in rs.measures.ALL:
        (page,) = re.findall("href='../(.*?).html'", rs.measures.get(name)._repr_html_())
        assert page in pages, name


def test_files_of_pages_differ_in_more_than_case(pages):
    folded = [page.casefold() for page in pages]
    assert [page for page in pages if folded.count(page.casefold()) > 1] == [], "add the class to _FUNCTION_TWINS"


def test_a_link_needs_an_address_and_only_lessons_have_one(monkeypatch, tmp_path):
    import nbformat

    monkeypatch.delenv("REPSIM_NB_DOCS", raising=False)
    interval = rs.inference.Interval(0.1, 0.3, 0.95)
    assert "<a " not in interval._repr_html_()
    with summaries.linked_to(".."):
        assert "href='../api/inference/Interval_class.html'" in interval._repr_html_()
    assert "REPSIM_NB_DOCS" not in os.environ
    code = "import os\nprint('address:', os.environ.get('REPSIM_NB_DOCS'))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_code_cell(code)])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs/_tools"))
    import lessons

    lessons.execute(tmp_path / "a.ipynb", tmp_path / "lesson.ipynb")
    assert "address: ..\n" in str((tmp_path / "lesson.ipynb").read_text()).encode().decode("unicode_escape")
    monkeypatch.setenv("REPSIM_NB_DOCS", "../elsewhere")
    page = rs.reports.run(tmp_path / "a.ipynb", tmp_path / "out").read_text()
    assert "address: " in page and "elsewhere" not in page
    assert os.environ["REPSIM_NB_DOCS"] == "../elsewhere"


def test_what_counts_is_on_the_first_two_lines(shown):
    def lines(name):
        return re.sub(r"<[^>]+>|&nbsp;", " ", shown[name]._repr_html_()).split("\n")[0]

    assert "0.200 [0.100, 0.300]" in lines("inference.Interval") and "95 % confidence" in lines("inference.Interval")
    assert "larger is more alike" in lines("Comparison") and "n = 40" in lines("Comparison")
    assert "statistic 0.4, p = 0.01" in lines("inference.Test") and "99 permutations" in lines("inference.Test")
    assert "20 samples" in lines("Dataset") and "inputs 28 × 28 uint8" in lines("Dataset")
    assert "layers: conv1, conv2, conv3, fc, output" in shown["Model"]._repr_html_()
    assert "invariant to: orthogonal" in shown["measures.CKA"]._repr_html_()
    assert "stress 0." in lines("embedding.Embedding") and "map" in lines("embedding.Embedding")


def test_long_tables_are_cut_and_scroll():
    page = summaries.summarize("Kind", table=pd.DataFrame(np.zeros((100, 40))))
    assert page.count("<tr") == 1 + 20 + 1, "the header, 20 rows, and a row of dots"
    assert page.count("<th>") == (1 + 12 + 1) + 21, "the header with a column of dots, and a label for each row"
    assert "overflow-x:auto" in page and page.count("...") == 1 + 1 + 20 + 13


def test_a_level_has_the_digits_that_count(shown):
    levels = {0.95: "95 %", 0.995: "99.5 %", 0.9: "90 %", 0.29: "29 %", 0.999: "99.9 %", 1 - 0.05 / 13: "99.62 %"}
    levels |= {0.9999999: "99.99999 %", 1.0: "100 %"}
    assert [summaries.percent(level) for level in levels] == list(levels.values())
    for name in ("grounding.Benchmark", "grounding.PairMeans", "inference.Interval", "inference.SampleSize"):
        page = dataclasses.replace(shown[name], level=0.995)._repr_html_()
        assert "99.5 %" in page and "100%" not in page, name
    figure = rs.spec(dataclasses.replace(shown["grounding.Benchmark"], level=0.995)).to_json()
    assert "99.5 % interval" in figure


def test_no_level_is_rounded_to_whole_percents():
    code = "\n".join(path.read_text() for path in Path(rs.__file__).parent.rglob("*.py"))
    assert not re.findall(r"level:[^}]*%}", code), "percent(level) shows 0.995 as 99.5 %"


def test_facts_are_words_and_no_code(shown):
    for name, thing in shown.items():
        facts = thing._repr_html_().split("</p>")[0].partition("opacity:.75'>")[2]
        facts = re.sub(r"<[^>]+>", " ", facts).replace("mnist/test[n=20,seed=0]", "")
        assert not re.search(r"\w=\S", facts), f"{name}: {facts}"


def test_undefined_cells_are_dashes_and_few_reasons_are_listed():
    rng = np.random.default_rng(0)
    xs = {f"n{k}": rng.normal(size=(30, 3)) if k < 3 else np.full((30, 3), k) for k in range(12)}
    page = rs.compare("cka", xs, on_undefined="mask")._repr_html_()
    assert page.count("<li>") == 6 and "<li>and 4 more</li>" in page
    assert rs.compare("cka", dict(list(xs.items())[:5]), on_undefined="mask")._repr_html_().count("<li>") == 2
    table = rs.inference.null_table("cka", xs, on_undefined="mask")
    assert "nan" not in table._repr_html_() and "nan" not in str(table) and "–" in str(table)
    assert "of 3 pairs above" in repr(table), "pairs without a value are no tests"


def test_tables_of_tests_have_short_labels_and_pictures_take_them():
    rng = np.random.default_rng(0)
    x = rs.from_arrays({f"{m}/{k}": rng.normal(size=(30, 3)) for m in "ab" for k in "pq"})
    table = rs.inference.null_table("cka", x, x.where(model="a"))
    for frame in (table.above(), table.adjusted(), table.p_text):
        assert frame.index.tolist() == ["a/p", "a/q", "b/p", "b/q"] and frame.columns.tolist() == ["p", "q"]
    assert rs.spec(table.comparison, marks=table.above()).marks == rs.spec(table).marks
    whole = pd.DataFrame(table.above().to_numpy(), *table.value.axes)
    assert rs.spec(table.comparison, marks=whole).marks == rs.spec(table).marks


def test_small_numbers_are_not_shown_as_0():
    """Two policies that differed in every action had a JSD of 2e-5, and a table of 0.0."""
    x = 1e-6 * np.random.default_rng(0).normal(size=(30, 3))
    table = rs.compare("magnitude_difference", {"a": x, "b": 2 * x})
    value = f"{table.values.iloc[0, 1]:.2g}"
    assert float(str(table).split()[-2]) == float(value) > 0
    assert f"{float(value):.8f}".rstrip("0") in table._repr_html_()
    assert "0.500" in rs.compare("magnitude_difference", {"a": x}, {"b": x + 0.5 / 3**0.5})._repr_html_()
