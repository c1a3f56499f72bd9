"""One name for each measure: the short one if the package has it, else the call that creates it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

KNOWN: dict[str, Any] = {}  # measures by their short names, filled by the package


def plain(value: Any) -> Any:
    """Return a number of NumPy, such as one out of an array, as a number of Python; other values as they are."""
    return value.item() if isinstance(value, np.generic) else value


def code_of(measure: Any) -> str:
    """Return the call that creates a measure, with the options that differ from their defaults.

    For a class with a text of its own, such as that of `from_function`, this text.
    """
    from .base import Measure

    shown: Any = type(measure).__str__
    if shown is not Measure.__str__:
        return str(measure)
    options = {f.name: getattr(measure, f.name) for f in fields(measure) if getattr(measure, f.name) != f.default}
    called = ", ".join(f"{name}={plain(value)!r}" for name, value in options.items())
    return f"{type(measure).__name__}({called})"


def name_of(measure: Any) -> str:
    """Return the short name of a measure, such as "cka_debiased"; else its call, without empty brackets."""
    return next((name for name, known in KNOWN.items() if known == measure), code_of(measure).removesuffix("()"))
