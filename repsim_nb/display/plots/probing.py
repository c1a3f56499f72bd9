"""Pictures of probes: which class was taken for which, and the images for which it was."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.inputs.datasets import Dataset
from repsim_nb.results.probes import DatasetProbe, Probe, group_breaks
from repsim_nb.support.errors import join_names
from repsim_nb.support.labels import short_labels, values_per_item
from repsim_nb.support.validation import check_integer

from .frame import as_written, new_axes, new_figure, side_by_side
from .tables import ink_on

ROUNDS_TO_NOTHING = 0.005  # shares below are 0.00: their cells stay bare
_LEAST = 5.0  # points, of the smallest text that is written into a cell
_NOUNS = {"model": "network", "dataset": "data set"}
_PROBES = {"linear": "linear SVM", "rbf": "SVM with a Gaussian kernel", "logistic": "logistic regression"}
_SCALINGS = {"pooled": "pooled scaling", "per_set": "each set scaled by itself", None: "no scaling"}


def confusion_size(labels: Sequence[str]) -> tuple[float, float]:
    """Width and height in inches at which a confusion matrix of these classes can be read."""
    side, longest = min(max(0.42 * len(labels), 2.6), 9), max(map(len, labels))
    return max(side + 0.07 * longest + 1.7, 6.2), side + 0.05 * longest + 1.3


def confusion_titles(result: Probe | pd.DataFrame) -> tuple[str, str]:
    """What rows and columns are."""
    one = _noun(result)
    return (
        f"true {one}"
        + (
            ", held-out images"
            if isinstance(result, DatasetProbe)
            else ", held-out"
            if isinstance(result, Probe)
            else ""
        ),
        f"predicted {one}",
    )


def confusion_heading(result: Probe | pd.DataFrame) -> tuple[str, str]:
    """Two lines: how well classes are told apart, beside chance; what told them apart, on how much.

    Of a frame, only what it holds: the mean of its diagonal.
    """
    many, one = len(result) if isinstance(result, pd.DataFrame) else len(result.confusion), _noun(result)
    named = f"{many} {one}{'es' if one == 'class' else 's'}"
    if isinstance(result, pd.DataFrame):
        return f"balanced accuracy {np.diag(result.to_numpy(float)).mean():.3f} (chance {1 / many:.3f})", named
    accuracy = (
        f"held-out balanced accuracy {result.balanced_accuracy:.3f} (chance {result.chance:.3f}, permutation p ="
        f" {result.p_value:.3g})"
    )
    index = result.confusion.index
    layers = index.unique("layer") if "layer" in index.names else []
    how = ", ".join([_PROBES.get(result.probe, result.probe), _SCALINGS.get(result.scaling, str(result.scaling))])
    return (
        accuracy,
        f"{named}{f' at {layers[0]}' if len(layers) == 1 and layers[0] else ''}; {how}; {_counted(result, one)}",
    )


@as_written
def confusion(
    result: Probe | pd.DataFrame, *, by: Any = None, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Which class was taken for which, as shares of each row: bright is many; cells that round to 0.00 stay bare.

    result: what `probes.dataset_bias` or `probes.linear_probe` returns, or a frame of such shares (classes, classes)
    from elsewhere, say a published one.
    by: rows and columns grouped by it, with lines between the groups: a field of the labels ("dataset", "model"),
    {label: value}, or a value a class; None takes the field by which `DatasetProbe.order_by` put them together.
    Errors: ValueError for a frame that holds no shares, an unknown field.
    """
    labels, values, breaks = _grouped(result, by)
    ax = new_axes(ax, *confusion_size(labels))
    image = ax.imshow(values, cmap="viridis", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.95, pad=0.03)  # first, for it takes its room from the axes
    box = ax.get_window_extent()
    width, height = (
        72 * length / ax.figure.dpi / len(labels) for length in (box.width, box.height)
    )  # points, of a cell
    ax.set_yticks(range(len(labels)), labels, fontsize=min(9, max(4, 0.85 * height)))
    ax.set_xticks(range(len(labels)), labels, fontsize=min(9, max(4, 0.85 * width)))
    if max(map(len, labels)) > 3:
        mpl.artist.setp(
            ax.get_xticklabels(),
            rotation=90 if len(labels) > 24 else 45,
            ha="center" if len(labels) > 24 else "right",
            rotation_mode="anchor" if len(labels) <= 24 else None,
        )
    ax.tick_params(length=2)
    for place in breaks:
        ax.axhline(place - 0.5, color="white", linewidth=1.4)
        ax.axvline(place - 0.5, color="white", linewidth=1.4)
    size = min(8, width / 2.5, height / 1.3)
    for i, j in np.argwhere(values >= ROUNDS_TO_NOTHING) if size >= _LEAST else []:
        ax.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=size, color=ink_on(image, values[i, j]))
    down, across = confusion_titles(result)
    ax.set(ylabel=down, xlabel=across)
    ax.set_title(
        (
            title
            if title is not None
            else "\n".join(
                _wrapped(line, _title_room(box.width / ax.figure.dpi, max(map(len, labels))))
                for line in confusion_heading(result)
            )
        ),
        fontsize=10,
    )
    bar.set_label("share of the row" + ("" if size < _LEAST else f" (bare: below {ROUNDS_TO_NOTHING})"), fontsize=9)
    return ax


