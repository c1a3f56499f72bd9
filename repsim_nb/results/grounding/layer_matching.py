"""The test of specificity: whether a measure finds the same layer in another model."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.ties import merge_table
from repsim_nb.results.comparison.comparing import compare_corresponding
from repsim_nb.results.inference import Interval
from repsim_nb.results.inference.representations import representations_of
from repsim_nb.results.inference.results import check_draws
from repsim_nb.results.inference.square_tables import require_values_per_item, tolerance_of_sums
from repsim_nb.results.inference.units import Groups, Units, interval_over_units
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import Choice, to_axis
from repsim_nb.support.progress import Tick
from repsim_nb.support.seeds import check_seed, generator_of

from .item_values import units_of_models
from .specificity_result import NEVER, Repeat, Specificity


def specificity(  # noqa: PLR0913 - keyword-only, independent of each other
    representations: Mapping[Any, Any],
    measure: str | Measure = "cka",
    *,
    model: Choice = "model",
    per: Choice = "layer",
    groups: Groups = None,
    n_bootstrap: int = 999,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Specificity:
    """Measure how often the nearest layer of another model is the same layer.

    Parameters
    ----------
    representations : {label: array (n, p)}
        The same layers of two or more models, in order of depth, for the same n samples.
    measure : str or Measure
        The measure to test.
    model, per : field of the labels, {label: value} or one value for each item
        Which model and which layer an item is.
    groups : {model: group}, one group for each model, or DataFrame, optional
        Models of one group depend on each other (fine-tunings of one pre-trained model, seeds of one architecture). The
        interval then draws whole groups, and only pairs of models of different groups count (in all attributes but
        `pairs` and `within`). A DataFrame has one column for each crossed grouping.
    n_bootstrap : int
        The number of resamples of models or groups, at least 20.
    level : float
        The level of the interval, between 0 and 1.
    seed : int
        Seed of the resamples, >= 0.
    progress : bool or function(done, total)
        Show a bar, or call this function.

    Returns
    -------
    Specificity
        The accuracy with its interval, and tables by layer and by pair of models.

    Raises
    ------
    ValueError
        For fewer than two models or layers, a layer that a model lacks or has twice, a group that splits the items of a
        model, and fewer than 3 groups.
    UndefinedError
        If the measure is undefined for a pair.

    Notes
    -----
    For each ordered pair of models, each layer of the first is matched with the nearest layer of the second. Ties count
    in equal parts. The first and the last layer have neighbours on one side only.

    The interval is a percentile interval, widened for few units [1]_; with fewer than 5 units it is 0 to 1. Units are
    drawn with replacement, and pairs of different units count. Simulated at level 0.95 (CKA, four layers, models with
    different amounts of noise, 1,000 sets of models each): of 100 intervals, 97 contained the accuracy of the
    population with 5 and with 10 models, 93 with 5 and with 10 groups of three models (plain percentiles: 83 and 90),
    96 with 5 x 5 crossed levels [2]_ and 98 with 10 x 5.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton 2019, Similarity of neural network representations revisited, ICML. Ding, Denain,
    Steinhardt 2021, Grounding representation similarity through statistical testing, NeurIPS.

    .. [1] Hesterberg 2015, What teachers should know about the bootstrap, The American Statistician.
    .. [2] Owen 2007, The pigeonhole bootstrap, Annals of Applied Statistics.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> first, second = rng.normal(size=(2, 50, 4))
    >>> layers = {"in": first, "middle": first + second, "out": second}
    >>> xs = rs.from_arrays(
    ...     {f"{net}/{layer}": x + 0.5 * rng.normal(size=x.shape) for net in "abcd" for layer, x in layers.items()}
    ... )
    >>> found = specificity(xs, "cka")
    >>> found.accuracy, found.layers_to_move_text
    (1.0, '1')
    >>> found.compare_with("mean_cca").columns.tolist()
    ['difference', 'low', 'high', 'p_value', 'detectable', 'significant']
    """
    measure = measures.get(measure)
    check_draws(n_bootstrap, level)
    check_seed(seed)
    repeat = functools.partial(
        specificity,
        representations,
        model=model,
        per=per,
        groups=groups,
        n_bootstrap=n_bootstrap,
        level=level,
        seed=seed,
    )
    representations, _ = representations_of(representations, measure)
    labels = list(representations)
    index = to_axis(representations)
    nets, layers = (require_values_per_item(index, choice, what) for choice, what in ((model, "model"), (per, "per")))
    names, depth = list(dict.fromkeys(nets)), list(dict.fromkeys(layers))
    layer_axis, net_axis = pd.Index(depth, name=str(layers.name)), pd.Index(names, name=str(nets.name))
    places = _grid(nets, layers, names, depth)
    units = units_of_models(index, nets, groups)
    other = differing_pairs(units)
    table = (
        compare_corresponding(measure, {label: representations[label] for label in labels}, progress=progress)
        .dissimilarity()
        .to_numpy(float)
    )
    blocks = table[places[:, None, :, None], places[None, :, None, :]]  # (model, model, layer, layer)
    blocks = merge_table(blocks, tolerance_of_sums(blocks, measure))
    nearest = blocks <= blocks.min(axis=3, keepdims=True)
    found = nearest / nearest.sum(axis=3, keepdims=True)
    hits = np.einsum("abll->ab", found) / len(depth)
    accuracy = float(hits[other].mean())
    same = np.eye(len(names), dtype=bool)
    draws, drawn = np.zeros(0), None
    if len(names) > 2:
        draws = resample_accuracy(hits, other, units, n_bootstrap, generator_of(seed))
        drawn = Interval(*interval_over_units(draws, units.number, level, (0.0, 1.0)), level, accuracy)
    within, across = blocks[same].mean(axis=0), blocks[other].mean(axis=0)
    away = _away(within, layer_axis)
    pairs = pd.DataFrame(np.where(same, 1.0, hits), net_axis, net_axis)
    matches, within, across = (
        pd.DataFrame(square, layer_axis, layer_axis) for square in (found[other].mean(axis=0), within, across)
    )
    return Specificity(
        measure,
        accuracy,
        drawn,
        1 / len(depth),
        pairs,
        matches,
        _by_layer(away, np.diag(across)),
        away,
        within,
        across,
        draws,
        seed,
        units if len(draws) else None,
        Repeat(repeat, representations),
    )


def _grid(nets: pd.Series, layers: pd.Series, names: list[Any], depth: list[Any]) -> np.ndarray:
    """Return the position of each layer (columns) of each model (rows)."""
    if len(names) < 2 or len(depth) < 2:
        raise ValueError(
            "specificity needs two or more models and two or more layers; got"
            f" {len(names)} ({join_names(names, 3)}) and {len(depth)} ({join_names(depth, 3)})."
        )
    at: dict[tuple[Any, Any], int] = {}
    for i, key in enumerate(zip(nets, layers, strict=True)):
        if key in at:
            raise ValueError(
                f"each model needs each layer once; '{key[0]}' has '{key[1]}' twice. Select one with .where(...)."
            )
        at[key] = i
    lacking = [f"{layer} of {net}" for net in names for layer in depth if (net, layer) not in at]
    if lacking:
        raise ValueError(
            f"specificity needs the same layers of all models; there is no {join_names(lacking, 3)}. If layers have"
            " other names, pass per= with one depth for each item."
        )
    return np.array([[at[net, layer] for layer in depth] for net in names])


def differing_pairs(units: Units) -> np.ndarray:
    """Return which pairs of models differ in every grouping (models, models)."""
    everyone = np.arange(len(next(iter(units.groupings.values()))))
    other = units.differ(everyone[:, None], everyone)
    if not other.any():
        raise ValueError(
            f"pairs count if their models differ in every grouping, and no pair does ({units.name}). Leave a grouping"
            " out."
        )
    return other


def resample_accuracy(
    hits: np.ndarray, other: np.ndarray, units: Units, n_bootstrap: int, rng: np.random.Generator
) -> np.ndarray:
    """Return mean accuracies (n_bootstrap,) of the pairs that count, for units drawn with replacement.

    A draw without such a pair is drawn again.
    """
    many = units.draw_nonempty(
        rng, n_bootstrap, lambda drawn: np.einsum("ka,ab,kb->k", drawn, other.astype(float), drawn)
    )
    return np.einsum("ka,ab,kb->k", many, hits * other, many) / np.einsum(
        "ka,ab,kb->k", many, other.astype(float), many
    )


def _away(within: np.ndarray, depth: pd.Index) -> pd.DataFrame:
    """Return the mean dissimilarity of each layer (row) to those k layers away (column); missing if there is none."""
    size = len(depth)
    frame = pd.DataFrame(index=depth, columns=pd.RangeIndex(1, size, name="layers away"), dtype=float)
    for at in range(size):
        for k in range(1, max(at, size - 1 - at) + 1):
            frame.iloc[at, k - 1] = np.mean([within[at, to] for to in (at - k, at + k) if 0 <= to < size])
    return frame


def _by_layer(away: pd.DataFrame, threshold: np.ndarray) -> pd.DataFrame:
    """Return the table `by_layer`; threshold: the mean dissimilarity of each layer in two models."""
    first = [
        next((k for k in away if far[k] > limit), NEVER)
        for (_, far), limit in zip(away.iterrows(), threshold, strict=True)
    ]
    return pd.DataFrame(
        {
            "across_models": threshold,
            "one_away": away[1],
            "layers_to_move": pd.Series(first, index=away.index, dtype=object),
        },
        index=away.index,
    )
