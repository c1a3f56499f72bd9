import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import repsim_nb as rs
from repsim_nb.recipes import classifier, zoo


def test_a_retrained_network_meets_its_card(tmp_path):
    """The whole recipe, file included, for one network."""
    threads = torch.get_num_threads()
    card = zoo.build("mnist-mlp-1", tmp_path)
    torch.set_num_threads(threads)
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
    shipped = load_file(rs.files.shipped("data") / "zoo/untrained-cnn-0.safetensors")
    assert all(np.allclose(started[k], shipped[k]) for k in started)


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown architecture 'cnnn'. Did you mean 'cnn'"):
        classifier.train("cnnn", "mnist")
    with pytest.raises(ValueError, match="unknown labels 'shuffle'. Did you mean 'shuffled'"):
        classifier.train("cnn", "mnist", labels="shuffle")
