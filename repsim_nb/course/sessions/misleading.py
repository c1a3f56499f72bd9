"""Session 6: when CKA misleads."""

from __future__ import annotations

import numpy as np

from repsim_nb.course.exercises import Mistake, Session

session = Session("misleading", "When CKA misleads")


def _eigenvalues(x: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of the covariance of representation x, up to a factor, largest first."""
    return np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2


def _ratio(eigenvalues: np.ndarray) -> float:
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def _cka(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.sum((x.T @ y) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def one_representation(rng: np.random.Generator) -> tuple[np.ndarray]:
    n, p = rng.permutation(np.arange(6, 12))[:2]
    return (rng.normal(size=(n, p)) * np.geomspace(1, 3, p) + rng.normal(size=p),)


@session.exercise(minutes=3, inputs=one_representation)
def participation_ratio(x: np.ndarray) -> float:
    """Effective number of directions of a representation."""
    return _ratio(_eigenvalues(x))


participation_ratio.mistakes += [
    Mistake("not centred",
        "Without centring, the mean counts as one more direction. Subtract the mean of each feature first.",
        lambda x: _ratio(np.linalg.svd(x, compute_uv=False) ** 2)),
    Mistake("singular values",
        "You take singular values of the centred matrix for its variances. "
        "How is the variance along a direction related to the singular value?",
        lambda x: _ratio(_eigenvalues(x) ** 0.5)),
    Mistake("upside down",
        "Your value lies between 0 and 1. A number of directions is at least 1: which sum is on top?",
        lambda x: 1 / _ratio(_eigenvalues(x))),
    Mistake("rows and columns exchanged",
        "You centre each sample over its features. Rows are samples: take means over axis 0.",
        lambda x: _ratio(np.linalg.svd(x - x.mean(1, keepdims=True), compute_uv=False) ** 2)),
    Mistake("standardised",
        "You give all features the same variance first. Then a direction of small variance counts as much as a large "
        "one.",
        lambda x: _ratio(np.linalg.eigvalsh(np.corrcoef(x.T)))),
    Mistake("largest variance only",
        "You divide by the largest variance. All of them count: which sum is below the line?",
        lambda x: float(_eigenvalues(x).sum() / _eigenvalues(x)[0])),
]  # fmt: skip


def two_representations(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, p, q = rng.permutation(np.arange(7, 14))[:3]
    x = rng.normal(size=(n, p)) * np.geomspace(1, 3, p)
    y = x @ rng.normal(size=(p, q)) / 2 + rng.normal(size=(n, q))
    return x + rng.normal(size=p), y + rng.normal(size=q)


@session.exercise(minutes=4, inputs=two_representations)
def chance_level(x: np.ndarray, y: np.ndarray) -> float:
    """Mean CKA of x and y over all orders of the samples of y."""
    return float(np.sqrt(_ratio(_eigenvalues(x)) * _ratio(_eigenvalues(y))) / (len(x) - 1))


chance_level.mistakes += [
    Mistake("n in place of n - 1",
        "You divide by the number of samples. Centring uses up one of them: how many are left?",
        lambda x, y: float(np.sqrt(_ratio(_eigenvalues(x)) * _ratio(_eigenvalues(y))) / len(x))),
    Mistake("no root",
        "Your value is the product of the two ratios. Their geometric mean is asked for: a step is missing.",
        lambda x, y: _ratio(_eigenvalues(x)) * _ratio(_eigenvalues(y)) / (len(x) - 1)),
    Mistake("root of everything",
        "Your root covers the number of samples, too. It covers the ratios only.",
        lambda x, y: float(np.sqrt(_ratio(_eigenvalues(x)) * _ratio(_eigenvalues(y)) / (len(x) - 1)))),
    Mistake("number of features",
        "You count features. Directions with little variance hardly count here: use the effective number of "
        "directions.",
        lambda x, y: float(np.sqrt(x.shape[1] * y.shape[1]) / (len(x) - 1))),
    Mistake("not centred",
        "Your ratios are those of data with a mean. Centre both sides first.",
        lambda x, y: float(
            np.sqrt(_ratio(np.linalg.svd(x, compute_uv=False) ** 2) * _ratio(np.linalg.svd(y, compute_uv=False) ** 2))
            / (len(x) - 1)
        )),
    Mistake("arithmetic mean",
        "You add the two ratios. The formula has their geometric mean.",
        lambda x, y: (_ratio(_eigenvalues(x)) + _ratio(_eigenvalues(y))) / 2 / (len(x) - 1)),
]  # fmt: skip


def _hsic(k: np.ndarray, l: np.ndarray, *, diagonal: bool = False) -> float:  # noqa: E741
    """Return n (n - 3) times the unbiased HSIC of two Gram matrices [Song and others 2012, equation 5]."""
    n = len(k)
    if not diagonal:
        k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    middle = k.sum() * l.sum() / ((n - 1) * (n - 2))
    return float((k * l).sum() + middle - 2 / (n - 2) * (k.sum(0) @ l.sum(0)))


def _debiased(x: np.ndarray, y: np.ndarray, *, diagonal: bool = False) -> float:
    k, l = x @ x.T, y @ y.T  # noqa: E741
    kl, kk, ll = (_hsic(a, b, diagonal=diagonal) for a, b in ((k, l), (k, k), (l, l)))
    return float(kl / np.sqrt(abs(kk * ll)))


def two_or_unrelated(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = two_representations(rng)
    return x, rng.normal(size=y.shape) if rng.random() < 0.7 else y  # some of the values are negative


@session.exercise(minutes=9, inputs=two_or_unrelated, trials=20)
def debiased_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA."""
    return _debiased(x, y)


debiased_cka.mistakes += [
    Mistake("biased",
        "This is the usual, biased CKA. The diagonals of the two Gram matrices are where the bias comes from.",
        lambda x, y: _cka(x, y)),
    Mistake("diagonal counted",
        "The products of samples with themselves are still in your Gram matrices. Set them to 0 before you sum "
        "anything.",
        lambda x, y: _debiased(x, y, diagonal=True)),
]  # fmt: skip


@debiased_cka.mistake(
    "biased denominator",
    "Your numerator is debiased and your denominator is not. Use the same function for all three terms.",
)
def _(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    k, l = (a @ a.T for a in (x - x.mean(0), y - y.mean(0)))  # noqa: E741
    return float(_hsic(k, l) / (n * (n - 3)) / (np.linalg.norm(k) * np.linalg.norm(l) / (n - 1) ** 2))


@debiased_cka.mistake(
    "no root", "You divide by the product of the two self terms. Then twice the features give another value."
)
def _(x: np.ndarray, y: np.ndarray) -> float:
    n, k, l = len(x), x @ x.T, y @ y.T  # noqa: E741
    return _hsic(k, l) / (_hsic(k, k) * _hsic(l, l)) * n * (n - 3)


debiased_cka.mistakes += [
    Mistake("no negative values",
        "You replace negative values by 0. They are what makes the mean of unrelated data 0: keep them.",
        lambda x, y: max(0.0, _debiased(x, y))),
]  # fmt: skip


def with_rows(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, p = rng.permutation(np.arange(9, 15))[:2]
    rows = np.zeros(n, bool)
    rows[rng.permutation(n)[: rng.integers(2, 4)]] = True
    return rng.normal(size=(n, p)) * np.geomspace(1, 3, p) + rng.normal(size=p), rows


def _limit(x: np.ndarray, rows: np.ndarray, odds: float = 1, directions: float = 0.5) -> float:
    """Return the limit of centred data; odds, directions: the powers of two of its factors."""
    fraction = rows.mean()
    length = (x[rows].mean(0) ** 2).sum() / (x**2).sum(1).mean()
    return float((fraction / (1 - fraction)) ** odds * length * _ratio(_eigenvalues(x)) ** directions)


@session.exercise(minutes=7, inputs=with_rows)
def translation_limit(x: np.ndarray, rows: np.ndarray) -> float:
    """CKA of x and a copy in which some rows have moved far away, all by the same vector."""
    return _limit(x - x.mean(0), rows)


translation_limit.mistakes += [
    Mistake("not centred",
        "All lengths are measured from the mean of all samples. Centre the representation first.",
        lambda x, rows: _limit(x, rows)),
    Mistake("fraction upside down",
        "Few rows give a small limit, and yours is large: compare your first factor for 1 row and for 5 rows.",
        lambda x, rows: _limit(x - x.mean(0), rows, odds=-1)),
    Mistake("no root",
        "The effective number of directions enters in another power. Read the last factor.",
        lambda x, rows: _limit(x - x.mean(0), rows, directions=1)),
    Mistake("fraction in place of odds",
        "Your first factor is the fraction of the rows that move. The formula compares them with those that stay.",
        lambda x, rows: _limit(x - x.mean(0), rows) * float(1 - rows.mean())),
    Mistake("no effective number of directions",
        "The last factor is missing: the limit depends on how many directions the data have.",
        lambda x, rows: _limit(x - x.mean(0), rows, directions=0)),
    Mistake("from the other rows",
        "You measure how far the rows that move are from the others. The formula measures from the mean of all.",
        lambda x, rows: _limit(x - x.mean(0), rows) / float(1 - rows.mean()) ** 2),
]  # fmt: skip


@translation_limit.mistake(
    "mean of lengths",
    "You average the squared lengths of the rows that move. The formula wants the squared length of their average.",
)
def _(x: np.ndarray, rows: np.ndarray) -> float:
    centred = x - x.mean(0)
    return _limit(centred, rows) * float((centred[rows] ** 2).sum(1).mean() / (centred[rows].mean(0) ** 2).sum())


def with_number(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    n, p = rng.permutation(np.arange(7, 13))[:2]
    return rng.normal(size=(n, p)) * np.geomspace(1, 4, p) + rng.normal(size=p), int(rng.integers(2, 4))


@session.exercise(minutes=5, inputs=with_number)
def cka_after_deletion(x: np.ndarray, k: int) -> float:
    """CKA of x and a copy that keeps only its k largest principal components."""
    return _kept(_eigenvalues(x) ** 2, k) ** 0.5


def _kept(values: np.ndarray, k: int) -> float:
    return float(values[:k].sum() / values.sum())


cka_after_deletion.mistakes += [
    Mistake("fraction of variance",
        "This is the fraction of variance that is left. CKA does not count variance, but a power of it.",
        lambda x, k: _kept(_eigenvalues(x), k)),
    Mistake("singular values",
        "You square singular values of the centred matrix, which gives variances. Those have to be squared once more.",
        lambda x, k: _kept(_eigenvalues(x), k) ** 0.5),
    Mistake("no root",
        "You have the right two sums. CKA divides by two lengths: one step is missing.",
        lambda x, k: _kept(_eigenvalues(x) ** 2, k)),
    Mistake("not centred",
        "You decompose data with a mean, which then is a component. Centre first.",
        lambda x, k: _kept(np.linalg.svd(x, compute_uv=False) ** 4, k) ** 0.5),
    Mistake("the largest are deleted",
        "You sum over what is deleted. The copy keeps the k largest components.",
        lambda x, k: float((1 - _kept(_eigenvalues(x) ** 2, k)) ** 0.5)),
    Mistake("one component too many",
        "You keep k + 1 components. In Python `values[:k]` has k entries.",
        lambda x, k: _kept(_eigenvalues(x) ** 2, k + 1) ** 0.5),
    Mistake("rows and columns exchanged",
        "You centre each sample over its features. Rows are samples: take means over axis 0.",
        lambda x, k: _kept(np.linalg.svd(x - x.mean(1, keepdims=True), compute_uv=False) ** 4, k) ** 0.5),
]  # fmt: skip


@cka_after_deletion.mistake(
    "the smallest are kept", "You keep the smallest components. `numpy.linalg.eigvalsh` returns the smallest first."
)
def _(x: np.ndarray, k: int) -> float:
    squares = np.linalg.eigvalsh(np.cov(x.T))[:k] ** 2
    return float(np.sqrt(squares.sum() / (_eigenvalues(x) ** 2).sum() * (len(x) - 1) ** 2))


def with_direction(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    n, p = rng.permutation(np.arange(6, 12))[:2]
    direction = rng.normal(size=p)
    return rng.normal(size=(n, p)), direction / np.linalg.norm(direction) * rng.uniform(2, 3), float(rng.uniform(3, 6))


def _along(x: np.ndarray, direction: np.ndarray) -> np.ndarray:
    return np.outer(x @ direction, direction) / (direction @ direction)


@session.exercise(minutes=4, inputs=with_direction)
def stretch(x: np.ndarray, direction: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the part of each sample that lies along a direction by a factor."""
    return np.asarray(x + (factor - 1) * _along(x, direction))


stretch.mistakes += [
    Mistake("direction not of length 1",
        "Your result depends on the length of the direction, which should not matter. What does a projection divide "
        "by?",
        lambda x, direction, factor: np.asarray(x + (factor - 1) * np.outer(x @ direction, direction))),
    Mistake("one too much",
        "With factor 1 nothing may change, and your result does: the part along the direction is counted twice.",
        lambda x, direction, factor: np.asarray(x + factor * _along(x, direction))),
    Mistake("translated",
        "You add the same vector to every sample. Each sample moves by its own part along the direction.",
        lambda x, direction, factor: np.asarray(x + factor * direction / np.linalg.norm(direction))),
    Mistake("the part alone",
        "You return only the part along the direction. The rest of each sample stays as it is.",
        lambda x, direction, factor: np.asarray(factor * _along(x, direction))),
    Mistake("all directions",
        "You multiply whole samples by the factor. Only one direction is stretched.",
        lambda x, direction, factor: np.asarray(factor * x)),
    Mistake("feature by feature",
        "You stretch each feature by its own amount. The direction is a mixture of features: project on it first.",
        lambda x, direction, factor: np.asarray(x * (1 + (factor - 1) * direction / np.linalg.norm(direction)))),
    Mistake("divided by the length once",
        "You divide by the length of the direction once. It comes in twice: in the product, and in the vector.",
        lambda x, direction, factor: np.asarray(
            x + (factor - 1) * np.outer(x @ direction, direction) / np.linalg.norm(direction)
        )),
]  # fmt: skip


def with_groups(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sizes = rng.permutation([4, 5, 6, 8])[:3]
    number = rng.permutation(np.repeat(np.arange(3), sizes))
    p, q = rng.permutation(np.arange(7, 12))[:2]
    centres = rng.normal(size=(3, 2)) * 2
    x, y = (rng.normal(size=(len(number), d)) + (centres @ rng.normal(size=(2, d)))[number] for d in (p, q))
    return x, y, rng.permutation(20)[number]  # any integers


def _means(x: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return, for each sample, the mean of its group."""
    return np.array([x[groups == group].mean(0) for group in groups])


@session.exercise(minutes=5, inputs=with_groups)
def within_group_cka(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> float:
    """CKA of what is left when the mean of its group has been subtracted from each sample."""
    return _cka(x - _means(x, groups), y - _means(y, groups))


within_group_cka.mistakes += [
    Mistake("groups ignored",
        "This is CKA of all samples. The differences between the groups are still in it.",
        lambda x, y, groups: _cka(x, y)),
    Mistake("between groups",
        "You compare the means of the groups. The task asks for what is left without them.",
        lambda x, y, groups: _cka(_means(x, groups), _means(y, groups))),
    Mistake("mean of values",
        "You average one CKA for each group. Small groups have a large bias: compute one CKA for all samples together.",
        lambda x, y, groups: float(
            np.mean([_cka(x[groups == group], y[groups == group]) for group in np.unique(groups)])
        )),
    Mistake("one side only",
        "You subtract the means of groups from one side. The other side still has them.",
        lambda x, y, groups: _cka(x - _means(x, groups), y)),
]  # fmt: skip


def with_values(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    threshold = float(np.round(rng.uniform(0.3, 0.7), 2))
    high, low = (rng.uniform(threshold, 1, (12, 3)), rng.uniform(0, threshold, (12, 3)))
    kinds = rng.permutation([[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 1]] * 2)
    values = np.where(kinds == 1, high, low)
    values[np.flatnonzero(kinds.all(1))[0]] = threshold
    return *values.T, threshold


def _reading(biased: bool, debiased: bool, within: bool) -> str:
    if not biased:
        return "different"
    if not debiased:
        return "bias"
    return "alike" if within else "groups"


@session.exercise(minutes=4, inputs=with_values)
def reading(biased: np.ndarray, debiased: np.ndarray, within: np.ndarray, threshold: float) -> list[str]:
    """Name what carries each value of CKA: "different", "bias", "groups" or "alike"."""
    return [_reading(*row) for row in zip(biased >= threshold, debiased >= threshold, within >= threshold, strict=True)]


reading.mistakes += [
    Mistake("only the biased value",
        "You call a pair alike as soon as its biased value is high. That value alone shows little.",
        lambda biased, debiased, within, threshold: [
            "alike" if value >= threshold else "different" for value in biased
        ]),
]  # fmt: skip


@reading.mistake(
    "groups before bias",
    "You ask for the groups before the bias. A value that vanishes without the bias needs no other explanation.",
)
def _(biased: np.ndarray, debiased: np.ndarray, within: np.ndarray, threshold: float) -> list[str]:
    rows = zip(biased >= threshold, debiased >= threshold, within >= threshold, strict=True)
    return ["different" if not b else "groups" if not w else "bias" if not d else "alike" for b, d, w in rows]


reading.mistakes += [
    Mistake("above, not at least",
        "A value equal to the threshold counts as high. Look at how you compare with the threshold.",
        lambda biased, debiased, within, threshold: [
            _reading(*row) for row in zip(biased > threshold, debiased > threshold, within > threshold, strict=True)
        ]),
    Mistake("only the debiased value",
        "You decide by the debiased value alone. Which values does bias explain, and which do groups?",
        lambda biased, debiased, within, threshold: [
            "alike" if value >= threshold else "different" for value in debiased
        ]),
    Mistake("bias of a low value",
        'Your list never has "different". A biased value that is low needs no explanation.',
        lambda biased, debiased, within, threshold: [
            _reading(True, *row) for row in zip(debiased >= threshold, within >= threshold, strict=True)
        ]),
]  # fmt: skip
