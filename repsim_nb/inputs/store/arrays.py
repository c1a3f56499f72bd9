"""`from_arrays`: make Activations from arrays that were recorded elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .activations import Activations
from .named_arrays import read_named_arrays


def from_arrays(
    arrays: Mapping[Any, Any] | Sequence[Any] | str | Path,
    *,
    ids: Any = None,
    groups: Any = None,
    **facts: Mapping[str, Any],
) -> Activations:
    """Make Activations from arrays that were recorded elsewhere.

    Parameters
    ----------
    arrays : {"model/layer": array or path}, list of arrays, or path
        Arrays (n, ...): of NumPy, torch, pandas, polars, SciPy sparse, xarray, HDF5 or Zarr. A path to an .npz or .pt
        file contains arrays with such names; paths to .npy files are memory-mapped; .pt files are read with
        weights_only. A name without "/", or a number, is a layer of the model "model". A list or tuple of arrays
        contains the layers "0", "1", and so on. A tuple as a name has the fields of a `Key`.
    ids : array of str or int (n,), or {name of an array: its ids}, optional
        The unique names of the samples. `rs.compare` refuses arrays whose ids differ, and `rs.align` matches samples by
        them. The index of a DataFrame and the coordinate of a DataArray are ids already.
    groups : array (n,), or {name of an array: its labels}, optional
        A label for each row: rows with the same label depend on each other (tokens of a text, frames of a film,
        repeats of a stimulus). The functions of `rs.inference` use them. Labels that are neither text nor integers
        (dates, fractions, several types) become text.
    **facts : {field: value}
        What else is known about a model, under its name.

    Returns
    -------
    Activations
        The arrays by their keys. NumPy arrays and tensors are not copied.

    Raises
    ------
    ValueError
        If an array has no sample axis, if two names mean the same layer, if ids are not unique, or if there is not one
        id, or one group, for each sample.
    DamagedFile
        A ValueError: if a file cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> x = rs.from_arrays({"mine/layer1": np.eye(5), "mine/layer2": np.ones((5, 2))}, ids=list("abcde"))
    >>> x
    Activations(2 recordings of 1 model: 'mine')
    >>> x["layer2"].shape
    (5, 2)

    Facts about the models are columns of the table:

    >>> x = rs.from_arrays({"a/fc": np.eye(3), "b/fc": np.eye(3)}, a={"accuracy": 0.9}, b={"accuracy": 0.8})
    >>> x.table()["accuracy"].tolist()
    [0.9, 0.8]
    """
    found, known, grouped = read_named_arrays(arrays, ids, groups)
    return Activations(found, facts, known, groups=grouped)
