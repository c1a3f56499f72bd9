"""The explorer of maps by its state: set a control, wait, read what it shows. tests/browser does the same with a
mouse.
"""

import threading
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from explorer_state import button, name_things, slowly, texts

import repsim_nb as rs
import repsim_nb.display.explorers
from repsim_nb.display.explorers import map_explorer
from repsim_nb.display.explorers.worker import Worker
from repsim_nb.display.specs import MapSpec, MatrixSpec
from repsim_nb.display.views import ScatterView
from repsim_nb.support.errors import Stopped

NAMES = ("mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0", "mnist-vit-0")


@pytest.fixture(scope="module")
def several(mnist):
    """Four models that name their layers differently."""
    return rs.record([f"zoo:{name}" for name in NAMES], mnist, progress=False)


@pytest.fixture(scope="module")
def trained():
    """Three models of two layers, at the steps 0, 1, 2, 5: from noise to a shape that two of them share."""
    rng, found = np.random.default_rng(0), {}
    goals = [rng.normal(size=(60, 6)) for _ in range(2)]
    for m, model in enumerate(("a", "b", "c")):
        for layer in ("one", "two"):
            noise = rng.normal(size=(60, 6))
            for step in (0, 1, 2, 5):
                found[rs.Key(model, layer, "d", step)] = (goals[m // 2] * step + noise * (5 - step)) / 5
    facts = {
        "a": {"kind": "mlp", "rate": 0.1, "tags": [1]},
        "b": {"kind": "mlp", "rate": 0.2, "tags": [2]},
        "c": {"kind": "cnn", "rate": 0.3, "tags": [3]},
    }
    return rs.store.Activations(found, facts)


@pytest.fixture
def steps(trained):
    return rs.explorers.embedding_map(trained, measure="cka").wait()


def click(e, *places):
    """What the view sends when points are clicked one after the other."""
    for many in range(1, len(places) + 1):
        e.view.chosen = list(places[:many])
        e.view.presses += 1


def again(e, **names):
    """The points that the explorer's code makes and draws."""
    exec(e.code(), names)
    plt.close("all")
    return names["points"]


# -- what is mapped


def test_it_opens_on_the_last_hidden_layer(several):
    e = rs.explorers.embedding_map(several).wait()
    assert isinstance(e.view, ScatterView) and e.errors == []
    assert e.values() == {
        "measure": "cka_debiased",
        "layer": "last hidden",
        "kind": "smacof",
        "color": "architecture",
        "shape": "none",
    }
    assert [key[1] for key in e.result.points.index] == ["fc", "fc", "fc3", "pool"] and tuple(e.view.labels) == NAMES
    assert e.result.points.equals(rs.embedding.mds(rs.compare("cka_debiased", several.where(layer=-2))).points)
    view = e.view
    assert (
        "cka_debiased" in view.title
        and "n = 200" in view.subtitle
        and "chance level (permuted samples): cka_debiased" in view.subtitle
    )
    assert "stress" in view.footer and "negative eigenvalues" in view.footer and "seed 0" in view.footer
    assert [note.split("\n")[0] for note in view.notes] == [
        "layer: fc",
        "layer: fc",
        "layer: fc3",
        "layer: pool",
    ] and all("architecture: " in note for note in view.notes)


def test_every_measure_draws_a_map(several, monkeypatch):
    name_things(monkeypatch, {"x": several})
    e = rs.explorers.embedding_map(several).wait()
    assert sorted(e.controls["measure"].options) == sorted(rs.measures.ALL)  # in groups
    special = ["rank_similarity", "magnitude_difference"]  # the second has no chance level
    for measure in [*rs.measures.REPRESENTATIONAL, *special, *rs.measures.FUNCTIONAL]:
        e.controls["measure"].value = measure
        e.wait()
        assert measure in e.view.title and len(e.view.points) == 4 and np.isfinite(e.view.points).all()
        assert e.controls["layer"].disabled == (measure in rs.measures.FUNCTIONAL)
        assert again(e, x=several).points.equals(e.result.points), e.code()


def test_points_without_a_value_are_left_out_and_said(rng, monkeypatch):
    x = {
        f"{name}/h": rng.normal(size=(40, wide))
        for name, wide in (("a", 5), ("b", 6), ("c", 7), ("wide", 38), ("d", 8))
    }
    name_things(monkeypatch, {"x": x})
    e = rs.explorers.embedding_map(x, measure="mean_cca").wait()
    assert (
        e.view.labels == ["a", "b", "c", "d"]
        and "left out, since mean_cca has no value for them: 'wide'" in e.view.subtitle
    )
    assert "(permuted samples): mean_cca" in e.view.subtitle, "of those that are mapped"
    assert (
        "table.drop_undefined()  # without 'wide'" in e.code()
        and again(e, x=dict(x)).points.equals(e.result.points)
        and e.png()[:4] == b"\x89PNG"
    )
    e.controls["measure"].value = "cka"
    assert len(e.wait().view.labels) == 5 and "left out" not in e.view.subtitle and "undefined()" not in e.code()
    with pytest.raises(
        ValueError, match="A map needs at least 3 points, and mean_cca is undefined for most pairs: mean_cca of .*ranks"
    ):
        rs.explorers.embedding_map(
            {f"{name}/h": rng.normal(size=(20, 15)) for name in "abc"}, measure="mean_cca"
        ).wait()


def test_the_layers_that_can_be_chosen(several, rng):
    def offered(**layers):
        x = {f"{model}/{layer}": rng.normal(size=(20, 4)) for model, names in layers.items() for layer in names}
        e = rs.explorers.embedding_map(x).wait()
        every = {}
        for layer in e.controls["layer"].options:
            e.controls["layer"].value = layer
            every[layer] = [key[1] for key in e.wait().result.points.index]
        return e.code(), every

    _, every = offered(a=["one", "two", "output"], b=["one", "two", "output"], c=["one", "two", "output"])
    assert every == {
        "one": ["one"] * 3,
        "two": ["two"] * 3,
        "output": ["output"] * 3,
        "all layers": ["one", "two", "output"] * 3,
    }
    _, every = offered(a=["x1", "output"], b=["y1", "y2", "output"], c=["z1", "output"])
    assert (
        list(every) == ["last hidden", "first hidden", "output", "all layers"]
        and every["last hidden"] == ["x1", "y2", "z1"]
        and every["first hidden"] == ["x1", "y1", "z1"]
    )
    _, every = offered(a=["x1"], b=["y1", "y2"], c=["z1"])
    assert list(every) == ["last hidden", "first hidden", "all layers"] and every["last hidden"] == ["x1", "y2", "z1"]
    _, every = offered(a=["x1"], b=["y1"], c=["z1"])
    assert list(every) == ["last hidden"] and every["last hidden"] == ["x1", "y1", "z1"]
    _, every = offered(a=["h"], b=["h"], c=["h"])
    assert list(every) == ["h"]
    _, every = offered(a=["output"], b=["output"], c=["output"])
    assert list(every) == ["output"]
    _, every = offered(a=["h", "output"], b=["h"], c=["h"])
    assert list(every) == ["h", "all layers"], "which one is last, is not the same question for all of them"


def test_functional_measures_take_the_outputs(several):
    e = rs.explorers.embedding_map(several, measure="jsd").wait()
    assert (
        {key[1] for key in e.result.points.index} == {"output"}
        and e.controls["layer"].disabled
        and ".where(layer='output')" in e.code()
    )
    shown = e.result
    e.controls["measure"].value = "cka"
    assert not e.wait().controls["layer"].disabled and e.result is not shown
    hidden = rs.explorers.embedding_map(several.where(layer=-2), measure="kappa")
    with pytest.raises(
        ValueError, match="compare the outputs of models, and not all of these were recorded with the layer 'output'"
    ):
        hidden.wait()
    assert "outputs of models" in hidden.message and hidden.png() is None
    hidden.controls["measure"].value = "cka"
    assert len(hidden.wait().view.points) == 4 and len(hidden.errors) == 1


def test_what_was_compared_is_found_again(several, monkeypatch):
    e = rs.explorers.embedding_map(several, measure="cka").wait()
    first = e.result
    e.controls["kind"].value = "classical"
    assert e.wait().result.kind == "classical"
    monkeypatch.setattr(map_explorer, "compare", lambda *a, **k: pytest.fail("compared again"))
    e.controls["kind"].value = "smacof"
    assert e.wait().result is first
    e.controls["color"].value = "architecture"
    assert e.wait().result is first and e.errors == []


def test_too_few_points_for_t_sne_are_a_sentence(several, steps):
    e = rs.explorers.embedding_map(several, kind="tsne")
    with pytest.raises(ValueError, match="7 points"):
        e.wait()
    e.controls["layer"].value = "all layers"
    assert "perplexity" in e.wait().view.footer and "distances between groups mean nothing" in e.view.footer
    steps.controls["kind"].value = "tsne"
    assert steps.wait().result.kind == "tsne" and len(steps.view.points) == 12


# -- steps


def test_steps_are_joined_and_the_slider_hides_later_ones(steps):
    view = steps.view
    assert (
        steps.controls["step"].options == (0, 1, 2, 5)
        and steps.values()["step"] == 5
        and steps.values()["layer"] == "two"
    )
    assert view.runs == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]] and all(view.shown) and "step: 5" in view.notes[3]
    where, first = [list(p) for p in view.points], steps.png()
    steps.controls["step"].value = 1
    steps.wait()
    assert view.shown == [True, True, False, False] * 3 and view.points == where, "the map stays as it is"
    assert "until=1" in steps.code() and steps.png() != first
    steps.controls["color"].value = "step"
    assert steps.wait().view.scale[:3] == ["step", 0, 5] and steps.view.legend == [], "steps are a ramp"
    assert steps.view.colors[0] == steps.view.scale[3][0] and steps.view.colors[3] == steps.view.scale[3][-1]


