"""What running a model may change in it, apart from its outputs: noted beforehand, put back afterwards."""

from __future__ import annotations

import warnings
from collections import OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

COPIED = 2**26  # bytes of weights up to which they are copied beforehand
_CONTAINERS = (list, dict, OrderedDict, defaultdict, set, deque)
_FIXED = (type(None), bool, int, float, complex, str, bytes)
_STRUCTURE = ("_parameters", "_buffers", "_modules", "training")  # the first three are looked at one by one; `training` is restored by train()
_FOREIGN = ("torch", "numpy", "builtins", "collections", "functools", "threading")  # objects of these are not taken apart


class State:
    """The buffers, attributes and hooks of a model's modules as they are now; `restore` puts them back.

    Attributes are noted with what they hold: tensors and arrays by value, lists, dicts, sets and plain objects part by part. Weights are
    put back up to 64 MB, of larger models only watched (`check_weights`). Modules that a forward pass built stay: a lazy layer
    that has its weights now keeps them, since the next pass would draw others.
    What a model changes outside itself (globals, attributes of a class, files) is not seen.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.weights = self._weights()
        self._seen: dict[int, Any] = {}  # objects that were noted, by their ids
        self.parts = [_Part(part, self._seen) for part in module.modules()]

    def built(self) -> bool:
        """Did a forward pass build parts of the model: weights of lazy layers, new modules?"""
        return any(part.built() for part in self.parts)

    def restore(self) -> None:
        with torch.no_grad():
            for weight, values in self.weights:
                if not isinstance(values, int) and not isinstance(weight, UninitializedTensorMixin):
                    _put(weight, values)
            for part in self.parts:
                if not part.built():
                    part.restore()

    def _weights(self) -> list[tuple[Tensor, Any]]:
        """The weights with their values, or of a large model with their version counters; an embedding with max_norm scales its rows while it runs."""
        scaled = {id(part.weight) for part in self.module.modules() if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None}
        small = sum(weight.nbytes for weight in self.module.parameters() if not isinstance(weight, UninitializedTensorMixin)) <= COPIED
        return [(weight, _copied(weight) if small or id(weight) in scaled else _version(weight)) for weight in self.module.parameters()]

    def check_weights(self) -> None:
        """Warn if a forward pass wrote to weights of which there is no copy."""
        written = sum(isinstance(version, int) and _version(weight) != version for weight, version in self.weights)
        if written:
            warnings.warn(f"running {type(self.module).__name__} wrote to {written} of its weights, which are no longer as they were: its forward changes them in place", stacklevel=5)


class _Part:
    """One module of a model: its buffers and attributes as they are now, and what these hold."""

    def __init__(self, module: nn.Module, seen: dict[int, Any]) -> None:
        self.module, self.seen, self.structure = module, seen, _structure(module)
        self.buffers = {name: (buffer, _copied(buffer)) for name, buffer in module.named_buffers(recurse=False)}
        self.empty = [] if isinstance(module, torch.jit.ScriptModule) else [name for name, buffer in module._buffers.items() if buffer is None]
        self.attributes = {} if isinstance(module, torch.jit.ScriptModule) else {name: value for name, value in vars(module).items() if name not in _STRUCTURE}
        self.held: list[tuple[Any, Any]] = []  # an object, and what it held
        for value in self.attributes.values():
            self._note(value)

    def built(self) -> bool:
        return _structure(self.module) != self.structure

    def restore(self) -> None:
        for name, (buffer, values) in self.buffers.items():
            if not isinstance(self.module, torch.jit.ScriptModule):
                self.module._buffers[name] = buffer
            _put(buffer, values)
        if isinstance(self.module, torch.jit.ScriptModule):
            return
        for name in self.empty:
            self.module._buffers[name] = None
        own = vars(self.module)
        for name in [name for name in own if name not in self.attributes and name not in _STRUCTURE]:
            del own[name]
        own.update(self.attributes)
        for thing, held in self.held:
            _refill(thing, held)

    def _note(self, value: Any) -> None:
        """Note what an attribute holds: tensors and arrays by value, containers and plain objects part by part, each object once."""
        kind = type(value)
        if kind in _FIXED or id(value) in self.seen or isinstance(value, nn.Module):
            return
        if kind is tuple:
            parts, held = list(value), None
        elif kind in _CONTAINERS:
            parts, held = (list(value.values()) if isinstance(value, dict) else list(value), value.copy()) if value else ((), ())  # most dicts of hooks are empty
        elif isinstance(value, Tensor):
            if isinstance(value, nn.Parameter):
                return
            parts, held = [], _copied(value)
        elif isinstance(value, np.ndarray):
            parts, held = [], value.copy()
        elif _is_plain(value):
            parts, held = list(vars(value).values()), dict(vars(value))
        else:
            return
        self.seen[id(value)] = value
        if held is not None:
            self.held.append((value, held))
        for part in parts:
            self._note(part)


def _structure(module: nn.Module) -> tuple[Any, ...]:
    """Which parameters, buffers and modules a module has; a forward pass that changes this has built a part of the model."""
    if isinstance(module, torch.jit.ScriptModule):
        return ()
    weights = ((name, id(weight), type(weight)) for name, weight in module._parameters.items())
    return (type(module), *weights, *module._buffers, *((name, id(child)) for name, child in module._modules.items()))


def _is_plain(value: Any) -> bool:
    """An object of somebody's own class, with attributes and no code of its own that copying would miss."""
    return hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value) and type(value).__module__.partition(".")[0] not in _FOREIGN


def _copied(tensor: Tensor | None) -> Tensor | None:
    if tensor is None or isinstance(tensor, UninitializedTensorMixin) or tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        return None
    return tensor.detach().clone()


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _put(tensor: Tensor, values: Tensor | None) -> None:
    if values is None or _same(tensor, values):
        return
    if tensor.shape != values.shape or tensor.dtype != values.dtype:
        tensor.data = values
    else:
        tensor.copy_(values)


def _same(a: Any, b: Any) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and bool(((a == b) | ((a != a) & (b != b))).all())


def _refill(thing: Any, held: Any) -> None:
    """Make an object hold again what it held."""
    if isinstance(thing, Tensor):
        _put(thing, held)
    elif isinstance(thing, np.ndarray):
        if not np.array_equal(thing, held, equal_nan=thing.dtype.kind in "fc"):
            thing[...] = held
    elif type(thing) in _CONTAINERS:
        if len(thing) != len(held) or any(a is not b for a, b in zip(_parts(thing), _parts(held), strict=True)):
            thing.clear()
            (thing.extend if isinstance(thing, (list, deque)) else thing.update)(held)
    else:
        own = vars(thing)
        if own.keys() != held.keys() or any(own[name] is not held[name] for name in held):
            own.clear()
            own.update(held)


def _parts(container: Any) -> list[Any]:
    return [part for item in container.items() for part in item] if isinstance(container, dict) else list(container)
