"""Optimal transport between many units, by the few pairs of units that can be in a best plan.

Prices of units tell which pairs these are. The best plan of these pairs is found fast, and gives exact prices. They
prove that no other plan is better, or name the pairs that are missing.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, min_weight_full_bipartite_matching

from repsim_nb.support.workers import check_stopped

# of the first prices: the softest and the sharpest choice of partners, as fractions of the mean difference of costs;
# how much sharper each stage is; its rounds
_SOFT, _SHARP, _STAGE, _ROUNDS = 0.1, 0.002, 3.0, 24
_LIKELY = 0.001  # the fraction of a unit from which on a pair is likely
# pairs of each unit: at most at first, at least in a program, and those that join if some are missing
_FIRST, _SURE, _NEXT = 8, 4, 2
_MOST_COPIES = 64  # of each pair; with more a linear program is faster
_TOLERANCE = 1e-12  # the saving, of the largest difference of agreements, that is rounding
# costs are multiples of this for the solvers: both can go on without end if many costs differ by less, but not at all
_STEP = 2.0**-30

Plan = tuple[np.ndarray, np.ndarray, np.ndarray]  # rows, columns, and how many parts move between them


def best_of_few_pairs(agreement: np.ndarray) -> float | None:
    """Return the largest sum of T_ij agreement_ij over transport plans T, or None if rounding may decide.

    Rows of T sum to 1/p and columns to 1/q. Each unit has equal parts, q / gcd(p, q) of a row and p / gcd(p, q) of a
    column, and one of the best plans moves whole parts.
    """
    (p, q), common = agreement.shape, math.gcd(*agreement.shape)
    parts = q // common, p // common
    if not np.isfinite(agreement).all():
        return None
    if np.count_nonzero(agreement > agreement.min()) <= _FIRST * (p + q):
        return _best_of_all(agreement, parts)
    cost, held = first_prices((agreement.max() - agreement) / float(np.ptp(agreement)))
    if held.sum() > _FIRST * (p + q):
        held = _cheapest(cost, _FIRST)
    starts = np.union1d(np.arange(p) * parts[0], np.arange(q) * parts[1])
    held[starts // parts[0], starts // parts[1]] = True  # a plan that is possible: units in their order
    find = _by_copies if math.prod(parts) <= _MOST_COPIES else _by_program
    if find is _by_program:
        held |= _cheapest(cost, _SURE)  # a round takes longer than more pairs
    while True:
        check_stopped()
        plan = find(cost, held, parts)
        if plan is None:
            return None
        rows, columns, moved = plan
        prices = prices_of_plan(cost, held, rows, columns)
        if prices is None:
            return None
        saved = cost - prices[:p, None] - prices[p:]
        if not ((saved < -_TOLERANCE) & ~held).any():
            break
        last = min(_NEXT * (p + q), saved.size - 1)
        wanted = saved <= np.partition(saved, last, axis=None)[last]
        more = held | (wanted if wanted.sum() <= _FIRST * (p + q) else wanted & _cheapest(saved, _FIRST))
        if np.array_equal(more, held):
            return None
        held = more
    exact = float(saved.min()) >= -_TOLERANCE and float(saved[rows, columns].max()) <= _TOLERANCE
    return float(moved @ agreement[rows, columns]) / (p * parts[0]) if exact else None


def _best_of_all(agreement: np.ndarray, parts: tuple[int, int]) -> float | None:
    """Return the same as `best_of_few_pairs` if few pairs agree more than the least; the order of others is free."""
    (p, q), least = agreement.shape, float(agreement.min())
    rows, columns = np.nonzero(agreement > least)
    if not len(rows):
        return least
    more = agreement[rows, columns] - least
    scale, supply, sums = float(more.max()), np.repeat(parts, [p, q]), _sums(rows, p + columns, p + q)
    found = linprog(-more / scale, A_ub=sums, b_ub=supply, method="highs-ds", options=_OPTIONS)
    if found.status:
        return None
    moved, prices = np.rint(found.x), -found.ineqlin.marginals
    gain = moved @ more / scale
    # what a plan gains is at most what the units cost, at any prices above 0 that no pair exceeds
    bound = supply @ np.maximum(prices, 0) + max(float((more / scale - prices @ sums).max()), 0) * supply[:p].sum()
    if (sums @ moved > supply).any() or bound - gain > _TOLERANCE * supply[:p].sum():
        return None
    total = p * parts[0]
    return (float(moved @ agreement[rows, columns]) + (total - float(moved.sum())) * least) / total


def first_prices(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return costs minus prices of units, and a mask of the pairs that are likely in a best plan.

    Each unit is spread over partners by how cheap they are, and prices are changed until all are used in full (the
    method of Sinkhorn). The choice of partners gets sharper from stage to stage.
    """
    cost = cost - cost.min(axis=1, keepdims=True)
    scale = float(cost.mean())  # the mean difference of costs
    cost -= cost.min(axis=0)
    if scale <= _TOLERANCE:
        return cost, np.zeros(cost.shape, dtype=bool)
    (p, q), width = cost.shape, _SOFT * scale
    while True:
        chosen = np.exp(cost * (-1 / width))
        other = np.ones(q)
        for _ in range(_ROUNDS):
            one = 1 / (chosen @ other)
            other = (p / q) / (one @ chosen)
        cost -= width * np.log(one)[:, None]
        cost -= width * np.log(other)
        if width == _SHARP * scale:
            return cost, cost < -_SHARP * scale * math.log(_LIKELY)
        width = max(width / _STAGE, _SHARP * scale)


