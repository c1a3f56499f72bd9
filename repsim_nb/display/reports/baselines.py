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
from repsim_nb.support.errors import UndefinedError, check_name, join_names
from repsim_nb.support.escaping import literal
from repsim_nb.support.validation import check_integer

if TYPE_CHECKING:
    from repsim_nb.inputs.store import Activations


def compare_with_untrained(
    measure: str | Measure,
    xs: Activations,
    untrained: Activations,
    layers: Mapping[str, str],
    *,
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
        Recordings of their untrained twins on the same samples: models named "untrained-" and the name of the model,
        as `models.untrained_twin` names them. Pairs with a model without a twin have no baseline.
    layers : {model: layer}
        The models to compare, at least two, and a layer of each.
    most : int
        The largest number of pairs: half of them the most similar ones, the others the least similar ones.
    seed : int
        Seed of the intervals.

    Returns
    -------
    DataFrame, index (model, other model)
        One row for each pair, the most similar one first. Columns: "value" of the measure, its 95 % confidence interval
        over samples "low" to "high"; the same of the untrained twins, "untrained", "untrained_low", "untrained_high";
        and "verdict". The verdict is "more alike" or "less alike" if the two intervals do not overlap and the models
        are more or less similar than their twins, "no clear difference" if they overlap, and "" if an interval is
        missing. Undefined numbers are NaN.

    Raises
    ------
    ValueError
        If the measure, a model or a layer is unknown, there are fewer than two models, `most` is below 1, or a model
        has several recordings of the layer.

    Examples
    --------
    >>> from repsim_nb import reports
    >>> rng = np.random.default_rng(0)
    >>> a, noise = rng.normal(size=(60, 4)), rng.normal(size=(3, 60, 4))
    >>> x = rs.from_arrays({"a/fc": a, "b/fc": a + 0.3 * noise[0]})
    >>> y = rs.from_arrays({"untrained-a/fc": noise[1], "untrained-b/fc": noise[2]})
    >>> reports.compare_with_untrained("cka_debiased", x, y, {"a": "fc", "b": "fc"})["verdict"].tolist()
    ['more alike']
    """
    chosen, most = measures.get(measure), check_integer(most, "most", minimum=1)
    if len(layers) < 2:
        raise ValueError(f"layers must have at least 2 models to compare; got {len(layers)}.")
    recorded = list(dict.fromkeys(key.model for key in xs))
    for model in layers:
        check_name("model", model, recorded)
    pairs = list(itertools.combinations(layers, 2))
    values = pd.Series([_value_of(chosen, xs, pair, layers) for pair in pairs], index=pd.MultiIndex.from_tuples(pairs))
    order = chosen.dissimilarity(values).sort_values(kind="stable").index
    if len(order) > most:
        order = order[: most - most // 2].append(order[len(order) - most // 2 :])
    rows = []
    for pair in order:
        row = {"value": values[pair]} | _interval_of(chosen, xs, pair, layers, seed, "")
        twins = f"untrained-{pair[0]}", f"untrained-{pair[1]}"
        at = dict(zip(twins, (layers[model] for model in pair), strict=True))
        row |= {"untrained": _value_of(chosen, untrained, twins, at)}
        row |= _interval_of(chosen, untrained, twins, at, seed, "untrained_")
        rows.append(row | {"verdict": _judge_ends(row, chosen.kind)})
    return pd.DataFrame(rows, index=order.set_names(["model", "other model"]))


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


def _sides(xs: Activations, pair: tuple[str, str], layers: Mapping[str, str]) -> list[np.ndarray]:
    """Return the representations of the models of a pair that were recorded."""
    found = [xs.where(model=model, layer=layers[model]) for model in pair if any(key.model == model for key in xs)]
    for one in found:
        if len(one) > 1:
            raise ValueError(
                f"compare_with_untrained needs one recording for each model and layer; got {join_names(one, 4)}. Select"
                " one with .where()."
            )
    return [next(iter(one.values())) for one in found]


def _value_of(measure: Measure, xs: Activations, pair: tuple[str, str], layers: Mapping[str, str]) -> float:
    """Return the value of a pair; NaN if it is undefined or a model was not recorded."""
    sides = _sides(xs, pair, layers)
    try:
        return measure(*sides) if len(sides) == 2 else math.nan
    except UndefinedError:
        return math.nan


def _interval_of(
    measure: Measure, xs: Activations, pair: tuple[str, str], layers: Mapping[str, str], seed: int, prefix: str
) -> dict[str, float]:
    """Return the ends of the interval of a pair; NaN if there is none."""
    sides = _sides(xs, pair, layers)
    try:
        found = inference.interval(measure, *sides, seed=seed) if len(sides) == 2 else None
    except ValueError:  # too few samples, or no value without some of them
        found = None
    ends = (math.nan, math.nan) if found is None else (found.low, found.high)
    return {f"{prefix}low": ends[0], f"{prefix}high": ends[1]}


def _judge_ends(row: Mapping[str, float], kind: str) -> str:
    """Return the verdict from the ends of both intervals."""
    ends = [row[name] for name in ("low", "high", "untrained_low", "untrained_high")]
    if not np.isfinite(ends).all():
        return ""
    above, below = ends[0] > ends[3], ends[1] < ends[2]
    if not above and not below:
        return "no clear difference"
    return "more alike" if above == (kind == "similarity") else "less alike"
