"""What an explorer gives away: its picture as a file and in the notebook, and what was clicked, as data."""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import pandas as pd

from repsim_nb.display import plots
from repsim_nb.display.plots.axes import blank_figure, figure_of
from repsim_nb.display.specs import FigureSpec, ImageSpec
from repsim_nb.display.views import MatrixView, ScatterView
from repsim_nb.display.views.saved_pictures import EXPLORER, display_widget
from repsim_nb.display.views.visible import visible_spec
from repsim_nb.results.comparison import Comparison
from repsim_nb.results.embedding import Embedding

from . import stand_ins
from .history import History
from .panel import Panel
from .worker import Worker, call_later

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# seconds that a cell of a live notebook waits for its first picture: its kernel receives no click in that time
FIRST_PICTURE_TIMEOUT = 3


class PicturePanel(Panel):
    """A panel with a picture that can be taken away, and that a cell displays."""

    result: Any
    spec: FigureSpec | None

    def __init__(self, controls: Any) -> None:
        super().__init__(controls)
        self._image: bytes | None = None  # of a spec that has no view of its own
        self._last_error: BaseException | None = None
        self._display_id = f"repsim-{uuid.uuid4().hex}"
        self._displayed = self._delivered = False
        self._on_first_picture: Callable[[], None] | None = None  # if the cell did not wait
        self._worker = Worker(self._report)
        self._history = History()

    def wait(self, timeout: float | None = None) -> Any:
        """Wait until the picture is there."""
        raise NotImplementedError

    @property
    def selected(self) -> pd.DataFrame:
        """What was clicked, or is inside the line drawn around points: one row for each cell or point.

        The selection is kept by the picture, so it is here as soon as the kernel is free, whatever was running.

        Examples
        --------
        >>> x = rs.from_arrays({f"{model}/fc": np.eye(9)[:, :4] for model in "ab"})
        >>> explorer = rs.explorers.comparison(x, measure="cka")
        >>> explorer.choose("fc", "fc")
        >>> explorer.selected["value"].tolist()
        [1.0]
        """
        view, result = self.view, self.result
        if isinstance(view, MatrixView) and len(view.chosen) == 2 and view.values:
            row, column = view.chosen
            if isinstance(result, Comparison) and result.values.shape == (len(view.values), len(view.values[0])):
                return result.tidy().iloc[[row * result.values.shape[1] + column]].reset_index(drop=True)
            value = view.values[row][column]
            return pd.DataFrame(
                {"row": [view.row_labels[row]], "column": [view.column_labels[column]], "value": [value]}
            )
        if isinstance(view, ScatterView) and view.points:
            chosen = sorted({*view.selected, *view.chosen})
            if isinstance(result, Embedding):
                return result.points.iloc[chosen]
            points = pd.DataFrame(view.points, columns=["x", "y"], index=pd.Index(view.labels, name="label"))
            return points.iloc[chosen]
        return pd.DataFrame()

    def figure(self) -> Figure:
        """Return the current picture as a matplotlib figure.

        A table has the rows and columns that the filter leaves, and the color scale that was chosen.

        Returns
        -------
        Figure
            A new figure, or the one that the function of the explorer returned.

        Raises
        ------
        ValueError
            If there is no picture, or an error in its place.

        Examples
        --------
        >>> explorer = rs.explorers.explore(lambda n: rs.compare("cka", {"x": np.eye(n)}), n=[5, 6])
        >>> explorer.wait().figure().axes[0].get_title().splitlines()
        ['cka', 'n = 5']
        """
        shown, result = self._worker.call_locked(lambda: (self._visible(), self.result))
        if shown is None:
            raise ValueError("There is no picture: wait() waits for it, and raises its error if there was one.")
        own = figure_of(result)
        if own is not None:
            return own
        if isinstance(shown, ImageSpec):
            raise ValueError("This picture is an image, which has no figure; png() returns it.")
        figure = blank_figure()
        figure.set_size_inches(shown.size)
        plots.draw(shown, ax=figure.add_subplot())
        return figure

    def _visible(self) -> FigureSpec | None:
        """Return the spec of what the view shows."""
        return None if self.spec is None else visible_spec(self.spec, self.view)

    def _svg(self) -> str:
        buffer = io.StringIO()
        self.figure().savefig(buffer, format="svg")
        return buffer.getvalue()

    def snapshot(self) -> None:
        """Put the current picture into the output of the cell, so that the saved notebook shows it.

        Save the notebook afterwards. The attribute `status` shows whether there was a picture to put there. An
        explorer needs to be shown by a cell first.

        Examples
        --------
        >>> explorer = rs.explorers.explore(lambda n: rs.compare("cka", {"x": np.eye(n)}), n=[5, 6])
        >>> explorer.wait().snapshot()
        >>> explorer.status
        'only an explorer shown by a cell of its own can keep its picture'
        """
        image = self.png()
        if image is None:
            self._status.value = "there is no picture to keep"
        elif not self._displayed:
            self._status.value = "only an explorer shown by a cell of its own can keep its picture"
        else:
            self._put(update=True)
            self._status.value = "picture kept: save the notebook"
            self._thumbnail.value = stand_ins.thumbnail(image)

    def png(self) -> bytes | None:
        """Return the current picture as a PNG file, with the filter and the color scale of its view.

        Returns
        -------
        bytes or None
            The content of the file; None if there is no picture, or an error in its place.

        Examples
        --------
        >>> explorer = rs.explorers.explore(lambda n: rs.compare("cka", {"x": np.eye(n)}), n=[5, 6])
        >>> explorer.wait().png()[1:4]
        b'PNG'
        """
        shown, image = self._worker.call_locked(lambda: (self._visible(), self._image))
        return image if image is not None or shown is None else plots.png(shown)

    def _text(self) -> str:
        if self._last_error is not None:
            return f"Explorer: {type(self._last_error).__name__}: {self._last_error}"
        return f"Explorer: {'there was no picture yet when this was saved' if self.spec is None else repr(self.result)}"

    def bundle(self) -> dict[str, Any]:
        """Return what a notebook saves of the explorer, by MIME type.

        Returns
        -------
        dict of str to object
            The widget, its picture as "image/png" if there is one, the pictures of this explorer as data that reports
            draw, and a line of text as "text/plain".

        Examples
        --------
        >>> explorer = rs.explorers.explore(lambda n: rs.compare("cka", {"x": np.eye(n)}), n=[5, 6])
        >>> "image/png" in explorer.wait().bundle()
        True
        """
        bundle = {**(widgets.VBox._repr_mimebundle_(self) or {}), "text/plain": self._text()}
        image = self.png()
        if image is None:
            return bundle
        live = self._worker.call_locked(lambda: self._history.data(self.spec, self.controls))
        return bundle | {"image/png": base64.b64encode(image).decode()} | live

    def _put(self, *, update: bool) -> None:
        """Display two outputs: the explorer with its picture, and what replaces it when it no longer runs."""
        display_widget(self.bundle(), self._display_id, self._text(), self.png(), EXPLORER, update=update)

    def _ipython_display_(self) -> None:
        """Wait for the first picture, so that a saved notebook or a report contains it, and display the explorer.

        In a live notebook the cell waits for at most FIRST_PICTURE_TIMEOUT seconds, and not for a picture that is being
        improved, so that Stop and the controls work. The picture is put there when it comes.
        """

        def finish(timeout: float | None) -> bool:
            try:
                self.wait(timeout)
            except TimeoutError:
                return False
            except Exception:
                return True
            return True

        try:
            self._worker.wait_for_part(FIRST_PICTURE_TIMEOUT)
        except KeyboardInterrupt:
            self.stop()
            raise
        at_once = finish(0)
        self._on_first_picture = None if at_once else call_later(lambda: self._put(update=True))
        nobody = not at_once and self._on_first_picture is None
        if self._delivered:  # meanwhile: what is put now holds it
            self._on_first_picture = None
        self._put(update=False)
        self._displayed = True
        if nobody:
            finish(None)
            self._put(update=True)
