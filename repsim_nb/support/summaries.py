"""How a notebook shows a result: kind and name, facts, a table, notes, and a link to the documentation."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from .escaping import without_formulas

DOCUMENTATION = "REPSIM_NB_DOCS"  # environment variable: the address of the documentation, if it is published somewhere
_BUILT = Path(__file__).parents[2] / "docs" / "_build" / "html"  # what `make docs` writes into a checkout


def documentation_link(name: str) -> str:
    """Return the address of the page of a public name, such as "inference.Interval"; "" if there is no such page.

    The pages are those of the address in the environment variable REPSIM_NB_DOCS, or else those that were built in this
    checkout, relative to the working folder (a notebook's own). Nothing is loaded until somebody follows the link.
    """
    module, _, member = name.rpartition(".")
    page = f"api/{module or 'top'}/{member}.html"
    if base := os.environ.get(DOCUMENTATION):
        return f"{base.rstrip('/')}/{page}"
    return Path(os.path.relpath(_BUILT / page)).as_posix() if (_BUILT / page).is_file() else ""


def summarize(
    kind: str,
    name: str = "",
    facts: Iterable[str] = (),
    *,
    table: pd.DataFrame | None = None,
    notes: Iterable[str] = (),
    page: str = "",
    **options: Any,
) -> str:
    """Return a result as HTML for a notebook; every text is shown as it is written.

    Colors are those of the page, so that it is readable in light and dark themes.

    Parameters
    ----------
    kind, name : str
        The first line, such as "Comparison" and "cka_debiased".
    facts : iterable of str
        The second line; empty ones are left out.
    table : DataFrame, optional
        It scrolls sideways if it is wider than the page.
    notes : iterable of str
        A list below the table.
    page : str
        The public name whose page of the documentation is linked.
    **options
        Of `DataFrame.to_html`. Numbers have three decimals, at most 20 rows and 12 columns are shown, and undefined
        cells are dashes, unless these say otherwise.
    """
    link = documentation_link(page) if page else ""
    head = f"<b>{html.escape(kind)}</b>{' ' * bool(name)}{html.escape(name)}"
    if link:
        head += f" &nbsp; <a href='{html.escape(link)}' target='_blank' rel='noopener'>documentation</a>"
    if line := " · ".join(html.escape(fact) for fact in facts if fact):
        head += f"<br><span style='opacity:.75'>{line}</span>"
    body = f"<p style='margin:0 0 6px;line-height:1.45;max-width:60rem'>{head}</p>"
    if table is not None:
        chosen = {"float_format": "{:.3f}".format, "na_rep": "–", "max_rows": 20, "max_cols": 12, "border": 0} | options
        numbers = table.to_html(**chosen)
        body += f"<div style='overflow-x:auto;font-variant-numeric:tabular-nums'>{numbers}</div>"
    if listed := "".join(f"<li>{html.escape(note)}</li>" for note in notes if note):
        body += f"<ul style='margin:6px 0;max-width:60rem'>{listed}</ul>"
    return without_formulas(body)
