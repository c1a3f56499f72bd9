"""Live pictures as HTML: an image, the pictures as JSON, and once a page the scripts that draw them."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from repsim_nb.display.specs import FigureSpec, MatrixSpec

from .live_pictures import MIME, read_data

_FOLDER = Path(__file__).parent


def fragment(data: Mapping[str, Any], alt: str = "") -> tuple[str, set[str]] | None:
    """Return the HTML of one output with a live picture, and the names of the views that draw it.

    None if the output has no live picture, or one of another version.
    """
    if MIME not in data or "image/png" not in data:
        return None
    try:
        specs, label, chosen = read_data(data[MIME])
    except (KeyError, TypeError, ValueError):
        return None  # the image stays
    choices = [(name, list(map(_panel, panels))) for name, panels in specs]
    drawn = [panel for _, panels in choices for panel in panels]
    state = {"label": label, "chosen": chosen, "choices": choices}
    description = alt or "; ".join(dict.fromkeys(panel["state"]["title"] for panel in drawn))
    image = "".join("".join(data["image/png"]).split())
    return (
        f'<div class="rs-live"><img src="data:image/png;base64,{image}" alt="{html.escape(description)}">'
        f'<script type="application/json">{script_json(state)}</script></div>'
    ), {panel["kind"] for panel in drawn}


def _panel(shown: FigureSpec) -> dict[str, Any]:
    """Return what the script needs of one picture."""
    from repsim_nb.display.views import KINDS, view_state  # here: reports of other notebooks need no anywidget

    bright_is_high = not (isinstance(shown, MatrixSpec) and shown.color_map.endswith("_r"))
    return {"kind": KINDS[type(shown)], "state": view_state(shown), "bright": 1 if bright_is_high else -1}


def script_json(value: Any) -> str:
    """Return JSON that a script element can contain: no text of it ends the element or begins a comment."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # all but ASCII is escaped
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def scripts(kinds: Iterable[str]) -> str:
    """Return the style sheets and scripts of these views, for the end of a page."""
    kinds = sorted(kinds)
    if not kinds:
        return ""
    from repsim_nb.display.views import script, style

    styles = [style(kind) for kind in kinds] + [_read("live.css")]
    modules = [f"{script(kind)}\n(globalThis.repsimViews ??= {{}})[{json.dumps(kind)}] = show;\n" for kind in kinds]
    return "\n".join(
        [
            f"<style>{''.join(dict.fromkeys(styles))}</style>",
            *(f'<script type="module">\n{module}</script>' for module in [*modules, _read("live.js")]),
        ]
    )


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
