r"""Figures: each function draws a result (or its spec) with matplotlib and returns the Axes.

In a heatmap, bright cells are similar and dark cells dissimilar, for similarities and for dissimilarities. Texts are
shown character by character: dollar signs do not begin a formula. To write a formula into a figure, use
`ax.set_title(r"$\rho$", parse_math=True)`.
"""

from repsim_nb.display.specs.colors import COLORS, MEASURE_COLORS, MODEL_COLORS, fixed_color

from .drawing import draw, png
from .grounding import benchmark, sensitivity, specificity
from .images import influential, pictures
from .lines import band, curves, intervals, null, scatter, to_final
from .maps import embedding, embeddings
from .matrices import answers, confusion, grid, heatmap, heatmaps, samples
from .sample_differences import differences, neighbour_confusion, neighbours

__all__ = [
    "COLORS",
    "MEASURE_COLORS",
    "MODEL_COLORS",
    "answers",
    "band",
    "benchmark",
    "confusion",
    "curves",
    "differences",
    "draw",
    "embedding",
    "embeddings",
    "fixed_color",
    "grid",
    "heatmap",
    "heatmaps",
    "influential",
    "intervals",
    "neighbour_confusion",
    "neighbours",
    "null",
    "pictures",
    "png",
    "samples",
    "scatter",
    "sensitivity",
    "specificity",
    "to_final",
]
