"""A verdict on a claim: reproduced, not reproduced or undecided, with the thresholds at which it would change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from repsim_nb.support.errors import join_names

from .thresholds import decimals_of_interval, format_number

OUTCOMES = ("not reproduced", "undecided", "reproduced")  # the worst first


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
        """The estimate and its interval as text, such as "0.67 (0.61 to 0.72)"; of a combined verdict those of its
        parts; empty if there is no interval.
        """
        if self.parts:
            return _join("; ", (part.interval for part in self.parts))
        if self.low is None or self.high is None:
            return ""
        places = decimals_of_interval(self.low, self.high)
        middle = "" if self.estimate is None else f"{format_number(self.estimate, places)} "
        return f"{middle}({format_number(self.low, places)} to {format_number(self.high, places)})"


def _join(between: str, texts: Iterable[str]) -> str:
    return between.join(dict.fromkeys(text for text in texts if text))
