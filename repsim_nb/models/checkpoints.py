"""Weights in a file: safetensors, or what torch.save wrote, read with weights_only; no code of a file ever runs."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import listed

PICKLES = (".pkl", ".pickle", ".joblib")


def read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of a file and its card, {} where it has none.  FileNotFoundError; ValueError: damaged, refused, no state dict."""
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint file {file.absolute()}")
    if file.stat().st_size == 0:
        raise ValueError(f"the file {file} is damaged: it is empty")
    if file.suffix in PICKLES and not zipfile.is_zipfile(file):  # torch.save writes a zip, whatever its name
        raise ValueError(_refused(file))
    return _read_safetensors(file) if file.suffix == ".safetensors" else (_read_torch(file), {})


def digest(weights: Mapping[str, Tensor]) -> str:
    """What a file's weights are held against: a hash of their names, types, shapes and bytes."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()


def _refused(file: Path) -> str:
    what = "it is a pickle" if file.suffix in PICKLES else "it holds Python objects and not only tensors"
    return (f"the checkpoint {file} is refused: {what}, so reading it could run code. Where you trust it, open it yourself, and "
            f"save the weights alone, torch.save(module.state_dict(), 'mine.pt') or safetensors; then pass architecture=")


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(file, framework="pt") as content:
            said = content.metadata() or {}
            weights = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (not a dict)
        if said.get("digest", digest(weights)) != digest(weights):
            raise ValueError("the weights are not those that were written")
        return weights, json.loads(said.get("card", "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(f"the file {file} is damaged or not in safetensors format ({error}): nothing of it was read") from error


def _read_torch(file: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles: what is refused is said below
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_refused(file)) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"the checkpoint {file} is damaged or was not written by torch.save ({error}): nothing of it was read") from error
    for key in ("state_dict", "model_state_dict", "model"):  # the usual wrappings
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"the checkpoint {file} is not a state dict (names -> tensors); it holds {type(content).__name__}")
    return dict(content)


def fill(module: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Load every weight into its place; a weight too many, too few or of another shape is an error."""
    own = module.state_dict()
    weights = _unprefixed(weights, set(own))
    missing, extra = [k for k in own if k not in weights], [k for k in weights if k not in own]
    other = [f"{k} {tuple(weights[k].shape)} for {tuple(own[k].shape)}" for k in own if k in weights and weights[k].shape != own[k].shape]
    problems = [f"{word} {listed(names, 4)}" for word, names in (("it lacks", missing), ("it has besides", extra), ("other shapes:", other)) if names]
    if problems:
        raise ValueError(f"the checkpoint {file} does not fit {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(weights)


def _unprefixed(weights: Mapping[str, Tensor], own: set[str]) -> Mapping[str, Tensor]:
    """The weights without what wrappers put before every name ("module.", "_orig_mod.", "model."), if that alone makes them fit."""
    stripped = weights
    while stripped.keys() != own:
        first = {key.partition(".")[0] for key in stripped}
        if len(first) != 1 or not all("." in key for key in stripped):
            return weights
        stripped = {key.partition(".")[2]: value for key, value in stripped.items()}
    return stripped


def unwrapped(module: nn.Module) -> nn.Module:
    """The network itself: out of nn.DataParallel, DistributedDataParallel and torch.compile, which put a prefix before all names."""
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module