def test_all_layers_are_those_of_the_last_step(steps):
    steps.controls["color"].value = "step"
    steps.controls["layer"].value = "all layers"
    steps.wait()
    assert [tuple(key)[:2] for key in steps.result.points.index] == [
        (model, layer) for model in "abc" for layer in ("one", "two")
    ]
    assert {key[3] for key in steps.result.points.index} == {5} and steps.view.runs == [[0, 1], [2, 3], [4, 5]]
    assert steps.controls["step"].disabled and steps.view.legend == [], "there is one step only"
    steps.controls["color"].value = "layer"
    assert dict(steps.wait().view.legend)["layer"][0][0] == "one" and len(set(steps.view.colors)) == 2
    steps.controls["layer"].value = "one"
    assert not steps.wait().controls["step"].disabled and steps.view.legend == [] and steps.errors == []


def test_all_layers_are_those_of_each_networks_own_last_step(trained, monkeypatch):
    x = rs.store.Activations({key: trained[key] for key in trained if key.model != "b" or key.step < 5})
    name_things(monkeypatch, {"x": x})
    e = rs.explorers.embedding_map(x, layer="all layers").wait()
    assert [(key[0], key[1], key[3]) for key in e.result.points.index] == [
        (model, layer, 2 if model == "b" else 5) for model in "abc" for layer in ("one", "two")
    ]
    assert "each at its own last step: 'a at 5', 'b at 2', 'c at 5'" in e.view.subtitle and e.view.runs == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    assert "last = {'a': 5, 'b': 2, 'c': 5}" in e.code() and again(e, x=x).points.equals(e.result.points)
    e.controls["layer"].value = "two"
    assert len(e.wait().view.points) == 11 and "own last step" not in e.view.subtitle and "last =" not in e.code()


