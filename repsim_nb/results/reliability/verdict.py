"""From the checks of a pair to a verdict in words, and the next line of code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from repsim_nb.support.summaries import count_of

# thresholds; `report` says what they come from. HIGH_CHANCE is that of `diagnose`
CHANGE, PER_FRACTION, RISE, LEFT, HIGH_CHANCE = 0.05, 0.01, 0.2, 1 / 3, 0.1
FEW_OUTLIERS = 0.05  # of the samples: more are a group, and no few samples
STABLE, LARGEST, CHANCE, FEW, SAMPLES, HIDDEN, FAR, SHARED = (
    "stable",
    "large differences hide similarity",
    "not above chance",
    "too few samples",
    "a few samples",
    "a component hides similarity",
    "far samples hide similarity",
    "one shared component",
)
COMMANDS = {  # with the groups of the rows, if there are any
    SAMPLES: "rs.inference.locate_differences(x, y{groups}).top(10, by='influence')",
    HIDDEN: "rs.reliability.diagnose(x, y{groups})",
    FAR: "rs.reliability.report(rs.reliability.clip_lengths(x), rs.reliability.clip_lengths(y){groups})",
    SHARED: "rs.reliability.diagnose(x, y{groups})",
    LARGEST: "rs.inference.permutation_test('{measure}', x, y{groups})",
    CHANCE: "rs.inference.permutation_test('cka_debiased', x, y{groups})",
    FEW: "rs.inference.chance_corrected('cka', x, y{groups})",
    STABLE: "rs.inference.interval('cka_debiased', x, y{groups})",
}
FEWEST = 20  # samples or groups of which `interval` can leave some out
NAMED_ROWS = 10  # a sentence and a command name no more rows


class Facts(NamedTuple):
    """What was found of a pair: CKA, and how it changes.

    low, high: without the samples that raise and that lower it most. rest: without the first components. clipped: with
    the lengths of samples clipped. level, clipped_level: of unrelated data. above: whether it is above chance. units,
    unit, number: samples (or groups), and how many are left out. rows: the samples with the largest influence.
    outliers, inner: the samples that are far from the rest, and CKA without them. rows_in_all: the number of rows.
    split: the samples that the first component splits off. grouped: whether rows of both sides look as if they depended
    on each other, and no groups are known. others: {measure: (value, chance level)} of measures that are above chance
    though CKA is not.
    """

    value: float
    low: float
    high: float
    rest: float
    clipped: float
    level: float
    clipped_level: float
    debiased: float
    above: bool
    units: int
    unit: str
    number: int
    rows: tuple[int, ...]
    outliers: tuple[int, ...]
    inner: float
    rows_in_all: int
    split: tuple[int, ...]
    grouped: bool
    others: Mapping[str, tuple[float, float]] = MappingProxyType({})

    @property
    def left_out(self) -> str:
        """The number of samples that are left out, as text."""
        return count_of(self.number, self.unit.removesuffix("s"))

    @property
    def by_outliers(self) -> bool:
        """Whether CKA is another one without the outliers, which are few."""
        fraction = len(self.outliers) / self.rows_in_all
        return 0 < fraction <= FEW_OUTLIERS and abs(self.inner - self.value) > _much(fraction)

    @property
    def by_influence(self) -> bool:
        """Whether CKA is another one without the samples that influence it most, or has no value."""
        change = max(abs(self.value - self.low), abs(self.high - self.value))
        return not change <= _much(self.number / self.units)


def _much(fraction: float) -> float:
    """Return the change of CKA that is reported if this fraction of the samples is left out."""
    return CHANGE * max(1.0, fraction / PER_FRACTION)


def judge_facts(facts: Facts, groups: str = "") -> tuple[str, str, str, tuple[int, ...]]:
    """Return the verdict, a sentence, the next command, and the samples that these are about.

    groups: the code for the groups of the rows.
    """
    verdict = find_verdict(facts)
    rows: tuple[int, ...] = ()
    if verdict == SAMPLES:
        rows = facts.outliers if facts.by_outliers else facts.rows
    elif verdict == FAR:
        rows = facts.outliers
    elif verdict in (HIDDEN, SHARED):
        rows = facts.split
    return verdict, _sentence(verdict, facts, rows), _command(verdict, facts, rows, groups), rows


def find_verdict(facts: Facts) -> str:
    """Return the verdict: what matters most comes first, as a single sample can cause all that follows."""
    if facts.by_outliers or facts.by_influence:
        return SAMPLES
    if facts.rest - facts.value > RISE:
        return HIDDEN
    if facts.clipped - facts.clipped_level - (facts.value - facts.level) > RISE:
        return FAR
    if not facts.above:
        return LARGEST if facts.others else CHANCE
    if facts.level >= HIGH_CHANCE and not facts.value - facts.debiased < HIGH_CHANCE:
        return FEW
    if facts.rest < LEFT * facts.value:
        return SHARED
    return STABLE


def _sentence(verdict: str, facts: Facts, rows: tuple[int, ...]) -> str:
    """Return what the verdict rests on."""
    value, rest = f"CKA is {facts.value:.2f}", f"{facts.rest:.2f} without both first components"
    some = count_of(len(facts.split), "sample")
    group = f", the larger of which splits off {some} from the others" if facts.split else ""
    if verdict == SAMPLES:
        if facts.by_outliers:
            without = f"{facts.inner:.2f} without {count_of(len(rows), 'outlier')} of {facts.rows_in_all} samples"
        elif math.isnan(facts.low):
            return f"{value}, and one sample has nearly all the variance of one side: {_rows(rows)}."
        else:
            lowered = abs(facts.high - facts.value) >= abs(facts.value - facts.low)
            end, how = (facts.high, "lower") if lowered else (facts.low, "raise")
            without = f"{end:.2f} without the {facts.left_out} of {facts.units} that {how} it most"
        return f"{value}, but {without}: {_rows(rows)}."
    if verdict in (HIDDEN, SHARED):
        return f"{value}, but {rest}{group}."
    if verdict == FAR:
        return f"{value}, but {facts.clipped:.2f} if no sample is farther from the middle than the median distance."
    if verdict in (CHANCE, LARGEST):
        text = (
            f"{value}, no more than unrelated data with these spectra and {facts.units} {facts.unit} can have"
            f" ({facts.level:.2f} on average)"
        )
        if verdict == CHANCE:
            return f"{text}."
        seen = " and ".join(f"{name} is {found:.2f} ({chance:.2f})" for name, (found, chance) in facts.others.items())
        return (
            f"{text}, but {seen}: the largest differences between samples are unrelated, and smaller ones are shared,"
            " as if all classes moved apart."
        )
    if verdict == FEW:
        return (
            f"{value}, of which {facts.level:.2f} would come from unrelated data: {facts.units} {facts.unit} are few"
            f" for these spectra. Debiased CKA is {facts.debiased:.2f}."
        )
    return (
        f"{value}: {facts.low:.2f} to {facts.high:.2f} without {facts.left_out} of {facts.units},"
        + ("" if math.isnan(facts.rest) else f" {rest},")
        + f" and {facts.level:.2f} for unrelated data."
        + (" But rows look grouped: if they depend on each other, pass groups." if facts.grouped else "")
    )


def _command(verdict: str, facts: Facts, rows: tuple[int, ...], groups: str) -> str:
    """Return a line of code for the arrays x and y that looks closer."""
    nothing_left = math.isnan(facts.low)  # of one side, without one sample
    if verdict == SAMPLES and len(rows) <= NAMED_ROWS and not nothing_left:
        some = list(rows)
        arrays = [f"np.delete({name}, {some}, axis=0)" for name in "xy"]
        return f"rs.reliability.report({', '.join(arrays)}{groups and f', groups=np.delete({groups}, {some})'})"
    if nothing_left or (verdict in (CHANCE, STABLE) and math.isnan(facts.debiased)):
        verdict = HIDDEN
    elif verdict == STABLE and facts.units < FEWEST:
        verdict = FEW
    best = max(facts.others, key=lambda name: facts.others[name][0] - facts.others[name][1], default="")
    return COMMANDS[verdict].format(measure=best, groups=groups and f", groups={groups}")


def _rows(rows: tuple[int, ...]) -> str:
    """Return rows as text: the first ten of them."""
    few = ", ".join(map(str, rows[:NAMED_ROWS]))
    return f"row{'' if len(rows) == 1 else 's'} {few}{' and more' if len(rows) > NAMED_ROWS else ''}"
