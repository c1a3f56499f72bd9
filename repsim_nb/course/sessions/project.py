"""Session 8: a project of your own, which ends as a report."""

from __future__ import annotations

import math

import numpy as np

from repsim_nb.course.exercises import Mistake, Session

session = Session("project", "A project of your own")

# the measure

CHANGES = ("permutation", "orthogonal", "scaling", "translation", "linear")
Invariances = dict[str, set[str]]


def with_invariances(rng: np.random.Generator) -> tuple[Invariances, list[str], list[str]]:
    changes = [CHANGES[k] for k in rng.permutation(5)]
    ignored, noticed, other = changes[:2], changes[2:4], changes[4]
    sets = [
        {*ignored, other},
        set(ignored),
        {*ignored, noticed[0]},
        {*ignored, *noticed},
        {ignored[0], other},
        set(),
        {ignored[1], noticed[1]},
    ]
    names = [f"measure {'ABCDEFG'[k]}" for k in rng.permutation(7)]
    names[0], names[1] = sorted(names[:2], reverse=True)
    order = sorted(rng.permutation(7).tolist(), key=lambda k: k == 1)  # the two that fit are not in order
    return {names[k]: sets[k] for k in order}, ignored, noticed


@session.exercise(minutes=4, inputs=with_invariances)
def choose_measures(invariances: Invariances, ignored: list[str], noticed: list[str]) -> list[str]:
    """Name the measures that ignore all of the first changes and notice all of the others, in alphabetical order."""
    return sorted(name for name, found in invariances.items() if found >= set(ignored) and not found & set(noticed))


choose_measures.mistakes += [
    Mistake("any in place of all",
        "You accept measures that ignore one of the changes. All that are listed have to be ignored.",
        lambda invariances, ignored, noticed: sorted(
            name for name, found in invariances.items() if found & set(ignored) and not found & set(noticed)
        )),
    Mistake("nothing noticed",
        "Some of your measures ignore a change that has to be noticed. The third argument counts, too.",
        lambda invariances, ignored, noticed: sorted(
            name for name, found in invariances.items() if found >= set(ignored)
        )),
    Mistake("one change noticed",
        "You drop a measure only if it ignores all changes that have to be noticed. One of them is enough to drop it.",
        lambda invariances, ignored, noticed: sorted(
            name for name, found in invariances.items() if found >= set(ignored) and not found >= set(noticed)
        )),
    Mistake("exactly these",
        "You ask for measures that ignore the listed changes and no other. Further ones do no harm.",
        lambda invariances, ignored, noticed: sorted(
            name for name, found in invariances.items() if found == set(ignored)
        )),
    Mistake("not in order",
        "These are the right names. Put them into alphabetical order.",
        lambda invariances, ignored, noticed: [
            name for name, found in invariances.items() if found >= set(ignored) and not found & set(noticed)
        ]),
]  # fmt: skip


# the plan


def significance_level(rng: np.random.Generator) -> tuple[float]:
    m = int(rng.integers(3, 9))
    return (float(rng.uniform(*((1.05, 1.9), (2.1, 3.2))[rng.integers(2)]) / math.comb(2 * m, m)),)


@session.exercise(minutes=5, inputs=significance_level)
def units_needed(alpha: float) -> int:
    """Return the smallest number of units in each of two equal groups whose smallest p-value is at most alpha."""
    return next(m for m in range(1, 30) if 2 / math.comb(2 * m, m) <= alpha)


units_needed.mistakes += [
    Mistake("the exchanged split",
        "You count one split. If two equal groups exchange names, the difference stays the same: two splits reach it.",
        lambda alpha: next(m for m in range(1, 30) if 1 / math.comb(2 * m, m) <= alpha)),
    Mistake("both groups",
        "You return the units of both groups together. The task asks for those of one group.",
        lambda alpha: 2 * next(m for m in range(1, 30) if 2 / math.comb(2 * m, m) <= alpha)),
    Mistake("orders in place of splits",
        "You count orders of the units. The order within a group changes nothing: count ways to choose one group.",
        lambda alpha: next(m for m in range(1, 30) if 2 / math.factorial(2 * m) <= alpha)),
    Mistake("signs in place of splits",
        "You count two possibilities for each unit. Both groups keep their size: count ways to choose one group.",
        lambda alpha: next(m for m in range(1, 30) if 2 / 2**m <= alpha)),
]  # fmt: skip


# the unit


