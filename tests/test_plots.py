import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import repsim_nb as rs
from repsim_nb import plots


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def bar(ax):
    return next(a for a in ax.figure.axes if a is not ax).get_ylabel()


@pytest.fixture(scope="module")
def pair(recorded):
    return recorded.where(model="mnist-cnn-0"), recorded.where(model="mnist-mlp-0")


def test_a_heatmap_says_what_it_shows(pair):
    ax = plots.heatmap(rs.compare("cka", *pair))
    assert isinstance(ax, Axes) and ticks(ax.yaxis) == ["conv1", "conv2", "conv3", "fc", "output"] and ticks(ax.xaxis) == ["fc1", "fc2", "fc3", "output"]
    assert ax.get_ylabel() == "layer of mnist-cnn-0" and ax.get_xlabel() == "layer of mnist-mlp-0"
    assert ax.get_title() == "cka: mnist-cnn-0 × mnist-mlp-0\nmnist/test[n=200,seed=0], n = 200"
    assert ax.images[0].get_clim() == (0, 1) and len(ax.texts) == 20 and bar(ax) == "unlike  ←  cka  →  alike"


def test_bright_is_alike_whichever_way_a_measure_counts(pair):
    for name in ("cka", "procrustes"):
        image = plots.heatmap(rs.compare(name, pair[0])).images[0]
        shown = image.cmap(image.norm(image.get_array()))[..., :3].mean(-1)
        assert shown[0, 0] == shown.max() and shown[0, 4] < shown[0, 1]
    assert bar(plots.heatmap(rs.compare("procrustes", pair[0]))) == "alike  ←  procrustes  →  unlike"


def test_masked_cells_are_left_open_and_counted(pair):
    c = rs.compare("mean_cca", *pair, on_undefined="mask")
    ax = plots.heatmap(c)
    assert ax.images[0].get_array().mask.sum() == len(c.undefined) > 0 and f"{len(c.undefined)} hatched cells undefined" in ax.get_title()
    assert ax.patch.get_hatch() and len(ax.texts) == 20 - len(c.undefined)
    everything = rs.compare("mean_cca", {"a": np.ones((9, 2)), "b": np.ones((9, 2))}, on_undefined="mask")
    assert plots.heatmap(everything).images[0].get_array().mask.all()


def test_a_hundred_layers_stay_readable(rng):
    x = {f"layer{i:03}": rng.normal(size=(20, 5)) for i in range(100)}
    ax = plots.heatmap(rs.compare("cka", x))
    assert len(ticks(ax.yaxis)) <= 40 and not ax.texts and max(ax.figure.get_size_inches()) < 14


def test_values_outside_the_range_widen_the_colours(rng):
    x = {i: rng.normal(size=(10, 40)) for i in range(4)}
    c = rs.compare("cka_debiased", x)
    low, high = plots.colour_limits(c)
    assert low <= c.values.min().min() < 0 and high >= 1
    x = rng.normal(size=(10, 40))
    assert plots.colour_limits(rs.compare("rsa", {"a": x, "b": x + 0.1 * rng.normal(size=x.shape)})) == (0.0, 1.0)


def test_a_measure_without_upper_end_is_coloured_up_to_its_largest_value(rng):
    x = {label: rng.normal(size=(30, 200)) for label in "ab"}
    c = rs.compare("soft_matching", x)
    assert plots.colour_limits(c) == (0, c.values.to_numpy().max())
    ax = plots.heatmap(c)
    assert [t.get_text() for t in ax.texts][:2] == ["0.0000", f"{c.values.iloc[0, 1]:.4f}"] and 0.005 < c.values.iloc[0, 1] < 0.02
    assert plots.colour_limits(rs.compare("soft_matching", {"a": x["a"]})) == (0, 1)
    assert plots.decimals(0, 1) == plots.decimals(-1, 50) == plots.decimals(0, 0) == 2 and plots.decimals(0, 0.003) == 4


def test_an_axes_can_be_given_and_no_text_is_cut(pair):
    figure = Figure(figsize=plots.heatmap_size(rs.compare("cka", *pair)), layout="constrained")
    ax = figure.add_subplot()
    assert plots.heatmap(rs.compare("cka", *pair), ax=ax, annotate=False, title="mine") is ax and ax.get_title() == "mine" and not ax.texts
    for ax in (plots.heatmap(rs.compare("cka", *pair)), plots.heatmap(rs.compare("procrustes", pair[1] | pair[0]))):
        ax.figure.canvas.draw()
        box, whole = ax.figure.get_tightbbox(), ax.figure.get_size_inches()
        assert box.x0 >= -0.02 and box.y0 >= -0.02 and box.x1 <= whole[0] + 0.02 and box.y1 <= whole[1] + 0.02


