"""The noise of functionality: how reliable accuracies are, and the highest ρ that they allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.results.inference.partial_correlation import standardize_ranks
from repsim_nb.support.errors import check_name, join_names
from repsim_nb.support.seeds import generator_of
from repsim_nb.support.validation import check_integer, is_number

from .item_values import gaps_between, read_item_values
from .pair_sets import Ends

SIMULATED = 200  # draws of the errors of F, for the ceiling


def binomial_sd(
    accuracy: pd.Series | Mapping[Any, float] | Sequence[float] | float, images: int
) -> pd.Series | np.ndarray | float:
    """Return the standard deviation of an accuracy because its test images are a sample: sqrt(a (1 - a) / images).

    Parameters
    ----------
    accuracy : float, sequence, mapping or Series
        Fractions from 0 to 1.
    images : int
        The number of test images.

    Returns
    -------
    float, array or Series
        As `accuracy`: an array for a sequence, a Series for a mapping.

    Raises
    ------
    ValueError
        For an accuracy that is undefined or outside 0 to 1, and if `images` is not an integer >= 1.

    Notes
    -----
    If all models are tested on the same images, this is an upper bound of the error of a difference; use `paired_sd`
    then.

    Examples
    --------
    >>> round(binomial_sd(0.9, 1000), 4)
    0.0095
    """
    check_integer(images, "images", minimum=1, hint="the number of test images")
    series = pd.Series(accuracy, dtype=float)
    if not series.between(0, 1).all():
        bad = series[~series.between(0, 1)].iloc[0]
        raise ValueError(f"accuracy must be a fraction from 0 to 1; got {bad:.4g}. Divide percentages by 100.")
    found = np.sqrt(series * (1 - series) / images)
    if isinstance(accuracy, (pd.Series, Mapping)):
        return found
    return found.to_numpy() if np.ndim(accuracy) else float(found.iloc[0])


def paired_sd(correct: Any) -> float:
    """Return the standard deviation of the error of accuracies that were measured on the same images.

    Parameters
    ----------
    correct : array or DataFrame (models, images)
        1 or True for the images that a model classifies correctly, else 0.

    Returns
    -------
    float
        sqrt(m / images), with m the mean square of the residuals without the means of models and of images.

    Raises
    ------
    ValueError
        For fewer than two models or images, more models than images, and values other than 0 and 1.

    Notes
    -----
    Images that are difficult for all models change all accuracies together. That is no error of a difference between
    models, but `binomial_sd` counts it. The reliability computed from this value is that of Hoyt [1]_.

    References
    ----------
    .. [1] Hoyt 1941, Test reliability estimated by analysis of variance, Psychometrika.

    Examples
    --------
    >>> round(paired_sd([[1, 1, 0, 0], [1, 1, 0, 1], [1, 0, 0, 1]]), 3)
    0.22
    """
    values = np.asarray(correct, dtype=float)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(
            f"correct must be a table of two or more models by two or more images; its shape is {values.shape}."
        )
    if not np.isin(values, (0, 1)).all():
        raise ValueError("correct must be 1 for an image that a model classifies correctly, else 0; got other numbers.")
    left = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    models, images = values.shape
    if models > images:
        raise ValueError(
            f"correct needs one row for each model and one column for each image; it has {models} rows and {images}"
            " columns. Use correct.T if it is transposed."
        )
    return float(np.sqrt((left**2).sum() / ((models - 1) * (images - 1)) / images))


def accuracy_reliability(
    functionality: pd.Series, noise: float | pd.Series, *, model: str = "model", by: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """Fraction of the variance of functionality between models that is not chance of the test images.

    Parameters
    ----------
    functionality : Series
        F by the fields of its items, `model` among them, or by model alone.
    noise : float or Series
        The standard deviation of the error of each F, such as ``paired_sd(correct)``, or ``binomial_sd(functionality,
        1000)`` if each model has images of its own.
    model : str
        The field that names the model.
    by : str or sequence of str, optional
        Models are compared within the values of these fields. By default all other fields that vary; if all items of a
        model have the same F, there is one row.

    Returns
    -------
    DataFrame
        One row for each value of `by`. Columns: models (their number); min, mean, max, sd of F over models; noise (root
        mean square); reliability = 1 - noise² / sd².

    Raises
    ------
    TypeError
        If `functionality` is not a Series.
    ValueError
        For a missing field, a model with several F in one row, and other items in `noise` than in `functionality`.

    Notes
    -----
    The reliability is the fraction of the variance between models that another test set of the same size would show
    again. It is negative if models differ by less than chance alone gives; then nothing that correlates with F is about
    models.

    References
    ----------
    Spearman 1904, The proof and measurement of association between two things, American Journal of Psychology.

    Examples
    --------
    >>> F = pd.Series([0.80, 0.85, 0.90], index=pd.Index(["a", "b", "c"], name="model"))
    >>> accuracy_reliability(F, binomial_sd(F, 1000)).round(3).loc["all", ["sd", "noise", "reliability"]].to_dict()
    {'sd': 0.05, 'noise': 0.011, 'reliability': 0.95}
    """
    if not isinstance(functionality, pd.Series):
        raise TypeError(
            f"functionality must be a Series by the fields of its items; got {type(functionality).__name__}. For"
            f" {{model: F}} use pd.Series(F).rename_axis('{model}')."
        )
    series = functionality.rename("F")
    if model not in series.index.names:
        raise ValueError(
            f"functionality has no field '{model}' that names the model; its fields are"
            f" {join_names(series.index.names)}."
        )
    if not pd.api.types.is_numeric_dtype(series) or not np.isfinite(series.to_numpy(float, na_value=np.nan)).all():
        raise ValueError(
            "functionality needs a number for every item; some are undefined (NaN), infinite or no numbers. Leave those"
            " items out."
        )
    noises = noise_of(noise, series.index)
    frame = series.reset_index().assign(squared=noises**2)
    others = [name for name in series.index.names if name != model]
    if by is None:
        fields = [name for name in others if frame[name].nunique() > 1]
        per_model = frame.groupby(model)["F"]
        if fields and (per_model.nunique() == 1).all() and (per_model.size() > 1).all():
            fields, frame = [], frame.drop_duplicates(model)
    else:
        fields = [by] if isinstance(by, str) else list(by)
        for name in fields:
            check_name("field for by", name, others)
    several = frame[frame.duplicated([model, *fields])]
    if len(several):
        raise ValueError(
            f"each model needs one F in a row of the result; {several.iloc[0][model]} has"
            f" several{f' for one {join_names(fields)}' if fields else ''}. Name more fields in by= (there are"
            f" {join_names(others) or 'none'}), or average them first."
        )
    groups = frame.groupby(fields, sort=False) if fields else frame.assign(all="all").groupby("all")
    if len(alone := groups["F"].count().loc[lambda many: many < 2]) or not len(series):
        raise ValueError(
            "reliability needs two or more models; there are fewer than"
            f" two{f' for {join_names(alone.index, 3)}' if fields else ''}."
        )
    table = groups["F"].agg(models="count", min="min", mean="mean", max="max", sd="std")
    table = table.assign(noise=np.sqrt(groups["squared"].mean()))
    return table.assign(
        reliability=[
            1 - (row.noise / row.sd) ** 2 if row.sd > 0 else float("-inf") if row.noise > 0 else 1.0
            for row in table.itertuples()
        ]
    )


def noise_of(noise: float | pd.Series | Mapping[Any, float], index: pd.Index) -> np.ndarray:
    """Return the standard deviation of the error of F of each item."""
    if isinstance(noise, (int, float, np.number)) and is_number(noise):
        values = np.full(len(index), float(noise))
    elif isinstance(noise, pd.Series) and noise.index.equals(index):
        values = noise.to_numpy(float)
    else:
        values = read_item_values(list(index), index, noise, "noise")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(
            "noise must be the standard deviation of the error of F, a number >= 0 for every item, such as"
            " grounding.binomial_sd(functionality, images)."
        )
    return values


@dataclass(frozen=True, eq=False)
class TrueFunctionality:
    """F without its chance, as far as it can be estimated, and what errors of F do to pairs of items.

    values: of each item.  noise: the standard deviations of the errors.  ends: the items of each pair.  reliability:
    the fraction of the variance of F between models, within a layer, that is not chance.
    """

    values: np.ndarray
    noise: np.ndarray
    ends: Ends
    reliability: float | None

    @classmethod
    def estimate(
        cls, f: np.ndarray, noise: np.ndarray, places: np.ndarray, ends: Ends, fitted: int = 1
    ) -> TrueFunctionality:
        """Estimate from F of each item.

        places: the layer (and step) of each item.  fitted: how many numbers were fitted to F within each layer, its
        mean included. Errors of what is held constant are not counted.
        """
        values, reliability = shrink(f, noise, places, fitted)
        return cls(values, noise, ends, reliability)

    def ceiling(self, sets: Mapping[Any, np.ndarray], seed: int) -> float:
        """Return the mean ρ over sets of the gaps of the true F with those of another test set of the same size."""
        one, other = self.ends
        true = gaps_between(self.values[one], self.values[other])
        seen = self.values + generator_of(seed).normal(size=(SIMULATED, len(self.values))) * self.noise
        found = 0.0
        for rows in sets.values():
            again = stats.rankdata(gaps_between(seen[:, one[rows]], seen[:, other[rows]]), axis=1)
            again -= again.mean(axis=1, keepdims=True)
            if np.ptp(true[rows]) > 0:  # otherwise no order of these pairs is true
                rho = again @ standardize_ranks(true[rows], "spearman") / np.sqrt((again**2).sum(axis=1))
                found += float(np.mean(rho)) / len(sets)
        return found


def shrink(f: np.ndarray, noise: np.ndarray, cells: np.ndarray, fitted: int = 1) -> tuple[np.ndarray, float | None]:
    """Return F without its chance, and the mean reliability of the cells (layer, step) that have several items.

    By a model of normal errors: within each cell values are moved towards their mean by the root of the reliability.
    fitted: how many numbers were fitted to F there, its mean included.
    """
    found, known = f.copy(), []
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        if len(rows) < 2 + fitted:
            continue
        variance = float(np.sum((f[rows] - f[rows].mean()) ** 2) / (len(rows) - fitted))
        error = float((noise[rows] ** 2).mean())
        estimate = 1 - error / variance if variance > 0 else float(error == 0)
        known.append(estimate)
        found[rows] = f[rows].mean() + np.sqrt(max(0.0, estimate)) * (f[rows] - f[rows].mean())
    return found, float(np.mean(known)) if known else None
