"""A representation as the engine reads it: checked in one pass, then read by rows, centred and scaled."""

from __future__ import annotations

import math
import uuid
from typing import Any

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.rdms import RDM
from repsim_nb.support.transport import Deferred, has_address, pack, unpack
from repsim_nb.support.validation import check_shape, not_finite_error
from repsim_nb.support.workers import check_stopped

from . import cost
from .arrays import split_range
from .distances import squared_distances


class Features:
    """A representation, checked in one pass and read by rows: centred in float64, scaled so that nothing overflows.

    x may be memory-mapped: only some rows are in memory at a time, unless `hold` was called.
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
        # the mean in the precision of the work, and the rest that this precision lacks
        self._centre: Any = (short, self.xp.astype(mean - self.xp.astype(short, self.xp.float64), self.dtype))
        self.itemsize = short.dtype.itemsize
        self._scale = float(self.xp.max(self.xp.maximum(high - short, short - low)))
        if not 0 < self._scale < math.inf:
            raise UndefinedError(
                "it is constant within the precision of its numbers"
                if self._scale == 0
                else "its values are too far apart for their precision"
            )

    def blocks(self) -> list[slice]:
        """Split the rows into runs of about a million numbers each."""
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
        """Keep all rows, centred and scaled, in memory: for representations that are read often."""
        if self._held is None:
            self._held = self[slice(0, self.n)]

    def detach(self) -> None:
        """Leave the means of the features to each process that needs them, since each reads all rows."""
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

    def gram(self, rows: slice, columns: slice) -> Array:
        """Return inner products of samples."""
        some = self[rows]
        others = some if rows == columns else self[columns]  # the same array on both sides is half the work
        return some @ others.T

    def distances(self, rows: slice, columns: slice) -> Array:
        """Return squared distances of samples; exactly 0 from a sample to itself and to its copies."""
        some = self._x[rows]
        others = some if rows == columns else self._x[columns]
        return squared_distances(
            self.gram(rows, columns), self.sizes[rows], self.sizes[columns], some, others, self._scale
        )

    def all_distances(self, number: int) -> Array | None:
        """Return the squared distances of all samples (n, n), or None if `number` of them do not fit in memory."""
        if number * self.n**2 * self.itemsize > cost.MATRIX_BYTES:
            return None
        return self.distances(slice(0, self.n), slice(0, self.n))

    def part(self, rows: slice) -> Features:
        """Return some of the samples as a representation, centred again."""
        block = self[rows]
        mean = self.xp.sum(block, axis=0, dtype=self.xp.float64) / block.shape[0]
        part = object.__new__(Features)
        part.xp, part.dtype, (part.n, part.p), part._sizes = self.xp, self.dtype, block.shape, None
        part.itemsize, part._held = self.itemsize, block - self.xp.astype(mean, self.dtype)
        part._x, part._scale = self._x[rows], self._scale
        return part

    def __getstate__(self) -> dict[str, Any]:
        """Leave out arrays of n numbers: the other process computes them again when it reads the rows."""
        return {
            **{k: v for k, v in vars(self).items() if k != "xp"},
            "_x": pack(self._x),
            "_held": None,
            "_sizes": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _x=unpack(state["_x"]))
        self.xp = array_api_compat.array_namespace(self._x)


class Distances(Features):
    """An RDM as the engine reads it: squared distances, and the inner products that belong to them.

    The products are -1/2 J D J, with D the squared distances and J the matrix that subtracts the mean: those of the
    centred features, if the RDM has Euclidean distances of features. Its rows are not features, so it is never read by
    rows.
    """

    def __init__(self, rdm: RDM, least: int) -> None:
        if len(rdm) < least:
            raise UndefinedError(f"at least {least} samples are needed; it has {len(rdm)}")
        self._rdm = rdm
        squared = rdm.distances(squared=True)
        self._scale = float(np.abs(squared).max())
        if self._scale == 0:
            raise UndefinedError(f"it is constant: all {len(rdm)} samples are at distance 0")
        self._fill(squared / self._scale, rdm.dtype)

    def _fill(self, squared: np.ndarray, dtype: Any) -> None:
        self.n, self.dtype, self.itemsize, self._sizes = len(squared), dtype, dtype.itemsize, None
        self.p = self.n  # as many features have such products
        self.xp, self._squared = array_api_compat.array_namespace(squared), squared
        means = squared.mean(axis=1)
        self._products = ((means[:, None] + means[None] - squared - means.mean()) / 2).astype(dtype)

    def hold(self) -> None:
        """Do nothing: all numbers are in memory."""

    def detach(self) -> None:
        """Do nothing: all numbers are sent."""

    @property
    def sizes(self) -> Array:
        return self._products.diagonal()

    def gram(self, rows: slice, columns: slice) -> Array:
        return self._products[rows, columns].copy()

    def distances(self, rows: slice, columns: slice) -> Array:
        if self._squared.min() < 0:
            self._rdm.distances()  # raises the error that names a pair, unless all are below 0 by rounding
        return np.maximum(self._squared[rows, columns], 0).astype(self.dtype)

    def part(self, rows: slice) -> Distances:
        part = object.__new__(Distances)
        part._rdm, part._scale = self._rdm, self._scale
        part._fill(self._squared[rows, rows], self.dtype)
        return part

    def __getitem__(self, rows: slice) -> Array:
        raise TypeError("an RDM has no features: this is a mistake of repsim_nb")

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "xp"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, xp=array_api_compat.array_namespace(state["_squared"]))


def open_features(x: Array, least: int) -> Features:
    """Return a representation as the engine reads it, from its features or from an RDM.

    least: the smallest legal number of samples.
    """
    return Distances(x, least) if isinstance(x, RDM) else Features(x, least)


def _centre_of(x: Array) -> tuple[Array, Array]:
    return Features(x, 1)._centre
