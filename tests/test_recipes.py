import dataclasses
import importlib.util
import inspect
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

import repsim_nb as rs
from repsim_nb.studies import classifier, training, zoo
from repsim_nb.studies.population import FAMILIES, GRID, POPULATION, RUNS, load_held_out, shorten
from repsim_nb.studies.training import train_or_load
from repsim_nb.support.errors import Stopped
from repsim_nb.support.files import shipped_folder as shipped_folder

SMALL = {"architecture": "mlp", "data": "mnist", "rows": (0, 100), "options": {"widths": (16,)}, "epochs": 1}
ENDLESS = {**SMALL, "rows": (0, 2000), "epochs": 10**6}


pytestmark = pytest.mark.usefixtures("one_thread")


def same(a, b):
    """Are these the same weights?"""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def untouched(monkeypatch):
    """From here on nothing may be trained."""
    monkeypatch.setattr(training, "_train", lambda recipes, *rest: pytest.fail(f"{list(recipes)} are trained again"))


def test_a_retrained_network_meets_its_card(tmp_path):
    """The whole recipe, file included, for one model."""
    card = zoo.build("mnist-mlp-1", tmp_path)
    old = rs.load_model("zoo:mnist-mlp-1")
    new = rs.load_model(tmp_path / "mnist-mlp-1.safetensors")
    assert abs(card["test_accuracy"] - old.card["test_accuracy"]) < 0.015
    data = rs.load_dataset("mnist", n=300)
    x = [rs.record(m, data, "output", progress=False)["output"] for m in (old, new)]
    assert rs.measures.get("disagreement")(*x) < 0.05


def test_equal_seeds_give_equal_networks_and_leave_the_global_state_alone():
    before = torch.get_rng_state()
    a, b, c = (classifier.train("mlp", "mnist", seed=s, epochs=1)[0] for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters()))


def test_an_untrained_twin_is_the_start_of_the_trained_network():
    started = classifier.initialise("cnn", 0).state_dict()
    shipped = load_file(shipped_folder("data") / "zoo/untrained-cnn-0.safetensors")
    assert all(np.allclose(started[k], shipped[k]) for k in started)


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown architecture 'cnnn'. Did you mean 'cnn'"):
        classifier.train("cnnn", "mnist")
    with pytest.raises(ValueError, match="unknown labels 'shuffle'. Did you mean 'shuffled'"):
        classifier.train("cnn", "mnist", labels="shuffle")


# -- the options of classifier.train


def test_only_the_rows_asked_for_are_trained_on(monkeypatch):
    plain, card = classifier.train(**SMALL)
    load = classifier.load_dataset

    def moved(rows):
        """MNIST with some rows of the training split in another order."""

        def loaded(name, split):
            dataset = load(name, split)
            order = np.arange(len(dataset))
            order[rows] = order[rows][::-1]
            return dataset.take(order, dataset.name) if split == "train" else dataset

        return loaded

    monkeypatch.setattr(classifier, "load_dataset", moved(slice(100, None)))
    assert same(plain, classifier.train(**SMALL)[0])
    monkeypatch.setattr(classifier, "load_dataset", moved(slice(0, 100)))
    assert not same(plain, classifier.train(**SMALL)[0])
    assert card["images"] == 100 and card["rows"] == [0, 100]
    with pytest.raises(
        ValueError, match=r"rows are \(start, stop\) of the 4000 rows of 'mnist/train', .* got \(0, 4001\)"
    ):
        classifier.train(**{**SMALL, "rows": (0, 4001)})


