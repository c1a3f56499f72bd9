"""`Dataset`: inputs of any kind in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from repsim_nb.support.dimensions import is_of
from repsim_nb.support.errors import add_context, as_clause
from repsim_nb.support.ids import (
    Names,
    check_ids,
    check_order,
    ids_fingerprint,
    index_ids,
    names_of,
    refuse_integer_mask,
)
from repsim_nb.support.summaries import summarize
from repsim_nb.support.transport import Address, pack, unpack

from .conversion import convert_inputs
from .inputs import LazyInputs, fingerprint_inputs, iterate_batches
from .pictures import Folder


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs in a fixed order, with their targets, classes and ids.

    Parameters
    ----------
    name : str
        The name of the data set in recordings.
    inputs : array, list, dict, path, torch Dataset, DataLoader, or iterable
        One of these:

        - an array or tensor (n, ...); pictures are uint8 (n, h, w) or (n, h, w, channels)
        - a list of str, or of other samples, which are stacked
        - a dict of arrays (n, ...), such as the output of a tokenizer: its names are arguments of the model's forward.
          A number, True, False, a string or None is the same for all samples, {"sample": x, "timestep": 10}. The column
          "labels" or "label" is the targets; a model gets it too if its forward names it
        - a DataFrame, whose columns become an array and whose index becomes the ids
        - a list of graphs of torch_geometric, a `Batch` of them, or its DataLoader: each graph is a sample
        - a folder of images, str or Path, with subfolders as classes. Images are decoded when they are needed, to uint8
          (n, h, w, 3), or (n, h, w) if all are grey, in natural order (2 before 10)
        - a torch Dataset, or any object with `len` and `[i]`, of inputs, (input, target) pairs or dicts. They are read
          when they are needed. Targets are taken from its attribute `targets`; give others as targets=
        - a DataLoader: its samples in its order, by its collate_fn and num_workers. It must not shuffle. Batches are
          cut again, so drop_last drops nothing. An IterableDataset is read in this process, without the workers of the
          loader
        - a generator or another iterable of str or of batches, each inputs, a pair or a dict, whose first axis is the
          samples: (x[None] for x in samples) for one sample at a time. It is read once, into memory
    targets : array of int (n,), optional
        The class of each input, from 0. By default those that come with the inputs, unless they are no classes (floats,
        boxes, texts).
    classes : sequence of str
        The name of each target value; by default the subfolders of a folder, else none.
    ids : array of str or int (n,), optional
        Unique names of the samples. `compare` uses them to find recordings of different samples, or of the same samples
        in another order. By default the file names of a folder, the index of a DataFrame, else none.
    size : int or (int, int), optional
        For a folder of images that differ in size: height and width in pixels, or one number for both. Images are
        resized until they cover it, then the centre is cropped.

    Attributes
    ----------
    inputs : array, tensor, list of str, or inputs that are read lazily
        `len(inputs)` is the number of samples, and a slice is a batch.
    targets : array of int (n,) or None
        The class of each input.
    classes : tuple of str
        The names of the classes.
    ids : array (n,) or None
        The names of the samples.

    Raises
    ------
    ValueError
        With the name of the data set: for inputs that are none of these or are random, for targets that are no class
        numbers, not one for each input, or in another order by their index, and for ids that are not unique or not one
        for each input.
    TypeError
        If the name is not a str.

    See Also
    --------
    load_dataset : Load a data set that needs no download.
    record : Record the activations of a model on a data set.

    Notes
    -----
    Objects with `[i]`, a DataLoader, and iterables that can be read again are read twice: about six samples, or the
    first 16 items, with different random states. It is an error if they differ, or if numbers were drawn from a global
    random generator: if data are permuted or augmented at random, no row belongs to one sample.

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
            raise TypeError(
                f"name must be a str and comes first, rs.Dataset(name, inputs); got {type(self.name).__name__}."
            )
        try:
            # an Index, an array or a Categorical of pandas has no index of its own
            known = index_ids(getattr(self.inputs, "index", None)) if is_of(self.inputs, "pandas") else None
            inputs, found, classes = convert_inputs(self.inputs, size)
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
            if is_of(self.inputs, "pandas"):
                check_order(self.inputs, self.targets)
                check_order(self.inputs, self.ids)
            ids = None if ids is None else check_ids(ids, len(inputs))
            of_targets = names_of(self.targets)
            if ids is not None and of_targets is not None and of_targets.kind != "count":
                check_order(Names(ids, "ids"), self.targets)
        except ValueError as error:
            raise ValueError(f"dataset '{self.name}': {error}") from error
        if isinstance(inputs, LazyInputs):
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
        classes = f"{len(self.classes)} classes" if self.classes else "no classes"
        return f"{type(self).__name__}('{self.name}', {what}, {classes})"

    def _repr_html_(self) -> str:
        shape = getattr(self.inputs, "shape", None)
        classes = (
            f"{len(self.classes)} classes: {', '.join(map(str, self.classes[:10]))}{' …' * (len(self.classes) > 10)}"
            if self.classes
            else "targets without class names"
        )
        kind = type(self).__name__
        return summarize(
            kind,
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
            page=kind if kind == "Dataset" else f"datasets.{kind}",
        )

    def batches(self, start: int = 0, batch_size: int = 250) -> Iterator[tuple[int, int, Any]]:
        """Iterate over the inputs in batches.

        Inputs that are read lazily are read ahead.

        Parameters
        ----------
        start : int
            Row of the first sample.
        batch_size : int
            Largest number of rows of a batch.

        Returns
        -------
        iterator of (int, int, batch)
            The first row, the row after the last one, and the inputs of these rows.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> data = rs.Dataset("words", ["one", "two", "three"])
        >>> list(data.batches(batch_size=2))
        [(0, 2, ['one', 'two']), (2, 3, ['three'])]
        """
        return (
            self.inputs.batches(start, batch_size)
            if isinstance(self.inputs, LazyInputs)
            else iterate_batches(self.inputs, start, batch_size)
        )

    def fingerprint(self, *, labels: bool = False) -> str:
        """Compute a hash of the type, shape and bytes of the inputs.

        A store uses it to find out whether two recordings have the same inputs.

        Parameters
        ----------
        labels : bool
            Whether the column of labels counts; it does for a model that takes this column.

        Returns
        -------
        str
            32 hex digits, the same in every process.

        Notes
        -----
        For inputs that are read lazily, the hash covers their type and number, and up to 16 samples, evenly spread from
        the first to the last; for a folder of images also the name and size of every file. It misses changes to other
        samples, and changes after the first call.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> a, b = rs.load_dataset("mnist", n=10), rs.load_dataset("mnist", n=10)
        >>> a.fingerprint() == b.fingerprint()
        True
        """
        if not isinstance(self.inputs, LazyInputs):
            return fingerprint_inputs(self.inputs)
        if self.inputs.in_memory:  # they can be written to at any time
            return self.inputs.fingerprint(labels=labels)
        found = self.__dict__.setdefault("_fingerprints", {})  # of inputs that are not read again
        if labels not in found:
            found[labels] = self.inputs.fingerprint(labels=labels)
        return found[labels]

    def ids_fingerprint(self) -> str:
        """Compute a hash of the ids in their order.

        Returns
        -------
        str
            32 hex digits; "" if there are no ids.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> rs.Dataset("words", ["one", "two"]).ids_fingerprint()
        ''
        """
        return ids_fingerprint(self.ids)

    def take(self, rows: Sequence[int] | np.ndarray, name: str) -> Dataset:
        """Select rows as a new data set.

        Parameters
        ----------
        rows : sequence of int, or array of bool (n,)
            Row numbers, from 0, in the wanted order, or a mask.
        name : str
            Name of the new data set.

        Returns
        -------
        Dataset
            The rows with their targets and ids; it has no ids if a row is selected twice.

        Raises
        ------
        ValueError
            If `rows` are no row numbers of this data set.

        Examples
        --------
        >>> import repsim_nb as rs
        >>> words = rs.Dataset("words", ["one", "two", "three"])
        >>> words.take([2, 0], "odd").inputs
        ['three', 'one']
        """
        numbers = np.asarray(rows)
        if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iub"):
            raise ValueError(
                f"dataset '{self.name}': rows must be row numbers, such as [0, 2] or range(3), or a mask; got {rows!r}."
            )
        with add_context(f"dataset '{self.name}'", ValueError):
            refuse_integer_mask(numbers, len(self))
        try:
            rows = np.arange(len(self))[numbers if len(numbers) else []]
        except IndexError as error:
            raise ValueError(
                f"dataset '{self.name}': rows must be from 0 to {len(self) - 1}, since it has {len(self)} rows;"
                f" {as_clause(error)}."
            ) from error
        lazy, strings = isinstance(self.inputs, LazyInputs), isinstance(self.inputs, list)
        inputs = self.inputs.take(rows) if lazy else [self.inputs[i] for i in rows] if strings else self.inputs[rows]
        ids = self.ids[rows] if self.ids is not None and len(np.unique(rows)) == len(rows) else None
        return replace(
            self, name=name, inputs=inputs, targets=None if self.targets is None else self.targets[rows], ids=ids
        )

    def __getstate__(self) -> dict[str, Any]:
        # of a memory map its address, not its numbers
        return {key: pack(value) if isinstance(value, np.memmap) else value for key, value in self.__dict__.items()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(
            {key: unpack(value) if isinstance(value, Address) else value for key, value in state.items()}
        )


def _check_classes(classes: Any) -> tuple[str, ...]:
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise ValueError(f"classes must be the names of the target values, such as ['cat', 'dog']; got {classes!r}.")
    return tuple(classes)


def _check_targets(targets: Any, n: int, classes: int, came_along: bool) -> np.ndarray | None:
    """Check targets and return them as integers (n,).

    Targets that came along with the inputs need not be classes; if they are none, the result is None.
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
        raise ValueError(f"targets must be one for each input; it has {n} inputs, and targets of shape {array.shape}.")
    if not whole or (array < 0).any():
        odd = next(
            value for value in array.tolist() if not (isinstance(value, (int, float)) and value >= 0 and value % 1 == 0)
        )
        raise ValueError(f"targets must be the numbers of classes, integers >= 0; one of these is {odd!r}.")
    if classes and n and array.max() >= classes:
        raise ValueError(
            f"targets must be from 0 to {classes - 1}, since it has {classes} classes; one of these is"
            f" {array.max():.0f}."
        )
    return array if array.dtype.kind in "iu" else array.astype(np.int64)
