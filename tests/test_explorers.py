"""Explorers by their state: set a control, wait, read what they show. tests/browser does the same with a mouse."""

import html
import re
import time
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from explorer_state import button, name_things, parts, slowly, texts
from matplotlib.figure import Figure

import repsim_nb as rs
from repsim_nb.display import views
from repsim_nb.display.explorers import layer_tables
from repsim_nb.display.explorers.worker import Worker
from repsim_nb.display.specs import ImageSpec
from repsim_nb.display.views import MatrixView, ScatterView
from repsim_nb.support.progress import ProgressReport, show_progress


def figure_of(k):
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().set_title(f"k = {k}")
    return figure


@pytest.fixture
def comparing(recorded, mnist):
    return rs.explorers.comparison(recorded, dataset=mnist).wait()


# -- explore


def test_controls_by_what_they_offer():
    e = rs.explorers.explore(
        lambda **_: figure_of(0),
        name=["a", "b"],
        pick={"one": 1},
        whole=(1, 5),
        half=(0.0, 1.0),
        by_ten=(0, 100, 10),
        tick=True,
        own=widgets.IntText(3),
    )
    kinds = [type(e.controls[n]) for n in ("name", "pick", "whole", "half", "by_ten", "tick", "own")]
    assert kinds == [
        widgets.Dropdown,
        widgets.Dropdown,
        widgets.IntSlider,
        widgets.FloatSlider,
        widgets.IntSlider,
        widgets.Checkbox,
        widgets.IntText,
    ]
    assert (
        e.values() == {"name": "a", "pick": 1, "whole": 1, "half": 0.0, "by_ten": 0, "tick": True, "own": 3}
        and e.controls["by_ten"].step == 10
    )
    for wrong in (3, "text", (5, 1), (1, "b"), [], None):
        with pytest.raises(ValueError, match="The control 'k' must be"):
            rs.explorers.explore(figure_of, k=wrong)
    with pytest.raises(TypeError, match="takes a function first"):
        rs.explorers.explore(figure_of(1), k=[1])


def test_controls_start_at_the_defaults_that_are_choices():
    def draw(n=5, far=99, part=0.25, kind="b", other="z", flag=False, one=True):
        return rs.specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c"), title=f"{n}")

    e = rs.explorers.explore(
        draw, n=(3, 10), far=(3, 10), part=(0, 1, 0.05), kind=["a", "b"], other=["x", "y"], flag=True, one=[1, 2]
    ).wait()
    expected = {"n": 5, "far": 3, "part": 0.25, "kind": "b", "other": "x", "flag": True, "one": 1}
    assert e.values() == expected and type(e.values()["one"]) is int
    assert e.spec.title == "5" and e.code() == f"draw({', '.join(f'{k}={v!r}' for k, v in expected.items())})"
    assert rs.explorers.explore(draw, kind={"first": "a", "second": "b"}).wait().values() == {"kind": "b"}


def test_a_changed_control_draws_again():
    e = rs.explorers.explore(figure_of, k=[1, 2]).wait()
    first = e.png()
    e.controls["k"].value = 2
    assert e.wait().png() != first and e.png()[:4] == b"\x89PNG" and e.errors == []
    assert e.code() == "figure_of(k=2)"


def test_a_comparison_or_a_map_may_be_drawn(recorded):
    def table(measure, progress):
        return rs.compare(measure, recorded.where(layer="output"), progress=progress)

    e = rs.explorers.explore(table, measure=["cka", "procrustes"]).wait()
    assert isinstance(e.view, MatrixView) and e.view.title.startswith("cka")
    e.controls["measure"].value = "procrustes"
    e.wait()
    assert max(max(row) for row in e.view.values) <= e.view.high < 2 and e.png()[:4] == b"\x89PNG"
    m = rs.explorers.explore(
        lambda kind: rs.embedding.mds(rs.compare("cka", recorded), kind=kind), kind=["smacof", "classical"]
    ).wait()
    assert isinstance(m.view, ScatterView) and isinstance(m.result, rs.embedding.Embedding) and len(m.view.points) == 14
    assert "stress" in m.view.footer and m.png()[:4] == b"\x89PNG"


def test_an_error_stands_where_the_picture_would_be_and_goes_away():
    def draw(k):
        if k == 2:
            raise ValueError("two <is> too many")
        return figure_of(k)

    e = rs.explorers.explore(draw, k=[1, 2, 3]).wait()
    e.controls["k"].value = 2
    with pytest.raises(ValueError, match="too many"):
        e.wait()
    assert (
        len(e.errors) == 1
        and "two &lt;is&gt; too many" in e.message
        and "image/png" not in e.bundle()
        and e.png() is None
    )
    assert e.view in parts(e) and e.view.layout.visibility == "hidden", (
        "its place stays open, so that the page does not jump"
    )
    e.controls["k"].value = 3
    e.wait()
    assert e.message == "" and e.view.layout.visibility is None and len(e.errors) == 1
    with pytest.raises(
        TypeError, match="must return a figure or a result, such as a Comparison or an Embedding; draw returned int"
    ):

        def draw(k):
            return k

        rs.explorers.explore(draw, k=[1]).wait()


