"""`record`: one pass over the data, many layers, in memory or into a store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .datasets import Dataset
from .errors import unknown
from .models import OUTPUT, Model, load_model
from .progress import Tick, ticking
from .store import Activations, Key, Store

Sink = Callable[[str, Tensor], None]


def _mean(x: Tensor) -> Tensor:
    """Over space for (n, c, h, w), over tokens for (n, tokens, p)."""
    return x.flatten(2).mean(2) if x.ndim >= 4 else x.mean(1) if x.ndim == 3 else x


def _token(which: int) -> Callable[[Tensor], Tensor]:
    def take(x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ValueError(f"a token can be taken of activations (samples, tokens, features) only; these are {tuple(x.shape)}")
        return x[:, which]
    return take


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "flatten": lambda x: x.flatten(1) if x.ndim > 1 else x[:, None],
    "mean": _mean,
    "first": _token(0),
    "last": _token(-1),
}


@contextmanager
def capture(module: nn.Module, layers: Sequence[str], sink: Sink) -> Iterator[None]:
    """While open, every forward pass hands each layer's output to `sink(name, tensor)`; the hooks always come off again.

    The sink is called inside the hook and must copy what it keeps: a following in-place operation may overwrite the tensor.
    """
    modules = dict(module.named_modules())

    def hook(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, out: sink(name, _tensor(out, name))

    with ExitStack() as stack:
        for name in layers:
            stack.callback((module if name == OUTPUT else modules[name]).register_forward_hook(hook(name)).remove)
        yield


def _tensor(out: Any, name: str) -> Tensor:
    """The tensor of a module's output: itself, the first of a tuple, the states or the logits of a mapping."""
    if isinstance(out, Tensor):
        return out
    values = [out[k] for k in ("last_hidden_state", "logits") if k in out] + list(out.values()) if isinstance(out, Mapping) else out
    for value in values if isinstance(values, (tuple, list)) else ():
        if isinstance(value, Tensor):
            return value
    raise ValueError(f"layer '{name}' returns {type(out).__name__} with no tensor in it, so there is nothing to record; record a layer inside it")


