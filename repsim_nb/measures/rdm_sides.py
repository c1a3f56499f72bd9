"""RDMs as a side of RSA: their values as similarities or distances, and pairs of samples that were not measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.rdms import RDM

from .comparators import DISTANCES
from .ties import merge_ties, ranks_with_ties, tolerance_of

FEWEST = 3  # pairs that both sides know


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """The pairs of an RDM of which some are missing: the cells that count, and which of them are known.

    values, known: (cells,), in the order of a prepared vector of `RSA`; a value that is not known is 0.
    """

    values: np.ndarray
    known: np.ndarray


def as_first_order(rdm: RDM, first: str, second: str, *, diagonal: bool, least: int) -> np.ndarray:
    """Return the values of an RDM (n, n) in the direction that `first` of RSA has for features; NaN if missing.

    A dissimilarity becomes a similarity, except for distances. Only the cosines need its zero: 1 - d.
    """
    if len(rdm) < least:
        raise UndefinedError(f"at least {least} samples are needed; it has {len(rdm)}")
    if first in DISTANCES:
        # RSA compares distances as they are; squares are needed where the order is not all
        if first != "squared_euclidean" or rdm.squared:
            return rdm.values
        if (rdm.values < 0).any():
            raise UndefinedError(
                "it is an RDM with negative values, which first='squared_euclidean' of RSA would square."
                " Cross-validated distances are squared ones: rs.RDM(values, squared=True)"
            )
        return rdm.values**2
    if second.endswith("cosine") or diagonal:
        if first == "dot":
            raise UndefinedError(
                "it is an RDM, and inner products of samples do not follow from dissimilarities. Use"
                " RSA(first='euclidean'), or a second order of ranks or correlations without the diagonal"
            )
        return 1 - rdm.values
    return -rdm.values


def known_pairs(values: np.ndarray, second: str) -> KnownPairs:
    """Return cells with NaN for missing pairs as `KnownPairs`; numbers that are equal up to rounding become equal."""
    known = np.isfinite(values)
    if second not in _FORMS:
        raise UndefinedError(
            f"it is an RDM with missing pairs, and second={second!r} of RSA needs all of them. Use 'spearman',"
            " 'pearson' or 'cosine', or rdm[rows] with samples whose pairs are all known"
        )
    if second == "spearman" and known.any():
        values = merge_ties(np.where(known, values, np.nan), tolerance_of(values))
    return KnownPairs(np.where(known, values, 0.0).astype(float), known)


def compare_known(a: KnownPairs | np.ndarray, b: KnownPairs | np.ndarray, second: str, n: int) -> float:
    """Return the value of two sides of which at least one has missing pairs, over the pairs that both know.

    A side without missing pairs is a prepared vector: its ranks, or values up to scale and offset.
    """
    sides = [side if isinstance(side, KnownPairs) else KnownPairs(side, np.ones(len(side), bool)) for side in (a, b)]
    both = sides[0].known & sides[1].known
    rows = both.reshape(n, -1) if second.startswith("row") else both[None]
    fewest = int(rows.sum(axis=1).min())
    if fewest < FEWEST:
        what = "for each sample" if second.startswith("row") else "of samples"
        raise UndefinedError(f"at least {FEWEST} pairs {what} must be known on both sides; got {fewest}")
    x, y = (_standardize(side.values.reshape(rows.shape), rows, second) for side in sides)
    return float((x * y).sum() / len(rows))


def _standardize(values: np.ndarray, known: np.ndarray, second: str) -> np.ndarray:
    """Return each row of values (rows, cells) as a unit vector over the cells that are known, 0 elsewhere."""
    if _FORMS[second] == "ranks":
        ranks = np.zeros(values.shape)
        ranks[known] = ranks_with_ties(values[known])
        values = ranks
    found = np.where(known, values, 0.0).astype(float)
    size = np.abs(found).max(axis=1, keepdims=True)
    if _FORMS[second] != "values":
        found = np.where(known, found - found.sum(axis=1, keepdims=True) / known.sum(axis=1, keepdims=True), 0.0)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if (lengths <= 8 * np.finfo(float).eps * size).any():
        raise UndefinedError("the pairs of samples that both sides know are equally alike on one side")
    return found / lengths


# what of the known values is compared
_FORMS = {
    "spearman": "ranks",
    "pearson": "centred",
    "cosine": "values",
    "row_pearson": "centred",
    "row_cosine": "values",
}
