"""Sums of a symmetric matrix of samples: all that the moments of its inner product with another, shuffled, depend on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..workers import checkpoint
from . import cost
from .base import host, stretches
from .gram import Kernel

# The sums over i, j, ... of products of two or three entries of a matrix without trace and total, each as a graph: an entry a_ij is an edge, an index a point, d = diagonal,
# r = sums of rows, q = of their squares. A point is told by its (loops, other ends of edges); graphs in which an edge stands alone are 0.
PAIRS = {"d²": ((2, 0),), "d r": ((0, 1), (1, 1)), "r²": ((0, 1), (0, 1), (0, 2)), "a²": ((0, 2), (0, 2))}
TRIPLES = {
    "d³": ((3, 0),), "d² r": ((0, 1), (2, 1)), "d a d": ((1, 1), (1, 1)), "d r²": ((0, 1), (0, 1), (1, 2)), "d a r": ((0, 1), (0, 2), (1, 1)), "d q": ((0, 2), (1, 2)),
    "r³": ((0, 1), (0, 1), (0, 1), (0, 3)), "r a r": ((0, 1), (0, 1), (0, 2), (0, 2)), "a a a": ((0, 2), (0, 2), (0, 2)), "a³": ((0, 3), (0, 3)), "q r": ((0, 1), (0, 2), (0, 3)),
}  # fmt: skip
_AT_ONCE = 2048  # rows of a product with itself: numpy makes one whole in half the time


class Sums(NamedTuple):
    """Of a matrix at unit length: diagonal, off: the parts of I and J (all ones) in it; pairs (4,), triples (11,): sums of what is left, in the order of PAIRS and TRIPLES."""

    n: int
    diagonal: float
    off: float
    pairs: np.ndarray
    triples: np.ndarray


def sums_of(matrix: np.ndarray, cubed: Callable[[float, np.ndarray], float] | None = None) -> Sums:
    """The sums of a symmetric matrix (n, n), brought to unit length. Needs twice its memory.

    cubed(diagonal, q): "a a a" of what is left, from the part of I and the sums of squares of rows, where that is quicker than a product of n³.
    """
    n, eps = len(matrix), float(np.finfo(matrix.dtype).eps)
    trace, total = float(matrix.diagonal().sum(dtype=float)), float(matrix.sum(axis=1).sum(dtype=float))
    off = (total - trace) / (n * (n - 1))
    diagonal = trace / n - off
    rest = matrix - matrix.dtype.type(off)
    rest[np.diag_indices(n)] -= matrix.dtype.type(diagonal)
    d, r, q = rest.diagonal().astype(float), rest.sum(axis=1).astype(float), np.empty(n)
    cubes = triangles = 0.0
    for rows in stretches(n, n if n <= _AT_ONCE else 256):
        checkpoint()
        some = rest[rows]
        squares = some * some
        q[rows] = squares.sum(axis=1)
        cubes += float(np.vecdot(squares, some).sum(dtype=float))
        if cubed is None:
            right = slice(rows.stop, n)
            triangles += float(np.vecdot(some @ some.T, some[:, rows]).sum(dtype=float))
            triangles += 2 * float(np.vecdot(some @ rest[right].T, some[:, right]).sum(dtype=float))  # and what lies below, mirrored
    triangles = triangles if cubed is None else cubed(diagonal, q)
    by_d, by_r = (rest @ np.stack([d, r], axis=1).astype(rest.dtype)).astype(float).T
    pairs = np.array([d @ d, d @ r, r @ r, q.sum()])
    triples = np.array([(d**3).sum(), d * d @ r, d @ by_d, d @ (r * r), d @ by_r, d @ q, (r**3).sum(), r @ by_r, triangles, cubes, q @ r])
    square = pairs[3] + n * (diagonal + off) ** 2 + n * (n - 1) * off**2  # the three parts are at right angles
    if pairs[3] <= (32 * eps) ** 2 * square:  # rounding of I and J
        pairs, triples = np.zeros_like(pairs), np.zeros_like(triples)
    length = square**0.5 or 1.0  # of nothing at all the table says so
    return Sums(n, diagonal / length, off / length, pairs / length**2, triples / length**3)


def sums_of_kernel(kernel: Kernel, number: int) -> Sums:
    """The sums of a kernel's matrix, one of `number`: where all of them may be kept at once the kernel keeps it, for whoever asks for pieces of it later."""
    everything = slice(0, kernel.n)
    if kernel.entry is None and number * kernel.n**2 * kernel.features.itemsize <= cost.HELD:
        kernel._whole = kernel.features.gram(everything, everything)
    narrow = kernel.entry is None and kernel.p <= 0.6 * kernel.n
    return sums_of(host(kernel.piece((everything, everything))), functools.partial(_cubed, kernel) if narrow else None)


def _cubed(kernel: Kernel, diagonal: float, q: np.ndarray) -> float:
    """Of a linear kernel of few features, from products of features. Centred, XXᵀ has the eigenvalues of XᵀX, and 0 along the ones; U-centred, it is
    L - its diagonal with L = XXᵀ - m1ᵀ - 1mᵀ + c11ᵀ, of which L³ has the trace of the cube of a matrix of p + 2."""
    x, n, p = host(kernel.features[slice(0, kernel.n)]), kernel.n, kernel.p
    product = x.T @ x
    if not kernel.unbiased:
        product[np.diag_indices(p)] -= x.dtype.type(diagonal)
        return float(np.vecdot(product @ product.T, product).sum(dtype=float)) - (n - 1 - p) * diagonal**3
    means, mean = host(kernel._row_means(slice(0, n))).astype(float), kernel._mean
    along = x.T @ means.astype(x.dtype)  # [X, m, 1]ᵀ [X, -1, c1 - m], and Xᵀ1 = 0
    border = np.zeros((p + 2, p + 2), x.dtype)
    border[:p, :p], border[p, :p], border[:p, p + 1] = product, along, -along
    border[p:, p:] = [[-means.sum(), mean * means.sum() - means @ means], [-n, mean * n - means.sum()]]
    own = host(kernel.features.sizes).astype(float) - 2 * means + mean
    return float(np.vecdot(border @ border, border.T).sum(dtype=float)) - 3 * float(own @ q) - float((own**3).sum())
