"""Session 2: invariances, and CKA written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from repsim_nb.course.exercises import Mistake, Session

session = Session("invariances", "Invariances, and CKA written by hand")

TwoArrays = tuple[np.ndarray, np.ndarray]
Function = Callable[[np.ndarray, np.ndarray], float]
Changes = list[Callable[[np.ndarray], np.ndarray]]


def one_representation(rng: np.random.Generator) -> tuple[np.ndarray]:
    n, p = rng.permutation(np.arange(6, 12))[:2]
    return (rng.normal(size=(n, p)) + rng.normal(size=p),)


def two_representations(rng: np.random.Generator) -> TwoArrays:
    n, p, q = rng.permutation(np.arange(7, 13))[:3]
    x = rng.normal(size=(n, p))
    y = x @ rng.normal(size=(p, q)) / 2 + rng.normal(size=(n, q))
    return x + rng.normal(size=p), y + rng.normal(size=q)


def one_gram(rng: np.random.Generator) -> tuple[np.ndarray]:
    (x,) = one_representation(rng)
    return (x @ x.T,)


def two_grams(rng: np.random.Generator) -> TwoArrays:
    x, y = two_representations(rng)
    return x @ x.T, y @ y.T


@session.exercise(minutes=3, inputs=one_representation)
def centre(x: np.ndarray) -> np.ndarray:
    """Subtract from each feature its mean over the samples."""
    return x - x.mean(0)


centre.mistakes += [
    Mistake("rows and columns exchanged",
        "You subtract from each sample its mean over the features. Rows are samples: along which axis do they lie?",
        lambda x: x - x.mean(1, keepdims=True)),
    Mistake("one mean for all",
        "You subtract one number from all features. Each feature has a mean of its own, over the samples.",
        lambda x: x - x.mean()),
    Mistake("standardised",
        "You also divide by the standard deviation. Centring only subtracts the mean.",
        lambda x: (x - x.mean(0)) / x.std(0)),
    Mistake("means of samples subtracted, too",
        "You subtract the means of the features and those of the samples. Features only: a sample keeps its mean.",
        lambda x: x - x.mean(0) - x.mean(1, keepdims=True) + x.mean()),
    Mistake("standardised, with n - 1",
        "You also divide by the standard deviation (with n - 1). Centring only subtracts the mean.",
        lambda x: (x - x.mean(0)) / x.std(0, ddof=1)),
    Mistake("the means themselves",
        "You return the mean of each feature. What is left of x without them?",
        lambda x: x.mean(0)),
]  # fmt: skip


@session.exercise(minutes=4, inputs=one_representation)
def gram(x: np.ndarray) -> np.ndarray:
    """Inner products of all pairs of samples, after centring the features."""
    return centre.solution(x) @ centre.solution(x).T


gram.mistakes += [
    Mistake("rows and columns exchanged",
        "Your matrix compares features with features. The question is how samples lie: compare rows with rows.",
        lambda x: centre.solution(x).T @ centre.solution(x)),
    Mistake("not centred",
        "These are inner products of the raw activations. What should happen to each feature first?",
        lambda x: x @ x.T),
]  # fmt: skip


@gram.mistake(
    "samples centred", "You subtract from each sample its mean over the features. Each feature should lose its mean."
)
def _(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(1, keepdims=True)
    return centred @ centred.T


@gram.mistake("cosines", "You divide by the lengths of the samples, so a short and a long sample look the same.")
def _(x: np.ndarray) -> np.ndarray:
    centred = centre.solution(x)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return unit @ unit.T


gram.mistakes += [
    Mistake("divided by the number of samples",
        "A Gram matrix has plain inner products: there is no number to divide by.",
        lambda x: centre.solution(x) @ centre.solution(x).T / len(x)),
]  # fmt: skip


@session.exercise(minutes=5, inputs=one_gram)
def centre_gram(k: np.ndarray) -> np.ndarray:
    """Centre a Gram matrix without its features."""
    return k - k.mean(0) - k.mean(1, keepdims=True) + k.mean()


centre_gram.mistakes += [
    Mistake("one side only",
        "Now the columns have mean 0, but the rows do not. Both samples of a pair lose the mean.",
        lambda k: k - k.mean(0)),
    Mistake("grand mean left out",
        "Each entry lost the mean of its row and of its column. Some part was in both and went twice: give it back "
        "once.",
        lambda k: k - k.mean(0) - k.mean(1, keepdims=True)),
    Mistake("columns twice",
        "Both means go along the same axis, so your result is not symmetric. Print the shapes of what you subtract.",
        lambda k: k - 2 * k.mean(0) + k.mean()),
    Mistake("grand mean only",
        "You subtract one number from all entries. Rows still have different means.",
        lambda k: k - k.mean()),
    Mistake("grand mean subtracted again",
        "The mean of all entries has the wrong sign. Add up one row of your result: it should give 0.",
        lambda k: k - k.mean(0) - k.mean(1, keepdims=True) - k.mean()),
]  # fmt: skip


@session.exercise(minutes=5, inputs=two_grams)
def hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """HSIC, the biased estimate, of two Gram matrices that are not centred yet."""
    return float(np.sum(centre_gram.solution(k) * centre_gram.solution(l)) / (len(k) - 1) ** 2)


hsic.mistakes += [
    Mistake("not centred",
        "Both Gram matrices come as they are. Centre them before you multiply.",
        lambda k, m: float(np.sum(k * m) / (len(k) - 1) ** 2)),
    Mistake("n in place of n - 1",
        "You divide by the square of n. Centring has used up one degree of freedom.",
        lambda k, m: float(np.sum(centre_gram.solution(k) * centre_gram.solution(m)) / len(k) ** 2)),
    Mistake("not squared",
        "You divide once. The sum runs over pairs, so the factor in the denominator comes twice.",
        lambda k, m: float(np.sum(centre_gram.solution(k) * centre_gram.solution(m)) / (len(k) - 1))),
    Mistake("matrix product",
        "The sum of all entries of the matrix product of two centred matrices is always 0. Multiply entry by entry.",
        lambda k, m: float(np.sum(centre_gram.solution(k) @ centre_gram.solution(m)) / (len(k) - 1) ** 2)),
    Mistake("not divided",
        "You return the sum. It grows with the number of samples: divide as in the formula.",
        lambda k, m: float(np.sum(centre_gram.solution(k) * centre_gram.solution(m)))),
    Mistake("n (n - 1)",
        "You divide by n (n - 1), the number of ordered pairs. The biased estimate has another divisor.",
        lambda k, m: float(np.sum(centre_gram.solution(k) * centre_gram.solution(m)) / (len(k) * (len(k) - 1)))),
    Mistake("without the diagonal",
        "You leave out the diagonals, as the debiased estimate does. The biased one counts all entries.",
        lambda k, m: float(
            np.sum((centre_gram.solution(k) * centre_gram.solution(m))[~np.eye(len(k), dtype=bool)]) / (len(k) - 1) ** 2
        )),
    Mistake("root",
        "You take a square root. HSIC itself has none; it comes in when CKA is normalised.",
        lambda k, m: float(
            np.sqrt(np.sum(centre_gram.solution(k) * centre_gram.solution(m))) / (len(k) - 1)
        )),
]  # fmt: skip


@session.exercise(minutes=5, inputs=two_representations)
def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear CKA of two representations."""
    return _cka(centre.solution(x), centre.solution(y))


