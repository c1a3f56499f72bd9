"""Grade a folder of notebooks: each runs in a process of its own, with a time limit and without network access."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from repsim_nb.course.sessions import SESSIONS, load_session
from repsim_nb.course.submissions import (
    Submission,
    UnreadableError,
    code_cell,
    find_submissions,
    insert_answers,
    read_cells,
    repair,
)
from repsim_nb.course.versions import Cell, exercise_of, has_tag, read_source, students_version
from repsim_nb.support.errors import as_clause
from repsim_nb.support.escaping import spreadsheet_text
from repsim_nb.support.files import replace_atomically

COLUMNS = ("student", "session", "exercise", "status", "mistake", "points", "file")
LARGEST_MEMORY = 6 * 2**30  # bytes of all processes of one notebook
GUARD = code_cell("guard", "from repsim_nb.course.isolated import guard as _guard\n_guard()")


@dataclass(frozen=True)
class Grade:
    """The result of one exercise of one student."""

    student: str
    session: str
    exercise: str
    status: str  # ok, todo, wrong, error, stopped, missing; unreadable for a whole notebook
    mistake: str = ""  # the name of the mistake, of the error, or what was wrong with the file
    file: str = ""

    @property
    def points(self) -> int:
        """One for each exercise that is solved."""
        return int(self.status == "ok")


def grade(
    folder: str | Path,
    *,
    seconds: float = 120,
    cell_seconds: float | None = None,
    jobs: int = 1,
    report: Callable[[Submission, list[Grade]], None] | None = None,
) -> list[Grade]:
    """Grade the notebooks in a folder.

    The answers of a student are put into our notebook, so that a changed check has no effect. It runs under papermill
    in a process of its own. A cell that raises does not stop the rest; a cell that takes too long, too much memory or
    ends the kernel is left out, and the rest is run again. Later exercises use our function in place of one that is not
    right, so that one error costs one point.

    Parameters
    ----------
    folder : str or Path
        The submissions, see `find_submissions`.
    seconds : float
        The longest time for one notebook.
    cell_seconds : float, optional
        The longest time for one cell; a quarter of `seconds` by default.
    jobs : int
        How many notebooks run at the same time.
    report : function(submission, grades), optional
        Called after each notebook.

    Returns
    -------
    list of Grade
        One for each exercise of each notebook, by student and session.

    Raises
    ------
    FileNotFoundError
        If there is no notebook in the folder.
    """

    def one(submission: Submission) -> list[Grade]:
        try:
            found = grade_one(submission, seconds, cell_seconds or seconds / 4)
        except Exception as error:  # whatever is in a notebook, the others are graded
            reason = f"{type(error).__name__}: {as_clause(error)}"
            found = [Grade(submission.student, submission.session, "", "unreadable", reason, submission.path.name)]
        if report is not None:
            report(submission, found)
        return found

    submissions = find_submissions(folder)
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        try:
            return [result for found in pool.map(one, submissions) for result in found]
        except BaseException:  # Ctrl-C: what runs ends soon, and the rest does not begin
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def grade_one(submission: Submission, seconds: float, cell_seconds: float) -> list[Grade]:
    """Grade one notebook, whatever is in it."""
    blank = Grade(submission.student, submission.session, "", "", file=submission.path.name)
    try:
        cells = read_cells(submission.path)
        session = submission.session or _session_of(cells)
        if session not in SESSIONS:
            raise UnreadableError("it is no session of the course")
        blank = replace(blank, session=session)
        source = read_source(session)
        run, found = insert_answers(students_version(source), cells, session)
        if not found and (other := _session_of(cells)) not in ("", session):
            raise UnreadableError(f"it is the notebook of session '{other}'")
    except UnreadableError as error:
        names = load_session(submission.session).exercises if submission.session else ("",)
        return [replace(blank, exercise=name, status="unreadable", mistake=str(error)) for name in names]
    solutions = {exercise_of(cell): cell["source"] for cell in source["cells"] if has_tag(cell, "solution")}
    results = _Run([GUARD, *run], found, solutions, seconds, cell_seconds).results()
    return [
        replace(blank, exercise=name, status=status, mistake=mistake)
        for name in load_session(session).exercises
        for status, mistake in [results.get(name, ("missing", ""))]
    ]


def _session_of(cells: Sequence[Cell]) -> str:
    """Return the session whose checks a notebook asks for; "" if there is none."""
    texts = "\n".join(cell["source"] for cell in cells)
    return next((name for name in SESSIONS if f'checks("{name}"' in texts), "")


class _Run:
    """The runs of one notebook: again without a cell that stopped everything, until all checks have a result."""

    def __init__(
        self, cells: list[Cell], exercises: set[str], solutions: dict[str, str], seconds: float, cell_seconds: float
    ) -> None:
        self._cells = cells
        self._solutions = solutions
        self._left = [cell["id"] for cell in cells if _is_check(cell) and exercise_of(cell) in exercises]
        self._end = time.monotonic() + seconds
        self._cell_seconds = cell_seconds
        self._results: dict[str, tuple[str, str]] = {}
        self._errors: dict[str, str] = {}  # exercise -> the error of its solution

    def results(self) -> dict[str, tuple[str, str]]:
        """{exercise: (status, mistake)} of all exercises that were found."""
        while self._left:
            culprit, reason = self._run_once()
            if not culprit:  # the end of the notebook, or of its time
                self._stop(self._left, reason)
            elif culprit in self._left:
                self._stop([culprit], reason)
            elif "--" in culprit:
                self._cells = [cell for cell in self._cells if cell["id"] != culprit]
                self._errors[exercise_of({"id": culprit.partition("--")[0]})] = reason
            else:  # our own cells did not run
                self._stop(self._left, reason)
        return self._results

    def _stop(self, checks: list[str], reason: str) -> None:
        self._results |= {exercise_of({"id": check}): ("stopped", reason) for check in checks}
        self._left = [check for check in self._left if check not in checks]

    def _run_once(self) -> tuple[str, str]:
        """Run what is left; return (the cell that stopped it, why), or ("", why)."""
        cells = list(self._with_repairs())
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path, events = Path(folder, "work", "graded.ipynb"), Path(folder, "events")
            path.parent.mkdir()
            kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
            metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
            notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
            path.write_text(json.dumps(notebook), encoding="utf-8")
            process = psutil.Popen(
                [sys.executable, "-m", "repsim_nb.course.isolated", str(path), str(events)],
                cwd=path.parent,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                return self._watch(process, events)
            finally:
                _kill(process)

    def _with_repairs(self) -> Iterator[Cell]:
        """Yield the cells to run: the checks that are left, and our functions after those that are not right."""
        for cell in self._cells:
            if not _is_check(cell) or cell["id"] in self._left:
                yield cell
            if _is_check(cell):
                name = exercise_of(cell)
                status = self._results.get(name, ("missing", ""))[0]
                if cell["id"] in self._left or status != "ok":
                    yield repair(name, self._solutions[name], always=cell["id"] not in self._left)

    def _watch(self, process: psutil.Popen, events: Path) -> tuple[str, str]:
        current, since, read, ended = "", time.monotonic(), 0, False
        while True:
            running = process.poll() is None
            lines = events.read_text().splitlines(keepends=True) if events.exists() else []
            for line in lines[read:]:
                if line.endswith("\n"):
                    read += 1
                    event = _read_event(line)
                    ended = ended or "end" in event
                    if "start" in event:
                        current, since = event["start"], time.monotonic()
                    elif "done" in event:
                        self._take(event)
                        current = ""
            if not self._left or (ended and not running):
                return "", "no result"
            if not running:
                return (current, "the kernel ended") if current else ("", "the kernel did not start")
            now = time.monotonic()
            if now > self._end:
                return "", "too long"
            if ("--" in current or current in self._left) and now - since > self._cell_seconds:
                return current, "too long"
            if _memory(process) > LARGEST_MEMORY:
                return current, "too much memory"
            time.sleep(0.05)

    def _take(self, event: dict[str, Any]) -> None:
        """Take the result of a cell that is done."""
        name = exercise_of({"id": event["done"].partition("--")[0]})
        if event["done"] not in self._left:
            if event["error"]:
                self._errors[name] = event["error"]
            return
        result = event["result"]
        if result is not None and result["exercise"] == name:
            status, mistake = result["status"], result["mistake"]
        else:  # a solution that did not run is why its name is not there
            reason = self._errors.get(name) or event["error"] or "no result"
            status, mistake = ("stopped" if " " in reason else "error"), reason
        self._results[name] = (status, mistake)
        self._left.remove(event["done"])


def _read_event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _environment(folder: str) -> dict[str, str]:
    """Return the environment of a run: without nbgrader's names and the settings of IPython of this user."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("NBGRADER")}
    home = Path(__file__).resolve().parents[2]
    if home.name not in ("site-packages", "dist-packages"):
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(home), env.get("PYTHONPATH", "")]))
    return env | {"IPYTHONDIR": folder}


