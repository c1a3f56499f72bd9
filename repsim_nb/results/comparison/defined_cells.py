"""The items of a table that are left if those with undefined cells are left out, most undefined cells first."""

from __future__ import annotations

import numpy as np


def find_defined(values: np.ndarray, *, square: bool) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return which rows and columns are left if the one with the most undefined cells is left out until none is.

    Rows and columns are compared by the fraction of their cells that are undefined; of equal ones the first goes, a
    column before a row.

    Parameters
    ----------
    values : array (rows, columns)
        NaN and infinite values are undefined.
    square : bool
        Whether rows and columns are the same items, so that both are left out together.

    Returns
    -------
    rows, columns : bool array
        What is left.
    left_out : list of int
        The positions that were left out, in this order; rows or columns.

    Examples
    --------
    >>> find_defined(np.array([[1.0, np.nan, 2.0], [3.0, np.nan, np.nan]]), square=False)
    (array([ True,  True]), array([ True, False, False]), [1, 2])
    """
    missing = ~np.isfinite(np.asarray(values, dtype=float))
    rows = np.ones(missing.shape[0], bool)
    columns = rows if square else np.ones(missing.shape[1], bool)
    missing = missing | missing.T if square else missing
    left_out = []
    while (left := missing & rows[:, None] & columns).any():
        fractions = left.sum(axis=1) / columns.sum(), left.sum(axis=0) / rows.sum()
        axis = 0 if square or fractions[0].max() > fractions[1].max() else 1
        left_out.append(int(fractions[axis].argmax()))
        (rows, columns)[axis][left_out[-1]] = False
    return rows, columns, left_out
