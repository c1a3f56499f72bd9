"""The engine: inner products of sample-by-sample matrices, all pairs of K representations at once, by tiles or by
features.

A member of the Gram family compares two n × n matrices by the cosine between them, once each is brought to its standard
form (centred, say). So a table is one product of K long rows with themselves. The rows are never written down: they are
made tile by tile, the same tile of every representation at a time, multiplied, and dropped; memory is bounded by the
tile, whatever n is. For linear kernels <XXᵀ, YYᵀ> = ‖XᵀY‖², which is cheaper where features are few:
`cheaper_by_features` decides.
"""

from __future__ import annotations

import functools
import math
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import array_api_compat
import numpy as np

from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import Array, check_shape, not_finite_error, to_numpy
from repsim_nb.support.workers import Deferred, Workers, check_stopped, has_address, pack, unpack

from . import cost
from .arrays import eps, off_diagonal, split_range

ROWS = 256  # samples on the short side of a tile
Grid = Sequence[tuple[Any, float]]  # (where, how often it counts)


class Source(Protocol):
    """One representation's matrix in standard form, of which any piece can be asked for.

    floor: a length below which nothing but rounding is left of it.  p: how many features its pieces are made from.
    """

    floor: float
    dtype: Any
    p: int

    def grid(self, number: int) -> Grid:
        """Which pieces make up the matrix, and how often each counts; small enough to stack those of `number`
        representations.
        """

    def piece(self, where: Any, out: np.ndarray | None = None) -> Array:
        """One piece as numbers; written into `out`, and that returned, where it is made anew anyhow."""

    def flat(self) -> Array:
        """All of it as one vector."""


