"""Models compared over samples and people, by us and by rsatoolbox: `python -m benchmarks.model_bootstrap [peer]`.

20 models, 20 people and 92 images; Pearson's and Spearman's RSA; images and people are drawn with replacement, one at a
time and together, as the corrected variance needs. Ours takes 1,000 resamples. With "peer" it is `eval_dual_bootstrap`
of rsatoolbox 0.3.2 without folds; its seconds are those of 20 resamples times 50. Use one thread: OMP_NUM_THREADS=1.
"""

import sys
import time
from typing import Any

import numpy as np

IMAGES, PEOPLE, MODELS, RESAMPLES, PEER_RESAMPLES = 92, 20, 20, 1000, 20
METHODS = {"pearson": "corr", "spearman": "spearman"}


def draw_rdms() -> tuple[np.ndarray, np.ndarray]:
    """Return the dissimilarities of people and of models (20, pairs)."""
    rng, pairs = np.random.default_rng(0), IMAGES * (IMAGES - 1) // 2
    truth = rng.random(pairs)
    people = truth + rng.normal(size=(PEOPLE, pairs))
    return people, np.array([truth * (k / MODELS) + 0.3 * rng.normal(size=pairs) for k in range(MODELS)])


def time_ours(second: str) -> tuple[float, Any]:
    """Return the seconds of all resamples, and the values of the first models."""
    import repsim_nb as rs

    people, models = ({k: rs.RDM(v) for k, v in enumerate(side)} for side in draw_rdms())
    begin = time.perf_counter()
    found = rs.inference.compare_models(rs.measures.RSA(second=second), models, people, n_bootstrap=RESAMPLES)
    return time.perf_counter() - begin, found.each.mean(axis=1).to_numpy()[:3]


def time_peer(second: str) -> tuple[float, Any]:
    """Return the same of rsatoolbox, from a few resamples."""
    from rsatoolbox import inference, model, rdm

    people, models = draw_rdms()
    data, fixed = rdm.RDMs(people), [model.ModelFixed(str(k), v) for k, v in enumerate(models)]
    begin = time.perf_counter()
    inference.eval_dual_bootstrap(fixed, data, method=METHODS[second], k_pattern=1, k_rdm=1, N=PEER_RESAMPLES, n_cv=1)
    seconds = (time.perf_counter() - begin) * RESAMPLES / PEER_RESAMPLES
    return seconds, inference.eval_fixed(fixed, data, method=METHODS[second]).get_means()[:3]


if __name__ == "__main__":
    run = time_peer if sys.argv[1:] == ["peer"] else time_ours
    for second in METHODS:
        seconds, values = run(second)
        print(f"{second:10} {seconds:8.1f} s for {RESAMPLES} resamples; first values {np.round(values, 6)}")
