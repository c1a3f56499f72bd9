"""Session 1: representations and how to record them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from repsim_nb.course.exercises import Mistake, Session

session = Session("representations", "Representations and how to record them")

Recording = Callable[[np.ndarray], np.ndarray]


def feature_maps(rng: np.random.Generator) -> tuple[np.ndarray]:
    n, c, h, w = rng.permutation([3, 4, 5, 6])
    return (rng.normal(size=(n, c, h, w)),)


@session.exercise(minutes=4, inputs=feature_maps)
def flatten(maps: np.ndarray) -> np.ndarray:
    """Turn feature maps into one row for each sample."""
    return maps.reshape(len(maps), -1)


flatten.mistakes += [
    Mistake("rows and columns exchanged",
        "Your columns are the samples. Each sample should be one row.",
        lambda maps: maps.reshape(len(maps), -1).T),
    Mistake("positions as samples",
        "You have a row for each position of each image. That is another question; here, one image is one row.",
        lambda maps: np.moveaxis(maps, 1, -1).reshape(-1, maps.shape[1])),
    Mistake("samples mixed",
        "Your columns mix values of several samples. Which axis must stay as it is when you reshape?",
        lambda maps: maps.reshape(-1, len(maps))),
    Mistake("channels last",
        "All values are there, but not in the order asked for: the positions of one channel should stand together.",
        lambda maps: np.moveaxis(maps, 1, -1).reshape(len(maps), -1)),
    Mistake("averaged over positions",
        "You average over the positions. Flattening keeps every value.",
        lambda maps: maps.mean((2, 3))),
    Mistake("one long row",
        "All samples are in one row. Each sample should be a row of its own.",
        lambda maps: maps.ravel()),
    Mistake("channels kept apart",
        "You flatten the positions and keep an axis of channels. A row has all values of a sample.",
        lambda maps: maps.reshape(*maps.shape[:2], -1)),
]  # fmt: skip


@session.exercise(minutes=4, inputs=feature_maps)
def pool_positions(maps: np.ndarray) -> np.ndarray:
    """Average each channel over the positions."""
    return maps.mean((2, 3))


pool_positions.mistakes += [
    Mistake("averaged over channels",
        "You average over the channels and keep the positions. The task is the other way round.",
        lambda maps: maps.mean(1).reshape(len(maps), -1)),
    Mistake("maximum in place of mean",
        "You take the largest value of each channel. Take the mean.",
        lambda maps: maps.max((2, 3))),
    Mistake("sum in place of mean",
        "Your values grow with the size of the image. Which step is missing?",
        lambda maps: maps.sum((2, 3))),
    Mistake("one number a sample",
        "Only one number is left of each image. Each channel should keep its own.",
        lambda maps: maps.mean((1, 2, 3))),
    Mistake("averaged over samples",
        "You average over the images. Each image should keep a row of its own.",
        lambda maps: maps.mean(0).reshape(maps.shape[1], -1)),
]  # fmt: skip


def padded_texts(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw tokens (n, t, p) and a mask (n, t): each text has at least two tokens and some padding."""
    n, t, p = rng.permutation([5, 6, 7])
    lengths = rng.integers(2, t, size=n)
    return rng.normal(size=(n, t, p)) + 1, np.arange(t) < lengths[:, None]


