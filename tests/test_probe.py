"""What the probe looks at, what it costs, how far values may differ, and what is left out while a recording runs."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.models.state import State
from repsim_nb.recording.agreement import Tolerance, cause_of_mixing, differ, size_of
from repsim_nb.recording.samples import at_the_ends, pick, taken


def rec(model, data, layers=None, **options):
    return rs.record(model, data, layers, progress=False, **options)


# -- which samples -----------------------------------------------------------------------------------------------------------


def padded(lengths, total=9):
    ids = torch.zeros(len(lengths), total, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(length) % 5 + 1
    return ids


LENGTHS = [4] * 40
LENGTHS[7], LENGTHS[23] = 9, 1


@pytest.mark.parametrize("inputs", [
    ["x" * length for length in LENGTHS],
    padded(LENGTHS),
    padded(LENGTHS).numpy(),
    {"ids": padded(LENGTHS), "attention_mask": (padded(LENGTHS) > 0).long()},
    {"x": torch.randn(40, 9, 3), "src_key_padding_mask": padded(LENGTHS) == 0},
    {"x": torch.randn(40, 9, 3), "lengths": torch.tensor(LENGTHS)},
    {"texts": ["x" * length for length in LENGTHS], "more": torch.randn(40, 2)},
])  # fmt: skip
def test_the_shortest_and_the_longest_sample_come_first(inputs):
    assert pick(rs.Dataset("d", inputs), 8)[:2] == [23, 7]


def test_samples_are_far_from_each_other():
    x = np.zeros((50, 6), np.float32)
    x[[11, 29, 41]] = np.eye(6)[:3] * 100
    assert {11, 29, 41} <= set(pick(rs.Dataset("d", x), 5)) and len(set(pick(rs.Dataset("d", x), 5))) >= 4
    x[3] = np.nan  # whatever the numbers are
    assert len(pick(rs.Dataset("d", x), 8)) == 8


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 1000])
def test_there_are_as_many_as_asked_for(n):
    for inputs in (np.random.default_rng(0).normal(size=(n, 3)), torch.randn(n, 2, 2), [str(i) for i in range(n)], {"x": np.arange(n)}):
        data = rs.Dataset("d", inputs)
        rows = pick(data, 8)
        assert len(rows) == 8 and set(rows) <= set(range(n)) and len(set(rows)) == min(n, 8)
        assert all(0 <= row < n for row in at_the_ends(data, 4)) and n - 1 in at_the_ends(data, 4)
        batch = taken(data, rows)
        assert len(batch["x"] if isinstance(inputs, dict) else batch) == 8


def test_samples_of_batches_that_cannot_be_joined_come_from_one():
    data = rs.Dataset("d", ({"x": torch.randn(n, width)} for n, width in ((3, 4), (9, 5), (2, 6))))
    assert set(pick(data, 8)) <= set(range(3, 12)) and at_the_ends(data, 4) == []


# -- what it costs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["zoo:mnist-vit-0", "zoo:mnist-cnn-0", "zoo:mnist-mlp-0"])
def test_the_probe_takes_four_forward_passes(spec, mnist):
    model, sizes = rs.load_model(spec), []
    handle = model.module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    rec(model, mnist, pool="mean", batch_size=200)
    handle.remove()
    assert sizes[:3] == [1, 8, 3] and 5 <= sizes[3] <= 16 and sizes[4:] == [200]


def test_a_sample_stands_alone_first_in_the_middle_last_and_in_other_company(rng):
    model, batches = nn.Linear(3, 2), []
    model.register_forward_hook(lambda _, inputs, out: batches.append([tuple(row) for row in inputs[0].tolist()]))
    rec(model, rng.normal(size=(60, 3)).astype(np.float32))
    alone, company, few, rest, whole = batches
    one = alone[0]
    assert [place for place, row in enumerate(company) if row == one] == [0, 3, 7] and one not in few and one not in rest, "a company without it"
    assert set(company) - {one} <= set(rest) and set(few) <= set(company)
    assert len({len(batch) for batch in batches}) == 5 and whole[-1] in rest


# -- how far values may differ ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module, low, high", [
    (nn.Linear(2, 2), 1e-4, 1e-3), (nn.Linear(2, 2).double(), 1e-9, 1e-7), (nn.Linear(2, 2).bfloat16(), 0.05, 0.1), (nn.Linear(2, 2).half(), 0.01, 0.05),
    (nn.ReLU(), 1e-4, 1e-3),
])  # fmt: skip
def test_the_tolerance_follows_the_arithmetic(module, low, high):
    assert low < Tolerance(module, torch.device("cpu"))() < high


@pytest.mark.filterwarnings("ignore")
def test_int8_has_a_tolerance_of_its_own():
    module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear}, dtype=torch.qint8)
    assert 0.05 < Tolerance(module, torch.device("cpu"))() < 0.1


def test_rows_differ_by_more_than_rounding_or_not():
    y = np.array([1.0, 0.0, -2.0], np.float32)
    size = size_of([y])
    assert size == pytest.approx(np.sqrt(5 / 3))
    assert not differ(y + np.float32(1e-6), y, size, 3e-4) and differ(y + np.float32(0.01), y, size, 3e-4) == pytest.approx(0.01, rel=1e-3)
    assert differ(y[:2], y, size, 3e-4) == np.inf
    odd = np.array([np.nan, np.inf, -np.inf])
    assert not differ(odd, odd.copy(), 1.0, 3e-4) and differ(np.array([np.nan, np.inf, np.inf]), odd, 1.0, 3e-4) == np.inf
    assert differ(np.array([1, 2]), np.array([1, 3]), 0.0, 0.1) == 1 and not differ(np.array([True]), np.array([True]), 0.0, 0.1), "integers are equal or not"
    assert size_of([np.zeros(3)]) == 0 and size_of([np.array([np.inf, 2.0])]) == 2 and size_of([np.full(4, 1e300)]) == pytest.approx(1e300)


def test_the_likely_cause_is_named():
    rows = list(np.eye(4))
    assert "another order" in cause_of_mixing(nn.Identity(), rows[::-1], rows, 1e-3)
    assert "'0' (LSTM)" in cause_of_mixing(nn.Sequential(nn.LSTM(2, 3)), rows, [row + 1 for row in rows], 1e-3)
    assert "'0' (BatchNorm1d) takes the statistics" in cause_of_mixing(nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)), rows, [row + 1 for row in rows], 1e-3)
    assert "batch_first=True" in cause_of_mixing(nn.Identity(), rows, [row + 1 for row in rows], 1e-3)


# -- what a forward pass may change --------------------------------------------------------------------------------------------


class Config:
    def __init__(self):
        self.used, self.names = 0, ["a"]


class Changing(nn.Module):
    """Changes all that a module can hold."""

    def __init__(self):
        super().__init__()
        self.fc, self.config, self.table, self.numbers = nn.Linear(3, 3), Config(), {"a": [1]}, np.zeros(3)
        self.seen, self.cache, self.kind = [], None, "first"
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("empty", None)
        self.plain = torch.zeros(2)

    def forward(self, x):
        self.count += 1
        self.empty = self.count + 1
        self.plain.data += 1
        self.numbers += 1
        self.seen.append(x)
        self.table["a"].append(2)
        self.table["b"] = 3
        self.config.used += 1
        self.config.names.append("b")
        self.kind, self.cache, self.new = "second", x, x
        self.register_forward_hook(lambda *_: None)
        return self.fc(x)


def test_all_that_a_forward_pass_changed_is_put_back(rng):
    module = Changing()
    keep = module.count, module.plain, module.table, module.seen
    rec(module, rng.normal(size=(9, 3)).astype(np.float32))
    assert (module.count, module.empty, module.kind, module.cache, module.seen, module.table) == (torch.zeros(1), None, "first", None, [], {"a": [1]})
    assert module.plain.tolist() == [0, 0] and module.numbers.tolist() == [0, 0, 0] and not hasattr(module, "new")
    assert module.config.used == 0 and module.config.names == ["a"] and not module._forward_hooks
    assert all(a is b for a, b in zip(keep, (module.count, module.plain, module.table, module.seen), strict=True)), "the same objects"


def test_weights_are_put_back_too(rng):
    class Clipping(nn.Linear):
        def forward(self, x):
            self.weight.data.clamp_(-0.1, 0.1)
            return super().forward(x)

    embedding = nn.Embedding(9, 4, max_norm=0.1)
    for module, data in ((Clipping(3, 2), rng.normal(size=(9, 3)).astype(np.float32)), (embedding, np.arange(9))):
        before = module.weight.detach().clone()
        rec(module, data)
        assert torch.equal(module.weight, before)


def test_large_weights_that_were_written_to_are_announced(rng, monkeypatch):
    monkeypatch.setattr("repsim_nb.models.state.COPIED", 8)

    class Clipping(nn.Linear):
        def forward(self, x):
            self.weight.clamp_(-0.1, 0.1)
            return super().forward(x)

    with pytest.warns(UserWarning, match="running Clipping wrote to 1 of its weights"):
        rec(Clipping(3, 2), rng.normal(size=(9, 3)).astype(np.float32))


def test_a_model_is_put_back_into_training_by_its_own_method(rng):
    class Merging(nn.Module):
        """Merges an adapter into its weights in evaluation mode, as some libraries do."""

        def __init__(self):
            super().__init__()
            self.fc, self.adapter, self.merged = nn.Linear(3, 3, bias=False), nn.Parameter(torch.ones(3, 3)), False

        def train(self, mode=True):
            super().train(mode)
            if mode == self.merged:
                self.fc.weight.data += self.adapter.data * (-1 if mode else 1)
                self.merged = not mode
            return self

        def forward(self, x):
            return self.fc(x) + (0 if self.merged else x @ self.adapter.T)

    module = Merging().train()
    before = module.fc.weight.detach().clone()
    x = rng.normal(size=(9, 3)).astype(np.float32)
    want = module(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(rec(module, x)["output"], want, atol=1e-5)
    assert module.training and not module.merged and torch.allclose(module.fc.weight, before, atol=1e-6)


def test_what_a_pass_built_stays_built():
    state = State(module := nn.Sequential(nn.LazyLinear(3)))
    assert not state.built()
    module(torch.ones(2, 4))
    assert state.built()
    state.restore()
    assert module[0].in_features == 4 and module(torch.ones(2, 4)).shape == (2, 3)


# -- what is left out while a recording runs -----------------------------------------------------------------------------------


class Crowded(nn.Module):
    """One layer gives wrong rows in batches of more than 20 samples."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.crowd, self.last = nn.Linear(4, 4), Swap(), nn.Linear(4, 3)

    def forward(self, x):
        h = self.first(x)
        self.crowd(h)
        return self.last(h)


