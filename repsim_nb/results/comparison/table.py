"""The table that `compare` returns, with its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.support.ids import refuse_integer_mask
from repsim_nb.support.labels import Labels, constant_fields, frame_of, own_constants, select_from_axis, short_labels
from repsim_nb.support.summaries import decimal_places, first_few, summarize

from .defined_cells import find_defined
from .files import read_comparison, write_comparison
from .same_items import check_same_items, explain_other_items


@dataclass(frozen=True, eq=False)
class Comparison:
    """Values of a measure for all pairs of two sets of representations, with their labels.

    Two comparisons are equal (``==`` gives one bool) if measure, n, labels, values and reasons are the same; missing
    values at the same place are the same.

    Attributes
    ----------
    values : DataFrame (rows, columns)
        The value of each pair. The levels of index and columns are the fields of the keys, or one level "label" for
        labels that are text. A pair for which the measure is undefined is NaN.
    measure : Measure
        The measure with its options.
    n : int
        The number of samples.
    undefined : dict
        {(row label, column label): why the measure has no value there}; empty if all pairs have one.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> c = rs.compare("cka", {"a": x, "b": 2 * x, "c": np.tanh(x)})
    >>> c
    Comparison(cka, 3 × 3, n=50)
    >>> c.values.loc["a"].round(2).tolist()
    [1.0, 1.0, 0.95]
    """

    values: pd.DataFrame = field(repr=False)
    measure: Measure
    n: int
    undefined: Mapping[tuple[Any, Any], str] = field(default_factory=dict, repr=False)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Comparison):
            return NotImplemented
        same = (self.measure, self.n, dict(self.undefined)) == (other.measure, other.n, dict(other.undefined))
        return same and self.values.equals(other.values)

    def __hash__(self) -> int:
        return hash((self.n, self.values.shape))

    @property
    def kind(self) -> str:
        """Direction of the values: "similarity" (larger is more alike) or "dissimilarity" (larger is less alike)."""
        return self.measure.kind

    @property
    def name(self) -> str:
        """Short name of the measure, such as "cka"; the text of a measure with options that has none."""
        return measures.short_name(self.measure)

    @property
    def is_square(self) -> bool:
        """Whether rows and columns are the same representations in the same order, as labels and values show."""
        return not explain_other_items(self.values, self.measure)

    def dissimilarity(self) -> pd.DataFrame:
        """Return the values as dissimilarities (larger is less alike).

        Returns
        -------
        DataFrame (rows, columns)
            1 - s for most similarities s, `values` for a measure that is a dissimilarity. The docstring of the measure
            has its formula.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> rs.compare("cka", {"a": x, "b": np.tanh(x)}).dissimilarity().loc["a", "b"].round(2).item()
        0.05
        """
        return self.measure.dissimilarity(self.values)

    def tidy(self) -> pd.DataFrame:
        """Return a frame in long form, with one row for each pair.

        Returns
        -------
        DataFrame
            Columns: the fields of the row label with "_row" appended, those of the column label with "_column"
            appended, `value`, and `undefined` (why the measure has no value, else None).

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> rs.compare("cka", {"a": x}, {"b": x, "c": -x}).tidy().round(3)
          label_row label_column  value undefined
        0         a            b    1.0      None
        1         a            c    1.0      None
        """
        rows, columns = (frame_of(axis).reset_index(drop=True) for axis in (self.values.index, self.values.columns))
        i, j = (m.ravel() for m in np.indices(self.values.shape))
        left, right = (
            part.iloc[which].reset_index(drop=True).add_suffix(end)
            for part, which, end in ((rows, i, "_row"), (columns, j, "_column"))
        )
        reasons = [
            self.undefined.get((self.values.index[a], self.values.columns[b])) for a, b in zip(i, j, strict=True)
        ]
        return pd.concat([left, right], axis=1).assign(value=self.values.to_numpy().ravel(), undefined=reasons)

    def where(self, **fields: Any) -> Comparison:
        """Select the rows and columns whose labels have these fields.

        Parameters
        ----------
        **fields
            {field: value}, a pattern with * and ?, or a list of either. ``layer=-2`` is the last but one layer of each
            model.

        Returns
        -------
        Comparison
            Those rows and columns, with the same measure.

        Raises
        ------
        ValueError
            If there is no such field or value; the message has the nearest ones.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> xs = rs.from_arrays({"m1/conv1": x, "m1/fc": -x, "m2/conv1": 2 * x, "m2/fc": x + 1})
        >>> rs.compare("cka", xs).where(layer="conv*").labels()[0]
        ('m1', 'm2')
        """
        return self.take(select_from_axis(self.values.index, fields), select_from_axis(self.values.columns, fields))

    def between(self, rows: Mapping[str, Any], columns: Mapping[str, Any]) -> Comparison:
        """Select rows and columns by different fields.

        Parameters
        ----------
        rows, columns : {field: value}
            As in `where`.

        Returns
        -------
        Comparison
            Those rows and columns, with the same measure.

        Raises
        ------
        ValueError
            If there is no such field or value.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> xs = rs.from_arrays({"m1/conv1": x, "m1/fc": -x, "m2/conv1": 2 * x, "m2/fc": x + 1})
        >>> rs.compare("cka", xs).between({"model": "m1"}, {"model": "m2"}).values.shape
        (2, 2)
        """
        return self.take(select_from_axis(self.values.index, rows), select_from_axis(self.values.columns, columns))

    def take(self, rows: np.ndarray, columns: np.ndarray) -> Comparison:
        """Select rows and columns by position.

        Parameters
        ----------
        rows, columns : array of int or bool
            Positions, or a mask with one bool for each row (or column).

        Returns
        -------
        Comparison
            Those rows and columns, with the same measure.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> rs.compare("cka", {"a": x, "b": 2 * x}).take([1], [0]).labels()
        (('b',), ('a',))
        """
        for which, size in zip((rows, columns), self.values.shape, strict=True):
            refuse_integer_mask(which, size)
        values = self.values.iloc[rows, columns]
        undefined = {
            cell: reason
            for cell, reason in self.undefined.items()
            if cell[0] in values.index and cell[1] in values.columns
        }
        return Comparison(values, self.measure, self.n, undefined)

    def drop_undefined(self) -> tuple[Comparison, Labels]:
        """Drop items, most undefined cells first, until all pairs are defined.

        Returns
        -------
        comparison : Comparison
            Square; this comparison itself if nothing is undefined.
        dropped : tuple of str
            The short labels of the dropped items, in the order in which they were dropped.

        Raises
        ------
        ValueError
            If the comparison is not square.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> c = rs.compare("cka", {"a": x, "b": 2 * x, "constant": 0 * x}, on_undefined="mask")
        >>> c.drop_undefined()
        (Comparison(cka, 2 × 2, n=50), ('constant',))
        """
        check_same_items(self, "drop_undefined", "Use take(rows, columns) to select cells.")
        (keep, _, out), labels = find_defined(self.values.to_numpy(), square=True), self.labels()[0]
        return (self.take(keep, keep) if out else self), tuple(labels[i] for i in out)

    def mean_of(self, rows: np.ndarray, columns: np.ndarray) -> float | None:
        """Compute the mean value over some rows and columns, without the cells of an item with itself.

        Parameters
        ----------
        rows, columns : array of int or bool
            Positions, or masks, as in `take`.

        Returns
        -------
        float or None
            None if there are no other cells; NaN if one of them is undefined.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> c = rs.compare("cka", {"a": x, "b": 2 * x, "c": np.tanh(x)})
        >>> round(c.mean_of([0, 1], [0, 1]), 2), round(c.mean_of([0, 1], [2]), 2)
        (1.0, 0.95)
        """
        block = np.ix_(
            *(np.arange(size)[which] for size, which in zip(self.values.shape, (rows, columns), strict=True))
        )
        others = np.ones(self.values.shape, bool)
        if self.is_square:
            np.fill_diagonal(others, False)
        found = self.values.to_numpy(float)[block][others[block]]
        return float(found.mean()) if found.size else None

    def labels(self) -> tuple[Labels, Labels]:
        """Return short labels of rows and columns, made of the fields that vary within the axis.

        Returns
        -------
        rows, columns : tuple of str
            One label for each row, and for each column.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> xs = rs.from_arrays({"m1/conv1": x, "m1/fc": -x, "m2/fc": x + 1})
        >>> rs.compare("cka", xs.where(model="m1"), xs).labels()
        (('conv1', 'fc'), ('m1/conv1', 'm1/fc', 'm2/fc'))
        """
        return short_labels(self.values.index), short_labels(self.values.columns)

    def constants(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields that do not vary within rows, and within columns.

        Returns
        -------
        rows, columns : {field: value}
            Without fields at their default, such as step 0.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> xs = rs.from_arrays({"m1/conv1": x, "m1/fc": -x, "m2/fc": x + 1})
        >>> rs.compare("cka", xs.where(model="m1"), xs.where(layer="fc")).constants()
        ({'model': 'm1'}, {'layer': 'fc'})
        """
        return constant_fields(self.values.index), constant_fields(self.values.columns)

    def save(self, path: str | Path) -> Path:
        """Write the comparison to one file; an existing file is replaced in one step.

        Parameters
        ----------
        path : str or Path
            The file. Its ending is the format: .h5 and .nc have the values and the fields of the labels, .parquet has
            the tidy table; any other, such as .json, is JSON. For .csv use ``c.tidy().to_csv(path)``.

        Returns
        -------
        Path
            The path, to use it in one line: ``Comparison.load(c.save("c.json"))``.

        Notes
        -----
        If the options of a measure are not plain data (a function), the file has only its name, and `load` needs the
        measure.

        Examples
        --------
        >>> import tempfile
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> c = rs.compare("cka", {"a": x, "b": np.tanh(x)})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Comparison.load(c.save(folder + "/c.json")) == c
        True
        """
        return write_comparison(Path(path), self.values, self.measure, self.n, self.undefined, self.tidy)

    @classmethod
    def load(cls, path: str | Path, measure: Measure | None = None) -> Comparison:
        """Read a comparison from a file that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.
        measure : Measure, optional
            Needed only for a measure that is not part of this package, or whose options are not plain data.

        Returns
        -------
        Comparison
            Equal to the one that was saved.

        Raises
        ------
        ValueError
            If the file contains no comparison or is damaged, if the measure is needed, or if it is another one than
            that of the file.
        FileNotFoundError
            If there is no file.

        Examples
        --------
        >>> import tempfile
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> options = {"name": "largest", "kind": "dissimilarity", "symmetric": True}
        >>> measure = rs.measures.from_function(lambda x, y: abs(x - y).max(), **options)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = rs.compare(measure, {"a": x, "b": x + 2}).save(folder + "/c.json")
        ...     Comparison.load(path, measure=measure).values.loc["a", "b"].item()
        2.0
        """
        return cls(*read_comparison(Path(path), measure))

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.values.shape))
        masked = f", {len(self.undefined)} undefined" if self.undefined else ""
        return f"Comparison({self.measure}, {shape}, n={self.n}{masked})"

    def __str__(self) -> str:
        table = self.values.set_axis(self.labels()[0], axis=0).set_axis(self.labels()[1], axis=1)
        own = own_constants(self.constants())[0]
        sides = " × ".join(f"{side} ({axis})" for side, axis in zip(own, ("rows", "columns"), strict=True) if side)
        before, n, after = repr(self).rpartition(", n=")
        head = f"{before}{sides and ', '}{sides}{n}{after}"
        return f"{head}\n{table.round(decimal_places(table)).to_string(na_rep='–', max_rows=30, max_cols=20)}"

    def _repr_html_(self) -> str:
        rows, columns = self.labels()
        own, shared = own_constants(self.constants())
        return summarize(
            "Comparison",
            str(self.measure),
            [
                f"{self.kind}: larger is {'more' if self.kind == 'similarity' else 'less'} alike",
                f"n = {self.n}",
                " × ".join(filter(None, own)),
                ", ".join(map(str, shared.values())),
            ],
            table=self.values.set_axis(rows, axis=0).set_axis(columns, axis=1),
            notes=first_few(self.undefined.values()),
            page="Comparison",
        )
