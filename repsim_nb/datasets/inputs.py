"""What inputs can be: arrays and strings as they are, columns of a tokenizer, batches that came once, or samples read when they are asked for."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

PIECE = 1 << 26  # bytes hashed at a time, so that a memory-mapped array is never whole in memory
SAMPLES = 16  # how many samples of a lazily read set its fingerprint reads
GREY = {"1", "L", "LA", "La"}  # the modes of Pillow without color
DEEP = {"F", "I"}  # those with more than 8 bits, beside all that begin with "I;"


def fingerprint_inputs(inputs: Any) -> str:
    """A hash of the inputs' type, shape and bytes; of those read lazily, what their own `fingerprint` says."""
    if isinstance(inputs, Inputs):
        return inputs.fingerprint()
    if isinstance(inputs, list):
        digest = hashlib.blake2b(digest_size=16)
        for text in inputs:
            raw = str(text).encode(errors="surrogatepass")
            digest.update(b"%d " % len(raw) + raw)
        return digest.hexdigest()
    if isinstance(inputs, Tensor) and inputs.dtype == torch.bfloat16:  # NumPy has no such type
        inputs = inputs.view(torch.int16)
    array = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    array = array.reshape(-1) if array.ndim == 0 else array
    step = max(1, PIECE * len(array) // max(array.nbytes, 1))
    for first in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[first : first + step]).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def spans(inputs: Any, start: int, batch_size: int) -> list[slice]:
    """The rows of each batch, from row `start` on."""
    return [slice(first, min(first + batch_size, len(inputs))) for first in range(start, len(inputs), batch_size)]


def in_batches(inputs: Any, start: int, batch_size: int) -> Iterator[tuple[int, int, Any]]:
    """(first, last, inputs[first:last]) from row `start` on."""
    for span in spans(inputs, start, batch_size):
        yield span.start, span.stop, inputs[span]


class Inputs:
    """Inputs that are no array and no list: a slice reads what it needs. rows: which of the source's samples these are, in their order."""

    owner = ""  # the dataset's name, for errors

    def __init__(self, n: int) -> None:
        self.rows = np.arange(n)

    def of(self, owner: str) -> Inputs:
        """The same inputs, whose errors name the dataset that they are of."""
        owned = copy.copy(self)
        owned.owner = owner
        return owned

    @contextmanager
    def naming(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            if not self.owner:
                raise
            raise ValueError(f"dataset '{self.owner}': {error}") from error

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        rows = self.rows[key]
        with self.naming():
            one = self.read(np.atleast_1d(rows))
        if np.ndim(rows):
            return one
        return {name: column[0] for name, column in one.items()} if isinstance(one, dict) else one[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)})"

    def read(self, rows: np.ndarray) -> Any:
        """The source's samples of these numbers: an array or tensor (rows, ...), a list of str, or a dict of such."""
        raise NotImplementedError

    def take(self, rows: np.ndarray) -> Inputs:
        """The same source, other rows of these."""
        taken = copy.copy(self)
        taken.rows = self.rows[rows]
        return taken

    def batches(self, start: int, batch_size: int) -> Iterator[tuple[int, int, Any]]:
        """(first, last, inputs[first:last]) from row `start` on."""
        return in_batches(self, start, batch_size)

    def fingerprint(self) -> str:
        """A hash of the type, the length, and up to 16 samples: the first, the last, and those evenly spread between them."""
        digest = hashlib.blake2b(f"{self!r}".encode(), digest_size=16)
        for row in np.linspace(0, len(self) - 1, min(SAMPLES, len(self))).round().astype(int):
            digest.update(_digest(self[row : row + 1]).encode())
        return digest.hexdigest()


def _digest(batch: Any) -> str:
    return " ".join(f"{k}={fingerprint_inputs(v)}" for k, v in batch.items()) if isinstance(batch, dict) else fingerprint_inputs(batch)


