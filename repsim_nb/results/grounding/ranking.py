"""The benchmark: measures ranked by how well their distances go with gaps in functionality, with tests and intervals
over models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb import measures
from repsim_nb.measures import CCA, Measure
from repsim_nb.measures.ties import merge_ties, tolerance_of
from repsim_nb.results.comparison import compare
from repsim_nb.results.inference.results import check_draws, check_permutations, compare_with_null
from repsim_nb.results.inference.samples import representations_of
from repsim_nb.results.inference.square_tables import precision_of, tolerance_of_sums, values_by_item
from repsim_nb.results.inference.units import FEWEST_UNITS, Groups, NoOrder, Units, interval_over_units
from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.labels import Choice, explain_same_text, short_labels, to_axis
from repsim_nb.support.progress import Tick, show_progress

from .functionality import Errors, best_items, functionality_of, gaps, item_values, noise_of, residuals
from .joint import PairSets
from .models import by_item_of_model, check_named, units_of_models
from .pairs import KINDS, check_columns, check_numbers, combine_p_values, correlate_pairs, functionality_up_to_sign
from .results import Benchmark

MEASURES: dict[str, Measure] = {
    "pwcca_all": CCA(
        summary="projection_weighted", normalise="all"
    ),  # the published one: weights of the reference, over all its directions
    "pwcca_all_other": CCA(summary="projection_weighted", normalise="all", weights="y"),
    "pwcca_other": CCA(summary="projection_weighted", weights="y"),
    **measures.REPRESENTATIONAL,
}
Measures = Mapping[str, str | Measure] | Iterable[str | Measure] | None
Which = Literal["reference", "all"]
# items of a table: what is prepared of them must fit into memory, the references are prepared for each part again
AT_ONCE = 64
POWER = 0.8


def benchmark(
    representations: Mapping[Any, Any],
    functionality: Mapping[Any, float] | pd.Series,
    *,
    measures: Measures = None,
    pairs: Which = "reference",
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
    chosen = choose_measures(measures)
    check_draws(n_bootstrap, level)
    check_permutations(n_permutations)
    if pairs not in ("reference", "all"):
        raise unknown_name("choice of pairs", pairs, ("reference", "all"))
    if pairs == "all" and (among is not None or self_pairs):
        raise ValueError("among= and self_pairs= are about references, and pairs='all' has none: leave them out")
    representations, _ = representations_of(representations)
    labels = list(representations)
    index = to_axis(representations)
    models = values_by_item(index, model, "model")
    layers = (
        pd.Series("all", index=range(len(labels)), name="per") if per is None else values_by_item(index, per, "per")
    )
    f = functionality_of(labels, index, by_item_of_model(models, index, functionality))
    unclear = ""
    if isinstance(model, str) and (per is None or isinstance(per, str)) and index.nlevels > 1:
        rest = index.droplevel(model)
    else:  # items of two models correspond by their layer, and within it by their order
        number = models.groupby([models.to_numpy(), layers.to_numpy()]).cumcount()
        rest = pd.MultiIndex.from_arrays([layers, number])
        if number.any():
            unclear = (
                f"'{models[number.to_numpy().argmax()]}' has several items"
                f" {'' if per is None else f'of one {layers.name}'}, and which of them correspond to which of another"
                " model is unknown: name them by per="
            )
    places = pd.factorize(rest)[0]
    if across is None:
        across = bool((pd.Series(f).groupby(models.to_numpy()).nunique() > 1).any())
    if given is not None:
        f = residuals(f, item_values(labels, index, by_item_of_model(models, index, given), "given"), places)
    if pairs == "reference":
        one, other, values = _with_references(best_items(labels, f, layers, among), layers, across, self_pairs)
    else:
        one, other, values = _every_pair(layers, across)
    fields = (str(models.name), str(layers.name))
    names = short_labels(index)
    frame = pd.DataFrame(
        {
            f"{side}{end}": of.to_numpy()[at]
            for end, at in (("1", one), ("2", other))
            for side, of in zip(fields, (models, layers), strict=True)
        }
    )
    frame = frame.assign(
        **{
            "reference" if pairs == "reference" else "item": [names[i] for i in one],
            "other": [names[j] for j in other],
            "gap": gaps(f[one], f[other]),
        }
    )
    if taken := [name for name in chosen if name in frame]:
        raise ValueError(f"{join_names(taken)} is a column of the pairs: give the measure another name")
    codes, known = pd.factorize(models)
    _check_models(known)
    units = units_of_models(index, models, groups)
    errors = (
        None
        if noise is None
        else Errors(
            f,
            noise_of(by_item_of_model(models, index, noise), index),
            places,
            one,
            other,
            fitted=1 if given is None else 2,
        )
    )
    distances, undefined = _distances(chosen, representations, one, other, values, pairs, progress)
    frame = frame.assign(**distances)
    found = PairSets(
        codes[one],
        codes[other],
        (places[one], places[other]),
        _sets(values, units, codes[one], codes[other]),
        frame["gap"].to_numpy(float),
        units,
        np.unique(codes[one]) if pairs == "reference" else None,
        unclear,
    )
    merged = {
        name: merge_ties(distance, tolerance_of_sums(distance, chosen[name])) for name, distance in distances.items()
    }
    return _ranked(frame, merged, "gap", fields, found, undefined, n_bootstrap, n_permutations, level, seed, errors)


def rank_pairs(
    frame: pd.DataFrame,
    distances: Sequence[str],
    gap: str,
    *,
    pairs: Which = "reference",
    model: str = "seed",
    per: str = "layer",
    across: bool = True,
    groups: Groups = None,
    noise: float | None = None,
    n_bootstrap: int = 1999,
    n_permutations: int = 999,
    level: float = 0.95,
    seed: int = 0,
) -> Benchmark:
    """Rank distances by how well they go with gaps in functionality, for pairs that are there already.

    Parameters
    ----------
    frame : DataFrame
        A row a pair. Columns {model}1, {per}1 and {model}2, {per}2 name its two items.
    distances : columns of distances, larger is less alike
    gap : str
        The column |F - F'|.
    pairs : "reference" or "all"
        "reference": the pairs of `reference_pairs`, whose first item is the reference of its layer. "all": every pair
        once; pairs of an item with itself are left out.
    model, per : str
        What columns are called.
    across : bool
        With all pairs: those of different layers, too, as one set; otherwise one set a layer.
    groups : {model: group}, Series or DataFrame by model, optional
        As in `benchmark`.
    noise : float, or Series by the fields of the items or by model, optional
        As in `benchmark`; F follows from all gaps, so it needs pairs="all" and across=True.
    n_bootstrap, n_permutations, level, seed : as in `benchmark`

    Returns
    -------
    Benchmark

    Raises
    ------
    ValueError
        For columns that are not there or hold no numbers, a pair that is there twice, several references in one layer,
        fewer than 3 models.
    TypeError
        For groups without names of models.

    References
    ----------
    As in `benchmark`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> F = rng.normal(size=8)
    >>> one, other = np.triu_indices(8, 1)
    >>> frame = pd.DataFrame({"seed1": one, "layer1": 0, "seed2": other, "layer2": 0, "gap": abs(F[one] - F[other])})
    >>> frame["distance"] = frame["gap"] ** 2
    >>> round(float(rank_pairs(frame, ["distance"], "gap", pairs="all").table.loc["distance", "spearman"]), 3)
    1.0
    """
    check_draws(n_bootstrap, level)
    check_permutations(n_permutations)
    if pairs not in ("reference", "all"):
        raise unknown_name("choice of pairs", pairs, ("reference", "all"))
    names = [distances] if isinstance(distances, str) else list(distances)
    check_columns(frame, [*names, gap, *(f"{side}{end}" for side in (model, per) for end in (1, 2))])
    check_numbers(frame, [*names, gap])
    if (frame[gap] < 0).any():
        raise ValueError(
            f"'{gap}' is the size of a difference, |F - F'|, and it is below 0 in {int((frame[gap] < 0).sum())} of"
            f" {len(frame)} pairs"
        )
    for side in (model, per):
        one_side, other_side = (set(frame[f"{side}{end}"]) for end in (1, 2))
        if text := explain_same_text(one_side - other_side, other_side - one_side):
            raise ValueError(f"'{side}1' and '{side}2' name the same things{text}")
    ends = [pd.MultiIndex.from_frame(frame[[f"{model}{end}", f"{per}{end}"]], names=[model, per]) for end in (1, 2)]
    errors = None
    if pairs == "all":
        frame = frame[ends[0] != ends[1]]
        frame = (frame if across else frame[frame[f"{per}1"] == frame[f"{per}2"]]).reset_index(drop=True)
        ends = [pd.MultiIndex.from_frame(frame[[f"{model}{end}", f"{per}{end}"]], names=[model, per]) for end in (1, 2)]
    items = ends[0].append(ends[1]).unique()
    one, other = (items.get_indexer(end) for end in ends)
    twice = (
        pd.DataFrame(np.sort(np.stack([one, other]), axis=0).T)
        .assign(set=frame[f"{per}1"] if pairs == "reference" else 0)
        .duplicated()
        .to_numpy()
    )
    if twice.any():
        raise ValueError(
            f"a pair is there once, whichever item stands first; that of {items[one[twice][0]]} and"
            f" {items[other[twice][0]]} is there again"
        )
    if pairs == "reference":
        firsts = frame.groupby(f"{per}1", sort=False)[f"{model}1"].nunique()
        if (firsts > 1).any():
            raise ValueError(
                f"pairs='reference' needs one first item for each {per}, the reference; {per} {firsts.idxmax()} has"
                f" {firsts.max()}. Use grounding.reference_pairs, or pairs='all'"
            )
    codes, known = pd.factorize(items.get_level_values(model))
    places = pd.factorize(items.get_level_values(per))[0]
    values = np.full(len(frame), "all", dtype=object) if pairs == "all" and across else frame[f"{per}1"].to_numpy()
    if noise is not None:
        if pairs != "all" or not across:
            raise ValueError("F follows from the gaps of all pairs, so noise= needs pairs='all' and across=True")
        f = functionality_up_to_sign(frame, gap, model=model, per=per).loc[items].to_numpy()
        errors = Errors(f, noise_of(noise, items), places, one, other)
    _check_models(known)
    index = pd.Index(known, name=model)
    check_named(index, groups)
    units = units_of_models(index, pd.Series(known, name=model), groups)
    merged = {
        name: merge_ties(
            frame[name].to_numpy(float), tolerance_of(frame[name].to_numpy(float), precision_of(frame[name]))
        )
        for name in [*names, gap]
    }
    found = PairSets(
        codes[one],
        codes[other],
        (places[one], places[other]),
        _sets(values, units, codes[one], codes[other]),
        merged[gap],
        units,
        np.unique(codes[one]) if pairs == "reference" else None,
    )
    return _ranked(
        frame,
        {name: merged[name] for name in names},
        gap,
        (model, per),
        found,
        {},
        n_bootstrap,
        n_permutations,
        level,
        seed,
        errors,
    )


def _check_models(known: Sequence[Any]) -> None:
    if len(known) < FEWEST_UNITS:
        raise ValueError(
            f"models are drawn for intervals, and there {'is' if len(known) == 1 else 'are'} {len(known)}"
            f" ({join_names(known)}): {FEWEST_UNITS} are the least, 10 or more say something"
        )


def _with_references(
    best: Mapping[Any, int], layers: pd.Series, across: bool, self_pairs: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    one, other, values = [], [], []
    for value, i in best.items():
        others = [j for j in range(len(layers)) if (self_pairs or j != i) and (across or layers[j] == layers[i])]
        one, other, values = one + [i] * len(others), other + others, values + [value] * len(others)
    return np.array(one, int), np.array(other, int), np.array(values, dtype=object)


def _every_pair(layers: pd.Series, across: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    one, other = np.triu_indices(len(layers), 1)
    if across:
        return one, other, np.full(len(one), "all", dtype=object)
    own = layers.to_numpy()
    rows = np.concatenate([np.flatnonzero((own[one] == value) & (own[other] == value)) for value in dict.fromkeys(own)])
    return one[rows], other[rows], own[one[rows]].astype(object)


def _distances(
    chosen: Mapping[str, Measure],
    representations: Mapping[Any, Any],
    one: np.ndarray,
    other: np.ndarray,
    values: np.ndarray,
    pairs: Which,
    progress: bool | Tick,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The dissimilarity of each pair by each measure, and why a measure has none."""
    labels = list(representations)
    index = to_axis(representations)
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
            square, reasons = np.full((len(labels), len(labels)), np.nan), {}
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


