"""The benchmark of distances that are there already: a table with a row a pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from repsim_nb.measures.ties import merge_ties, tolerance_of
from repsim_nb.results.inference.square_tables import precision_of
from repsim_nb.results.inference.units import Groups
from repsim_nb.support.labels import explain_same_text

from .benchmark_result import Benchmark
from .gaps import check_columns, check_numbers, functionality_up_to_sign
from .models import check_groups_named, check_models, units_of_models
from .noise import TrueFunctionality, noise_of
from .pair_sets import pair_sets
from .ranking import Pairing, Resampling, check_pairing, rank


def rank_pairs(  # noqa: PLR0913 - keyword-only, independent of each other
    frame: pd.DataFrame,
    distances: Sequence[str],
    gap: str,
    *,
    pairs: Pairing = "reference",
    model: str = "seed",
    per: str = "layer",
    across: bool = True,
    groups: Groups = None,
    noise: float | None = None,
    n_bootstrap: int = 1999,
    n_permutations: int = 999,
    level: float = 0.95,
    seed: int = 0,
) -> Benchmark:
    """Rank distances by how well they go with gaps in functionality, for pairs that are there already.

    Parameters
    ----------
    frame : DataFrame
        A row a pair. Columns {model}1, {per}1 and {model}2, {per}2 name its two items.
    distances : columns of distances, larger is less alike
    gap : str
        The column |F - F'|.
    pairs : "reference" or "all"
        "reference": the pairs of `reference_pairs`, whose first item is the reference of its layer. "all": every pair
        once; pairs of an item with itself are left out.
    model, per : str
        What columns are called.
    across : bool
        With all pairs: those of different layers, too, as one set; otherwise one set a layer.
    groups : {model: group}, Series or DataFrame by model, optional
        As in `benchmark`.
    noise : float, or Series by the fields of the items or by model, optional
        As in `benchmark`; F follows from all gaps, so it needs pairs="all" and across=True.
    n_bootstrap, n_permutations, level, seed : as in `benchmark`

    Returns
    -------
    Benchmark

    Raises
    ------
    ValueError
        For columns that are not there or hold no numbers, a pair that is there twice, several references in one layer,
        fewer than 3 models.
    TypeError
        For groups without names of models.

    References
    ----------
    As in `benchmark`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> F = rng.normal(size=8)
    >>> one, other = np.triu_indices(8, 1)
    >>> frame = pd.DataFrame({"seed1": one, "layer1": 0, "seed2": other, "layer2": 0, "gap": abs(F[one] - F[other])})
    >>> frame["distance"] = frame["gap"] ** 2
    >>> round(float(rank_pairs(frame, ["distance"], "gap", pairs="all").table.loc["distance", "spearman"]), 3)
    1.0
    """
    resampling = Resampling(n_bootstrap, n_permutations, level, seed)
    check_pairing(pairs)
    names = [distances] if isinstance(distances, str) else list(distances)
    _check_frame(frame, names, gap, model, per)
    ends = _labels_of(frame, model, per)
    if pairs == "all":
        frame = frame[ends[0] != ends[1]]
        frame = (frame if across else frame[frame[f"{per}1"] == frame[f"{per}2"]]).reset_index(drop=True)
        ends = _labels_of(frame, model, per)
    items = ends[0].append(ends[1]).unique()
    one, other = (items.get_indexer(end) for end in ends)
    own_set = frame[f"{per}1"].to_numpy()
    _check_once(items, one, other, own_set if pairs == "reference" else np.zeros(len(frame)))
    if pairs == "reference":
        firsts = frame.groupby(f"{per}1", sort=False)[f"{model}1"].nunique()
        if (firsts > 1).any():
            raise ValueError(
                f"pairs='reference' needs one first item for each {per}, the reference; {per} {firsts.idxmax()} has"
                f" {firsts.max()}. Use grounding.reference_pairs, or pairs='all'"
            )
    codes, known = pd.factorize(items.get_level_values(model))
    places = pd.factorize(items.get_level_values(per))[0]
    truth = None
    if noise is not None:
        if pairs != "all" or not across:
            raise ValueError("F follows from the gaps of all pairs, so noise= needs pairs='all' and across=True")
        f = functionality_up_to_sign(frame, gap, model=model, per=per).loc[items].to_numpy()
        truth = TrueFunctionality.estimate(f, noise_of(noise, items), places, (one, other))
    check_models(known)
    index = pd.Index(known, name=model)
    check_groups_named(index, groups)
    units = units_of_models(index, pd.Series(known, name=model), groups)
    merged = {
        name: merge_ties(
            frame[name].to_numpy(float), tolerance_of(frame[name].to_numpy(float), precision_of(frame[name]))
        )
        for name in [*names, gap]
    }
    values = np.full(len(frame), "all", dtype=object) if pairs == "all" and across else own_set
    found = pair_sets(codes, places, (one, other), values, merged[gap], units, pairs)
    return rank(frame, (gap, model, per), {name: merged[name] for name in names}, found, resampling, truth)


def _labels_of(frame: pd.DataFrame, model: str, per: str) -> list[pd.MultiIndex]:
    """The labels of the first items and of the other items."""
    return [pd.MultiIndex.from_frame(frame[[f"{model}{end}", f"{per}{end}"]], names=[model, per]) for end in (1, 2)]


def _check_frame(frame: pd.DataFrame, names: list[str], gap: str, model: str, per: str) -> None:
    check_columns(frame, [*names, gap, *(f"{side}{end}" for side in (model, per) for end in (1, 2))])
    check_numbers(frame, [*names, gap])
    if (frame[gap] < 0).any():
        raise ValueError(
            f"'{gap}' is the size of a difference, |F - F'|, and it is below 0 in {int((frame[gap] < 0).sum())} of"
            f" {len(frame)} pairs"
        )
    for side in (model, per):
        one_side, other_side = (set(frame[f"{side}{end}"]) for end in (1, 2))
        if text := explain_same_text(one_side - other_side, other_side - one_side):
            raise ValueError(f"'{side}1' and '{side}2' name the same things{text}")


def _check_once(items: pd.Index, one: np.ndarray, other: np.ndarray, own_set: np.ndarray) -> None:
    """ValueError for a pair that is in one set twice, whichever item stands first."""
    ends = pd.DataFrame({"set": own_set, "first": np.minimum(one, other), "last": np.maximum(one, other)})
    if (twice := ends.duplicated().to_numpy()).any():
        raise ValueError(
            f"a pair is there once, whichever item stands first; that of {items[one[twice][0]]} and"
            f" {items[other[twice][0]]} is there again"
        )
