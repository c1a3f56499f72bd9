"""From what a user has to what is kept: inputs, and targets if they come along."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from repsim_nb.inputs.batches import (
    is_graph,
    is_graphs,
    is_option,
    joined_graphs,
    label_of,
    number_of,
    of_torch_geometric,
)

from .columns import Columns, Flat, joined
from .inputs import digest_of
from .pillow import GREY, colored_places, label_picture, of_pillow, picture, places

PATCHES = {
    "pixel_values": "image_grid_thw",
    "pixel_values_videos": "video_grid_thw",
}  # the patches of all pictures, and (time, height, width) of each picture


# -- batches
# -----------------------------------------------------------------------------------------------------------------


def parted(batch: Any) -> tuple[Any, Any]:
    """A batch as (inputs, targets or None): a pair is both; the column 'labels' or 'label' of a dict holds the targets,
    and stays in the inputs.
    """
    if isinstance(batch, Mapping):
        return _columns(batch)
    if isinstance(batch, list) and batch and all(map(of_pillow, batch)):
        return _array(batch, "a batch", ""), None
    if isinstance(batch, (tuple, list)) and batch and all(map(is_graph, batch)):
        return joined_graphs(batch), None
    if isinstance(batch, (tuple, list)) and not _strings(batch):
        if len(batch) not in (1, 2):
            raise ValueError(
                f"a batch is inputs, or a pair (inputs, targets); this one is a {type(batch).__name__} of {len(batch)}"
                " parts. Several inputs travel as a dict, whose names are the arguments of the model's forward"
            )
        if len(batch) == 2:
            check_pair(*batch)
        return (_inner(batch[0]), None if len(batch) == 1 else batch[1])
    return _inner(batch), None


def _columns(batch: Mapping[str, Any]) -> tuple[Any, Any]:
    """A dict: columns with a row for each sample, then labels, then options, which are the same for all samples."""
    for name, column in batch.items():
        check_dense(column)
        if not isinstance(name, str):
            raise ValueError(
                f"the columns of a dict are named as the arguments of the model's forward; got the name {name!r}, which"
                f" is {type(name).__name__}"
            )
    options = {name: value for name, value in batch.items() if is_option(value)}
    if options and len(options) == len(batch):
        name, value = next(iter(options.items()))
        raise ValueError(
            f"column '{name}' needs samples along its first axis; got {_what(value)}. One value is the same for all"
            " samples, and stands next to a column of them"
        )
    label = label_of(batch)
    columns = {
        name: _column(batch, name, column) for name, column in batch.items() if name not in options and name != label
    }
    columns = _with_flat(columns)
    targets = batch[label] if label else None
    if label and label not in options:
        columns[label] = _labels(label, targets)
    check_lengths({name: len(column) for name, column in columns.items()}, columns)
    only = next(iter(columns.values()), None)
    strings = (
        isinstance(only, list) and not options.keys() - {label} and not columns.keys() - {next(iter(columns)), label}
    )
    return (only if strings else columns | options), targets


def _column(batch: Mapping[str, Any], name: str, column: Any) -> Any:
    if not hasattr(column, "shape") and not _strings(column):
        column = _array(
            column,
            f"column '{name}'",
            "a tokenizer or a feature extractor gives such with padding=True, return_tensors='pt'",
        )
    if type(batch).__name__ == "BatchEncoding" and name == "input_ids" and len(column.shape) == 1:
        raise ValueError(
            "the tokenizer was given one text, so its ids have no samples along their first axis: give it a list,"
            " tokenizer([text, ...], padding=True)"
        )
    return unmasked(column)


def _labels(name: str, column: Any) -> Any:
    """A column of labels: an array if it can be one, else a list. What a model makes of them is its own business."""
    if hasattr(column, "shape"):
        return unmasked(column)
    if isinstance(column, Mapping) or not hasattr(column, "__len__"):
        raise ValueError(f"column '{name}' must hold a label for each sample; it is {type(column).__name__}")
    items = [label_picture(one) for one in column]
    try:
        array = np.asarray(
            [np.asarray(one) for one in items] if items and all(isinstance(one, Tensor) for one in items) else items
        )
    except (TypeError, ValueError):  # of unlike length
        return items
    return array if array.dtype.kind in "biufc" else items


def check_lengths(lengths: Mapping[str, int], columns: Mapping[str, Any]) -> None:
    """ValueError for columns of unlike length, with what to do."""
    if len(set(lengths.values())) < 2:
        return
    ones, most = [name for name, length in lengths.items() if length == 1], max(lengths.values())
    hint = ""
    if grid := next((grid for pixels, grid in PATCHES.items() if {pixels, grid} <= lengths.keys()), None):
        hint = (
            f". It holds {lengths[grid]} pictures, and their patches one after the other, so it is not known which"
            " belong to which sample. Have the processor make each batch: rs.load_model(model, preprocess=lambda rows:"
            " processor(text=[texts[row] for row in rows.tolist()], images=[images[row] for row in rows.tolist()],"
            " padding=True, return_tensors='pt')), and take np.arange(len(texts)) as the data"
        )
    elif ones:
        hint = (
            f". If '{ones[0]}' is the same for all samples, give one value and no column, {{'{ones[0]}': 10}}; else"
            f" give it {most} rows"
        )
    raise ValueError(f"a batch needs columns of one length; got {dict(lengths)}{hint}")


def _with_flat(columns: dict[str, Any]) -> dict[str, Any]:
    """Patches of pictures that lie one after the other are a column with several rows a sample, if each sample has one
    picture.
    """
    found = {}
    for pixels, grid in PATCHES.items():
        others = {len(column) for name, column in columns.items() if name not in PATCHES}
        if (
            pixels in columns
            and grid in columns
            and others == {len(columns[grid])}
            and not isinstance(columns[grid], list)
        ):
            sizes = np.asarray(columns[grid]).prod(1) if np.ndim(columns[grid]) == 2 else np.zeros(0)
            if sizes.sum() == len(columns[pixels]) != len(columns[grid]):
                found[pixels] = Flat(columns[pixels], sizes)
    return {
        name: column for name, column in columns.items() if name not in found
    } | found  # the first has a row for each sample


def check_pair(inputs: Any, targets: Any) -> None:
    """ValueError if the second of a pair is a mask: it would be left out, as targets are."""
    x, mask = (one if isinstance(one, (Tensor, np.ndarray)) else None for one in (inputs, targets))
    if x is None or mask is None or mask.ndim != 2 or tuple(x.shape[:2]) != tuple(mask.shape) or 0 in mask.shape:
        return
    x_dtype, mask_dtype = (str(one.dtype).removeprefix("torch.") for one in (x, mask))
    if not (x.ndim == 2 and x_dtype.startswith(("int", "uint"))) and x.ndim != 3:
        return
    values = np.asarray(mask.detach().cpu() if isinstance(mask, Tensor) else mask)
    steps = np.diff((values != 0).astype(np.int8), axis=1)
    at_one_end = bool((steps <= 0).all() or (steps >= 0).all())
    if at_one_end and np.isin(values, (0, 1)).all() and (x.ndim == 2 or mask_dtype == "bool"):
        raise ValueError(
            "the second of a pair are its targets, which no model is given, and these look like a mask: give a dict"
            " whose names are the arguments of the model's forward, {'input_ids': ids, 'attention_mask': mask}. If they"
            " are targets, leave them out, or give them as rs.Dataset(name, inputs, targets=...)"
        )


def check_dense(batch: Any) -> None:
    """ValueError for a nested tensor, whose samples are of unlike length and make no array, and for a sparse one."""
    if (isinstance(batch, Tensor) and batch.layout not in (torch.strided, torch.jagged)) or (
        hasattr(batch, "toarray") and hasattr(batch, "nnz")
    ):
        raise ValueError(
            "sparse inputs have no rows that a batch can be cut from: make them dense,"
            f" x.{'to_dense' if isinstance(batch, Tensor) else 'toarray'}()"
        )
    if isinstance(batch, Tensor) and batch.is_nested:
        raise ValueError(
            "nested tensors hold samples of unlike length, and rows of one length are needed: pad them,"
            " torch.nested.to_padded_tensor(x, 0.0), and give the mask along, {'x': padded, 'attention_mask': mask}"
        )


def _inner(batch: Any) -> Any:
    check_dense(batch)
    check_no_single_graph(batch)
    if isinstance(batch, Mapping) or (isinstance(batch, (tuple, list)) and batch and all(map(is_graph, batch))):
        return parted(batch)[0]
    if is_graphs(batch):
        return batch
    if isinstance(batch, (tuple, list)):
        return list(batch) if _strings(batch) else _array(batch, "a batch", "")
    if np.ndim(batch) == 0 or not hasattr(batch, "shape"):
        raise ValueError(f"a batch must hold samples along its first axis; got {_what(batch)}")
    return unmasked(batch)


def check_no_single_graph(given: Any) -> None:
    """ValueError for one graph, and for graphs that change in time."""
    if is_graph(given):
        raise ValueError(
            f"one {type(given).__name__} is one graph, and its rows are nodes, which see each other through its edges:"
            " a data set is a list of graphs, [data, ...]. To compare the nodes of one graph, call the model yourself"
            " and give what its layers return, rs.compare(measure, {'layer': array of (nodes, features), ...})"
        )
    if of_torch_geometric(given, "TemporalData"):
        raise ValueError(
            "a TemporalData holds events, which follow each other and have no rows of their own: call the model"
            " yourself and give what its layers return to rs.compare"
        )


def unmasked(array: Any) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError(
            "a masked array holds values that are not there, and a network needs them all: put some in with"
            " .filled(value)"
        )
    return array


def _what(batch: Any) -> str:
    return (
        f"one number, {batch!r}" if hasattr(batch, "shape") or isinstance(batch, (int, float)) else type(batch).__name__
    )


def _strings(items: Any) -> bool:
    return isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items)


def _array(items: Any, what: str, hint: str) -> np.ndarray:
    """A list (of lists) of numbers, or of pictures of Pillow, as one array."""
    if isinstance(items, Mapping):
        raise ValueError(
            f"{what} is a dict. Give its columns by themselves and put them into a dict in a preprocess,"
            " rs.load_model(model, preprocess=lambda batch: {...})"
        )
    if hasattr(items, "column_names"):
        raise ValueError(f"{what} is a data set of its own ({type(items).__name__}): take one of them")
    if isinstance(items, (list, tuple)) and any(map(of_pillow, items)):
        items = [np.asarray(picture(item, f"picture {number} of {what}")) for number, item in enumerate(items)]
    try:
        array = np.asarray(items)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biufc":
        advice = "" if what.startswith("column") else how_to_pad(items)
        raise ValueError(
            f"{what} must be an array, or lists of numbers of one length{f'; {hint}' if hint else ''}. This holds"
            f" {_sorts(items)}{advice}"
        )
    return array


def _sorts(items: Iterable[Any]) -> str:
    """What a list holds, in a few words: '(3, 4), (5, 4)' or 'str, int'."""

    def said(item: Any) -> str:
        if of_pillow(item):
            return f"{item.height}×{item.width} in mode {item.mode}"
        return (
            str(tuple(item.shape))
            if hasattr(item, "shape")
            else f"{len(item)} values"
            if isinstance(item, (list, tuple))
            else type(item).__name__
        )

    return ", ".join(dict.fromkeys(map(said, items)))


def how_to_pad(items: Any) -> str:
    """For samples that differ in their first axis only, such as clips of sound or ids of tokens: the lines that make
    one array of them.
    """
    items = [np.asarray(item) if _numbers(item) else item for item in items] if isinstance(items, (list, tuple)) else []
    arrays = [item for item in items if isinstance(item, (np.ndarray, Tensor))]
    shapes = {tuple(item.shape) for item in arrays}
    if (
        len(shapes) < 2
        or len(arrays) < len(items)
        or len({shape[1:] for shape in shapes}) > 1
        or len(min(shapes)) not in (1, 2)
    ):
        return ""
    if all(item.ndim == 1 and str(item.dtype).removeprefix("torch.").startswith(("int32", "int64")) for item in arrays):
        return (
            ". If they are ids of tokens, have the tokenizer pad them, tokenizer(texts, padding=True,"
            " return_tensors='pt'); for rows of ids give a DataLoader whose collate_fn pads them and returns the"
            " attention_mask, such as transformers.DataCollatorWithPadding(tokenizer)"
        )
    return (
        ". Pad them to one length, and give the mask along in a dict whose names are arguments of the model's forward:"
        " n = max(map(len, samples)); {'input_values': np.stack([np.pad(x, [(0, n - len(x))] + [(0, 0)] * (x.ndim - 1))"
        " for x in samples]), 'attention_mask': np.stack([np.arange(n) < len(x) for x in samples]).astype(int)}. For"
        " clips of sound the feature extractor of a model of transformers gives such a dict: extractor(samples,"
        " sampling_rate=16000, padding=True, return_tensors='pt')"
    )


# -- samples
# -----------------------------------------------------------------------------------------------------------------


def stacked(
    items: Sequence[Any],
    collate: Callable[[Any], Any] = default_collate,
    numbers: Sequence[Any] | None = None,
    colored: Collection[str] = (),
) -> Any:
    """Samples as one batch.

    If torch's default_collate joins them, they may also be pictures of Pillow, graphs, lists of numbers, and dicts with
    None.

    numbers: the number of each sample, for errors; None: they count within the batch.  colored: as for `picture`.
    """
    of_batch, numbers = ("", numbers) if numbers is not None else (" of a batch", range(len(items)))
    kinds = {image.mode in GREY for item in items for _, image in places(item)}
    absent: dict[str, None] = {}
    if collate is default_collate:
        firsts = [item[0] if isinstance(item, tuple) and len(item) == 2 else item for item in items]
        if firsts and all(map(is_graph, firsts)):
            return (
                joined_graphs(firsts) if firsts[0] is items[0] else (joined_graphs(firsts), [item[1] for item in items])
            )
        items = [
            _with_arrays(picture(item, f"sample {number}{of_batch}", colored))
            for number, item in zip(numbers, items, strict=True)
        ]
        if items and all(isinstance(item, dict) for item in items):
            absent = dict.fromkeys(_absent(items, numbers))
            items = [{name: part for name, part in item.items() if name not in absent} for item in items]
    try:
        batch = collate(items)
    except Exception as error:
        inner = [item[0] if isinstance(item, tuple) and item else item for item in items]
        names = next((list(part) for part in inner if isinstance(part, Mapping) and part), [])
        columns = [[part.get(name) if isinstance(part, Mapping) else part for part in inner] for name in names] or [
            inner
        ]
        parts = next((column for column in columns if len({_sorts([part]) for part in column}) > 1), columns[0])
        sorts = [_sorts([part]) for part in parts]
        odd = next((at for at, sort in enumerate(sorts) if sort != sorts[0]), None)
        which = sorts[0] if odd is None else f"sample {numbers[0]} is {sorts[0]}, sample {numbers[odd]} is {sorts[odd]}"
        mixed = " (for grey pictures next to colored ones: picture.convert('RGB'))" if len(kinds) > 1 else ""
        raise ValueError(
            f"samples cannot be stacked into one batch ({which}): {error}. Give them one shape{mixed}, or give a"
            f" DataLoader whose collate_fn joins them{how_to_pad(parts)}"
        ) from error
    return batch | absent if absent else batch


def _with_arrays(item: Any) -> Any:
    """Lists of numbers as arrays: default_collate would take what stands at one place in each list for one sample."""
    if isinstance(item, Mapping):
        return {name: _with_arrays(np.asarray(part) if _numbers(part) else part) for name, part in item.items()}
    if isinstance(item, tuple) and item:
        parts = tuple(_with_arrays(part) if isinstance(part, (list, Mapping)) else part for part in item)
        return type(item)(*parts) if hasattr(item, "_fields") else parts
    return np.asarray(item) if isinstance(item, list) and _numbers(item) else item


def _numbers(part: Any) -> bool:
    try:
        return isinstance(part, (list, tuple)) and np.asarray(part).dtype.kind in "biufc"
    except (TypeError, ValueError):  # of unlike length
        return False


def _absent(items: Sequence[dict[str, Any]], numbers: Sequence[Any]) -> list[str]:
    """The columns that are None in all samples.

    ValueError if samples have different columns: default_collate takes those of the first.
    """
    for number, item in zip(numbers, items, strict=True):
        if item.keys() != items[0].keys():
            raise ValueError(
                f"sample {number} has the columns {list(item)}, and sample {numbers[0]} has {list(items[0])}: all"
                " samples need the same"
            )
    found = []
    for name in items[0]:
        empty = [item[name] is None for item in items]
        if any(empty) and not all(empty):
            raise ValueError(
                f"column '{name}' is None in sample {numbers[empty.index(True)]}, and not in sample"
                f" {numbers[empty.index(False)]}: leave it out of all samples, or fill it in"
            )
        found += [name] if all(empty) else []
    return found


def from_list(items: Sequence[Any]) -> tuple[Any, Any]:
    """A list's items are samples: strings, numbers, arrays, pictures, graphs, dicts, or (input, target) pairs ->
    (inputs, targets or None).
    """
    if _strings(items):
        return list(items), None
    if any(isinstance(item, str) for item in items):
        at, item = next((i, item) for i, item in enumerate(items) if not isinstance(item, str))
        raise ValueError(f"a list of strings holds strings only; its item {at} is {type(item).__name__}")
    if all(map(is_graph, items)):
        return kept(list(items), None)
    if isinstance(items[0], (Tensor, Mapping, tuple)) or any(map(of_pillow, items)):
        return kept(*parted(stacked(items, numbers=range(len(items)), colored=colored_places(items))))
    return _array(items, "a list of samples", "for batches give a generator, (batch for batch in batches)"), None


def kept(inputs: Any, targets: Any) -> tuple[Any, Any]:
    """A dict of columns enters as `Columns`, and a `Batch` as a list of graphs."""
    if is_graphs(inputs):
        inputs = graphs_of(inputs)
    if isinstance(inputs, list) and inputs and is_graph(inputs[0]):
        return inputs, targets_of_graphs(inputs) if targets is None else targets
    return Columns([inputs]) if isinstance(inputs, dict) else inputs, targets


# -- batches that come one after the other
# -------------------------------------------------------------------------------------


def collected(batches: Iterable[Any], *, called: str = "") -> tuple[Any, Any]:
    """All batches, read once and kept in memory -> (inputs, targets or None).

    A str is one sample, and so is a graph. called: their type, for an error.
    """
    inputs: list[Any] = []
    targets: list[Any] = []
    for number, batch in enumerate(batches):
        one, of_one = ([batch], None) if isinstance(batch, str) or is_graph(batch) else parted(batch)
        one = graphs_of(one) if is_graphs(one) else one
        if of_one is not None and (is_option(of_one) or _count(of_one) != number_of(one)):
            raise ValueError(
                f"batch {number} needs one target per sample: its inputs are {_sorts([one])}, its targets"
                f" {_sorts([of_one])}. A generator, or a DataLoader with batch_size=None, gives batches, whose first"
                " axis is the samples"
            )
        if inputs and (type(one) is not type(inputs[0]) or (of_one is None) != (len(targets) == 0)):
            raise ValueError(
                f"batch {number} is {type(one).__name__} {'with' if of_one is not None else 'without'} targets, and"
                f" those before it are {type(inputs[0]).__name__} {'with' if targets else 'without'}: batches must be"
                " of one kind"
            )
        if inputs and hasattr(one, "shape") and tuple(one.shape[1:]) != tuple(inputs[0].shape[1:]):
            raise ValueError(
                f"batch {number} has samples of shape {tuple(one.shape[1:])}, and batch 0 of"
                f" {tuple(inputs[0].shape[1:])}: they make no one array{how_to_pad([inputs[0][0], one[0]])}"
            )
        if isinstance(one, dict) and inputs:
            check_alike(one, inputs[0], f"batch {number}", "batch 0")
        inputs.append(one)
        if of_one is not None:
            targets.append(of_one)
    if not inputs:
        raise ValueError(
            f"the {called or type(batches).__name__} gave nothing: it is empty, or it was read before (a generator can"
            " be read once only; make it anew)"
        )
    if isinstance(inputs[0], dict):
        whole = Columns(inputs)
    else:
        whole, found = kept(joined(inputs), None)
        targets = targets or ([] if found is None else [found])
    try:
        return whole, (
            joined([t if isinstance(t, (Tensor, np.ndarray)) else np.asarray(t) for t in targets]) if targets else None
        )
    except (RuntimeError, TypeError, ValueError):  # of different lengths, as a text's tokens are: no class numbers
        return whole, None


def check_alike(one: Mapping[str, Any], first: Mapping[str, Any], what: str, what_first: str) -> None:
    """ValueError if a batch has other columns than the first, or another value of what is the same for all samples."""
    if list(one) != list(first):
        raise ValueError(f"{what} has the columns {list(one)}, and {what_first} has {list(first)}")
    for name, value in one.items():
        options = is_option(value), is_option(first[name])
        if any(options) and (not all(options) or digest_of(value) != digest_of(first[name])):
            said = [repr(part) if is_option(part) else "a column" for part in (first[name], value)]
            raise ValueError(
                f"'{name}' is {said[0]} in {what_first} and {said[1]} in {what}. What is the same for all samples is"
                " one value in every batch; give others as a column, a value for each sample"
            )


def _count(targets: Any) -> int | None:
    try:
        return len(targets)
    except TypeError:  # one number
        return None


# -- graphs
# --------------------------------------------------------------------------------------------------------------------


def graphs_of(batch: Any) -> list[Any]:
    """The graphs of a `Batch`."""
    try:
        return batch.to_data_list()
    except RuntimeError as error:
        raise ValueError(f"this Batch cannot be taken apart into graphs ({error}): give a list of graphs") from error


def targets_of_graphs(graphs: Sequence[Any]) -> np.ndarray | None:
    """The `y` of each graph, if it is one number in all of them."""
    found = [getattr(graph, "y", None) for graph in graphs]
    values = [y.reshape(-1).tolist() if isinstance(y, Tensor) else [y] for y in found]
    return (
        np.asarray([value[0] for value in values])
        if all(len(value) == 1 and isinstance(value[0], (bool, int, float)) for value in values)
        else None
    )
