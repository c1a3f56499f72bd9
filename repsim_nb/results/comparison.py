"""`compare`: one measure over all pairs of two sets of representations, as a labelled table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import array_api_compat
import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure, Table, to_device
from repsim_nb.results.comparison_inputs import open_sides
from repsim_nb.results.saved import read_comparison, write_comparison
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import (
    Labels,
    constant_fields,
    frame_of,
    match_labels,
    model_names,
    select_from_axis,
    short_labels,
    to_axis,
)
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.summaries import summarize
from repsim_nb.support.transport import has_address
from repsim_nb.support.workers import has_separate_memory, open_workers

if TYPE_CHECKING:
    from repsim_nb.measures.moments import Sums

OnUndefined = Literal["raise", "mask"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A measure's values for all pairs of rows and columns, with their labels.

    values: DataFrame; the levels of its index and columns are the fields of the keys (or one level, "label"). A cell
    that the measure cannot fill is masked (missing) there, and `undefined` holds its reason: {(row label, column
    label): sentence}.
    n: the number of samples compared.
    """

    values: pd.DataFrame = field(repr=False)
    measure: Measure
    n: int
    undefined: Mapping[tuple[Any, Any], str] = field(default_factory=dict, repr=False)

    @property
    def kind(self) -> str:
        """ "similarity" (larger is more alike) or "dissimilarity" (larger is less alike)."""
        return self.measure.kind

    @property
    def name(self) -> str:
        """The measure's short name, or how it prints."""
        return measures.short_name(self.measure)

    @property
    def is_square(self) -> bool:
        """Rows and columns are the same representations in the same order."""
        return self.values.index.equals(self.values.columns)

    def dissimilarity(self) -> pd.DataFrame:
        """The values as dissimilarities: larger is less alike (1 - s for most similarities)."""
        return self.measure.dissimilarity(self.values)

    def tidy(self) -> pd.DataFrame:
        """One row for each cell: the fields of both labels (with _row or _column appended), `value` and `undefined`.

        `undefined` is the reason of a masked cell.
        """
        rows, columns = (frame_of(axis).reset_index(drop=True) for axis in (self.values.index, self.values.columns))
        i, j = (m.ravel() for m in np.indices(self.values.shape))
        left, right = (
            part.iloc[which].reset_index(drop=True).add_suffix(end)
            for part, which, end in ((rows, i, "_row"), (columns, j, "_column"))
        )
        reasons = [
            self.undefined.get((self.values.index[a], self.values.columns[b])) for a, b in zip(i, j, strict=True)
        ]
        return pd.concat([left, right], axis=1).assign(value=self.values.to_numpy().ravel(), undefined=reasons)

    def where(self, **fields: Any) -> Comparison:
        """The rows and columns whose labels have these fields.

        A field is given as a value, a pattern with * and ?, or a list of either; layer=-2 is the last but one of each
        model.
        """
        return self.take(select_from_axis(self.values.index, fields), select_from_axis(self.values.columns, fields))

    def between(self, rows: Mapping[str, Any], columns: Mapping[str, Any]) -> Comparison:
        """Rows by one set of field values, columns by another: `c.between({"model": "a"}, {"model": "b"})`."""
        return self.take(select_from_axis(self.values.index, rows), select_from_axis(self.values.columns, columns))

    def take(self, rows: np.ndarray, columns: np.ndarray) -> Comparison:
        """The rows and columns of these numbers, or where a mask is true."""
        values = self.values.iloc[rows, columns]
        undefined = {
            cell: reason
            for cell, reason in self.undefined.items()
            if cell[0] in values.index and cell[1] in values.columns
        }
        return Comparison(values, self.measure, self.n, undefined)

    def drop_undefined(self) -> tuple[Comparison, Labels]:
        """Drop items, most undefined cells first, until all pairs are defined; return also the dropped labels."""
        if not self.is_square:
            raise ValueError(
                f"items can be left out of a square table; this one has {self.values.shape[0]} rows and"
                f" {self.values.shape[1]} columns"
            )
        missing, labels, out = ~np.isfinite(self.values.to_numpy(float)), self.labels()[0], []
        missing |= missing.T
        keep = np.ones(len(missing), bool)
        while missing[np.ix_(keep, keep)].any():
            out.append(int(np.where(keep, (missing & keep).sum(axis=1), -1).argmax()))
            keep[out[-1]] = False
        return (self.take(keep, keep) if out else self), tuple(labels[i] for i in out)

    def mean_of(self, rows: np.ndarray, columns: np.ndarray) -> float | None:
        """The mean value of rows and columns (numbers, or masks), without the cells of an item with itself.

        None where there are no others.
        """
        block = np.ix_(
            *(np.arange(size)[which] for size, which in zip(self.values.shape, (rows, columns), strict=True))
        )
        others = np.ones(self.values.shape, bool)
        if self.is_square:
            np.fill_diagonal(others, False)
        found = self.values.to_numpy(float)[block][others[block]]
        return float(found.mean()) if found.size else None

    def labels(self) -> tuple[Labels, Labels]:
        """Short labels of rows and columns: of the fields only those that vary within the axis."""
        return short_labels(self.values.index), short_labels(self.values.columns)

    def constants(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """For rows and columns: the fields that do not vary, with their value."""
        return constant_fields(self.values.index), constant_fields(self.values.columns)

    def save(self, path: str | Path) -> Path:
        """Write everything to one JSON file, in one step.

        Of a measure whose options are no plain data (a function) only the name is kept.
        """
        return write_comparison(Path(path), self.values, self.measure, self.n, self.undefined)

    @classmethod
    def load(cls, path: str | Path, measure: Measure | None = None) -> Comparison:
        """Read what `save` wrote.

        measure: needed only for one that is not part of this package, or whose options could not be written.
        """
        return cls(*read_comparison(Path(path), measure))

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.values.shape))
        masked = f", {len(self.undefined)} undefined" if self.undefined else ""
        return f"Comparison({self.measure}, {shape}, n={self.n}{masked})"

    def __str__(self) -> str:
        rows, columns = self.labels()
        table = self.values.set_axis(rows, axis=0).set_axis(columns, axis=1).round(3)
        return f"{self!r}\n{table.to_string(na_rep='–', max_rows=30, max_cols=20)}"

    def _repr_html_(self) -> str:
        rows, columns = self.labels()
        sides = self.constants()
        shared = {name: value for name, value in sides[0].items() if sides[1].get(name) == value}
        own = [", ".join(str(value) for name, value in side.items() if name not in shared) for side in sides]
        return summarize(
            "Comparison",
            str(self.measure),
            [
                f"{self.kind}: larger is {'more' if self.kind == 'similarity' else 'less'} alike",
                f"n = {self.n}",
                " × ".join(filter(None, own)),
                ", ".join(map(str, shared.values())),
            ],
            table=self.values.set_axis(rows, axis=0).set_axis(columns, axis=1),
            notes=dict.fromkeys(self.undefined.values()),
            page="comparison.Comparison",
        )


