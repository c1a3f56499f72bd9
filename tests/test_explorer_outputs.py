"""What explorers open with, give away and say: data, figures, code, and the small texts around them."""

import re

import ipywidgets as widgets
import numpy as np
import pytest
from explorer_state import button, parts
from matplotlib.figure import Figure
from torch import nn

import repsim_nb as rs
from repsim_nb.display import views
from repsim_nb.display.views import MatrixView
from repsim_nb.display.views.visible import visible_spec
from repsim_nb.support.progress import show_progress
from repsim_nb.support.summaries import count_of


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(40, 5))
    names = [f"{model}/{layer}" for model in "abc" for layer in ("one", "two")]
    return rs.from_arrays({name: base @ rng.normal(size=(5, 4)) for name in names})


def test_what_is_selected_is_data(layers):
    table = rs.explorers.comparison(layers, measure="cka").wait()
    assert len(table.selected) == 0
    table.choose("one", "two")
    row = table.wait().selected.iloc[0]
    assert (row["layer_row"], row["layer_column"]) == ("one", "two")
    assert row["value"] == table.result.values.iloc[0, 1]
    points = rs.explorers.embedding_map(layers, measure="cka").wait()
    assert len(points.selected) == 0
    points.view.selected = [0, 2]
    assert points.selected.equals(points.result.points.iloc[[0, 2]])
    own = rs.explorers.explore(
        lambda k: rs.specs.MatrixSpec(((0.0, 0.5),), ("r",), ("c", "d"), title=str(k)), k=[1]
    ).wait()
    own.view.press([0, 1])
    assert own.selected.to_dict("list") == {"row": ["r"], "column": ["d"], "value": [0.5]}


def test_a_picture_is_a_figure(layers):
    def drawn(k):
        figure = Figure(figsize=(2, 1))
        figure.add_subplot().set_title(f"k = {k}")
        return figure

    assert rs.explorers.explore(drawn, k=[7]).wait().figure().axes[0].get_title() == "k = 7"
    table = rs.explorers.comparison(layers, measure="cka").wait()
    assert table.figure().axes[0].get_title().startswith("cka: a × b")
    wrong = rs.explorers.explore(lambda k: 1 / k, k=[0])
    with pytest.raises(ZeroDivisionError):
        wrong.wait()
    with pytest.raises(ValueError, match="There is no picture"):
        wrong.figure()


def test_a_figure_has_the_filter_and_the_scale_of_the_view(layers):
    e = rs.explorers.comparison(layers, measure="cka").wait()
    whole = e.png()
    e.view.filter, e.view.scaling = "two", "free"
    shown = e.figure().axes[0]
    value = e.result.values.to_numpy()[1, 1]
    assert [label.get_text() for axis in (shown.xaxis, shown.yaxis) for label in axis.get_ticklabels()] == ["two"] * 2
    np.testing.assert_allclose(shown.images[0].get_array().filled(), [[value]])
    assert shown.images[0].get_clim() == (e.spec.low, e.spec.high), "a single value has no scale"
    e.view.filter = ""
    every = e.result.values.to_numpy()
    assert e.figure().axes[0].images[0].get_clim() == (every.min(), every.max())
    e.view.scaling, e.view.limits = "locked", [-1.0, 2.0]
    assert e.figure().axes[0].images[0].get_clim() == (-1, 2) and e.png() != whole
    e.view.scaling = "measure"
    assert e.png() == whole


