"""Names in HTML and in Markdown, shown character by character."""

from __future__ import annotations

import re

_MARKDOWN = re.compile(r"[^\w\s,;=/\[\]×-]|_")  # what Markdown, HTML or mathematics may read as more than a character


def without_formulas(body: str) -> str:
    """Return HTML in which a notebook shows dollar signs as they are, and does not typeset the text between them."""
    return f'<div class="tex2jax_ignore mathjax_ignore">{body}</div>'


def literal(text: object) -> str:
    """Return a name as code for Markdown, shown character by character, whatever it means in Markdown or HTML."""
    return f"<code>{_MARKDOWN.sub(lambda found: f'&#{ord(found[0])};', str(text))}</code>"
