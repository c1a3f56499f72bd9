"""Tests for measures of one's own: what a measure declares about itself, and what every measure promises."""

from __future__ import annotations

import contextlib
import inspect
import math
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError, as_clause
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import to_numpy

from .base import TRANSFORMS, Measure

__all__ = ["MeasureCheck", "check_measure"]

SAME, MOVED = 1e-9, 1e-4  # a value that stays, up to rounding; a value that changes
ROOT = 1e-7  # an arccos or a root turns rounding of 1e-16 into 1e-8
SINGLE = 1e-4  # of a value computed from float32


@dataclass(frozen=True, eq=False, repr=False)
class MeasureCheck:
    """The result of `check_measure`.

    Attributes
    ----------
    measure : Measure
        What was checked.
    table : DataFrame
        A row for each law: `holds` (bool) and `found`, what is wrong, in sentences, or why it was not checked.

    Examples
    --------
    >>> check = rs.testing.check_measure("procrustes")
    >>> check.passed, check.table.index[:3].tolist()
    (True, ['value', 'range', 'direction'])
    """

    measure: Measure
    table: pd.DataFrame

    @property
    def passed(self) -> bool:
        """Whether all laws hold."""
        return bool(self.table["holds"].all())

    @property
    def failures(self) -> dict[str, str]:
        """What is wrong, by law ({law: sentences})."""
        return dict(self.table.loc[~self.table["holds"], "found"])

    def raise_failures(self) -> None:
        """Raise an error that lists all failures, if there are any: for a test.

        Raises
        ------
        AssertionError
            If a law does not hold.

        Examples
        --------
        >>> rs.testing.check_measure("cka").raise_failures()
        """
        if not self.passed:
            raise AssertionError(str(self))

    def _summary(self) -> str:
        return f"{int(self.table['holds'].sum())} of {len(self.table)} laws hold"

    def __repr__(self) -> str:
        return f"MeasureCheck({self.measure}: {self._summary()})"

    def __str__(self) -> str:
        return "\n".join([repr(self), *(f"  {law}: {found}" for law, found in self.failures.items())])

    def _repr_html_(self) -> str:
        shown = self.table.assign(holds=np.where(self.table["holds"], "yes", "no"))
        return summarize("MeasureCheck", str(self.measure), [self._summary()], table=shown, page="testing.MeasureCheck")


def check_measure(measure: str | Measure, x: Array | None = None, y: Array | None = None) -> MeasureCheck:
    """Check a measure of one's own: that it is what it declares, and keeps what every measure promises.

    Parameters
    ----------
    measure : str or Measure
        The measure, with its options.
    x, y : array (n, p) and array (n, q), optional
        Data for the checks, related but different, with n of at least 20. By default 60 samples of 8 and 6 features, or
        50 samples of the logits of 5 classes for a measure of outputs. Pass your own if the measure needs other data.

    Returns
    -------
    MeasureCheck
        `passed`, and a table with a row for each law. `raise_failures()` makes a test of it.

    Raises
    ------
    UndefinedError, ValueError
        If the measure has no value for the data.

    Notes
    -----
    The laws:

    - *value*: a finite float, the same at each call.
    - *range*, *direction*, *identity*: values lie in `range`, more noise makes sides less alike, and a representation
      and itself have the best value.
    - *symmetric*, *invariant_to*, *is_metric*: exactly what is declared. A transformation that is not declared must
      change the value.
    - *samples*: the order of the samples, the same on both sides, does not matter.
    - *prepare and pair*, *table*: the same values as a call.
    - *permute*, *gram_matrix*: if they are defined, they agree with a call.
    - *containers*: float32, DataFrames and tensors give the value of arrays.
    - *refusals*: NaN, infinity, sides with different numbers of samples, and too few of them raise an error.
    - *pickle*: a copy from another process is the same measure.

    Examples
    --------
    >>> def mean_difference(x, y):
    ...     return float(abs(x.mean() - y.mean()))
    >>> mine = rs.measures.from_function(mean_difference, kind="dissimilarity", symmetric=True, name="mean difference")
    >>> check_measure(mine).failures["invariant_to"]
    'unchanged by permutation, which is not declared'
    """
    from . import get

    measure = get(measure)
    given = _default(measure) if x is None or y is None else (x, y)
    sides = [np.array(to_numpy(side), dtype=float) for side in given]
    case = _Case(measure, *sides)
    rows = {}
    for law, check in LAWS.items():
        try:
            wrong = list(check(case))
        except _NotChecked as reason:
            rows[law] = {"holds": True, "found": f"not checked: {reason}"}
        else:
            rows[law] = {"holds": not wrong, "found": "; ".join(wrong)}
    return MeasureCheck(measure, pd.DataFrame.from_dict(rows, orient="index").rename_axis("law"))


