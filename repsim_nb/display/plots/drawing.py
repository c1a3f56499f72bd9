"""`draw`: the picture of any spec, and its PNG."""

from __future__ import annotations

import base64
import io
import sys
from functools import singledispatch
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.display.specs import FigureSpec, ImageSpec, spec


@singledispatch
def draw(shown: Any, *, ax: Axes | None = None) -> Axes:
    """Draw a spec.

    Parameters
    ----------
    shown : MatrixSpec, MapSpec, LineSpec or PanelsSpec
        What `rs.spec(result)` returns, or one read with `from_json`.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If this is no spec that can be drawn.

    Examples
    --------
    >>> from repsim_nb import plots, specs
    >>> plots.draw(specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c"), title="mine")).get_title()
    'mine'
    """
    raise TypeError(f"draw takes what rs.spec(result) returns; got {type(shown).__name__}.")


def png(shown: FigureSpec, dpi: int = 100) -> bytes:
    """Return the picture of a spec as a PNG file; safe in any thread (no pyplot).

    Parameters
    ----------
    shown : FigureSpec
        What `rs.spec(result)` returns.
    dpi : int
        Dots per inch.

    Returns
    -------
    bytes

    Examples
    --------
    >>> from repsim_nb import plots, specs
    >>> plots.png(specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c")))[1:4]
    b'PNG'
    """
    if isinstance(shown, ImageSpec):
        return base64.b64decode(shown.png)
    figure = Figure(figsize=shown.size, layout="constrained")
    draw(shown, ax=figure.add_subplot())
    return _file(figure, dpi)


@spec.register
def figure_spec(result: Figure, *, dpi: int = 100) -> ImageSpec:
    """Keep a figure of matplotlib as an image; drawn through pyplot, it would show up a second time."""
    width, height = result.get_size_inches().tolist()
    shown = ImageSpec(base64.b64encode(_file(result, dpi)).decode(), size=(width, height))
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(result)
    return shown


@spec.register
def axes_spec(result: Axes, *, dpi: int = 100) -> ImageSpec:
    """Keep the figure of these axes as an image."""
    figure = result.get_figure(root=True)
    assert figure is not None  # these axes were drawn
    return figure_spec(figure, dpi=dpi)


def _file(figure: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