def test_too_few_layers_to_map_are_counted(rng):
    x = rs.store.Activations(
        {rs.Key("a", layer, "d", step): rng.normal(size=(20, 4)) for layer in ("one", "two") for step in (0, 1, 2)}
    )
    with pytest.raises(ValueError, match="A map needs at least 3 points; all layers has 2: 'one', 'two'"):
        rs.explorers.embedding_map(x, layer="all layers").wait()


def test_steps_that_have_names(trained):
    named = rs.store.Activations(
        {
            key._replace(step=("start", "middle", "late", "end")[(0, 1, 2, 5).index(key.step)]): trained[key]
            for key in trained
        }
    )
    e = rs.explorers.embedding_map(named, layer="all layers").wait()
    assert (
        "step" not in e.controls and {key[3] for key in e.result.points.index} == {"end"} and "step='end'" in e.code()
    )
    e.controls["layer"].value = "two"
    assert len(e.wait().view.points) == 12 and len(e.view.runs) == 3


# -- colors and attributes


def test_attributes_come_from_cards_or_are_given(trained):
    e = rs.explorers.embedding_map(trained).wait()
    assert (
        e.controls["color"].options == ("none", "model", "step", "layer", "kind", "rate")
        and e.controls["shape"].options == e.controls["color"].options
    ), "lists are left out"
    e.controls["color"].value, e.controls["shape"].value = "kind", "rate"
    view = e.wait().view
    assert (
        [heading for heading, _ in view.legend] == ["kind", "rate"]
        and len(set(view.colors)) == 2
        and len(set(view.shapes)) == 3
    )
    assert (
        view.colors[0] == view.colors[4] != view.colors[8]
        and "kind: mlp\nrate: 0.1" in view.notes[0]
        and "tags" not in view.notes[0]
    )
    given = pd.DataFrame({"who": ["me", "you", "me"], "depth": [1.5, np.nan, 2.5]}, index=["a", "b", "c"])
    for attributes in (given, given.to_dict(orient="index")):
        own = rs.explorers.embedding_map(trained, attributes=attributes, color="who", shape="depth").wait()
        assert own.controls["color"].options == ("none", "model", "step", "layer", "who", "depth") and [
            name for name, _ in own.view.legend
        ] == ["who", "depth"]
        assert own.view.legend[1][1][-1][0] == "no value" and "depth" not in own.view.notes[4] and own.errors == []


