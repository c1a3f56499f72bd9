"""Colors and markers: each family of measures and each family of models has one color in all figures.

All of them are among `CLASS_COLORS`, which people with every kind of color vision can tell apart. Names are found
whatever their case ("MLP" and "mlp"), and a measure also inside a longer name ("CKA, permuted", "pwcca_all_other").
Names of no family, and names of two ("CKA and PWCCA"), take the colors that are left.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Colors that people with every kind of color vision can tell apart. [Okabe and Ito 2008]"""

CLASS_COLORS = (*COLORS, "#8800FF", "#884422", "#AAEE99", "#AA0077")
"""Twelve colors. The last four differ from all others at least as much as the first eight from each other."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINE_COLORS = tuple(color for color in COLORS if color != "#F0E442")  # a thin yellow line cannot be seen on white
DASHES = ("-", "--", ":", "-.", "6 1 1 1 1 1")  # the last one in lengths of dashes and gaps
MISSING = "#bdbdbd"  # of points without a value
NEUTRAL = "#666666"  # of marks whose color has no meaning

_BLUE, _ORANGE, _GREEN, _PINK, _SKY, _RED, _YELLOW, _BLACK, _PURPLE, _BROWN, _PALE, _BERRY = CLASS_COLORS

MEASURE_COLORS: Mapping[str, str] = {
    "cka": _BLUE,
    "procrustes": _ORANGE,
    "pwcca": _GREEN,
    "cca": _RED,
    "rsa": _PINK,
    "neighbours": _SKY,
    "distance_correlation": _PURPLE,
    "linear_predictivity": _BROWN,
    "matching": _BERRY,
    "jsd": _BLACK,
}
"""The color of each family of measures."""

MODEL_COLORS: Mapping[str, str] = {
    "cnn": _BLUE,
    "mlp": _ORANGE,
    "vit": _GREEN,
    "residual": _RED,
    "depthwise": _PINK,
    "transformer": _SKY,
    "convnext": _PURPLE,
    "efficientnet": _BROWN,
    "regnet": _BERRY,
    "inception": _YELLOW,
    "mobilenet": _PALE,
    "plain": _BLACK,
}
"""The color of each family of models."""

OTHER = "0.35"
"""The grey of a row of no family next to rows that have the color of theirs."""

_MEASURES = {
    "cka": ("cka",),
    "procrustes": (
        "procrustes",
        "procrustes distance",
        "angular shape",
        "nbs",
        "aligned cosine",
        "whitened shape",
        "size and shape",
    ),
    "pwcca": ("pwcca", "projection weighted cca"),
    "cca": ("cca", "mean cca", "mean squared cca", "mean sq cca", "svcca"),
    "rsa": ("rsa", "rsm norm difference", "rtd lite", "nts"),
    "neighbours": (
        "mutual knn",
        "jaccard knn",
        "cknna",
        "neighbours",
        "shared neighbours",
        "rank similarity",
        "second order cosine",
    ),
    "distance_correlation": ("distance correlation",),
    "linear_predictivity": ("linear predictivity", "gulp"),
    "matching": (
        "soft matching",
        "permutation procrustes",
        "hard correlation match",
        "soft correlation match",
        "partial soft matching",
    ),
    "jsd": ("jsd", "kl"),
}
_MODELS = {
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
_FAMILY_OF_MODEL = {name: family for family, names in _MODELS.items() for name in names}
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
        A key of `MEASURE_COLORS` or `MODEL_COLORS`; None if the name has no family or several.

    Examples
    --------
    >>> from repsim_nb.display.specs.colors import family_of
    >>> family_of("debiased CKA"), family_of("ResNets"), family_of("CKA and PWCCA")
    ('cka', 'residual', None)
    """
    if not isinstance(name, str):
        return None
    words = " ".join(re.split(r"[\W_]+", name.lower())).strip()
    families = {_FAMILY_OF_MEASURE[found] for found in _INSIDE.findall(words)}
    if families:
        return families.pop() if len(families) == 1 else None
    return _FAMILY_OF_MODEL.get(words) or _FAMILY_OF_MODEL.get(words.removesuffix("s"))


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
    return None if family is None else MEASURE_COLORS.get(family) or MODEL_COLORS[family]


def group_colors(names: Sequence[Hashable], palette: Sequence[str]) -> list[str]:
    """Return a different color for each name, the fixed one if a name is alone in its family.

    The others get the colors of the palette that are left, in order; it has at least as many colors as there are names.
    """
    fixed = [fixed_color(name) for name in names]
    fixed = [color if color is not None and fixed.count(color) == 1 else None for color in fixed]
    left = iter([color for color in palette if color not in fixed])
    return [color or next(left) for color in fixed]


