"""Session 5: can the number be trusted? Chance, precision, groups, and the best of many."""

from __future__ import annotations

import math

import numpy as np

from repsim_nb.course.exercises import Mistake, Session

session = Session("trust", "Can the number be trusted?")


def _cka(x: np.ndarray, y: np.ndarray) -> float:  # by hand: it is called many times
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.sum((x.T @ y) ** 2) / (np.linalg.norm(x @ x.T) * np.linalg.norm(y @ y.T)))


def pair_and_orders(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, p, q = int(rng.integers(6, 10)), int(rng.integers(10, 13)), int(rng.integers(13, 16))
    x = rng.normal(size=(n, p))
    y = x[:, :4] @ rng.normal(size=(4, q)) + rng.normal(size=(n, q))
    return x, y, np.array([_other_order(n, rng) for _ in range(5)])


def _other_order(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation that is neither the identity nor its own inverse."""
    while True:
        order = rng.permutation(n)
        if not np.array_equal(order[order], np.arange(n)):
            return order


@session.exercise(minutes=6, inputs=pair_and_orders)
def null_values(x: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Compute CKA of x with y, whose rows are put in each of the orders (K, n): (K,)."""
    return np.array([_cka(x, y[order]) for order in orders])


null_values.mistakes += [
    Mistake("both sides permuted",
        "You permute both sides in the same way, so row i of x still meets row i of y. Permute one side only.",
        lambda x, y, orders: np.array([_cka(x[order], y[order]) for order in orders])),
    Mistake("rows and columns exchanged",
        "You reorder the features of y. Which rows belong together is what has to be destroyed.",
        lambda x, y, orders: np.array([_cka(x, y[:, order]) for order in orders])),
    Mistake("the other side",
        "You permute the rows of x. As a null distribution this is as good, but here the orders are meant for y.",
        lambda x, y, orders: np.array([_cka(x[order], y) for order in orders])),
    Mistake("their mean",
        "You return the mean of the values. Return all of them: their spread is needed, too.",
        lambda x, y, orders: float(np.mean([_cka(x, y[order]) for order in orders]))),
    Mistake("a dissimilarity",
        "You return a dissimilarity. A p-value counts null values that are at least as similar.",
        lambda x, y, orders: np.array([1 - _cka(x, y[order]) for order in orders])),
]  # fmt: skip


def value_and_null(rng: np.random.Generator) -> tuple[float, np.ndarray]:
    null = rng.integers(10, 60, size=int(rng.integers(30, 60))) / 100
    return float(np.sort(null)[-int(rng.integers(4, 10))]), null  # equal to at least one of the null values


@session.exercise(minutes=5, inputs=value_and_null)
def p_value(observed: float, null: np.ndarray) -> float:
    """Return the p-value of an observed similarity, given its null values (K,)."""
    return _p(observed, null)


def _p(observed: float, null: np.ndarray) -> float:
    return float((1 + np.sum(null >= observed)) / (len(null) + 1))


p_value.mistakes += [
    Mistake("a p-value of 0",
        "If no null value is as large, your p-value is 0. The observed order is one of the possible orders, so it "
        "counts.",
        lambda observed, null: float(np.mean(null >= observed))),
    Mistake("ties left out",
        "A null value equal to the observed one is as extreme as the observed one. Count it.",
        lambda observed, null: float((1 + np.sum(null > observed)) / (len(null) + 1))),
    Mistake("the wrong tail",
        "You count the null values that are at most as large. For a similarity, evidence is on the other side.",
        lambda observed, null: float((1 + np.sum(null <= observed)) / (len(null) + 1))),
    Mistake("two-sided",
        "You doubled the p-value. The question is only whether the similarity is larger than chance, so one side "
        "counts.",
        lambda observed, null: 2 * _p(observed, null)),
    Mistake("counted in one place only",
        "You count the observed order among the extreme orders, but not among all orders. How many orders are there?",
        lambda observed, null: float((1 + np.sum(null >= observed)) / len(null))),
    Mistake("ties and the observed order left out",
        "Two things are missing: null values that are equal to the observed one, and the observed order itself.",
        lambda observed, null: float(np.mean(null > observed))),
    Mistake("the fraction below",
        "You return the fraction of null values below the observed one, so strong evidence has a value near 1. "
        "A small p-value should be the strong evidence.",
        lambda observed, null: float(np.mean(null < observed))),
    Mistake("a count",
        "You return how many null values are as large. A p-value is a fraction of all orders.",
        lambda observed, null: int(np.sum(null >= observed))),
]  # fmt: skip


def value_and_its_null(rng: np.random.Generator) -> tuple[float, np.ndarray]:
    low, high = (0.62, 0.9) if rng.random() < 0.6 else (0.3, 0.5)  # some values are below chance
    return float(rng.uniform(low, high)), rng.uniform(0.3, 0.6, size=int(rng.integers(40, 80)))


@session.exercise(minutes=5, inputs=value_and_its_null, trials=20)
def chance_corrected(observed: float, null: np.ndarray) -> float:
    """Put a similarity on a scale from 0 (the 95 % quantile of its null values) to 1 (identical)."""
    return _scaled(observed, float(np.quantile(null, 0.95)))


def _scaled(observed: float, chance: float) -> float:
    return (observed - chance) / (1 - chance)


chance_corrected.mistakes += [
    Mistake("the mean as chance level",
        "You take the mean of the null values as chance level. Half of all unrelated pairs would then be above 0.",
        lambda observed, null: _scaled(observed, float(null.mean()))),
    Mistake("not scaled",
        "You subtract the chance level, so identical representations no longer have the value 1. "
        "How large is the range that is left above chance?",
        lambda observed, null: observed - float(np.quantile(null, 0.95))),
    Mistake("a two-sided quantile",
        "You take the quantile of a two-sided test. Only large similarities count here, so all 5 % are on one side.",
        lambda observed, null: _scaled(observed, float(np.quantile(null, 0.975)))),
    Mistake("no negative values",
        "You replace negative values by 0. They show how far a value is below chance: leave them.",
        lambda observed, null: max(0.0, _scaled(observed, float(np.quantile(null, 0.95))))),
    Mistake("a ratio",
        "You divide by the chance level. A ratio has no fixed value for identical representations.",
        lambda observed, null: observed / float(np.quantile(null, 0.95))),
    Mistake("the largest null value",
        "You take the largest null value as chance level, which grows with the number of orders. Take the 95 % "
        "quantile.",
        lambda observed, null: _scaled(observed, float(null.max()))),
    Mistake("a z-score",
        "You divide by the standard deviation of the null values. Then the best value is no longer 1.",
        lambda observed, null: float((observed - null.mean()) / null.std())),
]  # fmt: skip


def value_and_left_out(rng: np.random.Generator) -> tuple[float, np.ndarray]:
    value = float(rng.uniform(0.3, 0.8))
    return value, value + rng.normal(0.004, 0.004, size=int(rng.integers(20, 40)))


@session.exercise(minutes=7, inputs=value_and_left_out, tolerance=1e-5)  # 1.96, or the quantile with more digits
def jackknife_interval(value: float, left_out: np.ndarray) -> np.ndarray:
    """Return the 95 % interval (low, high) of a value, from its values without each of the n samples: (n,)."""
    return _around(value, 1.96 * _error(left_out))


def _error(left_out: np.ndarray) -> float:
    n = len(left_out)
    return float(np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2)))


