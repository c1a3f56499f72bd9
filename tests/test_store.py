import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import repsim_nb as rs
from repsim_nb.errors import DamagedFile, Stopped
from repsim_nb.store import Writer

# -- activations in memory -------------------------------------------------------------------------------------------------

def test_short_names_work_where_they_are_unique(recorded):
    assert recorded["fc1"].shape == (200, 128) and recorded["mnist-cnn-1/conv1"].shape == (200, 3136)
    key = rs.Key("mnist-cnn-0", "fc", "mnist/test[n=200,seed=0]")
    assert recorded[key] is recorded[tuple(key)] and key in recorded
    with pytest.raises(KeyError, match="'conv1' fits 2 recordings: 'mnist-cnn-0/conv1"):
        recorded["conv1"]
    with pytest.raises(KeyError, match="unknown recording 'fc7'. Did you mean"):
        recorded["fc7"]
    with pytest.raises(KeyError, match="no recording has the key"):
        recorded["a", "b", "c", 0, "flatten"]


def test_where_takes_values_patterns_and_lists(recorded):
    assert [k.layer for k in recorded.where(model="mnist-mlp-0")] == ["fc1", "fc2", "fc3", "output"]
    assert len(recorded.where(model="mnist-cnn-*")) == 10 and len(recorded.where(layer=["fc", "fc1"])) == 3
    with pytest.raises(ValueError, match="unknown model 'mnist-cn-0'. Did you mean 'mnist-cnn-0'"):
        recorded.where(model="mnist-cn-0")
    with pytest.raises(ValueError, match="unknown field 'modle'. Did you mean 'model'"):
        recorded.where(modle="a")
    with pytest.raises(ValueError, match="nothing has model='mnist-mlp-0', layer='conv1' together"):
        recorded.where(model="mnist-mlp-0", layer="conv1")
    assert len(recorded.where(dataset="mnist/test[n=200,seed=*]")) == 14 and len(recorded.where(step=np.int64(0))) == 14


def test_the_table_knows_the_models(recorded):
    table = recorded.table()
    assert len(table) == 14 and table.loc[0, "architecture"] == "cnn" and table.loc[0, "p"] == 3136 and table.loc[0, "MB"] == pytest.approx(200 * 3136 * 4 / 1e6, abs=1e-3)
    assert "14 recordings of 3 models" in repr(recorded) and "<table" in recorded._repr_html_()


def test_two_recordings_join(recorded):
    a, b = recorded.where(model="mnist-cnn-0"), recorded.where(model="mnist-mlp-0")
    both = a | b
    assert len(both) == 9 and set(both.facts) == {"mnist-cnn-0", "mnist-mlp-0"}


