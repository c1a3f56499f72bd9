"""How often `procrustes_interval` holds the distance of populations: a part of CALIBRATION.md.

`python -m benchmarks.moment_intervals` simulates it, in about two minutes, and writes the page again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import repsim_nb as rs

DISTANCES = {"apart": 0.537, "unrelated": 2.0}  # of a million samples, without singular values that are only noise
MANY, SAMPLES = 50, 200


def simulate(data: str, moments: int) -> dict[str, Any]:
    """Return one row of the table."""
    from .calibration import GENERATORS

    right, found = DISTANCES[data], []
    for seed in range(MANY):
        x, y = GENERATORS[data][0](SAMPLES, np.random.default_rng(seed))
        one = rs.inference.procrustes_interval(x, y, moments=moments)
        assert one.estimate is not None
        found.append((right in one, one.high - one.low, one.estimate - right, rs.measures.get("procrustes")(x, y)))
    held, width, off, plain = np.array(found, dtype=float).T
    return {
        "generator": data,
        "n": SAMPLES,
        "value": right,
        "moments": moments,
        "held": round(float(100 * held.mean())),
        "width": round(float(width.mean()), 2),
        "off": round(float(off.mean()), 3),
        "spread": round(float(off.std()), 3),
        "plain": round(float(plain.mean() - right), 3),
        "simulations": MANY,
    }


def report(found: dict[str, Any]) -> list[str]:
    """Return the section of the page; nothing if it was not simulated."""
    if not found.get("moments"):
        return []
    return [
        "",
        "## Procrustes distance by moments",
        "",
        (
            "`rs.inference.procrustes_interval` for the data for which `interval` fails. Value: the distance of the"
            " populations. Plain: how far the distance of the samples is off on average."
        ),
        "",
        "| data | n | value | moments | held | width | off | spread | plain | simulations |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['generator']} | {row['n']} | {row['value']:.3f} | {row['moments']} | **{row['held']}** |"
            f" {row['width']:.2f} | {row['off']:+.3f} | {row['spread']:.3f} | {row['plain']:+.3f} |"
            f" {row['simulations']} |"
            for row in found["moments"]
        ),
        "",
        (
            "Unrelated sides have an estimate that is nearly right, and intervals that hold the value. Where some"
            " directions are in common, intervals hold the value too, but the bound of the bias makes them so wide that"
            " they exclude little; the estimate depends on the number of moments."
        ),
    ]


def main() -> None:
    from . import calibration

    path = Path(__file__).with_name("calibration.json")
    found = json.loads(path.read_text())
    found["moments"] = [simulate(data, moments) for data in DISTANCES for moments in (2, 4)]
    path.write_text(json.dumps(found, indent=1) + "\n")
    path.with_name("CALIBRATION.md").write_text(calibration.report(found))


if __name__ == "__main__":
    main()
