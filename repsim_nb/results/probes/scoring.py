"""Scores of predictions: confusion, balanced accuracy and its permutation test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.results.inference.results import compare_with_null
from repsim_nb.support.seeds import generator_of


def renumber(rows: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    """Replace class numbers by other ones."""
    return rows.assign(true=numbers[rows["true"]], predicted=numbers[rows["predicted"]])


def score(predictions: pd.DataFrame, index: pd.Index, n_permutations: int, seed: int) -> dict[str, Any]:
    """Return confusion, accuracy and test of predictions of the classes in `index`."""
    true, predicted = (predictions[column].to_numpy() for column in ("true", "predicted"))
    counts = np.zeros((len(index), len(index)))
    np.add.at(counts, (true, predicted), 1)
    seen = balanced_accuracy(true, predicted)
    null = np.array(
        [
            balanced_accuracy(other, predicted)
            for other in permute_labels(true, predictions["image"].to_numpy(), n_permutations, generator_of(seed))
        ]
    )
    confusion = pd.DataFrame(counts / counts.sum(axis=1, keepdims=True), index=index, columns=index)
    return {
        "confusion": confusion,
        "balanced_accuracy": seen,
        "p_value": compare_with_null(seen, null, "greater").p_value,
        "null": null,
        "predictions": predictions,
    }


def balanced_accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean over classes of the fraction of rows that were predicted correctly."""
    many = np.bincount(true)
    return float(np.mean(np.bincount(true[true == predicted], minlength=len(many))[many > 0] / many[many > 0]))


def permute_labels(true: np.ndarray, image: np.ndarray, times: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield labels as they could be if rows had no information about them.

    Rows of one image are not independent, so an image gets the label of another one; if it has several labels, it gets
    those of an image that occurs equally often, in any order.
    """
    number = pd.factorize(image)[0]
    own = np.zeros(number.max() + 1, dtype=true.dtype)
    own[number] = true
    if (own[number] == true).all():  # each image has one label
        for _ in range(times):
            yield rng.permutation(own)[number]
        return
    order = np.argsort(image, kind="stable")
    many = np.unique(image, return_counts=True)[1]
    ends = np.cumsum(many)
    blocks = [order[(ends[many == size] - size)[:, None] + np.arange(size)] for size in np.unique(many)]
    for _ in range(times):
        other = np.empty_like(true)
        for rows in blocks:
            other[rows] = rng.permuted(true[rows][rng.permutation(len(rows))], axis=1)
        yield other
