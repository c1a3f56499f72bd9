"""`Dataset`: inputs in a fixed order, whatever they were given as."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from repsim_nb.inputs.batches import is_graph, is_graphs
from repsim_nb.support.ids import check_ids, ids_fingerprint, index_ids
from repsim_nb.support.summaries import summarize
from repsim_nb.support.transport import Address, pack, unpack

from .checks import check_dense, check_no_single_graph, check_pair, check_unmasked
from .collecting import collect_batches, from_list, to_inputs
from .inputs import Inputs, fingerprint_inputs, iterate_batches
from .loaders import SHUFFLING, Graphs, Samples, check_loader, find_targets, from_loader, from_unbatched
from .pictures import Folder, from_folder
from .rereading import Items, hash_batch, make_sample_hash, read_twice
from .splitting import split_batch
from .stacking import stack_samples


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs in a fixed order, with their targets, classes and ids.

    Parameters
    ----------
    name : str
        Recordings know it.
    inputs
        One of these:

        - an array or tensor (n, ...); pictures are uint8 (n, h, w) or (n, h, w, channels)
        - a list of str; another list holds samples, which are stacked
        - a dict of arrays (n, ...), as a tokenizer returns: its names are arguments of the model's forward. A number, a
          truth value, a string or None is the same for all samples, {"sample": x, "timestep": 10}. A column called
          labels or label holds the targets; a model gets it too if its forward names it
        - a list of graphs of torch_geometric, a `Batch` of them, or its DataLoader: each graph is a sample
        - a folder of images, str or Path: subfolders are the classes. Images are decoded when they are needed, to uint8
          (n, h, w, 3), or (n, h, w) if all are grey, in natural order (2 before 10)
        - a torch Dataset, or anything with `len` and `[i]`, of inputs, (input, target) pairs or dicts: read when they
          are needed. Only targets that it knows without reading (its `.targets`) are taken; give others as targets=
        - a DataLoader: its samples in its order, by its collate_fn and num_workers; one that shuffles is an error.
          Batches are cut again, so drop_last drops nothing. An IterableDataset is read in this process, without the
          loader's workers
        - a generator or another iterable of str or of batches, each inputs, a pair or a dict, whose first axis is the
          samples: (x[None] for x in samples) for one sample at a time. What can be read only once stays in memory
    targets : array of int (n,), optional
        The class of each input, from 0. Targets that come with the inputs and are not classes (floats, boxes, texts)
        are left out.
    classes : sequence of str
        The name of each target value.
    ids : array of str or int (n,), optional
        The unique names of the samples: `compare` sees by them that two recordings are of different samples, or of the
        same ones in another order. Without ids, those of a folder are its file names, those of a DataFrame its index.
    size : int or (h, w), optional
        For a folder of images whose sizes differ: resize until the shorter side fits, then crop the center.

    Raises
    ------
    ValueError
        With the name of the data set: for inputs that are none of these or are random, for targets that are not class
        numbers or not one for each input, and for ids that are not unique or not one for each input.

    Notes
    -----
    Inputs that are read with `[i]`, a DataLoader, and an iterable that can be read again are read twice: about six
    samples, or the first 16 items, with other random states. It is an error if they differ, or if a global random
    generator was drawn from: if data are shuffled or augmented at random, no row belongs to a sample.

    Examples
    --------
    >>> import numpy as np
    >>> import repsim_nb as rs
    >>> images = np.zeros((4, 8, 8), np.uint8)
    >>> data = rs.Dataset("mine", images, targets=[0, 1, 0, 1], classes=("cat", "dog"))
    >>> data
    Dataset('mine', (4, 8, 8) uint8, 2 classes)
    >>> data.take([0, 2], "cats")
    Dataset('cats', (2, 8, 8) uint8, 2 classes)
    """

    name: str
    inputs: Any = field(repr=False)
    targets: np.ndarray | None = field(default=None, repr=False)
    classes: tuple[str, ...] = field(default=(), repr=False)
    ids: np.ndarray | None = field(default=None, repr=False)
    size: InitVar[int | tuple[int, int] | None] = field(default=None, kw_only=True)

    def __post_init__(self, size: int | tuple[int, int] | None) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"a dataset's name comes first, rs.Dataset(name, inputs); got {type(self.name).__name__}")
        try:
            known = index_ids(self.inputs) if _is_pandas(self.inputs) else None
            inputs, found, classes = _understand(self.inputs, size)
            classes = _check_classes(self.classes) or classes
            targets = _check_targets(
                found if self.targets is None else self.targets,
                len(inputs),
                len(classes),
                came_along=self.targets is None,
            )
            ids = (
                self.ids
                if self.ids is not None
                else inputs.ids
                if isinstance(inputs, Folder) and inputs is not self.inputs
                else known
            )
            ids = None if ids is None else check_ids(ids, len(inputs))
        except ValueError as error:
            raise ValueError(f"dataset '{self.name}': {error}") from error
        if isinstance(inputs, Inputs):
            inputs = inputs.with_owner(self.name)
        for attribute, value in (("inputs", inputs), ("targets", targets), ("classes", classes), ("ids", ids)):
            object.__setattr__(self, attribute, value)

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        if hasattr(self.inputs, "shape"):
            what = f"{tuple(self.inputs.shape)} {str(self.inputs.dtype).removeprefix('torch.')}"
        else:
            what = f"{len(self)} strings" if isinstance(self.inputs, list) else repr(self.inputs)
        return f"Dataset('{self.name}', {what}, {len(self.classes)} classes)"

    def _repr_html_(self) -> str:
        shape = getattr(self.inputs, "shape", None)
        classes = (
            f"{len(self.classes)} classes: {', '.join(map(str, self.classes[:10]))}{' …' * (len(self.classes) > 10)}"
            if self.classes
            else "no classes"
        )
        return summarize(
            "Dataset",
            self.name,
            [
                f"{len(self)} samples",
                f"inputs {' × '.join(map(str, shape[1:]))} {str(self.inputs.dtype).removeprefix('torch.')}"
                if shape is not None
                else "texts"
                if isinstance(self.inputs, list)
                else repr(self.inputs),
                classes if self.targets is not None else "no targets",
                "with ids" if self.ids is not None else "",
            ],
            page="datasets.Dataset",
        )

    def batches(self, start: int = 0, batch_size: int = 250) -> Iterator[tuple[int, int, Any]]:
        """Yield (first, last, inputs[first:last]) from row `start` on, at most `batch_size` rows each.

        Inputs that are read lazily are read ahead.
        """
        return (
            self.inputs.batches(start, batch_size)
            if isinstance(self.inputs, Inputs)
            else iterate_batches(self.inputs, start, batch_size)
        )

    def fingerprint(self, *, labels: bool = False) -> str:
        """Compute a hash of the inputs' type, shape and bytes, 32 hex digits.

        Parameters
        ----------
        labels : bool
            Whether a column of labels counts; it does for a model that takes it.

        Notes
        -----
        The hash of lazily read inputs is of their type and number, and of up to 16 samples evenly spread, the first and
        the last among them; for a folder of images also of the name and size of every file. It does not see a change to
        other samples, nor a change after the first call.
        """
        if not isinstance(self.inputs, Inputs):
            return fingerprint_inputs(self.inputs)
        if self.inputs.in_memory:  # it can be written to at any time
            return self.inputs.fingerprint(labels=labels)
        found = self.__dict__.setdefault("_fingerprints", {})  # of inputs that are not read again
        if labels not in found:
            found[labels] = self.inputs.fingerprint(labels=labels)
        return found[labels]

    def ids_fingerprint(self) -> str:
        """32 hex digits: a hash of the ids, in their order; "" if there are none."""
        return ids_fingerprint(self.ids)

    def take(self, rows: Sequence[int] | np.ndarray, name: str) -> Dataset:
        """Select rows by their numbers, in that order, or by a mask, as a data set with a name of its own.

        They keep their ids; a set with the same row twice has none.
        """
        numbers = np.asarray(rows)
        if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iub"):
            raise ValueError(
                f"dataset '{self.name}': take needs the numbers of rows, such as [0, 2] or range(3); got {rows!r}"
            )
        try:
            rows = np.arange(len(self))[numbers if len(numbers) else []]
        except IndexError as error:
            raise ValueError(
                f"dataset '{self.name}' has {len(self)} rows, numbered from 0; take was asked for others: {error}"
            ) from error
        lazy, strings = isinstance(self.inputs, Inputs), isinstance(self.inputs, list)
        inputs = self.inputs.take(rows) if lazy else [self.inputs[i] for i in rows] if strings else self.inputs[rows]
        ids = self.ids[rows] if self.ids is not None and len(np.unique(rows)) == len(rows) else None
        return replace(
            self, name=name, inputs=inputs, targets=None if self.targets is None else self.targets[rows], ids=ids
        )

    def __getstate__(self) -> dict[str, Any]:
        return {
            key: pack(value) if isinstance(value, np.memmap) else value for key, value in self.__dict__.items()
        }  # its address, not its numbers

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(
            {key: unpack(value) if isinstance(value, Address) else value for key, value in state.items()}
        )


