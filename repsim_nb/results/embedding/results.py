"""Points on a map, the tables that they are computed from, and points that are added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from repsim_nb.results.comparison import Comparison
from repsim_nb.results.comparison.same_items import check_same_items
from repsim_nb.support.errors import as_clause, join_names, show_value
from repsim_nb.support.labels import explain_same_text, match_labels, short_labels
from repsim_nb.support.rdm_halves import check_diagonal, find_rounding
from repsim_nb.support.rdms import RDM
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_representation, is_number, to_numpy

from .layout import fit_point, one_thread, project, squared_radii
from .trust import rate_map


def read_table(source: Comparison | pd.DataFrame | RDM, *, square: bool = False) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a frame of dissimilarities, and what is known about it. square: whether it is of items with each other."""
    if isinstance(source, Comparison):
        if square and source.values.index.equals(source.values.columns):
            check_same_items(source, "a map")
        return source.dissimilarity(), {"name": source.name, "n": source.n}
    if isinstance(source, pd.DataFrame):
        return source, {}
    if isinstance(source, RDM):
        labels = range(len(source)) if source.ids is None else source.ids
        return pd.DataFrame(source.distances(), index=labels, columns=labels), {}
    hint = (
        "; an array of dissimilarities needs labels: pd.DataFrame(d, index=labels, columns=labels)"
        if hasattr(source, "shape")
        else ""
    )
    raise TypeError(f"a map needs a Comparison or a frame of dissimilarities; got {type(source).__name__}{hint}.")


def to_numbers(frame: pd.DataFrame) -> np.ndarray:
    """Return the numbers of a frame as float64."""
    try:
        return frame.to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"a map needs numbers as dissimilarities; the table has other values ({as_clause(error)})."
        ) from error


def check_distances(frame: pd.DataFrame, *, plain: bool) -> np.ndarray:
    """Return the checked dissimilarities (items, items), both directions averaged."""
    if not frame.index.equals(frame.columns):
        raise ValueError(
            "a map needs a square table, the same items in rows and columns; this one is "
            f"{frame.shape[0]} × {frame.shape[1]} with other labels{explain_same_text(frame.columns, frame.index)}."
        )
    d = to_numbers(frame).copy()
    if plain:
        check_diagonal(frame)
    if len(d) < 3:
        raise ValueError(f"a map needs at least 3 items; there are {len(d)}.")
    np.fill_diagonal(d, 0)  # an item with itself is no pair, so NaN there is not a missing value
    if not np.isfinite(d).all():
        missing = ~np.isfinite(d)
        i, j = np.argwhere(missing)[0]
        raise ValueError(
            f"a map needs every pair; {int(missing.sum())} cells are undefined, the first '{label_at(frame.index, i)}'"
            f" and '{label_at(frame.columns, j)}'; most belong to"
            f" '{label_at(frame.index, int(missing.sum(1).argmax()))}'. Leave items out with"
            " comparison.drop_undefined()[0], or use a measure that is defined for all pairs."
        )
    check_sign(d, frame)
    rounding = find_rounding(d)
    d = (d + d.T) / 2
    if d.max() <= rounding:
        raise ValueError("a map needs items that differ; all items are alike (every dissimilarity is 0).")
    return d.clip(min=0)  # rounding below 0


def rescale(d: np.ndarray) -> tuple[np.ndarray, float]:
    """Return d in a unit near its largest value, and the unit, so that no square can overflow.

    The unit is a power of two: no digit is lost.
    """
    unit = 2.0 ** int(np.frexp(d.max())[1] - 1)
    return d / unit, unit


def check_sign(d: np.ndarray, frame: pd.DataFrame) -> None:
    """Refuse negative dissimilarities, except rounding below 0."""
    if d.min() < -find_rounding(d):
        i, j = np.unravel_index(d.argmin(), d.shape)
        raise ValueError(
            f"a dissimilarity cannot be negative; that of '{label_at(frame.index, i)}' and"
            f" '{label_at(frame.columns, j)}' is {d.min():.3g}."
        )


