"""What an explorer leaves in a saved notebook, by the messages it sends. tests/browser reads one in JupyterLab."""

import asyncio
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor

import nbformat
import papermill
import pytest
from matplotlib.figure import Figure

import repsim_nb as rs
from repsim_nb.display.views import GalleryView


def figure_of(k):
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().set_title(f"k = {k}")
    return figure


class Outputs:
    """A cell's outputs, as a frontend would hold them."""

    def __init__(self, monkeypatch):
        self.by_id = {}
        monkeypatch.setattr("IPython.display.display", self.display)

    def display(self, data, *, raw, display_id, update=False):
        assert raw and update == (display_id in self.by_id)
        self.by_id[display_id] = data

    @property
    def image(self):
        return next(iter(self.by_id.values())).get("image/png")

    @property
    def stand_in(self):
        return list(self.by_id.values())[1]["text/html"]


def test_a_kept_picture_is_in_both_outputs(monkeypatch):
    outputs = Outputs(monkeypatch)
    e = rs.explorers.explore(figure_of, k=[1, 2]).wait()
    e.snapshot()
    assert "cell of its own" in e.status and not outputs.by_id
    e._ipython_display_()
    first = outputs.image
    assert len(outputs.by_id) == 2 and first in outputs.stand_in and "aspect-ratio: 200 / 100" in outputs.stand_in
    e.controls["k"].value = 2
    e.wait()
    assert outputs.image == first
    e.snapshot()
    assert (
        outputs.image != first and outputs.image in outputs.stand_in and "kept" in e.status and len(outputs.by_id) == 2
    )


def test_a_failed_drawing_is_not_kept(monkeypatch):
    def draw(k):
        if k == 2:
            raise ValueError("two is too many")
        return figure_of(k)

    outputs = Outputs(monkeypatch)
    e = rs.explorers.explore(draw, k=[1, 2])
    e._ipython_display_()
    before = dict(outputs.by_id)
    e.controls["k"].value = 2
    with pytest.raises(ValueError):
        e.wait()
    e.snapshot()
    assert outputs.by_id == before and e.status == "there is no picture to keep"


def test_an_explorer_that_fails_at_once_leaves_its_sentence(monkeypatch):
    outputs = Outputs(monkeypatch)

    def draw(k):
        raise ValueError('"no"\n</style>')

    rs.explorers.explore(draw, k=[0])._ipython_display_()
    assert outputs.image is None and r'content: "Explorer: ValueError: \22 no\22 \a \3c /style>";' in outputs.stand_in


def test_one_picture_in_a_report(recorded, monkeypatch, tmp_path):
    """A report shows the explorer's own picture, without what stands in for it in a notebook that is opened again."""
    outputs = Outputs(monkeypatch)
    rs.explorers.comparison(recorded)._ipython_display_()
    cell = nbformat.v4.new_code_cell(
        "explorer", outputs=[nbformat.v4.new_output("display_data", data=data) for data in outputs.by_id.values()]
    )
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "saved.ipynb")
    page = rs.reports.to_html(tmp_path / "saved.ipynb").read_text()
    assert page.count("<img") == page.count(outputs.image.replace("\n", "")) == 1 and "class='rs-saved'" not in page


def at_a_kernel(monkeypatch, allow_stdin):
    shell = types.SimpleNamespace(get_parent=lambda: {"content": {"allow_stdin": allow_stdin}})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.setattr("repsim_nb.display.explorers.picture_panel.FIRST_PICTURE_TIMEOUT", 0.2)


def in_a_loop(cell):
    """Run in a thread of its own: the browser tests leave a running loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, cell).result()


def test_a_long_first_picture_does_not_hold_the_cell_of_a_person(monkeypatch):
    outputs, go, threads = Outputs(monkeypatch), threading.Event(), []
    at_a_kernel(monkeypatch, allow_stdin=True)
    monkeypatch.setattr(
        "IPython.display.display",
        lambda *given, **how: (threads.append(threading.current_thread()), outputs.display(*given, **how)),
    )

    def draw(k, progress):
        while k == 1 and not go.is_set():
            time.sleep(0.01)
            progress(0, 1)
        return figure_of(k)

    async def cell(stop):
        e = rs.explorers.explore(draw, k=[1, 2, 3])
        start = time.monotonic()
        e._ipython_display_()
        assert (
            time.monotonic() - start < 5 and outputs.image is None and "no picture yet" in outputs.stand_in and e.busy
        )
        if stop:
            e.stop()
            assert "Stopped before there was a picture" in e.message and not e.busy
            e.controls["k"].value = 2
        else:
            go.set()
        e.wait(5)
        await asyncio.sleep(0.1)
        first = outputs.image
        assert first and first in outputs.stand_in and set(threads) == {threading.current_thread()}, (
            "the kernel itself puts it into the notebook"
        )
        e.controls["k"].value = 3
        e.wait(5)
        await asyncio.sleep(0.1)
        assert outputs.image == first, "later ones are kept by 'Keep picture'"

    for stop in (True, False):
        outputs.by_id.clear(), threads.clear()
        in_a_loop(cell(stop))


def test_a_cell_that_nobody_watches_waits_for_its_picture(monkeypatch, tmp_path):
    outputs = Outputs(monkeypatch)
    at_a_kernel(monkeypatch, allow_stdin=False)

    async def cell():
        rs.explorers.explore(lambda k: time.sleep(0.5) or figure_of(k), k=[1])._ipython_display_()
        assert outputs.image and outputs.image in outputs.stand_in

    in_a_loop(cell())
    code = """import time
import repsim_nb as rs
from matplotlib.figure import Figure
rs.explorers.explore(lambda k: time.sleep(4) or Figure(figsize=(2, 1)), k=[1])"""
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), tmp_path / "in.ipynb")
    out = papermill.execute_notebook(
        str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), kernel_name="python3", progress_bar=False
    )
    widget, stand_in = out.cells[0].outputs
    assert widget.data["image/png"] and widget.data["image/png"].replace("\n", "") in stand_in.data["text/html"]


def test_a_view_outside_of_an_explorer_leaves_its_picture_too(monkeypatch, rng):
    outputs, x = Outputs(monkeypatch), rs.from_arrays({f"{m}/fc": rng.normal(size=(20, 3)) for m in "ab"})
    view = rs.explorers.comparison(x, measure="cka").wait().view
    view._ipython_display_()
    widget, saved = outputs.by_id.values()
    assert outputs.image and outputs.image.replace("\n", "") in saved["text/html"]
    assert "It answers the mouse in a running notebook" in saved["text/html"]
    assert widget["text/plain"].startswith("MatrixView. cka") and len(widget["text/plain"]) < 200
    assert "application/vnd.jupyter.widget-view+json" in widget


def test_a_list_of_samples_outside_of_an_explorer_leaves_their_names(monkeypatch):
    outputs, view = Outputs(monkeypatch), GalleryView()
    view.show([4, 2], "the two that differ most", labels=["four", "two"])
    view._ipython_display_()
    assert outputs.image is None and "GalleryView. the two that differ most: 'four', 'two'" in outputs.stand_in
