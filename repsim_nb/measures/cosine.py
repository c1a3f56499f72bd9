"""Measures that are the cosine between two sample-by-sample matrices.

Each matrix has a standard form in which the value of a pair is a cosine. A prepared representation is that form as one
unit vector of at most n² numbers, and a pair is one dot product. A table does not write the vectors out if the engine
can compute them tile by tile.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import Workers

from . import engine, moments
from .arrays import inner_product, normalize, permute_matrix
from .base import Measure
from .engine import Products
from .gram import MatrixSource, Vector
from .tables import Job

_NONE_WHOLE = 2**62  # as a number of representations: so many that no matrix is kept as a whole


class Cosine(Measure):
    """A measure that is the cosine between two matrices in standard form.

    A subclass defines the matrix (`_source`); the engine computes tables.
    """

    kind: ClassVar = "similarity"
    nothing: ClassVar[str] = (
        "all samples are equally far from one another, so nothing is left of its matrix once it is centred"
    )

    def _source(self, x: Array, number: int = 0) -> MatrixSource:
        """Return the matrix of one of `number` representations of a table; 0 is a single one, written out whole."""
        raise NotImplementedError(f"{type(self).__name__} defines no _source(x, number)")

    def _value(self, cosine: Any) -> Any:
        return cosine

    def prepare(self, x: Array) -> Array:
        # returns the matrix in standard form as one unit vector
        source = self._source(x)
        return normalize(source.flat(), self.nothing, source.floor)

    def pair(self, a: Array, b: Array) -> float:
        return float(self._value(inner_product(a, b)))

    def permute(self, a: Array, order: np.ndarray) -> Array:
        n = math.isqrt(a.shape[0])
        return array_api_compat.array_namespace(a).reshape(permute_matrix(a.reshape(n, n), order), (-1,))

    def gram_matrix(self, a: Array) -> np.ndarray:
        self.check_gram_matrix()
        n = math.isqrt(a.shape[0])
        return to_numpy(a).reshape(n, n)

    def check_gram_matrix(self) -> None:
        # passes: the standard form is such a matrix, except with some options of subclasses
        return

    def _sums(self, source: Any, number: int) -> moments.Sums:
        return (
            moments.sums_of(self.gram_matrix(source.values), overwrite=True)
            if isinstance(source, Vector)
            else moments.sums_of_kernel(source, number)
        )

    @property
    def _by_tiles(self) -> bool:
        """Whether any piece of the matrix can be computed when it is needed, without writing out the whole."""
        return True

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        sides = [xs] if ys is None else [xs, ys]
        number = sum(map(len, sides))
        if job.run.separate_memory and not self._by_tiles:
            return super()._table(xs, ys, job)  # a vector of n² numbers is too large to send
        steps = 5 * number  # a fifth of the steps is reading
        values = np.full((len(xs), len(sides[-1])), np.nan)
        with job.open_scratch() as store:
            source = functools.partial(self._source, number=_NONE_WHOLE if job.run.separate_memory else number)
            sources = [job.prepare(source, side, k, (k * len(xs), steps), store) for k, side in enumerate(sides)]
            which = [[i for i, s in enumerate(side) if not isinstance(s, UndefinedError)] for side in sources]
            if not all(which):
                return values
            good = [[side[i] for i in some] for side, some in zip(sources, which, strict=True)]
            if job.moments is not None:
                sums = functools.partial(self._sums, number=number)
                for k, side in enumerate(good):
                    found = job.run(sums, side, idle=lambda: job.tick(number, steps))
                    job.moments.update({(k, i): one for i, one in zip(which[k], found, strict=True)})
            between, *squares = self._products(
                good[0],
                None if ys is None else good[1],
                job.run,
                lambda fraction: job.tick(number + round(fraction * (steps - number)), steps),
            )
        lengths = []
        for k, side in enumerate(good):
            enough = squares[k] > np.array([s.floor for s in side]) ** 2
            for i in np.flatnonzero(~enough):
                job.reasons.add_representation(k, which[k][i], UndefinedError(self.nothing))
            lengths.append(np.sqrt(np.where(enough, squares[k], np.nan)))
        values[np.ix_(which[0], which[-1])] = self._value(between / np.outer(lengths[0], lengths[-1]))
        return values

    def _products(
        self,
        left: Sequence[MatrixSource],
        right: Sequence[MatrixSource] | None,
        run: Workers,
        tick: Callable[[float], None],
    ) -> Products:
        return engine.by_tiles(left, right, run, tick)
