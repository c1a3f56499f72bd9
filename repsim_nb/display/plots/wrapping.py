"""Titles and footers broken into lines."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable


def title_room(width: float, longest: int) -> int:
    """Return the number of characters of a title that fit above a matrix; longest: that of its longest row label.

    The title stands above the middle of the cells, between the labels on the left and the color bar on the right.
    """
    outside = 0.07 * longest + 0.5
    return max(30, int((1.55 * width - outside - 1.2 + 2 * min(outside, 1.0)) / 0.072))


def wrap_title(line: str, room: int) -> str:
    """Break a line after semicolons and before brackets, and within a phrase only if that is not enough."""
    phrases = (
        line.replace(" ", "\N{NO-BREAK SPACE}")
        .replace(";\N{NO-BREAK SPACE}", "; ")
        .replace("\N{NO-BREAK SPACE}(", " (")
    )
    lines = textwrap.wrap(phrases, room, break_long_words=False, break_on_hyphens=False)
    return "\n".join(textwrap.fill(part.replace("\N{NO-BREAK SPACE}", " "), room) for part in lines)


def wrap_name(text: str, room: int) -> str:
    """Break the name of a layer after its dots, slashes, underscores and hyphens if it is longer than `room`."""
    return _fill(re.findall(r"[^./_\s-]*[./_\s-]*", text), room)


def wrap_footer(text: str, room: int) -> str:
    """Break a text after commas and semicolons, so that numbers stay with their words."""
    return _fill(re.split(r"(?<=[,;] )", text), room)


def _fill(parts: Iterable[str], room: int) -> str:
    """Join parts to lines of at most `room` characters, unless one part has more."""
    lines = [""]
    for part in parts:
        if lines[-1] and len((lines[-1] + part).rstrip()) > room:
            lines.append(part)
        else:
            lines[-1] += part
    return "\n".join(line.strip() for line in lines)
