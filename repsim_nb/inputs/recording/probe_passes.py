"""`ProbePasses`: a few samples run through a model, and the rows that each call of each module gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.models.running import (
    OUTPUT,
    LayerAddress,
    explain_no_logits,
    find_parts,
    find_tensor,
    name_layer,
    parse_layer,
)
from repsim_nb.inputs.models.tracing import Trace
from repsim_nb.inputs.pooling import Pooling, find_masks
from repsim_nb.support.errors import as_clause

from .output_axes import find_layout
from .preparation import Preparation
from .probe_outputs import ModuleCall, Output, Part, Pass, Runner
from .request import LayerRequest
from .row_agreement import Tolerance, differ
from .samples import read_samples


class ProbePasses:
    """The passes of a probe.

    `_run_batch` runs a batch and notes what every module gives; `_run_samples` runs other samples and takes the rows of
    the layers that are known by then.

    run: inside `ready`, with its model in its first state.  given_size: the batch_size of the user, or None.
    """

    reference: Pass  # of all samples, with which other passes are compared
    numbers: list[int]  # the samples of `reference`

    def __init__(self, run: Preparation, request: LayerRequest, pooling: Pooling, given_size: int | None) -> None:
        self.run, self.request, self.pooling, self.given_size = run, request, pooling, given_size
        self.module, self.dataset, self.state = run.model.module, run.dataset, run.state
        self.modules: dict[str, nn.Module] = dict(self.module.named_modules(remove_duplicate=False))
        # hooks do not see what torch.jit compiled; a traced module accepts hooks
        compiled = torch.jit.RecursiveScriptModule  # type: ignore[attr-defined]
        self.scripted = [name for name, part in self.modules.items() if name and isinstance(part, compiled)]
        self.fields: dict[str, list[Part]] = {}  # the requested parts of each requested module
        for layer in request.layers:
            if not self.is_scripted(layer):
                address = self.address_of(layer)
                self.fields.setdefault(address.module, []).extend([] if address.part is None else [address.part])
        self.asked = sorted(self.fields)
        names = [name for name, _ in self.module.named_modules() if not self.is_scripted(name)]
        self.runner = Runner(self.module, run.place, [name_layer(name) or OUTPUT for name in names], run.explain_errors)
        self.tolerance = Tolerance(self.module, run.place)
        self.largest = 1  # bytes of a sample's largest activation
        self.mask_inside = False  # whether the model creates a mask of its tokens that its inputs lack
        self._alone: dict[int, Pass] = {}

    def is_scripted(self, name: str) -> bool:
        """Return whether torch.jit compiled a module."""
        return any(name == part or name.startswith(f"{part}.") for part in self.scripted)

    def address_of(self, layer: str) -> LayerAddress:
        """Return the module of a layer, by the name that its calls are counted under, the call, and the part."""
        name, call, part = parse_layer(layer, self.modules)
        return (
            LayerAddress(name_layer(name), 1, part)
            if name == OUTPUT and call is not None
            else LayerAddress(name, call, part)
        )

    def _start(self, samples: list[int]) -> tuple[Any, Pass]:
        """Return a batch of samples as the data set gives it, and a pass that has not run."""
        batch = read_samples(self.dataset, samples)
        with self.run.explain_errors(batch):
            prepared, masks = self.run.prepare(batch, samples)
        return batch, Pass(samples, prepared, masks)

    def _run_batch(self, samples: list[int], alone: Pass | None = None) -> Pass:
        """Run a batch and note what every module gives.

        With `alone`, the same for one sample, the layout of most outputs is known at once, and their rows are taken.
        """
        batch, one = self._start(samples)
        trace = Trace() if alone is None else None
        with ExitStack() as stack:
            if trace is not None:
                for name, column in one.columns.items():
                    if isinstance(column, Tensor):
                        trace.enter(name, column)
            if not one.masks and (tokens := {shape[:2] for shape in one.shapes.values() if len(shape) < 4}):
                self._watch_for_masks(stack, tokens)
            if trace is not None:
                stack.enter_context(trace)

            def note(name: str, number: int, out: Any) -> None:
                module = self.module if name == OUTPUT else self.modules[parse_layer(name, self.modules).module]
                items = find_parts(module, out) if name in self.asked else []
                parts = [None, *dict.fromkeys([*self.fields.get(name, ()), *items])]
                one.parts[name, number] = parts
                for part in parts:
                    self._note_part((name, number, part), out, one, alone, trace)

            names = list(dict.fromkeys([*self.runner.parts, *self.asked]))
            one.calls, one.stopped = self.runner(one.prepared, names, note, batch)
        return one

    def _watch_for_masks(self, stack: ExitStack, tokens: set[tuple[int, ...]]) -> None:
        """Notice if a module is given a mask of the tokens that differs between samples."""

        def notice(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            self.mask_inside |= any(
                isinstance(value, Tensor)
                and value.dtype == torch.bool
                and tuple(value.shape) in tokens
                and bool((value != value[:1]).any())
                for value in (*args, *kwargs.values())
            )

        for name in {parse_layer(part, self.modules).module for part in self.runner.parts} - {OUTPUT}:
            stack.callback(self.modules[name].register_forward_pre_hook(notice, with_kwargs=True).remove)

    def _note_part(self, call: ModuleCall, out: Any, one: Pass, alone: Pass | None, trace: Trace | None) -> None:
        """Note one part of the output of a module, and its rows if its layout is known."""
        name, number, part = call
        output = one.given[call] = Output(len(one.given))
        try:
            tensor = find_tensor(out, part)
            output.shape, output.address = tuple(tensor.shape), tensor.data_ptr()
            if part is None and isinstance(out, (tuple, list)):
                output.first_of = sum(isinstance(one, Tensor) for one in out)
            output.no_logits = explain_no_logits(out, part) if name == OUTPUT else ""
            output.axes = trace.axes(tensor) if trace is not None else ()
            self.largest = max(self.largest, tensor.numel() * tensor.element_size() // len(one.samples))
            self.tolerance.observe(tensor)
            if name in self.asked:
                output.value = tensor.detach().clone()
                if alone is not None:
                    axis = self.request.axis_of(f"{name}#{number}{label_part(part)}", f"{name}{label_part(part)}")
                    output.layout = find_layout(call, one, alone, self.pooling, axis)
                    self._take_rows(output, one)
        except ValueError as error:
            output.refuse(error)
        except (TypeError, RuntimeError) as error:
            output.problem = f"gives a tensor that cannot be recorded ({first_sentence(error)})"

    def moves_with_padding(self, mask: Tensor) -> bool:
        """Return whether a sample that is padded on the left gives other rows without its padding.

        mask: of the pass of all samples.
        """
        place = int((~mask[:, 0]).int().argmax())
        padding = int(mask[place].int().argmax())
        prepared = {
            name: column[:, padding:]
            if isinstance(column, Tensor) and tuple(column.shape[:2]) == (1, mask.shape[1])
            else column
            for name, column in self._start([self.numbers[place]])[1].columns.items()
        }
        one = self._run_pass(Pass([self.numbers[place]], prepared, find_masks(prepared)), prepared)
        known = {call: self.reference.given[call] for call, output in one.given.items() if output.rows}
        return not known or any(
            differ(one.given[call].rows[0], output.rows[place], output.size, self.tolerance())
            for call, output in known.items()
        )

    def _run_samples(self, samples: list[int]) -> Pass:
        """Run other samples together, and take the rows of the layers that can be recorded so far."""
        batch, one = self._start(samples)
        return self._run_pass(one, batch)

    def _run_pass(self, one: Pass, batch: Any) -> Pass:
        """Run a prepared pass, and take the rows of the layers that can be recorded so far."""

        def note(name: str, number: int, out: Any) -> None:
            for part in self.reference.parts.get((name, number), ()):
                known = self.reference.given[name, number, part]
                if known.problem or not known.rows:
                    continue
                output = one.given[name, number, part] = Output(known.place, layout=known.layout)
                try:
                    output.value = find_tensor(out, part).detach()
                    output.shape = tuple(output.value.shape)
                    self._take_rows(output, one)
                except ValueError as error:
                    output.refuse(error)

        one.calls, one.stopped = self.runner(one.prepared, self.asked, note, batch)
        return one

    def _rows_alone(self, sample: int, call: ModuleCall) -> np.ndarray | None:
        """Return the rows that a call gives for one sample alone; None if there are none."""
        if sample not in self._alone:
            self._alone[sample] = self._run_samples([sample])
        output = self._alone[sample].given.get(call)
        return output.rows[0] if output is not None and output.rows else None

    def _take_rows(self, output: Output, one: Pass) -> None:
        """Keep the rows of an output, once its layout is known, and drop its value."""
        if output.layout is None or output.value is None:
            return
        layout, n = output.layout, len(one.samples)
        mask = one.masks.get(layout.mask) if layout.mask else None
        if layout.mask and mask is None:
            raise ValueError(f"follows '{layout.mask}', which is no mask of 0 and 1 in every batch")
        rows = self.pooling(output.value, n, layout, mask, one.masks).cpu().numpy()
        ends: Iterable[int] = (len(rows) * (i + 1) // n for i in range(n))
        if self.pooling.by_token and mask is not None:
            ends = mask.sum(1).cumsum(0).tolist()
        output.rows = [part.copy() for part in np.split(rows, list(ends)[:-1])]
        if one.samples is self.numbers and self.pooling.name == "mean" and output.value.is_floating_point():
            output.scale = self.pooling(output.value.abs(), n, layout, mask).amax(0).cpu().numpy()
        output.value = None


def label_part(part: Part) -> str:
    """Return how the name of a layer ends for a part of an output."""
    return "" if part is None else f"[{part}]" if isinstance(part, int) else f".{part}"


def first_sentence(error: BaseException) -> str:
    """Return the first line of an error, or of its cause."""
    return as_clause(str(error.__cause__ or error).strip().splitlines()[0][:200])


def are_equal(x: Pass, y: Pass, at: int | None = None, place: int | None = None) -> bool:
    """Return whether the inputs of two passes are equal, or one sample of each (at, place).

    What is no tensor counts as equal.
    """
    for name in x.columns.keys() & y.columns.keys():
        a, b = x.columns[name], y.columns[name]
        if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.ndim and b.ndim):
            continue
        a, b = (a, b) if at is None else (a[at], b[place])
        if a.shape != b.shape:
            return False
        if a.is_floating_point():
            a, b = (one.detach().cpu().float().numpy() for one in (a, b))
            if differ(a, b, 0.0, 1e-3):
                return False
        elif not torch.equal(a, b):
            return False
    return True
