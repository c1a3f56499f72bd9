"""Simulations of data that three moments, or single rows, do not describe: sample norms with heavy tails, and rows in
groups.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

from repsim_nb import inference, measures

SIDE, PAIRS, TABLES, ITEMS, GROUPED = 5, 5000, 100, 12, 150
LEVEL = 0.95


class Tails(NamedTuple):
    """Unrelated pairs of n samples of p features whose norms are lognormal with this σ; other: the other side is alike,
    or codes of n / 2 classes of two samples.
    """

    n: int
    p: int
    sigma: float
    other: str = "alike"


class Rows(NamedTuple):
    """Groups of 8 rows with this correlation within a group."""

    groups: int
    correlation: float


TAILS = [Tails(n, p, sigma) for n, p in ((100, 10), (100, 50), (300, 10)) for sigma in (0.0, 0.5, 0.75, 1.0)]
TAILS += [Tails(n, 10, 1.0, "codes") for n in (100, 300)]
NULL_TABLES = [Tails(100, 10, sigma) for sigma in (0.0, 0.5, 0.75, 1.0)]
ROWS = [Rows(groups, correlation) for groups in (25, 100) for correlation in (0.3, 0.7, 0.9)]


def lognormal(rng: np.random.Generator, case: Tails) -> np.ndarray:
    return np.exp(case.sigma * rng.normal(size=case.n))[:, None] * rng.normal(size=(case.n, case.p))


def codes(rng: np.random.Generator, case: Tails) -> np.ndarray:
    return np.eye(case.n // 2)[rng.permutation(case.n) % (case.n // 2)]


def grouped(rng: np.random.Generator, groups: int, size: int, correlation: float, features: int) -> np.ndarray:
    """Rows (groups · size, features), of variance 1, that are alike within a group."""
    common = np.repeat(rng.normal(size=(groups, features)), size, axis=0)
    return correlation**0.5 * common + (1 - correlation) ** 0.5 * rng.normal(size=common.shape)


def related(rng: np.random.Generator, groups: int, size: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    x = grouped(rng, groups, size, correlation, 6)
    return x, x @ np.random.default_rng(99).normal(size=(6, 5)) / 6**0.5 + 0.8 * grouped(
        rng, groups, size, correlation, 5
    )


def tails(case: Tails, many: int) -> dict[str, Any]:
    """p-values of `many` unrelated pairs, 25 at a time, as the cells of a table of 5 with 5."""
    began, found, counted = time.process_time(), [], 0
    for k in range(-(-many // SIDE**2)):
        rng = np.random.default_rng([k, case.n, case.p, int(100 * case.sigma)])
        xs, ys = (
            {i: (codes if other else lognormal)(rng, case) for i in range(SIDE)}
            for other in (False, case.other == "codes")
        )
        table = inference.null_table("cka_debiased", xs, ys, seed=k)
        found.append(table.p_value.to_numpy().ravel())
        counted += int(table.counted.to_numpy().sum())
    p = np.concatenate(found)
    return {
        **case._asdict(),
        "pairs": len(p),
        **_shares(p),
        "counted": counted / len(p),
        "seconds": round(time.process_time() - began, 1),
    }


def null_tables(case: Tails, many: int) -> dict[str, Any]:
    """In how many tables with nothing in them something is found."""
    began, mistaken = time.process_time(), 0
    for k in range(many):
        rng = np.random.default_rng([k, 7, int(100 * case.sigma)])
        table = inference.null_table("cka_debiased", {i: lognormal(rng, case) for i in range(ITEMS)}, seed=k)
        mistaken += bool(table.above(0.05).to_numpy().any())
    return {**case._asdict(), "tables": many, "mistaken": mistaken, "seconds": round(time.process_time() - began, 1)}


def rows(case: Rows, many: int) -> dict[str, Any]:
    """How often intervals with `groups` hold the value of rows that are all of other groups, and p-values of unrelated
    sides.
    """
    many = many if case.groups < 100 else -(-many * 2 // 5)  # an interval takes 20 times as long
    began, held, ps, closed = time.process_time(), 0, [], []
    rng = np.random.default_rng(7)
    value = float(np.mean([measures.get("cka_debiased")(*related(rng, 5000, 1, case.correlation)) for _ in range(4)]))
    for k in range(many):
        rng = np.random.default_rng([k, case.groups, int(10 * case.correlation)])
        labels = np.repeat(np.arange(case.groups), 8)
        held += value in inference.interval(
            "cka_debiased", *related(rng, case.groups, 8, case.correlation), groups=labels, level=LEVEL
        )
        x, y = (grouped(rng, case.groups, 8, case.correlation, p) for p in (6, 5))
        ps.append(inference.permutation_test("cka_debiased", x, y, groups=labels, n_permutations=199, seed=k).p_value)
        closed.append(inference.null_table("cka_debiased", {"x": x}, {"y": y}, groups=labels).p_value.iloc[0, 0])
    return {
        **case._asdict(),
        "simulations": many,
        "value": value,
        "held": held,
        "permutations": _shares(np.array(ps)),
        "closed": _shares(np.array(closed)),
        "seconds": round(time.process_time() - began, 1),
    }


def _shares(p: np.ndarray) -> dict[str, float]:
    return {
        "below_05": float((p <= 0.05).mean()),
        "below_01": float((p <= 0.01).mean()),
        "below_001": float((p <= 0.001).mean()),
    }


def in_order(rows: list[dict[str, Any]], cases: list[Any]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: cases.index(type(cases[0])(*(row[name] for name in cases[0]._fields))))


def report(found: dict[str, Any]) -> list[str]:
    lines = [
        "## p-values where sample norms have heavy tails",
        "",
        (
            "`rs.inference.null_table` of debiased CKA, unrelated sides, the norm of a sample lognormal with σ, on both"
            " sides or on one next to codes of n / 2 classes: the fractions of p-values at or below .05, .01 and .001,"
            " and of those that were counted in random orders."
        ),
        "",
        "| n | features | σ | other side | pairs | p ≤ .05 | p ≤ .01 | p ≤ .001 | counted |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['n']} | {r['p']} | {r['sigma']:g} | {r['other']} | {r['pairs']:,} | {r['below_05']:.4f} |"
        f" {r['below_01']:.4f} | {r['below_001']:.4f} | {r['counted']:.3f} |"
        for r in in_order(found["tails"], TAILS)
    ]
    lines += [
        "",
        (
            f"Tables of {ITEMS} items of 100 samples and 10 features with nothing in them: the fraction in which"
            " `.above(.05)` finds something."
        ),
        "",
        "| σ | tables | found something |",
        "|---|---|---|",
    ]
    lines += [
        f"| {r['sigma']:g} | {r['tables']} | {r['mistaken'] / r['tables']:.3f} |"
        for r in in_order(found["null_tables"], NULL_TABLES)
    ]
    lines += [
        "",
        "## Rows in groups",
        "",
        (
            f"Groups of 8 rows; 6 and 5 features. Held: how many of 100 intervals of debiased CKA at level {LEVEL:g}"
            " with `groups` hold the value of rows that are all of other groups. Then, for unrelated sides,"
            " the fractions of p-values at or below .05 and .01: `permutation_test` (groups are exchanged) and"
            " `null_table` (means of groups)."
        ),
        "",
        (
            "| groups | correlation within | value | held | permutations ≤ .05 | ≤ .01 | means ≤ .05 | ≤ .01 |"
            " simulations |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['groups']} | {r['correlation']:g} | {r['value']:.3f} | **{100 * r['held'] / r['simulations']:.1f}** |"
        f" {r['permutations']['below_05']:.3f} | {r['permutations']['below_01']:.3f} | {r['closed']['below_05']:.3f} |"
        f" {r['closed']['below_01']:.3f} | {r['simulations']} |"
        for r in in_order(found["rows"], ROWS)
    ]
    return [*lines, ""]
