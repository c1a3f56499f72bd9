"""Operations on checked arrays of NumPy or torch."""

from __future__ import annotations

import hashlib
import math

import array_api_compat
import numpy as np
import scipy.linalg

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import to_numpy

NO_DIRECTION = "its activations are all 0, so its cosine with others is undefined"  # of one sample


def eps(x: Array) -> float:
    """Return the spacing of numbers near 1 in the precision of x."""
    return float(array_api_compat.array_namespace(x).finfo(x.dtype).eps)


def to_float64(x: Array) -> np.ndarray:
    """Convert to a NumPy array in float64."""
    return to_numpy(x).astype(float)


def fingerprint_array(x: Array) -> str:
    """Return a hash of dtype, shape and numbers, 32 hex digits; x: (n, ...)."""
    digest = hashlib.blake2b(f"{x.dtype} {tuple(x.shape)}".encode(), digest_size=16)
    for rows in split_range(x.shape[0], 2**24 // max(1, math.prod(x.shape[1:]))):
        digest.update(np.ascontiguousarray(to_numpy(x[rows])).data.cast("B"))
    return digest.hexdigest()


def split_range(n: int, step: int) -> list[slice]:
    """Split 0 to n into runs of `step`."""
    return [slice(i, min(i + max(step, 1), n)) for i in range(0, n, max(step, 1))]


def off_diagonal(square: Array) -> Array:
    """Return ones of the same shape, and 0 on the diagonal."""
    xp = array_api_compat.array_namespace(square)
    return 1 - xp.eye(square.shape[0], dtype=square.dtype, device=array_api_compat.device(square))


def smallest_direction(x: Array) -> float:
    """Return the size below which singular values of `centred_unit(x)` are rounding of the numbers of x.

    It is four times the spacing of x, and more if the means are large.
    """
    xp = array_api_compat.array_namespace(x)
    scaled = xp.astype(x, xp.float64) / float(xp.max(xp.abs(x)))
    centred = scaled - xp.mean(scaled, axis=0, keepdims=True)
    return 4 * eps(x) * math.sqrt(float(xp.sum(scaled * scaled)) / float(xp.sum(centred * centred)))


def centred_unit(x: Array) -> Array:
    """Subtract column means (summed in float64), and scale to unit Frobenius norm, so that no square can overflow."""
    return centred_unit_and_scale(x)[0]


def centred_unit_and_scale(x: Array) -> tuple[Array, float]:
    """Return `centred_unit(x)`, and what the centred numbers were divided by."""
    xp = array_api_compat.array_namespace(x)
    mean = xp.sum(x, axis=0, dtype=xp.float64) / x.shape[0]
    x = x - xp.astype(mean, x.dtype)
    largest = xp.max(xp.abs(x))
    x = x / largest if float(largest) > 0 else x
    norm = math.sqrt(float(xp.sum(x * x, dtype=xp.float64)))
    if norm == 0:
        raise UndefinedError("it is constant within the precision of its numbers")
    return x / norm, float(largest) * norm


def inner_product(a: Array, b: Array, block: int = 4096) -> float:
    """Return the inner product of two vectors: blocks in their precision, the sum of the blocks in float64."""
    xp = array_api_compat.array_namespace(a, b)
    if a.dtype != b.dtype:
        a, b = (xp.astype(v, xp.result_type(a, b)) for v in (a, b))
    return math.fsum(float(xp.vecdot(a[i : i + block], b[i : i + block])) for i in range(0, a.shape[0], block))


def normalize(v: Array, reason: str, floor: float = 0.0) -> Array:
    """Scale a vector to unit length; UndefinedError with the reason if its length is not above `floor`."""
    length = math.sqrt(inner_product(v, v))
    if not length > floor:
        raise UndefinedError(reason)
    return v / length


def normalize_rows(x: Array, reason: str, *, centre: bool = False) -> Array:
    """Scale each row to unit length, with `centre` after its mean is subtracted.

    UndefinedError names the first row of which nothing is left.
    """
    xp = array_api_compat.array_namespace(x)
    largest = xp.max(xp.abs(x), axis=1, keepdims=True)
    empty = largest == 0
    x = x / xp.where(empty, xp.ones_like(largest), largest)  # each by its own size, so that a faint sample is not empty
    x = x - xp.mean(x, axis=1, keepdims=True) if centre else x
    lengths = xp.linalg.vector_norm(x, axis=1, keepdims=True)
    empty = empty | (lengths <= (8 * eps(x) * x.shape[1] ** 0.5 if centre else 0))
    if bool(xp.any(empty)):
        bad = np.flatnonzero(to_numpy(empty))
        raise UndefinedError(f"sample {bad[0]} ({len(bad)} such in all): {reason}")
    return x / lengths


def reduce_features(x: Array) -> Array:
    """Rotate the features of (n, p) with p > n into (n, n), which keeps all inner products between samples."""
    if x.shape[1] <= x.shape[0]:
        return x
    return triangular_factor(x.T).T


def triangular_factor(x: Array) -> Array:
    """Return R of the QR decomposition; without the basis, at half of its cost."""
    if array_api_compat.is_torch_array(x):
        return array_api_compat.array_namespace(x).linalg.qr(x)[1]
    upper: np.ndarray = np.linalg.qr(x, mode="r")  # type: ignore[assignment]
    return upper


def solve_triangular(upper: Array, right: Array) -> Array:
    """Solve upper @ result = right, with an upper triangular matrix: a third of the work of a general one."""
    if array_api_compat.is_torch_array(upper):
        found: Array = array_api_compat.array_namespace(upper).linalg.solve_triangular(upper, right, upper=True)
        return found
    return scipy.linalg.solve_triangular(upper, right, check_finite=False)


def permute_matrix(matrix: Array, order: np.ndarray) -> Array:
    """Reorder rows and columns; `take` is three times as fast as one index of both."""
    return matrix.take(order, 0).take(order, 1) if isinstance(matrix, np.ndarray) else matrix[order][:, order]


def left_directions(x: Array) -> tuple[Array, Array]:
    """Return the left singular vectors (n, rank) and singular values of `centred_unit(x)` in float64, largest first."""
    xp = array_api_compat.array_namespace(x)
    unit = reduce_features(centred_unit(xp.astype(x, xp.float64)))
    u, s, _ = xp.linalg.svd(unit, full_matrices=False)
    floor = max(smallest_direction(x), max(x.shape) * eps(unit))
    # centred samples have rank n - 1 at most
    rank = min(int(xp.sum(xp.astype(s > floor, xp.int64))), x.shape[0] - 1)
    return u[:, :rank], s[:rank]


class PrincipalComponents:
    """The principal components of a representation.

    Parameters
    ----------
    x : array (n, p)
        The representation.

    Attributes
    ----------
    s : array
        All singular values of the centred columns, largest first.
    squares : array (rank,)
        The squares up to the rank: the eigenvalues of n times the covariance.
    rank : int
        The numerical rank.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.mean = x.mean(axis=0)
        self.u, self.s, self.vt = np.linalg.svd(x - self.mean, full_matrices=False)
        self.rank = int((self.s > self.s[0] * max(x.shape) * np.finfo(float).eps).sum())
        self.squares = self.s[: self.rank] ** 2

    def leading(self, number: int) -> np.ndarray:
        """Return x with all but the leading components deleted, in its own columns."""
        return self.mean + (self.u[:, :number] * self.s[:number]) @ self.vt[:number]


def fewest_components(s: Array, variance: float) -> int:
    """Return how many leading components have this fraction of the variance; s: singular values, largest first."""
    xp = array_api_compat.array_namespace(s)
    fractions = xp.cumulative_sum(s * s) / xp.sum(s * s)
    return 1 + int(xp.sum(xp.astype(fractions < variance - 1e-12, xp.int64)))
