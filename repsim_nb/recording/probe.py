"""What can be recorded of a model on a data set: a few samples, run alone and in company, show it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models.layers import features_axis
from ..models.running import OUTPUT, around, as_layer, capture, forward, module_of, tensor_of
from ..pooling import Layout, masks_of
from .agreement import Tolerance, cause_of_mixing, differ, size_of
from .layout import Sizes, layout_of, resolve
from .padding import is_mask_inside
from .samples import at_the_ends, pick, taken

if TYPE_CHECKING:
    from .run import Run

SAMPLES = 8  # that the probe looks at, at most
MOST = 250  # samples a pass, unless told
LARGEST = 2**26  # bytes of the largest activation in a pass, unless told: larger ones leave the caches, and take twice as long
ROOM = 2**28  # bytes that one activation of all the probe's samples may take


@dataclass(frozen=True)
class Layer:
    """A layer that can be recorded.

    shape, dtype: of one row.  place: where it stands in forward order.  rows: how many rows a sample gives; None: one for every real token.
    layout: how its output lies.  size: the root mean square of its values.  expected: sample -> its rows, as the probe saw them.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    place: int
    rows: int | None = 1
    layout: Layout = Layout()
    size: float = 0.0
    expected: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass
class Output:
    """What one call of a module gave in a pass: its form, and its rows (a sample each) once it is known how it lies, until then its value."""

    place: int
    shape: tuple[int, ...] = ()
    features: int | None = None
    address: int = 0
    problem: str = ""
    value: Tensor | None = None
    layout: Layout | None = None
    candidates: list[Layout] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)

    @functools.cached_property
    def size(self) -> float:
        """The root mean square of the rows."""
        return size_of(self.rows)


@dataclass
class Pass:
    """A batch that ran: what each call of each module gave. stopped: why it did not run to its end."""

    samples: list[int]
    prepared: Any
    masks: dict[str, Tensor]
    given: dict[tuple[str, int], Output] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    stopped: Exception | None = None

    @property
    def sizes(self) -> Sizes:
        columns = self.prepared if isinstance(self.prepared, Mapping) else {"": self.prepared}
        return Sizes(len(self.samples), self.masks, {name: tuple(c.shape) for name, c in columns.items() if isinstance(c, Tensor) and c.ndim > 1})


