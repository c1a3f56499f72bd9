"""Formats with names: Zarr, netCDF, tables, and folders of thingsvision, each written by its own library."""

import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.io
import torch
import xarray as xr
import zarr

import repsim_nb as rs
from repsim_nb.inputs.formats import lazy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5)).clip(0)  # with exact zeros, as a ReLU has them
Y = RNG.normal(size=(12, 3, 4)).astype("float32")
NAMES = [f"image {i}" for i in range(12)]


def same(found, ids=NAMES):
    for layer, array in (("one", X), ("two", Y)):
        key = next(key for key in found if key.layer == layer)
        assert np.array_equal(np.asarray(found[key]), array) and found[key].dtype == array.dtype
        assert ids is None or found.ids[key].tolist() == ids


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_of_both_versions(tmp_path, version):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)
    group.create_array("net/one", shape=X.shape, dtype="f8", chunks=(5, 5))[:] = X
    group.create_array("net/two", shape=Y.shape, dtype="f4", chunks=(5, 3, 4))[:] = Y
    group.create_array("stimulus_id", shape=(12,), dtype=str)[:] = np.array(NAMES)
    group.create_array("labels", shape=(12,), dtype="i8")[:] = np.arange(12) % 3
    found = rs.from_arrays(tmp_path / "a.zarr")
    assert [str(key) for key in found] == ["net/one", "net/two"]
    same(found)
    folder = tmp_path / "without an ending"
    (tmp_path / "a.zarr").rename(folder)
    same(rs.from_arrays(folder))
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder)
    same(rs.from_arrays(tmp_path / "packed.zip"))
    zarr.save_array(tmp_path / "b.zarr", X, zarr_format=version)
    assert np.array_equal(rs.from_arrays({"net/one": tmp_path / "b.zarr"})["one"], X)
    with pytest.raises(ValueError, match="A single array has no name"):
        rs.from_arrays(tmp_path / "b.zarr")


class Running:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("the file was unpickled",))


@pytest.mark.parametrize("dtype", ["|O", "<f8"])
def test_a_pickled_array_of_zarr_is_not_read(tmp_path, dtype):
    zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2).create_array("net/one", shape=(3, 2), dtype="f8")
    (tmp_path / "a.zarr" / "ids").mkdir()
    about = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": dtype, "compressor": None, "fill_value": 0}
    about |= {"order": "C", "filters": [{"id": "pickle", "protocol": 4}]}
    (tmp_path / "a.zarr" / "ids" / ".zarray").write_text(json.dumps(about))
    (tmp_path / "a.zarr" / "ids" / "0").write_bytes(pickle.dumps(Running()))
    with pytest.raises(ValueError, match="pickle"):
        rs.from_arrays(tmp_path / "a.zarr")


def assembly(*, first="presentation", index=False):
    """An assembly as BrainIO makes it."""
    coords = {
        "stimulus_id": ("presentation", NAMES),
        "object_name": ("presentation", ["cat", "dog"] * 6),
        "repetition": ("presentation", [0] * 12),
        "neuroid_id": ("neuroid", [f"n{i}" for i in range(5)]),
    }
    data = xr.DataArray(X, coords, ("presentation", "neuroid"), name="one")
    data = data if first == "presentation" else data.transpose()
    return data.set_index(presentation=["stimulus_id", "object_name", "repetition"]) if index else data


def test_an_assembly_in_memory_has_the_stimulus_ids_of_its_index():
    found = rs.from_arrays({"brain/IT": assembly(index=True), "brain/V4": assembly()})
    assert [ids.tolist() for ids in found.ids.values()] == [NAMES, NAMES]


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "scipy"])
def test_the_presentations_of_an_assembly_are_samples_in_netcdf(tmp_path, engine):
    for first in ("presentation", "neuroid"):
        assembly(first=first).to_netcdf(tmp_path / f"{first}.nc", engine=engine)
        found = rs.from_arrays(tmp_path / f"{first}.nc")
        assert np.array_equal(np.asarray(found["one"]), X)
        assert found.ids[rs.Key("model", "one")].tolist() == NAMES


