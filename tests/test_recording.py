import dataclasses
import functools
import random
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import repsim_nb as rs
from repsim_nb.inputs.models.running import capture
from repsim_nb.inputs.store.folder import StoreFolder
from repsim_nb.support.errors import Stopped


class Inplace(nn.Module):
    """A convolution whose output the next module overwrites."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Linear(3 * 26 * 26, 4)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).flatten(1))


class Rows(torch.utils.data.Dataset):
    """An array that is read row by row, so that evenly spread samples are tried first."""

    def __init__(self, array):
        self.array = array

    def __len__(self):
        return len(self.array)

    def __getitem__(self, i):
        return self.array[i]


class Odd(nn.Module):
    """Layers that return tuples, mappings and nothing; one that runs twice, one that never does, one without a sample
    axis.
    """

    def __init__(self):
        super().__init__()
        self.lstm, self.twice, self.never, self.position = (
            nn.LSTM(4, 5, batch_first=True),
            nn.Linear(5, 5),
            nn.Linear(1, 1),
            nn.Embedding(7, 5),
        )
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
    assert [key.layer for key in x] == list(model.layers) and all(
        key == (model.name, key.layer, mnist.name, 0, "flatten") for key in x
    )
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
        if done:
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
    rs.record(
        ["zoo:mnist-mlp-0", "zoo:mnist-mlp-1"],
        mnist,
        batch_size=60,
        progress=lambda done, total: told.append((done, total)),
    )
    assert (
        told[:2] == [(0, 400), (60, 400)]
        and told[-1] == (400, 400)
        and [d for d, _ in told] == sorted(d for d, _ in told)
    )


def test_tuples_and_mappings_give_their_tensor():
    data = np.random.default_rng(0).normal(size=(6, 7, 4)).astype(np.float32)
    x = rs.record(odd(), data, ["lstm", "output"], progress=False)
    assert x["lstm"].shape == (6, 35) and x["output"].shape == (6, 35)


@pytest.mark.parametrize(
    "layer, words",
    [
        ("nothing", "layer 'nothing' of 'odd' returns NoneType without a tensor"),
        ("never", "layer 'never' of 'odd' did not run"),
        ("twice#3", "layer 'twice#3' of 'odd' did not run that often: 'twice' ran 2 times"),
        ("position", r"layer 'position' of 'odd' has no sample axis: it gave \(7, 5\) for any samples"),
    ],
)
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
    assert np.allclose(
        rs.record("zoo:mnist-cnn-0", pictures, "conv1", pool="mean", progress=False)["conv1"],
        conv.mean((2, 3)),
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="unknown pool 'man'. Did you mean 'mean'"):
        rs.record("zoo:mnist-cnn-0", pictures, pool="man")
    assert np.array_equal(
        rs.record("zoo:mnist-cnn-0", pictures, "conv1", pool="tokens", progress=False)["conv1"],
        conv.transpose(0, 2, 3, 1).reshape(-1, 16),
    )
    with pytest.raises(
        ValueError, match="layer 'conv1' of 'mnist-cnn-0' has activations .* needs .samples, tokens, features"
    ):
        rs.record("zoo:mnist-cnn-0", pictures, "conv1", pool="first", progress=False)
    with pytest.raises(ValueError, match="was pooled by 'lambda' .* must keep the 8 samples as rows"):
        rs.record("zoo:mnist-cnn-0", pictures, "conv1", pool=lambda x: x.sum(), progress=False)


def test_layers_nobody_asked_for_are_left_out():
    data = np.random.default_rng(0).normal(size=(6, 7, 4)).astype(np.float32)
    with pytest.warns(
        UserWarning, match="1 layer of 'odd' is left out: 'position' has no sample axis"
    ) as caught:  # what never ran nobody misses
        x = rs.record(odd(), data, progress=False)
    assert len(caught) == 1
    assert [k.layer for k in x] == ["lstm", "twice#1", "twice#2", "output"]
    with pytest.warns(
        UserWarning,
        match=(
            "2 layers of 'odd' are left out: 'position' has no sample axis: .*; 'nothing' returns NoneType without a"
            " tensor"
        ),
    ):
        assert next(iter(rs.record(odd(), data, "*", progress=False))).layer == "lstm"


def test_the_last_layer_is_recorded_once(mnist):
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 3))
    x = rs.record(rs.load_model(module, name="m"), mnist, progress=False)
    assert [k.layer for k in x] == ["2", "output"] and len(
        rs.record(rs.load_model(module, name="m"), mnist, ["3", "output"], progress=False)
    ) == 2


def test_a_layer_that_the_output_overwrites_is_no_twin_of_it(mnist):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(inplace=True))
    x = rs.record(rs.load_model(module, name="m", layers=["1"]), mnist, progress=False)
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
    with pytest.raises(
        ValueError,
        match=(
            r"Model 'mnist-cnn-0' could not run on 'big': 5 samples, repeated in a batch of 8, \(8, 32, 32, 3\) uint8,"
            r" reached it as \(8, 3, 32,"
            r" 32\) float32, and it raised: "
        ),
    ):
        rs.record("zoo:mnist-cnn-0", rs.Dataset("big", np.zeros((5, 32, 32, 3), np.uint8)), progress=False)
    with pytest.raises(ValueError, match="device must be one that torch finds.*got 'cuda'"):
        rs.record("zoo:mnist-cnn-0", mnist, device="cuda", progress=False)
    with pytest.raises(ValueError, match="unknown dataset 'minst'. Did you mean 'mnist'"):
        rs.record("zoo:mnist-cnn-0", "minst", progress=False)
    with pytest.raises(ValueError, match="at least one model"):
        rs.record([], mnist)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16, torch.float64])
def test_inputs_take_the_precision_of_the_weights_and_halves_are_recorded_as_float32(precision, rng):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).requires_grad_(False)
    exact = rs.record(rs.load_model(module, name="m"), rng.normal(size=(50, 4)).astype(np.float32), progress=False)
    x = rs.record(rs.load_model(module.to(precision), name="m"), rng.normal(size=(50, 4)), progress=False)
    assert (
        x["output"].dtype == (np.float64 if precision is torch.float64 else np.float32)
        and next(module.parameters()).dtype is precision
    )
    assert x["output"].shape == exact["output"].shape


def test_bad_requests_teach(mnist):
    with pytest.raises(ValueError, match="unknown layer 'conv9'. Did you mean 'conv"):
        rs.record("zoo:mnist-cnn-0", mnist, ["conv1", "conv9"])
    with pytest.raises(ValueError, match="must have different names"):
        rs.record(["zoo:mnist-cnn-0", "zoo:mnist-cnn-0"], mnist)
    with pytest.raises(ValueError, match="batch_size must be an integer >= 1; got 0"):
        rs.record("zoo:mnist-cnn-0", mnist, batch_size=0)
    with pytest.raises(ValueError, match="is empty"):
        rs.record("zoo:mnist-cnn-0", np.zeros((0, 28, 28), np.uint8))
    with pytest.raises(ValueError, match="pool must be one of"):
        rs.record("zoo:mnist-cnn-0", mnist, pool=3)


def test_a_network_that_mixes_samples_is_refused(rng):
    def encoder(batch_first):
        torch.manual_seed(0)
        return torch.nn.TransformerEncoder(
            torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first),
            1,
            enable_nested_tensor=False,
        )

    tokens = rng.normal(size=(6, 5, 8)).astype(np.float32)
    with pytest.raises(ValueError, match="mixes samples: .* depend on batch_size. .* batch_first=True"):
        rs.record(rs.load_model(encoder(False), name="t"), tokens, layers="output", progress=False)
    x = rs.record(rs.load_model(encoder(True), name="t"), tokens, layers="output", progress=False)
    y = rs.record(rs.load_model(encoder(True), name="t"), tokens, layers="output", batch_size=2, progress=False)
    assert np.allclose(x["output"], y["output"], atol=1e-5)


# -- odd architectures


@dataclasses.dataclass
class States:
    note: str
    states: torch.Tensor


class Shared(nn.Module):
    """One linear layer and one activation, each used three times; it returns a dataclass."""

    def __init__(self):
        super().__init__()
        self.step, self.act, self.head = nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 2)

    def forward(self, x):
        for _ in range(3):
            x = self.act(self.step(x))
        return States("said", self.head(x))


def test_a_module_that_runs_several_times_is_as_many_layers(rng):
    torch.manual_seed(0)
    module, data = Shared(), rng.normal(size=(9, 4)).astype(np.float32)
    x = rs.record(rs.load_model(module, name="s"), data, batch_size=4, progress=False)
    assert [k.layer for k in x] == ["step#1", "step#2", "step#3", "output"]
    with torch.inference_mode():
        h = torch.from_numpy(data)
        for k in range(1, 4):
            h = module.step(h)
            assert np.allclose(x[f"step#{k}"], h.numpy(), atol=1e-6)
            h = h.relu()
    only = rs.record(rs.load_model(module, name="s"), data, ["act#2", "step#3"], progress=False)
    assert [k.layer for k in only] == ["act#2", "step#3"] and np.allclose(only["step#3"], x["step#3"], atol=1e-6)


def test_wrappers_are_looked_into(rng):
    module = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    data = rng.normal(size=(9, 4)).astype(np.float32)
    x = rs.record(rs.load_model(nn.DataParallel(module), name="m"), data, ["0", "output"], progress=False)
    y = rs.record(rs.load_model(module, name="m"), data, ["0", "output"], progress=False)
    assert list(x) == list(y) and all(np.array_equal(x[key], y[key]) for key in x)


def test_layers_inside_torch_attention_are_seen(rng):
    torch.manual_seed(0)
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False
    )
    data = rng.normal(size=(6, 5, 8)).astype(np.float32)
    model = rs.load_model(encoder, name="e")
    assert model.layers == ("layers.0", "layers.1", "output")
    x = rs.record(model, data, ["layers.*.linear1", "layers.1.self_attn", "output"], progress=False)
    assert [k.layer for k in x] == [
        "layers.0.linear1",
        "layers.1.self_attn",
        "layers.1.linear1",
        "output",
    ] and torch.backends.mha.get_fastpath_enabled()
    with torch.inference_mode():
        assert np.allclose(x["output"].reshape(6, 5, 8), encoder.eval()(torch.from_numpy(data)).numpy(), atol=1e-5)
    with pytest.raises(
        ValueError,
        match="'layers.0.self_attn.out_proj' of 'e' did not run .*, but 'layers.0.self_attn', which contains it, did",
    ):
        rs.record(model, data, "layers.0.self_attn.out_proj", progress=False)


def test_patterns_find_layers_and_leave_out_what_never_runs(mnist):
    x = rs.record("zoo:mnist-vit-0", mnist, "block*.mlp", pool="mean", progress=False)
    assert [k.layer for k in x] == [f"block{k}.mlp" for k in range(1, 5)]
    lists = nn.ModuleDict({"parts": nn.ModuleList([nn.Linear(784, 4), nn.Linear(4, 4)])})
    lists.forward = lambda x: lists["parts"][1](lists["parts"][0](x.flatten(1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rs.record(rs.load_model(lists, name="l"), mnist, "**", progress=False)
    assert [k.layer for k in found] == ["parts.0", "parts.1", "output"]
    with pytest.raises(ValueError, match=r"no layer of 'mnist-vit-0' matches the pattern 'blok\*'"):
        rs.record("zoo:mnist-vit-0", mnist, "blok*", progress=False)


def test_what_is_not_finite_is_named_with_layer_and_samples(rng):
    data = np.abs(rng.normal(size=(20, 4))).astype(np.float32) + 1

    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    model = rs.load_model(nn.Sequential(Log(), nn.Identity()), name="log")
    rs.record(model, data, "0", progress=False)
    data[13, 2] = -1
    with pytest.raises(
        rs.measures.UndefinedError,
        match="layer '0' of 'log' .samples 10 to 15. gives NaN or infinite numbers: 1 of 20, the first for sample 13",
    ):
        rs.record(model, Rows(data), "0", batch_size=5, progress=False)
    data[:] = 1
    data[13, 2] = -1  # a sample unlike all others is among those that are tried first
    with pytest.raises(
        rs.measures.UndefinedError, match="layer '0' of 'log' gives NaN or infinite numbers: 1 of 4 for sample 13"
    ):
        rs.record(model, data, "0", batch_size=5, progress=False)
    data[13, 2] = 1e38  # large is not infinite, whatever the sum is
    assert (
        rs.record(rs.load_model(nn.Identity(), name="i"), np.full((20, 4), 3e38, np.float32), progress=False)[
            "output"
        ].max()
        > 1e38
    )


def test_a_layer_that_runs_for_some_samples_only_is_named(rng):
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.rare = nn.Linear(4, 4)

        def forward(self, x):
            return self.rare(x) if x.mean() > -5 else x

    data, model = rng.normal(size=(40, 4)).astype(np.float32), rs.load_model(Sometimes(), name="s")
    data[20:24] -= 100
    with pytest.raises(
        ValueError, match="layer 'rare' of 's' did not run for samples 20 to 24, although it did for others"
    ):
        rs.record(model, Rows(data), "rare", batch_size=4, progress=False)
    with pytest.warns(
        UserWarning,
        match="1 layer of 's' is left out: 'rare' did not run for samples 20 to 24, although it did for others",
    ):
        x = rs.record(model, Rows(data), "*", batch_size=4, progress=False)
    assert [key.layer for key in x] == ["output"] and len(x["output"]) == 40
    with pytest.raises(
        ValueError, match="layer 'rare' of 's' did not run for a batch of 8, though it did for one sample alone"
    ):
        rs.record(
            model, Rows(np.where(np.arange(40)[:, None] == 0, 0, data - 50).astype(np.float32)), "rare", progress=False
        )


def test_what_does_not_fit_into_memory_says_so_beforehand(mnist, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(available=1_000_000))
    with pytest.raises(
        MemoryError,
        match=(
            r"5 layers of 'mnist-cnn-0' on 200 samples take 0.0 GB \('conv1' alone .* into='folder', or use"
            r" pool='mean'"
        ),
    ):
        rs.record("zoo:mnist-cnn-0", mnist, progress=False)


class ChannelsLast(nn.Module):
    """As Swin's blocks do: (n, h, w, channels) inside."""

    def __init__(self):
        super().__init__()
        self.patch, self.mix, self.drop, self.head = (
            nn.Conv2d(1, 6, 4, 4),
            nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6)),
            nn.Dropout(),
            nn.Linear(6, 3),
        )

    def forward(self, x):
        return self.head(self.drop(self.mix(self.patch(x).permute(0, 2, 3, 1))).mean((1, 2)))


