"""Rank correlations over pairs of items: one order of models for all pairs, and resamples of both ends of a pair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.measures.ties import tie_starts
from repsim_nb.results.inference.partial_correlation import standardize_ranks
from repsim_nb.results.inference.units import NoOrder, Units
from repsim_nb.support.seeds import generator_of

Ends = tuple[np.ndarray, np.ndarray]  # the items of each pair, by their positions
BLOCK = 4_000_000  # numbers in one block of draws


@dataclass(frozen=True, eq=False)
class PairSets:
    """Pairs of items in sets (one for each reference, or for each layer), as arrays over pairs.

    Values that are equal up to rounding are equal already.

    one, other: the number of the model at either end.  places: which item of its model it is, at either end.  sets:
    {value: rows}.  gap: |F - F'|.  units: of models.  fixed: models that do not change places (the references); None if
    both ends are drawn.  unclear: why items of two models do not correspond, if they do not.
    """

    one: np.ndarray
    other: np.ndarray
    places: tuple[np.ndarray, np.ndarray]
    sets: Mapping[Any, np.ndarray]
    gap: np.ndarray
    units: Units
    fixed: np.ndarray | None
    unclear: str = ""

    @property
    def has_references(self) -> bool:
        """Whether one end of each pair is a reference."""
        return self.fixed is not None

    def draws(self, xs: Mapping[str, np.ndarray], n: int, seed: int) -> pd.DataFrame:
        """Return the mean ρ over sets in n resamples of models (n, measures); NaN if a side of a set is constant."""
        levels = self.units.draw_levels(generator_of(seed), n)
        total = np.zeros((n, len(xs)))
        for rows in self.sets.values():
            step = max(1, BLOCK // len(rows))
            for start in range(0, n, step):
                part = slice(start, start + step)
                weights = self._weights([drawn[part] for drawn in levels], rows)
                gap = _weigh_ranks(self.gap[rows], weights)
                for k, x in enumerate(xs.values()):
                    total[part, k] += _correlation(_weigh_ranks(x[rows], weights), gap, weights) / len(self.sets)
        return pd.DataFrame(total, columns=list(xs))

    def null(self, xs: Mapping[str, np.ndarray], n: int, seed: int) -> tuple[np.ndarray, bool]:
        """Return the mean ρ over sets if models change places, the same way in all sets (orders, measures).

        The second value is whether these are all orders, the first of them the original one. A model takes the gaps of
        all its items with it. NoOrder if models cannot change places.
        """
        if self.unclear:
            raise NoOrder(self.unclear)
        orders, every = self.units.orders(generator_of(seed), n, fixed=() if self.fixed is None else self.fixed)
        total, many = np.zeros((len(orders), len(xs))), 1 + int(np.max(self.places))
        for rows in self.sets.values():
            x = np.stack([standardize_ranks(x[rows], "spearman") for x in xs.values()], axis=1)  # (pairs, measures)
            # ranks stay what they are: the same gaps, at other models
            gap = standardize_ranks(self.gap[rows], "spearman")
            a, b, p, q = (side[rows] for side in (self.one, self.other, *self.places))
            size = (int(max(self.one.max(), self.other.max())) + 1) * many
            pair_of = np.full((size, size), -1, dtype=np.int32)  # the pair of each two items, -1 if there is none
            ends = a * many + p, b * many + q
            pair_of[ends] = pair_of[ends[::-1]] = np.arange(len(rows))
            step = max(1, BLOCK // len(rows))
            for start in range(0, len(orders), step):
                some = orders[start : start + step]
                places = pair_of[some[:, a] * many + p, some[:, b] * many + q]
                if (places < 0).any():
                    raise NoOrder("models do not have the same items, so that they cannot change places")
                total[start : start + step] += gap[places] @ x / len(self.sets)
        return total, every

    def _weights(self, levels: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
        """Return how often each of these pairs occurs in each draw (draws, rows)."""
        if self.fixed is None:
            return self.units.pair_counts(levels, self.one[rows], self.other[rows])
        return self.units.counts(levels)[:, self.other[rows]]


def make_pair_sets(
    codes: np.ndarray,
    places: np.ndarray,
    ends: Ends,
    values: np.ndarray,
    gap: np.ndarray,
    units: Units,
    pairing: str,
    unclear: str = "",
) -> PairSets:
    """Return the pairs of each set, without those of two models in one group.

    codes, places: the model of each item, and which of its items it is.  ends: the items of each pair.  values: the set
    of each pair.
    """
    one, other = (codes[end] for end in ends)
    counted = units.differ(one, other) | (one == other)
    sets = {value: np.flatnonzero((values == value) & counted) for value in dict.fromkeys(values)}
    fixed = np.unique(one) if pairing == "reference" else None
    return PairSets(one, other, (places[ends[0]], places[ends[1]]), sets, gap, units, fixed, unclear)


def _weigh_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return centred ranks of values that occur weights (draws, pairs) times each."""
    order = np.argsort(values, kind="stable")
    start = np.flatnonzero(tie_starts(values[order], 0.0))
    many = np.add.reduceat(weights[:, order], start, axis=1)
    rank = np.cumsum(many, axis=1) - (many - 1) / 2
    group = np.empty(len(values), int)
    group[order] = np.repeat(np.arange(len(start)), np.diff(np.r_[start, len(values)]))
    return rank[:, group] - (weights.sum(1, keepdims=True) + 1) / 2


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the correlation in each draw of centred ranks (draws, pairs); NaN if a side is constant."""
    weighted = weights * x
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weighted * y).sum(1) / np.sqrt((weighted * x).sum(1) * (weights * y * y).sum(1))
