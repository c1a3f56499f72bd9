"""`locate_differences`: which samples two representations treat differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure, MutualKNN
from repsim_nb.measures.neighbour_search import Neighbours, find_nearest, find_ranks
from repsim_nb.measures.neighbours import search_space
from repsim_nb.measures.ties import merge_ties
from repsim_nb.support.errors import UndefinedError, add_context, join_names
from repsim_nb.support.ids import check_ids, check_order, names_of
from repsim_nb.support.progress import Tick
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.validation import check_labels

from .grouped_rows import codes_of
from .representations import pair_of
from .sample_differences import SampleDifferences
from .sample_influence import influence

_EQUAL = 1e-12  # displacements that differ by less are equal


def locate_differences(  # noqa: PLR0913  # the options are keywords and independent
    x: Any,
    y: Any,
    *,
    k: int = 10,
    metric: str = "cosine",
    measure: str | Measure | None = "cka_debiased",
    targets: Any = None,
    classes: Sequence[str] = (),
    groups: Any = None,
    ids: Any = None,
    names: Sequence[str] = ("x", "y"),
    progress: bool | Tick = False,
) -> SampleDifferences:
    """Find the samples that two representations treat differently.

    For each sample: the nearest neighbours that are kept, lost and gained, how far its neighbours have moved, and its
    influence on the value of a measure.

    Parameters
    ----------
    x, y : array (n, ...)
        Two representations of the same n samples, in the same order: two layers, of two models or of one.
    k : int
        The number of neighbours of each sample.
    metric : {"cosine", "euclidean"}
        How neighbours are found, as in `measures.MutualKNN`.
    measure : str or Measure, optional
        The measure of the influence. None leaves the influence out, which saves time for measures other than those that
        `influence` computes for all samples together.
    targets : labels (n,), optional
        The class of each sample.
    classes : sequence of str
        The names of the classes, if targets are their numbers.
    groups : labels (n,), optional
        Rows that depend on each other, as for `influence`, such as the tokens of a sentence. Rows of one group are not
        neighbours of each other, and each row has the influence of its group. None takes the groups of a recording by
        token. Pass range(n) if rows are independent.
    ids : sequence of str or int, optional
        The names of the samples in the tables. None takes those of x or y, such as the index of a DataFrame, or counts.
    names : (str, str)
        The names of the representations.
    progress : bool or function(done, total)
        Show the progress of the influence, or call the function, which may raise an exception to stop.

    Returns
    -------
    SampleDifferences
        `table` has a row for each sample; `top`, `neighbours`, `confusion` and `by_class` select from it.

    Raises
    ------
    ValueError
        If the sides have other samples, or targets, names or an option are wrong.
    UndefinedError
        If there are fewer than k + 2 samples, or fewer than k + 1 outside a group, a side is constant, or the measure
        has no value.

    Notes
    -----
    The displacement of a sample is the mean logarithm of the rank that its k neighbours in one representation have in
    the other, as the mean of both directions. It is scaled so that 0 means the same neighbours and 1 is the expected
    value of unrelated representations. Samples are ranked by it, and not by the number of kept neighbours or the
    influence. The number of kept neighbours has few values, and between different models many samples keep none: it
    does not distinguish a neighbour that moved from place 10 to 11 from one that moved to place 500. The influence is
    signed and depends on the size of activations: a few samples far from the others have most of it, although their
    neighbours may be the same. The displacement has neither problem. It does not depend on scale, and one sample
    changes that of another sample only a little.

    Samples that are tied (equal up to rounding) share their ranks: the displacement and the numbers of neighbours are
    expected values if chance orders them, independently on each side. Without groups, the mean of `kept` / k is
    `measures.MutualKNN`. Groups matter: the tokens of a sentence are near each other in most layers, so that all its
    neighbours would be kept.

    Cost: all n² pairs of samples on each side, in blocks of rows; and that of `influence`.

    References
    ----------
    C. Kolling, T. Speicher, V. Nanda, M. Toneva, K. Gummadi 2023, Pointwise representational similarity,
    arXiv:2305.19294 (one value for each sample, by the cosines of rows). J. Venna, S. Kaski 2001, Neighborhood
    preservation in nonlinear projection methods, ICANN (ranks of neighbours).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> y = np.tanh(x + 0.1 * rng.normal(size=(200, 5)))
    >>> y[[3, 50]] = rng.normal(size=(2, 5))
    >>> found = locate_differences(x, y)
    >>> sorted(found.top(2).index)
    [3, 50]
    """
    sides = tuple(map(str, names)) if not isinstance(names, str) else (names,)
    if len(sides) != 2 or sides[0] == sides[1]:
        raise ValueError(f"names must be two different names, one a side; got {join_names(sides) or 'none'}.")
    knn = MutualKNN(k=k, metric=metric)  # type: ignore[arg-type]  # it checks the metric
    measured = None if measure is None else measures.get(measure)
    one, other, n = pair_of(x, y, measured)
    if n < k + 2:
        raise UndefinedError(
            f"locate_differences with k = {k} needs at least {k + 2} samples, so that a sample has others than its"
            f" neighbours; there are {n}. Use more samples, or a smaller k"
        )
    labels = None if targets is None else _classes_of(targets, classes, n, (x, y))
    spaces = {}
    for side, name, array in zip("xy", sides, (one, other), strict=True):
        with add_context(f"locate_differences, of '{name}'"):
            spaces[side] = search_space(knn, array)
    stated = groups is not None or any(groups_of(side) is not None for side in (x, y))
    codes = codes_of(groups, (x, y, one, other), n) if stated or measured is not None else None
    others_of = np.full(n, n - 1) if codes is None else n - np.bincount(codes)[codes]  # the candidates of each sample
    if others_of.min() < k + 1:
        raise UndefinedError(
            f"locate_differences with k = {k} needs at least {k + 1} samples outside the group of each; one has"
            f" {others_of.min()} of {n}. Use smaller groups, or a smaller k"
        )
    spaces = {side: space._replace(groups=codes) for side, space in spaces.items()}
    near = [find_nearest(space, k)[0] for space in spaces.values()]
    pairs, starts, others = _pair_up(near[0], near[1], n)
    logs, scores = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n)))]), np.zeros(n)
    for side, space in spaces.items():
        first, last = find_ranks(space, starts, others)
        pairs[f"rank_{side}"] = (first + last) / 2
        expected = (logs[last] - logs[first - 1]) / (last - first + 1)  # of the logarithm, over all orders of ties
        scores += _sums(pairs, pairs[f"weight_{'y' if side == 'x' else 'x'}"] * expected, n) / (2 * k)
    lowest, chance = logs[k] / k, logs[others_of] / others_of
    displacement = merge_ties((scores - lowest) / (chance - lowest), _EQUAL)
    common = _sums(pairs, pairs["weight_x"] * pairs["weight_y"], n)
    table = pd.DataFrame(
        {
            "rank": pd.Series(-displacement).rank(method="min").to_numpy(int),
            "displacement": displacement,
            "kept": common,
            "lost": k - common,
            "gained": k - common,
        },
        index=_index_of(x, y, n) if ids is None else pd.Index(check_ids(ids, n), name="sample"),
    )
    value = None
    if measured is not None:
        of_units = influence(measured, one, other, groups=range(n) if codes is None else codes, progress=progress)
        table["influence"] = of_units if codes is None else of_units[codes]
        value = float(measured(one, other))
    if labels is not None:
        table["class"] = labels
    pairs[["sample", "neighbour"]] = pairs[["sample", "neighbour"]].apply(lambda rows: table.index[rows])
    return SampleDifferences(
        table=table,
        pairs=pairs[["sample", "neighbour", "change", "rank_x", "rank_y", "weight_x", "weight_y"]],
        k=k,
        metric=metric,
        names=(sides[0], sides[1]),
        measure=None if measured is None else measures.short_name(measured),
        value=value,
        kind="similarity" if measured is None else measured.kind,
        candidates=n - 1.0 if codes is None else 1 / float(np.mean(1 / others_of)),
    )


def _pair_up(a: Neighbours, b: Neighbours, n: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return a row for each sample and each neighbour on either side, and where the neighbours of each sample start."""
    codes = [np.repeat(np.arange(n), np.diff(side.starts)) * n + side.others for side in (a, b)]
    both = np.union1d(*codes)
    weights = np.zeros((2, len(both)))
    for row, own, side in zip(weights, codes, (a, b), strict=True):
        row[np.searchsorted(both, own)] = side.weights
    samples, others = np.divmod(both, n)
    change = np.where(weights[1] == 0, "lost", np.where(weights[0] == 0, "gained", "kept"))
    frame = pd.DataFrame(
        {
            "sample": samples,
            "neighbour": others,
            "change": change.astype(object),
            "weight_x": weights[0],
            "weight_y": weights[1],
        }
    )
    return frame, np.searchsorted(samples, np.arange(n + 1)), others


