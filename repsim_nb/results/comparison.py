"""`compare`: one measure over all pairs of two sets of representations, as a labelled table."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import array_api_compat
import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure, Table, check_same_samples, to_device
from repsim_nb.measures.sides import check_sides, to_arrays
from repsim_nb.support.errors import check_name, format_label, join_names
from repsim_nb.support.escaping import without_formulas
from repsim_nb.support.files import replace_atomically
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
from repsim_nb.support.transport import has_address
from repsim_nb.support.workers import has_separate_memory, workers

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
        """A row a cell: the fields of both labels (with _row, _column behind them), `value`, and `undefined`, the
        reason of a masked one.
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
        """The rows and columns whose labels have these fields: a value, a pattern with * and ?, or a list of either;
        layer=-2 is each network's last but one.
        """
        return self.take(select_from_axis(self.values.index, fields), select_from_axis(self.values.columns, fields))

    def between(self, rows: Mapping[str, Any], columns: Mapping[str, Any]) -> Comparison:
        """Rows by one set of field values, columns by another: `c.between({"model": "a"}, {"model": "b"})`."""
        return self.take(select_from_axis(self.values.index, rows), select_from_axis(self.values.columns, columns))

    def take(self, rows: np.ndarray, columns: np.ndarray) -> Comparison:
        """The rows and columns of these numbers, or where a mask is true."""
        values = self.values.iloc[rows, columns]
        kept = {
            cell: reason
            for cell, reason in self.undefined.items()
            if cell[0] in values.index and cell[1] in values.columns
        }
        return Comparison(values, self.measure, self.n, kept)

    def drop_undefined(self) -> tuple[Comparison, Labels]:
        """Of a square table the items that have a value with all others, and the short labels of those left out for
        that, those with most undefined cells first.
        """
        if not self.is_square:
            raise ValueError(
                f"items can be left out of a square table; this one has {self.values.shape[0]} rows and"
                f" {self.values.shape[1]} columns"
            )
        missing, labels, out = ~np.isfinite(self.values.to_numpy(float)), self.labels()[0], []
        missing |= missing.T
        kept = np.ones(len(missing), bool)
        while missing[np.ix_(kept, kept)].any():
            out.append(int(np.where(kept, (missing & kept).sum(axis=1), -1).argmax()))
            kept[out[-1]] = False
        return (self.take(kept, kept) if out else self), tuple(labels[i] for i in out)

    def mean_of(self, rows: np.ndarray, columns: np.ndarray) -> float | None:
        """The mean value of rows and columns (numbers, or masks), without the cells of an item with itself; None where
        there are no others.
        """
        block = np.ix_(
            *(np.arange(size)[which] for size, which in zip(self.values.shape, (rows, columns), strict=True))
        )
        others = ~np.eye(*self.values.shape, dtype=bool) if self.is_square else np.ones(self.values.shape, bool)
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
        path = Path(path)
        content = {
            "format": "repsim_nb.Comparison/1",
            "n": self.n,
            "measure": {
                "class": type(self.measure).__name__,
                "name": str(self.measure),
                "options": _options_to_json(self.measure),
            },
            "rows": _axis_to_json(self.values.index),
            "columns": _axis_to_json(self.values.columns),
            "values": [[None if np.isnan(v) else v for v in row] for row in self.values.to_numpy().tolist()],
            "undefined": [
                [int(self.values.index.get_loc(r)), int(self.values.columns.get_loc(c)), why]
                for (r, c), why in self.undefined.items()
            ],
        }
        with replace_atomically(path) as temporary:
            temporary.write_text(json.dumps(content))
        return path

    @classmethod
    def load(cls, path: str | Path, measure: Measure | None = None) -> Comparison:
        """Read what `save` wrote. measure: needed only for one that is not part of this package, or whose options could
        not be written.
        """
        try:
            content = json.loads(Path(path).read_text())
            if content["format"] != "repsim_nb.Comparison/1":
                raise KeyError("format")
            index, columns = _axis_from_json(content["rows"]), _axis_from_json(content["columns"])
            values = pd.DataFrame(np.array(content["values"], dtype=float), index=index, columns=columns)
            undefined = {(index[i], columns[j]): why for i, j, why in content["undefined"]}
            name, options, n = content["measure"]["class"], content["measure"]["options"], int(content["n"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"the file {path} does not hold a comparison, or is damaged ({error!r})") from error
        if measure is not None and content["measure"].get("name", str(measure)) != str(measure):
            raise ValueError(f"{path} was made with {content['measure']['name']}, not with {measure}")
        if measure is None:
            kind = getattr(measures, name, None)
            if options is None:
                raise ValueError(
                    f"{path} was made with {content['measure']['name']}, whose options (a {name}'s) a file cannot hold:"
                    " pass it, Comparison.load(path, measure=...)"
                )
            if not (isinstance(kind, type) and issubclass(kind, Measure)):
                raise ValueError(
                    f"{path} was made with a measure of your own, {name}: pass it, Comparison.load(path, measure=...)"
                )
            try:
                measure = kind(**options)
            except TypeError as error:
                raise ValueError(
                    f"{path} was made with options that {name} does not know here ({error}): pass the measure,"
                    " Comparison.load(path, measure=...)"
                ) from error
        return cls(values, measure, n, undefined)

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.values.shape))
        masked = f", {len(self.undefined)} undefined" if self.undefined else ""
        return f"Comparison({self.measure}, {shape}, n={self.n}{masked})"

    def __str__(self) -> str:
        rows, columns = self.labels()
        return f"{self!r}\n{self.values.set_axis(rows, axis=0).set_axis(columns, axis=1).round(3).to_string(na_rep='–', max_rows=30, max_cols=20)}"

    def _repr_html_(self) -> str:
        rows, columns = self.labels()
        table = self.values.set_axis(rows, axis=0).set_axis(columns, axis=1)
        larger = "larger is more alike" if self.kind == "similarity" else "larger is less alike"
        fixed = " × ".join(", ".join(map(str, c.values())) for c in self.constants())
        head = (
            f"<p><b>{html.escape(str(self.measure))}</b> ({self.kind}: {larger}), n ="
            f" {self.n}{': ' + html.escape(fixed) if fixed.strip(' ×') else ''}</p>"
        )
        reasons = "".join(f"<li>{html.escape(why)}</li>" for why in dict.fromkeys(self.undefined.values()))
        body = table.to_html(float_format="{:.3f}".format, na_rep="–", max_rows=40, max_cols=30)
        return without_formulas(head + body + (f"<ul>{reasons}</ul>" if reasons else ""))


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
    xs, ys = _check_sides(measure, xs, ys, on_undefined)
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
    xs, ys = _check_sides(measure, xs, ys, on_undefined)
    comparison, table = _compare(measure, xs, ys, on_undefined, moments=True, progress=progress)
    return comparison, table.moments


