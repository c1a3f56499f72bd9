"""The explorer of samples in a real browser: two linked maps, also while the kernel is busy, and the list below."""

import pytest
from steps import leave, opened, printed, run_all, write_notebook

CELLS = [
    """import repsim_nb as rs
data = rs.load_dataset("mnist", n=60)
x = rs.record(["zoo:mnist-cnn-0", "zoo:mnist-cnn-1"], data, -2, progress=False)""",
    "e = rs.explorers.samples(x, data)\ne",
]
POINT = """([map, i]) => {
  const canvas = document.querySelectorAll('.rs-scatter canvas')[map], tip = canvas.parentElement.querySelector('.rs-tip');
  const box = canvas.getBoundingClientRect(), found = [];
  for (let y = 2; y < box.height; y += 3) for (let x = 2; x < box.width; x += 3) {
    canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + x, clientY: box.top + y, bubbles: true }));
    const names = getComputedStyle(tip).display === 'none' ? [] : [...tip.querySelectorAll('b')].map((b) => b.textContent);
    if (names.length === 1 && names[0] === i) found.push([box.left + x, box.top + y]);
  }
  return found[found.length >> 1];  // well inside: a mouse is at whole pixels
}"""
INK = """(map) => {
  const canvas = document.querySelectorAll('.rs-scatter canvas')[map];
  return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data].reduce((sum, v, k) => (sum * 31 + v * (k % 97)) % 1000003, 0);
}"""


@pytest.fixture
def samples_page(lab, page):
    write_notebook(lab, "samples.ipynb", CELLS)
    page.set_viewport_size({"width": 1300, "height": 1600})
    opened(page, lab("samples.ipynb"))
    run_all(page)
    page.locator(".rs-gallery-list button").first.wait_for(timeout=60_000)
    page.wait_for_function("() => document.querySelectorAll('.rs-scatter canvas').length === 2")
    page.wait_for_timeout(1000)
    yield page
    assert page.locator(".rs-error").count() == 0 and page.outside == [] and page.errors == []
    assert printed(page, "print(e.errors)") == "[]"
    leave(page)


def soon(page, holds, what):
    """Wait until it holds; the machine may be busy."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never: {what}")


def test_two_maps_and_the_list_are_linked(samples_page, tmp_path):
    page = samples_page
    page.screenshot(path=str(tmp_path / "opened.png"))
    items, maps = page.locator(".rs-gallery-list button"), page.locator(".rs-scatter canvas")
    assert items.count() == 60 and maps.count() == 2
    boxes = [maps.nth(k).bounding_box() for k in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"], "next to each other"

    # while the kernel computes, pointing and clicking still mark the sample everywhere
    page.evaluate(
        """() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute(
          { code: "import time; time.sleep(6)" }); }"""
    )
    before = [page.evaluate(INK, k) for k in range(2)]
    items.nth(5).hover()
    soon(
        page,
        lambda: all(page.evaluate(INK, k) != before[k] for k in range(2)),
        "both maps mark what the list points at",
    )
    name = items.nth(9).locator("b").inner_text()
    spot = page.evaluate(POINT, [0, name])
    page.mouse.move(*spot)
    soon(page, lambda: "rs-hovered" in (items.nth(9).get_attribute("class") or ""), "the list marks the sample")
    page.mouse.click(*spot)
    soon(page, lambda: items.nth(9).get_attribute("aria-selected") == "true", "the list chooses the sample")
    page.screenshot(path=str(tmp_path / "busy.png"))

    # and when it is free, the sample is described
    page.get_by_text(f"{name}", exact=True).nth(1).wait_for(timeout=30_000)
    row = int(printed(page, "print(e.panel.gallery.samples[9])"))
    numbers = "print(e.panel.maps.views[1].chosen[-1], e.panel.gallery.chosen[-1], e.panel.detail.count('<img'))"
    soon(page, lambda: printed(page, numbers) == f"{row} {row} 21", "the kernel knows the sample and its neighbours")
    items.nth(2).click()
    items.nth(2).press("ArrowRight")
    page.keyboard.press("Enter")
    chosen = "print(e.panel.gallery.chosen == [e.panel.gallery.samples[3]])"
    soon(page, lambda: printed(page, chosen) == "True", "the kernel hears it")
    page.get_by_role("button", name="classes").click()
    page.locator(".rs-matrix canvas").wait_for(state="visible")
    page.screenshot(path=str(tmp_path / "classes.png"))
