"""The choices for a map of models: layers, methods, and attributes of the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from repsim_nb.display.specs.maps import is_amount
from repsim_nb.inputs.models import OUTPUT
from repsim_nb.inputs.store import Activations, Key
from repsim_nb.support.errors import join_names

Attributes: TypeAlias = pd.DataFrame | pd.Series | Mapping[str, Any]  # one row or one value for each model
METHODS = {"MDS (SMACOF)": "smacof", "classical MDS": "classical", "t-SNE": "tsne"}
ALL, NONE = "all layers", "none"
LAST, FIRST = "last hidden", "first hidden"  # of each model, if the names of their layers differ
FIELDS = ("model", "step", "layer")  # of a key, by which points are distinguished


def known_attributes(xs: Activations, attributes: Attributes | None) -> pd.DataFrame:
    """Return the attributes that distinguish models, one row for each model."""
    models = list(dict.fromkeys(key.model for key in xs))
    table = xs.facts if attributes is None else attributes
    if not isinstance(table, (pd.DataFrame, pd.Series, Mapping)):
        raise TypeError(
            "attributes must be a DataFrame with one row for each model, or {model: value}; got"
            f" {type(table).__name__}."
        )
    # one value for each model
    if isinstance(table, pd.Series) or (
        len(table) and not isinstance(table, pd.DataFrame) and not isinstance(next(iter(table.values())), Mapping)
    ):
        table = pd.DataFrame(
            {getattr(table, "name", None) or "attribute": table if isinstance(table, pd.Series) else pd.Series(table)}
        )
    frame = (
        table
        if isinstance(table, pd.DataFrame)
        else pd.DataFrame.from_dict(
            {model: dict(known) for model, known in table.items()}, orient="index"
        ).infer_objects()
    )
    if not frame.index.is_unique:
        raise ValueError(
            f"attributes must have one row for each model; '{frame.index[frame.index.duplicated()][0]}' has several."
        )
    missing = [model for model in models if model not in frame.index]
    if missing and attributes is not None:
        raise ValueError(
            f"attributes must have one row for each model; there is none for {join_names(missing, 3)}, only for"
            f" {join_names(frame.index, 3)}."
        )
    frame = frame.reindex(models)
    plain = [
        name
        for name in frame
        if not frame[name].map(lambda value: isinstance(value, (list, dict, tuple, np.ndarray))).any()
    ]
    return frame[[name for name in plain if list(frame[name]) != models]].rename_axis(index="model")


def has_aligned_models(xs: Activations) -> bool:
    """Return whether one call of `rs.align` chose the samples of all recordings, and no model has two data sets."""
    calls = {xs.aligned.get(key) for key in xs}
    sources = {(key.model, key.dataset) for key in xs}
    return len(calls) == 1 and None not in calls and len(sources) == len({key.model for key in xs})


def layer_choices(xs: Activations) -> dict[str, dict[str, Any]]:
    """Return {name in the drop-down: arguments of Activations.where}."""
    layers: dict[Key, list[str]] = {}
    for key in xs:
        layers.setdefault(key._replace(layer=""), []).append(key.layer)
    every = list(layers.values())
    shared = [name for name in every[0] if all(name in names for names in every)]
    choices: dict[str, dict[str, Any]] = {}
    if any(names != every[0] for names in every):
        ends = {names[-1] == OUTPUT for names in every}
        if len(ends) == 1 and all(len(names) > (OUTPUT in names) for names in every):
            choices[LAST] = {"layer": -2 if True in ends else -1}
            if any(len(names) > 1 + (OUTPUT in names) for names in every):
                choices[FIRST] = {"layer": 0}
    choices |= {name: {"layer": name} for name in shared}
    if any(len(names) > 1 for names in every):
        choices[ALL] = {}
    if not choices:
        raise ValueError(
            f"No layer can be compared over all of these models: {join_names('/'.join(names) for names in every)}."
            " Record the same layers of each, such as layers=-2."
        )
    return choices


def list_distinguishing(xs: Activations, known: pd.DataFrame, most: int, *, amounts: bool) -> list[str]:
    """Return the fields and attributes with different values for different points, but not too many values."""
    candidates = {field: pd.Series([getattr(key, field) for key in xs], name=field) for field in FIELDS} | {
        name: known[name] for name in known
    }
    return [
        name
        for name, values in candidates.items()
        if values.nunique() > 1 and (values.nunique() <= most or (amounts and is_amount(values)))
    ]


def has_meaning(choice: str, layer: str) -> bool:
    """Return whether a color or shape by this choice distinguishes the points of a layer."""
    if choice == "step":
        return layer != ALL  # on a map of all layers, each model has one step
    return choice != NONE and (choice != "layer" or layer in (ALL, LAST, FIRST))


def describe_point(key: Key, known: pd.DataFrame, *, several_steps: bool) -> str:
    """Return lines with the attributes of a point that differ between models."""
    facts = {
        name: value for name, value in known.loc[key.model].items() if known[name].nunique() > 1 and pd.notna(value)
    }
    if several_steps:
        facts = {"step": key.step, **facts}
    return "\n".join(
        f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in {"layer": key.layer, **facts}.items()
    )


def describe_ends(last: Mapping[str, Any]) -> str:
    """Return a text on the step of each model on a map of all layers; "" if all end at the same step."""
    if len(set(last.values())) == 1:
        return ""
    return f"each at its own last step: {join_names([f'{model} at {step}' for model, step in last.items()], 4)}"
