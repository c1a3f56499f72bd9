"""Build two models with similar features and different outputs: chapter 4 of the thesis (`published`).

Two heads read different units of one frozen model; the second learns flipped labels. All figures are of held-out
images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from repsim_nb import measures
from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import Model, load_model, pretrained
from repsim_nb.inputs.recording import record
from repsim_nb.support.files import cache_folder
from repsim_nb.support.progress import Tick, show_progress, track
from repsim_nb.support.validation import check_integer

from .pairs import take_classes, to_answers

CLASSES = ("cat", "dog")
FRACTIONS = (0.0, 0.25, 0.5, 0.8, 0.9)
_INSIDE = {"CKA": "cka", "debiased CKA": "cka_debiased", "CCA": "mean_squared_cca"}


def load_frozen_model(*, small: bool = False) -> Model:
    """Load the model whose features both heads read.

    It is EfficientNet-lite0, trained on ImageNet, if its package is installed; else, or if small, a CNN of the zoo,
    trained on animals.
    """
    installed = pretrained()["installed"]["efficientnet-lite0"]
    return load_model("pretrained:efficientnet-lite0" if installed and not small else "zoo:animals-cnn-0")


def load_pictures(model: Model, *, data: str = "animals") -> Dataset:
    """Load all cats and dogs of a data set that the model was not trained on, with targets 0 (cat) and 1 (dog).

    These are both splits, or the test split if the model learned from the other.

    data: "animals", or "animals-full" if its carrier is installed; ValueError if the model learned from another choice
    of the same images.
    """
    learned = str(model.card.get("data", ""))
    if learned != data and learned.partition("-")[0] == data.partition("-")[0]:
        raise ValueError(
            f"'{model.name}' was trained on '{learned}', and '{data}' has some of the same images. Use"
            f" data='{learned}', whose test split the model has not seen."
        )
    splits = ("test",) if learned == data else ("train", "test")
    sides = [take_classes(load_dataset(data, split), CLASSES) for split in splits]
    inputs, targets = (
        np.concatenate(parts)
        for parts in ([side.inputs for side in sides], [to_answers(side, CLASSES[1:]) for side in sides])
    )
    return Dataset(f"{data}/{'-'.join(CLASSES)}", inputs, targets, CLASSES)


def record_features(model: Model, data: Dataset, *, progress: bool | Tick = True) -> np.ndarray:
    """Record the penultimate layer, (n, width), float64, into the cache; later calls read it from there."""
    (found,) = record(model, data, -2, into=cache_folder() / "recorded", progress=progress).values()
    return np.asarray(found, dtype=float)


def choose_units(width: int, d: float) -> tuple[np.ndarray, np.ndarray]:
    """Choose the units that each head reads: the first (1 - d) · width, and as many of the last, as two arrays of bool.

    d is the fraction that is masked.
    """
    stay = round((1 - d) * width) if 0 <= d < 1 else 0
    if not stay:
        raise ValueError(
            f"d must be the fraction of the {width} units that is masked, from 0 to {1 - 1 / width:.4g}, so that at"
            f" least one is left; got {d!r}"
        )
    first = np.arange(width) < stay
    return first, first[::-1]


def train_masked_heads(
    x: np.ndarray,
    targets: np.ndarray,
    *,
    d: Iterable[float] = FRACTIONS,
    seeds: Iterable[int] = range(5),
    held_out: float = 0.4,
    epochs: int = 30,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Train two heads on the features of images of two classes, on different units and opposite labels.

    One head reads the first (1 - d) · width units and learns the labels, the other reads the last and learns them
    flipped. A head is one linear map: softmax cross-entropy, Adam with weight decay.

    Parameters
    ----------
    x : array (n, width)
        Features.
    targets : array (n,)
        0 or 1.
    d : iterable of float
        The fractions of the units that are masked.
    seeds : iterable of int
        Each decides which images are held out, and the weights with which the heads begin.
    held_out : float
        The fraction of images that is held out.
    epochs : int
        Longer training makes surer heads, and a larger JSD.

    Returns
    -------
    DataFrame
        A row for each d and seed. CKA, debiased CKA and CCA (mean squared) of the features before the masks, "CKA
        before", where both models have the same matrix, and after them, "CKA after"; JSD in nats and rank coefficient
        of the outputs; "accuracy 1" and "accuracy 2", each on its own labels; "held out", the images of which all these
        are. CCA is undefined if the held-out images are not more than 2 · width + 1; then it is, for every d alike,
        that of the leading principal components, a tenth as many as images: "CCA components" says how many, "CCA
        variance" their fraction of the variance before the masks.

    Raises
    ------
    ValueError
        For a d that leaves no unit, targets that are not two classes, too few images.
    UndefinedError
        Of a measure.
    """
    x, targets = _check_features(x, targets)
    n, width = x.shape
    number = round(held_out * n)
    if not (20 <= number <= n - 20 and 0 < held_out < 1):
        raise ValueError(
            f"held_out must be the fraction of the {n} images that is held out, with at least 20 images on either side;"
            f" got {held_out!r}"
        )
    for what, given in (("d", d), ("seeds", seeds)):
        if not isinstance(given, Iterable):
            raise TypeError(f"{what} must be a list, such as {what}=({given!r},); got {given!r}")
    check_integer(epochs, "epochs", minimum=1)
    cells = [(masked, choose_units(width, masked), seed) for masked in d for seed in seeds]
    if not cells:
        raise ValueError("d and seeds must have at least one value each; one of them is empty")
    rows, before = [], {}
    with show_progress(progress, "training heads", "pair") as tick:
        for masked, units, seed in track(cells, tick):
            order = np.random.default_rng(seed).permutation(n)
            test, train = order[:number], order[number:]
            if seed not in before:  # whatever d
                before[seed] = _compare_before(x[test])
            figures, facts = before[seed]
            rows.append(
                {
                    "d": masked,
                    "seed": seed,
                    **figures,
                    **_two_heads(x, targets, units, test, train, seed, epochs),
                    **facts,
                }
            )
    return pd.DataFrame(rows)


