"""The docstring of every public name is complete: a summary, every parameter, what is returned, an example."""

import inspect
from functools import cached_property

import pytest
from numpydoc.docscrape import NumpyDocString
from public import public

PUBLIC = public()
PROPERTY = (property, cached_property)


def parse(value: object) -> NumpyDocString:
    text = value.__doc__
    assert text, "it has no docstring"
    return NumpyDocString(inspect.cleandoc(text))


def arguments(value: object) -> list[str]:
    """The names of the parameters of a function, method or class."""
    function = getattr(value, "__func__", value)
    if inspect.isclass(value) and issubclass(value, Exception):
        return []  # of built-in exceptions there is no signature
    names = [name.lstrip("*") for name in inspect.signature(function).parameters]
    return [name for name in names if name not in ("self", "cls") and not name.startswith("_")]


def documented(doc: NumpyDocString) -> set[str]:
    sections = ("Parameters", "Other Parameters", "Attributes")
    entries = [entry.name for section in sections for entry in doc[section]]
    return {name.strip().lstrip("*") for entry in entries for name in entry.split(",")}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_is_complete(name):
    value = PUBLIC[name]
    doc = parse(value)
    lines = inspect.cleandoc(value.__doc__).splitlines()
    assert lines[0].endswith((".", "?")), "the summary ends with a full stop"
    assert len(lines) == 1 or not lines[1], "the summary is one line, then a blank one"
    if isinstance(value, PROPERTY):
        return
    missing = [one for one in arguments(value) if one not in documented(doc)]
    assert not missing, f"not documented: {missing}"
    if not inspect.isclass(value):
        unknown = [entry.name for entry in doc["Parameters"] if not set(split(entry.name)) <= set(arguments(value))]
        assert not unknown, f"documented, but no parameter: {unknown}"
        returned = inspect.signature(getattr(value, "__func__", value)).return_annotation
        assert doc["Returns"] or doc["Yields"] or returned in (None, "None"), "what it returns is not documented"
    empty = [
        entry.name for section in ("Parameters", "Returns", "Attributes") for entry in doc[section] if not entry.desc
    ]
    assert not empty, f"named, but not described: {empty}"
    assert doc["Examples"], "it has no example"


def split(entry: str) -> list[str]:
    return [name.strip().lstrip("*") for name in entry.split(",")]