def test_coarse_labels_are_five_classes_of_two_digits():
    module, card = classifier.train(**{**SMALL, "labels": "coarse", "epochs": 20, "rows": (0, 500)})
    assert card["classes"] == ["0 or 1", "2 or 3", "4 or 5", "6 or 7", "8 or 9"] and card["options"]["classes"] == 5
    test = rs.load_dataset("mnist")
    with torch.inference_mode():
        said = module(rs.models.normalise(test.inputs, card["mean"], card["std"])).argmax(1).numpy()
    assert np.isclose((said == test.targets // 2).mean(), card["test_accuracy"]) and card["test_accuracy"] > 0.7


def test_shuffled_labels_can_only_be_memorised():
    _, card = classifier.train(**{**SMALL, "labels": "shuffled", "epochs": 100, "options": {}})
    assert card["train_accuracy"] > 0.95 and card["test_accuracy"] < 0.2


def test_a_constant_rate_knows_no_end_and_a_cycle_does():
    """After one epoch of two the model is that of one epoch, or is not."""
    for schedule, alike in (("constant", True), ("one-cycle", False)):
        kept = {}
        recipe = {**SMALL, "schedule": schedule}
        classifier.train(
            **{**recipe, "epochs": 2, "checkpoints": (1,)},
            keep=lambda module, card, kept=kept: kept.update(
                {card["epoch"]: {k: v.clone() for k, v in module.state_dict().items()}}
            ),
        )
        once = classifier.train(**recipe)[0].state_dict()
        assert all(torch.equal(once[name], kept[1][name]) for name in once) == alike, schedule


def test_checkpoints_are_handed_out_and_change_nothing():
    """The CNN's batch normalisation would remember an evaluation in training mode."""
    recipe = {"architecture": "cnn", "data": "mnist", "rows": (0, 128), "epochs": 2, "seed": 3, "schedule": "constant"}
    kept, ticks = {}, []
    module, card = classifier.train(
        **recipe,
        checkpoints=(0, 1, 2),
        keep=lambda module, card: kept.update(
            {card["epoch"]: ({k: v.clone() for k, v in module.state_dict().items()}, card)}
        ),
        tick=lambda *t: ticks.append(t),
    )
    assert same(module, classifier.train(**recipe)[0]) and not module.training and "epoch" not in card
    start = classifier.initialise("cnn", 3).state_dict()
    assert list(kept) == [0, 1, 2] and all(torch.equal(start[name], kept[0][0][name]) for name in start)
    assert all(torch.equal(value, kept[2][0][name]) for name, value in module.state_dict().items())
    assert kept[2][1]["test_accuracy"] == card["test_accuracy"] != kept[0][1]["test_accuracy"] and ticks == [
        (k, 4) for k in range(1, 5)
    ]
    with pytest.raises(
        ValueError, match="an epoch of checkpoints must be an integer from 0 to 2, epochs=2 at most; got 3"
    ):
        classifier.train(**recipe, checkpoints=(1, 3))


def test_a_card_says_nothing_twice():
    assert classifier.train(**{**SMALL, "about": {"varied": "nothing"}})[1]["varied"] == "nothing"
    assert {*classifier.train(**SMALL)[1], "name", "epoch"} == set(classifier.CARD)
    for field in classifier.CARD:
        with pytest.raises(ValueError, match=f"about=.* has fields that the card sets itself: {field}"):
            classifier.train(**SMALL, about={field: 3})
    with pytest.raises(ValueError, match="unknown schedule 'constnt'. Did you mean 'constant'"):
        classifier.train(**SMALL, schedule="constnt")


# -- many models

RECIPES = {
    "one": {**SMALL, "about": {"varied": "seed"}},
    "run": {**SMALL, "seed": 1, "epochs": 2, "checkpoints": (0, 2), "schedule": "constant"},
    "start": {**SMALL, "epochs": 0},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, ticks = tmp_path_factory.mktemp("trained"), []
    return folder, train_or_load(RECIPES, folder=folder, progress=lambda *t: ticks.append(t)), ticks


def test_networks_are_trained_in_processes_as_they_are_here(made):
    folder, models, ticks = made
    assert [(m.name, m.card.get("epoch")) for m in models] == [("one", None), ("run", 0), ("run", 2), ("start", None)]
    for model, name in ((models[0], "one"), (models[2], "run"), (models[3], "start")):
        module, card = classifier.train(**RECIPES[name])
        assert same(model.module, module), name
        assert json.loads(json.dumps({**card, "name": name})) == {
            key: value for key, value in model.card.items() if key != "epoch"
        }
    assert (
        models[0].layers == ("fc1", "output") and ticks[0] == (0, 4) and ticks[-1] == (4, 4) and ticks == sorted(ticks)
    )
    assert len(list(folder.iterdir())) == 4


def test_what_is_there_is_found_and_only_the_rest_is_trained(made, monkeypatch):
    folder, models, _ = made
    asked = []
    monkeypatch.setattr(training, "_train", lambda recipes, *rest: asked.append(list(recipes)))
    again = train_or_load(RECIPES, folder=folder, progress=False)
    assert asked == [] and all(
        same(a.module, b.module) and a.card == b.card for a, b in zip(models, again, strict=True)
    )
    with pytest.raises(FileNotFoundError):  # for it was not trained
        train_or_load(
            {**RECIPES, "one": {**RECIPES["one"], "seed": 5}, "other name": RECIPES["start"]},
            folder=folder,
            progress=False,
        )
    monkeypatch.setattr(training, "_hash_code", lambda: "other code")
    with pytest.raises(FileNotFoundError):
        train_or_load({"one": RECIPES["one"]}, folder=folder, progress=False)
    assert asked == [["one", "other name"], ["one"]]
    as_before = {
        **RECIPES["one"],
        "labels": "true",
        "options": {"widths": [16]},
        "about": {"varied": "seed"},
    }  # a default that is written out is the same recipe
    monkeypatch.undo()
    untouched(monkeypatch)
    assert train_or_load({"one": as_before}, folder=folder, progress=False)[0].card == models[0].card


def changed(monkeypatch, tmp_path, module, old, new):
    """From here on the training code is that of an edited copy of one of its modules."""
    source = inspect.getsource(module)
    assert source.count(old) == 1
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
    file.write_text(source.replace(old, new))
    spec = importlib.util.spec_from_file_location(module.__name__, file)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    monkeypatch.setattr(training, "_CODE", tuple(copy if part is module else part for part in training._CODE))


@pytest.mark.parametrize(
    ("old", "new", "other"),
    [
        ("optimizer.zero_grad(set_to_none=True)", "optimizer.zero_grad(set_to_none=False)", True),
        ("pct_start=0.2", "pct_start=0.3", True),
        ("            optimizer.step()\n", "            optimizer.step()  # downhill\n\n", False),
        ("Create an untrained model; equal seeds", "Create a new model; equal seeds", False),
        ("Train one small image classifier, reproducibly", "Fit one", False),
    ],
)
def test_an_edited_line_is_other_training_code_and_a_word_on_it_is_not(tmp_path, monkeypatch, old, new, other):
    before = training._hash_code.__wrapped__()
    changed(monkeypatch, tmp_path, classifier, old, new)
    assert (training._hash_code.__wrapped__() != before) == other


def test_the_key_knows_architectures_preparing_and_the_release_of_torch(tmp_path, monkeypatch):
    before = training._hash_code.__wrapped__()
    for part in (training.architectures, training.build, training.normalise, training.images):
        monkeypatch.setattr(training, "_CODE", tuple(one for one in training._CODE if one is not part))
        assert training._hash_code.__wrapped__() != before, part
        monkeypatch.undo()
    assert training._hash_code.__wrapped__() == before
    monkeypatch.setattr(torch, "__version__", "1.0")
    assert training._hash_code.__wrapped__() != before


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("part", ["inputs", "targets"])
def test_other_pictures_or_targets_are_other_data(monkeypatch, split, part):
    before, load = training._hash_data.__wrapped__("mnist"), training.load_dataset

    def loaded(name, which):
        found = load(name, which)
        if which != split:
            return found
        values = getattr(found, part).copy()
        values[0] = values[0] + 1
        return dataclasses.replace(found, **{part: values})

    monkeypatch.setattr(training, "load_dataset", loaded)
    assert training._hash_data.__wrapped__("mnist") != before


def test_what_is_told_of_a_network_is_no_reason_to_train_it_again(made, monkeypatch):
    folder, models, _ = made
    untouched(monkeypatch)
    (told,) = train_or_load({"one": {**RECIPES["one"], "about": {"variant": (1, 2)}}}, folder=folder, progress=False)
    assert told.card == {**{key: value for key, value in models[0].card.items() if key != "varied"}, "variant": [1, 2]}
    assert models[0].card["varied"] == "seed"
    with pytest.raises(
        ValueError, match="the recipe of 'one' cannot be followed: about=.* has fields that the card sets itself: seed"
    ):
        train_or_load({"one": {**RECIPES["one"], "about": {"seed": 9}}}, folder=folder, progress=False)


def test_checkpoints_may_be_a_range_or_an_array(made, monkeypatch):
    folder, models, _ = made
    untouched(monkeypatch)
    for checkpoints in (range(0, 3, 2), np.array([0, 2]), [0, np.int64(2)]):
        again = train_or_load({"run": {**RECIPES["run"], "checkpoints": checkpoints}}, folder=folder, progress=False)
        assert [model.card["epoch"] for model in again] == [0, 2] and same(again[1].module, models[2].module)
    monkeypatch.undo()
    kept = []
    classifier.train(
        **{**RECIPES["run"], "checkpoints": range(3)}, keep=lambda module, card: kept.append(card["epoch"])
    )
    assert kept == [0, 1, 2]
    for checkpoints, words in (
        (range(4), "from 0 to 2, epochs=2 at most; got 3"),
        ([1.5], "got 1.5"),
        ([True], "got True"),
        (2, "a list of epochs, .*; got 2"),
        ("02", "a list of epochs, .*; got '02'"),
    ):
        with pytest.raises(
            ValueError, match=f"the recipe of 'run' cannot be followed: .*checkpoints must be .*{words}"
        ):
            train_or_load({"run": {**RECIPES["run"], "checkpoints": checkpoints}}, folder=folder, progress=False)


def test_a_damaged_network_is_trained_anew(made, tmp_path):
    folder, models, _ = made
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (broken,) = tmp_path.glob("one.*")
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"one\..*safetensors is damaged.*'one' is trained again"):
        again = train_or_load(RECIPES, folder=tmp_path, progress=False)
    assert same(again[0].module, models[0].module) and rs.load_model(broken).name == "one"


def gone(processes, seconds=20):
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def children():
    """Processes of ours that train."""
    return [psutil.Process(child.pid) for child in multiprocessing.active_children()]


def test_stopped_at_any_time_what_is_finished_stays(tmp_path):
    started = []

    def progress(done, total):
        if done > 3 and list(tmp_path.glob("one.*.safetensors")):
            started.extend(children())
            raise Stopped

    with pytest.raises(Stopped):
        train_or_load({"one": RECIPES["one"], "endless": ENDLESS}, folder=tmp_path, progress=progress)
    assert started and gone(started) and not multiprocessing.active_children()
    assert [file.name.split(".")[0] for file in tmp_path.iterdir()] == ["one"]


def test_models_are_trained_after_a_reset_of_the_notebook(tmp_path, monkeypatch):
    monkeypatch.delattr(sys.modules["__main__"], "__spec__")  # which %reset does
    assert [model.name for model in train_or_load({"one": RECIPES["one"]}, folder=tmp_path, progress=False)] == ["one"]


def test_a_killed_process_is_a_sentence(tmp_path):
    def progress(done, total):
        if done > 3 and list(tmp_path.glob("one.*.safetensors")):
            for child in children():
                child.kill()

    with pytest.raises(
        RuntimeError,
        match=(
            "a process that trained one of 'endless' was killed, or could not start; 1 of 2 models were finished and"
            " are kept"
        ),
    ):
        train_or_load({"one": RECIPES["one"], "endless": ENDLESS}, folder=tmp_path, progress=progress)
    assert [file.name.split(".")[0] for file in tmp_path.iterdir()] == ["one"]


def test_no_process_outlives_a_kernel_that_is_killed(tmp_path):
    code = f"""
from repsim_nb.studies.training import train_or_load
if __name__ == "__main__":
    report = lambda done, total: print(done, flush=True)
    train_or_load({{"endless": {ENDLESS!r}}}, folder={str(tmp_path)!r}, progress=report)
"""
    (tmp_path / "script.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, tmp_path / "script.py"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as kernel:
        assert any(int(line) > 2 for line in kernel.stdout)
        workers = psutil.Process(kernel.pid).children(recursive=True)
        kernel.send_signal(signal.SIGKILL)
    assert workers and gone(workers)
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"epoch": 3},
            (
                "the recipe of 'mine' cannot be followed: unknown option of classifier.train 'epoch'. Did you mean"
                " 'epochs'"
            ),
        ),
        ({"data": "mnits"}, "the recipe of 'mine' cannot be followed: unknown dataset 'mnits'. Did you mean 'mnist'"),
        ({"about": {"net": object()}}, "the recipe of 'mine' cannot be followed: Object of type object is not JSON"),
        ({"keep": print}, "unknown option of classifier.train 'keep'"),
        ({"options": {"widths": ()}}, "training 'mine' failed: widths are the numbers of units"),
    ],
)
def test_a_recipe_that_fails_is_named(tmp_path, changes, words):
    start = time.monotonic()
    with pytest.raises(ValueError, match=words):
        train_or_load({"endless": ENDLESS, "mine": {**SMALL, **changes}}, folder=tmp_path, progress=False)
    assert time.monotonic() - start < 60  # nobody waited for the other
    with pytest.raises(ValueError, match="the recipe of 'mine' cannot be followed: it has no 'data'"):
        train_or_load({"mine": {"architecture": "mlp"}}, folder=tmp_path)


