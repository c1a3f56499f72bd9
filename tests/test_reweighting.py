"""An RDM is predicted from weighted features, and tested on samples that were not fitted."""

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.spatial.distance import pdist, squareform

import repsim_nb as rs
from repsim_nb.measures import RSA, UndefinedError
from repsim_nb.results.inference.reweighting import _fit, non_negative

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 6))
WEIGHTS = np.array([3.0, 2.0, 1.0, 0, 0, 0])
RDM = rs.RDM(pdist(X * np.sqrt(WEIGHTS)) ** 2, [f"s{i}" for i in range(40)], squared=True)


@pytest.fixture(scope="module")
def found():
    return rs.inference.reweighted_rsa(X, RDM)


def test_weights_that_made_an_rdm_are_found(found):
    assert found.value == pytest.approx(1, abs=1e-3)
    assert found.weights / found.weights[0] == pytest.approx(WEIGHTS * X.var(axis=0) / (3 * X.var(axis=0)[0]), abs=0.01)
    assert found.unweighted < 0.9
    assert found.each["value"].mean() == found.value


def test_the_fit_is_that_of_scipy():
    """Ridge regression with weights >= 0 of all pairs, written out."""
    d = squareform(RDM.vector() + rng.normal(size=780))
    (weights,), scale = _fit(X, d, [0.1])
    first, second = np.triu_indices(40, 1)
    predictors = ((X[first] - X[second]) / scale) ** 2
    predictors, given = predictors - predictors.mean(axis=0), d[first, second] - d[first, second].mean()
    ridge = np.sqrt(0.1 * (predictors**2).sum() / 6) * np.eye(6)
    expected = nnls(np.vstack([predictors, ridge]), np.concatenate([given, np.zeros(6)]))[0]
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert (expected == 0).any() or (weights > 0).all()


def test_a_minimum_at_the_border_is_found():
    a, b = rng.normal(size=(30, 12)), rng.normal(size=30)
    expected = nnls(a, b)[0]
    assert (expected == 0).any()
    products = a.T @ a
    step = 1 / np.linalg.eigvalsh(products)[-1]
    found = non_negative(products, a.T @ b, np.zeros(12), ridge=0, step=step)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_unrelated_features_predict_nothing():
    """Ordinary fits would: 30 weights for 780 pairs."""
    noise = np.random.default_rng(1).normal(size=(40, 30))
    assert abs(rs.inference.reweighted_rsa(noise, RDM).value) < 0.25


def test_without_weights_it_is_rsa_within_folds(found):
    order = np.array_split(np.random.default_rng(0).permutation(40), 5)[0]
    expected = RSA(first="euclidean")(X[order], RDM[order])
    assert found.each["unweighted"].iloc[0] == pytest.approx(expected)


def test_a_constant_feature_has_no_weight():
    with_constant = np.column_stack([X, np.full(40, 7.0)])
    again = rs.inference.reweighted_rsa(with_constant, RDM, second="pearson")
    assert again.weights[-1] == 0
    assert again.value == pytest.approx(1, abs=1e-3)


def test_what_is_refused():
    with pytest.raises(TypeError, match="predicts an RDM"):
        rs.inference.reweighted_rsa(X, X)
    with pytest.raises(ValueError, match="at most folds=10"):
        rs.inference.reweighted_rsa(X, RDM, folds=11)
    for n, folds, words in ((11, 2, "at least 12 samples"), (15, 2, "Use folds=3")):
        with pytest.raises(ValueError, match=words):
            rs.inference.reweighted_rsa(X[:n], RDM[:n], folds=folds)
    with pytest.raises(ValueError, match="x has 30 and the RDM 40"):
        rs.inference.reweighted_rsa(X[:30], RDM)
    with pytest.raises(ValueError, match=r"rs\.align"):
        rs.inference.reweighted_rsa(rs.from_arrays({"a/b": X}, ids=RDM.ids[::-1])["a/b"], RDM)
    some = rs.RDM(RDM.values, missing=RDM.values > 30)
    with pytest.raises(UndefinedError, match="without a value for"):
        rs.inference.reweighted_rsa(X, some)
    with pytest.raises(UndefinedError, match="it is constant"):
        rs.inference.reweighted_rsa(np.ones((40, 2)), RDM)
    with pytest.raises(UndefinedError, match="equally alike"):
        rs.inference.reweighted_rsa(X, rs.RDM(np.ones(780)))


@pytest.mark.parametrize(("n", "folds"), [(12, 3), (16, 2)])
def test_the_fewest_samples_are_enough(n, folds):
    assert len(rs.inference.reweighted_rsa(X[:n], RDM[:n], folds=folds).each) == folds


def test_features_that_predict_nothing_are_named_as_the_reason():
    """Samples that are alike in the features are far apart in the RDM."""
    opposite = rs.RDM(10 - RDM.vector() / RDM.values.max())
    with pytest.raises(UndefinedError, match="no feature has a weight above 0"):
        rs.inference.reweighted_rsa(X[:, :3], opposite)


def test_rows_in_groups_are_refused_by_what_takes_them_as_independent():
    """A sentence with tokens on both sides of a division is not held out, and intervals would be too short."""
    groups = np.repeat(np.arange(20), 2)
    x = rs.from_arrays({"a/b": X}, groups=groups)["a/b"]
    people = rs.from_arrays({f"p{k}/b": X + k for k in range(2)}, groups=groups)
    for call in (
        lambda: rs.inference.reweighted_rsa(x, RDM),
        lambda: rs.inference.procrustes_interval(x, x),
        lambda: rs.inference.compare_models("rsa", {"x": x}, people, n_bootstrap=20),
    ):
        with pytest.raises(ValueError, match=r"the 40 rows are in 20 groups.*average_conditions"):
            call()
    assert rs.inference.compare_models("rsa", {"x": x}, people, resample="repeats", n_bootstrap=20).n == 40
    alone = rs.from_arrays({"a/b": X}, groups=np.arange(40))["a/b"]
    assert rs.inference.reweighted_rsa(alone, RDM).n == 40


def test_copies_of_a_sample_are_refused(rng):
    x, rows = rng.normal(size=(15, 6)), np.repeat(np.arange(15), 2)
    rdm = rs.RDM(rs.measures.first_order(rng.normal(size=(15, 4)), "euclidean"))
    with pytest.raises(ValueError, match="15 of 30 samples are copies of others on both sides, the first in row 1"):
        rs.inference.reweighted_rsa(x[rows], rdm[rows])
    rs.inference.reweighted_rsa(np.vstack([x[:1], x[:1], x[2:]]), rdm, folds=3)  # two samples that look the same to x
