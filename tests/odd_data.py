"""Data that are tied, duplicated, flat, faint or odd, in every container; and what a call may give for them: the value
of the definition, or a sentence.
"""

import itertools
import math
import warnings

import independent
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import Phase, settings
from hypothesis import strategies as st

from repsim_nb.measures import ALL, CKA, CKNNA, RSA, DistanceCorrelation, JaccardKNN, MutualKNN, Procrustes
from repsim_nb.support.errors import UndefinedError


def quick(examples):
    phases = Phase.explicit, Phase.generate  # a case is a few small numbers: to look for a smaller one takes minutes
    return settings(
        deadline=None, derandomize=True, max_examples=examples, database=None, phases=phases, report_multiple_bugs=False
    )


class Refused(str):
    """The sentence of a refusal."""


def outcome(call):
    """What a call gives, or its sentence. Anything else that is raised is a fault, a warning of arithmetic too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", message="output_rank", category=UserWarning)
        try:
            return call()
        except (UndefinedError, ValueError, TypeError) as error:
            assert type(error).__module__.startswith("repsim_nb") or type(error) in (ValueError, TypeError), (
                f"no error of ours: {error!r}"
            )
            assert len(str(error)) >= 30 and " " in str(error), f"no sentence: {error!r}"
            return Refused(error)


def expected(call):
    """What a definition gives; None if it is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except independent.Undefined:
            return None


# -- data

KINDS = (
    "normal",
    "codes",
    "counts",
    "levels",
    "duplicated",
    "one feature",
    "wide",
    "offset",
    "lognormal",
    "grouped",
    "constant",
    "nearly constant",
)
FORMS = ("float64", "float32", "float16", "int8", "int64", "bool", "frame", "sparse", "torch", "torch32", "mixed frame")
WHOLE = {"codes", "counts", "levels", "nearly constant"}


