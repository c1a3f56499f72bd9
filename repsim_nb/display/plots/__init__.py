"""Pictures: a result (or its spec) goes in, matplotlib Axes come out. Nothing is computed here except for drawing.

In every picture bright is alike and dark is unlike, whichever way the measure counts. Every text is shown as it is
written: dollar signs begin no formula. A formula of your own: ax.set_title(r"$\\rho$", parse_math=True).
"""

from repsim_nb.display.specs.colors import COLORS, MEASURE_COLORS, MODEL_COLORS, fixed_color

from .drawing import draw, png
from .grounded import benchmark, sensitivity, specificity
from .images import influential, pictures
from .line_plots import band, curves, intervals, null, scatter, to_final
from .maps import embedding, embeddings
from .matrices import answers, confusion, grid, heatmap, heatmaps, samples

__all__ = [
    "COLORS",
    "MEASURE_COLORS",
    "MODEL_COLORS",
    "answers",
    "band",
    "benchmark",
    "confusion",
    "curves",
    "draw",
    "embedding",
    "embeddings",
    "fixed_color",
    "grid",
    "heatmap",
    "heatmaps",
    "influential",
    "intervals",
    "null",
    "pictures",
    "png",
    "samples",
    "scatter",
    "sensitivity",
    "specificity",
    "to_final",
]