def _around(value: float, half: float) -> np.ndarray:
    return np.array([value - half, value + half])


def _spread(left_out: np.ndarray) -> float:
    return float(left_out.std(ddof=1))


jackknife_interval.mistakes += [
    Mistake("the spread of the copies",
        "You take the standard deviation of the left-out values. They share almost all samples, so they are much "
        "closer "
        "together than values of new sets of samples.",
        lambda value, left_out: _around(value, 1.96 * _spread(left_out))),
    Mistake("the spread of the copies, with n",
        "You take np.std of the left-out values. They share almost all samples, so they are much closer together than "
        "values of new sets of samples.",
        lambda value, left_out: _around(value, 1.96 * float(left_out.std()))),
    Mistake("the error of a mean",
        "You divide by the root of n, as for a mean of independent values. Left-out values are not independent: "
        "they share almost all samples.",
        lambda value, left_out: _around(value, 1.96 * _spread(left_out) / math.sqrt(len(left_out)))),
    Mistake("no root",
        "You use the variance as if it were the error. An error has the unit of the value.",
        lambda value, left_out: _around(value, 1.96 * _error(left_out) ** 2)),
    Mistake("one error to each side",
        "Your interval has one error to each side, which covers about 68 % of cases. How many errors are needed for "
        "95 %?",
        lambda value, left_out: _around(value, _error(left_out))),
    Mistake("one-sided",
        "You use the quantile of a one-sided test. An interval leaves out 2.5 % on each side.",
        lambda value, left_out: _around(value, 1.645 * _error(left_out))),
    Mistake("around the mean of the left-out values",
        "The middle of your interval is the mean of the left-out values. It should be the value of all samples.",
        lambda value, left_out: _around(float(left_out.mean()), 1.96 * _error(left_out))),
    Mistake("quantiles of the left-out values",
        "You take quantiles of the left-out values. They share almost all samples, so they are much closer together "
        "than values of new sets of samples would be.",
        lambda value, left_out: np.quantile(left_out, [0.025, 0.975])),
    Mistake("upper end first",
        "Your ends stand in the wrong order. The lower one comes first.",
        lambda value, left_out: _around(value, -1.96 * _error(left_out))),
    Mistake("2 in place of 1.96",
        "You use 2 standard errors. The exercise asks for 1.96 of them.",
        lambda value, left_out: _around(value, 2 * _error(left_out))),
    Mistake("distances from the value",
        "You square the distances from the value of all samples. Which mean does the formula name?",
        lambda value, left_out: _around(
            value, 1.96 * float(np.sqrt((len(left_out) - 1) * np.mean((left_out - value) ** 2)))
        )),
]  # fmt: skip


