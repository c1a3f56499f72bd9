"""Run a model to look inside: hooks that are always removed, a state that is always restored."""

from __future__ import annotations

import copy
import dataclasses
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from repsim_nb.inputs.batches import is_graphs
from repsim_nb.inputs.randomness import preserve_random_states
from repsim_nb.support.errors import join_names, warn_user
from repsim_nb.support.workers import SharedContext

from .arguments import graph_arguments, takes_dict
from .state import State

# the first of these fields that an output has stands for all of it
_FIRST = ("logits", "last_hidden_state", "sentence_embedding", "token_embeddings")
AT_EACH_POSITION = "with logits for each position"  # a reason that holds only until positions are pooled
OUTPUT = "output"
"""The name of what the whole model returns (for a classifier: its logits)."""
Sink = Callable[[str, Any], None]


def name_layer(name: str) -> str:
    """Return the layer of a module; a part with the name "output" is "output#1", its first call."""
    return f"{OUTPUT}#1" if name == OUTPUT else name


class LayerAddress(NamedTuple):
    """The module whose output a layer is, which call in one pass (None: any), and which part of it (None: all)."""

    module: str
    call: int | None = None
    part: int | str | None = None


def parse_layer(layer: str, modules: Mapping[str, nn.Module]) -> LayerAddress:
    """Parse the name of a layer.

    "act#2" is the second call of act, "block[1]" an item of the tuple that block returns, "output.logits" a field of
    the value that the model returns.
    """
    if layer in modules or layer == OUTPUT:
        return LayerAddress(layer)
    if found := re.fullmatch(r"(.+)\[(\d+)\]", layer):
        return parse_layer(found[1], modules)._replace(part=int(found[2]))
    base, mark, call = layer.rpartition("#")
    if mark and call.isdecimal():
        return LayerAddress(base, int(call))
    base, _, field = layer.rpartition(".")
    return LayerAddress(base, None, field) if base == OUTPUT else LayerAddress(layer)


@contextmanager
def capture(module: nn.Module, layers: Sequence[str], sink: Sink) -> Iterator[None]:
    """Call `sink(layer, output)` for each layer in every forward pass while open; then remove the hooks.

    A layer is "output" (the value of the whole model), the name of a module (the sink is called for each of its calls),
    or name#k, its k-th call in one pass; "output#1" is the first call of a part with the name "output". For a layer
    that is a part of an output, "block[1]", the sink gets the whole output. The sink is called inside the hook and must
    copy the values: an operation in place may overwrite the tensor later.
    """
    modules = dict(module.named_modules(remove_duplicate=False))
    # (name, is it the whole model) -> call -> layers
    wanted: dict[tuple[str, bool], dict[int | None, list[str]]] = defaultdict(lambda: defaultdict(list))
    for layer in layers:
        base, call, _ = parse_layer(layer, modules)
        wanted[base, base == OUTPUT and call is None][call].append(layer)
    calls: dict[tuple[str, bool], int] = defaultdict(int)

    def hook(which: tuple[str, bool]) -> Callable[..., None]:
        def see(_module: nn.Module, _inputs: Any, out: Any) -> None:
            calls[which] += 1
            for call in (None, calls[which]):
                for layer in wanted[which].get(call, ()):
                    sink(layer, out)

        return see

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(lambda *_: calls.clear()).remove)
        for name, whole in list(wanted):
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


# torch's attention then calls the modules inside it; the switch is one for the whole process
_slow_path = SharedContext(_without_fast_path)
_FAST = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


@contextmanager
def eager(module: nn.Module) -> Iterator[None]:
    """Run the model module by module while open, so that hooks see every layer.

    That is without torch's fast path for attention and without torch.compile. The fast path also sets padding to zero,
    so its values differ from those of the modules; it must not depend on the selected layers.
    """
    with ExitStack() as stack:
        if any(isinstance(part, _FAST) for part in module.modules()):
            stack.enter_context(_slow_path)
        if "torch._dynamo" in sys.modules:  # something in this process is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def list_parents(name: str) -> list[str]:
    """List the names of the modules that contain a module: "a" and "a.b" for "a.b.c"."""
    parts = name.split(".")
    return [".".join(parts[:k]) for k in range(1, len(parts))]


