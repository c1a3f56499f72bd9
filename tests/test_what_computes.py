"""What computes is part of a recording's address: a store gives back only what the model computes now, and a recording
leaves the model able to compute as before.
"""

import functools
import json
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.support.errors import Stopped

OTHER = "already has 'm/.*(not what 'm' computes now|recorded with other weights)"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def rec(module, data, layers=None, *, name="m", **options):
    model = (
        [rs.load_model(one, name=f"{name}{i}") for i, one in enumerate(module)]
        if isinstance(module, list)
        else rs.load_model(module, name=name)
    )
    return rs.record(model, data, layers, progress=False, **options)


def counted(module):
    """-> the sizes of the batches that run from now on."""
    sizes = []
    module.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(len(args[0] if args else next(iter(kwargs.values())))), with_kwargs=True
    )
    return sizes


GAIN = {"all": 1.0}


def factory(gain, steps=0):
    """A class whose forward takes a value, and a counter, from the function that it is written in."""

    class Net(nn.Module):
        power = 1

        def __init__(self):
            super().__init__()
            torch.manual_seed(1)
            self.fc, self.act = nn.Linear(8, 8), nn.ReLU()
            self.options, self.config = (
                {"scale": 1.0},
                types.SimpleNamespace(window=8, inner=types.SimpleNamespace(shift=0.0)),
            )
            self.shifts, self.seen, self.stats, self.kept = [torch.zeros(8)], 0, {"calls": 0}, {}

        def forward(self, x):
            nonlocal steps
            steps += 1
            self.seen += 1
            self.count()
            h = (
                self.fc(x) * (torch.arange(8) < self.config.window) * self.options["scale"]
                + self.shifts[0]
                + self.config.inner.shift
            )
            return self.act(self.act(h) ** self.power * gain * GAIN["all"] - 0.1)

        def count(self):
            self.stats["calls"] += 1
            self.kept["last"] = steps

    return Net().eval()


def add_hook(module):
    module.fc.register_forward_hook(lambda _m, _a, out: out + 1)


def add_pre_hook(module):
    module.fc.register_forward_pre_hook(lambda _m, args: (args[0] * 2,))


def replace_forward(module):
    module.fc.forward = lambda x: torch.zeros(len(x), 8)


CHANGES = {
    "hook": add_hook,
    "pre-hook": add_pre_hook,
    "own forward": replace_forward,
    "dict": lambda module: module.options.update(scale=3.0),
    "config": lambda module: setattr(module.config, "window", 5),
    "object inside an object": lambda module: setattr(module.config.inner, "shift", 0.7),
    "tensor in a list": lambda module: module.shifts.__setitem__(0, torch.ones(8)),
    "attribute of the class": lambda module: setattr(type(module), "power", 2),
}


@pytest.mark.parametrize(
    "layers", [None, ["output"], ["act#2", "fc"], "*", [-1]], ids=["default", "output", "names", "pattern", "number"]
)
@pytest.mark.parametrize("change", CHANGES)
def test_what_another_computation_recorded_is_not_given_back(tmp_path, change, layers):
    module, x = factory(1.0), torch.randn(20, 8)
    first = rec(module, x, layers, into=tmp_path)
    assert list(rec(module, x, layers, into=tmp_path)) == list(first)
    CHANGES[change](module)
    with pytest.raises(ValueError, match=OTHER):
        rec(module, x, layers, into=tmp_path)
    assert len(rec(module, x, layers, name="other", into=tmp_path)) == len(first)


