"""The levels of having nothing in common, and of another sample set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .. import measures
from ..comparison import Comparison, compare
from ..measures import Measure
from ..progress import Tick, ticking
from .ranks import rank_correlation
from .results import between
from .samples import representations_of, rows_of


def unrelated(measure: str | Measure, xs: Mapping[Any, Any], *, n_pairs: int = 50, seed: int = 0, progress: bool | Tick = False) -> np.ndarray:
    """The values (n_pairs,) of random pairs of xs after the samples of one side were shuffled: what representations score that have nothing in common but their shapes.

    xs: {label: array (n, ...)}; of one alone, with itself shuffled.  Errors: UndefinedError where the measure has no value for a pair.
    """
    measure = measures.get(measure)
    if not isinstance(n_pairs, (int, np.integer)) or n_pairs < 1:
        raise ValueError(f"n_pairs is a whole number from 1; got {n_pairs!r}")
    xs, n = representations_of(xs)
    labels = list(xs)
    rng = np.random.default_rng(seed)
    values = []
    with ticking(progress, "shuffled samples", "pair") as tick:
        for done in range(n_pairs):
            tick(done, n_pairs)
            i, j = rng.choice(len(labels), 2, replace=False) if len(labels) > 1 else (0, 0)
            values.append(measure(xs[labels[i]], rows_of(xs[labels[j]], rng.permutation(n))))
    return np.array(values)


def sample_sets(
    measure: str | Measure,
    xs: Mapping[Any, Any],
    reference: Comparison,
    sizes: Sequence[int],
    *,
    n_sets: int = 20,
    level: float = 0.95,
    seed: int = 0,
    kind: str = "spearman",
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """How far a table moves with the samples it is made of: rank correlations of tables over random sets of samples with a reference.

    xs: {label: array (N, ...)}, the items of `reference`, in any order.  sizes: numbers of samples n, drawn without replacement, n_sets times each (of all N there is one set).
    -> DataFrame, index "n", columns mean, low, high (between them lie a share `level` of the sets, by quantiles), sets.
    Errors: ValueError for a size outside 1 to N or other items; UndefinedError where the measure has no value on a set.
    """
    measure = measures.get(measure)
    xs, most = representations_of(xs)
    labels = list(xs)
    sizes = [sizes] if isinstance(sizes, (int, np.integer)) else list(sizes)
    if not sizes or not all(isinstance(size, (int, np.integer)) for size in sizes) or min(sizes) < measure.least or max(sizes) > most:
        raise ValueError(f"sizes are numbers of samples from {measure.least}, the fewest for {measures.short_name(measure)}, to {most}; got {sizes}")
    if not isinstance(n_sets, (int, np.integer)) or n_sets < 1 or not 0 < level < 1:
        raise ValueError(f"n_sets is a whole number from 1, and level lies between 0 and 1; got n_sets={n_sets!r}, level={level!r}")
    rng = np.random.default_rng(seed)
    many = {n: 1 if n == most else n_sets for n in sizes}
    rows, done = {}, 0
    with ticking(progress, f"sample sets for {measures.short_name(measure)}", "table") as tick:
        tick(0, sum(many.values()))
        for n, sets in many.items():
            found = []
            for _ in range(sets):
                some = np.sort(rng.choice(most, n, replace=False))
                found.append(rank_correlation(compare(measure, {label: rows_of(xs[label], some) for label in labels}), reference, kind, p="asymptotic").statistic)
                done += 1
                tick(done, sum(many.values()))
            low, high = between(found, level)
            rows[n] = {"mean": float(np.mean(found)), "low": low, "high": high, "sets": sets}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("n")