@session.exercise(minutes=6, inputs=padded_texts)
def pool_tokens(tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Average the tokens of each text, without padding."""
    return _masked_sum(tokens, mask) / mask.sum(1, keepdims=True)


def _masked_sum(tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    total: np.ndarray = (tokens * mask[:, :, None]).sum(1)
    return total


pool_tokens.mistakes += [
    Mistake("padding counted",
        "You average over all positions. Padding is no text: a longer batch must not change a row.",
        lambda tokens, mask: tokens.mean(1)),
    Mistake("divided by all positions",
        "Your sums leave out the padding, but you divide by the number of all positions.",
        lambda tokens, mask: _masked_sum(tokens, mask) / mask.shape[1]),
    Mistake("mask the wrong way round",
        "You average the padding. The mask is True for real tokens.",
        lambda tokens, mask: _masked_sum(tokens, ~mask) / (~mask).sum(1, keepdims=True)),
    Mistake("first token only",
        "You keep the first token of each text. All its tokens should count.",
        lambda tokens, mask: tokens[:, 0]),
    Mistake("not divided",
        "You add the tokens up. A long text then has larger features than a short one.",
        lambda tokens, mask: _masked_sum(tokens, mask)),
]  # fmt: skip


def a_recording_that_mixes(rng: np.random.Generator) -> tuple[Recording, np.ndarray]:
    """Draw a recording whose rows depend on the batch, the first row least, and samples."""
    n, p, q = rng.permutation([5, 6, 7])
    weights = rng.normal(size=(p, q))
    x = rng.normal(size=(n, p))
    x[:, 0] = np.r_[0.1, rng.uniform(1, 2, size=n - 1)]

    def record(samples: np.ndarray) -> np.ndarray:
        values = samples @ weights
        return np.asarray(values - values.std(0) * samples[:, :1])

    return record, x


@session.exercise(minutes=5, inputs=a_recording_that_mixes, trials=8)
def batch_effect(record: Recording, x: np.ndarray) -> float:
    """Largest difference between rows recorded together and rows recorded alone."""
    return float(np.abs(record(x) - _alone(record, x)).max())


def _alone(record: Recording, x: np.ndarray) -> np.ndarray:
    return np.concatenate([record(x[i : i + 1]) for i in range(len(x))])


batch_effect.mistakes += [
    Mistake("mean in place of the largest",
        "You average the differences. One bad row would hide among good ones.",
        lambda record, x: float(np.abs(record(x) - _alone(record, x)).mean())),
    Mistake("first sample only",
        "You look at the first sample only. Any sample may depend on its batch.",
        lambda record, x: float(np.abs(record(x)[0] - record(x[:1])[0]).max())),
    Mistake("a decrease is not seen",
        "You take the largest difference with its sign. A difference below 0 counts as well.",
        lambda record, x: float((record(x) - _alone(record, x)).max())),
    Mistake("the same batch twice",
        "Both of your recordings used the same batch, so they agree. Record each sample by itself.",
        lambda record, x: 0.0),
    Mistake("summed",
        "You add the differences up. The sum grows with the number of samples: take the largest.",
        lambda record, x: float(np.abs(record(x) - _alone(record, x)).sum())),
    Mistake("squared",
        "You square the differences. The largest difference has the unit of the activations.",
        lambda record, x: float(((record(x) - _alone(record, x)) ** 2).max())),
]  # fmt: skip


def a_module_and_batches(rng: np.random.Generator) -> tuple[Any, str, list[Any]]:
    """Draw a module with batch normalisation, in training mode, the name of a layer, and batches of images."""
    import torch
    from torch import nn

    layer, c = str(rng.choice(["norm", "middle", "scaling"])), int(rng.integers(2, 5))
    module, first, norm = nn.Sequential(), nn.Conv2d(1, c, 3), nn.BatchNorm2d(c)
    for name, part in (
        ("first", first),
        (layer, norm),
        ("rectify", nn.ReLU(inplace=True)),
        ("flat", nn.Flatten()),
        ("head", nn.Linear(c * 12, 7)),
    ):
        module.add_module(name, part)
    with torch.no_grad():
        for values in [*module.parameters(), *norm.buffers()]:
            if values.is_floating_point():
                values.copy_(torch.from_numpy(rng.uniform(0.2, 1, size=values.shape)))
        first.weight -= 0.6  # values of both signs, so that what the ReLU takes away is seen
    sizes = rng.permutation([2, 3, 4])
    return module, layer, [torch.from_numpy(rng.normal(size=(n, 1, 6, 5)).astype("float32")) for n in sizes]


def hooks_that_are_left(module: Any, layer: str, batches: list[Any]) -> str:
    """Say that a hook is still in the module."""
    if not any(part._forward_hooks for part in module.modules()):
        return ""
    return "Your hook is still in the module, and would run at every later call. Which method of its handle ends this?"


@session.exercise(minutes=9, inputs=a_module_and_batches, left_over=hooks_that_are_left)
def capture(module: Any, layer: str, batches: list[Any]) -> np.ndarray:
    """Record the output of a layer in evaluation mode, one row for each sample."""
    return np.concatenate(_outputs(module.eval(), layer, batches))


def _outputs(module: Any, layer: str, batches: list[Any], *, of_input: bool = False, copied: bool = True) -> list[Any]:
    """Return what a hook keeps of each batch, flattened."""
    import torch

    found: list[Any] = []

    def keep(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
        found.append(inputs[0].clone() if of_input else output.clone() if copied else output)

    hook = module.get_submodule(layer).register_forward_hook(keep)
    with torch.no_grad():
        for batch in batches:
            module(batch)
    hook.remove()
    return [values.numpy().reshape(len(values), -1) for values in found]


capture.mistakes += [
    Mistake("training mode",
        "The module computes in training mode, so each row depends on its batch. Which call changes that?",
        lambda module, layer, batches: np.concatenate(_outputs(module.train(), layer, batches))),
    Mistake("overwritten later",
        "No value of yours is negative: the next layer works in place and changed what you kept. Keep a copy.",
        lambda module, layer, batches: np.concatenate(_outputs(module.eval(), layer, batches, copied=False))),
    Mistake("training mode and overwritten",
        "Two things are wrong. The module computes in training mode, and the next layer changed what you kept.",
        lambda module, layer, batches: np.concatenate(_outputs(module.train(), layer, batches, copied=False))),
    Mistake("last batch only",
        "Only the last batch is in your result. Collect the output of every batch.",
        lambda module, layer, batches: _outputs(module.eval(), layer, batches)[-1]),
    Mistake("input of the layer",
        "This is what goes into the layer. A forward hook is given the output as well.",
        lambda module, layer, batches: np.concatenate(_outputs(module.eval(), layer, batches, of_input=True))),
    Mistake("output of the model",
        "This is the output of the whole model. Keep what the hook is given instead.",
        lambda module, layer, batches: np.concatenate(_outputs(module.eval(), "head", batches))),
]  # fmt: skip


def with_constant_features(rng: np.random.Generator) -> tuple[np.ndarray]:
    """Draw activations after a ReLU: some features are 0 for all samples, and one is another constant."""
    n, p = rng.permutation([8, 9, 10, 11])[:2]
    x = rng.normal(size=(n, p)).clip(0) + np.eye(n, p)
    constant = rng.permutation(p)[: rng.integers(2, 4)]  # fewer than half
    x[:, constant] = 0
    x[:, constant[0]] = rng.integers(1, 4)
    return (x,)


@session.exercise(minutes=4, inputs=with_constant_features)
def constant_features(x: np.ndarray) -> float:
    """Fraction of features that are the same for all samples."""
    return float(np.mean(np.ptp(x, axis=0) == 0))


constant_features.mistakes += [
    Mistake("a number in place of a fraction",
        "You count the features. Which part of all features is it?",
        lambda x: float(np.sum(np.ptp(x, axis=0) == 0))),
    Mistake("divided by samples",
        "You divide by the number of samples. It is a fraction of the features.",
        lambda x: float(np.sum(np.ptp(x, axis=0) == 0) / len(x))),
    Mistake("zeros only",
        "You count features that are 0 for all samples. A feature may also be constant at another value.",
        lambda x: float(np.mean((x == 0).all(0)))),
    Mistake("zeros of single samples",
        "You count zeros. A feature that is 0 for some samples and not for others is not constant.",
        lambda x: float(np.mean(x == 0))),
    Mistake("rows and columns exchanged",
        "You look for samples whose features are all the same. Features are columns.",
        lambda x: float(np.mean(np.ptp(x, axis=1) == 0))),
]  # fmt: skip


def rows_and_ids(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw rows, their ids, and some of these ids in another order."""
    n, p = rng.permutation([7, 8, 9, 10])[:2]
    ids = np.array([f"image-{number}" for number in rng.choice(90, size=n, replace=False) + 10])
    return rng.normal(size=(n, p)), ids, rng.permutation(ids[rng.permutation(n)[: n - 2]])


@session.exercise(minutes=6, inputs=rows_and_ids)
def match_rows(y: np.ndarray, ids_y: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Choose the rows of y that have these ids, in the order of these ids."""
    rows: np.ndarray = y[[list(ids_y).index(name) for name in ids]]
    return rows


match_rows.mistakes += [
    Mistake("order of the other side",
        "You have the right rows, in the order in which y has them. Row 0 should belong to ids[0].",
        lambda y, ids_y, ids: y[np.isin(ids_y, ids)])
]  # fmt: skip


@match_rows.mistake("sorted", "You have the right rows, in the order of the alphabet. Row 0 should belong to ids[0].")
def _(y: np.ndarray, ids_y: np.ndarray, ids: np.ndarray) -> np.ndarray:
    order = np.argsort(ids_y)
    return y[order][np.isin(ids_y[order], ids)]


match_rows.mistakes += [
    Mistake("positions of the other side",
        "You looked up where the ids of y stand in ids. You need to know where each of ids stands in the ids of y.",
        lambda y, ids_y, ids: y[[list(ids).index(name) for name in ids_y if name in ids]]),
    Mistake("not matched", "You take the first rows, whatever their ids are.", lambda y, ids_y, ids: y[: len(ids)]),
    Mistake("places in the sorted ids",
        "You look the ids up among the sorted ids of y. Its rows are not sorted.",
        lambda y, ids_y, ids: y[np.searchsorted(np.sort(ids_y), ids)]),
    Mistake("the order of ids",
        "You sort ids and take these places as rows of y. Where each id stands in the ids of y is the question.",
        lambda y, ids_y, ids: y[np.argsort(ids)]),
]  # fmt: skip