def _is_pandas(given: Any) -> bool:
    return type(given).__module__.split(".")[0] == "pandas"


def _check_classes(classes: Any) -> tuple[str, ...]:
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise ValueError(f"classes are the names of the target values, such as ['cat', 'dog']; got {classes!r}")
    return tuple(classes)


def _check_targets(targets: Any, n: int, classes: int, came_along: bool) -> np.ndarray | None:
    """Targets as integers (n,).

    Whatever came along with the inputs need not be meant as classes, so it is None where it is no such.
    """
    if targets is None:
        return None
    try:
        array = targets.detach().cpu().numpy() if isinstance(targets, Tensor) else np.asarray(targets)
    except (TypeError, ValueError):  # a ragged list; a type that NumPy lacks
        array = np.array(None)
    whole = array.dtype.kind in "iub" or (
        array.dtype.kind == "f" and bool(np.all(array == np.trunc(array)) and np.isfinite(array).all())
    )
    if came_along and (array.ndim != 1 or not whole or (array < 0).any()):
        return None
    if array.shape != (n,):
        raise ValueError(f"it needs one target per input: it has {n} inputs, and targets of shape {array.shape}")
    if not whole or (array < 0).any():
        odd = next(
            value for value in array.tolist() if not (isinstance(value, (int, float)) and value >= 0 and value % 1 == 0)
        )
        raise ValueError(f"targets are the numbers of classes, integers from 0; one of these is {odd!r}")
    if classes and n and array.max() >= classes:
        raise ValueError(
            f"it has {classes} classes, so targets go from 0 to {classes - 1}; one of these is {array.max():.0f}"
        )
    return array if array.dtype.kind in "iu" else array.astype(np.int64)


