"""Train a student whose layers have the CKA map that one asks for, and whose answers are those of its teacher.

The manipulation of Davari and others 2023, "Reliability of CKA as a similarity measure in deep learning".
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim_nb.inputs.datasets import load_dataset
from repsim_nb.inputs.models import Model
from repsim_nb.support.errors import unknown_name
from repsim_nb.support.progress import Tick
from repsim_nb.support.validation import check_integer, check_positive

from . import classifier, pairs, training
from .classifier import Descent

CODE = (pairs,)  # further code that decides the weights
KERNELS = ("linear", "rbf")
PATTERNS = ("ends", "ones", "zeros")
ALLOWED = 0.01  # the accuracy that a student may lose before the weight of its map falls


def make_target(target: str | Sequence[Sequence[float | None]], layers: int) -> np.ndarray:
    """Return a target as an array (layers, layers).

    Parameters
    ----------
    target : {"ends", "ones", "zeros"} or nested lists
        "ends": the first and the last layer are alike, all other cells are free; "ones": all layers are alike; "zeros":
        no two layers are alike. In nested lists, as in recipes, None is a free cell.
    layers : int
        The number of layers of the map.

    Examples
    --------
    >>> make_target("ends", 3).tolist()
    [[1.0, nan, 1.0], [nan, 1.0, nan], [1.0, nan, 1.0]]
    """
    if isinstance(target, str):
        if target not in PATTERNS:
            raise unknown_name("target", target, PATTERNS)
        pattern = np.full((layers, layers), {"ends": np.nan, "ones": 1.0, "zeros": 0.0}[target])
        pattern[0, -1] = pattern[-1, 0] = float(target != "zeros")
        np.fill_diagonal(pattern, 1)
        return pattern
    found = np.array([[np.nan if cell is None else cell for cell in row] for row in target], dtype=float)
    if found.shape != (layers, layers):
        raise ValueError(f"target must have a cell for each pair of the {layers} layers; got shape {found.shape}.")
    if not np.array_equal(found, found.T, equal_nan=True) or not (np.diag(found) == 1).all():
        raise ValueError("target must be symmetric, with 1 on the diagonal: a layer is like itself.")
    if (abs(found[np.isfinite(found)]) > 1).any() or not np.isfinite(found[~np.eye(layers, dtype=bool)]).any():
        raise ValueError("target must have similarities between -1 and 1, and at least one off the diagonal.")
    return found


def to_recipe(target: np.ndarray) -> list[list[float | None]]:
    """Return a target as nested lists, for a recipe: NaN becomes None.

    Examples
    --------
    >>> to_recipe(make_target("ends", 3))[0]
    [1.0, None, 1.0]
    """
    return [[None if np.isnan(cell) else float(cell) for cell in row] for row in np.asarray(target)]


def cka_map(layers: Sequence[Tensor], kernel: str = "linear") -> Tensor:
    """Compute debiased CKA of all pairs of layers on one batch, as a tensor (layers, layers) that has a gradient.

    layers: tensors (n, ...), with n of at least 4.  kernel: "linear" or "rbf", with the median of squared distances as
    in `measures.CKA`; of an even number of distances it is the lower of the two in the middle.
    """
    similarities = torch.stack([_similarities(layer.flatten(1), kernel) for layer in layers])
    flat = pairs.centre_gram(similarities).flatten(1)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return flat @ flat.T


def _similarities(x: Tensor, kernel: str) -> Tensor:
    x = x - x.mean(0)
    products = x @ x.T
    if kernel == "linear":
        return products
    sizes = products.diagonal()
    squared = (sizes[:, None] + sizes[None, :] - 2 * products).clamp_min(0)
    return torch.exp(-squared / (2 * squared.flatten().median().clamp_min(1e-12)))


def map_loss(found: Tensor, target: Tensor) -> Tensor:
    """Compute the mean of log cosh(map - target) over the cells off the diagonal that are not NaN in the target."""
    counted = target.isfinite() & ~torch.eye(len(target), dtype=torch.bool)
    gaps = (found - target)[counted].abs()
    return (gaps + F.softplus(-2 * gaps) - math.log(2)).mean()


def answer_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Compute KL(softmax(teacher / T) || softmax(student / T)), the mean over samples, without a factor T²."""
    sides = [F.log_softmax(logits / temperature, dim=1) for logits in (student, teacher)]
    return F.kl_div(sides[0], sides[1], log_target=True, reduction="batchmean")


def next_weight(weight: float, accuracy: float, teacher: float) -> float:
    """Return the next weight of the map: 0.8 · weight if the student lost more than a point, else weight / 0.8."""
    return weight * 0.8 if accuracy < teacher - ALLOWED - 1e-9 else weight / 0.8


