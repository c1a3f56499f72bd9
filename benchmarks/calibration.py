"""`make calibration`: do intervals hold the true value as often as they promise, and are p-values uniform if nothing
is related?

Simulates, keeps the counts in calibration.json and writes CALIBRATION.md from them. `--fast` sees that it runs; `rest`
simulates only what is not there yet, `write` only writes the page again.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from repsim_nb import inference, measures
from repsim_nb.support.files import replace_atomically
from repsim_nb.support.workers import cores

from . import hard_nulls, moment_intervals

HERE = Path(__file__).parent
MANY, LEVEL, LIMIT = 400, 0.95, 20_000
NULLS = 2000
HARD = "tails", "null_tables", "rows"
Pair = tuple[np.ndarray, np.ndarray]


def _turned(p: int, q: int) -> np.ndarray:
    """A fixed linear map that has p orthogonal directions, as far as there are."""
    wide = max(p, q)
    return np.linalg.qr(np.random.default_rng(99).normal(size=(wide, wide)))[0][:p, :q]


def near(n: int, rng: np.random.Generator) -> Pair:
    x = rng.normal(size=(n, 50)) / np.sqrt(np.arange(1, 51))
    return x, x @ _turned(50, 50) + 0.06 * rng.normal(size=(n, 50))


def decaying(n: int, rng: np.random.Generator) -> Pair:
    x = rng.normal(size=(n, 50)) / np.arange(1, 51)
    mixed = x @ np.random.default_rng(99).normal(size=(50, 30)) / math.sqrt(50)
    return x, mixed + 0.5 * rng.normal(size=(n, 30)) / np.arange(1, 31)


def heavy(n: int, rng: np.random.Generator) -> Pair:
    x = rng.standard_t(5, size=(n, 20))
    return x, x @ np.random.default_rng(99).normal(size=(20, 10)) + 3 * rng.standard_t(5, size=(n, 10))


def apart(n: int, rng: np.random.Generator) -> Pair:
    """Five directions in common; of the others there is nothing on the other side."""
    shared, fixed = rng.normal(size=(n, 5)), np.random.default_rng(99)
    return tuple(shared @ fixed.normal(size=(5, 20)) + rng.normal(size=(n, 20)) for _ in range(2))


def unrelated(n: int, rng: np.random.Generator) -> Pair:
    return rng.normal(size=(n, 20)), rng.normal(size=(n, 20))


GENERATORS: dict[str, tuple[Callable[[int, np.random.Generator], Pair], str]] = {
    "near": (near, "50 features, y is x turned, with a little noise"),
    "decaying": (decaying, "50 and 30 features, variances as 1/k², noise"),
    "heavy": (heavy, "20 and 10 features, Student's t with 5 degrees of freedom, noise"),
    "apart": (apart, "20 and 20 features, 5 directions in common, 15 unrelated"),
    "unrelated": (unrelated, "20 and 20 features, unrelated"),
}


class Case(NamedTuple):
    measure: str
    generator: str
    n: int

    @property
    def promised(self) -> bool:
        """Does the documentation promise that the interval holds here?

        Not for Procrustes if some directions are unrelated, nor for unrelated sides.
        """
        return self.generator != "unrelated" and not (self.measure == "procrustes" and self.generator == "apart")


CASES = [
    Case(measure, generator, n)
    for measure in ("cka_debiased", "procrustes")
    for generator in GENERATORS
    for n in (200, 1000)
]
CASES += [Case("rsa", generator, 200) for generator in GENERATORS] + [
    Case("rsa", generator, 1000) for generator in ("decaying", "heavy")
]  # 2 s an interval: not all


def truth(case: Case) -> float:
    """The value at 20,000 samples; of RSA, whose pairs would be 200 million, the mean over four sets of 5,000."""
    make, rng = GENERATORS[case.generator][0], np.random.default_rng(7)
    measure = measures.get(case.measure)
    if case.measure == "rsa":
        return float(np.mean([measure(*make(5000, rng)) for _ in range(4)]))
    return measure(*make(LIMIT, rng))


def simulated(case: Case, seeds: range) -> list[tuple[float, float, float]]:
    """low, estimate and high of each simulation."""
    found = []
    for seed in seeds:
        x, y = GENERATORS[case.generator][0](case.n, np.random.default_rng([seed, case.n]))
        got = inference.interval(case.measure, x, y, level=LEVEL)
        found.append((got.low, got.estimate, got.high))
    return found


def one(case: Case, many: int) -> dict[str, Any]:
    began = time.process_time()
    value = truth(case)
    found = np.array(simulated(case, range(many)))
    held = (found[:, 0] <= value) & (value <= found[:, 2])
    return {
        **case._asdict(),
        "simulations": many,
        "value": value,
        "held": int(held.sum()),
        "estimate": float(found[:, 1].mean()),
        "width": float((found[:, 2] - found[:, 0]).mean()),
        "spread": float(found[:, 1].std(ddof=1)),
        "seconds": round(time.process_time() - began, 1),
    }


def p_values(measure: str, by: str, many: int) -> np.ndarray:
    """Return the p-values of unrelated pairs of 30 samples."""
    found = []
    for seed in range(many):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(30, 8)), rng.exponential(size=(30, 5))
        if by == "closed form":
            found.append(inference.null_moments(measure, x, y).p_value(measures.get(measure)(x, y)))
        else:
            found.append(inference.permutation_test(measure, x, y, n_permutations=199, seed=seed).p_value)
    return np.array(found)


TESTS = [(measure, "closed form") for measure in ("cka", "cka_debiased", "cka_rbf", "distance_correlation", "rsa")] + [
    ("procrustes", "permutations"),
    ("rsa", "permutations"),
]


def tested(measure: str, by: str, many: int) -> dict[str, Any]:
    began = time.process_time()
    found = p_values(measure, by, many)
    jitter = (
        np.random.default_rng(0).uniform(0, 1 / 200, many) if by == "permutations" else 0
    )  # 200 values are no continuum
    test = stats.kstest(found - jitter, "uniform")
    return {
        "measure": measure,
        "by": by,
        "nulls": many,
        "below_05": float((found <= 0.05).mean()),
        "below_01": float((found <= 0.01).mean()),
        "ks_p": float(test.pvalue),
        "seconds": round(time.process_time() - began, 1),
    }


def _begin(free: Any) -> None:
    """A process keeps to one core: `interval` would start a thread for each."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {free.get()})


