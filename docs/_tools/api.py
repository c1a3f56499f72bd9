"""The API reference: which names are public, which lessons and pages use them, and a page for each."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import lessons

import repsim_nb as rs
from repsim_nb.support.summaries import documentation_page

PACKAGE = "repsim_nb"
ORDER = (
    *("datasets", "models", "store", "measures", "testing", "comparison", "reliability", "embedding", "trajectories"),
    *("inference", "probes", "grounding", "specs", "plots", "explorers", "reports", "course"),
)


@dataclass
class Name:
    """A public name: where its page is, and what is there."""

    path: str  # below the package: "compare", "inference.interval"
    value: Any
    page: str = ""  # the document; "" if the name is described in another place
    used_in: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The directive of autodoc."""
        return "class" if inspect.isclass(self.value) else "function" if callable(self.value) else "data"

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring."""
        text = constant_text(self) if self.kind == "data" else inspect.getdoc(self.value) or ""
        return " ".join(text.split("\n\n")[0].split())


def modules() -> dict[str, ModuleType]:
    """The public modules by name, in the order of the reference."""
    found = {name: getattr(rs, name) for name in rs.__all__ if inspect.ismodule(getattr(rs, name))}
    return {
        name: found[name] for name in sorted(found, key=lambda n: (n not in ORDER, ORDER.index(n) if n in ORDER else n))
    }


def members(module: ModuleType) -> list[str]:
    """The public names of a module, without modules."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and str(getattr(value, "__module__", "")).startswith(PACKAGE)
    ]
    return sorted((name for name in names if not inspect.ismodule(getattr(module, name))), key=str.casefold)


def collect() -> dict[str, Name]:
    """All public names by path. An object with several names has its page under the shortest one."""
    names = {name: Name(name, getattr(rs, name)) for name in sorted(rs.__all__, key=str.casefold)}
    names = {path: name for path, name in names.items() if not inspect.ismodule(name.value)}
    for module_name, module in modules().items():
        for member in members(module):
            names[f"{module_name}.{member}"] = Name(f"{module_name}.{member}", getattr(module, member))
    pages: dict[int, str] = {}
    for name in names.values():
        if id(name.value) in pages and name.kind != "data":
            continue
        name.page = documentation_page(name.path)
        pages[id(name.value)] = name.page
    return names


def page_of(name: Name, names: dict[str, Name]) -> str:
    """The page that describes a name."""
    return name.page or next(other.page for other in names.values() if other.value is name.value and other.page)


# -- which lessons use them


def attribute_chains(code: str) -> Iterator[str]:
    """The names of the package that code uses, dotted, whether it writes `rs.plots.heatmap` or imports `plots`."""
    code = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in code.splitlines())
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    known = {"rs": ""}  # what a name in the code stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            base = (node.module or "").removeprefix(PACKAGE).removeprefix(".")
            known |= {alias.asname or alias.name: f"{base}.{alias.name}".removeprefix(".") for alias in node.names}
    for node in ast.walk(tree):
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts, node = [node.attr, *parts], node.value
        if isinstance(node, ast.Name) and node.id in known:
            yield ".".join(filter(None, [known[node.id], *parts]))


def used_names(code: str, names: dict[str, Name]) -> set[str]:
    """The public names that code uses, by path."""
    found = set()
    for chain in attribute_chains(code):
        parts = chain.split(".")
        for length in range(len(parts), 0, -1):
            path = ".".join(parts[:length])
            if path in names:
                found.add(path)
                break
    return found


def code_of(path: Path) -> str:
    """The code of a notebook, or of the Python blocks of a page."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        return "\n".join(source for kind, source in lessons.cells(json.loads(text)) if kind == "code")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.M | re.S))


def note_uses(names: dict[str, Name], documents: dict[str, Path]) -> dict[str, list[str]]:
    """Write into each name the documents that use it; return for each document the names, in alphabetical order."""
    described = {}
    for document, path in documents.items():
        used = used_names(code_of(path), names)
        described[document] = sorted(used, key=str.casefold)
        pages = {page_of(names[one], names) for one in used}
        for name in names.values():
            if name.page and name.page in pages:
                name.used_in.append(document)
    return described


# -- pages


def heading(text: str, line: str = "=") -> str:
    """A heading in reStructuredText."""
    return f"{text}\n{line * len(text)}\n"


def own_text(member: Any) -> str:
    """The docstring of a method or property itself; "" for other attributes."""
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    return (function.__doc__ or "") if inspect.isfunction(function) else ""


def shown_members(kind: type, public: set[int]) -> list[str]:
    """The methods and properties on the page of a class: its own, and those of bases that have no page."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith(PACKAGE)]
    bases = [base for base in bases if base is kind or id(base) not in public]
    own = {name: None for base in bases for name, value in vars(base).items() if name[0] != "_" and own_text(value)}
    is_measure = issubclass(kind, rs.measures.Measure) and kind is not rs.measures.Measure
    return [name for name in own if not (is_measure and hasattr(rs.measures.Measure, name))]


