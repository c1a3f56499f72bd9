"""What is checked of an architecture: default layers, rows, mask, store, time.

Each check gives a word and a remark.
"""

from __future__ import annotations

import re
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

import repsim_nb as rs

from .kinds import Architecture, Columns
from .reference import alone, module_name, run, tensors_in

SAMPLES, BATCH = 9, 5
FEW = 2  # forward passes that may check what a store holds, each of one sample
EQUAL, REFUSED, LEFT_OUT, WRONG, NONE = "equal", "refused", "left out", "WRONG", "–"


@dataclass
class Cell:
    """word: equal, refused, left out, WRONG, or –.  why: layer or "" -> the reason."""

    word: str
    why: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass
class Recording:
    """values: layer -> rows.  warned: the texts of all warnings.  error: what was raised instead."""

    values: Mapping[str, np.ndarray]
    warned: list[str]
    error: str = ""

    def reason(self, layer: str) -> str:
        """Why a layer is not there: the sentence of a warning that names it; "" if no warning does."""
        for text in self.warned:
            for piece in text.partition("left out: ")[2].split("; "):
                names, why = re.match(
                    r"((?:'[^']+'(?:, | and )?)*)(?:[^:']*\bmore)?:? ?(.*)", piece, re.DOTALL
                ).groups()
                if f"'{layer}'" in names:
                    return why
            if f"'{layer}'" in text:
                return text
        return ""


def recorded(
    architecture: Architecture, module: nn.Module, columns: Columns, layers: Any = None, **options: Any
) -> Recording:
    data = columns[""] if list(columns) == [""] else columns
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            got = rs.record(
                rs.load_model(module, name="m"),
                data,
                layers,
                pool=architecture.pool,
                progress=False,
                **{"batch_size": BATCH} | options,
            )
        except ValueError as error:
            if "could not run" in str(error):  # it does run: every sample alone
                raise
            return Recording({}, [str(one.message) for one in warned], str(error))
    return Recording(
        {key.layer: np.asarray(values) for key, values in got.items()}, [str(one.message) for one in warned]
    )


def unequal(got: np.ndarray, want: torch.Tensor, close: float) -> str:
    """ "" if rows are equal within `close` of the size of each; else how they differ."""
    right = want.numpy()
    if got.shape != right.shape:
        return f"has rows {got.shape}, right are {right.shape}"
    size = np.sqrt((right**2).mean(1, keepdims=True)).clip(1e-6)
    apart = float((np.abs(got - right) / size).max())
    return "" if apart <= close else f"differs by {apart:.2g} of its size"


def rows(
    architecture: Architecture, module: nn.Module, columns: Columns, got: Recording, one: Any = None
) -> dict[str, str]:
    """Layer -> what is wrong with its recorded rows."""
    unknown = {
        layer: "is recorded, and nobody has written down its layout"
        for layer in got.values
        if architecture.form(layer) is None
    }
    layers = [layer for layer in got.values if layer not in unknown]
    want = alone(architecture, module, columns, SAMPLES, layers, one)
    wrong = {layer: "did not run once in each pass" for layer in layers if want[layer] is None}
    for layer in layers:
        if layer not in wrong and (how := unequal(got.values[layer], want[layer], architecture.close)):
            wrong[layer] = how
        elif layer not in wrong and constant(want[layer].numpy()):
            wrong[layer] = "is the same for all samples"
    return unknown | wrong


def constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values, axis=0).max() <= 1e-5 * max(np.abs(values).max(), 1e-9))


def is_output(architecture: Architecture, module: nn.Module, columns: Columns, layers: Sequence[str]) -> list[str]:
    """Those of some layers that give what the whole module returns: they are recorded once, as "output"."""
    if not layers or "output" not in architecture.expected():
        return []
    want = alone(architecture, module, columns, 2, [*layers, "output"])
    return [layer for layer in layers if want[layer] is not None and torch.equal(want[layer], want["output"])]


def default_layers(
    architecture: Architecture, module: nn.Module, columns: Columns, got: Recording
) -> tuple[Cell, list[str]]:
    """-> the cell, the expected layers that are recorded"""
    expected = architecture.expected()
    if got.error:
        return Cell(REFUSED, {"": got.error}), []
    missing = [layer for layer in expected if layer not in got.values]
    same = is_output(architecture, module, columns, missing) if "output" in got.values else []
    expected, missing = ([layer for layer in some if layer not in same] for some in (expected, missing))
    there = [layer for layer in expected if layer in got.values]
    silent = [layer for layer in missing if not got.reason(layer)]
    disallowed = [layer for layer in missing if layer not in silent and not architecture.may_be_refused(layer)]
    in_order = [layer for layer in got.values if layer in expected] == there
    if silent:
        return Cell(WRONG, dict.fromkeys(silent, "missing without a warning")), there
    if not in_order:
        return Cell(WRONG, {"": f"in another order: {', '.join(got.values)}"}), there
    if missing:
        return (
            Cell(LEFT_OUT, {layer: got.reason(layer) for layer in missing}, "unexpected" if disallowed else ""),
            there,
        )
    return Cell(EQUAL), there


@dataclass
class Found:
    """The cells of one architecture.  time: seconds of recording, seconds of bare forward passes."""

    layers: Cell
    number: str
    rows: Cell
    mask: Cell
    store: Cell
    time: tuple[float, float] | None = None

    def cells(self) -> Iterator[tuple[str, Cell]]:
        return iter((("layers", self.layers), ("rows", self.rows), ("mask", self.mask), ("store", self.store)))


