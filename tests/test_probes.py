"""Probes: held-out and in-sample, what scaling hides, what chance gives, and the messages for bad sets."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import repsim_nb as rs
from repsim_nb import probes
from repsim_nb.support.errors import Stopped


def blobs(shifts, n=200, p=12, seed=0, spread=1.0):
    """Sets that differ in where they lie along one axis only."""
    rng = np.random.default_rng(seed)
    return {name: spread * rng.normal(size=(n, p)) + shift * np.eye(p)[0] for name, shift in shifts.items()}


def keyed(models=("a", "b"), data=("u/test", "v/test"), n=60, p=10, seed=0, model_shift=3.0, data_shift=0.0):
    rng = np.random.default_rng(seed)
    pictures = {d: rng.normal(size=(n, p)) for d in data}
    return {
        rs.Key(m, "conv", d): (
            pictures[d] + 0.5 * rng.normal(size=(n, p)) + model_shift * i * np.eye(p)[0] + data_shift * j * np.eye(p)[1]
        )
        for j, d in enumerate(data)
        for i, m in enumerate(models)
    }


def test_two_gaussians_give_the_accuracy_that_theory_says():
    bias = probes.dataset_bias(blobs({"a": 0, "b": 2}, n=6000), seed=1)
    assert bias.balanced_accuracy == pytest.approx(
        norm.cdf(1), abs=0.015
    )  # the best that any rule can do, and a linear one does it
    assert bias.chance == 0.5 and bias.p_value == 0.001
    np.testing.assert_allclose(bias.confusion.sum(axis=1), 1)
    assert bias.balanced_accuracy == pytest.approx(np.diag(bias.confusion).mean())


def test_it_is_the_one_versus_rest_svm_of_scikit_learn():
    sets = blobs({"a": 0, "b": 1, "c": 2.5}, n=120)
    bias = probes.dataset_bias(sets, scaling=None, cost=0.1)
    held = np.isin(np.arange(120), bias.predictions["sample"])
    x = {side: np.concatenate([s[which] for s in sets.values()]) for side, which in (("train", ~held), ("test", held))}
    y = np.repeat(np.arange(3), (~held).sum())
    theirs = LinearSVC(C=0.1, dual=False).fit(x["train"], y)
    assert (theirs.predict(x["test"]) == bias.predictions["predicted"]).mean() > 0.99
    assert theirs.score(x["train"], y) == pytest.approx(bias.in_sample_balanced_accuracy, abs=0.01)


@pytest.mark.parametrize("how", ["keys", "plain labels", "ids", "ids by label"])
def test_no_image_is_on_both_sides(how):
    rng = np.random.default_rng(0)
    if how == "keys":
        sets, groups, rows = keyed(), None, 2
    else:
        sets, rows = {name: rng.normal(size=(60, 5)) for name in "abc"}, 3
        groups = {
            "plain labels": None,
            "ids": np.arange(60) // 2,
            "ids by label": {name: rng.permutation(60) for name in "abc"},
        }[how]
        rows = 6 if how == "ids" else rows
    bias = probes.dataset_bias(sets, groups=groups)
    assert set(bias.predictions.groupby("image").size()) == {rows}, "of an image all rows are held out, or none"
    assert bias.n_train + bias.n_test == sum(map(len, sets.values()))
    assert bias.n_test == pytest.approx(0.3 * (bias.n_train + bias.n_test), abs=6)


def test_an_image_in_several_sets_gives_nothing_away():
    """Every set is the same pictures with a trace of noise: who has seen the picture's twin knows nothing of the
    set.
    """
    rng = np.random.default_rng(0)
    pictures = 5 * rng.normal(size=(150, 40))
    bias = probes.dataset_bias({name: pictures + 0.01 * rng.normal(size=pictures.shape) for name in "abcd"})
    assert bias.p_value > 0.01 and bias.balanced_accuracy < 0.35


def test_p_values_are_uniform_where_sets_do_not_differ():
    p = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        pictures = rng.normal(size=(30, 4))
        sets = {name: pictures + rng.normal(size=pictures.shape) for name in "abc"}
        p.append(probes.dataset_bias(sets, n_permutations=99, seed=seed).p_value)
    assert 0.4 < np.mean(p) < 0.62 and np.mean(np.array(p) <= 0.1) < 0.18
    assert min(p) >= 0.01


def test_scaling_each_set_by_itself_hides_a_shift_from_a_linear_probe():
    sets = blobs({"a": 0, "b": 3}, n=400)
    assert probes.dataset_bias(sets).balanced_accuracy > 0.85
    assert probes.dataset_bias(sets, scaling="per_set").balanced_accuracy < 0.6


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_activations_does_not_matter(unit):
    sets = blobs({"a": 0, "b": 3})
    expected, found = (
        probes.dataset_bias(s).predictions["predicted"] for s in (sets, {name: unit * x for name, x in sets.items()})
    )
    pd.testing.assert_series_equal(found, expected)


def test_scaling_is_fitted_to_the_training_rows_alone():
    sets = {"a": np.zeros((40, 3)) + np.arange(3), "b": np.ones((40, 3))}
    rng = np.random.default_rng(0)
    sets = {name: x + rng.normal(size=x.shape) for name, x in sets.items()}
    held = np.isin(np.arange(40), probes.dataset_bias(sets).predictions["sample"])
    wild = {name: np.where(held[:, None], 1e6 * x, x) for name, x in sets.items()}
    same = [probes.dataset_bias(s).in_sample_balanced_accuracy for s in (sets, wild)]
    assert same[0] == same[1], "what is held out changes nothing of the fit"


def test_a_kernel_sees_what_a_line_cannot():
    rng = np.random.default_rng(0)
    sets = {"narrow": rng.normal(size=(300, 6)), "wide": 3 * rng.normal(size=(300, 6))}
    assert probes.dataset_bias(sets).balanced_accuracy < 0.62
    assert probes.dataset_bias(sets, probe="rbf").balanced_accuracy > 0.9


def test_more_features_than_rows_lose_nothing_in_the_reduction():
    sets = blobs({"a": 0, "b": 1.5}, n=40, p=12)
    wide = {
        name: np.hstack([x, np.zeros((40, 300))]) @ np.linalg.qr(np.random.default_rng(1).normal(size=(312, 312)))[0]
        for name, x in sets.items()
    }
    ours, theirs = (probes.dataset_bias(s, scaling=None) for s in (sets, wide))
    pd.testing.assert_series_equal(ours.predictions["predicted"], theirs.predictions["predicted"])


def test_naming_one_field_alone():
    bias = probes.dataset_bias(keyed(data_shift=0.0))
    model, data = bias.by_field("model"), bias.by_field("dataset")
    assert model.balanced_accuracy > 0.8 and model.p_value < 0.01
    assert data.balanced_accuracy < 0.7 and model.chance == data.chance == 0.5
    assert list(model.confusion.index) == ["a", "b"]
    values = bias.confusion.index.get_level_values("model")
    right = values[bias.predictions["true"]] == values[bias.predictions["predicted"]]
    assert model.accuracy == pytest.approx(right.mean())


def test_order_labels_and_lines():
    bias = probes.dataset_bias(keyed())
    assert bias.labels() == ("u_a", "u_b", "v_a", "v_b")
    assert bias.breaks("dataset") == [2] and bias.breaks("model") == []
    mixed = probes.dataset_bias(
        {
            key: keyed()[key]
            for key in sorted(
                keyed(), key=lambda key: (key.dataset, key.model != "b" if key.dataset == "u/test" else key.model)
            )
        }
    )
    assert (
        mixed.labels() == ("u_b", "u_a", "v_a", "v_b")
        and mixed.breaks("dataset") == [2]
        and mixed.breaks("model") == []
    ), "a value that comes back is no group"
    assert (
        bias.ordered_by is None
        and bias.order_by("model").ordered_by == "model"
        and bias.order_by("model").by_field("model").ordered_by is None
    )
    turned = bias.order_by("model")
    assert turned.labels() == ("u_a", "v_a", "u_b", "v_b") and turned.breaks("model") == [2]
    assert turned.confusion.iloc[1, 3] == bias.confusion.iloc[2, 3]
    np.testing.assert_array_equal(turned.confused_samples(1, 3), bias.confused_samples(2, 3))
    subset = probes.dataset_bias({key._replace(dataset=f"{key.dataset}[n=60,seed=0]"): x for key, x in keyed().items()})
    assert subset.labels() == bias.labels()


def test_a_part_of_the_images_is_the_same_part_for_every_network():
    sets = keyed(n=200)
    some = probes.dataset_bias(sets, n=50)
    assert some.n_train + some.n_test == 4 * 50 and set(some.predictions.groupby("image").size()) == {2}
    held = {k: set(some.predictions.loc[some.predictions["true"] == k, "sample"]) for k in range(4)}
    assert held[0] == held[1] != held[2] == held[3] and max(map(max, held.values())) > 50, "row numbers of the whole"
    pd.testing.assert_frame_equal(probes.dataset_bias(sets, n=10**6).predictions, probes.dataset_bias(sets).predictions)
    with pytest.raises(ValueError, match="n must be an integer >= 4; got 3"):
        probes.dataset_bias(sets, n=3)


def test_confused_are_the_held_out_samples_of_that_cell():
    bias = probes.dataset_bias(keyed(model_shift=1.0))
    many = [[len(bias.confused_samples(i, j)) for j in range(4)] for i in range(4)]
    held = bias.predictions.groupby("true").size().to_numpy()
    np.testing.assert_allclose(np.array(many) / held[:, None], bias.confusion)


@pytest.mark.parametrize("cell", [(4, 0), (0, -1), ("u_a", "v_a")])
def test_cells_that_are_not_there_are_told(cell):
    with pytest.raises(ValueError, match="a class must be an integer from 0 to 3, its place in"):
        probes.dataset_bias(keyed()).confused_samples(*cell)


def test_it_is_the_same_again_and_another_for_another_seed():
    one, again, other = (probes.dataset_bias(keyed(), seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one.predictions, again.predictions)
    assert one.p_value == again.p_value
    assert set(one.predictions["sample"]) != set(other.predictions["sample"])


def test_progress_is_told_and_stops_it():
    seen = []
    probes.dataset_bias(keyed(), progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 4) and seen[-1] == (4, 4)

    assert len(seen) > 2 and seen == sorted(seen)

    def stop(done, total):
        raise Stopped

    with pytest.raises(Stopped):
        probes.dataset_bias(keyed(), progress=stop)


def test_images_that_occur_unequally_often_are_exchanged_all_the_same():
    sets = keyed(n=80, model_shift=3.0, data_shift=4.0)
    del sets[rs.Key("b", "conv", "u/test")]
    bias = probes.dataset_bias(sets)
    data = bias.by_field("dataset")
    assert data.balanced_accuracy > 0.9 and data.p_value == 0.001 and data.null.mean() == pytest.approx(0.5, abs=0.05)
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), rng.integers(3, 12, 40))
    x = rng.normal(size=(len(group), 4)) + 4 * (group % 2)[:, None]
    probe = probes.linear_probe(x, group % 2, groups=group)
    assert probe.balanced_accuracy > 0.95 and probe.p_value < 0.01


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_the_share_holds_where_groups_mix_classes(share):
    x, y = labelled(n=1000, classes=10, p=12)
    probe = probes.linear_probe(
        x, np.random.default_rng(0).permutation(y), groups=np.arange(1000) // 8, test_fraction=share
    )
    assert probe.n_test == round(share * 125) * 8


def test_p_values_of_one_field_are_not_too_small_where_it_does_not_matter():
    p = [
        probes.dataset_bias(keyed(n=30, model_shift=0.0, data_shift=3.0, seed=seed), n_permutations=99, seed=seed)
        .by_field("model")
        .p_value
        for seed in range(80)
    ]
    assert 0.38 < np.mean(p) < 0.72 and np.mean(np.array(p) <= 0.1) < 0.18, "uniform, or on the safe side"


def test_the_fit_of_one_field_is_its_own():
    bias = probes.dataset_bias(keyed(data_shift=0.0))
    model = bias.by_field("model")
    assert model.in_sample_balanced_accuracy > bias.in_sample_balanced_accuracy and model.n_train == bias.n_train
    values = bias.confusion.index.get_level_values("model")
    right = values[bias.fitted["true"]] == values[bias.fitted["predicted"]]
    assert model.in_sample_balanced_accuracy == pytest.approx(right.mean())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"b": np.zeros((60, 7))}, r"the same number of features in all sets; 'a' has 5, but 'b: 7'"),
        ({"b": np.ones((2, 5)) * [[1], [2]]}, r"'b' has too few samples: \d of its 2 rows"),
        ({"b": np.full((60, 5), np.nan)}, r"'b': .*NaN"),
        ({"b": [[1.0, 2.0], [3.0]]}, r"'b': .*all samples need the same number of features"),
        ({"b": None}, "needs two or more sets to distinguish; got 'a'"),
    ],
)
def test_bad_sets_are_named(change, sentence):
    sets = {
        "a": np.random.default_rng(0).normal(size=(60, 5)),
        "c": np.random.default_rng(1).normal(size=(60, 5)),
        **change,
    }
    if change["b"] is None:
        sets = {"a": sets["a"]}
    with pytest.raises(ValueError, match=sentence):
        probes.dataset_bias(sets)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scaling": "per-set"}, "Did you mean 'per_set'"),
        ({"probe": "liner"}, "Did you mean 'linear'"),
        ({"test_fraction": 1}, "between 0 and 1, the fraction of images held out; got 1"),
        ({"test_fraction": 0.01}, "too few samples"),
        ({"cost": 0}, "cost must be a number above 0"),
        ({"n_permutations": 0}, "integer >= 1"),
        ({"groups": [1, 2]}, r"groups of 'a' needs one label for each of 60; there are 2"),
        ({"groups": {"a": np.arange(60)}}, "there are none for 'b'"),
        ({"groups": {"a": np.arange(60), "b": np.full(60, np.nan)}}, "60 of 60 groups of 'b' are undefined"),
    ],
)
def test_bad_options_are_explained(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        probes.dataset_bias(blobs({"a": 0, "b": 1}, n=60), **options)


def test_sets_of_one_data_set_hold_the_same_images():
    sets = keyed()
    key = rs.Key("b", "conv", "v/test")
    with pytest.raises(ValueError, match="for 'v/test' there are sets of 60 and of 50 rows. Pass the image"):
        probes.dataset_bias({**sets, key: sets[key][:50]})


def test_fields_of_plain_labels_are_explained():
    with pytest.raises(ValueError, match="unknown field 'model'.*plain text"):
        probes.dataset_bias(blobs({"a": 0, "b": 1})).by_field("model")
    with pytest.raises(ValueError, match="needs two or more values of it; all 2 sets have 'conv'"):
        probes.dataset_bias({k: x for k, x in keyed().items() if k.dataset == "u/test"}).by_field("layer")


# -- linear_probe


def labelled(n=300, p=8, classes=3, apart=1.5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return rng.normal(size=(n, p)) + apart * np.eye(p)[y], y


def test_a_linear_probe_is_logistic_regression_on_held_out_rows():
    x, y = labelled()
    probe = probes.linear_probe(x, y, scaling=False)
    held = np.isin(np.arange(len(x)), probe.predictions["sample"])
    theirs = LogisticRegression(max_iter=2000).fit(x[~held], y[~held])
    np.testing.assert_array_equal(probe.predictions["predicted"], theirs.predict(x[held]))
    assert probe.accuracy == pytest.approx(theirs.score(x[held], y[held])) and probe.chance == pytest.approx(1 / 3)
    assert (y[held] == 0).sum() == (y[held] == 1).sum() == 30, "a fraction of every class"


def test_targets_may_be_anything_and_rows_to_test_on_may_be_given():
    x, y = labelled()
    names = np.array(["cat", "dog", "cow"])[y]
    probe = probes.linear_probe(x[:200], names[:200], test=(x[200:], names[200:]))
    assert probe.labels() == ("cat", "cow", "dog") and probe.n_test == 100
    assert probes.linear_probe(x, y, classes=["cat", "dog", "cow"]).labels() == ("cat", "dog", "cow")


def test_a_probe_of_noise_is_at_chance_and_its_p_value_says_so():
    x, y = labelled(apart=0, n=600)
    probe = probes.linear_probe(x, y)
    assert probe.balanced_accuracy < 0.45 and probe.p_value > 0.01 and probe.in_sample_balanced_accuracy > probe.chance


def test_groups_stay_on_one_side_for_a_probe_too():
    x, y = labelled()
    probe = probes.linear_probe(x, y, groups=np.arange(300) // 6)
    assert set(probe.predictions.groupby("image").size()) == {6}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"targets": np.zeros(300)}, "all 300 targets are '0.0'"),
        ({"targets": np.arange(299)}, r"targets needs one label for each of 300; there are 299"),
        ({"targets": np.r_[np.zeros(298), 1, 1]}, r"'1.0' has too few samples: \d of its 2 rows"),
        ({"targets": np.linspace(0, 1, 300)}, "must be classes .*; got numbers such as 0.0033.*linear_predictivity"),
        ({"targets": np.repeat([0.5, 1.5], 150)}, "must be classes .*; got numbers such as 0.5.*pd.qcut"),
        ({"test": (np.zeros((4, 8)), np.full(4, 0.25))}, "must be classes .*; got numbers such as 0.25"),
        ({"targets": np.r_[np.full(5, np.nan), np.ones(295)]}, "5 of 300 targets are undefined"),
        ({"groups": [None] * 300}, "300 of 300 groups are undefined"),
        ({"classes": ["no", "yes"]}, "classes has names of the targets 0 to 1; these targets are '0', '1', '2'"),
        ({"targets": np.tile(["a", "b"], 150), "classes": ["no", "yes"]}, "these targets are 'a', 'b'"),
        (
            {"test": (np.arange(12.0).reshape(4, 3), np.zeros(4))},
            "as many features as x, 8; the rows to test on have 3",
        ),
        ({"groups": [1, 2, 3]}, "groups needs one label for each of 300; there are 3"),
    ],
)
def test_bad_probes_are_explained(change, sentence):
    x, y = labelled()
    with pytest.raises(ValueError, match=sentence):
        probes.linear_probe(x, **{"targets": y, **change})


def test_a_real_network_carries_its_training_set_in_its_features():
    """Features of models on images that neither was trained on: a probe predicts the model, held out."""
    data = rs.load_dataset("animals", n=200)
    x = rs.record(["zoo:mnist-cnn-0", "zoo:fashion-cnn-0", "zoo:untrained-cnn-0"], data, "conv3", progress=False)
    bias = probes.dataset_bias(x)
    assert bias.balanced_accuracy > 0.95 and bias.p_value == 0.001
    assert bias.labels() == ("mnist-cnn-0", "fashion-cnn-0", "untrained-cnn-0")
