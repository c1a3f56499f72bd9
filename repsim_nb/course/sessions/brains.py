"""Session 7: models and brains."""

from __future__ import annotations

import numpy as np

from repsim_nb.course.exercises import Mistake, Session

session = Session("brains", "Models and brains")


def _pairs(rdm: np.ndarray) -> np.ndarray:
    """Return the entries above the diagonal."""
    return rdm[np.triu_indices(len(rdm), 1)]


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def _rdm(rng: np.random.Generator, points: np.ndarray, noise: float) -> np.ndarray:
    """Return squared distances of noisy points."""
    points = points + noise * rng.normal(size=points.shape)
    return np.asarray(((points[:, None] - points) ** 2).sum(-1))


# conditions and repeats


def trials_and_conditions(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    conditions = rng.permutation(np.repeat(np.arange(4), rng.permutation([2, 3, 4, 5])))
    patterns = rng.normal(size=(4, 9))
    labels = np.sort(rng.permutation(20)[:4])  # any integers
    return patterns[conditions] + rng.normal(size=(len(conditions), 9)), labels[conditions]


def _condition_means(trials: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    return np.array([trials[conditions == one].mean(0) for one in np.unique(conditions)])


@session.exercise(minutes=6, inputs=trials_and_conditions)
def rdm_of_conditions(trials: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Return 1 - correlation of the mean patterns of each two conditions."""
    return np.asarray(1 - np.corrcoef(_condition_means(trials, conditions)))


rdm_of_conditions.mistakes += [
    Mistake("repeats not averaged",
        "You compare single trials, and your matrix has one row for each trial. Average the trials of a condition "
        "first.",
        lambda trials, conditions: np.asarray(1 - np.corrcoef(trials))),
    Mistake("similarity",
        "You return correlations, which are large for similar patterns. An RDM is large for different ones.",
        lambda trials, conditions: np.asarray(np.corrcoef(_condition_means(trials, conditions)))),
    Mistake("rows and columns exchanged",
        "Your matrix has one row for each voxel: you correlate voxels over conditions. Correlate conditions over "
        "voxels.",
        lambda trials, conditions: np.asarray(1 - np.corrcoef(_condition_means(trials, conditions).T))),
    Mistake("voxels centred",
        "You subtract from each voxel its mean over the conditions. Then every condition is compared with the others' "
        "mean.",
        lambda trials, conditions: np.asarray(
            1 - np.corrcoef(_condition_means(trials, conditions) - _condition_means(trials, conditions).mean(0))
        )),
    Mistake("Euclidean distances",
        "You compute Euclidean distances. The task asks for 1 - correlation.",
        lambda trials, conditions: np.linalg.norm(_differences(_condition_means(trials, conditions)), axis=-1)),
    Mistake("order of appearance",
        "Your conditions are in the order in which they appear. Sort them by their label.",
        lambda trials, conditions: np.asarray(1 - np.corrcoef(
            np.array([trials[conditions == one].mean(0) for one in dict.fromkeys(conditions.tolist())])
        ))),
]  # fmt: skip


@rdm_of_conditions.mistake(
    "mean of RDM entries",
    "You average dissimilarities of single trials. Their noise stays: average the patterns before you compare them.",
)
def _(trials: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    single, names = 1 - np.corrcoef(trials), np.unique(conditions)
    return np.array([[single[np.ix_(conditions == a, conditions == b)].mean() for b in names] for a in names])


# cross-validated distances


def two_runs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    patterns = rng.normal(size=(5, 8))
    patterns[1] = patterns[0]
    return patterns + 2 * rng.normal(size=(5, 8)), patterns + 2 * rng.normal(size=(5, 8))


def _differences(patterns: np.ndarray) -> np.ndarray:
    return patterns[:, None] - patterns


@session.exercise(minutes=7, inputs=two_runs)
def crossvalidated_rdm(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cross-validated squared distances of each two conditions, a voxel."""
    return np.asarray((_differences(first) * _differences(second)).mean(-1))


crossvalidated_rdm.mistakes += [
    Mistake("one run only",
        "You multiply the differences of the first run with themselves. Then their noise is squared.",
        lambda first, second: np.asarray((_differences(first) ** 2).mean(-1))),
    Mistake("runs averaged",
        "You average the runs first. The same noise is then in both factors, and the zero has no meaning.",
        lambda first, second: np.asarray((_differences((first + second) / 2) ** 2).mean(-1))),
    Mistake("no negative values",
        "You take negative values away. They balance the positive ones, so that equal conditions have a mean of 0.",
        lambda first, second: np.maximum((_differences(first) * _differences(second)).mean(-1), 0)),
    Mistake("sum over voxels",
        "You sum over the voxels. The task asks for the mean, so that areas of any size are comparable.",
        lambda first, second: np.asarray((_differences(first) * _differences(second)).sum(-1))),
    Mistake("runs subtracted",
        "You subtract a condition of one run from a condition of the other. Each difference lies within a run.",
        lambda first, second: np.asarray(((first[:, None] - second) ** 2).mean(-1))),
]  # fmt: skip


# the noise ceiling


def several_people(rng: np.random.Generator) -> tuple[np.ndarray]:
    m, pairs = int(rng.integers(4, 7)), int(rng.choice([15, 21, 28]))
    return (rng.normal(size=pairs) + rng.normal(size=(m, pairs)) * np.linspace(0.5, 2, m)[:, None],)


def _others(people: np.ndarray, k: int) -> np.ndarray:
    return np.asarray(np.delete(people, k, axis=0).mean(0))


def _bounds(people: np.ndarray) -> tuple[float, float]:
    lower = np.mean([_correlation(one, _others(people, k)) for k, one in enumerate(people)])
    upper = np.mean([_correlation(one, people.mean(0)) for one in people])
    return float(lower), float(upper)


@session.exercise(minutes=7, inputs=several_people)
def noise_ceiling(people: np.ndarray) -> tuple[float, float]:
    """Lower and upper bound of the correlation that the true model would have with the people."""
    return _bounds(people)


noise_ceiling.mistakes += [
    Mistake("upper twice",
        "In your lower bound, each person is compared with a mean that contains this person. Who are the others?",
        lambda people: (_bounds(people)[1], _bounds(people)[1])),
    Mistake("exchanged",
        "You return the upper bound first. The lower bound is the smaller one.",
        lambda people: _bounds(people)[::-1]),
    Mistake("mean of pairs of people",
        "Your lower bound is the mean correlation of two people. Two noisy people agree less than a person and a "
        "mean do.",
        lambda people: (float(_pairs(np.corrcoef(people)).mean()), _bounds(people)[1])),
    Mistake("lower twice",
        "In your upper bound, each person is compared with the others. Compare with the mean of all people.",
        lambda people: (_bounds(people)[0], _bounds(people)[0])),
    Mistake("ranks",
        "You correlate ranks. The task asks for Pearson correlations.",
        lambda people: _bounds(np.argsort(np.argsort(people, axis=1), axis=1).astype(float))),
    Mistake("standardised first",
        "You standardise each person before you average. Here people are averaged as they are.",
        lambda people: _bounds(
            (people - people.mean(1, keepdims=True)) / people.std(1, keepdims=True)
        )),
    Mistake("correlations squared",
        "You square the correlations. The bounds are correlations, not explained variances.",
        lambda people: (
            float(np.mean([_correlation(one, _others(people, k)) ** 2 for k, one in enumerate(people)])),
            float(np.mean([_correlation(one, people.mean(0)) ** 2 for one in people])),
        )),
]  # fmt: skip


# tests and intervals over stimuli


def model_brain_orders(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, k = int(rng.integers(7, 10)), int(rng.integers(4, 7))
    points = rng.normal(size=(n, 3))
    return _rdm(rng, points, 0.3), _rdm(rng, points, 0.5), np.array([rng.permutation(n) for _ in range(k)])


@session.exercise(minutes=5, inputs=model_brain_orders)
def null_correlations(model: np.ndarray, brain: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Return the correlation of two RDMs for each order of the stimuli of the model."""
    return np.array([_correlation(_pairs(model[np.ix_(o, o)]), _pairs(brain)) for o in orders])


null_correlations.mistakes += [
    Mistake("rows only",
        "You permute the rows of the model and not its columns. A stimulus that moves takes its row and its column "
        "along.",
        lambda model, brain, orders: np.array([_correlation(_pairs(model[o]), _pairs(brain)) for o in orders])),
    Mistake("both permuted",
        "You permute both RDMs in the same way, so their stimuli still correspond. Permute the model only.",
        lambda model, brain, orders: np.array([_correlation(_pairs(model), _pairs(brain)) for _ in orders])),
    Mistake("brain permuted",
        "You permute the brain. As a null distribution this is as good, but here the orders are meant for the model.",
        lambda model, brain, orders: np.array(
            [_correlation(_pairs(model), _pairs(brain[np.ix_(o, o)])) for o in orders]
        )),
    Mistake("diagonal counted",
        "You correlate whole matrices. The zeros on the diagonals agree for every order, and raise the values.",
        lambda model, brain, orders: np.array(
            [_correlation(model[np.ix_(o, o)].ravel(), brain.ravel()) for o in orders]
        )),
    Mistake("columns only",
        "You permute the columns of the model and not its rows. A stimulus that moves takes its row and its column "
        "along.",
        lambda model, brain, orders: np.array([_correlation(_pairs(model[:, o]), _pairs(brain)) for o in orders])),
    Mistake("their mean",
        "You return the mean of the correlations. Return all of them: a test counts how many are as large.",
        lambda model, brain, orders: float(
            np.mean([_correlation(_pairs(model[np.ix_(o, o)]), _pairs(brain)) for o in orders])
        )),
    Mistake("lower half",
        "You compare the upper half of one RDM with the lower half of the other. Their pairs come in another order.",
        lambda model, brain, orders: np.array([
            _correlation(_pairs(model[np.ix_(o, o)]), brain[np.tril_indices(len(brain), -1)]) for o in orders
        ])),
]  # fmt: skip


def model_brain_draws(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, k = int(rng.integers(8, 11)), int(rng.integers(4, 7))
    points = rng.normal(size=(n, 3))
    draws = rng.integers(n, size=(k, n))
    draws[:, 1] = draws[:, 0]  # at least one stimulus twice
    draws[:, 2:6] = np.array([rng.permutation(n)[:4] for _ in range(k)])
    return _rdm(rng, points, 0.3), _rdm(rng, points, 0.5), draws


def _drawn(model: np.ndarray, brain: np.ndarray, draw: np.ndarray, *, twins: bool = False) -> float:
    """Return the correlation over the pairs of drawn stimuli; `twins`: whether a stimulus is paired with itself."""
    i, j = (draw[side] for side in np.triu_indices(len(draw), 1))
    counted = (i != j) | twins
    return _correlation(model[i, j][counted], brain[i, j][counted])


@session.exercise(minutes=7, inputs=model_brain_draws)
def bootstrap_scores(model: np.ndarray, brain: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return the correlation of two RDMs over the pairs of different stimuli in each draw."""
    return np.array([_drawn(model, brain, draw) for draw in draws])


bootstrap_scores.mistakes += [
    Mistake("a stimulus with itself",
        "A stimulus that is drawn twice makes a pair with itself, of dissimilarity 0. Such pairs must not count.",
        lambda model, brain, draws: np.array([_drawn(model, brain, draw, twins=True) for draw in draws])),
    Mistake("pairs drawn",
        "You draw pairs of stimuli. Pairs that share a stimulus depend on each other: draw stimuli, with all their "
        "pairs.",
        lambda model, brain, draws: np.array(
            [_correlation(_pairs(model)[draw], _pairs(brain)[draw]) for draw in draws]
        )),
    Mistake("each stimulus once",
        "You keep each drawn stimulus once. A stimulus that is drawn twice counts twice, with each of the others.",
        lambda model, brain, draws: np.array([_drawn(model, brain, np.unique(draw)) for draw in draws])),
    Mistake("model only",
        "You draw the stimuli of the model, and leave the brain as it is. Their rows then belong to different stimuli.",
        lambda model, brain, draws: np.array(
            [_correlation(_pairs(model[np.ix_(d, d)]), _pairs(brain)) for d in draws])),
    Mistake("their spread",
        "You return the standard deviation of the scores. Return one score for each draw: an interval needs them.",
        lambda model, brain, draws: float(np.std([_drawn(model, brain, draw) for draw in draws]))),
    Mistake("their mean",
        "You return the mean of the scores. Return one score for each draw: an interval needs them.",
        lambda model, brain, draws: float(np.mean([_drawn(model, brain, draw) for draw in draws]))),
]  # fmt: skip


# partial correlation


def three_vectors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    z = rng.random(int(rng.choice([15, 21, 28]))) + 1
    return z + 0.6 * rng.random(len(z)), z + 0.8 * rng.random(len(z)), z


def _rest(x: np.ndarray, z: np.ndarray, *, intercept: bool = True) -> np.ndarray:
    """Return what a regression on z leaves of x."""
    design = np.column_stack([z, np.ones_like(z)] if intercept else [z])
    return np.asarray(x - design @ np.linalg.lstsq(design, x, rcond=None)[0])


@session.exercise(minutes=5, inputs=three_vectors)
def partial_correlation(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
    """Correlation of what a linear regression on z leaves of x and of y."""
    return _correlation(_rest(x, z), _rest(y, z))


partial_correlation.mistakes += [
    Mistake("plain correlation",
        "This is the correlation of x and y. The part that z predicts is still in it.",
        lambda x, y, z: _correlation(x, y)),
    Mistake("one side only",
        "You take z out of one side only. The rest of one side is correlated with the rest of the other.",
        lambda x, y, z: _correlation(_rest(x, z), y)),
    Mistake("no intercept",
        "Your regression runs through the origin. Dissimilarities have a mean: add a column of ones.",
        lambda x, y, z: _correlation(_rest(x, z, intercept=False), _rest(y, z, intercept=False))),
    Mistake("subtracted",
        "You subtract z itself. How much of z is in x has to be estimated, by a regression.",
        lambda x, y, z: _correlation(x - z, y - z)),
    Mistake("no root",
        "You divide by what z leaves of both variances. A correlation divides by the root of that.",
        lambda x, y, z: (_correlation(x, y) - _correlation(x, z) * _correlation(y, z))
        / ((1 - _correlation(x, z) ** 2) * (1 - _correlation(y, z) ** 2))),
    Mistake("not divided",
        "You subtract what z explains, and do not divide by what it leaves of each side.",
        lambda x, y, z: _correlation(x, y) - _correlation(x, z) * _correlation(y, z)),
    Mistake("a slope",
        "This is a slope of a regression. It depends on the units of x and y; a correlation does not.",
        lambda x, y, z: float(np.linalg.lstsq(np.column_stack([x, z, np.ones_like(z)]), y, rcond=None)[0][0])),
]  # fmt: skip


# verdicts


def intervals_and_ceiling(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    lower = float(np.round(rng.uniform(0.3, 0.6), 2))
    low = rng.permutation(
        np.r_[rng.uniform(-0.3, -0.2), -0.02, 0, rng.uniform(0.05, lower - 0.15, 4), lower + 0.02, lower]
    )
    high = low + rng.uniform(0.11, 0.14, len(low))
    high[np.flatnonzero((low > 0) & (low < lower))[0]] = lower
    return low, high, lower


@session.exercise(minutes=4, inputs=intervals_and_ceiling)
def model_verdicts(low: np.ndarray, high: np.ndarray, ceiling: float) -> list[str]:
    """Name for each model: "no evidence", "below the ceiling" or "reaches the ceiling"."""
    return _verdicts(low <= 0, high < ceiling)


def _verdicts(unrelated: np.ndarray, below: np.ndarray) -> list[str]:
    words = np.select([unrelated, below], ["no evidence", "below the ceiling"], "reaches the ceiling")
    return [str(word) for word in words]


model_verdicts.mistakes += [
    Mistake("low end for the ceiling",
        "You ask whether the whole interval is above the ceiling. A model is below only if its whole interval is "
        "below.",
        lambda low, high, ceiling: _verdicts(low <= 0, low < ceiling)),
    Mistake("chance ignored",
        'Your list never has "no evidence". A model whose interval contains 0 may be unrelated.',
        lambda low, high, ceiling: _verdicts(np.zeros(len(low), bool), high < ceiling)),
    Mistake("the middle",
        "You decide by the middle of the interval. Two studies with this middle may allow different verdicts.",
        lambda low, high, ceiling: _verdicts(low + high <= 0, (low + high) / 2 < ceiling)),
    Mistake("at the limits",
        "Look at intervals that end exactly at 0 or at the ceiling: there you decide otherwise than asked.",
        lambda low, high, ceiling: _verdicts(low < 0, high <= ceiling)),
    Mistake("high end for chance",
        "You ask whether the whole interval is below 0. One that contains 0 is no evidence, either.",
        lambda low, high, ceiling: _verdicts(high <= 0, high < ceiling)),
]  # fmt: skip
