"""`compare`: one measure over all pairs of two sets of representations; `pairs`: several such tables in one frame."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import array_api_compat
import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure, Table, to_device
from repsim_nb.support.errors import explain_missing, join_names, warn_user
from repsim_nb.support.labels import match_labels, model_names, short_labels, to_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.transport import has_address
from repsim_nb.support.workers import has_separate_memory, open_workers

from .inputs import OnUndefined, open_sides
from .same_items import check_same_items
from .table import Comparison

if TYPE_CHECKING:
    from repsim_nb.measures.moments import Sums


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
    """Compare every representation in xs with every one in ys; without ys, with every one in xs.

    Parameters
    ----------
    measure : str or Measure
        A short name of `measures.ALL`, such as "cka", or a Measure with options of your own.
    xs, ys : {label: array (n, ...)}
        Representations of the same n samples in the same order. Labels are text or keys. Arrays may be NumPy arrays
        (also memory-mapped), torch tensors, DataFrames, xarray DataArrays or sparse matrices. Recordings and frames
        have ids of their samples; these must agree (`rs.align` brings samples into one order).
    on_undefined : {"raise", "mask"}
        What to do with a pair for which the measure is undefined: "raise" stops at the first one; "mask" makes it NaN
        and keeps the reason in `Comparison.undefined`.
    executor : concurrent.futures.Executor, optional
        Runs the work, such as ``client.get_executor()`` of dask.distributed. By default one thread for each core.
        Workers in other processes get paths of memory-mapped arrays, so they must see those files.
    scratch : path, optional
        An existing folder for prepared representations that do not fit into memory. All workers must see it.
    device : str or torch.device, optional
        Compute with torch on this device, such as "cuda". By default arrays stay where they are.
    progress : bool or function(done, total)
        Show a bar, or call this function; the work stops if it raises.

    Returns
    -------
    Comparison
        The values, with labels of rows (xs) and columns (ys).

    Raises
    ------
    TypeError
        If an argument has another type, such as a measure and representations in the wrong order.
    ValueError
        If the number of samples or their ids differ; the message names both representations.
    UndefinedError
        If the measure is undefined for a pair; the message names the pair.
    MemoryError
        If there is too little memory; raised before the work starts.
    ModuleNotFoundError
        If `device` is given and torch is not installed.

    Notes
    -----
    Each representation is prepared once. A comparison that takes long or much memory prints an estimate to stderr
    before it starts.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> c = compare("cka", {"a": x, "b": 2 * x, "c": np.tanh(x)})
    >>> print(c)
    Comparison(cka, 3 × 3, n=50)
           a      b      c
    a  1.000  1.000  0.945
    b  1.000  1.000  0.945
    c  0.945  0.945  1.000
    """
    if isinstance(measure, Mapping):
        raise TypeError(
            f"compare takes the measure first, then representations: compare('cka', xs); got {type(measure).__name__}"
            " as the measure."
        )
    measure = measures.get(measure)
    xs, ys = open_sides(measure, xs, ys, on_undefined)
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(
            "executor must be an Executor of concurrent.futures, such as client.get_executor() of Dask, or None for one"
            f" thread for each core; got {executor!r}."
        )
    folder = None if scratch is None else Path(scratch).expanduser()
    if folder is not None and not folder.is_dir():
        raise ValueError(f"scratch must be an existing folder on a disk with space; got {folder}.")
    if device is not None:
        with explain_missing("compare(device=...)"):
            xs = {label: to_device(x, device) for label, x in xs.items()}
            ys = None if ys is None else {label: to_device(y, device) for label, y in ys.items()}
    return _compare(measure, xs, ys, on_undefined, executor=executor, scratch=folder, progress=progress)[0]


def compare_corresponding(
    measure: Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None = None,
    *,
    on_undefined: OnUndefined = "raise",
    progress: bool | Tick = False,
) -> Comparison:
    """Return `compare` of parts of representations that `check_correspondence` has checked as a whole.

    A part of an aligned recording is a dict, whose labels no longer show that `rs.align` chose the samples.
    """
    xs, ys = open_sides(measure, xs, ys, on_undefined, correspond=True)
    return _compare(measure, xs, ys, on_undefined, progress=progress)[0]


def compare_with_moments(
    measure: Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any] | None = None,
    *,
    on_undefined: OnUndefined = "raise",
    progress: bool | Tick = False,
) -> tuple[Comparison, dict[tuple[int, int], Sums]]:
    """Return `compare`, and the sums from which moments under permutation are computed, as in `measures.Table`."""
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
    """Return the comparison of checked arrays, and the Table of the measure; print an estimate of long work."""
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
    """Return the values of several comparisons of the same items, with one row for each pair of items.

    Parameters
    ----------
    tables : {column: Comparison}
        Square comparisons. Items of two comparisons are matched by whole labels, or, if these have fewer than two in
        common, by the fields that vary (so the penultimate layer of a model is matched with its output).

    Returns
    -------
    DataFrame (pairs, comparisons)
        Index "row", "column": the model of each item if models are unique, else its short label. Items have the order
        of the first comparison. Similarities stay similarities. Both directions of a pair are averaged; the value is
        NaN if either is undefined.

    Warns
    -----
    UserWarning
        If an item is not in all comparisons; it is left out.

    Raises
    ------
    TypeError
        If `tables` is not a mapping of names to comparisons.
    ValueError
        If a comparison is not square, if the comparisons have fewer than 2 items in common, or for a column with the
        name "row" or "column".

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> xs = {"a": x, "b": np.tanh(x), "c": x**2}
    >>> pairs({"CKA": compare("cka", xs), "Procrustes": compare("procrustes", xs)}).round(2)
                CKA  Procrustes
    row column
    a   b      0.95        0.05
        c      0.22        1.08
    b   c      0.15        1.27
    """
    if not isinstance(tables, Mapping) or not tables:  # type: ignore[redundant-expr]
        raise TypeError(
            "pairs takes comparisons by name, pairs({'CKA': comparison}); got"
            f" {'none' if isinstance(tables, Mapping) else type(tables).__name__}."  # type: ignore[redundant-expr]
        )
    for name, table in tables.items():
        if not isinstance(table, Comparison):
            raise TypeError(f"pairs takes comparisons by name; '{name}' is a {type(table).__name__}.")
        check_same_items(table, "pairs", "Compare one set of representations with itself.", f"'{name}'")
        if name in ("row", "column"):
            raise ValueError(f"'{name}' is a level of the index of pairs. Give the comparison another name.")
    first = next(iter(tables.values())).values.index
    # {position in the first: position in this one}
    places = [dict(zip(*match_labels(first, table.values.index), strict=True)) for table in tables.values()]
    items = [place for place in range(len(first)) if all(place in found for found in places)]
    if len(items) < 2:
        each = (
            f"{name} ({len(table.values)} items, such as {short_labels(table.values.index)[0]})"
            for name, table in tables.items()
        )
        raise ValueError(
            f"pairs needs at least 2 items that all comparisons have; {len(items)} {'is' if len(items) == 1 else 'are'}"
            f" common to {join_names(each, 6)}."
        )
    alone = [
        short_labels(table.values.index)[place]
        for table, found in zip(tables.values(), places, strict=True)
        for place in sorted(set(range(len(table.values))) - {found[item] for item in items})
    ]
    if alone := list(dict.fromkeys(alone)):
        it = "1 item is" if len(alone) == 1 else f"{len(alone)} items are"
        warn_user(f"pairs: {it} not in all tables and left out: {join_names(alone, 6)}.")
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
