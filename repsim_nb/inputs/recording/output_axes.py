"""Which axes of a layer's output hold its samples, its features and its tokens: `find_layout`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from repsim_nb.inputs.models.axes import FEATURES, PLACES, Axes, Axis, find_features, find_inputs
from repsim_nb.inputs.pooling import (
    NO_MASKS,
    Layout,
    Pooling,
    explain_no_sample_axis,
    explain_unknown_axis,
    explain_unlike_mask,
    is_usual_mask,
)

from .probe_outputs import Output, Sizes

UNKNOWN = "Record it with a pool function of your own, or inputs of one length"


def find_layout(
    output: Output, alone: Output | None, sizes: Sizes, single: Sizes, pooling: Pooling, axis: int | None = None
) -> Layout | None:
    """From the shape in a batch and, for one sample alone, the shape and how its axes came about; None if it is not
    known which mask applies (`output.candidates`).

    axis: the axis of the features, if the user gave it.
    ValueError if there is no row a sample, if it is not known which axes hold features, or which tokens are padding.
    """
    if pooling.own is not None:
        return Layout()
    where = _find_samples(output, alone, sizes, single)
    shape, lone, axes = where.shape, where.lone, where.axes
    features = None
    if pooling.needs_axes and len(shape) > 2:
        features = (
            _find_feature_axes(output.shape, where, axis)
            if alone is not None or axis is not None
            else (len(shape) - 1,)
        )  # without a pass alone nothing is recorded
    output.plain, output.candidates, output.certain = Layout(where.samples, features, split=where.split), {}, False
    for name, mask in sizes.masks.items():
        alone_mask = single.masks.get(name)
        fit = [
            at
            for at in range(1, len(shape))
            if _spans(shape[at], mask) and (lone is None or alone_mask is None or _spans(lone[at], alone_mask))
        ]
        if len(shape) == 2 and (lone is None or mask.all() or (lone[1] == 1 and shape[1] == sizes.n)):
            continue  # one number, or one for each sample of the batch
        kin = {at: _find_kinship(axes, at, columns_of_mask(name, sizes)) for at in fit}
        fit = [at for at in fit if kin[at] != frozenset() and (features is None or at not in features)]
        fit = [at for at in fit if kin[at]] or fit
        if len(fit) > 1 and len(shape) > 3:
            raise ValueError(
                f"has several axes as long as its texts, {output.shape}, so it is not known which are the tokens."
                f" {UNKNOWN}"
            )
        if fit:
            at = fit[0] if len(fit) == 1 else 2 if axes and axes[1].role == FEATURES else 1
            output.candidates[name], output.kin[name] = replace(output.plain, tokens=at, mask=name), kin[at]
            output.certain |= _is_certain(name, kin[at], sizes)
    _check_added(shape, features, axes, sizes, pooling)
    unclear = (
        len(shape) == 3
        and not output.candidates
        and any(not mask.all() for mask in sizes.masks.values())
        and not _comes_from_elsewhere(axes, sizes)
    )
    if unclear and sizes.one_text:
        raise ValueError(explain_unlike_mask(shape[1], [mask.shape[1] for mask in sizes.masks.values()]))
    by_chance = len(shape) == 2 and lone is not None and lone[1] == shape[1]  # as many features as tokens?
    if unclear or len(output.candidates) > 1 or (output.candidates and (by_chance or not output.certain)):
        return None
    if output.candidates:
        return next(iter(output.candidates.values()))  # its tokens are known, and all other axes hold features
    return layout_without_mask(output, pooling)


def layout_without_mask(output: Output, pooling: Pooling) -> Layout:
    """The layout without a mask. ValueError if it is not certain which axes hold features, and the pool must know."""
    if pooling.needs_axes and len(output.shape) + output.plain.split > 2 and output.plain.features is None:
        raise ValueError(explain_unknown_axis(output.shape))
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


def _find_samples(output: Output, alone: Output | None, sizes: Sizes, single: Sizes) -> _Samples:
    """The axis of the samples is as long as each batch: the first one, or the second one after the tokens, (tokens, n,
    p). ValueError if there is none.
    """
    shape, n = output.shape, sizes.n
    lone, axes = (alone.shape, alone.axes) if alone is not None else (None, None)
    axes = axes if axes is not None and lone is not None and len(axes) == len(lone) else None
    if lone is None:
        if shape[:1] != (n,):
            raise ValueError(_explain_no_rows(sizes, shape))
        return _Samples(0, False, shape, None, None)
    following = [at for at in range(len(shape)) if len(lone) == len(shape) and (shape[at], lone[at]) == (n, 1)]
    after_places = following == [1] and len(shape) == 3 and axes is not None
    if axes and axes[0].role != PLACES:
        after_places &= any(where == 1 for _, where in axes[0].columns)
    if following[:1] == [0] or after_places:
        at = following[0]
        first = [at, *(other for other in range(len(shape)) if other != at)]
        in_batch, single_shape = (tuple(one[other] for other in first) for one in (shape, lone))
        return _Samples(at, False, in_batch, single_shape, tuple(axes[other] for other in first) if axes else None)
    pairs = [(size[1], single.columns[name][1]) for name, size in sizes.columns.items() if name in single.columns]
    if len(lone) == len(shape) and any(
        shape[:1] == (n * tokens,) and lone[:1] == (tokens_alone,) for tokens, tokens_alone in pairs
    ):
        return _Samples(0, True, (n, shape[0] // n, *shape[1:]), (1, *lone), (Axis(), *axes) if axes else None)
    if shape[:1] != (n,):
        raise ValueError(_explain_no_rows(sizes, shape))
    squeezed = lone == shape[1:]
    raise ValueError(
        f"has no sample axis for one sample alone: it gave shape {lone}. Does forward drop axes of length 1, as"
        " squeeze() does? Name the axis, squeeze(-1)"
        if squeezed
        else f"for one sample alone, {explain_no_sample_axis(1, lone)}"
    )


def _explain_no_rows(sizes: Sizes, shape: tuple[int, ...]) -> str:
    what = " or ".join(name for name, number in sizes.parts.items() if shape[:1] == (number,))
    if not what:
        return explain_no_sample_axis(sizes.n, shape)
    return (
        f"has no row for each graph: its rows are {what}, {shape} for {sizes.n} graph{'s' if sizes.n > 1 else ''}. Use"
        " a layer after the place where the nodes of each graph are pooled; to compare nodes, call the model yourself"
        " and give arrays to rs.compare"
    )


def _find_feature_axes(given: tuple[int, ...], where: _Samples, axis: int | None) -> tuple[int, ...] | None:
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
    return find_features(where.axes, where.lone or ()) if where.axes is not None else None


def columns_of_mask(mask: str, sizes: Sizes) -> set[str]:
    """The columns that a mask can speak of, and itself."""
    return {mask, *(name for name, shape in sizes.columns.items() if shape[:2] == tuple(sizes.masks[mask].shape))}


def _is_certain(mask: str, kin: frozenset[str] | None, sizes: Sizes) -> bool:
    """Is it certain that a mask marks the padding of the places that are those of these columns (kin)?

    Its name says so, and there is no other column that it could speak of.
    """
    columns = columns_of_mask(mask, sizes) - {mask}
    if not kin or not is_usual_mask(mask):
        return False
    return not columns & set(sizes.masks) and not columns - kin - set(NO_MASKS)


def _find_kinship(axes: Axes | None, at: int, columns: set[str]) -> frozenset[str] | None:
    """Those of these inputs whose places are those along an axis; none of them if they are of something else, such as
    weights or another input; None if that is not known.
    """
    if axes is None:
        return None
    if kin := frozenset(name for name, where in axes[at].columns if where == 1 and name in columns):
        return kin
    return frozenset() if axes[at].sources and not axes[at].sources & columns else None


def _comes_from_elsewhere(axes: Axes | None, sizes: Sizes) -> bool:
    """Do the places of a layer (n, places, p) come from something that no mask speaks of?"""
    columns = {column for name in sizes.masks for column in columns_of_mask(name, sizes)}
    return (
        axes is not None
        and len(axes) == 3
        and any(_find_kinship(axes, at, columns) == frozenset() for at in (1, 2) if axes[at].role != FEATURES)
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
            {*sizes.ids, *(column for mask in sizes.masks for column in columns_of_mask(mask, sizes))},
        )
        roots = {name for name, where in find_inputs(axes[at]) if where == 1 and name in texts}
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
