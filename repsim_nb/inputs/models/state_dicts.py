"""State dicts: choose one in a file, hash it, and load every weight into its place in a module."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from repsim_nb.support.errors import join_names, unknown_name

# what Lightning writes next to the weights
NOT_WEIGHTS = {"hyper_parameters", "datamodule_hyper_parameters", "callbacks", "loops"}
# parts of names under which modules, also quantised ones, save other objects
NO_TENSORS = {"_extra_state", "_packed_params"}


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """Compute a hash of the names, types, shapes and bytes of weights, to verify a file."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def choose_state_dict(content: Any, key: str | None, file: Path) -> Mapping[str, Tensor]:
    """Return the only state dict of a file, or the one with the name `key`."""
    every = dict(_state_dicts(content))
    found = {name: weights for name, weights in every.items() if any(map(_is_weight, weights.values()))} or every
    if not found:
        inside = f" with {join_names(content, 6)}" if isinstance(content, Mapping) and content else ""
        raise ValueError(
            f"the checkpoint {file} is not a state dict (names -> tensors), and has none inside; it contains"
            f" {type(content).__name__}{inside}."
        )
    first, *others = found.values()
    if key is None and not others:
        return first
    if key is None:
        raise ValueError(
            f"the checkpoint {file} has {len(found)} state dicts inside, {join_names(found)}. Choose one,"
            f" load_model(..., key='{next(iter(found))}')."
        )
    if key in every:
        return every[key]
    if not others and any(name.startswith(f"{key}.") for name in first):
        return _strip_prefix(first, f"{key}.")
    begins = () if others else dict.fromkeys(name.partition(".")[0] for name in first)
    raise unknown_name(f"state dict in the checkpoint {file}:", key, [name for name in (*found, *begins) if name])