def name_page(name: Name, titles: dict[str, str], public: set[int]) -> str:
    """The page of one public name."""
    lines = [heading(f"rs.{name.path}"), f".. auto{name.kind}:: {PACKAGE}.{name.path}"]
    if name.kind == "class":
        own = shown_members(name.value, public)
        lines += [f"   :members: {', '.join(own)}"] if own else []
        if issubclass(name.value, rs.measures.Measure) and name.value is not rs.measures.Measure:
            lines += ["", "Its other methods are those of every :doc:`Measure </api/measures/Measure>`."]
    if name.kind == "data":
        lines += ["   :no-value:", "", f"   {name.summary}", ""]
        lines += ["   .. code-block:: text", "", *(f"      {line}" for line in shown_value(name.value))]
    if name.used_in:
        lines += ["", ".. rubric:: Used in", "", *(f"- :doc:`{titles[one]} </{one}>`" for one in name.used_in)]
    return "\n".join(lines) + "\n"


def constant_text(name: Name) -> str:
    """The text that stands below a constant in its file, as a docstring does, or its type."""
    short = name.path.rpartition(".")[2]
    for path in sorted((lessons.ROOT / PACKAGE).rglob("*.py")):
        body = ast.parse(text).body if f"\n{short}" in (text := path.read_text()) else []
        for line, below in itertools.pairwise(body):
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            documented = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if documented and any(isinstance(one, ast.Name) and one.id == short for one in targets):
                place = path.parent if path.stem == "__init__" else path.with_suffix("")
                module = importlib.import_module(".".join(place.relative_to(lessons.ROOT).parts))
                if getattr(module, short) is name.value:
                    return inspect.cleandoc(str(below.value.value))
    return f"A constant, {type(name.value).__name__}."


def shown_value(value: Any, most: int = 60) -> list[str]:
    """A constant as lines of text; of objects and functions that are not public, only the names."""
    if isinstance(value, dict):
        words = {key: str(getattr(one, "__name__", one)) for key, one in value.items()}
        private = any(word.startswith("_") or "<function" in word or word == key for key, word in words.items())
        lines = [str(key) if private else f"{key}: {word}" for key, word in words.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        lines = [str(one) for one in value]
    else:
        lines = str(value).splitlines()
    lines = [re.sub(r" at 0x[0-9a-f]+", "", line)[:160] for line in lines]
    return lines[:most] + ([f"... and {len(lines) - most} more"] if len(lines) > most else [])


def escape(text: str) -> str:
    """A summary that stands in a table."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("|", "\\|").replace("``", "`").replace("_ ", "\\_ ")


def table(names: list[Name], every: dict[str, Name]) -> list[str]:
    """A table of names and their summaries."""
    lines = [".. list-table::", "   :class: api-table", "   :widths: 35 65", ""]
    for name in names:
        short = name.path.rpartition(".")[2]
        lines += [f"   * - :doc:`{short} </{page_of(name, every)}>`", f"     - {escape(name.summary)}"]
    return lines


def module_page(title: str, text: str, names: list[Name], every: dict[str, Name]) -> str:
    """The page of one module: what it is for, and its names."""
    lines = [heading(title), text, ""]
    groups = {"Functions": "function", "Classes": "class", "Constants": "data"}
    for group, kind in groups.items():
        inside = [name for name in names if name.kind == kind]
        if inside:
            lines += [heading(group, "-"), *table(inside, every), ""]
    own = [name.page.rpartition("/")[2] for name in names if name.page]
    lines += [".. toctree::", "   :hidden:", "", *(f"   {page}" for page in own)] if own else []
    return "\n".join(lines) + "\n"


def module_text(module: ModuleType) -> str:
    """The docstring of a module, as it stands in its file."""
    return inspect.cleandoc(module.__doc__ or "")


def build(names: dict[str, Name], titles: dict[str, str]) -> dict[str, str]:
    """All pages of the reference, by document."""
    public = {id(name.value) for name in names.values()}
    pages = {f"{name.page}.rst": name_page(name, titles, public) for name in names.values() if name.page}
    top = [name for name in names.values() if "." not in name.path]
    intro = "The names that most programs need. All of them, and the modules, are loaded when they are first used."
    pages["api/top/index.rst"] = module_page("repsim_nb", intro, top, names)
    rows = [("top", "repsim_nb", intro.split(". ")[0] + ".")]
    for module_name, module in modules().items():
        inside = [name for name in names.values() if name.path.rpartition(".")[0] == module_name]
        pages[f"api/{module_name}/index.rst"] = module_page(f"rs.{module_name}", module_text(module), inside, names)
        summary = " ".join((module_text(module).split("\n\n") or [""])[0].split())
        rows.append((module_name, f"rs.{module_name}", summary))
    lines = [
        heading("API reference"),
        "``import repsim_nb as rs`` gives all of these. Each page lists the lessons and the how-to pages that use it.",
        "",
        *(".. list-table::", "   :class: api-table", "   :widths: 25 75", ""),
    ]
    for folder, title, summary in rows:
        lines += [f"   * - :doc:`{title} </api/{folder}/index>`", f"     - {escape(summary)}"]
    lines += ["", ".. toctree::", "   :hidden:", "", *(f"   {folder}/index" for folder, _, _ in rows)]
    pages["api/index.rst"] = "\n".join(lines) + "\n"
    return pages
