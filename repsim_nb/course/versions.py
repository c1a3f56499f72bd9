"""From one notebook a session: what students, teachers and nbgrader receive.

A source in notebooks/course has the solutions between two marks, and notes for instructors in cells of their own. The
tag of a cell is its role: handout, parameters, solution, check, figure, instructor, summary.
"""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repsim_nb.course.exercises import Session
from repsim_nb.course.sessions import SESSIONS
from repsim_nb.support.files import shipped_folder

Notebook = dict[str, Any]
Cell = dict[str, Any]

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "...  # your answer"
LICENCE = "Text and code have the MIT licence: copy, change and reuse them, and keep the notice (LICENSE)."
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)([^)#\s]+)(#[^)\s]*)?\)")


def file_name(session: str) -> str:
    """Return the name of the notebook of a session, without its suffix: "2_invariances"."""
    return f"{SESSIONS.index(session) + 1}_{session}"


def read_source(session: str) -> Notebook:
    """Return the notebook that all versions of a session are made from; the source of each cell is one text."""
    path = shipped_folder("notebooks") / "course" / f"{file_name(session)}.ipynb"
    notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if not isinstance(cell["source"], str):
            cell["source"] = "".join(cell["source"])
    return notebook


def write_notebook(notebook: Notebook, path: Path) -> None:
    """Write a notebook as Jupyter does: one line of the file for each line of a cell."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def has_tag(cell: Cell, tag: str) -> bool:
    """Return whether a cell has this tag."""
    return tag in cell["metadata"].get("tags", [])


def exercise_of(cell: Cell) -> str:
    """Return the name of the exercise of a solution or a check, from the id of the cell: "solve-linear-cka"."""
    return str(cell["id"]).partition("-")[2].replace("-", "_")


def students_version(source: Notebook) -> Notebook:
    """Return the notebook for students: stubs in place of solutions, no notes for instructors, nbgrader's metadata."""
    notebook = nbgrader_source(source)
    for cell in notebook["cells"]:
        cell["source"] = re.sub(rf"{BEGIN}\n.*?{END}", lambda _: STUB, cell["source"], flags=re.DOTALL)
    return notebook


def solved_version(source: Notebook) -> Notebook:
    """Return the notebook with its solutions, without the marks around them."""
    notebook = nbgrader_source(source)
    for cell in notebook["cells"]:
        cell["source"] = re.sub(rf"^ *({BEGIN}|{END})\n?", "", cell["source"], flags=re.MULTILINE).rstrip("\n")
    return notebook


def nbgrader_source(source: Notebook) -> Notebook:
    """Return the notebook that `nbgrader generate_assignment` reads: marked solutions, and nbgrader's metadata.

    Students may change the solutions. nbgrader puts back the checks, the parameters and the imports.
    """
    notebook = copy.deepcopy(source)
    notebook["cells"] = [cell for cell in notebook["cells"] if not has_tag(cell, "instructor")]
    for cell in notebook["cells"]:
        solution, check = has_tag(cell, "solution"), has_tag(cell, "check")
        if cell["cell_type"] == "code" and (solution or check or not has_tag(cell, "figure")):
            cell["metadata"]["nbgrader"] = {
                "grade": check,
                "grade_id": cell["id"],
                "locked": not solution,
                "schema_version": 3,
                "solution": solution,
                "task": False,
            } | ({"points": 1} if check else {})
    return notebook


def relink(notebook: Notebook, lessons: str, sessions: str) -> Notebook:
    """Return the notebook with links that work where it will be.

    `lessons` and `sessions` are the addresses of a lesson and of another session, with {name} for the name of the file
    without its suffix. What is not handed out becomes plain text.
    """
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = relink_text(cell["source"], lessons, sessions)
    return notebook


def relink_text(text: str, lessons: str, sessions: str) -> str:
    """Return Markdown with the links of `relink`."""

    def address(found: re.Match[str]) -> str:
        label, target, anchor = found[1], found[2], found[3] or ""
        folder, _, file = target.rpartition("/")
        if file.endswith(".ipynb") and folder in ("..", "", "."):
            to = (lessons if folder == ".." else sessions).format(name=file.removesuffix(".ipynb"))
            return f"[{label}]({to}{anchor})"
        return label

    return _LINK.sub(address, text)


def headings(source: Notebook) -> Iterator[tuple[Cell, str]]:
    """Yield (cell, heading of the exercise that it belongs to) in order; "" before the first exercise."""
    heading = ""
    for cell in source["cells"]:
        if cell["cell_type"] == "markdown" and (found := re.match(r"## (\d+\.\d+ .+)", cell["source"])):
            heading = found[1]
        yield cell, heading


def instructors_notes(session: Session, source: Notebook) -> str:
    """Return the notes for instructors as Markdown: exercises, mistakes that the checks know, notes on each part."""
    number = SESSIONS.index(session.name) + 1
    lines = [f"# Session {number}: {session.title}", ""]
    total = sum(exercise.minutes for exercise in session.exercises.values())
    lines += [f"The {len(session.exercises)} exercises take {total} of the 50 minutes.", ""]
    before, alone = "", sum(has_tag(cell, "instructor") for cell in source["cells"]) == 1
    for cell, heading in headings(source):
        if has_tag(cell, "instructor"):
            if heading != before and not alone:
                lines += [f"## After {heading}", ""]
            before = heading
            lines += [re.sub(r"^#{1,3} ", "### ", cell["source"], flags=re.MULTILINE), ""]
    lines += ["## What the checks say", "", "Each exercise also knows what is missing, constant or has another shape."]
    for exercise in session.exercises.values():
        lines += ["", f"### `{exercise.name}` ({exercise.minutes} minutes)", ""]
        lines += [f"- *{mistake.name}*: {mistake.text}" for mistake in exercise.mistakes]
    return "\n".join(lines) + "\n"


def handout(session: Session, source: Notebook) -> str:
    """Return the handout as Markdown: what the session is about, and the functions to write."""
    parts = [cell["source"] for cell in source["cells"] if has_tag(cell, "handout")]
    rows = ["**Functions to write**", ""]
    for cell in source["cells"]:
        if has_tag(cell, "solution"):
            call = re.search(r"^def (\w+\([^)]*\))", cell["source"], re.MULTILINE)
            about = re.search(r'"""(.+?)"""', cell["source"], re.DOTALL)
            rows.append(f"- `{call[1] if call else exercise_of(cell)}`: {about[1] if about else ''}".rstrip(": "))
    return "\n\n".join([*parts, "\n".join(rows)]) + "\n"


_STYLE = """
body { font: 10.5pt/1.4 system-ui, sans-serif; max-width: 48rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; } h3 { font-size: 1rem; }
p, ul, ol, table { margin: .4rem 0; } li { margin: .1rem 0; } code { font-size: .95em; overflow-wrap: anywhere; }
table { border-collapse: collapse; } th, td { padding: .1rem .8rem .1rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid; } footer { margin-top: 1rem; font-size: .8rem; opacity: .8; }
.anchor-link { display: none; } :root { color-scheme: light dark; } summary { cursor: pointer; }
@media print { @page { margin: 12mm; }
 body { font-size: FONT; line-height: 1.28; margin: 0; padding: 0; max-width: none; }
 a { color: inherit; text-decoration: none; } h1 { font-size: 1.35em; } h2, h3 { break-after: avoid; } }
"""
_FONTS = ((2600, "10pt"), (3400, "9pt"), (4400, "8.2pt"))  # characters of Markdown that fit on one page -> size


def page(title: str, markdown: str, to_html: Any) -> str:
    """Return Markdown as one HTML page that loads nothing; a handout of usual length is one printed page."""
    font = next((size for most, size in _FONTS if len(markdown) <= most), "7.5pt")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE.replace('FONT', font)}</style></head>\n<body>\n{to_html(markdown)}\n"
        f"<footer>repsim_nb. {LICENCE}</footer></body></html>\n"
    )
