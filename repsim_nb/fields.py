"""Choosing among labels by their fields: one set of rules for activations and for tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from .errors import unknown


def chosen(labels: Sequence[tuple[Any, ...]], names: Sequence[str], wanted: Mapping[str, Any], hint: str = "") -> list[bool]:
    """Which labels have these fields: {name: a value, a pattern with * and ?, or a list of either}.

    ValueError names the nearest field or value where one is unknown, and says so where no label has all.
    """
    if not isinstance(wanted, Mapping):
        raise TypeError(f"labels are chosen by fields, {{'model': 'a'}}; got {wanted!r}")
    keep = [True] * len(labels)
    for name, choice in wanted.items():
        if name not in names:
            raise unknown("field", name, names, hint)
        column = [label[list(names).index(name)] for label in labels]
        patterns = list(choice) if isinstance(choice, Iterable) and not isinstance(choice, str) else [choice]
        for pattern in patterns:
            if not any(_fits(value, pattern) for value in column):
                raise unknown(name, pattern, dict.fromkeys(column))
        keep = [kept and any(_fits(value, pattern) for pattern in patterns) for kept, value in zip(keep, column, strict=True)]
    if not any(keep):
        raise ValueError(f"nothing has {', '.join(f'{name}={choice!r}' for name, choice in wanted.items())} together" if wanted else "there is nothing to choose from")
    return keep


def _fits(value: Any, pattern: Any) -> bool:
    if value == pattern:
        return True
    return isinstance(pattern, str) and fnmatchcase(str(value), pattern.replace("[", "[[]"))  # names of subsets hold brackets
