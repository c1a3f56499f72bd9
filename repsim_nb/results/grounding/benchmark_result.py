"""What the benchmark gives: a table of measures, their differences, and what so many models could have shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from repsim_nb.results.inference.units import simultaneous
from repsim_nb.support.errors import unknown_name
from repsim_nb.support.summaries import summarize


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """How well measures go with what models can do.

    Attributes
    ----------
    table : DataFrame
        A row a measure, the best first. Columns:

        - spearman: ρ, the mean over sets of pairs (one for each reference, or for each layer);
        - low, high: its interval over units;
        - model_p: of the joint permutation of models; model_p_adjusted: the same, adjusted for the list of
        measures (max-T);
        - permuted: the mean ρ of models that changed places, which is what layers and depth alone give;
        - detectable: the ρ that this test finds at .05 in 8 of 10 studies of so many units, missing with fewer than 20
        orders;
        - spearman_p, kendall_p: with references only. They take pairs as independent, as published;
        - kendall: τ-b; n: the number of pairs; rank.

        model_p and what follows from it is left out if models, or groups of them, cannot change places;
        `no_permutation` says why.
    sets : DataFrame
        The same statistics for each measure and set.
    pairs : DataFrame
        A row a pair, with its gap and its distances.
    undefined : dict
        {measure: why it has no row}.
    models, units : int
        The numbers of models, and of independent units that were drawn.
    level : float
        Of the intervals.
    draws : DataFrame (n_bootstrap, measures)
        ρ in each resample of units.
    pairing : "reference" or "all"
        The pairs.
    unit : str
        What was drawn, such as "models (10)".
    n_permutations : int
        The number of orders of models that were compared; no model_p is below 1 / n_permutations.
    no_permutation : str
        Why models cannot change places; empty if they can.
    reliability : float or None
        The fraction of the variance of F between models (within a layer) that is not chance. None without `noise`, or
        if no layer has three models.
    ceiling : float or None
        The mean ρ of a measure that sees the true F without error.
    """

    table: pd.DataFrame
    sets: pd.DataFrame
    pairs: pd.DataFrame
    undefined: Mapping[str, str] = field(default_factory=dict)
    models: int = 0
    level: float = 0.95
    draws: pd.DataFrame = field(default_factory=pd.DataFrame)
    pairing: str = "reference"
    units: int = 0
    unit: str = ""
    n_permutations: int = 0
    no_permutation: str = ""
    reliability: float | None = None
    ceiling: float | None = None

    def compare_with(self, name: str | None = None) -> pd.DataFrame:
        """By how much the ρ of one measure is above that of each other, from the same resamples for both.

        Parameters
        ----------
        name : str, optional
            A measure of the table. None is the best, and then all pairs of measures are allowed for, because the best
            was chosen by these data.

        Returns
        -------
        DataFrame
            Index "measure". Columns: difference; low, high (simultaneous intervals, which all hold at once); p_value
            (adjusted for the list); detectable (the difference that one such interval tells from 0 in 8 of 10 studies);
            significant (0 is outside the interval).

        Raises
        ------
        ValueError
            For a measure without a row, and if it is the only one.
        """
        if len(self.table) == 1 and name in (None, self.table.index[0]):
            raise ValueError(
                f"'{self.table.index[0]}' is the only measure with a row: there is no other to compare with"
            )
        if name is None:
            return self.differences.xs(self.table.index[0], level="higher").rename_axis("measure")
        if name not in self.table.index:
            raise (
                ValueError(f"'{name}' has no value: {self.undefined[name]}")
                if name in self.undefined
                else unknown_name("measure of this benchmark", name, self.table.index)
            )
        return (
            self._differences([(name, other) for other in self.table.index.drop(name)])
            .droplevel(0)
            .rename_axis("measure")
        )

    @property
    def differences(self) -> pd.DataFrame:
        """`compare_with` for every pair of measures, as a frame with the index (higher, lower)."""
        names = list(self.table.index)
        return self._differences([(one, other) for i, one in enumerate(names) for other in names[i + 1 :]])

    def _differences(self, pairs: list[tuple[str, str]]) -> pd.DataFrame:
        index = (
            pd.MultiIndex.from_tuples(pairs, names=["higher", "lower"])
            if pairs
            else pd.MultiIndex.from_arrays([[], []], names=["higher", "lower"])
        )
        rho = self.table["spearman"]
        seen = pd.Series([float(rho[one] - rho[other]) for one, other in pairs], index=index, dtype=float)
        draws = pd.DataFrame(
            {pair: self.draws[pair[0]] - self.draws[pair[1]] for pair in pairs}, index=self.draws.index
        )
        draws.columns = index
        return simultaneous(seen, draws, self.units, self.level, widen=self.pairing == "reference")

    @property
    def about(self) -> str:
        """What these pairs can say, in one sentence or two."""
        if "model_p" not in self.table:
            text = f"there is no model_p: {self.no_permutation or 'nothing was exchanged'}"
        elif self.n_permutations < 20:
            text = (
                f"units change places in {self.n_permutations} orders only, so that no model_p is below"
                f" {1 / self.n_permutations:.2g}: whether ρ is about models cannot be asked here"
            )
        else:
            text = f"{self.n_permutations} orders of models"
        if self.ceiling is None:
            return text
        if self.reliability is not None and self.reliability <= 0:
            return (
                f"{text}; within layers models differ in F by no more than chance (reliability"
                f" {self.reliability:.2f}), so that a high model_p says nothing"
            )
        known = "" if self.reliability is None else f"reliability of F between models {self.reliability:.2f}; "
        return f"{text}; {known}a measure that sees the true F reaches ρ = {self.ceiling:.2f}"

    def __repr__(self) -> str:
        best, lost = self.table.iloc[0], f", {len(self.undefined)} undefined" if self.undefined else ""
        units = "" if self.units == self.models else f" in {self.units} units"
        return (
            f"Benchmark({len(self.table)} measures{lost}, {self.models} models{units}, {int(best['n'])} pairs;"
            f" highest ρ: {best.name} {best['spearman']:.3f} [{best['low']:.3f}, {best['high']:.3f}]; {self.about})"
        )

    def _repr_html_(self) -> str:
        ps = ("spearman_p", "model_p", "model_p_adjusted", "kendall_p")
        units = "" if self.units == self.models else f" in {self.units} units"
        return summarize(
            "Benchmark",
            "rank correlation of dissimilarity with the gap in functionality",
            [
                f"{self.models} models{units}",
                "pairs with references" if self.pairing == "reference" else "all pairs",
                f"{self.level:.0%} intervals over {'models' if self.units == self.models else 'units'}",
                self.about,
            ],
            table=self.table,
            notes=list_undefined(self.undefined),
            formatters=dict.fromkeys(ps, "{:.2g}".format),
            page="grounding.Benchmark",
        )


def list_undefined(undefined: Mapping[str, str]) -> list[str]:
    """Lines that name the measures without a row, and why."""
    return [f"undefined: {name}: {why}" for name, why in undefined.items()]
