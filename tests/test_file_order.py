"""Arrays of a file have the order in which they were written, or the natural one if the format keeps none."""

import zipfile

import h5netcdf
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
import xarray as xr
import zarr
from matlab_73 import write_matlab_73
from safetensors.numpy import save_file

import repsim_nb as rs
from repsim_nb.support.files import sort_naturally

X = np.random.default_rng(0).normal(size=(8, 3))
WRITTEN = ["layer10", "layer2", "conv_1", "layer1.20", "layer1.3"]
NATURAL = ["conv_1", "layer1.3", "layer1.20", "layer2", "layer10"]


def arrays():
    return {name: X + place for place, name in enumerate(WRITTEN)}


def write_hdf5(path, **options):
    with h5py.File(path, "w", **options) as file:
        for name, x in arrays().items():
            file[name] = x


def write_groups(path, *, tracked):
    """The file keeps the order of one group, and not of the other."""
    with h5py.File(path, "w", track_order=tracked) as file:
        for model in ("net10", "net2"):
            group = file.create_group(model, track_order=model == "net2")
            for name, x in arrays().items():
                group[name] = x


def write_h5netcdf(path, **options):
    with h5netcdf.File(path, "w", **options) as file:
        file.dimensions = {"sample": 8, "feature": 3}
        for name, x in arrays().items():
            file.create_variable(name, ("sample", "feature"), "f8", data=x)


def write_untracked_netcdf(path):
    """As netCDF files are that another library than its own wrote."""
    write_hdf5(path)
    with h5py.File(path, "a") as file:
        file.attrs["_NCProperties"] = "version=2"
        for k, axis in enumerate(("sample", "feature")):
            file[axis] = np.zeros(X.shape[k])
            file[axis].make_scale(axis)
            for name in WRITTEN:
                file[name].dims[k].attach_scale(file[axis])


def write_zarr(path, version=3):
    group = zarr.open_group(path, mode="w", zarr_format=version)
    for name, x in arrays().items():
        group.create_array(name, shape=x.shape, dtype=x.dtype)[...] = x


def write_parquet(path):
    pd.DataFrame({name: list(x) for name, x in arrays().items()}).to_parquet(path)


def write_thingsvision(path):
    for name, x in arrays().items():
        (path / name).mkdir(parents=True)
        np.save(path / name / "features.npy", x)


def write_netcdf(path, **options):
    xr.Dataset({name: (("sample", "feature"), x) for name, x in arrays().items()}).to_netcdf(path, **options)


CASES = {
    "a.npz": (lambda path: np.savez(path, **arrays()), WRITTEN),
    "a.pt": (lambda path: torch.save({k: torch.from_numpy(x) for k, x in arrays().items()}, path), WRITTEN),
    "a.safetensors": (lambda path: save_file(arrays(), path), NATURAL),
    "a.h5": (write_hdf5, NATURAL),
    "tracked.h5": (lambda path: write_hdf5(path, track_order=True), WRITTEN),
    "a.mat": (lambda path: scipy.io.savemat(path, {k.replace(".", "_"): x for k, x in arrays().items()}), WRITTEN),
    "73.mat": (lambda path: write_matlab_73(path, {k.replace(".", "_"): x for k, x in arrays().items()}), NATURAL),
    "2.zarr": (lambda path: write_zarr(path, 2), NATURAL),
    "3.zarr": (write_zarr, NATURAL),
    "a.nc": (lambda path: write_netcdf(path, engine="netcdf4"), WRITTEN),
    "h5netcdf.nc": (write_h5netcdf, WRITTEN),
    "version3.nc": (lambda path: write_netcdf(path, engine="scipy"), WRITTEN),
    "untracked.nc": (write_untracked_netcdf, NATURAL),
    "a.parquet": (write_parquet, WRITTEN),
    "thingsvision": (write_thingsvision, NATURAL),
}


@pytest.mark.parametrize("name", CASES)
def test_arrays_have_the_order_of_the_file_or_the_natural_one(name, tmp_path):
    write, order = CASES[name]
    write(tmp_path / name)
    for found in (rs.from_arrays(tmp_path / name), rs.from_arrays({"mine": tmp_path / name})):
        layers = [key.layer.replace("layer1_", "layer1.") for key in found]
        assert layers == order
        for layer, x in zip(layers, found.values(), strict=True):
            assert np.array_equal(np.asarray(x), arrays()[layer]), "each name has its own values"
    table = rs.compare("cka", found)
    assert [row[1].replace("layer1_", "layer1.") for row in table.values.index] == order


@pytest.mark.parametrize("tracked", [False, True])
def test_each_group_has_its_own_order(tracked, tmp_path):
    write_groups(tmp_path / "a.h5", tracked=tracked)
    found = rs.from_arrays(tmp_path / "a.h5")
    models = ["net10", "net2"] if tracked else ["net2", "net10"]
    assert list(dict.fromkeys(key.model for key in found)) == models
    assert [key.layer for key in found.where(model="net10")] == NATURAL
    assert [key.layer for key in found.where(model="net2")] == WRITTEN


def test_fields_of_a_struct_have_the_order_of_matlab(tmp_path):
    path = write_matlab_73(tmp_path / "a.mat", {"net": {"layer10": X, "layer2": X + 1}})
    assert [key.layer for key in rs.from_arrays(path)] == ["layer2", "layer10"]
    with h5py.File(path, "a") as file:
        fields = np.empty(2, object)
        fields[:] = [np.array(list(name), "S1") for name in ("layer10", "layer2")]
        file["net"].attrs.create("MATLAB_fields", fields, dtype=h5py.vlen_dtype(np.dtype("S1")))
    assert [key.layer for key in rs.from_arrays(path)] == ["layer10", "layer2"]


@pytest.mark.parametrize("ending", ["h5", "zarr", "nc", "safetensors"])
def test_an_export_keeps_the_order_of_the_recording(ending, tmp_path):
    x = rs.from_arrays({f"net/{name}": x for name, x in arrays().items()})
    found = rs.from_arrays(x.export(tmp_path / f"a.{ending}"))
    assert [key.layer for key in found] == WRITTEN
    for key in x:
        assert np.array_equal(np.asarray(found[key]), np.asarray(x[key]))


def test_a_zip_of_zarr_has_the_natural_order(tmp_path):
    write_zarr(tmp_path / "a.zarr")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for file in sorted((tmp_path / "a.zarr").rglob("*"), reverse=True):
            packed.write(file, file.relative_to(tmp_path / "a.zarr"))
    assert [key.layer for key in rs.from_arrays(tmp_path / "a.zip")] == NATURAL


def test_natural_order_takes_numbers_as_numbers():
    assert sort_naturally(reversed(WRITTEN)) == NATURAL
    assert sort_naturally(["b", "10", "a1", "9", "a01", "a"]) == ["a", "a01", "a1", "b", "9", "10"]
