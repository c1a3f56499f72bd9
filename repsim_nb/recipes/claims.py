"""What others claim beside what was seen here: the table at the end of a lesson."""

from __future__ import annotations

import html

import pandas as pd

from ..escaping import without_formulas


class Claims:
    """Claims, one by one, each with the figure that speaks for or against it; a notebook shows them as a table."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, bool]] = []

    def add(self, claim: str, here: str, reproduced: bool, *, published: str = "") -> None:
        """claim: a sentence.  here: the figure seen.  reproduced: whether it bears the claim out.  published: their figure, where there is one."""
        if not isinstance(reproduced, bool) and str(getattr(reproduced, "dtype", "")) != "bool":
            raise TypeError(f"whether '{claim}' was reproduced is True or False; got {reproduced!r}")
        self._rows.append((claim, published, here, bool(reproduced)))

    def frame(self) -> pd.DataFrame:
        """A row a claim: claim, published, here, reproduced."""
        return pd.DataFrame(self._rows, columns=["claim", "published", "here", "reproduced"])

    def __repr__(self) -> str:
        return self.frame().to_string(index=False)

    def _repr_html_(self) -> str:
        frame = self.frame()
        shown = frame if frame["published"].any() else frame.drop(columns="published")
        left = "style='text-align:left;vertical-align:top;white-space:normal'"
        head = "".join(f"<th {left}>{name}</th>" for name in shown)
        words = shown.assign(reproduced=shown["reproduced"].map({True: "✓ yes", False: "✗ no"}))
        body = "".join("<tr>" + "".join(f"<td {left}>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in words.itertuples(index=False))
        return without_formulas(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
