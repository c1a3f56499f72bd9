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
from repsim_nb.measures.arrays import permute_matrix
from repsim_nb.measures.between import form_between, matrices_between
from repsim_nb.measures.moments import dot
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.seeds import generator_of
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
from .representations import in_double, pair_of, rows_of, spacing_of
from .results import ROUNDING, Test, check_permutations, compare_with_null

ALL_SAMPLES = 7  # all orders are used for up to so many samples (5,040 orders)
_PIECE = 0.05  # seconds of work between two looks at whether to stop


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
    """Test whether two representations are more alike than chance, by permuting the samples of one side.

    The null hypothesis is that the rows of x and the rows of y are unrelated. A permutation keeps everything but the
    correspondence of the samples.

    Parameters
    ----------
    measure : str or Measure
        A name, such as "cka_debiased", or a configured measure.
    x, y : array (n, ...) or RDM
        Two representations of the same n samples, in the same order.
    groups : labels (n,), optional
        Rows with the same label depend on each other (tokens of a sentence, frames of a film, repeats of a stimulus).
        Groups of one size are exchanged whole, row by row in their order. Pairs of rows within a group do not count if
        the measure can leave them out (`interval` lists these measures). If sizes differ, the means of groups are
        compared and permuted. Each mean is of as many rows as the smallest group has, evenly spaced. Recordings by
        token have the groups of their rows. Pass range(n) if rows are independent.
    n_permutations : int
        The number of random orders. The smallest possible p-value is 1 / (n_permutations + 1).
    exact : bool or "auto"
        True uses all orders of up to 9 samples or groups, False uses random ones, and "auto" uses all orders of up to
        7.
    seed : int
        The seed of the random orders.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    Test
        One-sided: `alternative` is "greater" for a similarity and "less" for a dissimilarity. `statistic` is the value
        of the pair, and `null` contains the values of the permutations. `permuted` is "samples", "groups" or "group
        means".

    Raises
    ------
    ValueError
        If the sides have other samples, for an illegal option, and for too many samples for exact=True.
    UndefinedError
        If the measure has no value for the pair, or for one of the orders.

    Notes
    -----
    p = (1 + number of permutations at least as alike) / (n_permutations + 1).

    Samples (or groups) must be exchangeable. Rows that depend on each other need `groups`: without them p-values are
    far too small (`reliability.diagnose` looks for such rows). For many pairs, use `null_table`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 5))
    >>> found = permutation_test("cka", x, x + rng.normal(size=(60, 5)))
    >>> found.p_value, found.alternative
    (0.001, 'greater')
    """
    measure = measures.get(measure)
    measure.check_exchange()
    check_permutations(n_permutations)
    if exact not in (True, False, "auto"):
        raise ValueError(
            f"exact must be True (all orders of the samples), False (random orders) or 'auto'; got {exact!r}."
        )
    given = x, y
    x, y, n = pair_of(x, y, measure)
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
            f"exact=True uses all orders of up to 9 {permuted} (362,880 orders); there are {n}. Use exact=False."
        )
    within = codes if rows is not None else None
    statistic = without_pairs_within(measure, within)(x, y)
    if every:  # in double precision, so that equal values of different orders are equal
        x, y = (in_double(side, constant=True) for side in (x, y))
    rng = generator_of(seed)
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
    """Return by how much equal values of different orders may differ in the precision of the data."""
    return max(ROUNDING, *(16 * spacing_of(side) for side in (x, y)))


def values_of_orders(
    permuted: Callable[[list[np.ndarray]], list[float]],
    orders: Iterator[np.ndarray],
    total: int,
    what: str,
    progress: bool | Tick,
) -> np.ndarray:
    """Return `permuted` of all orders (total,), on all cores if that takes longer than a moment."""
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
    """The values of x with y reordered.

    A value is an inner product if the measure has Gram matrices, otherwise that of a pair of prepared representations.
    """

    def __init__(self, measure: Measure, x: Any, y: Any, codes: np.ndarray | None = None) -> None:
        """Prepare both sides. codes: the groups of the rows, all of one size; whole groups are exchanged."""
        self.measure, self.y, self.squares = measure, y, None
        if codes is not None and form_between(measure) is not None:
            self.squares = matrices_between(measure, x, y, codes)
            return
        self.a, self.b = measure.prepare(x), measure.prepare(y)
        with suppress(NotImplementedError):
            self.squares = measure.gram_matrix(self.a), measure.gram_matrix(self.b)

    def __call__(self, orders: list[np.ndarray]) -> list[float]:
        """Return the value of each order."""
        return [self._value(order) for order in orders]

    def _value(self, order: np.ndarray) -> float:
        if self.squares is not None:
            one, other = self.squares
            return dot(one, permute_matrix(other, order))
        return self.measure.pair(self.a, reorder(self.measure, self.b, self.y, order))


def reorder(measure: Measure, prepared: Any, x: Any, order: np.ndarray) -> Any:
    """Return x, which was prepared, with its samples in another order; prepared again if the measure needs that."""
    try:
        return measure.permute(prepared, order)
    except NotImplementedError:
        return measure.prepare(rows_of(x, order))
