import numpy as np
import pandas as pd
import pytest
import torch

import repsim_nb as rs
from repsim_nb.studies import classifier, existence, pairs, pulling, training
from repsim_nb.studies.existence import (
    FRACTIONS,
    choose_units,
    load_frozen_model,
    load_pictures,
    record_features,
    train_masked_heads,
)
from repsim_nb.studies.frames import bands, mean_sd
from repsim_nb.studies.published import CONFUSION, TABLE_3_1, TABLE_4_1
from repsim_nb.studies.pulling import RECIPES, compare_pairs, shorten

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def told():
    """Features that tell two classes apart, and the targets."""
    rng = np.random.default_rng(0)
    targets = np.arange(150) % 2
    return rng.normal(size=(150, 20)) + np.outer(targets, rng.normal(size=20)), targets


# -- what was published


def test_the_published_confusion_has_the_published_shares():
    assert CONFUSION.shape == (18, 18) and list(CONFUSION.index) == list(CONFUSION.columns)
    assert np.diag(CONFUSION).mean().round(3) == 0.593
    assert (abs(CONFUSION.sum(axis="columns") - 1) < 0.0201).all()
    test_set, network = zip(*(name.split("_", 1) for name in CONFUSION.index), strict=True)
    shares = CONFUSION.div(CONFUSION.sum(axis="columns"), axis="index").to_numpy()
    right = {
        what: sum(shares[i, j] for i in range(18) for j in range(18) if names[i] == names[j]) / 18
        for what, names in (("network", network), ("test set", test_set))
    }
    assert {what: round(share, 3) for what, share in right.items()} == {"network": 0.989, "test set": 0.600}


def test_the_published_tables():
    assert (TABLE_3_1["CKA and JSD"] < 0).all() and (TABLE_3_1["CKA and rank coefficient"] > 0).all()
    assert tuple(TABLE_4_1.index) == FRACTIONS
    assert TABLE_4_1["accuracy"].is_monotonic_decreasing, "d is the masked share"
    assert (TABLE_4_1["JSD"] < np.log(2)).all(), "nats"


# -- the trick


def test_d_is_the_masked_share():
    for d, stay in zip(FRACTIONS, (512, 384, 256, 102, 51), strict=True):  # the thesis's width
        first, last = choose_units(512, d)
        assert first.sum() == last.sum() == stay
        assert first[:stay].all() and last[-stay:].all()
        assert (first & last).sum() == max(0, 2 * stay - 512), "from one half on no unit is read by both"


@pytest.mark.parametrize("d", [1, 1.5, -0.1, 0.999, float("nan")])
def test_a_d_that_leaves_nothing_is_a_sentence(d):
    with pytest.raises(
        ValueError,
        match=r"d must be the fraction of the 64 units that is masked, from 0 to 0.9844, so that at least one",
    ):
        choose_units(64, d)


def test_what_the_table_says(told):
    table = train_masked_heads(*told, seeds=range(3))
    assert list(table["d"].unique()) == list(FRACTIONS) and len(table) == 15
    for name in ("CKA before", "debiased CKA before", "CCA before"):
        assert (abs(table[name] - 1) < 1e-12).all(), "one and the same matrix"
    unmasked = table[table["d"] == 0]
    assert (abs(unmasked["CKA after"] - 1) < 1e-12).all() and (unmasked["rank coefficient"] < -0.6).all()
    assert (unmasked["rank coefficient"] > -1).any(), "two heads, not one and its mirror image"
    means = table.groupby("d").mean()
    assert means["CKA after"].is_monotonic_decreasing and means["CKA after"].iloc[-1] < 0.8
    assert means["accuracy 1"].iloc[-1] < means["accuracy 1"].iloc[0] > 0.75
    assert (table["JSD"].between(0, np.log(2))).all() and (table["held out"] == 60).all()


def test_the_rank_coefficient_of_two_classes_is_agreement(told, monkeypatch):
    outputs = []
    outside = existence.compare_outputs
    monkeypatch.setattr(existence, "compare_outputs", lambda both: outputs.append(both) or outside(both))
    table = train_masked_heads(*told, d=(0.8,), seeds=range(4))
    agreement = [np.mean(a.argmax(1) == b.argmax(1)) for a, b in outputs]
    assert np.allclose(table["rank coefficient"], 2 * np.array(agreement) - 1) and len(set(agreement)) > 1


