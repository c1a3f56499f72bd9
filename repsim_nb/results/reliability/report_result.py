"""The result of `report`."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from repsim_nb.support.summaries import summarize

from .findings import Finding


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The result of `report`: how far the CKA of a pair can be trusted.

    Attributes
    ----------
    value : float
        Linear CKA (biased).
    verdict : str
        What it rests on: "stable", "a few samples", "a component hides similarity", "far samples hide similarity",
        "large differences hide similarity" (CKA is not above chance, and another measure is), "not above chance", "too
        few samples" or "one shared component". The first that applies, in the order in which one can cause the next:
        samples, component, far samples, chance, number of samples, shared component.
    sentence : str
        The verdict with its numbers.
    command : str
        A line of code that looks closer, for the arrays x and y.
    rows : tuple of int
        The samples that the verdict is about: those that influence the value most, those that are far from the rest, or
        those that the first component splits off. Empty for other verdicts.
    table : DataFrame
        One row for each check: its value, its chance level (of permuted samples) and what it ignores.
    findings : tuple of Finding
        The findings of `diagnose` that matter for CKA.
    notes : tuple of str
        Why values are undefined.
    names : (str, str)
        The names of both sides.
    samples : int
        The number of samples looked at.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 100, 5))
    >>> found = rs.reliability.report(x, y)
    >>> found.verdict, found.ok
    ('not above chance', False)
    >>> bool(abs(found.table.loc["cka_debiased", "value"]) < 0.02)
    True
    """

    value: float
    verdict: str
    sentence: str
    command: str
    rows: tuple[int, ...]
    table: pd.DataFrame
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    names: tuple[str, str]
    samples: int

    @property
    def ok(self) -> bool:
        """Whether the verdict is "stable" (bool)."""
        return self.verdict == "stable"

    @property
    def summary(self) -> str:
        """Names, verdict and sentence in one line (str)."""
        return f"{' × '.join(self.names)}: {self.verdict}. {self.sentence}"

    def to_frame(self) -> pd.DataFrame:
        """Return the table of checks.

        Returns
        -------
        DataFrame
            A copy of `table`: one row for each check, with the columns value, chance and ignores.

        Examples
        --------
        >>> x = np.random.default_rng(0).normal(size=(50, 4))
        >>> rs.reliability.report(x, x).to_frame().columns.tolist()
        ['value', 'chance', 'ignores']
        """
        return self.table.copy()

    def __repr__(self) -> str:
        """Return the summary, the table, the findings and the next command as text."""
        numbers = self.table.to_string(float_format="{:.3f}".format, na_rep="–")
        found = [f"- {finding}" for finding in self.findings] + [f"- {note}" for note in self.notes]
        return "\n".join([self.summary, numbers, *found, f"next: {self.command}"])

    def _repr_html_(self) -> str:
        return summarize(
            "Report",
            f"{' × '.join(self.names)}: {self.verdict}",
            [self.sentence],
            table=self.table.rename_axis(None),
            notes=[*map(str, self.findings), *self.notes, f"Next: {self.command}"],
            page="reliability.Report",
        )
