"""Specs: what a figure shows, decided once from a result as a frozen value that every renderer reads.

`rs.spec(result)` returns the spec of a result; `plots.draw`, the explorers and reports show it. A spec can be edited
with `dataclasses.replace`, and stored as JSON with `to_json` and `from_json`. Colors are in `plots`.
"""

from . import confusions, grounding, layer_lines, rdms, sample_differences  # noqa: F401  (their functions are registered with `spec`)
from .base import FigureSpec, ImageSpec, Spec, spec
from .differences import difference_spec
from .galleries import GallerySpec
from .lines import Layer, LineSpec, PanelsSpec
from .maps import MapSpec, MapsSpec
from .matrices import MatrixSpec, Ticks

__all__ = [
    "FigureSpec",
    "GallerySpec",
    "ImageSpec",
    "Layer",
    "LineSpec",
    "MapSpec",
    "MapsSpec",
    "MatrixSpec",
    "PanelsSpec",
    "Spec",
    "Ticks",
    "difference_spec",
    "spec",
]