class Swap(nn.Module):
    def forward(self, x):
        return x.flip(0) if len(x) > 20 else x


def crowded():
    return rs.load_model(Crowded(), name="m", layers=["first", "crowd"])


@pytest.fixture
def vectors(rng):
    return rng.normal(size=(100, 4)).astype(np.float32)


def test_a_layer_that_is_wrong_in_large_batches_only_is_left_out(vectors, tmp_path):
    for into in (None, tmp_path / "s"):
        with pytest.warns(UserWarning, match=r"1 layer of 'm' is left out: 'crowd' \(samples 0 to 50: mixes samples: row .* of a batch of 50 differs") as warned:
            x = rec(crowded(), vectors, batch_size=50, into=into)
        assert [key.layer for key in x] == ["first", "output"] and len(warned) == 1
    assert sorted(path.suffix for path in (tmp_path / "s").iterdir()) == [".json"] * 2 + [".npy"] * 2, "nothing of it stays"
    with pytest.raises(ValueError, match="layer 'crowd' of 'm', samples 0 to 50: mixes samples"):
        rec(crowded(), vectors, "crowd", batch_size=50)
    assert len(rec(crowded(), vectors, "crowd", batch_size=20)["crowd"]) == 100
    with pytest.warns(UserWarning, match="1 layer of 'm' is left out: 'crowd'"):
        table = rs.stream(crowded(), rs.load_model(nn.Linear(4, 3), name="n"), vectors, batch_size=50, progress=False)
    assert table.values.index.get_level_values("layer").tolist() == ["first", "output"]


