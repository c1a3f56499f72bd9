"""`drift`: each layer of a new release against the old one, with simultaneous intervals, chance levels and verdicts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.measures.arrays import reduce_features, to_float64
from repsim_nb.measures.table_inputs import check_compares_layers
from repsim_nb.results.comparison import Comparison, compare
from repsim_nb.results.comparison.inputs import check_correspondence
from repsim_nb.results.inference import holm, interval, null_moments, permutation_test
from repsim_nb.results.inference.grouped_rows import SampleUnits, codes_of
from repsim_nb.results.inference.intervals import FEWEST_SAMPLES, why_unreliable
from repsim_nb.results.inference.results import check_level
from repsim_nb.support.errors import UndefinedError, as_clause, join_names
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.validation import check_fraction, to_numpy

from .drift_result import CHANGED, COLUMNS, IDENTICAL, SAME, UNDECIDED, Drift, with_types
from .layer_pairs import LayerPair, Recorded, arrays_by_layer, likely_partners, pair_layers
from .layers_without_values import WORDS, judge_alone, judge_lost, rows_not_recorded

FEWEST_PERMUTATIONS = 199
EQUAL = 1e-9  # a similarity that differs from 1 by less has no interval: its variation is rounding
MOST_MORE = 100  # times as many samples: a suggestion of more helps nobody


def drift(  # noqa: PLR0913
    old: Any,
    new: Any,
    data: Any = None,
    layers: str | int | Sequence[str | int] | None = None,
    *,
    measure: str | Measure | Sequence[str | Measure] = "cka_debiased",
    at_least: float = 0.98,
    rename: Mapping[str, str] | None = None,
    groups: Any = None,
    pool: Any = "flatten",
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Drift:
    """Compare two releases of a model layer by layer, to see whether the representations changed.

    Each layer is "same", "changed" or "undecided". `python -m repsim_nb drift` does the same from the command line.

    Parameters
    ----------
    old, new : Model, nn.Module, str, or {layer: array (n, ...)}
        The two releases, as `rs.load_model` takes them. Or recordings of both on the same samples, as `rs.record` and
        `rs.from_arrays` return them, one for each layer; `data` is then None.
    data : Dataset, str, or inputs, optional
        What both models run on, as `rs.record` takes it.
    layers : str, int, or a list of them, optional
        The layers to record, as in `rs.record`; names are those of the old model. None means the default layers.
    measure : str or Measure, or a list of them
        Similarities of activations whose best value is 1 and which have an interval. Intervals of "cka_debiased",
        "cka" and "rsa" are calibrated; by other measures, such as "nbs", a layer can be "changed", but not "same".
    at_least : float
        The threshold, above 0 and up to 1. With 1 only equal representations are "same".
    rename : {old layer: new layer}, optional
        Layers that have another name in the new release. Others are paired by name.
    groups : labels (n,), optional
        Rows with the same label depend on each other, as in `inference.interval`.
    pool : str or function
        How the output of a layer becomes rows, as in `rs.record`.
    level : float
        The probability that all intervals contain their population values together.
    seed : int
        The seed of the intervals and permutations.
    progress : bool or function(done, total)
        Show a progress bar, or call the function, which may raise an exception to stop.

    Returns
    -------
    Drift
        With `verdict`, `changed`, `table()`, `summary` and `exit_code`.

    Raises
    ------
    ValueError
        For a measure that is no similarity or has no interval, a threshold outside (0, 1], fewer than 20 samples, and
        unknown layers.
    TypeError
        If one side is a model and the other a recording, or `data` is missing.

    Notes
    -----
    For each layer the interval of `inference.interval` is compared with the threshold:

    - same: the lower end is at or above `at_least`;
    - changed: the upper end is below `at_least`, or the layer is constant, or has NaN, in one release only;
    - undecided: the interval contains `at_least`, there is no interval, or the function warned that the interval is not
      reliable (a layer can then be "changed", but not "same").

    The intervals hold together: each of k has the level 1 - (1 - level) / k (Bonferroni), where k counts layers and
    measures. So the probability of one or more wrong verdicts is at most 1 - level, for samples that are drawn like
    these. In simulations of 200 samples (`python -m benchmarks.together`), one or more of 5 or 20 intervals missed the
    population value in 4 to 6.5 of 100 releases. Layers whose activations are equal, bit for bit, need no interval:
    their similarity is exactly 1.

    Layers that only one release has, or that cannot be recorded, cannot be compared. They are in the table, and the
    verdict as a whole is at best "undecided"; choose `layers` to leave them out. If such layers of both sides are
    similar, the note names the partner for `rename`.

    `chance` is the mean similarity under permuted samples, and `p_value` tests whether the layers are more similar than
    that, adjusted for the number of tests by the method of Holm. It does not enter the verdict: a layer that changed is
    usually still far above chance.

    A measure does not see what it is invariant to. CKA is 1 for a release whose features are rotated or scaled.

    References
    ----------
    C. E. Bonferroni 1936, Teoria statistica delle classi e calcolo delle probabilità, Pubblicazioni del R. Istituto
    Superiore di Scienze Economiche e Commerciali di Firenze 8.
    S. Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.normal(size=(2, 100, 5))
    >>> found = rs.drift({"conv": x, "fc": x[:, :3]}, {"conv": x, "fc": x[:, :3] + noise[:, :3]})
    >>> found.verdict, found.changed
    ('changed', ('fc',))
    >>> found.table()[["layer", "value", "verdict"]].round(2).to_numpy().tolist()
    [['conv', 1.0, 'same'], ['fc', 0.47, 'changed']]
    """
    chosen = _check_measures(measure)
    at_least = check_fraction(at_least, "at_least", maximum=1, hint="a similarity such as 0.98")
    rename = dict(rename or {})
    check_level(level)
    check_seed(seed)
    recorded = _representations(old, new, data, layers, rename, pool)
    first, second = recorded.names
    names = (first, second) if first != second else (f"{first} (old)", f"{second} (new)")
    xs, ys = (arrays_by_layer(side, f"the {word} model") for side, word in zip(recorded.sides, WORDS, strict=True))
    pairs = pair_layers(xs, ys, rename)
    tables = {measures.short_name(one): _named(compare(one, xs, ys, on_undefined="mask"), names) for one in chosen}
    n = next(iter(tables.values())).n
    if n < FEWEST_SAMPLES:
        raise ValueError(f"drift needs at least {FEWEST_SAMPLES} samples for its intervals; there are {n}.")
    both = [pair for pair in pairs if pair.old is not None and pair.new is not None]
    equal = {pair for pair in both if _equal(xs[str(pair.old)], ys[str(pair.new)])}
    number = (len(both) - len(equal)) * len(chosen)
    judge = _Judge(at_least, 1 - (1 - level) / max(number, 1), groups, seed, len(both) * len(chosen))
    rows, done = [], 0
    with show_progress(progress, f"{names[0]} and {names[1]}", "layer") as tick:
        tick(0, len(both) * len(chosen))
        for one in chosen:
            partners = likely_partners(_by_layer(tables[measures.short_name(one)]), pairs, at_least)
            for pair in pairs:
                facts = _facts(one, pair, xs, ys)
                if pair in both:
                    x, y = xs[str(pair.old)], ys[str(pair.new)]
                    rows.append(facts | judge(one, x, y, equal=pair in equal))
                    done += 1
                    tick(done, len(both) * len(chosen))
                elif one is chosen[0]:
                    rows.append(facts | {"measure": ""} | judge_alone(pair, partners, recorded, rename))
    rows += rows_not_recorded(recorded, rename)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    tested = table["p_value"].notna()
    table.loc[tested, "p_value"] = holm(table.loc[tested, "p_value"])
    return Drift(
        with_types(table),
        *names,
        recorded.data,
        n,
        judge.number_of_groups,
        at_least,
        level,
        number,
        tables,
        tuple(recorded.notes),
    )


def _check_measures(given: Any) -> list[Measure]:
    """Return the measures; ValueError for one whose value cannot be compared with a threshold for similarities."""
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    if not several:
        raise ValueError("drift needs at least one measure; the list is empty.")
    found = [measures.get(one) for one in several]
    for one in found:
        name = measures.short_name(one)
        check_compares_layers(one, "drift")
        if one.kind != "similarity" or one.range[1] != 1:
            raise ValueError(
                f"drift needs similarities whose best value is 1, since at_least is a similarity; {name} is a"
                f" {one.kind} from {one.range[0]:g} to {one.range[1]:g}. Use 'cka_debiased' or 'rsa'."
            )
        if why := why_unreliable(one):
            raise ValueError(f"drift needs a measure with an interval, and {name} has none: {as_clause(why)}.")
    if len({measures.short_name(one) for one in found}) < len(found):
        raise ValueError(f"The measures must be all different; got {join_names(several)}.")
    return found


def _representations(old: Any, new: Any, data: Any, layers: Any, rename: Mapping[str, str], pool: Any) -> Recorded:
    """Return the recordings of both sides, as given or made of models, and what is known of them."""
    recorded = [isinstance(side, Mapping) for side in (old, new)]
    if all(recorded):
        if data is not None or layers is not None:
            raise TypeError("data and layers are for models; old and new are recordings. Select layers with .where().")
        check_correspondence(old, new)  # here, since the names of layers alone do not show the data
        names = [_model_name(side, word) for side, word in ((old, "old"), (new, "new"))]
        sets = {str(getattr(key, "dataset", "")) for side in (old, new) for key in side}
        return Recorded([old, new], names, ", ".join(sorted(filter(None, sets))), [{}, {}], [(), ()], [])
    if any(recorded) or data is None:
        raise TypeError(
            "drift takes two models and data, rs.drift(old, new, data), or two recordings of the same samples,"
            " rs.drift({layer: array}, {layer: array})."
        )
    from .both_sides import record_both  # recordings need no torch

    return record_both(old, new, data, layers, rename, pool)


def _model_name(side: Mapping[Any, Any], word: str) -> str:
    """Return the name of the model of a recording, or "old" and "new" if it has none."""
    found = {str(getattr(key, "model", "")) for key in side} - {""}
    return found.pop() if len(found) == 1 else word


def _named(table: Comparison, names: tuple[str, str]) -> Comparison:
    """Return a comparison of layers whose labels name the models, too."""
    axes = [
        pd.MultiIndex.from_product([[name], axis], names=["model", "layer"])
        for name, axis in zip(names, table.values.axes, strict=True)
    ]
    values = table.values.set_axis(axes[0], axis=0).set_axis(axes[1], axis=1)
    undefined = {((names[0], row), (names[1], column)): why for (row, column), why in table.undefined.items()}
    return Comparison(values, table.measure, table.n, undefined)


def _by_layer(table: Comparison) -> pd.DataFrame:
    """Return the values with the names of layers alone."""
    return table.values.droplevel("model", axis=0).droplevel("model", axis=1)


def _equal(x: Any, y: Any) -> bool:
    """Return whether two representations are equal, bit for bit."""
    x, y = np.asarray(to_numpy(x)), np.asarray(to_numpy(y))
    return x.shape == y.shape and bool(np.array_equal(x, y))


def _width(x: Any) -> int:
    return int(np.prod(x.shape[1:]))


def _facts(measure: Measure, pair: LayerPair, xs: Mapping[str, Any], ys: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a pair before it is compared."""
    widths = [None if layer is None else _width(side[layer]) for layer, side in ((pair.old, xs), (pair.new, ys))]
    facts = {"measure": measures.short_name(measure), "layer": pair.old, "new_layer": pair.new}
    return facts | {"width": widths[0], "new_width": widths[1]}


