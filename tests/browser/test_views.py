"""The views without a kernel: the module of a view draws a state in a plain page."""

import json

import pytest

import repsim_nb as rs
from repsim_nb.display.views import script, style, view_state


@pytest.fixture
def drawn(page):
    """-> the page, with a spec drawn by its view, and its model in `window.model`."""

    def draw(name, state, width=900):
        state = state if isinstance(state, dict) else view_state(state)
        page.set_content(
            f"<style>{style(name)}</style><body style='margin:10px;font-family:sans-serif'>"
            f"<div style='width:{width}px'><div id='here'></div></div>"
            f"<script type='module'>{script(name)}\nconst state = {json.dumps(state)};"
            "window.model = show(document.getElementById('here'), state, (names) => { window.changed = names; }).model;</script>"
        )
        page.wait_for_function("() => Number(document.querySelector('#here canvas')?.dataset.drawn) > 0")
        return page

    yield draw
    assert page.outside == [] and page.errors == []


def state(page, name):
    return page.evaluate("(name) => window.model.get(name)", name)


def matrix(rows, columns):
    values = tuple(tuple((i * columns + j) / (rows * columns) for j in range(columns)) for i in range(rows))
    return rs.specs.MatrixSpec(
        values, tuple(f"layer {i}" for i in range(rows)), tuple(f"layer {j}" for j in range(columns)), title="a matrix"
    )


def test_a_matrix_is_drawn_and_clicked_without_a_widget(drawn):
    page = drawn("matrix", matrix(5, 6))
    assert "5 by 6 cells" in page.locator("canvas").get_attribute("aria-label")
    page.locator("canvas").focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert state(page, "chosen") == [1, 1] and page.evaluate("() => window.changed").count("chosen") == 1
