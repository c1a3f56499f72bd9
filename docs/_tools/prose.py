"""Numbers in the text of a lesson, checked against the run of that lesson.

``python docs/_tools/prose.py NOTEBOOK`` lists the numbers in Markdown cells that nothing accounts for, and faults
of the annotations. ``python docs/_tools/prose.py NOTEBOOK --run OUT.ipynb`` runs the full notebook, writes it
with its outputs, and lists the numbers that differ from the run; ``--fast`` runs it with ``fast=True`` and lists only
the expressions that cannot be evaluated.

A number is accounted for in one of three ways.

1. A code cell displays the sentence as Markdown, with the number put in by an f-string. There is nothing to annotate.
2. The metadata of the Markdown cell have a list ``checks`` of dicts. ``text`` is a part of the cell, character by
   character, with at least one number. It comes with one of

   - ``value``: a Python expression in the names of the notebook, the number in the text, or a tuple with one value for
     each number in it. It agrees if it rounds to the printed digits. A number before % is compared with 100 times the
     value. ``tolerance`` replaces half a unit of the last printed digit, for "some 700 images".
   - ``holds``: a Python expression that is true if the text is, for "more than 20 %": it compares a name with the
     number itself (20, .2), and is evaluated as it stands.
   - ``source``: for a number that is no result of the run. It begins with one of published, scale, setting,
     definition, example: "published: Ding 2021, table 2".

   ``value`` and ``holds`` are evaluated at the place of the cell, after the code above it; with ``"at": "end"`` after
   the last cell.
3. It is no result at all: 0, 1 and -1 without decimals, the ends of scales; a year after a name or a word such as
   "in", or in brackets; the number of a lesson, figure, table, chapter, section or equation; the name of a block, a
   layer or a seed ("block 3"; whether a claim about block 3 holds is for a check all the same), but not the last of
   several that counts something ("in block 3, 12 models"); the number of an item in a list; a number inside a name
   ("conv2", "MiniLM-L6") or inside code, a link or a formula.

Numbers that are spelled out ("seven in ten") are not looked at.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import copy
import json
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from prose_numbers import Number, numbers

from repsim_nb.support.errors import join_names
from repsim_nb.support.validation import is_number

SOURCES = ("published", "scale", "setting", "definition", "example")
KEYS = {"text", "value", "holds", "source", "tolerance", "at"}
_MARK = "repsim_nb.prose: "  # begins the line that an added cell prints


def find_unannotated(cell: Mapping[str, Any]) -> list[Number]:
    """Return the numbers of a Markdown cell that no annotation covers."""
    text = source_of(cell)
    covered = [
        (match.start(), match.end())
        for check in _read_checks(cell)
        if isinstance(check.get("text"), str) and check["text"]
        for match in re.finditer(re.escape(check["text"]), text)
    ]
    return [
        number
        for number in numbers(text)
        if not any(a <= number.start + _signs(number) and number.start + len(number.text) <= b for a, b in covered)
    ]


def _signs(number: Number) -> int:
    """Return the number of signs before a number: the annotated text may begin after them, as in "from -.10"."""
    return len(number.text) - len(number.text.lstrip("-+−–±"))


def find_faults(cell: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the annotations of a cell, in words."""
    text, found = source_of(cell), []
    for check in _read_checks(cell):
        if not isinstance(check, dict) or not isinstance(check.get("text"), str):
            found.append(f"a check is a dict with a text; got {check!r}")
            continue
        name, inside = repr(check["text"]), numbers_in(check, text)
        kinds = [kind for kind in ("value", "holds", "source") if kind in check]
        if check["text"] not in text:
            found.append(f"{name} is not in the cell")
        elif not inside:
            found.append(f"{name} has no number that needs a check")
        if set(check) - KEYS:
            found.append(
                f"{name}: unknown {join_names(sorted(set(check) - KEYS))}; known are {join_names(sorted(KEYS))}"
            )
        if len(kinds) != 1 or not all(isinstance(check[kind], str) and check[kind].strip() for kind in kinds):
            found.append(f"{name} has one of value, holds and source, as text; got {join_names(kinds) or 'none'}")
        elif kinds == ["source"]:
            if not check["source"].startswith(SOURCES):
                found.append(f"{name}: a source begins with {join_names(SOURCES)}; got {check['source']!r}")
        else:
            found += [f"{name}: {fault}" for fault in _faults_of(check[kinds[0]], inside if kinds == ["holds"] else [])]
        tolerance = check.get("tolerance", 1)
        if ("tolerance" in check and kinds != ["value"]) or not is_number(tolerance) or not tolerance > 0:
            found.append(f"{name}: a tolerance is a number above 0 for a value; got {tolerance!r}")
        if check.get("at", "end") != "end":
            found.append(f"{name}: at is 'end' or left out; got {check['at']!r}")
    return found


