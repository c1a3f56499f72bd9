"""The sessions of the course: each exercise knows its mistakes, and each notebook has the form that the others have."""

import ast
import inspect
import json
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
from sizes import FULL
from test_notebooks import emptied, kernel  # noqa: F401 - a fixture

from repsim_nb import course
from repsim_nb.course import command
from repsim_nb.course.checking import MIME

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks" / "course"
NUMBERS = {name: number for number, name in enumerate(course.SESSIONS, 1)}
PATHS = {name: FOLDER / f"{number}_{name}.ipynb" for name, number in NUMBERS.items()}
THERE = list(course.SESSIONS)
EXERCISES = [(session, name) for session in THERE for name in course.load_session(session).exercises]
TAGS = {"handout", "parameters", "solution", "check", "figure", "instructor", "summary"}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CHROMIUM = shutil.which("chromium")
TIMES = 20 if FULL else 5


def named(case):
    return "-".join(case) if isinstance(case, tuple) else case


def exercise_of(case):
    return course.load_session(case[0]).exercises[case[1]]


def feedback(exercise, answer, times=TIMES):
    """The different results of so many checks."""
    return {exercise.check(answer, np.random.default_rng(seed)) for seed in range(times)}


# exercises


@pytest.mark.parametrize("session", THERE)
def test_a_session_has_six_to_eight_exercises(session):
    found = course.load_session(session)
    assert found.name == session and 6 <= len(found.exercises) <= 8
    assert sum(exercise.minutes for exercise in found.exercises.values()) <= 50
    assert not set(found.exercises) & {"passed", "summary"}, "a name of the checks themselves"


@pytest.mark.parametrize("case", EXERCISES, ids=named)
def test_a_solution_passes(case):
    exercise = exercise_of(case)
    assert {found.status for found in feedback(exercise, exercise.solution)} == {"ok"}


@pytest.mark.parametrize("case", EXERCISES, ids=named)
def test_each_usual_mistake_gets_its_own_text(case):
    exercise = exercise_of(case)
    mistakes = exercise.mistakes
    assert len(mistakes) >= 3
    assert len({mistake.name for mistake in mistakes}) == len({mistake.text for mistake in mistakes}) == len(mistakes)
    for mistake in mistakes:
        found = {(one.status, one.mistake, one.text) for one in feedback(exercise, mistake.answer)}
        assert found == {("wrong", mistake.name, mistake.text)}
        assert mistake.text.endswith((".", "?")) and len(re.findall(r"[.?!:](?=\s+[A-Z]|$)", mistake.text)) <= 2


@pytest.mark.parametrize("case", EXERCISES, ids=named)
def test_what_is_missing_or_constant_does_not_pass(case):
    exercise = exercise_of(case)
    for answer in (None, lambda *inputs: None):
        assert {found.status for found in feedback(exercise, answer, 2)} == {"todo"}
    for seed in range(3):
        value = exercise.solution(*exercise.inputs(np.random.default_rng(seed + 100)))
        assert {found.status for found in feedback(exercise, lambda *_, v=value: v)} == {"wrong"}


# notebooks


def cells_of(session, tag=None):
    cells = json.loads(PATHS[session].read_text())["cells"]
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return [cell for cell in cells if tag is None or tag in cell["metadata"].get("tags", [])]


def for_students(session):
    return [cell for cell in cells_of(session) if "instructor" not in cell["metadata"].get("tags", [])]


@pytest.mark.parametrize("session", THERE)
def test_the_file_is_as_the_others_are(session):
    text = PATHS[session].read_text()
    notebook = json.loads(text)
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    assert notebook["metadata"]["kernelspec"]["name"] == "python3" and "widgets" not in notebook["metadata"]
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids) and not [one for one in ids if not re.fullmatch(r"[a-z][a-z0-9-]+", one)]
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        assert set(tags) <= TAGS and len(tags) <= 1
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            lines = "".join(cell["source"]).splitlines()
            assert len([line for line in lines if line.strip() and line.strip() not in (BEGIN, END)]) <= 10
            assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("session", THERE)
