"""Hash what a function, an object or a model computes.

The hash is equal in every process, and differs if something else is computed.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import inspect
import re
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from repsim_nb.support.errors import as_clause

from .code_analysis import (
    PACKAGE,
    closure_values,
    find_names,
    find_reached_code,
    find_uses,
    is_installed,
    iterate_codes,
    only_reads,
)

_FIXED = (type(None), bool, int, float, complex, str)
_VALUES = (*_FIXED, bytes, type(...), np.generic, np.dtype, torch.dtype, torch.device)
_PIECE = 2**20  # values that are copied at once
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)
_OF_EVERY_MODULE = {*vars(nn.Module()), "name_or_path"}  # the second is the path of a model of transformers


def fingerprint(thing: Any) -> str:
    """Compute a hash of all that `_update_digest` reads."""
    digest = hashlib.blake2b(digest_size=16)
    _update_digest(thing, digest, {})
    return digest.hexdigest()


def fingerprint_settings(function: Any) -> str:
    """Compute a hash of a function's own code and of the fixed values that it was created with.

    Functions, methods, partial functions and objects are taken apart. Values that may change while it works count by
    their type: a list of values, a dict, an attribute or a global variable that its code assigns.
    """
    return fingerprint(_list_settings(function, 0))


def _list_settings(thing: Any, depth: int) -> Any:
    if isinstance(thing, (*_VALUES, Tensor, np.ndarray)):
        return thing
    if depth < 8:

        def inside(parts: Iterable[Any]) -> list[Any]:
            return [_list_settings(part, depth + 1) for part in parts]

        # such as a list of steps
        if isinstance(thing, tuple) or (
            isinstance(thing, list) and not any(isinstance(part, _VALUES) for part in thing)
        ):
            return ["parts", *inside(thing)]
        if isinstance(thing, functools.partial):
            keywords = (part for item in sorted(thing.keywords.items()) for part in item)
            return ["partial", *inside((thing.func, *thing.args, *keywords))]
        if isinstance(thing, types.MethodType):
            return ["method", *inside((thing.__func__, thing.__self__))]
        if isinstance(thing, types.FunctionType) and not is_installed(thing):
            changing = find_names(thing.__code__, "STORE_GLOBAL", "DELETE_GLOBAL")
            used = [
                thing.__globals__.get(name)
                for name in sorted(find_names(thing.__code__, "LOAD_GLOBAL", "LOAD_NAME") - changing)
            ]
            defaults = *(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()
            return [_constants(thing.__code__), *inside((*defaults, *closure_values(thing), *used))]
        if hasattr(thing, "__dict__") and not isinstance(
            thing, (type, types.ModuleType, types.FunctionType, nn.Module)
        ):
            return _list_object_settings(thing, inside)
    kind = thing if isinstance(thing, (type, *_FUNCTIONS)) else type(thing)
    return _full_name(kind)


def _full_name(kind: Any) -> str:
    """Return the name of a class or a function with its module, without the wing of this package."""
    return f"{_module_name(kind)}.{kind.__qualname__}"


def _module_name(kind: Any) -> str:
    return re.sub(rf"^{PACKAGE}\.inputs\.", f"{PACKAGE}.", kind.__module__ or "None")


def _list_object_settings(thing: Any, inside: Callable[[Iterable[Any]], list[Any]]) -> list[Any]:
    """List the class, the code of its own methods, and the attributes that only `__init__` assigns."""
    kind = type(thing)
    methods = {
        name: method
        for base in reversed(kind.__mro__)
        for name, method in vars(base).items()
        if isinstance(method, types.FunctionType)
    }
    changing = {
        name
        for method in methods.values()
        if method.__name__ != "__init__"
        for code in iterate_codes(method.__code__)
        for name in find_uses(code).assigned
    }
    fixed = {name: value for name, value in vars(thing).items() if name not in changing}
    own = (
        []
        if is_installed(kind)
        else [_constants(methods[name].__code__) for name in sorted(methods) if not is_installed(methods[name])]
    )
    return [_full_name(kind), own, *inside(part for item in sorted(fixed.items()) for part in item)]


def _constants(code: types.CodeType) -> list[Any]:
    consts = [
        (
            _constants(part)
            if isinstance(part, types.CodeType)
            else sorted(map(repr, part))
            if isinstance(part, frozenset)
            else repr(part)
        )
        for part in code.co_consts
    ]
    return [code.co_code, list(code.co_names), consts]


def _update_digest(thing: Any, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    """Update a digest with an object and its parts.

    Data count by their bytes, functions by their code and the objects that it names, other objects by their class and
    state. Functions and classes of an installed package count by their names.
    seen: objects that were read before, so that circles end.
    """

    def add(kind: str, *words: Any, then: Any = ()) -> None:
        digest.update(f"{kind} {words} {len(then)};".encode())
        for part in then:
            _update_digest(part, digest, seen)

    if isinstance(thing, _VALUES):
        return add(type(thing).__name__, repr(thing))
    if isinstance(thing, (Tensor, np.ndarray)):
        return _update_with_array(thing, digest, seen)
    if isinstance(thing, types.CodeType):
        return add("code", thing.co_code, thing.co_names, then=thing.co_consts)
    if isinstance(thing, (frozenset, set)):  # in an order that is the same in every process
        return add("set", *sorted(fingerprint(part) for part in thing))
    if type(thing) is tuple:
        return add("tuple", then=thing)
    if isinstance(thing, types.ModuleType):
        return add("module", thing.__name__)
    if id(thing) in seen:
        return add("again", seen[id(thing)][0])
    seen[id(thing)] = len(seen), thing  # stored, so that no other object gets its number
    if isinstance(thing, nn.Module):
        _update_with_module(thing, digest, seen)
    elif type(thing) is list:
        add("list", then=thing)
    elif type(thing) in (dict, OrderedDict, types.MappingProxyType):
        add("dict", then=[part for item in thing.items() for part in item])
    elif isinstance(thing, types.BuiltinFunctionType):
        owner = thing.__self__
        its = () if owner is None or isinstance(owner, (types.ModuleType, type)) else (owner,)
        add("builtin", thing.__module__, thing.__qualname__, then=its)
    elif isinstance(thing, (types.FunctionType, type)) and is_installed(thing):
        enclosed = closure_values(thing) if isinstance(thing, types.FunctionType) else ()
        add("named", _module_name(thing), thing.__qualname__, then=enclosed)
    elif isinstance(thing, types.FunctionType):
        used = {
            name: thing.__globals__[name]
            for name in sorted(find_names(thing.__code__, "LOAD_GLOBAL", "LOAD_NAME"))
            if name in thing.__globals__
        }
        add(
            "function",
            then=(thing.__code__, thing.__defaults__, thing.__kwdefaults__, *closure_values(thing), used, vars(thing)),
        )
    elif isinstance(thing, type):
        own = {
            name: value
            for name, value in sorted(vars(thing).items())
            if not re.fullmatch("__.*__|_abc_impl", name) or isinstance(value, _FUNCTIONS)
        }
        add("class", thing.__qualname__, then=(*thing.__bases__, own))
    elif isinstance(thing, types.MethodType):
        add("method", then=(thing.__func__, thing.__self__))
    elif isinstance(thing, (staticmethod, classmethod, type(functools.cache(len)))):
        add(type(thing).__name__, then=(thing.__wrapped__,))
    elif isinstance(thing, property):
        add("property", then=(thing.fget, thing.fset))
    elif isinstance(thing, functools.partial):
        add("partial", then=(thing.func, thing.args, thing.keywords))
    else:
        add("object", then=_reduce(thing))


def _reduce(thing: Any) -> tuple[Any, ...]:
    """Take an object apart as its copying would do, with its slots; only by its type if that fails."""
    try:
        reduce = copyreg.dispatch_table.get(type(thing))
        state: Any = thing.__reduce_ex__(4) if reduce is None else reduce(thing)
    except Exception:
        return (type(thing), getattr(thing, "__dict__", None))
    state = (state,) if isinstance(state, str) else state
    return (type(thing), *(list(part) if isinstance(part, Iterator) else part for part in state))


def _update_with_array(array: Tensor | np.ndarray, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    if isinstance(array, Tensor):
        return _update_with_tensor(array, digest, seen)
    digest.update(f"{type(array).__name__} {array.dtype} {tuple(array.shape)};".encode())
    if array.dtype.hasobject:
        _update_digest(array.tolist(), digest, seen)
    else:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8) if array.size else b"")


class UnreadableTensor(ValueError):
    """The values of a tensor cannot be read: it has none in this process, or its type does not give them."""


def _update_with_tensor(tensor: Tensor, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    """Update a digest with the values of a tensor.

    A tensor that wraps others, as quantised weights do, counts by these; one that is spread over processes as a whole.
    """
    if hasattr(tensor, "full_tensor"):  # a DTensor: the same model has plain weights while it runs
        tensor = tensor.detach().full_tensor()  # type: ignore[attr-defined]
    kind = "Tensor" if type(tensor) in (nn.Parameter, Tensor) else type(tensor).__qualname__
    digest.update(f"{kind} {tensor.dtype} {tuple(tensor.shape) if not tensor.is_nested else tensor.size(0)};".encode())
    if tensor.is_meta:
        raise UnreadableTensor(
            "is on the device 'meta', where tensors have no values. Load its weights, or create it on the CPU."
        )
    if is_traceable_wrapper_subclass(tensor):
        names, context = tensor.__tensor_flatten__()
        _update_digest(context, digest, seen)
        for name in names:
            digest.update(f"{name}:".encode())
            _update_digest(getattr(tensor, name), digest, seen)
        return
    try:
        for part in _plain_tensors(tensor.detach()):
            part = part.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            # copied, since a storage that NumPy uses can never be resized again, as FSDP does
            for piece in part.split(_PIECE):
                digest.update(piece.clone().view(torch.uint8).numpy())
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise UnreadableTensor(
            f"is a {type(tensor).__qualname__} whose values cannot be read ({as_clause(str(error)[:120])}), so a store"
            " could not distinguish recordings of two models. Record it without into=, into a variable, or give the"
            " store the model with ordinary tensors as its weights."
        ) from error


def _plain_tensors(tensor: Tensor) -> list[Tensor]:
    """Return the ordinary tensors of a nested, a sparse or a quantised one."""
    if tensor.is_nested:
        return list(tensor.unbind())
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce()
        return [tensor.indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return [
        tensor.dequantize() if tensor.is_quantized else tensor if tensor.layout == torch.strided else tensor.to_dense()
    ]


def _update_with_module(module: nn.Module, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    """Update a digest with a model.

    Read are its repr, every parameter and buffer, the code of its `forward`, and the plain values and functions in the
    attributes of its modules. In dicts and in objects such as a config, plain values count if a `forward` reads them
    and nothing that it reaches may change them. Left out are hooks, training flags, and whatever a run may change:
    attributes that are assigned by code reached from a `forward`.
    """
    digest.update(re.sub(" at 0x[0-9a-f]+", "", f"{type(module).__qualname__} {module};").encode())
    runs = {kind: find_reached_code(kind) for kind in {type(part) for part in module.modules()}}
    changing = {name for codes in runs.values() for code in codes for name in find_uses(code).assigned}
    reads = {kind: {name for code in codes for name in code.co_names} for kind, codes in runs.items()}
    for path, part in module.named_modules(remove_duplicate=False):
        kind = type(part)
        digest.update(f"{path} {kind.__qualname__};".encode())
        ours = not is_installed(kind)
        if isinstance(part, torch.jit.ScriptModule):
            digest.update(getattr(part, "code", "").encode())  # its `forward` is no Python
        elif ours:
            _update_digest(tuple(runs[kind]), digest, seen)
            for name, value in sorted(_closed_over(kind, runs[kind]).items()):
                digest.update(f"{name}=".encode())
                _update_digest(value, digest, seen)
        remade = "register_buffer" in reads[kind] and part._non_persistent_buffers_set
        for name, tensor in [*part._parameters.items(), *part._buffers.items()]:
            if tensor is not None and not (remade and name in remade):
                digest.update(f"{name}:".encode())
                with _name_in_error(module, path, name):
                    _update_with_tensor(_find_weight(part, name, tensor), digest, seen)
        for name, value in sorted(vars(part).items()):
            if name in _OF_EVERY_MODULE or name in changing or "cache" in name or not (ours or name in reads[kind]):
                continue
            if not _plain(value) and not (isinstance(value, _FUNCTIONS) and name in reads[kind]):
                value = _find_settings(name, value, kind, runs, changing) if name in reads[kind] else None
                if value is None:
                    continue
            digest.update(f"{name}=".encode())
            with _name_in_error(module, path, name):
                _update_digest(list(value) if isinstance(value, torch.Size) else value, digest, seen)


@contextmanager
def _name_in_error(module: nn.Module, path: str, name: str) -> Iterator[None]:
    try:
        yield
    except UnreadableTensor as error:
        raise UnreadableTensor(f"'{path}{'.' if path else ''}{name}' of {type(module).__name__} {error}") from error


def _find_weight(part: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """Return a weight; from accelerate's hook if the module's own has no values."""
    hook = getattr(part, "_hf_hook", None)
    for one in (hook, *getattr(hook, "hooks", ())) if tensor.is_meta else ():
        weights = getattr(one, "weights_map", None)
        if weights is not None and name in weights:
            return torch.as_tensor(weights[name])
    return tensor


def _plain(value: Any) -> bool:
    if type(value) in (tuple, list, torch.Size):
        # an empty list may be filled later
        return len(value) > 0 and all(_plain(part) and not isinstance(part, Tensor) for part in value)
    return isinstance(value, (type(None), bool, int, float, complex, str, np.generic, np.ndarray, Tensor))


def _find_settings(
    name: str, value: Any, kind: type, runs: Mapping[type, list[types.CodeType]], changing: set[str]
) -> dict[Any, Any] | None:
    """Return the values of a dict or a config that a `forward` computes with; None if that is not certain."""
    if type(value) is dict:
        fixed = bool(value) and all(isinstance(part, _FIXED) for item in value.items() for part in item)
        return value if fixed and only_reads(name, kind, runs) else None
    if not hasattr(value, "__dict__") or isinstance(value, (nn.Module, type, *_FUNCTIONS)):
        return None
    read = {setting for code in runs[kind] for attribute, setting in find_uses(code).read if attribute == name}
    # without those that only change the form of the output
    settings = {
        name: vars(value)[name]
        for name in sorted(read & vars(value).keys() - changing)
        if not re.search("^_|cache|output|return", name)
    }
    return {name: setting for name, setting in settings.items() if isinstance(setting, _FIXED)} or None


def _closed_over(kind: type[nn.Module], codes: list[types.CodeType]) -> dict[str, Any]:
    """Return the plain values that a `forward` takes from the function around its class, if nothing assigns them."""
    function = inspect.getattr_static(kind, "forward")
    if not isinstance(function, types.FunctionType):
        return {}
    assigned = {name for code in codes for name in find_uses(code).rebound}
    variables = zip(function.__code__.co_freevars, closure_values(function), strict=True)
    return {name: value for name, value in variables if name not in assigned and value is not None and _plain(value)}
