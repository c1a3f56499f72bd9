"""What each sample adds to a value, against leaving it out; and the picture of those that add most."""

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.measures import CKA, CKNNA, RSA, DistanceCorrelation
from repsim_nb.results.inference import influence
from repsim_nb.support.errors import UndefinedError

BY_SUMS = {"cka", "cka_debiased", "distance_correlation"}
MORE = {
    "distance correlation, debiased": DistanceCorrelation(debiased=True),
    "distance correlation, root": DistanceCorrelation(squared=False),
    "CKA in batches": CKA(batch_size=8),
    **{
        f"RSA of {first}": RSA(first=first, second="pearson") for first in ("correlation", "cosine", "dot", "euclidean")
    },
    "RSA with the diagonal": RSA(first="euclidean", second="pearson", diagonal=True),
    "RSA by cosine": RSA(second="cosine"),
    "RSA, whitened": RSA(first="squared_euclidean", second="whitened_cosine"),
    "RBF CKA, debiased": CKA(kernel="rbf", debiased=True),
}


def sides(rng, n=40, p=7, q=5, mean=3.0):
    """Related in part, with means far from 0 and one sample that stands out."""
    x = mean + rng.normal(size=(n, p))
    y = x[:, :q] + rng.normal(size=(n, q))
    x[3] *= 4
    return x, y


def one_by_one(measure, x, y):
    return measure(x, y) - np.array([measure(np.delete(x, i, axis=0), np.delete(y, i, axis=0)) for i in range(len(x))])


@pytest.mark.parametrize(
    "measure", [*rs.measures.REPRESENTATIONAL.values(), *MORE.values()], ids=[*rs.measures.REPRESENTATIONAL, *MORE]
)
def test_it_is_what_leaving_a_sample_out_takes_away(measure, rng):
    x, y = sides(rng)
    found = influence(measure, x, y)
    assert found.shape == (40,) and found.dtype == np.float64 and np.ptp(found) > 0
    np.testing.assert_allclose(found, one_by_one(measure, x, y), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", [*sorted(BY_SUMS), "RSA of dot", "RSA of euclidean", "distance correlation, debiased"])
def test_the_sums_are_as_exact_where_layers_are_wide_and_means_large(name, rng):
    measure = rs.measures.ALL.get(name) or MORE[name]
    for x, y in (sides(rng, p=90, q=60), sides(rng, mean=1e3)):
        np.testing.assert_allclose(influence(measure, x, y), one_by_one(measure, x, y), rtol=0, atol=1e-8)


def test_the_measure_is_asked_once_where_sums_do(rng, monkeypatch):
    asked = []
    monkeypatch.setattr(CKA, "__call__", lambda self, x, y, real=CKA.__call__: asked.append(len(x)) or real(self, x, y))
    influence("cka_debiased", *sides(rng))
    assert asked == [40]
    influence("cka_rbf", *sides(rng))
    assert sorted(asked) == [39] * 40 + [40] * 2


@pytest.mark.parametrize("measure", ["cka", "distance_correlation", MORE["RSA of euclidean"]])
def test_a_sample_that_is_nearly_all_of_a_matrix_hides_nothing(measure, rng):
    """Sums over the others are rounding of a sum in which one sample stands a million times as far out."""
    x, y = sides(rng)
    for far in (1e2, 1e4):
        x[5], y[5] = x[5] * far, y[5] * far
        np.testing.assert_allclose(
            influence(measure, x, y), one_by_one(rs.measures.get(measure), x, y), rtol=0, atol=1e-8
        )


def test_the_sample_that_makes_two_alike_is_found(rng):
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 5))
    x[17] = y[17] = 30
    found = influence("cka", x.astype(np.float32), y)
    assert found.argmax() == 17 and found[17] > 0.5 and np.abs(np.delete(found, 17)).max() < 0.05


def test_single_precision_and_tensors_are_worked_on_in_double(rng):
    torch = pytest.importorskip("torch")
    x, y = (side.astype(np.float32) for side in sides(rng))
    for measure in ("cka", "procrustes", "rsa"):
        exact = influence(measure, x.astype(float), y.astype(float))
        for pair in ((x, y), (torch.from_numpy(x), torch.from_numpy(y)), (x.tolist(), y)):
            np.testing.assert_allclose(influence(measure, *pair), exact, rtol=0, atol=1e-10)


