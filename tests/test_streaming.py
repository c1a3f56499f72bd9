import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.measures import CKA
from repsim_nb.results import streaming
from repsim_nb.support.errors import Stopped, UndefinedError


class Net(nn.Module):
    """Layers wider and narrower than a batch; one after which an in-place ReLU overwrites what it returned."""

    def __init__(self, seed, offset=0.0):
        super().__init__()
        torch.manual_seed(seed)
        self.wide, self.act, self.narrow, self.head = (
            nn.Linear(20, 300),
            nn.ReLU(inplace=True),
            nn.Linear(300, 5),
            nn.Linear(5, 3),
        )
        self.wide.bias.data += offset
        self.layers = ["wide", "narrow", "head"]

    def forward(self, x):
        return self.head(self.narrow(self.act(self.wide(x))))


def net(seed=0, **options):
    return rs.load_model(Net(seed, **options), name=f"net-{seed}")


def inputs(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 20)).astype(np.float32)


def in_float64(x):
    return {key: np.asarray(x[key], float) for key in x}


@pytest.mark.parametrize(
    "n, batch_size", [(64, 16), (70, 16), (65, 16), (66, 16), (67, 16), (68, 16), (9, 16), (4, 256), (150, 64), (40, 4)]
)
def test_the_table_is_that_of_two_recordings(n, batch_size):
    a, b, data = net(0), net(1), inputs(n)
    streamed = rs.stream(a, b, data, batch_size=batch_size, progress=False)
    x, y = (rs.record(model, data, progress=False) for model in (a, b))
    compared = rs.compare(CKA(batch_size=batch_size), x, y)
    assert streamed.values.index.equals(compared.values.index) and streamed.values.columns.equals(
        compared.values.columns
    )
    assert streamed.measure == compared.measure and streamed.n == n
    exact = rs.compare(CKA(batch_size=batch_size), in_float64(x), in_float64(y)).values
    rounding = (
        1e-6 if min(n, batch_size) > 4 else 5e-6
    )  # of four samples two directions are left, and most digits are gone with the others
    assert np.abs(streamed.values - compared.values).to_numpy().max() < rounding
    assert np.abs(streamed.values - exact).to_numpy().max() < rounding


def test_real_networks_at_the_usual_size(mnist):
    a, b = "zoo:mnist-cnn-0", "zoo:mnist-resnet-0"
    streamed = rs.stream(a, b, mnist, batch_size=128, progress=False).values
    compared = rs.compare(
        CKA(batch_size=128), rs.record(a, mnist, progress=False), rs.record(b, mnist, progress=False)
    ).values
    assert streamed.index.equals(compared.index) and streamed.columns.equals(compared.columns)
    assert np.abs(streamed - compared).to_numpy().max() < 1e-6


@pytest.mark.parametrize("offset", [1.0, 10.0, 1e3, 1e5])
def test_float32_is_right_however_far_the_mean_is(offset):
    """In the last, less than 4 digits of a sample's own are left of the 7 that float32 has; nothing more may be
    lost.
    """
    a, b, data = net(0, offset=offset), net(1), inputs(200)
    streamed = rs.stream(a, b, data, ["wide"], batch_size=64, progress=False).values.to_numpy()
    x, y = (rs.record(model, data, ["wide"], progress=False) for model in (a, b))
    exact = rs.compare(CKA(batch_size=64), in_float64(x), in_float64(y)).values.to_numpy()
    assert streamed == pytest.approx(exact, abs=1e-6) and 0.1 < exact.item() < 0.999


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e-4, 1e4, 1e12, 1e30])
def test_neither_overflow_nor_underflow(scale):
    class Scaled(nn.Module):
        def forward(self, x):
            return x * scale

    data = inputs(50)
    a, b = rs.load_model(Scaled(), name="scaled"), net(1)
    value = rs.stream(a, b, data, (None, ["wide"]), batch_size=16, progress=False).values.to_numpy()
    expected = rs.compare(
        CKA(batch_size=16),
        {"a": data.astype(float)},
        {"b": rs.record(b, data, ["wide"], progress=False)["wide"].astype(float)},
    ).values.to_numpy()
    assert value == pytest.approx(expected, abs=1e-6)


def test_a_wide_layer_is_centred_some_columns_at_a_time(monkeypatch):
    a, b, data = net(0, offset=10.0), net(1), inputs(50)
    whole = rs.stream(a, b, data, batch_size=16, progress=False).values
    monkeypatch.setattr(streaming, "ROOM", 16 * 70)
    assert np.allclose(whole, rs.stream(a, b, data, batch_size=16, progress=False).values, atol=1e-7)


