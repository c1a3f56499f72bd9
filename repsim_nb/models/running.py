"""Running a model to look at it: hooks that always come off, a state that is always restored."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..randomness import random_states_kept
from ..workers import Together
from .state import State

OUTPUT = "output"  # the name of what the whole network returns (for a classifier: its logits)
Sink = Callable[[str, Any], None]


def as_layer(name: str) -> str:
    """A module's name as a layer's: "output" means what the whole model returns, so a part of that name goes by its first call."""
    return f"{OUTPUT}#1" if name == OUTPUT else name


def module_of(layer: str, modules: Mapping[str, nn.Module]) -> tuple[str, int | None]:
    """The module that a layer is the output of, and which of its calls in one pass ("act#2": the second of act; None: any)."""
    base, mark, call = layer.rpartition("#")
    return (base, int(call)) if mark and call.isdecimal() and layer not in modules else (layer, None)


@contextmanager
def capture(module: nn.Module, layers: Sequence[str], sink: Sink) -> Iterator[None]:
    """While open, every forward pass calls `sink(layer, output)` for each layer; the hooks always come off again.

    A layer is "output" (what the whole model returns), the name of a module (the sink is called for each of its calls), or name#k, its
    k-th call in one pass; "output#1" is the first call of a part that is called "output".
    The sink is called inside the hook and must copy what it keeps: a following in-place operation may overwrite the tensor.
    """
    modules = dict(module.named_modules(remove_duplicate=False))
    wanted: dict[tuple[str, bool], dict[int | None, str]] = defaultdict(dict)  # (name, is it the whole model) -> call -> layer
    for layer in layers:
        base, call = module_of(layer, modules)
        wanted[base, base == OUTPUT and call is None][call] = layer
    calls: dict[tuple[str, bool], int] = defaultdict(int)

    def hook(which: tuple[str, bool]) -> Callable[..., None]:
        def see(_module: nn.Module, _inputs: Any, out: Any) -> None:
            calls[which] += 1
            for call in (None, calls[which]):
                if call in wanted[which]:
                    sink(wanted[which][call], out)
        return see

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(lambda *_: calls.clear()).remove)
        for name, whole in wanted:
            stack.callback((module if whole else modules[name]).register_forward_hook(hook((name, whole))).remove)
        yield


@contextmanager
def _without_fast_path() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_slow_path = Together(_without_fast_path)  # torch's attention then calls the modules inside it; the switch is one for the whole process
_FAST = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


@contextmanager
def eager(module: nn.Module) -> Iterator[None]:
    """While open, the model runs module by module, so that hooks see every layer: without torch's fast path for attention, without torch.compile.

    The fast path also sets padding to zero and so gives other values than the modules; whether it is taken must not depend on which layers are asked for.
    """
    with ExitStack() as stack:
        if any(isinstance(part, _FAST) for part in module.modules()):
            stack.enter_context(_slow_path)
        if "torch._dynamo" in sys.modules:  # something in this process is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def around(name: str) -> list[str]:
    """The names of the modules that a module is in: "a.b.c" is in "a.b" and "a"."""
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts))]


@contextmanager
def evaluating(module: nn.Module, device: str | torch.device | None = None) -> Iterator[tuple[torch.device, State]]:
    """While open, the model is in evaluation mode and records no gradients -> (its device, its state before).

    Afterwards all is as before: its state (see `State`), training flags, device, random states.

    Gradients are off by `no_grad` and not by inference mode, whose tensors could never be trained again where a model caches them.
    """
    flags = {m: m.training for m in module.modules()}
    first = next((t for t in (*module.parameters(), *module.buffers())), None)
    home = first.device if first is not None else torch.device("cpu")
    place = _device(device) if device is not None else home
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device '{place}' was asked for, but torch sees no CUDA device here; leave device=None to run where the model is ({home})")
    moved = place != home and not (place.type == home.type and place.index is None)
    module.eval()  # which may do more than to set flags: merge adapters, for instance; train() undoes it
    state = State(module)
    try:
        if moved:
            module.to(place)
        with torch.inference_mode(False), torch.no_grad(), eager(module), random_states_kept([place.index or 0] if place.type == "cuda" else []):
            yield place, state
    finally:
        if moved:
            module.to(home)
        else:
            state.check_large()
        state.restore()
        if flags[module]:
            module.train()
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
    """One forward pass; a mapping enters as keyword arguments (tokenizers make such), and floating numbers in the precision of the weights.

    Tensors are copied, since a layer may write into its input: the batch stays as it is.
    """
    precision = next((p.dtype for p in module.parameters() if p.is_floating_point()), None)

    def entering(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            value, copied = torch.tensor(value), True
        else:
            copied = False
        if isinstance(value, Tensor):
            return value.detach().to(place, precision if precision is not None and value.is_floating_point() else value.dtype, copy=not copied)
        if isinstance(value, (list, dict)):
            return type(value)(map(entering, value)) if isinstance(value, list) else {name: entering(part) for name, part in value.items()}
        if isinstance(value, tuple):
            return type(value)(*map(entering, value)) if hasattr(value, "_fields") else tuple(map(entering, value))
        value = copy.deepcopy(value) if hasattr(value, "__dict__") else value
        return value.to(place) if callable(getattr(value, "to", None)) else value  # a batch of graphs, for instance

    if isinstance(batch, Mapping):
        return module(**{name: entering(value) for name, value in batch.items()})
    return module(entering(batch))


def tensor_of(out: Any) -> Tensor:
    """The tensor of a module's output: itself, the first of a tuple, the states or the logits of a mapping or a dataclass.

    A quantised tensor is given as float32. ValueError where there is none, or where it is nested or sparse.
    """
    found = next((tensor for tensor in _tensors(out) if tensor.ndim), next(_tensors(out), None))  # a loss is no activation
    if found is None:
        raise ValueError(f"returns {type(out).__name__} with no tensor in it, so there is nothing to record; record a layer inside it")
    if found.is_nested or found.layout != torch.strided:
        raise ValueError(f"gives a {'nested' if found.is_nested else 'sparse'} tensor, which has no rows of one length; record a layer before or after it")
    return found.dequantize() if found.is_quantized else found


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
