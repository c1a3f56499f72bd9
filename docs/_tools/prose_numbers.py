"""The numbers in a Markdown text that are a result of something."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_NUMBER = re.compile(
    r"(?:(?<![\w.,])|(?<=\d[x×]))(?P<sign>[-+−–±]?)(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<power>e[-+]?\d+)?(?:(?=[x×](?![^\W\d]))|(?![.,]?\w))(?P<percent>\s?%)?"
)


_NAME = r"\d++(?:\.\d++)*+(?!,\d{3}(?!\d)|\.?\d|\s?%)"  # the number of a block, a lesson, a table
_NEXT = (
    "a|above|after|again|agree|alone|also|an|and|are|as|ask|at|because|before|below|between|both|but|by|can|could|did|differ|do|for|from|give|had|has|have|here|hold|if|in|is|it|lie|may|might|need|"
    "never|nor|not|on|only|or|say|see|share|show|so|test|than|that|the|then|there|these|they|this|to|too|use|was|were|when|where|which|while|will|with|within|without|would"
)


_LIST = (  # the last of several counts something if a noun or "of" follows it
    rf"{_NAME}(?:(?:(?:\s*,\s*|\s*(?:and|or|to|–)\s*){_NAME})+(?!\s+(?!(?:{_NEXT})\b)[^\W\d]))?"
)


_YEAR = r"(?:19\d\d|20[0-3]\d)(?![\d%]|,\d|\.\d|\s?%)"
_COUNTED = (
    "draws|epochs|examples|features|images|items|layers|models|more|networks|of|pairs|people|permutations|samples|seeds|"
    "sentences|steps|times|tokens|units|values"
)
_FREE = (
    re.compile(r"```.*?```|~~~.*?~~~", re.S),
    re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.S),
    re.compile(r"\$\$.*?\$\$|(?<![\\$])\$(?=\S)[^$\n]+(?<=[^\s\\])\$(?!\d)", re.S),
    re.compile(r"\]\([^)\s]*\)|<[^>\n]+>|&#?\w+;|https?://\S+"),
    re.compile(r"^\s*(?:[*_]+)?\d+\.\s", re.M),
    re.compile(
        rf"(?:[A-Z][\w.'’-]*|others|al\.|[,;]|\bin|\bof)\s*{_YEAR}(?!\s+(?:{_COUNTED})\b)|\(\s*{_YEAR}(?=\s*[);,])"
    ),
    re.compile(
        r"\b(?:lessons?|figures?|fig\.|tables?|chapters?|sections?|equations?|appendix|notebooks?|blocks?|layers?|seeds?)\s+"
        + _LIST,
        re.I,
    ),
)


@dataclass(frozen=True)
class Number:
    """A number in a text: where it stands, its value as printed, how many decimals, whether % follows."""

    start: int
    end: int
    text: str
    value: float
    decimals: int
    percent: bool

    def agrees(self, value: float, tolerance: float | None = None) -> bool:
        """Check that a value rounds to the printed digits, or is within the tolerance (in the unit of the text)."""
        seen = 100 * value if self.percent else value
        allowed = 0.5 * 10.0**-self.decimals if tolerance is None else tolerance
        return math.isfinite(seen) and abs(seen - self.value) <= allowed * (1 + 1e-9) + 1e-12


def numbers(text: str) -> list[Number]:
    """Return the numbers in a Markdown text that are not free (see the module), in order."""
    free = [match.span() for pattern in _FREE for match in pattern.finditer(text)]
    found = []
    for match in _NUMBER.finditer(text):
        start, end = match.span()
        if (
            any(a < end and start < b for a, b in free)
            or _in_a_name(text, match)
            or (match["digits"] in ("0", "1") and not match["percent"] and not match["power"])
        ):
            continue
        digits = match["digits"].replace(",", "")
        value = float(digits + (match["power"] or ""))
        power = int((match["power"] or "e0")[1:])
        decimals = len(digits.partition(".")[2]) - power
        found.append(
            Number(
                start,
                end,
                match[0].strip(),
                -value if match["sign"] in ("-", "−", "–") and match["sign"] else value,
                decimals,
                match["percent"] is not None,
            )
        )
    return found


def _in_a_name(text: str, match: re.Match[str]) -> bool:
    """Return whether the number belongs to a word before it, as in cnn-0 and ViT-B/16."""
    start = match.start()
    return (
        not match["sign"]
        and start >= 2
        and text[start - 1] in "-/"
        and (text[start - 2].isalpha() or text[start - 2] == "_")
    )
