"""Columns that a model swallows: its forward takes any names, and does nothing with these."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from repsim_nb.inputs.models import Model
from repsim_nb.inputs.models.arguments import names_of, unnamed
from repsim_nb.support.errors import join_names

from .layout import module_sums, other_values
from .passes import Runner


def unused(model: Model, prepared: Any, runner: Runner) -> list[str]:
    """The columns that forward does not name, and without which, or with other values of which, no module gives
    anything else.
    """
    names = unnamed(model.module, prepared) if isinstance(prepared, Mapping) else []
    base = module_sums(runner, prepared) if names else None

    def has_effect(name: str) -> bool:
        others = [{key: value for key, value in prepared.items() if key != name}]
        if isinstance(prepared[name], Tensor) and prepared[name].ndim:
            others.append({**prepared, name: other_values(prepared[name])})
        return any(module_sums(runner, other) != base for other in others)

    return [name for name in names if not has_effect(name)]


def warn_unused(model: Model, columns: list[str]) -> None:
    """One warning at the line of the user's call, four calls up."""
    many = len(columns) > 1
    warnings.warn(
        f"the column{'s' if many else ''} {join_names(columns)} {'have' if many else 'has'} no effect on '{model.name}':"
        f" its forward does not name {'them' if many else 'it'}, and nothing changes without"
        f" {'them' if many else 'it'}. Leave {'them' if many else 'it'} out, or use the name that the model knows:"
        f" {join_names(names_of(model.module))}",
        stacklevel=5,
    )
