"""What a function, an object or a network is made of, as a hash: the same in every process, another where it would do
something else.
"""

from __future__ import annotations

import ast
import copyreg
import dis
import functools
import hashlib
import inspect
import itertools
import re
import sys
import textwrap
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

_PACKAGE = __name__.partition(".")[0]
_OUTSIDE = {*sys.stdlib_module_names, "torch", "numpy", _PACKAGE}
_SAID = (type(None), bool, int, float, complex, str, bytes, type(...), np.generic, np.dtype, torch.dtype, torch.device)
_FIXED = (type(None), bool, int, float, complex, str)
_READING = {"get", "items", "keys", "values"}  # methods that leave a dict as it is
_PIECE = 2**20  # numbers that are copied at once
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)
_OF_EVERY_MODULE = {*vars(nn.Module()), "name_or_path"}  # the second says where a network of transformers was read from


def is_ours(thing: Any) -> bool:
    """Is a function, a class or an object of this package?"""
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == _PACKAGE


def fingerprint(thing: Any) -> str:
    """A hash of all that `told` tells."""
    digest = hashlib.blake2b(digest_size=16)
    told(thing, digest, {})
    return digest.hexdigest()


def configuration(function: Any) -> str:
    """A hash of a function's own code and of the fixed values that it was made with.

    Functions, methods, partial functions and objects are looked into. What may change while it works counts by its
    type: a list of values, a dict, an attribute or a global variable that its code assigns.
    """
    return fingerprint(_settings(function, 0))


def _settings(thing: Any, depth: int) -> Any:
    if isinstance(thing, (*_SAID, Tensor, np.ndarray)):
        return thing
    if depth < 8:

        def inside(parts: Iterable[Any]) -> list[Any]:
            return [_settings(part, depth + 1) for part in parts]

        if isinstance(thing, tuple) or (
            isinstance(thing, list) and not any(isinstance(part, _SAID) for part in thing)
        ):  # a list of steps, for instance
            return ["parts", *inside(thing)]
        if isinstance(thing, functools.partial):
            return [
                "partial",
                *inside((thing.func, *thing.args)),
                *inside(part for item in sorted(thing.keywords.items()) for part in item),
            ]
        if isinstance(thing, types.MethodType):
            return ["method", *inside((thing.__func__, thing.__self__))]
        if isinstance(thing, types.FunctionType) and not _installed(thing):
            changing = _names(thing.__code__, "STORE_GLOBAL", "DELETE_GLOBAL")
            named = [
                thing.__globals__.get(name)
                for name in sorted(_names(thing.__code__, "LOAD_GLOBAL", "LOAD_NAME") - changing)
            ]
            return [
                _constants(thing.__code__),
                *inside(
                    (*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values(), *_enclosed(thing), *named)
                ),
            ]
        if hasattr(thing, "__dict__") and not isinstance(
            thing, (type, types.ModuleType, types.FunctionType, nn.Module)
        ):
            return _object(thing, inside)
    kind = thing if isinstance(thing, (type, *_FUNCTIONS)) else type(thing)
    return _full_name(kind)


def _full_name(kind: Any) -> str:
    """The name of a class or a function with its module, without the wing of this package that the module is in."""
    return f"{_module_name(kind)}.{kind.__qualname__}"


def _module_name(kind: Any) -> str:
    return re.sub(rf"^{_PACKAGE}\.inputs\.", f"{_PACKAGE}.", kind.__module__ or "None")


