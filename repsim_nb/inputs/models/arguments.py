"""The arguments that a model's forward takes, also inside wrappers, and a batch as these arguments."""

from __future__ import annotations

import copy
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.batches import find_label_column, is_graph, is_graphs, is_option, join_graphs
from repsim_nb.inputs.code_analysis import is_ours
from repsim_nb.support.errors import join_names

from .unsupported import missing_inputs


@dataclass(frozen=True)
class Arguments:
    """The arguments of a forward.

    required, optional: names without and with a default.  unnamed: names that can only be given by position.
    any_number: whether it takes *args.  any_name: whether it takes **kwargs.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    unnamed: frozenset[str] = frozenset()
    any_number: bool = False
    any_name: bool = False

    @property
    def names(self) -> list[str]:
        """The arguments that can be given by name."""
        return [name for name in (*self.required, *self.optional) if name not in self.unnamed]


def read_arguments(module: nn.Module) -> Arguments:
    """Return the arguments of a module's forward.

    If the forward of an instance was replaced by one without named arguments, those of its class count.
    """
    found = _read(module.forward)
    if not found.names and found.any_name and "forward" in vars(module):
        return _read(types.MethodType(type(module).forward, module))
    return found


def _read(function: Callable[..., Any]) -> Arguments:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # Python cannot read its signature
        return Arguments(any_number=True, any_name=True)
    places = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    kinds = {p.kind for p in parameters}
    return Arguments(
        tuple(p.name for p in places if p.default is p.empty),
        tuple(p.name for p in places if p.default is not p.empty),
        frozenset(p.name for p in places if p.kind is p.POSITIONAL_ONLY),
        inspect.Parameter.VAR_POSITIONAL in kinds,
        inspect.Parameter.VAR_KEYWORD in kinds,
    )


def find_wrapped(module: nn.Module) -> nn.Module | None:
    """Return what a module wraps: the base model of an adapter, or the one child with all the parameters."""
    base = getattr(module, "get_base_model", lambda: None)()
    if isinstance(base, nn.Module) and base is not module:
        return base
    whole = {id(p) for p in module.parameters()}
    children = [child for child in module.children() if {id(p) for p in child.parameters()} == whole]
    return children[0] if len(children) == 1 else None


def _iterate_receivers(module: nn.Module) -> Iterator[Arguments]:
    """Yield the arguments of a module, and of the modules inside to which it passes any other names."""
    seen: set[int] = set()
    part: nn.Module | None = module
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        found = read_arguments(part)
        yield found
        part = find_wrapped(part) if found.any_name else None


def _explicit_arguments(module: nn.Module) -> Arguments:
    """Return the arguments of a module, or of the first one inside it that takes more than *args and **kwargs."""
    found = Arguments(any_number=True, any_name=True)
    for found in _iterate_receivers(module):
        if found.required or found.optional or not found.any_number:
            break
    return found


def takes_labels(module: nn.Module, label: str, names: Any) -> bool:
    """Return whether forward takes the column of labels.

    It does if it names the column, takes the whole dict of columns (names) as its only argument, or passes any names
    on to a part that names it.
    """
    receiving = list(_iterate_receivers(module))
    hands_on = receiving[-1].any_name and any(
        label in read_arguments(part).names for part in module.modules() if part is not module
    )
    return hands_on or any(label in found.names for found in receiving) or takes_dict(module, names)


def takes_dict(module: nn.Module, names: Any) -> bool:
    """Return whether forward takes a batch as one argument, a dict of these columns.

    It does if it needs one argument and has none of the names.
    """
    found = _explicit_arguments(module)
    return len(found.required) == 1 and not set(names) & set(found.names)


def list_names(module: nn.Module) -> list[str]:
    """List all names that forward takes, also through what it passes names on to."""
    return list(dict.fromkeys(name for found in _iterate_receivers(module) for name in found.names))


def find_unnamed_columns(module: nn.Module, batch: Mapping[str, Any]) -> list[str]:
    """List the columns of a batch that forward does not name; none if it has no named arguments at all."""
    known = list_names(module)
    return [name for name in batch if name not in known] if known and not takes_dict(module, batch) else []


# -- from a batch of the data set to one for the model


def prepare_batch(module: nn.Module, preprocess: Callable[[Any], Any], batch: Any) -> Any:
    """Convert a batch of the data set into the batch that the model takes.

    The column of labels is left out unless forward takes it. A user's own preprocess gets a copy, since it may write
    into its argument.
    """
    if isinstance(batch, (list, tuple)) and batch and all(map(is_graph, batch)):
        batch = join_graphs(batch)
    if label := find_label_column(batch):
        is_taken = takes_labels(module, label, batch)
        batch = {
            name: _class_numbers(column) if name == label else column
            for name, column in batch.items()
            if is_taken or name != label
        }
    if is_ours(getattr(preprocess, "func", preprocess)):
        return batch if is_graphs(batch) else preprocess(batch)  # ours take pictures and sentences
    return preprocess(_copy_batch(batch))


def _copy_batch(batch: Any) -> Any:
    """Return a copy of a batch, which can be written to."""
    if isinstance(batch, Tensor) or is_graphs(batch):
        return batch.clone()
    return batch.copy() if isinstance(batch, (np.ndarray, list)) else copy.deepcopy(batch)


def _class_numbers(column: Any) -> Any:
    """Convert integer labels to int64, which embeddings and losses need."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "iu":
        return column.astype(np.int64, copy=False)
    if not isinstance(column, Tensor) or column.is_floating_point() or column.is_complex():
        return column
    return column if column.dtype == torch.bool else column.long()


