"""Verdicts on claims, from an interval, a p-value or an exact number."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import join_names
from repsim_nb.support.validation import check_fraction, is_number

from .results import Interval, check_level
from .verdicts import (
    OUTCOMES,
    Verdict,
    decimals_of_interval,
    decimals_of_two_digits,
    format_end,
    format_threshold,
    without_final_zeros,
)

# names of the estimate in a row with an interval
ESTIMATES = ("estimate", "difference", "mean", "value", "statistic", "spearman")


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
        The value with its interval. A row (a Series or a mapping) must have ``low``, ``high`` and one of ``estimate``,
        ``difference``, ``mean``, ``value``, ``statistic``, ``spearman``.
    above, below : float, optional
        The claim is that the value is above, or below, this threshold.
    within : float or (float, float), optional
        The claim is that the value does not differ: it is between -margin and margin, or between the two numbers.
    unit : str
        What the interval was computed over, such as "models (10)". It is only shown.
    level : float, optional
        The level of the interval. It is not needed for an `Interval`, and for a row with an entry ``level`` or with
        ``.attrs["level"]``, as in the tables of this package. Without a level, that of the verdict is None.

    Returns
    -------
    Verdict
        "reproduced" if the whole interval is on the claimed side of the threshold, "not reproduced" if it is on the
        other side, otherwise "undecided".

    Raises
    ------
    TypeError
        If `found` has no interval. (`judge_exact` judges a deterministic value.)
    ValueError
        If not exactly one of `above`, `below` and `within` is given, if the interval is undefined, or if the interval
        has another level than `level`.

    Notes
    -----
    With a 95 % interval, `above` and `below` are one-sided tests at 2.5 %, and `within` is two one-sided tests of
    equivalence at 2.5 % each [1]_. "not reproduced" is the opposite test, also at 2.5 %. An interval that contains the
    threshold gives "undecided", never "not reproduced".

    In 20,000 simulated studies (Student's t interval of the mean of 12 values with standard deviation 1) with the true
    value on the threshold, 2.7 % were "reproduced" and 2.4 % "not reproduced" (`above`), or 2.6 % and 2.3 % (`below`).
    With the true value on the end of a margin of 1.5 it was 2.6 % and 2.5 %. If the margin is much narrower than the
    interval, up to 5 % of true values inside it are "not reproduced", since both ends can miss it.

    References
    ----------
    .. [1] D. J. Schuirmann 1987, *A comparison of the two one-sided tests procedure and the power approach for
       assessing the equivalence of average bioavailability*, Journal of Pharmacokinetics and Biopharmaceutics 15.

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
            f"a claim must have one threshold: above=, below= or within=; got {join_names(given) if given else 'none'}."
            " Combine claims that must all hold with &: judge(...) & judge(...)."
        )
    places = decimals_of_interval(low, high)
    if above is not None:
        above = _number(above, "above")
        outcome = OUTCOMES[2] if low > above else OUTCOMES[0] if high <= above else OUTCOMES[1]
        text, limits = format_threshold(above, (low, high))
        lower, upper = format_end(low, places, operator.lt, limits), format_end(high, places, operator.ge, limits)
        text, others = f"> {text}", f"reproduced below {lower}, not reproduced from {upper}"
    elif below is not None:
        below = _number(below, "below")
        outcome = OUTCOMES[2] if high < below else OUTCOMES[0] if low >= below else OUTCOMES[1]
        text, limits = format_threshold(below, (low, high))
        lower, upper = format_end(low, places, operator.le, limits), format_end(high, places, operator.gt, limits)
        text, others = f"< {text}", f"reproduced above {upper}, not reproduced up to {lower}"
    else:
        first, last = _range_of(within)
        outside = high < first or low > last
        outcome = OUTCOMES[2] if first <= low and high <= last else OUTCOMES[0] if outside else OUTCOMES[1]
        if is_number(within):
            least, most = max(low, -high, 0.0), max(abs(low), abs(high))
            text, limits = format_threshold(last, (least, most))
            smallest = f"below ±{format_end(least, places, operator.lt, limits, positive=True)}"
            others = (
                f"reproduced from ±{format_end(most, places, operator.ge, limits)}, not reproduced"
                f" {smallest if least > 0 else 'for no margin'}"
            )
            text = f"within ±{text}"
        else:
            (start, starts), (stop, stops) = (format_threshold(limit, (low, high)) for limit in (first, last))
            lower, upper = format_end(low, places, operator.le, starts), format_end(high, places, operator.ge, stops)
            text, others = f"{start} to {stop}", f"reproduced for a range from {lower} or lower to {upper} or higher"
    return Verdict(outcome, estimate, low, high, text, others, unit, level)


def judge_p(p: Any, level: float = 0.05, *, unit: str = "") -> Verdict:
    """Judge a claim by a p-value: "reproduced" if it is at most `level`, otherwise "undecided".

    Parameters
    ----------
    p : float or a test
        The p-value, in (0, 1], or a result that has a ``p_value``.
    level : float
        The level of the test, between 0 and 0.5.
    unit : str
        What the test exchanged, such as "models (10)". It is only shown.

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
    A large p-value is no evidence of absence, so the verdict is never "not reproduced". For "does not differ", use
    `judge` with ``within=``. If the null hypothesis is true, a valid test gives "reproduced" in a fraction of at most
    `level` of the studies.

    Examples
    --------
    >>> from repsim_nb import inference
    >>> inference.judge_p(0.003).outcome, inference.judge_p(0.2).outcome
    ('reproduced', 'undecided')
    """
    value = getattr(p, "p_value", p)
    value = check_fraction(value, "a p-value", maximum=1, hint="or a test that has one")
    level = check_fraction(
        level, "level", maximum=0.5, hint="the level of the test, such as 0.05 (an interval has the level 0.95)"
    )
    text, limits = format_threshold(level, (value,))
    lowest = format_end(value, decimals_of_two_digits(value), operator.ge, limits)
    return Verdict(
        OUTCOMES[2] if value <= level else OUTCOMES[1],
        value,
        threshold=f"p <= {text}",
        other_thresholds=f"reproduced from a level of {without_final_zeros(lowest)}",
        unit=unit,
    )


def judge_exact(value: float, expected: float, tolerance: float, *, unit: str = "") -> Verdict:
    """Judge a deterministic recomputation of a published number by a tolerance: "reproduced" or "not reproduced".

    Parameters
    ----------
    value : float
        The number that was computed again from the same data.
    expected : float
        The published number.
    tolerance : float
        The largest difference that counts as the same, such as half a unit of the last printed digit.
    unit : str
        What was computed. It is only shown.

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
        raise ValueError(
            f"tolerance must be the largest difference that counts as equal, 0 or more; got {tolerance:g}."
        )
    rounding = tolerance * 1e-9 + 1e-12 * max(1.0, abs(expected))  # of the difference
    off = max(0.0, abs(value - expected) - rounding)
    text, limits = format_threshold(tolerance, (off,))
    lowest = format_end(off, decimals_of_two_digits(off), operator.ge, limits)
    return Verdict(
        OUTCOMES[2 if off <= tolerance else 0],
        value,
        threshold=f"{expected:g} ± {text}",
        other_thresholds=f"reproduced from ± {without_final_zeros(lowest)}",
        unit=unit,
    )


