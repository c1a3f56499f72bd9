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

from . import measures
from .errors import UndefinedError, listed
from .escaping import without_formulas
from .measures import CCA, CKA, NBS, DistanceCorrelation, Measure, Procrustes, same_samples
from .measures.door import Array, centred_unit, enter, eps, host, reduced, shaped, smallest_direction

WORK = 1e10  # multiplications for the inner products of one side, about a second on one core with all that follows: more samples than that allows are not looked at
UNRELATED = 0.1  # cka of unrelated data from which on "alike" and "few samples" are confused: layers of the zoo are at .01 to .08 with 500 samples, at .1 to .3 with 100
RULED = 0.9  # share of one component in cka: then cka of the data with that component alone is .95. Trained layers on their own data reach .86 (an output of 10 classes)
FAR = 5.0, 8.0  # an outlier is this many median distances from the mean, and above the median by so many standard deviations (from the median deviation): layers of the zoo reach 4.1 and 11
REPEATED = 0.01, 0.1  # share of samples that repeat another one: worth a word, and grave
DEAD = 0.5  # share of units that never move: a quarter is usual behind a ReLU
TWINS = 0.1  # share of units that repeat another one: borders and background make .4 % of a convolution's
LEAST = 4  # samples, as debiased CKA needs

_FEWER = "Read cka_debiased instead of cka, or take more samples"
_SMALLER = "Take more samples than both ranks together, or keep fewer components: svcca, CCA(variance=0.9)"
_BESIDE = "Look at mean_cca beside it, which weighs directions alike, and at cka without that component"


@dataclass(frozen=True)
class Finding:
    """Something that is off: `what` in two words, the `sentence` with its figures, the `advice` what to do. grave: it changes what usual measures say."""

    what: str
    sentence: str
    advice: str
    grave: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.sentence}. {self.advice}."


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What `diagnose` found.

    findings: the gravest first.  facts: DataFrame, a row a fact, a column a side.  together: Series of the facts of a pair, empty for one representation.
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
        found = "".join(f"<li><b>{html.escape(f.what)}</b>: {html.escape(f.sentence)}. <i>{html.escape(f.advice)}.</i></li>" for f in self.findings)
        tables = self.facts.map(_written).to_html() + (self.together.map(_written).to_frame(" × ".join(self.facts)).to_html() if len(self.together) else "")
        head = f"<p><b>Diagnosis of {html.escape(' and '.join(self.facts))}</b>{'' if found else ': nothing is off'}</p>"
        listing = f"<ul style='max-width:760px'>{found}</ul>" if found else ""
        return without_formulas(f"{head}{listing}<div style='display:flex;gap:24px;align-items:flex-start'>{tables}</div>")


def diagnose(x: Array, y: Array | None = None, *, names: str | Sequence[str] | None = None, most: int | None = None) -> Diagnosis:
    """What is off with a representation, or with a pair of the same samples, in words with what to do -> Diagnosis.

    Of each side: n against p, rank, participation ratio (Σλ)²/Σλ² (the number of directions that share the variance), share of the first component, outliers, exact repeats of samples
    and units, dead units. Of a pair besides: whether CCA is defined, biased cka beside debiased, how much of cka the first components give and what it is without them.
    x, y: (n, ...), n from 4 on.  names: how the sides are called (usually x and y).  most: the most samples to look at, spread evenly; None is as many as take a
    second or so. What is not looked at is not read either; facts say how many were.
    Errors: ValueError where n differs; UndefinedError, as measures raise it, for NaN, infinity, too few samples, a constant representation.
    """
    given = [x] if y is None else [x, y]
    names = ("x", "y")[: len(given)] if names is None else (names,) if isinstance(names, str) else tuple(map(str, names))
    if len(names) != len(given) or len(set(names)) < len(names):
        raise ValueError(f"names has one name a side, {len(given)} here, all different; got {listed(names) or 'none'}")
    if most is not None and (not isinstance(most, (int, np.integer)) or most < LEAST):
        raise ValueError(f"most is the number of samples to look at, {LEAST} or more, or None; got {most!r}")
    flat = {name: _tried(name, lambda v=v: shaped(v, LEAST)[0]) for name, v in zip(names, given, strict=True)}
    n = same_samples(flat)
    some = min(n, most or n, *(_affordable(n, v.shape[1]) for v in flat.values()))
    places = np.linspace(0, n - 1, some).round().astype(int)
    partly = f" among the {some} of {n} samples looked at" if some < n else ""
    sides = [_tried(name, lambda v=v, name=name: _side(name, v if some == n else v[places], n, places), partly) for name, v in flat.items()]
    facts = pd.DataFrame({side.name: side.facts for side in sides}, dtype=object)
    findings = [finding for side in sides for finding in _of_units_and_samples(side)]
    if y is None:
        return Diagnosis(_sorted(findings + _of_one(sides[0])), facts)
    together = _together(*sides)
    return Diagnosis(_sorted(findings + _of_both(*sides, together)), facts, pd.Series(together, dtype=object))


