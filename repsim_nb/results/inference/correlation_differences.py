"""Which of several tables goes best with another: differences of rank correlations, with intervals that hold for all of
them at once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from repsim_nb.support.errors import unknown_name
from repsim_nb.support.labels import short_labels

from .intervals import leave_out, left_out_units
from .partial_correlation import align_all
from .rank_correlations import RANKS
from .results import check_level
from .square_tables import Direction, SquareTable
from .units import Groups, simultaneous

DRAWS = 9_999


def rank_differences(  # noqa: PLR0913 - keyword-only, independent of each other
    tables: Mapping[str, SquareTable],
    b: SquareTable,
    *,
    against: str | None = None,
    kind: str = "spearman",
    groups: Groups = None,
    given: SquareTable | None = None,
    direction: Direction | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the rank correlations of several square tables with another, with simultaneous intervals.

    Parameters
    ----------
    tables : {name: Comparison or square DataFrame}
        Two or more tables over the items of `b`, such as one for each measure.
    b : Comparison or square DataFrame
        The table that all of them are correlated with.
    against : str, optional
        The table whose correlation the others are compared with. None is the one with the highest correlation. Since it
        is then chosen by these data, the intervals and p-values are those of the differences of all pairs of tables.
    kind : {"spearman", "kendall"}
        The rank correlation.
    groups : one value an item, {model: group}, a field of the labels, or a DataFrame, optional
        As in `rank_interval`: items of one group are left out together.
    given : Comparison or square DataFrame, optional
        As in `rank_interval`: a table whose ranks are held constant.
    direction : {"dissimilarity", "similarity"}, optional
        What plain frames hold, all of them, if their diagonal does not show it.
    level : float
        The fraction of studies in which all intervals contain their population values.
    seed : int
        Of the draws that the simultaneous intervals come from.

    Returns
    -------
    DataFrame
        A row for each table but `against`, whose name is in ``.attrs["against"]`` (and in the name of the index); the
        level is in ``.attrs["level"]``. Columns: correlation (of that table with `b`); difference (correlation of
        `against` minus this one); low and high (of the difference); p_value (adjusted for the number of differences,
        never 0); detectable (the difference that one such interval would distinguish from 0 in 8 of 10 studies with so
        many items); significant (whether 0 is outside the interval).

    Raises
    ------
    ValueError
        For fewer than two tables, an unknown `against`, and as `rank_interval`.

    Notes
    -----
    All correlations are computed without each item (or group) in turn, the same one for all tables. The jackknife
    covariance of these values is that of the correlations: what two tables owe to the draw of items cancels in their
    difference. Differences are drawn from a normal distribution with this covariance, and the interval is the
    difference ± c · its standard error, with c the quantile of the largest standardised difference among the draws
    (max-t), on the scale of Student's t with (items - 1) degrees of freedom. For crossed groupings the covariances are
    added, and the grouping with the fewest levels gives the degrees of freedom.

    Simulated (two to five tables over 6, 8, 12 or 25 items, 60 to 400 times each): of 100 studies at level 0.95 93 to
    100 had all intervals right, with `against` and without. With tables that are equally good, 0 to 3 in 100 had a
    difference that is significant.

    References
    ----------
    Arvesen 1969; Westfall, Young 1993; Hothorn, Bretz, Westfall 2008.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(20, 3))
    >>> sides = [points + noise * rng.normal(size=(20, 3)) for noise in (0.3, 2, 0)]
    >>> near, far, b = (pd.DataFrame(np.linalg.norm(x[:, None] - x, axis=2)) for x in sides)
    >>> found = rank_differences({"near": near, "far": far}, b)
    >>> found.attrs["against"], list(found.index), bool(found.loc["far", "significant"])
    ('near', ['far'], True)
    """
    if kind not in RANKS:
        raise unknown_name("rank correlation", kind, RANKS)
    check_level(level)
    if not isinstance(tables, Mapping):
        raise TypeError(f"tables are compared by their names: {{'cka': table, ...}}; got {type(tables).__name__}")
    names = list(tables)
    if len(names) < 2:
        raise ValueError(f"differences are between two tables or more; there {'is 1' if names else 'are none'}")
    if against is not None and against not in names:
        raise unknown_name("table", against, names)
    constant = [] if given is None else [given]
    (own, *arrays), index, place = align_all(b, [*tables.values(), *constant], direction)
    units = left_out_units(index, groups, place)
    labels = short_labels(index[place])
    found = {
        name: leave_out([table, own, *arrays[len(names) :]], kind, units, labels, f"'{name}' and the other table")
        for name, table in zip(names, arrays, strict=False)
    }
    seen = pd.Series({name: value for name, (value, _) in found.items()})
    best = names[int(np.argmax(seen.to_numpy()))] if against is None else against
    pairs = (
        list(itertools.combinations(names, 2)) if against is None else [(best, name) for name in names if name != best]
    )
    pairs = [(other, one) if other == best else (one, other) for one, other in pairs]
    chosen = np.array([(names.index(one), names.index(other)) for one, other in pairs])
    rng, parts = np.random.default_rng(seed), []
    for k in range(len(units.groupings)):
        values = np.stack([found[name][1][k] for name in names], axis=1)  # (groups, tables)
        deviations = (values - values.mean(axis=0)) * math.sqrt(1 - 1 / len(values))
        # the jackknife covariance is the sum of their products
        parts.append(deviations[:, chosen[:, 0]] - deviations[:, chosen[:, 1]])
    deviations = np.concatenate(parts)
    draws = rng.standard_normal((DRAWS, len(deviations))) @ deviations
    sd, drawn = np.sqrt((deviations**2).sum(axis=0)), draws.std(axis=0, ddof=1)
    # `simultaneous` widens this scale as the bootstrap needs it
    scale = np.divide(sd, drawn, out=np.zeros_like(sd), where=drawn > 0) * math.sqrt(1 - 1 / units.number)
    estimates = pd.Series([seen[one] - seen[other] for one, other in pairs], index=pd.MultiIndex.from_tuples(pairs))
    table = simultaneous(
        estimates, pd.DataFrame((draws - draws.mean(axis=0)) * scale, columns=estimates.index), units.number, level
    )
    table = table.loc[[pair for pair in pairs if pair[0] == best]].droplevel(0)
    table.insert(0, "correlation", seen[table.index])
    table = table.rename_axis(f"{best} minus")
    table.attrs["against"] = best
    return table
