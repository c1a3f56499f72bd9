import numpy as np
import pandas as pd
import pytest
from scipy.spatial import procrustes
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

import repsim_nb as rs
from repsim_nb.embedding import mds


def frame(d, names="abcdefghijklmnopqrstuvwxyz"):
    labels = pd.Index([names[i] for i in range(len(d))], name="label")
    return pd.DataFrame(np.asarray(d, float), index=labels, columns=labels)


def distances(embedding):
    return cdist(embedding.points, embedding.points)


@pytest.mark.parametrize("kind", ["smacof", "classical"])
def test_euclidean_distances_come_back(kind, rng):
    points = rng.normal(size=(15, 2))
    e = mds(frame(cdist(points, points)), kind=kind)
    assert np.allclose(distances(e), cdist(points, points), atol=1e-4) and e.stress < 1e-4 and e.negative_share < 1e-8
    assert procrustes(points, e.points.to_numpy())[2] < 1e-8


@pytest.mark.parametrize("kind", ["smacof", "classical"])
def test_a_3_4_5_triangle_and_points_on_a_line(kind):
    triangle = mds(frame([[0, 3, 4], [3, 0, 5], [4, 5, 0]]), kind=kind)
    assert np.allclose(distances(triangle), [[0, 3, 4], [3, 0, 5], [4, 5, 0]], atol=1e-5) and list(triangle.points.columns) == ["x", "y"]
    line = np.array([[0.0], [1], [4], [9]])
    e = mds(frame(cdist(line, line)), n_components=1, kind=kind)
    assert np.allclose(distances(e), cdist(line, line), atol=1e-4)


def test_a_simplex_does_not_fit_a_plane():
    e = mds(frame(1 - np.eye(6)))
    assert 0.1 < e.stress < 0.5 and e.negative_share < 1e-12 and mds(frame(1 - np.eye(6)), n_components=5).stress < 1e-6


def test_classical_mds_of_euclidean_data_is_pca(rng):
    x = rng.normal(size=(20, 5))
    ours, pca = mds(frame(cdist(x, x)), kind="classical").points.to_numpy(), PCA(2).fit_transform(x)
    assert np.allclose(np.abs(ours), np.abs(pca), atol=1e-9)


def test_what_is_not_euclidean_is_said():
    d = frame([[0, 1, 1, 5], [1, 0, 1, 1], [1, 1, 0, 1], [5, 1, 1, 0]])  # 5 > 1 + 1
    assert mds(d, kind="classical").negative_share > 0.1 and mds(d).stress > 0.1


def test_smacof_is_no_worse_than_its_start_and_the_same_for_a_seed(recorded):
    c = rs.compare("cka", recorded)
    a, b = mds(c, seed=3), mds(c, seed=3)
    assert a.points.equals(b.points) and a.stress <= mds(c, kind="classical").stress + 1e-12
    assert a.points.index.equals(c.values.index) and a.name == "cka" and a.n == 200
    assert abs(mds(c, seed=4).stress - a.stress) < 0.02


def test_similarities_become_dissimilarities_and_asymmetry_is_averaged(recorded):
    outputs = recorded.where(layer=["fc", "fc1", "output"])
    near = mds(rs.compare("cka", outputs))
    by_frame = mds(rs.compare("cka", outputs).dissimilarity())
    assert np.allclose(near.points, by_frame.points)
    assert mds(rs.compare("pwcca", outputs.where(layer="output"))).points.shape == (3, 2)


def test_the_picture_does_not_depend_on_the_order_of_eigenvectors_signs(rng):
    points = rng.normal(size=(8, 2))
    e = mds(frame(cdist(points, points)), kind="classical").points.to_numpy()
    assert (e[np.abs(e).argmax(0), [0, 1]] > 0).all() and e[:, 0].var() >= e[:, 1].var() and np.allclose(e.mean(0), 0)


def test_errors_teach(recorded):
    with pytest.raises(ValueError, match="at least 3 items; there are 2"):
        mds(frame([[0, 1], [1, 0]]))
    with pytest.raises(ValueError, match="square table"):
        mds(rs.compare("cka", recorded.where(model="mnist-cnn-0"), recorded.where(model="mnist-mlp-0")))
    with pytest.raises(ValueError, match="2 cells are undefined, the first 'a' and 'c'"):
        mds(frame([[0, 1, np.nan], [1, 0, 1], [np.nan, 1, 0]]))
    with pytest.raises(ValueError, match="cannot be negative; that of 'a' and 'b' is -1"):
        mds(frame([[0, -1, 1], [-1, 0, 1], [1, 1, 0]]))
    with pytest.raises(ValueError, match="all items are alike"):
        mds(frame(np.zeros((3, 3))))
    with pytest.raises(ValueError, match="unknown kind of MDS 'smakof'. Did you mean 'smacof'"):
        mds(frame(1 - np.eye(4)), kind="smakof")
    with pytest.raises(ValueError, match="n_components is from 1 to 3"):
        mds(frame(1 - np.eye(4)), n_components=4)
