from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import procrustes
from scipy.spatial.distance import cdist, pdist
from sklearn.decomposition import PCA

import repsim_nb as rs
from repsim_nb.results.embedding import mds, tsne


def frame(d, names="abcdefghijklmnopqrstuvwxyz"):
    labels = pd.Index([str(names[i]) for i in range(len(d))], name="label")
    return pd.DataFrame(np.asarray(d, float), index=labels, columns=labels)


def distances(embedding):
    return cdist(embedding.points, embedding.points)


@pytest.mark.parametrize("kind", ["smacof", "classical"])
def test_euclidean_distances_come_back(kind, rng):
    points = rng.normal(size=(15, 2))
    e = mds(frame(cdist(points, points)), kind=kind)
    assert (
        np.allclose(distances(e), cdist(points, points), atol=1e-4) and e.stress < 1e-4 and e.negative_fraction < 1e-8
    )
    assert procrustes(points, e.points.to_numpy())[2] < 1e-8


@pytest.mark.parametrize("kind", ["smacof", "classical"])
def test_a_3_4_5_triangle_and_points_on_a_line(kind):
    triangle = mds(frame([[0, 3, 4], [3, 0, 5], [4, 5, 0]]), kind=kind)
    assert np.allclose(distances(triangle), [[0, 3, 4], [3, 0, 5], [4, 5, 0]], atol=1e-5) and list(
        triangle.points.columns
    ) == ["x", "y"]
    line = np.array([[0.0], [1], [4], [9]])
    e = mds(frame(cdist(line, line)), n_components=1, kind=kind)
    assert np.allclose(distances(e), cdist(line, line), atol=1e-4)


def test_a_simplex_does_not_fit_a_plane():
    e = mds(frame(1 - np.eye(6)))
    assert (
        0.1 < e.stress < 0.5 and e.negative_fraction < 1e-12 and mds(frame(1 - np.eye(6)), n_components=5).stress < 1e-6
    )


def test_classical_mds_of_euclidean_data_is_pca(rng):
    x = rng.normal(size=(20, 5))
    ours, pca = mds(frame(cdist(x, x)), kind="classical").points.to_numpy(), PCA(2).fit_transform(x)
    assert np.allclose(np.abs(ours), np.abs(pca), atol=1e-9)


def test_what_is_not_euclidean_is_said():
    d = frame([[0, 1, 1, 5], [1, 0, 1, 1], [1, 1, 0, 1], [5, 1, 1, 0]])  # 5 > 1 + 1
    assert mds(d, kind="classical").negative_fraction > 0.1 and mds(d).stress > 0.1


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


def test_similarities_and_a_negative_direction_are_refused(recorded):
    alike = rs.compare("cka", recorded)
    with pytest.raises(
        ValueError, match="0 on its diagonal; this one has 1 there. Are they similarities. Pass the Comparison itself"
    ):
        mds(alike.values)
    with pytest.raises(ValueError, match="cannot be negative; that of 'a' and 'b' is -1"):
        mds(frame([[0, -1, 1], [3, 0, 1], [1, 1, 0]]))
    with pytest.raises(ValueError, match="cannot be negative"):
        mds(frame(np.array([[0, -3, 1], [-3, 0, 1], [1, 1, 0]]) * 1e-7))
    assert mds(frame(np.array([[0, 3, 1], [3, 0, 1], [1, 1, 0]]) * 1e9 - 1e-4 * (1 - np.eye(3)))).stress >= 0
    for wrong in ("2", 2.0):
        with pytest.raises(ValueError, match="n_components must be an integer"):
            mds(alike, wrong)


@pytest.mark.parametrize("unit", [2.0**-600, 2.0**600])
def test_places_are_found_in_any_unit(unit, rng):
    points = rng.normal(size=(9, 2))
    d = cdist(points, points)
    one, other = (
        mds(frame(d[:8, :8] * u)).add_points(pd.DataFrame(d[8:, :8] * u, index=["new"], columns=list("abcdefgh")))
        for u in (1, unit)
    )
    assert np.allclose(other.points / unit, one.points) and other.misfits[0] < 1e-6 and np.isfinite(other.stress)


