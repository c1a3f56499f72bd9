"""Exceptions and warnings have one style: complete sentences with a verb, without phrases that say little."""

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.support.errors import add_context

PACKAGE = Path(__file__).resolve().parent.parent / "repsim_nb"
HOLE = "{}"  # a value, or a reason in words of its own
ENDS = (".", "?", ")", "}", HOLE)  # the last may be code
# other sentences quote them, so they have no full stop
EMBEDDED = ("UndefinedError", "DegenerateComparisonError", "NotImplementedError")
VERBS = [
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "must",
    "need",
    "needs",
    "take",
    "takes",
    "has",
    "have",
    "had",
    "cannot",
    "can",
    "could",
    "got",
    "give",
    "gives",
    "gave",
    "expect",
    "expects",
    "does",
    "do",
    "did",
    "will",
    "lacks",
    "contain",
    "contains",
    "belong",
    "belongs",
    "depend",
    "depends",
    "return",
    "returns",
    "refuses",
    "read",
    "reads",
    "allow",
    "allows",
    "start",
    "starts",
    "end",
    "ends",
    "come",
    "comes",
    "came",
    "go",
    "goes",
    "went",
    "show",
    "shows",
    "fail",
    "fails",
    "failed",
    "ran",
    "run",
    "runs",
    "find",
    "finds",
    "found",
    "make",
    "makes",
    "made",
    "name",
    "names",
    "use",
    "uses",
    "used",
    "differ",
    "differs",
    "disagree",
    "agree",
    "agrees",
    "reach",
    "reaches",
    "may",
    "should",
    "match",
    "matches",
    "compare",
    "compares",
    "change",
    "changes",
    "exist",
    "exists",
    "mean",
    "means",
    "leave",
    "leaves",
    "left",
    "ask",
    "asks",
    "keep",
    "keeps",
    "repeat",
    "repeats",
    "record",
    "records",
    "load",
    "loads",
    "loaded",
    "write",
    "written",
    "draw",
    "draws",
    "choose",
    "select",
    "define",
    "defines",
    "grow",
    "grows",
    "overwrite",
    "reported",
    "expected",
    "installed",
    "trained",
    "fits",
]
REFUSED = (
    r"(?<!\.)\.\.(?!\.)",
    r"whole number",
    r"\binvalid\b",
    r"\billegal\b",
    r"\bbad\b",
    r"\bplease\b",
    r"\boops\b",
    r"  ",
)


@functools.cache
def trees() -> dict[Path, ast.Module]:
    """Return the syntax tree of each file: in the process that runs these tests, and not where they are collected."""
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def text(node: ast.expr) -> str | None:
    """The text of an expression, with HOLE for what is filled in; None if it has none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [text(side) for side in (node.left, node.right)]
        return "".join(side or HOLE for side in sides) if any(sides) else None
    return None


@functools.cache
def messages() -> list[tuple[str, str, str]]:
    """Return (place, kind, message) for each exception that is raised and each warning."""
    found = []
    for path, tree in trees().items():
        for node in ast.walk(tree):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call) or not call.args:
                continue
            kind = ast.unparse(call.func).rpartition(".")[2]
            if isinstance(node, ast.Raise) or kind in ("warn", "warn_user"):
                sentence = text(call.args[0])
                if sentence and " " in sentence and kind != "unknown_name":  # that one gets a noun
                    found.append((f"{path.relative_to(PACKAGE)}:{call.lineno}", kind, sentence))
    return found


QUOTED = (
    "as_clause(",
    "first_line(",
    "_reason(",
    "first_sentence(",
    "repr(",
    "type(",
    "str(error).rstrip('.')",
)  # a text without its full stop


def quotes() -> Iterator[tuple[str, str]]:
    """Yield (place, expression) for each error that a sentence quotes in its middle, whatever it does with it."""
    for path, tree in trees().items():
        errors = {one.name for one in ast.walk(tree) if isinstance(one, ast.ExceptHandler)}
        for node in ast.walk(tree):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for part, after in itertools.pairwise(parts):
                if isinstance(part, ast.FormattedValue) and isinstance(after, ast.Constant):
                    names = {one.id for one in ast.walk(part.value) if isinstance(one, ast.Name)}
                    expression = ast.unparse(part.value)
                    whole = isinstance(part.value, ast.Name) or "str(" in expression or "(error)" in expression
                    if whole and names & errors and after.value[:1] in (".", ",", ";", ")"):
                        yield f"{path.relative_to(PACKAGE)}:{node.lineno}", expression


def test_there_are_messages():
    assert len(messages()) > 500


@pytest.mark.parametrize("pattern", REFUSED)
def test_no_message_has(pattern):
    found = [f"{place}: {message}" for place, _, message in messages() if re.search(pattern, message, re.IGNORECASE)]
    assert not found, "\n".join(found)


def test_a_message_is_a_sentence_with_a_verb():
    verb = re.compile(rf"\b({'|'.join(VERBS)})\b", re.IGNORECASE)
    found = [
        f"{place}: {message}" for place, _, message in messages() if not verb.search(message) and HOLE not in message
    ]
    assert not found, "\n".join(found)


def test_a_message_of_two_sentences_ends_with_a_full_stop():
    two = re.compile(r"[.;?] [A-Z`']")
    found = [
        f"{place}: {message}"
        for place, kind, message in messages()
        if two.search(message) and not message.endswith(ENDS) and kind not in EMBEDDED
    ]
    assert not found, "\n".join(found)


def test_a_sentence_that_other_sentences_quote_has_no_full_stop():
    found = [f"{place}: {message}" for place, kind, message in messages() if kind in EMBEDDED and message.endswith(".")]
    assert not found, "\n".join(found)


def test_an_error_in_the_middle_of_a_sentence_is_quoted_without_its_full_stop():
    found = list(quotes())
    assert len(found) > 15
    assert not [f"{place}: {expression}" for place, expression in found if not expression.startswith(QUOTED)]


def test_a_reason_of_two_sentences_is_quoted_once_with_one_full_stop():
    x, y = np.random.default_rng(0).normal(size=(2, 30, 4))
    with pytest.raises(NotImplementedError) as refused:
        rs.inference.null_moments(rs.measures.CKA(batch_size=10), x, y)
    assert ".." not in str(refused.value) and "Use batch_size=None. " in str(refused.value)


def test_context_is_added_to_errors_that_are_not_made_of_a_text():
    """As those of another library: its error gets the context too, as one of the kinds that were asked for."""
    whole = np.exceptions.AxisError("no such axis"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte")
    for error, kind in zip(whole, (np.exceptions.AxisError, ValueError), strict=True):
        with (
            pytest.raises(ValueError, match="^the policy: .*(no such axis|bad byte)") as found,
            add_context("the policy", ValueError),
        ):
            raise error
        assert type(found.value) is kind and found.value.__cause__ is error
