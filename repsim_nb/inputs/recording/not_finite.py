"""NaN and infinite numbers in the inputs, which make the activations of every layer NaN or infinite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.support.validation import to_numpy

from .samples import read_samples


def explain_inputs(dataset: Dataset, sample: int) -> str:
    """Return which samples of the data have NaN or infinite numbers, and what to do; "" if this sample has none.

    All samples are looked at if they are in memory, else this one.
    """
    if not _has_some(read_samples(dataset, [sample])).any():
        return ""
    bad = np.flatnonzero(_has_some(dataset.inputs)) if isinstance(dataset.inputs, (Tensor, np.ndarray)) else [sample]
    names = [str(i) if dataset.ids is None else f"{i} ('{dataset.ids[i]}')" for i in map(int, bad)]
    which = f"{len(bad)} of its {len(dataset)} samples" if len(bad) != 1 else "a sample"
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return (
        f"dataset '{dataset.name}' has NaN or infinite numbers in {which}, {listed}, and so have their activations."
        " Leave these samples out, or replace the missing numbers before they reach the model"
    )


def _has_some(inputs: Any) -> np.ndarray:
    """Return which samples have a number that is NaN or infinite, as bool (n,); of columns, in any of them."""
    found = np.zeros(1, bool)
    for column in inputs.values() if isinstance(inputs, Mapping) else [inputs]:
        if isinstance(column, (Tensor, np.ndarray)):
            values = to_numpy(column)
            if values.dtype.kind in "fc" and values.ndim:
                found = found | ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return found
