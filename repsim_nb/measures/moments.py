"""Sums of a symmetric matrix of samples, on which the moments of its inner product with a permuted one depend."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import check_stopped

from . import cost
from .arrays import split_range
from .gram import ROWS, Kernel

# The sums over i, j, ... of products of two or three entries of a matrix whose trace and total are 0, each as a graph:
# an entry a_ij is an edge, an index is a point; d = diagonal, r = sums of rows, q = sums of squares of rows. A point is
# identified by its (loops, other ends of edges); graphs with an edge that touches no other are 0.
PAIRS = {"d²": ((2, 0),), "d r": ((0, 1), (1, 1)), "r²": ((0, 1), (0, 1), (0, 2)), "a²": ((0, 2), (0, 2))}
TRIPLES = {
    "d³": ((3, 0),),
    "d² r": ((0, 1), (2, 1)),
    "d a d": ((1, 1), (1, 1)),
    "d r²": ((0, 1), (0, 1), (1, 2)),
    "d a r": ((0, 1), (0, 2), (1, 1)),
    "d q": ((0, 2), (1, 2)),
    "r³": ((0, 1), (0, 1), (0, 1), (0, 3)),
    "r a r": ((0, 1), (0, 1), (0, 2), (0, 2)),
    "a a a": ((0, 2), (0, 2), (0, 2)),
    "a³": ((0, 3), (0, 3)),
    "q r": ((0, 1), (0, 2), (0, 3)),
}
SMALL = 12  # with so few features their products of three and four cost less than the pairs of samples
_BLOCK = 96  # samples: smaller blocks save more products and make slower ones


class Sums(NamedTuple):
    """Sums of a matrix at unit length.

    Attributes
    ----------
    n : int
        The number of samples.
    diagonal, off : float
        The parts of I and of J (all ones) in the matrix.
    pairs, triples : array (4,), array (11,)
        Sums of what is left, in the order of PAIRS and TRIPLES.
    rows, cells : float
        How far what is left is concentrated in a few rows or entries: Σ q² / (Σ q)² of the sums of squares q of rows
        (1 / n if all rows are alike), and Σ a⁴ / (Σ a²)².
    kinds : int
        How many kinds of rows there are, by their sums of squares; few if samples repeat each other.
    """

    n: int
    diagonal: float
    off: float
    pairs: np.ndarray
    triples: np.ndarray
    rows: float
    cells: float
    kinds: int


def sums_of(matrix: np.ndarray, *, overwrite: bool = False) -> Sums:
    """Compute the sums of a symmetric matrix (n, n), scaled to unit length; `overwrite` reuses its memory."""
    n, eps = len(matrix), float(np.finfo(matrix.dtype).eps)
    trace, total = float(matrix.diagonal().sum(dtype=float)), float(matrix.sum(axis=1).sum(dtype=float))
    off = (total - trace) / (n * (n - 1))
    diagonal = trace / n - off
    rest = np.subtract(matrix, matrix.dtype.type(off), out=matrix if overwrite else None)
    rest[np.diag_indices(n)] -= matrix.dtype.type(diagonal)
    d, r, q = rest.diagonal().astype(float), rest.sum(axis=1).astype(float), np.empty(n)
    cubes, fourths, room = 0.0, 0.0, np.empty((min(ROWS, n), n), rest.dtype)
    for rows in split_range(n, ROWS):
        check_stopped()
        some = rest[rows]
        squares = np.multiply(some, some, out=room[: len(some)])
        q[rows] = squares.sum(axis=1)
        cubes += dot(squares, some)
        fourths += dot(squares, squares)
    triangles = _cube(rest)
    by_d, by_r = (rest @ np.stack([d, r], axis=1).astype(rest.dtype)).astype(float).T
    return _sums(diagonal, off, _Rest(d, r, q, by_d, by_r, triangles, cubes, fourths), eps)


class _Rest(NamedTuple):
    """What is left of a matrix without the parts of I and J.

    d: its diagonal; r, q: sums of its rows and of their squares; by_d, by_r: its products with d and r; triangles,
    cubes: "a a a" and "a³"; fourths: the sum of a⁴.
    """

    d: np.ndarray
    r: np.ndarray
    q: np.ndarray
    by_d: np.ndarray
    by_r: np.ndarray
    triangles: float
    cubes: float
    fourths: float


def _sums(diagonal: float, off: float, rest: _Rest, eps: float) -> Sums:
    d, r, q, by_d, by_r, triangles, cubes, fourths = rest
    n = len(d)
    q = np.maximum(q, 0.0)  # may be below 0 by rounding
    pairs = np.array([d @ d, d @ r, r @ r, q.sum()])
    triples = np.array(
        [
            (d**3).sum(),
            d * d @ r,
            d @ by_d,
            d @ (r * r),
            d @ by_r,
            d @ q,
            (r**3).sum(),
            r @ by_r,
            triangles,
            cubes,
            q @ r,
        ]
    )
    square = pairs[3] + n * (diagonal + off) ** 2 + n * (n - 1) * off**2  # the three parts are orthogonal
    if pairs[3] <= (32 * eps) ** 2 * square:  # rounding of I and J
        pairs, triples = np.zeros_like(pairs), np.zeros_like(triples)
    length = square**0.5 or 1.0  # a matrix of zeros is an error of the table
    rows, cells = (float(q @ q) / float(q.sum()) ** 2, fourths / float(q.sum()) ** 2) if pairs[3] else (1 / n, 0.0)
    kinds = 1 + int((np.diff(np.sort(q)) > 256 * eps * q.max()).sum())
    return Sums(n, diagonal / length, off / length, pairs / length**2, triples / length**3, rows, cells, kinds)


def _cube(a: np.ndarray) -> float:
    """Return the trace of the cube of a symmetric matrix.

    It is a sum over three blocks of samples and does not depend on their order, so each three are multiplied once.
    """
    n, total = len(a), 0.0
    room = np.empty((n // 2 + _BLOCK) ** 2, a.dtype)  # new memory for every product would take a third of the time
    for block in split_range(n, _BLOCK):
        check_stopped()
        start, stop = block.start, block.stop
        first, last = a[:stop, block], a[block, start:]
        product = np.matmul(first, last, out=room[: stop * (n - start)].reshape(stop, n - start))
        others, own, same = a[:stop, start:], stop - start, slice(start, stop)
        total += 6 * dot(product[:start, own:], others[:start, own:]) + 3 * dot(
            product[:start, :own], others[:start, :own]
        )
        total += 3 * dot(product[same, own:], others[same, own:]) + dot(product[same, :own], others[same, :own])
    return total


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Return the inner product of two matrices: rows in their precision, the sum of the rows in float64."""
    return float(np.vecdot(a, b).sum(dtype=float))


