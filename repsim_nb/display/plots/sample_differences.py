"""Pictures of where two representations differ: samples by displacement, classes of neighbours, images of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from repsim_nb.display.specs import LineSpec, MatrixSpec, spec
from repsim_nb.display.specs.colors import COLORS
from repsim_nb.results.inference import NeighbourConfusion, SampleDifferences
from repsim_nb.results.inference.sample_differences import nearest
from repsim_nb.support.errors import join_names
from repsim_nb.support.validation import check_integer

from .axes import drop_none, expect, new_axes, without_markup
from .drawing import draw
from .images import dataset_images
from .tiles import TILE, tile

if TYPE_CHECKING:
    from repsim_nb.inputs.datasets import Dataset

CHANGE_COLORS = {"kept": COLORS[2], "lost": COLORS[1], "gained": COLORS[3]}
_EDGE, _GAP = 4, 6  # pixels


def differences(result: SampleDifferences | LineSpec, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw the displacement of all samples, those that differ most first.

    The dashed line is the expected displacement of unrelated representations.

    Parameters
    ----------
    result : SampleDifferences or LineSpec
        What `inference.locate_differences` returns. Up to 12 classes have colors.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    title : str, optional
        The title. None shows the names, and how many neighbours are kept.

    Returns
    -------
    Axes
        The axes with the points.

    Raises
    ------
    TypeError
        If `result` is not a SampleDifferences.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> x, y = np.random.default_rng(0).normal(size=(2, 30, 5))
    >>> rs.plots.differences(rs.inference.locate_differences(x, y)).get_ylabel()
    'displacement of the neighbours'
    """
    expect(result, (SampleDifferences, LineSpec), "differences draws what inference.locate_differences returns")
    return draw(spec(result, **drop_none(title=title)), ax=ax)


