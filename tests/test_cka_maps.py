"""Maps on demand: targets, the loss and its gradient, the schedule, and students that are trained for a map."""

from itertools import pairwise

import numpy as np
import pytest
import torch

import repsim_nb as rs
from repsim_nb.studies import cka_maps, map_recipes, pairs, training
from repsim_nb.studies.cka_maps import answer_loss, cka_map, make_target, map_loss, next_weight, to_recipe
from repsim_nb.studies.map_targets import draw_text, error, image_target, nearest_map, text_target
from repsim_nb.support.errors import Stopped

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "data": "mnist",
    "target": "ends",
    "options": {"widths": [24, 24, 24, 24]},
    "teacher_epochs": 2,
    "epochs": 3,
    "rows": (0, 900),
    "held_out": 200,
    "batch_size": 70,
    "learning_rate": 3e-3,
    "checkpoints": [0, 3],
}


# -- targets


def test_letters_are_five_rows_high_and_differ():
    drawn = {sign: draw_text(sign) for sign in "ABCDEFGHIJKLMNPQRSTUVWXYZ012346789!?-.+="}
    assert {cells.shape[0] for cells in drawn.values()} == {5}
    assert len({cells.tobytes() + bytes(cells.shape) for cells in drawn.values()}) == len(drawn)
    assert all(cells[:, 0].any() and cells[:, -1].any() for cells in drawn.values()), "no empty column at the sides"
    assert draw_text("li").tolist() == draw_text("LI").tolist()
    assert draw_text("A B").shape[1] == 3 + 1 + 2 + 1 + 3


@pytest.mark.parametrize("text", ["", "  ", "ä"])
def test_a_text_without_letters_is_refused(text):
    with pytest.raises(ValueError, match="letter"):
        draw_text(text)


def test_a_text_stands_in_early_rows_and_late_columns():
    target = text_target("LIE", 20, ink=0.8, paper=0.2)
    picture = target[1:6, -10:-1]
    assert ((picture > 0.5) == (draw_text("LIE") > 0.5)).all()
    assert np.array_equal(target, target.T, equal_nan=True) and (np.diag(target) == 1).all()
    framed = target[:7, -11:]
    assert set(np.unique(framed)) == {0.2, 0.8}
    rest = np.ones_like(target, dtype=bool)
    rest[:7, -11:] = rest[-11:, :7] = False
    np.fill_diagonal(rest, False)
    assert np.isnan(target[rest]).all()
    with pytest.raises(ValueError, match="at least|>= 18|18"):
        text_target("LIE", 17)


def test_an_image_is_made_smaller_until_it_fits():
    image = np.add.outer(np.zeros(40), np.arange(40.0))  # dark on the left
    target = image_target(image, 12)
    picture = target[1:5, -5:-1]
    assert picture.shape == (4, 4) and np.allclose(picture, picture[0]) and np.allclose(np.diff(picture[0]), 0.8 / 3)
    assert image_target(image[:10], 12)[0, -7:].tolist() != [np.nan] * 7
    assert image_target(np.eye(3), 16)[1:4, -4:-1].tolist() == (0.1 + 0.8 * np.eye(3)).tolist(), "small ones stay"
    for wrong in (np.ones((4, 4)), np.zeros((2, 2, 3)), [[np.nan, 1]]):
        with pytest.raises(ValueError, match="grey picture"):
            image_target(wrong, 12)
    with pytest.raises(ValueError, match="ink"):
        image_target(image, 12, ink=1.5)


def test_targets_of_recipes():
    assert make_target("ones", 3).tolist() == [[1.0] * 3] * 3
    assert make_target("zeros", 3).tolist() == np.eye(3).tolist()
    target = text_target("HI")
    assert np.array_equal(make_target(to_recipe(target), len(target)), target, equal_nan=True)
    for wrong, said in (
        ("eins", "ends"),
        ([[1, 0], [1, 1]], "symmetric"),
        ([[1, 2], [2, 1]], "between"),
        ([[1, None], [None, 1]], "at least one"),
        (np.eye(3).tolist(), "pair of the 2 layers"),
    ):
        with pytest.raises(ValueError, match=said):
            make_target(wrong, 2)