def numbers_in(check: Mapping[str, Any], text: str) -> list[Number]:
    """Return the numbers of the annotated part of a cell, as they are in the whole cell."""
    start = text.find(check["text"])
    if start < 0:
        return []
    return [
        number
        for number in numbers(text)
        if start <= number.start + _signs(number) and number.start + len(number.text) <= start + len(check["text"])
    ]


def _faults_of(expression: str, inside: Sequence[Number]) -> list[str]:
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except SyntaxError as error:
        return [f"{expression!r} is no Python expression ({error.msg})"]
    if not any(isinstance(node, ast.Name) for node in ast.walk(tree)):
        return [f"{expression!r} has no name of the notebook in it, so that it checks nothing"]
    compared = [abs(constant) for constant in _compared_constants(tree)]
    lacking = [
        number.text
        for number in inside
        if not any(
            math.isclose(c, abs(number.value) / scale)
            for c in compared
            for scale in ((1, 100) if number.percent else (1,))
        )
    ]
    return [f"{expression!r} does not compare anything with the number {join_names(lacking)}"] if lacking else []


def _compared_constants(tree: ast.AST) -> Iterator[float]:
    """Yield the numbers that are compared with a name of the notebook.

    Numbers in a call together with such a name count too, as in s.between(.2, .3).
    """
    for node in ast.walk(tree):
        inside = list(ast.walk(node)) if isinstance(node, (ast.Compare, ast.Call)) else []
        if any(isinstance(part, ast.Name) and not hasattr(builtins, part.id) for part in inside):
            yield from (
                part.value
                for part in inside
                if isinstance(part, ast.Constant)
                and isinstance(part.value, (int, float))
                and not isinstance(part.value, bool)
            )


def evaluate(checks: Sequence[Mapping[str, Any]], names: dict[str, Any]) -> list[dict[str, str]]:
    """Evaluate annotations in the names of a notebook, and return those that fail.

    checks: annotations, with ``cell``, the source of their cell. Returned are text, kind ("differs" or "error"), why.
    """
    failed = []
    for check in checks:
        inside = numbers_in(check, check["cell"])
        try:
            value = eval(check.get("value") or check["holds"], names)  # written by the author of the notebook
            if "holds" in check:
                why = "" if bool(value) else f"does not hold: {check['holds']}"
            else:
                why = _compare(value, inside, check.get("tolerance"))
            kind = "differs"
        except Exception as error:
            why, kind = f"{type(error).__name__}: {error} (in {check.get('value') or check['holds']})", "error"
        if why:
            failed.append({"text": check["text"], "kind": kind, "why": why})
    return failed


def _compare(value: Any, inside: Sequence[Number], tolerance: float | None) -> str:
    """Return why values are not the numbers of the text; empty if they are."""
    values = [value] if isinstance(value, Real) or getattr(value, "ndim", None) == 0 else list(value)
    if len(values) != len(inside):
        raise ValueError(
            f"the text has {len(inside)} numbers ({join_names([number.text for number in inside])}), the expression"
            f" {len(values)}"
        )
    off = [
        f"{number.text} is {100 * float(v) if number.percent else float(v):.6g}"
        for number, v in zip(inside, values, strict=True)
        if not number.agrees(float(v), tolerance)
    ]
    return ", ".join(off)


