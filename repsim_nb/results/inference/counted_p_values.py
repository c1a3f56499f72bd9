"""p-values by counting random orders, for cells of a table in which a few samples outweigh all others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from repsim_nb.measures import Measure
from repsim_nb.measures.arrays import eps, permute_matrix, split_range
from repsim_nb.measures.cost import MATRIX_BYTES
from repsim_nb.measures.moments import Sums
from repsim_nb.support.seeds import generator_of
from repsim_nb.support.workers import Workers, check_stopped

from .results import one_order

FEW_ROWS = 30  # effective number of rows of a side, below which a few samples determine the tails
MEETING_ROWS = 0.01  # relative variance, over all orders, of the conditional variance of a value given which rows meet
MEETING_CELLS = 0.3  # the same of single entries: 2 n² (Σ a⁴ / (Σ a²)²) (Σ b⁴ / (Σ b²)²)
MOST, FEWEST = 9999, 199  # permutations
WORK = 2e12  # multiplications: about a minute, for all cells
HITS = 20  # orders as extreme as the value, after which counting ends: the p-value has an error of about a fifth
_STACKED = 2**24  # entries of permuted matrices at a time


def needs_counting(left: Sequence[Sums], right: Sequence[Sums]) -> np.ndarray:
    """Return for all pairs whether a curve of three moments has the wrong tails.

    It has if a few rows or entries outweigh the others, or if both sides have few different rows, so that values are
    few.
    """
    n = left[0].n
    rows, others = (np.array([s.rows for s in side]) for side in (left, right))
    cells = 2 * n * n * np.outer([s.cells for s in left], [s.cells for s in right])
    few = np.maximum(rows[:, None], others[None]) > 1 / FEW_ROWS
    discrete = np.logical_and.outer([2 * s.kinds <= n for s in left], [2 * s.kinds <= n for s in right])
    return few | discrete | (n * np.outer(rows - 1 / n, others - 1 / n) > MEETING_ROWS) | (cells > MEETING_CELLS)


def permutations_for(cells: int, n: int) -> int:
    """Return the number of permutations for each cell, so that all take about a minute; from 199 to 9,999."""
    return int(np.clip(WORK / (2.0 * n * n * max(cells, 1)), FEWEST, MOST))


class Count(NamedTuple):
    """A p-value, and the smallest one that the permutations support: if they are equal, it is an upper bound."""

    p_value: float
    least: float


def count_p_values(
    measure: Measure,
    left: Sequence[Any],
    right: Sequence[Any],
    cells: Mapping[tuple[int, int], float],
    n_permutations: int,
    seed: int,
    run: Workers,
    tick: Callable[[int, int], None],
) -> dict[tuple[int, int], Count]:
    """Return for each of these cells, {(row, column): value}, how often a random order gives that value or more.

    All cells use the same orders. Counting for a cell ends at the 20th order that is as extreme, and p is 20 over the
    number of orders so far (Besag, Clifford 1991).
    """
    n = len(left[0])
    found: dict[tuple[int, int], Count] = {}
    rows = sorted({i for i, _ in cells})
    for part in split_range(len(rows), int(MATRIX_BYTES / 2 // (8 * n * n))):
        squares = {i: measure.gram_matrix(measure.prepare(left[i])).ravel() for i in rows[part]}
        columns = sorted({j for i, j in cells if i in squares})

        def of_column(j: int, squares: dict[int, np.ndarray] = squares) -> dict[int, Count]:
            matrix = measure.gram_matrix(measure.prepare(right[j]))
            return _count(squares, matrix, {i: cells[i, j] for i in squares if (i, j) in cells}, n_permutations, seed)

        for j, counts in zip(columns, run(of_column, columns, idle=lambda: tick(len(found), len(cells))), strict=True):
            found.update({(i, j): count for i, count in counts.items()})
            tick(len(found), len(cells))
    return found


def _count(
    squares: Mapping[int, np.ndarray], matrix: np.ndarray, values: Mapping[int, float], many: int, seed: int
) -> dict[int, Count]:
    """Run `count_p_values` for some rows, {row: value}, of one column."""
    n, rng, drawn = len(matrix), generator_of(seed), 0
    rounding = 32 * max(eps(next(iter(squares.values()))), eps(matrix))
    hits = dict.fromkeys(values, 0)
    found: dict[int, Count] = {}
    least = max(1 / (many + 1), one_order(n))
    while drawn < many and len(found) < len(values):
        check_stopped()
        orders = [rng.permutation(n) for _ in range(min(max(1, _STACKED // (n * n)), many - drawn))]
        permuted = np.stack([permute_matrix(matrix, order).ravel() for order in orders])
        for i in values.keys() - found.keys():
            extreme = np.flatnonzero(permuted @ squares[i] >= values[i] - rounding)
            needed = HITS - hits[i]
            if len(extreme) >= needed:
                found[i] = Count(max(HITS / (drawn + int(extreme[needed - 1]) + 1), least), least)
            hits[i] += len(extreme)
        drawn += len(orders)
    return {i: found.get(i) or Count(max((1 + hits[i]) / (many + 1), least), least) for i in values}
