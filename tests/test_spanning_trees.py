"""RTD-lite and NTS: closed forms, Kruskal's algorithm, and ties."""

import itertools

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist, pdist
from scipy.stats import spearmanr
from test_measures import pair_of

from repsim_nb.measures import NTS, RTDLite, UndefinedError

X, Y = pair_of(n=25)


def on_a_line(*points):
    return np.array(points, dtype=float)[:, None]


def scaled(x):
    return cdist(x, x) / np.quantile(pdist(x)[pdist(x) > 0], 0.9)


def length(distances):
    return minimum_spanning_tree(distances).sum()


def kruskal(distances):
    """The edges of the minimum spanning tree, and the distance at which the clusters of each two samples join."""
    n = len(distances)
    group, joins, edges = list(range(n)), np.zeros((n, n)), []
    for i, j in sorted(itertools.combinations(range(n), 2), key=lambda pair: distances[pair]):
        if group[i] != group[j]:
            edges.append((i, j))
            one, other = ([k for k in range(n) if group[k] == group[end]] for end in (i, j))
            for a, b in itertools.product(one, other):
                joins[a, b] = joins[b, a] = distances[i, j]
            group = [group[i] if g == group[j] else g for g in group]
    return edges, joins


def test_three_points_on_a_line_in_closed_form():
    x, y = on_a_line(0, 1, 11), on_a_line(0, 10, 11)  # distances 1, 10, 11: their .9 quantile is 10.8
    assert RTDLite()(x, y) == pytest.approx((11 - 2) / 10.8, abs=1e-12)
    assert RTDLite(form="srtd")(x, y) == pytest.approx((20 - 2) / 10.8, abs=1e-12)
    assert NTS()(x, y) == pytest.approx(-1, abs=1e-12) and NTS(form="merges")(x, y) == pytest.approx(-1, abs=1e-12)


def test_clusters_that_are_split_otherwise():
    # two clusters of two, one unit wide and far apart; the other side has the partners exchanged
    x, y = on_a_line(0, 1, 100, 101), on_a_line(0, 100, 1, 101)
    quantile = np.quantile(pdist(x), 0.9)
    # in the smaller distances 0-1, 2-3, 0-2 and 1-3 are 1 apart
    assert RTDLite()(x, y) == pytest.approx((1 + 99 + 1 - 3) / quantile, abs=1e-12)


@pytest.mark.parametrize("shape", [{"n": 25}, {"n": 9, "p": 20, "q": 30}])
def test_they_are_their_definitions(shape):
    x, y = pair_of(**shape)
    a, b = scaled(x), scaled(y)
    low, high = np.minimum(a, b), np.maximum(a, b)
    assert RTDLite()(x, y) == pytest.approx((length(a) + length(b)) / 2 - length(low), abs=1e-12)
    assert RTDLite(form="srtd")(x, y) == pytest.approx(length(high) - length(low), abs=1e-12)
    (edges_a, joins_a), (edges_b, joins_b) = kruskal(a), kruskal(b)
    both = tuple(np.array(sorted({*edges_a, *edges_b})).T)
    assert NTS()(x, y) == pytest.approx(spearmanr(a[both], b[both]).statistic, abs=1e-12)
    assert NTS(form="merges")(x, y) == pytest.approx(spearmanr(joins_a[both], joins_b[both]).statistic, abs=1e-12)


def test_the_order_of_samples_does_not_matter_where_distances_are_tied():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 4, size=(2, 30, 2)).astype(float)  # a grid: many trees are equally short
    order = rng.permutation(30)
    for measure in (RTDLite(), RTDLite(form="srtd"), NTS(), NTS(form="merges")):
        value = measure(x, y)
        assert measure(x[order], y[order]) == pytest.approx(value, abs=1e-12)
        turned = x @ np.array([[0.6, 0.8], [-0.8, 0.6]]) / 3  # the same ties, up to rounding
        assert measure(turned, y) == pytest.approx(value, abs=1e-12)
        assert measure(x, turned) == pytest.approx(1 if isinstance(measure, NTS) else 0, abs=1e-9)


def test_copies_are_at_distance_0():
    x, y = np.repeat(X[:12], 2, axis=0), Y[:24]
    a, b = scaled(x), scaled(y)
    tiny = a.copy()
    tiny[(a == 0) & ~np.eye(24, dtype=bool)] = 1e-6  # edges of about 0 are no edges for SciPy
    assert RTDLite()(x, y) == pytest.approx((length(tiny) + length(b)) / 2 - length(np.minimum(tiny, b)), abs=1e-4)
    with pytest.raises(UndefinedError, match="all edges of both minimum spanning trees have the same length"):
        NTS()(np.eye(10), pair_of(n=10)[0])


def test_cluster_structure_counts_and_what_is_within_does_not():
    rng = np.random.default_rng(0)
    clusters = np.repeat(100 * rng.normal(size=(5, 8)), 6, axis=0)
    x, y = (clusters + 0.01 * rng.normal(size=clusters.shape) for _ in range(2))
    mixed = y[rng.permutation(30)]
    assert RTDLite()(x, y) < 0.01 < 0.5 < RTDLite()(x, mixed)
    assert NTS(form="merges")(x, mixed) < 0 < NTS(form="merges")(x, y)
