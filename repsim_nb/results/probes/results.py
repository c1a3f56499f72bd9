"""Predictions of a probe for rows that it was not fitted to: confusion, accuracy, p-value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import check_name
from repsim_nb.support.labels import Labels, short_labels, varying_fields
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_integer

from .scoring import balanced_accuracy, renumber, score


@dataclass(frozen=True, eq=False, repr=False)
class Probe:
    """Predictions of a classifier for rows that it was not fitted to.

    Attributes
    ----------
    confusion : DataFrame (classes, classes)
        For each true class (row) the fraction of its held-out rows that were predicted as each class (column); rows sum
        to 1.
    balanced_accuracy : float
        The mean of the diagonal of `confusion`.
    chance : float
        The balanced accuracy of random predictions, 1 / number of classes.
    p_value : float
        The fraction of permutations with a balanced accuracy at least as high, (1 + #) / (permutations + 1). Labels are
        permuted between images, and within images that have several labels.
    null : ndarray (n_permutations,)
        The balanced accuracy in each permutation.
    predictions : DataFrame (held-out rows)
        Columns: true and predicted (class numbers), sample (the row number, or the id that was given), image (one
        number for each image).
    fitted : DataFrame (training rows)
        Columns: true and predicted (class numbers).
    probe : {"linear", "rbf", "logistic"}
        The classifier.
    scaling : {"pooled", "per_set", None}
        How features were standardised.
    seed : int
        The seed.

    Examples
    --------
    >>> targets = np.arange(90) % 3
    >>> x = np.random.default_rng(0).normal(size=(90, 2)) + 2 * targets[:, None]
    >>> rs.probes.linear_probe(x, targets, classes=["cat", "dog", "cow"], n_permutations=99).confusion.round(1)
    class  cat  dog  cow
    class
    cat    0.8  0.2  0.0
    dog    0.0  1.0  0.0
    cow    0.0  0.0  1.0
    """

    confusion: pd.DataFrame
    balanced_accuracy: float
    chance: float
    p_value: float
    null: np.ndarray
    predictions: pd.DataFrame
    fitted: pd.DataFrame
    probe: str
    scaling: str | None
    seed: int = 0

    @property
    def accuracy(self) -> float:
        """Fraction of held-out rows that were predicted correctly.

        It differs from the balanced accuracy if classes differ in size.
        """
        return float((self.predictions["true"] == self.predictions["predicted"]).mean())

    @property
    def in_sample_balanced_accuracy(self) -> float:
        """Balanced accuracy on the training rows; much above the held-out one means overfitting."""
        return balanced_accuracy(self.fitted["true"].to_numpy(), self.fitted["predicted"].to_numpy())

    @property
    def n_train(self) -> int:
        """Number of training rows."""
        return len(self.fitted)

    @property
    def n_test(self) -> int:
        """Number of held-out rows."""
        return len(self.predictions)

    def labels(self) -> Labels:
        """Return the names of the classes.

        Returns
        -------
        tuple of str
            One name for each class.

        Examples
        --------
        >>> x, targets = np.arange(40.0)[:, None], np.repeat(["low", "high"], 20)
        >>> rs.probes.linear_probe(x, targets, n_permutations=99).labels()
        ('high', 'low')
        """
        return short_labels(self.confusion.index)

    def confused_samples(self, row: int, column: int) -> np.ndarray:
        """Return which samples of one class were predicted as another.

        Parameters
        ----------
        row, column : int
            The numbers of the true and of the predicted class: positions in `labels()`.

        Returns
        -------
        ndarray
            Ids of the samples (row numbers if no ids were given), each once.

        Raises
        ------
        ValueError
            For a class number that does not exist.

        Examples
        --------
        >>> x, targets = np.arange(40.0)[:, None], np.repeat([0, 1], 20)
        >>> targets[[30, 35]] = 0
        >>> probe = rs.probes.linear_probe(x, targets, test=(x[25:], targets[25:]), n_permutations=99)
        >>> probe.confused_samples(0, 1)
        array([ 5, 10])
        """
        for number in (row, column):
            check_integer(number, "a class", minimum=0, maximum=len(self.confusion) - 1, hint="its place in labels()")
        of = self.predictions
        return of.loc[(of["true"] == row) & (of["predicted"] == column), "sample"].drop_duplicates().to_numpy()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.confusion)} classes, held-out balanced"
            f" accuracy={self.balanced_accuracy:.3f}, chance={self.chance:.3f}, p_value={self.p_value:.2g},"
            f" n_train={self.n_train}, n_test={self.n_test})"
        )

    def _repr_html_(self) -> str:
        return summarize(
            type(self).__name__,
            f"{len(self.confusion)} classes",
            [
                f"held-out balanced accuracy {self.balanced_accuracy:.3f}",
                f"chance {self.chance:.3f}",
                f"p = {self.p_value:.2g}",
                f"{self.n_train} rows fitted, {self.n_test} held out",
            ],
            table=self.confusion.set_axis(self.labels(), axis=0).set_axis(self.labels(), axis=1),
            float_format="{:.2f}".format,
            page=f"probes.{type(self).__name__}",
        )


@dataclass(frozen=True, eq=False, repr=False)
class DatasetProbe(Probe):
    """A probe whose classes are sets of representations.

    The levels of the index of `confusion` are the fields of the keys.

    Attributes
    ----------
    confusion, balanced_accuracy, chance, p_value, null, predictions, fitted, probe, scaling, seed
        As in `Probe`.
    ordered_by : str or None
        The field by which `order_by` grouped rows; None for the order in which sets were passed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sets = {rs.Key(m, "fc", d): rng.normal(3 * (m == "b"), 1, (40, 2)) for d in ("u", "v") for m in ("a", "b")}
    >>> bias = rs.probes.dataset_bias(sets, n_permutations=99)
    >>> bias.labels()
    ('u_a', 'u_b', 'v_a', 'v_b')
    """

    ordered_by: str | None = None

    def labels(self) -> Labels:
        """Return short labels, the data first if they vary: "[test set]_[model]".

        Returns
        -------
        tuple of str
            One label for each set.

        Examples
        --------
        >>> sets = {rs.Key(m, "fc", "u"): np.arange(40.0)[:, None] + 99 * (m == "b") for m in ("a", "b")}
        >>> rs.probes.dataset_bias(sets, n_permutations=99).labels()
        ('a', 'b')
        """
        fields = sorted(varying_fields(self.confusion.index), key=lambda name: name != "dataset")
        frame = self.confusion.index.to_frame(index=False).astype(str)
        if "dataset" not in fields or len(fields) < 2:
            return super().labels()
        data = frame["dataset"].str.replace(r"/test(\[.*\])?$", "", regex=True)
        frame["dataset"] = data if data.nunique() == frame["dataset"].nunique() else frame["dataset"]
        return tuple("_".join(map(str, row)) for row in frame[fields].itertuples(index=False))

    def by_field(self, field: str) -> DatasetProbe:
        """Return the same predictions for one field only, with a chance level and a p-value of their own.

        Parameters
        ----------
        field : str
            A field of the keys, such as "model" or "dataset". Sets with the same value of it become one class.

        Returns
        -------
        DatasetProbe
            Its classes are the values of the field.

        Raises
        ------
        ValueError
            For a field that does not exist, or that is the same for all sets.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> sets = {rs.Key(m, "fc", d): rng.normal(9 * (m == "b"), 1, (40, 2)) for d in ("u", "v") for m in ("a", "b")}
        >>> bias = rs.probes.dataset_bias(sets, n_permutations=99)
        >>> bias.by_field("model").confusion
        model    a    b
        model
        a      1.0  0.0
        b      0.0  1.0
        """
        values = self._values(field)
        numbers, names = pd.factorize(values)
        if len(names) < 2:
            raise ValueError(
                f"by_field('{field}') needs two or more values of it; all {len(values)} sets have '{names[0]}'."
            )
        found = score(renumber(self.predictions, numbers), pd.Index(names, name=field), len(self.null), self.seed)
        return replace(self, **found, fitted=renumber(self.fitted, numbers), chance=1 / len(names), ordered_by=None)

    def order_by(self, field: str) -> DatasetProbe:
        """Return the same result with rows and columns grouped by a field.

        Parameters
        ----------
        field : str
            A field of the keys. Values, and sets of one value, keep the order of their first appearance.

        Returns
        -------
        DatasetProbe
            With `ordered_by`.

        Raises
        ------
        ValueError
            For a field that does not exist.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> sets = {rs.Key(m, "fc", d): rng.normal(size=(40, 2)) for d in ("u", "v") for m in ("a", "b")}
        >>> rs.probes.dataset_bias(sets, n_permutations=99).order_by("model").labels()
        ('u_a', 'v_a', 'u_b', 'v_b')
        """
        order = np.argsort(pd.factorize(self._values(field))[0], kind="stable")
        place = np.argsort(order)
        return replace(
            self,
            confusion=self.confusion.iloc[order, order],
            predictions=renumber(self.predictions, place),
            fitted=renumber(self.fitted, place),
            ordered_by=field,
        )

    def breaks(self, field: str) -> list[int]:
        """Return the rows of `confusion` at which another value of a field begins, to draw lines there.

        Parameters
        ----------
        field : str
            A field of the keys.

        Returns
        -------
        list of int
            Empty if each value has one row, or if a value occurs in several places.

        Raises
        ------
        ValueError
            For a field that does not exist.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> sets = {rs.Key(m, "fc", d): rng.normal(size=(40, 2)) for d in ("u", "v") for m in ("a", "b")}
        >>> bias = rs.probes.dataset_bias(sets, n_permutations=99)
        >>> bias.breaks("dataset"), bias.breaks("model"), bias.order_by("model").breaks("model")
        ([2], [], [2])
        """
        return group_breaks(self._values(field))

    def _values(self, field: str) -> pd.Index:
        """Return the value of a field for each set."""
        names = list(self.confusion.index.names)
        hint = "Sets whose labels are plain text have no fields. Use labels rs.Key(model, layer, dataset)."
        check_name("field", field, names, hint if names == ["label"] else "")
        return self.confusion.index.get_level_values(field)


def group_breaks(values: Any) -> list[int]:
    """Return the positions at which another value begins.

    Parameters
    ----------
    values : array or Index
        One value for each row.

    Returns
    -------
    list of int
        Empty if each value has one row, or if a value occurs in several places.

    Examples
    --------
    >>> group_breaks(np.array(["u", "u", "v", "v", "v"])), group_breaks(np.array(["u", "v", "u"]))
    ([2], [])
    """
    codes = pd.factorize(values)[0]
    begins = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    return begins.tolist() if len(begins) == codes.max() < len(codes) - 1 else []
