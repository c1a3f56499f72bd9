"""What a view needs to draw a spec, as plain data, and the scripts that draw it, with or without a widget."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from repsim_nb.display.specs import FigureSpec, GallerySpec, LineSpec, MapSpec, MatrixSpec

_FOLDER = Path(__file__).parent
_RING = ["ring", [["placed into the map", "#000000", "ring"]]]
_SHARED = ("common", "svg", "navigation")  # a widget cannot import files: they are joined to one text
_SCRIPTS = {
    "matrix": (*_SHARED, "matrix", "matrix_view"),
    "scatter": (*_SHARED, "marks", "scatter", "scatter_legend", "scatter_view"),
    "lines": ("common", "svg", "marks", "lines", "lines_view"),
    "gallery": ("common", "gallery"),
}
# fields that a view has as they are
_MATRIX = (
    *("row_title", "column_title", "title", "low", "high", "bar_label", "row_labels", "column_labels", "colors"),
    *("row_breaks", "column_breaks", "values", "texts", "marks"),
)
_MAP = ("labels", "colors", "shapes", "shown", "ringed", "points", "title", "footer", "runs", "links", "scale")
KINDS: dict[type[FigureSpec], str] = {
    MatrixSpec: "matrix",
    MapSpec: "scatter",
    LineSpec: "lines",
    GallerySpec: "gallery",
}
"""The name of the script and the style that draw a kind of spec."""


def script(name: str) -> str:
    """Return the script of a view, "matrix", "scatter", "lines" or "gallery", as one ES module without imports.

    Its default export is `{render}` for a widget. Without one, `show(element, state)` in the same module draws the
    state that `view_state` returned.
    """
    return "".join((_FOLDER / f"{part}.js").read_text(encoding="utf-8") for part in _SCRIPTS[name])


def style(name: str) -> str:
    """Return the style sheet of a view."""
    assert name in _SCRIPTS, name
    files = ("common", "gallery") if name == "gallery" else ("common",)
    return "".join((_FOLDER / f"{file}.css").read_text(encoding="utf-8") for file in files)


def view_state(shown: FigureSpec) -> dict[str, Any]:
    """Return what a view needs to draw a spec of a class in KINDS: numbers, texts, lists and dicts of these."""
    if isinstance(shown, MatrixSpec):
        return _matrix_state(shown)
    if isinstance(shown, MapSpec):
        return _map_state(shown)
    if isinstance(shown, LineSpec):
        return _line_state(shown)
    if isinstance(shown, GallerySpec):
        state = _read(shown)
        return state | {"size": state.pop("tile")}
    raise TypeError(f"a view draws a MatrixSpec, a MapSpec, a LineSpec or a GallerySpec; got {type(shown).__name__}.")


def _matrix_state(shown: MatrixSpec) -> dict[str, Any]:
    one = len(shown.notes) == 1
    undefined = "1 cell" if one else f"{len(shown.notes)} cells"
    undefined = f"{undefined} undefined (point at {'it' if one else 'one'} to see why)" if shown.notes else ""
    meaning = shown.mark_meaning if shown.marks else ""
    lines = [", ".join(filter(None, (shown.subtitle, undefined))), f"• {meaning}" if meaning else ""]
    return _read(shown, *_MATRIX) | {
        "notes": {f"{i},{j}": reason for i, j, reason in shown.notes},
        "mark_meaning": meaning,
        "subtitle": "\n".join(filter(None, lines)),
    }


def _line_state(shown: LineSpec) -> dict[str, Any]:
    layers = [_read(layer) | {"colors": [_css_color(color) for color in layer.colors]} for layer in shown.layers]
    state = _read(shown) | {"layers": layers}
    del state["size"]  # of the picture, in inches: a view is as wide as its page
    return state


def _read(shown: Any, *names: str) -> dict[str, Any]:
    """Return these fields of a dataclass, with lists for tuples; all if there are no names."""
    return {name: _to_lists(getattr(shown, name)) for name in names or [field.name for field in fields(shown)]}


def _to_lists(value: Any) -> Any:
    return [_to_lists(item) for item in value] if isinstance(value, tuple) else value


def _css_color(color: str) -> str:
    """Return a color of matplotlib as CSS has it: "0.5" is a grey."""
    if re.fullmatch(r"[01]?\.?\d*", color) and color:
        return f"#{round(255 * float(color)):02x}" + f"{round(255 * float(color)):02x}" * 2
    return {"black": "#000000", "white": "#ffffff", "none": "transparent"}.get(color, color)


def _map_state(shown: MapSpec) -> dict[str, Any]:
    return _read(shown, *_MAP) | {
        "notes": list(shown.notes or [""] * len(shown.points)),
        "legend": [*_to_lists(shown.legend), *([_RING] if shown.ringed else [])],
        "subtitle": "\n".join(filter(None, (shown.subtitle, shown.remark))),
    }