def _object(thing: Any, inside: Callable[[Iterable[Any]], list[Any]]) -> list[Any]:
    """The class, what its `__call__` does where it is no installed one, and the attributes that no method but
    `__init__` assigns.
    """
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
        for code in _codes(method.__code__)
        for name in _uses(code).assigned
    }
    fixed = {name: value for name, value in vars(thing).items() if name not in changing}
    own = (
        []
        if _installed(kind)
        else [_constants(methods[name].__code__) for name in sorted(methods) if not _installed(methods[name])]
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


def told(thing: Any, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    """Tell a digest what a thing is made of: data by their bytes, functions by their code and what it names, objects by
    their class and state.

    What belongs to an installed package is told by its name. seen: what was told before, so that circles end.
    """

    def say(kind: str, *words: Any, then: Any = ()) -> None:
        digest.update(f"{kind} {words} {len(then)};".encode())
        for part in then:
            told(part, digest, seen)

    if isinstance(thing, _SAID):
        return say(type(thing).__name__, repr(thing))
    if isinstance(thing, (Tensor, np.ndarray)):
        return _array(thing, digest, seen)
    if isinstance(thing, types.CodeType):
        return say("code", thing.co_code, thing.co_names, then=thing.co_consts)
    if isinstance(thing, (frozenset, set)):  # in an order that is the same in every process
        return say("set", *sorted(fingerprint(part) for part in thing))
    if type(thing) is tuple:
        return say("tuple", then=thing)
    if isinstance(thing, types.ModuleType):
        return say("module", thing.__name__)
    if id(thing) in seen:
        return say("again", seen[id(thing)][0])
    seen[id(thing)] = len(seen), thing  # kept, so that no other thing gets its number
    if isinstance(thing, nn.Module):
        _network(thing, digest, seen)
    elif type(thing) is list:
        say("list", then=thing)
    elif type(thing) in (dict, OrderedDict, types.MappingProxyType):
        say("dict", then=[part for item in thing.items() for part in item])
    elif isinstance(thing, types.BuiltinFunctionType):
        owner = thing.__self__
        say(
            "builtin",
            thing.__module__,
            thing.__qualname__,
            then=() if owner is None or isinstance(owner, (types.ModuleType, type)) else (owner,),
        )
    elif isinstance(thing, (types.FunctionType, type)) and _installed(thing):
        say(
            "named",
            _module_name(thing),
            thing.__qualname__,
            then=_enclosed(thing) if isinstance(thing, types.FunctionType) else (),
        )
    elif isinstance(thing, types.FunctionType):
        named = {
            name: thing.__globals__[name]
            for name in sorted(_names(thing.__code__, "LOAD_GLOBAL", "LOAD_NAME"))
            if name in thing.__globals__
        }
        say(
            "function",
            then=(thing.__code__, thing.__defaults__, thing.__kwdefaults__, *_enclosed(thing), named, vars(thing)),
        )
    elif isinstance(thing, type):
        own = {
            name: value
            for name, value in sorted(vars(thing).items())
            if not re.fullmatch("__.*__|_abc_impl", name) or isinstance(value, _FUNCTIONS)
        }
        say("class", thing.__qualname__, then=(*thing.__bases__, own))
    elif isinstance(thing, types.MethodType):
        say("method", then=(thing.__func__, thing.__self__))
    elif isinstance(thing, (staticmethod, classmethod, type(functools.cache(len)))):
        say(type(thing).__name__, then=(thing.__wrapped__,))
    elif isinstance(thing, property):
        say("property", then=(thing.fget, thing.fset))
    elif isinstance(thing, functools.partial):
        say("partial", then=(thing.func, thing.args, thing.keywords))
    else:
        say("object", then=_state(thing))


def _state(thing: Any) -> tuple[Any, ...]:
    """An object as the copying of it would take it apart, slots and all; by its type where it cannot be taken apart."""
    try:
        state = copyreg.dispatch_table.get(type(thing), lambda it: it.__reduce_ex__(4))(thing)
    except Exception:
        return (type(thing), getattr(thing, "__dict__", None))
    state = (state,) if isinstance(state, str) else state
    return (type(thing), *(list(part) if isinstance(part, Iterator) else part for part in state))


def _enclosed(function: types.FunctionType) -> list[Any]:
    return [cell.cell_contents if cell != types.CellType() else None for cell in function.__closure__ or ()]


def _array(array: Tensor | np.ndarray, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    if isinstance(array, Tensor):
        return _tensor(array, digest, seen)
    digest.update(f"{type(array).__name__} {array.dtype} {tuple(array.shape)};".encode())
    if array.dtype.hasobject:
        told(array.tolist(), digest, seen)
    else:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8) if array.size else b"")


class UnreadableTensor(ValueError):
    """A tensor whose values cannot be read: it has none here, or its type keeps them to itself."""


def _tensor(tensor: Tensor, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    """A tensor by its values; one that wraps others, as quantised weights do, by these; one that is spread over
    processes as a whole.
    """
    if hasattr(tensor, "full_tensor"):  # a DTensor: the same model has plain weights while it runs
        tensor = tensor.detach().full_tensor()
    kind = "Tensor" if type(tensor) in (nn.Parameter, Tensor) else type(tensor).__qualname__
    digest.update(f"{kind} {tensor.dtype} {tuple(tensor.shape) if not tensor.is_nested else tensor.size(0)};".encode())
    if tensor.is_meta:
        raise UnreadableTensor(
            "is on the device 'meta', where tensors have no values: load its weights, or make it on the CPU"
        )
    if is_traceable_wrapper_subclass(tensor):
        names, context = tensor.__tensor_flatten__()
        told(context, digest, seen)
        for name in names:
            digest.update(f"{name}:".encode())
            told(getattr(tensor, name), digest, seen)
        return
    try:
        for part in _strided(tensor.detach()):
            part = part.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            for piece in part.split(
                _PIECE
            ):  # copied, since a storage that NumPy has seen can never be resized again, as FSDP does
                digest.update(piece.clone().view(torch.uint8).numpy())
    except (NotImplementedError, RuntimeError, TypeError) as error:
        raise UnreadableTensor(
            f"is a {type(tensor).__qualname__} whose values cannot be read ({str(error).strip()[:120]}), so a store"
            " could not tell recordings of one model from those of another. Record it without into=, into a variable,"
            " or give the store the model with ordinary tensors as its weights"
        ) from error


def _strided(tensor: Tensor) -> list[Tensor]:
    """The ordinary tensors that a nested, a sparse or a quantised one is made of."""
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


def _installed(thing: Any) -> bool:
    name = getattr(thing, "__module__", None) or ""
    top = name.partition(".")[0]
    files = [getattr(sys.modules.get(module), "__file__", None) or "" for module in (name, top)]
    return top in _OUTSIDE or any(folder in file for file in files for folder in ("site-packages", "dist-packages"))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes(part)


def _names(code: types.CodeType, *operations: str) -> set[str]:
    return {step.argval for part in _codes(code) for step in dis.get_instructions(part) if step.opname in operations}


# -- networks
# --------------------------------------------------------------------------------------------------------------


def _network(module: nn.Module, digest: Any, seen: dict[int, tuple[int, Any]]) -> None:
    """A network: how it prints, every parameter and buffer, what its `forward` does, and the plain values and functions
    that its modules hold.

    Of dicts and of objects such as a config the plain values count that a `forward` reads, if nothing that it reaches
    may change them. Left out are hooks, whether it trains, and what running it may change: attributes that code reached
    from a `forward` assigns.
    """
    digest.update(re.sub(" at 0x[0-9a-f]+", "", f"{type(module).__qualname__} {module};").encode())
    runs = {kind: reached(kind) for kind in {type(part) for part in module.modules()}}
    changing = {name for codes in runs.values() for code in codes for name in _uses(code).assigned}
    reads = {kind: {name for code in codes for name in code.co_names} for kind, codes in runs.items()}
    for path, part in module.named_modules(remove_duplicate=False):
        kind = type(part)
        digest.update(f"{path} {kind.__qualname__};".encode())
        ours = not _installed(kind)
        if isinstance(part, torch.jit.ScriptModule):
            digest.update(getattr(part, "code", "").encode())  # its `forward` is no Python
        elif ours:
            told(tuple(runs[kind]), digest, seen)
            for name, value in sorted(_closed_over(kind, runs[kind]).items()):
                digest.update(f"{name}=".encode())
                told(value, digest, seen)
        remade = "register_buffer" in reads[kind] and part._non_persistent_buffers_set
        for name, tensor in [*part._parameters.items(), *part._buffers.items()]:
            if tensor is not None and not (remade and name in remade):
                digest.update(f"{name}:".encode())
                with _naming(module, path, name):
                    _tensor(_in_memory(part, name, tensor), digest, seen)
        for name, value in sorted(vars(part).items()):
            if name in _OF_EVERY_MODULE or name in changing or "cache" in name or not (ours or name in reads[kind]):
                continue
            if not _plain(value) and not (isinstance(value, _FUNCTIONS) and name in reads[kind]):
                value = _looked_into(name, value, kind, runs, changing) if name in reads[kind] else None
                if value is None:
                    continue
            digest.update(f"{name}=".encode())
            with _naming(module, path, name):
                told(list(value) if isinstance(value, torch.Size) else value, digest, seen)


@contextmanager
def _naming(module: nn.Module, path: str, name: str) -> Iterator[None]:
    try:
        yield
    except UnreadableTensor as error:
        raise UnreadableTensor(f"'{path}{'.' if path else ''}{name}' of {type(module).__name__} {error}") from error


def _in_memory(part: nn.Module, name: str, tensor: Tensor) -> Tensor:
    """A weight, from where accelerate keeps it while the module's own has no values."""
    hook = getattr(part, "_hf_hook", None)
    for one in (hook, *getattr(hook, "hooks", ())) if tensor.is_meta else ():
        weights = getattr(one, "weights_map", None)
        try:
            return torch.as_tensor(weights[name])
        except (KeyError, TypeError):
            continue
    return tensor


def _plain(value: Any) -> bool:
    if type(value) in (tuple, list, torch.Size):
        return len(value) > 0 and all(
            _plain(part) and not isinstance(part, Tensor) for part in value
        )  # an empty list may be there to be filled
    return isinstance(value, (type(None), bool, int, float, complex, str, np.generic, np.ndarray, Tensor))


def _looked_into(
    name: str, value: Any, kind: type, runs: Mapping[type, list[types.CodeType]], changing: set[str]
) -> dict[Any, Any] | None:
    """What a dict or a config holds that the `forward` of a kind of module computes with; None if that is not
    certain.
    """
    if type(value) is dict:
        fixed = bool(value) and all(isinstance(part, _FIXED) for item in value.items() for part in item)
        return value if fixed and _only_reads(name, kind, runs) else None
    if not hasattr(value, "__dict__") or isinstance(value, (nn.Module, type, *_FUNCTIONS)):
        return None
    read = {setting for code in runs[kind] for attribute, setting in _uses(code).read if attribute == name}
    settings = {
        name: vars(value)[name]
        for name in sorted(read & vars(value).keys() - changing)
        if not re.search("^_|cache|output|return", name)
    }  # those shape what is returned
    return {name: setting for name, setting in settings.items() if isinstance(setting, _FIXED)} or None


def _only_reads(name: str, kind: type, runs: Mapping[type, list[types.CodeType]]) -> bool:
    """Does the `forward` of this kind do nothing with a dict but look things up in it, and no other one change it?

    Only an installed class has its source in every process.
    """
    naming = {other: [code for code in codes if name in code.co_names] for other, codes in runs.items()}
    if not all(_installed(other) for other, codes in naming.items() if codes):
        return False
    return all(_uses_of(code, name) == {"read"} for code in naming[kind]) and not any(
        "filled" in _uses_of(code, name) for codes in naming.values() for code in codes
    )


@functools.lru_cache(1024)
def _uses_of(code: types.CodeType, name: str) -> frozenset[str]:
    """What code does with the attributes of a name: "read" if it looks something up in a dict, "filled" if it changes
    one, else "other", also if there is no source that shows it.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except Exception:
        return frozenset(["other"])
    parent = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def use(node: ast.Attribute) -> str:
        around = parent[node]
        if isinstance(around, ast.Subscript) and around.value is node:
            return "read" if isinstance(around.ctx, ast.Load) else "filled"
        if isinstance(around, ast.Attribute):
            return "read" if around.attr in _READING else "filled"
        return "read" if isinstance(around, ast.Compare) else "other"

    return frozenset(
        use(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == name
    ) or frozenset(["other"])


def reached(kind: type[nn.Module]) -> list[types.CodeType]:
    """The code of a class's `forward`, of the functions that this one encloses, and of the methods of the class that
    they name.
    """
    found: dict[types.CodeType, None] = {}
    waiting: list[Any] = [inspect.getattr_static(kind, "forward")]
    while waiting:
        function = waiting.pop()
        code = getattr(function, "__code__", None)
        if code is None or code in found:
            continue
        found |= dict.fromkeys(_codes(code))
        waiting += [cell for cell in _enclosed(function) if isinstance(cell, types.FunctionType)]
        for name in sorted({name for part in _codes(code) for name in part.co_names}):
            value = inspect.getattr_static(kind, name, None)
            value = value.__func__ if isinstance(value, staticmethod) else value
            if isinstance(value, (types.FunctionType, property)) and vars(nn.Module).get(name) is not value:
                waiting.append(value.fget if isinstance(value, property) else value)
    return list(found)


def _closed_over(kind: type[nn.Module], codes: list[types.CodeType]) -> dict[str, Any]:
    """The plain values that a class's `forward` takes from the function it was written in, and that no code reached
    from it assigns.
    """
    function = inspect.getattr_static(kind, "forward")
    if not isinstance(function, types.FunctionType):
        return {}
    assigned = {name for code in codes for name in _uses(code).rebound}
    named = zip(function.__code__.co_freevars, _enclosed(function), strict=True)
    return {name: value for name, value in named if name not in assigned and value is not None and _plain(value)}


class _Uses(NamedTuple):
    """What a piece of code does with attributes and the variables around it.

    assigned: attributes.  rebound: variables of an enclosing function.  read: ("config", "window") if `.config.window`
    is read.
    """

    assigned: frozenset[str]
    rebound: frozenset[str]
    read: frozenset[tuple[str, str]]


@functools.lru_cache(1024)
def _uses(code: types.CodeType) -> _Uses:
    steps = [(step.opname, step.argval) for step in dis.get_instructions(code)]
    by_name = {name for name in code.co_consts if isinstance(name, str)} if "setattr" in code.co_names else set()
    return _Uses(
        frozenset(by_name | {value for operation, value in steps if operation in ("STORE_ATTR", "DELETE_ATTR")}),
        frozenset(value for operation, value in steps if operation in ("STORE_DEREF", "DELETE_DEREF")),
        frozenset(
            (one, other) for (first, one), (then, other) in itertools.pairwise(steps) if first == then == "LOAD_ATTR"
        ),
    )
