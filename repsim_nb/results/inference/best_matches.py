"""The best match of each layer, tested as what it is: the largest of many values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.results.comparison import Comparison, compare
from repsim_nb.results.comparison.defined_cells import find_defined
from repsim_nb.results.comparison.inputs import OnUndefined, check_mappings
from repsim_nb.support.errors import UndefinedError, check_name, format_label
from repsim_nb.support.labels import short_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.seeds import check_seed, generator_of
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import to_numpy
from repsim_nb.support.workers import open_workers

from .null_tables import means_of_groups
from .nulls import same_in_every_order
from .permutations import ALL_SAMPLES
from .representations import representations_of
from .results import check_level, check_permutations, check_quantile, quantile_of
from .shared_permutations import tables_of_orders

Statistic = str | Callable[[np.ndarray], float]
# of a table of similarities, the last two axes
_STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "max": lambda tables: tables.max(axis=(-2, -1)),
    "mean": lambda tables: tables.mean(axis=(-2, -1)),
    "mean_best": lambda tables: tables.max(axis=-1).mean(axis=-1),
}


@dataclass(frozen=True, eq=False, repr=False)
class BestMatch:
    """The most similar pair of a table, and the best match of each row, with p-values that know of the choice.

    Attributes
    ----------
    comparison : Comparison
        All values.
    statistic : str
        What was tested: "max" (the most similar pair), "mean", "mean_best" or the name of a function.
    value : float
        The statistic of the data. For a dissimilarity, "max" is the smallest value.
    p_value : float
        (1 + number of orders with a statistic at least as extreme) / (n_permutations + 1), or, if all orders were
        used, their fraction.
    threshold : float
        The chance level of the statistic: a quantile of `null`.
    corrected : float or None
        (value - threshold) / (best possible value - threshold), at least 0. None if the best value is infinite.
    null : array (n_permutations,)
        The statistic of each order.
    pair : (row, column)
        The labels of the most similar pair: `xs[pair[0]]` and `ys[pair[1]]`.
    rows : DataFrame
        For each row its best match: `match`, `value`, `p_value` (against the best match of this row in each order),
        `p_adjusted` (family-wise, of all cells) and `corrected`.
    adjusted : DataFrame
        The family-wise p-value of every cell; NaN for a layer that was left out.
    level : float
        The level of `threshold` and `corrected`.
    permuted : str
        What was permuted, "samples" or "group means".

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(60, 5)), rng.normal(size=(3, 60, 5))
    >>> found = rs.inference.best_match("cka", {"a": x, "b": noise[0]}, {"c": noise[1], "d": x + noise[2]})
    >>> found.pair, found.p_value
    (('a', 'd'), 0.001)
    """

    comparison: Comparison
    statistic: str
    value: float
    p_value: float
    threshold: float
    corrected: float | None
    null: np.ndarray
    pair: tuple[Any, Any]
    rows: pd.DataFrame
    adjusted: pd.DataFrame
    level: float
    permuted: str = "samples"

    @property
    def n_permutations(self) -> int:
        """The number of orders."""
        return len(self.null)

    def significant(self, level: float = 0.05) -> pd.DataFrame:
        """Return which cells are above chance.

        Parameters
        ----------
        level : float
            The probability that any cell without a relation is among them (family-wise error).

        Returns
        -------
        DataFrame of bool
            Whether the adjusted p-value of a cell is at most `level`.

        Raises
        ------
        ValueError
            If `level` is not between 0 and 1.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> x, noise = rng.normal(size=(60, 5)), rng.normal(size=(3, 60, 5))
        >>> found = rs.inference.best_match("cka", {"a": x, "b": noise[0]}, {"c": noise[1], "d": x + noise[2]})
        >>> found.significant().to_numpy().tolist()
        [[False, True], [False, False]]
        """
        check_level(level)
        return self.adjusted <= level

    def _facts(self) -> list[str]:
        """Return what text and HTML show."""
        row, column = (format_label(label) for label in self.pair)
        corrected = [] if self.corrected is None else [f"corrected {self.corrected:.3f}"]
        return [
            f"{self.statistic} {self.value:.3f}, p = {self.p_value:.2g}",
            f"chance level {self.threshold:.3f}",
            *corrected,
            f"best pair: {row} and {column}",
            f"{self.n_permutations} orders of the {self.permuted}",
        ]

    def __repr__(self) -> str:
        """Return the measure, the shape, the statistic and the best pair as text."""
        shape = " × ".join(map(str, self.comparison.values.shape))
        return f"BestMatch({self.comparison.measure}, {shape}, n={self.comparison.n}: {'; '.join(self._facts())})"

    def __str__(self) -> str:
        return f"{self!r}\n{self.rows.round(3).to_string(max_rows=30)}"

    def _repr_html_(self) -> str:
        shown = self.rows.map(lambda value: f"{value:.3g}" if isinstance(value, float) else value)
        facts = [f"n = {self.comparison.n}", *self._facts()]
        return summarize("BestMatch", str(self.comparison.measure), facts, table=shown, page="inference.BestMatch")


def best_match(  # noqa: PLR0913
    measure: str | Measure,
    xs: Mapping[Any, Any],
    ys: Mapping[Any, Any],
    *,
    statistic: Statistic = "max",
    groups: Any = None,
    level: float = 0.95,
    n_permutations: int = 999,
    seed: int = 0,
    on_undefined: OnUndefined = "raise",
    progress: bool | Tick = False,
) -> BestMatch:
    """Test whether the best pair of layers is better than the best of as many unrelated pairs.

    The largest of many values is large by chance. "Which layer of B matches layer 7?" therefore needs the null
    distribution of the largest value, not that of one pair. The same order of the samples is used in all cells, so that
    layers which resemble each other do so in every order.

    Parameters
    ----------
    measure : str or Measure
        A name, such as "cka", or a configured measure.
    xs, ys : {label: array (n, ...)}
        The rows and the columns of the table, such as the layers of two models.
    statistic : {"max", "mean", "mean_best"} or function
        What is tested: the most similar pair, the mean of all pairs, the mean over rows of their best match, or a
        function of the table (rows, columns) that is larger if sides are more similar. The function gets negative
        dissimilarities.
    groups : labels (n,), optional
        Rows with the same label depend on each other: all values are then of the means of groups. Recordings by token
        have the groups of their rows. Pass range(n) if rows are independent.
    level : float
        The chance level is this quantile of the null distribution.
    n_permutations : int
        The number of random orders. All orders are used for up to 7 samples.
    seed : int
        The seed of the orders.
    on_undefined : {"raise", "mask"}
        "mask" leaves out layers until all pairs have a value, those with the largest fraction of undefined cells first,
        as `Comparison.drop_undefined` does. They stay in the table, with their reasons, but have no row in `rows` and
        NaN in `adjusted`. A pair with the same value in every order gets the p-value 1.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    BestMatch
        p-value and chance-corrected value of the best pair (`value`, `p_value`, `corrected`, `pair`) and of the best
        match of each row (`rows`), and the family-wise p-value of every cell (`adjusted`).

    Raises
    ------
    UndefinedError
        If the measure has no value for a pair, or the same value in every order; with on_undefined="mask", if nothing
        is left.
    ValueError, TypeError
        As `compare`, and for an unknown statistic, too few permutations for `level`, or a representation that is on
        both sides.

    Notes
    -----
    The corrected value of the best pair is that of [2]_. Family-wise p-values are single-step max-T [1]_: each cell is
    standardised by its mean and sd over all orders, the given one among them, and compared with the largest
    standardised value of every order. So a wide layer with a high chance level does not hide a narrow one. Under no
    relation, the probability that any cell has a p-value of at most α is at most α.

    For measures that are inner products of matrices of samples (CKA, RSA by correlation, distance correlation), the
    entries are gathered once an order for all cells. An order of 6 × 6 layers of 1,000 samples takes about 8 ms on one
    core. Memory for all values is 8 bytes for each cell and order.

    References
    ----------
    .. [1] P. H. Westfall, S. S. Young 1993, Resampling-based multiple testing, Wiley.
    .. [2] F. Gröger, S. Wen, M. Brbić 2026, Revisiting the Platonic representation hypothesis: an Aristotelian view.

    See Also
    --------
    null_table : p-values of single cells in closed form, with a false discovery rate.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(60, 5)), rng.normal(size=(3, 60, 5))
    >>> found = best_match("cka", {"a": x, "b": noise[0]}, {"c": noise[1], "d": x + noise[2]})
    >>> found.rows[["match", "p_value"]].to_dict("index")
    {'a': {'match': 'd', 'p_value': 0.001}, 'b': {'match': 'c', 'p_value': 0.944}}
    """
    measure = measures.get(measure)
    measure.check_exchange()
    if not callable(statistic):
        check_name("statistic", statistic, _STATISTICS)
    check_level(level)
    check_permutations(n_permutations)
    check_seed(seed)
    check_mappings("best_match", measure, xs, ys)
    left, right, permuted = means_of_groups(measure, xs, ys, groups)
    if right is None:
        raise TypeError("best_match needs two sides, xs and ys. For all pairs of one side use null_table.")
    comparison = compare(measure, left, right, on_undefined=on_undefined)
    tested = find_defined(comparison.values.to_numpy(), square=False)[:2]
    if not all(side.any() for side in tested):
        reason = next(iter(comparison.undefined.values()))
        raise UndefinedError(f"no pair is left to be tested, since layers without values were left out: {reason}")
    ours, theirs = (
        dict(itertools.compress(representations_of(side)[0].items(), keep))
        for side, keep in zip((left, right), tested, strict=True)
    )
    for label in ours.keys() & theirs.keys():
        if np.array_equal(to_numpy(ours[label]), to_numpy(theirs[label])):
            raise ValueError(
                f"'{format_label(label)}' is on both sides, where it is its own best match. Leave it out of one side;"
                " for all pairs of one side use null_table."
            )
    n = len(next(iter(ours.values())))
    every = n <= ALL_SAMPLES
    if not every:
        check_quantile(level, n_permutations)
    rng = generator_of(seed)
    orders = np.array(
        list(itertools.permutations(range(n)))
        if every
        else [np.arange(n), *(rng.permutation(n) for _ in range(n_permutations))]
    )
    sign = 1 if measure.kind == "similarity" else -1
    what = f"permutations of {measures.short_name(measure)}"
    with open_workers() as run, show_progress(progress, what, "permutation") as tick:
        tables, rounding = tables_of_orders(measure, list(ours.values()), list(theirs.values()), orders, run, tick)
    tables = sign * tables  # of similarities; the first order is the given one
    if callable(statistic):
        name, shown_sign = getattr(statistic, "__name__", type(statistic).__name__), 1
        whole = np.array([statistic(table) for table in tables])
    else:
        name, shown_sign, whole = statistic, sign, _STATISTICS[statistic](tables)
    if whole.shape != (len(orders),) or whole.dtype.kind not in "fiub" or not np.isfinite(whole).all():
        raise ValueError(f"statistic must return one finite number for a table; {name} returned {whole[0]!r}.")
    index, columns = (short_axis(axis)[keep] for axis, keep in zip(comparison.values.axes, tested, strict=True))
    adjusted = pd.DataFrame(
        _adjust(tables, rounding, measure, None if on_undefined == "mask" else [list(ours), list(theirs)]),
        index,
        columns,
    )
    best = sign * measure.range[1 if sign > 0 else 0]
    known_best = None if callable(statistic) else best
    p_value, threshold, corrected = _judge(measure, whole, known_best, level, rounding, every)
    row_p, _, row_corrected = _judge(measure, tables.max(axis=-1), best, level, rounding, every)
    chosen = tables[0].argmax(axis=1)
    places = np.arange(len(chosen)), chosen
    values = comparison.values.to_numpy()[np.ix_(*tested)]
    found = {"match": columns[chosen], "value": values[places]}
    found |= {"p_value": row_p, "p_adjusted": adjusted.to_numpy()[places]}
    found |= {} if row_corrected is None else {"corrected": row_corrected}
    i, j = np.unravel_index(tables[0].argmax(), tables[0].shape)
    return BestMatch(
        comparison,
        name,
        shown_sign * float(whole[0]),
        float(p_value),
        shown_sign * float(threshold),
        None if corrected is None else float(corrected),
        shown_sign * (whole if every else whole[1:]),
        (list(ours)[i], list(theirs)[j]),
        pd.DataFrame(found, index=index),
        _fill(adjusted, comparison, tested),
        level,
        permuted,
    )


def _judge(
    measure: Measure, statistics: np.ndarray, best: float | None, level: float, rounding: float, every: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return p-value, chance level and corrected value of statistics (K, ...), the first of the data.

    Larger ones are more extreme; `best` is the largest possible one.
    """
    p_value = (statistics >= statistics[0] - rounding).mean(axis=0)
    threshold = np.apply_along_axis(quantile_of, 0, statistics if every else statistics[1:], level)
    if best is None or not math.isfinite(best):
        return p_value, threshold, None
    if not (best - threshold > 1e-9).all():
        raise UndefinedError(
            f"{measures.short_name(measure)} has no chance-corrected value: the null quantile is as good as the best"
            f" possible value ({abs(best):.3g}). Use more samples or fewer features"
        )
    return p_value, threshold, np.maximum((statistics[0] - threshold) / (best - threshold), 0.0)


