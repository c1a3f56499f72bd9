"""What a measure is, and the door through which every representation enters.

A measure is a frozen set of options with two methods: `prepare`, once per representation, and `pair`, once per pair of prepared
values. Everything else (checking, labelling, tables) is written here, once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import array_api_compat
import numpy as np

from ..errors import UndefinedError

Array = Any  # a NumPy array or a torch tensor
TRANSFORMS = frozenset({"permutation", "orthogonal", "scaling", "translation", "linear"})
NO_LINEAR = TRANSFORMS - {"linear"}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A configured comparison of two representations of the same samples.

    A subclass is a frozen dataclass whose fields are its options. It says what it is in the class attributes below (properties,
    where an option decides) and defines `prepare` and `pair`.
    """

    kind: ClassVar[Literal["similarity", "dissimilarity"]]
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = frozenset()
    is_metric: ClassVar[bool] = False
    of: ClassVar[Literal["activations", "outputs"]] = "activations"  # representational, or functional
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)  # for colour scales; estimators may leave it a little
    least: ClassVar[int] = 3  # the fewest samples with which it says anything

    def prepare(self, x: Array) -> Any:
        """What this measure needs of one representation (samples, features); opaque to everyone else."""
        raise NotImplementedError(f"{type(self).__name__} defines no prepare(x)")

    def pair(self, a: Any, b: Any) -> float:
        """The value for two prepared representations; free of side effects."""
        raise NotImplementedError(f"{type(self).__name__} defines no pair(a, b)")

    def dissimilarity(self, value: Any) -> Any:
        """A value (or an array of them) as a dissimilarity: 1 - s for a similarity, itself otherwise."""
        return 1 - value if self.kind == "similarity" else value

    def __call__(self, x: Array, y: Array) -> float:
        """The value for two arrays or tensors (n, ...) of the same n samples in the same order."""
        return float(self.table({"x": x}, {"y": y})[0, 0])

    def table(
        self,
        xs: Mapping[Any, Array] | Sequence[Array],
        ys: Mapping[Any, Array] | Sequence[Array] | None = None,
        *,
        undefined: dict[tuple[int, int], str] | None = None,
        run: Callable[..., Iterable[Any]] = map,
        tick: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """All pairs -> float64 (len(xs), len(ys)); without ys, of xs with itself.

        undefined: a dict to fill with {(row, column): reason}; those cells are NaN and the caller masks them. Without it the first
        undefined cell raises. run: `map`, or the map of an executor. tick(done, total) is called along the way and may raise to stop.
        """
        rows = _labelled(xs)
        columns = {} if ys is None else _labelled(ys)
        same_samples(rows, columns)
        rows, columns = one_library(rows, columns)
        mirrored = ys is None and self.symmetric
        total = 2 * len(rows) + len(columns)
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            if tick is not None:
                tick(done, total)

        def prepared(named: Mapping[Any, Array]) -> list[Any]:
            values = []
            for value in run(_Try(self.prepare), named.values()):
                values.append(value)
                advance()
            return values

        left = prepared(rows)
        right = left if ys is None else prepared(columns)
        columns = columns or rows
        values = np.full((len(left), len(right)), np.nan)
        ends = [right[i:] if mirrored else right for i in range(len(left))]
        for i, cells in enumerate(run(_Row(self), left, ends)):
            for j, cell in enumerate(cells, start=i if mirrored else 0):
                if isinstance(cell, UndefinedError):
                    reason = _sentence(self, cell, (list(rows)[i], left[i]), (list(columns)[j], right[j]))
                    if undefined is None:
                        raise type(cell)(reason) from cell
                    undefined[i, j] = reason
                    if mirrored:
                        undefined[j, i] = reason
                else:
                    values[i, j] = cell
                    if mirrored:
                        values[j, i] = cell
            advance()
        return values

    def __str__(self) -> str:
        changed = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(changed)})" if changed else type(self).__name__


class _Try:
    """Call, and hand back an UndefinedError as a value (it must survive the way back from another process)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.function(*arguments)
        except UndefinedError as error:
            return error


class _Row:
    """All cells of one row; an UndefinedError stands where a cell has no value."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure

    def __call__(self, a: Any, bs: Sequence[Any]) -> list[Any]:
        return [self.cell(a, b) for b in bs]

    def cell(self, a: Any, b: Any) -> Any:
        for side in (a, b):
            if isinstance(side, UndefinedError):
                return side
        value = _Try(self.measure.pair)(a, b)
        if not isinstance(value, UndefinedError) and not math.isfinite(value):
            return UndefinedError(f"the value came out as {value}")
        return value


def _sentence(measure: Measure, error: UndefinedError, row: tuple[Any, Any], column: tuple[Any, Any]) -> str:
    """Say of which representation (where one could not be prepared), or of which pair, the error speaks."""
    for label, prepared in (row, column):
        if isinstance(prepared, UndefinedError):
            return f"{measure} of '{named(label)}': {error}"
    return f"{measure} of '{named(row[0])}' and '{named(column[0])}': {error}"


def named(label: Any) -> str:
    """A label in one word: a key's model and layer, anything else as it is."""
    return f"{label.model}/{label.layer}" if hasattr(label, "model") and hasattr(label, "layer") else str(label)


