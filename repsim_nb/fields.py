"""Choosing among labels by their fields: one set of rules for activations and for tables."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from numbers import Integral
from typing import Any

from .errors import unknown


def chosen(labels: Sequence[tuple[Any, ...]], names: Sequence[str], wanted: Mapping[str, Any], hint: str = "") -> list[bool]:
    """Which labels have these fields: {name: a value, a pattern with * and ?, or a list of either}.

    Text that is one of the values is that value and no pattern. Of `layer` a whole number counts among the labels that agree in all other
    fields: -2 is each network's last but one.
    ValueError names the nearest field or value where one is unknown, and says so where no label has all.
    """
    if not isinstance(wanted, Mapping):
        raise TypeError(f"labels are chosen by fields, {{'model': 'a'}}; got {wanted!r}")
    keep = [True] * len(labels)
    for name, choice in wanted.items():
        if name not in names:
            raise unknown("field", name, names, hint)
        at = list(names).index(name)
        column = [label[at] for label in labels]
        patterns = list(choice) if isinstance(choice, Iterable) and not isinstance(choice, str) else [choice]
        fits = [
            _counted(labels, at, name, pattern) if name == "layer" and _is_whole(pattern) else _fitting(column, pattern)
            for pattern in patterns
        ]
        for pattern, fitting in zip(patterns, fits, strict=True):
            if not any(fitting):
                raise unknown(name, pattern, dict.fromkeys(column))
        keep = [kept and any(fitting[i] for fitting in fits) for i, kept in enumerate(keep)]
    if not any(keep):
        raise ValueError(f"nothing has {', '.join(f'{name}={choice!r}' for name, choice in wanted.items())} together" if wanted else "there is nothing to choose from")
    return keep


def place_in_training(step: Any) -> tuple[bool, float]:
    """Sorts steps that are numbers (7, "7") by size, and names behind them as they come."""
    number = float(step) if not isinstance(step, str) or re.fullmatch(r"-?\d+", step) else math.inf
    return number == math.inf, number


def _is_whole(pattern: Any) -> bool:
    return isinstance(pattern, Integral) and not isinstance(pattern, bool)


def _counted(labels: Sequence[tuple[Any, ...]], at: int, name: str, number: int) -> list[bool]:
    """Which labels are number `number` (from the end where negative) among those that share their other fields."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, label in enumerate(labels):
        groups.setdefault((*label[:at], *label[at + 1 :]), []).append(i)
    for others, places in groups.items():
        if not -len(places) <= number < len(places):
            raise ValueError(f"'{others[0]}' has {len(places)} {name}{'s' if len(places) > 1 else ''} here; there is no number {number}" if others else f"there is no {name} number {number}")
    wanted = {places[number] for places in groups.values()}
    return [i in wanted for i in range(len(labels))]


def _fitting(column: Sequence[Any], pattern: Any) -> list[bool]:
    """Which values are this one, else which fit it as a pattern."""
    same = [bool(value == pattern) for value in column]
    if any(same) or not isinstance(pattern, str):
        return same
    return [fnmatchcase(str(value), pattern.replace("[", "[[]")) for value in column]  # names of subsets hold brackets
