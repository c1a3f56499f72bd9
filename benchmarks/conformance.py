"""Compare our values with those of 32 public repositories for one pair of arrays, and write CONFORMANCE.md.

`python -m benchmarks.conformance` writes the page again. The published values are in `data/conformance`, and so is the
table `ours.csv`: each published number is in one of its rows, with what reproduces it or with the reason why nothing
does. `tests/test_conformance.py` checks every row.
"""

from __future__ import annotations

import ast
import csv
import dataclasses
import functools
import itertools
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import repsim_nb as rs

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data" / "conformance"


class Row(NamedTuple):
    """One row of `ours.csv`: what some repositories give in one column, and our value.

    Attributes
    ----------
    column : str
        The name of the column in `metric_vs_repo.csv`.
    repositories : tuple of str
        The repositories whose values agree with each other.
    measure : str
        Our measure as code, such as "CKA(debiased=True)"; "" if we have none.
    form : str
        What is computed from the value of the measure, a key of `FORMS`.
    inputs : str
        What is done to the arrays first, a key of `INPUTS`.
    digits : int or None
        To how many digits both agree; None if they do not.
    reason : str
        A key of `reasons.csv`; "" if there is nothing to explain.
    """

    column: str
    repositories: tuple[str, ...]
    measure: str
    form: str
    inputs: str
    digits: int | None
    reason: str

    @property
    def verdict(self) -> str:
        if self.form == "refused":
            return "refused"
        return "agrees" if self.digits else "differs" if self.measure else "out of scope"


def pair() -> tuple[np.ndarray, np.ndarray]:
    """The two arrays whose values were published."""
    random = np.random.RandomState(0)
    return random.rand(30, 25), random.rand(30, 25)


def published() -> dict[tuple[str, str], float]:
    """The published values, by column and repository."""
    with open(DATA / "metric_vs_repo.csv", newline="") as file:
        head, *lines = csv.reader(file)
    return {
        (column, line[0]): float(cell)
        for line in lines
        for column, cell in zip(head[1:], line[1:], strict=True)
        if cell
    }


@functools.cache
def columns() -> list[str]:
    """All columns of the published table, in order; one of them has no values."""
    with open(DATA / "metric_vs_repo.csv", newline="") as file:
        return next(csv.reader(file))[1:]


def rows() -> list[Row]:
    """The rows of `ours.csv`."""
    with open(DATA / "ours.csv", newline="") as file:
        return [
            Row(
                one["column"],
                tuple(one["repositories"].split()),
                one["measure"],
                one["form"],
                one["inputs"],
                int(one["digits"]) if one["digits"] else None,
                one["reason"],
            )
            for one in csv.DictReader(file)
        ]


def reasons() -> dict[str, tuple[str, str]]:
    """Title and text of each reason."""
    with open(DATA / "reasons.csv", newline="") as file:
        return {one["reason"]: (one["title"], one["text"]) for one in csv.DictReader(file)}


def measure_of(code: str) -> rs.measures.Measure:
    """Create the measure of a row from its code: a class and keyword arguments, nothing else."""
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args, code
    options = {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    return getattr(rs.measures, call.func.id)(**options)


def _to_bfloat16(x: np.ndarray) -> np.ndarray:
    bits = x.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return rounded.astype(np.uint32).view(np.float32).astype(float)


def _centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(axis=0)


def _row_scores(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=1, keepdims=True)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


INPUTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "": (lambda x: x, ""),
    "centred": (_centred, "features centred first"),
    "row scores": (_row_scores, "each sample centred and scaled to length 1 first"),
    "16 bits": (_to_bfloat16, "inputs rounded to 16 bits (bfloat16)"),
}


def _squared_distances(x: np.ndarray) -> np.ndarray:
    return ((x[:, None] - x[None]) ** 2).sum(axis=2)


def _centred_kernel(x: np.ndarray) -> np.ndarray:
    kernel = np.exp(-_squared_distances(x) / 2)
    kernel = kernel - kernel.mean(axis=0)
    return kernel - kernel.mean(axis=1, keepdims=True)


def _squared_lengths(kind: str, x: np.ndarray, measure: Any) -> float:
    """The squared length of one side, from which other packages turn a similarity into a distance."""
    if kind == "kernel":
        return float(np.trace(_centred_kernel(x)))
    if kind == "whitened":
        return float(len(x) * measure.prepare(x).q.shape[1])
    if kind == "dimensions":
        return float(rs.measures.shared_dimensions(x, x))
    variances = np.linalg.svd(_centred(x), compute_uv=False) ** 2
    return float(variances[: measure.prepare(x).q.shape[1]].sum() if kind == "components" else variances.sum())