def test_only_the_last_request_counts():
    drawn = []

    def draw(k, progress):
        for i in range(20):
            time.sleep(0.01)
            progress(i, 20)
        drawn.append(k)
        return figure_of(k)

    e = rs.explorers.explore(draw, k=list(range(8)))
    for k in range(1, 8):
        e.controls["k"].value = k
        time.sleep(0.02)
    e.wait()
    assert drawn == [7] and e.errors == []


@pytest.mark.parametrize("told", [True, False])
def test_stop_acts_at_once_and_the_picture_before_stays(told):
    def patient(k, progress):
        for i in range(200 * k):
            time.sleep(0.01)
            progress(i, 200)
        return figure_of(k)

    def deaf(k):
        time.sleep(2 * k)
        return figure_of(k)

    e = rs.explorers.explore(patient if told else deaf, k=[0, 1]).wait()
    before = e.png()
    e.controls["k"].value = 1
    time.sleep(0.3)
    assert e.busy and (not told or e.progress is not None)
    start = time.perf_counter()
    e.stop()
    e.wait()
    assert (
        time.perf_counter() - start < 1  # of the two seconds that it would take
        and not e.busy
        and e.status == "stopped"
        and e.png() == before
        and e.errors == []
    )
    assert e.values() == {"k": 0} and e.code().endswith("(k=0)") and not e.busy, (
        "the controls name what is shown, and nothing is drawn for that"
    )
    e.controls["k"].value = 1
    e.stop()
    assert e.values() == {"k": 0} and e.progress is None


def test_stop_before_the_first_picture_says_so():
    e = rs.explorers.explore(lambda k: time.sleep(0.5 * k) or figure_of(k), k=[1, 0])
    e.stop()
    assert "Stopped before there was a picture" in e.message and e.values() == {"k": 1}
    e.controls["k"].value = 0
    assert e.wait(5).message == "" and isinstance(e.spec, ImageSpec)


def agree(e, k):
    """Controls, picture and code are of one and the same k."""
    assert e.values() == {"k": k} and e.code().endswith(f"(k={k})") and e.result.axes[0].get_title() == f"k = {k}", (
        e.values(),
        e.result.axes[0].get_title(),
    )


def test_a_late_stop_does_nothing():
    e = rs.explorers.explore(figure_of, k=[1, 2]).wait()
    e.stop()  # as one that the kernel was too busy to hear in time
    assert e.status == "" and not e.busy
    agree(e, 1)
    e.controls["k"].value = 2
    agree(e.wait(), 2)


def test_whatever_is_changed_and_stopped_controls_picture_and_code_agree():
    def draw(k, progress):
        for i in range(k % 4):
            time.sleep(0.002)
            progress(i, 4)
        return figure_of(k)

    rng = np.random.default_rng(1)
    e, stopped = rs.explorers.explore(draw, k=list(range(30))).wait(), 0
    for turn in range(60):
        for k in rng.permutation(30)[: rng.integers(1, 4)].tolist():
            e.controls["k"].value = k
            time.sleep(rng.uniform(0, 0.03))
        if turn % 3 == 0:
            e.wait()
        e.stop()
        stopped += e.status == "stopped"
        agree(e, k if turn % 3 == 0 else e.values()["k"])
        assert not e.busy and not e.busy and (turn % 3 or e.status == "")
    assert stopped > 0 and e.errors == []


def test_the_status_says_what_is_counted_and_how_long_it_takes(monkeypatch):
    now, said = [100.0], []
    monkeypatch.setattr("repsim_nb.support.progress.time.monotonic", lambda: now[0])
    gauge = ProgressReport(lambda done, total, text: said.append(text))
    for what, unit, counts in (
        ("recording a", "sample", [(500, 1000), (600, 1000), (1000, 1000)]),
        ("verifying", "MB", [(1, 900), (2, 900)]),
        ("", "step", [(0, 1)]),
    ):
        with show_progress(gauge, what, unit) as tick:
            for done, total in counts:
                tick(done, total)
                now[0] += 12
    gauge.start("", "")
    gauge(3, 7)
    assert said == [
        "recording a: 500 of 1000 samples",
        "recording a: 600 of 1000 samples, 48 s left",
        "recording a: 1000 of 1000 samples",
        "verifying: 1 of 900 MB",
        "verifying: 2 of 900 MB, 3 h left",
        "0 of 1 step",
        "3 of 7",
    ]


def test_stop_after_an_error_goes_back_to_the_error():
    def draw(k, progress):
        if k == 1:
            raise ValueError("one is wrong")
        for i in range(200 if k == 2 else 1):
            time.sleep(0.01)
            progress(i, 200)
        return figure_of(k)

    e = rs.explorers.explore(draw, k=[0, 1, 2]).wait()
    e.controls["k"].value = 1
    with pytest.raises(ValueError):
        e.wait()
    e.controls["k"].value = 2
    time.sleep(0.1)
    e.stop()
    assert e.values() == {"k": 1} and "one is wrong" in e.message and e.png() is None