def test_the_nearest_map_is_a_map_and_none_is_nearer():
    target = text_target("HI")
    found = nearest_map(target)
    assert np.linalg.eigvalsh(found).min() > -1e-12 and np.allclose(np.diag(found), 1) and found.min() > -1e-9
    rng = np.random.default_rng(0)
    for size in (0.01, 0.1, 1.0):  # other cosines of non-negative vectors, from near by and from anywhere
        values, vectors = np.linalg.eigh(found)
        near = vectors * np.sqrt(np.maximum(values, 0)) + size * rng.normal(size=found.shape) / 10
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        assert error(near @ near.T, target) > error(found, target)
    for possible in ("ones", "zeros", "ends"):
        assert error(nearest_map(make_target(possible, 5)), make_target(possible, 5)) < 1e-6


# -- the loss


@pytest.fixture
def layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(31, 6))
    return [torch.tensor(part) for part in (x, np.tanh(x @ rng.normal(size=(6, 9))), rng.normal(size=(31, 2, 4)))]


def test_the_map_is_that_of_the_catalogue(layers):
    for kernel in cka_maps.KERNELS:
        measure = rs.measures.CKA(kernel=kernel, debiased=True)
        wanted = [[measure(a.numpy(), b.numpy()) for b in layers] for a in layers]
        assert np.allclose(cka_map(layers, kernel), wanted, atol=1e-9), kernel
    assert torch.allclose(cka_map(layers)[0, 1], pairs.cka(*layers[:2]))


@pytest.mark.parametrize("kernel", cka_maps.KERNELS)
def test_gradients_of_the_map_loss_are_finite_differences(layers, kernel):
    target = torch.tensor([[1.0, 0.7, np.nan], [0.7, 1.0, 0.2], [np.nan, 0.2, 1.0]])
    inputs = [layer.clone().requires_grad_() for layer in layers]
    assert torch.autograd.gradcheck(lambda *xs: map_loss(cka_map(xs, kernel), target), inputs, eps=1e-6, atol=1e-6)


def test_the_map_loss_is_the_mean_log_cosh_of_cells_with_a_target():
    found, target = torch.tensor([[0.3, 0.5], [0.5, 0.9]]), torch.tensor([[1.0, 0.1], [0.1, 1.0]])
    assert map_loss(found, target).item() == pytest.approx(np.log(np.cosh(0.4)), rel=1e-5)
    free = torch.tensor([[1.0, np.nan, 0.0], [np.nan, 1.0, np.nan], [0.0, np.nan, 1.0]])
    assert map_loss(torch.ones(3, 3), free).item() == pytest.approx(np.log(np.cosh(1.0)), rel=1e-5)


def test_the_loss_of_the_answers_is_kl_in_nats_at_a_temperature():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 3)) / 10
    p, q = (np.exp(side / 0.1) / np.exp(side / 0.1).sum(1, keepdims=True) for side in (teacher, student))
    value = answer_loss(torch.tensor(student), torch.tensor(teacher), 0.1).item()
    assert value == pytest.approx((p * np.log(p / q)).sum(1).mean())


def test_the_weight_falls_only_if_more_than_a_point_is_lost():
    assert next_weight(500, 0.96, 0.98) == 400 and next_weight(500, 0.97, 0.98) == 625
    assert next_weight(500, 0.99, 0.98) == 625 and next_weight(next_weight(3, 0.5, 1), 1, 1) == pytest.approx(3)


# -- students


@pytest.fixture(scope="module")
def students():
    made = {}

    def make(**options):
        key = str(options)
        if key not in made:
            kept = {}
            module, card = cka_maps.train(**TINY | options, keep=lambda m, c: kept.setdefault(c["epoch"], weights(m)))
            made[key] = module, card, kept
        return made[key]

    return make


def weights(module):
    return torch.cat([part.detach().flatten().clone() for part in module.parameters()])


@pytest.mark.parametrize("kernel", cka_maps.KERNELS)
def test_the_loss_falls_and_the_first_layer_becomes_like_the_last(students, kernel):
    module, card, kept = students(kernel=kernel)
    curves = card["curves"]
    assert len(curves) == 4 and curves[1]["map"] > 3 * curves[-1]["map"]
    data = rs.load_dataset("mnist", "test")
    model = rs.load_model(module, preprocess=lambda batch: rs.models.normalise(batch, card["mean"], card["std"]))
    after = rs.record(model, data, ["fc1", "head"], progress=False)
    assert rs.measures.CKA(kernel=kernel, debiased=True)(*after.values()) > 0.9
    assert list(kept) == [0, 3] and not torch.equal(kept[0], kept[3])


