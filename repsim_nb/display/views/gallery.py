"""The view of a list of samples: thumbnails or sentences, of which one can be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from repsim_nb.support.errors import join_names

from . import View, script, style


class GalleryView(View):
    """Samples in a list that scrolls, as thumbnails or as texts.

    Attributes
    ----------
    samples : list of int
        The rows of the samples that are listed, in order.
    labels, values, notes : list of str
        The name of each, a line below a thumbnail, and lines under the pointer.
    texts : list of str
        The text of each sample; empty if there are thumbnails or nothing to show.
    sheet : str
        The thumbnails below each other, as the address of a PNG; "" if there are none.
    size : int
        The side of a thumbnail in pixels.
    hovered : list of int
        The sample under the pointer.
    chosen : list of int
        The sample of the last click.
    """

    _esm = script("gallery")
    _css = style("gallery")

    samples = traitlets.List(traitlets.Int(), []).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    values = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    notes = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    texts = traitlets.List(traitlets.Unicode(), []).tag(sync=True)
    sheet = traitlets.Unicode("").tag(sync=True)
    size = traitlets.Int(0).tag(sync=True)
    hovered = traitlets.List(traitlets.Int(), []).tag(sync=True)

    def _text(self) -> str:
        return f"{super()._text()}: {join_names(self.labels, 6)}"

    def show(self, samples: Sequence[int], title: str, **columns: Any) -> None:
        """Show these samples; columns: the other attributes, those that are left out are empty."""
        empty: dict[str, Any] = {"labels": [], "values": [], "notes": [], "texts": [], "sheet": "", "size": 0}
        self._set({"samples": list(samples), "title": title, **empty, **columns, "picture": self.picture + 1})
