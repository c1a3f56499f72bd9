"""diagnose: figures against closed forms and the measures themselves, planted faults found, healthy layers left in
peace.
"""

import math
import threading

import numpy as np
import pytest
import torch

import repsim_nb as rs
from repsim_nb import reliability
from repsim_nb.display.explorers import table_details
from repsim_nb.results.reliability import Diagnosis, diagnose, summarize_findings
from repsim_nb.support.errors import UndefinedError


def whats(diagnosis):
    return [finding.title for finding in diagnosis.findings]


def fact(diagnosis, name, side=0):
    return diagnosis.facts.loc[name].iloc[side]


@pytest.fixture
def x(rng):
    return rng.normal(size=(300, 12))


# -- figures


def test_facts_of_one_are_those_of_its_spectrum(rng):
    x = rng.normal(size=(60, 8)) * np.arange(1, 9)
    variances = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    for given in (x, x @ np.linalg.qr(rng.normal(size=(100, 8)))[0].T):  # by features, and, wider than long, by samples
        d = diagnose(given)
        assert (fact(d, "samples"), fact(d, "rank"), fact(d, "features")) == (60, 8, given.shape[1])
        assert math.isclose(fact(d, "participation ratio"), variances.sum() ** 2 / (variances**2).sum(), rel_tol=1e-9)
        assert math.isclose(fact(d, "first component, of variance"), variances[0] / variances.sum(), rel_tol=1e-9)
        first = x - x.mean(0)
        u, s, vt = np.linalg.svd(first, full_matrices=False)
        assert math.isclose(
            fact(d, "first component, of cka"),
            rs.measures.get("cka")(x, s[0] * np.outer(u[:, 0], vt[0])) ** 2,
            rel_tol=1e-9,
        )


@pytest.mark.parametrize(("p", "q"), [(7, 5), (200, 5), (5, 200), (150, 200)])
def test_facts_of_a_pair_are_what_the_measures_say(rng, p, q):
    common = rng.normal(size=(50, 3))
    x, y = (common @ rng.normal(size=(3, width)) + rng.normal(size=(50, width)) for width in (p, q))

    def without_first(v):
        v = v - v.mean(0)
        u, s, vt = np.linalg.svd(v, full_matrices=False)
        return v - s[0] * np.outer(u[:, 0], vt[0])

    found = diagnose(x, y).together
    for name in ("cka", "cka_debiased"):
        assert math.isclose(found[name], rs.measures.get(name)(x, y), rel_tol=1e-9)
    assert math.isclose(
        found["cka without them"], rs.measures.get("cka")(without_first(x), without_first(y)), rel_tol=1e-9
    )
    cka, top = rs.measures.get("cka"), [v - v.mean(0) - without_first(v) for v in (x, y)]
    sizes = [
        np.linalg.norm(part @ part.T) / np.linalg.norm((v - v.mean(0)) @ (v - v.mean(0)).T)
        for part, v in zip(top, (x, y), strict=True)
    ]
    assert math.isclose(
        found["fraction of cka by first components"], cka(*top) * sizes[0] * sizes[1] / found["cka"], rel_tol=1e-9
    )
    assert found["both ranks"] == min(p, 49) + min(q, 49) and found["room for CCA (n - 1)"] == 49


def test_unrelated_data_have_the_cka_that_it_foretells(rng):
    x, y = rng.normal(size=(40, 60)), rng.normal(size=(40, 30)) * np.linspace(0.1, 3, 30)
    permuted = [rs.measures.get("cka")(x, y[rng.permutation(40)]) for _ in range(200)]
    assert abs(diagnose(x, y).together["cka of unrelated data"] - np.mean(permuted)) < 4 * np.std(permuted) / math.sqrt(
        200
    )


def test_rank_is_that_of_cca(rng):
    low = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 40))
    for given in (low, low.astype(np.float32), low[:30], np.c_[low, np.full(80, 3.0)]):
        assert fact(diagnose(given), "rank") == rs.measures.get("mean_cca").prepare(given).q.shape[1] == 6


# -- what is off


