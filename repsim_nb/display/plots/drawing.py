"""`draw`: the picture of any spec, and its PNG."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.display.specs import FigureSpec, ImageSpec, spec


@singledispatch
def draw(shown: Any, *, ax: Axes | None = None) -> Axes:
    """Draw a spec.

    Parameters
    ----------
    shown : MatrixSpec, MapSpec, LineSpec or PanelsSpec
        What `rs.spec(result)` returns, or a spec that was read with `from_json`.
    ax : Axes, optional
        The axes to draw on; None creates a figure.

    Returns
    -------
    Axes
        The axes with the picture; the first of them for a PanelsSpec.

    Raises
    ------
    TypeError
        If `shown` is not a spec, or is an ImageSpec.

    Notes
    -----
    Each result also has its own function, such as `heatmap` or `embedding`, which takes a spec, too.

    Examples
    --------
    >>> from repsim_nb import plots, specs
    >>> plots.draw(specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c"), title="mine")).get_title()
    'mine'
    """
    raise TypeError(f"draw takes what rs.spec(result) returns; got {type(shown).__name__}.")


def png(shown: FigureSpec, dpi: int = 100) -> bytes:
    """Return the picture of a spec as a PNG file.

    Parameters
    ----------
    shown : FigureSpec
        What `rs.spec(result)` returns.
    dpi : int
        The resolution, in dots per inch. It has no effect on an ImageSpec, which is an image already.

    Returns
    -------
    bytes
        The content of the PNG file.

    Raises
    ------
    TypeError
        If `shown` is not a spec.

    Notes
    -----
    The function does not use pyplot, so that it is safe in any thread and no notebook shows the figure.

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


def sheet(shown: Sequence[FigureSpec], *, columns: int, dpi: int = 80) -> bytes:
    """Return the pictures of specs as one PNG file, in rows of `columns` pictures."""
    if len(shown) == 1:
        return png(shown[0])
    drawn = [image.imread(io.BytesIO(png(one, dpi)), format="png")[..., :3] for one in shown]
    rows = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    gap = dpi // 10
    widths = [gap + max(row[k].shape[1] for row in rows if k < len(row)) for k in range(min(columns, len(drawn)))]
    heights = [gap + max(one.shape[0] for one in row) for row in rows]
    whole = np.ones((sum(heights) - gap, sum(widths) - gap, 3), np.float32)
    for i, row in enumerate(rows):
        for j, one in enumerate(row):
            top, left = sum(heights[:i]), sum(widths[:j])
            whole[top : top + one.shape[0], left : left + one.shape[1]] = one
    buffer = io.BytesIO()
    image.imsave(buffer, whole, format="png", dpi=dpi, pil_kwargs={"optimize": True})
    return buffer.getvalue()


@spec.register
def figure_spec(result: Figure, *, dpi: int = 100) -> ImageSpec:
    """Store a matplotlib figure as an image, and close it in pyplot so that it is not shown twice."""
    width, height = result.get_size_inches().tolist()
    shown = ImageSpec(base64.b64encode(_file(result, dpi)).decode(), size=(width, height))
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(result)
    return shown


@spec.register
def axes_spec(result: Axes, *, dpi: int = 100) -> ImageSpec:
    """Store the figure of these axes as an image."""
    figure = result.get_figure(root=True)
    assert figure is not None  # drawn axes have a figure
    return figure_spec(figure, dpi=dpi)


def _file(figure: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
