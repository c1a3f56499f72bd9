"""One table of laws over all measures, then bad input.

A new measure is covered by its line in the dict; its values are in test_known_values.py.
"""

import math
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

import repsim_nb as rs
from repsim_nb.measures import (
    ALL,
    CCA,
    CKA,
    CKNNA,
    FUNCTIONAL,
    FURTHER,
    GULP,
    JSD,
    KL,
    NTS,
    REPRESENTATIONAL,
    RSA,
    AccuracyGap,
    CorrelationMatch,
    Disagreement,
    DistanceCorrelation,
    EigenspaceOverlap,
    JaccardKNN,
    Kappa,
    LinearPredictivity,
    Measure,
    MultiscaleCKA,
    MutualKNN,
    PartialSoftMatching,
    PermutationProcrustes,
    Procrustes,
    RankSimilarity,
    RSMNormDifference,
    RTDLite,
    SecondOrderCosine,
    SizeAndShape,
    SoftMatching,
    UndefinedError,
    UniformityDifference,
    WhitenedShape,
    from_function,
)

VARIANTS = {
    "cka_rbf_off_diagonal": CKA(kernel="rbf", median="off_diagonal"),
    "cka_rbf_debiased": CKA(kernel="rbf", debiased=True, bandwidth=0.5),
    "cka_batches": CKA(batch_size=16),
    "pwcca_y": CCA(summary="projection_weighted", weights="y"),
    "pwcca_all": CCA(summary="projection_weighted", normalise="all"),
    "pwcca_kept": CCA(summary="projection_weighted", variance=0.9),
    **{
        f"rsa_{f}_{s}_{d}": RSA(first=f, second=s, diagonal=d)
        for f in ("correlation", "cosine", "dot", "euclidean")
        for s in ("spearman", "pearson", "cosine", "row_cosine", "row_pearson")
        for d in (False, True)
    },
    **{
        f"rsa_squared_{second}": RSA(first="squared_euclidean", second=second)
        for second in ("spearman", "rho_a", "tau_a", "pearson", "cosine", "whitened_cosine", "whitened_pearson")
    },
    **{
        f"rsa_{first}_{second}": RSA(first=first, second=second)
        for first in ("correlation", "euclidean")
        for second in ("rho_a", "tau_a", "whitened_cosine", "whitened_pearson")
    },
    "mutual_knn_euclidean": MutualKNN(k=5, metric="euclidean"),
    "jaccard_knn_euclidean": JaccardKNN(k=5, metric="euclidean"),
    "cknna_3": CKNNA(k=3),
    "predictivity_of_x": LinearPredictivity(predict="x"),
    "predictivity_in_sample": LinearPredictivity(folds=None),
    "predictivity_ridge": LinearPredictivity(folds=3, ridge=0.1),
    "gulp_small_ridge": GULP(ridge=1e-4),
    "soft_matching_as_is": SoftMatching(preprocess=False),
    "rank_similarity_euclidean": RankSimilarity(k=5, metric="euclidean"),
    "second_order_euclidean": SecondOrderCosine(k=5, metric="euclidean"),
    "second_order_similarities": SecondOrderCosine(values="similarities"),
    **{
        f"rsm_{first}_{norm}": RSMNormDifference(first=first, norm=norm)
        for first in ("euclidean", "cosine", "correlation")
        for norm in ("frobenius", "spectral")
    },
    "srtd_lite": RTDLite(form="srtd"),
    "nts_merges": NTS(form="merges"),
    "uniformity_as_is": UniformityDifference(unit=False, t=0.1),
    "permutation_distance": PermutationProcrustes(form="distance"),
    "permutation_angle": PermutationProcrustes(form="angle"),
    "partial_soft_matching_1": PartialSoftMatching(price=1.0),
    "multiscale_cka_half": MultiscaleCKA(steps=0.5),
    "multiscale_cka_8": MultiscaleCKA(steps=8),
    "multiscale_cka_rbf": MultiscaleCKA(kernel="rbf", steps=3),
    "whitened_shape_0": WhitenedShape(alpha=0),
    "whitened_shape_1": WhitenedShape(alpha=1),
    "whitened_shape_as_is": WhitenedShape(alpha=0.9, normalise=False),
    "size_and_shape_squared": SizeAndShape(form="squared"),
}
ACTIVATIONS = {**REPRESENTATIONAL, **FURTHER}
TABLE = {**ACTIVATIONS, **VARIANTS}


