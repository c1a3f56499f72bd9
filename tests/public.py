"""The public names of the package, as a user meets them: `rs.compare`, `rs.inference.interval`, `rs.Store.check`."""

import inspect
from collections.abc import Collection, Iterator
from functools import cached_property
from types import FunctionType, ModuleType

import repsim_nb as rs

MEMBERS = (FunctionType, property, cached_property, classmethod, staticmethod)


def public() -> dict[str, object]:
    """Return {name: object} of the public functions, classes, methods and properties."""
    found: dict[str, object] = {}
    for name in rs.__all__:
        one = getattr(rs, name)
        members = {f"{name}.{part}": getattr(one, part) for part in getattr(one, "__all__", ())}
        for label, each in members.items() if isinstance(one, ModuleType) else [(name, one)]:
            if inspect.isclass(each) or inspect.isfunction(inspect.unwrap(each)) if callable(each) else False:
                found[label] = each
    classes = {label: each for label, each in found.items() if inspect.isclass(each)}
    for label, each in classes.items():
        found |= {f"{label}.{part}": value for part, value in methods(each, set(classes.values()))}
    return found


def methods(kind: type, public_classes: Collection[type]) -> Iterator[tuple[str, object]]:
    """Yield (name, object) of the public methods and properties of a class.

    Those that it has from a base that is public itself are left out, as are those that only a base describes.
    """
    own = [
        one
        for one in kind.__mro__
        if one is kind or (one.__module__.startswith("repsim_nb") and one not in public_classes)
    ]
    seen: set[str] = set()
    for one in own:
        for name, value in vars(one).items():
            if name.startswith("_") or name in seen or not isinstance(value, MEMBERS):
                continue
            seen.add(name)
            if value.__doc__ or not any(getattr(vars(base).get(name), "__doc__", None) for base in kind.__mro__[1:]):
                yield name, value
