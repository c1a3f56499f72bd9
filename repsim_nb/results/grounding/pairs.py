"""Rank correlation of the distances of pairs with gaps in functionality, and what follows from gaps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from repsim_nb.results.inference import Test, rank_correlation
from repsim_nb.results.inference.rank_correlations import asymptotic_test
from repsim_nb.support.errors import add_context, check_name, join_names


def reference_pairs(pairs: pd.DataFrame, gap: str, *, model: str = "seed", per: str = "layer") -> pd.DataFrame:
    """Select the pairs of a reference: for each layer, the model with the highest functionality there.

    Parameters
    ----------
    pairs : DataFrame
        One row for each unordered pair. Columns {model}1, {per}1, {model}2 and {per}2 name its two items. All other
        columns, such as distances, stay as they are, so for a measure whose two directions differ the frame needs the
        right one.
    gap : str
        The column with |F - F'|. F follows from the gaps, see `functionality`.
    model, per : str
        The names of the columns, without 1 and 2.

    Returns
    -------
    DataFrame
        The same columns, with the reference as first item, layers in order. ``correlate(..., by="layer1")`` then
        averages over the references. A pair of the reference with itself stays if the frame has it.

    Raises
    ------
    ValueError
        As in `functionality`, and for a pair that occurs twice.

    Examples
    --------
    >>> F = {0: 0.1, 1: 0.5, 2: 0.3}
    >>> rows = [(a, "l0", b, "l0") for a in F for b in F if a < b] + [(a, "l0", b, "l1") for a in F for b in F]
    >>> rows += [(a, "l1", b, "l1") for a in F for b in F if a < b]
    >>> frame = pd.DataFrame(rows, columns=["seed1", "layer1", "seed2", "layer2"])
    >>> at = [np.array([F[s] + (l == "l1") for s, l in zip(frame[f"seed{k}"], frame[f"layer{k}"])]) for k in (1, 2)]
    >>> found = reference_pairs(frame.assign(gap=abs(at[0] - at[1])), "gap")
    >>> found.groupby("layer1")["seed1"].agg(["first", "nunique"]).to_dict()
    {'first': {'l0': 1, 'l1': 1}, 'nunique': {'l0': 1, 'l1': 1}}
    """
    f = functionality(pairs, gap, model=model, per=per)
    first, second = [f"{model}1", f"{per}1"], [f"{model}2", f"{per}2"]
    one, other = (pd.MultiIndex.from_frame(pairs[side]) for side in (first, second))
    ends = pd.DataFrame(np.sort(np.stack([f.index.get_indexer(one), f.index.get_indexer(other)]), axis=0).T)
    if ends.duplicated().any():
        twice = pairs[first + second][ends.duplicated().to_numpy()].iloc[0]
        raise ValueError(
            "each pair must occur once, whichever item is first; the frame has"
            f" {', '.join(f'{name}={value}' for name, value in twice.items())} twice."
        )
    parts = []
    for best in f.groupby(level=per).idxmax():
        reversed_ = (other == best) & (one != best)
        half = pairs[(one == best) | reversed_].copy()
        swap = reversed_[(one == best) | reversed_]
        for a, b in zip(first, second, strict=True):
            half[a], half[b] = half[a].where(~swap, half[b]), half[b].where(~swap, half[a])
        parts.append(half)
    return pd.concat(parts, ignore_index=True)


def functionality(pairs: pd.DataFrame, gap: str, *, model: str = "seed", per: str = "layer") -> pd.Series:
    """Compute functionality F from the gaps |F - F'| of all pairs.

    Parameters
    ----------
    pairs, gap, model, per
        As in `reference_pairs`.

    Returns
    -------
    Series
        F by (model, per), 0 for the lowest.

    Raises
    ------
    ValueError
        For missing columns, a missing pair, gaps that are no differences of one number for each item, or F that neither
        grows nor falls with `per`.

    Notes
    -----
    The two items with the largest gap are the ends, and every other item lies between them. Gaps do not show which end
    is the upper one: the sign of F is chosen so that F grows with `per` (probes improve with depth).

    Examples
    --------
    >>> frame = pd.DataFrame([(0, 0, 0, 1, 0.2), (0, 0, 0, 2, 0.5), (0, 1, 0, 2, 0.3)])
    >>> functionality(frame.set_axis(["seed1", "layer1", "seed2", "layer2", "gap"], axis=1), "gap").tolist()
    [0.0, 0.2, 0.5]
    """
    unsigned = functionality_up_to_sign(pairs, gap, model=model, per=per)
    f, items = unsigned.to_numpy(), unsigned.index
    places = items.get_level_values(per)
    unknown = f"gaps do not show which items score higher, only growth with '{per}' does"
    if places.nunique() == 1:
        raise ValueError(f"{unknown}; all items have {per} {places[0]}.")
    slope = rank_correlation(f, pd.factorize(places, sort=True)[0]).statistic
    if slope == 0:
        raise ValueError(f"{unknown}; functionality neither grows nor falls with it.")
    f = f if slope > 0 else f.max() - f
    return pd.Series(f, index=items, name=gap)


def functionality_up_to_sign(pairs: pd.DataFrame, gap: str, *, model: str, per: str) -> pd.Series:
    """Return `functionality` up to its sign: the first item of the largest gap has 0."""
    first, second = [f"{model}1", f"{per}1"], [f"{model}2", f"{per}2"]
    check_columns(pairs, [*first, *second, gap])
    check_numbers(pairs, [gap])
    if not len(pairs) or pairs[gap].max() <= 0:
        raise ValueError(f"functionality needs gaps that differ; '{gap}' is 0 or less in all {len(pairs)} pairs.")
    one, other = (pd.MultiIndex.from_frame(pairs[side], names=[model, per]) for side in (first, second))
    items = one.append(other).unique().sort_values()
    i, j, size = items.get_indexer(one), items.get_indexer(other), pairs[gap].to_numpy(float)
    end = i[size.argmax()]
    there = np.eye(len(items), dtype=bool)
    there[i, j] = there[j, i] = True
    if not there.all():
        lacking = np.argwhere(~there)[0]
        raise ValueError(
            f"functionality needs the gaps of all pairs; there is none for {tuple(items[lacking[0]])} and"
            f" {tuple(items[lacking[1]])}."
        )
    f = np.zeros(len(items))
    f[j[i == end]], f[i[j == end]] = size[i == end], size[j == end]
    wrong = np.abs(np.abs(f[i] - f[j]) - size)
    if wrong.max() > 1e-6 * size.max():
        worst = int(wrong.argmax())
        raise ValueError(
            f"'{gap}' must be differences of one number for each item: from the gaps of {tuple(one[worst])} and"
            f" {tuple(other[worst])} to {tuple(items[end])} follows {abs(f[i[worst]] - f[j[worst]]):.4g} for this pair,"
            f" and '{gap}' is {size[worst]:.4g}."
        )
    return pd.Series(f, index=items, name=gap)


def check_columns(pairs: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse a frame of pairs without these columns."""
    if not isinstance(pairs, pd.DataFrame):
        raise TypeError(f"pairs must be a DataFrame with one row for each pair; got {type(pairs).__name__}.")
    for name in names:
        check_name("column of pairs", name, pairs.columns)
        if pairs[name].ndim == 2:
            raise ValueError(
                f"pairs have {pairs[name].shape[1]} columns '{name}'. Keep one, or give them different names."
            )