def cannot_ask(why: str, *, unit: str = "") -> Verdict:
    """Give the verdict "undecided" on a claim that the data cannot decide, with the reason.

    Parameters
    ----------
    why : str
        What the data lack, such as "three models a kind: no p-value can be below 0.1".
    unit : str
        The units that are too few, such as "models (3 + 3)". It is only shown.

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
    >>> inference.cannot_ask("three models a kind: no p-value can be below 0.1").outcome
    'undecided'
    """
    if not isinstance(why, str) or not why.strip():  # type: ignore[redundant-expr]
        raise ValueError(f"why must be a text, what the data lack; got {why!r}.")
    return Verdict(OUTCOMES[1], threshold="cannot be asked here", unit=unit, why=why.strip())


def _interval_of(found: Any, level: float | None) -> tuple[float | None, float, float, float | None]:
    """Return estimate, low, high and level of a value with its interval."""
    own: Any
    if isinstance(found, Interval):
        estimate, low, high, own = found.estimate, found.low, found.high, found.level
    elif isinstance(found, (Mapping, pd.Series)):
        names = [name for name in ESTIMATES if name in found]
        if "low" not in found or "high" not in found or not names:
            raise TypeError(
                f"a row to be judged must have low, high and one of {join_names(ESTIMATES)}; got a row with"
                f" {join_names([str(name) for name in dict(found)], 12)}."
            )
        estimate, low, high = found[names[0]], found["low"], found["high"]
        own = found.get("level") if "level" in found else getattr(found, "attrs", {}).get("level")
    elif isinstance(found, (tuple, list, np.ndarray)) and np.shape(found) == (3,):
        (estimate, low, high), own = found, None
    else:
        raise TypeError(
            "judge needs a value with its interval: an Interval, (estimate, low, high) or a row with low and high; got"
            f" {found!r}. For a deterministic number without an interval, use judge_exact(value, expected, tolerance)."
        )
    own = None if own is None or pd.isna(own) else own
    for one in (level, own):
        if one is not None:
            check_level(one)
    if own is not None and level is not None and not math.isclose(own, level):
        raise ValueError(f"this interval has the level {own:g}; got level={level:g}. Leave level out.")
    level = level if own is None else own
    low, high = _number(low, "low", endless=True), _number(high, "high", endless=True)
    if low > high:
        raise ValueError(
            f"low must not be above high; got low={low:g}, high={high:g}. The order is (estimate, low, high)."
        )
    estimate = None if estimate is None else _number(estimate, "estimate")
    if estimate is not None and isinstance(found, (tuple, list, np.ndarray)) and not low <= estimate <= high:
        raise ValueError(
            f"the estimate must be between low and high; got {estimate:g}, {low:g} and {high:g}. The order is"
            " (estimate, low, high)."
        )
    return estimate, low, high, None if level is None else float(level)


def _range_of(within: Any) -> tuple[float, float]:
    """Return the lower and upper end of a margin or a range."""
    if is_number(within):
        margin = _number(within, "within")
        if margin <= 0:
            raise ValueError(f"within must be a margin above 0, or (low, high); got {within!r}.")
        return -margin, margin
    if isinstance(within, (tuple, list)) and len(within) == 2:
        first, last = _number(within[0], "within"), _number(within[1], "within")
        if first < last:
            return first, last
    raise ValueError(f"within must be a margin above 0, or (low, high) with low < high; got {within!r}.")


def _number(value: Any, name: str, *, endless: bool = False) -> float:
    """Check a number, which may be infinite only if it is `endless`, and return it as float."""
    if not is_number(value) or math.isnan(value) or (math.isinf(value) and not endless):
        raise ValueError(f"{name} must be a number; got {value!r}.")
    return float(value)
