"""Whether two answers are equal, and how they differ in kind, in the words of a teacher."""

from __future__ import annotations

import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def same(given: Any, value: Any, tolerance: float) -> bool:
    """Whether two answers are equal: numbers up to a relative tolerance, integers and everything else exactly."""
    if isinstance(value, Mapping):
        return (
            isinstance(given, Mapping)
            and set(given) == set(value)
            and all(same(given[key], value[key], tolerance) for key in value)
        )
    if _is_list(value) and _is_list(given) and not _all_numbers(value):
        return len(given) == len(value) and all(same(g, v, tolerance) for g, v in zip(given, value, strict=True))
    if isinstance(value, str | bytes) or isinstance(given, str | bytes):
        return isinstance(given, str | bytes) and isinstance(value, str | bytes) and given == value
    a, b = as_array(given), as_array(value)
    if a is None or b is None:
        return type(given) is type(value) and isinstance(value, set | frozenset) and given == value
    if a.shape != b.shape or (a.dtype == bool) != (b.dtype == bool):
        return False
    if a.dtype == bool or a.dtype.kind not in "iufc" or b.dtype.kind not in "iufc":
        return bool(np.array_equal(a, b))
    if b.dtype.kind in "iu":  # a number of samples, or a place
        return bool(np.allclose(a, b, rtol=0, atol=1e-6))
    largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.01))  # what float32 leaves of a value near 0 is rounding
    return bool(np.allclose(a, b, rtol=tolerance, atol=tolerance * largest, equal_nan=True))


def is_choice(value: Any) -> bool:
    """Return whether an answer is one of a few: a text, True or False, an integer."""
    array = as_array(value)
    return array is not None and array.ndim == 0 and array.dtype.kind in "biuU"


def is_stub(answer: Callable[..., Any]) -> bool:
    """Return whether a function does nothing, as those that students receive."""

    def documented() -> None:
        """Do nothing."""

    stubs = {documented.__code__.co_code, (lambda: None).__code__.co_code, (lambda: ...).__code__.co_code}
    code = getattr(answer, "__code__", None)
    return code is not None and code.co_code in stubs and not code.co_names


def unlike(given: Any, value: Any) -> str:
    """Say how an answer differs from the expected one in kind or shape; "" if it does not."""
    if isinstance(value, Mapping) and isinstance(given, Mapping):
        missing, more = (
            [repr(key) for key in one if key not in other] for one, other in ((value, given), (given, value))
        )
        if missing:
            return f"Your dict lacks the key{'s' * (len(missing) > 1)} {', '.join(missing)}."
        return f"Your dict has more keys than asked for: {', '.join(more)}." if more else ""
    a, b = (None if isinstance(v, str | Mapping) else as_array(v) for v in (given, value))
    if a is None or b is None:
        return "" if _kind(given) == _kind(value) else f"Return {_kind(value)}, not {_kind(given)}."
    if a.dtype.kind == "f" and np.isnan(a).any() and not (b.dtype.kind == "f" and np.isnan(b).any()):
        return "Your result has NaN (not a number): from a division by 0, a root below 0, or a mean of nothing."
    if a.shape != b.shape:
        return f"Return {_kind(value)}, not {_kind(given)}."
    if (a.dtype == bool) != (b.dtype == bool):
        return f"Return {_kind(b.dtype.type())}, not {given!r}."
    return ""


def misspelt(answers: list[Any], right: list[Any]) -> str:
    """Say which text is none of the few that are asked for, or up to where a sentence is right; "" for no texts."""
    arrays = ([as_array(value) for value in values] for values in (answers, right))
    given, asked = ([t for a in one if a is not None and a.dtype.kind == "U" for t in a.ravel()] for one in arrays)
    if len(set(asked)) <= 6:  # words; sentences differ from input to input
        how = "is none of those asked for. Check how the task writes them."
        return next((f"Your text '{text}' {how}" for text in given if text not in asked), "")
    first, value = next((pair for pair in zip(given, asked, strict=False) if pair[0] != pair[1]), ("", ""))
    shorter = min(len(first), len(value))
    equal = next((k for k in range(shorter) if first[k] != value[k]), shorter)
    how = "differs after it" if equal < shorter else "ends there" if len(first) == equal else "should end there"
    return f"Your text is as asked for up to '{first[max(equal - 25, 0) : equal]}', and {how}."


def line_of(answer: Callable[..., Any], error: BaseException) -> str:
    """Return the line of the student's code that an error comes from; "" if it is not known."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return textwrap.shorten(lines[-1] or "", 80, placeholder=" ...") if lines else ""


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return "a dict"
    array = as_array(value)
    if array is None:
        return f"an object of type {type(value).__name__}"
    if array.ndim == 0:
        return "True or False" if array.dtype == bool else "a number"
    return f"a list of {len(array)} texts" if array.dtype.kind == "U" else f"an array of shape {array.shape}"


def form(value: Any) -> str:
    array = as_array(value)
    if array is not None and array.ndim:
        return f"of shape {array.shape}"
    return f"= {value!r}" if isinstance(value, int | float | str) else f"({type(value).__name__})"


def as_array(value: Any) -> np.ndarray | None:
    """Return numbers as an array; None for what is not numbers, booleans or texts."""
    if callable(getattr(value, "detach", None)):  # a tensor of torch
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
        if array.dtype.kind in "OT":  # a column of texts in pandas, for instance
            array = np.asarray(array.tolist())
    except (TypeError, ValueError, RuntimeError):
        return None
    return array if array.dtype.kind in "biufcU" else None


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _all_numbers(value: Any) -> bool:
    array = as_array(value)
    return array is not None and array.dtype.kind in "biufc"


def unchanged(before: Any, after: Any) -> bool:
    """Return whether the arrays within inputs have their old values."""
    old, new = list(_arrays_within(before)), list(_arrays_within(after))
    return len(old) == len(new) and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") for a, b in zip(old, new, strict=True)
    )


def _arrays_within(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, tuple | list):
        for item in value:
            yield from _arrays_within(item)
    elif isinstance(value, np.ndarray):
        yield value