def test_several_heatmaps_stand_side_by_side(pair):
    axes = plots.heatmaps([rs.compare(name, *pair) for name in ("cka", "procrustes", "rsa")], columns=2)
    assert len(axes) == 3 and len({ax.figure for ax in axes}) == 1 and len(axes[0].figure.axes) == 6


def test_a_map_tells_groups_apart_and_how_far_to_trust_it(recorded):
    e = rs.embedding.mds(rs.compare("cka", recorded))
    ax = plots.embedding(e, colour="model", shape={"mnist-cnn-0": "cnn", "mnist-cnn-1": "cnn", "mnist-mlp-0": "mlp"}, path="model", labels="layer")
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x1 <= ax.figure.bbox.x1, "the legend is inside the picture"
    assert legend == ["model", "mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0", "shape", "cnn", "mlp", "path of a model", "first", "on the way", "last"]
    assert f"stress {e.stress:.2f}" in ax.get_xlabel() and "seed 0" in ax.get_xlabel() and "by cka" in ax.get_title() and "n = 200" in ax.get_title()
    assert sorted(t.get_text() for t in ax.texts if t.get_text()) == sorted(e.points.index.get_level_values("layer")), "every layer is named"
    few = rs.embedding.mds(rs.compare("cka", recorded.where(layer="output")))
    assert [t.get_text() for t in plots.embedding(few).texts] == ["mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0"]


def test_labels_of_coincident_points_stand_apart(recorded):
    outputs = recorded.where(layer="output")
    (first, second, third) = outputs
    twins = {"first": outputs[first], "its twin": outputs[first], "and its other twin": outputs[first], "second": outputs[second], "third": outputs[third]}
    ax = plots.embedding(rs.embedding.mds(rs.compare("cka", twins)))
    ax.figure.canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert len(boxes) == 5
    for a, b in itertools.combinations(boxes, 2):
        assert not boxes[a].overlaps(boxes[b]), (a, b)
    frame = ax.get_window_extent()
    assert all(frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes.values())


def test_maps_of_one_and_of_four_axes(recorded):
    c = rs.compare("cka", recorded)
    assert plots.embedding(rs.embedding.mds(c, n_components=1)).get_ylim()[0] < 0
    assert "of all 4 axes" in plots.embedding(rs.embedding.mds(c, n_components=4)).get_xlabel()
    with pytest.raises(ValueError, match="unknown field for path 'modle'. Did you mean 'model'"):
        plots.embedding(rs.embedding.mds(c), path="modle")


def test_titles_say_what_differs_between_the_axes(mnist):
    a, b = (rs.record("zoo:mnist-mlp-0", mnist, progress=False, step=s) for s in (0, 5))
    ax = plots.heatmap(rs.compare("cka", a, b))
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("layer of mnist-mlp-0 (step 0)", "layer of mnist-mlp-0 (step 5)")


def test_a_map_checks_its_attributes(recorded):
    e = rs.embedding.mds(rs.compare("cka", recorded.where(layer="output")))
    for wrong, words in (("modle", "fields .*'modle' is none"), ({"mnist-cnn-0": 1}, "no value for 'mnist-cnn-1' and 1 others"), ([1, 2], "3 points, 2 values")):
        with pytest.raises(ValueError, match=words):
            plots.embedding(e, colour=wrong)
    big = rs.embedding.mds(rs.compare("cka", recorded))
    with pytest.raises(ValueError, match="tell 8 groups apart; there are 14"):
        plots.embedding(big, shape=list(range(14)))


def test_samples_are_sorted_by_class(recorded, mnist):
    matrices = {key.layer: rs.measures.first_order(recorded[key]) for key in list(recorded)[3:5]}
    figure = Figure(layout="constrained")
    axes = plots.samples(matrices, targets=mnist.targets, classes=mnist.classes, figure=figure)
    assert [ax.get_title() for ax in axes] == ["fc", "output"] and ticks(axes[0].yaxis) == list("0123456789")
    assert np.allclose(np.diag(axes[0].images[0].get_array()), 1, atol=1e-5)


def test_png_needs_no_pyplot(pair):
    before = plt.get_fignums()
    image = plots.png(lambda ax: plots.heatmap(rs.compare("cka", *pair), ax=ax), 5, 4)
    assert image[:4] == b"\x89PNG" and plt.get_fignums() == before
