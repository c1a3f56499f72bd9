"""The door through which every representation enters, and what is done to arrays behind it, whatever the library."""

from __future__ import annotations

import math
from typing import Any

import array_api_compat
import numpy as np

from ..errors import UndefinedError

Array = Any  # a NumPy array or a torch tensor


def enter(x: Array, *, least: int = 1, double: bool = False, constant: bool = False) -> Array:
    """Check one representation and bring it to (n, p) in the precision of the work.

    Half precision becomes float32, integers float64; `double` asks for float64 throughout. UndefinedError where there are fewer than
    `least` samples, no feature, a NaN or an infinity, or (unless `constant` is allowed) all samples are alike.
    """
    x, dtype = shaped(x, least)
    xp = array_api_compat.array_namespace(x)
    x = xp.astype(x, xp.float64 if double else dtype, copy=False)
    if not bool(xp.all(xp.isfinite(x))):
        raise not_finite(x)
    if not constant and x.shape[0] > 1 and bool(xp.all(x[1:] == x[:1])):
        raise UndefinedError(f"it is constant: all {x.shape[0]} samples have the same activations")
    return x


def shaped(x: Array, least: int) -> tuple[Array, Any]:
    """The part of `enter` that looks at no number -> (x as (n, p), the precision to work in)."""
    if isinstance(x, np.ma.MaskedArray):
        raise UndefinedError("it is a masked array, and there is no measure of holes: leave those samples out on both sides, x[~mask.any(axis=1)]")
    x = x if array_api_compat.is_torch_array(x) else np.asanyarray(x)
    xp = array_api_compat.array_namespace(x)
    if x.ndim < 2:
        raise UndefinedError(f"a representation is (samples, features); it has shape {tuple(x.shape)}" + (": use x[:, None] for one feature" if x.ndim else ""))
    x = x.detach() if hasattr(x, "detach") else x
    if not xp.isdtype(x.dtype, ("real floating", "integral", "bool")):
        raise UndefinedError(f"a representation holds real numbers; it has dtype {x.dtype}")
    n, p = x.shape[0], math.prod(x.shape[1:])
    if n < least:
        raise UndefinedError(f"at least {least} samples are needed; it has {n}")
    if p == 0:
        raise UndefinedError(f"it has no features (shape {tuple(x.shape)})")
    dtype = xp.float64 if not xp.isdtype(x.dtype, "real floating") else xp.float32 if xp.finfo(x.dtype).bits < 32 else x.dtype
    return xp.reshape(x, (n, p)), dtype


def not_finite(x: Array) -> UndefinedError:
    """What to raise for a representation with NaN or infinity in it: how many, and where the first is."""
    xp = array_api_compat.array_namespace(x)
    many, first, step = 0, (0, 0), max(1, 2**22 // x.shape[1])  # some rows at a time: x may be larger than memory
    for start in range(0, x.shape[0], step):
        bad = host(~xp.isfinite(x[start : start + step]))
        if not many and bad.any():
            row, column = np.argwhere(bad)[0].tolist()
            first = start + row, column
        many += int(bad.sum())
    return UndefinedError(f"it holds {many} values that are NaN or infinite, the first at sample {first[0]}, feature {first[1]}")


def host(x: Array) -> np.ndarray:
    """As a NumPy array, wherever it was."""
    return np.asarray(array_api_compat.to_device(x, "cpu"))


def eps(x: Array) -> float:
    """The spacing of numbers near 1 in x's precision."""
    return float(array_api_compat.array_namespace(x).finfo(x.dtype).eps)


def stretches(n: int, step: int) -> list[slice]:
    """0 to n in runs of `step`."""
    return [slice(i, min(i + max(step, 1), n)) for i in range(0, n, max(step, 1))]


def off_diagonal(square: Array) -> Array:
    """Ones, and 0 on the diagonal."""
    xp = array_api_compat.array_namespace(square)
    return 1 - xp.eye(square.shape[0], dtype=square.dtype, device=array_api_compat.device(square))


def smallest_direction(x: Array) -> float:
    """Singular values of `centred_unit(x)` below this are rounding of x's numbers: four times its spacing, more where means are large."""
    xp = array_api_compat.array_namespace(x)
    scaled = xp.astype(x, xp.float64) / float(xp.max(xp.abs(x)))
    centred = scaled - xp.mean(scaled, axis=0, keepdims=True)
    return 4 * eps(x) * math.sqrt(float(xp.sum(scaled * scaled)) / float(xp.sum(centred * centred)))


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


def unit_rows(x: Array, reason: str, *, centre: bool = False) -> Array:
    """Each row at unit length, `centre`: its mean out first; UndefinedError names the first row of which nothing is left."""
    xp = array_api_compat.array_namespace(x)
    largest = xp.max(xp.abs(x), axis=1, keepdims=True)
    empty = largest == 0
    x = x / xp.where(empty, xp.ones_like(largest), largest)  # each by its own size: a faint sample is no empty one
    x = x - xp.mean(x, axis=1, keepdims=True) if centre else x
    lengths = xp.linalg.vector_norm(x, axis=1, keepdims=True)
    empty = empty | (lengths <= (8 * eps(x) * x.shape[1] ** 0.5 if centre else 0))
    if bool(xp.any(empty)):
        bad = np.flatnonzero(host(empty))
        raise UndefinedError(f"sample {bad[0]} ({len(bad)} such in all): {reason}")
    return x / lengths


def reduced(x: Array) -> Array:
    """(n, p) with p > n -> (n, n) with the same inner products between samples: a rotation of the features."""
    if x.shape[1] <= x.shape[0]:
        return x
    if array_api_compat.is_torch_array(x):
        return array_api_compat.array_namespace(x).linalg.qr(x.T)[1].T
    return np.linalg.qr(x.T, mode="r").T  # without the basis, which costs as much again


def reordered(matrix: Array, order: np.ndarray) -> Array:
    """Rows and columns in this order; `take` is thrice as fast as one index of both."""
    return matrix.take(order, 0).take(order, 1) if isinstance(matrix, np.ndarray) else matrix[order][:, order]
