"""Two networks trained at once on the same images, each to its own answers, their penultimate features pulled
together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import Model, normalise
from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.progress import Tick

from . import training
from .classifier import accuracy, brightness, initialise

PARTS = ("one", "two")


def cka(x: Tensor, y: Tensor) -> Tensor:
    """Debiased linear CKA of two batches of features (n, p), (n, q), n of at least 4, as a tensor that has a gradient:
    `measures.get("cka_debiased")` as a loss.
    """
    a, b = _centred_gram(x), _centred_gram(y)
    return (a * b).sum() / (a.norm() * b.norm()).clamp_min(
        1e-12
    )  # features that are all alike have no direction to be pulled in


def _centred_gram(x: Tensor) -> Tensor:
    """Inner products of samples, centred so that their products are the unbiased HSIC [Székely, Rizzo 2014; Song et al.
    2012].
    """
    x = x - x.mean(0)
    n, apart = len(x), ~torch.eye(len(x), dtype=torch.bool)
    gram = (x @ x.T) * apart
    rows = gram.sum(1)
    return (gram - (rows[:, None] + rows[None, :]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))) * apart


def train(
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
    """Train two networks that say yes or no to the same images of a shipped data set -> [(module in eval mode, its
    card)] of both; keep is told of each.

    The loss is the cross-entropies of both - weight · debiased CKA of their features (what their heads read), batch by
    batch; Adam, the learning rate up and down again.
    one, two: the classes to which each says yes.  classes: of whose images (None: all).
    The networks start from different weights: those that 2 · seed and 2 · seed + 1 give.
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
    if not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
        raise ValueError(f"weight says how hard features are pulled together, a number from 0; got {weight!r}")
    if batch_size < 4:
        raise ValueError(f"CKA needs batches of at least 4 images; got batch_size={batch_size}")
    mean, std = brightness(sides["train"])
    sides = {split: of_classes(side, names) for split, side in sides.items()}
    options = {**(options or {}), "classes": 2}
    modules = [initialise(architecture, 2 * seed + k, **options) for k in range(2)]
    x, tested = (normalise(sides[split].inputs, mean, std) for split in ("train", "test"))
    answers = {split: [torch.from_numpy(said(side, yes)) for yes in (one, two)] for split, side in sides.items()}
    _fit(
        modules,
        x,
        answers["train"],
        weight=weight,
        seed=seed,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        tick=tick,
    )
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


def of_classes(data: Dataset, names: Sequence[str]) -> Dataset:
    """The images of these classes, in their order; named after them."""
    wanted = {data.classes.index(name) for name in names}
    rows = [row for row, target in enumerate(data.targets) if int(target) in wanted]
    return data.take(rows, data.name if len(wanted) == len(data.classes) else f"{data.name}/{'-'.join(names)}")


def said(data: Dataset, yes: Sequence[str]) -> Any:
    """1 for the images of these classes, 0 for others, (n,)."""
    return (sum(data.targets == data.classes.index(name) for name in yes) > 0).astype("int64")


def trained(recipes: Mapping[str, Mapping[str, Any]], **options: Any) -> dict[str, tuple[Model, Model]]:
    """The pairs of {name: options of `train`}, found again or trained now, as `training.trained` does, whose options
    these are.
    """
    return {
        name: (one, two)
        for name, (one, two) in training.trained_together(recipes, train=train, parts=PARTS, **options).items()
    }


def _fit(
    modules: list[nn.Module],
    x: Tensor,
    answers: list[Tensor],
    *,
    weight: float,
    seed: int,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    tick: Tick,
) -> None:
    """Every batch is seen by both; a last one too small for CKA is left out."""
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([p for module in modules for p in module.parameters()], lr=learning_rate)
    steps, done = -(-len(x) // batch_size), 0
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=max(1, epochs * steps), pct_start=0.2
    )
    read: dict[int, Tensor] = {}
    hooks = [
        module.head.register_forward_pre_hook(lambda _, inputs, k=k: read.__setitem__(k, inputs[0]))
        for k, module in enumerate(modules)
    ]
    try:
        for module in modules:
            module.train()
        for _ in range(epochs):
            for rows in torch.randperm(len(x), generator=order).split(batch_size):
                if len(rows) >= 4:
                    optimizer.zero_grad(set_to_none=True)
                    loss = sum(
                        F.cross_entropy(module(x[rows]), y[rows]) for module, y in zip(modules, answers, strict=True)
                    )
                    (loss - weight * cka(read[0], read[1]) if weight else loss).backward()
                    optimizer.step()
                    rate.step()
                done += 1
                tick(done, epochs * steps)
    finally:
        for hook in hooks:
            hook.remove()