def check_samples(source: Any) -> np.ndarray:
    """Return samples (n, p) in float64, scaled so that no square can overflow."""
    if not hasattr(source, "shape") or not hasattr(source, "dtype"):
        raise TypeError(
            "a t-SNE needs a Comparison, a frame of dissimilarities or an array (samples, features); got"
            f" {type(source).__name__}."
            + (" Select one layer of a recording: x['fc']." if isinstance(source, Mapping) else "")
        )
    x = to_numpy(check_representation(source)).astype(float)
    return x / max(np.abs(x).max(), np.finfo(float).tiny)  # no square of it can overflow


def check_perplexity(perplexity: float | None, points: int) -> float:
    """Return the perplexity for this number of points."""
    if points < 7:
        raise ValueError(f"a t-SNE needs at least 7 points; there are {points}. Use mds, which needs 3.")
    most = (points - 1) / 3
    if perplexity is None:
        return min(30, int(most))
    if not (is_number(perplexity) and 1 <= perplexity <= most):
        raise ValueError(
            f"perplexity of a t-SNE of {points} points must be from 1 to {int(most)}, a third of the neighbours; got"
            f" {show_value(perplexity)}."
        )
    return float(perplexity)


def label_at(index: pd.Index, i: int | np.integer) -> str:
    """Return the label at position i as text."""
    label = index[i]
    return "/".join(map(str, label[:2])) if isinstance(label, tuple) else str(label)


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """Points on a map, and how far the map can be trusted.

    Attributes
    ----------
    points : DataFrame (items, n_components)
        Coordinates in columns "x", "y", "z" ("axis1", ... with more than three). The index has the labels of the items.
    stress : float
        sqrt(Σ(d - δ)² / Σδ²) over pairs, with d the distance on the map and δ the dissimilarity, as in scikit-learn
        (Kruskal's stress-1 divides by Σd² and is a little smaller). 0 is a faithful map, above 0.2 a poor one.
        For a t-SNE, whose scale is arbitrary, the stress after the best scaling.
    negative_fraction : float
        Σ|negative eigenvalues| / Σ|eigenvalues| of the double-centred squared dissimilarities: 0 if they are Euclidean
        distances.
    kind : {"smacof", "classical", "tsne"}
        The method.
    seed : int
        The seed.
    name : str
        The short name of the measure; empty for a frame or samples.
    n : int or None
        The number of samples that were compared; None for a frame or samples.
    trustworthiness : float
        How far neighbours on the map are neighbours in the data, for the min(5, (m - 1) // 2) nearest of each of m
        points [1]_; 1 if all of them are.
    perplexity : float or None
        The perplexity of a t-SNE.
    placed : tuple
        The labels of the points that `add_points` added. All other attributes but `points` describe the map before.
    misfits : tuple of float
        For each added point, the stress of its own distances.
    dissimilarities : DataFrame (points, items that the map was computed from) or None
        None for a map of samples.

    References
    ----------
    .. [1] Venna and Kaski 2001, Neighborhood preservation in nonlinear projection methods, ICANN.

    Examples
    --------
    >>> from repsim_nb import embedding
    >>> d = pd.DataFrame([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]], index=list("abc"), columns=list("abc"))
    >>> embedding.mds(d, kind="classical")
    Embedding(classical MDS of 3 points: stress 0.000, negative eigenvalues 0.0%, trustworthiness 1.000, seed 0)
    """

    points: pd.DataFrame
    stress: float
    negative_fraction: float
    kind: str
    seed: int
    name: str = ""
    n: int | None = None
    trustworthiness: float = field(kw_only=True)
    perplexity: float | None = None
    placed: tuple[Any, ...] = ()
    misfits: tuple[float, ...] = ()
    dissimilarities: pd.DataFrame | None = None

    @property
    def method(self) -> str:
        """Method of the map in words: "MDS (SMACOF)", "classical MDS" or "t-SNE (perplexity 10)".

        Returns
        -------
        str
        """
        return {"smacof": "MDS (SMACOF)", "classical": "classical MDS"}.get(
            self.kind
        ) or f"t-SNE (perplexity {self.perplexity:g})"

    def __repr__(self) -> str:
        by = (f" by {self.name}" if self.name else "") + (f", {len(self.placed)} of them placed" if self.placed else "")
        return (
            f"Embedding({self.method} of {len(self.points)} points{by}: stress {self.stress:.3f}, negative eigenvalues"
            f" {self.negative_fraction:.1%}, trustworthiness {self.trustworthiness:.3f}, seed {self.seed})"
        )

    def _repr_html_(self) -> str:
        return summarize(
            "Embedding",
            f"{self.method} of {len(self.points)} points{f' by {self.name}' if self.name else ''}",
            [
                f"{rate_map(self.kind, self.stress, self.trustworthiness)} map",
                f"stress {self.stress:.2f}",
                f"trustworthiness {self.trustworthiness:.2f}",
                f"negative eigenvalues {self.negative_fraction:.0%}",
                f"seed {self.seed}",
                f"{len(self.placed)} points placed into the map" if self.placed else "",
            ],
            table=self.points.set_axis(short_labels(self.points.index), axis=0),
            max_rows=8,
            page="embedding.Embedding",
        )

    def add_points(self, new: Comparison | pd.DataFrame) -> Embedding:
        """Add new points after the old ones, which stay exactly where they are.

        Parameters
        ----------
        new : Comparison or DataFrame (new items, items that the map was computed from)
            ``rs.compare(measure, new, old)``, or a frame of dissimilarities; columns in any order. For a measure that
            is not symmetric this is the only direction that is used.

        Returns
        -------
        Embedding
            The same map with the new points after the old ones; see `placed` and `misfits`.

        Raises
        ------
        ValueError
            For a t-SNE, other columns, undefined or negative cells, another measure or number of samples.

        Notes
        -----
        Each new point lies where its distances to the old ones fit best: for SMACOF by least squares, for classical MDS
        by projection on the axes of the map [1]_. Distances between new points are not used. An item that is unlike all
        others would have an axis of its own in a new map; here it has none, and a large misfit.

        References
        ----------
        .. [1] Gower 1968, Adding a point to vector diagrams in multivariate analysis, Biometrika.

        Examples
        --------
        >>> from repsim_nb import embedding
        >>> square = [[0, 0], [1, 0], [0, 1], [1, 1]]
        >>> d = pd.DataFrame(cdist(square, square), index=list("abcd"), columns=list("abcd"))
        >>> new = pd.DataFrame(cdist([[0.5, 0.5]], square), index=["middle"], columns=list("abcd"))
        >>> found = embedding.mds(d, kind="classical").add_points(new)
        >>> found.placed, found.points.loc["middle"].abs().round(6).tolist()
        (('middle',), [0.0, 0.0])
        """
        if self.kind == "tsne" or self.dissimilarities is None:
            raise ValueError(
                "add_points cannot add points to a t-SNE, since the position of each point depends on all others. Make"
                " one t-SNE with all points, or use mds(...).add_points(new)."
            )
        rows = check_new_rows(self, self.dissimilarities.columns, new)
        old = self.points.to_numpy()[: rows.shape[1]]
        with one_thread():
            whole, unit = rescale(self.dissimilarities.to_numpy()[: len(old)])
            radii, old, distances = squared_radii(whole), old / unit, rows.to_numpy() / unit
            found = np.array(
                [project(old, d, radii) if self.kind == "classical" else fit_point(old, d) for d in distances]
            )
            misfits = tuple(
                float(np.sqrt(np.sum((cdist(point[None], old)[0] - d) ** 2) / np.sum(d**2))) if d.any() else 0.0
                for point, d in zip(found, distances, strict=True)
            )
        points = pd.concat([self.points, pd.DataFrame(found * unit, index=rows.index, columns=self.points.columns)])
        return replace(
            self,
            points=points,
            placed=(*self.placed, *rows.index),
            misfits=(*self.misfits, *misfits),
            dissimilarities=pd.concat([self.dissimilarities, rows]),
        )

    def align_to(self, like: Embedding) -> Embedding:
        """Move, rotate and reflect the map (never scale it) to lie on another one as well as possible.

        Parameters
        ----------
        like : Embedding
            The other map. Points with the same label correspond. If fewer than two labels are the same, points
            correspond by the fields that vary, so that maps of two layers are aligned by model.

        Returns
        -------
        Embedding
            This map with new coordinates.

        Raises
        ------
        TypeError
            For anything else than an Embedding.
        ValueError
            For maps of different dimensions, or with fewer than two labels in common.

        References
        ----------
        Schönemann 1966, A generalized solution of the orthogonal Procrustes problem, Psychometrika.

        Examples
        --------
        >>> from repsim_nb import embedding
        >>> d = pd.DataFrame([[0.0, 3, 4], [3, 0, 5], [4, 5, 0]], index=list("abc"), columns=list("abc"))
        >>> one, other = embedding.mds(d), embedding.mds(d.iloc[::-1, ::-1])
        >>> bool(np.allclose(other.align_to(one).points.loc[list("abc")], one.points))
        True
        """
        if not isinstance(like, Embedding):
            raise TypeError(f"align_to takes another Embedding, such as mds(...); got {type(like).__name__}.")
        if self.points.shape[1] != like.points.shape[1]:
            raise ValueError(
                f"align_to needs two maps with the same number of dimensions; this one has {self.points.shape[1]}, the"
                f" other {like.points.shape[1]}. Use the same n_components."
            )
        mine, other = match_labels(self.points.index, like.points.index)
        if len(mine) < 2:
            raise ValueError(
                "align_to needs points that both maps have; these two have fewer than two labels in common:"
                f" '{label_at(self.points.index, 0)}', ... and '{label_at(like.points.index, 0)}', ..."
            )
        a, b = self.points.to_numpy(), like.points.to_numpy()
        with one_thread():
            left, _, right = np.linalg.svd((a[mine] - a[mine].mean(0)).T @ (b[other] - b[other].mean(0)))
            points = (a - a[mine].mean(0)) @ (left @ right) + b[other].mean(0)
        return replace(self, points=pd.DataFrame(points, index=self.points.index, columns=self.points.columns))


