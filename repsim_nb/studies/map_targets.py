"""Targets for maps of layer × layer similarities: a text, an image, or a simple pattern, and how near any map can come.

A target is a symmetric array (layers, layers) with 1 on the diagonal; NaN is a cell that may have any value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from repsim_nb.support.errors import unknown_name
from repsim_nb.support.validation import check_integer, is_number

# letters and digits of five rows, three columns or as many as they need; a row is a number, its bits are the cells
_GLYPHS = {
    **{"A": "75755", "B": "65656", "C": "74447", "D": "65556", "E": "74647", "F": "74644", "G": "74557", "H": "55755"},
    **{"I": "11111", "J": "11157", "K": "55655", "L": "44447", "O": "75557", "P": "75744", "Q": "75571", "R": "75655"},
    **{"S": "74717", "T": "72222", "U": "55557", "V": "55552", "X": "55255", "Y": "55222", "Z": "71247", "0": "75557"},
    **{"1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71111", "8": "75757"},
    **{"9": "75717", "!": "11101", "?": "71302", "-": "00700", ".": "00001", "+": "02720", "=": "07070", " ": "00000"},
}
_WIDE = {"M": (17, 27, 21, 17, 17), "N": (9, 13, 11, 9, 9), "W": (17, 17, 21, 27, 17)}


def draw_text(text: str) -> np.ndarray:
    """Draw a short text as cells of 0 and 1, five rows high: letters, digits and a few signs.

    Examples
    --------
    >>> for row in draw_text("LIE").astype(int):
    ...     print("".join(" #"[cell] for cell in row))
    #   # ###
    #   # #
    #   # ##
    #   # #
    ### # ###
    """
    if not str(text).strip():
        raise ValueError(f"text must have at least one letter; got {text!r}.")
    known = {sign: tuple(map(int, rows)) for sign, rows in _GLYPHS.items()} | _WIDE
    parts: list[np.ndarray] = []
    for sign in str(text).upper():
        if sign not in known:
            raise unknown_name("letter", sign, sorted(known))
        width = max(max(known[sign]).bit_length(), 2 if sign == " " else 1)
        cells = [[row >> place & 1 for place in reversed(range(width))] for row in known[sign]]
        parts += [np.array(cells, dtype=float), np.zeros((5, 1))]
    return np.hstack(parts[:-1])


def text_target(text: str, layers: int | None = None, *, ink: float = 0.9, paper: float = 0.1) -> np.ndarray:
    """Write a short text into a map: in the rows of the first layers and the columns of the last ones.

    Parameters
    ----------
    text : str
        Letters, digits and a few signs; they are five cells high.
    layers : int, optional
        The number of layers of the map; None is as few as the text needs.
    ink, paper : float
        The similarities of the letters and of the cells around them.

    Returns
    -------
    array (layers, layers)
        The text with a frame of one cell, from the first rows and in the last columns, and the same, mirrored, in the
        lower triangle. All other cells are NaN.

    Examples
    --------
    >>> text_target("LIE").shape, text_target("LIE")[1, 8:12].tolist()
    ((18, 18), [0.9, 0.1, 0.1, 0.1])
    """
    return _place(draw_text(text), layers, ink, paper)


def image_target(image: Any, layers: int, *, ink: float = 0.9, paper: float = 0.1) -> np.ndarray:
    """Draw an image into a map: in the rows of the first layers and the columns of the last ones.

    Parameters
    ----------
    image : array (h, w)
        Grey values, of any range: the largest becomes `ink`, the smallest `paper`. An image that is too large for the
        map is made smaller; cells are then means of pixels.
    layers : int
        The number of layers of the map.
    ink, paper : float
        The similarities of the brightest and of the darkest pixel.

    Returns
    -------
    array (layers, layers)
        As of `text_target`.

    Examples
    --------
    >>> image_target(np.eye(3), 10)[1:4, 6:9].tolist()
    [[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]]
    """
    pixels = np.asarray(image, dtype=float)
    if pixels.ndim != 2 or not pixels.size or not np.isfinite(pixels).all() or np.ptp(pixels) == 0:
        raise ValueError(
            f"image must be a grey picture, (h, w), of finite values that are not all equal; got shape {pixels.shape}."
        )
    layers = check_integer(layers, "layers", minimum=6, hint="a frame and at least one pixel in each direction")
    h, w = pixels.shape
    while h + w + 4 > layers:  # keep the shape
        h, w = (h - 1, w) if h > 1 and (w == 1 or h / pixels.shape[0] >= w / pixels.shape[1]) else (h, w - 1)
    smaller = np.array(
        [[part.mean() for part in np.array_split(strip, w, axis=1)] for strip in np.array_split(pixels, h)]
    )
    return _place((smaller - smaller.min()) / max(np.ptp(smaller), 1e-12), layers, ink, paper)


def _place(picture: np.ndarray, layers: int | None, ink: float, paper: float) -> np.ndarray:
    for name, value in (("ink", ink), ("paper", paper)):
        if not is_number(value) or not 0 <= value <= 1:
            raise ValueError(f"{name} must be a similarity, a number from 0 to 1; got {value!r}")
    framed = np.pad(paper + (ink - paper) * picture, 1, constant_values=paper)
    (h, w), least = framed.shape, sum(framed.shape)
    layers = check_integer(
        least if layers is None else layers,
        "layers",
        minimum=least,
        hint=f"this picture needs {h} rows and {w} columns",
    )
    target = np.full((layers, layers), np.nan)
    target[:h, -w:] = framed
    target[-w:, :h] = framed.T
    np.fill_diagonal(target, 1)
    return target


def error(values: Any, target: Any) -> float:
    """Compute the root mean square of map - target, over the cells off the diagonal that have a target.

    Examples
    --------
    >>> error(np.full((3, 3), 0.5), np.ones((3, 3)))
    0.5
    """
    gaps = np.array(values, dtype=float) - np.asarray(target, dtype=float)
    return float(np.sqrt(np.nanmean(gaps[~np.eye(len(gaps), dtype=bool)] ** 2)))


def nearest_map(target: Any, *, steps: int = 2000) -> np.ndarray:
    """Compute the map nearest to a target, in squares, among all that any representations can have.

    CKA is the cosine between two centred similarity matrices, so a map has no negative eigenvalue, 1 on the diagonal
    and, without debiasing, no cell below 0. Few pictures are like that: if A is like B, and B like C, then A and C
    cannot be unlike. No model comes nearer to the target than this map.

    Parameters
    ----------
    target : array (layers, layers)
        NaN are free cells.
    steps : int
        Steps of the alternating direction method of multipliers, which finds the one minimum.

    Examples
    --------
    >>> chain = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1.0]])  # alike, alike, and not alike
    >>> nearest_map(chain).round(2).tolist()
    [[1.0, 0.76, 0.16], [0.76, 1.0, 0.76], [0.16, 0.76, 1.0]]
    """
    target = np.asarray(target, dtype=float)
    counted, wanted = np.isfinite(target), np.nan_to_num(target)
    possible = mean = np.eye(len(target))
    residue = np.zeros_like(wanted)
    for _ in range(steps):
        values, vectors = np.linalg.eigh(mean - residue)
        possible = (vectors * np.maximum(values, 0)) @ vectors.T
        mean = np.clip((counted * wanted + possible + residue) / (counted + 1), 0, 1)
        np.fill_diagonal(mean, 1)
        residue += possible - mean
    scale = np.sqrt(np.diag(possible))
    return possible / np.outer(scale, scale)
