"""The picture of a widget in a saved notebook, and in a page of nbconvert."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import Any

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
EXPLORER = "A picture of an explorer. Its controls and details need a running notebook."
VIEW = "A picture of a view. It answers the mouse in a running notebook."


def stand_in(name: str, text: str, image: bytes | None, note: str) -> dict[str, Any]:
    """Return a second output below a widget, which is invisible while the widget runs.

    When the widget no longer runs, it shows its picture and a note on what is missing, or a text if there is no
    picture.
    """
    if image is None:
        quoted = "".join(f"\\{ord(c):x} " if c in '"\\<\n' else c for c in text)
        line = ""
        rule = f'#{name}::before {{ content: "{quoted}"; white-space: pre-wrap; font-family: monospace; }}'
    else:
        line = f"<p class='rs-saved-note'>{note}</p>"
        # at these bytes a PNG says how large it is
        width, height = (int.from_bytes(image[at : at + 4], "big") for at in (16, 20))
        rule = (
            f"#{name} {{ width: {width}px; max-width: 100%; aspect-ratio: {width} / {height}; "
            f"background: url(data:image/png;base64,{base64.b64encode(image).decode()}) 0 0 / contain no-repeat;"
            " print-color-adjust: exact; }"
        )
    place = f"<div class='rs-saved' id='{name}' role='img' aria-label='{html.escape(text, quote=True)}'></div>"
    return {"text/html": f"{place}{line}<style>{_STYLE}{rule}\n</style>", "text/plain": ""}


def display_widget(
    bundle: Mapping[str, Any], name: str, text: str, image: bytes | None, note: str, *, update: bool = False
) -> None:
    """Display two outputs: a widget with its picture, and what replaces it when it no longer runs.

    bundle: the widget by MIME type.  name: the name of both outputs, which an update replaces.
    """
    from IPython.display import display

    saved = stand_in(name, text, image, note)
    display(dict(bundle), raw=True, display_id=name, update=update)
    display(saved, raw=True, display_id=f"{name}-saved", update=update)
