"""Train one small image classifier, reproducibly: the same arguments give the same model on the same machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import build, normalise
from repsim_nb.support.errors import unknown_name
from repsim_nb.support.progress import Tick
from repsim_nb.support.validation import check_integer

LABELS = ("true", "coarse", "shuffled")
SCHEDULES = ("one-cycle", "constant")
CARD = (  # the fields of a card
    *("name", "architecture", "data", "labels", "images", "seed", "epochs", "learning_rate", "batch_size", "schedule"),
    *("parameters", "input_shape", "mean", "std", "classes", "rows", "options", "train_accuracy", "test_accuracy"),
    "epoch",
)


@dataclass(frozen=True)
class Descent:
    """How weights are trained: Adam, in batches whose order depends on the seed.

    schedule: "one-cycle", up to the learning rate and down again; or "constant".
    """

    seed: int
    epochs: int
    learning_rate: float
    batch_size: int
    schedule: str = "one-cycle"

    def steps(self, n: int) -> int:
        """Return the number of batches for n samples."""
        return self.epochs * -(-n // self.batch_size)


def initialise(architecture: str, seed: int, **options: Any) -> nn.Module:
    """Create an untrained model; equal seeds give equal weights, and the global random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(architecture, **options)


def accuracy(module: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Return the fraction of samples whose largest logit is the target's."""
    module.eval()
    with torch.inference_mode():
        predicted = torch.cat([module(part).argmax(1) for part in inputs.split(500)])
    return int((predicted == targets).sum()) / len(targets)


def check_about(about: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return further fields of a card; ValueError if one is among its own fields."""
    if clash := set(CARD) & set(about or {}):
        raise ValueError(
            f"about={dict(about or {})} has fields that the card sets itself: {', '.join(sorted(clash))}."
            " Give them other names."
        )
    return dict(about or {})


def check_checkpoints(checkpoints: Any, epochs: int) -> tuple[int, ...]:
    """Return epochs as integers, from a range or an array too; ValueError names the first that is not one."""
    if isinstance(checkpoints, str) or not isinstance(checkpoints, Iterable):
        raise ValueError(
            f"checkpoints must be a list of epochs, integers from 0 to epochs={epochs}; got {checkpoints!r}"
        )
    hint = f"epochs={epochs} at most"
    return tuple(
        check_integer(epoch, "an epoch of checkpoints", minimum=0, maximum=epochs, hint=hint) for epoch in checkpoints
    )


def train(  # noqa: PLR0913  # these are the options of a recipe
    architecture: str,
    data: str,
    *,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    rows: tuple[int, int] | None = None,
    labels: str = "true",
    epochs: int = 4,
    learning_rate: float = 3e-3,
    schedule: str = "one-cycle",
    batch_size: int = 64,
    checkpoints: Iterable[int] = (),
    about: Mapping[str, Any] | None = None,
    keep: Callable[[nn.Module, dict[str, Any]], None] | None = None,
    tick: Tick = lambda done, total: None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train a model on the training split of a shipped data set, with Adam and cross-entropy.

    Parameters
    ----------
    architecture : str
        The name of an architecture.
    data : str
        The name of a shipped data set.
    options : mapping, optional
        Options of the architecture, such as {"widths": (64, 32)}.
    seed : int
        It decides the weights and the order of the batches.
    rows : (start, stop), optional
        Rows of the training split; None is all of it.
    labels : {"true", "coarse", "shuffled"}
        "coarse" joins two neighbouring classes in one (0 and 1, 2 and 3, ...); "shuffled" permutes the training targets
        once (by the seed), so that they can only be memorised.
    epochs : int
        0 gives the untrained twin of the same seed.
    learning_rate : float
        The (largest) learning rate.
    schedule : {"one-cycle", "constant"}
        "one-cycle" is up to the learning rate and down again.
    batch_size : int
        Images in a batch.
    checkpoints : iterable of int
        Epochs at which keep(module, card) is called, with "epoch" in the card; 0 is before the first step. The
        module is trained further after it.
    about : mapping, optional
        Further fields of the card.
    keep : function(module, card), optional
        Called at checkpoints.
    tick : function(done, total)
        Called after every batch, with the batches done and all; it may raise to stop.

    Returns
    -------
    (Module, dict)
        The module in eval mode, and its card.
    """
    if labels not in LABELS:
        raise unknown_name("labels", labels, LABELS)
    if schedule not in SCHEDULES:
        raise unknown_name("schedule", schedule, SCHEDULES)
    about, checkpoints = check_about(about), check_checkpoints(checkpoints, epochs)
    sides = {split: load_dataset(data, split) for split in ("train", "test")}
    mean, std = measure_brightness(sides["train"])
    start, stop = check_rows(rows, sides["train"])
    x, y = (part[start:stop] for part in to_tensors(sides["train"], mean, std))
    tested = to_tensors(sides["test"], mean, std)
    classes, options = list(sides["train"].classes), dict(options or {})
    if labels == "coarse":
        classes = [" or ".join(classes[first : first + 2]) for first in range(0, len(classes), 2)]
        options, y, tested = {**options, "classes": len(classes)}, y // 2, (tested[0], tested[1] // 2)
    fit = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))] if labels == "shuffled" else y
    module = initialise(architecture, seed, **options)
    card = {
        "architecture": architecture,
        "data": data,
        "labels": labels,
        "images": len(y),
        "seed": seed,
        "epochs": epochs,
        "learning_rate": learning_rate if epochs else None,
        "batch_size": batch_size if epochs else None,
        **({"schedule": schedule} if epochs else {}),
        "parameters": sum(p.numel() for p in module.parameters()),
        "input_shape": list(sides["train"].inputs.shape[1:]),
        "mean": mean,
        "std": std,
        "classes": classes,
        "rows": [start, stop],
        **({"options": options} if options else {}),
    }

    def now() -> dict[str, Any]:
        return {
            **card,
            **about,
            "train_accuracy": round(accuracy(module, x, fit), 4),
            "test_accuracy": round(accuracy(module, *tested), 4),
        }

    def at(epoch: int) -> None:
        if epoch in checkpoints and keep is not None:
            keep(module, {**now(), "epoch": epoch})

    how = Descent(seed, epochs, learning_rate, batch_size, schedule)
    descend([module], len(x), lambda rows: F.cross_entropy(module(x[rows]), fit[rows]), how, tick, at)
    known = now()
    return module.eval(), known


