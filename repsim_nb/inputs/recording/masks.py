"""Find which of several masks marks the real tokens of a layer: change the inputs, and see where the outputs change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from repsim_nb.inputs.models.running import OUTPUT, find_tensor
from repsim_nb.inputs.pooling import Layout, Pooling, explain_unlike_mask, is_usual_mask

from .output_axes import UNKNOWN, layout_without_mask
from .probe_outputs import ModuleCall, Output, Pass, Runner


def resolve_masks(
    runner: Runner, reference: Pass, pooling: Pooling, take_rows: Callable[[Output, Pass], None], tolerance: float
) -> set[str]:
    """Find the mask of each layer whose shape fits several, and return the columns that masks are for.

    Inputs are changed at padding; the layer must change there only. take_rows(output, pass) is called once the layout
    of an output is known.
    """
    unclear = {
        call: output
        for call, output in reference.given.items()
        if output.value is not None and output.layout is None and not output.problem
    }
    if not unclear:
        return {
            name
            for name, shape in reference.shapes.items()
            if any(shape[:2] == tuple(mask.shape) for mask in reference.masks.values())
        }
    names = sorted({name for name, _, _ in unclear})
    columns = _find_columns_of_masks(runner, reference)
    changed = {
        name: [_find_changes(runner, reference, names, columns[name], where, tolerance) for where in (~mask, mask)]
        for name, mask in reference.masks.items()
    }
    doubts = _find_doubts(runner, reference, columns)
    with_mask = {column for some in columns.values() for column in some}
    unmasked = [
        shape for name, shape in reference.shapes.items() if name not in with_mask and name not in reference.masks
    ]
    for call, output in unclear.items():
        try:
            if doubt := next((doubts[name] for name in output.candidates if name in doubts), ""):
                raise ValueError(doubt)
            moved = {name: [found.get(call) if found else None for found in both] for name, both in changed.items()}
            output.layout = _decide(output, reference, moved, unmasked, columns) or layout_without_mask(output, pooling)
            take_rows(output, reference)
        except ValueError as error:
            output.refuse(error)
    return with_mask


def _decide(
    output: Output,
    reference: Pass,
    moved: Mapping[str, list[Tensor | None]],
    unmasked: list[tuple[int, ...]],
    columns: Mapping[str, list[str]],
) -> Layout | None:
    """Return the layout of an output; None if no mask applies to it.

    moved: {mask: where the output changes if padding changes, and if real tokens do}.  unmasked: the shapes of the
    columns that no mask is for.  columns: {mask: the columns that it is for}.
    """
    n, shape = len(reference.samples), tuple(output.value.shape) if output.value is not None else ()
    depends = {name: bool(at_tokens.any()) for name, (_, at_tokens) in moved.items() if at_tokens is not None}
    applying, empty, all_real, without_effect = [], [], [], []
    for name, layout in output.candidates.items():
        mask, (at_padding, _) = reference.masks[name], moved[name]
        if depends.get(name) is False:
            continue
        if mask.all():
            all_real.append(name)
        elif at_padding is not None:
            tokens = _by_token(at_padding, layout, n)
            mask = mask[:, : tokens.shape[1]]
            if tokens.any() and not bool((tokens & mask).any()):
                applying.append(name)
            elif output.value is not None and _is_empty_at_padding(
                output.value, layout, mask, bool(output.mask_inputs[name])
            ):
                empty.append(name)
            elif not tokens.any() and output.mask_inputs[name]:
                without_effect.append(name)
    found = applying or empty or ([*all_real, *without_effect] if len(shape) > 2 else [])
    if not found:
        may_apply = {name for name, mask in reference.masks.items() if depends.get(name, True) and not mask.all()}
        if len(shape) > 2 and may_apply & output.candidates.keys():
            raise ValueError(
                f"has as many places as its texts have tokens, {shape}, and it is not certain that they are these"
                f" tokens. {UNKNOWN}"
            )
        with_own = len(shape) < 3 or any(column[1] == output.shape[1] for column in unmasked)
        if may_apply and not output.candidates and not with_own:
            raise ValueError(explain_unlike_mask(output.shape[1], [mask.shape[1] for mask in reference.masks.values()]))
        return None
    first = reference.masks[found[0]]
    own = [column for column in unmasked if column[1] == first.shape[1]]  # as long, and no mask is for them
    of_its_columns = bool((output.mask_inputs[found[0]] or frozenset()) & {found[0], *columns[found[0]]})
    if own and not (applying or empty or all_real or of_its_columns):
        return None
    unclear = not (applying or empty) and (own or (unmasked and without_effect))
    if unclear or not all(torch.equal(first, reference.masks[name]) for name in found):
        both = " and ".join(f"'{name}'" for name in found)
        raise ValueError(f"has tokens, and it is not known whether {both} marks which are padding. {UNKNOWN}")
    return output.candidates[found[0]]


def _find_doubts(runner: Runner, reference: Pass, columns: Mapping[str, list[str]]) -> dict[str, str]:
    """Return reasons against reading a mask with an unusual name as one of padding.

    Either it has no effect on the model, or it marks padding by 1.
    """
    base, found = sum_outputs(runner, reference.prepared), {}
    for name, mask in reference.masks.items() if base else ():
        if is_usual_mask(name) or mask.all():
            continue
        column = reference.prepared[name]
        rename = (
            "If it marks real tokens by 1, call it 'attention_mask' (a preprocess can: lambda batch: {...}); if it"
            f" marks padding by 1, give ~{name}, or call it 'padding_mask'"
        )
        if sum_outputs(runner, {**reference.prepared, name: torch.ones_like(column)}) == base:
            found[name] = (
                f"has places that '{name}' may mark, and it is not certain that this is a mask of padding: nothing in"
                f" the model depends on it. {rename}; else leave it out"
            )
            continue
        output = [
            sums.get((OUTPUT, 1)) if sums else None
            for sums in (
                base,
                *(
                    sum_outputs(
                        runner,
                        reference.prepared
                        | {one: _change_where(reference.prepared[one], where) for one in columns[name]},
                    )
                    for where in (~mask, mask)
                ),
            )
        ]
        if None not in output and output[0] == output[2] != output[1]:
            found[name] = (
                f"follows '{name}', which marks padding by 1: the output depends on the inputs at 0, and not on those"
                f" at 1. {rename}"
            )
    return found


def _is_empty_at_padding(value: Tensor, layout: Layout, mask: Tensor, of_tokens: bool) -> bool:
    """Return whether an output is zero at padding.

    Unless it is known that the places are the tokens, exactly the padding must be zero.
    """
    holds = _by_token(value.ne(0), layout, len(mask))
    return not bool(holds[~mask].any()) and (of_tokens or bool(holds[mask].all()))


def _by_token(tensor: Tensor, layout: Layout, n: int) -> Tensor:
    """Return which tokens have a true value anywhere, (n, tokens)."""
    assert layout.tokens is not None  # the layout has a mask
    tensor = tensor.unflatten(0, (n, -1)) if layout.split else tensor.movedim(layout.samples, 0)
    tensor = tensor.movedim(layout.tokens, 1)
    return tensor.flatten(2).any(2) if tensor.ndim > 2 else tensor


def _find_columns_of_masks(runner: Runner, reference: Pass) -> dict[str, list[str]]:
    """Find the columns that each mask is for.

    They are the columns of its size. If there are several: those whose padding has no effect at modules that the mask
    reaches, else those that reach all modules that the mask reaches. A column that reaches nothing, such as kinds of
    tokens that are all 0, decides nothing and counts as one of them.
    """
    prepared = reference.prepared
    found = {
        name: [
            other
            for other, column in prepared.items()
            if other not in reference.masks
            and isinstance(column, Tensor)
            and column.ndim > 1
            and column.shape[:2] == mask.shape
        ]
        for name, mask in reference.masks.items()
    }
    if all(len(columns) < 2 for columns in found.values()):
        return found
    base = sum_outputs(runner, prepared) or {}

    def reached(name: str, column: Tensor) -> set[tuple[str, int]] | None:
        if torch.equal(column, prepared[name]):
            return set()
        sums = sum_outputs(runner, {**prepared, name: column})
        return None if sums is None else {call for call in base if sums.get(call) != base[call]}

    for name, columns in found.items():
        mask = reference.masks[name]
        by_column = {}
        for column in columns:
            reach = reached(column, change_values(prepared[column]))
            if reach is None:  # the model refuses these values; try the last token of another sample
                reach = reached(column, _swap_last_tokens(prepared[column], mask))
            if reach is not None:
                by_column[column] = reach
        by_mask = reached(name, _shorten_mask(prepared[name], mask, "padding" in name))
        if by_mask is None or len(by_column) < len(columns):
            found[name] = []
            continue
        active = {column: reach for column, reach in by_column.items() if reach}
        without_effect = [
            column
            for column, reach in active.items()
            if (at_padding := reached(column, _change_where(prepared[column], ~mask))) is not None
            and by_mask & reach
            and not by_mask & at_padding
        ]
        fitting = without_effect or [column for column, reach in active.items() if by_mask <= reach]
        alike = {column: len(by_mask & reach) / max(len(by_mask | reach), 1) for column, reach in active.items()}
        fitting = fitting or [column for column in active if alike[column] == max(alike.values())]
        found[name] = [*fitting, *(column for column in columns if column not in active)]
    return found


def sum_outputs(runner: Runner, prepared: Any) -> dict[tuple[str, int], tuple[float, float]] | None:
    """Return the sums of the outputs of all modules and of their absolute values, which show what reaches them.

    None if the model does not run.
    """
    found = {}

    def note(name: str, number: int, out: Any) -> None:
        with suppress(ValueError):  # the output has no tensor
            tensor = find_tensor(out).detach().double()
            found[name, number] = float(tensor.sum()), float(tensor.abs().sum())

    _, stopped = runner(prepared, runner.parts, note)
    return None if stopped else found


def _swap_last_tokens(column: Tensor, mask: Tensor) -> Tensor:
    """Return a column in which the last real token of each sample is that of the sample before it."""
    rows = torch.arange(len(mask), device=mask.device)
    last = torch.where(mask, torch.arange(mask.shape[1], device=mask.device), -1).amax(1).clamp(min=0)
    column = column.clone()
    column[rows, last] = column[rows, last].roll(1, 0)
    return column


def _shorten_mask(column: Tensor, mask: Tensor, of_padding: bool) -> Tensor:
    """Return the column of a mask without the last real token of each sample that has two."""
    column = column.clone()
    if column.ndim == 1:
        return torch.where(column > 1, column - 1, column)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = places == torch.where(mask, places, -1).amax(1, keepdim=True)
    last &= mask.sum(1, keepdim=True) > 1
    last = last.reshape(len(mask), *[1] * (column.ndim - 2), mask.shape[1])
    return column.masked_fill(
        last,
        torch.finfo(column.dtype).min if column.is_floating_point() and bool((column <= 0).all()) else int(of_padding),
    )


def _find_changes(
    runner: Runner, reference: Pass, names: list[str], columns: list[str], where: Tensor, tolerance: float
) -> dict[ModuleCall, Tensor] | None:
    """Return where outputs change, (n, ...) of bool, if these columns of the inputs change at these places.

    None if nothing could be changed. A model may refuse other values of one column, such as the kinds of its tokens:
    then the columns change one by one.
    """
    whole = _find_changes_at_once(runner, reference, names, columns, where, tolerance)
    if whole is not None or len(columns) < 2:
        return whole
    parts = [
        found
        for name in columns
        if (found := _find_changes_at_once(runner, reference, names, [name], where, tolerance)) is not None
    ]
    calls = {call for found in parts for call in found}
    return (
        {call: torch.stack([found[call] for found in parts if call in found]).any(0) for call in calls}
        if parts
        else None
    )


def _find_changes_at_once(
    runner: Runner, reference: Pass, names: list[str], columns: list[str], where: Tensor, tolerance: float
) -> dict[ModuleCall, Tensor] | None:
    """Return the same for all columns at once; None also if the model does not run."""
    batch = dict(reference.prepared)
    for name in columns:
        batch[name] = _change_where(batch[name], where)
    if all(torch.equal(batch[name], reference.prepared[name]) for name in columns):
        return None
    found = {}

    def note(name: str, number: int, out: Any) -> None:
        for part in reference.parts.get((name, number), ()):
            call = name, number, part
            base = reference.given[call].value
            with suppress(ValueError):
                value = find_tensor(out, part).detach()
                if base is not None and base.shape == value.shape:
                    size = float(base.double().square().mean().sqrt()) if base.is_floating_point() else 0.0
                    found[call] = (
                        (base - value).abs() > tolerance * (base.abs() + size)
                        if base.is_floating_point()
                        else base != value
                    )

    _, stopped = runner(batch, names, note)
    return None if stopped else found


def _change_where(column: Tensor, where: Tensor) -> Tensor:
    """Return a column with other values at these places, (n, tokens)."""
    return torch.where(where.reshape(*where.shape, *[1] * (column.ndim - 2)), change_values(column), column)


def change_values(column: Tensor) -> Tensor:
    """Return the same column with other values that it might have.

    Integers become others that occur, floating numbers others of their size.
    """
    if column.is_floating_point():
        return column.roll(1, 0) * -0.7 + 0.3
    if column.dtype == torch.bool:
        return ~column
    values, which = torch.unique(column, return_inverse=True)
    return values[(which + 1) % len(values)]
