"""MatrixSpec of a probe: which class was predicted for which."""

from __future__ import annotations

import numpy as np
import pandas as pd

from repsim_nb.results.probes import DatasetProbe, Probe, group_breaks
from repsim_nb.support.labels import Choice, short_labels, values_per_item

from .base import spec
from .matrices import MatrixSpec, Ticks, cells

SMALLEST_SHOWN = 0.005  # smaller fractions are 0.00: their cells have no text
_NOUNS = {"model": "model", "dataset": "data set"}
_PROBES = {"linear": "linear SVM", "rbf": "SVM with a Gaussian kernel", "logistic": "logistic regression"}
_SCALINGS = {"pooled": "pooled scaling", "per_set": "each set scaled by itself", None: "no scaling"}


@spec.register
def probe_spec(result: Probe, *, by: Choice | None = None, title: str | None = None) -> MatrixSpec:
    """Return the spec of the confusion matrix of a probe; options as for `plots.confusion`."""
    bias = isinstance(result, DatasetProbe)
    one = _NOUNS.get(str(result.confusion.index.name), "set") if bias else "class"
    index = result.confusion.index
    layers = index.unique("layer") if "layer" in index.names else []
    where = f" at {layers[0]}" if len(layers) == 1 and layers[0] else ""
    how = f"{_PROBES.get(result.probe, result.probe)}, {_SCALINGS.get(result.scaling, str(result.scaling))}"
    return _confusion_spec(
        result.confusion,
        result.labels(),
        result.ordered_by if by is None and isinstance(result, DatasetProbe) else by,
        (f"true {one}, held-out{' images' if bias else ''}", f"predicted {one}"),
        (
            f"held-out balanced accuracy {result.balanced_accuracy:.3f} (chance {result.chance:.3f}, permutation p ="
            f" {result.p_value:.3g})",
            f"{_number_of(one, len(index))}{where}; {how}; {_row_counts(result, one)}",
        ),
        title,
    )


def confusion_frame_spec(frame: pd.DataFrame, *, by: Choice | None = None, title: str | None = None) -> MatrixSpec:
    """Return the spec of a frame of fractions (classes, classes); options as for `plots.confusion`."""
    if list(frame.index) != list(frame.columns) or not len(frame):
        raise ValueError(
            "A confusion matrix must have the same classes in its rows and columns, in the same order; got"
            f" {len(frame)} rows {list(frame.index)[:3]} … and {frame.shape[1]} columns {list(frame.columns)[:3]} …"
        )
    values = frame.to_numpy(float)
    wrong = values[~((values >= 0) & (values <= 1))]
    if wrong.size:
        raise ValueError(
            f"A confusion matrix must have fractions of each row, from 0 to 1; got {wrong[0]:g}. Convert counts with"
            " frame.div(frame.sum(axis=1), axis=0)."
        )
    accuracy = f"balanced accuracy {np.diag(values).mean():.3f} (chance {1 / len(frame):.3f})"
    heading = (accuracy, _number_of("set", len(frame)))
    return _confusion_spec(frame, short_labels(frame.index), by, ("true set", "predicted set"), heading, title)


def _confusion_spec(
    frame: pd.DataFrame,
    names: tuple[str, ...],
    by: Choice | None,
    axes: tuple[str, str],
    heading: tuple[str, str],
    title: str | None,
) -> MatrixSpec:
    values, order, breaks = frame.to_numpy(float), np.arange(len(frame)), tuple[int, ...]()
    if by is not None:
        groups = pd.factorize(values_per_item(frame.index, by, "by"))[0]
        order = np.argsort(groups, kind="stable")
        breaks = tuple(group_breaks(groups[order]))
    values, labels = values[np.ix_(order, order)], tuple(names[i] for i in order)
    side, longest = min(max(0.42 * len(labels), 2.6), 9), max(map(len, labels))
    return MatrixSpec(
        values=cells(values),
        row_labels=labels,
        column_labels=labels,
        row_title=axes[0],
        column_title=axes[1],
        title=heading[0] if title is None else title,
        subtitle=heading[1] if title is None else "",
        bar_label="fraction of the row",
        texts=tuple(tuple(f"{value:.2f}" if value >= SMALLEST_SHOWN else "" for value in row) for row in values),
        bare_below=SMALLEST_SHOWN,
        row_breaks=breaks,
        column_breaks=breaks,
        ticks=Ticks(all=True, smallest=4, slanted_from=4, upright_from=25),
        wrap=title is None,
        size=(max(side + 0.07 * longest + 1.7, 6.2), side + 0.05 * longest + 1.3),
    )


def _number_of(one: str, many: int) -> str:
    return f"{many} {one}{'es' if one == 'class' else 's'}"


def _row_counts(result: Probe, one: str) -> str:
    """Return the number of rows in words, per class if all classes have the same number."""
    held, fitted = (rows["true"].value_counts(sort=False) for rows in (result.predictions, result.fitted))
    if held.nunique() == fitted.nunique() == 1:
        return f"n = {held.iloc[0] + fitted.iloc[0]} a {one}, {held.iloc[0]} of them held out"
    return f"n = {result.n_train + result.n_test} rows, {result.n_test} of them held out"
