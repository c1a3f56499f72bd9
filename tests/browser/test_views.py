"""The views without a kernel: the module of a view draws a state in a plain page."""

import base64
import csv
import io
import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.display.views import script, style, view_state

COLORS = ["#0072B2", "#E69F00", "#009E73"]


@pytest.fixture(scope="module")
def blank(chromium):
    """One page for all tests here."""
    page = chromium.new_context(viewport={"width": 1000, "height": 800}).new_page()
    page.problems = []
    page.on("request", lambda r: page.problems.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda e: page.problems.append(str(e)))
    page.on("console", lambda m: page.problems.append(m.text) if m.type == "error" else None)
    yield page
    page.context.close()


@pytest.fixture
def draw(blank):
    """-> draw(name, state): the page with a spec or a state drawn by its view; its model is `window.model`."""

    def draw(name, state, width=900):
        blank.mouse.move(0, 0)
        state = state if isinstance(state, dict) else view_state(state)
        blank.set_content(
            f"<style>{style(name)}</style><body style='margin:10px;font-family:sans-serif'>"
            f"<div style='width:{width}px'><div id='here'></div></div><p style='height:900px'>below</p>"
            f"<script type='module'>{script(name)}\nconst state = {json.dumps(state)}; window.sent = [];"
            "window.model = show(document.getElementById('here'), state, (names) => window.sent.push(...names)).model;"
            "</script>"
        )
        blank.wait_for_function("() => Number(document.querySelector('#here canvas')?.dataset.drawn) > 0")
        return blank

    yield draw
    assert blank.problems == []


def get(page, name):
    return page.evaluate("(name) => window.model.get(name)", name)


def settled(page):
    """Wait until what was asked for is drawn."""
    page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def pixels(page):
    """The canvas as an array (height, width, 4)."""
    found = page.locator("#here canvas").evaluate(
        """(c) => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        return [c.width, c.height, btoa(Array.from(d.data, (v) => String.fromCharCode(v)).join(''))]; }"""
    )
    return np.frombuffer(base64.b64decode(found[2]), np.uint8).reshape(found[1], found[0], 4)


def same(a, b):
    """Whether two pictures are the same, but for the rounding of edges."""
    return (np.abs(a.astype(int) - b).max(axis=2) > 24).sum() < 20


def downloaded(page, name):
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name, exact=True).click()
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def matrix(rows, columns, *, low=0.0, none=()):
    values = tuple(
        tuple(None if (i, j) in none else (i * columns + j) / (rows * columns) for j in range(columns))
        for i in range(rows)
    )
    labels = [tuple(f"{name} {k}" for k in range(many)) for name, many in (("conv", rows), ("block", columns))]
    notes = tuple((i, j, "ranks are low") for i, j in none)
    return rs.specs.MatrixSpec(values, *labels, title="cka: a × b", low=low, notes=notes)


def cloud(n, seed=0):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, n)
    return {
        "points": rng.normal(size=(n, 2)).tolist(),
        "labels": [f"sample {i}" for i in range(n)],
        "notes": [f"class: {k}" for k in group],
        "colors": [COLORS[k] for k in group],
        "shapes": ["o"] * n,
        "shown": [True] * n,
        "legend": [["class", [[f"class {k}", COLORS[k], "o"] for k in range(3)]]],
        "title": "a map",
    }


# -- a matrix


def test_keys_move_a_cursor_that_can_be_seen_and_enter_chooses(draw):
    page = draw("matrix", matrix(5, 6, none=[(0, 1)]))
    canvas, tip = page.locator("canvas"), page.locator(".rs-tip")
    assert "5 by 6 cells" in canvas.get_attribute("aria-label")
    canvas.focus()
    before = pixels(page)
    page.keyboard.press("ArrowRight")
    settled(page)
    assert "conv 0 × block 1" in tip.inner_text() and "undefined: ranks are low" in tip.inner_text()
    page.keyboard.press("ArrowDown")
    settled(page)
    assert (pixels(page) != before).any(axis=2).sum() > 500, "its row and its column are marked"
    beside, box = tip.bounding_box(), canvas.bounding_box()
    page.keyboard.press("Enter")
    assert get(page, "chosen") == [1, 1] and page.evaluate("window.sent").count("presses") == 1
    spot = box["x"] + beside["x"] - 10 - box["x"], beside["y"] + beside["height"] / 2
    page.mouse.move(*spot)
    settled(page)
    assert "conv 1 × block 1" in tip.inner_text(), "the tooltip is next to its cell"


