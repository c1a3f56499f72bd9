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
from ..models import OUTPUT, Model
from ..models.running import capture, evaluating, forward, module_of, tensor_of
from ..pooling import Pooling, mask_of
from ..store import Key


def dataset_of(data: Any) -> Dataset:
    """What models are to run on, as a Dataset: the name of one, a Dataset, or inputs. ValueError where it is empty."""
    if isinstance(data, str) and not Path(data).expanduser().is_dir():
        data = load_dataset(data)
    dataset = data if isinstance(data, Dataset) else Dataset("inputs", data)
    if len(dataset) == 0:
        raise ValueError(f"dataset '{dataset.name}' is empty: there is nothing to record")
    return dataset


@dataclass(frozen=True)
class Layer:
    """A layer that can be recorded, as two samples showed it.

    first: their rows.  place: where it stands in forward order.  rows: how many rows a sample gives; None: one for every real token.
    """

    first: np.ndarray
    place: int
    rows: int | None = 1


class Run:
    """One model over one data set: `probe` says what can be recorded, `forward` runs a batch, `pooled` makes rows of what a layer gave for it."""

    def __init__(self, model: Model, dataset: Dataset, layers: Any, pooling: Pooling, step: int | str, batch_size: int, device: Any) -> None:
        self.model, self.dataset, self.batch_size, self.device, self.step, self.pooling = model, dataset, batch_size, device, step, pooling
        self.layers, self.by_name = model.check_layers(layers), model.by_name(layers)
        self.chosen = layers is not None  # by the user, be it with a pattern
        self.pool_name = pooling.name
        self.ends: np.ndarray | None = None  # of a text: after how many tokens each sample ends
        self.mask: Tensor | None = None  # of the batch that runs

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

    def pooled(self, out: Any, samples: int) -> Tensor:
        """What a layer gave for the batch that runs -> rows (n, p), where it is."""
        return self.pooling(tensor_of(out), samples, self.mask)

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
        prepared = None
        with self.explaining(batch):
            prepared = self.model.preprocess(batch)
        mask = mask_of(prepared)
        if self.pooling.by_token and mask is not None:
            self._count_tokens()
        outs, problems, found = self._seen(batch, prepared, mask)
        self._leave_out(problems, found)
        if length_of(batch) > 1:
            self._check_apart(alone, {layer: about.first for layer, about in found.items()})
        if not self.chosen and OUTPUT in found:  # layers that return the very output, untouched: it is recorded once
            last = found[OUTPUT].first
            found = {layer: about for layer, about in found.items() if layer == OUTPUT or outs[layer] is not outs[OUTPUT] or not np.array_equal(about.first, last)}
        return found

    def _two(self) -> tuple[Any, Any]:
        """Two samples, and the first of them alone; of texts the shortest and the longest, since those differ in padding."""
        inputs = self.dataset.inputs
        if isinstance(inputs, list) and len(inputs) > 1 and self.batch_size > 1:
            by_length = sorted(inputs, key=len)
            return [by_length[0], by_length[-1]], [by_length[0]]
        return inputs[: min(2, self.batch_size)], inputs[:1]

    def _seen(self, batch: Any, prepared: Any, mask: Tensor | None) -> tuple[dict[str, Any], dict[str, str], dict[str, Layer]]:
        """-> what each layer gave, why some cannot be recorded, and the others as they are; a layer that runs k times is k layers."""
        modules = dict(self.model.module.named_modules(remove_duplicate=False))
        asked = {module_of(layer, modules)[0] for layer in self.layers}
        samples = length_of(batch)
        calls: Counter[str] = Counter()
        given: dict[tuple[str, int], tuple[Any, np.ndarray | None, int, str]] = {}  # a call -> its output, its rows, its place, what is wrong with it

        def look(name: str, out: Any) -> None:
            calls[name] += 1
            rows, problem, tensor = None, "", None
            if name in asked:
                try:
                    tensor = tensor_of(out)
                    rows = self.pooling(tensor, samples, mask).cpu().numpy().copy()
                except ValueError as error:
                    problem = str(error)
            given[name, calls[name]] = tensor, rows, len(given), problem

        names = list(dict.fromkeys([*(name or OUTPUT for name, _ in self.model.module.named_modules()), *asked]))  # "output" is the whole, whatever a part is called
        with capture(self.model.module, names, look), self.explaining(batch, prepared):
            forward(self.model.module, prepared, self.place)
        outs: dict[str, Any] = {}
        problems: dict[str, str] = {}
        found: list[tuple[int, str, Layer]] = []
        for layer in self.layers:
            name, call = module_of(layer, modules)
            if call is not None and not 1 <= call <= calls[name]:
                problems[layer] = f"did not run so often: '{name}' ran {calls[name]} times in the forward pass"
            elif not calls[name]:
                problems[layer] = "did not run in the forward pass, so it has no activations" + self._around(layer, calls)
            several = call is None and calls[name] > 1
            for which in () if layer in problems else range(1, calls[name] + 1) if call is None else (call,):
                label = f"{name}#{which}" if several else layer
                outs[label], rows, place, problem = given[name, which]
                if problem:
                    problems[label] = problem
                elif label not in {known for _, known, _ in found}:
                    by_sample = not self.pooling.by_token or mask is None or len(rows) != int(mask.sum())
                    found.append((place, label, Layer(rows, place, len(rows) // samples if by_sample else None)))
        return outs, problems, {label: about for _, label, about in sorted(found, key=lambda one: one[0])}

    @staticmethod
    def _around(layer: str, calls: Mapping[str, int]) -> str:
        parts = layer.split(".")
        ran = [name for name in (".".join(parts[:k]) for k in range(len(parts) - 1, 0, -1)) if calls.get(name)]
        return f"; '{ran[0]}', which it is a part of, did" if ran else ""

    def _leave_out(self, problems: dict[str, str], found: Mapping[str, Any]) -> None:
        for layer, why in problems.items():
            if layer.rpartition("#")[0] in self.by_name or layer in self.by_name or not found:
                raise ValueError(f"layer '{layer}' of '{self.model.name}' {why}")
        meant = {layer: why for layer, why in problems.items() if not why.startswith("did not run")}  # a list of modules never runs
        if meant:
            some = "; ".join(f"'{layer}' {why}" for layer, why in list(meant.items())[:3])
            warnings.warn(f"{len(meant)} layers of '{self.model.name}' are left out: {some}", stacklevel=5)

    def _check_apart(self, alone: Any, found: Mapping[str, np.ndarray]) -> None:
        """A sample alone must give what it gives beside another; else values would hang on the batch size."""
        alone = self.model.preprocess(alone)
        mask = mask_of(alone)
        weights = next(self.model.module.parameters(), torch.empty(0))
        rough = max(1e-3, 8 * torch.finfo(weights.dtype).eps if weights.is_floating_point() else 0)

        def compare(layer: str, out: Any) -> None:
            rows = self.pooling(tensor_of(out), 1, mask).cpu().numpy()
            beside = found[layer][: len(rows)]
            if rows.shape == beside.shape and not np.allclose(rows, beside, rtol=10 * rough, atol=rough * max(float(np.abs(beside).max()), 1e-6), equal_nan=True):
                raise ValueError(f"layer '{layer}' of '{self.model.name}' mixes samples: the first sample gives other activations when a second one stands beside it, so they "
                                 f"would depend on batch_size. Does it take the samples along another axis (torch's attention needs batch_first=True)?")

        with capture(self.model.module, list(found), compare):
            forward(self.model.module, alone, self.place)

    def _count_tokens(self) -> None:
        """How many tokens each text has. Two recordings match token by token only if they cut all texts alike: the pool's name says how."""
        numbers, digest = [], hashlib.blake2b(digest_size=4)
        for _, _, inputs in self.dataset.batches(0, self.batch_size):
            prepared = self.model.preprocess(inputs)
            mask = mask_of(prepared)
            numbers.append(mask.sum(1).cpu().numpy())
            if "input_ids" in prepared:
                digest.update(prepared["input_ids"][mask].cpu().numpy().tobytes())
        self.ends = np.concatenate([[0], np.concatenate(numbers).cumsum()])
        digest.update(self.ends.tobytes())
        self.pool_name = f"{self.pooling.name}:{digest.hexdigest()}"

    @contextmanager
    def explaining(self, batch: Any, prepared: Any = None) -> Iterator[None]:
        """What goes wrong inside the network is said with the form of its input."""
        try:
            yield
        except Exception as error:
            given = f"{tuple(batch.shape)} {batch.dtype}" if hasattr(batch, "shape") else type(batch).__name__
            reached = f"reached it as {_form(prepared)}" if prepared is not None else "could not be preprocessed"
            raise ValueError(f"model '{self.model.name}' could not run on '{self.dataset.name}': {length_of(batch)} samples, {given}, {reached}, and it said: "
                             f"{error}. Give it a preprocess, load_model(..., preprocess=function of a batch), if the form is wrong") from error


def length_of(inputs: Any) -> int:
    return len(next(iter(inputs.values()))) if isinstance(inputs, Mapping) else len(inputs)


def _form(prepared: Any) -> str:
    if isinstance(prepared, Tensor):
        return f"{tuple(prepared.shape)} {str(prepared.dtype).removeprefix('torch.')}"
    if isinstance(prepared, Mapping):
        return ", ".join(f"{name} {_form(value)}" for name, value in prepared.items())
    return type(prepared).__name__


