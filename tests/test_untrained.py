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


def test_a_layer_that_draws_only_some_of_its_weights_is_named():
    class Half(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.scale = nn.Parameter(torch.ones(3))

    with pytest.raises(ValueError, match="these have no reset_parameters: '0.scale'"):
        rs.models.untrained_twin(rs.load_model(nn.Sequential(Half()), name="mine"))
    # reset_parameters draws `weight`, which is computed from the trained `weight_orig`
    normed = nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 3)))
    with pytest.raises(ValueError, match="these have no reset_parameters: '0.weight_orig'"):
        rs.models.untrained_twin(rs.load_model(normed, name="mine"))


def test_outer_layers_draw_after_inner_ones_as_when_they_are_made():
    trained = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    torch.nn.init.ones_(trained.self_attn.out_proj.bias)
    twin = rs.models.untrained_twin(rs.load_model(trained, name="mine"), seed=3)
    assert not twin.module.self_attn.out_proj.bias.any()  # MultiheadAttention sets zeros, after its inner Linear


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_a_module_that_cannot_be_copied_is_named():
    module = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 3)))
    with pytest.raises(ValueError, match="in a copy of 'mine', and Sequential cannot be copied"):
        rs.models.untrained_twin(rs.load_model(module, name="mine"))


def test_a_spec_that_needs_weights_is_created_once_by_its_library(monkeypatch):
    loads = []

    def library(name, *, weights=None, seed=0):
        if weights is None:
            raise ValueError("it needs weights=")
        loads.append((weights, seed))
        return rs.Model(f"untrained-{name}-{seed}", Norms(), layers=("fc", "output"), card={"architecture": name})

    monkeypatch.setitem(rs.models.SOURCES, "mine", library)
    twin = rs.models.untrained_twin("mine:norms", seed=3)
    assert loads == [("random", 3)] and twin.name == "untrained-norms"
    assert twin.card == {"architecture": "norms", "epochs": 0, "seed": 3, "parameters": 9}


def small_transformer(tmp_path, kind, **options):
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, **options}
    made = rs.load_model(f"transformers:{kind}", weights="random", seed=7, options=sizes)
    made.module.save_pretrained(tmp_path / "mine")
    return rs.load_model(f"transformers:{tmp_path / 'mine'}")


@pytest.mark.parametrize(
    ("kind", "options"), [("bert", {"vocab_size": 50}), ("vit", {"image_size": 16, "patch_size": 8})]
)
def test_a_loaded_model_of_transformers_is_drawn_by_its_configuration(tmp_path, kind, options):
    model = small_transformer(tmp_path, kind, **options)
    twin = rs.models.untrained_twin(model, seed=3)  # "vit" is an architecture of the zoo too
    by_spec = rs.models.untrained_twin(f"transformers:{tmp_path / 'mine'}", seed=3)
    assert twin.name == by_spec.name == "untrained-mine" and twin.layers == model.layers
    assert weights(twin).keys() == weights(model).keys()
    assert all(torch.equal(value, weights(by_spec)[name]) for name, value in weights(twin).items())


class Norms(nn.Module):
    """A model of a library whose rule is not `reset_parameters`."""

    def __init__(self, width=3):
        super().__init__()
        self.fc = nn.Linear(2, width)
        nn.init.normal_(self.fc.weight, std=100.0)

    def forward(self, x):
        return self.fc(x)


def test_a_loaded_model_of_a_library_is_drawn_by_the_library(monkeypatch):
    def library(name, *, weights=None, seed=0, options=None):
        torch.manual_seed(seed)
        card = {"source": "mine", "architecture": name, **({"options": options} if options else {})}
        return rs.Model(name, Norms(**(options or {})), layers=("fc", "output"), card=card)

    monkeypatch.setitem(rs.models.SOURCES, "mine", library)
    model = rs.load_model("mine:norms", weights="pretrained", options={"width": 4})
    twin = rs.models.untrained_twin(model, seed=1)
    assert twin.module.fc.weight.shape == (4, 2) and twin.module.fc.weight.abs().max() > 2
    assert twin.card["source"] == "mine" and twin.card["options"] == {"width": 4}
    model.module.fc = nn.Linear(2, 5)  # no longer the model of the card
    assert rs.models.untrained_twin(model, seed=1).module.fc.weight.shape == (5, 2)


@pytest.mark.parametrize(
    "stress, word", [(0.0, "faithful"), (0.104, "faithful"), (0.106, "fair"), (0.204, "fair"), (0.206, "poor")]
)
def test_two_maps_with_the_same_written_stress_get_the_same_word(stress, word):
    assert rate_map("smacof", stress, 1.0) == word


def test_a_tsne_is_rated_by_its_trustworthiness():
    assert [rate_map("tsne", 1.0, trust) for trust in (0.9, 0.8, 0.7)] == ["faithful", "fair", "poor"]