def compare(
    measure: str | Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None = None,
    *,
    on_undefined: OnUndefined = "raise",
    executor: Executor | None = None,
    scratch: str | Path | None = None,
    device: Any = None,
    progress: bool | Tick = False,
) -> Comparison:
    """Compare every representation in xs with every one in ys (without ys: with every one in xs).

    Parameters
    ----------
    measure : str or Measure
        A short name (`measures.ALL`) or a Measure.
    xs, ys : {label: array (n, ...)}
        All of the same n samples in the same order; labels are strings or keys; arrays may be memory-mapped, frames,
        sparse, or of xarray. If both sides know the ids of their samples, as recordings and frames with an index do,
        these must agree (`rs.align` brings them into one order).
    on_undefined : "raise" or "mask"
        At the first pair for which the measure has no value, raise; or mask those cells and keep the reasons.
    executor : concurrent.futures.Executor, optional
        Who does the work, such as `client.get_executor()` of dask.distributed; None is a thread for every core. Other
        processes, here or on other machines, get the addresses of memory-mapped arrays and return sums, so they must
        see those files; each prepares what its pairs need.
    scratch : path, optional
        A folder for what is prepared, during the work, instead of memory; one that all workers see.
    device : optional
        Where to work as torch tensors ("cuda"); None leaves arrays as they come.
    progress : bool or function(done, total)
        A bar, or a function that may raise to stop.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If n or the ids of samples differ; it names both sides.
    UndefinedError
        It names the pair that has no value.
    MemoryError
        Before anything is done, if there is not enough memory.

    Notes
    -----
    A table that takes long or much memory says so on stderr before it starts.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 5))
    >>> float(compare("cka", {"a": x, "b": 2 * x}).values.loc["a", "b"].round(6))
    1.0
    """
    measure = measures.get(measure)
    xs, ys = open_sides(measure, xs, ys, on_undefined)
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(
            "executor is an Executor of concurrent.futures (or Dask's client.get_executor()), or None for a thread a"
            f" core; got {executor!r}"
        )
    folder = None if scratch is None else Path(scratch).expanduser()
    if folder is not None and not folder.is_dir():
        raise ValueError(f"scratch is a folder that exists, on a disk with room; got {folder}")
    if device is not None:
        xs = {label: to_device(x, device) for label, x in xs.items()}
        ys = None if ys is None else {label: to_device(y, device) for label, y in ys.items()}
    return _compare(measure, xs, ys, on_undefined, executor=executor, scratch=folder, progress=progress)[0]


