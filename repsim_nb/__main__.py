"""`python -m repsim_nb report ...`, `drift ...`, `course ...` and `doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

from repsim_nb.support.files import shipped_folder

USAGE = """usage: python -m repsim_nb COMMAND
  report NOTEBOOK OUT [name=value ...]   run a notebook with parameters and write an HTML report
  course build OUT                       write the course for students, teachers and nbgrader into a folder
  course grade FOLDER [--out FILE.csv]   grade the notebooks of the course that students handed in
  drift OLD NEW DATA [options]           compare two releases of a model: a table, a page, an exit code (drift --help)
  doctor                                 print the versions that matter when something does not show"""
SHOWN = (
    *("repsim_nb", "numpy", "scipy", "scikit-learn", "pandas", "torch", "matplotlib"),
    *("ipywidgets", "anywidget", "jupyterlab", "ipykernel", "papermill", "nbconvert"),
)


def doctor() -> int:
    """Versions, cores, and what ships."""
    print(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores")
    for name in SHOWN:
        try:
            print(f"{name:14}{importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name:14}not installed")
    zoo = (shipped_folder("data") / "zoo").glob("*.safetensors")
    print(f"zoo           {len(list(zoo))} models")
    return 0


def main() -> int:
    command, *rest = sys.argv[1:] or [""]
    if command == "report":
        from repsim_nb.display.reports import running  # what it needs may be what the doctor finds missing

        return running.main(rest)
    if command == "course":
        from repsim_nb.course import command as course

        return course.main(rest)
    if command == "drift":
        from repsim_nb.display.reports import drift_command

        return drift_command.main(rest)
    if command == "doctor":
        return doctor()
    if command not in ("", "-h", "--help"):
        print(f"unknown command '{command}'.", file=sys.stderr)
    print(USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