def _title_room(width: float, longest: int) -> int:
    """How many characters of a title fit above a matrix with labels of so many: it stands over the cells' middle,
    between the labels on its left and the bar on its right.
    """
    beside = 0.07 * longest + 0.5
    return max(30, int((1.55 * width - beside - 1.2 + 2 * min(beside, 1.0)) / 0.072))


def _wrapped(line: str, room: int) -> str:
    """Broken behind a semicolon or before a bracket, and only where that is not enough within a phrase."""
    phrases = (
        line.replace(" ", "\N{NO-BREAK SPACE}")
        .replace(";\N{NO-BREAK SPACE}", "; ")
        .replace("\N{NO-BREAK SPACE}(", " (")
    )
    lines = textwrap.wrap(phrases, room, break_long_words=False, break_on_hyphens=False)
    return "\n".join(textwrap.fill(part.replace("\N{NO-BREAK SPACE}", " "), room) for part in lines)


def _noun(result: Probe | pd.DataFrame) -> str:
    if isinstance(result, pd.DataFrame):
        return "set"
    return _NOUNS.get(str(result.confusion.index.name), "set") if isinstance(result, DatasetProbe) else "class"


def _counted(result: Probe, one: str) -> str:
    """How many rows there were, of each class where all have as many."""
    held, fitted = (rows["true"].value_counts(sort=False) for rows in (result.predictions, result.fitted))
    if held.nunique() == fitted.nunique() == 1:
        return f"n = {held.iloc[0] + fitted.iloc[0]} a {one}, {held.iloc[0]} of them held out"
    return f"n = {result.n_train + result.n_test} rows, {result.n_test} of them held out"


def _grouped(result: Any, by: Any) -> tuple[list[str], np.ndarray, list[int]]:
    """-> (labels, shares, the numbers of the rows before which a line is drawn)"""
    if not isinstance(result, (Probe, pd.DataFrame)):
        raise TypeError(
            f"confusion shows what probes.dataset_bias returns, or a frame of row shares; got {type(result).__name__}"
        )
    frame = result if isinstance(result, pd.DataFrame) else result.confusion
    if list(frame.index) != list(frame.columns) or not len(frame):
        raise ValueError(
            "a confusion matrix has the same classes in its rows and columns, in one order; this frame has"
            f" {len(frame)} rows {list(frame.index)[:3]} … and {frame.shape[1]} columns {list(frame.columns)[:3]} …"
        )
    values = frame.to_numpy(float)
    if not ((values >= 0) & (values <= 1)).all():
        wrong = values[~((values >= 0) & (values <= 1))][0]
        raise ValueError(
            f"a confusion matrix holds the shares of each row, from 0 to 1; this one holds {wrong:g}. Of counts:"
            " frame.div(frame.sum(axis=1), axis=0)"
        )
    labels = short_labels(frame.index) if isinstance(result, pd.DataFrame) else result.labels()
    by = result.ordered_by if by is None and isinstance(result, DatasetProbe) else by
    if by is None:
        return list(labels), values, []
    groups = pd.factorize(values_per_item(frame.index, by, "by"))[0]
    order = np.argsort(groups, kind="stable")
    return [labels[i] for i in order], values[np.ix_(order, order)], group_breaks(groups[order])


