"""Mean, variance and skewness of the inner product of two matrices over all permutations of one, in closed form.

The statistic is T = Σ_ij a_ij b_o(i)o(j) for an order o, and all n! orders are equally likely. T³ is a sum over six
indices. Its mean over o depends only on which of the six indices are equal. For each such pattern it is the sum over
the entries of a with this pattern, times the same sum over b, divided by the number of ways to choose that many
different samples. A program lists the patterns (15 of four indices, 203 of six), which gives for each n a small matrix
between the sums of a and the sums of b.

References: Mantel 1967; Siemiatycki 1978 (third moment of matrices without diagonal); Kazi-Aoual, Hitier, Sabatier,
Lebreton 1995 (centred matrices).
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from repsim_nb.measures.moments import PAIRS, TRIPLES, Sums

Pattern = tuple[int, ...]  # for each index, the number of its block of equal indices


def moments_of(left: Sequence[Sums], right: Sequence[Sums]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, variance and third central moment of every pair, (len(left), len(right)) each.

    Variance and third moment are exactly 0 if all orders give the same value.
    """
    n = left[0].n
    (a, b, x2, x3), (c, d, y2, y3) = (
        (
            np.array([s.diagonal for s in side]),
            np.array([s.off for s in side]),
            np.stack([s.pairs for s in side]),
            np.stack([s.triples for s in side]),
        )
        for side in (left, right)
    )
    # the rest of each side, without these two levels, has the mean 0
    mean = n * (np.outer(a, c) + np.outer(a, d) + np.outer(b, c)) + n * n * np.outer(b, d)
    variance, third = x2 @ _weights(2, n) @ y2.T, x3 @ _weights(3, n) @ y3.T
    moves = variance > 1e-12 * np.outer(x2[:, 3], y2[:, 3]) / n**2
    return mean, np.where(moves, variance, 0.0), np.where(moves, third, 0.0)


@functools.lru_cache(maxsize=64)
def _weights(edges: int, n: int) -> np.ndarray:
    """Return the matrix between the sums of two sides whose bilinear form is the mean of T² (two edges) or T³."""
    return np.sum([counts / math.perm(n, many) for many, counts in _counts(edges).items() if many <= n], axis=0)


@functools.cache
def _counts(edges: int) -> dict[int, np.ndarray]:
    """Return sums over patterns of the products of both sides' sums, by the number of different indices.

    The sum of a side over different indices is written in the sums of PAIRS or TRIPLES.
    """
    known = {graph: place for place, graph in enumerate((PAIRS if edges == 2 else TRIPLES).values())}
    found: dict[int, np.ndarray] = {}
    for pattern in _patterns(2 * edges):
        many = max(pattern) + 1
        row = np.zeros(len(known))
        for merged in _patterns(many):  # sums over different indices from sums over any: inclusion and exclusion
            graph = _graph([merged[block] for block in pattern])
            if graph is not None:
                row[known[graph]] += math.prod(
                    (-1) ** (size - 1) * math.factorial(size - 1) for size in Counter(merged).values()
                )
        found[many] = found.get(many, 0) + np.outer(row, row)
    return found


def _patterns(size: int) -> Iterator[Pattern]:
    """Yield every way in which some of `size` indices may be equal."""

    def longer(start: Pattern) -> Iterator[Pattern]:
        if len(start) == size:
            yield start
            return
        for block in range(max(start, default=-1) + 2):
            yield from longer((*start, block))

    return longer(())


def _graph(ends: Sequence[int]) -> tuple[tuple[int, int], ...] | None:
    """Return (loops, other ends) of each point of the graph whose edges join ends 0 and 1, 2 and 3, ...

    None if an edge is isolated, so that its sum is the trace or the total, which is 0.
    """
    edges = list(zip(ends[::2], ends[1::2], strict=True))
    for k, edge in enumerate(edges):
        if not any(set(edge) & set(other) for other in edges[:k] + edges[k + 1 :]):
            return None
    return tuple(
        sorted(
            (sum(u == v == point for u, v in edges), sum((point in edge) and edge[0] != edge[1] for edge in edges))
            for point in set(ends)
        )
    )
