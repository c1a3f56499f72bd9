"""Where models come from: `load_model(spec)` and the dict of sources behind it."""

from __future__ import annotations

import copy
import difflib
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

from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.files import shipped_folder

from .architectures import ARCHITECTURES
from .channels import check_pictures, is_bytes
from .checkpoints import INDEX, PICKLES, name_checkpoint, read_checkpoint
from .folders import describe_folder_of, describe_other_folder, load_folder
from .layers import default_layers
from .libraries import load_timm, load_torchvision
from .model import Model, images, tabulate_cards
from .packages import PACKAGES, load_pretrained, pretrained
from .pipelines import WithoutTokenizer, is_pipeline, make_pipeline_model, takes_ids
from .preparing import no_sentences
from .running import OUTPUT
from .sentences import is_of_library, make_sentence_model
from .state_dicts import fill_module, unwrap
from .unsupported import TORCH_TAR, describe_other_file, explain_other_object

FILES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", *TORCH_TAR)
ENDINGS = "in .safetensors, .pt, .pth, .ckpt or .bin"
SHARED = ("name", "preprocess", "layers")  # options of every source


def normalise(batch: np.ndarray, mean: float, std: float) -> Tensor:
    """uint8 (n, h, w) -> float32 (n, 1, h, w) with the mean and standard deviation of a training set taken out."""
    no_sentences(batch, "this network")
    if is_bytes(batch):
        check_pictures(batch)
    return (images(batch) - mean) / std


def _zoo_folder() -> Path:
    return shipped_folder("data") / "zoo"


def zoo_names() -> list[str]:
    """The models that ship."""
    return sorted(path.stem for path in _zoo_folder().glob("*.safetensors"))


def zoo() -> pd.DataFrame:
    """List the models that ship, one row each: architecture, data, labels, seed, epochs, accuracies, parameters.

    Returns
    -------
    DataFrame

    Examples
    --------
    >>> from repsim_nb import models
    >>> models.zoo().loc["mnist-cnn-0", ["architecture", "data"]].tolist()
    ['cnn', 'mnist']
    """
    columns = [
        "architecture",
        "data",
        "labels",
        "seed",
        "epochs",
        "learning_rate",
        "train_accuracy",
        "test_accuracy",
        "parameters",
    ]
    return tabulate_cards((name, read_checkpoint(_zoo_folder() / f"{name}.safetensors")[1]) for name in zoo_names())[
        columns
    ].rename_axis("name")


def available(inputs: Any) -> list[str]:
    """List the specs of the installed models that take such inputs.

    Parameters
    ----------
    inputs : list of str, or array (n, h, w) or (n, h, w, c)
        The models of the zoo take grey pictures of 28×28.

    Returns
    -------
    list of str

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import models
    >>> models.available(np.zeros((2, 28, 28), np.uint8))[:2]
    ['zoo:animals-cnn-0', 'zoo:animals-cnn-1']
    """
    shape = getattr(inputs, "shape", None)
    kind = "pictures" if shape is not None and len(shape) in (3, 4) else "text" if isinstance(inputs, list) else None
    ours = [f"zoo:{name}" for name in zoo_names()] if shape is not None and shape[1:] == (28, 28) else []
    carried = pretrained()
    return ours + [f"pretrained:{name}" for name in carried.index[carried.installed & (carried.kind == kind)]]


def _load_zoo(name: str) -> Model:
    if name not in zoo_names():
        raise unknown_name("zoo network", name, zoo_names())
    return _load_checkpoint(str(_zoo_folder() / f"{name}.safetensors"))