def test_it_opens_with_what_students_need(session):
    first, parameters, imports = cells_of(session)[:3]
    number, title = NUMBERS[session], course.load_session(session).title
    assert first["metadata"]["tags"] == ["handout"] and first["source"].startswith(f"# Session {number}: {title}\n")
    head = first["source"]
    for part in ("Objectives", "What you should know before", "Time", "What it needs"):
        assert f"**{part}" in head or f"# {part}" in head, part
    objectives = head.partition("Objectives")[2].partition("What you should know before")[0]
    assert 3 <= len(re.findall(r"^[-*] ", objectives, re.MULTILINE)) <= 5
    assert "?" in head, "the question of the session"
    assert "download" in head and ".ipynb" in head, "nothing is downloaded; links to the lessons"
    assert parameters["metadata"]["tags"] == ["parameters"]
    given = {node.targets[0].id: ast.literal_eval(node.value) for node in ast.parse(parameters["source"]).body}
    assert given["strict"] is False and isinstance(given["small"], bool)
    assert f'check = course.checks("{session}", strict=strict)' in imports["source"].splitlines()


@pytest.mark.parametrize("session", THERE)
def test_its_minutes_are_those_of_the_exercises(session):
    head = cells_of(session)[0]["source"]
    rows = re.findall(r"^\|(.*)\|\s*(\d+)[^|\d]*\|\s*$", head, re.MULTILINE)
    assert 0 < sum(int(minutes) for _, minutes in rows) <= 50
    titles = headings(session)
    assert len(titles) == len(course.load_session(session).exercises)
    for (place, title, minutes), exercise in zip(titles, course.load_session(session).exercises.values(), strict=True):
        assert int(minutes) == exercise.minutes, title
        assert [m for text, m in rows if re.search(rf"(?<!\d){re.escape(place)}(?!\d)", text) or title in text] == [
            minutes
        ], f"one row of the table is about {place} {title}"


def headings(session):
    """[(N.k, title, minutes)] of the exercises."""
    text = "\n".join(cell["source"] for cell in cells_of(session) if cell["cell_type"] == "markdown")
    return re.findall(rf"^## ({NUMBERS[session]}\.\d+) (.+) \((\d+) minutes?\)$", text, re.MULTILINE)


@pytest.mark.parametrize("session", THERE)
def test_each_exercise_has_its_three_cells(session):
    cells = for_students(session)
    solutions = [k for k, cell in enumerate(cells) if "solution" in cell["metadata"].get("tags", [])]
    exercises = course.load_session(session).exercises
    assert len(solutions) == len(exercises) == len(cells_of(session, "check"))
    for number, (k, (name, exercise)) in enumerate(zip(solutions, exercises.items(), strict=True), 1):
        text, solution, check = cells[k - 1 : k + 2]
        dashed = name.replace("_", "-")
        assert [text["id"], solution["id"], check["id"]] == [f"ex-{dashed}", f"solve-{dashed}", f"check-{dashed}"]
        assert text["source"].startswith(f"## {NUMBERS[session]}.{number} ")
        assert check["source"] == f"check.{name}({name})" and check["metadata"]["tags"] == ["check"]
        hints = re.findall(r"<details>\s*<summary>Hint (\d)</summary>\n\n.+?\n\n</details>", text["source"], re.DOTALL)
        assert hints in (["1", "2"], ["1", "2", "3"]) and text["source"].count("<details>") == len(hints)
        (function,) = ast.parse(solution["source"]).body
        assert isinstance(function, ast.FunctionDef) and function.name == name
        assert [arg.arg for arg in function.args.args] == list(inspect.signature(exercise.solution).parameters)
        docstring = ast.get_docstring(function, clean=False)
        assert docstring and "\n" not in docstring, "one line with the arguments and their shapes"
        before, _, rest = solution["source"].partition(f"    {BEGIN}\n")
        assert before.rstrip().endswith('"""') and rest.endswith(f"\n    {END}") and rest.count("###") == 1


@pytest.mark.parametrize("session", THERE)
def test_no_text_gives_a_solution_away(session):
    texts = "\n".join(cell["source"] for cell in for_students(session) if "solution" not in str(cell["metadata"]))
    for line in body_lines(session):
        assert line not in texts, line
    words = texts + "".join(m.text for e in course.load_session(session).exercises.values() for m in e.mistakes)
    assert not re.findall(r"\b(?:trivial(?:ly)?|obvious(?:ly)?|simply)\b", words, re.IGNORECASE)