def compare_with_moments(
    measure: Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None = None,
    *,
    on_undefined: OnUndefined = "raise",
    progress: bool | Tick = False,
) -> tuple[Comparison, dict[tuple[int, int], Sums]]:
    """`compare`, and what the moments of permuted samples depend on, as `measures.Table` has it."""
    xs, ys = open_sides(measure, xs, ys, on_undefined)
    comparison, table = _compare(measure, xs, ys, on_undefined, moments=True, progress=progress)
    return comparison, table.moments


def _compare(
    measure: Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None,
    on_undefined: OnUndefined,
    *,
    moments: bool = False,
    executor: Executor | None = None,
    scratch: Path | None = None,
    progress: bool | Tick = False,
) -> tuple[Comparison, Table]:
    """The table of checked arrays with their labels, and as the measure made it; what takes long or much memory is
    announced.
    """
    arrays = [*xs.values(), *(ys or {}).values()]
    at_home = all(str(array_api_compat.device(x)) == "cpu" for x in arrays)
    cost = measures.estimate_cost(measure, xs, ys, moments=moments) if at_home else None
    if cost and scratch is None and has_separate_memory(executor) and all(map(has_address, arrays)):
        cost = cost.elsewhere()
    index, columns = (to_axis(side) if side else pd.Index([]) for side in (xs, xs if ys is None else ys))
    with open_workers(executor, cost.affordable(scratch) if cost else 1) as run:
        sentence = cost.sentence(run.number, scratch is not None) if cost else ""
        if sentence:
            print(f"{measure}, {len(index)} × {len(columns)} representations: {sentence}", file=sys.stderr)
        with show_progress(progress, str(measure), "step") as tick:
            table = measure.table(
                xs, ys, on_undefined=on_undefined, moments=moments, run=run, tick=tick, scratch=scratch
            )
    undefined = {(index[i], columns[j]): why for (i, j), why in table.undefined.items()}
    values = pd.DataFrame(table.values, index=index, columns=columns)
    return Comparison(values, measure, len(next(iter(xs.values()))), undefined), table


def pairs(tables: Mapping[str, Comparison]) -> pd.DataFrame:
    """The values of several measures for the same pairs, with one row for each pair and one column for each table.

    tables: {name of the column: square Comparison}; items are found by whole labels, else by the fields that vary (a
    model's penultimate layer stands next to its output), in the order of the first table. Index "row", "column": the
    items' short labels, the model's name where that tells them apart. Values stay as measured (similarities stay
    similarities), both directions of a pair averaged; NaN where either is undefined.
    Errors: ValueError for a table that is not square, fewer than 2 shared items, a column that would be called "row" or
    "column".
    """
    if not isinstance(tables, Mapping) or not tables:  # type: ignore[redundant-expr]
        raise TypeError(
            "pairs takes comparisons by name, {'CKA': table}; got"
            f" {'none' if isinstance(tables, Mapping) else type(tables).__name__}"  # type: ignore[redundant-expr]
        )
    for name, table in tables.items():
        if not isinstance(table, Comparison):
            raise TypeError(f"pairs takes comparisons by name; '{name}' is a {type(table).__name__}")
        if not table.is_square:
            raise ValueError(
                f"pairs of items are in a square table, and '{name}' has {table.values.shape[0]} rows and"
                f" {table.values.shape[1]} columns with other labels: compare one set of representations with itself"
            )
        if name in ("row", "column"):
            raise ValueError(f"'{name}' is a level of the index of pairs: give the table another name")
    first = next(iter(tables.values())).values.index
    # {place in the first: place in this one}
    places = [dict(zip(*match_labels(first, table.values.index), strict=True)) for table in tables.values()]
    items = [place for place in range(len(first)) if all(place in found for found in places)]
    if len(items) < 2:
        each = join_names(
            (
                f"{name} ({len(table.values)} items, such as {short_labels(table.values.index)[0]})"
                for name, table in tables.items()
            ),
            6,
        )
        raise ValueError(
            f"pairs need at least 2 items that all tables share; {len(items)} {'is' if len(items) == 1 else 'are'}"
            f" shared by {each}"
        )
    names = model_names(first[items])
    one, other = np.triu_indices(len(items), 1)
    columns = {}
    for (name, table), found in zip(tables.items(), places, strict=True):
        at = [found[place] for place in items]
        square = table.values.to_numpy(float, na_value=np.nan)[np.ix_(at, at)]
        columns[name] = ((square + square.T) / 2)[one, other]
    return pd.DataFrame(
        columns,
        index=pd.MultiIndex.from_arrays([[names[i] for i in one], [names[j] for j in other]], names=["row", "column"]),
    )
