import itertools
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from scipy import stats
from scipy.spatial.distance import pdist, squareform

import repsim_nb as rs
from repsim_nb import plots
from repsim_nb.display.specs.colors import CLASS_COLORS, MARKERS
from repsim_nb.display.specs.matrices import decimals


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def limits(comparison):
    return rs.spec(comparison).low, rs.spec(comparison).high


def bar(ax):
    return next(a for a in ax.figure.axes if a is not ax).get_ylabel()


def legend_of(where):
    legend = where.get_legend() if isinstance(where, Axes) else where.legends[0]
    return [text.get_text() for text in legend.get_texts()]


def nothing_is_cut(figure):
    figure.canvas.draw()
    box, whole = figure.get_tightbbox(), figure.get_size_inches()
    return box.x0 >= -0.02 and box.y0 >= -0.02 and box.x1 <= whole[0] + 0.02 and box.y1 <= whole[1] + 0.02


def keep_clear(texts):
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    return not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def map_of(index, seed=0, name=""):
    """A map of random points with these labels; MDS finds them again."""
    points = np.random.default_rng(seed).normal(size=(len(index), 2))
    frame = pd.DataFrame(np.linalg.norm(points[:, None] - points[None], axis=2), index=index, columns=index)
    return (
        rs.embedding.Embedding(
            pd.DataFrame(points, index=index, columns=["x", "y"]),
            0.05,
            0.1,
            "smacof",
            seed,
            name=name,
            n=99,
            trustworthiness=0.97,
        ),
        frame,
    )


@pytest.fixture
def trained():
    """A map of three models at the steps 0, 1, 2, 10, in no order of steps."""
    index = pd.MultiIndex.from_tuples(
        [(model, "fc", step) for step in (10, 0, 2, 1) for model in ("a", "b", "c")], names=["model", "layer", "step"]
    )
    return map_of(index)[0]


@pytest.fixture(scope="module")
def pair(recorded):
    return recorded.where(model="mnist-cnn-0"), recorded.where(model="mnist-mlp-0")


def test_a_heatmap_says_what_it_shows(pair):
    ax = plots.heatmap(rs.compare("cka", *pair))
    assert (
        isinstance(ax, Axes)
        and ticks(ax.yaxis) == ["conv1", "conv2", "conv3", "fc", "output"]
        and ticks(ax.xaxis) == ["fc1", "fc2", "fc3", "output"]
    )
    assert ax.get_ylabel() == "layer of mnist-cnn-0" and ax.get_xlabel() == "layer of mnist-mlp-0"
    assert ax.get_title() == "cka: mnist-cnn-0 × mnist-mlp-0\nmnist/test[n=200,seed=0], n = 200"
    assert ax.images[0].get_clim() == (0, 1) and len(ax.texts) == 20 and bar(ax) == "dissimilar  ←  cka  →  similar"


def test_bright_is_alike_whichever_way_a_measure_counts(pair):
    for name in ("cka", "procrustes"):
        image = plots.heatmap(rs.compare(name, pair[0])).images[0]
        shown = image.cmap(image.norm(image.get_array()))[..., :3].mean(-1)
        assert shown[0, 0] == shown.max() and shown[0, 4] < shown[0, 1]
    assert bar(plots.heatmap(rs.compare("procrustes", pair[0]))) == "similar  ←  procrustes  →  dissimilar"


def test_masked_cells_are_left_open_and_counted(pair):
    c = rs.compare("mean_cca", *pair, on_undefined="mask")
    ax = plots.heatmap(c)
    assert (
        ax.images[0].get_array().mask.sum() == len(c.undefined) > 0
        and f"{len(c.undefined)} hatched cells undefined" in ax.get_title()
    )
    assert ax.patch.get_hatch() and len(ax.texts) == 20 - len(c.undefined)
    everything = rs.compare("mean_cca", {"a": np.ones((9, 2)), "b": np.ones((9, 2))}, on_undefined="mask")
    assert plots.heatmap(everything).images[0].get_array().mask.all()


def test_a_hundred_layers_stay_readable(rng):
    x = {f"layer{i:03}": rng.normal(size=(20, 5)) for i in range(100)}
    ax = plots.heatmap(rs.compare("cka", x))
    assert 40 <= len(ticks(ax.yaxis)) <= 60 and not ax.texts and max(ax.figure.get_size_inches()) < 14
    assert nothing_is_cut(ax.figure) and keep_clear(ax.get_yticklabels()) and keep_clear(ax.get_xticklabels())


def test_labels_have_the_model_alone_if_that_is_enough(recorded):
    last_hidden = recorded.where(layer=-2)
    assert len({key.layer for key in last_hidden}) > 1
    c = rs.compare("cka", last_hidden)
    ax = plots.heatmap(c)
    names = ["mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0"]
    assert ticks(ax.yaxis) == ticks(ax.xaxis) == names and (ax.get_ylabel(), ax.get_xlabel()) == ("model", "model")
    assert list(rs.spec(rs.embedding.mds(c)).labels) == names
    both = rs.compare("cka", recorded.where(layer=["fc", "fc3", "output"]))
    assert ticks(plots.heatmap(both).yaxis)[:2] == ["mnist-cnn-0/fc", "mnist-cnn-0/output"], (
        "a model with two layers needs them"
    )
    one = rs.compare("cka", recorded.where(model="mnist-cnn-0"))
    assert ticks(plots.heatmap(one).yaxis) == ["conv1", "conv2", "conv3", "fc", "output"]