def test_a_map_never_says_a_trustworthiness_that_nobody_measured():
    with pytest.raises(TypeError, match="trustworthiness"):
        rs.embedding.Embedding(pd.DataFrame({"x": [0.0, 1, 2]}), 0.1, 0.0, "smacof", 0)


def test_errors_teach(recorded):
    with pytest.raises(ValueError, match="at least 3 items; there are 2"):
        mds(frame([[0, 1], [1, 0]]))
    with pytest.raises(ValueError, match="square table"):
        mds(rs.compare("cka", recorded.where(model="mnist-cnn-0"), recorded.where(model="mnist-mlp-0")))
    with pytest.raises(ValueError, match="2 cells are undefined, the first 'a' and 'c'"):
        mds(frame([[0, 1, np.nan], [1, 0, 1], [np.nan, 1, 0]]))
    with pytest.raises(ValueError, match="cannot be negative; that of 'a' and 'b' is -1"):
        mds(frame([[0, -1, 1], [-1, 0, 1], [1, 1, 0]]))
    eps = np.finfo(float).eps
    for rounding in ([[0, 0, 0]] * 3, [[0, -eps, eps], [-eps, 0, 0], [0, 0, 0]], [[0, -eps, -eps]] * 3):
        with pytest.raises(ValueError, match="all items are alike"):
            mds(frame(np.array(rounding)))
    with pytest.raises(ValueError, match="unknown kind of MDS 'smakof'. Did you mean 'smacof'"):
        mds(frame(1 - np.eye(4)), kind="smakof")
    with pytest.raises(ValueError, match="n_components must be an integer from 1 to 3"):
        mds(frame(1 - np.eye(4)), n_components=4)
    with pytest.raises(ValueError, match="n_components must be an integer from 1 to 3"):
        mds(frame(1 - np.eye(4)), n_components=0)
    with pytest.raises(ValueError, match="numbers as dissimilarities; the table has other values .*'far'"):
        mds(frame(1 - np.eye(4)).astype(object).replace({1.0: "far"}))
    with pytest.raises(TypeError, match="frame of dissimilarities; got ndarray; .* needs labels"):
        mds(1 - np.eye(4))
    for seed in ("a", None, -1, 0.5):
        with pytest.raises(ValueError, match="seed must be an integer >= 0; got"):
            mds(frame(1 - np.eye(4)), seed=seed)
        with pytest.raises(ValueError, match="seed must be an integer >= 0; got"):
            tsne(frame(1 - np.eye(8)), seed=seed)
    with pytest.raises(ValueError, match="tsne is a function of its own"):
        mds(frame(1 - np.eye(4)), kind="tsne")


def test_classical_mds_is_scikit_learns(rng):
    manifold = pytest.importorskip("sklearn.manifold")
    if not hasattr(manifold, "ClassicalMDS"):
        pytest.skip("this scikit-learn has none")
    d = np.abs(rng.normal(size=(12, 12))).cumsum(0)
    d = (d + d.T) * (1 - np.eye(12))  # far from Euclidean
    theirs = manifold.ClassicalMDS(n_components=3, metric="precomputed").fit_transform(d)
    assert procrustes(theirs, mds(frame(d), 3, kind="classical").points.to_numpy())[2] < 1e-12


def test_equal_distances_are_the_simplex_for_every_kind_and_seed():
    """Four points at equal distances: the best plane is a square, stress-1 = sqrt(1 - (mean distance)² / mean square
    distance).
    """
    square = cdist(*[np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])] * 2)[np.triu_indices(4, 1)]
    best = np.sqrt(1 - square.mean() ** 2 / np.mean(square**2))
    for seed in range(3):
        e = mds(frame(1 - np.eye(4)), seed=seed)
        assert abs(e.stress - best) < 1e-6 and np.isfinite(e.points).all(axis=None) and 0 <= e.trustworthiness <= 1


