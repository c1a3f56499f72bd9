"""What a probe made of rows that it was not fitted to: confusion, accuracy, p-value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.results.inference.results import compare_with_null
from repsim_nb.support.errors import unknown_name
from repsim_nb.support.labels import Labels, short_labels, varying_fields
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_integer


@dataclass(frozen=True, eq=False, repr=False)
class Probe:
    """What a classifier made of rows that it was not fitted to.

    confusion: DataFrame (classes, classes), of each true class (row) the fraction of its held-out rows that was named
    so (column); rows sum to 1.
    balanced_accuracy: the mean of the diagonal, held-out.  chance: what naming at random gives.
    p_value: how often the balanced accuracy is as high when labels are exchanged between images and within them, (1 +
    #) / (permutations + 1).  null: those values.
    predictions: a row a held-out row: `true` and `predicted` (numbers of classes), `sample` (its row number, or the id
    that was given), `image` (one number an image).
    fitted: `true` and `predicted` of the rows that it was fitted to.  n_train, n_test: how many rows those are.
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
        """The fraction of held-out rows named rightly; other than the balanced one where classes differ in size."""
        return float((self.predictions["true"] == self.predictions["predicted"]).mean())

    @property
    def in_sample_balanced_accuracy(self) -> float:
        """On the rows that it was fitted to: how far above the held-out one it is says how much was learned by
        heart.
        """
        return balanced_accuracy(self.fitted["true"].to_numpy(), self.fitted["predicted"].to_numpy())

    @property
    def n_train(self) -> int:
        return len(self.fitted)

    @property
    def n_test(self) -> int:
        return len(self.predictions)

    def labels(self) -> Labels:
        """The names of the classes."""
        return short_labels(self.confusion.index)

    def confused_samples(self, row: int, column: int) -> np.ndarray:
        """Which samples of class number `row` were taken for class number `column`: their ids, without repetition."""
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
    """A probe whose classes are sets of representations: of which model, on which data.

    The levels of the confusion's index are the fields of the keys.

    ordered_by: the field by which `order_by` put its rows together; None is the order in which sets came.
    """

    ordered_by: str | None = None

    def labels(self) -> Labels:
        """Short labels, the data first where it varies: "[test set]_[model]"."""
        fields = sorted(varying_fields(self.confusion.index), key=lambda name: name != "dataset")
        frame = self.confusion.index.to_frame(index=False).astype(str)
        if "dataset" not in fields or len(fields) < 2:
            return super().labels()
        data = frame["dataset"].str.replace(r"/test(\[.*\])?$", "", regex=True)
        frame["dataset"] = data if data.nunique() == frame["dataset"].nunique() else frame["dataset"]
        return tuple("_".join(map(str, row)) for row in frame[fields].itertuples(index=False))

    def by_field(self, field: str) -> DatasetProbe:
        """The same predictions, asked for one field only, with a chance level and a p-value of their own.

        `by_field("model")` names the model, `by_field("dataset")` the data.
        """
        values = self._values(field)
        numbers, names = pd.factorize(values)
        if len(names) < 2:
            raise ValueError(f"naming '{field}' needs two values of it; here all {len(values)} sets have '{names[0]}'")
        found = score(renumber(self.predictions, numbers), pd.Index(names, name=field), len(self.null), self.seed)
        return replace(self, **found, fitted=renumber(self.fitted, numbers), chance=1 / len(names), ordered_by=None)

    def order_by(self, field: str) -> DatasetProbe:
        """The same with rows and columns grouped by a field, values and sets in the order of their first appearance."""
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
        """Before which rows another value of the field begins; none where values have one row each, or come back
        further down.
        """
        return group_breaks(self._values(field))

    def _values(self, field: str) -> pd.Index:
        names = list(self.confusion.index.names)
        if field not in names:
            raise unknown_name(
                "field",
                field,
                names,
                (
                    "Sets whose labels are plain text have no fields: rs.Key(model, layer, dataset) has."
                    if names == ["label"]
                    else ""
                ),
            )
        return self.confusion.index.get_level_values(field)


def group_breaks(values: Any) -> list[int]:
    """Before which places another value begins; none where values have one place each, or come back further down."""
    codes = pd.factorize(values)[0]
    begins = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    return begins.tolist() if len(begins) == codes.max() < len(codes) - 1 else []


def renumber(rows: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    return rows.assign(true=numbers[rows["true"]], predicted=numbers[rows["predicted"]])


def score(predictions: pd.DataFrame, index: pd.Index, n_permutations: int, seed: int) -> dict[str, Any]:
    """Confusion, accuracy and test of these predictions of the classes in `index`."""
    true, predicted = (predictions[column].to_numpy() for column in ("true", "predicted"))
    counts = np.zeros((len(index), len(index)))
    np.add.at(counts, (true, predicted), 1)
    seen = balanced_accuracy(true, predicted)
    null = np.array(
        [
            balanced_accuracy(other, predicted)
            for other in permute_labels(
                true, predictions["image"].to_numpy(), n_permutations, np.random.default_rng(seed)
            )
        ]
    )
    confusion = pd.DataFrame(counts / counts.sum(axis=1, keepdims=True), index=index, columns=index)
    return {
        "confusion": confusion,
        "balanced_accuracy": seen,
        "p_value": compare_with_null(seen, null, "greater").p_value,
        "null": null,
        "predictions": predictions,
    }


def balanced_accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    many = np.bincount(true)
    return float(np.mean(np.bincount(true[true == predicted], minlength=len(many))[many > 0] / many[many > 0]))


def permute_labels(true: np.ndarray, image: np.ndarray, times: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Labels as they might as well be if rows told nothing of them: rows of one image are no independent rows, so an
    image takes the label of another; where it has several, those of one that occurs as often, in any order.
    """
    number = pd.factorize(image)[0]
    own = np.zeros(number.max() + 1, dtype=true.dtype)
    own[number] = true
    if (own[number] == true).all():  # one label an image, however often it occurs
        for _ in range(times):
            yield rng.permutation(own)[number]
        return
    order = np.argsort(image, kind="stable")
    many = np.unique(image, return_counts=True)[1]
    ends = np.cumsum(many)
    blocks = [order[(ends[many == size] - size)[:, None] + np.arange(size)] for size in np.unique(many)]
    for _ in range(times):
        other = np.empty_like(true)
        for rows in blocks:
            other[rows] = rng.permuted(true[rows][rng.permutation(len(rows))], axis=1)
        yield other
