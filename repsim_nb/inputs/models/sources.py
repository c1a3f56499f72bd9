"""The sources of models behind `load_model(spec)`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from repsim_nb.inputs.policies import PolicyNetwork, is_policy, unwrap_algorithm
from repsim_nb.support.dimensions import is_of
from repsim_nb.support.errors import as_clause, check_name, join_names

from .architectures import ARCHITECTURES
from .channels import check_pictures, is_bytes
from .checkpoints import INDEX, PICKLES, name_checkpoint, read_checkpoint
from .folders import describe_folder_of, load_folder
from .layers import default_layers
from .libraries import load_timm, load_torchvision
from .model import Model, images, tabulate_cards
from .packages import load_pretrained
from .pipelines import WithoutTokenizer, make_pipeline_model, takes_ids
from .policy_files import ENDING, build_policy, is_policy_file, make_policy_model, read_policy_weights
from .preparing import no_sentences
from .running import OUTPUT
from .sentences import LIBRARY, make_sentence_model
from .shipped_names import zoo_folder, zoo_names
from .state_dicts import fill_module, unwrap
from .unknown_specs import explain_no_spec
from .unsupported import TORCH_TAR, check_forward, explain_other_object

FILES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", *TORCH_TAR)
SHARED = ("name", "preprocess", "layers")  # options of every source


def normalise(batch: np.ndarray, mean: float, std: float) -> Tensor:
    """Convert uint8 pictures to floats and standardise them by the mean and standard deviation of a training set.

    Parameters
    ----------
    batch : array of uint8 (n, h, w)
        Grey pictures.
    mean, std : float
        Mean and standard deviation of the pixels, for pixels in [0, 1].

    Returns
    -------
    Tensor of float32 (n, 1, h, w)
        (pixels / 255 - mean) / std.

    Raises
    ------
    ValueError
        For uint8 that are no pictures.
    TypeError
        For sentences.

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import models
    >>> models.normalise(np.full((1, 2, 2), 255, np.uint8), mean=0.5, std=0.25).unique().tolist()
    [2.0]
    """
    no_sentences(batch, "this model")
    if is_bytes(batch):
        check_pictures(batch)
    return (images(batch) - mean) / std


def _load_zoo(name: str) -> Model:
    check_name("zoo model", name, zoo_names())
    return _load_checkpoint(str(zoo_folder() / f"{name}.safetensors"))


def _load_checkpoint(
    path: str,
    *,
    architecture: str | nn.Module | Callable[[], nn.Module] | None = None,
    options: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> Model:
    """Load weights from a file into an architecture.

    architecture: a module, a function or class that creates one, a name in ARCHITECTURES, or a spec.  options: those
    of the name or the spec. By default both come from the card inside the file.  key: the name of one of several state
    dicts in the file.
    """
    file = Path(path).expanduser()
    if file.suffix == ENDING and not file.exists():
        raise FileNotFoundError(f"there is no checkpoint file {file.absolute()}.")
    card: Mapping[str, Any] = {}
    if is_policy_file(file):
        weights = read_policy_weights(file)
        architecture = build_policy(file) if architecture is None else unwrap_algorithm(architecture)
    else:
        weights, card = read_checkpoint(file, key)
    if architecture is None or (isinstance(architecture, str) and architecture == card.get("architecture")):
        architecture, options = card.get("architecture"), card.get("options") if options is None else options
    if architecture is None:
        elsewhere = describe_folder_of(file)
        raise ValueError(
            f"the checkpoint {file} contains weights alone: {f'{elsewhere} Or ' if elsewhere else ''}name the model"
            f" that they are for, architecture=your_module (or one of {join_names(ARCHITECTURES)}, or a spec:"
            " 'timm:resnet18')."
        )
    empty = _make_architecture(architecture, options)
    fill_module(empty.module, weights, file)
    known = {**{key: value for key, value in empty.card.items() if key not in ("weights", "seed")}, **card}
    prepare = (
        partial(normalise, mean=card["mean"], std=card["std"]) if {"mean", "std"} <= card.keys() else empty.preprocess
    )
    return Model(card.get("name") or name_checkpoint(file), empty.module.eval(), prepare, empty.layers, known)


def _make_architecture(what: str | nn.Module | Callable[[], nn.Module], options: Mapping[str, Any] | None) -> Model:
    """Create a model to be filled with weights; a given module is copied."""
    source, colon, _ = what.partition(":") if isinstance(what, str) else ("", "", "")
    if colon and source in SOURCES:
        known = inspect.signature(SOURCES[source]).parameters
        given = {
            key: value
            for key, value in (("weights", "random" if "weights" in known else None), ("options", options))
            if value is not None
        }
        model = load_spec(str(what), given)
        return replace(model, module=copy.deepcopy(model.module))
    if isinstance(what, str):
        return _load_module(build(what, **options or {}))
    if options:
        raise ValueError(
            f"options={dict(options)} are for an architecture that is given by its name, architecture='timm:resnet18'"
            f" or 'mlp'; got architecture={what!r}."
        )
    what = PolicyNetwork(what) if is_policy(what) else what  # which has a copy after training, too
    return _load_module(_copy_module(what) if isinstance(what, nn.Module) else unwrap_algorithm(what()))


def _copy_module(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # old weight_norm, lazy buffers
        raise ValueError(
            f"the architecture {type(module).__name__} cannot be copied, so its weights would be overwritten. Give a"
            f" function that creates it, architecture=lambda: ... (the error of the copy: {as_clause(error)})."
        ) from error


def build(architecture: str, **options: Any) -> nn.Module:
    """Create an untrained model of one of the architectures of the zoo.

    Parameters
    ----------
    architecture : {"mlp", "cnn", "resnet", "depthwise", "vit"}
        A name in `models.ARCHITECTURES`.
    **options
        Options of its class: widths=(64, 32), classes=10; width, heads and depth of "vit".

    Returns
    -------
    nn.Module
        Its weights are random, drawn from the global generator of torch.

    Raises
    ------
    ValueError
        For an unknown architecture or option, with the nearest names.

    Examples
    --------
    >>> from repsim_nb import models
    >>> models.build("mlp", widths=(64, 32)).layers
    ('fc1', 'fc2')
    """
    check_name("architecture", architecture, ARCHITECTURES, "A spec of load_model will do too: 'timm:resnet18'.")
    own = inspect.signature(ARCHITECTURES[architecture]).parameters
    for name in options:
        check_name(f"option of the architecture '{architecture}'", name, own)
    return ARCHITECTURES[architecture](**options)


def cards(models: Iterable[str | nn.Module | Model]) -> pd.DataFrame:
    """List the cards of models, one row each, in their order.

    Parameters
    ----------
    models : iterable of Model, module or spec
        Specs and modules are loaded by `load_model`.

    Returns
    -------
    DataFrame
        Indexed by the names of the models. The columns are all fields of the cards except lists and dicts; NaN if a
        card lacks a field.

    Examples
    --------
    >>> from repsim_nb import models
    >>> models.cards(["zoo:mnist-cnn-0", "zoo:mnist-vit-0"])["parameters"].tolist()
    [47130, 138890]
    """
    return tabulate_cards((model.name, model.card) for model in (load_spec(model, {}) for model in models))


def _load_module(module: nn.Module) -> Model:
    module = unwrap(module)
    module = module.policy if isinstance(module, PolicyNetwork) else module
    if is_policy(module):
        return make_policy_model(module)
    if is_of(module, LIBRARY):
        return make_sentence_model(module)
    check_forward(module)
    name = type(module).__name__
    return Model(name, module, WithoutTokenizer(name) if takes_ids(module) else images, default_layers(module), {})


SOURCES: dict[str, Callable[..., Model | nn.Module]] = {
    "zoo": _load_zoo,
    "checkpoint": _load_checkpoint,
    "timm": load_timm,
    "torchvision": load_torchvision,
    "transformers": load_folder,
    "pretrained": load_pretrained,
}
"""The function that loads a model, by the word before the colon in "zoo:mnist-cnn-0". Add sources of your own."""


def load_spec(spec: Any, options: Mapping[str, Any]) -> Model:
    """Return what `load_model` returns."""
    spec = unwrap_algorithm(spec)
    if isinstance(spec, Model):
        return _apply_options(spec, _check_options(options, ()))
    if isinstance(spec, torch.export.ExportedProgram):
        raise TypeError(
            "load_model takes a model, and this is an exported program. Pass torch.export.unflatten(program), of a"
            " program that was exported with a dynamic first axis (dynamic_shapes=)."
        )
    if isinstance(spec, type) and issubclass(spec, nn.Module):
        first = (
            f"{spec.__name__}.from_pretrained(folder)" if hasattr(spec, "from_pretrained") else f"{spec.__name__}(...)"
        )
        raise TypeError(
            f"load_model takes a model, and {spec.__name__} is a class. Create one first, load_model({first})."
        )
    if isinstance(spec, nn.Module):
        return _apply_options(_load_module(spec), _check_options(options, ()))
    if is_of(spec, "transformers", "Pipeline"):
        return _apply_options(make_pipeline_model(spec), _check_options(options, ()))
    if isinstance(spec, Path) or (
        isinstance(spec, str)
        and spec.endswith((*FILES, *PICKLES, INDEX, ENDING))
        and spec.partition(":")[0] not in SOURCES
    ):
        spec = f"checkpoint:{spec}" if not Path(spec).is_dir() else f"transformers:{spec}"
    if not isinstance(spec, str):
        raise explain_other_object(spec)
    source, colon, rest = spec.partition(":")
    if not colon:
        raise explain_no_spec(spec, SOURCES)
    hint = "A model of another library can be passed as it is: load_model(module, name=...)."
    check_name("model source", source, SOURCES, hint)
    if not rest:
        raise ValueError(
            f"'{spec}' names no model. A spec is SOURCE:NAME, such as 'zoo:mnist-cnn-0', 'timm:resnet18',"
            " 'transformers:FOLDER'."
        )
    return _load_from_source(source, rest, options)


def _load_from_source(source: str, rest: str, options: Mapping[str, Any]) -> Model:
    parameters = list(inspect.signature(SOURCES[source]).parameters.values())[1:]
    own = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in SHARED]
    options = options if any(p.kind is p.VAR_KEYWORD for p in parameters) else _check_options(options, own)
    found = SOURCES[source](rest, **{key: value for key, value in options.items() if key not in SHARED})
    if not isinstance(found, (Model, nn.Module)):
        raise TypeError(
            f"the source '{source}' must return a Model or an nn.Module; got {type(found).__name__} for '{rest}'."
        )
    model = found if isinstance(found, Model) else replace(_load_module(found), name=rest)
    return _apply_options(model, options)


def _check_options(options: Mapping[str, Any], own: Sequence[str]) -> Mapping[str, Any]:
    for name in options:
        check_name("option of load_model", name, (*SHARED, *own))
    return options


def _apply_options(model: Model, options: Mapping[str, Any]) -> Model:
    """Return the model with another name, preprocess or layers; the last layer is always the output."""
    changes = {key: options[key] for key in ("name", "preprocess") if options.get(key) not in (None, "")}
    if options.get("layers") is not None:
        changes["layers"] = (*(name for name in model.check_layers(options["layers"]) if name != OUTPUT), OUTPUT)
    return replace(model, **changes) if changes else model
