"""The benchmark: measures ranked by how well their distances go with gaps in functionality, with intervals over networks."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .. import measures
from ..comparison import Choice, axis_of, by_item, compare, short_labels
from ..errors import listed, unknown
from ..escaping import without_formulas
from ..inference.results import between, by_counting, check_draws
from ..inference.samples import representations_of
from ..inference.squares import by_item_defined
from ..measures import CCA, Measure
from ..measures.ties import ranks_with_ties, tie_starts, tolerance_of
from ..progress import Tick, ticking
from .pairs import KINDS, check_columns, check_numbers, combined, judged

MEASURES: dict[str, Measure] = {
    "pwcca_all": CCA(summary="projection_weighted", normalise="all"),  # the published one: weights of the reference, over all its directions
    "pwcca_all_other": CCA(summary="projection_weighted", normalise="all", weights="y"),
    "pwcca_other": CCA(summary="projection_weighted", weights="y"),
    **measures.REPRESENTATIONAL,
}
Measures = Mapping[str, str | Measure] | Iterable[str | Measure] | None
AT_ONCE = 64  # items of a table: what is prepared of them must fit into memory, the references are prepared for each part again
FEWEST = 3  # networks to draw from
ALL_ORDERS = 7  # of no more networks all orders are gone through


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """How well measures go with what networks can do.

    table: a row a measure, the best first: spearman (ρ, the mean over references), low and high (its interval over networks), spearman_p, kendall, kendall_p (as
    `grounding.correlate` has them), network_p, n (pairs in all), rank. network_p is left out where networks do not have the same items.
    per_reference: the same statistics for each measure and reference.  pairs: a row a pair of a reference and another item, with gap and distances.
    undefined: {measure: why it has no row}.  networks: how many there are.  draws: ρ of each resample (rows), for each measure: paired, so that differences have
    intervals.
    """

    table: pd.DataFrame
    per_reference: pd.DataFrame
    pairs: pd.DataFrame
    undefined: Mapping[str, str] = field(default_factory=dict)
    networks: int = 0
    level: float = 0.95
    draws: pd.DataFrame = field(default_factory=pd.DataFrame)

    def against(self, name: str | None = None) -> pd.DataFrame:
        """By how much the ρ of one measure (the best, without a name) is above that of each other -> DataFrame, index "measure": difference, low, high, and `real`: 0 is
        not between these.

        Of the same resamples for both. Intervals are one by one: of twenty differences that are none, one looks real; and the best was chosen by these data.
        """
        name = self.table.index[0] if name is None else name
        if name not in self.table.index:
            raise ValueError(f"'{name}' has no value: {self.undefined[name]}") if name in self.undefined else unknown("measure of this benchmark", name, self.table.index)
        rows = {}
        for other in self.table.index.drop(name):
            low, high = between(self.draws[name] - self.draws[other], self.level)
            rows[other] = (float(self.table.loc[name, "spearman"] - self.table.loc[other, "spearman"]), low, high, low > 0 or high < 0)
        return pd.DataFrame.from_dict(rows, orient="index", columns=["difference", "low", "high", "real"]).rename_axis("measure")

    @property
    def differences(self) -> pd.DataFrame:
        """`against` for every pair of measures, the higher one first -> DataFrame, index (higher, lower)."""
        names = list(self.table.index)
        return pd.concat({name: self.against(name).loc[names[i + 1 :]] for i, name in enumerate(names[:-1])} or {names[0]: self.against()}, names=["higher", "lower"])

    def __repr__(self) -> str:
        best, lost = self.table.iloc[0], f", {len(self.undefined)} undefined" if self.undefined else ""
        return (f"Benchmark({len(self.table)} measures{lost}, {self.networks} networks, {int(best['n'])} pairs; highest ρ: {best.name} {best['spearman']:.3f} "
                f"[{best['low']:.3f}, {best['high']:.3f}])")

    def _repr_html_(self) -> str:
        ps = {name: "{:.2g}".format for name in ("spearman_p", "network_p", "kendall_p")}
        head = f"<p>Rank correlation of dissimilarity with the gap in functionality, {self.networks} networks; intervals at level {self.level:g}, over networks.</p>"
        return without_formulas(head + self.table.to_html(float_format="{:.3f}".format, formatters=ps) + listed_undefined(self.undefined))


def benchmark(
    representations: Mapping[Any, Any],
    functionality: Mapping[Any, float] | pd.Series,
    *,
    measures: Measures = None,
    network: Choice = "model",
    per: Choice | None = "layer",
    among: Iterable[Any] | None = None,
    across: bool | None = None,
    self_pairs: bool = False,
    n_bootstrap: int = 999,
    level: float = 0.95,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Benchmark:
    """Which measures see that networks do not work alike? Distances to the best representation of each layer, held against the gap in functionality -> Benchmark.

    representations: {label: array (n, p)}, all of the same samples.  functionality: {label: F} or a Series over the labels (of levels, those that both have), or
    {network: F}: an accuracy.
    measures: short names, Measures, or {name: Measure}; None is `grounding.MEASURES`: all representational ones, and PWCCA as published ("pwcca_all": the reference
    gives the weights, over all its directions) and with the weights of the other item ("pwcca_all_other", "pwcca_other").
    network, per: which network an item is of, and what a reference is chosen for: a field of the labels, or a choice as `inference.anosim` takes it; per=None makes one
    reference of all.
    among: the labels that may be references (the undeleted ones, say); None is all. For each value of `per` the one with the highest F is, and every other item makes a
    pair with it.  across: those of other layers too; None: where layers of a network differ in F (where F is the network's, depth would only blur it).
    self_pairs: also the reference with itself, as in the published code.  Dissimilarities are computed in float64, for these pairs only; a measure without a value for one of them has no
    row, and a reason.
    low, high: whole networks are drawn with replacement, references kept: between which values ρ lies in a share `level` of the resamples. Simulated (one to six layers,
    ρ from .1 to .7): of 100 intervals at level 0.95 they held the ρ of all networks in 87 to 96 where there were 10, in 90 to 94 with 25, and the difference of two
    measures in 90 to 96; of other references they say nothing.
    network_p: how often ρ is as high when the networks other than the reference's change places, each with the gaps of all its layers: one-sided, combined over
    references as in `correlate`. What depth alone does to ρ stays there, so a high ρ with a high network_p sees layers and no networks; spearman_p and kendall_p take
    all pairs of a reference as independent.
    Errors: ValueError for F that is missing or the same for all, fewer than 3 networks.  [Ding, Denain, Steinhardt 2021]
    """
    chosen = chosen_measures(measures)
    check_draws(n_bootstrap, level)
    representations, _ = representations_of(representations)
    labels = list(representations)
    index = axis_of(representations)
    f = _functionality(labels, index, functionality)
    networks = by_item_defined(index, network, "network")
    layers = pd.Series("all", index=range(len(labels)), name="per") if per is None else by_item_defined(index, per, "per")
    fields = (str(networks.name), str(layers.name))
    best = _references(labels, f, layers, among)
    if isinstance(network, str) and index.nlevels > 1:
        rest = index.droplevel(network)
    else:  # which item of which network is which is told by its layer, and there by its place
        rest = pd.MultiIndex.from_arrays([layers, networks.groupby([networks.to_numpy(), layers.to_numpy()]).cumcount()])
    names, one, other = short_labels(index), [], []
    if across is None:
        across = bool((pd.Series(f).groupby(networks.to_numpy()).nunique() > 1).any())
    for i in best.values():
        others = [j for j in range(len(labels)) if (self_pairs or j != i) and (across or layers[j] == layers[i])]
        one, other = one + [i] * len(others), other + others
    frame = pd.DataFrame({f"{side}{end}": of.to_numpy()[at] for end, at in (("1", one), ("2", other)) for side, of in zip(fields, (networks, layers), strict=True)})
    frame = frame.assign(reference=[names[i] for i in one], other=[names[j] for j in other], gap=_gaps(f[one], f[other]))
    taken = [name for name in chosen if name in frame]
    if taken:
        raise ValueError(f"{listed(taken)} is a column of the pairs: give the measure another name")
    rows, undefined = {i: row for row, i in enumerate(dict.fromkeys(best.values()))}, {}
    references = {labels[i]: _exact(representations[labels[i]]) for i in rows}
    parts = [labels[k : k + AT_ONCE] for k in range(0, len(labels), AT_ONCE)]
    with ticking(progress, "benchmark", "table") as tick:
        for done, (name, measure) in enumerate(chosen.items()):
            values, reasons = [], {}
            for k, part in enumerate(parts):
                tick(done * len(parts) + k, len(chosen) * len(parts))
                found = compare(measure, references, {label: _exact(representations[label]) for label in part}, on_undefined="mask")
                values.append(found.dissimilarity().to_numpy(float))
                reasons |= found.undefined
            values = np.concatenate(values, axis=1)[[rows[i] for i in one], other]
            missing = np.flatnonzero(np.isnan(values))
            if len(missing):
                undefined[name] = f"{len(missing)} of {len(values)} pairs have no value: {reasons[index[one[missing[0]]], index[other[missing[0]]]]}"
            else:
                frame[name] = values
        tick(len(chosen) * len(parts), len(chosen) * len(parts))
    places = pd.factorize(rest)[0][other]
    return _ranked(frame, [name for name in chosen if name in frame], "gap", fields, places, undefined, n_bootstrap, level, seed)


def ranked(
    pairs: pd.DataFrame, distances: Sequence[str], gap: str, *, network: str = "seed", per: str = "layer", n_bootstrap: int = 999, level: float = 0.95, seed: int = 0
) -> Benchmark:
    """The benchmark's table of pairs that are there already, as `reference_pairs` gives them: columns {network}1, {per}1 of the reference, {network}2, {per}2 of the
    other item -> Benchmark."""
    check_draws(n_bootstrap, level)
    names = [distances] if isinstance(distances, str) else list(distances)
    check_columns(pairs, [*names, gap, *(f"{side}{end}" for side in (network, per) for end in (1, 2))])
    check_numbers(pairs, [*names, gap])
    return _ranked(pairs, names, gap, (network, per), pd.factorize(pairs[f"{per}2"])[0], {}, n_bootstrap, level, seed)


def _ranked(
    frame: pd.DataFrame, names: list[str], gap: str, fields: tuple[str, str], places: np.ndarray, undefined: dict[str, str], n_bootstrap: int, level: float, seed: int
) -> Benchmark:
    network, per = fields
    codes, known = pd.factorize(frame[f"{network}2"])
    if len(known) < FEWEST:
        raise ValueError(f"networks are drawn for intervals, and there {'is' if len(known) == 1 else 'are'} {len(known)} ({listed(known)}): {FEWEST} are the least, "
                         "10 or more say something")
    groups = dict(frame.groupby(f"{per}1", sort=False).indices)
    for value, rows in groups.items():
        if len(rows) < 3 or frame[gap].iloc[rows].nunique() == 1:
            raise ValueError(f"the reference of {per}={value} needs 3 pairs or more whose gaps in functionality differ; "
                             f"it has {len(rows)}, and the first gap is {frame[gap].iloc[rows[0]]:.4g}")
    counts = np.random.default_rng(seed).multinomial(len(known), np.full(len(known), 1 / len(known)), size=n_bootstrap)
    own = {value: known.get_indexer([frame[f"{network}1"].iloc[rows[0]]])[0] for value, rows in groups.items()}
    statistics, draws, exchanged = {}, {}, {}
    for name in names:
        try:
            tests = {value: {kind: judged(frame.iloc[rows], name, gap, kind, "greater", f"{per}={value}") for kind in KINDS} for value, rows in groups.items()}
        except ValueError as error:  # gaps were seen to differ, so it is the distances that do not
            undefined[name] = str(error)
            continue
        statistics[name] = tests
        x, y = frame[name].to_numpy(float), frame[gap].to_numpy(float)
        draws[name] = np.mean([_drawn(x[rows], y[rows], counts[:, codes[rows]]) for rows in groups.values()], axis=0)
        exchanged[name] = [_exchanged(x[rows], y[rows], codes[rows], places[rows], own[value], seed) for value, rows in groups.items()]
    if not statistics:
        raise ValueError(f"no measure has a value for all pairs: {listed(f'{name}: {why}' for name, why in undefined.items())}")
    drawn = pd.DataFrame(draws)
    kept = np.isfinite(drawn.to_numpy()).all(axis=1)
    if kept.mean() < 0.5:
        raise ValueError(f"in {(~kept).sum()} of {n_bootstrap} resamples of {len(known)} networks all gaps or all distances were the same: "
                         "there are too few networks for an interval")
    drawn = drawn[kept].reset_index(drop=True)
    table = {}
    for name, tests in statistics.items():
        row = {kind: float(np.mean([test[kind].statistic for test in tests.values()])) for kind in KINDS}
        row |= {f"{kind}_p": combined([test[kind].p_value for test in tests.values()]) for kind in KINDS}
        row["low"], row["high"] = between(drawn[name], level)
        if None not in exchanged[name]:
            row["network_p"] = combined(exchanged[name])
        table[name] = row
    ordered = [column for column in ("spearman", "low", "high", "spearman_p", "network_p", "kendall", "kendall_p") if column in next(iter(table.values()))]
    result = pd.DataFrame.from_dict(table, orient="index")[ordered].rename_axis("measure").sort_values("spearman", ascending=False, kind="stable")
    result = result.assign(n=len(frame), rank=result["spearman"].rank(ascending=False, method="min").astype(int))
    rows = []
    for name, tests in statistics.items():
        for (value, test), p in zip(tests.items(), exchanged[name], strict=True):
            found = {f"{kind}{end}": number for kind in KINDS for end, number in (("", test[kind].statistic), ("_p", test[kind].p_value))}
            rows.append({"measure": name, per: value, "reference": frame[f"{network}1"].iloc[groups[value][0]], **found, "network_p": p, "n": len(groups[value])})
    each = pd.DataFrame(rows).set_index(["measure", per])
    each = each if "network_p" in result else each.drop(columns="network_p")
    everybody = pd.concat([frame[f"{network}1"], frame[f"{network}2"]]).nunique()  # a network that is the reference of all is in no pair as the other
    return Benchmark(result, each, frame, undefined, everybody, level, drawn[list(result.index)])


def _drawn(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's ρ (draws,) of pairs that come weights (draws, pairs) times each; NaN where a side is constant."""
    total = weights.sum(1, keepdims=True)
    a, b = (_ranks(side, weights) - (total + 1) / 2 for side in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights * a * b).sum(1) / np.sqrt((weights * a * a).sum(1) * (weights * b * b).sum(1))


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean rank of each value among all, each as often as its weight says."""
    order = np.argsort(values, kind="stable")
    start = np.flatnonzero(tie_starts(values[order], tolerance_of(values)))
    many = np.add.reduceat(weights[:, order], start, axis=1)
    rank = np.cumsum(many, axis=1) - (many - 1) / 2
    group = np.empty(len(values), int)
    group[order] = np.repeat(np.arange(len(start)), np.diff(np.r_[start, len(values)]))
    return rank[:, group]


def _exchanged(x: np.ndarray, y: np.ndarray, network: np.ndarray, place: np.ndarray, own: int, seed: int, n_permutations: int = 999) -> float | None:
    """p of Spearman's ρ when networks other than the reference's change places, each with the gaps of all its items; None where they do not have the same items."""
    a, b = (ranks_with_ties(side, tolerance_of(side)) for side in (x, y))
    others = [k for k in np.unique(network) if k != own]
    rows = [np.flatnonzero(network == k)[np.argsort(place[network == k], kind="stable")] for k in others]
    if len(others) < 2 or any(not np.array_equal(place[r], place[rows[0]]) for r in rows):
        return None
    products = np.array([[a[r] @ b[s] for s in rows] for r in rows])  # ranks stay what they are: the same gaps, at other networks
    m = len(others)
    every = m <= ALL_ORDERS
    rng = np.random.default_rng(seed)
    orders = np.array(list(itertools.permutations(range(m)))) if every else rng.permuted(np.tile(np.arange(m), (n_permutations, 1)), axis=1)
    null = products[np.arange(m), orders].sum(axis=1)
    return by_counting(float(np.trace(products)), null, "greater", every).p_value


def listed_undefined(undefined: Mapping[str, str]) -> str:
    """HTML: which measures have no row, and why; empty where all have one."""
    said = "".join(f"<li>{html.escape(name)}: {html.escape(why)}</li>" for name, why in undefined.items())
    return f"<p>undefined:</p><ul>{said}</ul>" if said else ""


def chosen_measures(chosen: Measures) -> dict[str, Measure]:
    """Measures by the names that tables have them under; None is all of MEASURES."""
    if chosen is None:
        return dict(MEASURES)
    if isinstance(chosen, (str, Measure)):
        chosen = [chosen]
    found = {}
    for item in chosen:
        given = chosen[item] if isinstance(chosen, Mapping) else item
        measure = MEASURES.get(given) if isinstance(given, str) else given
        measure = measures.get(given) if measure is None else measures.get(measure)
        found[item if isinstance(chosen, Mapping) or isinstance(item, str) else measures.short_name(measure)] = measure
    if not found:
        raise ValueError("there is no measure to judge: name one or several")
    return found


def _functionality(labels: list[Any], index: pd.Index, given: Mapping[Any, float] | pd.Series) -> np.ndarray:
    if isinstance(given, pd.Series) and given.index.nlevels > 1 and index.nlevels > 1:
        if given.index.nlevels == index.nlevels and not any(given.index.names):  # pd.Series({key: F})
            given = given.rename_axis(index.names)
        common = [name for name in index.names if name in given.index.names]
        if not common:
            raise ValueError(f"functionality is by {listed(given.index.names)}, and labels have the fields {listed(index.names)}: none is in both")
        series, own = given.droplevel([name for name in given.index.names if name not in common]), index.droplevel([name for name in index.names if name not in common])
        series = series.reorder_levels(common) if series.index.nlevels > 1 else series
        if series.index.has_duplicates:
            raise ValueError(f"functionality is one number an item; it has several for {series.index[series.index.duplicated()][0]}, by {listed(common)}")
        missing = own[~own.isin(series.index)]
        if len(missing):
            raise ValueError(f"functionality has no value for {listed(missing, 3)}; it has values for {listed(series.index, 3)}")
        values = series.loc[own].to_numpy()
    elif isinstance(given, Mapping) and all(label in given for label in labels):
        values = np.array([given[label] for label in labels])
    else:
        values = by_item(index, given, "functionality").to_numpy()
    try:
        values = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"functionality is a number an item, such as an accuracy; something else is there ({error})") from error
    if not np.isfinite(values).all():
        bad = [labels[i] for i in np.flatnonzero(~np.isfinite(values))]
        raise ValueError(f"functionality is undefined (NaN) or infinite for {listed(map(measures.named, bad), 3)}: leave those items out")
    if np.ptp(values) == 0:
        raise ValueError(f"functionality is {values[0]:.4g} for all {len(values)} items: there is nothing for a measure to see")
    return values


def _gaps(f: np.ndarray, other: np.ndarray) -> np.ndarray:
    """|F - F'|: accuracies are shares of the same few samples, so gaps tie often, and the last digits of a difference would put them in an order."""
    scale = max(np.abs(f).max(), np.abs(other).max())
    return np.round(np.abs(f - other) / scale, 12) * scale


def _references(labels: list[Any], f: np.ndarray, layers: pd.Series, among: Iterable[Any] | None) -> dict[Any, int]:
    """For each layer the place of the item with the highest F among those that may be references."""
    allowed = np.ones(len(labels), bool)
    if among is not None:
        wanted = list(among)
        strange = [label for label in wanted if label not in labels]
        if strange:
            raise ValueError(f"references are chosen among the labels of representations; {listed(map(measures.named, strange), 3)} is none")
        allowed = np.array([label in wanted for label in labels])
    found = {}
    for layer in dict.fromkeys(layers):
        places = np.flatnonzero((layers == layer).to_numpy() & allowed)
        if not len(places):
            raise ValueError(f"every value of '{layers.name}' needs a reference, and among={{...}} has no label with '{layer}'")
        found[layer] = int(places[f[places].argmax()])
    return found


def _exact(x: Any) -> np.ndarray:
    """In float64, as NumPy; what holds no real numbers stays, and the measure says so."""
    if hasattr(x, "detach"):
        return x.detach().cpu().double().numpy() if not x.is_complex() else x
    return np.asarray(x, dtype=np.float64) if x.dtype.kind in "fiub" else x
