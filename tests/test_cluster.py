"""Off one machine: the same numbers whoever works, addresses travel and sums come back, a lost worker is survived."""

import importlib
import os
import signal
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tornado.iostream

import repsim_nb as rs
from repsim_nb.measures import CCA, engine, tables
from repsim_nb.support import transport
from repsim_nb.support.scratch import open_scratch
from repsim_nb.support.transport import Deferred

distributed = pytest.importorskip("distributed")
GIGABYTES = float(os.environ.get("REPSIM_NB_CLUSTER_GB", "0.12"))  # 5 takes some minutes on two cores


@pytest.fixture(scope="module")
def client():
    """Three worker processes on this machine."""
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def stored(tmp_path):
    """Five representations on disk, of six features so that they pass for outputs too; one of them constant in some
    samples.
    """
    return {label: on_disk(tmp_path / label, x) for label, x in arrays().items()}


def arrays(n=120, p=6, number=5):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(n, p))
    return {f"r{k}": shared @ rng.normal(size=(p, p)) + 0.5 * rng.normal(size=(n, p)) + k for k in range(number)}


def on_disk(stem, x):
    np.save(f"{stem}.npy", x)
    return np.load(f"{stem}.npy", mmap_mode="r")


# -- the same numbers whoever works


def test_threads_processes_and_dask_give_the_same_for_every_measure(stored, client, tmp_path):
    wrong = []
    (tmp_path / "scratch").mkdir()
    memory, some = {label: np.array(x) for label, x in stored.items()}, {label: stored[label] for label in ("r1", "r3")}
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(3) as threads, ProcessPoolExecutor(2) as processes:
        dask = client.get_executor()
        # those for special questions are computed pair by pair as others are
        for name in [*rs.measures.REPRESENTATIONAL, *rs.measures.FUNCTIONAL, "rank_similarity", "nts"]:
            serial = rs.compare(name, stored, executor=one).values
            ways = {
                "threads": rs.compare(name, stored, executor=threads),
                "processes": rs.compare(name, stored, executor=processes),
                "dask": rs.compare(name, stored, executor=dask),
                "dask, from memory": rs.compare(name, memory, executor=dask),
                "dask, with scratch": rs.compare(name, stored, executor=dask, scratch=tmp_path / "scratch"),
            }
            wrong += [
                (name, way) for way, found in ways.items() if not np.allclose(found.values, serial, rtol=0, atol=1e-12)
            ]
            two = rs.compare(name, stored, some, executor=dask).values
            wrong += (
                []
                if np.allclose(two, rs.compare(name, stored, some, executor=one).values, rtol=0, atol=1e-12)
                else [(name, "dask, two sides")]
            )
    assert wrong == [] and list((tmp_path / "scratch").iterdir()) == []


def test_reasons_and_warnings_come_back_from_workers(stored, client, tmp_path):
    flat = {**stored, "flat": on_disk(tmp_path / "flat", np.ones((120, 6)))}
    for name in ("procrustes", "rsa", "cka_rbf", "cka"):
        here, there = (
            rs.compare(name, flat, on_undefined="mask"),
            rs.compare(name, flat, on_undefined="mask", executor=client.get_executor()),
        )
        assert there.undefined == here.undefined and len(there.undefined) == 11
        with pytest.raises(rs.measures.UndefinedError, match="of 'flat': it is constant"):
            rs.compare(name, flat, executor=client.get_executor())
    sides = rs.compare("procrustes", stored, flat, on_undefined="mask", executor=client.get_executor())
    assert set(sides.undefined) == {(label, "flat") for label in stored}
    holes = {
        label: on_disk(tmp_path / f"holed {label}", np.where(np.arange(120)[:, None] < 3, 1.0, x))
        for label, x in stored.items()
    }
    with pytest.warns(UserWarning, match="3 of 120 samples have constant outputs"):
        rs.compare("output_rank", holes, executor=client.get_executor())
    few = {label: on_disk(tmp_path / f"few {label}", x[:9]) for label, x in stored.items()}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rs.compare(CCA(degenerate="allow"), few, executor=client.get_executor())
    assert [one.category for one in said] == [RuntimeWarning] and "exceed n - 1 = 8" in str(said[0].message), (
        "once, not once a pair"
    )


