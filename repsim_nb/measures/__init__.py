"""Measures by their short names.

If you do not know which to use, take "cka_debiased", and always a second, different measure next to it.
"""

import inspect
import sys
from collections.abc import Iterable, Mapping

import pandas as pd

from repsim_nb.support.errors import DegenerateComparisonError, UndefinedError, check_name, show_public_names

from . import testing  # noqa: F401  (rs.testing)
from .alignment import NBS, Procrustes
from .base import Measure
from .cca import CCA
from .cka import CKA, DistanceCorrelation
from .cknna import CKNNA
from .confounds import Deconfounded, deconfounded
from .cost import estimate_cost
from .cross_validated import crossnobis
from .decisions import AccuracyGap, Disagreement, Kappa, OutputRank
from .dimensions import shared_dimensions
from .feature_sampling import DoublyDebiasedCKA
from .function import FromFunction, from_function
from .functional import JSD, KL
from .matching import CorrelationMatch, PermutationProcrustes
from .multiscale import MultiscaleCKA
from .names import KNOWN, code_of
from .neighbours import JaccardKNN, MutualKNN
from .prediction import GULP, LinearPredictivity
from .ranked_neighbours import RankSimilarity, SecondOrderCosine
from .rsa import RSA, first_order
from .rsm_norm import RSMNormDifference
from .shape_distances import SizeAndShape, WhitenedShape
from .soft_matching import PartialSoftMatching, SoftMatching, UnitRanking, rank_units
from .spanning_trees import NTS, RTDLite
from .summary_differences import ConcentricityDifference, MagnitudeDifference, UniformityDifference
from .table_inputs import check_same_samples, to_device
from .tables import Table
from .uncentred import AlignedCosine, EigenspaceOverlap

REPRESENTATIONAL: dict[str, Measure] = {
    "cka": CKA(),
    "cka_debiased": CKA(debiased=True),
    "cka_minibatch": CKA(batch_size=256),
    "cka_rbf": CKA(kernel="rbf"),
    "mean_cca": CCA(),
    "mean_squared_cca": CCA(summary="mean_squared"),
    "svcca": CCA(variance=0.99),
    "pwcca": CCA(summary="projection_weighted"),
    "procrustes": Procrustes(),
    "procrustes_distance": Procrustes(form="distance"),
    "angular_shape": Procrustes(form="angle"),
    "nbs": NBS(),
    "linear_predictivity": LinearPredictivity(),
    "distance_correlation": DistanceCorrelation(),
    "rsa": RSA(),
    "rsa_cosine": RSA(first="cosine", second="row_cosine", diagonal=True),
    "mutual_knn": MutualKNN(),
    "jaccard_knn": JaccardKNN(),
    "cknna": CKNNA(),
    "gulp": GULP(),
    "soft_matching": SoftMatching(),
}
"""The measures of activations for every use, by short name; functions that take all by default take these."""
FURTHER: dict[str, Measure] = {
    "multiscale_cka": MultiscaleCKA(),
    "aligned_cosine": AlignedCosine(),
    "whitened_shape": WhitenedShape(),
    "size_and_shape": SizeAndShape(),
    "permutation_procrustes": PermutationProcrustes(),
    "hard_correlation_match": CorrelationMatch(),
    "soft_correlation_match": CorrelationMatch(match="soft"),
    "partial_soft_matching": PartialSoftMatching(),
    "second_order_cosine": SecondOrderCosine(),
    "rank_similarity": RankSimilarity(),
    "eigenspace_overlap": EigenspaceOverlap(),
    "rsm_norm_difference": RSMNormDifference(),
    "rtd_lite": RTDLite(),
    "nts": NTS(),
    "magnitude_difference": MagnitudeDifference(),
    "concentricity_difference": ConcentricityDifference(),
    "uniformity_difference": UniformityDifference(),
}
"""The measures of activations for special questions, by short name."""
FUNCTIONAL: dict[str, Measure] = {
    "jsd": JSD(),
    "kl": KL(),
    "disagreement": Disagreement(),
    "kappa": Kappa(),
    "output_rank": OutputRank(),
}
"""The measures of outputs, by short name."""
ALL: dict[str, Measure] = {**REPRESENTATIONAL, **FURTHER, **FUNCTIONAL}
"""All measures, by short name: `get` takes these names."""
KNOWN.update(ALL)


def get(measure: str | Measure) -> Measure:
    """Return a measure by its short name.

    Parameters
    ----------
    measure : str or Measure
        A name of `rs.measures.ALL`; a Measure is returned as it is.

    Returns
    -------
    Measure
        The measure of that name.

    Raises
    ------
    ValueError
        If there is no such name; the error lists the nearest ones.
    TypeError
        If it is neither a name nor a Measure.

    Examples
    --------
    >>> rs.measures.get("svcca") == rs.measures.CCA(variance=0.99)
    True
    """
    if isinstance(measure, Measure):
        return measure
    if not isinstance(measure, str):
        hint = (
            f"Create an instance: {measure.__name__}()."
            if isinstance(measure, type) and issubclass(measure, Measure)
            else "For a function of your own use measures.from_function(f, ...)."
        )
        if isinstance(shape := getattr(measure, "shape", None), tuple):  # an array, of any library
            what, hint = (
                f"a {type(measure).__name__} of shape {tuple(shape)}",
                "The measure comes first: ('cka', x, y).",
            )
        elif isinstance(measure, Mapping):
            what, hint = f"a {type(measure).__name__} of {len(measure)}", "The measure comes first: ('cka', xs)."
        else:
            what = repr(measure)
        raise TypeError(f"measure must be a short name such as 'cka' or a Measure; got {what}. {hint}")
    check_name("measure", measure, ALL)
    return ALL[measure]