def _ranked(
    frame: pd.DataFrame,
    distances: dict[str, np.ndarray],
    gap: str,
    fields: tuple[str, str],
    pairs: PairSets,
    undefined: dict[str, str],
    n_bootstrap: int,
    n_permutations: int,
    level: float,
    seed: int,
    errors: Errors | None,
) -> Benchmark:
    """The benchmark of these pairs. distances: one array a measure, values that are equal up to rounding made equal, as
    in pairs.gap.
    """
    model, per = fields
    judged_frame = pd.DataFrame({**distances, gap: pairs.gap})
    with_references = pairs.fixed is not None
    for value, rows in pairs.sets.items():
        if len(rows) < 3 or judged_frame[gap].iloc[rows].nunique() == 1:
            what = f"the reference of {per}={value}" if with_references else f"{per}={value}"
            what += "" if list(pairs.units.groupings) == ["models"] else ", without pairs of one group,"
            raise ValueError(
                f"{what} needs 3 pairs or more whose gaps in functionality differ; it has {len(rows)}, and the first"
                f" gap is {frame[gap].iloc[rows[0]]:.4g}"
            )
    tests: dict[str, dict[Any, dict[str, Any]]] = {}
    for name in distances:
        try:
            tests[name] = {
                value: {
                    kind: correlate_pairs(judged_frame.iloc[rows], name, gap, kind, "greater", f"{per}={value}")
                    for kind in KINDS
                }
                for value, rows in pairs.sets.items()
            }
        except ValueError as error:  # gaps were seen to differ, so it is the distances that do not
            undefined[name] = str(error)
    if not tests:
        raise ValueError(
            f"no measure has a value for all pairs: {join_names(f'{name}: {why}' for name, why in undefined.items())}"
        )
    xs = {name: distances[name] for name in tests}
    rho = {name: {value: test["spearman"].statistic for value, test in its.items()} for name, its in tests.items()}
    draws = pairs.draws(xs, n_bootstrap, seed)
    defined = np.isfinite(draws.to_numpy()).all(axis=1)
    if defined.mean() < 0.5:
        raise ValueError(
            f"in {(~defined).sum()} of {n_bootstrap} resamples of {pairs.units.number} {pairs.units.name} all gaps or"
            " all distances were the same: there are too few models for an interval"
        )
    draws = draws[defined].reset_index(drop=True)
    units = pairs.units.number
    table = pd.DataFrame({"spearman": {name: float(np.mean(list(its.values()))) for name, its in rho.items()}})
    ends = {
        name: interval_over_units(draws[name].to_numpy(), units, level, (-1.0, 1.0), widen=with_references)
        for name in tests
    }
    table = table.assign(low=[ends[name][0] for name in tests], high=[ends[name][1] for name in tests])
    orders, no_order = 0, ""
    try:
        values, every = pairs.null(xs, n_permutations, seed)
    except NoOrder as error:
        no_order = str(error)
    else:
        orders = len(values) + (not every)
        table = table.assign(
            **_joint(table["spearman"].to_numpy(), values, every, draws[list(tests)].to_numpy(), units, with_references)
        )
    table["kendall"] = [float(np.mean([test["kendall"].statistic for test in its.values()])) for its in tests.values()]
    if with_references:
        for kind in KINDS:
            table[f"{kind}_p"] = [
                combine_p_values([test[kind].p_value for test in its.values()]) for its in tests.values()
            ]
    order = [
        "spearman",
        "low",
        "high",
        "model_p",
        "model_p_adjusted",
        "permuted",
        "detectable",
        "spearman_p",
        "kendall",
        "kendall_p",
    ]
    table = (
        table[[column for column in order if column in table]]
        .rename_axis("measure")
        .sort_values("spearman", ascending=False, kind="stable")
    )
    table = table.assign(
        n=sum(map(len, pairs.sets.values())), rank=table["spearman"].rank(ascending=False, method="min").astype(int)
    )
    table.attrs["level"] = level
    rows = []
    for name, its in tests.items():
        for value, test in its.items():
            row = {"measure": name, per: value} | (
                {"reference": frame[f"{model}1"].iloc[pairs.sets[value][0]]} if with_references else {}
            )
            row |= {"spearman": rho[name][value], "kendall": test["kendall"].statistic}
            row |= {f"{kind}_p": test[kind].p_value for kind in KINDS if with_references}
            rows.append(row | {"n": len(pairs.sets[value])})
    everybody = pd.concat(
        [frame[f"{model}1"], frame[f"{model}2"]]
    ).nunique()  # a model that is the reference of all is in no pair as the other
    return Benchmark(
        table,
        pd.DataFrame(rows).set_index(["measure", per]),
        frame,
        undefined,
        everybody,
        level,
        draws[list(table.index)],
        "reference" if with_references else "all",
        units,
        pairs.units.text,
        orders,
        no_order,
        None if errors is None else errors.reliability,
        None if errors is None else errors.ceiling(pairs.sets, seed),
    )


