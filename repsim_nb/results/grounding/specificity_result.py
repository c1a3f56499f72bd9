"""What the test of specificity gives, and how measures compare by it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.results.inference import Interval
from repsim_nb.results.inference.units import Units, simultaneous
from repsim_nb.support.errors import join_names
from repsim_nb.support.summaries import summarize

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
    by_layer : DataFrame
        A row a layer: across_models, the mean dissimilarity of that layer in two models; one_away, the mean within
        models to the layers next to it; layers_to_move, how many layers away one has to go within a model before
        the mean dissimilarity is above across_models ("never" if no layer is that far).
    by_steps : DataFrame
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
    by_layer: pd.DataFrame
    by_steps: pd.DataFrame
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
        """The median over all layers; a layer with "never" counts as more than any number.

        Infinity means that half of the layers have no such number.
        """
        steps = sorted(math.inf if value == NEVER else float(value) for value in self.by_layer["layers_to_move"])
        return (steps[(len(steps) - 1) // 2] + steps[len(steps) // 2]) / 2

    @property
    def layers_to_move_text(self) -> str:
        """The median as text: "3", or "more than 5" if there are six layers and it is more than that."""
        return (
            f"{self.layers_to_move:g}" if math.isfinite(self.layers_to_move) else f"more than {len(self.by_layer) - 1}"
        )

    @property
    def never(self) -> int:
        """The number of layers for which no other layer of the model is as far as the same layer of another
        model.
        """
        return int((self.by_layer["layers_to_move"] == NEVER).sum())

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
            number of rows), detectable (the difference that so many units would show in 8 of 10 studies), significant
            (0 is outside low to high).

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
            ("layers", self.by_layer.index, other.by_layer.index),
        ):
            if not mine.equals(theirs):
                raise ValueError(
                    f"differences are of the same {what} in the same order; this one has {join_names(mine, 4)},"
                    f" '{name}' has {join_names(theirs, 4)}"
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
        drawn = f" [{self.interval.low:.3f}, {self.interval.high:.3f}]" if self.interval else ""
        lost = f", {NEVER} for {self.never} of {len(self.by_layer)} layers" if self.never else ""
        of = "" if self._units is None else f" in {self.units} units: {self._units.name}"
        return (
            f"Specificity({measures.short_name(self.measure)}, accuracy={self.accuracy:.3f}{drawn},"
            f" chance={self.chance:.3f}, {self.layers_to_move_text} layers to move{lost}, {len(self.pairs)} models"
            f"{'' if self.units == len(self.pairs) else of})"
        )

    def _repr_html_(self) -> str:
        interval = f" [{self.interval.low:.3f}, {self.interval.high:.3f}]" if self.interval else ""
        return summarize(
            "Specificity",
            measures.short_name(self.measure),
            [
                f"same layer found {self.accuracy:.3f}{interval}",
                f"chance {self.chance:.3f}",
                f"{self.layers_to_move_text} layers to move"
                + (f", {NEVER} for {self.never} of {len(self.by_layer)} layers" if self.never else ""),
                f"{len(self.pairs)} models",
            ],
            table=self.by_layer,
            page="grounding.Specificity",
        )


def _by_name(others: Specificity | Mapping[str, Specificity] | Iterable[Specificity]) -> dict[str, Specificity]:
    if isinstance(others, Mapping):
        pairs = [(str(name), other) for name, other in others.items()]
    else:
        several = [others] if isinstance(others, Specificity) else others
        pairs = [
            (measures.short_name(other.measure) if isinstance(other, Specificity) else "", other)  # type: ignore[redundant-expr]
            for other in several
        ]
    for _, other in pairs:
        if not isinstance(other, Specificity):
            raise TypeError(f"the difference is to what grounding.specificity returns; got {type(other).__name__}")
    names = [name for name, _ in pairs]
    if not names:
        raise ValueError("there is nothing to compare with: pass a Specificity, several, or {name: Specificity}")
    if len(set(names)) < len(names):
        raise ValueError(
            f"each row of differences has a name of its own; here are {join_names(names, 4)}: pass"
            f" {{name: Specificity}}"
        )
    return dict(pairs)
