"""Pictures: a result goes in, matplotlib Axes come out. Nothing is computed here that is not about drawing.

In every picture bright is alike and dark is unlike, whichever way the measure counts. Every text is shown as it is
written, names and
titles alike: dollar signs begin no formula. A formula of your own: ax.set_title(r"$\\rho$", parse_math=True).
"""

from .colors import MEASURE_COLORS, NETWORK_COLORS, family_of, fixed_color
from .frame import CLASS_COLOURS, COLOURS, MARKERS, colours_of, decimals, figure_png, png
from .grounded import benchmark, sensitivity, specificity
from .lines import band, curves, intervals, null, to_final
from .maps import embedding, embeddings, map_size
from .marking import Marks, is_amount, map_heading, map_trust, marks
from .points import scatter
from .probing import (
    ROUNDS_TO_NOTHING,
    as_pictures,
    confusion,
    confusion_heading,
    confusion_size,
    confusion_titles,
    influential,
    pictures,
    pictures_of,
)
from .tables import (
    answers,
    axis_titles,
    bar_label,
    colour_limits,
    colour_map,
    grid,
    heading,
    heatmap,
    heatmap_size,
    heatmaps,
    samples,
)

__all__ = [
    "CLASS_COLOURS",
    "COLOURS",
    "MARKERS",
    "MEASURE_COLORS",
    "NETWORK_COLORS",
    "ROUNDS_TO_NOTHING",
    "Marks",
    "answers",
    "as_pictures",
    "axis_titles",
    "band",
    "bar_label",
    "benchmark",
    "colour_limits",
    "colour_map",
    "colours_of",
    "confusion",
    "confusion_heading",
    "confusion_size",
    "confusion_titles",
    "curves",
    "decimals",
    "embedding",
    "embeddings",
    "family_of",
    "figure_png",
    "fixed_color",
    "grid",
    "heading",
    "heatmap",
    "heatmap_size",
    "heatmaps",
    "influential",
    "intervals",
    "is_amount",
    "map_heading",
    "map_size",
    "map_trust",
    "marks",
    "null",
    "pictures",
    "pictures_of",
    "png",
    "samples",
    "scatter",
    "sensitivity",
    "specificity",
    "to_final",
]
