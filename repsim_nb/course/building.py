"""Write the course into a folder: what students, teachers and nbgrader receive."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

from repsim_nb.course import versions
from repsim_nb.course.sessions import SESSIONS, load_session
from repsim_nb.course.versions import file_name, relink, relink_text, write_notebook
from repsim_nb.support.errors import import_library
from repsim_nb.support.files import shipped_folder

NBGRADER_CONFIG = '''\
"""Run `nbgrader generate_assignment 2_invariances` here, and `nbgrader autograde 2_invariances` on what comes back."""

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "repsim_nb"
c.ClearSolutions.code_stub = {{"python": "{stub}"}}
c.Execute.timeout = 120  # seconds a cell; the figures compute
'''

README = """\
# The course of repsim_nb

{sessions} sessions of 50 minutes, written by `python -m repsim_nb course build` (or `make course OUT=folder`).

| session | for students | solved | notes for instructors | handout |
|---|---|---|---|---|
{rows}

- `students`: hand out these, with `lessons` next to them. Solutions are replaced by a stub.
- `solved`: the same notebooks with solutions. All checks pass.
- `instructors`: aims, timing, expected figures, common questions, and what the checks say to each usual mistake.
- `handouts`: one page a session, as Markdown and as a page to print.
- `nbgrader`: a course folder. `nbgrader generate_assignment 2_invariances` in it gives the notebooks of `students`.

Students need `pip install "repsim_nb[torch,notebook]"`; nothing else is downloaded or trained beforehand.

Grade what comes back, each notebook in a process of its own:

```
python -m repsim_nb course grade FOLDER --out grades.csv
```

FOLDER is flat (`anna_2_invariances.ipynb`), has one folder a student (`anna/2_invariances.ipynb`), or is the folder
`submitted` of nbgrader (`anna/2_invariances/2_invariances.ipynb`).

{licence}
"""


def build(out: str | Path) -> Path:
    """Write all sessions into a folder, in the versions of students, teachers and nbgrader.

    Parameters
    ----------
    out : str or Path
        The folder; it is created if needed. Files of an earlier build are replaced, other files stay.

    Returns
    -------
    Path
        The page with links to everything, ``index.html`` in the folder.

    Raises
    ------
    ModuleNotFoundError
        If nbconvert is not installed; the message names the extra.
    ValueError
        If `out` is the folder of the sources.
    """
    to_html = import_library("nbconvert.filters", "repsim_nb.course").markdown2html
    out = Path(out).expanduser().resolve()
    sources = shipped_folder("notebooks").resolve()
    if out == sources or sources in out.parents:
        raise ValueError(f"out must not be within the notebooks that the course is made from; got {out}.")
    rows = []
    for name in SESSIONS:
        session, source, file = load_session(name), versions.read_source(name), file_name(name)
        for folder, notebook in (
            ("students", versions.students_version(source)),
            ("solved", versions.solved_version(source)),
        ):
            write_notebook(relink(notebook, "../lessons/{name}.ipynb", "{name}.ipynb"), out / folder / f"{file}.ipynb")
        marked = relink(versions.nbgrader_source(source), "../lessons/{name}.ipynb", "../{name}/{name}.ipynb")
        write_notebook(marked, out / "nbgrader" / "source" / file / f"{file}.ipynb")
        for folder, markdown in (
            ("instructors", versions.instructors_notes(session, source)),
            ("handouts", versions.handout(session, source)),
        ):
            markdown = relink_text(markdown, "../lessons/{name}.ipynb", "../students/{name}.ipynb")
            path = out / folder / f"{file}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(markdown, encoding="utf-8")
            path.with_suffix(".html").write_text(versions.page(session.title, markdown, to_html), encoding="utf-8")
        rows.append(
            f"| {SESSIONS.index(name) + 1}. {session.title} | [notebook](students/{file}.ipynb) | "
            f"[solved](solved/{file}.ipynb) | [notes](instructors/{file}.html) | [page](handouts/{file}.html) |"
        )
    for lesson in sorted(sources.glob("[0-9]*.ipynb")):
        (out / "lessons").mkdir(exist_ok=True)
        shutil.copyfile(lesson, out / "lessons" / lesson.name)
    (out / "nbgrader").mkdir(parents=True, exist_ok=True)
    (out / "nbgrader" / "nbgrader_config.py").write_text(NBGRADER_CONFIG.format(stub=versions.STUB), encoding="utf-8")
    if notice := _notice():
        (out / "LICENSE").write_text(notice, encoding="utf-8")
    readme = README.format(sessions=len(rows), rows="\n".join(rows), licence=versions.LICENCE)
    (out / "README.md").write_text(readme, encoding="utf-8")
    (out / "index.html").write_text(versions.page("The course", readme, to_html), encoding="utf-8")
    return out / "index.html"


def _notice() -> str | None:
    """Return the text of the licence, from a checkout or from what an installer wrote down about the package."""
    path = shipped_folder("notebooks").parent / "LICENSE"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    try:
        return importlib.metadata.distribution("repsim_nb").read_text("licenses/LICENSE")
    except importlib.metadata.PackageNotFoundError:
        return None
