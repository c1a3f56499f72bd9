"""What a representation, or a pair of them, has that makes a measure say less than it seems to: `diagnose`."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import eigh
from scipy.special import ndtr, ndtri

from repsim_nb import measures
from repsim_nb.measures import (
    CCA,
    CKA,
    CKNNA,
    NBS,
    DistanceCorrelation,
    JaccardKNN,
    Measure,
    MutualKNN,
    Procrustes,
    check_same_samples,
)
from repsim_nb.measures.arrays import centred_unit, eps, reduce_features, smallest_direction
from repsim_nb.measures.base import check_sides
from repsim_nb.support.dependence import FOLLOWING, NEARLY, near_repeats, near_rows, neighbour_fractions
from repsim_nb.support.errors import UndefinedError, join_names
from repsim_nb.support.escaping import without_formulas
from repsim_nb.support.ids import check_order
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.validation import Array, check_integer, check_labels, check_representation, check_shape, to_numpy

# multiplications for the inner products of one side, about a second on one core with all that follows: more samples
# than that allows are not looked at
WORK = 1e10
# cka of unrelated data from which on "alike" and "few samples" are confused: layers of the zoo are at .01 to .08 with
# 500 samples, at .1 to .3 with 100
UNRELATED = 0.1
# share of one component in cka: then cka of the data with that component alone is .95. Trained layers on their own data
# reach .86 (an output of 10 classes)
RULED = 0.9
FAR = (
    5.0,
    8.0,
    # an outlier is this many median distances from the mean, and above the median by so many standard deviations (from
    # the
    # median deviation): layers of the zoo reach 4.1 and 11
)
REPEATED = 0.01, 0.1  # share of samples that repeat another one: worth a word, and grave
DEAD = 0.5  # share of units that never move: a quarter is usual behind a ReLU
TWINS = 0.1  # share of units that repeat another one: borders and background make .4 % of a convolution's
LEAST = 4  # samples, as debiased CKA needs
HUB = (
    1 / 3,
    0.001,
    50,
)  # a hub is among the nearest of so many others, and beyond what so rare a chance allows; from so many samples on
QUERIES = 300  # samples whose neighbours are looked for, among all

_FEWER = "Read cka_debiased instead of cka, or take more samples"
_SMALLER = "Take more samples than both ranks together, or keep fewer components: svcca, CCA(variance=0.9)"
_BESIDE = "Look at mean_cca beside it, which weighs directions alike, and at cka without that component"


@dataclass(frozen=True)
class Finding:
    """Something that is off: `what` in two words, the `sentence` with its figures, the `advice` what to do. grave: it
    changes what usual measures say.
    """

    what: str
    sentence: str
    advice: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.sentence}. {self.advice}."


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What `diagnose` found.

    findings: the gravest first.  facts: DataFrame, a row a fact, a column a side.  together: Series of the facts of a
    pair, empty for one representation.
    """

    findings: tuple[Finding, ...]
    facts: pd.DataFrame
    together: pd.Series = field(default_factory=lambda: pd.Series(dtype=object))

    @property
    def ok(self) -> bool:
        """Nothing was found."""
        return not self.findings

    @property
    def grave(self) -> tuple[Finding, ...]:
        """The findings that change what usual measures say."""
        return tuple(finding for finding in self.findings if finding.grave)

    def __repr__(self) -> str:
        found = "\n".join(f"- {finding}" for finding in self.findings) or "- nothing is off"
        tables = [self.facts.map(_written), *([self.together.map(_written)] if len(self.together) else [])]
        return "\n".join([f"Diagnosis of {' and '.join(self.facts)}", found, *(table.to_string() for table in tables)])

    def _repr_html_(self) -> str:
        found = "".join(
            f"<li><b>{html.escape(f.what)}</b>: {html.escape(f.sentence)}. <i>{html.escape(f.advice)}.</i></li>"
            for f in self.findings
        )
        tables = self.facts.map(_written).to_html() + (
            self.together.map(_written).to_frame(" × ".join(self.facts)).to_html() if len(self.together) else ""
        )
        head = (
            f"<p><b>Diagnosis of {html.escape(' and '.join(self.facts))}</b>{'' if found else ': nothing is off'}</p>"
        )
        listing = f"<ul style='max-width:760px'>{found}</ul>" if found else ""
        return without_formulas(
            f"{head}{listing}<div style='display:flex;gap:24px;align-items:flex-start'>{tables}</div>"
        )