def test_only_some_networks_may_have_cards(trained, monkeypatch):
    x = rs.store.Activations(
        {key: trained[key] for key in trained if key.step == 5}, {"a": {"kind": "mlp"}, "c": {"kind": "cnn"}}
    )
    name_things(monkeypatch, {"x": x})
    e = rs.explorers.embedding_map(x, color="kind").wait()
    assert [label for label, *_ in dict(e.view.legend)["kind"]] == [
        "mlp",
        "cnn",
        "no value",
    ] and "kind" not in e.view.notes[1]
    assert ".reindex(['a', 'b', 'c'])" in e.code() and again(e, x=x).points.equals(e.result.points)


def test_what_was_placed_has_a_ring_though_it_has_a_name_again(rng):
    x = {f"m{k}/h": rng.normal(size=(30, 4)) for k in range(5)}
    made = rs.embedding.mds(rs.compare("cka", x))
    twin = made.add_points(rs.compare("cka", {"m1/h": x["m1/h"]}, x))
    view = ScatterView()
    view.show(rs.spec(twin))
    assert (
        view.labels[1] == view.labels[5]
        and view.ringed == [5]
        and view.legend[-1] == ["ring", [["placed into the map", "#000000", "ring"]]]
    )
    view.show(rs.spec(made))
    assert view.ringed == view.legend == []


def test_an_amount_has_a_scale(rng):
    x = rs.store.Activations(
        {rs.Key(f"m{k}", "h"): rng.normal(size=(30, 3)) for k in range(20)},
        {f"m{k}": {"width": 2.0**k, "half": k % 2} for k in range(20)},
    )
    e = rs.explorers.embedding_map(x, color="width").wait()
    assert e.view.scale[:3] == ["width", 1.0, 2.0**19] and e.view.legend == []
    assert e.controls["color"].options == ("none", "width", "half") and e.controls["shape"].options == (
        "none",
        "half",
    ), "twenty names cannot be distinguished"
    e.controls["shape"].value = "half"
    assert len(e.wait().view.legend) == 1 and e.png()[:4] == b"\x89PNG"


# -- code


def test_the_code_makes_the_same_points_in_every_state(trained, steps, monkeypatch):
    known = pd.DataFrame({"who": ["me", "you", "me"]}, index=["a", "b", "c"])
    rows, arrays = (
        {model: {"who": row.who} for model, row in known.iterrows()},
        {f"{key.model}/{key.layer}": trained[key] for key in trained if key.step == 5},
    )
    names = {"x": trained, "known_models": known, "rows": rows, "arrays": arrays}
    name_things(monkeypatch, names)
    button(steps, "Code").value = True
    for control, value in (
        ("layer", "one"),
        ("kind", "classical"),
        ("color", "kind"),
        ("shape", "rate"),
        ("step", 2),
        ("layer", "all layers"),
        ("color", "step"),
        ("color", "layer"),
        ("kind", "smacof"),
        ("measure", "rsa"),
        ("layer", "two"),
        ("kind", "tsne"),
    ):
        steps.controls[control].value = value
        steps.wait()
        assert again(steps, **names).points.equals(steps.result.points), steps.code()
        assert f"kind={value!r}" in steps.code() or control != "kind" or value == "tsne"
    assert any("rs.embedding.tsne" in text for text in texts(steps)) and steps.errors == []
    for attributes, said in (
        (known, "color=known_models['who']"),
        (rows, "known = pd.DataFrame.from_dict(rows, orient='index')"),
    ):
        own = rs.explorers.embedding_map(trained, attributes=attributes, color="who").wait()
        assert said in own.code() and again(own, **names).points.equals(own.result.points)
    nameless = rs.explorers.embedding_map(trained, attributes=known.copy(), color="who").wait().code()
    assert "# known: the attributes given to this explorer" in nameless and "color=known['who']" in nameless
    plain = rs.explorers.embedding_map(arrays, measure=rs.measures.CKA(kernel="rbf", bandwidth=2.0)).wait()
    assert (
        "arrays = rs.from_arrays(arrays)" in plain.code()
        and "rs.measures.CKA(kernel='rbf', bandwidth=2.0)" in plain.code()
    )
    assert again(plain, **names).points.equals(plain.result.points)


def test_a_store_is_mapped_as_well(tmp_path, mnist):
    store = rs.Store(tmp_path)
    rs.record([f"zoo:{name}" for name in NAMES[:3]], mnist, into=store, progress=False)
    e = rs.explorers.embedding_map(store, color="architecture").wait()
    assert tuple(e.view.labels) == NAMES[:3] and len(set(e.view.colors)) == 2
    assert again(e, activations=store).points.equals(e.result.points)