def test_a_model_with_itself_runs_once_and_is_one_on_the_diagonal():
    model, data = net(0), inputs(66)
    passes = []
    model.module.register_forward_pre_hook(lambda *_: passes.append(1))
    streamed = rs.stream(model, model, data, batch_size=16, progress=False)
    assert streamed.is_square and len(passes) == 4 + 4  # four to try a few samples, then 16, 16, 16, 18
    assert np.abs(np.diag(streamed.values) - 1).max() < 1e-12 and np.array_equal(streamed.values, streamed.values.T)
    assert rs.stream("zoo:mnist-mlp-0", "zoo:mnist-mlp-0", rs.load_dataset("mnist", n=20), progress=False).is_square
    other = rs.stream(model, model, data, (["wide", "head"], ["narrow"]), batch_size=16, progress=False)
    assert np.allclose(other.values, streamed.values.iloc[[0, 2], [1]], atol=1e-6)


def test_models_that_share_modules_do_not_hear_each_other():
    a, data = net(0), inputs(40)
    b = rs.load_model(nn.Sequential(a.module, nn.Linear(3, 6)), name="longer")
    streamed = rs.stream(a, b, data, (["wide", "output"], ["0.wide", "output"]), batch_size=16, progress=False).values
    compared = rs.compare(
        CKA(batch_size=16),
        rs.record(a, data, ["wide", "output"], progress=False),
        rs.record(b, data, ["0.wide", "output"], progress=False),
    ).values
    assert np.allclose(streamed, compared, atol=1e-6) and streamed.iloc[0, 0] == pytest.approx(1, abs=1e-6)


def test_layers_for_both_or_for_each():
    a, b, data = net(0), net(1), inputs(20)

    def layers(which):
        table = rs.stream(a, b, data, which, progress=False).values
        return [list(axis.get_level_values("layer")) for axis in (table.index, table.columns)]

    assert layers(None) == [["wide", "narrow", "output"]] * 2  # which is what "head" returns
    assert layers("wide") == layers(["wide"]) == [["wide"]] * 2 and layers(["wide", -2]) == [["wide", "narrow"]] * 2
    assert layers((["wide"], None)) == [["wide"], ["wide", "narrow", "output"]] and layers([["head"], ["narrow"]]) == [
        ["head"],
        ["narrow"],
    ]
    with pytest.raises(ValueError, match="one list for both models, or a pair of lists, one for each; got 3 lists"):
        layers([["wide"], ["wide"], None])
    with pytest.raises(ValueError, match=r"unknown layer 'narow'. Did you mean 'narrow'"):
        layers((None, ["narow"]))


def test_pools_mappings_and_half_precision():
    class Encoder(nn.Module):
        def __init__(self, dtype):
            super().__init__()
            self.layer = nn.Linear(4, 8, dtype=dtype)

        def forward(self, x):
            return {"last_hidden_state": self.layer(x)}

    torch.manual_seed(0)
    data = np.random.default_rng(0).normal(size=(40, 7, 4)).astype(np.float32)
    a = rs.load_model(Encoder(torch.float32), name="a")
    b = rs.load_model(Encoder(torch.bfloat16), name="b", preprocess=lambda x: torch.as_tensor(x).bfloat16())
    c = rs.load_model(Encoder(torch.float64), name="c", preprocess=lambda x: torch.as_tensor(x).double())
    for pool in ("mean", "last", lambda h: h[:, 1:3]):
        for other in (b, c):
            streamed = rs.stream(a, other, data, ["output"], batch_size=16, pool=pool, progress=False).values
            x, y = (rs.record(model, data, ["output"], pool=pool, progress=False) for model in (a, other))
            compared = rs.compare(CKA(batch_size=16), x, y).values
            assert (
                streamed.index.equals(compared.index)
                and streamed.columns.equals(compared.columns)
                and np.allclose(streamed, compared, atol=1e-6)
            )


def test_the_models_are_left_as_they_were():
    a, b = net(0), net(1)
    a.module.train()
    b.module.act.train()
    state = torch.get_rng_state()
    for stop in (None, 1, 5):
        told = []

        def tick(done, total, stop=stop, told=told):
            told.append((done, total))
            if len(told) == stop:
                raise Stopped

        if stop:
            with pytest.raises(Stopped):
                rs.stream(a, b, inputs(64), batch_size=16, progress=tick)
        else:
            rs.stream(a, b, inputs(64), batch_size=16, progress=tick)
            assert told == [(done, 128) for done in range(16, 129, 16)]
        modules = [*a.module.modules(), *b.module.modules()]
        assert not any(m._forward_hooks for m in modules)
        assert all(m.training for m in a.module.modules()) and b.module.act.training
        assert torch.equal(state, torch.get_rng_state())


def test_activations_are_let_go_of_as_soon_as_their_matrix_is_made():
    class Watched(Net):
        def __init__(self, seed):
            super().__init__(seed)
            self.watch = lambda h: (seen[seed].append(weakref.ref(h)), h)[1]
            self.count = lambda: alive[seed].append(sum(ref() is not None for ref in seen[seed]))

        def forward(self, x):
            h = self.narrow(torch.relu(self.watch(self.wide(x))))
            gc.collect()
            self.count()
            return self.head(h)

    seen, alive = ([], []), ([], [])

    models = [rs.load_model(Watched(seed), name=str(seed)) for seed in (0, 1)]
    gc.collect()
    gc.freeze()  # what other tests left is not searched at each pass
    try:
        rs.stream(*models, inputs(80), batch_size=16, progress=False)
    finally:
        gc.unfreeze()
    for each in alive:
        assert each[4:] == [0] * 5  # after the four passes of the probe


