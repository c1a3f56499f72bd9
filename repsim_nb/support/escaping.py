"""Names in HTML, in Markdown and in tables for spreadsheets, shown character by character."""

from __future__ import annotations

import re

_MARKDOWN = re.compile(r"[^\w\s,;=/\[\]×-]|_")  # what Markdown, HTML or mathematics may read as more than a character


def without_formulas(body: str) -> str:
    """Return HTML in which a notebook shows dollar signs as they are, and does not typeset the text between them."""
    return f'<div class="tex2jax_ignore mathjax_ignore">{body}</div>'


def spreadsheet_text(text: object) -> str:
    """Return text that spreadsheets show as it is: an apostrophe before what they would compute as a formula."""
    written = str(text)
    return f"'{written}" if written[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else written


def literal(text: object) -> str:
    """Return a name as code for Markdown, shown character by character.

    Notebooks use it to write the names of models, layers and data sets into their text.

    Parameters
    ----------
    text : object
        The name; characters with a meaning in Markdown, HTML or formulas are escaped.

    Returns
    -------
    str
        Markdown with the name in a ``<code>`` element.

    Examples
    --------
    >>> from repsim_nb import reports
    >>> reports.literal("my_model*")
    '<code>my&#95;model&#42;</code>'
    """
    return f"<code>{_MARKDOWN.sub(lambda found: f'&#{ord(found[0])};', str(text))}</code>"