def _default(measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """Return two related representations with columns of unequal mean and variance, or logits."""
    rng = np.random.default_rng(0)
    if measure.compares == "outputs":
        logits = 2 * rng.normal(size=(50, 5))
        return logits, logits + rng.normal(size=logits.shape)
    x = rng.normal(size=(60, 8)) * np.linspace(0.5, 2, 8) + rng.normal(size=8)
    return x, x @ rng.normal(size=(8, 6)) * 0.5 + rng.normal(size=(60, 6)) + 1.0


class _NotChecked(Exception):
    """A law that does not apply."""


class _Case:
    """A measure, its data and its value for them."""

    def __init__(self, measure: Measure, x: np.ndarray, y: np.ndarray) -> None:
        self.measure, self.x, self.y = measure, x, y
        self.value = measure(x, y)

    def differs(self, value: float, tolerance: float = SAME) -> bool:
        """Return whether a value is another one than that of the data, in units of it if it is large."""
        return not abs(value - self.value) <= tolerance * max(1.0, abs(self.value))


def _value(case: _Case) -> Iterator[str]:
    again: Any = case.measure(case.x, case.y)
    if not isinstance(again, float) or not math.isfinite(again):
        yield f"it is {again!r}, not a finite float"
    if again != case.value:
        yield f"a second call gives {again:.6g}, the first gave {case.value:.6g}"


def _range(case: _Case) -> Iterator[str]:
    low, high = case.measure.range
    rng = np.random.default_rng(1)
    noise = case.y + 3 * case.y.std() * rng.normal(size=case.y.shape)
    for what, value in (("the data", case.value), ("x and noise", case.measure(case.x, noise))):
        # estimates without bias may lie slightly below 0
        if not low - 0.2 * (case.measure.kind == "similarity") - SAME <= value <= high + SAME:
            yield f"the value of {what}, {value:.6g}, is outside of {low:g} to {high:g}"


def _direction(case: _Case) -> Iterator[str]:
    noise = case.y.std() * np.random.default_rng(2).normal(size=case.y.shape)
    little, much = (case.measure.dissimilarity(case.measure(case.y, case.y + k * noise)) for k in (0.3, 3))
    if not little < much:
        yield (
            f"y with noise is {little:.2g} from y, and with ten times the noise {much:.2g}, so that more noise is more"
            " alike"
        )


def _identity(case: _Case) -> Iterator[str]:
    for name, side in (("x", case.x), ("y", case.y)):
        own = case.measure.dissimilarity(case.measure(side, side))
        if not abs(own) <= ROOT:
            yield f"{name} and itself have the dissimilarity {own:.3g}, not 0"


def _symmetric(case: _Case) -> Iterator[str]:
    other = case.measure(case.y, case.x)
    if case.differs(other) == case.measure.symmetric:
        yield f"(x, y) has {case.value:.6g} and (y, x) {other:.6g}; declared: symmetric={case.measure.symmetric}"


def _invariant(case: _Case) -> Iterator[str]:
    unknown = set(case.measure.invariant_to) - TRANSFORMS
    if unknown:
        yield f"{', '.join(sorted(unknown))} is none of {', '.join(sorted(TRANSFORMS))}"
    for kind in sorted(TRANSFORMS):
        found = case.measure(_transform(case.x, kind), case.y), case.measure(case.x, _transform(case.y, kind))
        if kind in case.measure.invariant_to and any(map(case.differs, found)):
            yield f"changed by {kind}, which is declared: {case.value:.6g} becomes {found[0]:.6g} and {found[1]:.6g}"
        if kind not in case.measure.invariant_to and not any(case.differs(value, MOVED) for value in found):
            yield f"unchanged by {kind}, which is not declared"


def _transform(x: np.ndarray, kind: str) -> np.ndarray:
    """Return x transformed strongly: what an invariant measure must not notice, and any other must."""
    p, rng = x.shape[1], np.random.default_rng(99)
    if kind == "translation":
        return x + 3 * np.arange(1, p + 1)
    orthogonal = np.linalg.qr(rng.normal(size=(p, p)))[0]
    matrix = {
        "permutation": np.eye(p)[np.roll(np.arange(p), 1)],
        "orthogonal": orthogonal,
        "scaling": 2.7 * np.eye(p),
        "linear": orthogonal @ np.diag(np.geomspace(0.1, 10, p)) + np.triu(np.ones((p, p)), 1),
    }[kind]
    return x @ matrix


def _metric(case: _Case) -> Iterator[str]:
    if not case.measure.is_metric:
        raise _NotChecked("it is not declared")
    rng = np.random.default_rng(5)

    def d(u: np.ndarray, v: np.ndarray) -> float:
        return case.measure.dissimilarity(case.measure(u, v))

    for _ in range(30):
        x = case.x + case.x.std() * rng.normal(size=case.x.shape)
        near = x + 0.2 * case.x.std() * rng.normal(size=x.shape)
        far = near + 0.2 * case.x.std() * rng.normal(size=x.shape)
        direct, detour = d(x, far), d(x, near) + d(near, far)
        if direct > detour + SAME:
            yield f"the direct way is {direct:.6g} and a detour {detour:.6g}, but is_metric is declared"
            return


def _samples(case: _Case) -> Iterator[str]:
    order = np.random.default_rng(7).permutation(len(case.x))
    try:
        case.measure.permute(case.measure.prepare(case.y), order)
    except NotImplementedError:
        raise _NotChecked("without permute, batches, folds or answers may depend on the order") from None
    if case.differs(found := case.measure(case.x[order], case.y[order])):
        yield f"with the samples of both sides in another order the value is {found:.6g}, not {case.value:.6g}"


def _prepared(case: _Case) -> Iterator[str]:
    a, b = case.measure.prepare(case.x), case.measure.prepare(case.y)
    first, second = case.measure.pair(a, b), case.measure.pair(a, b)
    if case.differs(first, 1e-12):
        yield f"pair gives {first:.6g}, a call {case.value:.6g}"
    if first != second:
        yield "pair changes what was prepared"


def _table(case: _Case) -> Iterator[str]:
    third = case.x + 0.1 * np.random.default_rng(3).normal(size=case.x.shape)
    three = [case.x, case.y, third]
    direct = np.array([[case.measure(u, v) for v in three] for u in three])
    scale = max(1.0, float(np.abs(direct).max()))
    for what, found, right in (
        ("a table of one side", case.measure.table(three).values, direct),
        ("a table of two sides", case.measure.table([case.x, third], [case.y]).values, direct[[0, 2]][:, [1]]),
    ):
        if not np.allclose(found, right, rtol=0, atol=ROOT * scale):
            yield f"{what} differs from single calls by {np.abs(found - right).max():.3g}"


def _permute(case: _Case) -> Iterator[str]:
    order = np.random.default_rng(7).permutation(len(case.x))
    a, b = case.measure.prepare(case.x), case.measure.prepare(case.y)
    try:
        found = case.measure.pair(a, case.measure.permute(b, order))
    except NotImplementedError:
        raise _NotChecked("it is not defined") from None
    right = case.measure(case.x, case.y[order])
    if not abs(found - right) <= SAME * max(1.0, abs(right)):
        yield f"y that was prepared and reordered gives {found:.6g}, y reordered first {right:.6g}"
    if case.differs(case.measure.pair(a, b), 1e-12):
        yield "permute changes what was prepared"


def _gram(case: _Case) -> Iterator[str]:
    try:
        left, right = (case.measure.gram_matrix(case.measure.prepare(side)) for side in (case.x, case.y))
    except NotImplementedError:
        raise _NotChecked("it is not defined") from None
    if not np.allclose(left, left.T, rtol=0, atol=1e-12):
        yield "the matrix is not symmetric"
    if case.differs(found := float(np.sum(left * right))):
        yield f"the inner product of both matrices is {found:.6g}, the value {case.value:.6g}"


def _containers(case: _Case) -> Iterator[str]:
    ways: dict[str, Callable[[np.ndarray], Any]] = {
        "float32": lambda side: side.astype(np.float32),
        "DataFrames": pd.DataFrame,
        "arrays (n, p, 1)": lambda side: side[:, :, None],
    }
    with contextlib.suppress(ImportError):
        import torch

        ways["tensors"] = torch.tensor
    for what, make in ways.items():
        found = case.measure(make(case.x), make(case.y))
        if case.differs(found, SINGLE if what == "float32" else ROOT):
            yield f"{what} give {found:.6g}, arrays {case.value:.6g}"


def _refusals(case: _Case) -> Iterator[str]:
    nan, infinite = case.x.copy(), case.x.copy()
    nan[1, 0], infinite[0, 0] = np.nan, np.inf
    few = case.measure.min_samples - 1
    wrong: dict[str, tuple[Any, Any]] = {
        "NaN": (nan, case.y),
        "infinity": (infinite, case.y),
        "sides with different numbers of samples": (case.x, case.y[:-1]),
    }
    if few > 0:
        wrong["too few samples"] = case.x[:few], case.y[:few]
    if case.measure.compares == "activations":
        wrong["a constant representation"] = (np.full_like(case.x, 3.3), case.y)
    for what, (x, y) in wrong.items():
        try:
            found = case.measure(x, y)
        except (UndefinedError, ValueError):
            continue
        except Exception as error:
            yield f"{what}: {type(error).__name__}, not UndefinedError or ValueError ({as_clause(error)})"
        else:
            yield f"{what}: the value is {found:.6g}, not an error"


def _pickle(case: _Case) -> Iterator[str]:
    try:
        copy = pickle.loads(pickle.dumps(case.measure))
    except Exception as error:  # of any kind: the class is the user's
        inside = " Define it at the top of a module." if "local" in inspect.cleandoc(str(error)) else ""
        yield f"it cannot be sent to another process ({type(error).__name__}).{inside}"
        return
    if copy != case.measure or case.differs(copy(case.x, case.y), 1e-12):
        yield "a pickled copy is another measure"


# functions that yield what is wrong
LAWS: dict[str, Callable[[_Case], Iterator[str]]] = {
    "value": _value,
    "range": _range,
    "direction": _direction,
    "identity": _identity,
    "symmetric": _symmetric,
    "invariant_to": _invariant,
    "is_metric": _metric,
    "samples": _samples,
    "prepare and pair": _prepared,
    "table": _table,
    "permute": _permute,
    "gram_matrix": _gram,
    "containers": _containers,
    "refusals": _refusals,
    "pickle": _pickle,
}
