"""What models can do, as one number an item: how it is given, how reliable it is, and what that allows a measure to
see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.support.errors import format_label, join_names, unknown_name
from repsim_nb.support.labels import values_per_item
from repsim_nb.support.validation import check_integer, is_number

from .joint import standard_ranks

SIMULATED = 200  # draws of the errors of F, for the ceiling


def binomial_sd(
    accuracy: pd.Series | Mapping[Any, float] | Sequence[float] | float, images: int
) -> pd.Series | np.ndarray | float:
    """Standard deviation that an accuracy has because its test images are a sample: sqrt(a (1 - a) / images).

    Parameters
    ----------
    accuracy : Series, mapping, sequence or float
        Fractions from 0 to 1.
    images : int
        The number of test images.

    Returns
    -------
    Series, array or float
        As `accuracy`: a Series for a mapping, an array for a sequence.

    Raises
    ------
    ValueError
        For an accuracy outside 0 to 1, undefined ones too, and for images that are no integer >= 1.

    Notes
    -----
    If all models are tested on the same images, equal models differ by less, so this is an upper bound of the error
    of a difference: `paired_sd` is the one to take then.

    Examples
    --------
    >>> round(binomial_sd(0.9, 1000), 4)
    0.0095
    """
    check_integer(images, "images", minimum=1, hint="the number of test images")
    series = pd.Series(accuracy, dtype=float)
    if not series.between(0, 1).all():
        raise ValueError(f"an accuracy is a fraction from 0 to 1; got {series[~series.between(0, 1)].iloc[0]:.4g}")
    found = np.sqrt(series * (1 - series) / images)
    if isinstance(accuracy, (pd.Series, Mapping)):
        return found
    return found.to_numpy() if np.ndim(accuracy) else float(found.iloc[0])


def paired_sd(correct: Any) -> float:
    """Standard deviation of the error of accuracies that were measured on the same images.

    Parameters
    ----------
    correct : array or DataFrame (models, images)
        1 or True for the images that a model gets right, else 0.

    Returns
    -------
    float
        sqrt(m / images), m the mean square of what is left when the means of models and of images are taken out.
        `reliability` with it is that of Hoyt 1941.

    Raises
    ------
    ValueError
        For fewer than two models or images, and for anything else than 0 and 1.

    Notes
    -----
    Images that are difficult for all models move all accuracies together. That is no error of a difference between
    models, but `binomial_sd` counts it.

    References
    ----------
    Hoyt 1941, Test reliability estimated by analysis of variance.

    Examples
    --------
    >>> round(paired_sd([[1, 1, 0, 0], [1, 1, 0, 1], [1, 0, 0, 1]]), 3)
    0.22
    """
    values = np.asarray(correct, dtype=float)
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"correct is a table of two or more models by two or more images; its shape is {values.shape}")
    if not np.isin(values, (0, 1)).all():
        raise ValueError(
            "correct holds 1 for an image that a model gets right and 0 for another; it holds other numbers"
        )
    left = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    models, images = values.shape
    if models > images:
        raise ValueError(
            f"a row is a model and a column an image; here are {models} rows and {images} columns. Give correct.T"
            " if it is turned"
        )
    return float(np.sqrt((left**2).sum() / ((models - 1) * (images - 1)) / images))


def reliability(
    functionality: pd.Series, noise: float | pd.Series, *, model: str = "model", by: str | Iterable[str] | None = None
) -> pd.DataFrame:
    """How much of the spread of a functionality over models is not the chance of its test images.

    Parameters
    ----------
    functionality : Series
        F by the fields of its items, `model` among them, or by model alone.
    noise : float or Series
        Standard deviation of the error of each F, such as `paired_sd(correct)`, or `binomial_sd(functionality, 1000)`
        if each model has images of its own.
    model : str
        The field that names the model.
    by : field or fields, optional
        Models are compared within the values of these fields. By default all other fields that vary; if all items of
        a model have the same F there is one row.

    Returns
    -------
    DataFrame
        A row a value of `by`. Columns: models, min, mean, max, sd (over models), noise (root mean square),
        reliability = 1 - noise² / sd².

    Raises
    ------
    ValueError
        For a field that is not there, a model that has several F in one row, and for other items in `noise` than in
        `functionality`.

    Notes
    -----
    The reliability is the fraction of the variance between models that another test set of the same size would show
    again. It is negative if models differ by less than chance alone gives; then nothing that correlates with F can be
    about models.

    References
    ----------
    Spearman 1904.

    Examples
    --------
    >>> F = pd.Series([0.80, 0.85, 0.90], index=pd.Index(["a", "b", "c"], name="model"))
    >>> reliability(F, binomial_sd(F, 1000)).round(3).loc["all", ["sd", "noise", "reliability"]].to_dict()
    {'sd': 0.05, 'noise': 0.011, 'reliability': 0.95}
    """
    if not isinstance(functionality, pd.Series):
        raise TypeError(
            f"functionality is a Series by the fields of its items; got {type(functionality).__name__}. {{model: F}}:"
            f" pd.Series(F).rename_axis('{model}')"
        )
    series = functionality.rename("F")
    if model not in series.index.names:
        raise ValueError(
            f"functionality has no field '{model}' that names the model; its fields are {join_names(series.index.names)}"
        )
    if not pd.api.types.is_numeric_dtype(series) or not np.isfinite(series.to_numpy(float, na_value=np.nan)).all():
        raise ValueError(
            "functionality is a number for every item; some are undefined (NaN), infinite or no numbers: leave"
            " those out"
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
            if name not in others:
                raise unknown_name("field for by", name, others)
    several = frame[frame.duplicated([model, *fields])]
    if len(several):
        raise ValueError(
            f"each model has one F in a row of the result; {several.iloc[0][model]} has"
            f" several{f' for one {join_names(fields)}' if fields else ''}: name more fields in by= (there are"
            f" {join_names(others) or 'none'}), or average them first"
        )
    groups = frame.groupby(fields, sort=False) if fields else frame.assign(all="all").groupby("all")
    if len(alone := groups["F"].count().loc[lambda many: many < 2]) or not len(series):
        raise ValueError(
            "reliability is about differences between models, and there are fewer than"
            f" two{f' for {join_names(alone.index, 3)}' if fields else ''}"
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
    """The standard deviation of the error of F of each item."""
    if is_number(noise):
        values = np.full(len(index), float(noise))
    elif isinstance(noise, pd.Series) and noise.index.equals(index):
        values = noise.to_numpy(float)
    else:
        values = item_values(list(index), index, noise, "noise")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(
            "noise is the standard deviation of the error of F, a number >= 0 for every item, such as"
            " grounding.binomial_sd(functionality, images)"
        )
    return values


def functionality_of(labels: list[Any], index: pd.Index, given: Mapping[Any, float] | pd.Series) -> np.ndarray:
    """F of each item, which is not the same for all."""
    values = item_values(labels, index, given, "functionality")
    if np.ptp(values) == 0:
        raise ValueError(
            f"functionality is {values[0]:.4g} for all {len(values)} items: there is nothing for a measure to see"
        )
    return values


def item_values(labels: list[Any], index: pd.Index, given: Any, what: str) -> np.ndarray:
    """One number an item, from {label: value}, {model: value}, or a Series over fields that both have."""
    if isinstance(given, pd.Series) and given.index.nlevels > 1 and index.nlevels > 1:
        if given.index.nlevels == index.nlevels and not any(given.index.names):  # pd.Series({key: F})
            given = given.rename_axis(index.names)
        common = [name for name in index.names if name in given.index.names]
        if not common:
            raise ValueError(
                f"{what} is by {join_names(given.index.names)}, and labels have the fields {join_names(index.names)}: none is"
                " in both"
            )
        series, own = (
            given.droplevel([name for name in given.index.names if name not in common]),
            index.droplevel([name for name in index.names if name not in common]),
        )
        series = series.reorder_levels(common) if series.index.nlevels > 1 else series
        if series.index.has_duplicates:
            raise ValueError(
                f"{what} is one number an item; it has several for {series.index[series.index.duplicated()][0]}, by"
                f" {join_names(common)}"
            )
        missing = own[~own.isin(series.index)]
        if len(missing):
            raise ValueError(
                f"{what} has no value for {join_names(missing, 3)}; it has values for {join_names(series.index, 3)}"
            )
        values = series.loc[own].to_numpy()
    elif isinstance(given, Mapping) and all(label in given for label in labels):
        values = np.array([given[label] for label in labels])
    else:
        values = values_per_item(index, given, what).to_numpy()
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} is a number an item, such as an accuracy; something else is there ({error})"
        ) from error
    if not np.isfinite(values).all():
        bad = [labels[i] for i in np.flatnonzero(~np.isfinite(values))]
        raise ValueError(
            f"{what} is undefined (NaN) or infinite for {join_names(map(format_label, bad), 3)}: leave those items out"
        )
    return values


def gaps(f: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|F - F'|: accuracies are fractions of the same few samples, so gaps tie often, and the last digits of a
    difference would put them in an order.
    """
    scale = max(np.abs(f).max(), np.abs(other).max())
    return (
        np.round(np.abs(f - other) / scale, 12) * scale
        if scale
        else np.zeros(np.broadcast_shapes(f.shape, other.shape))
    )


