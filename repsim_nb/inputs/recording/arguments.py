"""Arguments in the wrong order: the model and the data of a recording."""

from __future__ import annotations

from typing import Any

from torch import nn

from repsim_nb.inputs.datasets import Dataset
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