def test_fifty_models_are_all_named(rng):
    c = rs.compare("cka", {f"model-{i:02}": rng.normal(size=(12, 3)) for i in range(53)})
    ax = plots.heatmap(c)
    assert ticks(ax.yaxis) == ticks(ax.xaxis) == [f"model-{i:02}" for i in range(53)] and nothing_is_cut(ax.figure)
    assert keep_clear(ax.get_yticklabels()) and keep_clear(ax.get_xticklabels())


def test_values_outside_the_range_widen_the_colors(rng):
    x = {i: rng.normal(size=(10, 40)) for i in range(4)}
    c = rs.compare("cka_debiased", x)
    low, high = limits(c)
    assert low <= c.values.min().min() < 0 and high >= 1
    x = rng.normal(size=(10, 40))
    assert limits(rs.compare("rsa", {"a": x, "b": x + 0.1 * rng.normal(size=x.shape)})) == (0.0, 1.0)


def test_a_measure_without_upper_end_is_colored_up_to_its_largest_value(rng):
    x = {label: rng.normal(size=(30, 200)) for label in "ab"}
    c = rs.compare("soft_matching", x)
    assert limits(c) == (0, c.values.to_numpy().max())
    ax = plots.heatmap(c)
    assert [t.get_text() for t in ax.texts][:2] == ["0.0000", f"{c.values.iloc[0, 1]:.4f}"] and 0.005 < c.values.iloc[
        0, 1
    ] < 0.02
    assert limits(rs.compare("soft_matching", {"a": x["a"]})) == (0, 1)
    assert decimals(0, 1) == decimals(-1, 50) == decimals(0, 0) == 2 and decimals(0, 0.003) == 4


def test_an_axes_can_be_given_and_no_text_is_cut(pair):
    figure = Figure(figsize=rs.spec(rs.compare("cka", *pair)).size, layout="constrained")
    ax = figure.add_subplot()
    assert (
        plots.heatmap(rs.compare("cka", *pair), ax=ax, annotate=False, title="mine") is ax
        and ax.get_title() == "mine"
        and not ax.texts
    )
    assert nothing_is_cut(plots.heatmap(rs.compare("cka", *pair)).figure) and nothing_is_cut(
        plots.heatmap(rs.compare("procrustes", pair[1] | pair[0])).figure
    )


def test_several_heatmaps_stand_side_by_side(pair):
    axes = plots.heatmaps([rs.compare(name, *pair) for name in ("cka", "procrustes", "rsa")], columns=2)
    assert len(axes) == 3 and len({ax.figure for ax in axes}) == 1 and len(axes[0].figure.axes) == 6


def test_names_of_heatmaps_are_their_titles(pair):
    one, two = (rs.compare(name, *pair) for name in ("cka", "rsa"))
    axes = plots.heatmaps({"before": one, "after": two})
    assert [ax.get_title().splitlines()[0] for ax in axes] == ["before", "after"]
    assert "cka" in axes[0].get_title() and "rsa" in axes[1].get_title()


def test_tsne_maps_have_a_scale_of_their_own(trained):
    near, far = (replace(trained, kind="tsne", perplexity=3.0, points=trained.points * size) for size in (1, 50))
    small, large = (np.ptp(ax.get_xlim()) for ax in plots.embeddings([near, far]))
    assert large == pytest.approx(50 * small)


def test_a_map_tells_groups_apart_and_how_far_to_trust_it(recorded):
    e = rs.embedding.mds(rs.compare("cka", recorded))
    ax = plots.embedding(
        e,
        color="model",
        shape={"mnist-cnn-0": "cnn", "mnist-cnn-1": "cnn", "mnist-mlp-0": "mlp"},
        path="model",
        labels="layer",
    )
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x1 <= ax.figure.bbox.x1, "the legend is inside the picture"
    assert legend == [
        "model",
        "mnist-cnn-0",
        "mnist-cnn-1",
        "mnist-mlp-0",
        "shape",
        "cnn",
        "mlp",
        "path of a model",
        "first",
        "on the way",
        "last",
    ]
    assert (
        f"stress {e.stress:.2f}" in ax.get_xlabel()
        and "seed 0" in ax.get_xlabel()
        and "by cka" in ax.get_title()
        and "n = 200" in ax.get_title()
    )
    assert sorted(t.get_text() for t in ax.texts if t.get_text()) == sorted(e.points.index.get_level_values("layer")), (
        "every layer is named"
    )
    few = rs.embedding.mds(rs.compare("cka", recorded.where(layer="output")))
    assert [t.get_text() for t in plots.embedding(few).texts] == ["mnist-cnn-0", "mnist-cnn-1", "mnist-mlp-0"]


def test_labels_of_coincident_points_stand_apart(recorded):
    outputs = recorded.where(layer="output")
    first, second, third = outputs
    twins = {
        "first": outputs[first],
        "its twin": outputs[first],
        "and its other twin": outputs[first],
        "second": outputs[second],
        "third": outputs[third],
    }
    ax = plots.embedding(rs.embedding.mds(rs.compare("cka", twins)))
    ax.figure.canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert len(boxes) == 5
    for a, b in itertools.combinations(boxes, 2):
        assert not boxes[a].overlaps(boxes[b]), (a, b)
    frame = ax.get_window_extent()
    assert all(frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes.values())


def test_labels_of_a_crowd_stand_apart_and_off_the_rings(rng):
    points = pd.DataFrame(
        rng.normal(size=(40, 2)) * 0.4,
        index=pd.Index([f"model-{i:02}" for i in range(40)], name="label"),
        columns=["x", "y"],
    )
    crowd = rs.embedding.Embedding(points, 0.1, 0, "smacof", 0, trustworthiness=0.9, placed=("model-03", "model-31"))
    ax = plots.embedding(crowd, labels=True)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 40 and not [1 for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]
    (rings,) = [c for c in ax.collections if c.get_gid() == "ring"]
    for x, y in ax.transData.transform(rings.get_offsets()):
        assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for box in boxes)


