"""Rank distances of pairs by how well they follow gaps in functionality, with tests and intervals over models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.measures.ties import merge_ties, tolerance_of
from repsim_nb.results.inference.results import check_draws, check_permutations, compare_with_null
from repsim_nb.results.inference.square_tables import precision_of
from repsim_nb.results.inference.units import Groups, NoOrder, interval_over_units
from repsim_nb.support.errors import as_clause, check_name, join_names
from repsim_nb.support.labels import explain_same_text
from repsim_nb.support.seeds import check_seed

from .benchmark_result import Benchmark
from .item_values import check_groups_named, check_models, units_of_models
from .noise import TrueFunctionality, noise_of
from .pair_sets import PairSets, make_pair_sets
from .pairs import KINDS, check_columns, check_numbers, combine_p_values, correlate_pairs, functionality_up_to_sign

Pairing = Literal["reference", "all"]
POWER = 0.8  # `detectable` is the ρ that a study detects with this probability
FEWEST_ORDERS = 20  # of models, for a p-value of .05


@dataclass(frozen=True)
class Resampling:
    """The numbers of resamples and of orders, the level of the intervals, and the seed."""

    n_bootstrap: int
    n_permutations: int
    level: float
    seed: int

    def __post_init__(self) -> None:
        check_draws(self.n_bootstrap, self.level)
        check_permutations(self.n_permutations)
        check_seed(self.seed)


def check_pairing(pairs: str) -> None:
    """Refuse another choice of pairs than "reference" and "all"."""
    check_name("choice of pairs", pairs, ("reference", "all"))


def rank(
    frame: pd.DataFrame,
    names: tuple[str, str, str],
    distances: Mapping[str, np.ndarray],
    pairs: PairSets,
    resampling: Resampling,
    truth: TrueFunctionality | None = None,
    undefined: Mapping[str, str] | None = None,
) -> Benchmark:
    """Return the Benchmark of pairs.

    frame: one row for each pair.  names: its columns of gaps, models and layers, these two without 1 and 2.  distances:
    one array for each measure, with values that are equal up to rounding made equal, as in pairs.gap.  undefined:
    measures without distances, and why.
    """
    model = names[1]
    sets, failed = _correlate_sets(frame, names, distances, pairs)
    undefined = {**(undefined or {}), **failed}
    if not len(sets):
        reasons = join_names(f"{name}: {as_clause(why)}" for name, why in undefined.items())
        raise ValueError(f"no measure is defined for all pairs: {reasons}.")
    xs = {name: distances[name] for name in sets.index.unique("measure")}
    draws = pairs.draws(xs, resampling.n_bootstrap, resampling.seed)
    defined = _check_draws_defined(draws, pairs, "all gaps or all distances")
    draws = draws[defined].reset_index(drop=True)
    means = {
        column: np.array([sets.loc[name, column].to_numpy().mean() for name in xs])
        for column in ("spearman", "kendall")
    }
    columns: dict[str, Any] = {"spearman": means["spearman"]}
    ends = [
        interval_over_units(
            draws[name].to_numpy(), pairs.units.number, resampling.level, (-1.0, 1.0), widen=pairs.has_references
        )
        for name in xs
    ]
    columns["low"], columns["high"] = zip(*ends, strict=True)
    n_orders, no_permutation = 0, ""
    try:
        null, every = pairs.null(xs, resampling.n_permutations, resampling.seed)
    except NoOrder as error:
        no_permutation = str(error)
    else:
        n_orders = len(null) + (not every)
        columns |= _test_jointly(means["spearman"], null, every, draws.to_numpy(), pairs)
    for kind in KINDS:
        columns[kind] = means[kind]
        if pairs.has_references:
            columns[f"{kind}_p"] = [combine_p_values(sets.loc[name, f"{kind}_p"].to_numpy()) for name in xs]
    table = pd.DataFrame(columns, index=pd.Index(list(xs), name="measure"))
    table = table[[column for column in _COLUMNS if column in table]]
    table = table.sort_values("spearman", ascending=False, kind="stable")
    table["n"] = sum(map(len, pairs.sets.values()))
    table["rank"] = table["spearman"].rank(ascending=False, method="min").astype(int)
    table.attrs["level"] = resampling.level
    return Benchmark(
        table=table,
        sets=sets,
        pairs=frame,
        undefined=undefined,
        # a model that is the reference of all layers is never the other item
        models=pd.concat([frame[f"{model}1"], frame[f"{model}2"]]).nunique(),
        level=resampling.level,
        draws=draws[list(table.index)],
        pairing="reference" if pairs.has_references else "all",
        units=pairs.units.number,
        unit=pairs.units.text,
        n_permutations=n_orders,
        no_permutation=no_permutation,
        reliability=None if truth is None else truth.reliability,
        ceiling=None if truth is None else truth.ceiling(pairs.sets, resampling.seed),
    )


_COLUMNS = (
    *("spearman", "low", "high", "model_p", "model_p_adjusted", "permuted", "detectable"),
    *("spearman_p", "kendall", "kendall_p"),
)


def check_gaps(gaps: pd.Series, per: str, pairs: PairSets, resampling: Resampling) -> None:
    """Refuse too few pairs, or pairs without different gaps (also in resamples), before distances are computed."""
    for value, rows in pairs.sets.items():
        if len(rows) < 3 or np.ptp(pairs.gap[rows]) == 0:
            what = f"the reference of {per}={value}" if pairs.has_references else f"{per}={value}"
            what += "" if list(pairs.units.groupings) == ["models"] else ", without pairs of one group,"
            raise ValueError(
                f"{what} needs 3 pairs or more whose gaps in functionality differ; it has {len(rows)}"
                f"{f', and the first gap is {gaps.iloc[rows[0]]:.4g}' if len(rows) else ''}. Add models."
            )
    _check_draws_defined(pairs.draws({"gap": pairs.gap}, resampling.n_bootstrap, resampling.seed), pairs, "all gaps")


def _check_draws_defined(draws: pd.DataFrame, pairs: PairSets, what: str) -> np.ndarray:
    """Return which resamples have a correlation; refuse if fewer than half of them have."""
    defined = np.isfinite(draws.to_numpy()).all(axis=1)
    if defined.mean() < 0.5:
        raise ValueError(
            f"too few models for an interval: in {(~defined).sum()} of {len(defined)} resamples of"
            f" {pairs.units.number} {pairs.units.name} {what} were the same. Add models."
        )
    return defined


def _correlate_sets(
    frame: pd.DataFrame, names: tuple[str, str, str], distances: Mapping[str, np.ndarray], pairs: PairSets
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the rank correlations of each measure in each set of pairs, and why a measure has none."""
    gap, model, per = names
    merged = pd.DataFrame({**distances, gap: pairs.gap})
    rows: list[dict[str, Any]] = []
    failed = {}
    for name in distances:
        own = []
        try:
            for value, places in pairs.sets.items():
                tests = {
                    kind: correlate_pairs(merged.iloc[places], name, gap, kind, "greater", f"{per}={value}")
                    for kind in KINDS
                }
                row = {"measure": name, per: value}
                row |= {"reference": frame[f"{model}1"].iloc[places[0]]} if pairs.has_references else {}
                row |= {kind: test.statistic for kind, test in tests.items()}
                row |= {f"{kind}_p": test.p_value for kind, test in tests.items() if pairs.has_references}
                own.append(row | {"n": len(places)})
            rows += own
        except ValueError as error:  # gaps differ (`check_gaps`), so distances do not
            failed[name] = str(error)
    return pd.DataFrame(rows).set_index(["measure", per]) if rows else pd.DataFrame(), failed


