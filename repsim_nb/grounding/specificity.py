"""Specificity: is a layer nearer to the same layer of another network than to other layers?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import measures
from ..comparison import compare
from ..errors import listed
from ..inference import Interval
from ..inference.results import check_level
from ..measures import Measure
from ..progress import Tick
from .populations import axis, check_bootstrap, exact, resamples


@dataclass(frozen=True, eq=False, repr=False)
class Specificity:
    """Whether a measure finds the same layer again in another network.

    accuracy: for what share of layers, over all ordered pairs of networks, the most alike layer of the other network is the same one.  interval: over networks.  chance: 1 / number of layers.
    matches: DataFrame (layers, layers), for what share of pairs the layer of the row was most alike to that of the column in another network; rows sum to 1.
    accuracies: DataFrame (networks, networks), of each ordered pair; the diagonal is 1, a network and itself.
    moves: a row a layer: cross (its mean dissimilarity to the same layer of other networks), moves (how many layers one must move within a network to be further away than that, in every direction
    that there is; the median over networks, infinite where most never are), never (the share of networks where none is as far).
    """

    accuracy: float
    interval: Interval
    chance: float
    matches: pd.DataFrame
    accuracies: pd.DataFrame
    moves: pd.DataFrame
    measure: str

    def __repr__(self) -> str:
        return (f"Specificity({self.measure}: layer found in {self.accuracy:.0%} ({self.interval.low:.0%} to {self.interval.high:.0%}; chance {self.chance:.0%}), "
                f"{len(self.accuracies)} networks × {len(self.matches)} layers)")


def specificity(
    representations: Mapping[Any, Any],
    measure: str | Measure,
    *,
    network: str = "model",
    per: str = "layer",
    n_bootstrap: int = 999,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Specificity:
    """Do layers of networks that differ by their seed only lie nearer to the same layer of another seed than to their own neighbours? -> Specificity.

    representations: {key: array (n, ...)}, of every network the same layers in the same order, all of the same samples.  measure: a name or a Measure; of one that is not symmetric the layer that looks for
    its like is the first side.  network, per: the fields of the keys that name the network and the layer.
    The interval is a bootstrap's: networks are drawn with replacement, and pairs of a network with itself do not count.
    Errors: ValueError for a single network or layer, or networks with other layers; UndefinedError where the measure has no value.  [Kornblith et al. 2019; Ding, Denain, Steinhardt 2021]
    """
    index, measure = axis(representations, network, per), measures.get(measure)
    check_level(level)
    check_bootstrap(n_bootstrap)
    names, layers = (list(dict.fromkeys(index.get_level_values(field))) for field in (network, per))
    if len(names) < 2 or len(layers) < 2:
        raise ValueError(f"layers are looked for in another network, so there must be two networks and two layers or more; here are {len(names)} and {len(layers)}")
    for name in names:
        own = list(index.get_level_values(per)[index.get_level_values(network) == name])
        if own != layers:
            raise ValueError(f"every network needs the same layers, once each and in one order; '{names[0]}' has {listed(layers, 8)}, '{name}' has {listed(own, 8)}")
    order = np.lexsort((pd.factorize(index.get_level_values(per))[0], pd.factorize(index.get_level_values(network))[0]))
    table = compare(measure, exact(representations), progress=progress).dissimilarity().to_numpy()[np.ix_(order, order)]
    many, deep = len(names), len(layers)
    d = table.reshape(many, deep, many, deep).transpose(0, 2, 1, 3)  # network, network, layer, layer
    found = d.argmin(axis=3)  # of each layer the most alike one of the other
    right = (found == np.arange(deep)).mean(axis=2)
    apart = ~np.eye(many, dtype=bool)
    draws = [right[np.ix_(draw, draw)][draw[:, None] != draw].mean() for draw in resamples(many, n_bootstrap, seed)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    matches = np.stack([(found[apart] == layer).mean(axis=0) for layer in range(deep)], axis=1)
    cross = np.stack([d[a, apart[a]][:, range(deep), range(deep)].mean(axis=0) for a in range(many)])  # network, layer
    moves = np.stack([_moves(d[a, a], cross[a]) for a in range(many)])
    of_layers = pd.Index(layers, name=per)
    frame = pd.DataFrame({"cross": cross.mean(axis=0), "moves": np.median(moves, axis=0), "never": np.isinf(moves).mean(axis=0)}, index=of_layers)
    axes = pd.Index(names, name=network)
    return Specificity(
        float(right[apart].mean()), Interval(float(low), float(high), level), 1 / deep, pd.DataFrame(matches, index=of_layers.rename("layer"), columns=of_layers.rename("most alike")),
        pd.DataFrame(right, index=axes, columns=axes), frame, measures.short_name(measure),
    )  # fmt: skip


def _moves(own: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """For each layer the least number of layers from which on, up and down, the same network is further away than `cross`; infinite where none is."""
    deep = len(own)
    found = np.full(deep, np.inf)
    for layer in range(deep):
        for away in range(1, deep):
            there = [other for other in (layer - away, layer + away) if 0 <= other < deep]
            if there and (own[layer, there] > cross[layer]).all():
                found[layer] = away
                break
    return found