def test_a_filtered_spec_keeps_what_belongs_to_its_cells():
    values = tuple(tuple(float(10 * i + j) for j in range(4)) for i in range(4))
    shown = rs.specs.MatrixSpec(
        values, *[("a x", "a y", "b x", "b y")] * 2, texts=tuple(tuple(f"{v:g}" for v in row) for row in values),
        notes=((0, 2, "why"), (1, 1, "gone")), marks=((2, 0), (3, 3)), row_breaks=(2,), column_breaks=(2, 3),
    )  # fmt: skip
    view = MatrixView(filter="X")
    part = visible_spec(shown, view)
    assert part.values == ((0, 2), (20, 22)) and part.texts == (("0", "2"), ("20", "22"))
    assert part.row_labels == part.column_labels == ("a x", "b x")
    assert part.notes == ((0, 1, "why"),) and part.marks == ((1, 0),)
    assert part.row_breaks == (1,) and part.column_breaks == (1,)
    assert visible_spec(shown, MatrixView(filter="nothing like it")) == shown == visible_spec(shown, MatrixView())
    assert visible_spec(rs.specs.ImageSpec("iVBORw0KGgo="), view) == rs.specs.ImageSpec("iVBORw0KGgo=")
    even = rs.specs.MatrixSpec(((-0.1, 0.4),), ("a",), ("b", "c"), low=-1.0, high=1.0)
    free = visible_spec(even, MatrixView(scaling="free"))
    assert (free.low, free.high) == (-0.4, 0.4), "0 stays in the middle"


def test_reasons_that_are_the_same_are_one(rng):
    broken = np.full((20, 3), np.nan)
    x = rs.from_arrays({"a/one": broken, "b/one": rng.normal(size=(20, 3))})
    e = rs.explorers.comparison(x).wait()
    e.choose("one", "one")
    e.wait()
    found = re.findall("<li>(.*?)</li>", e.detail)
    assert len(found) == 1 and found[0].startswith("cka_debiased, cka, ") and found[0].count("holds") == 1
    assert e.view.most_rows == 1


def test_an_attribute_that_color_cannot_show_has_a_reason(layers):
    known = {model: {"family": model, "same": 1} for model in "abc"} | {"d": {"family": "d", "same": 1}}
    many = rs.from_arrays({f"m{k}/one": layers["a/one"] + k for k in range(20)})
    families = {f"m{k}": {"family": f"f{k % 19}", "same": 1} for k in range(20)}
    with pytest.raises(ValueError, match="color can show an attribute with 2 to 12 values or numbers; 'family' has 19"):
        rs.explorers.embedding_map(many, attributes=families, color="family")
    with pytest.raises(ValueError, match="'same' has one value for all models"):
        rs.explorers.embedding_map(layers, attributes=known, shape="same")


def test_an_image_has_buttons_for_its_files(layers):
    def drawn(k):
        figure = Figure(figsize=(2, 1))
        figure.add_subplot().set_title(f"k = {k}")
        return figure

    e = rs.explorers.explore(drawn, k=[7]).wait()
    files = next(part for part in parts(e) if isinstance(part, views.FileButtons))
    assert files.layout.display == "" and files.answer({"ask": "svg"})["svg"].lstrip().startswith("<?xml")
    table = rs.explorers.comparison(layers, measure="cka").wait()
    assert next(part for part in parts(table) if isinstance(part, views.FileButtons)).layout.display == "none"
    image = rs.explorers.explore(lambda k: rs.specs.ImageSpec("iVBORw0KGgo="), k=[1]).wait()
    files = next(part for part in parts(image) if isinstance(part, views.FileButtons))
    assert "ValueError: This picture is an image" in files.answer({"ask": "svg"})["error"]


def test_the_code_can_be_copied_before_it_is_shown(layers):
    e = rs.explorers.comparison(layers, measure="cka").wait()
    copy = next(part for part in parts(e) if isinstance(part, views.CopyButton))
    assert copy.text == e.code() and not button(e, "Code").value
    e.controls["measure"].value = "rsa"
    assert copy.text == e.wait().code() and "'rsa'" in copy.text


def test_a_picture_that_is_kept_is_shown_small(layers, monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: None)
    e = rs.explorers.comparison(layers, measure="cka").wait()
    e._ipython_display_()
    e.snapshot()
    small = [
        part.value for part in parts(e) if isinstance(part, widgets.HTML) and "picture that was kept" in part.value
    ]
    assert len(small) == 1 and len(small[0]) < 20_000 and "picture kept" in e.status