def diagnose(
    x: Array,
    y: Array | None = None,
    *,
    names: str | Sequence[str] | None = None,
    most: int | None = None,
    groups: Any = None,
) -> Diagnosis:
    """What is off with a representation, or with a pair of the same samples, in words with what to do -> Diagnosis.

    Of each side: n against p, rank, participation ratio (Σλ)²/Σλ² (the number of directions that share the variance),
    share of the first component, outliers, exact repeats of samples and units, dead units; whether rows look grouped,
    so that they are no independent samples (tokens of a sentence, frames of a film, repeats of a stimulus); a sample
    that is a neighbour of very many others. Of a pair besides: whether CCA is defined, biased cka beside debiased, how
    much of cka the first components give and what it is without them.
    x, y: (n, ...), n from 4 on.  names: how the sides are called (usually x and y).  most: the most samples to look at,
    spread evenly; None is as many as take a second or so. What is not looked at is not read either; facts say how many
    were.
    groups: one label a row, where it is known which rows depend on each other; None takes those that the arrays carry
    (`x.groups`, as recordings of tokens do), or looks for signs: rows near each other in the order, or a fixed number
    of rows apart, that are more alike than any two (groups in random order are found only if their rows are nearly
    equal); index labels that repeat.
    Errors: ValueError where n differs; UndefinedError, as measures raise it, for NaN, infinity, too few samples, a
    constant representation.
    """
    given = [x] if y is None else [x, y]
    names = (
        ("x", "y")[: len(given)] if names is None else (names,) if isinstance(names, str) else tuple(map(str, names))
    )
    if len(names) != len(given) or len(set(names)) < len(names):
        raise ValueError(
            f"names has one name a side, {len(given)} here, all different; got {join_names(names) or 'none'}"
        )
    if most is not None:
        check_integer(most, "most", minimum=LEAST, hint="the number of samples to look at, or None for all")
    check_sides(dict(zip(names, ({name: v} for name, v in zip(names, given, strict=True)), strict=True)))
    flat = {name: _tried(name, lambda v=v: check_shape(v, LEAST)[0]) for name, v in zip(names, given, strict=True)}
    n = check_same_samples(flat)
    labels = {name: _labels_of(v, groups) for name, v in zip(names, given, strict=True)}
    labels = {name: (how, check_labels(its, n, "groups")) if how else (how, its) for name, (how, its) in labels.items()}
    some = min(n, most or n, *(_affordable(n, v.shape[1]) for v in flat.values()))
    places = np.linspace(0, n - 1, some).round().astype(int)
    partly = f" among the {some} of {n} samples looked at" if some < n else ""
    sides = [
        _tried(name, lambda v=v, name=name: _side(name, v if some == n else v[places], n, places), partly)
        for name, v in flat.items()
    ]
    rows = {side.name: _rows(side, flat[side.name], labels[side.name]) for side in sides}
    facts = pd.DataFrame({side.name: side.facts | rows[side.name][0] for side in sides}, dtype=object)
    findings = [finding for side in sides for finding in [*_of_units_and_samples(side), *rows[side.name][1]]]
    if y is None:
        return Diagnosis(_sorted(findings + _of_one(sides[0])), facts)
    together = _together(*sides)
    return Diagnosis(_sorted(findings + _of_both(*sides, together)), facts, pd.Series(together, dtype=object))


