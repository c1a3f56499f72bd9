"""Write the generated pages: lessons, API, reference of measures, and the pages that other folders hold."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

import api
import house
import lessons
import measures
import nbformat

ROOT = lessons.ROOT
ELSEWHERE = {  # files outside docs/ that are pages of the site
    "CHANGELOG.md": "about/changelog.md",
    "CONTRIBUTING.md": "about/contributing.md",
    "benchmarks/RESULTS.md": "about/results.md",
    "benchmarks/CALIBRATION.md": "about/calibration.md",
    "benchmarks/CONFORMANCE.md": "about/conformance.md",
    "benchmarks/GPU.md": "about/gpu.md",
    "data/README.md": "about/data.md",
}
FOLDERS = ("api", "lessons", "about", "measures")


def site_page(file: str) -> str | None:
    """The page of the site, relative to docs/, for a file of the repository; None if it is on no page."""
    if file in ELSEWHERE:
        return ELSEWHERE[file]
    if file.startswith("notebooks/") and (lessons.folder() / file.removeprefix("notebooks/")).exists():
        return "lessons/" + file.removeprefix("notebooks/")
    if file.startswith("docs/") and (ROOT / file).exists():
        return file.removeprefix("docs/")
    return None


def relink(text: str, source: str, target: str) -> str:
    """Links of a file of the repository, as they must be on its page; a name of such a file in code becomes a link.

    Parameters
    ----------
    text : str
        Markdown.
    source, target : str
        The file, relative to the repository, and the page, relative to docs/.
    """

    def to(file: str) -> str | None:
        page = site_page(file)
        return None if page is None else posixpath.relpath(page, posixpath.dirname(target) or ".")

    def link(match: re.Match[str]) -> str:
        path, _, anchor = match[2].partition("#")
        if not path or "://" in path:
            return match[0]
        moved = to(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        return match[0] if moved is None else f"{match[1]}({moved}{'#' + anchor if anchor else ''})"

    def mention(match: re.Match[str]) -> str:
        moved = to(match[1])
        return match[0] if moved is None else f"[{match[0]}]({moved})"

    parts = re.split(r"(^```.*?^```)", text, flags=re.M | re.S)
    for place in range(0, len(parts), 2):
        parts[place] = re.sub(r"(\[[^\]]*\])\(([^)\s]+)\)", link, parts[place])
        parts[place] = re.sub(
            r"(?<![\[(/\w])`((?:docs|benchmarks|data|notebooks)/[\w.]+\.(?:md|ipynb)|CONTRIBUTING\.md|CHANGELOG\.md)`(?!\])",
            mention,
            parts[place],
        )
    return "".join(parts)


def lesson_documents() -> dict[str, Path]:
    """The document of each lesson, and its notebook."""
    return {f"lessons/{path.stem}": path for path in lessons.notebooks()}


def written_documents() -> dict[str, Path]:
    """The pages that stand in docs/ and docs/howto/, by document."""
    docs = ROOT / "docs"
    return {
        str(path.relative_to(docs).with_suffix("")): path
        for path in sorted([*docs.glob("howto/*.md"), *docs.glob("*.md")])
    }


def page_title(path: Path) -> str:
    """The first heading of a page."""
    if path.suffix == ".ipynb":
        return lessons.question(path)
    return next(line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# "))


def lesson_label(stem: str) -> str:
    """A lesson's number and name, such as "02 measures"."""
    return stem.replace("_", " ")


def note(text: str) -> str:
    """A framed remark."""
    return f"\n\n```{{note}}\n{text}\n```"


def lesson_page(path: Path, names: dict[str, api.Name], used: list[str]) -> str:
    """A lesson as a notebook of the site."""
    executed, earlier = (None, False) if os.environ.get("REPSIM_DOCS_PICTURES") == "no" else lessons.find_copy(path)
    notebook = nbformat.read(executed or path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, f"notebooks/{path.name}", f"lessons/{path.name}")
    top = f"{{download}}`Download this notebook <../../notebooks/{path.name}>`, or run it: `make lab` opens JupyterLab."
    if lessons.folder() != ROOT / "notebooks":
        top = ""
    if executed is None:
        top += note(
            "The lessons were not run for this copy of the site, so there are no pictures. `make docs` runs them."
        )
    elif earlier:
        top += note("The results on this page are from a run with an earlier state of the package.")
    links = " · ".join(f"{{doc}}`rs.{one} </{api.page_of(names[one], names)}>`" for one in used)
    bottom = f"---\n\n**Functions in this lesson:** {links}" if links else "---"
    return nbformat.writes(lessons.page(notebook, top or "%", bottom))


def lessons_index(documents: dict[str, Path]) -> str:
    """The list of lessons: the question that each one asks."""
    lines = [
        "# Lessons",
        "",
        "Each lesson is a notebook that asks one question. `make lab` opens the first one in JupyterLab.",
        "",
        "| lesson | question |",
        "|---|---|",
    ]
    for path in documents.values():
        lines.append(f"| [{lesson_label(path.stem)}]({path.name}) | {lessons.question(path)} |")
    lines += [
        "",
        "```{toctree}",
        ":hidden:",
        "",
        *(f"{lesson_label(p.stem)} <{p.stem}>" for p in documents.values()),
        "```",
    ]
    return "\n".join(lines) + "\n"


def generated() -> dict[str, str]:
    """All generated pages, by path below docs/."""
    names = api.collect()
    own, written = lesson_documents(), written_documents()
    documents = {**own, **written}
    titles = {doc: f"lesson {lesson_label(path.stem)}" for doc, path in own.items()}
    titles |= {doc: page_title(path) for doc, path in written.items()}
    used = api.note_uses(names, documents)
    pages = api.build(names, titles)
    pages |= {f"{doc}.ipynb": lesson_page(path, names, used[doc]) for doc, path in own.items()}
    pages["lessons/index.md"] = lessons_index(own)
    pages["measures/index.rst"] = measures.page(names)
    for file, target in ELSEWHERE.items():
        pages[target] = relink((ROOT / file).read_text(), file, target)
    return pages


def write(docs: str | Path) -> None:
    """Write what has changed; delete generated pages that are no longer there."""
    docs = Path(docs)
    pages = generated()
    pictures = {"about/growth.png": (ROOT / "benchmarks/growth.png").read_bytes()}
    for name, text in {**pages, **pictures}.items():
        path = docs / name
        content = text if isinstance(text, bytes) else text.encode()
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    for folder in FOLDERS:
        for path in (docs / folder).rglob("*.*"):
            if path.is_file() and path.relative_to(docs).as_posix() not in {**pages, **pictures}:
                path.unlink()


def read(text: str, document: str) -> str:
    """A written page as Sphinx reads it: links to files of other folders lead to their pages."""
    if document == "house":
        text = house.replace_diagram(text)
    return relink(text, f"docs/{document}.md", f"{document}.md")