@contextmanager
def _evaluating(module: nn.Module, device: str | torch.device | None) -> Iterator[torch.device]:
    """Eval mode, no gradients, the random state kept; every training flag and the device are restored."""
    flags = {m: m.training for m in module.modules()}
    first = next((t for t in (*module.parameters(), *module.buffers())), None)
    home = first.device if first is not None else torch.device("cpu")
    place = torch.device(device) if device is not None else home
    try:
        module.eval()
        if place != home:
            module.to(place)
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            yield place
    finally:
        if place != home:
            module.to(home)
        for m, flag in flags.items():
            m.training = flag


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
    layers: names, or numbers (-2 is the layer before the output); None is `model.layers`, all of them.  into: a Store (or its folder); what it already holds is not run again.
    pool: "flatten" keeps everything; "mean" averages over space or tokens; "first", "last" take one token; or a function of the tensor.
    step: the step of training, for checkpoints of one network.  batch_size: rows a pass; results do not depend on it beyond rounding.
    device: where to run; None is where the model is.  progress: a bar, or a function(done, total) that may raise to stop.
    Errors: ValueError for an unknown layer (with the nearest), one that never ran or ran twice, one without a sample axis.
    """
    models = [load_model(m) for m in (model if isinstance(model, (list, tuple)) else [model])]
    names = [m.name for m in models]
    if len(set(names)) < len(names):
        raise ValueError(f"models recorded together need different names; got {names}. Name them: load_model(..., name=...)")
    if not isinstance(pool, str) and not callable(pool):
        raise ValueError(f"pool is one of {list(POOLS)} or a function; got {pool!r}")
    if isinstance(pool, str) and pool not in POOLS:
        raise unknown("pool", pool, POOLS)
    if batch_size < 1:
        raise ValueError(f"batch_size is at least 1; got {batch_size}")
    dataset = data if isinstance(data, Dataset) else Dataset("inputs", data)
    if len(dataset) == 0:
        raise ValueError(f"dataset '{dataset.name}' is empty: there is nothing to record")
    wanted = [m.check_layers(layers) for m in models]
    into = Store(into) if isinstance(into, (str, Path)) else into
    total, done = len(models) * len(dataset), 0
    with ticking(progress, f"recording {names[0] if len(names) == 1 else f'{len(names)} models'}", "sample") as tick:
        recorded = Activations({})
        for m, chosen in zip(models, wanted, strict=True):
            run = _Run(m, dataset, chosen, pool, step, batch_size, device)
            recorded = recorded | run(into, lambda rows, before=done: tick(before + rows, total))
            done += len(dataset)
    return recorded


class _Run:
    """One model over one data set."""

    def __init__(self, model: Model, dataset: Dataset, layers: tuple[str, ...], pool: Any, step: int | str, batch_size: int, device: Any) -> None:
        self.model, self.dataset, self.batch_size, self.device = model, dataset, batch_size, device
        self.pool = POOLS[pool] if isinstance(pool, str) else pool
        self.pool_name = pool if isinstance(pool, str) else getattr(pool, "__qualname__", type(pool).__name__)
        self.keys = {layer: Key(model.name, layer, dataset.name, step, self.pool_name) for layer in layers}

    def __call__(self, into: Store | None, tick: Callable[[int], None]) -> Activations:
        if into is None:
            arrays: dict[str, np.ndarray] = {}

            def keep(layer: str, start: int, values: np.ndarray) -> None:
                if layer not in arrays:
                    arrays[layer] = np.empty((len(self.dataset), *values.shape[1:]), values.dtype)
                arrays[layer][start : start + len(values)] = values

            order = self._pass(list(self.keys), 0, keep, tick)
            return Activations({self.keys[layer]: arrays[layer] for layer in order}, {self.model.name: self.model.card})
        origin = {"weights": fingerprint_weights(self.model.module), "inputs": fingerprint_inputs(self.dataset.inputs)}
        missing = [layer for layer, key in self.keys.items() if not into.holds(key, origin)]
        if missing:
            self._into_store(into, missing, origin, tick)
        tick(len(self.dataset))
        return Activations({key: into[key] for key in self.keys.values()}, {self.model.name: self.model.card})

    def _into_store(self, store: Store, layers: list[str], origin: dict[str, str], tick: Callable[[int], None]) -> None:
        writers: dict[str, Any] = {}

        def keep(layer: str, start: int, values: np.ndarray) -> None:
            writers[layer].write(start, values)

        def begin(layer: str, _start: int, values: np.ndarray) -> None:
            shape = (len(self.dataset), *values.shape[1:])
            writers[layer] = store.writer(self.keys[layer], shape, values.dtype, origin, self.model.card)

        order = self._pass(layers, 0, begin, lambda rows: None, stop=min(self.batch_size, 2))  # two samples tell shapes and order
        start = min(writer.rows for writer in writers.values())
        try:
            self._pass(layers, start - start % self.batch_size, keep, tick)
        except BaseException:
            for writer in writers.values():
                writer.keep()
            raise
        for layer in order:
            writers[layer].commit()

    def _pass(self, layers: list[str], start: int, keep: Callable[[str, int, np.ndarray], None], tick: Callable[[int], None], stop: int | None = None) -> list[str]:
        """Run rows start, ... through the model, handing on every layer's rows; the layers in the order in which they ran."""
        model, inputs = self.model, self.dataset.inputs
        seen: dict[str, int] = {}
        rows = (0, 0)

        def sink(layer: str, out: Tensor) -> None:
            if layer in seen and seen[layer] == rows[0]:
                raise ValueError(f"layer '{layer}' of '{model.name}' ran more than once in one pass; record the modules around it instead")
            seen[layer] = rows[0]
            keep(layer, rows[0], self._pooled(layer, out, rows[1] - rows[0]))

        end = len(self.dataset) if stop is None else min(stop, len(self.dataset))
        with capture(model.module, layers, sink), _evaluating(model.module, self.device) as place:
            for first in range(start, end, self.batch_size):
                rows = first, min(first + self.batch_size, end)
                self._forward(inputs[rows[0] : rows[1]], place)
                silent = [layer for layer in layers if seen.get(layer) != first]
                if silent:
                    raise ValueError(f"layer '{silent[0]}' of '{model.name}' did not run in the forward pass, so it has no activations")
                tick(rows[1])
        return list(seen)

    def _forward(self, batch: Any, place: torch.device) -> None:
        batch = self.model.preprocess(batch)
        if isinstance(batch, Mapping):
            self.model.module(**{k: v.to(place) if isinstance(v, Tensor) else v for k, v in batch.items()})
        else:
            self.model.module(batch.to(place) if isinstance(batch, Tensor) else batch)

    def _pooled(self, layer: str, out: Tensor, rows: int) -> np.ndarray:
        if out.ndim == 0 or out.shape[0] != rows:
            raise ValueError(f"layer '{layer}' of '{self.model.name}' has no sample axis: for {rows} samples it gave shape {tuple(out.shape)}")
        values = self.pool(out)
        if not isinstance(values, Tensor) or values.ndim < 2 or values.shape[0] != rows:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"pool '{self.pool_name}' must keep the {rows} samples as rows, (n, p); of layer '{layer}' {tuple(out.shape)} it made {shape}")
        values = values.detach().flatten(1)
        values = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
        return values.cpu().numpy()


def fingerprint_weights(module: nn.Module) -> str:
    """A hash of the architecture's name and of every weight's name, type, shape and bytes."""
    digest = hashlib.blake2b(type(module).__qualname__.encode(), digest_size=16)
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