def _understand(given: Any, size: Any) -> tuple[Any, Any, tuple[str, ...]]:
    """What a user gives as inputs -> (inputs that have `len` and slices, targets or None, classes)."""
    if isinstance(given, (str, Path)):
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise ValueError(
                f"there is no folder '{given}' to read images from"
                + ("; strings as inputs come as a list, ['...']" if isinstance(given, str) else "")
            )
        return from_folder(folder, size)
    if size is not None:
        raise ValueError(f"size is for a folder of images, and the inputs are {type(given).__name__}")
    inputs, targets = _to_inputs(given)
    graphs = isinstance(inputs, list) and inputs and is_graph(inputs[0])
    return Graphs(inputs) if graphs else inputs, targets, ()


def _to_inputs(given: Any) -> tuple[Any, Any]:
    if isinstance(given, Inputs):
        return given, None
    check_dense(given)
    check_no_single_graph(given)
    if is_graphs(given):
        return to_inputs(given, None)
    if _is_pandas(given):
        given = given.to_numpy()
    if isinstance(given, (set, frozenset)):
        raise ValueError("a set has no order, and rows need one: give a list, sorted(...)")
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        if len(given.shape) == 0:
            raise ValueError(f"inputs need samples along their first axis; got one number, {given!r}")
        if getattr(given.dtype, "kind", "") in ("O", "U", "T"):
            if given.ndim > 1:
                raise ValueError(
                    f"inputs hold {given.dtype} in shape {tuple(given.shape)}; an array is of numbers, strings come as"
                    " a list"
                )
            return from_list(given.tolist())
        return check_unmasked(given), None
    if isinstance(given, Mapping):
        return to_inputs(*split_batch(given))
    if isinstance(given, (list, tuple)):
        return from_list(given)
    if isinstance(given, TensorDataset) and len(given.tensors) <= 2:
        if len(given.tensors) == 2:
            check_pair(*given.tensors)
        return given.tensors[0], given.tensors[1] if len(given.tensors) == 2 else None
    if isinstance(given, DataLoader):
        check_loader(given)
        if isinstance(given.dataset, IterableDataset):
            return _read_stream(
                given.dataset,
                given.batch_size,
                stack_samples if given.collate_fn is default_collate else given.collate_fn,
            )
        once = given.batch_sampler is None and not isinstance(given.sampler, SHUFFLING)
        return from_unbatched(given) if once else from_loader(given)
    if isinstance(given, IterableDataset):
        return _read_stream(given, 256, stack_samples)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, (bytes, bytearray)):
        return Samples(given), find_targets(given)
    if isinstance(given, Iterable) and not isinstance(given, (bytes, bytearray)):
        return read_twice(given, hash_batch, lambda items: collect_batches(items, called=type(given).__name__))
    raise ValueError(
        "inputs are an array or tensor (n, ...), a list of str, a dict of arrays, a folder of images, a torch Dataset,"
        f" a DataLoader, or an iterable of batches; got {type(given).__name__}"
    )


def _read_stream(source: IterableDataset, batch_size: int | None, collate: Any) -> tuple[Any, Any]:
    """Read here: a worker cannot be told from outside which samples are its share.

    The generator is its own, so that the global random state stays.
    """

    def read(items: Iterator[Any]) -> tuple[Any, Any]:
        loader = DataLoader(Items(items), batch_size, collate_fn=collate, generator=torch.Generator())
        return collect_batches(loader, called=type(source).__name__)

    return read_twice(source, make_sample_hash(collate, in_batches=batch_size is not None), read)
