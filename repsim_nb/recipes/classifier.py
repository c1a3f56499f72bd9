"""Train one small image classifier, reproducibly: the same arguments give the same network on the same machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..datasets import Dataset, load_dataset
from ..errors import unknown
from ..models import ARCHITECTURES, normalise

LABELS = ("true", "shuffled")


def initialise(architecture: str, seed: int, **options: Any) -> nn.Module:
    """A fresh network; equal seeds give equal weights, and the global random state is left as it was."""
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ARCHITECTURES[architecture](**options)


def accuracy(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """The share of samples whose largest logit is the target's."""
    module.eval()
    with torch.inference_mode():
        right = sum(int((module(x).argmax(1) == t).sum()) for x, t in zip(inputs.split(500), targets.split(500), strict=True))
    return right / len(targets)


def train(
    architecture: str,
    data: str,
    *,
    seed: int = 0,
    epochs: int = 4,
    learning_rate: float = 3e-3,
    batch_size: int = 64,
    labels: str = "true",
) -> tuple[nn.Module, dict[str, Any]]:
    """Train a network on the training split of a shipped data set -> (module in eval mode, its card).

    Adam with a one-cycle schedule, cross-entropy. `epochs=0` gives the untrained twin of the same seed.
    labels: "shuffled" permutes the training targets once (by the seed), so that they can only be memorised.
    """
    if labels not in LABELS:
        raise unknown("labels", labels, LABELS)
    sides = {split: load_dataset(data, split) for split in ("train", "test")}
    pixels = sides["train"].inputs / 255
    mean, std = round(float(pixels.mean()), 4), round(float(pixels.std()), 4)
    x, y = _tensors(sides["train"], mean, std)
    fit = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))] if labels == "shuffled" else y
    module = initialise(architecture, seed)
    if epochs:
        _fit(module, x, fit, seed=seed, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size)
    card = {
        "architecture": architecture, "data": data, "labels": labels, "seed": seed, "epochs": epochs,
        "learning_rate": learning_rate if epochs else None, "batch_size": batch_size if epochs else None,
        "train_accuracy": round(accuracy(module, x, fit), 4), "test_accuracy": round(accuracy(module, *_tensors(sides["test"], mean, std)), 4),
        "parameters": sum(p.numel() for p in module.parameters()), "input_shape": list(sides["train"].inputs.shape[1:]),
        "mean": mean, "std": std, "classes": list(sides["train"].classes),
    }  # fmt: skip
    return module.eval(), card


def _tensors(dataset: Dataset, mean: float, std: float) -> tuple[Tensor, Tensor]:
    return normalise(dataset.inputs, mean, std), torch.from_numpy(np.asarray(dataset.targets))


def _fit(module: nn.Module, x: Tensor, y: Tensor, *, seed: int, epochs: int, learning_rate: float, batch_size: int) -> None:
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    steps = -(-len(x) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * steps, pct_start=0.2)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