def test_nothing_is_off_with_plain_data(x, rng):
    y = x @ rng.normal(size=(12, 9)) + rng.normal(size=(300, 9))
    for d in (
        diagnose(x),
        diagnose(x, y),
        diagnose(np.maximum(x, 0)),
        diagnose(rng.normal(size=(3000, 1))),
        diagnose(np.round(x, 3)),
    ):
        assert d.ok and d.findings == () and "no problem found" in repr(d) and "no problem found" in d._repr_html_()


def planted(x, fault):
    x = x.copy()
    match fault:
        case "outliers":
            x[17] *= 15
        case "repeated samples":
            x[40:50] = x[3]
        case "dead units":
            x[:, 2:9] = 0.5
        case "repeated units":
            x[:, 9] = x[:, 1]
            x[:, 10] = x[:, 1]
        case "one component":
            x[:, 4] *= 12
        case "few samples" | "more features than samples":
            x = np.c_[x, np.random.default_rng(1).normal(size=(300, 600))]
    return x


@pytest.mark.parametrize(
    "fault",
    [
        "outliers",
        "repeated samples",
        "dead units",
        "repeated units",
        "one component",
        "few samples",
        "more features than samples",
    ],
)
def test_a_planted_fault_is_found_and_reported(x, fault):
    d = diagnose(planted(x, fault), names="layer 3")
    assert (
        fault in whats(d)
        and not d.ok
        and set(whats(d))
        <= {fault, "few samples", "more features than samples", *(["one component"] if fault == "outliers" else [])}
    )
    planted_fault = next(f for f in d.findings if f.title == fault)
    assert (
        "layer 3" in planted_fault.sentence
        and planted_fault.advice
        and planted_fault.advice in repr(d)
        and planted_fault.title in d._repr_html_()
    )
    if fault not in ("few samples", "more features than samples"):  # findings of a pair name the right side
        both = diagnose(x, planted(x, fault), names=("a", "b"))
        assert any(
            f.title == fault and ("of b" in f.sentence or "one component of each side" in f.sentence)
            for f in both.findings
        )


def test_figures_of_planted_faults_are_right(x):
    d = diagnose(planted(x, "outliers"))
    assert (
        fact(d, "outliers") == (17,) and fact(d, "furthest sample") == 17 and "sample 17 at" in d.findings[0].sentence
    )
    d = diagnose(planted(x, "repeated samples"))
    assert (
        fact(d, "repeated samples") == tuple((row, 3) for row in range(40, 50))
        and "sample 40 is sample 3 again" in d.findings[0].sentence
        and not d.findings[0].serious
    )
    assert fact(diagnose(planted(x, "dead units")), "dead units") == 7
    assert fact(diagnose(planted(x, "repeated units")), "repeated units") == 2
    zero = np.array([[0.0, 1], [-0.0, 1], [2, 3], [4, 0], [5, 6]])
    assert fact(diagnose(zero), "repeated samples") == ((1, 0),), "-0 is 0"


def test_one_component_that_two_share_rules_their_cka(rng):
    common = 6 * rng.normal(size=(200, 1))
    x, y = (np.c_[common, rng.normal(size=(200, 4))] for _ in range(2))
    d = diagnose(x, y)
    (finding,) = d.findings
    assert finding.title == "one component" and d.together["cka"] > 0.95 and d.together["cka without them"] < 0.1
    alone = diagnose(x, rng.normal(size=(200, 5)))
    assert whats(alone) == ["one component"] and "the weight of x in cka" in alone.findings[0].sentence, (
        "one that is not shared hides the rest"
    )
    one = diagnose(common, y)
    assert "cka without them" not in one.together and "one side has no other" in one.findings[0].sentence


def moved(names, before, after):
    return {name: abs(rs.measures.get(name)(*before) - rs.measures.get(name)(*after)) for name in names}


