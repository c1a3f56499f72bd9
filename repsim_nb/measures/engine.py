"""The engine: inner products of sample-by-sample matrices, for all pairs of K representations at once.

Each measure of this family is a cosine between two n × n matrices in a standard form (centred, say). So a table is one
product of K long rows with themselves. The rows are never written out: they are computed tile by tile, the same tile of
every representation at a time, multiplied, and dropped. Memory is bounded by the tile, whatever n is. For linear
kernels ⟨XXᵀ, YYᵀ⟩ = ‖XᵀY‖², which is cheaper if there are few features: `cheaper_by_features` decides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.transport import pack, unpack
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import Workers, check_stopped

from . import cost
from .arrays import split_range, to_float64
from .features import Features
from .gram import Grid, MatrixSource

# features on a side of one product: large enough to be fast, small enough for memory and to stop between two
BLOCK = 1024


class Products(NamedTuple):
    """Inner products of two lists of matrices, in float64.

    Attributes
    ----------
    between : array (K, L)
        ⟨a_i, b_j⟩.
    left, right : array (K,), array (L,)
        ⟨a_i, a_i⟩ and ⟨b_j, b_j⟩.
    """

    between: np.ndarray
    left: np.ndarray
    right: np.ndarray


def by_tiles(
    left: Sequence[MatrixSource], right: Sequence[MatrixSource] | None, run: Workers, tick: Callable[[float], None]
) -> Products:
    """Compute the inner products of all pairs, summed over tiles; without `right`, of `left` with itself.

    tick: a function of the fraction that is done.
    """
    total = _zeros(len(left), None if right is None else len(right))
    everything = [*left, *(right or ())]
    for source in everything if run.separate_memory else ():
        source.detach()
    grid = max(everything, key=lambda source: source.p).grid(len(everything))  # small enough for the widest
    done, bundles = 0, run.bundles(list(grid))
    parts = run(_Bundle(left, right), bundles, idle=lambda: tick(done / len(grid)))
    for part, bundle in zip(parts, bundles, strict=True):
        total = _add(total, part)  # in the order of the grid, for any number of workers
        done += len(bundle)
        tick(done / len(grid))
    return total


def _add(total: Products, part: Products, weight: float = 1.0) -> Products:
    """Add weighted products."""
    return Products(*(t + weight * v for t, v in zip(total, part, strict=True)))


class _Bundle:
    """Multiply some pieces of the grid, in the precision of the finest representation; their sum is in float64."""

    def __init__(self, left: Sequence[MatrixSource], right: Sequence[MatrixSource] | None) -> None:
        self.left, self.right = left, right

    def __reduce__(self) -> Any:
        return _unpack_bundle, (pack(list(self.left)), pack(self.right and list(self.right)))

    def __call__(self, bundle: Grid) -> Products:
        total = _zeros(len(self.left), None if self.right is None else len(self.right))
        for where, weight in bundle:
            check_stopped()
            stack = _stack([*self.left, *(self.right or ())], where)
            if self.right is None:
                between = to_float64(stack @ stack.T)
                part = Products(between, between.diagonal(), between.diagonal())
            else:
                a, b = stack[: len(self.left)], stack[len(self.left) :]
                part = Products(to_float64(a @ b.T), _lengths(a), _lengths(b))
            total = _add(total, part, weight)
        return total


def _stack(sources: Sequence[MatrixSource], where: Any) -> Array:
    """Return the same piece of every representation, one in each row, in the precision of the finest."""
    pieces = [source.piece(where).reshape(-1) for source in sources]
    xp = array_api_compat.array_namespace(*pieces)
    finest = functools.reduce(xp.result_type, {piece.dtype for piece in pieces})
    return xp.stack([xp.astype(piece, finest, copy=False) for piece in pieces])


def _unpack_bundle(left: Any, right: Any) -> _Bundle:
    return _Bundle(unpack(left), unpack(right))


def _zeros(rows: int, columns: int | None) -> Products:
    columns = rows if columns is None else columns
    return Products(np.zeros((rows, columns)), np.zeros(rows), np.zeros(columns))


def _lengths(a: Array) -> np.ndarray:
    xp = array_api_compat.array_namespace(a)
    return np.array([float(xp.vecdot(row, row)) for row in a])


def cheaper_by_features(n: int, left: Sequence[int], right: Sequence[int] | None) -> bool:
    """Return whether all inner products of linear kernels are faster by features than by tiles; left, right: widths."""
    # tiles have other work than their products
    return cost.flops_by_features(n, left, right) < 1.4 * cost.flops_by_tiles(n, left, right)


def by_features(
    left: Sequence[Features],
    right: Sequence[Features] | None,
    run: Workers,
    tick: Callable[[float], None],
    *,
    unbiased: bool,
) -> Products:
    """Compute the same products as `by_tiles`, of linear kernels, as ‖XᵀY‖²."""
    everything = [*left, *(right or ())]
    groups = _groups([features.p for features in everything])
    border = len(left) if right is not None else None
    jobs = [(a, b) for i, a in enumerate(groups) for b in groups[i:] if _is_wanted(a, b, border)]
    found, done = np.zeros((len(everything), len(everything))), 0
    sides = (
        [[everything[i] for i in a] for a, b in jobs],
        [None if a is b else [everything[i] for i in b] for a, b in jobs],
    )
    parts = run(functools.partial(_cross, unbiased=unbiased), *sides, idle=lambda: tick(done / len(jobs)))
    for done, (part, (a, b)) in enumerate(zip(parts, jobs, strict=True), start=1):
        found[np.ix_(a, b)], found[np.ix_(b, a)] = part, part.T
        tick(done / len(jobs))
    own, many = found.diagonal(), len(left)
    return Products(found, own, own) if right is None else Products(found[:many, many:], own[:many], own[many:])


def _groups(widths: Sequence[int]) -> list[list[int]]:
    """Group consecutive representations, up to a block of features; a wider one is alone."""
    groups: list[list[int]] = [[]]
    for i, width in enumerate(widths):
        if groups[-1] and sum(widths[j] for j in groups[-1]) + width > BLOCK:
            groups.append([])
        groups[-1].append(i)
    return groups


def _is_wanted(a: list[int], b: list[int], border: int | None) -> bool:
    """Return whether a pair of groups has a cell of the table, or one of its lengths."""
    return border is None or a is b or (a[0] < border and b[-1] >= border)


def _cross(a: Sequence[Features], b: Sequence[Features] | None, unbiased: bool = False) -> np.ndarray:
    """Return ‖XᵀY‖² for X in a and Y in b (or in a), (len(a), len(b)), streamed over rows and blocks of features.

    unbiased: of U-centred kernels; their diagonals are subtracted at the end.
    """
    xp, n = a[0].xp, a[0].n
    finest = functools.reduce(xp.result_type, {features.dtype for features in (*a, *(b or ()))})

    def some(side: Sequence[Features], rows: slice, columns: slice) -> tuple[Array, np.ndarray | None]:
        parts = [features[rows] for features in side]
        sizes = (
            np.stack([to_float64(xp.vecdot(part, part)) for part in parts]) if unbiased and columns.start == 0 else None
        )
        whole = parts[0] if len(parts) == 1 else xp.concat(parts, axis=1)
        return xp.astype(whole[:, columns], finest, copy=False), sizes

    sides = [a, a if b is None else b]
    edges = [np.cumsum([0] + [features.p for features in side]) for side in sides]
    total, of_sizes = np.zeros((len(sides[0]), len(sides[1]))), 0.0
    sums = np.zeros(len(sides[0])), np.zeros(len(sides[1]))
    for down in split_range(edges[0][-1], BLOCK):
        for across in split_range(edges[1][-1], BLOCK):
            products = 0
            for rows in split_range(n, 2**22 // int(max(edges[0][-1], edges[1][-1]))):
                check_stopped()
                x, left = some(a, rows, down)
                y, right = (x, left) if b is None and down == across else some(sides[1], rows, across)
                products = products + xp.astype(x.T @ y, xp.float64)
                if left is not None and right is not None:  # once, at the first features of both
                    of_sizes = of_sizes + left @ right.T
                    sums = sums[0] + left.sum(axis=1), sums[1] + right.sum(axis=1)
            squares = to_numpy(products * products)
            cuts = [
                np.clip(edge - place.start, 0, place.stop - place.start)
                for edge, place in zip(edges, (down, across), strict=True)
            ]
            total += [
                [squares[i:k, j:m].sum() for j, m in zip(cuts[1][:-1], cuts[1][1:], strict=True)]
                for i, k in zip(cuts[0][:-1], cuts[0][1:], strict=True)
            ]
    rest = total + np.outer(*sums) / ((n - 1) * (n - 2)) - of_sizes * (1 + 2 / (n - 2)) if unbiased else total
    if unbiased and b is None:  # a squared length that is rounding of what was subtracted
        np.fill_diagonal(
            rest, np.where(rest.diagonal() > 16 * float(xp.finfo(finest).eps) * total.diagonal(), rest.diagonal(), 0.0)
        )
    return rest
