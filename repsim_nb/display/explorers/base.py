"""What every explorer is: controls, a picture, and a worker between them.

An explorer draws in the background, so that a control can be changed again at once; only the last request counts. It
shows its progress, can be stopped, shows an error where the picture would be, and hands out the code that makes the
same picture.
"""

from __future__ import annotations

import base64
import contextlib
import html
import inspect
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import traitlets

from repsim_nb.display import plots
from repsim_nb.display.specs import FigureSpec, spec
from repsim_nb.display.views import VIEWS, MatrixView, ScatterView
from repsim_nb.support.progress import Tick

from . import saved
from .kernel import call_later
from .worker import Worker

# s that a cell waits for its first picture where a person is at the notebook: its kernel hears no click meanwhile
FIRST_PICTURE_TIMEOUT = 3
Drawing = tuple[Any, FigureSpec, bytes | None]  # a result, what is shown of it, and its PNG if that has no view


class Explorer(widgets.VBox):
    """Controls and the picture that they ask for, drawn in the background.

    `explore` makes one of a function; `comparison`, `model_pair`, `embedding_map` and `dataset_bias` are ready-made. A
    cell that ends with an explorer shows it.

    Attributes
    ----------
    controls : dict of str to Widget
        By name. To set the `value` of one draws again.
    result : object
        What the last drawing returned.
    spec : FigureSpec or None
        What is shown; None if there is no picture.
    view : DOMWidget
        The widget that shows it, such as a `MatrixView`.
    message : str
        HTML in place of the picture, such as an error; "" if there is a picture.
    status : str
        What is being done, or was done last.
    progress : float or None
        The fraction that is done, from 0 to 1; None if that is not known.
    busy : bool
        Whether something is computed that `stop` would end.
    errors : list of Exception
        Of failed drawings, oldest first.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"{model}/{layer}": rng.normal(size=(20, 3)) for model in "ab" for layer in ("one", "two")})
    >>> explorer = rs.explorers.comparison(x, measure="cka").wait()
    >>> explorer.result.values.shape, explorer.spec.title
    ((2, 2), 'cka: a × b')
    >>> explorer.controls["measure"].value = "procrustes"
    >>> print(explorer.wait().code().splitlines()[-1])
    rs.plots.heatmap(rs.compare('procrustes', a, b, on_undefined='mask'));
    """

    children: Any  # of ipywidgets, which has no types

    def __init__(
        self,
        draw: Callable[..., Any],
        controls: Mapping[str, widgets.Widget],
        code: Callable[..., str],
        *,
        objects: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._draw, self._code, self._objects = draw, code, dict(objects or {})
        self._ticks = "progress" not in controls and "progress" in (parameters(draw) or ())
        self.controls, self.errors = dict(controls), list[BaseException]()
        self.result: Any = None
        self.spec: FigureSpec | None = None
        self._image: bytes | None = None  # of a spec that has no view of its own
        self._last_error: BaseException | None = None
        self._shown_values: dict[str, Any] | None = None  # the values of the controls for what is shown
        self._drawing = self._going_back = False
        self._display_id = f"repsim-{uuid.uuid4().hex}"
        self._displayed = self._delivered = False
        self._on_first_picture: Callable[[], None] | None = None  # where a notebook did not wait
        self._last_report = 0.0
        self._worker = Worker(self._report)
        # a message lies over the picture, whose place stays open: the page never jumps
        on_one_spot = {"grid_area": "1 / 1 / 2 / 2", "max_width": "100%"}
        self._matrix, self._scatter = MatrixView(layout=on_one_spot), ScatterView(layout=on_one_spot)
        self._picture = widgets.Image(format="png", layout=on_one_spot)
        self._views: dict[Any, Any] = {MatrixView: self._matrix, ScatterView: self._scatter}
        self.view: widgets.DOMWidget = self._picture
        self._message = widgets.HTML(layout=on_one_spot)
        columns = {"grid_template_columns": "minmax(0, 1fr)", "overflow": "hidden"}
        self._stage = widgets.GridBox(layout={**columns, "justify_items": "flex-start", "align_items": "flex-start"})
        self._bar = widgets.FloatProgress(min=0, max=1, layout={"width": "160px", "display": "none"})
        self._status = widgets.HTML()  # a Label would read formulas between the dollar signs of names
        self._stop = _button("Stop", "stop", "Stop what is being computed", "90px", disabled=True)
        self._keep = _button("Keep picture", "camera", "Put this picture into the saved notebook", "130px")
        self._show_code = widgets.ToggleButton(
            description="Code", icon="code", tooltip="Show the code that makes this picture", layout={"width": "90px"}
        )
        self._listing = widgets.HTML(layout={"display": "none"})
        self._stop.on_click(lambda _: self.stop())
        self._keep.on_click(lambda _: self.snapshot())
        self._show_code.observe(lambda _: self._list_code(), "value")
        for control in self.controls.values():
            control.observe(lambda _: self._request(), "value")
        row = widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="2px 14px")
        super().__init__(
            [
                widgets.Box(list(self.controls.values()), layout=row),
                self._stage,
                widgets.Box([self._keep, self._show_code, self._stop, self._bar, self._status], layout=row),
                self._listing,
            ]
        )
        self._request()

    def values(self) -> dict[str, Any]:
        """Return the present values of the controls, by name."""
        return {
            name: self._objects.get(name, {}).get(control.value, control.value)
            for name, control in self.controls.items()
        }

    @property
    def message(self) -> str:
        """HTML in place of the picture; "" if there is a picture."""
        return self._message.value if self._message in self._stage.children else ""

    @property
    def status(self) -> str:
        """What is being done, or was done last."""
        return self._status.value

    @property
    def progress(self) -> float | None:
        """How far it is, from 0 to 1; None if that is not known."""
        return None if self._bar.layout.display == "none" else self._bar.value

    @property
    def busy(self) -> bool:
        """Whether something is computed that `stop` would end."""
        return not self._stop.disabled

    def wait(self, timeout: float | None = None) -> Explorer:
        """Wait until the last request is drawn.

        Parameters
        ----------
        timeout : float, optional
            Seconds.

        Returns
        -------
        Explorer
            This one.

        Raises
        ------
        Exception
            What the drawing raised.
        TimeoutError
            If it takes longer than `timeout`. An interrupt stops the drawing.
        """
        try:
            self._worker.join(timeout)
        except KeyboardInterrupt:
            self.stop()
            raise
        if self._last_error is not None:
            raise self._last_error
        return self

    def code(self) -> str:
        """Return the Python code that makes the picture of the present controls."""
        return self._code(**{name: control.value for name, control in self.controls.items()})

    def stop(self) -> None:
        """Stop what is being computed: the picture before stays, and the controls go back to what it shows.

        Nothing happens if nothing is being computed.
        """
        self._worker.stop(after=self._after_stop)

    def snapshot(self) -> None:
        """Put the present picture into the notebook's file, for readers without a running explorer."""
        if self.png() is None:
            self._status.value = "there is no picture to keep"
        elif not self._displayed:
            self._status.value = "only an explorer shown by a cell of its own can keep its picture"
        else:
            self._put(update=True)
            self._status.value = "picture kept: save the notebook"

    def png(self) -> bytes | None:
        """Return the present picture as a PNG file; None if there is none, or an error in its place."""
        shown, image = self._worker.call_locked(lambda: (self.spec, self._image))
        return image if image is not None or shown is None else plots.png(shown)

    def _answer(self, view: MatrixView | ScatterView, trait: str, call: Callable[[], None]) -> None:
        """Have a change of this trait answered between deliveries, unless the picture that it is about was replaced."""

        def answer() -> None:
            if view.is_late:
                setattr(view, "selected" if trait == "selected" else "chosen", [])
            elif self._last_error is None:
                call()

        view.observe(lambda _: self._worker.call_locked(answer), trait)

    def _spec_of(self, result: Any, values: Mapping[str, Any]) -> FigureSpec:
        """What is shown of a result with these values of the controls."""
        if spec.dispatch(type(result)) is spec.dispatch(object):
            raise TypeError(
                "draw must return a figure or a result, such as a Comparison or an Embedding;"
                f" {getattr(self._draw, '__name__', 'it')} returned {type(result).__name__}"
            )
        return spec(result)

    # -- drawing, in the background: only traits are set there

    def _request(self) -> None:
        if self._going_back:
            return
        values, settings = self.values(), {name: control.value for name, control in self.controls.items()}
        self._list_code()

        def job(tick: Tick) -> Drawing:
            result = self._draw(**values, progress=tick) if self._ticks else self._draw(**values)
            shown = self._spec_of(result, values)
            return result, shown, None if type(shown) in VIEWS else plots.png(shown)

        self._worker.submit(job, lambda drawn, error: self._deliver(settings, drawn, error), before=self._begin)

    def _begin(self) -> None:
        self._drawing = True
        self._busy(True, "computing …")

    def _after_stop(self) -> None:
        self._busy(False, "stopped")
        if not self._drawing:
            return
        self._drawing = False
        if self._shown_values is None:
            self._show(None, "<p>Stopped before there was a picture: change a control, or run the cell again.</p>")
            return
        self._going_back = True
        try:
            for name, value in self._shown_values.items():
                with contextlib.suppress(traitlets.TraitError):  # a widget of the user's own may not take it any more
                    self.controls[name].value = value
        finally:
            self._going_back = False
        self._list_code()

    def _report(self, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if now - self._last_report > 0.1:
            self._last_report = now
            self._bar.value, self._bar.layout.display, self._status.value = done / max(total, 1), "", html.escape(text)

    def _deliver(self, settings: dict[str, Any], drawn: Drawing | None, error: BaseException | None) -> None:
        if drawn is None:
            assert error is not None
            self.errors.append(error)
            self._show(None, saved.explain(error))
            self.spec = self._image = None
        else:
            result, shown, image = drawn
            self.view = self._views.get(VIEWS.get(type(shown)), self._picture)
            if image is None:
                self.view.show(shown)
            else:
                self.view.value = image
            self._show(self.view)
            self.result, self.spec, self._image = result, shown, image
        self._last_error, self._shown_values, self._drawing = error, settings, False
        self._busy(False, "")
        self._delivered = True
        if self._on_first_picture is not None:
            self._on_first_picture()
            self._on_first_picture = None

    def _show(self, picture: widgets.Widget | None, message: str = "") -> None:
        """A picture; or a message, over the place of the picture before."""
        before = [w for w in self._stage.children if w is not self._message]
        for widget in before:
            widget.layout.visibility = "hidden"
        if picture is None:
            self._message.value = message
            self._stage.children = [*before, self._message]
        else:
            picture.layout.visibility = None
            self._stage.children = [picture]

    def _busy(self, busy: bool, status: str) -> None:
        self._stop.disabled, self._status.value = not busy, status
        self._last_report = 0.0  # the first word of new work is shown whenever the last one was
        if not busy:
            self._bar.layout.display, self._bar.value = "none", 0

    def _list_code(self) -> None:
        self._listing.value = (
            f"<pre style='margin:4px 0;user-select:all'>{html.escape(self.code())}</pre>"
            if self._show_code.value
            else ""
        )
        self._listing.layout.display = "" if self._show_code.value else "none"

    # -- showing it

    def _text(self) -> str:
        if self._last_error is not None:
            return f"Explorer: {type(self._last_error).__name__}: {self._last_error}"
        return f"Explorer: {'there was no picture yet when this was saved' if self.spec is None else repr(self.result)}"

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook saves of the explorer, by MIME type: the widget, its picture, a line of text."""
        bundle = {**(widgets.VBox._repr_mimebundle_(self) or {}), "text/plain": self._text()}
        image = self.png()
        return bundle | ({} if image is None else {"image/png": base64.b64encode(image).decode()})

    def _put(self, *, update: bool) -> None:
        """The explorer's two outputs: itself with its picture, and what stands there when it cannot run any more."""
        from IPython.display import display

        display(self.bundle(), raw=True, display_id=self._display_id, update=update)
        display(
            saved.stand_in(self._display_id, self._text(), self.png()),
            raw=True,
            display_id=f"{self._display_id}-saved",
            update=update,
        )

    def _ipython_display_(self) -> None:
        """The cell waits for the first picture, so that a saved notebook or a report holds it.

        Where a person is at the notebook it waits for FIRST_PICTURE_TIMEOUT seconds only, so that Stop and the
        controls work; the picture is put there when it comes.
        """

        def finish(timeout: float | None) -> bool:
            try:
                self.wait(timeout)
            except TimeoutError:
                return False
            except Exception:
                return True
            return True

        at_once = finish(FIRST_PICTURE_TIMEOUT)
        self._on_first_picture = None if at_once else call_later(lambda: self._put(update=True))
        nobody = not at_once and self._on_first_picture is None
        if self._delivered:  # meanwhile: what is put now holds it
            self._on_first_picture = None
        self._put(update=False)
        self._displayed = True
        if nobody:
            finish(None)
            self._put(update=True)


def _button(text: str, icon: str, tooltip: str, width: str, *, disabled: bool = False) -> widgets.Button:
    return widgets.Button(description=text, icon=icon, tooltip=tooltip, layout={"width": width}, disabled=disabled)


def parameters(draw: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return the parameters of a function by name; None if it cannot be asked for them."""
    try:
        return inspect.signature(draw).parameters
    except ValueError:  # some functions written in C
        return None