# -- no table


class Failing(Net):
    """From a certain sample on, something is wrong with one layer."""

    def __init__(self, kind):
        super().__init__(0)
        self.kind = kind
        self.extra = nn.Identity()

    def forward(self, x):
        h = self.narrow(torch.relu(self.wide(x)))
        late = bool((x[:, 0] > 99).any())
        if self.kind == "nan" and late:
            h = torch.where(x[:, :1] > 99, torch.nan, h)
        if self.kind == "infinite" and late:
            h = torch.where(x[:, :1] > 99, torch.inf, h)
        if self.kind == "constant":
            h = h * 0 + 0.1
        if self.kind == "axis" and late:
            h = h[0]
        h = self.extra(h)
        if self.kind == "twice" and late:
            h = self.extra(h)
        return h if self.kind == "axis" else self.head(h)

    def __call__(self, x):
        if self.kind == "skipped" and bool((x[:, 0] > 99).any()):
            return self.head(self.narrow(self.wide(x)))
        return super().__call__(x)


@pytest.mark.parametrize(
    "kind, error, words",
    [
        ("nan", UndefinedError, r"layer 'extra' of 'bad' gives NaN or infinite numbers: 5 of 5 for sample 40"),
        ("infinite", UndefinedError, r"layer 'extra' of 'bad' gives NaN or infinite numbers: 5 of 5 for sample 40"),
        (
            "constant",
            UndefinedError,
            (
                r"CKA\(batch_size=16\) of 'bad/extra': it is constant: in every batch all samples have the same"
                r" activations. Leave it out"
            ),
        ),
        ("axis", ValueError, r"layer 'extra' of 'bad' has no sample axis"),
        ("twice", ValueError, r"layer 'extra#1' of 'bad' ran 2 times for a batch of 8 and once"),
        ("skipped", ValueError, r"layer 'extra' of 'bad' did not run for a batch of 8"),
    ],
)
def test_what_goes_wrong_is_named_with_model_layer_and_batch(kind, error, words):
    data = inputs(64)
    data[40, 0] = 100
    bad, good = rs.load_model(Failing(kind), name="bad"), net(1)
    with pytest.raises(error, match=words):
        rs.stream(bad, good, data, (["extra"], None), batch_size=16, progress=False)
    with pytest.raises(error, match=words):
        rs.stream(good, bad, data, (None, ["extra"]), batch_size=16, progress=False)
    assert not any(m._forward_hooks for model in (bad, good) for m in model.module.modules())


def test_a_representation_of_equal_distances_has_nothing_left():
    class Eye(nn.Module):
        def forward(self, x):
            return torch.eye(32)[x[:, 0].long()]

    data = inputs(32)
    data[:, 0] = np.arange(32)
    with pytest.raises(UndefinedError, match="all samples are equally far from one another"):
        rs.stream(rs.load_model(Eye(), name="eye"), net(1), data, (["output"], None), batch_size=16, progress=False)


def test_what_cannot_be_asked_for():
    a, b = net(0), net(1)
    with pytest.raises(ValueError, match="batch_size of stream must be an integer >= 4; got 3"):
        rs.stream(a, b, inputs(20), batch_size=3)
    with pytest.raises(UndefinedError, match=r"needs at least 4 samples; 'inputs' has 3"):
        rs.stream(a, b, inputs(3))
    with pytest.raises(ValueError, match="different names; both are 'net-0'"):
        rs.stream(a, net(0), inputs(20))
    with pytest.raises(ValueError, match="unknown pool 'meen'. Did you mean 'mean'"):
        rs.stream(a, b, inputs(20), pool="meen")
    with pytest.raises(ValueError, match="layer 'act' of 'net-0' ran more than once|unknown layer"):
        rs.stream(a, b, inputs(20), ["nowhere"], progress=False)


@pytest.mark.parametrize("first, later", [(1.0, 1e10), (1e-5, 1e6), (1e-10, 1e9), (1e9, 1e-9)])
def test_batches_of_very_different_size_count_as_they_are(first, later):
    rng = np.random.default_rng(0)
    data = (
        rng.normal(size=(64, 8)).astype(np.float32) * np.repeat(np.float32([first, later, later, first]), 16)[:, None]
    )
    torch.manual_seed(0)
    a, b = (rs.load_model(nn.Linear(8, 6, bias=False), name=name) for name in "ab")
    streamed = rs.stream(a, b, data, batch_size=16, progress=False).values
    compared = rs.compare(
        CKA(batch_size=16),
        *({k: v.astype(float) for k, v in rs.record(m, data, progress=False).items()} for m in (a, b)),
    ).values
    assert np.allclose(streamed, compared, atol=1e-5)
