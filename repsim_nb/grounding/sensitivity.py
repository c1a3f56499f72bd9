"""Sensitivity: how much of a representation must go before a measure notices, and what is lost by then."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..comparison import compare
from ..errors import UndefinedError, listed
from ..measures import CCA, CKA, NBS, RSA, Measure, Procrustes, named
from ..probes import linear_probe
from ..progress import Tick, ticking
from .populations import Measures, by_name, exact

NOTICED: dict[str, Measure] = {
    "pwcca": CCA(summary="projection_weighted", normalise="all"),
    "pwcca, weights of the cut": CCA(summary="projection_weighted", normalise="all", weights="y"),
    "pwcca_kept": CCA(summary="projection_weighted"),
    "procrustes": Procrustes(),
    "cka": CKA(),
    "rsa": RSA(),
    "mean_cca": CCA(),
}
"""The measures of the published test, PWCCA with the weights of the whole representation and with those of what is left."""
MOST = 64  # deletions that are tried


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity:
    """From which deletion on a representation is further from itself than from another seed's.

    table: a row a measure: threshold (mean dissimilarity of two networks), deleted (the first share of components whose deletion is noticed, mean over networks that notice), accuracy (of a probe on what is
    left then), never (how many networks can lose all but the last component unnoticed).
    curves: a row a measure, network and deletion: kept (components), deleted (share), dissimilarity to the whole.  closed_form: the same by formula, for the measures that have one.
    probes: a row a network and deletion: kept, deleted, accuracy; those of the curve and those at which something is noticed.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    closed_form: pd.DataFrame
    probes: pd.DataFrame
    networks: int

    @property
    def whole(self) -> float:
        """The mean accuracy of probes before anything is deleted."""
        return float(self.probes.loc[self.probes["deleted"] == 0, "accuracy"].mean())

    def __repr__(self) -> str:
        first = "; ".join(f"{name} " + (f"after {row['deleted']:.0%}" if row["never"] < self.networks else "never") for name, row in self.table.iterrows())
        return f"Sensitivity({self.networks} networks, {first})"

    def _repr_html_(self) -> str:
        words = {"threshold": "{:.3f}".format, "deleted": "{:.0%}".format, "accuracy": "{:.3f}".format}
        note = f"<p>{self.networks} networks; accuracy of a probe on all components {self.whole:.3f}</p>"
        return note + self.table.to_html(formatters=words, na_rep="–")