def test_a_file_that_a_worker_does_not_see_is_named(stored, client, tmp_path):
    (tmp_path / "r2.npy").unlink()
    for name in ("procrustes", "cka"):
        with pytest.raises(
            FileNotFoundError, match=r"has no file .*r2\.npy: .* on a disk that all machines have under the same path"
        ):
            rs.compare(name, stored, executor=client.get_executor())


# -- made where it is needed


def noted(x):
    """Leaves a line for every time that it was called, in a file next to the one that x is mapped from."""
    with Path(x.filename).with_suffix(f".{os.getpid()}").open("a") as file:
        file.write("made\n")
    return x[:, :3] - x[:, :3].mean(axis=0)


def product(a, b):
    return float(abs((a * b).sum()))


def test_a_worker_prepares_each_representation_once(client, tmp_path):
    x = {label: on_disk(tmp_path / label, values) for label, values in arrays(number=12).items()}
    measure = rs.measures.from_function(product, kind="similarity", symmetric=True, prepare=noted, range=(0, 1000))
    rs.compare(measure, x, executor=client.get_executor())
    notes = [file.read_text() for file in tmp_path.glob("r*.[0-9]*")]
    assert set(notes) == {"made\n"} and 12 <= len(notes) <= 3 * 12
    rs.compare(measure, x, executor=client.get_executor())
    assert {file.read_text() for file in tmp_path.glob("r*.[0-9]*")} - {"made\n"}, (
        "another table asks again: the file may hold other numbers by now"
    )


def test_what_is_kept_for_later_is_bounded(monkeypatch):
    made = []

    def make(x):
        made.append(float(x[0]))
        return x * 2

    monkeypatch.setattr(transport, "CACHE", type(transport.CACHE)())
    monkeypatch.setattr(transport, "CACHE_BYTES", 3 * 800)
    values = [Deferred(make, np.full(100, k), k) for k in range(4)]
    for k in (0, 1, 2, 0, 1, 3, 0, 2):
        assert values[k].value()[0] == 2 * k
    assert made == [0, 1, 2, 3, 2] and len(transport.CACHE) == 3, "the one not used for longest goes first"
    monkeypatch.setattr(transport, "CACHE_BYTES", 0)
    assert values[3].value()[0] == 6 and len(transport.CACHE) == 1, "the last stays: it is at work"
    made.clear()
    slow = Deferred(lambda x: (made.append(1), threading.Event().wait(0.2), x)[2], np.ones(3), "slow")
    with ThreadPoolExecutor(4) as pool:
        assert len({id(value) for value in pool.map(lambda _: slow.value(), range(4))}) == 1 and made == [1]


def test_pairs_go_in_squares_that_fit_into_memory(monkeypatch):
    measure, xs = rs.measures.get("procrustes"), [np.ones((1000, 50))] * 40
    cells = [(i, j) for i in range(40) for j in range(i, 40)]
    blocks = tables.square_blocks(measure, cells, xs, None, 10)
    assert sorted(cell for block in blocks for cell in block) == cells and len(blocks) >= 40
    needed = [len({i for i, _ in block} | {j for _, j in block}) for block in blocks]
    assert sum(needed) < len(cells) * 0.6 and max(needed) <= 2 * (len(cells) / 40) ** 0.5
    monkeypatch.setattr(tables, "CACHE_BYTES", 3 * 8 * 1000 * 50)
    assert {len({j for _, j in block}) for block in tables.square_blocks(measure, cells, xs, None, 10)} <= {1, 2}


def test_what_is_as_long_as_the_samples_is_not_sent(client, tmp_path):
    import pickle

    x = {"a": on_disk(tmp_path / "a", np.random.default_rng(0).normal(size=(50_000, 8)))}["a"]
    for name in ("cka", "cka_debiased", "cka_minibatch"):
        assert len(pickle.dumps(rs.measures.get(name)._source(x, 2**62))) < 5000
    distances = rs.measures.DistanceCorrelation()._source(x[:2000], 2**62)
    assert len(pickle.dumps(distances)) < 2000 * 8 + 5000, "row means, which take n² to make, and nothing else"
    with open_scratch(tmp_path, 2**13) as store:
        assert len(pickle.dumps(store(distances))) < 5000