# -- points that are clicked


def test_one_click_tells_and_two_compare_layers(several):
    e = rs.explorers.embedding_map(several).wait()
    assert "Click a point" in e.detail and e.detail_spec is None
    click(e, 0)
    assert "mnist-cnn-0" in e.detail and "layer: fc" in e.detail and "architecture: cnn" in e.detail
    click(e, 0, 3)
    e.wait()
    assert (
        isinstance(e.detail_spec, MatrixSpec) and e.detail_spec is not None and "mnist-cnn-0 × mnist-vit-0" in e.detail
    )
    table = rs.compare("cka_debiased", several.where(model=NAMES[0]), several.where(model=NAMES[3]))
    assert np.allclose(e.detail_spec.values, table.values) and e.detail_spec.row_labels == table.labels()[0]
    click(e, 2, 2)
    assert np.allclose(np.diag(e.wait().detail_spec.values), 1) and e.errors == []
    e.choose("mnist-mlp-0", "mnist-vit-0")
    assert e.wait().detail_spec.column_title == "layer of mnist-vit-0"
    e.controls["measure"].value = "jsd"
    e.wait().choose("mnist-mlp-0", "mnist-vit-0")
    assert np.shape(e.wait().detail_spec.values) == (1, 1)
    with pytest.raises(ValueError, match="unknown point 'mnist-mlp-7'. Did you mean 'mnist-mlp-0'"):
        e.choose("mnist-mlp-7")
    with pytest.raises(ValueError, match="one point or two; got 3"):
        e.choose(*NAMES[:3])


def test_what_is_chosen_stays_where_only_looks_change(steps):
    click(steps, 0, 7)
    shown = steps.wait().detail_spec.values
    for control, value in (("color", "kind"), ("shape", "model"), ("step", 2)):
        steps.controls[control].value = value
        steps.wait()
        assert (
            steps.view.chosen == [0, 7]
            and steps.detail_spec.values == shown
            and steps.detail_spec is not None
            and "×" in steps.detail
        )
    steps.view.selected = [1, 2]
    steps.controls["color"].value = "none"
    assert steps.wait().view.selected == [1, 2]
    steps.view.selected = []
    for control, value in (("measure", "rsa"), ("layer", "one"), ("kind", "classical")):
        labels = [steps.view.labels[i] for i in steps.view.chosen]
        steps.controls[control].value = value
        steps.wait()
        assert [steps.view.labels[i] for i in steps.view.chosen] == labels and steps.detail_spec is not None
        assert "×" in steps.detail, "the same points of another map"
    assert steps.detail_spec.title.startswith("rsa")
    assert steps.errors == []


def test_a_detail_comes_though_the_looks_change_meanwhile(trained):
    gate = {"slow": False}
    steps = rs.explorers.embedding_map(trained, measure=slowly(0.15, gate)).wait()
    gate["slow"] = True
    click(steps, 0, 7)
    time.sleep(0.1)
    assert "computing" in steps.detail
    steps.controls["color"].value = "kind"
    steps.wait(20)
    assert (
        "computing" not in steps.detail
        and steps.detail_spec is not None
        and len(set(steps.view.colors)) == 2
        and steps.errors == []
    )


def test_a_choice_taken_back_shows_nothing_any_more(trained):
    gate = {"slow": False}
    steps = rs.explorers.embedding_map(trained, measure=slowly(0.1, gate)).wait()
    click(steps, 0, 7)
    steps.wait().view.chosen = []
    assert "Click a point" in steps.detail and steps.detail_spec is None
    gate["slow"] = True
    click(steps, 0, 7)
    steps.view.chosen = []
    steps.wait(20)
    assert "Click a point" in steps.detail and steps.detail_spec is None and not steps.busy


def test_stop_during_the_map_goes_back_to_the_one_before(several):
    gate = {"slow": False}
    e = rs.explorers.embedding_map(several, measure=slowly(0.5, gate), layer="all layers").wait()
    slow = e.controls["measure"].value
    e.controls["layer"].value, e.controls["measure"].value = "last hidden", "cka"
    e.wait()
    before, shown, gate["slow"] = e.png(), e.result, True
    e.controls["measure"].value = slow
    time.sleep(0.2)
    click(e, 0, 1)
    assert "A new map is being computed" in e.detail and e.busy
    e.stop()
    assert (
        e.values()["measure"] == "cka"
        and e.result is shown
        and e.png() == before
        and e.status == "stopped"
        and "Stopped" in e.detail
        and "'cka'" in e.code()
    )
    click(e, 0, 1)
    assert e.wait(20).detail_spec is not None and e.errors == []
    gate["slow"] = False
    e.controls["measure"].value = slow
    assert e.wait(20).result.name == slow