def numbers(kind, n, p, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    if kind == "codes":
        return np.eye(p)[rng.integers(0, p, n)]
    if kind == "counts":
        return rng.poisson(0.5, size=(n, p)).astype(float)
    if kind == "levels":
        return rng.integers(0, 3, size=(n, p)).astype(float)
    if kind == "duplicated":
        return x[rng.integers(0, max(2, n // 2), n)]
    if kind == "one feature":
        return x[:, :1]
    if kind == "wide":
        return rng.normal(size=(n, n + 3))
    if kind == "offset":
        return x + 1e4
    if kind == "lognormal":
        return x * np.exp(rng.normal(size=(n, 1)))
    if kind == "grouped":
        return x[np.arange(n) // 3] + 0.05 * rng.normal(size=(n, p))
    if kind == "constant":
        return np.full((n, p), 2.0)
    if kind == "nearly constant":
        x = np.ones((n, p))
        x[0] += np.arange(1, p + 1)
        return x
    return x


def formed(x, form):
    """-> (what a user may have, the numbers that it holds, how finely they are known)"""
    if form in ("int8", "int64", "bool"):
        x = np.round(np.clip(x, -100, 100)) if form != "bool" else x > 0.5
        return x.astype(form), x.astype(float), 4e-15
    if form in ("float32", "float16", "torch32"):
        given = x.astype("float16" if form == "float16" else "float32")
        return (torch.tensor(given) if form == "torch32" else given), given.astype(float), 1e-6
    if form == "frame":
        return pd.DataFrame(x, columns=[f"u{i}" for i in range(x.shape[1])]), x, 4e-15
    if form == "mixed frame":
        x = x.copy()
        x[:, 0] = np.round(x[:, 0])
        frame = pd.DataFrame(x)
        frame[0] = frame[0].astype("int32")
        return frame, x, 4e-15
    if form == "sparse":
        return scipy.sparse.csr_matrix(x), x, 4e-15
    return (torch.tensor(x) if form == "torch" else x), x, 4e-15


@st.composite
def sides(draw, low=6, high=18, kinds=KINDS, forms=FORMS):
    n = draw(st.integers(low, high))
    kind, other = draw(st.sampled_from(kinds)), draw(st.sampled_from(kinds))
    p, q = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    seed = draw(st.integers(0, 999))
    form, its = draw(st.sampled_from(forms)), draw(st.sampled_from(forms))
    y = numbers(other, n, q, seed + 1000)
    if kind != "offset" and draw(st.booleans()) and y.shape[1] == p:
        y = y + numbers(kind, n, p, seed)[:, : y.shape[1]]
    return formed(numbers(kind, n, p, seed), form), formed(y, its), (kind, form), (other, its), n


def is_coarse(side):
    """Numbers next to a mean that their precision hardly distinguishes."""
    kind, form = side
    return kind == "offset" and form in ("float32", "float16", "torch32")


def agree(found, right, precision, what):
    if right is None:
        assert isinstance(found, Refused), f"{what}: {found}, which is undefined"
        return
    assert not isinstance(found, Refused), f"{what}: refused ({found}), and it is {right}"
    assert math.isfinite(found), f"{what}: {found}"
    assert found == pytest.approx(right, abs=3e-7 if precision < 1e-8 else 3e-3), what


# -- measures


def options():
    """{name: (measure, its definition)}"""
    found = {name: (measure, independent.NAMED[name]) for name, measure in ALL.items() if name in independent.NAMED}
    for first, second, diagonal in itertools.product(
        ("correlation", "cosine", "dot", "euclidean"),
        ("spearman", "pearson", "cosine", "row_cosine", "row_pearson"),
        (False, True),
    ):
        found[f"rsa {first} {second} {diagonal}"] = (
            RSA(first=first, second=second, diagonal=diagonal),
            lambda x, y, e, f=first, s=second, d=diagonal: independent.rsa(x, y, f, s, d, e),
        )
    for metric, k in itertools.product(("cosine", "euclidean"), (1, 3)):
        found[f"mutual {metric} {k}"] = (
            MutualKNN(k=k, metric=metric),
            lambda x, y, e, k=k, m=metric: independent.knn(x, y, k, m, e),
        )
        found[f"jaccard {metric} {k}"] = (
            JaccardKNN(k=k, metric=metric),
            lambda x, y, e, k=k, m=metric: independent.knn(x, y, k, m, e, jaccard=True),
        )
    found |= {f"cknna {k}": (CKNNA(k=k), lambda x, y, e, k=k: independent.cknna(x, y, k, e)) for k in (2, 4)}
    found["cka batches of 5"] = CKA(batch_size=5), lambda x, y, e: independent.cka_minibatch(x, y, 5)
    for unbiased, diagonal in itertools.product((False, True), (False, True)):
        measure = CKA(
            kernel="rbf", bandwidth=0.7, debiased=unbiased, median="with_diagonal" if diagonal else "off_diagonal"
        )
        found[str(measure)] = measure, lambda x, y, e, u=unbiased, d=diagonal: independent.cka_rbf(x, y, 0.7, d, u)
    found["dcor"] = (
        DistanceCorrelation(squared=False),
        lambda x, y, e: independent.distance_correlation(x, y, squared=False),
    )
    found["dcor debiased"] = (
        DistanceCorrelation(debiased=True),
        lambda x, y, e: independent.distance_correlation(x, y, unbiased=True),
    )
    found["angle"] = Procrustes(form="angle"), independent.NAMED["angular_shape"]
    return found


MEASURES = options()


def value_and_right(name, case):
    (x, a, one), (y, b, other), _, _, n = case
    measure, definition = MEASURES[name]
    found = outcome(lambda: measure(x, y))
    if n < measure.min_samples or (measure.compares == "outputs" and a.shape[1] != b.shape[1]):
        return found, None
    return found, expected(lambda: definition(a, b, max(one, other)))