class Columns(Inputs):
    """Batches that are dicts of arrays, in memory; neighbours of one shape are joined, so that a tokenizer's output is one batch.

    Batches of different shapes stay apart: `batches` never crosses from one to the next, and a slice that does is padded with zeros on the right,
    which is sound only beside an attention mask.
    """

    def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
        self.parts = list(_merged([dict(batch) for batch in batches]))
        self.starts = np.cumsum([0, *(_length(part) for part in self.parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} of {', '.join(self.parts[0]) if self.parts else 'nothing'})"

    def __getitem__(self, key: Any) -> dict[str, Any]:
        rows = np.arange(len(self))[key]
        if np.ndim(rows) == 0:
            return {name: column[0] for name, column in self[int(rows) : int(rows) + 1].items()}
        pieces = self._pieces(rows)
        with self.naming():
            return pieces[0] if len(pieces) == 1 else _padded(pieces)

    def _pieces(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """Rows as few batches, each of one shape."""
        parts = np.searchsorted(self.starts, rows, side="right") - 1
        pieces = [{name: column[:0] for name, column in self.parts[0].items()}] if len(rows) == 0 else []
        for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(parts)) + 1) if len(rows) else ():
            part, within = self.parts[parts[run[0]]], rows[run] - self.starts[parts[run[0]]]
            chosen = slice(within[0], within[-1] + 1) if (np.diff(within) == 1).all() else within  # a slice copies nothing
            pieces.append({name: [column[i] for i in within] if isinstance(column, list) else column[chosen] for name, column in part.items()})
        return list(_merged(pieces))

    def take(self, rows: np.ndarray) -> Columns:
        return Columns(self._pieces(rows))

    def batches(self, start: int, batch_size: int) -> Iterator[tuple[int, int, Any]]:
        """Cut at the multiples of batch_size too, so that what starts at one of them sees the same batches as what starts at 0."""
        first = start
        while first < len(self):
            end = self.starts[np.searchsorted(self.starts, first, side="right")]
            last = min(first - first % batch_size + batch_size, int(end))
            yield first, last, self[first:last]
            first = last

    def fingerprint(self) -> str:
        """A hash of every column's name, type, shape and bytes."""
        return hashlib.blake2b(" ".join(map(_digest, self.parts)).encode(), digest_size=16).hexdigest()


def _length(part: Mapping[str, Any]) -> int:
    return len(next(iter(part.values()))) if part else 0


def _shapes(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(column.shape[1:]) if hasattr(column, "shape") else None for name, column in part.items()}


