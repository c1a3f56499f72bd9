"""Confidence intervals of a measure over samples, and of a rank correlation of two tables over items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb import measures
from repsim_nb.measures import (
    CKA,
    CKNNA,
    RSA,
    FromFunction,
    JaccardKNN,
    LinearPredictivity,
    Measure,
    MutualKNN,
    Procrustes,
)
from repsim_nb.support.errors import UndefinedError, add_context, check_name, join_names, warn_user
from repsim_nb.support.labels import short_labels
from repsim_nb.support.progress import Tick
from repsim_nb.support.seeds import generator_of
from repsim_nb.support.validation import check_integer
from repsim_nb.support.workers import map_with_progress

from .grouped_rows import SampleUnits
from .partial_correlation import align_all, check_left, correlation
from .rank_correlations import RANKS, check_values
from .representations import rows_of
from .results import Interval, add_variances, check_level, jackknife, limit_move, student_interval
from .square_tables import Direction, SquareTable, require_values_per_item
from .units import Groups, Units, units_of

FEWEST_ITEMS = 6  # with 5 items the interval contained a ρ of .95 in only 83 of 100 simulations
FEWEST_LEVELS = 5  # levels of each crossed grouping: the sum of their variances is conservative
FEWEST_SAMPLES = 20
FIXED_K = MutualKNN, JaccardKNN, CKNNA, measures.RankSimilarity, measures.SecondOrderCosine
NO_LIMIT = *FIXED_K, measures.NTS, measures.RSMNormDifference, measures.RTDLite, measures.SizeAndShape
CALIBRATED = CKA, Procrustes, RSA, FromFunction  # those of functions are the caller's to judge
LARGEST_MOVE = 1.2  # standard errors; related sides of 200 samples reached 0.9, unrelated ones under Procrustes 1.7
# measures whose intervals are not calibrated, and why
_NO_LIMIT = ", so there is no population value that the interval could contain."
_DEPENDS_ON_N = f"the value depends on the number of samples, because k is fixed{_NO_LIMIT}"
UNRELIABLE: dict[tuple[type[Measure], ...], str] = {
    (MutualKNN, JaccardKNN): (
        f"{_DEPENDS_ON_N} Report the value with its chance level, measure.chance(n), or use permutation_test."
    ),
    FIXED_K[2:]: f"{_DEPENDS_ON_N} Report chance_corrected(measure, x, y), or use permutation_test.",
    NO_LIMIT[len(FIXED_K) :]: f"the value depends on the number of samples{_NO_LIMIT} Use permutation_test.",
    (LinearPredictivity,): (
        "leaving out samples changes the regression, so the interval is not calibrated: it is too wide, and may go"
        " beyond the largest possible value. Report the held-out value, and compare it with permutation_test."
    ),
}


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
    """Confidence interval for the population value of a measure.

    It answers: which values would the measure have with infinitely many samples like these? It covers other samples for
    the same two models, not other models.

    Parameters
    ----------
    measure : str or Measure
        A name, such as "cka_debiased", or a configured measure. The interval is calibrated for debiased CKA, Procrustes
        and RSA of related sides.
    x, y : array (n, ...)
        Two representations of the same n samples, in the same order. Samples (or groups) are drawn independently.
    groups : labels (n,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus).
        Whole groups are left out, and pairs of rows within a group do not count. Only for debiased CKA, debiased
        distance correlation and RSA. Recordings by token have the groups of their rows. Pass range(n) if rows are
        independent.
    level : float
        The confidence level, the fraction of such intervals that contain the population value.
    parts : int
        The number of parts into which samples (or groups) are divided, 5 or more.
    seed : int
        The seed of this division.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    Interval
        With `low`, `high`, `level`, and the bias-corrected `estimate` in the middle. The interval is not clipped to the
        range of the measure.

    Raises
    ------
    ValueError
        For fewer than 20 samples or groups, sides with other samples, or groups with a measure that cannot leave out
        the pairs within them.
    UndefinedError
        If the measure has no value without two of the parts, or has the same value whichever part is left out.

    Warns
    -----
    UserWarning
        For `mutual_knn`, `jaccard_knn`, `cknna` and `linear_predictivity` (see Notes) and other measures that were not
        calibrated. Without `groups` also if the bias does not fall as 1/n, or if the sides may be unrelated: the
        interval of a similarity contains 0, or a dissimilarity is not below those of 19 permutations.

    Notes
    -----
    The interval is that of a jackknife that is used twice. Samples are divided at random into `parts` parts. The values
    without each part estimate the bias of the measure, which falls as 1/n, and it is subtracted: estimate = parts ·
    value - (parts - 1) · mean of the values without one part. The same estimates without each part (for which every two
    parts are left out together) give the standard error, with Student's t of parts - 1 degrees of freedom. So the
    estimate may differ from the measured value, if that is biased at n samples. The cost is 1 + parts (parts + 1) / 2
    values of the measure, 56 by default. (A bootstrap is not used, because it draws samples twice, and two copies of a
    sample are perfectly similar.)

    In simulations (400 each, benchmarks/CALIBRATION.md), 92 to 96 of 100 intervals at level 0.95 contained the value at
    20,000 samples, for debiased CKA, Procrustes and RSA of related sides of up to 50 features at 200 and 1,000 samples.

    The interval is not reliable in these cases:

    - Procrustes, NBS and CCA of sides that are unrelated in some directions (80 of 100 at 200 samples, 93 at 1,000) or
      in all (5 and 48), because the bias falls more slowly than 1/n. Procrustes of 300 features at 200 samples never
      contained the value. `procrustes_interval` allows for the bias.
    - CKA and RSA of unrelated sides: the intervals are too wide (98 to 100). Use `permutation_test`.
    - Shared neighbours (`mutual_knn`, `jaccard_knn`, `cknna`), trees (`rtd_lite`, `nts`), `size_and_shape` and
      `rsm_norm_difference`: the value depends on n and has no population value. The function warns.
    - Predictions (`linear_predictivity`): with a tenth of the samples left out the regression is another one, so the
      interval is too wide and may go beyond 1. The function warns.

    References
    ----------
    M. H. Quenouille 1956, Notes on bias in estimation, Biometrika 43.
    J. W. Tukey 1958, Bias and confidence in not-quite large samples (abstract), Annals of Mathematical Statistics 29.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> found = interval("cka_debiased", x, x + rng.normal(size=(200, 5)))
    >>> print(f"{found.estimate:.2f} ({found.low:.2f} to {found.high:.2f})")
    0.50 (0.46 to 0.54)
    >>> 0.5 in found
    True
    """
    measure = measures.get(measure)
    calibrated = isinstance(getattr(measure, "base", measure), CALIBRATED)
    if why := why_unreliable(measure):
        warn_user(f"interval of {measures.short_name(measure)}: {why}")
    elif not calibrated:
        warn_user(
            f"interval of {measures.short_name(measure)}: intervals of this measure were not calibrated, only those"
            " of CKA, Procrustes and RSA of related sides. Compare the value with permutation_test."
        )
    units = SampleUnits(measure, x, y, groups, "an interval")
    found = corrected_interval(measure, units, level, parts, seed, progress)
    if groups is None and calibrated:
        _warn_if_unrelated(measure, units, found)
    return found


def why_unreliable(measure: Measure) -> str:
    """Return why intervals of a measure, or of the measure that it deconfounds, are not calibrated; "" if unknown."""
    base = getattr(measure, "base", measure)
    return next((why for kinds, why in UNRELIABLE.items() if isinstance(base, kinds)), "")


def _warn_if_unrelated(measure: Measure, units: SampleUnits, found: Interval) -> None:
    """Warn if the bias does not fall as 1/n, or a similarity may be 0: the interval is then not calibrated.

    The limit from all samples and halves is compared with that from halves and quarters. Halves and quarters are parts
    of the same orders, so that what single samples add cancels.
    """
    rng, seen = np.random.default_rng(0), units.value()
    moves: list[float] = []
    try:
        for _ in range(5):
            order = rng.permutation(units.number)
            half, quarter = (np.mean([units.value(np.sort(some)) for some in np.array_split(order, k)]) for k in (2, 4))
            moves.append(limit_move(seen, float(half), float(quarter)))
    except UndefinedError:
        moves = [math.inf]
    reach = float(stats.t.ppf((1 + found.level) / 2, 9))
    error = (found.high - found.low) / 2 / reach
    name = f"interval of {measures.short_name(measure)}"
    if abs(np.mean(moves)) > LARGEST_MOVE * error:
        warn_user(
            f"{name}: the bias does not fall as 1/n at {units.number} samples, as for unrelated sides or too many"
            " features, so the interval may miss the population value. Use more samples or permutation_test."
        )
    elif measure.kind == "dissimilarity" and units.name == "samples" and _is_chance(measure, units, seen, rng):
        warn_user(
            f"{name}: the value is not below those of 19 permutations of the samples, so the sides may be unrelated,"
            " and for unrelated sides the interval is not calibrated. Use permutation_test."
        )
    elif measure.kind == "similarity" and found.low <= 0 <= found.high:
        warn_user(
            f"{name}: the interval contains 0, so the sides may be unrelated, and for unrelated sides it is not"
            " calibrated. Use permutation_test."
        )


def _is_chance(measure: Measure, units: SampleUnits, seen: float, rng: np.random.Generator) -> bool:
    """Return whether the value of a dissimilarity is not below those of 19 permutations."""
    return any(seen >= measure(units.x, rows_of(units.y, rng.permutation(units.number))) for _ in range(19))


def corrected_interval(
    measure: Measure, units: SampleUnits, level: float, parts: int, seed: int, progress: bool | Tick
) -> Interval:
    """Return the interval of a jackknife that is used twice, without the warnings of `interval`."""
    check_level(level)
    check_integer(parts, "parts", minimum=5, hint="such as 10 for 56 calls of the measure")
    if units.number < FEWEST_SAMPLES:
        raise ValueError(
            f"an interval needs at least {FEWEST_SAMPLES} {units.name}, so that some can be left out; there are"
            f" {units.number}. Use more {units.name}."
        )
    parts = min(parts, units.number)
    part = generator_of(seed).permutation(units.number) % parts
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
            f"{measures.short_name(measure)} has no interval: it is {seen:.4g} whichever {units.name} are left out. Are"
            " the two sides the same?"
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
    """Confidence interval for the rank correlation of two square tables, over other items like these.

    It answers: how strongly are two measures (or distances) correlated over the pairs of a population of models, of
    which these are a sample?

    Parameters
    ----------
    a, b : Comparison, DataFrame or RDM, square
        Tables over the same items, as in `rank_correlation`.
    kind : {"spearman", "kendall"}
        The rank correlation.
    groups : one value an item, {model: group}, a field of the labels, or a DataFrame, optional
        Items of one group are left out together. Seeds of one architecture, for example, are not independent draws, but
        architectures are. A DataFrame has a column for each crossed grouping (pre-training seed and fine-tuning seed).
    given : Comparison or DataFrame, square, optional
        A third table that is held constant. The interval is then that of the partial correlation.
    direction : {"dissimilarity", "similarity"}, optional
        What plain frames contain, needed if they have NaN on the diagonal.
    level : float
        The confidence level, the fraction of such intervals that contain the population value.

    Returns
    -------
    Interval
        Its `estimate` is the rank correlation of the tables.

    Raises
    ------
    ValueError
        For fewer than 6 items or groups (5 levels of each of several crossed groupings), undefined pairs, a side that
        is constant (also without one of the items), and a correlation of ±1, which is the same whichever item is left
        out.

    Notes
    -----
    Pairs that share an item are not independent, so whole items (or groups) are left out, one at a time. The interval
    is artanh ρ ± t · standard error, brought back to the scale of ρ. The standard error is that of the jackknife, and t
    is Student's with items - 1 degrees of freedom. For a p-value, use `rank_correlation`.

    For crossed groupings the jackknife variances of the groupings are added, and t has the degrees of freedom of
    Satterthwaite. The variation of single combinations of levels is in both variances, so the interval is conservative.

    The interval assumes that items were drawn independently. It does not cover items of another kind or other samples.

    Simulations with distances of points in two spaces (6 to 53 items, ρ from 0.2 to 0.95): of 100 intervals at level
    0.95, 93 to 99 contained the population value (with heavy tails and ρ = 0.95, 91). If each item came two or three
    times, with small differences, only 60 to 88 did, and 91 to 97 with these as `groups`. With 5 × 5, 6 × 6 and 10 × 5
    crossed groups, 95 to 100 did, and 54 to 78 with the items of 5 × 5 as units. With a third table held constant, 95
    to 99 did.

    References
    ----------
    J. N. Arvesen 1969, Jackknifing U-statistics, Annals of Mathematical Statistics 40.
    F. E. Satterthwaite 1946, An approximate distribution of estimates of variance components, Biometrics Bulletin 2.
    A. B. Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = rng.normal(size=(12, 3))
    >>> sides = points, points + 0.5 * rng.normal(size=(12, 3))
    >>> a, b = (pd.DataFrame(np.linalg.norm(x[:, None] - x, axis=2)) for x in sides)
    >>> found = rank_interval(a, b)
    >>> print(f"{found.estimate:.2f} ({found.low:.2f} to {found.high:.2f})")
    0.55 (0.08 to 0.82)
    """
    check_name("rank correlation", kind, RANKS)
    check_level(level)
    tables, index, place = align_all(a, [b] if given is None else [b, given], direction)
    units = left_out_units(index, groups, place)
    seen, without = leave_out(tables, kind, units, short_labels(index[place]))
    variance, df = add_variances([jackknife(values) for values in without])
    found = student_interval(math.atanh(seen), variance / (1 - seen**2) ** 2, df, level)
    return Interval(math.tanh(found.low), math.tanh(found.high), level, seen)


def left_out_units(index: pd.Index, groups: Groups, place: np.ndarray) -> Units:
    """Return the units that are left out of tables with the items at these positions of the index."""
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
                f"an interval that leaves out {what} needs at least {few} of them; these tables have {number} in"
                " common. Add models, or give the value without an interval."
            )
    return units_of(index, groups, place=place)


def leave_out(
    tables: list[np.ndarray], kind: str, units: Units, names: Sequence[str], what: str = "the two tables"
) -> tuple[float, list[np.ndarray]]:
    """Return the rank correlation of two tables, and for each grouping those without each of its groups (groups,).

    A third table is held constant.
    """
    pairs = np.triu_indices(len(tables[0]), 1)
    x, y, *given = (table[pairs] for table in tables)
    check_values(x, y, "pairs", *given)
    if given:
        check_left(x, y, given[0], kind, "pairs")
    seen = correlation(x, y, kind, *given)
    if 1 - abs(seen) < 1e-12:
        raise ValueError(
            f"{what} order all {len(pairs[0])} pairs {'alike' if seen > 0 else 'in reverse'}: a rank correlation of"
            f" {seen:.0f} is the same whichever item is left out, so it has no interval."
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
                f"the rank correlation has no interval: without {name}"
                f"{'' if len(units.groupings) == 1 else f' ({grouping})'}, all pairs of one side have the same value."
            )
        found.append(values)
    return seen, found
