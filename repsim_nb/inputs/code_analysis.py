"""Analyse compiled code without running it: the names it reads, the attributes it assigns, the code it reaches."""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import itertools
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import nn

PACKAGE = __name__.partition(".")[0]
_OUTSIDE = {*sys.stdlib_module_names, "torch", "numpy", PACKAGE}
_READING = {"get", "items", "keys", "values"}  # methods that do not change a dict


def is_ours(thing: Any) -> bool:
    """Return whether a function, a class or an object is of this package."""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == PACKAGE


def closure_values(function: types.FunctionType) -> list[Any]:
    """Return the values of the variables that a function takes from the functions around it."""
    return [cell.cell_contents if cell != types.CellType() else None for cell in function.__closure__ or ()]


def is_installed(thing: Any) -> bool:
    """Return whether a function or a class is of an installed package, of Python, or of this package."""
    name = getattr(thing, "__module__", None) or ""
    top = name.partition(".")[0]
    files = [getattr(sys.modules.get(module), "__file__", None) or "" for module in (name, top)]
    return top in _OUTSIDE or any(folder in file for file in files for folder in ("site-packages", "dist-packages"))


def iterate_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code and the codes of the functions defined inside it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from iterate_codes(part)


def find_names(code: types.CodeType, *operations: str) -> set[str]:
    """Return the names that these operations of a code take."""
    return {
        step.argval for part in iterate_codes(code) for step in dis.get_instructions(part) if step.opname in operations
    }


def only_reads(name: str, kind: type, runs: Mapping[type, list[types.CodeType]]) -> bool:
    """Return whether the `forward` of a class only looks things up in a dict, and no other one changes it.

    Only an installed class has its source in every process.
    """
    naming = {other: [code for code in codes if name in code.co_names] for other, codes in runs.items()}
    if not all(is_installed(other) for other, codes in naming.items() if codes):
        return False
    return all(_find_dict_uses(code, name) == {"read"} for code in naming[kind]) and not any(
        "filled" in _find_dict_uses(code, name) for codes in naming.values() for code in codes
    )


@functools.lru_cache(1024)
def _find_dict_uses(code: types.CodeType, name: str) -> frozenset[str]:
    """Return the uses of the attributes with a name in a code.

    They are "read" if it looks something up in a dict, "filled" if it changes one, else "other", also if there is no
    source.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except Exception:
        return frozenset(["other"])
    parent = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def use(node: ast.Attribute) -> str:
        around = parent[node]
        if isinstance(around, ast.Subscript) and around.value is node:
            return "read" if isinstance(around.ctx, ast.Load) else "filled"
        if isinstance(around, ast.Attribute):
            return "read" if around.attr in _READING else "filled"
        return "read" if isinstance(around, ast.Compare) else "other"

    return frozenset(
        use(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == name
    ) or frozenset(["other"])


def find_reached_code(kind: type[nn.Module]) -> list[types.CodeType]:
    """Return the code of a class's `forward`, of functions inside it, and of methods of the class that they name."""
    found: dict[types.CodeType, None] = {}
    waiting: list[Any] = [inspect.getattr_static(kind, "forward")]
    while waiting:
        function = waiting.pop()
        code = getattr(function, "__code__", None)
        if code is None or code in found:
            continue
        found |= dict.fromkeys(iterate_codes(code))
        waiting += [cell for cell in closure_values(function) if isinstance(cell, types.FunctionType)]
        for name in sorted({name for part in iterate_codes(code) for name in part.co_names}):
            value = inspect.getattr_static(kind, name, None)
            value = value.__func__ if isinstance(value, staticmethod) else value
            if isinstance(value, (types.FunctionType, property)) and vars(nn.Module).get(name) is not value:
                waiting.append(value.fget if isinstance(value, property) else value)
    return list(found)


class Uses(NamedTuple):
    """The uses of attributes and of variables around a piece of code.

    assigned: attributes.  rebound: variables of an enclosing function.  read: ("config", "window") if `.config.window`
    is read.
    """

    assigned: frozenset[str]
    rebound: frozenset[str]
    read: frozenset[tuple[str, str]]


@functools.lru_cache(1024)
def find_uses(code: types.CodeType) -> Uses:
    """Find the attributes that a code assigns and reads, and the variables around it that it binds again."""
    steps = [(step.opname, step.argval) for step in dis.get_instructions(code)]
    by_name = {name for name in code.co_consts if isinstance(name, str)} if "setattr" in code.co_names else set()
    return Uses(
        frozenset(by_name | {value for operation, value in steps if operation in ("STORE_ATTR", "DELETE_ATTR")}),
        frozenset(value for operation, value in steps if operation in ("STORE_DEREF", "DELETE_DEREF")),
        frozenset(
            (one, other) for (first, one), (then, other) in itertools.pairwise(steps) if first == then == "LOAD_ATTR"
        ),
    )