def test_a_rotated_copy_gives_the_same_map(rng):
    x = rng.normal(size=(12, 6))
    q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    for kind in ("smacof", "classical"):
        a, b = (mds(frame(cdist(y, y)), kind=kind) for y in (x, 3 + x @ q))
        assert procrustes(a.points, b.points)[2] < 1e-6 and abs(a.stress - b.stress) < 1e-6


@pytest.fixture(scope="module")
def far():
    """276 points on 12 curved ways through 60 dimensions: as large as a study of trajectories."""
    rng = np.random.default_rng(0)
    time = 1 - np.exp(-np.linspace(0, 5, 23))
    x = np.concatenate(
        [start + (end - start) * time[:, None] for start, end in zip(*rng.normal(size=(2, 12, 60)), strict=True)]
    ) + 0.05 * rng.normal(size=(276, 60))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    index = pd.MultiIndex.from_product([[f"run-{i}" for i in range(12)], range(23)], names=["model", "step"])
    return pd.DataFrame((1 - x @ x.T).clip(min=0) * (1 - np.eye(276)), index=index, columns=index)


def test_smacof_ends_where_no_step_of_majorisation_helps(far):
    from sklearn.manifold import smacof

    ours = mds(far)
    d = far.to_numpy()
    _, raw = smacof((d + d.T) / 2, init=ours.points.to_numpy(), n_init=1, max_iter=50, eps=0, normalized_stress=False)
    assert (
        ours.stress <= np.sqrt(raw / np.sum(d[np.triu_indices(276, 1)] ** 2)) + 1e-7 < mds(far, kind="classical").stress
    )


@pytest.mark.parametrize("make", [mds, tsne], ids=["mds", "tsne"])
def test_a_map_does_not_know_the_unit_of_its_table(make, zoo):
    d = rs.compare("cka_debiased", zoo).dissimilarity()
    one = make(d)
    for unit in (2.0**-600, 2.0**-40, 2.0**600):
        other = make(d * unit)
        assert other.stress == one.stress and np.array_equal(other.dissimilarities, one.dissimilarities * unit)
        assert np.array_equal(other.points, one.points * (1 if make is tsne else unit))


@pytest.mark.parametrize("make", [mds, tsne], ids=["mds", "tsne"])
def test_a_map_is_the_same_with_one_thread_and_with_two(make, far):
    from threadpoolctl import threadpool_limits

    maps = []
    for threads in (1, 2, 2):
        with threadpool_limits(threads):
            maps.append(make(far, seed=1))
    assert maps[0].points.equals(maps[1].points) and maps[1].points.equals(maps[2].points)


# -- placing


@pytest.fixture(scope="module")
def zoo(mnist):
    """The layer before the output of all models of the zoo that were trained on these images, or not at all."""
    names = [
        "mnist-cnn-0",
        "mnist-cnn-1",
        "mnist-cnn-2",
        "mnist-mlp-0",
        "mnist-mlp-1",
        "mnist-mlp-2",
        "mnist-resnet-0",
        "mnist-resnet-1",
        "mnist-depthwise-0",
        "mnist-vit-0",
        "mnist-vit-1",
        "shuffled-cnn-0",
        "untrained-cnn-0",
        "untrained-mlp-0",
        "untrained-vit-0",
    ]
    return rs.record([f"zoo:{name}" for name in names], mnist, [-2], progress=False)


def without(xs, model):
    return {key: x for key, x in xs.items() if key.model != model}


@pytest.mark.parametrize("kind", ["smacof", "classical"])
def test_a_held_out_network_is_placed_within_the_stress_of_where_a_full_fit_puts_it(kind, mnist):
    """All layers of six models; each model in turn is held out, and two of its sort stay."""
    xs = rs.record([f"zoo:mnist-{sort}-{seed}" for sort in ("cnn", "mlp") for seed in range(3)], mnist, progress=False)
    full = mds(rs.compare("cka_debiased", xs), kind=kind)
    rms = np.sqrt(np.mean(pdist(full.points) ** 2))
    for model in dict.fromkeys(key.model for key in xs):
        old = without(xs, model)
        e = mds(rs.compare("cka_debiased", old), kind=kind)
        placed = e.add_points(rs.compare("cka_debiased", xs.where(model=model), old))
        assert placed.points.iloc[: len(old)].equals(e.points) and placed.placed == tuple(
            key for key in xs if key.model == model
        )
        assert placed.method == e.method and e.placed == () and len(e.points) == len(old)
        shared = full.points.loc[e.points.index].to_numpy()
        centre = e.points.to_numpy().mean(0), shared.mean(0)
        turn = orthogonal_procrustes(e.points.to_numpy() - centre[0], shared - centre[1])[0]
        there = (placed.points.iloc[len(old) :].to_numpy() - centre[0]) @ turn + centre[1]
        off = np.linalg.norm(there - full.points.loc[list(placed.placed)].to_numpy(), axis=1)
        assert (off <= full.stress * rms).all(), (model, off / rms, full.stress)