def _check_sides(
    measure: Measure, xs: Mapping[Any, Any], ys: Mapping[Any, Any] | None, on_undefined: str
) -> tuple[dict[Any, Any], dict[Any, Any] | None]:
    """Both sides as arrays of the same samples, or the error that says what is wrong."""
    check_name("on_undefined", on_undefined, ("raise", "mask"))
    for name, side in (("xs", xs), ("ys", ys)):
        if side is not None and not isinstance(side, Mapping):
            raise TypeError(
                f"compare takes {name} as a mapping of labels to arrays, such as {{'a': x}}; got {type(side).__name__}"
            )
    _check_keys(measure, [*xs, *(ys or ())])
    _check_outputs(measure, xs, ys or {})
    check_sides({"xs": xs} if ys is None else {"xs": xs, "ys": ys}, measure)
    # opened once: a store maps a file at every look
    left, right = to_arrays(xs), None if ys is None else to_arrays(ys)
    check_same_samples(left, right or {})
    return left, right


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
    with workers(executor, cost.affordable(scratch) if cost else 1) as run:
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
    """What several measures say of the same pairs -> DataFrame, a row a pair of different items that all tables share,
    a column a table.

    tables: {name of the column: square Comparison}; items are found by whole labels, else by the fields that vary (a
    network's penultimate layer stands beside its output), in the order of the first table. Index "row", "column": the
    items' short labels, the model's name where that tells them apart. Values stay as measured (similarities stay
    similarities), both directions of a pair averaged; NaN where either is undefined.
    Errors: ValueError for a table that is not square, fewer than 2 shared items, a column that would be called "row" or
    "column".
    """
    if not isinstance(tables, Mapping) or not tables:
        raise TypeError(
            "pairs takes comparisons by name, {'CKA': table}; got"
            f" {'none' if isinstance(tables, Mapping) else type(tables).__name__}"
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
    places = [
        dict(zip(*match_labels(first, table.values.index), strict=True)) for table in tables.values()
    ]  # {place in the first: place in this one}
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


def _check_keys(measure: Measure, labels: list[Any]) -> None:
    """What the labels already tell: recordings of other samples, or hidden layers where outputs are compared."""
    data: dict[str, Any] = {}
    for label in labels:
        if getattr(label, "dataset", ""):
            data.setdefault(label.dataset, label)
    if len(data) > 1:
        (one, first), (other, second), *_ = data.items()
        raise ValueError(
            f"compare needs the same samples in every representation: '{format_label(first)}' was recorded on"
            f" '{one}', '{format_label(second)}' on '{other}'. Choose one, x.where(dataset=...); if their samples do"
            " correspond, record both under one dataset name"
        )
    cuts = {
        getattr(label, "pool", ""): label for label in labels if str(getattr(label, "pool", "")).startswith("tokens")
    }
    if len(cuts) > 1:
        first, second, *_ = cuts.values()
        raise ValueError(
            f"compare needs the same samples in every representation: '{format_label(first)}' and"
            f" '{format_label(second)}' cut the texts into other tokens, so that token does not stand beside token."
            " Record them pooled, one row a text: record(..., pool='mean')"
        )
    hidden = [
        label for label in labels if not re.fullmatch(r"output(\.\w+|\[\d+\])?", getattr(label, "layer", "output"))
    ]
    if measure.compares == "outputs" and hidden:
        raise ValueError(
            f"{measures.short_name(measure)} compares what networks put out, and '{format_label(hidden[0])}' is a"
            " hidden layer: take x.where(layer='output')"
        )


def _check_outputs(measure: Measure, *sides: Mapping[Any, Any]) -> None:
    """A measure of outputs takes logits or probabilities (samples, classes); recordings know if what a model returns is
    something else.
    """
    if measure.compares != "outputs":
        return
    for side in sides:
        known = getattr(side, "no_logits", {})
        for label in side:
            if label in known:
                raise ValueError(
                    f"{measures.short_name(measure)} compares logits (samples, classes), and '{format_label(label)}'"
                    f" is not such: {known[label]}"
                )


# -- labels
# ----------------------------------------------------------------------------------------------------------------


def check_diagonal(frame: pd.DataFrame) -> None:
    """A plain frame says nothing of what its numbers are; similarities show on the diagonal, where dissimilarities are
    0. A diagonal without values (NaN) is one of dissimilarities.
    """
    sizes = np.abs(frame.to_numpy(float, na_value=np.nan))
    diagonal = np.diag(sizes)
    if (diagonal > max(1e-6 * np.nanmax(sizes, initial=0), 1e-14)).any():  # 1 - similarity may be rounding everywhere
        raise ValueError(
            f"a frame holds dissimilarities, 0 on its diagonal; this one has {np.nanmax(diagonal):.3g} there. Are they"
            " similarities? Pass the Comparison itself, or its .dissimilarity()"
        )


def _options_to_json(measure: Measure) -> dict[str, Any] | None:
    """The options as JSON holds them, or None where it cannot."""
    try:
        options = asdict(measure)
        json.dumps(options)
    except (TypeError, ValueError):
        return None
    return options


def _axis_to_json(axis: pd.Index) -> dict[str, Any]:
    frame = frame_of(axis)
    return {"names": list(frame), "labels": [list(row) for row in frame.astype(object).itertuples(index=False)]}


def _axis_from_json(axis: Mapping[str, Any]) -> pd.Index:
    if axis["names"] == ["label"]:
        return pd.Index([label for (label,) in axis["labels"]], name="label")
    return pd.MultiIndex.from_tuples([tuple(label) for label in axis["labels"]], names=axis["names"])
