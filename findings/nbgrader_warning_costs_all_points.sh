#!/usr/bin/env bash
# Expected: an autograded test cell loses its points if it raises an error; a warning (DeprecationWarning, RuntimeWarning: divide by zero) or a progress bar is only shown.
# What happens: any text on stderr counts as an error. A test that passes gets 0 points if the code under test, or a library that it calls, warns or draws a bar with tqdm,
#   and nothing says why. The documentation: "the cell will pass if no errors are raised, and fail otherwise". A preprocessor, IgnorePattern, is off by default and on no page.
# Version: nbgrader 0.9.6, SQLAlchemy 2.1.9, Python 3.11.
# Source: nbgrader/utils.py, determine_grade and has_failed: output_type == 'stream' and name == 'stderr'.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nbgrader==0.9.6 sqlalchemy==2.1.9
export PATH="$folder/venv/bin:$PATH"
mkdir -p "$folder/course/source/a" "$folder/course/submitted/bitdiddle/a"
cd "$folder/course"
python - <<'PYTHON'
import nbformat

cells = []
for name, code in {"plain": "assert True", "warns": "import warnings; warnings.warn('a remark'); assert True", "fails": "assert False"}.items():
    cell = nbformat.v4.new_code_cell(code)
    cell.metadata["nbgrader"] = dict(grade=True, grade_id=name, locked=True, points=1, schema_version=3, solution=False, task=False)
    cells.append(cell)
nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}), "source/a/a.ipynb")
PYTHON
nbgrader generate_assignment a >log 2>&1 || { cat log; exit 1; }
cp release/a/a.ipynb submitted/bitdiddle/a/
nbgrader autograde a >log 2>&1 || { cat log; exit 1; }
python - <<'PYTHON'
import platform
from importlib.metadata import version

from nbgrader.api import Gradebook

print("Python", platform.python_version(), "nbgrader", version("nbgrader"))
with Gradebook("sqlite:///gradebook.db") as book:
    points = {grade.name: grade.score for grade in book.find_submission_notebook("a", "a", "bitdiddle").grades}
print("points of 1:", points)
assert points == {"plain": 1, "warns": 0, "fails": 0}
PYTHON
echo "as described"
