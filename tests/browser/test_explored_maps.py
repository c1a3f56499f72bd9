"""The explorer of maps in a real browser: hover, clicks, lasso, keys, slider, drop-downs, themes."""

import pytest
from steps import leave, opened, printed, run_all, write_notebook

CELLS = [
    """import numpy as np
import repsim_nb as rs
names = ["mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0", "mnist-mlp-1", "mnist-vit-0", "shuffled-cnn-0"]
last = rs.record([f"zoo:{name}" for name in names], rs.load_dataset("mnist", n=120), progress=False)
rng, found = np.random.default_rng(0), {}
for key in last:
    start = rng.normal(size=last[key].shape) * np.std(last[key])
    for step in range(4):
        found[key._replace(step=step)] = (last[key] * step + start * (3 - step)) / 3
x = rs.store.Activations(found, last.facts)""",
    "e = rs.explorers.embedding_map(x)\ne",
]
ACTIVE = "() => window.jupyterapp.shell.currentWidget.content.activeCellIndex"
THEME = "(theme) => { window.jupyterapp.commands.execute('apputils:change-theme', { theme }); }"
CANVAS = ".rs-scatter canvas"
LOCATED = """(canvas) => {
  const tip = canvas.parentElement.querySelector('.rs-tip'), box = canvas.getBoundingClientRect(), spots = {};
  for (let y = 2; y < box.height; y += 4) for (let x = 2; x < box.width; x += 4) {
    canvas.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + x, clientY: box.top + y }));
    if (getComputedStyle(tip).display === 'none') continue;
    const names = [...tip.querySelectorAll('b')].map((b) => b.textContent);
    if (names.length === 1) (spots[names[0]] ??= []).push([x, y]);
  }
  canvas.dispatchEvent(new PointerEvent('pointerleave'));
  return Object.fromEntries(Object.entries(spots).map(([name, at]) => [name, [0, 1].map((k) => at.reduce((sum, p) => sum + p[k], 0) / at.length)]));
}"""


def located(page):
    """{label: (x, y)} on the page, of every point that can be pointed at alone."""
    box = page.locator(CANVAS).bounding_box()
    return {name: (box["x"] + x, box["y"] + y) for name, (x, y) in page.locator(CANVAS).evaluate(LOCATED).items()}


def drawn(page):
    return int(page.locator(CANVAS).get_attribute("data-drawn"))


def after(page, act):
    """Do it, and wait until the picture was drawn again and all is quiet."""
    before = drawn(page)
    act()
    page.wait_for_function(
        "(before) => Number(document.querySelector('.rs-scatter canvas').dataset.drawn) > before", arg=before
    )
    page.get_by_role("button", name="Stop", disabled=True).wait_for()
    page.wait_for_timeout(300)


def choice(page, name):
    return page.locator(".widget-dropdown").filter(has=page.get_by_text(name, exact=True)).locator("select")


def colors_of(page):
    """How many pixels of the canvas have each (strong) color."""
    return page.locator(CANVAS).evaluate("""(canvas) => {
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height), counts = {};
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] < 255 || Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) < 60) continue;
        const hex = '#' + [0, 1, 2].map((k) => data[i + k].toString(16).padStart(2, '0')).join('');
        counts[hex] = (counts[hex] || 0) + 1;
      }
      return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 30));
    }""")


def shown(lab, page, name, cells):
    """The page with a notebook of these cells, run, and its map there."""
    write_notebook(lab, name, cells)
    page.set_viewport_size({"width": 1300, "height": 1500})
    opened(page, lab(name))
    run_all(page)
    page.locator(CANVAS).wait_for(state="visible", timeout=60_000)
    page.wait_for_timeout(1000)
    return page


@pytest.fixture
def map_page(lab, page):
    yield shown(lab, page, "maps.ipynb", CELLS)
    assert page.locator(".rs-error").count() == 0 and page.outside == [] and page.errors == []
    assert printed(page, "print(e.errors)") == "[]"
    leave(page)


