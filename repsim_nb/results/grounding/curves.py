"""Sensitivity: how much a representation can be damaged before a measure notices, and what is lost by then."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.measures import CCA, CKA, NBS, Measure, Procrustes
from repsim_nb.results.comparison import compare
from repsim_nb.results.inference import Interval
from repsim_nb.results.inference.results import check_draws, check_level, percentile_interval
from repsim_nb.results.inference.samples import representations_of
from repsim_nb.results.inference.units import FEWEST_UNITS, widen_level
from repsim_nb.results.probes import entered, linear_probe
from repsim_nb.support.errors import format_label, join_names, unknown_name
from repsim_nb.support.escaping import without_formulas
from repsim_nb.support.ids import check_order
from repsim_nb.support.labels import short_labels, to_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_integer, check_labels

from .damage import DAMAGES, Components, Damage, damage_of, left_of
from .layers import NEVER
from .ranking import Measures, choose_measures
from .results import listed_undefined

CURVES = ("cka", "procrustes", "rsa", "pwcca_all", "pwcca", "mean_cca", "pwcca_all_other", "pwcca_other")
_COLUMNS = ["threshold", "noticed", "earliest", "latest", "accuracy", "accuracy_loss"]


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity:
    """At which amount of damage measures see more than the difference between two models.

    Attributes
    ----------
    table : DataFrame
        A row a measure. threshold: the mean dissimilarity of two models. noticed: the first amount of damage whose
        mean dissimilarity is above it, "never" if there is none. earliest, latest: the range of `noticed_by_model`.
        accuracy: of a probe on what is left at `noticed`. accuracy_loss: how much less that is than without damage (both
        missing without a probe, or if the measure never notices).
    curves : DataFrame (amounts, measures)
        Mean dissimilarity of the whole representation and the damaged one.
    closed_form : DataFrame
        The same by formula, for the measures that have one (damage "components").
    accuracy : Series or None
        Mean held-out accuracy of the probe by amount; None without targets.
    each : DataFrame
        All of these by model and amount, before they are averaged.
    noticed_by_model : DataFrame (models, measures)
        The first amount at which the model's own dissimilarity is above its own threshold, the mean dissimilarity of
        this model and the others; or "never".
    pairs : {measure: ndarray (models, models)}
        The dissimilarity of each pair of models, both orders averaged, 0 on the diagonal.
    damage : Damage
    undefined : dict
        {measure: why it has no row}.
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
        """The number of models."""
        return len(self.noticed_by_model)

    def text(self, noticed: float | str) -> str:
        """An amount of damage as text, such as "97 %"; "never" stays."""
        return noticed if isinstance(noticed, str) else self.damage.text(float(noticed))

    def compare_with(self, name: str, *, n_bootstrap: int = 999, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
        """In how many models one measure notices earlier than each other measure.

        Parameters
        ----------
        name : str
            The measure.
        n_bootstrap, seed : int
            Resamples of models.
        level : float
            Of the intervals.

        Returns
        -------
        DataFrame, index "measure"
            earlier, same, later: numbers of models in which `name` notices at a smaller, the same or a larger amount
            ("never" is larger than any).
            estimate, low, high: the fraction in which it is earlier, with its interval over models; the same amount
            does not count as earlier.

        Raises
        ------
        ValueError
            If the measure has no row, or for fewer than 3 models.

        Notes
        -----
        Each model is judged by its own curve and its own threshold. The exact interval of a fraction (Clopper and
        Pearson) takes models as independent, but thresholds share pairs of models. So models are also resampled,
        with new thresholds, and the interval reaches as far as the wider of the two. Simulated (500 sets of models,
        two measures that are each earlier in half of all models): with 10 models it held one half in 98 % if
        models do not differ in how far they are from others, in 97 % and 96 % if distances vary by 10 and by 30 %
        with each model; with 20 models in 98, 97 and 96 %, with 5 always. Models of one group (fine-tunings of
        one pre-training) are no independent
        draws: give one of each group.

        References
        ----------
        Clopper and Pearson 1934; Hesterberg 2015 (widened percentiles).
        """
        check_draws(n_bootstrap, level)
        self._check_row(name)
        if self.models < FEWEST_UNITS:
            raise ValueError(f"a fraction of models needs at least {FEWEST_UNITS} of them; there are {self.models}")
        steps = self.noticed_by_model.replace(NEVER, math.inf).astype(float)
        counts = np.random.default_rng(seed).multinomial(
            self.models, np.full(self.models, 1 / self.models), size=n_bootstrap
        )
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
        """The place of the amount at which each model notices (resamples, models), by its threshold in each
        resample; one past the last if it
        never does."""
        thresholds = counts @ self.pairs[name] / np.maximum(counts.sum(axis=1, keepdims=True) - counts, 1)
        highest = np.maximum.accumulate(
            self.each[name].unstack("amount", sort=False).loc[self.noticed_by_model.index].to_numpy(float), axis=1
        )
        return (highest[None] <= thresholds[:, :, None]).sum(axis=2)

    def accuracy_loss(self, name: str, level: float = 0.95) -> Interval:
        """How much less a probe reads at the amount at which a measure notices than without damage, with its interval
        over models.

        Parameters
        ----------
        name : str
            The measure. All models are taken at its `noticed` in the table.
        level : float
            Of the interval.

        Returns
        -------
        Interval
            The mean difference of accuracies, with Student's t over models. All models are probed on the same
            samples, so it does not cover other samples.

        Raises
        ------
        ValueError
            Without targets, or if the measure never notices or has no row.

        Notes
        -----
        Simulated (4,000 sets of models; the amount is chosen by the same models): of 100 intervals at level 0.95,
        95 held the loss of the population at that amount with 5 and with 10 models, and 90 and 91 if models differ
        by a skewed (exponential) distribution.
        """
        check_level(level)
        self._check_row(name)
        noticed = self.table.loc[name, "noticed"]
        if self.accuracy is None or noticed == NEVER:
            raise ValueError(
                f"nothing was probed where {name} notices: "
                + ("there were no targets" if self.accuracy is None else "it never does")
            )
        accuracy = self.each["accuracy"].unstack("amount")
        lost = (accuracy.iloc[:, 0] - accuracy[noticed]).to_numpy(float)
        reach = float(stats.t.ppf((1 + level) / 2, len(lost) - 1) * lost.std(ddof=1) / math.sqrt(len(lost)))
        return Interval(float(lost.mean() - reach), float(lost.mean() + reach), level, float(lost.mean()))

    def _check_row(self, name: str) -> None:
        if name in self.undefined:
            raise ValueError(f"'{name}' has no value: {self.undefined[name]}")
        if name not in self.table.index:
            raise unknown_name("measure of this result", name, self.table.index)

    def __repr__(self) -> str:
        rows = ", ".join(f"{name}: {self.text(noticed)}" for name, noticed in self.table["noticed"].items())
        return f"Sensitivity({self.damage.name}, {self.models} models; noticed at {rows})"

    def _repr_html_(self) -> str:
        shown = self.table.assign(
            **{
                column: [self.text(value) for value in self.table[column]]
                for column in ("noticed", "earliest", "latest")
            }
        )
        table = shown.to_html(float_format="{:.3f}".format, na_rep="–")
        return without_formulas(
            f"<p>{html.escape(f'{self.damage.name}, {self.models} models')}</p>{table}{listed_undefined(self.undefined)}"
        )


def sensitivity(
    representations: Mapping[Any, Any],
    targets: Sequence[Any] | None = None,
    *,
    damage: str | Damage = "components",
    measures: Measures = CURVES,
    amounts: Sequence[float] | None = None,
    draws: int | None = None,
    probe: bool = True,
    test_fraction: float = 0.3,
    cost: float = 1.0,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Sensitivity:
    """At which amount of damage a measure sees more than the difference between two models, and what a probe then
    reads.

    Parameters
    ----------
    representations : {label: array (n, p)}
        One layer of two or more models, of the same samples.
    targets : (n,), optional
        Labels for a linear probe, and for the damage "class".
    damage : str or Damage
        "components" (principal components deleted, smallest first), "noise" (Gaussian), "units" (deleted in random
        order), "units_to_mean", "class" (one class translated), "quantisation" (fewer levels of rounding), as
        `grounding.DAMAGES` defines them; or a `grounding.Damage` of your own.
    measures : as in `benchmark`
        The whole representation is the first argument: "pwcca_all" and "pwcca" weigh by its directions, those with
        "_other" by what is left.
    amounts : sequence of float, optional
        The amounts of damage; those of the damage by default. 0 is always among them. Fractions are those of whole
        components or units, at least one is left.
    draws : int, optional
        The number of random draws that are averaged; that of the damage by default.
    probe : bool
        Whether targets are probed.
    test_fraction, cost : float
        As in `probes.linear_probe`.
    seed : int
        Of the random draws, which are independent between models, and of the held-out samples.
    progress : bool or callable

    Returns
    -------
    Sensitivity

    Raises
    ------
    ValueError
        For fewer than two models, amounts that this damage does not have, targets that cannot be read, or if no
        measure has a value. A single measure without a value has no row, and a reason.

    Notes
    -----
    The threshold of a measure is its mean dissimilarity over ordered pairs of models. Curves are means over draws and
    models. A measure notices at the first amount whose mean is above the threshold, so `noticed` is as fine as the
    grid of amounts. Damage need not raise a dissimilarity
    steadily: it can fall below the threshold again.

    References
    ----------
    Ding, Denain, Steinhardt 2021; a translated class: Davari, Horoi, Natik, Lajoie, Wolf, Belilovsky 2023.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(80, 6)) * 2.0 ** -np.arange(6)
    >>> models = {name: x + 0.1 * rng.normal(size=x.shape) for name in "abc"}
    >>> found = sensitivity(models, measures=["cka", "procrustes"], damage="noise")
    >>> found.curves.iloc[0].abs().round(9).tolist()
    [0.0, 0.0]
    >>> found.compare_with("procrustes").columns.tolist()
    ['earlier', 'same', 'later', 'estimate', 'low', 'high']
    """
    chosen, damage = choose_measures(measures), damage_of(damage)
    amounts = damage.amounts if amounts is None else amounts
    damage.check(amounts)
    draws = damage.draws if draws is None else draws
    check_integer(draws, "draws", minimum=1, hint="the number of random draws to average over")
    first = next(iter(representations.values()), None) if isinstance(representations, Mapping) else None
    check_order(first, targets)
    representations, n = representations_of(representations)
    labels, targets = list(representations), None if targets is None else check_labels(targets, n, "targets")
    if len(labels) < 2:
        raise ValueError(
            f"the threshold is the difference between models, so there are two or more; here is {format_label(labels[0])}"
        )
    index = to_axis(representations)
    if "model" in index.names and index.get_level_values("model").has_duplicates:
        raise ValueError(
            f"of each model one layer is compared, and some have several here ({join_names(short_labels(index), 4)}): "
            "choose one with .where(layer=...)"
        )
    names = short_labels(index)
    xs = {label: entered(label, representations[label], constant=False) for label in labels}
    amounts = damage.reached(amounts, list(xs.values()))
    pairs, undefined = _pairs(chosen, xs)
    thresholds = {short: table.sum(axis=0) / (len(xs) - 1) for short, table in pairs.items()}
    probed = probe and targets is not None
    seen: dict[tuple[str, str], np.ndarray] = {}
    accuracies = {name: np.zeros(len(amounts)) for name in names}
    steps = len(chosen) + (len(amounts) if probed else 0)  # of each model and draw
    with show_progress(progress, "damage", "step") as tick:
        for done, (model, draw) in enumerate((model, draw) for model in range(len(labels)) for draw in range(draws)):
            label, name = labels[model], names[model]
            damaged = damage.start(xs[label], targets, draw, seed, model)
            left = {f"{amount!r}": damaged(amount) for amount in amounts}
            for k, (short, measure) in enumerate(chosen.items()):
                tick(done * steps + k, len(labels) * draws * steps)
                if short in undefined:
                    continue
                found = compare(measure, {"whole": xs[label]}, left, on_undefined="mask")
                if found.undefined:
                    why = next(iter(found.undefined.values()))
                    undefined[short] = (
                        f"{len(found.undefined)} of {len(left)} damaged representations of {name} have no value: {why}"
                    )
                seen[name, short] = seen.get((name, short), 0) + found.dissimilarity().to_numpy(float)[0] / draws
            for k, x in enumerate(left.values() if probed else (), len(chosen)):
                tick(done * steps + k, len(labels) * draws * steps)
                read = linear_probe(
                    x, targets, test_fraction=test_fraction, cost=cost, n_permutations=1, seed=seed
                ).accuracy
                accuracies[name][k - len(chosen)] += read / draws
        tick(len(labels) * draws * steps, len(labels) * draws * steps)
    defined = [short for short in chosen if short not in undefined]
    if not defined:
        raise ValueError(
            "no measure has a value for all damaged representations:"
            f" {'; '.join(f'{short}: {why}' for short, why in undefined.items())}"
        )
    index = pd.MultiIndex.from_product([names, amounts], names=["model", "amount"])
    each = pd.DataFrame(
        {short: np.concatenate([seen[name, short] for name in names]) for short in defined}, index=index
    )
    closed = pd.DataFrame(index=index)
    if damage is DAMAGES["components"]:
        closed = _closed_forms({short: chosen[short] for short in defined}, list(xs.values()), amounts, index)
    curves, closed = (
        frame.groupby(level="amount", sort=False).mean() if len(frame.columns) else pd.DataFrame(index=amounts)
        for frame in (each, closed)
    )
    noticed = pd.DataFrame(
        {
            short: [
                _first_above(each.loc[name, short], own) for name, own in zip(names, thresholds[short], strict=True)
            ]
            for short in defined
        },
        index=pd.Index(names, name="model"),
        dtype=object,
    )
    accuracy = None
    if probed:
        each = each.assign(accuracy=np.concatenate([accuracies[name] for name in names]))
        accuracy = each["accuracy"].groupby(level="amount", sort=False).mean()
    rows = [_row(curves[short], float(thresholds[short].mean()), noticed[short], accuracy) for short in defined]
    table = pd.DataFrame(rows, index=pd.Index(defined, name="measure"), columns=_COLUMNS[: len(rows[0])])
    return Sensitivity(
        table, curves, closed, accuracy, each, noticed, {short: pairs[short] for short in defined}, damage, undefined
    )


def closed_form(measure: Measure, squares: np.ndarray, kept: int) -> float | None:
    """Dissimilarity of a representation and its first principal components, by formula.

    Parameters
    ----------
    measure : Measure
    squares : ndarray (components,)
        The eigenvalues λ of the covariance, largest first.
    kept : int
        The number k of components that are left.

    Returns
    -------
    float or None
        None if there is no formula for this measure.

    Notes
    -----
    CKA: 1 - √(Σ_{i≤k} λ² / Σ λ²). Procrustes: with r = Σ_{i≤k} λ / Σ λ, the nuclear norm of XᵀX_k is √r for matrices of
    unit norm; this gives 2 - 2√r, its root, or arccos √r. NBS: 1 - √r. CCA over the directions that are left, or
    weighted by them: every correlation is 1, so 0.

    References
    ----------
    Ding, Denain, Steinhardt 2021, where components are deleted.

    Examples
    --------
    >>> from repsim_nb.measures import CKA
    >>> round(closed_form(CKA(), np.array([4.0, 2.0, 1.0]), 1), 4)
    0.1271
    """
    retained = float(np.sqrt(squares[:kept].sum() / squares.sum()))
    if kept == len(squares):
        retained = 1.0
    if measure == CKA():
        return 1 - float(np.sqrt((squares[:kept] ** 2).sum() / (squares**2).sum()))
    if isinstance(measure, Procrustes):
        return {
            "squared": 2 - 2 * retained,
            "distance": float(np.sqrt(max(0.0, 2 - 2 * retained))),
            "angle": float(np.arccos(retained)),
        }[measure.form]
    if isinstance(measure, NBS):
        return 1 - retained
    kept_only = isinstance(measure, CCA) and (
        measure.summary != "projection_weighted" or measure.normalise == "kept" or measure.weights == "y"
    )
    if kept_only and measure.variance is None:
        return 0.0
    return None


def _closed_forms(
    chosen: Mapping[str, Measure], xs: Sequence[np.ndarray], amounts: Sequence[float], index: pd.MultiIndex
) -> pd.DataFrame:
    found: dict[str, list[float]] = {}
    for x in xs:
        squares = Components(x).squares
        for short, measure in chosen.items():
            values = [closed_form(measure, squares, left_of(amount, len(squares))) for amount in amounts]
            if values[0] is not None:
                found.setdefault(short, []).extend(float(value) for value in values if value is not None)
    return pd.DataFrame(found, index=index)


def _pairs(chosen: Mapping[str, Measure], xs: Mapping[Any, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Of each measure the dissimilarities of pairs of models, both orders averaged, 0 on the diagonal; and why a
    measure has none.
    """
    pairs, undefined = {}, {}
    other = ~np.eye(len(xs), dtype=bool)
    for short, measure in chosen.items():
        found = compare(measure, xs, on_undefined="mask")
        if found.undefined:
            undefined[short] = (
                f"{len(found.undefined)} of {other.sum()} pairs of models have no value:"
                f" {next(iter(found.undefined.values()))}"
            )
            continue
        table = np.where(other, found.dissimilarity().to_numpy(float), 0.0)
        pairs[short] = (table + table.T) / 2
        if table[other].mean() < 1e-12:
            undefined[short] = (
                f"the models do not differ by it (mean dissimilarity {table[other].mean():.2g}), so that there is no"
                " threshold"
            )
    return pairs, undefined


def _first_above(curve: pd.Series, threshold: float) -> float | str:
    above = curve.index[curve.to_numpy() > threshold]
    return float(above[0]) if len(above) else NEVER


def _row(curve: pd.Series, threshold: float, by_model: pd.Series, accuracy: pd.Series | None) -> tuple[Any, ...]:
    amount = _first_above(curve, threshold)
    ordered = sorted(by_model, key=lambda noticed: math.inf if noticed == NEVER else noticed)
    row = threshold, amount, ordered[0], ordered[-1]
    if accuracy is None:
        return row
    left = float(accuracy.loc[amount]) if amount != NEVER else None
    return *row, left, None if left is None else float(accuracy.iloc[0]) - left
