"""The test of sensitivity: how much a representation can be damaged before a measure notices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repsim_nb.measures import CCA, CKA, NBS, Measure, Procrustes
from repsim_nb.measures.alignment import shape_distance
from repsim_nb.measures.arrays import PrincipalComponents
from repsim_nb.results.comparison.comparing import compare_corresponding
from repsim_nb.results.inference.representations import representations_of
from repsim_nb.results.probes import linear_probe
from repsim_nb.results.probes.features import check_set
from repsim_nb.support.errors import as_clause, format_label, join_names
from repsim_nb.support.ids import check_order
from repsim_nb.support.labels import short_labels, to_axis
from repsim_nb.support.progress import Tick, show_progress
from repsim_nb.support.row_groups import groups_of
from repsim_nb.support.seeds import check_seed
from repsim_nb.support.validation import check_integer, check_labels

from .damage import DAMAGES, Damage, count_left, damage_of
from .model_benchmark import Measures, choose_measures
from .sensitivity_result import Sensitivity, first_above
from .specificity_result import NEVER

CURVES = ("cka", "procrustes", "rsa", "pwcca_all", "pwcca", "mean_cca", "pwcca_all_other", "pwcca_other")
_COLUMNS = ["threshold", "noticed", "earliest", "latest", "accuracy", "accuracy_loss"]


def sensitivity(  # noqa: PLR0913 - keyword-only, independent of each other
    representations: Mapping[Any, Any],
    targets: Sequence[Any] | None = None,
    *,
    damage: str | Damage = "components",
    measures: Measures = CURVES,
    amounts: Sequence[float] | None = None,
    draws: int | None = None,
    probe: bool = True,
    test_fraction: float = 0.3,
    cost: float = 1.0,
    seed: int = 0,
    progress: bool | Tick = False,
) -> Sensitivity:
    """Find the damage at which a measure exceeds the difference between two models, and the accuracy of a probe there.

    Parameters
    ----------
    representations : {label: array (n, p)}
        One layer of two or more models, for the same n samples.
    targets : labels (n,), optional
        Classes for a linear probe, and for the damage "class".
    damage : str or Damage
        "components" (principal components deleted, smallest first), "noise" (Gaussian), "units" (deleted in random
        order), "units_to_mean" (set to their mean), "class" (one class translated), "quantisation" (fewer levels), as
        in `grounding.DAMAGES`; or a `grounding.Damage` of your own.
    measures : list of str or Measure, or {name: Measure}
        As in `benchmark`. The whole representation is the first argument: "pwcca_all" and "pwcca" are weighted by its
        directions, those with "_other" by the damaged one.
    amounts : sequence of float, optional
        The amounts of damage; by default those of the damage. 0 is always included. Fractions are rounded to whole
        components or units, of which at least one is left.
    draws : int, optional
        The number of random draws that are averaged; by default that of the damage.
    probe : bool
        Whether to probe targets.
    test_fraction, cost : float
        As in `probes.linear_probe`.
    seed : int
        Seed of the random draws, which are independent between models, and of the held-out samples, >= 0.
    progress : bool or function(done, total)
        Show a bar, or call this function.

    Returns
    -------
    Sensitivity
        A table with one row for each measure, and curves by amount.

    Raises
    ------
    TypeError
        If `representations` is not a mapping of labels to arrays, or `amounts` not a sequence.
    ValueError
        For fewer than two models, several layers of one model, amounts that this damage does not have, targets that
        cannot be probed, and if no measure is defined for all damaged representations.

    Notes
    -----
    The threshold of a measure is its mean dissimilarity over ordered pairs of models. Curves are means over draws and
    models. A measure notices at the first amount whose mean is above the threshold, so `noticed` is as fine as the grid
    of amounts. More damage does not always raise a dissimilarity: it can fall below the threshold again. A measure that
    is undefined for a damaged representation has no row; `undefined` has the reason.

    References
    ----------
    Ding, Denain, Steinhardt 2021, Grounding representation similarity through statistical testing, NeurIPS. A
    translated class: Davari, Horoi, Natik, Lajoie, Wolf, Belilovsky 2023, Reliability of CKA as a similarity measure in
    deep learning, ICLR.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(80, 6)) * 2.0 ** -np.arange(6)
    >>> xs = {name: x + 0.1 * rng.normal(size=x.shape) for name in "abc"}
    >>> sensitivity(xs, measures=["cka", "procrustes"], damage="noise", amounts=[0.3, 0.4]).table.round(2)
                threshold  noticed  earliest  latest
    measure
    cka              0.02      0.3       0.3     0.4
    procrustes       0.08      0.4       0.3     0.4
    """
    chosen, damage = choose_measures(measures), damage_of(damage)
    amounts = damage.amounts if amounts is None else amounts
    damage.check(amounts)
    draws = damage.draws if draws is None else draws
    check_integer(draws, "draws", minimum=1, hint="the number of random draws to average over")
    check_seed(seed)
    first = next(iter(representations.values()), None) if isinstance(representations, Mapping) else None  # type: ignore[redundant-expr]
    check_order(first, targets)
    representations, n = representations_of(representations, *chosen.values())
    labels, classes = list(representations), None if targets is None else check_labels(targets, n, "targets")
    of_rows = groups_of(representations[labels[0]])
    if len(labels) < 2:
        raise ValueError(
            "sensitivity needs two or more models, since the threshold is the difference between models; got"
            f" {format_label(labels[0])}."
        )
    index = to_axis(representations)
    if "model" in index.names and index.get_level_values("model").has_duplicates:
        raise ValueError(
            f"sensitivity needs one layer of each model; some have several ({join_names(short_labels(index), 4)})."
            " Select one with .where(layer=...)."
        )
    names = short_labels(index)
    xs = {label: check_set(label, representations[label], constant=False) for label in labels}
    amounts = damage.reachable(amounts, list(xs.values()))
    pairs, undefined = _pairs(chosen, xs)
    thresholds = {short: table.sum(axis=0) / (len(xs) - 1) for short, table in pairs.items()}
    probed = probe and classes is not None
    accuracies = np.zeros((len(xs), len(amounts)))
    dissimilarities = {short: np.zeros_like(accuracies) for short in chosen}  # of the whole and the damaged, over draws
    steps = len(chosen) + (len(amounts) if probed else 0)  # of each model and draw
    total = len(xs) * draws * steps
    with show_progress(progress, "damage", "step") as tick:
        for done, (model, draw) in enumerate(itertools.product(range(len(xs)), range(draws))):
            x = xs[labels[model]]
            damaged = damage.start(x, classes, draw, seed, model)
            left = {f"{amount!r}": damaged(amount) for amount in amounts}
            for k, (short, measure) in enumerate(chosen.items()):
                tick(done * steps + k, total)
                if short in undefined:
                    continue
                found = compare_corresponding(measure, {"whole": x}, left, on_undefined="mask")
                if found.undefined:
                    undefined[short] = (
                        f"{len(found.undefined)} of {len(left)} damaged representations of {names[model]} are"
                        f" undefined: {next(iter(found.undefined.values()))}"
                    )
                dissimilarities[short][model] += found.dissimilarity().to_numpy(float)[0] / draws
            for k, damaged_x in enumerate(left.values() if probed else ()):
                tick(done * steps + len(chosen) + k, total)
                probed_x = linear_probe(
                    damaged_x,
                    classes,
                    groups=of_rows,
                    test_fraction=test_fraction,
                    cost=cost,
                    n_permutations=1,
                    seed=seed,
                )
                accuracies[model, k] += probed_x.accuracy / draws
        tick(total, total)
    defined = [short for short in chosen if short not in undefined]
    if not defined:
        raise ValueError(
            "no measure is defined for all damaged representations:"
            f" {'; '.join(f'{short}: {as_clause(why)}' for short, why in undefined.items())}."
        )
    index = pd.MultiIndex.from_product([names, amounts], names=["model", "amount"])
    each = pd.DataFrame({short: dissimilarities[short].ravel() for short in defined}, index=index)
    closed = pd.DataFrame(index=index)
    if damage is DAMAGES["components"]:
        closed = closed_forms({short: chosen[short] for short in defined}, list(xs.values()), amounts, index)
    curves, closed = (
        frame.groupby(level="amount", sort=False).mean() if len(frame.columns) else pd.DataFrame(index=amounts)
        for frame in (each, closed)
    )
    noticed = pd.DataFrame(
        {
            short: [first_above(each.loc[name, short], own) for name, own in zip(names, thresholds[short], strict=True)]
            for short in defined
        },
        index=pd.Index(names, name="model"),
        dtype=object,
    )
    accuracy = None
    if probed:
        each = each.assign(accuracy=accuracies.ravel())
        accuracy = each["accuracy"].groupby(level="amount", sort=False).mean()
    rows = [_row(curves[short], float(thresholds[short].mean()), noticed[short], accuracy) for short in defined]
    table = pd.DataFrame(rows, index=pd.Index(defined, name="measure"), columns=_COLUMNS[: len(rows[0])])
    return Sensitivity(
        table, curves, closed, accuracy, each, noticed, {short: pairs[short] for short in defined}, damage, undefined
    )


def _pairs(chosen: Mapping[str, Measure], xs: Mapping[Any, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the dissimilarity of each pair of models by each measure, and why a measure has none.

    Both directions are averaged; the diagonal is 0.
    """
    pairs, undefined = {}, {}
    other = ~np.eye(len(xs), dtype=bool)
    for short, measure in chosen.items():
        found = compare_corresponding(measure, xs, on_undefined="mask")
        missing = np.argwhere(np.triu(other & ~np.isfinite(found.values + found.values.to_numpy().T)))
        if len(missing):
            i, j = missing[0]
            pair = found.values.index[i], found.values.columns[j]
            undefined[short] = (
                f"{len(missing)} of {other.sum() // 2} pairs of models are undefined:"
                f" {found.undefined.get(pair) or found.undefined[pair[::-1]]}"
            )
            continue
        table = np.where(other, found.dissimilarity().to_numpy(float), 0.0)
        pairs[short] = (table + table.T) / 2
        if table[other].mean() < 1e-12:
            undefined[short] = (
                f"the models do not differ by it (mean dissimilarity {table[other].mean():.2g}), so there is no"
                " threshold"
            )
    return pairs, undefined


