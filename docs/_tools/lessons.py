"""The lessons: run them once, keep the runs in the cache, and prepare them for the site."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
import prose

from repsim_nb.display.reports import interactive
from repsim_nb.display.reports.pages import title, without_widgets

ROOT = Path(__file__).resolve().parents[2]
HOOK = """# A figure is described by its titles and labels, for people who do not see it.
def describe_figures():
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    def describe(figure, printer, cycle):
        texts = [figure.get_suptitle()] + [
            ", ".join(filter(None, [axes.get_title(), axes.get_xlabel() and "x: " + axes.get_xlabel(),
                                    axes.get_ylabel() and "y: " + axes.get_ylabel()])) for axes in figure.axes]
        printer.text("Figure: " + "; ".join(text for text in texts if text))

    pyplot.switch_backend(matplotlib.get_backend())  # loading the backend removes all formatters of figures
    get_ipython().display_formatter.formatters["text/plain"].for_type(Figure, describe)

describe_figures()
del describe_figures
"""


def folder() -> Path:
    """The lessons' folder; REPSIM_DOCS_NOTEBOOKS names another one."""
    return Path(os.environ.get("REPSIM_DOCS_NOTEBOOKS", ROOT / "notebooks"))


def cache() -> Path:
    """The folder of executed copies."""
    return Path(os.environ.get("REPSIM_NB_CACHE", ROOT / ".cache")) / "docs"


def notebooks() -> list[Path]:
    """All lessons, in their order."""
    return sorted(folder().glob("*.ipynb"))


def cells(notebook: Any) -> list[tuple[str, str]]:
    """Type and source of each cell: what a run depends on."""
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def short_hash(value: Any) -> str:
    """Twelve digits of the SHA-256 of a value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]


@functools.cache
def package_hash() -> str:
    """The hash of the package's code without comments and docstrings, and of the sizes of its data."""
    code = {}
    for path in sorted((ROOT / "repsim_nb").rglob("*.py")):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            if documented and ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
        code[str(path.relative_to(ROOT))] = ast.dump(tree)
    data = {str(path.relative_to(ROOT)): path.stat().st_size for path in sorted((ROOT / "data").rglob("*.*"))}
    return short_hash([code, {name: size for name, size in data.items() if not name.endswith((".md", ".py", ".pyc"))}])


def copy_of(path: Path) -> Path:
    """Where the executed copy of a lesson is, or will be: keyed by its cells and the package."""
    return cache() / f"{path.stem}.{short_hash(cells(json.loads(path.read_text())))}.{package_hash()}.ipynb"


def find_copy(path: Path) -> tuple[Path | None, bool]:
    """The executed copy of a lesson, and whether it is one of an earlier state of the package."""
    exact = copy_of(path)
    if exact.exists():
        return exact, False
    earlier = sorted(cache().glob(f"{'.'.join(exact.name.split('.')[:2])}.*.ipynb"), key=lambda p: p.stat().st_mtime)
    return (earlier[-1], True) if earlier else (None, False)


def execute(path: Path, target: Path) -> list[str]:
    """Run a lesson as it stands and write the copy; return what its text states otherwise than the run."""
    from repsim_nb.support.summaries import linked_to

    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(HOOK, metadata={"tags": ["hook"]}))
    with tempfile.TemporaryDirectory() as work:
        given, out = Path(work) / path.name, Path(work) / "out.ipynb"
        nbformat.write(notebook, given)
        with linked_to(".."):  # the API reference as seen from the folder of the lessons' pages
            failed = prose.run(given, out)
        done = nbformat.read(out, as_version=4)
        done.cells = done.cells[1:]
        done.metadata.pop("widgets", None)  # pages show the pictures
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(done, out)
        shutil.move(out, target)
    return [f"{path.name}, cell {one['cell'] - 1}: {one['text']!r}: {one['why']}" for one in failed]


