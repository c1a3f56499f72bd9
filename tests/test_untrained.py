"""Untrained twins: the same architecture with other weights, drawn by a seed."""

import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.results.embedding.trust import rate_map


def weights(model):
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def test_a_twin_of_the_zoo_is_the_model_before_its_first_step():
    twin, ships = rs.models.untrained_twin("zoo:mnist-vit-0"), rs.load_model("zoo:untrained-vit-0")
    assert twin.name == "untrained-mnist-vit-0" and twin.layers == ships.layers and twin.card["epochs"] == 0
    assert all(torch.equal(value, weights(ships)[name]) for name, value in weights(twin).items())
    assert twin.preprocess.keywords == rs.load_model("zoo:mnist-vit-0").preprocess.keywords


def test_a_module_is_drawn_again_by_the_seed_and_stays_as_it_is():
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    model = rs.load_model(module, name="mine")
    before, state = weights(model), torch.get_rng_state()
    one, same, other = (rs.models.untrained_twin(model, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in weights(model).items())
    assert all(torch.equal(value, weights(same)[name]) for name, value in weights(one).items())
    assert not torch.equal(one.module[0].weight, other.module[0].weight)
    assert not torch.equal(one.module[0].weight, before["0.weight"])
    assert rs.record(one, np.zeros((30, 4), "float32"), progress=False)["untrained-mine/output"].shape == (30, 2)


def test_weights_without_a_rule_are_named():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.inside = nn.Parameter(torch.ones(3)), nn.Linear(3, 3)

        def forward(self, x):
            return self.inside(x * self.scale)

    with pytest.raises(ValueError, match="'mine' again layer by layer, and these have no reset_parameters: 'scale'"):
        rs.models.untrained_twin(rs.load_model(Scaled(), name="mine"))


@pytest.mark.parametrize(
    "stress, word", [(0.0, "faithful"), (0.104, "faithful"), (0.106, "fair"), (0.204, "fair"), (0.206, "poor")]
)
def test_two_maps_with_the_same_written_stress_get_the_same_word(stress, word):
    assert rate_map("smacof", stress, 1.0) == word


def test_a_tsne_is_rated_by_its_trustworthiness():
    assert [rate_map("tsne", 1.0, trust) for trust in (0.9, 0.8, 0.7)] == ["faithful", "fair", "poor"]
