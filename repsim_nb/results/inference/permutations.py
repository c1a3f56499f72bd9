"""p-values by permutation: the samples of one side of a pair in other orders."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.arrays import eps, permute_matrix
from repsim_nb.measures.between import form_between, matrices_between
from repsim_nb.measures.moments import dot
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_representation
from repsim_nb.support.workers import SERIAL, open_workers

from .grouped_rows import (
    check_number,
    codes_of,
    group_means,
    have_equal_sizes,
    permute_groups,
    rows_by_group,
    without_pairs_within,
)
from .representations import pair_of, rows_of
from .results import ROUNDING, Test, check_permutations, compare_with_null

ALL_SAMPLES = 7  # of no more samples (5,040 orders) all orders are gone through
_PIECE = 0.05  # seconds of work after which it can be stopped


def permutation_test(
    measure: str | Measure,
    x: Any,
    y: Any,
    *,
    groups: Any = None,
    n_permutations: int = 999,
    exact: bool | str = "auto",
    seed: int = 0,
    progress: bool | Tick = False,
) -> Test:
    """Is the value of a pair more than chance gives?

    The samples of y are permuted, which leaves all that is not about which sample is which -> Test, one-sided.

    Parameters
    ----------
    x, y : arrays (n, ...)
    groups : labels (n,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus).
        Groups of one size are exchanged as they are, row by row in their order, and pairs of rows within a group do not
        count, for the measures that can leave them out (`interval`). If sizes differ, the means of groups are compared
        and permuted, each of as many rows as the smallest group has, evenly spaced. Recordings by token know the groups
        of their rows.
    n_permutations : int
    exact : bool or "auto"
        All orders (True, of up to 9 samples or groups), random ones (False), or "auto": all orders of up to 7.
    progress : bool or function(done, total)
        A function may raise to stop.

    Returns
    -------
    Test
        alternative "greater" for a similarity, "less" for a dissimilarity: extreme is what is more alike. statistic,
        null: values as measured. permuted: "samples", "groups" or "group means".

    Notes
    -----
    Samples, or groups, must be interchangeable. Rows that depend on each other (frames of a video, words of one text)
    need `groups`: without them p-values are far too small (`reliability.diagnose` looks for such rows). Nothing is
    prepared again unless a measure needs it (`Measure.permute`). For many pairs: `null_table`.

    Raises
    ------
    UndefinedError
        Where the measure has no value for the pair, or for one of its orders.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5))
    >>> permutation_test("cka", x, x + rng.normal(size=(60, 5))).p_value
    0.001
    """
    measure = measures.get(measure)
    measure.check_exchange()
    check_permutations(n_permutations)
    if exact not in (True, False, "auto"):
        raise ValueError(f"exact is True (all orders of the samples), False (random ones) or 'auto'; got {exact!r}")
    given = x, y
    x, y, n = pair_of(x, y)
    codes = codes_of(groups, (*given, x, y), n, every=True)
    permuted, rows = "samples", None
    if codes is not None:
        check_number(codes, measure)
        permuted = "groups" if have_equal_sizes(codes) else "group means"
        if permuted == "groups":
            rows = rows_by_group(codes)
        else:
            x, y = group_means(x, codes), group_means(y, codes)
        n = int(codes.max()) + 1
    every = n <= ALL_SAMPLES if exact == "auto" else bool(exact)
    if every and n > 9:
        raise ValueError(
            f"exact=True goes through all orders, of up to 9 {permuted} (362,880 orders); there are {n}: take"
            " exact=False"
        )
    within = codes if rows is not None else None
    statistic = without_pairs_within(measure, within)(x, y)
    if every:  # as finely as can be: equal values of different orders count as equal
        x, y = (check_representation(side, double=True, constant=True) for side in (x, y))
    rng = np.random.default_rng(seed)
    orders: Iterator[np.ndarray] = (
        map(np.array, itertools.permutations(range(n)))
        if every
        else (rng.permutation(n) for _ in range(n_permutations))
    )
    if rows is not None:
        orders = (permute_groups(rows, order) for order in orders)
    total = math.factorial(n) if every else n_permutations
    null = values_of_orders(
        Permuted(measure, x, y, within), orders, total, f"permutations of {measures.short_name(measure)}", progress
    )
    return compare_with_null(
        float(null[0]) if every else statistic,
        null,
        "greater" if measure.kind == "similarity" else "less",
        every,
        rounding_between(x, y),
        permuted=permuted,
    )


def rounding_between(x: Any, y: Any) -> float:
    """By how much values of different orders may differ and be equal: float32 would tell them apart."""
    return max(ROUNDING, *(16 * eps(check_representation(side[:2], constant=True)) for side in (x, y)))


def values_of_orders(
    permuted: Callable[[list[np.ndarray]], list[float]],
    orders: Iterator[np.ndarray],
    total: int,
    what: str,
    progress: bool | Tick,
) -> np.ndarray:
    """`permuted` of all orders, by all cores where that takes longer than a moment."""
    found: list[float] = []
    with show_progress(progress, what, "permutation") as tick:
        tick(0, total)
        began = time.perf_counter()
        found.extend(permuted([next(orders)]))
        each = max(time.perf_counter() - began, 1e-6)
        at_once = max(1, int(_PIECE / each))
        with open_workers() if total * each > _PIECE else nullcontext(SERIAL) as run:
            while some := list(itertools.islice(orders, at_once * run.number)):
                for values in run(
                    permuted,
                    [some[i : i + at_once] for i in range(0, len(some), at_once)],
                    idle=lambda: tick(len(found), total),
                ):
                    found.extend(values)
                tick(len(found), total)
    return np.array(found)


class Permuted:
    """The values of x with y reordered, for some orders: of matrices by one inner product, else by pairs of what was
    prepared.

    codes: the groups of the rows, all of one size, of which whole ones are exchanged.
    """

    def __init__(self, measure: Measure, x: Any, y: Any, codes: np.ndarray | None = None) -> None:
        self.measure, self.y, self.squares = measure, y, None
        if codes is not None and form_between(measure) is not None:
            self.squares = matrices_between(measure, x, y, codes)
            return
        self.a, self.b = measure.prepare(x), measure.prepare(y)
        with suppress(NotImplementedError):
            self.squares = measure.gram_matrix(self.a), measure.gram_matrix(self.b)

    def __call__(self, orders: list[np.ndarray]) -> list[float]:
        return [self._value(order) for order in orders]

    def _value(self, order: np.ndarray) -> float:
        if self.squares is not None:
            one, other = self.squares
            return dot(one, permute_matrix(other, order))
        try:
            b = self.measure.permute(self.b, order)
        except NotImplementedError:
            b = self.measure.prepare(rows_of(self.y, order))
        return self.measure.pair(self.a, b)