def _fill(adjusted: pd.DataFrame, comparison: Comparison, tested: tuple[np.ndarray, np.ndarray]) -> pd.DataFrame:
    """Return the p-values of all cells, NaN where nothing was tested."""
    if adjusted.shape == comparison.values.shape:
        return adjusted
    whole = np.full(comparison.values.shape, np.nan)
    whole[np.ix_(*tested)] = adjusted
    return pd.DataFrame(whole, *map(short_axis, comparison.values.axes))


def _adjust(tables: np.ndarray, rounding: float, measure: Measure, labels: list[list[Any]] | None) -> np.ndarray:
    """Return the single-step max-T p-value of every cell; without labels 1 for a cell that no order changes."""
    sd = tables.std(axis=0)
    still = sd <= rounding
    if labels is not None and still.any():
        row, column = (side[at] for side, at in zip(labels, np.argwhere(still)[0], strict=True))
        raise UndefinedError(same_in_every_order(measure, f"'{format_label(row)}' and '{format_label(column)}'"))
    sd = np.where(still, 1.0, sd)
    z = np.where(still, -np.inf, (tables - tables.mean(axis=0)) / sd)
    largest = z.max(axis=(1, 2))
    return np.asarray((largest[:, None, None] >= z[0] - rounding / sd).mean(axis=0))
