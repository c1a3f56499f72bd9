"""What can be recorded of a model on a data set: a few samples, run alone and in company, show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.inputs.models.axes import features_of
from repsim_nb.inputs.models.layers import CONTAINERS
from repsim_nb.inputs.models.running import (
    OUTPUT,
    Address,
    address_of,
    around,
    as_layer,
    parts_of,
    tensor_of,
    unlike_logits,
)
from repsim_nb.inputs.models.state import State
from repsim_nb.inputs.models.tracing import Trace
from repsim_nb.inputs.pooling import TOKENS, Layout, Pooling, masks_of

from .agreement import REORDERED, Tolerance, all_agree, differ, is_reordered, likely_cause
from .layout import layout_of, resolve
from .padding import is_mask_inside
from .passes import Call, Output, Part, Pass, Runner
from .samples import at_the_ends, batch_of, pick, shortest_first

SAMPLES = 8  # in a batch of the probe
EXTRA = 12  # in its last batch, with samples from the ends of a full batch
MAX_BATCH = 250  # samples a pass, unless told
BATCH_BYTES = (
    2**26
)  # of the largest activation in a pass, unless told: larger ones leave the caches, and take twice as long
PROBE_BYTES = 2**28  # that one activation of all the probe's samples may take


@dataclass(frozen=True)
class Layer:
    """A layer that can be recorded.

    shape, dtype: of one row.  place: where it stands in forward order.  rows: how many rows a sample gives; None: one
    for every real token.
    layout: how its output lies.  part: which part of the module's output it is.  size: the root mean square of its
    values.
    expected: sample -> its rows (rows, p), as the probe saw them.  no_logits: of an output, why it cannot be compared
    as logits.
    scale: how large the values are of which a row's numbers are means; None if they are no means.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    place: int
    rows: int | None = 1
    layout: Layout = Layout()
    part: Part = None
    size: float = 0.0
    expected: Mapping[int, np.ndarray] = field(default_factory=dict)
    no_logits: str = ""
    scale: np.ndarray | None = None


