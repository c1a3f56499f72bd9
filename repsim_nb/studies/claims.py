"""Published claims next to the figures of a lesson and the verdict on each: the table at the end of a lesson."""

from __future__ import annotations

import html

import pandas as pd

from repsim_nb.results.inference.verdicts import Verdict
from repsim_nb.support.escaping import without_formulas
from repsim_nb.support.summaries import percent

SIGNS = {"reproduced": "✓", "not reproduced": "✗", "undecided": "?"}
WORDS = {
    "published": {"reproduced": "reproduced", "not reproduced": "not reproduced", "undecided": "undecided"},
    "heard": {"reproduced": "holds", "not reproduced": "does not hold", "undecided": "undecided"},
}
COLUMNS = ("claim", "published", "here", "interval", "unit", "threshold", "other_thresholds", "verdict")


class Claims:
    """A table of claims, each with the figure that speaks for or against it and a verdict; a notebook shows it as HTML.

    Parameters
    ----------
    kind : {"published", "heard"}
        "published": verdicts read "reproduced", "not reproduced", "undecided". "heard": statements without a study
        behind them that could be reproduced; their verdicts read "holds", "does not hold", "undecided", and `published`
        is the source, if there is one.

    Examples
    --------
    >>> from repsim_nb import inference
    >>> from repsim_nb.studies.claims import Claims
    >>> claims = Claims()
    >>> verdict = inference.judge((0.65, 0.52, 0.79), above=0.17, unit="models (10)")
    >>> claims.add("CKA tells layers apart", "65 % of layers", verdict, published="99 %")
    >>> claims.frame()["verdict"].tolist()
    ['reproduced']
    """

    def __init__(self, kind: str = "published") -> None:
        if kind not in WORDS:
            raise ValueError(f"kind is 'published' or 'heard'; got {kind!r}")
        self.kind = kind
        self._rows: list[tuple[str, str, str, Verdict]] = []

    def add(self, claim: str, here: str, verdict: Verdict, *, published: str = "") -> None:
        """Add a row.

        Parameters
        ----------
        claim : str
            A sentence.
        here : str
            The figure seen here, in words. The interval of the verdict is shown next to it.
        verdict : Verdict
            Of `inference.judge`, `judge_p`, `judge_exact` or `cannot_ask`, or several of them joined with ``&``.
        published : str
            The published figure, if there is one.

        Raises
        ------
        TypeError
            If `verdict` is not a Verdict, and for anything else that is no text.
        """
        for name, text in (("claim", claim), ("here", here), ("published", published)):
            if not isinstance(text, str):
                raise TypeError(f"{name} is text, such as f'{{value:.2f}}'; got {text!r}")
        if not isinstance(verdict, Verdict):
            true = isinstance(verdict, bool) or str(getattr(verdict, "dtype", "")) == "bool"
            raise TypeError(
                f"the verdict on '{claim}' is that of inference.judge, judge_p, judge_exact or cannot_ask; got"
                f" {verdict!r}."
                + (
                    " True and False cannot say that data do not decide: judge the value with its interval instead"
                    if true
                    else ""
                )
            )
        self._rows.append((claim, published, here, verdict))

    def frame(self) -> pd.DataFrame:
        """Return a table of text with one row a claim and the columns `COLUMNS`."""
        words = WORDS[self.kind]
        return pd.DataFrame(
            [
                (
                    claim,
                    published,
                    "; ".join(filter(None, [here, verdict.why])),
                    verdict.interval,
                    verdict.unit,
                    verdict.threshold,
                    self._turns(verdict),
                    words[verdict.outcome],
                )
                for claim, published, here, verdict in self._rows
            ],
            columns=list(COLUMNS),
        )

    def _turns(self, verdict: Verdict) -> str:
        return (
            verdict.other_thresholds
            if self.kind == "published"
            else verdict.other_thresholds.replace("not reproduced", "does not hold").replace("reproduced", "holds")
        )

    def __repr__(self) -> str:
        return self.frame().to_string(index=False)

    def _repr_html_(self) -> str:
        """Return three columns, which fit a phone, in the colors of the page, which may be dark."""
        heard = self.kind == "heard"
        columns = {"what is claimed" if heard else "claim": 36, "here": 36, "verdict": 28}
        head = "".join(f"<th scope='col' width='{width}%' {_CELL}>{name}</th>" for name, width in columns.items())
        body = ""
        for row, (*_, verdict) in zip(self.frame().to_dict("records"), self._rows, strict=True):
            claim = _block(row["claim"], ("source" if heard else "published", row["published"]))
            here = _block(row["here"], (f"interval{_level(verdict)}", row["interval"]), ("unit", row["unit"]))
            outcome = row["verdict"].replace(" ", "&nbsp;")
            word = f"<strong style='white-space:nowrap'>{SIGNS[verdict.outcome]}&nbsp;{outcome}</strong>"
            judged = word + _block(
                "",
                ("threshold" if not verdict.why else "", row["threshold"]),
                ("other thresholds", row["other_thresholds"]),
            )
            body += "<tr>" + "".join(f"<td {_CELL}>{cell}</td>" for cell in (claim, here, judged)) + "</tr>"
        return without_formulas(
            f"<table style='max-width:60em'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


_CELL = "style='text-align:left;vertical-align:top;white-space:normal;overflow-wrap:break-word'"
_SMALL = "style='font-size:85%;opacity:.8;margin-top:.2em'"


def _block(text: str, *details: tuple[str, str]) -> str:
    small = "".join(
        f"<div {_SMALL}>{html.escape(f'{name}: {detail}' if name else detail)}</div>"
        for name, detail in details
        if detail
    )
    return html.escape(text) + small


def _level(verdict: Verdict) -> str:
    """Return the level of all intervals of a verdict in words; empty if they differ or one is unknown."""
    levels = {part.level for part in verdict.parts or (verdict,) if part.low is not None}
    level = levels.pop() if len(levels) == 1 else None
    return "" if level is None else f" ({percent(level)})"
