"""RSA of resampled samples: weights of pairs in the place of larger matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from repsim_nb.measures import RSA, Measure
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.validation import to_numpy

NOTHING = 1e-12  # the fraction of a sum of squares below which what is left is rounding


def can_resample(measure: Measure) -> bool:
    """Return whether samples can be drawn with replacement: whether the measure leaves out pairs of copies."""
    return isinstance(measure, RSA) and not measure.diagonal and measure.second in ("spearman", "pearson", "cosine")


class ResampledRSA:
    """The values of all pairs of K representations, for samples that were drawn with replacement.

    A pair of samples of which one was drawn a times and the other b times counts a · b times, and a sample with its own
    copies never. So the ranks of a resample are sums of these weights in an order that is found once.
    """

    def __init__(self, measure: RSA, sides: Sequence[Any], n: int) -> None:
        self.second, self._pairs = measure.second, np.tril_indices(n, -1)
        vectors = [measure.prepare(side) for side in sides]
        if not all(hasattr(vector, "shape") for vector in vectors):
            raise UndefinedError("an RDM with missing pairs cannot be resampled: use samples whose pairs are all known")
        self._x = np.stack([to_numpy(vector).astype(float) for vector in vectors])
        if self.second == "spearman":
            many = self._x.shape[1]
            self._order = np.argsort(self._x, axis=1, kind="stable")
            ordered = np.take_along_axis(self._x, self._order, axis=1)
            rows = np.arange(len(ordered))[:, None] * (many + 1)
            # where the tie of each number begins and ends, in sums of weights that are laid out in one vector
            ends = [
                np.stack([np.searchsorted(its, x, side) for its, x in zip(ordered, self._x, strict=True)])
                for side in ("left", "right")
            ]
            self._low, self._high = (end + rows for end in ends)
            self._sums = np.zeros((len(ordered), many + 1))

    def values(self, counts: np.ndarray) -> np.ndarray:
        """Return the table of values (K, K), if sample i was drawn counts[i] times; NaN if one is undefined."""
        first, second = self._pairs
        weights = (counts[first] * counts[second]).astype(float)
        drawn = np.flatnonzero(weights)
        total = float(weights.sum())
        if len(drawn) < 3:
            return np.full((len(self._x), len(self._x)), np.nan)
        if self.second == "spearman":
            np.cumsum(weights[self._order], axis=1, out=self._sums[:, 1:])
            flat = self._sums.ravel()
            x = flat.take(self._low.take(drawn, axis=1))
            x += flat.take(self._high.take(drawn, axis=1))
            x -= total  # twice the centred ranks
            weights, size = weights[drawn], np.full(len(x), total**3)
        else:
            x, weights = self._x.take(drawn, axis=1), weights[drawn]
            size = (x * x) @ weights
            if self.second == "pearson":
                x -= (x @ weights / total)[:, None]
        products = (x * weights) @ x.T
        own = products.diagonal()
        lengths = np.sqrt(np.where(own > NOTHING * size, own, np.nan))
        found: np.ndarray = products / np.outer(lengths, lengths)
        return found
