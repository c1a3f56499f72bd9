"""The result of the benchmark: a table of measures, their differences, and what so many models could have shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from repsim_nb import measures
from repsim_nb.measures import Measure
from repsim_nb.results.inference.units import simultaneous
from repsim_nb.support.errors import unknown_name
from repsim_nb.support.summaries import count_of, first_few, percent, summarize


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark:
    """How well the dissimilarities of measures follow differences in functionality.

    Attributes
    ----------
    table : DataFrame, index "measure"
        One row for each measure, the highest ρ first. Columns:

        - spearman: ρ, the mean over sets of pairs (one for each reference, or for each layer);
        - low, high: its interval over units;
        - model_p: p-value of the joint permutation of models;
        - model_p_adjusted: the same, adjusted for the number of measures (max-T);
        - permuted: the mean ρ under permutation of models, which is what layers and depth alone give;
        - detectable: the ρ that this test detects at .05 in 8 of 10 studies with so many units; missing with fewer than
          20 orders;
        - spearman_p, kendall_p: only with references. They take pairs as independent, as published;
        - kendall: τ-b;
        - n: the number of pairs;
        - rank: 1 for the highest ρ.

        model_p, model_p_adjusted, permuted and detectable are missing if models, or groups of them, cannot change
        places; see `no_permutation`.
    sets : DataFrame, index (measure, layer)
        ρ, τ-b, their p-values and the number of pairs for each measure and set.
    pairs : DataFrame
        One row for each pair, with its two items, its gap and its distance by each measure.
    undefined : dict
        {measure: why it has no row}.
    models : int
        The number of models.
    level : float
        The level of the intervals.
    draws : DataFrame (n_bootstrap, measures)
        ρ in each resample of units.
    pairing : {"reference", "all"}
        Which pairs were used.
    units : int
        The number of independent units: models, or groups of them.
    unit : str
        What was drawn, such as "models (10)".
    n_permutations : int
        The number of orders of models; model_p is never below 1 / n_permutations.
    no_permutation : str
        Why models cannot change places; empty if they can.
    reliability : float or None
        The fraction of the variance of F between models (within a layer) that is not chance. None without `noise`, or
        if no layer has three models.
    ceiling : float or None
        The mean ρ of a measure that follows the true F without error; None without `noise`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> F = {f"net{k}": k / 10 for k in range(6)}
    >>> common = rng.normal(size=(60, 4))
    >>> xs = {name: np.hstack([common, 4 * f * common**2]) for name, f in F.items()}
    >>> found = rs.grounding.benchmark(xs, F, measures=["cka", "nbs"], pairs="all", model=list(F), per=None)
    >>> found.table[["spearman", "model_p", "n"]].round(2)
             spearman  model_p   n
    measure
    cka          0.84      0.0  15
    nbs          0.80      0.0  15
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

    def compare_with(self, name: str | Measure | None = None) -> pd.DataFrame:
        """Compare the ρ of one measure with that of each other one, in the same resamples.

        Parameters
        ----------
        name : str or Measure, optional
            A measure of the table. By default the one with the highest ρ; then intervals allow for all pairs of
            measures, since these data selected it.

        Returns
        -------
        DataFrame, index "measure"
            Columns: difference (ρ of `name` minus ρ of the other); low, high (simultaneous intervals); p_value
            (adjusted for the number of rows); detectable (the difference that such an interval distinguishes from 0 in
            8 of 10 studies); significant (0 is outside the interval).

        Raises
        ------
        ValueError
            For a measure without a row, or if it is the only one.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> F = {f"net{k}": k / 10 for k in range(6)}
        >>> common = rng.normal(size=(60, 4))
        >>> xs = {name: np.hstack([common, 4 * f * common**2]) for name, f in F.items()}
        >>> found = rs.grounding.benchmark(xs, F, measures=["cka", "nbs"], pairs="all", model=list(F), per=None)
        >>> found.compare_with("cka")[["difference", "significant"]].round(2)
                 difference  significant
        measure
        nbs            0.04        False
        """
        name = name if name is None or isinstance(name, str) else measures.short_name(measures.get(name))
        if len(self.table) == 1 and name in (None, self.table.index[0]):
            raise ValueError(f"compare_with needs another measure; '{self.table.index[0]}' is the only one with a row.")
        if name is None:
            return self.differences.xs(self.table.index[0], level="higher").rename_axis("measure")
        if name not in self.table.index:
            raise (
                ValueError(f"measure '{name}' is undefined: {self.undefined[name]}")
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
        """`compare_with` for all pairs of measures, as a frame with the index (higher, lower)."""
        names = list(self.table.index)
        return self._differences([(one, other) for i, one in enumerate(names) for other in names[i + 1 :]])

    def _differences(self, pairs: list[tuple[str, str]]) -> pd.DataFrame:
        """Return simultaneous intervals of the differences of these pairs of measures."""
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
        """What these pairs can show, in one or two sentences."""
        if "model_p" not in self.table:
            text = f"there is no model_p: {self.no_permutation or 'nothing was exchanged'}"
        elif self.n_permutations < 20:
            text = (
                f"units change places in only {self.n_permutations} orders, so that no model_p is below"
                f" {1 / self.n_permutations:.2g}: these data cannot show whether ρ is about models"
            )
        else:
            text = f"{self.n_permutations} orders of models"
        if self.ceiling is None:
            return text
        if self.reliability is not None and self.reliability <= 0:
            return (
                f"{text}; within layers models differ in F by no more than chance (reliability"
                f" {self.reliability:.2f}), so that a high model_p is no evidence"
            )
        known = "" if self.reliability is None else f"reliability of F between models {self.reliability:.2f}; "
        return f"{text}; {known}a measure that follows the true F reaches ρ = {self.ceiling:.2f}"

    def __repr__(self) -> str:
        best, lost = self.table.iloc[0], f", {len(self.undefined)} undefined" if self.undefined else ""
        units = "" if self.units == self.models else f" in {self.units} units"
        return (
            f"Benchmark({len(self.table)} measures{lost}, {count_of(self.models, 'model')}{units},"
            f" {int(best['n'])} pairs;"
            f" highest ρ: {best.name} {best['spearman']:.3f} [{best['low']:.3f}, {best['high']:.3f}]; {self.about})"
        )

    def _repr_html_(self) -> str:
        ps = ("spearman_p", "model_p", "model_p_adjusted", "kendall_p")
        units = "" if self.units == self.models else f" in {self.units} units"
        return summarize(
            "Benchmark",
            "rank correlation of dissimilarity with the gap in functionality",
            [
                f"{count_of(self.models, 'model')}{units}",
                "pairs with references" if self.pairing == "reference" else "all pairs",
                f"{percent(self.level)} intervals over {'models' if self.units == self.models else 'units'}",
                self.about,
            ],
            table=self.table,
            notes=list_undefined(self.undefined),
            formatters=dict.fromkeys(ps, "{:.2g}".format),
            page="grounding.Benchmark",
        )


def list_undefined(undefined: Mapping[str, str]) -> list[str]:
    """Return lines that name the measures without a row, and why."""
    return first_few(f"undefined: {name}: {why}" for name, why in undefined.items())
