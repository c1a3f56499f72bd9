"""Find the notebooks that students hand in, and put their answers into our own notebook."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from repsim_nb.course.sessions import SESSIONS
from repsim_nb.course.versions import Cell, Notebook, exercise_of, has_tag

LARGEST = 100_000_000  # bytes of a notebook; a usual one has less than a million
_NAMES = "|".join(f"{number}[_-]{name}" for number, name in enumerate(SESSIONS, 1)), "|".join(SESSIONS)
_NUMBERED, _PLAIN = (re.compile(rf"(?<![a-z])(?:{names})(?![a-z])", re.IGNORECASE) for names in _NAMES)


class UnreadableError(ValueError):
    """A file is not a notebook of the course."""


@dataclass(frozen=True)
class Submission:
    """A notebook that a student handed in."""

    path: Path
    student: str
    session: str  # "" if neither the name of the file nor that of its folder says it


def find_submissions(folder: str | Path) -> list[Submission]:
    """Return the notebooks in a folder, by student and session; the newest if there are several.

    The folder is flat (``anna_2_invariances.ipynb``), has one folder a student (``anna/2_invariances.ipynb``), or is
    nbgrader's: ``anna/2_invariances/2_invariances.ipynb``, also below a folder ``submitted``.

    Parameters
    ----------
    folder : str or Path
        The folder with the notebooks.

    Returns
    -------
    list of Submission

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no notebook in it.
    """
    folder = Path(folder).expanduser()
    if (folder / "submitted").is_dir():
        folder = folder / "submitted"
    if not folder.is_dir():
        raise FileNotFoundError(f"the submissions must be in a folder; there is none at {folder}.")
    newest: dict[tuple[str, str], tuple[float, Submission]] = {}
    for path in sorted(folder.rglob("*.ipynb")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts) or not path.is_file():
            continue  # checkpoints of Jupyter
        one = _submission(path, parts)
        age = path.stat().st_mtime
        key = (one.student, one.session or str(path))
        if key not in newest or age >= newest[key][0]:
            newest[key] = (age, one)
    if not newest:
        raise FileNotFoundError(f"the submissions must be notebooks (*.ipynb); there is none in {folder}.")
    return sorted((one for _, one in newest.values()), key=lambda one: (one.student, one.session))


def _submission(path: Path, parts: tuple[str, ...]) -> Submission:
    stem = re.sub(r"\s*\(\d+\)$", "", path.stem)  # what a browser adds to a second download
    found = _find_session(stem)
    inside = found or (_find_session(parts[-2]) if len(parts) > 1 else None)
    session = re.sub(r"^\d[_-]", "", inside[0].lower()) if inside else ""
    rest = stem[: found.start()] + stem[found.end() :] if found else stem
    student = parts[0] if len(parts) > 1 else rest.strip(" _-.") or stem
    return Submission(path, "".join(one if one.isprintable() else "?" for one in student), session)


def _find_session(text: str) -> re.Match[str] | None:
    return _NUMBERED.search(text) or _PLAIN.search(text)


def read_cells(path: Path) -> list[Cell]:
    """Return the code cells of a submission, each with its source as one text; raise UnreadableError."""
    if path.stat().st_size > LARGEST:
        raise UnreadableError("the file is too large")
    try:
        notebook = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError):
        raise UnreadableError("it is not JSON") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise UnreadableError("it is not a notebook of version 4")
    found = []
    for cell in cells:
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source")
            lines = [line for line in (source if isinstance(source, list) else [source]) if isinstance(line, str)]
            metadata = cell.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            found.append(cell | {"source": "".join(lines), "metadata": metadata})
    return found


def insert_answers(pristine: Notebook, cells: list[Cell], session: str) -> tuple[list[Cell], set[str]]:
    """Put the answers of a student into our notebook; return the code cells to run, and the exercises that were found.

    Solutions are found by the id of their cell, by nbgrader's, or by the function that they define. Cells that the
    student added are run at their place. All other cells are ours: a changed check has no effect.
    """
    ours = [cell for cell in pristine["cells"] if cell["cell_type"] == "code"]
    by_id = {cell["id"]: cell for cell in ours}
    by_source = {cell["source"].strip(): cell["id"] for cell in ours}
    functions = {exercise_of(cell): cell["id"] for cell in ours if has_tag(cell, "solution")}
    answers: dict[str, list[Cell]] = {}
    added: dict[str, list[Cell]] = {}
    last = ""
    for number, cell in enumerate(cells):
        place = _place(cell, by_id, by_source, functions)
        if place in functions.values():
            answers.setdefault(place, []).append(code_cell(f"{place}--{number}", cell["source"]))
        elif cell["source"].strip() and (not place or _is_changed(cell, by_id[place])):
            added.setdefault(place or last, []).append(code_cell(f"added--{number}", cell["source"]))
        last = place or last
    run = list(added.get("", ()))
    for cell in ours:
        if has_tag(cell, "solution"):
            run += answers.get(cell["id"], [])
        elif has_tag(cell, "check"):
            run.append(code_cell(cell["id"], check_source(session, exercise_of(cell))))
        elif not has_tag(cell, "figure") and not has_tag(cell, "summary"):
            run.append(code_cell(cell["id"], cell["source"]))
        run += added.get(cell["id"], [])
    texts = "\n".join(cell["source"] for cell in run if "--" in cell["id"])
    return run, {name for name, place in functions.items() if place in answers or _defines(texts, name)}


def _place(cell: Cell, by_id: Mapping[str, Cell], by_source: Mapping[str, str], functions: Mapping[str, str]) -> str:
    """Return the id of our cell that a cell of the student stands for; "" if the student added it."""
    nbgrader = cell["metadata"].get("nbgrader")
    names = (nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None, cell.get("id"))
    place = next((name for name in names if isinstance(name, str) and name in by_id), "")
    place = place or by_source.get(cell["source"].strip(), "")
    if place in functions.values():
        return place
    return next((mine for name, mine in functions.items() if _defines(cell["source"], name)), place)


def _is_changed(cell: Cell, ours: Cell) -> bool:
    """Return whether a student added something of use to one of our cells, such as an import."""
    tags = ours["metadata"].get("tags", [])
    return tags in ([], ["parameters"]) and cell["source"].strip() != ours["source"].strip()


def _defines(source: str, name: str) -> bool:
    return re.search(rf"^(?:def {name}\b|{name}\s*=[^=])", source, re.MULTILINE) is not None


def code_cell(name: str, source: str) -> Cell:
    """Return a code cell whose errors do not stop the notebook."""
    tags = {"tags": ["raises-exception"]}
    return {"cell_type": "code", "id": name, "metadata": tags, "source": source, "execution_count": None, "outputs": []}


def check_source(session: str, exercise: str) -> str:
    """Return the code of a check: it loads the course again, whatever a student changed in it."""
    return f"""\
import sys as _sys
for _name in [_name for _name in _sys.modules if _name.startswith("repsim_nb.course")]:
    del _sys.modules[_name]
from repsim_nb.course import checks as _checks
_check = _checks({session!r})
_check.{exercise}({exercise})"""


def repair(exercise: str, solution: str, *, always: bool) -> Cell:
    """Return the cell that puts our function in place of one that is not right, so that later exercises can use it."""
    source = solution if always else f"if not _check.passed({exercise!r}):\n    exec({solution!r})"
    return code_cell(f"repair-{exercise.replace('_', '-')}", source)
