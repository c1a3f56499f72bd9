"""Where networks come from: `load_model(spec)` and the dict of sources behind it."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import listed, unknown
from ..files import shipped
from .architectures import ARCHITECTURES
from .layers import default_layers
from .model import Model, images
from .running import OUTPUT


def normalise(batch: np.ndarray, mean: float, std: float) -> Tensor:
    """uint8 (n, h, w) -> float32 (n, 1, h, w) with the mean and standard deviation of a training set taken out."""
    return (images(batch) - mean) / std


def _zoo_folder() -> Path:
    return shipped("data") / "zoo"


def zoo_names() -> list[str]:
    """The networks that ship."""
    return sorted(path.stem for path in _zoo_folder().glob("*.safetensors"))


def zoo() -> pd.DataFrame:
    """The cards of the networks that ship, a row each: architecture, data, labels, seed, epochs, accuracies, parameters."""
    cards = {name: _read(_zoo_folder() / f"{name}.safetensors")[1] for name in zoo_names()}
    columns = ["architecture", "data", "labels", "seed", "epochs", "learning_rate", "train_accuracy", "test_accuracy", "parameters"]
    return pd.DataFrame.from_dict(cards, orient="index")[columns].rename_axis("name")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the card of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            card = json.loads((file.metadata() or {}).get("card", "{}"))
            return {key: file.get_tensor(key) for key in file.keys()}, card  # noqa: SIM118 (not a dict)
    except (SafetensorError, ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"the file {path} is damaged or not in safetensors format ({error}): nothing of it was read") from error


def _load_zoo(network: str, *, name: str | None = None, preprocess: Callable[[Any], Any] | None = None, layers: Sequence[str | int] | None = None) -> Model:
    if network not in zoo_names():
        raise unknown("zoo network", network, zoo_names())
    return _load_checkpoint(str(_zoo_folder() / f"{network}.safetensors"), name=name, preprocess=preprocess, layers=layers)


def _load_checkpoint(
    path: str,
    *,
    architecture: str | nn.Module | Callable[[], nn.Module] | None = None,
    name: str | None = None,
    preprocess: Callable[[Any], Any] | None = None,
    layers: Sequence[str | int] | None = None,
) -> Model:
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint file {file.absolute()}")
    weights, card = _read(file) if file.suffix == ".safetensors" else (_read_torch(file), {})
    architecture = architecture if architecture is not None else card.get("architecture")
    if architecture is None:
        raise ValueError(f"the checkpoint {file} holds weights alone: say which network they are for, architecture=your_module "
                         f"(or one of {listed(ARCHITECTURES)})")
    if isinstance(architecture, str) and architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    module = copy.deepcopy(architecture) if isinstance(architecture, nn.Module) else ARCHITECTURES[architecture]() if isinstance(architecture, str) else architecture()
    _fill(module, weights, file)
    if preprocess is None and {"mean", "std"} <= card.keys():
        preprocess = partial(normalise, mean=card["mean"], std=card["std"])
    return _load_module(module.eval(), name=name or card.get("name") or file.stem, preprocess=preprocess, layers=layers, card=card)


def _read_torch(file: Path) -> dict[str, Tensor]:
    """A state dict saved by torch.save, read with weights_only: no code of the file runs."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"the checkpoint {file} is refused: it holds Python objects and not only tensors, so reading it could run code. "
                         f"Save the weights alone, torch.save(module.state_dict(), ...) or safetensors, and pass architecture=") from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"the checkpoint {file} is damaged or was not written by torch.save ({error}): nothing of it was read") from error
    for key in ("state_dict", "model_state_dict", "model"):  # the usual wrappings
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"the checkpoint {file} is not a state dict (names -> tensors); it holds {type(content).__name__}")
    return dict(content)


