"""Which measures see that some samples are translated."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from repsim_nb import measures
from repsim_nb.measures import REPRESENTATIONAL, Measure
from repsim_nb.results.inference import chance_values
from repsim_nb.support.containers import Array
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.progress import Tick, show_progress

from .translation import check_both, translate

# distances in units of the root mean squared distance of a sample from the mean
DISTANCES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
PERMUTATIONS = 5  # whose mean is the chance level


def translation_curves(
    x: Array,
    subset: Any,
    direction: ArrayLike | None = None,
    distances: Iterable[float] | None = None,
    *,
    use: Iterable[str | Measure] = tuple(REPRESENTATIONAL),
    relative: bool = False,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Return the values of measures for a representation and copies in which a subset is moved ever further.

    It answers: which measures see a translation that changes nothing for a linear classifier (with the direction of
    `separating_direction`), and which do not?

    Parameters
    ----------
    x : array (n, ...)
        The representation.
    subset : mask (n,)
        True for each sample that is moved.
    direction : array (p,) or of the shape of a sample, optional
        The direction, of any length. By default from the mean of the other samples to the mean of the subset.
    distances : sequence of float, optional
        How far, in the units of x. By default 0 to 100 times the root mean squared distance of a sample from the mean.
    use : sequence of str or Measure
        The measures: names or configured ones, by default all of representations.
    relative : bool
        Return values on one scale for all measures: 1 is the value of x with itself, 0 the chance level (x with its
        samples permuted). A measure that does not see the translation stays at 1.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    DataFrame (distances, measures)
        The index "distance" and a column for each measure; NaN where a measure is undefined, such as CCA with as many
        features as samples. `rs.plots.curves` draws it.

    Raises
    ------
    ValueError
        As for `translate`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(200, 4))
    >>> first = np.arange(200) < 60
    >>> found = translation_curves(x, first, (1, 0, 0, 0), [0, 1000], use=["cka", "mean_cca", "mutual_knn"])
    >>> found.loc[1000].round(2).to_dict()
    {'cka': 0.0, 'mean_cca': 0.76, 'mutual_knn': 0.55}
    """
    flat, mask = check_both(x, subset)
    if distances is None:
        distances = np.sqrt(flat.var(axis=0).sum()) * np.array(DISTANCES)
    steps = [float(c) for c in distances]
    moved = {c: translate(flat, mask, direction, c) for c in steps}
    chosen = [measures.get(one) for one in use]
    columns = {}
    with show_progress(progress, "translated samples", "measure") as tick:
        for done, measure in enumerate(chosen):
            tick(done, len(chosen))
            values = measure.table({"x": flat}, moved, on_undefined="mask").values[0]
            columns[measures.short_name(measure)] = _relative(measure, values, flat) if relative else values
        tick(len(chosen), len(chosen))
    return pd.DataFrame(columns, index=pd.Index(steps, name="distance"))


def _relative(measure: Measure, values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return values with 0 at the chance level and 1 at the value of x with itself; NaN if these are equal."""
    try:
        itself = measure(x, x)
        chance = float(chance_values(measure, {"x": x}, n_pairs=PERMUTATIONS).mean())
    except UndefinedError:
        return np.full_like(values, np.nan)
    return (values - chance) / (itself - chance) if itself != chance else np.full_like(values, np.nan)