def test_a_map_answers_the_mouse(map_page, tmp_path):
    page = map_page
    page.screenshot(path=str(tmp_path / "opened.png"))
    points = located(page)
    assert set(points) <= set(printed(page, "print(*e.view.labels, sep='|')").split("|")) and len(points) >= 12

    name = next(label for label in points if label.startswith("mnist-mlp-0"))
    page.mouse.move(*points[name])
    tip = page.locator(".rs-scatter .rs-tip")
    tip.wait_for(state="visible")
    assert name in tip.inner_text() and "layer: " in tip.inner_text() and "step: " in tip.inner_text()
    page.screenshot(path=str(tmp_path / "tip.png"))

    other = next(label for label in points if label.startswith("mnist-vit-0"))
    page.mouse.click(*points[name])
    page.get_by_text("Click another point").wait_for()
    page.mouse.click(*points[other])
    page.get_by_text(f"{name} × {other}, layers × layers").or_(page.get_by_text(f"{name} × {other}")).first.wait_for()
    page.locator(".rs-matrix canvas").wait_for(state="visible")
    page.wait_for_timeout(500)
    page.screenshot(path=str(tmp_path / "pair.png"))
    assert printed(page, "print(*[e.view.labels[i] for i in e.view.chosen], sep='|')") == f"{name}|{other}"

    before = colors_of(page)
    after(page, lambda: choice(page, "color").select_option("model"))
    assert colors_of(page).keys() - before.keys(), "six models, six colors"
    assert printed(page, "print(len(e.view.chosen))") == "2", "the map is the same"
    page.screenshot(path=str(tmp_path / "colored.png"))
    after(page, lambda: choice(page, "shape").select_option("model"))
    page.screenshot(path=str(tmp_path / "shaped.png"))
    after(page, lambda: choice(page, "measure").select_option("procrustes"))
    kept = printed(page, "print(e.result.name, *[e.view.labels[i] for i in e.view.chosen], sep='|')")
    assert kept == f"procrustes|{name}|{other}", "the same points of another map"
    page.screenshot(path=str(tmp_path / "measured.png"))


def test_keys_lasso_and_slider(map_page, tmp_path):
    page = map_page
    after(page, lambda: choice(page, "color").select_option("step"))
    page.screenshot(path=str(tmp_path / "steps.png"))
    points, canvas = located(page), page.locator(CANVAS).bounding_box()

    left, top, right, bottom = canvas["x"] + 50, canvas["y"] + 70, canvas["x"] + 360, canvas["y"] + 450
    page.mouse.move(left, top)
    page.mouse.down()
    for spot in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(*spot, steps=5)
    page.screenshot(path=str(tmp_path / "drawing.png"))
    page.mouse.up()
    page.get_by_text("among themselves").or_(page.get_by_text("with the rest")).wait_for()
    inside = set(printed(page, "print(*[e.view.labels[i] for i in e.view.selected], sep='|')").split("|"))
    assert {name for name, (x, y) in points.items() if left < x < right and top < y < bottom} == inside & set(
        points
    ) and inside
    page.wait_for_timeout(200)
    page.screenshot(path=str(tmp_path / "selected.png"))

    page.locator(CANVAS).focus()
    cell = page.evaluate(ACTIVE)
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
    tip = page.locator(".rs-scatter .rs-tip")
    tip.wait_for(state="visible")
    name = tip.locator("b").first.inner_text()
    page.keyboard.press("Enter")
    page.get_by_text("Click another point").wait_for()
    page.screenshot(path=str(tmp_path / "keys.png"))
    assert printed(page, "print(e.view.labels[e.view.chosen[0]])") == name
    assert (
        page.evaluate("() => document.activeElement === document.querySelector('.rs-scatter canvas')")
        and page.evaluate(ACTIVE) == cell
    ), "the notebook did not take the keys for its own"
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    assert printed(page, "print(e.view.chosen, e.view.selected)") == "[] []"

    slider = page.locator(".widget-hslider [role=slider], .widget-hslider .noUi-handle").first
    slider.focus()
    after(page, lambda: page.keyboard.press("ArrowLeft"))
    after(page, lambda: page.keyboard.press("ArrowLeft"))
    assert printed(page, "print(e.values()['step'], sum(e.view.shown))") == "1 12"
    page.screenshot(path=str(tmp_path / "early.png"))
    assert all(name.endswith(("/0", "/1")) for name in located(page)), "later points cannot be pointed at"