def test_all_figures_are_of_held_out_images(told):
    """Labels that mean nothing are memorised, and held-out accuracy does not notice."""
    rng = np.random.default_rng(1)
    table = train_masked_heads(
        rng.normal(size=(160, 150)), rng.permutation(160) % 2, d=(0.0,), seeds=range(5), epochs=100
    )
    assert abs(table["accuracy 1"].mean() - 0.5) < 0.12


def test_the_seed_decides_the_images_and_the_weights(told):
    before = torch.get_rng_state()
    a, b = (train_masked_heads(*told, d=(0.5,), seeds=(3, 4)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    pd.testing.assert_frame_equal(a, b)
    assert a["CKA after"].nunique() == a["JSD"].nunique() == 2
    same = [existence.train_head(*told, seed, 1).weight for seed in (0, 0, 1)]
    assert torch.equal(same[0], same[1]) and not torch.equal(same[0], same[2])


def test_cca_is_of_the_leading_components_where_images_are_few_and_says_so(told):
    x, targets = told
    few_units = train_masked_heads(x, targets, d=(0.5,), seeds=(0,)).iloc[0]  # 60 > 2 · 20 + 1
    assert few_units["CCA components"] == 20 and few_units["CCA variance"] == pytest.approx(1)
    wide = np.hstack([x, x + np.random.default_rng(2).normal(size=x.shape)])
    many_units = train_masked_heads(wide, targets, d=(0.5,), seeds=(0,)).iloc[0]
    assert many_units["CCA components"] == 6 and 0.2 < many_units["CCA variance"] < 0.9
    assert many_units["CCA before"] == pytest.approx(1, abs=1e-12) and 0 < many_units["CCA after"] < 1


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_leading_components_are_those_of_an_svd(shape, rng):
    x = rng.normal(size=shape)
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    assert np.allclose(abs(existence.leading_components(x, 3)), abs(u[:, :3] * s[:3]))
    assert existence.leading_components(x, 99).shape[1] == min(shape[0] - 1, shape[1]), "those that there are"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"targets": np.arange(150) % 3},
            r"targets must be of two classes, 0 and 1, so that they can be flipped; got \[0, 1, 2\]",
        ),
        (
            {"targets": np.zeros(149)},
            r"two heads need features \(n, width\) and one target for each image; got \(150, 20\) and \(149,\)",
        ),
        (
            {"held_out": 0.99},
            (
                "held_out must be the fraction of the 150 images that is held out, with at least 20 images on"
                " either side; got 0.99"
            ),
        ),
        ({"seeds": ()}, "d and seeds must have at least one value each"),
    ],
)
def test_what_cannot_be_is_a_sentence(told, changes, said):
    x, targets = told
    with pytest.raises(ValueError, match=said):
        train_masked_heads(x, **{"targets": targets, **changes})


@pytest.mark.parametrize("installed", [True, False])
def test_the_base_is_what_is_here(installed, monkeypatch):
    monkeypatch.setattr(
        existence, "pretrained", lambda: pd.DataFrame({"installed": [installed]}, index=["efficientnet-lite0"])
    )
    monkeypatch.setattr(existence, "load_model", str)
    assert (
        load_frozen_model() == ("pretrained:efficientnet-lite0" if installed else "zoo:animals-cnn-0")
        and load_frozen_model(small=True) == "zoo:animals-cnn-0"
    )


def test_a_frozen_base_has_not_seen_the_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_NB_CACHE", str(tmp_path))
    model = load_frozen_model(small=True)
    data = load_pictures(model)
    assert len(data) == 200 and data.classes == ("cat", "dog") and data.targets.sum() == 100, (
        "the test split: it was trained on the other"
    )
    with pytest.raises(
        ValueError,
        match=(
            "'animals-cnn-0' was trained on 'animals', and 'animals-full' has some of the same images. Use"
            " data='animals'"
        ),
    ):
        load_pictures(model, data="animals-full")
    whole = load_pictures(rs.load_model("zoo:mnist-cnn-0"))
    assert len(whole) == 1000 and whole.targets.sum() == 500
    animals = rs.load_dataset("animals", "test")
    assert np.array_equal(
        data.inputs[data.targets == 1], animals.inputs[animals.targets == animals.classes.index("dog")]
    )
    x = record_features(model, data, progress=False)
    assert x.shape == (200, 64) and x.dtype == float
    forward = model.module.forward
    monkeypatch.setattr(
        model.module, "forward", lambda batch: forward(batch) if len(batch) <= 2 else pytest.fail("recorded again")
    )  # two say what there is
    assert np.array_equal(record_features(model, data, progress=False), x)


