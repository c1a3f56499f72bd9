"""The result of the test of sensitivity: when measures detect damage, and what is lost by then."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.results.inference import Interval
from repsim_nb.results.inference.results import check_draws, check_level, percentile_interval, student_interval
from repsim_nb.results.inference.units import FEWEST_UNITS, widen_level
from repsim_nb.support.errors import check_name
from repsim_nb.support.seeds import check_seed, generator_of
from repsim_nb.support.summaries import count_of, summarize

from .benchmark_result import list_undefined
from .damage import DAMAGES, Damage
from .specificity_result import NEVER


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity:
    """The amount of damage at which measures exceed the difference between two models.

    Attributes
    ----------
    table : DataFrame, index "measure"
        One row for each measure. Columns:

        - threshold: the mean dissimilarity of two models;
        - noticed: the first amount of damage with a mean dissimilarity above it, "never" if there is none;
        - earliest, latest: the range of `noticed_by_model`;
        - accuracy: of a probe on what is left at `noticed`; accuracy_loss: how much lower that is than without damage.
          Both are missing if nothing was probed or the measure never notices.
    curves : DataFrame (amounts, measures)
        The mean dissimilarity of the whole representation and the damaged one.
    closed_form : DataFrame (amounts, measures)
        The same by formula, for measures that have one (damage "components").
    accuracy : Series or None
        The mean held-out accuracy of the probe by amount; None without targets.
    each : DataFrame, index (model, amount)
        Curves and accuracy of each model.
    noticed_by_model : DataFrame (models, measures)
        The first amount at which the dissimilarity of a model is above its own threshold, its mean dissimilarity to the
        other models; or "never".
    pairs : {measure: ndarray (models, models)}
        The dissimilarity of each pair of models, both directions averaged, 0 on the diagonal.
    damage : Damage
        The kind of damage.
    undefined : dict
        {measure: why it has no row}.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(80, 6)) * 2.0 ** -np.arange(6)
    >>> xs = {name: x + 0.1 * rng.normal(size=x.shape) for name in "abc"}
    >>> rs.grounding.sensitivity(xs, measures=["cka", "procrustes"], damage="noise", amounts=[0.3, 0.4])
    Sensitivity(noise, 3 models; noticed at cka: 0.3, procrustes: 0.4)
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    closed_form: pd.DataFrame
    accuracy: pd.Series | None
    each: pd.DataFrame
    noticed_by_model: pd.DataFrame
    pairs: Mapping[str, np.ndarray]
    damage: Damage = DAMAGES["components"]
    undefined: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> int:
        """Number of models."""
        return len(self.noticed_by_model)

    def text(self, noticed: float | str) -> str:
        """Return an amount of damage as text, such as "97 %"; "never" stays.

        Parameters
        ----------
        noticed : float or "never"
            An amount.

        Returns
        -------
        str
            As figures show it.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> xs = dict(zip("ab", rng.normal(size=(2, 40, 5))))
        >>> rs.grounding.sensitivity(xs, measures=["cka"]).text(0.8)
        '80 %'
        """
        return noticed if isinstance(noticed, str) else self.damage.text(float(noticed))

    def compare_with(
        self, name: str | Measure, *, n_bootstrap: int = 999, level: float = 0.95, seed: int = 0
    ) -> pd.DataFrame:
        """Count in how many models one measure notices damage earlier than each other measure.

        Parameters
        ----------
        name : str or Measure
            A measure of the table.
        n_bootstrap : int
            The number of resamples of models, at least 20.
        level : float
            The level of the intervals, between 0 and 1.
        seed : int
            Seed of the resamples, >= 0.

        Returns
        -------
        DataFrame, index "measure"
            Columns: earlier, same, later (the number of models in which `name` notices at a smaller, the same or a
            larger amount, with "never" larger than any); estimate (the fraction of models in which it is earlier), low,
            high (its interval over models).

        Raises
        ------
        ValueError
            If the measure has no row, or for fewer than 3 models.

        Notes
        -----
        Each model has its own curve and its own threshold. The exact interval of a fraction (Clopper and Pearson) takes
        models as independent, but thresholds have pairs of models in common. So models are also resampled, with new
        thresholds, and the interval is the union of both. Simulated (500 sets of models, two measures that are each
        earlier in half of all models): with 10 models it contained one half in 98 % if models do not differ in their
        distance from others, in 97 % and 96 % if distances vary by 10 and by 30 % with each model; with 20 models in
        98, 97 and 96 %, with 5 always. Models of one group (fine-tunings of one pre-trained model) are no independent
        draws: use one model of each group.

        References
        ----------
        Clopper and Pearson 1934, The use of confidence or fiducial limits, Biometrika. Hesterberg 2015 (widened
        percentiles).

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(80, 6)) * 2.0 ** -np.arange(6)
        >>> xs = {name: x + 0.1 * rng.normal(size=x.shape) for name in "abc"}
        >>> found = rs.grounding.sensitivity(xs, measures=["cka", "procrustes"], damage="noise", amounts=[0.3, 0.4])
        >>> found.compare_with("cka")[["earlier", "same", "later"]]
                    earlier  same  later
        measure
        procrustes        1     2      0
        """
        check_draws(n_bootstrap, level)
        check_seed(seed)
        name = self._check_row(name)
        if self.models < FEWEST_UNITS:
            raise ValueError(f"compare_with needs at least {FEWEST_UNITS} models; there are {self.models}.")
        steps = self.noticed_by_model.replace(NEVER, math.inf).astype(float)
        counts = generator_of(seed).multinomial(self.models, np.full(self.models, 1 / self.models), size=n_bootstrap)
        counts = counts[(counts > 0).sum(axis=1) > 1]
        own = self._in_resamples(name, counts)
        rows = {}
        for other in steps.columns.drop(name):
            first, last = int((steps[name] < steps[other]).sum()), int((steps[name] > steps[other]).sum())
            exact = stats.binomtest(first, len(steps)).proportion_ci(level, "exact")
            drawn = ((own < self._in_resamples(other, counts)) * counts).sum(axis=1) / self.models
            low, high = percentile_interval(drawn, widen_level(level, self.models))
            rows[other] = (
                first,
                len(steps) - first - last,
                last,
                first / len(steps),
                min(low, float(exact.low)),
                max(high, float(exact.high)),
            )
        table = pd.DataFrame.from_dict(
            rows, orient="index", columns=["earlier", "same", "later", "estimate", "low", "high"]
        ).rename_axis("measure")
        table.attrs["level"] = level
        return table

    def _in_resamples(self, name: str, counts: np.ndarray) -> np.ndarray:
        """Return the position of the amount at which each model notices (resamples, models), with resampled thresholds.

        It is one past the last amount if the model never notices.
        """
        thresholds = counts @ self.pairs[name] / np.maximum(counts.sum(axis=1, keepdims=True) - counts, 1)
        highest = np.maximum.accumulate(
            self.each[name].unstack("amount", sort=False).loc[self.noticed_by_model.index].to_numpy(float), axis=1
        )
        return (highest[None] <= thresholds[:, :, None]).sum(axis=2)

    def accuracy_loss(self, name: str | Measure, level: float = 0.95) -> Interval:
        """Return the accuracy that a probe loses by the amount at which a measure notices damage.

        Parameters
        ----------
        name : str or Measure
            A measure of the table. All models are taken at its `noticed` there.
        level : float
            The level of the interval, between 0 and 1.

        Returns
        -------
        Interval
            The mean difference of accuracies over models, with Student's t. All models are probed on the same samples,
            so the interval does not cover other samples.

        Raises
        ------
        ValueError
            Without targets, or if the measure never notices or has no row.

        Notes
        -----
        Simulated (4,000 sets of models; the amount is chosen by the same models): of 100 intervals at level 0.95, 95
        contained the loss of the population at that amount with 5 and with 10 models, and 90 and 91 if models differ by
        a skewed (exponential) distribution.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> targets = np.arange(120) % 2
        >>> x = rng.normal(size=(120, 6)) + targets[:, None]
        >>> xs = {name: x + rng.normal(size=x.shape) for name in "abc"}
        >>> found = rs.grounding.sensitivity(xs, targets, measures=["cka"], damage="noise", amounts=[1, 2], draws=1)
        >>> loss = found.accuracy_loss("cka")
        >>> bool(loss.low < loss.estimate < loss.high)
        True
        """
        check_level(level)
        name = self._check_row(name)
        noticed = self.table.loc[name, "noticed"]
        if self.accuracy is None:
            raise ValueError("accuracy_loss needs a probe. Pass targets to grounding.sensitivity.")
        if noticed == NEVER:
            raise ValueError(f"accuracy_loss needs a measure that notices damage; {name} never does.")
        accuracy = self.each["accuracy"].unstack("amount")
        lost = (accuracy.iloc[:, 0] - accuracy[noticed]).to_numpy(float)
        return student_interval(lost.mean(), lost.var(ddof=1) / len(lost), len(lost) - 1, level)

    def _check_row(self, name: str | Measure) -> str:
        """Return the name of a measure that has a row."""
        name = name if isinstance(name, str) else measures.short_name(measures.get(name))
        if name in self.undefined:
            raise ValueError(f"measure '{name}' is undefined: {self.undefined[name]}")
        check_name("measure of this result", name, self.table.index)
        return name

    def __repr__(self) -> str:
        rows = ", ".join(f"{name}: {self.text(noticed)}" for name, noticed in self.table["noticed"].items())
        return f"Sensitivity({self.damage.name}, {count_of(self.models, 'model')}; noticed at {rows})"

    def _repr_html_(self) -> str:
        words = {name: self.table[name].map(self.text) for name in ("noticed", "earliest", "latest")}
        return summarize(
            "Sensitivity",
            self.damage.name,
            [count_of(self.models, "model")],
            table=self.table.assign(**words),
            notes=list_undefined(self.undefined),
            page="grounding.Sensitivity",
        )


def first_above(curve: pd.Series, threshold: float) -> float | str:
    """Return the first amount of damage with a dissimilarity above the threshold, or "never"."""
    above = curve.index[curve.to_numpy() > threshold]
    return float(above[0]) if len(above) else NEVER
