"""Which rows are held out: whole images, as evenly as possible."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repsim_nb.support.errors import add_context, format_label, join_names
from repsim_nb.support.ids import check_order
from repsim_nb.support.validation import check_labels

_SUBSET = re.compile(r"\[n=\d+,seed=\d+\]$")  # in the name of a random subset of a data set
MIN_ROWS = 2  # of a class on either side


def image_ids(sets: Mapping[Any, Any], sizes: Mapping[Any, int], groups: Any) -> list[np.ndarray]:
    """Return, for each set, the image id of each row. An index of groups must not contradict the ids of a set."""
    if groups is None:
        return [np.arange(size) for size in sizes.values()]
    if isinstance(groups, Mapping):
        lacking = [format_label(label) for label in sizes if label not in groups]
        if lacking:
            raise ValueError(f"groups needs the image ids of every set; there are none for {join_names(lacking, 3)}.")
    found = []
    for label, size in sizes.items():
        own = groups[label] if isinstance(groups, Mapping) else groups
        with add_context(f"groups of '{format_label(label)}'", ValueError):
            check_order(sets[label], own)
        found.append(check_labels(own, size, f"groups of '{format_label(label)}'"))
    return found


class Known(NamedTuple):
    """What recordings show about their rows: the ids of samples, and the group of each row, or None."""

    ids: Mapping[Any, np.ndarray]
    groups: Mapping[Any, np.ndarray | None]


def number_images(
    index: pd.Index, ids: list[np.ndarray], groups: Any, known: Known
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each row: one number for each image, wherever it occurs; its id; the number of its data set.

    Random subsets of one data set can have images in common, which the ids of recordings show. Rows in groups, such as
    the tokens of a sentence, are one image.
    """
    data = index.get_level_values("dataset") if groups is None and "dataset" in index.names else [""] * len(ids)
    sizes: dict[str, int] = {}
    for name, own in zip(data, ids, strict=True):
        if name and sizes.setdefault(name, len(own)) != len(own):
            raise ValueError(
                f"sets of one data set need the same images in the same rows; for '{name}' there are sets of"
                f" {sizes[name]} and of {len(own)} rows. Pass the image of each row: groups={{label: ids}}."
            )
    alike = len({own.dtype.kind for own in ids}) == 1  # else 1 would become "1"
    sample = (
        np.concatenate(ids)
        if alike
        else check_labels([one for own in ids for one in own], sum(map(len, ids)), "groups")
    )
    where = np.repeat(pd.factorize(np.asarray(data, dtype=object))[0], list(map(len, ids)))
    if groups is None:
        whole, ids = _images_of_subsets(index, list(data), ids, known.ids)
        of_rows = known.groups.values()
        ids = [own if its is None else its for own, its in zip(ids, of_rows, strict=True)]
        pairs = [(name, one) for name, own in zip(whole, ids, strict=True) for one in own.tolist()]
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        return np.array([places[pair] for pair in pairs]), sample, where
    return pd.factorize(sample)[0], sample, where


def _images_of_subsets(
    index: pd.Index, data: list[str], ids: list[np.ndarray], known: Mapping[Any, np.ndarray]
) -> tuple[list[str], list[np.ndarray]]:
    """Return, for each set, the name of the whole data set and the ids of its images if others have subsets of it."""
    whole = [_SUBSET.sub("", str(name)) for name in data]
    labels, own = list(index), dict(known)
    subsets: dict[str, set[str]] = {}
    for name, base in zip(data, whole, strict=True):
        subsets.setdefault(base, set()).add(name)
    lacking = {base for label, base in zip(labels, whole, strict=True) if label not in own}
    by_id = [len(subsets[base]) > 1 and base not in lacking for base in whole]
    return (
        [base if shared else name for shared, base, name in zip(by_id, whole, data, strict=True)],
        [own[label] if shared else rows for shared, label, rows in zip(by_id, labels, ids, strict=True)],
    )


def hold_out(
    true: np.ndarray, image: np.ndarray, fraction: float, names: Sequence[str], rng: np.random.Generator
) -> np.ndarray:
    """Return which rows are held out: a fraction of the images, evenly over those that occur in the same classes."""
    is_test = draw_images(true, image, round(fraction * len(np.unique(image))), rng)
    check_counts(true, is_test, names)
    return is_test


def draw_some(true: np.ndarray, image: np.ndarray, data: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return which rows belong to at most n images of each data set."""
    taken = np.zeros(len(true), bool)
    for one in np.unique(data):
        rows = np.flatnonzero(data == one)
        taken[rows[draw_images(true[rows], image[rows], min(n, len(np.unique(image[rows]))), rng)]] = True
    return taken


def draw_images(true: np.ndarray, image: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Draw images at random, in proportion from each set of images with the same classes; return which rows they have.

    Remainders of rounding are drawn at random.
    """
    occurs = pd.Series(true).groupby(image).agg(lambda own: tuple(sorted(set(own))))
    sorts = [occurs.index.get_indexer(alike.index) for _, alike in occurs.groupby(occurs, sort=False)]
    due = np.array([len(places) for places in sorts]) * number / len(occurs)
    many = np.floor(due + 1e-9).astype(int)
    many[np.lexsort((rng.random(len(due)), many - due))[: number - many.sum()]] += 1
    taken = np.zeros(len(occurs), bool)
    for places, count in zip(sorts, many, strict=True):
        taken[rng.permutation(places)[:count]] = True
    return taken[occurs.index.get_indexer(image)]


def check_counts(true: np.ndarray, is_test: np.ndarray, names: Sequence[str]) -> None:
    """Refuse a class with too few rows on either side."""
    for side, what in ((~is_test, "for training"), (is_test, "for testing")):
        many = np.bincount(true[side], minlength=len(names))
        if many.min() < MIN_ROWS:
            k = int(many.argmin())
            raise ValueError(
                f"'{names[k]}' has too few samples: {many[k]} of its {(true == k).sum()} rows would be left {what}; at"
                f" least {MIN_ROWS} are needed."
            )
