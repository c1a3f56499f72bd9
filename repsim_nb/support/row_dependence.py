"""Tests whether rows depend on each other: by their order (frames of a film), as repeats, and as neighbours."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# the smallest and the largest number of consecutive rows that are tested
FOLLOWING = (20, 2000)
# z from which on permutations decide whether near rows are more alike; z from which on none are needed; and the
# smallest difference of cosines
GROUPED = (4.0, 8.0, 0.05)
PERMUTATIONS = 499
# a near repeat is nearer than this fraction of the distance to the 20th neighbour; reported from this fraction of
# samples on (samples on a line have 6 % by chance)
NEARLY = (0.003, 0.25, 20)


def near_rows(x: np.ndarray | None) -> tuple[dict[int, float], int]:
    """Test whether rows near each other in the order are more alike than chance allows.

    Returns {distance in rows: mean cosine of rows so far apart; 0: of any two}, and the distance at which rows are more
    alike than chance allows, or 0.
    """
    if x is None or len(x) < FOLLOWING[0]:
        return {}, 0
    x = x - x.mean(0)
    scale = np.abs(x).max()
    if scale == 0:
        return {}, 0
    x = x / scale
    lengths = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    x = np.divide(x, lengths, out=np.zeros_like(x), where=lengths > 0)
    z, cosines, usual = by_distance(x)
    best = float(z.max())
    if not best >= GROUPED[0]:
        return {0: usual, 1: float(cosines[0])}, 0
    if best < GROUPED[1]:  # heavy tails, such as those of rare codes, may reach that by chance
        g = np.random.default_rng(0)
        few = x if x.shape[1] <= 64 else x @ g.normal(size=(x.shape[1], 64)) / 8
        seen = by_distance(few)[0].max()
        if any(by_distance(few[g.permutation(len(few))])[0].max() >= seen for _ in range(PERMUTATIONS)):
            return {0: usual, 1: float(cosines[0])}, 0
    # the first of the large ones, since multiples of a period are large, too
    at = int(np.argmax(cosines - usual >= (cosines.max() - usual) / 2)) + 1
    enough = cosines[at - 1] - usual >= GROUPED[2] * (1 - usual)
    return {0: usual, 1: float(cosines[0]), at: float(cosines[at - 1])}, at if enough else 0


def by_distance(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Test whether rows that are some places apart (around the end) are more alike.

    Returns z under permutations of the rows (for distances 1 to 2, 4 and 8 together, then for each distance), the mean
    product at each distance, and that of any two rows. Mean and variance over all permutations are exact for one
    distance, from the sums of products of pairs with no, one or two common rows.
    """
    n = len(u)
    inner = u.T @ u if u.shape[1] < n else u @ u.T
    own = np.einsum("ij,ij->i", u, u)
    sums = u @ u.sum(0) - own  # each row with all others
    usual = float(sums.sum()) / (n * (n - 1))
    both = float(np.vdot(inner, inner) - own @ own) - n * (n - 1) * usual**2  # two common rows
    one = float(np.sum((sums - (n - 1) * usual) ** 2)) - both
    a, b = both / (n * (n - 1)), one / (n * (n - 1) * (n - 2))
    c = -(2 * both + 4 * one) / (n * (n - 1) * (n - 2) * (n - 3))
    spectrum = np.fft.rfft(u, axis=0)
    products = np.fft.irfft(np.einsum("ij,ij->i", spectrum, spectrum.conj()).real, n)[1 : (n - 1) // 2 + 1]

    def scores(total: np.ndarray, distances: int) -> np.ndarray:
        edges = n * distances
        sharing = edges * (4 * distances - 2)
        variance = edges * a + sharing * b + (edges**2 - edges - sharing) * c
        return (total - edges * usual) / math.sqrt(variance) if variance > 1e-12 * n else np.zeros_like(total)

    windows = [scores(products[:most].sum(keepdims=True), most) for most in (2, 4, 8) if most <= len(products)]
    return np.concatenate([*windows, scores(products, 1)]), products / n, usual


def shared_places(
    values: np.ndarray, k: int, slack: Callable[[np.ndarray], np.ndarray] | np.ndarray, most: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the k columns with the largest values of each row, and those that are tied at the k-th place.

    Parameters
    ----------
    values : array (rows, m)
        The values.
    k : int
        How many places there are.
    slack : array or function(rows)
        How much each value may be rounding; two are equal if they differ by at most the mean of both. A function is
        called for the rows in which a tie is possible.
    most : array (rows, 1), optional
        For a function: an upper bound for each row.

    Returns
    -------
    near, tied : bool array (rows, m)
        The k largest with all tied ones, and the tied ones. If there are no more than k, none is tied.
    weight : array (rows,)
        The weight of a tied one, (k - number larger) / number tied: the probability of a place if chance decides.
    """
    m = values.shape[1]
    if isinstance(slack, np.ndarray):
        whole = np.broadcast_to(slack, values.shape)
        most, slack = whole.max(axis=1, keepdims=True), whole.__getitem__
    kth = np.partition(values, m - k, axis=1)[:, m - k, None]
    near, weight = values >= kth - most, np.ones(len(values))
    tied = np.zeros_like(near)
    doubtful = np.flatnonzero(near.sum(axis=1) > k)
    if not len(doubtful):
        return near, tied, weight
    some, width = values[doubtful], slack(doubtful)
    at = np.argpartition(some, m - k, axis=1)[:, m - k, None]
    last = np.take_along_axis(some, at, axis=1)
    width = (width + np.take_along_axis(width, at, axis=1)) / 2
    near[doubtful] = some >= last - width
    for row, i in enumerate(doubtful):
        if near[i].sum() > k:
            tied[i] = near[i] & (values[i] <= last[row] + width[row])
            many = int(tied[i].sum())
            weight[i] = (k - (int(near[i].sum()) - many)) / many
    return near, tied, weight


def neighbour_fractions(
    similarities: np.ndarray, own: tuple[np.ndarray, np.ndarray], k: int, spacing: float = float(np.finfo(float).eps)
) -> np.ndarray:
    """Return for each sample the fraction of the others that have it among their k nearest, with weights for ties.

    own: the places of samples with themselves; they are set to -inf.  spacing: of the precision of the
    numbers from which the similarities were computed.
    """
    similarities[own] = -np.inf
    n = similarities.shape[1]
    finite = np.where(np.isfinite(similarities), np.abs(similarities), 0)
    near, tied, weight = shared_places(
        similarities,
        k,
        8 * spacing * finite.max(axis=1, keepdims=True) + 64 * np.finfo(float).eps * finite.max(axis=1, keepdims=True),
    )
    weights = np.where(tied, weight[:, None], near)
    others = np.full(n, len(similarities))
    others[own[1]] -= 1
    return weights.sum(0) / np.maximum(others, 1)


def near_repeats(x: np.ndarray, inner: np.ndarray, places: np.ndarray) -> float:
    """Return the fraction of samples with a near repeat, which is much nearer than usual but not equal; 0.0 if few.

    x: centred, at unit norm.  inner: inner products of the rows at `places` with all.
    """
    k = NEARLY[2]
    if len(x) < 3 * k:
        return 0.0
    squares = np.einsum("ij,ij->i", x, x)
    distances = np.maximum(squares[places, None] + squares - 2 * inner, 0)
    distances[np.arange(len(places)), places] = np.inf
    distances[distances <= 1e-10 * (squares[places, None] + squares.mean())] = np.inf  # the same, up to rounding
    nearest = np.partition(distances, [0, k - 1], axis=1)[:, [0, k - 1]]
    known = np.isfinite(nearest[:, 1])
    fraction = float(np.sum(nearest[known, 0] < NEARLY[0] ** 2 * nearest[known, 1])) / len(places)
    return fraction if fraction >= NEARLY[1] else 0.0
