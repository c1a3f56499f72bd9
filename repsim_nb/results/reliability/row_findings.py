"""Checks of whether rows of a representation depend on each other: groups, rows in sequence, neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from repsim_nb.measures.arrays import eps
from repsim_nb.measures.neighbour_search import shared_places
from repsim_nb.results.inference.row_dependence import FOLLOWING, near_rows
from repsim_nb.support.containers import Array
from repsim_nb.support.ids import check_order
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.validation import to_numpy

from .findings import Finding
from .representation_facts import MAX_MULTIPLICATIONS, Side

QUERIES = 300  # samples whose neighbours are looked for, among all
# a hub is among the nearest of at least this fraction of the others, and of more than this small probability allows;
# hubs are looked for from this number of samples
HUB_FRACTION, HUB_CHANCE, HUB_MIN_SAMPLES = 1 / 3, 0.001, 50
# a near repeat is nearer than this fraction of the distance to the 20th neighbour; reported from this fraction of
# samples on (samples on a line have 6 % by chance)
NEARLY = (0.003, 0.25, 20)
_USE = "rs.inference.interval, sample_size, influence, permutation_test, null_table and chance_corrected"


def labels_of_rows(x: Any, groups: Any) -> tuple[str, Any]:
    """Return where the groups of the rows come from ("given", "array", "index" or "") and their labels, or None."""
    if groups is not None:
        check_order(x, groups)
        return "given", groups
    if (own := groups_of(x)) is not None:
        return "array", own
    index: Any = getattr(x, "index", None)
    if not hasattr(index, "is_unique") and hasattr(x, "indexes") and x.dims:  # xarray
        index = x.indexes.get(x.dims[0])
    if hasattr(index, "is_unique") and not index.is_unique:
        return "index", [str(label) for label in index]
    return "", None


def describe_rows(side: Side, v: Array, labels: tuple[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Return facts and findings about the dependence of the rows of one side, which are all in v."""
    how, groups = labels
    if how:
        facts, found = _describe_groups(side.name, how, groups)
    else:
        facts, found = {}, list[Finding]()
        some = min(side.n, side.facts["samples looked at"], FOLLOWING[1])
        start = (side.n - some) // 2
        rows = to_numpy(v[start : start + some]).astype(np.float64)
        near, where = near_rows(rows if np.isfinite(rows).all() else None)
        facts |= {"mean cosine of rows next to each other": near[1]} if 1 in near else {}  # not for few rows
        if where:
            found.append(
                _report_groups(
                    side.name,
                    f"rows {'that follow one another' if where == 1 else f'{where} places apart'} have a mean cosine of"
                    f" {near[where]:.2f} (features centred), any two rows {near[0]:.2f}",
                )
            )
    hubs, finding, nearly = _neighbours(side)
    if nearly and not how and not found:
        found.append(
            _report_groups(
                side.name,
                f"{nearly:.0%} of the samples tried have a near repeat, at less than {NEARLY[0]:.1%} of the distance to"
                f" their {NEARLY[2]}th neighbour",
            )
        )
    return facts | hubs, found + finding


def _report_groups(name: str, why: str) -> Finding:
    """Return the finding that rows look grouped."""
    return Finding(
        "rows look grouped",
        f"{why}. So rows of {name} may not be independent samples, such as tokens of one sentence, frames of one film"
        " or repeats of one stimulus. Samples that are sorted by class look like this too, but not in a random order",
        f"If rows depend on each other, pass groups=, one label a row, to {_USE}, or keep one row of each group."
        " Otherwise p-values and intervals are far too small",
    )


def _describe_groups(name: str, how: str, groups: np.ndarray) -> tuple[dict[str, Any], list[Finding]]:
    """Return facts and findings about known groups of rows."""
    number = len(pd.unique(groups))
    facts = {"groups of rows": number}
    if number == len(groups):
        return facts, []
    cut = f"the {len(groups)} rows of {name} are in {number} groups ({len(groups) / number:.3g} rows each on average)"
    if how == "index":
        return facts, [
            Finding(
                "rows look grouped",
                f"index labels of {name} repeat: {cut}, if rows with one label belong together",
                f"If they do, pass groups=x.index to {_USE}: rows of a group are not independent samples",
            )
        ]
    advice = (
        f"The array has these groups, and {_USE} use them" if how == "array" else f"Pass the same groups= to {_USE}"
    )
    return facts, [Finding("grouped rows", f"{cut}, and rows of a group are not independent samples", advice, False)]


