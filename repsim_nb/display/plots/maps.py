"""Pictures of maps: points whose distances stand for dissimilarities."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Annotation

from repsim_nb.display.specs import MapSpec, MapsSpec, spec
from repsim_nb.display.specs.colors import NEUTRAL
from repsim_nb.display.specs.maps import embedding_specs
from repsim_nb.results.embedding import Embedding
from repsim_nb.support.labels import Choice

from .axes import drop_none, expect, grid_axes, grid_shape, legend, new_axes, new_figure, remove_axes, without_markup
from .clear_labels import spread
from .drawing import draw
from .wrapping import wrap_footer

_HALO = (patheffects.withStroke(linewidth=2.2, foreground="white"),)
_RING = "#222222"
_AREA = {"D": 0.8, "P": 1.5, "X": 1.4, "*": 1.9, "^": 1.15, "v": 1.15}  # so that marks of all shapes look equally large


def embedding(
    result: Embedding | MapSpec,
    *,
    ax: Axes | None = None,
    color: Choice | None = None,
    shape: Choice | None = None,
    path: str | None = None,
    until: float | None = None,
    labels: bool | str | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a map of representations: near points are similar.

    The text below the map describes how well its distances match the dissimilarities.

    Parameters
    ----------
    result : Embedding or MapSpec
        The map, such as `rs.embedding.mds` returns. Points that were added to the map later have a ring.
    ax : Axes, optional
        The axes to draw on; None creates a figure.
    color, shape : str, dict, Series or sequence, optional
        The group of each point, shown by its color or its marker: a field of the labels ("model"), {model: group}, a
        Series by model, or one group for each point. There are at most 12 groups with a color and 8 with a shape.
    path : str, optional
        A field of the labels. Points with the same value are joined by a line, in the order of their steps. The first
        point is open.
    until : float, optional
        The last step that is shown. The limits of the axes do not depend on it.
    labels : bool or str, optional
        Whether to write the label of each point, or the one field of it to write ("layer"). With a path, True writes
        the name of each path at its end. None writes labels if there is room for them.
    title : str, optional
        The title. None shows the measure, method, data and number of samples.

    Returns
    -------
    Axes
        The axes with the map. Both axes have the same unit.

    Raises
    ------
    TypeError
        If `result` is not an Embedding.
    ValueError
        If a field is unknown, a model or point has no group, there are too many groups, or no point is left up to
        `until`.

    Notes
    -----
    Numbers with more than 8 different values are drawn on a continuous color scale. Classes 0, 1, ..., 11 are groups.
    Families of models have fixed colors. If all points have the same step, a path joins them in their own order. If
    `labels` is None, the map has the names of paths that are not in the legend, or the labels of at most 12 points.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"{model}/fc": rng.normal(size=(20, 3)) for model in "abc"})
    >>> ax = rs.plots.embedding(rs.embedding.mds(rs.compare("cka", x)), color="model")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['model', 'a', 'b', 'c']
    """
    expect(result, (Embedding, MapSpec), "embedding draws an Embedding (from rs.embedding.mds)")
    options = drop_none(color=color, shape=shape, path=path, until=until, labels=labels, title=title)
    return draw(spec(result, **options), ax=ax)


