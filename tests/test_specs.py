"""Specs: frozen values that come back whole from JSON, and that every renderer shows alike."""

import json
from dataclasses import FrozenInstanceError, fields

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import repsim_nb as rs
from repsim_nb import plots, specs
from repsim_nb.display.specs.matrices import grid_spec
from repsim_nb.display.views import KINDS, VIEWS, MatrixView, ScatterView, view_state


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(0)
    x = {rs.Key(model, layer, "d"): rng.normal(size=(40, 5)) for model in "abc" for layer in ("one", "two")}
    alone = rs.compare(
        "mean_cca", {"a": rng.normal(size=(20, 15)), "b": x["a", "one", "d", 0, "flatten"][:20]}, on_undefined="mask"
    )
    table = rs.compare("cka", rs.store.Activations(x))
    return {
        "comparison": table,
        "undefined": alone,
        "null_table": rs.inference.null_table("cka", x),
        "embedding": rs.embedding.mds(table),
        "placed": rs.embedding.mds(table).add_points(
            rs.compare("cka", {rs.Key("a", "three", "d"): x[next(iter(x))]}, x)
        ),
        "curves": pd.DataFrame({"cka": [0.1, 0.4], "mine": [0.2, np.nan]}, index=["first", "last"]),
        "test": rs.inference.anosim(table, "model"),
        "benchmark": rs.grounding.benchmark(
            {rs.Key(m, "one"): rng.normal(size=(30, 4)) for m in "abcde"},
            dict(zip("abcde", (0.1, 0.5, 0.9, 0.3, 0.7), strict=True)),
            measures=["cka"],
            n_bootstrap=20,
        ),
        "specificity": rs.grounding.specificity(x, "procrustes"),
        "sensitivity": rs.grounding.sensitivity(
            {key: x[key] for key in x if key.layer == "one"}, measures=["cka"], damage="noise", amounts=[0.1], draws=1
        ),
        "probe": rs.probes.dataset_bias({key: x[key] for key in x if key.layer == "one"}, n_permutations=19),
    }


VIEWED = ("comparison", "undefined", "null_table", "embedding", "placed", "probe")
NAMES = (*VIEWED, "curves", "test", "benchmark", "specificity", "sensitivity")


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_comes_back_from_json_and_draws_the_same(results, name):
    shown = rs.spec(results[name])
    again = specs.Spec.from_json(shown.to_json())
    assert again == shown and type(again) is type(shown) and hash(again) == hash(shown)
    assert plots.png(again) == plots.png(shown)
    with pytest.raises(FrozenInstanceError):
        shown.size = (1.0, 1.0)


@pytest.mark.parametrize("name", VIEWED)
def test_a_picture_and_a_view_show_one_spec(results, name):
    shown = rs.spec(results[name])
    ax, view = plots.draw(shown), VIEWS[type(shown)]()
    view.show(shown)
    assert view.title == shown.title and shown.title.split(" (")[0] in ax.get_title().replace("\n", " ")
    if isinstance(view, MatrixView):
        assert [t.get_text() for t in ax.get_yticklabels()] == view.row_labels == list(shown.row_labels)
        drawn = ax.images[0].get_array().filled(np.nan)
        assert np.array_equal(drawn, np.array(view.values, float), equal_nan=True) and len(view.colors) == 256
        assert [text for row in view.texts for text in row if text] == [t.get_text() for t in ax.texts]
        assert view.notes == {f"{i},{j}": why for i, j, why in shown.notes} and ax.images[0].get_clim() == (
            view.low,
            view.high,
        )
    else:
        assert isinstance(view, ScatterView) and view.points == [list(point) for point in shown.points]
        assert bool(view.ringed) == (name == "placed") == any(c.get_gid() == "ring" for c in ax.collections)
        assert view.footer.split(",")[0] in ax.get_xlabel().replace("\n", " ")


def test_a_plot_takes_the_spec_too(results):
    for plot, name in ((plots.heatmap, "comparison"), (plots.embedding, "embedding"), (plots.confusion, "probe")):
        shown = rs.spec(results[name])
        assert plot(shown).get_title() == plot(results[name]).get_title()
        assert plot(shown, title="mine").get_title().split("\n")[0] == "mine"


def test_reasons_of_undefined_cells_are_in_the_spec(results):
    shown = rs.spec(results["undefined"])
    assert {(i, j) for i, j, _ in shown.notes} == {
        (i, j) for i, row in enumerate(shown.values) for j, value in enumerate(row) if value is None
    } and all("rank" in why for *_, why in shown.notes)


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=8)


@given(st.data())
def test_any_spec_comes_back_from_json(data):
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    values = tuple(tuple(data.draw(numbers) for _ in range(columns)) for _ in range(rows))
    matrix = specs.MatrixSpec(
        values,
        tuple(data.draw(words) for _ in range(rows)),
        tuple(data.draw(words) for _ in range(columns)),
        title=data.draw(words),
        notes=tuple((i, j, data.draw(words)) for i in range(rows) for j in range(columns) if values[i][j] is None),
        ticks=specs.Ticks(all=data.draw(st.booleans())),
        size=(data.draw(st.floats(1, 9)), 3.0),
    )
    points = tuple((float(i), float(i)) for i in range(rows))
    each = tuple(data.draw(words) for _ in range(rows))
    mapped = specs.MapSpec(
        points, each, each, each, (True,) * rows, scale=("x", 0.0, 1.0, each), runs=((0,),), unit=None
    )
    for shown in (matrix, mapped, specs.ImageSpec(data.draw(words))):
        assert type(shown).from_json(shown.to_json()) == shown == specs.Spec.from_json(shown.to_json())