def lab(colors, seen_as=((1, 0, 0), (0, 1, 0), (0, 0, 1))):
    """CIE L*a*b* of colors, as eyes see them that turn linear RGB into `seen_as` of it."""
    rgb = np.array([to_rgb(c) for c in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.transpose(seen_as)
    xyz = (
        linear.clip(0, 1)
        @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
        / [0.9505, 1, 1.089]
    )
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.column_stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])])


def test_twelve_colors_are_told_apart_by_all_eyes():
    deficient = {  # severity 1 of each kind [Machado, Oliveira and Fernandes 2009]
        "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
        "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
        "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
    }
    apart = np.min([pdist(lab(CLASS_COLORS, *eyes)) for eyes in ((), *((m,) for m in deficient.values()))], axis=0)
    first = squareform(apart)[:8, :8][np.triu_indices(8, 1)]
    assert len(set(CLASS_COLORS)) == 12 and apart.min() == first.min() > 15, (
        "the four that were added are no harder to tell than the eight of Okabe and Ito"
    )
    assert lab(CLASS_COLORS[8:])[:, 0].min() > 30, "none is taken for black"


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
    for wrong, words in (
        ("modle", "unknown field for color 'modle'. Did you mean 'model'"),
        ({"mnist-cnn-0": 1}, "no value for 'mnist-cnn-1', 'mnist-mlp-0'; it has values for 'mnist-cnn-0'"),
        ([1, 2], "needs one label for each of 3; there are 2"),
    ):
        with pytest.raises(ValueError, match=words):
            plots.embedding(e, color=wrong)
    big = rs.embedding.mds(rs.compare("cka", recorded))
    with pytest.raises(ValueError, match="can distinguish 8 groups; .* has 14"):
        plots.embedding(big, shape=list(range(14)))


def test_samples_are_sorted_by_class(recorded, mnist):
    matrices = {key.layer: rs.measures.first_order(recorded[key]) for key in list(recorded)[3:5]}
    figure = Figure(layout="constrained")
    axes = plots.samples(matrices, targets=mnist.targets, classes=mnist.classes, figure=figure)
    assert [ax.get_title() for ax in axes] == ["fc", "output"] and ticks(axes[0].yaxis) == list("0123456789")
    assert np.allclose(np.diag(axes[0].images[0].get_array()), 1, atol=1e-5)


def test_png_needs_no_pyplot(pair):
    before = plt.get_fignums()
    image = plots.png(rs.spec(rs.compare("cka", *pair)))
    assert image[:4] == b"\x89PNG" and plt.get_fignums() == before


# -- marks


def test_groups_have_a_color_each_and_a_legend(trained):
    drawn = rs.spec(trained, color={"a": "cnn", "b": "mlp", "c": "cnn"}, shape="step")
    assert drawn.colors == (plots.COLORS[0], plots.COLORS[1], plots.COLORS[0]) * 4 and drawn.scale is None
    assert drawn.shapes == tuple(marker for marker in ("D", "o", "^", "s") for _ in range(3)), (
        "numbers stand in order of size: 0, 1, 2, 10"
    )
    (color, groups), (shape, steps) = drawn.legend
    assert (color, [(label, sign) for label, sign, _ in groups]) == (
        "color",
        [("cnn", plots.COLORS[0]), ("mlp", plots.COLORS[1])],
    )
    assert (shape, [(label, marker) for label, _, marker in steps]) == (
        "step",
        [("0", "o"), ("1", "s"), ("2", "^"), ("10", "D")],
    )
    twice = rs.spec(trained, color="model", shape="model").legend
    assert twice == (("model", tuple(zip("abc", plots.COLORS, MARKERS, strict=False))),), (
        "what is shown twice has one entry"
    )


def test_numbers_are_an_amount_and_classes_are_groups():
    e, _ = map_of(pd.Index([f"s{i}" for i in range(12)], name="label"))
    accuracy = rs.spec(e, color=pd.Series(np.linspace(0.1, 0.9, 12), name="accuracy"))
    assert accuracy.legend == () and accuracy.scale[:3] == ("accuracy", 0.1, 0.9)
    assert (
        (accuracy.colors[0], accuracy.colors[-1])
        == (accuracy.scale[3][0], accuracy.scale[3][-1])
        == ("#440154", "#fde725")
    )
    digits = rs.spec(e, color=pd.Series(range(12), name="digit"))
    assert digits.scale is None and len(set(digits.colors)) == 12 == len(digits.legend[0][1])
    epochs = rs.spec(e, color=pd.Series(range(12), name="epoch"))
    assert epochs.scale is not None, "time is an amount, however few its values"
    with pytest.raises(ValueError, match="color can distinguish 12 groups; .* has 13.*fewer values, or numbers"):
        rs.spec(map_of(pd.RangeIndex(13, name="sample"))[0], color=[f"group {i}" for i in range(13)])


def test_a_point_without_a_value_is_grey_and_said_so(trained):
    drawn = rs.spec(trained, color=pd.Series({"a": "x", "b": None, "c": "y"}, name="kind"))
    assert drawn.legend[0][1][-1][0] == "no value" and drawn.colors[1] == drawn.legend[0][1][-1][1] not in plots.COLORS


