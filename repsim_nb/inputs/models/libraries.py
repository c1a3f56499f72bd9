"""Load models of timm and torchvision; functions that all sources of other libraries share.

A library is imported inside its source only; random weights are drawn on this machine; a hub is asked only for
weights="pretrained".
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import os
import socket
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from repsim_nb.inputs.randomness import preserve_random_states, seed_generators
from repsim_nb.support.errors import as_clause, check_name, import_library, unknown_name

from .layers import default_layers
from .model import Model
from .preparing import Pictures

HUB = "huggingface.co"
WEIGHTS = ("pretrained", "random")
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
WAIT = 5.0  # seconds to wait for the answer of a hub


def import_models(name: str) -> ModuleType:
    """Import a library of models; ValueError if it was built for another torch."""
    try:
        found: ModuleType = import_library(name, "repsim_nb.load_model")
    except ModuleNotFoundError:
        raise
    except Exception as error:  # a library that was built for another torch fails in many ways
        raise ValueError(
            f"{name} is installed and cannot be imported: '{first_line(error)}'. Most likely it, or the torchvision"
            f" that it uses, was built for another torch than the installed {torch.__version__}. Install the"
            " torchvision that belongs to this torch."
        ) from error
    return found


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights by `seed` while open; restore the random states of torch, NumPy and Python afterwards."""
    with preserve_random_states():
        seed_generators(seed)
        yield


@contextmanager
def offline() -> Iterator[None]:
    """Keep Hugging Face's hub from being asked: files in its cache are found, others are an OSError at once."""
    try:
        constants = importlib.import_module("huggingface_hub.constants")
    except ImportError:
        yield
        return
    before, vars(constants)["HF_HUB_OFFLINE"] = vars(constants)["HF_HUB_OFFLINE"], True
    try:
        yield
    finally:
        vars(constants)["HF_HUB_OFFLINE"] = before


@contextmanager
def weights_only() -> Iterator[None]:
    """Make torch.load read weights only, and run no code of a file, whatever a library asks for."""
    before = os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD")
        if before is not None:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = before


def fetch_weights(
    spec: str, fetch: Callable[[], Any], options: Mapping[str, Any], host: str = HUB, cached: bool = False
) -> Any:
    """Call `fetch()`, first with the cache alone, then with access to the hub.

    ValueError with the cause and what to do instead if the hub cannot be reached (within seconds) or lacks the weights.
    """
    with weights_only():
        try:
            if host == HUB:
                with suppress(OSError), offline():
                    return fetch()
            if not cached:
                _reach(host)
            return fetch()
        except OSError as error:
            raise ValueError(
                f"the trained weights of '{spec}' could not be fetched from {host}: {first_line(error)}. Without"
                " internet access: weights='random' creates the untrained model; load_model('checkpoint:FILE',"
                f" architecture='{spec}') reads a file; load_model('transformers:FOLDER') reads a folder; 'make"
                " pretrained' installs trained models, listed by models.pretrained()."
            ) from error
        except Exception as error:
            raise _make_error(spec, options, error) from error


def _reach(host: str) -> None:
    """Raise an OSError if the host does not answer within seconds; libraries would try for half a minute or more."""
    address = os.environ.get("HF_ENDPOINT", host).partition("://")[2].partition("/")[0] or host if host == HUB else host
    name, _, port = address.partition(":")
    if not urllib.request.getproxies():  # behind a proxy the host itself may be out of reach and is not needed
        try:
            socket.create_connection((name, int(port or 443)), timeout=WAIT).close()
        except OSError as error:
            raise OSError(f"no connection to {address} ({as_clause(error)})") from error


def _make_error(spec: str, options: Mapping[str, Any], error: Exception) -> ValueError:
    given = f" with options={dict(options)}" if options else ""
    return ValueError(f"'{spec}' could not be created{given}: {first_line(error)}.")


def first_line(error: BaseException) -> str:
    """Return the text of an error, short enough for a sentence."""
    first, *rest = str(error).strip().splitlines() or [type(error).__name__]
    return (f"{first} {rest[0].strip()}" if first.endswith(":") and rest else first).rstrip(".")[:300]


def read_settings(file: Path) -> Any:
    """Return the content of a JSON file, {} if there is no such file. ValueError if it is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} is damaged ({first_line(error)}). Nothing was read.") from error


def check_weights(spec: str, weights: str | None, note: str = "") -> str:
    """Check `weights`; it has no default, since one choice needs internet access and the other is not trained."""
    if weights is None:
        raise ValueError(
            f"'{spec}' needs weights=: 'pretrained' asks a hub over the internet (or finds them in its cache), 'random'"
            f" creates the untrained model, with seed=0.{note}"
        )
    return str(check_name("weights", weights, WEIGHTS))


def make_untrained(spec: str, make: Callable[[], nn.Module], options: Mapping[str, Any], seed: int) -> nn.Module:
    """Create a model of a library with weights drawn by `seed`; ValueError if the library fails."""
    try:
        with seeded(seed), offline():
            return make()
    except Exception as error:
        raise _make_error(spec, options, error) from error


def name_model(name: str, weights: str, seed: int) -> str:
    """Return a model's name; an untrained twin gets a name of its own, so both can be recorded together."""
    name = name.rpartition("/")[2]
    return name if weights == "pretrained" else f"untrained-{name}-{seed}"


