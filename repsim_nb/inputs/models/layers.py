"""Find the layers of a model: by exact name, by pattern, or "auto", one a block."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from torch import nn

from .running import OUTPUT, name_layer

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
WHOLE = (nn.MultiheadAttention,)  # what is inside is not called as a module
QUIET = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity, nn.Flatten)  # they change no value while recording
MANY = 6  # no model has so many stages: as many of one class in a row are blocks, whatever is inside


def default_layers(module: nn.Module) -> tuple[str, ...]:
    """Return the layers that are recorded by default: the module's `layers`, else one a block; then the output."""
    own, known = getattr(module, "layers", None), dict(module.named_modules())
    if isinstance(own, (tuple, list)) and own and all(isinstance(name, str) and name in known for name in own):
        return (*map(name_layer, own), OUTPUT)
    return (*map(name_layer, find_blocks(module)), OUTPUT)


def find_blocks(module: nn.Module) -> tuple[str, ...]:
    """List the names of a model's blocks, in the order of their registration.

    A block is an element of a row of modules of one class (the residual blocks of a stage, the layers of a
    transformer), and outside such rows any part of the model. In a plain chain of convolutions or linear layers it is a
    step: from one weighted module to just before the next.
    """
    return tuple(_expand(module, "", in_row=False, root=True))


def _expand(module: nn.Module, name: str, *, in_row: bool, root: bool = False) -> Iterator[str]:
    children = [] if isinstance(module, WHOLE) else list(module.named_children())
    plain = type(module) in CONTAINERS
    if not root and _count_weighted(module) <= 1:
        if _count_weighted(module):
            yield name
    elif type(module) is nn.Sequential and all(_count_weighted(child) <= 1 for _, child in children):
        yield from [name] if in_row else _iterate_steps(module, name)
    elif root or plain or any(_find_row(part)[0] for part in module.modules()):
        row, length = _find_row(module)
        for part, child in children:
            final = length >= MANY and type(child) is row and type(child) not in CONTAINERS
            full = f"{name}.{part}" if name else part
            yield from [full] if final else _expand(child, full, in_row=type(child) is row)
    else:
        yield name


def _iterate_steps(chain: nn.Sequential, name: str) -> Iterator[str]:
    """Yield the last module of each step of a chain, whose output is the input of the next step."""
    last = None
    for part, child in chain.named_children():
        if _count_weighted(child) and last is not None:
            yield last
        if _count_weighted(child) or (last is not None and not isinstance(child, QUIET)):
            last = f"{name}.{part}" if name else part
    if last is not None:
        yield last


def _count_weighted(module: nn.Module) -> int:
    """Count the modules inside that own a weight matrix or a filter (normalisation has none)."""
    if isinstance(module, WHOLE):
        return 1
    # FSDP joins all weights of a block in one vector
    own = any(p.ndim >= 2 or getattr(p, "_is_flat_param", False) for p in module.parameters(recurse=False))
    return own + sum(map(_count_weighted, module.children()))


def _find_row(module: nn.Module) -> tuple[type | None, int]:
    """Return the class of the modules in a row inside, and their number; (None, 0) if there is no row."""
    kinds = Counter(type(child) for child in module.children() if _count_weighted(child) > 1)
    if not kinds:
        return None, 0
    kind, number = kinds.most_common(1)[0]
    if type(module) is nn.ModuleList and len(module) == 1:  # a row of one, or one that runs many times
        return kind, 1
    # blocks that a stage names one by one
    alone = all(type(child) is kind for child in module.children() if _count_weighted(child)) and kind not in CONTAINERS
    in_row = number >= 2 and (type(module) in CONTAINERS or alone)
    return (kind, number) if in_row else (None, 0)


def is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def match_layers(pattern: str, names: list[str]) -> list[str]:
    """Return the names that match a pattern.

    * stands for anything within one part of a dotted name, ** for any number of parts, ? for a character.
    """
    pieces = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    expression = re.compile(
        "".join(pieces.get(piece, re.escape(piece)) for piece in re.split(r"(\*\*|\*|\?)", pattern))
    )
    return [name for name in names if expression.fullmatch(name)]