@pytest.mark.parametrize("kind", ["smacof", "classical"])
def test_a_placed_twin_lands_on_its_twin_in_any_order_of_columns_and_on_a_turned_map(kind, zoo):
    c = rs.compare("procrustes_distance", zoo)
    e = mds(c, kind=kind)
    again = e.add_points(c)
    assert np.allclose(again.points.to_numpy()[len(zoo) :], e.points, atol=1e-5) and abs(again.stress - e.stress) < 0.01
    shuffled = c.dissimilarity().iloc[[3], ::-1]
    assert np.allclose(e.add_points(shuffled).points.to_numpy()[-1], e.points.to_numpy()[3], atol=1e-5)
    turned = e.align_to(replace(e, points=7 - e.points[["y", "x"]].set_axis(["x", "y"], axis=1)))
    assert np.allclose(turned.add_points(shuffled).points.to_numpy()[-1], turned.points.to_numpy()[3], atol=1e-5)


@pytest.mark.parametrize("kind", ["smacof", "classical"])
def test_a_point_of_the_plane_is_placed_exactly_and_its_misfit_is_said(kind, rng):
    points = rng.normal(size=(9, 2))
    d = cdist(points, points)
    e = mds(frame(d[:7, :7]), kind=kind)
    both = e.add_points(pd.DataFrame(d[7:, :7], index=["h", "i"], columns=list("abcdefg")))
    assert both.stress < 1e-6 and procrustes(points, both.points)[2] < 1e-9 and both.placed == ("h", "i")
    one_by_one = e.add_points(pd.DataFrame(d[7:8, :7], index=["h"], columns=list("abcdefg"))).add_points(
        pd.DataFrame(d[8:, :7], index=["i"], columns=list("abcdefg"))
    )
    assert one_by_one.points.equals(both.points) and one_by_one.placed == ("h", "i")
    far_off = e.add_points(pd.DataFrame([[9, 9, 0.1, 9, 9, 9, 9]], index=["h"], columns=list("abcdefg")))
    known = np.array([9, 9, 0.1, 9, 9, 9, 9])
    shown = cdist(far_off.points.iloc[7:], far_off.points.iloc[:7])[0]
    assert (
        np.isclose(far_off.misfits[0], np.sqrt(np.sum((shown - known) ** 2) / np.sum(known**2)))
        and far_off.misfits[0] > 0.1
    )
    assert far_off.stress == e.stress and len(both.misfits) == 2 and max(both.misfits) < 1e-6, (
        "the stress is that of the map, whoever comes"
    )


def test_smacof_places_at_the_lowest_of_all_valleys(rng):
    """Against a fine grid: of every point's misfit the least."""
    x = rng.normal(size=(12, 8))
    e = mds(frame(cdist(x, x)))
    grid = np.stack(np.meshgrid(*[np.linspace(-6, 6, 241)] * 2), -1).reshape(-1, 2)
    for _ in range(20):
        d = cdist(rng.normal(size=(1, 8)), x)
        there = e.add_points(pd.DataFrame(d, index=["new"], columns=e.points.index)).points.to_numpy()[-1:]
        misfit = [np.sum((cdist(p, e.points) - d) ** 2, axis=1).min() for p in (there, grid)]
        assert misfit[0] <= misfit[1]


