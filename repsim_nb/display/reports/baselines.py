"""Compare trained models with untrained models of the same architectures: the headline of report_comparison."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.results import inference
from repsim_nb.results.inference.intervals import FEWEST_SAMPLES, why_unreliable
from repsim_nb.support.errors import UndefinedError, check_name, join_names
from repsim_nb.support.escaping import literal
from repsim_nb.support.validation import check_integer

if TYPE_CHECKING:
    from repsim_nb.inputs.store import Activations

_COLUMNS = ["value", "low", "high", "untrained", "untrained_low", "untrained_high", "verdict", "note"]


def compare_with_untrained(
    measure: str | Measure,
    xs: Activations,
    untrained: Activations,
    layers: Mapping[str, str],
    *,
    twins: Mapping[str, str],
    most: int = 12,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare pairs of models with the same pairs of untrained models, with confidence intervals.

    Two untrained models of the same architectures are often similar, too: their value is the baseline for a pair.

    Parameters
    ----------
    measure : str or Measure
        A short name such as "cka_debiased", or a measure.
    xs : Activations
        Recordings of the models on the same samples, one for each model and layer.
    untrained : Activations
        Recordings of their untrained twins, `models.untrained_twin(model)`, on the same samples.
    layers : {model: layer}
        The models to compare, at least two, and a layer of each.
    twins : {model: twin}
        The name of the twin of each model. Models without a twin, or whose twin has no recording of the layer, have no
        baseline.
    most : int
        The largest number of pairs. If there are more, half of them are the most similar pairs with a value, and the
        others the least similar ones.
    seed : int
        Seed of the intervals.

    Returns
    -------
    DataFrame, index (model, other model)
        One row for each pair, the most similar one first, pairs without a value last. Columns: "value" of the measure,
        its 95 % confidence interval over samples "low" to "high"; the same of the untrained twins, "untrained",
        "untrained_low", "untrained_high"; "verdict"; and "note", the reason for a missing interval. The verdict is
        "more alike" or "less alike" if the two intervals do not overlap and the models are more or less similar than
        their twins, "no clear difference" if they overlap, and "" if an interval is missing. Undefined numbers are NaN.

    Raises
    ------
    ValueError
        If the measure, a model or a layer is unknown, there are fewer than two models, `most` is below 1, or a model
        has several recordings of the layer.

    Notes
    -----
    Measures whose intervals are not calibrated (`mutual_knn`, `jaccard_knn`, `cknna`, `linear_predictivity`) have
    neither intervals nor verdicts here.

    Examples
    --------
    >>> from repsim_nb import reports
    >>> rng = np.random.default_rng(0)
    >>> a, noise = rng.normal(size=(60, 4)), rng.normal(size=(3, 60, 4))
    >>> x = rs.from_arrays({"a/fc": a, "b/fc": a + 0.3 * noise[0]})
    >>> y = rs.from_arrays({"untrained-a/fc": noise[1], "untrained-b/fc": noise[2]})
    >>> twins = {"a": "untrained-a", "b": "untrained-b"}
    >>> found = reports.compare_with_untrained("cka_debiased", x, y, {"a": "fc", "b": "fc"}, twins=twins)
    >>> found["verdict"].tolist()
    ['more alike']
    """
    chosen, most = measures.get(measure), check_integer(most, "most", minimum=1)
    if len(layers) < 2:
        raise ValueError(f"layers must have at least 2 models to compare; got {len(layers)}.")
    recorded = list(dict.fromkeys(key.model for key in xs))
    for model in layers:
        check_name("model", model, recorded)
    trained = {model: _recording_of(xs, model, layer) for model, layer in layers.items()}
    there = {(key.model, key.layer) for key in untrained}
    baselines = {
        model: _recording_of(untrained, twins[model], layer) if (twins.get(model), layer) in there else None
        for model, layer in layers.items()
    }
    pairs = list(itertools.combinations(layers, 2))
    values = pd.Series(
        [_value_of(chosen, trained[a], trained[b]) for a, b in pairs], index=pd.MultiIndex.from_tuples(pairs)
    )
    order = chosen.dissimilarity(values).sort_values(kind="stable").index
    if len(order) > most:
        order = order[: values.count()]
    if len(order) > most:
        order = order[: most - most // 2].append(order[len(order) - most // 2 :])
    rows = []
    for a, b in order:
        low, high, note = _interval_of(chosen, trained[a], trained[b], seed)
        row = {"value": values[a, b], "low": low, "high": high}
        row["untrained"] = _value_of(chosen, baselines[a], baselines[b])
        row["untrained_low"], row["untrained_high"], other = _interval_of(chosen, baselines[a], baselines[b], seed)
        rows.append(row | {"verdict": _judge_ends(row, chosen.kind), "note": note or other})
    return pd.DataFrame(rows, index=order.set_names(["model", "other model"]), columns=_COLUMNS)


def headline(found: pd.DataFrame, name: str, layers: Mapping[str, str]) -> str:
    """Describe the result of `compare_with_untrained` in sentences: the most and the least similar pair.

    Parameters
    ----------
    found : DataFrame
        What `compare_with_untrained` returns.
    name : str
        The name of the measure in the text.
    layers : {model: layer}
        As for `compare_with_untrained`.

    Returns
    -------
    str
        Markdown: one sentence for one pair; otherwise a list with the most and the least similar pair, and the number
        of pairs with each verdict.

    Examples
    --------
    >>> from repsim_nb import reports
    >>> columns = ["value", "low", "high", "untrained", "untrained_low", "untrained_high", "verdict"]
    >>> found = pd.DataFrame([[0.9, 0.8, 1, 0.5, 0.4, 0.6, "more alike"]], [("a", "b")], columns)
    >>> print(reports.headline(found, "cka", {"a": "fc", "b": "fc"}))
    <code>a/fc</code> and <code>b/fc</code> are **more alike** than untrained models of the same architectures: cka
    **0.90** (0.80 to 1.00) against **0.50** (0.40 to 0.60). In brackets are 95 % intervals over samples.
    """
    rows = found[found["value"].notna()]
    if not len(rows):
        return f"No pair of models has a value of {name}; the caveats say why."
    if len(rows) == 1:
        text = _sentence(rows.index[0], rows.iloc[0], name, layers)
    else:
        ends = (("Most alike", 0), ("Least alike", -1))
        text = "\n".join(f"- {word}: {_sentence(rows.index[k], rows.iloc[k], name, layers)}" for word, k in ends)
        counts = rows["verdict"].value_counts()
        known = [
            f"{counts[word]} {word}" for word in ("more alike", "no clear difference", "less alike") if word in counts
        ]
        if known:
            text += f"\n- Of {len(rows)} pairs, against untrained models: {', '.join(known)}.\n\n"
    return text + " In brackets are 95 % intervals over samples." * bool(rows["low"].notna().any())


def _sentence(pair: tuple[str, str], row: pd.Series, name: str, layers: Mapping[str, str]) -> str:
    """Describe one pair in a sentence."""

    def number(of: str, low: str, high: str) -> str:
        interval = f" ({row[low]:.2f} to {row[high]:.2f})" if pd.notna(row[low]) else ""
        return f"**{row[of]:.2f}**{interval}"

    sides = " and ".join(literal(f"{model}/{layers[model]}") for model in pair)
    value = f"{name} {number('value', 'low', 'high')}"
    if pd.isna(row["untrained"]):
        return f"{sides}: {value}, without an untrained baseline."
    against = f"{value} against {number('untrained', 'untrained_low', 'untrained_high')}"
    if row["verdict"] in ("more alike", "less alike"):
        return f"{sides} are **{row['verdict']}** than untrained models of the same architectures: {against}."
    if row["verdict"]:
        return f"{sides} show **no clear difference** from untrained models of the same architectures: {against}."
    return f"{sides}, and untrained models of the same architectures: {against}."


def _recording_of(xs: Activations, model: str, layer: str) -> np.ndarray:
    """Return the only recording of a model at a layer."""
    found = xs.where(model=model, layer=layer)
    if len(found) > 1:
        raise ValueError(
            f"compare_with_untrained needs one recording for each model and layer; got {join_names(found, 4)}. Select"
            " one with .where()."
        )
    return next(iter(found.values()))


def _value_of(measure: Measure, x: np.ndarray | None, y: np.ndarray | None) -> float:
    """Return the value of a pair; NaN if it is undefined or a twin was not recorded."""
    if x is None or y is None:
        return math.nan
    try:
        return measure(x, y)
    except UndefinedError:
        return math.nan


def _interval_of(measure: Measure, x: np.ndarray | None, y: np.ndarray | None, seed: int) -> tuple[float, float, str]:
    """Return both ends of the interval of a pair; NaN and the reason if there is none that can be trusted."""
    if x is None or y is None:
        return math.nan, math.nan, ""
    name = measures.short_name(measure)
    if why := why_unreliable(measure):
        return math.nan, math.nan, f"{name} has no reliable interval: {why}"
    if len(x) < FEWEST_SAMPLES:
        return math.nan, math.nan, f"An interval needs at least {FEWEST_SAMPLES} samples; there are {len(x)}."
    try:
        found = inference.interval(measure, x, y, seed=seed)
    except UndefinedError as error:
        return math.nan, math.nan, f"{name} has no interval: {error}"
    return found.low, found.high, ""


def _judge_ends(row: Mapping[str, float], kind: str) -> str:
    """Return the verdict from the ends of both intervals."""
    ends = [row[name] for name in ("low", "high", "untrained_low", "untrained_high")]
    if not np.isfinite(ends).all():
        return ""
    above, below = ends[0] > ends[3], ends[1] < ends[2]
    if not above and not below:
        return "no clear difference"
    return "more alike" if above == (kind == "similarity") else "less alike"
