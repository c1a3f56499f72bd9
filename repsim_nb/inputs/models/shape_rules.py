"""Rules for operations that move, cut and join axes, each from the call to the axes of its output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .axes import BOTH, FEATURES, PART, PLACES, Axes, Axis, OperationCall, Rule, unknown_axes

MASKS = (torch.bool, torch.uint8)  # types of an index that selects places by true and false


def _list_dims(dims: Any, n: int) -> list[int]:
    return [at % n for at in (dims if isinstance(dims, (tuple, list)) else [dims])]


def permutation(order: Callable[[int, OperationCall], Sequence[int]]) -> Rule:
    """Make a rule for moved axes; order(number of axes, call): the old places of the axes of the output."""
    return lambda call: tuple(call.axes[at] for at in order(len(call.axes), call))


def swap(n: int, call: OperationCall) -> list[int]:
    a, b = (call.get(at + 1, f"dim{at}", f"axis{at}") % n for at in (0, 1))
    order = list(range(n))
    order[a], order[b] = b, a
    return order


def permute(n: int, call: OperationCall) -> list[int]:
    given = call.kwargs.get("dims", call.args[1:])
    return _list_dims(given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given, n)


def move(n: int, call: OperationCall) -> list[int]:
    source, to = (_list_dims(call.get(at, name), n) for at, name in ((1, "source"), (2, "destination")))
    order = [at for at in range(n) if at not in source]
    for place, at in sorted(zip(to, source, strict=True)):
        order.insert(place, at)
    return order


def reshape(call: OperationCall) -> Axes:
    """Return the axes of a tensor whose values stay in their order: axes stay, are merged, or are split."""
    old, new = list(call.x.shape), list(call.out.shape)
    found: list[Axis] = []
    at = to = 0
    while at < len(old) or to < len(new):
        start, begin = at, to
        left = right = 1
        if at < len(old):
            left, at = old[at], at + 1
        if to < len(new):
            right, to = new[to], to + 1
        while left != right:
            if left < right and at < len(old):
                left, at = left * old[at], at + 1
            elif right < left and to < len(new):
                right, to = right * new[to], to + 1
            else:
                return unknown_axes(call.out)
        if left == 1 and (at < len(old)) != (to < len(new)) and to - begin != at - start:
            return unknown_axes(call.out)
        found += _regroup(call.axes[start:at], old[start:at], new[begin:to])
    return tuple(found)


def _regroup(axes: Axes, old: list[int], new: list[int]) -> list[Axis]:
    if old == new:
        return list(axes)
    long = [axis for axis, size in zip(axes, old, strict=True) if size > 1]
    if len(long) == 1 and sum(size > 1 for size in new) == 1:  # axes of length 1 came or went
        return [long[0] if size > 1 else Axis() for size in new]
    sources = {source for axis in long or axes for source in axis.sources}
    role = _role_of_group({axis.role for axis in long}, sum(size > 1 for size in new))
    found = [Axis(None, sources) for _ in new]
    for axis, size in zip(found, new, strict=True):
        if role and size > 1:
            axis.show(role, weak=any(one.weak for one in long))
    return found


def _role_of_group(roles: set[str | None], into: int) -> str | None:
    """Return the role of each axis that axes of these roles become."""
    if into == 1:  # several became one
        if roles & {FEATURES, BOTH}:
            return FEATURES if roles <= {FEATURES, PART} else BOTH
        return PLACES if PLACES in roles and roles <= {PLACES, PART} else FEATURES if roles == {PART} else None
    return PLACES if roles == {PLACES} else PART if roles in ({FEATURES}, {PART}) else None


def unsqueeze(call: OperationCall) -> Axes:
    at = call.get(1, "dim") % call.out.ndim
    return (*call.axes[:at], Axis(), *call.axes[at:])


def squeeze(call: OperationCall) -> Axes:
    n, dims = len(call.axes), call.get(1, "dim")
    if dims is None:
        return tuple(axis for axis, size in zip(call.axes, call.x.shape, strict=True) if size != 1)
    gone = _list_dims(dims, n)
    return call.axes if call.out.ndim == n else tuple(axis for at, axis in enumerate(call.axes) if at not in gone)


def reduce(call: OperationCall) -> Any:
    """Return the axes of a sum, a mean or a maximum over some axes."""
    n, dims = len(call.axes), call.get(1, "dim", "axis")
    if isinstance(dims, (Tensor, bool)):
        return None
    gone = range(n) if dims is None else _list_dims(dims, n)
    kept_as_one = (call.out if isinstance(call.out, Tensor) else call.out[0]).ndim == n  # keepdim=True
    axes = tuple(
        Axis(axis.role) if at in gone else axis for at, axis in enumerate(call.axes) if kept_as_one or at not in gone
    )
    return axes if isinstance(call.out, Tensor) else [axes] * len(call.out)


def join(call: OperationCall) -> Axes:
    tensors = [x for x in call.get(0, "tensors") if x.ndim == call.out.ndim and x.numel()]
    dim = call.get(1, "dim", "axis", default=0) % call.out.ndim
    found = []
    for at, parts in enumerate(zip(*map(call.trace.axes, tensors), strict=True)):
        if at == dim and len(parts) > 1:
            found.append(_grow_by_joining(parts, [x.shape[dim] for x in tensors], call.out.shape[dim]))
            continue
        for other in parts[1:] if call.out.shape[at] > 1 else ():
            parts[0].join(other)
        found.append(parts[0])
    return tuple(found)


def _grow_by_joining(parts: Axes, sizes: list[int], whole: int) -> Axis:
    role = next((part.role for part in parts if part.role), None)
    new = Axis(role, {source for part in parts for source in part.sources})
    inputs = [at for at, part in enumerate(parts) if part.columns]
    if len(inputs) == 1:  # one part has the places of an input
        at = inputs[0]
        new.grow(parts[at], sum(sizes[:at]), whole - sum(sizes[: at + 1]), "joining")
    return new


def stack(call: OperationCall) -> Axes:
    axes = call.trace.axes(call.get(0, "tensors")[0])
    at = call.get(1, "dim", default=0) % call.out.ndim
    return (*axes[:at], Axis(), *axes[at:])


def drop_axis(call: OperationCall) -> Any:
    """Return the axes of one place of an axis (select), or of each place (unbind)."""
    dim = call.get(1, "dim", default=0) % len(call.axes)
    axes = (*call.axes[:dim], *call.axes[dim + 1 :])
    return axes if isinstance(call.out, Tensor) else [axes] * len(call.out)


def cut(call: OperationCall) -> list[Axes]:
    """Return the axes of pieces along one axis."""
    return resize(call) if isinstance(call.get(2, "dim", "axis", default=0), int) else []


def resize(call: OperationCall) -> Any:
    """Derive the axes whose length changed; others stay (narrow, pooling, interpolation)."""
    return call.of_each(lambda at, axis, out: axis if out.shape[at] == call.x.shape[at] else axis.derive())


def reorder(call: OperationCall) -> Any:
    """Derive all axes, since places along some of them moved (sort, gather, index_select, flip)."""
    return call.of_each(lambda at, axis, out: axis.derive())


def pad(call: OperationCall) -> Axes:
    pads, found = list(call.get(1, "pad")), list(call.trace.axes(call.x))
    for at, before, after in zip(range(len(found) - 1, -1, -1), pads[::2], pads[1::2], strict=False):
        if before or after:
            old = found[at]
            found[at] = old.derive()
            found[at].grow(old, before, after, "padding")
    return tuple(found)


def pooling(places: int) -> Rule:
    """Make a rule for pooling over so many of the last axes, which are places."""

    def rule(call: OperationCall) -> Any:
        for axis in call.axes[-places:]:
            axis.show(PLACES)
        return resize(call)

    return rule


def unfold(call: OperationCall) -> Axes:
    axes = call.axes
    if call.out.ndim == len(axes) + 1:  # x.unfold(dimension, size, step): windows along one axis
        dim = call.get(1, "dimension") % len(axes)
        return (*axes[:dim], axes[dim].derive(PLACES), *axes[dim + 1 :], Axis(None, axes[dim].sources))
    return (axes[0], Axis(FEATURES, axes[1].sources), Axis(PLACES, axes[-1].sources))  # patches of pictures


def gate(call: OperationCall) -> Axes:
    dim = call.get(1, "dim", default=-1) % len(call.axes)
    return tuple(axis.derive() if at == dim else axis for at, axis in enumerate(call.axes))


def index(call: OperationCall) -> Axes:
    """Return the axes of x[...].

    A slice keeps an axis, whole or in part; a number removes it; None adds one; an array selects places.
    """
    x, key, axes = call.args[0], call.args[1], call.axes
    key = list(key) if isinstance(key, tuple) else [key]
    taken = sum(
        one.ndim if isinstance(one, Tensor) and one.dtype in MASKS else 1
        for one in key
        if one is not None and one is not Ellipsis
    )
    rest = [slice(None)] * (x.ndim - taken)
    at = next((place for place, one in enumerate(key) if one is Ellipsis), None)
    key = [*key, *rest] if at is None else [*key[:at], *rest, *key[at + 1 :]]
    arrays = [place for place, one in enumerate(key) if isinstance(one, (Tensor, list))]
    found: list[Axis] = []
    axis = 0
    for place, one in enumerate(key):
        many = 0 if one is None else 1  # how many axes of x it takes
        if one is None:
            found.append(Axis())
        elif isinstance(one, slice):
            found.append(_slice(axes[axis], x.shape[axis], one))
        elif isinstance(one, (Tensor, list)):
            chosen = torch.as_tensor(one)
            many = chosen.ndim if chosen.dtype in MASKS else 1
            if len(arrays) > 1 or chosen.ndim == 0:
                found += [Axis()] * chosen.ndim if place == arrays[0] else []
            elif chosen.dtype in MASKS:
                sources = {source for old in axes[axis : axis + many] for source in old.sources}
                found.append(Axis(axes[axis + many - 1].role, sources))
            else:
                found += [axes[axis].derive() for _ in range(chosen.ndim)]
        axis += many
    return tuple(found) if len(found) == call.out.ndim else unknown_axes(call.out)


def _slice(axis: Axis, size: int, which: slice) -> Axis:
    start, stop, step = which.indices(size)
    if (start, stop, step) == (0, size, 1):
        return axis
    grown = axis.grown
    if grown and step == 1 and start == grown[1] and stop == size - grown[2]:
        return grown[0]  # the added places are removed again
    return axis.derive()


def expand(call: OperationCall) -> Axes:
    """Return the axes of a broadcast: axes of length 1 become longer, new ones are in front."""
    new = call.out.ndim - call.x.ndim
    sizes = zip(call.axes, call.x.shape, call.out.shape[new:], strict=True)
    return (*(Axis() for _ in range(new)), *(axis if have == want else axis.derive() for axis, have, want in sizes))
