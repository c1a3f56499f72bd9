"""Files of other libraries, each written by its own: axes, ids, laziness, and errors that name what to do."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch
from matlab_73 import write_matlab_73
from safetensors.torch import save_file

import repsim_nb as rs
from repsim_nb.inputs.formats import lazy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5))
Y = RNG.normal(size=(12, 3, 4)).astype("float32")
NAMES = [f"image {i}" for i in range(12)]


@pytest.fixture
def mapped(monkeypatch):
    """Map small arrays into memory, too."""
    monkeypatch.setattr(lazy, "MAPPED", 0)


def same(found, ids=NAMES):
    """Check the arrays X and Y and their ids."""
    for layer, array in (("one", X), ("two", Y)):
        key = next(key for key in found if key.layer == layer)
        assert np.array_equal(np.asarray(found[key]), array) and found[key].dtype == array.dtype
        assert ids is None or found.ids[key].tolist() == ids


def write_h5(path, **options):
    with h5py.File(path, "w") as file:
        file["net/one"] = X
        file.create_dataset("net/two", data=Y, **options)
        file["image_ids"], file["labels"] = NAMES, np.arange(12) % 3
    return path


def test_groups_of_hdf5_are_models_and_text_named_ids_names_the_samples(tmp_path):
    found = rs.from_arrays(write_h5(tmp_path / "a.h5", chunks=(5, 3, 4), compression="gzip"))
    assert [str(key) for key in found] == ["net/one", "net/two"]
    same(found)
    assert rs.compare("cka", found).values.iloc[0, 1] == rs.measures.get("cka")(X, Y)


def test_an_array_in_one_piece_is_mapped_into_memory(tmp_path, mapped):
    found = rs.from_arrays(write_h5(tmp_path / "a.h5"))
    same(found)
    assert all(isinstance(found[key], np.memmap) for key in found)
    chunked = rs.from_arrays(write_h5(tmp_path / "b.h5", chunks=True))
    assert not isinstance(chunked["two"], np.memmap)
    save_file({"one": torch.tensor(X), "two": torch.tensor(Y)}, tmp_path / "a.safetensors")
    found = rs.from_arrays(tmp_path / "a.safetensors")
    same(found, None)
    assert isinstance(found["two"], np.memmap)
    found = rs.from_arrays(write_matlab_73(tmp_path / "a.mat", {"one": X, "two": Y}))
    same(found, None)
    assert isinstance(found["one"], np.memmap)
    assert rs.compare("cka", found).values.iloc[0, 1] == pytest.approx(rs.measures.get("cka")(X, Y), abs=1e-12)


CELLS = np.empty((12, 1), object)
CELLS[:, 0] = NAMES
STRUCT = {"one": X, "two": Y, "image_names": CELLS, "numbers": np.arange(12.0)[:, None]}


@pytest.mark.parametrize("version", ["5", "4 as HDF5", "7.3"])
def test_matlab_shows_the_same_axes_in_all_versions(tmp_path, version):
    path = tmp_path / "a.mat"
    if version == "5":
        scipy.io.savemat(path, {"net": STRUCT, "mask": X > 0, "empty": np.zeros((0, 3))}, do_compression=True)
    else:
        options = {"chunks": True, "compression": "gzip"} if version == "7.3" else {}
        struct = {**STRUCT, "image_names": NAMES}
        write_matlab_73(path, {"net": struct, "mask": X > 0, "word": "hello"}, **options)
    found = rs.from_arrays(path)
    assert {str(key) for key in found} >= {"net/one", "net/two", "model/mask"}
    same(found)
    assert np.array_equal(np.asarray(found["mask"]), X > 0) and found["mask"].dtype == bool


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_cells_of_matrices_are_layers_and_sparse_matrices_are_filled(tmp_path, version):
    path, sparse = tmp_path / "a.mat", scipy.sparse.csc_array(X.clip(0))
    if version == "5":
        cells = np.empty((1, 2), object)
        cells[0] = [X, Y]
        scipy.io.savemat(path, {"acts": cells, "sparse": sparse})
    else:
        write_matlab_73(path, {"acts": [X, Y]})
        with h5py.File(path, "a") as file:
            group = file.create_group("sparse")
            group.attrs["MATLAB_class"], group.attrs["MATLAB_sparse"] = np.bytes_("double"), np.uint64(12)
            group["data"], group["ir"], group["jc"] = sparse.data, sparse.indices, sparse.indptr
    found = rs.from_arrays(path)
    assert np.array_equal(np.asarray(found["acts/0"]), X) and np.array_equal(np.asarray(found["acts/1"]), Y)
    assert np.array_equal(np.asarray(found["sparse"]), sparse.toarray())


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_fields_of_an_array_of_structs_are_layers_and_rdms_are_pointed_out(tmp_path, version):
    """As the RDMs of the RSA toolbox for MATLAB: RDMs(i).RDM, RDMs(i).name."""
    path, rdms = tmp_path / "rdms.mat", [np.abs(X[:, :1] - X[:, :1].T), np.abs(X[:, 1:2] - X[:, 1:2].T)]
    if version == "5":
        structs = np.array(
            [tuple(item) for item in zip(rdms, ["IT", "V4"], strict=True)], [("RDM", "O"), ("name", "O")]
        )
        scipy.io.savemat(path, {"RDMs": structs})
    else:
        write_matlab_73(path, {"RDMs": {"RDM": rdms, "name": ["IT", "V4"]}})
    with pytest.warns(UserWarning, match=r"'RDMs/RDM/\d' in .* as dissimilarities are, .* rs.RDM"):
        found = rs.from_arrays(path)
    assert [str(key) for key in found] == ["RDMs/RDM/0", "RDMs/RDM/1"]
    assert np.array_equal(np.asarray(found["1"]), rdms[1]) and not found.ids


def test_tensors_have_text_or_numbers_as_names(tmp_path):
    tensors = {0: torch.tensor(X), "block": (torch.tensor(Y), None), "net": {"fc": torch.tensor(X).bfloat16()}}
    torch.save({**tensors, "ids": NAMES, "loss": 0.5}, tmp_path / "a.pt")
    found = rs.from_arrays(tmp_path / "a.pt")
    assert [str(key) for key in found] == ["model/0", "model/block", "net/fc"]
    assert torch.equal(found["block"], torch.tensor(Y)) and found.ids[rs.Key("net", "fc")].tolist() == NAMES
    torch.save((torch.tensor(X), torch.tensor(Y)), tmp_path / "hidden.pt")
    assert [key.layer for key in rs.from_arrays(tmp_path / "hidden.pt")] == ["0", "1"]


def test_safetensors_of_every_type(tmp_path):
    kinds = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
    tensors = {kind: torch.tensor(10 * X).to(getattr(torch, kind)) for kind in kinds}
    save_file({**tensors, "sample_ids": torch.arange(12)}, tmp_path / "a.safetensors")
    found = rs.from_arrays(tmp_path / "a.safetensors")
    assert set(kinds) == {key.layer for key in found}
    for kind, tensor in tensors.items():
        assert np.array_equal(np.asarray(found[kind]), tensor.to(torch.float64).numpy()), kind
        assert found.ids[rs.Key("model", kind)].tolist() == list(range(12))


def test_a_file_with_several_arrays_is_a_model(tmp_path):
    write_h5(tmp_path / "a.h5")
    torch.save({"fc": torch.tensor(X)}, tmp_path / "b.pt")
    found = rs.from_arrays({"mine": tmp_path / "a.h5", "theirs": tmp_path / "b.pt", "one/fc": tmp_path / "b.pt"})
    assert [str(key) for key in found] == ["mine/net/one", "mine/net/two", "theirs/fc", "one/fc"]
    with pytest.raises(ValueError, match="is a model, .*; got 0"):
        rs.from_arrays([tmp_path / "a.h5"])


def test_the_axis_of_the_samples_is_asked_for(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["one"], file["two"] = X.T, np.moveaxis(Y, 0, -1)
    with pytest.raises(ValueError, match=r"\(5, 12\) and \(3, 4, 12\): .* State it: samples=-1, or samples=0"):
        rs.from_arrays(path)
    same(rs.from_arrays(path, samples=-1), None)
    same(rs.from_arrays(path, samples={"one": 1, "two": 2}), None)
    with h5py.File(path, "a") as file:
        del file["two"]
        file["ids"] = NAMES
    with pytest.raises(ValueError, match=r"'ids' names 12 samples, .* State it: samples=1"):
        rs.from_arrays(path)
    found = rs.from_arrays(path, samples=1)
    assert np.array_equal(np.asarray(found["one"]), X) and found.ids[rs.Key("model", "one")].tolist() == NAMES
    for wrong, message in ((2, "samples=2 is no axis"), ("stimulus", "have no names. Pass its number: samples=0 to 1")):
        with pytest.raises(ValueError, match=message):
            rs.from_arrays(path, samples=wrong)
    with h5py.File(path, "a") as file:
        file["one"].dims[0].label, file["one"].dims[1].label = "neuroid", "presentation"
    same_one = rs.from_arrays(path)
    assert np.array_equal(np.asarray(same_one["one"]), X)
    assert np.array_equal(np.asarray(rs.from_arrays(path, samples="presentation")["one"]), X)
    assert rs.from_arrays({"net/one": X.T}, samples=1)["one"].shape == (12, 5)


def test_ids_that_have_several_names_are_chosen(tmp_path):
    path = write_h5(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["file_names"] = [f"{i}.png" for i in range(12)]
    with pytest.raises(ValueError, match=r"several names, 'file_names', 'image_ids'. .* ids='file_names'"):
        rs.from_arrays(path)
    same(rs.from_arrays(path, ids="image_ids"))
    with pytest.raises(ValueError, match="unknown labels of the samples of 'net/one'.*'image_ids'"):
        rs.from_arrays(path, ids="image_id")
    same(rs.from_arrays(path, ids=list(range(12))), list(range(12)))


def test_files_without_arrays_and_damaged_files_are_named(tmp_path):
    scipy.io.savemat(tmp_path / "labels.mat", {"labels": np.arange(12.0)})
    with pytest.raises(ValueError, match=r"labels.mat has no array of numbers .* 'labels \(12,\) "):
        rs.from_arrays(tmp_path / "labels.mat")
    for name in ("a.h5", "a.mat", "a.safetensors", "a.pt", "a.npz"):
        (tmp_path / name).write_bytes(b"nonsense and more of it" * 100)
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            rs.from_arrays(tmp_path / name)
    save_file({"one": torch.tensor(X)}, tmp_path / "cut.safetensors")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-8])
    with pytest.raises(ValueError, match="'one' of shape .* is not where its header says"):
        rs.from_arrays(tmp_path / "cut.safetensors")
    with h5py.File(tmp_path / "half.h5", "w") as file:
        file["x"] = np.zeros((3, 2), "V2")
    with pytest.raises(ValueError, match="keep bfloat16. Save it as float32"):
        rs.from_arrays(tmp_path / "half.h5")
    torch.save({"fc.weight": torch.tensor(X), "fc.bias": torch.tensor(X[0])}, tmp_path / "w.pt")
    save_file({"fc.weight": torch.tensor(X), "fc.bias": torch.tensor(X[0])}, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        with pytest.raises(ValueError, match=r"has weights of a model, such as 'fc.weight', .*rs.load_model\("):
            rs.from_arrays(tmp_path / name)
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file["layers/dense/vars/0"], file.attrs["keras_version"] = X, "3.0"
    with pytest.raises(ValueError, match="has weights of a model of Keras"):
        rs.from_arrays(tmp_path / "model.weights.h5")
    with h5py.File(tmp_path / "frame.h5", "w") as file:  # as DataFrame.to_hdf lays it out
        file["df/block0_values"], file["df"].attrs["pandas_type"] = X, "frame"
    with pytest.raises(ValueError, match=r"pandas.read_hdf\('.*frame.h5', 'df'\)"):
        rs.from_arrays(tmp_path / "frame.h5")
    for name in ("missing.h5", "missing.zarr", "missing.nc", "missing.mat"):
        with pytest.raises(FileNotFoundError):
            rs.from_arrays(tmp_path / name)
    with pytest.raises(ValueError, match="ids must be one per sample, .*; got 'conditions'"):
        rs.from_arrays({"net/fc": X}, ids="conditions")


def test_a_missing_library_is_named_with_how_to_install_it(tmp_path, monkeypatch):
    path = write_h5(tmp_path / "a.h5")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"needs h5py, which is not installed: pip install 'repsim_nb\[files\]'"
    ):
        rs.from_arrays(path)


RSATOOLBOX = Path(__file__).parent / "files" / "rsatoolbox"  # written by rsatoolbox 0.3.2, see the README there


def test_a_dataset_of_rsatoolbox_has_the_descriptor_that_is_unique_as_ids():
    found = rs.from_arrays(RSATOOLBOX / "dataset.h5")
    names = ["object 3", "object 1", "object 0", "object 2", "object 4"]
    assert found["measurements"].shape == (5, 3) and found["measurements"][0].tolist() == [0.126, -0.132, 0.64]
    assert found.ids[rs.Key("model", "measurements")].tolist() == names
    named = rs.from_arrays({"s1/IT": RSATOOLBOX / "dataset.h5"})
    assert [str(key) for key in named] == ["s1/IT"]


def test_rdms_of_rsatoolbox_are_rdms_with_ids_and_missing_pairs():
    found = rs.from_arrays(RSATOOLBOX / "rdms.h5")
    assert [key.layer for key in found] == ["s1", "s2"]  # the descriptor that is unique
    data, rdm = rs.from_arrays(RSATOOLBOX / "dataset.h5"), found["s1"]
    assert isinstance(rdm, rs.RDM) and rdm.squared
    assert rdm.ids.tolist() == [f"object {i}" for i in range(5)]  # calc_rdm sorts them, so they must be aligned
    mine, theirs = rs.align(data, found.where(layer="s1"))
    assert rs.compare("cka", mine, theirs).values.to_numpy().item() == pytest.approx(1, abs=1e-12)
    missing = rs.from_arrays(RSATOOLBOX / "missing.h5")
    assert [missing[layer].missing.sum() for layer in ("0", "1")] == [0, 2] and missing["0"].ids is None
    assert not missing["0"].squared and missing["1"].vector()[[0, 2]].tolist() == [2, 4]


@pytest.mark.parametrize("measure", ["poisson_cv", "crossnobis", "squared euclidean", "euclidean"])
def test_cross_validated_rdms_of_rsatoolbox_can_be_negative(tmp_path, measure):
    with h5py.File(tmp_path / "rdms.h5", "w") as file:
        file["dissimilarities"] = [[-1.0, -2.0, -0.5]]
        file.attrs["dissimilarity_measure"] = measure
        file.create_group("pattern_descriptors")
        file.create_group("rdm_descriptors")
    if measure == "euclidean":
        with pytest.raises(ValueError, match=r"RDM '0' in .*rdms.h5: .* no pair has a value above 0"):
            rs.from_arrays(tmp_path / "rdms.h5")
        return
    with pytest.warns(UserWarning, match="no pair has a value above 0"):
        assert rs.from_arrays(tmp_path / "rdms.h5")["0"].squared
