"""Which ranking of samples finds those that were planted to differ: `python -m benchmarks.planted` (a minute).

Ten of 400 images are exchanged for images of other classes on one side, or ten rows of random features for others. The
table has the mean number of the ten among the first twenty, over five draws; "enlarged" is the same after ten other
samples are multiplied by 5 on one side and by 3 on the other.
"""

import numpy as np
import pandas as pd

import repsim_nb as rs

IMAGES, PLANTED, FIRST, DRAWS = 400, 10, 20, 5
PAIRS = (
    ("mnist-cnn-0", "mnist-cnn-1"),
    ("mnist-vit-0", "mnist-vit-1"),
    ("mnist-cnn-0", "mnist-vit-0"),
    ("mnist-mlp-0", "mnist-resnet-0"),
    ("fashion-cnn-0", "mnist-cnn-0"),
    ("mnist-cnn-0", "shuffled-cnn-0"),
    ("untrained-cnn-0", "untrained-cnn-1"),
)
LAYERS = (1, -2)


def hits(x: np.ndarray, y: np.ndarray, planted: np.ndarray) -> dict[str, int]:
    """Return how many of the planted samples are among the first twenty, by each ranking."""
    table = rs.inference.locate_differences(x, y, groups=range(len(x)), ids=range(len(x))).table
    orders = {
        "displacement": -table["displacement"],
        "kept": table["kept"] + 1e-6 * np.random.default_rng(0).random(len(table)),  # equal ones in random order
        "influence": table["influence"],
    }
    return {name: len(set(values.nsmallest(FIRST).index) & set(planted)) for name, values in orders.items()}


def enlarge(x: np.ndarray, y: np.ndarray, planted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multiply ten other samples."""
    rest = np.setdiff1d(np.arange(len(x)), planted)
    large = np.random.default_rng(1).choice(rest, PLANTED, replace=False)
    x, y = x.copy(), y.copy()
    x[large], y[large] = 5 * x[large], 3 * y[large]
    return x, y


def rows() -> pd.DataFrame:
    """Return the mean hits of each pair (rows) by each ranking."""
    data, found = rs.load_dataset("mnist"), dict[tuple[str, str, int], dict[str, int]]()
    base, pool = data.take(range(IMAGES), "base"), data.take(range(600, 1000), "pool")

    def add(name: str, draw: int, x: np.ndarray, y: np.ndarray, planted: np.ndarray) -> None:
        found[name, "as they are", draw] = hits(x, y, planted)
        found[name, "enlarged", draw] = hits(*enlarge(x, y, planted), planted)

    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        planted = rng.choice(IMAGES, PLANTED, replace=False)
        inputs = np.array(base.inputs[:])
        inputs[planted] = [pool.inputs[rng.choice(np.flatnonzero(pool.targets != base.targets[i]))] for i in planted]
        other = rs.Dataset("planted", inputs)
        for a, b in PAIRS:
            sides = [
                list(rs.record(f"zoo:{name}", seen, progress=False).values()) for name, seen in ((a, base), (b, other))
            ]
            for layer in LAYERS:
                x, y = (np.array(side[layer], float).reshape(IMAGES, -1) for side in sides)
                add(f"{a} × {b}, layer {layer}", draw, x, y, planted)
        x = rng.normal(size=(IMAGES, 20))
        z = x.copy()
        z[planted] = rng.normal(size=(PLANTED, 20))
        y = np.maximum(z @ rng.normal(size=(20, 64)), 0)
        add("random features", draw, x, y, planted)
        add("random features with noise", draw, x, y + 2 * rng.normal(size=y.shape), planted)
    return pd.DataFrame(found).T.groupby(level=[0, 1], sort=False).mean()


if __name__ == "__main__":
    table = rows()
    print(table.round(1).to_string())
    print(table.groupby(level=1, sort=False).mean().round(2).to_string())
