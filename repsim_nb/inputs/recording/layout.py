"""How a layer's output lies: which axes hold its samples, its features and its tokens, and which of several masks says
which tokens are real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from repsim_nb.inputs.models.axes import FEATURES, PLACES, Axes, Axis, features_of, input_of
from repsim_nb.inputs.models.running import OUTPUT, tensor_of
from repsim_nb.inputs.pooling import NO_MASKS, Layout, Pooling, is_usual, no_sample_axis, unknown_axis, unlike_mask

from .passes import Call, Output, Pass, Runner, Sizes

UNKNOWN = "Record it with a pool function of your own, or inputs of one length"


def layout_of(
    output: Output, alone: Output | None, sizes: Sizes, single: Sizes, pooling: Pooling, axis: int | None = None
) -> Layout | None:
    """From the shape in a batch and, for one sample alone, the shape and how its axes came about; None if it is not
    known which mask applies (`output.candidates`).

    axis: the axis of the features, if the user gave it.
    ValueError if there is no row a sample, if it is not known which axes hold features, or which tokens are padding.
    """
    if pooling.own is not None:
        return Layout()
    where = _samples(output, alone, sizes, single)
    shape, lone, axes = where.shape, where.lone, where.axes
    features = None
    if pooling.needs_axes and len(shape) > 2:
        features = (
            _features(output.shape, where, axis) if alone is not None or axis is not None else (len(shape) - 1,)
        )  # without a pass alone nothing is recorded
    output.plain, output.candidates, output.certain = Layout(where.samples, features, split=where.split), [], False
    for name, mask in sizes.masks.items():
        alone_mask = single.masks.get(name)
        fit = [
            at
            for at in range(1, len(shape))
            if _spans(shape[at], mask) and (lone is None or alone_mask is None or _spans(lone[at], alone_mask))
        ]
        if len(shape) == 2 and (lone is None or mask.all() or (lone[1] == 1 and shape[1] == sizes.n)):
            continue  # one number, or one for each sample of the batch
        kin = {at: _kinship(axes, at, _speaks_of(name, sizes)) for at in fit}
        fit = [at for at in fit if kin[at] is not False and (features is None or at not in features)]
        fit = [at for at in fit if kin[at]] or fit
        if len(fit) > 1 and len(shape) > 3:
            raise ValueError(
                f"has several axes as long as its texts, {output.shape}, so it is not known which are the tokens."
                f" {UNKNOWN}"
            )
        if fit:
            at = fit[0] if len(fit) == 1 else 2 if axes and axes[1].role == FEATURES else 1
            output.candidates.append(replace(output.plain, tokens=at, mask=name))
            output.kin |= {name: kin[at]}
            output.certain |= bool(kin[at]) and _is_certain(name, kin[at], sizes)
    _check_added(shape, features, axes, sizes, pooling)
    unclear = (
        len(shape) == 3
        and not output.candidates
        and any(not mask.all() for mask in sizes.masks.values())
        and not _made_otherwise(axes, sizes)
    )
    if unclear and sizes.one_text:
        raise ValueError(unlike_mask(shape[1], [mask.shape[1] for mask in sizes.masks.values()]))
    by_chance = len(shape) == 2 and lone is not None and lone[1] == shape[1]  # as many features as tokens?
    if unclear or len(output.candidates) > 1 or (output.candidates and (by_chance or not output.certain)):
        return None
    if output.candidates:
        return output.candidates[0]  # its tokens are known, and all other axes hold features
    return _certain(output, pooling)


def _certain(output: Output, pooling: Pooling) -> Layout:
    """The layout without a mask. ValueError if it is not certain which axes hold features, and the pool must know."""
    if pooling.needs_axes and len(output.shape) + output.plain.split > 2 and output.plain.features is None:
        raise ValueError(unknown_axis(output.shape))
    return output.plain


@dataclass(frozen=True)
class _Samples:
    """The axis of the samples, and the shape in a batch, the shape alone and the axes alone with the samples in front.
    split: rows were tokens.
    """

    samples: int
    split: bool
    shape: tuple[int, ...]
    lone: tuple[int, ...] | None
    axes: Axes | None


def _samples(output: Output, alone: Output | None, sizes: Sizes, single: Sizes) -> _Samples:
    """The axis of the samples is as long as each batch: the first one, or the second one after the tokens, (tokens, n,
    p). ValueError if there is none.
    """
    shape, n = output.shape, sizes.n
    lone, axes = (alone.shape, alone.axes) if alone is not None else (None, None)
    axes = axes if axes is not None and lone is not None and len(axes) == len(lone) else None
    if lone is None:
        if shape[:1] != (n,):
            raise ValueError(_no_rows(sizes, shape))
        return _Samples(0, False, shape, None, None)
    following = [at for at in range(len(shape)) if len(lone) == len(shape) and (shape[at], lone[at]) == (n, 1)]
    at = next(iter(following), None)
    if at == 0 or (
        following == [1]
        and len(shape) == 3
        and axes
        and (axes[0].role == PLACES or any(where == 1 for _, where in axes[0].columns))
    ):
        first = [at, *(other for other in range(len(shape)) if other != at)]
        moved = (tuple(one[other] for other in first) for one in (shape, lone))
        return _Samples(at, False, *moved, tuple(axes[other] for other in first) if axes else None)
    pairs = [(size[1], single.columns[name][1]) for name, size in sizes.columns.items() if name in single.columns]
    if len(lone) == len(shape) and any(
        shape[:1] == (n * tokens,) and lone[:1] == (tokens_alone,) for tokens, tokens_alone in pairs
    ):
        return _Samples(0, True, (n, shape[0] // n, *shape[1:]), (1, *lone), (Axis(), *axes) if axes else None)
    if shape[:1] != (n,):
        raise ValueError(_no_rows(sizes, shape))
    squeezed = lone == shape[1:]
    raise ValueError(
        f"has no sample axis for one sample alone: it gave shape {lone}. Does forward drop axes of length 1, as"
        " squeeze() does? Name the axis, squeeze(-1)"
        if squeezed
        else f"for one sample alone, {no_sample_axis(1, lone)}"
    )


def _no_rows(sizes: Sizes, shape: tuple[int, ...]) -> str:
    what = " or ".join(name for name, number in sizes.parts.items() if shape[:1] == (number,))
    if not what:
        return no_sample_axis(sizes.n, shape)
    return (
        f"has no row for each graph: its rows are {what}, {shape} for {sizes.n} graph{'s' if sizes.n > 1 else ''}. Use"
        " a layer after the place where the nodes of each graph are pooled; to compare nodes, call the model yourself"
        " and give arrays to rs.compare"
    )


def _features(given: tuple[int, ...], where: _Samples, axis: int | None) -> tuple[int, ...] | None:
    """The axes of the features: the one that the user gave, or those that the pass of one sample showed; None if that
    is not certain.
    """
    if axis is not None:
        if not -len(given) <= axis < len(given):
            raise ValueError(f"gave {given}, which has no axis {axis}")
        at = axis % len(given)
        if at == where.samples:
            raise ValueError(f"gave {given}, which has no axis {axis} of features: axis {at} is the samples'")
        return (at + 1 if where.split or at < where.samples else at,)
    return features_of(where.axes, where.lone) if where.axes is not None else None


def _speaks_of(mask: str, sizes: Sizes) -> set[str]:
    """The columns that a mask can speak of, and itself."""
    return {mask, *(name for name, shape in sizes.columns.items() if shape[:2] == tuple(sizes.masks[mask].shape))}


def _is_certain(mask: str, kin: frozenset[str], sizes: Sizes) -> bool:
    """Is it certain that a mask marks the padding of the places that are those of these columns (kin)?

    Its name says so, and there is no other column that it could speak of.
    """
    columns = _speaks_of(mask, sizes) - {mask}
    return is_usual(mask) and not columns & set(sizes.masks) and not columns - kin - set(NO_MASKS)


def _kinship(axes: Axes | None, at: int, columns: set[str]) -> frozenset[str] | bool | None:
    """Those of these inputs whose places are those along an axis; False if they are of something else, such as weights
    or another input; None if that is not known.
    """
    if axes is None:
        return None
    if kin := frozenset(name for name, where in axes[at].columns if where == 1 and name in columns):
        return kin
    return False if axes[at].sources and not axes[at].sources & columns else None


def _made_otherwise(axes: Axes | None, sizes: Sizes) -> bool:
    """Do the places of a layer (n, places, p) come from something that no mask speaks of?"""
    columns = {column for name in sizes.masks for column in _speaks_of(name, sizes)}
    return (
        axes is not None
        and len(axes) == 3
        and any(_kinship(axes, at, columns) is False for at in (1, 2) if axes[at].role != FEATURES)
    )


def _check_added(
    shape: tuple[int, ...], features: tuple[int, ...] | None, axes: Axes | None, sizes: Sizes, pooling: Pooling
) -> None:
    """ValueError if the model adds places to those of a text: padding to some multiple, or tokens of its own."""
    if axes is None or not pooling.needs_axes or len(shape) < 3:
        return
    for at in (at for at in range(1, len(shape)) if at not in (features or ())):
        grown, texts = (
            axes[at].grown,
            {*sizes.ids, *(column for mask in sizes.masks for column in _speaks_of(mask, sizes))},
        )
        roots = {name for name, where in input_of(axes[at]) if where == 1 and name in texts}
        if not grown or not roots or any(name in texts for name, _ in axes[at].columns):
            continue
        tokens = sizes.columns[min(roots)][1] if min(roots) in sizes.columns else sizes.masks[min(roots)].shape[1]
        _, before, after, how = grown
        added = " and ".join(
            f"{number} at the {end}" for number, end in ((before, "beginning"), (after, "end")) if number
        )
        raise ValueError(
            f"has {shape[at]} places where its input has {tokens} tokens: the model adds others by {how} ({added} for"
            " one sample alone). Use a pool function of your own, which leaves them out, or inputs of a length to"
            " which nothing is added"
        )


def _spans(size: int, mask: Tensor) -> bool:
    """Is an axis as long as the texts, or as the longest of them, as the output of a packed recurrent layer is?"""
    return size == mask.shape[1] or (
        0 < size < mask.shape[1] and not bool(mask[:, size:].any()) and bool(mask[:, size - 1].any())
    )


def resolve(
    runner: Runner, company: Pass, pooling: Pooling, take_rows: Callable[[Output, Pass], None], tolerance: float
) -> set[str]:
    """Find the mask of each layer whose sizes fit several: change the inputs at padding; the layer must change there
    only.

    -> the columns that masks speak of.  take_rows(output, pass): called once it is known how an output lies.
    """
    unclear = {
        call: output
        for call, output in company.given.items()
        if output.value is not None and output.layout is None and not output.problem
    }
    if not unclear:
        return {
            name
            for name, shape in company.sizes.columns.items()
            if any(shape[:2] == tuple(mask.shape) for mask in company.masks.values())
        }
    names = sorted({name for name, _, _ in unclear})
    columns = _columns_of_masks(runner, company)
    changed = {
        name: [_changed(runner, company, names, columns[name], where, tolerance) for where in (~mask, mask)]
        for name, mask in company.masks.items()
    }
    doubts = _doubts(runner, company, columns)
    spoken_of = {column for some in columns.values() for column in some}
    unmasked = [
        shape for name, shape in company.sizes.columns.items() if name not in spoken_of and name not in company.masks
    ]
    for call, output in unclear.items():
        try:
            if doubt := next((doubts[layout.mask] for layout in output.candidates if layout.mask in doubts), ""):
                raise ValueError(doubt)
            output.layout = _decided(call, output, company, changed, unmasked, columns, pooling)
            take_rows(output, company)
        except ValueError as error:
            output.problem = str(error)
    return spoken_of


def _decided(
    call: Call,
    output: Output,
    company: Pass,
    changed: Mapping[str, list[dict[Call, Tensor] | None]],
    unmasked: list[tuple[int, ...]],
    columns: Mapping[str, list[str]],
    pooling: Pooling,
) -> Layout:
    """unmasked: the shapes of the columns that no mask speaks of.  columns: those of which each mask speaks."""

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
            elif _is_empty_at_padding(output, layout, mask, len(company.samples)):
                empty.append(layout)
            elif not tokens.any() and output.kin[layout.mask]:
                silent.append(layout)
    found = applying or empty or ([*all_real, *silent] if output.value.ndim > 2 else [])
    with_own = any(shape[1] == output.shape[1] for shape in unmasked) if output.value.ndim > 2 else True
    if (
        not found
        and not output.candidates
        and not with_own
        and any(depends.get(name, True) and not mask.all() for name, mask in company.masks.items())
    ):
        raise ValueError(unlike_mask(output.shape[1], [mask.shape[1] for mask in company.masks.values()]))
    if (
        not found
        and output.candidates
        and output.value.ndim > 2
        and any(depends.get(layout.mask, True) and not company.masks[layout.mask].all() for layout in output.candidates)
    ):
        raise ValueError(
            f"has as many places as its texts have tokens, {tuple(output.value.shape)}, and it is not certain that they"
            f" are these tokens. {UNKNOWN}"
        )
    if not found:
        return _certain(output, pooling)
    first = found[0]
    own = [
        shape for shape in unmasked if shape[1] == company.masks[first.mask].shape[1]
    ]  # columns of that length that no mask speaks of
    of_its_columns = bool((output.kin[first.mask] or frozenset()) & {first.mask, *columns[first.mask]})
    if own and not (applying or empty or all_real or of_its_columns):
        return _certain(output, pooling)
    unclear = not (applying or empty) and (own or (unmasked and silent))
    if unclear or not all(torch.equal(company.masks[first.mask], company.masks[layout.mask]) for layout in found):
        both = " and ".join(f"'{layout.mask}'" for layout in found)
        raise ValueError(f"has tokens of which it is not known whether {both} says which are padding. {UNKNOWN}")
    return first


def _doubts(runner: Runner, company: Pass, columns: Mapping[str, list[str]]) -> dict[str, str]:
    """What speaks against reading a mask of an unusual name as one of padding: it has no effect on the model, or it
    works the other way round.
    """
    base, found = module_sums(runner, company.prepared), {}
    for name, mask in company.masks.items() if base else ():
        if is_usual(name) or mask.all():
            continue
        column = company.prepared[name]
        rename = (
            "If it marks real tokens by 1, call it 'attention_mask' (a preprocess can: lambda batch: {...}); if it"
            f" marks padding by 1, give ~{name}, or call it 'padding_mask'"
        )
        if module_sums(runner, {**company.prepared, name: torch.ones_like(column)}) == base:
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
                    module_sums(
                        runner,
                        company.prepared | {one: _with_other(company.prepared[one], where) for one in columns[name]},
                    )
                    for where in (~mask, mask)
                ),
            )
        ]
        if None not in output and output[0] == output[2] != output[1]:
            found[name] = (
                f"follows '{name}', which marks padding by 1: the output depends on what is where it is 0, and not on"
                f" what is where it is 1. {rename}"
            )
    return found


def _is_empty_at_padding(output: Output, layout: Layout, mask: Tensor, n: int) -> bool:
    """Is padding set to zero? If it is not known that the places are the tokens, exactly these must be zero."""
    holds = _by_token(output.value != 0, layout, n)
    return not bool(holds[~mask].any()) and (bool(output.kin[layout.mask]) or bool(holds[mask].all()))


def _by_token(tensor: Tensor, layout: Layout, n: int) -> Tensor:
    """Which tokens have anything true, (n, tokens)."""
    tensor = tensor.unflatten(0, (n, -1)) if layout.split else tensor.movedim(layout.samples, 0)
    tensor = tensor.movedim(layout.tokens, 1)
    return tensor.flatten(2).any(2) if tensor.ndim > 2 else tensor


def _columns_of_masks(runner: Runner, company: Pass) -> dict[str, list[str]]:
    """Which columns each mask speaks of: those of its size; of several, those whose padding has no effect where the
    mask has one, else those that reach all
    modules that the mask reaches. A column that reaches nothing, such as kinds of tokens that are all 0, decides
    nothing and counts to them.
    """
    prepared = company.prepared
    found = {
        name: [
            other
            for other, column in prepared.items()
            if other not in company.masks
            and isinstance(column, Tensor)
            and column.ndim > 1
            and column.shape[:2] == mask.shape
        ]
        for name, mask in company.masks.items()
    }
    if all(len(columns) < 2 for columns in found.values()):
        return found
    base = module_sums(runner, prepared) or {}

    def reached(name: str, column: Tensor) -> set[tuple[str, int]] | None:
        if torch.equal(column, prepared[name]):
            return set()
        sums = module_sums(runner, {**prepared, name: column})
        return None if sums is None else {call for call in base if sums.get(call) != base[call]}

    for name, columns in found.items():
        mask = company.masks[name]
        by_column = {column: reached(column, other_values(prepared[column])) for column in columns}
        for column in [
            column for column, reach in by_column.items() if reach is None
        ]:  # the model refuses such values: the last token of another sample may do
            by_column[column] = reached(column, _last_of_another(prepared[column], mask))
        by_mask = reached(name, _one_less(prepared[name], mask, "padding" in name))
        idle = [column for column, reach in by_column.items() if reach == set()]
        if by_mask is None or None in by_column.values():
            found[name] = []
            continue
        active = [column for column in columns if column not in idle]
        at_padding = {column: reached(column, _with_other(prepared[column], ~mask)) for column in active}
        without_effect = [
            column
            for column in active
            if by_mask & by_column[column] and at_padding[column] is not None and not by_mask & at_padding[column]
        ]
        fitting = without_effect or [column for column in active if by_mask <= by_column[column]]
        alike = {
            column: len(by_mask & by_column[column]) / max(len(by_mask | by_column[column]), 1) for column in active
        }
        found[name] = (fitting or [column for column in active if alike[column] == max(alike.values())]) + idle
    return found


def module_sums(runner: Runner, prepared: Any) -> dict[tuple[str, int], tuple[float, float]] | None:
    """The sums of all modules' outputs and of their absolute values, which show what reaches them; None if the model
    does not run.
    """
    found = {}

    def note(name: str, number: int, out: Any) -> None:
        with suppress(ValueError):  # no tensor
            tensor = tensor_of(out).detach().double()
            found[name, number] = float(tensor.sum()), float(tensor.abs().sum())

    _, stopped = runner(prepared, runner.parts, note)
    return None if stopped else found


def _last_of_another(column: Tensor, mask: Tensor) -> Tensor:
    """A column in which the last real token of each sample is that of the sample before it."""
    rows = torch.arange(len(mask), device=mask.device)
    last = torch.where(mask, torch.arange(mask.shape[1], device=mask.device), -1).amax(1).clamp(min=0)
    column = column.clone()
    column[rows, last] = column[rows, last].roll(1, 0)
    return column


def _one_less(column: Tensor, mask: Tensor, of_padding: bool) -> Tensor:
    """A mask's column without the last real token of each sample that has two."""
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