def pair_of(seed=0, n=60, p=8, q=6, shift=1.0):
    """Two related representations, columns of unequal mean and variance."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p)) * np.linspace(0.5, 2, p) + shift * rng.normal(size=p)
    y = x @ rng.normal(size=(p, q)) * 0.5 + rng.normal(size=(n, q)) + shift
    return x, y


def transformed(x, kind):
    """Strong and fixed: what must leave an invariant measure alone, and must move any other."""
    p = x.shape[1]
    rng = np.random.default_rng(99)
    matrix = {
        "permutation": lambda: np.eye(p)[rng.permutation(p)],
        "orthogonal": lambda: np.linalg.qr(rng.normal(size=(p, p)))[0],
        "scaling": lambda: 2.7 * np.eye(p),
        "linear": lambda: (
            np.linalg.qr(rng.normal(size=(p, p)))[0] @ np.diag(np.geomspace(0.1, 10, p)) + np.triu(np.ones((p, p)), 1)
        ),
    }
    return x + 3 * np.arange(1, p + 1) if kind == "translation" else x @ matrix[kind]()


def outputs(seed=0, n=50, classes=5):
    rng = np.random.default_rng(seed)
    x = 2 * rng.normal(size=(n, classes))
    return x, x + rng.normal(size=x.shape)


EVERYTHING = {**TABLE, **FUNCTIONAL, "accuracy_gap": AccuracyGap(outputs()[0].argmax(axis=1))}


def sides(name):
    return outputs() if EVERYTHING[name].compares == "outputs" else pair_of()


# -- what is declared, and what every measure promises

BELOW_BEST = ("predictivity_ridge",)  # a ridge draws even x's prediction of itself towards the mean


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_a_measure_is_what_it_declares(name):
    measure = EVERYTHING[name]
    check = rs.testing.check_measure(measure, *sides(name))
    assert set(check.failures) == ({"identity"} if name in BELOW_BEST else set()), check


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_the_best_value_is_1_or_0(name):
    measure = EVERYTHING[name]
    x, y = sides(name)
    best = 1.0 if measure.kind == "similarity" else 0.0
    worse, own = measure(x, y), measure(x, x)
    assert (worse < best) if measure.kind == "similarity" else worse > best
    assert own == pytest.approx(best, abs=1e-7) or (name in BELOW_BEST and worse < own < best)


@pytest.mark.parametrize("name", ["cka", "procrustes", "jsd"])  # these are easily mistaken for metrics
def test_the_triangle_inequality_fails_where_it_is_not_declared(name):
    measure = ALL[name]
    rng = np.random.default_rng(5)
    broken = 0
    for _ in range(60):
        x = 2 * rng.normal(size=(40, 4))
        near = x + 0.3 * rng.normal(size=x.shape)
        far = near + 0.3 * rng.normal(size=x.shape)
        d = [measure.dissimilarity(measure(*pair)) for pair in ((x, far), (x, near), (near, far))]
        broken += d[0] > d[1] + d[2] + 1e-9
    assert broken > 0 and not measure.is_metric


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_a_table_of_different_sides_has_the_digits_of_its_pairs(name):
    measure = EVERYTHING[name]
    x, y = sides(name)
    z = x + 0.1 * np.random.default_rng(3).normal(size=x.shape)
    direct = np.array([[measure(u, v) for v in (x, y, z)] for u in (x, y, z)])
    apart = ~np.eye(3, dtype=bool)
    assert np.allclose(measure.table([x, y, z]).values[apart], direct[apart], rtol=0, atol=1e-12)
    assert np.allclose(measure.table([x, z], [y]).values, direct[[0, 2]][:, [1]], rtol=0, atol=1e-12)


FIXED = {
    "cka_minibatch",
    "cka_batches",
    "linear_predictivity",
    "predictivity_of_x",
    "predictivity_ridge",
    "accuracy_gap",
}  # the order of samples is in what they prepare


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_prepared_values_are_reordered_as_samples_are(name):
    measure = EVERYTHING[name]
    x, y = sides(name)
    order = np.random.default_rng(7).permutation(len(x))
    a, b = measure.prepare(x), measure.prepare(y)
    if name in FIXED:
        with pytest.raises(NotImplementedError):
            measure.permute(b, order)
        return
    kept = measure.pair(a, b)
    assert measure.pair(a, measure.permute(b, order)) == pytest.approx(measure(x, y[order]), abs=1e-10)
    assert measure.pair(measure.permute(a, order), measure.permute(b, order)) == pytest.approx(kept, abs=1e-10)
    assert measure.pair(a, b) == kept, "what was prepared is left alone"


@pytest.mark.parametrize("name", list(EVERYTHING))
def test_where_a_value_is_an_inner_product_of_matrices_the_matrices_are_there(name):
    measure = EVERYTHING[name]
    x, y = sides(name)
    a, b = measure.prepare(x), measure.prepare(y)
    if (
        not hasattr(measure, "_source")
        or name in FIXED
        or "_row_" in name
        or name.endswith(("rho_a", "tau_a"))
        or name == "rsa_cosine"
    ):
        with pytest.raises(NotImplementedError):
            measure.gram_matrix(a)
        return
    left, right = measure.gram_matrix(a), measure.gram_matrix(b)
    assert left.shape == (len(x), len(x)) and np.allclose(left, left.T, rtol=0, atol=1e-15)
    assert np.sum(left * right) == pytest.approx(measure.pair(a, b), abs=1e-12) and np.sum(
        left * left
    ) == pytest.approx(1, abs=1e-12)
    torches = measure.gram_matrix(measure.prepare(torch.tensor(x)))
    assert isinstance(torches, np.ndarray) and np.allclose(torches, left, atol=1e-12)
    order = np.random.default_rng(7).permutation(len(x))
    assert np.allclose(measure.gram_matrix(measure.permute(a, order)), left[np.ix_(order, order)], atol=1e-12)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *FUNCTIONAL])
@pytest.mark.parametrize(
    "form", ["float32", "float16", "bfloat16", "torch64", "torch32", "integers", "strided", "images", "readonly"]
)
def test_every_kind_of_input(name, form):
    measure = ALL[name]
    x, y = sides(name)
    x, y = (np.round(v * 8) / 8 for v in (x, y))  # so that every precision can hold it
    value = measure(x, y)
    make = {
        "float32": lambda v: v.astype(np.float32),
        "float16": lambda v: v.astype(np.float16),
        "bfloat16": lambda v: torch.tensor(v).bfloat16(),
        "torch64": torch.tensor,
        "torch32": lambda v: torch.tensor(v).float().requires_grad_(),
        "integers": lambda v: (v * 8).astype(np.int32),
        "strided": lambda v: np.asfortranarray(np.repeat(v, 2, axis=0))[::2],
        "images": lambda v: v.reshape(len(v), -1, 1, 1),
        "readonly": lambda v: np.broadcast_to(v, v.shape),
    }[form]
    if form == "integers" and "scaling" not in measure.invariant_to:
        value = measure(8 * x, 8 * y)
    if form == "bfloat16":
        x, y = (torch.tensor(v).bfloat16().double().numpy() for v in (x, y))
        value = measure(x, y)
    kept = [np.array(v, copy=True) for v in (x, y)]
    assert measure(make(x), make(y)) == pytest.approx(value, abs=2e-3 if name == "angular_shape" else 1e-5)
    assert all(np.array_equal(u, v) for u, v in zip(kept, (x, y), strict=True)), "inputs are left alone"


@pytest.mark.parametrize("name", list(ALL))
def test_libraries_and_precisions_may_meet(name):
    x, y = (v.astype(np.float32) for v in sides(name))
    value = ALL[name](x, y)
    for u, v in (
        (x, torch.tensor(y)),
        (torch.tensor(x), y.astype(float)),
        (torch.tensor(x), torch.tensor(y).double()),
        (torch.tensor(x).double(), torch.tensor(y)),
    ):
        assert ALL[name](u, v) == pytest.approx(value, abs=1e-5)
    rough = torch.tensor(y).bfloat16()
    assert ALL[name].table([x, rough]).values[0, 1] == pytest.approx(ALL[name](x, rough.double().numpy()), abs=1e-5)


@pytest.mark.parametrize("name", [n for n, m in ACTIVATIONS.items() if "scaling" in m.invariant_to])
@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_tiny_and_huge_activations_in_float32(name, scale):
    x, y = (v.astype(np.float32) for v in pair_of(shift=0))
    assert ALL[name](x * np.float32(scale), y) == pytest.approx(ALL[name](x, y), abs=1e-5)


@pytest.mark.parametrize("name", [n for n, m in ACTIVATIONS.items() if not isinstance(m, (CCA, EigenspaceOverlap))])
def test_fewer_samples_than_features(name):
    x, y = pair_of(n=20, p=50, q=70)
    value = ALL[name](x, y)
    low, high = ALL[name].range
    assert low - 0.2 <= value <= high
    if "orthogonal" in ALL[name].invariant_to:
        assert ALL[name](transformed(x, "orthogonal"), y) == pytest.approx(value, abs=1e-9)


# -- bad input


@pytest.mark.parametrize("name", list(ALL))
def test_bad_input_is_one_clear_exception(name):
    measure = ALL[name]
    x, y = sides(name)
    nan, infinite = x.copy(), x.copy()
    nan[7, 2], infinite[0, 0] = np.nan, -np.inf
    with pytest.raises(
        UndefinedError, match="'x': it holds 1 values that are NaN or infinite, the first at sample 7, feature 2"
    ):
        measure(nan, y)
    with pytest.raises(UndefinedError, match="'y': it holds 1 values .* sample 0, feature 0"):
        measure(y, infinite)
    with pytest.raises(ValueError, match=f"'x' has {len(x)} rows, 'y' has {len(y) - 1}"):
        measure(x, y[:-1])
    with pytest.raises(ValueError, match=r"\(samples, features\); it has shape"):
        measure(x[:, 0], y)
    with pytest.raises(UndefinedError, match="no features"):
        measure(x[:, :0], y)
    with pytest.raises(ValueError, match="real numbers"):
        measure(x + 1j, y)
    with pytest.raises(ValueError, match="real numbers"):
        measure(x.astype(str), y)
    with pytest.raises(UndefinedError, match="samples are needed"):
        measure(x[: measure.min_samples - 1], y[: measure.min_samples - 1])


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_a_constant_representation_has_no_value(name):
    x, y = pair_of()
    with pytest.raises(UndefinedError, match="'x': it is constant"):
        ALL[name](np.full_like(x, 3.3), y)


def test_names():
    with pytest.raises(ValueError, match="unknown measure 'procrutes'. Did you mean 'procrustes'"):
        rs.measures.get("procrutes")
    for name, measure in ALL.items():
        assert (
            rs.measures.get(name) is measure
            and rs.measures.short_name(measure) == name
            and rs.measures.get(measure) is measure
        )
    assert str(CKA(kernel="rbf", debiased=True)) == "CKA(kernel='rbf', debiased=True)" and str(CKA()) == "cka"
    assert rs.measures.short_name(CKA(bandwidth=2.0)) == "CKA(bandwidth=2.0)"


@pytest.mark.parametrize(
    "make",
    [
        lambda: CKA(kernel="poly"),
        lambda: CKA(median="mean"),
        lambda: CKA(bandwidth=0),
        lambda: CKA(batch_size=3),
        lambda: CCA(summary="max"),
        lambda: CCA(variance=99),
        lambda: CCA(weights="z"),
        lambda: CCA(normalise="none"),
        lambda: Procrustes(form="square"),
        lambda: MultiscaleCKA(steps=0),
        lambda: MultiscaleCKA(steps=math.inf),
        lambda: MultiscaleCKA(steps=math.nan),
        lambda: MultiscaleCKA(steps=True),
        lambda: MultiscaleCKA(kernel="cosine"),
        lambda: MultiscaleCKA(bandwidth=0),
        lambda: MultiscaleCKA(median="mean"),
        lambda: WhitenedShape(alpha=1.5),
        lambda: WhitenedShape(alpha=True),
        lambda: SizeAndShape(form="angle"),
        lambda: CorrelationMatch(match="best"),
        lambda: PartialSoftMatching(price=0),
        lambda: PermutationProcrustes(form="square"),
        lambda: RSA(first="pearson"),
        lambda: RSA(second="kendall"),
        lambda: RSA(second="tau_a", diagonal=True),
        lambda: RSA(second="whitened_cosine", diagonal=True),
        lambda: RSA(first="dot", second="whitened_pearson"),
        lambda: JSD(inputs="probs"),
        lambda: KL(inputs="probs"),
        lambda: MutualKNN(k=0),
        lambda: JaccardKNN(k=2.5),
        lambda: MutualKNN(metric="dot"),
        lambda: CKNNA(k=-1),
        lambda: GULP(ridge=0),
        lambda: RTDLite(form="barcode"),
        lambda: NTS(form="distances"),
        lambda: RankSimilarity(k=0),
        lambda: SecondOrderCosine(values="ranks"),
        lambda: SecondOrderCosine(values="similarities", metric="euclidean"),
        lambda: RSMNormDifference(first="dot"),
        lambda: RSMNormDifference(norm="nuclear"),
        lambda: UniformityDifference(t=0),
        lambda: LinearPredictivity(predict="z"),
        lambda: LinearPredictivity(folds=1),
        lambda: LinearPredictivity(folds=2.0),
        lambda: LinearPredictivity(ridge=-1),
        lambda: AccuracyGap([]),
        lambda: AccuracyGap([[0, 1]]),
        lambda: AccuracyGap([0.0, 1.0]),
        lambda: AccuracyGap([0, -1]),
        lambda: AccuracyGap(["a"]),
    ],
)
def test_illegal_options_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_probabilities_are_checked():
    x, y = outputs()
    for kind in (JSD, KL):
        with pytest.raises(ValueError, match=rf"rows sum to .*For logits use {kind.__name__}\(inputs='logits'\)"):
            kind(inputs="probabilities")(x, y)
    for measure in (JSD(), KL(), Disagreement(), Kappa()):
        with pytest.raises(UndefinedError, match="same classes; they have 5 and 4"):
            measure(x, y[:, :4])


# -- costs


def size_of(prepared):
    if isinstance(prepared, (tuple, list)):
        return sum(map(size_of, prepared))
    return getattr(prepared, "nbytes", 0)


@pytest.mark.parametrize("shape", [(600, 40), (150, 400)])
@pytest.mark.parametrize(
    "name",
    [
        name
        for name, measure in EVERYTHING.items()
        if not isinstance(measure, (CCA, CKA, RSA, DistanceCorrelation, MultiscaleCKA)) and name != "accuracy_gap"
    ],
)
def test_what_is_prepared_takes_the_memory_that_was_said(name, shape):
    measure, x = EVERYTHING[name], np.random.default_rng(0).normal(size=shape)
    said = measure.prepared_bytes(*shape, 8)
    assert 0.3 * said < size_of(measure.prepare(x)) < 1.2 * said
    assert measure.cost(shape[0], [shape[1]] * 3).flops > 0


# -- measures of someone else's


@dataclass(frozen=True, kw_only=True)
class SharedSign(Measure):
    """The fraction of signs that agree; of as many features as both have."""

    scale: float = 1.0

    kind: ClassVar = "similarity"
    invariant_to: ClassVar = frozenset({"scaling"})

    def prepare(self, x):
        return np.sign(x - self.scale)

    def pair(self, a, b):
        return np.mean(a == b)


def mean_gap(x, y):
    """A plain function, not symmetric, that knows nothing of this package."""
    if not len(x):
        raise ValueError("no samples")
    return np.abs(x.mean() - 2 * y.mean())


def row_sizes(x):
    row_sizes.calls += 1
    return np.linalg.norm(x, axis=1)


row_sizes.calls = 0


def size_correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


JOINED = {
    "class": SharedSign(scale=0.5),
    "function": from_function(mean_gap, kind="dissimilarity", symmetric=False, range=(0, math.inf)),
    "prepared": from_function(
        size_correlation,
        kind="similarity",
        symmetric=True,
        name="sizes",
        invariant_to={"orthogonal", "permutation", "scaling"},
        range=(-1, 1),
        prepare=row_sizes,
    ),
}


@pytest.mark.parametrize("name", list(JOINED))
def test_a_measure_of_ones_own_joins_compare_pictures_and_explorers(name):
    measure, rng = JOINED[name], np.random.default_rng(0)
    xs = {f"{model}/{layer}": rng.normal(size=(30, 4)) + 0.1 * layer for model in "ab" for layer in (1, 2)}
    c = rs.compare(measure, xs)
    by_hand = {
        "class": lambda x, y: np.mean((x > 0.5) == (y > 0.5)),
        "function": mean_gap,
        "prepared": lambda x, y: np.corrcoef(np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1))[0, 1],
    }[name]
    assert np.allclose(c.values, [[by_hand(x, y) for y in xs.values()] for x in xs.values()], atol=1e-12)
    ax = rs.plots.heatmap(c)
    said = {"class": "SharedSign(scale=0.5)", "function": "mean_gap", "prepared": "sizes"}[name]
    assert ax.get_title().startswith(said) and len(ax.texts) == 16 and c.name == str(measure) == said
    explorer = rs.explorers.comparison(xs, measure=measure).wait()
    assert explorer.controls["measure"].value == said and sorted(explorer.controls["measure"].options) == sorted(
        [*ALL, said]
    )
    assert np.allclose(explorer.result.values, c.values.iloc[:2, 2:]) and explorer.errors == []
    explorer.choose("1", "2")
    explorer.wait()
    assert f"{c.values.iloc[0, 3]:.4f}" in explorer._detail.value
    names = {
        "SharedSign": SharedSign,
        "mean_gap": mean_gap,
        "size_correlation": size_correlation,
        "row_sizes": row_sizes,
        "activations": xs,
    }
    exec(explorer.code(), names)
    assert np.allclose(
        rs.compare(
            eval(re.search(r"rs.compare\((.*), a, b", explorer.code())[1], names), names["a"], names["b"]
        ).values,
        explorer.result.values,
    )


@pytest.mark.parametrize("name", list(JOINED))
@pytest.mark.parametrize("executor", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_measure_of_ones_own_goes_to_threads_and_processes(name, executor):
    rng = np.random.default_rng(0)
    xs = {label: rng.normal(size=(30, 4)) for label in "abc"}
    with executor(2) as spread:
        assert rs.compare(JOINED[name], xs, executor=spread).values.equals(rs.compare(JOINED[name], xs).values)


def test_a_function_is_held_to_the_same_rules():
    x, y = pair_of()
    with pytest.raises(UndefinedError, match="mean_gap of 'x': it holds 1 values that are NaN"):
        JOINED["function"](np.vstack([x[:-1], [[np.nan, *x[-1, 1:]]]]), y)
    with pytest.raises(UndefinedError, match="nothing of 'x' and 'y': the measure returned nan"):
        from_function(lambda x, y: math.nan, name="nothing", kind="similarity", symmetric=True)(x, y)
    row_sizes.calls = 0
    rs.compare(JOINED["prepared"], {"x": x, "y": y, "z": x + y.mean()})
    assert row_sizes.calls == 3, "prepared once a representation"
    same = from_function(mean_gap, kind="dissimilarity", symmetric=True, compares="outputs", is_metric=True)
    assert same(np.ones((2, 3)), np.zeros((2, 3))) == 1 and same.is_metric and same.dissimilarity(0.3) == 0.3, (
        "outputs may be constant"
    )
    assert (
        repr(same)
        == "from_function(mean_gap, kind='dissimilarity', symmetric=True, is_metric=True, compares='outputs')"
    )
    assert (
        same
        == from_function(mean_gap, kind="dissimilarity", symmetric=True, compares="outputs", is_metric=True)
        != JOINED["function"]
    )


@pytest.mark.parametrize(
    "options, words",
    [
        (
            {"kind": "distance"},
            "kind must be 'similarity' or 'dissimilarity', the first if larger values are more alike; got 'distance'",
        ),
        ({"compares": "layers"}, "compares must be 'activations' or 'outputs'; got 'layers'"),
        (
            {"invariant_to": ["rotation"]},
            "invariant_to must be a list of some of 'linear', 'orthogonal', .*; got 'rotation'",
        ),
        ({"invariant_to": "shift"}, "got 'shift'"),
        ({"range": (1, 0)}, "range must be .lowest, highest."),
        ({"name": "cka"}, "'cka' is the short name of a measure of this package: from_function.f, name='my_cka'"),
    ],
)
def test_what_from_function_is_told_wrong_teaches(options, words):
    with pytest.raises(ValueError, match=words):
        from_function(mean_gap, **{"kind": "similarity", "symmetric": True, **options})


def test_from_function_needs_a_function_and_a_name():
    with pytest.raises(ValueError, match="this function has none: from_function.f, name='...'"):
        from_function(lambda x, y: 0.0, kind="similarity", symmetric=True)
    for wrong in ({"f": 3}, {"f": mean_gap, "prepare": 3}):
        with pytest.raises(TypeError, match="takes a function f.x, y.*int"):
            from_function(**wrong, kind="similarity", symmetric=True)