# -- the population


def test_the_population_varies_one_thing_at_a_time():
    allowed = {
        "initialisation": {"seed"},
        "data": {"rows", "epochs"},
        "labels": {"labels", "epochs", "learning_rate"},
        "depth": {"options"},
        "width": {"options"},
        "training": {"epochs"},
    }
    assert len(POPULATION) >= 44 and [
        sum(name.rpartition("-")[0] == base for name in POPULATION) for base in ("mlp", "cnn", "vit")
    ] == [5, 5, 3]
    seen = set()
    for name, recipe in POPULATION.items():
        base, varied = POPULATION[f"{recipe['architecture']}-{recipe['seed']}"], recipe["about"]["varied"]
        differ = {key for key in recipe.keys() | base.keys() if recipe.get(key) != base.get(key)} - {"about"}
        assert differ <= allowed[varied] and (differ or varied == "initialisation"), name
        start, stop = recipe["rows"]
        assert 0 <= start < stop <= 2000
        if varied == "data":  # as many steps
            assert recipe["epochs"] * (stop - start) == base["epochs"] * 2000, name
        seen.add((recipe["architecture"], varied))
    assert len({(a, v) for a, v in seen if a != "vit"}) == 12 and len(GRID) == 23
    assert (
        len(RUNS) == 12
        and {run["checkpoints"] for run in RUNS.values()} == {GRID}
        and {run["rows"] for run in RUNS.values()} == {(0, 1000)}
    )


