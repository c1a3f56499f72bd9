"""Long work shows how far it is, and leaves nothing behind when it is done."""

import re
import time

import nbformat
import papermill

from repsim_nb.support.progress import show_progress


def test_progress_in_a_notebook_leaves_nothing_behind(tmp_path):
    code = """
import time
from repsim_nb.support.progress import show_progress

for total in (1, 8):  # the first is over before anyone would wait
    with show_progress(True, "counting", "sheep") as tick:
        for i in range(total):
            time.sleep(0.1)
            tick(i + 1, total)
try:
    with show_progress(True, "failing", "sheep") as tick:
        time.sleep(0.3)
        tick(1, 2)
        raise ValueError
except ValueError:
    pass
print("done")
"""
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), tmp_path / "in.ipynb")
    out = papermill.execute_notebook(
        str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), kernel_name="python3", progress_bar=False
    )
    *lines, said = out.cells[0].outputs
    assert (
        said.text == "done\n"
        and [line.data for line in lines] == [{"text/html": "", "text/plain": ""}] * 2
        and "widgets" not in out.metadata
    )


def test_progress_in_a_notebook_says_how_far_it_is(monkeypatch):
    lines = []

    class Handle:
        def update(self, data, raw):
            lines.append(data["text/plain"])

    monkeypatch.setattr("repsim_nb.support.progress.in_a_notebook", lambda: True)
    monkeypatch.setattr(
        "IPython.display.display", lambda data, raw, display_id: lines.append(data["text/plain"]) or Handle()
    )
    with show_progress(True, "recording", "sample") as tick:
        for i in range(6):
            time.sleep(0.1)
            tick(i + 1, 6)
    assert 3 <= len(lines) <= 6 and lines[-1] == ""
    assert all(re.match(r"recording: +\d+%.* [2-6]/6 \[.*sample/s", line) for line in lines[:-1]), lines