def test_what_the_advice_says_holds_on_real_layers(recorded, rng):
    x, y = (np.asarray(recorded[f"mnist-cnn-{seed}/fc"], np.float64) for seed in (0, 1))
    astray = x.copy()
    astray[17] = x.mean(0) + 15 * np.median(np.linalg.norm(x - x.mean(0), axis=1)) * np.eye(x.shape[1])[0]
    assert whats(diagnose(astray, y)) == ["outliers"]
    by = moved(["cka", "rsa", "mutual_knn", "cka_rbf"], (x, y), (astray, y))
    assert by.pop("cka") > 0.4 and max(by.values()) < 0.03, by
    ruled = [np.c_[v, 30 * rng.normal(size=200)] for v in (x, y)]
    d = diagnose(*ruled)
    by = moved(["cka", "mean_cca"], (x, y), ruled)
    assert (
        whats(d) == ["one component"]
        and by["cka"] > 0.8
        and by["mean_cca"] < 0.03
        and abs(d.together["cka without them"] - rs.measures.get("cka")(x, y)) < 0.03
    )


def test_cca_is_undefined_where_cca_says_so(rng):
    x, y = rng.normal(size=(30, 14)), rng.normal(size=(30, 15))
    assert "CCA undefined" not in whats(diagnose(x, y)) and rs.measures.get("mean_cca")(x, y) <= 1
    wider = np.c_[y, rng.normal(size=30)]
    finding = next(f for f in diagnose(x, wider).findings if f.title == "CCA undefined")
    assert "14 + 16 exceed n - 1 = 29, so 1 or more" in finding.sentence and not finding.serious
    with pytest.raises(UndefinedError, match="14 . 16"):
        rs.measures.get("mean_cca")(x, wider)


def test_layers_of_trained_models_are_well_and_few_samples_are_reported():
    names = ["mnist-cnn-0", "mnist-mlp-0", "mnist-resnet-0", "mnist-vit-0"]
    recorded = rs.record([f"zoo:{name}" for name in names], rs.load_dataset("mnist", n=500), progress=False)
    for key, layer in recorded.items():
        assert diagnose(layer).serious == (), str(key)
        assert diagnose(layer).ok == (layer[0].size < 500), str(key)
    wide = [key for key in recorded if recorded[key][0].size > 1000 and "vit" not in key.model]
    for key in wide:
        assert whats(diagnose(recorded[key][:100])) == ["few samples", "more features than samples"], str(key)
    pair = diagnose(recorded["mnist-cnn-0/conv1"][:40], recorded["mnist-resnet-0/stem"][:40])
    assert whats(pair) == ["few samples", "CCA undefined"] and pair.together["cka"] > pair.together["cka_debiased"]


# -- what comes in, how much is looked at


def test_tensors_precisions_and_shapes_are_one(x):
    expected = diagnose(x.astype(np.float32))
    for given in (
        torch.tensor(x, dtype=torch.float32),
        x.astype(np.float32).reshape(300, 3, 2, 2),
        torch.tensor(x, dtype=torch.float32, requires_grad=True),
    ):
        assert diagnose(given).facts.equals(expected.facts)
    assert diagnose(torch.tensor(x).bfloat16(), x).together["cka"] > 0.999
    assert fact(diagnose(np.round(x).astype(int)), "features") == 12


def test_what_is_not_looked_at_is_not_read(tmp_path, rng, monkeypatch):
    x = rng.normal(size=(400, 20))
    x[0], x[399] = 50, 60
    x[7] = np.nan  # in between
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    d = diagnose(mapped, mapped[:, ::2], max_samples=40)
    assert (
        fact(d, "samples") == 400
        and fact(d, "samples looked at") == 40
        and set(fact(d, "outliers")) == {0, 399}
        and fact(d, "furthest sample") == 399
    )
    assert d.together["room for CCA (n - 1)"] == 399
    with pytest.raises(UndefinedError, match="diagnose of 'x': it holds 20 values that are NaN"):
        diagnose(mapped)
    with pytest.raises(UndefinedError, match="diagnose of 'x' among the 399 of 400 samples looked at: it holds"):
        diagnose(torch.tensor(x), max_samples=399)
    monkeypatch.setattr(reliability.representation_facts, "MAX_MULTIPLICATIONS", 400 * 20 * 20 / 2)
    assert fact(diagnose(np.nan_to_num(x)), "samples looked at") == 200