def test_the_error_says_which_layer_how_far_and_what_to_do(tmp_path):
    module, x = factory(1.0), torch.randn(20, 8)
    rec(module, x, ["fc"], into=tmp_path)
    add_hook(module)
    with pytest.raises(
        ValueError,
        match=(
            r"'m/fc \(inputs\)', and its rows are not what 'm' computes now: sample \d+ differs by 1, in values of"
            r" about 0\.\d+\. .*hook.*forward.*adapter.*option"
            r".*forward hooks on 'fc' now\. Give the model another name, load_model\(\.\.\., name=\.\.\.\), or remove"
            r" the old one: rs\.Store\('.*'\)\.remove\(model='m', layer='fc'"
        ),
    ):
        rec(module, x, ["fc"], into=tmp_path)
    assert rs.Store(tmp_path).remove(model="m", layer="fc") == 1
    np.testing.assert_allclose(rec(module, x, ["fc"], into=tmp_path)["fc"], module.fc(x).detach(), atol=1e-5)
    replace_forward(module)
    with pytest.raises(ValueError, match="forward hooks on 'fc' and a forward set on 'fc' now"):
        rec(module, x, ["fc"], into=tmp_path)
    module.forward, module.fc.forward = (lambda x: module.act(module.fc(x))), (lambda x: torch.zeros(len(x), 4))
    with pytest.raises(ValueError, match=r"'m/fc .*sample \d+ gives 4 numbers, and 8 numbers are stored"):
        rec(module, x, ["fc"], into=tmp_path)


def test_layers_that_no_longer_run_or_run_more_often_are_named(tmp_path):
    module, x = factory(1.0), torch.randn(20, 8)
    rec(module, x, ["act#2", "fc"], into=tmp_path)
    module.forward = lambda x: module.act(module.fc(x))
    with pytest.raises(ValueError, match=r"'m/act#2 .*sample \d+ it does not run"):
        rec(module, x, ["act#2"], into=tmp_path)
    module.forward = lambda x: module.fc(module.fc(x))
    with pytest.raises(ValueError, match=r"'m/fc .*sample \d+ it runs more than once"):
        rec(module, x, ["fc"], into=tmp_path)


def test_global_values_and_closures_count(tmp_path, monkeypatch):
    x = torch.randn(20, 8)
    rec(factory(1.0), x, ["output"], into=tmp_path)
    assert len(rec(factory(1.0, steps=7), x, ["output"], into=tmp_path)) == 1
    with pytest.raises(ValueError, match=OTHER):
        rec(factory(2.0), x, ["output"], into=tmp_path)
    monkeypatch.setitem(GAIN, "all", 2.0)
    with pytest.raises(ValueError, match="not what 'm' computes now"):
        rec(factory(1.0), x, ["output"], into=tmp_path)


# -- what only looks on


def observe(module):
    calls = []
    module.fc.register_forward_hook(lambda _m, _a, out: calls.append(out.shape))


def wrap(module):
    plain, calls = module.forward, []

    @functools.wraps(plain)
    def timed(*args):
        calls.append(1)
        return plain(*args)

    module.forward = timed


OBSERVING = {
    "hook": observe,
    "wrapper": wrap,
    "counter": lambda module: [module(torch.randn(3, 8)) for _ in range(3)],
    "cache in an attribute": lambda module: setattr(module.fc, "last_cache", torch.randn(3)),
    "another mode": lambda module: module.train(),
}


@pytest.mark.parametrize("how", OBSERVING)
def test_what_only_looks_on_finds_the_recording(tmp_path, how):
    module, x = factory(1.0), torch.randn(20, 8)
    first = rec(module, x, into=tmp_path)
    OBSERVING[how](module)
    sizes, mode = counted(module), module.training
    found = rec(module, x, into=tmp_path)
    assert sizes == [1, 1] and list(found) == list(first) and module.training == mode


