"""Verdicts on claims: reproduced, not reproduced or undecided, each with its threshold and the threshold at which it
would change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import join_names
from repsim_nb.support.validation import check_fraction, is_number

from .results import Interval, check_level

OUTCOMES = ("not reproduced", "undecided", "reproduced")  # the worst first
ESTIMATES = (
    "estimate",
    "difference",
    "mean",
    "value",
    "statistic",
    "spearman",
)  # names of the estimate in a row that has a low and a high end


@dataclass(frozen=True)
class Verdict:
    """Whether figures bear out a claim.

    Attributes
    ----------
    outcome : str
        "reproduced", "not reproduced" or "undecided".
    estimate, low, high : float or None
        The estimate and its interval; None if there is none (p-values have an estimate only).
    threshold : str
        The threshold, such as "> 0.5".
    other_thresholds : str
        The thresholds at which the verdict would change: the ends of the interval, rounded outward, with as many digits
        as it takes to be on the right side of the threshold.
    unit : str
        What the interval was drawn over or the test exchanged, such as "models (10)".
    level : float or None
        The level of the interval; None if it is not known.
    why : str
        Why there is no verdict, if the claim cannot be asked with these data.
    parts : tuple of Verdict
        The verdicts that were combined with ``&``, in order; empty for a single one.

    Notes
    -----
    ``first & second`` is the claim that both hold. Its outcome is the worst of the two ("not reproduced", then
    "undecided", then "reproduced"). "reproduced" needs no correction for the number of parts, since each of them must
    pass by itself [1]_. "not reproduced" has none either: of k parts whose true values are on their thresholds, up to k
    times 2.5 % are "not reproduced".

    References
    ----------
    .. [1] R. L. Berger 1982, *Multiparameter hypothesis testing and acceptance sampling*, Technometrics 24.

    Examples
    --------
    >>> from repsim_nb import inference
    >>> both = inference.judge((0.67, 0.61, 0.72), above=0.5, unit="models") & inference.judge_p(0.2, unit="models")
    >>> both.outcome
    'undecided'
    >>> both.threshold
    '> 0.5 and p <= 0.05'
    """

    outcome: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    threshold: str = ""
    other_thresholds: str = ""
    unit: str = ""
    level: float | None = None
    why: str = ""
    parts: tuple[Verdict, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise ValueError(f"the outcome of a verdict is {join_names(OUTCOMES)}; got {self.outcome!r}")

    def __bool__(self) -> bool:
        raise TypeError(
            "a verdict has three outcomes and is neither true nor false; ask for its .outcome, which is"
            f" {self.outcome!r}"
        )

    def __and__(self, other: Verdict) -> Verdict:
        if not isinstance(other, Verdict):
            return NotImplemented
        parts = (*(self.parts or (self,)), *(other.parts or (other,)))
        return Verdict(
            min((part.outcome for part in parts), key=OUTCOMES.index),
            threshold=_joined(" and ", (part.threshold for part in parts)),
            other_thresholds=_joined(
                "; ", (f"{part.threshold}: {part.other_thresholds}" if part.other_thresholds else "" for part in parts)
            ),
            unit=_joined(", ", (part.unit for part in parts)),
            why=_joined("; ", (part.why for part in parts)),
            parts=parts,
        )

    @property
    def interval(self) -> str:
        """The estimate and its interval as text, such as "0.67 (0.61 to 0.72)"; of a combined verdict those of its
        parts; empty if there is no interval.
        """
        if self.parts:
            return _joined("; ", (part.interval for part in self.parts))
        if self.low is None or self.high is None:
            return ""
        places = _places(self.low, self.high)
        middle = "" if self.estimate is None else f"{_written(self.estimate, places)} "
        return f"{middle}({_written(self.low, places)} to {_written(self.high, places)})"


def judge(
    found: Interval | Mapping[str, Any] | pd.Series | tuple[float, float, float],
    *,
    above: float | None = None,
    below: float | None = None,
    within: float | tuple[float, float] | None = None,
    unit: str = "",
    level: float | None = None,
) -> Verdict:
    """Judge a claim about a value by the interval of that value.

    Parameters
    ----------
    found : Interval, (estimate, low, high) or a row
        The value with its interval. A row (a Series or a mapping) has ``low``, ``high`` and one of ``estimate``,
        ``difference``, ``mean``, ``value``, ``statistic``, ``spearman``.
    above, below : float, optional
        The claim is that the value is above, or below, this threshold.
    within : float or (float, float), optional
        The claim is that the value does not differ: it is between -margin and margin, or between the two numbers.
    unit : str
        What the interval was drawn over, such as "models (10)".
    level : float, optional
        The level of the interval. An `Interval` has its own, and so has a row with an entry ``level`` or with
        ``.attrs["level"]``, as rows of the tables of this package have. Without any, the level of the verdict is None.

    Returns
    -------
    Verdict
        "reproduced" if the whole interval is where the claim says, "not reproduced" if the whole interval is elsewhere,
        otherwise "undecided".

    Raises
    ------
    TypeError
        If `found` has no interval. (`judge_exact` judges a deterministic value.)
    ValueError
        If not exactly one of `above`, `below` and `within` is given, the interval is undefined, or `level` is not the
        level that the interval has.

    Notes
    -----
    With a 95 % interval, `above` and `below` are one-sided tests at 2.5 %, and `within` is the two one-sided tests of
    equivalence at 2.5 % each [1]_. "not reproduced" is the opposite test, also at 2.5 %: an interval that holds the
    threshold gives "undecided", never "not reproduced". In 20,000 simulated studies (Student's t interval of the mean
    of 12 values with standard deviation 1) with the true value on the threshold, 2.7 % were "reproduced" and 2.4 % "not
    reproduced" (`above`); 2.6 % and 2.3 % (`below`). With the true value on the end of a margin of 1.5, 2.6 % and 2.5
    %. Of true values inside a margin that is much narrower than the interval, up to 5 % are "not reproduced", since
    both ends can miss it.

    References
    ----------
    .. [1] D. J. Schuirmann 1987, *A comparison of the two one-sided tests procedure and the power approach for
    assessing the equivalence of average bioavailability*,
       Journal of Pharmacokinetics and Biopharmaceutics 15.

    Examples
    --------
    >>> from repsim_nb import inference
    >>> verdict = inference.judge((0.67, 0.61, 0.72), above=0.5, unit="models (10)")
    >>> verdict.outcome, verdict.other_thresholds
    ('reproduced', 'reproduced below 0.61, not reproduced from 0.72')
    >>> inference.judge((0.81, -0.10, 0.98), above=0.5, unit="architectures (7)").outcome
    'undecided'
    >>> inference.judge((0.01, -0.03, 0.05), within=0.1).outcome
    'reproduced'
    """
    estimate, low, high, level = _interval_of(found, level)
    given = [name for name, value in (("above", above), ("below", below), ("within", within)) if value is not None]
    if len(given) != 1:
        raise ValueError(
            f"a claim has one threshold: above=, below= or within=; got {join_names(given) if given else 'none'}."
            " Claims that must all hold are joined: judge(...) & judge(...)"
        )
    places = _places(low, high)
    if above is not None:
        above = _number(above, "above")
        outcome = OUTCOMES[2] if low > above else OUTCOMES[0] if high <= above else OUTCOMES[1]
        rule, tests = _threshold(above, (low, high))
        lower = _outward(low, places, ROUND_FLOOR, lambda end: all((limit < end) == (above < low) for limit in tests))
        upper = _outward(
            high, places, ROUND_CEILING, lambda end: all((limit >= end) == (above >= high) for limit in tests)
        )
        rule, turns = f"> {rule}", f"reproduced below {lower}, not reproduced from {upper}"
    elif below is not None:
        below = _number(below, "below")
        outcome = OUTCOMES[2] if high < below else OUTCOMES[0] if low >= below else OUTCOMES[1]
        rule, tests = _threshold(below, (low, high))
        lower = _outward(low, places, ROUND_FLOOR, lambda end: all((limit <= end) == (below <= low) for limit in tests))
        upper = _outward(
            high, places, ROUND_CEILING, lambda end: all((limit > end) == (below > high) for limit in tests)
        )
        rule, turns = f"< {rule}", f"reproduced above {upper}, not reproduced up to {lower}"
    else:
        first, last = _range_of(within)
        outcome = (
            OUTCOMES[2] if first <= low and high <= last else OUTCOMES[0] if high < first or low > last else OUTCOMES[1]
        )
        if isinstance(within, Real):
            least, most = max(low, -high, 0.0), max(abs(low), abs(high))
            rule, tests = _threshold(last, (least, most))
            largest = _outward(
                most, places, ROUND_CEILING, lambda end: all((limit >= end) == (last >= most) for limit in tests)
            )
            smallest = (
                _outward(
                    least,
                    places,
                    ROUND_FLOOR,
                    lambda end: end > 0 and all((limit < end) == (last < least) for limit in tests),
                )
                if least > 0
                else ""
            )
            rule, turns = (
                f"within ±{rule}",
                f"reproduced from ±{largest}, not reproduced {f'below ±{smallest}' if smallest else 'for no margin'}",
            )
        else:
            (start, starts), (stop, stops) = _threshold(first, (low, high)), _threshold(last, (low, high))
            lower = _outward(
                low, places, ROUND_FLOOR, lambda end: all((limit <= end) == (first <= low) for limit in starts)
            )
            upper = _outward(
                high, places, ROUND_CEILING, lambda end: all((limit >= end) == (last >= high) for limit in stops)
            )
            rule, turns = f"{start} to {stop}", f"reproduced for a range from {lower} or lower to {upper} or higher"
    return Verdict(outcome, estimate, low, high, rule, turns, unit, level)


def judge_p(p: Any, level: float = 0.05, *, unit: str = "") -> Verdict:
    """Judge a claim by a p-value: "reproduced" if it is at most `level`, otherwise "undecided".

    Parameters
    ----------
    p : float or a test
        The p-value, in (0, 1], or a result that has a ``p_value``.
    level : float
        The level of the test, 0.05 unless given.
    unit : str
        What the test exchanged, such as "models (10)".

    Returns
    -------
    Verdict
        With the p-value as its estimate.

    Raises
    ------
    ValueError
        If `p` is not in (0, 1] or `level` is not in (0, 0.5].

    Notes
    -----
    A large p-value is no evidence of absence, so that "not reproduced" does not come from here. For "does not differ",
    ask `judge` with ``within=``. If the null hypothesis is true, a valid test gives "reproduced" in a fraction of at
    most `level` of the studies.

    Examples
    --------
    >>> from repsim_nb import inference
    >>> inference.judge_p(0.003).outcome, inference.judge_p(0.2).outcome
    ('reproduced', 'undecided')
    """
    value = getattr(p, "p_value", p)
    value = check_fraction(value, "a p-value", maximum=1, hint="or a test that has one")
    level = check_fraction(
        level,
        "level",
        maximum=0.5,
        hint="the level of the test, such as 0.05 (the level of an interval is the other one)",
    )
    rule, tests = _threshold(level, (value,))
    turn = _outward(
        value, _two_digits(value), ROUND_CEILING, lambda end: all((limit >= end) == (level >= value) for limit in tests)
    )
    return Verdict(
        OUTCOMES[2] if value <= level else OUTCOMES[1],
        value,
        threshold=f"p <= {rule}",
        other_thresholds=f"reproduced from a level of {_short(turn)}",
        unit=unit,
    )


def judge_exact(value: float, expected: float, tolerance: float, *, unit: str = "") -> Verdict:
    """Judge a deterministic recomputation of a published number: "reproduced" if it is within the tolerance, otherwise
    "not reproduced".

    Parameters
    ----------
    value : float
        The number that was computed again from the same data.
    expected : float
        The published number.
    tolerance : float
        The largest difference that counts as the same, such as half a unit of the last printed digit.
    unit : str
        What was computed, if a reader would not know.

    Returns
    -------
    Verdict
        Without an interval, since nothing was drawn.

    Raises
    ------
    ValueError
        If a number is undefined or the tolerance is negative.

    Examples
    --------
    >>> from repsim_nb import inference
    >>> inference.judge_exact(0.5931, expected=0.593, tolerance=0.0005).outcome
    'reproduced'
    """
    value, expected, tolerance = _number(value, "value"), _number(expected, "expected"), _number(tolerance, "tolerance")
    if tolerance < 0:
        raise ValueError(f"tolerance is the largest difference that counts as the same, 0 or more; got {tolerance:g}")
    off = max(
        0.0, abs(value - expected) - tolerance * 1e-9 - 1e-12 * max(1.0, abs(expected))
    )  # less the rounding error of the difference
    fits = off <= tolerance
    rule, tests = _threshold(tolerance, (off,))
    turn = _outward(off, _two_digits(off), ROUND_CEILING, lambda end: all((limit >= end) == fits for limit in tests))
    return Verdict(
        OUTCOMES[2 if fits else 0],
        value,
        threshold=f"{expected:g} ± {rule}",
        other_thresholds=f"reproduced from ± {_short(turn)}",
        unit=unit,
    )


def cannot_ask(why: str, *, unit: str = "") -> Verdict:
    """The verdict on a claim that these data cannot decide, whatever they show: "undecided", with the reason.

    Parameters
    ----------
    why : str
        What the data lack, such as "three networks a kind: no p-value can be below 0.1".
    unit : str
        The unit that is too few, such as "models (3 + 3)".

    Returns
    -------
    Verdict
        "undecided", with `why`.

    Raises
    ------
    ValueError
        If no reason is given.

    Examples
    --------
    >>> from repsim_nb import inference
    >>> inference.cannot_ask("three networks a kind: no p-value can be below 0.1").outcome
    'undecided'
    """
    if not isinstance(why, str) or not why.strip():
        raise ValueError(f"why says what the data lack, in words; got {why!r}")
    return Verdict(OUTCOMES[1], threshold="cannot be asked here", unit=unit, why=why.strip())


def _interval_of(found: Any, level: float | None) -> tuple[float | None, float, float, float | None]:
    """-> (estimate, low, high, level)"""
    if isinstance(found, Interval):
        estimate, low, high, own = found.estimate, found.low, found.high, found.level
    elif isinstance(found, (Mapping, pd.Series)):
        names = [name for name in ESTIMATES if name in found]
        if "low" not in found or "high" not in found or not names:
            raise TypeError(
                f"a row to be judged has low, high and one of {join_names(ESTIMATES)}; this one has"
                f" {join_names([str(name) for name in dict(found)], 12)}"
            )
        estimate, low, high = found[names[0]], found["low"], found["high"]
        own = found.get("level") if "level" in found else getattr(found, "attrs", {}).get("level")
    elif isinstance(found, (tuple, list, np.ndarray)) and np.shape(found) == (3,):
        (estimate, low, high), own = found, None
    else:
        raise TypeError(
            "judge takes a value with its interval: an Interval, (estimate, low, high) or a row with low and high; got"
            f" {found!r}. A number without an interval can be judged only if it is deterministic: judge_exact(value,"
            " expected, tolerance)"
        )
    own = None if own is None or pd.isna(own) else own
    for one in (level, own):
        if one is not None:
            check_level(one)
    if own is not None and level is not None and not math.isclose(own, level):
        raise ValueError(f"this interval has the level {own:g}; got level={level:g}")
    level = level if own is None else own
    low, high = _number(low, "low", endless=True), _number(high, "high", endless=True)
    if low > high:
        raise ValueError(
            f"an interval goes from low to high; got low={low:g}, high={high:g}. The order is (estimate, low, high)"
        )
    estimate = None if estimate is None else _number(estimate, "estimate")
    if estimate is not None and isinstance(found, (tuple, list, np.ndarray)) and not low <= estimate <= high:
        raise ValueError(
            f"the order is (estimate, low, high), and the estimate {estimate:g} is not between {low:g} and {high:g}"
        )
    return estimate, low, high, None if level is None else float(level)


def _range_of(within: Any) -> tuple[float, float]:
    if is_number(within):
        margin = _number(within, "within")
        if margin <= 0:
            raise ValueError(f"within is a margin above 0, or (low, high); got {within!r}")
        return -margin, margin
    if isinstance(within, (tuple, list)) and len(within) == 2:
        first, last = _number(within[0], "within"), _number(within[1], "within")
        if first < last:
            return first, last
    raise ValueError(f"within is a margin above 0, or (low, high) with low < high; got {within!r}")


def _number(value: Any, name: str, *, endless: bool = False) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, Real)
        or math.isnan(value)
        or (math.isinf(value) and not endless)
    ):
        raise ValueError(f"{name} is a number; got {value!r}")
    return float(value)


def _places(low: float, high: float) -> int:
    """Decimals that show the width of an interval to two digits: two, and more for narrow ones."""
    width = high - low
    return min(max(2, _two_digits(width)), 12) if 0 < width < math.inf else 3


def _two_digits(value: float) -> int:
    """Decimals that show two digits of a value."""
    return 1 - math.floor(math.log10(value)) if value > 0 else 2


def _threshold(value: float, ends: Iterable[float]) -> tuple[str, tuple[float, float]]:
    """A threshold as text, with as many digits as it takes to be on its side of the ends; and the numbers it stands
    for: as given, and as printed.
    """
    sides = [(value > end) - (value < end) for end in ends]
    for digits in range(6, 18):
        text = f"{value:.{digits}g}"
        if [(float(text) > end) - (float(text) < end) for end in ends] == sides:
            break
    return text, (value, float(text))


def _outward(value: float, places: int, rounding: str, right: Callable[[float], bool]) -> str:
    """A value as text, rounded up or down to so many decimals if that is what it rounds to anyway, else to one more;
    and to still more until the result is `right`.
    """
    if math.isinf(value):
        return f"{value:g}"
    exact = Decimal(repr(value))
    least = _decimals(exact, places)
    for decimals in range(least, max(least, -exact.as_tuple().exponent) + 1):
        found = exact.quantize(Decimal(1).scaleb(-decimals), rounding)
        if right(float(found)) and (decimals > least or _written(value, places) == _plain(found)):
            return _plain(found)
    return _plain(exact)


def _written(value: float, places: int) -> str:
    if math.isinf(value):
        return f"{value:g}"
    exact = Decimal(repr(value))
    return _plain(exact.quantize(Decimal(1).scaleb(-_decimals(exact, places)), ROUND_HALF_EVEN))


def _decimals(value: Decimal, places: int) -> int:
    """So many decimals below 1,000; five digits from there on."""
    return places if abs(value) < 1000 else min(places, 4 - value.adjusted())


def _plain(value: Decimal) -> str:
    return f"{abs(value) if value == 0 else value:{'f' if value == 0 or -7 < value.adjusted() < 12 else 'g'}}"


def _short(text: str) -> str:
    """A number as text, without zeros at its end."""
    return _plain(Decimal(text).normalize())


def _joined(between: str, texts: Any) -> str:
    return between.join(dict.fromkeys(text for text in texts if text))