@pytest.mark.parametrize("part", ["map", "shuffled"])
def test_stop_reaches_the_map_itself(several, monkeypatch, part):
    """The map and its chance level come last in a long comparison: there Stop ends the job too, instead
    of leaving it to run unseen.
    """
    e, at, ended = rs.explorers.embedding_map(several, measure="cka").wait(), threading.Event(), threading.Event()
    home, name = (map_explorer.embedding, "mds") if part == "map" else (map_explorer.inference, "chance_values")
    make = getattr(home, name)

    def stopped_midway(*given, progress, **options):
        def tick(*report):
            at.set()
            time.sleep(0.3)
            progress(*report)

        try:
            return make(*given, progress=tick, **options)
        except Stopped:
            ended.set()
            raise

    monkeypatch.setattr(home, name, stopped_midway)
    e.controls["measure"].value = "procrustes"
    assert at.wait(20)
    e.stop()
    assert ended.wait(5) and e.values()["measure"] == "cka" and e.status == "stopped" and e.errors == []


def test_stop_during_the_detail_leaves_the_map(several):
    gate = {"slow": False}
    e = rs.explorers.embedding_map(several, measure=slowly(0.5, gate)).wait()
    before, gate["slow"] = e.png(), True
    click(e, 0, 3)
    time.sleep(0.3)
    assert e.busy and "computing" in e.detail
    e.stop()
    assert not e.busy and e.status == "stopped" and "Stopped" in e.detail
    time.sleep(1.2)
    assert "Stopped" in e.detail and e.detail_spec is None and e.png() == before and e.errors == [], (
        "nothing of it comes later"
    )
    gate["slow"] = False
    click(e, 0, 3)
    assert e.wait(20).detail_spec is not None


def test_a_failed_detail_is_a_sentence_and_the_map_stays(steps, monkeypatch):
    monkeypatch.setattr(map_explorer, "spec", lambda *a: 1 / 0)
    click(steps, 0, 7)
    with pytest.raises(ZeroDivisionError):
        steps.wait()
    assert (
        "ZeroDivisionError" in steps.detail
        and len(steps.errors) == 1
        and steps.message == ""
        and isinstance(steps.spec, MapSpec)
    )
    monkeypatch.undo()
    click(steps, 0, 7)
    assert steps.wait().detail_spec is not None


def test_after_an_error_what_was_chosen_is_told_again(several):
    e = rs.explorers.embedding_map(several).wait()
    click(e, 0, 3)
    e.wait().controls["kind"].value = "tsne"
    with pytest.raises(ValueError, match="7 points"):
        e.wait()
    assert e.detail == "" and e.detail_spec is None
    e.controls["kind"].value = "smacof"
    e.wait()
    assert e.view.chosen == [0, 3] and "×" in e.detail and e.detail_spec is not None


def test_a_lasso_says_how_alike_they_are(several):
    e = rs.explorers.embedding_map(several, measure="cka").wait()
    table = rs.compare("cka", several.where(layer=-2)).values.to_numpy()
    e.view.selected = [0, 1, 2]
    among, rest = table[[0, 0, 1], [1, 2, 2]].mean(), table[:3, 3].mean()
    assert (
        f"among themselves {among:.3f}, with the rest {rest:.3f} (larger is more alike)" in e.detail
        and "<b>3 points</b>" in e.detail
        and "mnist-mlp-0" in e.detail
    )
    e.view.selected = [3]
    assert "<b>1 point</b>" in e.detail and "among" not in e.detail and "with the rest" in e.detail
    e.view.selected = [0, 1, 2, 3]
    assert "with the rest" not in e.detail
    e.view.selected = []
    assert "Click a point" in e.detail
    e.controls["measure"].value = "procrustes"
    e.wait().view.selected = [0, 1]
    assert "larger is less alike" in e.detail and e.errors == []


# -- clicks that come while something is delivered


def sent(view, **state):
    """What a click in the browser sets, all at once."""
    view.set_state(state)


def test_late_clicks_are_about_a_map_that_is_gone(several):
    e = rs.explorers.embedding_map(several).wait()
    before = e.view.picture
    sent(e.view, chosen=[1], presses=1, seen=before)
    assert "mnist-cnn-1" in e.detail
    e.controls["layer"].value = "all layers"
    e.wait()
    assert e.view.picture != before and "Click a point" in e.detail
    sent(e.view, chosen=[2], presses=2, seen=before)
    sent(e.view, selected=[0, 1], seen=before)
    assert e.view.chosen == e.view.selected == [] and "Click a point" in e.detail and not e.busy
    sent(e.view, chosen=[2], presses=3, seen=e.view.picture)
    assert e.view.labels[2] in e.detail
    now = e.view.picture
    e.controls["color"].value = "architecture"
    assert e.wait().view.picture == now, "the same points"


