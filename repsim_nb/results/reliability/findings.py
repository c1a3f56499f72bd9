"""Results of `diagnose`: findings with advice, and the facts behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from repsim_nb.support.summaries import summarize


@dataclass(frozen=True)
class Finding:
    """One problem that `diagnose` found.

    Attributes
    ----------
    title : str
        The problem in a few words, such as "outliers".
    sentence : str
        The problem with its numbers.
    advice : str
        What to do.
    serious : bool
        Whether it changes the values of usual measures.

    Examples
    --------
    >>> print(Finding("outliers", "1 sample lies far from the rest", "Compare again without it"))
    outliers: 1 sample lies far from the rest. Compare again without it.
    """

    title: str
    sentence: str
    advice: str
    serious: bool = True

    def __str__(self) -> str:
        """Return the finding as sentences."""
        return f"{self.title}: {self.sentence}. {self.advice}."


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """The result of `diagnose`.

    Attributes
    ----------
    findings : tuple of Finding
        The problems, the most serious first; empty if none was found.
    facts : DataFrame
        One column for each side, one row for each fact:

        - samples, samples looked at: numbers of rows.
        - features: the number of features p.
        - rank: the numerical rank of the centred data.
        - participation ratio: (Σλ)² / Σλ² of the eigenvalues λ of the covariance, the number of directions that share
          the variance.
        - participation ratio, corrected: the estimate for the population from which samples and features were drawn. It
          is larger: 1 over the one above is about 1 over this, plus 1/n, plus 1/p. Infinite if the features share no
          more variance than chance allows, NaN for fewer than 4 samples or 2 features.
        - first component, of variance; first component, of cka: the fraction of the variance, and of the squared norm
          of the Gram matrix, in the first principal component.
        - furthest sample, its distance in medians: the row farthest from the mean, and its distance in units of the
          median distance.
        - outliers: the rows that are far from the rest, the farthest first.
        - repeated samples: pairs of a row and an earlier row that is equal to it.
        - dead units, repeated units: the number of features that are constant, and that equal an earlier one.
        - mean cosine of rows next to each other: of the centred data.
        - most often a neighbour, among the k nearest of: the row that is a nearest neighbour of most others (by
          cosine), and the fraction of others.
        - groups of rows: their number, if groups are known.
    together : Series
        Facts of a pair, empty for one representation:

        - cka, cka_debiased: linear CKA.
        - cka of unrelated data: the expected biased CKA of unrelated data with these participation ratios.
        - fraction of cka by first components: from the first principal component of each side alone.
        - cka without them: CKA without these components.
        - both ranks, room for CCA (n - 1): CCA is undefined if the sum of the ranks is above n - 1.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 5))
    >>> found = rs.reliability.diagnose(x)
    >>> found.ok, found.facts.loc["rank", "x"]
    (True, 5)
    """

    findings: tuple[Finding, ...]
    facts: pd.DataFrame
    together: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def serious(self) -> tuple[Finding, ...]:
        """The findings that change the values of usual measures (tuple of Finding)."""
        return tuple(finding for finding in self.findings if finding.serious)

    @property
    def outliers(self) -> tuple[int, ...]:
        """The rows that are far from the rest of either side, in increasing order (tuple of int).

        `np.delete(x, found.outliers, axis=0)` leaves them out: the way to a robust value that changes ordinary values
        least.

        Notes
        -----
        In 40 pairs of layers of trained models (1,000 images, one side changed), 1, 10 or 50 samples were moved by 100
        times the root mean squared distance from the mean. CKA fell by .68 to .70 on average. Without outliers it
        differed from the value before by .003 or less in every pair, and it did not change at all in pairs that nothing
        was done to. cka_debiased still fell by .28 on average with one moved sample, and by .70 with ten.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(100, 5))
        >>> x[[7, 30]] *= 100
        >>> rs.reliability.diagnose(x).outliers
        (7, 30)
        """
        return tuple(sorted({row for rows in self.facts.loc["outliers"] for row in rows}))

    def __repr__(self) -> str:
        """Return the findings and the tables of facts as text."""
        found = "\n".join(f"- {finding}" for finding in self.findings) or "- no problem found"
        tables = [self.facts.map(_format_fact), *([self.together.map(_format_fact)] if len(self.together) else [])]
        return "\n".join([f"Diagnosis of {' and '.join(self.facts)}", found, *(table.to_string() for table in tables)])

    def _repr_html_(self) -> str:
        together = self.together.to_frame(" × ".join(self.facts)) if len(self.together) else pd.DataFrame()
        return summarize(
            "Diagnosis",
            " and ".join(self.facts),
            [] if self.findings else ["no problem found"],
            table=pd.concat([self.facts, together]).map(_format_fact, na_action="ignore"),
            notes=map(str, self.findings),
            na_rep="",
            max_rows=None,
            page="reliability.Diagnosis",
        )


def _format_fact(value: Any) -> str:
    """Return a fact as text: the number and the first of several rows, or a number."""
    if isinstance(value, tuple):
        first = ", ".join(str(v[0] if isinstance(v, tuple) else v) for v in value[:3])
        return f"{len(value)}" + (f" ({first}{' …' if len(value) > 3 else ''})" if value else "")
    return f"{value:.3g}" if isinstance(value, float) else str(value)
