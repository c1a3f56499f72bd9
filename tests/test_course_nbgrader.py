"""nbgrader takes the course as `make course` writes it: full points for what is right, none for what is not.

`make full` installs nbgrader into .venv/only-nbgrader; elsewhere REPSIM_NB_NBGRADER names such a folder.
"""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repsim_nb import course
from repsim_nb.course.building import build

ROOT = Path(__file__).parents[1]
NBGRADER = Path(os.environ.get("REPSIM_NB_NBGRADER") or ROOT / ".venv" / "only-nbgrader")
ASSIGNMENT = "2_invariances"
NAMES = list(course.load_session("invariances").exercises)
WARNS = '    import warnings\n    warnings.warn("a warning costs no points")\n    return '


def nbgrader(folder, *words):
    paths = {"PYTHONPATH": [ROOT, NBGRADER], "PATH": [NBGRADER / "bin"]}  # nbgrader starts the program alembic
    env = {name: os.pathsep.join([*map(str, more), os.environ.get(name, "")]) for name, more in paths.items()}
    command = [sys.executable, "-m", "nbgrader", *words]
    done = subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def read(path):
    notebook = json.loads(path.read_text())
    return notebook, {cell["id"]: cell for cell in notebook["cells"]}


@pytest.mark.full
@pytest.mark.skipif(not NBGRADER.is_dir(), reason="make full installs nbgrader")
def test_nbgrader_hands_out_and_grades(tmp_path):
    build(tmp_path)
    folder = tmp_path / "nbgrader"
    nbgrader(folder, "generate_assignment", ASSIGNMENT)
    students, solved = tmp_path / "students" / f"{ASSIGNMENT}.ipynb", tmp_path / "solved" / f"{ASSIGNMENT}.ipynb"
    released, _ = read(folder / "release" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb")
    ours = read(students)[0]["cells"]
    for given, expected in zip(released["cells"], ours, strict=True):
        text = re.sub(r"\.\./(\d_\w+)/\1\.ipynb", r"\1.ipynb", "".join(given["source"]))
        assert text == "".join(expected["source"]), "what nbgrader hands out is the version for students"

    def hand_in(student, path, change=None):
        notebook, by_id = read(path)
        for cell, source in (change(by_id) if change else {}).items():
            by_id[cell]["source"] = source
        target = folder / "submitted" / student / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(notebook))

    hand_in("good", solved)
    hand_in("empty", students)
    hand_in("cheats", students, lambda cells: {f"check-{name.replace('_', '-')}": "pass" for name in NAMES})
    hand_in("warns", students, lambda cells: {"solve-centre": f"def centre(x):\n{WARNS}x - x.mean(0)"})
    hand_in("wrong", solved, lambda cells: {"solve-centre": "def centre(x):\n    return x - x.mean()"})
    nbgrader(folder, "autograde", ASSIGNMENT)
    nbgrader(folder, "export")
    with open(folder / "grades.csv") as file:
        found = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}
    most = float(len(NAMES))
    assert found["good"] == (most, most) and found["empty"] == found["cheats"] == (0, most)
    assert found["warns"] == (1, most)
    assert 0 < found["wrong"][0] < most, "other exercises may use the wrong function"