def embeddings(
    results: Sequence[Embedding],
    *,
    columns: int = 3,
    titles: Sequence[str] | None = None,
    figure: Figure | None = None,
    **options: Any,
) -> list[Axes]:
    """Draw several maps with one legend.

    Each group has the same color and shape on all maps.

    Parameters
    ----------
    results : sequence of Embedding
        The maps, such as `rs.embedding.mds` returns.
    columns : int
        The number of maps in a row, at least 1.
    titles : sequence of str, optional
        One title for each map. None shows the measure and method of each.
    figure : Figure, optional
        The figure to draw in; None creates one. Its size is set to fit the maps.
    **options
        `color`, `shape`, `path`, `until` and `labels` as for `embedding`. Names of more than 8 paths are written only
        if `labels` is given.

    Returns
    -------
    list of Axes
        One for each map.

    Raises
    ------
    TypeError
        If an item of `results` is not an Embedding.
    ValueError
        If there is no map, there is not one title for each map, or an option is wrong; see `embedding`.

    Notes
    -----
    Maps of one measure have the same scale: one unit of dissimilarity has the same length on all of them. A t-SNE map
    has no unit, and its own scale.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rng = np.random.default_rng(0)
    >>> x = rs.from_arrays({f"{model}/fc": rng.normal(size=(20, 3)) for model in "abc"})
    >>> maps = [rs.embedding.mds(rs.compare(name, x)) for name in ("cka", "procrustes")]
    >>> [ax.get_title() for ax in rs.plots.embeddings(maps, titles=["CKA", "Procrustes"], color="model")]
    ['CKA', 'Procrustes']
    """
    results = [results] if isinstance(results, Embedding) else list(results)
    for result in results:
        expect(result, (Embedding,), "embeddings draws a list of Embeddings (from rs.embedding.mds)")
    if not results:
        raise ValueError("There is no map to draw: pass a list of Embeddings (from rs.embedding.mds).")
    if titles is not None and len(titles) != len(results):
        raise ValueError(f"titles must have one title for each map; got {len(titles)} titles and {len(results)} maps.")
    return draw_maps(embedding_specs(results, titles=titles, **options), columns=columns, figure=figure)


# -- the painter


@draw.register
def draw_map(shown: MapSpec, *, ax: Axes | None = None) -> Axes:
    """Draw a map as its spec describes it."""
    ax, written = _one(shown, ax=ax)
    spread([ax], [written])
    return ax


@draw.register
def draw_first_map(shown: MapsSpec, *, ax: Axes | None = None) -> Axes:
    """Draw several maps into the figure of `ax`, in its place; return the first."""
    return draw_maps(shown.maps, figure=remove_axes(ax))[0]


def draw_maps(shown: Sequence[MapSpec], *, columns: int = 3, figure: Figure | None = None) -> list[Axes]:
    """Draw several maps that share their legend."""
    axes, written = _several(shown, columns, figure=figure)
    spread(axes, written)
    if shown[0].scale is not None:  # the first pass of the layout does not know how high axes of equal units become
        whole = axes[0].get_figure(root=True)
        assert whole is not None  # drawn axes have a figure
        whole.draw_without_rendering()
    return axes


@without_markup
def _one(shown: MapSpec, *, ax: Axes | None) -> tuple[Axes, list[Annotation]]:
    """Draw a map and return its labels, which are spread when the layout is finished."""
    ax = new_axes(ax, *shown.size)
    written = _draw(ax, shown)
    lines = "\n".join([shown.title, shown.subtitle, shown.remark]).strip("\n").split("\n")
    room = 70 if shown.remark else 62
    ax.set_title("\n".join(textwrap.fill(line, room) for line in lines if line), fontsize=11)
    ax.set_xlabel(f"{shown.meaning}\n{wrap_footer(shown.footer, 84)}", fontsize=9)
    ax.set_aspect("equal", adjustable="datalim")
    handles = _handles([shown])
    legend(ax, handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9, handletextpad=0.4)
    if shown.scale is not None and handles:  # below the legend
        _bar(ax.figure, shown, cax=ax.inset_axes((1.04, 0.01, 0.035, max(0.25, 0.88 - 0.047 * len(handles)))))
    elif shown.scale is not None:
        _bar(ax.figure, shown, ax=ax, shrink=0.8, pad=0.02, aspect=28)
    return ax, written


