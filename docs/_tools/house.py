"""The import graph of docs/house.md as boxes and a table: a page that loads no script cannot draw Mermaid."""

from __future__ import annotations

import re

Rooms = dict[str, tuple[str, str]]  # of each room, its wing and its name in the wing
Arrows = dict[str, list[str]]  # of each room, the rooms that it imports


def replace_diagram(text: str) -> str:
    """The page with a picture of the wings and a table of rooms in place of the diagram."""
    diagram = re.search(r"```mermaid\n(.*?)```", text, re.S)
    if diagram is None:
        raise ValueError("docs/house.md has no block ```mermaid; python tests/test_house.py writes it again")
    rooms, arrows = read_diagram(diagram[1])
    drawn = [
        "A wing imports from the wings above it only.",
        f"```{{raw}} html\n{picture(rooms, arrows)}\n```",
        "## What each module imports",
        table(rooms, arrows),
    ]
    return text.replace(diagram[0], "\n\n".join(drawn))


def read_diagram(diagram: str) -> tuple[Rooms, Arrows]:
    """The rooms and the arrows of a Mermaid flowchart."""
    rooms: Rooms = {}
    arrows: Arrows = {}
    wing = ""
    for line in diagram.splitlines():
        if match := re.match(r"\s*subgraph (\w+)_wing", line):
            wing = match[1]
        elif match := re.match(r"\s*([\w.]+)\[\"(\w+)\"\]", line):
            rooms[match[1]] = (wing, match[2])
        elif match := re.match(r"\s*([\w.]+) --> ([\w.]+)", line):
            arrows.setdefault(match[1], []).append(match[2])
    return rooms, arrows


def wing_imports(rooms: Rooms, arrows: Arrows) -> dict[str, list[str]]:
    """The wings that each wing imports, without those that one of the others imports."""
    wings = list(dict.fromkeys(wing for wing, _ in rooms.values()))
    direct: dict[str, set[str]] = {wing: set() for wing in wings}
    for room, others in arrows.items():
        direct[rooms[room][0]] |= {rooms[other][0] for other in others} - {rooms[room][0]}

    def reached(wing: str) -> set[str]:
        return direct[wing].union(*(reached(other) for other in direct[wing]))

    return {
        wing: [one for one in wings if one in direct[wing] and not any(one in reached(o) for o in direct[wing] - {one})]
        for wing in wings
    }


def picture(rooms: Rooms, arrows: Arrows) -> str:
    """Each wing as a box with its rooms, below the wings that it imports."""
    imports = wing_imports(rooms, arrows)

    def level(wing: str) -> int:
        return 1 + max((level(other) for other in imports[wing]), default=-1)

    lines = ['<div class="house">']
    for height in range(1 + max(map(level, imports))):
        lines.append('<div class="wings">')
        for wing in (one for one in imports if level(one) == height):
            uses = f'<p class="uses">↑ imports {" and ".join(imports[wing])}</p>' if imports[wing] else ""
            inside = [name for other, name in rooms.values() if other == wing and name != wing]
            items = "".join(f"<li>{name}</li>" for name in inside)
            lines.append(f'<section class="wing">{uses}<p class="name">{wing}</p><ul>{items}</ul></section>')
        lines.append("</div>")
    return "\n".join([*lines, "</div>"])


def table(rooms: Rooms, arrows: Arrows) -> str:
    """Wings and rooms in their order, and what each imports directly."""
    lines = ["| wing | module | imports |", "|---|---|---|"]
    before = ""
    for room, (wing, name) in rooms.items():
        uses = ", ".join(
            f"{rooms[other][0]}.{rooms[other][1]}" if rooms[other][0] != rooms[other][1] else other
            for other in arrows.get(room, [])
        )
        lines.append(f"| {f'**{wing}**' if wing != before else ''} | {name} | {uses} |")
        before = wing
    return "\n".join(lines)