def sums_of_kernel(kernel: Kernel, number: int) -> Sums:
    """Return the sums of one of `number` kernels, from features if these are few.

    If all matrices fit in memory and are slow to compute, the kernel keeps its own for later.
    """
    everything, linear = slice(0, kernel.n), kernel.entry is None
    if linear and kernel.p >= ROWS and number * kernel.n**2 * kernel.features.itemsize <= cost.MATRIX_BYTES:
        kernel.whole = kernel.features.gram(everything, everything)
    if linear and kernel.p <= 0.55 * kernel.n:
        return _sum_features(kernel)
    return sums_of(np.array(to_numpy(kernel.piece((everything, everything)))), overwrite=True)


def _sum_features(kernel: Kernel) -> Sums:
    """Return `sums_of` a linear kernel with few features, from products of features.

    The matrix itself is computed once, tile by tile, for the sums of its squares and cubes. Off the diagonal what is
    left is k_ij - m_i - m_j + c, with k = XXᵀ of centred X, so that rows of k sum to 0; m and c are what U-centring
    subtracts, or only the part of J.
    """
    x, n = to_numpy(kernel.features[slice(0, kernel.n)]), kernel.n
    own = to_numpy(kernel.features.sizes).astype(float)
    if kernel.unbiased:
        m, c, diagonal, off = to_numpy(kernel.row_means(slice(0, n))).astype(float), kernel.mean, 0.0, 0.0
        d = np.zeros(n)
    else:
        off = -own.sum() / (n * (n - 1))
        m, c, diagonal = np.zeros(n), -off, own.sum() / n - off
        d = own - off - diagonal
    u = 2 * m - c  # subtracted from k_ii
    products = x.T @ x
    squares, all_cubes, fourths = _powers(kernel, x, products)
    # off the diagonal what is subtracted hardly changes fourth powers, and `cells` needs few digits
    fourths += (d**4).sum() - (own**4).sum()
    along = (x.T @ m.astype(x.dtype)).astype(float)
    rest = m - c
    r = -own - (n - 2) * m - m.sum() + (n - 1) * c + d
    q = squares - 2 * (x @ along.astype(x.dtype)) + n * rest**2 + 2 * rest * m.sum() + m @ m - (own - u) ** 2 + d**2
    cubes = all_cubes - 3 * (2 * m @ squares - c * squares.sum()) + 6 * along @ along
    cubes -= (
        n * (rest**3).sum()
        + 3 * (rest @ rest) * m.sum()
        + 3 * rest.sum() * (m @ m)
        + n * (m**3).sum()
        + ((own - u) ** 3).sum()
        - (d**3).sum()
    )

    def times(v: np.ndarray) -> np.ndarray:
        return (x @ (x.T @ v.astype(x.dtype))).astype(float) - rest * v.sum() - m @ v + (d - own + u) * v

    triangles = _cubed(kernel, x, products, diagonal, q)
    what_is_left = _Rest(d, r, q, times(d), times(r), triangles, cubes, max(float(fourths), 0.0))
    return _sums(diagonal, off, what_is_left, float(np.finfo(x.dtype).eps))


