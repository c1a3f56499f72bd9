"""The largest table that we promise: linear CKA, biased and debiased, of 24 memory-mapped representations of 50,000 ×
256, under 2 GB above the inputs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import clock

PROMISED = 2e9


def _mapped_side(name: str, folder: str) -> Any:
    import repsim_nb as rs

    def call() -> dict[str, Any]:
        def work() -> Any:
            return rs.compare(
                name, {file.stem: np.load(file, mmap_mode="r") for file in sorted(Path(folder).glob("*.npy"))}
            )

        with clock.Own() as own:
            _, seconds, peak = clock.timed(work, time.perf_counter)
        return {"seconds": seconds, "peak": peak, "own": own.peak}

    return call


def measure(*, fast: bool, out: Path, count: int = 24, n: int = 50_000, p: int = 256) -> list[dict[str, Any]]:
    count, n, p = (4, 500, 8) if fast else (count, n, p)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        shared = rng.standard_normal((n, p), dtype=np.float32)
        falling = (np.arange(1, p + 1) ** -0.75).astype(np.float32)
        for k in range(count):
            np.save(Path(folder) / f"{k:02d}.npy", (shared + rng.standard_normal((n, p), dtype=np.float32)) * falling)
        for name in ("cka", "cka_debiased"):
            side = clock.Side(_mapped_side, name, folder)
            reply = side.answer(600)
            reply = reply if "error" in reply else side.call(600)
            side.close()
            print(f"    {name}: {reply}", flush=True)
            rows.append(
                {"measure": name, "size": {"count": count, "n": n, "p": p}, "inputs": 4 * count * n * p, **reply}
            )
    return rows