def graph_arguments(module: nn.Module, graphs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a `Batch` of graphs as the arguments of forward (args, kwargs).

    It is the only argument, or its parts are arguments by name: x, edge_index, batch, edge_attr and so on. ValueError
    if forward needs an argument that the graphs lack.
    """
    held = list(graphs.keys() if callable(graphs.keys) else graphs.keys)
    known = (
        {name: graphs[name] for name in held}
        if not hasattr(graphs, "node_types")
        else {f"{name}_dict": graphs.collect(name) for name in held}
    )
    found = _explicit_arguments(module)
    # numbers of the graphs, such as num_graphs
    known |= {
        name: number
        for name in found.required
        if name not in known and isinstance(number := getattr(graphs, name, None), int)
    }
    by_name = {name: known[name] for name in found.names if name in known}
    missing = [name for name in found.required if name not in by_name]
    alone = len(found.required) == 1 and (missing or found.required == ("batch",))
    if alone or not (found.required or found.optional):
        return (graphs,), {}
    if missing:
        raise ValueError(
            f"its forward needs {join_names(missing)}, and the graphs have {join_names(sorted(known))}. Give a module"
            " with forward(self, data), or load_model(..., preprocess=function of a Batch that returns a dict of the"
            " arguments)."
        )
    return (), by_name


# -- hints if forward fails


def explain_refusal(module: nn.Module, batch: Any) -> str:
    """Return what may be wrong with a batch that forward failed on, as sentences; "" if nothing was found."""
    if not isinstance(batch, Mapping):
        return ""
    found, hints = _explicit_arguments(module), ""
    strange = (
        []
        if any(one.any_name for one in _iterate_receivers(module))
        else [name for name in batch if name not in found.names]
    )
    if takes_dict(module, batch):
        hints += (
            f". Its forward takes one argument, '{found.required[0]}', and got the dict of the columns"
            f" {join_names(list(batch))}; if it takes an array, name the column '{found.required[0]}'"
        )
    elif strange:
        hints += (
            f". Its forward takes {join_names(found.names, 12)}, and no {join_names(strange)}: leave out what it does"
            " not take. Give targets as rs.Dataset(name, inputs, targets=...)"
        )
    for name, value in batch.items():
        if is_option(value) and not isinstance(value, (str, bool, type(None))):
            hints += (
                f". '{name}' is one value for all samples; if the model needs one for each, give a column, {{'{name}':"
                f" np.full(n, {float(value):g})}}"
            )
    if (label := find_label_column(batch)) and takes_labels(module, label, batch):
        hints += (
            f". The column '{label}' reached forward({label}=). If it is not meant for the model, take it out of the"
            f" columns and give it as targets, rs.Dataset(name, columns, targets={label})"
        )
    return hints + missing_inputs(module, batch)
