"""Models and data that a recording refuses: in the wrong order, or two models that are one module."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from torch import nn

from repsim_nb.inputs.code_analysis import is_ours
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.fingerprints import fingerprint_settings
from repsim_nb.inputs.models import Model
from repsim_nb.support.containers import is_array, type_name


def refuse_swapped(model: Any, data: Any) -> None:
    """Raise TypeError, with the right call of `record`, if the data is a model, or the model is data."""
    if _is_model(data) or isinstance(model, Dataset) or is_array(model):
        raise TypeError(
            f"the model comes first and the data second, rs.record(model, data); got {_name(model)} and {_name(data)},"
            " in this order."
        )


def refuse_model(data: Any) -> None:
    """Raise TypeError if data is a model."""
    if _is_model(data):
        raise TypeError(
            "the data comes after the models, rs.record(model, data) or rs.stream(model_a, model_b, data); got"
            f" {_name(data)} as data."
        )


def _is_model(given: Any) -> bool:
    if isinstance(given, (list, tuple)):
        return any(map(_is_model, given))
    return isinstance(given, (nn.Module, Model)) or (isinstance(given, str) and given.startswith(("zoo:", "timm:")))


def _name(given: Any) -> str:
    return repr(given) if isinstance(given, str) else f"a {type_name(given)}"


def refuse_shared(models: Sequence[Model], steps: Sequence[Any] = ()) -> None:
    """Raise ValueError if two models run one module with one preprocess.

    One module with two kinds of preprocess is two models, and so are two models that have only a part in common. A PEFT
    model runs its base, which contains the adapters.

    steps: of each model, since names may repeat.
    """
    labels = [
        f"'{model.name}'" + (f" at step {step}" if len(set(steps)) > 1 else "")
        for model, step in itertools.zip_longest(models, steps)
    ]
    first: dict[int, list[int]] = {}  # id of a module -> its places in the list
    for place, model in enumerate(models):
        module = _inside(model.module)
        for other in first.setdefault(id(module), []):
            if _alike(model.preprocess, models[other].preprocess):
                raise ValueError(
                    f"{labels[other]} and {labels[place]} are one module, a {type(module).__name__}: both would be"
                    " recorded with the weights and adapters that it has now. Record one after the other, each while"
                    " the module has the right weights, into a store or into two variables; or give each a module of"
                    " its own, load_model(copy.deepcopy(module), name=...), before it changes."
                )
        first[id(module)].append(place)


def _inside(module: nn.Module) -> nn.Module:
    """Return the module that runs.

    It is inside a wrapper of this package, which is created each time, and inside the models of PEFT.
    """
    kind, tuner = type(module).__module__, getattr(module, "base_model", None)
    inside = getattr(tuner, "model", None)
    if is_ours(module):
        return next((value for value in vars(module).values() if isinstance(value, nn.Module)), module)
    if kind.startswith("peft.") and type(tuner).__module__.startswith("peft.") and isinstance(inside, nn.Module):
        return inside
    return module


def _alike(one: Any, other: Any) -> bool:
    """Return whether two preprocesses do the same."""
    name = getattr(one, "name", None)
    if type(one) is type(other) and is_ours(one) and name is not None and dataclasses.is_dataclass(other):
        other = dataclasses.replace(other, name=name)  # type: ignore[type-var]  # errors call the model so
    return one is other or fingerprint_settings(one) == fingerprint_settings(other)
