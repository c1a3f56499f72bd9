"""What running a model may change in it, apart from its outputs: noted beforehand, put back afterwards."""

from __future__ import annotations

import functools
import random
import types
import warnings
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

COPIED = 2**26  # bytes: weights up to that size together, and any other tensor or array up to that size, are copied beforehand
_FIXED = (type(None), bool, int, float, complex, str, bytes, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, functools.partial, torch.dtype, torch.device)
EMPTY = ()  # what most dicts of hooks hold
_CONTAINERS = (list, dict, set, deque)
_STRUCTURE = ("_parameters", "_buffers", "_modules", "training")  # the first three are looked at one by one; `training` is restored by train()
_KEPT = frozenset(_STRUCTURE)
_HOOKS = frozenset(name for name, value in vars(nn.Module()).items() if isinstance(value, dict) and name not in _KEPT)
_FOREIGN = ("torch", "numpy", "builtins", "functools", "threading")  # objects of these are not taken apart


class State:
    """The buffers, attributes and hooks of a model's modules as they are now; `restore` puts them back.

    Attributes are noted with what they hold: tensors and arrays by value, lists, dicts, sets, random generators and plain objects part by
    part. Weights are put back up to 64 MB together, and other tensors up to 64 MB each; larger ones are watched (`check_large`). Parameters
    and modules that a forward pass built stay: a lazy layer that has its weights now keeps them, since the next pass would draw others.
    What a model changes outside itself (globals, attributes of a class, files) is not seen.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        small = sum(weight.nbytes for weight in module.parameters() if not isinstance(weight, UninitializedTensorMixin)) <= COPIED
        scaled = {id(part.weight) for part in module.modules() if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None}  # their forward changes it
        self.weights = [(weight, _saved(weight) if small or id(weight) in scaled else _version(weight)) for weight in module.parameters()]
        self._seen: dict[int, Any] = {}  # objects that were noted, by their ids
        self.parts: list[_Part] = []
        waiting = deque(module.modules())
        while waiting:  # with modules that stand in a plain list, which the model does not count as its own
            part = waiting.popleft()
            if id(part) not in self._seen:
                self._seen[id(part)] = part
                self.parts.append(_Part(part, self._seen, waiting))

    def built(self) -> bool:
        """Did a forward pass build parts of the model: weights of lazy layers, new modules?"""
        return any(part.built() for part in self.parts)

    def restore(self, *, hooks: bool = True) -> bool:
        """-> whether anything had changed. hooks: put these back too; while hooks of ours are on, they must stay."""
        with torch.no_grad():
            changed = [_put_back(weight, saved) for weight, saved in self.weights if not isinstance(weight, UninitializedTensorMixin)]
            changed += [part.restore(hooks=hooks) for part in self.parts]
        return any(changed)

    def check_large(self) -> None:
        """Warn if a forward pass wrote to tensors of which there is no copy."""
        held = [*self.weights, *(one for part in self.parts for one in (*part.buffers.values(), *part.held))]
        written = sum(isinstance(thing, Tensor) and isinstance(saved, int) and _version(thing) != saved for thing, saved in held)
        if written:
            warnings.warn(f"running {type(self.module).__name__} wrote to {written} of its large tensors, which are no longer as they were: its forward changes them in place", stacklevel=5)


class _Part:
    """One module of a model: its buffers and attributes as they are now, and what these hold."""

    def __init__(self, module: nn.Module, seen: dict[int, Any], modules: deque[nn.Module]) -> None:
        self.module, self.structure = module, _structure(module)
        self.scripted = isinstance(module, torch.jit.ScriptModule)
        self.buffers = {name: (buffer, _saved(buffer)) for name, buffer in module.named_buffers(recurse=False)}
        self.slots = {} if self.scripted else dict(module._buffers)  # with those that are None
        self.attributes = {} if self.scripted else {name: value for name, value in vars(module).items() if name not in _STRUCTURE}
        self.hooks = [(value, _saved(value)) for name, value in self.attributes.items() if name in _HOOKS]
        self.held: list[tuple[Any, Any]] = []  # an object, and what it held
        self._note(seen, modules)

    def built(self) -> bool:
        return _structure(self.module) != self.structure

    def restore(self, *, hooks: bool) -> bool:
        changed = [_put_back(buffer, saved) for buffer, saved in self.buffers.values() if not isinstance(buffer, UninitializedTensorMixin)]
        if self.scripted or self.built():
            return any(changed)
        buffers, own = self.module._buffers, vars(self.module)
        if buffers.keys() != self.slots.keys() or any(buffers[name] is not buffer for name, buffer in self.slots.items()):
            buffers.clear()
            buffers.update(self.slots)
            changed.append(True)
        if own.keys() - self.attributes.keys() - _KEPT or any(own.get(name) is not value for name, value in self.attributes.items()):
            changed.append(self._restore_attributes(own))
        for thing, saved in (*self.held, *(self.hooks if hooks else ())):
            if saved is not EMPTY or len(thing):
                changed.append(_put_back(thing, saved))
        return any(changed)

    def _restore_attributes(self, own: dict[str, Any]) -> bool:
        if _has_new_weights([value for name, value in own.items() if name not in _STRUCTURE], self.attributes):
            return False
        for name in [name for name in own if name not in self.attributes and name not in _STRUCTURE]:
            del own[name]
        own.update(self.attributes)
        return True

    def _note(self, seen: dict[int, Any], modules: deque[nn.Module]) -> None:
        """Note what the attributes hold, each object once."""
        waiting = [value for name, value in self.attributes.items() if name not in _HOOKS]
        while waiting:
            value = waiting.pop()
            kind = type(value)
            if kind in _FIXED or id(value) in seen or isinstance(value, (type, nn.Parameter)):
                continue
            if isinstance(value, nn.Module):
                modules.append(value)
                continue
            if kind is not tuple:
                saved = _saved(value)
                if saved is None:
                    continue
                self.held.append((value, saved))
            seen[id(value)] = value
            waiting += _parts(value)


def _structure(module: nn.Module) -> tuple[Any, ...]:
    """Which parameters and modules a module has; a forward pass that changes this has built a part of the model."""
    if isinstance(module, torch.jit.ScriptModule):
        return ()
    weights = ((name, id(weight), type(weight)) for name, weight in module._parameters.items())
    return (type(module), *weights, *((name, id(child)) for name, child in module._modules.items()))


def _parts(value: Any) -> list[Any]:
    """The objects in a container, or in the attributes of an object."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (tuple, *_CONTAINERS)):
        return list(value)
    return list(vars(value).values()) if _is_plain(value) else []


