"""The result of the test of specificity, and differences between measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.arrays import fingerprint_array
from repsim_nb.results.inference import Interval
from repsim_nb.results.inference.units import Units, simultaneous
from repsim_nb.support.errors import join_names
from repsim_nb.support.summaries import count_of, summarize

NEVER = "never"


@dataclass(frozen=True, eq=False, repr=False)
class Specificity:
    """Whether the same layers of different models are nearer than different layers of one model.

    Attributes
    ----------
    measure : Measure
        The measure that was tested.
    accuracy : float
        The fraction of cases in which the nearest layer of another model is the same layer, over all layers and ordered
        pairs of models.
    interval : Interval or None
        The interval of the accuracy over units (models, or groups of them). None for two models.
    chance : float
        The accuracy of random matches, 1 / number of layers.
    pairs : DataFrame (models, models)
        The accuracy of each model (row) with each other one (column); 1 for itself.
    matches : DataFrame (layers, layers)
        The fraction of cases in which a layer (row) was matched with each layer of another model (column); rows sum to
        1.
    by_layer : DataFrame
        One row for each layer. Columns: across_models, the mean dissimilarity of that layer in two models; one_away,
        the mean dissimilarity to the adjacent layers of the same model; layers_to_move, how many layers away the mean
        dissimilarity within a model is first above across_models ("never" if no layer is that far).
    by_steps : DataFrame (layers, layers away)
        The mean dissimilarity within models for each number of layers away.
    within, across : DataFrame (layers, layers)
        Mean dissimilarities of all pairs of layers, within models and between two models.
    draws : ndarray (n_bootstrap,)
        The accuracy in each resample of units; empty for two models. Resamples are the same for all measures with the
        same models, groups and seed.
    seed : int
        The seed of the resamples.

    Notes
    -----
    The result keeps a reference to the representations, which `compare_with` uses for measures given by name.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> layers = dict(zip(("in", "out"), rng.normal(size=(2, 50, 4))))
    >>> xs = {f"{m}/{k}": x + 0.5 * rng.normal(size=x.shape) for m in "abc" for k, x in layers.items()}
    >>> rs.grounding.specificity(rs.from_arrays(xs), "cka")
    Specificity(cka, accuracy=1.000 [0.000, 1.000], chance=0.500, 1 layers to move, 3 models)
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
    _repeat: Repeat | None = None

    @property
    def units(self) -> int:
        """Number of independent units that were drawn; 0 for two models."""
        return 0 if self._units is None else self._units.number

    @property
    def unit(self) -> str:
        """What was drawn, such as "models (10)"; empty for two models."""
        return "" if self._units is None else self._units.text

    @property
    def layers_to_move(self) -> float:
        """Median of layers_to_move over all layers, with "never" larger than any number.

        Infinity if half of the layers have no such number.
        """
        return float(np.median([math.inf if value == NEVER else value for value in self.by_layer["layers_to_move"]]))

    @property
    def layers_to_move_text(self) -> str:
        """Median as text: "3", or "more than 5" if there are six layers and it is infinite."""
        return (
            f"{self.layers_to_move:g}" if math.isfinite(self.layers_to_move) else f"more than {len(self.by_layer) - 1}"
        )

    @property
    def never(self) -> int:
        """Number of layers for which no layer of the same model is as far as the same layer of another model."""
        return int((self.by_layer["layers_to_move"] == NEVER).sum())

    def compare_with(self, others: Other | Mapping[str, Other] | Iterable[Other]) -> pd.DataFrame:
        """Compare the accuracy of this measure with that of others, in the same resamples of models.

        Parameters
        ----------
        others : str, Measure or Specificity, a list of them, or {name: one of them}
            The other measures. A name or a Measure is tested on the same representations with the same options. A
            Specificity must be of the same models, layers, groups, seed, number of resamples and level. Without names
            of their own, rows have the short names of the measures.

        Returns
        -------
        DataFrame, index "measure"
            Columns: difference (this accuracy minus the other); low, high (simultaneous intervals, max-T); p_value
            (adjusted for the number of rows); detectable (the difference that such an interval distinguishes from 0 in
            8 of 10 studies); significant (0 is outside the interval).

        Raises
        ------
        TypeError
            For anything else than measures and results of `specificity`.
        ValueError
            If there is no other measure, if two have one name, for results that do not match, for two models, and if
            the representations have changed since this result was computed.

        Notes
        -----
        Both measures are tested on the same models, so most of what the draw of models does cancels in the difference.
        Two separate intervals that overlap are no evidence about it. Resamples of pairs vary more than new models
        would, so intervals are rather too wide. Simulated (two measures that are equally specific, four layers, 1,000
        sets of models each): `significant` in 0.4 % with 5 models and in 1.1 % with 10, and for one or more of three
        measures in 0.4 % and 0.2 %. The intervals at level 0.95 contained a difference of .11 in more than 99 of 100.

        References
        ----------
        Westfall and Young 1993, Resampling-based multiple testing (max-T).

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> layers = dict(zip(("in", "out"), rng.normal(size=(2, 50, 4))))
        >>> xs = {f"{m}/{k}": x + 0.5 * rng.normal(size=x.shape) for m in "abcdef" for k, x in layers.items()}
        >>> found = rs.grounding.specificity(rs.from_arrays(xs), "cka")
        >>> found.compare_with(["procrustes", "mean_cca"])[["difference", "significant"]]
                    difference  significant
        measure
        procrustes         0.0        False
        mean_cca           0.0        False
        """
        if not len(self.draws):
            raise ValueError("compare_with needs three or more models to draw; this one has two models.")
        chosen = self._test_others(_by_name(others))
        for name, other in chosen.items():
            self._check_pairing(name, other)
        index = pd.Index(list(chosen), name="measure")
        estimates = pd.Series([self.accuracy - other.accuracy for other in chosen.values()], index=index)
        draws = pd.DataFrame({name: self.draws - other.draws for name, other in chosen.items()})
        assert self.interval is not None
        return simultaneous(estimates, draws, self.units, self.interval.level)

    def _test_others(self, others: dict[str, Other]) -> dict[str, Specificity]:
        """Test the measures among others on the same representations, if these are still the same."""
        found = {name: other for name, other in others.items() if isinstance(other, Specificity)}
        if len(found) < len(others):
            if self._repeat is None:
                raise ValueError("this result has no representations. Pass results of grounding.specificity.")
            if self._repeat.have_changed():
                raise ValueError(
                    "the representations have changed since this result was computed, so other measures cannot be"
                    " tested on the same ones. Call grounding.specificity again."
                )
        return {
            name: other if isinstance(other, Specificity) else self._repeat(other)  # type: ignore[misc]
            for name, other in others.items()
        }

    def _check_pairing(self, name: str, other: Specificity) -> None:
        """Refuse a result with other models, layers or resamples."""
        if not len(other.draws):
            raise ValueError(f"compare_with needs three or more models to draw; '{name}' has two models.")
        for what, mine, theirs in (
            ("models", self.pairs.index, other.pairs.index),
            ("layers", self.by_layer.index, other.by_layer.index),
        ):
            if not mine.equals(theirs):
                raise ValueError(
                    f"compare_with needs the same {what} in the same order; this one has {join_names(mine, 4)},"
                    f" '{name}' has {join_names(theirs, 4)}."
                )
        assert self._units is not None and other._units is not None
        ours, others = self._units.groupings, other._units.groupings
        if list(ours) != list(others) or any(not np.array_equal(ours[key], others[key]) for key in ours):
            raise ValueError(
                f"compare_with needs the same groups= in both; this one draws {self.unit}, '{name}' draws {other.unit}."
            )
        if self.seed != other.seed or len(self.draws) != len(other.draws):
            raise ValueError(
                "compare_with needs the same seed= and n_bootstrap= in both; this one has"
                f" {self.seed} and {len(self.draws)}, '{name}' has {other.seed} and {len(other.draws)}."
            )
        assert self.interval is not None and other.interval is not None
        if self.interval.level != other.interval.level:
            raise ValueError(
                f"compare_with needs the same level= in both; this one has {self.interval.level:g},"
                f" '{name}' has {other.interval.level:g}."
            )

    def _texts(self) -> tuple[str, str]:
        """Return the accuracy with its interval, and the layers to move."""
        interval = f" [{self.interval.low:.3f}, {self.interval.high:.3f}]" if self.interval else ""
        lost = f", {NEVER} for {self.never} of {len(self.by_layer)} layers" if self.never else ""
        return f"{self.accuracy:.3f}{interval}", f"{self.layers_to_move_text} layers to move{lost}"

    def __repr__(self) -> str:
        (accuracy, moved), units = self._texts(), self._units
        of = "" if units is None or units.number == len(self.pairs) else f" in {units.number} units: {units.name}"
        return (
            f"Specificity({measures.short_name(self.measure)}, accuracy={accuracy}, chance={self.chance:.3f}, {moved},"
            f" {count_of(len(self.pairs), 'model')}{of})"
        )

    def _repr_html_(self) -> str:
        accuracy, moved = self._texts()
        facts = [f"same layer found {accuracy}", f"chance {self.chance:.3f}", moved, count_of(len(self.pairs), "model")]
        name = measures.short_name(self.measure)
        return summarize("Specificity", name, facts, table=self.by_layer, page="grounding.Specificity")


