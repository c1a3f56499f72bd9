"""Kernels: sample-by-sample matrices in their standard form, of which the engine requests any piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.transport import pack, unpack
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import check_stopped

from . import cost
from .arrays import eps, off_diagonal, split_range, to_float64
from .features import Features

ROWS = 256  # samples on the short side of a tile
Grid = Sequence[tuple[Any, float]]  # (where, how often it counts)


class MatrixSource(Protocol):
    """The matrix of one representation in standard form, of which any piece can be requested."""

    @property
    def floor(self) -> float:
        """The length below which the matrix is rounding only."""

    @property
    def p(self) -> int:
        """The number of features that its pieces are computed from."""

    def grid(self, number: int) -> Grid:
        """Return the pieces of the matrix, and how often each counts.

        Pieces are small enough to stack those of `number` representations.
        """

    def piece(self, where: Any) -> Array:
        """Return one piece as numbers."""

    def flat(self) -> Array:
        """Return the whole matrix as one vector."""

    def detach(self) -> None:
        """Leave to other processes what they can compute themselves, before they request pieces."""


class Kernel:
    """A symmetric n × n matrix of the samples of a representation, computed tile by tile in its standard form.

    Parameters
    ----------
    features : Features
        The representation.
    entry : function, optional
        From squared distances to the matrix; None for inner products.
    whole : array (n, n), optional
        All squared distances, if they are at hand; the matrix is then kept.
    unbiased : bool
        U-centred, with zeros on the diagonal, so that ⟨A, B⟩ / (n (n - 3)) is the unbiased HSIC of Song and others
        (Székely, Rizzo 2014); else row and column means are subtracted.
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
        self.n, self.p, self.floor = n, features.p, 0.0
        self.whole = None if whole is None or entry is None else entry(whole)
        self.means: Array | None = None  # None for inner products: `row_means` computes them
        self.mean = 0.0
        if entry is None and not unbiased:  # centred features give a centred matrix
            return
        # rows of a centred Gram matrix sum to 0, and without the diagonal to minus the diagonal
        sums = self._row_sums() if entry else -to_float64(features.sizes)
        if entry is not None:
            self.means = self._as_features(sums / (n - 2 if unbiased else n))
        self.mean = float(sums.sum() / ((n - 1) * (n - 2) if unbiased else n * n))
        self.floor = 8 * eps(features.sizes) * float(np.abs(sums).sum())

    def _as_features(self, values: np.ndarray) -> Array:
        xp = self.features.xp
        return xp.astype(xp.asarray(values, device=array_api_compat.device(self.features.sizes)), self.features.dtype)

    def row_means(self, rows: slice) -> Array:
        return (
            self._as_features(-to_float64(self.features.sizes[rows]) / (self.n - 2))
            if self.means is None
            else self.means[rows]
        )

    def store_arrays(self, store: Callable[[Any], Any]) -> Kernel:
        """Replace the row means by what `store` returns for them, and return the kernel itself."""
        if self.means is not None:
            self.means = store(self.means)
        return self

    def detach(self) -> None:
        self.features.detach()

    def __getstate__(self) -> dict[str, Any]:
        return {k: pack(v) for k, v in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({k: unpack(v) for k, v in state.items()})

    def _entries(self, rows: slice, columns: slice) -> Array:
        """Return a piece of the matrix before it is centred."""
        if self.whole is not None:
            return self.whole[rows, columns]
        return (
            self.features.gram(rows, columns)
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

    def piece(self, where: tuple[slice, slice]) -> Array:
        rows, columns = where
        tile = self._entries(rows, columns)
        if self.entry is None and not self.unbiased:
            return tile  # centred features are all that a linear kernel needs
        if self.whole is not None:
            tile = tile - self.row_means(rows)[:, None]
        else:
            tile -= self.row_means(rows)[:, None]
        tile -= self.row_means(columns)[None, :] - self.mean
        if self.unbiased and rows == columns:
            tile *= off_diagonal(tile)
        return tile

    def grid(self, number: int) -> Grid:
        return tiles(self.n, number, self.features.itemsize, self.p)

    def flat(self) -> Array:
        everything = slice(0, self.n)
        return self.features.xp.reshape(self.piece((everything, everything)), (-1,))


class Batches:
    """Matrices of consecutive batches, side by side.

    The products of a batch of m samples count 1 / (m - 3), so that their sum over batches is Σ m · HSIC₁.
    """

    def __init__(self, features: Features, size: int, kernel: Callable[[Features], Kernel]) -> None:
        self.features, self.size, self.kernel = features, size, kernel
        self.n, self.p = features.n, features.p
        self.floor = 8 * eps(features.sizes) * float(to_float64(features.sizes).sum())

    def batches(self) -> list[slice]:
        return batches(self.n, self.size)

    def detach(self) -> None:
        self.features.detach()

    def grid(self, number: int) -> Grid:
        return [
            ((batch, where), weight / (batch.stop - batch.start - 3))
            for batch in self.batches()
            for where, weight in tiles(batch.stop - batch.start, number, self.features.itemsize, self.p)
        ]

    def piece(self, where: tuple[slice, tuple[slice, slice]]) -> Array:
        batch, place = where
        return self.kernel(self.features.part(batch)).piece(place)

    def flat(self) -> Array:
        parts = [(batch, self.kernel(self.features.part(batch)).flat()) for batch in self.batches()]
        return self.features.xp.concat([part / (batch.stop - batch.start - 3) ** 0.5 for batch, part in parts])


class Vector(NamedTuple):
    """A matrix that is written out whole, each number that counts once."""

    values: Array
    floor: float

    @property
    def p(self) -> int:
        return 0  # nothing is computed

    def detach(self) -> None:
        """Do nothing: its numbers are all there is."""

    def grid(self, number: int) -> Grid:
        return [
            (piece, 1.0)
            for piece in split_range(self.values.shape[0], cost.columns_within(number, 1, self.values.dtype.itemsize))
        ]

    def piece(self, where: slice) -> Array:
        return self.values[where]

    def flat(self) -> Array:
        return self.values


def median_distance(features: Features, whole: Array | None, *, diagonal: bool) -> float:
    """Return the median of all squared distances between samples, each pair in both orders.

    diagonal: whether the distances of samples to themselves, which are 0, count.

    The median is exact. Without the whole matrix it is found in passes over the tiles. Each pass narrows the bit
    patterns of the two middle numbers by 16 bits (bit patterns sort as the numbers do, since none is negative), so
    float32 takes two passes.
    """
    n = features.n
    many = n * n if diagonal else n * (n - 1)
    # ranks among the entries off the diagonal; -1 is an entry of the diagonal
    ranks = [max(rank - n if diagonal else rank, -1) for rank in ((many - 1) // 2, many // 2)]
    ranks = [rank // 2 for rank in ranks]  # each pair once
    if whole is not None:
        values = to_numpy(whole)[np.tri(n, k=-1, dtype=bool)]
        values.partition([max(rank, 0) for rank in ranks])
    # the two ranks are mostly the same, so no number is searched twice
    found = {
        rank: 0.0 if rank < 0 else _number_at_rank(features, rank) if whole is None else float(values[rank])
        for rank in set(ranks)
    }
    return sum(found[rank] for rank in ranks) / 2


def _number_at_rank(features: Features, rank: int) -> float:
    """Return the number with this rank among the squared distances above the diagonal."""
    kind = np.dtype(f"uint{8 * features.itemsize}")
    found, fixed = 0, 0  # the leading bits found so far, and how many
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
    """Split 0 to n into batches of `size`; a last one of fewer than 4 joins the one before."""
    found = split_range(n, size)
    if len(found) > 1 and n - found[-1].start < 4:
        found[-2:] = [slice(found[-2].start, n)]
    return found


def tiles(n: int, number: int, itemsize: int, p: int) -> Grid:
    """Return the tiles of the upper part of an n × n matrix, with how often each counts.

    Squares on the diagonal count once, tiles to the right of them twice, for the lower part.
    """
    wide = cost.columns_within(number, ROWS, itemsize, p)
    grid: list[tuple[Any, float]] = []
    for rows in split_range(n, ROWS):
        grid.append(((rows, rows), 1.0))
        grid += [((rows, slice(i, min(i + wide, n))), 2.0) for i in range(rows.stop, n, wide)]
    return grid
