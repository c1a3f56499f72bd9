"""The explorer of samples by its state: maps, list, chosen sample, classes; and the samples of a clicked pair."""

import html
import re

import numpy as np
import pytest
from explorer_state import name_things, texts

import repsim_nb as rs
from repsim_nb.display.explorers import located_differences as located_module
from repsim_nb.display.explorers.located_differences import Options, locate
from repsim_nb.display.reports.live_pictures import MIME, read_data
from repsim_nb.display.specs import MapsSpec
from repsim_nb.support.errors import UndefinedError


@pytest.fixture
def exploring(recorded, mnist):
    return rs.explorers.samples(recorded, mnist, a="mnist-cnn-0/fc", b="mnist-mlp-0/fc3").wait()


def test_it_shows_both_layers_and_the_samples_that_differ_most(exploring, recorded, mnist):
    e, panel = exploring, exploring.panel
    expected = rs.inference.locate_differences(
        recorded["mnist-cnn-0/fc"], recorded["mnist-mlp-0/fc3"], targets=mnist.targets, classes=mnist.classes
    )
    np.testing.assert_allclose(e.result.table["displacement"], expected.table["displacement"])
    assert isinstance(e.spec, MapsSpec) and [one.title for one in e.spec.maps] == ["mnist-cnn-0/fc", "mnist-mlp-0/fc3"]
    assert e.spec.from_json(e.spec.to_json()) == e.spec and e.png()[:4] == b"\x89PNG" and not e.errors
    assert [view.points for view in panel.maps.views] == [[list(p) for p in one.points] for one in e.spec.maps]
    order = expected.order().tolist()
    assert panel.gallery.samples == order[:60] and panel.listed == order
    assert list(e.listed.index) == list(expected.top(200).index)
    assert panel.gallery.sheet.startswith("data:image/png;base64,") and panel.gallery.texts == []
    assert panel.gallery.chosen == [order[0]] == panel.maps.views[1].chosen, "the first is chosen"
    for side, links in zip("xy", (view.links for view in panel.maps.views), strict=True):
        near = expected.neighbours(expected.table.index[7])
        near = near[near[f"weight_{side}"] > 0].sort_values(f"rank_{side}")
        assert links[7] == expected.table.index.get_indexer(near.index).tolist()


def test_the_second_map_is_rotated_towards_the_first(exploring):
    one, other = (np.array(view.points) for view in exploring.panel.maps.views)
    distance = np.linalg.norm(one - other)
    for turned in (other * [-1, 1], other * [1, -1], other @ [[0, -1], [1, 0]], -other):
        assert np.linalg.norm(one - turned) > distance
    centred = np.asarray(exploring._xs["mnist-cnn-0/fc"], float)
    centred = centred - centred.mean(axis=0)
    kept = np.linalg.svd(centred, compute_uv=False)[:2] ** 2
    found = np.sort((one**2).sum(axis=0))[::-1]
    np.testing.assert_allclose(found / found.sum(), kept / kept.sum(), rtol=1e-6)


def test_a_click_in_a_map_or_in_the_list_shows_the_sample_and_its_neighbours(exploring):
    panel, table = exploring.panel, exploring.result.table
    for view, row in ((panel.maps.views[1], 9), (panel.gallery, panel.gallery.samples[3])):
        view.press([row])
        assert all(one.chosen == [row] for one in (*panel.maps.views, panel.gallery))
        assert html.escape(f"({table.index[row]})") in panel.detail
        near = exploring.result.neighbours(table.index[row])
        assert panel.detail.count("<img") == 1 + 20, "itself, and ten on each side"
        for change, color in located_module.CHANGE_COLORS.items():
            many = (near["change"] == change).sum() * (2 if change == "kept" else 1)
            assert panel.detail.count(f"border:3px solid {color}") == many
    exploring.choose(table.index[4])
    assert panel.gallery.chosen == [4]
    with pytest.raises(ValueError, match="unknown sample"):
        exploring.choose("nobody")


def test_a_line_around_points_lists_only_these_until_it_is_taken_back(exploring):
    panel = exploring.panel
    panel.maps.mark("selected", [5, 6, 7])
    assert sorted(panel.listed) == [5, 6, 7] and panel.maps.views[1].selected == [5, 6, 7]
    assert panel.gallery.title.startswith("3 of 200 samples (selected)")
    assert set(exploring.selected.index) == set(exploring.result.table.index[[5, 6, 7, panel.gallery.chosen[0]]])
    panel.maps.mark("selected", [])
    assert len(panel.listed) == 200 and panel.maps.views[1].selected == []


