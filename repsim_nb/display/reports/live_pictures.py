"""Live pictures: tables, maps and lines that answer the mouse in HTML, and are an image everywhere else."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

from repsim_nb.display.plots.drawing import sheet
from repsim_nb.display.specs import (
    FigureSpec,
    GallerySpec,
    LineSpec,
    MapSpec,
    MapsSpec,
    MatrixSpec,
    PanelsSpec,
    Spec,
    spec,
)
from repsim_nb.display.specs.lines import Layer, Numbers
from repsim_nb.display.specs.matrices import decimals, texts_of

MIME = "application/vnd.repsim.spec+json"
MOST_BYTES = 300_000  # of JSON in one output of a notebook; a larger one is an image alone
_NARROW = 6.5  # inches: pictures up to this width are two a row
_DIGITS = 6  # of a number in that JSON, and more if fewer would change what is shown
Choices = Mapping[str, Sequence[FigureSpec]]


@dataclass(frozen=True)
class LivePicture:
    """A picture that answers the mouse in the HTML of a report, and is an image in a notebook.

    Parameters
    ----------
    specs : {name: tuple of MatrixSpec, MapSpec or LineSpec}
        The pictures that can be chosen. Pictures of one choice are next to each other.
    label : str
        What the names are, such as "measure".
    chosen : int
        The choice that is shown first.

    See Also
    --------
    live : Makes one from results.

    Examples
    --------
    >>> from repsim_nb import reports, specs
    >>> shown = specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c"), title="mine")
    >>> reports.LivePicture({"cka": (shown,)})
    LivePicture of mine
    """

    specs: Choices
    label: str = "measure"
    chosen: int = 0

    def __repr__(self) -> str:
        titles = [getattr(shown, "title", "") or name for name, panels in self.specs.items() for shown in panels]
        return f"LivePicture of {'; '.join(dict.fromkeys(titles))}"

    def png(self) -> bytes:
        """Return all pictures as one PNG file.

        Returns
        -------
        bytes
            The content of the file.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.reports.live(rs.specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c"))).png()[1:4]
        b'PNG'
        """
        choices = self.specs.values()
        drawn = [[_wrap_title(one) for one in panels if not isinstance(one, GallerySpec)] for panels in choices]
        every, most = [shown for panels in drawn for shown in panels], max(map(len, drawn))
        pairs = most == 1 and max(shown.size[0] for shown in every) <= _NARROW
        return sheet(every, columns=2 if pairs else most)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Return the image, the pictures as data that reports draw, and a line of text."""
        image = base64.b64encode(self.png()).decode()
        packed = [(name, pack(panels)) for name, panels in self.specs.items()]
        return {"image/png": image, "text/plain": repr(self)} | live_data(packed, self.label, self.chosen)


def live(results: Any, *, label: str = "measure") -> LivePicture:
    """Show results so that they answer the mouse in the HTML of a report.

    A notebook cell that ends with it shows an image. `rs.reports.run` and `to_html` put the same pictures on the page
    as a live view: point at a cell, a point or a line for its value, zoom, sort rows and columns, hide what the legend
    lists, and choose a measure. It needs no kernel and no connection. Without JavaScript, and on paper, the page shows
    the image.

    Parameters
    ----------
    results : result, list of results, or {name: result or list of results}
        Tables, maps and lines: a Comparison, an Embedding, or anything else whose `rs.spec` is a MatrixSpec, a MapSpec,
        a MapsSpec, a LineSpec or a PanelsSpec. Results in a list are next to each other; maps of the same points, and
        tables of the same rows and columns, are linked: what is under the pointer is marked in all of them. The names
        of a dict are the choices of a drop-down.
    label : str
        What the names are; the label of the drop-down.

    Returns
    -------
    LivePicture
        Its `png` is the image.

    Raises
    ------
    TypeError
        If a result has another kind of spec, such as an image.
    ValueError
        If there are no results.

    Notes
    -----
    The pictures are saved in the notebook as data, up to 300 kB for one output. A larger one stays an image.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"{model}/fc": rng.normal(size=(20, 3)) for model in "abc"})
    >>> rs.reports.live({name: rs.compare(name, x) for name in ("cka", "procrustes")})
    LivePicture of cka at fc; procrustes at fc
    """
    by_name = results if isinstance(results, Mapping) else {"": results}
    specs = {
        str(name): tuple(panel for one in _to_list(several) for panel in _live_panels(one))
        for name, several in by_name.items()
    }
    if not specs or not all(specs.values()):
        raise ValueError("live needs at least one result, and at least one for each name.")
    return LivePicture(specs, label)


def _to_list(result: Any) -> Iterable[Any]:
    """Return the results of one choice."""
    return result if isinstance(result, (list, tuple)) else [result]


def panels_of(shown: FigureSpec) -> tuple[FigureSpec, ...]:
    """Return the specs that views draw for a spec, next to each other; () if there are none."""
    if isinstance(shown, MapsSpec):
        return shown.maps if shown.gallery is None else (*shown.maps, shown.gallery)
    if isinstance(shown, PanelsSpec):
        return tuple(replace(one, layers=(*one.layers, *shown.legend)) for one in shown.panels)
    return (shown,) if isinstance(shown, (MatrixSpec, MapSpec, LineSpec)) else ()


def _live_panels(result: Any) -> tuple[FigureSpec, ...]:
    """Return the specs of a result; raise TypeError if no view draws it."""
    shown = spec(result)
    panels = panels_of(shown)
    if not panels:
        raise TypeError(
            f"live takes tables, maps and lines; got {type(result).__name__}, whose spec is of type"
            f" {type(shown).__name__}."
        )
    return panels


def _wrap_title(shown: FigureSpec) -> FigureSpec:
    """Return a spec whose heading fits the width of its picture."""
    return replace(shown, wrap=True) if isinstance(shown, MatrixSpec) else shown


# -- as data in a notebook


def live_data(packed: Sequence[tuple[str, str]], label: str, chosen: int = 0) -> dict[str, Any]:
    """Return {MIME type: data} for the output of a cell, {} if it is too large; packed: [(name, what `pack` returned)].

    The pictures are one text, since a notebook file would write each number of a list on a line of its own.
    """
    pictures = ",".join(f"[{json.dumps(name)},{text}]" for name, text in packed)
    if not packed or len(pictures) > MOST_BYTES:
        return {}
    return {MIME: {"version": 1, "label": label, "chosen": chosen, "pictures": f"[{pictures}]"}}


def pack(panels: Iterable[FigureSpec]) -> str:
    """Return the pictures of one choice as JSON text."""
    return json.dumps(list(map(_pack, panels)), separators=(",", ":"), allow_nan=False)


def read_data(data: Mapping[str, Any]) -> tuple[list[tuple[str, list[FigureSpec]]], str, int]:
    """Return the pictures by their names, the label and the choice that `live_data` wrote."""
    pictures = json.loads(data["pictures"])
    if not pictures or data["version"] != 1:
        raise ValueError(f"read_data reads pictures of version 1; got version {data['version']}.")
    return [(name, list(map(_unpack, panels))) for name, panels in pictures], str(data["label"]), int(data["chosen"])


def _pack(shown: FigureSpec) -> dict[str, Any]:
    """Return a spec as plain data with short numbers, without texts that follow from its numbers."""
    shown = shorten(shown)
    plain: dict[str, Any] = json.loads(shown.to_json())
    if isinstance(shown, MatrixSpec) and shown.texts == _own_texts(shown):
        plain["texts"] = None
    return plain


def _unpack(plain: dict[str, Any]) -> FigureSpec:
    derived = plain.get("texts", ()) is None
    shown: FigureSpec = Spec.from_json(json.dumps(plain | ({"texts": []} if derived else {})))  # type: ignore[assignment]
    return replace(shown, texts=_own_texts(shown)) if derived and isinstance(shown, MatrixSpec) else shown


def _own_texts(shown: MatrixSpec) -> tuple[tuple[str, ...], ...]:
    return texts_of(np.array(shown.values, float), shown.low, shown.high)


def shorten(shown: FigureSpec) -> FigureSpec:
    """Return a spec whose numbers have fewer digits, with the same colors and the same texts."""
    if isinstance(shown, MatrixSpec):
        rule = _Rounding(shown.low, shown.high, len(shown.colors))
        return replace(shown, values=tuple(tuple(map(rule, row)) for row in shown.values))
    if isinstance(shown, MapSpec) and shown.points:
        points = np.array(shown.points, float)
        span = float(np.ptp(points, axis=0).max()) or 1.0
        rounded = np.round(points, _DIGITS - 1 - math.floor(math.log10(span)))
        return replace(shown, points=tuple(map(tuple, rounded.tolist())))
    if isinstance(shown, LineSpec):
        return replace(shown, layers=tuple(map(_shorten_layer, shown.layers)))
    return shown


def _shorten_layer(layer: Layer) -> Layer:
    """Return a layer whose numbers have nine digits."""

    def short(values: Numbers) -> Numbers:
        return tuple(None if value is None else float(f"{value:.9g}") for value in values)

    return replace(layer, x=short(layer.x), y=short(layer.y), low=short(layer.low), high=short(layer.high))


class _Rounding:
    """Shorten a value so that the view writes the same digits and paints the same color."""

    def __init__(self, low: float, high: float, colors: int) -> None:
        self._low, self._span, self._colors = low, high - low, colors
        self._places = decimals(low, high)  # of the text in a cell
        self._last = Decimal(1).scaleb(-self._places - 2)  # the last digit of a tooltip

    def __call__(self, value: float | None) -> float | None:
        if value is None:
            return None
        for digits in (_DIGITS, 9, 12):
            short = float(f"{value:.{digits}g}")
            if self._shown(short) == self._shown(value):
                return short
        return value

    def _shown(self, value: float) -> tuple[str, Decimal, int]:
        """Return what a view shows of a value: in a cell, in the tooltip, as JavaScript rounds, and as a color."""
        fraction = (value - self._low) / self._span if self._span > 0 else 0.0
        written = Decimal(value).quantize(self._last, ROUND_HALF_UP)
        return f"{value:z.{self._places}f}", written, math.floor(fraction * (self._colors - 1) + 0.5)