def test_held_out_images_were_seen_by_none():
    rows = max(recipe["rows"][1] for recipe in [*POPULATION.values(), *RUNS.values()])
    seen = {image.tobytes() for image in rs.load_dataset("mnist", "train").inputs[:rows]}
    data = load_held_out()
    assert (
        len(data) >= 1000
        and data.name == "mnist/held-out"
        and not any(image.tobytes() in seen for image in data.inputs)
    )


def test_few_is_a_part_that_is_trained_for_a_short_time():
    some, runs = shorten(POPULATION), shorten(RUNS)
    assert (
        10 <= len(some) <= 16
        and len(runs) == 4
        and {recipe["architecture"] for recipe in some.values()} == {"mlp", "cnn", "vit"}
    )
    assert {recipe["labels"] for recipe in some.values() if "labels" in recipe} == {"coarse", "shuffled"}
    for part, whole in ((some, POPULATION), (runs, RUNS)):
        for name, recipe in part.items():
            images = recipe["rows"][1] - recipe["rows"][0]
            assert recipe["epochs"] * images <= min(
                10**4 * 1.5, whole[name]["epochs"] * (whole[name]["rows"][1] - whole[name]["rows"][0])
            ), name
    assert all(recipe["checkpoints"][-1] == recipe["epochs"] for recipe in runs.values())