def _check_features(x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, targets = np.asarray(x, dtype=float), np.asarray(targets)
    if x.ndim != 2 or targets.shape != x.shape[:1]:
        raise ValueError(
            f"two heads need features (n, width) and one target for each image; got {x.shape} and {targets.shape}"
        )
    if set(np.unique(targets)) != {0, 1}:
        raise ValueError(
            "targets must be of two classes, 0 and 1, so that they can be flipped; got"
            f" {np.unique(targets).tolist()[:6]}"
        )
    return x, targets.astype(np.int64)


def _two_heads(
    x: np.ndarray,
    targets: np.ndarray,
    units: tuple[np.ndarray, np.ndarray],
    test: np.ndarray,
    train: np.ndarray,
    seed: int,
    epochs: int,
) -> dict[str, float]:
    labels = targets, 1 - targets
    heads = [
        train_head((x * mask)[train], y[train], 2 * seed + k, epochs)
        for k, (mask, y) in enumerate(zip(units, labels, strict=True))
    ]
    outputs = [compute_logits(head, (x * mask)[test]) for head, mask in zip(heads, units, strict=True)]
    sides = [(x * mask)[test] for mask in units]
    accuracies = {
        f"accuracy {k}": float((out.argmax(1) == y[test]).mean())
        for k, (out, y) in enumerate(zip(outputs, labels, strict=True), 1)
    }
    return {
        **_compare_features("after", sides, [_for_cca(side) for side in sides]),
        **compare_outputs(outputs),
        **accuracies,
    }


def _compare_before(x: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Compare both models before the masks; return the similarities of their features, and facts about CCA."""
    components = _for_cca(x)
    fraction = float(np.var(components, axis=0).sum() / np.var(x, axis=0).sum())
    return _compare_features("before", (x, x), (components, components)), {
        "held out": len(x),
        "CCA components": _components(x),
        "CCA variance": fraction,
    }


def _compare_features(when: str, sides: Sequence[np.ndarray], components: Sequence[np.ndarray]) -> dict[str, float]:
    return {
        f"{name} {when}": measures.get(measure)(*(components if name == "CCA" else sides))
        for name, measure in _INSIDE.items()
    }


def _components(x: np.ndarray) -> int:
    """Return how many principal components CCA is computed from: all, if it is defined."""
    n, width = x.shape
    return width if n > 2 * width + 1 else n // 10


def _for_cca(x: np.ndarray) -> np.ndarray:
    return x if _components(x) == x.shape[1] else leading_components(x, _components(x))


def compare_outputs(outputs: Sequence[np.ndarray]) -> dict[str, float]:
    return {"JSD": measures.get("jsd")(*outputs), "rank coefficient": measures.get("output_rank")(*outputs)}


def leading_components(x: np.ndarray, components: int) -> np.ndarray:
    """Compute the samples along the first principal components, or along all if there are fewer.

    They are found from the smaller of the products x xᵀ and xᵀ x.
    """
    x = x - x.mean(axis=0)
    if len(x) <= x.shape[1]:
        values, vectors = np.linalg.eigh(x @ x.T)
        along = vectors * np.sqrt(values.clip(0))
    else:
        values, vectors = np.linalg.eigh(x.T @ x)
        along = x @ vectors
    there = min(components, int((values > values[-1] * max(x.shape) * np.finfo(float).eps).sum()) or 1)
    return along[:, : -there - 1 : -1]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: so small a product ends before a second thread starts, and waiting for it takes longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def train_head(x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> nn.Linear:
    """Train a linear map from features to two logits."""
    inputs, targets, order = torch.from_numpy(x).float(), torch.from_numpy(y), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(x.shape[1], 2)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=order).split(64):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(head(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    return head


def compute_logits(head: nn.Linear, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return head(torch.from_numpy(x).float()).double().numpy()
