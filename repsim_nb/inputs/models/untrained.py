"""Untrained models: the baseline next to which a similarity of trained models is read."""

from __future__ import annotations

import copy
import inspect
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from repsim_nb.support.errors import join_names
from repsim_nb.support.seeds import check_seed

from .architectures import ARCHITECTURES
from .libraries import first_line, seeded
from .loading import load_model
from .model import Model
from .sources import SOURCES, build


def untrained_twin(spec: str | Path | nn.Module | Model | Any, *, seed: int = 0) -> Model:
    """Make a model of the same architecture with random weights, the baseline of what training adds.

    Parameters
    ----------
    spec : str, Path, nn.Module or Model
        As for `load_model`; the model itself stays as it is.
    seed : int
        Seed of the random weights. Twins of two models of one architecture need different seeds: with the same one they
        are the same model.

    Returns
    -------
    Model
        Its name is "untrained-" and the name of the model. Preprocessing and layers are those of the model.

    Raises
    ------
    ValueError
        If some weights have no rule by which they are initialised.

    Notes
    -----
    Weights are drawn as they are before training: by the library that the model comes from ("timm:resnet18", a model of
    transformers), or by the class of an architecture of the zoo. For other modules, and for a model that was changed
    after it was loaded, they are drawn by `reset_parameters` of each layer, inner layers first.

    Examples
    --------
    >>> from repsim_nb import models
    >>> twin = models.untrained_twin("zoo:mnist-cnn-0", seed=1)
    >>> twin.name, twin.card["epochs"], twin.card["parameters"]
    ('untrained-mnist-cnn-0', 0, 47130)
    """
    check_seed(seed)
    source, _, rest = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if rest and _takes_weights(source):
        model = _load_random(str(spec), seed)
        # the name of `load_model(spec, weights="random")`
        untrained = re.fullmatch(rf"untrained-(.+)-{seed}", model.name)
        model, module = replace(model, name=untrained[1] if untrained else model.name), model.module
    else:
        model = load_model(spec)
        drawn = _draw_by_card(model, seed)
        module = _reset(model, seed) if drawn is None else drawn
    known = {"architecture": type(module).__name__}
    known |= {field: model.card[field] for field in ("architecture", "source", "options") if model.card.get(field)}
    card = {**known, "epochs": 0, "seed": seed, "parameters": sum(p.numel() for p in module.parameters())}
    return replace(model, name=f"untrained-{model.name}", module=module.eval(), card=card)


def _takes_weights(source: str) -> bool:
    """Return whether a source of `load_model` can create untrained models, by weights="random"."""
    return source in SOURCES and "weights" in inspect.signature(SOURCES[source]).parameters


def _load_random(spec: str, seed: int, **options: Any) -> Model:
    """Load a spec with random weights; a source of the user's need not take a seed."""
    if "seed" in inspect.signature(SOURCES[spec.partition(":")[0]]).parameters:
        options["seed"] = seed
    with seeded(seed):
        return load_model(spec, weights="random", **options)


def _draw_by_card(model: Model, seed: int) -> nn.Module | None:
    """Create the untrained model that the card describes; None if it describes none, or a module of other weights."""
    source, architecture, options = (model.card.get(field) for field in ("source", "architecture", "options"))
    module = None
    if source == "transformers":  # `_reset` creates it by its configuration, which the card lacks
        return None
    if source and _takes_weights(source):
        with suppress(ValueError, ModuleNotFoundError):  # the library is not installed, or lacks the model
            given = {"options": dict(options)} if options else {}
            module = _load_random(f"{source}:{architecture}", seed, **given).module
    elif architecture in ARCHITECTURES:
        with seeded(seed):
            module = build(architecture, **options or {})
    return module if module is not None and _shapes(module) == _shapes(model.module) else None


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def _reset(model: Model, seed: int) -> nn.Module:
    """Return a copy of the module with all weights drawn again."""
    try:
        module = copy.deepcopy(model.module)
    except Exception as error:  # the weight_norm of torch.nn.utils
        raise ValueError(
            f"untrained_twin draws the weights in a copy of '{model.name}', and {type(model.module).__name__} cannot be"
            f" copied ({first_line(error)}). Make the module again with random weights and load it:"
            " load_model(module, name=...)."
        ) from error
    with seeded(seed), torch.no_grad():
        for value in filter(_is_drawable, module.parameters()):
            value.fill_(torch.nan)  # NaN that is left shows a weight that was not drawn
        done: set[nn.Module] = set()
        for part in module.modules():
            if part not in done and _is_of_transformers(part):
                drawn = type(part)(part.config).state_dict()
                part.load_state_dict({name: drawn[name] for name in part.state_dict() if name in drawn}, strict=False)
                done.update(part.modules())
        for layer in _inner_first(module):
            reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
            if layer not in done and callable(reset):
                reset()
    left = [name for name, value in module.named_parameters() if not _is_drawable(value) or bool(value.isnan().any())]
    if left:
        raise ValueError(
            f"untrained_twin draws the weights of '{model.name}' again layer by layer, and these have no"
            f" reset_parameters: {join_names(sorted(left), 4)}. Make the module again with random weights and load it:"
            " load_model(module, name=...)."
        )
    return module


def _is_drawable(weight: torch.Tensor) -> bool:
    """Return whether a weight can be drawn: it has a shape already, and is no integer."""
    return not is_lazy(weight) and (weight.is_floating_point() or weight.is_complex())


def _is_of_transformers(module: nn.Module) -> bool:
    """Return whether it is a whole model of transformers, which draws its weights by its configuration."""
    library = sys.modules.get("transformers")
    return library is not None and isinstance(module, library.PreTrainedModel)


def _inner_first(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of a module, each after the layers inside it, as they draw their weights when they are made."""
    for layer in module.children():
        yield from _inner_first(layer)
    yield module