class _Judge:
    """Values, interval, chance level and verdict of one layer."""

    def __init__(self, at_least: float, level: float, groups: Any, seed: int, tests: int) -> None:
        self.at_least, self.level, self.groups, self.seed = at_least, level, groups, seed
        self.number_of_groups: int | None = None
        # so many that the adjusted p-value of a layer can be .05
        self.permutations = max(FEWEST_PERMUTATIONS, 20 * tests - 1)

    def __call__(self, measure: Measure, x: Any, y: Any, *, equal: bool) -> dict[str, Any]:
        """Return the cells of a row; equal: whether both sides are equal, bit for bit."""
        notes = []
        if _width(x) != _width(y):
            notes.append("the width differs")
        found: dict[str, Any] = {"value": math.nan, "estimate": math.nan, "low": math.nan, "high": math.nan}
        found |= {"chance": math.nan, "p_value": math.nan}
        if lost := judge_lost(x, y):
            notes += [IDENTICAL] if equal else []
            return found | {"verdict": SAME if equal else lost[0], "note": "; ".join([*notes, lost[1]])}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            codes = codes_of(self.groups, (x, y), len(x))
        grouped = [str(warning.message) for warning in caught]
        if codes is None and groups_of(x) is None and groups_of(y) is None:
            x, y = (_narrow(measure, side) for side in (x, y))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows that look grouped, once more
            try:
                units = SampleUnits(measure, x, y, self.groups, "an interval")
                self.number_of_groups = None if codes is None else units.number
                found["value"] = units.value()
                found |= self._chance(measure, x, y, found["value"], codes)
            except UndefinedError as why:
                notes.append(as_clause(why))
        if equal:
            one = 1.0 if not math.isnan(found["value"]) else math.nan
            found |= {"value": one, "estimate": one, "low": one, "high": one}
            return found | {"verdict": SAME, "note": "; ".join([IDENTICAL, *notes])}
        verdict, doubts = UNDECIDED, list(grouped)
        if not math.isnan(found["value"]):
            ends, problems = self._interval(measure, x, y, found["value"])
            found |= ends
            doubts += [text for text in problems if text not in grouped]
            verdict = self._verdict(ends["low"], ends["high"], bool(doubts), bool(grouped))
            if not ends["low"] <= found["value"] <= ends["high"]:
                notes.append("the value is biased at this number of samples, the interval is corrected")
            if verdict == UNDECIDED and not doubts and (more := self._more_samples(ends, units.number)):
                notes.append(f"about {more:,} {units.name} would decide it, if the estimate stays")
        return found | {"verdict": verdict, "note": "; ".join([*notes, *map(as_clause, doubts)])}

    def _chance(self, measure: Measure, x: Any, y: Any, value: float, codes: Any) -> dict[str, float]:
        """Return the mean under permuted samples, and the p-value of the value."""
        if codes is None:
            try:
                null = null_moments(measure, x, y, seed=self.seed)
                return {"chance": null.mean, "p_value": null.p_value(value)}
            except NotImplementedError:
                pass  # no closed form
        test = permutation_test(measure, x, y, groups=self.groups, n_permutations=self.permutations, seed=self.seed)
        return {"chance": float(np.mean(np.asarray(test.null))), "p_value": test.p_value}

    def _interval(self, measure: Measure, x: Any, y: Any, value: float) -> tuple[dict[str, float], list[str]]:
        """Return the ends of the interval, and why they may not be reliable."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = interval(measure, x, y, groups=self.groups, level=self.level, seed=self.seed)
            except UndefinedError as why:
                if abs(1 - value) <= EQUAL:  # rounding, or a transform that the measure does not see
                    return {"estimate": value, "low": value, "high": value}, []
                return {"low": math.nan, "high": math.nan}, [f"no interval: {as_clause(why)}"]
        ends = {
            "estimate": math.nan if found.estimate is None else float(found.estimate),
            "low": found.low,
            "high": found.high,
        }
        return ends, [
            str(warning.message).removeprefix(f"interval of {measures.short_name(measure)}: ") for warning in caught
        ]

    def _verdict(self, low: float, high: float, doubts: bool, dependent: bool) -> str:
        """Return the verdict that an interval allows.

        A bias that does not fall as 1/n makes sides look more alike than they are, so a layer below the threshold is
        below it. Rows that may depend on each other make the interval too short, so nothing follows from it.
        """
        if not dependent and high < self.at_least:
            return CHANGED
        return SAME if not doubts and low >= self.at_least else UNDECIDED

    def _more_samples(self, ends: Mapping[str, float], n: int) -> int:
        """Return about how many samples make the interval too short to contain the threshold; 0 if far too many."""
        gap, half = abs(ends["estimate"] - self.at_least), (ends["high"] - ends["low"]) / 2
        if not gap * math.sqrt(MOST_MORE) > half:
            return 0
        return int(float(f"{1.2 * n * (half / gap) ** 2:.1g}"))


def _narrow(measure: Measure, x: Any) -> Any:
    """Return a representation of no more features than samples, if the measure gives the same value for it."""
    if x.ndim > 1 and _width(x) > len(x) and "orthogonal" in measure.invariant_to:
        return reduce_features(to_float64(x).reshape(len(x), -1))
    return x
