"""The house as data: which room stands on which floor, who may import what."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "repsim_nb"

FLOORS = {
    "errors": -2, "containers": -1, "escaping": -1, "progress": -1,
    "batches": 0, "dependence": 0, "fields": 0, "files": 0, "fingerprints": 0, "ids": 0, "randomness": 0, "row_groups": 0, "validation": 0, "workers": 0,
    "measures": 1, "store": 1, "models": 1, "datasets": 1, "pooling": 1, "views": 1,
    "comparison": 2, "recording": 2, "reliability": 2, "reports": 2,
    "embedding": 3, "inference": 3, "streaming": 3,
    "probes": 4,
    "grounding": 5,
    "plots": 6, "recipes": 6,
    "explorers": 7,
    "__init__": 8, "__main__": 8,
}  # fmt: skip
HEAVY = {
    "matplotlib": {"plots", "explorers"},
    "ipywidgets": {"explorers", "views"},
    "anywidget": {"explorers", "views"},
    "papermill": {"reports"},
    "sklearn": {"datasets", "embedding", "probes"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """-> (rooms of ours, top-level names of others) that a file imports, at any depth of its code."""
    ours, others = set(), set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            others.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == depth:  # up to the package itself
            ours |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return ours, others


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_from_lower_floors_only(path):
    room, (ours, others) = room_of(path), imports(path)
    for other in ours - {room}:
        assert FLOORS[other] < FLOORS[room], f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"
    assert "repsim_nb" not in others, "nothing imports the face"
    for library, rooms in HEAVY.items():
        assert library not in others or room in rooms, f"{library} is at home in {rooms}, not in {room}"


def test_the_package_never_imports_its_recipes():
    for path in FILES:
        if room_of(path) not in ("recipes",):
            assert "recipes" not in imports(path)[0], path


def test_importing_the_face_needs_no_recipes_and_no_papermill():
    import subprocess

    code = "import sys, repsim_nb; print([m for m in sys.modules if m.startswith(('papermill', 'repsim_nb.recipes', 'playwright', 'jupyterlab'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_can_be_read_at_one_sitting(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    tree = ast.parse(text)
    if text.strip() and path.name != "__main__.py":
        assert ast.get_docstring(tree), "a file says what it is"


def test_every_public_name_has_a_docstring():
    import repsim_nb as rs

    for name in rs.__all__:
        assert (getattr(rs, name).__doc__ or "").strip(), name


def test_views_reach_for_no_network():
    for file in (PACKAGE / "views").glob("*.js"):
        text = file.read_text()
        assert "http" not in text and "import " not in text