FORMS: dict[str, tuple[Callable[[float, float, float], float], str]] = {
    # from our value and the squared lengths of both sides; what the page says
    "": (lambda s, a, b: s, ""),
    "angle": (lambda s, a, b: math.acos(s), "arccos"),
    "1 - value": (lambda s, a, b: 1 - s, "1 − value"),
    "angle / 90°": (lambda s, a, b: math.acos(s) * 2 / math.pi, "arccos, in units of 90°"),
    "dimensions": (lambda s, a, b: math.sqrt(a * b) * s, "× the root of {}"),
    "-log": (lambda s, a, b: -math.log(s), "−log"),
    "squared distance": (lambda s, a, b: a + b - 2 * math.sqrt(a * b) * s, "as a squared distance by {}"),
    "distance": (lambda s, a, b: math.sqrt(a + b - 2 * math.sqrt(a * b) * s), "as a distance by {}"),
    "squared distance / 2": (
        lambda s, a, b: (a + b - 2 * math.sqrt(a * b) * s) / 2,
        "half of the squared distance by {}",
    ),
    "squared distance / 25": (
        lambda s, a, b: (a + b - 2 * math.sqrt(a * b) * s) / 25,
        "1/25 of the squared distance by {}",
    ),
    "sum of units": (lambda s, a, b: 25 * s, "× 25 units"),
    "root of sum": (lambda s, a, b: math.sqrt(25 * s), "root of 25 × value"),
    "1 - value / 2": (lambda s, a, b: 1 - s / 2, "1 − value / 2"),
}
LENGTHS = {  # by which a similarity becomes a distance
    "": "",
    "centred": "the lengths of both centred sides",
    "kernel": "the lengths of both sides in the kernel",
    "whitened": "the lengths of both sides after whitening",
    "dimensions": "both participation ratios (`rs.measures.shared_dimensions`)",
    "components": "the lengths of both sides in the kept components",
}
WIDTH = "width 1"  # an RBF kernel exp(-d² / 2); ours is given as a multiple of the median distance of each side


