"""How a layer's output lies: which axis holds its tokens, and which of several masks says which of them are real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from ..models.running import tensor_of
from ..pooling import Layout, Pooling, no_sample_axis, unlike_mask
from .passes import Call, Output, Pass, Runner, Sizes

UNKNOWN = "Record it with a pool function of your own, or inputs of one length"


def layout_of(output: Output, alone: Output | None, sizes: Sizes, single: Sizes, pooling: Pooling) -> Layout | None:
    """From the shape in a batch and the shape for one sample alone; None if masks apply in more than one way (`output.candidates`).

    ValueError if there is no row a sample, or if it is not known which tokens are padding.
    """
    shape, features = output.shape, output.features
    if pooling.own is not None:
        return Layout(features)
    lone = alone.shape if alone is not None else None
    split = False
    if shape[:1] != (sizes.n,):
        pairs = [(size[1], single.columns[name][1]) for name, size in sizes.columns.items() if name in single.columns]
        split = lone is not None and any(shape[:1] == (sizes.n * tokens,) and lone[:1] == (tokens_alone,) for tokens, tokens_alone in pairs)
        if not split:
            raise ValueError(no_sample_axis(sizes.n, shape))
        shape, lone = (sizes.n, shape[0] // sizes.n, *shape[1:]), (1, *lone)
    if lone is not None and (lone[:1] != (1,) or len(lone) != len(shape)):
        squeezed = lone == shape[1:]
        raise ValueError(f"has no sample axis for one sample alone: it gave shape {lone}. Does forward drop axes of length 1, as squeeze() does? Name the axis, squeeze(-1)" if squeezed
                         else f"for one sample alone, {no_sample_axis(1, lone)}")
    output.candidates = []
    for name, mask in sizes.masks.items():
        alone_mask = single.masks.get(name)
        axes = [axis for axis in range(1, len(shape)) if _spans(shape[axis], mask) and (lone is None or alone_mask is None or _spans(lone[axis], alone_mask))]
        if len(shape) == 2 and (lone is None or mask.all() or (lone[1] == 1 and shape[1] == sizes.n)):
            continue  # one number, or one for each sample of the batch
        if len(axes) > 1 and len(shape) > 3:
            raise ValueError(f"has several axes as long as its texts, {output.shape}, so it is not known which are the tokens. {UNKNOWN}")
        if axes:
            output.candidates.append(Layout(features, axes[0] if len(axes) == 1 else 2 if features == 1 else 1, name, split))
    unclear = len(shape) == 3 and not output.candidates and any(not mask.all() for mask in sizes.masks.values())
    if unclear and sizes.one_text:
        raise ValueError(unlike_mask(shape[1], [mask.shape[1] for mask in sizes.masks.values()]))
    by_chance = len(shape) == 2 and lone is not None and lone[1] == shape[1]  # as many features as tokens?
    if unclear or len(output.candidates) > 1 or (output.candidates and (by_chance or not sizes.one_text)):
        return None
    return output.candidates[0] if output.candidates else Layout(features, split=split)


def _spans(size: int, mask: Tensor) -> bool:
    """Is an axis as long as the texts, or as the longest of them, as the output of a packed recurrent layer is?"""
    return size == mask.shape[1] or (0 < size < mask.shape[1] and not bool(mask[:, size:].any()) and bool(mask[:, size - 1].any()))


def resolve(runner: Runner, company: Pass, take_rows: Callable[[Output, Pass], None], tolerance: float) -> set[str]:
    """Find the mask of each layer whose sizes fit several: change the inputs at padding; the layer must change there only.

    -> the columns that masks speak of.  take_rows(output, pass): called once it is known how an output lies.
    """
    unclear = {call: output for call, output in company.given.items() if output.value is not None and output.layout is None and not output.problem}
    if not unclear:
        return {name for name, shape in company.sizes.columns.items() if any(shape[:2] == tuple(mask.shape) for mask in company.masks.values())}
    names = sorted({name for name, _ in unclear})
    columns = _columns_of_masks(runner, company)
    changed = {name: [_changed(runner, company, names, columns[name], where, tolerance) for where in (~mask, mask)] for name, mask in company.masks.items()}
    spoken_of = {column for some in columns.values() for column in some}
    unmasked = [shape for name, shape in company.sizes.columns.items() if name not in spoken_of and name not in company.masks]
    for call, output in unclear.items():
        try:
            output.layout = _decided(call, output, company, changed, unmasked)
            take_rows(output, company)
        except ValueError as error:
            output.problem = str(error)
    return spoken_of


def _decided(
    call: Call, output: Output, company: Pass, changed: Mapping[str, list[dict[Call, Tensor] | None]], unmasked: list[tuple[int, ...]]
) -> Layout:
    """unmasked: the shapes of the columns that no mask speaks of."""
    def moved(name: str, real: bool) -> Tensor | None:
        found = changed[name][real]
        return None if found is None else found.get(call)

    depends = {name: bool(some.any()) for name in company.masks if (some := moved(name, True)) is not None}
    applying, empty, all_real, silent = [], [], [], []
    for layout in output.candidates:
        mask, at_padding = company.masks[layout.mask], moved(layout.mask, False)
        if depends.get(layout.mask) is False:
            continue
        if mask.all():
            all_real.append(layout)
        elif at_padding is not None:
            tokens = _by_token(at_padding, layout, len(company.samples))
            mask = mask[:, : tokens.shape[1]]
            if tokens.any() and not bool((tokens & mask).any()):
                applying.append(layout)
            elif not _by_token(output.value != 0, layout, len(company.samples))[~mask].any():
                empty.append(layout)  # padding is set to zero
            elif not tokens.any():
                silent.append(layout)
    found = applying or empty or ([*all_real, *silent] if output.value.ndim > 2 else [])
    with_own = any(shape[1] == output.shape[1] for shape in unmasked) if output.value.ndim > 2 else True
    if not found and not output.candidates and not with_own and any(depends.get(name, True) and not mask.all() for name, mask in company.masks.items()):
        raise ValueError(unlike_mask(output.shape[1], [mask.shape[1] for mask in company.masks.values()]))
    if not found:
        return Layout(output.features, split=any(layout.split for layout in output.candidates))
    first = found[0]
    own = [shape for shape in unmasked if shape[1] == company.masks[first.mask].shape[1]]  # columns of that length that no mask speaks of
    if own and not (applying or empty or all_real):
        return Layout(output.features, split=first.split)
    unclear = not (applying or empty) and (own or (unmasked and silent))
    if unclear or not all(torch.equal(company.masks[first.mask], company.masks[layout.mask]) for layout in found):
        both = " and ".join(f"'{layout.mask}'" for layout in found)
        raise ValueError(f"has tokens of which it is not known whether {both} says which are padding. {UNKNOWN}")
    return first


def _by_token(tensor: Tensor, layout: Layout, n: int) -> Tensor:
    """Which tokens have anything true, (n, tokens)."""
    tensor = tensor.unflatten(0, (n, -1)) if layout.split else tensor
    tensor = tensor.movedim(layout.tokens, 1)
    return tensor.flatten(2).any(2) if tensor.ndim > 2 else tensor


def _columns_of_masks(runner: Runner, company: Pass) -> dict[str, list[str]]:
    """Which columns each mask speaks of: those of its size; of several, those whose padding has no effect where the mask has one, else those that reach all
    modules that the mask reaches."""
    prepared = company.prepared
    found = {name: [other for other, column in prepared.items() if other not in company.masks and isinstance(column, Tensor) and column.ndim > 1 and column.shape[:2] == mask.shape]
             for name, mask in company.masks.items()}  # fmt: skip
    if all(len(columns) < 2 for columns in found.values()):
        return found
    base = _sums(runner, prepared)

    def reached(name: str, column: Tensor) -> set[Call]:
        sums = _sums(runner, {**prepared, name: column})
        return {call for call in base if sums.get(call) != base[call]}

    by_column = {name: reached(name, _other(prepared[name])) for name in {column for columns in found.values() for column in columns}}
    for name, columns in found.items():
        mask = company.masks[name]
        by_mask = reached(name, _one_less(prepared[name], mask, "padding" in name))
        without_effect = [column for column in columns if by_mask and not by_mask & reached(column, _with_other(prepared[column], ~mask))]
        fitting = without_effect or [column for column in columns if by_mask <= by_column[column]]
        alike = {column: len(by_mask & by_column[column]) / max(len(by_mask | by_column[column]), 1) for column in columns}
        found[name] = fitting or [column for column in columns if alike[column] == max(alike.values())]
    return found


def _sums(runner: Runner, prepared: Any) -> dict[Call, tuple[float, float]]:
    """The sums of all modules' outputs and of their absolute values, which show what reaches them."""
    found = {}

    def note(call: Call, out: Any) -> None:
        with suppress(ValueError):  # no tensor
            tensor = tensor_of(out).detach().double()
            found[call] = float(tensor.sum()), float(tensor.abs().sum())

    runner(prepared, runner.parts, note)
    return found


