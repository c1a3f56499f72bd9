import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import repsim_nb as rs
from repsim_nb.inputs.store import Writer, arrayfile, check_step, writer
from repsim_nb.support.errors import DamagedFile, Stopped

# -- activations in memory


def test_short_names_work_where_they_are_unique(recorded):
    assert recorded["fc1"].shape == (200, 128) and recorded["mnist-cnn-1/conv1"].shape == (200, 3136)
    key = rs.Key("mnist-cnn-0", "fc", "mnist/test[n=200,seed=0]")
    assert np.shares_memory(recorded[key], recorded[tuple(key)]) and key in recorded
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
    assert (
        len(table) == 14
        and table.loc[0, "architecture"] == "cnn"
        and table.loc[0, "p"] == 3136
        and table.loc[0, "MB"] == pytest.approx(200 * 3136 * 4 / 1e6, abs=1e-3)
    )
    assert "14 recordings of 3 models" in repr(recorded) and "<table" in recorded._repr_html_()


def test_two_recordings_join(recorded):
    a, b = recorded.where(model="mnist-cnn-0"), recorded.where(model="mnist-mlp-0")
    both = a | b
    assert len(both) == 9 and set(both.facts) == {"mnist-cnn-0", "mnist-mlp-0"}


def test_named_arrays_join_a_recording(rng):
    x, array = rs.from_arrays({"a/fc": rng.normal(size=(5, 3))}), rng.normal(size=(5, 2))
    for name in ("b/fc", rs.Key("b", "fc"), ("b", "fc")):
        both = x | {name: array}
        assert list(both) == [rs.Key("a", "fc"), rs.Key("b", "fc")] and both["b/fc"] is array
    assert list(x | {}) == list(x)
    with pytest.raises(ValueError, match="have a recording 'a/fc', with different arrays"):
        x | {"a/fc": x["fc"] + 1}
    with pytest.raises(ValueError, match="got 0.5, which is float"):
        x | {0.5: array}
    for other in ([array], array.tolist(), "b/fc", None):
        with pytest.raises(TypeError, match="unsupported operand"):
            x | other


def test_joining_loses_no_array(tmp_path, rng):
    key, x = rs.Key("m", "a"), rng.normal(size=(20, 3))
    x[3, 1] = np.nan
    one = rs.store.Activations({key: x})
    assert (
        len(one | one)
        == len(one | rs.store.Activations({key: x.copy()}))
        == len(one | rs.store.Activations({key: torch.tensor(x)}))
        == 1
    )
    for other in (x + 1, x[:10], x.astype(np.float32), np.nan_to_num(x)):
        with pytest.raises(ValueError, match="have a recording 'm/a', with different arrays"):
            one | rs.store.Activations({key: other})
    store = rs.Store(tmp_path)
    keep(store, key, x)
    flip(next(tmp_path.glob("*.npy")), 300)  # one file is one file, so that it is not read
    assert len(store | rs.Store(tmp_path)) == 1
    with pytest.raises(DamagedFile):
        store | one


def test_activations_are_themselves_and_equal_nothing_else(tmp_path, recorded):
    store = rs.Store(tmp_path)
    keep(store, rs.Key("m", "a"), np.zeros((4, 2)))
    assert store == store and recorded == recorded and store != rs.Store(tmp_path) and len({store, recorded}) == 2


def test_layers_are_counted_within_each_network(recorded):
    """Models name their layers differently; all of them have a last but one."""
    assert [f"{k.model}/{k.layer}" for k in recorded.where(layer=-2)] == [
        "mnist-cnn-0/fc",
        "mnist-cnn-1/fc",
        "mnist-mlp-0/fc3",
    ]
    assert [k.layer for k in recorded.where(model="mnist-mlp-0", layer=[0, "output"])] == ["fc1", "output"]
    both = rs.compare("cka", recorded.where(layer=[-2, -1]))
    assert list(both.where(layer=np.int64(0)).values.index.get_level_values("layer")) == ["fc", "fc", "fc3"]
    steps = rs.from_arrays({rs.Key("m", "fc", step=step): np.eye(4) for step in ("start", "end")})
    with pytest.raises(ValueError, match="unknown step '?0"):
        steps.where(step=0)
    with pytest.raises(ValueError, match="'mnist-mlp-0' has 4 layers here; there is no number 4"):
        recorded.where(layer=4)


