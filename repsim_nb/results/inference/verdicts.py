"""A verdict on a claim, with the thresholds at which it would change, as text."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from repsim_nb.support.errors import join_names
from repsim_nb.support.summaries import summarize

Limits = tuple[float, float]  # a threshold as given, and as printed


def decimals_of_interval(low: float, high: float) -> int:
    """Return the number of decimals that show the width of an interval to two digits, 2 or more."""
    width = high - low
    return min(max(2, decimals_of_two_digits(width)), 12) if 0 < width < math.inf else 3


def decimals_of_two_digits(value: float) -> int:
    """Return the number of decimals that show two digits of a value."""
    return 1 - math.floor(math.log10(value)) if value > 0 else 2


def format_threshold(value: float, ends: Iterable[float]) -> tuple[str, Limits]:
    """Return a threshold as text, and as a number before and after rounding.

    It has as many digits as it needs to be on the right side of the ends.
    """
    sides = [(value > end) - (value < end) for end in ends]
    for digits in range(6, 18):
        text = f"{value:.{digits}g}"
        if [(float(text) > end) - (float(text) < end) for end in ends] == sides:
            break
    return text, (value, float(text))


def format_end(
    end: float, places: int, compare: Callable[[float, float], bool], limits: Limits, *, positive: bool = False
) -> str:
    """Return an end as text, rounded outward.

    It has `places` decimals, or as many more as it needs so that a threshold compares with it as with the end itself.
    compare: a function of `operator`; ends of lt and le are rounded down, those of gt and ge up.
    """
    if math.isinf(end):
        return f"{end:g}"
    exact, holds = Decimal(repr(end)), compare(limits[0], end)
    rounding = ROUND_FLOOR if compare in (operator.lt, operator.le) else ROUND_CEILING
    least = _decimals(exact, places)
    for decimals in range(least, max(least, -int(exact.as_tuple().exponent)) + 1):
        found = exact.quantize(Decimal(1).scaleb(-decimals), rounding)
        right = all(compare(limit, float(found)) == holds for limit in limits) and (found > 0 or not positive)
        if right and (decimals > least or format_number(end, places) == _plain(found)):
            return _plain(found)
    return _plain(exact)


def format_number(value: float, places: int) -> str:
    """Return a number as text, rounded to so many decimals; large ones to five digits."""
    if math.isinf(value):
        return f"{value:g}"
    exact = Decimal(repr(value))
    return _plain(exact.quantize(Decimal(1).scaleb(-_decimals(exact, places)), ROUND_HALF_EVEN))


def without_final_zeros(text: str) -> str:
    """Return a number as text without zeros at its end."""
    return _plain(Decimal(text).normalize())


def _decimals(value: Decimal, places: int) -> int:
    """Return `places` for values below 1,000, otherwise as many decimals as give five digits."""
    return places if abs(value) < 1000 else min(places, 4 - value.adjusted())


def _plain(value: Decimal) -> str:
    """Return a decimal number as text without an exponent, unless it is very small or large."""
    return f"{abs(value) if value == 0 else value:{'f' if value == 0 or -7 < value.adjusted() < 12 else 'g'}}"


OUTCOMES = ("not reproduced", "undecided", "reproduced")  # the worst first


@dataclass(frozen=True, repr=False)
class Verdict:
    """Whether a result supports a claim.

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
        as they need to be on the right side of the threshold.
    unit : str
        What the interval was computed over or the test exchanged, such as "models (10)".
    level : float or None
        The level of the interval; None if it is not known.
    why : str
        Why the data cannot decide the claim, from `cannot_ask`; otherwise empty.
    parts : tuple of Verdict
        The verdicts that were combined with ``&``, in order; empty for a single one.

    Notes
    -----
    ``first & second`` is the claim that both are true. Its outcome is the worse of the two ("not reproduced", then
    "undecided", then "reproduced"). "reproduced" needs no correction for the number of parts, since each of them must
    pass by itself [1]_. "not reproduced" is not corrected: if the true values of k parts are on their thresholds, up to
    k times 2.5 % of such claims are "not reproduced".

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
        """Check the outcome."""
        if self.outcome not in OUTCOMES:
            raise ValueError(f"the outcome of a verdict must be one of {join_names(OUTCOMES)}; got {self.outcome!r}.")

    def __bool__(self) -> bool:
        """Raise TypeError, since there are three outcomes."""
        raise TypeError(
            f"a verdict has three outcomes and is neither true nor false. Use its .outcome, which is {self.outcome!r}."
        )

    def __and__(self, other: Verdict) -> Verdict:
        """Return the verdict on the claim that both are true."""
        if not isinstance(other, Verdict):
            return NotImplemented
        parts = (*(self.parts or (self,)), *(other.parts or (other,)))
        return Verdict(
            min((part.outcome for part in parts), key=OUTCOMES.index),
            threshold=_join(" and ", (part.threshold for part in parts)),
            other_thresholds=_join(
                "; ", (f"{part.threshold}: {part.other_thresholds}" if part.other_thresholds else "" for part in parts)
            ),
            unit=_join(", ", (part.unit for part in parts)),
            why=_join("; ", (part.why for part in parts)),
            parts=parts,
        )

    @property
    def interval(self) -> str:
        """The estimate and its interval as text, such as "0.67 (0.61 to 0.72)", or those of the parts.

        Empty if there is no interval.
        """
        if self.parts:
            return _join("; ", (part.interval for part in self.parts))
        if self.low is None or self.high is None:
            return ""
        places = decimals_of_interval(self.low, self.high)
        middle = "" if self.estimate is None else f"{format_number(self.estimate, places)} "
        return f"{middle}({format_number(self.low, places)} to {format_number(self.high, places)})"

    def __repr__(self) -> str:
        """Return the fields that are not empty as text, with numbers rounded as in `Interval`."""
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}
        shown = {name: value for name, value in shown.items() if value not in (None, "")}
        texts = (
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}" for name, value in shown.items()
        )
        return f"Verdict({', '.join(texts)})"

    def _repr_html_(self) -> str:
        estimate = "" if self.estimate is None else f"{self.estimate:.4g}"
        facts = [self.interval or estimate, self.threshold, self.unit, self.why]
        return summarize("Verdict", self.outcome, facts, page="inference.Verdict")


def _join(between: str, texts: Iterable[str]) -> str:
    """Join different texts that are not empty."""
    return between.join(dict.fromkeys(text for text in texts if text))
