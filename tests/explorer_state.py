"""What tests of explorers share: widgets by their text, what a notebook names, measures that take their time."""

import time
from unittest.mock import MagicMock

import ipywidgets as widgets

import repsim_nb as rs


def parts(widget):
    """A widget and all that it holds."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from parts(child)


def button(explorer, text):
    """The button with this text."""
    return next(part for part in parts(explorer) if getattr(part, "description", None) == text)


def texts(explorer):
    """The HTML that can be seen in an explorer."""
    return [part.value for part in parts(explorer) if isinstance(part, widgets.HTML) and part.layout.display != "none"]


def name_things(monkeypatch, names):
    """Let a notebook's user have these names; the dict may change later."""
    shell = MagicMock(user_ns=names)
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)


def slowly(seconds, gate):
    """A measure that takes its time for each representation while gate["slow"] is true."""

    class Slow(rs.measures.NBS):
        def prepare(self, x):
            time.sleep(seconds if gate["slow"] else 0)
            return super().prepare(x)

    return Slow()
