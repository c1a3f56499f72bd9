"""The explorer of dataset bias in a real browser: a control redraws, a click on a cell shows images, Keep keeps."""

import pytest
from steps import leave, opened, run_all, write_notebook

CELLS = [
    """import repsim_nb as rs
names = ["zoo:mnist-cnn-0", "zoo:fashion-cnn-0", "zoo:untrained-cnn-0", "zoo:untrained-cnn-1"]
x = rs.record(names, rs.load_dataset("mnist", n=80), "conv3", progress=False) | rs.record(names, rs.load_dataset("animals", n=80), "conv3", progress=False)""",
    "e = rs.explorers.dataset_bias(x)\ne",
]
CANVAS = ".rs-matrix canvas"


@pytest.fixture
def page_with_bias(lab, page):
    write_notebook(lab, "bias.ipynb", CELLS)
    page.set_viewport_size({"width": 1300, "height": 1300})
    opened(page, lab("bias.ipynb"))
    run_all(page)
    page.locator(CANVAS).wait_for(state="visible", timeout=60_000)
    yield page
    assert page.locator(".rs-error").count() == 0 and page.outside == [] and page.errors == []
    leave(page)


def idle(page):
    page.get_by_role("button", name="Stop", disabled=True).wait_for()
    page.wait_for_timeout(300)


def choose_by_keys(page, right, down):
    """From the first cell, as a person without a mouse does."""
    page.locator(CANVAS).focus()
    for key, times in (("ArrowRight", right), ("ArrowDown", down)):
        for _ in range(times):
            page.keyboard.press(key)
    page.keyboard.press("Enter")
    idle(page)


def test_redraw_click_and_images(page_with_bias):
    page = page_with_bias
    assert "8 by 8 cells" in page.locator(CANVAS).get_attribute("aria-label")
    before = page.locator(CANVAS).get_attribute("aria-label")
    page.locator(".widget-dropdown").filter(has=page.get_by_text("scaling", exact=True)).locator(
        "select"
    ).select_option("each set by itself")
    page.wait_for_function(
        "(before) => document.querySelector('.rs-matrix canvas').getAttribute('aria-label') !== before", arg=before
    )
    idle(page)
    page.locator(".widget-dropdown").filter(has=page.get_by_text("scaling", exact=True)).locator(
        "select"
    ).select_option("pooled")
    page.wait_for_function(
        "(before) => document.querySelector('.rs-matrix canvas').getAttribute('aria-label') === before", arg=before
    )
    idle(page)
    choose_by_keys(page, 0, 0)
    page.get_by_text("predicted correctly").wait_for()
    assert page.locator(".jp-OutputArea img.widget-image:visible, .jp-OutputArea .widget-image:visible").count() >= 1, (
        "the images of the cell"
    )
    page.locator(".widget-select-multiple select").first.select_option(["mnist-cnn-0", "untrained-cnn-0"])
    page.wait_for_function(
        "() => document.querySelector('.rs-matrix canvas').getAttribute('aria-label').includes('4 by 4 cells')"
    )
    idle(page)
    page.get_by_text("predicted correctly").wait_for()  # the same cell of the new picture
    page.get_by_role("button", name="Keep picture").click()
    page.get_by_text("picture kept").wait_for()
