"""The benchmark of representations: their pairs, the distances of these by each measure, and the ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import CCA, Measure
from repsim_nb.measures.ties import merge_ties
from repsim_nb.results.comparison import compare
from repsim_nb.results.inference.representations import representations_of
from repsim_nb.results.inference.square_tables import require_values_per_item, tolerance_of_sums
from repsim_nb.results.inference.units import Groups
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice, short_labels, to_axis
from repsim_nb.support.progress import Tick, show_progress

from .benchmark_result import Benchmark
from .item_values import (
    best_items,
    check_models,
    functionality_of,
    gaps_between,
    read_item_values,
    residuals,
    spread_to_items,
    units_of_models,
)
from .noise import TrueFunctionality, noise_of
from .pair_sets import Ends, make_pair_sets
from .ranking import Pairing, Resampling, check_pairing, rank

MEASURES: dict[str, Measure] = {
    "pwcca_all": CCA(
        summary="projection_weighted", normalise="all"
    ),  # the published one: weights of the reference, over all its directions
    "pwcca_all_other": CCA(summary="projection_weighted", normalise="all", weights="y"),
    "pwcca_other": CCA(summary="projection_weighted", weights="y"),
    **measures.REPRESENTATIONAL,
}
Measures = Mapping[str, str | Measure] | Iterable[str | Measure] | None


def choose_measures(chosen: Measures) -> dict[str, Measure]:
    """Measures by the names that tables have them under; None is all of MEASURES."""
    if chosen is None:
        return dict(MEASURES)
    if isinstance(chosen, (str, Measure)):
        chosen = [chosen]
    found: dict[str, Measure] = {}
    for item in chosen:
        given: Any = chosen[str(item)] if isinstance(chosen, Mapping) else item
        measure = MEASURES.get(given) if isinstance(given, str) else given
        measure = measures.get(given) if measure is None else measures.get(measure)
        name = item if isinstance(item, str) else measures.short_name(measure)
        if name in found and found[name] is not measure:
            raise ValueError(f"two measures have the name '{name}': pass {{name: measure}}")
        found[name] = measure
    if not found:
        raise ValueError("there is no measure to judge: name one or several")
    return found


AT_ONCE = 64  # items of a table: what is prepared of them must fit into memory; references are prepared again for each


def benchmark(  # noqa: PLR0913 - keyword-only, independent of each other
    representations: Mapping[Any, Any],
    functionality: Mapping[Any, float] | pd.Series,
    *,
    measures: Measures = None,
    pairs: Pairing = "reference",
    model: Choice = "model",
    per: Choice | None = "layer",
    among: Iterable[Any] | None = None,
    across: bool | None = None,
    self_pairs: bool = False,
    groups: Groups = None,
    noise: float | Mapping[Any, float] | pd.Series | None = None,
    given: Mapping[Any, float] | pd.Series | None = None,
    n_bootstrap: int = 1999,
    n_permutations: int = 999,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Benchmark:
    """Rank measures by how well their dissimilarities go with differences in what models can do.

    Parameters
    ----------
    representations : {label: array (n, p)}
        All of the same samples.
    functionality : mapping or Series
        F, such as an accuracy: {label: F}, {model: F}, or a Series over the labels (of levels, those that both have).
    measures : names, Measures, or {name: Measure}, optional
        None is `grounding.MEASURES`: all representational measures, and PWCCA as published ("pwcca_all": the reference
        gives the weights, over all its directions) and with the weights of the other item ("pwcca_all_other",
        "pwcca_other").
    pairs : "reference" or "all"
        "reference": for each value of `per` the item with the highest F makes a pair with every other item. "all":
        every pair of items, for each value of `per`, or of all layers at once if `across`. Both directions of a measure
        are then averaged.
    model, per : field of the labels, or a choice as in `inference.anosim`
        Which model an item is of, and what there is a set of pairs for. per=None makes one set of all.
    among : labels, optional
        The labels that may be references (the undeleted ones). Only with references.
    across : bool, optional
        Pairs of different layers, too. None: if layers of a model differ in F (if F is the model's, depth would
        only blur it).
    self_pairs : bool
        Also the reference with itself, as in the published code.
    groups : one value a model or item, or a DataFrame, optional
        Models that are not independent of each other (of one pre-training seed): intervals draw, and tests exchange,
        whole groups. A DataFrame by model has a column for each of several crossed groupings (pre-training seed and
        fine-tuning seed). Pairs within a group are near in everything, so that they would make ρ high by themselves:
        they do not count.
    noise : float, mapping or Series, optional
        Standard deviation of the error of each F, such as `grounding.paired_sd(correct)` if all are tested on the same
        images. The result then has the reliability of F and the ρ that it allows at most.
    given : as functionality, optional
        Another number of each item that is held constant (the accuracy on the training distribution): F is replaced by
        its residuals from a straight line in it, within each layer. The error of this number itself is not allowed for.
    n_bootstrap : int
        The number of resamples, from 20.
    n_permutations : int
        The number of orders of models, if not all of them are gone through (there are 5,040 or fewer).
    level : float
        Of the intervals.
    seed : int
        Of resamples and orders.
    progress : bool or function(done, total)
        Show a bar, or call this function.

    Returns
    -------
    Benchmark

    Raises
    ------
    ValueError
        For F that is missing or the same for all, fewer than 3 models or groups, and if no measure has a value for
        all pairs.

    Notes
    -----
    Dissimilarities are computed in float64. A measure without a value for one of the pairs has no row, and a reason.

    low, high: units are drawn with replacement. With references these stay, the interval says nothing of other
    references, and percentiles are widened for few units. With all pairs both ends are drawn, which by itself makes
    intervals rather too wide. Simulated at level 0.95 (ρ from .02 to .35, 100 to 150 studies each): of 100 intervals
    they held ρ in 97 to 100 with references (10 and 25 models), in 97 to 99 with all pairs (10 models) and in 93 to
    98 with 5 groups of 5 models; intervals of a difference in 97 to 100.

    model_p: one-sided, how often the mean ρ is as high if models change places, the same way in all sets, each with
    the F of all its items. References keep their place. What depth alone does to ρ is the same in every order, so that
    a high ρ with a high model_p is about layers and not about models. Simulated with F that has nothing to do with
    representations (400 nulls each): p <= .05 in .05 to .06 of them. Where models come in 5 groups of 5 that are
    alike, it was in .23 to .24 with models as units, and in .04 to .05 with `groups`; with `given` in .03 (300 nulls)
    where both follow another accuracy, and without it in .76. spearman_p and kendall_p take the pairs of a reference as
    independent.

    References
    ----------
    Ding, Denain, Steinhardt 2021; Mantel 1967; Westfall, Young 1993; Owen 2007; Hesterberg 2015.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> F = {f"net{k}": k / 10 for k in range(6)}
    >>> shared = rng.normal(size=(60, 4))
    >>> xs = {name: np.hstack([shared, 4 * f * shared**2]) for name, f in F.items()}
    >>> found = benchmark(xs, F, measures=["cka_debiased"], pairs="all", model=list(F), per=None)
    >>> bool(found.table.loc["cka_debiased", "model_p"] < 0.05)
    True
    """
    chosen, resampling = choose_measures(measures), Resampling(n_bootstrap, n_permutations, level, seed)
    check_pairing(pairs)
    if pairs == "all" and (among is not None or self_pairs):
        raise ValueError("among= and self_pairs= are about references, and pairs='all' has none: leave them out")
    representations, _ = representations_of(representations)
    labels, index = list(representations), to_axis(representations)
    models = require_values_per_item(index, model, "model")
    layers = pd.Series("all", models.index, name="per") if per is None else require_values_per_item(index, per, "per")
    f = functionality_of(labels, index, spread_to_items(models, index, functionality))
    by_name = isinstance(model, str) and (per is None or isinstance(per, str)) and index.nlevels > 1
    places, unclear = _correspondence(models, layers, index.droplevel(model) if by_name else None, per is None)
    if across is None:
        across = bool((pd.Series(f).groupby(models.to_numpy()).nunique() > 1).any())
    if given is not None:
        f = residuals(f, read_item_values(labels, index, spread_to_items(models, index, given), "given"), places)
    if pairs == "reference":
        ends, values = _with_references(best_items(labels, f, layers, among), layers, across, self_pairs)
    else:
        ends, values = _every_pair(layers, across)
    short = short_labels(index)
    frame = pd.DataFrame(
        {f"{of.name}{end}": of.to_numpy()[at] for end, at in zip("12", ends, strict=True) for of in (models, layers)}
        | {("reference" if pairs == "reference" else "item"): [short[i] for i in ends[0]]}
        | {"other": [short[j] for j in ends[1]], "gap": gaps_between(f[ends[0]], f[ends[1]])}
    )
    if taken := [name for name in chosen if name in frame]:
        raise ValueError(f"{join_names(taken)} is a column of the pairs: give the measure another name")
    codes, known = pd.factorize(models)
    check_models(known)
    units = units_of_models(index, models, groups)
    truth = None
    if noise is not None:
        sd = noise_of(spread_to_items(models, index, noise), index)
        truth = TrueFunctionality.estimate(f, sd, places, ends, fitted=1 if given is None else 2)
    distances, undefined = _distances(chosen, representations, ends, values, pairs, progress)
    found = make_pair_sets(codes, places, ends, values, frame["gap"].to_numpy(float), units, pairs, unclear)
    frame = frame.assign(**distances)
    merged = {
        name: merge_ties(distance, tolerance_of_sums(distance, chosen[name])) for name, distance in distances.items()
    }
    names = ("gap", str(models.name), str(layers.name))
    return rank(frame, names, merged, found, resampling, truth, undefined)


def _correspondence(
    models: pd.Series, layers: pd.Series, rest: pd.Index | None, one_set: bool
) -> tuple[np.ndarray, str]:
    """Which item of its model each is, as a number that is the same for items of two models that correspond, and why
    these are unclear, if they are.

    rest: the labels without the model. Without these items correspond by their layer, and within it by their order.
    """
    if rest is not None:
        return pd.factorize(rest)[0], ""
    number = models.groupby([models.to_numpy(), layers.to_numpy()]).cumcount()
    places = pd.factorize(pd.MultiIndex.from_arrays([layers, number]))[0]
    if not number.any():
        return places, ""
    return places, (
        f"'{models[number.to_numpy().argmax()]}' has several items {'' if one_set else f'of one {layers.name}'}, and"
        " which of them correspond to which of another model is unknown: name them by per="
    )


def _with_references(
    best: Mapping[Any, int], layers: pd.Series, across: bool, self_pairs: bool
) -> tuple[Ends, np.ndarray]:
    """The ends of the pairs of each reference with the other items, and the set of each pair."""
    one, other, values = list[int](), list[int](), list[Any]()
    for value, i in best.items():
        others = [j for j in range(len(layers)) if (self_pairs or j != i) and (across or layers[j] == layers[i])]
        one, other, values = one + [i] * len(others), other + others, values + [value] * len(others)
    return (np.array(one, int), np.array(other, int)), np.array(values, dtype=object)


def _every_pair(layers: pd.Series, across: bool) -> tuple[Ends, np.ndarray]:
    """The ends of all pairs, or of those within a layer, and the set of each pair."""
    one, other = np.triu_indices(len(layers), 1)
    if across:
        return (one, other), np.full(len(one), "all", dtype=object)
    own = layers.to_numpy()
    rows = np.concatenate([np.flatnonzero((own[one] == value) & (own[other] == value)) for value in dict.fromkeys(own)])
    return (one[rows], other[rows]), own[one[rows]].astype(object)


def _distances(
    chosen: Mapping[str, Measure],
    representations: Mapping[Any, Any],
    ends: Ends,
    values: np.ndarray,
    pairs: Pairing,
    progress: bool | Tick,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The dissimilarity of each pair by each measure, and why a measure has none."""
    labels, index, (one, other) = list(representations), to_axis(representations), ends
    if pairs == "reference":
        first = list(dict.fromkeys(one))
        tables = [(first, list(range(k, min(k + AT_ONCE, len(labels))))) for k in range(0, len(labels), AT_ONCE)]
    else:
        tables = [
            (rows := sorted({*one[values == value], *other[values == value]}), rows) for value in dict.fromkeys(values)
        ]
    found, undefined = {}, {}
    with show_progress(progress, "benchmark", "table") as tick:
        for done, (name, measure) in enumerate(chosen.items()):
            square, reasons = np.full((len(labels), len(labels)), np.nan), dict[Any, str]()
            for k, (rows, columns) in enumerate(tables):
                tick(done * len(tables) + k, len(chosen) * len(tables))
                xs = {labels[i]: _exact(representations[labels[i]]) for i in rows}
                ys = None if columns is rows else {labels[j]: _exact(representations[labels[j]]) for j in columns}
                part = compare(measure, xs, ys, on_undefined="mask")
                square[np.ix_(rows, columns)] = part.dissimilarity().to_numpy(float)
                reasons |= part.undefined
            if pairs == "all":
                square = (square + square.T) / 2
            distance = square[one, other]
            missing = np.flatnonzero(np.isnan(distance))
            if len(missing):
                pair = index[one[missing[0]]], index[other[missing[0]]]
                undefined[name] = (
                    f"{len(missing)} of {len(distance)} pairs have no value:"
                    f" {reasons.get(pair) or reasons.get(pair[::-1])}"
                )
            else:
                found[name] = distance
        tick(len(chosen) * len(tables), len(chosen) * len(tables))
    return found, undefined


def _exact(x: Any) -> np.ndarray:
    """In float64, as NumPy; what holds no real numbers stays, and the measure says so."""
    if hasattr(x, "detach"):
        return x.detach().cpu().double().numpy() if not x.is_complex() else x
    return np.asarray(x, dtype=np.float64) if x.dtype.kind in "fiub" else x
