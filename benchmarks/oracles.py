"""Numbers of other packages next to ours or next to a closed form, where they share a part with us but no measure.

dimensionality has our two participation ratios. dsa-metric compares square matrices after the best orthogonal change of
basis, C B Cᵀ. For Gram matrices this is a comparison of their eigenvalues, and bounds CKA, which has C = I.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from .peers import missing, stand_in


def data(n: int = 60, p: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Two related sides of rank 5, in float64, whose means are not 0."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 5))
    return tuple(z @ rng.normal(size=(5, p)) + 0.3 * rng.normal(size=(n, p)) + 2.0 for _ in range(2))  # type: ignore[return-value]


def gram(x: np.ndarray) -> np.ndarray:
    """The centred Gram matrix at unit norm."""
    x = x - x.mean(0)
    found = x @ x.T
    return found / np.linalg.norm(found)


def participation_ratios() -> list[dict[str, Any]]:
    """Both participation ratios of `diagnose`, and those of dimensionality."""
    from dimensionality import participation_ratio

    import repsim_nb as rs

    x = data()[0]
    theirs, ours = participation_ratio(x, return_all=True), rs.reliability.diagnose(x).facts["x"]
    return [
        {
            "what": f"{name}, (60, 20) of rank 5 and noise",
            "peer": "dimensionality",
            "theirs": float(theirs[key]),
            "ours": float(ours[name]),
            "known": f"`diagnose`: {name}",
            "said": f"equal to {abs(theirs[key] - ours[name]):.0e}",
        }
        for key, name in (("naive", "participation ratio"), ("both", "participation ratio, corrected"))
    ]


def best_basis() -> list[dict[str, Any]]:
    """The angle between two Gram matrices after the best change of basis, next to its closed form and to CKA."""
    import torch
    from DSA.simdist import SimilarityTransformDist

    import repsim_nb as rs

    x, y = (side[:12] for side in data())
    torch.manual_seed(0)
    search = SimilarityTransformDist(iters=1000, score_method="angular", lr=0.01)
    theirs = float(search.fit_score(gram(x), gram(y)))
    # the trace of A C B Cᵀ is largest if eigenvectors are matched in the order of their eigenvalues
    exact = math.acos(float(np.linalg.eigvalsh(gram(x)) @ np.linalg.eigvalsh(gram(y))))
    cka = math.acos(float(rs.measures.get("cka")(x, y)))
    what, peer = "angle of two Gram matrices (12, 12) after the best change of basis", "dsa-metric"
    return [
        {
            "what": what,
            "peer": peer,
            "theirs": theirs,
            "ours": exact,
            "known": "from the eigenvalues, exact",
            "said": f"gradient descent ends {theirs - exact:.0e} above",
        },
        {
            "what": what,
            "peer": peer,
            "theirs": theirs,
            "ours": cka,
            "known": "arccos of `cka`, without a change of basis",
            "said": "a bound: " + ("kept" if exact <= cka else "broken"),
        },
    ]


def measure(*, fast: bool, out: Path) -> list[dict[str, Any]]:
    """All rows of packages that are installed."""
    stand_in()
    rows = participation_ratios() if missing("dimensionality") is None else []
    return rows + (best_basis() if missing("dsa-metric") is None else [])
