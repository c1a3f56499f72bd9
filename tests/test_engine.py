"""The engine behind tables: every way to the same numbers, bounded in memory, spread over workers, honest about what it
will take.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import repsim_nb as rs
from repsim_nb.measures import CKA, RSA, DistanceCorrelation, UndefinedError, cost, engine, gram
from repsim_nb.measures.features import Features
from repsim_nb.measures.ties import ranks_with_ties
from repsim_nb.support.errors import Stopped
from repsim_nb.support.transport import Address, pack, unpack
from repsim_nb.support.workers import open_workers

GRAM = {
    "linear": CKA(),
    "debiased": CKA(debiased=True),
    "batches": CKA(batch_size=40),
    "rbf": CKA(kernel="rbf"),
    "rbf debiased": CKA(kernel="rbf", debiased=True, median="off_diagonal"),
    "distances": DistanceCorrelation(),
    "distances debiased": DistanceCorrelation(debiased=True),
    "distances root": DistanceCorrelation(squared=False),
    "rsa": RSA(),
    "rsa rows": RSA(second="row_cosine"),
}


@pytest.fixture
def some(rng):
    base = rng.normal(size=(150, 12))
    return {
        f"r{k}": base @ rng.normal(size=(12, 5 + 3 * k)) + 0.5 * rng.normal(size=(150, 5 + 3 * k)) + 3 for k in range(5)
    }


def tiny_tiles(monkeypatch):
    """So small that 150 samples make many tiles, and nothing may be kept whole."""
    monkeypatch.setattr(gram, "ROWS", 32)
    monkeypatch.setattr(cost, "MATRIX_BYTES", 0)
    monkeypatch.setattr(cost, "columns_within", lambda *_: 50)


# -- every way to the same numbers


@pytest.mark.parametrize("name", GRAM)
@pytest.mark.parametrize("ways", ["tiles", "features", "kept"])
def test_tiles_features_and_kept_matrices_agree_with_pairs(some, monkeypatch, name, ways):
    measure = GRAM[name]
    prepared = {label: measure.prepare(x) for label, x in some.items()}
    direct = np.array([[measure.pair(a, b) for b in prepared.values()] for a in prepared.values()])
    monkeypatch.setattr(engine, "cheaper_by_features", lambda *_: ways == "features")
    if ways == "tiles":
        tiny_tiles(monkeypatch)
    assert np.allclose(measure.table(some).values, direct, rtol=0, atol=1e-10)
    labels = list(some)
    rows, columns = {k: some[k] for k in labels[:2]}, {k: some[k] for k in labels[1:]}
    assert np.allclose(measure.table(rows, columns).values, direct[:2, 1:], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", GRAM)
def test_tiles_in_float32_are_near_float64(some, monkeypatch, name):
    exact = GRAM[name].table(some).values
    tiny_tiles(monkeypatch)
    single = GRAM[name].table({label: x.astype(np.float32) for label, x in some.items()}).values
    assert np.abs(single - exact).max() < (2e-4 if name.startswith("rsa") else 3e-6)  # near ties change ranks


def test_features_are_chosen_where_they_are_few_and_tiles_where_samples_are():
    assert engine.cheaper_by_features(50_000, [256] * 24, None) and engine.cheaper_by_features(20_000, [64] * 24, None)
    assert not engine.cheaper_by_features(2000, [768] * 24, None) and not engine.cheaper_by_features(
        2000, [768] * 13, [768] * 13
    )
    assert engine.cheaper_by_features(2000, [64], [64]) and not engine.cheaper_by_features(100, [5000], [5000])


@pytest.mark.parametrize("n", [7, 8, 40, 41])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("diagonal", [True, False])
def test_the_median_distance_is_exact_in_passes_too(rng, monkeypatch, n, dtype, diagonal):
    x = rng.normal(size=(n, 3)).astype(dtype)
    x[: n // 3] = x[0]  # ties at zero
    features = Features(x, 3)
    whole = features.all_distances(1)
    expected = np.median(whole if diagonal else whole[~np.eye(n, dtype=bool)])
    assert gram.median_distance(features, whole, diagonal=diagonal) == pytest.approx(expected, rel=1e-6)
    monkeypatch.setattr(gram, "ROWS", 16)
    monkeypatch.setattr(cost, "columns_within", lambda *_: 16)
    assert gram.median_distance(features, None, diagonal=diagonal) == pytest.approx(expected, rel=1e-5)


def test_ranks_are_those_of_scipy(rng):
    from scipy.stats import rankdata

    for values in (rng.normal(size=1000), rng.integers(0, 9, size=1000) / 2, np.zeros(5), np.array([3.0])):
        assert np.array_equal(ranks_with_ties(values), rankdata(values))


def test_precisions_may_be_mixed_in_one_table(some):
    mixed = {label: x.astype(np.float32) if k % 2 else x for k, (label, x) in enumerate(some.items())}
    for name in GRAM:
        assert np.allclose(GRAM[name].table(mixed).values, GRAM[name].table(some).values, atol=2e-4)


def test_one_bad_representation_spoils_only_its_own_cells(some):
    some["flat"], some["holed"] = (
        np.ones((150, 4)),
        np.where(np.arange(600).reshape(150, 4) == 77, np.nan, some["r0"][:, :4]),
    )
    some["equal"] = np.eye(150)  # all samples equally far: nothing is left of its U-centred matrix
    for name in ("debiased", "rbf", "distances debiased", "rsa"):
        found = GRAM[name].table(some, on_undefined="mask")
        table, reasons = found.values, found.undefined
        bad = [5, 6] + ([7] if name != "rbf" else [])
        good = [i for i in range(8) if i not in bad]
        assert (
            np.isfinite(table[np.ix_(good, good)]).all()
            and np.isnan(table[bad]).all()
            and np.isnan(table[:, bad]).all()
        )
        assert (
            "'flat'" in reasons[0, 5]
            and "constant" in reasons[5, 0]
            and "'holed'" in reasons[6, 1]
            and "sample 19, feature 1" in reasons[1, 6]
        )
        assert len(reasons) == np.isnan(table).sum()
    with pytest.raises(UndefinedError, match="'equal': all samples are equally far"):
        CKA(debiased=True).table({"r0": some["r0"], "equal": some["equal"]})


def test_torch_tensors_take_the_same_ways(some, monkeypatch):
    tiny_tiles(monkeypatch)
    for name in GRAM:
        expected = GRAM[name].table(some).values
        assert np.allclose(
            GRAM[name].table({label: torch.tensor(x) for label, x in some.items()}).values, expected, rtol=0, atol=1e-10
        )
    c = rs.compare("cka_debiased", some, device="cpu")
    assert np.allclose(c.values, CKA(debiased=True).table(some).values, atol=1e-12)


# -- bounded in memory

BOUNDED = """
import sys, numpy as np
import repsim_nb as rs
from benchmarks.clock import Peak
from repsim_nb.measures import engine
by_features, measure, folder = sys.argv[1] == "features", sys.argv[2], sys.argv[3]
engine.cheaper_by_features = lambda *_: by_features
rs.compare(measure, {"a": np.random.default_rng(0).normal(size=(64, 4)).astype("f4")})
x = {str(k): np.load(f"{folder}/{k}.npy", mmap_mode="r") for k in range(3)}
peak = Peak()  # the largest ru_maxrss of a process is at least that of pytest, which starts it
values = rs.compare(measure, x).values.to_numpy()
print(peak.read() / 1e6, values[0, 1])
"""


@pytest.mark.parametrize(
    "ways, measure",
    [
        ("tiles", "cka"),
        ("tiles", "cka_debiased"),
        ("features", "cka_debiased"),
        ("tiles", "cka_rbf"),
        ("tiles", "distance_correlation"),
    ],
)
def test_memory_is_bounded_by_the_tile(tmp_path, rng, ways, measure):
    """10,000 samples: one n × n matrix in float32 would be 400 MB, three of them 1.2 GB."""
    base = rng.normal(size=(10_000, 8)).astype(np.float32)
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", base + 0.5 * rng.normal(size=base.shape).astype(np.float32))
    command = [sys.executable, "-c", BOUNDED, ways, measure, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    megabytes, value = map(float, done.stdout.split())
    assert 1 < megabytes < 400 and 0.3 < value < 1


def test_a_table_that_cannot_fit_says_so_before_it_starts(tmp_path):
    def many(n, number):
        return {str(k): np.broadcast_to(np.float32(1), (n, 8)) for k in range(number)}

    start = time.process_time()
    with pytest.raises(
        MemoryError,
        match=r"this table takes \d+\.\d GB of memory, and .* are free, .* for prepared values: scratch='a folder'",
    ):
        rs.compare(RSA(second="pearson"), many(20_000, 3000))
    with pytest.raises(MemoryError, match="are free. Use fewer samples"):  # not even one of them fits
        rs.compare("rsa", many(1_000_000, 3), scratch=tmp_path)
    with pytest.raises(OSError, match=r"needs 16000\.0 GB in .*, where .* are free"):
        rs.compare(RSA(second="pearson"), many(20_000, 20_000), scratch=tmp_path)
    assert time.process_time() - start < 10
    with pytest.raises(ValueError, match="scratch must be an existing folder"):
        rs.compare("rsa", {"a": np.eye(5)}, scratch=tmp_path / "nowhere")


def test_much_time_or_memory_is_announced(some, monkeypatch, capsys):
    rs.compare("cka", some)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(cost, "MUCH_TIME", 0)
    rs.compare("rsa", some)
    assert "rsa, 5 × 5 representations: about 0 s" in capsys.readouterr().err
    monkeypatch.setattr(cost, "MUCH_MEMORY", 0)
    rs.compare("procrustes", some)
    assert "of memory" in capsys.readouterr().err


def test_costs_grow_as_the_theory_says():
    for name, n_power in (("cka", 1), ("cka_rbf", 2), ("rsa", 2), ("procrustes", 1), ("pwcca", 1)):
        one, two = (rs.measures.get(name).cost(n, [64] * 6) for n in (20_000, 40_000))
        assert 2**n_power * 0.7 < two.flops / one.flops < 2**n_power * 1.4, name
    assert (
        CKA().cost(50_000, [256] * 24).table_bytes == 0
        and RSA().cost(1000, [8] * 4, itemsize=8).table_bytes == 4 * 8 * 1000**2 / 2
    )
    assert 0.2 < CKA().cost(2000, [64, 64]).seconds() / CKA().cost(4000, [64, 64]).seconds(2) < 2


@pytest.mark.parametrize("name", ["rsa", "rsa_cosine", "procrustes", "pwcca", "cka_rbf"])
def test_scratch_holds_what_is_prepared_and_is_left_empty(tmp_path, rng, name, monkeypatch):
    x = {str(k): rng.normal(size=(700, 30 + 210 * (name != "pwcca"))) for k in range(3)}
    seen = []
    real = np.save
    monkeypatch.setattr(
        np, "save", lambda path, value: (seen.extend([value.nbytes] * (tmp_path in path.parents)), real(path, value))[1]
    )
    kept = rs.compare(name, x, scratch=tmp_path)
    assert np.array_equal(kept.values, rs.compare(name, x).values) and list(tmp_path.iterdir()) == []
    assert len(seen) == (3 if name in ("rsa", "rsa_cosine", "procrustes") else 0), (
        "what is small, or made by tiles, is not written"
    )

    def stop(done, total):
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        rs.compare(name, x, scratch=tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []


# -- spread over workers


@pytest.mark.parametrize("name", GRAM)
def test_the_number_of_workers_changes_no_digit(some, monkeypatch, name):
    tiny_tiles(monkeypatch)
    tables = []
    for number in (1, 3):
        with ThreadPoolExecutor(number) as executor:
            tables.append(rs.compare(GRAM[name], some, executor=executor).values.to_numpy())
    assert np.array_equal(*tables) and np.array_equal(tables[0], rs.compare(GRAM[name], some).values)


@pytest.mark.parametrize("name", ["cka_debiased", "cka_rbf", "rsa", "svcca"])
def test_other_processes_give_the_same(some, tmp_path, name):
    mapped = {}
    for label, x in some.items():
        np.save(tmp_path / f"{label}.npy", x)
        mapped[label] = np.load(tmp_path / f"{label}.npy", mmap_mode="r")
    serial = rs.compare(name, some)
    with ProcessPoolExecutor(2) as executor:
        for given in (some, mapped):
            spread = rs.compare(name, given, executor=executor)
            assert np.allclose(spread.values, serial.values, rtol=0, atol=1e-12)


def test_dask_gives_the_same(some):
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        for name in ("cka", "rsa", "procrustes"):
            spread = rs.compare(name, some, executor=client.get_executor())
            assert np.allclose(spread.values, rs.compare(name, some).values, rtol=0, atol=1e-12)


def test_a_memory_mapped_array_travels_as_its_address(tmp_path, rng):
    np.save(tmp_path / "x.npy", rng.normal(size=(3000, 40)))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    for part in (x, x[100:200], x[2999:], x.reshape(3000, 8, 5), x.T):
        assert (
            isinstance(pack(part), Address)
            and np.array_equal(unpack(pack(part)), part)
            and unpack(pack(part)).shape == part.shape
        )
    private = np.load(tmp_path / "x.npy", mmap_mode="c")  # what was changed in it is not in the file
    for other in (x[:, 3:], np.array(x), private, "text", None, 3):
        assert pack(other) is other
    features = Features(x, 3)
    assert len(pickle.dumps(features)) < 5000
    again = pickle.loads(pickle.dumps(features))
    assert np.array_equal(again[slice(5, 9)], features[slice(5, 9)])
    features.hold()
    vector = gram.Vector(x.reshape(-1), 0.0)
    assert len(pickle.dumps(engine._Bundle([features], [vector]))) < 10_000, (
        "what is held for speed, or lies in scratch, is not sent"
    )


def test_workers_keep_blas_to_one_thread_and_give_it_back():
    from threadpoolctl import threadpool_info

    def threads():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = threads()
    first, second = open_workers(), open_workers()  # two tables at a time, as an explorer's and a cell's
    first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    assert set(threads()) == {1}, "the second is still at work"
    second.__exit__(None, None, None)
    assert threads() == before
    with open_workers() as run:
        assert (
            set(threads()) == {1} and run.number == len(os.sched_getaffinity(0)) and list(run(abs, [-1, -2])) == [1, 2]
        )
    assert threads() == before


def test_ctrl_c_returns_at_once(rng):
    x = {str(k): rng.normal(size=(3000, 600)) for k in range(40)}
    timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
    start = time.process_time()  # whatever else the machine does
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        rs.compare("procrustes", x)
    assert time.process_time() - start < 4


def test_a_stopped_table_leaves_no_thread_at_work(rng):
    x = {
        str(k): np.broadcast_to(
            rng.normal(size=(1, 64)).astype(np.float32) + np.arange(40_000, dtype=np.float32)[:, None] % 97,
            (40_000, 64),
        )
        for k in range(6)
    }

    def stop(done, total):
        if time.monotonic() - start > 0.5:
            raise Stopped

    start, worked = time.monotonic(), time.process_time()
    with pytest.raises(Stopped):
        rs.compare("cka_rbf", x, progress=stop)
    assert time.process_time() - worked < 3 * len(os.sched_getaffinity(0)), (
        "asked several times a second, though one representation takes longer than that to prepare"
    )
    for _ in range(100):
        if not any(thread.name.startswith("repsim_nb_") for thread in threading.enumerate()):
            break
        time.sleep(0.1)
    else:
        pytest.fail("a worker goes on though nobody waits for it")


def test_masking_where_nothing_is_left_to_compare():
    with ProcessPoolExecutor(1) as executor:
        for other in (None, executor):
            c = rs.compare("procrustes", {"a": np.ones((9, 3))}, executor=other, on_undefined="mask")
            assert "constant" in c.undefined["a", "a"]


def test_torch_precisions_may_be_mixed_on_the_feature_way(rng, monkeypatch):
    monkeypatch.setattr(engine, "cheaper_by_features", lambda *_: True)
    monkeypatch.setattr(engine, "BLOCK", 8)
    x, y = rng.normal(size=(90, 20)), rng.normal(size=(90, 30))
    expected = CKA(debiased=True)(x, y)
    assert CKA(debiased=True)(torch.tensor(x).float(), torch.tensor(y)) == pytest.approx(expected, abs=1e-6)
    assert CKA(debiased=True)(x, y) == pytest.approx(
        CKA(debiased=True).pair(*map(CKA(debiased=True).prepare, (x, y))), abs=1e-12
    ), "blocks of features add up"


WIDE = """
import sys, numpy as np
import repsim_nb as rs
from benchmarks.clock import Own
from repsim_nb.measures import cost, engine
rs.compare("cka", {"a": np.random.default_rng(0).normal(size=(64, 4)).astype("f4")})
cost.MATRIX_BYTES = 0
engine.cheaper_by_features = lambda *_: sys.argv[1] == "features"
x = {str(k): np.load(f"{sys.argv[2]}/{k}.npy", mmap_mode="r") for k in range(2)}
with Own() as memory:
    rs.compare("cka", x)
