"""Controls of explorers that ipywidgets does not have: a drop-down with groups and reasons, a button that copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_FOLDER = Path(__file__).parent
_STYLE = "".join((_FOLDER / f"{name}.css").read_text(encoding="utf-8") for name in ("common", "explorer"))


class GroupedDropdown(anywidget.AnyWidget):
    """A drop-down with groups, in which choices that do not apply are grey, with the reason.

    Attributes
    ----------
    value : str
        The choice. From Python, a choice that does not apply is accepted.
    groups : list of (heading, list of str)
        The choices by groups; a group with the heading "" has none.
    reasons : dict of str to str
        Why a choice does not apply, in a few words.
    disabled : bool
        Whether nothing can be chosen.
    """

    _esm = (_FOLDER / "choice.js").read_text(encoding="utf-8")
    _css = _STYLE

    value = traitlets.Unicode("").tag(sync=True)
    groups: Any = traitlets.List([]).tag(sync=True)
    reasons = traitlets.Dict({}).tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)
    description = traitlets.Unicode("").tag(sync=True)

    def __init__(self, groups: Mapping[str, Sequence[str]], value: str, description: str) -> None:
        listed = [[heading, list(values)] for heading, values in groups.items() if values]
        super().__init__(groups=listed, value=value, description=description)

    @property
    def options(self) -> tuple[str, ...]:
        """All choices, in order."""
        return tuple(value for _, values in self.groups for value in values)

    @traitlets.validate("value")
    def _check(self, proposal: traitlets.Bunch) -> str:
        if self.options and proposal["value"] not in self.options:
            raise traitlets.TraitError(f"unknown choice {proposal['value']!r}; there are {', '.join(self.options)}.")
        return str(proposal["value"])


class CopyButton(anywidget.AnyWidget):
    """A button that copies a text into the clipboard, without the kernel.

    Attributes
    ----------
    text : str
        The text.
    """

    _esm = (_FOLDER / "copy.js").read_text(encoding="utf-8")
    _css = _STYLE

    text = traitlets.Unicode("").tag(sync=True)
    description = traitlets.Unicode("Copy").tag(sync=True)
    tooltip = traitlets.Unicode("").tag(sync=True)


class FileButtons(anywidget.AnyWidget):
    """Buttons for the files of a picture that is an image, for which there is no view.

    svg: returns the picture as SVG text.
    """

    _esm = (_FOLDER / "files.js").read_text(encoding="utf-8")
    _css = _STYLE

    def __init__(self, svg: Callable[[], str], **options: Any) -> None:
        super().__init__(**options)
        self._svg = svg
        self.on_msg(lambda _, content, __: self.send(self.answer(content)))

    def answer(self, content: Any) -> dict[str, str]:
        """Return the answer to a message: {"svg": text}, or {"error": why not}."""
        try:
            return {"svg": self._svg()}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"}