def test_arrays_from_elsewhere(tmp_path, rng):
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2, 2))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "both.npz", **{"a/one": x, "b/two": y})
    torch.save({"a/one": torch.tensor(x)}, tmp_path / "x.pt")
    found = rs.from_arrays({"a/one": x, "b.c/deep/two": y, "plain": tmp_path / "x.npy"})
    assert [k[:2] for k in found] == [("a", "one"), ("b.c/deep", "two"), ("model", "plain")] and np.array_equal(
        found["plain"], x
    )
    assert isinstance(found["plain"], np.memmap)
    assert np.array_equal(rs.from_arrays(tmp_path / "both.npz")["b/two"], y) and np.array_equal(
        rs.from_arrays(str(tmp_path / "x.pt"))["a/one"], x
    )
    assert rs.compare("cka", rs.from_arrays(tmp_path / "x.pt"), found.where(model="a")).values.iloc[
        0, 0
    ] == pytest.approx(1)
    with pytest.raises(ValueError, match=r"'model/flat' has shape \(3,\)"):
        rs.from_arrays({"flat": np.zeros(3)})
    with pytest.raises(ValueError, match="A single array has no name"):
        rs.from_arrays(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="reads .npy, .npz, .pt"):
        rs.from_arrays("x.csv")
    np.save(tmp_path / "evil.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="evil.npy contains Python objects and not only arrays, and to read"):
        rs.from_arrays({"a/b": tmp_path / "evil.npy"})


# -- on disk

ORIGIN = {"weights": "w"}


@pytest.fixture
def small_blocks(monkeypatch):
    """So that small files have many checksums."""
    for module in (arrayfile, writer):
        monkeypatch.setattr(module, "BLOCK", 4096)


def keep(store, key, values, *, batch=5, pause=0.0, place=0):
    """Record an array as `record` does, going on where an earlier attempt stopped -> the row it went on from."""
    with store.alone(key):
        if store.holds(key, ORIGIN):
            return None
        out = store.writer(key, values.shape, values.dtype, ORIGIN, {}, place=place)
        began = out.rows
        for start in range(began - began % batch, len(values), batch):
            out.write(start, values[start : start + batch])
            time.sleep(pause)
        out.commit()
        return began


def begin(store, key, values, rows):
    """An unfinished recording."""
    out = store.writer(key, values.shape, values.dtype, ORIGIN, {}, place=0)
    out.write(0, values[:rows])
    out.save_progress()


def flip(path, place):
    """Change one byte, nothing else."""
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def forked(work):
    """Run it in a process of its own that has imported all this already -> its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def test_a_store_holds_what_memory_would(tmp_path, mnist, recorded):
    store = rs.Store(tmp_path / "s")
    x = rs.record(["zoo:mnist-cnn-0", "zoo:mnist-cnn-1", "zoo:mnist-mlp-0"], mnist, into=store, progress=False)
    again = rs.Store(tmp_path / "s")
    assert list(again) == list(recorded) == list(x)
    for key in recorded:
        assert (
            isinstance(again[key], np.memmap)
            and not again[key].flags.writeable
            and np.array_equal(again[key], recorded[key])
        )
    assert again.table().equals(recorded.table()) and len(again.where(model="mnist-mlp-0")) == 4
    assert rs.compare("cka", again).values.equals(rs.compare("cka", recorded).values)
    assert not [f for f in os.listdir(tmp_path / "s") if "part" in f or f.endswith(".tmp")]


def test_of_what_is_there_two_samples_run_again(tmp_path, mnist):
    model = rs.load_model("zoo:mnist-mlp-0")
    rs.record(model, mnist, ["fc1"], into=tmp_path / "s", progress=False)
    passes = []
    handle = model.module.register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    rs.record(model, mnist, ["fc1"], into=str(tmp_path / "s"), progress=False)
    assert passes == [1, 1]
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
    with pytest.raises(ValueError, match="already has 'mnist-mlp-0/fc1.*recorded with other weights"):
        rs.record(
            rs.load_model(other.module, name="mnist-mlp-0", preprocess=other.preprocess),
            mnist,
            "fc1",
            into=tmp_path,
            progress=False,
        )
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
    assert seen[:3] == [1, 8, 8] and seen[4:] == [32, 32, 32, 8], (
        "a few samples alone and together, then only the rows that were missing"
    )
    direct = rs.record(model, mnist, batch_size=32, progress=False)
    assert all(np.array_equal(x[key], direct[key]) for key in direct)


def test_a_partial_recording_of_another_model_is_not_taken_up(tmp_path, mnist):
    def stop(done, total):
        if done:
            raise Stopped

    a, b = rs.load_model("zoo:mnist-mlp-0"), rs.load_model("zoo:mnist-mlp-1")
    with pytest.raises(Stopped):
        rs.record(a, mnist, "fc1", into=tmp_path, batch_size=50, progress=stop)
    other = rs.load_model(b.module, name=a.name, preprocess=b.preprocess)
    x = rs.record(other, mnist, "fc1", into=tmp_path, batch_size=50, progress=False)
    assert np.array_equal(x["fc1"], rs.record(b, mnist, "fc1", batch_size=50, progress=False)["fc1"])


KILLED = """
    import os, sys, time
    import torch
    import repsim_nb as rs
    from repsim_nb.inputs.store import Writer

    while sys.stdin.readline():  # torch is imported once; each recording has a process of its own
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)
            Writer.interval = 0.02
            data = rs.load_dataset("mnist", n=200)
            slowly = lambda done, total: time.sleep(0.01)
            rs.record("zoo:mnist-mlp-0", data, into=sys.argv[1], batch_size=5, progress=slowly)
            os._exit(0)
        print(child, flush=True)
        sys.stdin.readline()  # until then its number is nobody else's
        print(os.waitpid(child, 0)[1], flush=True)
