"""Rules for operations with weights, each from the call to the axes of its output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from .axes import BOTH, FEATURES, PARAMETER, PLACES, Axes, Axis, OperationCall, Rule, iterate_tensors, unknown_axes


def _mix(axes: Axes, over: int, others: Iterable[Axis]) -> Axis:
    """Return the axis that a matrix of weights gives: features, or mixed places if features lie along another axis.

    An axis of an input itself does not count: the first layer of a mixer may work along time, and the second along the
    variables.
    """
    old = axes[over]
    elsewhere = any(axis.role in (FEATURES, BOTH) and not axis.weak and not axis.columns for axis in others)
    if elsewhere and old.role in (None, PLACES):
        old.show(PLACES)
        return old.derive(PLACES)
    if old.role != PLACES:
        old.show(FEATURES)
    return old.derive(FEATURES)


def linear(call: OperationCall) -> Axes:
    return (*call.axes[:-1], _mix(call.axes, -1, call.axes[1:-1]))


def convolution(call: OperationCall) -> Axes:
    x, out, axes, weight = call.x, call.out, call.axes, call.get(1, "weight")
    channels = 1 if len(axes) == out.ndim and x.ndim == weight.ndim else 0
    along = axes[channels + 1 :]
    # a kernel of one place is a matrix of weights; a wider one has neighbours along its other axes
    of_places = all(size == 1 for size in weight.shape[2:])
    new = _mix(axes, channels, along) if of_places else Axis(FEATURES, axes[channels].sources)
    role: str | None = None
    if new.role != PLACES and not any(axis.role in (FEATURES, BOTH) for axis in along):  # else it slides along features
        role = PLACES
        axes[channels].show(FEATURES)
        for axis in along:
            axis.show(PLACES)
    sizes = zip(along, x.shape[channels + 1 :], out.shape[channels + 1 :], strict=True)
    return (*axes[:channels], new, *(old if before == after else old.derive(role) for old, before, after in sizes))


def embedding(call: OperationCall) -> Axes:
    axes = call.trace.axes(call.x)
    for axis in axes[1:]:
        axis.show(PLACES)
    return (*axes, Axis(FEATURES, {source for axis in axes for source in axis.sources}))


def along(axis: int, others: str | None = None) -> Rule:
    """Make a rule for a layer that works on each feature by itself; features lie along this axis."""

    def rule(call: OperationCall) -> Axes:
        if len(call.axes) > 1:
            _show_weakly(call.axes, axis)
        for other in call.axes[2:]:
            if others:
                other.show(others)
        return call.axes

    return rule


def layer_norm(call: OperationCall) -> Axes:
    if len(call.get(1, "normalized_shape")) == 1:
        _show_weakly(call.axes, -1)
    return call.axes


def _show_weakly(axes: Axes, axis: int) -> None:
    """Mark an axis as features, weakly, for a normalisation, unless features lie along another axis."""
    if not any(other.role in (FEATURES, BOTH) for other in axes[1:] if other is not axes[axis]):
        axes[axis].show(FEATURES, weak=True)


def recurrent(call: OperationCall) -> list[Axes]:
    return [(*call.axes[:-1], _mix(call.axes, -1, ()))]


def pack(call: OperationCall) -> list[Axes]:
    one, other, *rest = call.axes
    steps = Axis(PLACES, one.sources | other.sources)
    steps.packed = (one, other) if call.get(2, "batch_first") else (other, one)
    return [(steps, *rest)]


def unpack(call: OperationCall) -> list[Axes]:
    steps = next((axis.packed for axis in call.axes[:1] if axis.packed), None) or (Axis(), Axis())
    return [(*(steps if call.get(2, "batch_first") else steps[::-1]), *call.axes[1:])]


def attention(call: OperationCall) -> Axes:
    """Return the axes of softmax(q kᵀ) v: places of q, features of v."""
    key, value, mask = (call.get(at, name) for at, name in ((1, "key"), (2, "value"), (3, "attn_mask")))
    k, v = call.trace.axes(key), call.trace.axes(value)
    if len(k) == len(v) and len(v) > 2:
        k[-2].join(v[-2])
    if isinstance(mask, Tensor) and mask.ndim and mask.shape[-1] == key.shape[-2] and mask.shape[-1] > 1:
        call.trace.axes(mask)[-1].join(k[-2])
    return (*call.axes[:-1], v[-1])


def multi_head(call: OperationCall) -> list[Axes]:
    mask = call.get(99, "key_padding_mask")
    if isinstance(mask, Tensor):
        call.trace.axes(mask)[-1].join(call.trace.axes(call.get(1, "key"))[0])
    return [(*call.axes[:-1], call.axes[-1].derive(FEATURES))]


def product(call: OperationCall) -> Axes:
    return _multiply(call, call.get(0, "input", "self"), call.get(1, "other", "mat2", "vec2"))


def reversed_product(call: OperationCall) -> Axes:
    return _multiply(call, call.args[1], call.args[0])


def added_product(call: OperationCall) -> Axes:
    return _multiply(call, call.get(1, "mat1", "batch1"), call.get(2, "mat2", "batch2"))


def _multiply(call: OperationCall, x: Tensor, y: Tensor) -> Axes:
    a, b = call.trace.axes(x), call.trace.axes(y)
    if x.ndim < 2 or y.ndim < 2:
        return a[:-1] if y.ndim == 1 else (*b[:-2], b[-1])
    of_weights = [_are_of_weights(axes) for axes in (a, b)]
    if of_weights == [False, True]:
        if y.is_leaf or isinstance(y._base, nn.Parameter):
            return (*a[:-1], _mix(a, -1, a[1:-1]))
        last = Axis(None, a[-1].sources)  # computed from weights: it may be one of relative positions
        last.show(FEATURES, weak=True)
        return (*a[:-1], last)
    if of_weights == [True, False]:  # W x works along the last axis but one
        return (*b[:-2], _mix(b, -2, [*b[1:-2], b[-1]]), b[-1])
    if x.shape[-1] > 1:
        a[-1].join(b[-2])
    return (*(a[:-2] if x.ndim >= y.ndim else b[:-2]), a[-2], b[-1])


def _are_of_weights(axes: Axes) -> bool:
    """Return whether these are the axes of a parameter, or of what was computed from parameters alone."""
    return all(axis.sources == {PARAMETER} for axis in axes)


def einsum(call: OperationCall) -> Axes:
    equation, operands = call.args[0], list(iterate_tensors(call.args[1:]))
    left, arrow, right = equation.replace(" ", "").partition("->")
    if not arrow or "." in equation:
        return unknown_axes(call.out)
    found: dict[str, Axis] = {}
    data: set[str] = set()
    weights: set[str] = set()
    for letters, operand in zip(left.split(","), operands, strict=True):
        axes = call.trace.axes(operand)
        own = _are_of_weights(axes)
        (weights if own else data).update(letters)
        for letter, axis in zip(letters, axes, strict=True):
            if own:
                found.setdefault(letter, axis)
            elif letter in found and letter in data and not found[letter].sources <= {PARAMETER}:
                found[letter].join(axis)
            else:
                found[letter] = axis
    summed = [found[letter] for letter in weights & data if letter not in right]
    for letter in set(right) & (weights - data) if summed else ():
        places = all(axis.role == PLACES for axis in summed) and any(
            found[other].role == FEATURES for other in data & set(right)
        )
        found[letter] = summed[0].derive(PLACES if places else FEATURES)
    return tuple(found[letter] for letter in right)


def make(call: OperationCall) -> Any:
    """Return axes of new values, aligned with nothing."""
    return unknown_axes(call.out) if isinstance(call.out, Tensor) else []
