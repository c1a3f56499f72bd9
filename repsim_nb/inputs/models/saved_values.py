"""Save and restore the contents of objects: tensors, arrays, containers, random generators, plain objects."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

# bytes: weights of at most this size together, and any other tensor or array of at most this size, are copied
COPIED = 2**26
EMPTY = ()  # the contents of most dicts of hooks
CONTAINERS = (list, dict, set, deque)
# objects of these are not taken apart; those of accelerate contain the weights of offloaded models
_FOREIGN = ("torch", "numpy", "builtins", "functools", "threading", "accelerate")


class Versions:
    """Counts how often a large tensor, or the tensors that it wraps, were written to."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensors = _find_plain_tensors(tensor)
        self.seen = [_read_version(one) for one in self.tensors]

    def changed(self) -> bool:
        """Return whether it was written to since the last call."""
        before, self.seen = self.seen, [_read_version(one) for one in self.tensors]
        return before != self.seen


def list_contents(value: Any) -> list[Any]:
    """List the objects in a container, or in the attributes of an object."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (tuple, *CONTAINERS)):
        return list(value)
    return list(vars(value).values()) if _is_plain(value) else []


def _is_plain(value: Any) -> bool:
    """Return whether it is an object with attributes, of a class outside the common libraries."""
    return hasattr(value, "__dict__") and type(value).__module__.partition(".")[0] not in _FOREIGN


def save_value(value: Any, most: float | None = None) -> Any:
    """Return the contents of an object, in the form that `restore_value` takes; None if they cannot be restored.

    For a tensor of more than `most` bytes (None: COPIED) only its versions are counted.
    """
    most = COPIED if most is None else most
    if isinstance(value, CONTAINERS):
        return (tuple(value.items()) if isinstance(value, dict) else tuple(value)) if value else EMPTY
    if isinstance(value, Tensor):
        if (
            isinstance(value, UninitializedTensorMixin)
            or value.is_meta
            or value.is_quantized
            or value.layout != torch.strided
        ):
            return None
        return _copy_tensor(value) if value.nbytes <= most else Versions(value)
    if isinstance(value, np.ndarray):
        return value.copy() if value.nbytes <= most else None
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, (random.Random, np.random.RandomState)):
        return value.getstate() if isinstance(value, random.Random) else value.get_state()
    return dict(vars(value)) if _is_plain(value) else None


def _copy_tensor(tensor: Tensor) -> Any:
    """Copy a tensor; if it wraps others, as quantised weights do, copy these."""
    if is_traceable_wrapper_subclass(tensor):
        return [(one, _copy_tensor(one)) for one in _find_plain_tensors(tensor)]
    try:
        return tensor.detach().clone()
    except (NotImplementedError, RuntimeError, TypeError):  # a kind of tensor that cannot be copied
        return Versions(tensor)


def _find_plain_tensors(tensor: Tensor) -> list[Tensor]:
    """Return the ordinary tensors of a tensor: itself, or those that it wraps."""
    if isinstance(tensor, UninitializedTensorMixin) or not is_traceable_wrapper_subclass(tensor):
        return [tensor]
    parts = [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
    # a DTensor lists the mesh of its devices too
    return [one for part in parts if isinstance(part, Tensor) for one in _find_plain_tensors(part)]


def restore_value(value: Any, saved: Any) -> bool:
    """Restore the contents of an object, unless it got weights since; return whether they differed."""
    if isinstance(saved, list):
        return any([restore_value(one, its) for one, its in saved])
    if (
        saved is None
        or isinstance(saved, Versions)
        or (not isinstance(value, Tensor) and has_new_weights(list_contents(value), saved))
    ):
        return False
    if isinstance(value, dict):
        changed = tuple(map(id, (part for item in value.items() for part in item))) != tuple(
            map(id, (part for item in saved for part in item))
        )
        if changed:
            value.clear()
            value.update(dict(saved))
    elif isinstance(value, CONTAINERS):
        changed = tuple(map(id, value)) != tuple(map(id, saved))
        if changed:
            value.clear()
            if isinstance(value, set):
                value.update(saved)
            elif isinstance(value, (list, deque)):
                value.extend(saved)
    elif isinstance(value, Tensor):
        changed = value.shape != saved.shape or value.dtype != saved.dtype or not _is_equal(value, saved)
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


def has_new_weights(now: list[Any], before: Any) -> bool:
    """Return whether these objects, or their contents, include modules or parameters that a forward pass built."""

    def parts(values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            yield from (value, *(list_contents(value) if isinstance(value, (tuple, *CONTAINERS)) else ()))

    weights = [part for part in parts(now) if isinstance(part, (nn.Module, nn.Parameter))]
    known = before.values() if isinstance(before, dict) else before if isinstance(before, tuple) else ()
    return bool(weights) and not {id(part) for part in weights} <= {id(part) for part in parts(known)}


def _read_version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() or isinstance(tensor, UninitializedTensorMixin) else tensor._version


def _is_equal(a: Tensor, b: Tensor) -> bool:
    try:
        return a.device == b.device and bool(((a == b) | ((a != a) & (b != b))).all())
    except (NotImplementedError, RuntimeError, TypeError):  # a kind of tensor that cannot be compared
        return True