"""


def test_killed_at_any_moment_the_store_opens_and_the_recording_ends_right(tmp_path, mnist):
    expected = rs.record("zoo:mnist-mlp-0", mnist, batch_size=5, progress=False)

    def right(store):
        return all(
            np.allclose(store[key], expected[key], rtol=1e-4, atol=1e-4) for key in store
        )  # another process may round otherwise; a row not written is 0

    chance, kills, resumed = random.Random(1), 0, 0
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while kills < 15 or not resumed:
        assert kills < 60, "no kill left rows to go on from"
        print("go", file=process.stdin, flush=True)
        child = int(process.stdout.readline())
        time.sleep(
            chance.uniform(0.02, 0.4) * (1 if kills < 15 else 5)
        )  # longer on a machine so busy that nothing had been written by then
        os.kill(child, signal.SIGKILL)
        print("killed", file=process.stdin, flush=True)
        if int(process.stdout.readline()) == signal.SIGKILL:
            kills += 1
        store = rs.Store(tmp_path)
        resumed += any(rows for rows, _ in store.unfinished().values())
        assert right(store)
        if len(store) == len(expected):
            store.remove(model="*")
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()
    x = rs.record("zoo:mnist-mlp-0", mnist, into=tmp_path, batch_size=5, progress=False)
    assert right(x) and len(x) == len(expected) and not rs.Store(tmp_path).unfinished()


def test_killed_between_any_two_steps_nothing_half_written_is_read(tmp_path, monkeypatch):
    """A child dies right before its k-th rename, removal, write or flush, for every k; the parent then looks, and
    records again.
    """
    values = np.arange(60.0).reshape(20, 3)
    key, origin = rs.Key("m", "layer", "d"), ORIGIN

    def recorded(store, steps):
        def counted(function):
            def call(*arguments, **options):
                steps[0] -= 1
                if steps[0] < 0:
                    os._exit(9)
                return function(*arguments, **options)

            return call

        for owner, name in ((os, "replace"), (os, "posix_fallocate"), (os, "pwrite"), (os, "fsync"), (os, "open")):
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
        store.prune()
        assert sorted({path.suffix for path in (tmp_path / str(k)).iterdir()} - {".tmp"}) == [
            ".json",
            ".npy",
        ] and not list((tmp_path / str(k)).glob("[!.]*.part.*"))
        k += 1
    assert k > 25


def test_killed_in_the_last_step_the_rows_are_found_again(tmp_path, monkeypatch, rng):
    """Between the rename of the rows and the record that makes them a recording."""
    store, key, values = rs.Store(tmp_path), rs.Key("m", "a"), rng.normal(size=(20, 3))
    out = store.writer(key, values.shape, values.dtype, ORIGIN, {}, place=0)
    out.write(0, values)
    out.save_progress()
    monkeypatch.setattr(writer, "write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        out.commit()
    monkeypatch.undo()
    assert len(store) == 0 and store.unfinished() == {key: (20, 20)} and store.prune(unfinished=False) == {}
    assert keep(store, key, values) == 20 and np.array_equal(store[key], values) and not store.unfinished()
    out = store.writer(rs.Key("m", "b"), values.shape, values.dtype, ORIGIN, {}, place=0)
    out.write(0, values)
    monkeypatch.setattr(writer, "write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        out.commit()
    monkeypatch.undo()
    assert {name.split(".", 3)[3] for name in store.prune()} == {"npy", "part.json"} and list(store) == [key]


def test_killed_many_times_at_random_moments_no_row_is_lost_or_made_up(tmp_path, monkeypatch, small_blocks):
    monkeypatch.setattr(Writer, "interval", 0.003)
    chance, kills, resumed, seen = random.Random(0), 0, 0, 0
    values = {
        rs.Key(model, layer, "d"): np.random.default_rng(k).normal(size=(120, 300))
        for k, (model, layer) in enumerate((m, x) for m in "ab" for x in ("one", "two"))
    }

    def work():
        for place, (key, array) in enumerate(values.items()):
            keep(rs.Store(tmp_path), key, array, pause=0.001, place=place)

    for _ in range(200):
        child = forked(work)
        time.sleep(chance.uniform(0.005, 0.12))
        os.kill(child, signal.SIGKILL)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
        store = rs.Store(tmp_path)
        assert all(np.array_equal(store[key], values[key]) for key in store)
        seen += len(store)
        for key, (rows, of) in store.unfinished().items():
            resumed += rows > 0
            files = sorted(
                tmp_path.glob(f"{key.model}.{key.layer}.*.npy"), reverse=True
            )  # none yet, the part, or what was to be the whole
            assert of == 120 and (
                not rows or np.array_equal(np.load(files[0], mmap_mode="r")[:rows], values[key][:rows])
            ), "the rows that it counts as good are"
        if len(store) == 4:
            store.remove(model="*")
        if kills >= 25 and resumed >= 5 and seen >= 5:
            break
    assert kills >= 25 and resumed >= 5 and seen >= 5
    work()
    store = rs.Store(tmp_path)
    assert (
        len(store) == 4
        and all(np.array_equal(store[key], values[key]) for key in values)
        and not store.unfinished()
        and not store.verify(progress=False)
    )


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
    with pytest.raises(OSError, match=r"disk has no room for 'mnist-mlp-0/fc1.*which takes 0 MB"):
        rs.record("zoo:mnist-mlp-0", mnist, "fc1", into=tmp_path, progress=False)
    assert not list(tmp_path.glob("*.npy"))


def test_layers_stand_in_forward_order_however_they_came(tmp_path, mnist):
    rs.record("zoo:mnist-cnn-0", mnist, ["fc"], into=tmp_path, progress=False)
    x = rs.record("zoo:mnist-cnn-0", mnist, into=tmp_path, progress=False)
    order = ["conv1", "conv2", "conv3", "fc", "output"]
    assert [k.layer for k in x] == order == [k.layer for k in rs.Store(tmp_path)]
    for into in (None, tmp_path):
        assert [k.layer for k in rs.record("zoo:mnist-cnn-0", mnist, ["fc", "conv1"], into=into, progress=False)] == [
            "conv1",
            "fc",
        ]


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

    assert record(rs.load_model(relu, name="m"), pool=keeping(3))["m/1 (mnist/test[n=200,seed=0], some)"].shape == (
        200,
        3,
    )
    with pytest.raises(ValueError, match="recorded with other pool"):
        record(rs.load_model(relu, name="m"), pool=keeping(2))


def test_a_function_called_mean_is_not_the_mean(tmp_path, mnist):
    def mean(h):
        return h.amax((2, 3))

    rs.record("zoo:mnist-cnn-0", mnist, "conv3", pool="mean", into=tmp_path, progress=False)
    with pytest.raises(ValueError, match="recorded with other pool. Give the pool function another name"):
        rs.record("zoo:mnist-cnn-0", mnist, "conv3", pool=mean, into=tmp_path, progress=False)
    with pytest.raises(ValueError, match="could not be preprocessed, and it raised: division by zero"):
        rs.record(
            rs.load_model("zoo:mnist-cnn-0", name="broken", preprocess=lambda b: 1 / 0),
            mnist,
            into=tmp_path,
            progress=False,
        )


def test_one_recording_is_removed_and_no_other(tmp_path, rng):
    store = rs.Store(tmp_path)
    for name in ("d[1]", "d1"):
        with store.alone(rs.Key("m", "a", name)):
            writer = store.writer(rs.Key("m", "a", name), (4, 2), "float64", {}, {"accuracy": np.float32(0.5)}, place=0)
            writer.write(0, rng.normal(size=(4, 2)))
            writer.commit()
    store.writer(rs.Key("m", "b", "d1"), (4, 2), "float64", {}, {}, place=1).save_progress()
    assert (
        store.unfinished() == {rs.Key("m", "b", "d1"): (0, 4)}
        and "1 unfinished" in repr(store)
        and store.facts["m"] == {"accuracy": 0.5}
    )
    assert store.remove(dataset="d[1]") == 1 and [k.dataset for k in store] == ["d1"]
    assert store.remove(model="m") == 2 and not os.listdir(tmp_path)


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
    with pytest.raises(DamagedFile, match=r"fc1.*npy .*is damaged: it has \d+ bytes, and \d+ were written"):
        store["fc1"]
    assert store["fc2"].shape == (200, 96)
    with pytest.warns(UserWarning, match="fc1.*recorded again"):
        again = rs.record("zoo:mnist-mlp-0", mnist, ["fc1", "fc2"], into=tmp_path, progress=False)
    assert np.array_equal(again["fc1"], good)
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(DamagedFile, match="fc1.* is damaged .*magic"):
        rs.Store(tmp_path)["fc1"]
    path.unlink()
    with pytest.raises(DamagedFile, match="fc1.* is missing"):
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
    with pytest.raises(ValueError, match="The path of a store must be a folder"):
        rs.Store(tmp_path / "file")


@pytest.mark.parametrize("names", [["mnist-mlp-0", "mnist-mlp-1", "mnist-cnn-0"], ["mnist-mlp-0", "mnist-mlp-0"]])
def test_several_processes_record_into_one_store(tmp_path, mnist, names):
    code = (
        "import sys, repsim_nb as rs; rs.record('zoo:' + sys.argv[2], rs.load_dataset('mnist', n=200),"
        " into=sys.argv[1], batch_size=20, progress=False)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in names]
    store, seen = rs.Store(tmp_path), {}
    while any(process.poll() is None for process in processes):  # read while it is written
        seen |= {key: np.array(store[key]) for key in store if key not in seen}
        time.sleep(0.02)
    assert [p.wait() for p in processes] == [0] * len(names)
    assert (
        len(store) == sum(5 if "cnn" in name else 4 for name in set(names))
        and set(store.facts) == set(names)
        and not store.verify(progress=False)
    )
    assert all(np.array_equal(store[key], values) for key, values in seen.items())
    for name in names:
        direct = rs.record(f"zoo:{name}", mnist, batch_size=20, progress=False)
        assert all(np.allclose(store[key], direct[key], rtol=1e-4, atol=1e-4) for key in direct)


def test_a_reader_beside_three_writers_sees_whole_recordings_only(tmp_path, small_blocks):
    values = {
        rs.Key(model, layer): np.random.default_rng([m, k]).normal(size=(60, 200))
        for m, model in enumerate("abc")
        for k, layer in enumerate(("x", "y", "z", "w"))
    }

    def writes(model):
        for place, (key, array) in enumerate((key, array) for key, array in values.items() if key.model == model):
            keep(rs.Store(tmp_path), key, array, pause=0.002, place=place)

    children = [forked(lambda model=model: writes(model)) for model in "abc"]
    counts, store = set(), rs.Store(tmp_path)
    while children:
        found = {key: store[key] for key in store}
        assert all(np.array_equal(array, values[key]) for key, array in found.items())
        counts.add(len(found))
        for key, (rows, of) in store.unfinished().items():
            assert key in values and 0 <= rows <= of == 60
        for child in list(children):
            if (ended := os.waitpid(child, os.WNOHANG))[0]:
                assert ended[1] == 0
                children.remove(child)
    assert len(store) == 12 and len(counts) > 3, "it was read while it grew"


@pytest.mark.filterwarnings("ignore:Another process is recording 'm'")
def test_one_at_a_time_even_where_the_lock_goes_away_with_each(tmp_path):
    store, at_once, most = rs.Store(tmp_path), [], []

    def work():
        for _ in range(40):
            with store.alone(rs.Key("m", "")):
                at_once.append(1)
                time.sleep(0.001)
                most.append(len(at_once))
                at_once.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 160 and set(most) == {1} and not os.listdir(tmp_path)


# -- contents


def test_a_single_changed_byte_is_found_and_recorded_anew(tmp_path, mnist):
    good = np.array(rs.record("zoo:mnist-mlp-0", mnist, ["fc1", "fc2"], into=tmp_path, progress=False)["fc1"])
    path = next(tmp_path.glob("*fc1*.npy"))
    flip(path, 5000)
    with pytest.raises(
        DamagedFile,
        match=r"fc1.*npy .*is damaged: some of its bytes 0 to \d+ are not as they were written. It was not read",
    ):
        rs.Store(tmp_path)["fc1"]
    assert [key.layer for key in rs.Store(tmp_path).verify(progress=False)] == ["fc1"]
    with pytest.warns(UserWarning, match="fc1.*is damaged.*It is recorded again"):
        again = rs.record("zoo:mnist-mlp-0", mnist, ["fc1", "fc2"], into=tmp_path, progress=False)
    assert np.array_equal(again["fc1"], good) and not rs.Store(tmp_path).verify(progress=False)


def test_of_a_large_file_opening_reads_the_ends_and_the_rest_is_read_when_asked(tmp_path, rng, small_blocks):
    store, key, values = rs.Store(tmp_path), rs.Key("m", "a"), rng.normal(size=(40, 300))
    keep(store, key, values)
    path = next(tmp_path.glob("*.npy"))
    flip(path, 50_000)  # of 96,128 bytes
    assert store[key].shape == (40, 300), "neither the first nor the last block"
    seen = []
    assert list(store.verify(progress=lambda done, total: seen.append(done))) == [key] and seen == sorted(seen)
    with pytest.warns(UserWarning, match="some of its bytes 49152 to 53248 .*It is recorded again"):
        assert not store.holds(key, ORIGIN)
    flip(path, 50_000)
    assert store.holds(key, ORIGIN) and not store.verify(progress=False)
    for place in (100, 96_000):
        flip(path, place)
        with pytest.raises(DamagedFile):
            store[key]
        flip(path, place)


def test_checked_once_a_process_and_again_when_the_file_is_another(tmp_path, rng, monkeypatch):
    store, key = rs.Store(tmp_path), rs.Key("m", "a")
    keep(store, key, rng.normal(size=(40, 300)))
    read = []
    honest = arrayfile.compute_sums
    monkeypatch.setattr(
        arrayfile,
        "compute_sums",
        lambda path, blocks, *rest: (
            read.append(number) or (number, found) for number, found in honest(path, blocks, *rest)
        ),
    )
    assert store.holds(key, ORIGIN) and rs.Store(tmp_path).holds(key, ORIGIN) and store[key].size and read == [0]
    store.verify(progress=False)
    assert read == [0, 0], "it reads again if asked"
    path = next(tmp_path.glob("*.npy"))
    path.write_bytes(path.read_bytes())
    assert store.holds(key, ORIGIN) and read == [0, 0, 0]


def test_a_recording_of_an_earlier_version_opens_without_checksums(tmp_path, rng):
    store, key, values = rs.Store(tmp_path), rs.Key("m", "a"), rng.normal(size=(4, 3))
    keep(store, key, values)
    sidecar = next(tmp_path.glob("*.json"))
    sidecar.write_text(
        json.dumps({k: v for k, v in json.loads(sidecar.read_text()).items() if k not in ("crc32", "block")})
    )
    assert np.array_equal(store[key], values) and store.holds(key, ORIGIN) and not store.verify(progress=False)


def test_of_a_part_only_rows_that_are_as_written_are_gone_on_from(tmp_path, rng, small_blocks):
    """As after a power cut: the progress is on the disk, some of the rows are not."""
    store, key, values = rs.Store(tmp_path), rs.Key("m", "a"), rng.normal(size=(40, 300))
    for place, expected in (
        (None, 30),
        (70_000, (69632 - 128) // 2400),
        (50_000, (49152 - 128) // 2400),
        (3000, 0),
        (10, 0),
    ):
        store.remove(model="*") if store.unfinished() else None
        begin(store, key, values, 30)
        part = next(tmp_path.glob("*.part.npy"))
        assert store.unfinished() == {key: (30, 40)}
        if place:
            flip(part, place)
        out = store.writer(key, values.shape, values.dtype, ORIGIN, {}, place=0)
        assert out.rows == expected and store.unfinished() == {key: (expected, 40)}
        out.write(0, values)
        out.commit()
        assert np.array_equal(store[key], values) and not store.verify(progress=False)
        store.remove(model="*")


def test_rows_come_in_order_and_all_of_them(tmp_path, rng):
    store, key, values = rs.Store(tmp_path), rs.Key("m", "a"), rng.normal(size=(10, 3))
    out = store.writer(key, values.shape, values.dtype, ORIGIN, {}, place=0)
    out.write(0, values[:4])
    for start, rows in ((5, values[5:]), (4, values), (4, values[4:, :1]), (4, values[4:, 0])):
        with pytest.raises(ValueError, match="'m/a' must be written in order, as .10, 3., from row 4 on; got rows"):
            out.write(start, rows)
    with pytest.raises(ValueError, match="'m/a' is not complete: 4 of 10 rows are written"):
        out.commit()
    out.write(2, values[2:8] + 0)
    out.write(0, -values[:3])  # there already
    out.write(8, np.asfortranarray(values)[8:])
    out.commit()
    assert np.array_equal(store[key], values) and len(store) == 1 and store.holds(key, ORIGIN)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a peak that can be set back")
def test_writing_takes_no_memory_that_grows(tmp_path):
    def held(name):
        return next(
            int(line.split()[1]) / 1024
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith(name)
        )

    def work():
        rows = np.ones((100, 5000), np.float32)
        out = rs.Store(tmp_path).writer(rs.Key("m", "a"), (15_000, 5000), "float32", ORIGIN, {}, place=0)  # 300 MB
        Path("/proc/self/clear_refs").write_text("5")
        before = held("VmRSS")
        for start in range(0, 15_000, 100):
            out.write(start, rows)
        out.commit()
        assert rs.Store(tmp_path).holds(rs.Key("m", "a"), ORIGIN)
        assert held("VmHWM") - before < 40

    assert os.waitpid(forked(work), 0)[1] == 0


# -- precision, size, pruning


def test_half_precision_takes_half_the_disk_and_compares_alike(tmp_path, mnist, recorded):
    half, full = rs.Store(tmp_path / "half", dtype="float16"), rs.Store(tmp_path / "full")
    for store in (half, full):
        rs.record("zoo:mnist-cnn-0", mnist, into=store, progress=False)
    assert (
        half["conv1"].dtype == np.float16
        and isinstance(half["conv1"], np.memmap)
        and set(half.table()["dtype"]) == {"float16"}
    )
    assert (
        full.table()["MB"].sum() == pytest.approx(2 * half.table()["MB"].sum(), rel=0.01)
        and full.size > 1.9 * half.size
    )
    whole = recorded["mnist-cnn-0/conv1"]
    assert np.abs(half["conv1"] - whole).max() <= np.abs(whole).max() * 2**-11
    assert np.abs(rs.compare("cka_debiased", half).values - rs.compare("cka_debiased", full).values).max().max() < 1e-4
    passes = []
    model = rs.load_model("zoo:mnist-cnn-0")
    model.module.register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    x = rs.record(model, mnist, "conv1", into=tmp_path / "half", progress=False)
    assert passes == [1, 1] and x["conv1"].dtype == np.float16, "what is there counts, in whatever precision"


def test_what_a_precision_cannot_hold_is_an_error_that_names_it(tmp_path, rng):
    key, values = rs.Key("m", "a"), rng.normal(size=(10, 3)).astype(np.float32)
    values[6, 1], values[7, 0] = 70_000, -1e6
    half = rs.Store(tmp_path, dtype="float16")
    out = half.writer(key, values.shape, values.dtype, ORIGIN, {}, place=0)
    out.write(0, values[:5])
    with pytest.raises(
        ValueError,
        match=(
            r"'m/a' has values up to 1e\+06 \(samples 6, 7\); the largest float16 is 65504. Record this layer into a"
            r" Store of the same folder without dtype"
        ),
    ):
        out.write(5, values[5:])
    assert half.unfinished() == {key: (0, 10)} or half.unfinished() == {key: (5, 10)}
    keep(rs.Store(tmp_path), key, values)
    assert half[key].dtype == np.float32 and np.array_equal(half[key], values)
    keep(
        half, rs.Key("m", "infinite"), np.full((4, 2), np.inf, np.float32)
    )  # whose business this is, is not the store's
    assert np.isinf(half["infinite"]).all()
    keep(half, rs.Key("m", "classes"), np.full((4, 2), 100_000))
    assert half["classes"].dtype == np.int64 and half["classes"].max() == 100_000
    keep(rs.Store(tmp_path, dtype="float32"), rs.Key("m", "double"), values.astype(float))
    assert half["double"].dtype == np.float32
    for wrong in ("bfloat16", "int8", torch.bfloat16):
        with pytest.raises(ValueError, match="dtype must be one of .*float16.*got .*(bfloat16|int8)"):
            rs.Store(tmp_path, dtype=wrong)
    assert rs.Store(tmp_path, dtype=np.float16).dtype == half.dtype


def test_the_size_is_that_of_everything_in_the_folder(tmp_path, rng):
    store = rs.Store(tmp_path / "s")
    assert store.size == 0
    keep(store, rs.Key("m", "a"), rng.normal(size=(100, 50)))
    whole = store.size
    assert 40_000 < whole < 42_000 and "1 recording of 1 model, 0.0 MB" in repr(store)
    begin(store, rs.Key("m", "b"), rng.normal(size=(100, 500)), 10)
    assert 400_000 < store.size - whole < 402_000 and "1 unfinished, 0.4 MB" in repr(store), (
        "all its room is taken at once"
    )


def test_pruning_takes_what_is_of_no_use_and_nothing_else(tmp_path, rng):
    store, values = rs.Store(tmp_path), rng.normal(size=(20, 30))
    for layer in ("good", "gone", "cut", "flipped", "sidecar", "orphan"):
        keep(store, rs.Key("m", layer), values)
    path = {
        (layer, ending): next(tmp_path.glob(f"m.{layer}.*{ending}"))
        for layer in ("gone", "cut", "flipped", "sidecar", "orphan")
        for ending in (".npy", ".json")
    }
    path["gone", ".npy"].unlink()
    os.truncate(path["cut", ".npy"], 1000)
    flip(path["flipped", ".npy"], 2000)
    path["sidecar", ".json"].write_text("{")
    path["orphan", ".json"].unlink()
    begin(store, rs.Key("stopped", "a"), values, 10)
    begin(store, rs.Key("busy", "a"), values, 10)
    part = {path.name for path in tmp_path.glob("stopped.*")}
    (tmp_path / ".m.good.0123456789ab.json.00ff00ff.tmp").write_text("old")
    (tmp_path / ".m.gone.0123456789ab.part.json.00ff00ff.tmp").write_text("young")
    (tmp_path / ".m.0123456789ab.lock").write_text("")
    for theirs in ("mine.npy", "notes.json", "x.part.npy"):
        (tmp_path / theirs).write_text("not a store's")
    long_ago = time.time() - 100
    for old in (
        tmp_path / ".m.good.0123456789ab.json.00ff00ff.tmp",
        path["sidecar", ".npy"],
        path["sidecar", ".json"],
        path["orphan", ".npy"],
    ):
        os.utime(old, (long_ago, long_ago))
    before = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    expected = (
        {file.name for file in path.values() if file.exists()}
        | part
        | {".m.good.0123456789ab.json.00ff00ff.tmp", ".m.0123456789ab.lock"}
    )
    with store.alone(rs.Key("busy", "")):
        held = {".busy" + name.removeprefix(".busy") for name in os.listdir(tmp_path) if name.startswith(".busy")}
        assert (
            set(store.prune(dry_run=True)) == expected
            and {file.name for file in tmp_path.iterdir()} == set(before) | held
        )
        assert set(store.prune(unfinished=False, dry_run=True)) == expected - part
        gone = store.prune()
        assert gone == {name: before[name] for name in expected}
        with pytest.raises(ValueError, match="'busy/a' was not removed: another process is recording 'busy'"):
            store.remove(model="busy")
    assert {file.name for file in tmp_path.iterdir()} == set(before) - expected
    assert (
        [key.layer for key in store] == ["good"]
        and store.unfinished() == {rs.Key("busy", "a"): (10, 20)}
        and np.array_equal(store["good"], values)
    )
    assert store.remove(model="busy") == 1 and rs.Store(tmp_path / "absent").prune() == {}


# -- what a user does wrong


def test_all_is_removed_only_when_all_is_said(tmp_path, rng):
    store = rs.Store(tmp_path)
    keep(store, rs.Key("m", "a"), rng.normal(size=(4, 2)))
    with pytest.raises(ValueError, match=r'remove needs at least one field, .*; remove\(model="\*"\) deletes all'):
        store.remove()
    assert len(store) == 1 and store.remove(model="*") == 1 and not os.listdir(tmp_path)
    with pytest.raises(ValueError, match=f"nothing to remove: the store {tmp_path} has no recordings"):
        store.remove(model="*")


def test_equal_keys_are_one_file(tmp_path, rng):
    store, values = rs.Store(tmp_path), rng.normal(size=(4, 2))
    for step in (1, 1.0, np.int64(1), np.float32(1), torch.tensor(1)):
        keep(store, rs.Key("m", "a", step=step), values)
        assert (
            [key.step for key in store] == [1]
            and type(next(iter(store)).step) is int
            and store.holds(rs.Key("m", "a", step=step), ORIGIN)
        )
        assert np.array_equal(store[rs.Key("m", "a", step=1)], values) and len(list(tmp_path.glob("*.npy"))) == 1
    keep(store, rs.Key("m", "a", step="1"), values + 1)
    assert (
        [str(key) for key in store] == ["m/a (1)", "m/a ('1')"]
        and np.array_equal(store["m/a ('1')"], values + 1)
        and np.array_equal(store["m/a (1)"], values)
    )
    assert check_step("last") == "last" and check_step(np.int32(7)) == 7
    for wrong in (
        None,
        True,
        np.False_,
        torch.tensor(True),
        1.5,
        float("nan"),
        "",
        " ",
        [1],
        (),
        b"a",
        np.array([1, 2]),
    ):
        with pytest.raises(ValueError, match="step must be an integer or a name, such as 5000 or 'last'"):
            check_step(wrong)
    with pytest.raises(ValueError, match="step must be an integer or a name.* got None"):
        keep(store, rs.Key("m", "a", step=None), values)
    assert len(store) == 2 and not store.unfinished()


def read_only_folder(work, before=lambda folder: None):
    """Run it as one who may not write to the folder it is given. before: what to do with the folder as one who may."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chmod(folder, 0o755)
        for key in (rs.Key("m", "a"), rs.Key("m", "b")):
            keep(rs.Store(folder), key, np.ones((4, 2)))
        before(folder)
        os.chmod(folder, 0o555)

        def child():
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            work(folder)

        try:
            assert os.waitpid(forked(child), 0)[1] == 0
        finally:
            for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                os.chmod(place, 0o755)