def notes(measure: str | Measure, found: Mapping[str, Diagnosis], most: int = 3) -> tuple[str, ...]:
    """The grave findings that matter for a measure, in a line each: what, with whom, what to do. found: {label:
    Diagnosis of one representation}.
    """
    measure = measures.get(measure)
    if measure.compares == "outputs":
        return ()
    about: dict[tuple[str, str], list[str]] = {}
    for label, diagnosis in found.items():
        for finding in diagnosis.grave:
            if _concerns(finding, measure):
                about.setdefault((finding.what, finding.advice), []).append(label)
    return tuple(
        f"{what}: {', '.join(labels[:4])}{f' and {len(labels) - 4} more' if len(labels) > 4 else ''}. {advice}."
        for (what, advice), labels in list(about.items())[:most]
    )


# -- one side
# --------------------------------------------------------------------------------------------------------------


class _Side(NamedTuple):
    """A representation, as it is (raw); centred, at unit norm (s, p) so that its variances sum to 1; its inner
    products, of samples or of features, whichever are fewer; the first component's
    share of variance and its samples' scores; n samples there are in all."""

    name: str
    n: int
    raw: np.ndarray
    x: np.ndarray
    products: np.ndarray
    first: float
    scores: np.ndarray
    rank: int
    facts: dict[str, Any]

    @property
    def spread(self) -> float:
        """The participation ratio (Σλ)²/Σλ²."""
        return 1 / float(np.vdot(self.products, self.products))

    @property
    def by_samples(self) -> bool:
        return self.x.shape[1] >= self.x.shape[0]

    @property
    def is_ruled(self) -> bool:
        """One component of several units is nearly all that cka sees."""
        return self.facts["first component, of cka"] >= RULED and self.facts["features"] - self.facts["dead units"] > 1


def _affordable(n: int, p: int) -> int:
    """So many samples that the inner products of the fewer of samples and features take no more than WORK."""
    return n if n * p * min(n, p) <= WORK else max(100, int(WORK / p**2 if WORK / p**2 >= p else math.sqrt(WORK / p)))


def _tried(name: str, call: Callable[[], Any], partly: str = "") -> Any:
    try:
        return call()
    except UndefinedError as error:
        raise type(error)(f"diagnose of '{name}'{partly}: {error}") from error


def _side(name: str, given: Array, n: int, places: np.ndarray) -> _Side:
    entered = check_representation(given)
    smallest = smallest_direction(entered)
    raw = to_numpy(entered)
    still = np.all(raw == raw[0], axis=0)
    x = centred_unit(raw.astype(np.float64))
    s, p = x.shape
    products = x @ x.T if p >= s else x.T @ x
    values = np.linalg.eigvalsh(products)[::-1]
    last = len(products) - 1
    vector = eigh(products, subset_by_index=[last, last])[1][:, 0]
    scores = vector if p >= s else x @ vector
    scores = scores / np.linalg.norm(scores)
    distances = np.sqrt(np.einsum("ij,ij->i", x, x))
    usual = float(np.median(distances))
    spread = 1.4826 * float(np.median(np.abs(distances - usual)))
    far = np.flatnonzero((distances > FAR[0] * usual) & (distances > usual + FAR[1] * spread))
    far = far[np.argsort(-distances[far], kind="stable")]
    rank = _rank(x, values, max(smallest, max(x.shape) * eps(x)))
    facts = {
        "samples": n,
        "samples looked at": s,
        "features": p,
        "rank": rank,
        "participation ratio": 1 / float(np.vdot(products, products)),
        "first component, of variance": float(values[0]),
        "first component, of cka": float(values[0] ** 2 / np.vdot(products, products)),
        "furthest sample": int(places[distances.argmax()]),
        "its distance in medians": float(distances.max() / usual) if usual > 0 else math.inf,
        "outliers": tuple(places[far].tolist()),
        "repeated samples": tuple((int(places[i]), int(places[j])) for i, j in _repeats(raw)),
        "dead units": int(still.sum()),
        "repeated units": len(_repeats(np.ascontiguousarray(raw[:, ~still].T))),
    }
    return _Side(name, n, raw, x, products, float(values[0]), scores, rank, facts)


