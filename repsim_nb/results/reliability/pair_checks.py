"""`report`: one value of CKA, whether it can be trusted, and what to run next."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import eigh

from repsim_nb import measures
from repsim_nb.measures import CCA, CKA, RSA, MutualKNN
from repsim_nb.measures.arrays import centred_unit, reduce_features
from repsim_nb.results.inference import chance_corrected, chance_values, permutation_test
from repsim_nb.results.inference.grouped_rows import SampleUnits, without_pairs_within
from repsim_nb.results.inference.representations import rows_of
from repsim_nb.support.errors import UndefinedError, as_clause
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.summaries import count_of
from repsim_nb.support.validation import check_fraction, check_integer, check_representation, to_numpy

from .clipping import clip_lengths
from .diagnosis import MIN_SAMPLES, diagnose
from .findings import Diagnosis
from .influential import FRACTION, LeftOut, leave_out
from .report_result import Report
from .verdict import CHANCE, Facts, find_verdict, judge_facts

MAX_SAMPLES = 2000  # an inner product of two matrices of so many samples takes a few hundredths of a second
LEVEL = 0.99  # of the null distribution that CKA must exceed
PERMUTED, ENOUGH = 5, 500  # permutations whose mean is the chance level of a measure; one from so many samples
NOTHING = 1e-12  # of the squared norm of a side, that is left without the first components
# fraction of the variance of scores between two groups, from which they are two groups: a normal distribution cut in
# the middle has .64, a uniform one .75
TWO_GROUPS = 0.9
OTHERS = {  # measures next to CKA, and what each ignores
    "cka_debiased": "the bias from few samples, too",
    "rsa": "how large dissimilarities are, but for their order",
    "mutual_knn": "all but the nearest samples",
    "mean_cca": "every invertible linear map",
    "nbs": "rotation and scale (weighs components by size)",
}
# measures that can see what CKA does not, by how much of the possible rise above chance, at least, and tested by how
# many permutations
SMALL_DIFFERENCES, MARGIN, TESTED = ("mean_cca", "mutual_knn", "rsa"), 0.05, 99
CONCERN_CKA = ("outliers", "repeated samples", "few samples", "one component", "rows look grouped", "grouped rows")


def report(
    x: Any,
    y: Any,
    *,
    names: str | Sequence[str] | None = None,
    fraction: float = FRACTION,
    groups: Any = None,
    max_samples: int = MAX_SAMPLES,
    seed: int = 0,
) -> Report:
    """Check how far the linear CKA of a pair can be trusted.

    It computes CKA without the samples that influence it most, without both first components, and with clipped lengths,
    debiased CKA, and four measures with other invariances, each with its chance level, and looks for known problems. A
    verdict says whether the value is stable, and if not, what it depends on and what to run next.

    Parameters
    ----------
    x, y : array (n, ...)
        Two representations of the same n samples, in the same order, with n >= 5.
    names : str or sequence of str, optional
        The names of the sides in sentences, "x" and "y" by default.
    fraction : float
        The fraction of the samples that is left out in `leave_out`.
    groups : labels (n,), optional
        Rows with the same label depend on each other, as in `inference.influence`.
    max_samples : int
        The number of samples to look at, evenly spaced: time grows with its square. They are fewer if there are very
        many features, as in `diagnose`. All values are of these samples.
    seed : int
        The seed of the permutations of the chance levels.

    Returns
    -------
    Report
        With `verdict`, `sentence`, `command`, `table`, `findings` and the samples `rows` that the verdict is about.

    Raises
    ------
    ValueError
        If the sides have different numbers of samples or ids.
    UndefinedError
        If CKA has no value: NaN, infinity, fewer than five samples or groups, a constant side.

    Notes
    -----
    It takes half a second for 1,000 samples with 100 features, and three seconds with 3,000, on one core.

    Thresholds come from layers of the models of the package, trained and untrained, on three data sets (1,231 pairs
    at 100 and 300 samples, 490 at 1,000; `python -m benchmarks.moved thresholds 100`):

    - Without the 1 % of samples that influence CKA most, it changed by 0.024 or less. A change of 0.05 is reported.
      (Five times as much is allowed where one sample is 5 % of all: there it was 0.11 or less.)
    - Without the first principal component of each side, in both sides, CKA rose by 0.09 or less if one of the
      models was trained. A rise of 0.2 is reported, as a component that hides similarity. (One untrained pair had a
      rise of 0.26: one component has 82 % of the weight of its output.)
    - CKA without these components was at least 0.37 times CKA. Less than a third is reported, as a value that is
      mostly one shared component.
    - With the lengths of samples clipped (`clip_lengths`), CKA rose by 0.06 or less above what the chance level rose by
      (1,186 pairs at 150 samples). A rise of 0.2 is reported, as samples that are far away and hide similarity, in more
      than one direction.
    - CKA of unrelated data with these spectra is reported from 0.1, as in `diagnose`.
    - If CKA is not above chance, `mean_cca`, `mutual_knn` and `rsa` are tested by 99 permutations each; those that are
      above all of these are reported, since the sides are then related.

    Each other measure ignores something else: debiased CKA the number of features, `rsa` the scale of dissimilarities
    (ranks only), `mutual_knn` all but the nearest samples, `mean_cca` every invertible linear map, and `nbs` (the
    cosine of the Procrustes angle) weighs components by their size and not by its square.

    References
    ----------
    M. Davari, S. Horoi, A. Natik, G. Lajoie, G. Wolf, E. Belilovsky 2023, Reliability of CKA as a similarity measure in
    deep learning, ICLR.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 8))
    >>> y = x + 0.3 * rng.normal(size=x.shape)
    >>> rs.reliability.report(x, y).verdict
    'stable'
    >>> y[7] += 200
    >>> found = rs.reliability.report(x, y)
    >>> found.verdict, found.rows[0]
    ('a few samples', 7)
    """
    check_fraction(fraction, "fraction")
    check_integer(max_samples, "max_samples", minimum=MIN_SAMPLES + 1)
    check_seed(seed)
    diagnosis = diagnose(x, y, names=names, groups=groups, max_samples=max_samples)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "rows that follow one another", category=UserWarning)  # diagnose finds it
        units = SampleUnits(measures.get("cka"), x, y, groups, "report", strict=False)
    if units.number <= MIN_SAMPLES:
        raise UndefinedError(
            f"report leaves out {units.name} and permutes them, so it needs {MIN_SAMPLES + 1} or more; there are"
            f" {units.number}. Use more {units.name}, or groups=range(n) if rows are independent"
        )
    n, some = len(units.x), int(diagnosis.facts.loc["samples looked at"].min())
    places = np.linspace(0, n - 1, some).round().astype(int)  # the rows that diagnose looked at
    sides = []
    for side in (units.x, units.y):
        checked = check_representation(rows_of(side, places), min_samples=MIN_SAMPLES + 1, double=True)
        sides.append(to_numpy(checked))
    codes = None if units.codes is None else pd.factorize(units.codes[places])[0]
    table, facts, notes = _check_pair(sides[0], sides[1], codes, diagnosis, (fraction, seed, places))
    if some < n:
        notes = (f"{some} of {n} samples were looked at, evenly spaced: all values are of these", *notes)
    findings = tuple(one for one in diagnosis.findings if one.title in CONCERN_CKA)
    first, second = map(str, diagnosis.facts.columns)
    labels = _code_of_groups(x, y, groups) if codes is not None else ""
    return Report(facts.value, *judge_facts(facts, labels), table, findings, notes, (first, second), len(places))


def _code_of_groups(x: Any, y: Any, groups: Any) -> str:
    """Return the code for the groups of the rows of x and y."""
    if groups is not None:
        return "groups"
    return "y.groups" if groups_of(x) is None else "x.groups"


def _check_pair(
    x: np.ndarray, y: np.ndarray, codes: Any, diagnosis: Diagnosis, asked: tuple[float, int, np.ndarray]
) -> tuple[pd.DataFrame, Facts, tuple[str, ...]]:
    """Return the table, what the verdict needs, and notes. asked: the fraction, the seed, and the rows looked at."""
    fraction, seed, places = asked
    cka, raw = measures.get("cka"), (x, y)
    x, y = (reduce_features(side) for side in raw)
    units = range(len(x)) if codes is None else codes
    left: LeftOut | None = None
    with contextlib.suppress(UndefinedError):  # one sample has nearly all the variance of a side
        left = leave_out(cka, x, y, fraction=fraction, groups=units)
    rest, split = without_components(x, y)
    above = False
    with contextlib.suppress(UndefinedError, ValueError):  # permuted samples reach the best value, or too few groups
        above = chance_corrected(cka, x, y, groups=units, level=LEVEL) > 0
    inner, inside = math.nan, ~np.isin(places, diagnosis.outliers)
    with contextlib.suppress(UndefinedError):
        inner = cka(x[inside], y[inside]) if not inside.all() and inside.sum() >= MIN_SAMPLES else math.nan
    clipped = clipped_level = math.nan
    with contextlib.suppress(UndefinedError):  # more than half of the samples are equal
        sides = clip_lengths(x), clip_lengths(y)
        clipped, clipped_level = cka(*sides), unrelated_value(*sides, codes)
    others, notes = _others(raw, (x, y), codes, seed, diagnosis)
    facts = Facts(
        value=left.value if left else cka(x, y),
        low=left.low if left else math.nan,
        high=left.high if left else math.nan,
        rest=rest,
        clipped=clipped,
        level=unrelated_value(x, y, codes),
        clipped_level=clipped_level,
        debiased=others["cka_debiased"][0],
        above=above,
        units=left.units if left else len(x),
        unit=left.unit if left else "samples",
        number=len(left.raising) if left else 1,
        rows=_given_rows(left.rows, units, places) if left else _given_rows(furthest(x, y), range(len(x)), places),
        outliers=diagnosis.outliers,
        inner=inner,
        rows_in_all=len(x),
        split=tuple(places[list(split)].tolist()),
        grouped=[one.title for one in diagnosis.findings].count("rows look grouped") == len((x, y)),
    )
    if find_verdict(facts) == CHANCE:
        facts = facts._replace(others=_above_chance(others, raw, (x, y), codes, seed))
    rows: dict[str, tuple[float, float, str]] = {
        "cka": (facts.value, facts.level, "rotation and scale"),
        "cka, raising samples left out": (facts.low, math.nan, f"the {facts.left_out} that raise it most"),
        "cka, lowering samples left out": (facts.high, math.nan, f"the {facts.left_out} that lower it most"),
    }
    if not inside.all():
        without = count_of(len(x) - int(inside.sum()), "sample")
        rows["cka, outliers left out"] = facts.inner, math.nan, f"{without} far from the rest"
    rows["cka, first components removed"] = facts.rest, math.nan, "the largest component of each side, in both sides"
    rows["cka, lengths clipped"] = clipped, clipped_level, "how far samples are, beyond the median distance"
    table = pd.DataFrame.from_dict(rows | others, orient="index", columns=["value", "chance", "ignores"])
    return table.rename_axis("check"), facts, notes


def _others(
    raw: tuple[Any, Any], sides: tuple[Any, Any], codes: Any, seed: int, diagnosis: Diagnosis
) -> tuple[dict[str, tuple[float, float, str]], tuple[str, ...]]:
    """Return values, chance levels and what they ignore of other measures, and why some have none."""
    n, rows, notes = len(sides[0]), {}, []
    pairs = 1 if n >= ENOUGH else PERMUTED
    together = diagnosis.together
    for name, ignored in OTHERS.items():
        measure, value, chance = measures.get(name), math.nan, math.nan
        x, y = raw if isinstance(measure, RSA) else sides  # correlations of features change if these are rotated
        if isinstance(measure, CCA) and together["both ranks"] > together["room for CCA (n - 1)"]:
            notes.append(f"{name} is undefined: both ranks together, {together['both ranks']}, exceed n - 1 = {n - 1}")
        else:
            try:
                value = without_pairs_within(measure, codes)(x, y)
                if isinstance(measure, MutualKNN) and codes is None:
                    chance = measure.k / (n - 1)
                elif isinstance(measure, CKA):  # debiased: the mean of HSIC over permutations is 0
                    chance = 0.0
                else:
                    pair = {"x": x, "y": y}
                    units = range(n) if codes is None else codes
                    chance = float(chance_values(measure, pair, groups=units, n_pairs=pairs, seed=seed).mean())
            except (UndefinedError, ValueError) as error:
                notes.append(f"{name} has no {'value' if math.isnan(value) else 'chance level'}: {as_clause(error)}")
        rows[name] = value, chance, ignored
    return rows, tuple(notes)


def _above_chance(
    others: Mapping[str, tuple[float, float, str]], raw: tuple[Any, Any], sides: tuple[Any, Any], codes: Any, seed: int
) -> dict[str, tuple[float, float]]:
    """Return {name: (value, chance level)} of measures that weigh small differences and are above chance."""
    found = {}
    for name in SMALL_DIFFERENCES:
        value, chance, _ = others[name]
        if not value - chance >= MARGIN * (1 - chance):  # also if one of them is NaN
            continue
        x, y = raw if name == "rsa" else sides
        units = range(len(x)) if codes is None else codes
        with contextlib.suppress(UndefinedError, ValueError):  # too few groups
            test = permutation_test(name, x, y, groups=units, n_permutations=TESTED, seed=seed)
            if test.p_value <= 1 / (TESTED + 1):
                found[name] = value, chance
    return found


def unrelated_value(x: np.ndarray, y: np.ndarray, codes: np.ndarray | None = None) -> float:
    """Return the mean of CKA over all permutations of one side, of whole groups of rows if there are any.

    The means of groups, and the differences of rows from them, are permuted separately.
    """
    sides = [centred_unit(side.astype(np.float64)) for side in (x, y)]
    norms = [np.linalg.norm(side.T @ side if side.shape[1] < len(side) else side @ side.T) for side in sides]
    n = number = len(x)
    between = [1.0, 1.0]  # fraction of the variance of each side that is between groups
    if codes is not None:
        number = int(codes.max()) + 1
        sizes = np.bincount(codes)
        means = [np.stack([np.bincount(codes, column) for column in side.T]).T / sizes[:, None] for side in sides]
        between = [float(sizes @ (mean**2).sum(axis=1)) for mean in means]
    level = between[0] * between[1] / (number - 1)
    if n > number:
        level += (1 - between[0]) * (1 - between[1]) / (n - number)
    return float(level / np.prod(norms))


def without_components(x: np.ndarray, y: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """Return CKA of both sides without the scores of either first principal component, and what these split off.

    The value is NaN if nothing is left of one side. The second is the smaller of two groups of samples that the
    heavier of both components separates, empty if its scores are not in two groups.
    """
    sides = [centred_unit(side.astype(np.float64)) for side in (x, y)]
    firsts = [_first_component(side) for side in sides]
    basis = np.linalg.qr(np.column_stack([scores for _, scores in firsts]))[0]
    left = [side - basis @ (basis.T @ side) for side in sides]
    heavier = max(firsts, key=lambda first: first[0])[1]
    if min(np.vdot(side, side) for side in left) < NOTHING:
        return math.nan, smaller_group(heavier)
    return measures.get("cka")(*left), smaller_group(heavier)


def _first_component(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the weight of the first component in cka, and its scores with length 1; x is centred."""
    wide = x.shape[1] > len(x)
    products = x @ x.T if wide else x.T @ x
    last = len(products) - 1
    values, vectors = eigh(products, subset_by_index=[last, last])
    scores = vectors[:, 0] if wide else x @ vectors[:, 0]
    return float(values[0] ** 2 / np.vdot(products, products)), scores / np.linalg.norm(scores)


