import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.errors import Stopped
from repsim_nb.models.running import capture


class Inplace(nn.Module):
    """A convolution whose output the next module overwrites."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Linear(3 * 26 * 26, 4)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).flatten(1))


class Odd(nn.Module):
    """Layers that return tuples, mappings and nothing; one that runs twice, one that never does, one without a sample axis."""

    def __init__(self):
        super().__init__()
        self.lstm, self.twice, self.never, self.position = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 5), nn.Linear(1, 1), nn.Embedding(7, 5)
        self.nothing = self.Nothing()

    class Nothing(nn.Module):
        def forward(self, x):
            return None

    def forward(self, x):
        h, _ = self.lstm(x)
        self.nothing(h)
        h = self.twice(self.twice(h)) + self.position(torch.arange(7))
        return {"last_hidden_state": h, "other": 3}


def odd():
    torch.manual_seed(0)
    return rs.load_model(Odd(), name="odd")


def test_recorded_is_what_a_forward_pass_gives_bit_for_bit(mnist):
    model = rs.load_model("zoo:mnist-cnn-0")
    x = rs.record(model, mnist, batch_size=64, progress=False)
    assert [key.layer for key in x] == list(model.layers) and all(key == (model.name, key.layer, mnist.name, 0, "flatten") for key in x)
    with torch.inference_mode():
        for start in range(0, len(mnist), 64):
            h = model.preprocess(mnist.inputs[start : start + 64])
            for name in model.layers[:-1]:
                h = getattr(model.module, name)(h)
                assert np.array_equal(x[name][start : start + 64], h.flatten(1).numpy())


def test_values_do_not_depend_on_the_batch_size(mnist):
    a, b = (rs.record("zoo:mnist-resnet-0", mnist, batch_size=size, progress=False) for size in (7, 200))
    assert all(np.allclose(a[key], b[key], atol=1e-5) for key in a)


def test_an_in_place_relu_after_the_layer_does_not_reach_the_recording(mnist):
    torch.manual_seed(0)
    module = Inplace()
    x = rs.record(rs.load_model(module, name="inplace"), mnist, "conv", progress=False)["conv"]
    with torch.inference_mode():
        expected = module.conv(rs.load_model(module).preprocess(mnist.inputs)).flatten(1)
    assert x.min() < 0 and np.allclose(x, expected.numpy(), atol=1e-6)


def test_the_model_is_left_as_it_was(mnist):
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3))
    module.train()
    module[3].eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    state = torch.get_rng_state()
    x = rs.record(rs.load_model(module, name="m"), mnist, ["2", "output"], progress=False)
    y = rs.record(rs.load_model(module, name="m"), mnist, ["2", "output"], progress=False)
    assert np.array_equal(x["output"], y["output"]), "no dropout while recording"
    assert module.training and module[2].training and not module[3].training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any(m._forward_hooks for m in module.modules())


def test_hooks_come_off_after_an_exception(mnist):
    model = rs.load_model("zoo:mnist-cnn-0")

    def stop(done, total):
        raise Stopped

    model.module.train()
    with pytest.raises(Stopped):
        rs.record(model, mnist, progress=stop)
    assert not any(m._forward_hooks for m in model.module.modules()) and model.module.training
    with pytest.raises(RuntimeError), capture(model.module, ["conv1", "output"], lambda name, out: None):
        raise RuntimeError
    assert not any(m._forward_hooks for m in model.module.modules())


def test_progress_is_told_and_ends_at_the_total(mnist):
    told = []
    rs.record(["zoo:mnist-mlp-0", "zoo:mnist-mlp-1"], mnist, batch_size=60, progress=lambda done, total: told.append((done, total)))
    assert told[0] == (60, 400) and told[-1] == (400, 400) and [d for d, _ in told] == sorted(d for d, _ in told)


def test_tuples_and_mappings_give_their_tensor():
    data = np.random.default_rng(0).normal(size=(6, 7, 4)).astype(np.float32)
    x = rs.record(odd(), data, ["lstm", "output"], progress=False)
    assert x["lstm"].shape == (6, 35) and x["output"].shape == (6, 35)


@pytest.mark.parametrize("layer, words", [
    ("nothing", "layer 'nothing' of 'odd' returns NoneType with no tensor"), ("never", "layer 'never' of 'odd' did not run"),
    ("twice", "layer 'twice' of 'odd' ran more than once"), ("position", r"layer 'position' of 'odd' has no sample axis: for 2 samples it gave shape \(7, 5\)"),
])  # fmt: skip
def test_layers_that_cannot_be_recorded_are_named(layer, words):
    data = np.zeros((6, 7, 4), np.float32)
    with pytest.raises(ValueError, match=words):
        rs.record(odd(), data, layer, progress=False)


def test_pools():
    data = np.random.default_rng(0).normal(size=(6, 7, 4)).astype(np.float32)
    whole = rs.record(odd(), data, "lstm", progress=False)["lstm"].reshape(6, 7, 5)
    for pool, expected in {"mean": whole.mean(1), "first": whole[:, 0], "last": whole[:, -1]}.items():
        assert np.allclose(rs.record(odd(), data, "lstm", pool=pool, progress=False)["lstm"], expected, atol=1e-6)

    def largest(x):
        return x.amax(1)

    x = rs.record(odd(), data, "lstm", pool=largest, progress=False)
    assert np.allclose(x["lstm"], whole.max(1)) and "largest" in next(iter(x)).pool
    pictures = rs.load_dataset("mnist", n=5)
    conv = rs.record("zoo:mnist-cnn-0", pictures, "conv1", progress=False)["conv1"].reshape(5, 16, 14, 14)
    assert np.allclose(rs.record("zoo:mnist-cnn-0", pictures, "conv1", pool="mean", progress=False)["conv1"], conv.mean((2, 3)), atol=1e-6)
    with pytest.raises(ValueError, match="unknown pool 'man'. Did you mean 'mean'"):
        rs.record("zoo:mnist-cnn-0", pictures, pool="man")
    with pytest.raises(ValueError, match="layer 'conv1' of 'mnist-cnn-0' has activations .* a token can be taken of"):
        rs.record("zoo:mnist-cnn-0", pictures, "conv1", pool="first", progress=False)
    with pytest.raises(ValueError, match="was pooled by 'lambda' .* must keep the 2 samples as rows"):
        rs.record("zoo:mnist-cnn-0", pictures, "conv1", pool=lambda x: x.sum(), progress=False)


def test_layers_nobody_asked_for_are_left_out_with_a_warning():
    data = np.random.default_rng(0).normal(size=(6, 7, 4)).astype(np.float32)
    with pytest.warns(UserWarning, match="3 layers of 'odd' are left out: .*'twice' ran more than once"):
        x = rs.record(odd(), data, progress=False)
    assert [k.layer for k in x] == ["lstm", "output"]
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, batch_first=True), 2)
    with pytest.warns(UserWarning, match="left out"):
        assert len(rs.record(rs.load_model(encoder, name="e"), data, progress=False)) >= 1


def test_the_last_layer_is_recorded_once(mnist):
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 3))
    x = rs.record(rs.load_model(module, name="m"), mnist, progress=False)
    assert [k.layer for k in x] == ["1", "output"] and len(rs.record(rs.load_model(module, name="m"), mnist, ["3", "output"], progress=False)) == 2


def test_a_layer_that_the_output_overwrites_is_no_twin_of_it(mnist):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(inplace=True))
    x = rs.record(rs.load_model(module, name="m"), mnist, progress=False)
    assert [k.layer for k in x] == ["1", "output"] and x["1"].min() < 0 <= x["output"].min()


def test_a_part_called_output_is_not_the_output(mnist):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.output = nn.Linear(784, 4)

        def forward(self, x):
            return self.output(x.flatten(1)) + 100

    assert rs.record(rs.load_model(Named(), name="n"), mnist, "output", progress=False)["output"].min() > 50


def test_what_a_model_cannot_run_is_said_with_shapes(mnist):
    with pytest.raises(ValueError, match=r"model 'mnist-cnn-0' could not run on 'big': 2 samples, \(2, 32, 32, 3\) uint8, reached it as \(2, 3, 32, 32\) float32, and it said: "):
        rs.record("zoo:mnist-cnn-0", rs.Dataset("big", np.zeros((5, 32, 32, 3), np.uint8)), progress=False)
    with pytest.raises(ValueError, match="device 'cuda' was asked for"):
        rs.record("zoo:mnist-cnn-0", mnist, device="cuda", progress=False)
    with pytest.raises(ValueError, match="unknown dataset 'minst'. Did you mean 'mnist'"):
        rs.record("zoo:mnist-cnn-0", "minst", progress=False)
    with pytest.raises(ValueError, match="at least one model"):
        rs.record([], mnist)


def test_half_precision_is_recorded_as_float32():
    module = nn.Sequential(nn.Linear(4, 3)).bfloat16()
    x = rs.record(rs.load_model(module, name="half", preprocess=lambda b: torch.as_tensor(b).bfloat16()), np.ones((5, 4), np.float32), progress=False)
    assert x["output"].dtype == np.float32


def test_bad_requests_teach(mnist):
    with pytest.raises(ValueError, match="unknown layer of 'mnist-cnn-0' 'conv9'. Did you mean 'conv"):
        rs.record("zoo:mnist-cnn-0", mnist, ["conv1", "conv9"])
    with pytest.raises(ValueError, match="need different names"):
        rs.record(["zoo:mnist-cnn-0", "zoo:mnist-cnn-0"], mnist)
    with pytest.raises(ValueError, match="batch_size is at least 1"):
        rs.record("zoo:mnist-cnn-0", mnist, batch_size=0)
    with pytest.raises(ValueError, match="is empty"):
        rs.record("zoo:mnist-cnn-0", np.zeros((0, 28, 28), np.uint8))
    with pytest.raises(ValueError, match="pool is one of"):
        rs.record("zoo:mnist-cnn-0", mnist, pool=3)


def test_a_network_that_mixes_samples_is_refused(rng):
    def encoder(batch_first):
        torch.manual_seed(0)
        return torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first), 1, enable_nested_tensor=False)

    tokens = rng.normal(size=(6, 5, 8)).astype(np.float32)
    with pytest.raises(ValueError, match="mixes samples: .* depend on batch_size. .* batch_first=True"):
        rs.record(rs.load_model(encoder(False), name="t"), tokens, layers="output", progress=False)
    x = rs.record(rs.load_model(encoder(True), name="t"), tokens, layers="output", progress=False)
    y = rs.record(rs.load_model(encoder(True), name="t"), tokens, layers="output", batch_size=2, progress=False)
    assert np.allclose(x["output"], y["output"], atol=1e-5)