def test_an_error_names_the_line_of_the_users_code():
    def draw(k):
        return rs.compare("ckaa", {"a": np.eye(k)})  # the line to be named

    e = rs.explorers.explore(draw, k=[3])
    with pytest.raises(ValueError, match="unknown measure"):
        e.wait()
    shown = html.unescape(e.message)
    here = draw.__code__.co_firstlineno + 1
    assert (
        f"test_explorers.py, line {here}<" in shown
        and "# the line to be named</pre>" in shown
        and "measures/__init__.py" not in shown
    )


def test_a_control_that_fits_no_argument_is_an_error_at_once():
    with pytest.raises(TypeError, match="unknown argument of figure_of 'kk'. Did you mean 'k'"):
        rs.explorers.explore(figure_of, kk=[1])
    with pytest.raises(TypeError, match="unknown argument of nothing 'k'. It takes none"):

        def nothing():
            return figure_of(0)

        rs.explorers.explore(nothing, k=[1])
    with pytest.raises(TypeError, match="figure_of needs 'k', and no control sets it"):
        rs.explorers.explore(figure_of)
    assert rs.explorers.explore(lambda progress: figure_of(progress), progress=[1, 2]).wait().errors == [], (
        "a control may have that name as well"
    )


def test_wait_has_a_limit():
    e = rs.explorers.explore(lambda k: time.sleep(0.5) or figure_of(k), k=[1])
    with pytest.raises(TimeoutError, match="still working after 0.05 s"):
        e.wait(0.05)
    e.wait(5)


def test_the_worker_under_fire():
    """Slow deliveries, overtaken and stopped at random: what is delivered is always the newest, and never after a
    stop.
    """
    rng = np.random.default_rng(0)
    newest, wrong, delivered = [-1], [], []

    def deliver(result, error):
        time.sleep(rng.uniform(0, 0.002))
        delivered.append(result)
        if result != newest[0]:
            wrong.append((result, newest[0]))

    worker = Worker(lambda done, total, said: None)
    for i in range(400):
        worker.submit(lambda tick, i=i: i, deliver, before=lambda i=i: newest.__setitem__(0, i))
        if i % 37 == 0:
            worker.stop(after=lambda: newest.__setitem__(0, "stopped"))
        time.sleep(rng.uniform(0, 0.002))
    worker.join(5)
    assert delivered[-1] == 399 and wrong == [] and len(delivered) > 20


def test_a_failing_delivery_is_shown_and_does_not_hang():
    class Mine(rs.measures.Measure):
        def prepare(self, x):
            return x

        def pair(self, a, b):
            return 1.0  # and no `kind`: the picture cannot be drawn

    e = rs.explorers.explore(lambda k: rs.compare(Mine(), {"a": np.eye(4), "b": np.eye(4)}), k=[1, 2])
    with pytest.raises(AttributeError, match="kind"):
        e.wait(5)
    e.controls["k"].value = 2
    with pytest.raises(AttributeError):
        e.wait(5)
    assert len(e.errors) == 2 and "kind" in e.message


def test_stop_can_be_pressed_while_anything_runs(recorded):
    def draw(k, progress):
        for i in range(30):
            time.sleep(0.001)
            progress(i, 30)
        return figure_of(k)

    e = rs.explorers.explore(draw, k=list(range(50))).wait()
    for k in range(1, 50):
        e.controls["k"].value = k
        assert not e.busy or e.busy
        time.sleep(0.015 * (k % 3))
    e.wait()
    assert not e.busy


def test_a_drop_down_of_objects(rng):
    tables = [rs.compare("cka", {i: rng.normal(size=(9, 3)) for i in range(k)}) for k in (2, 3)]
    e = rs.explorers.explore(lambda table: table, table=tables).wait()
    assert e.values() == {"table": tables[0]} and e.code() == "draw(table=table_choices['0: Comparison'])"
    e.controls["table"].value = "1: Comparison"
    assert e.wait().result is tables[1]
    assert rs.explorers.explore(figure_of, k={"one": 1, "two": 2}).code() == "figure_of(k=1)"


# -- the comparison explorer


def test_it_opens_on_the_first_two_models(comparing):
    assert (
        comparing.values()
        == {"a": "mnist-cnn-0", "b": "mnist-cnn-1", "measure": "cka_debiased"}
        | {"second": "none", "together": "side by side", "tested": False}
        and comparing.errors == []
    )
    view = comparing.view
    assert view.row_labels == ["conv1", "conv2", "conv3", "fc", "output"] and np.shape(view.values) == (5, 5)
    assert (view.row_title, view.column_title, view.title) == (
        "layer of mnist-cnn-0",
        "layer of mnist-cnn-1",
        "cka_debiased: mnist-cnn-0 × mnist-cnn-1",
    )
    assert set(comparing.controls["measure"].options) == set(rs.measures.ALL)