def test_what_the_browser_links_is_not_sent_back_where_it_would_undo_the_next_click(exploring):
    panel = exploring.panel
    panel.choose(1)
    panel.maps.mark("selected", [])
    for view, row in ((panel.maps.views[1], 9), (panel.gallery, panel.gallery.samples[3])):
        panel.choose(1)
        view.chosen, view.seen = [row], view.picture  # what a click in a browser sends
        view.presses += 1
        assert html.escape(f"({exploring.result.table.index[row]})") in panel.detail
        assert all(one.chosen == [1] for one in (*panel.maps.views, panel.gallery) if one is not view)
    panel.maps.views[0].selected = [5, 6]
    assert sorted(panel.listed) == [5, 6] and panel.maps.views[1].selected == []
    panel.maps.views[0].selected = []


def test_a_cell_of_the_classes_lists_its_samples(exploring):
    panel, found = exploring.panel, exploring.result
    panel.part.value = "classes"
    assert panel.gallery.layout.display == "none" and panel.matrix.title.startswith("neighbours by class")
    np.testing.assert_allclose(np.array(panel.matrix.values), found.confusion().difference)
    classes = list(found.table["class"].cat.categories)
    panel.matrix.press([3, 8])
    changed = found.pairs[found.pairs["change"] != "kept"]
    own = found.table["class"]
    expected = {
        sample
        for sample, other in zip(changed["sample"], changed["neighbour"], strict=True)
        if own[sample] == classes[3] and own[other] == classes[8]
    }
    assert set(exploring.listed.index) == expected and panel.part.value == "samples"
    assert sorted(panel.maps.views[0].selected) == sorted(panel.listed)
    assert panel.gallery.layout.display != "none" and "3 with changed neighbours of class 8" in panel.gallery.title


def test_controls_draw_again(exploring):
    panel, before = exploring.panel, exploring.result
    panel.sort.value = "influence"
    assert list(exploring.listed.index) == list(before.top(200, by="influence").index)
    panel.gallery.press([panel.listed[2]])
    exploring.controls["color"].value = "displacement"
    assert exploring.wait().spec.maps[0].scale[0] == "displacement" and exploring.result is before
    assert panel.gallery.chosen == [panel.listed[2]], "the same samples stay chosen"
    exploring.controls["b"].value = "mnist-cnn-0/fc"
    exploring.wait()
    assert exploring.result.table["kept"].mean() == 10 and panel.gallery.title.startswith("200 samples")
    exploring.controls["kind"].value = "tsne"
    assert "trustworthiness" in exploring.wait().spec.maps[0].footer


def test_layers_that_fit_are_selected_first(recorded, mnist):
    assert rs.explorers.samples(recorded, mnist).wait().values() == {
        "a": "mnist-cnn-0/fc",
        "b": "mnist-cnn-1/fc",
        "kind": "pca",
        "color": "class",
    }
    alone = rs.explorers.samples(recorded.where(model="mnist-mlp-0")).wait()
    assert alone.values() == {"a": "mnist-mlp-0/fc3", "b": "mnist-mlp-0/fc2", "kind": "pca", "color": "displacement"}
    assert alone.panel.part.layout.display == "none" and alone.panel.gallery.sheet == "", "no classes, no images"
    assert alone.png()[:4] == b"\x89PNG"


def test_sentences_are_listed(rng):
    texts_of = [f"sentence <b> number {i} " + "word " * 60 for i in range(30)]
    data = rs.Dataset("texts", texts_of, np.arange(30) % 2, classes=("even", "odd"))
    x = rs.from_arrays({f"{name}/fc": rng.normal(size=(30, 4)) for name in "ab"})
    e = rs.explorers.samples(x, data, k=3).wait()
    assert e.panel.gallery.sheet == "" and len(e.panel.gallery.texts) == 30
    row = e.panel.gallery.samples[0]
    assert f"sentence <b> number {row} word" in e.panel.gallery.texts[0] and len(e.panel.gallery.texts[0]) < 180
    assert "sentence &lt;b&gt; number" in e.panel.detail and "<b> number" not in e.panel.detail
    assert e.panel.detail.count("<li>") == 6