def notes(measure: str | Measure, found: Mapping[str, Diagnosis], most: int = 3) -> tuple[str, ...]:
    """The grave findings that matter for a measure, in a line each: what, with whom, what to do. found: {label: Diagnosis of one representation}."""
    measure = measures.get(measure)
    if measure.of == "outputs":
        return ()
    about: dict[tuple[str, str], list[str]] = {}
    for label, diagnosis in found.items():
        for finding in diagnosis.grave:
            if _concerns(finding, measure):
                about.setdefault((finding.what, finding.advice), []).append(label)
    return tuple(f"{what}: {', '.join(labels[:4])}{f' and {len(labels) - 4} more' if len(labels) > 4 else ''}. {advice}." for (what, advice), labels in list(about.items())[:most])


# -- one side --------------------------------------------------------------------------------------------------------------

class _Side(NamedTuple):
    """A representation: centred, at unit norm (s, p) so that its variances sum to 1; its inner products, of samples or of features, whichever are fewer; the first component's
    share of variance and its samples' scores; n samples there are in all."""

    name: str
    n: int
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
    entered = enter(given)
    smallest = smallest_direction(entered)
    raw = host(entered)
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
        "samples": n, "samples looked at": s, "features": p, "rank": rank,
        "participation ratio": 1 / float(np.vdot(products, products)),
        "first component, of variance": float(values[0]),
        "first component, of cka": float(values[0] ** 2 / np.vdot(products, products)),
        "furthest sample": int(places[distances.argmax()]),
        "its distance in medians": float(distances.max() / usual) if usual > 0 else math.inf,
        "outliers": tuple(places[far].tolist()),
        "repeated samples": tuple((int(places[i]), int(places[j])) for i, j in _repeats(raw)),
        "dead units": int(still.sum()),
        "repeated units": len(_repeats(np.ascontiguousarray(raw[:, ~still].T))),
    }  # fmt: skip
    return _Side(name, n, x, products, float(values[0]), scores, rank, facts)


def _repeats(rows: np.ndarray) -> list[tuple[int, int]]:
    """(row, the first one that it equals to the last bit)."""
    seen: dict[int, int] = {}
    firsts = [seen.setdefault(hash(row.tobytes()), i) for i, row in enumerate(rows + np.zeros((), rows.dtype))]  # + 0: -0 is 0
    return [(i, first) for i, first in enumerate(firsts) if first != i]


def _rank(x: np.ndarray, values: np.ndarray, smallest: float) -> int:
    """The numerical rank of centred samples, as CCA finds it; by singular values where the squares cannot tell."""
    most = min(x.shape[0] - 1, x.shape[1])
    if values[most - 1] > 1e-10 * values[0]:
        return most
    return min(most, int(np.sum(np.linalg.svd(reduced(x), compute_uv=False) > smallest)))


def _of_units_and_samples(side: _Side) -> list[Finding]:
    facts, name, found = side.facts, side.name, []
    outliers, repeated, looked = facts["outliers"], facts["repeated samples"], facts["samples looked at"]
    if outliers:
        many = len(outliers)
        others = f", then {', '.join(map(str, outliers[1:5]))}{' and more' if many > 5 else ''}" if many > 1 else ""
        found.append(Finding("outliers", f"{many} sample{'s lie' if many > 1 else ' lies'} far from the rest of {name}: "
                             f"sample {outliers[0]} at {facts['its distance in medians']:.3g} times the median distance from the mean{others}",
                             "Look at what went in, and compare again without; rsa, mutual_knn and cka_rbf hardly notice single samples"))
    if len(repeated) >= REPEATED[0] * looked:
        row, first = repeated[0]
        found.append(Finding("repeated samples", f"{len(repeated)} of {looked} samples of {name} repeat another one to the last bit (the first: sample {row} is sample {first} again)",
                             "Leave repeats out: they count twice, and p-values and intervals take them for new evidence", len(repeated) >= REPEATED[1] * looked))
    dead, units, twins = facts["dead units"], facts["features"], facts["repeated units"]
    if dead >= DEAD * units:
        found.append(Finding("dead units", f"{dead} of {units} units of {name} are the same for all {looked} samples",
                             f"Is it the layer you mean, with trained weights, and are inputs prepared as in training? Centred measures see only the other {units - dead}", False))
    if twins >= TWINS * (units - dead) and twins:
        found.append(Finding("repeated units", f"{twins} of {units - dead} live units of {name} repeat another one to the last bit",
                             "cka, procrustes and rsa count a direction as often as it is there: keep one of each, or take a measure by directions (mean_cca)", False))
    return found


