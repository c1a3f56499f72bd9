"""Untrained models: the baseline next to which a similarity of trained models is read."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from repsim_nb.support.errors import join_names
from repsim_nb.support.validation import check_integer

from .architectures import ARCHITECTURES
from .libraries import seeded
from .model import Model
from .sources import SOURCES, build, load_model


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
    Weights are drawn as they are before training: by the library that the model comes from ("timm:resnet18"), by the
    class of an architecture of the zoo, and otherwise by `reset_parameters` of each layer.

    Examples
    --------
    >>> from repsim_nb import models
    >>> twin = models.untrained_twin("zoo:mnist-cnn-0", seed=1)
    >>> twin.name, twin.card["epochs"], twin.card["parameters"]
    ('untrained-mnist-cnn-0', 0, 47130)
    """
    check_integer(seed, "seed", minimum=0)
    model = load_model(spec)
    source = spec.partition(":")[0] if isinstance(spec, str) else ""
    architecture, options = model.card.get("architecture"), dict(model.card.get("options") or {})
    if source in SOURCES and "weights" in inspect.signature(SOURCES[source]).parameters:
        module = load_model(spec, weights="random", seed=seed).module
    elif architecture in ARCHITECTURES:
        with seeded(seed):
            module = build(architecture, **options)
    else:
        module = _reset(model, seed)
    known = {"architecture": architecture or type(module).__name__, **({"options": options} if options else {})}
    card = {**known, "epochs": 0, "seed": seed, "parameters": sum(p.numel() for p in module.parameters())}
    return replace(model, name=f"untrained-{model.name}", module=module.eval(), card=card)


def _reset(model: Model, seed: int) -> nn.Module:
    """Return a copy of the module with all weights drawn again."""
    module = copy.deepcopy(model.module)
    left = {name for name, _ in module.named_parameters()}
    with seeded(seed):
        for prefix, layer in module.named_modules():
            reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
            if callable(reset):
                reset()
                left -= {f"{prefix}.{name}".lstrip(".") for name, _ in layer.named_parameters(recurse=False)}
    if left:
        raise ValueError(
            f"untrained_twin draws the weights of '{model.name}' again layer by layer, and these have no"
            f" reset_parameters: {join_names(sorted(left), 4)}. Make the module again with random weights and load it:"
            " load_model(module, name=...)"
        )
    return module
