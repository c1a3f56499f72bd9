"""Specificity: whether a measure finds the same layer in another model, and how far apart layers must be to differ as
much as two models do.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.ties import merge_table
from repsim_nb.results.comparison import compare
from repsim_nb.results.inference import Interval
from repsim_nb.results.inference.results import check_draws
from repsim_nb.results.inference.samples import representations_of
from repsim_nb.results.inference.square_tables import tolerance_of_sums, values_by_item
from repsim_nb.results.inference.units import Groups, Units, interval_over_units, simultaneous
from repsim_nb.support.errors import join_names
from repsim_nb.support.escaping import without_formulas
from repsim_nb.support.labels import Choice, to_axis
from repsim_nb.support.progress import Tick

from .models import units_of_models

NEVER = "never"


@dataclass(frozen=True, eq=False, repr=False)
class Specificity:
    """Whether layers at one depth of different models are nearer than layers of one model.

    Attributes
    ----------
    measure : Measure
    accuracy : float
        How often the nearest layer of another model is the same one, over all layers and ordered pairs of models.
    interval : Interval or None
        Interval of the accuracy over units (models, or groups of them), with the accuracy as its estimate. None for
        two models.
    chance : float
        1 / number of layers.
    pairs : DataFrame (models, models)
        The accuracy of each model (row) with each other (column), 1 for itself.
    matches : DataFrame (layers, layers)
        The fraction of cases in which a layer (row) found each layer of another model (column); rows sum to 1.
    moves : DataFrame
        A row a layer: across_models, the mean dissimilarity of that layer in two models; one_away, the mean within
        models to the layers next to it; layers_to_move, how many layers away one has to go within a model before
        the mean dissimilarity is above across_models ("never" if no layer is that far).
    away : DataFrame
        Those means for every number of layers away (columns).
    within, across : DataFrame (layers, layers)
        Mean dissimilarities of all pairs of layers, within models and between two.
    draws : ndarray (n_bootstrap,)
        The accuracy in each resample of units; empty for two models. Resamples are the same for all measures with the
        same models, groups and seed.
    units : int
        The number of independent units that were drawn, 0 for two models.
    unit : str
        What was drawn, such as "models (10)".
    seed : int
        Of the resamples.
    """

    measure: Measure
    accuracy: float
    interval: Interval | None
    chance: float
    pairs: pd.DataFrame
    matches: pd.DataFrame
    moves: pd.DataFrame
    away: pd.DataFrame
    within: pd.DataFrame
    across: pd.DataFrame
    draws: np.ndarray = field(default_factory=lambda: np.zeros(0))
    seed: int = 0
    _units: Units | None = None

    @property
    def units(self) -> int:
        return 0 if self._units is None else self._units.number

    @property
    def unit(self) -> str:
        return "" if self._units is None else self._units.text

    @property
    def layers_to_move(self) -> float:
        """The median over all layers; a layer with "never" counts as more than any number, so infinity means that half
        of the layers have no such number.
        """
        steps = sorted(math.inf if value == NEVER else float(value) for value in self.moves["layers_to_move"])
        return (steps[(len(steps) - 1) // 2] + steps[len(steps) // 2]) / 2

    @property
    def layers_to_move_text(self) -> str:
        """The median as text: "3", or "more than 5" if there are six layers and it is more than that."""
        return f"{self.layers_to_move:g}" if math.isfinite(self.layers_to_move) else f"more than {len(self.moves) - 1}"

    @property
    def never(self) -> int:
        """The number of layers for which no other layer of the model is as far as the same layer of another
        model.
        """
        return int((self.moves["layers_to_move"] == NEVER).sum())

    def compare_with(self, others: Specificity | Mapping[str, Specificity] | Iterable[Specificity]) -> pd.DataFrame:
        """By how much the accuracy of this measure is above that of others, in the same resamples of models.

        Parameters
        ----------
        others : Specificity, list of them, or {name: Specificity}
            Of the same models, layers, groups and seed, with as many resamples and the same level. Without names rows
            have the short names of the measures.

        Returns
        -------
        DataFrame, index "measure"
            difference (this one minus the other), low, high (all rows hold at once, max-t), p_value (adjusted for the
            number of rows), detectable (the difference that so many units would show in 8 of 10 studies), significant (0
            is outside low to high).

        Raises
        ------
        ValueError
            If there is no other measure, if two have one name, or if they are of other models, layers, groups,
            resamples or another level.

        Notes
        -----
        Both measures see the same models, so most of what the draw of models does falls out of the difference: two
        separate intervals that overlap say nothing about it. Resamples of pairs vary more than new models would, so
        intervals are rather too wide. Simulated (two measures that are as specific as each other, four layers, 1,000
        sets of models each): `significant` in 0.4 % with 5 models and in 1.1 % with 10, and for one or more of three
        measures in 0.4 % and 0.2 %. The intervals at level 0.95 held a difference of .11 in more than 99 of 100.

        References
        ----------
        Westfall and Young 1993 (max-t).
        """
        chosen = _by_name(others)
        for name, other in chosen.items():
            self._check_pairing(name, other)
        index = pd.Index(list(chosen), name="measure")
        estimates = pd.Series([self.accuracy - other.accuracy for other in chosen.values()], index=index)
        draws = pd.DataFrame({name: self.draws - other.draws for name, other in chosen.items()})
        assert self.interval is not None
        return simultaneous(estimates, draws, self.units, self.interval.level)

    def _check_pairing(self, name: str, other: Specificity) -> None:
        for side, of in (("this one", self), (f"'{name}'", other)):
            if not len(of.draws):
                raise ValueError(
                    f"differences are over resamples of models, and {side} has two models, so there is nothing to"
                    " draw: pass three or more"
                )
        for what, mine, theirs in (
            ("models", self.pairs.index, other.pairs.index),
            ("layers", self.moves.index, other.moves.index),
        ):
            if not mine.equals(theirs):
                raise ValueError(
                    f"differences are of the same {what} in the same order; this one has {join_names(mine, 4)}, '{name}'"
                    f" has {join_names(theirs, 4)}"
                )
        assert self._units is not None and other._units is not None
        ours, others = self._units.groupings, other._units.groupings
        if list(ours) != list(others) or any(not np.array_equal(ours[key], others[key]) for key in ours):
            raise ValueError(
                f"differences are of the same resamples, so both need the same groups=; this one draws {self.unit}, "
                f"'{name}' draws {other.unit}"
            )
        if self.seed != other.seed or len(self.draws) != len(other.draws):
            raise ValueError(
                "differences are of the same resamples, so both need one seed= and n_bootstrap=; this one has"
                f" {self.seed} and {len(self.draws)}, '{name}' has {other.seed} and {len(other.draws)}"
            )
        assert self.interval is not None and other.interval is not None
        if self.interval.level != other.interval.level:
            raise ValueError(
                f"both need one level=; this one has {self.interval.level:g}, '{name}' has {other.interval.level:g}"
            )

    def __repr__(self) -> str:
        lost = f"{NEVER} for {self.never} of {len(self.moves)} layers" if self.never else ""
        drawn = f" [{self.interval.low:.3f}, {self.interval.high:.3f}]" if self.interval else ""
        of = (
            ""
            if self._units is None or self.units == len(self.pairs)
            else f" in {self.units} units: {self._units.name}"
        )
        return (
            f"Specificity({measures.short_name(self.measure)}, accuracy={self.accuracy:.3f}{drawn},"
            f" chance={self.chance:.3f},"
            f" {', '.join(filter(None, [f'{self.layers_to_move_text} layers to move', lost]))}, {len(self.pairs)}"
            f" models{of})"
        )

    def _repr_html_(self) -> str:
        return without_formulas(f"<p>{html.escape(repr(self))}</p>{self.moves.to_html(float_format='{:.3f}'.format)}")


def specificity(
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
    """How often the nearest layer of another model is the same layer.

    Parameters
    ----------
    representations : {label: array (n, p)}
        The same layers of two or more models, in their order, of the same n samples.
    measure : str or Measure
    model, per : field of the labels, or a choice as `inference.anosim` takes it
        Which model and which layer an item is.
    groups : choice of one group a model, or DataFrame with a column for each crossed grouping, optional
        Models of one group depend on each other (fine-tunings of one pre-training, seeds of one architecture). The
        interval then draws whole groups, and only pairs of models that differ in every grouping count, in all that is
        returned but `pairs` and `within`: models of one group are near to each other, and how many such pairs there
        are is up to the design.
    n_bootstrap : int
        The number of resamples of models or groups, from 20.
    level : float
        Of the interval.
    seed : int
        Of the resamples.
    progress : bool or callable

    Returns
    -------
    Specificity

    Raises
    ------
    ValueError
        For one model or one layer, a layer that a model lacks or has twice, a group that changes within a model,
        fewer than 3 groups.
    UndefinedError
        If the measure has no value for a pair.

    Notes
    -----
    Each layer of the first model of an ordered pair looks for the nearest layer of the second; ties count in equal
    parts. Layers at either end have neighbors on one side only.

    The interval is of percentiles, widened for few units; with fewer than 5 it is 0 to 1. Units are drawn with
    replacement, and pairs of different ones count. Simulated (CKA, four layers, models with different amounts of
    noise, 1,000 sets of models each): of 100 intervals at level 0.95, 97 held the accuracy of the population with 5
    and with 10 models, 93 with 5 and with 10 groups of three models (plain percentiles: 83 and 90), 96 with 5 x 5
    crossed levels and 98 with 10 x 5.

    References
    ----------
    Kornblith, Norouzi, Lee, Hinton 2019; Ding, Denain, Steinhardt 2021. The interval: Hesterberg 2015; crossed
    groupings: Owen 2007.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> first, second = rng.normal(size=(2, 50, 4))
    >>> layers = {"in": first, "middle": first + second, "out": second}
    >>> xs = {(net, layer): x + 0.5 * rng.normal(size=x.shape) for net in "abcd" for layer, x in layers.items()}
    >>> nets, names = zip(*xs)
    >>> found = specificity({"/".join(key): x for key, x in xs.items()}, "cka", model=nets, per=names)
    >>> found.accuracy, found.layers_to_move_text
    (1.0, '1')
    >>> weak = specificity({"/".join(key): x for key, x in xs.items()}, "mean_cca", model=nets, per=names)
    >>> list(found.compare_with(weak).columns)
    ['difference', 'low', 'high', 'p_value', 'detectable', 'significant']
    """
    measure = measures.get(measure)
    check_draws(n_bootstrap, level)
    representations, _ = representations_of(representations)
    labels = list(representations)
    index = to_axis(representations)
    nets, layers = (values_by_item(index, choice, what) for choice, what in ((model, "model"), (per, "per")))
    names, depth = list(dict.fromkeys(nets)), list(dict.fromkeys(layers))
    layer_axis, net_axis = pd.Index(depth, name=str(layers.name)), pd.Index(names, name=str(nets.name))
    places = _grid(nets, layers, names, depth)
    units = units_of_models(index, nets, groups)
    other = _different(units)
    table = (
        compare(measure, {label: representations[label] for label in labels}, progress=progress)
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
        draws = _resampled(hits, other, units, n_bootstrap, np.random.default_rng(seed))
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
        _moves(away, np.diag(across)),
        away,
        within,
        across,
        draws,
        seed,
        units if len(draws) else None,
    )


def _by_name(others: Specificity | Mapping[str, Specificity] | Iterable[Specificity]) -> dict[str, Specificity]:
    if isinstance(others, Mapping):
        pairs = [(str(name), other) for name, other in others.items()]
    else:
        several = [others] if isinstance(others, Specificity) else others
        pairs = [
            (measures.short_name(other.measure) if isinstance(other, Specificity) else "", other) for other in several
        ]
    for _, other in pairs:
        if not isinstance(other, Specificity):
            raise TypeError(f"the difference is to what grounding.specificity returns; got {type(other).__name__}")
    names = [name for name, _ in pairs]
    if not names:
        raise ValueError("there is nothing to compare with: pass a Specificity, several, or {name: Specificity}")
    if len(set(names)) < len(names):
        raise ValueError(
            f"each row of differences has a name of its own; here are {join_names(names, 4)}: pass {{name: Specificity}}"
        )
    return dict(pairs)


def _grid(nets: pd.Series, layers: pd.Series, names: list[Any], depth: list[Any]) -> np.ndarray:
    """The place of each layer (columns) of each model (rows)."""
    if len(names) < 2 or len(depth) < 2:
        raise ValueError(
            "layers are looked for in other models, so there are two models and two layers or more; "
            f"here are {len(names)} ({join_names(names, 3)}) and {len(depth)} ({join_names(depth, 3)})"
        )
    at: dict[tuple[Any, Any], int] = {}
    for i, key in enumerate(zip(nets, layers, strict=True)):
        if key in at:
            raise ValueError(
                f"each model has a layer once; '{key[0]}' has '{key[1]}' twice: choose one with .where(...)"
            )
        at[key] = i
    lacking = [f"{layer} of {net}" for net in names for layer in depth if (net, layer) not in at]
    if lacking:
        raise ValueError(
            f"the same layers are needed of all models; there is no {join_names(lacking, 3)}. If layers have other names,"
            " pass per= as one depth an item"
        )
    return np.array([[at[net, layer] for layer in depth] for net in names])


def _different(units: Units) -> np.ndarray:
    """Which pairs of models differ in every grouping (models, models)."""
    everyone = np.arange(len(next(iter(units.groupings.values()))))
    other = units.differ(everyone[:, None], everyone)
    if not other.any():
        raise ValueError(
            f"pairs count if their models differ in every grouping, and no pair does ({units.name}): leave a"
            " grouping out"
        )
    return other


def _resampled(
    hits: np.ndarray, other: np.ndarray, units: Units, n_bootstrap: int, rng: np.random.Generator
) -> np.ndarray:
    """Mean accuracies (n_bootstrap,) of the pairs that count, of units drawn with replacement; a draw without such a
    pair is drawn again.
    """
    many = units.draw_nonempty(
        rng, n_bootstrap, lambda drawn: np.einsum("ka,ab,kb->k", drawn, other.astype(float), drawn)
    )
    return np.einsum("ka,ab,kb->k", many, hits * other, many) / np.einsum(
        "ka,ab,kb->k", many, other.astype(float), many
    )


def _away(within: np.ndarray, depth: pd.Index) -> pd.DataFrame:
    """Mean dissimilarity of each layer (row) to those k layers away (column), one or two; missing where there is
    none.
    """
    size = len(depth)
    frame = pd.DataFrame(index=depth, columns=pd.RangeIndex(1, size, name="layers away"), dtype=float)
    for at in range(size):
        for k in range(1, max(at, size - 1 - at) + 1):
            frame.iloc[at, k - 1] = np.mean([within[at, to] for to in (at - k, at + k) if 0 <= to < size])
    return frame


def _moves(away: pd.DataFrame, threshold: np.ndarray) -> pd.DataFrame:
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
