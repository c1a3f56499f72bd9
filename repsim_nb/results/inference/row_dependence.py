"""Test whether rows depend on each other by their order, as the frames of a film do."""

from __future__ import annotations

import math

import numpy as np

# the smallest and the largest number of consecutive rows that are tested
FOLLOWING = (20, 2000)
# z from which on permutations decide whether near rows are more alike; z from which on none are needed; and the
# smallest difference of cosines
GROUPED = (4.0, 8.0, 0.05)
PERMUTATIONS = 499


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
