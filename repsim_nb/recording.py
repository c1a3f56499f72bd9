"""`record`: one pass over the data, many layers, in memory or into a store."""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .datasets import Dataset, load_dataset
from .errors import unknown
from .models import OUTPUT, Model, load_model
from .models.running import capture, evaluating, forward
from .progress import Tick, ticking
from .store import Activations, Key, Store


def _mean(x: Tensor) -> Tensor:
    """Over space for (n, c, h, w), over tokens for (n, tokens, p)."""
    return x.flatten(2).mean(2) if x.ndim >= 4 else x.mean(1) if x.ndim == 3 else x


def _token(which: int) -> Callable[[Tensor], Tensor]:
    def take(x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ValueError(f"has activations {tuple(x.shape)}, and a token can be taken of (samples, tokens, features) only")
        return x[:, which]
    return take


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": lambda x: x.flatten(1) if x.ndim > 1 else x[:, None],
    "mean": _mean,
    "first": _token(0),
    "last": _token(-1),
}


def tensor_of(out: Any) -> Tensor:
    """The tensor of a module's output: itself, the first of a tuple, the states or the logits of a mapping."""
    if isinstance(out, Tensor):
        return out
    values = [out[k] for k in ("last_hidden_state", "logits") if k in out] + list(out.values()) if isinstance(out, Mapping) else out
    for value in values if isinstance(values, (tuple, list)) else ():
        if isinstance(value, Tensor):
            return value
    raise ValueError(f"returns {type(out).__name__} with no tensor in it, so there is nothing to record; record a layer inside it")


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
    progress: bool | Tick = True,
) -> Activations:
    """Run the data through a model once and keep what its layers say -> Activations, Key -> array (n, p).

    model: a Model, a module, a spec of `load_model`, or a list of them.  data: a Dataset, or inputs (n, ...).
    layers: names, or numbers (-2 is the layer before the output); None is `model.layers`, without those that cannot be recorded (a
    warning names them) and without one that only returns the output.
    into: a Store, or its folder; what it already holds is not run again, what was begun goes on.
    pool: "flatten" keeps everything; "mean" averages over space or tokens; "first", "last" take one token; or a function of the tensor.
    step: the step of training, for checkpoints of one network.  batch_size: rows a pass; of a network that treats samples apart, results do not depend on it beyond rounding.
    device: where to run; None is where the model is.  progress: a bar, or a function(done, total) that may raise to stop.
    Errors: ValueError for an unknown layer (with the nearest), one that never ran or ran twice, one without a sample axis, or one that mixes samples.
    """
    models = [load_model(m) for m in (model if isinstance(model, (list, tuple)) else [model])]
    if not models:
        raise ValueError("record needs at least one model; the list is empty")
    names = [m.name for m in models]
    if len(set(names)) < len(names):
        raise ValueError(f"models recorded together need different names; got {names}. Name them: load_model(..., name=...)")
    dataset = checked(data, pool, batch_size)
    runs = [Run(m, dataset, layers, pool, step, batch_size, device) for m in models]
    into = Store(into) if isinstance(into, (str, Path)) else into
    total, done = len(models) * len(dataset), 0
    with ticking(progress, f"recording {names[0] if len(names) == 1 else f'{len(names)} models'}", "sample") as tick:
        recorded = Activations({})
        for run in runs:
            recorded = recorded | run(into, lambda rows, before=done: tick(before + rows, total))
            done += len(dataset)
    return recorded


def checked(data: Dataset | Any, pool: Any, batch_size: int) -> Dataset:
    """What models are to be run on, as a Dataset; ValueError where it, the pool or the batch size will not do."""
    if not isinstance(pool, str) and not callable(pool):
        raise ValueError(f"pool is one of {list(POOLS)} or a function; got {pool!r}")
    if isinstance(pool, str) and pool not in POOLS:
        raise unknown("pool", pool, POOLS)
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1; got {batch_size}")
    data = load_dataset(data) if isinstance(data, str) else data
    dataset = data if isinstance(data, Dataset) else Dataset("inputs", data)
    if len(dataset) == 0:
        raise ValueError(f"dataset '{dataset.name}' is empty: there is nothing to record")
    return dataset