def as_pictures(inputs: Any) -> np.ndarray | None:
    """Inputs of a network (n, ...) as pictures (n, h, w) or (n, h, w, 3) of uint8; None where they are none.

    Numbers other than uint8 are stretched, their smallest black.
    """
    array = inputs.detach().cpu().numpy() if hasattr(inputs, "detach") else np.asarray(inputs)
    if array.dtype.kind not in "uif" or array.ndim not in (3, 4) or min(array.shape[1:3]) < 1:
        return None
    if array.ndim == 4 and array.shape[-1] not in (1, 3) and array.shape[1] in (1, 3):
        array = np.moveaxis(array, 1, -1)
    if array.ndim == 4 and array.shape[-1] not in (1, 3):
        return None
    array = array[..., 0] if array.ndim == 4 and array.shape[-1] == 1 else array
    if array.dtype == np.uint8:
        return array
    low, high = array.min(initial=0), array.max(initial=0)
    return np.rint(255 * (array - low) / (high - low if high > low else 1)).astype(np.uint8)


def pictures_of(dataset: Dataset) -> np.ndarray | None:
    """The inputs of a data set as `as_pictures` makes them; None where they are texts or graphs, or come by name."""
    inputs = dataset.inputs[:]
    return as_pictures(inputs) if hasattr(inputs, "dtype") else None


@as_written
def pictures(
    images: np.ndarray, captions: Sequence[str] = (), *, columns: int = 6, figure: Figure | None = None
) -> list[Axes]:
    """Images (n, h, w) or (n, h, w, 3) of uint8 side by side, each above its caption."""
    if not len(images):
        raise ValueError("there are no images to draw")
    rows, columns = side_by_side(columns, len(images))
    figure = new_figure(
        figure, 1.25 * columns, (1.2 + 0.2 * (1 + max((c.count("\n") for c in captions), default=-1))) * rows
    )
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax, image, caption in zip(axes, images, captions or [""] * len(images), strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.set_xlabel(caption, fontsize=8, labelpad=2)
        ax.set_xticks([])
        ax.set_yticks([])
    for ax in axes[len(images) :]:
        ax.remove()
    return axes[: len(images)]


@as_written
def influential(
    dataset: Dataset, values: np.ndarray, *, most: int = 10, columns: int = 5, figure: Figure | None = None
) -> list[Axes]:
    """The images that add most to a value, whichever way, the strongest first: each above its class and what it adds.

    dataset: what was recorded, row by row.  values: of `inference.influence`, (n,).
    Errors: ValueError for another number of images, values that are NaN or infinite, for what is no picture.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"the images come as a Dataset, of arrays rs.Dataset('mine', images); got {type(dataset).__name__}"
        )
    values = np.asarray(values, float)
    if len(dataset) != len(values):
        raise ValueError(
            f"influence is one value a sample; '{dataset.name}' has {len(dataset)} images and {len(values)} values"
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} values are undefined (NaN) or infinite: there is no"
            " order to show them in"
        )
    check_integer(most, "most", minimum=1, hint="the number of images to show")
    order = np.argsort(-np.abs(values), kind="stable")[:most]
    images = pictures_of(dataset.take(order, dataset.name))
    if images is None:
        raise ValueError(
            f"this shows pictures, and the inputs of '{dataset.name}' are none; the rows that add most are"
            f" {join_names(order.tolist())}"
        )
    names = [
        (
            f"{dataset.classes[int(dataset.targets[i])]}\n"
            if dataset.targets is not None and len(dataset.classes)
            else f"row {i}\n"
        )
        for i in order
    ]
    amounts = [f"{values[i]:+.2g}".replace("-", "\N{MINUS SIGN}") for i in order]
    axes = pictures(
        images,
        [name + amount for name, amount in zip(names, amounts, strict=True)],
        columns=min(columns, len(order)),
        figure=figure,
    )
    share = np.abs(values[order]).sum() / np.abs(values).sum() if np.abs(values).sum() else 0
    many = (
        f"{len(order)} samples of {len(values):,} that add"
        if len(order) > 1
        else f"sample of {len(values):,} that adds"
    )
    drawn = axes[0].get_figure(root=True)
    room = max(12, int(12.5 * drawn.get_figwidth()))  # letters an inch at 9 points
    title = "\n".join(
        textwrap.fill(line, room)
        for line in (f"the {many} most:", f"above 0 the value is higher with them; {share:.0%} of all influence")
    )
    drawn.set_figheight(drawn.get_figheight() + 0.2 * (1 + title.count("\n")))
    drawn.suptitle(title, fontsize=9)
    return axes