def test_what_is_no_spec_is_refused(results):
    text = rs.spec(results["comparison"]).to_json()
    with pytest.raises(ValueError, match="reads a MapSpec; got a MatrixSpec"):
        specs.MapSpec.from_json(text)
    for wrong in ("[1]", "3", '{"spec": "MapSpec"}', '{"title": "x"}', json.dumps({**json.loads(text), "colour": 1})):
        with pytest.raises(ValueError):
            specs.Spec.from_json(wrong)
    with pytest.raises(ValueError, match="unknown kind of spec 'MatrixSpek'. Did you mean 'MatrixSpec'"):
        specs.Spec.from_json('{"spec": "MatrixSpek"}')
    with pytest.raises(TypeError, match="spec takes one of .*'Comparison'.*; got dict"):
        rs.spec({})
    with pytest.raises(TypeError, match="draw takes what rs.spec.* returns; got Comparison"):
        plots.draw(results["comparison"])


def test_the_color_maps_are_those_of_matplotlib():
    for name in ("viridis", "viridis_r", "PuOr"):
        expected = [mpl.colors.to_hex(color) for color in mpl.colormaps[name](np.linspace(0, 1, 256))]
        assert list(specs.MatrixSpec(((0.0,),), ("a",), ("b",), color_map=name).colors) == expected


def test_a_figure_is_kept_as_an_image():
    figure = Figure(figsize=(2, 1))
    shown = rs.spec(figure)
    assert plots.png(shown)[:4] == b"\x89PNG" and shown.size == (2, 1)
    drawn = plt.subplots()[1]
    assert rs.spec(drawn).size == tuple(drawn.figure.get_size_inches()) and not plt.get_fignums(), "shown once"


class Mine:
    """A kind of result of a user."""


def test_one_function_makes_a_new_kind_of_result_drawable_everywhere():
    @rs.spec.register
    def mine_spec(result: Mine, *, title: str = "mine") -> specs.MatrixSpec:
        return specs.MatrixSpec(((0.25, 1.0),), ("a",), ("b", "c"), title=title, texts=(("0.25", "1.00"),))

    assert plots.draw(rs.spec(Mine(), title="ours")).get_title() == "ours"
    explorer = rs.explorers.explore(lambda: Mine()).wait()
    assert isinstance(explorer.view, MatrixView) and explorer.view.title == "mine" and explorer.png()[:4] == b"\x89PNG"
    assert explorer.bundle()["image/png"], "what a report shows"


def test_a_result_without_a_view_is_shown_as_its_picture(results):
    for name in ("sensitivity",):
        explorer = rs.explorers.explore(lambda name=name: results[name]).wait()
        assert explorer.spec == rs.spec(results[name]) and explorer.view.value == explorer.png()
        assert explorer.png() == plots.png(explorer.spec)


def test_lines_have_a_view(results):
    for name in ("benchmark", "curves"):
        explorer = rs.explorers.explore(lambda name=name: results[name]).wait()
        assert explorer.spec == rs.spec(results[name]) and type(explorer.view).__name__ == "LinesView"
        assert [layer["label"] for layer in explorer.view.layers] == [layer.label for layer in explorer.spec.layers]
        assert explorer.view.title == explorer.spec.title and explorer.png() == plots.png(explorer.spec)


def test_specs_say_what_their_fields_are():
    for kind in (*specs.Spec.__subclasses__(), *specs.FigureSpec.__subclasses__()):
        for field in fields(kind):
            assert field.name in kind.__doc__ + specs.FigureSpec.__doc__, (kind, field.name)


def test_a_frame_of_numbers_has_a_spec_as_well():
    frame = pd.DataFrame([[0.5, np.nan]], index=["a"], columns=["b", "c"])
    shown = grid_spec(frame, label="share")
    assert shown.values == ((0.5, None),) and shown.texts == (("0.50", ""),) and plots.draw(shown).texts


@pytest.mark.parametrize(
    "kind, in_pictures_only",
    [
        (specs.MatrixSpec, {"color_map", "annotate", "bare_below", "bar_ticks", "ticks", "square", "wrap", "size"}),
        (specs.MapSpec, {"names", "path", "remark", "meaning", "unit", "size"}),  # a view writes names where they fit
        (specs.LineSpec, {"size"}),
    ],
)
def test_a_view_leaves_out_only_how_a_picture_is_laid_out(results, kind, in_pictures_only):
    """A new field of a spec reaches the views, or is named here."""
    drawn = {specs.MatrixSpec: "comparison", specs.MapSpec: "embedding"}
    state = view_state(rs.spec(results[drawn[kind]]) if kind in drawn else specs.LineSpec(()))
    assert kind in KINDS
    assert {field.name for field in fields(kind)} - set(state) == in_pictures_only


def test_a_layer_reaches_a_view_with_all_its_fields():
    layer = specs.Layer("points", (1.0,), (2.0,), size=4.0)
    state = view_state(specs.LineSpec((layer,)))["layers"][0]
    assert set(state) == {field.name for field in fields(layer)} and state["size"] == 4.0, "of the mark"
