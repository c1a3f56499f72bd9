"""The house as data: which room stands on which floor, who may import what."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "repsim_nb"

# in the order of the data; a file imports from wings above its own, and in its wing from rooms that stand earlier
WINGS = {
    "support": [
        *(
            "errors",
            "escaping",
            "progress",
            "dimensions",
            "containers",
            "ids",
            "row_dependence",
            "row_groups",
            "validation",
            "labels",
        ),
        *("files", "transport", "workers"),
    ],
    "measures": [],  # one room; its files are ordered by their imports alone
    "inputs": [
        "batches",
        "randomness",
        "code_analysis",
        "fingerprints",
        "datasets",
        "models",
        "pooling",
        "store",
        "recording",
    ],
    "results": [
        *(
            "saved",
            "comparison_inputs",
            "comparison",
            "streaming",
            "reliability",
            "embedding",
            "inference",
            "trajectories",
            "probes",
            "grounding",
        )
    ],
    "display": ["specs", "plots", "views", "reports", "explorers"],
    "studies": [],
}
APART = {
    ("inputs", "measures"),
    ("display", "studies"),
    ("studies", "display"),
}  # (wing, a wing that it does not import)
HEAVY = {
    "matplotlib": {"display.plots", "display.explorers"},
    "ipywidgets": {"display.explorers", "display.views"},
    "anywidget": {"display.explorers", "display.views"},
    "papermill": {"display.reports"},
    "sklearn": {"inputs.datasets", "results.embedding", "results.probes"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(name):
    """The room of a module: its wing and what stands below that, as "support.errors"; or a wing of one room."""
    wing, *rest = name.split(".")
    return f"{wing}.{rest[0]}" if WINGS.get(wing) and rest else wing


def module_of(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """-> (modules of ours, top-level names of others) that a file imports, at any depth of its code."""
    ours, others = set(), set()
    package = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
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
            else:
                others.add(name.split(".")[0])
    return ours, others


def test_every_room_has_its_place():
    rooms = {room_of(module_of(path)) for path in FILES} - {"__init__", "__main__"}
    assert rooms == set(WINGS) | {f"{wing}.{room}" for wing, rooms in WINGS.items() for room in rooms}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_from_wings_above_and_from_earlier_rooms(path):
    order, room = list(WINGS), room_of(module_of(path))
    wing, (ours, others) = room.split(".")[0], imports(path)
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
    for library, rooms in HEAVY.items():
        assert library not in others or room in rooms, f"{library} is at home in {rooms}, not in {room}"


HEAVY_MODULES = ("torch", "matplotlib", "ipywidgets", "anywidget", "sklearn", "scipy", "pandas", "papermill", "IPython")


def test_importing_the_face_imports_nothing_heavy():
    import subprocess

    code = f"import sys, repsim_nb; print([m for m in {HEAVY_MODULES} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_can_be_read_at_one_sitting(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    if text.strip() and path.name != "__main__.py":
        assert ast.get_docstring(tree), "a file says what it is"


def test_every_public_name_has_a_docstring():
    import repsim_nb as rs

    for name in rs.__all__:
        assert (getattr(rs, name).__doc__ or "").strip(), name


def test_views_reach_for_no_network():
    for file in (PACKAGE / "display" / "views").glob("*.js"):
        text = file.read_text()
        assert "http" not in text and "import " not in text
