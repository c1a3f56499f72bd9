"""What files have besides activations: ids of other groups, ids of features, links, scales, missing values."""

import re
import warnings

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import safetensors.numpy
import scipy.io
import torch
import xarray as xr
import zarr

import repsim_nb as rs
from repsim_nb.support.errors import UndefinedError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 5)), RNG.normal(size=(12, 4))
A, B = np.arange(100, 112), np.arange(200, 212)


def write_netcdf(path, nested):
    for group, arrays in nested.items():
        data = {
            name: ((("sample", f"{name}_feature") if value.ndim == 2 else ("sample",)), value)
            for name, value in arrays.items()
        }
        xr.Dataset(data).to_netcdf(path, group=group, mode="a", engine="h5netcdf")


def write_zarr(path, nested):
    root = zarr.open_group(path, mode="w")
    for name, value in flat(nested).items():
        value = np.asarray(value)
        root.create_array(name, shape=value.shape, dtype=value.dtype)[...] = value


def write_hdf5(path, nested):
    with h5py.File(path, "w") as file:
        for name, value in flat(nested).items():
            file[name] = value


def write_matlab_73(path, nested):
    with h5py.File(path, "w") as file:
        for name, value in flat(nested).items():
            file[name] = np.atleast_2d(value.T)
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
        for group in nested:
            file[group].attrs["MATLAB_class"] = np.bytes_("struct")


def flat(nested):
    return {f"{group}/{name}": value for group, arrays in nested.items() for name, value in arrays.items()}


WRITERS = {
    "h5": write_hdf5,
    "mat": lambda path, nested: scipy.io.savemat(path, nested),
    "7.3.mat": write_matlab_73,
    "nc": write_netcdf,
    "npz": lambda path, nested: np.savez(path, **flat(nested)),
    "pt": lambda path, nested: torch.save(
        {group: {name: torch.tensor(value) for name, value in arrays.items()} for group, arrays in nested.items()}, path
    ),
    "safetensors": lambda path, nested: safetensors.numpy.save_file(flat(nested), path),
    "zarr": write_zarr,
}


@pytest.mark.parametrize("ending", WRITERS)
def test_ids_belong_to_the_arrays_of_their_group(tmp_path, ending):
    nested = {"m1": {"fc": X, "ids": A}, "m10": {"fc": Y}, "other": {"fc": X + 1, "ids": B}}
    path = tmp_path / f"a.{ending}"
    WRITERS[ending](path, nested)
    found = rs.from_arrays(path)
    for group, arrays in nested.items():
        key = rs.Key(group, "fc")
        ids = found.ids.get(key)
        assert np.array_equal(np.asarray(found[key]), arrays["fc"])
        assert ids is None if group == "m10" else ids.tolist() == arrays["ids"].tolist()


@pytest.mark.parametrize("ending", [ending for ending in WRITERS if ending != "nc"])
def test_a_group_with_labels_alone_names_the_samples_of_the_arrays_around_it(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    WRITERS[ending](path, {"model": {"fc": X}, "about": {"image_ids": A}, "neurons": {"ids": np.arange(5)}})
    assert rs.from_arrays(path).ids[rs.Key("model", "fc")].tolist() == A.tolist()
    WRITERS[ending](tmp_path / f"b.{ending}", {"model": {"fc": X}, "one": {"ids": A}, "two": {"ids": B}})
    with pytest.raises(ValueError, match="several names, 'one/ids', 'two/ids'"):
        rs.from_arrays(tmp_path / f"b.{ending}")
    found = rs.from_arrays(tmp_path / f"b.{ending}", ids="two/ids")
    assert found.ids[rs.Key("model", "fc")].tolist() == B.tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"IT": X.T, "image_ids": A, "neuron_ids": np.arange(5)}, r"'image_ids' names 12 samples"),
        ({"IT": X.T, "unit_id": np.arange(5)}, r"'unit_id' names 5 features"),
        ({"IT": X.T, "some_ids": A, "other_ids": np.arange(5)}, r"'some_ids' names 12 samples"),
        ({"IT": X.T, "stimulus_id": A, "subject_id": np.arange(5)}, r"'stimulus_id' names 12 samples"),
    ],
)
def test_ids_of_features_never_name_samples(tmp_path, arrays, message):
    for ending in ("npz", "h5"):
        WRITERS[ending](tmp_path / f"a.{ending}", {"m": arrays})
        with pytest.raises(ValueError, match=f"{message}.*samples=1"):
            rs.from_arrays(tmp_path / f"a.{ending}")
        assert rs.from_arrays(tmp_path / f"a.{ending}", samples=1)["IT"].shape == (12, 5)
    upright = {name: value.T if name == "IT" else value for name, value in arrays.items()}
    if "some_ids" not in arrays:  # these two may each name samples
        np.savez(tmp_path / "b.npz", **upright)
        ids = rs.from_arrays(tmp_path / "b.npz").ids.get(rs.Key("model", "IT"))
        assert ids is None if "unit_id" in arrays else ids.tolist() == A.tolist()


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([77, 77, *range(10)], "has 77 2 times"),
        (["cat", "cat", *"abcdefghij"], "has cat 2 times"),
        ([np.nan, *range(11)], "lacks names"),
        ([0.5, *range(11)], "neither text nor integers"),
        ([None, *"abcdefghijk"], "lacks names"),
    ],
)
def test_ids_that_name_no_samples_are_not_lost_in_silence(tmp_path, ids, message):
    torch.save({"fc": torch.tensor(X), "image_ids": ids}, tmp_path / "a.pt")
    pd.DataFrame({"image_id": ids, "fc": list(X)}).to_parquet(tmp_path / "a.parquet")
    paths = [tmp_path / "a.pt", tmp_path / "a.parquet"]
    if None not in ids:
        np.savez(tmp_path / "a.npz", fc=X, ids=np.array(ids))
        text = isinstance(ids[0], str)
        WRITERS["h5"](tmp_path / "a.h5", {"m": {"fc": X, "ids": np.array(ids, "S") if text else np.array(ids)}})
        paths += [tmp_path / "a.npz", tmp_path / "a.h5"]
    for path in paths:
        with pytest.warns(UserWarning, match=message):
            found = rs.from_arrays(path)
        assert not any(value is not None for value in found.ids.values())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert rs.from_arrays(path, ids=list(range(12))).ids


