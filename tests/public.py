"""The public names of the package, as a user meets them: `rs.compare`, `rs.inference.interval`, `rs.Store.check`."""

import inspect
from collections.abc import Iterator
from functools import cached_property
from types import ModuleType

import repsim_nb as rs


def public() -> dict[str, object]:
    """Return {name: object} of the public functions, classes, methods and properties."""
    found: dict[str, object] = {}
    for name in rs.__all__:
        one = getattr(rs, name)
        members = {f"{name}.{part}": getattr(one, part) for part in getattr(one, "__all__", ())}
        for label, each in members.items() if isinstance(one, ModuleType) else [(name, one)]:
            if inspect.isclass(each) or inspect.isfunction(inspect.unwrap(each)) if callable(each) else False:
                found[label] = each
                found |= {f"{label}.{part}": value for part, value in methods(each)} if inspect.isclass(each) else {}
    return found


def methods(kind: type) -> Iterator[tuple[str, object]]:
    """Yield (name, object) of the public methods and properties that a class defines and its bases do not describe."""
    for name, value in vars(kind).items():
        if name.startswith("_") or not (
            inspect.isfunction(value) or isinstance(value, property | cached_property | classmethod | staticmethod)
        ):
            continue
        if value.__doc__ or not any(getattr(vars(base).get(name), "__doc__", None) for base in kind.__mro__[1:]):
            yield name, value