def test_cards_of_checkpoints_serve_where_they_agree(trained):
    cards = pd.DataFrame(
        {"architecture": ["mlp", "cnn", "mlp"] * 2, "epoch": [0, 0, 0, 1, 1, 1]},
        index=pd.Index(list("abcabc"), name="model"),
    )
    drawn = rs.spec(trained, color=cards["architecture"])
    mlp, cnn = plots.MODEL_COLORS["mlp"], plots.MODEL_COLORS["cnn"]
    assert drawn.colors == (mlp, cnn, mlp) * 4 and drawn.legend[0][0] == "architecture"
    with pytest.raises(ValueError, match="one value a model; 'a' has several in 'epoch': '0', '1'"):
        rs.spec(trained, color=cards["epoch"])


def test_paths_follow_the_steps_and_until_hides_the_later_ones(trained):
    drawn = rs.spec(trained, path="model", until=2)
    steps = trained.points.index.get_level_values("step")
    assert [[steps[i] for i in run] for run in drawn.runs] == [[0, 1, 2, 10]] * 3
    assert drawn.shown == tuple(step <= 2 for step in steps) and rs.spec(trained).runs == ()
    with pytest.raises(ValueError, match="until must be at least the first step, 0; got -1"):
        rs.spec(trained, until=-1)
    with pytest.raises(ValueError, match="no field 'step'; they have 'label'"):
        rs.spec(map_of(pd.Index(list("abc"), name="label"))[0], until=3)


# -- maps


def drawn_points(ax):
    return np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])


def test_a_path_goes_from_an_open_mark_to_a_filled_one(trained):
    ax = plots.embedding(trained, color="model", path="model")
    way = trained.points.xs("a", level="model").sort_index(level="step").to_numpy()
    assert (
        np.allclose(ax.lines[0].get_xydata(), way)
        and len(ax.lines) == 3
        and sum(isinstance(p, FancyArrowPatch) for p in ax.patches) >= 3
    )
    marks = ax.collections[0]
    faces = {
        tuple(np.round(point, 9)): to_hex(face)
        for point, face in zip(marks.get_offsets(), marks.get_facecolors(), strict=True)
    }
    edges = {
        tuple(np.round(point, 9)): to_hex(edge)
        for point, edge in zip(marks.get_offsets(), marks.get_edgecolors(), strict=True)
    }
    first, last = tuple(np.round(way[0], 9)), tuple(np.round(way[-1], 9))
    assert faces[first] == "#ffffff" and edges[first] == faces[last] == plots.COLORS[0].lower()
    assert [t.get_text() for t in ax.texts] == [] and [
        t.get_text() for t in plots.embedding(trained, path="model").texts
    ] == ["a", "b", "c"], "named once"
    assert [t.get_text() for t in plots.embedding(trained, color="model", path="model", labels=True).texts] == [
        "a",
        "b",
        "c",
    ]


def test_the_frame_stays_while_steps_go_by(trained):
    early, all_ = (plots.embedding(trained, path="model", labels=False, until=until) for until in (1, None))
    assert len(drawn_points(early)) == 6 and len(drawn_points(all_)) == 12
    assert early.get_xlim() == all_.get_xlim() and early.get_ylim() == all_.get_ylim()


def test_what_was_placed_has_a_ring_and_lies_on_top():
    _, frame = map_of(pd.Index([f"s{i}" for i in range(9)], name="label"))
    e = rs.embedding.mds(frame.iloc[:7, :7]).add_points(frame.iloc[7:, :7])
    ax = plots.embedding(e)
    *_, ring = ax.collections
    assert (
        e.placed == ("s7", "s8")
        and np.allclose(ring.get_offsets(), e.points.iloc[7:])
        and len(ring.get_facecolors()) == 0
    )
    assert "placed into the map" in legend_of(ax)
    known, new = ax.collections[:2]
    assert (
        len(known.get_offsets()) == 7
        and np.allclose(new.get_offsets(), e.points.iloc[7:])
        and new.get_zorder() > known.get_zorder()
    )
    assert len(plots.embedding(rs.embedding.mds(frame)).collections) == 1


def test_a_scale_and_a_legend_stand_beside_the_map(trained):
    ax = plots.embedding(trained, color=pd.Series(np.linspace(0, 1, 12), name="accuracy"), shape="model")
    (bar_,) = ax.child_axes
    assert nothing_is_cut(ax.figure) and bar_.get_ylabel() == "accuracy" and bar_.get_ylim() == (0, 1)
    frame, legend, below = ax.get_window_extent(), ax.get_legend().get_window_extent(), bar_.get_tightbbox()
    assert legend.x0 >= frame.x1 and below.x0 >= frame.x1 and not legend.overlaps(below)
    alone = plots.embedding(trained, color=pd.Series(np.linspace(0, 1, 12), name="accuracy"))
    assert bar(alone) == "accuracy" and alone.get_legend() is None


def test_labels_are_written_where_they_fit(trained):
    assert len(plots.embedding(trained).texts) == 12 and plots.embedding(trained, labels=False).texts[:] == []
    more, _ = map_of(pd.Index([f"s{i}" for i in range(13)], name="label"))
    ax = plots.embedding(more, labels=True)
    assert len(plots.embedding(more).texts) == 0 and [t.get_text() for t in ax.texts] == [f"s{i}" for i in range(13)]
    ax.figure.canvas.draw()
    assert keep_clear(ax.texts)
    assert [t.get_text() for t in plots.embedding(trained, labels="step").texts][::3] == ["10", "0", "2", "1"]
    with pytest.raises(ValueError, match="unknown field for labels 'stpe'. Did you mean 'step'"):
        plots.embedding(trained, labels="stpe")