def test_by_tiles_the_means_of_features_are_found_where_they_are_needed(client, travelled, tmp_path):
    """Few samples of many features: a mean for each feature in every task would be a large part of the data."""
    x = {
        label: on_disk(tmp_path / label, np.tile(values, (1, 500)))
        for label, values in arrays(n=1000, number=6).items()
    }
    here, before = rs.compare("cka_debiased", x), travelled()
    there = rs.compare("cka_debiased", x, executor=client.get_executor())
    assert not engine.cheaper_by_features(1000, [3000] * 6, None) and there.values.equals(here.values)
    assert travelled() - before < 0.01 * sum(values.nbytes for values in x.values())


# -- bytes that travel, and a worker that is lost


@pytest.fixture
def travelled(client, monkeypatch):
    """-> bytes() that travelled so far: in and out of this process, which holds the client and the scheduler, and from
    worker to worker.
    """
    count = [0]
    for name in ("read_from_fd", "write_to_fd"):
        monkeypatch.setattr(tornado.iostream.IOStream, name, counting(getattr(tornado.iostream.IOStream, name), count))

    def number():
        return count[0] + sum(client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total).values())

    number()
    assert count[0] > 0, "the sockets of the cluster are not those that are counted"
    return number


def counting(method, count):
    def counted(stream, data):
        moved = method(stream, data)
        count[0] += moved or 0
        return moved

    return counted


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """20 × (n, 64) in float32, mixtures of two random halves each; gone afterwards."""
    folder, number, p = tmp_path_factory.mktemp("large"), 20, 64
    n = int(GIGABYTES * 1e9 / (4 * number * p))
    rng = np.random.default_rng(0)
    for k in range(number):
        np.lib.format.open_memmap(folder / f"{k:02d}.npy", "w+", np.float32, (n, p))
    files = [np.load(folder / f"{k:02d}.npy", mmap_mode="r+") for k in range(number)]
    for rows in (slice(i, i + 50_000) for i in range(0, n, 50_000)):
        a, b = rng.standard_normal((2, len(files[0][rows]), p), dtype=np.float32)
        for k, file in enumerate(files):
            file[rows] = np.cos(k / 8, dtype=np.float32) * a + np.sin(k / 8, dtype=np.float32) * b**2
    yield {str(k): np.load(file.filename, mmap_mode="r") for k, file in enumerate(files)}
    for file in files:
        Path(file.filename).unlink()


@pytest.mark.parametrize("name", ["cka_debiased", "procrustes"])
def test_a_lost_worker_changes_nothing_and_hardly_anything_travels(client, travelled, large, name):
    """One of three processes is killed at its work, once some results have come back."""
    given = large if name == "cka_debiased" else {str(k): large[str(k)][:60_000] for k in range(len(large) // 2)}
    size = sum(x.nbytes for x in given.values())
    here = rs.compare(name, given)
    client.wait_for_workers(3)
    client.run(
        importlib.import_module, "repsim_nb"
    )  # a worker that has just been started again would come too late to be killed
    numbers, first = (
        client.run(os.getpid),
        len(given) + (name == "procrustes"),
    )  # CKA's workers have reported all representations by then; of pairs, some
    killed = []

    def kill(done, total):
        if not killed and done >= first:
            busy = [address for address, tasks in client.processing().items() if tasks]
            killed.extend(numbers[address] for address in busy[:1])
            for number in killed:
                os.kill(number, signal.SIGKILL)

    before = travelled()
    there = rs.compare(name, given, executor=client.get_executor(), progress=kill)
    sent = travelled() - before
    print(f"\n{name} of {size / 1e9:.2f} GB: {sent:,} bytes travelled, {sent / size:.3%}; {killed} was killed")
    assert killed and killed[0] not in client.run(os.getpid).values()
    assert there.values.equals(here.values), "to the last digit"
    assert sent < 0.01 * size