def test_a_folder_that_cannot_be_written_to_is_read_and_says_so_when_asked_for_more():
    def work(folder):
        store = rs.Store(folder)
        before = sorted(os.listdir(folder))
        assert (
            keep(store, rs.Key("m", "a"), np.ones((4, 2))) is None
            and store["a"].shape == (4, 2)
            and not store.verify(progress=False)
            and store.prune(dry_run=True) == {}
        )
        for call in (
            lambda: keep(store, rs.Key("m", "c"), np.ones((4, 2))),
            lambda: store.remove(model="m"),
            lambda: keep(rs.Store(folder / "sub"), rs.Key("m", "a"), np.ones((4, 2))),
        ):
            with pytest.raises(PermissionError, match=f"The store {folder}.* cannot be written to: Permission denied"):
                call()
        assert sorted(os.listdir(folder)) == before

    read_only_folder(work)


@pytest.mark.parametrize("first", [False, True])
def test_default_layers_are_found_in_a_folder_that_cannot_be_written_to(mnist, first):
    model = rs.load_model("zoo:mnist-mlp-0")

    def work(folder):
        torch.set_num_threads(1)  # the threads of this process did not come along
        x = rs.record(model, mnist, into=folder / "s", progress=False)
        assert [key.layer for key in x] == list(model.layers) and all(x[key].shape[0] == len(mnist) for key in x)
        with pytest.raises(PermissionError, match="cannot be written to"):
            rs.record(model, mnist, "fc1.0", into=folder / "s", progress=False)

    def before(folder):
        rs.record(model, mnist, model.layers if first else None, into=folder / "s", progress=False)
        os.chmod(folder / "s", 0o555)

    read_only_folder(work, before)