class Run:
    """One model over one data set."""

    def __init__(self, model: Model, dataset: Dataset, layers: Any, pool: Any, step: int | str, batch_size: int, device: Any) -> None:
        self.model, self.dataset, self.batch_size, self.device = model, dataset, batch_size, device
        step = step.item() if isinstance(step, np.generic) else step
        self.step, self.pool = step, POOLS[pool] if isinstance(pool, str) else pool
        self.pool_print = pool if isinstance(pool, str) else fingerprint_function(pool)
        self.pool_name = pool if isinstance(pool, str) else getattr(pool, "__name__", type(pool).__name__).replace("<lambda>", "lambda")
        self.by_name, self.layers = layers is not None, model.check_layers(layers)

    def key(self, layer: str) -> Key:
        return Key(self.model.name, layer, self.dataset.name, self.step, self.pool_name)

    def __call__(self, into: Store | None, tick: Callable[[int], None]) -> Activations:
        origin = {} if into is None else self._origin()
        if into is not None and self.by_name and all(into.holds(self.key(layer), origin) for layer in self.layers):
            tick(len(self.dataset))
            wanted = {self.key(layer) for layer in self.layers}
            return Activations({key: into[key] for key in into if key in wanted}, {self.model.name: self.model.card})
        found, places = self.probe()
        arrays: dict[str, Any]
        if into is None:
            arrays = {layer: np.empty((len(self.dataset), *first.shape[1:]), first.dtype) for layer, first in found.items()}
            self._pass(list(arrays), 0, lambda layer, start, values: arrays[layer].__setitem__(slice(start, start + len(values)), values), tick)
        else:
            with into.alone(self.key("")):
                missing = {layer: first for layer, first in found.items() if not into.holds(self.key(layer), origin)}
                if missing:
                    self._into_store(into, missing, places, origin, tick)
            arrays = {layer: into[self.key(layer)] for layer in found}
        tick(len(self.dataset))
        return Activations({self.key(layer): arrays[layer] for layer in arrays}, {self.model.name: self.model.card})

    def _origin(self) -> dict[str, str]:
        """Fingerprints of all that a recording is made from, but for the layer."""
        try:
            prepared = self.model.preprocess(self.dataset.inputs[:2])
        except Exception as error:
            raise self._cannot_run(self.dataset.inputs[:2], None, error) from error
        parts = prepared.values() if isinstance(prepared, Mapping) else [prepared]
        return {
            "weights": fingerprint_weights(self.model.module),
            "inputs": fingerprint_inputs(self.dataset.inputs),
            "preprocessing": " ".join(fingerprint_inputs(part) for part in parts),
            "pool": self.pool_print,
        }

    def probe(self) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """Two samples through the whole network -> ({layer: pooled}, in the order in which layers run; {any module: its place in it}).

        A layer that cannot be recorded is an error if it was asked for by name; otherwise it is left out, with one warning.
        """
        found: dict[str, np.ndarray] = {}
        problems: dict[str, str] = {}
        places: dict[str, int] = {}
        outs: dict[str, Any] = {}
        batch = self.dataset.inputs[: min(2, self.batch_size)]

        def look(name: str, out: Any) -> None:
            if name in self.layers and name in places:
                problems[name] = "ran more than once in one pass; record the modules around it instead"
            elif name in self.layers:
                try:
                    outs[name] = tensor_of(out)
                    found[name] = self._pooled(outs[name], len(batch)).copy()
                except ValueError as error:
                    problems[name] = str(error)
            places.setdefault(name, len(places))

        names = list(dict.fromkeys(name or OUTPUT for name, _ in self.model.module.named_modules()))  # "output" is the whole, whatever a part is called
        with capture(self.model.module, names, look), evaluating(self.model.module, self.device) as place:
            self._forward_or_say(batch, place)
        for layer in self.layers:
            if layer not in places:
                problems[layer] = "did not run in the forward pass, so it has no activations"
        if problems and (self.by_name or not set(found) - set(problems)):
            layer, why = next(iter(problems.items()))
            raise ValueError(f"layer '{layer}' of '{self.model.name}' {why}")
        if problems:
            some = "; ".join(f"'{layer}' {why}" for layer, why in list(problems.items())[:3])
            warnings.warn(f"{len(problems)} layers of '{self.model.name}' are left out: {some}", stacklevel=5)
        if len(batch) > 1:
            self._check_apart(batch, {layer: values for layer, values in found.items() if layer not in problems})
        twins = set()  # layers that return the very output, untouched: it is recorded once
        if not self.by_name and OUTPUT in found:
            twins = {name for name, out in outs.items() if name != OUTPUT and out is outs[OUTPUT] and np.array_equal(found[name], found[OUTPUT])}
        return {layer: values for layer, values in found.items() if layer not in problems and layer not in twins}, places

    def _check_apart(self, batch: Any, found: Mapping[str, np.ndarray]) -> None:
        """A sample alone must give what it gives beside another; else values would hang on the batch size."""
        def compare(layer: str, out: Any) -> None:
            alone = self._pooled(tensor_of(out), 1)[0]
            beside = found[layer][0]
            if alone.shape == beside.shape and not np.allclose(alone, beside, rtol=1e-2, atol=1e-3 * max(float(np.abs(beside).max()), 1e-6)):
                raise ValueError(f"layer '{layer}' of '{self.model.name}' mixes samples: the first sample gives other activations when a second one stands beside it, so they "
                                 f"would depend on batch_size. Does it take the samples along another axis (torch's attention needs batch_first=True)?")

        with capture(self.model.module, list(found), compare), evaluating(self.model.module, self.device) as place:
            forward(self.model.module, self.model.preprocess(batch[:1]), place)

    def _into_store(self, store: Store, layers: dict[str, np.ndarray], places: dict[str, int], origin: dict[str, str], tick: Callable[[int], None]) -> None:
        writers = {
            layer: store.writer(self.key(layer), (len(self.dataset), *first.shape[1:]), first.dtype, origin, self.model.card, place=places[layer])
            for layer, first in layers.items()
        }
        start = min(writer.rows for writer in writers.values())
        try:
            self._pass(list(layers), start - start % self.batch_size, lambda layer, first, values: writers[layer].write(first, values), tick)
        except BaseException:
            for writer in writers.values():
                writer.keep()
            raise
        for writer in writers.values():
            writer.commit()

    def _pass(self, layers: list[str], start: int, keep: Callable[[str, int, np.ndarray], None], tick: Callable[[int], None]) -> None:
        """Run rows start, ... through the model, handing on every layer's rows."""
        rows = (0, 0)

        def sink(layer: str, out: Any) -> None:
            try:
                keep(layer, rows[0], self._pooled(tensor_of(out), rows[1] - rows[0]))
            except ValueError as error:
                raise ValueError(f"layer '{layer}' of '{self.model.name}', samples {rows[0]} to {rows[1]}: {error}") from error

        end = len(self.dataset)
        with capture(self.model.module, layers, sink), evaluating(self.model.module, self.device) as place:
            for first in range(start, end, self.batch_size):
                rows = first, min(first + self.batch_size, end)
                forward(self.model.module, self.model.preprocess(self.dataset.inputs[rows[0] : rows[1]]), place)
                tick(rows[1])

    def _forward_or_say(self, batch: Any, place: torch.device) -> None:
        prepared = None
        try:
            prepared = self.model.preprocess(batch)
            forward(self.model.module, prepared, place)
        except Exception as error:
            raise self._cannot_run(batch, prepared, error) from error

    def _cannot_run(self, batch: Any, prepared: Any, error: Exception) -> ValueError:
        given = f"{tuple(batch.shape)} {batch.dtype}" if hasattr(batch, "shape") else type(batch).__name__
        reached = f"reached it as {tuple(prepared.shape)} {str(prepared.dtype).removeprefix('torch.')}" if isinstance(prepared, Tensor) else \
            "could not be preprocessed" if prepared is None else f"reached it as {type(prepared).__name__}"
        return ValueError(f"model '{self.model.name}' could not run on '{self.dataset.name}': {len(batch)} samples, {given}, {reached}, and it said: "
                          f"{error}. Give it a preprocess, load_model(..., preprocess=function of a batch), if the form is wrong")

    def _pooled(self, out: Tensor, rows: int) -> np.ndarray:
        return self.pooled(out, rows).cpu().numpy()

    def pooled(self, out: Tensor, rows: int) -> Tensor:
        """A layer's output for so many samples -> (rows, features) where it is, half precision as float32."""
        if out.ndim == 0 or out.shape[0] != rows:
            raise ValueError(f"has no sample axis: for {rows} samples it gave shape {tuple(out.shape)}")
        values = self.pool(out)
        if not isinstance(values, Tensor) or values.ndim < 2 or values.shape[0] != rows:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"was pooled by '{self.pool_name}' from {tuple(out.shape)} to {shape}, which must keep the {rows} samples as rows, (n, p)")
        values = values.detach().flatten(1)
        return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def fingerprint_weights(module: nn.Module) -> str:
    """A hash of the architecture as it prints and of every weight's name, type, shape and bytes."""
    digest = hashlib.blake2b(f"{type(module).__qualname__} {module}".encode(), digest_size=16)
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() if value.numel() else b"")
    return digest.hexdigest()


def fingerprint_inputs(inputs: Any) -> str:
    """A hash of the inputs' type, shape and bytes."""
    if isinstance(inputs, list):
        return hashlib.blake2b("\0".join(map(str, inputs)).encode(), digest_size=16).hexdigest()
    array = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def fingerprint_function(function: Any) -> str:
    """A hash of a function's code, constants, defaults and what it closes over (by how they print); of another callable, of its type and state."""
    if isinstance(function, functools.partial):
        return fingerprint_function(function.func) + f"{function.args}{function.keywords}"
    code = getattr(function, "__code__", None)
    if code is None:
        said = f"{type(function).__qualname__} {vars(function) if hasattr(function, '__dict__') else function!r}"
    else:
        enclosed = [cell.cell_contents for cell in function.__closure__ or ()]
        said = f"{code.co_code.hex()} {code.co_consts} {code.co_names} {function.__defaults__} {enclosed}"
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()