def test_a_value_that_hangs_on_one_sample_is_an_error_that_names_it(rng):
    x, y = np.zeros((20, 3)), rng.normal(size=(20, 3))
    x[7] = 1.0
    for measure in ("cka", "distance_correlation", "procrustes"):
        with pytest.raises(rs.measures.UndefinedError, match="without sample 7"):
            influence(measure, x, y)
    with pytest.raises(
        rs.measures.UndefinedError,
        match="needs at least 4 samples, so that one can be left out of 5 or more; there are 4",
    ):
        influence("cka_debiased", y[:4], y[:4])
    with pytest.raises(rs.measures.UndefinedError, match="at least 11 samples are needed|needs at least 11"):
        influence(CKNNA(k=10), y[:11], y[:11])
    with pytest.raises(ValueError, match="same samples"):
        influence("cka", x, y[:19])


def test_it_can_be_watched_and_stopped(rng):
    seen = []
    influence("procrustes", *sides(rng), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40) and len(seen) >= 40

    class Enough(Exception):
        pass

    def stop(done, total):
        if done > 3:
            raise Enough

    with pytest.raises(Enough):
        influence("procrustes", *sides(rng), progress=stop)


# -- the picture


def test_the_most_influential_images_stand_first_with_their_class_and_sign(mnist):
    influence_of = np.zeros(len(mnist))
    influence_of[[7, 30, 99]] = [0.002, -0.03, 0.01]
    axes = rs.plots.influential(mnist, influence_of, most=3)
    names = [mnist.classes[mnist.targets[i]] for i in (30, 99, 7)]
    assert [ax.get_xlabel() for ax in axes] == [
        f"{names[0]}\n\N{MINUS SIGN}0.03",
        f"{names[1]}\n+0.01",
        f"{names[2]}\n+0.002",
    ]
    assert all((ax.images[0].get_array() == mnist.inputs[i]).all() for ax, i in zip(axes, (30, 99, 7), strict=True))
    title = " ".join(axes[0].figure.get_suptitle().split())
    assert title.startswith("the 3 samples of 200 that add most") and "100% of all influence" in title
    assert (
        len(rs.plots.influential(mnist, influence_of)) == 10
        and len(rs.plots.influential(mnist.take(range(4), "four"), influence_of[:4])) == 4
    )


def test_of_real_models(mnist, recorded):
    x, y = (recorded.where(model=f"mnist-cnn-{k}")["conv2"] for k in (0, 1))
    found = influence("cka", x, y)
    assert found == pytest.approx(
        one_by_one(rs.measures.get("cka"), np.asarray(x, float), np.asarray(y, float)), abs=1e-8
    )
    assert len(rs.plots.influential(mnist, found, most=5, columns=5)) == 5


def test_what_cannot_be_drawn_is_an_error(mnist):
    texts = rs.Dataset("words", ["one", "two", "three"])
    for dataset, values, says in (
        (mnist, np.zeros(199), "has 200 images, and there are 199 values"),
        (
            texts,
            np.array([0.1, -0.3, 0.2]),
            "the inputs of 'words' are not images. The rows with the largest influence are '1', '2'",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            rs.plots.influential(dataset, values, most=2)
    for values, most, says in (
        (np.full(200, np.nan), 2, "must be finite; 200 of 200 values are NaN"),
        (np.ones(200), 0, "must be an integer >= 1, the number of images to show; got 0"),
    ):
        with pytest.raises(ValueError, match=says):
            rs.plots.influential(mnist, values, most=most)
    with pytest.raises(TypeError, match="needs the images as a Dataset; got ndarray"):
        rs.plots.influential(np.zeros((200, 8, 8)), np.ones(200))


@pytest.mark.parametrize("most", [1, 3, 10])
def test_the_title_of_the_influential_stays_within_the_picture(mnist, most):
    figure = rs.plots.influential(mnist, np.linspace(-1, 1, 200), most=most)[0].figure
    for _ in range(2):  # labels find their places at the first
        figure.canvas.draw()
    title, pictured = figure._suptitle.get_window_extent(), figure.axes[0].get_window_extent()
    assert title.x0 >= 0 and title.x1 <= figure.bbox.width and title.y1 <= figure.bbox.height
    assert title.y0 >= pictured.y1 and pictured.height > 40
    assert all(ax.xaxis.label.get_window_extent().y0 >= 0 for ax in figure.axes)


def test_the_side_that_has_no_values_is_named(rng):
    x = rng.normal(size=(20, 4))
    with pytest.raises(UndefinedError, match="of 'y': it holds 80 values"):
        influence("cka", x, np.full((20, 4), np.nan))