@pytest.mark.parametrize("trait", ["presses", "selected"])
def test_clicks_wait_for_a_delivery(several, monkeypatch, trait):
    """A click that comes in the middle of a delivery is answered after it: nothing about a new map is shown under
    the labels of the old one.
    """
    e = rs.explorers.embedding_map(several).wait()
    filling, done, show = threading.Event(), [], ScatterView.show

    def slow(view, shown):
        filling.set()
        time.sleep(0.3)
        done.append(show(view, shown))

    monkeypatch.setattr(ScatterView, "show", slow)
    e.controls["layer"].value = "all layers"
    assert filling.wait(20)
    sent(e.view, **({"chosen": [3], "presses": 1} if trait == "presses" else {"selected": [0, 3]}), seen=e.view.picture)
    assert done == [None] and "Click a point" in e.detail, "it was delivered first, and the click was dropped"
    assert len(e.wait().view.labels) > 4 and e.view.chosen == e.view.selected == [] and e.errors == []


def test_after_a_failed_drawing_nothing_is_told_of_the_map_before(several):
    e = rs.explorers.embedding_map(several.where(layer=-2), measure="cka").wait()
    said = e.detail
    e.controls["measure"].value = "jsd"
    with pytest.raises(ValueError, match="outputs of models"):
        e.wait()
    e.view.selected = [0, 1]
    e.view.chosen = [0]
    e.view.presses += 1
    assert e.detail == "" and len(e.errors) == 1
    e.controls["measure"].value = "cka"
    e.wait()
    assert said != e.detail and "layer: " in e.detail


# -- what is saved, and what is refused