def test_features_are_where_the_layer_has_them(rng):
    torch.manual_seed(0)
    pictures, series = (
        rng.normal(size=(5, 1, 32, 32)).astype(np.float32),
        rng.normal(size=(5, 3, 20)).astype(np.float32),
    )
    swin = rs.load_model(ChannelsLast(), name="s")
    whole = rs.record(swin, pictures, ["patch", "mix", "drop"], progress=False)
    for pool, n in (("mean", 5), ("tokens", 5 * 64)):
        x = rs.record(swin, pictures, ["patch", "mix", "drop"], pool=pool, progress=False)
        first, last = whole["patch"].reshape(5, 6, 64).transpose(0, 2, 1), whole["mix"].reshape(5, 64, 6)
        for layer, places in (("patch", first), ("mix", last), ("drop", last)):
            assert x[layer].shape == (n, 6) and np.allclose(
                x[layer], places.mean(1) if pool == "mean" else places.reshape(-1, 6), atol=1e-6
            ), (layer, pool)
    in_time = rs.load_model(
        nn.Sequential(
            nn.Conv1d(3, 8, 3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 8, 2), nn.Flatten(), nn.Linear(64, 2)
        ),
        name="t",
    )
    whole = rs.record(in_time, series, ["0", "1", "2", "3"], progress=False)
    x = rs.record(in_time, series, ["0", "1", "2", "3", "output"], pool="mean", progress=False)
    assert x["output"].shape == (5, 2) and all(
        np.allclose(x[k], whole[k].reshape(5, 8, -1).mean(2), atol=1e-6) for k in "0123"
    )


