"""Session 3: representational similarity analysis, and maps of models."""

from __future__ import annotations

import numpy as np

from repsim_nb.course.exercises import Mistake, Session

session = Session("maps", "RSA and maps of models")


def one_representation(rng: np.random.Generator) -> tuple[np.ndarray]:
    n, p = rng.permutation([6, 7, 8, 9])[:2]
    return (rng.normal(size=(n, p)) + rng.normal(size=(n, 1)) + 0.5,)


def two_representations(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, p, q = rng.permutation([7, 8, 9, 10])[:3]
    x = rng.normal(size=(n, p))
    return x + 0.5, np.exp(x @ rng.normal(size=(p, q)) / 3 + rng.normal(size=(n, q)) / 2)


@session.exercise(minutes=4, inputs=one_representation)
def rdm(x: np.ndarray) -> np.ndarray:
    """1 minus the correlation of every two samples."""
    return np.asarray(1 - np.corrcoef(x))


def _cosines(x: np.ndarray) -> np.ndarray:
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


rdm.mistakes += [
    Mistake("a similarity where a dissimilarity is wanted",
        "Your diagonal is 1. A sample has no dissimilarity from itself.",
        lambda x: np.corrcoef(x)),
    Mistake("rows and columns exchanged",
        "Your matrix compares features with features. Samples are rows.",
        lambda x: rdm.solution(x.T)),
    Mistake("cosine in place of correlation",
        "You divide by the lengths of the samples, but one step is missing before: what is the mean of a sample?",
        lambda x: 1 - _cosines(x)),
    Mistake("features centred",
        "You subtract from each feature its mean, as for CKA. A correlation of two samples needs another mean.",
        lambda x: 1 - _cosines(x - x.mean(0))),
    Mistake("Euclidean distances",
        "You compute Euclidean distances. They are not 1 - correlation: means and lengths of samples count.",
        lambda x: distances_of(x)),
    Mistake("the sign is lost",
        "You take the size of the correlation. Samples with opposite patterns are far apart, not alike.",
        lambda x: 1 - np.abs(np.corrcoef(x))),
    Mistake("squared",
        "You square the correlations. Samples with opposite patterns then look alike.",
        lambda x: 1 - np.corrcoef(x) ** 2),
]  # fmt: skip


def an_rdm(rng: np.random.Generator) -> tuple[np.ndarray]:
    return (rdm.solution(rng.normal(size=(int(rng.integers(5, 9)), 4))),)


@session.exercise(minutes=3, inputs=an_rdm)
def upper(d: np.ndarray) -> np.ndarray:
    """Entries above the diagonal, row by row."""
    return d[np.triu_indices(len(d), 1)]


upper.mistakes += [
    Mistake("the diagonal counted",
        "The diagonal is in your result. It is 0 in every RDM, so all RDMs would agree there.",
        lambda d: d[np.triu_indices(len(d))]),
    Mistake("each pair twice",
        "Each pair of samples is in your result twice. How many pairs do n samples have?",
        lambda d: d[~np.eye(len(d), dtype=bool)]),
    Mistake("below the diagonal",
        "These are the entries below the diagonal. The pairs are the same, but their order is not.",
        lambda d: d[np.tril_indices(len(d), -1)]),
    Mistake("the whole matrix",
        "This is the whole matrix. Which of its entries carry information, and how often?",
        lambda d: d.ravel()),
    Mistake("sorted",
        "You sorted the entries. Which pair each belongs to is then lost.",
        lambda d: np.sort(d[np.triu_indices(len(d), 1)])),
    Mistake("next to the diagonal",
        "You take the entries next to the diagonal only. Every pair of samples has one entry.",
        lambda d: np.diag(d, 1)),
]  # fmt: skip


def numbers_with_ties(rng: np.random.Generator) -> tuple[np.ndarray]:
    tied = np.repeat(rng.normal(size=3), rng.permutation([2, 3, 4]))
    return (rng.permutation(np.concatenate([tied, rng.normal(size=int(rng.integers(3, 6)))])),)


@session.exercise(minutes=6, inputs=numbers_with_ties)
def ranks(v: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal numbers share the mean of their ranks."""
    _, inverse, counts = np.unique(v, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse])


def _in_order(v: np.ndarray) -> np.ndarray:
    # the kind that students use: what it does with ties may differ
    return np.asarray(np.argsort(np.argsort(v)) + 1)


ranks.mistakes += [
    Mistake("ties broken by position",
        "Equal numbers have different ranks. Nothing in the data puts one of them first.",
        lambda v: _in_order(v)),
    Mistake("lowest rank of ties",
        "Equal numbers share a rank, but it is the lowest of their places.",
        lambda v: np.array([1 + np.sum(v < value) for value in v])),
    Mistake("ranks without gaps",
        "After a tie you go on with the next rank. Three equal numbers take up three places.",
        lambda v: np.unique(v, return_inverse=True)[1] + 1),
    Mistake("positions in place of ranks",
        "You return which number comes first, second, and so on. Return the place of each number.",
        lambda v: np.argsort(v)),
    Mistake("counted from 0",
        "Your ranks begin with 0, and equal numbers have different ranks.",
        lambda v: _in_order(v) - 1),
    Mistake("highest rank of ties",
        "Equal numbers share a rank, but it is the highest of their places.",
        lambda v: np.array([np.sum(v <= value) for value in v])),
    Mistake("half too low",
        "All ranks are too low by one half. If 3 numbers are smaller, which is the lowest rank left?",
        lambda v: ranks.solution(v) - 0.5),
]  # fmt: skip


@session.exercise(minutes=5, inputs=two_representations)
def rsa(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman correlation of two RDMs, over pairs of samples."""
    return _spearman(upper.solution(rdm.solution(x)), upper.solution(rdm.solution(y)))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(ranks.solution(a), ranks.solution(b))[0, 1])


rsa.mistakes += [
    Mistake("Pearson in place of Spearman",
        "You correlate the dissimilarities themselves. Which step comes before?",
        lambda x, y: float(np.corrcoef(upper.solution(rdm.solution(x)), upper.solution(rdm.solution(y)))[0, 1])),
    Mistake("the diagonal counted",
        "The diagonals are in your vectors. They agree for any two representations.",
        lambda x, y: _spearman(*(rdm.solution(side)[np.triu_indices(len(side))] for side in (x, y)))),
    Mistake("the whole matrix",
        "You correlate all entries: each pair counts twice, and the diagonals agree.",
        lambda x, y: _spearman(rdm.solution(x).ravel(), rdm.solution(y).ravel())),
]  # fmt: skip


@rsa.mistake(
    "mean of correlations",
    "You correlate row by row and average. Then pairs without a common sample are never compared.",
)
def _(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    others = [np.arange(n) != i for i in range(n)]
    return float(np.mean([_spearman(rdm.solution(x)[i][o], rdm.solution(y)[i][o]) for i, o in enumerate(others)]))


rsa.mistakes += [
    Mistake("a similarity where a dissimilarity is wanted",
        "The sign is wrong: one of your matrices has similarities, and the other has dissimilarities.",
        lambda x, y: -rsa.solution(x, y)),
]  # fmt: skip


def some_representations(rng: np.random.Generator) -> tuple[list[np.ndarray]]:
    widths = rng.permutation([4, 5, 6, 7, 8])[: rng.integers(4, 6)]
    return ([rng.normal(size=(6, int(p))) for p in widths],)


@session.exercise(minutes=4, inputs=some_representations)
def model_distances(representations: list[np.ndarray]) -> np.ndarray:
    """1 minus RSA for every two models."""
    return 1 - _similarities(representations)


def _similarities(representations: list[np.ndarray]) -> np.ndarray:
    similarities: np.ndarray = np.corrcoef([ranks.solution(upper.solution(rdm.solution(x))) for x in representations])
    return similarities


model_distances.mistakes += [
    Mistake("a similarity where a dissimilarity is wanted",
        "Equal models get 1. On a map they should have a distance of 0.",
        lambda representations: _similarities(representations)),
    Mistake("the sign is lost",
        "A model that orders all pairs the other way round is as far away as can be, but you put it near.",
        lambda representations: 1 - np.abs(_similarities(representations))),
    Mistake("half of the matrix",
        "The entries on one side of the diagonal are missing. Fill both sides.",
        lambda representations: np.triu(1 - _similarities(representations))),
    Mistake("the diagonal is not 0",
        "A model has no distance from itself: look at your diagonal.",
        lambda representations: 1 - _similarities(representations) + np.eye(len(representations))),
    Mistake("Pearson in place of Spearman",
        "You correlate dissimilarities themselves. RSA correlates their ranks.",
        lambda representations: 1 - np.corrcoef([upper.solution(rdm.solution(x)) for x in representations])),
    Mistake("the diagonals counted",
        "You compare whole RDMs. Their diagonals agree for any two models.",
        lambda representations: 1 - np.corrcoef([ranks.solution(rdm.solution(x).ravel()) for x in representations])),
]  # fmt: skip


def distances_of(points: np.ndarray) -> np.ndarray:
    """Return the distances between points, which a rotated or reflected map has as well."""
    points = np.asarray(points, dtype=float)
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1))


