"""The reference of measures: what they declare, their docstrings, and when each one misleads."""

from __future__ import annotations

import inspect
import math

import api
from numpydoc.docscrape import NumpyDocString

import repsim_nb as rs

TRANSFORMS = ("permutation", "orthogonal", "scaling", "translation", "linear")
N, P, LAYERS = 1000, 512, 12  # the table whose cost is stated

# family: (question, {measure: when to choose it}); the docstrings of the classes state when they mislead
FAMILIES: dict[str, tuple[str, dict[str, str]]] = {
    "Centred kernel alignment": (
        "Are samples that are similar in one representation similar in the other? Directions of large variance count"
        " most.",
        {
            "cka_debiased": "The default. Right on average at any number of samples and features.",
            "cka": "To compare with published values.",
            "cka_minibatch": "For data too large to hold in memory.",
            "multiscale_cka": "If large directions should count more or less than in CKA: `steps` is the dial.",
            "cka_rbf": "If one outlier must not decide the value, or if similarity is local.",
        },
    ),
    "Distance correlation": (
        "Do distances between samples go together?",
        {"distance_correlation": "If any dependence should count, not only a linear one."},
    ),
    "Canonical correlation": (
        "Is the same information there, however it is mixed by a linear map?",
        {
            "svcca": "The first choice of this family: it drops directions beyond 99 % of the variance.",
            "mean_cca": "If all directions should count equally.",
            "mean_squared_cca": "To state shared variance.",
            "pwcca": "If directions with small activations should count little. Not symmetric.",
            "eigenspace_overlap": "If subspaces should count with their ranks, and the mean of each feature too.",
        },
    ),
    "Procrustes": (
        "How far apart are the two sets of points after the best rotation?",
        {
            "procrustes_distance": "For maps and clusters, and next to CKA: it notices lost directions early.",
            "angular_shape": "The same as an angle; also a metric.",
            "procrustes": "The squared distance that most papers report. No metric.",
            "nbs": "The same as a similarity.",
            "aligned_cosine": "The mean cosine of samples after a rotation, if their lengths should not count.",
            "whitened_shape": "If directions of small variance should count more, but not as much as in CCA.",
            "size_and_shape": "If the size of activations matters, in their own units.",
        },
    ),
    "Representational similarity analysis": (
        "Do the two matrices of dissimilarities between samples agree?",
        {
            "rsa": "To compare with brain data or behaviour.",
            "rsa_cosine": "To compare with values that were published with it.",
            "rsm_norm_difference": "If the units of distances should count. It grows with the number of samples.",
        },
    ),
    "Neighbours": (
        "Are the same samples neighbours, whatever is far away?",
        {
            "mutual_knn": "For local structure. The chance level is k/(n − 1): ``measure.chance(n)``.",
            "jaccard_knn": "The same as intersection over union.",
            "cknna": "Between neighbours and CKA.",
            "rank_similarity": "If shared neighbours should also have the same ranks.",
            "second_order_cosine": "If each sample should be as near to its neighbours on both sides.",
        },
    ),
    "Prediction": (
        "How well does one representation predict the other, or a linear readout of it?",
        {
            "linear_predictivity": "If one side is a model of the other. Cross-validated; not symmetric.",
            "gulp": "If two layers should serve linear readouts equally well. The ridge is part of the question.",
        },
    ),
    "Units": (
        "Do single units correspond?",
        {
            "soft_matching": "If a rotation should count as a difference. It takes long for wide layers.",
            "permutation_procrustes": "The same one to one, on the scale of Procrustes.",
            "hard_correlation_match": "If all units should count alike. One to one.",
            "soft_correlation_match": "If several units may share a partner.",
            "partial_soft_matching": "If some units have no partner: `rank_units` ranks them.",
        },
    ),
    "Clusters at every scale": (
        "Do samples join into the same clusters, as the distance grows?",
        {
            "rtd_lite": "By how much the distances differ at which clusters join.",
            "nts": "Whether the edges of both spanning trees have the same order of lengths.",
        },
    ),
    "One number a side": (
        "Do both representations have the same size, concentration or spread? Samples are not compared.",
        {
            "magnitude_difference": "Lengths of the mean samples.",
            "concentricity_difference": "How closely samples point along their mean.",
            "uniformity_difference": "How evenly samples are spread.",
        },
    ),
    "Outputs": (
        "Do models give the same answers? These measures compare logits, on the layer ``output``.",
        {
            "jsd": "Difference of predicted probabilities; symmetric and bounded.",
            "kl": "Difference of predicted probabilities from a reference. Not symmetric, and unbounded.",
            "disagreement": "The fraction of samples with different predictions.",
            "kappa": "Agreement of predictions beyond chance.",
            "output_rank": "Whether classes are ranked in the same order.",
        },
    ),
}


