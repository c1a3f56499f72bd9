"""Positions of samples on a map: principal components or t-SNE."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import eigh

from .layout import one_thread, to_principal_axes
from .maps import tsne
from .results import check_samples


def sample_points(x: Any, kind: str, seed: int = 0) -> tuple[np.ndarray, str]:
    """Return the points (n, 2) of the samples of a representation, and a line on how they were found.

    kind: "pca" (the first two principal components) or "tsne".
    """
    if kind == "tsne":
        found = tsne(x, seed=seed)
        trust = f"{found.method}, trustworthiness {found.trustworthiness:.2f}; distances between groups mean nothing"
        return found.points.to_numpy(), trust
    values = check_samples(x)
    values = values - values.mean(axis=0)
    wide = len(values) < values.shape[1]
    with one_thread():
        inner = values @ values.T if wide else values.T @ values
        last = len(inner) - 1
        variances, axes = eigh(inner, subset_by_index=[max(0, last - 1), last])
        variances, axes = variances[::-1].clip(min=0), axes[:, ::-1]
        points = axes * np.sqrt(variances) if wide else values @ axes
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    parts = np.append(variances, 0.0)[:2] / np.trace(inner)
    return to_principal_axes(points), f"principal components: {parts[0]:.0%} and {parts[1]:.0%} of the variance"


def align_points(points: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Rotate or mirror points (n, 2) so that they are near `like` (n, 2); distances stay the same."""
    left, _, right = np.linalg.svd((points - points.mean(axis=0)).T @ (like - like.mean(axis=0)))
    return (points - points.mean(axis=0)) @ left @ right