def test_the_longest_sample_is_among_those_that_run(tmp_path):
    """An option that only long texts feel."""
    ids = torch.ones(40, 12, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row in range(40):
        mask[row, : 10 if row == 23 else 2 + row % 3] = 1
    ids = torch.randint(1, 9, (40, 12)) * mask

    class Windowed(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.config = nn.Embedding(9, 4), types.SimpleNamespace(rule=types.SimpleNamespace(window=99))

        def forward(self, input_ids, attention_mask):
            x = self.embed(input_ids)
            x[:, self.config.rule.window :] = 0
            return x

    module, data = Windowed().eval(), {"input_ids": ids, "attention_mask": mask}
    for pool in ("mean", "last", "tokens"):
        rec(module, data, ["output"], pool=pool, into=tmp_path / pool)
        assert len(rec(module, data, ["output"], pool=pool, into=tmp_path / pool)) == 1
    module.config.rule.window = 8
    for pool in ("mean", "last", "tokens"):
        with pytest.raises(ValueError, match="'m/output .*not what 'm' computes now"):
            rec(module, data, ["output"], pool=pool, into=tmp_path / pool)


# -- every kind of recording


class Kinds(nn.Module):
    """Layers of every kind of number."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.wide, self.whole, self.truth, self.pair = nn.Identity(), nn.Identity(), nn.Identity(), nn.Identity()
        self.fc, self.gain = nn.Linear(8, 8), [[scale]]

    def forward(self, x):
        x = self.fc(x) * self.gain[0][0]
        self.wide(x.double()), self.whole((x * 100).long()), self.truth(x > 0), self.pair(torch.complex(x, -x))
        return x


@pytest.mark.parametrize("dtype", [None, "float16", "float32", "float64"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_every_kind_of_number_and_every_precision_is_found_and_refused(tmp_path, dtype, scale):
    module, x, layers = Kinds(scale).eval(), torch.randn(40, 8), ["wide", "whole", "truth", "pair", "output"]
    rec(module, x, layers, into=rs.Store(tmp_path, dtype=dtype), batch_size=7)
    for size in (None, 1):
        assert len(rec(module, x, layers, into=tmp_path, batch_size=size)) == 5
    module.fc.register_forward_hook(lambda _m, _a, out: -out)
    for layer in layers:
        if layer != "whole" or scale >= 1:
            with pytest.raises(ValueError, match=f"'m/{layer} .*not what 'm' computes now"):
                rec(module, x, [layer], into=tmp_path)


@pytest.mark.parametrize("pool", ["flatten", "mean", "first", "tokens", "own"])
def test_every_pool_is_found_and_refused(tmp_path, pool):
    module, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval(), torch.randn(12, 3, 8, 8)
    if pool == "first":
        module, x = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4)).eval(), torch.randn(12, 5, 8)
    pool = (lambda out: out.amax((2, 3))) if pool == "own" else pool
    first = rec(module, x, ["0", "output"], pool=pool, into=tmp_path)
    assert list(rec(module, x, ["0", "output"], pool=pool, into=tmp_path)) == list(first)
    module[0].register_forward_hook(lambda _m, _a, out: out + 0.5)
    with pytest.raises(ValueError, match="'m/0 .*not what 'm' computes now"):
        rec(module, x, ["0", "output"], pool=pool, into=tmp_path)


def test_several_models_are_each_held_against_their_own(tmp_path):
    modules, x = [factory(1.0), factory(1.5)], torch.randn(20, 8)
    rec(modules, x, into=tmp_path)
    sizes = [counted(module) for module in modules]
    assert len(rec(modules, x, into=tmp_path)) == 4 and sizes == [[1, 1], [1, 1]]
    add_hook(modules[1])
    with pytest.raises(ValueError, match="'m1/.*not what 'm1' computes now"):
        rec(modules, x, into=tmp_path)


@pytest.mark.parametrize("kind", ["threads", "dask"])
def test_what_workers_recorded_is_found_and_refused(tmp_path, kind):
    modules, x = [factory(1.0), factory(1.5)], torch.randn(20, 8)
    models = [rs.load_model(module, name=f"m{i}") for i, module in enumerate(modules)]
    if kind == "dask":
        distributed = pytest.importorskip("distributed")
        with distributed.Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
            rs.record(models, x, into=tmp_path, executor=client.get_executor(), progress=False)
    else:
        with ThreadPoolExecutor(1) as pool:
            rs.record(models, x, into=tmp_path, executor=pool, progress=False)
    sizes = counted(modules[1])
    assert len(rs.record(models, x, into=tmp_path, progress=False)) == 4 and sizes == [1, 1]
    add_hook(modules[1])
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="'m1/.*not what 'm1' computes now"):
        rs.record(models, x, into=tmp_path, executor=pool, progress=False)


def test_a_folder_that_cannot_be_written_to_is_checked_too(tmp_path, monkeypatch):
    module, x = factory(1.0), torch.randn(20, 8)
    rec(module, x, into=tmp_path)
    rec(module, x, ["fc"], into=tmp_path)
    monkeypatch.setattr("repsim_nb.inputs.store.folder.StoreFolder.is_read_only", lambda folder: True)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(rec(module, x, ["fc", "output"], into=tmp_path)) == len(rec(module, x, into=tmp_path)) == 2
    add_hook(module)
    for layers in (["fc", "output"], None):
        with pytest.raises(ValueError, match=OTHER):
            rec(module, x, layers, into=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_recording_of_an_earlier_version_is_probed(tmp_path):
    """Its record does not say how the layer's output lies."""
    module, x = factory(1.0), torch.randn(20, 8)
    rec(module, x, into=tmp_path)
    for path in tmp_path.glob("*.json"):
        path.write_text(
            json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "check"})
        )
    sizes = counted(module)
    assert len(rec(module, x, into=tmp_path)) == 2 and len(sizes) == 4
    add_hook(module)
    with pytest.raises(ValueError, match="not what 'm' computes now"):
        rec(module, x, into=tmp_path)