def test_what_is_no_folder_is_a_sentence(tmp_path):
    for wrong in (3, None, ["a"], b"a"):
        with pytest.raises(TypeError, match="The path of a store must be a str or a Path; got"):
            rs.Store(wrong)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=f"The path of a store must be a folder; {tmp_path / 'file'} is a file"):
        rs.Store(tmp_path / "file" / "deep" / "store")
    store = rs.Store(tmp_path / "later")
    (tmp_path / "later").write_text("")
    with pytest.raises(FileExistsError, match="later cannot be written to: File exists"):
        keep(store, rs.Key("m", "a"), np.ones((4, 2)))


def test_a_store_creates_its_folder_and_missing_parents_when_something_is_recorded(tmp_path):
    store = rs.Store(tmp_path / "results" / "deep" / "store")
    assert len(store) == 0 and not (tmp_path / "results").exists()
    keep(store, rs.Key("m", "a"), np.ones((4, 2)))
    assert list(rs.Store(tmp_path / "results" / "deep" / "store")) == [rs.Key("m", "a")]


def test_an_empty_or_missing_folder_is_named(tmp_path):
    for store, said in (
        (rs.Store(tmp_path), f"the store {tmp_path} has no recordings"),
        (rs.Store(tmp_path / "absent"), f"there is no folder {tmp_path / 'absent'}"),
    ):
        for call, error in (
            (lambda store: store["fc1"], KeyError),
            (lambda store: store[rs.Key("m", "fc1")], KeyError),
            (lambda store: store.where(model="m"), ValueError),
        ):
            with pytest.raises(error, match=said):
                call(store)
    begin(rs.Store(tmp_path), rs.Key("m", "fc1"), np.ones((4, 2)), 2)
    with pytest.raises(KeyError, match="There is no recording 'fc1': .* has no recordings, only 1 unfinished"):
        rs.Store(tmp_path)["fc1"]
    with pytest.raises(KeyError, match="no recording 'fc1': there are no recordings"):
        rs.store.Activations({})["fc1"]


