"""Does a dissimilarity foretell a gap in what networks can do? Rank correlations over pairs of a reference with all others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import unknown
from ..inference import rank_correlation

STATISTICS = ("spearman", "kendall")


def correlate(pairs: pd.DataFrame, distances: str | Sequence[str], gap: str, *, by: str | Sequence[str] | None = None, alternative: str = "greater") -> pd.DataFrame:
    """Rank correlations of distances with the gap in function -> DataFrame, a row a distance: spearman, spearman_p, kendall, kendall_p, n.

    pairs: a row a pair.  distances: columns of dissimilarities.  gap: the column of |F - F'|.  Kendall's is τ-b.
    alternative: "greater" (the larger the distance, the larger the gap), "less" or "two-sided"; one-sided p is p₂/2 where the statistic has the sign asked for, else 1 - p₂/2. It takes pairs as
    independent, which those with one reference nearly are and those of one network are not: a p-value for ranking measures, not for a court.
    by: a column (or several) by whose values pairs are correlated separately, the reference's layer say; the statistics are the means over them. Their p is twice the mean of the single
    p-values, at most 1, which is a p-value however they depend on each other (their mean, as published, is none). n: pairs in all.
    Errors: ValueError for an unknown column, fewer than 3 pairs, NaN, a constant side, naming the distance and the value of `by`.  [Ding, Denain, Steinhardt 2021; Rüschendorf 1982]
    """
    single = within(pairs, distances, gap, by=by, alternative=alternative)
    found = single.groupby(level="distance", sort=False).mean()
    if by is not None:
        for statistic in STATISTICS:
            found[f"{statistic}_p"] = (2 * found[f"{statistic}_p"]).clip(upper=1.0)
    found["n"] = single.groupby(level="distance", sort=False)["n"].sum()
    return found


def within(pairs: pd.DataFrame, distances: str | Sequence[str], gap: str, *, by: str | Sequence[str] | None = None, alternative: str = "greater") -> pd.DataFrame:
    """The same for each value of `by` -> DataFrame, index (distance, by...), the columns of `correlate`."""
    distances = [distances] if isinstance(distances, str) else list(distances)
    by = [] if by is None else [by] if isinstance(by, str) else list(by)
    if not isinstance(pairs, pd.DataFrame):
        raise TypeError(f"pairs are a DataFrame, a row a pair, with a column a distance; got {type(pairs).__name__}")
    if not distances:
        raise ValueError("there is no distance to correlate: name the columns that hold them")
    for column in (*distances, gap, *by):
        if column not in pairs:
            raise unknown("column", column, pairs.columns)
    groups = [((), pairs)] if not by else [(value, some) for value, some in pairs.groupby(by, sort=False)]
    rows = {}
    for distance in distances:
        for value, some in groups:
            rows[(distance, *value)] = _row(some, distance, gap, alternative, ", ".join(f"{name} {one}" for name, one in zip(by, value, strict=True)))
    index = pd.MultiIndex.from_tuples(rows, names=["distance", *by]) if by else pd.Index([distance for distance, *_ in rows], name="distance")
    return pd.DataFrame(list(rows.values()), index=index)


def _row(pairs: pd.DataFrame, distance: str, gap: str, alternative: str, where: str) -> dict[str, float]:
    row: dict[str, float] = {}
    for statistic in STATISTICS:
        try:
            test = rank_correlation(pairs[distance].to_numpy(), pairs[gap].to_numpy(), statistic, alternative)
        except ValueError as error:
            raise ValueError(f"'{distance}' with '{gap}'{f' at {where}' if where else ''}: {error}") from error
        row[statistic], row[f"{statistic}_p"] = test.statistic, test.p_value
    return {**row, "n": len(pairs)}


def scores(pairs: pd.DataFrame, gap: str, *, network: str = "seed", per: str = "layer") -> pd.Series:
    """What items score, from the absolute gaps of all their pairs -> Series by (network, per), 0 for the lowest.

    pairs: a row a pair of items, of any order, with the columns seed1, layer1, seed2, layer2 (the names of `network` and `per`) and `gap`. Gaps leave the scores open up to a
    shift and a reflection: they are turned so that they rise with `per` (probes improve with depth).
    Errors: ValueError where a pair is missing, or gaps are not those of one score an item.
    """
    first, second = (pd.MultiIndex.from_frame(pairs[[_column(pairs, f"{network}{side}"), _column(pairs, f"{per}{side}")]]) for side in (1, 2))
    items = first.append(second).unique().sort_values()
    rows, columns = items.get_indexer(first), items.get_indexer(second)
    apart = np.full((len(items), len(items)), np.nan)
    np.fill_diagonal(apart, 0)
    apart[rows, columns] = apart[columns, rows] = pairs[_column(pairs, gap)].to_numpy(float)
    if np.isnan(apart).any():
        i, j = np.argwhere(np.isnan(apart))[0]
        raise ValueError(f"scores follow from the gaps of all pairs of {len(items)} items; that of {items[i]} and {items[j]} is not there")
    found = apart[np.unravel_index(apart.argmax(), apart.shape)[0]]  # from one end to everybody
    if np.abs(np.abs(found[:, None] - found[None]) - apart).max() > 1e-6 * apart.max():
        raise ValueError(f"'{gap}' is not the absolute difference of one score an item: no scores have these gaps")
    order = pd.factorize(items.get_level_values(1), sort=True)[0]
    rising = np.cov(order, found)[0, 1] >= 0
    return pd.Series(found if rising else found.max() - found, index=items.set_names([network, per]), name=gap.removesuffix("_diff"))


def reference_pairs(pairs: pd.DataFrame, gap: str, *, network: str = "seed", per: str = "layer", itself: bool = True) -> pd.DataFrame:
    """Of all pairs those with a reference, the best-scoring item of each layer -> DataFrame with the columns `per` and `network` (the reference's), other_layer, other_seed, and those of pairs.

    pairs, gap: as for `scores`, which says who is best (of equals the first).  itself: whether the pair of the reference with itself counts, as in the published code.
    """
    found = scores(pairs, gap, network=network, per=per)
    ends = [[f"{name}{side}" for name in (network, per)] for side in (1, 2)]
    rest = [column for column in pairs if column not in (*ends[0], *ends[1])]
    parts = []
    for layer in found.index.get_level_values(per).unique().sort_values():
        best = found.xs(layer, level=per, drop_level=False).idxmax()
        mine = [(pairs[list(end)] == list(best)).all(axis=1) for end in ends]
        for here, (own, other) in zip((mine[0], mine[1] & ~mine[0]), ((0, 1), (1, 0)), strict=True):
            some = pairs[here]
            part = some[ends[own]].set_axis([network, per], axis=1).join(some[ends[other]].set_axis([f"other_{network}", f"other_{per}"], axis=1)).join(some[rest])
            parts.append(part if itself else part[(part[network] != part[f"other_{network}"]) | (part[per] != part[f"other_{per}"])])
    return pd.concat(parts, ignore_index=True)


def _column(pairs: pd.DataFrame, name: Any) -> Any:
    if name not in pairs:
        raise unknown("column", name, pairs.columns)
    return name

