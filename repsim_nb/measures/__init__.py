"""Measures by their short names.

If you are not sure: "cka_debiased" when samples are few, and always a second, different one next to it.
"""

from collections.abc import Mapping

import pandas as pd

from repsim_nb.support.errors import DegenerateComparisonError, UndefinedError, unknown_name

from .alignment import NBS, Procrustes, SoftMatching
from .base import Measure
from .cca import CCA
from .cka import CKA, DistanceCorrelation
from .cknna import CKNNA
from .confounds import Deconfounded, deconfounded
from .cost import estimate_cost
from .decisions import AccuracyGap, Disagreement, Kappa, OutputRank
from .function import FromFunction, from_function
from .functional import JSD, KL
from .neighbours import JaccardKNN, MutualKNN
from .prediction import GULP, LinearPredictivity
from .rsa import RSA, first_order
from .table_inputs import check_same_samples, to_device
from .tables import Table

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
FUNCTIONAL: dict[str, Measure] = {
    "jsd": JSD(),
    "kl": KL(),
    "disagreement": Disagreement(),
    "kappa": Kappa(),
    "output_rank": OutputRank(),
}
ALL: dict[str, Measure] = {**REPRESENTATIONAL, **FUNCTIONAL}


def get(measure: str | Measure) -> Measure:
    """A measure from its short name; a Measure passes as it is. ValueError lists the nearest names."""
    if isinstance(measure, Measure):
        return measure
    if not isinstance(measure, str):
        hint = (
            f"one of its instances, {measure.__name__}()"
            if isinstance(measure, type) and issubclass(measure, Measure)
            else "for a function of your own measures.from_function(f, ...)"
        )
        raise TypeError(f"a measure is a short name such as 'cka' or a Measure, {hint}; got {measure!r}")
    if measure not in ALL:
        raise unknown_name("measure", measure, ALL)
    return ALL[measure]


def short_name(measure: Measure) -> str:
    """The short name that `get` knows a measure by, else how it prints.

    The name of a deconfounded measure is without the hash of its inputs.
    """
    if isinstance(measure, Deconfounded):
        return measure.name
    return next((name for name, known in ALL.items() if known == measure), str(measure))


def describe(table: Mapping[str, Measure] = ALL) -> pd.DataFrame:
    """Return the properties of each measure as a frame, with one row for each short name.

    What it compares, kind, range; ✓ under each transformation of one side that does not change its value; whether its
    sides may be swapped, whether it is a metric, how many samples it needs.
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
            "class": str(measure),
        }

    return pd.DataFrame({name: facts(measure) for name, measure in table.items()}).T.rename_axis("measure")


__all__ = [
    "ALL",
    "CCA",
    "CKA",
    "CKNNA",
    "FUNCTIONAL",
    "GULP",
    "JSD",
    "KL",
    "NBS",
    "REPRESENTATIONAL",
    "RSA",
    "AccuracyGap",
    "Deconfounded",
    "DegenerateComparisonError",
    "Disagreement",
    "DistanceCorrelation",
    "FromFunction",
    "JaccardKNN",
    "Kappa",
    "LinearPredictivity",
    "Measure",
    "MutualKNN",
    "OutputRank",
    "Procrustes",
    "SoftMatching",
    "Table",
    "UndefinedError",
    "check_same_samples",
    "deconfounded",
    "describe",
    "estimate_cost",
    "first_order",
    "from_function",
    "get",
    "short_name",
    "to_device",
]
