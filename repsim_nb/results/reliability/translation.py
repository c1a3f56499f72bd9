"""The effect of a translation of some samples: on linear CKA in closed form, on other measures by their values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from repsim_nb import measures
from repsim_nb.measures import REPRESENTATIONAL, Measure
from repsim_nb.measures.tables import round_into_range
from repsim_nb.results.inference import chance_values
from repsim_nb.support.containers import Array, to_array
from repsim_nb.support.errors import UndefinedError, show_value
from repsim_nb.support.ids import check_order
from repsim_nb.support.progress import Tick, show_progress, track
from repsim_nb.support.validation import check_representation, to_numpy

# below this fraction of the largest possible size, the norm of a moved copy is mostly a difference of larger numbers
FAINT = 1e-6
# in units of the root mean squared distance of a sample from the mean
DISTANCES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
PERMUTATIONS = 5  # whose mean is the chance level


def translate(x: Array, subset: Any, direction: ArrayLike | None = None, distance: float = 1.0) -> np.ndarray:
    """Return a copy in which a subset of the samples is moved along a direction.

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    subset : mask (n,)
        True for each sample that is moved, such as `targets == 3`, or `np.arange(n) == 7` for one sample.
    direction : array (p,) or of the shape of a sample, optional
        The direction, of any length. By default from the mean of the other samples to the mean of the subset, so that
        the subset moves away from the others.
    distance : float
        How far, in the units of x. Negative numbers move the subset the other way.

    Returns
    -------
    array (n, ...)
        In the shape of x, as a NumPy array in float64, since float32 loses small differences far from zero.

    Raises
    ------
    ValueError
        If `subset` is no mask with samples on both sides, if `direction` does not fit or is zero, or if it is not given
        and both means are equal.

    See Also
    --------
    separating_direction : A direction that keeps a linear separator and its margin.
    translated_cka : Linear CKA of x and such a copy, without the copy.

    Examples
    --------
    >>> x = np.array([[3.0, 0.0], [-1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> moved = translate(x, [True, False, False, False], distance=10)
    >>> moved[0].tolist(), bool((moved[1:] == x[1:]).all())
    ([13.0, 0.0], True)
    """
    flat, mask = check_both(x, subset)
    unit = _unit_direction(flat, mask, direction)
    try:
        step = math.nan if isinstance(distance, (str, bool)) else float(distance)
    except (TypeError, ValueError, OverflowError):
        step = math.nan
    if not math.isfinite(step):
        raise ValueError(
            f"distance must be a finite number; got {show_value(distance)}. For the limit use translation_limit."
        )
    return (flat + step * np.outer(mask, unit)).reshape(np.shape(to_array(x)))


def translation_limit(x: Array, subset: Any) -> float:
    """Return the linear CKA of a representation and a copy in which a subset is moved infinitely far.

    It answers: how low can CKA become if a subset of the samples is translated, although a classifier could still
    separate them?

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    subset : mask (n,)
        True for each sample that is moved, all by the same vector. The result does not depend on its direction, and is
        the same if the other samples are moved.

    Returns
    -------
    float
        The limit of CKA, between 0 and 1. It is 0 if the subset has the same mean as the others.

    Raises
    ------
    ValueError
        If no sample is moved or all are, or if `subset` is no mask of n values, such as indices of rows.
    UndefinedError
        If x has a NaN, an infinity, or samples that are all the same.

    Notes
    -----
    The limit is ρ / (1 - ρ) · ‖mean of the subset‖² / mean ‖x‖² · √(participation ratio), with x centred and ρ the
    fraction of samples that are moved (theorem 1 of [1]_). On the way to the limit CKA may rise and fall.

    References
    ----------
    .. [1] M. Davari, S. Horoi, A. Natik, G. Lajoie, G. Wolf, E. Belilovsky 2023, Reliability of CKA as a similarity
       measure in deep learning, ICLR.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [3.0, 2.0], [4.0, 4.0]])
    >>> round(translation_limit(x, [False, False, True, True]), 3)
    0.874
    """
    flat, mask = check_both(x, subset)
    return _Moved(flat, mask, np.eye(1, flat.shape[1])[0]).cka(np.inf)


def translated_cka(
    x: Array, subset: Any, direction: ArrayLike | None = None, distance: ArrayLike = 1.0
) -> float | np.ndarray:
    """Return the linear CKA of a representation and a copy in which a subset is moved, for any distance.

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    subset : mask (n,)
        True for each sample that is moved.
    direction : array (p,) or of the shape of a sample, optional
        The direction, of any length. By default from the mean of the other samples to the mean of the subset.
    distance : float or array of float
        How far, in the units of x; `np.inf` gives the limit.

    Returns
    -------
    float or array
        CKA, in the shape of `distance`. It is exact at all distances: the copy is never formed.

    Raises
    ------
    ValueError
        As for `translate`, and if a distance is NaN.
    UndefinedError
        If x has a NaN, an infinity, or samples that are all the same, or if the moved copy is constant.

    Notes
    -----
    With x centred, h the centred indicator of the subset, u the direction and c the distance, the copy is x + c h uᵀ.
    So both inner products of Gram matrices in CKA are polynomials in c, of degrees 2 and 4. They are computed from
    xᵀh and xu, in O(n p) after one product of x with itself.

    Examples
    --------
    >>> x = np.array([[3.0, 0.0], [-1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> first = [True, False, False, False]
    >>> translated_cka(x, first, (0, 1), [0, 1, 2, np.inf]).round(4)
    array([1.    , 0.9911, 0.9743, 0.9864])
    >>> round(translation_limit(x, first), 4)
    0.9864
    """
    flat, mask = check_both(x, subset)
    moved = _Moved(flat, mask, _unit_direction(flat, mask, direction))
    distances = np.asarray(distance, dtype=float)
    if np.isnan(distances).any():
        raise ValueError("distance must be a number, an array of numbers or np.inf; got NaN.")
    values = np.array([moved.cka(c) for c in distances.ravel().tolist()]).reshape(distances.shape)
    return values if distances.ndim else float(values)


def check_subset(subset: Any, x: Array, n: int) -> np.ndarray:
    """Return a mask of n samples, some of which are in it and some not, or raise ValueError."""
    check_order(x, subset)
    mask = to_numpy(subset) if hasattr(subset, "detach") else np.asarray(subset)
    if not np.isin(mask, (False, True)).all():
        raise ValueError(
            f"subset must be True or False for each of {n} samples; got other values. For indices of rows, use"
            " np.isin(np.arange(n), indices)."
        )
    mask = mask.astype(bool)
    if mask.shape != (n,) or not 0 < mask.sum() < n:
        raise ValueError(
            f"subset must have one value a sample, {n} in all, some True and some False; got the shape"
            f" {mask.shape} with {int(mask.sum())} True."
        )
    return mask


def check_both(x: Array, subset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the representation (n, p) in float64, and the mask."""
    flat = to_numpy(check_representation(x, min_samples=2, double=True))
    return flat, check_subset(subset, x, len(flat))


def _unit_direction(x: np.ndarray, mask: np.ndarray, direction: ArrayLike | None) -> np.ndarray:
    """Return the direction (p,) with the length 1."""
    if direction is None:
        unit = x[mask].mean(axis=0) - x[~mask].mean(axis=0)
        hint = "the subset and the other samples have the same mean, so that no direction leads away from them. Pass"
        hint += " direction="
    else:
        unit = np.asarray(to_numpy(to_array(direction)), dtype=float).ravel()
        hint = "direction must be finite and not zero"
    if unit.shape != x.shape[1:]:
        raise ValueError(f"direction must have one number for each of {x.shape[1]} features; got {unit.size}.")
    largest = np.abs(unit).max()
    smallest = 0 if direction is not None else 8 * np.finfo(float).eps * np.abs(x).max()
    if not smallest < largest < np.inf:
        raise ValueError(f"{hint}.")
    unit = unit / largest
    return unit / np.linalg.norm(unit)


class _Moved:
    """Linear CKA of x and of x with some samples moved by c along u, for any c."""

    def __init__(self, x: np.ndarray, mask: np.ndarray, unit: np.ndarray) -> None:
        self.given, self.mask, self.unit = x, mask, unit
        x = x - x.mean(axis=0)
        largest = np.abs(x).max()
        x = x / largest
        products = x @ x.T if x.shape[1] > len(x) else x.T @ x
        norm = np.vdot(products, products) ** 0.25  # x divided by it has a Gram matrix of norm 1
        x, self.scale = x / norm, largest * norm
        h = mask - mask.mean()
        a, b = x @ unit, x.T @ h
        self.hh, self.bb, self.aa = h @ h, b @ b, a @ a
        self.ah, self.hka = b @ unit, a @ (x @ b)

    def cka(self, distance: float) -> float:
        """Return the value at a distance, in the units of the given x."""
        # as homogeneous polynomials in (q, s), with c = s / q, nothing overflows, and the limit is at (0, 1)
        c = distance / self.scale
        q, s = (0.0, np.sign(c)) if np.isinf(c) else (1 / (1 + abs(c)), c / (1 + abs(c)))
        both = q**2 + 2 * q * s * self.hka + s**2 * self.bb
        own = q**4 + 4 * q**3 * s * self.hka + 4 * q * s**3 * self.ah * self.hh + s**4 * self.hh**2
        own += 2 * q**2 * s**2 * (self.bb + self.aa * self.hh + self.ah**2)
        if own < FAINT * (q + abs(s) * np.sqrt(self.hh)) ** 4:
            return measures.CKA()(self.given, self.given + distance * np.outer(self.mask, self.unit))
        return float(round_into_range(np.asarray(both / np.sqrt(own)), 0.0, 1.0))


def translation_curves(
    x: Array,
    subset: Any,
    direction: ArrayLike | None = None,
    distances: Iterable[float] | None = None,
    *,
    use: Iterable[str | Measure] = tuple(REPRESENTATIONAL),
    relative: bool = False,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Return the values of measures for a representation and copies in which a subset is moved ever further.

    It answers: which measures see a translation that changes nothing for a linear classifier (with the direction of
    `separating_direction`), and which do not?

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    subset : mask (n,)
        True for each sample that is moved.
    direction : array (p,) or of the shape of a sample, optional
        The direction, of any length. By default from the mean of the other samples to the mean of the subset.
    distances : sequence of float, optional
        How far, in the units of x. By default 0 to 100 times the root mean squared distance of a sample from the mean.
    use : sequence of str or Measure
        The measures: names or configured ones, by default all of representations.
    relative : bool
        Return values on one scale for all measures: 1 is the value of x with itself, 0 the chance level (x with its
        samples permuted). A measure that does not see the translation stays at 1.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    DataFrame (distances, measures)
        The index "distance" and a column for each measure; NaN where a measure is undefined, such as CCA with as many
        features as samples. `rs.plots.curves` draws it.

    Raises
    ------
    ValueError
        As for `translate`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 4))
    >>> first = np.arange(200) < 60
    >>> found = translation_curves(x, first, (1, 0, 0, 0), [0, 1000], use=["cka", "mean_cca", "mutual_knn"])
    >>> found.loc[1000].round(2).to_dict()
    {'cka': 0.0, 'mean_cca': 0.76, 'mutual_knn': 0.55}
    """
    flat, mask = check_both(x, subset)
    if distances is None:
        distances = np.sqrt(flat.var(axis=0).sum()) * np.array(DISTANCES)
    steps = [float(c) for c in distances]
    moved = {c: translate(flat, mask, direction, c) for c in steps}
    chosen = [measures.get(one) for one in use]
    columns = {}
    with show_progress(progress, "translated samples", "measure") as tick:
        for measure in track(chosen, tick):
            values = measure.table({"x": flat}, moved, on_undefined="mask").values[0]
            columns[measures.short_name(measure)] = _relative(measure, values, flat) if relative else values
    return pd.DataFrame(columns, index=pd.Index(steps, name="distance"))


def _relative(measure: Measure, values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return values with 0 at the chance level and 1 at the value of x with itself; NaN if these are equal."""
    try:
        itself = measure(x, x)
        chance = float(chance_values(measure, {"x": x}, n_pairs=PERMUTATIONS).mean())
    except UndefinedError:
        return np.full_like(values, np.nan)
    return (values - chance) / (itself - chance) if itself != chance else np.full_like(values, np.nan)
