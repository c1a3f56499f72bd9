"""plots.confusion: which class was taken for which, and plots.pictures of the images."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import repsim_nb as rs
from repsim_nb import plots
from repsim_nb.display.plots.images import as_images
from repsim_nb.studies.published import CONFUSION


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def make_bias(models, datasets, n=40, apart=1.5):
    """A probe on clouds of points around their own centres, the sets ordered by model."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(models), len(datasets), 6)) * apart
    sets = {
        rs.Key(model, "last", data): rng.normal(size=(n, 6)) + centres[i, j]
        for i, model in enumerate(models)
        for j, data in enumerate(datasets)
    }
    return rs.probes.dataset_bias(sets, n_permutations=49)


@pytest.fixture(scope="module")
def bias():
    return make_bias(["cnn", "mlp"], ["mnist/test", "fashion/test"])


def cells(ax):
    return np.asarray(ax.images[0].get_array())


def ticks(ax):
    return [label.get_text() for label in ax.get_yticklabels()], [label.get_text() for label in ax.get_xticklabels()]


def written(ax):
    """{(row, column): text}"""
    return {(round(text.get_position()[1]), round(text.get_position()[0])): text.get_text() for text in ax.texts}


def lines_of(ax):
    """Where upright and level lines stand."""
    across, up = (
        [line for line in ax.lines if line.get_ydata()[0] == line.get_ydata()[1]],
        [line for line in ax.lines if line.get_xdata()[0] == line.get_xdata()[1]],
    )
    return [line.get_ydata()[0] for line in across], [line.get_xdata()[0] for line in up]


def nothing_is_cut(figure):
    figure.canvas.draw()
    box, whole = figure.get_tightbbox(), figure.get_size_inches()
    return box.x0 >= -0.02 and box.y0 >= -0.02 and box.x1 <= whole[0] + 0.02 and box.y1 <= whole[1] + 0.02


def test_a_row_is_a_true_set(bias):
    ax = plots.confusion(bias)
    assert np.allclose(cells(ax), bias.confusion) and ax.images[0].get_clim() == (0, 1) and not ax.lines
    assert ticks(ax) == (["mnist_cnn", "fashion_cnn", "mnist_mlp", "fashion_mlp"],) * 2 == (list(bias.labels()),) * 2
    assert (
        ax.get_ylabel() == "true set, held-out images"
        and ax.get_xlabel() == "predicted set"
        and nothing_is_cut(ax.figure)
    )
    said = ax.get_title().replace("\n", " ")
    assert (
        said == f"held-out balanced accuracy {bias.balanced_accuracy:.3f} (chance 0.250, permutation p ="
        f" {bias.p_value:.3g}) "
        "4 sets at last; linear SVM, pooled scaling; n = 40 a set, 12 of them held out"
    )
    assert bias.p_value == 0.02 and bias.balanced_accuracy > 0.6, "the example tells its sets apart"
    assert (
        plots.confusion(bias, title="mine").get_title() == "mine" and plots.confusion(bias, title="").get_title() == ""
    )


def test_values_stand_in_their_cells_and_nothing_stays_bare(bias):
    frame = pd.DataFrame([[0.996, 0.004, 0], [0.25, 0.7449, 0.0051], [0, 0, 1]], index=list("abc"), columns=list("abc"))
    ax = plots.confusion(frame)
    assert written(ax) == {(0, 0): "1.00", (1, 0): "0.25", (1, 1): "0.74", (1, 2): "0.01", (2, 2): "1.00"}
    assert [a.get_ylabel() for a in ax.figure.axes if a is not ax] == ["fraction of the row (bare: below 0.005)"]
    dark, bright = (
        next(text for text in ax.texts if text.get_text() == value).get_color() for value in ("0.01", "1.00")
    )
    assert dark != bright, "ink is chosen by the cell"
    assert written(plots.confusion(bias)) == {
        (i, j): f"{v:.2f}" for (i, j), v in np.ndenumerate(bias.confusion) if v >= 0.005
    }


