"""The code that makes the same picture: names in the notebook, and measures and choices as Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from repsim_nb import measures
from repsim_nb.inputs.store import Activations
from repsim_nb.measures.names import code_of

Name = TypeVar("Name")
Value = TypeVar("Value")


def notebook_shell() -> Any:
    """Return the shell of IPython that runs the cells; None if there is none."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def name_of(thing: Any) -> str | None:
    """Return the shortest name of an object in the notebook; None if it has none."""
    shell = notebook_shell()
    names = [
        name for name, value in (shell.user_ns if shell else {}).items() if value is thing and not name.startswith("_")
    ]
    return min(names, key=len) if names else None


def measure_code(measure: measures.Measure) -> str:
    """Return a measure as code: its short name, its name in the notebook, or the call that makes it."""
    short = measures.short_name(measure)
    if measures.ALL.get(short) == measure:
        return repr(short)
    function = isinstance(measure, measures.FromFunction)
    ours = function or getattr(measures, type(measure).__name__, None) is type(measure)
    return name_of(measure) or ("rs.measures." if ours else "") + (repr(measure) if function else code_of(measure))


def activations_code(source: Mapping[Any, Any]) -> tuple[str, list[str]]:
    """Return the name of the activations that an explorer was given, and the first lines of its code."""
    name = name_of(source)
    lines = ["import repsim_nb as rs"]
    if name is None:
        lines.append("# activations: what was given to this explorer")
    name = name or "activations"
    return name, lines + ([] if isinstance(source, Activations) else [f"{name} = rs.from_arrays({name})"])


def where_code(name: str, fields: Mapping[str, Any]) -> str:
    """Return code that selects activations by their fields."""
    return f"{name}.where({', '.join(f'{field}={value!r}' for field, value in fields.items())})" if fields else name


def get_or_make(cache: dict[Name, Value], key: Name, make: Callable[[], Value]) -> Value:
    """Return the value in the cache for this key; make it if there is none."""
    if key not in cache:
        cache[key] = make()
    return cache[key]


def parameters(draw: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return the parameters of a function by name; None if they cannot be read."""
    try:
        return inspect.signature(draw).parameters
    except ValueError:  # some functions written in C
        return None
