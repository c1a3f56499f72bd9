"""Sensitivity: how many principal components can be deleted before a measure notices, and what is lost by then."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..comparison import axis_of, compare, short_labels
from ..errors import listed
from ..escaping import without_formulas
from ..ids import check_order
from ..inference.samples import representations_of
from ..measures import CCA, CKA, NBS, Measure, Procrustes, named
from ..probes import entered, linear_probe
from ..progress import Tick, ticking
from ..validation import check_labels
from .layers import NEVER
from .ranking import Measures, chosen_measures, listed_undefined

SHARES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99)
CURVES = ("cka", "procrustes", "rsa", "pwcca_all", "pwcca", "mean_cca", "pwcca_all_other", "pwcca_other")


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity:
    """What measures notice of principal components that are deleted, the smallest first.

    table: a row a measure: threshold, the mean dissimilarity of two networks; deleted, the share of the components whose deletion is the first above it, "never" where
    none is; accuracy, of a probe on what is left there; lost, how much less that is than of everything (both missing where there is no probe, or the measure never
    notices).
    curves: mean dissimilarity of a whole representation and what is left of it, by share deleted (rows) and measure.  closed_form: the same by formula, for the measures
    that have one.
    accuracy: mean held-out accuracy of the probe by share deleted, None without targets.  each: all of these by network and share, before they are averaged.
    undefined: {measure: why it has no row}.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    closed_form: pd.DataFrame
    accuracy: pd.Series | None
    each: pd.DataFrame
    undefined: Mapping[str, str] = field(default_factory=dict)

    @property
    def networks(self) -> int:
        """Over how many networks values are means."""
        return self.each.index.get_level_values("network").nunique()

    def __repr__(self) -> str:
        said = ", ".join(f"{name}: {self._when(name)}" for name in self.table.index)
        return f"Sensitivity({self.networks} networks; noticed when so much is deleted: {said})"

    def _when(self, name: str) -> str:
        share = self.table.loc[name, "deleted"]
        return NEVER if share == NEVER else f"{share:.3g}"

    def _repr_html_(self) -> str:
        shown = self.table.assign(deleted=[self._when(name) for name in self.table.index])
        table = shown.to_html(float_format="{:.3f}".format, na_rep="–")
        return without_formulas(f"<p>{html.escape(repr(self))}</p>{table}{listed_undefined(self.undefined)}")