def _of_one(side: _Side) -> list[Finding]:
    facts, name, n, p = side.facts, side.name, side.n, side.facts["features"]
    found = []
    level = side.spread / (n - 1)
    if level >= UNRELATED:
        found.append(Finding("few samples", f"{n} samples for the {side.spread:.3g} directions that share the variance of {name} ({p} features): "
                             f"unrelated data of such spread would have a cka of {level:.2f}", _FEWER))
    if side.is_ruled:
        found.append(Finding("one component", f"one component holds {facts['first component, of cka']:.0%} of what cka sees of {name} "
                             f"({facts['first component, of variance']:.0%} of its variance), so cka says whether that one is shared", _BESIDE))
    if p >= n and facts["rank"] >= facts["samples looked at"] - 1:
        found.append(Finding("more features than samples", f"{p} features of {name} fill all directions that {n} samples have: "
                             "CCA has no value with anything, and a regression on it fits anything", _SMALLER, False))
    return found


# -- a pair ----------------------------------------------------------------------------------------------------------------

def _hsic(a: _Side, b: _Side) -> float:
    """Σ K·L of the centred matrices of inner products between samples."""
    if a.by_samples or b.by_samples:
        k, m = (side.products if side.by_samples else side.x @ side.x.T for side in (a, b))
        return float(np.vdot(k, m))
    cross = a.x.T @ b.x
    return float(np.vdot(cross, cross))


def _debiased(hsic: float, k: np.ndarray, m: np.ndarray) -> float:
    """HSIC₁ [Song et al. 2012, eq. 5] up to its factor 1/(n(n-3)), of centred matrices with these diagonals: off the diagonal their rows sum to minus it."""
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
    debiased, level, share = together.get("cka_debiased"), together["cka of unrelated data"], together["share of cka by first components"]
    if level >= UNRELATED:
        found.append(Finding("few samples", f"{n} samples for {a.facts['features']} and {b.facts['features']} features: unrelated data spread like {names} would have a cka of {level:.2f}; "
                             f"here cka is {cka:.2f}, cka_debiased {'undefined' if debiased is None else f'{debiased:.2f}'}", _FEWER))
    rest = "there is no other on one side" if "cka without them" not in together else f"without the first of each side it is {together['cka without them']:.2f}"
    heaviest = max(a, b, key=lambda side: (side.is_ruled, side.facts["first component, of cka"]))
    if share >= RULED and cka >= UNRELATED:
        found.append(Finding("one component", f"{share:.0%} of the cka of {cka:.2f} comes from one component a side; {rest}", _BESIDE))
    elif heaviest.is_ruled:
        found.append(Finding("one component", f"one component holds {heaviest.facts['first component, of cka']:.0%} of what cka sees of {heaviest.name}: cka is {cka:.2f}; {rest}", _BESIDE))
    certain = together["both ranks"] - (n - 1)
    if certain > 0:
        found.append(Finding("CCA undefined", f"ranks {a.rank} + {b.rank} exceed n - 1 = {n - 1}, so {certain} or more canonical correlations are 1 whatever the data", _SMALLER, False))
    return found


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: not finding.grave))


def _concerns(finding: Finding, measure: Measure) -> bool:
    """Few samples raise the biased similarities of matrices and spaces; one component rules what weighs directions by their variance."""
    if finding.what == "few samples":
        return isinstance(measure, (CKA, DistanceCorrelation, Procrustes, NBS, CCA)) and not (getattr(measure, "debiased", False) or getattr(measure, "batch_size", None))
    return finding.what != "one component" or isinstance(measure, (CKA, Procrustes, NBS))


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)}" + (f" ({', '.join(str(v[0] if isinstance(v, tuple) else v) for v in value[:3])}{' …' if len(value) > 3 else ''})" if value else "")
    return f"{value:.3g}" if isinstance(value, float) else str(value)
