"""How our time and memory grow with samples n, features p and representations K, each alone: measured, drawn, and the
slope next to the theory's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import clock
from .floor import ours_side

BASE = {"n": 1000, "p": 256, "count": 8}
FAST_BASE = {"n": 40, "p": 6, "count": 3}
AXES = {"n": (500, 1000, 2000, 4000, 8000), "p": (64, 128, 256, 512, 1024, 2048), "count": (4, 8, 16, 32, 64)}
FAST_AXES = {"n": (40, 80), "p": (4, 8), "count": (3, 6)}
MEASURES = ("cka", "procrustes", "pwcca", "rsa")
NAMES = {"n": "samples n", "p": "features p", "count": "representations K"}
THEORY = {
    "cka": (
        "n² (p + K) K on the Gram side, n (pK)² on the feature side, whichever is less: slopes in n 2, then 1; in p 1;"
        " in K 1, then 2"
    ),
    "procrustes": (
        "n p² + p³ a pair while p < n, n³ above: slopes in n 1 (less where the p³ of the nuclear norm leads); in p 2 to"
        " 3, then 1; in K 2"
    ),
    "pwcca": (
        "n p² a representation, n p² + p³ a pair: slopes in n 1; in p 2 to 3; in K 1, then 2. Undefined where 2p > n −"
        " 1, so it begins and ends there"
    ),
    "rsa": (
        "n² p for the matrix and n² log n for its ranks, a representation, then n² a pair: slopes in n 2 (nearer 3"
        " where the ranked pairs leave the caches: each rank is written to its place); in p 0, then 1; in K 1, then 2"
    ),
}
# Okabe and Ito: apart for every kind of color vision; markers and dashes tell the same once more
LOOKS = {
    "cka": ("#0072B2", "o", "-"),
    "procrustes": ("#D55E00", "s", "--"),
    "pwcca": ("#009E73", "^", "-."),
    "rsa": ("#CC79A7", "D", ":"),
}


def _side(measure: str, size: dict[str, int]) -> Any:
    import repsim_nb as rs

    from .data import activations

    rs.compare(measure, activations(2, 50, 4))  # imports and first calls are not growth
    return ours_side(measure, size)


def measure(*, fast: bool, out: Path) -> list[dict[str, Any]]:
    """A point a fresh process: the best of up to three calls, the memory of the first.

    A line ends with a point that took over 10 s.
    """
    rows = []
    base, axes = (FAST_BASE, FAST_AXES) if fast else (BASE, AXES)
    for name in MEASURES:
        for axis, sizes in axes.items():
            for size in sizes:
                at = {**base, axis: size}
                side = clock.Side(_side, name, at)
                reply = side.answer(300)
                replies = [reply := side.call(300)] if "error" not in reply else [reply]
                while "error" not in reply and len(replies) < 3 and replies[0]["seconds"] < 5:
                    replies.append(side.call(300))
                side.close()
                row = {"measure": name, "axis": axis, "size": size}
                if "error" in replies[0]:
                    rows.append({**row, "error": replies[0]["error"]})
                    if replies[0]["error"].startswith("DegenerateComparisonError"):
                        continue  # a larger n may be defined
                    break
                rows.append({**row, "seconds": min(r["seconds"] for r in replies), "peak": replies[0]["peak"]})
                print(f"    {name}, {axis} = {size}: {rows[-1]['seconds']:.3g} s", flush=True)
                if rows[-1]["seconds"] > 10:
                    break
    draw(rows, out / "growth.png", base)
    return rows


def slope(sizes: list[float], values: list[float]) -> float | None:
    """The slope between logarithms over the last three points; None with fewer than two."""
    if len(sizes) < 2 or min(values) <= 0:
        return None
    return float(np.polyfit(np.log(sizes[-3:]), np.log(values[-3:]), 1)[0])


def draw(rows: list[dict[str, Any]], file: Path, base: dict[str, int]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 3, figsize=(13, 8.2), layout="constrained")
    units = {"seconds": (1.0, "time (s)"), "peak": (1e6, "peak memory above the inputs (MB)")}
    for row, (what, (unit, label)) in zip(panels, units.items(), strict=True):
        for panel, axis in zip(row, NAMES, strict=True):
            for name in MEASURES:
                points = [
                    (r["size"], r[what] / unit)
                    for r in rows
                    if r["measure"] == name and r["axis"] == axis and r.get(what)
                ]
                if not points:
                    continue
                sizes, values = map(list, zip(*points, strict=True))
                steep = slope(sizes, values)
                color, marker, dash = LOOKS[name]
                panel.loglog(
                    sizes,
                    values,
                    color=color,
                    marker=marker,
                    linestyle=dash,
                    markersize=6,
                    linewidth=1.8,
                    label=name if steep is None else f"{name}: slope {steep + 0.0:.1f}".replace("-0.0", "0.0"),
                )
            ticks = sorted({r["size"] for r in rows if r["axis"] == axis})
            panel.set_xticks(ticks, [f"{t:,}" for t in ticks])
            panel.minorticks_off()
            fixed = ", ".join(f"{'K' if k == 'count' else k} = {v:,}" for k, v in base.items() if k != axis)
            panel.set_xlabel(f"{NAMES[axis]}   ({fixed})")
            panel.grid(alpha=0.25)
            panel.legend(fontsize=9)
        row[0].set_ylabel(label)
    figure.suptitle("One table of K × K values, one thread; slopes fitted to the last three points", fontsize=12)
    figure.savefig(file, dpi=110)
    plt.close(figure)