def test_numbers_count_what_is_recorded_unless_told(mnist):
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 3))
    model = rs.load_model(module, name="m")
    assert model.layers == ("2", "3", "output"), "the last layer and the output are one"
    assert [k.layer for k in rs.record(model, mnist, -2, progress=False)] == ["2"] and [
        k.layer for k in rs.record(model, mnist, [0, "1"], progress=False)
    ] == ["1", "2"]
    assert list(rs.record(model, mnist, "auto", progress=False)) == list(rs.record(model, mnist, progress=False))
    with pytest.raises(ValueError, match="'m' has 2 layers, '2', 'output'; there is no number 5"):
        rs.record(model, mnist, 5, progress=False)
    with pytest.raises(TypeError, match="layers must be names, patterns or integers; got 1.5"):
        rs.record(model, mnist, 1.5, progress=False)


def test_what_is_wrong_with_a_network_is_said_as_what_it_is(mnist, rng):
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    class Squeezing(nn.Module):
        def forward(self, x):
            return x.squeeze()

    data = rng.normal(size=(8, 6)).astype(np.float32)
    with pytest.raises(
        ValueError, match="layer 'output' of 'n' is random: the same sample gives different activations each time"
    ):
        rs.record(rs.load_model(Noisy(), name="n"), data, progress=False)
    with pytest.raises(ValueError, match="layer 'output' of 's' has no sample axis for one sample alone"):
        rs.record(rs.load_model(Squeezing(), name="s"), data, progress=False)
    with pytest.raises(
        ValueError,
        match=(
            "layer 'output' of 'b' cannot be checked, since the model does not run on one sample alone .*Does it need a"
            " batch"
        ),
    ):
        rs.record(rs.load_model(nn.BatchNorm1d(6, track_running_stats=False), name="b"), data, progress=False)
    broken = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    broken[2].weight.data[1] = torch.nan
    with pytest.raises(
        rs.measures.UndefinedError, match="layer 'output' of 'x' gives NaN or infinite numbers: 1 of 2 for sample"
    ):
        rs.record(rs.load_model(broken, name="x"), data, "output", progress=False)
    with pytest.warns(UserWarning, match="1 layer of 'x' is left out: 'output' gives NaN"):
        assert [key.layer for key in rs.record(rs.load_model(broken, name="x"), data, progress=False)] == ["1"]

    class Fails(nn.Module):
        def forward(self, x):
            if x.min() < -50:
                raise RuntimeError("boom")
            return x

    many = np.repeat(data, 5, 0)
    many[30] = -100
    with pytest.raises(ValueError, match="Model 'f' could not run on 'inputs': samples 28 to 32, .* it raised: boom"):
        rs.record(rs.load_model(Fails(), name="f"), Rows(many), batch_size=4, progress=False)
    with pytest.raises(
        ValueError,
        match=r"reached it as \(4, 3, 28, 28\) float32, and it raised: .*to have 1 channels, but got 3 channels",
    ):
        rs.record("zoo:mnist-cnn-0", np.zeros((4, 3, 28, 28), np.uint8), batch_size=4, progress=False)
    for device in ("gpu", "meta"):
        module = nn.Linear(6, 2)
        with pytest.raises(ValueError, match="device"):
            rs.record(rs.load_model(module, name="d"), data, device=device, progress=False)
        assert module.weight.device.type == "cpu"


