import numpy as np
import pytest
import torch

import repsim_nb as rs
from repsim_nb.inputs.models import build
from repsim_nb.measures import get
from repsim_nb.studies import classifier, subtasks, training, tuning
from repsim_nb.studies.subtasks import BLOCKS, COMPONENTS, SEEDS, SHIFTS, SUBTASKS, TRAINING_ROWS, TUNED, load_shifted

pytestmark = pytest.mark.usefixtures("one_thread")
START = {
    "architecture": "mlp",
    "data": "fashion",
    "rows": (0, 200),
    "options": {"widths": [16]},
    "epochs": 1,
    "seed": 4,
}
TUNING = {"data": "mnist", "start": START, "rows": (0, 200), "epochs": 2, "seed": 7}


@pytest.fixture(scope="module")
def loaded():
    """All four, in short, of the models that the lessons train in short."""
    return {name: subtasks.load(name, fast=True, progress=False) for name in SUBTASKS}


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# -- a deeper transformer


def test_a_transformer_has_as_many_blocks_as_its_depth():
    six = build("vit", depth=6, width=16, heads=2)
    assert six.layers == ("embed", *BLOCKS, "pool")
    seen = []
    for name in six.layers:
        getattr(six, name).register_forward_hook(lambda *_, name=name: seen.append(name))
    six(torch.zeros(1, 1, 28, 28))
    assert tuple(seen) == six.layers, "each runs once, in this order"
    assert build("vit").layers == ("embed", "block1", "block2", "block3", "block4", "pool")
    for depth in (0, 2.0, True):
        with pytest.raises(
            ValueError,
            match=f"depth must be an integer from 1 to 100, the number of blocks of the transformer; got {depth}",
        ):
            build("vit", depth=depth)


# -- fine-tuning


def test_fine_tunings_start_from_one_network_and_differ_by_their_seed():
    pairs = tuning.train(**TUNING)
    assert [card["seed"] for _, card in pairs] == [7, 8, 9, 10, 11] and {card["pretraining"] for _, card in pairs} == {
        4
    }
    start = classifier.train(**START)[0]
    for (module, card), (again, _) in zip(pairs, tuning.train(**TUNING), strict=True):
        assert same(module, again) and not module.training and not same(module, start)
        assert card["data"] == "mnist" and card["start"] == START and card["classes"][0] == "0"
    assert not same(pairs[0][0], pairs[1][0])
    untuned = tuning.train(**{**TUNING, "epochs": 0})
    for k, (module, _) in enumerate(untuned):
        assert torch.equal(module.fc1[0].weight, start.fc1[0].weight), "nothing but the head is new"
        assert torch.equal(module.head.weight, classifier.initialise("mlp", 7 + k, widths=[16]).head.weight)
    other = tuning.train(**{**TUNING, "seed": 9, "epochs": 2})[0][0]
    assert same(other, pairs[2][0]), "a fine-tuning depends on its own seed, not on those before it"


def test_ticks_count_every_batch_of_the_start_and_of_the_fine_tunings():
    ticks = []
    tuning.train(**TUNING, tick=lambda *given: ticks.append(given))
    total = 4 + 5 * 2 * 4
    assert ticks == [(done, total) for done in range(1, total + 1)]