def test_every_measure_draws_and_masked_cells_have_reasons(comparing):
    for measure in rs.measures.REPRESENTATIONAL:
        for side in "ab":  # to match the 3136 units of a convolution takes seconds a cell
            comparing.controls[side].value = (
                "mnist-mlp-0" if measure == "soft_matching" else f"mnist-cnn-{'ab'.index(side)}"
            )
        comparing.controls["measure"].value = measure
        comparing.wait()
        view = comparing.view
        assert len(view.notes) == sum(v is None for row in view.values for v in row) and all(
            "ranks" in why for why in view.notes.values()
        )
    assert comparing.errors == []


def test_a_choice_seen_before_is_found_again(comparing, monkeypatch):
    comparing.controls["b"].value = "mnist-mlp-0"
    comparing.wait()
    shown = comparing.result
    monkeypatch.setattr(layer_tables, "compare", lambda *a, **k: pytest.fail("computed again"))
    comparing.controls["b"].value = "mnist-cnn-1"
    comparing.wait()
    comparing.controls["b"].value = "mnist-mlp-0"
    assert comparing.wait().result is shown


def test_the_code_makes_the_same_picture(comparing, recorded, monkeypatch):
    name_things(monkeypatch, {"x": recorded})
    comparing.controls["measure"].value = "mean_cca"
    comparing.controls["b"].value = "mnist-mlp-0"
    comparing.wait()
    names = {"x": recorded}
    exec(comparing.code(), names)
    again = rs.compare("mean_cca", names["a"], names["b"], on_undefined="mask")
    assert again.values.equals(comparing.result.values)
    assert not any("rs.compare" in text for text in texts(comparing))
    button(comparing, "Code").value = True
    assert any("rs.compare(&#x27;mean_cca&#x27;" in text for text in texts(comparing))


def test_a_click_shows_the_detail_of_the_pair(comparing, recorded):
    comparing.choose("conv1", "fc")
    comparing.wait()
    text = comparing.detail
    value = rs.measures.get("cka_debiased")(recorded["mnist-cnn-0/conv1"], recorded["mnist-cnn-1/fc"])
    assert f"{value:.4f}" in text and "3136 features" in text and "few samples" not in text and "exceed n - 1" in text
    assert rs.plots.png(comparing.detail_spec)[:4] == b"\x89PNG" and comparing.errors == []
    assert "jsd" not in text
    comparing.choose("output", "output")
    comparing.wait()
    assert "jsd" in comparing.detail
    comparing.controls["a"].value = "mnist-mlp-0"
    comparing.wait()
    assert "mnist-mlp-0 / output × mnist-cnn-1 / output" in comparing.detail, "the place is kept"
    comparing.controls["measure"].value = "jsd"
    assert "compares the outputs" in comparing.wait().detail and comparing.view.chosen == []
    comparing.controls["measure"].value = "rsa"
    assert "mnist-mlp-0 / output × mnist-cnn-1 / output" in comparing.wait().detail, "and found again"
    assert len(comparing.selected) == 1 and comparing.selected["value"][0] == comparing.result.values.iloc[-1, -1]
    with pytest.raises(ValueError, match="unknown choice .conv9"):
        comparing.choose("conv9", "fc")


def test_stop_then_click(recorded, mnist):
    gate = {"slow": True}
    e = rs.explorers.comparison(recorded, dataset=mnist, measure=slowly(0.3, gate))
    slow = e.controls["measure"].value
    e.controls["measure"].value = "cka_debiased"
    e.wait()
    e.controls["measure"].value = slow
    time.sleep(0.2)
    click(e, 3, 3)
    assert "A new picture is being computed" in e.detail
    e.stop()
    assert e.values()["measure"] == "cka_debiased" == e.result.name and "'cka_debiased'" in e.code()
    click(e, 3, 3)
    e.wait(20)
    assert (
        "n = 200 samples" in e.detail
        and rs.plots.png(e.detail_spec)[:4] == b"\x89PNG"
        and e.errors == []
        and not e.busy
    )


def test_a_detail_shows_how_far_it_is_and_can_be_stopped(recorded):
    gate = {"slow": False}
    e = rs.explorers.comparison(recorded, measure=slowly(1.5, gate)).wait()
    gate["slow"] = True
    click(e, 3, 3)
    deadline = time.monotonic() + 10
    while not re.match(r"detail: [0-8] of 9 steps", e.status) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert re.match(r"detail: [0-8] of 9 steps", e.status)
    assert e.busy and e.progress is not None and "computing" in e.detail
    before = e.png()
    e.stop()
    assert not e.busy and e.progress is None and e.status == "stopped" and "Stopped" in e.detail
    time.sleep(2)
    assert "Stopped" in e.detail and e.status == "stopped" and e.png() == before and e.errors == [], (
        "nothing of it comes later"
    )
    gate["slow"] = False
    e.choose("fc", "fc")
    assert "n = 200 samples" in e.wait(20).detail


def click(e, row, column):
    """What the view sends when a cell is clicked."""
    e.view.chosen = [row, column]
    e.view.presses += 1