def test_groups_stand_together_with_lines_between(bias):
    ax = plots.confusion(bias, by="dataset")
    assert np.allclose(cells(ax), bias.confusion.iloc[[0, 2, 1, 3], [0, 2, 1, 3]]) and ticks(ax)[0] == [
        "mnist_cnn",
        "mnist_mlp",
        "fashion_cnn",
        "fashion_mlp",
    ]
    assert lines_of(ax) == ([1.5], [1.5]) and bias.order_by("dataset").breaks("dataset") == [2]
    by_model = plots.confusion(bias, by="model")
    assert np.allclose(cells(by_model), bias.confusion) and lines_of(by_model) == ([1.5], [1.5])
    assert np.allclose(cells(plots.confusion(bias.order_by("dataset"))), cells(ax)) and lines_of(
        plots.confusion(bias.order_by("dataset"))
    ) == ([1.5], [1.5])
    turned = plots.confusion(bias, by=["x", "y", "y", "x"])
    assert ticks(turned)[0] == ["mnist_cnn", "fashion_mlp", "fashion_cnn", "mnist_mlp"] and lines_of(turned) == (
        [1.5],
        [1.5],
    )
    assert lines_of(plots.confusion(bias, by=[1, 2, 3, 4])) == ([], []), "a line between all rows would say nothing"


@pytest.mark.parametrize(
    ("field", "names", "noun"),
    [("model", ["cnn", "mlp"], "model"), ("dataset", ["mnist/test", "fashion/test"], "data set")],
)
def test_one_field_alone(bias, field, names, noun):
    alone = bias.by_field(field)
    ax = plots.confusion(alone)
    assert np.allclose(cells(ax), alone.confusion) and cells(ax).shape == (2, 2) and ticks(ax) == (names, names)
    assert ax.get_ylabel() == f"true {noun}, held-out images" and ax.get_xlabel() == f"predicted {noun}"
    assert f"2 {noun}s; linear SVM" in ax.get_title().replace(
        "\n", " "
    ) and f"n = 80 a {noun}, 24 of them held out" in ax.get_title().replace("\n", " ")
    assert "(chance 0.500," in ax.get_title() and nothing_is_cut(ax.figure)


def test_a_probe_of_classes_too(rng):
    x, targets = np.concatenate([rng.normal(size=(30, 4)), rng.normal(size=(50, 4)) + 2]), np.repeat([0, 1], [30, 50])
    probe = rs.probes.linear_probe(x, targets, classes=("cat", "dog"), n_permutations=19)
    ax = plots.confusion(probe)
    assert (
        np.allclose(cells(ax), probe.confusion)
        and ticks(ax)[0] == ["cat", "dog"]
        and ax.get_ylabel() == "true class, held-out"
    )
    assert "2 classes; logistic regression, pooled scaling; n = 80 rows, 24 of them held out" in ax.get_title().replace(
        "\n", " "
    )


def test_the_published_matrix(recwarn):
    ax = plots.confusion(CONFUSION)
    assert (
        cells(ax).shape == (18, 18)
        and ticks(ax) == (list(CONFUSION.index),) * 2
        and ax.get_title() == "balanced accuracy 0.593 (chance 0.056)\n18 sets"
    )
    assert len(ax.texts) == int((CONFUSION.to_numpy() >= 0.005).sum()) and written(ax)[0, 0] == "0.68"
    network = [name.split("_", 1)[1] for name in CONFUSION.index]
    grouped = plots.confusion(CONFUSION, by=network, title="figure 3.1")
    assert lines_of(grouped)[0] == [2.5, 5.5, 8.5, 11.5, 14.5] and ticks(grouped)[0][:3] == [
        "cifar_cifar_s1",
        "imagenet_cifar_s1",
        "voc_cifar_s1",
    ]
    assert plots.confusion(CONFUSION, by=dict(zip(CONFUSION.index, network, strict=True))).lines
    assert nothing_is_cut(ax.figure) and nothing_is_cut(grouped.figure) and not recwarn.list


def test_values_of_neighbours_do_not_touch():
    """18 values side by side, in a picture of their own and in half of one; none where they would be too small to
    read.
    """
    names = [f"fashion_network-{k}" for k in range(18)]
    full = pd.DataFrame(np.full((18, 18), 1 / 18), index=names, columns=names)
    half = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")[1][0]
    for ax in (
        plots.confusion(full),
        plots.confusion(full, ax=half),
        plots.confusion(full, ax=plt.subplots(figsize=(5, 5))[1]),
    ):
        ax.figure.canvas.draw()
        boxes = [text.get_window_extent() for text in ax.texts[:18]]
        assert len(ax.texts) == 324 and all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    many = plots.confusion(pd.DataFrame(np.full((60, 60), 1 / 60)))
    assert (
        not many.texts
        and next(a for a in many.figure.axes if a is not many).get_ylabel() == "fraction of the row"
        and nothing_is_cut(many.figure)
    )


