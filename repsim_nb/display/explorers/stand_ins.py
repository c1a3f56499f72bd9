"""What replaces a live picture: an error, and the picture that a saved notebook shows."""

from __future__ import annotations

import base64
import html
import io
import linecache
import os
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from PIL import Image

from .code import notebook_shell

_PACKAGE_FOLDER = str(Path(__file__).parents[2]) + os.sep
_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")
_LIBRARY_FOLDERS = (_PACKAGE_FOLDER, *(sysconfig.get_path(name) + os.sep for name in _LIBRARIES))

# JupyterLab and nbconvert prefer the widget of an output to its picture. JupyterLab shows an error if the kernel of the
# widget is gone, and a page of nbconvert nothing where the scripts of widgets cannot be fetched. A style that is saved
# next to it shows the picture instead, there only: readers that show the explorer's own picture (reports, notebooks
# that are not trusted) drop the style or have no such outputs, and show one picture, too.
_CHILD = ":is(.jp-OutputArea-child, .output_area)"  # the second is that of nbconvert's template "classic"
_WIDGET = (  # a live one holds elements; a dead one is text ("model not found"), or nothing
    ".jp-OutputArea-output.lm-Panel"
)
_CONVERTED = ":is(.jupyter-widgets, .output_widget_view)"  # of nbconvert: its scripts, and what these draw
_DEAD_WIDGET = (
    f":is({_CHILD}:has(> {_WIDGET}):not(:has(> {_WIDGET} > *)),"
    f" {_CHILD}:has(> {_CONVERTED} > script):not(:has(> {_CONVERTED} > :not(script):not(:empty))))"
)
_SAVED = ":is(.rs-saved, .rs-saved-note)"
_STYLE = f"""
{_SAVED} {{ display: none; }}
.rs-saved-note {{ font-size: 90%; opacity: .75; margin: 4px 0 0; }}
{_DEAD_WIDGET} + {_CHILD} {_SAVED} {{ display: block; }}
{_DEAD_WIDGET}:has(+ {_CHILD} .rs-saved) {{ display: none; }}
{_CHILD}:has(.rs-saved):not({_DEAD_WIDGET} + {_CHILD}) {{ display: none; }}
"""
_NOTE = "A picture of an explorer. Its controls and details need a running notebook."


def stand_in(name: str, text: str, image: bytes | None) -> dict[str, Any]:
    """Return a second output below the explorer, which is invisible while the explorer runs.

    When the widget no longer runs, it shows the picture of the explorer and a line on what is missing, or a text if
    there is no picture.
    """
    if image is None:
        quoted = "".join(f"\\{ord(c):x} " if c in '"\\<\n' else c for c in text)
        note = ""
        rule = f'#{name}::before {{ content: "{quoted}"; white-space: pre-wrap; font-family: monospace; }}'
    else:
        note = f"<p class='rs-saved-note'>{_NOTE}</p>"
        # at these bytes a PNG says how large it is
        width, height = (int.from_bytes(image[at : at + 4], "big") for at in (16, 20))
        rule = (
            f"#{name} {{ width: {width}px; max-width: 100%; aspect-ratio: {width} / {height}; "
            f"background: url(data:image/png;base64,{base64.b64encode(image).decode()}) 0 0 / contain no-repeat;"
            " print-color-adjust: exact; }"
        )
    place = f"<div class='rs-saved' id='{name}' role='img' aria-label='{html.escape(text, quote=True)}'></div>"
    return {"text/html": f"{place}{note}<style>{_STYLE}{rule}\n</style>", "text/plain": ""}


def thumbnail(image: bytes) -> str:
    """Return a PNG file as a small image in HTML: what was kept."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(image)) as picture:
        picture.thumbnail((160, 48))
        picture.save(buffer, format="PNG")
    code = base64.b64encode(buffer.getvalue()).decode()
    return f"<img alt='the picture that was kept' style='height:28px' src='data:image/png;base64,{code}'>"


def explain(error: BaseException) -> str:
    """Return an error as HTML: its type, its message, and the line of the user's code that caused it."""
    place = _place(error)
    line = (
        f"<div style='margin-top:6px;font-size:90%'>{html.escape(place[0])}<pre style='margin:2px"
        f" 0'>{html.escape(place[1])}</pre></div>"
        if place
        else ""
    )
    return (
        "<div class='rs-error' style='border-left:4px solid #d55e00;padding:6px 12px;margin:12px 0;max-width:640px'>"
        f"<b>{type(error).__name__}</b><br>{html.escape(str(error))}{line}</div>"
    )


def _place(error: BaseException) -> tuple[str, str] | None:
    """Return (file or cell and line number, text of the line) of the innermost call in the user's own code."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        text = linecache.getline(frame.filename, frame.lineno or 0).strip()
        if text and not frame.filename.startswith(_LIBRARY_FOLDERS):
            return f"{_display_name(frame.filename)}, line {frame.lineno}", text
    return None


def _display_name(filename: str) -> str:
    """Return the name of a file to show; for a notebook cell, its number."""
    shell = notebook_shell()
    cell = shell.compile.format_code_name(filename) if shell else None
    return " ".join(cell) if cell else filename
