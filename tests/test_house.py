"""The house as data: which rooms a wing has, in which order, and who may import what."""

import ast
import re
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
        *("files", "transport", "workers", "scratch"),
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


def drawn_house():
    """The import graph of the rooms as Mermaid; an arrow that follows from two others is left out."""
    uses = {}
    for path in FILES:
        room = room_of(module_of(path))
        if room.split(".")[0] in WINGS:
            uses.setdefault(room, set()).update({room_of(name) for name in imports(path)[0]} - {room, ""})
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


if __name__ == "__main__":
    (ROOT / "docs" / "house.md").write_text(
        "# The house\n\nThe rooms of the package and who imports whom, without arrows that follow from two others.\n"
        "`python tests/test_house.py`\nwrites this page; CONTRIBUTING.md says what belongs where.\n\n"
        f"```mermaid\n{drawn_house()}\n```\n"
    )
