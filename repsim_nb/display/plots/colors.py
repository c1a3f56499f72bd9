"""Fixed colors: each family of measures and each family of networks has one color in all figures.

All of them are among `CLASS_COLOURS`, which people with every kind of color vision can tell apart. Names are found
whatever their case ("MLP" and "mlp"), and a measure also inside a longer name ("CKA, permuted", "pwcca_all_other").
Names of no family, and names of two ("CKA and PWCCA"), take the colors that are left.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence

from .frame import CLASS_COLOURS

_BLUE, _ORANGE, _GREEN, _PINK, _SKY, _RED, _YELLOW, _BLACK, _PURPLE, _BROWN, _PALE, _LILAC = CLASS_COLOURS

MEASURE_COLORS: Mapping[str, str] = {
    "cka": _BLUE,
    "procrustes": _ORANGE,
    "pwcca": _GREEN,
    "cca": _RED,
    "rsa": _PINK,
    "neighbours": _SKY,
    "distance_correlation": _PURPLE,
    "linear_predictivity": _BROWN,
    "matching": _LILAC,
    "jsd": _BLACK,
}
"""The color of each family of measures."""

NETWORK_COLORS: Mapping[str, str] = {
    "cnn": _BLUE,
    "mlp": _ORANGE,
    "vit": _GREEN,
    "residual": _RED,
    "depthwise": _PINK,
    "transformer": _SKY,
    "convnext": _PURPLE,
    "efficientnet": _BROWN,
    "regnet": _LILAC,
    "inception": _YELLOW,
    "mobilenet": _PALE,
    "plain": _BLACK,
}
"""The color of each family of networks."""

OTHER = "0.35"
"""The gray of a row of no family next to rows that have the color of theirs."""

_MEASURES = {
    "cka": ("cka",),
    "procrustes": ("procrustes", "procrustes distance", "angular shape", "nbs"),
    "pwcca": ("pwcca", "projection weighted cca"),
    "cca": ("cca", "mean cca", "mean squared cca", "mean sq cca", "svcca"),
    "rsa": ("rsa",),
    "neighbours": ("mutual knn", "jaccard knn", "cknna", "neighbours", "shared neighbours"),
    "distance_correlation": ("distance correlation",),
    "linear_predictivity": ("linear predictivity", "gulp"),
    "matching": ("soft matching",),
    "jsd": ("jsd", "kl"),
}
_NETWORKS = {
    "cnn": ("cnn",),
    "mlp": ("mlp",),
    "vit": ("vit", "attention", "vision transformer"),
    "residual": ("residual", "resnet", "resnext"),
    "depthwise": ("depthwise",),
    "transformer": ("transformer", "bert", "minilm"),
    "convnext": ("convnext",),
    "efficientnet": ("efficientnet",),
    "regnet": ("regnet",),
    "inception": ("inception", "googlenet"),
    "mobilenet": ("mobilenet", "mnasnet"),
    "plain": ("plain", "vgg", "alexnet"),
}
_FAMILY_OF_MEASURE = {name: family for family, names in _MEASURES.items() for name in names}
_FAMILY_OF_NETWORK = {name: family for family, names in _NETWORKS.items() for name in names}
_INSIDE = re.compile(r"\b(" + "|".join(sorted(_FAMILY_OF_MEASURE, key=len, reverse=True)) + r")\b")


def family_of(name: object) -> str | None:
    """Find the family of measures or of models that a name belongs to.

    Parameters
    ----------
    name : object
        A measure is found as one or more words inside a name, a kind of model only if it is the whole name, in singular
        or plural. Case does not matter.

    Returns
    -------
    str or None
        A key of `MEASURE_COLORS` or `NETWORK_COLORS`; None if the name has no family or several.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> plots.family_of("debiased CKA"), plots.family_of("ResNets"), plots.family_of("CKA and PWCCA")
    ('cka', 'residual', None)
    """
    if not isinstance(name, str):
        return None
    words = " ".join(re.split(r"[\W_]+", name.lower())).strip()
    families = {_FAMILY_OF_MEASURE[found] for found in _INSIDE.findall(words)}
    if families:
        return families.pop() if len(families) == 1 else None
    return _FAMILY_OF_NETWORK.get(words) or _FAMILY_OF_NETWORK.get(words.removesuffix("s"))


def fixed_color(name: object) -> str | None:
    """Return the fixed color of the family that a name belongs to.

    Parameters
    ----------
    name : object
        As in `family_of`.

    Returns
    -------
    str or None
        A color as hexadecimal text; None if the name has no family or several.

    Examples
    --------
    >>> from repsim_nb import plots
    >>> plots.fixed_color("CKA") == plots.MEASURE_COLORS["cka"], plots.fixed_color("my own")
    (True, None)
    """
    family = family_of(name)
    return None if family is None else MEASURE_COLORS.get(family) or NETWORK_COLORS[family]


def group_colors(names: Sequence[Hashable], palette: Sequence[str]) -> list[str]:
    """A different color for each name: the fixed one of those that are alone in their family, for the others those of
    the palette that are left, in order.

    palette: at least as many colors as names.
    """
    fixed = [fixed_color(name) for name in names]
    fixed = [color if color is not None and fixed.count(color) == 1 else None for color in fixed]
    left = iter([color for color in palette if color not in fixed])
    return [color or next(left) for color in fixed]


def line_colors(names: Iterable[Hashable], palette: Sequence[str]) -> list[tuple[str, int]]:
    """A color for each name, and how many names before it have the same one, by which lines of one color are told
    apart.

    The names of one family share its color. If all known names are of one family, its color says nothing: then the
    first name has it and the others the palette.
    Errors: none; colors of the palette come again when they are used up.
    """
    names = list(names)
    fixed = [fixed_color(name) for name in names]
    known = set(fixed) - {None}
    if len(known) == 1 and len(names) == sum(color is not None for color in fixed):
        (first,) = known
        palette, fixed = [first, *(color for color in palette if color != first)], [None] * len(names)
        known = set()
    left = [color for color in palette if color not in known] or list(palette)
    found: list[tuple[str, int]] = []
    unknown = 0
    for color in fixed:
        if color is None:
            found.append((left[unknown % len(left)], unknown // len(left)))
            unknown += 1
        else:
            found.append((color, sum(color == other for other, _ in found)))
    return found