def test_every_map_says_how_far_to_trust_it(trained):

    words = {0.05: "faithful", 0.15: "fair", 0.35: "poor: distances mislead"}
    for stress, word in words.items():
        assert (
            rs.spec(replace(trained, stress=stress)).footer
            == f"stress {stress:.2f} ({word}), trustworthiness 0.97, negative eigenvalues 10%, seed 0"
        )
    cloud = replace(trained, kind="tsne", perplexity=3.0, name="cka", trustworthiness=0.8)
    assert (
        rs.spec(cloud).footer
        == "trustworthiness 0.80 (fair), perplexity 3, seed 0; distances between groups mean nothing"
    )
    assert (rs.spec(cloud).title, rs.spec(cloud).subtitle) == (
        "t-SNE (perplexity 3) of 12 points by cka at fc",
        "n = 99",
    )
    ax = plots.embedding(cloud, title="mine")
    assert (
        ax.get_title() == "mine"
        and "distances between groups mean nothing" in " ".join(ax.get_xlabel().split())
        and "near on the map" in ax.get_xlabel()
    )
    wide, high = (rs.spec(replace(trained, points=trained.points * stretch)).size for stretch in ([5, 1], [1, 5]))
    assert wide[0] > high[0] and wide[1] == high[1], "a map takes the shape of its points"


def test_maps_side_by_side_share_legend_colors_and_unit(trained):
    other, _ = map_of(trained.points.index[::-1], seed=1, name="other")
    half, _ = map_of(trained.points.index[:8], seed=2)
    axes = plots.embeddings([trained, other, half], columns=2, color="model", titles=["one", "two", "three"])
    figure = axes[0].figure
    assert len(axes) == 3 == len(figure.axes) and [ax.get_title() for ax in axes] == ["one", "two", "three"]
    assert (
        legend_of(figure) == ["model", "a", "b", "c"]
        and all(ax.get_legend() is None for ax in axes)
        and nothing_is_cut(figure)
    )
    first, second = (
        dict(
            zip(e.points.index.get_level_values("model"), map(to_hex, ax.collections[0].get_facecolors()), strict=True)
        )
        for e, ax in zip((trained, other), axes, strict=False)
    )
    assert first == second and len(set(first.values())) == 3
    across = [np.ptp(ax.get_xlim()) for ax in axes]
    assert across[0] == pytest.approx(across[2]) and across[0] != pytest.approx(across[1]), "one unit a measure"
    with pytest.raises(ValueError, match="one title for each map; got 1 titles and 3 maps"):
        plots.embeddings([trained, other, half], titles=["one"])
    with pytest.raises(ValueError, match="no map to draw"):
        plots.embeddings([])


def test_maps_side_by_side_share_one_scale(trained):
    later, _ = map_of(trained.points.index.set_levels([20, 21, 22, 30], level="step"), seed=1)
    axes = plots.embeddings([trained, later], color={"a": 1, "b": 2, "c": 3})
    assert legend_of(axes[0].figure) == ["color", "1", "2", "3"]
    values = pd.Series(np.arange(12.0) / 10, index=trained.points.index, name="loss")
    axes = plots.embeddings([trained, trained], color=values)
    assert [a.get_ylabel() for a in axes[0].figure.axes if a not in axes] == ["loss"] and axes[0].figure.legends == []
    steps = [rs.spec(e, color="model").colors for e in (trained, later)]
    assert steps[0] == steps[1]


def test_titles_next_to_a_bar_are_inside_the_first_picture(rng):
    maps = [rs.embedding.tsne(rng.normal(size=(60, 5))) for _ in range(2)]
    color = pd.Series(rng.random(60), name="displacement")
    figure = plots.embeddings(maps, titles=["one\n60 samples", "two\n60 samples"], color=color)[0].figure
    figure.canvas.draw()
    for ax in figure.axes[:2]:
        assert ax.title.get_window_extent().y1 <= figure.bbox.height - 5


def test_a_series_by_whole_labels_finds_its_points_in_any_order(trained):
    loss = pd.Series(np.arange(12.0), index=trained.points.index, name="loss")
    mixed = loss.sample(frac=1, random_state=0)
    assert not mixed.index.equals(loss.index) and rs.spec(trained, color=mixed) == rs.spec(trained, color=loss)
    assert rs.spec(trained, color=loss).colors == CLASS_COLORS
    with pytest.raises(ValueError, match="color has no value for .*'a', 'fc'.*10"):
        rs.spec(trained, color=loss.iloc[1:])
    with pytest.raises(ValueError, match="color needs one value a label; .* has several in 'loss'"):
        rs.spec(trained, color=pd.concat([loss, loss + 1]))


# -- tables and lines


def test_a_grid_writes_its_numbers_and_hatches_the_rest():
    frame = pd.DataFrame(
        [[0.25, -0.5, np.nan], [1.0, 0.0, 0.75]],
        index=pd.Index(["first", "second"], name="order"),
        columns=pd.Index(["a long name of a choice", "b", "c"], name="choice"),
    )
    ax = plots.grid(frame, label="Spearman's ρ", title="how far")
    assert (
        sorted(t.get_text() for t in ax.texts) == ["-0.50", "0.00", "0.25", "0.75", "1.00"]
        and ax.patch.get_hatch()
        and ax.images[0].get_array().mask.sum() == 1
    )
    assert ticks(ax.yaxis) == ["first", "second"] and (ax.get_ylabel(), ax.get_xlabel(), ax.get_title(), bar(ax)) == (
        "order",
        "choice",
        "how far",
        "Spearman's ρ",
    )
    assert (
        ax.images[0].get_clim() == (-0.5, 1)
        and plots.grid(frame, low=-1, high=2).images[0].get_clim() == (-1, 2)
        and nothing_is_cut(ax.figure)
    )
    with pytest.raises(ValueError, match="no number to draw in this frame of 1 × 2"):
        plots.grid(pd.DataFrame([[np.nan, np.nan]]))


