"""Images as small square tiles, and tiles as one PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import matplotlib.image
import numpy as np

TILE = 56  # pixels, the side of a tile


def tile(image: np.ndarray) -> np.ndarray:
    """Return an image (h, w) or (h, w, 3) as a square tile in color; its sides keep their proportion."""
    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    large = max(image.shape[:2])
    square = np.zeros((TILE, TILE, 3), np.uint8)
    height, width = (max(1, round(TILE * side / large)) for side in image.shape[:2])
    rows = (np.arange(height) * image.shape[0] // height)[:, None]
    columns = np.arange(width) * image.shape[1] // width
    top, left = (TILE - height) // 2, (TILE - width) // 2
    square[top : top + height, left : left + width] = image[rows, columns]
    return square


def png_address(tiles: Sequence[np.ndarray]) -> str:
    """Return tiles below each other as a PNG in a data address, which HTML shows without a request."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, np.concatenate(list(tiles)), format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