def test_errors_say_whose(x):
    with pytest.raises(UndefinedError, match="diagnose of 'fc': it is constant"):
        diagnose(x, np.ones((300, 2)), names=("conv", "fc"))
    with pytest.raises(UndefinedError, match="at least 4 samples"):
        diagnose(x[:3])
    with pytest.raises(ValueError, match="'x' has 300 rows, 'y' has 299"):
        diagnose(x, x[1:])
    for names in (("a",), ("a", "a"), "ab"):
        with pytest.raises(ValueError, match="2 different names, one a side"):
            diagnose(x, x, names=names)
    for most in (3, 0.5):
        with pytest.raises(ValueError, match="max_samples must be an integer >= 4"):
            diagnose(x, max_samples=most)


def test_names_are_text_on_the_page(x):
    assert (
        "&lt;b&gt;" in diagnose(planted(x, "outliers"), names="<b>")._repr_html_()
        and "<b>'" not in diagnose(x, names="<b>")._repr_html_()
    )


# -- notes below a table


def test_notes_are_the_serious_findings_that_matter_for_the_measure(x):
    found: dict[str, Diagnosis] = {f"l{i}": diagnose(planted(x, "few samples")) for i in range(6)} | {
        "fc": diagnose(planted(x, "one component")),
        "in": diagnose(planted(x, "outliers")),
    }
    few, one, outliers = summarize_findings("cka", found)
    assert (
        few.startswith("few samples: l0, l1, l2, l3 and 2 more. Use cka_debiased")
        and one.startswith("one component: fc. Compare")
        and outliers.startswith("outliers: in. ")
    )
    assert [line.partition(":")[0] for line in summarize_findings("cka_debiased", found)] == [
        "one component",
        "outliers",
    ]
    assert [line.partition(":")[0] for line in summarize_findings("mutual_knn", found)] == ["outliers"]
    assert (
        summarize_findings("cka", found, max_lines=1) == (few,)
        and summarize_findings("jsd", found) == ()
        and summarize_findings("cka", {"a": diagnose(x)}) == ()
    )


def test_the_explorer_notes_what_is_off_below_the_table(recorded):
    layers = recorded.where(model="mnist-cnn-*")
    e = rs.explorers.comparison(layers).wait()
    assert e._note.value == "" and e._note.layout.display == "none", "cka_debiased of healthy layers"
    e.controls["measure"].value = "cka"
    e.wait()
    assert (
        "few samples: mnist-cnn-0/conv1, " in e._note.value
        and "fc" not in e._note.value
        and e._note.layout.display == ""
        and not e._status.value
    )
    e.choose("conv1", "conv1")
    e.wait()
    assert "200 samples for 3136 and 3136 features" in e._detail.value and "few samples" in e._note.value
    e.controls["measure"].value = "jsd"
    e.wait()
    assert e._note.value == "" and e.errors == []


def test_a_click_before_the_note_does_not_lose_it(recorded, monkeypatch):
    looked = []
    monkeypatch.setattr(
        table_details, "diagnose", lambda *given, **options: looked.append(options) or diagnose(*given, **options)
    )
    e = rs.explorers.comparison(recorded.where(model="mnist-cnn-*"), measure="cka").wait()
    e._table_of_note = None
    e._say_note(())
    once = len(looked)
    e.choose("fc", "fc")
    e.wait()
    assert "few samples" in e._note.value and len(looked) == once, "each layer is looked at once"


def test_a_stop_that_comes_during_the_note_is_late(recorded, monkeypatch):
    looking, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(
        table_details,
        "diagnose",
        lambda *given, **options: looking.set() or (go_on.wait(60) and diagnose(*given, **options)),
    )
    e = rs.explorers.comparison(recorded.where(model="mnist-cnn-*"), measure="cka")
    assert looking.wait(60)
    e.stop()
    go_on.set()
    assert e.wait().result is not None and e._status.value == "" and e._note.value == "" and e.errors == []


def test_a_layer_without_a_value_does_not_stop_the_note(recorded):
    dead = {str(key): layer for key, layer in recorded.where(model="mnist-cnn-0").items()} | {
        "mnist-cnn-0/dead": np.zeros((200, 5))
    }
    e = rs.explorers.comparison({name.partition(" ")[0]: layer for name, layer in dead.items()}, measure="cka").wait()
    assert "few samples" in e._note.value and e.errors == []
