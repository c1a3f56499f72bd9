"""Warn of columns that a model accepts and does nothing with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from repsim_nb.inputs.models import Model
from repsim_nb.inputs.models.arguments import find_unnamed_columns, list_names
from repsim_nb.support.errors import join_names, warn_user

from .masks import change_values, sum_outputs
from .probe_outputs import Runner


def find_unused_columns(model: Model, prepared: Any, runner: Runner) -> list[str]:
    """The columns that forward does not name, and without which, or with other values of which, no module gives
    anything else.
    """
    names = find_unnamed_columns(model.module, prepared) if isinstance(prepared, Mapping) else []
    base = sum_outputs(runner, prepared) if names else None

    def has_effect(name: str) -> bool:
        others = [{key: value for key, value in prepared.items() if key != name}]
        if isinstance(prepared[name], Tensor) and prepared[name].ndim:
            others.append({**prepared, name: change_values(prepared[name])})
        return any(sum_outputs(runner, other) != base for other in others)

    return [name for name in names if not has_effect(name)]


def warn_unused(model: Model, columns: list[str]) -> None:
    """Warn of columns without effect."""
    column, verb, them = ("column", "has", "it") if len(columns) == 1 else ("columns", "have", "them")
    warn_user(
        f"the {column} {join_names(columns)} {verb} no effect on '{model.name}': its forward does not name {them}, and"
        f" nothing changes without {them}. Leave {them} out, or use the name that the model knows:"
        f" {join_names(list_names(model.module))}"
    )
