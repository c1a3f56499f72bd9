"""The best pair of layers, tested by permutation: `inference.best_match` next to calibrated-similarity, same orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import clock

PEER, PINNED = "calibrated-similarity", "0.1.1"
LAYERS, ORDERS, TARGET = 6, 200, 50.0
SIZES = {"n": 1000, "p": 512}
QUICK = {"n": 60, "p": 12}
FEW = 4  # orders of the peer that are timed; the time of all is scaled from them


def layers(n: int, p: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Six layers of two sides in float32, unrelated but for one pair."""
    rng = np.random.default_rng(0)
    xs, ys = ({f"{side}{k}": rng.normal(size=(n, p)).astype(np.float32) for k in range(LAYERS)} for side in "ab")
    ys["b3"] += np.float32(0.1) * xs["a2"]
    return xs, ys


def side(who: str, orders: int, n: int, p: int) -> Any:
    """One side: p-value of the best pair by linear CKA as its value, and seconds of the processor for ORDERS orders."""
    import torch

    import repsim_nb as rs

    xs, ys = layers(n, p)

    def ours() -> float:
        return rs.inference.best_match("cka", xs, ys, n_permutations=orders, level=0.5).p_value

    def theirs() -> float:
        from calibrated_similarity import calibrate_layers

        rng, given = np.random.default_rng(0), [[torch.from_numpy(x) for x in each.values()] for each in (xs, ys)]

        def linear_cka(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            x, y = x - x.mean(0), y - y.mean(0)
            k, m = x @ x.T, y @ y.T
            return (k * m).sum() / (k.norm() * m.norm())

        return float(
            calibrate_layers(*given, linear_cka, K=orders, perm_fn=lambda n, _: torch.from_numpy(rng.permutation(n)))[1]
        )

    work = ours if who == "repsim_nb" else theirs

    def call() -> dict[str, Any]:
        found = clock.in_cpu_time(work)
        found["seconds"] *= 1 if who == "repsim_nb" else (ORDERS + 1) / (orders + 1)
        return found

    return call


def measure(*, fast: bool, out: Path) -> dict[str, Any]:
    """Both sides in turn, and whether they have the same p-value for the same orders."""
    size, few = (QUICK, ORDERS) if fast else (SIZES, FEW)
    sides = {"repsim_nb": clock.Side(side, "repsim_nb", ORDERS, *size.values())}
    sides |= {PEER: clock.Side(side, PEER, few, *size.values())}
    found = clock.both_in_turn(sides, "the search for the best pair")
    same = clock.Side(side, "repsim_nb", few, *size.values())
    if "error" not in same.answer(600) and "value" in found[PEER]:
        found[PEER]["ours"] = same.call(600)["value"]
    same.close()
    return {"size": size, "orders": few, "rows": found}
