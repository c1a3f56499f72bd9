"""Which model explains repeated measurements best: values with intervals, differences, and the noise ceiling."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.results.comparison import compare
from repsim_nb.results.comparison.inputs import open_sides
from repsim_nb.support.errors import UndefinedError, check_name
from repsim_nb.support.labels import short_labels, to_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.seeds import generator_of
from repsim_nb.support.summaries import percent, summarize
from repsim_nb.support.validation import check_integer

from .ceilings import NoiseCeiling, check_repeats, noise_ceiling, with_mean
from .grouped_rows import check_independent
from .resampled_rsa import ResampledRSA, can_resample
from .results import check_level
from .units import simultaneous, with_deviations

RESAMPLED = ("samples", "repeats")
ENOUGH = 0.9  # the fraction of resamples that must have a value


@dataclass(frozen=True, eq=False, repr=False)
class ModelComparison:
    """How well models explain repeats; `compare_models` computes it.

    Attributes
    ----------
    values : DataFrame (models, ...)
        mean (over repeats), low and high (the ends of its interval), the best model first.
    differences : DataFrame (pairs of models, ...)
        The difference of each two models, with simultaneous intervals and p-values that are adjusted for their number,
        as `rank_differences` returns them.
    ceiling : NoiseCeiling
        What the true model would reach.
    each : DataFrame (models, repeats)
        The value of each model with each repeat.
    draws : DataFrame (resamples, models)
        The values in the resamples, if samples and repeats were drawn as `resampled` says.
    resampled : tuple of str
        What was drawn with replacement: "samples", "repeats" or both.
    level : float
        The level of the intervals.
    measure : str
        The name of the measure.
    n : int
        The number of samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.random(190)
    >>> people = {k: rs.RDM(truth + 0.3 * rng.random(190)) for k in range(6)}
    >>> models = {"good": rs.RDM(truth + 0.1 * rng.random(190)), "poor": rs.RDM(rng.random(190))}
    >>> found = rs.inference.compare_models("rsa", models, people, n_bootstrap=200)
    >>> found.values.index.tolist(), bool(found.differences["significant"].iloc[0])
    (['good', 'poor'], True)
    """

    values: pd.DataFrame
    differences: pd.DataFrame
    ceiling: NoiseCeiling
    each: pd.DataFrame
    draws: pd.DataFrame
    resampled: tuple[str, ...]
    level: float
    measure: str
    n: int

    def _summary(self) -> list[str]:
        return [
            self.measure,
            f"{len(self.ceiling.each)} repeats, n = {self.n}",
            f"noise ceiling {self.ceiling.lower:.3f} to {self.ceiling.upper:.3f}",
            f"{percent(self.level)} intervals over {' and '.join(self.resampled)}",
        ]

    def __repr__(self) -> str:
        """Return the measure, the numbers of models, repeats and samples, and the ceiling as text."""
        return f"ModelComparison({len(self.values)} models: {', '.join(self._summary())})"

    def __str__(self) -> str:
        return f"{self!r}\n{self.values.round(3).to_string()}"

    def _repr_html_(self) -> str:
        return summarize(
            "ModelComparison",
            f"{len(self.values)} models",
            self._summary(),
            table=self.values.round(3),
            page="inference.ModelComparison",
        )


def compare_models(
    measure: str | Measure,
    models: Mapping[Any, Any],
    repeats: Mapping[Any, Any],
    *,
    resample: str | Sequence[str] = RESAMPLED,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Tick = False,
) -> ModelComparison:
    """Compare how well models explain repeated measurements, with intervals over samples and over repeats.

    It answers: which model explains the brains of several people best, is it better than the others, also for other
    images and other people, and how far is it from the noise ceiling?

    Parameters
    ----------
    measure : str or Measure
        RSA with second order "spearman", "pearson" or "cosine" and without the diagonal. With resample="repeats" also
        other measures that have a `noise_ceiling`.
    models : {label: array (n, ...) or RDM}
        The models: representations of n samples.
    repeats : {label: array (n, ...) or RDM}
        The same n samples, measured in two or more people or sessions.
    resample : {"samples", "repeats"} or both
        What is drawn with replacement: what the result should hold for. Other images ("samples"), other people
        ("repeats"), or both. With fewer than 5 repeats draw samples only: intervals over so few have no ends.
    n_bootstrap : int
        The number of resamples.
    level : float
        The level of the intervals. Those of differences are simultaneous.
    seed : int
        The seed of the resamples.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    ModelComparison
        `values`, `differences` and `ceiling`.

    Raises
    ------
    TypeError, ValueError
        For an unknown way to resample, samples that are drawn for a measure that counts copies or from rows in groups,
        and as `compare`.
    NotImplementedError
        For a measure without a noise ceiling.
    UndefinedError
        If more than a tenth of the resamples have no value.

    Notes
    -----
    The value of a model is the mean of the measure over repeats. A sample that was drawn twice is its own copy, so
    pairs of copies are left out. A resample has weights: a pair of which one sample was drawn a times and the other b
    times counts a · b times, in ranks, means and sums.

    If samples and repeats are drawn at once, the variance of the draws is too large: both draws have the same noise in
    common. With v_s, v_r and v the variances over samples, over repeats and over both, the variance is

        n / (n - 1) v_s + m / (m - 1) v_r - n m / ((n - 1)(m - 1)) (v - v_s - v_r)

    for n samples and m repeats, not less than each of the first two terms and not more than v [2]. Intervals are value
    ± t · sd, with min(n, m) - 1 degrees of freedom; those of differences are `simultaneous` (max-t). Resamples without
    a value are left out for all models.

    Simulated (three models, Euclidean RSA with second="pearson"; 20 or 60 samples and 8 repeats, 30 samples and 20
    repeats; 150 studies each): .94 to .97 of the intervals at level .95 contained the population value,
    and .98 to .99 of the simultaneous intervals of a difference.

    References
    ----------
    [1] Nili and others 2014, "A toolbox for representational similarity analysis", PLoS Computational Biology.
    [2] Schütt, Kipnis, Diedrichsen, Kriegeskorte 2023, "Statistical inference on representational geometries", eLife.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=(30, 10))
    >>> people = {k: truth + rng.normal(size=(30, 10)) for k in range(8)}
    >>> models = {"shape": truth[:, :8], "color": truth[:, 8:], "noise": rng.normal(size=(30, 4))}
    >>> found = rs.inference.compare_models(rs.measures.RSA(first="euclidean"), models, people, n_bootstrap=200)
    >>> found.values.index.tolist()
    ['shape', 'color', 'noise']
    >>> bool(found.differences.loc[("shape", "noise"), "low"] > 0)
    True
    """
    measure = with_mean(measure)
    drawn = (resample,) if isinstance(resample, str) else tuple(resample)
    for name in drawn:
        check_name("resample", name, RESAMPLED)
    if not drawn or len(set(drawn)) < len(drawn):
        raise ValueError(f"resample must be 'samples', 'repeats' or both; got {resample!r}.")
    if "samples" in drawn and not can_resample(measure):
        raise ValueError(
            f"samples cannot be drawn with replacement for {measures.short_name(measure)}: a sample that is drawn twice"
            " is its own copy, and only RSA ('spearman', 'pearson', 'cosine', without the diagonal) leaves out pairs of"
            " copies. Use resample='repeats'."
        )
    check_integer(n_bootstrap, "n_bootstrap", minimum=20)
    check_level(level)
    check_repeats(repeats)
    left, right = open_sides(measure, models, repeats, "raise")
    assert right is not None
    if "samples" in drawn:
        check_independent([*left.values(), *right.values()], "compare_models")
    each = compare(measure, models, repeats)
    ceiling = noise_ceiling(measure, repeats)
    n, m = each.n, len(right)
    variants = _resample(
        ResampledRSA(measure, [*left.values(), *right.values()], n) if "samples" in drawn else None,  # type: ignore[arg-type]
        each.values.to_numpy(float),
        n,
        n_bootstrap,
        seed,
        progress,
    )
    names = pd.Index(short_labels(to_axis(left)), name="model")
    value = each.values.to_numpy(float).mean(axis=1)
    values = pd.Series(value, index=names).sort_values(ascending=False, kind="stable")
    units = min(n if "samples" in drawn else m, m if "repeats" in drawn else n)
    draws = pd.DataFrame(_chosen(variants, drawn), columns=names)
    defined = np.isfinite(draws.to_numpy()).all(axis=1)
    if defined.mean() < ENOUGH:
        raise UndefinedError(
            f"compare_models: {int((~defined).sum())} of {n_bootstrap} resamples have no value. Use more samples or"
            f" repeats; there are {n} and {m}"
        )
    variants = {kind: its[defined] for kind, its in variants.items()}
    reach = stats.t(units - 1).ppf((1 + level) / 2) * np.sqrt(_variance(variants, drawn, n, m))
    reach = pd.Series(reach if units >= 5 else np.inf, index=names)[values.index]
    shown = pd.DataFrame({"mean": values, "low": values - reach, "high": values + reach})
    return ModelComparison(
        shown,
        _differences(values, variants, drawn, names, (n, m, units), level),
        ceiling,
        pd.DataFrame(each.values.to_numpy(float), index=names, columns=ceiling.each.index),
        draws,
        drawn,
        level,
        measures.short_name(measure),
        n,
    )


def _resample(
    rsa: ResampledRSA | None, each: np.ndarray, n: int, number: int, seed: int, progress: bool | Tick
) -> dict[str, np.ndarray]:
    """Return the values of models (number, models) in resamples of "samples", of "repeats" and of "both"."""
    rng, (models, m) = generator_of(seed), each.shape
    found = {kind: np.full((number, models), np.nan) for kind in (*RESAMPLED, "both")}
    with show_progress(progress, "resamples", "resample") as tick:
        for k in range(number):
            samples = np.bincount(rng.integers(n, size=n), minlength=n)
            repeats = np.bincount(rng.integers(m, size=m), minlength=m) / m
            found["repeats"][k] = each @ repeats
            if rsa is not None:
                table = rsa.values(samples)[:models, models:]
                found["samples"][k], found["both"][k] = table.mean(axis=1), table @ repeats
            tick(k + 1, number)
    return found


def _chosen(variants: Mapping[str, np.ndarray], drawn: Sequence[str]) -> np.ndarray:
    return variants["both" if len(drawn) == 2 else drawn[0]]


def _variance(variants: Mapping[str, np.ndarray], drawn: Sequence[str], n: int, m: int) -> np.ndarray:
    """Return the variance of each column, over what was drawn."""
    both, samples, repeats = (variants[kind].var(axis=0, ddof=1) for kind in ("both", *RESAMPLED))
    wide = {"samples": n / (n - 1), "repeats": m / (m - 1)}
    if len(drawn) == 1:
        found: np.ndarray = wide[drawn[0]] * (samples if drawn[0] == "samples" else repeats)
        return found
    own = wide["samples"] * samples, wide["repeats"] * repeats
    joint = own[0] + own[1] - wide["samples"] * wide["repeats"] * (both - samples - repeats)
    return np.minimum(np.maximum(np.maximum(joint, own[0]), own[1]), both)


def _differences(
    values: pd.Series,
    variants: Mapping[str, np.ndarray],
    drawn: Sequence[str],
    names: pd.Index,
    numbers: tuple[int, int, int],
    level: float,
) -> pd.DataFrame:
    """Return the differences of each two models, the better one first."""
    n, m, units = numbers
    pairs = pd.MultiIndex.from_tuples(itertools.combinations(values.index, 2), names=["model", "minus"])
    first, second = np.triu_indices(len(values), 1)  # the places of both models of each pair
    columns = names.get_indexer(values.index)
    one, other = columns[first], columns[second]
    gaps = {kind: its[:, one] - its[:, other] for kind, its in variants.items()}
    draws = with_deviations(_chosen(gaps, drawn), np.sqrt(_variance(gaps, drawn, n, m)), units)
    ordered = values.to_numpy()
    estimates = pd.Series(ordered[first] - ordered[second], index=pairs)
    return simultaneous(estimates, pd.DataFrame(draws, columns=pairs), units, level)
