"""Alike inside, unlike outside, made on purpose: chapter 4 of the thesis (`published`), and the same without its trick.

The trick (`masked`): two heads read different units of one frozen network, the second learns flipped labels. Without it
(`PULLED`): two networks of their own learn different answers while CKA pulls their features together. All figures are
of held-out images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from repsim_nb import measures
from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.models import OUTPUT, Model, load_model, pretrained
from repsim_nb.inputs.recording import record
from repsim_nb.support.files import cache_folder
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_integer

from .pairs import of_classes, said

CLASSES = ("cat", "dog")
MASKED = (0.0, 0.25, 0.5, 0.8, 0.9)
_INSIDE = {"CKA": "cka", "debiased CKA": "cka_debiased", "CCA": "mean_squared_cca"}


# -- the trick
# ------------------------------------------------------------------------------------------------------------


def base(*, small: bool = False) -> Model:
    """The network that is frozen: EfficientNet-lite0, trained on ImageNet, where its package is installed; else, or if
    small, a CNN of the zoo, trained on animals.
    """
    installed = pretrained()["installed"]["efficientnet-lite0"]
    return load_model("pretrained:efficientnet-lite0" if installed and not small else "zoo:animals-cnn-0")


def pictures(model: Model, *, data: str = "animals") -> Dataset:
    """All cats and dogs of a data set that the network was not trained on: both splits, or the test split where it
    learned from the other. Targets: 0 a cat, 1 a dog.

    data: "animals", or "animals-full" where its carrier is installed; ValueError where the network learned from another
    choice of the same images.
    """
    learned = str(model.card.get("data", ""))
    if learned != data and learned.partition("-")[0] == data.partition("-")[0]:
        raise ValueError(
            f"'{model.name}' was trained on '{learned}', and '{data}' has images of that, too: take data='{learned}',"
            " whose test split is new to it"
        )
    splits = ("test",) if learned == data else ("train", "test")
    sides = [of_classes(load_dataset(data, split), CLASSES) for split in splits]
    inputs, targets = (
        np.concatenate(parts)
        for parts in ([side.inputs for side in sides], [said(side, CLASSES[1:]) for side in sides])
    )
    return Dataset(f"{data}/{'-'.join(CLASSES)}", inputs, targets, CLASSES)


def features(model: Model, data: Dataset, *, progress: bool | Tick = True) -> np.ndarray:
    """What the penultimate layer says, (n, width), float64; recorded once, then found again in the cache."""
    (found,) = record(model, data, -2, into=cache_folder() / "recorded", progress=progress).values()
    return np.asarray(found, dtype=float)


def masks(width: int, d: float) -> tuple[np.ndarray, np.ndarray]:
    """The units that stay: the first (1 - d) · width, and as many of the last, as two arrays of bool. d is the share
    that is masked.
    """
    stay = round((1 - d) * width) if 0 <= d < 1 else 0
    if not stay:
        raise ValueError(
            f"d is the share of the {width} units that is masked, from 0 to {1 - 1 / width:.4g}, so that one at least"
            f" is left; got {d!r}"
        )
    first = np.arange(width) < stay
    return first, first[::-1]


def masked(
    x: np.ndarray,
    targets: np.ndarray,
    *,
    d: Iterable[float] = MASKED,
    seeds: Iterable[int] = range(5),
    held_out: float = 0.4,
    epochs: int = 30,
    progress: bool | Tick = False,
) -> pd.DataFrame:
    """Two heads on the features x (n, width) of images of two classes: one reads the first (1 - d) · width units and
    learns the labels, one the last and learns them flipped.

    A row a d and seed; the seed decides which images are held out, and the weights with which the heads begin. Columns:
    CKA, debiased CKA and CCA (mean squared) of the features before the masks, "CKA before", where both networks hold
    the same matrix, and after them, "CKA after"; JSD in nats and rank coefficient of the outputs; "accuracy 1" and
    "accuracy 2", each on its own labels; "held out", the images of which all these are. CCA is undefined where the
    held-out images are not more than 2 · width + 1; then it is, for every d alike, that of the leading principal
    components, a tenth as many as images: "CCA components" says how many, "CCA variance" their share of the variance
    before the masks.
    A head is one linear map: softmax cross-entropy, Adam with weight decay, `epochs` rounds; longer training makes
    surer heads, and a larger JSD.
    Errors: ValueError for a d that leaves no unit, targets that are not two classes, too few images; UndefinedError of
    a measure.
    """
    x, targets = _checked(x, targets)
    n, width = x.shape
    number = round(held_out * n)
    if not (20 <= number <= n - 20 and 0 < held_out < 1):
        raise ValueError(
            f"held_out is the share of the {n} images that is held out, such that 20 at least are on either side; got"
            f" {held_out!r}"
        )
    for what, given in (("d", d), ("seeds", seeds)):
        if not isinstance(given, Iterable):
            raise TypeError(f"{what} is a list, {what}=({given!r},); got {given!r}")
    check_integer(epochs, "epochs", minimum=1)
    cells = [(share, masks(width, share), seed) for share in d for seed in seeds]
    if not cells:
        raise ValueError("there is nothing to do: give at least one d and one seed")
    rows, before = [], {}
    with show_progress(progress, "training heads", "pair") as tick:
        for done, (share, kept, seed) in enumerate(cells):
            tick(done, len(cells))
            order = np.random.default_rng(seed).permutation(n)
            test, train = order[:number], order[number:]
            if seed not in before:  # whatever d
                before[seed] = _before(x[test])
            figures, facts = before[seed]
            rows.append(
                {
                    "d": share,
                    "seed": seed,
                    **figures,
                    **_two_heads(x, targets, kept, test, train, seed, epochs),
                    **facts,
                }
            )
        tick(len(cells), len(cells))
    return pd.DataFrame(rows)


def _checked(x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, targets = np.asarray(x, dtype=float), np.asarray(targets)
    if x.ndim != 2 or targets.shape != x.shape[:1]:
        raise ValueError(
            f"two heads need features (n, width) and a target for each image; got {x.shape} and {targets.shape}"
        )
    if set(np.unique(targets)) != {0, 1}:
        raise ValueError(
            f"labels can be flipped where they are of two classes, 0 and 1; these are {np.unique(targets).tolist()[:6]}"
        )
    return x, targets.astype(np.int64)


def _two_heads(
    x: np.ndarray,
    targets: np.ndarray,
    kept: tuple[np.ndarray, np.ndarray],
    test: np.ndarray,
    train: np.ndarray,
    seed: int,
    epochs: int,
) -> dict[str, float]:
    labels = targets, 1 - targets
    heads = [
        _head((x * mask)[train], y[train], 2 * seed + k, epochs)
        for k, (mask, y) in enumerate(zip(kept, labels, strict=True))
    ]
    outputs = [_logits(head, (x * mask)[test]) for head, mask in zip(heads, kept, strict=True)]
    sides = [(x * mask)[test] for mask in kept]
    accuracies = {
        f"accuracy {k}": float((out.argmax(1) == y[test]).mean())
        for k, (out, y) in enumerate(zip(outputs, labels, strict=True), 1)
    }
    return {**_inside("after", sides, [_for_cca(side) for side in sides]), **_outside(outputs), **accuracies}


def _before(x: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Both networks hold these features of the held-out images -> (how alike they are, what CCA is made of)."""
    led = _for_cca(x)
    share = float(np.var(led, axis=0).sum() / np.var(x, axis=0).sum())
    return _inside("before", (x, x), (led, led)), {
        "held out": len(x),
        "CCA components": _components(x),
        "CCA variance": share,
    }