def _labelled(xs: Mapping[Any, Array] | Sequence[Array]) -> Mapping[Any, Array]:
    if not isinstance(xs, (Mapping, list, tuple)):
        raise TypeError(f"a table takes arrays by label, {{'a': x}}, or a list of them; got {type(xs).__name__}")
    named_arrays = {label: x if hasattr(x, "shape") else np.asarray(x) for label, x in (xs.items() if isinstance(xs, Mapping) else enumerate(xs))}
    if not named_arrays:
        raise ValueError("there is nothing to compare: no representation was given")
    return named_arrays


def same_samples(*sides: Mapping[Any, Array]) -> int:
    """The number of samples that all share; ValueError names two that differ."""
    (first, n), *rest = [(label, len(x) if x.ndim else 0) for side in sides for label, x in side.items()]
    for label, m in rest:
        if m != n:
            raise ValueError(f"compare needs the same samples in every representation: '{named(first)}' has {n} rows, '{named(label)}' has {m}")
    return n


def one_library(*sides: Mapping[Any, Array]) -> list[Mapping[Any, Array]]:
    """The same arrays, all of one library: where NumPy arrays meet torch tensors, the tensors come to NumPy."""
    tensors = [array_api_compat.is_torch_array(x) for side in sides for x in side.values()]
    if all(tensors) or not any(tensors):
        return list(sides)

    def moved(x: Array) -> Array:
        if not array_api_compat.is_torch_array(x):
            return x
        x = x.detach().cpu()
        return (x.float() if x.element_size() < 4 and x.is_floating_point() else x).numpy()

    return [{label: moved(x) for label, x in side.items()} for side in sides]


# -- the door --------------------------------------------------------------------------------------------------------------

def enter(x: Array, *, least: int = 1, double: bool = False, constant: bool = False) -> Array:
    """Check one representation and bring it to (n, p) in the precision of the work.

    Half precision becomes float32, integers float64; `double` asks for float64 throughout. UndefinedError where there are fewer than
    `least` samples, no feature, a NaN or an infinity, or (unless `constant` is allowed) all samples are alike.
    """
    x = x if array_api_compat.is_torch_array(x) else np.asarray(x)
    xp = array_api_compat.array_namespace(x)
    if x.ndim < 2:
        raise UndefinedError(f"a representation is (samples, features); it has shape {tuple(x.shape)}" + (": use x[:, None] for one feature" if x.ndim else ""))
    x = x.detach() if hasattr(x, "detach") else x
    if not xp.isdtype(x.dtype, ("real floating", "integral", "bool")):
        raise UndefinedError(f"a representation holds real numbers; it has dtype {x.dtype}")
    if not xp.isdtype(x.dtype, "real floating"):
        x = xp.astype(x, xp.float64)
    elif double or xp.finfo(x.dtype).bits < 32:
        x = xp.astype(x, xp.float64 if double else xp.float32)
    n, p = x.shape[0], math.prod(x.shape[1:])
    if n < least:
        raise UndefinedError(f"at least {least} samples are needed; it has {n}")
    if p == 0:
        raise UndefinedError(f"it has no features (shape {tuple(x.shape)})")
    x = xp.reshape(x, (n, p))
    finite = xp.isfinite(x)
    if not bool(xp.all(finite)):
        bad = np.asarray(array_api_compat.to_device(~finite, "cpu"))
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise UndefinedError(f"it holds {int(bad.sum())} values that are NaN or infinite, the first at sample {row}, feature {column}")
    if not constant and n > 1 and bool(xp.all(x[1:] == x[:1])):
        raise UndefinedError(f"it is constant: all {n} samples have the same activations")
    return x


def eps(x: Array) -> float:
    """The spacing of numbers near 1 in x's precision."""
    return float(array_api_compat.array_namespace(x).finfo(x.dtype).eps)


def centred_unit(x: Array) -> Array:
    """Column means out (summed in float64), then unit Frobenius norm: no later square can overflow or vanish."""
    xp = array_api_compat.array_namespace(x)
    mean = xp.sum(x, axis=0, dtype=xp.float64) / x.shape[0]
    x = x - xp.astype(mean, x.dtype)
    largest = xp.max(xp.abs(x))
    x = x / largest if float(largest) > 0 else x
    norm = math.sqrt(float(xp.sum(x * x, dtype=xp.float64)))
    if norm == 0:
        raise UndefinedError("it is constant within the precision of its numbers")
    return x / norm


def inner(a: Array, b: Array, block: int = 4096) -> float:
    """The inner product of two vectors: blocks in their precision, the sum of the blocks in float64."""
    xp = array_api_compat.array_namespace(a, b)
    if a.dtype != b.dtype:
        a, b = (xp.astype(v, xp.result_type(a, b)) for v in (a, b))
    return math.fsum(float(xp.vecdot(a[i : i + block], b[i : i + block])) for i in range(0, a.shape[0], block))


def unit(v: Array, reason: str, floor: float = 0.0) -> Array:
    """A vector at unit length; UndefinedError with the reason where its length is not above `floor`."""
    length = math.sqrt(inner(v, v))
    if not length > floor:
        raise UndefinedError(reason)
    return v / length


def reduced(x: Array) -> Array:
    """(n, p) with p > n -> (n, n) with the same inner products between samples: a rotation of the features."""
    xp = array_api_compat.array_namespace(x)
    return xp.linalg.qr(x.T, mode="reduced")[1].T if x.shape[1] > x.shape[0] else x