def _repeats(rows: np.ndarray) -> list[tuple[int, int]]:
    """(row, the first one that it equals to the last bit)."""
    seen: dict[int, int] = {}
    firsts = [
        seen.setdefault(hash(row.tobytes()), i) for i, row in enumerate(rows + np.zeros((), rows.dtype))
    ]  # + 0: -0 is 0
    return [(i, first) for i, first in enumerate(firsts) if first != i]


def _rank(x: np.ndarray, values: np.ndarray, smallest: float) -> int:
    """The numerical rank of centred samples, as CCA finds it; by singular values where the squares cannot tell."""
    most = min(x.shape[0] - 1, x.shape[1])
    if values[most - 1] > 1e-10 * values[0]:
        return most
    return min(most, int(np.sum(np.linalg.svd(reduce_features(x), compute_uv=False) > smallest)))


def _of_units_and_samples(side: _Side) -> list[Finding]:
    facts, name, found = side.facts, side.name, []
    outliers, repeated, looked = facts["outliers"], facts["repeated samples"], facts["samples looked at"]
    if outliers:
        many = len(outliers)
        others = f", then {', '.join(map(str, outliers[1:5]))}{' and more' if many > 5 else ''}" if many > 1 else ""
        found.append(
            Finding(
                "outliers",
                f"{many} sample{'s lie' if many > 1 else ' lies'} far from the rest of {name}: sample {outliers[0]} at"
                f" {facts['its distance in medians']:.3g} times the median distance from the mean{others}",
                "Look at what went in, and compare again without; rsa, mutual_knn and cka_rbf hardly notice single"
                " samples",
            )
        )
    if len(repeated) >= REPEATED[0] * looked:
        row, first = repeated[0]
        found.append(
            Finding(
                "repeated samples",
                f"{len(repeated)} of {looked} samples of {name} repeat another one to the last bit (the first: sample"
                f" {row} is sample {first} again)",
                "Leave repeats out, or say which rows belong together, groups=: they count twice, and p-values and"
                " intervals take them for new evidence",
                len(repeated) >= REPEATED[1] * looked,
            )
        )
    dead, units, twins = facts["dead units"], facts["features"], facts["repeated units"]
    if dead >= DEAD * units:
        found.append(
            Finding(
                "dead units",
                f"{dead} of {units} units of {name} are the same for all {looked} samples",
                "Is it the layer you mean, with trained weights, and are inputs prepared as in training? Centred"
                f" measures see only the other {units - dead}",
                False,
            )
        )
    if twins >= TWINS * (units - dead) and twins:
        found.append(
            Finding(
                "repeated units",
                f"{twins} of {units - dead} live units of {name} repeat another one to the last bit",
                "cka, procrustes and rsa count a direction as often as it is there: keep one of each, or take a measure"
                " by directions (mean_cca)",
                False,
            )
        )
    return found


def _of_one(side: _Side) -> list[Finding]:
    facts, name, n, p = side.facts, side.name, side.n, side.facts["features"]
    found = []
    level = side.spread / (n - 1)
    if level >= UNRELATED:
        found.append(
            Finding(
                "few samples",
                f"{n} samples for the {side.spread:.3g} directions that share the variance of {name} ({p} features): "
                f"unrelated data of such spread would have a cka of {level:.2f}",
                _FEWER,
            )
        )
    if side.is_ruled:
        found.append(
            Finding(
                "one component",
                f"one component holds {facts['first component, of cka']:.0%} of what cka sees of {name} "
                f"({facts['first component, of variance']:.0%} of its variance), so cka says whether that one is"
                " shared",
                _BESIDE,
            )
        )
    if p >= n and facts["rank"] >= facts["samples looked at"] - 1:
        found.append(
            Finding(
                "more features than samples",
                f"{p} features of {name} fill all directions that {n} samples have: "
                "CCA has no value with anything, and a regression on it fits anything",
                _SMALLER,
                False,
            )
        )
    return found