def short_name(measure: Measure) -> str:
    """Return the short name of a measure.

    Parameters
    ----------
    measure : Measure
        Any measure.

    Returns
    -------
    str
        The name that `get` takes; else the class with its options. The name of a deconfounded measure is without the
        hash of its inputs.

    Examples
    --------
    >>> rs.measures.short_name(rs.measures.CKA(debiased=True))
    'cka_debiased'
    >>> rs.measures.short_name(rs.measures.CKA(debiased=True, kernel="rbf"))
    "CKA(kernel='rbf', debiased=True)"
    """
    if isinstance(measure, Deconfounded):
        return measure.name
    return str(measure)


def _misleads_when(measure: Measure) -> str:
    """Return when a measure misleads, from the docstring of its class; empty if that has no such paragraph."""
    paragraphs = (inspect.getdoc(type(measure)) or "").split("\n\n")
    found = next((text for text in paragraphs if text.startswith("Misleads when ")), "")
    return " ".join(found.removeprefix("Misleads when ").split())


def describe(table: Mapping[str, Measure] | str | Measure | Iterable[str | Measure] = ALL) -> pd.DataFrame:
    """Describe measures, one row for each.

    Parameters
    ----------
    table : {name: Measure}, or one or several names or measures
        The measures; by default all with a short name.

    Returns
    -------
    DataFrame
        Indexed by name. "compares": activations or outputs. "kind": similarity or dissimilarity. "range": the smallest
        and the largest value. "permutation", "orthogonal", "scaling", "translation", "linear": ✓ if this
        transformation of one side leaves the value unchanged. "symmetric": ✓ if the sides may be swapped. "metric": ✓
        if it obeys the triangle inequality. "samples": how many it needs. "class": the class with its options.
        "misleads when": the situations in which the class misleads. ``pd.set_option("display.max_colwidth", None)``
        shows these sentences in full.

    Examples
    --------
    >>> rs.measures.describe().loc["procrustes", ["kind", "range", "orthogonal", "linear", "samples"]].tolist()
    ['dissimilarity', '0 to 2', '✓', '', '≥ 3']
    >>> rs.measures.describe(["cka", "procrustes"])["kind"].to_dict()
    {'cka': 'similarity', 'procrustes': 'dissimilarity'}
    """

    def facts(measure: Measure) -> dict[str, object]:
        low, high = (f"{end:.3g}".replace("inf", "∞") for end in measure.range)
        ticks = {
            change: change in measure.invariant_to
            for change in ("permutation", "orthogonal", "scaling", "translation", "linear")
        }
        ticks |= {"symmetric": measure.symmetric, "metric": measure.is_metric}
        return {
            "compares": measure.compares,
            "kind": measure.kind,
            "range": f"{low} to {high}",
            **{name: "✓" if yes else "" for name, yes in ticks.items()},
            "samples": f"≥ {measure.min_samples}",
            "class": code_of(measure).removesuffix("()"),
            "misleads when": _misleads_when(measure),
        }

    if not isinstance(table, Mapping):
        found = [get(one) for one in ([table] if isinstance(table, (str, Measure)) else table)]
        table = {short_name(measure): measure for measure in found}
    return pd.DataFrame({name: facts(measure) for name, measure in table.items()}).T.rename_axis("measure")


__all__ = [
    "ALL",
    "CCA",
    "CKA",
    "CKNNA",
    "FUNCTIONAL",
    "FURTHER",
    "GULP",
    "JSD",
    "KL",
    "NBS",
    "NTS",
    "REPRESENTATIONAL",
    "RSA",
    "AccuracyGap",
    "AlignedCosine",
    "ConcentricityDifference",
    "CorrelationMatch",
    "Deconfounded",
    "DegenerateComparisonError",
    "Disagreement",
    "DistanceCorrelation",
    "DoublyDebiasedCKA",
    "EigenspaceOverlap",
    "FromFunction",
    "JaccardKNN",
    "Kappa",
    "LinearPredictivity",
    "MagnitudeDifference",
    "Measure",
    "MultiscaleCKA",
    "MutualKNN",
    "OutputRank",
    "PartialSoftMatching",
    "PermutationProcrustes",
    "Procrustes",
    "RSMNormDifference",
    "RTDLite",
    "RankSimilarity",
    "SecondOrderCosine",
    "SizeAndShape",
    "SoftMatching",
    "Table",
    "UndefinedError",
    "UniformityDifference",
    "UnitRanking",
    "WhitenedShape",
    "check_same_samples",
    "crossnobis",
    "deconfounded",
    "describe",
    "estimate_cost",
    "first_order",
    "from_function",
    "get",
    "rank_units",
    "shared_dimensions",
    "short_name",
    "to_device",
]

# here, since `rs.measures` is a submodule and may be imported without the `__getattr__` of `rs`
show_public_names(sys.modules[__name__], "rs.measures")
