"""Explorers: controls beside a picture that redraws itself.

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
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import measures, plots
from .comparison import Comparison, compare, short_labels
from .datasets import Dataset
from .embedding import Embedding
from .errors import Stopped, UndefinedError, unknown
from .models import OUTPUT
from .progress import Tick
from .store import Activations, Key, from_arrays
from .views import MatrixView

Picture = Figure | Comparison | Embedding


class _Worker:
    """Runs the last job asked for in a thread of its own; a job that is overtaken or stopped delivers nothing."""

    def __init__(self, deliver: Callable[[Any, BaseException | None], None], report: Tick) -> None:
        self._deliver, self._report = deliver, report
        self._changed = threading.Condition()
        self._newest = 0
        self._pending: tuple[int, Callable[[Tick], Any]] | None = None
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[Tick], Any]) -> None:
        """Do this instead of whatever is waiting or running."""
        with self._changed:
            self._newest += 1
            self._pending = self._newest, job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="repsim_nb explorer")
                self._thread.start()

    def stop(self) -> None:
        """Forget the running job; a job that calls its tick ends there, any other ends unseen."""
        with self._changed:
            self._newest += 1
            self._pending = self._thread = None
            self._changed.notify_all()

    def join(self, timeout: float | None = None) -> None:
        """Return when nothing waits or runs; TimeoutError otherwise."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._thread is None, timeout):
                raise TimeoutError(f"the explorer is still working after {timeout} s")

    def _work(self) -> None:
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
            if number == self._newest:
                self._deliver(result, error)