def test_arrays_from_elsewhere(tmp_path, rng):
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2, 2))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "both.npz", **{"a/one": x, "b/two": y})
    torch.save({"a/one": torch.tensor(x)}, tmp_path / "x.pt")
    found = rs.from_arrays({"a/one": x, "b.c/deep/two": y, "plain": tmp_path / "x.npy"})
    assert [k[:2] for k in found] == [("a", "one"), ("b.c/deep", "two"), ("model", "plain")] and np.array_equal(found["plain"], x)
    assert isinstance(found["plain"], np.memmap)
    assert np.array_equal(rs.from_arrays(tmp_path / "both.npz")["b/two"], y) and np.array_equal(rs.from_arrays(str(tmp_path / "x.pt"))["a/one"], x)
    assert rs.compare("cka", rs.from_arrays(tmp_path / "x.pt"), found.where(model="a")).values.iloc[0, 0] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"'model/flat' has shape \(3,\)"):
        rs.from_arrays({"flat": np.zeros(3)})
    with pytest.raises(ValueError, match="a single array has no name"):
        rs.from_arrays(tmp_path / "x.npy")
    with pytest.raises(ValueError, match=".npy, .npz and .pt"):
        rs.from_arrays("x.csv")
    np.save(tmp_path / "evil.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="evil.npy is damaged, or holds something other than arrays"):
        rs.from_arrays({"a/b": tmp_path / "evil.npy"})


# -- on disk ---------------------------------------------------------------------------------------------------------------

def test_a_store_holds_what_memory_would(tmp_path, mnist, recorded):
    store = rs.Store(tmp_path / "s")
    x = rs.record(["zoo:mnist-cnn-0", "zoo:mnist-cnn-1", "zoo:mnist-mlp-0"], mnist, into=store, progress=False)
    again = rs.Store(tmp_path / "s")
    assert list(again) == list(recorded) == list(x)
    for key in recorded:
        assert isinstance(again[key], np.memmap) and not again[key].flags.writeable and np.array_equal(again[key], recorded[key])
    assert again.table().equals(recorded.table()) and len(again.where(model="mnist-mlp-0")) == 4
    assert rs.compare("cka", again).values.equals(rs.compare("cka", recorded).values)
    assert not [f for f in os.listdir(tmp_path / "s") if "part" in f or f.endswith(".tmp")]


def test_what_is_there_is_not_run_again(tmp_path, mnist):
    model = rs.load_model("zoo:mnist-mlp-0")
    rs.record(model, mnist, ["fc1"], into=tmp_path / "s", progress=False)
    passes = []
    handle = model.module.register_forward_hook(lambda *_: passes.append(1))
    rs.record(model, mnist, ["fc1"], into=str(tmp_path / "s"), progress=False)
    assert passes == []
    rs.record(model, mnist, ["fc1", "fc2"], into=tmp_path / "s", progress=False)
    handle.remove()
    assert passes and len(rs.Store(tmp_path / "s")) == 2


def test_pools_steps_and_data_sets_do_not_collide(tmp_path, mnist):
    other = rs.load_dataset("mnist", n=200, seed=1)
    for data, options in ((mnist, {}), (mnist, {"pool": "mean"}), (mnist, {"step": 5}), (other, {})):
        rs.record("zoo:mnist-cnn-0", data, "conv3", into=tmp_path, progress=False, **options)
    store = rs.Store(tmp_path)
    assert len(store) == 4 and store[rs.Key("mnist-cnn-0", "conv3", mnist.name, 0, "mean")].shape == (200, 48)


def test_changed_weights_or_inputs_under_an_old_name_are_an_error(tmp_path, mnist):
    rs.record("zoo:mnist-mlp-0", mnist, "fc1", into=tmp_path, progress=False)
    other = rs.load_model("zoo:mnist-mlp-1")
    with pytest.raises(ValueError, match="already holds 'mnist-mlp-0/fc1.*recorded with other weights"):
        rs.record(rs.load_model(other.module, name="mnist-mlp-0", preprocess=other.preprocess), mnist, "fc1", into=tmp_path, progress=False)
    changed = rs.Dataset(mnist.name, 255 - mnist.inputs)
    with pytest.raises(ValueError, match="recorded with other inputs"):
        rs.record("zoo:mnist-mlp-0", changed, "fc1", into=tmp_path, progress=False)
    assert rs.Store(tmp_path).remove(model="mnist-mlp-0") == 1
    rs.record("zoo:mnist-mlp-0", changed, "fc1", into=tmp_path, progress=False)


def test_an_interrupted_recording_is_invisible_and_goes_on(tmp_path, mnist, recorded):
    rows = []

    def stop(done, total):
        rows.append(done)
        if done >= 96:
            raise Stopped

    model = rs.load_model("zoo:mnist-cnn-0")
    with pytest.raises(Stopped):
        rs.record(model, mnist, into=tmp_path, batch_size=32, progress=stop)
    assert len(rs.Store(tmp_path)) == 0
    seen = []
    handle = model.module.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    x = rs.record(model, mnist, into=tmp_path, batch_size=32, progress=False)
    handle.remove()
    assert seen == [2, 1, 32, 32, 32, 8], "two samples for the shapes, one alone to see that it says the same, then only the rows that were missing"
    direct = rs.record(model, mnist, batch_size=32, progress=False)
    assert all(np.array_equal(x[key], direct[key]) for key in direct)


def test_a_partial_recording_of_another_model_is_not_taken_up(tmp_path, mnist):
    def stop(done, total):
        raise Stopped

    a, b = rs.load_model("zoo:mnist-mlp-0"), rs.load_model("zoo:mnist-mlp-1")
    with pytest.raises(Stopped):
        rs.record(a, mnist, "fc1", into=tmp_path, batch_size=50, progress=stop)
    other = rs.load_model(b.module, name=a.name, preprocess=b.preprocess)
    x = rs.record(other, mnist, "fc1", into=tmp_path, batch_size=50, progress=False)
    assert np.array_equal(x["fc1"], rs.record(b, mnist, "fc1", batch_size=50, progress=False)["fc1"])


KILLED = """
    import sys, time
    import repsim_nb as rs
    from repsim_nb.store import Writer
    Writer.interval = 0.05
    def slowly(done, total):
        print(done, flush=True); time.sleep(0.02)
    rs.record("zoo:mnist-mlp-0", rs.load_dataset("mnist", n=200), into=sys.argv[1], batch_size=5, progress=slowly)
"""


def test_killed_at_any_moment_the_store_opens_and_the_recording_ends_right(tmp_path, mnist):
    expected = rs.record("zoo:mnist-mlp-0", mnist, batch_size=5, progress=False)
    resumed = 0
    for moment in (0.1, 0.35, 0.6, 1.0, 1.6, 2.4):
        if resumed and moment > 0.6:
            break  # the later moments are for a busy machine, where nothing had been written by then
        process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = rs.Store(tmp_path)
        resumed += bool(store.unfinished())
        for key in store:
            assert np.allclose(store[key], expected[key], rtol=1e-4, atol=1e-4)  # another process may round otherwise; a row not written is 0
    assert resumed, "at least one kill left rows to go on from"
    x = rs.record("zoo:mnist-mlp-0", mnist, into=tmp_path, batch_size=5, progress=False)
    assert all(np.allclose(x[key], expected[key], rtol=1e-4, atol=1e-4) for key in expected) and not rs.Store(tmp_path).unfinished()


def test_killed_between_any_two_steps_nothing_half_written_is_read(tmp_path, monkeypatch):
    """A child dies right before its k-th rename, removal or flush, for every k; the parent then looks, and records again."""
    values = np.arange(60.0).reshape(20, 3)
    key, origin = rs.Key("m", "layer", "d"), {"weights": "w"}

    def recorded(store, steps):
        def counted(function):
            def call(*arguments, **options):
                steps[0] -= 1
                if steps[0] < 0:
                    os._exit(9)
                return function(*arguments, **options)
            return call

        for owner, name in ((os, "replace"), (os, "posix_fallocate"), (np.memmap, "flush")):
            monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
        monkeypatch.setattr(Path, "unlink", counted(Path.unlink))
        monkeypatch.setattr(Writer, "interval", -1)
        with store.alone(key):
            writer = store.writer(key, values.shape, values.dtype, origin, {}, place=0)
            for start in range(writer.rows, 20, 5):
                writer.write(start, values[start : start + 5])
            writer.commit()

    finished, k = False, 0
    while not finished:
        child = os.fork()
        if child == 0:
            recorded(rs.Store(tmp_path / str(k)), [k])
            os._exit(0)
        finished = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store = rs.Store(tmp_path / str(k))
        assert all(np.array_equal(store[found], values) for found in store), f"killed before step {k}"
        if not store.holds(key, origin):
            recorded(store, [1000])
        assert np.array_equal(store[key], values) and not store.unfinished()
        k += 1
    assert k > 15


def test_only_the_files_trouble_counts_as_damage(tmp_path, mnist, monkeypatch):
    rs.record("zoo:mnist-mlp-0", mnist, "fc1", into=tmp_path, progress=False)

    def too_many(*arguments, **options):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(np.lib.format, "open_memmap", too_many)
    with pytest.raises(OSError, match="Too many open files"):
        rs.record("zoo:mnist-mlp-0", mnist, "fc1", into=tmp_path, progress=False)
    monkeypatch.undo()
    assert len(rs.Store(tmp_path)) == 1


def test_a_full_disk_is_a_sentence(tmp_path, mnist, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"no room on the disk for 'mnist-mlp-0/fc1.*it takes 0 MB"):
        rs.record("zoo:mnist-mlp-0", mnist, "fc1", into=tmp_path, progress=False)
    assert not list(tmp_path.glob("*.npy"))


def test_layers_stand_in_forward_order_however_they_came(tmp_path, mnist):
    rs.record("zoo:mnist-cnn-0", mnist, ["fc"], into=tmp_path, progress=False)
    x = rs.record("zoo:mnist-cnn-0", mnist, into=tmp_path, progress=False)
    order = ["conv1", "conv2", "conv3", "fc", "output"]
    assert [k.layer for k in x] == order == [k.layer for k in rs.Store(tmp_path)]
    for into in (None, tmp_path):
        assert [k.layer for k in rs.record("zoo:mnist-cnn-0", mnist, ["fc", "conv1"], into=into, progress=False)] == ["conv1", "fc"]


def test_another_preprocess_pool_or_architecture_is_another_recording(tmp_path, mnist):
    def record(model, **options):
        return rs.record(model, mnist, ["1"], into=tmp_path, progress=False, **options)

    torch.manual_seed(0)
    relu = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 5), torch.nn.ReLU())
    tanh = torch.nn.Sequential(relu[0], relu[1], torch.nn.Tanh())
    record(rs.load_model(relu, name="m"))
    with pytest.raises(ValueError, match="recorded with other preprocessing"):
        record(rs.load_model(relu, name="m", preprocess=lambda b: -torch.as_tensor(b).float()))
    with pytest.raises(ValueError, match="recorded with other weights"):
        record(rs.load_model(tanh, name="m"))

    def keeping(k):
        def some(h):
            return h.flatten(1)[:, :k]
        return some

    assert record(rs.load_model(relu, name="m"), pool=keeping(3))["m/1 (mnist/test[n=200,seed=0], some)"].shape == (200, 3)
    with pytest.raises(ValueError, match="recorded with other pool"):
        record(rs.load_model(relu, name="m"), pool=keeping(2))