def test_a_band_holds_its_interval():
    frame = pd.DataFrame(
        {"mean": [0.5, 0.7], "low": [0.4, 0.65], "high": [0.8, 0.9]}, index=pd.Index([50, 100], name="n")
    )
    ax = plots.band({"cka": frame, "rsa": frame - 0.3}, ylabel="ρ", title="samples")
    assert (
        legend_of(ax) == ["cka", "rsa"]
        and ax.get_xlabel() == "n"
        and np.allclose(ax.lines[1].get_ydata(), [0.2, 0.4])
        and nothing_is_cut(ax.figure)
    )
    corners = ax.collections[0].get_paths()[0].vertices
    assert {(50, 0.4), (50, 0.8), (100, 0.65), (100, 0.9)} <= {tuple(np.round(corner, 9)) for corner in corners}
    with pytest.raises(ValueError, match="the frame 'cka' lacks 'low', 'high'"):
        plots.band({"cka": frame[["mean"]]})
    with pytest.raises(ValueError, match="nothing to draw: pass {name"):
        plots.band({})


def test_intervals_stand_in_their_rows():
    index = pd.MultiIndex.from_tuples([("a", "a"), ("a", "b"), ("b", "b")])
    frame = pd.DataFrame({"mean": [0.9, 0.5, 0.8], "low": [0.85, 0.4, 0.7], "high": [0.95, 0.6, 0.9]}, index=index)
    ax = plots.intervals({"mnist": frame, "fashion": frame - 0.1}, xlabel="CKA", line=0.2)
    assert (
        [t.get_text() for t in ax.get_yticklabels()] == ["a", "a, b", "b"]
        and legend_of(ax) == ["mnist", "fashion"]
        and ax.yaxis_inverted()
        and nothing_is_cut(ax.figure)
    )
    first = ax.collections[0].get_segments()
    assert [(round(s[0][0], 9), round(s[1][0], 9)) for s in first] == [(0.85, 0.95), (0.4, 0.6), (0.7, 0.9)]
    assert np.allclose(ax.collections[1].get_offsets()[:, 0], frame["mean"]) and np.allclose(
        ax.lines[-1].get_xdata(), 0.2
    )
    assert plots.intervals({"one": frame}).get_legend() is None, "one needs no name"
    with pytest.raises(ValueError, match="the same rows in all frames; 'b' has"):
        plots.intervals({"a": frame, "b": frame.iloc[:2]})


def test_a_curve_of_many_points_is_a_line_that_does_not_cover_others():
    for points, marked in ((60, True), (61, False)):
        (line,) = plots.curves(pd.DataFrame({"cka": np.linspace(0, 1, points)})).lines
        assert (line.get_marker() != "None") == marked


def test_many_curves_are_told_apart():
    ax = plots.curves(
        pd.DataFrame(
            np.random.default_rng(0).normal(size=(4, 20)),
            index=pd.Index(range(4), name="noise"),
            columns=[f"m{i}" for i in range(20)],
        ),
        title="turned",
    )
    looks = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert (
        len(looks) == 20
        and "#F0E442" not in {color for color, _ in looks}
        and len(legend_of(ax)) == 20
        and ax.get_xlabel() == "noise"
    )


def test_steps_with_names_stand_evenly_below_lines():
    names = pd.Index(["start", "middle", "end"], name="step")
    ax = plots.curves(pd.DataFrame({"a": [1.0, 2, 3]}, index=names))
    assert ticks(ax.xaxis) == list(names) and list(ax.lines[0].get_xdata()) == [0, 1, 2] and ax.get_xlabel() == "step"
    interval = pd.DataFrame({"mean": [1.0, 2, 3], "low": [0.0, 1, 2], "high": [2.0, 3, 4]}, index=names)
    assert ticks(plots.band({"a": interval}).xaxis) == list(names)
    with pytest.raises(
        ValueError,
        match="Lines over names need the same names; got 'start', 'middle', 'end' and 'end', 'middle', 'start'",
    ):
        plots.band({"a": interval, "b": interval.iloc[::-1]})


def test_pictures_side_by_side_need_a_column(trained, pair):
    assert len(plots.embeddings([trained], columns=np.int64(2))) == 1
    for draw in (
        lambda: plots.embeddings([trained], columns=0),
        lambda: plots.heatmaps([rs.compare("cka", *pair)], columns=0),
    ):
        with pytest.raises(ValueError, match="columns must be an integer >= 1; got 0"):
            draw()


def test_a_null_shows_chance_and_what_was_observed():
    test = rs.inference.Test(0.4, 0.005, np.r_[np.linspace(-0.2, 0.2, 198), 0.41], "greater", 199)
    ax = plots.null(test, xlabel="R", title="nearer?")
    (line,) = ax.lines
    assert (
        sum(bar_.get_height() for bar_ in ax.patches) == 199
        and list(line.get_xdata()) == [0.4, 0.4]
        and ax.get_xlabel() == "R"
    )
    assert ax.get_title() == "nearer?\np = 0.005 (greater, 199 permutations)" and [t.get_text() for t in ax.texts] == [
        "observed: 0.40"
    ]
    for statistic in (-3.0, 0.0, 3.0):  # far on either side: the line and its word stay in the picture
        ax = plots.null(rs.inference.Test(statistic, 0.5, test.null, "two-sided", 199))
        assert nothing_is_cut(ax.figure) and ax.get_xlim()[0] < statistic < ax.get_xlim()[1]
        word, frame = ax.texts[0].get_window_extent(), ax.get_window_extent()
        assert frame.x0 <= word.x0 and word.x1 <= frame.x1 and ax.get_title().startswith("p = 0.5")
    with pytest.raises(ValueError, match="from a formula, so there is no null"):
        plots.null(rs.inference.rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]))
    with pytest.raises(TypeError, match="null draws a Test.*got float"):
        plots.null(0.4)