class Probe:
    """Runs a few samples in four passes: one alone, the same at the head, in the middle and at the end of a batch, and the others in two smaller ones.

    Called, it gives the layers that can be recorded, in forward order. `problems` then says why others cannot; `silent` are those of them that
    have nothing to say of samples: what never ran, and what is the same for all batches, as positions are.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.module, self.pooling = run, run.model.module, run.pooling
        self.modules: dict[str, nn.Module] = dict(self.module.named_modules(remove_duplicate=False))
        self.layers = list(dict.fromkeys([*run.named, *run.usual]))
        self.scripted = [name for name, part in self.modules.items() if name and isinstance(part, torch.jit.RecursiveScriptModule)]  # a traced one takes hooks
        self.asked = {self._call_of(layer)[0] for layer in self.layers if not self._inside_scripted(layer)}
        self.parts = [as_layer(name) or OUTPUT for name in dict(self.module.named_modules()) if not self._inside_scripted(name)]
        self.tolerance = Tolerance(self.module, run.place)
        self.problems: dict[str, str] = {}
        self.silent: set[str] = set()
        self.calls: dict[str, tuple[str, int]] = {}  # layer -> the call of a module that it is
        self.largest = 1  # bytes of a sample's largest activation
        self.masks_inside = False  # does the model make a mask of its tokens that its inputs lack

    def __call__(self) -> dict[str, Layer]:
        most = max(2, min(SAMPLES, self.run.batch_size or SAMPLES))
        one, *others = pick(self.run.dataset, most)
        alone = self._look([one])
        if (room := max(2, ROOM // self.largest)) < most:  # activations are too large for all of them
            most = room
        if most > 4:
            others = others[: most - 3]
            self.numbers = [one, *others[: len(others) // 2], one, *others[len(others) // 2 :], one]
        else:
            others = others[: most - 1]
            self.numbers = [*others[::2], one, *others[1::2]]
        company = self._look(self.numbers, alone)
        if company.stopped and self.run.batch_size == 1 and not alone.stopped:  # it may take one sample at a time only
            self.numbers, others = [one], []
            company = self._look(self.numbers, alone)
        if company.stopped:
            raise company.stopped
        self.company = company
        self.batch_size = self.run.batch_size or max(1, min(MOST, LARGEST // self.largest))
        resolve(self, company)
        self._name_layers(alone, company)
        self._compare(self._checks(alone, company))
        self._check_company(one, others)
        return dict(sorted(((layer, self._layer(layer)) for layer in self.calls if layer not in self.problems), key=lambda one: one[1].place))

    def _layer(self, layer: str) -> Layer:
        output = self.company.given[self.calls[layer]]
        by_sample = not self.pooling.by_token or output.layout.mask is None
        expected = self.seen[layer] | dict(zip(self.numbers, output.rows, strict=True))
        return Layer(output.rows[0].shape[1:], output.rows[0].dtype, output.place, len(output.rows[0]) if by_sample else None, output.layout, output.size, expected)

    # -- running -----------------------------------------------------------------------------------------------------------

    def _prepared(self, samples: Sequence[int]) -> tuple[Any, Any]:
        batch = taken(self.run.dataset, samples)
        with self.run.explaining(batch):
            prepared = self.run.prepared(batch, samples)
        return batch, prepared

    def _look(self, samples: list[int], alone: Pass | None = None) -> Pass:
        """Run a batch and note what every module gives; with `alone`, the same of one sample, it is known at once how most outputs lie, and their rows are taken."""
        batch, prepared = self._prepared(samples)
        one = Pass(samples, prepared, masks_of(prepared))
        before: tuple[tuple[int, ...], int] | None = None

        def note(name: str, out: Any) -> None:
            nonlocal before
            one.calls[name] += 1
            call = name, one.calls[name]
            output = one.given[call] = Output(len(one.given))
            try:
                tensor = tensor_of(out)
                output.shape, output.address = tuple(tensor.shape), tensor.data_ptr()
                output.features = features_axis(self.module if name == OUTPUT else self.modules[module_of(name, self.modules)[0]], tensor, before)
                before = output.shape, output.features
                self.largest = max(self.largest, tensor.numel() * tensor.element_size() // len(samples))
                self.tolerance.saw(tensor)
                if name in self.asked:
                    output.value = tensor.detach().clone()
                    if alone is not None:
                        output.layout = layout_of(output, alone.given.get(call), one.sizes, alone.sizes, self.pooling)
                        self.take_rows(output, one)
            except ValueError as error:
                output.problem = str(error)

        with ExitStack() as stack:
            if not one.masks:
                tokens = {shape[:2] for shape in one.sizes.columns.values()}
                for name in {module_of(part, self.modules)[0] for part in self.parts} - {OUTPUT}:
                    stack.callback(self.modules[name].register_forward_pre_hook(lambda _, args, kwargs: self._notice_mask(args, kwargs, tokens), with_kwargs=True).remove)
            self._run(one, list(dict.fromkeys([*self.parts, *sorted(self.asked)])), note, batch)
        return one

    def _notice_mask(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], tokens: set[tuple[int, ...]]) -> None:
        self.masks_inside |= is_mask_inside(args, kwargs, tokens)

    def take_rows(self, output: Output, one: Pass) -> None:
        """Once it is known how an output lies, its rows are kept, a sample each, and its value is let go."""
        if output.layout is None or output.value is None:
            return
        layout, n = output.layout, len(one.samples)
        mask = one.masks.get(layout.mask) if layout.mask else None
        rows = self.pooling(output.value, n, layout, mask).cpu().numpy()
        ends = mask.sum(1).cumsum(0).tolist() if self.pooling.by_token and mask is not None else [len(rows) * (i + 1) // n for i in range(n)]
        output.rows = [part.copy() for part in np.split(rows, ends[:-1])]
        output.value = None

    def values(self, prepared: Any, names: list[str]) -> dict[tuple[str, int], Tensor]:
        """Run a prepared batch -> what these modules give, call by call, as far as it runs."""
        one, found = Pass([], prepared, {}), {}

        def note(name: str, out: Any) -> None:
            one.calls[name] += 1
            with suppress(ValueError):  # no tensor
                found[name, one.calls[name]] = tensor_of(out).detach().clone()

        self._run(one, names, note, prepared)
        return found

    def sums(self, prepared: Any) -> dict[tuple[str, int], tuple[float, float]]:
        """Run a prepared batch -> the sums of all modules' outputs and of their absolute values, by which it shows what reaches them."""
        one, found = Pass([], prepared, {}), {}

        def note(name: str, out: Any) -> None:
            one.calls[name] += 1
            with suppress(ValueError):
                tensor = tensor_of(out).detach().double()
                found[name, one.calls[name]] = float(tensor.sum()), float(tensor.abs().sum())

        self._run(one, self.parts, note, prepared)
        return found

    def _run(self, one: Pass, names: list[str], note: Any, batch: Any) -> None:
        try:
            with capture(self.module, names, note), self.run.explaining(batch, one.prepared):
                forward(self.module, one.prepared, self.run.place)
        except ValueError as error:
            one.stopped = error

    def _again(self, samples: list[int]) -> Pass:
        """Run other company, and take the rows of the layers that can be recorded so far."""
        batch, prepared = self._prepared(samples)
        one = Pass(samples, prepared, masks_of(prepared))

        def note(name: str, out: Any) -> None:
            one.calls[name] += 1
            call = name, one.calls[name]
            known = self.company.given.get(call)
            if known is None or known.problem or not known.rows:
                return
            output = one.given[call] = Output(known.place, layout=known.layout)
            try:
                output.value = tensor_of(out).detach()
                output.shape = tuple(output.value.shape)
                self.take_rows(output, one)
            except ValueError as error:
                output.problem = str(error)

        self._run(one, sorted(self.asked), note, batch)
        return one

    # -- which layers there are --------------------------------------------------------------------------------------------

    def _call_of(self, layer: str) -> tuple[str, int | None]:
        """The module, by the name under which its calls are counted, and which of its calls."""
        name, call = module_of(layer, self.modules)
        return (layer, 1) if name == OUTPUT and call is not None else (name, call)

    def _inside_scripted(self, name: str) -> bool:
        return any(name == part or name.startswith(f"{part}.") for part in self.scripted)

    def _name_layers(self, alone: Pass, company: Pass) -> None:
        """Find the calls that the layers asked for are; a layer that runs k times is k layers."""
        for layer in self.layers:
            name, call = self._call_of(layer)
            times = company.calls[name]
            if self._inside_scripted(layer):
                self.problems[layer] = "was compiled by torch.jit, so no hook can see it: record the layer before or behind it, or the module that it was compiled from"
            elif call is not None and not 1 <= call <= times:
                self.problems[layer] = f"did not run so often: '{name}' ran {times} times in the forward pass"
            elif not times and alone.calls[name]:
                self.problems[layer] = f"did not run for a batch of {len(company.samples)}, though it did for one sample alone: it runs for some samples only"
            elif not times:
                self.problems[layer] = "did not run in the forward pass, so it has no activations" + self._near(layer, company.calls)
                self.silent.add(layer)
            else:
                for which in range(1, times + 1) if call is None else (call,):
                    label = f"{name}#{which}" if call is None and times > 1 else layer
                    self.calls[label] = name, which
                    if problem := company.given[name, which].problem:
                        self.problems[label] = problem

    @staticmethod
    def _near(layer: str, calls: Mapping[str, int]) -> str:
        """What did run, around a layer that did not or in it."""
        ran = [name for name in reversed(around(layer)) if calls.get(name)]
        inside = any(name.startswith(f"{layer}.") and number for name, number in calls.items())
        return f"; '{ran[0]}', which it is a part of, did" if ran else f"; its parts did: '{layer}.*'" if inside else ""

    # -- are rows the same in any company ----------------------------------------------------------------------------------

    def _checks(self, alone: Pass, company: Pass) -> dict[str, list[tuple[Pass, int, int]]]:
        """The sample that ran alone, to be held against its rows at the head, in the middle and at the end of the others."""
        places = [place for place, sample in enumerate(self.numbers) if sample == alone.samples[0]]
        checks = {}
        for layer, call in self.calls.items():
            output, single = company.given[call], alone.given.get(call)
            if layer in self.problems:
                if single is not None and single.shape == output.shape and "no sample axis" in self.problems[layer]:
                    self.silent.add(layer)
            elif single is None and alone.stopped:
                self.problems[layer] = (f"cannot be checked, since the model does not run on one sample alone ({_reason(alone.stopped)}). "
                                        "Does it need a batch (batch normalisation without running statistics), or drop an axis of length 1?")
            elif single is None or alone.calls[call[0]] != company.calls[call[0]]:
                self.problems[layer] = self._uneven(call[0], alone)
            else:
                single.layout = output.layout
                try:
                    self.take_rows(single, alone)
                    checks[layer] = [(alone, 0, place) for place in places]
                except ValueError as error:
                    self.problems[layer] = f"for one sample alone, {error}"
        return checks

    def _uneven(self, name: str, one: Pass) -> str:
        return (f"ran {self.company.calls[name]} times for a batch of {len(self.numbers)} and {one.calls[name]} times for a batch of {len(one.samples)}, so its rows do not belong to samples: "
                "does it see only some of them, as an expert does?")

    def _check_company(self, one: int, others: list[int]) -> None:
        """Every sample in other company and at another place; the last batch has samples more, which are held against the recording when it comes to them."""
        self.seen: dict[str, dict[int, np.ndarray]] = {layer: {} for layer in self.calls}
        few = [*others[::-2][:3]] if len(self.numbers) > 4 else [one, *others[:1]]
        rest = others[::-1] if len(self.numbers) > 4 else [*others[1:], one]
        room = max(2, min(self.run.batch_size or SAMPLES * 2, ROOM // self.largest))
        rest += [row for row in at_the_ends(self.run.dataset, self.batch_size) if row not in self.numbers][: max(0, room - len(rest))]
        for samples in (few, rest):
            if len(samples) < 2:
                continue
            again = self._again(samples)
            checks: dict[str, list[tuple[Pass, int, int]]] = {}
            for layer in [layer for layer in self.calls if layer not in self.problems]:
                call = self.calls[layer]
                output = again.given.get(call)
                if output is None and again.stopped:
                    self.problems[layer] = (f"cannot be checked, since the model does not run on a batch of {len(samples)} after one of {len(self.numbers)} ({_reason(again.stopped)}). "
                                            "Does it keep a state of the size of the batch?")
                elif output is None or again.calls[call[0]] != self.company.calls[call[0]]:
                    self.problems[layer] = self._uneven(call[0], again)
                elif output.problem:
                    self.problems[layer] = output.problem
                else:
                    self.seen[layer] |= {sample: rows for sample, rows in zip(samples, output.rows, strict=True) if sample not in self.numbers}
                    checks[layer] = [(again, at, self.numbers.index(sample)) for at, sample in enumerate(samples) if sample in self.numbers]
            self._compare(checks)

    def _compare(self, checks: Mapping[str, list[tuple[Pass, int, int]]]) -> None:
        """layer -> (pass, place in it, place among all): where rows differ, the layer gets a problem."""
        different: dict[str, tuple[Pass, int, int, float]] = {}
        tolerance = self.tolerance()
        for layer, places in checks.items():
            known = self.company.given[self.calls[layer]]
            for one, at, place in places:
                gap = differ(one.given[self.calls[layer]].rows[at], known.rows[place], known.size, tolerance)
                if gap:
                    different[layer] = one, at, place, gap
                    break
        if not different:
            return
        first, again, fresh = self._repeated()
        for layer, (one, at, place, gap) in different.items():
            call = self.calls[layer]
            self.problems[layer] = (
                self._unequal(first, fresh, call, "is random: the same sample gives other activations each time, in evaluation mode too. Take what is random out of its forward pass")
                or self._unequal(first, again, call, "keeps state from batch to batch: the same batch gives other activations when it comes again, so they would depend on what came before. "
                                                     "Have its forward pass begin afresh, or reset it in a forward pre-hook")
                or self._mixing(one, at, place, gap, call)
            )

    def _repeated(self) -> tuple[Pass, Pass, Pass]:
        """The whole batch from the model's first state, once more after that, and from its first state again."""
        self.run.state.restore()
        first = self._again(self.numbers)
        again = self._again(self.numbers)
        self.run.state.restore()
        return first, again, self._again(self.numbers)

    def _unequal(self, x: Pass, y: Pass, call: tuple[str, int], problem: str) -> str:
        a, b = x.given.get(call), y.given.get(call)
        size = self.company.given[call].size
        same = a is not None and b is not None and len(a.rows) == len(b.rows) and not any(differ(u, v, size, self.tolerance()) for u, v in zip(a.rows, b.rows, strict=True))
        return "" if same or (a is None and b is None) else problem

    def _mixing(self, one: Pass, at: int, place: int, gap: float, call: tuple[str, int]) -> str:
        rows, n = self.company.given[call].rows, len(self.numbers)
        got = one.given[call].rows[at]
        if got.shape != rows[place].shape and got.shape[-1] * n == rows[place].shape[-1] * len(one.samples):
            return f"mixes samples: it gives as many numbers a sample as the batch has samples, or a multiple ({rows[place].shape[-1]} in a batch of {n}), so it is computed over the batch, each sample against all others. Record a layer before that"
        if got.shape != rows[place].shape:
            return (f"gives {got.shape[-1]} numbers for a sample in a batch of {len(one.samples)} and {rows[place].shape[-1]} in one of {n}: its inputs differ in length. "
                    "Take pool='mean', or inputs of one length")
        cause = cause_of_mixing(self.module, rows, [self._alone(sample, call) for sample in self.numbers], self.tolerance())
        who = f"row {place} of a batch of {n} differs from the same sample alone" if len(one.samples) == 1 else f"row {at} of a batch of {len(one.samples)} differs from the same sample in a batch of {n}"
        return f"mixes samples: {who} (by {gap:.2g}, in values of about {self.company.given[call].size:.2g}), so its values depend on batch_size. {cause}"

    def _alone(self, sample: int, call: tuple[str, int]) -> np.ndarray:
        output = self._again([sample]).given.get(call)
        return output.rows[0] if output is not None and output.rows else np.empty(0)


def _reason(error: BaseException) -> str:
    return str(error.__cause__ or error).strip().splitlines()[0][:200]