def test_placing_says_what_is_wrong(recorded):
    square = frame([[0, 3, 4], [3, 0, 5], [4, 5, 0]])
    e, row = mds(square), pd.DataFrame([[1.0, 2, 3]], index=["d"], columns=list("abc"))
    with pytest.raises(
        ValueError, match="for each of the 3 items of the map; the table has no column for 1 items of the map: 'c'"
    ):
        e.add_points(row[["a", "b"]])
    with pytest.raises(ValueError, match="has 1 columns that are not items of the map: 'd'"):
        e.add_points(row).add_points(row.assign(d=0.0))
    with pytest.raises(ValueError, match="'d' to 'b' is undefined"):
        e.add_points(row.assign(b=np.nan))
    with pytest.raises(ValueError, match="that of 'd' and 'b' is -1"):
        e.add_points(row.assign(b=-1.0))
    with pytest.raises(ValueError, match="at least one new item"):
        e.add_points(row.iloc[:0])
    with pytest.raises(ValueError, match="have the fields"):
        mds(rs.compare("cka", recorded)).add_points(row)
    with pytest.raises(ValueError, match="computed by cka of 200 samples; the new ones are by nbs of 200"):
        mds(rs.compare("cka", recorded)).add_points(rs.compare("nbs", recorded))
    with pytest.raises(ValueError, match="cannot add points to a t-SNE"):
        tsne(rs.compare("cka", recorded)).add_points(rs.compare("cka", recorded))


# -- turning


def test_a_turned_map_lies_on_the_other_and_keeps_its_distances(rng, zoo):
    points = rng.normal(size=(9, 2))
    a = mds(frame(cdist(points, points)))
    q = np.array([[0.6, 0.8], [0.8, -0.6]])  # turned and mirrored
    b = replace(
        a, points=pd.DataFrame(a.points.to_numpy()[::-1] @ q + [5, -2], index=a.points.index[::-1], columns=["x", "y"])
    )
    assert np.allclose(a.align_to(b).points, b.points.loc[a.points.index]) and np.allclose(
        b.align_to(a).points.loc[a.points.index], a.points
    )
    cka, shape = (mds(rs.compare(name, zoo)) for name in ("cka", "angular_shape"))
    turned = shape.align_to(cka)
    assert (
        np.allclose(distances(turned), distances(shape))
        and turned.stress == shape.stress
        and turned.points.index.equals(shape.points.index)
    )

    def apart(e):
        return np.sum((e.points.to_numpy() - cka.points.to_numpy()) ** 2)

    rotated = [
        replace(shape, points=turned.points @ np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]))
        for t in np.linspace(-1, 1, 41)
    ]
    assert all(
        apart(turned)
        <= apart(other.align_to(cka)) + 1e-9
        <= apart(replace(other, points=other.points.set_axis(["x", "y"], axis=1))) + 1e-8
        for other in rotated
    )


def test_maps_of_two_layers_lie_on_each_other_by_model(mnist):
    x = rs.record([f"zoo:mnist-cnn-{i}" for i in range(3)], mnist, ["conv3", "fc"], progress=False)
    a, b = (mds(rs.compare("cka", x.where(layer=layer))) for layer in ("conv3", "fc"))
    turned = a.align_to(b)
    assert (
        np.sum((turned.points.to_numpy() - b.points.to_numpy()) ** 2)
        <= np.sum((a.points.to_numpy() - b.points.to_numpy()) ** 2) + 1e-12
    )
    with pytest.raises(ValueError, match="have fewer than two labels in common"):
        a.align_to(mds(frame(1 - np.eye(3))))
    with pytest.raises(TypeError, match="takes another Embedding, .* got ndarray"):
        a.align_to(b.points.to_numpy())
    with pytest.raises(ValueError, match="this one has 2, the other 1"):
        a.align_to(mds(frame(1 - np.eye(3)), 1))


# -- trust and t-SNE


def test_trustworthiness_is_one_where_neighbours_are_kept_and_low_where_they_are_not(rng):
    points = rng.normal(size=(20, 2))
    assert mds(frame(cdist(points, points))).trustworthiness == 1
    noise = np.abs(rng.normal(size=(25, 25)))
    e = mds(frame((noise + noise.T) * (1 - np.eye(25))))
    assert e.trustworthiness < 0.95 and e.method == "MDS (SMACOF)" and "MDS (SMACOF) of 25 points: stress" in repr(e)


