"""The rows, as data: which work, of which size, whose adapters, what was aimed at."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.measures import CCA, CKA, RSA, Measure, RankSimilarity, SecondOrderCosine

from . import data
from .peers import ADAPTERS, Adapter


@dataclass(frozen=True)
class Case:
    """One row of the benchmark.

    inputs(size) -> what both sides get: {"xs": {label: array}, "ys": the same or absent} or, of models, {"a", "b",
    "pictures", "batch"}.
    size and fast: the arguments of inputs, in earnest and for a quick look.  targets: peer -> how many times faster we
    want to be.
    tolerance: how far from a comparable peer's values ours may be.
    work: our side, where it is not a table of the measure.
    """

    name: str
    part: str
    title: str
    measure: Measure
    kind: str
    inputs: Callable[..., dict[str, Any]]
    size: Mapping[str, Any]
    fast: Mapping[str, Any]
    peers: tuple[str, ...]
    targets: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 1e-5
    work: Callable[[Mapping[str, Any]], np.ndarray] | None = None

    def ours(self, given: Mapping[str, Any], measure: Measure | None = None) -> np.ndarray:
        """Our side, as a user would write it."""
        measure = measure or self.measure
        if self.work is not None:
            return self.work(given)
        if self.kind != "models":
            return rs.compare(measure, given["xs"], given.get("ys")).values.to_numpy()
        return streamed(given["a"], given["b"], given["pictures"], given["batch"])

    def fresh(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs of one timed call: models are copied, since some peers leave their hooks on them."""
        return (
            given
            if self.kind != "models"
            else {**given, "a": copy.deepcopy(given["a"]), "b": copy.deepcopy(given["b"])}
        )

    def adapters(self) -> list[Adapter]:
        return [ADAPTERS[peer, self.kind] for peer in self.peers]

    @property
    def symmetric(self) -> bool:
        return self.measure.symmetric


def streamed(a: nn.Module, b: nn.Module, pictures: torch.Tensor, batch: int) -> np.ndarray:
    sides = rs.load_model(a, name="a"), rs.load_model(b, name="b")
    return rs.stream(*sides, pictures, data.LAYERS, batch_size=batch, progress=False).values.to_numpy()


def all_pairs(count: int, n: int, p: int) -> dict[str, Any]:
    return {"xs": data.activations(count, n, p)}


def grid(rows: int, columns: int, n: int, p: int) -> dict[str, Any]:
    made = data.activations(rows + columns, n, p)
    labels = list(made)
    return {"xs": {k: made[k] for k in labels[:rows]}, "ys": {k: made[k] for k in labels[rows:]}}


def two_widths(count: int, n: int, p: int, q: int) -> dict[str, Any]:
    return {"xs": data.activations(count, n, p), "ys": data.activations(count, n, q, seed=1)}


def zoo(n: int) -> dict[str, Any]:
    return {"xs": data.zoo_activations(n)}


def models(build: str, n: int, batch: int, width: int) -> dict[str, Any]:
    make = {"mlp": data.mlp, "cnn": data.cnn}[build]
    return {"a": make(0, width), "b": make(1, width), "pictures": data.pictures(n), "batch": batch}


def sized(count: int, n: int, p: int) -> dict[str, int]:
    return {"count": count, "n": n, "p": p}


def in_float64(count: int, n: int, p: int) -> dict[str, Any]:
    return {"xs": {label: x.astype(float) for label, x in data.activations(count, n, p).items()}}


def repeats(count: int, repeats: int, n: int, p: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"xs": {f"{i:02d}": rng.normal(size=(1, n, p)) + rng.normal(size=(repeats, n, p)) for i in range(count)}}


def crossnobis(given: Mapping[str, Any]) -> np.ndarray:
    return np.stack([rs.measures.crossnobis(x, noise="none").values for x in given["xs"].values()])


def participation(given: Mapping[str, Any]) -> np.ndarray:
    found = [rs.reliability.diagnose(x).facts["x"] for x in given["xs"].values()]
    return np.array([facts["participation ratio, corrected"] for facts in found])