def _one_less(column: Tensor, mask: Tensor, of_padding: bool) -> Tensor:
    """A mask's column without the last real token of each sample that has two."""
    column = column.clone()
    if column.ndim == 1:
        return torch.where(column > 1, column - 1, column)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = places == torch.where(mask, places, -1).amax(1, keepdim=True)
    last &= mask.sum(1, keepdim=True) > 1
    return column.masked_fill(last, torch.finfo(column.dtype).min if column.is_floating_point() and bool((column <= 0).all()) else int(of_padding))


def _changed(
    runner: Runner, company: Pass, names: list[str], columns: list[str], where: Tensor, tolerance: float
) -> dict[Call, Tensor] | None:
    """Where the outputs change, (n, ...) of bool, when these columns of the inputs change at these places; None if nothing could be changed."""
    batch = dict(company.prepared)
    for name in columns:
        batch[name] = _with_other(batch[name], where)
    if all(torch.equal(batch[name], company.prepared[name]) for name in columns):
        return None
    found = {}

    def note(call: Call, out: Any) -> None:
        base = company.given[call].value if call in company.given else None
        with suppress(ValueError):
            value = tensor_of(out).detach()
            if base is not None and base.shape == value.shape:
                size = float(base.double().square().mean().sqrt()) if base.is_floating_point() else 0.0
                found[call] = (base - value).abs() > tolerance * (base.abs() + size) if base.is_floating_point() else base != value

    runner(batch, names, note)
    return found


def _with_other(column: Tensor, where: Tensor) -> Tensor:
    """A column with other values at these places, (n, tokens)."""
    return torch.where(where.reshape(*where.shape, *[1] * (column.ndim - 2)), _other(column), column)


def _other(column: Tensor) -> Tensor:
    """The same column with other values that it might hold: of integers others that occur, of floating numbers others of their size."""
    if column.is_floating_point():
        return column.roll(1, 0) * -0.7 + 0.3
    if column.dtype == torch.bool:
        return ~column
    values, which = torch.unique(column, return_inverse=True)
    return values[(which + 1) % len(values)]
