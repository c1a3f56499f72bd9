"""How far a number would move with other samples, or with other items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.support.errors import UndefinedError, add_context, join_names, unknown_name
from repsim_nb.support.labels import short_labels
from repsim_nb.support.progress import Tick
from repsim_nb.support.validation import check_integer
from repsim_nb.support.workers import map_with_progress

from .grouped_rows import SampleUnits
from .partial_correlation import align_all, check_left, correlation
from .rank_correlations import RANKS, check_values
from .results import Interval, add_variances, check_level, jackknife, student_interval
from .square_tables import Direction, SquareTable, require_values_per_item
from .units import Groups, Units, units_of

FEWEST_ITEMS = 6  # items: with 5 the interval held a ρ of .95 in 83 of 100 simulations only
FEWEST_LEVELS = 5  # levels of each of several crossed groupings, whose added variances are on the safe side
FEWEST_SAMPLES = 20


def interval(
    measure: str | Measure,
    x: Any,
    y: Any,
    *,
    groups: Any = None,
    level: float = 0.95,
    parts: int = 10,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Interval:
    """Confidence interval for the population value of a measure, from n samples that were drawn one by one, or in
    groups -> Interval, with the estimate in its middle.

    Parameters
    ----------
    x, y : arrays (n, ...)
    groups : labels (n,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus).
        Whole groups are left out, and pairs of rows within a group do not count. Recordings by token know the groups of
        their rows. Measures that can do this: debiased CKA, debiased distance correlation, RSA.
    level : float
        The fraction of such intervals that contain the population value.
    parts : int
        The number of parts into which samples (or groups) are divided, from 5.

    Notes
    -----
    The jackknife, twice: samples are permuted (seed) and divided into `parts` parts. What the measure loses without
    each part shows its bias, which falls as 1/n and is taken out. What the estimate without bias loses without each
    part shows its standard error; for that every two parts are left out together. Student's t has (parts - 1) degrees
    of freedom. So the estimate may lie outside what was measured, where that is biased at n samples, and the interval
    is not cut at the ends of the measure's range. It takes 1 + parts (parts + 1) / 2 calls of the measure, 56. (A
    bootstrap draws samples twice, and to a measure of pairs two copies have a perfect similarity.)

    Simulated, 400 times each, against the value at 20,000 samples (benchmarks/CALIBRATION.md): of 100 intervals at
    level 0.95 92 to 96 held it, of sides that are related, of up to 50 features: for debiased CKA, Procrustes and RSA
    at 200 and 1,000 samples, and for debiased CKA of 25 and 100 groups of 8 rows. It fails where the bias falls slower
    than 1/n: under Procrustes, NBS and CCA, of sides that share some directions and have nothing in common in others
    (80 at 200 samples, 93 at 1,000), and of unrelated sides altogether (5 and 48); there CKA and RSA have intervals
    that are too wide (98 to 100). Procrustes of 300 features at 200 samples never held it. The value of shared
    neighbours belongs to n samples and has no limit. Intervals of predictions are far too wide.

    Raises
    ------
    ValueError
        For fewer than 20 samples or groups, other n, or groups with a measure that cannot leave out the pairs within
        them.
    UndefinedError
        Where the measure has no value without two parts, or no part moves it.

    References
    ----------
    Quenouille 1956; Tukey 1958.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> found = interval("cka_debiased", x, x + rng.normal(size=(200, 5)))
    >>> 0.5 in found
    True
    """
    measure = measures.get(measure)
    check_level(level)
    check_integer(parts, "parts", minimum=5, hint="such as 10 for 56 calls of the measure")
    units = SampleUnits(measure, x, y, groups, "an interval")
    if units.number < FEWEST_SAMPLES:
        raise ValueError(
            f"an interval needs at least {FEWEST_SAMPLES} {units.name} to leave some out; there are {units.number}"
        )
    parts = min(parts, units.number)
    part = np.random.default_rng(seed).permutation(units.number) % parts
    left_out = [(k, other) for k in range(parts) for other in range(k, parts)]

    def without(pair: tuple[int, int]) -> float:
        rest = np.flatnonzero(~np.isin(part, pair))
        left_out = f"{units.number - len(rest)} of {units.number} {units.name} left out"
        with add_context(f"with {left_out}, as the interval needs it (parts={parts})"):
            return units.value(rest)

    seen = units.value()
    found = map_with_progress(
        without, left_out, progress=progress, what=f"interval of {measures.short_name(measure)}", unit="part"
    )
    table = np.zeros((parts, parts))  # without one part on the diagonal, without two off it
    table[tuple(np.transpose(left_out))] = table.T[tuple(np.transpose(left_out))] = found
    one = table.diagonal()
    middle = parts * seen - (parts - 1) * one.mean()
    without_two = (table.sum(axis=1) - one) / (parts - 1)
    without_one = (parts - 1) * one - (parts - 2) * without_two  # the estimate without bias, of what is left
    variance, df = jackknife(without_one)
    if math.sqrt(variance) <= 1e-12 * max(1.0, abs(seen)):
        raise UndefinedError(
            f"{measures.short_name(measure)} is {seen:.4g} whichever {units.name} are left out, so no interval can be"
            " told from them (are the two sides the same?)"
        )
    return student_interval(middle, variance, df, level)


def rank_interval(
    a: SquareTable,
    b: SquareTable,
    kind: str = "spearman",
    *,
    groups: Groups = None,
    given: SquareTable | None = None,
    direction: Direction | None = None,
    level: float = 0.95,
) -> Interval:
    """Confidence interval for the rank correlation of two square tables over all items like these.

    Parameters
    ----------
    a, b, kind, given, direction
        As in `rank_correlation`: tables over the same items. With `given` the interval is that of the partial
        correlation.
    groups : one value an item, {model: group}, a field of the labels, or a DataFrame, optional
        Items of one group are left out together: seeds of one architecture are no independent draws, architectures are.
        A DataFrame has a column for each crossed grouping (pre-training seed and fine-tuning seed).
    level : float
        The fraction of intervals that contain the population value.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        For fewer than 6 items or groups (5 levels of each of several crossed groupings), undefined pairs, a side that
        is constant (also without one of them), and for a correlation of ±1, which no item moves.

    Notes
    -----
    Pairs that share an item are not independent, so whole items (or groups) are left out, one at a time: the
    jackknife's standard error of the correlation, on Fisher's scale artanh ρ, times Student's t with (items - 1)
    degrees of freedom. The p-value of no correlation at all is that of `rank_correlation`.

    For crossed groupings the jackknife variances of the groupings are added, and Student's t has the degrees of freedom
    of Satterthwaite. What each combination of levels adds by itself is in both variances, so the interval is
    conservative.

    The interval is for the correlation over all pairs of a population from which the items were drawn independently. It
    does not cover items of another kind or other samples.

    Simulated (distances of points in two spaces, 6 to 53 items, ρ from 0.2 to 0.95): of 100 intervals at level 0.95 93
    to 99 contained it, at 8 to 12 items rather too often; with heavy tails and ρ = 0.95 91. If each item came two or
    three times, a little apart, only 60 to 88 did, and with these as `groups` 91 to 97. With 5 x 5, 6 x 6 and 10 x 5
    crossed groups 95 to 100 did, and 54 to 78 with the items of 5 x 5 as units (200 each); with a third table held
    constant 95 to 99 (6 to 25 items).

    References
    ----------
    Arvesen 1969; Satterthwaite 1946; Owen 2007.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(12, 3))
    >>> sides = points, points + rng.normal(size=(12, 3))
    >>> a, b = (pd.DataFrame(np.linalg.norm(x[:, None] - x, axis=2)) for x in sides)
    >>> found = rank_interval(a, b)
    >>> found.estimate in found
    True
    """
    if kind not in RANKS:
        raise unknown_name("rank correlation", kind, RANKS)
    check_level(level)
    tables, index, place = align_all(a, [b] if given is None else [b, given], direction)
    units = left_out_units(index, groups, place)
    seen, without = leave_out(tables, kind, units, short_labels(index[place]))
    variance, df = add_variances([jackknife(values) for values in without])
    found = student_interval(math.atanh(seen), variance / (1 - seen**2) ** 2, df, level)
    return Interval(math.tanh(found.low), math.tanh(found.high), level, seen)


def left_out_units(index: pd.Index, groups: Groups, place: np.ndarray) -> Units:
    """What is left out of tables whose items stand at these places of the index. ValueError for too few."""
    few = FEWEST_ITEMS if not isinstance(groups, pd.DataFrame) or len(groups.columns) == 1 else FEWEST_LEVELS
    given = {} if groups is None else dict(groups) if isinstance(groups, pd.DataFrame) else {None: groups}
    numbers = {
        name: require_values_per_item(index, its, "groups" if name is None else f"groups['{name}']").nunique()
        for name, its in given.items()
    } or {None: len(place)}
    for name, number in numbers.items():
        if number < few:
            what = "items" if groups is None else "groups" if name is None else f"levels of '{name}'"
            raise ValueError(
                f"an interval from leaving out {what} needs at least {few} of them; these tables share {number}"
            )
    return Units({name: pd.factorize(codes[place])[0] for name, codes in units_of(index, groups).groupings.items()})


def leave_out(
    tables: list[np.ndarray], kind: str, units: Units, names: Sequence[str], what: str = "the two tables"
) -> tuple[float, list[np.ndarray]]:
    """The rank correlation of the first two tables (the third held constant), and for each grouping the correlations
    without each of its groups (groups,).
    """
    pairs = np.triu_indices(len(tables[0]), 1)
    x, y, *given = (table[pairs] for table in tables)
    check_values(x, y, "pairs", *given)
    if given:
        check_left(x, y, given[0], kind, "pairs")
    seen = correlation(x, y, kind, *given)
    if 1 - abs(seen) < 1e-12:
        raise ValueError(
            f"{what} order all {len(pairs[0])} pairs {'alike' if seen > 0 else 'in reverse'}, a rank correlation of"
            f" {seen:.0f}, which no item moves: it has no interval"
        )
    found = []
    for grouping, codes in units.groupings.items():
        values = np.zeros(codes.max() + 1)
        for group in range(len(values)):
            inside = codes[pairs[0]] == group
            inside |= codes[pairs[1]] == group
            rest = [side[~inside] for side in (x, y, *given)]
            values[group] = correlation(rest[0], rest[1], kind, *rest[2:]) if len(rest[0]) else math.nan
        if not np.isfinite(values).all():
            group = int(np.argmin(np.isfinite(values)))
            name = join_names((names[k] for k in np.flatnonzero(codes == group).tolist()), 3)
            raise ValueError(
                f"without {name}{'' if len(units.groupings) == 1 else f' ({grouping})'} all pairs of one side are the"
                " same, so that all order hangs on it: there is no interval"
            )
        found.append(values)
    return seen, found