def test_the_best_match_is_tested_on_demand(comparing, recorded, monkeypatch):
    name_things(monkeypatch, {"x": recorded})
    monkeypatch.setattr(layer_tables, "ORDERS", 39)
    comparing.controls["measure"].value = "cka"
    comparing.wait()
    assert comparing.test is None and comparing.spec.marks == ()
    comparing.controls["tested"].value = True
    test = comparing.wait().test
    sides = (recorded.where(model=comparing.controls[side].value) for side in ("a", "b"))
    again = rs.inference.best_match("cka", *sides, n_permutations=layer_tables.ORDERS)
    assert test.p_value == again.p_value and test.adjusted.equals(again.adjusted)
    above = {(i, j) for i, j in np.argwhere(again.significant().to_numpy()).tolist()}
    assert {tuple(mark[:2]) for mark in comparing.spec.marks} == above != set()
    assert "family-wise" in comparing.spec.mark_meaning and "best pair" in comparing.detail
    monkeypatch.setattr(rs.plots, "heatmap", lambda table: table)
    names = {"x": recorded}
    exec(comparing.code(), names)
    assert names["best"].p_value == again.p_value
    monkeypatch.setattr(layer_tables, "best_match", lambda *a, **k: pytest.fail("computed again"))
    comparing.choose("fc", "fc")
    assert "n = 200 samples" in comparing.wait(20).detail
    comparing.controls["tested"].value = False
    assert comparing.wait().spec.marks == ()
    comparing.controls["tested"].value = True
    comparing.wait()
    comparing.controls["second"].value = "procrustes"  # two measures have no test
    assert comparing.wait().test is None and comparing.controls["tested"].disabled
    assert "best_match" not in comparing.code()
    comparing.controls["second"].value = layer_tables.NONE
    comparing.controls["b"].value = comparing.controls["a"].value
    assert comparing.wait().test is None and comparing.controls["tested"].disabled


def test_functional_measures_show_the_outputs_of_all_models(comparing, recorded, monkeypatch):
    name_things(monkeypatch, {"x": recorded})
    for measure in rs.measures.FUNCTIONAL:
        comparing.controls["measure"].value = measure
        comparing.wait()
        again = rs.compare(measure, recorded.where(layer="output"))
        assert comparing.result.values.equals(again.values) and comparing.view.title == f"{measure} at output"
        assert comparing.view.row_labels == ["mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0"]
        assert comparing.controls["a"].disabled and comparing.controls["b"].disabled, "they would change nothing"
        assert f"{measure} compares the outputs of models" in comparing.detail
    monkeypatch.setattr(rs.plots, "heatmap", lambda table: table)
    names = {"x": recorded}
    exec(comparing.code().replace("rs.plots.heatmap", "shown = rs.plots.heatmap"), names)
    assert names["shown"].values.equals(comparing.result.values)
    comparing.choose("mnist-cnn-0", "mnist-mlp-0")
    assert "output_rank" in comparing.wait().detail
    comparing.controls["measure"].value = "cka"
    comparing.wait()
    assert not comparing.controls["a"].disabled and not comparing.controls["b"].disabled
    assert rs.explorers.comparison(recorded, measure="jsd").wait().result.name == "jsd"


def test_functional_measures_without_outputs_show_a_sentence(recorded):
    e = rs.explorers.comparison(recorded.where(layer=["fc", "conv1"]), measure="jsd")
    with pytest.raises(
        ValueError, match="no layer 'output' is among these activations of mnist/test.*there are 'conv1', 'fc'"
    ):
        e.wait()
    assert "no layer &#x27;output&#x27;" in e.message
    e.controls["measure"].value = "cka"
    assert e.wait().result.values.shape == (2, 2)


def test_functional_measures_take_the_data_set_of_a(recorded, mnist):
    other = rs.load_dataset("fashion", n=150)
    e = rs.explorers.comparison(
        recorded | rs.record("zoo:mnist-mlp-0", other, progress=False), measure="disagreement"
    ).wait()
    assert e.result.values.shape == (3, 3) and e.controls["b"].disabled and not e.controls["a"].disabled
    e.controls["a"].value = next(name for name in e.controls["a"].options if "fashion" in name)
    assert (
        e.wait().result.values.shape == (1, 1)
        and e.result.n == 150
        and "where(layer='output', dataset='fashion/test[n=150,seed=0]')" in e.code()
    )


def test_an_identical_cell_can_be_chosen_twice(comparing):
    comparing.choose("fc", "fc")
    comparing.wait()
    comparing.controls["measure"].value = "rsa"
    comparing.wait()
    comparing.choose("fc", "fc")
    comparing.wait()
    assert "font-weight:bold'><td style='padding:0'>rsa" in comparing.detail


def test_plain_arrays_steps_and_data_sets(rng, mnist):
    x = rng.normal(size=(30, 4))
    e = rs.explorers.comparison({"a/one": x, "a/two": x**2, "b/one": x + 1}).wait()
    assert e.values()["b"] == "b" and e.view.row_labels == ["one", "two"] and "rs.from_arrays(" in e.code()
    other = rs.load_dataset("fashion", n=200)
    both = rs.record("zoo:mnist-mlp-0", mnist, progress=False) | rs.record(
        "zoo:mnist-mlp-0", other, progress=False, step=1
    )
    e = rs.explorers.comparison(both).wait()
    assert e.values()["b"] == e.values()["a"], "what was recorded on other samples is not offered first"
    e.controls["b"].value = e.controls["b"].options[1]
    with pytest.raises(ValueError, match="recorded on 'mnist/test.*on 'fashion/test"):
        e.wait()
    assert (
        list(e.controls["a"].options) == ["mnist/test[n=200,seed=0]/0", "fashion/test[n=200,seed=0]/1"]
        and "dataset='mnist/test[n=200,seed=0]', step=0" in e.code()
    )
    one = rs.explorers.comparison({"only/layer": x, "only/next": x**2}).wait()
    assert one.values()["a"] == one.values()["b"] == "only"