def test_many_samples_are_thinned_and_keep_their_rows(rng):
    x, data = rng.normal(size=(100, 4)), rs.Dataset("d", np.arange(6400, dtype=np.uint8).reshape(100, 8, 8))
    found = locate(x, x + rng.normal(size=x.shape), ("a", "b"), data, Options(most=40), lambda *_: None)
    rows = found.found.table.index.to_numpy()
    assert len(rows) == 40 and rows[0] == 0 and rows[-1] == 99 and (np.diff(rows) >= 2).all()
    np.testing.assert_array_equal(found.images, data.inputs[rows])
    links = found.links[0][0]
    nearest = np.argsort(-(x[rows] @ x[0]) / np.linalg.norm(x[rows], axis=1))
    assert links[0] == nearest[nearest != 0][0]


def test_its_code_runs_and_gives_the_same(exploring, recorded, mnist, monkeypatch):
    name_things(monkeypatch, {"x": recorded, "images": mnist})
    names = {"x": recorded, "images": mnist}
    code = exploring.code()
    exec(code, names)
    np.testing.assert_allclose(names["found"].table["displacement"], exploring.result.table["displacement"])
    assert "rs.plots.neighbours(images, found);" in code and "targets=images.targets" in code
    other = rs.explorers.samples(recorded, k=4, metric="euclidean", measure="procrustes").wait()
    assert "k=4, metric='euclidean', measure='procrustes'" in other.code()


def test_an_error_hides_the_list_and_the_next_picture_shows_it(recorded, mnist):
    mixed = recorded | rs.from_arrays({"flat/fc": np.ones((200, 3))})
    e = rs.explorers.samples(mixed, mnist, a="mnist-cnn-0/fc", b="flat/fc")
    with pytest.raises(rs.measures.UndefinedError, match="constant"):
        e.wait()
    assert e.panel.below.layout.display == "none" and "constant" in e.message
    e.controls["b"].value = "mnist-cnn-1/fc"
    e.wait()
    assert e.panel.below.layout.display == "" and e.panel.gallery.samples


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"a": "nothing/fc"}, ValueError, "unknown layer"),
        ({"kind": "umap"}, ValueError, "unknown kind of map"),
        ({"color": "red"}, ValueError, "unknown color"),
        ({"metric": "l1"}, ValueError, "metric"),
        ({"n": 5}, ValueError, "integer >= 12"),
        ({"dataset": 5}, TypeError, "Dataset or the name of one; got int"),
        ({"dataset": rs.Dataset("d", np.zeros((7, 2)))}, ValueError, "None of the activations was recorded"),
    ],
)
def test_what_cannot_be_explored_is_an_error(recorded, options, error, says):
    with pytest.raises(error, match=says):
        rs.explorers.samples(recorded, **options)


def test_messages_name_the_layer_and_the_samples(rng, mnist):
    x = rs.from_arrays({"a/fc": rng.normal(size=(40, 3)), "b/fc": np.ones((40, 3))})
    with pytest.raises(UndefinedError, match="locate_differences, of 'b/fc': it is constant"):
        rs.explorers.samples(x).wait()
    with pytest.raises(ValueError, match=r"\(200 samples\); there are arrays of 40 samples"):
        rs.explorers.samples(x, mnist)


def test_no_activations_are_an_error():
    with pytest.raises(ValueError, match="is empty. Record something first"):
        rs.explorers.samples(rs.store.Activations({}))


def test_it_is_saved_with_its_picture(exploring):
    bundle = exploring.bundle()
    assert bundle["text/plain"].startswith("Explorer: SampleDifferences(mnist-cnn-0/fc × mnist-mlp-0/fc3")
    assert "image/png" in bundle


# -- the detail of a pair of layers


