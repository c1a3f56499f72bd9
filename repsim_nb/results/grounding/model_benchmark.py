"""The benchmark of representations: their pairs, the distance of each pair by each measure, and the ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import CCA, Measure
from repsim_nb.measures.ties import merge_ties
from repsim_nb.results.comparison.comparing import compare_corresponding
from repsim_nb.results.comparison.inputs import check_correspondence
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
from .ranking import Pairing, Resampling, check_gaps, check_pairing, rank

MEASURES: dict[str, Measure] = {
    "pwcca_all": CCA(
        summary="projection_weighted", normalise="all"
    ),  # the published one: weights of the reference, over all its directions
    "pwcca_all_other": CCA(summary="projection_weighted", normalise="all", weights="y"),
    "pwcca_other": CCA(summary="projection_weighted", weights="y"),
    **measures.REPRESENTATIONAL,
}
"""The measures that `benchmark` compares by default: all representational ones, and the variants of PWCCA."""
Measures = Mapping[str, str | Measure] | Iterable[str | Measure] | None


def choose_measures(chosen: Measures) -> dict[str, Measure]:
    """Return measures by the names that tables have for them; None means all of MEASURES."""
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
            raise ValueError(f"two measures have the name '{name}'. Pass {{name: measure}}.")
        found[name] = measure
    if not found:
        raise ValueError("measures must have at least one measure; got none.")
    return found


AT_ONCE = 64  # items of a table, whose prepared forms must fit into memory; references are prepared again for each


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
    """Rank measures by how well their dissimilarities follow differences in what models can do.

    The score of a measure is ρ: the rank correlation, over pairs of representations, of its dissimilarity with the gap
    in functionality |F - F'|.

    Parameters
    ----------
    representations : {label: array (n, p)}
        Representations of the same n samples, as in `rs.compare`.
    functionality : {label: F}, {model: F} or Series
        F, a number for each item or model such as an accuracy. A Series is by label, or by fields of the labels.
    measures : list of str or Measure, or {name: Measure}, optional
        The measures to rank. By default `grounding.MEASURES`: all representational measures, and PWCCA as published
        ("pwcca_all": the reference gives the weights, over all its directions) and with the weights of the other item
        ("pwcca_all_other", "pwcca_other").
    pairs : {"reference", "all"}
        "reference": for each value of `per` the item with the highest F, paired with every other item. "all": every
        pair of items, for each value of `per` (or of all layers at once if `across`); both directions of a measure are
        averaged.
    model : field of the labels, {label: model} or one model for each item
        Which model an item belongs to.
    per : like `model`, or None
        Which set of pairs an item belongs to, such as its layer. None makes one set of all pairs.
    among : labels, optional
        The labels that may be references. Only with pairs="reference".
    across : bool, optional
        Whether to use pairs of different layers. By default only if layers of a model differ in F.
    self_pairs : bool
        Whether to add the pair of each reference with itself, as in the published code. Only with pairs="reference".
    groups : {model: group}, one group for each model or item, or DataFrame, optional
        Models of one group depend on each other, such as fine-tunings of one pre-trained model. Intervals then draw,
        and tests exchange, whole groups, and pairs within a group are left out (their members are alike in everything,
        which raises ρ by itself). A DataFrame by model has one column for each of several crossed groupings.
    noise : float, mapping or Series, optional
        The standard deviation of the error of each F, such as ``grounding.paired_sd(correct)`` for models that were
        tested on the same images. The result then has the reliability of F and the highest ρ that it allows.
    given : like `functionality`, optional
        A number that is held constant, such as the accuracy on the training distribution: F is replaced by its
        residuals from a straight line in `given`, within each layer. The error of `given` itself is not taken into
        account.
    n_bootstrap : int
        The number of resamples of models, at least 20.
    n_permutations : int
        The number of random orders of models; all orders are used if there are 5,040 or fewer.
    level : float
        The level of the intervals, between 0 and 1.
    seed : int
        Seed of resamples and orders, >= 0.
    progress : bool or function(done, total)
        Show a bar, or call this function.

    Returns
    -------
    Benchmark
        A table with one row for each measure, the highest ρ first.

    Raises
    ------
    TypeError
        If `representations` is not a mapping of labels to arrays.
    ValueError
        For F that is missing or the same for all items, fewer than 3 models or groups, a set of fewer than 3 pairs or
        without different gaps, also in resamples (so one layer needs 4 models), and if no measure is defined for all
        pairs.

    Notes
    -----
    Dissimilarities are computed in float64. A measure that is undefined for one of the pairs has no row; `undefined`
    has the reason.

    low, high: units are drawn with replacement. With references, these stay, so the interval does not cover other
    references, and percentiles are widened for few units. With all pairs both ends are drawn, which makes intervals
    rather too wide. Simulated at level 0.95 (ρ from .02 to .35, 100 to 150 studies each): of 100 intervals, 97 to 100
    contained ρ with references (10 and 25 models), 97 to 99 with all pairs (10 models) and 93 to 98 with 5 groups of 5
    models. Intervals of a difference contained it in 97 to 100.

    model_p: one-sided, the fraction of orders with a mean ρ at least as high if models change places, the same way in
    all sets, each with the F of all its items. References keep their place. What depth alone does to ρ is the same in
    every order, so a high ρ with a high model_p is about layers and not about models. Simulated with F that is
    unrelated to representations (400 nulls each): p <= .05 in .05 to .06 of them. With 5 groups of 5 similar models, it
    was .23 to .24 with models as units, and .04 to .05 with `groups`; with `given` .03 (300 nulls) if both follow
    another accuracy, and without it .76.

    spearman_p and kendall_p take the pairs of a reference as independent.

    References
    ----------
    Ding, Denain, Steinhardt 2021, Grounding representation similarity through statistical testing, NeurIPS. Mantel
    1967; Westfall, Young 1993 (max-T); Owen 2007 (crossed groupings); Hesterberg 2015 (widened percentiles).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> F = {f"net{k}": k / 10 for k in range(6)}
    >>> common = rng.normal(size=(60, 4))
    >>> xs = {name: np.hstack([common, 4 * f * common**2]) for name, f in F.items()}
    >>> found = benchmark(xs, F, measures=["cka_debiased", "nbs"], pairs="all", model=list(F), per=None)
    >>> found.table[["spearman", "rank"]].round(2)
                  spearman  rank
    measure
    cka_debiased      0.84     1
    nbs               0.80     2
    """
    chosen, resampling = choose_measures(measures), Resampling(n_bootstrap, n_permutations, level, seed)
    check_pairing(pairs)
    if pairs == "all" and (among is not None or self_pairs):
        raise ValueError("among= and self_pairs= are for references, and pairs='all' has none. Leave them out.")
    recordings = representations
    representations, _ = representations_of(recordings, *chosen.values(), every_pair=False)
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
        raise ValueError(f"{join_names(taken)} is a column of the pairs. Give the measure another name.")
    codes, known = pd.factorize(models)
    check_models(known)
    units = units_of_models(index, models, groups)
    truth = None
    if noise is not None:
        sd = noise_of(spread_to_items(models, index, noise), index)
        truth = TrueFunctionality.estimate(f, sd, places, ends, fitted=1 if given is None else 2)
    found = make_pair_sets(codes, places, ends, values, frame["gap"].to_numpy(float), units, pairs, unclear)
    check_gaps(frame["gap"], str(layers.name), found, resampling)
    distances, undefined = _distances(chosen, recordings, representations, ends, values, pairs, progress)
    frame = frame.assign(**distances)
    merged = {
        name: merge_ties(distance, tolerance_of_sums(distance, chosen[name])) for name, distance in distances.items()
    }
    names = ("gap", str(models.name), str(layers.name))
    return rank(frame, names, merged, found, resampling, truth, undefined)


def _correspondence(
    models: pd.Series, layers: pd.Series, rest: pd.Index | None, one_set: bool
) -> tuple[np.ndarray, str]:
    """Return a number for each item, the same for corresponding items of two models, and why it is unclear, if it is.

    rest: the labels without the model. Without these, items correspond by layer, and within it by their order.
    """
    if rest is not None:
        return pd.factorize(rest)[0], ""
    number = models.groupby([models.to_numpy(), layers.to_numpy()]).cumcount()
    places = pd.factorize(pd.MultiIndex.from_arrays([layers, number]))[0]
    if not number.any():
        return places, ""
    return places, (
        f"'{models[number.to_numpy().argmax()]}' has several items {'' if one_set else f'of one {layers.name}'}, and it"
        " is unknown which of them correspond to which of another model (name them by per=)"
    )


def _with_references(
    best: Mapping[Any, int], layers: pd.Series, across: bool, self_pairs: bool
) -> tuple[Ends, np.ndarray]:
    """Return the ends of the pairs of each reference with the other items, and the set of each pair."""
    one, other, values = list[int](), list[int](), list[Any]()
    for value, i in best.items():
        others = [j for j in range(len(layers)) if (self_pairs or j != i) and (across or layers[j] == layers[i])]
        one, other, values = one + [i] * len(others), other + others, values + [value] * len(others)
    return (np.array(one, int), np.array(other, int)), np.array(values, dtype=object)


def _every_pair(layers: pd.Series, across: bool) -> tuple[Ends, np.ndarray]:
    """Return the ends of all pairs, or of those within a layer, and the set of each pair."""
    one, other = np.triu_indices(len(layers), 1)
    if across:
        return (one, other), np.full(len(one), "all", dtype=object)
    own = layers.to_numpy()
    rows = np.concatenate([np.flatnonzero((own[one] == value) & (own[other] == value)) for value in dict.fromkeys(own)])
    return (one[rows], other[rows]), own[one[rows]].astype(object)


def _distances(
    chosen: Mapping[str, Measure],
    recordings: Mapping[Any, Any],
    representations: Mapping[Any, Any],
    ends: Ends,
    values: np.ndarray,
    pairs: Pairing,
    progress: bool | Tick,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the dissimilarity of each pair by each measure, and why a measure has none.

    recordings: the representations as they were given, whose labels are checked in each table.
    """
    labels, index, (one, other) = list(representations), to_axis(representations), ends
    if pairs == "reference":
        first = list(dict.fromkeys(one))
        tables = [(first, list(range(k, min(k + AT_ONCE, len(labels))))) for k in range(0, len(labels), AT_ONCE)]
    else:
        tables = [
            (rows := sorted({*one[values == value], *other[values == value]}), rows) for value in dict.fromkeys(values)
        ]
    for rows, columns in tables:
        check_correspondence(recordings, labels=[labels[i] for i in {*rows, *columns}])
    found, undefined = {}, {}
    with show_progress(progress, "benchmark", "table") as tick:
        for done, (name, measure) in enumerate(chosen.items()):
            square, reasons = np.full((len(labels), len(labels)), np.nan), dict[Any, str]()
            for k, (rows, columns) in enumerate(tables):
                tick(done * len(tables) + k, len(chosen) * len(tables))
                xs = {labels[i]: _exact(representations[labels[i]]) for i in rows}
                ys = None if columns is rows else {labels[j]: _exact(representations[labels[j]]) for j in columns}
                part = compare_corresponding(measure, xs, ys, on_undefined="mask")
                square[np.ix_(rows, columns)] = part.dissimilarity().to_numpy(float)
                reasons |= part.undefined
            if pairs == "all":
                square = (square + square.T) / 2
            distance = square[one, other]
            missing = np.flatnonzero(np.isnan(distance))
            if len(missing):
                pair = index[one[missing[0]]], index[other[missing[0]]]
                undefined[name] = (
                    f"{len(missing)} of {len(distance)} pairs are undefined:"
                    f" {reasons.get(pair) or reasons.get(pair[::-1])}"
                )
            else:
                found[name] = distance
        tick(len(chosen) * len(tables), len(chosen) * len(tables))
    return found, undefined


def _exact(x: Any) -> np.ndarray:
    """Return x in float64, as NumPy; other than real numbers stay, and the measure refuses them."""
    if hasattr(x, "detach"):
        return x.detach().cpu().double().numpy() if not x.is_complex() else x
    return np.asarray(x, dtype=np.float64) if x.dtype.kind in "fiub" else x