def test_bad_choices_teach(recorded):
    with pytest.raises(ValueError, match="this dict is empty. Record something first"):
        rs.explorers.comparison({})
    with pytest.raises(ValueError, match="unknown choice 'mnist-cnn-7'. Did you mean"):
        rs.explorers.comparison(recorded, a="mnist-cnn-7")
    with pytest.raises(ValueError, match="unknown measure 'ckaa'"):
        rs.explorers.comparison(recorded, measure="ckaa")
    with pytest.raises(TypeError, match="takes activations by key"):
        rs.explorers.comparison(np.eye(3))
    with pytest.raises(ValueError, match="None of the activations was recorded on .*'fashion/test'"):
        rs.explorers.comparison(recorded, dataset=rs.load_dataset("fashion"))
    own = rs.explorers.comparison(recorded, measure=rs.measures.CKA(kernel="rbf", bandwidth=2.0)).wait()
    assert "rs.compare(rs.measures.CKA(kernel='rbf', bandwidth=2.0), a, b" in own.code()


def test_a_failed_detail_raises_in_wait(comparing, monkeypatch):
    monkeypatch.setattr("repsim_nb.display.plots.samples", lambda *a, **k: 1 / 0)
    comparing.view.chosen = [0, 0]
    comparing.view.presses += 1
    with pytest.raises(ZeroDivisionError):
        comparing.wait()
    assert len(comparing.errors) == 1 and "ZeroDivisionError" in comparing.detail
    monkeypatch.undo()
    comparing.controls["measure"].value = "rsa"
    assert "ZeroDivisionError" not in comparing.wait().detail


def test_models_on_other_samples_show_a_sentence(recorded, rng):
    x = recorded | rs.from_arrays({"mine/layer": rng.normal(size=(150, 4))})
    e = rs.explorers.comparison(x, b="mine")
    with pytest.raises(ValueError, match="has 200 rows, 'mine/layer' has 150"):
        e.wait()
    assert "has 150" in e.message


def test_the_bundle_holds_widget_picture_and_text(comparing):
    bundle = comparing.bundle()
    assert {
        "application/vnd.jupyter.widget-view+json",
        "image/png",
        "text/plain",
    } <= bundle.keys() and "Comparison(cka" in bundle["text/plain"]


def test_the_view_is_plain_and_ships_its_source():
    folder = Path(views.__file__).parent
    assert (
        "export default" in (folder / "matrix_view.js").read_text()
        and ".rs-view" in (folder / "common.css").read_text()
    )
    assert MatrixView(values=[[1.0, None]], row_labels=["a"], column_labels=["b", "c"]).values == [[1.0, None]]


def test_two_measures_side_by_side_or_as_their_difference(comparing, recorded, monkeypatch):
    name_things(monkeypatch, {"x": recorded})
    comparing.controls["measure"].value = "cka"
    comparing.controls["second"].value = "procrustes"
    comparing.wait()
    views = [part for part in parts(comparing) if isinstance(part, MatrixView)]
    shown = [view.title for view in views if view.values]
    assert comparing.second.name == "procrustes" and any("cka" in t for t in shown) and any("procr" in t for t in shown)
    assert len(comparing.figure().axes) >= 4, "both, with a color bar each"
    monkeypatch.setattr(rs.plots, "heatmap", lambda table: table)
    for control, second, sign in (("cka_rbf", "difference", 1), ("procrustes", "difference of ranks", 0)):
        comparing.controls["second"].value = control
        comparing.controls["together"].value = "as difference"
        comparing.wait()
        assert second in comparing.spec.bar_label and comparing.spec.low == -comparing.spec.high
        if sign:
            difference = comparing.result.values.to_numpy() - comparing.second.values.to_numpy()
            assert np.allclose(np.array(comparing.spec.values, float), difference)
        names = {"x": recorded}
        exec(comparing.code().replace("rs.plots.heatmap", "shown = rs.plots.heatmap"), names)
        assert names["shown"] == comparing.spec
    comparing.controls["second"].value = "none"
    assert comparing.wait().second is None and comparing.controls["together"].disabled and comparing.errors == []


def test_measures_that_do_not_apply_say_why(recorded, rng):
    without = rs.explorers.comparison(recorded.where(layer=["fc", "conv1"])).wait()
    reasons = without.controls["measure"].reasons
    assert set(reasons) == set(rs.measures.FUNCTIONAL) and "no layer 'output'" in reasons["jsd"]
    few = rs.explorers.comparison({"a/fc": rng.normal(size=(8, 2)), "b/fc": rng.normal(size=(8, 2))}).wait()
    assert few.controls["measure"].reasons["mutual_knn"] == "needs 11 samples"
    assert "jsd" in few.controls["second"].reasons
    with pytest.raises(Exception, match="unknown choice 'ckaa'"):
        few.controls["measure"].value = "ckaa"