def _test_jointly(
    seen: np.ndarray, null: np.ndarray, every: bool, draws: np.ndarray, pairs: PairSets
) -> dict[str, Any]:
    """Return the columns of the joint permutation: p-values, also adjusted by max-T, and the detectable ρ."""
    p = [compare_with_null(float(value), null[:, k], "greater", every).p_value for k, value in enumerate(seen)]
    mean, sd = null.mean(axis=0), np.maximum(null.std(axis=0), 1e-12)
    furthest = ((null - mean) / sd).max(axis=1)
    adjusted = [compare_with_null(float(value), furthest, "greater", every).p_value for value in (seen - mean) / sd]
    units = pairs.units.number
    few = stats.t(units - 1) if pairs.has_references else stats.norm
    more = np.sqrt(units / (units - 1)) if pairs.has_references else 1.0
    critical = np.sort(null, axis=0)[min(int(np.ceil(0.95 * (len(null) + 1))), len(null)) - 1]
    needed = critical + more * few.ppf(POWER) * draws.std(axis=0, ddof=1)
    return {
        "model_p": p,
        "model_p_adjusted": adjusted,
        "permuted": mean,
        "detectable": np.minimum(needed, 1.0) if len(null) >= FEWEST_ORDERS else np.nan,
    }


def rank_pairs(  # noqa: PLR0913 - keyword-only, independent of each other
    frame: pd.DataFrame,
    distances: Sequence[str],
    gap: str,
    *,
    pairs: Pairing = "reference",
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
    """Rank distances by how well they follow gaps in functionality, for a frame of pairs.

    Parameters
    ----------
    frame : DataFrame
        One row for each pair. Columns {model}1, {per}1 and {model}2, {per}2 name its two items.
    distances : str or sequence of str
        The columns with distances; larger is less alike.
    gap : str
        The column with |F - F'|.
    pairs : {"reference", "all"}
        "reference": the frame has the pairs of `reference_pairs`, whose first item is the reference of its layer.
        "all": every pair once; pairs of an item with itself are left out.
    model, per : str
        The names of the columns, without 1 and 2.
    across : bool
        With all pairs: True makes one set of all pairs, those of different layers too; False makes one set for each
        layer.
    groups : {model: group}, Series or DataFrame by model, optional
        As in `benchmark`.
    noise : float, or Series by the fields of the items or by model, optional
        As in `benchmark`. F follows from all gaps, so it needs pairs="all" and across=True.
    n_bootstrap : int
        The number of resamples of models, at least 20.
    n_permutations : int
        The number of random orders of models; all orders are used if there are 5,040 or fewer.
    level : float
        The level of the intervals, between 0 and 1.
    seed : int
        Seed of resamples and orders, >= 0.

    Returns
    -------
    Benchmark
        A table with one row for each column of distances, the highest ρ first.

    Raises
    ------
    TypeError
        For groups that do not name the models, or if `frame` is not a DataFrame.
    ValueError
        For a column that is missing or not numeric, a pair that occurs twice, several references in one layer, fewer
        than 3 models, or a set of fewer than 3 pairs or without different gaps.

    References
    ----------
    As in `benchmark`.

    Examples
    --------
    >>> F = np.random.default_rng(0).normal(size=8)
    >>> one, other = np.triu_indices(8, 1)
    >>> frame = pd.DataFrame({"seed1": one, "layer1": 0, "seed2": other, "layer2": 0, "gap": abs(F[one] - F[other])})
    >>> frame["distance"] = frame["gap"] ** 2
    >>> rank_pairs(frame, ["distance"], "gap", pairs="all").table[["spearman", "n"]].round(2)
              spearman   n
    measure
    distance       1.0  28
    """
    resampling = Resampling(n_bootstrap, n_permutations, level, seed)
    check_pairing(pairs)
    names = [distances] if isinstance(distances, str) else list(distances)
    _check_frame(frame, names, gap, model, per)
    ends = _labels_of(frame, model, per)
    if pairs == "all":
        frame = frame[ends[0] != ends[1]]
        frame = (frame if across else frame[frame[f"{per}1"] == frame[f"{per}2"]]).reset_index(drop=True)
        ends = _labels_of(frame, model, per)
    items = ends[0].append(ends[1]).unique()
    one, other = (items.get_indexer(end) for end in ends)
    own_set = frame[f"{per}1"].to_numpy()
    _check_once(items, one, other, own_set if pairs == "reference" else np.zeros(len(frame)))
    if pairs == "reference":
        firsts = frame.groupby(f"{per}1", sort=False)[f"{model}1"].nunique()
        if (firsts > 1).any():
            raise ValueError(
                f"pairs='reference' needs one first item for each {per}, the reference; {per} {firsts.idxmax()} has"
                f" {firsts.max()}. Use grounding.reference_pairs, or pairs='all'."
            )
    codes, known = pd.factorize(items.get_level_values(model))
    places = pd.factorize(items.get_level_values(per))[0]
    truth = None
    if noise is not None:
        if pairs != "all" or not across:
            raise ValueError("noise= needs pairs='all' and across=True, since F follows from the gaps of all pairs.")
        f = functionality_up_to_sign(frame, gap, model=model, per=per).loc[items].to_numpy()
        truth = TrueFunctionality.estimate(f, noise_of(noise, items), places, (one, other))
    check_models(known)
    index = pd.Index(known, name=model)
    check_groups_named(index, groups)
    units = units_of_models(index, pd.Series(known, name=model), groups)
    merged = {
        name: merge_ties(
            frame[name].to_numpy(float), tolerance_of(frame[name].to_numpy(float), precision_of(frame[name]))
        )
        for name in [*names, gap]
    }
    values = np.full(len(frame), "all", dtype=object) if pairs == "all" and across else own_set
    found = make_pair_sets(codes, places, (one, other), values, merged[gap], units, pairs)
    check_gaps(frame[gap], per, found, resampling)
    return rank(frame, (gap, model, per), {name: merged[name] for name in names}, found, resampling, truth)


def _labels_of(frame: pd.DataFrame, model: str, per: str) -> list[pd.MultiIndex]:
    """Return the labels of the first items and of the other items."""
    return [pd.MultiIndex.from_frame(frame[[f"{model}{end}", f"{per}{end}"]], names=[model, per]) for end in (1, 2)]


def _check_frame(frame: pd.DataFrame, names: list[str], gap: str, model: str, per: str) -> None:
    """Refuse missing columns, negative gaps, and names that are the same as text only."""
    check_columns(frame, [*names, gap, *(f"{side}{end}" for side in (model, per) for end in (1, 2))])
    check_numbers(frame, [*names, gap])
    if (frame[gap] < 0).any():
        raise ValueError(
            f"'{gap}' must be the size of a difference, |F - F'|; it is below 0 in {int((frame[gap] < 0).sum())} of"
            f" {len(frame)} pairs."
        )
    for side in (model, per):
        one_side, other_side = (set(frame[f"{side}{end}"]) for end in (1, 2))
        if text := explain_same_text(one_side - other_side, other_side - one_side):
            raise ValueError(f"'{side}1' and '{side}2' need labels of one type{text}")


def _check_once(items: pd.Index, one: np.ndarray, other: np.ndarray, own_set: np.ndarray) -> None:
    """Refuse a pair that is in one set twice, whichever item is first."""
    ends = pd.DataFrame({"set": own_set, "first": np.minimum(one, other), "last": np.maximum(one, other)})
    if (twice := ends.duplicated().to_numpy()).any():
        raise ValueError(
            f"each pair must occur once, whichever item is first; that of {items[one[twice][0]]} and"
            f" {items[other[twice][0]]} occurs twice."
        )
