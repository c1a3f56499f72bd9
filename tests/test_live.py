"""Live pictures of reports: what a notebook holds of them, and the page that is written from it."""

import html
import itertools
import json
import math
import re
from decimal import ROUND_HALF_UP, Decimal

import nbformat
import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.display.reports import live_pictures as module
from repsim_nb.display.reports.interactive import fragment, script_json, scripts
from repsim_nb.display.specs.matrices import texts_of
from repsim_nb.display.views import script, style

EVIL = "</script><b>x</b><!-- \u2028 & 'a\" $y$"


def matrix(rows=2, columns=2, seed=0, **fields):
    values = np.random.default_rng(seed).uniform(size=(rows, columns))
    labels = [tuple(f"{axis} {i}" for i in range(count)) for axis, count in (("row", rows), ("column", columns))]
    texts = texts_of(values, 0.0, 1.0)
    return rs.specs.MatrixSpec(tuple(map(tuple, values.tolist())), *labels, **{"texts": texts, **fields})


def a_map(n=4, **fields):
    points = tuple(map(tuple, np.random.default_rng(0).normal(size=(n, 2)).tolist()))
    labels = tuple(f"p{i}" for i in range(n))
    return rs.specs.MapSpec(points, labels, ("#0072B2",) * n, ("o",) * n, (True,) * n, **fields)


def page_of(folder, *bundles):
    """The page of a notebook with these outputs, one a cell."""
    cells = [
        nbformat.v4.new_code_cell("shown", outputs=[nbformat.v4.new_output("display_data", data=bundle)])
        for bundle in bundles
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "a.ipynb")
    return rs.reports.to_html(folder / "a.ipynb").read_text()


def states(page):
    """The pictures that the scripts of a page read."""
    return [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]


@pytest.mark.parametrize(
    "low, high", [(0.0, 1.0), (-0.3, 1.0), (0.0, 2.0), (0.91, 0.93), (0.0, 1e-5), (3.0, 3.0), (-40.0, 1e6)]
)
def test_fewer_digits_show_the_same(low, high):
    """The text of the tooltip and the color of the cell, as JavaScript rounds."""
    rng = np.random.default_rng(0)
    span = high - low or 1.0
    ties = low + span * (np.arange(100) + 0.5) / 255  # between two colors
    halves = np.round(rng.uniform(low, low + span, 100), 4) + 5e-5 * rng.choice([-1, 1], 100)  # between two texts
    values = np.concatenate([rng.uniform(low, low + span, 400), ties, halves, np.nextafter(halves, 9e9), [0.03125]])
    shown = rs.specs.MatrixSpec((tuple(values.tolist()),), ("a",), ("b",) * len(values), low=low, high=high)
    short = np.array(module.shorten(shown).values[0])
    places = (max(2, 1 + math.ceil(-math.log10(high - low))) if high > low else 2) + 2

    def drawn(value):
        color = math.floor((value - low) / (high - low) * 255 + 0.5) if high > low else 0
        cell = f"{value:z.{places - 2}f}"
        return cell, Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP), color

    assert list(map(drawn, short.tolist())) == list(map(drawn, values.tolist()))
    np.testing.assert_allclose(short, values, rtol=1e-5)
    lengths = [sum(len(repr(v)) for v in numbers.tolist()) for numbers in (short, values)]
    assert lengths[0] < (0.6 if high <= 2 else 0.9) * lengths[1]


def test_undefined_cells_and_maps_are_shortened_too():
    hole = matrix(notes=((0, 0, "why"),))
    hole = rs.spec(hole, values=((None, 0.123456789), hole.values[1]))
    assert module.shorten(hole).values[0] == (None, 0.123457)
    shown = a_map(50)
    short = np.array(module.shorten(shown).points)
    assert np.abs(short - shown.points).max() < 1e-4 and not np.array_equal(short, shown.points)
    lone = rs.spec(a_map(1), points=((3.25, -1.5),))
    assert module.shorten(lone).points == ((3.25, -1.5),)


def test_a_notebook_holds_what_the_pictures_show():
    own = matrix(texts=(("a", "b"), ("c", "d")))
    picture = rs.reports.live({"cka": [matrix(), own], "rsa": a_map(title="a map")}, label="what")
    bundle = picture._repr_mimebundle_()
    assert (
        set(bundle) == {"image/png", "text/plain", module.MIME} and bundle["text/plain"] == "LivePicture of cka; a map"
    )
    data = bundle[module.MIME]
    assert nbformat.v4.new_output("display_data", data=bundle) and isinstance(data["pictures"], str)
    ((first, (one, two)), (second, (three,))), label, chosen = module.read_data(data)
    assert (first, second, label, chosen) == ("cka", "rsa", "what", 0)
    assert one == module.shorten(matrix()) and two.texts == own.texts and three == module.shorten(a_map(title="a map"))
    assert data["pictures"].count('"texts":null') == 1, "these texts follow from the numbers"