@dataclass
class _Student:
    """A model that is trained, the outputs of its layers, and its losses."""

    module: nn.Module
    teacher: nn.Module
    target: Tensor
    kernel: str
    temperature: float
    weight: float
    outputs: dict[int, Tensor] = field(default_factory=dict)
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # answers, map, batches

    def loss(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.teacher(x)
        answers = answer_loss(self.module(x), wanted, self.temperature)
        alike = map_loss(cka_map([self.outputs[k] for k in sorted(self.outputs)], self.kernel), self.target)
        self.sums = [a + b for a, b in zip(self.sums, (answers.item(), alike.item(), 1.0), strict=True)]
        return answers + self.weight * alike

    def means(self) -> tuple[float, float]:
        """Return the mean losses since the last call."""
        answers, alike, batches = self.sums
        self.sums = [0.0, 0.0, 0.0]
        return answers / max(batches, 1), alike / max(batches, 1)


def recorded_layers(module: nn.Module) -> list[str]:
    """Return the names of the layers of a map: those that are recorded, and the head."""
    return [*getattr(module, "layers"), "head"]  # noqa: B009  # a tuple of names, for the type checker too


def train(  # noqa: PLR0913  # these are the options of a recipe
    data: str,
    target: str | Sequence[Sequence[float | None]],
    *,
    kernel: str = "linear",
    architecture: str = "mlp",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    rows: tuple[int, int] | None = None,
    teacher_epochs: int = 12,
    teacher_rate: float = 1e-3,
    epochs: int = 60,
    learning_rate: float = 1e-3,
    batch_size: int = 100,
    weight: float = 500.0,
    validate_every: int = 1,
    temperature: float = 0.1,
    shift: int = 0,
    held_out: int = 500,
    checkpoints: Iterable[int] = (),
    keep: Callable[[nn.Module, dict[str, Any]], None] | None = None,
    tick: Tick = lambda done, total: None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train a teacher on a shipped data set, then a student that starts as its copy.

    The loss of the student is KL(softmax(teacher / T) || softmax(student / T)) + weight · mean log cosh(map - target).
    The map is debiased CKA of all pairs of its layers, batch by batch. After every `validate_every` epochs the weight
    becomes 0.8 · weight if the accuracy on the held-out images is more than a point below the teacher's, and weight /
    0.8 otherwise. AdamW. As in the paper, but for the learning rate, which goes up and down again, and the cells: those
    without a target are free.

    Parameters
    ----------
    data : str
        The name of a shipped data set.
    target : {"ends", "ones", "zeros"} or nested lists
        See `make_target`.
    kernel : {"linear", "rbf"}
        The kernel of CKA in the loss.
    architecture : str
        The name of an architecture. Fully connected layers of "mlp" start with the variance 2 / inputs of He and
        others: with that of torch, a plain model of 17 layers does not learn.
    options : mapping, optional
        Options of the architecture.
    seed : int
        It decides the weights, the order of the batches and the shifts.
    rows : (start, stop), optional
        Rows of the training split; None is all of it.
    teacher_epochs, teacher_rate
        How the teacher is trained: Adam, cross-entropy, the learning rate up and down again.
    epochs, learning_rate, batch_size
        How the student is trained; a batch has at least 4 images.
    weight : float
        The first weight of the map.
    validate_every : int
        Epochs between two validations.
    temperature : float
        T.
    shift : int
        Both are trained on images that are shifted by up to so many pixels in both directions, a batch at a time.
    held_out : int
        How many images at the end of these rows are for validation only.
    checkpoints : iterable of int
        Epochs of the student at which keep(module, card) is called; 0 is the teacher.
    keep : function(module, card), optional
        Called at checkpoints.
    tick : function(done, total)
        Called after every batch; it may raise to stop.

    Returns
    -------
    (Module, dict)
        The student in eval mode, and its card. "curves" has a row for each epoch so far: the means of both losses, the
        accuracy on held-out images, and the weight; "teacher_accuracy" and "test_accuracy" are of the test split.
    """
    if kernel not in KERNELS:
        raise unknown_name("kernel", kernel, KERNELS)
    for name, value in (("weight", weight), ("temperature", temperature)):
        check_positive(value, name)
    check_integer(batch_size, "batch_size", minimum=4, hint="CKA compares the images of a batch")
    check_integer(validate_every, "validate_every", minimum=1)
    check_integer(shift, "shift", minimum=0, maximum=27)
    sides = {split: load_dataset(data, split) for split in ("train", "test")}
    start, stop = classifier.check_rows(rows, sides["train"])
    check_integer(held_out, "held_out", minimum=1, maximum=stop - start - batch_size, hint="a batch of images is left")
    checkpoints = classifier.check_checkpoints(checkpoints, epochs)
    mean, std = classifier.measure_brightness(sides["train"])
    x, y = (side[start:stop] for side in classifier.to_tensors(sides["train"], mean, std))
    tested = classifier.to_tensors(sides["test"], mean, std)
    (x, valid), (y, right) = ((side[:-held_out], side[-held_out:]) for side in (x, y))
    options = dict(options or {})
    module = _initialise(architecture, seed, options)
    wanted = make_target(target, len(recorded_layers(module)))
    first = Descent(seed, teacher_epochs, teacher_rate, batch_size)
    then = Descent(seed, epochs, learning_rate, batch_size)
    total = first.steps(len(x)) + then.steps(len(x))
    moved = _Shifts(shift, seed)
    classifier.descend(
        [module],
        len(x),
        lambda rows: F.cross_entropy(module(moved(x[rows])), y[rows]),
        first,
        lambda n, _: tick(n, total),
    )
    teacher = copy.deepcopy(module).eval()
    best = classifier.accuracy(teacher, valid, right)
    student = _Student(module, teacher, torch.tensor(wanted, dtype=torch.float32), kernel, temperature, weight)
    card = {
        "architecture": architecture,
        "data": data,
        "options": options,
        "target": target if isinstance(target, str) else to_recipe(wanted),
        "kernel": kernel,
        "images": len(x),
        "seed": seed,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "parameters": sum(p.numel() for p in module.parameters()),
        "input_shape": list(sides["train"].inputs.shape[1:]),
        "mean": mean,
        "std": std,
        "classes": list(sides["train"].classes),
        "rows": [start, stop],
        "teacher_accuracy": round(classifier.accuracy(teacher, *tested), 4),
    }
    curves: list[dict[str, float]] = []

    def known() -> dict[str, Any]:
        return {**card, "test_accuracy": round(classifier.accuracy(module, *tested), 4), "curves": list(curves)}

    def at(epoch: int) -> None:
        answers, alike = student.means()
        accuracy = classifier.accuracy(module, valid, right)
        curves.append({"answers": answers, "map": alike, "accuracy": accuracy, "weight": student.weight})
        if epoch and epoch % validate_every == 0:
            student.weight = next_weight(student.weight, accuracy, best)
        if epoch in checkpoints and keep is not None:
            keep(module, {**known(), "epoch": epoch})

    hooks = _watch(module, student.outputs)
    try:
        before = first.steps(len(x))
        _descend(student, lambda rows: moved(x[rows]), len(x), then, lambda n: tick(before + n, total), at)
    finally:
        for hook in hooks:
            hook.remove()
    return module.eval(), known()


def _initialise(architecture: str, seed: int, options: Mapping[str, Any]) -> nn.Module:
    """Create an untrained model, with the initial weights of He and others in fully connected layers of an MLP."""
    module = classifier.initialise(architecture, seed, **options)
    if architecture == "mlp":
        with torch.no_grad():
            for name, part in module.named_modules():
                if isinstance(part, nn.Linear) and name != "head":
                    part.weight.mul_(6**0.5)  # torch draws them with the variance 1 / (3 · inputs)
                    part.bias.zero_()
    return module


class _Shifts:
    """Shift batches of images by a random number of pixels; what leaves on one side comes back on the other."""

    def __init__(self, most: int, seed: int) -> None:
        self.most, self.random = most, np.random.default_rng(seed)

    def __call__(self, x: Tensor) -> Tensor:
        if not self.most:
            return x
        return torch.roll(x, self.random.integers(-self.most, self.most, 2, endpoint=True).tolist(), (2, 3))


def _watch(module: nn.Module, outputs: dict[int, Tensor]) -> list[Any]:
    """Put the outputs of the layers into a dict whenever the module runs."""
    parts = dict(module.named_modules())
    return [
        parts[name].register_forward_hook(lambda _, __, output, k=k: outputs.__setitem__(k, output))
        for k, name in enumerate(recorded_layers(module))
    ]


def _descend(
    student: _Student,
    batch: Callable[[Tensor], Tensor],
    n: int,
    how: Descent,
    tick: Callable[[int], None],
    at: Callable[[int], None],
) -> None:
    """Train the student: AdamW, the learning rate up and down again; batches of fewer than 4 images are left out."""
    order = torch.Generator().manual_seed(how.seed)
    optimizer = torch.optim.AdamW(student.module.parameters(), lr=how.learning_rate)
    total, done = max(how.steps(n), 1), 0
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.learning_rate, total_steps=total, pct_start=0.2)
    at(0)
    for epoch in range(1, how.epochs + 1):
        student.module.train()
        for rows in torch.randperm(n, generator=order).split(how.batch_size):
            if len(rows) >= 4:
                optimizer.zero_grad(set_to_none=True)
                student.loss(batch(rows)).backward()
                optimizer.step()
                rate.step()
            done += 1
            tick(done)
        at(epoch)


def train_or_load(recipes: Mapping[str, Mapping[str, Any]], **options: Any) -> dict[str, dict[int, Model]]:
    """Train or load the students of {name: options of `train`}: {name: {epoch: Model}}, with the teacher as epoch 0.

    options: of `training.train_or_load`. Recipes need `checkpoints`.
    """
    if without := [name for name, recipe in recipes.items() if not recipe.get("checkpoints")]:
        raise ValueError(f"the recipe of '{without[0]}' has no checkpoints. Add the epochs to look at, from 0.")
    models: dict[str, dict[int, Model]] = {name: {} for name in recipes}
    for model in training.train_or_load(recipes, train=train, **options):
        models[model.name][model.card["epoch"]] = model
    return models