class Repeat:
    """The same test with another measure, on the representations that the first one used.

    test: a function of the measure.  arrays: the representations, whose numbers must not change meanwhile.
    """

    def __init__(self, test: Callable[[str | Measure], Specificity], arrays: Mapping[Any, Any]) -> None:
        self.test, self.arrays = test, dict(arrays)
        self.fingerprints = self._fingerprints()

    def __call__(self, measure: str | Measure) -> Specificity:
        return self.test(measure)

    def have_changed(self) -> bool:
        """Return whether the numbers of some representation are no longer the same."""
        return self.fingerprints != self._fingerprints()

    def _fingerprints(self) -> list[str]:
        return [fingerprint_array(x) for x in self.arrays.values()]


Other: TypeAlias = str | Measure | Specificity


def _by_name(others: Other | Mapping[str, Other] | Iterable[Other]) -> dict[str, Other]:
    """Return measures and results by the names of their rows."""
    several = [others] if isinstance(others, (str, Measure, Specificity)) else others
    pairs = list(several.items()) if isinstance(several, Mapping) else [("", other) for other in several]
    found = {}
    for name, other in pairs:
        if not isinstance(other, (str, Measure, Specificity)):
            raise TypeError(
                "compare_with takes measures, such as 'procrustes', or what grounding.specificity returns; got"
                f" {type(other).__name__}."
            )
        measure = other.measure if isinstance(other, Specificity) else measures.get(other)
        name = str(name) or measures.short_name(measure)
        if name in found:
            raise ValueError(f"each row needs a different name; '{name}' occurs twice. Pass {{name: measure}}.")
        found[name] = other
    if not found:
        raise ValueError("compare_with needs another measure: a name, a Measure or a Specificity, or several of them.")
    return found
