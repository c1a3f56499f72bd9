"""Results of `locate_differences`: a table of samples, their neighbours, and the classes of the neighbours."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.support.errors import unknown_name
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_choice, check_integer


@dataclass(frozen=True, eq=False, repr=False)
class NeighbourConfusion:
    """The classes of the neighbours of each class, in two representations.

    Attributes
    ----------
    x, y : DataFrame (classes, classes)
        The fraction of the neighbours of the samples of a class (row) that are of a class (column). Rows sum to 1.
    names : (str, str)
        The names of the two representations.
    k : int
        The number of neighbours of each sample.
    n : int
        The number of samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(["a", "b"], 20)
    >>> x = rng.normal(size=(40, 5)) + 5 * (labels == "a")[:, None]
    >>> found = rs.inference.locate_differences(x, rng.normal(size=(40, 5)), targets=labels, groups=range(40))
    >>> found.confusion().x.loc["a", "a"] > 0.9, found.confusion().y.loc["a", "a"] < 0.7
    (np.True_, np.True_)
    """

    x: pd.DataFrame
    y: pd.DataFrame
    names: tuple[str, str]
    k: int
    n: int

    @property
    def difference(self) -> pd.DataFrame:
        """The fractions in y minus those in x (DataFrame); rows sum to 0.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> found = rs.inference.locate_differences(*rng.normal(size=(2, 40, 5)), targets=[0, 1] * 20)
        >>> found.confusion().difference.sum(axis=1).abs().max() < 1e-12
        np.True_
        """
        return self.y - self.x

    @property
    def table(self) -> pd.DataFrame:
        """One row for each pair of classes, the largest difference first (DataFrame).

        Columns are class, neighbours (the class of the neighbours), x, y and difference.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> found = rs.inference.locate_differences(*rng.normal(size=(2, 40, 5)), targets=[0, 1] * 20)
        >>> list(found.confusion().table)
        ['class', 'neighbours', 'x', 'y', 'difference']
        """
        long = pd.DataFrame({side: getattr(self, side).stack() for side in ("x", "y", "difference")})
        long.index.names = ["class", "neighbours"]
        order = np.argsort(-long["difference"].abs().to_numpy(), kind="stable")
        return long.iloc[order].reset_index()

    def __repr__(self) -> str:
        """Return the number of classes, and the pair of classes with the largest difference."""
        first = self.table.iloc[0]
        largest = f"{first['class']} → {first['neighbours']} {first['x']:.2f} in {self.names[0]}"
        return (
            f"NeighbourConfusion({len(self.x)} classes, n={self.n}, k={self.k}, largest difference: {largest},"
            f" {first['y']:.2f} in {self.names[1]})"
        )

    def _repr_html_(self) -> str:
        facts = [f"{len(self.x)} classes", f"n = {self.n}", f"{self.k} neighbours", "largest differences first"]
        shown = self.table.head(10).rename(columns=dict(zip(("x", "y"), self.names, strict=True)))
        page = "inference.NeighbourConfusion"
        return summarize("NeighbourConfusion", " × ".join(self.names), facts, table=shown, index=False, page=page)


@dataclass(frozen=True, eq=False, repr=False)
class SampleDifferences:
    """Where two representations differ: a table of samples, those that differ most have the first ranks.

    Attributes
    ----------
    table : DataFrame (samples)
        A row for each sample, in the order of the samples, with these columns:

        - rank: 1 for the largest displacement; equal displacements share a rank.
        - displacement: how far the neighbours of the sample have moved; 0 if they are the same, 1 as for unrelated
          representations.
        - kept, lost, gained: the number of neighbours in both representations, in x only, and in y only. Each sample
          has k neighbours on both sides, so as many are lost as are gained. Ties have fractions.
        - influence: what the sample adds to the value of the measure (see `inference.influence`).
        - class: the class of the sample, if targets were given.
    pairs : DataFrame
        A row for each sample and each of its neighbours in x or y: sample, neighbour, change ("kept", "lost" or
        "gained"), rank_x and rank_y (1 is the nearest; ties share their mean rank), weight_x and weight_y (below 1 for
        neighbours that are tied at the last place).
    k : int
        The number of neighbours.
    metric : str
        How neighbours are found, "cosine" or "euclidean".
    names : (str, str)
        The names of the two representations.
    measure : str or None
        The measure of the influence.
    value : float or None
        The value of that measure for all samples.
    kind : str
        "similarity" or "dissimilarity": the kind of that measure.
    candidates : float
        The number of samples that can be neighbours of one: all others that are not of its group (harmonic mean).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 5))
    >>> y = x + 0.1 * rng.normal(size=(200, 5))
    >>> y[[3, 50]] = rng.normal(size=(2, 5))
    >>> found = rs.inference.locate_differences(x, y)
    >>> sorted(found.top(2).index), len(found.neighbours(3)) >= 10
    ([3, 50], True)
    """

    table: pd.DataFrame
    pairs: pd.DataFrame
    k: int
    metric: str
    names: tuple[str, str]
    measure: str | None
    value: float | None
    kind: str
    candidates: float

    @property
    def n(self) -> int:
        """The number of samples.

        Examples
        --------
        >>> rs.inference.locate_differences(*np.random.default_rng(0).normal(size=(2, 30, 5))).n
        30
        """
        return len(self.table)

    @property
    def chance(self) -> float:
        """The expected number of kept neighbours for unrelated representations, k² / `candidates`.

        Examples
        --------
        >>> round(rs.inference.locate_differences(*np.random.default_rng(0).normal(size=(2, 101, 5))).chance, 2)
        1.0
        """
        return self.k**2 / self.candidates

    def top(self, n: int = 20, *, by: str = "displacement") -> pd.DataFrame:
        """Return the samples that differ most, the first of them first.

        Parameters
        ----------
        n : int
            The number of samples.
        by : {"displacement", "influence"}
            "displacement" sorts by the neighbours, "influence" by how much a sample makes the two representations less
            alike by the measure.

        Returns
        -------
        DataFrame
            Rows of `table`.

        Raises
        ------
        ValueError
            If `by` is unknown, or there is no influence.

        Examples
        --------
        >>> found = rs.inference.locate_differences(*np.random.default_rng(0).normal(size=(2, 30, 5)))
        >>> found.top(3)["rank"].tolist()
        [1, 2, 3]
        """
        check_integer(n, "n of top", minimum=1)
        return self.table.iloc[self.order(by)[:n]]

    def order(self, by: str = "displacement") -> np.ndarray:
        """Return the places of all samples, those that differ most first.

        Parameters
        ----------
        by : {"displacement", "influence"}
            As in `top`.

        Returns
        -------
        array (n,) of int
            Rows of `table`.

        Raises
        ------
        ValueError
            If `by` is unknown, or there is no influence.

        Examples
        --------
        >>> found = rs.inference.locate_differences(*np.random.default_rng(0).normal(size=(2, 30, 5)))
        >>> bool((found.table.index[found.order()[:3]] == found.top(3).index).all())
        True
        """
        check_choice(by, "by", ("displacement", "influence"))
        if by == "displacement":
            return np.argsort(self.table["rank"].to_numpy(), kind="stable")
        if "influence" not in self.table:
            raise ValueError("There is no influence to sort by: it was left out with measure=None. Pass a measure.")
        values = self.table["influence"].to_numpy()
        return np.argsort(values if self.kind == "similarity" else -values, kind="stable")

    def neighbours(self, sample: Hashable) -> pd.DataFrame:
        """Return the neighbours of a sample in both representations.

        Parameters
        ----------
        sample : label
            A label of the index of `table`: the id of the sample, or its row if there are no ids.

        Returns
        -------
        DataFrame
            The rows of `pairs` of this sample, with the neighbour as index and its class if it is known. Neighbours
            that are kept come first, then those that are lost and gained, the nearest first.

        Raises
        ------
        ValueError
            If there is no such sample.

        Examples
        --------
        >>> found = rs.inference.locate_differences(*np.random.default_rng(0).normal(size=(2, 30, 5)), k=4)
        >>> found.neighbours(0)["change"].value_counts().to_dict()
        {'lost': 4, 'gained': 4}
        """
        if sample not in self.table.index:
            raise unknown_name("sample", sample, self.table.index[:1000])
        found = self.pairs[self.pairs["sample"] == sample].drop(columns="sample").set_index("neighbour")
        if "class" in self.table:
            found["class"] = self.table.loc[found.index, "class"]
        near = found["rank_x"].where(found["change"] != "gained", found["rank_y"])
        place = found["change"].map({"kept": 0, "lost": 1, "gained": 2})
        return found.iloc[np.lexsort((near, place))]

    def confusion(self) -> NeighbourConfusion:
        """Return the classes of the neighbours of each class, in both representations.

        Returns
        -------
        NeighbourConfusion
            The fractions in x and in y, and their difference.

        Raises
        ------
        ValueError
            If the classes are not known.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> found = rs.inference.locate_differences(*rng.normal(size=(2, 40, 5)), targets=[0, 1] * 20)
        >>> found.confusion().x.sum(axis=1).round(9).tolist()
        [1.0, 1.0]
        """
        if "class" not in self.table:
            raise ValueError("confusion needs the class of each sample. Pass targets=... to locate_differences.")
        own = self.table["class"]
        classes = list(own.cat.categories)
        codes = own.cat.codes.to_numpy()
        rows, columns = (codes[self.table.index.get_indexer(self.pairs[name])] for name in ("sample", "neighbour"))
        many = self.k * np.bincount(codes, minlength=len(classes))

        def fractions(weights: pd.Series) -> pd.DataFrame:
            cells = np.bincount(rows * len(classes) + columns, weights, minlength=len(classes) ** 2)
            return pd.DataFrame(cells.reshape(-1, len(classes)) / many[:, None], classes, classes)

        return NeighbourConfusion(
            fractions(self.pairs["weight_x"]), fractions(self.pairs["weight_y"]), self.names, self.k, self.n
        )

    def by_class(self) -> pd.DataFrame:
        """Return the means of the samples of each class, the class that differs most first.

        Returns
        -------
        DataFrame (classes)
            The number of samples, and the mean displacement, number of kept neighbours and influence.

        Raises
        ------
        ValueError
            If the classes are not known.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> found = rs.inference.locate_differences(*rng.normal(size=(2, 40, 5)), targets=["a", "b"] * 20)
        >>> found.by_class()["samples"].tolist()
        [20, 20]
        """
        if "class" not in self.table:
            raise ValueError("by_class needs the class of each sample. Pass targets=... to locate_differences.")
        grouped = self.table.groupby("class", observed=True)
        means = grouped[[name for name in ("displacement", "kept", "influence") if name in self.table]].mean()
        means.insert(0, "samples", grouped.size())
        return means.sort_values("displacement", ascending=False, kind="stable")

    def _facts(self) -> list[str]:
        """Return what text and HTML show."""
        middle, largest = np.percentile(self.table["displacement"], [50, 100])
        measured = [f"{self.measure} {self.value:.3f}"] if self.value is not None else []
        return [
            f"n = {self.n}",
            *measured,
            f"{self.table['kept'].mean():.1f} of {self.k} neighbours kept (chance {self.chance:.1f})",
            f"displacement: median {middle:.2f}, largest {largest:.2f} (0 same neighbours, 1 unrelated)",
        ]

    def __repr__(self) -> str:
        """Return the facts, and the samples that differ most."""
        first: list[Any] = self.top(5).index.tolist()
        return f"SampleDifferences({' × '.join(self.names)}: {'; '.join(self._facts())}; first samples {first})"

    def _repr_html_(self) -> str:
        page, counts = "inference.SampleDifferences", dict.fromkeys(("kept", "lost", "gained"), "{:.3g}".format)
        digits = counts | {"influence": "{:.1e}".format}
        facts, names = self._facts(), " × ".join(self.names)
        return summarize("SampleDifferences", names, facts, table=self.top(10), page=page, formatters=digits)


def nearest(found: SampleDifferences, sample: Hashable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the neighbours of a sample in x and in y, each the nearest first, as rows of `neighbours`."""
    every = found.neighbours(sample)
    x, y = (every[every["change"] != other] for other in ("gained", "lost"))
    return x.sort_values("rank_x", kind="stable"), y.sort_values("rank_y", kind="stable")
