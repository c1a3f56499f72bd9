"""Feature-reweighted RSA: an RDM predicted from weighted features, tested on samples that were not fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from repsim_nb.measures import RSA
from repsim_nb.measures.table_inputs import check_sides
from repsim_nb.support.errors import UndefinedError, add_context
from repsim_nb.support.rdm_halves import SMALL
from repsim_nb.support.rdms import RDM
from repsim_nb.support.seeds import generator_of
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_choice, check_integer, check_representation, to_numpy

from .grouped_rows import check_independent

FEWEST = 4  # samples in a fold: six pairs
PENALTIES = tuple(10.0**k for k in range(-2, 4))  # times the mean sum of squares of a feature
_ROUNDS, _CLOSE = 5000, 1e-9  # steps of a fit, and the relative change at which it ends
_ROUGH = 1e-4  # the same for fits that choose a penalty


@dataclass(frozen=True, eq=False, repr=False)
class Reweighted:
    """How well weighted features predict an RDM; `reweighted_rsa` computes it.

    Attributes
    ----------
    value : float
        The correlation of predicted and given dissimilarities among samples that were not fitted, the mean over folds.
    unweighted : float
        The same for squared Euclidean distances of the features as they are.
    weights : array (p,)
        The weight of the squared difference of each standardised feature, fitted to all samples.
    each : DataFrame (folds, 3)
        value, unweighted and penalty of each fold.
    n : int
        The number of samples.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> rdm = rs.RDM(rs.measures.first_order(x[:, :2], "euclidean"))
    >>> found = rs.inference.reweighted_rsa(x, rdm)
    >>> found.weights.argsort()[-2:].tolist(), found.value > found.unweighted
    ([0, 1], True)
    """

    value: float
    unweighted: float
    weights: np.ndarray
    each: pd.DataFrame
    n: int

    def _facts(self) -> list[str]:
        used = int((self.weights > 0).sum())
        return [
            f"without weights {self.unweighted:.3f}",
            f"held out in {len(self.each)} folds, n = {self.n}",
            f"{used} of {len(self.weights)} features used",
        ]

    def __repr__(self) -> str:
        """Return the value, that without weights, and the numbers of folds, samples and features as text."""
        return f"Reweighted({self.value:.4g}: {', '.join(self._facts())})"

    def _repr_html_(self) -> str:
        facts = self._facts()
        return summarize(
            "Reweighted", f"{self.value:.3f}", facts, table=self.each.round(3), page="inference.Reweighted"
        )


def reweighted_rsa(x: Any, rdm: RDM, *, second: str = "spearman", folds: int = 5, seed: int = 0) -> Reweighted:
    """Predict an RDM from weighted features, and test the prediction on samples that were not fitted.

    It answers: does a model have the dimensions that people or brains use, although it weighs them differently?
    Ordinary RSA gives every feature the weight of its variance.

    Parameters
    ----------
    x : array (n, ...)
        The features of n samples.
    rdm : RDM
        The dissimilarities of the same samples.
    second : {"spearman", "pearson"}
        The correlation of predicted and given dissimilarities.
    folds : int
        The number of groups of samples. Each is tested once, with weights that were fitted to the others. At least 4
        samples must be in each, and at least 8 in the others, which are divided again to choose the penalty.
    seed : int
        The seed of the order in which samples are put into folds.

    Returns
    -------
    Reweighted
        `value` is held out, and so is `unweighted`, the value of the same pairs without weights.

    Raises
    ------
    TypeError
        If `rdm` is no RDM.
    ValueError
        For too few samples in a fold, if samples or ids differ, and for rows in groups or copies of samples: a row is
        not held out if others of its group are fitted.
    UndefinedError
        If x or the RDM is constant, also within a fold, if pairs are missing, or if no feature has a weight above 0 in
        a fold, as can happen with features that are unrelated to the RDM.

    Notes
    -----
    The predicted dissimilarity of samples i and j is Σ_k w_k (z_ik - z_jk)², with z the features divided by their
    standard deviation among the fitted samples. The weights are not negative and minimise Σ (d_ij - prediction - c)² +
    λ Σ w_k², over pairs of fitted samples. The penalty λ is chosen among six by the same procedure within the fitted
    samples. Only pairs of which both samples are new are tested: a pair with one fitted sample is no independent test.

    Sums over pairs are computed from sums over samples, so the cost grows with n p² and n² p, and not with n² p².

    References
    ----------
    Kaniuth, Hebart 2022, "Feature-reweighted representational similarity analysis", NeuroImage.
    Jozwik, Kriegeskorte, Storrs, Mur 2017, Frontiers in Psychology.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 8))
    >>> rdm = rs.RDM(rs.measures.first_order(x * [3, 2, 1, 0, 0, 0, 0, 0], "euclidean") ** 2, squared=True)
    >>> found = rs.inference.reweighted_rsa(x, rdm)
    >>> round(found.value, 2), round(found.unweighted, 2)
    (1.0, 0.29)
    """
    if not isinstance(rdm, RDM):
        raise TypeError(f"reweighted_rsa predicts an RDM, rs.RDM(values); got {type(rdm).__name__}.")
    check_choice(second, "second of reweighted_rsa", ("spearman", "pearson"))
    check_sides({"x": {"x": x}, "rdm": {"rdm": rdm}})
    with add_context("reweighted_rsa, of 'x'"):
        features = to_numpy(check_representation(x, double=True))
    with add_context("reweighted_rsa, of 'rdm'"):
        rdm.check_complete()
        if not np.ptp(rdm.vector()):
            raise UndefinedError("all pairs of samples are equally alike")
    check_independent((x, rdm), "reweighted_rsa")
    n = len(features)
    if n != len(rdm):
        raise ValueError(f"reweighted_rsa needs the same samples on both sides; x has {n} and the RDM {len(rdm)}.")
    check_integer(folds, "folds", minimum=2, hint="5 for fits to four fifths of the samples")
    if n < 3 * FEWEST:
        raise ValueError(f"reweighted_rsa needs at least {3 * FEWEST} samples, for folds=3; got {n}.")
    if n < FEWEST * folds:
        raise ValueError(
            f"each fold needs at least {FEWEST} samples; {n} samples are too few for {folds} folds. Use at most"
            f" folds={n // FEWEST}."
        )
    if n // 2 < 2 * FEWEST and folds == 2:  # the fitted half is divided again, to choose the penalty
        raise ValueError(f"2 folds need at least {4 * FEWEST} samples; got {n}. Use folds=3.")
    _refuse_copies(features, rdm)
    measure, given = RSA(first="euclidean", second=second), rdm.values.astype(float)  # type: ignore[arg-type]
    features = features / max(float(np.abs(features).max()), np.finfo(float).tiny)
    rng, rows = generator_of(seed), []
    for tested in np.array_split(rng.permutation(n), folds):
        fitted = np.setdiff1d(np.arange(n), tested)
        penalty = _choose_penalty(features[fitted], given[np.ix_(fitted, fitted)], folds, rng)
        weights, scale = _fit(features[fitted], given[np.ix_(fitted, fitted)], [penalty])
        if not weights[0].any():
            raise UndefinedError(
                "reweighted_rsa: no feature has a weight above 0 in one of the folds, so that all predicted"
                " dissimilarities are equal and have no correlation. The features do not predict this RDM; `rsa`"
                " gives the value without weights"
            )
        some = rdm[tested]
        with add_context("reweighted_rsa, of a fold"):
            rows.append(
                (
                    measure(_squared_distances(features[tested] / scale * np.sqrt(weights[0])), some),
                    measure(_squared_distances(features[tested]), some),
                    penalty,
                )
            )
    each = pd.DataFrame(rows, columns=["value", "unweighted", "penalty"]).rename_axis("fold")
    penalty = float(np.exp(np.log(each["penalty"]).mean()))
    weights = _fit(features, given, [penalty])[0]
    return Reweighted(float(each["value"].mean()), float(each["unweighted"].mean()), weights[0], each, n)


def _refuse_copies(x: np.ndarray, rdm: RDM) -> None:
    """Raise ValueError if samples are equal on both sides: unrelated features then predicted up to .4."""
    _, kind = np.unique(x, axis=0, return_inverse=True)
    kind = kind.reshape(-1)
    equal = (kind[:, None] == kind) & (np.abs(rdm.values) <= SMALL * np.abs(rdm.values).max())
    copies = np.triu(equal, 1).any(axis=0)
    if copies.any():
        raise ValueError(
            f"reweighted_rsa tests samples that were not fitted, but {int(copies.sum())} of {len(x)} samples are copies"
            f" of others on both sides, the first in row {int(copies.argmax())}. Keep one of each: x[rows], rdm[rows]."
        )


def _squared_distances(x: np.ndarray) -> RDM:
    """Return the squared Euclidean distances of samples as an RDM."""
    return RDM(cdist(x, x, "sqeuclidean"), squared=True)


def _choose_penalty(x: np.ndarray, d: np.ndarray, folds: int, rng: np.random.Generator) -> float:
    """Return the penalty with the highest mean correlation in folds of these samples."""
    n = len(x)
    scores = np.zeros(len(PENALTIES))
    for tested in np.array_split(rng.permutation(n), min(folds, n // FEWEST)):
        fitted = np.setdiff1d(np.arange(n), tested)
        weights, scale = _fit(x[fitted], d[np.ix_(fitted, fitted)], PENALTIES, close=_ROUGH)
        first, second = np.triu_indices(len(tested), 1)
        z = x[tested] / scale
        predictors, given = (z[first] - z[second]) ** 2, d[np.ix_(tested, tested)][first, second]
        for k, one in enumerate(weights):
            predicted = predictors @ one
            if np.ptp(predicted) > 0 and np.ptp(given) > 0:
                scores[k] += np.corrcoef(predicted, given)[0, 1]
    return PENALTIES[int(scores.argmax())]


def _fit(
    x: np.ndarray, d: np.ndarray, penalties: Sequence[float], *, close: float = _CLOSE
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the weights (p,) for each penalty, and what features were divided by; constant ones have no weight."""
    n, z = len(x), x - x.mean(axis=0)
    spread = z.std(axis=0)
    moving = spread > 1e-12 * np.abs(x).max()
    if not moving.any():
        raise UndefinedError("reweighted_rsa: all features are constant among the fitted samples")
    scale = np.where(moving, spread, np.inf)
    z = z / scale
    # sums over pairs i < j of the products of squared differences, from sums over samples
    squares, pairs = z * z, n * (n - 1) / 2
    sizes, inner = squares.sum(axis=0), z.T @ z
    means = n * sizes / pairs
    products = n * (squares.T @ squares) + np.outer(sizes, sizes) + 2 * inner**2 - pairs * np.outer(means, means)
    off = d - d.sum() / (n * (n - 1))
    np.fill_diagonal(off, 0)
    toward = squares.T @ off.sum(axis=1) - np.einsum("ik,ik->k", z, off @ z)
    unit = float(products.diagonal()[moving].mean())
    found, weights, largest = {}, np.zeros(z.shape[1]), float(np.linalg.eigvalsh(products)[-1])
    for penalty in sorted(penalties, reverse=True):  # from the smoothest, which is the start of the next
        ridge = penalty * unit
        weights = non_negative(products, toward, weights, ridge=ridge, step=1 / (largest + ridge), close=close)
        found[penalty] = np.where(moving, weights, 0.0)
    return [found[penalty] for penalty in penalties], scale


def non_negative(
    products: np.ndarray, toward: np.ndarray, start: np.ndarray, *, ridge: float, step: float, close: float = _CLOSE
) -> np.ndarray:
    """Return the w >= 0 that minimises w' (products + ridge) w / 2 - toward' w, by accelerated projected gradients.

    Acceleration starts again whenever a step points uphill. step: at most 1 / the largest eigenvalue.
    """
    weights, ahead, momentum = start, start, 1.0
    for _ in range(_ROUNDS):
        new = np.maximum(ahead - step * (products @ ahead + ridge * ahead - toward), 0)
        gap = new - weights
        if (ahead - new) @ gap > 0:
            ahead, momentum = new, 1.0
        else:
            grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead, momentum = new + (momentum - 1) / grown * gap, grown
        weights = new
        if np.abs(gap).max() <= close * new.max(initial=1e-300):
            break
    return weights