def ours(row: Row) -> float:
    """Our value for a row; NaN if we refuse."""
    if row.form == "refused":
        return math.nan
    prepared = INPUTS[row.inputs.removeprefix(WIDTH).lstrip(", ")][0]
    x, y = (prepared(side) for side in pair())
    measure = measure_of(row.measure)
    one = other = measure
    if row.inputs.startswith(WIDTH):
        one, other = (
            dataclasses.replace(measure, bandwidth=float(np.median(_squared_distances(side))) ** -0.5)
            for side in (x, y)
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of degenerate="allow"
        value = one.pair(one.prepare(x), other.prepare(y))
    form, _, kind = row.form.partition(": ")
    if row.inputs.endswith("16 bits"):  # only the products were rounded
        x, y = pair()
    lengths = [_squared_lengths(kind, side, measure) if kind else 0.0 for side in (x, y)]
    return float(FORMS[form][0](value, *lengths))


def close(one: float, other: float, digits: int) -> bool:
    """Whether two values agree to so many digits."""
    return abs(one - other) <= 10.0**-digits * abs(other)


FAMILIES = {  # of the columns, by how their names begin; the first that fits
    "CKA": (
        "cka",
        "feature_space",
        "linear_CKA",
        "kernel_CKA",
        "linear_HSIC",
        "kernel_HSIC",
        "unbiased_",
        "distance_corr",
    ),
    "CCA, SVCCA and PWCCA": ("cca", "svcca", "pwcca"),
    "Procrustes and NBS": ("procrustes", "nbs", "orthogonal", "bures"),
    "Representational similarity analysis": ("rsa",),
    "Matching of units": ("permutation", "hard_corr", "soft_corr", "pairwise", "max_match", "isc", "correlation"),
    "Prediction": ("linear_regression", "ridge", "kernel_ridge", "pls", "gulp", "versa"),
    "Neighbours": ("jaccard", "rank_sim", "second_order"),
    "Others": ("",),
}


def family_of(column: str) -> str:
    """The section of a column."""
    return next(name for name, starts in FAMILIES.items() if column.startswith(starts))


def _number(value: float) -> str:
    return f"{value:.7g}".replace("-", "−")


def _escaped(text: str) -> str:
    return re.sub(r"([_*|<\[\]])", r"\\\1", text)


def _plain(text: str) -> str:
    """Text for a Markdown table; a long name may break after an underscore, a bracket or an equals sign."""
    return re.sub(r"(?<=\w\w)(\\_|\(|=)(?=\w\w)", r"\1<wbr>", _escaped(text))


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _in_order(row: Row) -> tuple[int, bool, int]:
    """A similarity stands before the distances that were computed from it."""
    first = re.split(r"-(?:distance|score|squared_score)", row.column)[0]
    place = next(k for k, name in enumerate(columns()) if name.startswith(first))
    return place, "-distance" in row.column, columns().index(row.column)


def _ours(row: Row) -> str:
    """Our value, the measure that gives it, and what else was done."""
    form, _, kind = row.form.partition(": ")
    parts = [FORMS[form][1].format(LENGTHS[kind]) if form in FORMS else ""]
    parts.append(INPUTS[row.inputs.removeprefix(WIDTH).lstrip(", ")][1])
    parts.insert(0, "kernel exp(−d²/2)" if row.inputs.startswith(WIDTH) else "")
    value = "refused" if row.verdict == "refused" else f"**{_number(ours(row))}**"
    return ", ".join([f"ours {value}: `{row.measure}`", *filter(None, parts)])


def _theirs(row: Row, theirs: float, why: dict[str, tuple[str, str]]) -> str:
    """The value of some repositories, with the verdict."""
    verdict = f"agrees, {row.digits} digits" if row.digits else row.verdict
    reason = f" ([{why[row.reason][0]}](#{_anchor(why[row.reason][0])}))" if row.reason else ""
    if not row.repositories:
        return f"no value: {verdict}{reason}"
    names = (_plain(one) if len(one) > 24 else one.replace("_", r"\_") for one in row.repositories)
    return f"**{_number(theirs)}** {verdict}{reason}: {', '.join(names)}"


def _line(column: str, found: list[Row], values: dict[tuple[str, str], float], why: dict[str, tuple[str, str]]) -> str:
    """The line of one column in the table of a section."""
    found = sorted(found, key=lambda row: -len(row.repositories))
    left = dict.fromkeys(_ours(row) for row in found if row.measure)  # in order, each once
    right = [_theirs(row, values[column, row.repositories[0]] if row.repositories else math.nan, why) for row in found]
    return f"| {'<br>'.join([_plain(column), *left])} | {'<br>'.join(right)} |"


def counts() -> dict[str, int]:
    """How many published values have each verdict."""
    found = dict.fromkeys(("agrees", "differs", "refused", "out of scope"), 0)
    for row in rows():
        found[row.verdict] += len(row.repositories)
    return found


def page() -> str:
    """The text of CONFORMANCE.md."""
    values, why, all_rows, number = published(), reasons(), rows(), counts()
    agreeing = {row.column for row in all_rows if row.verdict == "agrees"}
    lines = [
        "# Values next to 32 public repositories",
        "",
        "Packages that compute the same measure do not always give the same number. The authors of"
        " [similarity-repository](https://github.com/nacloos/similarity-repository) ran 32 public repositories on one"
        " pair of arrays and published what each of them gives. Here each of their numbers is next to ours.",
        "",
        "The pair is 30 samples of 25 features, uniform random numbers: `np.random.seed(0)`, then"
        " `X = np.random.rand(30, 25)` and `Y = np.random.rand(30, 25)`. X and Y are unrelated, so high similarities on"
        " this page are bias.",
        "",
        f"The table has {len(values)} values in {len(columns())} columns.",
        "",
        "| verdict | values | meaning |",
        "|---|---|---|",
        f"| agrees | {number['agrees']} | the same number, to the digits in the table ({len(agreeing)} columns) |",
        f"| differs | {number['differs']} | the table has the reason |",
        f"| refused | {number['refused']} | we raise an error, since the definition gives no single value |",
        f"| out of scope | {number['out of scope']} | we do not have the measure |",
        "",
        "Where packages disagree, an independent computation in `tests/test_conformance.py` decides:",
        "",
        "- **CKA** is the same in all packages. Four of them multiply numbers of 16 bits: the fourth digit changes.",
        "- **Procrustes** is 0.7228 in seven packages, in SciPy and here. No rotation gives the 0.99 of two packages.",
        "- **CCA** is degenerate for this pair: 21 of 25 correlations are 1 whatever the data. Five packages return"
        " 0.89 for unrelated arrays; we raise an error.",
        "- **PWCCA** has no single value for this pair. The 0.96 of four packages is more than its definition allows.",
        "- **SVCCA** depends on how many components are kept and on what the sum is divided by: with 99 % of the"
        " variance the packages return 0.78 or 0.11.",
        "",
        "A column with *distance* in its name is a similarity that the authors of the table turned into an angle, a"
        " distance or a squared distance. We turn our value in the same way, and the table shows how. Twelve digits are"
        " about as many as correct programs share if they add in different orders.",
        "",
        "Each row is tested: rows with *agrees* agree, rows with *differs* do not, and each published value is in one"
        " row. The values and the table are in `data/conformance`, and `python -m benchmarks.conformance` writes this"
        " page.",
        "",
    ]
    for family in FAMILIES:
        lines += [f"## {family}", "", "| column, and our value | values of the repositories |", "|---|---|"]
        inside = [row for row in sorted(all_rows, key=_in_order) if family_of(row.column) == family]
        for column, found in itertools.groupby(inside, key=lambda row: row.column):
            lines.append(_line(column, list(found), values, why))
        lines.append("")
    lines += ["## Reasons", ""]
    for title, text in why.values():
        lines += [f"### {title}", "", _escaped(text), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    (ROOT / "benchmarks" / "CONFORMANCE.md").write_text(page())
    print({**counts(), "columns": len(columns())})
