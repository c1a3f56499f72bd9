"""Running a network to look at it: hooks that always come off, a state that is always restored."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..workers import Together

OUTPUT = "output"  # the name of what the whole network returns (for a classifier: its logits)
Sink = Callable[[str, Any], None]


def module_of(layer: str, modules: Mapping[str, nn.Module]) -> tuple[str, int | None]:
    """The module that a layer is the output of, and which of its calls in one pass ("act#2": the second of act; None: any)."""
    base, mark, call = layer.rpartition("#")
    return (base, int(call)) if mark and call.isdecimal() and layer not in modules else (layer, None)


@contextmanager
def capture(module: nn.Module, layers: Sequence[str], sink: Sink) -> Iterator[None]:
    """While open, every forward pass hands each layer's output to `sink(layer, output)`; the hooks always come off again.

    A layer is "output", the name of a module (each of its calls is handed on), or name#k, its k-th call in one pass.
    The sink is called inside the hook and must copy what it keeps: a following in-place operation may overwrite the tensor.
    """
    modules = dict(module.named_modules(remove_duplicate=False))
    wanted: dict[str, dict[int | None, str]] = defaultdict(dict)
    for layer in layers:
        base, call = module_of(layer, modules)
        wanted[base][call] = layer
    calls: dict[str, int] = defaultdict(int)

    def hook(name: str) -> Callable[..., None]:
        def see(_module: nn.Module, _inputs: Any, out: Any) -> None:
            calls[name] += 1
            for call in (None, calls[name]):
                if call in wanted[name]:
                    sink(wanted[name][call], out)
        return see

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(lambda *_: calls.clear()).remove)
        for name in wanted:
            stack.callback((module if name == OUTPUT else modules[name]).register_forward_hook(hook(name)).remove)
        whole = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
        if any(isinstance(modules.get(part), whole) for name in wanted for part in around(name)):
            stack.enter_context(_slow_path)
        yield


@contextmanager
def _without_fast_path() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_slow_path = Together(_without_fast_path)  # torch's attention then calls what is in it, tensors of one shape; the switch is one for the whole process


def around(name: str) -> list[str]:
    """The names of the modules that a module is in: "a.b.c" is in "a.b" and "a"."""
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts))]


@contextmanager
def random_states_kept(gpus: Sequence[int] = ()) -> Iterator[None]:
    """The random states of torch (of these GPUs too), NumPy and Python are as before when it closes."""
    states = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])


@contextmanager
def evaluating(module: nn.Module, device: str | torch.device | None = None) -> Iterator[torch.device]:
    """Eval mode, no gradients, the random states (torch's, NumPy's, Python's) kept; every training flag and the device are restored."""
    flags = {m: m.training for m in module.modules()}
    first = next((t for t in (*module.parameters(), *module.buffers())), None)
    home = first.device if first is not None else torch.device("cpu")
    place = _device(device) if device is not None else home
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device '{place}' was asked for, but torch sees no CUDA device here; leave device=None to run where the model is ({home})")
    moved = place != home and not (place.type == home.type and place.index is None)
    try:
        module.eval()
        if moved:
            module.to(place)
        with torch.inference_mode(), random_states_kept([place.index or 0] if place.type == "cuda" else []):
            yield place
    finally:
        if moved:
            module.to(home)
        for m, flag in flags.items():
            m.training = flag


def _device(device: str | int | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device is one that torch knows, 'cpu', 'cuda', 'cuda:1' or 'mps'; got {device!r}") from error
    if place.type == "meta":
        raise ValueError("on the device 'meta' a network has no weights, so nothing can be recorded there; leave device=None to run where the model is")
    return place


def forward(module: nn.Module, batch: Any, place: torch.device) -> Any:
    """One forward pass; a mapping enters as keyword arguments (tokenizers make such), and numbers in the precision of the weights."""
    precision = next((p.dtype for p in module.parameters() if p.is_floating_point()), None)

    def entering(value: Any) -> Any:
        value = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        if not isinstance(value, Tensor):
            return value
        return value.to(place, precision if precision is not None and value.is_floating_point() else value.dtype)

    if isinstance(batch, Mapping):
        return module(**{name: entering(value) for name, value in batch.items()})
    return module(entering(batch))


def tensor_of(out: Any) -> Tensor:
    """The tensor of a module's output: itself, the first of a tuple, the states or the logits of a mapping or a dataclass.

    ValueError where there is none.
    """
    found = next((tensor for tensor in _tensors(out) if tensor.ndim), next(_tensors(out), None))  # a loss is no activation
    if found is None:
        raise ValueError(f"returns {type(out).__name__} with no tensor in it, so there is nothing to record; record a layer inside it")
    return found


def _tensors(out: Any) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        yield out
    elif dataclasses.is_dataclass(out) and not isinstance(out, (type, Mapping)):
        yield from _tensors({field.name: getattr(out, field.name) for field in dataclasses.fields(out)})
    elif isinstance(out, Mapping):
        yield from _tensors([out[name] for name in ("last_hidden_state", "logits") if name in out] + list(out.values()))
    elif isinstance(out, (tuple, list)):
        for value in out:
            yield from _tensors(value)
