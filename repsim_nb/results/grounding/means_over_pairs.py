"""Means over pairs of models, with intervals over models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.results.inference.results import check_draws, student_interval
from repsim_nb.results.inference.units import Groups, interval_over_units, simultaneous, units_of
from repsim_nb.support.errors import UndefinedError, check_name, join_names
from repsim_nb.support.seeds import check_seed, generator_of
from repsim_nb.support.summaries import percent, summarize

from .item_values import check_groups_named


@dataclass(frozen=True, eq=False, repr=False)
class PairMeans:
    """Means over pairs of models, and the same means in resamples of models.

    Attributes
    ----------
    table : DataFrame, index "statistic"
        Columns: mean, low, high.
    draws : DataFrame (n_bootstrap, statistics)
        Each statistic in each resample; a row is one resample.
    units : int
        The number of independent units that were drawn.
    unit : str
        What was drawn, such as "models (10)".
    level : float
        The level of the intervals.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> index = pd.MultiIndex.from_tuples([(a, b) for a in range(8) for b in range(a)])
    >>> rs.grounding.pair_means(pd.DataFrame({"cka": rng.uniform(0.2, 0.4, 28)}, index=index)).table.round(2)
               mean   low  high
    statistic
    cka         0.3  0.26  0.35
    """

    table: pd.DataFrame
    draws: pd.DataFrame
    units: int
    unit: str
    level: float

    def compare_with(self, name: str, others: Iterable[str] | None = None) -> pd.DataFrame:
        """Compare one statistic with others, in the same resamples.

        Parameters
        ----------
        name : str
            A statistic of the table.
        others : str or iterable of str, optional
            The statistics that it is compared with; all others by default.

        Returns
        -------
        DataFrame, index "other"
            Columns: difference (`name` minus the other); low, high (simultaneous intervals, max-T); p_value (adjusted
            for the number of rows); detectable (the difference that such an interval distinguishes from 0 in 8 of 10
            studies); significant (0 is outside the interval).

        Raises
        ------
        ValueError
            For a statistic that does not exist, and if it is the only one.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> index = pd.MultiIndex.from_tuples([(a, b) for a in range(8) for b in range(a)])
        >>> frame = pd.DataFrame({"near": rng.uniform(0.2, 0.3, 28), "far": rng.uniform(0.4, 0.6, 28)}, index=index)
        >>> rs.grounding.pair_means(frame).compare_with("far")[["difference", "significant"]].round(2)
               difference  significant
        other
        near         0.25         True
        """
        chosen = (
            list(self.table.index.drop(name, errors="ignore"))
            if others is None
            else [others]
            if isinstance(others, str)
            else list(others)
        )
        for statistic in (name, *chosen):
            check_name("statistic", statistic, self.table.index)
        if not chosen:
            raise ValueError(f"compare_with needs another statistic; '{name}' is the only statistic.")
        estimates = pd.Series(
            [self.table.loc[name, "mean"] - self.table.loc[other, "mean"] for other in chosen],
            index=pd.Index(chosen, name="other"),
        )
        return simultaneous(
            estimates,
            pd.DataFrame({other: self.draws[name] - self.draws[other] for other in chosen}),
            self.units,
            self.level,
        )

    def __repr__(self) -> str:
        return f"PairMeans({len(self.table)} statistics, {self.unit})"

    def _repr_html_(self) -> str:
        facts = [f"{percent(self.level)} intervals over {self.unit}"]
        return summarize("PairMeans", "means over pairs of models", facts, table=self.table, page="grounding.PairMeans")


def pair_means(
    pairs: pd.DataFrame,
    *,
    derived: Mapping[str, Callable[[Any], Any]] | None = None,
    groups: Groups = None,
    n_bootstrap: int = 999,
    level: float = 0.95,
    seed: int = 0,
) -> PairMeans:
    """Compute means over unordered pairs of models, with intervals over models.

    Parameters
    ----------
    pairs : DataFrame
        One row for each unordered pair of different models, whose names are the two levels of the index; one column for
        each statistic.
    derived : {name: function}, optional
        Statistics that are computed from the means, such as a ratio: ``lambda mean: mean["near"] / mean["far"]``. The
        function gets the means as a Series by column, for all pairs and for each resample, and returns a number.
    groups : {model: group}, Series by model, or DataFrame by model, optional
        Models of one group depend on each other. Whole groups are drawn, and pairs within a group are left out. A
        DataFrame has one column for each crossed grouping; pairs that agree in one of them are left out.
    n_bootstrap : int
        The number of resamples, at least 20.
    level : float
        The level of the intervals, between 0 and 1.
    seed : int
        Seed of the resamples, >= 0.

    Returns
    -------
    PairMeans
        A table with one row for each statistic.

    Raises
    ------
    TypeError
        If `pairs` is not a DataFrame with two levels, and for groups that do not name the models.
    ValueError
        If a pair occurs twice or is of a model with itself, if values are undefined, and for fewer than 3 models or
        groups.
    UndefinedError
        If a derived statistic is undefined in a resample.

    Notes
    -----
    Pairs have models in common, so models are drawn with replacement, and the weight of a pair is the product of how
    often its two models were drawn. A pair of a model with itself never counts. Intervals are percentiles, widened for
    few units, or Student's t if that is wider; with fewer than 5 units they have no ends. Simulated at level 0.95
    (effects of both models and noise of the pair, 300 sets each): of 100 intervals, 98 contained the mean with 5
    models, 94 with 8 and 96 with 10, 92 with 5 groups of three and 95 with 10 of them; with effects a third of the
    noise 95 to 100. Of three differences between equal statistics, one or more was `significant` in 2 % with 5 models,
    7 % with 8 and 6 % with 10.

    References
    ----------
    Hesterberg 2015 (widened percentiles); Owen 2007 (crossed groupings); Westfall and Young 1993 (max-T).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> index = pd.MultiIndex.from_tuples([(a, b) for a in range(8) for b in range(a)])
    >>> near = rng.uniform(0.2, 0.3, 28)
    >>> frame = pd.DataFrame({"near": near, "far": near + rng.uniform(0.2, 0.3, 28)}, index=index)
    >>> pair_means(frame, derived={"ratio": lambda mean: mean["near"] / mean["far"]}).table["mean"].round(2).to_dict()
    {'near': 0.25, 'far': 0.5, 'ratio': 0.5}
    """
    check_draws(n_bootstrap, level)
    check_seed(seed)
    if not isinstance(pairs, pd.DataFrame) or pairs.index.nlevels != 2:
        raise TypeError(
            "pairs must be a DataFrame with the names of both models in its index (two levels); got"
            f" {type(pairs).__name__}."
        )
    values = pairs.to_numpy(float)
    if not len(values) or not np.isfinite(values).all():
        undefined = int((~np.isfinite(values)).any(axis=1).sum())
        raise ValueError(
            f"pair_means needs pairs with values in all columns; {undefined} of {len(values)} pairs have none in some"
            " column. Drop those."
        )
    models, one, other = _models_of(pairs.index)
    check_groups_named(models, groups)
    units = units_of(models, groups, "models")
    counted = units.differ(one, other)
    if not counted.any():
        raise ValueError(f"pairs count if their models differ in every grouping, and no pair does ({units.name}).")
    values, one, other = values[counted], one[counted], other[counted]
    drawn = units.draw_nonempty(
        generator_of(seed), n_bootstrap, lambda many: (many[:, one] * many[:, other]).sum(axis=1)
    )
    weights = drawn[:, one] * drawn[:, other]
    means = pd.Series(values.mean(axis=0), index=pairs.columns)
    draws = pd.DataFrame(weights @ values / weights.sum(axis=1, keepdims=True), columns=pairs.columns)
    for name, function in (derived or {}).items():
        if name in pairs.columns:
            raise ValueError(f"'{name}' is a column of the pairs. Give the derived statistic another name.")
        columns = list(pairs.columns)
        means[name] = float(function(means[columns]))
        draws[name] = [float(function(row)) for _, row in draws[columns].iterrows()]
        if not np.isfinite(means[name]):
            raise UndefinedError(
                f"'{name}' is undefined: the function returns {means[name]} for the means"
                f" {', '.join(f'{column} {means[column]:.4g}' for column in columns[:4])}"
            )
        undefined = int((~np.isfinite(draws[name].to_numpy(float))).sum())
        if undefined:
            raise UndefinedError(f"'{name}' is undefined in {undefined} of {n_bootstrap} resamples of {units.name}")
    rows = {
        name: (float(means[name]), *_interval(draws[name].to_numpy(), float(means[name]), units.number, level))
        for name in draws
    }
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"]).rename_axis("statistic")
    table.attrs["level"] = level
    return PairMeans(table, draws, units.number, units.text, level)


def _models_of(pairs: pd.MultiIndex) -> tuple[pd.Index, np.ndarray, np.ndarray]:
    """Return all models, and the places of the first and of the second model of each pair among them."""
    models = pd.Index(dict.fromkeys([*pairs.get_level_values(0), *pairs.get_level_values(1)]), name="model")
    one, other = (models.get_indexer(pairs.get_level_values(end)) for end in (0, 1))
    if (one == other).any():
        raise ValueError(
            f"a pair needs two different models; got {join_names([models[k] for k in one[one == other]], 3)} with"
            " itself."
        )
    both = pd.MultiIndex.from_arrays([np.minimum(one, other), np.maximum(one, other)])
    if both.has_duplicates:
        twice = pairs[np.flatnonzero(both.duplicated())[0]]
        raise ValueError(
            f"each pair must occur once, whichever model is first; {twice[0]} and {twice[1]} occur twice. Average both"
            " directions."
        )
    return models, one, other


def _interval(draws: np.ndarray, mean: float, units: int, level: float) -> tuple[float, float]:
    """Return the wider of a percentile interval and one with Student's t.

    Percentiles end at the largest draw, which few units reach often.
    """
    low, high = interval_over_units(draws, units, level)
    student = student_interval(mean, draws.var(ddof=1) * units / (units - 1), units - 1, level)
    return min(low, student.low), max(high, student.high)