@pytest.mark.parametrize("name", ["m", "torchvision-resnet18-imagenet"])
def test_titles_fit_whatever_labels_are_long(name):
    bias = make_bias([f"{name}-{k}" for k in range(3)], ["mnist"], n=20)
    for result in (bias, bias.confusion):
        ax = plots.confusion(result)
        assert nothing_is_cut(ax.figure) and ticks(ax)[0] == [f"{name}-{k}" for k in range(3)]
    for width in (4, 5, 6):
        small = plots.confusion(
            make_bias(["a", "b", "c"], ["mnist"], n=20), ax=plt.subplots(figsize=(width, 4), layout="constrained")[1]
        )
        assert nothing_is_cut(small.figure) and ";\nn = 20 a set, 6 of them held out" in small.get_title(), (
            "broken behind semicolons"
        )


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (
            pd.DataFrame([[30, 2], [1, 31]]),
            r"fractions of each row, from 0 to 1; got 30. Convert counts with frame.div\(frame.sum\(axis=1\), axis=0\)",
        ),
        (pd.DataFrame([[1.0, -0.1], [0, 1]]), "from 0 to 1; got -0.1"),
        (pd.DataFrame([[1.0, np.nan], [0, 1]]), "from 0 to 1; got nan"),
        (
            pd.DataFrame([[1.0, 0]], index=["a"], columns=["a", "b"]),
            "the same classes in its rows and columns.* 1 rows .* and 2 columns",
        ),
        (pd.DataFrame(np.eye(2), index=["a", "b"], columns=["b", "a"]), r"in the same order; got 2 rows \['a', 'b'\]"),
        (pd.DataFrame(), "got 0 rows"),
    ],
)
def test_frames_that_hold_no_shares(frame, sentence):
    with pytest.raises(ValueError, match=sentence):
        plots.confusion(frame)
    assert not plt.get_fignums()


def test_what_cannot_be_drawn_is_said(bias):
    with pytest.raises(
        TypeError, match="what probes.dataset_bias returns, or a DataFrame with the fractions of each row; got ndarray"
    ):
        plots.confusion(bias.confusion.to_numpy())
    with pytest.raises(ValueError, match="unknown field for by 'data'"):
        plots.confusion(bias, by="data")
    with pytest.raises(ValueError, match="by needs one label for each of 4; there are 2"):
        plots.confusion(bias, by=[1, 2])
    with pytest.raises(ValueError, match="by has no value for 'mlp'"):
        plots.confusion(bias, by={"cnn": 1})


# -- pictures of the images


def test_images_stand_above_their_captions(rng):
    images = rng.integers(0, 255, (5, 8, 8), dtype=np.uint8)
    axes = plots.pictures(images, list("abcde"), columns=3)
    assert len(axes) == 5 == len(axes[0].figure.axes) and [ax.get_xlabel() for ax in axes] == list("abcde")
    assert (
        all(np.array_equal(cells(ax), image) for ax, image in zip(axes, images, strict=True))
        and axes[0].images[0].get_clim() == (0, 255)
        and nothing_is_cut(axes[0].figure)
    )
    figure = Figure(layout="constrained")
    assert (
        plots.pictures(rng.integers(0, 255, (2, 8, 8, 3), dtype=np.uint8), figure=figure)[1].figure is figure
        and len(figure.axes) == 2
    )


def test_inputs_that_are_pictures(rng):
    color = rng.normal(size=(2, 3, 5, 4))
    found = as_images(color)
    assert found.shape == (2, 5, 4, 3) and found.dtype == np.uint8 and (found.min(), found.max()) == (0, 255)
    assert found[1, 2, 3, 0] == round(255 * (color[1, 0, 2, 3] - color.min()) / np.ptp(color))
    assert as_images(rng.normal(size=(2, 1, 5, 4))).shape == (2, 5, 4)
    assert np.array_equal(as_images(np.full((2, 5, 4), 7, np.uint8)), np.full((2, 5, 4), 7)), "uint8 stay as they are"
    for other in (rng.normal(size=(2, 5)), rng.normal(size=(2, 7, 5, 4)), np.full((2, 5, 4), "a")):
        assert as_images(other) is None
