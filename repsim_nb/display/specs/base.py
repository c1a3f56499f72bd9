"""The base classes of specs, and `spec`, which returns the spec of a result."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields, replace
from functools import singledispatch
from typing import Any, Self

import pandas as pd

from repsim_nb.support.errors import as_clause, check_name, join_names

Cells = tuple[tuple[float | None, ...], ...]
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Spec:
    """Base of all specs: a frozen value that can be stored as JSON.

    `Spec.from_json` reads a spec of any class. The fields of a spec are numbers, text, None, other specs, and tuples of
    these; None stands for an undefined number.

    Examples
    --------
    >>> from repsim_nb import specs
    >>> shown = specs.MatrixSpec(((0.0, None),), ("a",), ("b", "c"))
    >>> specs.Spec.from_json(shown.to_json()) == shown
    True
    """

    def to_json(self) -> str:
        """Return the spec as JSON text, which `from_json` reads.

        Returns
        -------
        str
            A JSON object: the name of the class as "spec", and the fields.

        Examples
        --------
        >>> from repsim_nb import specs
        >>> specs.ImageSpec("iVBORw0KGgo=", size=(2.0, 1.0)).to_json()
        '{"spec": "ImageSpec", "size": [2.0, 1.0], "png": "iVBORw0KGgo="}'
        """
        return json.dumps(_to_plain(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a spec that `to_json` wrote.

        Parameters
        ----------
        text : str
            What `to_json` returned.

        Returns
        -------
        Spec
            A spec of this class; `Spec.from_json` reads every class.

        Raises
        ------
        ValueError
            If the text is not JSON, or is not a spec of this class.

        Examples
        --------
        >>> from repsim_nb import specs
        >>> specs.ImageSpec.from_json('{"spec": "ImageSpec", "size": [2.0, 1.0], "png": "iVBORw0KGgo="}').size
        (2.0, 1.0)
        """
        try:
            found = _from_plain(json.loads(text))
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"from_json reads what to_json of this version wrote; this text has other contents: {as_clause(error)}."
            ) from error
        if not isinstance(found, cls):
            raise ValueError(
                f"{cls.__name__}.from_json reads a {cls.__name__}; got a {type(found).__name__}. Use Spec.from_json."
            )
        return found


def _to_plain(value: Any) -> Any:
    """Return a field of a spec as data for JSON."""
    if isinstance(value, Spec):
        return {"spec": type(value).__name__} | {f.name: _to_plain(getattr(value, f.name)) for f in fields(value)}
    return [_to_plain(item) for item in value] if isinstance(value, tuple) else value


def _from_plain(value: Any) -> Any:
    """Return a field of a spec from the data of `_to_plain`."""
    if isinstance(value, dict):
        kinds = {kind.__name__: kind for kind in (*Spec.__subclasses__(), *FigureSpec.__subclasses__())}
        name = value.pop("spec")
        check_name("kind of spec", name, kinds)
        return kinds[name](**{key: _from_plain(item) for key, item in value.items()})
    return tuple(map(_from_plain, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class FigureSpec(Spec):
    """Base of the specs of whole figures.

    Parameters
    ----------
    size : (float, float)
        Width and height of the figure in inches.

    Examples
    --------
    >>> from repsim_nb import specs
    >>> isinstance(specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c")), specs.FigureSpec)
    True
    """

    size: tuple[float, float] = field(default=(6.4, 4.8), kw_only=True)


@dataclass(frozen=True)
class ImageSpec(FigureSpec):
    """A finished image, such as a matplotlib figure of your own.

    Parameters
    ----------
    png : str
        The contents of a PNG file in base64.
    size : (float, float)
        Width and height of the figure in inches.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from repsim_nb import plots, specs  # plots adds figures to what spec takes
    >>> shown = specs.spec(Figure(figsize=(2, 1)))
    >>> type(shown).__name__, shown.size
    ('ImageSpec', (2.0, 1.0))
    """

    png: str


@singledispatch
def spec(result: Any, **options: Any) -> FigureSpec:
    """Return the spec of a result: everything that its figure shows.

    Parameters
    ----------
    result : Comparison, NullTable, Embedding, Probe, Benchmark, Specificity, Sensitivity, Test, DataFrame or FigureSpec
        Any result that a function of `plots` draws. A DataFrame becomes one line for each column. A matplotlib Figure
        or Axes becomes an ImageSpec once `repsim_nb.plots` is imported. A spec is returned with the fields in `options`
        replaced. Register a kind of result of your own as in the example.
    **options
        Options of the function of `plots` that draws this kind of result, such as `title`.

    Returns
    -------
    FigureSpec
        A MatrixSpec, MapSpec, LineSpec, PanelsSpec or ImageSpec; `plots.draw` and the explorers show it.

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

    One function gives a kind of result of your own its picture, its view and its place in reports:

    >>> class Mine: ...
    >>> @rs.spec.register
    ... def mine_spec(result: Mine) -> rs.specs.MatrixSpec:
    ...     return rs.specs.MatrixSpec(((0.0, 1.0),), ("a",), ("b", "c"))
    >>> rs.spec(Mine()).column_labels
    ('b', 'c')
    """
    kinds = [kind.__name__ for kind in spec.registry if kind is not object]
    raise TypeError(
        f"spec takes one of {join_names(kinds, 12)}; got {type(result).__name__}. Add a kind with @spec.register."
    )


@spec.register
def same_spec(result: FigureSpec, **fields: Any) -> FigureSpec:
    """Return a spec with other values of these fields."""
    return replace(result, **fields)


def check_frame(frame: Any, what: str, hint: str) -> None:
    """Raise TypeError if a picture that takes a DataFrame was given something else."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{what} takes a DataFrame, {hint}; got {type(frame).__name__}.")


def finite(value: float) -> float | None:
    """Return a number, or None if it is undefined or infinite, as in the fields of specs."""
    return float(value) if math.isfinite(value) else None