def test_a_folder_in_a_files_place_is_damage(tmp_path, rng):
    store, values = rs.Store(tmp_path), rng.normal(size=(4, 3))
    for layer in ("a", "b"):
        keep(store, rs.Key("m", layer), values)
    path, sidecar = next(tmp_path.glob("m.a.*.npy")), next(tmp_path.glob("m.b.*.json"))
    for file in (path, sidecar):
        file.unlink()
        file.mkdir()
    (path / "mine").write_text("kept")
    with (
        pytest.warns(UserWarning, match="m.b.*json is damaged"),
        pytest.raises(DamagedFile, match="m.a.*npy .* is damaged: a folder is in place of the file"),
    ):
        store["a"]
    wrong = rs.Store(tmp_path).verify(progress=False)
    assert set(wrong) == {rs.Key("m", "a"), sidecar.name}
    with (
        pytest.warns(UserWarning, match="is recorded again"),
        pytest.raises(IsADirectoryError, match="is a folder, and the array of 'm/a' belongs there. Move the folder"),
    ):
        keep(store, rs.Key("m", "a"), values)
    store.prune()
    assert (
        (path / "mine").read_text() == "kept"
        and sidecar.is_dir()
        and {path.name, sidecar.name} == {file.name for file in tmp_path.iterdir() if file.is_dir()}
    )


