"""What `diagnose` gives: findings with advice, and the facts they follow from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from repsim_nb.support.summaries import summarize


@dataclass(frozen=True)
class Finding:
    """Something that is off: `title` in two words, the `sentence` with its figures, the `advice` what to do. grave: it
    changes what usual measures say.
    """

    title: str
    sentence: str
    advice: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.title}: {self.sentence}. {self.advice}."


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What `diagnose` found.

    findings: the gravest first.  facts: DataFrame, a row a fact, a column a side.  together: Series of the facts of a
    pair, empty for one representation.
    """

    findings: tuple[Finding, ...]
    facts: pd.DataFrame
    together: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings

    @property
    def grave(self) -> tuple[Finding, ...]:
        """The findings that change what usual measures say."""
        return tuple(finding for finding in self.findings if finding.grave)

    def __repr__(self) -> str:
        found = "\n".join(f"- {finding}" for finding in self.findings) or "- nothing is off"
        tables = [self.facts.map(_format_fact), *([self.together.map(_format_fact)] if len(self.together) else [])]
        return "\n".join([f"Diagnosis of {' and '.join(self.facts)}", found, *(table.to_string() for table in tables)])

    def _repr_html_(self) -> str:
        together = self.together.to_frame(" × ".join(self.facts)) if len(self.together) else pd.DataFrame()
        return summarize(
            "Diagnosis",
            " and ".join(self.facts),
            [] if self.findings else ["nothing is off"],
            table=pd.concat([self.facts, together]).map(_format_fact, na_action="ignore"),
            notes=map(str, self.findings),
            na_rep="",
            max_rows=None,
            page="reliability.Diagnosis",
        )


def _format_fact(value: Any) -> str:
    if isinstance(value, tuple):
        first = ", ".join(str(v[0] if isinstance(v, tuple) else v) for v in value[:3])
        return f"{len(value)}" + (f" ({first}{' …' if len(value) > 3 else ''})" if value else "")
    return f"{value:.3g}" if isinstance(value, float) else str(value)
