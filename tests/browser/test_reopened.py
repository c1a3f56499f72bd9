"""A notebook is run and saved, its kernel ends, and someone opens it again: pictures stand where the explorers were."""

import nbformat
import pytest
from steps import leave, opened, run_all, shut_down, write_notebook

CELLS = [
    """import repsim_nb as rs
names = ["zoo:mnist-cnn-0", "zoo:mnist-cnn-1", "zoo:mnist-resnet-0", "zoo:mnist-vit-0"]
x = rs.record(names, rs.load_dataset("mnist"))""",
    "rs.explorers.comparison(x)",
    (
        "rs.explorers.explore(lambda kind: rs.embedding.mds(rs.compare('cka', x), kind=kind), kind=['smacof',"
        " 'classical'])"
    ),
    "rs.explorers.explore(lambda k: 1 / k, k=[0])",
]
PICTURES = (
    "() => [...document.querySelectorAll('.rs-saved')].map((n) => { const b = n.getBoundingClientRect(); return"
    " [b.width, b.height]; })"
)


@pytest.fixture
def small(lab):
    return write_notebook(lab, "small.ipynb", CELLS)


def test_a_notebook_opened_again_shows_its_pictures(lab, page, small):
    page.set_viewport_size({"width": 1280, "height": 2000})
    opened(page, lab("small.ipynb", own_kernel=True))
    run_all(page)
    page.locator(".rs-matrix canvas").wait_for()
    assert [size for size in page.evaluate(PICTURES) if any(size)] == [], "nothing is shown twice while it is live"
    page.get_by_role("button", name="Keep picture").first.click()
    page.get_by_text("picture kept").wait_for()
    assert [size for size in page.evaluate(PICTURES) if any(size)] == []
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    shut_down(page)

    saved = nbformat.read(small, as_version=4)
    recorded, *explorers = saved.cells
    assert recorded.outputs and all(
        set(output.data) == {"text/html", "text/plain"} and not output.data["text/html"] for output in recorded.outputs
    ), "the progress bar is gone"
    assert [len(cell.outputs) for cell in explorers] == [2, 2, 2]

    page.goto("about:blank")
    opened(page, lab("small.ipynb", own_kernel=True))
    pictures = page.locator(".rs-saved")
    for i in range(3):
        pictures.nth(i).wait_for(state="visible")
    sizes = page.evaluate(PICTURES)
    assert all(width > 300 and height > 200 for width, height in sizes[:2])
    assert "division by zero" in pictures.nth(2).evaluate("(n) => getComputedStyle(n, '::before').content")
    failures = page.get_by_text("Error displaying widget")  # JupyterLab's own message: it is there, and hidden
    for i in range(3):
        failures.nth(i).wait_for(state="attached")
        assert not failures.nth(i).is_visible() and pictures.nth(i).is_visible()

    page.set_viewport_size({"width": 420, "height": 2000})  # a narrow window: smaller, and whole
    page.wait_for_timeout(500)
    (width, height), *_ = page.evaluate(PICTURES)
    assert width < sizes[0][0] and abs(width / height - sizes[0][0] / sizes[0][1]) < 0.02
    run_all(page)
    page.locator(".rs-matrix canvas").wait_for()
    assert [size for size in page.evaluate(PICTURES) if any(size)] == [], "run again, it is live again"
    shut_down(page)


def test_a_notebook_from_someone_else_shows_each_picture_once(lab, page, small):
    opened(page, lab("small.ipynb"))
    run_all(page)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    leave(page)
    notebook = nbformat.read(small, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("as changed on another machine: JupyterLab does not trust it"))
    nbformat.write(notebook, lab.root / "foreign.ipynb")
    page.set_viewport_size({"width": 1280, "height": 2000})
    opened(page, lab("foreign.ipynb"))
    pictures = page.locator(".jp-RenderedImage img")
    pictures.nth(1).wait_for(state="visible")
    assert pictures.count() == 2 and [size for size in page.evaluate(PICTURES) if size[1]] == []
    assert page.get_by_text("Error displaying widget").count() == 0
    leave(page)