def test_steps_have_a_player_and_two_points_of_one_layer_a_sentence(layers):
    rng = np.random.default_rng(1)
    steps = rs.store.Activations(
        {rs.Key(model, "fc", "d", step): rng.normal(size=(30, 4)) for model in "ab" for step in (0, 1, 2)}
    )
    e = rs.explorers.embedding_map(steps, measure="cka").wait()
    player = next(part for part in parts(e) if isinstance(part, widgets.Play))
    assert (player.min, player.max) == (0, 2) and e.controls["color"].value == "step" and e.view.scale[0] == "step"
    e.choose("a/0", "b/2")
    value = rs.compare("cka", steps).values.iloc[0, 5]
    assert f"cka {value:.4f}" in e.wait().detail and "Record all layers" in e.detail and e.detail_spec is None
    two = rs.explorers.embedding_map(layers, measure="cka").wait()
    two.choose("a", "b")
    assert two.wait().detail_spec is not None


def test_a_selection_slider_of_ones_own_gets_a_player_that_begins_where_it_is(layers):
    step = widgets.SelectionSlider(options=[1, 10, 100], value=10)
    e = rs.explorers.explore(lambda step: rs.compare("cka", layers), step=step).wait()
    (player,) = (part for part in parts(e) if isinstance(part, widgets.Play))
    assert (player.min, player.max, player.value) == (0, 2, 1) and e.values() == {"step": 10}
    assert not any(isinstance(part, widgets.Play) for part in parts(rs.explorers.explore(lambda a: step, a=(1, 3))))


def test_it_opens_with_models_of_the_data():
    e = rs.explorers.model_pair(rs.load_dataset("fashion", n=20)).wait()
    assert e.values()["a"].startswith("fashion-") and e.values()["b"].startswith("fashion-")
    assert e.values()["a"] != e.values()["b"]
    named = rs.explorers.model_pair(rs.load_dataset("fashion", n=20), b="fashion-cnn-0").wait()
    assert named.values()["b"] == "fashion-cnn-0" != named.values()["a"]


def test_color_scales_end_near_the_values(layers):
    shown = rs.spec(rs.compare("procrustes", layers))
    largest = max(value for row in shown.values for value in row)
    assert largest <= shown.high < largest + 0.2 and shown.low == 0
    assert rs.spec(rs.compare("cka", layers)).high == 1


# -- small texts


def test_numbers_and_their_nouns_agree():
    assert [count_of(k, "model") for k in (0, 1, 2)] == ["0 models", "1 model", "2 models"]
    assert "no classes" in repr(rs.Dataset("mine", np.zeros((5, 3)))) and "classes" in repr(
        rs.load_dataset("mnist", n=9)
    )


def test_short_work_leaves_no_line_in_a_log(capsys):
    with show_progress(True, "recording", "sample"):
        pass
    with show_progress(True, "recording", "sample") as tick:
        tick(1, 2)
        tick(2, 2)
    assert capsys.readouterr().err.strip() == ""


def test_untrained_models_have_no_data_among_their_facts(mnist):
    x = rs.record(["zoo:mnist-mlp-0", "zoo:untrained-mlp-0"], mnist.take(range(20), "few"), layers=-2, progress=False)
    assert {model: facts["data"] for model, facts in x.facts.items()} == {
        "mnist-mlp-0": "mnist",
        "untrained-mlp-0": "none",
    }


def test_a_layer_that_is_the_output_is_explained(rng):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    x = rs.record(model, rng.normal(size=(20, 4)).astype("float32"), progress=False)
    assert "1" in rs.load_model(model).describe(rng.normal(size=(2, 4)).astype("float32")).index
    with pytest.raises(
        ValueError, match="unknown layer '1'.*returns the output unchanged is recorded once, as 'output'"
    ):
        x.where(layer="1")
    assert [key.layer for key in rs.record(model, rng.normal(size=(20, 4)).astype("float32"), layers=["1"])] == ["1"]