def test_half_precision_does_not_overflow_in_the_pool():
    class Large(nn.Linear):
        def forward(self, x):
            return x.half() + 600

    x = rs.record(
        rs.load_model(Large(2, 2).half(), name="l"),
        np.zeros((4, 200, 2), np.float32),
        pool="mean",
        axis=-1,
        progress=False,
    )
    assert x["output"].dtype == np.float32 and np.allclose(x["output"], 600)


def test_random_numbers_drawn_by_a_network_are_put_back(rng):
    class Draws(nn.Module):
        def forward(self, x):
            torch.rand(3), np.random.rand(3), random.random()
            return x

    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    rs.record(rs.load_model(Draws(), name="d"), rng.normal(size=(8, 3)), progress=False)
    assert (
        torch.equal(torch.get_rng_state(), before[0])
        and np.array_equal(np.random.get_state()[1], before[1])
        and random.getstate() == before[2]
    )


def test_a_batch_that_runs_short_is_named():
    class Short(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, i):
            return torch.full((3,), float(i))

    def collate(items):
        return torch.stack(items)[:2] if items[0][0] == 5 else torch.stack(items)

    data = rs.Dataset("short", DataLoader(Short(), batch_size=5, collate_fn=collate))
    model = rs.load_model(nn.Identity(), name="i")
    for run in (rs.record, lambda *given, **options: rs.stream(model, *given, **options)):
        with pytest.raises(
            ValueError, match="for samples 5 to 10, data set 'short' returned 2 inputs in place of 5. Check its inputs"
        ):
            run(model, data, batch_size=5, progress=False)