def line_colors(names: Iterable[Hashable]) -> list[tuple[str, int]]:
    """Return a color for each name, and how many names before it have the same one.

    By the number, lines of one color can differ. The names of one family share its color. If all names are of one
    family, its color distinguishes nothing: then the first name has it, and the others have other `LINE_COLORS`. These
    come again when they are used up.
    """
    names, palette = list(names), list(LINE_COLORS)
    fixed = [fixed_color(name) for name in names]
    known = {color for color in fixed if color is not None}
    if len(known) == 1 and len(names) == sum(color is not None for color in fixed):
        (first,) = known
        palette, fixed = [first, *(color for color in palette if color != first)], [None] * len(names)
        known = set()
    left = [color for color in palette if color not in known] or palette
    found: list[tuple[str, int]] = []
    unknown = 0
    for color in fixed:
        if color is None:
            found.append((left[unknown % len(left)], unknown // len(left)))
            unknown += 1
        else:
            found.append((color, sum(color == other for other, _ in found)))
    return found


_VIRIDIS = (  # 256 colors of matplotlib's viridis, which views need and matplotlib need not be imported for
    "44015444025645045745055946075a46085c460a5d460b5e470d60470e6147106347116447136548146748166848176948186a481a6c"
    "481b6d481c6e481d6f481f70482071482173482374482475482576482677482878482979472a7a472c7a472d7b472e7c472f7d46307e"
    "46327e46337f463480453581453781453882443983443a83443b84433d84433e85423f85424086424186414287414487404588404688"
    "3f47883f48893e49893e4a893e4c8a3d4d8a3d4e8a3c4f8a3c508b3b518b3b528b3a538b3a548c39558c39568c38588c38598c375a8c"
    "375b8d365c8d365d8d355e8d355f8d34608d34618d33628d33638d32648e32658e31668e31678e31688e30698e306a8e2f6b8e2f6c8e"
    "2e6d8e2e6e8e2e6f8e2d708e2d718e2c718e2c728e2c738e2b748e2b758e2a768e2a778e2a788e29798e297a8e297b8e287c8e287d8e"
    "277e8e277f8e27808e26818e26828e26828e25838e25848e25858e24868e24878e23888e23898e238a8d228b8d228c8d228d8d218e8d"
    "218f8d21908d21918c20928c20928c20938c1f948c1f958b1f968b1f978b1f988b1f998a1f9a8a1e9b8a1e9c891e9d891f9e891f9f88"
    "1fa0881fa1881fa1871fa28720a38620a48621a58521a68522a78522a88423a98324aa8325ab8225ac8226ad8127ad8128ae8029af7f"
    "2ab07f2cb17e2db27d2eb37c2fb47c31b57b32b67a34b67935b77937b87838b9773aba763bbb753dbc743fbc7340bd7242be7144bf70"
    "46c06f48c16e4ac16d4cc26c4ec36b50c46a52c56954c56856c66758c7655ac8645cc8635ec96260ca6063cb5f65cb5e67cc5c69cd5b"
    "6ccd5a6ece5870cf5773d05675d05477d1537ad1517cd2507fd34e81d34d84d44b86d54989d5488bd6468ed64590d74393d74195d840"
    "98d83e9bd93c9dd93ba0da39a2da37a5db36a8db34aadc32addc30b0dd2fb2dd2db5de2bb8de29bade28bddf26c0df25c2df23c5e021"
    "c8e020cae11fcde11dd0e11cd2e21bd5e21ad8e219dae319dde318dfe318e2e418e5e419e7e419eae51aece51befe51cf1e51df4e61e"
    "f6e620f8e621fbe723fde725"
)


_PUOR = "7f3b08b35806e08214fdb863fee0b6f7f7f7d8daebb2abd28073ac5427882d004b"  # eleven colors, even steps apart


def color_map(name: str) -> tuple[str, ...]:
    """Return the 256 colors of a map as hexadecimal text, from the low to the high end.

    "viridis" and "viridis_r" are for amounts, "PuOr" for differences: orange below 0, purple above it.
    """
    if name == "PuOr":
        return tuple(_between(k / 25.5) for k in range(256))
    colors = tuple(f"#{_VIRIDIS[at : at + 6]}" for at in range(0, len(_VIRIDIS), 6))
    return colors[::-1] if name.endswith("_r") else colors


def _between(place: float) -> str:
    """Return the color at a place between 0 and 10 of `_PUOR`."""
    first = min(int(place), 9)
    ends = [[int(_PUOR[6 * k + at : 6 * k + at + 2], 16) for at in (0, 2, 4)] for k in (first, first + 1)]
    return "#" + "".join(f"{round(a + (place - first) * (b - a)):02x}" for a, b in zip(*ends, strict=True))
