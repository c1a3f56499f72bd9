"""How well distances of pairs go with gaps in functionality, and what follows from gaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from repsim_nb.results.inference import Test, rank_correlation
from repsim_nb.results.inference.rank_correlations import asymptotic_test
from repsim_nb.support.errors import join_names, unknown_name


def reference_pairs(pairs: pd.DataFrame, gap: str, *, model: str = "seed", per: str = "layer") -> pd.DataFrame:
    """Select the pairs of a reference: for each layer, the model that scores best there.

    Parameters
    ----------
    pairs : DataFrame
        A row an unordered pair; columns {model}1, {per}1, {model}2, {per}2 name its two items. Columns that belong to
        no side, such as distances, stay as they are: of a measure whose two directions differ the frame holds one.
    gap : str
        The column |F - F'|. What F is follows from the gaps, see `functionality`.
    model, per : str
        What columns are called.

    Returns
    -------
    DataFrame
        The same columns, the reference written first, its layers in order. A pair of the reference with itself stays if
        the frame has it. ``correlate(..., by="layer1")`` then averages over the references.

    Raises
    ------
    ValueError
        As `functionality`, and for a pair that is there twice.
    """
    f = functionality(pairs, gap, model=model, per=per)
    first, second = [f"{model}1", f"{per}1"], [f"{model}2", f"{per}2"]
    one, other = (pd.MultiIndex.from_frame(pairs[side]) for side in (first, second))
    ends = pd.DataFrame(np.sort(np.stack([f.index.get_indexer(one), f.index.get_indexer(other)]), axis=0).T)
    if ends.duplicated().any():
        twice = pairs[first + second][ends.duplicated().to_numpy()].iloc[0]
        raise ValueError(
            "a pair is there once, whichever item stands first; the frame has"
            f" {', '.join(f'{name}={value}' for name, value in twice.items())} again"
        )
    parts = []
    for best in f.groupby(level=per).idxmax():
        turned = (other == best) & (one != best)
        half = pairs[(one == best) | turned].copy()
        swap = turned[(one == best) | turned]
        for a, b in zip(first, second, strict=True):
            half[a], half[b] = half[a].where(~swap, half[b]), half[b].where(~swap, half[a])
        parts.append(half)
    return pd.concat(parts, ignore_index=True)


def functionality(pairs: pd.DataFrame, gap: str, *, model: str = "seed", per: str = "layer") -> pd.Series:
    """Compute what F must be if only the gaps |F - F'| of all pairs are known.

    The two items furthest apart are the ends, and every other lies between them. Gaps do not show which end is the
    upper one: F is turned so that it grows with `per` (probes read more from later layers).

    Parameters
    ----------
    pairs, gap, model, per
        As in `reference_pairs`.

    Returns
    -------
    Series
        By (model, per), 0 for the lowest.

    Raises
    ------
    ValueError
        For missing columns, a pair that is not there, gaps that are no differences of one number an item, F that
        neither grows nor falls with `per`.
    """
    unsigned = functionality_up_to_sign(pairs, gap, model=model, per=per)
    f, items = unsigned.to_numpy(), unsigned.index
    places = items.get_level_values(per)
    if places.nunique() == 1:
        raise ValueError(
            f"gaps do not tell which items score higher, growth with '{per}' does; here all items have {per}"
            f" {places[0]}"
        )
    slope = rank_correlation(f, pd.factorize(places, sort=True)[0]).statistic
    if slope == 0:
        raise ValueError(
            f"gaps do not tell which items score higher, growth with '{per}' does; here functionality neither grows nor"
            " falls with it"
        )
    f = f if slope > 0 else f.max() - f
    return pd.Series(f, index=items, name=gap)


def functionality_up_to_sign(pairs: pd.DataFrame, gap: str, *, model: str, per: str) -> pd.Series:
    """`functionality` up to its sign: the item that comes first in the largest gap has 0."""
    first, second = [f"{model}1", f"{per}1"], [f"{model}2", f"{per}2"]
    check_columns(pairs, [*first, *second, gap])
    check_numbers(pairs, [gap])
    if not len(pairs) or pairs[gap].max() <= 0:
        raise ValueError(f"functionality follows from gaps that differ; '{gap}' is 0 or less in all {len(pairs)} pairs")
    one, other = (pd.MultiIndex.from_frame(pairs[side], names=[model, per]) for side in (first, second))
    items = one.append(other).unique().sort_values()
    i, j, size = items.get_indexer(one), items.get_indexer(other), pairs[gap].to_numpy(float)
    end = i[size.argmax()]
    there = np.eye(len(items), dtype=bool)
    there[i, j] = there[j, i] = True
    if not there.all():
        lacking = np.argwhere(~there)[0]
        raise ValueError(
            f"functionality follows from the gaps of all pairs; there is none of {tuple(items[lacking[0]])} and"
            f" {tuple(items[lacking[1]])}"
        )
    f = np.zeros(len(items))
    f[j[i == end]], f[i[j == end]] = size[i == end], size[j == end]
    wrong = np.abs(np.abs(f[i] - f[j]) - size)
    if wrong.max() > 1e-6 * size.max():
        worst = int(wrong.argmax())
        raise ValueError(
            f"'{gap}' holds no differences of one number an item: those of {tuple(one[worst])} and"
            f" {tuple(other[worst])} to {tuple(items[end])} make their gap {abs(f[i[worst]] - f[j[worst]]):.4g}, and it"
            f" is {size[worst]:.4g}"
        )
    return pd.Series(f, index=items, name=gap)


def check_columns(pairs: pd.DataFrame, names: Sequence[str]) -> None:
    if not isinstance(pairs, pd.DataFrame):
        raise TypeError(f"pairs come as a DataFrame, a row a pair; got {type(pairs).__name__}")
    for name in names:
        if name not in pairs:
            raise unknown_name("column of pairs", name, pairs.columns)
        if pairs[name].ndim == 2:
            raise ValueError(
                f"pairs have {pairs[name].shape[1]} columns '{name}': keep one, or give them names of their own"
            )


def check_numbers(pairs: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if not pd.api.types.is_numeric_dtype(pairs[name]):
            raise ValueError(
                f"'{name}' is to hold numbers; it holds {pairs[name].dtype}, such as {pairs[name].iloc[0]!r}"
                if len(pairs)
                else f"there are no pairs, so '{name}' holds nothing"
            )
        bad = int((~np.isfinite(pairs[name].to_numpy(float, na_value=np.nan))).sum())
        if bad:
            raise ValueError(f"'{name}' is undefined (NaN) or infinite in {bad} of {len(pairs)} pairs: leave those out")


KINDS = ("spearman", "kendall")


def correlate(
    pairs: pd.DataFrame,
    distances: str | Sequence[str],
    gap: str,
    *,
    by: str | Sequence[str] | None = None,
    alternative: str = "greater",
) -> pd.DataFrame:
    """Correlate distances with a gap in functionality.

    Parameters
    ----------
    pairs : DataFrame
        A row a pair.
    distances : str or sequence of str
        The columns to judge; larger is less alike.
    gap : str
        The column |F - F'|.
    by : str or sequence of str, optional
        The columns that distinguish the references. Statistics are then computed for each reference and averaged over
        them; p is twice the mean of the p-values, at most 1, which holds however they depend on each other (their mean
        itself is no p-value).
    alternative : {"greater", "less", "two-sided"}
        "greater" asks whether the gap grows with the distance: p is half the two-sided one if the statistic is above 0,
        else one less that half. It takes the pairs of one reference as independent, which the layers of one model are
        not: `benchmark` has another that does not.

    Returns
    -------
    DataFrame
        A row a distance: spearman (ρ), spearman_p, kendall (τ-b), kendall_p, n (pairs in all).

    Raises
    ------
    ValueError
        For a column that is not there (with the nearest names), that holds NaN or no numbers, or is constant (for which
        reference).

    References
    ----------
    Ding, Denain, Steinhardt 2021; the combination of p-values: Rüschendorf 1982, Vovk and Wang 2020.

    Examples
    --------
    >>> pairs = pd.DataFrame({"distance": [1, 2, 3, 4], "gap": [0.1, 0.2, 0.4, 0.3]})
    >>> round(float(correlate(pairs, "distance", "gap").loc["distance", "spearman"]), 3)
    0.8
    """
    names = [distances] if isinstance(distances, str) else list(distances)
    keys = [] if by is None else [by] if isinstance(by, str) else list(by)
    if not names:
        raise ValueError("there is no distance to judge: name one column or several")
    check_columns(pairs, [*names, gap, *keys])
    check_numbers(pairs, [*names, gap])
    if keys and pairs[keys].isna().any(axis=None):
        raise ValueError(
            f"{join_names(keys)} is undefined in {int(pairs[keys].isna().any(axis=1).sum())} of {len(pairs)} pairs:"
            " every pair has a reference"
        )
    if not len(pairs):
        raise ValueError("there are no pairs to judge: the frame has no rows")
    groups = [("all pairs", pairs)]
    if keys:
        groups = [
            (" and ".join(f"{k}={v}" for k, v in zip(keys, value, strict=True)), part)
            for value, part in pairs.groupby(keys, sort=False)
        ]
    rows = {}
    for name in names:
        tests = {
            kind: [correlate_pairs(part, name, gap, kind, alternative, where) for where, part in groups]
            for kind in KINDS
        }
        rows[name] = {
            column: value
            for kind, found in tests.items()
            for column, value in (
                (kind, float(np.mean([test.statistic for test in found]))),
                (f"{kind}_p", combine_p_values([test.p_value for test in found])),
            )
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("distance").assign(n=len(pairs))


def combine_p_values(p_values: Sequence[float]) -> float:
    """One p-value of several, which may depend on each other: twice their mean, at most 1; a single one as it is."""
    return float(p_values[0]) if len(p_values) == 1 else min(1.0, 2 * float(np.mean(p_values)))


def correlate_pairs(part: pd.DataFrame, name: str, gap: str, kind: str, alternative: str, where: str) -> Test:
    """The test for the pairs of one reference; where: that reference, for the error."""
    for column in (name, gap):
        if part[column].nunique() == 1 and len(part) > 2:
            raise ValueError(
                f"for {where} '{column}' is {part[column].iloc[0]:.4g} in all {len(part)} pairs, so there is no order"
                " to correlate"
            )
    try:
        # the published figures are of the digits as they are
        return asymptotic_test(part[name].to_numpy(float), part[gap].to_numpy(float), kind, alternative)
    except ValueError as error:
        raise ValueError(f"for {where}, '{name}' against '{gap}': {error}") from error