def test_the_batch_is_smaller_where_activations_are_large():
    seen = []
    wide = nn.Conv2d(1, 64, 3, padding=1)
    wide.register_forward_hook(lambda _m, _i, out: seen.append(len(out)))
    rs.record(rs.load_model(wide, name="w"), np.zeros((70, 128, 128), np.uint8), pool="mean", progress=False)
    assert seen == [1, 8, 8, 12, 16, 16, 16, 16, 6], "64 MB of 64 × 128 × 128 float32"


# -- every kind of input


def test_whatever_the_inputs_come_as_the_recording_is_the_same(mnist, tmp_path):
    pictures = torch.from_numpy(mnist.inputs)[:, None] / 255
    model = rs.load_model(rs.load_model("zoo:mnist-mlp-0").module, name="m")
    expected = rs.record(model, pictures, "fc1", batch_size=64, progress=False)["fc1"]
    rows = TensorDataset(pictures, torch.from_numpy(mnist.targets))
    for given in (
        {"x": pictures.numpy()},
        DataLoader(rows, batch_size=32),
        (batch for batch in pictures.split(48)),
        rows,
        [picture.numpy() for picture in pictures],
        {"x": pictures},
    ):
        x = rs.record(model, given, "fc1", batch_size=64, progress=False)
        assert np.allclose(x["fc1"], expected, atol=1e-6), type(given)
    stored = rs.record(
        model,
        rs.Dataset("loader", DataLoader(rows, batch_size=32)),
        "fc1",
        batch_size=64,
        into=tmp_path,
        progress=False,
    )
    assert np.allclose(stored["fc1"], expected, atol=1e-6)
    passes = []
    model.module.register_forward_hook(lambda _m, inputs, _o: passes.append(len(inputs[0])))
    rs.record(model, rs.Dataset("loader", DataLoader(rows, batch_size=32)), "fc1", into=tmp_path, progress=False)
    assert passes == [1, 1], "found again, though it is another loader"
    with pytest.raises(ValueError, match="shuffle"):
        rs.record(model, DataLoader(rows, batch_size=32, shuffle=True), progress=False)