def sensitivity(
    representations: Mapping[Any, Any],
    targets: Sequence[Any] | None = None,
    *,
    measures: Measures = CURVES,
    shares: Sequence[float] = SHARES,
    test_share: float = 0.3,
    cost: float = 1.0,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Sensitivity:
    """How much of a representation can be deleted before a measure sees more than the difference between two seeds, and what a probe then still reads -> Sensitivity.

    representations: {label: array (n, p)}: one layer of two or more networks, of the same samples.  targets (n,): what a linear probe is to read; test_share, cost and
    seed as in `probes.linear_probe`. None goes without.
    measures: as in `benchmark`; the whole representation is the first argument: "pwcca_all" and "pwcca" weigh by its directions, those with "_other" by what is left.
    shares: of the components of a centred representation (as many as its rank), how many are deleted, smallest first; at least one is left, and a share is
    that of whole components. Means of features stay, and so do the features: what is left is in the original columns, in float64.  threshold: the mean dissimilarity
    over ordered pairs of networks. Curves are means over networks, and so is the accuracy.
    Errors: ValueError for fewer than two networks, shares outside 0 to 1, targets that cannot be read; a measure without a value has no row, and a reason.
    [Ding, Denain, Steinhardt 2021]
    """
    chosen = chosen_measures(measures)
    _check_shares(shares)
    first = next(iter(representations.values()), None) if isinstance(representations, Mapping) else None
    check_order(first, targets)
    representations, n = representations_of(representations)
    labels, targets = list(representations), None if targets is None else check_labels(targets, n, "targets")
    if len(labels) < 2:
        raise ValueError(f"the threshold is the difference between networks, so there are two or more; here is {named(labels[0])}")
    index = axis_of(representations)
    if "model" in index.names and index.get_level_values("model").has_duplicates:
        raise ValueError(f"of each network one layer is compared, and some have several here ({listed(short_labels(index), 4)}): choose one with .where(layer=...)")
    names = short_labels(index)
    xs = {label: entered(label, representations[label], constant=False) for label in labels}
    parts = {label: _Components(x) for label, x in xs.items()}
    shares = _reached(shares, [part.rank for part in parts.values()])
    seen, formulas, accuracies = {}, {}, {}
    thresholds, undefined = _thresholds(chosen, xs)
    steps = len(chosen) + (0 if targets is None else len(shares))  # of each network
    with ticking(progress, "deletions", "step") as tick:
        for done, (label, name) in enumerate(zip(labels, names, strict=True)):
            part = parts[label]
            kept = _kept(shares, part.rank)
            left = {f"{share:g}": part.first(many) for share, many in zip(shares, kept, strict=True)}
            for k, (short, measure) in enumerate(chosen.items()):
                tick(done * steps + k, len(labels) * steps)
                if short in undefined:
                    continue
                found = compare(measure, {"whole": xs[label]}, left, on_undefined="mask")
                if found.undefined:
                    undefined[short] = f"{len(found.undefined)} of {len(left)} deletions of {name} have no value: {next(iter(found.undefined.values()))}"
                seen[name, short] = found.dissimilarity().to_numpy(float)[0]
                formulas[name, short] = [closed_form(measure, part.squares, many) for many in kept]
            if targets is not None:
                accuracies[name] = []
                for k, x in enumerate(left.values(), len(chosen)):
                    tick(done * steps + k, len(labels) * steps)
                    accuracies[name].append(linear_probe(x, targets, test_share=test_share, cost=cost, n_permutations=1, seed=seed).accuracy)
        tick(len(labels) * steps, len(labels) * steps)
    defined = [short for short in chosen if short not in undefined]
    if not defined:
        raise ValueError(f"no measure has a value for all deletions: {'; '.join(f'{short}: {why}' for short, why in undefined.items())}")
    index = pd.MultiIndex.from_product([names, shares], names=["network", "deleted"])
    each = pd.DataFrame({short: np.concatenate([seen[name, short] for name in names]) for short in defined}, index=index)
    known = [short for short in defined if formulas[names[0], short][0] is not None]
    closed = pd.DataFrame({short: np.concatenate([formulas[name, short] for name in names]).astype(float) for short in known}, index=index)
    curves, closed = (frame.groupby(level="deleted", sort=False).mean() if len(frame.columns) else pd.DataFrame(index=shares) for frame in (each, closed))
    accuracy = None
    if targets is not None:
        each = each.assign(accuracy=np.concatenate([accuracies[name] for name in names]))
        accuracy = each["accuracy"].groupby(level="deleted", sort=False).mean()
    rows = [_row(curves[short], thresholds[short], accuracy) for short in defined]
    table = pd.DataFrame(rows, index=pd.Index(defined, name="measure"), columns=["threshold", "deleted", "accuracy", "lost"][: 2 if targets is None else 4])
    return Sensitivity(table, curves, closed, accuracy, each, undefined)


def closed_form(measure: Measure, squares: np.ndarray, kept: int) -> float | None:
    """The dissimilarity of a representation with eigenvalues λ (squares, largest first) of its covariance and its first `kept` principal components; None where there is
    no formula for it.

    CKA: 1 - √(Σ_{i≤k} λ² / Σ λ²).  Procrustes: ‖XᵀX_k‖* of unit norms is √r, r = Σ_{i≤k} λ / Σ λ, so 2 - 2√r, its root, arccos √r; NBS 1 - √r.
    CCA over the directions that are kept, or weighted by them: every ρ is 1, so 0.
    """
    retained = float(np.sqrt(squares[:kept].sum() / squares.sum()))
    if kept == len(squares):
        retained = 1.0
    if measure == CKA():
        return 1 - float(np.sqrt((squares[:kept] ** 2).sum() / (squares**2).sum()))
    if isinstance(measure, Procrustes):
        return {"squared": 2 - 2 * retained, "distance": float(np.sqrt(max(0.0, 2 - 2 * retained))), "angle": float(np.arccos(retained))}[measure.form]
    if isinstance(measure, NBS):
        return 1 - retained
    if isinstance(measure, CCA) and measure.variance is None and (measure.summary != "projection_weighted" or measure.normalise == "kept" or measure.weights == "y"):
        return 0.0
    return None


def _thresholds(chosen: Mapping[str, Measure], xs: Mapping[Any, np.ndarray]) -> tuple[dict[str, float], dict[str, str]]:
    thresholds, undefined = {}, {}
    other = ~np.eye(len(xs), dtype=bool)
    for short, measure in chosen.items():
        found = compare(measure, xs, on_undefined="mask")
        if found.undefined:
            undefined[short] = f"{len(found.undefined)} of {other.sum()} pairs of networks have no value: {next(iter(found.undefined.values()))}"
            continue
        thresholds[short] = float(found.dissimilarity().to_numpy(float)[other].mean())
        if thresholds[short] < 1e-12:
            undefined[short] = f"the networks do not differ by it (mean dissimilarity {thresholds[short]:.2g}), so that there is no threshold"
    return thresholds, undefined


class _Components:
    """A representation by its principal components: squares, the eigenvalues of n times its covariance, largest first, as many as its rank."""

    def __init__(self, x: np.ndarray) -> None:
        self.mean = x.mean(axis=0)
        self.u, self.s, self.vt = np.linalg.svd(x - self.mean, full_matrices=False)
        self.rank = int((self.s > self.s[0] * max(x.shape) * np.finfo(float).eps).sum())
        self.squares = self.s[: self.rank] ** 2

    def first(self, kept: int) -> np.ndarray:
        """What is left of x, in its own columns, when all but so many components are deleted."""
        return self.mean + (self.u[:, :kept] * self.s[:kept]) @ self.vt[:kept]


def _kept(shares: list[float], rank: int) -> list[int]:
    return [max(1, round((1 - share) * rank)) for share in shares]


def _row(curve: pd.Series, threshold: float, accuracy: pd.Series | None) -> tuple[Any, ...]:
    above = curve.index[curve.to_numpy() > threshold]
    share = float(above[0]) if len(above) else NEVER
    if accuracy is None:
        return threshold, share
    left = float(accuracy.loc[share]) if share != NEVER else None
    return threshold, share, left, None if left is None else float(accuracy.iloc[0]) - left


def _check_shares(shares: Sequence[float]) -> None:
    if not np.iterable(shares):
        raise TypeError(f"shares say how much of the components is deleted, several numbers such as (0, 0.5, 0.9); got {shares!r}")
    if not len(shares) or not all(0 <= float(share) < 1 for share in shares):
        raise ValueError(f"shares say how much of the components is deleted, numbers from 0 to below 1, such as 0.5; got {list(shares)[:6]}")


def _reached(shares: Sequence[float], ranks: Sequence[int]) -> list[float]:
    """The shares that whole components make, and 0; as they were asked for where networks have other ranks, but for those that leave as much of the smallest."""
    fewest = min(ranks)
    asked = {kept: share for share in sorted({0.0, *map(float, shares)}, reverse=True) for kept in _kept([share], fewest)}
    return sorted((fewest - kept) / fewest if len(set(ranks)) == 1 else share for kept, share in asked.items())