def test_all_layers_in_a_narrow_window_and_a_dark_one(map_page, tmp_path):
    page = map_page
    after(page, lambda: choice(page, "layer").select_option("all layers"))
    after(page, lambda: choice(page, "color").select_option("model"))
    page.screenshot(path=str(tmp_path / "layers.png"))
    light = page.locator(CANVAS).screenshot()
    after(page, lambda: page.evaluate(THEME, "JupyterLab Dark"))
    page.wait_for_timeout(2000)
    assert page.locator(CANVAS).screenshot() != light
    page.screenshot(path=str(tmp_path / "dark.png"))
    page.set_viewport_size({"width": 560, "height": 1500})
    page.wait_for_timeout(800)
    page.screenshot(path=str(tmp_path / "narrow.png"))
    assert located(page) and page.locator(CANVAS).bounding_box()["width"] < 500, "it takes the room that it has"
    page.set_viewport_size({"width": 1300, "height": 1500})
    page.wait_for_timeout(800)
    assert page.locator(CANVAS).bounding_box()["width"] > 560, "next to the detail"
    after(page, lambda: page.evaluate(THEME, "JupyterLab Light"))  # JupyterLab remembers it, and other tests come
    page.wait_for_timeout(1000)


def test_points_in_one_place_are_all_named_and_chosen_in_turn(lab, page, tmp_path):
    view = """from repsim_nb.display.views import ScatterView
e = ScatterView(points=[[0, 0], [0, 0], [3, 1], [1, 2]], labels=["twin", "other twin", "far", "further"], notes=["kind: <b>one</b>", "kind: two", "", ""], colors=["#0072b2"] * 4,
                shapes=["o", "s", "^", "*"], title="A title that is longer than one line can be, " * 4, legend=[["heading", [["a name that is far too long for the room a legend has", "#0072b2", "o"]]]])
e"""
    shown(lab, page, "twins.ipynb", [view])
    page.screenshot(path=str(tmp_path / "twins.png"))
    points = located(page)
    assert set(points) == {"far", "further"}, "no other can be pointed at alone"
    (x2, y2), (x3, y3) = points["far"], points["further"]
    spot, tip = (
        (x3 - (x2 - x3) / 2, y2 + (y2 - y3)),
        page.locator(".rs-scatter .rs-tip"),
    )  # (0, 0), seen from (3, 1) and (1, 2): one unit on both axes
    page.mouse.move(*spot)
    tip.wait_for(state="visible")
    assert tip.inner_text().split("\n") == ["twin", "kind: <b>one</b>", "other twin", "kind: two"]
    for chosen in ("[0]", "[0, 1]", "[0]"):
        page.mouse.click(*spot)
        page.wait_for_timeout(150)
        assert printed(page, "print(e.chosen)") == chosen
    page.mouse.click(*points["far"])
    page.wait_for_timeout(150)
    assert printed(page, "print(e.chosen, e.presses)") == "[0, 2] 4" and page.outside == [] and page.errors == []
    leave(page)


def test_a_point_without_a_value_is_a_small_dot_and_a_placed_one_has_a_ring(lab, page, tmp_path):
    view = """from repsim_nb.display.views import ScatterView
e = ScatterView(points=[[0, 0], [2, 0], [0, 2], [2, 2], [1, 1], [1, 2]], labels=list("abcdef"), notes=[""] * 6,
                colors=["#d01010", "#10a010", "#10a010", "#7700dd", "#10a010", "#10a010"], shapes=["o", ".", ".", "o", ".", "."], ringed=[3])
e"""
    shown(lab, page, "dots.ipynb", [view])
    page.screenshot(path=str(tmp_path / "dots.png"))
    area = colors_of(page)
    assert 0.1 < area["#10a010"] / 4 / area["#d01010"] < 0.4, "half as wide as a circle"
    ring = (
        "(canvas) => { const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height); return"
        " data.reduce((sum, v, i) => sum + (i % 4 === 3 && v > 0), 0); }"
    )
    ringed = page.locator(CANVAS).evaluate(ring)
    printed(page, "e.ringed = []")
    page.wait_for_timeout(500)
    assert ringed - page.locator(CANVAS).evaluate(ring) > 20, "ink where the ring was"
    x, y = located(page)["d"]
    page.mouse.click(x, y)
    page.wait_for_timeout(300)
    assert printed(page, "print(e.chosen, e.presses, e.seen == e.picture, e.is_late)") == "[3] 1 True False"
    printed(page, "e.picture += 1")
    assert printed(page, "print(e.is_late)") == "True", "a click on what was there before"
    page.wait_for_timeout(300)
    page.mouse.click(x, y)
    page.wait_for_timeout(300)
    assert page.outside == [] and page.errors == []
    leave(page)