class Probe:
    """Runs a few samples in four passes: one alone; the same at the head, in the middle and at the end of a batch; the
    others in two batches without it.

    Called, it returns the layers that can be recorded, in forward order. `problems` then has the reason for all others.
    `silent` are layers that
    need no warning: they never ran.

    module: in evaluation mode, with its first state.  layers: those that may be asked for.  batch_size: None to choose
    one. prepare(batch, samples): inputs as the model takes them, and their masks.  axis_of(*names): the axis of a
    layer's features, if the user gave it for one of its names.
    """

    def __init__(
        self,
        module: nn.Module,
        dataset: Dataset,
        layers: Sequence[str],
        pooling: Pooling,
        batch_size: int | None,
        place: torch.device,
        state: State,
        prepare: Callable[[Any, Sequence[int]], tuple[Any, dict[str, Tensor]]],
        errors: Callable[..., Any],
        axis_of: Callable[..., int | None],
    ) -> None:
        self.module, self.dataset, self.layers, self.pooling, self.given_size, self.state = (
            module,
            dataset,
            layers,
            pooling,
            batch_size,
            state,
        )
        self.prepare, self.errors = prepare, errors
        self.modules: dict[str, nn.Module] = dict(module.named_modules(remove_duplicate=False))
        self.scripted = [
            name for name, part in self.modules.items() if name and isinstance(part, torch.jit.RecursiveScriptModule)
        ]  # a traced one takes hooks
        addresses = {layer: self._address(layer) for layer in layers if not self._inside_scripted(layer)}
        self.asked = sorted({address.module for address in addresses.values()})
        self.fields = {
            address.module: [
                other.part for other in addresses.values() if other.module == address.module and other.part is not None
            ]
            for address in addresses.values()
        }
        self.axis_of = axis_of
        self.runner = Runner(
            module,
            place,
            [as_layer(name) or OUTPUT for name in dict(module.named_modules()) if not self._inside_scripted(name)],
            errors,
        )
        self.tolerance = Tolerance(module, place)
        self.problems: dict[str, str] = {}
        self.silent: set[str] = set()
        self.calls: dict[str, Call] = {}  # layer -> the call of a module that it is
        self.largest = 1  # bytes of a sample's largest activation
        self.mask_inside = False  # does the model make a mask of its tokens that its inputs lack
        self.changes_itself = False  # does a pass leave something behind in the model: a counter, a cache, a state
        self.single_rows: dict[str, np.ndarray] = {}  # of layers that mix samples, where each batch is one sample
        self._singles: dict[int, Pass] = {}

    def __call__(self) -> dict[str, Layer]:
        most = max(2, min(SAMPLES, self.given_size or SAMPLES))
        numbers = pick(self.dataset, most)
        self.one, *others = shortest_first(numbers, self._start(numbers)[1].prepared)
        alone = self._look([self.one])
        most = min(most, max(2, PROBE_BYTES // self.largest))  # fewer samples where activations are large
        if most > 4:
            others = others[: most - 3]
            self.numbers = [self.one, *others[: len(others) // 2], self.one, *others[len(others) // 2 :], self.one]
        else:
            others = others[: most - 1]
            self.numbers = [*others[::2], self.one, *others[1::2]]
        company = self._look(self.numbers, alone)
        if company.stopped and self.given_size == 1 and not alone.stopped:  # it may take one sample at a time only
            self.numbers, others = [self.one], []
            company = self._look(self.numbers, alone)
        if company.stopped:
            raise company.stopped
        self.company = company
        self.batch_size = self.given_size or max(1, min(MAX_BATCH, BATCH_BYTES // self.largest))
        self.masked = (
            resolve(self.runner, company, self.pooling, self._take_rows, self.tolerance()) if company.masks else set()
        )
        self._name_layers(alone)
        self._compare(self._checks_alone(alone))
        self._check_company(others)
        self.changes_itself = self.state.restore()  # the recording begins as the probe did
        return dict(
            sorted(
                ((layer, self._layer(layer)) for layer in self.calls if layer not in self.problems),
                key=lambda item: item[1].place,
            )
        )

    def _layer(self, layer: str) -> Layer:
        output = self.company.given[self.calls[layer]]
        by_sample = not self.pooling.by_token or output.layout.mask is None
        expected = self.seen[layer] | dict(zip(self.numbers, output.rows, strict=True))
        if layer in self.single_rows:
            expected = {self.one: self.single_rows[layer]}
        part = self.calls[layer][2]
        chosen = self.pooling.own is not None or self.pooling.name in (
            "first",
            "last",
            TOKENS,
        )  # the rows are one place's
        no_logits = "" if chosen and "every place" in output.no_logits else output.no_logits
        return Layer(
            output.rows[0].shape[1:],
            output.rows[0].dtype,
            output.place,
            len(output.rows[0]) if by_sample else None,
            output.layout,
            part,
            output.size,
            expected,
            no_logits,
            output.scale,
        )

    # -- running
    # -----------------------------------------------------------------------------------------------------------

    def _start(self, samples: list[int]) -> tuple[Any, Pass]:
        batch = batch_of(self.dataset, samples)
        with self.errors(batch):
            prepared, masks = self.prepare(batch, samples)
        return batch, Pass(samples, prepared, masks)

    def _look(self, samples: list[int], alone: Pass | None = None) -> Pass:
        """Run a batch and note what every module gives.

        With `alone`, the same of one sample, it is known at once how most outputs lie, and their rows are taken.
        """
        batch, one = self._start(samples)
        sizes = one.sizes
        trace = Trace() if alone is None else None
        for name, column in (
            (one.prepared.items() if isinstance(one.prepared, Mapping) else [("", one.prepared)])
            if trace is not None
            else ()
        ):
            if isinstance(column, Tensor):
                trace.enter(name, column)

        def note(name: str, number: int, out: Any) -> None:
            module = self.module if name == OUTPUT else self.modules[address_of(name, self.modules).module]
            one.parts[name, number] = [
                None,
                *dict.fromkeys([*self.fields.get(name, ()), *(parts_of(module, out) if name in self.asked else ())]),
            ]
            for part in one.parts[name, number]:
                note_part((name, number, part), out)

        def note_part(call: Call, out: Any) -> None:
            output = one.given[call] = Output(len(one.given))
            try:
                tensor = tensor_of(out, call[2])
                output.shape, output.address = tuple(tensor.shape), tensor.data_ptr()
                output.first_of = (
                    sum(isinstance(one, Tensor) for one in out)
                    if call[2] is None and isinstance(out, (tuple, list))
                    else 1
                )
                output.no_logits = unlike_logits(out, call[2]) if call[0] == OUTPUT else ""
                output.axes = trace.axes(tensor) if trace is not None else ()
                self.largest = max(self.largest, tensor.numel() * tensor.element_size() // len(samples))
                self.tolerance.observe(tensor)
                if call[0] in self.asked:
                    output.value = tensor.detach().clone()
                    if alone is not None:
                        output.layout = layout_of(
                            output,
                            alone.given.get(call),
                            sizes,
                            alone.sizes,
                            self.pooling,
                            self.axis_of(
                                f"{call[0]}#{call[1]}{part_label(call[2])}", f"{call[0]}{part_label(call[2])}"
                            ),
                        )
                        self._take_rows(output, one)
            except (ValueError, TypeError, RuntimeError) as error:
                output.problem = (
                    str(error)
                    if isinstance(error, ValueError)
                    else f"gives a tensor that cannot be recorded ({_reason(error)})"
                )

        with ExitStack() as stack:
            if not one.masks:
                tokens = {shape[:2] for shape in sizes.columns.values() if len(shape) < 4}
                for name in (
                    {address_of(part, self.modules).module for part in self.runner.parts} - {OUTPUT} if tokens else ()
                ):
                    stack.callback(
                        self.modules[name]
                        .register_forward_pre_hook(
                            lambda _, args, kwargs: self._notice_mask(args, kwargs, tokens), with_kwargs=True
                        )
                        .remove
                    )
            if trace is not None:
                stack.enter_context(trace)
            one.calls, one.stopped = self.runner(
                one.prepared, list(dict.fromkeys([*self.runner.parts, *self.asked])), note, batch
            )
        return one

    def _notice_mask(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], tokens: set[tuple[int, ...]]) -> None:
        self.mask_inside |= is_mask_inside(args, kwargs, tokens)

    def moves_with_padding(self, mask: Tensor) -> bool:
        """Does a sample that is padded on the left give other rows without its padding? mask: that of the batch of
        all.
        """
        place = int((~mask[:, 0]).int().argmax())
        padding = int(mask[place].int().argmax())
        alone = self._start([self.numbers[place]])[1].prepared
        prepared = {
            name: (
                column[:, padding:]
                if isinstance(column, Tensor) and tuple(column.shape[:2]) == (1, mask.shape[1])
                else column
            )
            for name, column in alone.items()
        }
        one = self._run_again(Pass([self.numbers[place]], prepared, masks_of(prepared)), prepared)
        rows = {call: output.rows for call, output in one.given.items() if output.rows}
        return not rows or any(
            differ(found[0], self.company.given[call].rows[place], self.company.given[call].size, self.tolerance())
            for call, found in rows.items()
        )

    def _again(self, samples: list[int]) -> Pass:
        """Run other company, and take the rows of the layers that can be recorded so far."""
        batch, one = self._start(samples)
        return self._run_again(one, batch)

    def _run_again(self, one: Pass, batch: Any) -> Pass:
        def note(name: str, number: int, out: Any) -> None:
            for part in self.company.parts.get((name, number), ()):
                known = self.company.given[name, number, part]
                if known.problem or not known.rows:
                    continue
                output = one.given[name, number, part] = Output(known.place, layout=known.layout)
                try:
                    output.value = tensor_of(out, part).detach()
                    output.shape = tuple(output.value.shape)
                    self._take_rows(output, one)
                except ValueError as error:
                    output.problem = str(error)

        one.calls, one.stopped = self.runner(one.prepared, self.asked, note, batch)
        return one

    def _take_rows(self, output: Output, one: Pass) -> None:
        """Keep the rows of an output, once it is known how it lies, and drop its value."""
        if output.layout is None or output.value is None:
            return
        layout, n = output.layout, len(one.samples)
        mask = one.masks.get(layout.mask)
        if layout.mask and mask is None:
            raise ValueError(f"follows '{layout.mask}', which is no mask of 0 and 1 in every batch")
        rows = self.pooling(output.value, n, layout, mask, one.masks).cpu().numpy()
        ends = (
            mask.sum(1).cumsum(0).tolist()
            if self.pooling.by_token and mask is not None
            else [len(rows) * (i + 1) // n for i in range(n)]
        )
        output.rows = [part.copy() for part in np.split(rows, ends[:-1])]
        if one.samples is self.numbers and self.pooling.name == "mean" and output.value.is_floating_point():
            output.scale = self.pooling(output.value.abs(), n, layout, mask).amax(0).cpu().numpy()
        output.value = None

    # -- which layers there are
    # --------------------------------------------------------------------------------------------

    def _address(self, layer: str) -> Address:
        """The module, by the name under which its calls are counted, which of its calls, and which part of its
        output.
        """
        name, call, part = address_of(layer, self.modules)
        return Address(as_layer(name), 1, part) if name == OUTPUT and call is not None else Address(name, call, part)

    def _inside_scripted(self, name: str) -> bool:
        return any(name == part or name.startswith(f"{part}.") for part in self.scripted)

    def _name_layers(self, alone: Pass) -> None:
        """Find the calls that the layers asked for are; a layer that runs k times is k layers."""
        for layer in self.layers:
            if self._inside_scripted(layer):
                self.problems[layer] = (
                    "was compiled by torch.jit, so its output cannot be recorded. Use the layer before or after it"
                )
                continue
            name, call, part = self._address(layer)
            times = self.company.calls[name]
            if call is not None and not 1 <= call <= times:
                self.problems[layer] = f"did not run so often: '{name}' ran {times} times in the forward pass"
            elif not times and alone.calls[name]:
                self.problems[layer] = (
                    f"did not run for a batch of {len(self.numbers)}, though it did for one sample alone: it runs for"
                    " some samples only"
                )
            elif not times:
                self.problems[layer] = "did not run in the forward pass, so it has no activations" + self._near(layer)
                self.silent.add(layer)
            else:
                for number in range(1, times + 1) if call is None else (call,):
                    label = f"{name}#{number}" if call is None and times > 1 else layer
                    items = self._items(name, number, alone) if part is None else []
                    for item in items or [part]:
                        whole = label if not items and label == layer else f"{label}{part_label(item)}"
                        self.calls[whole] = name, number, item
                        if problem := self.company.given[name, number, item].problem:
                            self.problems[whole] = problem

    def _items(self, name: str, number: int, alone: Pass) -> list[int]:
        """The items of a call's output that are recorded one by one; [] if one tensor stands for all.

        They are representations if all have an axis of samples and it is certain which axes hold their features; a
        block of a row is cut as the others of its class are.
        """

        def representations(which: tuple[str, int]) -> list[int]:
            items = [part for part in self.company.parts.get(which, ()) if isinstance(part, int)]
            return [item for item in items if self._is_representation((*which, item), alone)]

        found = representations((name, number))
        if len(found) > 1:
            return found
        kind = type(self.modules.get(name)) if name in self.modules else None
        cut = (
            kind is not None
            and kind not in CONTAINERS
            and found
            and any(
                type(self.modules.get(other)) is kind and len(representations((other, k))) > 1
                for other, k in self.company.parts
                if other in self.modules and other != name
            )
        )
        return found if cut else []

    def changing_blocks(self) -> str:
        """Blocks of one class in a row that return several tensors, and whose first one changes its shape from block to
        block; "" if there are none.
        """
        rows: dict[tuple[str, type], dict[tuple[int, ...], str]] = {}
        for layer, call in self.calls.items():
            output = self.company.given[call]
            if call[2] is None and call[0] in self.modules and layer not in self.problems and len(output.shape) > 2:
                seen = rows.setdefault((call[0].rpartition(".")[0], type(self.modules[call[0]])), {})
                seen.setdefault(output.shape, layer)
                if len(seen) > 1 and any(self.company.given[self.calls[one]].first_of > 1 for one in seen.values()):
                    (shape, first), (other, second) = list(seen.items())[:2]
                    return (
                        f"'{first}' gives {shape} and '{second}', a block of the same class, {other}: each returns"
                        " several tensors, and the first of them is recorded. If they are several streams, record the"
                        f" items: '{first}[0]', '{first}[1]'"
                    )
        return ""

    def _is_representation(self, call: Call, alone: Pass) -> bool:
        output, single = self.company.given[call], alone.given.get(call)
        if (
            single is None
            or output.problem.startswith("has no sample axis")
            or output.shape[:1] != (len(self.numbers),)
            or single.shape[:1] != (1,)
        ):
            return False
        return features_of(single.axes, single.shape) is not None

    def _near(self, layer: str) -> str:
        """What did run, around a layer that did not or in it."""
        ran = [name for name in reversed(around(layer)) if self.company.calls.get(name)]
        inside = any(name.startswith(f"{layer}.") and number for name, number in self.company.calls.items())
        return f"; '{ran[0]}', which it is a part of, did" if ran else f"; its parts did: '{layer}.*'" if inside else ""

    # -- are rows the same in any company
    # ----------------------------------------------------------------------------------

    def _checks_alone(self, alone: Pass) -> dict[str, list[tuple[Pass, int, int]]]:
        """What to compare: the sample that ran alone with its rows at the head, in the middle and at the end of the
        others.
        """
        places = [place for place, sample in enumerate(self.numbers) if sample == self.one]
        checks = {}
        for layer, call in self.calls.items():
            output, single = self.company.given[call], alone.given.get(call)
            if layer in self.problems:
                if single is not None and single.shape == output.shape and "no sample axis" in self.problems[layer]:
                    self.problems[layer] = (
                        f"has no sample axis: it gave {output.shape} whatever the samples were, as positions are the"
                        " same for all"
                    )
            elif single is None and alone.stopped:
                self.problems[layer] = (
                    f"cannot be checked, since the model does not run on one sample alone ({_reason(alone.stopped)})."
                    " Does it need a batch (batch normalisation without running statistics), or drop an axis of"
                    " length 1?"
                )
            elif single is None or alone.calls[call[0]] != self.company.calls[call[0]]:
                self.problems[layer] = self._uneven(call[0], alone)
            else:
                single.layout = output.layout
                try:
                    self._take_rows(single, alone)
                    checks[layer] = [(alone, 0, place) for place in places]
                except ValueError as error:
                    self.problems[layer] = f"for one sample alone, {error}"
        return checks

    def _uneven(self, name: str, one: Pass) -> str:
        return (
            f"ran {_times(self.company.calls[name])} for a batch of {len(self.numbers)} and {_times(one.calls[name])}"
            f" for a batch of {len(one.samples)}, so its rows do not belong to samples: does it see only some of them,"
            " as an expert does?"
        )

    def _check_company(self, others: list[int]) -> None:
        """Every sample in other company and at another place, without the one that ran alone; first in a batch of the
        same size, where a state would be carried over.

        The last batch has more samples, which are compared with the recording when it comes to them.
        """
        self.seen: dict[str, dict[int, np.ndarray]] = {layer: {} for layer in self.calls}
        room = max(2, min(self.given_size or EXTRA, EXTRA, PROBE_BYTES // self.largest))
        mixed = (
            (others[::-1] * len(self.numbers))[: len(self.numbers)]
            if len(self.numbers) > 4
            else [self.one, *others[:1]]
        )
        last = others[:3] if len(self.numbers) > 4 else [*others[1:], self.one]
        last += [row for row in at_the_ends(self.dataset, self.batch_size) if row not in self.numbers][
            : max(0, room - len(last))
        ]
        for samples in (mixed, last):
            if len(samples) < 2:
                continue
            again = self._again(samples)
            if again.stopped and self._stops_at(samples):
                raise again.stopped
            checks: dict[str, list[tuple[Pass, int, int]]] = {}
            for layer in [layer for layer in self.calls if layer not in self.problems]:
                call = self.calls[layer]
                output = again.given.get(call)
                if output is None and again.stopped:
                    self.problems[layer] = (
                        f"cannot be checked, since the model does not run on a batch of {len(samples)} after one of"
                        f" {len(self.numbers)} ({_reason(again.stopped)}). Does it keep a state of the size of the"
                        " batch?"
                    )
                elif output is None or again.calls[call[0]] != self.company.calls[call[0]]:
                    self.problems[layer] = self._uneven(call[0], again)
                elif output.problem:
                    self.problems[layer] = output.problem
                else:
                    self.seen[layer] |= {
                        sample: rows
                        for sample, rows in zip(samples, output.rows, strict=True)
                        if sample not in self.numbers
                    }
                    checks[layer] = [
                        (again, at, self.numbers.index(sample))
                        for at, sample in enumerate(samples)
                        if sample in self.numbers
                    ]
            self._compare(checks)

    def _stops_at(self, samples: list[int]) -> bool:
        """Does the model fail on these samples from its first state too?

        Then it is no state of its own that stops it, but something in the samples.
        """
        self.state.restore()
        return self._again(samples).stopped is not None

    def _compare(self, checks: Mapping[str, list[tuple[Pass, int, int]]]) -> None:
        """layer -> (pass, place in it, place among all): a layer whose rows differ gets a problem."""
        different: dict[str, tuple[Pass, int, int, float]] = {}
        for layer, places in checks.items():
            if layer in self.single_rows:
                continue
            call = self.calls[layer]
            known = self.company.given[call]
            if places and all_agree(
                [one.given[call].rows[at] for one, at, _ in places],
                [known.rows[place] for _, _, place in places],
                known.size,
                self.tolerance(),
            ):
                continue
            for one, at, place in places:
                gap = differ(one.given[call].rows[at], known.rows[place], known.size, self.tolerance())
                if gap:
                    different[layer] = one, at, place, gap
                    break
        if not different:
            return
        first, again, fresh = self._repeated()
        for layer, (one, at, place, gap) in different.items():
            call = self.calls[layer]
            if not _same_inputs(first.prepared, again.prepared):
                self.problems[layer] = (
                    "is random: the preprocess gives other inputs each time. Remove what is random from it, or the"
                    " state that it keeps"
                )
            elif self._unequal(first, fresh, call):
                self.problems[layer] = (
                    "is random: the same sample gives other activations each time, in evaluation mode too. Remove what"
                    " is random from its forward pass"
                )
            elif self._unequal(first, again, call):
                self.problems[layer] = (
                    "keeps state from batch to batch: the same batch gives other activations when it comes again, so"
                    " they depend on what came before. Reset the state at the start of forward, or in a forward"
                    " pre-hook"
                )
            elif (
                self.given_size == 1 and (single := self._single(self.one).given.get(call)) is not None and single.rows
            ):
                self.single_rows[layer] = single.rows[0]  # every batch will be one sample, so there is nothing to mix
            else:
                self.problems[layer] = self._mixing(one, at, place, gap, call)

    def _repeated(self) -> tuple[Pass, Pass, Pass]:
        """The whole batch from the model's first state, once more after that, and from its first state again."""
        self.state.restore()
        first, again = self._again(self.numbers), self._again(self.numbers)
        self.state.restore()
        return first, again, self._again(self.numbers)

    def _unequal(self, x: Pass, y: Pass, call: Call) -> bool:
        a, b = x.given.get(call), y.given.get(call)
        if a is None or b is None or len(a.rows) != len(b.rows):
            return a is not None or b is not None
        return any(
            differ(u, v, self.company.given[call].size, self.tolerance()) for u, v in zip(a.rows, b.rows, strict=True)
        )

    def _mixing(self, one: Pass, at: int, place: int, gap: float, call: Call) -> str:
        rows, n, size = self.company.given[call].rows, len(self.numbers), self.company.given[call].size
        got = one.given[call].rows[at]
        of_other_length = one.sizes.columns.keys() == self.company.sizes.columns.keys() and any(
            one.sizes.columns[name][1:] != shape[1:] for name, shape in self.company.sizes.columns.items()
        )
        if (
            got.shape != rows[place].shape
            and not of_other_length
            and got.shape[-1] * n == rows[place].shape[-1] * len(one.samples)
        ):
            return (
                f"mixes samples: the length of its rows follows the batch size ({rows[place].shape[-1]} for a batch of"
                f" {n}), so it is computed over the batch. Use a layer before that"
            )
        if got.shape != rows[place].shape:
            return (
                f"gives {got.shape[-1]} numbers for a sample in a batch of {len(one.samples)} and"
                f" {rows[place].shape[-1]} in one of {n}: its inputs differ in length. Use pool='mean', or inputs of"
                " one length"
            )
        who = (
            f"row {place} of a batch of {n} differs from the same sample alone"
            if len(one.samples) == 1
            else f"row {at} of a batch of {len(one.samples)} differs from the same sample in a batch of {n}"
        )
        head = (
            f"mixes samples: {who} (by {gap:.2g}, in values of about {size:.2g}), so its values depend on batch_size. "
        )
        if of_other_length:
            return (
                head
                + "The inputs are padded to the longest of the batch, and the padding reaches this layer: pad all to"
                " one length, or give a mask that the model uses"
            )
        if not _same_inputs(one.prepared, self.company.prepared, at, place):
            return (
                head
                + "The preprocess computes its outputs over the batch, or changes the order: have it treat each sample"
                " alone"
            )
        wanted = [
            (
                single.rows[0]
                if (single := self._single(sample).given.get(call)) is not None and single.rows
                else np.empty((0, 0))
            )
            for sample in self.numbers
        ]
        return (
            head
            + (REORDERED if is_reordered(rows, wanted, self.tolerance()) else likely_cause(self.module))
            + (
                f", and a pool function, '{self.pooling.name}', that treats each sample alone"
                if self.pooling.own
                else ""
            )
        )

    def _single(self, sample: int) -> Pass:
        """A pass of one sample."""
        if sample not in self._singles:
            self._singles[sample] = self._again([sample])
        return self._singles[sample]


def part_label(part: Part) -> str:
    """How a part of an output is written behind the name of its layer."""
    return "" if part is None else f"[{part}]" if isinstance(part, int) else f".{part}"


def _times(number: int) -> str:
    return "once" if number == 1 else "never" if not number else f"{number} times"


def _same_inputs(x: Any, y: Any, at: int | None = None, place: int | None = None) -> bool:
    """Are two prepared batches equal, or a sample of one (at) and of the other (place)?

    What is no tensor counts as equal.
    """
    pairs = (
        [(x[name], y[name]) for name in x if name in y]
        if isinstance(x, Mapping) and isinstance(y, Mapping)
        else [(x, y)]
    )
    for a, b in pairs:
        if isinstance(a, Tensor) and isinstance(b, Tensor) and a.ndim and b.ndim:
            a, b = (a, b) if at is None else (a[at], b[place])
            if a.shape != b.shape or (
                differ(a.detach().cpu().float().numpy(), b.detach().cpu().float().numpy(), 0.0, 1e-3)
                if a.is_floating_point()
                else not torch.equal(a, b)
            ):
                return False
    return True


def _reason(error: BaseException) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0][:200]
