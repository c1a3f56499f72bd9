"""All pairs of representations: the table of a measure, pair by pair, with the reason for each cell without a value."""

from __future__ import annotations

import functools
import math
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.scratch import open_scratch
from repsim_nb.support.transport import CACHE_BYTES, Deferred, has_address
from repsim_nb.support.workers import Workers

from .cost import rate

if TYPE_CHECKING:
    from .base import Measure
    from .moments import Sums

Cell = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Table:
    """Values of all pairs; `Measure.table` returns it.

    Attributes
    ----------
    values : array (rows, columns)
        In float64; NaN if a cell has no value.
    undefined : {(row, column): str}
        The reason of each cell without a value.
    moments : {(side, row or column): Sums}
        The sums of the matrices of `gram_matrix`, if they were requested; side 0 are rows, side 1 columns.

    Examples
    --------
    >>> x, flat = np.random.default_rng(0).normal(size=(20, 4)), np.ones((20, 4))
    >>> table = rs.measures.get("cka").table({"x": x, "flat": flat}, on_undefined="mask")
    >>> table.values[0].round(2), table.undefined[0, 1]
    (array([ 1., nan]), "cka of 'flat': it is constant: all 20 samples have the same activations")
    """

    values: np.ndarray
    undefined: dict[Cell, str] = field(default_factory=dict)
    moments: dict[Cell, Sums] = field(default_factory=dict)


class Job(NamedTuple):
    """How a table is computed.

    Attributes
    ----------
    run : Workers
        The workers that compute.
    tick : function(done, total)
        Called during the work.
    scratch : Path or None
        A folder for prepared values.
    reasons : Reasons
        Collects the reasons of undefined cells.
    moments : dict or None
        Collects the moments, if they were requested.
    """

    run: Workers
    tick: Callable[[int, int], None]
    scratch: Path | None
    reasons: Reasons
    moments: dict[Cell, Sums] | None

    def open_scratch(self) -> AbstractContextManager[Callable[[Any], Any]]:
        """Open the files for prepared values, while a table is computed."""
        # for other processes even small arrays are better in a file than in every message
        return open_scratch(self.scratch, 2**14 if self.run.separate_memory else 2**20)

    def prepare(
        self,
        prepare: Callable[[Array], Any],
        xs: list[Array],
        side: int,
        steps: tuple[int, int],
        store: Callable[[Any], Any],
    ) -> list[Any]:
        """Prepare each representation; an UndefinedError becomes the value and is noted as a reason.

        steps: the number of steps done before, and of all steps.
        """
        values: list[Any] = []
        done, total = steps
        found = self.run(
            functools.partial(_prepare, prepare, store), xs, idle=lambda: self.tick(done + len(values), total)
        )
        for value in found:
            if isinstance(value, UndefinedError):
                self.reasons.add_representation(side, len(values), value)
            values.append(value)
            self.tick(done + len(values), total)
        return values

    def defer(self, prepares: Sequence[Callable[[Array], Any]], sides: list[list[Array]]) -> list[list[Any]]:
        """Return values that are prepared later, in the processes that need them."""
        table = uuid.uuid4().hex  # a value that another table cached is not reused, since the file may have changed
        return [
            [Deferred(functools.partial(_try, prepares[side]), x, (table, side, i)) for i, x in enumerate(xs)]
            for side, xs in enumerate(sides)
        ]