def _cka(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum((x.T @ y) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


linear_cka.mistakes += [
    Mistake("not centred",
        "Subtract from each feature its mean over the samples before you multiply.",
        lambda x, y: _cka(x, y)),
    Mistake("rows and columns exchanged",
        "You subtract from each sample its mean over the features. Rows are samples.",
        lambda x, y: _cka(x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True))),
]  # fmt: skip


@linear_cka.mistake(
    "no square root",
    "Multiply x by 10: your result changes, and it should not. Is the denominator of the same order as the numerator?",
)
def _(x: np.ndarray, y: np.ndarray) -> float:
    k, l = gram.solution(x), gram.solution(y)  # noqa: E741
    return hsic.solution(k, l) / (hsic.solution(k, k) * hsic.solution(l, l))


linear_cka.mistakes += [
    Mistake("not normalised",
        "This is HSIC, which has no upper limit. A representation and itself should give 1.",
        lambda x, y: hsic.solution(gram.solution(x), gram.solution(y))),
    Mistake("root of everything",
        "This is the square root of CKA. The root belongs to one part of the fraction.",
        lambda x, y: float(np.sqrt(linear_cka.solution(x, y)))),
]  # fmt: skip


@session.exercise(minutes=7, inputs=two_grams)
def hsic_debiased(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """HSIC of two Gram matrices without the bias: equation 5 of Song and others 2012."""
    return _without_diagonal(_no_diagonal(k), _no_diagonal(l))


def _no_diagonal(k: np.ndarray) -> np.ndarray:
    return k - np.diag(np.diag(k))


def _without_diagonal(k: np.ndarray, l: np.ndarray, factor: float = 2, pairs: int = 3) -> float:  # noqa: E741
    n = len(k)
    total = np.sum(k * l) + k.sum() * l.sum() / ((n - 1) * (n - 2)) - factor / (n - 2) * (k.sum(0) @ l.sum(0))
    return float(total / (n * (n - pairs)))


hsic_debiased.mistakes += [
    Mistake("the diagonal counted",
        "The diagonal compares each sample with itself, which is where the bias comes from. It must not count.",
        lambda k, m: _without_diagonal(k, m)),
    Mistake("biased in place of debiased", "This is the biased estimate of 2.4.", lambda k, m: hsic.solution(k, m)),
    Mistake("a factor is missing",
        "Compare the term with the row sums with the formula: something stands before it.",
        lambda k, m: _without_diagonal(_no_diagonal(k), _no_diagonal(m), factor=1)),
    Mistake("another number of pairs",
        "Your three terms are right. Look again at what their sum is divided by.",
        lambda k, m: _without_diagonal(_no_diagonal(k), _no_diagonal(m), pairs=1)),
]  # fmt: skip


@session.exercise(minutes=6, inputs=two_representations)
def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Procrustes distance of two representations, each of size 1."""
    return 2 - 2 * _overlap(centre.solution(x), centre.solution(y))


def _overlap(x: np.ndarray, y: np.ndarray, kind: str = "nuc") -> float:
    return float(np.linalg.norm((x / np.linalg.norm(x)).T @ (y / np.linalg.norm(y)), kind))  # type: ignore[call-overload]


procrustes.mistakes += [
    Mistake("not centred",
        "Centre both representations first: a shift should not change the distance.",
        lambda x, y: 2 - 2 * _overlap(x, y)),
    Mistake("a similarity where a dissimilarity is wanted",
        "A representation and itself give 1 with your function. A distance should give 0.",
        lambda x, y: _overlap(centre.solution(x), centre.solution(y))),
    Mistake("another norm",
        "You take the root of the sum of squared singular values. Add up the singular values themselves.",
        lambda x, y: 2 - 2 * _overlap(centre.solution(x), centre.solution(y), "fro")),
    Mistake("root of the distance",
        "This is the distance. Its square is asked for: leave out the last square root.",
        lambda x, y: float(np.sqrt(procrustes.solution(x, y)))),
]  # fmt: skip


@procrustes.mistake(
    "features of length 1",
    "You scale each feature by its own length. Divide the whole matrix by one number, so that its shape stays.",
)
def _(x: np.ndarray, y: np.ndarray) -> float:
    x, y = (centre.solution(side) / np.linalg.norm(centre.solution(side), axis=0) for side in (x, y))
    return 2 - 2 * _overlap(x, y)


def size_of_both(x: np.ndarray, y: np.ndarray) -> float:
    """Grow with the size of either array."""
    return float(np.sqrt(np.mean(x**2)) * (1 + np.sqrt(np.mean(y**2))))


def scaled_by(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: factor * x


def a_measure_and_changes(rng: np.random.Generator) -> tuple[Function, np.ndarray, np.ndarray, Changes]:
    """Draw two arrays and three changes; the one in the middle shrinks, and changes the value most."""
    factors = rng.uniform(1.3, 1.6), rng.uniform(0.1, 0.3), rng.uniform(1.05, 1.2)
    return size_of_both, *two_representations(rng), [scaled_by(factor) for factor in factors]


@session.exercise(minutes=5, inputs=a_measure_and_changes)
def largest_change(measure: Function, x: np.ndarray, y: np.ndarray, changes: Changes) -> float:
    """Largest absolute change of the measure if x is changed and y is not."""
    return max(abs(measure(change(x), y) - measure(x, y)) for change in changes)


largest_change.mistakes += [
    Mistake("a decrease is not seen",
        "Some changes make the value smaller. A measure that decreases is not invariant either.",
        lambda measure, x, y, changes: max(measure(change(x), y) - measure(x, y) for change in changes)),
    Mistake("both sides changed",
        "You change x and y in the same way. A measure may pass this test and still notice a change of one side.",
        lambda measure, x, y, changes: max(abs(measure(change(x), change(y)) - measure(x, y)) for change in changes)),
    Mistake("mean in place of the largest",
        "You average over the changes. One that matters must not hide behind others.",
        lambda measure, x, y, changes: float(
            np.mean([abs(measure(change(x), y) - measure(x, y)) for change in changes])
        )),
    Mistake("the last change only",
        "Only the last of the changes counts in your result. Keep the largest so far.",
        lambda measure, x, y, changes: abs(measure(changes[-1](x), y) - measure(x, y))),
    Mistake("value in place of change",
        "You return the largest value of the measure. How far is it from the value without a change?",
        lambda measure, x, y, changes: max(measure(change(x), y) for change in changes)),
]  # fmt: skip