def test_cells_fill_whole_pixels_without_seams(draw):
    page = draw("matrix", matrix(37, 53), width=801)
    allowed = {tuple(int(color[k : k + 2], 16) for k in (1, 3, 5)) for color in rs.specs.MatrixSpec((), (), ()).colors}
    picture = pixels(page)[:, :, :3]
    inside = np.array([[tuple(p) in allowed for p in row] for row in picture[60:360:7, 130:620]])
    assert inside.all(), "no mixture of two colors, and no background"


def test_wheel_keys_and_buttons_zoom_a_large_matrix_and_the_page_scrolls_over_a_small_one(draw):
    page = draw("matrix", matrix(120, 120))
    whole = pixels(page)
    page.mouse.move(400, 250)
    page.mouse.wheel(0, -300)
    settled(page)
    near = pixels(page)
    assert not same(near, whole) and page.evaluate("window.scrollY") == 0
    page.keyboard.press("Tab")
    page.locator("canvas").focus()
    page.keyboard.press("0")
    page.locator("canvas").blur()
    page.mouse.move(2, 2)
    settled(page)
    assert same(pixels(page), whole)
    page.get_by_role("button", name="Zoom in").click()
    settled(page)
    assert not same(pixels(page), whole)
    page.get_by_role("button", name="Show everything").click()
    settled(page)
    assert same(pixels(page), whole)
    page = draw("matrix", matrix(3, 3))
    assert not page.get_by_role("button", name="Zoom in").is_visible(), "there is nothing to enlarge"
    page.mouse.move(200, 200)
    page.mouse.wheel(0, 200)
    page.wait_for_function("() => window.scrollY > 0")
    page.evaluate("() => window.scrollTo(0, 0)")


def test_a_filter_a_scale_and_a_tick_at_zero(draw):
    page = draw("matrix", matrix(12, 12, low=-0.5))
    page.get_by_placeholder("filter layers").fill("conv 1")
    settled(page)
    assert "3 by 12 cells" in page.locator("canvas").get_attribute("aria-label"), "conv 1, 10 and 11; all columns"
    name, content = downloaded(page, "CSV")
    table = list(csv.reader(io.StringIO(content.decode())))
    assert name == "cka_a_x_b.csv" and [row[0] for row in table] == ["", "conv 1", "conv 10", "conv 11"]
    assert float(table[2][3]) == (10 * 12 + 2) / 144
    page.get_by_placeholder("filter layers").fill("nothing like it")
    assert page.get_by_placeholder("filter layers").get_attribute("aria-invalid") == "true"
    page.get_by_placeholder("filter layers").fill("")
    settled(page)
    before = pixels(page)
    page.get_by_label("color scale").select_option("locked")
    page.evaluate("() => window.model.set('high', 5)")
    settled(page)
    assert same(pixels(page), before), "the ends of a locked scale stay"
    page.get_by_label("color scale").select_option("free")
    settled(page)
    assert not same(pixels(page), before)
    page.get_by_label("color scale").select_option("measure")
    page.evaluate("() => window.model.set('high', 1)")
    settled(page)
    assert same(pixels(page), before)
    svg = downloaded(page, "SVG")[1].decode()
    assert {">-0.5<", ">0<", ">1<"} <= {word for word in (">-0.5<", ">0<", ">1<", ">0.25<") if word in svg}
    assert ">0.25<" not in svg and svg.count("<path") > 144


