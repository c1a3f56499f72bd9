"""The house as data: which rooms a wing has, in which order, and who may import what."""

import ast
import functools
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "repsim_nb"

# in the order of the data; a file imports from wings above its own, and in its wing from rooms that stand earlier
WINGS = {
    "support": [
        "errors",
        "escaping",
        "summaries",
        "progress",
        "dimensions",
        "ids",
        "rdm_halves",
        "rdms",
        "containers",
        "row_groups",
        "row_labels",
        "validation",
        "seeds",
        "labels",
        "files",
        "transport",
        "workers",
        "scratch",
    ],
    "measures": [],  # one room; its files are ordered by their imports alone
    "inputs": [
        "batches",
        "randomness",
        "code_analysis",
        "fingerprints",
        "policies",
        "datasets",
        "models",
        "pooling",
        "formats",
        "store",
        "recording",
    ],
    "results": [
        "comparison",
        "streaming",
        "embedding",
        "inference",
        "reliability",
        "trajectories",
        "releases",
        "watching",
        "probes",
        "grounding",
    ],
    "display": ["specs", "plots", "views", "reports", "training", "explorers"],
    "studies": [],
    "course": [],
}
APART = {
    ("inputs", "measures"),
    ("display", "studies"),
    ("studies", "display"),
}  # (wing, a wing that it does not import)
# a library -> where it is imported; any import counts, also one within a function and one by name
HEAVY = {
    "matplotlib": {"display.plots"},
    "ipywidgets": {"display.explorers"},
    "anywidget": {"display.views"},
    "papermill": {"display.reports", "course"},
    "nbconvert": {"display.reports", "course"},
    "sklearn": {"inputs.datasets", "results.embedding", "results.probes", "results.reliability"},
    "torch": {"inputs", "studies", "measures", "results.streaming", "support.scratch", "course"},
}
TORCH_AT_THE_TOP = {"inputs", "studies"}  # wings whose files import torch as they are imported; others wait
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(name):
    """The room of a module: its wing and what stands below that, as "support.errors"; or a wing of one room."""
    wing, *rest = name.split(".")
    return f"{wing}.{rest[0]}" if WINGS.get(wing) and rest else wing


