"""Checks of what users pass in: representations, options, and labels of samples."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import array_api_compat
import numpy as np
import pandas as pd

from repsim_nb.support.containers import Array, check_digits, one_feature, to_array, to_features, type_name
from repsim_nb.support.errors import UndefinedError, show_value

LARGEST_INTEGER = 2**63 - 1  # of NumPy's int64


def check_representation(x: Array, *, min_samples: int = 1, double: bool = False, constant: bool = False) -> Array:
    """Check one representation and convert it to (n, p) in the precision of the work.

    Half precision becomes float32, integers float64.

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    min_samples : int
        The smallest legal number of samples.
    double : bool
        Whether the result is in float64 in any case.
    constant : bool
        Whether all samples may be the same.

    Returns
    -------
    array (n, p)

    Raises
    ------
    UndefinedError
        If there are too few samples, no feature, a NaN or an infinity, or all samples are the same.

    Examples
    --------
    >>> check_representation(np.arange(12).reshape(3, 2, 2)).shape
    (3, 4)
    """
    x, dtype = check_shape(x, min_samples)
    xp = array_api_compat.array_namespace(x)
    x = xp.astype(x, xp.float64 if double else dtype, copy=False)
    if not bool(xp.all(xp.isfinite(x))):
        raise not_finite_error(x)
    if not constant and x.shape[0] > 1 and bool(xp.all(x[1:] == x[:1])):
        raise UndefinedError(f"it is constant: all {x.shape[0]} samples have the same activations")
    return x


def check_shape(x: Array, min_samples: int) -> tuple[Array, Any]:
    """Check shape and dtype, but no numbers except 64-bit integers.

    Returns x as (n, p), and the precision of the work.
    """
    given, x = x, to_features(x)
    xp = array_api_compat.array_namespace(x)
    if x.ndim < 2:
        raise UndefinedError(
            f"a representation is (samples, features); it has shape {tuple(x.shape)}"
            + (f": use {one_feature(given)} for one feature" if x.ndim else "")
        )
    x = x.detach() if hasattr(x, "detach") else x
    floating = xp.isdtype(x.dtype, "real floating")
    if not floating and not xp.isdtype(x.dtype, ("integral", "bool")):
        raise UndefinedError(f"a representation holds real numbers; it has dtype {x.dtype}")
    n, p = x.shape[0], math.prod(x.shape[1:])
    if n < min_samples:
        raise UndefinedError(f"at least {min_samples} samples are needed; it has {n}")
    if p == 0:
        raise UndefinedError(f"it has no features (shape {tuple(x.shape)})")
    if not floating:
        if x.dtype.itemsize == 8 and n:
            check_digits(x)
        return xp.reshape(x, (n, p)), xp.float64
    bits = xp.finfo(x.dtype).bits
    dtype = (
        xp.float32
        if bits < 32
        else xp.float64
        if bits > 64
        else x.dtype
        if array_api_compat.is_torch_array(x)
        else x.dtype.newbyteorder("=")
    )
    return xp.reshape(x, (n, p)), dtype


def not_finite_error(x: Array) -> UndefinedError:
    """Return the error for a representation with NaN or infinity: how many, and where the first is."""
    xp = array_api_compat.array_namespace(x)
    many, first, step = 0, (0, 0), max(1, 2**22 // x.shape[1])  # some rows at a time: x may be larger than memory
    for start in range(0, x.shape[0], step):
        bad = to_numpy(~xp.isfinite(x[start : start + step]))
        if not many and bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            first = start + row, column
        many += int(bad.sum())
    return UndefinedError(
        f"it holds {many} values that are NaN or infinite, the first at sample {first[0]}, feature {first[1]}"
    )


def to_numpy(x: Array) -> np.ndarray:
    """Convert an array or a tensor on any device to a NumPy array; bfloat16, which NumPy lacks, becomes float32."""
    if array_api_compat.is_torch_array(x):
        x = x.detach().cpu()
        x = x.float() if "bfloat16" in str(x.dtype) else x
    return np.asarray(x)


def is_integer(value: object) -> bool:
    """Return whether it is an integer of Python or NumPy; True, False and 1.0 are not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_integer(
    value: Any, name: str, *, minimum: int | None = None, maximum: int | None = None, hint: str = ""
) -> int:
    """Check an option that is an integer, and return it as int.

    Parameters
    ----------
    value : int
        What the user gave. Integers of NumPy count; bool and floats do not.
    name : str
        The name of the option, for the error.
    minimum, maximum : int, optional
        The smallest and the largest legal value; a maximum comes with a minimum. Without one it is that of int64.
    hint : str
        What else the error says about legal values.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If it is not an integer in that range.

    Examples
    --------
    >>> check_integer(np.int64(3), "k", minimum=1)
    3
    """
    most = LARGEST_INTEGER if maximum is None else maximum
    if is_integer(value) and (minimum is None or minimum <= value) and value <= most:
        return int(value)
    legal = f" from {minimum} to {maximum}" if maximum is not None else "" if minimum is None else f" >= {minimum}"
    bound = " and below 2**63" if is_integer(value) and value > LARGEST_INTEGER and maximum is None else ""
    raise ValueError(f"{name} must be an integer{legal}{bound}{hint and f', {hint}'}; got {show_value(value)}")