def sensitivity(
    representations: Mapping[Any, Any],
    targets: Any,
    *,
    measures: Measures = NOTICED,
    kept: Sequence[int] | None = None,
    probed: int = 8,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Sensitivity:
    """Delete principal components from the smallest: when does each measure notice, and what can still be read then? -> Sensitivity.

    Noticed is a deletion after which the dissimilarity to the whole is above the threshold: the mean dissimilarity between different networks.
    representations: {label: array (n, ...)}, one layer of two or more networks that differ by their seed, all of the same samples.  targets: (n,), what a linear probe reads, on held-out samples.
    measures: names, Measures or {name: measure}; the whole is the first side of those that are not symmetric.  kept: numbers of components that are left, in any order; None are all, or 64 of them, evenly taken.
    probed: at how many deletions of the curve there is a probe, besides those that are noticed first.
    Errors: ValueError for one network, numbers outside 1 to the rank less one; UndefinedError where a measure has no value.  [Ding, Denain, Steinhardt 2021]
    """
    wanted = by_name(measures)
    if not isinstance(representations, Mapping) or len(representations) < 2:
        raise ValueError("the threshold is the distance between networks, so there must be two or more, {label: array}, one layer of each")
    if not isinstance(probed, (int, np.integer)) or isinstance(probed, bool) or probed < 1:
        raise ValueError(f"probed is a whole number of deletions from 1; got {probed!r}")
    xs = {label: x.reshape(len(x), -1) for label, x in exact(representations).items()}
    parts = {label: _components(x) for label, x in xs.items()}
    grids = {label: _grid(len(parts[label][1]), kept, label) for label in xs}
    threshold = {name: _between(measure, xs, name) for name, measure in wanted.items()}
    curves, formulas, accuracies = [], [], {}
    steps = sum(len(grid) for grid in grids.values()) + len(xs)
    with ticking(progress, "deleting components", "deletion") as tick:
        done = 0
        for label, x in xs.items():
            mean, scale, left, right = parts[label]
            rank = len(scale)
            found: dict[str, list[float]] = {name: [] for name in wanted}
            whole = {name: measure.prepare(x) for name, measure in wanted.items()}
            for k in grids[label]:
                tick(done, steps)
                cut = mean + (left[:, :k] * scale[:k]) @ right[:k]
                for name, measure in wanted.items():
                    found[name].append(_dissimilarity(measure, whole[name], cut, name, label, k))
                    if (formula := _formula(measure, scale, k)) is not None:
                        formulas.append((name, named(label), k, 1 - k / rank, formula))
                done += 1
            curves += [(name, named(label), k, 1 - k / rank, value) for name in wanted for k, value in zip(grids[label], found[name], strict=True)]
            noticed = [next((k for k, value in zip(grids[label], found[name], strict=True) if value > threshold[name]), None) for name in wanted]
            at = {rank, *(k for k in noticed if k), *np.asarray(grids[label])[np.linspace(0, len(grids[label]) - 1, min(probed, len(grids[label]))).astype(int)].tolist()}
            for k in sorted(at, reverse=True):
                accuracies[named(label), k] = (1 - k / rank, linear_probe(left[:, :k] * scale[:k], targets, n_permutations=1, seed=seed).accuracy)
            done += 1
        tick(steps, steps)
    columns = ["measure", "network", "kept", "deleted", "dissimilarity"]
    frame = pd.DataFrame(curves, columns=columns)
    probes = pd.DataFrame([(*key, *value) for key, value in accuracies.items()], columns=["network", "kept", "deleted", "accuracy"])
    return Sensitivity(_detected(frame, probes, threshold), frame, pd.DataFrame(formulas, columns=columns), probes, len(xs))


def _components(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """-> mean (p,), and the singular values and vectors of the centred rows at numerical rank, the largest first."""
    mean = x.mean(axis=0)
    left, scale, right = np.linalg.svd(x - mean, full_matrices=False)
    rank = int((scale > max(x.shape) * np.finfo(float).eps * scale[0]).sum()) if len(scale) else 0
    return mean, scale[:rank], left[:, :rank], right[:rank]


def _grid(rank: int, kept: Sequence[int] | None, label: Any) -> list[int]:
    """How many components are left, most first."""
    if rank < 2:
        raise ValueError(f"'{named(label)}' has {rank} component{'' if rank == 1 else 's'}, so that none can be deleted")
    if kept is None:
        return sorted({int(k) for k in np.linspace(rank - 1, 1, min(MOST, rank - 1)).round()}, reverse=True)
    if wrong := [k for k in kept if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or not 1 <= k < rank]:
        raise ValueError(f"kept are numbers of components from 1 to {rank - 1}, one less than '{named(label)}' has; got {listed(wrong, 4)}")
    return sorted({int(k) for k in kept}, reverse=True)


def _between(measure: Measure, xs: Mapping[Any, np.ndarray], name: str) -> float:
    try:
        table = compare(measure, xs).dissimilarity().to_numpy()
    except UndefinedError as error:
        raise UndefinedError(f"'{name}' between networks: {error}") from error
    return float(table[~np.eye(len(table), dtype=bool)].mean())


def _dissimilarity(measure: Measure, whole: Any, cut: np.ndarray, name: str, label: Any, k: int) -> float:
    try:
        return float(measure.dissimilarity(measure.pair(whole, measure.prepare(cut))))
    except UndefinedError as error:
        raise UndefinedError(f"'{name}' of '{named(label)}' and its first {k} components: {error}") from error


def _formula(measure: Measure, scale: np.ndarray, k: int) -> float | None:
    """The dissimilarity to the first k components in terms of the singular values; None where there is no such formula."""
    power = scale**2
    retained = math.sqrt(power[:k].sum() / power.sum())  # the overlap of both at unit length
    if measure == CKA():
        return 1 - math.sqrt((power[:k] ** 2).sum() / (power**2).sum())
    if isinstance(measure, Procrustes):
        return {"squared": 2 - 2 * retained, "distance": math.sqrt(2 - 2 * retained), "angle": math.acos(retained)}[measure.form]
    if isinstance(measure, NBS):
        return 1 - retained
    if isinstance(measure, CCA) and measure.variance is None and (measure.summary != "projection_weighted" or measure.normalise == "kept" or measure.weights == "y"):
        return 0.0  # every direction that is left is there on both sides
    return None


def _detected(curves: pd.DataFrame, probes: pd.DataFrame, threshold: Mapping[str, float]) -> pd.DataFrame:
    accuracy = probes.set_index(["network", "kept"])["accuracy"]
    rows = {}
    for name, own in curves.groupby("measure", sort=False):
        first = own[own["dissimilarity"] > threshold[name]].groupby("network", sort=False).first()
        at = [accuracy[network, kept] for network, kept in first["kept"].items()]
        rows[name] = {
            "threshold": threshold[name], "deleted": first["deleted"].mean() if len(first) else math.nan, "accuracy": float(np.mean(at)) if at else math.nan,
            "never": own["network"].nunique() - len(first),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("measure")
