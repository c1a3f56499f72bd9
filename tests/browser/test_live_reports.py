"""A report on a reader's screen: live pictures that need no kernel and no connection."""

import itertools
import re
import shutil

import nbformat
import numpy as np
import pytest
from steps import leave
from steps import opened as show_notebook

import repsim_nb as rs

ROOM = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def table(name, values, **fields):
    """A table of three layers; the second model's names differ in their order of the alphabet."""
    rows, columns = ("conv2", "conv10", "fc"), ("a </script>", "b", "c")
    values = np.array(values, float)
    return rs.specs.MatrixSpec(
        tuple(tuple(None if np.isnan(v) else float(v) for v in row) for row in values),
        rows,
        columns,
        title=name,
        **fields,
    )


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """The page of a notebook with live pictures: two measures, a map, two tables and two maps next to each other."""
    folder = tmp_path_factory.mktemp("report")
    cka = table("cka", [[0.2, 0.11, 0.3], [0.9, 0.8, 0.7], [0.5, np.nan, 0.4]], notes=((2, 1, "too few"),))
    distance = table("procrustes", [[1.2, 1.1, 1.3], [0.1, 0.2, 0.3], [0.5, 0.6, 0.4]], color_map="viridis_r", high=2.0)
    names = ("one", "two", "three")
    points = rs.specs.MapSpec(
        ((0.0, 0.0), (1.0, 0.2), (0.4, 1.0)), names, ("#0072B2",) * 3, ("o",) * 3, (True,) * 3, title="a map"
    )
    two = rs.specs.MapsSpec((points, rs.spec(points, title="another map")))
    measures = {"cka": cka, "procrustes": distance}
    gallery = rs.specs.GallerySpec((2, 0), ("three", "one"), ("0.9", "0.1"), title="the two that differ most")
    near = rs.spec(points, links=((1,), (2,), (0, 1)))
    linked = rs.specs.MapsSpec((near, rs.spec(near, title="another map")), gallery=gallery)
    curve = rs.specs.Layer("line", (0.0, 1.0, 2.0), (0.2, 0.9, 0.5), label="curve")
    black = rs.specs.Layer("horizontal", y=(0.4,), colors=("black",), width=6.0, label="black")
    line = rs.specs.LineSpec((curve, black), title="lines")
    pictures = [rs.reports.live(one) for one in (measures, points, [cka, cka], two, linked, line)]
    cells = [
        nbformat.v4.new_code_cell(
            "x" * 300, outputs=[nbformat.v4.new_output("display_data", data=one._repr_mimebundle_())]
        )
        for one in pictures
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "report_a.ipynb")
    return rs.reports.to_html(folder / "report_a.ipynb")


