"""State dicts: which one of a file is meant, its names without a prefix, its hash."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repsim_nb.support.errors import join_names, unknown_name

# what Lightning writes next to the weights
NOT_WEIGHTS = {"hyper_parameters", "datamodule_hyper_parameters", "callbacks", "loops"}
# parts of names under which modules, also quantized ones, save other things
NO_TENSORS = {"_extra_state", "_packed_params"}


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """What a file's weights are held against: a hash of their names, types, shapes and bytes."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def choose_state_dict(content: Any, key: str | None, file: Path) -> Mapping[str, Tensor]:
    """The state dict that is meant: the only one, or the one that `key` names."""
    every = dict(_state_dicts(content))
    found = {name: weights for name, weights in every.items() if any(map(_is_weight, weights.values()))} or every
    if not found:
        inside = f" with {join_names(content, 6)}" if isinstance(content, Mapping) and content else ""
        raise ValueError(
            f"the checkpoint {file} is not a state dict (names -> tensors), and none is inside; "
            f"it holds {type(content).__name__}{inside}"
        )
    first, *others = found.values()
    if key is None and not others:
        return first
    if key is None:
        raise ValueError(
            f"the checkpoint {file} has {len(found)} state dicts inside, {join_names(found)}: "
            f"say which one, load_model(..., key='{next(iter(found))}')"
        )
    if key in every:
        return every[key]
    if not others and any(name.startswith(f"{key}.") for name in first):
        return strip_prefix(first, f"{key}.")
    begins = () if others else dict.fromkeys(name.partition(".")[0] for name in first)
    raise unknown_name(f"state dict in the checkpoint {file}:", key, [name for name in (*found, *begins) if name])


def _state_dicts(content: Any, name: str = "") -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """(name in the file, state dict) for each state dict of a model, "" for the whole file.

    What an optimizer saves is none.
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
    """Whether it cannot be a loss, a count or a random state, which are saved next to weights."""
    return not isinstance(value, Tensor) or (
        value.ndim > 0 and (value.is_floating_point() or value.is_complex() or value.is_quantized)
    )


def strip_prefix(weights: Mapping[str, Tensor], begin: str) -> Mapping[str, Tensor]:
    """The weights whose names begin so, without the beginning."""
    return rename_weights(weights, lambda path: f"{path}."[len(begin) : -1] if f"{path}.".startswith(begin) else None)


def rename_weights(weights: Mapping[str, Tensor], rename: Callable[[str], str | None]) -> Mapping[str, Tensor]:
    """Weights under other names (None leaves them out), and with them the versions of modules that torch keeps in
    `_metadata`.
    """
    renamed = OrderedDict((new, value) for name, value in weights.items() if (new := rename(name)))
    if hasattr(weights, "_metadata"):
        paths = ((rename(path), about) for path, about in weights._metadata.items())
        metadata = OrderedDict((path, about) for path, about in paths if path is not None)
        setattr(renamed, "_metadata", metadata)  # noqa: B010  # a name that torch gives to a dict
    return renamed
