"""Train two models at once on the same images, each on its own answers, with their features made similar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import Model, normalise
from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.progress import Tick
from repsim_nb.support.validation import is_number

from . import training
from .classifier import Descent, accuracy, descend, initialise, measure_brightness

PARTS = ("one", "two")


def cka(x: Tensor, y: Tensor) -> Tensor:
    """Compute debiased linear CKA of two batches of features as a tensor that has a gradient.

    x, y: (n, p) and (n, q), with n of at least 4. It is `measures.get("cka_debiased")` as a loss.
    """
    a, b = (centre_gram(side @ side.T) for side in (x - x.mean(0), y - y.mean(0)))
    return (a * b).sum() / (a.norm() * b.norm()).clamp_min(
        1e-12
    )  # features that are all alike have no direction to be pulled in


def centre_gram(gram: Tensor) -> Tensor:
    """U-centre similarities of samples, (..., n, n): their products are the unbiased HSIC of Song and others."""
    n, others = gram.shape[-1], ~torch.eye(gram.shape[-1], dtype=torch.bool)
    gram = gram * others
    rows = gram.sum(-1)
    total = rows.sum(-1)[..., None, None]
    return (gram - (rows[..., :, None] + rows[..., None, :]) / (n - 2) + total / ((n - 1) * (n - 2))) * others


def train(  # noqa: PLR0913  # these are the options of a recipe
    data: str,
    one: Sequence[str],
    two: Sequence[str],
    *,
    classes: Sequence[str] | None = None,
    weight: float = 0.0,
    architecture: str = "cnn",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    epochs: int = 8,
    learning_rate: float = 4e-3,
    batch_size: int = 100,
    keep: Callable[[nn.Module, dict[str, Any]], None] | None = None,
    tick: Tick = lambda done, total: None,
) -> list[tuple[nn.Module, dict[str, Any]]]:
    """Train two models that answer yes or no to the same images of a shipped data set.

    The loss is the sum of both cross-entropies minus weight · debiased CKA of their features (the inputs of their
    heads), batch by batch; Adam, the learning rate up and down again. The models start from different weights, of the
    seeds 2 · seed and 2 · seed + 1.

    Parameters
    ----------
    data : str
        The name of a shipped data set.
    one, two : sequence of str
        The classes for which each model answers yes.
    classes : sequence of str, optional
        The classes whose images are used; None is all.
    weight : float
        The weight of CKA in the loss, at least 0.
    architecture : str
        The name of an architecture.
    options : mapping, optional
        Options of the architecture.
    seed : int
        It decides the weights of both models and the order of the batches.
    epochs : int
        The number of epochs.
    learning_rate : float
        The largest learning rate.
    batch_size : int
        Images in a batch, at least 4.
    keep : function(module, card), optional
        Called for each model at the end.
    tick : function(done, total)
        Called after every batch; it may raise to stop.

    Returns
    -------
    list of (Module, dict)
        Each module in eval mode, and its card.
    """
    sides = {split: load_dataset(data, split) for split in ("train", "test")}
    known = sides["train"].classes
    names = known if classes is None else tuple(classes)
    for name in names:
        if name not in known:
            raise unknown_name(f"class of '{data}'", name, known)
    for who, yes in (("one", one), ("two", two)):
        if isinstance(yes, str) or not set(yes) < set(names) or not yes:
            raise ValueError(
                f"{who} names some of the classes that are shown, {join_names(names)}, and not all of them; got {yes!r}"
            )
    if not is_number(weight) or not 0 <= weight < float("inf"):
        raise ValueError(f"weight says how hard features are pulled together, a number from 0; got {weight!r}")
    if batch_size < 4:
        raise ValueError(f"CKA needs batches of at least 4 images; got batch_size={batch_size}")
    mean, std = measure_brightness(sides["train"])
    sides = {split: take_classes(side, names) for split, side in sides.items()}
    options = {**(options or {}), "classes": 2}
    modules = [initialise(architecture, 2 * seed + k, **options) for k in range(2)]
    x, tested = (normalise(sides[split].inputs, mean, std) for split in ("train", "test"))
    answers = {split: [torch.from_numpy(to_answers(side, yes)) for yes in (one, two)] for split, side in sides.items()}
    read: dict[int, Tensor] = {}  # what the heads read
    heads = [getattr(module, "head") for module in modules]  # noqa: B009  # a module, for the type checker too
    hooks = [
        head.register_forward_pre_hook(lambda _, inputs, k=k: read.__setitem__(k, inputs[0]))
        for k, head in enumerate(heads)
    ]

    def loss(rows: Tensor) -> Tensor | None:
        if len(rows) < 4:  # too few for CKA
            return None
        sides = zip(modules, answers["train"], strict=True)
        one, two = (F.cross_entropy(module(x[rows]), y[rows]) for module, y in sides)
        return one + two - weight * cka(read[0], read[1]) if weight else one + two

    try:
        descend(modules, len(x), loss, Descent(seed, epochs, learning_rate, batch_size), tick)
    finally:
        for hook in hooks:
            hook.remove()
    pair = []
    for part, module, yes, fit, held_out in zip(
        PARTS, modules, (one, two), answers["train"], answers["test"], strict=True
    ):
        card = {
            "architecture": architecture,
            "options": options,
            "part": part,
            "data": data,
            "asked": list(names),
            "yes": list(yes),
            "weight": weight,
            "images": len(x),
            "seed": seed,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "parameters": sum(p.numel() for p in module.parameters()),
            "input_shape": list(sides["train"].inputs.shape[1:]),
            "mean": mean,
            "std": std,
            "classes": ["no", "yes"],
            "train_accuracy": round(accuracy(module, x, fit), 4),
            "test_accuracy": round(accuracy(module, tested, held_out), 4),
        }
        pair.append((module.eval(), card))
        if keep is not None:
            keep(module, card)
    return pair


def take_classes(data: Dataset, names: Sequence[str]) -> Dataset:
    """Take the images of these classes, in their order; the data set is named after the classes."""
    wanted = {data.classes.index(name) for name in names}
    rows = np.flatnonzero(np.isin(np.asarray(data.targets), list(wanted)))
    return data.take(rows, data.name if len(wanted) == len(data.classes) else f"{data.name}/{'-'.join(names)}")


def to_answers(data: Dataset, yes: Sequence[str]) -> Any:
    """Return 1 for the images of these classes and 0 for others, (n,)."""
    return (sum(data.targets == data.classes.index(name) for name in yes) > 0).astype("int64")


def train_or_load(recipes: Mapping[str, Mapping[str, Any]], **options: Any) -> dict[str, tuple[Model, Model]]:
    """Train or load the pairs of {name: options of `train`}. options: those of `training.train_or_load`."""
    pairs = training.train_or_load_groups(recipes, train=train, parts=PARTS, **options)
    return {name: (one, two) for name, (one, two) in pairs.items()}
