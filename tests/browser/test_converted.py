"""An executed notebook that nbconvert writes as HTML: a picture stands where each explorer or view was, also without internet."""

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor

CELLS = [
    """import numpy as np, repsim_nb as rs
rng = np.random.default_rng(0)
x = rs.from_arrays({f"{model}/{layer}": rng.normal(size=(30, 4)) for model in "abc" for layer in ("one", "two")})""",
    "rs.explorers.comparison(x)",
    "rs.explorers.samples(x)",
    "rs.explorers.embedding_map(x)",
    "rs.explorers.comparison(x).wait().view",
    "rs.explorers.explore(lambda k: 1 / k, k=[0])",
]
SIZES = (
    "() => [...document.querySelectorAll('.rs-saved')].map((n) => { const b = n.getBoundingClientRect(); return"
    " [b.width, b.height]; })"
)
FORMS = {"light": {}, "dark": {"theme": "dark"}, "classic": {"template_name": "classic"}}
DRAWN = """(which) => { for (const place of document.querySelectorAll('.jupyter-widgets, .output_widget_view'))
    place.insertAdjacentHTML('afterbegin', "<div class='widget-subarea'>" + which + '</div>'); }"""


@pytest.fixture(scope="module")
def executed():
    """The notebook with the outputs and the state of widgets that `jupyter nbconvert --execute` saves."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    return ExecutePreprocessor(timeout=300, kernel_name="python3").preprocess(notebook)[0]


@pytest.mark.parametrize("form", FORMS)
def test_a_page_of_nbconvert_shows_pictures_and_what_is_missing(executed, page, tmp_path, form):
    assert len(executed.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]) > 10
    (tmp_path / "a.html").write_text(HTMLExporter(**FORMS[form]).from_notebook_node(executed)[0])
    page.route("http*://**", lambda route: route.abort())
    page.goto((tmp_path / "a.html").as_uri(), wait_until="domcontentloaded")
    sizes, pictures, notes = page.evaluate(SIZES), page.locator(".rs-saved"), page.locator(".rs-saved-note")
    assert len(sizes) == 5 and all(width > 300 and height > 200 for width, height in sizes[:4])
    assert notes.count() == 4 and all(notes.nth(i).is_visible() for i in range(4))
    assert "It answers the mouse in a running notebook" in notes.nth(3).inner_text()
    assert "Its controls and details need a running notebook" in notes.first.inner_text()
    assert pictures.nth(4).is_visible()
    assert "division by zero" in pictures.nth(4).evaluate("(n) => getComputedStyle(n, '::before').content")
    page.evaluate(DRAWN, "")  # the scripts of widgets were fetched, and draw nothing yet
    assert page.evaluate(SIZES) == sizes
    page.evaluate(DRAWN, "<b>live</b>")
    assert not any(map(any, page.evaluate(SIZES))) and not notes.first.is_visible(), "nothing is shown twice"
    assert page.get_by_text("live").first.is_visible()
