"""`python -m benchmarks.run [parts] [--fast]`: measure, keep the raw numbers in results.json, write RESULTS.md from
them.

Parts: cka grid thin real minibatch rbf procrustes cca rsa pair prediction further floor fits search growth memory big
scaling oracles defects; none means all. `write` measures nothing and only writes RESULTS.md again. A part that is
measured replaces what results.json held of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import clock

HERE = Path(__file__).parent
PATIENCE = 60  # seconds after which a call is given up; the page says so


def ours_side(name: str, fast: bool) -> Any:
    from .cases import BY_NAME

    case = BY_NAME[name]
    given = case.inputs(**(case.fast if fast else case.size))

    def call(measure: Any = None, double: bool = False) -> dict[str, Any]:
        now = case.fresh(given)
        if double:
            now = {side: {label: x.astype(float) for label, x in named.items()} for side, named in given.items()}
        values, seconds, peak = clock.timed(lambda: case.ours(now, measure))
        return {"seconds": seconds, "peak": peak, "values": values}

    return call


def peer_side(name: str, peer: str, fast: bool, limit: float) -> Any:
    import torch

    from .cases import BY_NAME
    from .peers import ADAPTERS

    case = BY_NAME[name]
    adapter = ADAPTERS[peer, case.kind]
    given = case.inputs(**(case.fast if fast else case.size))
    function = adapter.load()
    sides = [
        (
            None
            if given.get(side) is None
            else [torch.from_numpy(x) if adapter.takes == "torch" else x for x in given[side].values()]
        )
        for side in ("xs", "ys")
    ]

    def call() -> dict[str, Any]:
        now = case.fresh(given)
        if adapter.by == "pair":
            (values, seconds, done, of), _, peak = clock.timed(
                lambda: clock.over_pairs(function, *sides, case.symmetric, limit)
            )
            return {"seconds": seconds, "peak": peak, "values": values, "done": done, "of": of}
        work = (
            (lambda: function(*sides))
            if adapter.by == "table"
            else (lambda: function(now["a"], now["b"], now["pictures"], now["batch"]))
        )
        values, seconds, peak = clock.timed(work)
        return {"seconds": seconds, "peak": peak, "values": values}

    return call


def measure_case(case: Any, *, fast: bool, rounds: int, limit: float) -> dict[str, Any]:
    """One row: ours and every peer in turn -> what results.json keeps of it."""
    import numpy as np

    from .peers import missing

    print(f"  {case.title}", flush=True)
    absent = {peer: why for peer in case.peers if (why := missing(peer))}
    sides = {"repsim_nb": clock.Side(ours_side, case.name, fast)}
    sides |= {peer: clock.Side(peer_side, case.name, peer, fast, limit) for peer in case.peers if peer not in absent}
    unmade = {name: reply["error"] for name, side in sides.items() if "error" in (reply := side.answer(600))}
    found = clock.in_turn(
        {name: side for name, side in sides.items() if name not in unmade},
        rounds=rounds,
        limit=PATIENCE,
        say=lambda line: print(line, flush=True),
    )
    rows = {name: {"error": why, "seconds": []} for name, why in (absent | unmade).items()} | found
    mine = rows["repsim_nb"].get("values")
    for adapter in case.adapters():
        row = rows[adapter.peer]
        row["note"] = adapter.note
        theirs = row.pop("values", None)
        if theirs is None or mine is None or not adapter.comparable:
            continue
        target = mine if adapter.same_as is None else sides["repsim_nb"].call(600, adapter.same_as).get("values", mine)
        gap = np.abs(np.asarray(theirs, float) - target)
        if not np.isfinite(gap).any():
            row["error"] = "no finite value came out"
            continue
        row["difference"] = float(np.nanmax(gap))
    if mine is not None and case.kind != "models":
        exact = sides["repsim_nb"].call(600, None, True).get("values")
        if exact is not None:
            rows["repsim_nb"]["difference"] = float(np.abs(mine - exact).max())
    rows["repsim_nb"].pop("values", None)
    for side in sides.values():
        side.close()
    return {"size": dict(case.fast if fast else case.size), "rows": rows}


def machine() -> dict[str, Any]:
    """What the numbers were taken on: the processor's name, its cores, the system, the versions.

    No names of hosts or folders.
    """
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")),
            cpu,
        )
    import repsim_nb

    libraries = {"repsim_nb": repsim_nb.__version__, **{name: version(name) for name in ("numpy", "scipy", "torch")}}
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory": clock.all_memory(),
        "system": platform.system(),
        "python": platform.python_version(),
        "blas": _blas(),
        "libraries": libraries,
    }


def _load() -> float | None:
    """Processes that wanted one of the cores, on the average of the last five minutes."""
    return os.getloadavg()[1] if hasattr(os, "getloadavg") else None


def _blas() -> str:
    import numpy  # noqa: F401
    import threadpoolctl

    return ", ".join(
        sorted(
            {
                f"{lib['internal_api']} {lib['version']}"
                for lib in threadpoolctl.threadpool_info()
                if lib["user_api"] == "blas"
            }
        )
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="what to measure; all if none is named")
    parser.add_argument(
        "--fast",
        action="store_true",
        help="tiny sizes, to see that it runs; written into .cache/bench-fast and not here",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is called (5)")
    parser.add_argument(
        "--limit",
        type=float,
        default=60,
        help="seconds above which a pairwise peer is measured on some of the pairs and scaled (60)",
    )
    asked = parser.parse_args(arguments)
    clock.one_core()

    from . import big, fits, floor, growth, memory, oracles, report, scaling, search
    from .cases import CASES

    others = {
        "floor": floor.measure,
        "fits": fits.measure,
        "search": search.measure,
        "growth": growth.measure,
        "memory": memory.measure,
        "big": big.measure,
        "scaling": scaling.measure,
        "oracles": oracles.measure,
        "defects": _defects,
    }
    parts = list(dict.fromkeys(case.part for case in CASES)) + list(others)
    wrong = [part for part in asked.parts if part not in [*parts, "write"]]
    if wrong:
        parser.error(f"there is no part '{wrong[0]}'; there are {', '.join(parts)}, and write")
    out = HERE if not asked.fast else HERE.parent / ".cache" / "bench-fast"
    out.mkdir(parents=True, exist_ok=True)
    raw = out / "results.json"
    results = json.loads(raw.read_text()) if raw.exists() and not asked.fast else {"parts": {}}
    if not asked.parts:
        results.pop("note", None)  # a remark on older numbers
    for part in asked.parts or parts:
        if part == "write":
            continue
        print(part, flush=True)
        start = time.perf_counter()
        cases = [case for case in CASES if case.part == part]
        if cases:
            found: Any = {
                case.name: measure_case(
                    case, fast=asked.fast, rounds=2 if asked.fast else asked.rounds, limit=asked.limit
                )
                for case in cases
            }
        else:
            found = others[part](fast=asked.fast, out=out)
        took = time.perf_counter() - start
        results["parts"][part] = {"found": found, "machine": machine(), "took": took, "load": _load(), "in": "cpu"}
        raw.write_text(json.dumps(results, indent=1) + "\n")
    (out / "RESULTS.md").write_text(report.written(results))
    print(f"written: {(out / 'RESULTS.md').relative_to(HERE.parent)}", flush=True)
    return 0


def _defects(*, fast: bool, out: Path) -> list[dict[str, Any]]:
    from .defects import DEFECTS, look

    return [look(defect) for defect in DEFECTS]


if __name__ == "__main__":
    sys.exit(main())
