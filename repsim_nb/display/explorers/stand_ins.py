"""What replaces a live picture: an error, and the small picture of one that was kept."""

from __future__ import annotations

import base64
import html
import io
import linecache
import os
import sysconfig
import traceback
from pathlib import Path

from PIL import Image

from .code import notebook_shell

_PACKAGE_FOLDER = str(Path(__file__).parents[2]) + os.sep
_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")
_LIBRARY_FOLDERS = (_PACKAGE_FOLDER, *(sysconfig.get_path(name) + os.sep for name in _LIBRARIES))


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