def test_fine_tunings_are_found_again_and_their_start_is_part_of_their_recipe(tmp_path, monkeypatch):
    (first,) = tuning.train_or_load({"a": TUNING}, folder=tmp_path, progress=False).values()
    assert [model.name for model in first] == [f"a-{k}" for k in range(5)]
    direct = tuning.train(**TUNING)
    assert all(
        same(model.module, module) and model.card["seed"] == card["seed"]
        for model, (module, card) in zip(first, direct, strict=True)
    )
    monkeypatch.setattr(training, "_train", lambda recipes, *rest: pytest.fail(f"{list(recipes)} are trained again"))
    (again,) = tuning.train_or_load({"a": TUNING}, folder=tmp_path, progress=False).values()
    assert all(same(a.module, b.module) for a, b in zip(first, again, strict=True))
    with pytest.raises(pytest.fail.Exception, match="are trained again"):
        tuning.train_or_load({"a": {**TUNING, "start": {**START, "seed": 5}}}, folder=tmp_path, progress=False)
    data = training._hash_data
    monkeypatch.setattr(training, "_hash_data", lambda name: "other pictures" if name == "fashion" else data(name))
    with pytest.raises(pytest.fail.Exception, match="are trained again"):
        tuning.train_or_load({"a": TUNING}, folder=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"start": {"data": "fashion"}},
            "start gives the first training as options of classifier.train; it has no architecture",
        ),
        (
            {"start": {**START, "checkpoints": (1,)}},
            "start gives one model, so it must not have the option 'checkpoints'",
        ),
        ({"rows": (0, 4001)}, r"rows are \(start, stop\) of the 4000 rows of 'mnist/train', .* got \(0, 4001\)"),
    ],
)
def test_what_cannot_be_fine_tuned_is_said(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        tuning.train(**{**TUNING, **change})


# -- shifted tests


def test_images_of_tests_and_probes_were_learned_by_no_network():
    for recipes, most in ((SEEDS, TRAINING_ROWS["seeds"]), (TUNED, TRAINING_ROWS["tuning"])):
        assert all(recipe["data"] == "mnist" and recipe["rows"] == (0, most) for recipe in recipes.values())
    seen = {image.tobytes() for image in rs.load_dataset("mnist", "train").inputs[: TRAINING_ROWS["tuning"]]}
    plain = load_shifted("plain")
    assert (load_shifted("plain", fast=True).inputs == plain.inputs[::3]).all()
    assert len(plain) == 3000 and not any(image.tobytes() in seen for image in plain.inputs)


def test_shifted_images_are_the_same_digits_shown_otherwise():
    plain = load_shifted("plain")
    sets = {name: load_shifted(name) for name in SHIFTS}
    for name, data in sets.items():
        assert (
            data.inputs.dtype == np.uint8
            and data.inputs.shape == plain.inputs.shape
            and (data.targets == plain.targets).all()
        ), name
        assert (load_shifted(name).inputs == data.inputs).all(), "always the same"
    assert abs(sets["faint"].inputs - 0.4 * plain.inputs).max() <= 0.5
    assert np.isclose(sets["noisy"].inputs[plain.inputs == 128].astype(float).std(), 80, rtol=0.15)
    upright = np.zeros((1, 28, 28))
    upright[0, 4:24, 13:15] = 255
    y, x = np.nonzero(SHIFTS["rotated"](upright)[0] > 100)
    assert np.isclose(abs(np.degrees(np.arctan(np.polyfit(y, x, 1)[0]))), 30, atol=2)
    with pytest.raises(ValueError, match="unknown test 'noise'. Did you mean 'noisy'"):
        load_shifted("noise")


# -- the subtasks


def test_there_are_as_many_networks_as_are_said():
    assert (
        list(SUBTASKS) == ["layers", "deletion", "tuning", "pretraining"] and len(COMPONENTS) == 8 and len(BLOCKS) == 6
    )
    for subtask in SUBTASKS.values():
        made = len(subtask.recipes) * (1 if subtask.recipes is SEEDS else len(tuning.PARTS))
        assert made == subtask.models >= 10
    assert {recipe["start"]["seed"] for recipe in SUBTASKS["pretraining"].recipes.values()} == set(range(5))
    assert len({recipe["start"]["seed"] for recipe in SUBTASKS["tuning"].recipes.values()}) == 1
    for recipes in (SEEDS, TUNED):  # trained identically but for seeds
        assert (
            len(
                {
                    str({**recipe, "seed": 0, "start": {**recipe.get("start", {}), "seed": 0}})
                    for recipe in recipes.values()
                }
            )
            == 1
        )


def test_what_is_loaded_fits_together(loaded):
    for name, (x, functionality, noise) in loaded.items():
        assert list(functionality.index) == [tuple(key) for key in x] and functionality.index.names == [
            "model",
            "layer",
            "dataset",
            "step",
            "pool",
        ], name
        assert {value.shape[0] for value in x.values()} == {1000} and functionality.between(0.05, 1).all()
        assert (
            noise.index.equals(functionality.index)
            and noise.between(0.001, 0.03).all()
            and (noise.groupby(["layer", "step"]).nunique() == 1).all()
        ), name
        layers = functionality.index.get_level_values("layer")
        assert tuple(layers.unique()) == BLOCKS
    assert functionality.index.get_level_values("model").nunique() == 10


def test_a_probe_reads_what_the_layer_holds(loaded):
    functionality = loaded["layers"][1]
    assert functionality.groupby("model").nunique().min() > 1 and functionality.min() > 0.3
    deleted = loaded["deletion"][1]
    whole = deleted[deleted.index.get_level_values("step") == 32]
    assert np.allclose(whole.to_numpy(), functionality.to_numpy(), atol=0.005), "nothing deleted"


def test_deletion_keeps_the_leading_components(loaded):
    x, functionality, _ = loaded["deletion"]
    for key, kept in list(x.items())[:9]:
        whole = x[key._replace(step=32)]
        values = np.linalg.eigvalsh(np.cov(whole.T))[::-1]
        k = key.step
        assert np.linalg.matrix_rank(kept - kept.mean(axis=0), tol=1e-6) == k and np.allclose(
            kept.mean(axis=0), whole.mean(axis=0)
        )
        assert np.isclose(get("cka")(whole, kept), np.sqrt((values[:k] ** 2).sum() / (values**2).sum())), (
            "the closed form"
        )
    assert {key.step for key in x} == {32, *COMPONENTS}
    by_kept = functionality.groupby("step").mean()
    assert by_kept[32] > by_kept[8] > by_kept[2] > by_kept[1] > 0.1


def test_the_functionality_of_a_fine_tuned_network_is_its_accuracy_on_the_shifted_test(loaded):
    functionality = loaded["pretraining"][1]
    models = {model.name: model for model in subtasks.load_models("pretraining", fast=True, progress=False)}
    assert set(models) == {f"pre{start}-tune{seed}" for start in range(2) for seed in range(5)}
    name = "pre1-tune3"
    assert models[name].card["pretraining"] == 1 and models[name].card["seed"] == 3
    for test, found in (
        (None, functionality),
        ("faint", subtasks.load("pretraining", test="faint", fast=True, progress=False)[1]),
    ):
        data = load_shifted(test or SUBTASKS["pretraining"].test, fast=True)
        with torch.inference_mode():
            right = models[name].module(models[name].preprocess(data.inputs)).argmax(1).numpy() == data.targets
        assert np.allclose(found[name], right.mean(), atol=1e-3) and found[name].nunique() == 1, "alike for all layers"
        accuracies = subtasks.measure_accuracies(list(models.values()), data)
        assert np.allclose(found.groupby("model").first(), accuracies.sort_index())


def test_what_is_no_subtask_is_said():
    with pytest.raises(ValueError, match="unknown subtask 'layer'. Did you mean 'layers'"):
        subtasks.load("layer")
    with pytest.raises(ValueError, match="unknown subtask 'layer'"):
        subtasks.load_models("layer")
    with pytest.raises(
        ValueError, match="the functionality of 'layers' is the accuracy of a probe, which has no test='noisy'"
    ):
        subtasks.load("layers", test="noisy")
    with pytest.raises(ValueError, match="unknown test 'plain'"):
        subtasks.load("tuning", test="plain")
