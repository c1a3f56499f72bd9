"""The view of lines without a kernel: pointing, keys, the legend, and files."""

import csv
import io
import json

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.display.views import script, style, view_state

DARK = "body { background: #111; color: #eee; --jp-ui-font-color1: #eeeeee; --jp-layout-color0: #111111; }"
TIP = ".rs-tip"


def lines(**fields):
    layers = (
        rs.specs.Layer("line", (1.0, 10.0, 100.0, 1000.0), (0.1, 0.5, None, 0.9), label="cka", marker="o"),
        rs.specs.Layer("line", (1.0, 10.0, 100.0, 1000.0), (0.8, 0.7, 0.6, 0.2), label="rsa", colors=("#E69F00",)),
        rs.specs.Layer("area", (1.0, 1000.0), low=(0.7, 0.1), high=(0.9, 0.3), colors=("#E69F00",), opacity=0.2),
        rs.specs.Layer("horizontal", y=(0.4,), dash="--", colors=("0.1",), label="chance"),
    )
    usual = {"title": "a measure\nn = 20", "x_title": "step", "y_title": "value", "x_scale": "log"}
    return rs.specs.LineSpec(layers, **usual | fields)


@pytest.fixture
def draw(chromium):
    """-> draw(spec, width): a page with its lines; afterwards nothing was asked for and nothing went wrong."""
    page = chromium.new_context(viewport={"width": 1000, "height": 800}).new_page()
    problems = []
    page.on("request", lambda r: problems.append(r.url) if r.url.startswith("http") else None)
    page.on("pageerror", lambda e: problems.append(str(e)))

    def drawn(shown, width=800, more=""):
        page.set_content(
            f"<style>{style('lines')}{more}</style><body><div style='width:{width}px'><div id='here'></div></div>"
            f"<script type='module'>{script('lines')}\nconst state = {json.dumps(view_state(shown))};"
            "window.model = show(document.getElementById('here'), state).model;</script>"
        )
        page.wait_for_function("() => Number(document.querySelector('#here canvas')?.dataset.drawn) > 0")
        return page

    yield drawn
    assert problems == []
    page.context.close()


def settled(page):
    page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")


def area(page, color):
    """How many pixels have this color."""
    return page.locator("canvas").evaluate(
        """(c, color) => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let found = 0;
        for (let k = 0; k < d.length; k += 4) if (color.every((v, j) => d[k + j] === v) && d[k + 3] === 255) found += 1;
        return found; }""",
        list(color),
    )


def test_keys_and_the_mouse_find_the_places_of_a_line(draw):
    page = draw(lines())
    page.locator("canvas").focus()
    said = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
        settled(page)
        said.append(page.locator(TIP).inner_text().splitlines())
    assert said[0] == ["cka", "step: 1", "value: 0.1"] and said[1] == ["cka", "step: 10", "value: 0.5"]
    assert said[2] == ["cka", "step: 1000", "value: 0.9"], "a gap is skipped"
    assert said[3] == ["rsa", "step: 1000", "value: 0.2"] and said[4] == ["rsa", "step: 100", "value: 0.6"]
    box = page.locator(TIP).bounding_box()
    page.keyboard.press("Escape")
    settled(page)
    assert not page.locator(TIP).is_visible()
    page.mouse.move(box["x"] - 15, box["y"] + box["height"] / 2)
    settled(page)
    assert page.locator(TIP).inner_text().splitlines() == said[4], "the tooltip is next to its place"
    page.mouse.move(5, 5)
    settled(page)
    assert not page.locator(TIP).is_visible()


def test_an_entry_of_the_legend_hides_its_line_and_what_belongs_to_it(draw):
    page = draw(lines())
    orange, blue = (230, 159, 0), (0, 114, 178)
    before = area(page, orange), area(page, blue)
    assert min(before) > 50
    page.get_by_role("button", name="rsa").click()
    settled(page)
    assert area(page, orange) == 0 and area(page, blue) > 0.9 * before[1]
    assert page.get_by_role("button", name="rsa").get_attribute("aria-pressed") == "false"
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    settled(page)
    assert page.locator(TIP).inner_text().startswith("cka"), "a hidden line cannot be pointed at"
    page.get_by_role("button", name="rsa").click()
    settled(page)
    assert area(page, orange) >= 0.9 * before[0]


def test_files_have_all_places_and_dark_grays_are_light_on_a_dark_page(draw):
    page = draw(lines(), more=DARK)
    assert area(page, (229, 229, 229)) > 50 and area(page, (26, 26, 26)) == 0, "the grey line is seen"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.reader(io.StringIO(waiting.value.path().read_text())))
    assert waiting.value.suggested_filename == "a_measure.csv" and rows[0] == ["layer", "mark", "x", "y", "low", "high"]
    assert rows[3] == ["cka", "line", "100", "", "", ""] and rows[9] == ["", "area", "1", "", "0.7", "0.9"]
    with page.expect_download() as waiting:
        page.get_by_role("button", name="SVG").click()
    svg = waiting.value.path().read_text()
    assert all(f">{text}<" in svg for text in ("1", "10", "100", "1000", "cka", "chance", "step", "n = 20"))
    assert "#1a1a1a" in svg, "a file is for white paper"


@pytest.mark.parametrize("width", [280, 900])
def test_every_kind_of_mark_has_its_place(draw, width):
    layers = (
        rs.specs.Layer("bars", (0.0, 1.0, 2.0), (3.0, -1.0, 2.0), label="bars", width=0.8),
        rs.specs.Layer("ranges", y=(0.5,), low=(0.2,), high=(1.8,), colors=("#D55E00",), width=3.0),
        rs.specs.Layer("points", (2.0,), (2.5,), marker="o", size=9.0, colors=("#009E73",), open=True),
        rs.specs.Layer("texts", (1.0,), (2.0,), texts=("here",), colors=("black",), size=9.0),
        rs.specs.Layer("flag", (0.5,), texts=("a flag",), colors=("#CC79A7",)),
        rs.specs.Layer("vertical", (0.5,), colors=("#CC79A7",), width=5.0),
        rs.specs.Layer("heading", label="a heading"),
    )
    names = ((0.0, "one"), (1.0, "two of a long name"), (2.0, "three of a longer name"))
    page = draw(rs.specs.LineSpec(layers, x_ticks=names, y_limits=(-2.0, 4.0), grid="y", framed=False), width)
    for color in ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)):
        assert area(page, color) > 3
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    settled(page)
    assert page.locator(TIP).inner_text().splitlines() == ["bars", "x: two of a long name", "y: -1"]
    box, canvas = page.locator("#here").bounding_box(), page.locator("canvas").bounding_box()
    assert canvas["width"] <= max(280, box["width"]) and np.isfinite(canvas["height"])
