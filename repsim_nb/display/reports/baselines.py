"""Trained models against untrained models of the same architectures: what the notebook report_comparison computes."""

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
from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.escaping import literal

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
    """Compare each pair of models at one layer, and their untrained twins at the same layers, with intervals.

    Parameters
    ----------
    measure : str or Measure
    xs : Activations
        Recordings of the models on the same samples.
    untrained : Activations
        Recordings of their twins, `models.untrained_twin(model)`, on these samples. Models without a twin get no
        baseline.
    layers : {model: layer}
        The models to be compared and a layer of each.
    most : int
        At most so many pairs: the most and the least alike.
    seed : int
        Seed of the intervals.

    Returns
    -------
    DataFrame, index (model, other model)
        The most alike pair first: value, low, high (95 % interval over samples), untrained, untrained_low,
        untrained_high, and verdict: "more alike", "less alike" or "no clear difference" (the intervals overlap), each
        against the untrained twins; "" if there is nothing to compare with. Undefined numbers are NaN.

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
    chosen = measures.get(measure)
    pairs = list(itertools.combinations(layers, 2))
    values = pd.Series([_value_of(chosen, xs, pair, layers) for pair in pairs], index=pd.MultiIndex.from_tuples(pairs))
    order = chosen.dissimilarity(values).sort_values(kind="stable").index
    if len(order) > most:
        order = order[: most - most // 2].append(order[-(most // 2) :])
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
    """Write what `compare_with_untrained` found as Markdown: the most and the least alike pair.

    Parameters
    ----------
    found : DataFrame
        What `compare_with_untrained` returns.
    name : str
        The measure.
    layers : {model: layer}
        As for `compare_with_untrained`.

    Returns
    -------
    str

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
    found = [xs.where(model=model, layer=layers[model]) for model in pair if any(key.model == model for key in xs)]
    return [next(iter(one.values())) for one in found]


def _value_of(measure: Measure, xs: Activations, pair: tuple[str, str], layers: Mapping[str, str]) -> float:
    sides = _sides(xs, pair, layers)
    try:
        return measure(*sides) if len(sides) == 2 else math.nan
    except UndefinedError:
        return math.nan


def _interval_of(
    measure: Measure, xs: Activations, pair: tuple[str, str], layers: Mapping[str, str], seed: int, prefix: str
) -> dict[str, float]:
    sides = _sides(xs, pair, layers)
    try:
        found = inference.interval(measure, *sides, seed=seed) if len(sides) == 2 else None
    except ValueError:  # too few samples, or no value without some of them
        found = None
    ends = (math.nan, math.nan) if found is None else (found.low, found.high)
    return {f"{prefix}low": ends[0], f"{prefix}high": ends[1]}


def _judge_ends(row: Mapping[str, float], kind: str) -> str:
    ends = [row[name] for name in ("low", "high", "untrained_low", "untrained_high")]
    if not np.isfinite(ends).all():
        return ""
    above, below = ends[0] > ends[3], ends[1] < ends[2]
    if not above and not below:
        return "no clear difference"
    return "more alike" if above == (kind == "similarity") else "less alike"
