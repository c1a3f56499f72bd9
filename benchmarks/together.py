"""How often one or more of the intervals of `rs.drift` miss the population value: they hold together at 95 %.

`python -m benchmarks.together 200` (five minutes) draws so many pairs of releases whose similarity is known, with 200
samples and 5 or 20 layers, and prints the fraction of pairs in which an interval misses it. The intervals are those of
`rs.drift`, without its tests.
"""

import sys
import warnings

import numpy as np

import repsim_nb as rs

SAMPLES, FEATURES = 200, 10
CASES = ((5, 0.98), (5, 0.995), (20, 0.98))  # layers, and the similarity of each in the population


def missed(layers: int, similarity: float, rng: np.random.Generator) -> bool:
    """Return whether an interval of one pair of releases misses the similarity."""
    spread = 2.0 ** -(np.arange(FEATURES) ** 0.5)
    noise = np.sqrt(1 / similarity - 1)  # with the same spectrum, so linear CKA is 1 / (1 + noise²)
    pairs = []
    for _ in range(layers):
        x = spread * rng.normal(size=(SAMPLES, FEATURES))
        pairs.append((x, x + noise * spread * rng.normal(size=x.shape)))
    found = [
        rs.inference.interval("cka_debiased", x, y, level=1 - 0.05 / layers, groups=range(SAMPLES)) for x, y in pairs
    ]
    return any(similarity not in one for one in found)


def main(pairs: int) -> None:
    """Print the fraction for each case."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    for layers, similarity in CASES:
        found = [missed(layers, similarity, rng) for _ in range(pairs)]
        print(
            f"{layers:2} layers of similarity {similarity}: one or more missed in {100 * np.mean(found):.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