@pytest.fixture
def opened(chromium, report):
    """-> the report in a window of this width and theme; afterwards: it asked for nothing and nothing went wrong."""
    pages = []

    def open_page(width=1300, **how):
        page = chromium.new_context(viewport={"width": width, "height": 1000}, **how).new_page()
        page.asked, page.wrong = [], []
        page.on(
            "request", lambda r: page.asked.append(r.url) if r.url.partition(":")[0] not in ("file", "data") else None
        )
        page.on("pageerror", lambda e: page.wrong.append(str(e)))
        page.on("console", lambda m: page.wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.goto(report.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        assert page.asked == [] and page.wrong == []
        page.context.close()


def settled(page, count=6):
    page.wait_for_function(
        "(count) => { const drawn = [...document.querySelectorAll('.rs-live canvas')].filter((c) => Number(c.dataset.drawn) > 0);"
        " return drawn.length >= count; }",
        arg=count,
    )
    page.wait_for_timeout(200)


def labels(page, picture=0):
    """The row and the value of the cells in the first column, from top to bottom, by the keys."""
    canvas = page.locator(".rs-live").nth(picture).locator("canvas").first
    tip = page.locator(".rs-live").nth(picture).locator(".rs-tip").first
    canvas.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    found = []
    for _ in range(3):
        name, value = tip.inner_text().split("\n")
        found.append((name.partition(" × ")[0], value))
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    return found


def test_pictures_answer_the_mouse(opened, tmp_path):
    page = opened()
    settled(page)
    assert page.locator(".rs-live > img:visible").count() == 0 and page.locator(".rs-live canvas:visible").count() == 9
    first = page.locator(".rs-live").first
    canvas = first.locator("canvas")
    assert canvas.get_attribute("aria-label").startswith("cka: 3 by 3 cells")
    box, tip, seen = canvas.bounding_box(), first.locator(".rs-tip").first, set()
    for x, y in itertools.product(range(60, 300, 40), range(40, 200, 40)):
        page.mouse.move(box["x"] + x, box["y"] + y)
        if tip.is_visible():
            seen.add(tip.inner_text())
    assert seen >= {"conv2 × a </script>\n0.2000", "conv10 × b\n0.8000"}, "hover gives the name and the value"
    assert labels(page) == [("conv2", "0.2000"), ("conv10", "0.9000"), ("fc", "0.5000")]

    before = canvas.screenshot()
    measure, order = first.get_by_label("measure"), first.get_by_label("order")
    measure.select_option("procrustes")
    page.wait_for_function(
        "() => document.querySelector('.rs-live canvas').getAttribute('aria-label').startsWith('procrustes')"
    )
    page.wait_for_timeout(200)
    assert canvas.screenshot() != before, "another measure is another picture"
    assert labels(page) == [("conv2", "1.2000"), ("conv10", "0.1000"), ("fc", "0.5000")]
    for how, expected in {
        "brightest first": ["conv10", "fc", "conv2"],
        "by name": ["conv2", "conv10", "fc"],
        "as given": ["conv2", "conv10", "fc"],
    }.items():
        order.select_option(how)
        page.wait_for_timeout(200)
        assert [row for row, _ in labels(page)] == expected, how
    page.screenshot(path=str(tmp_path / "report.png"), full_page=True)


def test_a_chosen_cell_stays_chosen(opened, tmp_path):
    page = opened()
    settled(page)
    first = page.locator(".rs-live").first
    canvas, detail = first.locator("canvas"), first.locator(".rs-live-detail")
    assert detail.inner_text() == "Click a cell to list its values."
    canvas.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    lines = [line.split("\t") for line in detail.inner_text().splitlines() if line.strip()]
    assert lines == [["fc × b"], ["cka", "undefined: too few"], ["procrustes", "0.6000"]]
    first.get_by_label("order").select_option("by the chosen cell")
    page.wait_for_timeout(200)
    assert [row for row, _ in labels(page)] == ["conv10", "conv2", "fc"], "by column b; undefined cells last"
    first.get_by_label("measure").select_option("procrustes")
    page.wait_for_timeout(200)
    assert [row for row, _ in labels(page)] == ["conv10", "fc", "conv2"]
    assert detail.inner_text().startswith("fc × b")
    page.screenshot(path=str(tmp_path / "chosen.png"))


@pytest.mark.parametrize("picture", [2, 3], ids=["tables", "maps"])
def test_what_is_under_the_pointer_is_marked_in_both(opened, picture):
    page = opened()
    settled(page)
    place = page.locator(".rs-live").nth(picture)
    first, second = place.locator("canvas").nth(0), place.locator("canvas").nth(1)
    tip, before = place.locator(".rs-tip").first, second.screenshot()
    first.scroll_into_view_if_needed()
    page.mouse.move(0, 0)
    before = second.screenshot()
    box = first.bounding_box()
    for x, y in itertools.product(range(50, int(box["width"]), 8), range(50, int(box["height"]), 8)):
        page.mouse.move(box["x"] + x, box["y"] + y)
        if tip.is_visible():
            break
    assert tip.is_visible()
    page.wait_for_timeout(100)
    assert second.screenshot() != before and not place.locator(".rs-tip").nth(1).is_visible()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.wait_for_timeout(100)
    assert second.screenshot() == before


def test_a_list_is_linked_to_its_maps_and_lines_have_values(opened, tmp_path):
    page = opened()
    place = page.locator(".rs-live").nth(4)
    items, maps = place.locator(".rs-gallery-list button"), place.locator(".rs-scatter canvas")
    assert items.count() == 2 and maps.count() == 2 and "the two that differ most" in place.inner_text()
    ink = "(c) => c.toDataURL()"
    before = [maps.nth(k).evaluate(ink) for k in range(2)]
    items.nth(0).hover()
    page.wait_for_timeout(200)
    hovered = [maps.nth(k).evaluate(ink) for k in range(2)]
    assert all(one != other for one, other in zip(before, hovered, strict=True)), "marked, with lines to its neighbours"
    items.nth(1).click()
    page.mouse.move(2, 2)
    page.wait_for_timeout(200)
    assert items.nth(1).get_attribute("aria-selected") == "true"
    assert all(maps.nth(k).evaluate(ink) not in (before[k], hovered[k]) for k in range(2)), "both maps have a ring"
    page.screenshot(path=str(tmp_path / "list.png"), full_page=True)
    lines = page.locator(".rs-live").nth(5)
    lines.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(200)
    assert lines.locator(".rs-tip").inner_text().splitlines() == ["curve", "x: 1", "y: 0.9"]


@pytest.mark.parametrize("width, theme", [(1300, "dark"), (700, "light"), (400, "dark")])
def test_a_report_fits_the_screen_and_its_theme(opened, tmp_path, width, theme):
    page = opened(width, color_scheme=theme)
    settled(page)
    assert page.evaluate(ROOM)
    count = """(c) => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, found = [0, 0];
        for (let k = 0; k < d.length; k += 4) if (d[k + 3] === 255) for (const j of [0, 1]) found[j] += d[k] === 255 * j && d[k + 1] === 255 * j;
        return found; }"""
    lines = page.locator(".rs-lines canvas").evaluate(count)
    assert lines[theme == "dark"] > 300 > lines[theme != "dark"], "what is black on paper is white on a dark page"
    ink = page.evaluate("() => getComputedStyle(document.querySelector('.rs-live-controls')).color")
    light = int(re.search(r"\d+", ink)[0]) > 128
    assert light == (theme == "dark")
    page.screenshot(path=str(tmp_path / "page.png"), full_page=True)


def test_without_javascript_and_on_paper_the_image_stays(opened, tmp_path):
    page = opened(java_script_enabled=False)
    images = page.locator(".rs-live > img")
    assert images.count() == 6 and all(images.nth(i).is_visible() for i in range(6))
    assert page.locator(".rs-live canvas").count() == 0
    page.screenshot(path=str(tmp_path / "plain.png"), full_page=True)
    page = opened()
    settled(page)
    page.emulate_media(media="print")
    assert page.locator(".rs-live > img:visible").count() == 6 and page.locator(".rs-live canvas:visible").count() == 0
    page.emulate_media(media="screen")
    settled(page)
    assert page.locator(".rs-live canvas:visible").count() == 9


def test_jupyterlab_shows_the_image(lab, page, report):
    """JupyterLab has no renderer for the data of a live picture."""
    shutil.copy(report.with_suffix(".ipynb"), lab.root / "live.ipynb")
    show_notebook(page, lab("live.ipynb"))
    images = page.locator(".jp-RenderedImage img")
    images.nth(5).wait_for(state="visible")
    assert images.count() == 6 and page.outside == [] and page.errors == []
    leave(page)


def test_long_lines_of_code_can_be_read(chromium, tmp_path):
    cells = [nbformat.v4.new_code_cell("x = " + " + ".join(["name"] * 60))]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "code.ipynb")
    page = chromium.new_page(viewport={"width": 500, "height": 600})
    page.goto(rs.reports.to_html(tmp_path / "code.ipynb").as_uri())
    code = page.locator(".highlight")
    assert page.evaluate(ROOM) and code.evaluate("(e) => e.scrollWidth > e.clientWidth + 100")
    code.evaluate("(e) => { e.scrollLeft = 1e6; }")
    assert code.evaluate("(e) => e.scrollLeft + e.clientWidth >= e.scrollWidth - 2"), "it scrolls to its end"
    page.emulate_media(media="print")
    assert code.evaluate("(e) => e.scrollWidth <= e.clientWidth + 2"), "on paper lines break"
    page.close()
