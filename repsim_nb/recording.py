"""`record`: one pass over the data, many layers, in memory or into a store."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from .datasets import Dataset, fingerprint_inputs, load_dataset
from .models import OUTPUT, Model, load_model
from .models.running import capture, evaluating, forward, module_of, tensor_of
from .pooling import Pooling, mask_of
from .progress import Tick, ticking
from .store import Activations, Key, Store
from .workers import workers


def record(
    model: Model | nn.Module | str | Sequence[Model | nn.Module | str],
    data: Dataset | Any,
    layers: str | int | Sequence[str | int] | None = None,
    *,
    into: Store | str | Path | None = None,
    pool: str | Callable[[Tensor], Tensor] = "flatten",
    step: int | str = 0,
    batch_size: int = 250,
    device: str | torch.device | None = None,
    executor: Executor | None = None,
    progress: bool | Tick = True,
) -> Activations:
    """Run the data through a model once and keep what its layers say -> Activations, Key -> array (n, p).

        x = rs.record(my_module, images)                                          # your own; images (n, h, w, 3), uint8
        x = rs.record("transformers:path/to/folder", sentences, pool="mean")      # a Hugging Face folder; sentences a list of str

    model: a Model, a module, a spec of `load_model`, or a list of them.
    data: the name of a set, a Dataset, or inputs: an array (n, ...), a list of str, a folder of images, a torch Dataset, a DataLoader that
    does not shuffle, a generator of batches.
    layers: names, patterns ("blocks.*.mlp"), "auto" (one a block), or numbers (-2 is the layer before the output); None is
    `model.layers`. A layer that runs k times in a pass is recorded as name#1 to name#k. What a pattern finds and cannot be recorded is
    left out with a warning, and so is a layer that only returns the output.
    into: a Store, or its folder: needed where activations are larger than memory; what it holds is not run again, what was begun goes on.
    pool: "flatten" keeps everything; "mean" averages over space (n, c, h, w) or tokens (n, tokens, p), padding left out; "first", "last"
    take one token; "tokens" makes every token (every place of a picture) a sample; or a function of the tensor.
    step: the step of training, for checkpoints of one network.  batch_size: samples a pass; of a network that treats samples apart, results do not depend on it beyond rounding.
    device: where to run; None is where the model is.  executor: workers for many models, one each (processes, `client.get_executor()` of
    dask.distributed); what they record goes into a store that all reach.  progress: a bar, or a function(done, total) that may raise to stop.
    Errors: ValueError for an unknown layer (with the nearest), one that never ran, without a sample axis, or that mixes samples; for NaN.
    """
    given = list(model) if isinstance(model, (list, tuple)) else [model]
    if not given:
        raise ValueError("record needs at least one model; the list is empty")
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size is at least 1; got {batch_size}")
    pooling = Pooling(pool)
    data = load_dataset(data) if isinstance(data, str) else data
    dataset = data if isinstance(data, Dataset) else Dataset("inputs", data)
    if len(dataset) == 0:
        raise ValueError(f"dataset '{dataset.name}' is empty: there is nothing to record")
    into = Store(into) if isinstance(into, (str, Path)) else into
    step = step.item() if isinstance(step, np.generic) else step
    if executor is not None:
        return _record_apart(given, dataset, layers, into, executor, progress, {"pool": pool, "step": step, "batch_size": batch_size, "device": device})
    models = [load_model(m) for m in given]
    _check_names([m.name for m in models])
    runs = [_Run(m, dataset, layers, pooling, step, batch_size, device) for m in models]
    total, done = len(models) * len(dataset), 0
    with ticking(progress, f"recording {models[0].name if len(models) == 1 else f'{len(models)} models'}", "sample") as tick:
        recorded = Activations({})
        for run in runs:
            recorded = recorded | run(into, lambda samples, before=done: tick(before + samples, total))
            done += len(dataset)
    return recorded


def _check_names(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"models recorded together need different names; got {names}. Name them: load_model(..., name=...)")


def _record_apart(given: list[Any], dataset: Dataset, layers: Any, into: Store | None, executor: Executor, progress: bool | Tick, options: dict[str, Any]) -> Activations:
    """Each model is a task; a spec travels as it is, memory-mapped inputs as their address; recordings stay where they are written."""
    if into is None:
        raise ValueError("with an executor record needs into=, a store on a disk that all workers reach: activations are written there and do not travel")
    names = [m if isinstance(m, str) else load_model(m).name for m in given]
    _check_names(names)
    store = copy.copy(into)
    store.path = into.path.absolute()
    recorded, facts = [], {}
    with workers(executor) as run, ticking(progress, f"recording {len(given)} models", "model") as tick:
        some = len(given)
        tasks = ([dataset.name] * some, [dataset.inputs] * some, [layers] * some, [store] * some, [options] * some)
        for done, (keys, known) in enumerate(run(_record_one, given, *tasks, idle=lambda: tick(len(facts), some))):
            recorded += keys
            facts.update(known)
            tick(done + 1, some)
    if len(facts) < some:
        raise ValueError(f"two of these models have one name, so that one's recordings were taken for the other's: {names}. Name them: load_model(..., name=...)")
    return Activations({key: into[key] for key in recorded}, facts)


def _record_one(model: Any, name: str, inputs: Any, layers: Any, store: Store, options: dict[str, Any]) -> tuple[list[Key], dict[str, Any]]:
    x = record(model, Dataset(name, inputs), layers, into=store, progress=False, **options)
    return list(x), x.facts


@dataclass(frozen=True)
class _Layer:
    """A layer that can be recorded, as two samples showed it.

    shape, dtype: of a row.  place: where it stands in forward order.  rows: how many rows a sample gives; None: one for every real token.
    """

    first: np.ndarray
    place: int
    rows: int | None = 1


class _Run:
    """One model over one data set."""

    def __init__(self, model: Model, dataset: Dataset, layers: Any, pooling: Pooling, step: int | str, batch_size: int, device: Any) -> None:
        self.model, self.dataset, self.batch_size, self.device, self.step, self.pooling = model, dataset, batch_size, device, step, pooling
        self.layers, self.by_name = model.check_layers(layers), model.by_name(layers)
        self.chosen = layers is not None  # by the user, be it with a pattern
        self.pool_name = pooling.name
        self.ends: np.ndarray | None = None  # of a text: after how many tokens each sample ends

    def key(self, layer: str) -> Key:
        return Key(self.model.name, layer, self.dataset.name, self.step, self.pool_name)

    def __call__(self, into: Store | None, tick: Callable[[int], None]) -> Activations:
        facts = {self.model.name: self.model.card}
        origin = {} if into is None else self._origin()
        if into is not None and not self.pooling.by_token and self.by_name == set(self.layers) and all(into.holds(self.key(layer), origin) for layer in self.layers):
            tick(len(self.dataset))
            wanted = {self.key(layer) for layer in self.layers}
            return Activations({key: into[key] for key in into if key in wanted}, facts)
        with evaluating(self.model.module, self.device) as self.place:
            found = self._probe()
            arrays: dict[str, Any]
            if into is None:
                self._check_room(found)
                arrays = {layer: np.empty((self._row(about, len(self.dataset)), *about.first.shape[1:]), about.first.dtype) for layer, about in found.items()}
                self._pass(found, 0, lambda layer, start, values: arrays[layer].__setitem__(slice(start, start + len(values)), values), tick)
            else:
                with into.alone(self.key("")):
                    missing = {layer: about for layer, about in found.items() if not into.holds(self.key(layer), origin)}
                    if missing:
                        self._into_store(into, missing, origin, tick)
                arrays = {layer: into[self.key(layer)] for layer in found}
        tick(len(self.dataset))
        return Activations({self.key(layer): arrays[layer] for layer in found}, facts)

    def _check_room(self, found: Mapping[str, _Layer]) -> None:
        sizes = {layer: self._row(about, len(self.dataset)) * about.first[0].nbytes for layer, about in found.items()}
        room = psutil.virtual_memory().available
        if sum(sizes.values()) > 0.9 * room:
            widest = max(sizes, key=sizes.__getitem__)
            raise MemoryError(f"{len(sizes)} layers of '{self.model.name}' on {len(self.dataset)} samples take {sum(sizes.values()) / 1e9:.1f} GB ('{widest}' alone {sizes[widest] / 1e9:.1f}), and "
                              f"{room / 1e9:.1f} GB of memory are free. Write them to disk, into='folder'; or take pool='mean', fewer layers, fewer samples")

    def _origin(self) -> dict[str, str]:
        """Fingerprints of all that a recording is made from, but for the layer."""
        inputs = self.dataset.inputs[:2]
        with self._explaining(inputs):
            prepared = self.model.preprocess(inputs)
        parts = prepared.values() if isinstance(prepared, Mapping) else [prepared]
        return {
            "weights": fingerprint_weights(self.model.module),
            "inputs": self.dataset.fingerprint(),
            "preprocessing": " ".join(fingerprint_inputs(part) for part in parts),
            "pool": self.pooling.fingerprint,
        }

    # -- two samples first -------------------------------------------------------------------------------------------------

    def _probe(self) -> dict[str, _Layer]:
        """Two samples through the whole network -> what can be recorded, in the order in which layers run.

        A layer that cannot be recorded is an error if it was asked for by name; otherwise it is left out, with one warning.
        """
        batch, alone = self._two()
        prepared = None
        with self._explaining(batch):
            prepared = self.model.preprocess(batch)
        mask = mask_of(prepared)
        if self.pooling.by_token and mask is not None:
            self._count_tokens()
        outs, problems, found = self._seen(batch, prepared, mask)
        self._leave_out(problems, found)
        if _length(batch) > 1:
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

    def _seen(self, batch: Any, prepared: Any, mask: Tensor | None) -> tuple[dict[str, Any], dict[str, str], dict[str, _Layer]]:
        """-> what each layer gave, why some cannot be recorded, and the others as they are; a layer that runs k times is k layers."""
        modules = dict(self.model.module.named_modules(remove_duplicate=False))
        asked = {module_of(layer, modules)[0] for layer in self.layers}
        samples = _length(batch)
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
        with capture(self.model.module, names, look), self._explaining(batch, prepared):
            forward(self.model.module, prepared, self.place)
        outs: dict[str, Any] = {}
        problems: dict[str, str] = {}
        found: list[tuple[int, str, _Layer]] = []
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
                    found.append((place, label, _Layer(rows, place, len(rows) // samples if by_sample else None)))
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

    # -- the pass ----------------------------------------------------------------------------------------------------------

    def _row(self, layer: _Layer, sample: int) -> int:
        """The row at which a sample's rows begin."""
        return sample * layer.rows if layer.rows is not None else int(self.ends[sample])

    def _into_store(self, store: Store, layers: dict[str, _Layer], origin: dict[str, str], tick: Callable[[int], None]) -> None:
        n = len(self.dataset)
        writers = {
            layer: store.writer(self.key(layer), (self._row(about, n), *about.first.shape[1:]), about.first.dtype, origin, self.model.card, place=about.place)
            for layer, about in layers.items()
        }
        whole = [sample for sample in range(0, n, self.batch_size) if all(self._row(layers[layer], sample) <= writer.rows for layer, writer in writers.items())]
        done = all(writer.rows == self._row(layers[layer], n) for layer, writer in writers.items())
        try:
            self._pass(layers, n if done else whole[-1], lambda layer, row, values: writers[layer].write(row, values), tick)
        except BaseException:
            for writer in writers.values():
                writer.keep()
            raise
        for writer in writers.values():
            writer.commit()

    def _pass(self, layers: Mapping[str, _Layer], start: int, keep: Callable[[str, int, np.ndarray], None], tick: Callable[[int], None]) -> None:
        """Run samples start, ... through the model, handing on every layer's rows."""
        first = last = 0
        mask: Tensor | None = None
        seen: set[str] = set()

        def sink(layer: str, out: Any) -> None:
            try:
                values = self.pooling(tensor_of(out), last - first, mask)
                self._check_rows(layers[layer], values, first, last, twice=layer in seen)
                keep(layer, self._row(layers[layer], first), values.cpu().numpy())
            except ValueError as error:
                raise ValueError(f"layer '{layer}' of '{self.model.name}', samples {first} to {last}: {error}") from error
            seen.add(layer)

        if start >= len(self.dataset):
            return
        with capture(self.model.module, list(layers), sink):
            for first, last, inputs in self.dataset.batches(start, self.batch_size):
                came = _length(inputs)
                if came != last - first:
                    raise ValueError(f"dataset '{self.dataset.name}' ran short: samples {first} to {last} were asked for while recording '{self.model.name}', and {came} came")
                prepared = self.model.preprocess(inputs)
                mask = mask_of(prepared)
                seen.clear()
                forward(self.model.module, prepared, self.place)
                for layer in layers:
                    if layer not in seen:
                        raise ValueError(f"layer '{layer}' of '{self.model.name}' did not run for samples {first} to {last}, though it did for others")
                tick(last)

    def _check_rows(self, layer: _Layer, values: Tensor, first: int, last: int, *, twice: bool) -> None:
        expected = self._row(layer, last) - self._row(layer, first), *layer.first.shape[1:]
        if twice:
            raise ValueError("ran more often than for the first samples")
        if tuple(values.shape) != expected:
            raise ValueError(f"gave rows {tuple(values.shape)} where the first samples make {expected} expected. If texts or pictures of unlike size make the difference, take pool='mean'")
        if values.is_floating_point() and not values.sum().isfinite() and not (good := values.isfinite()).all():
            raise ValueError(f"{int((~good).sum())} of {values.numel()} numbers are NaN or infinite, the first in row {self._row(layer, first) + int((~good).any(1).to(torch.int8).argmax())}")

    @contextmanager
    def _explaining(self, batch: Any, prepared: Any = None) -> Iterator[None]:
        """What goes wrong inside the network is said with the form of its input."""
        try:
            yield
        except Exception as error:
            given = f"{tuple(batch.shape)} {batch.dtype}" if hasattr(batch, "shape") else type(batch).__name__
            reached = f"reached it as {_form(prepared)}" if prepared is not None else "could not be preprocessed"
            raise ValueError(f"model '{self.model.name}' could not run on '{self.dataset.name}': {_length(batch)} samples, {given}, {reached}, and it said: "
                             f"{error}. Give it a preprocess, load_model(..., preprocess=function of a batch), if the form is wrong") from error


def _length(inputs: Any) -> int:
    return len(next(iter(inputs.values()))) if isinstance(inputs, Mapping) else len(inputs)


def _form(prepared: Any) -> str:
    if isinstance(prepared, Tensor):
        return f"{tuple(prepared.shape)} {str(prepared.dtype).removeprefix('torch.')}"
    if isinstance(prepared, Mapping):
        return ", ".join(f"{name} {_form(value)}" for name, value in prepared.items())
    return type(prepared).__name__


def fingerprint_weights(module: nn.Module) -> str:
    """A hash of the architecture as it prints and of every weight's name, type, shape and bytes."""
    digest = hashlib.blake2b(f"{type(module).__qualname__} {module}".encode(), digest_size=16)
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() if value.numel() else b"")
    return digest.hexdigest()
