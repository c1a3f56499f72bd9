"""`Run`: one model about to run over one data set, and what two samples of it tell beforehand."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets import Dataset, load_dataset
from ..errors import listed
from ..models import OUTPUT, Model
from ..models.layers import features_axis
from ..models.model import AUTO, one_by_one
from ..models.running import around, capture, evaluating, forward, module_of, tensor_of
from ..pooling import Pooling, mask_of
from ..store import Key

MOST = 250  # samples a pass, unless told
LARGEST = 2**26  # bytes of the largest activation in a pass, unless told: larger ones leave the caches, and take twice as long


def dataset_of(data: Any) -> Dataset:
    """What models are to run on, as a Dataset: the name of one, a Dataset, or inputs. ValueError where it is empty."""
    if isinstance(data, str) and not Path(data).expanduser().is_dir():
        data = load_dataset(data)
    dataset = data if isinstance(data, Dataset) else Dataset("inputs", data)
    if len(dataset) == 0:
        raise ValueError(f"dataset '{dataset.name}' is empty: there is nothing to record (a generator can be read once only)")
    return dataset


@dataclass(frozen=True)
class Layer:
    """A layer that can be recorded, as two samples showed it.

    first: their rows.  place: where it stands in forward order.  rows: how many rows a sample gives; None: one for every real token.
    features: the axis of its features, 1 or -1.
    """

    first: np.ndarray
    place: int
    rows: int | None = 1
    features: int | None = None


class Run:
    """One model over one data set: `probe` says what can be recorded, `forward` runs a batch, `pooled` makes rows of what a layer gave for it."""

    def __init__(self, model: Model, dataset: Dataset, layers: Any, pooling: Pooling, step: int | str, batch_size: int | None, device: Any) -> None:
        self.model, self.dataset, self.batch_size, self.device, self.step, self.pooling = model, dataset, batch_size, device, step, pooling
        asked = one_by_one(AUTO if layers is None else layers)
        words = [layer for layer in asked if isinstance(layer, str) and layer != AUTO]
        self.numbers = [layer for layer in asked if not isinstance(layer, str)]
        self.auto = AUTO in asked
        self.named, self.by_name = model.check_layers(words) if words else (), model.by_name(words)
        self.usual: tuple[str, ...] = ()
        if layers is None or self.numbers:
            self.usual = model.layers
        elif self.auto:
            self.usual = model.check_layers(AUTO)
        self.asked = self.named, self.usual, self.auto, tuple(self.numbers)
        self.found: dict[str, Layer] = {}
        self.pool_name = pooling.name
        self.ends: np.ndarray | None = None  # of a text: after how many tokens each sample ends
        self.mask: Tensor | None = None  # of the batch that runs
        self.trouble: BaseException | None = None  # an error of ours that passes through the network

    def key(self, layer: str) -> Key:
        return Key(self.model.name, layer, self.dataset.name, self.step, self.pool_name)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """While open, the model can be run: evaluation mode, no gradients, on its device."""
        with evaluating(self.model.module, self.device) as self.place:
            yield

    def forward(self, inputs: Any) -> None:
        """Run one batch, as the data set gives it."""
        prepared = self.model.preprocess(inputs)
        self.mask = mask_of(prepared)
        forward(self.model.module, prepared, self.place)

    def pooled(self, layer: str, out: Any, samples: int) -> Tensor:
        """What a layer gave for the batch that runs -> rows (n, p), where it is."""
        return self.pooling(tensor_of(out), samples, self.mask, self.found[layer].features)

    def row(self, layer: Layer, sample: int) -> int:
        """The row at which a sample's rows begin."""
        return sample * layer.rows if layer.rows is not None else int(self.ends[sample])

    def check_rows(self, layer: Layer, values: Tensor, first: int, last: int, *, twice: bool) -> None:
        expected = self.row(layer, last) - self.row(layer, first), *layer.first.shape[1:]
        if twice:
            raise ValueError("ran more often than for the first samples")
        if tuple(values.shape) != expected:
            raise ValueError(f"gave rows {tuple(values.shape)} where the first samples make {expected} expected. If texts or pictures of unlike size make the difference, take pool='mean'")
        if values.is_floating_point() and not values.sum().isfinite() and not (good := values.isfinite()).all():
            raise ValueError(f"{int((~good).sum())} of {values.numel()} numbers are NaN or infinite, the first in row {self.row(layer, first) + int((~good).any(1).to(torch.int8).argmax())}")

    def probe(self) -> dict[str, Layer]:
        """Two samples through the whole network -> what can be recorded, in the order in which layers run.

        A layer that cannot be recorded is an error if it was asked for by name; otherwise it is left out, with one warning.
        """
        batch, alone = self._two()
        with self.explaining(batch):
            prepared = self.model.preprocess(batch)
        self.mask = mask_of(prepared)
        if self.pooling.by_token and self.mask is not None:
            self._count_tokens()
        outs, problems, found = self._seen(batch, prepared)
        usual = self._usual(found, outs)
        for number in self.numbers:
            if not -len(usual) <= number < len(usual):
                raise ValueError(f"'{self.model.name}' has {len(usual)} layers, {listed(usual)}; there is no number {number}")
        wanted = {layer for layer in found if _base(layer) in self.named or layer in self.named}
        wanted |= set(usual) if self.auto else {usual[number] for number in self.numbers}
        self._leave_out(problems, wanted)
        self.found = {layer: about for layer, about in found.items() if layer in wanted}
        self._check_finite()
        if length_of(batch) > 1:
            self._check_apart(alone)
        return self.found

    def _two(self) -> tuple[Any, Any]:
        """Two samples, and the first of them alone; of texts the shortest and the longest, since those differ in padding."""
        inputs = self.dataset.inputs
        if isinstance(inputs, list) and len(inputs) > 1:
            by_length = sorted(inputs, key=len)
            return [by_length[0], by_length[-1]], [by_length[0]]
        return inputs[:2], inputs[:1]

    def _seen(self, batch: Any, prepared: Any) -> tuple[dict[str, Any], dict[str, str], dict[str, Layer]]:
        """-> what each layer gave, why some cannot be recorded, and the others as they are; a layer that runs k times is k layers."""
        modules = dict(self.model.module.named_modules(remove_duplicate=False))
        layers = list(dict.fromkeys([*self.named, *self.usual]))
        asked = {module_of(layer, modules)[0] for layer in layers}
        samples, largest = length_of(batch), 1
        calls: Counter[str] = Counter()
        given: dict[tuple[str, int], tuple[Any, np.ndarray | None, int | None, int, str]] = {}  # a call -> output, rows, features, place, what is wrong
        before: tuple[tuple[int, ...], int] | None = None

        def look(name: str, out: Any) -> None:
            nonlocal before, largest
            calls[name] += 1
            rows, features, problem, tensor = None, None, "", None
            try:
                tensor = tensor_of(out)
                features = features_axis(self.model.module if name == OUTPUT else modules[name], tensor, before)
                before = tuple(tensor.shape), features
                largest = max(largest, tensor.numel() * tensor.element_size() // samples)
                if name in asked:
                    rows = self.pooling(tensor, samples, self.mask, features).cpu().numpy().copy()
            except ValueError as error:
                problem = str(error)
            given[name, calls[name]] = tensor, rows, features, len(given), problem

        names = list(dict.fromkeys([*(name or OUTPUT for name, _ in self.model.module.named_modules()), *asked]))  # "output" is the whole, whatever a part is called
        with capture(self.model.module, names, look), self.explaining(batch, prepared):
            forward(self.model.module, prepared, self.place)
        self.batch_size = self.batch_size or max(1, min(MOST, LARGEST // largest))
        outs: dict[str, Any] = {}
        problems: dict[str, str] = {}
        found: dict[str, Layer] = {}
        for layer in layers:
            name, call = module_of(layer, modules)
            if call is not None and not 1 <= call <= calls[name]:
                problems[layer] = f"did not run so often: '{name}' ran {calls[name]} times in the forward pass"
            elif not calls[name]:
                problems[layer] = "did not run in the forward pass, so it has no activations" + self._near(layer, calls)
            several = call is None and calls[name] > 1
            for which in () if layer in problems else range(1, calls[name] + 1) if call is None else (call,):
                label = f"{name}#{which}" if several else layer
                outs[label], rows, features, place, problem = given[name, which]
                if problem:
                    problems[label] = problem
                else:
                    by_sample = not self.pooling.by_token or self.mask is None or len(rows) != int(self.mask.sum())
                    found[label] = Layer(rows, place, len(rows) // samples if by_sample else None, features)
        return outs, problems, dict(sorted(found.items(), key=lambda one: one[1].place))

    def _usual(self, found: Mapping[str, Layer], outs: Mapping[str, Any]) -> list[str]:
        """The layers that are recorded unless told, in forward order; of several that give the very output, untouched, only "output"."""
        usual = [layer for layer in found if _base(layer) in self.usual or layer in self.usual]
        last = found.get(OUTPUT)
        if last is None:
            return usual
        return [layer for layer in usual if layer == OUTPUT or outs[layer] is not outs[OUTPUT] or not np.array_equal(found[layer].first, last.first, equal_nan=True)]

    @staticmethod
    def _near(layer: str, calls: Mapping[str, int]) -> str:
        """What did run, around a layer that did not or in it."""
        ran = [name for name in reversed(around(layer)) if calls.get(name)]
        inside = any(name.startswith(f"{layer}.") and number for name, number in calls.items())
        return f"; '{ran[0]}', which it is a part of, did" if ran else f"; its parts did: '{layer}.*'" if inside else ""

    def _leave_out(self, problems: dict[str, str], wanted: set[str]) -> None:
        """Of what cannot be recorded, the first is an error if it was named; a pattern's, and the usual layers, are left out with a warning."""
        for layer, why in problems.items():
            if _base(layer) in self.by_name or layer in self.by_name or not wanted:
                raise ValueError(f"layer '{layer}' of '{self.model.name}' {why}")
        reasons: dict[str, list[str]] = {}
        for layer, why in problems.items():
            quiet = why.startswith("did not run") or (layer not in self.named and "no sample axis" in why)  # a list of modules; the positions of tokens
            if not quiet:
                reasons.setdefault(why, []).append(layer)
        left = sum(map(len, reasons.values()))
        if left > len(wanted) and not self.named:
            why, layers = next(iter(reasons.items()))
            raise ValueError(f"layer '{layers[0]}' of '{self.model.name}' {why}. (So do {left - 1} more; {len(wanted)} could be recorded. To have those, name them: layers={sorted(wanted)[:3]})")
        if reasons:
            some = "; ".join(f"{listed(layers, 3)} {why}" for why, layers in list(reasons.items())[:3])
            warnings.warn(f"{left} layers of '{self.model.name}' are left out: {some}", stacklevel=6)

    def _check_finite(self) -> None:
        for layer, about in self.found.items():
            if about.first.dtype.kind == "f" and not np.isfinite(about.first).all():
                bad = int((~np.isfinite(about.first)).sum())
                raise ValueError(f"layer '{layer}' of '{self.model.name}': {bad} of {about.first.size} numbers are NaN or infinite for the first samples of '{self.dataset.name}'")

    def _check_apart(self, alone: Any) -> None:
        """A sample alone must give what it gives beside another; else values would hang on the batch size."""
        weights = next(self.model.module.parameters(), torch.empty(0))
        rough = max(1e-3, 8 * torch.finfo(weights.dtype).eps if weights.is_floating_point() else 0)

        def rows() -> dict[str, np.ndarray]:
            seen: dict[str, np.ndarray] = {}

            def keep(layer: str, out: Any) -> None:
                with self.naming(layer, "for one sample alone,"):
                    seen[layer] = self.pooled(layer, out, 1).cpu().numpy().copy()

            with capture(self.model.module, list(self.found), keep), self.explaining(alone, alone_too=True):
                self.forward(alone)
            return seen

        def differs(x: np.ndarray, y: np.ndarray) -> bool:
            return x.shape == y.shape and x.size > 0 and not np.allclose(x, y, rtol=10 * rough, atol=rough * max(float(np.abs(y).max()), 1e-6))

        now = rows()
        for layer, about in self.found.items():
            if layer in now and differs(now[layer], about.first[: len(now[layer])]):
                if differs(now[layer], rows()[layer]):
                    raise ValueError(f"layer '{layer}' of '{self.model.name}' is random: the same sample gives other activations each time, in evaluation mode too")
                raise ValueError(f"layer '{layer}' of '{self.model.name}' mixes samples: the first sample gives other activations when a second one stands beside it, so they "
                                 f"would depend on batch_size. Does it take the samples along another axis (torch's attention needs batch_first=True), or measure something over the batch?")

    def _count_tokens(self) -> None:
        """How many tokens each text has. Two recordings match token by token only if they cut all texts alike: the pool's name says how."""
        numbers, digest = [], hashlib.blake2b(digest_size=4)
        for _, _, inputs in self.dataset.batches(0, self.batch_size or MOST):
            prepared = self.model.preprocess(inputs)
            mask = mask_of(prepared)
            numbers.append(mask.sum(1).cpu().numpy())
            if "input_ids" in prepared:
                digest.update(prepared["input_ids"][mask].cpu().numpy().tobytes())
        self.ends = np.concatenate([[0], np.concatenate(numbers).cumsum()])
        digest.update(self.ends.tobytes())
        self.pool_name = f"{self.pooling.name}:{digest.hexdigest()}"

    @contextmanager
    def naming(self, layer: str, samples: str) -> Iterator[None]:
        """Around what a hook does: a ValueError then names the layer, and no error of ours is taken for one of the network's."""
        try:
            yield
        except ValueError as error:
            self.trouble = ValueError(f"layer '{layer}' of '{self.model.name}', {samples} {error}")
            raise self.trouble from error
        except BaseException as error:  # a full disk
            self.trouble = error
            raise

    @contextmanager
    def explaining(self, batch: Any, prepared: Any = None, *, samples: str = "", alone_too: bool = False) -> Iterator[None]:
        """What goes wrong inside the network is said with the form of its input."""
        try:
            yield
        except Exception as error:
            if error is self.trouble:
                raise
            given = f"{tuple(batch.shape)} {batch.dtype}" if hasattr(batch, "shape") else type(batch).__name__
            reached = f"reached it as {_form(prepared)}, and " if prepared is not None else "" if samples or alone_too else "could not be preprocessed, and "
            hint = "" if "preprocess=" in str(error) else ". Give it a preprocess, load_model(..., preprocess=function of a batch), if the form is wrong"
            if alone_too:
                hint = ". It ran with two: does it need a batch (batch normalisation without running statistics), or drop an axis of length 1?"
            elif _channels_first(batch):
                hint = ". uint8 pictures are (n, height, width, channels), and these look like (n, channels, height, width)"
            which = samples or f"{length_of(batch)} samples" if not alone_too else "one sample alone"
            raise ValueError(f"model '{self.model.name}' could not run on '{self.dataset.name}': {which}, {given}, {reached}it said: {error}{hint}") from error


def _base(layer: str) -> str:
    """The module that a layer is a call of: "act" of "act#2"."""
    return layer.rpartition("#")[0] or layer


def _channels_first(batch: Any) -> bool:
    return str(getattr(batch, "dtype", "")).endswith("uint8") and len(batch.shape) == 4 and batch.shape[1] in (1, 3) and batch.shape[3] not in (1, 3, 4)


def length_of(inputs: Any) -> int:
    return len(next(iter(inputs.values()))) if isinstance(inputs, Mapping) else len(inputs)


def _form(prepared: Any) -> str:
    if isinstance(prepared, Tensor):
        return f"{tuple(prepared.shape)} {str(prepared.dtype).removeprefix('torch.')}"
    if isinstance(prepared, Mapping):
        return ", ".join(f"{name} {_form(value)}" for name, value in prepared.items())
    return type(prepared).__name__