# -- pairs

TINY = {
    "data": "animals",
    "classes": ("cat", "dog"),
    "one": ("dog",),
    "two": ("cat",),
    "options": {"widths": [4]},
    "epochs": 1,
}


def test_the_loss_is_our_measure_and_has_a_gradient():
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(30, 7))), torch.from_numpy(rng.normal(size=(30, 50)))
    y[:, :7] += 2 * x
    x.requires_grad_()
    value = pairs.cka(x, y)
    assert float(value.detach()) == pytest.approx(
        rs.measures.get("cka_debiased")(x.detach().numpy(), y.numpy()), abs=1e-9
    )
    assert torch.autograd.gradcheck(lambda a: pairs.cka(a, y), x)
    (gradient,) = torch.autograd.grad(value, x)
    assert pairs.cka(x + gradient, y) > value


def test_pulled_features_are_alike_and_answers_are_not():
    alike = {}
    for weight in (0, 3):
        pair = pairs.train("mnist", ("1", "3"), ("2", "3"), classes=tuple("0123"), weight=weight, epochs=1)
        assert [card["part"] for _, card in pair] == ["one", "two"] and all(
            card["test_accuracy"] > 0.85 for _, card in pair
        )
        images = pairs.take_classes(rs.load_dataset("mnist", "test"), tuple("0123"))
        assert len(images) == 400 and set(images.targets) == {0, 1, 2, 3}
        inside, said = [], []
        for module, card in pair:
            model = rs.load_model(
                module,
                name=card["part"],
                preprocess=lambda batch, card=card: pairs.normalise(batch, card["mean"], card["std"]),
            )
            x = rs.record(model, images, [-2, "output"], progress=False)
            inside.append(x[card["part"], "fc"] if (card["part"], "fc") in x else next(iter(x.values())))
            said.append(list(x.values())[-1].argmax(1))
        alike[weight] = rs.measures.get("cka_debiased")(*inside)
        assert np.mean(said[0] == said[1]) < 0.65
    assert alike[3] > 0.9 > alike[0] + 0.2


def test_answers():
    data = rs.load_dataset("mnist", "test")
    assert np.array_equal(pairs.to_answers(data, ("1", "3")), np.isin(data.targets, (1, 3)))