def _neighbours(side: Side) -> tuple[dict[str, Any], list[Finding], float]:
    """Return facts and findings about hubs of the neighbour graph, and the fraction of samples with a near repeat.

    A hub is a sample that is among the nearest neighbours of many others. The fraction is 0 if it is small.
    """
    looked = len(side.raw)
    if looked < HUB_MIN_SAMPLES:
        return {}, [], 0.0
    places = (
        np.linspace(
            0,
            looked - 1,
            min(looked, max(100, min(QUERIES, int(MAX_MULTIPLICATIONS / 10 / side.raw.size), 2 * 10**6 // looked))),
        )
        .round()
        .astype(int)
    )
    own = np.arange(len(places)), places
    lengths = np.sqrt(np.einsum("ij,ij->i", side.raw, side.raw, dtype=np.float64))[:, None]
    unit = np.divide(side.raw, lengths, out=np.zeros(side.raw.shape), where=lengths > 0)
    k = min(10, (looked - 1) // 10)
    cosines = unit[places] @ unit.T
    fractions = neighbour_fractions(cosines, own, k, eps(side.raw))
    hub = int(fractions.argmax())
    others = np.where(np.isfinite(cosines), cosines, np.nan)
    levels = np.nanmean(others, axis=0)
    # the spread between samples that are near to all others and those that are far
    spread = 1.4826 * float(np.median(np.abs(levels - np.median(levels))))
    noise = float(np.nanstd(others - levels - np.nanmean(others - levels, axis=1, keepdims=True)))
    bound = HUB_FRACTION
    if noise > 0:  # the nearest sample if the levels of samples are normally distributed
        bound = max(
            bound,
            float(ndtr((-ndtri(HUB_CHANCE / looked) * spread + math.hypot(spread, noise) * ndtri(k / looked)) / noise)),
        )
    sample = int(np.linspace(0, side.n - 1, looked).round()[hub])
    facts = {"most often a neighbour": sample, f"among the {k} nearest of": float(fractions[hub])}
    inner = side.x[places] @ side.x.T
    nearly = near_repeats(side.x, inner, places) if side.rank >= 8 else 0.0  # may be chance in fewer dimensions
    if not fractions[hub] > bound:
        return facts, [], nearly
    many = int(np.sum(fractions > bound))
    rest = f" ({many - 1} more are like it)" if many > 1 else ""
    cknna = neighbour_fractions(inner, own, k, eps(side.raw))[hub]
    return (
        facts,
        [
            Finding(
                "a neighbour of all",
                f"sample {sample} of {side.name} is among the {k} nearest of {fractions[hub]:.0%} of the others by"
                f" cosine, where {k / (looked - 1):.1%} is usual{rest}",
                f"mutual_knn{', cknna' if cknna > HUB_FRACTION else ''} and jaccard_knn count it as a shared neighbour"
                " of many samples. Compare again without it, or centre the features first",
            )
        ],
        nearly,
    )


def neighbour_fractions(
    similarities: np.ndarray, own: tuple[np.ndarray, np.ndarray], k: int, spacing: float = float(np.finfo(float).eps)
) -> np.ndarray:
    """Return for each sample the fraction of the others that have it among their k nearest, with weights for ties.

    own: the places of samples with themselves; they are set to -inf.  spacing: of the precision of the
    numbers from which the similarities were computed.
    """
    similarities[own] = -np.inf
    n = similarities.shape[1]
    largest = np.where(np.isfinite(similarities), np.abs(similarities), 0).max(axis=1, keepdims=True)
    slack = 8 * spacing * largest + 64 * np.finfo(float).eps * largest
    near, tied, weight = shared_places(similarities, k, slack)
    weights = np.where(tied, weight[:, None], near)
    others = np.full(n, len(similarities))
    others[own[1]] -= 1
    return weights.sum(0) / np.maximum(others, 1)


def near_repeats(x: np.ndarray, inner: np.ndarray, places: np.ndarray) -> float:
    """Return the fraction of samples with a near repeat, which is much nearer than usual but not equal; 0.0 if few.

    x: centred, at unit norm.  inner: inner products of the rows at `places` with all.
    """
    k = NEARLY[2]
    if len(x) < 3 * k:
        return 0.0
    squares = np.einsum("ij,ij->i", x, x)
    distances = np.maximum(squares[places, None] + squares - 2 * inner, 0)
    distances[np.arange(len(places)), places] = np.inf
    distances[distances <= 1e-10 * (squares[places, None] + squares.mean())] = np.inf  # the same, up to rounding
    nearest = np.partition(distances, [0, k - 1], axis=1)[:, [0, k - 1]]
    known = np.isfinite(nearest[:, 1])
    fraction = float(np.sum(nearest[known, 0] < NEARLY[0] ** 2 * nearest[known, 1])) / len(places)
    return fraction if fraction >= NEARLY[1] else 0.0
