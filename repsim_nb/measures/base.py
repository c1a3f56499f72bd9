"""What a measure is.

A measure is a frozen set of options with two methods: `prepare`, once per representation, and `pair`, once per pair of
prepared values. Everything else (checking, labelling, tables) is written here, once.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import array_api_compat
import numpy as np

from repsim_nb.support.containers import check_dimensions, is_array, to_array
from repsim_nb.support.errors import UndefinedError, format_label
from repsim_nb.support.ids import Names, compare_names, names_of
from repsim_nb.support.row_groups import check_groups
from repsim_nb.support.transport import CACHE_BYTES, Deferred, has_address
from repsim_nb.support.validation import Array
from repsim_nb.support.workers import SERIAL, Workers

from .cost import Cost, keeper, rate

TRANSFORMS = frozenset({"permutation", "orthogonal", "scaling", "translation", "linear"})
NO_LINEAR = TRANSFORMS - {"linear"}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A configured comparison of two representations of the same samples.

    A subclass is a frozen dataclass whose fields are its options. It says what it is in the class attributes below
    (properties, where an option decides) and defines `prepare` and `pair`.
    """

    kind: ClassVar[Literal["similarity", "dissimilarity"]]
    symmetric: ClassVar[bool] = True
    invariant_to: ClassVar[frozenset[str]] = frozenset()
    is_metric: ClassVar[bool] = False
    compares: ClassVar[Literal["activations", "outputs"]] = "activations"  # representational, or functional
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)  # for colour scales; estimators may leave it a little
    min_samples: ClassVar[int] = 3  # the fewest samples with which it says anything

    def prepare(self, x: Array) -> Any:
        """What this measure needs of one representation (samples, features); opaque to everyone else."""
        raise NotImplementedError(f"{type(self).__name__} defines no prepare(x)")

    def pair(self, a: Any, b: Any) -> float:
        """The value for two prepared representations; free of side effects."""
        raise NotImplementedError(f"{type(self).__name__} defines no pair(a, b)")

    def permute(self, a: Any, order: np.ndarray) -> Any:
        """A prepared value with its samples in another order: prepare(x[order]), but for rounding.

        NotImplementedError where only x can be reordered.
        """
        raise NotImplementedError(f"{self} cannot reorder the samples of what it prepared")

    def gram_matrix(self, a: Any) -> np.ndarray:
        """A prepared value as a symmetric matrix (n, n) of samples, reordered as they are, whose inner product with
        another's is the value of the
        pair. NotImplementedError where a value is none."""
        self.check_gram_matrix()
        raise NotImplementedError(f"{type(self).__name__} defines no gram_matrix(a)")

    @property
    def recentring(self) -> str | None:
        """How the matrix of `gram_matrix` is centred anew when samples are left out: "double", "unbiased" (U-centred) or
        "pairs" (their mean out). None where other entries change too.
        """
        return None

    def check_gram_matrix(self) -> None:
        """NotImplementedError where `gram_matrix` has no matrix to give, and says why."""
        raise NotImplementedError(f"a value of {self} is no inner product of two symmetric matrices of samples")

    @property
    def sample_data(self) -> Mapping[str, Any]:
        """What it holds of each sample itself, as sides whose rows must be those of the representations, {name: {label:
        array}}; nothing but for `deconfounded`.
        """
        return {}

    def select_rows(self, rows: Any) -> Measure:
        """The measure for these rows of the representations: itself, if it holds nothing of each sample."""
        return self

    def check_exchange(self) -> None:
        """ValueError if permuted samples of one side do not show what chance gives."""

    def pair_both(self, a: Any, b: Any) -> tuple[float, float]:
        """The values of (a, b) and of (b, a), where a table needs the two."""
        value = self.pair(a, b)
        return value, value if self.symmetric or a is b else self.pair(b, a)

    def dissimilarity(self, value: Any) -> Any:
        """A value (or an array of them) as a dissimilarity: 1 - s for a similarity, itself otherwise."""
        return 1 - value if self.kind == "similarity" else value

    def __call__(self, x: Array, y: Array) -> float:
        """The value for two arrays, tensors or frames (n, ...) of the same n samples in the same order."""
        check_sides({"x": {"x": x}, "y": {"y": y}}, self)
        return float(self.table(_labelled({"x": x}), _labelled({"y": y}))[0, 0])

    def table(
        self,
        xs: Mapping[Any, Array] | Sequence[Array],
        ys: Mapping[Any, Array] | Sequence[Array] | None = None,
        *,
        undefined: dict[tuple[int, int], str] | None = None,
        run: Workers = SERIAL,
        tick: Callable[[int, int], None] | None = None,
        scratch: Path | None = None,
        sums: dict[tuple[int, int], Any] | None = None,
    ) -> np.ndarray:
        """All pairs -> float64 (len(xs), len(ys)); without ys, of xs with itself.

        undefined: a dict to fill with {(row, column): reason}; those cells are NaN and the caller masks them. Without
        it the first undefined cell raises.  run: who does the work.  tick(done, total) is called along the way and may
        raise to stop.
        scratch: a folder for what is prepared, while the table is made.  sums: a dict to fill with {(0, row) or (1,
        column): `moments.Sums`} of the matrices that `gram_matrix` would give (without ys: of rows only); not between
        processes.
        """
        if sums is not None:
            self.check_gram_matrix()
        check_sides({"xs": xs} if ys is None else {"xs": xs, "ys": ys}, self)
        rows = _labelled(xs)
        columns = {} if ys is None else _labelled(ys)
        check_same_samples(rows, columns)
        rows, columns = to_one_library(rows, columns)
        job = Job(
            run,
            tick or (lambda done, total: None),
            scratch,
            Reasons(self, list(rows), list(columns) or list(rows), undefined),
            sums,
        )
        values = self._table(list(rows.values()), None if ys is None else list(columns.values()), job)
        job.reasons.fill(values, mirrored=ys is None)
        return values

    def _table(self, xs: list[Array], ys: list[Array] | None, job: Job) -> np.ndarray:
        """The work of `table` on checked arrays: prepare each, then every pair.

        A family that can do better overrides it.
        """
        mirrored = ys is None
        cells = [(i, j) for i in range(len(xs)) for j in range(i if mirrored else 0, len(xs if ys is None else ys))]
        steps = len(xs) + len(ys or ()) + len(cells)
        with job.keeper() as keep:
            left = job.prepared(self.prepare, xs, 0, 0, steps, keep, later=True)
            right = left if ys is None else job.prepared(self.prepare, ys, 1, len(xs), steps, keep, later=True)
            cells = [
                (i, j)
                for i, j in cells
                if not isinstance(left[i], UndefinedError) and not isinstance(right[j], UndefinedError)
            ]
            values = np.full((len(left), len(right)), np.nan)
            bundles = (
                self._blocks(cells, xs, ys, job.run.number)
                if job.run.separate_memory
                else job.run.bundles(cells, size=self._at_once(xs, ys))
            )
            done = steps - len(cells)
            tasks = zip(*(_gathered(left, right, bundle) for bundle in bundles), strict=True) if bundles else ((), ())
            found_in = job.run(
                _Pairs(self.pair_both if mirrored else self.pair), *tasks, idle=lambda: job.tick(done, steps)
            )
            for bundle, found in zip(bundles, found_in, strict=True):
                for (i, j), value in zip(bundle, found, strict=True):
                    if isinstance(value, _Unprepared):
                        job.reasons.representation(0 if mirrored else value.side, (i, j)[value.side], value.error)
                    elif isinstance(value, UndefinedError):
                        job.reasons.pair(i, j, value)
                    elif mirrored:
                        values[i, j], values[j, i] = value
                    else:
                        values[i, j] = value
                done += len(bundle)
                job.tick(done, steps)
        return values

    def _blocks(
        self, cells: list[tuple[int, int]], xs: list[Array], ys: list[Array] | None, number: int
    ) -> list[list[tuple[int, int]]]:
        """Cells in squares, about four a worker: the least to prepare, or to send, for so many pairs; and no more than
        a process keeps at once.
        """
        one = self.prepared_bytes(xs[0].shape[0], max(math.prod(x.shape[1:]) for x in (*xs, *(ys or ()))), 8)
        fit = (
            len(cells) if math.isnan(one) else CACHE_BYTES // max(one, 1) - 1
        )  # a column of the square, and the row at work
        side = int(max(1, min(fit, (len(cells) / (4 * number)) ** 0.5)))
        squares: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for i, j in cells:
            squares.setdefault((i // side, j // side), []).append((i, j))
        return list(squares.values())

    def _at_once(self, xs: list[Array], ys: list[Array] | None) -> int:
        """How many pairs make a piece of work of a twentieth of a second or less: long enough to be worth a call, short
        enough to stop after.
        """
        one = (
            self.pair_flops(
                xs[0].shape[0] if xs[0].ndim else 0,
                *(max(math.prod(x.shape[1:]) for x in side) for side in (xs, ys or xs)),
            )
            / rate()
        )
        return 1 if math.isnan(one) else int(min(max(0.05 / max(one, 1e-6), 1), 4096))

    # -- what it costs; a measure that does not say is not estimated
    # ------------------------------------------------------

    def prepare_flops(self, n: int, p: int) -> float:
        """Work of `prepare`, counted as the flops of a matrix product that would take as long; NaN where a measure does
        not say.
        """
        return math.nan

    def pair_flops(self, n: int, p: int, q: int) -> float:
        """Work of `pair`, likewise."""
        return math.nan

    def prepared_bytes(self, n: int, p: int, itemsize: int) -> float:
        """What one prepared representation takes in memory; NaN where a measure does not say."""
        return math.nan

    def cost(self, n: int, ps: Sequence[int], qs: Sequence[int] | None = None, itemsize: int = 4) -> Cost:
        """What a table of representations (n, p), p in ps, with those of widths qs (or with themselves) will take."""
        both = [*ps, *(qs or ())]
        pairs = [
            (p, q)
            for i, p in enumerate(ps)
            for q in (ps[i:] if qs is None and self.symmetric else ps if qs is None else qs)
        ]
        flops = sum(self.prepare_flops(n, p) for p in both) + sum(self.pair_flops(n, p, q) for p, q in pairs)
        return Cost(flops, sum(self.prepared_bytes(n, p, itemsize) for p in both), 16.0 * n * max(both))

    def __str__(self) -> str:
        changed = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{type(self).__name__}({', '.join(changed)})" if changed else type(self).__name__


class Job(NamedTuple):
    """How a table is to be made: by whom, who is told, where prepared values are kept, who takes down what is
    undefined; and sums, if they are asked for.
    """

    run: Workers
    tick: Callable[[int, int], None]
    scratch: Path | None
    reasons: Reasons
    sums: dict[tuple[int, int], Any] | None

    def keeper(self) -> Any:
        """Where prepared values are kept.

        Between processes even small ones are better in a file than in every message.
        """
        return keeper(self.scratch, 2**14) if self.run.separate_memory else keeper(self.scratch)

    def prepared(
        self,
        prepare: Callable[[Array], Any],
        xs: list[Array],
        side: int,
        done: int,
        total: int,
        keep: Callable[[Any], Any] = lambda value: value,
        *,
        later: bool = False,
    ) -> list[Any]:
        """`prepare` of each; an UndefinedError stands where it raised one, and is noted.

        later: where workers are apart and see the files of all xs, nothing is done here, and each prepares what it
        needs (`Later`); unless there is a scratch folder, in which what one has prepared all can read.
        """
        values: list[Any] = []
        if later and self.run.separate_memory and self.scratch is None and all(map(has_address, xs)):
            table = uuid.uuid4().hex  # what was in a file at the time of another table is not asked for again
            self.tick(done + len(xs), total)
            return [Deferred(_Try(prepare), x, (table, side, i)) for i, x in enumerate(xs)]
        for value in self.run(_Kept(_Try(prepare), keep), xs, idle=lambda: self.tick(done + len(values), total)):
            if isinstance(value, UndefinedError):
                self.reasons.representation(side, len(values), value)
            values.append(value)
            self.tick(done + len(values), total)
        return values


class Reasons:
    """Why cells have no value. Where nobody asked for reasons, the first is raised."""

    def __init__(
        self, measure: Measure, rows: list[Any], columns: list[Any], undefined: dict[tuple[int, int], str] | None
    ) -> None:
        self.measure, self.labels, self.undefined = measure, (rows, columns), undefined
        self.bad: tuple[dict[int, str], dict[int, str]] = ({}, {})
        self.cells: dict[tuple[int, int], str] = {}

    def representation(self, side: int, i: int, error: UndefinedError) -> None:
        """No cell of this row (side 0) or column (side 1) has a value."""
        self.bad[side][i] = self._say(f"'{format_label(self.labels[side][i])}'", error)

    def pair(self, i: int, j: int, error: UndefinedError) -> None:
        """This cell has no value."""
        self.cells[i, j] = self._say(
            f"'{format_label(self.labels[0][i])}' and '{format_label(self.labels[1][j])}'", error
        )

    def _say(self, whom: str, error: UndefinedError) -> str:
        sentence = f"{self.measure} of {whom}: {error}"
        if self.undefined is None:
            raise type(error)(sentence) from error
        return sentence

    def fill(self, values: np.ndarray, *, mirrored: bool) -> None:
        """Write every cell's reason into `undefined`; a cell without a value and without a reason is a fault of the
        measure.
        """
        rows, columns = self.bad[0], self.bad[0] if mirrored else self.bad[1]
        for i, j in np.argwhere(~np.isfinite(values)).tolist():
            why = rows.get(i) or columns.get(j) or self.cells.get((i, j)) or (mirrored and self.cells.get((j, i)))
            if not why:
                self.pair(i, j, UndefinedError(f"the value came out as {values[i, j]}"))
                why = self.cells[i, j]
            self.undefined[i, j] = why  # type: ignore[index] (without it, the first reason was raised)
            values[i, j] = np.nan


class _Try:
    """Call, and hand back an UndefinedError as a value (it must survive the way back from another process)."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.function(*arguments)
        except UndefinedError as error:
            return error


class _Kept:
    """Call, and keep the value where it was made."""

    def __init__(self, function: Callable[..., Any], keep: Callable[[Any], Any]) -> None:
        self.function, self.keep = function, keep

    def __call__(self, *arguments: Any) -> Any:
        return self.keep(self.function(*arguments))


class _Unprepared(NamedTuple):
    """One side of a pair (0 or 1) has no value, for this reason."""

    side: int
    error: UndefinedError


def _gathered(
    left: list[Any], right: list[Any], cells: list[tuple[int, int]]
) -> tuple[list[Any], list[tuple[int, int]]]:
    """All that these cells need, each once, and the cells as places in that list: so it travels once, and of a pair
    with itself both are one.
    """
    other = int(right is not left)
    names = dict.fromkeys([(0, i) for i, _ in cells] + [(other, j) for _, j in cells])
    place = {name: k for k, name in enumerate(names)}
    return [(left, right)[side][i] for side, i in names], [(place[0, i], place[other, j]) for i, j in cells]


class _Pairs:
    """All of a bundle of pairs; an UndefinedError stands where one has no value, _Unprepared where one of its sides has
    none.
    """

    def __init__(self, pair: Callable[[Any, Any], float]) -> None:
        self.pair = _Try(pair)

    def __call__(self, prepared: list[Any], cells: list[tuple[int, int]]) -> list[Any]:
        return [self._one(prepared[i], prepared[j]) for i, j in cells]

    def _one(self, a: Any, b: Any) -> Any:
        x = a.value() if isinstance(a, Deferred) else a
        y = x if a is b else b.value() if isinstance(b, Deferred) else b
        bad = next((side for side, value in enumerate((x, y)) if isinstance(value, UndefinedError)), None)
        return self.pair(x, y) if bad is None else _Unprepared(bad, (x, y)[bad])


def _labelled(xs: Mapping[Any, Array] | Sequence[Array]) -> Mapping[Any, Array]:
    if not isinstance(xs, (Mapping, list, tuple)):
        raise TypeError(f"a table takes arrays by label, {{'a': x}}, or a list of them; got {type(xs).__name__}")
    named_arrays = to_arrays(dict(xs.items() if isinstance(xs, Mapping) else enumerate(xs)))
    if not named_arrays:
        raise ValueError("there is nothing to compare: no representation was given")
    return named_arrays


def to_arrays(xs: Mapping[Any, Any]) -> dict[Any, Array]:
    """Representations as arrays whose rows are samples; an error names the label."""
    found = {}
    for label in xs:
        try:
            found[label] = to_array(xs[label])
        except (ValueError, MemoryError) as error:
            raise type(error)(f"'{format_label(label)}': {error}") from error
    return found


def check_sides(
    sides: Mapping[str, Mapping[Any, Any] | Sequence[Any]],
    measure: Measure | None = None,
    labels: Collection[Any] | None = None,
) -> None:
    """ValueError unless row i is the same sample in all representations (with these labels), as far as their ids are
    known, and named dimensions agree.

    sides: representations by label, by the names that they have in the error.  measure: of outputs, whose columns are
    classes, frames need one order of columns too; what it holds of each sample is a side, too.
    """
    sides = {**sides, **(measure.sample_data if measure is not None else {})}
    check_groups(sides, labels)
    call = f"rs.align({', '.join(sides)})"
    firsts: dict[str, tuple[Any, Names]] = {}
    plain: tuple[Any, Any] | None = None
    frame: tuple[Any, Any] | None = None
    for side in sides.values():
        ids = getattr(side, "ids", None)
        known = ids if isinstance(side, Mapping) and isinstance(ids, Mapping) else None
        for label in side if isinstance(side, Mapping) else range(len(side) if isinstance(side, (list, tuple)) else 0):
            if labels is not None and label not in labels:
                continue
            if known is None:
                x = side[label]
                if is_array(x):
                    continue
                names = names_of(x)
                if plain is not None:
                    check_dimensions(plain[1], x, (format_label(plain[0]), format_label(label)))
                elif type(x).__name__ == "DataArray" or hasattr(x, "dims"):
                    plain = label, x
                if measure is not None and measure.compares == "outputs" and hasattr(x, "columns"):
                    frame = frame or (label, x)
                    _check_classes(frame, (label, x))
            else:
                names = Names(known[label], "ids") if label in known else None
            if names is None:
                continue
            for other, its in firsts.values():
                if found := compare_names(its, names):
                    raise ValueError(
                        f"the same samples are needed in every representation, in one order, and of '{format_label(other)}'"
                        f" and '{format_label(label)}' {found[0]}. "
                        + (
                            f"{call} takes the common samples in one order"
                            if found[1]
                            else f"Give both the same ids; then {call} takes the common samples"
                        )
                    )
            firsts.setdefault(names.kind, (label, names))


def _check_classes(first: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    one, two = list(first[1].columns), list(other[1].columns)
    if one != two and len(one) == len(two) and set(one) == set(two):
        i = next(i for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
        raise ValueError(
            f"a measure of outputs compares class with class, and '{format_label(first[0])}' and '{format_label(other[0])}' have the"
            f" same columns in another order (column {i} is {one[i]!r} and {two[i]!r}): y[x.columns] puts them in one"
        )


def check_same_samples(*sides: Mapping[Any, Array]) -> int:
    """The number of samples that all share; ValueError names two that differ."""
    counts = [
        (label, x.shape[0]) for side in sides for label, x in side.items() if x.ndim
    ]  # what is no array at all is refused by `check_representation`
    if not counts:
        return 0
    (first, n), *rest = counts
    for label, m in rest:
        if m != n:
            raise ValueError(
                f"compare needs the same samples in every representation: '{format_label(first)}' has {n} rows,"
                f" '{format_label(label)}' has {m}"
            )
    return n


def to_one_library(*sides: Mapping[Any, Array]) -> list[Mapping[Any, Array]]:
    """The same arrays, all of one library: where NumPy arrays meet torch tensors, the tensors come to NumPy."""
    tensors = [array_api_compat.is_torch_array(x) for side in sides for x in side.values()]
    if all(tensors) or not any(tensors):
        return list(sides)

    def moved(x: Array) -> Array:
        if not array_api_compat.is_torch_array(x):
            return x
        x = x.detach().cpu()
        return (x.float() if x.element_size() < 4 and x.is_floating_point() else x).numpy()

    return [{label: moved(x) for label, x in side.items()} for side in sides]


def to_device(x: Any, device: Any) -> Any:
    """As a torch tensor on that device; None leaves it as it is."""
    if device is None:
        return x
    import torch

    try:
        device = torch.device(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"there is no device {str(device)!r} here ({str(error).splitlines()[0]}): give 'cpu', or None for arrays as"
            " they come"
        ) from error
    if isinstance(x, np.ndarray):
        x = np.ascontiguousarray(
            x, dtype=np.float64 if x.dtype.kind == "f" and x.itemsize > 8 else x.dtype.newbyteorder("=")
        )
    return torch.as_tensor(x).to(device)


def estimate_cost(
    measure: Measure, xs: Mapping[Any, Array], ys: Mapping[Any, Array] | None = None, *, sums: bool = False
) -> Cost | None:
    """What `measure.table(xs, ys)` will take, with `sums` or without; None where the arrays cannot be compared
    anyhow.
    """
    arrays = [*xs.values(), *(ys or {}).values()]
    if not arrays or not all(hasattr(x, "dtype") and len(x.shape) > 1 and math.prod(x.shape) for x in arrays):
        return None
    widths = [math.prod(x.shape[1:]) for x in arrays]
    finest = max(max(x.dtype.itemsize, 4) if "float" in str(x.dtype) else 8 for x in arrays)
    cost = measure.cost(arrays[0].shape[0], widths[: len(xs)], None if ys is None else widths[len(xs) :], finest)
    return cost.with_sums(arrays[0].shape[0], len(arrays), finest) if sums else cost
