"""Follow the axes of tensors through a forward pass.

Sizes cannot distinguish the axes of (n, 16, 16), but operations can: a convolution puts features along axis 1, a matrix
of weights along the last one, a transposition moves them, an addition leaves them in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from .axes import PARAMETER, Axes, Axis, OperationCall, iterate_tensors
from .operations import IGNORED, RULES


class Trace(TorchFunctionMode):
    """Follow every operation of torch while open; `axes(tensor)` then returns the axes of a tensor.

    An unknown operation gives axes without roles, never wrong ones. Values do not change.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def enter(self, name: str, tensor: Tensor) -> None:
        """Register an input of the model by its name."""
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
        with suppress(Exception):  # the model must not fail because of this trace
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
        """Return the axes of an output of an operation without a rule.

        They are aligned with the inputs if these are broadcast, or all of its shape; else they have no role.
        """
        inputs = [
            (x, call.before if x is call.args[0] and call.before is not None else self.axes(x))
            for x in (iterate_tensors([*call.args, *call.kwargs.values()]) if call.args else ())
            if x.ndim and (x is not out or call.before is not None)
        ]
        shapes = [x.shape for x, _ in inputs]
        aligned = all(shape == out.shape for shape in shapes)
        if inputs and (aligned or (_is_pointwise(name) and np.broadcast_shapes(*shapes) == out.shape)):
            return self._broadcast(out, inputs)
        sources = {source for _, axes in inputs for axis in axes for source in axis.sources}
        return tuple(Axis(None, sources) for _ in range(out.ndim))

    def _broadcast(self, out: Tensor, inputs: list[tuple[Tensor, Axes]]) -> Axes:
        found = []
        for back in range(out.ndim, 0, -1):
            candidates = [
                (axes[-back], x.ndim)
                for x, axes in inputs
                if x.ndim >= back and len(axes) == x.ndim and x.shape[-back] == out.shape[-back]
            ]
            if out.shape[-back] == 1:  # axes of length 1 are aligned only if all tensors have as many axes
                candidates = [(axis, ndim) for axis, ndim in candidates if ndim == out.ndim]
            aligned = [axis for axis, _ in candidates]
            axis = next((axis for axis in aligned if axis.of_inputs), aligned[0] if aligned else Axis())
            for other in aligned:
                axis.join(other)
            found.append(axis)
        return tuple(found)


@functools.cache
def _is_pointwise(name: str) -> bool:
    """Return whether an operation works element by element on broadcast tensors, as marked by torch."""
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
