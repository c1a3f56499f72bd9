"""What every explorer is: controls, a picture, and a worker between them.

An explorer draws in the background, so that a control can be changed again at once; only the last request counts. It shows its
progress, can be stopped, shows an error where the picture would be, and hands out the code that makes the same picture.
"""

from __future__ import annotations

import base64
import html
import inspect
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plots
from ..comparison import Comparison
from ..embedding import Embedding
from ..errors import Stopped
from ..progress import Tick
from ..views import MatrixView

Picture = Figure | Comparison | Embedding


class Worker:
    """Runs the last job asked for in a thread of its own; a job that is overtaken or stopped delivers nothing."""

    def __init__(self, deliver: Callable[[Any, BaseException | None], None], report: Tick) -> None:
        self._deliver, self._report = deliver, report
        self._changed = threading.Condition()
        self._newest = 0
        self._pending: tuple[int, Callable[[Tick], Any]] | None = None
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[Tick], Any], before: Callable[[], None] = lambda: None) -> None:
        """Do this instead of whatever is waiting or running; `before` is called when nothing older can deliver any more."""
        with self._changed:
            self._newest += 1
            before()
            self._pending = self._newest, job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="repsim_nb explorer")
                self._thread.start()

    def stop(self, after: Callable[[], None] = lambda: None) -> None:
        """Forget the running job; a job that calls its tick ends there, any other ends unseen."""
        with self._changed:
            self._newest += 1
            self._pending = self._thread = None
            after()
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> None:
        """Return when nothing waits or runs; TimeoutError otherwise."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._thread is None, timeout):
                raise TimeoutError(f"the explorer is still working after {timeout} s")

    def _work(self) -> None:
        try:
            self._work_on()
        finally:
            with self._changed:
                if self._thread is threading.current_thread():
                    self._thread = None
                self._changed.notify_all()

    def _work_on(self) -> None:
        while True:
            with self._changed:
                if self._thread is not threading.current_thread():
                    return
                if self._pending is None:
                    self._thread = None
                    self._changed.notify_all()
                    return
                number, job = self._pending
                self._pending = None

            def tick(done: int, total: int, number: int = number) -> None:
                if number != self._newest:
                    raise Stopped
                self._report(done, total)

            try:
                result, error = job(tick), None
            except Stopped:
                continue
            except BaseException as problem:  # noqa: BLE001 (whatever goes wrong is shown in the explorer)
                result, error = None, problem
            with self._changed:  # nobody can ask for something newer between the look and the delivery
                if number != self._newest:
                    continue
                try:
                    self._deliver(result, error)
                except Exception as problem:
                    self._deliver(None, problem)


class Explorer(widgets.VBox):
    """Controls and the picture they ask for.

    errors: the exceptions of failed drawings, oldest first.  wait(): until the picture is there; raises what the last drawing raised.
    code(): Python that makes the same picture.  objects: {control: {label: object}} for drop-downs of things that are no plain values.  result: what the last drawing returned.  controls: the widgets, by name.
    """

    def __init__(self, draw: Callable[..., Picture], controls: Mapping[str, widgets.Widget], code: Callable[..., str], *,
                 on_cell: Callable[[int, int], None] | None = None, objects: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._draw, self._code, self._objects = draw, code, dict(objects or {})
        self._told = "progress" in inspect.signature(draw).parameters
        self.controls, self.errors = dict(controls), []
        self.result: Picture | None = None
        self._last_error: BaseException | None = None
        self._display_id = f"repsim-{uuid.uuid4().hex}"
        self._shown = False
        self._last_report = 0.0
        self._worker = Worker(self._deliver, self._report)
        self._matrix, self._image = MatrixView(), widgets.Image(format="png", layout={"max_width": "100%", "align_self": "flex-start"})
        self._message = widgets.HTML()
        self._stage = widgets.VBox([self._message], layout={"min_height": "330px", "overflow": "hidden"})
        self._bar = widgets.FloatProgress(min=0, max=1, layout={"width": "160px", "display": "none"})
        self._status = widgets.Label()
        self._stop = widgets.Button(description="Stop", icon="stop", tooltip="Stop what is being computed", layout={"width": "90px"}, disabled=True)
        self._keep = widgets.Button(description="Keep picture", icon="camera", tooltip="Put this picture into the saved notebook", layout={"width": "130px"})
        self._show_code = widgets.ToggleButton(description="Code", icon="code", tooltip="Show the code that makes this picture", layout={"width": "90px"})
        self._listing = widgets.HTML(layout={"display": "none"})
        self._stop.on_click(lambda _: self.stop())
        self._keep.on_click(lambda _: self.keep())
        self._show_code.observe(lambda _: self._list_code(), "value")
        if on_cell is not None:
            self._matrix.observe(lambda change: on_cell(*self._matrix.chosen), "presses")
        for control in self.controls.values():
            control.observe(lambda _: self._request(), "value")
        row = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="2px 14px")
        super().__init__([
            widgets.Box(list(self.controls.values()), layout=row),
            self._stage,
            widgets.Box([self._keep, self._show_code, self._stop, self._bar, self._status], layout=row),
            self._listing,
        ])  # fmt: skip
        self._request()

    def values(self) -> dict[str, Any]:
        """What the controls say now."""
        return {name: self._objects.get(name, {}).get(control.value, control.value) for name, control in self.controls.items()}

    def wait(self, timeout: float | None = None) -> Explorer:
        """Until the last request is drawn. Raises what it raised; TimeoutError after `timeout` seconds; an interrupt stops it."""
        try:
            self._worker.join(timeout)
        except KeyboardInterrupt:
            self.stop()
            raise
        if self._last_error is not None:
            raise self._last_error
        return self

    def code(self) -> str:
        """Python that makes the picture of the present controls."""
        return self._code(**{name: control.value for name, control in self.controls.items()})

    def stop(self) -> None:
        """Give up what is being computed; the picture before stays."""
        self._worker.stop(after=lambda: self._busy(False, "stopped"))

    def keep(self) -> None:
        """Put the present picture into the notebook's file: exports, reports and viewers without widgets show it.

        JupyterLab prefers the widget, and shows an error in its place until the cell is run again.
        """
        from IPython.display import display

        if self._shown:
            display(self._bundle(), raw=True, display_id=self._display_id, update=True)
        self._status.value = "picture kept: save the notebook" if self._shown else "only an explorer shown by a cell of its own can keep its picture"

    def png(self) -> bytes | None:
        """The present picture as PNG; None where there is none."""
        if isinstance(self.result, Comparison):
            return plots.png(lambda ax: plots.heatmap(self.result, ax=ax), *plots.heatmap_size(self.result))
        return bytes(self._image.value) if self.result is not None else None

    # -- drawing, in the background: only traits are set there -------------------------------------------------------------

    def _request(self) -> None:
        values = self.values()
        self._list_code()

        def job(tick: Tick) -> tuple[Picture, bytes | None]:
            result = self._draw(**values, progress=tick) if self._told else self._draw(**values)
            result = result.figure if isinstance(result, Axes) else result
            if not isinstance(result, Picture):
                raise TypeError(f"draw must return a Figure, a Comparison or an Embedding; {getattr(self._draw, '__name__', 'it')} returned {type(result).__name__}")
            return result, _picture(result)

        self._worker.submit(job, before=lambda: self._busy(True, "computing …"))

    def _report(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last_report > 0.1:
            self._last_report = now
            self._bar.value, self._bar.layout.display, self._status.value = done / max(total, 1), "", f"{done} of {total}"

    def _deliver(self, drawn: tuple[Picture, bytes | None] | None, error: BaseException | None) -> None:
        self._last_error = error
        if error is not None or drawn is None:
            self.errors.append(error)
            self._message.value = explain(error)
            self._stage.children = [self._message]
        else:
            self.result, image = drawn
            if isinstance(self.result, Comparison):
                _show(self.result, self._matrix)
                self._stage.children = [self._matrix]
            else:
                self._image.value = image
                self._stage.children = [self._image]
        self._busy(False, "")

    def _busy(self, busy: bool, status: str) -> None:
        self._stop.disabled, self._status.value = not busy, status
        if not busy:
            self._bar.layout.display, self._bar.value = "none", 0

    def _list_code(self) -> None:
        self._listing.value = f"<pre style='margin:4px 0;user-select:all'>{html.escape(self.code())}</pre>" if self._show_code.value else ""
        self._listing.layout.display = "" if self._show_code.value else "none"

    # -- showing it --------------------------------------------------------------------------------------------------------

    def _bundle(self) -> dict[str, Any]:
        bundle = dict(widgets.VBox._repr_mimebundle_(self) or {})
        bundle["text/plain"] = f"Explorer: {self.result!r}" if self._last_error is None else f"Explorer: {type(self._last_error).__name__}: {self._last_error}"
        image = self.png() if self._last_error is None else None
        if image is not None:
            bundle["image/png"] = base64.b64encode(image).decode()
        return bundle

    def _ipython_display_(self) -> None:
        """The cell ends when the first picture is there, so that a saved notebook or a report always holds it."""
        from IPython.display import display

        def settled(timeout: float | None) -> bool:
            try:
                self.wait(timeout)
            except TimeoutError:
                return False
            except Exception:  # noqa: BLE001 (it is shown in the explorer, and kept in .errors)
                return True
            return True

        at_once = settled(3)
        display(self._bundle(), raw=True, display_id=self._display_id)
        self._shown = True
        if not at_once:
            settled(None)
            display(self._bundle(), raw=True, display_id=self._display_id, update=True)


def _picture(result: Picture) -> bytes | None:
    if isinstance(result, Comparison):
        return None  # the matrix view draws it
    if isinstance(result, Embedding):
        return plots.png(lambda ax: plots.embedding(result, ax=ax), 6.4, 4.8)
    image = plots.figure_png(result)
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(result)  # drawn through pyplot, it would show up a second time
    return image


def explain(error: BaseException | None) -> str:
    return (f"<div class='rs-error' style='border-left:4px solid #d55e00;padding:6px 12px;margin:12px 0;max-width:640px'>"
            f"<b>{type(error).__name__}</b><br>{html.escape(str(error))}</div>")


def _show(comparison: Comparison, view: MatrixView) -> None:
    values = comparison.values.to_numpy(float)
    (rows, columns), (down, across) = comparison.labels(), plots.axis_titles(comparison)
    index, header = comparison.values.index, comparison.values.columns
    title, subtitle = plots.heading(comparison)
    low, high = plots.colour_limits(comparison)
    with view.hold_sync():
        view.values = [[float(v) if np.isfinite(v) else None for v in row] for row in values]
        view.row_labels, view.column_labels, view.row_title, view.column_title = list(rows), list(columns), down, across
        view.notes = {f"{i},{j}": comparison.undefined.get((index[i], header[j]), "") for i, j in np.argwhere(~np.isfinite(values)).tolist()}
        masked = f", {len(view.notes)} cells undefined (point at one to see why)" if view.notes else ""
        view.title, view.subtitle, view.low, view.high = title, subtitle + masked, low, high
        view.colours, view.bar_label = plots.colours_of(plots.colour_map(comparison)), plots.bar_label(comparison)
        view.chosen = []


def _control(name: str, choice: Any) -> widgets.Widget:
    style: dict[str, Any] = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
    if isinstance(choice, widgets.Widget):
        return choice
    if isinstance(choice, bool):
        return widgets.Checkbox(choice, indent=False, **style)
    if isinstance(choice, (list, dict)) and choice:
        return widgets.Dropdown(options=choice, **style)
    numbers = isinstance(choice, tuple) and len(choice) in (2, 3) and all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in choice)
    if numbers and choice[0] < choice[1]:
        whole = all(isinstance(c, int) for c in choice)
        step = choice[2] if len(choice) == 3 else 1 if whole else (choice[1] - choice[0]) / 100
        kind = widgets.IntSlider if whole else widgets.FloatSlider
        return kind(value=choice[0], min=choice[0], max=choice[1], step=step, continuous_update=False, **style)
    raise ValueError(f"the control '{name}' must be a list or dict (drop-down), (low, high) or (low, high, step) (slider), or True / False (tick); got {choice!r}")


def explore(draw: Callable[..., Picture], **controls: Any) -> Explorer:
    """Controls for the arguments of `draw`, and the picture it returns, redrawn at every change.

    draw(**values) returns a matplotlib Figure, a Comparison or an Embedding. If it has an argument `progress` it is given a function
    (done, total): pass it on to `compare` or `record` and the explorer shows how far it is and can stop it midway.
    controls: a list or {label: value} becomes a drop-down, (low, high) a slider, True or False a tick, a widget itself.
    """
    if not callable(draw):
        raise TypeError(f"explore takes a function first, explore(draw, layer=[...]); got {type(draw).__name__}")
    objects = {name: _labelled(choice) for name, choice in controls.items() if isinstance(choice, (list, dict)) and not _is_plain(choice)}
    made = {name: _control(name, list(objects[name]) if name in objects else choice) for name, choice in controls.items()}
    called = getattr(draw, "__name__", "draw")

    def code(**values: Any) -> str:
        words = [f"{name}={f'{name}_choices[{value!r}]' if name in objects else repr(value)}" for name, value in values.items()]
        return f"{called if called.isidentifier() else 'draw'}({', '.join(words)})"

    return Explorer(draw, made, code, objects=objects)


def _is_plain(choice: list[Any] | dict[str, Any]) -> bool:
    """Only values that print as Python and compare as one thing; a drop-down can hold these themselves."""
    return all(isinstance(value, (str, int, float, bool, type(None))) for value in (choice.values() if isinstance(choice, dict) else choice))


def _labelled(choice: list[Any] | dict[str, Any]) -> dict[str, Any]:
    return choice if isinstance(choice, dict) else {f"{i}: {type(value).__name__}": value for i, value in enumerate(choice)}
