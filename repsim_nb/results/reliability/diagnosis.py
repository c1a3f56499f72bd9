"""`diagnose`: problems of a representation, or of a pair, that make measures mislead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

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
from repsim_nb.measures.table_inputs import check_sides
from repsim_nb.support.containers import Array
from repsim_nb.support.errors import add_context, join_names
from repsim_nb.support.validation import check_integer, check_labels, check_shape

from .findings import Diagnosis, Finding
from .representation_facts import DOMINANT_FRACTION, Side, affordable_samples, describe_side
from .row_findings import describe_rows, labels_of_rows

MIN_SAMPLES = 4  # as debiased CKA needs
# cka of unrelated data that is reported: layers of the zoo are at .01 to .08 with 500 samples, and at .1 to .3 with 100
HIGH_CHANCE_CKA = 0.1
REPEATED_FRACTION, REPEATED_SERIOUS = 0.01, 0.1  # of samples that repeat another one: reported, and serious
DEAD_FRACTION = 0.5  # of units that are constant: a quarter is usual after a ReLU
TWIN_FRACTION = 0.1  # of units that repeat another one: .4 % of a convolution's do, at borders and in the background

_FEWER = "Use cka_debiased instead of cka, or more samples"
_SMALLER = "Use more samples than both ranks together, or keep fewer components: svcca, CCA(variance=0.9)"
_OTHER_CKA_ADVICE = "Compare with mean_cca, which weighs all directions equally, and with cka without that component"


def diagnose(
    x: Array,
    y: Array | None = None,
    *,
    names: str | Sequence[str] | None = None,
    max_samples: int | None = None,
    groups: Any = None,
) -> Diagnosis:
    """Find problems of a representation, or of a pair, that make similarity measures mislead.

    It looks for outliers, repeated samples and units, dead units, one component that dominates, too few samples for the
    number of features, rows that depend on each other, and a sample that is a neighbour of very many others.

    Parameters
    ----------
    x, y : array (n, ...)
        One representation, or two of the same samples, with n >= 4.
    names : str or sequence of str, optional
        The names of the sides in the findings, "x" and "y" by default.
    max_samples : int, optional
        The number of samples to look at, evenly spaced. By default as many as take about a second.
    groups : labels (n,), optional
        Rows with the same label depend on each other. By default the groups of the arrays are used (`x.groups`, as in
        recordings by token). Without any, signs of groups are looked for: rows in sequence, or a fixed number of rows
        apart, that are more similar than any two rows, nearly equal rows in any order, and repeated index labels.

    Returns
    -------
    Diagnosis
        `findings`, each with advice, and the tables `facts` (for each side) and `together` (for a pair).

    Raises
    ------
    ValueError
        If the sides have different numbers of samples, or `names` does not match them.
    UndefinedError
        For NaN, infinity, fewer than 4 samples, or a constant representation.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(100, 5))
    >>> x[7] *= 100
    >>> [finding.title for finding in diagnose(x).findings]
    ['outliers', 'one component']
    """
    given = [x] if y is None else [x, y]
    if names is None:
        names = ("x", "y")[: len(given)]
    names = (names,) if isinstance(names, str) else tuple(map(str, names))
    if len(names) != len(given) or len(set(names)) < len(names):
        raise ValueError(
            f"names must be {len(given)} different name{'s' * (len(given) > 1)}, one a side; got"
            f" {join_names(names) or 'none'}."
        )
    if max_samples is not None:
        check_integer(
            max_samples, "max_samples", minimum=MIN_SAMPLES, hint="the number of samples to look at, or None for all"
        )
    check_sides({name: {name: v} for name, v in zip(names, given, strict=True)})
    flat = {}
    for name, v in zip(names, given, strict=True):
        with add_context(f"diagnose of '{name}'"):
            flat[name] = check_shape(v, MIN_SAMPLES)[0]
    n = check_same_samples(flat)
    labels = {}
    for name, v in zip(names, given, strict=True):
        how, own = labels_of_rows(v, groups)
        labels[name] = how, check_labels(own, n, "groups") if how else own
    some = min(n, max_samples or n, *(affordable_samples(n, v.shape[1]) for v in flat.values()))
    places = np.linspace(0, n - 1, some).round().astype(int)
    partly = f" among the {some} of {n} samples looked at" if some < n else ""
    sides = []
    for name, v in flat.items():
        with add_context(f"diagnose of '{name}'{partly}"):
            sides.append(describe_side(name, v if some == n else v[places], n, places))
    rows = {side.name: describe_rows(side, flat[side.name], labels[side.name]) for side in sides}
    facts = pd.DataFrame({side.name: side.facts | rows[side.name][0] for side in sides}, dtype=object)
    findings = [finding for side in sides for finding in [*check_units_and_samples(side), *rows[side.name][1]]]
    together = {} if y is None else describe_pair(sides[0], sides[1])
    findings += check_one(sides[0]) if y is None else check_both(sides[0], sides[1], together)
    findings.sort(key=lambda finding: not finding.serious)
    return Diagnosis(tuple(findings), facts, pd.Series(together, dtype=object))


def summarize_findings(measure: str | Measure, found: Mapping[str, Diagnosis], max_lines: int = 3) -> tuple[str, ...]:
    """Summarise the serious findings that matter for a measure, one line each.

    Parameters
    ----------
    measure : str or Measure
        The measure that is used.
    found : {label: Diagnosis}
        The diagnosis of each representation.
    max_lines : int
        The largest number of lines.

    Returns
    -------
    tuple of str
        Each with the problem, the labels that have it, and advice. Empty for measures of outputs.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(20, 30))
    >>> rs.reliability.summarize_findings("cka", {"layer 1": diagnose(x)})
    ('few samples: layer 1. Use cka_debiased instead of cka, or more samples.',)
    """
    measure = measures.get(measure)
    if measure.compares == "outputs":
        return ()
    about: dict[tuple[str, str], list[str]] = {}
    for label, diagnosis in found.items():
        for finding in diagnosis.serious:
            if _concerns(finding, measure):
                about.setdefault((finding.title, finding.advice), []).append(label)
    return tuple(
        f"{title}: {', '.join(labels[:4])}{f' and {len(labels) - 4} more' if len(labels) > 4 else ''}. {advice}."
        for (title, advice), labels in list(about.items())[:max_lines]
    )


def check_units_and_samples(side: Side) -> list[Finding]:
    """Look for outliers, repeated samples, dead units and repeated units."""
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
                "Look at the inputs of these samples, and compare again without them. rsa, mutual_knn and cka_rbf"
                " hardly depend on single samples",
            )
        )
    if len(repeated) >= REPEATED_FRACTION * looked:
        row, first = repeated[0]
        found.append(
            Finding(
                "repeated samples",
                f"{len(repeated)} of {looked} samples of {name} repeat another one to the last bit (the first: sample"
                f" {row} is sample {first} again)",
                "Leave repeats out, or pass groups=, with one label for rows that belong together. Otherwise they count"
                " twice, and p-values and intervals treat them as new samples",
                len(repeated) >= REPEATED_SERIOUS * looked,
            )
        )
    dead, units, twins = facts["dead units"], facts["features"], facts["repeated units"]
    if dead >= DEAD_FRACTION * units:
        found.append(
            Finding(
                "dead units",
                f"{dead} of {units} units of {name} are the same for all {looked} samples",
                "Check that it is the right layer, with trained weights, and that inputs are prepared as in training."
                f" Centred measures depend only on the other {units - dead}",
                False,
            )
        )
    if twins >= TWIN_FRACTION * (units - dead) and twins:
        found.append(
            Finding(
                "repeated units",
                f"{twins} of {units - dead} live units of {name} repeat another one to the last bit",
                "cka, procrustes and rsa count repeated units several times. Keep one of each, or use a measure that"
                " weighs directions equally (mean_cca)",
                False,
            )
        )
    return found


def check_one(side: Side) -> list[Finding]:
    """Look for few samples, one component, and more features than samples in one representation."""
    facts, name, n, p = side.facts, side.name, side.n, side.facts["features"]
    found = []
    level = side.spread / (n - 1)
    if level >= HIGH_CHANCE_CKA:
        found.append(
            Finding(
                "few samples",
                f"{n} samples for the {side.spread:.3g} directions that share the variance of {name} ({p} features):"
                f" unrelated data with so many directions would have a cka of {level:.2f}",
                _FEWER,
            )
        )
    if side.is_dominated:
        found.append(
            Finding(
                "one component",
                f"one component has {facts['first component, of cka']:.0%} of the weight of {name} in cka"
                f" ({facts['first component, of variance']:.0%} of its variance), so cka shows mostly whether that"
                " component is shared",
                _OTHER_CKA_ADVICE,
            )
        )
    if p >= n and facts["rank"] >= facts["samples looked at"] - 1:
        found.append(
            Finding(
                "more features than samples",
                f"{p} features of {name} fill all directions of {n} samples, so CCA is undefined, and a regression on"
                " them fits any target",
                _SMALLER,
                False,
            )
        )
    return found


def _hsic(a: Side, b: Side) -> float:
    """Return Σ K·L of the centred matrices of inner products between samples."""
    if a.by_samples or b.by_samples:
        k, m = (side.products if side.by_samples else side.x @ side.x.T for side in (a, b))
        return float(np.vdot(k, m))
    cross = a.x.T @ b.x
    return float(np.vdot(cross, cross))


def _debias(hsic: float, k: np.ndarray, m: np.ndarray) -> float:
    """Return HSIC₁ (Song et al. 2012, eq. 5) without its factor 1/(n(n-3)), for centred matrices with these diagonals.

    The rows of a centred matrix without the diagonal sum to minus the diagonal.
    """
    n = len(k)
    return hsic - n / (n - 2) * float(k @ m) + float(k.sum() * m.sum()) / ((n - 1) * (n - 2))


def describe_pair(a: Side, b: Side) -> dict[str, Any]:
    """Return the facts of a pair, as in `Diagnosis.together`."""
    hsic, norms = _hsic(a, b), 1 / math.sqrt(a.spread * b.spread)
    k, m = (np.einsum("ij,ij->i", side.x, side.x) for side in (a, b))
    own = _debias(1 / a.spread, k, k) * _debias(1 / b.spread, m, m)
    shared = a.first * b.first * float(a.scores @ b.scores) ** 2  # Σ K·L of the first components alone
    along = [one.first * float(np.sum((other.x.T @ one.scores) ** 2)) for one, other in ((a, b), (b, a))]
    left = math.sqrt(max(1 / a.spread - a.first**2, 0.0) * max(1 / b.spread - b.first**2, 0.0))
    facts = {"cka": hsic / norms}
    if own > 0:
        facts["cka_debiased"] = _debias(hsic, k, m) / math.sqrt(own)
    facts["cka of unrelated data"] = math.sqrt(a.spread * b.spread) / (a.n - 1)
    facts["fraction of cka by first components"] = shared / hsic if hsic > 0 else 0.0
    if min(a.rank, b.rank) > 1:
        facts["cka without them"] = (hsic - sum(along) + shared) / left
    return facts | {"both ranks": a.rank + b.rank, "room for CCA (n - 1)": a.n - 1}


def check_both(a: Side, b: Side, together: Mapping[str, Any]) -> list[Finding]:
    """Look for few samples, one component, and undefined CCA in a pair."""
    found = []
    names, n, cka = f"{a.name} and {b.name}", a.n, together["cka"]
    debiased, level, fraction = (
        together.get("cka_debiased"),
        together["cka of unrelated data"],
        together["fraction of cka by first components"],
    )
    if level >= HIGH_CHANCE_CKA:
        found.append(
            Finding(
                "few samples",
                f"{n} samples for {a.facts['features']} and {b.facts['features']} features: unrelated data with the"
                f" spectra of {names} would have a cka of {level:.2f}; here cka is {cka:.2f}, cka_debiased"
                f" {'undefined' if debiased is None else f'{debiased:.2f}'}",
                _FEWER,
            )
        )
    rest = (
        "one side has no other"
        if "cka without them" not in together
        else f"if each side is without its own, it is {together['cka without them']:.2f}"
    )
    heaviest = max(a, b, key=lambda side: (side.is_dominated, side.facts["first component, of cka"]))
    if fraction >= DOMINANT_FRACTION and cka >= HIGH_CHANCE_CKA:
        found.append(
            Finding(
                "one component",
                f"{fraction:.0%} of the cka of {cka:.2f} comes from one component of each side; {rest}",
                _OTHER_CKA_ADVICE,
            )
        )
    elif heaviest.is_dominated:
        found.append(
            Finding(
                "one component",
                f"one component has {heaviest.facts['first component, of cka']:.0%} of the weight of {heaviest.name} in"
                f" cka: cka is {cka:.2f}; {rest}",
                _OTHER_CKA_ADVICE,
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


def _concerns(finding: Finding, measure: Measure) -> bool:
    """Return whether a finding changes the values of a measure.

    Few samples raise biased similarities, and one component dominates measures that weigh directions by variance.
    """
    if finding.title == "rows look grouped":  # pairs of rows within a group raise debiased measures
        return bool(getattr(measure, "debiased", False))
    if finding.title == "a neighbour of all":
        return isinstance(measure, (MutualKNN, JaccardKNN, CKNNA))
    if finding.title == "few samples":
        return isinstance(measure, (CKA, DistanceCorrelation, Procrustes, NBS, CCA)) and not (
            getattr(measure, "debiased", False) or getattr(measure, "batch_size", None)
        )
    return finding.title != "one component" or isinstance(measure, (CKA, Procrustes, NBS))
