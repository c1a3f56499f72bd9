"""How a notebook shows results, models and data: one form, readable in every theme, that loads nothing by itself."""

import re

import numpy as np
import pandas as pd
import pytest

import repsim_nb as rs
from repsim_nb.support import summaries


@pytest.fixture
def shown():
    rng = np.random.default_rng(0)
    x = rs.from_arrays({f"{m}/fc": rng.normal(size=(40, 5)) for m in "abcdef"})
    table = rs.compare("cka_debiased", x)
    return {
        "Comparison": table,
        "Activations": x,
        "measures.CKA": rs.measures.get("cka_debiased"),
        "Model": rs.load_model("zoo:mnist-cnn-0"),
        "Dataset": rs.load_dataset("mnist", n=20),
        "inference.Interval": rs.inference.Interval(0.1, 0.3, 0.95, 0.2),
        "inference.Test": rs.inference.Test(0.4, 0.01, n_permutations=99),
        "inference.GroupTest": rs.inference.anosim(table, [0, 0, 0, 1, 1, 1]),
        "inference.Moments": rs.inference.null_moments("cka", x["a/fc"], x["b/fc"]),
        "inference.NullTable": rs.inference.null_table("cka", x),
        "embedding.Embedding": rs.embedding.mds(table),
        "inference.Verdict": rs.inference.judge((0.67, 0.61, 0.72), above=0.5, unit="models"),
    }


def test_every_kind_is_shown_in_one_form(shown, monkeypatch):
    monkeypatch.setenv("REPSIM_NB_DOCS", "https://example.org/docs/")
    for page, thing in shown.items():
        text = thing._repr_html_()
        kind = "Measure" if page.startswith("measures") else page.rpartition(".")[2]
        address = page.replace(".", "/") if "." in page else f"top/{page}"
        assert f"<b>{kind}</b>" in text and f"href='https://example.org/docs/api/{address}.html'" in text, page
        assert not re.search(r"\bsrc=|<script|<link|<img|@import|url\(", text), "nothing is loaded by itself"
        assert not re.search(r"(?<!-)color:|background|#[0-9a-f]{3}", text), "colors are those of the page"
        assert len(text) < 6000, f"{page} is compact"


def test_a_link_leads_only_to_a_page_that_is_there(monkeypatch, tmp_path):
    monkeypatch.delenv("REPSIM_NB_DOCS", raising=False)
    monkeypatch.setattr(summaries, "_BUILT", tmp_path / "html")
    monkeypatch.chdir(tmp_path)
    interval = rs.inference.Interval(0.1, 0.3, 0.95)
    assert "<a " not in interval._repr_html_()
    (tmp_path / "html/api/inference").mkdir(parents=True)
    (tmp_path / "html/api/inference/Interval.html").touch()
    assert "href='html/api/inference/Interval.html'" in interval._repr_html_()


def test_what_counts_is_on_the_first_two_lines(shown):
    def lines(name):
        return re.sub(r"<[^>]+>|&nbsp;", " ", shown[name]._repr_html_()).split("\n")[0]

    assert "0.200 [0.100, 0.300]" in lines("inference.Interval") and "95% confidence" in lines("inference.Interval")
    assert "larger is more alike" in lines("Comparison") and "n = 40" in lines("Comparison")
    assert "statistic 0.4, p = 0.01" in lines("inference.Test") and "99 permutations" in lines("inference.Test")
    assert "20 samples" in lines("Dataset") and "inputs 28 × 28 uint8" in lines("Dataset")
    assert "layers: conv1, conv2, conv3, fc, output" in shown["Model"]._repr_html_()
    assert "invariant to: orthogonal" in shown["measures.CKA"]._repr_html_()
    assert "stress 0." in lines("embedding.Embedding") and "map" in lines("embedding.Embedding")


def test_long_tables_are_cut_and_scroll():
    page = summaries.summarize("Kind", table=pd.DataFrame(np.zeros((100, 40))))
    assert (page.count("<tr") < 25 and "overflow-x:auto" in page and "…" in page) or "..." in page
