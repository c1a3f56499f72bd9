"""Optimal transport between the units of two representations, all of one side with the same mass, exactly."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.workers import check_stopped

from .few_pairs import best_of_few_pairs

# copies of units that are always assigned in time; the largest number of copies, and of pairs of units
_QUICK, _COPIES, _CELLS = 1024, 8192, 2**21
_SMALL = 256  # copies that are assigned in any case


def equal_copies(p: int, q: int) -> tuple[int, bool]:
    """Return how many copies on each side make p units comparable with q, and whether they can be assigned in time."""
    copies = math.lcm(p, q)
    return copies, copies <= _QUICK or copies <= min(4 * min(p, q), _COPIES)


def check_size(p: int, q: int) -> None:
    """Raise UndefinedError if a transport plan between p and q units takes too long."""
    if not equal_copies(p, q)[1] and p * q > _CELLS:
        raise UndefinedError(
            f"matching {p} units with {q} takes too long (at most {_COPIES} units of one width, at most {_CELLS}"
            " pairs of units of different widths). Pool the activations, or choose a sample of the units"
        )


def plan_flops(p: int, q: int) -> float:
    """Return the work of `largest_agreement`."""
    return 4.0 * math.lcm(p, q) ** 3 if _is_assigned(p, q) else 6e3 * p * q + 6e6 * (p + q)


def _is_assigned(p: int, q: int) -> bool:
    """Return whether an assignment of copies is as fast as a plan of few pairs."""
    copies, few = equal_copies(p, q)
    return few and copies <= max(_SMALL, p, q)


def largest_agreement(agreement: np.ndarray) -> float:
    """Return the largest sum of T_ij agreement_ij over transport plans T, whose rows sum to 1/p and columns to 1/q."""
    p, q = agreement.shape
    if _is_assigned(p, q):  # one of the best plans moves each copy as a whole
        cut = agreement.repeat(math.lcm(p, q) // p, axis=0).repeat(math.lcm(p, q) // q, axis=1)
        return float(cut[linear_sum_assignment(cut, maximize=True)].mean())
    found = best_of_few_pairs(agreement)
    return best_plan(agreement) if found is None else found


def best_plan(agreement: np.ndarray) -> float:
    """Return the same as `largest_agreement`, by chains of moves: slow, and right for all numbers."""
    placed = cheapest_steps(-agreement)[1]
    return float(np.sum(placed * agreement)) / float(placed.sum())


def cheapest_steps(costs: np.ndarray) -> tuple[list[tuple[list[tuple[int, int, int]], int, float]], np.ndarray]:
    """Return the chains that match all units, cheapest first, and how many parts of each pair are matched in the end.

    Each unit has equal parts, q / gcd(p, q) of a row and p / gcd(p, q) of a column. A chain has its moves, how many
    parts move along it, and the cost of one part: a part goes to a unit with room, or it takes the place of another
    part, which moves on. It is the assignment method of Jonker and Volgenant with room for several parts: Dijkstra's
    shortest paths over the columns, with prices that keep all steps at or above 0.
    """
    (p, q), common = costs.shape, math.gcd(*costs.shape)
    left, room = np.full(p, q // common), np.full(q, p // common)
    placed, price = np.zeros((p, q), dtype=np.int64, order="F"), np.zeros(q)
    waiting = costs.copy()  # infinite for units that are matched as a whole
    first, mover = waiting.min(axis=0), waiting.argmin(axis=0)
    found = []
    while left.any():
        check_stopped()
        path = cheapest_chain(first, mover, costs, placed, price, room)
        start = path[-1][0]
        step = sum(costs[who, into] - (costs[who, out] if out >= 0 else 0.0) for who, out, into in path)
        flow = move_parts(path, int(left[start]), placed, room)
        left[start] -= flow
        if not left[start]:
            waiting[start] = np.inf
            again = np.flatnonzero(mover == start)
            first[again], mover[again] = waiting[:, again].min(axis=0), waiting[:, again].argmin(axis=0)
        found.append((path, flow, float(step)))
    return found, placed


def cheapest_chain(
    first: np.ndarray, mover: np.ndarray, cost: np.ndarray, placed: np.ndarray, price: np.ndarray, room: np.ndarray
) -> list[tuple[int, int, int]]:
    """Find the cheapest chain of moves that places one more part, and update the prices.

    first, mover: for each place the cost of the cheapest new part there, and the unit that it belongs to. Returns the
    moves (who, out of, into), the last one first: it ends in a place with room. -1 for `out of` is the new part.
    """
    q = len(price)
    distance, done = first - price, np.zeros(q, dtype=bool)
    before, mover = np.full(q, -1), mover.copy()
    while True:
        end = int(np.where(done, np.inf, distance).argmin())
        done[end] = True
        if room[end]:
            break
        there = np.flatnonzero(placed[:, end])
        steps = cost[there] - price
        steps -= steps[:, [end]]
        who = steps.argmin(axis=0)
        reached = distance[end] + steps[who, np.arange(q)]
        nearer = ~done & (reached < distance)
        distance[nearer], mover[nearer], before[nearer] = reached[nearer], there[who[nearer]], end
    price[done] += distance[done] - distance[end]
    path, into = [], end
    while into >= 0:
        path.append((int(mover[into]), int(before[into]), into))
        into = int(before[into])
    return path


def move_parts(path: list[tuple[int, int, int]], most: int, placed: np.ndarray, room: np.ndarray) -> int:
    """Move as many parts along a chain as there are, at most `most`, and return their number."""
    flow = int(min(most, room[path[0][2]], *(placed[who, out] for who, out, _ in path if out >= 0)))
    for who, out, into in path:
        placed[who, into] += flow
        if out >= 0:
            placed[who, out] -= flow
    room[path[0][2]] -= flow
    return flow