def _sets(values: np.ndarray, units: Units, one: np.ndarray, other: np.ndarray) -> dict[Any, np.ndarray]:
    """The pairs of each set, without those of two models in one group."""
    counted = units.differ(one, other) | (one == other)
    return {value: np.flatnonzero((values == value) & counted) for value in dict.fromkeys(values)}


def _joint(
    seen: np.ndarray, null: np.ndarray, every: bool, draws: np.ndarray, units: int, widen: bool
) -> dict[str, list[float]]:
    """What the joint permutation says of each measure: its p, that of the list by max-T, and what it could have
    found.
    """
    p = [compare_with_null(float(value), null[:, k], "greater", every).p_value for k, value in enumerate(seen)]
    mean, sd = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-12)
    furthest = ((null - mean) / sd).max(axis=1)
    adjusted = [compare_with_null(float(value), furthest, "greater", every).p_value for value in (seen - mean) / sd]
    more, power = (
        (np.sqrt(units / (units - 1)), stats.t.ppf(POWER, units - 1)) if widen else (1.0, stats.norm.ppf(POWER))
    )
    needed = np.sort(null, axis=0)[min(int(np.ceil(0.95 * (len(null) + 1))), len(null)) - 1] + more * power * draws.std(
        axis=0, ddof=1
    )
    return {
        "model_p": p,
        "model_p_adjusted": adjusted,
        "permuted": list(mean),
        "detectable": list(np.minimum(needed, 1.0)) if len(null) >= 20 else [np.nan] * len(p),
    }


def choose_measures(chosen: Measures) -> dict[str, Measure]:
    """Measures by the names that tables have them under; None is all of MEASURES."""
    if chosen is None:
        return dict(MEASURES)
    if isinstance(chosen, (str, Measure)):
        chosen = [chosen]
    found = {}
    for item in chosen:
        given = chosen[item] if isinstance(chosen, Mapping) else item
        measure = MEASURES.get(given) if isinstance(given, str) else given
        measure = measures.get(given) if measure is None else measures.get(measure)
        name = item if isinstance(chosen, Mapping) or isinstance(item, str) else measures.short_name(measure)
        if name in found and found[name] is not measure:
            raise ValueError(f"two measures have the name '{name}': pass {{name: measure}}")
        found[name] = measure
    if not found:
        raise ValueError("there is no measure to judge: name one or several")
    return found


def _exact(x: Any) -> np.ndarray:
    """In float64, as NumPy; what holds no real numbers stays, and the measure says so."""
    if hasattr(x, "detach"):
        return x.detach().cpu().double().numpy() if not x.is_complex() else x
    return np.asarray(x, dtype=np.float64) if x.dtype.kind in "fiub" else x
