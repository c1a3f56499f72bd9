"""The explorer of dataset bias: its controls, what a click shows, its code, and its messages for bad input."""

import re
import threading
import time

import numpy as np
import pytest

import repsim_nb as rs
from repsim_nb.display import plots
from repsim_nb.display.explorers import dataset_bias as explore_bias
from repsim_nb.results.probes import dataset_bias

NETWORKS = ["mnist-cnn-0", "fashion-cnn-0", "untrained-cnn-0"]


@pytest.fixture(scope="module")
def recorded():
    sets = [rs.load_dataset(name, n=60) for name in ("mnist", "fashion")]
    first, second = (
        rs.record([f"zoo:{name}" for name in NETWORKS], data, ["conv3", "fc", "output"], progress=False)
        for data in sets
    )
    return first | second


@pytest.fixture
def explorer(recorded):
    made = explore_bias(recorded, layer="conv3")
    yield made.wait()
    made.stop()


def test_it_shows_the_confusion_of_all_sets(explorer, recorded):
    expected = dataset_bias(recorded.where(layer="conv3"), n=300)
    np.testing.assert_array_equal(explorer.result.confusion, expected.confusion)
    view = explorer.view
    assert (
        view.row_labels == list(expected.labels())
        and view.row_labels[0] == "mnist_mnist-cnn-0"
        and np.allclose(view.values, expected.confusion)
    )
    assert view.row_breaks == view.column_breaks == [3] and "true set" in view.row_title
    assert (
        f"{expected.balanced_accuracy:.3f}" in view.title
        and "p = 0.001" in view.title
        and "conv3" in view.subtitle
        and "n = 60 a set" in view.subtitle
    )
    assert explorer.png().startswith(b"\x89PNG")


def test_rows_are_grouped_by_model_without_asking_the_probe_again(explorer, monkeypatch):
    monkeypatch.setattr(rs.probes, "dataset_bias", None)
    before = explorer.result
    explorer.controls["group"].value = "model"
    explorer.wait()
    assert explorer.view.row_labels[:2] == [
        "mnist_mnist-cnn-0",
        "fashion_mnist-cnn-0",
    ] and explorer.view.row_breaks == [2, 4]
    assert explorer.result.balanced_accuracy == before.balanced_accuracy


def test_lines_stand_where_rows_are_grouped_and_the_picture_has_the_same_rows():
    rng = np.random.default_rng(0)
    sets = {
        rs.Key(*label): rng.normal(size=(40, 5)) + k
        for k, label in enumerate([("a", "fc", "u"), ("a", "fc", "v"), ("b", "fc", "v")])
    }
    explorer = explore_bias(sets).wait()
    assert explorer.view.row_labels == ["u_a", "v_a", "v_b"] and explorer.view.row_breaks == [1]
    ax = rs.plots.confusion(explorer.result)
    assert [t.get_text() for t in ax.get_yticklabels()] == explorer.view.row_labels
    assert sorted(
        {
            float(line.get_ydata()[0])
            for line in ax.lines
            if line.get_ydata()[0] == line.get_ydata()[-1] and len(set(line.get_xdata())) > 1
        }
    ) == [0.5]


def test_plain_labels_show_what_keys_are():
    with pytest.raises(ValueError, match=r"got 'model'.*rs.Key\(model, layer, dataset\)"):
        explore_bias({"a": np.zeros((9, 2)), "b": np.zeros((9, 2))})


def test_every_control_makes_another_picture(explorer):
    explorer.controls["scaling"].value = "per_set"
    assert explorer.wait().result.scaling == "per_set" and "each set scaled by itself" in explorer.view.subtitle
    explorer.controls["probe"].value = "rbf"
    assert explorer.wait().result.probe == "rbf"
    explorer.controls["layer"].value = "fc"
    assert set(explorer.wait().result.confusion.index.get_level_values("layer")) == {"fc"}
    explorer.controls["models"].value = ("mnist-cnn-0", "untrained-cnn-0")
    assert len(explorer.wait().result.confusion) == 4
    explorer.controls["datasets"].value = ("fashion/test[n=60,seed=0]",)
    assert explorer.wait().result.labels() == ("mnist-cnn-0", "untrained-cnn-0") and explorer.view.row_breaks == []


