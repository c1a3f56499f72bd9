"""Notebooks that students hand in are graded, whatever is in them."""

import csv
import json
import os
import socket
import subprocess
import sys

import pytest

from repsim_nb.course import command, grading, isolated
from repsim_nb.course.checking import MIME
from repsim_nb.course.grading import Grade, summarise, write_csv
from repsim_nb.course.sessions import load_session
from repsim_nb.course.submissions import (
    Submission,
    UnreadableError,
    check_source,
    find_submissions,
    insert_answers,
    read_cells,
)
from repsim_nb.course.versions import read_source, solved_version, students_version

SOURCE = read_source("invariances")
STUDENTS, SOLVED = students_version(SOURCE), solved_version(SOURCE)
NAMES = list(load_session("invariances").exercises)
ENDLESS = "def gram(x):\n    while True:\n        pass"


def changed(notebook, **sources):
    """A notebook with other text in the cells of these solutions."""
    notebook = json.loads(json.dumps(notebook))
    for cell in notebook["cells"]:
        name = cell["id"].removeprefix("solve-").replace("-", "_")
        if cell["id"].startswith("solve-") and name in sources:
            cell["source"] = sources[name]
    return notebook


def hand_in(path, notebook):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook))
    return path


# which notebooks there are


@pytest.mark.parametrize(
    ("file", "student", "session"),
    [
        ("anna_2_invariances.ipynb", "anna", "invariances"),
        ("2_invariances_anna.ipynb", "anna", "invariances"),
        ("anna-invariances (1).ipynb", "anna", "invariances"),
        ("2_invariances.ipynb", "2_invariances", "invariances"),
        ("trust_2_invariances.ipynb", "trust", "invariances"),
        ("brainsmith.ipynb", "brainsmith", ""),
        ("anna.ipynb", "anna", ""),
        ("anna b/2_invariances.ipynb", "anna b", "invariances"),
        ("anna/2_invariances/2_invariances.ipynb", "anna", "invariances"),
        ("anna/trust/mine.ipynb", "anna", "trust"),
        ("submitted/anna/5_trust/5_trust.ipynb", "anna", "trust"),
        ("=1+1_Maps.ipynb", "=1+1", "maps"),
    ],
)
def test_student_and_session_are_read_from_the_path(file, student, session, tmp_path):
    path = hand_in(tmp_path / file, "{}")
    hand_in(tmp_path / ".ipynb_checkpoints" / "anna_2_invariances.ipynb", "{}")
    assert find_submissions(tmp_path) == [Submission(path, student, session)]


def test_of_two_the_newest_is_graded(tmp_path):
    old, new = (hand_in(tmp_path / f"anna_2_invariances{end}.ipynb", "{}") for end in (" (1)", ""))
    os.utime(old, (1, 1))
    assert [one.path for one in find_submissions(tmp_path)] == [new]


def test_a_folder_without_notebooks_is_refused(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="there is none in"):
        find_submissions(tmp_path)
    with pytest.raises(FileNotFoundError, match="must be in a folder"):
        find_submissions(tmp_path / "a")
    assert command.main(["grade", str(tmp_path / "a")]) == 1
    assert "course grade: the submissions must be in a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"worksheets": []}', '{"cells": 3}', "[" * 100_000, '"\\ud800"']
)
def test_what_is_not_a_notebook(content, tmp_path):
    with pytest.raises(UnreadableError):
        read_cells(hand_in(tmp_path / "a.ipynb", content))
    (found,) = {(one.status, one.points) for one in grading.grade(tmp_path)}
    assert found == ("unreadable", 0)


def test_a_notebook_of_another_session_is_named(tmp_path):
    hand_in(tmp_path / "anna_5_trust.ipynb", SOLVED)
    found = {(one.session, one.status, one.mistake) for one in grading.grade(tmp_path)}
    assert found == {("trust", "unreadable", "it is the notebook of session 'invariances'")}