def checked(architecture: Architecture) -> Found:
    """All cells but the time."""
    module, columns = architecture.make(), architecture.columns(SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        into = f"{folder}/store"
        got = recorded(architecture, module, columns, into=into)
        layers, there = default_layers(architecture, module, columns, got)
        wrong = rows(architecture, module, columns, got)
        in_rows = Cell(WRONG, wrong) if wrong else Cell(REFUSED, {"": got.error}) if got.error else Cell(EQUAL)
        number = f"{len(there)} of {len(there) + sum(layer != '' for layer in layers.why)}"
        return Found(
            layers, number, in_rows, masked(architecture, module), stored(architecture, module, columns, got, into)
        )


def masked(architecture: Architecture, module: nn.Module) -> Cell:
    """Padded samples of different lengths, each against itself alone with its padding cut off."""
    if architecture.padded is None:
        return Cell(NONE)
    columns = architecture.padded(SAMPLES)
    got = recorded(architecture, module, columns)
    if got.error:
        return Cell(REFUSED, {"": got.error})
    if wrong := rows(architecture, module, columns, got, architecture.cut):
        return Cell(WRONG, wrong)
    gone = {layer: got.reason(layer) for layer in architecture.expected() if layer not in got.values}
    for layer in is_output(architecture, module, columns, list(gone)) if "output" in got.values else []:
        del gone[layer]
    if silent := [layer for layer, why in gone.items() if not why]:
        return Cell(WRONG, dict.fromkeys(silent, "missing without a warning"))
    unexpected = any(not architecture.may_be_refused(layer) for layer in gone)
    return Cell(LEFT_OUT, gone, "unexpected" if unexpected else "") if gone else Cell(EQUAL)


def stored(architecture: Architecture, module: nn.Module, columns: Columns, first: Recording, into: str) -> Cell:
    """Recorded a second time into a store: equal, with few samples run.

    After a block is steered, what was stored is not given back.
    """
    if first.error:
        return Cell(REFUSED, {"": first.error})
    passes: list[int] = []
    counting = module.register_forward_pre_hook(lambda *_: passes.append(1))
    again = recorded(architecture, module, columns, into=into)
    counting.remove()
    if (
        again.error
        or list(again.values) != list(first.values)
        or any(not np.array_equal(again.values[layer], first.values[layer]) for layer in first.values)
    ):
        return Cell(WRONG, {"": again.error or "the second recording differs from the first"})
    if len(passes) > FEW:
        return Cell(WRONG, {"": f"{len(passes)} forward passes for what is stored"})
    return steered(architecture, module, columns, first, into)


def steered(architecture: Architecture, module: nn.Module, columns: Columns, first: Recording, into: str) -> Cell:
    parts = dict(module.named_modules(remove_duplicate=False))
    blocks = [
        layer for layer in architecture.expected() if layer in first.values and module_name(layer, parts) != "output"
    ]
    if not blocks:
        return Cell(EQUAL, note="without a steered block")
    part = parts[module_name(blocks[0], parts)]

    def add(_module: nn.Module, _inputs: Any, out: Any) -> Any:
        for tensor in tensors_in(out)[:1]:
            tensor.data.add_(5)  # in place: whatever else the output holds stays

    handle = part.register_forward_hook(add)
    try:
        got = recorded(architecture, module, columns, into=into)
        if got.error:
            return Cell(EQUAL, note="steered: refused")
        wrong = rows(architecture, module, columns, got)
        wrong = {
            layer: how for layer, how in wrong.items() if layer in blocks
        }  # other layers are wrong without steering as well
        return (
            Cell(WRONG, {blocks[0]: "5 was added to it by a forward hook, and the old values are given back"})
            if wrong
            else Cell(EQUAL, note="steered: recorded again")
        )
    finally:
        handle.remove()


def seconds(architecture: Architecture, n: int = 200, batch: int = 50, times: int = 5) -> tuple[float, float]:
    """Seconds of recording the default layers of n samples, and of bare forward passes of the same batches; in turn,
    the median of each.
    """
    module, columns = architecture.make(), architecture.columns(n)

    def bare() -> float:
        start = time.perf_counter()
        with torch.no_grad():
            for first in range(0, n, batch):
                run(module, architecture.some(columns, first, first + batch))
        return time.perf_counter() - start

    def ours() -> float:
        start = time.perf_counter()
        got = recorded(architecture, module, columns, batch_size=batch)
        return float("nan") if got.error else time.perf_counter() - start

    bare(), ours()
    both = [(ours(), bare()) for _ in range(times)]
    return statistics.median(one for one, _ in both), statistics.median(other for _, other in both)


def problems(architecture: Architecture, found: Found) -> list[str]:
    """What a test must not let pass: wrong cells, and layers that are left out though nothing says that they may be."""
    said = []
    for name, cell in found.cells():
        if cell.word == WRONG:
            said += [f"{name}: {layer or architecture.name} {why}" for layer, why in cell.why.items()]
        if cell.note == "unexpected":
            said += [
                f"{name}: {layer} is left out: {why}"
                for layer, why in cell.why.items()
                if not architecture.may_be_refused(layer)
            ]
        if cell.word == REFUSED and not architecture.refused:
            said += [f"{name}: refused: {why}" for why in cell.why.values()]
    return said