def make_card(spec: str, module: nn.Module, weights: str, seed: int, **more: Any) -> dict[str, Any]:
    """Return the card of a model of a library."""
    source, _, name = spec.partition(":")
    known = {
        "architecture": name,
        "source": source,
        "weights": weights,
        "parameters": sum(p.numel() for p in module.parameters()),
    }
    return {**known, **({"seed": seed} if weights == "random" else {}), **more}


def _wrap(
    spec: str, module: nn.Module, prepare: Pictures, weights: str, seed: int, options: Mapping[str, Any]
) -> Model:
    """Create the Model of a library's module that takes pictures of one size."""
    more = {"options": dict(options)} if options else {}
    card = make_card(spec, module, weights, seed, input_shape=(*(prepare.size or ()), prepare.channels), **more)
    name = name_model(spec.partition(":")[2], weights, seed)
    return Model(name, module.eval(), prepare, default_layers(module), card)


def load_timm(
    name: str, *, weights: str | None = None, seed: int = 0, options: Mapping[str, Any] | None = None
) -> Model:
    """Load a model of timm; pictures are resized and cropped as timm does it.

    options: those of `timm.create_model` (num_classes=10, in_chans=1, img_size=64).
    """
    spec, options, timm = f"timm:{name}", dict(options or {}), import_models("timm")
    if not timm.is_model(name.partition(".")[0]) and not (
        weights != "random" and name.startswith(("hf-hub:", "hf_hub:"))
    ):
        raise unknown_name("timm model", name, timm.list_models(), "timm.list_models() lists all.")
    weights = check_weights(spec, weights)
    if weights == "random":
        module = make_untrained(spec, lambda: timm.create_model(name, pretrained=False, **options), options, seed)
    else:
        with seeded(seed):
            module = fetch_weights(spec, lambda: timm.create_model(name, pretrained=True, **options), options)
    config = timm.data.resolve_model_data_config(module)
    channels, given = (
        options.get("in_chans", config["input_size"][0]),
        options.get("img_size", config["input_size"][1:]),
    )
    size: tuple[int, int] = (given, given) if isinstance(given, int) else tuple(given)
    mode = config["interpolation"] if config["interpolation"] in ("bilinear", "bicubic") else "bilinear"
    height, width = (math.floor(side / (config["crop_pct"] or 0.875)) for side in size)
    prepare = Pictures(
        size,
        tuple(config["mean"]),
        tuple(config["std"]),
        channels,
        mode,
        (height, width) if config["crop_mode"] == "squash" else min(height, width),
    )
    return _wrap(spec, module, prepare, weights, seed, options)


def load_torchvision(
    name: str, *, weights: str | None = None, seed: int = 0, options: Mapping[str, Any] | None = None
) -> Model:
    """Load a model of torchvision; pictures are resized and cropped as its trained weights need.

    options: those of its builder (num_classes=10). Random weights have a random backbone too.
    """
    spec, options, models = f"torchvision:{name}", dict(options or {}), import_models("torchvision").models
    check_name("torchvision model", name, models.list_models())
    weights = check_weights(spec, weights)
    published = list(models.get_model_weights(name))
    trained = models.get_model_weights(name).DEFAULT if published else None
    if weights == "random":
        backbone = (
            {"weights_backbone": None}
            if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters
            else {}
        )
        with warnings.catch_warnings():
            # GoogLeNet and Inception warn that a later version will draw weights in another way
            warnings.simplefilter("ignore", FutureWarning)
            module = make_untrained(
                spec, lambda: models.get_model(name, weights=None, **{**backbone, **options}), options, seed
            )
    elif trained is None:
        raise ValueError(
            f"torchvision has no trained weights for '{name}'; weights='random' creates the untrained model."
        )
    else:
        with seeded(seed):
            cached = Path(torch.hub.get_dir(), "checkpoints", Path(trained.url).name).is_file()
            module = fetch_weights(
                spec,
                lambda: models.get_model(name, weights=trained, progress=False, **options),
                options,
                "download.pytorch.org",
                cached,
            )
    transforms = trained.transforms() if trained is not None else None
    crop, whole = (
        (getattr(transforms, key, None) or [default])[0] for key, default in (("crop_size", 224), ("resize_size", 256))
    )
    side, mode = (
        options.get("image_size") or crop,
        getattr(getattr(transforms, "interpolation", None), "value", "bilinear"),
    )
    first = max(side, side * whole // crop)
    prepare = Pictures(
        (side, side),
        tuple(getattr(transforms, "mean", IMAGENET["mean"])),
        tuple(getattr(transforms, "std", IMAGENET["std"])),
        3,
        mode,
        first,
    )
    return _wrap(spec, module, prepare, weights, seed, options)