def _load_checkpoint(
    path: str,
    *,
    architecture: str | nn.Module | Callable[[], nn.Module] | None = None,
    options: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> Model:
    """Weights in a file; architecture: a module, a function or class that makes one, a name of the zoo's, or a spec,
    whose options `options` are.

    A card inside the file says both. key: which of several state dicts in the file.
    """
    file = Path(path).expanduser()
    weights, card = read_checkpoint(file, key)
    if architecture is None or (isinstance(architecture, str) and architecture == card.get("architecture")):
        architecture, options = card.get("architecture"), card.get("options") if options is None else options
    if architecture is None:
        elsewhere = describe_folder_of(file)
        raise ValueError(
            f"the checkpoint {file} holds weights alone: {f'{elsewhere}. Or ' if elsewhere else ''}say which network"
            f" they are for, architecture=your_module (or one of {join_names(ARCHITECTURES)}, or a spec:"
            " 'timm:resnet18')"
        )
    empty = _make_architecture(architecture, options)
    fill_module(empty.module, weights, file)
    known = {**{key: value for key, value in empty.card.items() if key not in ("weights", "seed")}, **card}
    prepare = (
        partial(normalise, mean=card["mean"], std=card["std"]) if {"mean", "std"} <= card.keys() else empty.preprocess
    )
    return Model(card.get("name") or name_checkpoint(file), empty.module.eval(), prepare, empty.layers, known)


def _make_architecture(what: str | nn.Module | Callable[[], nn.Module], options: Mapping[str, Any] | None) -> Model:
    """A model to be filled, never the one that was handed in."""
    source, colon, _ = what.partition(":") if isinstance(what, str) else ("", "", "")
    if colon and source in SOURCES:
        known = inspect.signature(SOURCES[source]).parameters
        given = {
            key: value
            for key, value in (("weights", "random" if "weights" in known else None), ("options", options))
            if value is not None
        }
        model = load_model(str(what), **given)
        return replace(model, module=copy.deepcopy(model.module))
    if isinstance(what, str):
        return _load_module(build(what, **options or {}))
    if options:
        raise ValueError(
            f"options={dict(options)} are for an architecture that is given by its name, architecture='timm:resnet18'"
            f" or 'mlp'; here it is {what!r}"
        )
    return _load_module(_copy_module(what) if isinstance(what, nn.Module) else what())


def _copy_module(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # old weight_norm, lazy buffers
        raise ValueError(
            f"the architecture {type(module).__name__} cannot be copied, so its weights would be overwritten: give a"
            f" function that makes it, architecture=lambda: ... (copying it, torch said: {error})"
        ) from error


def build(architecture: str, **options: Any) -> nn.Module:
    """A fresh model of one of the zoo's architectures; options: what its class takes, widths=(64, 32).

    ValueError names the nearest of both.
    """
    if architecture not in ARCHITECTURES:
        raise unknown_name(
            "architecture", architecture, ARCHITECTURES, "A spec of load_model will do too: 'timm:resnet18'."
        )
    own = inspect.signature(ARCHITECTURES[architecture]).parameters
    for name in options:
        if name not in own:
            raise unknown_name(f"option of the architecture '{architecture}'", name, own)
    return ARCHITECTURES[architecture](**options)


def cards(models: Iterable[str | nn.Module | Model]) -> pd.DataFrame:
    """List what is known of models, one row each, in their order: the fields of their cards, but for lists and dicts.

    Parameters
    ----------
    models : iterable of Model, module or spec

    Returns
    -------
    DataFrame

    Examples
    --------
    >>> from repsim_nb import models
    >>> models.cards(["zoo:mnist-cnn-0", "zoo:mnist-vit-0"])["parameters"].tolist()
    [47130, 138890]
    """
    return tabulate_cards((model.name, model.card) for model in map(load_model, models))


def _load_module(module: nn.Module) -> Model:
    module = unwrap(module)
    if is_of_library(module):
        return make_sentence_model(module)
    if isinstance(module, torch.fx.GraphModule) and "range_constraints" in vars(module):  # torch.export's
        raise TypeError(
            "this module was made by torch.export, program.module(), and its layers do not run one by one, so nothing"
            " of it can be recorded: pass torch.export.unflatten(program), of a program that was exported with a"
            " dynamic first axis (dynamic_shapes=), or the module that was exported"
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise TypeError(
            f"torch.jit compiled this {module.original_name}, and what it compiled cannot be watched, so nothing of it"
            " can be recorded: pass the module that it was made of, with the weights of the compiled one,"
            " module.load_state_dict(compiled.state_dict())"
        )
    if type(module).forward is nn.Module.forward and "forward" not in vars(module):  # a ModuleList, for one
        raise TypeError(
            f"a {type(module).__name__} has no forward, so it cannot run: pass the model that it is a part of, or one"
            " of the modules in it"
        )
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


def load_model(spec: str | Path | nn.Module | Model | Any, **options: Any) -> Model:
    """Load a model by its spec, or take a module that you have.

    Parameters
    ----------
    spec : nn.Module, Model, str, Path, SentenceTransformer, or pipeline of transformers
        A SentenceTransformer's "output" is what its `encode` returns. A string is one of these:

        - "zoo:NAME": a model that ships (`models.zoo()` lists them)
        - "pretrained:NAME": a trained model from an installed package (`models.pretrained()`), or with
          weights="random" its untrained twin
        - "timm:NAME", "torchvision:NAME": with weights="random" (seed=0), or "pretrained", which asks a hub over the
          network
        - "transformers:FOLDER": a folder with config.json and weights, or weights="random"; "transformers:KIND"
          ("bert", "vit") with weights="random". A head for classification stays and its logits are "output"; of all
          others "output" is the last hidden state. A folder of sentence_transformers: all its modules; one with an
          adapter of peft: its base with the adapter
        - "checkpoint:PATH", or a path to .safetensors, .pt, .pth, .ckpt or .bin: with architecture= the module, or the
          spec, that the weights belong to. Weights in shards: the path of their index (.index.json) or of one shard. A
          file with several state dicts: key= the name of one, key="ema"
        - your own source: `models.SOURCES["mine"] = function`, from NAME (and its keyword options) to a module or a
          Model
    **options
        For every source: name (empty: the model's own), preprocess (a function from a batch of raw inputs to what the
        module takes), layers (what to record by default). options={...} goes to the library that makes the model,
        options={"num_classes": 10}.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        Names the nearest known spec, a library to install, a hub out of reach, a damaged file, weights that do not fit,
        or a file that would have to run code.

    Notes
    -----
    A library's model takes uint8 pictures (n, h, w[, 3]), which are resized and cropped at the center as that library
    does when it tests (`models.Pictures`), or sentences or ids (`models.Texts`).

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rs.load_model("zoo:mnist-cnn-0")
    Model(name='mnist-cnn-0', layers=('conv1', 'conv2', 'conv3', 'fc', 'output'))
    """
    if isinstance(spec, Model):
        return _apply_options(spec, _check_options(options, ()))
    if isinstance(spec, torch.export.ExportedProgram):
        raise TypeError(
            "load_model takes a network, and this is an exported program: pass torch.export.unflatten(program), of a"
            " program that was exported with a dynamic first axis (dynamic_shapes=)"
        )
    if isinstance(spec, type) and issubclass(spec, nn.Module):
        first = (
            f"{spec.__name__}.from_pretrained(folder)" if hasattr(spec, "from_pretrained") else f"{spec.__name__}(...)"
        )
        raise TypeError(
            f"load_model takes a network, and {spec.__name__} is a class: make one first, load_model({first})"
        )
    if isinstance(spec, nn.Module):
        return _apply_options(_load_module(spec), _check_options(options, ()))
    if is_pipeline(spec):
        return _apply_options(make_pipeline_model(spec), _check_options(options, ()))
    if isinstance(spec, Path) or (
        isinstance(spec, str) and spec.endswith((*FILES, *PICKLES, INDEX)) and spec.partition(":")[0] not in SOURCES
    ):
        spec = f"checkpoint:{spec}" if not Path(spec).is_dir() else f"transformers:{spec}"
    if not isinstance(spec, str):
        raise explain_other_object(spec)
    source, colon, rest = spec.partition(":")
    if not colon:
        raise _explain_no_spec(spec)
    if source not in SOURCES:
        raise unknown_name(
            "model source",
            source,
            SOURCES,
            "A network made by another library can be passed as it is: load_model(module, name=...).",
        )
    if not rest:
        raise ValueError(
            f"'{spec}' names no network: a spec is SOURCE:NAME, 'zoo:mnist-cnn-0', 'timm:resnet18',"
            " 'transformers:FOLDER'"
        )
    return _load_from_source(source, rest, options)


def _explain_no_spec(spec: str) -> ValueError:
    """What to say of a string without a colon."""
    if spec and Path(spec).is_dir() and (why := describe_other_folder(Path(spec))):
        return ValueError(why)
    if spec and (why := describe_other_file(Path(spec))):
        return ValueError(why)
    if spec and Path(spec).is_dir():
        return ValueError(
            f"'{spec}' is a folder: if transformers saved it, 'transformers:{spec}'; a checkpoint is a file that ends"
            f" {ENDINGS}"
        )
    if spec and (Path(spec).exists() or Path(spec).suffix or "/" in spec):
        return ValueError(
            f"checkpoints are read from files that end {ENDINGS}; got '{spec}'. To read one by another name:"
            f" 'checkpoint:{spec}'"
        )
    ours = [*(f"zoo:{name}" for name in zoo_names()), *(f"pretrained:{name}" for name in PACKAGES)]
    near = [f"{spec}:NAME"] if spec in SOURCES else difflib.get_close_matches(spec, ours, n=3, cutoff=0.6)
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return ValueError(
        f"'{spec}' is no network.{meant} A spec is SOURCE:NAME, with SOURCE one of {join_names(SOURCES)}:"
        " 'timm:resnet18', 'zoo:mnist-cnn-0' (models.zoo() and models.pretrained() list what is here). A network of"
        " your own: load_model(module, name=...)"
    )


def _load_from_source(source: str, rest: str, options: Mapping[str, Any]) -> Model:
    parameters = list(inspect.signature(SOURCES[source]).parameters.values())[1:]
    own = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in SHARED]
    options = options if any(p.kind is p.VAR_KEYWORD for p in parameters) else _check_options(options, own)
    found = SOURCES[source](rest, **{key: value for key, value in options.items() if key not in SHARED})
    if not isinstance(found, (Model, nn.Module)):
        raise TypeError(
            f"the source '{source}' must give a Model or an nn.Module; for '{rest}' it gave {type(found).__name__}"
        )
    model = found if isinstance(found, Model) else replace(_load_module(found), name=rest)
    return _apply_options(model, options)


def _check_options(options: Mapping[str, Any], own: Sequence[str]) -> Mapping[str, Any]:
    for name in options:
        if name not in (*SHARED, *own):
            raise unknown_name("option of load_model", name, (*SHARED, *own))
    return options


def _apply_options(model: Model, options: Mapping[str, Any]) -> Model:
    """The model under another name, with another preprocess or other layers, of which the last is always the output."""
    changes = {key: options[key] for key in ("name", "preprocess") if options.get(key) not in (None, "")}
    if options.get("layers") is not None:
        changes["layers"] = (*(name for name in model.check_layers(options["layers"]) if name != OUTPUT), OUTPUT)
    return replace(model, **changes) if changes else model