@contextmanager
def evaluation_mode(
    module: nn.Module, device: str | torch.device | None = None
) -> Iterator[tuple[torch.device, State]]:
    """Put the model into evaluation mode without gradients while open; yield its device, and its state before.

    Afterwards all is as before: its state (see `State`), training flags, device, random states. Gradients are turned
    off by `no_grad` and not by inference mode: tensors of inference mode that a model caches could never be trained
    again.
    """
    flags = {m: m.training for m in module.modules()}
    home = _find_device(module)
    dispatched = _find_execution_device(module)
    place = dispatched if dispatched is not None else _check_device(device) if device is not None else home
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device must be one that torch finds on this machine, which has no CUDA device; got '{place}'. Leave"
            f" device=None to run on the device of the model ({home})."
        )
    if dispatched is not None and device is not None and not _is_same_device(_check_device(device), place):
        warn_user(
            f"{type(module).__name__} runs on '{place}', where accelerate's hooks bring its weights:"
            f" device={str(device)!r} was not used."
        )
    moved = dispatched is None and not _is_same_device(place, home)
    sharded = {name for name, weight in module.named_parameters() if hasattr(weight, "full_tensor")}
    module.eval()  # this may do more than set flags, such as merge adapters; train() undoes it
    first = state = State(module)
    try:
        if moved:
            module.to(place)
            state = State(module)  # for the tensors on that device
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            eager(module),
            preserve_random_states([place.index or 0] if place.type == "cuda" else []),
        ):
            yield place, state
    finally:
        _reshard(module, sharded)
        state.check_large()
        state.restore()
        if moved:
            module.to(home)
            first.restore()
        if flags[module]:
            module.train()
        for m, flag in flags.items():
            m.training = flag


def _find_device(module: nn.Module) -> torch.device:
    """Return the device of a model's weights. ValueError if they have no values."""
    found = next((weight.device for weight in (*module.parameters(), *module.buffers()) if not weight.is_meta), None)
    if (
        _find_execution_device(module) is None
        and next(module.parameters(), None) is not None
        and all(weight.is_meta for weight in module.parameters())
    ):
        raise ValueError(
            f"{type(module).__name__} is on the device 'meta', where weights have no values. Create it on the CPU, or"
            " load its weights."
        )
    return found or torch.device("cpu")


def _is_same_device(place: torch.device, home: torch.device) -> bool:
    return place == home or (place.type == home.type and place.index is None)


def _find_execution_device(module: nn.Module) -> torch.device | None:
    """Return the device on which accelerate's hooks run a model; None if it has no such hooks.

    The hooks bring its weights to that device for each pass, or spread them over devices, so the model must not be
    moved.
    """
    for part in module.modules():
        hook = getattr(part, "_hf_hook", None)
        for one in (hook, *getattr(hook, "hooks", ())):
            if (device := getattr(one, "execution_device", None)) is not None:
                return torch.device(device)
    return None


def _reshard(module: nn.Module, sharded: set[str]) -> None:
    """Restore the sharded parameters of a model of `torch.distributed.fsdp.fully_shard`, which an optimizer needs.

    After a pass the outermost module has the whole parameters.
    """
    if any(name in sharded and not hasattr(weight, "full_tensor") for name, weight in module.named_parameters()):
        for part in module.modules():
            if callable(reshard := getattr(part, "reshard", None)):
                reshard()


def _check_device(device: str | int | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be a device of torch, 'cpu', 'cuda', 'cuda:1' or 'mps'; got {device!r}."
        ) from error
    if place.type == "meta":
        raise ValueError(
            "device must not be 'meta', where a model has no weights, so nothing can be recorded. Leave device=None to"
            " run on the device of the model."
        )
    return place


def forward(module: nn.Module, batch: Any, place: torch.device) -> Any:
    """Run one forward pass; floats enter in the precision of the weights.

    A mapping, such as the output of a tokenizer, enters as keyword arguments, or as it is if forward takes one dict of
    columns; a `Batch` of graphs enters by the names of its parts, or as it is. Tensors are copied, since a layer may
    write into its input: the batch stays as it is.
    """
    precision = next((p.dtype for p in module.parameters() if p.is_floating_point()), None)

    def entering(value: Any) -> Any:
        is_copy = isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
        value = torch.tensor(value) if is_copy else value
        if isinstance(value, Tensor):
            floating = precision is not None and value.is_floating_point()
            return value.detach().to(place, precision if floating else value.dtype, copy=not is_copy)
        if isinstance(value, list):
            return type(value)(map(entering, value))
        if isinstance(value, dict):
            return {name: entering(part) for name, part in value.items()}
        if isinstance(value, tuple):
            return type(value)(*map(entering, value)) if hasattr(value, "_fields") else tuple(map(entering, value))
        value = copy.deepcopy(value) if hasattr(value, "__dict__") else value
        return value.to(place) if callable(getattr(value, "to", None)) else value

    if is_graphs(batch):
        args, columns = graph_arguments(module, batch.clone().apply(entering))
        return module(*args, **columns)
    if isinstance(batch, Mapping):
        columns = {name: entering(value) for name, value in batch.items()}
        return module(columns) if takes_dict(module, columns) else module(**columns)
    return module(entering(batch))


