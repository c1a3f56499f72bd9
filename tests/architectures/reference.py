"""The right rows: a forward pass of each sample alone, plain torch hooks, the mean over the places of the layer's own
layout.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .kinds import Architecture, Columns, Form


def tensors_in(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out] if out.ndim else []
    if isinstance(out, Mapping):
        return [tensor for value in out.values() for tensor in tensors_in(value)]
    if dataclasses.is_dataclass(out):
        return [tensor for field in dataclasses.fields(out) for tensor in tensors_in(getattr(out, field.name))]
    return [tensor for value in out for tensor in tensors_in(value)] if isinstance(out, (tuple, list)) else []


def part_of(out: Any, part: str | int | None) -> Tensor:
    """The tensor that is meant: of a tuple the one at that place, of a mapping or a dataclass that field; None: the
    first tensor.
    """
    if isinstance(part, str):
        out = out[part] if isinstance(out, Mapping) else getattr(out, part)
    elif part is not None:
        out = out[part] if isinstance(out, (tuple, list)) else tensors_in(out)[part]
    return tensors_in(out)[0]


def row_of(out: Tensor, form: Form, real: int | None) -> Tensor:
    """The row (p,) of one sample, from its output as a batch of one.  real: how many places from the left count; None:
    all.
    """
    out = out.detach().double()
    if form.kind == "row":
        return out.flatten()
    if form.kind == "channels":
        at = out[0].flatten(1).mT
    elif form.kind == "time_first":
        at = out[:, 0]
    elif form.kind == "flat":
        at = out
    else:
        at = out[0].flatten(0, -2)
    return at[:real].mean(0)


def run(module: nn.Module, columns: Columns) -> Any:
    return module(**columns) if list(columns) != [""] else module(columns[""])


def alone(
    architecture: Architecture,
    module: nn.Module,
    columns: Columns,
    n: int,
    layers: Sequence[str],
    one: Callable[[Columns, int], Columns] | None = None,
) -> dict[str, Tensor | None]:
    """Layer -> its rows (n, p), each from a forward pass of that sample alone; None for a layer that did not run.

    name#k is the k-th call of a module in one pass, "output" what the whole module returns.
    """
    module = copy.deepcopy(module).eval()
    parts, calls = dict(module.named_modules(remove_duplicate=False)), {}
    forms = {layer: architecture.form(layer) for layer in layers}
    found: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    wanted: dict[str, list[str]] = {}
    for layer in layers:
        wanted.setdefault(module_name(layer, parts), []).append(layer)
    given: Columns = {}

    def take(layer: str, out: Any) -> None:
        form = forms[layer]
        real = None if form.real is None or form.real not in given else int(given[form.real].sum())
        found[layer].append(row_of(part_of(out, form.part), form, real))

    def hook(name: str) -> Callable[..., None]:
        def see(_module: nn.Module, _inputs: Any, out: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            for layer in wanted[name]:
                if call_of(layer) in (None, calls[name]):
                    take(layer, out)

        return see

    handles = [parts[name].register_forward_hook(hook(name)) for name in wanted if name and name != "output"]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for i in range(n):
            calls.clear()
            given = one(columns, i) if one else architecture.some(columns, i, i + 1)
            with torch.no_grad():
                out = run(module, given)
            for layer in wanted.get("output", ()):
                take(layer, out)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    return {layer: torch.stack(rows) if len(rows) == n else None for layer, rows in found.items()}


def module_name(layer: str, parts: Mapping[str, nn.Module]) -> str:
    """Which module a layer is the output of: "block#2" is the second call of block, "block[1]" the second tensor that
    it gives.
    """
    base = re.sub(r"(#\d+)?(\[\d+\])?$", "", layer)
    return base if base in parts and base != "output" else "output" if base.partition(".")[0] == "output" else base


def call_of(layer: str) -> int | None:
    call = re.search(r"#(\d+)", layer)
    return int(call[1]) if call else None