# -- recordings that go on


@pytest.mark.parametrize("pool", ["flatten", "tokens"])
def test_rows_of_another_computation_are_not_gone_on_from(tmp_path, pool):
    module, x = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4)).eval(), torch.randn(60, 3, 8)
    for change in (False, True):
        into = tmp_path / f"{change}"

        def stop(done, total):
            if done >= 20:
                raise Stopped

        with pytest.raises(Stopped):
            rs.record(
                rs.load_model(module, name="m"), x, ["0", "output"], pool=pool, into=into, batch_size=5, progress=stop
            )
        handle = module[0].register_forward_hook(lambda _m, _a, out: out + 5) if change else None
        sizes = counted(module)
        got = rec(module, x, ["0", "output"], pool=pool, into=into, batch_size=5)
        np.testing.assert_allclose(got["output"], module(x).detach().reshape(got["output"].shape), atol=1e-5)
        assert sizes.count(5) == 3 + (12 if change else 8), (
            "three batches of the probe, then all rows, or those that were missing"
        )
        if handle is not None:
            handle.remove()


@pytest.mark.parametrize("change", [False, True])
def test_rows_of_batches_of_unlike_length_are_checked_before_they_are_gone_on_from(tmp_path, change):
    """The samples that are tried come from the longest part, of which no row is there yet: the first sample runs."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 4)).eval()
    batches = [torch.randint(1, 9, (rows, tokens)) for rows, tokens in ((10, 5), (10, 6), (30, 7))]
    data = rs.Dataset("ragged", ({"input": batch} for batch in batches))

    def stop(done, total):
        if done >= 10:
            raise Stopped

    model = rs.load_model(module, name="m")
    with pytest.raises(Stopped):
        rs.record(model, data, ["0", "1"], pool="mean", into=tmp_path, batch_size=10, progress=stop)
    assert set(rs.Store(tmp_path).unfinished().values()) == {(10, 50)}
    if change:
        module[0].register_forward_hook(lambda _m, _a, out: out + 5)
    sizes = counted(module)
    got = rs.record(model, data, ["0", "1"], pool="mean", into=tmp_path, batch_size=10, progress=False)
    assert sizes.count(1) == 3 and sizes.count(10) == (5 if change else 4), (
        "one sample for the probe, one for each layer that goes on; then all rows, or those that are missing"
    )
    np.testing.assert_allclose(
        got["1"], np.concatenate([module(batch).mean(1).detach() for batch in batches]), atol=1e-5
    )


def test_layers_that_are_there_are_checked_where_others_are_added(tmp_path):
    module, x = factory(1.0), torch.randn(20, 8)
    rec(module, x, ["fc"], into=tmp_path)
    assert len(rec(module, x, ["fc", "act#1"], into=tmp_path)) == 2
    add_hook(module)
    with pytest.raises(ValueError, match="'m/fc .*not what 'm' computes now"):
        rec(module, x, ["fc", "output"], into=tmp_path)
    assert [key.layer for key in rs.Store(tmp_path)] == ["fc", "act#1"] and not rs.Store(tmp_path).unfinished()