@without_markup
def _several(
    shown: Sequence[MapSpec], columns: int, *, figure: Figure | None
) -> tuple[list[Axes], list[list[Annotation]]]:
    """Draw maps and return the labels of each, which are spread when the layout is finished."""
    rows, columns = grid_shape(columns, len(shown))
    limits = _limits(shown)
    tallest = max((high[1] - low[1]) / (high[0] - low[0]) for low, high in limits)
    width = 3.9 if columns > 2 else 4.6
    figure = new_figure(figure, columns * width + 1.9, rows * (width * 0.86 * tallest + 1.35), pad=0.1)
    axes, written = grid_axes(figure, rows, columns, len(shown)), []
    for ax, one, (low, high) in zip(axes, shown, limits, strict=True):
        written.append(_draw(ax, one))
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ax.set_aspect("equal", adjustable="box")
        lines = [textwrap.fill(line, 44) for line in (one.title, one.subtitle) if line]
        ax.set_title("\n".join(lines), fontsize=10)
        ax.set_xlabel(f"{one.meaning}\n{wrap_footer(one.footer, 54)}", fontsize=8)
    if shown[0].scale is not None:
        _bar(figure, shown[0], ax=axes, shrink=0.8, pad=0.02, aspect=28)
    legend(figure, _handles(shown), loc="outside right upper", frameon=False, fontsize=9, handletextpad=0.4)
    return axes, written