def _is_check(cell: Cell) -> bool:
    return str(cell["id"]).startswith("check-")


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def _memory(process: psutil.Process) -> int:
    total = 0
    for one in _family(process):
        try:
            total += one.memory_info().rss
        except psutil.Error:
            continue  # it has ended
    return total


def _kill(process: psutil.Popen) -> None:
    """End a process and all that it started."""
    family = _family(process)
    for one in family:
        try:
            one.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(family, timeout=10)


def write_csv(grades: Iterable[Grade], path: str | Path) -> None:
    """Write grades as a table with the columns of `COLUMNS`; spreadsheets compute nothing of what students wrote."""
    with replace_atomically(Path(path)) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows([[spreadsheet_text(getattr(one, name)) for name in COLUMNS] for one in grades])


def summarise(grades: Sequence[Grade]) -> str:
    """Return points by student and session, and the most frequent mistakes, as text."""
    sessions = [name for name in SESSIONS if any(one.session == name for one in grades)]
    students = sorted({one.student for one in grades})
    width = max(map(len, students), default=0)
    rows = [" " * width + "  " + "  ".join(sessions)]
    for student in students:
        points = []
        for session in sessions:
            mine = [one for one in grades if (one.student, one.session) == (student, session)]
            points.append(f"{sum(one.points for one in mine)}/{len(mine)}" if mine else "")
        rows.append(f"{student:{width}}  " + "  ".join(f"{p:>{len(s)}}" for p, s in zip(points, sessions, strict=True)))
    unread = [one for one in grades if one.status == "unreadable" and one.exercise in ("", *_firsts())]
    rows += [f"{one.file} ({one.student}): not graded, {one.mistake}" for one in unread]
    often = Counter((one.exercise, one.mistake) for one in grades if one.status == "wrong")
    return "\n".join(
        [*rows, *(f"{times} × {exercise}: {mistake}" for (exercise, mistake), times in often.most_common(10))]
    )


def _firsts() -> list[str]:
    return [next(iter(load_session(name).exercises)) for name in SESSIONS]