def neighbour_confusion(
    result: NeighbourConfusion | MatrixSpec,
    *,
    side: str = "difference",
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the classes of the neighbours of each class, or the difference between two representations.

    Parameters
    ----------
    result : NeighbourConfusion or MatrixSpec
        What `SampleDifferences.confusion` returns.
    side : {"difference", "x", "y"}
        The fractions in one representation, or those in y minus those in x: purple cells have more neighbours in y,
        orange cells fewer.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    title : str, optional
        The title. None shows the names of the representations.

    Returns
    -------
    Axes
        The axes with the matrix.

    Raises
    ------
    TypeError
        If `result` is not a NeighbourConfusion.
    ValueError
        If `side` is unknown.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> x, y = np.random.default_rng(0).normal(size=(2, 30, 5))
    >>> found = rs.inference.locate_differences(x, y, targets=[0, 1, 2] * 10)
    >>> rs.plots.neighbour_confusion(found.confusion()).get_xlabel()
    'class of its neighbours'
    """
    expect(
        result, (NeighbourConfusion, MatrixSpec), "neighbour_confusion draws what SampleDifferences.confusion returns"
    )
    options = {"side": side} if isinstance(result, NeighbourConfusion) else {}
    return draw(spec(result, **options, **drop_none(title=title)), ax=ax)


@without_markup
def neighbours(
    dataset: Dataset,
    result: SampleDifferences,
    samples: Sequence[Hashable] | None = None,
    *,
    most: int = 6,
    ax: Axes | None = None,
) -> Axes:
    """Draw images next to their nearest neighbours in two representations.

    The frame of a neighbour has the color of its change: green if it is among the neighbours in both representations,
    orange if it is lost, pink if it is gained.

    Parameters
    ----------
    dataset : Dataset
        The images that were recorded. Row i is sample i.
    result : SampleDifferences
        What `inference.locate_differences` returns.
    samples : sequence of labels, optional
        The samples to draw, one in each row. None takes the six that differ most.
    most : int
        The number of neighbours to draw on each side, at least 1.
    ax : Axes, optional
        The axes to draw on; None creates a figure.

    Returns
    -------
    Axes
        The axes with the images.

    Raises
    ------
    TypeError
        If `dataset` or `result` is of another kind.
    ValueError
        If the inputs are not images, there is not one for each sample, or a sample is unknown.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> data = rs.Dataset("mine", rng.integers(0, 256, (30, 8, 8)).astype(np.uint8))
    >>> found = rs.inference.locate_differences(*rng.normal(size=(2, 30, 5)), measure=None)
    >>> len(rs.plots.neighbours(data, found, [3, 7]).get_yticklabels())
    2
    """
    from repsim_nb.inputs.datasets import Dataset  # here: it needs torch, and few other plots do

    expect(dataset, (Dataset,), "neighbours needs the images as a Dataset")
    expect(result, (SampleDifferences,), "neighbours draws what inference.locate_differences returns")
    check_integer(most, "most", minimum=1, hint="the number of neighbours to show")
    if len(dataset) != result.n:
        raise ValueError(
            f"dataset must have one image for each sample; '{dataset.name}' has {len(dataset)}, and there are"
            f" {result.n} samples."
        )
    chosen = list(result.top(6).index if samples is None else samples)
    if not chosen:
        raise ValueError("neighbours needs at least one sample to draw; got none.")
    rows = []
    for sample in chosen:
        x, y = nearest(result, sample)
        rows.append((sample, x.head(most), y.head(most)))
    sheet = _Sheet(dataset, result, rows, most)
    ax = new_axes(ax, 0.62 * (2 * most + 2), 0.62 * len(rows) + 0.7)
    ax.imshow(sheet.pixels, interpolation="none")
    ax.set_yticks(sheet.middles, [_name(result, sample) for sample in chosen], fontsize=8)
    ax.set_xticks(sheet.titles, [f"nearest in {name}" for name in result.names], fontsize=9)
    ax.tick_params(length=0)
    ax.xaxis.tick_top()
    ax.spines[:].set_visible(False)
    ax.set_xlabel("green: neighbour in both    orange: lost    pink: gained", fontsize=8)
    return ax


def _name(result: SampleDifferences, sample: Hashable) -> str:
    own = result.table.loc[sample]
    label = f"{own['class']} ({sample})" if "class" in result.table else str(sample)
    return f"{label}\n{own['displacement']:.2f}"


class _Sheet:
    """Tiles of images as one picture: pixels, the middle of each row, and the middles of the two blocks."""

    def __init__(
        self,
        dataset: Dataset,
        result: SampleDifferences,
        rows: list[tuple[Hashable, pd.DataFrame, pd.DataFrame]],
        most: int,
    ) -> None:
        size, index = TILE + 2 * _EDGE + _GAP, result.table.index
        labels = [label for sample, x, y in rows for label in (sample, *x.index, *y.index)]
        places = dict.fromkeys(index.get_indexer(labels).tolist())
        images = dataset_images(dataset.take(list(places), dataset.name))
        if images is None:
            raise ValueError(
                f"neighbours draws images; the inputs of '{dataset.name}' are not images. The samples that differ most"
                f" are {join_names(result.top(6).index.tolist())}."
            )
        tiles = dict(zip(places, map(tile, images), strict=True))
        starts = [0, size + _GAP, size + 2 * _GAP + most * size]
        self.pixels = np.full((size * len(rows), starts[2] + most * size, 3), 255, np.uint8)
        self.middles = [size * row + size // 2 for row in range(len(rows))]
        self.titles = [start + most * size // 2 for start in starts[1:]]
        for row, (sample, x, y) in enumerate(rows):
            for start, block in zip(starts, ([(sample, "")], x["change"].items(), y["change"].items()), strict=True):
                for column, (label, change) in enumerate(block):
                    top, left = size * row, start + size * column
                    frame = 255 * np.array(to_rgb(CHANGE_COLORS.get(str(change), "0.2")))
                    self.pixels[top : top + size - _GAP, left : left + size - _GAP] = frame
                    at = slice(top + _EDGE, top + _EDGE + TILE), slice(left + _EDGE, left + _EDGE + TILE)
                    self.pixels[at] = tiles[index.get_loc(label)]