def _changed(
    runner: Runner, company: Pass, names: list[str], columns: list[str], where: Tensor, tolerance: float
) -> dict[Call, Tensor] | None:
    """Where the outputs change, (n, ...) of bool, when these columns of the inputs change at these places; None if
    nothing could be changed.

    A model may refuse other values of one column, such as the kinds of its tokens: then the columns change one by one.
    """
    whole = _changed_at_once(runner, company, names, columns, where, tolerance)
    if whole is not None or len(columns) < 2:
        return whole
    parts = [
        found
        for name in columns
        if (found := _changed_at_once(runner, company, names, [name], where, tolerance)) is not None
    ]
    calls = {call for found in parts for call in found}
    return (
        {call: torch.stack([found[call] for found in parts if call in found]).any(0) for call in calls}
        if parts
        else None
    )


def _changed_at_once(
    runner: Runner, company: Pass, names: list[str], columns: list[str], where: Tensor, tolerance: float
) -> dict[Call, Tensor] | None:
    """The same for all columns at once; None also if the model does not run."""
    batch = dict(company.prepared)
    for name in columns:
        batch[name] = _with_other(batch[name], where)
    if all(torch.equal(batch[name], company.prepared[name]) for name in columns):
        return None
    found = {}

    def note(name: str, number: int, out: Any) -> None:
        for part in company.parts.get((name, number), ()):
            call = name, number, part
            base = company.given[call].value
            with suppress(ValueError):
                value = tensor_of(out, part).detach()
                if base is not None and base.shape == value.shape:
                    size = float(base.double().square().mean().sqrt()) if base.is_floating_point() else 0.0
                    found[call] = (
                        (base - value).abs() > tolerance * (base.abs() + size)
                        if base.is_floating_point()
                        else base != value
                    )

    _, stopped = runner(batch, names, note)
    return None if stopped else found


def _with_other(column: Tensor, where: Tensor) -> Tensor:
    """A column with other values at these places, (n, tokens)."""
    return torch.where(where.reshape(*where.shape, *[1] * (column.ndim - 2)), other_values(column), column)


def other_values(column: Tensor) -> Tensor:
    """The same column with other values that it might hold: of integers others that occur, of floating numbers others
    of their size.
    """
    if column.is_floating_point():
        return column.roll(1, 0) * -0.7 + 0.3
    if column.dtype == torch.bool:
        return ~column
    values, which = torch.unique(column, return_inverse=True)
    return values[(which + 1) % len(values)]