def _inside(when: str, sides: Sequence[np.ndarray], led: Sequence[np.ndarray]) -> dict[str, float]:
    return {
        f"{name} {when}": measures.get(measure)(*(led if name == "CCA" else sides)) for name, measure in _INSIDE.items()
    }


def _components(x: np.ndarray) -> int:
    """How many of them CCA is made of: all, where it is defined."""
    n, width = x.shape
    return width if n > 2 * width + 1 else n // 10


def _for_cca(x: np.ndarray) -> np.ndarray:
    return x if _components(x) == x.shape[1] else _leading(x, _components(x))


def _outside(outputs: Sequence[np.ndarray]) -> dict[str, float]:
    return {"JSD": measures.get("jsd")(*outputs), "rank coefficient": measures.get("output_rank")(*outputs)}


def _leading(x: np.ndarray, components: int) -> np.ndarray:
    """The samples along the first principal components, those that there are; found from the smaller of their products,
    x xᵀ or xᵀ x.
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
    """So small a product is done before a second thread wakes up; on a busy machine waiting for it took ten times as
    long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_one_thread()
def _head(x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> nn.Linear:
    """A linear map from features to two logits, trained."""
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


def _logits(head: nn.Linear, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return head(torch.from_numpy(x).float()).double().numpy()


# -- without it
# -----------------------------------------------------------------------------------------------------------

WEIGHTS = (0.0, 0.1, 1.0, 10.0)
_ANIMALS: dict[str, Any] = {"data": "animals", "classes": CLASSES, "one": ("dog",), "epochs": 10}
_CASES: dict[str, dict[str, Any]] = {
    "same": {**_ANIMALS, "two": ("dog",)},
    "opposite": {**_ANIMALS, "two": ("cat",)},
    "unrelated": {
        "data": "mnist",
        "classes": tuple("01234567"),
        "one": tuple("1357"),
        "two": tuple("4567"),
        "epochs": 3,
    },
}

PULLED: dict[str, dict[str, Any]] = {
    f"{case}-{weight:g}-{seed}": {**recipe, "weight": weight, "seed": seed, "about": {"case": case}}
    for case, recipe in _CASES.items()
    for weight in (WEIGHTS if case != "same" else WEIGHTS[:1])
    for seed in range(5)
}
"""45 pairs of CNNs for `pairs.trained`, five seeds each, by the weight with which CKA pulls their features together.

Both say yes or no to the same images:

"same": both learn dogs, not cats, unpulled;  "opposite": the second learns cats, not dogs;  "unrelated": of the digits
0 to 7 the first learns the odd ones, the second those from 4, so that who knows one answer knows nothing of the other.
"""


def few(recipes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of PULLED one seed, unpulled and pulled by 1, narrower, trained for a round or two: seconds, for a look and for
    tests.
    """
    chosen = {name: recipe for name, recipe in recipes.items() if recipe["weight"] in (0, 1) and recipe["seed"] == 0}
    return {
        name: {**recipe, "epochs": 2 if recipe["data"] == "animals" else 1, "options": {"widths": [8, 16, 24]}}
        for name, recipe in chosen.items()
    }


def pulled(pairs: Mapping[str, tuple[Model, Model]], *, progress: bool | Tick = False) -> pd.DataFrame:
    """What is seen of pairs that `pairs.trained` gave, on the test images of their classes.

    A row a pair: case, weight, seed; of the penultimate features CKA, debiased CKA and mean CCA; of the outputs JSD in
    nats and rank coefficient; "accuracy 1" and "accuracy 2", each on its own answers. Then what the features hold, mean
    of both networks: "largest direction", the share of their variance along the first principal component; "as in
    pixels", how images' places along it correlate with those along the first principal component of the images
    themselves (absolute); "own answer" and "other's answer", the share that lies between the images to which one's own
    (the other's) right answer is yes and those to which it is no; "other's, read out", how often a linear head on one
    network's features, trained on half of these images, finds the other's right answer on the other half.
    """
    rows = []
    with show_progress(progress, "comparing pairs", "pair") as tick:
        for done, (name, pair) in enumerate(pairs.items()):
            tick(done, len(pairs))
            rows.append({"pair": name, **_seen(pair)})
        tick(len(pairs), len(pairs))
    return pd.DataFrame(rows)


def _seen(pair: tuple[Model, Model]) -> dict[str, Any]:
    card = pair[0].card
    images = shown(pair)
    x = record(list(pair), images, [-2, OUTPUT], progress=False)
    inside, outputs = (list(x.where(layer=layer).values()) for layer in (-2, OUTPUT))
    answers = [said(images, model.card["yes"]) for model in pair]
    accuracies = {
        f"accuracy {k}": float((out.argmax(1) == y).mean())
        for k, (out, y) in enumerate(zip(outputs, answers, strict=True), 1)
    }
    known = {"case": card.get("case", ""), "weight": card["weight"], "seed": card["seed"]}
    likeness = {"CKA": "cka", "debiased CKA": "cka_debiased", "mean CCA": "mean_cca"}
    pixels = np.asarray(images.inputs, dtype=float).reshape(len(images), -1)
    holds = pd.DataFrame(
        [
            _holds(side, pixels, own, other, card["seed"])
            for side, own, other in zip(inside, answers, answers[::-1], strict=True)
        ]
    )
    return {
        **known,
        **{name: measures.get(measure)(*inside) for name, measure in likeness.items()},
        **_outside(outputs),
        **accuracies,
        **holds.mean().to_dict(),
    }


def _holds(x: np.ndarray, pixels: np.ndarray, own: np.ndarray, other: np.ndarray, seed: int) -> dict[str, float]:
    """What one network's features hold."""
    centred = x - x.mean(axis=0, dtype=float)
    total = (centred**2).sum()

    def between(answer: np.ndarray) -> float:
        return (
            sum((answer == said).sum() * (centred[answer == said].mean(axis=0) ** 2).sum() for said in (0, 1)) / total
        )

    first, theirs = (_leading(side, 1)[:, 0] for side in (x.astype(float), pixels))
    as_in_pixels = abs(float(np.corrcoef(first, theirs)[0, 1]))
    return {
        "largest direction": (first**2).sum() / total,
        "as in pixels": as_in_pixels,
        "own answer": between(own),
        "other's answer": between(other),
        "other's, read out": _held_out_accuracy(x, other, seed),
    }


def shown(pair: tuple[Model, Model]) -> Dataset:
    """The test images of the classes that a pair was asked about."""
    card = pair[0].card
    return of_classes(load_dataset(card["data"], "test"), card["asked"])


def _held_out_accuracy(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(x))
    train, test = order[: len(x) // 2], order[len(x) // 2 :]
    x = (x - x[train].mean(axis=0)) / x[train].std()
    return float((_logits(_head(x[train], y[train], seed, epochs=100), x[test]).argmax(1) == y[test]).mean())


# -- many rows in few
# -----------------------------------------------------------------------------------------------------


def mean_sd(frame: pd.DataFrame, by: str | Sequence[str], columns: Sequence[str], *, places: int = 2) -> pd.DataFrame:
    """Mean ± standard deviation over the rows of each group, as text: a row a group, a column a figure."""
    groups = frame.groupby(by if isinstance(by, str) else list(by), sort=False)[list(columns)]
    return groups.agg(
        lambda values: (
            f"{values.mean():.{places}f} ± {values.std():.{places}f}"
            if len(values) > 1
            else f"{values.mean():.{places}f}"
        )
    )


def bands(frame: pd.DataFrame, by: str, columns: Sequence[str]) -> dict[str, pd.DataFrame]:
    """{figure: frame of mean, low and high (a standard deviation to either side; none where a group has one row) over
    the groups}, as `plots.band` takes them.
    """
    found = {}
    for name in columns:
        groups = frame.groupby(by, sort=False)[name]
        mean, sd = groups.mean(), groups.std()
        found[name] = pd.DataFrame({"mean": mean, "low": mean - sd, "high": mean + sd})
    return found