GRID = (*range(11), 15, 20, 50, 100)


@pytest.fixture
def ends():
    """Four runs: similarity to the last step, and a dissimilarity that falls with it, the last run's in another
    order.
    """
    index, rng = pd.Index(GRID, name="step"), np.random.default_rng(0)
    similarity = pd.DataFrame({f"r{k}": np.sort(rng.uniform(size=len(GRID))) for k in range(4)}, index=index)
    similarity.iloc[-1] = 1.0
    dissimilarity = 1 - similarity**2
    dissimilarity["r3"] = rng.uniform(size=len(GRID))
    return similarity, dissimilarity


def test_runs_come_near_their_end_in_three_panels(ends):
    similarity, dissimilarity = ends
    known = rs.trajectories.correlate_runs(similarity, dissimilarity)["statistic"]
    axes = plots.to_final(
        similarity,
        dissimilarity,
        rho=known,
        xlabel="epoch",
        color=pd.Series({"r0": "mlp", "r1": "mlp", "r2": "cnn", "r3": "cnn"}, name="architecture"),
        dash={"r0": 0.1, "r1": 0.2, "r2": 0.1, "r3": 0.2},
    )
    assert [len(ax.lines) for ax in axes] == [4, 4, 4] and np.allclose(
        axes[0].lines[2].get_xydata(), np.c_[GRID, similarity["r2"]]
    )
    assert np.allclose(axes[2].lines[1].get_xydata(), np.c_[similarity["r1"], dissimilarity["r1"]][:-1]), (
        "without the last step, which is 1 and 0 for all"
    )
    looks = [(line.get_color(), line.get_linestyle()) for line in axes[1].lines]
    assert (
        len(set(looks)) == 4 and looks[0][0] == looks[1][0] != looks[2][0] and looks[0][1] == looks[2][1] != looks[1][1]
    )
    rho = stats.spearmanr(similarity["r3"].iloc[:-1], dissimilarity["r3"].iloc[:-1]).statistic
    written = f"{rho:.3f}".replace("-", "\N{MINUS SIGN}")
    legend = legend_of(axes[0].figure)
    assert legend == [
        "architecture",
        "mlp",
        "cnn",
        "dash",
        "0.1",
        "0.2",
        "rank correlation ρ",
        *(f"\N{MINUS SIGN}1.000  r{k}" for k in range(3)),
        f"{written}  r3",
    ]
    assert axes[2].get_title() == f"median ρ \N{MINUS SIGN}1.000 (\N{MINUS SIGN}1.000 to {written})" and nothing_is_cut(
        axes[0].figure
    )
    assert (
        axes[0].get_ylabel() == axes[2].get_xlabel() == "CKA to the final model"
        and axes[1].get_ylabel() == axes[2].get_ylabel() == "JSD (nats) to the final model"
    )


def test_steps_that_grow_sparse_are_even_at_first(ends):
    ax = plots.to_final(*ends)[0]
    assert (
        ax.get_xscale() == "symlog"
        and ax.get_xlabel() == "step (even to 10, then logarithmic)"
        and ticks(ax.xaxis) == ["0", "5", "10", "20", "50", "100"]
    )
    even = plots.to_final(*(frame.iloc[:8] for frame in ends))[1]
    assert even.get_xscale() == "linear" and even.get_xlabel() == "step"


def test_runs_of_other_lengths_and_steps_with_names(ends):
    similarity, dissimilarity = (frame.copy() for frame in ends)
    similarity.loc[GRID[-1], "r1"] = dissimilarity.loc[GRID[-1], "r1"] = np.nan  # it ended sooner
    axes = plots.to_final(similarity, dissimilarity)
    assert [len(line.get_xdata()) for line in axes[2].lines] == [
        len(GRID) - 1,
        len(GRID) - 2,
        len(GRID) - 1,
        len(GRID) - 1,
    ], "each without its own last step"
    names = pd.Index(["start", "0", "middle", "last"], name="step")
    named = plots.to_final(*(frame.iloc[:4].set_axis(names) for frame in ends))
    assert ticks(named[0].xaxis) == list(names) and named[1].get_xlabel() == "step"


def test_runs_without_a_choice_all_look_different(ends):
    similarity, dissimilarity = (pd.concat([frame.add_suffix(end) for end in "abc"], axis=1) for frame in ends)
    axes = plots.to_final(similarity, dissimilarity)
    assert (
        len({(line.get_color(), line.get_linestyle()) for line in axes[0].lines}) == 12
        and len(legend_of(axes[0].figure)) == 13
        and nothing_is_cut(axes[0].figure)
    )
    assert axes[2].get_title() == "", "no rank correlation was given"


def test_panels_of_runs_teach_what_they_need(ends):
    similarity, dissimilarity = ends
    with pytest.raises(ValueError, match="same runs.*their runs are 'r0'.*and 'r1'"):
        plots.to_final(similarity, dissimilarity.drop(columns="r0"))
    with pytest.raises(ValueError, match="their steps are '?0.*and '?1"):
        plots.to_final(similarity, dissimilarity.iloc[1:])
    with pytest.raises(ValueError, match="color has no value for the run 'r3'; it has values for 'r0'"):
        plots.to_final(similarity, dissimilarity, color={"r0": 1, "r1": 1, "r2": 1})
    with pytest.raises(ValueError, match="dash can distinguish 5 groups of runs; got 6"):
        plots.to_final(
            *(pd.concat([frame.iloc[:, :3].add_suffix(end) for end in "ab"], axis=1) for frame in ends),
            dash={f"r{k}{end}": f"{k}{end}" for k in range(3) for end in "ab"},
        )
    with pytest.raises(ValueError, match="one value a run; 'r0' has several"):
        plots.to_final(
            similarity,
            dissimilarity,
            color=pd.Series([1, 2, 1, 1, 1], index=["r0", "r0", "r1", "r2", "r3"], name="rate"),
        )