class Reasons:
    """The reasons of cells without a value. Unless they are masked, the first reason is raised."""

    def __init__(self, measure: Measure, rows: list[Any], columns: list[Any], *, mask: bool) -> None:
        self.measure, self.labels, self.mask = measure, (rows, columns), mask
        self.bad: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self.cells: dict[Cell, str] = {}

    def add_representation(self, side: int, i: int, error: UndefinedError) -> None:
        """Note that no cell of this row (side 0) or column (side 1) has a value."""
        self.bad[side][i] = self._sentence(f"'{format_label(self.labels[side][i])}'", error)

    def add_pair(self, i: int, j: int, error: UndefinedError) -> None:
        """Note that this cell has no value."""
        labels = f"'{format_label(self.labels[0][i])}' and '{format_label(self.labels[1][j])}'"
        self.cells[i, j] = self._sentence(labels, error)

    def _sentence(self, labels: str, error: UndefinedError) -> str:
        sentence = f"{self.measure} of {labels}: {error}"
        if not self.mask:
            raise type(error)(sentence) from error
        return sentence

    def fill(self, values: np.ndarray, *, mirrored: bool) -> dict[Cell, str]:
        """Return the reason of every cell without a value, and set the cell to NaN.

        A measure that returned NaN or infinity gave no reason: the value is the reason.
        """
        undefined: dict[Cell, str] = {}
        rows, columns = self.bad[0], self.bad[0] if mirrored else self.bad[1]
        for i, j in np.argwhere(~np.isfinite(values)).tolist():
            why = rows.get(i) or columns.get(j) or self.cells.get((i, j)) or (mirrored and self.cells.get((j, i)))
            if not why:
                self.add_pair(i, j, UndefinedError(f"the measure returned {values[i, j]}"))
                why = self.cells[i, j]
            undefined[i, j] = why
            values[i, j] = np.nan
        return undefined


