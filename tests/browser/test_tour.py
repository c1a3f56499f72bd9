"""The tour in a real browser: what a new user sees and does."""

import json

import pytest
from steps import leave, opened, run_all

CANVAS = ".rs-matrix canvas"


def wait_for_change(page, locator, before, timeout_ms=20_000):
    for _ in range(timeout_ms // 50):
        if locator.screenshot() != before:
            return
        page.wait_for_timeout(50)
    pytest.fail("the picture did not change")


@pytest.fixture
def tour(lab, page):
    opened(page, lab("00_tour.ipynb"))
    run_all(page)
    yield page
    leave(page)


def test_a_changed_drop_down_redraws_and_a_click_shows_the_detail(tour, tmp_path):
    page = tour
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
    canvas = page.locator(CANVAS).first
    canvas.wait_for(state="visible", timeout=30_000)
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(800)

    before = canvas.screenshot()
    measure = page.locator(".widget-dropdown select").nth(2)
    measure.select_option("procrustes")
    wait_for_change(page, canvas, before)

    before = canvas.screenshot()
    page.locator(".widget-dropdown select").nth(1).select_option("mnist-vit-0")
    wait_for_change(page, canvas, before)

    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 120)
    tip = page.locator(".rs-matrix .rs-tip").first
    tip.wait_for(state="visible")
    assert "×" in tip.inner_text()
    page.mouse.click(box["x"] + 150, box["y"] + 120)
    detail = page.get_by_text("n = 1000 samples")
    detail.wait_for(timeout=30_000)
    page.wait_for_timeout(500)
    page.screenshot(path=str(tmp_path / "explorer.png"))
    assert page.locator(".rs-error").count() == 0
    assert page.outside == [] and page.errors == []


def test_undefined_cells_say_why_and_a_kept_picture_is_saved(tour, tmp_path):
    page = tour
    canvas = page.locator(CANVAS).first
    canvas.wait_for(state="visible", timeout=30_000)
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(800)
    first_png = saved_png(page)
    before = canvas.screenshot()
    page.locator(".widget-dropdown select").nth(2).select_option("mean_cca")
    wait_for_change(page, canvas, before)
    page.wait_for_timeout(500)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 95, box["y"] + 75)
    tip = page.locator(".rs-matrix .rs-tip").first
    tip.wait_for(state="visible")
    assert "undefined" in tip.inner_text() and "ranks" in tip.inner_text()
    page.screenshot(path=str(tmp_path / "undefined.png"))

    page.get_by_role("button", name="Keep picture").first.click()
    for _ in range(100):  # 20 s: the kernel draws the picture and sends it
        if (kept := saved_png(page)) != first_png:
            break
        page.wait_for_timeout(200)
    assert kept and kept != first_png
    page.get_by_role("button", name="Code").first.click()
    page.get_by_text("rs.compare('mean_cca', a, b").wait_for()
    page.screenshot(path=str(tmp_path / "code.png"))
    assert page.outside == [] and page.errors == []


def saved_png(page):
    """The explorer's picture in the notebook as it would be saved."""
    notebook = page.evaluate("() => JSON.stringify(window.jupyterapp.shell.currentWidget.context.model.toJSON())")
    for cell in json.loads(notebook)["cells"]:
        if "explorers.comparison" in "".join(cell["source"]):
            return next((o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})), None)
    return None
