"""The search of nearest neighbours in blocks of rows: who they are, and which rank each has.

Samples that are tied at the k-th place are neighbours with the weight (k - number closer) / number tied. It is the
probability of being a neighbour if chance chooses among the tied, independently on each side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import array_api_compat
import numpy as np
from scipy import sparse

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import check_stopped

BLOCK = 2**20  # numbers held at a time: with 50,000 samples, 20 rows of the matrix of all pairs


class Neighbours(NamedTuple):
    """The k nearest neighbours of every sample, with weights for ties.

    Without ties every sample has exactly k neighbours of weight 1.

    Attributes
    ----------
    starts : array (n + 1,)
        Where the neighbours of each sample start in `others`.
    others : array (m,)
        Neighbours as sample numbers, increasing for each sample.
    tied : bool array (m,)
        Which neighbours are tied at the k-th place of their sample.
    weight : array (n,)
        The weight of the tied neighbours of each sample: (k - number closer) / number tied.
    """

    starts: np.ndarray
    others: np.ndarray
    tied: np.ndarray
    weight: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """The weight of each neighbour in `others`."""
        return np.where(self.tied, np.repeat(self.weight, np.diff(self.starts)), 1.0)

    def plain(self, k: int) -> np.ndarray | None:
        """Return `others` as (n, k) if no weight is a fraction, else None."""
        n = len(self.weight)
        return self.others.reshape(n, k) if len(self.others) == n * k else None

    def matrix(self) -> sparse.csr_matrix:
        """Return the weights as a sparse matrix (n, n)."""
        n = len(self.weight)
        return sparse.csr_matrix((self.weights, self.others, self.starts), shape=(n, n))

    def permuted(self, order: np.ndarray) -> Neighbours:
        """Return the neighbours of x[order]; weights move with their samples."""
        starts, others, places = permute_lists(self.starts, self.others, order)
        return Neighbours(starts, others, self.tied[places], self.weight[order])


class Space(NamedTuple):
    """Samples in which neighbours are searched: near samples have a large ⟨x_i, x_j⟩ - offset_j.

    Attributes
    ----------
    x : array (n, p)
        The samples.
    rounding : function(rows, values)
        By how much each of these values (rows, n) may be rounding, when compared with others of its row.
    most : array (n,)
        An upper bound of `rounding` for each row.
    offset : array (n,) or float
        What is subtracted from each column.
    groups : int array (n,), optional
        Samples with the same number are not neighbours of each other.
    """

    x: Array
    rounding: Callable[[np.ndarray, np.ndarray], np.ndarray]
    most: np.ndarray
    offset: Array | float = 0.0
    groups: np.ndarray | None = None

    def blocks(self) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield (start, stop, values of these rows with all samples); no sample is near itself, or one of its group.

        Rows come in blocks, so that the matrix of all pairs is never in memory.
        """
        n = self.x.shape[0]
        step = max(1, BLOCK // n)
        for start in range(0, n, step):
            check_stopped()
            stop = min(start + step, n)
            block = np.array(to_numpy(self.x[start:stop] @ self.x.T - self.offset))
            block[np.arange(stop - start), np.arange(start, stop)] = -np.inf
            if self.groups is not None:
                block[self.groups[start:stop, None] == self.groups] = -np.inf
            yield start, stop, block

    def slack(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return `rounding`; that of a sample with itself does not matter."""
        return self.rounding(rows, np.where(np.isfinite(values), values, 0))


def find_nearest(space: Space, k: int) -> tuple[Neighbours, np.ndarray]:
    """Find the k others with the largest value for each sample; return `Neighbours` and the values of its `others`."""
    n = space.x.shape[0]
    others, values, tied, counts, weight = [], [], [], np.full(n, k, dtype=np.int64), np.ones(n)
    for start, stop, block in space.blocks():

        def slack(some: np.ndarray, start: int = start, block: np.ndarray = block) -> np.ndarray:
            return space.slack(start + some, block[some])

        near, some_tied, weight[start:stop] = shared_places(block, k, slack, space.most[start:stop, None])
        counts[start:stop] = near.sum(axis=1)
        others.append(np.nonzero(near)[1].astype(np.int32))
        values.append(block[near])
        tied.append(some_tied[near])
    return Neighbours(
        np.concatenate([[0], np.cumsum(counts)]), np.concatenate(others), np.concatenate(tied), weight
    ), np.concatenate(values)


def find_ranks(space: Space, starts: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the ranks of samples by nearness to others: 1 is the nearest.

    Parameters
    ----------
    space : Space
        The samples.
    starts : array (n + 1,)
        Where the samples that are asked for start in `others`, for each sample.
    others : array (m,)
        Sample numbers.

    Returns
    -------
    first, last : int arrays (m,)
        The first and the last rank of those that are tied with the sample; both are its rank if none is.
    """
    first, last = np.empty((2, len(others)), dtype=np.int64)
    for start, stop, block in space.blocks():
        slack = space.slack(np.arange(start, stop), block)
        for row, values in enumerate(block):
            part = slice(starts[start + row], starts[start + row + 1])
            asked, width, ordered = values[others[part]], slack[row][others[part]], np.sort(values)
            first[part] = len(values) - np.searchsorted(ordered, asked + width, side="right") + 1
            last[part] = len(values) - np.searchsorted(ordered, asked - width, side="left")
    return first, last


def row_lengths(x: Array) -> np.ndarray:
    """Return the length of each row (n,)."""
    return np.linalg.norm(to_numpy(x), axis=1)


def about_median(x: Array) -> Array:
    """Subtract the median of each feature: a single far sample does not move it, so all others keep their digits."""
    xp = array_api_compat.array_namespace(x)
    return x - xp.asarray(np.median(to_numpy(x), axis=0), device=array_api_compat.device(x))


def places_of(order: np.ndarray) -> np.ndarray:
    """Return the place of each sample in x[order]."""
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return places


def permute_lists(
    starts: np.ndarray, others: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lists of neighbours for x[order], each increasing, and the place that every neighbour had in `others`."""
    n = len(order)
    moved = sparse.csr_matrix((np.arange(len(others)), others, starts), shape=(n, n))[order][:, order]
    moved.sort_indices()
    return moved.indptr, moved.indices, moved.data


def search_flops(n: int, p: int) -> float:
    """Estimate the search of neighbours as flops of a matrix product that takes as long."""
    # the product in float64, and the selection of the k-th of every row
    return 4.0 * n * n * p + 800.0 * n * n


def shared_places(
    values: np.ndarray, k: int, slack: Callable[[np.ndarray], np.ndarray] | np.ndarray, most: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the k columns with the largest values of each row, and those that are tied at the k-th place.

    Parameters
    ----------
    values : array (rows, m)
        The values.
    k : int
        How many places there are.
    slack : array or function(rows)
        How much each value may be rounding; two are equal if they differ by at most the mean of both. A function is
        called for the rows in which a tie is possible.
    most : array (rows, 1), optional
        For a function: an upper bound for each row.

    Returns
    -------
    near, tied : bool array (rows, m)
        The k largest with all tied ones, and the tied ones. If there are no more than k, none is tied.
    weight : array (rows,)
        The weight of a tied one, (k - number larger) / number tied: the probability of a place if chance decides.
    """
    m = values.shape[1]
    if isinstance(slack, np.ndarray):
        whole = np.broadcast_to(slack, values.shape)
        most, slack = whole.max(axis=1, keepdims=True), whole.__getitem__
    kth = np.partition(values, m - k, axis=1)[:, m - k, None]
    near, weight = values >= kth - most, np.ones(len(values))
    tied = np.zeros_like(near)
    doubtful = np.flatnonzero(near.sum(axis=1) > k)
    if not len(doubtful):
        return near, tied, weight
    some, width = values[doubtful], slack(doubtful)
    at = np.argpartition(some, m - k, axis=1)[:, m - k, None]
    last = np.take_along_axis(some, at, axis=1)
    width = (width + np.take_along_axis(width, at, axis=1)) / 2
    near[doubtful] = some >= last - width
    for row, i in enumerate(doubtful):
        if near[i].sum() > k:
            tied[i] = near[i] & (values[i] <= last[row] + width[row])
            many = int(tied[i].sum())
            weight[i] = (k - (int(near[i].sum()) - many)) / many
    return near, tied, weight