def check_numbers(pairs: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse columns of pairs that are not finite numbers."""
    for name in names:
        if not pd.api.types.is_numeric_dtype(pairs[name]):
            raise ValueError(
                f"column '{name}' must be numbers; it is {pairs[name].dtype}, such as {pairs[name].iloc[0]!r}."
                if len(pairs)
                else f"there are no pairs, so column '{name}' is empty."
            )
        bad = int((~np.isfinite(pairs[name].to_numpy(float, na_value=np.nan))).sum())
        if bad:
            raise ValueError(f"'{name}' is undefined (NaN) or infinite in {bad} of {len(pairs)} pairs. Drop those.")


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
        One row for each pair.
    distances : str or sequence of str
        The columns with distances; larger is less alike.
    gap : str
        The column with |F - F'|.
    by : str or sequence of str, optional
        The columns that identify the reference of a pair. Statistics are then computed for each reference and averaged;
        the p-value is twice the mean of the p-values, at most 1, which is valid however they depend on each other.
    alternative : {"greater", "less", "two-sided"}
        "greater" tests whether the gap grows with the distance: p is half the two-sided p-value if the statistic is
        above 0, else one minus that half.

    Returns
    -------
    DataFrame, index "distance"
        Columns: spearman (ρ), spearman_p, kendall (τ-b), kendall_p, n (the number of pairs).

    Raises
    ------
    TypeError
        If `pairs` is not a DataFrame.
    ValueError
        For a missing column (with the nearest names), a column with NaN or no numbers, or a distance or gap that is
        constant (the message names the reference).

    Notes
    -----
    The p-values take the pairs of one reference as independent, which the layers of one model are not. `benchmark` and
    `rank_pairs` have a p-value for that case.

    References
    ----------
    Ding, Denain, Steinhardt 2021, Grounding representation similarity through statistical testing, NeurIPS. Combination
    of p-values: Vovk and Wang 2020, Combining p-values via averaging, Biometrika.

    Examples
    --------
    >>> pairs = pd.DataFrame({"distance": [1, 2, 3, 4], "gap": [0.1, 0.2, 0.4, 0.3]})
    >>> correlate(pairs, "distance", "gap").round(3)
              spearman  spearman_p  kendall  kendall_p  n
    distance
    distance       0.8         0.1    0.667      0.087  4
    """
    names = [distances] if isinstance(distances, str) else list(distances)
    keys = [] if by is None else [by] if isinstance(by, str) else list(by)
    if not names:
        raise ValueError("correlate needs at least one column of distances; got none.")
    check_columns(pairs, [*names, gap, *keys])
    check_numbers(pairs, [*names, gap])
    if keys and pairs[keys].isna().any(axis=None):
        raise ValueError(
            f"{join_names(keys)} is undefined in {int(pairs[keys].isna().any(axis=1).sum())} of {len(pairs)} pairs;"
            " every pair needs a reference."
        )
    if not len(pairs):
        raise ValueError("correlate needs pairs; the frame has no rows.")
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
    """Combine p-values that may depend on each other: twice their mean, at most 1; a single one stays."""
    return float(p_values[0]) if len(p_values) == 1 else min(1.0, 2 * float(np.mean(p_values)))


def correlate_pairs(part: pd.DataFrame, name: str, gap: str, kind: str, alternative: str, where: str) -> Test:
    """Test the pairs of one reference, which `where` names in errors."""
    for column in (name, gap):
        if part[column].nunique() == 1 and len(part) > 2:
            raise ValueError(
                f"for {where} '{column}' is {part[column].iloc[0]:.4g} in all {len(part)} pairs, so there is no rank"
                " correlation."
            )
    with add_context(f"for {where}, '{name}' against '{gap}'", ValueError):
        # published figures take numbers as they are, without ties up to rounding
        return asymptotic_test(part[name].to_numpy(float), part[gap].to_numpy(float), kind, alternative)