def module_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def is_for_types(node):
    """Whether this is `if TYPE_CHECKING:`, which no run of the program enters."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


def running(node, top=True):
    """-> (node, whether it runs as the file is imported) of a tree, without what stands under TYPE_CHECKING."""
    yield node, top
    top = top and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    for child in node.orelse if is_for_types(node) else ast.iter_child_nodes(node):
        yield from running(child, top)


def imports(path):
    """-> modules of ours that a file imports, at any depth of its code, also for types."""
    ours = set()
    package = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = (
                ".".join([*base, *([node.module] if node.module else [])]).removeprefix("repsim_nb").removeprefix(".")
            )
            if node.level or node.module.split(".")[0] == "repsim_nb":
                # from a wing itself come rooms; from a room come names
                ours |= (
                    {f"{name}.{alias.name}".removeprefix(".") for alias in node.names}
                    if name in ("", *WINGS)
                    else {name}
                )
    return ours


@functools.cache
def libraries(code):
    """-> {(library, whether it is imported as the file is)}; also by name: import_module("papermill")."""
    found = set()
    for node, top in running(ast.parse(code)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            names = [node.args[0].value] if "import" in function and isinstance(node.args[0].value, str) else []
        found |= {(name.split(".")[0], top) for name in names}
    return found


def test_every_room_has_its_place():
    rooms = {room_of(module_of(path)) for path in FILES} - {"__init__", "__main__"}
    assert rooms == set(WINGS) | {f"{wing}.{room}" for wing, rooms in WINGS.items() for room in rooms}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_from_wings_above_and_from_earlier_rooms(path):
    order, room = list(WINGS), room_of(module_of(path))
    wing, ours = room.split(".")[0], imports(path)
    if wing in WINGS:
        for other in {room_of(name) for name in ours} - {room}:
            above = other.split(".")[0]
            assert above in WINGS, f"{room} imports {other}: nothing imports the face"
            assert (wing, above) not in APART, f"{wing} does not import {above}"
            if above == wing:
                places = [WINGS[wing].index(name.split(".")[1]) for name in (other, room)]
                assert places[0] < places[1], f"{room} imports {other}, which stands later in {wing}"
            else:
                assert order.index(above) < order.index(wing), f"{room} imports {other}, a wing further down"


def test_every_way_to_import_is_seen():
    assert libraries("import torch.nn\ndef f():\n    from papermill import x\n") == {
        ("torch", True),
        ("papermill", False),
    }
    assert libraries("class A:\n    import torch") == {("torch", True)}
    assert libraries("f = lambda: importlib.import_module('nbconvert')\nx = _import_library('torch')") == {
        ("nbconvert", False),
        ("torch", True),
    }
    assert libraries("if TYPE_CHECKING:\n    import torch\nelse:\n    import a") == {("a", True)}
    assert libraries("from . import torch\nfrom .torch import x") == set()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_where_they_are_at_home(path):
    room = room_of(module_of(path))
    wing = room.split(".")[0]
    for library, top in libraries(path.read_text()):
        homes = HEAVY.get(library, {room})
        assert {room, wing} & homes, f"{library} is at home in {homes}, not in {room}"
        assert library != "torch" or not top or wing in TORCH_AT_THE_TOP, f"{room} imports torch in functions only"


def test_every_heavy_library_is_imported_somewhere():
    found = {(library, room_of(module_of(path))) for path in FILES for library, _ in libraries(path.read_text())}
    for library, homes in HEAVY.items():
        for home in homes:
            rooms = {room for name, room in found if name == library}
            assert any(home in (room, room.split(".")[0]) for room in rooms), f"{home} imports no {library}"


def test_no_module_has_the_name_of_a_function_of_its_package():
    for path in FILES:
        functions = {node.name for node in tree_of(path).body if isinstance(node, ast.FunctionDef)}
        assert path.stem not in functions, f"{module_of(path)} has the name of its function"
    for file in PACKAGE.rglob("__init__.py"):
        package = importlib.import_module(".".join(("repsim_nb", *file.parent.relative_to(PACKAGE).parts)))
        stems = {path.stem for path in file.parent.iterdir() if path.suffix == ".py" or path.is_dir()}
        hidden = [name for name in stems & set(vars(package)) if not inspect.ismodule(getattr(package, name))]
        assert not hidden, f"{package.__name__} exports a function that hides the module {hidden}"


def test_no_two_classes_have_one_name():
    names = {}
    for path in FILES:
        if not module_of(path).startswith("studies"):
            for node in tree_of(path).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    names.setdefault(node.name, []).append(module_of(path))
    assert not {name: modules for name, modules in names.items() if len(modules) > 1}


def drawn_house():
    """The import graph of the rooms as Mermaid; an arrow that follows from two others is left out."""
    uses = {}
    for path in FILES:
        room = room_of(module_of(path))
        if room.split(".")[0] in WINGS:
            uses.setdefault(room, set()).update({room_of(name) for name in imports(path)} - {room, ""})
    rooms = [f"{wing}.{room}" for wing, inside in WINGS.items() for room in inside] + [w for w in WINGS if not WINGS[w]]
    reach = {}

    def reached(room):
        if room not in reach:
            reach[room] = set().union(*({other} | reached(other) for other in uses.get(room, ())))
        return reach[room]

    lines = ["flowchart LR"]
    for wing, inside in WINGS.items():
        names = [f"{wing}.{room}" for room in inside] or [wing]
        lines += [f"  subgraph {wing}_wing [{wing}]", *(f'    {n}["{n.split(".")[-1]}"]' for n in names), "  end"]
    for room in rooms:
        direct = uses.get(room, set())
        lines += [f"  {room} --> {o}" for o in rooms if o in direct and not any(o in reached(x) for x in direct - {o})]
    return "\n".join(lines)


def test_the_docs_show_the_house_as_it_is():
    page = (ROOT / "docs" / "house.md").read_text()
    assert drawn_house() in page, "python tests/test_house.py writes docs/house.md again"


def test_contributing_names_the_rooms_in_their_order():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert list(rows) == list(WINGS)
    for wing, rooms in WINGS.items():
        assert not rooms or rows[wing].split(", ") == rooms, wing


HEAVY_MODULES = ("torch", "matplotlib", "ipywidgets", "anywidget", "sklearn", "scipy", "pandas", "papermill", "IPython")
HEAVY_MODULES += ("gymnasium", "stable_baselines3")


def test_importing_the_face_imports_nothing_heavy():
    import subprocess

    code = f"import sys, repsim_nb; print([m for m in {HEAVY_MODULES} if m in sys.modules])\n"
    code += (
        "repsim_nb.compare; print([m for m in ('torch', 'scipy.stats', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]"] * 2, "the first line is the face, the second are all measures and compare"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_can_be_read_at_one_sitting(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    if text.strip() and path.name != "__main__.py":
        assert ast.get_docstring(tree_of(path)), "a file begins with what it is"


def test_every_public_name_has_a_docstring():
    import repsim_nb as rs

    for name in rs.__all__:
        assert (getattr(rs, name).__doc__ or "").strip(), name


def test_views_reach_for_no_network():
    for file in (PACKAGE / "display" / "views").glob("*.js"):
        text = file.read_text().replace('"http://www.w3.org/2000/svg"', "")  # the name of a format
        assert "http" not in text and "import " not in text


def test_slow_tests_are_there_under_their_names():
    for name in (ROOT / "tests" / "slow.txt").read_text().split():
        file, _, function = name.partition("::")
        assert f"def {function}(" in (ROOT / "tests" / file).read_text(), name


if __name__ == "__main__":
    (ROOT / "docs" / "house.md").write_text(
        "# The house\n\nThe modules of the package and their imports, without arrows that follow from two others.\n"
        "`python tests/test_house.py`\nwrites this page; CONTRIBUTING.md lists what belongs where.\n\n"
        f"```mermaid\n{drawn_house()}\n```\n"
    )