def test_a_recording_of_default_layers_is_found_without_a_run(vectors, tmp_path):
    with pytest.warns(UserWarning, match="'crowd'"):
        recorded = rec(crowded(), vectors, batch_size=50, into=tmp_path)
    model, runs = crowded(), []
    model.module.forward = lambda x: runs.append(x)
    with pytest.warns(UserWarning, match="1 layer of 'm' is left out: 'crowd'"):
        found = rec(model, vectors, batch_size=50, into=tmp_path)
    assert not runs and list(found) == list(recorded) and all(np.array_equal(found[key], recorded[key]) for key in found)


def test_nothing_is_left_out_in_silence_if_all_layers_are_wrong(vectors):
    model = rs.load_model(Swap(), name="s")
    with warnings.catch_warnings(), pytest.raises(ValueError, match="layer 'output' of 's', samples 0 to 50: mixes samples"):
        warnings.simplefilter("error")
        rec(model, vectors, batch_size=50)


def test_a_pool_function_that_fails_is_named(vectors):
    with pytest.raises(ValueError, match=r"layer '0' of 'm' could not be pooled by 'lambda' from \(8, 4\): IndexError"):
        rec(rs.load_model(nn.Sequential(nn.Linear(4, 4)), name="m"), vectors, "0", pool=lambda x: x.mean(5))