def body_lines(session):
    """The lines of the solutions that say something."""
    bodies = [cell["source"].partition(BEGIN)[2].partition(END)[0] for cell in cells_of(session, "solution")]
    return [line.strip() for body in bodies for line in body.splitlines() if len(line.strip()) > 15]


@pytest.mark.parametrize("session", THERE)
def test_figures_wait_for_what_they_need(session):
    figures = cells_of(session, "figure")
    assert figures
    for cell in figures:
        names = re.match(r"if check\.passed\((.+?)\):\n", cell["source"])[1]
        assert set(ast.literal_eval(f"({names},)")) <= set(course.load_session(session).exercises)
        assert len(ast.parse(cell["source"]).body) == 1, "all of it waits"


@pytest.mark.parametrize("session", THERE)
def test_it_ends_with_what_would_change_your_mind(session):
    *_, text, summary = for_students(session)
    assert text["cell_type"] == "markdown" and "would change your mind" in text["source"]
    assert summary["source"] == "check.summary()" and summary["metadata"]["tags"] == ["summary"]
    assert all(cell["cell_type"] == "markdown" for cell in cells_of(session, "instructor"))
    assert len("".join(cell["source"] for cell in cells_of(session, "instructor"))) > 300, "notes for teachers"


@pytest.mark.parametrize("session", THERE)
def test_links_lead_somewhere(session):
    text = "\n".join(cell["source"] for cell in cells_of(session) if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    for link in links:
        assert link.startswith("https://") or (FOLDER / link).exists(), link


# versions


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The course as `python -m repsim_nb course build` writes it."""
    out = tmp_path_factory.mktemp("course")
    assert command.main(["build", str(out)]) == 0
    return out


@pytest.mark.parametrize("session", THERE)
def test_no_solution_is_left_for_students(session, folder):
    text = (folder / "students" / PATHS[session].name).read_text()
    notebook = json.loads(text)
    assert "SOLUTION" not in text and "instructor" not in text
    for line in body_lines(session):
        assert json.dumps(line, ensure_ascii=False)[1:-1] not in text, line
    for cell in notebook["cells"]:
        if "solution" in cell["metadata"].get("tags", []):
            source = "".join(cell["source"])
            assert source.endswith('"""\n    ...  # your answer') and source.count("\n") == 2
    nbformat.validate(nbformat.reads(text, as_version=4))


@pytest.mark.parametrize("session", THERE)
def test_nbgrader_finds_what_it_needs(session, folder):
    students, marked = (
        json.loads((folder / part / PATHS[session].name).read_text())["cells"]
        for part in ("students", f"nbgrader/source/{PATHS[session].stem}")
    )
    graded = {cell["id"]: cell["metadata"]["nbgrader"] for cell in students if "nbgrader" in cell["metadata"]}
    exercises = course.load_session(session).exercises
    assert sum(one.get("points", 0) for one in graded.values()) == len(exercises)
    for name in exercises:
        check, solution = (graded[f"{kind}-{name.replace('_', '-')}"] for kind in ("check", "solve"))
        assert check["grade"] and check["locked"] and not check["solution"] and check["schema_version"] == 3
        assert solution["solution"] and not solution["grade"] and not solution["locked"] and not solution["task"]
    assert all(one["grade_id"] == cell for cell, one in graded.items())
    assert [cell["metadata"] for cell in marked] == [cell["metadata"] for cell in students]
    assert "".join(map(str, marked)).count("### BEGIN SOLUTION") == len(exercises)


@pytest.mark.parametrize("session", THERE)
def test_the_solved_version_and_the_notes_have_no_marks(session, folder):
    stem = PATHS[session].stem
    solved, notes = folder / "solved" / f"{stem}.ipynb", (folder / "instructors" / f"{stem}.md").read_text()
    assert "SOLUTION" not in solved.read_text() + notes and body_lines(session)[0] in solved.read_text()
    for exercise in course.load_session(session).exercises.values():
        assert f"`{exercise.name}`" in notes and all(mistake.text in notes for mistake in exercise.mistakes)
    for cell in cells_of(session, "instructor"):
        assert cell["source"].splitlines()[-1] in notes


@pytest.mark.parametrize("session", THERE)
def test_a_handout_names_what_is_to_be_written(session, folder):
    text = (folder / "handouts" / f"{PATHS[session].stem}.md").read_text()
    assert text.startswith(f"# Session {NUMBERS[session]}: ") and all(
        f"`{name}(" in text for name in course.load_session(session).exercises
    )
    assert len(text) < 4500, "more does not fit on one page"
    page = (folder / "handouts" / f"{PATHS[session].stem}.html").read_text()
    assert "<script" not in page and "http" not in re.sub(r'href="[^"]*"', "", page) and "$" not in page


def test_links_of_the_folder_lead_somewhere(folder):
    files = [
        path
        for path in folder.rglob("*")
        if path.suffix in (".md", ".ipynb", ".html") and path.parent.name != "lessons"
    ]
    for path in files:
        text = path.read_text()
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'href="([^"#]+)', text):
            if not link.startswith(("http", "../lessons/")) and "nbgrader" not in path.parts:
                assert (path.parent / link).exists(), (path, link)
            elif link.startswith("../lessons"):
                assert (folder / link.removeprefix("../")).exists(), (path, link)
    assert len(files) == 7 * len(THERE) + 2
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    rows = (folder / "README.md").read_text()
    assert rows.count("](students/") == len(THERE)