FAST = sized(4, 60, 12)
CKA_PEERS = ("pytorch-cka", "ultimate-anatome", "ckatorch", "thingsvision")


def further(measure: str | Measure, peer: str, title: str, count: int, n: int, p: int, **facts: Any) -> Case:
    """A row of one peer, of a measure for a special question."""
    found = rs.measures.get(measure)
    kind = facts.pop("kind", str(measure))
    facts = {"name": kind, "inputs": all_pairs, "size": sized(count, n, p), "fast": FAST, "targets": {peer: 1}, **facts}
    size = f"{facts['size']['count']} × ({n:,}, {p:,})"
    return Case(part="further", title=f"{title}: all pairs of {size}", measure=found, kind=kind, peers=(peer,), **facts)


FURTHER = [
    further(RSA(second="rho_a"), "rsatoolbox", "RSA, correlation then ρ_a", 12, 500, 256, kind="rho_a"),
    further(RSA(second="tau_a"), "rsatoolbox", "RSA, correlation then τ_a", 8, 200, 256, kind="tau_a"),
    *(
        further(
            RSA(first="squared_euclidean", second=second),
            "rsatoolbox",
            f"RSA, squared distances then {second.replace('_', ' ')}",
            12,
            500,
            256,
            kind=second,
        )
        for second in ("whitened_cosine", "whitened_pearson")
    ),
    Case(
        name="crossnobis",
        part="further",
        title="Cross-validated distances (crossnobis), 4 × (6 repeats, 100 conditions, 200)",
        measure=RSA(),
        kind="crossnobis",
        inputs=repeats,
        size={"count": 4, "repeats": 6, "n": 100, "p": 200},
        fast={"count": 2, "repeats": 4, "n": 6, "p": 5},
        peers=("rsatoolbox",),
        targets={"rsatoolbox": 1},
        work=crossnobis,
    ),
    Case(
        name="participation",
        part="further",
        title="Corrected participation ratio, 4 × (1000, 256); ours is `diagnose`, with all its other facts",
        measure=CKA(),
        kind="participation",
        inputs=all_pairs,
        size=sized(4, 1000, 256),
        fast=FAST,
        peers=("dimensionality",),
        targets={"dimensionality": 1},
        work=participation,
    ),
    further("permutation_procrustes", "qc-procrustes", "Permutation Procrustes", 6, 1000, 256),
    further("hard_correlation_match", "scipy", "Hard correlation match", 6, 1000, 256),
    further("soft_correlation_match", "deep-reps", "Soft correlation match", 4, 500, 128),
    *(
        case
        for measure, title in (("soft_matching", "Soft matching"), ("partial_soft_matching", "Partial soft matching"))
        for case in (
            further(measure, "POT", f"{title}, equal widths", 6, 500, 256),
            further(
                measure,
                "POT",
                f"{title}, other widths, 192 on one side",
                4,
                500,
                256,
                kind=measure,
                name=f"{measure}_widths",
                inputs=two_widths,
                size={"count": 4, "n": 500, "p": 256, "q": 192},
                fast={"count": 2, "n": 60, "p": 12, "q": 9},
            ),
        )
    ),
    further("aligned_cosine", "deep-reps", "Aligned cosine, in float64", 6, 1000, 256, inputs=in_float64),
    further("size_and_shape", "deep-reps", "Size and shape, in float64", 6, 1000, 256, inputs=in_float64),
    further("whitened_shape", "deep-reps", "Partly whitened shape", 4, 500, 64),
    further("eigenspace_overlap", "deep-reps", "Eigenspace overlap", 4, 200, 64),
    further("rsm_norm_difference", "deep-reps", "RSM norm difference", 3, 60, 64, fast=sized(2, 10, 4), tolerance=1e-3),
    further(
        RankSimilarity(metric="euclidean"),
        "deep-reps",
        "Rank similarity",
        4,
        300,
        64,
        kind="rank_similarity",
        tolerance=1e-4,
    ),
    further(
        SecondOrderCosine(metric="euclidean"),
        "deep-reps",
        "Second-order cosine",
        4,
        300,
        64,
        kind="second_order_cosine",
    ),
]
CASES = [
    Case(
        name="cka",
        part="cka",
        title="Linear CKA, all pairs of 24 × (2000, 768)",
        measure=CKA(),
        kind="cka",
        inputs=all_pairs,
        size=sized(24, 2000, 768),
        fast=FAST,
        peers=CKA_PEERS,
        targets={"pytorch-cka": 6},
    ),
    Case(
        name="cka_debiased",
        part="cka",
        title="Debiased linear CKA, all pairs of 24 × (2000, 768)",
        measure=CKA(debiased=True),
        kind="cka_debiased",
        inputs=all_pairs,
        size=sized(24, 2000, 768),
        fast=FAST,
        peers=CKA_PEERS,
        targets={"pytorch-cka": 5},
    ),
    Case(
        name="cka_thin",
        part="thin",
        title="Linear CKA, p ≪ n: all pairs of 24 × (20000, 64)",
        measure=CKA(),
        kind="cka",
        inputs=all_pairs,
        size=sized(24, 20000, 64),
        fast=sized(4, 200, 4),
        peers=CKA_PEERS,
    ),
    Case(
        name="cka_thin_debiased",
        part="thin",
        title="Debiased linear CKA, p ≪ n: all pairs of 24 × (20000, 64)",
        measure=CKA(debiased=True),
        kind="cka_debiased",
        inputs=all_pairs,
        size=sized(24, 20000, 64),
        fast=sized(4, 200, 4),
        peers=CKA_PEERS,
    ),
    Case(
        name="zoo",
        part="real",
        title="Linear CKA of real activations: all layers of three CNNs, 15 × (1000, 10 to 3136)",
        measure=CKA(),
        kind="cka",
        inputs=zoo,
        size={"n": 1000},
        fast={"n": 40},
        peers=CKA_PEERS,
    ),
    Case(
        name="zoo_debiased",
        part="real",
        title="Debiased linear CKA of the same real activations",
        measure=CKA(debiased=True),
        kind="cka_debiased",
        inputs=zoo,
        size={"n": 1000},
        fast={"n": 40},
        peers=CKA_PEERS,
    ),
    Case(
        name="grid",
        part="grid",
        title="Linear CKA, a 13 × 13 grid, (2000, 768)",
        measure=CKA(),
        kind="cka",
        inputs=grid,
        size={"rows": 13, "columns": 13, "n": 2000, "p": 768},
        fast={"rows": 3, "columns": 2, "n": 60, "p": 12},
        peers=CKA_PEERS,
        targets={"pytorch-cka": 2.5},
    ),
    Case(
        name="grid_debiased",
        part="grid",
        title="Debiased linear CKA, a 13 × 13 grid, (2000, 768)",
        measure=CKA(debiased=True),
        kind="cka_debiased",
        inputs=grid,
        size={"rows": 13, "columns": 13, "n": 2000, "p": 768},
        fast={"rows": 3, "columns": 2, "n": 60, "p": 12},
        peers=("pytorch-cka",),
        targets={"pytorch-cka": 2.5},
    ),
    *(
        Case(
            name=f"models_{build}",
            part="minibatch",
            title=(
                f"Minibatch CKA of two 12-layer {build.upper()}s, 2,000 inputs in batches of 250, forward passes"
                " included"
            ),
            measure=CKA(batch_size=250),
            kind="models",
            inputs=models,
            size={"build": build, "n": 2000, "batch": 250, "width": width},
            fast={"build": build, "n": 40, "batch": 20, "width": 16},
            peers=(
                "forward passes alone",
                "record, then compare",
                "pytorch-cka",
                "cka-pytorch",
                "torch-cka",
                "ckatorch",
            ),
            targets={"pytorch-cka": 1.2},
            tolerance=1e-3,
        )
        for build, width in (("mlp", 512), ("cnn", 8))
    ),
    Case(
        name="cka_rbf",
        part="rbf",
        title="RBF CKA, all pairs of 6 × (2000, 768)",
        measure=CKA(kernel="rbf"),
        kind="cka_rbf",
        inputs=all_pairs,
        size=sized(6, 2000, 768),
        fast=FAST,
        peers=("ckatorch", "thingsvision"),
        targets={"ckatorch": 15},
        tolerance=1e-4,
    ),
    Case(
        name="procrustes",
        part="procrustes",
        title="Procrustes, n > p: all pairs of 12 × (2000, 256)",
        measure=rs.measures.get("procrustes"),
        kind="procrustes",
        inputs=all_pairs,
        size=sized(12, 2000, 256),
        fast=FAST,
        peers=("ultimate-anatome",),
        targets={"ultimate-anatome": 1},
        tolerance=1e-4,
    ),
    Case(
        name="procrustes_wide",
        part="procrustes",
        title="Procrustes, n < p: all pairs of 12 × (256, 2000)",
        measure=rs.measures.get("procrustes"),
        kind="procrustes",
        inputs=all_pairs,
        size=sized(12, 256, 2000),
        fast=sized(4, 12, 60),
        peers=("ultimate-anatome",),
        targets={"ultimate-anatome": 20},
        tolerance=1e-4,
    ),
    Case(
        name="procrustes_wider",
        part="procrustes",
        title="Procrustes, n ≪ p: all pairs of 12 × (256, 4000)",
        measure=rs.measures.get("procrustes"),
        kind="procrustes",
        inputs=all_pairs,
        size=sized(12, 256, 4000),
        fast=sized(4, 12, 90),
        peers=("ultimate-anatome",),
        targets={"ultimate-anatome": 20},
        tolerance=1e-4,
    ),
    Case(
        name="svcca",
        part="cca",
        title="SVCCA, all pairs of 6 × (2000, 256)",
        measure=CCA(variance=0.99),
        kind="svcca",
        inputs=all_pairs,
        size=sized(6, 2000, 256),
        fast=FAST,
        peers=("ultimate-anatome",),
        targets={"ultimate-anatome": 4},
    ),
    Case(
        name="pwcca",
        part="cca",
        title="PWCCA, all ordered pairs of 6 × (2000, 256)",
        measure=CCA(summary="projection_weighted"),
        kind="pwcca",
        inputs=all_pairs,
        size=sized(6, 2000, 256),
        fast=FAST,
        peers=("ultimate-anatome",),
        targets={"ultimate-anatome": 2},
        tolerance=1e-4,
    ),
    Case(
        name="rsa",
        part="rsa",
        title="RSA, correlation then Spearman: all pairs of 12 × (1000, 512)",
        measure=RSA(),
        kind="rsa",
        inputs=all_pairs,
        size=sized(12, 1000, 512),
        fast=FAST,
        peers=("rsatoolbox", "mne-rsa", "thingsvision"),
        targets={"rsatoolbox": 4, "mne-rsa": 14},
    ),
    Case(
        name="rsa_pearson",
        part="rsa",
        title="RSA, correlation then Pearson: all pairs of 12 × (1000, 512)",
        measure=RSA(second="pearson"),
        kind="rsa_pearson",
        inputs=all_pairs,
        size=sized(12, 1000, 512),
        fast=FAST,
        peers=("rsatoolbox", "mne-rsa", "thingsvision"),
    ),
    Case(
        name="one_pair",
        part="pair",
        title="Linear CKA, one pair, (2000, 768)",
        measure=CKA(),
        kind="cka",
        inputs=grid,
        size={"rows": 1, "columns": 1, "n": 2000, "p": 768},
        fast={"rows": 1, "columns": 1, "n": 60, "p": 12},
        peers=(*CKA_PEERS, "shesha-geometry"),
        targets=dict.fromkeys((*CKA_PEERS, "shesha-geometry"), 1),
    ),
    Case(
        name="linear_predictivity",
        part="prediction",
        title="Linear predictivity, all ordered pairs of 12 × (1000, 256)",
        measure=rs.measures.get("linear_predictivity"),
        kind="linear_predictivity",
        inputs=all_pairs,
        size=sized(12, 1000, 256),
        fast=FAST,
        peers=("scikit-learn",),
        tolerance=1e-4,
    ),
    *FURTHER,
]
BY_NAME = {case.name: case for case in CASES}
