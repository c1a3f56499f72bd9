"""Thresholds and ends of intervals as text, with as many digits as it takes to be on the right side of each other."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

Limits = tuple[float, float]  # a threshold as given, and as printed


def decimals_of_interval(low: float, high: float) -> int:
    """Decimals that show the width of an interval to two digits: two, and more for narrow ones."""
    width = high - low
    return min(max(2, decimals_of_two_digits(width)), 12) if 0 < width < math.inf else 3


def decimals_of_two_digits(value: float) -> int:
    """Decimals that show two digits of a value."""
    return 1 - math.floor(math.log10(value)) if value > 0 else 2


def format_threshold(value: float, ends: Iterable[float]) -> tuple[str, Limits]:
    """A threshold as text, with as many digits as it takes to be on its side of the ends; and the numbers it stands
    for.
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
    """An end as text, rounded to so many decimals if that is what it rounds to anyway, else to one more; and to still
    more until a threshold compares with it as with the end itself.

    compare: of `operator`; ends of lt and le are rounded down, those of gt and ge up.
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
    """A number as text, rounded to so many decimals; of large ones to five digits."""
    if math.isinf(value):
        return f"{value:g}"
    exact = Decimal(repr(value))
    return _plain(exact.quantize(Decimal(1).scaleb(-_decimals(exact, places)), ROUND_HALF_EVEN))


def without_final_zeros(text: str) -> str:
    """A number as text, without zeros at its end."""
    return _plain(Decimal(text).normalize())


def _decimals(value: Decimal, places: int) -> int:
    """So many decimals below 1,000; five digits from there on."""
    return places if abs(value) < 1000 else min(places, 4 - value.adjusted())


def _plain(value: Decimal) -> str:
    return f"{abs(value) if value == 0 else value:{'f' if value == 0 or -7 < value.adjusted() < 12 else 'g'}}"
