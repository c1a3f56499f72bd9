"""Pictures of images: those of a data set, and those that add most to a value."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repsim_nb.support.errors import join_names
from repsim_nb.support.validation import check_integer

from .axes import grid_axes, grid_shape, new_figure, without_markup

if TYPE_CHECKING:
    from repsim_nb.inputs.datasets import Dataset


def as_images(inputs: Any) -> np.ndarray | None:
    """Return inputs of a model (n, ...) as images (n, h, w) or (n, h, w, 3) of uint8; None if they are not images.

    Numbers other than uint8 are scaled: the smallest becomes black, the largest white.
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


def dataset_images(dataset: Dataset) -> np.ndarray | None:
    """Return the inputs of a data set as images; None if they are not images (texts, graphs, named inputs)."""
    inputs = dataset.inputs[:]
    return as_images(inputs) if hasattr(inputs, "dtype") else None


@without_markup
def pictures(
    images: np.ndarray, captions: Sequence[str] = (), *, columns: int = 6, figure: Figure | None = None
) -> list[Axes]:
    """Draw images next to each other, each with its caption below.

    Parameters
    ----------
    images : array (n, h, w) or (n, h, w, 3) of uint8
        The images, in grey or in color, from 0 to 255.
    captions : sequence of str
        One caption for each image; an empty sequence draws none.
    columns : int
        The number of images in a row, at least 1.
    figure : Figure, optional
        The figure to draw in; None creates one. Its size is set to fit the images.

    Returns
    -------
    list of Axes
        One for each image.

    Raises
    ------
    ValueError
        If there are no images, or `columns` is below 1.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> [ax.get_xlabel() for ax in plots.pictures(np.zeros((2, 8, 8), np.uint8), ["one", "two"])]
    ['one', 'two']
    """
    if not len(images):
        raise ValueError("There is no image to draw.")
    rows, columns = grid_shape(columns, len(images))
    figure = new_figure(
        figure, 1.25 * columns, (1.2 + 0.2 * (1 + max((c.count("\n") for c in captions), default=-1))) * rows
    )
    axes = grid_axes(figure, rows, columns, len(images))
    for ax, image, caption in zip(axes, images, captions or [""] * len(images), strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=255)
        ax.set_xlabel(caption, fontsize=8, labelpad=2)
        ax.set_xticks([])
        ax.set_yticks([])
    return axes


@without_markup
def influential(
    dataset: Dataset, values: np.ndarray, *, most: int = 10, columns: int = 5, figure: Figure | None = None
) -> list[Axes]:
    r"""Draw the images with the largest influence on a value, in descending order.

    The caption of an image has its class, or its row if there are no classes, and its influence.

    Parameters
    ----------
    dataset : Dataset
        The images that were recorded. Row i belongs to `values[i]`.
    values : array (n,)
        The influence of each sample, such as `inference.influence` returns.
    most : int
        The number of images to draw, at least 1.
    columns : int
        The number of images in a row, at least 1.
    figure : Figure, optional
        The figure to draw in; None creates one. Its size is set to fit the images.

    Returns
    -------
    list of Axes
        One for each image.

    Raises
    ------
    TypeError
        If `dataset` is not a Dataset.
    ValueError
        If there is not one value for each image, a value is NaN or infinite, or the inputs are not images.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> data = rs.Dataset("mine", np.zeros((3, 8, 8), np.uint8))
    >>> [ax.get_xlabel() for ax in rs.plots.influential(data, np.array([0.1, -0.5, 0.2]), most=2)]
    ['row 1\n−0.5', 'row 2\n+0.2']
    """
    from repsim_nb.inputs.datasets import Dataset  # here: it needs torch, and no other plot does

    if not isinstance(dataset, Dataset):
        raise TypeError(
            "influential needs the images as a Dataset; got"
            f" {type(dataset).__name__}. Convert an array with rs.Dataset('mine', images)."
        )
    values = np.asarray(values, float)
    if len(dataset) != len(values):
        raise ValueError(
            f"values must have one value for each image; '{dataset.name}' has {len(dataset)} images, and there are"
            f" {len(values)} values."
        )
    if not np.isfinite(values).all():
        raise ValueError(
            f"influential sorts images by their values, which must be finite;"
            f" {int((~np.isfinite(values)).sum())} of {len(values)} values are NaN or infinite."
        )
    check_integer(most, "most", minimum=1, hint="the number of images to show")
    order = np.argsort(-np.abs(values), kind="stable")[:most]
    images = dataset_images(dataset.take(order, dataset.name))
    if images is None:
        raise ValueError(
            f"influential draws images; the inputs of '{dataset.name}' are not images. The rows with the largest"
            f" influence are {join_names(order.tolist())}."
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
    fraction = np.abs(values[order]).sum() / np.abs(values).sum() if np.abs(values).sum() else 0
    many = (
        f"{len(order)} samples of {len(values):,} that add"
        if len(order) > 1
        else f"sample of {len(values):,} that adds"
    )
    drawn = axes[0].get_figure(root=True)
    assert drawn is not None
    room = max(12, int(12.5 * drawn.get_figwidth()))  # letters per inch at 9 points
    title = "\n".join(
        textwrap.fill(line, room)
        for line in (f"the {many} most:", f"above 0 the value is higher with them; {fraction:.0%} of all influence")
    )
    drawn.set_figheight(drawn.get_figheight() + 0.2 * (1 + title.count("\n")))
    drawn.suptitle(title, fontsize=9)
    return axes
