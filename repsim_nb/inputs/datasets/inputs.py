"""`LazyInputs`, which are read when they are sliced, and the fingerprints of all kinds of inputs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_nb.inputs.batches import find_label_column, is_graph, is_graphs, is_option
from repsim_nb.inputs.fingerprints import fingerprint
from repsim_nb.support.ids import hash_texts

PIECE = 1 << 26  # bytes hashed at a time, so that a memory-mapped array is never whole in memory
SAMPLES = 16  # how many samples of a lazily read set its fingerprint reads


def fingerprint_inputs(inputs: Any) -> str:
    """Compute a hash of the type, shape and bytes of inputs.

    Parameters
    ----------
    inputs : array, tensor, list of str, graph, or other inputs
        Inputs that are read lazily give the hash of their own method `fingerprint`.

    Returns
    -------
    str
        32 hex digits, the same in every process.

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import datasets
    >>> a, b = np.zeros((2, 3)), np.zeros((3, 2))
    >>> datasets.fingerprint_inputs(a) == datasets.fingerprint_inputs(b)
    False
    """
    if isinstance(inputs, LazyInputs):
        return inputs.fingerprint()
    if isinstance(inputs, Flat):
        return fingerprint([inputs.values, inputs.sizes])
    if isinstance(inputs, list) and all(isinstance(text, str) for text in inputs):
        digest = hashlib.blake2b(digest_size=16)
        hash_texts(digest, inputs)
        return digest.hexdigest()
    if is_graph(inputs) or is_graphs(inputs):
        return fingerprint_graphs([inputs])
    if not isinstance(inputs, (Tensor, np.ndarray, np.generic)):
        return fingerprint(inputs)
    if isinstance(inputs, Tensor) and inputs.dtype == torch.bfloat16:  # NumPy has no such type
        inputs = inputs.view(torch.int16)
    array = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    if array.dtype.hasobject:
        return fingerprint(array)
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    array = array.reshape(-1) if array.ndim == 0 else array
    step = max(1, PIECE * len(array) // max(array.nbytes, 1))
    for first in range(0, len(array), step):
        digest.update(np.ascontiguousarray(array[first : first + step]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def fingerprint_graphs(graphs: Iterable[Any]) -> str:
    """Compute a hash of graphs: the names and values of their nodes, of their edges, and of the whole."""
    held = [
        [(str(store._key), sorted(store.items(), key=lambda item: str(item[0]))) for store in graph.stores]
        for graph in graphs
    ]
    return fingerprint(held)


def fingerprint_batch(batch: Any, *, labels: bool = True) -> str:
    """Compute a hash of a batch, with or without its column of labels."""
    if not isinstance(batch, dict):
        return fingerprint_inputs(batch)
    left_out = "" if labels else find_label_column(batch)
    return " ".join(f"{name}={fingerprint_inputs(column)}" for name, column in batch.items() if name != left_out)


def cut_spans(inputs: Any, start: int, batch_size: int) -> list[slice]:
    """Return the rows of each batch, from row `start` on."""
    return [slice(first, min(first + batch_size, len(inputs))) for first in range(start, len(inputs), batch_size)]


def iterate_batches(inputs: Any, start: int, batch_size: int) -> Iterator[tuple[int, int, Any]]:
    """Yield (first, last, inputs[first:last]) from row `start` on."""
    for span in cut_spans(inputs, start, batch_size):
        yield span.start, span.stop, inputs[span]


class Flat:
    """A column with several rows for each sample, one sample after the other, such as patches of pictures.

    values: all rows (sum of sizes, ...).  sizes: how many rows each sample has, (n,).
    """

    def __init__(self, values: Any, sizes: np.ndarray) -> None:
        self.values, self.sizes = values, np.asarray(sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.values.shape[1:]

    def __getitem__(self, rows: Any) -> Flat:
        ends = self.sizes.cumsum()
        chosen = np.arange(len(self))[rows]
        places = [np.arange(ends[row] - self.sizes[row], ends[row]) for row in chosen]
        return Flat(self.values[np.concatenate(places) if places else np.arange(0)], self.sizes[rows])


class LazyInputs:
    """Inputs that are no array and no list, and are read when they are sliced.

    rows: the numbers of these samples in the source, in their order.
    """

    owner = ""  # the dataset's name, for errors
    in_memory = False  # whether they can be written to at any time
    random_labels: int | None = None  # a sample whose label differs each time it is read

    def __init__(self, n: int) -> None:
        self.rows = np.arange(n)

    def with_owner(self, owner: str) -> LazyInputs:
        """Return the same inputs, whose errors name their data set."""
        owned = copy.copy(self)
        owned.owner = owner
        return owned

    @contextmanager
    def name_owner(self) -> Iterator[None]:
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
        with self.name_owner():
            one = self.read(np.atleast_1d(rows))
        if np.ndim(rows):
            return one
        return (
            {name: column if is_option(column) else column[0] for name, column in one.items()}
            if isinstance(one, dict)
            else one[0]
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)})"

    def read(self, rows: np.ndarray) -> Any:
        """Read the samples of the source with these numbers.

        They are an array or tensor (rows, ...), a list of str, a `Batch` of graphs, or a dict of arrays and options.
        """
        raise NotImplementedError

    def take(self, rows: np.ndarray) -> LazyInputs:
        """Return some of these rows of the same source."""
        taken = copy.copy(self)
        taken.rows = self.rows[rows]
        return taken

    def batches(self, start: int, batch_size: int) -> Iterator[tuple[int, int, Any]]:
        """Yield (first, last, inputs[first:last]) from row `start` on."""
        return iterate_batches(self, start, batch_size)

    def fingerprint(self, *, labels: bool = False) -> str:
        """Compute a hash of the type, the length, and up to 16 samples, evenly spread from the first to the last.

        labels: whether the column of labels counts.
        """
        digest = hashlib.blake2b(f"{self!r}".encode(), digest_size=16)
        for row in np.linspace(0, len(self) - 1, min(SAMPLES, len(self))).round().astype(int):
            digest.update(fingerprint_batch(self[row : row + 1], labels=labels).encode())
        return digest.hexdigest()
