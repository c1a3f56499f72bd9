"""Benchmarks: our side of every row at tiny size, every peer that is installed against it, the floor, and the page that is written of it."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import clock, data, floor, growth, peers, report, run
from benchmarks.cases import CASES
from benchmarks.defects import DEFECTS

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
    sides = (data.LAYERS, data.LAYERS) if case.kind == "networks" else (given["xs"], given.get("ys") or given["xs"])
    assert values.shape == tuple(map(len, sides))
    assert np.isfinite(values).all()


def test_the_rows_say_what_they_mean():
    assert len({case.name for case in CASES}) == len(CASES)
    for case in CASES:
        assert set(case.targets) <= set(case.peers)
        assert list(case.size) == list(case.fast)
    used = {(adapter.peer, adapter.kind) for _, adapter in PAIRS}
    assert used == set(peers.ADAPTERS), "an adapter that no row uses"
    assert {peer for peer, _ in used} - set(peers.NO_PACKAGES) == set(peers.PEERS)
    assert {defect.peer for defect in DEFECTS} <= set(peers.PEERS)


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
            if adapter.by == "networks":
                now = case.fresh(given)
                theirs = function(now["a"], now["b"], now["pictures"], now["batch"])
            else:
                sides = [
                    given.get(side) and [torch.from_numpy(x) if adapter.takes == "torch" else x for x in given[side].values()]
                    for side in ("xs", "ys")
                ]
                theirs = function(*sides) if adapter.by == "table" else clock.over_pairs(function, *sides, case.symmetric, 60)[0]
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
            kept = sum(both[start : start + 256, start:].sum() for start in range(0, 600, 256))  # row blocks, upper trapezoid
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


def test_it_runs_and_writes_a_page():
    command = [sys.executable, "-m", "benchmarks.run", "--fast", "procrustes", "floor", "growth", "memory"]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    out = ROOT / ".cache" / "bench-fast"
    page = (out / "RESULTS.md").read_text()
    for heading in ("## Targets", "### Procrustes, n < p", "## The floor", "## Memory", "## Growth"):
        assert heading in page
    assert (out / "growth.png").stat().st_size > 10_000
    assert str(ROOT) not in page


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
