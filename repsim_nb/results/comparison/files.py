"""A comparison as a file: JSON, or HDF5, netCDF and Parquet, whose values other libraries read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.names import code_of, plain
from repsim_nb.support.errors import as_clause, import_library
from repsim_nb.support.files import replace_atomically
from repsim_nb.support.labels import frame_of

FORMAT = "repsim_nb.Comparison/1"
NAME = "comparison"  # of the JSON in files of other formats
ARRAYS = (".npz", ".pt", ".safetensors", ".h5", ".hdf5", ".mat", ".nc", ".parquet")  # some that `from_arrays` reads
_OTHERS = (".csv", ".tsv", ".txt", ".xlsx", ".zarr", ".npz", ".npy", ".mat", ".safetensors", ".pt", ".feather", ".pkl")


def write_comparison(
    path: Path,
    values: pd.DataFrame,
    measure: Measure,
    n: int,
    undefined: Mapping[tuple[Any, Any], str],
    tidy: Callable[[], pd.DataFrame],
) -> Path:
    """Write a comparison to one file, in one step."""
    if path.suffix.lower() in _OTHERS:
        raise ValueError(
            f"A comparison is saved as .json, {', '.join(FORMATS)}; got {path.name}. For other programs:"
            " c.tidy().to_csv('c.csv', index=False), which has no place for the measure and loses the types of labels."
        )
    content = comparison_to_json(values, measure, n, undefined)
    write, _ = FORMATS.get(path.suffix.lower(), (None, None))
    with replace_atomically(path) as temporary:
        if write is None:
            temporary.write_text(json.dumps(content))
        else:
            write(temporary, {field: its for field, its in content.items() if field != "values"}, values, tidy())
    return path


def comparison_to_json(
    values: pd.DataFrame, measure: Measure, n: int, undefined: Mapping[tuple[Any, Any], str]
) -> dict[str, Any]:
    """Return a comparison as data for JSON."""
    name = code_of(measure).removesuffix("()")
    return {
        "format": FORMAT,
        "n": n,
        "measure": {"class": type(measure).__name__, "name": name, "options": _options_to_json(measure)},
        "rows": _axis_to_json(values.index),
        "columns": _axis_to_json(values.columns),
        "values": [[None if np.isnan(v) else v for v in row] for row in values.to_numpy().tolist()],
        "undefined": [
            [int(values.index.get_loc(r)), int(values.columns.get_loc(c)), why] for (r, c), why in undefined.items()
        ],
    }


def read_comparison(
    path: Path, measure: Measure | None
) -> tuple[pd.DataFrame, Measure, int, dict[tuple[Any, Any], str]]:
    """Return values, measure, n and undefined, as `write_comparison` wrote them."""
    _, read = FORMATS.get(path.suffix.lower(), (None, None))
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        if read is None:
            content = json.loads(path.read_text())
        else:
            about, values = read(path)
            content = {**about, "values": values}
    except json.JSONDecodeError as error:
        raise _damage_error(path, error) from error
    except (KeyError, TypeError, OSError, ValueError):  # a file with other content, whose error may show all its bytes
        arrays = f" For arrays: rs.from_arrays('{path}')." if path.suffix in ARRAYS else ""
        raise ValueError(f"{path} is not a file that Comparison.save wrote.{arrays}") from None
    return parse_comparison(content, path, measure)


def _damage_error(path: Path, error: Exception) -> ValueError:
    return ValueError(f"the file {path} contains no comparison, or is damaged ({repr(error)[:200]}).")


def parse_comparison(
    content: Any, path: Path, measure: Measure | None
) -> tuple[pd.DataFrame, Measure, int, dict[tuple[Any, Any], str]]:
    """Return what `comparison_to_json` made data for JSON of; path: the file of the data, for errors."""
    try:
        if content["format"] != FORMAT:
            raise KeyError("format")
        index, columns = _axis_from_json(content["rows"]), _axis_from_json(content["columns"])
        values = pd.DataFrame(np.array(content["values"], dtype=float), index=index, columns=columns)
        undefined = {(index[i], columns[j]): why for i, j, why in content["undefined"]}
        name, options, n = content["measure"]["class"], content["measure"]["options"], int(content["n"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _damage_error(path, error) from error
    written = content["measure"].get("name", name)
    if measure is not None:
        if "name" in content["measure"] and written != code_of(measure).removesuffix("()"):
            raise ValueError(f"{path} was written with the measure {written}; got {measure}.")
        return values, measure, n, undefined
    todo = "Pass the measure: Comparison.load(path, measure=...)."
    kind = getattr(measures, name, None)
    if options is None:
        raise ValueError(f"{path} was written with {written}, whose options (of {name}) are not plain data. {todo}")
    if not (isinstance(kind, type) and issubclass(kind, Measure)):
        raise ValueError(f"{path} was written with a measure of your own, {name}. {todo}")
    try:
        return values, kind(**options), n, undefined
    except TypeError as error:
        raise ValueError(
            f"{path} was written with options that {name} does not have in this version ({as_clause(error)}). {todo}"
        ) from error


def _options_to_json(measure: Measure) -> dict[str, Any] | None:
    """Return the options of a measure if JSON can represent them, else None."""
    try:
        options = {name: plain(value) for name, value in asdict(measure).items()}
        json.dumps(options)
    except (TypeError, ValueError):
        return None
    return options


def _axis_to_json(axis: pd.Index) -> dict[str, Any]:
    """Return field names and labels of an axis as plain data."""
    frame = frame_of(axis)
    return {"names": list(frame), "labels": [list(row) for row in frame.astype(object).itertuples(index=False)]}


def _axis_from_json(axis: Mapping[str, Any]) -> pd.Index:
    """Return the axis that `_axis_to_json` wrote."""
    if axis["names"] == ["label"]:
        return pd.Index([label for (label,) in axis["labels"]], name="label")
    return pd.MultiIndex.from_tuples([tuple(label) for label in axis["labels"]], names=axis["names"])


def write_hdf5(path: Path, about: Mapping[str, Any], values: pd.DataFrame, tidy: pd.DataFrame) -> None:
    """Write `values`, and the fields of the labels, `rows/model` and so on."""
    h5py = import_library("h5py", f"writing {path}")
    with h5py.File(path, "w") as file:
        file["values"] = values.to_numpy(float)
        file[NAME] = json.dumps(about)
        for side, axis in (("rows", values.index), ("columns", values.columns)):
            for field, labels in frame_of(axis).items():
                file[f"{side}/{field}"] = _plain(labels)


def read_hdf5(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return what `write_hdf5` wrote."""
    with import_library("h5py", f"reading {path}").File(path, "r") as file:
        return json.loads(file[NAME][()]), file["values"][()]