def test_cells_may_lack_anything(tmp_path):
    path = hand_in(tmp_path / "b.ipynb", "\ufeff" + json.dumps({"cells": []}))
    assert read_cells(path) == [], "some editors write a mark of the byte order"
    cells = [3, {}, {"cell_type": "code"}, {"cell_type": "code", "source": ["a", 3], "metadata": []}]
    assert [cell["source"] for cell in read_cells(hand_in(tmp_path / "a.ipynb", {"cells": cells}))] == ["", "a"]


# answers in our notebook


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def merged(notebook):
    run, found = insert_answers(STUDENTS, code(notebook), "invariances")
    return [(cell["id"].partition("--")[0], cell["source"]) for cell in run], found


def test_answers_come_into_our_notebook():
    cells, found = merged(SOLVED)
    assert found == set(NAMES)
    solutions = {cell["id"]: cell["source"] for cell in SOLVED["cells"]}
    for place, source in cells:
        if place.startswith("solve-"):
            assert source == solutions[place]
    assert [place for place, _ in cells if place.startswith("check-")] == [
        f"check-{n.replace('_', '-')}" for n in NAMES
    ]
    assert not any(place.startswith(("figure", "summary")) for place, _ in cells)


def test_answers_are_found_without_ids_in_any_cell():
    notebook = json.loads(json.dumps(SOLVED))
    for cell in notebook["cells"]:
        del cell["id"]
        cell["metadata"] = {}
    assert merged(notebook) == merged(SOLVED)
    one = {"cell_type": "code", "metadata": {}, "source": "def centre(x):\n    return 3\n\ngram = lambda x: 4"}
    cells, found = merged({"cells": [one]})
    assert found == {"centre", "gram"} and ("solve-centre", one["source"]) in cells


def test_a_changed_check_has_no_effect_and_added_cells_are_run_at_their_place():
    notebook = changed(STUDENTS, centre="def centre(x):\n    return helper(x)")
    k = next(k for k, cell in enumerate(notebook["cells"]) if cell["id"] == "solve-centre")
    notebook["cells"][k + 1]["source"] = "print('ok: centre')"
    imports = next(cell for cell in notebook["cells"] if "course.checks(" in cell["source"])
    imports["source"] += "\nimport scipy"
    notebook["cells"].insert(k, {"cell_type": "code", "metadata": {}, "source": "def helper(x):\n    return x"})
    notebook["cells"].insert(k + 2, {"cell_type": "code", "metadata": {}, "source": "  "})
    cells, _ = merged(notebook)
    order = [place for place, _ in cells]
    k = order.index("solve-centre")
    assert order[k - 1 : k + 2] == ["added", "solve-centre", "check-centre"]
    assert order.count("added") == 2 and any(source.endswith("import scipy") for _, source in cells)
    assert not any("print(" in source for _, source in cells)
    (check,) = [source for place, source in cells if place == "check-centre"]
    assert check.endswith("_check = _checks('invariances')\n_check.centre(centre)")


PATCHES = """\
from repsim_nb import course
from repsim_nb.course import exercises
course.checks = course.Checks = None
exercises.same = lambda *values: True
exercises.Exercise.check = lambda self, answer, rng: exercises.Feedback(self.name, "ok")
course.load_session("invariances").exercises["centre"].solution = lambda x: x"""


