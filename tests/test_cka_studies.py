import numpy as np
import pytest
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.models import load_model
from repsim_nb.studies import classifier, memorised, training, translated

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The MLPs of the lesson in short: two draws of each kind."""
    folder, found = tmp_path_factory.mktemp("models"), []
    for name, recipe in memorised.shorten(memorised.RECIPES).items():
        if recipe["architecture"] == "mlp" and recipe["about"]["draw"] < 2:
            module, card = classifier.train(**recipe)
            training.save(folder / f"{name}.safetensors", name, module, card)
            found.append(load_model(folder / f"{name}.safetensors"))
    return found


@pytest.fixture(scope="module")
def layers(models):
    return [translated.load_layer(model) for model in models if model.card["kind"] == "generalised"]


# -- the three kinds


def test_no_two_models_begin_with_the_same_weights_and_all_see_the_same_images():
    seeds = {}
    for name, recipe in memorised.RECIPES.items():
        seeds.setdefault(name.rsplit("-", 2)[0], []).append(recipe["seed"])
        assert recipe["rows"] == (0, memorised.IMAGES)
        assert (recipe["labels"] == "shuffled") == ("memorised" in name) and (recipe["epochs"] == 0) == (
            "random" in name
        )
    assert len(seeds) == 4 and all(len(set(each)) == 15 for each in seeds.values())


def test_memorised_models_fit_every_label_and_know_nothing_of_other_images(models):
    cards = {model.name: model.card for model in models}
    memory = [card for name, card in cards.items() if "memorised" in name]
    assert len(memory) == 2 and all(card["train_accuracy"] == 1 and card["test_accuracy"] < 0.2 for card in memory)
    assert all(card["test_accuracy"] > 0.5 for name, card in cards.items() if "generalised" in name)


def test_kinds_are_compared_by_layer_with_models_of_other_weights(models):
    found = memorised.compare_kinds(models, names=("cka", "rsa"), images=100)
    assert len(found) == 3 * (4 * 2 + 6), "by layer: four pairs of kinds of two draws, six models with the pixels"
    data = rs.load_dataset("mnist", "test", n=100)
    named = {model.name: model for model in models}

    def value(measure, one, other):
        sides = rs.record([named[f"mlp-mnist-{side}"] for side in (one, other)], data, "fc2", progress=False)
        return rs.measures.get(measure)(*sides.values())

    rows = found[(found["layer"] == "fc2") & (found["draw"] == 1)].set_index("pair")
    assert rows.loc["generalised, random", "cka"] == pytest.approx(value("cka", "generalised-1", "random-1"), abs=1e-6)
    assert rows.loc["generalised, generalised", "rsa"] == pytest.approx(
        value("rsa", "generalised-1", "generalised-0"), abs=1e-6
    )
    pixels = np.asarray(data.inputs, float).reshape(100, -1)
    hidden = rs.record(named["mlp-mnist-random-1"], data, "fc2", progress=False)
    assert rows.loc["random, pixels", "cka"] == pytest.approx(
        rs.measures.get("cka")(np.asarray(next(iter(hidden.values()))), pixels), abs=1e-6
    )


def test_probes_are_fitted_to_images_that_no_model_saw(models, monkeypatch):
    asked = []
    take = rs.Dataset.take
    monkeypatch.setattr(
        rs.Dataset, "take", lambda self, rows, name: asked.append((self.name, rows)) or take(self, rows, name)
    )
    found = memorised.probe_layers(models, images=150)
    assert ("mnist/train", range(memorised.IMAGES, memorised.IMAGES + 150)) in asked
    assert list(found["kind"].value_counts().loc[["pixels", *memorised.KINDS]]) == [1, 4, 4, 4]
    assert "output" not in set(found["layer"])
    by_kind = found[found["layer"] == "fc2"].groupby("kind")["accuracy"].mean()
    assert by_kind["generalised"] > by_kind["memorised"] and by_kind.min() > 0.2


def test_filters_are_pictures_and_match_in_any_order_and_sign(models):
    pictures = memorised.first_filters(models[0], 5)
    assert pictures.shape == (5, 28, 28) and np.allclose(abs(pictures).max(axis=(1, 2)), 1)
    other = load_model(nn.Sequential(nn.Flatten(), nn.Linear(784, 32)), name="permuted")
    weight = next(models[0].module.parameters()).detach()
    other.module[1].weight.data = -2 * weight.flip(0)
    assert memorised.filter_similarity(models[0], other) == pytest.approx(1)
    assert memorised.filter_similarity(models[-1], models[-2]) < 0.2, "two random models"


# -- translations


def test_the_direction_raises_one_logit_equally_above_all_others():
    weight = np.random.default_rng(0).normal(size=(10, 30))
    rise = weight @ translated.keep_predictions(weight, 4)
    assert np.allclose(np.delete(rise[4] - rise, 4), rise[4] - rise[0]) and rise[4] > rise[0]


@pytest.mark.parametrize("what", translated.MOVED)
def test_no_prediction_changes_at_any_distance(layers, what):
    for layer in layers:
        rows = layer.rows[what]
        assert rows[: layer.half].any() and (rows.sum() == 1) == (what == "outlier")
        for distance in (0.5, 8, 1000):
            y = layer.move(what, distance)
            assert (layer.predict(y) == layer.predicted).all()
            lengths = np.linalg.norm(y - layer.x, axis=1)
            assert np.allclose(lengths[rows], distance * layer.radius) and not lengths[~rows].any()


def test_paths_start_at_one_and_checks_name_what_was_moved(layers):
    path = translated.follow(layers[:1], names=("cka", "mutual_knn"), distances=(0, 1, 64))
    assert list(path["moved"]) == ["class"] * 3 + ["outlier"] * 3
    start, end = (path[path["distance"] == distance].set_index("moved") for distance in (0, 64))
    assert np.allclose(start[["cka", "mutual_knn"]], 1) and set(start["found"]) == {""}
    assert np.allclose(start["largest change"], 0) and (end["cka"] < 0.5).all()
    assert "outliers" in end.loc["outlier", "found"] and end.loc["outlier", "points at it"]
    assert end.loc["class", "points at class"] and end.loc["class", "largest change"] > 0.3
    assert path["model accuracy"].nunique() == 1


def test_leaving_out_a_class_is_leaving_out_its_rows():
    rng = np.random.default_rng(0)
    x, classes = rng.normal(size=(60, 5)), np.repeat(["a", "b", "c"], 20)
    y = x + 50 * (classes == "b")[:, None]
    found = translated.leave_out_classes(x, y, classes)
    assert found["b"] == pytest.approx(1 - rs.measures.get("cka")(x, y)) and found.idxmax() == "b"


def test_remedies_bring_a_moved_class_back_and_leave_permuted_images_apart(layers):
    found = translated.try_remedies(layers, {"another seed": layers[::-1]})
    assert list(found["case"][:5]) == [*translated.CASES, "another seed", "permuted"] and len(found) == 10
    mean = found.groupby("case")[list(translated.REMEDIES)].mean()
    assert mean.loc["class, 8 radii", "CKA as it is"] < 0.6
    assert mean.loc["class, 8 radii", "lengths clipped at the median"] > 0.9
    assert mean.loc["outlier, 64 radii", "without the 1 % most influential images"] > 0.99
    assert mean.loc["outlier, 64 radii", "without outliers that diagnose names"] > 0.99
    assert (mean.loc["permuted"] < 0.1).all()