def _sums(pairs: pd.DataFrame, values: pd.Series, n: int) -> np.ndarray:
    """Return the sum of the values of each sample (n,)."""
    return np.bincount(pairs["sample"], values, minlength=n)


def _index_of(x: Any, y: Any, n: int) -> pd.Index:
    """Return the ids of the samples, or their rows if they have none."""
    for side in (x, y):
        found = names_of(side)
        if found is not None and found.kind == "ids":
            return pd.Index(found.names, name="sample")
    return pd.RangeIndex(n, name="sample")


def _classes_of(targets: Any, classes: Sequence[str], n: int, sides: tuple[Any, Any]) -> pd.Categorical:
    """Return the class of each sample by its name; the order is that of the classes, or of their size or alphabet."""
    for side in sides:
        check_order(side, targets)
    labels = check_labels(targets, n, "targets")
    different = sorted(set(labels.tolist()), key=lambda label: (isinstance(label, str), label))
    if len(classes):
        try:
            if any(int(label) < 0 or int(label) != float(label) for label in different):
                raise ValueError
            texts = {label: str(classes[int(label)]) for label in different}
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"classes must have a name for each target; targets are {join_names(different, 5)}, and there are"
                f" {len(classes)} names."
            ) from error
    else:
        texts = {label: str(label) for label in different}
    return pd.Categorical([texts[label] for label in labels.tolist()], list(dict.fromkeys(texts.values())))
