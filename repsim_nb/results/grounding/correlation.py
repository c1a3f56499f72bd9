"""How well distances of pairs correlate with gaps in functionality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from repsim_nb.results.inference import Test
from repsim_nb.results.inference.rank_correlations import asymptotic_test
from repsim_nb.support.errors import join_names

from .gaps import check_columns, check_numbers

KINDS = ("spearman", "kendall")


def correlate(
    pairs: pd.DataFrame,
    distances: str | Sequence[str],
    gap: str,
    *,
    by: str | Sequence[str] | None = None,
    alternative: str = "greater",
) -> pd.DataFrame:
    """How well distances go with a gap in functionality -> DataFrame, a row a distance: spearman (ρ), spearman_p,
    kendall (τ-b), kendall_p, n (pairs in all).

    pairs: a row a pair.  distances: the columns to judge, larger is less alike.  gap: the column |F - F'|.
    by: the column (or columns) that tell the references apart. Statistics are then computed for each reference and
    averaged over them; p is twice the mean of the p-values, at most 1, which holds however they depend on each other
    (their mean itself is no p-value).
    alternative: "greater" asks whether the gap grows with the distance: p is half the two-sided one where the statistic
    is above 0, else one less that half. It takes the pairs of one reference as independent, which the layers of one
    model are not: `benchmark` has another that does not.
    Errors: ValueError for a column that is not there (the nearest names), that holds NaN or no numbers, or is constant
    (for which reference). [Ding, Denain, Steinhardt 2021; the combination of p-values: Rüschendorf 1982, Vovk and Wang
    2020]
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
    """One p-value of several, which may depend on each other in any way: twice their mean, at most 1; a single one as
    it is.
    """
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
        return asymptotic_test(
            part[name].to_numpy(float), part[gap].to_numpy(float), kind, alternative
        )  # the published figures are of the digits as they stand
    except ValueError as error:
        raise ValueError(f"for {where}, '{name}' against '{gap}': {error}") from error