def measured(
    fast: bool, kept: dict[str, Any] | None = None, keep: Callable[[dict[str, Any]], None] = lambda found: None
) -> dict[str, Any]:
    """All cases and tests; those that are kept are not simulated again.  keep(all that is there): called whenever a
    case is done.
    """
    many, nulls = (10, 50) if fast else (MANY, NULLS)
    rows, p_rows = (kept["intervals"], kept["tests"]) if kept else ([], [])
    cases = [case for case in (CASES[:2] if fast else CASES) if case not in map(case_of, rows)]
    wanted = [test for test in TESTS if test not in [(row["measure"], row["by"]) for row in p_rows]]
    free = multiprocessing.Queue()
    for core in sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(cores()):
        free.put(core)
    kept, size = kept or {}, 20 if fast else 1
    hard = [
        (name, case, simulate, number // size)
        for name, cases, simulate, number in (
            ("tails", hard_nulls.TAILS, hard_nulls.tails, hard_nulls.PAIRS),
            ("null_tables", hard_nulls.NULL_TABLES, hard_nulls.null_tables, hard_nulls.TABLES),
            ("rows", hard_nulls.ROWS, hard_nulls.rows, hard_nulls.GROUPED),
        )
        for case in (cases[:1] if fast else cases)
        if not any(type(case)(*(row[f] for f in case._fields)) == case for row in kept.get(name, ()))
    ]
    found = {
        "level": LEVEL,
        "intervals": rows,
        "tests": p_rows,
        **{name: list(kept.get(name, ())) for name in (*HARD, "moments")},
    }
    with ProcessPoolExecutor(cores(), initializer=_begin, initargs=(free,)) as pool:
        work = {
            pool.submit(one, case, many): "intervals"
            for case in sorted(cases, key=lambda case: (case.measure != "rsa", -case.n))
        }  # the longest first
        work |= {pool.submit(tested, *test, nulls): "tests" for test in wanted}
        work |= {pool.submit(simulate, case, number): name for name, case, simulate, number in hard}
        for future in as_completed(work):
            found[work[future]].append(future.result())
            print(f"{work[future]}: {future.result()}", file=sys.stderr)
            keep(found)
    return found


def report(found: dict[str, Any]) -> str:
    """The page, of nothing but the numbers kept."""
    names = list(dict.fromkeys(case.measure for case in CASES))
    rows = sorted(
        found["intervals"],
        key=lambda row: (
            not case_of(row).promised,
            names.index(row["measure"]),
            row["n"],
            list(GENERATORS).index(row["generator"]),
        ),
    )
    lines = [
        "# Calibration",
        "",
        (
            "Do intervals hold the true value as often as they promise, and are p-values uniform where nothing is"
            " related? Written by `make calibration`."
        ),
        "",
        f"## Intervals at level {found['level']:g}",
        "",
        (
            "`rs.inference.interval`, against the value at 20,000 samples (RSA: the mean of four sets of 5,000). Held:"
            " of 100 simulated intervals, how many hold it. Width: mean width of an interval. Off: by"
        ),
        "how much estimates are too high on average. Spread: standard deviation of the estimates.",
        "",
        "| measure | data | n | value | held | width | off | spread | simulations |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    promised = [row for row in rows if case_of(row).promised]
    lines += map(_line, promised)
    if missing := [case for case in CASES if case not in map(case_of, rows)]:
        lines += [
            "",
            (
                "Not simulated yet (`make calibration ARGS=rest`):"
                f" {'; '.join(f'{case.measure}, {case.generator}, n = {case.n:,}' for case in missing)}."
            ),
        ]
    failing = [row for row in rows if not case_of(row).promised]
    if failing:
        lines += [
            "",
            (
                "Intervals fail, as the docstring states, for unrelated sides (too wide for CKA and"
                " RSA; use a test there), and for Procrustes of sides of which some directions are"
            ),
            "unrelated, since its bias falls slower than 1/n.",
            "",
            "| measure | data | n | value | held | width | off | spread | simulations |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        lines += map(_line, failing)
    lines += [
        "",
        "The data:",
        "",
        *(f"- {name}: {description}" for name, (_, description) in GENERATORS.items()),
        *moment_intervals.report(found),
        "",
        "## p-values where nothing is related",
        "",
        (
            "30 samples of 8 and 5 features, the same in all rows, so that these err together. Below .05, below .01:"
            " the fraction of such p-values. KS: the p-value of a Kolmogorov-Smirnov test of uniformity."
        ),
        "",
        "| measure | p by | nulls | below .05 | below .01 | KS |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['measure']} | {row['by']} | {row['nulls']} | {row['below_05']:.3f} | {row['below_01']:.3f} |"
        f" {row['ks_p']:.2f} |"
        for row in found["tests"]
    ]
    lines += ["", *hard_nulls.report(found)]
    everything = (row for name in ("intervals", "tests", *HARD) for row in found[name])
    return "\n".join(
        [*lines, f"All of it is {sum(row['seconds'] for row in everything) / 60:.0f} minutes of one core.", ""]
    )


def case_of(row: dict[str, Any]) -> Case:
    return Case(row["measure"], row["generator"], row["n"])


def _line(row: dict[str, Any]) -> str:
    return (
        f"| {row['measure']} | {row['generator']} | {row['n']:,} | {row['value']:.3f} |"
        f" **{100 * row['held'] / row['simulations']:.1f}** | {row['width']:.3f} |"
        f" {row['estimate'] - row['value']:+.4f} | {row['spread']:.3f} | {row['simulations']} |"
    )


def _write(path: Path, text: str) -> None:
    """In one step, so that a run that is stopped loses one case at most."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["rest", "write"],
        help="rest: simulate only what is not there yet; write: write the page again",
    )
    parser.add_argument("--fast", action="store_true", help="a few simulations, kept nowhere: does it run?")
    given = parser.parse_args()
    kept = HERE / "calibration.json"
    if given.what != "write":
        before = json.loads(kept.read_text()) if given.what == "rest" and kept.exists() else None
        if given.fast:
            print(report(measured(True, before)))
            return
        measured(False, before, lambda found: _write(kept, json.dumps(found, indent=1) + "\n"))
    (HERE / "CALIBRATION.md").write_text(report(json.loads(kept.read_text())))


if __name__ == "__main__":
    main()
