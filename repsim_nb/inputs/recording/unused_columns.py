"""Warn about columns that a model accepts and ignores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models import Model
from repsim_nb.inputs.models.arguments import find_unnamed_columns, list_names
from repsim_nb.support.errors import join_names, warn_user

from .masks import change_values, sum_outputs
from .probe import Probe
from .samples import read_samples


def warn_about_unused_columns(model: Model, dataset: Dataset, probe: Probe) -> None:
    """Warn if columns of the data have no effect on the model.

    Forward does not name them, and no output changes if they are left out or have other values.
    """
    prepared = probe.company.prepared
    names = find_unnamed_columns(model.module, prepared) if isinstance(prepared, Mapping) else []
    given = read_samples(dataset, [0]) if names else {}
    names = [name for name in names if isinstance(given, Mapping) and name in given]  # a preprocess may add others
    base = sum_outputs(probe.runner, prepared) if names else None

    def has_effect(name: str) -> bool:
        others: list[dict[str, Any]] = [{key: value for key, value in prepared.items() if key != name}]
        if isinstance(prepared[name], Tensor) and prepared[name].ndim:
            others.append({**prepared, name: change_values(prepared[name])})
        return any(sum_outputs(probe.runner, other) != base for other in others)

    columns = [name for name in names if not has_effect(name)]
    if not columns:
        return
    column, verb, them = ("column", "has", "it") if len(columns) == 1 else ("columns", "have", "them")
    warn_user(
        f"The {column} {join_names(columns)} {verb} no effect on '{model.name}': its forward does not name {them}, and"
        f" nothing changes without {them}. Leave {them} out, or use a name that forward has:"
        f" {join_names(list_names(model.module))}."
    )