def test_nothing_chosen_is_a_sentence_where_the_picture_would_be(explorer):
    explorer.controls["models"].value = ()
    with pytest.raises(ValueError, match="Choose at least one model"):
        explorer.wait()
    assert "Choose at least one model" in explorer.message and explorer.png() is None
    explorer.controls["models"].value = ("mnist-cnn-0",)
    assert len(explorer.wait().result.confusion) == 2
    explorer.controls["datasets"].value = explorer.controls["datasets"].options[:1]
    with pytest.raises(ValueError, match="needs two or more sets"):
        explorer.wait()


def test_a_click_shows_the_images_that_were_confused(explorer):
    shown = explorer.result
    i, j = np.argwhere((shown.confusion.to_numpy() > 0) & ~np.eye(len(shown.confusion), dtype=bool))[0]
    labels, ids = shown.labels(), shown.confused_samples(i, j)
    explorer.choose(labels[i], labels[j])
    explorer.wait()
    assert f"{len(ids)} of 18 held-out images" in explorer.detail and labels[j] in explorer.detail
    data = rs.load_dataset(shown.confusion.index[i][2].split("/")[0], n=60)
    assert data.classes[data.targets[ids[0]]] in explorer.detail
    assert plots.png(explorer.detail_spec).startswith(b"\x89PNG")
    explorer.choose(labels[0], labels[0])
    assert "predicted correctly" in explorer.wait().detail
    nothing = np.argwhere(shown.confusion.to_numpy() == 0)[0]
    explorer.choose(*(labels[k] for k in nothing))
    assert "none of 18 held-out images" in explorer.wait().detail and explorer.detail_spec is None
    with pytest.raises(ValueError, match="unknown set 'mnist_cnn'"):
        explorer.choose("mnist_cnn", labels[0])


def test_a_new_picture_keeps_the_cell_if_it_is_there(explorer):
    labels = explorer.result.labels()
    explorer.choose(labels[0], labels[0])
    explorer.wait()
    explorer.controls["group"].value = "model"
    explorer.wait()
    assert "predicted correctly" in explorer.detail and labels[0] in explorer.detail
    at = explorer.view.chosen[0]
    assert explorer.view.row_labels[at] == labels[0] and explorer.selected["row"].tolist() == [labels[0]]
    explorer.controls["models"].value = tuple(m for m in explorer.controls["models"].options if m not in labels[0])
    explorer.wait()
    assert "Click a cell" in explorer.detail and explorer.detail_spec is None and len(explorer.selected) == 0


def test_images_of_ones_own_and_texts():
    rng = np.random.default_rng(0)
    sets = {
        rs.Key(model, "fc", data): rng.normal(size=(40, 6)) + shift
        for data in ("photos", "notes")
        for model, shift in (("a", 0), ("b", 0.5))
    }
    photos = rs.Dataset("photos", rng.integers(0, 255, (40, 9, 9, 3), dtype=np.uint8))
    notes = rs.Dataset("notes", [f"sentence {i} <b>" for i in range(40)])
    explorer = explore_bias(sets, datasets=[photos, notes]).wait()
    explorer.choose("photos_a", "photos_a")
    assert plots.png(explorer.wait().detail_spec).startswith(b"\x89PNG") and "predicted correctly" in explorer.detail
    explorer.choose("notes_a", "notes_a")
    assert "sentence" in explorer.wait().detail and "&lt;b&gt;" in explorer.detail
    bare = explore_bias(sets).wait()
    bare.choose("photos_a", "photos_a")
    assert "pass datasets={'photos': its Dataset}" in bare.wait().detail.replace("&#x27;", "'")
    with pytest.raises(ValueError, match="'photos' has 39 images for 40 rows"):
        explore_bias(sets, datasets=[photos.take(range(39), "photos")])
    with pytest.raises(ValueError, match="there are no activations on 'drawings', only on"):
        explore_bias(sets, datasets={"drawings": photos})
    with pytest.raises(TypeError, match="datasets must be"):
        explore_bias(sets, datasets=["photos"])


