"""Save the parts of a model that a forward pass may change, and restore them afterwards."""

from __future__ import annotations

import functools
import math
import types
from collections import deque
from collections.abc import Iterable
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]

from repsim_nb.inputs.code_analysis import find_reached_code, is_ours
from repsim_nb.support.errors import warn_user

from . import saved_values
from .saved_values import CONTAINERS, EMPTY, Versions, has_new_weights, list_contents, restore_value, save_value

_FLAGS = (type(None), bool, int, float, str)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, functools.partial)
_FIXED = (*_FLAGS, *_FUNCTIONS, complex, bytes, torch.dtype, torch.device)
# the first three are looked at one by one; `training` is restored by train()
_STRUCTURE = frozenset(["_parameters", "_buffers", "_modules", "training"])
_HOOKS = frozenset(
    name for name, value in vars(nn.Module()).items() if isinstance(value, dict) and name not in _STRUCTURE
)


class State:
    """The buffers, attributes and hooks of a model's modules as they are now; `restore` puts them back.

    Attributes are saved with their contents: tensors and arrays by value, lists, dicts, sets, random generators and
    plain objects part by part. Weights are restored up to 64 MB together, and other tensors up to 64 MB each; larger
    weights are restored if the code of a `forward` may write to them. All others are watched (`check_large`); once one
    of them was written to, attributes that may depend on that stay as they are then.
    Parameters and modules that a forward pass built stay: a lazy layer keeps its new weights, since the next pass would
    draw others. Changes outside of the model (globals, attributes of a class, files) are not found.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        weights = [weight for weight in module.parameters() if not weight.is_meta]  # such a one has no values to change
        small = _bytes(weights) <= saved_values.COPIED
        changing = set() if small else _weights_that_change(module)
        self.weights = [
            (weight, save_value(weight, math.inf) if small or id(weight) in changing else Versions(weight))
            for weight in weights
        ]
        self._written: dict[int, Tensor] = {}  # large tensors that were written to, by their ids
        self._seen: dict[int, Any] = {}  # objects that were noted, by their ids
        self.parts: list[_ModuleState] = []
        waiting = deque(module.modules())
        while waiting:  # also modules in a plain list, which the model does not register
            part = waiting.popleft()
            if id(part) not in self._seen:
                self._seen[id(part)] = part
                self.parts.append(_ModuleState(part, self._seen, waiting))
        held = [*self.weights, *(one for part in self.parts for one in (*part.buffers.values(), *part.held))]
        self._large = [(thing, saved) for thing, saved in held if isinstance(saved, Versions)]

    def built(self) -> bool:
        """Return whether a forward pass built parts of the model: weights of lazy layers, new modules."""
        return any(part.built() for part in self.parts)

    def restore(self, *, our_hooks: bool = False) -> bool:
        """Restore the state, and return whether anything had changed.

        our_hooks: hooks of this package stay; all other new ones are removed.
        """
        self._accept_written()
        with torch.no_grad():
            changed = [
                restore_value(weight, saved)
                for weight, saved in self.weights
                if not isinstance(weight, UninitializedTensorMixin)
            ]
            changed += [part.restore(our_hooks=our_hooks) for part in self.parts]
        return any(changed)

    def check_large(self) -> None:
        """Warn if a forward pass wrote to tensors that were not copied."""
        self._accept_written()
        if self._written:
            warn_user(
                f"running {type(self.module).__name__} wrote to {len(self._written)} of its large tensors, which are no"
                " longer as they were: its forward changes them in place."
            )

    def _accept_written(self) -> None:
        """Accept the present state of the modules that contain large tensors which were written to.

        The attributes of these modules may record that all weights were rescaled.
        """
        written = {id(thing): thing for thing, saved in self._large if saved.changed()}
        self._written |= written
        for part in self.parts if written else ():
            weights = list(part.module.parameters())
            if any(
                id(tensor) in written
                for tensor in (*weights, *part.module.buffers(), *(thing for thing, _ in part.held))
            ):
                part.accept_flags()
                own = {id(weight) for weight in weights}
                self.weights = [
                    (weight, Versions(weight) if id(weight) in own and not isinstance(saved, Versions) else saved)
                    for weight, saved in self.weights
                ]


class _ModuleState:
    """One module of a model: its buffers and attributes as they are now, with their contents."""

    def __init__(self, module: nn.Module, seen: dict[int, Any], modules: deque[nn.Module]) -> None:
        self.module, self.scripted = module, isinstance(module, torch.jit.ScriptModule)
        weights = {} if self.scripted else module._parameters
        # offloaded or sharded: a pass replaces them
        self.exchanged = {
            name
            for name, weight in weights.items()
            if weight is not None and (weight.is_meta or hasattr(weight, "full_tensor"))
        }
        self.structure = _structure(module, self.exchanged)
        self.buffers = {name: (buffer, save_value(buffer)) for name, buffer in module.named_buffers(recurse=False)}
        self.slots = {} if self.scripted else dict(module._buffers)  # with those that are None
        self.attributes = (
            {} if self.scripted else {name: value for name, value in vars(module).items() if name not in _STRUCTURE}
        )
        self.hooks = [(value, save_value(value)) for name, value in self.attributes.items() if name in _HOOKS]
        self.held: list[tuple[Any, Any]] = []  # an object, and its contents
        self._note(seen, modules)

    def built(self) -> bool:
        return _structure(self.module, self.exchanged) != self.structure

    def restore(self, *, our_hooks: bool) -> bool:
        changed = [
            restore_value(buffer, saved)
            for buffer, saved in self.buffers.values()
            if not isinstance(buffer, UninitializedTensorMixin)
        ]
        if self.scripted or self.built():
            return any(changed)
        buffers, own = self.module._buffers, vars(self.module)
        if buffers.keys() != self.slots.keys() or any(
            buffers[name] is not buffer for name, buffer in self.slots.items()
        ):
            buffers.clear()
            buffers.update(self.slots)
            changed.append(True)
        if own.keys() - self.attributes.keys() - _STRUCTURE or any(
            own.get(name) is not value for name, value in self.attributes.items()
        ):
            changed.append(self._restore_attributes(own))
        for thing, saved in self.held:
            if saved is not EMPTY or len(thing):
                changed.append(restore_value(thing, saved))
        ours = (
            {key for key, hook in (*own["_forward_hooks"].items(), *own["_forward_pre_hooks"].items()) if is_ours(hook)}
            if our_hooks
            else ()
        )
        for thing, saved in self.hooks:
            if saved is not EMPTY or len(thing):
                new_ours = (
                    tuple(item for item in thing.items() if item[0] in ours and item not in saved) if ours else ()
                )
                changed.append(restore_value(thing, (*saved, *new_ours)))
        return any(changed)

    def accept_flags(self) -> None:
        """Take plain attributes, buffers of one value, and lists, dicts and sets of plain values as they are now."""
        own = {} if self.scripted else vars(self.module)
        self.attributes |= {
            name: value for name, value in own.items() if name not in _STRUCTURE and isinstance(value, _FLAGS)
        }
        self.buffers |= {
            name: (buffer, save_value(buffer)) for name, (buffer, _) in self.buffers.items() if buffer.numel() == 1
        }
        self.held = [
            (
                thing,
                (
                    save_value(thing)
                    if isinstance(thing, CONTAINERS) and all(isinstance(one, _FLAGS) for one in list_contents(thing))
                    else saved
                ),
            )
            for thing, saved in self.held
        ]

    def _restore_attributes(self, own: dict[str, Any]) -> bool:
        if has_new_weights([value for name, value in own.items() if name not in _STRUCTURE], self.attributes):
            return False
        for name in [name for name in own if name not in self.attributes and name not in _STRUCTURE]:
            del own[name]
        own.update(self.attributes)
        return True

    def _note(self, seen: dict[int, Any], modules: deque[nn.Module]) -> None:
        """Save the contents of the attributes, each object once."""
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
                saved = save_value(value)
                if saved is None:
                    continue
                self.held.append((value, saved))
            seen[id(value)] = value
            waiting += list_contents(value)


def _structure(module: nn.Module, exchanged: set[str]) -> tuple[Any, ...]:
    """Return the parameters and modules of a module; a forward pass that changes them has built a part of the model.

    exchanged: parameters that count by their names only.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return ()
    weights = (
        (name,) if name in exchanged else (name, id(weight), type(weight))
        for name, weight in module._parameters.items()
    )
    return (type(module), *weights, *((name, id(child)) for name, child in module._modules.items()))


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors if not isinstance(tensor, UninitializedTensorMixin))


def _weights_that_change(module: nn.Module) -> set[int]:
    """Return the ids of weights that a `forward` may write to, if there is room for copies.

    They are the weights of embeddings with max_norm, and those named in code with an operation in place.
    """
    scaled = [
        part.weight
        for part in module.modules()
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None
    ]
    kinds = {type(part): part for part in module.modules() if not isinstance(part, torch.jit.ScriptModule)}
    codes = {
        kind: [code for code in find_reached_code(kind) if any(_in_place(name) for name in code.co_names)]
        for kind in kinds
    }
    written = {kind: {name for code in codes[kind] for name in code.co_names} for kind in kinds if codes[kind]}
    used = [
        weight
        for part in module.modules()
        for path, weight in part.named_parameters()
        if path.rpartition(".")[2] in written.get(type(part), ())
    ]
    unique = {id(weight): weight for weight in used}
    room = _bytes(unique.values()) < psutil.virtual_memory().available / 4
    return {id(weight) for weight in scaled} | (unique.keys() if room else set())


def _in_place(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_") and name != "requires_grad_" and hasattr(Tensor, name)