def test_answers_turn_dissimilarities_so_that_bright_is_alike():
    frame = pd.DataFrame(
        [[1.0, 0.5, np.nan], [0.0, 2.0, 4.0]], index=["cka", "procrustes"], columns=["identical", "noise", "unrelated"]
    )
    ax = plots.answers(frame, title="the answers")
    assert np.allclose(ax.images[0].get_array().filled(-1), [[1, 0.5, -1], [1, 0.5, 0]]) and ticks(ax.yaxis) == [
        "cka ↑",
        "procrustes ↓",
    ]
    assert len(ax.texts) == 5 and ax.get_title() == "the answers" and nothing_is_cut(ax.figure)


@pytest.mark.parametrize("steps", [["start", "middle", "late", "end"], ["0", "2", "10", "100"], [0, 2, 10, "last"]])
def test_a_path_goes_through_training_whatever_its_steps_are_called(steps, rng):
    keys = [rs.Key("m", "fc", step=step) for step in steps] + [rs.Key("other", "fc", step=steps[0])]
    points = pd.DataFrame(
        rng.normal(size=(5, 2)), pd.MultiIndex.from_tuples(map(tuple, keys), names=rs.Key._fields), ["x", "y"]
    )
    e = rs.embedding.Embedding(points, 0.1, 0.0, "smacof", 0, trustworthiness=0.9)
    assert rs.spec(e, path="model").runs == ((0, 1, 2, 3), (4,))
    with pytest.raises(
        ValueError, match="until is the last step to show, and both it and the steps must be numbers; got 2"
    ):
        rs.spec(e, path="model", until=2)


def test_a_ring_is_around_the_one_that_was_placed_though_its_twin_has_its_label(rng):
    x = rng.normal(size=(6, 2))
    labels = pd.Index(list("abcdef"), name="label")
    d = pd.DataFrame(np.linalg.norm(x[:, None] - x[None], axis=2), labels, labels)
    ax = plots.embedding(rs.embedding.mds(d).add_points(d.iloc[:1]))
    (ring,) = [c for c in ax.collections if c.get_gid() == "ring"]
    assert len(ring.get_offsets()) == 1 and "misfit up to 0.00" in ax.get_xlabel().replace("\n", " ")


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda x: plots.band(x), "Intervals are drawn from {name: DataFrame .*; got ndarray"),
        (lambda x: plots.band({"a": x}), "'a' takes a DataFrame, with the columns mean, low and high; got ndarray"),
        (lambda x: plots.intervals(x), "Intervals are drawn from .*got ndarray"),
        (lambda x: plots.curves(x), "curves takes a DataFrame.*got ndarray"),
        (lambda x: plots.grid(x), "grid takes a DataFrame.*got ndarray"),
        (lambda x: plots.scatter(x, "a", "b"), "scatter takes a DataFrame.*got ndarray"),
        (lambda x: plots.answers(x), "answers takes a DataFrame.*got ndarray"),
        (lambda x: plots.to_final(x, x), "to_final takes a DataFrame.*got ndarray"),
        (lambda x: plots.samples(x), "samples draws similarities of samples by name, .*got ndarray"),
        (lambda x: plots.embeddings([x]), "embeddings draws a list of Embeddings .*got ndarray"),
        (lambda x: plots.heatmap(rs.probes.linear_probe(x, np.arange(60) % 3)), r"plots.confusion\(probe\)"),
    ],
)
def test_a_picture_names_what_it_takes(draw, words, rng):
    with pytest.raises(TypeError, match=words):
        draw(rng.normal(size=(60, 3)))


def test_one_comparison_and_none_are_no_list(rng):
    with pytest.raises(ValueError, match="a single one with plots.heatmap"):
        plots.heatmaps(rs.compare("cka", {"a": rng.normal(size=(20, 3))}))
    with pytest.raises(ValueError, match="this one is empty"):
        plots.heatmaps([])


def test_a_list_of_heatmaps_may_come_from_anything_that_gives_them(rng):
    x = rng.normal(size=(20, 3))
    tables = {name: rs.compare(name, {"a": x, "b": x**2}) for name in ("cka", "procrustes")}
    for some in (tables, tables.values(), (tables[name] for name in tables)):
        assert len(rs.plots.heatmaps(some)) == 2
    with pytest.raises(ValueError, match="at least one comparison; this one is empty"):
        rs.plots.heatmaps(iter(()))
    with pytest.raises(TypeError, match="heatmaps draws a list of comparisons; got int"):
        rs.plots.heatmaps(3)


@pytest.mark.parametrize(
    ("matrices", "error", "sentence"),
    [
        ({}, ValueError, "at least one matrix, .*; this mapping is empty"),
        ([np.eye(3)], TypeError, r"by name, {'name': rs.measures.first_order\(x\)}; got list"),
        ({"a": np.ones((5, 3))}, ValueError, r"'a' has shape \(5, 3\). For a representation pass rs.measures"),
        ({"a": np.eye(3), "b": np.eye(4)}, ValueError, "same samples; 'a' has 3 and 'b' 4"),
    ],
)
def test_pictures_of_samples_name_what_came(matrices, error, sentence):
    with pytest.raises(error, match=sentence):
        rs.plots.samples(matrices)
