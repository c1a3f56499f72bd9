"""Measures ranked by how well their distances go with gaps in functionality, with tests and intervals over models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb.results.inference.results import check_draws, check_permutations, compare_with_null
from repsim_nb.results.inference.units import NoOrder, interval_over_units
from repsim_nb.support.errors import join_names, unknown_name

from .benchmark_result import Benchmark
from .correlation import KINDS, combine_p_values, correlate_pairs
from .noise import TrueFunctionality
from .pair_sets import PairSets

Pairing = Literal["reference", "all"]
POWER = 0.8  # of the study for which `detectable` is the ρ that it finds
FEWEST_ORDERS = 20  # of models, for a p-value of .05


@dataclass(frozen=True)
class Resampling:
    """How often models are drawn and exchanged, the level of the intervals, and the seed of both."""

    n_bootstrap: int
    n_permutations: int
    level: float
    seed: int

    def __post_init__(self) -> None:
        check_draws(self.n_bootstrap, self.level)
        check_permutations(self.n_permutations)


def check_pairing(pairs: str) -> None:
    """ValueError for another choice of pairs than "reference" and "all"."""
    if pairs not in ("reference", "all"):
        raise unknown_name("choice of pairs", pairs, ("reference", "all"))


def rank(
    frame: pd.DataFrame,
    names: tuple[str, str, str],
    distances: Mapping[str, np.ndarray],
    pairs: PairSets,
    resampling: Resampling,
    truth: TrueFunctionality | None = None,
    undefined: Mapping[str, str] | None = None,
) -> Benchmark:
    """The benchmark of pairs.

    frame: a row a pair.  names: its columns of gaps, models and layers, these two without 1 and 2.  distances: one
    array a measure, values that are equal up to rounding made equal, as in pairs.gap.  undefined: measures without
    distances, and why.
    """
    model, per = names[1:]
    _check_gaps(frame[names[0]], per, pairs)
    sets, failed = _correlate_sets(frame, names, distances, pairs)
    undefined = {**(undefined or {}), **failed}
    if not len(sets):
        raise ValueError(
            f"no measure has a value for all pairs: {join_names(f'{name}: {why}' for name, why in undefined.items())}"
        )
    xs = {name: distances[name] for name in sets.index.unique("measure")}
    draws = pairs.draws(xs, resampling.n_bootstrap, resampling.seed)
    defined = np.isfinite(draws.to_numpy()).all(axis=1)
    if defined.mean() < 0.5:
        raise ValueError(
            f"in {(~defined).sum()} of {len(defined)} resamples of {pairs.units.number} {pairs.units.name} all gaps or"
            " all distances were the same: there are too few models for an interval"
        )
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
        # a model that is the reference of all is in no pair as the other
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


def _check_gaps(gaps: pd.Series, per: str, pairs: PairSets) -> None:
    for value, rows in pairs.sets.items():
        if len(rows) < 3 or np.ptp(pairs.gap[rows]) == 0:
            what = f"the reference of {per}={value}" if pairs.has_references else f"{per}={value}"
            what += "" if list(pairs.units.groupings) == ["models"] else ", without pairs of one group,"
            raise ValueError(
                f"{what} needs 3 pairs or more whose gaps in functionality differ; it has {len(rows)}, and the first"
                f" gap is {gaps.iloc[rows[0]]:.4g}"
            )


def _correlate_sets(
    frame: pd.DataFrame, names: tuple[str, str, str], distances: Mapping[str, np.ndarray], pairs: PairSets
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rank correlations of each measure in each set of pairs; and measures that have none, with the reason."""
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
        except ValueError as error:  # gaps were seen to differ, so it is the distances that do not
            failed[name] = str(error)
    return pd.DataFrame(rows).set_index(["measure", per]) if rows else pd.DataFrame(), failed


def _test_jointly(
    seen: np.ndarray, null: np.ndarray, every: bool, draws: np.ndarray, pairs: PairSets
) -> dict[str, Any]:
    """What the joint permutation says of each measure: its p, that of the list by max-T, and what it could have
    found.
    """
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