def order_and_size(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    return _other_order(int(rng.integers(5, 8)), rng), int(rng.integers(2, 5))


def _rows(order: np.ndarray, size: int) -> np.ndarray:
    """Return the numbers of rows, one group a row of the table."""
    return np.arange(len(order) * size).reshape(len(order), size)


@session.exercise(minutes=6, inputs=order_and_size)
def whole_groups(order: np.ndarray, size: int) -> np.ndarray:
    """Return the order of rows if groups of `size` neighbouring rows are put in an order (G,): (G * size,)."""
    return np.array(_rows(order, size)[order].ravel())


whole_groups.mistakes += [
    Mistake("groups in place of rows",
        "You return numbers of groups, and each of them several times. The result has each row once.",
        lambda order, size: np.repeat(order, size)),
    Mistake("groups torn apart",
        "In your order, the rows of a group are no longer next to each other. Move each group as one block.",
        lambda order, size: _rows(order, size)[order].T.ravel()),
    Mistake("rows that are far apart as a group",
        "You treat rows that are far apart as one group. Neighbouring rows form a group here: "
        "look at the shape that you give to the row numbers.",
        lambda order, size: np.arange(len(order) * size).reshape(size, len(order)).T[order].ravel()),
    Mistake("the inverse order",
        "You read the order as the new place of each group. It lists which group comes first, second and so on.",
        lambda order, size: _rows(order, size)[np.argsort(order)].ravel()),
    Mistake("the first row of each group",
        "You return only the first row of each group, several times. The result has each row once.",
        lambda order, size: np.repeat(order, size) * size),
]  # fmt: skip


def layers_and_null(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    layers, orders = int(rng.integers(4, 8)), int(rng.integers(25, 45))
    null = rng.uniform(0.2, 0.6, size=(orders, layers)) + rng.uniform(0, 0.1, size=layers)
    own = [np.sort(null[:, i])[-int(rng.integers(2, orders // 3))] for i in range(layers)]
    own[int(rng.integers(layers))] = 0.72  # one layer above all null values
    return np.array(own), null


@session.exercise(minutes=7, inputs=layers_and_null)
def best_p_values(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Return the p-values of L layers, corrected for the choice of the best: observed (L,), null (K, L)."""
    return np.array([_p(value, null.max(1)) for value in observed])


def _own(observed: np.ndarray, null: np.ndarray) -> np.ndarray:
    return np.array([_p(value, column) for value, column in zip(observed, null.T, strict=True)])


best_p_values.mistakes += [
    Mistake("not corrected",
        "You compare each layer with its own null values. Whoever picks the best of many layers has to compare it "
        "with the best of as many unrelated layers.",
        _own),
    Mistake("a p-value of 0",
        "The best layer has a p-value of 0. The observed order is one of the possible orders, so it counts.",
        lambda observed, null: np.array([np.mean(null.max(1) >= value) for value in observed])),
    Mistake("rows and columns exchanged",
        "You take the largest null value of each layer, over the orders. Which layer is the best within one order?",
        lambda observed, null: np.array([_p(value, null.max(0)) for value in observed])),
    Mistake("multiplied by the number of layers",
        "You multiply by the number of layers (Bonferroni). This is safe, but it ignores that layers are alike: "
        "use the best null value of each order.",
        lambda observed, null: np.minimum(1, _own(observed, null) * len(observed))),
    Mistake("the best layer alone",
        "You return one p-value, that of the best layer. Return one for each layer.",
        lambda observed, null: _p(observed.max(), null.max(1))),
    Mistake("not corrected, and a p-value of 0",
        "You compare each layer with its own null values, and you leave out the observed order. Begin with the best "
        "null "
        "value of each order.",
        lambda observed, null: np.mean(null >= observed, axis=0)),
    Mistake("the largest of all null values",
        "You compare with one number, the largest of all null values. Each order has a best layer of its own.",
        lambda observed, null: np.array([(1 + (null.max() >= value)) / (len(null) + 1) for value in observed])),
]  # fmt: skip


def pilot_study(rng: np.random.Generator) -> tuple[int, float, float]:
    while True:
        n, error, margin = int(rng.integers(50, 200)), float(rng.uniform(0.02, 0.06)), float(rng.uniform(0.008, 0.019))
        if math.ceil(n * (1.96 * error / margin) ** 2) == math.ceil(n * (1.959964 * error / margin) ** 2):
            return n, error, margin  # the quantile with more digits gives the same


@session.exercise(minutes=4, inputs=pilot_study, tolerance=1e-9)
def samples_needed(n: int, error: float, margin: float) -> int:
    """Return how many samples give the interval value ± margin, if n samples give this standard error."""
    return math.ceil(n * (1.96 * error / margin) ** 2)


samples_needed.mistakes += [
    Mistake("not squared",
        "With your rule, twice the samples would halve the error. An error falls with the root of n.",
        lambda n, error, margin: math.ceil(n * 1.96 * error / margin)),
    Mistake("the error as margin",
        "You make the standard error as small as the margin. A 95 % interval reaches further than one standard error.",
        lambda n, error, margin: math.ceil(n * (error / margin) ** 2)),
    Mistake("the margin as width",
        "You make the whole interval as wide as the margin. The margin is the distance to each of its two ends.",
        lambda n, error, margin: math.ceil(n * (2 * 1.96 * error / margin) ** 2)),
    Mistake("rounded down",
        "You round down, which is one sample too few. Round up to an integer.",
        lambda n, error, margin: math.floor(n * (1.96 * error / margin) ** 2)),
    Mistake("not rounded",
        "There is no part of a sample. Round up to an integer.",
        lambda n, error, margin: n * (1.96 * error / margin) ** 2),
    Mistake("rounded to the nearest",
        "You round to the nearest integer. If you round down, one is missing.",
        lambda n, error, margin: round(n * (1.96 * error / margin) ** 2)),
    Mistake("without the pilot study",
        "Your result does not depend on n. The error belongs to a study with n samples.",
        lambda n, error, margin: math.ceil((1.96 * error / margin) ** 2)),
    Mistake("one-sided",
        "You use the quantile of a one-sided test. A 95 % interval has 1.96 errors on each side.",
        lambda n, error, margin: math.ceil(n * (1.645 * error / margin) ** 2)),
]  # fmt: skip


def intervals_and_threshold(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    threshold, half = float(rng.uniform(0.4, 0.6)), rng.uniform(0.02, 0.08, size=8)
    # in half lengths: two intervals above the threshold, two below it, and four that contain it
    middle = threshold + half * rng.permutation([1.4, 2.1, -1.3, -1.8, 0.3, -0.4, 0.6, -0.7])
    return middle - half, middle + half, threshold


@session.exercise(minutes=4, inputs=intervals_and_threshold)
def verdicts(low: np.ndarray, high: np.ndarray, threshold: float) -> list[str]:
    """Return for each interval whether its value is above the threshold: "yes", "no" or "undecided"."""
    return [_verdict(a, b, threshold) for a, b in zip(low, high, strict=True)]


def _verdict(low: float, high: float, threshold: float) -> str:
    return "yes" if low > threshold else "no" if high < threshold else "undecided"


verdicts.mistakes += [
    Mistake("undecided taken for no",
        "You answer no if an interval contains the threshold. It then contains values above the threshold, too.",
        lambda low, high, threshold: ["yes" if a > threshold else "no" for a in low]),
    Mistake("undecided taken for yes",
        "You answer yes if a part of the interval is above the threshold. The rest of it must be there, too.",
        lambda low, high, threshold: ["yes" if b > threshold else "no" for b in high]),
    Mistake("never no",
        "You never answer no. What if the whole interval is below the threshold?",
        lambda low, high, threshold: ["yes" if a > threshold else "undecided" for a in low]),
    Mistake("the middle decides",
        "You judge by the middle of the interval, so that its length plays no role. Nothing is then ever undecided.",
        lambda low, high, threshold: ["yes" if m > threshold else "no" for m in (low + high) / 2]),
    Mistake("the ends exchanged",
        "If the whole interval is above the threshold, you answer no. Check which of its ends you compare.",
        lambda low, high, threshold: [_verdict(-b, -a, -threshold) for a, b in zip(low, high, strict=True)]),
]  # fmt: skip
