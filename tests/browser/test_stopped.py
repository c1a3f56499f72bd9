"""A first picture that takes long, in JupyterLab: the cell ends before it, Stop works, and the notebook holds it when
it has come.
"""

import json

from steps import leave, opened, printed, run_all, write_notebook

CELLS = [
    """import time
import repsim_nb as rs
from matplotlib.figure import Figure

def draw(k, progress):
    for i in range(100):
        time.sleep({1: 0.08, 2: 0.0, 3: 0.03}[k])
        progress(i + 1, 100)
    figure = Figure(figsize=(3, 2))
    figure.add_subplot().set_title(f"k = {k}")
    return figure""",
    "e = rs.explorers.explore(draw, k=[1, 2, 3])\ne",
    "after = time.sleep(0)",
]
BUSY = "time.sleep(8)  # whatever is clicked meanwhile is heard when it ends"


def outputs(page):
    notebook = json.loads(
        page.evaluate("() => JSON.stringify(window.jupyterapp.shell.currentWidget.context.model.toJSON())")
    )
    return notebook["cells"][1]["outputs"]


def state_of(page):
    """The state of the explorer `e`, printed by the kernel."""
    return printed(
        page, "print(e.values()['k'], e.result and e.result.axes[0].get_title(), e.code(), repr(e.status), sep='; ')"
    )


def test_stop_works_during_the_first_picture_and_the_next_one_is_saved(lab, page):
    write_notebook(lab, "stopped.ipynb", CELLS)
    opened(page, lab("stopped.ipynb"))
    run_all(page)
    page.get_by_text(" of 100, ").wait_for()
    assert "image/png" not in outputs(page)[0]["data"]
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped before there was a picture").wait_for(timeout=2_000)
    page.locator(".widget-dropdown select").select_option("2")
    page.locator(".widget-image").wait_for(state="visible")
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget.context.model.toJSON().cells[1].outputs.every((o) =>"
        " JSON.stringify(o).length > 3000)"
    )
    assert (
        outputs(page)[0]["data"]["image/png"].strip() in outputs(page)[1]["data"]["text/html"]
        and state_of(page) == "2; k = 2; draw(k=2); ''"
    )
    assert page.locator(".widget-dropdown select").input_value() == "2" and page.errors == []
    leave(page)


def test_a_first_picture_that_comes_later_is_saved(lab, page):
    write_notebook(lab, "later.ipynb", CELLS)
    opened(page, lab("later.ipynb"))
    run_all(page)
    assert "image/png" not in outputs(page)[0]["data"]
    page.wait_for_function(
        "() => 'image/png' in window.jupyterapp.shell.currentWidget.context.model.toJSON().cells[1].outputs[0].data"
    )
    assert len(outputs(page)) == 2 and state_of(page) == "1; k = 1; draw(k=1); ''" and page.errors == []
    leave(page)


def test_clicks_that_a_busy_kernel_hears_late_leave_everything_in_agreement(lab, page):
    write_notebook(lab, "busy.ipynb", [*CELLS, BUSY])
    opened(page, lab("busy.ipynb"))
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    choice, stop = page.locator(".widget-dropdown select"), page.get_by_role("button", name="Stop")
    page.get_by_text(" of 100, ").wait_for()
    stop.click()  # heard at once, or when the picture is complete: that is up to the kernel
    idle = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
    page.wait_for_function(idle, timeout=20_000)
    page.wait_for_timeout(500)
    heard, late = "1; None; draw(k=1); 'stopped'", "1; k = 1; draw(k=1); ''"
    assert state_of(page) in (heard, late) and choice.input_value() == "1", "not called stopped if it is complete"
    if state_of(page) == heard:
        choice.select_option("2")
    page.locator(".widget-image").wait_for(state="visible")

    page.evaluate(
        "() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({ code:"
        " 'e.controls[\"k\"].value = 3; time.sleep(1.5)' }); }"
    )
    page.get_by_text(" of 100").wait_for()
    for k in ("2", "1", "3"):
        choice.select_option(k)
    stop.click()
    page.wait_for_timeout(6_000)
    k = state_of(page)[0]
    assert state_of(page).startswith(f"{k}; k = {k}; draw(k={k})") and choice.input_value() == k and page.errors == []
    leave(page)
