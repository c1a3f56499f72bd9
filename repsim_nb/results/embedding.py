"""Maps: points whose distances stand for dissimilarities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares, minimize
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, smacof
from sklearn.manifold import trustworthiness as kept_neighbours
from threadpoolctl import threadpool_limits

from repsim_nb.results.comparison import Comparison, check_diagonal
from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.labels import explain_same_text, match_labels
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.validation import check_integer, check_representation, to_numpy
from repsim_nb.support.workers import single_threaded_blas

KINDS = ("smacof", "classical")
WIDE = 50  # t-SNE looks at this many principal components of samples [van der Maaten and Hinton 2008]


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """Points on a map, and how far to trust it.

    points: DataFrame (items, n_components), columns "x", "y", ... and the items' labels as its index.
    stress: sqrt(Σ(d - δ)² / Σδ²) over pairs (d on the map, δ the dissimilarity), as scikit-learn has it (Kruskal's
    stress-1 divides by Σd² instead, which is a little less): 0 is a faithful map, above about 0.2 a poor one. A t-SNE
    has no scale of its own: its stress is that after the best one.
    negative_fraction: Σ|negative eigenvalues| / Σ|eigenvalues| of the double-centred squared dissimilarities: 0 if they
    are Euclidean distances at all.
    trustworthiness: how far the nearest on the map are near at all (1: all of them), of the min(5, (m - 1) // 2)
    nearest of each [Venna and Kaski 2001].
    placed: labels of the points that `add_points` added, and misfits: the stress of each one's distances alone; all
    else is that of the map before.
    dissimilarities: DataFrame (points, the items the map was made from); None for a map of samples.
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
        """How the map was made, in words: "MDS (SMACOF)", "classical MDS", "t-SNE (perplexity 10)"."""
        return {"smacof": "MDS (SMACOF)", "classical": "classical MDS"}.get(
            self.kind
        ) or f"t-SNE (perplexity {self.perplexity:g})"

    def __repr__(self) -> str:
        by = (f" by {self.name}" if self.name else "") + (f", {len(self.placed)} of them placed" if self.placed else "")
        return (
            f"Embedding({self.method} of {len(self.points)} points{by}: stress {self.stress:.3f}, negative eigenvalues"
            f" {self.negative_fraction:.1%}, trustworthiness {self.trustworthiness:.3f}, seed {self.seed})"
        )

    def add_points(self, new: Comparison | pd.DataFrame) -> Embedding:
        """The map with new points after the old ones, which stay exactly where they are.

        new: rows are the new items, columns the items that the map was made from, in any order: `rs.compare(measure,
        new, old)`, or a frame of dissimilarities. Of a measure that is not symmetric only this direction is known. New
        points do not see one another.
        Each lies where its distances to the old ones fit best: for SMACOF by least squares, for classical MDS by
        projection on the map's axes. (Something unlike all that is there would have had an axis of its own in a map
        made with it; it has none here.)
        Errors: ValueError for a t-SNE, other columns, undefined or negative cells, another measure or number of
        samples.  [Gower 1968]
        """
        if self.kind == "tsne" or self.dissimilarities is None:
            raise ValueError(
                "a t-SNE has no place for new points, since each point's place hangs on all others: make one of old and"
                " new together, or take mds(...).add_points(new)"
            )
        rows = _new_rows(self, new)
        old = self.points.to_numpy()[: rows.shape[1]]
        with _one_thread():
            whole, unit = _scaled(self.dissimilarities.to_numpy()[: len(old)])
            radii, old, distances = _squared_radii(whole), old / unit, rows.to_numpy() / unit
            found = np.array(
                [_projected(old, d, radii) if self.kind == "classical" else _fitted(old, d) for d in distances]
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
        """The same map, moved, rotated and reflected (never scaled) to lie on `like` as well as it can, by the points
        with labels that both have.

        Where fewer than two labels are the same, those count that are the same in the fields that vary: so maps of two
        layers lie on each other by model.
        Errors: ValueError for maps of different dimensions, or with fewer than two labels in common.  [Schönemann 1966]
        """
        if self.points.shape[1] != like.points.shape[1]:
            raise ValueError(
                f"a map is turned to one of as many dimensions; this one has {self.points.shape[1]}, the other"
                f" {like.points.shape[1]}"
            )
        mine, other = match_labels(self.points.index, like.points.index)
        if len(mine) < 2:
            raise ValueError(
                "a map is turned by points that both have, and these two share fewer than two labels: "
                f"'{_label(self.points.index, 0)}', ... and '{_label(like.points.index, 0)}', ..."
            )
        a, b = self.points.to_numpy(), like.points.to_numpy()
        with _one_thread():
            left, _, right = np.linalg.svd((a[mine] - a[mine].mean(0)).T @ (b[other] - b[other].mean(0)))
            points = (a - a[mine].mean(0)) @ (left @ right) + b[other].mean(0)
        return replace(self, points=pd.DataFrame(points, index=self.points.index, columns=self.points.columns))


def mds(
    comparison: Comparison | pd.DataFrame,
    n_components: int = 2,
    kind: str = "smacof",
    seed: int = 0,
    *,
    progress: bool | Tick = False,
) -> Embedding:
    """Multidimensional scaling of a square comparison, or of a symmetric frame of dissimilarities -> Embedding.

    kind: "smacof" minimises the stress, starting from the classical solution and from random ones (`seed`), the best is
    kept; "classical" takes the leading eigenvectors of the double-centred squared dissimilarities. A measure that is
    not symmetric enters as the mean of both directions. Axes are principal axes of the points; their signs are fixed.
    Errors: ValueError for fewer than 3 items, undefined cells, a table that is not square or holds something negative.
    [Torgerson 1952; Kruskal 1964; de Leeuw 1977]
    """
    if kind not in KINDS:
        raise unknown_name("kind of MDS", kind, KINDS, "tsne is a function of its own." if kind == "tsne" else "")
    frame, facts = _opened(comparison)
    d, unit = _scaled(_distances(frame, plain=not facts))
    check_integer(n_components, "n_components", minimum=1, maximum=len(d) - 1, hint=f"for {len(d)} items")
    with _one_thread():
        start, eigenvalues = _classical(d, n_components)
        points = _principal_axes(start if kind == "classical" else _smacof(d, start, seed, progress))
    return _embedding(points, d, frame.index, eigenvalues, unit, kind=kind, seed=seed, **facts)


def tsne(
    source: Comparison | pd.DataFrame | Any, n_components: int = 2, perplexity: float | None = None, seed: int = 0
) -> Embedding:
    """t-SNE: a map that keeps neighbours together -> Embedding.

    Distances between groups, and sizes of groups, mean nothing on it.

    source: a square comparison or a frame of dissimilarities maps its items; an array or tensor (n, ...) maps its
    samples by their Euclidean distances (index "sample", 0 to n - 1), wide ones by their first 50 principal components.
    perplexity: about how many neighbours each point heeds, from 1 to (points - 1) / 3; None is the largest whole number
    up to 30 that is allowed. It starts from the classical solution, of samples from the principal components; `seed`
    moves that by a hair.
    Errors: ValueError for fewer than 7 points, a perplexity too large for them, and as `mds`.  [van der Maaten and
    Hinton 2008]
    """
    if n_components not in (1, 2, 3):
        raise ValueError(
            f"a t-SNE has 1, 2 or 3 dimensions; got n_components={n_components!r}. mds has as many as you like"
        )
    if isinstance(source, (Comparison, pd.DataFrame)):
        frame, facts = _opened(source)
        d, unit = _scaled(_distances(frame, plain=not facts))
        perplexity = _perplexity(perplexity, len(d))
        with _one_thread():
            start, eigenvalues = _classical(d, n_components)
            points = _tsne(d, start, perplexity, seed, metric="precomputed")
        made = _embedding(points, d, frame.index, eigenvalues, kind="tsne", seed=seed, perplexity=perplexity, **facts)
        return replace(made, dissimilarities=made.dissimilarities * unit)
    x = _samples(source)
    perplexity = _perplexity(perplexity, len(x))
    with _one_thread():
        x = PCA(min(WIDE, len(x)), random_state=seed).fit_transform(x) if x.shape[1] > WIDE else x - x.mean(axis=0)
        start = PCA(min(n_components, x.shape[1]), random_state=seed).fit_transform(x)
        start = np.pad(start, ((0, 0), (0, n_components - start.shape[1])))
        points = _tsne(x, start, perplexity, seed, metric="euclidean")
    made = _embedding(
        points,
        squareform(pdist(x)),
        pd.RangeIndex(len(x), name="sample"),
        np.ones(1),
        kind="tsne",
        seed=seed,
        perplexity=perplexity,
    )
    return replace(made, dissimilarities=None)


# -- what enters
# -----------------------------------------------------------------------------------------------------------


def _opened(source: Comparison | pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """-> (a frame of dissimilarities, what is known of it)"""
    if isinstance(source, Comparison):
        return source.dissimilarity(), {"name": source.name, "n": source.n}
    if isinstance(source, pd.DataFrame):
        return source, {}
    hint = (
        "; an array of dissimilarities needs its labels, pd.DataFrame(d, index=labels, columns=labels)"
        if hasattr(source, "shape")
        else ""
    )
    raise TypeError(f"a map is made of a Comparison or a frame of dissimilarities; got {type(source).__name__}{hint}")


def _numbers(frame: pd.DataFrame) -> np.ndarray:
    try:
        return frame.to_numpy(float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a map needs numbers as dissimilarities; the table holds something else ({error})") from error


def _distances(frame: pd.DataFrame, *, plain: bool) -> np.ndarray:
    if not frame.index.equals(frame.columns):
        raise ValueError(
            "a map needs a square table, the same items in rows and columns; this one is "
            f"{frame.shape[0]} × {frame.shape[1]} with other labels{explain_same_text(frame.columns, frame.index)}"
        )
    d = _numbers(frame).copy()
    if plain:
        check_diagonal(frame)
    if len(d) < 3:
        raise ValueError(f"a map needs at least 3 items; there are {len(d)}")
    np.fill_diagonal(d, 0)  # an item beside itself is no pair: NaN there is none that is missing
    if not np.isfinite(d).all():
        missing = ~np.isfinite(d)
        i, j = np.argwhere(missing)[0]
        raise ValueError(
            f"a map needs every pair; {int(missing.sum())} cells are undefined, the first '{_label(frame.index, i)}'"
            f" and '{_label(frame.columns, j)}', and most of them lie with"
            f" '{_label(frame.index, int(missing.sum(1).argmax()))}': leave that out, or take a measure that is defined"
            " for all"
        )
    _check_sign(d, frame)
    d = (d + d.T) / 2
    if not d.max() > 0:
        raise ValueError("all items are alike (every dissimilarity is 0), so there is nothing to map")
    return d.clip(min=0)  # rounding below 0


def _scaled(d: np.ndarray) -> tuple[np.ndarray, float]:
    """d in a unit near its largest: no square can overflow, and no tolerance is too coarse.

    (A power of two: no digit is lost.)
    """
    unit = 2.0 ** int(np.frexp(d.max())[1] - 1)
    return d / unit, unit


def _check_sign(d: np.ndarray, frame: pd.DataFrame) -> None:
    if d.min() < -1e-6 * np.abs(d).max():
        i, j = np.unravel_index(d.argmin(), d.shape)
        raise ValueError(
            f"a dissimilarity cannot be negative; that of '{_label(frame.index, i)}' and '{_label(frame.columns, j)}'"
            f" is {d.min():.3g}"
        )


def _samples(source: Any) -> np.ndarray:
    if not hasattr(source, "shape") or not hasattr(source, "dtype"):
        raise TypeError(
            "a t-SNE is made of a Comparison, a frame of dissimilarities or an array (samples, features); got"
            f" {type(source).__name__}"
            + ("; of a recording take one layer, x['fc']" if isinstance(source, Mapping) else "")
        )
    x = to_numpy(check_representation(source)).astype(float)
    return x / max(np.abs(x).max(), np.finfo(float).tiny)  # no square of it can overflow


def _perplexity(perplexity: float | None, points: int) -> float:
    if points < 7:
        raise ValueError(
            "a t-SNE needs at least 7 points, since each must have two neighbours and others beside; there are"
            f" {points}: mds maps 3 or more"
        )
    most = (points - 1) / 3
    if perplexity is None:
        return min(30, int(most))
    if not 1 <= perplexity <= most:
        raise ValueError(
            f"the perplexity of a t-SNE of {points} points is from 1 to {int(most)} (three times as many neighbours"
            f" must be there); got {perplexity:g}"
        )
    return float(perplexity)


def _new_rows(embedding: Embedding, new: Comparison | pd.DataFrame) -> pd.DataFrame:
    """The dissimilarities (new items, items the map was made from), in the map's order, checked."""
    frame, facts = _opened(new)
    if embedding.name and facts and (facts["name"], facts["n"]) != (embedding.name, embedding.n):
        raise ValueError(
            f"the map was made by {embedding.name} of {embedding.n} samples, the new distances by {facts['name']} of"
            f" {facts['n']}: they are not on one scale"
        )
    items = embedding.dissimilarities.columns
    if not len(frame):
        raise ValueError("there is nothing to place: the table has no row")
    if frame.index.nlevels != items.nlevels or frame.columns.nlevels != items.nlevels:
        raise ValueError(
            f"labels on the map have the fields {list(items.names)}; those of the new table have"
            f" {list(frame.index.names)} (rows) and {list(frame.columns.names)} (columns)"
        )
    if not frame.columns.equals(items):
        for these, those, sentence in (
            (items, frame.columns, "has no column for {} of the map's items: {}"),
            (frame.columns, items, "has {} columns that the map was not made from: {}"),
        ):
            lacking = these[~these.isin(those)]
            if len(lacking):
                raise ValueError(
                    f"to place points, their distances to the {len(items)} items of the map are needed, a column each;"
                    " the table "
                    + sentence.format(len(lacking), join_names((_label(lacking, i) for i in range(len(lacking))), 3))
                    + explain_same_text(lacking, those)
                )
        if not (frame.columns.is_unique and items.is_unique):
            raise ValueError(
                "labels of the map's items are there twice, so that columns can be told by their order only: give them"
                " in that of the map"
            )
        frame = frame.loc[:, items]
    d = _numbers(frame)
    if not np.isfinite(d).all():
        i, j = np.argwhere(~np.isfinite(d))[0]
        raise ValueError(
            f"to place a point all its distances to the map's items are needed; that of '{_label(frame.index, i)}' to"
            f" '{_label(items, j)}' is undefined"
        )
    _check_sign(d, frame)
    return pd.DataFrame(d.clip(min=0), index=frame.index, columns=items)


def _label(index: pd.Index, i: int) -> str:
    label = index[i]
    return "/".join(map(str, label[:2])) if isinstance(label, tuple) else str(label)


# -- the maps
# --------------------------------------------------------------------------------------------------------------


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine: the same map for the same seed."""
    with single_threaded_blas(), threadpool_limits(1, user_api="openmp"):
        yield


def _embedding(
    points: np.ndarray, d: np.ndarray, labels: pd.Index, eigenvalues: np.ndarray, unit: float = 1, **facts: Any
) -> Embedding:
    """unit: points and d are in this unit of the dissimilarities."""
    columns = [*"xyz"[: points.shape[1]]] if points.shape[1] <= 3 else [f"axis{i + 1}" for i in range(points.shape[1])]
    return Embedding(
        points=pd.DataFrame(points * unit, index=labels, columns=columns),
        stress=_stress(points, d, free_scale=facts["kind"] == "tsne"),
        negative_fraction=float(np.abs(eigenvalues[eigenvalues < 0]).sum() / np.abs(eigenvalues).sum()),
        trustworthiness=float(kept_neighbours(d, points, n_neighbors=min(5, (len(d) - 1) // 2), metric="precomputed")),
        dissimilarities=pd.DataFrame(d * unit, index=labels, columns=labels),
        **facts,
    )


def _stress(points: np.ndarray, d: np.ndarray, free_scale: bool = False) -> float:
    fitted, wanted = pdist(points), d[np.triu_indices(len(d), 1)]
    scale = np.sum(fitted * wanted) / np.sum(fitted**2) if free_scale else 1
    return float(np.sqrt(np.sum((scale * fitted - wanted) ** 2) / np.sum(wanted**2)))


def _classical(d: np.ndarray, n_components: int) -> tuple[np.ndarray, np.ndarray]:
    centre = np.eye(len(d)) - 1 / len(d)
    eigenvalues, vectors = np.linalg.eigh(-0.5 * centre @ (d**2) @ centre)
    top = np.argsort(eigenvalues)[::-1][:n_components]
    significant = np.where(np.abs(eigenvalues) > 1e-12 * np.abs(eigenvalues).max(), eigenvalues, 0)
    return vectors[:, top] * np.sqrt(significant[top].clip(min=0)), significant


def _smacof(d: np.ndarray, start: np.ndarray, seed: int, progress: bool | Tick, restarts: int = 4) -> np.ndarray:
    """The best of several starts.

    Majorisation comes near quickly and then creeps, so a quasi-Newton method goes the rest of the way.
    """
    rng = np.random.default_rng(seed)
    begins, found = (start, *(rng.normal(scale=d.mean(), size=start.shape) for _ in range(restarts))), [start]
    with show_progress(progress, "mapping", "start") as tick:
        for done, begin in enumerate(begins):
            tick(done, len(begins))
            near = smacof(
                d, n_components=start.shape[1], init=begin, n_init=1, max_iter=100, eps=1e-6, normalized_stress=False
            )[0]
            best = minimize(
                _misfit,
                near.ravel(),
                args=(d,),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 2000, "ftol": 1e-13, "gtol": 1e-9 * d.max()},
            )
            found += [near, best.x.reshape(start.shape)]
    return min(found, key=lambda points: _stress(points, d))


def _misfit(flat: np.ndarray, d: np.ndarray) -> tuple[float, np.ndarray]:
    """Σ(distance - δ)² over pairs, and its gradient."""
    points = flat.reshape(len(d), -1)
    fitted = squareform(pdist(points))
    pull = np.divide(fitted - d, fitted, out=np.zeros_like(d), where=fitted > 0)
    return float(np.sum((fitted - d) ** 2) / 2), 2 * (pull.sum(axis=1, keepdims=True) * points - pull @ points).ravel()


def _tsne(x: np.ndarray, start: np.ndarray, perplexity: float, seed: int, metric: str) -> np.ndarray:
    start = 1e-4 * start / max(start[:, 0].std(), np.finfo(float).tiny)
    start = start + np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)  # an axis of zeros would stay one
    points = TSNE(
        start.shape[1], perplexity=perplexity, metric=metric, init=start.astype(np.float32), random_state=seed
    ).fit_transform(x.copy())
    return _principal_axes(points.astype(float))


def _squared_radii(d: np.ndarray) -> np.ndarray:
    """Squared distances of the items from their centre, in all dimensions that the dissimilarities need."""
    return (d**2).mean(axis=1) - (d**2).mean() / 2


def _projected(old: np.ndarray, d: np.ndarray, squared_radii: np.ndarray) -> np.ndarray:
    return np.linalg.pinv(old - old.mean(axis=0)) @ (squared_radii - d**2) / 2 + old.mean(axis=0)


def _fitted(old: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The point whose distances to the old ones fit d best: from the likeliest of many starts downhill, the best is
    kept.
    """

    def misfit(point: np.ndarray) -> np.ndarray:
        return np.linalg.norm(point - old, axis=1) - d

    def slope(point: np.ndarray) -> np.ndarray:
        away = np.linalg.norm(point - old, axis=1, keepdims=True)
        return np.divide(point - old, away, out=np.zeros_like(old), where=away > 0)

    projected = _projected(old, d, np.sum((old - old.mean(axis=0)) ** 2, axis=1))
    starts = np.stack([old[d.argmin()], projected, 2 * old.mean(axis=0) - projected, *old])
    likely = np.argsort(np.sum((cdist(starts, old) - d) ** 2, axis=1), kind="stable")[:3]
    found = [
        least_squares(misfit, start, jac=slope, method="lm", xtol=1e-12, ftol=1e-12, gtol=1e-12)
        for start in (*starts[:2], *starts[likely])
    ]
    return min(found, key=lambda result: result.cost).x


def _principal_axes(points: np.ndarray) -> np.ndarray:
    """Turn the map so that the first axis varies most; each axis points to its largest coordinate: the same data, the
    same picture.
    """
    points = points - points.mean(axis=0)
    points = points @ np.linalg.svd(points, full_matrices=False)[2].T
    largest = points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])]
    return points * np.where(largest < 0, -1, 1)