def test_the_code_makes_the_same_picture(explorer, recorded, monkeypatch):
    explorer.controls["models"].value = ("mnist-cnn-0", "untrained-cnn-0")
    explorer.controls["scaling"].value = "per_set"
    explorer.controls["group"].value = "model"
    explorer.wait()
    seen = []
    monkeypatch.setattr(rs.plots, "confusion", lambda result, by: seen.append((result, by)))
    names = {"activations": recorded}
    exec(re.sub(r"^#.*\n", "", explorer.code(), flags=re.MULTILINE), names)
    ((result, by),) = seen
    np.testing.assert_array_equal(result.order_by(by).confusion, explorer.result.confusion)


def test_stop_gives_the_old_picture_back(explorer, monkeypatch):
    from repsim_nb import probes

    labels, begun = explorer.view.row_labels, threading.Event()

    def slow(*sets, progress, **options):
        begun.set()
        for k in range(500):
            progress(k, 500)
            time.sleep(0.02)

    monkeypatch.setattr(probes, "dataset_bias", slow)
    explorer.controls["layer"].value = "fc"
    assert begun.wait(20)
    explorer.stop()
    explorer.wait(5)
    assert explorer.controls["layer"].value == "conv3" and explorer.view.row_labels == labels


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layer": "conv9"}, "unknown layer 'conv9'.*'conv3'"),
        ({"scaling": "per-set"}, "Did you mean 'per_set'"),
        ({"n": 3}, "n must be an integer >= 4, or None for all images; got 3"),
        ({"seed": "a"}, "seed must be an integer >= 0; got 'a'"),
        ({"probe": "poly"}, "unknown probe 'poly'"),
        ({"group": "net"}, "unknown group 'net'.*'dataset', 'model'"),
    ],
)
def test_unknown_choices_are_told_before_anything_is_drawn(recorded, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        explore_bias(recorded, **options)


def test_one_set_several_steps_and_no_shared_layer_are_told(recorded):
    with pytest.raises(ValueError, match="got 'mnist-cnn-0 on mnist/test"):
        explore_bias(recorded.where(model="mnist-cnn-0", dataset="mnist*"))
    key = next(iter(recorded))
    with pytest.raises(ValueError, match=r"have several steps: '0', '5'. Choose one: x.where\(step=5\)"):
        explore_bias({**recorded, key._replace(step=5): recorded[key]})
    with pytest.raises(ValueError, match="No layer was recorded for all of these models"):
        explore_bias({rs.Key("a", "one", "d"): np.zeros((9, 2)), rs.Key("b", "two", "d"): np.zeros((9, 2))})
    with pytest.raises(TypeError, match="takes activations by key"):
        explore_bias([1])


def test_a_part_of_a_shipped_set_is_not_taken_for_the_whole(rng):
    """What bears a shipped set's name and has another number of rows is something else: there are no images for it, and
    no error.
    """
    x = {rs.Key(model, "h", "mnist/test"): rng.normal(size=(40, 3)) for model in "ab"}
    e = explore_bias(x).wait()
    e.choose(*2 * e.result.labels()[:1])
    assert "To see them pass datasets=" in e.wait().detail and e.errors == []
    part = rs.load_dataset("mnist").take(range(40), "mnist/test")
    own = explore_bias(x, datasets=part).wait()
    own.choose(*2 * own.result.labels()[:1])
    assert plots.png(own.wait().detail_spec)[:4] == b"\x89PNG"
    with pytest.raises(ValueError, match="'mnist/test' has 1000 images for 40 rows"):
        explore_bias(x, datasets=[rs.load_dataset("mnist")])


def test_it_opens_at_a_layer_that_one_probe_can_read(rng):
    """Models may differ in width at their last layer."""
    widths = {("narrow", "early"): 8, ("wide", "early"): 8, ("narrow", "late"): 4, ("wide", "late"): 6}
    made = explore_bias(
        {rs.Key(model, layer, "mine"): rng.normal(size=(40, p)) for (model, layer), p in widths.items()}
    )
    made.wait()
    assert made.controls["layer"].value == "early" and not made.errors
    made.stop()
