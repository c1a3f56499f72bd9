"""The import graph of docs/house.md as a table: a page that loads no script cannot draw Mermaid."""

from __future__ import annotations

import re


def replace_diagram(text: str) -> str:
    """The page with a table of rooms in place of the diagram."""
    diagram = re.search(r"```mermaid\n(.*?)```", text, re.S)
    if diagram is None:
        return text
    return text.replace(diagram[0], table(diagram[1]))


def table(diagram: str) -> str:
    """Wings and rooms in their order, and what each imports directly."""
    rooms, wing = {}, ""
    arrows: dict[str, list[str]] = {}
    for line in diagram.splitlines():
        if match := re.match(r"\s*subgraph (\w+)_wing", line):
            wing = match[1]
        elif match := re.match(r"\s*([\w.]+)\[\"(\w+)\"\]", line):
            rooms[match[1]] = (wing, match[2])
        elif match := re.match(r"\s*([\w.]+) --> ([\w.]+)", line):
            arrows.setdefault(match[1], []).append(match[2])
    lines = ["| wing | room | imports |", "|---|---|---|"]
    before = ""
    for room, (wing, name) in rooms.items():
        uses = ", ".join(
            f"{rooms[other][0]}.{rooms[other][1]}" if rooms[other][0] != rooms[other][1] else other
            for other in arrows.get(room, [])
        )
        lines.append(f"| {f'**{wing}**' if wing != before else ''} | {name} | {uses} |")
        before = wing
    return "\n".join(lines)