# -- pair


def test_pair_records_what_is_chosen_once(mnist, tmp_path):
    e = rs.explorers.model_pair(mnist, ["zoo:mnist-mlp-0", "zoo:mnist-mlp-1", "zoo:mnist-cnn-0"], into=tmp_path).wait()
    assert list(e.controls["a"].options) == ["mnist-mlp-0", "mnist-mlp-1", "mnist-cnn-0"] and e.result.values.shape == (
        4,
        4,
    )
    assert {key.model for key in rs.Store(tmp_path)} == {"mnist-mlp-0", "mnist-mlp-1"}
    e.controls["b"].value = "mnist-cnn-0"
    assert e.wait().result.values.shape == (4, 5)
    direct = rs.compare(
        "cka_debiased", *(rs.record(f"zoo:{name}", mnist, progress=False) for name in ("mnist-mlp-0", "mnist-cnn-0"))
    )
    assert np.allclose(e.result.values, direct.values, atol=1e-6)
    e.choose("fc1", "conv2")
    assert "mnist-mlp-0 / fc1 × mnist-cnn-0 / conv2" in e.wait().detail
    e.controls["measure"].value = "jsd"
    assert e.wait().result.values.shape == (2, 2) and not e.controls["b"].disabled and e.errors == []
    named = rs.explorers.model_pair(mnist, {"one": rs.load_model("zoo:mnist-mlp-0"), "two": "zoo:mnist-mlp-1"}).wait()
    assert named.result.values.index[0][0] == "one"


def test_pair_runs_no_model_twice(mnist):
    model, passes = rs.load_model("zoo:mnist-mlp-0"), []
    model.module.register_forward_hook(lambda *_: passes.append(1))
    e = rs.explorers.model_pair(mnist, {"one": model, "two": "zoo:mnist-mlp-1"}).wait()
    before = len(passes)
    for measure in ("cka", "procrustes", "kappa"):
        e.controls["measure"].value = measure
        e.wait()
    assert before and len(passes) == before


def test_pair_offers_what_is_here_and_fits(mnist):
    shown = rs.models.available(mnist.inputs)
    assert [name for name in shown if name.startswith("zoo:")] == [f"zoo:{name}" for name in rs.models.zoo_names()]
    installed = rs.models.pretrained()
    assert {name for name in shown if name.startswith("pretrained:")} == {
        f"pretrained:{n}" for n in installed.index[installed.installed & (installed.kind == "pictures")]
    }
    assert rs.models.available(["a text"]) == [
        f"pretrained:{n}" for n in installed.index[installed.installed & (installed.kind == "text")]
    ]
    assert rs.models.available(np.zeros((3, 4))) == []
    with pytest.raises(ValueError, match="No installed model takes the inputs of 'numbers'"):
        rs.explorers.model_pair(rs.Dataset("numbers", np.zeros((3, 4))))
    with pytest.raises(TypeError, match="takes a Dataset or the name of one"):
        rs.explorers.model_pair(3)


def test_the_code_of_a_pair_makes_the_same_table(mnist, monkeypatch):
    name_things(monkeypatch, {"data": mnist})
    e = rs.explorers.model_pair(mnist, ["zoo:mnist-mlp-0", "zoo:mnist-vit-0"]).wait()
    for measure in ("cka_debiased", "disagreement"):
        e.controls["measure"].value = measure
        e.wait()
        names = {"data": mnist}
        exec(e.code().replace("rs.plots.heatmap(", "table = (").replace(";", ""), names)
        assert np.allclose(names["table"].values, e.result.values, atol=1e-9)


def test_the_code_of_a_pair_names_everything_it_needs(tmp_path, monkeypatch):
    """Run as it stands; what the notebook has no name for is named in a comment."""
    few, cnn = rs.load_dataset("mnist", n=60), rs.load_model("zoo:mnist-cnn-0", name="mine")
    shelf = {"one": rs.load_model("zoo:mnist-mlp-0"), "two": cnn, "three": "zoo:mnist-mlp-1"}
    known = {"shelf": shelf}
    name_things(monkeypatch, known)
    e = rs.explorers.model_pair(few, shelf, pool="mean", into=tmp_path).wait()
    where = f"into={str(tmp_path)!r}"
    assert e.code().splitlines()[:4] == [
        "import repsim_nb as rs",
        f"# data: the Dataset '{few.name}', as given to this explorer",
        f"a = rs.record(rs.load_model(shelf['one'], name='one'), data, pool='mean', {where})",
        f"b = rs.record(rs.load_model(shelf['two'], name='two'), data, pool='mean', {where})",
    ]
    names = {"data": few, **known}
    exec(e.code().replace("rs.plots.heatmap(", "table = (").replace(";", ""), names)
    assert names["table"].values.equals(e.result.values) and {key.model for key in rs.Store(tmp_path)} == {"one", "two"}
    known |= {"few": few, "cnn": cnn}
    e.controls["a"].value = "three"
    e.wait()
    assert (
        f"rs.record(rs.load_model('zoo:mnist-mlp-1', name='three'), few, pool='mean', {where})" in e.code()
        and "rs.load_model(cnn, name='two')" in e.code()
    )
    known.clear()
    listed = rs.explorers.model_pair(few, [cnn, "zoo:mnist-mlp-0"], into=rs.Store(tmp_path / "other")).wait().code()
    assert (
        "# model_a: the Model 'mine', as given to this explorer" in listed
        and "a = rs.record(model_a, data, pool='mean', into=rs.Store(" in listed
    )
    assert "b = rs.record('zoo:mnist-mlp-0', data, into=rs.Store(" in listed


