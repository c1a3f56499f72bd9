"""GallerySpec: samples in a list, as thumbnails or as texts."""

from __future__ import annotations

from dataclasses import dataclass

from .base import FigureSpec, Labels


@dataclass(frozen=True)
class GallerySpec(FigureSpec):
    """Samples in a list, as thumbnails or as texts, next to maps of the same samples.

    Views and reports show it; pictures of matplotlib leave it out.

    Parameters
    ----------
    samples : tuple of int
        The rows of the samples that are listed, in order.
    labels, values, notes : tuple of str
        The name of each, a line below it, and lines under the pointer.
    texts : tuple of str
        The text of each sample; empty if there are thumbnails or nothing to show.
    sheet : str
        The thumbnails below each other, as the address of a PNG; "" if there are none.
    tile : int
        The side of a thumbnail in pixels.
    title : str
        The line above the list.
    size : (float, float)
        Not used.

    Examples
    --------
    >>> from repsim_nb import specs
    >>> shown = specs.GallerySpec((3, 0), ("c", "a"), ("0.9", "0.2"), title="the two that differ most")
    >>> specs.GallerySpec.from_json(shown.to_json()) == shown
    True
    """

    samples: tuple[int, ...]
    labels: Labels
    values: Labels = ()
    notes: Labels = ()
    texts: Labels = ()
    sheet: str = ""
    tile: int = 0
    title: str = ""
