"""What explorers of samples show of a pair of representations, and how one sample is described."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from repsim_nb.display.plots.images import dataset_images
from repsim_nb.display.plots.sample_differences import CHANGE_COLORS
from repsim_nb.display.plots.tiles import TILE, png_address, tile
from repsim_nb.display.specs import GallerySpec, MapsSpec
from repsim_nb.display.specs.sample_differences import has_class_colors, sample_labels, sample_maps_spec
from repsim_nb.inputs.datasets import Dataset
from repsim_nb.measures import Measure
from repsim_nb.results.embedding.of_samples import align_points, sample_points
from repsim_nb.results.inference import SampleDifferences, locate_differences
from repsim_nb.results.inference.sample_differences import nearest
from repsim_nb.support.progress import Tick
from repsim_nb.support.row_groups import groups_of

LISTED = 60  # samples in a list
_LINKED = 500  # samples at most, whose neighbours and list a report has, too
_MOST_SHEET = 120_000  # bytes of the images of that list
_TEXT = 160  # characters of a sentence in a list
_NEIGHBOURS = 12  # of one sample, on each side


class Options(NamedTuple):
    """Options of `locate_differences`, the largest number of samples, and the seed of maps."""

    k: int = 10
    metric: str = "cosine"
    measure: str | Measure | None = "cka_debiased"
    most: int = 2000
    seed: int = 0


class LocatedDifferences:
    """The differences of a pair, the samples as a data set, and maps of both sides; total: of how many samples."""

    def __init__(
        self, found: SampleDifferences, sides: tuple[Any, Any], dataset: Dataset | None, seed: int, total: int
    ) -> None:
        self.found, self.dataset, self._sides, self._seed, self._total = found, dataset, sides, seed, total
        self._labels = sample_labels(found)
        self._points: dict[str, tuple[tuple[np.ndarray, np.ndarray], tuple[str, str]]] = {}

    @property
    def colors(self) -> list[str]:
        """The columns of the table that points can be colored by."""
        return [*(["class"] if has_class_colors(self.found) else []), "displacement", "kept"]

    def maps(self, kind: str = "pca", color: str | None = None) -> MapsSpec:
        """Return the maps of both sides; the second is rotated so that samples are near where they are in the first."""
        if kind not in self._points:
            (one, first), (other, second) = (sample_points(side, kind, self._seed) for side in self._sides)
            self._points[kind] = (one, align_points(other, one)), (first, second)
        color = color if color in self.colors else self.colors[0]
        shown = sample_maps_spec(self.found, *self._points[kind], color=color)
        maps = shown.maps
        if self.found.n < self._total:
            some = f"n = {self.found.n:,} of {self._total:,}, evenly spaced"
            maps = tuple(replace(one, subtitle=some) for one in maps)
        if self._left_out:  # below both maps, which then have the same height
            maps = tuple(replace(one, footer=f"{one.footer}\n{self._left_out}") for one in maps)
        if self.found.n > _LINKED:
            return replace(shown, maps=maps)
        maps = tuple(replace(one, links=tuple(map(tuple, links))) for one, links in zip(maps, self.links, strict=True))
        return replace(shown, maps=maps, gallery=self.gallery)

    @property
    def _left_out(self) -> str:
        """What a report lacks that has a place in the explorer, and why; "" if it lacks nothing."""
        if self.found.n > _LINKED:
            return f"reports have no list and no neighbours of more than {_LINKED} samples"
        return "" if self.gallery else "reports have no list, since its images are too large"

    @cached_property
    def gallery(self) -> GallerySpec | None:
        """The samples that differ most, for reports; None if their images are too large for a notebook."""
        shown = GallerySpec(**self.listing(self.found.order().tolist(), "displacement"))
        return shown if len(shown.sheet) < _MOST_SHEET else None

    def listing(self, rows: Sequence[int], by: str, which: str = "") -> dict[str, Any]:
        """Return the fields of a GallerySpec of the first of these rows; by: the column that sorts them."""
        first, values = list(rows[:LISTED]), self.found.table[by].to_numpy()
        common = self.found.table["kept"].to_numpy()
        listed = (which or f"{self.found.n} samples") + (f", the first {LISTED}" if len(rows) > LISTED else "")
        images, texts = self.images, self.texts(first)
        sheet = {}
        if images is not None and first:
            sheet = {"sheet": png_address([tile(images[row]) for row in first]), "tile": TILE}
        return {
            "samples": tuple(first),
            "labels": tuple(self.label(row) for row in first),
            "values": tuple(_number(values[row]) for row in first),
            "notes": tuple(f"kept {common[row]:.3g} of {self.found.k} neighbours" for row in first),
            "texts": tuple(f"{_number(values[row])}  {text}" for row, text in zip(first, texts, strict=False)),
            "title": f"{listed}, those that differ most first; the number is the {by}",
            **sheet,
        }

    @cached_property
    def links(self) -> tuple[list[list[int]], list[list[int]]]:
        """The rows of the neighbours of each sample on both sides, the nearest first."""
        pairs, index = self.found.pairs, self.found.table.index
        rows = pd.DataFrame({name: index.get_indexer(pairs[name]) for name in ("sample", "neighbour")})
        sides = []
        for side in ("x", "y"):
            near = rows[(pairs[f"weight_{side}"] > 0).to_numpy()].assign(rank=pairs[f"rank_{side}"])
            near = near.sort_values(["sample", "rank"], kind="stable")
            starts = np.searchsorted(near["sample"], np.arange(1, self.found.n))
            sides.append([part[:_NEIGHBOURS].tolist() for part in np.split(near["neighbour"].to_numpy(), starts)])
        return sides[0], sides[1]

    @cached_property
    def images(self) -> np.ndarray | None:
        """The samples as images; None if they are not images, or not known."""
        return None if self.dataset is None else dataset_images(self.dataset)

    def texts(self, rows: Sequence[int]) -> list[str]:
        """Return these samples as texts; [] if they are not texts."""
        inputs = None if self.dataset is None else self.dataset.inputs
        if not isinstance(inputs, list) or not all(isinstance(inputs[row], str) for row in rows):
            return []
        return [text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…" for text in (inputs[row] for row in rows)]

    def label(self, row: int) -> str:
        """Return the class and the id of a sample."""
        return self._labels[row]

    def describe(self, row: int) -> str:
        """Return a sample and its neighbours on both sides as HTML."""
        own = self.found.table.iloc[row]
        facts = [
            f"rank {own['rank']:.10g} of {self.found.n}",
            f"displacement {own['displacement']:.2f}",
            f"{own['kept']:.3g} of {self.found.k} neighbours kept",
            *(
                [f"influence on {self.found.measure} {own['influence']:+.2g}".replace(" -", " \N{MINUS SIGN}")]
                if "influence" in own
                else []
            ),
        ]
        sides = nearest(self.found, self.found.table.index[row])
        rows = [self._neighbours(name, near) for name, near in zip(self.found.names, sides, strict=True)]
        text = "".join(f" {html.escape(one)}" for one in self.texts([row]))
        key = " &nbsp; ".join(f"{_dot(color)} {change}" for change, color in CHANGE_COLORS.items())
        head = (
            f"<div style='display:flex;gap:10px;align-items:flex-start;flex-wrap:wrap'>{self._picture(row, '#666666')}"
            f"<div><b>{html.escape(self.label(row))}</b>{text}<br>{html.escape('; '.join(facts))}<br>{key}</div></div>"
        )
        return f"<div style='line-height:1.4;margin-top:6px'>{head}{''.join(rows)}</div>"

    def _neighbours(self, name: str, near: pd.DataFrame) -> str:
        places = self.found.table.index.get_indexer(near.index)[:_NEIGHBOURS].tolist()
        colors = [CHANGE_COLORS[change] for change in near["change"]]
        texts = self.texts(places)
        if self.images is not None:
            items = "".join(self._picture(row, color) for row, color in zip(places, colors, strict=False))
            body = f"<div style='display:flex;flex-wrap:wrap;gap:4px'>{items}</div>"
        else:
            words = texts or [""] * len(places)
            lines = (
                f"<li>{_dot(color)} {html.escape(self.label(row))} {html.escape(text)}</li>"
                for row, color, text in zip(places, colors, words, strict=False)
            )
            across = "" if texts else ";display:flex;flex-wrap:wrap;gap:0 14px"  # labels alone are short
            body = f"<ul style='margin:2px 0;padding:0;list-style:none{across}'>{''.join(lines)}</ul>"
        return f"<div style='margin-top:6px'>nearest in {html.escape(name)}</div>{body}"

    def _picture(self, row: int, color: str) -> str:
        if self.images is None:
            return ""
        name = html.escape(self.label(row), quote=True)
        return (
            f"<img src='{png_address([tile(self.images[row])])}' width=56 height=56 alt='{name}' title='{name}'"
            f" style='border:3px solid {color};margin:0'>"
        )


def locate(
    x: Any, y: Any, names: tuple[str, str], dataset: Dataset | None, options: Options, progress: Tick
) -> LocatedDifferences:
    """Locate the differences of a pair; with many samples, of evenly spaced ones."""
    n = min(len(x), len(y))
    rows = None if n <= options.most else np.linspace(0, n - 1, options.most).round().astype(int)
    if dataset is not None and len(dataset) != n:
        dataset = None
    if rows is not None:
        dataset = None if dataset is None else dataset.take(rows, dataset.name)
    sides = (x, y) if rows is None else (x[rows], y[rows])
    known = dataset if dataset is not None and dataset.targets is not None else None
    groups = groups_of(sides[0])
    found = locate_differences(
        *sides,
        k=options.k,
        metric=options.metric,
        measure=options.measure,
        targets=None if known is None else known.targets,
        classes=() if known is None else known.classes,
        groups=range(len(sides[0])) if groups is None else groups,
        ids=rows,
        names=names if names[0] != names[1] else (names[0], f"{names[1]} (again)"),
        progress=progress,
    )
    return LocatedDifferences(found, sides, dataset, options.seed, n)


def _number(value: float) -> str:
    return (f"{value:.2f}" if abs(value) >= 0.095 else f"{value:.2g}").replace("-", "\N{MINUS SIGN}")


def _dot(color: str) -> str:
    return f"<span style='color:{color}'>●</span>"
