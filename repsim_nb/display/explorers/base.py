"""The base of all explorers: controls, a picture, and a worker that draws in the background.

A control can be changed again before its picture is there: only the last request is drawn. An explorer shows its
progress, can be stopped, shows an error in place of the picture, and returns the code that makes the same picture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
import traitlets

from repsim_nb.display import plots
from repsim_nb.display.specs import FigureSpec, spec
from repsim_nb.display.views import MatrixView, ScatterView
from repsim_nb.support.progress import Tick

from . import stand_ins
from .code import parameters
from .picture_panel import PicturePanel

Drawing = tuple[Any, FigureSpec, bytes | None]  # a result, what is shown of it, and its PNG if that has no view


class Explorer(PicturePanel):
    """Controls and a picture that is drawn again whenever a control changes.

    A notebook cell that ends with an explorer shows it. Usually an explorer comes from a function: `explore` makes one
    for any function that draws, and `comparison`, `model_pair`, `embedding_map` and `dataset_bias` are ready-made.

    Parameters
    ----------
    draw : function
        `draw(**values)` with the values of the controls returns a matplotlib Figure or a result, such as a Comparison.
        If it has a parameter `progress` that is not a control, it gets a function that reports progress and raises an
        exception after `stop`.
    controls : {name: Widget}
        The controls, each with a `value`.
    code : function
        `code(**values)` with the values of the widgets returns the Python code that makes the same picture.
    objects : {name: {label: object}}, optional
        The objects behind the labels of a drop-down: `draw` gets the object of the selected label.

    Attributes
    ----------
    controls : dict of str to Widget
        The controls by name. Set the `value` of a control to draw again.
    result : object
        What `draw` returned for the last picture.
    spec : FigureSpec or None
        What the picture shows; None if there is no picture.
    view : DOMWidget
        The widget that shows the picture, such as a `MatrixView`.
    message : str
        HTML in place of the picture, such as an error; "" if there is a picture.
    status : str
        What is being computed, or was done last.
    progress : float or None
        The fraction that is done, from 0 to 1; None if it is not known.
    busy : bool
        Whether something is being computed that `stop` would end.
    errors : list of Exception
        The errors of failed drawings, oldest first.

    Notes
    -----
    Pictures are drawn in a thread. If controls change faster than pictures are drawn, only the last request is drawn.

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

    def __init__(
        self,
        draw: Callable[..., Any],
        controls: Mapping[str, widgets.Widget],
        code: Callable[..., str],
        *,
        objects: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__(controls)
        self._draw, self._code, self._objects = draw, code, dict(objects or {})
        self._ticks = "progress" not in controls and "progress" in (parameters(draw) or ())
        self.errors = list[BaseException]()
        self.result: Any = None
        self.spec: FigureSpec | None = None
        self._shown_values: dict[str, Any] | None = None  # the values of the controls for what is shown
        self._drawing = self._going_back = False
        self._stop.on_click(lambda _: self.stop())
        self._keep.on_click(lambda _: self.snapshot())
        self._show_code.observe(lambda _: self._list_code(), "value")
        for control in self.controls.values():
            control.observe(lambda _: self._request(), "value")
        self._request()

    def values(self) -> dict[str, Any]:
        """Return the current values of the controls.

        Returns
        -------
        dict of str to object
            The value of each control by name, as `draw` gets it.

        Examples
        --------
        >>> rs.explorers.explore(lambda n: rs.compare("cka", {"x": np.eye(n)}), n=[5, 6]).values()
        {'n': 5}
        """
        return {
            name: self._objects.get(name, {}).get(control.value, control.value)
            for name, control in self.controls.items()
        }

    def wait(self, timeout: float | None = None) -> Explorer:
        """Wait until the last request is drawn.

        Parameters
        ----------
        timeout : float, optional
            The longest time to wait, in seconds; None waits without a limit.

        Returns
        -------
        Explorer
            The explorer itself.

        Raises
        ------
        TimeoutError
            If the picture takes longer than `timeout`.
        Exception
            The error of the drawing, if it failed.

        Notes
        -----
        A KeyboardInterrupt stops the drawing.

        Examples
        --------
        >>> explorer = rs.explorers.explore(lambda n: rs.compare("cka", {"x": np.eye(n)}), n=[5, 6])
        >>> explorer.wait().spec.row_labels
        ('x',)
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
        """Return Python code that makes the picture for the current values of the controls.

        Returns
        -------
        str
            The code. It uses the names that objects have in the notebook.

        Examples
        --------
        >>> x = rs.from_arrays({f"{model}/fc": np.eye(9)[:, :4] for model in "ab"})
        >>> print(rs.explorers.comparison(x, measure="cka").code().splitlines()[-1])
        rs.plots.heatmap(rs.compare('cka', a, b, on_undefined='mask'));
        """
        return self._code(**{name: control.value for name, control in self.controls.items()})

    def stop(self) -> None:
        """Stop the computation and go back to the picture before.

        The controls go back to the values of that picture. If nothing is being computed, nothing changes.

        Examples
        --------
        >>> explorer = rs.explorers.explore(lambda n: rs.compare("cka", {"x": np.eye(n)}), n=[5, 6])
        >>> explorer.stop()
        >>> explorer.busy
        False
        """
        self._worker.stop(after=self._after_stop)

    def _answer(self, view: MatrixView | ScatterView, trait: str, call: Callable[[], None]) -> None:
        """Call `call` when this trait of a view changes, unless its picture was replaced in the meantime."""

        def answer() -> None:
            if view.is_late:
                setattr(view, "selected" if trait == "selected" else "chosen", [])
            elif self._last_error is None:
                call()

        view.observe(lambda _: self._worker.call_locked(answer), trait)

    def _spec_of(self, result: Any, values: Mapping[str, Any]) -> FigureSpec:
        """Return the spec of a result with these values of the controls."""
        if spec.dispatch(type(result)) is spec.dispatch(object):
            raise TypeError(
                "The function to explore must return a figure or a result, such as a Comparison or an Embedding;"
                f" {getattr(self._draw, '__name__', 'it')} returned {type(result).__name__}."
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
            return result, shown, None if type(shown) in self._views else plots.png(shown)

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
                with contextlib.suppress(traitlets.TraitError):  # a user's own widget may refuse it now
                    self.controls[name].value = value
        finally:
            self._going_back = False
        self._list_code()

    def _deliver(self, settings: dict[str, Any], drawn: Drawing | None, error: BaseException | None) -> None:
        if drawn is None:
            assert error is not None
            self.errors.append(error)
            self._show(None, stand_ins.explain(error))
            self.spec = self._image = None
        else:
            result, shown, image = drawn
            self.view = self._views.get(type(shown), self._picture)
            if image is None:
                self.view.show(shown)
            else:
                self.view.value = image
            self._files.layout.display = "none" if image is None else ""
            self._show(self.view)
            self.result, self.spec, self._image = result, shown, image
            self._history.add(settings, shown)
        self._last_error, self._shown_values, self._drawing = error, settings, False
        self._busy(False, "")
        self._delivered = True
        if self._on_first_picture is not None:
            self._on_first_picture()
            self._on_first_picture = None

    def _list_code(self) -> None:
        code = self._copy.text = self.code()
        self._write_listing(code if self._show_code.value else "")