def test_families_are_pairs_of_a_network_and_its_untrained_twin():
    assert len(FAMILIES) == 40 and len({recipe["about"]["family"] for recipe in FAMILIES.values()}) == 10
    for name, recipe in FAMILIES.items():
        twin = FAMILIES[name.removesuffix("-untrained") if name.endswith("-untrained") else f"{name}-untrained"]
        assert {**recipe, "epochs": 0, "about": 0} == {**twin, "epochs": 0, "about": 0} and bool(
            recipe["epochs"]
        ) == recipe["about"]["trained"] != twin["about"]["trained"]
    some = shorten(FAMILIES)
    assert (
        sum(recipe["about"]["trained"] for recipe in some.values()) >= 7
        and sum(not recipe["about"]["trained"] for recipe in some.values()) >= 3
    )


def test_weights_that_were_changed_are_trained_anew(made, tmp_path):
    folder, models, _ = made
    (file,) = folder.glob("start.*.safetensors")
    content = bytearray(file.read_bytes())
    content[-50] ^= 255
    copy = tmp_path / file.name
    copy.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged .*the weights differ from those that were written"):
        rs.load_model(copy)
    with pytest.warns(UserWarning, match="'start' is trained again"):
        (again,) = train_or_load({"start": RECIPES["start"]}, folder=tmp_path, progress=False)
    assert same(again.module, models[3].module)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": -1}, "epochs must be an integer >= 0; got -1"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"learning_rate": "0.1"}, "learning_rate must be a number above 0; got '0.1'"),
        ({"seed": "a"}, "seed must be an integer"),
    ],
)
def test_numbers_that_are_none_are_told_before_anything_is_trained(tmp_path, changes, words):
    with pytest.raises(ValueError, match=f"the recipe of 'mine' cannot be followed: {words}"):
        train_or_load({"mine": {**SMALL, **changes}}, folder=tmp_path)