def run(names: Iterable[str] = ()) -> list[str]:
    """Run the lessons that have no executed copy; of the given names only, if there are any.

    Returns what the texts of the lessons state otherwise than their runs.
    """
    names, stems, failed = set(names), [path.stem for path in notebooks()], []
    if unknown := sorted(names - set(stems)):
        raise ValueError(f"No lesson has the name {', '.join(unknown)}; the lessons are {', '.join(stems)}.")
    for path in notebooks():
        target = copy_of(path)
        if target.exists() or (names and path.stem not in names):
            continue
        print(f"running {path.name} ...", flush=True)
        start = time.monotonic()
        found = execute(path, target)
        remove_earlier(path)
        print("\n".join([f"  {time.monotonic() - start:.0f} s", *found]), flush=True)
        failed += found
    return failed


def remove_earlier(path: Path) -> None:
    """Delete executed copies of a lesson that has one for its present cells and package."""
    for copy in cache().glob(f"{path.stem}.*.*.ipynb"):
        if copy != copy_of(path):
            copy.unlink()


def adopt(source: Path) -> None:
    """Take executed copies of lessons that ran elsewhere with the package as it is now."""
    for path in notebooks():
        given = source / path.name
        if not given.exists():
            continue
        notebook = nbformat.read(given, as_version=4)
        if cells(notebook) != cells(json.loads(path.read_text())):
            print(f"{given} is not a run of {path}: its cells differ")
        elif not any(cell.get("outputs") for cell in notebook.cells):
            print(f"{given} has no outputs")
        else:
            notebook.metadata.pop("widgets", None)
            cache().mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, copy_of(path))
            print(f"took {given}")


# -- pages


def question(path: Path) -> str:
    """The first heading of a lesson."""
    return title(nbformat.read(path, as_version=4), path.stem)


def describe_picture(output: Any, code: str) -> str:
    """The alternative text of a picture: what it is titled, else the code that draws it."""
    plain = " ".join("".join(output["data"].get("text/plain", "")).split())
    if plain.startswith("Figure: ") and len(plain) > len("Figure: "):
        return plain
    calls = [line.strip().rstrip(";") for line in code.splitlines() if line.strip() and not line.startswith("#")]
    if plain.startswith("Explorer"):
        return f"{plain}. Its code: {calls[-1]}" if calls else plain
    return f"Picture drawn by {calls[-1]}" if calls else "Picture"


def shown_outputs(cell: Any, drawn_by: set[str]) -> tuple[list[Any], list[str]]:
    """The outputs of a cell that a page shows, and descriptions of its images; live pictures add to drawn_by."""
    outputs, descriptions = [], []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "rs-saved" in "".join(data.get("text/html", "")):
            continue  # stands in for a widget in JupyterLab
        markup = re.sub(
            r"<style.*?</style>|<script.*?</script>|<[^>]*>", "", "".join(data.get("text/html", "x")), flags=re.S
        )
        if not markup.strip() and "image/png" not in data:
            continue  # a style sheet, or what a script would fill
        if "image/png" in data:
            data.pop("text/html", None)
            description = describe_picture(output, cell.source)
            live = interactive.fragment(data, description)
            if live is None:
                descriptions.append(description)
            else:
                output.data = {"text/html": live[0]}
                drawn_by |= live[1]
        outputs.append(output)
    return outputs, descriptions


def page(notebook: Any, top: str, bottom: str) -> Any:
    """A lesson as the site shows it: live pictures, images with descriptions, and a few lines above and below."""
    drawn_by = set[str]()
    notebook = without_widgets(notebook)  # a copy
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell.metadata = {"tags": cell.metadata.get("tags", [])}
        if cell.cell_type == "code":
            cell.outputs, descriptions = shown_outputs(cell, drawn_by)
            cell.execution_count = None
            for output in cell.outputs:
                output.pop("execution_count", None)
            if descriptions:
                cell.metadata["mystnb"] = {"image": {"alt": " ".join(descriptions)}}
    if drawn_by:
        live = [o for cell in notebook.cells for o in cell.get("outputs", []) if "rs-live" in str(o.get("data", ""))]
        live[-1].data["text/html"] += interactive.scripts(drawn_by)
    extra = [nbformat.v4.new_markdown_cell(text, id=name) for name, text in (("top", top), ("bottom", bottom))]
    notebook.cells = [notebook.cells[0], extra[0], *notebook.cells[1:], extra[1]]
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook
