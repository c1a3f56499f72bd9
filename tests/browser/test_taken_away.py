"""An explorer in JupyterLab keeps its place and gives away what it shows; controls and kernel agree in all cells."""

import pytest
from steps import finished, leave, opened, pictured, printed, run_all, write_notebook

CELLS = [
    """import asyncio, time
import numpy as np, pandas as pd
import repsim_nb as rs
rng = np.random.default_rng(0)
base = rng.normal(size=(60, 6))
x = rs.from_arrays({f"{model}/layer {k}": base @ rng.normal(size=(6, 5)) for model in "ab" for k in range(8)})
def double(k):
    return rs.compare("cka", {f"{i} of {k}": base[:, : i + 2] for i in range(k)})""",
    "e = rs.explorers.comparison(x, measure='cka')\ne",
    "s = rs.explorers.explore(double, k=(1, 5))\ns",
    """from matplotlib.figure import Figure
def pictured(k):
    figure = Figure(figsize=(4, 3))
    figure.add_subplot().plot(np.arange(5.0))
    return figure
f = rs.explorers.explore(pictured, k=[1])
f""",
]
CANVAS = ".rs-matrix canvas"
START = """(code) => { window.ran = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
    .requestExecute({ code }).done; }"""


@pytest.fixture
def explored(lab, page):
    write_notebook(lab, "taken.ipynb", CELLS)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    consoled = []
    page.on("console", lambda m: consoled.append(m.text) if m.type == "error" and "rs-" in m.text else None)
    page.set_viewport_size({"width": 1300, "height": 1800})
    opened(page, lab("taken.ipynb"))
    run_all(page)
    pictured(page, CANVAS)
    idle(page)
    yield page
    assert page.locator(".rs-error").count() == 0 and page.outside == page.errors == consoled == []
    leave(page)


def idle(page):
    for button in page.get_by_role("button", name="Stop").all():
        button.wait_for()
        page.wait_for_function("(b) => b.disabled", arg=button.element_handle())
    page.wait_for_timeout(300)


def place_of(page, row, column):
    """The middle of a cell on the page, by the tooltip."""
    box = page.locator(CANVAS).first.bounding_box()
    tip = page.locator(".rs-matrix .rs-tip").first
    for y in range(60, int(box["height"]), 15):
        for x in range(60, int(box["width"]) - 90, 20):
            page.mouse.move(box["x"] + x, box["y"] + y)
            if tip.is_visible() and tip.inner_text().startswith(f"{row} × {column}\n"):
                return box["x"] + x, box["y"] + y
    raise AssertionError("no such cell")


def test_a_chosen_cell_is_kept_and_everything_can_be_taken_away(explored, tmp_path):
    page = explored
    page.mouse.click(*place_of(page, "layer 1", "layer 2"))
    page.get_by_text("a / layer 1 × b / layer 2").first.wait_for()
    idle(page)
    before = page.locator(CANVAS).first.bounding_box()
    reasons = page.locator(".rs-choice select").first.locator("option[value='jsd']")
    assert reasons.is_disabled() and "no layer 'output'" in reasons.inner_text()
    detail = page.locator(".rs-detail").first
    for measure in ("procrustes", "rsa"):
        page.locator(".rs-choice select").first.select_option(measure)
        page.wait_for_function(
            """(name) => [...document.querySelectorAll('.rs-detail tr')].some((row) =>
            row.style.fontWeight === 'bold' && row.textContent.startsWith(name))""",
            arg=measure,
        )
        idle(page)
        assert "a / layer 1 × b / layer 2" in detail.inner_text(), "the same cell, computed again"
        assert page.locator(CANVAS).first.bounding_box() == before, "the page did not jump"
    page.screenshot(path=str(tmp_path / "kept.png"))
    assert printed(page, "print(e.selected[['layer_row', 'layer_column']].to_numpy().tolist())") == (
        "[['layer 1', 'layer 2']]"
    )
    page.get_by_role("button", name="Copy code").first.click()
    page.get_by_text("✓ copied").wait_for()
    assert page.evaluate("() => navigator.clipboard.readText()") == printed(page, "print(e.code())")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="CSV", exact=True).first.click()
    _first, *rows = waiting.value.path().read_text().split()
    assert waiting.value.suggested_filename == "rsa_a_x_b.csv" and len(rows) >= 8
    image = page.locator(".rs-explorer").nth(2)
    for ending, start in (("PNG", b"\x89PNG"), ("SVG", b"<?xml")):
        with page.expect_download() as waiting:
            image.get_by_role("button", name=ending, exact=True).click()
        assert waiting.value.path().read_bytes().startswith(start)
    page.locator(".rs-choice select").nth(1).select_option("cka")
    page.locator(CANVAS).nth(1).wait_for(state="visible")
    idle(page)
    page.screenshot(path=str(tmp_path / "two.png"))
    assert printed(page, "print(e.second.name, e.figure().axes[0].get_title().split(':')[0])") == "cka rsa"


def test_controls_and_kernel_agree_after_cells_that_wait_and_cells_that_block(explored):
    page = explored
    slider = page.locator(".widget-hslider .noUi-handle").first
    codes = (
        "for _ in range(15):\n    await asyncio.sleep(0.1)",
        "time.sleep(1.5)",
        "for _ in range(15):\n    await asyncio.sleep(0.1)",
    )
    for code, keys in zip(codes, ("ArrowRight", "ArrowRight", "ArrowLeft"), strict=True):
        page.evaluate(START, code)
        page.wait_for_timeout(300)
        slider.focus()
        page.keyboard.press(keys)
        if "sleep(1.5)" in code:
            page.mouse.click(*place_of(page, "layer 3", "layer 0"))
        finished(page, "() => window.ran")
        page.wait_for_timeout(1500)
        idle(page)
        value = slider.get_attribute("aria-valuenow")
        assert int(float(value)) == int(printed(page, "print(s.values()['k'])")), f"after {code!r}"
        assert printed(page, "print(len(s.result.values))") == str(int(float(value)))
    assert printed(page, "print(e.selected[['layer_row', 'layer_column']].to_numpy().tolist())") == (
        "[['layer 3', 'layer 0']]"
    ), "what was clicked while the kernel was busy"
    assert int(float(slider.get_attribute("aria-valuenow"))) == 2, "1 + 1 + 1 - 1"
