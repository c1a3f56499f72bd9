"""How far a table of linear CKA scales: a model of its time, fitted on small tables, checked on larger ones, and what
it predicts for very large ones.

Debiased linear CKA of K representations (n, p) in files. The engine goes one of two ways: by features (products of
groups of features, streamed over the samples) or by tiles (of the sample-by-sample matrices). For each way the model is
a sum of counts, each times a
constant of the machine: multiplications and additions, numbers that are read and centred, tasks. The constants are
fitted by least squares of the relative errors, none below 0. Seconds are those of the processor on one core, so what
else the machine does counts little.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import clock

WITHIN = 0.25
MEASURE = "cka_debiased"
# (n, p, K): by features where samples are many, by tiles where features are
SMALL = {
    "features": [
        (8000, 128, 8),
        (16000, 128, 8),
        (8000, 256, 8),
        (12000, 256, 6),
        (6000, 512, 4),
        (8000, 512, 6),
        (20000, 64, 24),
        (10000, 128, 16),
        (6000, 256, 12),
        (24000, 64, 16),
        (5000, 512, 8),
        (30000, 128, 8),
    ],
    "tiles": [
        (1000, 512, 8),
        (1500, 512, 8),
        (2000, 512, 8),
        (1500, 1024, 6),
        (2000, 1024, 4),
        (1000, 1024, 12),
        (1000, 768, 24),
        (1500, 768, 16),
        (2000, 768, 12),
        (2500, 1024, 6),
        (1000, 512, 32),
        (3000, 1024, 6),
    ],
}
LARGE = {
    "features": [(100_000, 128, 16), (40_000, 256, 16), (24_000, 512, 12), (60_000, 256, 12)],
    "tiles": [(5000, 1024, 12), (4000, 768, 24), (5500, 1024, 10), (3000, 1024, 32)],
}
FAST = {
    "features": [(400, 4, 3), (800, 4, 3), (400, 8, 3), (600, 8, 6)],
    "tiles": [(60, 64, 3), (100, 64, 3), (60, 128, 4), (80, 128, 6)],
}
FAST_LARGE = {"features": [(1600, 8, 4)], "tiles": [(160, 128, 4)]}
FORECAST = [(1_000_000, 256, 1000), (1_000_000, 768, 1000)]
CORES = (2, 1600)
# bytes of a task and its result for each representation that it names, besides 8 for each of its features where means
# are sent
MESSAGE = 700


def counts(way: str, n: int, p: int, number: int) -> dict[str, float]:
    """What one table does: flops of products, numbers read and centred, tasks; and by tiles the entries of tiles, made
    and summed up.
    """
    from repsim_nb.measures.cost import columns_within
    from repsim_nb.measures.engine import BLOCK
    from repsim_nb.measures.gram import ROWS

    if way == "features":
        each = max(1, BLOCK // p)
        widths = np.array([p * each] * (number // each) + [p * (number % each)] * (number % each > 0), float)
        total, groups = widths.sum(), len(widths)
        return {
            "flops": n * total**2,  # a group with itself is half of a product, with another a whole one
            "numbers": n * total * (groups + 1.0),  # every group meets every group, and all are read once before
            "tasks": groups * (groups + 1) / 2 + number,
        }
    wide = columns_within(number, ROWS, 4, p)
    return {
        "flops": float(n) ** 2 * p * number,
        "flops between": float(n) ** 2 * number**2 / 2,
        "entries": float(n) ** 2 / 2 * number,
        "numbers": (float(n) ** 2 / 2 * (1 / ROWS + 1 / wide) + n) * p * number,
        "tasks": n / ROWS * (n / (2 * wide) + 1),
    }


def fitted(points: list[dict[str, Any]]) -> dict[str, float]:
    """What each count costs, in seconds: the constants with the least relative errors, none below 0."""
    from scipy.optimize import nnls

    names = list(points[0]["counts"])
    rows = np.array([[point["counts"][name] for name in names] for point in points]) / np.array(
        [[point["seconds"]] for point in points]
    )
    scale = rows.max(axis=0)
    found, _ = nnls(rows / scale, np.ones(len(points)))
    return dict(zip(names, (found / scale).tolist(), strict=True))


def predicted(constants: dict[str, float], at: dict[str, float]) -> float:
    return sum(constants[name] * at[name] for name in constants)


def forecast(constants: dict[str, dict[str, float]], n: int, p: int, number: int) -> list[dict[str, Any]]:
    """For both ways: seconds of one core, of some more, bytes read and sent, and which way the engine takes."""
    from repsim_nb.measures.engine import cheaper_by_features

    chosen = "features" if cheaper_by_features(n, [p] * number, None) else "tiles"
    rows = []
    for way, prices in constants.items():
        at = counts(way, n, p, number)
        seconds = predicted(prices, at)
        named = 2 * max(1, 1024 // p) if way == "features" else number
        pieces = at["tasks"] if way == "features" else 4 * max(CORES)
        rows.append(
            {
                "size": {"n": n, "p": p, "count": number},
                "way": way,
                "chosen": way == chosen,
                "core seconds": seconds,
                "seconds": {cores: seconds / cores for cores in CORES},
                "read": 4 * at["numbers"],
                "sent": (
                    pieces * named * MESSAGE + (pieces * named if way == "features" else number) * 8 * p
                ),  # by tiles a mean a feature is sent once
                "inputs": 4.0 * n * p * number,
            }
        )
    return rows


def _side(folder: str) -> Any:
    import repsim_nb as rs
    from repsim_nb.measures import cost, engine

    def call(way: str, n: int, p: int, number: int) -> dict[str, Any]:
        assert engine.cheaper_by_features(n, [p] * number, None) == (way == "features"), (
            "the engine would go the other way"
        )
        rng = np.random.default_rng(0)
        base = rng.standard_normal((2, n, p), dtype=np.float32)
        for k in range(number):
            np.save(
                Path(folder) / f"{k}.npy",
                np.cos(k, dtype=np.float32) * base[0] + np.sin(k, dtype=np.float32) * base[1] ** 2,
            )
        x = {str(k): np.load(Path(folder) / f"{k}.npy", mmap_mode="r") for k in range(number)}
        seconds = []
        while len(seconds) < 3 and sum(seconds) < 20:
            start = time.process_time()
            rs.compare(MEASURE, x)
            seconds.append(time.process_time() - start)
        said = rs.measures.estimate_cost(rs.measures.get(MEASURE), x).seconds()
        return {"seconds": clock.middle(seconds), "calls": len(seconds), "announced": said}

    # keep no rows in memory: on a cluster, where representations are many, there is no room for all
    cost.MATRIX_BYTES = 0
    rs.compare(
        MEASURE,
        {"a": np.random.default_rng(0).normal(size=(50, 4)), "b": np.random.default_rng(1).normal(size=(50, 4))},
    )
    return call


def measure(*, fast: bool, out: Path) -> dict[str, Any]:
    points = []
    with tempfile.TemporaryDirectory() as folder:
        side = clock.Side(_side, folder)
        side.answer(600)
        for larger, sizes in ((False, FAST if fast else SMALL), (True, FAST_LARGE if fast else LARGE)):
            for way, n, p, number in [(way, *size) for way, some in sizes.items() for size in some]:
                reply = side.call(600, way, n, p, number)
                if "error" in reply:
                    raise RuntimeError(f"a table of {number} × ({n}, {p}) failed: {reply['error']}")
                points.append(
                    {
                        "way": way,
                        "larger": larger,
                        "size": {"n": n, "p": p, "count": number},
                        "counts": counts(way, n, p, number),
                        **reply,
                    }
                )
                print(f"    {way}, {number} × ({n:,}, {p}): {reply['seconds']:.3g} s", flush=True)
        side.close()
    constants = {
        way: fitted([point for point in points if point["way"] == way and not point["larger"]]) for way in SMALL
    }
    for point in points:
        point["predicted"] = predicted(constants[point["way"]], point["counts"])
    return {
        "points": points,
        "constants": constants,
        "forecast": [row for size in FORECAST for row in forecast(constants, *size)],
    }
