"""How a notebook shows a result: kind and name, facts, a table, notes, and a link to the documentation."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from .escaping import without_formulas

DOCUMENTATION = "REPSIM_NB_DOCS"  # environment variable: the address of the documentation
# classes with a function of the same name but for case: on some disks the files of both pages would be one
_FUNCTION_TWINS = frozenset(
    {
        "Drift",
        "measures.Deconfounded",
        "inference.Interval",
        "course.Checks",
        "grounding.Benchmark",
        "grounding.Sensitivity",
        "grounding.Specificity",
        "reliability.Report",
    }
)


def documentation_page(name: str) -> str:
    """Return the page of a public name below the documentation, without its suffix: "api/inference/interval"."""
    module, _, member = name.rpartition(".")
    return f"api/{module or 'top'}/{member}{'_class' if name in _FUNCTION_TWINS else ''}"


def _documentation_link(name: str) -> str:
    """Return the address of the page of a public name, such as "inference.Interval"; "" if no address is known.

    The environment variable REPSIM_NB_DOCS has the address of the documentation. Nothing is loaded until somebody
    follows the link.
    """
    base = os.environ.get(DOCUMENTATION)
    return f"{base.rstrip('/')}/{documentation_page(name)}.html" if base else ""


@contextmanager
def linked_to(address: str) -> Iterator[None]:
    """Link to the documentation at this address, also in kernels that start within the block; "" for no links."""
    before = os.environ.get(DOCUMENTATION)
    os.environ[DOCUMENTATION] = address
    try:
        yield
    finally:
        del os.environ[DOCUMENTATION]
        if before is not None:
            os.environ[DOCUMENTATION] = before


def percent(fraction: float) -> str:
    """Return a level or another fraction in percent, with four digits: "95 %", "99.5 %", "99.62 %"; more near 100 %."""
    digits = next(digits for digits in range(4, 18) if fraction == 1 or float(f"{100 * fraction:.{digits}g}") != 100)
    return f"{100 * fraction:.{digits}g} %"


def first_few(notes: Iterable[str]) -> list[str]:
    """Return the first five different notes, and how many more there are."""
    found = list(dict.fromkeys(notes))
    return found if len(found) <= 5 else [*found[:5], f"and {len(found) - 5} more"]


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 model" and "2 models"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
        The public name whose page of the documentation is linked, if REPSIM_NB_DOCS is set.
    **options
        Of `DataFrame.to_html`. Numbers have three decimals, or more if all are small, at most 20 rows and 12 columns
        are shown, and undefined cells are dashes, unless these say otherwise.
    """
    link = _documentation_link(page) if page else ""
    head = f"<b>{html.escape(kind)}</b>{' ' * bool(name)}{html.escape(name)}"
    if link:
        head += f" &nbsp; <a href='{html.escape(link)}' target='_blank' rel='noopener'>documentation</a>"
    if line := " · ".join(html.escape(fact) for fact in facts if fact):
        head += f"<br><span style='opacity:.75'>{line}</span>"
    body = f"<p style='margin:0 0 6px;line-height:1.45;max-width:60rem'>{head}</p>"
    if table is not None:
        chosen = {
            "float_format": f"{{:.{decimal_places(table)}f}}".format,
            "na_rep": "–",
            "max_rows": 20,
            "max_cols": 12,
            "border": 0,
        } | options
        numbers = table.to_html(**chosen)
        body += f"<div style='overflow-x:auto;font-variant-numeric:tabular-nums'>{numbers}</div>"
    if listed := "".join(f"<li>{html.escape(note)}</li>" for note in notes if note):
        body += f"<ul style='margin:6px 0;max-width:60rem;overflow-wrap:anywhere'>{listed}</ul>"
    return without_formulas(body)


def decimal_places(table: pd.DataFrame) -> int:
    """Return 3, or how many decimals show two digits of the largest number, so that a table of small ones is not 0."""
    sizes = np.abs(table.select_dtypes("number").to_numpy(float, na_value=0.0))
    largest = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    return 1 - math.floor(math.log10(largest)) if 1e-12 < largest < 0.01 else 3  # below, it is rounding