def _limits(shown: Sequence[MapSpec]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the lower left and upper right corner of each map.

    Maps with the same unit have the same scale, and no map is much wider than high.
    """
    boxes = [(np.min(one.points, axis=0), np.max(one.points, axis=0)) for one in shown]
    sizes = np.array([high - low for low, high in boxes])
    for unit in {one.unit for one in shown} - {None}:  # what has no unit has a scale of its own
        same = [i for i, one in enumerate(shown) if one.unit == unit]
        sizes[same] = sizes[same].max(axis=0, initial=0)
    sizes *= 1.2
    # of all maps: boxes of one shape are in line
    ratio = np.clip(np.max(sizes[:, 1] / sizes[:, 0].clip(1e-9)), 0.66, 1.0)
    sizes[:, 0] = np.maximum(np.maximum(sizes[:, 0], sizes[:, 1] / ratio), 1e-9)
    sizes[:, 1] = sizes[:, 0] * ratio
    return [((low + high - size) / 2, (low + high + size) / 2) for (low, high), size in zip(boxes, sizes, strict=True)]


def _draw(ax: Axes, shown: MapSpec) -> list[Annotation]:
    """Draw paths, points and rings, and return the labels, which are spread later."""
    points, visible = np.array(shown.points), np.array(shown.shown)
    size = float(np.clip(62 * np.sqrt(30 / len(points)), 13, 62))
    colors = np.array(shown.colors)
    sizes, fills = np.full(len(points), size), colors.copy()
    edges, widths = np.full(len(points), "#ffffff"), np.full(len(points), 0.7 if size > 30 else 0.4)
    if shown.runs:
        sizes[:] = min(size, 26)
    for run in shown.runs:
        rows = [i for i in run if visible[i]]
        if rows:
            _join(ax, points, rows, shown)
            sizes[[rows[0], rows[-1]]] = 58
        if len(rows) > 1:
            fills[rows[0]], edges[rows[0]], widths[rows[0]] = "#ffffff", colors[rows[0]], 1.6
    if shown.scale is not None:
        edges[edges == "#ffffff"] = "#555555"  # the bright end of a scale can be seen on white by its rim
    new = np.isin(np.arange(len(points)), shown.ringed)
    order = np.argsort(sizes, kind="stable")  # small marks of a path below its start and end
    for marker, placed in itertools.product(dict.fromkeys(shown.shapes), (False, True)):  # placed points are on top
        rows = [i for i in order if shown.shapes[i] == marker and visible[i] and new[i] == placed]
        if rows:
            ax.scatter(
                points[rows, 0],
                points[rows, 1],
                s=sizes[rows] * _AREA.get(marker, 1),
                facecolor=fills[rows],
                edgecolor=edges[rows],
                linewidth=widths[rows],
                marker=marker,
                zorder=3 + placed / 2,
            )
    ax.update_datalim(points)  # also those that are not shown: the frame stays
    ax.autoscale_view()
    ringed = np.flatnonzero(visible & new)
    if len(ringed):
        ax.scatter(
            points[ringed, 0],
            points[ringed, 1],
            s=np.maximum(sizes[ringed] * 4, 130),
            facecolor="none",
            edgecolor=_RING,
            linewidth=1.3,
            zorder=4,
            gid="ring",
        )
    ax.margins(0.12)
    ax.grid(True, color="0.93", zorder=0)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=8, length=2, color="0.6")
    ax.spines[:].set_color("0.75")
    style: dict[str, Any] = {
        "fontsize": 8 if len(shown.names) <= 20 else 7 if len(shown.names) <= 45 else 6.2,
        "color": "0.15",
    }
    style |= {"textcoords": "offset points", "ha": "center", "va": "center", "zorder": 5, "path_effects": _HALO}
    return [ax.annotate(text, points[i], xytext=(0, 0), **style) for i, text in shown.names]


def _join(ax: Axes, points: np.ndarray, rows: list[int], shown: MapSpec) -> None:
    """Draw the line of a path, with arrowheads at distances that can be seen."""
    color = shown.colors[rows[0]] if len({shown.colors[i] for i in rows}) == 1 else "#9a9a9a"
    way = points[rows]
    ax.plot(*way.T, color=color, linewidth=1.2, alpha=0.75, zorder=2, solid_joinstyle="round")
    steps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    length, whole = steps.sum(), np.linalg.norm(np.ptp(points, axis=0))
    if not length > 0.01 * whole:
        return
    along = np.r_[0, np.cumsum(steps)]
    heads = int(np.clip(length / (0.16 * whole), 1, 6))
    for place in (np.arange(heads) + 0.5) / heads * length:
        k = int(np.clip(np.searchsorted(along, place, side="right") - 1, 0, len(steps) - 1))
        direction = (way[k + 1] - way[k]) / steps[k]
        tip = way[k] + direction * (place - along[k])
        ax.add_patch(
            FancyArrowPatch(
                tip - direction * 0.004 * whole,
                tip + direction * 0.004 * whole,
                arrowstyle="-|>",
                mutation_scale=10,
                color=color,
                linewidth=0.8,
                shrinkA=0,
                shrinkB=0,
                zorder=2.5,
            )
        )


# -- legend and words


def _handles(shown: Sequence[MapSpec]) -> list[Line2D]:
    """Return the entries of the legend: colors, shapes, marks of paths and of added points, each with a heading."""
    first, mark = shown[0], {"ls": "", "marker": "o", "markeredgecolor": "white"}
    parts: list[tuple[str, list[dict[str, Any]]]] = [
        (
            heading,
            [
                {**mark, "marker": marker, "color": color, "markeredgewidth": 0.5, "markersize": 8}
                | {"label": textwrap.fill(label, 30)}
                for label, color, marker in entries
            ],
        )
        for heading, entries in first.legend
    ]
    if any(len(run) > 1 for run in first.runs):
        open_mark = {"markerfacecolor": "white", "markeredgecolor": NEUTRAL, "markeredgewidth": 1.5}
        line = {"color": NEUTRAL, "linewidth": 1.2, "marker": ">", "markersize": 5}
        parts.append(
            (
                f"path of a {first.path}",
                [
                    {**mark, **open_mark, "label": "first"},
                    {**line, "label": "on the way"},
                    {**mark, "color": NEUTRAL, "markersize": 8, "label": "last"},
                ],
            )
        )
    if any(one.ringed for one in shown):
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": _RING, "markeredgewidth": 1.3}
        parts.append(("ring", [{**mark, **ring, "label": "placed into the map"}]))
    return [Line2D([], [], **style) for heading, entries in parts for style in ({"ls": "", "label": heading}, *entries)]


def _bar(figure: Figure | SubFigure, shown: MapSpec, **where: Any) -> None:
    assert shown.scale is not None
    heading, low, high, palette = shown.scale
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(low, high), mpl.colors.ListedColormap(palette))
    figure.colorbar(scale, **where).set_label(heading, fontsize=10)