def write_netcdf(path: Path, about: Mapping[str, Any], values: pd.DataFrame, tidy: pd.DataFrame) -> None:
    """Write `values` (row, column) with the fields of the labels as coordinates."""
    import_library("h5netcdf", f"writing {path}")
    xarray = import_library("xarray", f"writing {path}")
    coords = {
        f"{side}_{field}": (side, _plain(labels))
        for side, axis in (("row", values.index), ("column", values.columns))
        for field, labels in frame_of(axis).items()
    }
    data = xarray.Dataset(
        {"values": (("row", "column"), values.to_numpy(float)), NAME: ((), json.dumps(about))}, coords
    )
    data.to_netcdf(path, engine="h5netcdf")


def read_netcdf(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return what `write_netcdf` wrote."""
    import_library("h5netcdf", f"reading {path}")
    with import_library("xarray", f"reading {path}").open_dataset(path, engine="h5netcdf") as data:
        return json.loads(str(data[NAME].values)), data["values"].values


def write_parquet(path: Path, about: Mapping[str, Any], values: pd.DataFrame, tidy: pd.DataFrame) -> None:
    """Write the tidy table, one row for each pair."""
    arrow = import_library("pyarrow", f"writing {path}")
    columns = {name: _plain(column) for name, column in tidy.items()}
    columns |= {
        "undefined": arrow.array([why if isinstance(why, str) else None for why in tidy["undefined"]], arrow.string())
    }
    table = arrow.table(columns).replace_schema_metadata({NAME: json.dumps(about)})
    import_library("pyarrow.parquet", f"writing {path}").write_table(table, path)


def read_parquet(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return what `write_parquet` wrote."""
    table = import_library("pyarrow.parquet", f"reading {path}").read_table(path)
    about = json.loads(table.schema.metadata[NAME.encode()])
    shape = len(about["rows"]["labels"]), len(about["columns"]["labels"])
    return about, table.column("value").to_numpy().reshape(shape)


def _plain(labels: pd.Series) -> Any:
    """Return labels as numbers, or as text if they have several types."""
    kinds = {type(label) for label in labels}
    return labels.to_numpy() if labels.dtype.kind in "if" and len(kinds) == 1 else [str(label) for label in labels]


Writer = Callable[[Path, Mapping[str, Any], pd.DataFrame, pd.DataFrame], None]
Reader = Callable[[Path], tuple[dict[str, Any], np.ndarray]]
FORMATS: dict[str, tuple[Writer, Reader]] = {
    ".h5": (write_hdf5, read_hdf5),
    ".hdf5": (write_hdf5, read_hdf5),
    ".nc": (write_netcdf, read_netcdf),
    ".parquet": (write_parquet, read_parquet),
}
