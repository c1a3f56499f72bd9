"""Specs: what a figure shows, decided once from a result as a frozen value that every renderer reads."""

from .base import FigureSpec, ImageSpec, Spec, spec
from .colors import CLASS_COLORS, COLORS, MARKERS, MEASURE_COLORS, MODEL_COLORS, family_of, fixed_color
from .confusions import confusion_frame_spec, probe_spec
from .grounded import benchmark_spec, sensitivity_spec, specificity_spec
from .lines import Layer, LineSpec, PanelsSpec, band_spec, curves_spec, intervals_spec, permutation_test_spec
from .maps import MapSpec, embedding_spec, embedding_specs, is_amount
from .matrices import MatrixSpec, Ticks, answers_spec, comparison_spec, grid_spec, null_table_spec, samples_specs
from .scatter import scatter_spec
from .to_final import to_final_spec

__all__ = [
    "CLASS_COLORS",
    "COLORS",
    "MARKERS",
    "MEASURE_COLORS",
    "MODEL_COLORS",
    "FigureSpec",
    "ImageSpec",
    "Layer",
    "LineSpec",
    "MapSpec",
    "MatrixSpec",
    "PanelsSpec",
    "Spec",
    "Ticks",
    "answers_spec",
    "band_spec",
    "benchmark_spec",
    "comparison_spec",
    "confusion_frame_spec",
    "curves_spec",
    "embedding_spec",
    "embedding_specs",
    "family_of",
    "fixed_color",
    "grid_spec",
    "intervals_spec",
    "is_amount",
    "null_table_spec",
    "permutation_test_spec",
    "probe_spec",
    "samples_specs",
    "scatter_spec",
    "sensitivity_spec",
    "spec",
    "specificity_spec",
    "to_final_spec",
]