def _row(curve: pd.Series, threshold: float, by_model: pd.Series, accuracy: pd.Series | None) -> tuple[Any, ...]:
    """Return the row of a measure in the table."""
    amount = first_above(curve, threshold)
    ordered = sorted(by_model, key=lambda noticed: math.inf if noticed == NEVER else noticed)
    row = threshold, amount, ordered[0], ordered[-1]
    if accuracy is None:
        return row
    left = float(accuracy.loc[amount]) if amount != NEVER else None
    return *row, left, None if left is None else float(accuracy.iloc[0]) - left


def closed_form(measure: Measure, squares: np.ndarray, n_components: int) -> float | None:
    """Compute the dissimilarity of a representation and its first principal components, by formula.

    Parameters
    ----------
    measure : Measure
        CKA, Procrustes, NBS or CCA.
    squares : ndarray (components,)
        The eigenvalues λ of the covariance, largest first.
    n_components : int
        The number k of components that are left.

    Returns
    -------
    float or None
        None if there is no formula for this measure.

    Notes
    -----
    CKA: 1 - √(Σ_{i≤k} λ² / Σ λ²). Procrustes: with r = Σ_{i≤k} λ / Σ λ, the nuclear norm of XᵀX_k is √r for matrices of
    unit norm; this gives 2 - 2√r, its root, or arccos √r. NBS: 1 - √r. CCA over the directions that are left, or
    weighted by them: every correlation is 1, so 0.

    References
    ----------
    Ding, Denain, Steinhardt 2021, where components are deleted.

    Examples
    --------
    >>> from repsim_nb.measures import CKA
    >>> round(closed_form(CKA(), np.array([4.0, 2.0, 1.0]), 1), 4)
    0.1271
    """
    retained = float(np.sqrt(squares[:n_components].sum() / squares.sum()))
    if n_components == len(squares):
        retained = 1.0
    if measure == CKA():
        return 1 - float(np.sqrt((squares[:n_components] ** 2).sum() / (squares**2).sum()))
    if isinstance(measure, Procrustes):
        return shape_distance(retained, measure.form)
    if isinstance(measure, NBS):
        return 1 - retained
    if (
        isinstance(measure, CCA)
        and measure.variance is None
        and (measure.summary != "projection_weighted" or measure.normalise == "kept" or measure.weights == "y")
    ):
        return 0.0
    return None


def closed_forms(
    chosen: Mapping[str, Measure], xs: Sequence[np.ndarray], amounts: Sequence[float], index: pd.MultiIndex
) -> pd.DataFrame:
    """Return `closed_form` of each measure for each representation and amount; measures without one have no column."""
    found: dict[str, list[float]] = {}
    for x in xs:
        squares = PrincipalComponents(x).squares
        for short, measure in chosen.items():
            values = [closed_form(measure, squares, count_left(amount, len(squares))) for amount in amounts]
            if values[0] is not None:
                found.setdefault(short, []).extend(float(value) for value in values if value is not None)
    return pd.DataFrame(found, index=index)
