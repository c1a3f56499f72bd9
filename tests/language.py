"""List idioms that plain English replaces: `python tests/language.py [FILE ...]` prints each, and what to write.

Read are docstrings, comments and strings of Python files, Markdown and code of notebooks, and Markdown files.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READ = ("repsim_nb", "notebooks", "docs", "tests", "benchmarks", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
LEFT_OUT = (
    "tests/language.py",
    "tests/test_language.py",
    "tests/test_messages.py",
    "docs/_build",
    "docs/about",
    "docs/api",
    "docs/lessons",
    "docs/measures",
    "benchmarks/CONFORMANCE.md",
    "benchmarks/RESULTS.md",
)

THINGS = (
    "layers?|models?|networks?|measures?|tables?|numbers?|figures?|pictures?|plots?|maps?|probes?|files?|names?|values?|"
    "points?|arrays?|features?|activations?|representations?|results?|intervals?|rows?|columns?|cells?|pairs?|curves?|"
    "tests?|distances?|matrix|matrices|store|recording|card|spec|package|function|data|it|they"
)
KINDS = (
    "neural|convolutional|recurrent|residual|graph|deep|adversarial|attention|isomorphism|prediction|highway|siamese"
)
IDIOMS = {  # pattern: what to write
    r"\banew\b": "again",
    r"\bbeside\b": "next to",
    r"\bforet(ell|old|elling)\w*": "predict",
    r"\blikeness": "similarity",
    r"(?<![-\"'*`])\bshuffled\b(?![-\"'*`])": "permuted; random (labels); the name of a kind of model in quotes",
    r"\bshares? of\b|\b(?:what|which|the|a|this|as|their) share\b": "fraction, proportion",
    r"\b(?:what|how much)\b[^.;:]{0,40}\b(?:is|are|were|was) worth\b|\bworth of\b": "reliability; how far ... can be trusted",
    r"\b(?:its|their|the|of|by|in) looks\b": "style",
    r"\btold\b": "distinguished, named, given",
    r"\bsaid\b": "stated, reported, written",
    r"nothing in common": "unrelated; chance level",
    r"stands? above chance": "is above chance",
    r"whole numbers?\b": "integer",
    r"\bnewcomers?\b": "new models, new points",
    r"\bby heart\b|\bat the door\b|\bthe door\b": "a plain noun",
    rf"\b(?:{THINGS}) (?:says?|tells?|knows?|speaks?)\b": "shows, gives, contains, reports; 'activations of a layer'",
    r"\b(?:say|says|tell|tells) (?:of|about) (?:the same|a|an|the|its|each)\b": "give for",
    r"(?:^|[.:;] |\n *)(?-i:Of) (?:a|an|the|all|two|each|every|which|these|those)\b[^.]{0,60}\b(?:the|that|those|what|which)\b": "subject first",
    rf"(?<!{')(?<!'.join(kind + ' ' for kind in KINDS.split('|'))})\bnetworks?\b(?! file| access| connection| analysis|: comparing neural)": "model",
    r"\bill-?omened\b|\bhenceforth\b|\bthereof\b|\bwhereof\b|\bhitherto\b|\bnought\b|\bof old\b|\bof late\b|\btwain\b": "plain words",
    r"\bgravest\b|\bgrave\b": "most serious",
    r"\bcolour": "color",
} | {  # British spelling, as in public names (`centre_test`, `normalise=`), but color, as in matplotlib
    r"(?<![\w.])neighbor(?!Loader|hood\s+preservation)": "neighbour",
    r"(?<![\w.\"'])center(?:s|ed|ing)?\b": "centre",
    r"\bbehavior|\bfavor(?!ite)": "behaviour, favour",
    r"\bgray(?![\"'])": "grey",
    r"\blabel(?:ed|ings?)\b|\bmodel(?:ed|ing)\b|\btravel(?:ed|ing)\b|\bmisspelled\b": "labelled, modelled, travelled, misspelt",
    r"\banalyz|\bartifact|\b(?:a|the|its|their|of|under) licenses?\b": "analyse, artefact, licence",
    r"\b(?:normal|standard|quant|memor|recogn|minim|summar|initial|emphas|penal|regular)iz(?:es?|ed|ing|ations?)\b(?![\"'(]|\.\w)(?<!Dense, Normalize)": "-ise",
}
STRING_OR_COMMENT = re.compile(
    r""""{3}(?:\\.|[^\\])*?"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|(?P<comment>#[^\n]*)""",
    re.S,
)
NAMES = re.compile(
    r"^(told|said|kept|made|named|faces|carried|apart|departing|Later|HERE|networks?|shares?|shuffled|colour)$"
)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for each text of a file that people read."""
    if path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(path.read_text())["cells"]):
            yield number, "".join(cell["source"])
    elif path.suffix == ".py":
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.JoinedStr):
                yield (
                    node.lineno,
                    "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values),
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                yield node.lineno, node.value
        yield from comments(source)
    else:
        yield 1, path.read_text()


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) for each comment; `tokenize` takes fifteen times as long."""
    line, end = 1, 0
    for match in STRING_OR_COMMENT.finditer(source):
        if match["comment"]:
            line, end = line + source.count("\n", end, match.start()), match.start()
            yield line, match["comment"].rstrip()


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, name) for each name that a Python file gives."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name


def hits(paths: list[Path]) -> list[str]:
    """Return one line for each idiom found: file, line (or cell), what was written, what to write."""
    found = []
    for path in paths:
        where = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        for line, text in texts(path):
            for pattern, instead in IDIOMS.items():
                for match in re.finditer(pattern, text, re.IGNORECASE):
                    at = line + text[: match.start()].count("\n") * (path.suffix != ".ipynb")
                    found.append(f"{where}:{at}: {' '.join(match.group().split())!r}: write {instead}")
        if path.suffix == ".py" and "repsim_nb" in path.parts:
            found += [f"{where}:{line}: the name {name!r}" for line, name in names(path) if NAMES.match(name)]
    return sorted(set(found))


def files() -> list[Path]:
    """Return the files that are read."""
    every = [path for part in READ for path in ([ROOT / part] if (ROOT / part).is_file() else (ROOT / part).rglob("*"))]
    return sorted(
        path
        for path in every
        if path.suffix in {".py", ".md", ".ipynb", ".txt"}
        and ".ipynb_checkpoints" not in path.parts
        and not str(path.relative_to(ROOT)).startswith(LEFT_OUT)
    )


if __name__ == "__main__":
    given = [Path(name).resolve() for name in sys.argv[1:]]
    given = [path for one in given for path in (one.rglob("*.py") if one.is_dir() else [one])]
    found = hits(given or files())
    print("\n".join(found))
    sys.exit(bool(found))
