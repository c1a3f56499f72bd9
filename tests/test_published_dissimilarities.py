"""The published dissimilarities that ship are read as they are, and have the published and the known values."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import repsim_nb as rs
from repsim_nb.inputs.datasets.published import IMAGENET_MEASURES, IMAGENET_SETS
from repsim_nb.support.files import shipped_folder

SPEARMAN, PEARSON = rs.measures.get("rsa"), rs.measures.RSA(second="pearson")
UPPER = np.triu_indices(37, 1)


@pytest.fixture(scope="module")
def brains():
    return rs.datasets.brains()


@pytest.fixture(scope="module")
def human(brains):
    """The mean of the four people, the group RDM of the papers."""
    return rs.RDM(sum(rdm.values for rdm in brains.people.values()) / 4, brains.monkey.ids)


def test_human_and_monkey_it_agree_as_published(brains, human):
    assert PEARSON(human, brains.monkey) == pytest.approx(0.4912, abs=5e-5), "r = .49 in Kriegeskorte and others 2008"
    assert SPEARMAN(human, brains.monkey) == pytest.approx(0.439, abs=5e-4)
    vectors = human.vector(), brains.monkey.vector()
    assert SPEARMAN(human, brains.monkey) == pytest.approx(stats.spearmanr(*vectors).statistic, abs=1e-12)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("animacy", 0.588), ("faces, bodies, made, natural", 0.405), ("EVA", 0.354), ("HMAX", 0.222), ("V1", 0.039)],
)
def test_models_explain_human_it_as_known(brains, human, model, expected):
    assert SPEARMAN(human, brains.models[model]) == pytest.approx(expected, abs=5e-4)


def test_judgements_and_the_noise_ceiling(brains, human):
    judged = rs.RDM(sum(rdm.values for rdm in brains.judgements.values()) / 16, brains.monkey.ids)
    assert SPEARMAN(human, judged) == pytest.approx(0.392, abs=5e-4)
    ceiling = rs.inference.noise_ceiling("rsa", brains.people)
    assert (ceiling.lower, ceiling.upper) == pytest.approx((0.377, 0.6719), abs=5e-5)
    ranks = stats.rankdata([rdm.vector() for rdm in brains.people.values()], axis=1)
    again = [  # rsatoolbox 0.3.2 ranks the mean of ranks again: boot_noise_ceiling gives .3723 and .6657
        np.mean([stats.spearmanr(ranks[k], ranks[rest].mean(axis=0)).statistic for k, rest in enumerate(others)])
        for others in (1 - np.eye(4) > 0, np.ones((4, 4)) > 0)
    ]
    assert again == pytest.approx([0.3723, 0.6657], abs=5e-5)


def test_four_people_give_no_interval_over_people(brains):
    models = {name: brains.models[name] for name in ("animacy", "V1")}
    over_both = rs.inference.compare_models("rsa", models, brains.people, n_bootstrap=20).values
    assert np.isinf(over_both[["low", "high"]]).all(axis=None)
    found = rs.inference.compare_models("rsa", models, brains.people, resample="samples", n_bootstrap=40)
    assert (
        0.2 < found.values.loc["animacy", "low"] < found.values.loc["animacy", "mean"] == pytest.approx(0.386, abs=1e-3)
    )
    assert found.differences["significant"].all()


def test_the_parts_of_brains_belong_together(brains, human):
    with np.load(shipped_folder("data") / "brains" / "rdms_92_objects.npz") as found:
        assert np.abs(human.vector() - found["human_it_group"]).max() < 1e-6
        names = [str(name) for name in found["model_names"]]
        assert np.array_equal(found["models"][names.index("monkeyIT")], found["monkey_it"])
        assert np.array_equal(brains.judgements["judge 16"].vector(), found["behaviour"][15])
    sessions = [brains.sessions[f"person 3, session {k}"].values for k in (1, 2)]
    assert np.allclose(sum(sessions) / 2, brains.people["person 3"].values, atol=1e-12)
    assert [len(part) for part in (brains.people, brains.sessions, brains.judgements, brains.models)] == [4, 8, 16, 7]
    everything = [brains.monkey, *brains.people.values(), *brains.judgements.values(), *brains.models.values()]
    assert all(list(rdm.ids) == list(brains.stimuli.index) for rdm in everything) and brains.stimuli.index.is_unique
    living = brains.stimuli["animal"].to_numpy() | brains.stimuli["human"].to_numpy()
    assert np.array_equal(brains.models["animacy"].values, living[:, None] != living), (
        "stimuli are in the order of RDMs"
    )


@pytest.mark.parametrize("images", IMAGENET_SETS)
def test_tables_hold_the_published_numbers(images):
    with np.load(shipped_folder("data") / "imagenet_maps" / "imagenet_37_networks.npz") as found:
        names = list(found["names"])
        for name, key in IMAGENET_MEASURES.items():
            table, listed = rs.datasets.imagenet_distances(images, name), found[f"{IMAGENET_SETS[images]}/{key}"]
            values = table.to_numpy()
            assert table.shape == (37, 37) and table.index.name == "model" and list(table.index) == names
            assert (np.diag(values) == 0).all() and (values == values.T).all() and np.isfinite(values).all()
            assert (values[UPPER] > 0).all(), "no published distance is negative"
            k = 0
            for i in range(37):
                for j in range(i + 1, 37):
                    assert values[i, j] == listed[k]
                    k += 1
            assert k == 666


def agreement(a, b):
    return rs.inference.rank_correlation(a, b, p="asymptotic").statistic


@pytest.mark.parametrize(
    ("images", "procrustes", "mean_cca"), [("imagenet", 0.87, 0.17), ("mnist", 0.93, -0.16), ("faces", 0.96, -0.11)]
)
def test_measures_agree_on_pairs_as_known(images, procrustes, mean_cca):
    cka = rs.datasets.imagenet_distances(images)
    assert agreement(cka, rs.datasets.imagenet_distances(images, "Procrustes")) == pytest.approx(procrustes, abs=5e-3)
    assert agreement(cka, rs.datasets.imagenet_distances(images, "mean CCA")) == pytest.approx(mean_cca, abs=5e-3)


def test_a_map_depends_on_the_images_and_cca_on_the_widths():
    near, other = rs.datasets.imagenet_distances(), rs.datasets.imagenet_distances("mnist")
    assert agreement(near, other) == pytest.approx(0.40, abs=5e-3)
    over_models = rs.inference.rank_interval(near, other)
    assert (over_models.low, over_models.high) == pytest.approx((0.04, 0.67), abs=5e-3)
    width = np.log(rs.datasets.imagenet_models()["features"])
    ratio = pd.DataFrame(np.abs(np.subtract.outer(width.to_numpy(), width.to_numpy())), near.index, near.index)
    assert agreement(rs.datasets.imagenet_distances(measure="mean CCA"), ratio) == pytest.approx(-0.80, abs=5e-3)
    assert abs(agreement(near, ratio)) < 0.06


def test_two_columns_agree_if_ranks_replace_widths():
    """GULP without a ridge is p + q - 2s, and mean squared CCA 1 - s / min(p, q): p and q are ranks."""
    models = rs.datasets.imagenet_models()
    width = models["features"].to_numpy()
    narrow, both = np.minimum.outer(width, width), np.add.outer(width, width)
    lost = {}
    for images in IMAGENET_SETS:
        gulp = rs.datasets.imagenet_distances(images, "GULP, ridge 0").to_numpy()
        squared = rs.datasets.imagenet_distances(images, "mean squared CCA").to_numpy()
        missing = both - gulp - 2 * (1 - squared) * narrow
        named = pd.DataFrame(missing, models.index, models.index)
        assert (
            np.abs(
                named.drop(index=["alexnet", "vgg16"], columns=["alexnet", "vgg16"]).to_numpy()[np.triu_indices(35, 1)]
            ).max()
            < 2.1
        )
        lost[images] = named.drop(index=["alexnet", "vgg16"]).median()[["alexnet", "vgg16"]].round().tolist()
        implied = 1 - (both - gulp) / 2 / narrow
        assert (implied[UPPER] < 0).sum() == (7 if images == "mnist" else 0), "widths for ranks give negative distances"
    assert lost == {"imagenet": [18, 1], "mnist": [1127, 329], "faces": [215, 31]}


def test_every_model_has_a_family():
    found, near = rs.datasets.imagenet_models(), rs.datasets.imagenet_distances()
    family = found["family"]
    assert family.value_counts().to_dict() == {
        "regnet": 14,
        "efficientnet": 8,
        "convnext": 4,
        "mobilenet": 4,
        "residual": 3,
        "plain": 2,
        "inception": 2,
    }
    assert list(found.index) == list(near.index)
    assert [family[name] for name in ("wide_resnet50_2", "vgg16", "mnasnet")] == ["residual", "plain", "mobilenet"]
    same = np.equal.outer(family.to_numpy(), family.to_numpy())[UPPER]
    distances = near.to_numpy()[UPPER]
    assert distances[same].mean() < 0.7 * distances[~same].mean(), "the order of the names is that of the rows"


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown set of images 'cifar'.*'mnist'"):
        rs.datasets.imagenet_distances("cifar")
    with pytest.raises(ValueError, match="Did you mean 'CKA'"):
        rs.datasets.imagenet_distances(measure="cka")
