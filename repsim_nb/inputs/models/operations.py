"""What operations of torch do to axes: one rule each, from the axes of the inputs to those of the output.

A rule gets the trace, the arguments, the output and the axes that the first input had before. It returns the axes of
the output, a list of them for several outputs, or None if nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .axes import BOTH, FEATURES, PARAMETER, PART, PLACES, Axes, Axis, argument, tensors_in


class Known(Protocol):  # a trace
    def axes(self, tensor: Tensor) -> Axes: ...


Rule = Callable[[Known, Sequence[Any], dict[str, Any], Any, Axes | None], Any]


# -- operations with weights
# -----------------------------------------------------------------------------------------------


def _mixed(axes: Axes, over: int, others: Iterable[Axis]) -> Axis:
    """What a matrix of weights makes of an axis: features, unless features lie along another axis; then it mixes
    places.

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


def _linear(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
    return (*first[:-1], _mixed(first, -1, first[1:-1]))


def _convolution(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
    x = args[0] if args else kwargs["input"]
    first, weight = first or trace.axes(x), argument(args, kwargs, 1, "weight")
    channels = 1 if len(first) == out.ndim and x.ndim == weight.ndim else 0
    along = first[channels + 1 :]
    of_places = all(
        size == 1 for size in weight.shape[2:]
    )  # such a kernel is a matrix of weights; a wider one has neighbours along its other axes
    new = _mixed(first, channels, along) if of_places else Axis(FEATURES, first[channels].sources)
    if new.role == PLACES or any(axis.role in (FEATURES, BOTH) for axis in along):  # it slides along features
        places = [
            old if x.shape[at] == out.shape[at] else old.derive() for at, old in enumerate(first) if at > channels
        ]
        return (*first[:channels], new, *places)
    first[channels].show(FEATURES)
    for axis in first[channels + 1 :]:
        axis.show(PLACES)
    places = [
        old if x.shape[at] == out.shape[at] else old.derive(PLACES) for at, old in enumerate(first) if at > channels
    ]
    return (*first[:channels], new, *places)


def _embedding(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes:
    ids = argument(args, kwargs, 0, "input")
    axes = trace.axes(ids)
    for axis in axes[1:]:
        axis.show(PLACES)
    return (*axes, Axis(FEATURES, {source for axis in axes for source in axis.sources}))


def _along(axis: int, others: str | None = None) -> Rule:
    """A layer that works on each feature by itself, which lie along this axis."""

    def rule(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes:
        first = first or trace.axes(argument(args, kwargs, 0, "input"))
        if len(first) > 1:
            _show_weakly(first, axis)
        for other in first[2:] if others else ():
            other.show(others)
        return first

    return rule


def _layer_norm(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
    shape = argument(args, kwargs, 1, "normalized_shape")
    if len(shape) == 1:
        _show_weakly(first, -1)
    return first


def _show_weakly(axes: Axes, axis: int) -> None:
    """A normalisation works along features, unless these are known to lie elsewhere."""
    if not any(other.role in (FEATURES, BOTH) for other in axes[1:] if other is not axes[axis]):
        axes[axis].show(FEATURES, weak=True)


def _recurrent(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> list[Axes]:
    return [(*first[:-1], _mixed(first, -1, ()))]


def _pack(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> list[Axes]:
    steps = Axis(PLACES, first[0].sources | first[1].sources)
    steps.packed = (first[0], first[1]) if argument(args, kwargs, 2, "batch_first") else (first[1], first[0])
    return [(steps, *first[2:])]


def _unpack(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> list[Axes] | None:
    steps = next((axis.packed for axis in first[:1] if axis.packed), None)
    if steps is None:
        return [(Axis(), Axis(), *first[1:])]
    return [(*(steps if argument(args, kwargs, 2, "batch_first") else steps[::-1]), *first[1:])]


def _attention(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> Any:
    """softmax(q kᵀ) v: the places are those of q, the features those of v."""
    query, key, value = (argument(args, kwargs, at, name) for at, name in enumerate(("query", "key", "value")))
    k, v = trace.axes(key), trace.axes(value)
    if len(k) == len(v) and len(v) > 2:
        k[-2].join(v[-2])
    mask = argument(args, kwargs, 3, "attn_mask")
    if isinstance(mask, Tensor) and mask.ndim and mask.shape[-1] == key.shape[-2] and mask.shape[-1] > 1:
        trace.axes(mask)[-1].join(k[-2])
    return (*first[:-1], v[-1])


def _multi_head(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> list[Axes]:
    mask = argument(args, kwargs, 99, "key_padding_mask")
    if isinstance(mask, Tensor):
        trace.axes(mask)[-1].join(trace.axes(argument(args, kwargs, 1, "key"))[0])
    return [(*first[:-1], first[-1].derive(FEATURES))]


def _product(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes | None:
    x, y = (
        argument(args, kwargs, at, *names) for at, names in enumerate((("input", "self"), ("other", "mat2", "vec2")))
    )
    return _multiplied(trace, x, y, out)


def _added_product(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes | None:
    x, y = (argument(args, kwargs, at + 1, *names) for at, names in enumerate((("mat1", "batch1"), ("mat2", "batch2"))))
    return _multiplied(trace, x, y, out)


def _multiplied(trace: Known, x: Tensor, y: Tensor, out: Tensor) -> Axes | None:
    a, b = trace.axes(x), trace.axes(y)
    if x.ndim < 2 or y.ndim < 2:
        return a[:-1] if y.ndim == 1 else (*b[:-2], b[-1])
    weights = [all(axis.sources <= {PARAMETER} and axis.sources for axis in axes) for axes in (a, b)]
    if weights[1] and not weights[0]:
        if y.is_leaf or isinstance(y._base, nn.Parameter):
            return (*a[:-1], _mixed(a, -1, a[1:-1]))
        last = Axis(None, a[-1].sources)  # computed from weights: it may be one of relative positions
        last.show(FEATURES, weak=True)
        return (*a[:-1], last)
    if weights[0] and not weights[1]:  # W x works along the last axis but one
        return (*b[:-2], _mixed(b, -2, [*b[1:-2], b[-1]]), b[-1])
    if x.shape[-1] > 1:
        a[-1].join(b[-2])
    lead = a[:-2] if x.ndim >= y.ndim else b[:-2]
    return (*lead, a[-2], b[-1])


def _einsum(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes | None:
    equation, operands = args[0], list(tensors_in(args[1:]))
    left, arrow, right = equation.replace(" ", "").partition("->")
    if not arrow or "." in equation:
        return tuple(Axis() for _ in range(out.ndim))
    found: dict[str, Axis] = {}
    data: set[str] = set()
    weights: set[str] = set()
    for letters, operand in zip(left.split(","), operands, strict=True):
        axes = trace.axes(operand)
        own = all(axis.sources <= {PARAMETER} and axis.sources for axis in axes)
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


# -- operations that move, cut and join axes
# ---------------------------------------------------------------------------------


def _permuted(order: Callable[[int, Sequence[Any], dict[str, Any]], Sequence[int]]) -> Rule:
    def rule(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
        return tuple(first[at] for at in order(len(first), args, kwargs))

    return rule


def _swap(n: int, args: Any, kwargs: Any) -> list[int]:
    a, b = (argument(args, kwargs, at + 1, f"dim{at}", f"axis{at}") % n for at in (0, 1))
    order = list(range(n))
    order[a], order[b] = b, a
    return order


def _permute(n: int, args: Any, kwargs: Any) -> list[int]:
    given = kwargs.get("dims", args[1:])
    given = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list, torch.Size)) else given
    return [at % n for at in given]


def _move(n: int, args: Any, kwargs: Any) -> list[int]:
    source, to = (
        [at % n for at in (one if isinstance(one, (tuple, list)) else [one])]
        for one in (argument(args, kwargs, 1, "source"), argument(args, kwargs, 2, "destination"))
    )
    order = [at for at in range(n) if at not in source]
    for place, at in sorted(zip(to, source, strict=True)):
        order.insert(place, at)
    return order


def _reshaped(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
    """The axes of a tensor whose numbers stay in their order: equal axes stay; several become one, one becomes
    several.
    """
    old, new = list(args[0].shape), list(out.shape)
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
                return tuple(Axis() for _ in new)
        if left == 1 and (at < len(old)) != (to < len(new)) and to - begin != at - start:
            return tuple(Axis() for _ in new)
        found += _regrouped(first[start:at], old[start:at], new[begin:to])
    return tuple(found)


def _regrouped(axes: Axes, old: list[int], new: list[int]) -> list[Axis]:
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
    """The role of each of the axes that axes of these roles become."""
    if into == 1:  # several became one
        if roles & {FEATURES, BOTH}:
            return FEATURES if roles <= {FEATURES, PART} else BOTH
        return PLACES if PLACES in roles and roles <= {PLACES, PART} else FEATURES if roles == {PART} else None
    return {frozenset({PLACES}): PLACES, frozenset({FEATURES}): PART, frozenset({PART}): PART}.get(frozenset(roles))


def _unsqueezed(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
    at = argument(args, kwargs, 1, "dim") % out.ndim
    return (*first[:at], Axis(), *first[at:])


def _squeezed(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
    n = len(first)
    dims = argument(args, kwargs, 1, "dim")
    if dims is None:
        return tuple(axis for axis, size in zip(first, args[0].shape, strict=True) if size != 1)
    dims = {at % n for at in (dims if isinstance(dims, (tuple, list)) else [dims])}
    return first if out.ndim == n else tuple(axis for at, axis in enumerate(first) if at not in dims)


def _reduced(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> Any:
    """A sum, a mean or a maximum over some axes."""
    n = len(first)
    dims = argument(args, kwargs, 1, "dim", "axis")
    result = out if isinstance(out, Tensor) else out[0]
    if isinstance(dims, Tensor) or isinstance(dims, bool):
        return None
    dims = set(range(n)) if dims is None else {at % n for at in (dims if isinstance(dims, (tuple, list)) else [dims])}
    if result.ndim == n:  # keepdim=True
        axes = tuple(Axis(axis.role) if at in dims else axis for at, axis in enumerate(first))
    else:
        axes = tuple(axis for at, axis in enumerate(first) if at not in dims)
    return axes if isinstance(out, Tensor) else [axes] * len(out)


def _joined(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes:
    tensors = [x for x in argument(args, kwargs, 0, "tensors") if x.ndim == out.ndim and x.numel()]
    dim = argument(args, kwargs, 1, "dim", "axis", default=0) % out.ndim
    every = [trace.axes(x) for x in tensors]
    found = []
    for at in range(out.ndim):
        here = [axes[at] for axes in every]
        if at != dim:
            for other in here[1:]:
                if out.shape[at] > 1:
                    here[0].join(other)
            found.append(here[0])
        elif len(here) == 1:
            found.append(here[0])
        else:
            found.append(_grown_by_joining(here, [x.shape[dim] for x in tensors], out.shape[dim]))
    return tuple(found)


def _grown_by_joining(parts: list[Axis], sizes: list[int], whole: int) -> Axis:
    role = next((part.role for part in parts if part.role), None)
    new = Axis(role, {source for part in parts for source in part.sources})
    inputs = [at for at, part in enumerate(parts) if part.columns]
    if len(inputs) == 1:  # one part has the places of an input
        at = inputs[0]
        new.grow(parts[at], sum(sizes[:at]), whole - sum(sizes[: at + 1]), "joining")
    return new


def _stacked(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes:
    axes = trace.axes(argument(args, kwargs, 0, "tensors")[0])
    at = argument(args, kwargs, 1, "dim", default=0) % out.ndim
    return (*axes[:at], Axis(), *axes[at:])


def _cut(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> list[Axes]:
    """Along one axis in pieces."""
    dim = argument(args, kwargs, 2, "dim", "axis", default=0)
    x = args[0]
    return [
        tuple(axis if one.shape[at] == x.shape[at] else axis.derive() for at, axis in enumerate(first))
        for one in out
        if isinstance(dim, int)
    ]


def _without(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> Any:
    """One place of an axis (select), or each of them (unbind)."""
    dim = argument(args, kwargs, 1, "dim", default=0) % len(first)
    axes = (*first[:dim], *first[dim + 1 :])
    return axes if isinstance(out, Tensor) else [axes] * len(out)


def _resized(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes | None) -> Any:
    """As many axes as before: those whose length is another were made from the old ones (narrow, pooling,
    interpolation).
    """
    first = first or trace.axes(argument(args, kwargs, 0, "input"))
    x = args[0] if args else kwargs["input"]

    def axes(one: Tensor) -> Axes:
        return (
            tuple(axis if one.shape[at] == x.shape[at] else axis.derive() for at, axis in enumerate(first))
            if one.ndim == len(first)
            else tuple(Axis() for _ in range(one.ndim))
        )

    return axes(out) if isinstance(out, Tensor) else [axes(one) if isinstance(one, Tensor) else None for one in out]


def _reordered(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> Any:
    """As many axes as before, and the places along some of them are others (sort, gather, index_select, flip)."""

    def axes(one: Tensor) -> Axes:
        return (
            tuple(axis.derive() for axis in first) if one.ndim == len(first) else tuple(Axis() for _ in range(one.ndim))
        )

    return axes(out) if isinstance(out, Tensor) else [axes(one) if isinstance(one, Tensor) else None for one in out]


def _padded(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes:
    x = argument(args, kwargs, 0, "input")
    pad = list(argument(args, kwargs, 1, "pad"))
    found = list(trace.axes(x))
    for pair in range(len(pad) // 2):
        before, after, at = pad[2 * pair], pad[2 * pair + 1], x.ndim - 1 - pair
        if before or after:
            old = found[at]
            found[at] = old.derive()
            found[at].grow(old, before, after, "padding")
    return tuple(found)


def _pooled(axes: int) -> Rule:
    """Pooling over the last axes, which are places."""

    def rule(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes | None) -> Any:
        first = first or trace.axes(argument(args, kwargs, 0, "input"))
        for axis in first[-axes:]:
            axis.show(PLACES)
        return _resized(trace, args, kwargs, out, first)

    return rule


def _unfolded(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes | None) -> Axes:
    first = first or trace.axes(argument(args, kwargs, 0, "input"))
    if out.ndim == len(first) + 1:  # x.unfold(dimension, size, step): windows along one axis
        dim = argument(args, kwargs, 1, "dimension") % len(first)
        return (*first[:dim], first[dim].derive(PLACES), *first[dim + 1 :], Axis(None, first[dim].sources))
    return (first[0], Axis(FEATURES, first[1].sources), Axis(PLACES, first[-1].sources))  # patches of pictures


def _gated(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
    dim = argument(args, kwargs, 1, "dim", default=-1) % len(first)
    return tuple(axis.derive() if at == dim else axis for at, axis in enumerate(first))


def _indexed(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes) -> Axes | None:
    """x[...]: slices keep an axis, whole or in part; a number takes it away; None is a new one; arrays choose
    places.
    """
    x, key = args[0], args[1]
    key = list(key) if isinstance(key, tuple) else [key]
    taken = sum(
        one.ndim if isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) else 1
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
        if one is None:
            found.append(Axis())
        elif isinstance(one, slice):
            found.append(_sliced(first[axis], x.shape[axis], one))
            axis += 1
        elif isinstance(one, (Tensor, list)):
            index = torch.as_tensor(one)
            many = index.ndim if index.dtype in (torch.bool, torch.uint8) else 1
            if len(arrays) > 1 or index.ndim == 0:
                new = [Axis()] * max(index.ndim, 0) if place == arrays[0] else []
            elif many > 1 or index.dtype in (torch.bool, torch.uint8):
                new = [
                    Axis(
                        first[axis + many - 1].role,
                        {source for old in first[axis : axis + many] for source in old.sources},
                    )
                ]
            else:
                new = [first[axis].derive() for _ in range(index.ndim)]
            found += new
            axis += many
        else:
            axis += 1
    return tuple(found) if len(found) == out.ndim else tuple(Axis() for _ in range(out.ndim))


def _sliced(axis: Axis, size: int, which: slice) -> Axis:
    start, stop, step = which.indices(size)
    if (start, stop, step) == (0, size, 1):
        return axis
    grown = axis.grown
    if grown and step == 1 and start == grown[1] and stop == size - grown[2]:
        return grown[0]  # what was added is taken away again
    return axis.derive()


def _spread(trace: Known, args: Any, kwargs: Any, out: Tensor, first: Axes) -> Axes:
    """expand: axes of length 1 become longer, new ones come in front."""
    x = args[0]
    new = tuple(Axis() for _ in range(out.ndim - x.ndim))
    return (
        *new,
        *(
            axis if have == want else axis.derive()
            for axis, have, want in zip(first, x.shape, out.shape[out.ndim - x.ndim :], strict=True)
        ),
    )


def _kept(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes | None) -> Axes | None:
    """The same numbers, of another type or in another place; a second tensor is only an example."""
    return first


def _made(trace: Known, args: Any, kwargs: Any, out: Any, first: Axes | None) -> Any:
    """New numbers, aligned with nothing."""
    return tuple(Axis() for _ in range(out.ndim)) if isinstance(out, Tensor) else []


IGNORED = {
    "shape",
    "size",
    "dim",
    "ndim",
    "device",
    "dtype",
    "numel",
    "stride",
    "is_floating_point",
    "is_complex",
    "data_ptr",
    "requires_grad",
    "is_cuda",
    "layout",
    "__len__",
    "item",
    "tolist",
    "is_contiguous",
    "element_size",
    "storage",
    "untyped_storage",
    "__setitem__",
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
    "is_quantized",
    "is_nested",
    "is_sparse",
    "is_leaf",
    "grad_fn",
    "names",
    "backward",
    "numpy",
    "__repr__",
    "__format__",
    "all",
    "any",
    "equal",
    "allclose",
    "is_meta",
    "nbytes",
    "itemsize",
    "version",
}

RULES: dict[str, Rule] = {
    **dict.fromkeys(
        [
            "to",
            "type",
            "type_as",
            "clone",
            "detach",
            "contiguous",
            "copy",
            "index_add",
            "index_copy",
            "index_fill",
            "index_put",
        ],
        _kept,
    ),
    "linear": _linear,
    "bilinear": _linear,
    "embedding": _embedding,
    "embedding_bag": _made,
    **dict.fromkeys(
        ["conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution"],
        _convolution,
    ),
    **dict.fromkeys(["batch_norm", "group_norm", "prelu", "local_response_norm"], _along(1)),
    "instance_norm": _along(1, PLACES),
    "layer_norm": _layer_norm,
    "rms_norm": _layer_norm,
    **dict.fromkeys(["lstm", "gru", "rnn_tanh", "rnn_relu"], _recurrent),
    "pack_padded_sequence": _pack,
    "pad_packed_sequence": _unpack,
    "scaled_dot_product_attention": _attention,
    "multi_head_attention_forward": _multi_head,
    **dict.fromkeys(["matmul", "linalg_matmul", "bmm", "mm", "__matmul__", "mv"], _product),
    **dict.fromkeys(["addmm", "baddbmm"], _added_product),
    "__rmatmul__": lambda trace, args, kwargs, out, first: _multiplied(trace, args[1], args[0], out),
    "einsum": _einsum,
    **dict.fromkeys(["transpose", "swapaxes", "swapdims"], _permuted(_swap)),
    "permute": _permuted(_permute),
    **dict.fromkeys(["movedim", "moveaxis"], _permuted(_move)),
    **dict.fromkeys(["mT", "mH", "adjoint"], _permuted(lambda n, args, kwargs: [*range(n - 2), n - 1, n - 2])),
    **dict.fromkeys(["t", "T", "H"], _permuted(lambda n, args, kwargs: list(range(n))[::-1])),
    **dict.fromkeys(
        ["view", "reshape", "flatten", "unflatten", "view_as", "reshape_as", "ravel", "unsafe_view"], _reshaped
    ),
    "unsqueeze": _unsqueezed,
    "squeeze": _squeezed,
    **dict.fromkeys(
        [
            "mean",
            "sum",
            "amax",
            "amin",
            "prod",
            "var",
            "std",
            "logsumexp",
            "norm",
            "max",
            "min",
            "median",
            "argmax",
            "argmin",
            "var_mean",
            "std_mean",
            "nanmean",
            "nansum",
            "count_nonzero",
        ],
        _reduced,
    ),
    **dict.fromkeys(["cat", "concat", "concatenate"], _joined),
    "stack": _stacked,
    **dict.fromkeys(
        ["chunk", "split", "tensor_split", "split_with_sizes", "hsplit", "vsplit", "unsafe_split", "unsafe_chunk"], _cut
    ),
    "unbind": _without,
    "select": _without,
    **dict.fromkeys(
        [
            "narrow",
            "interpolate",
            "upsample",
            "repeat_interleave",
            "pixel_shuffle",
            "pixel_unshuffle",
            "grid_sample",
            "fold",
        ],
        _resized,
    ),
    **dict.fromkeys(
        [
            "roll",
            "fliplr",
            "flipud",
            "sort",
            "argsort",
            "topk",
            "gather",
            "index_select",
            "flip",
            "take_along_dim",
            "rot90",
            "scatter",
            "scatter_add",
        ],
        _reordered,
    ),
    # other values at the same places
    "masked_scatter": lambda trace, args, kwargs, out, first: first if len(first) == out.ndim else None,
    "pad": _padded,
    "unfold": _unfolded,
    "glu": _gated,
    "__getitem__": _indexed,
    **{
        f"{kind}_pool{k}d": _pooled(k)
        for k in (1, 2, 3)
        for kind in ("avg", "max", "adaptive_avg", "adaptive_max", "lp", "fractional_max", "boolean_dispatch")
    },
    **{f"{kind}_pool{k}d_with_indices": _pooled(k) for k in (1, 2, 3) for kind in ("max", "adaptive_max")},
    **dict.fromkeys(["expand", "expand_as", "broadcast_to"], _spread),
    **dict.fromkeys(["repeat", "tile"], _spread),
    **dict.fromkeys(
        [
            "new_zeros",
            "new_ones",
            "new_full",
            "new_empty",
            "new_tensor",
            "zeros",
            "ones",
            "full",
            "empty",
            "arange",
            "randn",
            "rand",
            "tensor",
            "as_tensor",
            "linspace",
            "eye",
            "as_strided",
            "masked_select",
            "nonzero",
            "unique",
            "bincount",
            "one_hot",
            "meshgrid",
            "inner",
            "linalg_multi_dot",
            "outer",
            "tensordot",
            "kron",
            "cdist",
            "diag",
            "diagonal",
            "tril_indices",
            "triu_indices",
        ],
        _made,
    ),
}