def is_number(value: object) -> bool:
    """Return whether it is a real number of Python or NumPy; True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_fraction(value: Any, name: str, *, maximum: float | None = None, hint: str = "") -> float:
    """Check an option that lies between 0 and 1, both excluded, and return it as float.

    Parameters
    ----------
    value : float
        What the user gave; bool and NaN are refused.
    name : str
        The name of the option, for the error.
    maximum : float, optional
        The largest legal value, which is then included.
    hint : str
        What else the error says about legal values.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If it is not a number in that range.

    Examples
    --------
    >>> check_fraction(0.95, "level")
    0.95
    """
    if is_number(value) and value > 0 and (value < 1 if maximum is None else value <= maximum):
        return float(value)
    legal = "between 0 and 1" if maximum is None else f"above 0 and at most {maximum:g}"
    raise ValueError(f"{name} must be a number {legal}{hint and f', {hint}'}; got {show_value(value)}")


def check_positive(value: Any, name: str, *, hint: str = "") -> float:
    """Check an option that is a finite number above 0, and return it as float.

    Parameters
    ----------
    value : float
        What the user gave; bool, NaN and infinity are refused.
    name : str
        The name of the option, for the error.
    hint : str
        What else the error says about legal values.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If it is not a number above 0.

    Examples
    --------
    >>> check_positive(2, "bandwidth")
    2.0
    """
    with contextlib.suppress(OverflowError):
        if is_number(value) and 0 < value < math.inf:
            return float(value)
    bound = " and below 1.8e308" if is_number(value) and value > 0 else ""
    raise ValueError(f"{name} must be a number above 0{bound}{hint and f', {hint}'}; got {show_value(value)}")


def check_flag(value: Any, name: str) -> None:
    """Raise ValueError if an option is not True or False; 1 and 0 count."""
    if not isinstance(value, (int, np.integer, np.bool_)) or value not in (0, 1):
        raise ValueError(f"{name} must be True or False; got {show_value(value)}")


def check_choice(value: Any, name: str, choices: Sequence[str], *, hint: str = "") -> None:
    """Check an option that is one of a few names.

    Parameters
    ----------
    value : str
        What the user gave.
    name : str
        The name of the option, for the error.
    choices : sequence of str
        All legal values.
    hint : str
        What else the error says about legal values.

    Raises
    ------
    ValueError
        If it is none of them. The error lists all.

    Examples
    --------
    >>> check_choice("x", "weights", ("x", "y"))
    >>> check_choice("z", "weights", ("x", "y"))
    Traceback (most recent call last):
    ...
    ValueError: weights must be 'x' or 'y'; got 'z'.
    """
    if not isinstance(value, str) or value not in choices:
        *first, last = map(repr, choices)
        raise ValueError(f"{name} must be {', '.join(first)} or {last}{hint and f', {hint}'}; got {show_value(value)}.")


def check_labels(values: Any, n: int, what: str, *, undefined: bool = False) -> np.ndarray:
    """Check labels of n samples or items, such as groups, strata, targets or classes.

    Parameters
    ----------
    values : list, array, tensor, Series or Categorical
        One label for each: integers, floats, text, True and False, or other hashable Python objects. A column (n, 1) is
        flattened.
    n : int
        How many there must be.
    what : str
        The name of the labels, for the error.
    undefined : bool
        Whether NaN and None are allowed.

    Returns
    -------
    array (n,)
        Labels that are equal are equal in it.

    Raises
    ------
    ValueError
        If there is another number of labels, they have no order (a set), or one is undefined.

    Examples
    --------
    >>> check_labels(["a", "b", "a"], 3, "groups").tolist()
    ['a', 'b', 'a']
    """
    if not isinstance(values, Iterable) and getattr(values, "ndim", None) and hasattr(values, "__getitem__"):
        values = to_array(values)  # as Zarr's
    if (
        values is None
        or isinstance(values, (str, bytes, Mapping, set, frozenset))
        or not isinstance(values, Iterable)
        or getattr(values, "ndim", None) == 0
    ):
        raise ValueError(
            f"{what} needs one label for each of {n}, in their order; got {type_name(values)}"
            + (f" {values!r}" if isinstance(values, str) or np.isscalar(values) else "")
        )
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) > 1:
        if len(shape) > 2 or shape[1] != 1:
            hint = ": if each column is a class, take values.argmax(axis=1)" if len(shape) == 2 else ""
            raise ValueError(f"{what} needs one label for each of {n}, of shape ({n},); got shape {tuple(shape)}{hint}")
        values = (
            values.iloc[:, 0]
            if isinstance(values, pd.DataFrame)
            else to_array(values).reshape(-1)
            if not isinstance(values, np.ndarray)
            else values
        )
    labels = _labels(values)
    if len(labels) != n:
        raise ValueError(f"{what} needs one label for each of {n}; there are {len(labels)}")
    missing = pd.isna(labels)
    if missing.any() and not undefined:
        first = int(np.flatnonzero(missing)[0])
        raise ValueError(
            f"{int(missing.sum())} of {n} {what} are undefined (NaN or None), the first in row {first}: leave those"
            " rows out"
        )
    return labels


def _labels(values: Any) -> np.ndarray:
    """Convert labels to an array of one kind, or of objects if kinds are mixed, so that 1 and "1" stay two labels."""
    if isinstance(values, np.ma.MaskedArray):
        values = [
            None if hole else value
            for value, hole in zip(values.ravel(), np.ma.getmaskarray(values).ravel(), strict=True)
        ]
    elif array_api_compat.is_torch_array(values):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() and values.element_size() < 4 else values).numpy()
    if isinstance(values, np.ndarray) and values.dtype.kind in "iufbUSmM" and values.dtype.type.__module__ == "numpy":
        return np.asarray(values).reshape(-1)
    items = [
        _unwrap(item, row) for row, item in enumerate(values.ravel() if isinstance(values, np.ndarray) else values)
    ]
    kinds = {bool if isinstance(item, bool) else type(item) for item in items if not _is_missing(item)}
    if (
        kinds <= {int, float}
        and kinds
        and (kinds == {float} or all(not isinstance(item, int) or abs(item) <= 2**53 for item in items))
    ):
        if kinds == {int} and not any(map(_is_missing, items)):
            return np.array(items, dtype=np.int64)
        return np.array([np.nan if _is_missing(item) else item for item in items], dtype=np.float64)
    if kinds in ({bool}, {str}) and not any(map(_is_missing, items)):
        return np.array(items)
    found = np.empty(len(items), dtype=object)
    found[:] = items
    return found


def _unwrap(item: Any, row: int) -> Any:
    """Convert a scalar of any library to Python; other objects must be hashable."""
    if (
        hasattr(item, "item")
        and getattr(item, "ndim", 0) == 0
        and not isinstance(item, (np.datetime64, np.timedelta64))
    ):
        item = item.item()
    try:
        hash(item)
    except TypeError as error:
        raise ValueError(
            f"a label is a number, a text or another value; that of row {row} is a {type_name(item)}"
        ) from error
    if hasattr(item, "shape") and item.shape:
        raise ValueError(
            f"a label is a number, a text or another value; that of row {row} is a {type_name(item)} of shape"
            f" {tuple(item.shape)}"
        )
    return item


def _is_missing(item: Any) -> bool:
    """Return whether a label is undefined."""
    return item is None or item is pd.NA or item is pd.NaT or (isinstance(item, float) and math.isnan(item))
