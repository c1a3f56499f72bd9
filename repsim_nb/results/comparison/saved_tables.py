"""A comparison in HDF5, netCDF or Parquet: the values for other libraries, and the rest as JSON next to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.inputs.formats import import_for
from repsim_nb.support.labels import frame_of

NAME = "comparison"  # of the JSON in the file


def write_hdf5(path: Path, about: Mapping[str, Any], values: pd.DataFrame, tidy: pd.DataFrame) -> None:
    """Write `values`, and the fields of the labels, `rows/model` and so on."""
    h5py = import_for("h5py", path, "writing")
    with h5py.File(path, "w") as file:
        file["values"] = values.to_numpy(float)
        file[NAME] = json.dumps(about)
        for side, axis in (("rows", values.index), ("columns", values.columns)):
            for field, labels in frame_of(axis).items():
                file[f"{side}/{field}"] = _plain(labels)


def read_hdf5(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return what `write_hdf5` wrote."""
    with import_for("h5py", path).File(path, "r") as file:
        return json.loads(file[NAME][()]), file["values"][()]


def write_netcdf(path: Path, about: Mapping[str, Any], values: pd.DataFrame, tidy: pd.DataFrame) -> None:
    """Write `values` (row, column) with the fields of the labels as coordinates."""
    import_for("h5netcdf", path, "writing")
    xarray = import_for("xarray", path, "writing")
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
    import_for("h5netcdf", path)
    with import_for("xarray", path).open_dataset(path, engine="h5netcdf") as data:
        return json.loads(str(data[NAME].values)), data["values"].values


def write_parquet(path: Path, about: Mapping[str, Any], values: pd.DataFrame, tidy: pd.DataFrame) -> None:
    """Write the tidy table, one row for each pair."""
    arrow = import_for("pyarrow", path, "writing")
    columns = {name: _plain(column) for name, column in tidy.items()}
    columns |= {
        "undefined": arrow.array([why if isinstance(why, str) else None for why in tidy["undefined"]], arrow.string())
    }
    table = arrow.table(columns).replace_schema_metadata({NAME: json.dumps(about)})
    import_for("pyarrow.parquet", path, "writing").write_table(table, path)


def read_parquet(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return what `write_parquet` wrote."""
    table = import_for("pyarrow.parquet", path).read_table(path)
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