def smaller_group(scores: np.ndarray) -> tuple[int, ...]:
    """Return the smaller of two groups of samples into which scores fall, or nothing if they are not in two groups."""
    order = np.argsort(scores, kind="stable")
    n, ordered = len(scores), scores[order] - scores.mean()
    sums, sizes = np.cumsum(ordered)[:-1], np.arange(1, n)
    between = sums**2 * (1 / sizes + 1 / (n - sizes))  # sum of squares between the first samples and the others
    cut = int(between.argmax()) + 1
    if between[cut - 1] < TWO_GROUPS * (ordered @ ordered):
        return ()
    group = order[:cut] if cut <= n - cut else order[cut:]
    return tuple(sorted(group.tolist()))


def furthest(x: np.ndarray, y: np.ndarray) -> tuple[int, ...]:
    """Return the sample that is furthest from the mean, of the side in which it is further."""
    found = []
    for side in (x, y):
        distances = np.linalg.norm(centred_unit(side.astype(np.float64)), axis=1)
        found.append((float(distances.max()), int(distances.argmax())))
    return (max(found)[1],)


def _given_rows(units: Sequence[int], codes: Any, places: np.ndarray) -> tuple[int, ...]:
    """Return the rows, among those given, of samples or groups; the most influential first."""
    of_row = np.asarray(pd.factorize(np.asarray(codes))[0])
    return tuple(int(row) for unit in units for row in places[of_row == unit])