def test_a_function_called_mean_is_not_the_mean(tmp_path, mnist):
    def mean(h):
        return h.amax((2, 3))

    rs.record("zoo:mnist-cnn-0", mnist, "conv3", pool="mean", into=tmp_path, progress=False)
    with pytest.raises(ValueError, match="recorded with other pool. Give the pool function another name"):
        rs.record("zoo:mnist-cnn-0", mnist, "conv3", pool=mean, into=tmp_path, progress=False)
    with pytest.raises(ValueError, match="could not be preprocessed, and it said: division by zero"):
        rs.record(rs.load_model("zoo:mnist-cnn-0", name="broken", preprocess=lambda b: 1 / 0), mnist, into=tmp_path, progress=False)


def test_one_recording_is_removed_and_no_other(tmp_path, rng):
    store = rs.Store(tmp_path)
    for name in ("d[1]", "d1"):
        with store.alone(rs.Key("m", "a", name)):
            writer = store.writer(rs.Key("m", "a", name), (4, 2), "float64", {}, {"accuracy": np.float32(0.5)}, place=0)
            writer.write(0, rng.normal(size=(4, 2)))
            writer.commit()
    store.writer(rs.Key("m", "b", "d1"), (4, 2), "float64", {}, {}, place=1).keep()
    assert store.unfinished() == [rs.Key("m", "b", "d1")] and "1 unfinished" in repr(store) and store.facts["m"] == {"accuracy": 0.5}
    assert store.remove(dataset="d[1]") == 1 and [k.dataset for k in store] == ["d1"]
    assert store.remove(model="m") == 2 and not [f for f in os.listdir(tmp_path) if not f.endswith(".lock")]