def test_the_same_recipe_gives_the_same_student_and_the_same_teacher_for_other_targets(students):
    module, card, kept = students()
    again = cka_maps.train(**TINY)
    assert torch.equal(weights(module), weights(again[0])) and card["curves"] == again[1]["curves"]
    _, other, its = students(kernel="rbf")
    assert torch.equal(kept[0], its[0]) and card["teacher_accuracy"] == other["teacher_accuracy"]


def test_the_weight_in_the_curves_follows_the_accuracy(students):
    curves = students()[1]["curves"]
    for before, after in pairwise(curves[1:]):
        assert after["weight"] == pytest.approx(
            next_weight(before["weight"], before["accuracy"], curves[0]["accuracy"])
        )
    assert curves[0]["weight"] == curves[1]["weight"] == 500


def test_shifted_images_keep_their_pixels():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    moved = cka_maps._Shifts(1, 0)
    seen = {tuple(moved(x).flatten().tolist()) for _ in range(100)}
    assert len(seen) == 9 and all(sorted(one) == list(range(9)) for one in seen)
    assert cka_maps._Shifts(0, 0)(x) is x


def test_a_stopped_training_leaves_no_hook_behind():
    seen = []

    def tick(done, total):
        seen.append((done, total))
        if done == 25:
            raise Stopped

    with pytest.raises(Stopped):
        cka_maps.train(**TINY, tick=tick)
    assert seen[-1] == (25, 50), "2 epochs of the teacher and 3 of the student, 10 batches each"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernel": "rbff"}, "rbf"),
        ({"batch_size": 3}, "at least 4|>= 4"),
        ({"weight": 0}, "above 0"),
        ({"target": "zeroes"}, "zeros"),
        ({"held_out": 0}, "held_out"),
        ({"checkpoints": [4]}, "epochs=3"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        cka_maps.train(**TINY | options)


def test_students_are_found_again_and_measured(tmp_path):
    recipes = {"one": TINY | {"about": {"map": "ends"}}}
    first = cka_maps.train_or_load(recipes, folder=tmp_path, progress=False)
    assert list(first["one"]) == [0, 3] and first["one"][3].card["epoch"] == 3
    again = cka_maps.train_or_load(recipes, folder=tmp_path, progress=pytest.fail)
    assert again["one"][3].card == first["one"][3].card and again["one"][3].card["map"] == "ends"
    with pytest.raises(ValueError, match="no checkpoints"):
        cka_maps.train_or_load({"two": {**TINY, "checkpoints": []}}, folder=tmp_path)
    student = again["one"]
    found = map_recipes.summarise(again).loc["one"]
    cells = [map_recipes.draw_map(model).values.to_numpy()[0, -1] for model in student.values()]
    assert found[["first-last before", "first-last after"]].tolist() == cells and cells[0] < 0.8 < 0.9 < cells[1]
    assert found["error after"] == pytest.approx(1 - cells[1]) and found["error plain"] != found["error after"]
    seen = map_recipes.compare_measures(student, ["cka_debiased", "mean_cca"])
    assert seen.loc["cka_debiased", "moved"] == pytest.approx(1 - found["error after"] / found["error before"])
    assert seen.loc["mean_cca", "moved"] < 0.5 and (seen["cells"] == 1).all()
    assert map_recipes.follow(student)["weight"].tolist() == [row["weight"] for row in student[3].card["curves"]]


def test_recipes_can_be_followed_and_short_ones_have_the_same_names_and_layers():
    short = map_recipes.shorten(map_recipes.RECIPES)
    assert list(short) == list(map_recipes.RECIPES)
    for name, recipe in map_recipes.RECIPES.items():
        for one in (recipe, short[name]):
            assert len(training._find_paths(training.Path("x"), name, one, cka_maps.train, ())) == 10
            make_target(one["target"], len(one["options"]["widths"]) + (2 if one["architecture"] == "cnn" else 1))
    assert (
        len({str(training._find_paths(training.Path("x"), "x", r, cka_maps.train, ())) for r in short.values()}) == 11
    )


def test_the_code_of_the_loss_counts_as_training_code(monkeypatch):
    hashed = []
    monkeypatch.setattr(training, "_hash_code", lambda *parts: hashed.append(parts) or "")
    training._find_paths(training.Path("x"), "one", TINY, cka_maps.train, ())
    assert hashed == [(cka_maps, pairs)]
