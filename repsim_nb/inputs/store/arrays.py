"""`from_arrays`: make Activations from arrays that were recorded elsewhere, and copy them into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repsim_nb.inputs.formats import LazyArray
from repsim_nb.support.errors import check_name
from repsim_nb.support.labels import Key
from repsim_nb.support.rdms import RDM

from .activations import Activations
from .entries import dtype_of, pieces
from .named_arrays import read_named_arrays
from .store import Store


def from_arrays(
    arrays: Mapping[Any, Any] | Sequence[Any] | str | Path,
    *,
    ids: Any = None,
    groups: Any = None,
    samples: Any = None,
    into: Any = None,
    **facts: Mapping[str, Any],
) -> Activations:
    """Make Activations from arrays that were recorded elsewhere.

    Parameters
    ----------
    arrays : {"model/layer": array or path}, list of arrays, or path
        Arrays (n, ...): of NumPy, torch, pandas, polars, SciPy sparse, xarray, HDF5 or Zarr. A path leads to a file
        with such arrays: .npz, .pt, .safetensors, .h5, .mat, .zarr, .nc, .parquet, .feather, .arrow, or a folder of
        thingsvision; or, under a name, to an .npy file, or to a file whose arrays become the layers of this model. A
        name without "/", or a number, is a layer of the model "model". A list or tuple of arrays contains the layers
        "0", "1", and so on. A tuple as a name has the fields of a `Key`.
    ids : array of str or int (n,), str, or {name of an array: its ids}, optional
        The unique names of the samples. `rs.compare` refuses arrays whose ids differ, and `rs.align` matches samples by
        them. The index of a DataFrame and the coordinate of a DataArray are ids already, and so are labels in a file
        whose name shows it, such as "ids", "stimulus_id" or "file_names". Text chooses one of the labels in the file.
    groups : array (n,), or {name of an array: its labels}, optional
        A label for each row: rows with the same label depend on each other (tokens of a text, frames of a film,
        repeats of a stimulus). The functions of `rs.inference` use them. Labels that are neither text nor integers
        (dates, fractions, several types) become text.
    samples : int, str, or {name of an array: int or str}, optional
        The axis that has the samples, by number or name. By default the first one, or the one whose name shows it, such
        as "presentation" or "stimulus". In MATLAB files rows are samples, as MATLAB shows them.
    into : Store or path, optional
        A store, or the folder of one, into which the arrays are copied by rows. They come back memory-mapped, so files
        that are larger than memory can be compared, whatever their compression.
    **facts : {field: value}
        What else is known about a model, under its name.

    Returns
    -------
    Activations
        The arrays by their keys. NumPy arrays and tensors are not copied. Arrays in files are read when they are first
        used; those of 64 MiB or more that are stored in one piece are memory-mapped, and never read as a whole.

    Raises
    ------
    TypeError
        If facts are not under the name of a model.
    ValueError
        If facts are of a model that has no array, an array has no sample axis, two names mean the same layer, ids are
        not unique, or there is not one id, or one group, for each sample; if a file has no array with two axes, or does
        not show which axis has the samples, or which labels are the ids.
    DamagedFile
        A ValueError: if a file cannot be read. Nothing in a file is unpickled.
    ModuleNotFoundError
        If the library that reads such files is not installed.

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
    found = read_named_arrays(arrays, ids, groups, samples)
    models = list(dict.fromkeys(key.model for key in found.arrays))
    for name, given in facts.items():
        if not isinstance(given, Mapping):
            known_fact = f"{{{name!r}: {given!r}}}"
            model = str(models[0])
            right = f"{model}={known_fact}" if model.isidentifier() else f"**{{{model!r}: {known_fact}}}"
            raise TypeError(
                f"facts must be a mapping under the name of a model, such as from_arrays(..., {right}); got"
                f" {name}={given!r}."
            )
        check_name("model with facts", name, models, "The name is the part before the slash.")
    known = {model: {**found.facts.get(model, {}), **facts.get(model, {})} for model in {**found.facts, **facts}}
    x = Activations(found.arrays, known, found.ids, groups=found.groups)
    return x if into is None else _copy_into(x, into)


def _copy_into(found: Activations, into: Store | str | Path) -> Activations:
    """Write arrays into a store by rows, and return them memory-mapped.

    An array that is there already, from the same file or with the same numbers, is found again; a copy that was
    interrupted continues.
    """
    store = into if isinstance(into, Store) else Store(into)
    for place, (key, entry) in enumerate(found._entries().items()):
        if isinstance(entry, RDM):
            raise ValueError(f"A store has arrays (samples, features); '{key}' is an RDM. Leave out into=.")
        ids, groups = found._ids_of(key, entry), found._groups_of(key, entry)
        with store.alone(key):
            origin = {"source": _fingerprint(entry)}
            if store.holds(key, origin):
                continue
            facts = found.facts.get(key.model, {})
            dtype = dtype_of(entry)
            writer = store.writer(key, tuple(entry.shape), dtype, origin, facts, place=place, ids=ids, groups=groups)
            try:
                for start, rows in pieces(entry, writer.rows):
                    writer.write(start, rows)
            except BaseException:
                writer.save_progress()  # the next copy continues here
                raise
            writer.commit()
    return store.only(Key(*key) for key in found)


def _fingerprint(entry: Any) -> str:
    """Return a hash of the place, size and time of a file, or of the numbers of an array in memory."""
    digest = hashlib.blake2b(repr((tuple(entry.shape), str(entry.dtype))).encode(), digest_size=16)
    path = Path(entry.path) if isinstance(entry, LazyArray) else None
    if isinstance(entry, LazyArray) and path is not None and path.is_file():
        stat = path.stat()
        digest.update(repr((str(path.resolve()), entry.name, entry.order, stat.st_size, stat.st_mtime_ns)).encode())
    else:
        for _, rows in pieces(entry):
            digest.update(rows.data.cast("B"))
    return digest.hexdigest()