print(memory.peak / 2**20)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory of one's own is read from /proc")
@pytest.mark.parametrize("ways, shape", [("features", (2000, 5000)), ("tiles", (1500, 20_000))])
def test_memory_does_not_grow_with_the_width_either(tmp_path, rng, ways, shape):
    """Products of all features would take 20 bytes for each of 5,000 × 5,000; a tile of all columns, 1,500 × 20,000
    numbers several times.
    """
    for k in range(2):
        np.save(tmp_path / f"{k}.npy", rng.normal(size=shape).astype(np.float32))
    command = [sys.executable, "-c", WIDE, ways, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert float(done.stdout) < 330


def test_costs_say_what_batches_of_rbf_keep_and_nothing_where_nothing_is_known():
    known = CKA(kernel="rbf", batch_size=256).cost(100_000, [8] * 4)
    assert known.table_bytes == 4 * 100_000 * 256 * 4
    mine = rs.measures.from_function(lambda x, y: 1.0, name="one", kind="similarity", symmetric=True)
    assert np.isnan(mine.cost(100, [3]).table_bytes) and mine.cost(10**9, [10**3]).sentence() == ""


def test_scratch_takes_torch_tensors_too(tmp_path, rng, monkeypatch):
    x = {str(k): torch.tensor(rng.normal(size=(700, 240))) for k in range(3)}
    seen = []
    real = np.save
    monkeypatch.setattr(np, "save", lambda path, value: (seen.append(path), real(path, value))[1])
    assert (
        np.allclose(
            rs.compare("procrustes", x, scratch=tmp_path).values, rs.compare("procrustes", x).values, atol=1e-12
        )
        and len(seen) == 3
    )


def test_arguments_that_are_no_workers_no_device_no_measure(some):
    with pytest.raises(TypeError, match="executor must be an Executor"):
        rs.compare("cka", some, executor=4)
    with pytest.raises(ValueError, match="device must be available; got 'gpu'"):
        rs.compare("cka", some, device="gpu")
    with pytest.raises(TypeError, match=r"Create an instance: CKA\(\)"):
        rs.compare(CKA, some)
    with pytest.raises(TypeError, match="from_function"):
        rs.compare(np.dot, some)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
@pytest.mark.parametrize("n, p", [(13, 3), (14, 2), (20, 5)])
def test_copies_of_a_sample_are_at_distance_zero(kind, n, p):
    x = np.ones((n, p))
    x[0] += np.arange(1, p + 1)  # all samples but one are the same, so U-centring leaves nothing
    y = np.random.default_rng(0).normal(size=(n, 4))
    distances = Features(kind(x), 3).distances(slice(0, n), slice(0, n))
    assert not np.asarray(distances)[1:, 1:].any()
    with pytest.raises(UndefinedError, match="'x': all samples are equally far from one another"):
        DistanceCorrelation(debiased=True)(kind(x), kind(y))


def near_repeats(kind, n=120, p=1000):
    """Samples some of which are much nearer to each other than rounding of products of float32 can show."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, p))
    if kind == "few":
        x[1::10] = x[::10] + 1e-5 * rng.normal(size=(n // 10, p))
    elif kind == "many":
        x = np.repeat(x[:3], n // 3, axis=0) + 1e-5 * rng.normal(size=(n, p))
        x[5:40] = x[4]
    else:
        x[7], x[9] = 1e6 * x[7], 1e4 * x[9]  # the mean is far from all others
    return x.astype(np.float32)


@pytest.mark.parametrize("as_array", [np.asarray, torch.tensor])
@pytest.mark.parametrize("kind", ["few", "many", "one far sample"])
def test_distances_of_near_repeats_are_those_of_the_samples(kind, as_array):
    x = near_repeats(kind)
    exact = cdist(x.astype(float), x.astype(float))
    features, everyone = Features(as_array(x), 3), slice(0, len(x))
    whole = np.asarray(features.distances(everyone, everyone)).astype(float) ** 0.5 * features._scale
    assert np.allclose(whole, exact, rtol=2e-6, atol=0)
    assert np.array_equal(whole, whole.T)
    part = np.asarray(features.distances(slice(0, 50), slice(40, 120))).astype(float) ** 0.5 * features._scale
    assert np.allclose(part, exact[:50, 40:], rtol=2e-6, atol=0), "a tile has the same distances"
    assert np.allclose(
        np.asarray(Features(x, 3).part(slice(0, 50)).distances(slice(0, 50), slice(0, 50))) ** 0.5 * features._scale,
        exact[:50, :50],
        rtol=4e-6,  # in float32: processors sum in other orders
        atol=2e-6 if kind == "one far sample" else 0,
    )
    found = np.asarray(rs.measures.RSA(first="euclidean").matrix(as_array(x))).astype(float)
    assert np.allclose(found / found.max(), exact / exact.max(), rtol=2e-6, atol=0)


@pytest.mark.parametrize("name", ["distance_correlation", "cka_rbf"])
def test_float32_has_the_value_of_float64_if_a_sample_is_far(name):
    x = near_repeats("one far sample")
    y = np.random.default_rng(1).normal(size=(len(x), 5))
    measure = rs.measures.get(name)
    assert measure(x, y.astype(np.float32)) == pytest.approx(measure(x.astype(float), y), abs=1e-5)
