"""A comparison is equal when it is read back, whatever the format, and other libraries read its values."""

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import repsim_nb as rs


@pytest.mark.parametrize("ending", ["json", "h5", "hdf5", "nc", "parquet"])
def test_a_comparison_is_equal_in_every_format(tmp_path, rng, ending):
    x = rng.normal(size=(20, 4))
    keys = {rs.Key("a", "fc", "photos", 3): x, rs.Key("ä/b", "fc", step="end"): x**2, ("c", "flat"): np.ones((20, 2))}
    for arrays in (rs.from_arrays(keys), {"one": x, "two": np.ones((20, 1))}, {1: x, 2: x**2}):
        found = rs.compare("cka", arrays, {"y": np.tanh(x), "z": x}, on_undefined="mask")
        assert rs.Comparison.load(found.save(tmp_path / f"c.{ending}")) == found


def test_other_libraries_read_a_saved_comparison(tmp_path, rng):
    x = rng.normal(size=(20, 4))
    found = rs.compare("cka", rs.from_arrays({"a/fc": x, "b/fc": x**2, "c/fc": np.ones((20, 2))}), on_undefined="mask")
    frame = pd.read_parquet(found.save(tmp_path / "c.parquet"))
    assert list(frame) == list(found.tidy()) and np.array_equal(frame["value"], found.tidy()["value"], equal_nan=True)
    assert frame["undefined"].notna().sum() == 5 and frame["model_row"].tolist() == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    with h5py.File(found.save(tmp_path / "c.h5")) as file:
        assert np.array_equal(file["values"][()], found.values, equal_nan=True)
        assert file["rows/model"].asstr()[()].tolist() == ["a", "b", "c"]
    with xr.open_dataset(found.save(tmp_path / "c.nc")) as data:
        assert data["values"].dims == ("row", "column") and data["column_model"].values.tolist() == ["a", "b", "c"]


def test_files_without_a_comparison_are_named(tmp_path, rng):
    found = rs.compare("cka", {"a": rng.normal(size=(20, 4))})
    for ending in ("csv", "zarr"):
        with pytest.raises(ValueError, match=rf"as .json, .h5, .*; got c.{ending}. .*c.tidy\(\).to_csv"):
            found.save(tmp_path / f"c.{ending}")
    x = rs.from_arrays({"net/fc": rng.normal(size=(20, 4))})
    for ending in ("h5", "nc"):
        with pytest.raises(
            ValueError, match=f"x.{ending} is not a file that Comparison.save wrote. For arrays: rs.from"
        ):
            rs.Comparison.load(x.export(tmp_path / f"x.{ending}"))
        with pytest.raises(FileNotFoundError):
            rs.Comparison.load(tmp_path / f"missing.{ending}")
    pd.DataFrame({"value": [1.0]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="is not a file that Comparison.save wrote"):
        rs.Comparison.load(tmp_path / "x.parquet")


@pytest.mark.parametrize("steps", [np.int64(3), np.float32(0.5), np.float64(0.5)])
def test_options_out_of_an_array_are_saved_as_plain_numbers(steps, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(2, 20, 4))
    measure = rs.measures.MultiscaleCKA(steps=steps)
    assert str(measure) == f"MultiscaleCKA(steps={steps.item()!r})"
    path = rs.compare(measure, {"x": x, "y": y}).save(tmp_path / "table.json")
    assert rs.Comparison.load(path).measure == measure == rs.Comparison.load(path, measure=measure).measure
