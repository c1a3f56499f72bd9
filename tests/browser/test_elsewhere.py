"""Explorers in Jupyter Notebook 7, and views in marimo."""

import re
import sys

import pytest
from steps import free_port, leave, opened, run_all, served, write_notebook

CODE = """import numpy as np
import repsim_nb as rs
rng = np.random.default_rng(0)
x = rs.from_arrays({f"{model}/layer {k}": rng.normal(size=(40, 5)) for model in "ab" for k in range(6)})
rs.explorers.comparison(x, measure="cka")"""
APP = """import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import numpy as np

    import repsim_nb as rs
    from repsim_nb.display.views import MatrixView, ScatterView

    rng = np.random.default_rng(0)
    table = rs.compare("cka", {f"model {k}": rng.normal(size=(40, 5)) for k in range(6)})
    matrix, points = MatrixView(), ScatterView()
    matrix.show(rs.spec(table))
    points.show(rs.spec(rs.embedding.mds(table)))
    left, right = mo.ui.anywidget(matrix), mo.ui.anywidget(points)
    mo.hstack([left, right])
    return left, right, mo


@app.cell
def _(left, right, mo):
    mo.md(f"cell {left.value['chosen']}, point {right.value['chosen']}")
    return


if __name__ == "__main__":
    app.run()
"""

# Notebook 7.6 starts with errors of its own on a slow machine, also after the page is ready: it reads a schema of settings
# that it does not have, once or twice, and calls a command before the plugin that defines it is there.
OF_NOTEBOOK_7 = {
    "Cannot read properties of undefined (reading 'schema')",
    "Command 'filebrowser:open-path' not registered.",
}


def test_an_explorer_in_notebook_7_answers_the_mouse(lab, page):
    write_notebook(lab, "elsewhere.ipynb", [CODE])
    opened(page, lab("elsewhere.ipynb").replace("/doc/tree/", "/notebooks/"))
    assert page.evaluate("() => window.jupyterapp.name") == "Jupyter Notebook"
    run_all(page)
    canvas = page.locator(".rs-matrix canvas")
    canvas.wait_for(state="visible", timeout=30_000)
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.get_by_text("n = 40 samples").wait_for(timeout=20_000)  # the detail, from the kernel
    assert page.locator(".rs-error").count() == 0 and page.outside == []
    assert set(page.errors) <= OF_NOTEBOOK_7
    leave(page)


@pytest.fixture
def marimo(tmp_path):
    """The address of a marimo app that shows two views."""
    (tmp_path / "app.py").write_text(APP)
    host, port = "127.0.0.1", str(free_port())
    command = [
        sys.executable,
        "-m",
        "marimo",
        "run",
        "app.py",
        "--headless",
        "--no-token",
        "--host",
        host,
        "--port",
        port,
    ]
    with served(command, f"http://{host}:{port}/health", tmp_path / "marimo.log", cwd=tmp_path):
        yield f"http://{host}:{port}/"


def test_views_in_marimo_answer_the_mouse(marimo, page):
    page.goto(marimo)
    matrix, points = page.locator(".rs-matrix canvas"), page.locator(".rs-scatter canvas")
    matrix.wait_for(state="visible", timeout=60_000)
    page.get_by_text("cell [], point []").wait_for()
    box = matrix.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.get_by_text(re.compile(r"cell \[\d, \d\], point \[\]")).wait_for()
    assert page.locator(".rs-matrix .rs-tip").inner_text().startswith("model ")
    points.press("ArrowRight")
    points.press("Enter")
    page.get_by_text(re.compile(r"point \[\d\]")).wait_for()
    assert page.errors == [] and page.outside == []