def check_new_rows(embedding: Embedding, items: pd.Index, new: Comparison | pd.DataFrame) -> pd.DataFrame:
    """Return the checked dissimilarities (new items, items that the map was computed from), in the order of the map."""
    frame, facts = read_table(new)
    if embedding.name and facts and (facts["name"], facts["n"]) != (embedding.name, embedding.n):
        raise ValueError(
            f"add_points needs dissimilarities on the scale of the map, which was computed by {embedding.name} of"
            f" {embedding.n} samples; the new ones are by {facts['name']} of {facts['n']}."
        )
    if not len(frame):
        raise ValueError("add_points needs at least one new item; the table has no row.")
    if frame.index.nlevels != items.nlevels or frame.columns.nlevels != items.nlevels:
        raise ValueError(
            f"labels on the map have the fields {list(items.names)}; those of the new table have"
            f" {list(frame.index.names)} (rows) and {list(frame.columns.names)} (columns)."
        )
    if not frame.columns.equals(items):
        for these, those, sentence in (
            (items, frame.columns, "has no column for {} items of the map: {}"),
            (frame.columns, items, "has {} columns that are not items of the map: {}"),
        ):
            lacking = these[~these.isin(those)]
            if len(lacking):
                raise ValueError(
                    f"add_points needs one column of dissimilarities for each of the {len(items)} items of the map; the"
                    " table "
                    + sentence.format(len(lacking), join_names((label_at(lacking, i) for i in range(len(lacking))), 3))
                    + explain_same_text(lacking, those)
                    + "."
                )
        if not (frame.columns.is_unique and items.is_unique):
            raise ValueError(
                "some items of the map have the same label, so only their order distinguishes columns. Give the columns"
                " in the order of the map."
            )
        frame = frame.loc[:, items]
    d = to_numbers(frame)
    if not np.isfinite(d).all():
        i, j = np.argwhere(~np.isfinite(d))[0]
        raise ValueError(
            "add_points needs all dissimilarities of a new item to the items of the map; that of"
            f" '{label_at(frame.index, i)}' to '{label_at(items, j)}' is undefined."
        )
    check_sign(d, frame)
    return pd.DataFrame(d.clip(min=0), index=frame.index, columns=items)