def test_verify_names_recordings_whose_sidecar_is_damaged_or_gone(tmp_path, rng):
    store, values = rs.Store(tmp_path), rng.normal(size=(4, 3))
    for layer in ("good", "damaged", "gone", "young"):
        keep(store, rs.Key("m", layer), values)
    begin(store, rs.Key("m", "unfinished"), values, 2)
    sidecar = {layer: next(tmp_path.glob(f"m.{layer}.*.json")) for layer in ("damaged", "gone", "young")}
    sidecar["damaged"].write_text("{")
    for layer in ("gone", "young"):
        sidecar[layer].unlink()
    long_ago = time.time() - 100
    for file in [*tmp_path.glob("m.gone.*"), *tmp_path.glob("m.good.*"), *tmp_path.glob("m.unfinished.*")]:
        os.utime(file, (long_ago, long_ago))
    with pytest.warns(
        UserWarning, match=r"the .json file is missing for this array: 'm.gone.[0-9a-f]+.npy'. Record again"
    ) as warned:
        wrong = rs.Store(tmp_path).verify(progress=False)
    assert (
        len(warned) == 1 and list(wrong) == [sidecar["damaged"].name] and "m.damaged" in wrong[sidecar["damaged"].name]
    )
    keep(store, rs.Key("m", "gone"), values)
    with pytest.warns(UserWarning, match="json is damaged"):
        keep(store, rs.Key("m", "damaged"), values)
    assert rs.Store(tmp_path).verify(progress=False) == {}


def test_a_disk_without_locks_is_a_sentence(tmp_path, mnist, monkeypatch):
    def no_locks(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(OSError, match="does not support locks .*Lustre: -o flock"):
        rs.record("zoo:mnist-mlp-0", mnist, "fc1", into=tmp_path, progress=False)
    assert not list(tmp_path.glob(".*lock"))