# -- its rows, next to each other and as neighbours
# ---------------------------------------------------------------------------


def _labels_of(x: Any, groups: Any) -> tuple[str, Any]:
    """(how the groups of its rows are known, the labels); ("", None) if they are not."""
    if groups is not None:
        check_order(x, groups)
        return "given", groups
    if (carried := groups_of(x)) is not None:
        return "carried", carried
    index = getattr(x, "index", None)
    if not hasattr(index, "is_unique") and getattr(x, "dims", ()) and hasattr(x, "indexes"):  # xarray
        index = x.indexes.get(x.dims[0])
    if hasattr(index, "is_unique") and not index.is_unique:
        return "index", [str(label) for label in index]
    return "", None


def _rows(side: _Side, v: Array, labels: tuple[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """What the rows of one side, all of which are v, have to do with each other -> (facts, findings)."""
    how, groups = labels
    facts, found = {}, []
    if how:
        facts, found = _of_groups(side.name, how, groups)
    else:
        some = min(side.n, side.facts["samples looked at"], FOLLOWING[1])
        start = (side.n - some) // 2
        near, where = near_rows(_finite(v[start : start + some]))
        facts |= {"mean cosine of rows next to each other": near[1]} if 1 in near else {}  # of few rows it says nothing
        if where:
            found.append(
                _looks_grouped(
                    side.name,
                    f"rows {'that follow one another' if where == 1 else f'{where} places apart'} have a mean cosine of"
                    f" {near[where]:.2f} (features centred), any two rows {near[0]:.2f}",
                )
            )
    hubs, finding, nearly = _neighbours(side)
    if nearly and not how and not found:
        found.append(
            _looks_grouped(
                side.name,
                f"{nearly:.0%} of the samples tried have a near repeat, at less than {NEARLY[0]:.1%} of the distance to"
                f" their {NEARLY[2]}th neighbour",
            )
        )
    return facts | hubs, found + finding


_USE = "rs.inference.interval, sample_size, influence, permutation_test, null_table and chance_corrected"


def _looks_grouped(name: str, why: str) -> Finding:
    return Finding(
        "rows look grouped",
        f"{why}. So rows of {name} may not be independent samples: tokens of one sentence, frames of one film, repeats"
        " of one stimulus. Samples that are sorted by class look like this too; in a random order they do not",
        f"If rows depend on each other, give groups=, one label a row, to {_USE}, or keep one row a group: else"
        " p-values and intervals are far too small",
    )


def _of_groups(name: str, how: str, groups: np.ndarray) -> tuple[dict[str, Any], list[Finding]]:
    number = len(pd.unique(groups))
    facts = {"groups of rows": number}
    if number == len(groups):
        return facts, []
    cut = f"the {len(groups)} rows of {name} are of {number} groups ({len(groups) / number:.3g} rows each on average)"
    if how == "index":
        return facts, [
            Finding(
                "rows look grouped",
                f"index labels of {name} repeat: {cut}, if rows with one label belong together",
                f"If they do, give groups=x.index to {_USE}: rows of a group are no independent samples",
            )
        ]
    known = "The array carries the groups, and" if how == "carried" else "Give them the same groups=:"
    return facts, [
        Finding(
            "grouped rows",
            f"{cut}, and rows of a group are no independent samples",
            f"{known} {_USE} {'use them' if how == 'carried' else 'need them'}",
            False,
        )
    ]


def _finite(v: Array) -> np.ndarray | None:
    x = to_numpy(v.float() if "bfloat16" in str(v.dtype) and hasattr(v, "detach") else v)
    return x.astype(np.float64) if np.isfinite(x).all() else None


def _neighbours(side: _Side) -> tuple[dict[str, Any], list[Finding], float]:
    """Who is among the nearest of how many others -> (facts, findings, the fraction of samples with a near repeat if it
    is worth a word, else 0).
    """
    looked = len(side.raw)
    if looked < HUB[2]:
        return {}, [], 0.0
    places = (
        np.linspace(
            0, looked - 1, min(looked, max(100, min(QUERIES, int(WORK / 10 / side.raw.size), 2 * 10**6 // looked)))
        )
        .round()
        .astype(int)
    )
    own = np.arange(len(places)), places
    lengths = np.sqrt(np.einsum("ij,ij->i", side.raw, side.raw, dtype=np.float64))[:, None]
    unit = np.divide(side.raw, lengths, out=np.zeros(side.raw.shape), where=lengths > 0)
    k = min(10, (looked - 1) // 10)
    cosines = unit[places] @ unit.T
    fractions = neighbour_fractions(cosines, own, k, eps(side.raw))
    hub = int(fractions.argmax())
    others = np.where(np.isfinite(cosines), cosines, np.nan)
    levels = np.nanmean(others, axis=0)
    spread = 1.4826 * float(
        np.median(np.abs(levels - np.median(levels)))
    )  # of samples, between those that are near to all and those that are far
    noise = float(np.nanstd(others - levels - np.nanmean(others - levels, axis=1, keepdims=True)))
    bound = HUB[0]
    if noise > 0:  # samples with normal levels: the nearest of all of them
        bound = max(
            bound,
            float(ndtr((-ndtri(HUB[1] / looked) * spread + math.hypot(spread, noise) * ndtri(k / looked)) / noise)),
        )
    sample = int(np.linspace(0, side.n - 1, looked).round()[hub])
    facts = {"most often a neighbour": sample, f"among the {k} nearest of": float(fractions[hub])}
    inner = side.x[places] @ side.x.T
    nearly = near_repeats(side.x, inner, places) if side.rank >= 8 else 0.0  # in fewer dimensions it may be chance
    if not fractions[hub] > bound:
        return facts, [], nearly
    many = int(np.sum(fractions > bound))
    rest = f" ({many - 1} more are like it)" if many > 1 else ""
    cknna = neighbour_fractions(inner, own, k, eps(side.raw))[hub]
    return (
        facts,
        [
            Finding(
                "a neighbour of all",
                f"sample {sample} of {side.name} is among the {k} nearest of {fractions[hub]:.0%} of the others by"
                f" cosine, where {k / (looked - 1):.1%} is usual{rest}",
                "mutual_knn and jaccard_knn count it as a shared neighbour over and"
                f" over{', and so does cknna' if cknna > HUB[0] else ''}: compare again without it, or centre the"
                " features first",
            )
        ],
        nearly,
    )


# -- a pair
# ----------------------------------------------------------------------------------------------------------------


def _hsic(a: _Side, b: _Side) -> float:
    """Σ K·L of the centred matrices of inner products between samples."""
    if a.by_samples or b.by_samples:
        k, m = (side.products if side.by_samples else side.x @ side.x.T for side in (a, b))
        return float(np.vdot(k, m))
    cross = a.x.T @ b.x
    return float(np.vdot(cross, cross))


def _debiased(hsic: float, k: np.ndarray, m: np.ndarray) -> float:
    """HSIC₁ [Song et al. 2012, eq. 5] up to its factor 1/(n(n-3)), of centred matrices with these diagonals: off the
    diagonal their rows sum to minus it.
    """
    n = len(k)
    return hsic - n / (n - 2) * float(k @ m) + float(k.sum() * m.sum()) / ((n - 1) * (n - 2))


def _together(a: _Side, b: _Side) -> dict[str, Any]:
    hsic, norms = _hsic(a, b), 1 / math.sqrt(a.spread * b.spread)
    k, m = (np.einsum("ij,ij->i", side.x, side.x) for side in (a, b))
    own = _debiased(1 / a.spread, k, k) * _debiased(1 / b.spread, m, m)
    shared = a.first * b.first * float(a.scores @ b.scores) ** 2  # Σ K·L of the first components alone
    along = [one.first * float(np.sum((other.x.T @ one.scores) ** 2)) for one, other in ((a, b), (b, a))]
    left = math.sqrt(max(1 / a.spread - a.first**2, 0.0) * max(1 / b.spread - b.first**2, 0.0))
    facts = {"cka": hsic / norms}
    if own > 0:
        facts["cka_debiased"] = _debiased(hsic, k, m) / math.sqrt(own)
    facts["cka of unrelated data"] = math.sqrt(a.spread * b.spread) / (a.n - 1)
    facts["share of cka by first components"] = shared / hsic if hsic > 0 else 0.0
    if min(a.rank, b.rank) > 1:
        facts["cka without them"] = (hsic - sum(along) + shared) / left
    return facts | {"both ranks": a.rank + b.rank, "room for CCA (n - 1)": a.n - 1}


def _of_both(a: _Side, b: _Side, together: Mapping[str, Any]) -> list[Finding]:
    found = []
    names, n, cka = f"{a.name} and {b.name}", a.n, together["cka"]
    debiased, level, share = (
        together.get("cka_debiased"),
        together["cka of unrelated data"],
        together["share of cka by first components"],
    )
    if level >= UNRELATED:
        found.append(
            Finding(
                "few samples",
                f"{n} samples for {a.facts['features']} and {b.facts['features']} features: unrelated data spread like"
                f" {names} would have a cka of {level:.2f}; here cka is {cka:.2f}, cka_debiased"
                f" {'undefined' if debiased is None else f'{debiased:.2f}'}",
                _FEWER,
            )
        )
    rest = (
        "there is no other on one side"
        if "cka without them" not in together
        else f"without the first of each side it is {together['cka without them']:.2f}"
    )
    heaviest = max(a, b, key=lambda side: (side.is_ruled, side.facts["first component, of cka"]))
    if share >= RULED and cka >= UNRELATED:
        found.append(
            Finding(
                "one component", f"{share:.0%} of the cka of {cka:.2f} comes from one component a side; {rest}", _BESIDE
            )
        )
    elif heaviest.is_ruled:
        found.append(
            Finding(
                "one component",
                f"one component holds {heaviest.facts['first component, of cka']:.0%} of what cka sees of"
                f" {heaviest.name}: cka is {cka:.2f}; {rest}",
                _BESIDE,
            )
        )
    certain = together["both ranks"] - (n - 1)
    if certain > 0:
        found.append(
            Finding(
                "CCA undefined",
                f"ranks {a.rank} + {b.rank} exceed n - 1 = {n - 1}, so {certain} or more canonical correlations are 1"
                " whatever the data",
                _SMALLER,
                False,
            )
        )
    return found


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: not finding.grave))


def _concerns(finding: Finding, measure: Measure) -> bool:
    """Few samples raise the biased similarities of matrices and spaces; one component rules what weighs directions by
    their variance.
    """
    if finding.what == "rows look grouped":  # pairs of rows within a group raise it
        return bool(getattr(measure, "debiased", False))
    if finding.what == "a neighbour of all":
        return isinstance(measure, (MutualKNN, JaccardKNN, CKNNA))
    if finding.what == "few samples":
        return isinstance(measure, (CKA, DistanceCorrelation, Procrustes, NBS, CCA)) and not (
            getattr(measure, "debiased", False) or getattr(measure, "batch_size", None)
        )
    return finding.what != "one component" or isinstance(measure, (CKA, Procrustes, NBS))


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        first = ", ".join(str(v[0] if isinstance(v, tuple) else v) for v in value[:3])
        return f"{len(value)}" + (f" ({first}{' …' if len(value) > 3 else ''})" if value else "")
    return f"{value:.3g}" if isinstance(value, float) else str(value)