def test_long_labels_that_begin_and_end_alike_stay_different(draw):
    labels = tuple(f"encoder.layer.{k}.attention.output.dense.LayerNorm.of_a_model" for k in range(12))
    others = tuple(f"block {k} of the one with a rather long name" if k else "stem" for k in range(12))
    values = tuple(tuple(float(i == j) for j in range(12)) for i in range(12))
    page = draw("matrix", rs.specs.MatrixSpec(values, labels, others), width=500)
    texts = [one.text for one in ElementTree.fromstring(downloaded(page, "SVG")[1]).iter() if one.text]
    for k in range(12):
        assert sum(f".{k}." in text for text in texts) == 1, "its number can be read"
    cut = {text for text in texts if "…" in text}
    assert len(cut) > 12 and not cut & set(labels)


def test_headings_break_and_small_tables_take_little_room(draw):
    wide = rs.specs.MatrixSpec(((0.5,),), ("a",), ("b",), title="cka_debiased: a-long-name-of-one-model × another-one")
    page = draw("matrix", view_state(wide) | {"most_rows": 1}, width=290)
    texts = [one.text for one in ElementTree.fromstring(downloaded(page, "SVG")[1]).iter() if one.text]
    heading = [text for text in texts if "model" in text or "another" in text or "cka" in text]
    assert "…" not in "".join(heading) and "".join(heading).replace(" ", "") == wide.title.replace(" ", "")
    low = page.locator("canvas").bounding_box()["height"]
    assert low < 320 < draw("matrix", view_state(wide), width=290).locator("canvas").bounding_box()["height"]


def test_a_free_scale_of_differences_keeps_the_color_of_zero(draw):
    values = ((-0.1, 0.0, 0.4),)
    shown = rs.specs.MatrixSpec(values, ("a",), ("b", "c", "d"), low=-1.0, high=1.0, color_map="PuOr")
    page = draw("matrix", shown)

    neutral = [int(shown.colors[128][k : k + 2], 16) for k in (1, 3, 5)]

    def area():
        return int((pixels(page)[:, :, :3] == neutral).all(axis=2).sum())

    before = area()
    assert before > 2000, "the cell with 0"
    page.get_by_label("color scale").select_option("free")
    settled(page)
    svg = downloaded(page, "SVG")[1].decode()
    assert ">-0.4<" in svg and ">0.4<" in svg
    assert abs(area() - before) < 100


def test_files_show_the_picture(draw):
    page = draw("matrix", matrix(4, 4))
    name, png = downloaded(page, "PNG")
    assert name == "cka_a_x_b.png" and png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    box = page.locator("canvas").bounding_box()
    assert abs(width - 2 * box["width"]) <= 2 and abs(height - 2 * box["height"]) <= 2
    texts = [e.text for e in ElementTree.fromstring(downloaded(page, "SVG")[1]).iter() if e.tag.endswith("text")]
    assert {"cka: a × b", "conv 0", "block 3"} <= set(texts)


# -- a map


@pytest.mark.parametrize(("n", "most"), [(20_000, 16.7), (50_000, 33)])
def test_a_frame_of_a_pan_is_quick(draw, n, most):
    page = draw("scatter", cloud(n))
    times = page.evaluate("""async () => {
      const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect(), times = [];
      const send = (name, x, y) => canvas.dispatchEvent(new PointerEvent(name, { pointerId: 7, button: 0, shiftKey: true, clientX: box.left + x, clientY: box.top + y }));
      canvas.setPointerCapture = () => {};
      for (let k = 0; k < 3; k += 1) canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: -100, clientX: box.left + 350, clientY: box.top + 250, cancelable: true }));
      send('pointerdown', 350, 250);
      for (let k = 0; k < 30; k += 1) {
        const before = canvas.dataset.drawn;
        send('pointermove', 350 + 2 * k, 250 + k);
        while (canvas.dataset.drawn === before) await new Promise((r) => requestAnimationFrame(r));
        times.push(Number(canvas.dataset.milliseconds));
      }
      send('pointerup', 410, 280);
      return times;
    }""")
    assert len(times) == 30 and sorted(times)[15] < most, f"{sorted(times)[15]} ms"


