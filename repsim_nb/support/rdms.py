"""`RDM`: a matrix of dissimilarities between samples, as a representation that has no features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import UndefinedError
from repsim_nb.support.ids import check_ids, refuse_integer_mask, refuse_other_order, same_ids
from repsim_nb.support.rdm_halves import (
    SMALL,
    check_both_halves,
    check_sign,
    clear_negative_rounding,
    find_rounding,
    read_values,
    to_square,
)
from repsim_nb.support.summaries import summarize


class RDM:
    """A representational dissimilarity matrix (RDM): how different each two of n samples are.

    It takes the place of a representation whose features are not known: judgements of people, recordings of a brain, a
    published matrix, a model of what should be alike. `RSA`, `CKA`, `MultiscaleCKA` and `DistanceCorrelation` compare
    it with other RDMs and with activations, in `rs.compare`, `rs.inference.permutation_test` and explorers. Other
    measures need features, and say so.

    Parameters
    ----------
    values : array (n, n) or (n (n - 1) / 2,), or DataFrame
        Dissimilarities: symmetric, with 0 on the diagonal; or the part above the diagonal, row by row, as
        `scipy.spatial.distance.pdist` returns it. The index of a frame has the ids.
    ids : array of str or int (n,), optional
        The unique names of the samples. Measures refuse another order, and `rs.align` matches samples by them.
    missing : bool array, of the shape of `values`, optional
        The pairs that were not measured. Without it every pair needs a number, since a NaN can also be an error.
        Only RSA can leave out pairs.
    squared : bool
        Whether the values are squared distances, as crossnobis distances and 1 - correlation are. CKA and distance
        correlation take the root or the square; RSA takes values as they are, or squares with "squared_euclidean".

    Raises
    ------
    ValueError
        If the values are no dissimilarities of samples: another shape, not symmetric, a diagonal that is not 0, NaN
        that `missing` does not state, values below 0 and none above it.

    Notes
    -----
    Some values may be negative, as those of cross-validated distances are. RSA takes them; distance correlation, an RBF
    kernel and maps need distances, and refuse them. Values that are below 0 by rounding (up to 1e-6 of the largest)
    become 0, except for squared distances, where they become 0 if roots are needed.

    If no value is above 0, they are most likely similarities: an error, or a warning for squared distances, since
    cross-validated ones of conditions that do not differ can be so. If all are 0 up to the rounding of 1 - 1, they
    become 0.

    ``rdm[rows]`` is the RDM of some samples: rows and columns are selected together.

    References
    ----------
    Kriegeskorte, Mur, Bandettini 2008, "Representational similarity analysis", Frontiers in Systems Neuroscience.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> judged = rs.RDM([1.0, 4.0, 3.5], ids=["cat", "dog", "car"])
    >>> judged
    RDM(3 samples)
    >>> judged.values
    array([[0. , 1. , 4. ],
           [1. , 0. , 3.5],
           [4. , 3.5, 0. ]])
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(50, 20))
    >>> rdm = rs.RDM(rs.measures.first_order(x, "euclidean"))
    >>> round(rs.measures.get("cka")(x, rdm), 6)
    1.0
    """

    device = "cpu"

    def __init__(self, values: Any, ids: Any = None, *, missing: Any = None, squared: bool = False) -> None:
        given, index = read_values(values)
        matrix = to_square(given, "values", 0.0)
        absent = np.zeros(matrix.shape, bool)
        check_both_halves(matrix)
        if missing is not None:
            mask, labels = read_values(missing)
            refuse_other_order(index, labels, "those of 'missing'")
            if mask.shape != given.shape or not np.isin(mask, (0, 1)).all():
                raise ValueError(
                    f"missing must be True and False, of the shape of the values of the RDM, {given.shape}, such as"
                    f" np.isnan(values); got shape {mask.shape}"
                )
            absent = to_square(mask.astype(bool), "missing", False)
            if not np.array_equal(absent, absent.T):
                i, j = np.argwhere(absent != absent.T)[0].tolist()
                raise ValueError(f"missing must be symmetric; it states the pair ({i}, {j}), and not ({j}, {i})")
            np.fill_diagonal(absent, False)
            matrix[absent] = np.nan
        rounding = _check_pairs(matrix, absent)
        if not squared:
            clear_negative_rounding(matrix, rounding)
        check_sign(matrix, rounding, bool(squared))
        own = check_ids(ids, len(matrix)) if ids is not None else index
        refuse_other_order(index, own, "ids=")
        self._set(matrix, bool(squared), own)

    def _set(
        self, matrix: np.ndarray, squared: bool, ids: np.ndarray | None = None, groups: np.ndarray | None = None
    ) -> RDM:
        matrix.flags.writeable = False
        self.values, self.squared, self.ids, self.groups = matrix, squared, ids, groups
        return self

    def _like(self, matrix: np.ndarray, ids: np.ndarray | None, groups: np.ndarray | None) -> RDM:
        """Return an RDM of checked values."""
        return object.__new__(RDM)._set(matrix, self.squared, ids, groups)

    @property
    def missing(self) -> np.ndarray:
        """The pairs without a value, bool (n, n)."""
        return np.isnan(self.values)

    @property
    def is_complete(self) -> bool:
        """Whether every pair has a value."""
        return not np.isnan(self.values).any()

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return len(self.values), len(self.values)

    ndim = 2

    @property
    def dtype(self) -> Any:
        """The precision of the values: float32 or float64."""
        return self.values.dtype

    def vector(self) -> np.ndarray:
        """Return the values above the diagonal, row by row.

        Returns
        -------
        array (n (n - 1) / 2,)
            NaN for missing pairs.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.RDM([[0.0, 1.0, 4.0], [1.0, 0.0, 3.0], [4.0, 3.0, 0.0]]).vector().tolist()
        [1.0, 4.0, 3.0]
        """
        return self.values[np.triu_indices(len(self), 1)]

    def to_frame(self) -> pd.DataFrame:
        """Return the values as a frame with the ids in rows and columns.

        Returns
        -------
        DataFrame (n, n)
            NaN for missing pairs. Without ids rows and columns are numbered.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.RDM([1.0, 4.0, 3.5], ids=["cat", "dog", "car"]).to_frame().loc["cat", "car"].item()
        4.0
        """
        labels = range(len(self)) if self.ids is None else self.ids
        return pd.DataFrame(self.values, index=labels, columns=labels)

    def check_complete(self) -> None:
        """Raise UndefinedError if a pair is missing.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.RDM([1.0, 4.0, 3.5]).check_complete()  # no error
        """
        if self.is_complete:
            return
        i, j = np.argwhere(np.isnan(self.values))[0].tolist()
        many = int(np.isnan(self.vector()).sum())
        raise UndefinedError(
            f"it is an RDM without a value for {many} of {len(self.vector())} pairs, the first ({self._name(i)},"
            f" {self._name(j)}), and only values of RSA (compare, permutation_test) can leave out pairs. Use"
            " rdm[rows] with samples whose pairs are all known"
        )

    def distances(self, *, squared: bool = False) -> np.ndarray:
        """Return the distances of all samples, for what needs distances and not only an order.

        Parameters
        ----------
        squared : bool
            Return squared distances.

        Returns
        -------
        array (n, n)
            In float64.

        Raises
        ------
        UndefinedError
            If a pair is missing, or a distance would be negative.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.RDM([1.0, 4.0, 9.0], squared=True).distances()[0].tolist()
        [0.0, 1.0, 2.0]
        """
        self.check_complete()
        values = self.values.astype(float)
        if not (squared and self.squared):
            clear_negative_rounding(values, SMALL * float(np.abs(values).max()))
        if values.min() < 0 and not (squared and self.squared):
            i, j = np.argwhere(values < 0)[0].tolist()
            raise UndefinedError(
                f"it is an RDM with {int((self.vector() < 0).sum())} negative values, such as {values[i, j]:.3g} for"
                f" ({self._name(i)}, {self._name(j)}), and distances are not negative"
                + (
                    ": use RSA, or 'cka', which takes squared distances below 0"
                    if self.squared
                    else ". Cross-validated distances are squared ones: rs.RDM(values, squared=True)"
                )
            )
        return values if squared == self.squared else values**2 if squared else np.sqrt(values)

    def _name(self, i: int) -> str:
        return repr(self.ids[i].item()) if self.ids is not None else str(i)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> RDM:
        """Return the RDM of some samples, in this order: a slice, row numbers or a mask."""
        if isinstance(rows, tuple) or (not isinstance(rows, slice) and np.ndim(rows) != 1):
            raise TypeError(
                f"rdm[rows] is the RDM of some samples, by a slice, row numbers or a mask; got {rows!r}. One pair is"
                " rdm.values[i, j]."
            )
        rows = rows if isinstance(rows, slice) else np.asarray(rows)
        if not isinstance(rows, slice):
            refuse_integer_mask(rows, len(self))
        ids, groups = (None if its is None else its[rows] for its in (self.ids, self.groups))
        return self._like(self.values[rows][:, rows], ids, groups)

    def astype(self, dtype: Any) -> RDM:
        """Return the same values in another precision.

        Parameters
        ----------
        dtype : dtype
            float32 or float64.

        Returns
        -------
        RDM
            Its ids are the same.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.RDM([1.0, 4.0, 3.5]).astype("float32").dtype
        dtype('float32')
        """
        return self._like(self.values.astype(dtype), self.ids, self.groups)

    def with_labels(self, ids: np.ndarray | None, groups: np.ndarray | None = None) -> RDM:
        """Return the same values with these names and groups of the samples, which were checked before.

        Parameters
        ----------
        ids : array (n,) or None
            The names of the samples.
        groups : array (n,) or None
            The group of each sample, if samples depend on each other.

        Returns
        -------
        RDM
            Nothing is copied.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.RDM([1.0, 4.0, 3.5], ids=list("abc")).with_labels(None).ids is None
        True
        """
        return self._like(self.values, ids, groups)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        # NumPy would take rows of dissimilarities for features
        raise TypeError("an RDM is not an array of features: use rdm.values, or rdm.vector() for the pairs.")

    def __eq__(self, other: object) -> bool:
        """Whether values and ids are equal."""
        if not isinstance(other, RDM):
            return NotImplemented
        one, two = self.ids, other.ids
        same = one is two if one is None or two is None else same_ids(one, two)
        return same and self.squared == other.squared and np.array_equal(self.values, other.values, equal_nan=True)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        """Return the number of samples and of missing pairs."""
        absent = int(np.isnan(self.vector()).sum())
        squared = ", squared distances" if self.squared else ""
        return f"RDM({len(self)} samples{squared}{f', {absent} pairs missing' if absent else ''})"

    def _repr_html_(self) -> str:
        vector = self.vector()
        absent = int(np.isnan(vector).sum())
        low, high = (np.nanmin(vector), np.nanmax(vector)) if absent < len(vector) else (math.nan, math.nan)
        return summarize(
            "RDM",
            f"{len(self)} samples",
            [
                "squared distances" if self.squared else "dissimilarities",
                f"from {low:.3g} to {high:.3g}",
                f"{absent} of {len(vector)} pairs missing" if absent else f"{len(vector)} pairs",
                "" if self.ids is None else f"ids {self.ids[0]} to {self.ids[-1]}",
            ],
            page="RDM",
        )


def _check_pairs(matrix: np.ndarray, absent: np.ndarray) -> float:
    """Raise ValueError if these are no dissimilarities; rounding is taken out of the diagonal and the symmetry.

    Returns by how much equal values may differ.
    """
    diagonal = matrix.diagonal().copy()
    np.fill_diagonal(matrix, 0)
    bad = ~np.isfinite(matrix) & ~absent
    if bad.any():
        i, j = np.argwhere(bad)[0].tolist()
        raise ValueError(
            f"every pair of an RDM needs a number; {int((bad | bad.T)[np.triu_indices(len(bad), 1)].sum())} of them"
            f" have NaN or infinity, the first ({i}, {j}). If these pairs were not measured, state it:"
            " rs.RDM(values, missing=np.isnan(values))"
        )
    rounding = find_rounding(np.append(matrix[~absent], np.nan_to_num(diagonal, posinf=1, neginf=1)))
    off = np.nan_to_num(np.abs(diagonal))  # a sample with itself is no pair, so NaN there is not a missing value
    if off.max() > rounding:
        i = int(off.argmax())
        raise ValueError(
            f"an RDM has 0 on its diagonal, the dissimilarity of a sample to itself; ({i}, {i}) is {diagonal[i]:.3g}."
            " If the values are similarities, such as correlations, pass 1 - values."
        )
    gaps = np.nan_to_num(np.abs(matrix - matrix.T))
    if gaps.max() > rounding:
        i, j = np.unravel_index(int(gaps.argmax()), gaps.shape)
        raise ValueError(
            f"an RDM is symmetric; ({i}, {j}) is {matrix[i, j]:.6g} and ({j}, {i}) is {matrix[j, i]:.6g}. If both are"
            " measurements of one pair, pass their mean, (values + values.T) / 2."
        )
    lower = np.tri(len(matrix), k=-1, dtype=bool)
    matrix[lower] = matrix.T[lower]
    return rounding
