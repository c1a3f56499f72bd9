"""The published distances between ImageNet models are read as they are."""

import numpy as np
import pytest

from repsim_nb.studies.published import IMAGENET_MEASURES, IMAGENET_SETS, imagenet_distances, imagenet_families
from repsim_nb.support.files import shipped_folder


@pytest.mark.parametrize("images", IMAGENET_SETS)
def test_tables_hold_the_published_numbers(images):
    with np.load(shipped_folder("data") / "published_scores" / "imagenet_37_networks.npz") as found:
        names = list(found["names"])
        for name, key in IMAGENET_MEASURES.items():
            table, listed = imagenet_distances(images, name), found[f"{IMAGENET_SETS[images]}/{key}"]
            assert (
                table.shape == (37, 37)
                and (np.diag(table) == 0).all()
                and (table.to_numpy() == table.to_numpy().T).all()
                and np.isfinite(table.to_numpy()).all()
            )
            k = 0
            for i in range(37):
                for j in range(i + 1, 37):
                    assert table.loc[names[i], names[j]] == listed[k]
                    k += 1
            assert k == 666 and table.index.name == "model"


def test_every_network_has_a_family():
    found = imagenet_families()
    assert found.value_counts().to_dict() == {
        "regnet": 14,
        "efficientnet": 8,
        "convnext": 4,
        "mobilenet": 4,
        "residual": 3,
        "plain": 2,
        "inception": 2,
    }
    assert (
        list(found.index) == list(imagenet_distances().index)
        and found["wide_resnet50_2"] == "residual"
        and found["vgg16"] == "plain"
        and found["mnasnet"] == "mobilenet"
    )
    near = imagenet_distances()
    within = [near.loc[a, b] for a in near for b in near if a < b and found[a] == found[b]]
    between = [near.loc[a, b] for a in near for b in near if a < b and found[a] != found[b]]
    assert np.mean(within) < 0.7 * np.mean(between), "the order of the names is that of the rows"


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown set of images 'cifar'.*'mnist'"):
        imagenet_distances("cifar")
    with pytest.raises(ValueError, match="Did you mean 'CKA'"):
        imagenet_distances(measure="cka")