def _fill(module: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    """Load every weight into its place; a weight too many, too few or of another shape is an error."""
    own = module.state_dict()
    if not weights.keys() & own.keys():  # nn.DataParallel puts a prefix before every name
        weights = {key.removeprefix("module."): value for key, value in weights.items()}
    missing, extra = [k for k in own if k not in weights], [k for k in weights if k not in own]
    other = [f"{k} {tuple(weights[k].shape)} for {tuple(own[k].shape)}" for k in own if k in weights and weights[k].shape != own[k].shape]
    problems = [f"{word} {listed(names, 4)}" for word, names in (("it lacks", missing), ("it has besides", extra), ("other shapes:", other)) if names]
    if problems:
        raise ValueError(f"the checkpoint {file} does not fit {type(module).__name__}: {'; '.join(problems)}")
    module.load_state_dict(weights)


def _load_module(
    module: nn.Module,
    *,
    name: str | None = None,
    preprocess: Callable[[Any], Any] | None = None,
    layers: Sequence[str | int] | None = None,
    card: Mapping[str, Any] | None = None,
) -> Model:
    model = Model(name or type(module).__name__, module, preprocess or images, default_layers(module), dict(card or {}))
    return model if layers is None else _with_layers(model, layers)


def _with_layers(model: Model, layers: Sequence[str | int]) -> Model:
    """The last layer is always the output."""
    return replace(model, layers=(*(name for name in model.check_layers(layers) if name != OUTPUT), OUTPUT))


def _load_again(model: Model, *, name: str | None = None, preprocess: Callable[[Any], Any] | None = None, layers: Sequence[str | int] | None = None) -> Model:
    changed = replace(model, name=name or model.name, preprocess=preprocess or model.preprocess)
    return changed if layers is None else _with_layers(changed, layers)


SOURCES: dict[str, Callable[..., Model]] = {"zoo": _load_zoo, "checkpoint": _load_checkpoint}


def load_model(spec: str | Path | nn.Module | Model, **options: Any) -> Model:
    """Load a network.

    spec: "zoo:NAME", a network that ships (`models.zoo()` lists them); "checkpoint:PATH" or a path to .safetensors, .pt or .pth, with
    `architecture=` the module that the weights belong to; or any nn.Module, with `name=` what to call it.
    options: name, preprocess (a batch of raw inputs -> what the module takes), layers (what to record by default).
    Errors: ValueError names the nearest known spec, a damaged file, weights that do not fit, a file that would have to run code.
    """
    if isinstance(spec, Model):
        return _call(_load_again, spec, options) if options else spec
    if isinstance(spec, type) and issubclass(spec, nn.Module):
        raise TypeError(f"load_model takes a network, and {spec.__name__} is a class: make one first, load_model({spec.__name__}(...))")
    if isinstance(spec, nn.Module):
        return _call(_load_module, spec, options)
    if isinstance(spec, Path) or (isinstance(spec, str) and spec.endswith((".safetensors", ".pt", ".pth")) and not spec.startswith("checkpoint:")):
        spec = f"checkpoint:{spec}"
    if not isinstance(spec, str):
        raise TypeError(f"load_model takes 'zoo:NAME', 'checkpoint:PATH' or an nn.Module; it got {type(spec).__name__}")
    source, colon, rest = spec.partition(":")
    if not colon and (Path(spec).exists() or Path(spec).suffix or "/" in spec):
        raise ValueError(f"checkpoints are read from files that end in .safetensors, .pt or .pth; got '{spec}'. To read one by another name: 'checkpoint:{spec}'")
    if not colon:
        raise unknown("model", spec, [f"zoo:{name}" for name in zoo_names()], "A network of your own: load_model(module, name=...).")
    if source not in SOURCES:
        raise unknown("model source", source, SOURCES, "A network made by another library can be passed as it is: load_model(module, name=...).")
    return _call(SOURCES[source], rest, options)


def _call(source: Callable[..., Model], what: Any, options: Mapping[str, Any]) -> Model:
    known = [name for name, p in inspect.signature(source).parameters.items() if p.kind is p.KEYWORD_ONLY and name != "card"]
    for name in options:
        if name not in known:
            raise unknown("option of load_model", name, known)
    return source(what, **options)
