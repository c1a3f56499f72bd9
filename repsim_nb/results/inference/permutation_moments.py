"""Mean, variance and skewness of the inner product of two matrices over all permutations of one, in closed form.

T = Σ_ij a_ij b_o(i)o(j) for an order o, all n! as likely. T to the third power is a sum over six indices, and its mean
over o depends only on which of the six are the same: for each such pattern, the sum over a of what has it, times the
same sum over b, over the number of ways to choose that many different samples. Patterns are gone through by program (15
of four indices, 203 of six), which gives for every n a small matrix between the sums of a and the sums of b. [Mantel
1967; Siemiatycki 1978 for the third moment of matrices without diagonal; Kazi-Aoual, Hitier, Sabatier, Lebreton 1995
for centred ones]
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from repsim_nb.measures.moments import PAIRS, TRIPLES, Sums

Pattern = tuple[int, ...]  # of each index, which of the different ones it is


def moments_of(left: Sequence[Sums], right: Sequence[Sums]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> mean, variance and third central moment of every pair, (len(left), len(right)) each; exactly 0 where every
    order gives the same.
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
    # what is left of either side has the mean 0
    mean = n * (np.outer(a, c) + np.outer(a, d) + np.outer(b, c)) + n * n * np.outer(b, d)
    variance, third = x2 @ _weights(2, n) @ y2.T, x3 @ _weights(3, n) @ y3.T
    moves = variance > 1e-12 * np.outer(x2[:, 3], y2[:, 3]) / n**2
    return mean, np.where(moves, variance, 0.0), np.where(moves, third, 0.0)


@functools.lru_cache(maxsize=64)
def _weights(edges: int, n: int) -> np.ndarray:
    """The matrix between the sums of two sides whose bilinear form is the mean of T², or T³."""
    return np.sum([counts / math.perm(n, many) for many, counts in _counts(edges).items() if many <= n], axis=0)


@functools.cache
def _counts(edges: int) -> dict[int, np.ndarray]:
    """By the number of different indices: the sum over patterns of both sides' sums over *different* indices, each
    written in the sums of PAIRS or TRIPLES.
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
    """Every way in which some of so many indices may be the same."""

    def longer(start: Pattern) -> Iterator[Pattern]:
        if len(start) == size:
            yield start
            return
        for block in range(max(start, default=-1) + 2):
            yield from longer((*start, block))

    return longer(())


def _graph(ends: Sequence[int]) -> tuple[tuple[int, int], ...] | None:
    """(loops, other ends) of each point of the graph whose edges join ends 0 and 1, 2 and 3, ...; None where an edge
    stands alone, so that its sum is the trace or the total, 0.
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
