"""Benchmarks: our side of every row at tiny size, every peer that is installed against it, the floor, and the page that
is written of it.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import repsim_nb as rs
from benchmarks import big, clock, data, floor, gpu, growth, peers, report, run, scaling
from benchmarks.cases import CASES
from benchmarks.defects import DEFECTS

ROOT = Path(__file__).parents[1]

PAIRS = [(case, adapter) for case in CASES for adapter in case.adapters()]


@pytest.fixture(scope="module")
def made():
    """name -> (inputs, our table), each made once."""
    known = {}

    def get(case):
        if case.name not in known:
            given = case.inputs(**case.fast)
            known[case.name] = given, case.ours(case.fresh(given))
        return known[case.name]

    return get


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_our_side_of_every_row(case, made):
    given, values = made(case)
    sides = (data.LAYERS, data.LAYERS) if case.kind == "models" else (given["xs"], given.get("ys") or given["xs"])
    assert values.shape == tuple(map(len, sides)) if case.work is None else len(values) == len(given["xs"])
    assert np.isfinite(values).all()


def test_the_rows_say_what_they_mean():
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert set(case.targets) <= set(case.peers)
        assert list(case.size) == list(case.fast)
    used = {(adapter.peer, adapter.kind) for _, adapter in PAIRS}
    assert used == set(peers.ADAPTERS), "an adapter that no row uses"
    assert ({peer for peer, _ in used} | {defect.peer for defect in DEFECTS}) - set(peers.NO_PACKAGES) == set(
        peers.PEERS
    )


@pytest.mark.parametrize("peer", [*peers.PEERS, *peers.NO_PACKAGES])
def test_an_installed_peer_that_is_right_agrees(peer, made):
    why = peers.missing(peer)
    if why:
        pytest.skip(why)
    for case, adapter in ((case, adapter) for case, adapter in PAIRS if adapter.peer == peer):
        given, values = made(case)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function = adapter.load()
            if adapter.by == "models":
                now = case.fresh(given)
                theirs = function(now["a"], now["b"], now["pictures"], now["batch"])
            else:
                sides = [
                    given.get(side)
                    and [torch.from_numpy(x) if adapter.takes == "torch" else x for x in given[side].values()]
                    for side in ("xs", "ys")
                ]
                theirs = (
                    function(*sides)
                    if adapter.by == "table"
                    else clock.over_pairs(function, *sides, case.symmetric, 60)[0]
                )
        if adapter.comparable:
            values = values if adapter.same_as is None else case.ours(given, adapter.same_as)
            # tiny inputs in float32: RESULTS.md has the tolerance of each row
            assert np.nanmax(np.abs(theirs - values)) < 1e-2, case.name


def test_the_floor_does_the_products_that_it_says():
    xs = list(data.activations(3, 600, 5).values())
    sums, flops = floor.gram_side(xs)
    grams = [x.astype(float) @ x.T.astype(float) for x in xs]
    for i in range(3):
        for j in range(3):
            both = grams[i] * grams[j]
            kept = sum(
                both[start : start + 256, start:].sum() for start in range(0, 600, 256)
            )  # row blocks, upper trapezoid
            assert sums[i, j] == pytest.approx(kept, rel=1e-3)
    assert flops == sum(2 * (min(s + 256, 600) - s) * (600 - s) * 3 * (5 + 3) for s in range(0, 600, 256))
    wide, flops = floor.feature_side(xs)
    assert wide.shape == (15, 15) and flops == 2 * 600 * 15**2


def test_a_pairwise_function_is_timed_once_a_pair_and_scaled_when_it_is_slow(monkeypatch):
    xs = [1.0, 2.0, 3.0]
    values, _, done, of = clock.over_pairs(lambda x, y: x * y, xs, None, True, 60)
    assert (done, of) == (3, 3) and values[0, 2] == values[2, 0] == 3 and np.isnan(values[0, 0])
    assert clock.over_pairs(lambda x, y: x - y, xs, None, False, 60)[2:] == (6, 6)
    assert clock.over_pairs(lambda x, y: x * y, xs, [1.0, 2.0], True, 60)[2:] == (6, 6)
    monkeypatch.setattr(clock, "SAMPLE_SECONDS", 0)
    assert clock.over_pairs(lambda x, y: x * y, xs, None, True, 0)[2:] == (1, 3)


def test_slopes():
    assert growth.slope([1, 10, 100, 1000], [9, 10, 1000, 100000]) == pytest.approx(2)
    assert growth.slope([1], [1]) is None


def test_the_model_of_time_counts_what_is_done_and_finds_its_prices():
    from repsim_nb.measures import engine, gram

    for n, p, number in ((5000, 100, 33), (900, 768, 5)):
        groups = [len(group) * p for group in engine._groups([p] * number)]
        counted = scaling.counts("features", n, p, number)
        assert counted["flops"] == sum(
            n * a * b * (1 if i == j else 2) for i, a in enumerate(groups) for j, b in enumerate(groups) if i <= j
        )
        assert counted["numbers"] == n * p * number + sum(
            n * (a if i == j else a + b) for i, a in enumerate(groups) for j, b in enumerate(groups) if i <= j
        )
    entries = sum(
        weight * (rows.stop - rows.start) * (columns.stop - columns.start)
        for (rows, columns), weight in gram.tiles(3000, 4, 4, 512)
    )
    assert entries == 3000**2 and scaling.counts("tiles", 3000, 512, 4)["flops"] == 3000**2 * 512 * 4
    prices = {"flops": 2e-11, "numbers": 3e-9, "tasks": 1e-3}
    points = [
        {"counts": (at := scaling.counts("features", *size)), "seconds": scaling.predicted(prices, at)}
        for size in scaling.SMALL["features"]
    ]
    assert scaling.fitted(points) == pytest.approx(prices)
    chosen = [
        row["way"]
        for size in scaling.FORECAST
        for row in scaling.forecast({"features": prices, "tiles": {"flops": 1e-11}}, *size)
        if row["chosen"]
    ]
    assert chosen == ["features", "features"]


def test_it_runs_and_writes_a_page():
    command = [
        sys.executable,
        "-m",
        "benchmarks.run",
        "--fast",
        "procrustes",
        "floor",
        "fits",
        "search",
        "growth",
        "memory",
        "big",
        "scaling",
    ]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    out = ROOT / ".cache" / "bench-fast"
    page = (out / "RESULTS.md").read_text()
    for heading in (
        "## Targets",
        "### Procrustes, n < p",
        "## The floor",
        "## Maps and probes",
        "## The best pair of layers",
        "## Memory",
        "## More than memory holds",
        "## Growth",
        "## How far it scales",
    ):
        assert heading in page
    assert (out / "growth.png").stat().st_size > 10_000
    assert str(ROOT) not in page


def test_the_script_for_accelerators_runs_on_a_processor(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        rs.measures, "ALL", {name: rs.measures.ALL[name] for name in ("cka_debiased", "procrustes", "jsd")}
    )
    assert gpu.main(["--device", "cpu", "--fast", "--out", str(tmp_path / "GPU.md")]) == 0
    page = (tmp_path / "GPU.md").read_text()
    assert "Not run on a card" in page and "4 rows" in page and page.count("\n| ") == 4
    monkeypatch.setattr(gpu, "differences", lambda device: {"cka": 1.0, "stream": 0.0})
    assert gpu.main(["--device", "cpu", "--fast", "--out", str(tmp_path / "GPU.md")]) == 1
    assert "wrong: cka differs by 1.0e+00" in capsys.readouterr().out


def test_where_the_disk_has_no_room_for_the_big_part_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(big.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5 * 10**9}))
    found = big.measure(fast=False, out=tmp_path)
    assert found["error"].startswith("not measured: it takes 13 GB on the disk") and "5 GB are free" in found["error"]
    assert found["error"] in report.written({"parts": {"big": {"found": found, "machine": run.machine(), "took": 0.0}}})


def test_what_passes_the_room_for_pages_is_dropped_and_read_again(monkeypatch, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(10**6))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    total = int(x.sum())
    monkeypatch.setattr(big, "PAGES", 0)
    with big.Scarce([x]) as scarce:
        for _ in range(200):
            assert int(x.sum()) == total
    assert scarce.times > 0 or not clock.STATUS.exists()


def test_an_unknown_part_is_said(monkeypatch, capsys):
    monkeypatch.setattr(clock, "one_core", lambda: None)
    with pytest.raises(SystemExit):
        run.main(["speed"])
    assert "there is no part 'speed'; there are cka," in capsys.readouterr().err


def test_the_page_that_ships_was_written_from_the_numbers_that_ship():
    raw = ROOT / "benchmarks" / "results.json"
    if not raw.exists():
        pytest.skip("not measured yet: make bench")
    assert (ROOT / "benchmarks" / "RESULTS.md").read_text() == report.written(json.loads(raw.read_text()))
