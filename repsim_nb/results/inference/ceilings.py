"""Noise ceilings: the value that the true model would reach, given how much repeats of the same measurement agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.results.comparison import compare
from repsim_nb.support.errors import UndefinedError, as_clause
from repsim_nb.support.rdms import RDM
from repsim_nb.support.summaries import summarize


@dataclass(frozen=True, eq=False, repr=False)
class NoiseCeiling:
    """The bounds between which the true model would lie; `noise_ceiling` computes them.

    `value in ceiling` is whether a value is between the two.

    Attributes
    ----------
    lower, upper : float
        The mean value of each repeat with the mean of the others, and with the mean of all.
    each : DataFrame (repeats, 2)
        The same for each repeat, in the columns lower and upper.
    measure : str
        The name of the measure.
    n : int
        The number of samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random(190)
    >>> people = {name: rs.RDM(truth + 0.3 * rng.random(190)) for name in "abcd"}
    >>> ceiling = rs.inference.noise_ceiling("rsa", people)
    >>> rs.measures.get("rsa")(rs.RDM(truth), people["a"]) > ceiling.lower
    True
    """

    lower: float
    upper: float
    each: pd.DataFrame
    measure: str
    n: int

    def __contains__(self, value: float) -> bool:
        """Return whether a value is between the two bounds."""
        return self.lower <= value <= self.upper

    def __repr__(self) -> str:
        """Return the bounds, the measure and the numbers of repeats and samples as text."""
        about = f"{self.measure}, {len(self.each)} repeats, n={self.n}"
        return f"NoiseCeiling(lower={self.lower:.4g}, upper={self.upper:.4g}: {about})"

    def _repr_html_(self) -> str:
        return summarize(
            "NoiseCeiling",
            f"{self.lower:.3f} to {self.upper:.3f}",
            [self.measure, f"{len(self.each)} repeats", f"n = {self.n}"],
            table=self.each.round(3),
            page="inference.NoiseCeiling",
        )


def noise_ceiling(measure: str | Measure, repeats: Mapping[Any, Any]) -> NoiseCeiling:
    """Return the noise ceiling of a measure: how well the true model could predict single repeats.

    Repeats are the same samples measured several times: in several people, sessions, or halves of the trials. They
    differ by noise and by what is individual, so no model has the value 1 with all of them.

    Parameters
    ----------
    measure : str or Measure
        A cosine of two matrices of samples: RSA (second order "spearman", "pearson" or "cosine"), CKA (not in batches)
        or distance correlation (not its root).
    repeats : {label: array (n, ...) or RDM}
        Two or more repeats of the same n samples. Features may differ, as the voxels of several people do.

    Returns
    -------
    NoiseCeiling
        `lower` and `upper`, and both for each repeat.

    Raises
    ------
    NotImplementedError
        For a measure that is not a cosine of two matrices of samples.
    ValueError
        For fewer than two repeats, and as `compare`.
    UndefinedError
        If a repeat has no value, or pairs of samples are missing.

    Notes
    -----
    Each repeat gives a matrix of samples in the standard form of the measure, of length 1: for RSA the centred ranks or
    values of all pairs, for CKA the centred similarities. The mean of such matrices is compared with each repeat by
    the measure itself. Lower: repeat i with the mean of the others; the truth is closer to repeat i than that, since
    this mean has noise, too. Upper: repeat i with the mean of all, which no matrix exceeds on average; it is too high,
    since repeat i is part of the mean. Few repeats leave a wide gap.

    With C the table of values between repeats, they are Σ_j c_ij / sqrt(Σ_jk c_jk), over j, k other than i, and over
    all. The ranks of a mean of ranks are not ranked again: that would lower both by about .005.

    The ceiling is on the scale of the measure. It is not squared, and not a reliability (the value between two halves
    of the trials), from which it cannot be computed for other measures than correlations.

    References
    ----------
    Nili, Wingfield, Walther, Su, Marslen-Wilson, Kriegeskorte 2014, "A toolbox for representational similarity
    analysis", PLoS Computational Biology.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=(50, 10))
    >>> people = {name: truth + rng.normal(size=(50, 10)) for name in "abcde"}
    >>> rs.inference.noise_ceiling("cka", people)
    NoiseCeiling(lower=0.5111, upper=0.7051: cka, 5 repeats, n=50)
    """
    measure = with_mean(measure)
    check_repeats(repeats)
    table = compare(measure, repeats)
    cosines = table.values.to_numpy(float)
    lower, upper = bounds(cosines)
    if not np.isfinite(lower).all():
        raise UndefinedError(
            f"noise_ceiling of {measures.short_name(measure)}: the mean of the other repeats has nothing left, since"
            " they point in opposite directions"
        )
    each = pd.DataFrame({"lower": lower, "upper": upper}, index=pd.Index(table.labels()[0], name="repeat"))
    return NoiseCeiling(float(lower.mean()), float(upper.mean()), each, measures.short_name(measure), table.n)


def with_mean(measure: str | Measure) -> Measure:
    """Return a measure for which the mean of several representations is defined; NotImplementedError otherwise."""
    measure = measures.get(measure)
    try:
        measure.check_gram_matrix()
    except NotImplementedError as error:
        raise NotImplementedError(
            f"a noise ceiling needs the mean of several repeats: {as_clause(error)}. Use 'rsa', 'cka_debiased' or"
            " 'distance_correlation'"
        ) from None
    return measure


def check_repeats(repeats: Mapping[Any, Any]) -> None:
    """Check that there are two repeats or more, without missing pairs."""
    if not isinstance(repeats, Mapping):
        raise TypeError(f"repeats must be named, {{'person 1': x, 'person 2': y}}; got {type(repeats).__name__}.")
    if len(repeats) < 2:
        raise ValueError(f"a noise ceiling needs at least 2 repeats of the same samples; got {len(repeats)}.")
    for label in repeats:
        if isinstance(repeats[label], RDM):
            repeats[label].check_complete()


def bounds(cosines: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bound of each repeat (repeats,), from their table of values.

    counts: how often each repeat was drawn; copies of a repeat are left out of the mean of the others.
    """
    number = len(cosines)
    drawn = np.ones(number) if counts is None else counts.astype(float)
    others = np.where(np.eye(number, dtype=bool), 0.0, drawn)  # row i: the weights of the others of repeat i
    with np.errstate(invalid="ignore", divide="ignore"):
        lower = (others * cosines).sum(axis=1) / np.sqrt(np.einsum("ij,jk,ik->i", others, cosines, others))
        upper = cosines @ drawn / np.sqrt(drawn @ cosines @ drawn)
    return lower, upper