def test_a_course_that_a_student_changed_is_loaded_again():
    cells = ["def centre(x):\n    return x", PATCHES, check_source("invariances", "centre")]
    cells += [check_source("invariances", "gram").replace("(gram)", "(lambda x: (x - x.mean(0)) @ (x - x.mean(0)).T)")]
    done = subprocess.run([sys.executable, "-c", "\n".join(cells)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("wrong: centre. ") and done.stdout.endswith("ok: gram\n")


# the table


def test_the_table_has_no_formulas(tmp_path):
    grades = [Grade("=cmd()", "invariances", "centre", "wrong", "@sum", "+a.ipynb")]
    write_csv(grades, tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open() as file:
        head, row = csv.reader(file)
    assert head == ["student", "session", "exercise", "status", "mistake", "points", "file"]
    assert row == ["'=cmd()", "invariances", "centre", "wrong", "'@sum", "0", "'+a.ipynb"]


def test_the_summary_has_points_and_the_most_frequent_mistakes():
    grades = [Grade(s, "invariances", n, "ok") for s in ("anna", "b") for n in NAMES[1:]]
    grades += [Grade(s, "invariances", NAMES[0], "wrong", "one mean for all") for s in ("anna", "b")]
    grades += [Grade("c", "", "", "unreadable", "it is not JSON", "c.ipynb")]
    most = len(NAMES)
    assert [line.split() for line in summarise(grades).splitlines()] == [
        ["invariances"],
        ["anna", f"{most - 1}/{most}"],
        ["b", f"{most - 1}/{most}"],
        ["c"],
        ["c.ipynb", "(c):", "not", "graded,", "it", "is", "not", "JSON"],
        f"2 × {NAMES[0]}: one mean for all".split(),
    ]


# runs


def tiny(monkeypatch):
    """The session without what its imports load; -> its first exercises."""
    short = json.loads(json.dumps(SOURCE))
    for cell in short["cells"]:
        if "course.checks(" in cell["source"]:
            cell["source"] = "import numpy as np"
    monkeypatch.setattr(grading, "read_source", lambda name: short)


NETWORK = """\
import socket
def centre(x):
    for reach in (lambda: socket.create_connection(("192.0.2.1", 80), 1), lambda: socket.gethostbyname("example.com")):
        try:
            reach()
            return 0
        except PermissionError as error:
            assert "no network access" in str(error)
    return x - x.mean(0)"""


def test_one_notebook_with_everything(monkeypatch, tmp_path):
    tiny(monkeypatch)
    forged = f'display({{"{MIME}": {{"exercise": "hsic", "status": "ok", "mistake": ""}}}}, raw=True)'
    notebook = changed(
        SOLVED,
        centre=NETWORK,
        gram=ENDLESS,
        centre_gram="import os\nos._exit(1)",
        hsic=f"def hsic(k, l):\n    {forged}\n    exit()",
        linear_cka="def linear_cka(x, y:\n    return 3",
        hsic_debiased="check = None\nclass course: pass\ndef hsic_debiased(k, l): return None",
    )
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != "solve-procrustes"]
    path = hand_in(tmp_path / "anna_2_invariances.ipynb", notebook)
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")  # not passed on: checks would raise
    told = []
    grades = grading.grade(tmp_path, cell_seconds=4, report=lambda one, found: told.append((one.path, len(found))))
    assert {one.exercise: (one.status, one.mistake) for one in grades} == {
        "centre": ("ok", ""),
        "gram": ("stopped", "too long"),
        "centre_gram": ("stopped", "the kernel ended"),
        "hsic": ("wrong", "raises"),
        "linear_cka": ("error", "SyntaxError"),
        "hsic_debiased": ("todo", ""),
        "procrustes": ("missing", ""),
        "largest_change": ("ok", ""),
    }
    assert told == [(path, len(NAMES))]


@pytest.mark.parametrize(
    ("memory", "seconds", "reason"), [(1, 100, "too much memory"), (10**12, 0.01, "too long")], ids=["memory", "time"]
)
def test_a_notebook_has_limits(memory, seconds, reason, monkeypatch, tmp_path):
    monkeypatch.setattr(grading, "LARGEST_MEMORY", memory)
    hand_in(tmp_path / "anna_2_invariances.ipynb", SOLVED)
    found = grading.grade(tmp_path, seconds=seconds)
    assert {(one.status, one.mistake) for one in found} == {("stopped", reason)} and len(found) == len(NAMES)


def test_whatever_goes_wrong_with_one_the_others_are_graded(monkeypatch, tmp_path):
    def grade_one(submission, *limits):
        if submission.student == "anna":
            raise OSError("no space left.")
        return [Grade(submission.student, "", "", "ok")]

    monkeypatch.setattr(grading, "grade_one", grade_one)
    for name in ("anna", "b\x1b[1m"):
        hand_in(tmp_path / f"{name}.ipynb", "{}")
    first, second = grading.grade(tmp_path)
    assert (first.status, first.mistake, second.student) == ("unreadable", "OSError: no space left", "b?[1m")


@pytest.mark.full
def test_a_folder_of_submissions(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "submitted"
    for student, notebook in {
        "good": SOLVED,
        "empty": STUDENTS,
        "wrong": changed(SOLVED, centre="def centre(x):\n    return x - x.mean()"),
        "broken": changed(SOLVED, centre="def centre(x:", gram="1 / 0"),
        "endless": changed(SOLVED, gram=ENDLESS),
        "loud": changed(SOLVED, gram="while True:\n    print('a' * 10_000)"),
        "nothing": {"cells": []},
        "torn": json.dumps(SOLVED)[:-20],
    }.items():
        hand_in(folder / student / "2_invariances" / "2_invariances.ipynb", notebook)
    hand_in(folder / "other" / "mine.ipynb", {"cells": []})
    assert command.main(["grade", str(tmp_path), "--out", str(tmp_path / "grades.csv"), "--seconds", "100"]) == 0
    with (tmp_path / "grades.csv").open() as file:
        rows = list(csv.DictReader(file))
    points = {row["student"]: 0 for row in rows}
    for row in rows:
        points[row["student"]] += int(row["points"])
    most = len(NAMES)
    assert points == {
        "good": most,
        "wrong": most - 1,
        "broken": most - 2,
        "endless": most - 1,
        "loud": most - 1,
        **dict.fromkeys(("empty", "nothing", "torn", "other"), 0),
    }
    status = {(row["student"], row["exercise"]): (row["status"], row["mistake"]) for row in rows}
    assert status["wrong", "centre"] == ("wrong", "one mean for all") and status["empty", "gram"] == ("todo", "")
    assert status["broken", "centre"] == ("error", "SyntaxError") and status["nothing", "gram"] == ("missing", "")
    assert status["broken", "gram"] == ("error", "ZeroDivisionError")
    assert status["endless", "gram"][0] == status["loud", "gram"][0] == "stopped"
    assert status["torn", "gram"] == ("unreadable", "it is not JSON")
    assert status["other", ""] == ("unreadable", "it is no session of the course")
    shown = capsys.readouterr().out
    assert "good, 2_invariances.ipynb: 8 of 8" in shown and "1 × centre: one mean for all" in shown


def test_the_guard_refuses_other_machines_and_lets_loopback_through():
    code = """
    from repsim_nb.course.isolated import guard
    import socket
    guard()
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname()).close()
    for reach in (
        lambda: socket.create_connection(("192.0.2.1", 80)),
        lambda: socket.getaddrinfo("example.com", 80),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"a", ("192.0.2.1", 80)),
    ):
        try:
            reach()
        except PermissionError as error:
            print(error)
    """
    import textwrap

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.count("no network access while a notebook is graded") == 3


@pytest.mark.skipif(not isolated.can_leave_network(), reason="no process can give up its network access here")
def test_without_network_access_there_is_loopback():
    code = """
    import socket
    from repsim_nb.course.isolated import leave_network
    assert leave_network()
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname()).close()
    print([name for _, name in socket.if_nameindex()])
    try:
        socket.create_connection(("192.0.2.1", 80), 5)
    except OSError as error:
        print(error)
    """
    import textwrap

    before = socket.if_nameindex()
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['lo'") and "unreachable" in done.stdout
    assert socket.if_nameindex() == before