# -- texts

WORDS = ["a cat", "one dog and two cats went out", "nobody", "the end of it all", "so it goes"]


class Reader(nn.Module):
    """An encoder of texts: it takes what a tokenizer makes, and returns a mapping."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.layer, self.head = (
            nn.Embedding(50, 8),
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True),
            nn.Linear(8, 3),
        )

    def forward(self, input_ids, attention_mask):
        h = self.layer(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return {"last_hidden_state": h, "pooled": self.head((h * attention_mask[..., None]).sum(1))}


def tokens(texts, side="right", length=None, base=7):
    cut = [[1 + sum(map(ord, word)) % (base * 7) for word in text.split()] for text in texts]
    length = length or max(map(len, cut))
    pad = [[0] * (length - len(ids)) for ids in cut]
    ids = [i + p if side == "right" else p + i for i, p in zip(cut, pad, strict=True)]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(ids).gt(0).long()}


def reader(**options):
    return rs.load_model(Reader(), name="reader", preprocess=functools.partial(tokens, **options))


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_no_token(side):
    alone = [
        rs.record(reader(), [text], "layer", pool="flatten", progress=False)["layer"].reshape(-1, 8) for text in WORDS
    ]
    for pool, expected in {
        "mean": [h.mean(0) for h in alone],
        "first": [h[0] for h in alone],
        "last": [h[-1] for h in alone],
    }.items():
        for batch_size in (2, 5):
            x = rs.record(
                reader(side=side), WORDS, ["embed", "layer", "head"], pool=pool, batch_size=batch_size, progress=False
            )
            assert x["head"].shape == (5, 3) and np.allclose(x["layer"], expected, atol=1e-5), (pool, side)
    x = rs.record(reader(side=side), WORDS, "layer", pool="tokens", batch_size=2, progress=False)
    assert x["layer"].shape == (sum(len(t.split()) for t in WORDS), 8) and np.allclose(
        x["layer"], np.concatenate(alone), atol=1e-5
    )


def test_the_encoder_that_torch_makes_takes_padding():
    class Encoder(Reader):
        def __init__(self):
            super().__init__()
            self.layer = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True), 2)

    model = rs.load_model(Encoder(), name="e", preprocess=tokens)
    x = rs.record(model, WORDS, ["layer.layers.*", "head"], pool="mean", batch_size=2, progress=False)
    alone = [
        rs.record(model, [text], "layer.layers.1", progress=False)["layer.layers.1"].reshape(-1, 8).mean(0)
        for text in WORDS
    ]
    assert np.allclose(x["layer.layers.1"], alone, atol=1e-5) and torch.backends.mha.get_fastpath_enabled()


def test_padded_texts_are_not_flattened():
    with pytest.raises(
        ValueError, match="layer 'layer' of 'reader' has a row for every token, .* padding, .* Use pool='mean'"
    ):
        rs.record(reader(), WORDS, "layer", progress=False)
    assert rs.record(reader(), ["one two", "three four"], "layer", progress=False)["layer"].shape == (2, 16)


def test_tokens_of_unlike_tokenizers_are_not_compared(tmp_path):
    a = rs.record(reader(), WORDS, "layer", pool="tokens", progress=False)
    b = rs.record(
        rs.load_model(Reader(), name="b", preprocess=functools.partial(tokens, base=5)),
        WORDS,
        "layer",
        pool="tokens",
        progress=False,
    )
    assert rs.compare(
        "cka",
        a,
        rs.record(
            rs.load_model(Reader(), name="twin", preprocess=tokens), WORDS, "layer", pool="tokens", progress=False
        ),
    ).values.iloc[0, 0] == pytest.approx(1)
    with pytest.raises(
        ValueError, match="'reader/layer.* and 'b/layer.* split the texts into diff.* tokens.*pool='mean'"
    ):
        rs.compare("cka", a, b)
    into = rs.record(reader(), WORDS, ["embed", "layer"], pool="tokens", batch_size=2, into=tmp_path, progress=False)
    assert np.allclose(into["layer"], a["layer"], atol=1e-5) and list(
        rs.record(reader(), WORDS, "layer", pool="tokens", into=tmp_path, progress=False)
    ) == [k for k in into if k.layer == "layer"]


def test_a_token_recording_goes_on_where_it_stopped(tmp_path):
    def stop(done, total):
        if done >= 4:
            raise Stopped

    with pytest.raises(Stopped):
        rs.record(reader(), WORDS, ["embed", "layer"], pool="tokens", batch_size=2, into=tmp_path, progress=stop)
    model, seen = reader(), []
    model.module.register_forward_hook(lambda _m, _i, out: seen.append(len(out["pooled"])))
    x = rs.record(model, WORDS, ["embed", "layer"], pool="tokens", batch_size=2, into=tmp_path, progress=False)
    assert seen == [1, 2, 2, 2, 1] and np.allclose(
        x["layer"], rs.record(reader(), WORDS, "layer", pool="tokens", progress=False)["layer"], atol=1e-5
    )


# -- many models, many workers


def test_models_are_recorded_by_workers_into_one_store(tmp_path, mnist):
    names = ["zoo:mnist-mlp-0", "zoo:mnist-mlp-1", "zoo:mnist-cnn-0"]
    told = []
    with ThreadPoolExecutor(2) as pool:
        x = rs.record(
            names, mnist, into=tmp_path, executor=pool, progress=lambda done, total: told.append((done, total))
        )
    assert told[-1] == (3, 3) and len(x) == 13 and set(x.facts) == {"mnist-mlp-0", "mnist-mlp-1", "mnist-cnn-0"}
    direct = rs.record(names, mnist, progress=False)
    assert set(x) == set(direct) and all(np.allclose(x[key], direct[key], atol=1e-5) for key in x)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="record with an executor needs into="):
        rs.record(names, mnist, executor=pool)


# -- checkpoints


def checkpoints():
    """Two runs at two epochs each; two of the four are of one name."""
    made = []
    for seed, name in ((0, "run"), (1, "other")):
        for epoch in (0, 10):
            torch.manual_seed(10 * seed + epoch)
            module = nn.Sequential(nn.Flatten(), nn.Linear(784, 4))
            made.append(
                dataclasses.replace(
                    rs.load_model(module, name=name),
                    card=(
                        {"seed": seed, "epoch": epoch, "shape": [4], "late": True}
                        if epoch
                        else {"seed": seed, "epoch": 0, "shape": [4]}
                    ),
                )
            )
    return made


@pytest.mark.parametrize("kind", ["memory", "store", "workers", "one by one"])
def test_checkpoints_of_several_runs_are_recorded_together(tmp_path, mnist, kind):
    models, steps, into = (
        checkpoints(),
        [0, 10, 0, 10],
        None if kind in ("memory", "one by one") else rs.Store(tmp_path / "s"),
    )
    with ThreadPoolExecutor(2) as pool:
        if kind == "one by one":
            parts = [
                rs.record(model, mnist, "output", step=step, progress=False)
                for model, step in zip(models, steps, strict=True)
            ]
            x = functools.reduce(lambda a, b: a | b, parts)
        else:
            x = rs.record(
                models,
                mnist,
                "output",
                step=steps,
                into=into,
                executor=pool if kind == "workers" else None,
                progress=False,
            )
    assert [(key.model, key.step) for key in x] == [("run", 0), ("run", 10), ("other", 0), ("other", 10)]
    for (_, array), model in zip(x.items(), models, strict=True):
        alone = rs.record(model, mnist, "output", progress=False)["output"]
        assert np.array_equal(array, alone)
    assert x.facts == {
        "run": {"seed": 0, "shape": [4]},
        "other": {"seed": 1, "shape": [4]},
    }  # not the epoch, nor what one of them alone knows
    assert list(x.table().seed) == [0, 0, 1, 1] and "epoch" not in x.table()
    if into is not None:
        assert (
            rs.Store(into.path).facts == x.facts and rs.Store(into.path).where(step=10).facts.keys() == x.facts.keys()
        )
        ticks = []
        again = rs.record(models, mnist, "output", step=np.array(steps), into=into, progress=lambda *t: ticks.append(t))
        assert list(again) == list(x) and ticks[-1] == (800, 800)


def test_what_is_kept_is_found_without_a_look_at_all_the_rest(tmp_path, mnist, monkeypatch):
    """Of thousands of recordings each model asks for its own; they come in forward order, in whatever order they were
    asked for.
    """
    store, layers = rs.Store(tmp_path / "s"), ["output", "fc", "conv1"]
    first = list(rs.record("zoo:mnist-cnn-0", mnist, layers, into=store, progress=False))
    monkeypatch.setattr(StoreFolder, "records", lambda *of: pytest.fail("every sidecar is read"))
    again = rs.record("zoo:mnist-cnn-0", mnist, layers, into=store, progress=False)
    assert list(again) == first and [key.layer for key in first] == ["conv1", "fc", "output"]
    assert np.array_equal(again[first[0]], store[first[0]])


def test_a_fact_that_differed_once_does_not_come_back():
    """Joined one after the other, or all at once."""
    one, two, three = (
        rs.store.Activations({rs.Key("m", "a", step=s): np.ones((2, 1))}, {"m": {"accuracy": a}})
        for s, a in ((0, 0.1), (1, 0.5), (2, 0.5))
    )
    assert (one | two | three).facts == (one | (two | three)).facts == {"m": {}} and (two | three).facts == {
        "m": {"accuracy": 0.5}
    }


def test_hundreds_of_recordings_take_no_files_that_stay_open(tmp_path, mnist):
    here = rs.Dataset("few", mnist.inputs[:4])
    before = len(psutil.Process().open_files())
    x = rs.record(
        [model for _ in range(20) for model in checkpoints()],
        here,
        "output",
        step=list(range(80)),
        into=tmp_path,
        progress=False,
    )
    assert len(x) == 80 and len(psutil.Process().open_files()) - before < 8
    assert all(isinstance(array, np.memmap) for array in x.values())


def test_steps_that_do_not_fit_are_said(mnist):
    models = checkpoints()
    with pytest.raises(ValueError, match="step must have one step for each model; got 3 steps for 4 models"):
        rs.record(models, mnist, step=[0, 1, 2])
    with pytest.raises(
        ValueError,
        match=(
            r"must have different names; got \['run', 'run', .*\]. Give each a name, .* For checkpoints of one model,"
            r" give the step of each, step=\[...\]"
        ),
    ):
        rs.record(models, mnist)
    with pytest.raises(ValueError, match=r"must have different names; got .* at the steps \[0, 0, 1, 2\]"):
        rs.record(models, mnist, step=[0, 0, 1, 2])
    with pytest.raises(ValueError, match="step must be an integer or a name.*got 0.5"):
        rs.record(models, mnist, step=[0, 0.5, 1, 2])
    with pytest.raises(ValueError, match="step must be an integer or a name.*got True"):
        rs.record(models[0], mnist, step=True)