def _state_dicts(content: Any, name: str = "") -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield (name in the file, state dict) for each state dict of a model, "" for the whole file.

    The state of an optimizer is none.
    """
    if isinstance(content, Mapping) and _is_state_dict(content):
        yield name, content
    elif isinstance(content, (Mapping, list, tuple)) and "param_groups" not in content:
        for part, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            if part not in NOT_WEIGHTS:
                yield from _state_dicts(value, f"{name}.{part}" if name else str(part))


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    tensors = {name: isinstance(value, Tensor) for name, value in content.items()}
    known = all(
        isinstance(name, str) and (is_one or NO_TENSORS & set(name.split("."))) for name, is_one in tensors.items()
    )
    return known and any(tensors.values())


def _is_weight(value: Any) -> bool:
    """Return whether it may be a weight, and no loss, count or random state, which are saved next to weights."""
    return not isinstance(value, Tensor) or (
        value.ndim > 0 and (value.is_floating_point() or value.is_complex() or value.is_quantized)
    )


def _strip_prefix(weights: Mapping[str, Tensor], begin: str) -> Mapping[str, Tensor]:
    """Return the weights whose names begin with a prefix, without the prefix."""
    return _rename_weights(weights, lambda path: f"{path}."[len(begin) : -1] if f"{path}.".startswith(begin) else None)


def _rename_weights(weights: Mapping[str, Tensor], rename: Callable[[str], str | None]) -> Mapping[str, Tensor]:
    """Rename weights (None leaves one out), and with them the versions of modules in the `_metadata` of torch."""
    renamed = OrderedDict((new, value) for name, value in weights.items() if (new := rename(name)))
    if hasattr(weights, "_metadata"):
        paths = ((rename(path), about) for path, about in weights._metadata.items())
        metadata = OrderedDict((path, about) for path, about in paths if path is not None)
        setattr(renamed, "_metadata", metadata)  # noqa: B010  # a name that torch gives to a dict
    return renamed


# parts of names that torch.compile and others put in
WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}
# names of a norm's weights in the first files of BERT, and in what transformers before 5.6 saves of a model from a file
OLDER = {"gamma": "weight", "beta": "bias"}


def fill_module(module: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Load every weight into its place; a weight too many, too few or of another shape is a ValueError.

    torch's `load_state_dict` decides, with all hooks of the module. A missing weight is accepted only if it cannot
    change an output: a weight that shares its memory with a loaded one, and the number of batches of a batch
    normalisation. An additional weight is accepted if the module has that buffer, with these values, and does not save
    it.
    """
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise ValueError(
            f"the architecture {type(module).__name__} is on the device 'meta', where weights have no values. Create it"
            " on the CPU."
        )
    weights = _fit_names(weights, module)
    missing: list[str] = []
    besides: list[str] = []

    def note(_: nn.Module, keys: Any) -> None:
        missing[:], besides[:] = keys.missing_keys, keys.unexpected_keys

    trouble, hook = "", module.register_load_state_dict_post_hook(note)
    try:
        module.load_state_dict(weights, strict=False)
    except Exception as error:  # hooks can raise anything
        trouble = " ".join(str(error).split()) or type(error).__name__
    finally:
        hook.remove()
    own = {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    other = [name for name in own if name in weights and f"size mismatch for {name}:" in trouble]
    problems = {
        "it lacks": [name for name in missing if not _is_harmless(name, module, own, own.keys() - set(missing))],
        "it has in addition": [name for name in besides if not _has_buffer(module, name, weights.get(name))],
        "other shapes:": [f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}" for name in other],
        "other values under names that are one tensor here:": _find_torn(own, weights),
        "torch reported:": [trouble] if trouble and not other else [],
    }
    if any(problems.values()):
        found = "; ".join(f"{word} {join_names(names, 4)}" for word, names in problems.items() if names)
        raise ValueError(f"the checkpoint {file} does not fit {type(module).__name__}: {found}.")


def _fit_names(weights: Mapping[str, Tensor], module: nn.Module) -> Mapping[str, Tensor]:
    """Strip what wrappers put into all names ("module.", "_orig_mod.", "model."), if more names fit without it.

    A norm's older names, gamma and beta, become weight and bias.
    """
    own, owners = set(module.state_dict()), {name for name, _ in module.named_modules(remove_duplicate=False)}

    def fit(names: Mapping[str, Tensor]) -> tuple[int, int]:
        # owners too: hooks can change the last part, as from old to new weight_norm
        return sum(name in own for name in names), sum(name.rpartition(".")[0] in owners for name in names)

    plain = _rename_weights(weights, lambda path: ".".join(part for part in path.split(".") if part not in WRAPPERS))
    # of several that are equally good the first
    best = max(
        (*_iterate_stripped(weights), *(_iterate_stripped(plain) if len(plain) == len(weights) else ())), key=fit
    )

    def to_current(name: str) -> str:
        owner, _, last = name.rpartition(".")
        current = f"{owner}.{OLDER.get(last, last)}"
        return current if name not in own and current in own and current not in best else name

    return _rename_weights(best, to_current)


def _iterate_stripped(weights: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Yield the weights as they are, then without the first part of their names as long as it is common to all."""
    while True:
        yield weights
        names = [name for name in weights if name != "n_averaged"]  # AveragedModel puts it next to "module."
        begins = {name.partition(".")[0] for name in names}
        if (
            len(begins) != 1
            or not all("." in name for name in names)
            or (len(names) < len(weights) and begins != {"module"})
        ):
            return
        weights = _strip_prefix(weights, f"{begins.pop()}.")


def _is_harmless(name: str, module: nn.Module, own: Mapping[str, Tensor], loaded: set[str]) -> bool:
    """Return whether a weight that the file lacks cannot change an output."""
    owner, _, last = name.rpartition(".")
    if last == "num_batches_tracked" and isinstance(
        dict(module.named_modules(remove_duplicate=False)).get(owner), _NormBase
    ):
        return True  # it counts, and only in training
    return name in own and any(_covers(own[other], own[name]) for other in loaded)


def _covers(whole: Tensor, part: Tensor) -> bool:
    """Return whether a tensor lies in the memory of another, which fills all of its memory."""
    if any(nn.parameter.is_lazy(t) or t.layout != torch.strided or t.numel() == 0 for t in (whole, part)):
        return False
    (start, end), (first, last) = _memory_span(whole), _memory_span(part)
    dense = whole.permute(sorted(range(whole.ndim), key=whole.stride, reverse=True)).is_contiguous()
    return dense and whole.device == part.device and start <= first and last <= end


def _memory_span(tensor: Tensor) -> tuple[int, int]:
    """Return the addresses where the first value of a tensor begins and its last one ends."""
    values = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + values * tensor.element_size()


def _has_buffer(module: nn.Module, name: str, value: Any) -> bool:
    buffer = dict(module.named_buffers(remove_duplicate=False)).get(name)
    if buffer is None or not isinstance(value, Tensor) or buffer.shape != value.shape:
        return False
    return torch.equal(buffer, value.to(buffer)) and torch.equal(value, buffer.to(value))


def _find_torn(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """List pairs of names that are one tensor in the module and have different values in the file.

    Only the last of them would be in the module.
    """
    first: dict[Any, str] = {}
    torn = []
    for name, value in own.items():
        if (
            isinstance(weights.get(name), Tensor)
            and not nn.parameter.is_lazy(value)
            and value.layout == torch.strided
            and value.numel()
        ):
            other = first.setdefault((value.data_ptr(), value.shape, value.stride()), name)
            a, b = (weights[which].to(value.dtype) for which in (other, name))
            if other != name and not torch.equal(a, b) and hash_weights({"": a}) != hash_weights({"": b}):
                torn.append(f"{other} and {name}")
    return torn


def unwrap(module: nn.Module) -> nn.Module:
    """Return the model inside nn.DataParallel, DistributedDataParallel and torch.compile, which add a prefix."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module