class Explorer(widgets.VBox):
    """Controls and the picture they ask for.

    errors: the exceptions of failed drawings, oldest first.  wait(): until the picture is there; raises what the last drawing raised.
    code(): Python that makes the same picture.  result: what the last drawing returned.  controls: the widgets, by name.
    """

    def __init__(self, draw: Callable[..., Picture], controls: Mapping[str, widgets.Widget], code: Callable[..., str], on_cell: Callable[[int, int], None] | None = None) -> None:
        self._draw, self._code = draw, code
        self._told = "progress" in inspect.signature(draw).parameters
        self.controls, self.errors = dict(controls), []
        self.result: Picture | None = None
        self._last_error: BaseException | None = None
        self._display_id = f"repsim-{uuid.uuid4().hex}"
        self._shown = False
        self._last_report = 0.0
        self._worker = _Worker(self._deliver, self._report)
        self._matrix, self._image = MatrixView(), widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain"})
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
        return {name: control.value for name, control in self.controls.items()}

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
        return self._code(**self.values())

    def stop(self) -> None:
        """Give up what is being computed; the picture before stays."""
        self._worker.stop()
        self._busy(False, "stopped")

    def keep(self) -> None:
        """Put the present picture into the notebook, so that it is there when the notebook is opened without a kernel."""
        from IPython.display import display

        if self._shown:
            display(self._bundle(), raw=True, display_id=self._display_id, update=True)
        self._status.value = "picture kept: save the notebook"

    def png(self) -> bytes | None:
        """The present picture as PNG; None where there is none."""
        if isinstance(self.result, Comparison):
            return plots.png(lambda ax: plots.heatmap(self.result, ax=ax), *plots.heatmap_size(self.result))
        return bytes(self._image.value) if self.result is not None else None

    # -- drawing, in the background: only traits are set there -------------------------------------------------------------

    def _request(self) -> None:
        values = self.values()
        self._busy(True, "computing …")
        self._list_code()

        def job(tick: Tick) -> tuple[Picture, bytes | None]:
            result = self._draw(**values, progress=tick) if self._told else self._draw(**values)
            result = result.figure if isinstance(result, Axes) else result
            if not isinstance(result, Picture):
                raise TypeError(f"draw must return a Figure, a Comparison or an Embedding; {getattr(self._draw, '__name__', 'it')} returned {type(result).__name__}")
            return result, _picture(result)

        self._worker.submit(job)

    def _report(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last_report > 0.1:
            self._last_report = now
            self._bar.value, self._bar.layout.display, self._status.value = done / total, "", f"{done} of {total}"

    def _deliver(self, drawn: tuple[Picture, bytes | None] | None, error: BaseException | None) -> None:
        self._last_error = error
        if error is not None or drawn is None:
            self.errors.append(error)
            self._message.value = _explain(error)
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


def _explain(error: BaseException | None) -> str:
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


# -- the explorer of any function ------------------------------------------------------------------------------------------

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
    made = {name: _control(name, choice) for name, choice in controls.items()}

    def code(**values: Any) -> str:
        return f"{getattr(draw, '__name__', 'draw')}({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    return Explorer(draw, made, code)


# -- the comparison explorer -----------------------------------------------------------------------------------------------

BESIDE = ("cka", "cka_debiased", "cka_rbf", "procrustes", "mean_cca", "svcca", "rsa")  # what the detail of a pair lists


def comparison(xs: Mapping[Any, Any], *, dataset: Dataset | None = None, measure: str = "cka", a: str | None = None, b: str | None = None) -> Explorer:
    """Layers of one network against layers of another: choose both, and the measure; click a cell for the detail of that pair.

    xs: activations of the same samples (what `record` returns, a Store, or {"model/layer": array}).
    dataset: what they were recorded on: then the detail sorts samples by class.  measure, a, b: the first choice.
    """
    return _Comparing(xs, dataset, measure, a, b)


class _Comparing(Explorer):
    def __init__(self, xs: Mapping[Any, Any], dataset: Dataset | None, measure: str, a: str | None, b: str | None) -> None:
        self._given = xs
        self._xs = xs if isinstance(xs, Activations) else from_arrays(xs)
        if not len(self._xs):
            raise ValueError("there is nothing to explore: no activations were given")
        self._dataset = dataset
        groups = list(dict.fromkeys(key._replace(layer="") for key in self._xs))
        names = short_labels(pd.MultiIndex.from_tuples(groups, names=Key._fields)) if len({g.model for g in groups}) < len(groups) else tuple(g.model for g in groups)
        self._groups = dict(zip(names, groups, strict=True))
        self._done: dict[tuple[str, str, str], Comparison] = {}
        wide = {"style": {"description_width": "initial"}}
        first = a if a is not None else names[0]
        second = b if b is not None else names[min(1, len(names) - 1)]
        controls = {
            "a": widgets.Dropdown(options=names, value=self._check(first, names), description="model A (rows)", **wide),
            "b": widgets.Dropdown(options=names, value=self._check(second, names), description="model B (columns)", **wide),
            "measure": widgets.Dropdown(options=list(measures.REPRESENTATIONAL), value=measures.short_name(measures.get(measure)), description="measure", **wide),
        }
        self._detail, self._detail_image = widgets.HTML(), widgets.Image(format="png", layout={"max_width": "100%", "object_fit": "contain", "display": "none"})
        self.detail_errors: list[BaseException] = []
        self._detailing = _Worker(self._deliver_detail, lambda done, total: None)
        super().__init__(self._compared, controls, self._code_of, on_cell=self._choose)
        self._detail.value = "<i>Click a cell for the detail of that pair of layers.</i>"
        self.children = (*self.children, self._detail, self._detail_image)
        for control in controls.values():
            control.observe(lambda _: self._clear_detail(), "value")

    @staticmethod
    def _check(name: str, names: tuple[str, ...]) -> str:
        if name not in names:
            raise unknown("choice", name, names)
        return name

    def _side(self, name: str) -> Activations:
        group = self._groups[name]
        return Activations({key: self._xs[key] for key in self._xs if key._replace(layer="") == group})

    def _compared(self, a: str, b: str, measure: str, progress: Tick) -> Comparison:
        if (a, b, measure) not in self._done:  # found again: nobody waits twice
            self._done[a, b, measure] = compare(measure, self._side(a), self._side(b), on_undefined="mask", progress=progress)
        return self._done[a, b, measure]

    def _code_of(self, a: str, b: str, measure: str) -> str:
        name = _name_of(self._given) or "activations"
        plain = "" if isinstance(self._given, Activations) else f"{name} = rs.from_arrays({name})\n"
        lines = [f"{side} = {name}.where({self._fields_of(group)})" for side, group in (("a", a), ("b", b))]
        return "import repsim_nb as rs\n" + plain + "\n".join(lines) + f"\nrs.plots.heatmap(rs.compare({measure!r}, a, b, on_undefined='mask'));"

    def _fields_of(self, name: str) -> str:
        group = self._groups[name]
        varying = [f for f in Key._fields if f != "layer" and len({getattr(g, f) for g in self._groups.values()}) > 1] or ["model"]
        return ", ".join(f"{field}={getattr(group, field)!r}" for field in varying)

    # -- the detail of one pair --------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Explorer:
        """Until picture and detail are there; raises what the last of them raised."""
        super().wait(timeout)
        self._detailing.join(timeout)
        return self

    def choose(self, row: str, column: str) -> None:
        """Show the detail of a pair of layers, as a click on its cell does."""
        self.wait()
        rows, columns = self.result.labels()  # type: ignore[union-attr]
        self._matrix.chosen = [rows.index(self._check(row, rows)), columns.index(self._check(column, columns))]
        self._matrix.presses += 1

    def _clear_detail(self) -> None:
        self._detailing.stop()
        self._detail.value, self._detail_image.layout.display = "", "none"

    def _choose(self, row: int, column: int) -> None:
        shown = self.result
        if not isinstance(shown, Comparison) or row >= shown.values.shape[0] or column >= shown.values.shape[1]:
            return
        keys = Key(*shown.values.index[row]), Key(*shown.values.columns[column])
        self._detail.value = f"<i>{html.escape(str(keys[0]))} × {html.escape(str(keys[1]))}: computing …</i>"
        self._detailing.submit(lambda tick: self._detailed(keys, shown, tick))

    def _detailed(self, keys: tuple[Key, Key], shown: Comparison, tick: Tick) -> tuple[str, bytes | None]:
        x, y = self._xs[keys[0]], self._xs[keys[1]]
        names = list(dict.fromkeys([shown.name, *BESIDE, *(measures.FUNCTIONAL if keys[0].layer == keys[1].layer == OUTPUT else ())]))
        titles = [f"{key.model} / {key.layer}" for key in keys]
        rows, reasons = [], []
        for done, name in enumerate(names):
            tick(done, len(names))
            undefined: dict[tuple[int, int], str] = {}
            value = measures.get(name).table({titles[0]: x}, {titles[1]: y}, undefined=undefined)[0, 0]
            rows.append(_value_row(measures.get(name), None if undefined else value, chosen=name == shown.name))
            reasons += undefined.values()
        about = [f"n = {len(x)} samples", *(f"{title}: {int(np.prod(v.shape[1:]))} features" for title, v in zip(titles, (x, y), strict=True))]
        wide = [title for title, v in zip(titles, (x, y), strict=True) if np.prod(v.shape[1:]) >= len(x)]
        if wide:
            reasons.append(f"{' and '.join(dict.fromkeys(wide))}: at least as many features as samples. Biased estimates such as cka read too high there; "
                           "compare with cka_debiased.")
        notes = "".join(f"<li>{html.escape(reason)}</li>" for reason in dict.fromkeys(reasons))
        table = f"<table style='line-height:1.35'><tr><th align='left'>measure</th><th align='right'>value</th><th align='left'>&nbsp; larger is</th></tr>{''.join(rows)}</table>"
        text = f"<b>{html.escape(' × '.join(titles))}</b><br>{html.escape('; '.join(about))}{table}"
        return text + (f"<ul style='max-width:680px;margin:4px 0;line-height:1.35'>{notes}</ul>" if notes else ""), self._matrices(titles, x, y)

    def _matrices(self, titles: list[str], x: Any, y: Any) -> bytes | None:
        known = self._dataset if self._dataset is not None and self._dataset.targets is not None and len(self._dataset) == len(x) else None
        try:
            pair = {title: measures.first_order(v) for title, v in zip(titles, (x, y), strict=True)}
        except UndefinedError:
            return None  # the row of rsa says why
        figure = Figure(layout="constrained")
        plots.samples(pair, targets=known.targets if known else None, classes=known.classes if known else (), figure=figure)
        return plots.figure_png(figure, dpi=90)

    def _deliver_detail(self, made: tuple[str, bytes | None] | None, error: BaseException | None) -> None:
        if error is not None or made is None:
            self.detail_errors.append(error)
            self.errors.append(error)
            self._detail.value, self._detail_image.layout.display = _explain(error), "none"
            return
        self._detail.value, image = made
        self._detail_image.value = image or b""
        self._detail_image.layout.display = "" if image else "none"


def _value_row(measure: measures.Measure, value: float | None, *, chosen: bool) -> str:
    direction = "more alike" if measure.kind == "similarity" else "less alike"
    low, high = measure.range
    number = "undefined" if value is None else f"{value:.4f}"
    return (f"<tr style='font-weight:{'bold' if chosen else 'normal'}'><td style='padding:0'>{measures.short_name(measure)}</td>"
            f"<td align='right' style='font-variant-numeric:tabular-nums;padding:0 0 0 16px'>{number}</td><td style='padding:0'>&nbsp; {direction} ({low:g} to {high:.3g})</td></tr>")


def _name_of(thing: Any) -> str | None:
    """The name that the notebook's user gave to an object, so that code can speak of it."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    names = [name for name, value in (shell.user_ns if shell else {}).items() if value is thing and not name.startswith("_")]
    return min(names, key=len) if names else None