def test_maps_of_the_same_points_are_next_to_each_other():
    both = rs.specs.MapsSpec((a_map(title="one"), a_map(title="two")))
    assert rs.reports.live(both).specs == {"": both.maps}
    e = rs.explorers.explore(lambda k: both, k=[1]).wait()
    ((_, maps),), _, _ = module.read_data(e.bundle()[module.MIME])
    assert [one.title for one in maps] == ["one", "two"]


def test_lines_are_live_too(tmp_path):
    layer = rs.specs.Layer("line", (0.0, 1 / 3, None), (1.0, None, 2.0), label="one", colors=("0.35",))
    lines = rs.specs.LineSpec((layer,), title="mine", x_limits=(0.0, None))
    both = rs.specs.PanelsSpec((lines, rs.spec(lines, title="two")), legend=(rs.specs.Layer("line", label="all"),))
    bundle = rs.reports.live({"a": lines, "b": both})._repr_mimebundle_()
    ((_, (one,)), (_, panels)), _, _ = module.read_data(bundle[module.MIME])
    assert one.layers[0].x == (0.0, 0.333333333, None) and rs.spec(one, layers=lines.layers) == lines
    assert [panel.title for panel in panels] == ["mine", "two"] and panels[1].layers[-1].label == "all"
    page = page_of(tmp_path, bundle, bundle)
    assert page.count(script("lines")) == 1 and page.count(script("matrix")) == 0
    state = states(page)[0]["choices"][0][1][0]
    assert state["kind"] == "lines" and state["state"]["layers"][0]["colors"] == ["#595959"]
    assert state["state"]["x_limits"] == [0.0, None] and "size" not in state["state"]
    e = rs.explorers.explore(lambda k: lines, k=[1]).wait()
    ((_, (kept,)),), _, _ = module.read_data(e.bundle()[module.MIME])
    assert kept == one, "explorers of lines stay live in reports"


def test_a_large_picture_stays_an_image(tmp_path):
    labels = tuple(f"layer {i}" for i in range(260))
    values = tuple(map(tuple, np.random.default_rng(0).uniform(size=(260, 260)).tolist()))
    large = rs.specs.MatrixSpec(values, labels, labels)
    assert module.live_data([("", module.pack([large]))], "measure") == {}
    small = module.live_data([("", module.pack([matrix(100, 100)]))], "measure")
    assert len(json.dumps(small)) < 1.1 * module.MOST_BYTES and small
    page = page_of(tmp_path, {"image/png": "iVBORw0KGgo=", "text/plain": "large"})
    assert "data:image/png" in page and "rs-live" not in page and "repsimViews" not in page


def test_a_page_has_each_script_once_and_stays_small(tmp_path):
    measures = {name: matrix(30, 30, seed, title=name) for seed, name in enumerate("abc")}
    three = rs.reports.live(measures)._repr_mimebundle_()
    page = page_of(tmp_path, three)
    assert len(page) < 1_000_000 and len(json.dumps(three)) < 600_000
    assert (
        page.count("repsimViews ??= {})") == 1
        and page.count(script("matrix")) == 1
        and page.count(style("matrix")) == 1
    )
    (state,) = states(page)
    assert [name for name, _ in state["choices"]] == list("abc") and state["label"] == "measure"

    both = page_of(tmp_path, three, rs.reports.live(a_map())._repr_mimebundle_(), three)
    assert both.count(script("matrix")) == both.count(script("scatter")) == 1 and len(states(both)) == 3
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", both)
    assert page_of(tmp_path, {"text/html": "<p>nothing</p>"}).count("repsimViews") == 0


def test_the_image_is_there_without_javascript(tmp_path):
    page = page_of(tmp_path, rs.reports.live(matrix(title="a 'title' & <more>"))._repr_mimebundle_())
    found = re.search(r'<div class="rs-live"><img alt="([^"]*)" src="data:image/png;base64,[\w+/=]+"/?>', page)
    assert html.unescape(found[1]) == "a 'title' & <more>"
    hiding = [rule for rule in re.findall(r"[^{}]*\{[^{}]*\}", scripts(["matrix"])) if "img" in rule and "none" in rule]
    assert hiding and all(".rs-drawn" in rule for rule in hiding), "only what a script drew hides the image"


def test_names_are_text(tmp_path):
    shown = matrix(title=EVIL, row_title=EVIL, notes=((0, 1, EVIL),))
    shown = rs.spec(shown, values=((0.5, None), (0.25, 1.0)), row_labels=(EVIL, "a"))
    page = page_of(tmp_path, rs.reports.live({EVIL: shown}, label=EVIL)._repr_mimebundle_())
    plain = page_of(tmp_path, rs.reports.live({"m": matrix()})._repr_mimebundle_())
    assert page.count("</script") == plain.count("</script") and page.count("<script") == plain.count("<script")
    assert "<b>x" not in page and page.count("<!--") == plain.count("<!--")
    assert all(text.isascii() for text in re.findall(r'<script type="application/json">(.*?)</script>', page))
    (state,) = states(page)
    ((name, (panel,)),) = state["choices"]
    assert name == state["label"] == panel["state"]["title"] == panel["state"]["row_labels"][0] == EVIL
    assert panel["state"]["notes"] == {"0,1": EVIL} and json.loads(script_json(EVIL)) == EVIL