def source_of(cell: Mapping[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _read_checks(cell: Mapping[str, Any]) -> list[Any]:
    return list(cell.get("metadata", {}).get("checks", []))


def markdown_of(notebook: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Return the Markdown cells with their places."""
    return ((place, cell) for place, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "markdown")


def list_complaints(notebook: Mapping[str, Any]) -> list[str]:
    """Return all numbers that nothing accounts for, and all faults of annotations, a line each."""
    found = []
    for place, cell in markdown_of(notebook):
        text = source_of(cell)
        found += [
            f"cell {place}: {number.text!r} in '...{_context(text, number)}...'" for number in find_unannotated(cell)
        ]
        found += [f"cell {place}: {fault}" for fault in find_faults(cell)]
    return found


def _context(text: str, number: Number) -> str:
    return " ".join(text[max(0, number.start - 40) : number.end + 25].split())


def add_checks(notebook: Mapping[str, Any], fast: bool = False) -> dict[str, Any]:
    """Copy a notebook, and add a cell after each Markdown cell with annotations, which evaluates them.

    One more cell at the end evaluates those that need the end of the run.

    The added cells are tagged ``prose``.
    """
    cells, late = [], []
    for place, cell in enumerate(copy.deepcopy(notebook["cells"])):
        cells.append(cell)
        if fast and "parameters" in cell.get("metadata", {}).get("tags", []):
            cells.append(_code("fast = True"))
        if cell["cell_type"] != "markdown":
            continue
        asked = [
            {**check, "cell": source_of(cell), "place": place} for check in _read_checks(cell) if "source" not in check
        ]
        late += [check for check in asked if check.get("at") == "end"]
        early = [check for check in asked if check.get("at") != "end"]
        cells += [_evaluation_cell(early)] if early else []
    return {
        **copy.deepcopy({key: value for key, value in notebook.items() if key != "cells"}),
        "cells": cells + ([_evaluation_cell(late)] if late else []),
    }


def _code(source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {"tags": ["prose"]},
        "outputs": [],
        "source": source,
    }


def _evaluation_cell(checks: list[dict[str, Any]]) -> dict[str, Any]:
    return _code(
        f"__import__('sys').path.append({str(Path(__file__).parent)!r})\n"
        f"print({_MARK!r} + __import__('json').dumps([{{**failed, 'cell': check['place']}} for check in"
        f" __import__('json').loads({json.dumps(checks)!r}) for failed in"
        " __import__('prose').evaluate([check], globals())]))\n"
        "__import__('sys').path.pop()"
    )


def run(
    path: str | Path, out: str | Path | None = None, *, fast: bool = False, timeout: int | None = None
) -> list[dict[str, Any]]:
    """Run a notebook, evaluate its annotations, and return those that fail: cell, text, kind and why, as `evaluate`.

    Parameters
    ----------
    path : str or Path
        The notebook.
    out : str or Path, optional
        Where to write the notebook with its outputs.
    fast : bool
        Run it with ``fast=True``. The text describes the full version, so that only errors say something then.
    timeout : int, optional
        Seconds that a cell may take.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    RuntimeError
        If what an added cell prints is not received, so that nothing was checked.
    """
    import nbclient
    import nbformat

    notebook = nbformat.from_dict(add_checks(nbformat.read(path, as_version=4), fast))
    for place, cell in enumerate(notebook.cells):
        if "prose" in cell.metadata.get("tags", []) and (notebook.nbformat, notebook.nbformat_minor) >= (4, 5):
            cell.setdefault("id", f"prose-{place}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            nbclient.NotebookClient(
                notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": folder}}
            ).execute()
        finally:
            if out is not None:
                shown = copy.deepcopy(notebook)
                shown.cells = [cell for cell in shown.cells if "prose" not in cell.metadata.get("tags", [])]
                nbformat.write(shown, out)
    added = [cell for cell in notebook.cells if "prose" in cell.metadata.get("tags", []) and _MARK in cell.source]
    printed = [
        "".join(
            output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"
        ).splitlines()
        for cell in added
    ]
    marked = [[line for line in lines if line.startswith(_MARK)] for lines in printed]
    if not all(marked):
        raise RuntimeError(
            f"the annotations of {sum(not lines for lines in marked)} of {len(marked)} cells were evaluated, but what"
            " they print was not received: the notebook may redirect its standard output (sys.stdout)"
        )
    return [failed for lines in marked for line in lines for failed in json.loads(line.removeprefix(_MARK))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if there is something to mend."""
    parser = argparse.ArgumentParser(
        prog="python docs/_tools/prose.py",
        description="List the numbers in the text of a notebook that nothing accounts for.",
    )
    parser.add_argument("notebook", type=Path)
    parser.add_argument(
        "--run",
        type=Path,
        metavar="OUT",
        help="run it, write it with its outputs, and list the numbers that differ from the run",
    )
    parser.add_argument(
        "--fast", action="store_true", help="run it with fast=True, and list only expressions that cannot be evaluated"
    )
    given = parser.parse_args(arguments)
    found = list_complaints(json.loads(given.notebook.read_text()))
    if given.run is not None or given.fast:
        failed = run(given.notebook, given.run, fast=given.fast)
        found += [
            f"cell {one['cell']}: {one['text']!r}: {one['why']}"
            for one in failed
            if one["kind"] == "error" or not given.fast
        ]
    print("\n".join(found) if found else "every number is accounted for")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