def _powers(kernel: Kernel, x: np.ndarray, products: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return Σ_j k_ij² (n,), Σ k_ij³ and Σ k_ij⁴."""
    n, p = x.shape
    if p <= SMALL:  # from the products of two features
        two = (x[:, :, None] * x[:, None]).reshape(n, p * p)
        third, fourth = x.T @ two, two.T @ two
        return np.vecdot(x @ products, x).astype(float), float(np.vdot(third, third)), float(np.vdot(fourth, fourth))
    fourths = 0.0
    squares, cubes, room = np.zeros(n), 0.0, np.empty((2, min(ROWS, n) * n), x.dtype)
    for rows in split_range(n, ROWS):
        check_stopped()
        size, shape = (rows.stop - rows.start) * (n - rows.start), (rows.stop - rows.start, n - rows.start)
        if kernel.whole is None:
            tile = np.matmul(x[rows], x[rows.start :].T, out=room[0, :size].reshape(shape))
        else:
            tile = to_numpy(kernel.whole)[rows, rows.start :]
        square = np.multiply(tile, tile, out=room[1, :size].reshape(shape))
        squares[rows] += square.sum(axis=1)
        squares[rows.stop :] += square[:, shape[0] :].sum(axis=0)
        cubes += 2 * dot(square, tile) - dot(square[:, : shape[0]], tile[:, : shape[0]])
        fourths += 2 * dot(square, square) - dot(square[:, : shape[0]], square[:, : shape[0]])
    return squares, cubes, fourths


def _cubed(kernel: Kernel, x: np.ndarray, products: np.ndarray, diagonal: float, q: np.ndarray) -> float:
    """Return "a a a" of a linear kernel, from products of features.

    Centred, XXᵀ has the eigenvalues of XᵀX, and 0 along the ones. U-centred it is L minus the diagonal of L, with
    L = XXᵀ - m1ᵀ - 1mᵀ + c11ᵀ, and L³ has the trace of the cube of [X, m, 1]ᵀ [X, -1, c1 - m].
    """
    n, p = x.shape
    product = products.copy()
    if not kernel.unbiased:
        product[np.diag_indices(p)] -= x.dtype.type(diagonal)
        return _cube(product) - (n - 1 - p) * diagonal**3
    means, mean = to_numpy(kernel.row_means(slice(0, n))).astype(float), kernel.mean
    along = (x.T @ means.astype(x.dtype)).astype(float)  # Xᵀm; Xᵀ1 is 0
    right, below = np.stack([np.zeros(p), -along], axis=1), np.stack([along, np.zeros(p)])
    corner = np.array([[-means.sum(), mean * means.sum() - means @ means], [-n, mean * n - means.sum()]])
    third = (
        _cube(product)
        + 3 * np.trace(below @ (product @ right))
        + 3 * np.trace(below @ right @ corner)
        + np.trace(corner @ corner @ corner)
    )
    own = to_numpy(kernel.features.sizes).astype(float) - 2 * means + mean
    return float(third) - 3 * float(own @ q) - float((own**3).sum())
