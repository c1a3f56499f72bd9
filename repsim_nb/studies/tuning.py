"""Pre-train one classifier, then fine-tune it several times, with a new head and another order of batches each time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from repsim_nb.inputs.datasets import load_dataset
from repsim_nb.inputs.models import Model
from repsim_nb.support.progress import Tick

from . import classifier, training

PARTS = tuple(range(5))  # fine-tunings of one pre-training
_NOT_OF_A_START = ("checkpoints", "keep", "tick", "about")


def train(  # noqa: PLR0913  # these are the options of a recipe
    data: str,
    start: Mapping[str, Any],
    *,
    seed: int = 0,
    rows: tuple[int, int] | None = None,
    epochs: int = 8,
    learning_rate: float = 2e-3,
    batch_size: int = 64,
    keep: Callable[[nn.Module, dict[str, Any]], None] | None = None,
    tick: Tick = lambda done, total: None,
) -> list[tuple[nn.Module, dict[str, Any]]]:
    """Train the model of the recipe `start`, then fine-tune it five times on the training split of `data`.

    Adam, cross-entropy, the learning rate up and down again. All weights are trained further; the head is new.

    Parameters
    ----------
    data : str
        The name of a shipped data set.
    start : mapping
        Options of `classifier.train`, such as {"architecture": "vit", "data": "fashion", "seed": 3}.
    seed : int
        The seed of the first fine-tuning; the others have the next ones. It decides the weights of the head and the
        order of the batches.
    rows : (start, stop), optional
        Rows of the training split; None is all of it.
    epochs, learning_rate, batch_size
        Of each fine-tuning.
    keep : function(module, card), optional
        Called for each fine-tuned model.
    tick : function(done, total)
        Called after every batch; it may raise to stop.

    Returns
    -------
    list of (Module, dict)
        Each module in eval mode, and its card. Cards have "pretraining", the seed of the start, and "start", its
        recipe; "test_accuracy" is that on the test split of `data`.
    """
    if without := [one for one in ("architecture", "data") if one not in start]:
        raise ValueError(
            "start gives the first training as options of classifier.train; it has no"
            f" {' and no '.join(without)}. Add it."
        )
    for option in start:
        if option in _NOT_OF_A_START:
            raise ValueError(f"start gives one model, so it must not have the option '{option}'; leave it out.")
    sides = {split: load_dataset(data, split) for split in ("train", "test")}
    mean, std = classifier.measure_brightness(sides["train"])
    first, last = classifier.check_rows(rows, sides["train"])
    x, y = (part[first:last] for part in classifier.to_tensors(sides["train"], mean, std))
    tested = classifier.to_tensors(sides["test"], mean, std)
    steps = classifier.Descent(seed, epochs, learning_rate, batch_size).steps(len(x))  # of one fine-tuning
    before = 0

    def counted(done: int, total: int) -> None:
        nonlocal before
        before = total
        tick(done, total + len(PARTS) * steps)

    pretrained, known = classifier.train(**start, tick=counted)
    options = {**known.get("options", {}), "classes": len(sides["train"].classes)}
    tuned = []
    for part in PARTS:
        module = copy.deepcopy(pretrained)
        module.head = classifier.initialise(known["architecture"], seed + part, **options).head
        how = classifier.Descent(seed + part, epochs, learning_rate, batch_size)

        def loss(rows: Tensor, module: nn.Module = module) -> Tensor:
            return F.cross_entropy(module(x[rows]), y[rows])

        def count(done: int, total: int, part: int = part) -> None:
            tick(before + part * total + done, before + len(PARTS) * total)

        classifier.descend([module], len(x), loss, how, count)
        card = {
            "architecture": known["architecture"],
            "options": options,
            "part": part,
            "data": data,
            "images": len(y),
            "seed": seed + part,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "pretraining": known["seed"],
            "start": {**start},
            "parameters": known["parameters"],
            "input_shape": list(sides["train"].inputs.shape[1:]),
            "mean": mean,
            "std": std,
            "classes": list(sides["train"].classes),
            "rows": [first, last],
            "train_accuracy": round(classifier.accuracy(module, x, y), 4),
            "test_accuracy": round(classifier.accuracy(module, *tested), 4),
        }
        tuned.append((module.eval(), card))
        if keep is not None:
            keep(module, card)
    return tuned


def train_or_load(recipes: Mapping[str, Mapping[str, Any]], **options: Any) -> dict[str, list[Model]]:
    """Train or load the five models of each of {name: options of `train`}.

    options: of `training.train_or_load`.
    """
    return training.train_or_load_groups(recipes, train=train, parts=PARTS, **options)