def _is_plain(value: Any) -> bool:
    """Is it an object of somebody's own class, with attributes?"""
    return hasattr(value, "__dict__") and type(value).__module__.partition(".")[0] not in _FOREIGN


def _saved(value: Any) -> Any:
    """What an object holds now, in the form that `_put_back` takes; a large tensor's version; None if it is not of a kind that can be put back."""
    if isinstance(value, _CONTAINERS):
        return (tuple(value.items()) if isinstance(value, dict) else tuple(value)) if value else EMPTY
    if isinstance(value, Tensor):
        if isinstance(value, UninitializedTensorMixin) or value.is_meta or value.is_quantized or value.layout != torch.strided:
            return None
        return value.detach().clone() if value.nbytes <= COPIED else _version(value)
    if isinstance(value, np.ndarray):
        return value.copy() if value.nbytes <= COPIED else None
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, (random.Random, np.random.RandomState)):
        return value.getstate() if isinstance(value, random.Random) else value.get_state()
    return dict(vars(value)) if _is_plain(value) else None


def _put_back(value: Any, saved: Any) -> bool:
    """Make an object hold again what it held, unless it got weights since -> whether it held something else."""
    if saved is None or isinstance(saved, int) or (not isinstance(value, Tensor) and _has_new_weights(_parts(value), saved)):
        return False
    if isinstance(value, dict):
        changed = tuple(map(id, (part for item in value.items() for part in item))) != tuple(map(id, (part for item in saved for part in item)))
        if changed:
            value.clear()
            value.update(dict(saved))
    elif isinstance(value, _CONTAINERS):
        changed = tuple(map(id, value)) != tuple(map(id, saved))
        if changed:
            value.clear()
            (value.update if isinstance(value, set) else value.extend)(saved)
    elif isinstance(value, Tensor):
        changed = value.shape != saved.shape or value.dtype != saved.dtype or not _same(value, saved)
        if changed and (value.shape != saved.shape or value.dtype != saved.dtype):
            value.data = saved.clone()
        elif changed:
            value.copy_(saved)
    elif isinstance(value, np.ndarray):
        changed = not np.array_equal(value, saved, equal_nan=value.dtype.kind in "fc")
        if changed:
            value[...] = saved
    elif isinstance(value, np.random.Generator):
        changed, value.bit_generator.state = value.bit_generator.state != saved, saved
    elif isinstance(value, torch.Generator):
        changed = not torch.equal(value.get_state(), saved)
        value.set_state(saved)
    elif isinstance(value, (random.Random, np.random.RandomState)):
        changed = True
        (value.setstate if isinstance(value, random.Random) else value.set_state)(saved)
    else:
        own = vars(value)
        changed = own.keys() != saved.keys() or any(own[name] is not saved[name] for name in saved)
        if changed:
            own.clear()
            own.update(saved)
    return changed


def _has_new_weights(now: list[Any], before: Any) -> bool:
    """Do these objects, or what they hold, include modules or parameters that were not there before? A forward pass built them."""
    weights = [part for value in now for part in (value, *(_parts(value) if isinstance(value, (tuple, *_CONTAINERS)) else ())) if isinstance(part, (nn.Module, nn.Parameter))]
    if not weights:
        return False
    known = list(before.values()) if isinstance(before, dict) else list(before) if isinstance(before, tuple) else []
    ids = {id(part) for value in known for part in (value, *(_parts(value) if isinstance(value, (tuple, *_CONTAINERS)) else ()))}
    return any(id(part) not in ids for part in weights)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() or isinstance(tensor, UninitializedTensorMixin) else tensor._version


def _same(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and bool(((a == b) | ((a != a) & (b != b))).all())
