"""The effect of a translation of some samples on linear CKA."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from repsim_nb.support.containers import Array
from repsim_nb.support.validation import check_representation, to_numpy


def translation_limit(x: Array, rows: Sequence[bool]) -> float:
    """Return the linear CKA of a representation and a copy in which some samples are moved infinitely far.

    It answers: how low can CKA become if a subset of the samples is translated, although a classifier could still
    separate them?

    Parameters
    ----------
    x : array (n, p)
        The representation.
    rows : sequence of bool (n,)
        Which samples are moved, all by the same vector. The result does not depend on its direction, and is the same if
        the other samples are moved.

    Returns
    -------
    float
        The limit of CKA, between 0 and 1.

    Raises
    ------
    ValueError
        If no sample is moved or all are, or `rows` is no mask of n values, such as indices of rows.

    Notes
    -----
    The limit is ρ / (1 - ρ) · ‖mean of the moved samples‖² / mean ‖x‖² · √(participation ratio), with x centred and ρ
    the fraction of samples that are moved.

    References
    ----------
    M. Davari, S. Horoi, A. Natik, G. Lajoie, G. Wolf, E. Belilovsky 2023, Reliability of CKA as a similarity measure in
    deep learning, ICLR, theorem 1.

    Examples
    --------
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [3.0, 2.0], [4.0, 4.0]])
    >>> round(translation_limit(x, [False, False, True, True]), 3)
    0.874
    """
    x = to_numpy(check_representation(x)).astype(float)
    mask = np.asarray(rows)
    if not np.isin(mask, (False, True)).all():
        raise ValueError(
            f"rows must be True or False for each of {len(x)} samples; got other values. For indices of rows, use"
            " np.isin(np.arange(n), indices)."
        )
    mask = mask.astype(bool)
    if mask.shape != (len(x),) or not 0 < mask.sum() < len(x):
        raise ValueError(
            f"rows must have one value a sample, {len(x)} in all, some True and some False; got the shape"
            f" {mask.shape} with {int(mask.sum())} True."
        )
    x = x - x.mean(axis=0)
    values = np.linalg.svd(x, compute_uv=False) ** 2
    fraction = mask.mean()
    mean = x[mask].mean(axis=0)
    return float(
        fraction / (1 - fraction) * (mean @ mean) / (values.sum() / len(x)) * values.sum() / np.sqrt((values**2).sum())
    )
