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
    room = max(1, int(MATRIX_BYTES / 2 // (8 * n * n)))
    found: dict[tuple[int, int], Count] = {}
    rows, columns = (sorted({cell[axis] for cell in cells}) for axis in (0, 1))
    for some in (rows[part] for part in split_range(len(rows), room)):
        squares = {i: measure.gram_matrix(measure.prepare(left[i])).ravel() for i in some}
        for others in (columns[part] for part in split_range(len(columns), room)):
            block = {cell: value for cell, value in cells.items() if cell[0] in squares and cell[1] in others}
            if block:
                matrices = {
                    j: (
                        squares[j].reshape(n, n)
                        if right is left and j in squares
                        else measure.gram_matrix(measure.prepare(right[j]))
                    )
                    for j in others
                }
                found.update(
                    _block(
                        squares,
                        matrices,
                        block,
                        n_permutations,
                        generator_of(seed),
                        run,
                        lambda: tick(len(found), len(cells)),
                    )
                )
            tick(len(found), len(cells))
    return found


def _block(
    squares: Mapping[int, np.ndarray],
    matrices: Mapping[int, np.ndarray],
    cells: Mapping[tuple[int, int], float],
    many: int,
    rng: np.random.Generator,
    run: Workers,
    idle: Callable[[], None],
) -> dict[tuple[int, int], Count]:
    """Run `count_p_values` for matrices that are all in memory."""
    n = len(next(iter(matrices.values())))
    rounding = 32 * max(eps(next(iter(squares.values()))), eps(next(iter(matrices.values()))))
    hits, drawn = dict.fromkeys(cells, 0), 0
    found: dict[tuple[int, int], Count] = {}
    least = max(1 / (many + 1), one_order(n))
    while drawn < many and len(found) < len(cells):
        orders = [rng.permutation(n) for _ in range(min(max(1, _STACKED // (n * n)), many - drawn))]
        alive: dict[int, list[int]] = {}
        for i, j in cells:
            if (i, j) not in found:
                alive.setdefault(j, []).append(i)

        def values(j: int, orders: list[np.ndarray] = orders, alive: dict[int, list[int]] = alive) -> np.ndarray:
            check_stopped()
            stacked = np.stack([permute_matrix(matrices[j], order).ravel() for order in orders])
            return np.stack([stacked @ squares[i] for i in alive[j]])

        for (j, some), block in zip(alive.items(), run(values, list(alive), idle=idle), strict=True):
            for i, of_orders in zip(some, block, strict=True):
                extreme = np.flatnonzero(of_orders >= cells[i, j] - rounding)
                needed = HITS - hits[i, j]
                if len(extreme) >= needed:
                    found[i, j] = Count(max(HITS / (drawn + int(extreme[needed - 1]) + 1), least), least)
                hits[i, j] += len(extreme)
        drawn += len(orders)
    return {cell: found.get(cell) or Count(max((1 + hits[cell]) / (many + 1), least), least) for cell in cells}
