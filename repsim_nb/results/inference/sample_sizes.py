"""How many samples the value of a measure needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.support.errors import UndefinedError, as_clause
from repsim_nb.support.progress import Tick
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.summaries import percent, summarize
from repsim_nb.support.validation import check_positive, is_integer
from repsim_nb.support.workers import map_with_progress

from .grouped_rows import SampleUnits
from .intervals import FEWEST_SAMPLES, NO_LIMIT, corrected_interval, why_unreliable
from .results import check_level, limit_move

SETS = 20  # of each size


@dataclass(frozen=True, eq=False, repr=False)
class SampleSize:
    """How a value changes with the number of samples, and how many samples are enough.

    Attributes
    ----------
    measure : str
        The name of the measure.
    curve : DataFrame
        One row for each number of samples (or groups), the index "n". Columns: mean (of the values of sets of n
        samples), low and high (a fraction `level` of sets of n new samples have a value between them) and sets (the
        number of sets).
    limit : float
        The value for infinitely many samples, the estimate of `interval`. NaN if there is none, see `why`.
    enough : int or None
        The smallest number of samples at which a fraction `level` of sets have a value within ± `within` of the limit.
        None if the limit is not known yet: fewer samples have another limit, or a quarter of the samples has no value.
    within : float
        The distance from the limit that was asked for, in the units of the measure.
    level : float
        The fraction of sets.
    seen : int
        The number of samples in the data.
    unit : str
        What the numbers count: "samples" or "groups" of rows.
    why : str
        Why the measure has no limit (its number of neighbours is fixed); otherwise empty.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 3))
    >>> found = sample_size("cka_debiased", x, x + rng.normal(size=(100, 3)), within=0.1, sizes=[25, 100])
    >>> found.seen, found.unit, list(found.curve.index)
    (100, 'samples', [25, 100])
    """

    measure: str
    curve: pd.DataFrame
    limit: float
    enough: int | None
    within: float
    level: float
    seen: int
    unit: str = "samples"
    why: str = ""

    @property
    def is_extrapolated(self) -> bool:
        """Whether `enough` is above half of the samples, so that it is an extrapolation."""
        return self.enough is not None and self.enough > self.seen // 2

    def __repr__(self) -> str:
        """Return the limit and the number of samples that are enough as text."""
        if self.enough is None:
            return (
                f"SampleSize({self.measure} still changes at {self.seen} {self.unit},"
                f" {self.curve['mean'].iloc[-1]:.3f}: its limit needs more of them, or it has no limit"
                f"{self.why and ': '}{self.why})"
            )
        how = (
            f", extrapolated from {self.seen}"
            if self.is_extrapolated
            else ", the fewest that were tried"
            if self.enough == self.curve.index[0]
            else ""
        )
        return (
            f"SampleSize({self.measure} has the limit {self.limit:.3f}; {self.enough:,} {self.unit} are enough for"
            f" ±{self.within:g}{how})"
        )

    def _repr_html_(self) -> str:
        extrapolated = f", extrapolated from {self.seen}" if self.is_extrapolated else ""
        enough = "not known yet" if self.enough is None else f"{self.enough} {self.unit}{extrapolated}"
        return summarize(
            "SampleSize",
            self.measure,
            [
                f"enough for ±{self.within:g}: {enough}",
                f"limit {self.limit:.3f}",
                f"level {percent(self.level)}",
                self.why,
            ],
            table=self.curve,
            page="inference.SampleSize",
        )


def sample_size(  # noqa: PLR0913 - keyword-only, independent of each other
    measure: str | Measure,
    x: Any,
    y: Any,
    *,
    groups: Any = None,
    within: float = 0.02,
    sizes: Sequence[int] | None = None,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Tick = False,
) -> SampleSize:
    """Return how a value changes with the number of samples, and how many samples are enough.

    It answers: are my samples enough to know the value of this measure to ± `within`?

    Parameters
    ----------
    measure : str or Measure
        A name, such as "cka_debiased", or a configured measure.
    x, y : array (N, ...)
        Two representations of the same N samples, in the same order.
    groups : labels (N,), optional
        Rows with the same label depend on each other, as in `interval`. Whole groups are drawn, and all numbers count
        groups.
    within : float
        The distance from the limit that you accept, in the units of the measure.
    sizes : sequence of int, optional
        The numbers of samples to try. By default eight up to N/2, evenly spaced on a logarithmic scale, and N, without
        those that are too few for a value.
    level : float
        The fraction of sample sets whose value must be within ± `within` of the limit.
    seed : int
        The seed of the sets.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    SampleSize
        `enough` is the number of samples, `limit` the value for infinitely many, and `curve` the values of the sets.

    Raises
    ------
    ValueError
        For sizes below the minimum of the measure or above N, and for fewer than 20 samples or groups.
    UndefinedError
        If a set has no value.

    Notes
    -----
    Sets of each size are drawn without replacement. Large sets overlap, so their standard deviation is divided by
    sqrt(1 - n/N) to be that of new samples. At N itself it is that of the largest smaller size, reduced as 1/√n. The
    value of a set differs from the limit by its bias, which falls as 1/n, and by its spread. So many samples are enough
    that |bias| + z · standard deviation is at most `within`. For sizes up to N/2 both are measured, beyond they are
    extrapolated by these laws.

    The laws are checked: the limit from halves and quarters of the samples is compared with the limit from all and
    halves. `enough` is None if they differ by more than `within` and by more than chance. This happens for layers wider
    than N under Procrustes, and for shared neighbours, whose value depends on n. In simulations (30 each, 200 to 400
    samples) it was None for 30 unrelated pairs under Procrustes, 23 under shared neighbours, and 2 pairs that have a
    limit. It was None for only 3 pairs that are unrelated in some directions, whose limit under Procrustes is too low
    by .03.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> found = sample_size("cka_debiased", x, x + rng.normal(size=(200, 5)), within=0.1, sizes=[25, 50, 100, 200])
    >>> found.enough <= 200, list(found.curve.columns)
    (True, ['mean', 'low', 'high', 'sets'])
    """
    measure = measures.get(measure)
    check_level(level)
    check_positive(within, "within", hint="the distance of a value to its limit, such as 0.02")
    check_seed(seed)
    units = SampleUnits(measure, x, y, groups, "a number of groups")
    most = units.number
    if most < FEWEST_SAMPLES:
        raise ValueError(
            f"sample_size needs at least {FEWEST_SAMPLES} {units.name}; there are {most}. Use more {units.name}."
        )
    chosen = _sizes(sizes, measure, most)
    limit = float(corrected_interval(measure, units, level, 10, seed, progress).estimate)  # type: ignore[arg-type]

    def of(n: int, drawn: np.ndarray) -> float:
        try:
            return units.value(drawn)
        except UndefinedError as error:
            if n not in chosen:
                return math.nan
            raise UndefinedError(f"a set of {n} {units.name}: {as_clause(error)}. Choose larger sizes=[...]") from error

    if sizes is None and len(defined := [n for n in chosen if _has_value(of, draw_rows(n, most, seed)[0])]) > 1:
        chosen = defined
    checks = most, most // 2, most // 4
    drawn = [(n, rows) for n in sorted({*chosen, *checks}) for rows in draw_rows(n, most, seed)]
    found = map_with_progress(
        of,
        *zip(*drawn, strict=True),
        progress=progress,
        what=f"sample sets for {measures.short_name(measure)}",
        unit="set",
    )
    values = pd.Series(found, index=[n for n, _ in drawn])
    z = float(stats.norm.ppf((1 + level) / 2))
    settled = _agree_on_limit([values[[n]].to_numpy() for n in checks], within, z)
    by_size = values[values.index.isin(chosen)].groupby(level=0)
    mean, sets = by_size.mean(), by_size.size()
    spread = pd.Series({n: values[n].std() / math.sqrt(1 - n / most) if n < most else math.nan for n in chosen})
    last = max(n for n in chosen if n < most)
    spread = spread.fillna(spread[last] * math.sqrt(last / most))
    curve = pd.DataFrame({"mean": mean, "low": mean - z * spread, "high": mean + z * spread, "sets": sets}).rename_axis(
        "n"
    )
    why = why_unreliable(measure) if isinstance(getattr(measure, "base", measure), NO_LIMIT) else ""
    if why:
        settled, limit = False, math.nan
    enough = _enough((mean - limit).abs(), z * spread, within, most) if settled else None
    return SampleSize(measures.short_name(measure), curve, limit, enough, within, level, most, units.name, why)


def _has_value(of: Callable[[int, np.ndarray], float], rows: np.ndarray) -> bool:
    """Return whether a set of samples has a value."""
    try:
        of(len(rows), rows)
    except UndefinedError:
        return False
    return True


def _agree_on_limit(values: list[np.ndarray], within: float, z: float) -> bool:
    """Return whether the bias falls as 1/n.

    The limit from all samples and halves of them is then that from halves and quarters, up to chance. False if one of
    these values is NaN.
    """
    whole, half, quarter = (float(some.mean()) for some in values)
    chance = z * math.sqrt(9 * values[1].var() / len(values[1]) + values[2].var() / len(values[2]))
    return abs(limit_move(whole, half, quarter)) <= max(within, chance)


def draw_rows(n: int, most: int, seed: int) -> list[np.ndarray]:
    """Return sets of n of `most` samples, in order; one set if n is `most`."""
    if n == most:
        return [np.arange(most)]
    rng = np.random.default_rng([seed, n])
    return [np.sort(rng.choice(most, n, replace=False)) for _ in range(SETS)]


def _sizes(sizes: Sequence[int] | None, measure: Measure, most: int) -> list[int]:
    """Check the numbers of samples to try, or choose them."""
    if sizes is None:
        low = max(measure.min_samples + 1, min(20, most // 4))
        return sorted({*np.geomspace(low, most // 2, 8).round().astype(int).tolist(), most})
    if not np.iterable(sizes):
        raise TypeError(
            f"sizes must be several numbers of samples, such as [{max(measure.min_samples, most // 4)}, {most // 2},"
            f" {most}]; got {sizes!r}."
        )
    found = sorted({*sizes})
    if (
        not found
        or not all(map(is_integer, found))
        or found[0] < measure.min_samples
        or found[-1] > most
        or found[0] == most
    ):
        raise ValueError(
            f"sizes must be integers from {measure.min_samples}, the minimum for {measures.short_name(measure)}, to"
            f" {most}, with one below {most}; got {list(sizes)}."
        )
    return [int(n) for n in found]


def _enough(bias: pd.Series, reach: pd.Series, within: float, most: int) -> int:
    """Return the smallest n that is near enough to the limit.

    It is between two measured sizes, if one of those up to half of all samples is near enough; otherwise it is
    extrapolated.
    """
    measured = [n for n in bias.index if n <= max(most // 2, bias.index[0])]
    near = [n for n in measured if bias[n] + reach[n] <= within]
    start = next((n for n in measured if all(k in near for k in measured if k >= n)), measured[-1])
    base = max((n for n in measured if n < start), default=start) if near[:1] == [start] else start

    def far(n: float) -> float:
        return bias[base] * base / n + reach[base] * math.sqrt(base / n)

    low, high = float(base), float(start)
    while far(high) > within:
        low, high = high, high * 2
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (middle, high) if far(middle) > within else (low, middle)
    return math.ceil(high)
