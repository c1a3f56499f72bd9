"""Tables of values in which the samples of one side are permuted, the same way in every cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from repsim_nb.measures import Measure
from repsim_nb.measures.arrays import eps, split_range
from repsim_nb.measures.cost import MATRIX_BYTES
from repsim_nb.support.rdms import RDM
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import Workers, check_stopped

from .permutations import reorder, rounding_between
from .results import ROUNDING

_ENTRIES = 20_000  # of a matrix that are gathered at a time: with all columns they fit into the cache of a core
_ORDERS = 8  # between two looks at whether to stop


def tables_of_orders(
    measure: Measure,
    left: Sequence[Any],
    right: Sequence[Any],
    orders: np.ndarray,
    run: Workers,
    tick: Callable[[int, int], None],
) -> tuple[np.ndarray, float]:
    """Return the values of all pairs for each order of the samples of the right side, and their rounding.

    Parameters
    ----------
    left, right : sequence of array (n, ...)
        The rows and the columns of the table.
    orders : int array (K, n)
        The orders.
    run, tick
        The workers, and a function of what is done and the total.

    Returns
    -------
    array (K, rows, columns)
        The values.
    float
        Values that differ by less are equal.
    """
    try:
        measure.check_gram_matrix()
        products = all(not isinstance(x, RDM) or x.is_complete for x in (*left, *right))
    except NotImplementedError:
        products = False
    if not products:
        return _pair_by_pair(measure, left, right, orders, run, tick)
    return _by_products(measure, left, right, orders, run, tick)


def _by_products(
    measure: Measure,
    left: Sequence[Any],
    right: Sequence[Any],
    orders: np.ndarray,
    run: Workers,
    tick: Callable[[int, int], None],
) -> tuple[np.ndarray, float]:
    """Values are inner products of matrices of samples: each order is gathered once, for all cells."""
    n = orders.shape[1]
    values = np.zeros((len(orders), len(left), len(right)))
    room = max(1, MATRIX_BYTES // (4 * n * n))  # matrices of a side
    row_parts, column_parts = split_range(len(left), room), split_range(len(right), room)
    total, done, rounding = len(row_parts) * len(column_parts) * len(orders), 0, ROUNDING
    for columns in column_parts:
        matrices = [_matrix(measure, x) for x in right[columns]]
        flat = np.ascontiguousarray(np.stack(matrices, axis=-1)).reshape(n * n, len(matrices))
        for rows in row_parts:
            ours = [_matrix(measure, x) for x in left[rows]]
            rounding = max(rounding, 32 * max(eps(each) for each in (*matrices, *ours)))
            pieces = _half(np.stack(ours))

            def of_orders(part: slice, pieces: Any = pieces, flat: np.ndarray = flat) -> np.ndarray:
                check_stopped()
                found = np.zeros((part.stop - part.start, pieces[0][1].shape[0], flat.shape[1]))
                for start, piece, stop in pieces:
                    for k, order in enumerate(orders[part]):
                        cells = (order[start:stop, None] * n + order[None, start:]).ravel()
                        found[k] += piece @ flat.take(cells, axis=0)
                return found

            parts = split_range(len(orders), _ORDERS)
            for part, found in zip(parts, run(of_orders, parts), strict=True):
                values[part, rows, columns] = found
                done += len(found)
                tick(done, total)
    return values, rounding


def _matrix(measure: Measure, x: Any) -> np.ndarray:
    return to_numpy(measure.gram_matrix(measure.prepare(x)))


def _half(matrices: np.ndarray) -> list[tuple[int, np.ndarray, int]]:
    """Return the upper half of symmetric matrices (K, n, n) in blocks of rows: (start, entries (K, ...), stop).

    Entries right of a block count for those below it, too.
    """
    number, n, _ = matrices.shape
    height, blocks = max(1, _ENTRIES // n), []
    for start in range(0, n, height):
        stop = min(n, start + height)
        block = matrices[:, start:stop, start:].copy()
        block[:, :, stop - start :] *= 2
        blocks.append((start, block.reshape(number, -1), stop))
    return blocks


def _pair_by_pair(
    measure: Measure,
    left: Sequence[Any],
    right: Sequence[Any],
    orders: np.ndarray,
    run: Workers,
    tick: Callable[[int, int], None],
) -> tuple[np.ndarray, float]:
    """Any measure: each order is prepared once for each column."""
    ours, theirs = [measure.prepare(x) for x in left], [measure.prepare(y) for y in right]

    def of_order(order: np.ndarray) -> np.ndarray:
        check_stopped()
        permuted = [reorder(measure, b, y, order) for b, y in zip(theirs, right, strict=True)]
        return np.array([[measure.pair(a, b) for b in permuted] for a in ours])

    values = []
    for found in run(of_order, list(orders)):
        values.append(found)
        tick(len(values), len(orders))
    return np.stack(values), max(
        *(rounding_between(x, right[0]) for x in left), *(rounding_between(left[0], y) for y in right)
    )