def best_items(labels: list[Any], f: np.ndarray, layers: pd.Series, among: Iterable[Any] | None) -> dict[Any, int]:
    """For each layer the place of the item with the highest F among those that may be references."""
    allowed = np.ones(len(labels), bool)
    if among is not None:
        wanted = list(among)
        strange = [label for label in wanted if label not in labels]
        if strange:
            raise ValueError(
                f"references are chosen among the labels of representations; {join_names(map(format_label, strange), 3)}"
                " is none"
            )
        allowed = np.array([label in wanted for label in labels])
    found = {}
    for layer in dict.fromkeys(layers):
        places = np.flatnonzero((layers == layer).to_numpy() & allowed)
        if not len(places):
            raise ValueError(
                f"every value of '{layers.name}' needs a reference, and among={{...}} has no label with '{layer}'"
            )
        found[layer] = int(places[f[places].argmax()])
    return found


def residuals(f: np.ndarray, given: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """F without what a straight line in another number says of it, within each cell (layer, step)."""
    found = f.copy()
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        x, y = given[rows] - given[rows].mean(), f[rows] - f[rows].mean()
        if len(rows) < 4 or not np.ptp(given[rows]):
            raise ValueError(
                "what is held constant needs four models or more in each layer, whose values differ; here are"
                f" {len(rows)}, from {given[rows].min():.4g} to {given[rows].max():.4g}"
            )
        found[rows] = y - x * (x @ y) / (x @ x)
    if np.abs(found).max() <= 1e-9 * np.ptp(f):
        raise ValueError(
            "functionality is a straight line in what is held constant, so nothing is left for a measure to see"
        )
    return found


class Errors:
    """F of each item and the standard deviation of its error: the reliability of F, and the ρ that a perfect measure
    reaches.

    places: the layer (and step) of each item.  one, other: the items of each pair.  fitted: how many numbers were
    fitted to F within each layer, its mean included. Errors of what is held constant are not counted.
    """

    def __init__(
        self, f: np.ndarray, noise: np.ndarray, places: np.ndarray, one: np.ndarray, other: np.ndarray, fitted: int = 1
    ) -> None:
        self.noise, self.one, self.other = noise, one, other
        self.truth, self.reliability = shrink(f, noise, places, fitted)

    def ceiling(self, sets: Mapping[Any, np.ndarray], seed: int) -> float:
        """The mean ρ, over sets of pairs, of the gaps of the true F with those that another test set of the same size
        would show.
        """
        true = gaps(self.truth[self.one], self.truth[self.other])
        seen = self.truth + np.random.default_rng(seed).normal(size=(SIMULATED, len(self.truth))) * self.noise
        found = 0.0
        for rows in sets.values():
            again = stats.rankdata(gaps(seen[:, self.one[rows]], seen[:, self.other[rows]]), axis=1)
            again -= again.mean(axis=1, keepdims=True)
            if np.ptp(true[rows]) > 0:  # otherwise no order of these pairs is true
                found += float(np.mean(again @ standard_ranks(true[rows]) / np.sqrt((again**2).sum(axis=1)))) / len(
                    sets
                )
        return found


def shrink(f: np.ndarray, noise: np.ndarray, cells: np.ndarray, fitted: int = 1) -> tuple[np.ndarray, float | None]:
    """F without its chance, as far as a model of normal errors can say, and the mean reliability of the cells (layer,
    step) that have several items.

    Within each cell values are moved towards their mean by the root of the reliability. fitted: how many numbers were
    fitted to F there, its mean included.
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