def test_a_clicked_cell_shows_the_samples_that_differ(recorded, mnist):
    e = rs.explorers.comparison(recorded, dataset=mnist, a="mnist-cnn-0", b="mnist-cnn-1").wait()
    assert e.samples.layout.display == "none"
    e.choose("fc", "fc")
    e.wait()
    found = e.samples.located.found
    assert e.samples.layout.display == "" and found.names == ("mnist-cnn-0 / fc", "mnist-cnn-1 / fc")
    np.testing.assert_allclose(
        found.table["displacement"],
        rs.inference.locate_differences(
            *(recorded.where(model=f"mnist-cnn-{k}")["fc"] for k in (0, 1)), groups=range(200)
        ).table["displacement"],
    )
    assert e.samples.gallery.sheet and "class" in found.table
    e.samples.gallery.press([e.samples.gallery.samples[1]])
    assert e.samples.detail.count("<img") == 21
    e.choose("conv1", "fc")
    assert e.wait() is e and e.samples.located.found.names == ("mnist-cnn-0 / conv1", "mnist-cnn-1 / fc")
    e.controls["measure"].value = "cka"
    e.wait()
    assert e.samples.layout.display == "" and e.samples.located.found.names[0] == "mnist-cnn-0 / conv1", "it stays"
    e.controls["measure"].value = "jsd"
    e.wait()
    assert e.samples.layout.display == "none", "another table, without that pair"
    assert not e.errors


def test_a_report_has_the_list_and_the_neighbours(exploring):
    ((_, panels),), _, _ = read_data(exploring.bundle()[MIME])
    *maps, gallery = panels
    found = exploring.result
    assert [type(one).__name__ for one in panels] == ["MapSpec", "MapSpec", "GallerySpec"]
    assert gallery.samples == tuple(found.order()[:60].tolist()) and gallery.sheet.startswith("data:image/png")
    assert len(gallery.labels) == len(gallery.values) == len(gallery.notes) == 60 and gallery.texts == ()
    for one, view in zip(maps, exploring.panel.maps.views, strict=True):
        assert [list(links) for links in one.links] == view.links and len(view.links) == found.n
    assert exploring.spec.gallery == gallery and exploring.png()[:4] == b"\x89PNG"


def test_a_list_that_is_too_large_is_left_out(exploring, monkeypatch):
    monkeypatch.setattr(located_module, "_MOST_SHEET", 10)
    located = exploring.panel.located
    del located.gallery
    one, other = located.maps().maps
    assert located.maps().gallery is None and one.links
    assert one.footer.endswith("\nreports have no list, since its images are too large")
    monkeypatch.setattr(located_module, "_LINKED", 10)
    one, other = located.maps().maps
    assert one.links == () == other.links and one.footer.count("\n") == other.footer.count("\n") == 1
    assert one.footer.endswith("\nreports have no list and no neighbours of more than 10 samples")


def test_a_report_of_many_samples_says_what_is_left_out(rng):
    """Also where the numbers are too many for a live picture: the image has the line, too."""
    x = rs.from_arrays({f"{name}/fc": rng.normal(size=(2400, 3)) for name in "ab"})
    for n in (400, 600):
        maps = rs.explorers.samples(x, n=n, measure=None).wait().spec.maps
        assert [one.subtitle for one in maps] == [f"n = {n} of 2,400, evenly spaced"] * 2 and len(maps[0].points) == n
        assert ("no list and no neighbours of more than 500 samples" in maps[0].footer) == (n > 500)
    whole = rs.explorers.samples(x, n=None, measure=None).wait()
    assert whole.spec.maps[0].subtitle == "n = 2400" and "no list" in whole.spec.maps[0].footer
    assert MIME not in whole.bundle() and "image/png" in whole.bundle()


def test_few_samples_have_few_neighbours(rng):
    x = rs.from_arrays({f"{name}/{layer}": rng.normal(size=(11, 3)) for name in "ab" for layer in ("one", "two")})
    e = rs.explorers.comparison(x, a="a", b="b").wait()
    e.choose("one", "two")
    e.wait()
    found = e.samples.located.found
    assert found.k == 3 and found.n == 11 and e.samples.layout.display != "none" and not e.errors
    assert e.samples.maps.views[0].labels == [str(k) for k in range(11)], "samples without a class have their id alone"
    assert "display:flex" in e.samples.detail.split("nearest in")[1], "labels alone stand in a row"
    assert re.search(r"rank 1 of 11;", e.samples.detail)


def test_too_few_samples_have_a_detail_without_maps(rng):
    x = rs.from_arrays({f"{name}/{layer}": rng.normal(size=(2, 3)) for name in "ab" for layer in ("one", "two")})
    e = rs.explorers.comparison(x, a="a", b="b").wait()
    e.choose("one", "two")
    e.wait()
    assert re.search("n = 2 samples", e.detail) and e.samples.layout.display == "none" and not e.errors
    assert any("larger is" in text for text in texts(e))