def test_whole_numbers_that_are_stored_as_fractions_are_ids(tmp_path):
    np.savez(tmp_path / "a.npz", fc=X, ids=A.astype(float))
    WRITERS["zarr"](tmp_path / "a.zarr", {"m": {"fc": X, "ids": A.astype(float)}})
    for path in (tmp_path / "a.npz", tmp_path / "a.zarr"):
        assert next(iter(rs.from_arrays(path).ids.values())).tolist() == A.tolist()


def test_links_of_hdf5_are_followed_also_into_other_files(tmp_path):
    for name, value in (("other", X), ("main", Y)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["X"] = value
    with h5py.File(tmp_path / "main.h5", "a") as file:
        file["net/far"], file["near"] = h5py.ExternalLink("other.h5", "/X"), h5py.SoftLink("/X")
    found = rs.from_arrays(tmp_path / "main.h5")
    assert {str(key) for key in found} == {"net/far", "model/near", "model/X"}
    assert np.array_equal(found["far"], X) and np.array_equal(found["near"], Y)
    with h5py.File(tmp_path / "main.h5", "a") as file:
        file["net/gone"] = h5py.SoftLink("/nothing")
    with pytest.raises(ValueError, match="'net/gone' is a link to something that is not there"):
        rs.from_arrays(tmp_path / "main.h5")


def test_ragged_arrays_of_hdf5_are_left_out_with_a_warning(tmp_path):
    for kind, message in ((h5py.vlen_dtype(float), "rows of different lengths"), ([("x", "f4")], "the fields ..x")):
        WRITERS["h5"](tmp_path / "a.h5", {"m": {"fc": X}})
        with h5py.File(tmp_path / "a.h5", "a") as file:
            file.create_dataset("m/other", (12, 2), dtype=kind)
        with pytest.warns(UserWarning, match=f"'m/other' in .* has {message}.* left out"):
            assert len(rs.from_arrays(tmp_path / "a.h5")) == 1
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["fc"], file["ids"], file["notes"] = X, [f"text {i}" for i in range(12)], [["a", "b"]] * 12
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # text is left out without a warning
        assert rs.from_arrays(tmp_path / "b.h5").ids[rs.Key("model", "fc")].tolist()[0] == "text 0"


def test_scales_and_marks_for_missing_values_are_never_read_as_values(tmp_path):
    whole = (X * 100).round()
    data = xr.Dataset({"a": (("presentation", "neuroid"), whole)})
    packed = {"a": {"dtype": "int16", "scale_factor": 2.0, "add_offset": 1.0, "_FillValue": -999}}
    data.to_netcdf(tmp_path / "a.h5", encoding=packed, engine="h5netcdf")
    assert abs(rs.from_arrays(tmp_path / "a.h5")["a"] - whole).max() <= 1
    WRITERS["h5"](tmp_path / "b.h5", {"m": {"a": X}})
    with h5py.File(tmp_path / "b.h5", "a") as file:
        file["m/a"].attrs["scale_factor"] = 2.0
    with pytest.raises(ValueError, match="stored with a scale"):
        rs.from_arrays(tmp_path / "b.h5")
    whole[3, 2] = np.nan
    data.to_netcdf(tmp_path / "c.h5", encoding={"a": {"dtype": "int16", "_FillValue": -999}}, engine="h5netcdf")
    assert np.array_equal(rs.from_arrays(tmp_path / "c.h5")["a"], whole, equal_nan=True)
    for version, kind, missing in ((2, "int16", -999), (3, "int16", -999), (2, "float32", -9.5), (3, "float32", -9.5)):
        path = tmp_path / f"{kind}{version}.zarr"
        encoding = {"a": {"dtype": kind, "_FillValue": missing}}
        data.to_zarr(path, encoding=encoding, zarr_format=version, consolidated=False)
        with pytest.raises(ValueError, match=f"missing values, which are stored as {missing}"):
            rs.from_arrays(path)["a"]
        data[["a"]].fillna(0).to_zarr(path, mode="w", encoding=encoding, zarr_format=version, consolidated=False)
        assert np.array_equal(rs.from_arrays(path)["a"], np.nan_to_num(whole).astype(kind))


def test_entries_of_torch_are_all_kept_or_named(tmp_path):
    x, y = torch.tensor(X), torch.tensor(Y)
    for entries in ({1: x, "1": y}, {"a/b": x, "a": {"b": y}}, {"a.0": x, "a": [y, y]}):
        torch.save(entries, tmp_path / "a.pt")
        with pytest.raises(ValueError, match="two entries of the name"):
            rs.from_arrays(tmp_path / "a.pt")
    torch.save({"one": X.tolist(), "two": y}, tmp_path / "b.pt")
    assert np.array_equal(rs.from_arrays(tmp_path / "b.pt")["one"], X)
    torch.save({"one": list(x), "two": y}, tmp_path / "c.pt")
    with pytest.warns(UserWarning, match="'one' in .* is a list of 12 vectors, and was left out"):
        rs.from_arrays(tmp_path / "c.pt")


def test_complex_layers_are_listed_and_undefined(tmp_path):
    for ending in ("h5", "mat", "npz", "pt"):
        WRITERS[ending](tmp_path / f"a.{ending}", {"m": {"one": X + 1j, "two": Y}})
        found = rs.from_arrays(tmp_path / f"a.{ending}")
        assert len(found) == 2 and found["one"].shape == X.shape
        with pytest.raises(UndefinedError, match="complex128"):
            rs.measures.get("cka")(found["one"], found["two"])


def test_tables_neither_lose_an_index_nor_take_classes_for_features(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame(X, index=A, columns=list("abcde")).to_parquet(path)
    assert rs.from_arrays(path).ids[rs.Key("model", "a")].tolist() == A.tolist()
    for index in ([1] * 12, pd.date_range("2020", periods=12), pd.MultiIndex.from_product([[7, 8], range(6)])):
        pd.DataFrame(X, index=index, columns=list("abcde")).to_parquet(path)
        with pytest.warns(UserWarning, match="cannot name samples"):
            rs.from_arrays(path)
    pd.DataFrame(X, columns=list("abcde")).assign(label=A % 3).to_parquet(path)
    with pytest.raises(ValueError, match="of integers, 'label'"):
        rs.from_arrays(path)
    rows = [row.tolist() for row in X]
    for column, message in (
        ([*rows[:11], [1.0]], "different lengths"),  # in another row group
        ([*rows[:11], [1.0, None, 1.0, 1.0, 1.0]], "lack values"),
        ([list("abcde")] * 12, "no array of numbers"),
    ):
        pa.parquet.write_table(pa.table({"x": column}), path, row_group_size=11)
        with pytest.raises(ValueError, match=message):
            rs.from_arrays(path)
    pa.parquet.write_table(pa.table({"x": X[:, 0], "y": pa.array(["1.50"] * 12).cast(pa.decimal128(5, 2))}), path)
    assert rs.from_arrays(path)["a"][:, 1].tolist() == [1.5] * 12


def test_an_empty_file_is_named(tmp_path):
    for ending in ("npy", "npz", "pt", "safetensors", "h5", "mat", "nc", "parquet", "arrow"):
        (tmp_path / f"a.{ending}").touch()
        with pytest.raises(ValueError, match=re.escape(f"a.{ending} is damaged")):
            rs.from_arrays({"m": tmp_path / f"a.{ending}"})