def test_pair_refuses_at_once_what_cannot_be_had(mnist, tmp_path):
    class CNN(torch.nn.Sequential):
        pass

    nets = [CNN(torch.nn.Flatten(), torch.nn.Linear(784, 3)) for _ in range(2)]
    with pytest.raises(
        ValueError, match=r"need different names; got \['CNN', 'CNN'\].*load_model\(\.\.\., name=\.\.\.\)"
    ):
        rs.explorers.model_pair(mnist, nets)
    assert list(rs.explorers.model_pair(mnist, {"one": nets[0], "two": nets[1]}).controls["b"].options) == [
        "one",
        "two",
    ]
    assert list(rs.explorers.model_pair(mnist, "zoo:mnist-mlp-0").controls["a"].options) == ["mnist-mlp-0"]
    for none in ([], {}):
        with pytest.raises(ValueError, match="at least one model"):
            rs.explorers.model_pair(mnist, none)
    with pytest.raises(ValueError, match="unknown pool 'maen'. Did you mean 'mean'"):
        rs.explorers.model_pair(mnist, pool="maen")
    wrong = {
        "zoo:mnist-mlp-00": "unknown zoo model 'mnist-mlp-00'. Did you mean 'mnist-mlp-0'",
        "pretrained:minilm-l9": "unknown pretrained model",
        "zo:mnist-mlp-0": "unknown model source 'zo'",
        "mnist-mlp-0": "'mnist-mlp-0' is no model. Did you mean 'zoo:mnist-mlp-0'",
        str(tmp_path / "gone.pt"): "gone.pt",
    }
    for spec, sentence in wrong.items():
        with pytest.raises((ValueError, FileNotFoundError), match=sentence):
            rs.explorers.model_pair(mnist, ["zoo:mnist-mlp-1", spec])
    with pytest.raises(TypeError, match="CNN is a class"):
        rs.explorers.model_pair(mnist, [CNN])


def test_an_undefined_cell_advises_what_can_be_done(rng):
    x = rs.from_arrays({"a/one": rng.normal(size=(30, 40)), "b/one": rng.normal(size=(30, 40))})
    e = rs.explorers.comparison(x, measure="svcca").wait()
    assert (
        all(
            "more samples than the two ranks together, or keep fewer components (a variance below 0.99 in"
            " CCA(variance=...))" in why
            for why in e.view.notes.values()
        )
        and e.view.notes
    )
    e.controls["measure"].value = "mean_cca"
    assert all("(svcca, or CCA(variance=0.9))" in why for why in e.wait().view.notes.values()) and e.view.notes


def test_a_data_set_can_be_given_by_its_name():
    x = rs.from_arrays({rs.Key("m", "fc", "mnist/test[n=40,seed=0]"): np.eye(40)})
    with pytest.raises(ValueError, match="unknown dataset 'mnits'"):
        rs.explorers.comparison(x, dataset="mnits")
    with pytest.raises(ValueError, match="None of the activations was recorded on .*'mnist/test'"):
        rs.explorers.comparison(x, dataset="mnist")
    with pytest.raises(TypeError, match="dataset must be a Dataset or the name of one; got int"):
        rs.explorers.comparison(x, dataset=3)


def test_a_picture_that_is_drawn_again_does_not_disappear_for_a_moment(recorded):
    e = rs.explorers.comparison(recorded, measure="cka").wait()
    changes = []
    e.view.layout.observe(lambda change: changes.append(change["new"]), "visibility")
    e.controls["measure"].value = "procrustes"
    assert e.wait().spec.title.startswith("procrustes") and changes == []


def test_the_best_match_is_tested_next_to_a_layer_without_values(rng, monkeypatch):
    monkeypatch.setattr(layer_tables, "ORDERS", 19)
    x = rng.normal(size=(30, 4))
    layers = {"a/1": x, "b/1": x + rng.normal(size=(30, 4)), "b/dead": np.ones((30, 4))}
    explorer = rs.explorers.comparison(rs.from_arrays(layers))
    explorer.controls["tested"].value = True
    test = explorer.wait().test
    assert test.p_value == 1 / 20 and [mark[:2] for mark in explorer.spec.marks] == [(0, 0)]
    assert [note[:2] for note in explorer.spec.notes] == [(0, 1)]
    assert "on_undefined='mask'" in explorer.code()
