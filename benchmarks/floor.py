"""The floor: the bare matrix products that a table of linear CKA needs, in plain NumPy, next to our table.

No centring, no check, no sum.

Gram side: for each block of 256 samples the K Gram row blocks of the upper trapezoid, then the product of the K stacked
tiles with itself. Feature side (p ≪ n): one product of the concatenated features. Flops count a multiplication and an
addition as two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import clock

BLOCK = 256


def gram_side(xs: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """-> (K, K) sums over the tiles, flops."""
    count, (n, p) = len(xs), xs[0].shape
    total, flops = np.zeros((count, count)), 0.0
    stack = np.empty((count, BLOCK * n), xs[0].dtype)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        size = (stop - start) * (n - start)
        tiles = stack[:, :size]
        for k, x in enumerate(xs):
            np.matmul(x[start:stop], x[start:].T, out=tiles[k].reshape(stop - start, n - start))
        total += tiles @ tiles.T
        flops += 2.0 * size * p * count + 2.0 * size * count * count
    return total, flops


def feature_side(xs: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """-> (K p, K p), flops."""
    wide = np.concatenate(xs, axis=1)
    return wide.T @ wide, 2.0 * wide.shape[0] * wide.shape[1] ** 2


def _floor_side(which: str, size: dict[str, int]) -> Any:
    from .data import activations

    xs = list(activations(**size).values())
    function = {"gram": gram_side, "features": feature_side}[which]

    def call() -> dict[str, Any]:
        (_, flops), seconds, peak = clock.timed(lambda: function(xs))
        return {"seconds": seconds, "peak": peak, "flops": flops}

    return call


def ours_side(measure: str, size: dict[str, int]) -> Any:
    """Our table of representations of this size, to be timed."""
    import repsim_nb as rs

    from .data import activations

    xs = activations(**size)

    def call() -> dict[str, Any]:
        _, seconds, peak = clock.timed(lambda: rs.compare(measure, xs))
        return {"seconds": seconds, "peak": peak}

    return call


def measure(*, fast: bool, out: Path) -> list[dict[str, Any]]:
    """Ours, biased and debiased, in turn with the floor of the side that the size calls for."""
    rows = []
    for which, size in (("gram", {"count": 24, "n": 2000, "p": 768}), ("features", {"count": 24, "n": 20000, "p": 64})):
        size = {"count": 4, "n": 300, "p": 8} if fast else size
        sides = {
            "floor": clock.Side(_floor_side, which, size),
            **{name: clock.Side(ours_side, name, size) for name in ("cka", "cka_debiased")},
        }
        errors = [reply["error"] for side in sides.values() if "error" in (reply := side.answer(600))]
        if errors:
            raise RuntimeError(f"the floor could not be measured: {errors[0]}")
        rows.append(
            {
                "which": which,
                "size": size,
                "rows": clock.in_turn(sides, rounds=5, limit=600, say=lambda line: print(line, flush=True)),
            }
        )
        for side in sides.values():
            side.close()
    return rows