@pytest.mark.parametrize("kind", ["matrix", "scatter"])
def test_the_scripts_can_stand_in_a_page(kind):
    for text in (script(kind), (style(kind))):
        assert not re.search(r"</script|</style|<!--", text, re.I)
    assert re.search(r"\bshow\b", script(kind)) and "import " not in script(kind).partition("function")[0]


def test_data_of_another_version_leaves_the_image():
    bundle = rs.reports.live(matrix())._repr_mimebundle_()
    text, kinds = fragment(bundle)
    assert kinds == {"matrix"} and text.startswith('<div class="rs-live">')
    for wrong in ({"version": 2}, {"pictures": "[]"}, {"pictures": '[["a",[{"spec":"Other"}]]]'}, {"pictures": "no"}):
        assert fragment(bundle | {module.MIME: bundle[module.MIME] | wrong}) is None
    assert fragment({module.MIME: bundle[module.MIME]}) is None, "nothing to show without JavaScript"
    assert fragment({"text/html": "x"}) is None


def test_what_no_view_draws_is_refused():
    image = rs.specs.ImageSpec("iVBORw0KGgo=")
    with pytest.raises(TypeError, match=r"tables, maps and lines; got ImageSpec, whose spec is of type ImageSpec\."):
        rs.reports.live({"a": matrix(), "b": image})
    for empty in ({}, {"a": []}, []):
        with pytest.raises(ValueError, match="at least one result"):
            rs.reports.live(empty)


def test_the_image_has_every_picture():
    def size(picture):
        head = picture.png()[16:24]
        return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")

    small = matrix(size=(2.0, 1.0))
    assert size(rs.reports.live(small)) == (200, 100)
    assert size(rs.reports.live({"a": small, "b": small, "c": small})) == (328, 168)
    assert size(rs.reports.live({"a": [small] * 3, "b": [small, small]})) == (496, 168)
    wide = matrix(size=(7.0, 1.0))
    assert size(rs.reports.live({"a": wide, "b": small})) == (560, 168)


# -- explorers


def test_an_explorer_keeps_the_measures_that_were_shown(recorded, tmp_path):
    e = rs.explorers.comparison(recorded, measure="cka").wait()
    assert [name for name, _ in module.read_data(e.bundle()[module.MIME])[0]] == [""]
    e.controls["measure"].value = "procrustes"
    e.wait()
    pictures, label, chosen = module.read_data(e.bundle()[module.MIME])
    assert [name for name, _ in pictures] == ["cka", "procrustes"] and (label, chosen) == ("measure", 1)
    assert pictures[1][1] == [module.shorten(e.spec)]
    e.controls["measure"].value = "cka"
    e.wait()
    assert [name for name, _ in module.read_data(e.bundle()[module.MIME])[0]] == ["procrustes", "cka"]
    e.controls["b"].value = e.controls["a"].value
    e.wait()
    pictures, label, chosen = module.read_data(e.bundle()[module.MIME])
    assert label == "picture" and chosen == 2 and pictures[2][0].split(" · ")[-1] == "cka"
    page = page_of(tmp_path, e.bundle())
    assert len(states(page)[0]["choices"]) == 3 and "widget-view" not in page


def test_an_explorer_of_figures_is_an_image():
    e = rs.explorers.explore(lambda k: rs.plots.draw(matrix()).figure, k=[1]).wait()
    assert "image/png" in e.bundle() and module.MIME not in e.bundle()


def test_the_oldest_pictures_of_an_explorer_go_first(monkeypatch):
    e = rs.explorers.explore(lambda k: matrix(10, 10, k), k=list(range(15)))
    for k in range(15):
        e.controls["k"].value = k
        e.wait()
    names = [name for name, _ in module.read_data(e.bundle()[module.MIME])[0]]
    assert names == [str(k) for k in range(3, 15)]
    monkeypatch.setattr("repsim_nb.display.explorers.history.MOST_BYTES", 5_000)
    fewer, _, chosen = module.read_data(e.bundle()[module.MIME])
    assert 1 < len(fewer) < 12 and fewer[-1][0] == "14" and chosen == len(fewer) - 1
    monkeypatch.setattr("repsim_nb.display.explorers.history.MOST_BYTES", 100)
    assert module.MIME not in e.bundle()


def test_every_kind_of_table_and_map_can_be_live():
    rng = np.random.default_rng(0)
    x = rs.from_arrays({f"{m}/{layer}": rng.normal(size=(20, 3)) for m, layer in itertools.product("ab", ("l1", "l2"))})
    table = rs.compare("cka", x)
    for result in (table, rs.embedding.mds(table, seed=0)):
        text, _ = fragment(rs.reports.live(result)._repr_mimebundle_())
        assert states(text)[0]["choices"][0][1][0]["state"]["title"]
