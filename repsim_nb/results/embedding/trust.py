"""How far a map can be trusted, in a word; the only place where the limits of these words stand."""

from __future__ import annotations

LIMITS = {  # up to which stress, and from which trustworthiness, a map is called so; otherwise it is poor
    "faithful": {"stress": 0.10, "trustworthiness": 0.90},
    "fair": {"stress": 0.20, "trustworthiness": 0.75},
}


def rate_map(kind: str, stress: float, trustworthiness: float) -> str:
    """Rate a map as "faithful", "fair" or "poor": by its stress, or a t-SNE by its trustworthiness.

    The number is rated as it is written, with two decimals: two maps with the same number get the same word.
    """
    for word, limit in LIMITS.items():
        if kind == "tsne" and round(trustworthiness, 2) >= limit["trustworthiness"]:
            return word
        if kind != "tsne" and round(stress, 2) <= limit["stress"]:
            return word
    return "poor"