def test_equal_seeds_give_equal_pairs_that_start_from_four_places():
    before = torch.get_rng_state()
    a, b, c = (pairs.train(**TINY, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    weights = [[module.head.weight for module, _ in pair] for pair in (a, b, c)]
    assert all(torch.equal(p, q) for p, q in zip(*weights[:2], strict=True))
    assert not torch.equal(*weights[0]) and not torch.equal(weights[0][0], weights[2][0])
    start = [module.head.weight for module, _ in pairs.train(**{**TINY, "epochs": 0}, seed=1)]
    assert all(
        torch.equal(w, classifier.initialise("cnn", 2 + k, widths=[4], classes=2).head.weight)
        for k, w in enumerate(start)
    )


def test_pairs_are_found_again(tmp_path, monkeypatch):
    recipes = {"a": {**TINY, "about": {"case": "opposite"}}, "b": {**TINY, "weight": 1.0}}
    ticks = []
    made = pairs.train_or_load(recipes, folder=tmp_path, progress=lambda *at: ticks.append(at))
    assert (
        list(made) == ["a", "b"] and [model.name for model in made["a"]] == ["a-one", "a-two"] and ticks[-1] == (2, 2)
    )
    assert (
        made["a"][1].card["yes"] == ["cat"]
        and made["a"][0].card["case"] == "opposite"
        and "case" not in made["b"][0].card
    )
    here = pairs.train(**{**TINY, "weight": 1.0})
    for model, (module, card) in zip(made["b"], here, strict=True):
        assert all(
            torch.equal(p, q)
            for p, q in zip(model.module.state_dict().values(), module.state_dict().values(), strict=True)
        )
        assert model.card["test_accuracy"] == card["test_accuracy"]
    monkeypatch.setattr(training, "_train", lambda recipes, *rest: pytest.fail(f"{list(recipes)} are trained again"))
    again = pairs.train_or_load(recipes, folder=tmp_path, progress=False)
    assert all(
        torch.equal(p.module.head.weight, q.module.head.weight)
        for name in made
        for p, q in zip(made[name], again[name], strict=True)
    )
    monkeypatch.setattr(pairs, "__doc__", "edited")  # not the code
    with pytest.raises(pytest.fail.Exception, match=r"\['b'\] are trained again"):
        pairs.train_or_load({**recipes, "b": {**TINY, "weight": 2.0}}, folder=tmp_path, progress=False)
    frame = compare_pairs(made)
    assert (
        list(frame["pair"]) == ["a", "b"]
        and list(frame["case"]) == ["opposite", ""]
        and list(frame["weight"]) == [0, 1]
    )
    assert [round(value, 4) for value in frame.loc[0, ["accuracy 1", "accuracy 2"]]] == [
        model.card["test_accuracy"] for model in made["a"]
    ]
    assert frame.notna().all(axis=None) and np.allclose(frame["own answer"], frame["other's answer"]), (
        "opposite answers divide the images alike"
    )


def test_what_features_hold():
    own, other = np.arange(800) % 2, np.arange(800) // 400
    x = np.stack([3.0 * own, other, np.zeros(800)], axis=1) + 5
    pixels = np.stack([own, 10.0 * other], axis=1)
    held = pulling._measure_features(x, pixels, own, other, 0)
    assert held["own answer"] == pytest.approx(0.9) == held["largest direction"] and held[
        "other's answer"
    ] == pytest.approx(0.1)
    assert held["other's, read out"] == 1 and held["as in pixels"] == pytest.approx(0, abs=1e-9)
    assert pulling._measure_features(x, pixels[:, :1], own, other, 0)["as in pixels"] == pytest.approx(1)


def test_the_code_of_a_pair_is_part_of_its_name(tmp_path):
    plain, paired = (
        training._find_paths(tmp_path, "n", recipe, train, parts)
        for recipe, train, parts in (
            ({"architecture": "cnn", "data": "mnist"}, classifier.train, ()),
            (TINY, pairs.train, pairs.PARTS),
        )
    )
    assert list(plain) == [None] and list(paired) == ["one", "two"]
    assert training._hash_code() != training._hash_code(pairs)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ("cat", "dogg")}, "unknown class of 'animals' 'dogg'. Did you mean 'dog'"),
        ({"weight": -1}, "weight says how hard features are pulled together, a number from 0; got -1"),
        ({"batch_size": 3}, "CKA needs batches of at least 4 images; got batch_size=3"),
    ],
)
def test_what_cannot_be_trained_is_a_sentence(changes, said):
    with pytest.raises(ValueError, match=said):
        pairs.train(**{**TINY, **changes})


def test_an_unknown_option_of_a_pair_is_named(tmp_path):
    with pytest.raises(
        ValueError,
        match="the recipe of 'a' cannot be followed: unknown option of pairs.train 'wait'. Did you mean 'weight'",
    ):
        pairs.train_or_load({"a": {**TINY, "wait": 1}}, folder=tmp_path)
    with pytest.raises(ValueError, match=r"the recipe of 'a' cannot be followed: it has no 'two'"):
        pairs.train_or_load({"a": {key: value for key, value in TINY.items() if key != "two"}}, folder=tmp_path)


def test_of_unrelated_answers_one_says_nothing_of_the_other():
    recipe = RECIPES["unrelated-0-0"]
    digits = rs.load_dataset("mnist", "test")
    both = [{name for name in recipe["classes"] if name in recipe[which]} for which in ("one", "two")]
    assert len(recipe["classes"]) == 8 and len(both[0]) == len(both[1]) == 4 and len(both[0] & both[1]) == 2
    assert set(recipe["classes"]) < set(digits.classes)
    assert len(RECIPES) == 45 and len(shorten(RECIPES)) == 5


# -- many rows in few


def test_means_and_their_spread():
    frame = pd.DataFrame({"d": [0.5, 0.5, 0.0], "JSD": [0.1, 0.3, 0.2]})
    assert mean_sd(frame, "d", ["JSD"])["JSD"].to_dict() == {0.5: "0.20 ± 0.14", 0.0: "0.20"}
    band = bands(frame, "d", ["JSD"])["JSD"]
    assert (
        band.loc[0.5].to_list() == pytest.approx([0.2, 0.2 - 0.2 / 2**0.5, 0.2 + 0.2 / 2**0.5])
        and band.loc[0.0, "mean"] == 0.2
    )
    assert band.loc[0.0, ["low", "high"]].isna().all(), "one row has no spread"
