"""Recordings in files of other libraries, and arrays from files in a store: what is read back is equal."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from safetensors.numpy import load_file

import repsim_nb as rs
from repsim_nb.inputs.formats import LazyArray
from repsim_nb.inputs.store import arrays, entries

RNG = np.random.default_rng(0)
NAMES = [f"bild {i} ä" for i in range(12)]
ARRAYS = {
    rs.Key("org/net", "a/b", "photos", 3, "mean"): RNG.normal(size=(12, 5)).clip(0),
    rs.Key("org/net", "a/b", "photos", 4, "mean"): RNG.normal(size=(12, 3, 4)).astype("float32"),
    rs.Key("net", "half"): RNG.normal(size=(12, 2)).astype("float16"),
    rs.Key("net", "mask"): np.asfortranarray(RNG.normal(size=(12, 6)) > 0),
    rs.Key("net", "count"): RNG.integers(0, 9, size=(12, 1)),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Write a few rows at a time."""
    monkeypatch.setattr(entries, "PIECE", 200)


@pytest.fixture
def x():
    return rs.from_arrays(ARRAYS, ids=NAMES, groups=[i // 4 for i in range(12)], net={"accuracy": np.float32(0.5)})


def equal(one, other):
    assert list(one) == list(other) and one.facts == other.facts
    for key in one:
        assert np.array_equal(np.asarray(one[key]), np.asarray(other[key])) and one[key].dtype == other[key].dtype
        for labels in ("ids", "groups"):
            mine, theirs = (getattr(side, labels).get(key) for side in (one, other))
            assert (mine is None and theirs is None) or mine.tolist() == theirs.tolist()


@pytest.mark.parametrize("ending", [".h5", ".zarr", ".nc", ".safetensors"])
def test_what_is_exported_is_read_back_equal(tmp_path, x, ending):
    path = x.export(tmp_path / f"x{ending}")
    found = rs.from_arrays(path)
    equal(found, x)
    plain = rs.from_arrays(
        {name: i + np.eye(3) for i, name in enumerate(("n/fc2", "n/fc10", "n/fc1", "a.b/c", "a/b.c"))}
    )
    equal(rs.from_arrays(plain.export(tmp_path / f"plain{ending}")), plain)


def test_other_libraries_read_what_is_exported(tmp_path, x):
    half, mask = ARRAYS[rs.Key("net", "half")], ARRAYS[rs.Key("net", "mask")]
    with h5py.File(x.export(tmp_path / "x.h5")) as file:
        assert np.array_equal(file["net/half"][()], half)
    assert np.array_equal(zarr.open(x.export(tmp_path / "x.zarr"))["net/half"][:], half)
    found = load_file(x.export(tmp_path / "x.safetensors"))
    assert np.array_equal(found["net/half"], half) and np.array_equal(found["net/mask"], mask)
    with xr.open_dataset(x.export(tmp_path / "x.nc")) as data:
        assert np.array_equal(data["net.mask"], mask) and data["net.half"].dims[0] == "sample"
        assert data["sample"].values.tolist() == NAMES
    assert set(found) == {
        "org.net/a.b (photos, 3, mean)",
        "org.net/a.b (photos, 4, mean)",
        "net/half",
        "net/mask",
        "net/count",
    }


def test_a_store_is_exported_and_a_file_becomes_a_store(tmp_path, x):
    x.export(tmp_path / "x.h5")
    copy = rs.from_arrays(tmp_path / "x.h5", into=tmp_path / "store")
    assert all(isinstance(copy[key], np.memmap) for key in copy)
    store = rs.Store(tmp_path / "store")
    equal(copy, store.only(list(copy)))
    again = rs.from_arrays(store.export(tmp_path / "again.safetensors"))
    assert sorted(map(str, again)) == sorted(map(str, x))
    for key in x:
        assert np.array_equal(np.asarray(again[key]), np.asarray(x[key]))
        assert again.ids[key].tolist() == NAMES and again.groups[key].tolist() == x.groups[key].tolist()
    assert {model: known for model, known in copy.facts.items() if known} == x.facts


def test_an_exported_file_under_a_name_keeps_steps_and_facts(tmp_path, x):
    found = rs.from_arrays({"mine": x.export(tmp_path / "x.h5")})
    assert sorted(key.model for key in found) == sorted(f"mine/{key.model}" for key in x)
    assert {key.step for key in found} == {key.step for key in x} and found.facts == {"mine/net": {"accuracy": 0.5}}


def test_a_copy_is_found_again_continues_and_does_not_mix_files(tmp_path, x, monkeypatch):
    path = x.export(tmp_path / "x.h5")
    calls = []
    monkeypatch.setattr(arrays, "pieces", lambda *given: calls.append(given) or entries.pieces(*given))
    rs.from_arrays(path, into=tmp_path / "store")
    assert len(calls) == len(x)
    rs.from_arrays(path, into=rs.Store(tmp_path / "store"))
    assert len(calls) == len(x)
    x.export(path)
    with pytest.raises(ValueError, match="recorded with other source. Give the model another name"):
        rs.from_arrays(path, into=tmp_path / "store")
    tensors = {"net/fc": torch.tensor(RNG.normal(size=(12, 3))).bfloat16()}
    stored = rs.from_arrays(tensors, into=tmp_path / "torch")
    assert np.array_equal(stored["fc"], tensors["net/fc"].float().numpy())
    rs.from_arrays(tensors, into=tmp_path / "torch")
    with pytest.raises(ValueError, match="other source"):
        rs.from_arrays({"net/fc": tensors["net/fc"] + 1}, into=tmp_path / "torch")
    with pytest.raises(ValueError, match="'net/judged' is an RDM. Leave out into="):
        rs.from_arrays({"net/judged": rs.RDM([1.0, 2.0, 3.0])}, into=tmp_path / "torch")


def test_a_copy_that_was_interrupted_continues(tmp_path, monkeypatch):
    rows = RNG.normal(size=(12, 5))
    path = rs.from_arrays({"net/fc": rows}).export(tmp_path / "x.h5")
    real, starts = LazyArray.rows, []

    def interrupted(self, start, stop):
        starts.append(start)
        if start >= 5 and len(starts) < 4:
            raise KeyboardInterrupt
        return real(self, start, stop)

    monkeypatch.setattr(entries.LazyArray, "rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rs.from_arrays(path, into=tmp_path / "store")
    assert starts == [0, 5] and len(rs.Store(tmp_path / "store")) == 0
    starts += [None, None]
    copy = rs.from_arrays(path, into=tmp_path / "store")
    assert starts[4] == 5 and np.array_equal(copy["fc"], rows)


def test_what_cannot_be_exported_is_named(tmp_path, x, monkeypatch):
    with pytest.raises(ValueError, match=r"ending of the path shows the format, \.h5, .*format='hdf5'"):
        x.export(tmp_path / "x.dat")
    with pytest.raises(ValueError, match="unknown format 'hdf'. Did you mean 'hdf5'"):
        x.export(tmp_path / "x.dat", "hdf")
    assert x.export(tmp_path / "x.dat", format="hdf5").is_file()
    with pytest.raises(ValueError, match="'m/r' is an RDM: use rdm.to_frame"):
        rs.from_arrays({"m/r": rs.RDM([1.0, 2.0, 3.0])}).export(tmp_path / "r.h5")
    with pytest.raises(ValueError, match="'a/b' and 'c/d' have other samples, ids or groups. .* rs.align"):
        rs.from_arrays({"a/b": np.eye(3), "c/d": np.eye(4)}).export(tmp_path / "two.nc")
    with pytest.raises(ValueError, match="there are no recordings"):
        rs.Activations({}).export(tmp_path / "none.h5")
    x.export(tmp_path / "x.zarr")
    with pytest.raises(FileExistsError, match="is there already"):
        x.export(tmp_path / "x.zarr")


@pytest.mark.parametrize("ending", [".h5", ".zarr", ".nc", ".safetensors"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, x, monkeypatch, ending):
    path, before = tmp_path / f"x{ending}", b"something else"
    if ending != ".zarr":
        path.write_bytes(before)

    def fail(entry, start=0):
        yield from list(entries.pieces(entry, start))[:1]
        raise OSError("the disk is full")

    monkeypatch.setattr("repsim_nb.inputs.store.exporting.pieces", fail)
    with pytest.raises(OSError, match="the disk is full"):
        x.export(path)
    assert [item.name for item in tmp_path.iterdir()] == ([path.name] if ending != ".zarr" else [])
    assert ending == ".zarr" or path.read_bytes() == before


MEMORY = """
import sys, numpy as np
import repsim_nb as rs
from benchmarks.clock import Own
rng = np.random.default_rng(0)
rs.compare("cka", {"a": rng.normal(size=(64, 4)), "b": rng.normal(size=(64, 4))})
for name, options in (("plain.h5", {}), ("matlab.mat", {}), ("chunks.h5", {"into": sys.argv[1] + "/store"})):
    with Own() as own:
        value = rs.compare("cka", rs.from_arrays(f"{sys.argv[1]}/{name}", **options)).values.iloc[0, 1]
    print((own.peak_seen - own.before) / 2**20, value)
"""


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of one's own is read from /proc")
def test_files_are_compared_in_less_memory_than_they_take(tmp_path, rng):
    """Two arrays of 234 MB: 187, 108 and 159 MB of memory were seen, and 628 MB if they are read."""
    n, p = 60_000, 1024
    files = [h5py.File(tmp_path / name, "w") for name in ("plain.h5", "matlab.mat", "chunks.h5")]
    for name in "ab":
        plain = files[0].create_dataset(name, (n, p), "f4")
        matlab = files[1].create_dataset(name, (p, n), "f4")
        matlab.attrs["MATLAB_class"] = np.bytes_("single")
        chunks = files[2].create_dataset(name, (n, p), "f4", chunks=(1000, p), compression="lzf")
        for row in range(0, n, 6000):
            rows = rng.normal(size=(6000, p)).astype("f4")
            plain[row : row + 6000] = chunks[row : row + 6000] = rows
            matlab[:, row : row + 6000] = rows.T
    for file in files:
        file.close()
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True)
    found = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
    assert len(found) == 3 and all(memory < 300 for memory, _ in found)
    assert max(value for _, value in found) == pytest.approx(min(value for _, value in found), abs=1e-9)