def cost(measure: rs.measures.Measure) -> str:
    """The work of a table, relative to CKA; "" if the measure has no estimate."""
    if measure.compares == "outputs":
        return "small"
    widths = [P] * LAYERS
    ratio = measure.cost(N, widths).flops / rs.measures.get("cka").cost(N, widths).flops
    return "" if math.isnan(ratio) else f"{ratio:.1f} ×" if ratio < 10 else f"{ratio:,.0f} ×"


def span(measure: rs.measures.Measure) -> str:
    """The range of values."""
    low, high = (f"{end:.3g}".replace("inf", "∞").replace("-", "−") for end in measure.range)
    return f"{low} to {high}"


def facts(name: str, page: str) -> list[str]:
    """What a measure declares, as a table of two columns."""
    measure = rs.measures.get(name)
    kept = [change for change in TRANSFORMS if change in measure.invariant_to]
    larger = "more similar" if measure.kind == "similarity" else "less similar"
    rows = {
        "Direction": f"a {measure.kind}: larger is {larger}",
        "Range": span(measure),
        "Unchanged by": ", ".join(kept) + " of either side" if kept else "none of the transformations",
        "Sides": "may be swapped" if measure.symmetric else "may not be swapped",
        "Metric": "yes" if measure.is_metric else "no",
        "Samples": f"at least {measure.min_samples}",
        "Cost": f"{cost(measure)} of ``cka``" if "×" in cost(measure) else cost(measure) or "not estimated",
        "Class": f":doc:`rs.measures.{measure} </{page}>`",
    }
    lines = [".. list-table::", "   :widths: 25 75", "   :class: facts", ""]
    for fact, value in rows.items():
        lines += [f"   * - {fact}", f"     - {value}"]
    return lines


def overview(names: list[str]) -> list[str]:
    """One row for each measure."""
    head = [
        "measure",
        "direction",
        "range",
        "rotation",
        "scaling",
        "translation",
        "linear map",
        "symmetric",
        "metric",
        "cost",
    ]
    lines = [".. list-table::", "   :header-rows: 1", "   :class: overview", ""]
    lines += [f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(head)]
    for name in names:
        measure = rs.measures.get(name)
        ticks = [change in measure.invariant_to for change in ("orthogonal", "scaling", "translation", "linear")]
        cells = [f":ref:`{name} <measure-{name}>`", measure.kind, span(measure)]
        cells += ["✓" if tick else "" for tick in (*ticks, measure.symmetric, measure.is_metric)]
        cells.append(cost(measure) or "–")
        lines += [f"   {'* -' if k == 0 else '  -'} {cell}".rstrip() for k, cell in enumerate(cells)]
    return lines


def notes(kind: type) -> list[str]:
    """The summary and the notes of the docstring of a class."""
    doc = NumpyDocString(inspect.getdoc(kind) or "")
    text = [*doc["Summary"], "", *doc["Extended Summary"], "", *doc["Notes"]]
    return [line.replace("|", "\\|").replace("Misleads when", "**Misleads** when") for line in text]


def page(names: dict[str, api.Name]) -> str:
    """The page of all measures."""
    listed = [name for _, measures in FAMILIES.values() for name in measures]
    assert sorted(listed) == sorted(rs.measures.ALL), set(listed) ^ set(rs.measures.ALL)
    lines = [
        api.heading("Measures"),
        "All measures take two arrays (n, ...) with one row for each of the same n samples, in the same order."
        " ``rs.measures.get(name)`` gives a measure, and a measure is called with two arrays."
        " *Unchanged by* names the transformations of one side that leave the value as it is;"
        " a test checks each of them, and also that all others change the value.",
        "",
        f"*Cost* is the work of a table of {LAYERS} representations with {N:,} samples and {P} features,"
        " relative to the same table of ``cka``.",
        "",
        *overview(listed),
        "",
    ]
    for family, (question, measures) in FAMILIES.items():
        lines += [api.heading(family, "-"), f"**Question.** {question}", ""]
        shown = set()
        for name, choose in measures.items():
            kind = type(rs.measures.get(name))
            reference = api.page_of(names[f"measures.{kind.__name__}"], names)
            lines += [f".. _measure-{name}:", "", api.heading(name, "~"), choose, "", *facts(name, reference), ""]
            if kind not in shown:
                shown.add(kind)
                lines += [*notes(kind), ""]
    return "\n".join(lines) + "\n"
