"""What translating some samples does to linear CKA."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_representation, to_numpy


def translation_limit(x: Array, rows: Sequence[bool]) -> float:
    """The CKA of a representation and the same one with some samples translated, if they are moved infinitely far.

    Parameters
    ----------
    x : array (n, p)
    rows : (n,) of bool
        The samples that are moved, all by the same vector. Its direction does not matter, and moving the others instead
        gives the same.

    Returns
    -------
    float
        ρ / (1 - ρ) · ‖mean of the moved‖² / mean ‖x‖² · √(participation ratio), with x centred and ρ the fraction that
        is moved.

    Raises
    ------
    ValueError
        If no sample is moved or all are, or `rows` has another length.

    References
    ----------
    Davari, Horoi, Natik, Lajoie, Wolf, Belilovsky 2023, theorem 1.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [3.0, 2.0], [4.0, 4.0]])
    >>> round(translation_limit(x, [False, False, True, True]), 3)
    0.874
    """
    x = to_numpy(check_representation(x)).astype(float)
    mask = np.asarray(rows, dtype=bool)
    if mask.shape != (len(x),) or not 0 < mask.sum() < len(x):
        raise ValueError(
            f"rows say of each of {len(x)} samples whether it is moved, some True and some False; "
            f"got the shape {mask.shape} with {int(mask.sum())} True"
        )
    x = x - x.mean(axis=0)
    values = np.linalg.svd(x, compute_uv=False) ** 2
    fraction = mask.mean()
    mean = x[mask].mean(axis=0)
    return float(
        fraction / (1 - fraction) * (mean @ mean) / (values.sum() / len(x)) * values.sum() / np.sqrt((values**2).sum())
    )