def round_into_range(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return values; those outside the range of a measure by rounding alone (less than 1e-12) are its end.

    Otherwise arccos or sqrt of a value would be NaN. Values further outside stay, since they show that something is
    wrong.
    """
    values = np.where((values < low) & (values > low - 1e-12), low, values)
    return np.where((values > high) & (values < high + 1e-12), high, values)


def round_pairs(cls: type[Measure]) -> None:
    """Let `pair` and `pair_both` of this class round their values as a table does, so that all ways agree."""
    for name in {"pair", "pair_both"} & vars(cls).keys():
        setattr(cls, name, _with_rounding(vars(cls)[name]))


def _with_rounding(method: Callable[[Measure, Any, Any], Any]) -> Callable[[Measure, Any, Any], Any]:
    @functools.wraps(method)
    def rounded(self: Measure, a: Any, b: Any) -> Any:
        low, high = self.range
        found = method(self, a, b)
        if isinstance(found, tuple):
            return tuple(_round_one(value, low, high) for value in found)
        return _round_one(found, low, high)

    return rounded


def _round_one(value: float, low: float, high: float) -> float:
    return value if low <= value <= high else float(round_into_range(np.asarray(value), low, high))


def pair_by_pair(
    measure: Measure,
    xs: list[Array],
    ys: list[Array] | None,
    job: Job,
    prepares: Sequence[Callable[[Array], Any]] | None = None,
) -> np.ndarray:
    """Compute a table of checked arrays: prepare each representation, then compute every pair.

    prepares: the functions that prepare xs and ys, if they are not the same.
    """
    mirrored = ys is None
    prepares = prepares or (measure.prepare, measure.prepare)
    sides = [xs] if ys is None else [xs, ys]
    cells = [(i, j) for i in range(len(xs)) for j in range(i if mirrored else 0, len(sides[-1]))]
    before = sum(map(len, sides))
    steps = before + len(cells)
    with job.open_scratch() as store:
        if job.run.separate_memory and job.scratch is None and all(has_address(x) for side in sides for x in side):
            # with a scratch folder all can read what one has prepared
            prepared = job.defer(prepares, sides)
            job.tick(before, steps)
        else:
            prepared = [job.prepare(prepares[k], side, k, (k * len(xs), steps), store) for k, side in enumerate(sides)]
        left, right = prepared[0], prepared[-1]
        cells = [
            (i, j)
            for i, j in cells
            if not isinstance(left[i], UndefinedError) and not isinstance(right[j], UndefinedError)
        ]
        values = np.full((len(left), len(right)), np.nan)
        bundles = (
            square_blocks(measure, cells, xs, ys, job.run.number)
            if job.run.separate_memory
            else job.run.bundles(cells, size=_pairs_at_once(measure, xs, ys))
        )
        done = steps - len(cells)
        tasks = zip(*(_gather(left, right, bundle) for bundle in bundles), strict=True) if bundles else ((), ())
        pairs = functools.partial(_pairs, measure.pair_both if mirrored else measure.pair)
        results = job.run(pairs, *tasks, idle=lambda: job.tick(done, steps))
        for bundle, found in zip(bundles, results, strict=True):
            for (i, j), value in zip(bundle, found, strict=True):
                if isinstance(value, _Unprepared):
                    job.reasons.add_representation(0 if mirrored else value.side, (i, j)[value.side], value.error)
                elif isinstance(value, UndefinedError):
                    job.reasons.add_pair(i, j, value)
                elif mirrored:
                    values[i, j], values[j, i] = value
                else:
                    values[i, j] = value
            done += len(bundle)
            job.tick(done, steps)
    return values


def square_blocks(
    measure: Measure, cells: list[Cell], xs: Sequence[Array], ys: Sequence[Array] | None, number: int
) -> list[list[Cell]]:
    """Group cells in squares, about four for each worker.

    A square needs the fewest prepared values for its number of pairs. It is no larger than the cache of a process.
    """
    one = measure.prepared_bytes(xs[0].shape[0], max(math.prod(x.shape[1:]) for x in (*xs, *(ys or ()))), 8)
    # a column of the square, and the row at work
    fit = len(cells) if math.isnan(one) else CACHE_BYTES // max(one, 1) - 1
    side = int(max(1, min(fit, (len(cells) / (4 * number)) ** 0.5)))
    squares: dict[Cell, list[Cell]] = {}
    for i, j in cells:
        squares.setdefault((i // side, j // side), []).append((i, j))
    return list(squares.values())


def _pairs_at_once(measure: Measure, xs: list[Array], ys: list[Array] | None) -> int:
    """Return how many pairs take at most a twentieth of a second: worth a call, and short enough to stop after."""
    n = xs[0].shape[0] if xs[0].ndim else 0
    p, q = (max(math.prod(x.shape[1:]) for x in side) for side in (xs, ys or xs))
    one = measure.pair_flops(n, p, q) / rate()
    return 1 if math.isnan(one) else int(min(max(0.05 / max(one, 1e-6), 1), 4096))


def _try(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of a call, or its UndefinedError: as a value, since it must come back from another process."""
    try:
        return function(*arguments)
    except UndefinedError as error:
        return error


def _prepare(function: Callable[[Array], Any], store: Callable[[Any], Any], x: Array) -> Any:
    """Prepare one representation, and store the value where it was computed."""
    return store(_try(function, x))


class _Unprepared(NamedTuple):
    """The UndefinedError of one side of a pair (0 or 1)."""

    side: int
    error: UndefinedError


def _gather(left: list[Any], right: list[Any], cells: list[Cell]) -> tuple[list[Any], list[Cell]]:
    """Return the values that these cells need, each once, and the cells as places in that list.

    So each value is sent once, and both sides of a pair with itself are the same object.
    """
    other = int(right is not left)
    needed = dict.fromkeys([(0, i) for i, _ in cells] + [(other, j) for _, j in cells])
    place = {name: k for k, name in enumerate(needed)}
    return [(left, right)[side][i] for side, i in needed], [(place[0, i], place[other, j]) for i, j in cells]


def _pairs(pair: Callable[[Any, Any], Any], prepared: list[Any], cells: list[Cell]) -> list[Any]:
    """Compute a bundle of pairs; one without a value gives its UndefinedError, or _Unprepared."""
    return [_one_pair(pair, prepared[i], prepared[j]) for i, j in cells]


def _one_pair(pair: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """Compute one pair, after preparing the sides that were deferred."""
    x = a.value() if isinstance(a, Deferred) else a
    y = x if a is b else b.value() if isinstance(b, Deferred) else b
    for side, value in enumerate((x, y)):
        if isinstance(value, UndefinedError):
            return _Unprepared(side, value)
    return _try(pair, x, y)
