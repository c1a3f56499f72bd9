"""The rows, as data: which work, of which size, whose adapters, what was aimed at, and what bounds it where that was not reached."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import repsim_nb as rs
from repsim_nb.measures import CCA, CKA, RSA, Measure

from . import data
from .peers import ADAPTERS, Adapter


@dataclass(frozen=True)
class Case:
    """One row of the benchmark.

    inputs(size) -> what both sides get: {"xs": {label: array}, "ys": the same or absent} or, of networks, {"a", "b", "pictures", "batch"}.
    size and fast: the arguments of inputs, in earnest and for a quick look.  targets: peer -> how many times faster we want to be.
    tolerance: how far from a comparable peer's values ours may be.  bound: what bounds it, where a target was not reached.
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
    bound: str = ""

    def ours(self, given: Mapping[str, Any], measure: Measure | None = None) -> np.ndarray:
        """Our side, as a user would write it."""
        measure = measure or self.measure
        if self.kind != "networks":
            return rs.compare(measure, given["xs"], given.get("ys")).values.to_numpy()
        x = given["pictures"]
        recorded = [rs.record(rs.load_model(given[side], name=side), x, data.LAYERS, batch_size=given["batch"], progress=False) for side in "ab"]
        return rs.compare(dataclasses.replace(measure, batch_size=given["batch"]), *recorded).values.to_numpy()

    def fresh(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The inputs of one timed call: networks are copied, since some peers leave their hooks on them."""
        return given if self.kind != "networks" else {**given, "a": copy.deepcopy(given["a"]), "b": copy.deepcopy(given["b"])}

    def adapters(self) -> list[Adapter]:
        return [ADAPTERS[peer, self.kind] for peer in self.peers]

    @property
    def symmetric(self) -> bool:
        return self.measure.symmetric


def all_pairs(count: int, n: int, p: int) -> dict[str, Any]:
    return {"xs": data.activations(count, n, p)}


def grid(rows: int, columns: int, n: int, p: int) -> dict[str, Any]:
    made = data.activations(rows + columns, n, p)
    labels = list(made)
    return {"xs": {k: made[k] for k in labels[:rows]}, "ys": {k: made[k] for k in labels[rows:]}}


def zoo(n: int) -> dict[str, Any]:
    return {"xs": data.zoo_activations(n)}


def networks(build: str, n: int, batch: int, width: int) -> dict[str, Any]:
    make = {"mlp": data.mlp, "cnn": data.cnn}[build]
    return {"a": make(0, width), "b": make(1, width), "pictures": data.pictures(n), "batch": batch}


def sized(count: int, n: int, p: int) -> dict[str, int]:
    return {"count": count, "n": n, "p": p}


FAST = sized(4, 60, 12)
CASES = [
    Case("cka", "cka", "Linear CKA, all pairs of 24 × (2000, 768)", CKA(), "cka", all_pairs, sized(24, 2000, 768), FAST,
         ("pytorch-cka", "ultimate-anatome", "ckatorch", "thingsvision"), {"pytorch-cka": 6}),
    Case("cka_debiased", "cka", "Debiased linear CKA, all pairs of 24 × (2000, 768)", CKA(debiased=True), "cka_debiased", all_pairs, sized(24, 2000, 768), FAST,
         ("pytorch-cka", "ultimate-anatome", "ckatorch", "thingsvision"), {"pytorch-cka": 5}),
    Case("cka_thin", "thin", "Linear CKA, p ≪ n: all pairs of 24 × (20000, 64)", CKA(), "cka", all_pairs, sized(24, 20000, 64), sized(4, 200, 4),
         ("pytorch-cka", "ultimate-anatome", "ckatorch", "thingsvision")),
    Case("cka_thin_debiased", "thin", "Debiased linear CKA, p ≪ n: all pairs of 24 × (20000, 64)", CKA(debiased=True), "cka_debiased", all_pairs,
         sized(24, 20000, 64), sized(4, 200, 4), ("pytorch-cka", "ultimate-anatome", "ckatorch", "thingsvision")),
    Case("zoo", "real", "Linear CKA of real activations: all layers of three CNNs, 15 × (1000, 10 to 3136)", CKA(), "cka", zoo, {"n": 1000}, {"n": 40},
         ("pytorch-cka", "ultimate-anatome", "ckatorch", "thingsvision")),
    Case("zoo_debiased", "real", "Debiased linear CKA of the same real activations", CKA(debiased=True), "cka_debiased", zoo, {"n": 1000}, {"n": 40},
         ("pytorch-cka", "ultimate-anatome", "ckatorch", "thingsvision")),
    Case("grid", "grid", "Linear CKA, a 13 × 13 grid, (2000, 768)", CKA(), "cka", grid, {"rows": 13, "columns": 13, "n": 2000, "p": 768},
         {"rows": 3, "columns": 2, "n": 60, "p": 12}, ("pytorch-cka", "ultimate-anatome", "ckatorch", "thingsvision"), {"pytorch-cka": 2.5}),
    Case("grid_debiased", "grid", "Debiased linear CKA, a 13 × 13 grid, (2000, 768)", CKA(debiased=True), "cka_debiased", grid,
         {"rows": 13, "columns": 13, "n": 2000, "p": 768}, {"rows": 3, "columns": 2, "n": 60, "p": 12}, ("pytorch-cka",), {"pytorch-cka": 2.5}),
    *(Case(f"networks_{build}", "minibatch", f"Minibatch CKA of two 12-layer {build.upper()}s, 2,000 inputs in batches of 250, forward passes included",
           CKA(batch_size=250), "networks", networks, {"build": build, "n": 2000, "batch": 250, "width": width},
           {"build": build, "n": 40, "batch": 20, "width": 16}, ("forward passes alone", "pytorch-cka", "cka-pytorch", "torch-cka", "ckatorch"), tolerance=1e-3)
      for build, width in (("mlp", 512), ("cnn", 16))),
    Case("cka_rbf", "rbf", "RBF CKA, all pairs of 6 × (2000, 768)", CKA(kernel="rbf"), "cka_rbf", all_pairs, sized(6, 2000, 768), FAST,
         ("ckatorch", "thingsvision"), {"ckatorch": 15}, tolerance=1e-4),
    Case("procrustes", "procrustes", "Procrustes, n > p: all pairs of 12 × (2000, 256)", rs.measures.get("procrustes"), "procrustes", all_pairs,
         sized(12, 2000, 256), FAST, ("ultimate-anatome",), {"ultimate-anatome": 1}, tolerance=1e-4),
    Case("procrustes_wide", "procrustes", "Procrustes, n < p: all pairs of 12 × (256, 2000)", rs.measures.get("procrustes"), "procrustes", all_pairs,
         sized(12, 256, 2000), sized(4, 12, 60), ("ultimate-anatome",), {"ultimate-anatome": 20}, tolerance=1e-4),
    Case("procrustes_wider", "procrustes", "Procrustes, n ≪ p: all pairs of 12 × (256, 8000)", rs.measures.get("procrustes"), "procrustes", all_pairs,
         sized(12, 256, 8000), sized(4, 12, 90), ("ultimate-anatome",), {"ultimate-anatome": 20}, tolerance=1e-4),
    Case("svcca", "cca", "SVCCA, all pairs of 6 × (2000, 256)", CCA(variance=0.99), "svcca", all_pairs, sized(6, 2000, 256), FAST,
         ("ultimate-anatome",), {"ultimate-anatome": 4}),
    Case("pwcca", "cca", "PWCCA, all ordered pairs of 6 × (2000, 256)", CCA(summary="projection_weighted"), "pwcca", all_pairs, sized(6, 2000, 256), FAST,
         ("ultimate-anatome",), {"ultimate-anatome": 2}, tolerance=1e-4),
    Case("rsa", "rsa", "RSA, correlation then Spearman: all pairs of 12 × (1000, 512)", RSA(), "rsa", all_pairs, sized(12, 1000, 512), FAST,
         ("rsatoolbox", "mne-rsa", "thingsvision"), {"rsatoolbox": 4, "mne-rsa": 14}),
    Case("rsa_pearson", "rsa", "RSA, correlation then Pearson: all pairs of 12 × (1000, 512)", RSA(second="pearson"), "rsa_pearson", all_pairs,
         sized(12, 1000, 512), FAST, ("rsatoolbox", "mne-rsa", "thingsvision")),
]
BY_NAME = {case.name: case for case in CASES}