def test_the_docs_have_the_plan_of_the_course():
    page = (ROOT / "docs" / "howto" / "teach.md").read_text()
    rows = []
    for name in THERE:
        session = course.load_session(name)
        minutes = sum(exercise.minutes for exercise in session.exercises.values())
        functions = ", ".join(f"`{exercise}`" for exercise in session.exercises)
        rows.append(f"| {NUMBERS[name]}. {session.title} | {functions} | {minutes} |")
    assert [line for line in page.splitlines() if re.match(r"\| \d\. ", line)] == rows


def test_the_course_is_not_written_over_its_sources(capsys):
    assert command.main(["build", str(FOLDER)]) == 1
    assert "must not be within the notebooks" in capsys.readouterr().err


@pytest.mark.full
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (apt-get install chromium)")
def test_a_handout_prints_on_one_page(folder, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        for path in sorted((folder / "handouts").glob("*.html")):
            page.goto(path.as_uri())
            for paper in ("A4", "Letter"):
                assert page.pdf(format=paper).count(b"/Type /Page\n") == 1, (path.name, paper)
        browser.close()


# runs


def run(source, out, kernel, tmp_path, **parameters):  # noqa: F811
    """Run a notebook, and return the results of its checks, {exercise: status}, all outputs, and drawn figures."""
    emptied(kernel, tmp_path)
    done = papermill.execute_notebook(
        str(source),
        str(out),
        engine_name="one_kernel",
        parameters=parameters,
        kernel_name="python3",
        cwd=str(tmp_path),
        progress_bar=False,
        request_save_on_cell_execute=False,  # else it is written before and after each cell
    )
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert not [o.text for o in outputs if o.output_type == "stream" and "Warning" in o.text]
    checked = [o.data[MIME] for o in outputs if MIME in o.get("data", {})]
    drawn = [o for cell in done.cells if "figure" in cell.metadata.get("tags", []) for o in cell.outputs]
    figures = [o for o in drawn if "image/png" in o.get("data", {})]
    return {one["exercise"]: one["status"] for one in checked}, outputs, figures


@pytest.mark.parametrize("session", THERE)
def test_the_solved_version_passes_all_checks(session, kernel, tmp_path):  # noqa: F811
    found, outputs, figures = run(PATHS[session], tmp_path / "out.ipynb", kernel, tmp_path, strict=True, small=True)
    assert found == dict.fromkeys(course.load_session(session).exercises, "ok")
    assert figures
    assert not [o for o in outputs if o.output_type == "stream" and "waits" in o.text]


@pytest.mark.parametrize("session", THERE)
def test_the_version_of_students_says_todo_everywhere(session, folder, kernel, tmp_path):  # noqa: F811
    path = folder / "students" / PATHS[session].name
    found, _, figures = run(path, tmp_path / "out.ipynb", kernel, tmp_path, small=True)
    assert found == dict.fromkeys(course.load_session(session).exercises, "todo")
    assert not figures, "figures wait for the functions"
