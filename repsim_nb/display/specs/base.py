"""What a spec is: a frozen value, JSON too, of all that a figure shows; and `spec`, which makes one from a result.

Specs hold numbers, text, None, other specs, and tuples of these. None stands for a number that is undefined.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields, replace
from functools import singledispatch
from typing import Any, Self

import pandas as pd

from repsim_nb.support.errors import join_names, unknown_name

Cells = tuple[tuple[float | None, ...], ...]
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Spec:
    """What a figure shows; the renderers (`plots`, `views`) read it and ask nothing else."""

    def to_json(self) -> str:
        """Return the spec as JSON text, which `from_json` reads."""
        return json.dumps(_to_plain(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If the text is not JSON, or holds no spec of this class.
        """
        try:
            found = _from_plain(json.loads(text))
        except (KeyError, TypeError) as error:
            raise ValueError(f"this text does not hold a spec, or one of another version: {error}") from error
        if not isinstance(found, cls):
            raise ValueError(f"this text holds a {type(found).__name__}, not a {cls.__name__}")
        return found


def _to_plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return {"spec": type(value).__name__} | {f.name: _to_plain(getattr(value, f.name)) for f in fields(value)}
    return [_to_plain(item) for item in value] if isinstance(value, tuple) else value


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        kinds = {kind.__name__: kind for kind in (*Spec.__subclasses__(), *FigureSpec.__subclasses__())}
        name = value.pop("spec")
        if name not in kinds:
            raise unknown_name("kind of spec", name, kinds)
        return kinds[name](**{key: _from_plain(item) for key, item in value.items()})
    return tuple(map(_from_plain, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class FigureSpec(Spec):
    """All that one figure shows.

    Attributes
    ----------
    size : (float, float)
        Width and height in inches.
    """

    size: tuple[float, float] = field(default=(6.4, 4.8), kw_only=True)


@dataclass(frozen=True)
class ImageSpec(FigureSpec):
    """A finished image.

    Attributes
    ----------
    png : str
        A PNG file in base64.
    """

    png: str


@singledispatch
def spec(result: Any, **options: Any) -> FigureSpec:
    """Decide once what the figure of a result shows.

    Parameters
    ----------
    result : Comparison, NullTable, Embedding, Probe, Benchmark, Specificity, Sensitivity, Test or DataFrame
        A DataFrame has a line a column. A kind of result of your own is registered as in the example.
    **options
        Those of the function of `plots` that draws this kind of result, such as `title`.

    Returns
    -------
    MatrixSpec, MapSpec or LineSpec
        A frozen value with `to_json` and `from_json`; `plots.draw` and the views show it.

    Raises
    ------
    TypeError
        If no function is registered for this kind of result.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> x = np.random.default_rng(0).normal(size=(20, 3))
    >>> table = rs.compare("cka", {"a": x, "b": x**2})
    >>> shown = rs.spec(table)
    >>> shown.row_labels, shown.title, shown == rs.specs.MatrixSpec.from_json(shown.to_json())
    (('a', 'b'), 'cka', True)

    A kind of result of your own gets its picture, view and report by one function:

    >>> class Mine: ...
    >>> @rs.spec.register
    ... def mine_spec(result: Mine) -> rs.specs.MatrixSpec:
    ...     return rs.specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c"))
    >>> rs.spec(Mine()).column_labels
    ('b', 'c')
    """
    kinds = [kind.__name__ for kind in spec.registry if kind is not object]
    raise TypeError(f"spec takes one of {join_names(kinds, 12)}; got {type(result).__name__}.")


@spec.register
def same_spec(result: FigureSpec, **fields: Any) -> FigureSpec:
    """Return a spec as it is, with other values of these fields."""
    return replace(result, **fields)


def check_frame(frame: Any, what: str, hint: str) -> None:
    """Raise TypeError if a picture that takes a DataFrame was given something else."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{what} takes a DataFrame, {hint}; got {type(frame).__name__}.")


def finite(value: float) -> float | None:
    """Return a number as a spec holds it: None if it is undefined or infinite."""
    return float(value) if math.isfinite(value) else None