def test_tsne_keeps_three_groups_apart_and_says_how(far, rng):
    centres = 8 * np.eye(3, 80)
    x = np.concatenate([c + rng.normal(size=(40, 80)) for c in centres])
    groups = np.repeat(range(3), 40)
    for source in (x, x.astype(np.float32), torch.tensor(x), frame(cdist(x, x), range(120))):
        e = tsne(source, perplexity=10)
        nearest = np.argsort(distances(e) + np.diag(np.full(120, np.inf)), axis=1)[:, :5]
        assert (groups[nearest] == groups[:, None]).all() and e.trustworthiness > 0.8
        assert e.method == "t-SNE (perplexity 10)" and e.kind == "tsne" and e.perplexity == 10 and 0 < e.stress < 1
    of_samples = tsne(x)
    assert (
        of_samples.points.index.name == "sample"
        and list(of_samples.points.index[:2]) == [0, 1]
        and of_samples.negative_fraction == 0
        and of_samples.dissimilarities is None
    )
    assert of_samples.perplexity == 30 and tsne(x[:20]).perplexity == 6 and tsne(x[:7], 3).points.shape == (7, 3)
    assert tsne(x).points.equals(of_samples.points) and not tsne(x, seed=1).points.equals(of_samples.points)


def test_the_stress_of_a_tsne_does_not_know_its_scale(zoo):
    c = rs.compare("cka_debiased", zoo)
    e = tsne(c)
    assert e.perplexity == 4 and e.name == "cka_debiased" and e.n == 200 and e.points.index.equals(c.values.index)
    d, shown = c.dissimilarity().to_numpy()[np.triu_indices(len(zoo), 1)], pdist(e.points)
    best = min(
        np.sqrt(np.sum((s * shown - d) ** 2) / np.sum(d**2)) for s in np.linspace(0, 3 * d.mean() / shown.mean(), 3001)
    )
    assert best - 1e-5 < e.stress <= best


def test_points_on_a_line_do_not_stay_on_it_for_want_of_a_start(rng):
    line = np.sort(rng.normal(size=(40, 1)), axis=0)
    e = tsne(line)
    assert e.points["y"].std() > 0.01 * e.points["x"].std() and e.trustworthiness > 0.95


def test_tsne_says_what_is_wrong(rng):
    x = rng.normal(size=(20, 3))
    with pytest.raises(ValueError, match="at least 7 points; there are 6. Use mds"):
        tsne(frame(1 - np.eye(6)))
    with pytest.raises(ValueError, match="at least 7 points"):
        tsne(x[:3])
    for wrong in (7, 0.5, np.nan):
        with pytest.raises(ValueError, match="t-SNE of 20 points must be from 1 to 6.*; got"):
            tsne(x, perplexity=wrong)
    with pytest.raises(ValueError, match="n_components of a t-SNE must be an integer from 1 to 3, .*; got 4"):
        tsne(x, 4)
    with pytest.raises(ValueError, match="NaN or infinite"):
        tsne(np.where(x > 1, np.nan, x))
    with pytest.raises(ValueError, match="it is constant"):
        tsne(np.ones((20, 3)))
    with pytest.raises(ValueError, match=r"it has shape \(20,\): use x\[:, None\]"):
        tsne(x[:, 0])
    with pytest.raises(ValueError, match="dtype <U1"):
        tsne(np.full((20, 3), "a"))
    with pytest.raises(
        TypeError,
        match=r"frame of dissimilarities or an array .*; got dict. Select one layer of a recording: x\['fc'\]",
    ):
        tsne({"a": x})
    with pytest.raises(ValueError, match="square table"):
        tsne(pd.DataFrame(x))
    broken = frame(1 - np.eye(8))
    broken.iloc[1, 2] = np.nan
    with pytest.raises(ValueError, match="1 cells are undefined, the first 'b' and 'c'"):
        tsne(broken)