def distances_and_dimensions(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    return distances_of(rng.normal(size=(int(rng.integers(7, 10)), 12))), int(rng.integers(1, 5))


@session.exercise(minutes=8, inputs=distances_and_dimensions, trials=6, up_to=distances_of)
def mds(d: np.ndarray, k: int) -> np.ndarray:
    """Points of classical multidimensional scaling, from the k largest eigenvalues."""
    return _axes(_inner(d), slice(-k, None))


def _axes(inner: np.ndarray, chosen: slice, power: float = 0.5) -> np.ndarray:
    """Return some eigenvectors of a matrix of inner products, scaled by a power of their eigenvalues."""
    values, vectors = np.linalg.eigh(inner)
    return np.asarray(vectors[:, chosen] * values[chosen].clip(min=0) ** power)


def _inner(d: np.ndarray, power: int = 2, factor: float = 0.5) -> np.ndarray:
    square = d**power
    return np.asarray(-factor * (square - square.mean(0) - square.mean(1, keepdims=True) + square.mean()))


mds.mistakes += [
    Mistake("not squared",
        "You double-centre the distances. Inner products belong to squared distances.",
        lambda d, k: _axes(_inner(d, power=1), slice(-k, None))),
    Mistake("not centred",
        "Your squared distances are not double-centred: the rows of B should add up to 0.",
        lambda d, k: _axes(-(d**2) / 2, slice(-k, None))),
    Mistake("the factor 1/2 is missing",
        "All distances on your map are too long by the same factor, the root of 2.",
        lambda d, k: _axes(_inner(d, factor=1), slice(-k, None))),
    Mistake("smallest eigenvalues",
        "You take the eigenvectors with the smallest eigenvalues: look at their order.",
        lambda d, k: _axes(_inner(d), slice(k))),
    Mistake("axes of equal length",
        "Your axes are eigenvectors of length 1. An axis with a large eigenvalue should be longer.",
        lambda d, k: np.asarray(np.linalg.eigh(_inner(d))[1][:, -k:])),
    Mistake("scaled by the eigenvalues",
        "You multiply by the eigenvalues. They have the unit of a squared distance: what is missing?",
        lambda d, k: _axes(_inner(d), slice(-k, None), power=1)),
]  # fmt: skip


def distances_and_a_map(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    points = rng.normal(size=(int(rng.integers(7, 10)), 5))
    return distances_of(points), points[:, :2] * 1.2


@session.exercise(minutes=4, inputs=distances_and_a_map)
def stress(d: np.ndarray, points: np.ndarray) -> float:
    """Measure how far the distances on a map are from those in the table; 0 is a perfect map."""
    return _lost(d, distances_of(points)) ** 0.5


def _lost(d: np.ndarray, on_map: np.ndarray) -> float:
    return float(np.sum((on_map - d) ** 2) / np.sum(d**2))


stress.mistakes += [
    Mistake("no square root", "This is the square of the stress.", lambda d, points: _lost(d, distances_of(points))),
    Mistake("divided by the map",
        "You divide by the distances on the map. A map with larger distances would then look better.",
        lambda d, points: _lost(distances_of(points), d) ** 0.5),
    Mistake("not divided",
        "Your value grows with the number of models and with the unit of d. Divide as in the formula.",
        lambda d, points: float(np.linalg.norm(upper.solution(distances_of(points) - d)))),
    Mistake("squared distances",
        "You compare squared distances with d. The distance of two points on the map has a square root.",
        lambda d, points: _lost(d, distances_of(points) ** 2) ** 0.5),
    Mistake("absolute differences",
        "You add up absolute differences. Stress adds up squares: a large error counts more.",
        lambda d, points: float(np.sum(np.abs(distances_of(points) - d)) / np.sum(d))),
    Mistake("mean square",
        "You divide by the number of entries. Your value then depends on the unit of d: divide as in the formula.",
        lambda d, points: float(np.sqrt(np.mean((distances_of(points) - d) ** 2)))),
    Mistake("a correlation",
        "You correlate the distances. A map on which all distances are twice as long is then perfect.",
        lambda d, points: 1 - float(np.corrcoef(upper.solution(d), upper.solution(distances_of(points)))[0, 1])),
]  # fmt: skip


def a_noisy_map(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    points = rng.normal(size=(int(rng.integers(11, 14)), 3))
    return distances_of(points), points[:, :2], int(rng.integers(3, 5))


@session.exercise(minutes=6, inputs=a_noisy_map, trials=8)
def kept_neighbours(d: np.ndarray, points: np.ndarray, k: int) -> float:
    """Mean fraction of the k nearest items that are among the k nearest on the map."""
    return float(np.mean(_common(d, points, k)) / k)


def _common(d: np.ndarray, points: np.ndarray, k: int, first: int = 1) -> list[int]:
    """Return for each item how many neighbours the table and the map have in common; first: 0 counts the item."""
    pairs = zip(np.argsort(d, axis=1), np.argsort(distances_of(points), axis=1), strict=True)
    return [len(set(a[first : first + k]) & set(b[first : first + k])) for a, b in pairs]


kept_neighbours.mistakes += [
    Mistake("itself counted",
        "Each item is its own nearest neighbour in your lists, on every map. Leave it out.",
        lambda d, points, k: float(np.mean(_common(d, points, k, first=0)) / k)),
    Mistake("a number in place of a fraction",
        "You return how many neighbours are kept. Which part of k is it?",
        lambda d, points, k: float(np.mean(_common(d, points, k)))),
]  # fmt: skip


@kept_neighbours.mistake(
    "farthest in place of nearest", "You take the items with the largest distances. Neighbours have small ones."
)
def _(d: np.ndarray, points: np.ndarray, k: int) -> float:
    far, far_on_map = (np.argsort(-distances, axis=1)[:, :k] for distances in (d, distances_of(points)))
    return float(np.mean([len(set(a) & set(b)) for a, b in zip(far, far_on_map, strict=True)]) / k)


kept_neighbours.mistakes += [
    Mistake("divided by the union",
        "You divide by all items in either list. The question is about the k neighbours in the table.",
        lambda d, points, k: float(np.mean([common / (2 * k - common) for common in _common(d, points, k)]))),
    Mistake("one neighbour too few",
        "You take k - 1 neighbours of each item. Its own place is the first, so the neighbours end at place k.",
        lambda d, points, k: float(np.mean(_common(d, points, k - 1)) / (k - 1))),
    Mistake("one neighbour too few, divided by k",
        "You take k - 1 neighbours and divide by k, so that a perfect map has less than 1.",
        lambda d, points, k: float(np.mean(_common(d, points, k - 1)) / k)),
]  # fmt: skip