@pytest.mark.parametrize("version", [2, 3])
def test_xarray_in_zarr_is_read_with_zeros_and_names(tmp_path, version):
    data = xr.Dataset({"one": assembly(first="neuroid"), "two": (("presentation", "a", "b"), Y)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # text has no specification in version 3
        data.to_zarr(tmp_path / "a.zarr", zarr_format=version)
    same(rs.from_arrays(tmp_path / "a.zarr"))


def test_netcdf_groups_are_models_and_unclear_names_are_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "a.nc"
    xr.Dataset({"one": (("time", "space"), X)}, {"time": [f"t{i}" for i in range(12)]}).to_netcdf(path, group="net")
    xr.Dataset({"two": (("time", "space", "unit"), Y)}).to_netcdf(path, mode="a", group="other")
    with pytest.raises(ValueError, match=r"\('time', 'space'\), and their names do not show .* samples='time'"):
        rs.from_arrays(path)
    monkeypatch.setattr(lazy, "MAPPED", 0)
    found = rs.from_arrays(path, samples="time")
    assert [str(key) for key in found] == ["net/one", "other/two"]
    same(found, None)
    assert found.ids[rs.Key("net", "one")][0] == "t0" and isinstance(found["two"], np.memmap)
    with pytest.raises(ValueError, match="unknown axis of 'net/one'.*'tim'. Did you mean 'time'"):
        rs.from_arrays(path, samples="tim")
    packed = xr.Dataset({"one": (("image", "unit"), X)})
    packed.to_netcdf(tmp_path / "b.nc", encoding={"one": {"scale_factor": 0.5, "dtype": "int16", "_FillValue": -1}})
    assert np.array_equal(np.asarray(rs.from_arrays(tmp_path / "b.nc")["one"]), np.round(X * 2) / 2)


FRAME = pd.DataFrame(X, index=pd.Index(NAMES, name="image"), columns=list("abcde"))


@pytest.mark.parametrize("ending", ["parquet", "feather", "arrow"])
def test_tables_have_samples_in_rows_and_ids_in_the_index_or_in_text(tmp_path, ending):
    frames = {"index": FRAME, "column": FRAME.reset_index().assign(kind=["cat", "dog"] * 6, image_id=range(7, 19))}
    for name, frame in frames.items():
        path = tmp_path / f"{name}.{ending}"
        if ending == "parquet":
            frame.to_parquet(path)
        elif ending == "feather":
            pa.feather.write_feather(pa.Table.from_pandas(frame), path)
        else:
            table = pa.Table.from_pandas(frame)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=5)
    found = rs.from_arrays(tmp_path / f"index.{ending}")
    assert [str(key) for key in found] == ["model/index"] and np.array_equal(found["index"], X)
    assert found.ids[rs.Key("model", "index")].tolist() == NAMES
    with pytest.raises(ValueError, match=r"several names, 'image', 'image_id'. .* ids='image'"):
        rs.from_arrays(tmp_path / f"column.{ending}")
    found = rs.from_arrays({"net/fc": tmp_path / f"column.{ending}"}, ids="image_id")
    assert np.array_equal(found["fc"], X) and found.ids[rs.Key("net", "fc")].tolist() == list(range(7, 19))


def test_columns_of_vectors_are_layers(tmp_path):
    columns = {
        "image": NAMES,
        "one": pa.FixedSizeListArray.from_arrays(X.ravel(), 5),
        "two": pa.FixedShapeTensorArray.from_numpy_ndarray(Y),
        "list": [row.tolist() for row in Y.reshape(12, 12)],
        "score": np.arange(12.0),
    }
    table = pa.table(columns)
    pa.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=5)
    found = rs.from_arrays(tmp_path / "a.parquet")
    assert [key.layer for key in found] == ["one", "two", "list"]
    same(found)
    assert np.array_equal(np.asarray(found["list"]), Y.reshape(12, 12))
    pa.feather.write_feather(table.slice(3, 6), tmp_path / "part.feather")
    assert np.array_equal(np.asarray(rs.from_arrays(tmp_path / "part.feather")["two"]), Y[3:9])
    for rows, message in (([[1.0], [1.0, 2.0]], "different lengths"), ([[1.0], None], "lacks vectors in some rows")):
        pa.feather.write_feather(pa.table({"x": rows}), tmp_path / "bad.feather")
        with pytest.raises(ValueError, match=message):
            rs.from_arrays(tmp_path / "bad.feather")


THINGSVISION = Path(__file__).parent / "files" / "thingsvision"  # written by thingsvision 2.7.3, see the README there


@pytest.mark.parametrize("kind", ["npy", "pt", "mat", "hdf5", "txt"])
def test_a_folder_of_thingsvision_has_features_and_file_names(kind):
    found = rs.from_arrays(THINGSVISION / kind)
    key = rs.Key("model", kind)
    assert np.allclose(np.asarray(found[key]), np.arange(8.0).reshape(4, 2) / 8)
    assert found.ids[key].tolist() == ["bat_01b.jpg", "ant_02s.jpg", "cat_11.jpg", "dog_01.jpg"]


def test_pieces_of_thingsvision_are_joined_by_their_numbers(tmp_path):
    found = rs.from_arrays({"vgg": THINGSVISION / "modules"})
    assert [str(key) for key in found] == ["vgg/fc", "vgg/features.0"]
    images = np.arange(36.0).reshape(12, 3)
    assert np.array_equal(np.asarray(found["features.0"]), images @ np.arange(6.0).reshape(3, 2))
    assert np.array_equal(np.asarray(found["fc"]), images @ np.ones((3, 1)))
    shutil.copytree(THINGSVISION / "modules" / "fc", tmp_path / "fc")
    (tmp_path / "fc" / "features_6-6.npy").unlink()
    with pytest.raises(ValueError, match="features of 9 of 12 images; some pieces are missing"):
        rs.from_arrays(tmp_path)


def test_what_thingsvision_could_not_write_is_named(tmp_path):
    (tmp_path / "file_names.txt").write_text("_1.jpg\nant.jpg\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scipy.io.savemat(tmp_path / "features.mat", {"_1": np.ones(3), "ant": np.ones(3)})
    with pytest.raises(ValueError, match="has 2 names, .* 1 images, since SciPy leaves out variables .* begin with _"):
        rs.from_arrays(tmp_path)
    torch.save(torch.ones(2, 3), tmp_path / "features.pt")
    with pytest.raises(ValueError, match=r"in several files, features.mat, features.pt"):
        rs.from_arrays(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="is empty"):
        rs.from_arrays(tmp_path / "empty")
    (tmp_path / "empty" / "notes.md").write_text("nothing")
    with pytest.raises(ValueError, match="is neither an array of Zarr nor the output of thingsvision"):
        rs.from_arrays(tmp_path / "empty")