def test_the_bundle_holds_the_map_as_it_looks(steps):
    first = steps.png()
    steps.controls["color"].value = "kind"
    steps.wait()
    bundle = steps.bundle()
    assert (
        steps.png() != first
        and {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"} <= bundle.keys()
        and "Embedding" in bundle["text/plain"]
    )


def test_bad_choices_teach(several, trained, rng):
    with pytest.raises(TypeError, match="takes activations by key"):
        rs.explorers.embedding_map(np.eye(3))
    with pytest.raises(ValueError, match="this dict is empty. Record something first"):
        rs.explorers.embedding_map({})
    with pytest.raises(ValueError, match="at least 3 models .*got 'mnist-cnn-0', 'mnist-cnn-1'.*explorers.comparison"):
        rs.explorers.embedding_map(several.where(model=NAMES[:2]))
    with pytest.raises(ValueError, match="got 'a'"):
        rs.explorers.embedding_map({"a/one": rng.normal(size=(9, 2)), "a/two": rng.normal(size=(9, 2))})
    other = rs.store.Activations({key._replace(dataset="other"): several[key] for key in several})
    with pytest.raises(
        ValueError,
        match=(
            r"of 2 data sets, so that their samples do not correspond: .*'other'. Choose one: "
            r"x.where\(dataset='mnist/test"
        ),
    ):
        rs.explorers.embedding_map(several | other)
    pooled = rs.store.Activations({key._replace(pool="mean"): several[key] for key in several})
    with pytest.raises(ValueError, match="of 2 pools"):
        rs.explorers.embedding_map(several | pooled)
    for options, sentence in (
        ({"measure": "ckaa"}, "unknown measure 'ckaa'. Did you mean 'cka'"),
        ({"layer": "last hiden"}, "unknown layer 'last hiden'. Did you mean 'last hidden'"),
        ({"kind": "smacoff"}, "unknown kind of map 'smacoff'. Did you mean 'smacof'"),
        ({"color": "architectur"}, "unknown color 'architectur'. Did you mean 'architecture'"),
        ({"shape": "modle"}, "unknown shape 'modle'. Did you mean 'model'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            rs.explorers.embedding_map(several, **options)
    with pytest.raises(
        ValueError, match="attributes must have one row for each model; there is none for 'c', only for 'a', 'b'"
    ):
        rs.explorers.embedding_map(trained, attributes={"a": {"k": 1}, "b": {"k": 2}})
    with pytest.raises(ValueError, match="one row for each model; 'a' has several"):
        rs.explorers.embedding_map(trained, attributes=pd.DataFrame({"k": [1, 2, 3, 4]}, index=["a", "a", "b", "c"]))
    uneven = {"a/h": rng.normal(size=(9, 2)), "b/h": rng.normal(size=(9, 2)), "c/h": rng.normal(size=(8, 2))}
    e = rs.explorers.embedding_map(uneven)
    with pytest.raises(ValueError, match="same samples"):
        e.wait()
    assert "same samples" in e.message


def test_one_attribute_may_be_a_series_or_a_value_a_model(recorded):
    kinds = {"mnist-cnn-0": "cnn", "mnist-cnn-1": "cnn", "mnist-mlp-0": "mlp"}
    for given, name in ((kinds, "attribute"), (pd.Series(kinds, name="kind"), "kind")):
        e = rs.explorers.embedding_map(recorded, attributes=given, color=name).wait()
        assert [entry[0] for entry in e.view.legend[0][1]] == ["cnn", "mlp"]
    with pytest.raises(
        TypeError, match="attributes must be a DataFrame with one row for each model, or {model: value}; got list"
    ):
        rs.explorers.embedding_map(recorded, attributes=[1, 2, 3])
    with pytest.raises(ValueError, match="arrays of several models are called 'model/layer'"):
        rs.explorers.embedding_map({name: np.eye(5) for name in "abc"})


@pytest.fixture(scope="module")
def many():
    """More models than a map is drawn of at once."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(5, 20, 4))
    return rs.from_arrays({rs.Key(f"model-{i}", "fc"): centres[i % 5] + rng.normal(size=(20, 4)) for i in range(160)})


def test_a_large_map_is_the_classical_one_at_first_and_then_improves(many, monkeypatch):
    monkeypatch.setattr("repsim_nb.results.embedding.maps.BETWEEN_MAPS", 0.0)
    seen, show = [], ScatterView.show
    monkeypatch.setattr(ScatterView, "show", lambda view, shown: (seen.append(shown), show(view, shown)))
    e = rs.explorers.embedding_map(many, measure="cka").wait()
    first, last = seen[0], seen[-1]
    assert len(seen) > 2 and "classical MDS" in first.title and "SMACOF" in last.title
    assert first.remark == map_explorer.PRELIMINARY == seen[-2].remark and "chance level" in last.remark
    assert e.result.points.equals(rs.embedding.mds(rs.compare("cka", many)).points) and e.errors == []
    classical = rs.embedding.mds(rs.compare("cka", many), kind="classical").points
    assert np.allclose(first.points, classical, atol=1e-9)


def test_stop_leaves_the_map_that_was_reached(many, monkeypatch):
    mds, first, ended = rs.embedding.mds, threading.Event(), threading.Event()

    def slow(*given, watch, **options):
        def show(found):
            watch(found)
            first.set()
            time.sleep(0.5)
            try:
                watch(found)
            except Stopped:
                ended.set()
                raise

        return mds(*given, watch=show, **options)

    monkeypatch.setattr(map_explorer.embedding, "mds", slow)
    e = rs.explorers.embedding_map(many, measure="cka")
    assert first.wait(20)
    before = time.monotonic()
    e.stop()
    assert time.monotonic() - before < 0.2 and not e.busy and e.status == "stopped"
    assert ended.wait(5), "the work ends, too"
    assert e.result.kind == "classical" and e.spec.remark == map_explorer.PRELIMINARY and not e.message
    click(e, 3)
    assert "model-3" in e.detail
    monkeypatch.undo()
    e.controls["kind"].value = "classical"
    assert e.wait().result.kind == "classical" and e.spec.remark != map_explorer.PRELIMINARY


def test_a_cell_does_not_wait_for_a_map_that_is_being_improved():
    work, gate, shown = Worker(lambda *report: None), threading.Event(), []

    def job(tick):
        work.call_from_job(lambda: shown.append("a part"))
        assert gate.wait(10)

    work.submit(job, lambda result, error: shown.append(error))
    before = time.monotonic()
    work.wait_for_part(8)
    assert time.monotonic() - before < 5 and shown == ["a part"]
    gate.set()
    work.join(10)
    assert shown == ["a part", None]


def test_another_request_replaces_a_map_that_is_being_improved(many, monkeypatch):
    mds, first = rs.embedding.mds, threading.Event()

    def endless(*given, watch=None, **options):
        if options["kind"] == "classical":
            return mds(*given, **options)

        def show(found):
            while True:
                watch(found)
                first.set()
                time.sleep(0.01)

        return mds(*given, watch=show, **options)

    monkeypatch.setattr(map_explorer.embedding, "mds", endless)
    e = rs.explorers.embedding_map(many, measure="cka")
    assert first.wait(20)
    e.controls["kind"].value = "classical"
    assert e.wait(20).result.kind == "classical" and e.spec.remark != map_explorer.PRELIMINARY
