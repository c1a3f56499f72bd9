"""Soft matching of units: all of them, only those with a good partner, and which units these are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from repsim_nb.support.containers import Array
from repsim_nb.support.summaries import summarize
from repsim_nb.support.validation import check_flag, check_positive, check_representation, is_number, to_numpy

from .arrays import centred_unit
from .matching import Matched, unit_columns
from .plans import cheapest_steps, check_size, largest_agreement, move_parts, plan_flops
from .table_inputs import check_sides

_TIE = 1e-12  # prices and costs, of correlations, that differ by less are the same


@dataclass(frozen=True, kw_only=True)
class SoftMatching(Matched):
    """Soft matching: how far two representations are apart after the best matching of single units, without rotation.

    A unit is a feature (a column). A squared distance.

    Parameters
    ----------
    preprocess : bool
        Whether the columns are centred and the matrix is scaled to Frobenius norm 1 first; False takes them as they
        are.

    Raises
    ------
    UndefinedError
        If the units are too many: more than 8192 of one (or nearly one) width, or more than 2,097,152 pairs of units
        of other widths.

    Notes
    -----
    The smallest value of the sum over units i, j of T_ij ‖x_i - y_j‖², over all transport plans T (rows sum to 1/p,
    columns to 1/q). For equal widths it is the mean over units after the best permutation. The root of the value obeys
    the triangle inequality.

    Range from 0, at most 4/p with preprocessing and equal widths; larger is less alike. Invariant to permutations of
    the features, and with preprocessing to scaling and translation; not to rotations. Needs at least 3 samples. Cost:
    exact. A pair of 1000 units each takes a tenth of a second, of 1000 and 768 a fifth, of 4000 each some seconds.

    Misleads when values of layers with different widths are compared: with preprocessing they fall as 1/width. With
    few samples many units match well by chance.

    References
    ----------
    Khosla, Williams 2024, "Soft matching distance: a metric on neural representations that captures single-neuron
    tuning", UniReps.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 5))
    >>> rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    >>> measure = rs.measures.SoftMatching()
    >>> abs(measure(x, x[:, ::-1])) < 1e-9, measure(x, x @ rotation) > 0.1
    (True, True)
    """

    preprocess: bool = True

    kind: ClassVar = "dissimilarity"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def __post_init__(self) -> None:
        check_flag(self.preprocess, f"preprocess of {type(self).__name__}")

    @property
    def invariant_to(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset({"permutation", "scaling", "translation"} if self.preprocess else {"permutation"})

    def prepare(self, x: Array) -> Array:
        # returns the representation (n, p) in float64, centred at unit norm if `preprocess` is set
        x = check_representation(x, min_samples=self.min_samples, double=True)
        return centred_unit(x) if self.preprocess else x

    def pair(self, a: Array, b: Array) -> float:
        p, q = a.shape[1], b.shape[1]
        check_size(p, q)
        best = largest_agreement(to_numpy(a.T @ b))
        return float((a * a).sum()) / p + float((b * b).sum()) / q - 2 * best

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 4.0 * n * p * q + plan_flops(p, q)


@dataclass(frozen=True, kw_only=True)
class PartialSoftMatching(Matched):
    """Partial soft matching: how well single units correspond, if units without a good partner may stay unmatched.

    `rank_units` tells which units these are.

    Parameters
    ----------
    price : float
        What it costs to leave a unit of each side unmatched, above 0. Two units are matched only if their correlation
        is above 1 - price, so 0.5 stands for a correlation of .5. A price of 2 or more matches all units.

    Raises
    ------
    UndefinedError
        If a unit is constant. If the units are too many: more than 8192 of one (or nearly one) width, or more than
        2,097,152 pairs of units of other widths.

    Notes
    -----
    Each unit is centred and scaled to length 1, so that the cost of matching x_i with y_j is 1 - r_ij, with r their
    correlation. The value is the smallest sum of T_ij (1 - r_ij), plus the price times the mass that is not moved, over
    all plans T whose rows sum to at most 1/p and columns to at most 1/q. It is the cost of an optimal transport in
    which no cost is above the price. The root of the value obeys the triangle inequality.

    Range from 0 to the price (at most 2); larger is less alike. Invariant to permutations of the features, scaling and
    translation; not to rotations. Needs at least 3 samples. Cost: exact, as for `SoftMatching`. A pair of 1000 units
    each, or of 1000 and 768, takes a tenth of a second, of 4000 each some seconds.

    Misleads when samples are few: many units then have a partner by chance, and a price that is high enough for chance
    correlations says nothing. Values of different prices cannot be compared.

    References
    ----------
    Kapoor, Williams, Khosla 2026, "Partial soft-matching distance for neural representational comparison with partial
    unit correspondence", ICLR, arXiv 2602.19331.
    Khosla, Williams 2024, "Soft matching distance: a metric on neural representations that captures single-neuron
    tuning", UniReps.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 6))
    >>> y = np.hstack([x[:, :3], rng.normal(size=(200, 3))])  # three of six units have a partner
    >>> round(rs.measures.PartialSoftMatching(price=0.5)(x, y), 6)  # half of the units, at the price
    0.25
    """

    price: float = 0.5

    kind: ClassVar = "dissimilarity"

    def __post_init__(self) -> None:
        check_positive(self.price, "price of PartialSoftMatching")

    @property
    def range(self) -> tuple[float, float]:  # type: ignore[override]
        return 0.0, min(float(self.price), 2.0)

    def prepare(self, x: Array) -> Array:
        return unit_columns(x, self.min_samples)

    def pair(self, a: Array, b: Array) -> float:
        if a is b:
            return 0.0
        check_size(a.shape[1], b.shape[1])
        return 0.0 - largest_agreement(-np.minimum(_costs(a, b), self.price))  # 0, and not -0, for equal sides

    def pair_flops(self, n: int, p: int, q: int) -> float:
        return 4.0 * n * p * q + plan_flops(p, q)


def _costs(a: Array, b: Array) -> np.ndarray:
    """Return 1 - the correlations of the units of both sides; what is 0 or 1 up to rounding is exactly that."""
    costs = 1 - to_numpy(a.T @ b)
    return np.where(np.abs(costs) < _TIE, 0.0, costs)


@dataclass(frozen=True, eq=False, repr=False)
class UnitRanking:
    """The result of `rank_units`.

    Attributes
    ----------
    x_units, y_units : DataFrame
        A row for each unit of a side, in its order. "price": the lowest price of `PartialSoftMatching` at which the
        unit is matched (if widths differ, the mean over its parts). "rank": 1 for the unit that is matched first; units
        of one price share a rank. "partner": the unit of the other side that gets most of it at `price`, or <NA>.
        "correlation": with this partner. "matched": the fraction of the unit that is matched at `price`.
    curve : DataFrame
        A row for each step: "matched", the fraction of all units of the first side that is matched, "cost", what that
        costs at least, and "price", the cost of the next part by the fraction. Prices never fall.
    price : float
        The price that was asked for, or that of the elbow.
    elbow : float
        The price at the corner of the curve, above which units are matched for much more than before.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 6))
    >>> y = np.hstack([x[:, :3] + 0.3 * rng.normal(size=(200, 3)), rng.normal(size=(200, 3))])
    >>> found = rs.measures.rank_units(x, y)
    >>> found.x_units["partner"].tolist()
    [0, 1, 2, <NA>, <NA>, <NA>]
    """

    x_units: pd.DataFrame
    y_units: pd.DataFrame
    curve: pd.DataFrame
    price: float
    elbow: float

    def _summary(self) -> str:
        found = [f"{int((table['matched'] > 0).sum())} of {len(table)}" for table in (self.x_units, self.y_units)]
        return f"{' and '.join(found)} units have a partner at a price of {self.price:.3g}"

    def __repr__(self) -> str:
        return f"UnitRanking({self._summary()})"

    def _repr_html_(self) -> str:
        shown = self.x_units.sort_values("rank", kind="stable").head(10)
        notes = [self._summary(), f"elbow of the curve: {self.elbow:.3g}", "first ten units of x_units:"]
        return summarize("UnitRanking", "", notes, table=shown.astype(object), page="measures.UnitRanking")


def rank_units(x: Array, y: Array, price: float | None = None) -> UnitRanking:
    """Rank the units of two representations by the price at which they find a partner in the other one.

    Parameters
    ----------
    x : array (n, p)
        One representation.
    y : array (n, q)
        The other one, of the same samples.
    price : float, optional
        The price of `PartialSoftMatching` at which partners are listed, above 0. By default the elbow of the curve of
        costs: it separates units with a partner from those without, if there are two kinds.

    Returns
    -------
    UnitRanking
        Prices, ranks and partners of all units, the curve, and its elbow.

    Raises
    ------
    UndefinedError
        If a unit is constant, or if the units are too many.
    ValueError
        If the numbers of samples differ, or the price is not a number above 0.

    Notes
    -----
    Parts of units are matched one after the other. Each step is the cheapest chain of moves that places one more part,
    so each stage is the best plan for its number of parts, and a unit that is matched stays matched. All prices and all
    plans come out of one run: there is no grid of prices. The elbow is the corner at which the direction of the curve
    (matched fraction, cost) changes most, with slopes over a twentieth of the steps on each side. Without a corner (a
    change of its angle below .1) all units are matched.

    Cost: p steps through a matrix of p times q. 500 units of each side take some seconds, 1000 some ten seconds.

    Misleads when samples are few: the best of many partners has a high correlation by chance. Compare the prices with
    those of permuted samples.

    References
    ----------
    Kapoor, Williams, Khosla 2026, "Partial soft-matching distance for neural representational comparison with partial
    unit correspondence", ICLR, arXiv 2602.19331.
    Hansen 1992, "Analysis of discrete ill-posed problems by means of the L-curve", SIAM Review.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 4))
    >>> y = x[:, [2, 0, 1]] + [0.1, 0.5, 1.0] * rng.normal(size=(200, 3))
    >>> found = rs.measures.rank_units(x[:, :3], y, price=0.5)
    >>> found.x_units["partner"].tolist(), found.x_units["rank"].tolist()
    ([1, 2, 0], [2, 3, 1])
    """
    if price is not None and not (is_number(price) and price > 0):
        raise ValueError(f"price of rank_units must be a number above 0, or None for the elbow; got {price!r}")
    measure = PartialSoftMatching()
    check_sides({"x": {"x": x}, "y": {"y": y}}, measure)
    a, b = measure.prepare(x), measure.prepare(y)
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"'x' has {a.shape[0]} rows, 'y' has {b.shape[0]}: rank_units needs the same samples")
    check_size(a.shape[1], b.shape[1])
    costs = _costs(a, b)
    steps = cheapest_steps(costs)[0]
    p, q = costs.shape
    common = math.gcd(p, q)
    parts = p * q // common  # in all
    flows = np.array([flow for _, flow, _ in steps])
    prices = np.array([step for _, _, step in steps])
    prices = np.maximum.accumulate(np.where(np.abs(prices) < _TIE, 0.0, prices))  # equal but for rounding
    curve = pd.DataFrame(
        {
            "matched": np.concatenate([[0], np.cumsum(flows)]) / parts,
            "cost": np.concatenate([[0], np.cumsum(flows * prices)]) / parts,
            "price": np.concatenate([prices, [math.inf]]),
        }
    )
    elbow = _elbow(curve)
    chosen = elbow if price is None else float(price)
    placed, room = np.zeros((p, q), dtype=np.int64), np.full(q, parts)
    ends = np.zeros(p), np.zeros(q)
    for (path, flow, _), own in zip(steps, prices, strict=True):
        # the chain begins with a unit of x and ends with one of y, which stay matched from here on
        for side, unit in zip(ends, (path[-1][0], path[0][2]), strict=True):
            side[unit] += flow * own
        if own < chosen - _TIE or (price is None and own <= chosen):
            move_parts(path, flow, placed, room)
    tables = [
        _units(ends[0] * common / q, placed, costs, q // common),
        _units(ends[1] * common / p, placed.T, costs.T, p // common),
    ]
    return UnitRanking(tables[0], tables[1], curve, chosen, elbow)


def _elbow(curve: pd.DataFrame) -> float:
    """Return the price at the corner of a curve: the highest that is still below it."""
    matched, cost, prices = (curve[name].to_numpy() for name in ("matched", "cost", "price"))
    last = len(matched) - 1
    window = max(1, round(last / 20))
    corners = np.arange(window, last - window + 1)
    if not len(corners):
        return float(prices[last - 1])
    before, after = corners - window, corners + window
    slopes = [(cost[j] - cost[i]) / (matched[j] - matched[i]) for i, j in ((before, corners), (corners, after))]
    turns = np.arctan(slopes[1]) - np.arctan(slopes[0])
    corner = int(corners[turns.argmax()]) if turns.max() >= 0.1 else last
    return float(prices[corner - 1])


def _units(ends: np.ndarray, placed: np.ndarray, costs: np.ndarray, whole: int) -> pd.DataFrame:
    """Return the table of the units of one side. placed: the parts that are matched at the chosen price."""
    partner, there = placed.argmax(axis=1), placed.any(axis=1)
    each = np.arange(len(ends))
    return pd.DataFrame(
        {
            "price": ends,
            "rank": pd.Series(ends.round(12)).rank(method="min").astype(int),
            "partner": pd.array(np.where(there, partner, 0), dtype="Int64"),
            "correlation": np.where(there, 1 - costs[each, partner], np.nan),
            "matched": placed.sum(axis=1) / whole,
        },
        index=pd.RangeIndex(len(ends), name="unit"),
    ).assign(partner=lambda table: table["partner"].where(there))