class Features:
    """A representation, checked in one pass and handed out by rows: centred (means summed in float64), scaled so that
    nothing overflows.

    x may be memory-mapped: no more of it than some rows is in memory at a time, unless `hold` was called.
    """

    def __init__(self, x: Array, least: int) -> None:
        self._x, self.dtype = check_shape(x, least)
        self.n, self.p = self._x.shape
        self.xp = array_api_compat.array_namespace(self._x)
        self._held: Array | None = None
        self._sizes: Array | None = None
        low, high, total = None, None, 0
        for rows in self.blocks():
            check_stopped()
            block = self._raw(rows)
            ends = self.xp.min(block, axis=0), self.xp.max(block, axis=0)
            if not bool(self.xp.all(self.xp.isfinite(ends[0]) & self.xp.isfinite(ends[1]))):
                raise not_finite_error(self._x)
            low, high = ends if low is None else (self.xp.minimum(low, ends[0]), self.xp.maximum(high, ends[1]))
            total = total + self.xp.sum(block, axis=0, dtype=self.xp.float64)
        if bool(self.xp.all(low == high)):
            raise UndefinedError(f"it is constant: all {self.n} samples have the same activations")
        mean = total / self.n
        short = self.xp.astype(mean, self.dtype)
        self._centre: Any = (
            short,
            self.xp.astype(mean - self.xp.astype(short, self.xp.float64), self.dtype),
        )  # and what the precision of the work cannot hold
        self.itemsize = short.dtype.itemsize
        self._scale = float(self.xp.max(self.xp.maximum(high - short, short - low)))
        if not 0 < self._scale < math.inf:
            raise UndefinedError(
                "it is constant within the precision of its numbers"
                if self._scale == 0
                else "its values are too far apart for their precision"
            )

    def blocks(self) -> list[slice]:
        """Runs of rows of about a million numbers each."""
        return split_range(self.n, 2**20 // self.p)

    def _raw(self, rows: slice) -> Array:
        return self.xp.astype(self._x[rows], self.dtype, copy=False)

    def __getitem__(self, rows: slice) -> Array:
        if self._held is not None:
            return self._held[rows]
        short, rest = self._centre.value() if isinstance(self._centre, Deferred) else self._centre
        block = self._raw(rows) - short
        block -= rest
        block /= self._scale
        return block

    def hold(self) -> None:
        """Keep all rows as they are handed out: for inputs that are asked for often and fit into memory."""
        if self._held is None:
            self._held = self[slice(0, self.n)]

    def leave(self) -> None:
        """Leave the means of the features to each process that needs them: where everybody reads all rows anyhow they
        need not be told.
        """
        if has_address(self._x):
            self._centre = Deferred(_centre_of, self._x, uuid.uuid4().hex)

    @property
    def sizes(self) -> Array:
        """The squared length of every sample, (n,)."""
        if self._sizes is None:
            self._sizes = self.xp.concat(
                [self.xp.vecdot(block, block) for block in map(self.__getitem__, self.blocks())]
            )
        return self._sizes

    def gram(self, rows: slice, columns: slice, out: np.ndarray | None = None) -> Array:
        """Inner products of samples, written into `out` where one is given."""
        some = self[rows]
        others = some if rows == columns else self[columns]  # the same array on both sides is half the work
        return some @ others.T if out is None else np.matmul(some, others.T, out=out)

    def distances(self, rows: slice, columns: slice) -> Array:
        """Squared distances of samples; exactly 0 of each to itself."""
        squared = self.gram(rows, columns)
        squared *= -2
        squared += self.sizes[rows, None]
        squared += self.sizes[None, columns]
        squared = self.xp.clip(squared, 0, None)
        return squared * off_diagonal(squared) if rows == columns else squared

    def all_distances(self, number: int) -> Array | None:
        """Squared distances of all samples (n, n), where as many matrices as there are representations may be kept at
        once; else None.
        """
        if number * self.n**2 * self.itemsize > cost.HELD:
            return None
        return self.distances(slice(0, self.n), slice(0, self.n))

    def part(self, rows: slice) -> Features:
        """Some of the samples as a representation of their own, centred anew."""
        block = self[rows]
        mean = self.xp.sum(block, axis=0, dtype=self.xp.float64) / block.shape[0]
        part = object.__new__(Features)
        part.xp, part.dtype, (part.n, part.p), part._sizes = self.xp, self.dtype, block.shape, None
        part.itemsize, part._held = self.itemsize, block - self.xp.astype(mean, self.dtype)
        return part

    def __getstate__(self) -> dict[str, Any]:
        """What is as long as the samples are many is not sent: it is made again from the numbers, where those are read
        anyhow.
        """
        return {
            **{k: v for k, v in vars(self).items() if k != "xp"},
            "_x": pack(self._x),
            "_held": None,
            "_sizes": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _x=unpack(state["_x"]))
        self.xp = array_api_compat.array_namespace(self._x)


def _centre_of(x: Array) -> tuple[Array, Array]:
    return Features(x, 1)._centre


class Kernel:
    """A symmetric n × n matrix of a representation's samples, made tile by tile in its standard form.

    entry: from squared distances to the matrix, or None for inner products.  whole: all squared distances, where they
    are at hand; then the matrix is kept instead of made again.  unbiased: U-centred, zero on the diagonal, so that <A,
    B> / (n (n - 3)) is Song et al.'s unbiased HSIC (Székely, Rizzo 2014); else row and column means out.
    floor: a length below which nothing but rounding is left of it.
    """

    def __init__(
        self,
        features: Features,
        entry: Callable[[Array], Array] | None = None,
        *,
        whole: Array | None = None,
        unbiased: bool = False,
    ) -> None:
        self.features, self.entry, self.unbiased, n = features, entry, unbiased, features.n
        self.n, self.p, self.dtype, self.floor = n, features.p, features.dtype, 0.0
        self._whole = None if whole is None or entry is None else entry(whole)
        if entry is None and not unbiased:  # centred features make a centred matrix
            return
        sums = (
            self._row_sums() if entry else -_float(features.sizes)
        )  # rows of a centred Gram matrix sum to 0, without its diagonal to minus that
        self._means = (
            self._as_features(sums / (n - 2 if unbiased else n)) if entry else None
        )  # of inner products: `_row_means` makes them
        self._mean = float(sums.sum() / ((n - 1) * (n - 2) if unbiased else n * n))
        self.floor = 8 * eps(features.sizes) * float(np.abs(sums).sum())

    def _as_features(self, values: np.ndarray) -> Array:
        xp = self.features.xp
        return xp.astype(xp.asarray(values, device=array_api_compat.device(self.features.sizes)), self.dtype)

    def _row_means(self, rows: slice) -> Array:
        return (
            self._as_features(-_float(self.features.sizes[rows]) / (self.n - 2))
            if self._means is None
            else self._means[rows]
        )

    def kept(self, keep: Callable[[Any], Any]) -> Kernel:
        """Itself, its row means kept where `keep` keeps them."""
        if getattr(self, "_means", None) is not None:
            self._means = keep(self._means)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {k: pack(v) for k, v in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({k: unpack(v) for k, v in state.items()})

    def _entries(self, rows: slice, columns: slice, out: np.ndarray | None = None) -> Array:
        """The matrix before it is centred."""
        if self._whole is not None:
            return self._whole[rows, columns]
        return (
            self.features.gram(rows, columns, out)
            if self.entry is None
            else self.entry(self.features.distances(rows, columns))
        )

    def _row_sums(self) -> np.ndarray:
        sums, xp = np.zeros(self.n), self.features.xp
        for (rows, columns), _ in self.grid(1):
            check_stopped()
            tile = self._entries(rows, columns)
            sums[rows] += to_numpy(xp.sum(tile, axis=1, dtype=xp.float64))
            if rows != columns:
                sums[columns] += to_numpy(xp.sum(tile, axis=0, dtype=xp.float64))
        return sums

    def piece(self, where: tuple[slice, slice], out: np.ndarray | None = None) -> Array:
        rows, columns = where
        tile = self._entries(rows, columns, out)
        if self.entry is None and not self.unbiased:
            return tile  # centred features are all that a linear kernel needs
        if self._whole is not None:
            tile = tile - self._row_means(rows)[:, None]
        else:
            tile -= self._row_means(rows)[:, None]
        tile -= self._row_means(columns)[None, :] - self._mean
        if self.unbiased and rows == columns:
            tile *= off_diagonal(tile)
        return tile

    def grid(self, number: int) -> Grid:
        return tiles(self.n, number, self.features.itemsize, self.p)

    def flat(self) -> Array:
        everything = slice(0, self.n)
        return self.features.xp.reshape(self.piece((everything, everything)), (-1,))


class Batches:
    """Matrices of consecutive batches, each by itself, side by side.

    A batch of m counts 1/(m - 3), so that a sum of products is Σ m · HSIC₁.
    """

    def __init__(self, features: Features, size: int, kernel: Callable[[Features], Kernel]) -> None:
        self.features, self.size, self.kernel = features, size, kernel
        self.n, self.p, self.dtype = features.n, features.p, features.dtype
        self.floor = 8 * eps(features.sizes) * float(_float(features.sizes).sum())

    def batches(self) -> list[slice]:
        return batches(self.n, self.size)

    def grid(self, number: int) -> Grid:
        return [
            ((batch, where), weight / (batch.stop - batch.start - 3))
            for batch in self.batches()
            for where, weight in tiles(batch.stop - batch.start, number, self.features.itemsize, self.p)
        ]

    def piece(self, where: tuple[slice, tuple[slice, slice]], out: np.ndarray | None = None) -> Array:
        batch, place = where
        return self.kernel(self.features.part(batch)).piece(place, out)

    def flat(self) -> Array:
        parts = [(batch, self.kernel(self.features.part(batch)).flat()) for batch in self.batches()]
        return self.features.xp.concat([part / (batch.stop - batch.start - 3) ** 0.5 for batch, part in parts])


class Vector(NamedTuple):
    """A matrix that was written down whole: each number that counts, once."""

    values: Array
    floor: float

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def p(self) -> int:
        return 0  # nothing is made, it is there

    def grid(self, number: int) -> Grid:
        return [
            (piece, 1.0)
            for piece in split_range(self.values.shape[0], cost.columns_within(number, 1, self.dtype.itemsize))
        ]

    def piece(self, where: slice, out: np.ndarray | None = None) -> Array:
        return self.values[where]

    def flat(self) -> Array:
        return self.values


def median_distance(features: Features, whole: Array | None, *, diagonal: bool) -> float:
    """The median of all squared distances between samples, each pair in both orders; `diagonal`: with those of each to
    itself, which are 0.

    Exact. Without the whole matrix it is found in passes over its tiles: each narrows the bit patterns of the two
    middle numbers (which sort as the numbers do, none being negative) by 16 bits, so float32 takes two passes.
    """
    n = features.n
    many = n * n if diagonal else n * (n - 1)
    ranks = [
        max(rank - n if diagonal else rank, -1) for rank in ((many - 1) // 2, many // 2)
    ]  # among the others; -1 is on the diagonal
    ranks = [rank // 2 for rank in ranks]  # each pair once
    if whole is None:
        found = {
            rank: _ranked(features, rank) if rank >= 0 else 0.0 for rank in set(ranks)
        }  # mostly one and the same: no pass is made twice
        return sum(found[rank] for rank in ranks) / 2
    values, (low, high) = to_numpy(whole)[np.tri(n, k=-1, dtype=bool)], ranks
    if high < 0:
        return 0.0
    values.partition(high)
    return (float(values[high]) + (0.0 if low < 0 else float(values[high] if low == high else values[:high].max()))) / 2


def _ranked(features: Features, rank: int) -> float:
    """The number with this rank among the squared distances above the diagonal."""
    kind = np.dtype(f"uint{8 * features.itemsize}")
    found, fixed = 0, 0  # the leading bits that are known, and how many
    while fixed < 8 * features.itemsize:
        shift = 8 * features.itemsize - fixed - 16
        counts = np.zeros(2**16, np.int64)
        for (rows, columns), _ in tiles(features.n, 1, features.itemsize, features.p):
            check_stopped()
            tile = to_numpy(features.distances(rows, columns))
            bits = (
                tile[np.tri(len(tile), k=-1, dtype=bool)] if rows == columns else np.ascontiguousarray(tile).reshape(-1)
            ).view(kind)
            if fixed:
                bits = bits[bits >> kind.type(shift + 16) == kind.type(found)]
            counts += np.bincount((bits >> kind.type(shift)).astype(np.int64) & 0xFFFF, minlength=2**16)
        below = np.concatenate([[0], np.cumsum(counts)])
        place = int(np.searchsorted(below, rank, side="right")) - 1
        found, fixed, rank = found << 16 | place, fixed + 16, rank - int(below[place])
    return float(np.array([found], kind).view(f"float{8 * features.itemsize}")[0])


def batches(n: int, size: int) -> list[slice]:
    """0 to n in runs of `size`, as the minibatch estimator takes them: a last one of fewer than 4 joins the one
    before.
    """
    found = split_range(n, size)
    if len(found) > 1 and n - found[-1].start < 4:
        found[-2:] = [slice(found[-2].start, n)]
    return found


# -- by tiles
# --------------------------------------------------------------------------------------------------------------


def tiles(n: int, number: int, itemsize: int, p: int) -> Grid:
    """The upper trapezoid of an n × n matrix: squares on the diagonal once, what lies right of them twice, for the part
    below.
    """
    wide = cost.columns_within(number, ROWS, itemsize, p)
    grid: list[tuple[Any, float]] = []
    for rows in split_range(n, ROWS):
        grid.append(((rows, rows), 1.0))
        grid += [((rows, slice(i, min(i + wide, n))), 2.0) for i in range(rows.stop, n, wide)]
    return grid


class Products(NamedTuple):
    """between: <a_i, b_j> (K, L).  left, right: <a_i, a_i> (K,), <b_j, b_j> (L,). All float64."""

    between: np.ndarray
    left: np.ndarray
    right: np.ndarray


def by_tiles(
    left: Sequence[Source], right: Sequence[Source] | None, run: Workers, tick: Callable[[float], None]
) -> Products:
    """Inner products of all pairs (without `right`: of `left` with itself), summed over the pieces. tick(share
    done).
    """
    total = _zeros(len(left), None if right is None else len(right))
    everything = [*left, *(right or ())]
    for source in everything if run.separate_memory else ():
        if not isinstance(source, Vector):
            source.features.leave()
    grid = max(everything, key=lambda source: source.p).grid(len(everything))  # small enough for the widest
    done, bundles = 0, run.bundles(list(grid))
    for part, bundle in zip(
        run(_Bundle(left, right), bundles, idle=lambda: tick(done / len(grid))), bundles, strict=True
    ):
        total = Products(
            *(a + b for a, b in zip(total, part, strict=True))
        )  # in the order of the grid, however many workers there are
        done += len(bundle)
        tick(done / len(grid))
    return total


class _Bundle:
    """Some pieces of the grid, multiplied: pieces in the precision of the finest representation, their sum in
    float64.
    """

    def __init__(self, left: Sequence[Source], right: Sequence[Source] | None) -> None:
        self.left, self.right = left, right
        self._rooms = (
            threading.local()
        )  # each worker stacks its pieces in the same place: new memory for every tile costs a tenth of the time

    def __getstate__(self) -> dict[str, Any]:
        return {"left": pack(list(self.left)), "right": pack(self.right and list(self.right))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(unpack(state["left"]), unpack(state["right"]))

    def __call__(self, bundle: Grid) -> Products:
        total = _zeros(len(self.left), None if self.right is None else len(self.right))
        for where, weight in bundle:
            check_stopped()
            stack = self._stack([*self.left, *(self.right or ())], where)
            if self.right is None:
                between = _float(stack @ stack.T)
                part = Products(between, between.diagonal(), between.diagonal())
            else:
                a, b = stack[: len(self.left)], stack[len(self.left) :]
                part = Products(_float(a @ b.T), _lengths(a), _lengths(b))
            total = Products(*(t + weight * v for t, v in zip(total, part, strict=True)))
        return total

    def _stack(self, sources: Sequence[Source], where: Any) -> Array:
        """The same piece of every representation, one a row."""
        first = sources[0].piece(where)
        xp = array_api_compat.array_namespace(first)
        finest = functools.reduce(xp.result_type, {s.dtype for s in sources})
        stack = self._room(len(sources), math.prod(first.shape), finest, first)
        stack[0] = first.reshape(-1)
        for row, source in zip(stack[1:], sources[1:], strict=True):
            place = row.reshape(first.shape) if isinstance(stack, np.ndarray) and source.dtype == finest else None
            piece = source.piece(where, place)
            if piece is not place:
                row[:] = piece.reshape(-1)
        return stack

    def _room(self, rows: int, columns: int, dtype: Any, like: Array) -> Array:
        if not isinstance(like, np.ndarray):
            return array_api_compat.array_namespace(like).empty(
                (rows, columns), dtype=dtype, device=array_api_compat.device(like)
            )
        room = getattr(self._rooms, "room", None)
        if room is None or room.size < rows * columns or room.dtype != dtype:
            room = self._rooms.room = np.empty(rows * columns, dtype)
        return room[: rows * columns].reshape(rows, columns)


def _zeros(rows: int, columns: int | None) -> Products:
    columns = rows if columns is None else columns
    return Products(np.zeros((rows, columns)), np.zeros(rows), np.zeros(columns))


def _lengths(a: Array) -> np.ndarray:
    xp = array_api_compat.array_namespace(a)
    return np.array([float(xp.vecdot(row, row)) for row in a])


def _float(a: Array) -> np.ndarray:
    return to_numpy(a).astype(float)


# -- by features
# -----------------------------------------------------------------------------------------------------------


def cheaper_by_features(n: int, left: Sequence[int], right: Sequence[int] | None) -> bool:
    """Of the two ways to all inner products of linear kernels, is the one by features faster?

    Widths of both sides go in.
    """
    return cost.flops_by_features(n, left, right) < 1.4 * cost.flops_by_tiles(
        n, left, right
    )  # tiles have more to do than their products


def by_features(
    left: Sequence[Features],
    right: Sequence[Features] | None,
    run: Workers,
    tick: Callable[[float], None],
    *,
    unbiased: bool,
) -> Products:
    """The same products as `by_tiles` of linear kernels, from ‖XᵀY‖²."""
    everything = [*left, *(right or ())]
    groups = _groups([features.p for features in everything])
    border = len(left) if right is not None else None
    jobs = [(a, b) for i, a in enumerate(groups) for b in groups[i:] if _wanted(a, b, border)]
    found, done = np.zeros((len(everything), len(everything))), 0
    sides = (
        [[everything[i] for i in a] for a, b in jobs],
        [None if a is b else [everything[i] for i in b] for a, b in jobs],
    )
    for part, (a, b) in zip(
        run(functools.partial(_cross, unbiased=unbiased), *sides, idle=lambda: tick(done / len(jobs))),
        jobs,
        strict=True,
    ):
        found[np.ix_(a, b)], found[np.ix_(b, a)] = part, part.T
        done += 1
        tick(done / len(jobs))
    own, many = found.diagonal(), len(left)
    return Products(found, own, own) if right is None else Products(found[:many, many:], own[:many], own[many:])


BLOCK = (
    1024  # features on a side of one product: large enough to be fast, small enough for memory and to stop between two
)


def _groups(widths: Sequence[int]) -> list[list[int]]:
    """Neighbours together, up to a block of features; a wider one stands alone."""
    groups: list[list[int]] = [[]]
    for i, width in enumerate(widths):
        if groups[-1] and sum(widths[j] for j in groups[-1]) + width > BLOCK:
            groups.append([])
        groups[-1].append(i)
    return groups


def _wanted(
    a: list[int], b: list[int], border: int | None
) -> bool:  # does this pair of groups hold anything of the table, or of its lengths?
    return border is None or a is b or (a[0] < border and b[-1] >= border)


def _cross(a: Sequence[Features], b: Sequence[Features] | None, unbiased: bool = False) -> np.ndarray:
    """‖XᵀY‖² for X in a and Y in b (or in a): (len(a), len(b)), streamed over rows and blocks of features; `unbiased`:
    of U-centred kernels, whose diagonals are taken out afterwards.
    """
    xp, n = a[0].xp, a[0].n
    finest = functools.reduce(xp.result_type, {features.dtype for features in (*a, *(b or ()))})

    def some(side: Sequence[Features], rows: slice, columns: slice) -> tuple[Array, np.ndarray | None]:
        parts = [features[rows] for features in side]
        sizes = np.stack([_float(xp.vecdot(part, part)) for part in parts]) if unbiased and columns.start == 0 else None
        return xp.astype(xp.concat(parts, axis=1)[:, columns], finest, copy=False), sizes

    sides = [a, a if b is None else b]
    edges = [np.cumsum([0] + [features.p for features in side]) for side in sides]
    total, of_sizes, sums = np.zeros((len(sides[0]), len(sides[1]))), 0.0, [0.0, 0.0]
    for down in split_range(edges[0][-1], BLOCK):
        for across in split_range(edges[1][-1], BLOCK):
            products = 0
            for rows in split_range(n, 2**22 // int(max(edges[0][-1], edges[1][-1]))):
                check_stopped()
                x, left = some(a, rows, down)
                y, right = (x, left) if b is None and down == across else some(sides[1], rows, across)
                products = products + xp.astype(x.T @ y, xp.float64)
                if left is not None and right is not None:  # once, at the first features of both
                    of_sizes, sums = (
                        of_sizes + left @ right.T,
                        [sums[0] + left.sum(axis=1), sums[1] + right.sum(axis=1)],
                    )
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
    if unbiased and b is None:  # a squared length that is rounding of what was taken out of it
        np.fill_diagonal(
            rest, np.where(rest.diagonal() > 16 * float(xp.finfo(finest).eps) * total.diagonal(), rest.diagonal(), 0.0)
        )
    return rest