def test_a_store_that_is_not_there_is_empty_and_makes_no_folder(tmp_path):
    store = rs.Store(tmp_path / "absent")
    assert len(store) == 0 and not (tmp_path / "absent").exists() and "no such folder yet" in repr(store)


def test_damaged_files_are_named_never_read_and_recorded_anew(tmp_path, mnist):
    x = rs.record("zoo:mnist-mlp-0", mnist, ["fc1", "fc2"], into=tmp_path, progress=False)
    good = np.array(x["fc1"])
    del x
    path = next(tmp_path.glob("*fc1*.npy"))
    os.truncate(path, path.stat().st_size - 100)
    store = rs.Store(tmp_path)
    with pytest.raises(DamagedFile, match=r"fc1.*npy .*is damaged: \d+ bytes where \d+ were written"):
        store["fc1"]
    assert store["fc2"].shape == (200, 96)
    with pytest.warns(UserWarning, match="fc1.*recorded again"):
        again = rs.record("zoo:mnist-mlp-0", mnist, ["fc1", "fc2"], into=tmp_path, progress=False)
    assert np.array_equal(again["fc1"], good)
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(DamagedFile, match="fc1.* is damaged .*magic"):
        rs.Store(tmp_path)["fc1"]
    path.unlink()
    with pytest.raises(DamagedFile, match="fc1.* is gone"):
        rs.Store(tmp_path)["fc1"]


def test_a_damaged_sidecar_is_named_and_passed_over(tmp_path, mnist):
    rs.record("zoo:mnist-mlp-0", mnist, ["fc1", "fc2"], into=tmp_path, progress=False)
    sidecar = next(tmp_path.glob("*fc1*.json"))
    for content in ("{", json.dumps({"key": 3}), "[]"):
        sidecar.write_text(content)
        with pytest.warns(UserWarning, match="fc1.*json is damaged"):
            assert [key.layer for key in rs.Store(tmp_path)] == ["fc2"]


def test_a_store_is_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="a store is a folder"):
        rs.Store(tmp_path / "file")


@pytest.mark.parametrize("names", [["mnist-mlp-0", "mnist-mlp-1"], ["mnist-mlp-0", "mnist-mlp-0"]])
def test_two_processes_record_into_one_store(tmp_path, mnist, names):
    code = "import sys, repsim_nb as rs; rs.record('zoo:' + sys.argv[2], rs.load_dataset('mnist', n=200), into=sys.argv[1], batch_size=20, progress=False)"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in names]
    assert [p.wait() for p in processes] == [0, 0]
    store = rs.Store(tmp_path)
    assert len(store) == 4 * len(set(names)) and set(store.facts) == set(names)
    for name in names:
        direct = rs.record(f"zoo:{name}", mnist, batch_size=20, progress=False)
        assert all(np.array_equal(store[key], direct[key]) for key in direct)
