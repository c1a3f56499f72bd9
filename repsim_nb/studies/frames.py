"""Summarise many rows in few: mean and standard deviation of groups of rows."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def mean_sd(frame: pd.DataFrame, by: str | Sequence[str], columns: Sequence[str], *, places: int = 2) -> pd.DataFrame:
    """Mean ± standard deviation over the rows of each group, as text: a row a group, a column a figure."""
    groups = frame.groupby(by if isinstance(by, str) else list(by), sort=False)[list(columns)]
    return groups.agg(
        lambda values: (
            f"{values.mean():.{places}f} ± {values.std():.{places}f}"
            if len(values) > 1
            else f"{values.mean():.{places}f}"
        )
    )


def bands(frame: pd.DataFrame, by: str, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Compute {figure: frame of mean, low and high} over the groups, as `plots.band` takes them.

    low and high are a standard deviation to either side; none if a group has one row.
    """
    found = {}
    for name in columns:
        groups = frame.groupby(by, sort=False)[name]
        mean, sd = groups.mean(), groups.std()
        found[name] = pd.DataFrame({"mean": mean, "low": mean - sd, "high": mean + sd})
    return found
