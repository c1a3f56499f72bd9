"""What the site adds to Sphinx: formulas without a script, links from text to pages."""

from __future__ import annotations

import functools
import re
from typing import Any

import api
import lessons
import pages
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)


def inline_math(self: Any, node: nodes.math) -> None:
    """A formula in a line, as MathML."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(self: Any, node: nodes.math_block) -> None:
    """A formula in a line of its own, as MathML."""
    self.body.append(f"<p>{tex2mathml(node.astext(), as_block=True)}</p>")
    raise nodes.SkipNode


def resolve(app: Sphinx, env: Any, node: Any, content: nodes.Node) -> nodes.Node | None:
    """`rs.compare`, `.interval` and `interval` in text lead to the page of that name, if there is one such name."""
    if node.get("refdomain") != "py" or node.get("reftype") not in (
        "obj",
        "func",
        "class",
        "meth",
        "attr",
        "data",
        "mod",
    ):
        return None
    target = node["reftarget"].partition("(")[0].removeprefix("~")  # of `rs.spec(result)` the name
    objects = env.get_domain("py").objects
    if target.startswith("rs.") and target[3:] in api.modules():
        page = f"api/{target[3:]}/index"
        return make_refnode(app.builder, node["refdoc"], page, "", content, target)
    if target.startswith("rs."):
        candidates = [name for name in (f"repsim_nb.{target[3:]}",) if name in objects]
        if not candidates:
            logger.warning("%s is no public name of the package", target, location=node)
    elif "." in target.strip("."):
        candidates = [name for name in objects if name.endswith(f".{target.strip('.')}")]
    else:
        short = target.strip(".")
        candidates = [name for name in objects if name.rpartition(".")[2] == short and name.count(".") <= 2]
    if len(candidates) != 1:
        return None
    found = objects[candidates[0]]
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, content, candidates[0])


def lesson_role(
    name: str, rawtext: str, text: str, line: int, inliner: Any, options: Any = None, content: Any = ()
) -> Any:
    """{lesson}`measures` is a link to the lesson of that name, whatever its number."""
    from sphinx import addnodes

    stems = [path.stem for path in lessons.notebooks()]
    found = [stem for stem in stems if stem.lstrip("0123456789_") == text] or [s for s in stems if text in s]
    if len(found) != 1:
        message = inliner.reporter.warning(
            f"{len(found)} lessons have the name {text!r}: {', '.join(stems)}", line=line
        )
        return [inliner.problematic(rawtext, rawtext, message)], [message]
    label = f"lesson {pages.lesson_label(found[0])}"
    reference = addnodes.pending_xref(
        "", nodes.inline("", label), reftype="doc", refdomain="std", reftarget=f"/lessons/{found[0]}",
        refexplicit=True, refwarn=True, refdoc=inliner.document.settings.env.docname,
    )  # fmt: skip
    return [reference], []


def escape_signs(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings write |a - b| for a size, f(**options), and initials of authors: these are no markup."""
    in_code, literal = False, None  # an example up to a blank line; a literal block as long as it is indented
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        in_code = bool(line.strip()) and (in_code or line.lstrip().startswith(">>>"))
        literal = None if literal is not None and line.strip() and indent <= literal else literal
        if in_code or literal is not None:
            continue
        literal = indent if line.endswith("::") else None
        parts = re.split(r"(``.*?``|`[^`]*`|:\w+:`[^`]*`)", line)
        plain = parts[::2]
        for signs in (r"(?<!\*)\*\*(?!\*)", r"(?<!\*)\*(?![\s*])|(?<=[^\s*])\*(?!\*)"):
            if sum(len(re.findall(signs, part)) for part in plain) % 2:
                plain = [re.sub(signs, lambda found: found[0].replace("*", "\\*"), part) for part in plain]
        parts[::2] = [part.replace("|", "\\|") for part in plain]
        lines[number] = re.sub(r"^(\s*)([A-Z]\. )(?=[A-Z])", r"\1\\\2", "".join(parts))  # initials are no list


@functools.cache
def sidebar() -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The modules of the reference: folder, title, and (page, name) of what is in each."""
    names = api.collect()
    shown = [("top", "repsim_nb"), *((module, f"rs.{module}") for module in api.modules())]
    return [
        (
            folder,
            title,
            [
                (name.page, name.path.rpartition(".")[2])
                for name in names.values()
                if name.page.startswith(f"api/{folder}/")
            ],
        )
        for folder, title in shown
    ]


def add(app: Sphinx) -> None:
    """Register all of it."""
    app.connect("autodoc-process-docstring", escape_signs, priority=900)
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("missing-reference", resolve)
    app.add_role("lesson", lesson_role)

    def source_read(app: Sphinx, document: str, source: list[str]) -> None:
        if document.partition("/")[0] not in pages.FOLDERS:
            source[0] = pages.read(source[0], document)

    app.connect("source-read", source_read)

    def page_context(app: Sphinx, document: str, template: str, context: dict[str, Any], doctree: Any) -> None:
        if document.startswith("api/"):
            context["api_modules"] = sidebar()

    app.connect("html-page-context", page_context)