def measure_brightness(dataset: Dataset) -> tuple[float, float]:
    """Compute mean and standard deviation of the pixels of a data set, white being 1.

    They are of the whole split, whichever rows are used, so that all models get equal pictures.
    """
    pixels = dataset.inputs / 255
    return round(float(pixels.mean()), 4), round(float(pixels.std()), 4)


def check_rows(rows: tuple[int, int] | None, dataset: Dataset) -> tuple[int, int]:
    """Return (start, stop) of a data set; None is all of it."""
    start, stop = rows if rows is not None else (0, len(dataset))
    if not 0 <= start < stop <= len(dataset):
        raise ValueError(
            f"rows are (start, stop) of the {len(dataset)} rows of '{dataset.name}', 0 <= start < stop <="
            f" {len(dataset)}; got {tuple(rows or ())}"
        )
    return start, stop


def to_tensors(dataset: Dataset, mean: float, std: float) -> tuple[Tensor, Tensor]:
    """Return pictures as models take them, (n, 1, h, w), and their targets."""
    return normalise(dataset.inputs, mean, std), torch.from_numpy(np.asarray(dataset.targets))


def descend(
    modules: Sequence[nn.Module],
    n: int,
    loss: Callable[[Tensor], Tensor | None],
    how: Descent,
    tick: Tick,
    at: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Train modules together.

    n: the number of samples.  loss: a function of the sample numbers of a batch; None leaves the batch out.  tick:
    called after each batch with the batches done and all.  at: called with 0 before the first epoch, then after
    each epoch.
    """
    order = torch.Generator().manual_seed(how.seed)
    optimizer = torch.optim.Adam([p for module in modules for p in module.parameters()], lr=how.learning_rate)
    total, done, rate = how.steps(n), 0, None
    if how.schedule == "one-cycle" and total:
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.learning_rate, total_steps=total, pct_start=0.2)
    at(0)
    for epoch in range(1, how.epochs + 1):
        for module in modules:
            module.train()
        for rows in torch.randperm(n, generator=order).split(how.batch_size):
            optimizer.zero_grad(set_to_none=True)
            if (value := loss(rows)) is not None:
                value.backward()
                optimizer.step()
                if rate is not None:
                    rate.step()
            done += 1
            tick(done, total)
        at(epoch)