def models_of_units(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    unit = rng.permutation(np.repeat(np.arange(3), rng.permutation([2, 3, 4])))
    return _similarities(rng, len(unit)), np.sort(rng.permutation(20)[:3])[unit]  # any integers


def _similarities(rng: np.random.Generator, m: int) -> np.ndarray:
    points = rng.normal(size=(m, 3))
    return np.asarray(np.exp(-((points[:, None] - points) ** 2).sum(-1) / 4))


def _blocks(similarity: np.ndarray, unit: np.ndarray, self_pairs: bool = False) -> list[list[np.ndarray]]:
    """Return the similarities of the models of each two units."""
    counted, units = ~np.eye(len(unit), dtype=bool) | self_pairs, np.unique(unit)
    return [[similarity[np.outer(unit == a, unit == b) & counted] for b in units] for a in units]


@session.exercise(minutes=6, inputs=models_of_units)
def mean_over_units(similarity: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Return the mean similarity of different models for each two units."""
    return np.array([[block.mean() for block in row] for row in _blocks(similarity, unit)])


mean_over_units.mistakes += [
    Mistake("a model with itself",
        "Within a unit, you count the similarity of each model with itself. It is always 1: leave these pairs out.",
        lambda similarity, unit: np.array(
            [[block.mean() for block in row] for row in _blocks(similarity, unit, self_pairs=True)]
        )),
    Mistake("sums",
        "You sum over pairs of models. Units with more models then have larger values: average.",
        lambda similarity, unit: np.array([[block.sum() for block in row] for row in _blocks(similarity, unit)])),
]  # fmt: skip


@mean_over_units.mistake(
    "one model for each unit",
    "You take the first model of each unit. The others are repeats, which make the mean more precise.",
)
def _(similarity: np.ndarray, unit: np.ndarray) -> np.ndarray:
    first = np.unique(unit, return_index=True)[1]
    return np.asarray(similarity[np.ix_(first, first)])


# the estimate, and its error


def two_groups(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    group = rng.permutation(np.repeat([False, True], rng.permutation([3, 5])))
    return _similarities(rng, 8), group


def _sides(similarity: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarities within and between groups."""
    i, j = np.triu_indices(len(group), 1)
    within = group[i] == group[j]
    return similarity[i, j][within], similarity[i, j][~within]


def _difference(similarity: np.ndarray, group: np.ndarray) -> float:
    within, between = _sides(similarity, group)
    return float(within.mean() - between.mean())


@session.exercise(minutes=4, inputs=two_groups, trials=20)
def group_difference(similarity: np.ndarray, group: np.ndarray) -> float:
    """Return the mean similarity of pairs within a group, minus that of pairs of different groups."""
    return _difference(similarity, group)


@group_difference.mistake(
    "diagonal counted",
    "The similarity of each unit with itself is in your mean within groups. It raises the difference.",
)
def _(similarity: np.ndarray, group: np.ndarray) -> float:
    same = group[:, None] == group
    return float(similarity[same].mean() - similarity[~same].mean())


group_difference.mistakes += [
    Mistake("sign",
        "Your difference has the wrong sign. It is positive if pairs within a group are more alike.",
        lambda similarity, group: -_difference(similarity, group)),
    Mistake("minus all pairs",
        "You subtract the mean of all pairs. The pairs within groups are among them: compare with the others only.",
        lambda similarity, group: float(
            _sides(similarity, group)[0].mean() - np.concatenate(_sides(similarity, group)).mean()
        )),
    Mistake("sums",
        "You subtract sums. There are more pairs of one kind: take means.",
        lambda similarity, group: float(np.subtract(*(side.sum() for side in _sides(similarity, group))))),
    Mistake("one group only",
        "Your pairs within groups are those of one group. The other group has such pairs, too.",
        lambda similarity, group: float(
            similarity[np.ix_(group, group)][np.triu_indices(group.sum(), 1)].mean()
            - _sides(similarity, group)[1].mean()
        )),
]  # fmt: skip


@group_difference.mistake(
    "mean of two means",
    "You average each group first: a pair of the smaller group counts more. All pairs within groups count equally.",
)
def _(similarity: np.ndarray, group: np.ndarray) -> float:
    first, second = (similarity[np.ix_(g, g)][np.triu_indices(g.sum(), 1)].mean() for g in (group, ~group))
    return float((first + second) / 2 - _sides(similarity, group)[1].mean())


def _left_out(similarity: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the difference without each unit."""
    rest = [np.delete(np.arange(len(group)), k) for k in range(len(group))]
    return np.array([_difference(similarity[np.ix_(r, r)], group[r]) for r in rest])


@session.exercise(minutes=6, inputs=two_groups, trials=12)
def jackknife_error(similarity: np.ndarray, group: np.ndarray) -> float:
    """Return the standard error of the difference of groups, from leaving out each unit."""
    return float(np.sqrt(len(group) - 1) * _left_out(similarity, group).std())


jackknife_error.mistakes += [
    Mistake("spread of the values",
        "This is the standard deviation of your values. They share nearly all units, so it is far too small.",
        lambda similarity, group: float(_left_out(similarity, group).std())),
    Mistake("error of a mean",
        "You divide as if your values were independent. They share nearly all units: look at the factor again.",
        lambda similarity, group: float(_left_out(similarity, group).std(ddof=1) / np.sqrt(len(group)))),
    Mistake("pairs as units",
        "You treat pairs as independent. All pairs of one unit depend on it: leave out units, with all their pairs.",
        lambda similarity, group: float(
            np.sqrt(sum(side.var(ddof=1) / len(side) for side in _sides(similarity, group)))
        )),
    Mistake("no root",
        "This is a variance. A standard error has the unit of the value: what is missing?",
        lambda similarity, group: float((len(group) - 1) * _left_out(similarity, group).var())),
    Mistake("n - 1 counted twice",
        "Your standard deviation divides by n - 1. In this formula it divides by n: the factor has the n - 1.",
        lambda similarity, group: float(np.sqrt(len(group) - 1) * _left_out(similarity, group).std(ddof=1))),
    Mistake("the factor is not under the root",
        "Your error is too large: the factor belongs under the root.",
        lambda similarity, group: float((len(group) - 1) * _left_out(similarity, group).std())),
    Mistake("around the value of all units",
        "You measure from the value of all units. Measure from the mean of the values without a unit.",
        lambda similarity, group: float(
            np.sqrt((len(group) - 1) * np.mean((_left_out(similarity, group) - _difference(similarity, group)) ** 2))
        )),
]  # fmt: skip


# several tests


def p_values(rng: np.random.Generator) -> tuple[np.ndarray]:
    first = rng.uniform(0.002, 0.008)
    further = rng.uniform(0.02, 0.09, int(rng.integers(1, 3)))
    return (rng.permutation(np.r_[first, 1.05 * first, further, rng.uniform(0.55, 0.65), rng.uniform(0.7, 0.9)]),)


def _holm(p: np.ndarray, *, running: bool = True, cap: float = 1) -> np.ndarray:
    order = np.argsort(p)
    values = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(values) if running else values, cap)
    return adjusted


@session.exercise(minutes=6, inputs=p_values, trials=10)
def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values for their number by the method of Holm."""
    return _holm(p)


holm.mistakes += [
    Mistake("Bonferroni",
        "You multiply all by the same number. This is right, too, but finds less: the factor falls with the rank.",
        lambda p: np.minimum(p * len(p), 1)),
    Mistake("order changed",
        "Your values are sorted. Return each adjusted value at the place of the p-value that it belongs to.",
        lambda p: np.sort(_holm(p))),
    Mistake("smaller after a larger one",
        "One of your adjusted values is smaller than that of a smaller p-value. Carry the largest value so far along.",
        lambda p: _holm(p, running=False)),
    Mistake("above 1", "One of your values is above 1. A p-value is a probability.", lambda p: _holm(p, cap=np.inf)),
    Mistake("places taken for ranks",
        "You index by `order` to go back. Its entries are where the sorted values came from: assign there.",
        lambda p: np.sort(_holm(p))[np.argsort(p)]),
]  # fmt: skip


# what is written


def results(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    alpha, margin = float(rng.choice([0.01, 0.05])), float(np.round(rng.uniform(0.05, 0.1), 3))
    p = np.r_[rng.uniform(0, alpha / 2, 2), alpha, rng.uniform(2 * alpha, 1, 5)]
    low = np.r_[0.01, 0.02, 0.01, -0.8, -0.9, -2, 0.1, -0.7] * margin
    high = np.r_[3, 0.5, 2, 0.9, 0.7, 0.5, 1.5, 3] * margin
    order = rng.permutation(len(p))
    return p[order], low[order], high[order], alpha, margin


def _verdict(found: bool, small: bool) -> str:
    return "different" if found else "no relevant difference" if small else "undecided"


@session.exercise(minutes=4, inputs=results)
def verdicts(p: np.ndarray, low: np.ndarray, high: np.ndarray, alpha: float, margin: float) -> list[str]:
    """Name for each result: "different", "no relevant difference" or "undecided"."""
    return [_verdict(*row) for row in zip(p <= alpha, (low > -margin) & (high < margin), strict=True)]


verdicts.mistakes += [
    Mistake("absence of evidence",
        "You read a large p-value as no difference. It may come from few units: does the interval exclude relevant "
        "values?",
        lambda p, low, high, alpha, margin: [_verdict(found, True) for found in p <= alpha]),
    Mistake("one end only",
        "You look at one end of the interval. A relevant difference may have either sign: look at both ends.",
        lambda p, low, high, alpha, margin: [_verdict(*row) for row in zip(p <= alpha, high < margin, strict=True)]),
    Mistake("below, not at most",
        "Look at a p-value that equals alpha: it is small enough.",
        lambda p, low, high, alpha, margin: [
            _verdict(*row) for row in zip(p < alpha, (low > -margin) & (high < margin), strict=True)
        ]),
    Mistake("the middle",
        "You compare the middle of the interval with the margin. The whole interval has to be within it.",
        lambda p, low, high, alpha, margin: [
            _verdict(*row) for row in zip(p <= alpha, np.abs(low + high) / 2 < margin, strict=True)
        ]),
    Mistake("the interval for the p-value",
        "You call a result different if its interval excludes 0. These p-values are adjusted: use them.",
        lambda p, low, high, alpha, margin: [
            _verdict(*row) for row in zip((low > 0) | (high < 0), (low > -margin) & (high < margin), strict=True)
        ]),
    Mistake("small before different",
        "You ask for relevance first. A small difference that is found is still a difference.",
        lambda p, low, high, alpha, margin: [
            "no relevant difference" if small else _verdict(found, False)
            for found, small in zip(p <= alpha, (low > -margin) & (high < margin), strict=True)
        ]),
]  # fmt: skip


def one_result(rng: np.random.Generator) -> tuple[str, float, float, float, float, int, str]:
    estimate, half = rng.uniform(-0.2, 0.3), rng.uniform(0.02, 0.2)
    p = float(rng.choice([rng.uniform(0.00001, 0.0004), rng.uniform(0.01, 0.9)]))
    measure, verdict = rng.choice(["cka_debiased", "rsa", "mutual_knn"]), rng.choice(["different", "undecided"])
    return str(measure), estimate, estimate - half, estimate + half, p, int(rng.integers(5, 30)), str(verdict)


def _sentence(measure: str, values: str, p: str, n: int, verdict: str) -> str:
    return f"{measure}: difference {values}, {p}, n = {n}: {verdict}"


def _interval(difference: float, low: float, high: float, digits: int = 2) -> str:
    return f"{difference:.{digits}f} (95 % interval {low:.{digits}f} to {high:.{digits}f})"


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


@session.exercise(minutes=5, inputs=one_result)
def conclusion(measure: str, difference: float, low: float, high: float, p: float, n: int, verdict: str) -> str:
    """Write one result as a sentence, with its interval, p-value and number of units."""
    return _sentence(measure, _interval(difference, low, high), _chance(p), n, verdict)


conclusion.mistakes += [
    Mistake("a p-value of 0",
        "Your sentence has p = 0.000. A p-value is never 0: small ones have a form of their own.",
        lambda measure, difference, low, high, p, n, verdict: _sentence(
            measure, _interval(difference, low, high), f"p = {p:.3f}", n, verdict
        )),
    Mistake("too many digits",
        "Three digits after the point suggest a precision that the interval does not have. Use two for these.",
        lambda measure, difference, low, high, p, n, verdict: _sentence(
            measure, _interval(difference, low, high, 3), _chance(p), n, verdict
        )),
    Mistake("no interval",
        "The interval is missing. Without it, nobody can see what the data leave open.",
        lambda measure, difference, low, high, p, n, verdict: _sentence(
            measure, f"{difference:.2f}", _chance(p), n, verdict
        )),
    Mistake("no n",
        "The number of units is missing. It is the first thing that a careful reader looks for.",
        lambda measure, difference, low, high, p, n, verdict: (
            f"{measure}: difference {_interval(difference, low, high)}, {_chance(p)}: {verdict}"
        )),
    Mistake("two digits of a p-value",
        "Your p-value has two digits. It needs three: 0.049 and 0.051 are read differently.",
        lambda measure, difference, low, high, p, n, verdict: _sentence(
            measure, _interval(difference, low, high), "p < 0.001" if p < 0.001 else f"p = {p:.2f}", n, verdict
        )),
]  # fmt: skip
