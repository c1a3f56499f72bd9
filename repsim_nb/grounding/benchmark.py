"""The benchmark: which measure's distances follow the differences in what networks can do?"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from .. import measures
from ..comparison import Choice, compare
from ..errors import UndefinedError, listed, one_of
from ..inference.results import check_level
from ..inference.squares import by_item_defined
from ..measures import CCA, Measure
from ..progress import Tick, ticking
from .correlations import correlate, within
from .populations import Measures, axis, by_name, check_bootstrap, exact, resamples

CATALOGUE: dict[str, Measure] = {**measures.REPRESENTATIONAL, "pwcca": CCA(summary="projection_weighted", normalise="all"), "pwcca_kept": CCA(summary="projection_weighted")}
"""Every representational measure, PWCCA in the form of the published code: the reference gives the weights, directions that the other lacks count as 0. `pwcca_kept` leaves those out."""

FEWEST = 4  # networks: of three, nearly every draw lacks one, and the interval is that of two


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """How well each measure's distances follow gaps in function, over pairs of a reference with all others.

    table: a row a measure, the best first: rank, spearman (mean over references), low, high (its interval over networks), spearman_p, kendall, kendall_p, n (pairs), as in `correlate`.
    per_reference: the same for each reference, index (distance, layer).  pairs: a row a pair: the reference (network, layer), the other, gap, a column of dissimilarities a measure.
    draws: the mean Spearman of each measure in each resample of networks (n_bootstrap, measures).  undefined: {measure: why it has no row}.
    """

    table: pd.DataFrame
    per_reference: pd.DataFrame
    pairs: pd.DataFrame
    draws: pd.DataFrame
    undefined: Mapping[str, str]
    networks: int
    level: float

    def against(self, name: str | None = None) -> pd.DataFrame:
        """How much more `name` (None: the first) correlates than each other measure -> DataFrame: difference, low, high, real: whether the interval leaves out 0.

        The same networks are drawn for both sides, so that what both owe to the draw falls out. A measure that gives the same order of pairs differs by 0, and never really.
        """
        name = one_of("measure", self.table.index[0] if name is None else name, self.table.index)
        others = self.table.index.drop(name)
        apart = self.draws[[name]].to_numpy() - self.draws[others]
        low, high = np.quantile(apart, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0) if len(others) else ([], [])
        difference = self.table["spearman"][name] - self.table["spearman"][others]
        return pd.DataFrame({"difference": difference, "low": low, "high": high, "real": (np.asarray(low) > 0) | (np.asarray(high) < 0)}, index=others)

    def __repr__(self) -> str:
        best = self.table.iloc[0]
        return f"Benchmark({len(self.table)} measures, {self.networks} networks, {best['n']:.0f} pairs; first: {self.table.index[0]}, ρ {best['spearman']:.2f} ({best['low']:.2f} to {best['high']:.2f}))"

    def _repr_html_(self) -> str:
        shown = self.table.drop(columns="n").map(lambda value: f"{value:.3g}" if isinstance(value, float) and 0 < abs(value) < 5e-4 else f"{value:z.3f}" if isinstance(value, float) else value)
        gone = "".join(f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in self.undefined.items())
        said = f"<p>{self.networks} networks, {self.table['n'].iloc[0]} pairs; intervals ({self.level:.0%}) over networks</p>"
        return said + shown.to_html() + (f"<p>Without a value:</p><ul>{gone}</ul>" if gone else "")


def benchmark(
    representations: Mapping[Any, Any],
    functionality: Choice,
    *,
    measures: Measures = CATALOGUE,
    network: str = "model",
    per: str = "layer",
    itself: bool = False,
    n_bootstrap: int = 999,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Benchmark:
    """Do representations that lie further apart differ more in function? Rank correlations of each measure's distances with |F - F'| -> Benchmark.

    For each layer the best-scoring representation is the reference; its dissimilarities to all others, of every layer, in float64, are correlated with the gaps in F; the table holds the means over layers.
    representations: {key: array (n, ...)}, all of the same samples.  functionality: F of each (the accuracy of a probe, or of the network on a test): {key: F}, a Series by key, {network: F}, or one value an item.
    measures: names, Measures, or {name: measure}; the reference is the first side of those that are not symmetric.  network, per: the fields of the keys that say which network an item is
    of, and of which layer.  itself: whether the pair of a reference with itself counts, as in the published code.
    Intervals: networks are drawn with replacement n_bootstrap times, all their layers together, references staying as they are, and lie between the quantiles of the correlation. They say how far it hangs
    on these networks; with ten of them or fewer they are too narrow rather than too wide. Of seeds that share a pre-training, `network` may name the field that says which.
    Errors: ValueError for fewer than 4 networks, F that is undefined or the same for all; TypeError for no keys. A measure without a value for some pair is left out, with its reason.
    [Ding, Denain, Steinhardt 2021]
    """
    index, wanted = axis(representations, network, per), by_name(measures)
    check_level(level)
    check_bootstrap(n_bootstrap)
    if isinstance(functionality, Mapping) and all(label in functionality for label in representations):
        functionality = [functionality[label] for label in representations]
    score = by_item_defined(index, functionality, "functionality").to_numpy(float)
    names, layers = index.get_level_values(network), index.get_level_values(per)
    numbers, known = pd.factorize(names)
    if len(known) < FEWEST:
        raise ValueError(f"intervals over networks need at least {FEWEST} of them, ten for one worth printing; the field '{network}' has {len(known)}: {listed(known)}")
    if not np.ptp(score) > 0:
        raise ValueError(f"functionality is {score[0]:.4g} for all {len(score)} representations, so there is no gap to foretell")
    references = [int(rows[np.argmax(score[rows])]) for rows in (np.flatnonzero(layers == layer) for layer in dict.fromkeys(layers))]
    xs = exact(representations)
    labels = list(xs)
    pairs = _pairs(index, references, score, network, per)
    kept = np.ones(len(pairs), bool) if itself else np.tile(np.arange(len(index)), len(references)) != np.repeat(references, len(index))
    undefined: dict[str, str] = {}
    with ticking(progress, "grounding", "measure") as tick:
        for done, (name, measure) in enumerate(wanted.items()):
            tick(done, len(wanted))
            try:
                found = compare(measure, {labels[i]: xs[labels[i]] for i in references}, xs).dissimilarity().to_numpy()
            except UndefinedError as error:
                undefined[name] = str(error)
                continue
            pairs[name] = found.ravel()
        tick(len(wanted), len(wanted))
    if len(undefined) == len(wanted):
        raise UndefinedError(f"no measure has a value for all pairs; {next(iter(undefined))}: {next(iter(undefined.values()))}")
    defined = [name for name in wanted if name not in undefined]
    pairs, of_other = pairs[kept].reset_index(drop=True), np.tile(numbers, len(references))[kept]
    draws = _drawn(pairs, defined, of_other, per, resamples(len(known), n_bootstrap, seed))
    table = correlate(pairs, defined, "gap", by=per)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    table.insert(1, "low", low)
    table.insert(2, "high", high)
    table = table.sort_values("spearman", ascending=False, kind="stable")
    table.insert(0, "rank", rankdata(-table["spearman"].round(9), method="min").astype(int))
    return Benchmark(table.rename_axis("measure"), within(pairs, defined, "gap", by=per), pairs, draws, undefined, len(known), level)


def _pairs(index: pd.Index, references: list[int], score: np.ndarray, network: str, per: str) -> pd.DataFrame:
    """Every reference with every item, reference by reference."""
    items = index.to_frame(index=False)[[network, per]]
    own = items.iloc[np.repeat(references, len(index))].reset_index(drop=True)
    other = pd.concat([items] * len(references), ignore_index=True).add_prefix("other_")
    gaps = np.abs(score[None, :] - score[references][:, None]).ravel()
    return pd.concat([own, other], axis=1).assign(gap=gaps)


def _drawn(pairs: pd.DataFrame, distances: list[str], of_other: np.ndarray, per: str, draws: np.ndarray) -> pd.DataFrame:
    """The mean Spearman over references of each distance, for each draw of networks; each pair counts as often as the other's network was drawn."""
    columns = pairs[[*distances, "gap"]].to_numpy(float)
    own = [np.flatnonzero(pairs[per] == layer) for layer in dict.fromkeys(pairs[per])]
    means = np.zeros((len(draws), len(distances)))
    for k, draw in enumerate(draws):
        times = np.bincount(draw, minlength=draws.shape[1])
        for rows in own:
            repeated = np.repeat(rows, times[of_other[rows]])
            means[k] += _spearman(columns[repeated]) / len(own)
    return pd.DataFrame(means, columns=pd.Index(distances, name="measure"))


def _spearman(columns: np.ndarray) -> np.ndarray:
    """Of each column but the last with the last; a draw that leaves a side constant says nothing of it, 0."""
    ranks = rankdata(columns, axis=0)
    ranks -= ranks.mean(axis=0)
    lengths = np.sqrt((ranks * ranks).sum(axis=0))
    product = lengths[:-1] * lengths[-1]
    return np.where(product > 0, ranks[:, :-1].T @ ranks[:, -1] / np.where(product > 0, product, 1), 0.0)