def _merged(parts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Neighbours with columns of the same shapes as one."""
    group: list[dict[str, Any]] = []
    for part in parts:
        if group and _shapes(part) != _shapes(group[0]):
            yield {name: _joined([p[name] for p in group]) for name in group[0]}
            group = []
        group.append(part)
    if group:
        yield {name: _joined([p[name] for p in group]) for name in group[0]}


def _joined(pieces: Sequence[Any]) -> Any:
    """Arrays, tensors or lists, one after the other."""
    if len(pieces) == 1:
        return pieces[0]
    if isinstance(pieces[0], list):
        return [item for piece in pieces for item in piece]
    return torch.cat(list(pieces)) if isinstance(pieces[0], Tensor) else np.concatenate(pieces)


def _padded(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not all("attention_mask" in part for part in parts):
        shapes = sorted({f"{_shapes(part)}" for part in parts})
        raise ValueError(f"rows lie in batches of different shapes ({' and '.join(shapes[:2])}), and without an 'attention_mask' they cannot be padded to one: "
                         "pad them all to one length when you make the batches")
    padded = {}
    for name, column in parts[0].items():
        if isinstance(column, list):
            padded[name] = _joined([part[name] for part in parts])
            continue
        pieces = [torch.as_tensor(part[name]) for part in parts]
        length = max(piece.shape[1] for piece in pieces) if pieces[0].ndim > 1 else 0
        whole = torch.cat([torch.nn.functional.pad(p, (0, 0) * (p.ndim - 2) + (0, length - p.shape[1])) if p.ndim > 1 else p for p in pieces])
        padded[name] = whole if isinstance(column, Tensor) else whole.numpy()
    return padded


# -- from what a user has to what is kept: inputs, and targets where they come along ------------------------------------------

def parted(batch: Any) -> tuple[Any, Any]:
    """A batch as (inputs, targets or None): a pair is both, a dict gives its 'labels' or 'label' as targets."""
    if isinstance(batch, Mapping):
        columns = dict(batch)
        for name, column in columns.items():
            check_dense(column)
            if column is None:
                raise ValueError(f"column '{name}' is None: leave it out, so that the model takes its default")
        label = _label(columns)
        targets = columns.pop(label) if label else None
        for name, column in columns.items():
            if not isinstance(name, str):
                raise ValueError(f"the columns of a dict are named as the arguments of the model's forward; got the name {name!r}, which is {type(name).__name__}")  # noqa: TRY004
            if not hasattr(column, "shape") and not _strings(column):
                column = columns[name] = _array(column, f"column '{name}'", "a tokenizer gives such with padding=True, return_tensors='pt'")
            if hasattr(column, "shape") and len(unmasked(column).shape) == 0:
                raise ValueError(f"column '{name}' needs samples along its first axis; got one number, {column!r}")
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"a batch needs columns of one length; got {lengths}")
        only = next(iter(columns.values()), None)
        return (only if len(columns) == 1 and isinstance(only, list) else columns), targets
    if isinstance(batch, list) and batch and all(map(of_pillow, batch)):
        return _array(batch, "a batch", ""), None
    if isinstance(batch, (tuple, list)) and not _strings(batch):
        if len(batch) not in (1, 2):
            raise ValueError(f"a batch is inputs, or a pair (inputs, targets); this one is a {type(batch).__name__} of {len(batch)} parts. "
                             "Several inputs travel as a dict, whose names are the arguments of the model's forward")
        return (_inner(batch[0]), None if len(batch) == 1 else batch[1])
    return _inner(batch), None


def _label(columns: Mapping[str, Any]) -> str | None:
    """The column that holds the targets, if there is one."""
    return next((name for name in ("labels", "label") if name in columns and len(columns) > 1), None)


def check_dense(batch: Any) -> None:
    """ValueError for a nested tensor, whose samples are of unlike length and make no array, and for a sparse one."""
    if (isinstance(batch, Tensor) and batch.layout not in (torch.strided, torch.jagged)) or (hasattr(batch, "toarray") and hasattr(batch, "nnz")):
        raise ValueError(f"sparse inputs have no rows that a batch can be cut from: make them dense, x.{'to_dense' if isinstance(batch, Tensor) else 'toarray'}()")
    if isinstance(batch, Tensor) and batch.is_nested:
        raise ValueError("nested tensors hold samples of unlike length, and rows of one length are needed: pad them, torch.nested.to_padded_tensor(x, 0.0), and give the mask along, "
                         "{'x': padded, 'attention_mask': mask}")


def _inner(batch: Any) -> Any:
    check_dense(batch)
    if isinstance(batch, Mapping):
        return parted(batch)[0]
    if isinstance(batch, (tuple, list)):
        return list(batch) if _strings(batch) else _array(batch, "a batch", "")
    if np.ndim(batch) == 0 or not hasattr(batch, "shape"):
        raise ValueError(f"a batch must hold samples along its first axis; got {_what(batch)}")
    return unmasked(batch)


def unmasked(array: Any) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        raise ValueError("a masked array holds values that are not there, and a network needs them all: put some in with .filled(value)")  # noqa: TRY004
    return array


def _what(batch: Any) -> str:
    return f"one number, {batch!r}" if hasattr(batch, "shape") or isinstance(batch, (int, float)) else type(batch).__name__


def _strings(items: Any) -> bool:
    return isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items)


def _array(items: Any, what: str, hint: str) -> np.ndarray:
    """A list (of lists) of numbers, or of pictures of Pillow, as one array."""
    if isinstance(items, (list, tuple)) and any(map(of_pillow, items)):
        items = [np.asarray(picture(item, f"picture {number} of {what}")) for number, item in enumerate(items)]
    try:
        array = np.asarray(items)
    except ValueError:
        array = np.empty(0, object)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{what} must be an array, or lists of numbers of one length{f'; {hint}' if hint else ''}. This holds {_sorts(items)}")
    return array


def _sorts(items: Iterable[Any]) -> str:
    """What a list holds, in a few words: '(3, 4), (5, 4)' or 'str, int'."""
    def said(item: Any) -> str:
        if of_pillow(item):
            return f"{item.height}×{item.width} in mode {item.mode}"
        return str(tuple(item.shape)) if hasattr(item, "shape") else f"{len(item)} values" if isinstance(item, (list, tuple)) else type(item).__name__
    return ", ".join(dict.fromkeys(map(said, items)))


def of_pillow(item: Any) -> bool:
    """Whether it is a picture of Pillow."""
    return any(kind.__module__ == "PIL.Image" for kind in type(item).__mro__)


def check_depth(mode: str, what: str) -> None:
    """ValueError for a mode of Pillow with more than 8 bits: Pillow would clip the values when it converts them."""
    if mode in DEEP or mode.startswith("I;"):
        raise ValueError(f"{what} has more than 8 bits a pixel (mode {mode}); save it with 8, or give the pixels as an array of floats")


def converted(image: Any, *, grey: bool) -> Any:
    """A picture of Pillow in mode "L" or "RGB", without its transparency."""
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)  # Pillow converts premultiplied colors in two steps only
    return (image.convert(straight) if straight else image).convert("L" if grey else "RGB")


def picture(item: Any, what: str = "the picture", colored: Collection[str] = (), place: str = "") -> Any:
    """A picture of Pillow as a folder gives it: uint8 (h, w) if it is grey, otherwise (h, w, 3). Also inside a pair or a dict.

    what: the name for errors.  colored: places at which grey pictures become (h, w, 3) too.  place: the name of the column, "" for the input.
    A picture that is a target is no class number and is left out later, so its depth does not matter.
    """
    if of_pillow(item):
        check_depth(item.mode, what)
        try:
            return torch.from_numpy(np.array(converted(item, grey=item.mode in GREY and place not in colored)))
        except Exception as error:
            raise ValueError(f"{what} cannot be read ({error}): it is damaged; leave it out or replace it") from error
    if isinstance(item, Mapping):
        label = _label(item)
        return {name: _target(part) if name == label else picture(part, f"column '{name}' of {what}", colored, name)
                for name, part in item.items()}
    if isinstance(item, tuple) and item:
        parts = picture(item[0], what, colored, place), *map(_target, item[1:])
        return type(item)(*parts) if hasattr(item, "_fields") else parts
    return item


def _target(item: Any) -> Any:
    return torch.from_numpy(np.array(item.convert("RGB"))) if of_pillow(item) else item


def _places(item: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The pictures of Pillow in a sample, each with its place."""
    if of_pillow(item):
        yield place, item
    elif isinstance(item, Mapping):
        for name, part in item.items():
            yield from _places(part, name)
    elif isinstance(item, tuple) and item:
        yield from _places(item[0], place)


def stacked(
    items: Sequence[Any], collate: Callable[[Any], Any] = default_collate, numbers: Sequence[Any] | None = None, colored: Collection[str] = ()
) -> Any:
    """Samples as one batch, pictures of Pillow too if torch's default_collate joins them.

    numbers: the number of each sample, for errors; None: they count within the batch.  colored: as for `picture`.
    """
    of_batch, numbers = ("", numbers) if numbers is not None else (" of a batch", range(len(items)))
    kinds = {image.mode in GREY for item in items for _, image in _places(item)}
    if collate is default_collate:
        items = [picture(item, f"sample {number}{of_batch}", colored) for number, item in zip(numbers, items, strict=True)]
    try:
        return collate(items)
    except Exception as error:
        inner = [item[0] if isinstance(item, tuple) and item else item for item in items]
        parts = [next(iter(part.values())) if isinstance(part, Mapping) and part else part for part in inner]
        sorts = [_sorts([part]) for part in parts]
        odd = next((at for at, sort in enumerate(sorts) if sort != sorts[0]), None)
        which = sorts[0] if odd is None else f"sample {numbers[0]} is {sorts[0]}, sample {numbers[odd]} is {sorts[odd]}"
        mixed = " (for grey pictures next to colored ones: picture.convert('RGB'))" if len(kinds) > 1 else ""
        raise ValueError(f"samples cannot be stacked into one batch ({which}): {error}. Give them one shape{mixed}, or give a DataLoader whose "
                         "collate_fn joins them") from error


def from_list(items: Sequence[Any]) -> tuple[Any, Any]:
    """A list's items are samples: strings, numbers, arrays, pictures, dicts, or (input, target) pairs -> (inputs, targets or None)."""
    if _strings(items):
        return list(items), None
    if any(isinstance(item, str) for item in items):
        at, item = next((i, item) for i, item in enumerate(items) if not isinstance(item, str))
        raise ValueError(f"a list of strings holds strings only; its item {at} is {type(item).__name__}")
    if isinstance(items[0], (Tensor, Mapping, tuple)) or any(map(of_pillow, items)):
        return kept(*parted(stacked(items, numbers=range(len(items)), colored=_colored(items))))
    return _array(items, "a list of samples", "for batches give a generator, (batch for batch in batches)"), None


def _colored(items: Sequence[Any]) -> set[str]:
    """The places at which some picture of the list has color. ValueError if one object stands for several frames of a file."""
    seen: dict[int, int] = {}
    colored = set()
    for number, item in enumerate(items):
        for place, image in _places(item):
            first = seen.setdefault(id(image), number)
            if first != number and getattr(image, "n_frames", 1) > 1:
                raise ValueError(f"samples {first} and {number} are the same picture of several frames, and it holds one frame at a time: "
                                 "copy each frame, [frame.copy() for frame in PIL.ImageSequence.Iterator(picture)]")
            if image.mode not in GREY:
                colored.add(place)
    return colored


def kept(inputs: Any, targets: Any) -> tuple[Any, Any]:
    """A dict of columns enters as `Columns`."""
    return Columns([inputs]) if isinstance(inputs, dict) else inputs, targets


def collected(batches: Iterable[Any], *, called: str = "") -> tuple[Any, Any]:
    """All batches, read once and kept in memory -> (inputs, targets or None). A str is one sample. called: their type, for an error."""
    inputs: list[Any] = []
    targets: list[Any] = []
    for number, batch in enumerate(batches):
        one, of_one = ([batch], None) if isinstance(batch, str) else parted(batch)
        if of_one is not None and _count(of_one) != (_length(one) if isinstance(one, dict) else len(one)):
            raise ValueError(f"batch {number} needs one target per sample: its inputs are {_sorts([one])}, its targets {_sorts([of_one])}. A generator, or a DataLoader with "
                             "batch_size=None, gives batches, whose first axis is the samples")
        if inputs and (type(one) is not type(inputs[0]) or (of_one is None) != (len(targets) == 0)):
            raise ValueError(f"batch {number} is {type(one).__name__} {'with' if of_one is not None else 'without'} targets, and those before it are "
                             f"{type(inputs[0]).__name__} {'with' if targets else 'without'}: batches must be of one kind")
        if inputs and hasattr(one, "shape") and tuple(one.shape[1:]) != tuple(inputs[0].shape[1:]):
            raise ValueError(f"batch {number} has samples of shape {tuple(one.shape[1:])}, and batch 0 of {tuple(inputs[0].shape[1:])}: they make no one array")
        if isinstance(one, dict) and inputs and list(one) != list(inputs[0]):
            raise ValueError(f"batch {number} has the columns {list(one)}, and batch 0 has {list(inputs[0])}")
        inputs.append(one)
        if of_one is not None:
            targets.append(of_one)
    if not inputs:
        raise ValueError(f"the {called or type(batches).__name__} gave nothing: it is empty, or it was read before (a generator can be "
                         "read once only; make it anew)")
    joined = Columns(inputs) if isinstance(inputs[0], dict) else _joined(inputs)
    try:
        return joined, _joined([t if isinstance(t, (Tensor, np.ndarray)) else np.asarray(t) for t in targets]) if targets else None
    except (RuntimeError, TypeError, ValueError):  # of different lengths, as a text's tokens are: no class numbers
        return joined, None


def _count(targets: Any) -> int | None:
    try:
        return len(targets)
    except TypeError:  # one number
        return None
