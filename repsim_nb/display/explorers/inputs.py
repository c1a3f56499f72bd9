"""What explorers of recordings are given: activations, and the data set on which they were recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repsim_nb.inputs.datasets import Dataset, load_dataset
from repsim_nb.inputs.store import Activations, Key, from_arrays


def to_activations(xs: Any) -> Activations:
    """Return what an explorer was given as Activations; TypeError if it is not a mapping, ValueError if it is empty."""
    takes = "The explorer takes activations by key: what rs.record returns, a Store, or {'model/layer': array}"
    if not isinstance(xs, Mapping):
        raise TypeError(f"{takes}; got {type(xs).__name__}.")
    if not xs:
        raise ValueError(f"{takes}; this {type(xs).__name__} is empty. Record something first.")
    return xs if isinstance(xs, Activations) else from_arrays(xs)


def fits(dataset: Dataset, key: Key, array: Any) -> bool:
    """Return whether a recording may be of this data set."""
    return key.dataset in ("", dataset.name) and len(array) == len(dataset)


def to_dataset(dataset: str | Dataset | None, xs: Activations) -> Dataset | None:
    """Return the data set with these activations; TypeError if it is none, ValueError if it fits none of them."""
    dataset = load_dataset(dataset) if isinstance(dataset, str) else dataset
    if dataset is None:
        return None
    if not isinstance(dataset, Dataset):
        raise TypeError(f"dataset must be a Dataset or the name of one; got {type(dataset).__name__}.")
    if not any(fits(dataset, key, xs[key]) for key in xs):
        sizes = dict.fromkeys((key.dataset, len(xs[key])) for key in xs)
        there = ", ".join(f"'{name}' ({n})" if name else f"arrays of {n} samples" for name, n in sizes)
        raise ValueError(
            f"None of the activations was recorded on the dataset given with them, '{dataset.name}' ({len(dataset)}"
            f" samples); there are {there}."
        )
    return dataset
