"""Find which axes of the output of a layer contain samples, features and tokens: `find_layout`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from repsim_nb.inputs.batches import is_graphs
from repsim_nb.inputs.models.axes import FEATURES, PLACES, Axes, Axis, find_features, find_inputs
from repsim_nb.inputs.pooling import (
    NO_MASKS,
    Layout,
    NoSampleAxis,
    Pooling,
    explain_unknown_axis,
    explain_unlike_mask,
    is_usual_mask,
    no_sample_axis,
)

from .probe_outputs import ModuleCall, Output, Pass

UNKNOWN = "Record it with a pool function of your own, or inputs of one length"


def find_layout(call: ModuleCall, one: Pass, alone: Pass, pooling: Pooling, axis: int | None = None) -> Layout | None:
    """Find the layout of the output of a call; None if it is not known which mask applies (`output.candidates`).

    It follows from the shape in a batch, and from the shape and the origin of the axes for one sample alone.

    axis: the axis of the features, if the user gave it. ValueError if there is not one row for each sample, or if it is
    not known which axes contain features or which tokens are padding.
    """
    if pooling.own is not None:
        return Layout()
    output, single = one.given[call], alone.given.get(call)
    where = _find_samples(output, single, one, alone)
    shape, lone, axes = where.shape, where.lone, where.axes
    features = None
    if pooling.needs_axes and len(shape) > 2:
        # nothing is recorded if no sample could run alone
        features = (
            _find_feature_axes(output.shape, where, axis)
            if single is not None or axis is not None
            else (len(shape) - 1,)
        )
    output.plain, output.candidates, output.certain = Layout(where.samples, features, split=where.split), {}, False
    for name, mask in one.masks.items():
        alone_mask = alone.masks.get(name)
        fit = [
            at
            for at in range(1, len(shape))
            if _spans(shape[at], mask) and (lone is None or alone_mask is None or _spans(lone[at], alone_mask))
        ]
        if len(shape) == 2 and (lone is None or mask.all() or (lone[1] == 1 and shape[1] == len(one.samples))):
            continue  # one number, or one for each sample of the batch
        inputs = {at: _find_mask_inputs(axes, at, _columns_of_mask(name, one)) for at in fit}
        fit = [at for at in fit if inputs[at] != frozenset() and (features is None or at not in features)]
        fit = [at for at in fit if inputs[at]] or fit
        if len(fit) > 1 and len(shape) > 3:
            raise ValueError(
                f"has several axes as long as its texts, {output.shape}, so it is not known which are the tokens."
                f" {UNKNOWN}"
            )
        if fit:
            at = fit[0] if len(fit) == 1 else 2 if axes and axes[1].role == FEATURES else 1
            output.candidates[name], output.mask_inputs[name] = replace(output.plain, tokens=at, mask=name), inputs[at]
            output.certain |= _is_certain(name, inputs[at], one)
    _check_added(shape, features, axes, one, pooling)
    unclear = (
        len(shape) == 3
        and not output.candidates
        and any(not mask.all() for mask in one.masks.values())
        and not _comes_from_elsewhere(axes, one)
    )
    one_text = len(one.masks) == 1 and sum(name not in one.masks for name in one.shapes) == 1
    if unclear and one_text:  # there is one mask, and one column that it can be for
        raise ValueError(explain_unlike_mask(shape[1], [mask.shape[1] for mask in one.masks.values()]))
    by_chance = len(shape) == 2 and lone is not None and lone[1] == shape[1]  # as many features as tokens?
    if unclear or len(output.candidates) > 1 or (output.candidates and (by_chance or not output.certain)):
        return None
    if output.candidates:
        return next(iter(output.candidates.values()))  # its tokens are known, and all other axes contain features
    return layout_without_mask(output, pooling)


def layout_without_mask(output: Output, pooling: Pooling) -> Layout:
    """Return the layout without a mask; ValueError if the pool needs the axes of features and they are not certain."""
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


def _find_samples(output: Output, single: Output | None, one: Pass, alone: Pass) -> _Samples:
    """Find the axis of the samples, which is as long as each batch; ValueError if there is none.

    It is the first axis, or the second one after the tokens, (tokens, n, p).
    """
    shape, n = output.shape, len(one.samples)
    lone, axes = (single.shape, single.axes) if single is not None else (None, None)
    axes = axes if axes is not None and lone is not None and len(axes) == len(lone) else None
    if lone is None:
        if shape[:1] != (n,):
            raise _no_rows(one, shape)
        return _Samples(0, False, shape, None, None)
    following = [at for at in range(len(shape)) if len(lone) == len(shape) and (shape[at], lone[at]) == (n, 1)]
    after_places = following == [1] and len(shape) == 3 and axes is not None
    if axes and axes[0].role != PLACES:
        after_places &= any(where == 1 for _, where in axes[0].columns)
    if following[:1] == [0] or after_places:
        at = following[0]
        first = [at, *(other for other in range(len(shape)) if other != at)]
        in_batch, single_shape = (tuple(size[other] for other in first) for size in (shape, lone))
        return _Samples(at, False, in_batch, single_shape, tuple(axes[other] for other in first) if axes else None)
    pairs = [(size[1], alone.shapes[name][1]) for name, size in one.shapes.items() if name in alone.shapes]
    if len(lone) == len(shape) and any(
        shape[:1] == (n * tokens,) and lone[:1] == (tokens_alone,) for tokens, tokens_alone in pairs
    ):
        return _Samples(0, True, (n, shape[0] // n, *shape[1:]), (1, *lone), (Axis(), *axes) if axes else None)
    if shape[:1] != (n,):
        raise _no_rows(one, shape)
    if lone == shape[1:]:
        raise NoSampleAxis(
            f"has no sample axis for one sample alone: it gave shape {lone}. Does forward drop axes of length 1, as"
            " squeeze() does? Give the axis, squeeze(-1)"
        )
    raise no_sample_axis(1, lone, "for one sample alone, ")


def _no_rows(one: Pass, shape: tuple[int, ...]) -> ValueError:
    """Return the error about an output that does not have one row for each sample."""
    n, batch = len(one.samples), one.prepared
    parts = {"nodes": batch.num_nodes, "edges": batch.num_edges} if is_graphs(batch) else {}
    what = " or ".join(name for name, number in parts.items() if shape[:1] == (number,))
    if not what:
        return no_sample_axis(n, shape)
    return ValueError(
        f"has no row for each graph: its rows are {what}, {shape} for {n} graph{'s' if n > 1 else ''}. Use"
        " a layer after the place where the nodes of each graph are pooled. To compare nodes, run the model yourself"
        " and give arrays to rs.compare"
    )


def _find_feature_axes(given: tuple[int, ...], where: _Samples, axis: int | None) -> tuple[int, ...] | None:
    """Return the axes of the features: those that the user gave or one sample showed; None if they are not certain."""
    if axis is not None:
        if not -len(given) <= axis < len(given):
            raise ValueError(f"gave {given}, which has no axis {axis}")
        at = axis % len(given)
        if at == where.samples:
            raise ValueError(f"gave {given}, which has no axis {axis} of features: axis {at} contains the samples")
        return (at + 1 if where.split or at < where.samples else at,)
    return find_features(where.axes, where.lone or ()) if where.axes is not None else None


def _columns_of_mask(mask: str, one: Pass) -> set[str]:
    """Return a mask and the columns that it can be for, by their shapes."""
    return {mask, *(name for name, shape in one.shapes.items() if shape[:2] == tuple(one.masks[mask].shape))}


def _is_certain(mask: str, inputs: frozenset[str] | None, one: Pass) -> bool:
    """Return whether a mask certainly marks the padding of the places that come from these columns (inputs).

    It does if its usual name means padding and there is no other column that it could be for.
    """
    columns = _columns_of_mask(mask, one) - {mask}
    if not inputs or not is_usual_mask(mask):
        return False
    return not columns & set(one.masks) and not columns - inputs - set(NO_MASKS)


def _find_mask_inputs(axes: Axes | None, at: int, columns: set[str]) -> frozenset[str] | None:
    """Return the given inputs whose places are those along an axis.

    Empty if the places come from something else, such as weights or another input; None if that is not known.
    """
    if axes is None:
        return None
    if inputs := frozenset(name for name, where in axes[at].columns if where == 1 and name in columns):
        return inputs
    return frozenset() if axes[at].sources and not axes[at].sources & columns else None


def _comes_from_elsewhere(axes: Axes | None, one: Pass) -> bool:
    """Return whether the places of a layer (n, places, p) come from something that no mask is for."""
    columns = {column for name in one.masks for column in _columns_of_mask(name, one)}
    return (
        axes is not None
        and len(axes) == 3
        and any(_find_mask_inputs(axes, at, columns) == frozenset() for at in (1, 2) if axes[at].role != FEATURES)
    )


def _check_added(
    shape: tuple[int, ...], features: tuple[int, ...] | None, axes: Axes | None, one: Pass, pooling: Pooling
) -> None:
    """Raise ValueError if the model adds places to those of a text: padding to some multiple, or tokens of its own."""
    if axes is None or not pooling.needs_axes or len(shape) < 3:
        return
    texts = {column for mask in one.masks for column in _columns_of_mask(mask, one)}
    texts |= {
        name
        for name, size in one.shapes.items()
        if len(size) == 2 and not (one.columns[name].is_floating_point() or one.columns[name].is_complex())
    }
    for at in (at for at in range(1, len(shape)) if at not in (features or ())):
        grown = axes[at].grown
        roots = {name for name, where in find_inputs(axes[at]) if where == 1 and name in texts}
        if not grown or not roots or any(name in texts for name, _ in axes[at].columns):
            continue
        tokens = one.shapes[min(roots)][1] if min(roots) in one.shapes else one.masks[min(roots)].shape[1]
        _, before, after, how = grown
        added = " and ".join(
            f"{number} at the {end}" for number, end in ((before, "beginning"), (after, "end")) if number
        )
        raise ValueError(
            f"has {shape[at]} places where its input has {tokens} tokens: the model adds others by {how} ({added} for"
            " one sample alone). Use a pool function of your own, which leaves them out, or inputs of a length to"
            " which nothing is added."
        )


def _spans(size: int, mask: Tensor) -> bool:
    """Return whether an axis is as long as the texts, or as the longest of them, as after a packed recurrent layer."""
    return size == mask.shape[1] or (
        0 < size < mask.shape[1] and not bool(mask[:, size:].any()) and bool(mask[:, size - 1].any())
    )