def test_many_points_are_drawn_small_hidden_by_their_entry_and_named_when_there_is_room(draw):
    page = draw("scatter", cloud(3000))

    def colored(color):
        rgb = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
        return int((pixels(page)[:, :700, :3] == rgb).all(axis=2).sum())

    counts = [colored(color) for color in COLORS]
    assert min(counts) > 1000, "each point has some pixels"
    page.get_by_role("button", name="class 1").click()
    settled(page)
    assert colored(COLORS[1]) == 0 and colored(COLORS[0]) >= counts[0]
    assert len(list(csv.reader(io.StringIO(downloaded(page, "CSV")[1].decode())))) < 3001, "what is hidden is left out"
    page.get_by_role("button", name="class 1").click()
    settled(page)
    assert colored(COLORS[1]) == counts[1]
    far = pixels(page)
    page.mouse.move(400, 300)
    for _ in range(5):
        page.mouse.wheel(0, -300)
    settled(page)
    assert "sample " in downloaded(page, "SVG")[1].decode(), "a name that found room"
    page.get_by_role("button", name="Show everything").click()
    settled(page)
    assert same(pixels(page), far) and "sample " not in downloaded(page, "SVG")[1].decode()


def test_a_line_selects_points_that_the_file_marks(draw):
    page = draw("scatter", cloud(200))
    page.mouse.move(80, 60)
    page.mouse.down()
    for spot in ((420, 60), (420, 560), (80, 560)):
        page.mouse.move(*spot, steps=4)
    page.mouse.up()
    selected = get(page, "selected")
    assert 20 < len(selected) < 180 and "selected" in page.evaluate("window.sent")
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "CSV")[1].decode())))
    assert [i for i, row in enumerate(rows) if row["selected"] == "1"] == selected and set(rows[0]) == {
        "label",
        "x",
        "y",
        "class",
        "selected",
    }
    page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Move", exact=True).click()
    settled(page)
    before = pixels(page)
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(360, 340, steps=3)
    page.mouse.up()
    settled(page)
    assert not same(pixels(page), before) and get(page, "selected") == selected, "moved, not selected"


def test_two_fingers_zoom(draw):
    page = draw("scatter", cloud(50))
    before = pixels(page)
    page.evaluate("""() => {
      const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect();
      const send = (name, id, x) => canvas.dispatchEvent(new PointerEvent(name, { pointerId: id, pointerType: 'touch', button: 0, clientX: box.left + x, clientY: box.top + 250 }));
      canvas.setPointerCapture = () => {};
      send('pointerdown', 1, 300); send('pointerdown', 2, 360);
      for (let k = 0; k <= 10; k += 1) { send('pointermove', 1, 300 - 6 * k); send('pointermove', 2, 360 + 6 * k); }
      send('pointerup', 1, 240); send('pointerup', 2, 420);
    }""")
    settled(page)
    assert not same(pixels(page), before) and get(page, "selected") == [] and get(page, "chosen") == []
    page.get_by_role("button", name="Show everything").click()
    settled(page)
    assert same(pixels(page), before)


@pytest.mark.parametrize("many", [3, 60])
def test_marked_cells_have_a_dot_which_is_explained(draw, many):
    plain = replace(matrix(many, many), texts=())
    marked = replace(plain, marks=((1, 2), (2, 0)), mark_meaning="above chance")
    without = pixels(draw("matrix", replace(plain, subtitle="• above chance")))
    page = draw("matrix", marked)
    apart = np.abs(pixels(page).astype(int) - without).max(axis=2) > 60
    assert get(page, "subtitle") == "• above chance" and apart.any()
    rows, columns = np.nonzero(apart)
    assert len({(r // 40, c // 40) for r, c in zip(rows, columns, strict=True)}) <= (2 if many == 3 else 4)
    box = page.locator("#here canvas").bounding_box()
    middle = columns[rows == rows.min()].mean() / without.shape[1] * box["width"] + box["x"]
    page.mouse.move(middle, box["y"] + rows.min() / without.shape[0] * box["height"] + 1)
    tip = page.locator(".rs-tip")
    assert "conv 1 × block 2" in tip.inner_text() and "• above chance" in tip.inner_text()
    pictures = []
    for state in (marked, replace(plain, subtitle="• above chance")):  # the marked rows are filtered out
        page = draw("matrix", view_state(state) | {"filter": "conv 0"})
        pictures.append(pixels(page))
    assert same(*pictures)