def find_tensor(out: Any, part: int | str | None = None) -> Tensor:
    """Return the tensor of a module's output.

    It is the output itself, the first tensor of a tuple, or the logits or the states of a mapping or a dataclass.
    part: an item of a tuple or a list, or a field of a mapping or a dataclass, in place of all of it.
    A quantised tensor becomes float32. ValueError if there is no tensor, or if it is nested or sparse.
    """
    out = out if part is None else _get_part(out, part)
    tensors = list(_iterate_tensors(out))
    found = next((tensor for tensor in tensors if tensor.ndim), next(iter(tensors), None))  # a loss is no activation
    if found is None:
        raise ValueError(
            f"returns {type(out).__name__} without a tensor, so there is nothing to record; record a layer inside it"
        )
    if found.is_nested or found.layout != torch.strided:
        raise ValueError(
            f"gives a {'nested' if found.is_nested else 'sparse'} tensor, whose rows differ in length; record a layer"
            " before or after it"
        )
    return found.dequantize() if found.is_quantized else found


def _get_part(out: Any, part: int | str) -> Any:
    """Return an item or a field of an output. ValueError with the existing ones if there is no such one."""
    fields = _list_fields(out)
    if isinstance(part, int) and isinstance(out, (tuple, list)):
        if part < len(out):
            return out[part]
        raise ValueError(f"returns {len(out)} parts, so there is no part [{part}]")
    if isinstance(part, str) and fields.get(part) is not None:
        return fields[part]
    there = [name for name, value in fields.items() if value is not None] or (
        f"[0] to [{len(out) - 1}]" if isinstance(out, (tuple, list)) and out else []
    )
    raise ValueError(
        f"returns {type(out).__name__}, which has no part '{part}'"
        + (f"; it has {there if isinstance(there, str) else join_names(there)}" if there else "")
    )


def _list_fields(out: Any) -> dict[str, Any]:
    """Return the named parts of an output that is a mapping, a dataclass or a named tuple."""
    if isinstance(out, Mapping):
        return dict(out)
    if dataclasses.is_dataclass(out) and not isinstance(out, type):
        return {field.name: getattr(out, field.name) for field in dataclasses.fields(out)}
    return out._asdict() if isinstance(out, tuple) and hasattr(out, "_asdict") else {}


def explain_no_logits(out: Any, part: int | str | None = None) -> str:
    """Explain why an output of a model is no matrix of logits (n, classes); "" if it may be one.

    In a structure it may be the field "logits", or a field or an item that was chosen by name.
    """
    tensor, fields = find_tensor(out, part), _list_fields(out)
    name = part if isinstance(part, str) else next((name for name, value in fields.items() if value is tensor), "")
    if part is None and fields and name != "logits":
        others = [
            f"'{OUTPUT}.{other}'" for other, value in fields.items() if isinstance(value, Tensor) and value.ndim > 1
        ]
        return f"it is {f'the {name}' if name else 'a part'} of {type(out).__name__}, which has no logits" + (
            f". Record the field of the logits, one of {', '.join(others)}" if len(others) > 1 else ""
        )
    if tensor.ndim > 2:
        return (
            f"it has the shape (samples, {', '.join(map(str, tensor.shape[1:]))}), {AT_EACH_POSITION}."
            " Record each position as a sample, pool='tokens', one of them, pool='first' or 'last', or use a pool"
            " function of your own that returns (samples, classes)"
        )
    return ""


def find_parts(module: nn.Module, out: Any) -> list[int]:
    """Return the items of a tuple or a list that can each be a representation.

    They are tensors with as many axes as the first one, and of the same width if they are matrices.
    """
    if not isinstance(out, (tuple, list)) or isinstance(module, (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)):
        return []  # torch's own layers return states and weights of attention next to their output
    tensors = {
        at: one for at, one in enumerate(out) if isinstance(one, Tensor) and one.ndim > 1 and one.is_floating_point()
    }
    first = next((one.shape for one in tensors.values()), ())
    return [at for at, one in tensors.items() if one.ndim == len(first) and (one.ndim > 2 or one.shape == first)]


def _iterate_tensors(out: Any) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        yield out
    elif isinstance(out, (tuple, list)):
        for value in out:
            yield from _iterate_tensors(value)
    elif fields := _list_fields(out):
        first = [fields[name] for name in _FIRST if name in fields]
        yield from _iterate_tensors([*first, *fields.values()])
