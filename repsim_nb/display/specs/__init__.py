"""Specs: what a figure shows, decided once from a result as a frozen value that every renderer reads."""

from .base import FigureSpec, ImageSpec, Spec, spec
from .colors import CLASS_COLORS, COLORS, MARKERS, MEASURE_COLORS, MODEL_COLORS, family_of, fixed_color
from .confusions import confusion_frame_spec, probe_spec
from .maps import MapSpec, embedding_spec, embedding_specs, is_amount
from .matrices import MatrixSpec, Ticks, answers_spec, comparison_spec, grid_spec, null_table_spec, samples_specs

__all__ = [
    "CLASS_COLORS",
    "COLORS",
    "MARKERS",
    "MEASURE_COLORS",
    "MODEL_COLORS",
    "FigureSpec",
    "ImageSpec",
    "MapSpec",
    "MatrixSpec",
    "Spec",
    "Ticks",
    "answers_spec",
    "comparison_spec",
    "confusion_frame_spec",
    "embedding_spec",
    "embedding_specs",
    "family_of",
    "fixed_color",
    "grid_spec",
    "is_amount",
    "null_table_spec",
    "probe_spec",
    "samples_specs",
    "spec",
]
