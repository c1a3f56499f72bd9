"""How many samples a value needs."""

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
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.progress import Tick
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_positive, is_integer
from repsim_nb.support.workers import map_with_progress

from .grouped_rows import SampleUnits
from .intervals import FEWEST_SAMPLES, interval
from .results import check_level

SETS = 20  # of each size


@dataclass(frozen=True, eq=False, repr=False)
class SampleSize:
    """How a value moves as samples grow in number, and how many are enough.

    curve: DataFrame, index n (samples, or groups): mean (over sets of n samples), low and high (between which a
    fraction `level` of sets of so many fresh samples lie), sets.
    limit: where the value goes as n grows, the estimate of `interval`.
    enough: the least number of samples of which a fraction `level` of sets give the limit to within ±within; None if
    fewer samples give another limit, or if a quarter of them has no value, so that the limit is not known yet.
    seen: the number of samples there were; if `enough` is above half of it, it was extrapolated.
    """

    measure: str
    curve: pd.DataFrame
    limit: float
    enough: int | None
    within: float
    level: float
    seen: int
    unit: str = "samples"

    @property
    def is_extrapolated(self) -> bool:
        return self.enough is not None and self.enough > self.seen // 2

    def __repr__(self) -> str:
        if self.enough is None:
            return (
                f"SampleSize({self.measure} still moves at {self.seen} {self.unit}, {self.curve['mean'].iloc[-1]:.3f}:"
                " more are needed to know where it goes, or it has no limit)"
            )
        how = (
            f", extrapolated from {self.seen}"
            if self.is_extrapolated
            else ", the fewest that were tried"
            if self.enough == self.curve.index[0]
            else ""
        )
        return (
            f"SampleSize({self.measure} goes to {self.limit:.3f}; {self.enough:,} {self.unit} are enough for"
            f" ±{self.within:g}{how})"
        )

    def _repr_html_(self) -> str:
        extrapolated = f", extrapolated from {self.seen}" if self.is_extrapolated else ""
        enough = "not known yet" if self.enough is None else f"{self.enough} {self.unit}{extrapolated}"
        return summarize(
            "SampleSize",
            self.measure,
            [f"enough for ±{self.within:g}: {enough}", f"limit {self.limit:.3f}", f"level {self.level:.0%}"],
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
    """How a value moves with the number of samples, and how many samples are enough to know it to ±within.

    Parameters
    ----------
    measure : str or Measure
    x, y : arrays (N, ...)
    groups : labels (N,), optional
        Rows with the same label depend on each other, as in `interval`. Whole groups are drawn, and all numbers are
        numbers of groups.
    within : float
    sizes : sequence of int, optional
        Numbers of samples. None: eight up to N/2, evenly on a logarithmic scale, and N, without those too small to have
        a value.
    level : float
        The fraction of sample sets that are to be within ±within of the limit.

    Returns
    -------
    SampleSize

    Notes
    -----
    Sets of each size are drawn without replacement. They overlap the more the larger they are, so their spread is
    divided by sqrt(1 - n/N) to be that of fresh samples; at N itself it is that of the largest size below, falling as
    1/√n. A set misses the limit by its bias, which falls as 1/n, and by its spread. Enough are so many samples that
    |bias| + z · spread is at most `within`, on the measured sizes up to N/2 and beyond by those laws.

    The laws are checked: the limit told by halves and quarters of the samples is compared with that told by all and
    halves. If they differ by more than `within`, and by more than chance, there is no such number (layers wider than N
    under Procrustes; shared neighbours, whose value belongs to n). Simulated, 30 times each, 200 to 400 samples: seen
    for 30 unrelated pairs under Procrustes, 23 of shared neighbours, and 2 of pairs that have a limit. For 3 only if
    some directions have nothing in common; their limit under Procrustes is too low by .03.

    Raises
    ------
    ValueError
        For sizes outside the measure's least and N, and fewer than 20 samples or groups.
    UndefinedError
        If a set has no value.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> sample_size("cka_debiased", x, x + rng.normal(size=(200, 5)), within=0.1).seen
    200
    """
    measure = measures.get(measure)
    check_level(level)
    check_positive(within, "within", hint="the distance of a value to its limit, such as 0.02")
    units = SampleUnits(measure, x, y, groups, "a number of groups")
    most = units.number
    if most < FEWEST_SAMPLES:
        raise ValueError(
            f"how many {units.name} are enough is told from at least {FEWEST_SAMPLES} of them; there are {most}"
        )
    chosen = _sizes(sizes, measure, most)
    limit = float(interval(measure, x, y, groups=groups, level=level, seed=seed, progress=progress).estimate)  # type: ignore[arg-type]

    def of(n: int, drawn: np.ndarray) -> float:
        try:
            return units.value(drawn)
        except UndefinedError as error:
            if n not in chosen:
                return math.nan
            raise UndefinedError(f"of a set of {n} {units.name}: {error} Choose larger sizes=[...]") from error

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
    enough = _enough((mean - limit).abs(), z * spread, within, most) if settled else None
    return SampleSize(measures.short_name(measure), curve, limit, enough, within, level, most, units.name)


def _has_value(of: Callable[[int, np.ndarray], float], rows: np.ndarray) -> bool:
    try:
        of(len(rows), rows)
    except UndefinedError:
        return False
    return True


def _agree_on_limit(values: list[np.ndarray], within: float, z: float) -> bool:
    """Does the bias fall as 1/n?

    Then all samples with halves of them, and halves with quarters, tell of one limit. Not where one of them is NaN:
    nothing is seen there.
    """
    whole, half, quarter = (float(some.mean()) for some in values)
    chance = z * math.sqrt(9 * values[1].var() / len(values[1]) + values[2].var() / len(values[2]))
    return abs(2 * whole - 3 * half + quarter) <= max(within, chance)


def draw_rows(n: int, most: int, seed: int) -> list[np.ndarray]:
    """Sets of n of `most` samples, in order; all of them are one set."""
    if n == most:
        return [np.arange(most)]
    rng = np.random.default_rng([seed, n])
    return [np.sort(rng.choice(most, n, replace=False)) for _ in range(SETS)]


def _sizes(sizes: Sequence[int] | None, measure: Measure, most: int) -> list[int]:
    if sizes is None:
        low = max(measure.min_samples + 1, min(20, most // 4))
        return sorted({*np.geomspace(low, most // 2, 8).round().astype(int).tolist(), most})
    if not np.iterable(sizes):
        raise TypeError(
            f"sizes are several numbers of samples, such as [{max(measure.min_samples, most // 4)}, {most // 2},"
            f" {most}]; got {sizes!r}"
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
            f"sizes are numbers of samples from {measure.min_samples}, the fewest for {measures.short_name(measure)},"
            f" to {most}, one of them below {most}; got {list(sizes)}"
        )
    return [int(n) for n in found]


def _enough(bias: pd.Series, reach: pd.Series, within: float, most: int) -> int:
    """The least n that is near enough: where a measured size up to half of all is, between it and the one before; else
    further on, by the laws of both.
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
