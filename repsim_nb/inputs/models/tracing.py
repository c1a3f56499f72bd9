"""Follow the axes of tensors through a forward pass.

Sizes do not tell the axes of (n, 16, 16) apart; the operations that made it do: a convolution puts features along axis
1, a matrix of weights along the last one, a transposition moves them, an addition leaves them where they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from .axes import PARAMETER, Axes, Axis, OperationCall, iterate_tensors
from .operations import IGNORED, RULES


class Trace(TorchFunctionMode):
    """While open, every operation of torch is followed; `axes(tensor)` then says what is known of a tensor's axes.

    An operation that is not known gives axes of which nothing is known, never wrong ones. It does not change what is
    computed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def enter(self, name: str, tensor: Tensor) -> None:
        """An input of the model, by its name."""
        self._known[tensor] = tuple(Axis(None, [name], [(name, axis)]) for axis in range(tensor.ndim))

    def axes(self, tensor: Tensor) -> Axes:
        known = self._known.get(tensor)
        if known is None or len(known) != tensor.ndim:
            sources = [PARAMETER] if isinstance(tensor, nn.Parameter) else []
            known = self._known[tensor] = tuple(Axis(None, sources) for _ in range(tensor.ndim))
        return known

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = _name(function)
        if name in IGNORED:
            return function(*args, **kwargs)
        # an operation in place may change the axes of its input
        before = self.axes(args[0]) if args and isinstance(args[0], Tensor) else None
        out = function(*args, **kwargs)
        with suppress(Exception):  # nothing of the model may fail because of what is noted here
            self._follow(name, OperationCall(self, args, kwargs, out, before))
        return out

    def _follow(self, name: str, call: OperationCall) -> None:
        rule, out = RULES.get(name), call.out
        found = rule(call) if rule is not None else None
        if found is None:
            out = [one for one in (out if isinstance(out, (tuple, list)) else [out]) if isinstance(one, Tensor)]
            found = [self._elementwise(name, one, call) for one in out] if rule is None else []
        if isinstance(out, Tensor):
            self._known[out] = tuple(found)
        elif isinstance(out, (tuple, list)):
            for tensor, axes in zip(out, found, strict=False):
                if isinstance(tensor, Tensor) and axes is not None and len(axes) == tensor.ndim:
                    self._known[tensor] = tuple(axes)

    def _elementwise(self, name: str, out: Tensor, call: OperationCall) -> Axes:
        """The axes of an output of an operation without a rule: aligned with the inputs if these are broadcast, or all
        of its shape; else nothing is known.
        """
        inputs = [
            (x, call.before if x is call.args[0] and call.before is not None else self.axes(x))
            for x in (iterate_tensors([*call.args, *call.kwargs.values()]) if call.args else ())
            if x.ndim and (x is not out or call.before is not None)
        ]
        shapes = [x.shape for x, _ in inputs]
        aligned = all(shape == out.shape for shape in shapes)
        if inputs and (aligned or (is_pointwise(name) and _broadcast_shape(shapes) == out.shape)):
            return self._broadcast(out, inputs)
        sources = {source for _, axes in inputs for axis in axes for source in axis.sources}
        return tuple(Axis(None, sources) for _ in range(out.ndim))

    def _broadcast(self, out: Tensor, inputs: list[tuple[Tensor, Axes]]) -> Axes:
        found = []
        for back in range(out.ndim, 0, -1):
            here = [
                (axes[-back], x.ndim)
                for x, axes in inputs
                if x.ndim >= back and len(axes) == x.ndim and x.shape[-back] == out.shape[-back]
            ]
            if out.shape[-back] == 1:  # axes of length 1 are aligned only if all tensors have as many axes
                here = [(axis, ndim) for axis, ndim in here if ndim == out.ndim]
            aligned = [axis for axis, _ in here]
            axis = next((axis for axis in aligned if axis.of_inputs), aligned[0] if aligned else Axis())
            for other in aligned:
                axis.join(other)
            found.append(axis)
        return tuple(found)


def _broadcast_shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """As torch.broadcast_shapes, which takes a second to import what it needs."""
    most = max(map(len, shapes))
    return tuple(
        max((size for size in sizes if size != 1), default=1)
        for sizes in zip(*((1,) * (most - len(shape)) + tuple(shape) for shape in shapes), strict=True)
    )


@functools.cache
def is_pointwise(name: str) -> bool:
    """Does an operation work element by element on tensors that are broadcast? torch marks such ones."""
    name = name.strip("_")
    for core in (
        name,
        name[1:] if name[:1] in "ri" else name,
        {
            "truediv": "div",
            "floordiv": "floor_divide",
            "and": "bitwise_and",
            "or": "bitwise_or",
            "xor": "bitwise_xor",
        }.get(name, name),
    ):
        packet = getattr(torch.ops.aten, core, None)
        if packet is not None and any(
            torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads()
        ):
            return True
    return False


def _name(function: Any) -> str:
    name = getattr(function, "__name__", "") or str(function)
    if name == "__get__":  # a property of tensors: x.T, x.shape
        name = getattr(getattr(function, "__self__", None), "__name__", name)
    name = name.partition(".")[0]
    return name if name.startswith("__") else name.strip("_")
