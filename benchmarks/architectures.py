"""The table of architectures, docs/architectures.md: `python -m benchmarks.architectures` writes it; with names it only
prints these rows.

Every row is checked against forward passes of each sample alone (tests/architectures); time is a ratio to bare forward
passes.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import sys
import time
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from architectures import ARCHITECTURES, Architecture
from architectures.checks import EQUAL, NONE, WRONG, Cell, Found, checked, seconds
from architectures.kinds import configured, ids

LARGER = Architecture(
    "BERT, six layers of width 384",
    "transformers",
    configured(
        "BertModel",
        "BertConfig",
        vocab_size=1000,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=6,
        intermediate_size=1536,
    ),
    ids(32, high=1000),
    {},
)
PAGE = ROOT / "docs" / "architectures.md"
SHORT = 3  # so many layers are named in a cell
INTRO = """# Architectures

`python -m benchmarks.architectures` writes this page. It makes {number} models from {libraries} with small random configurations (a width of 8 to 64, two or three
blocks), records their default layers, and compares every recorded row with a forward pass of that sample alone. Nothing is downloaded.
The reference uses plain torch hooks and layouts that are written down by hand in `tests/architectures`; it does not use the code that it checks.

| column | means |
|---|---|
| default layers | how many of the blocks that a person would name are recorded, in the order in which they run |
| rows | each row is equal to a forward pass of that sample alone, to 0.0001 of its size; the samples were recorded in batches of 5 into a store, with `pool="mean"` |
| mask | the same for samples of different lengths, padded on the right, with a mask; the sample alone has no padding. {none}: it takes no mask, or its mask was not tried |
| store | recorded again from a store, the rows are equal and the model hardly runs; after a forward hook adds 5 to a block, the old rows are not given back |
| time | seconds of recording 200 samples in batches of 50, divided by the seconds of bare forward passes of the same batches, and how many seconds it is more. Both in turn, one thread, the median of five |

Recording has a fixed cost: it runs a few samples alone and together before it starts. These models are tiny, so that cost is most of the time. In a larger
one, a BERT of six layers of width 384 with 200 texts of 32 tokens, the same ratio is {larger}.

The entries are *equal*, *left out* (a default layer is not recorded; a warning names it and the reason), *refused* (a `ValueError` gives the reason), or **WRONG**.
An architecture appears twice if its second entry has two axes of one length, so that sizes alone do not show which axis holds the features.
"""
AFTER = """## What is refused or left out, and what to do

{items}

What to do is part of each message. A pool function of your own gets the whole output of a layer, and the mask if it takes a second argument, and returns one
row for each sample: `pool=lambda output, mask: ...`. It decides where the kit does not: which places count, and along which axis the samples are. If a
layer mixes samples, no pool helps: record another layer. See [what recording promises](recording.md).
"""


def measured(architecture: Architecture) -> Found:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        try:
            found = checked(architecture)
            found.time = seconds(architecture)
        except Exception as error:
            cell = Cell(WRONG, {"": f"stopped: {type(error).__name__}: {error}"})
            found = Found(cell, "", cell, cell, cell)
    return found


def row(architecture: Architecture, found: Found) -> list[str]:
    layers = found.number if found.layers.word == EQUAL else f"{found.number} {in_words(found.layers)}".strip()
    ratio = NONE if found.time is None or math.isnan(found.time[0]) else in_seconds(*found.time)
    return [
        architecture.name,
        architecture.size,
        layers,
        in_words(found.rows),
        in_words(found.mask),
        in_words(found.store),
        ratio,
    ]


def in_seconds(ours: float, bare: float) -> str:
    return f"{ours / bare:.1f} (+ {ours - bare:.2f} s)"


def in_words(cell: Cell) -> str:
    if cell.word in (EQUAL, NONE):
        return cell.word
    names = shortened([layer for layer in cell.why if layer])
    return (f"**{WRONG}**" if cell.word == WRONG else cell.word) + (f" {names}" if names else "")


def shortened(layers: list[str]) -> str:
    more = f" and {len(layers) - SHORT} more" if len(layers) > SHORT else ""
    return ", ".join(f"`{layer}`" for layer in layers[:SHORT]) + more


def reasons(found: dict[str, Found]) -> str:
    """A list of what is not recorded, for each architecture and each reason once."""
    items = []
    for name, one in found.items():
        kept: dict[str, list[str]] = {}
        for _, cell in one.cells():
            for layer, why in cell.why.items():
                named = kept.setdefault(why.strip().replace("\n", " "), [])
                named += [layer] if layer and layer not in named else []
        items += [f"- **{name}**{', ' if layers else ''}{shortened(layers)}: {why}" for why, layers in kept.items()]
    return "\n".join(items)


def table(rows: list[list[str]]) -> str:
    head = ["architecture", "sizes", "default layers", "rows", "mask", "store", "time"]
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join("---:" if name == "time" else "---" for name in head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in one) + " |" for one in rows])


def page(found: dict[str, Found]) -> str:
    by_library = itertools.groupby(found, key=lambda name: ARCHITECTURES[name].library)
    pieces = [
        INTRO.format(
            number=len(found),
            libraries=", ".join(dict.fromkeys(ARCHITECTURES[name].library for name in found)),
            larger=in_seconds(*seconds(LARGER, times=3)),
            none=NONE,
        )
    ]
    for library, names in by_library:
        pieces.append(f"## {library}\n\n{table([row(ARCHITECTURES[name], found[name]) for name in names])}\n")
    return "\n".join([*pieces, AFTER.format(items=reasons(found))])


def main(names: list[str]) -> int:
    torch.set_num_threads(1)
    unknown = [name for name in names if name not in ARCHITECTURES]
    if unknown:
        print(f"unknown: {', '.join(unknown)}. Known: {', '.join(ARCHITECTURES)}", file=sys.stderr)
        return 2
    wanted = {name: one for name, one in ARCHITECTURES.items() if not names or name in names}
    absent = sorted({one.library for one in wanted.values() if not one.installed()})
    if absent:
        print(f"not installed: {', '.join(absent)}. 'make test' installs them", file=sys.stderr)
        return 2
    found = {}
    for number, (name, one) in enumerate(sorted(wanted.items(), key=lambda item: order(item[1])), 1):
        start = time.perf_counter()
        found[name] = measured(one)
        print(
            f"{number:3} of {len(wanted)}  {' | '.join(row(one, found[name]))}  ({time.perf_counter() - start:.1f} s)",
            file=sys.stderr,
            flush=True,
        )
    if names:
        print(reasons(found))
    else:
        PAGE.write_text(page(found))
        print(f"wrote {PAGE.relative_to(ROOT)}", file=sys.stderr)
    return int(any(cell.word == WRONG for one in found.values() for _, cell in one.cells()))


def order(architecture: Architecture) -> int:
    """Libraries together, in the order in which the list names them first."""
    return list(dict.fromkeys(one.library for one in ARCHITECTURES.values())).index(architecture.library)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