def _cheapest(cost: np.ndarray, number: int) -> np.ndarray:
    """Return a mask of the cheapest `number` of each row and of each column."""
    chosen = np.zeros(cost.shape, dtype=bool)
    for axis in (0, 1):
        last = min(number, cost.shape[axis]) - 1
        places = np.argpartition(cost, last, axis=axis).take(np.arange(last + 1), axis=axis)
        np.put_along_axis(chosen, places, True, axis)
    return chosen


# to simplify a program first takes ten times as long as to solve it
_OPTIONS = {"presolve": False, "dual_feasibility_tolerance": 1e-10}


def _sums(rows: np.ndarray, columns: np.ndarray, units: int) -> csr_matrix:
    """Return the matrix that sums what pairs move over each row and column; columns: numbered after the rows."""
    entries = np.concatenate([rows, columns]), np.tile(np.arange(len(rows)), 2)
    return csr_matrix((np.ones(2 * len(rows)), entries), shape=(units, len(rows)))


def _in_steps(cost: np.ndarray) -> np.ndarray:
    """Return costs for a solver, rounded to multiples of _STEP."""
    return np.round(cost / _STEP) * _STEP


def _by_program(cost: np.ndarray, held: np.ndarray, parts: tuple[int, int]) -> Plan | None:
    """Return the cheapest plan of the pairs in `held`, by a linear program."""
    (p, q), (rows, columns) = cost.shape, np.nonzero(held)
    sums, supply, costs = _sums(rows, p + columns, p + q), np.repeat(parts, [p, q]), _in_steps(cost[rows, columns])
    least = min(float(costs.min()), 0.0)  # without costs below 0 the program begins in its second phase
    found = linprog(costs - least, A_eq=sums, b_eq=supply, method="highs-ds", options=_OPTIONS)
    if found.status:
        return None
    moved = np.rint(found.x)
    if not np.array_equal(sums @ moved, supply):
        return None
    some = np.flatnonzero(moved)
    return rows[some], columns[some], moved[some]


def _by_copies(cost: np.ndarray, held: np.ndarray, parts: tuple[int, int]) -> Plan:
    """Return the same as `_by_program`, by an assignment of the parts of each unit as units of their own."""
    (p, q), (rows, columns), (left, right) = cost.shape, np.nonzero(held), parts
    costs = _in_steps(cost[rows, columns])
    costs = np.repeat(costs - (costs.min() - 1), right)  # above 0, as the assignment demands
    places = (columns[:, None] * right + np.arange(right)).ravel()
    ends = np.concatenate([[0], np.cumsum(held.sum(axis=1) * right)])
    copies = csr_matrix((costs, places, ends), shape=(p, q * right))[np.repeat(np.arange(p), left)]
    one, other = min_weight_full_bipartite_matching(copies)
    cells, moved = np.unique(one // left * q + other // right, return_counts=True)
    rows, columns = np.divmod(cells, q)
    return rows, columns, moved


def prices_of_plan(cost: np.ndarray, held: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
    """Return prices of rows and columns by which the pairs of a plan cost 0, and no other pair less than that.

    If this is impossible, no other pair in `held`; None if that is impossible, too. The pairs of the plan connect units
    to groups, in which one price gives all others. The price of each group is a shortest path between groups.
    """
    p, q = cost.shape
    root = p + q
    tight = csr_matrix((np.ones(len(rows)), (rows, p + columns)), shape=(root, root))
    number, group = connected_components(tight, directed=False)
    firsts = np.unique(group, return_index=True)[1]
    tree = csr_matrix(
        (
            np.ones(len(rows) + number),
            np.concatenate([tight.indices, firsts]),
            np.concatenate([tight.indptr, [len(rows) + number]]),
        ),
        shape=(root + 1, root + 1),
    )
    before = breadth_first_order(tree, root, directed=False)[1]
    before[root] = root
    # rows have their price, and columns minus theirs: the cost of a pair is the difference
    level, nodes = np.zeros(root + 1), np.flatnonzero(before != root)
    first, last = np.minimum(nodes, before[nodes]), np.maximum(nodes, before[nodes])
    level[nodes] = np.where(nodes < p, 1, -1) * cost[first, last - p]
    while (before != root).any():
        level += level[before]
        before = before[before]
    level[:root] -= (np.bincount(group, level[:root]) / np.bincount(group))[group]
    left = cost - level[:p, None] + level[p:root]
    for pairs in (left, np.where(held, left, np.inf)):
        base = _shortest(_between(pairs, group[:p], group[p:], number))
        if base is not None:
            return np.concatenate([level[:p] + base[group[:p]], -level[p:root] - base[group[p:]]])
    return None


def _between(left: np.ndarray, rows: np.ndarray, columns: np.ndarray, number: int) -> np.ndarray:
    """Return the smallest entry for each pair of groups; rows, columns: the group of each."""
    for axis, group in ((0, rows), (1, columns)):
        order = np.argsort(group, kind="stable")
        left = np.minimum.reduceat(left.take(order, axis), np.searchsorted(group[order], np.arange(number)), axis)
    return left


def _shortest(between: np.ndarray) -> np.ndarray | None:
    """Return a level of each group, so that no difference i - j is above between[i, j]; None if there is none."""
    if float((between + between.T).min()) < -_TOLERANCE:
        return None
    level = np.zeros(len(between))
    for _ in range(len(between) + 1):
        lower = np.minimum(level, (between + level).min(axis=1))
        if float((level - lower).max()) <= _TOLERANCE / 8:
            return lower
        level = lower
    return None
