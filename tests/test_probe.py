"""What the probe looks at, what it costs, how far values may differ, and what is left out while a recording runs."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.models.state import State
from repsim_nb.inputs.recording.row_agreement import Tolerance, differ, explain_mixing, is_reordered, typical_size
from repsim_nb.inputs.recording.samples import pick_at_ends, pick_samples, read_samples


def rec(model, data, layers=None, **options):
    return rs.record(model, data, layers, progress=False, **options)


# -- which samples


def padded(lengths, total=9):
    ids = torch.zeros(len(lengths), total, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(length) % 5 + 1
    return ids


LENGTHS = [4] * 40
LENGTHS[7], LENGTHS[23] = 9, 1


@pytest.mark.parametrize(
    "inputs",
    [
        ["x" * length for length in LENGTHS],
        padded(LENGTHS),
        padded(LENGTHS).numpy(),
        {"ids": padded(LENGTHS), "attention_mask": (padded(LENGTHS) > 0).long()},
        {"x": torch.randn(40, 9, 3), "src_key_padding_mask": padded(LENGTHS) == 0},
        {"x": torch.randn(40, 9, 3), "lengths": torch.tensor(LENGTHS)},
        {"texts": ["x" * length for length in LENGTHS], "more": torch.randn(40, 2)},
    ],
)
def test_the_shortest_and_the_longest_sample_come_first(inputs):
    assert pick_samples(rs.Dataset("d", inputs), 8)[:2] == [23, 7]


def test_samples_are_far_from_each_other():
    x = np.zeros((30, 6), np.float32)
    x[[11, 17, 29]] = np.eye(6)[:3] * 100
    assert {11, 17, 29} <= set(pick_samples(rs.Dataset("d", x), 5)) and len(
        set(pick_samples(rs.Dataset("d", x), 5))
    ) >= 4
    x[3] = np.nan  # whatever the numbers are
    assert len(pick_samples(rs.Dataset("d", x), 8)) == 8


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 1000])
def test_there_are_as_many_as_asked_for(n):
    for inputs in (
        np.random.default_rng(0).normal(size=(n, 3)),
        torch.randn(n, 2, 2),
        [str(i) for i in range(n)],
        {"x": np.arange(n)},
    ):
        data = rs.Dataset("d", inputs)
        rows = pick_samples(data, 8)
        assert len(rows) == 8 and set(rows) <= set(range(n)) and len(set(rows)) == min(n, 8)
        assert all(0 <= row < n for row in pick_at_ends(data, 4)) and n - 1 in pick_at_ends(data, 4)
        batch = read_samples(data, rows)
        assert len(batch["x"] if isinstance(inputs, dict) else batch) == 8


def test_samples_of_batches_that_cannot_be_joined_come_from_one():
    data = rs.Dataset("d", ({"x": torch.randn(n, width)} for n, width in ((3, 4), (9, 5), (2, 6))))
    assert set(pick_samples(data, 8)) <= set(range(3, 12)) and pick_at_ends(data, 4) == []


# -- what it costs


@pytest.mark.parametrize("spec", ["zoo:mnist-vit-0", "zoo:mnist-cnn-0", "zoo:mnist-mlp-0"])
def test_the_probe_takes_four_forward_passes(spec, mnist):
    model, sizes = rs.load_model(spec), []
    handle = model.module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    rec(model, mnist, pool="mean", batch_size=200)
    handle.remove()
    assert sizes[:3] == [1, 8, 8] and 5 <= sizes[3] <= 12 and sizes[4:] == [200]


def test_a_sample_stands_alone_first_in_the_middle_last_and_in_other_company(rng):
    model, batches = nn.Linear(3, 2), []
    model.register_forward_hook(lambda _, inputs, out: batches.append([tuple(row) for row in inputs[0].tolist()]))
    rec(model, rng.normal(size=(60, 3)).astype(np.float32))
    alone, company, few, rest, whole = batches
    one = alone[0]
    assert (
        [place for place, row in enumerate(company) if row == one] == [0, 3, 7] and one not in few and one not in rest
    ), "a company without it"
    assert set(few) == set(company) - {one}
    assert [len(batch) for batch in batches] == [1, 8, 8, len(rest), 60] and whole[-1] in rest + company


# -- how far values may differ


@pytest.mark.parametrize(
    "module, low, high",
    [
        (nn.Linear(2, 2), 1e-4, 1e-3),
        (nn.Linear(2, 2).double(), 1e-9, 1e-7),
        (nn.Linear(2, 2).bfloat16(), 0.05, 0.1),
        (nn.Linear(2, 2).half(), 0.01, 0.05),
        (nn.ReLU(), 1e-4, 1e-3),
    ],
)
def test_the_tolerance_follows_the_arithmetic(module, low, high):
    assert low < Tolerance(module, torch.device("cpu"))() < high


@pytest.mark.filterwarnings("ignore")
def test_int8_has_a_tolerance_of_its_own():
    module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear}, dtype=torch.qint8)
    assert 0.05 < Tolerance(module, torch.device("cpu"))() < 0.1


def test_rows_differ_by_more_than_rounding_or_not():
    y = np.array([1.0, 0.0, -2.0], np.float32)
    size = typical_size([y])
    assert size == pytest.approx(np.sqrt(5 / 3))
    assert not differ(y + np.float32(1e-6), y, size, 3e-4) and differ(
        y + np.float32(0.01), y, size, 3e-4
    ) == pytest.approx(0.01, rel=1e-3)
    assert differ(y[:2], y, size, 3e-4) == np.inf
    odd = np.array([np.nan, np.inf, -np.inf])
    assert (
        not differ(odd, odd.copy(), 1.0, 3e-4) and differ(np.array([np.nan, np.inf, np.inf]), odd, 1.0, 3e-4) == np.inf
    )
    assert differ(np.array([1, 2]), np.array([1, 3]), 0.0, 0.1) == 1 and not differ(
        np.array([True]), np.array([True]), 0.0, 0.1
    ), "integers are equal or not"
    assert (
        typical_size([np.zeros(3)]) == 0
        and typical_size([np.array([np.inf, 2.0])]) == 2
        and typical_size([np.full(4, 1e300)]) == pytest.approx(1e300)
    )


def test_the_likely_cause_is_named():
    rows = list(np.eye(4))
    assert (
        is_reordered(rows[::-1], rows, 1e-3)
        and not is_reordered(rows, rows, 1e-3)
        and not is_reordered([row + 1 for row in rows], rows, 1e-3)
    )
    assert not is_reordered([rows[0], rows[0], rows[2] + 1], [rows[0], rows[0], rows[2]], 1e-3), (
        "equal samples are no other order"
    )
    assert is_reordered([rows[0], rows[2], rows[1], rows[0]], [rows[0], rows[1], rows[2], rows[0]], 1e-3)
    assert "'0' (LSTM)" in explain_mixing(nn.Sequential(nn.LSTM(2, 3)))
    assert "'0' (BatchNorm1d) uses the statistics" in explain_mixing(
        nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False))
    )
    assert "batch_first=True" in explain_mixing(nn.Identity())


# -- what a forward pass may change


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
    assert (module.count, module.empty, module.kind, module.cache, module.seen, module.table) == (
        torch.zeros(1),
        None,
        "first",
        None,
        [],
        {"a": [1]},
    )
    assert module.plain.tolist() == [0, 0] and module.numbers.tolist() == [0, 0, 0] and not hasattr(module, "new")
    assert module.config.used == 0 and module.config.names == ["a"] and not module._forward_hooks
    assert all(a is b for a, b in zip(keep, (module.count, module.plain, module.table, module.seen), strict=True)), (
        "the same objects"
    )


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


CLIPPED = torch.clamp_  # by another name


def test_large_weights_that_were_written_to_are_announced(rng, monkeypatch):
    monkeypatch.setattr("repsim_nb.inputs.models.saved_values.COPIED", 8)

    class Clipping(nn.Linear):
        def forward(self, x):
            CLIPPED(self.weight, -0.1, 0.1)
            return super().forward(x)

    with pytest.warns(UserWarning, match="running Clipping wrote to 1 of its large tensors"):
        rec(Clipping(3, 2), rng.normal(size=(9, 3)).astype(np.float32))


def test_large_weights_that_the_code_of_a_forward_writes_to_are_put_back(rng, monkeypatch):
    monkeypatch.setattr("repsim_nb.inputs.models.saved_values.COPIED", 8)

    class Clipping(nn.Linear):
        def forward(self, x):
            self.weight.clamp_(-0.1, 0.1)
            return super().forward(x)

    module = Clipping(3, 2)
    before = module.weight.detach().clone()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rec(module, rng.normal(size=(9, 3)).astype(np.float32))
    assert torch.equal(module.weight, before) and before.abs().max() > 0.1


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


# -- what is left out while a recording runs


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
        with pytest.warns(
            UserWarning,
            match=(
                r"1 layer of 'm' is left out: 'crowd' \(samples 0 to 50\) mixes samples: row .* of a batch of 50"
                r" differs"
            ),
        ) as warned:
            x = rec(crowded(), vectors, batch_size=50, into=into)
        assert [key.layer for key in x] == ["first", "output"] and len(warned) == 1
    assert sorted(path.suffix for path in (tmp_path / "s").iterdir()) == [".json"] * 2 + [".npy"] * 2, (
        "nothing of it stays"
    )
    with pytest.raises(ValueError, match="layer 'crowd' of 'm' \\(samples 0 to 50\\) mixes samples"):
        rec(crowded(), vectors, "crowd", batch_size=50)
    assert len(rec(crowded(), vectors, "crowd", batch_size=20)["crowd"]) == 100
    with pytest.warns(UserWarning, match="1 layer of 'm' is left out: 'crowd'"):
        table = rs.stream(crowded(), rs.load_model(nn.Linear(4, 3), name="n"), vectors, batch_size=50, progress=False)
    assert table.values.index.get_level_values("layer").tolist() == ["first", "output"]


def test_a_recording_of_default_layers_is_found_without_a_probe(vectors, tmp_path):
    with pytest.warns(UserWarning, match="'crowd'"):
        recorded = rec(crowded(), vectors, batch_size=50, into=tmp_path)
    model, runs = crowded(), []
    model.module.register_forward_pre_hook(lambda _, inputs: runs.append(len(inputs[0])))
    with pytest.warns(UserWarning, match="1 layer of 'm' is left out: 'crowd'"):
        found = rec(model, vectors, batch_size=50, into=tmp_path)
    assert (
        runs == [1, 1]
        and list(found) == list(recorded)
        and all(np.array_equal(found[key], recorded[key]) for key in found)
    )


def test_nothing_is_left_out_in_silence_if_all_layers_are_wrong(vectors):
    model = rs.load_model(Swap(), name="s")
    with (
        warnings.catch_warnings(),
        pytest.raises(ValueError, match="layer 'output' of 's' \\(samples 0 to 50\\) mixes samples"),
    ):
        warnings.simplefilter("error")
        rec(model, vectors, batch_size=50)


def test_a_pool_function_that_fails_is_named(vectors):
    with pytest.raises(ValueError, match=r"layer '0' of 'm' could not be pooled by 'lambda' from \(8, 4\): IndexError"):
        rec(rs.load_model(nn.Sequential(nn.Linear(4, 4)), name="m"), vectors, "0", pool=lambda x: x.mean(5))


# -- found by people who tried


class Ends(nn.Module):
    """A bidirectional recurrent layer over padded sequences, without packing: the padding reaches every step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.r = nn.GRU(3, 4, batch_first=True, bidirectional=True)

    def forward(self, x, lengths):
        return self.r(x)[0][torch.arange(len(x)), lengths - 1]


@pytest.mark.parametrize("seed", range(8))
def test_padding_to_the_longest_of_a_batch_is_found_whichever_sample_is_the_longest(seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 9, (30,), generator=generator)
    lengths[:: seed + 1] = 8
    lengths[29] = 2
    sequences = [torch.randn(int(length), 3, generator=generator) for length in lengths]

    def collate(batch):
        return {
            "x": nn.utils.rnn.pad_sequence(batch, batch_first=True),
            "lengths": torch.tensor([len(one) for one in batch]),
        }

    data = rs.Dataset("d", torch.utils.data.DataLoader(sequences, batch_size=4, collate_fn=collate))
    with pytest.raises(ValueError, match="layer 'output' of 'm' mixes samples: .*padded to the longest of the batch"):
        rec(rs.load_model(Ends(), name="m"), data, "output", pool="mean")


def test_a_large_sample_or_a_large_feature_hides_nothing():
    torch.manual_seed(0)
    first, second, x = nn.Linear(6, 8), nn.Linear(8, 3), torch.randn(40, 6)
    x[5] *= 1e6

    class Rolled(nn.Module):
        def forward(self, x):
            h = first(x)
            return second(h + 0.3 * torch.roll(torch.sign(h), 1, 0))

    class Centred(nn.Module):
        def forward(self, x):
            h = first(x)
            return torch.cat([1e5 * torch.ones(len(x), 1), h - h.mean(0)], 1)

    for module, data in ((Rolled(), x), (Centred(), torch.randn(40, 6))):
        with pytest.raises(ValueError, match="mixes samples"):
            rec(rs.load_model(module, name="m"), data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(*[layer for _ in range(30) for layer in (nn.Linear(16, 16), nn.ReLU())]),
        lambda: nn.Sequential(*[nn.Linear(16, 16) for _ in range(60)]),
        lambda: nn.Sequential(nn.LayerNorm(16, elementwise_affine=False), nn.Linear(16, 4)),
        lambda: nn.Sequential(nn.Linear(16, 500), nn.ReLU(), nn.Linear(500, 4)),
    ],
)
@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1.0, 1e4, 1e12])
def test_ordinary_models_raise_no_false_alarm(make, scale, rng):
    torch.manual_seed(0)
    module = make()
    data = (scale * rng.normal(size=(40, 16))).astype(np.float32)
    data[3] *= 100
    data[4] = data[4, 0]  # nothing is left of it after a LayerNorm
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings(
            "ignore", "[^.]* left out: [^;]* is constant: "
        )  # after 60 layers at a small gain only rounding is left
        for precision in (torch.float32, torch.float64):
            assert len(rec(rs.load_model(module.to(precision), name="m"), data, "*"))


def test_ids_of_a_small_alphabet_are_not_taken_for_padded():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(90, 4), nn.Linear(4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for letters in (2, 4, 50, 85):
            for _ in range(5):
                rec(rs.load_model(module, name="m"), torch.randint(5, 5 + letters, (40, 12)), pool="mean")
    padded_ids = padded([3, 4, 5, 6, 7, 8, 9, 9] * 5)
    with pytest.warns(UserWarning, match="look padded .*no mask marks the padding"):
        rec(rs.load_model(module, name="m"), padded_ids, pool="mean")


def test_a_preprocess_that_is_at_fault_is_named(vectors):
    def named(preprocess, words):
        with pytest.raises(ValueError, match=words):
            rec(rs.load_model(nn.Linear(4, 3), preprocess=preprocess, name="m"), vectors)

    named(
        lambda batch: torch.from_numpy(batch) + torch.rand(len(batch), 1),
        "the preprocess gives different inputs each time",
    )
    named(lambda batch: torch.from_numpy(batch - batch.mean(0)), "The preprocess computes its outputs over the batch")
    named(
        lambda batch: torch.from_numpy(batch).flip(0),
        "The preprocess computes its outputs over the batch, or changes the order",
    )
    with pytest.raises(ValueError, match="and a pool function, 'lambda', that treats each sample alone"):
        rec(rs.load_model(nn.Linear(4, 3), name="m"), vectors, pool=lambda x: x - x.mean(0))
    x = rec(
        rs.load_model(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), name="m"),
        vectors,
        ["0", "output"],
        pool=lambda x: x.mul_(2),
    )
    assert x["output"].shape == (100, 2), "a pool that writes into its input changes nothing"


def test_a_state_that_is_kept_where_batches_are_equal_is_found(vectors):
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.h = nn.Linear(4, 3), None

        def forward(self, x):
            out = self.fc(x)
            self.h = out if self.h is None or len(self.h) != len(x) else self.h + out
            return self.h

    with pytest.raises(ValueError, match="layer 'output' of 'm' keeps state from batch to batch"):
        rec(rs.load_model(Keeping(), name="m"), vectors, "output")


def test_with_one_sample_a_batch_nothing_can_be_mixed(vectors):
    module = nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3))

    class OverTheBatch(nn.Module):
        def forward(self, x):
            return x + x.mean(0)

    x = rec(rs.load_model(OverTheBatch(), name="m"), vectors, batch_size=1)["output"]
    np.testing.assert_allclose(x, 2 * vectors, rtol=1e-6)
    with pytest.raises(
        ValueError, match="layer '1' of 'm' cannot be checked, since the model does not run on one sample alone"
    ):
        rec(rs.load_model(module, name="m"), vectors)


def test_an_object_with_other_settings_is_another_preprocess(tmp_path):
    class Scaled:
        def __init__(self, limit):
            self.limit, self.calls = limit, 0

        def __call__(self, batch):
            self.calls += 1
            return torch.from_numpy(batch).clamp(max=self.limit)

        def method(self, batch):
            return self(batch)

    data = np.ones((50, 4), np.float32)  # no sample shows the difference
    for name, pick_call in (("object", lambda one: one), ("method", lambda one: one.method)):
        rec(rs.load_model(nn.Identity(), preprocess=pick_call(Scaled(10)), name="m"), data, into=tmp_path / name)
        assert (
            len(
                rec(
                    rs.load_model(nn.Identity(), preprocess=pick_call(Scaled(10)), name="m"), data, into=tmp_path / name
                )
            )
            == 1
        )
        with pytest.raises(ValueError, match="preprocess"):
            rec(rs.load_model(nn.Identity(), preprocess=pick_call(Scaled(5)), name="m"), data, into=tmp_path / name)


@pytest.mark.parametrize(
    "inputs, words",
    [
        (torch.eye(4).to_sparse(), "Convert them, x.to_dense()"),
        (
            {"x": torch.eye(4), "extra": torch.eye(1)},
            "If 'extra' is the same for all samples, give one value and no column",
        ),
    ],
)
def test_inputs_that_cannot_be_cut_into_batches_are_refused(inputs, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        rs.Dataset("d", inputs)


# -- masks


class TwoSequences(nn.Module):
    """A decoder over `tgt` that looks at a pooled `src`; only `src` has a mask."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Embedding(20, 6), nn.Embedding(20, 6), nn.Linear(6, 6)

    def forward(self, src, tgt, src_key_padding_mask=None):
        real = 1.0 if src_key_padding_mask is None else (~src_key_padding_mask).float()[..., None]
        return self.head(torch.tanh(self.b(tgt)) + (self.a(src) * real).sum(1, keepdim=True))


def two_sequences(n=24, tokens=6):
    torch.manual_seed(1)
    src, tgt = torch.randint(1, 20, (2, n, tokens))
    lengths = torch.arange(n) % tokens + 1
    return {"src": src, "tgt": tgt, "src_key_padding_mask": torch.arange(tokens)[None] >= lengths[:, None]}


def test_one_mask_is_not_that_of_another_sequence_of_equal_length():
    module, data = TwoSequences(), two_sequences()
    with torch.no_grad():
        want = module(**data).mean(1)
    np.testing.assert_allclose(
        rec(rs.load_model(module, name="m"), data, "output", pool="mean")["output"], want, atol=1e-5
    )
    data["tgt"] = data["tgt"] * (torch.arange(6)[None] < (torch.arange(24) % 5 + 2)[:, None])
    with pytest.warns(UserWarning, match="look padded .* 'tgt_mask'"):
        rec(rs.load_model(module, name="m"), data, "output", pool="mean")


def test_a_column_is_a_column_of_lengths_by_its_whole_name():
    class Valence(nn.Module):
        def forward(self, x, valence):
            return x + valence[:, None, None]

    x, valence = torch.randn(20, 5, 4), torch.arange(20) % 4 + 1
    got = rec(rs.load_model(Valence(), name="m"), {"x": x, "valence": valence}, pool="mean", axis=-1)["output"]
    np.testing.assert_allclose(got, (x + valence[:, None, None]).mean(1), atol=1e-6)


def test_one_number_for_each_token_follows_the_mask():
    class Scores(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed, self.score, self.wide = nn.Embedding(20, 6), nn.Linear(6, 1), nn.Linear(6, 7)

        def forward(self, ids, attention_mask):
            h = torch.tanh(self.embed(ids))
            pooled = (h * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)
            return self.score(h).squeeze(-1), self.wide(pooled)

    torch.manual_seed(1)
    mask = (torch.arange(7)[None] < (torch.arange(30) % 7 + 1)[:, None]).long()
    module, data = Scores(), {"ids": torch.randint(1, 20, (30, 7)), "attention_mask": mask}
    with torch.no_grad():
        scores, wide = module(**data)
    got = rec(rs.load_model(module, name="m"), data, ["output", "wide"], pool="mean")
    np.testing.assert_allclose(got["output[0]"][:, 0], (scores * mask).sum(1) / mask.sum(1), atol=1e-5)
    np.testing.assert_allclose(got["output[1]"], wide, atol=1e-5)
    np.testing.assert_allclose(got["wide"], wide, atol=1e-5)
    with pytest.raises(ValueError, match=r"layer 'output\[0\]' of 'm' has a row for every token, .*padding"):
        rec(rs.load_model(module, name="m"), data, "output")


def test_a_question_about_a_complete_store_is_answered_once(vectors, tmp_path):
    model, runs = rs.load_model(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), name="m"), []
    rec(model, vectors, ["0", "1", "2", "output"], into=tmp_path)
    model.module.register_forward_hook(lambda *_: runs.append(1))
    first = list(rec(model, vectors, ["?"], into=tmp_path))
    assert len(first) == 3 and len(runs) == 4, "the passes of the probe"
    assert list(rec(model, vectors, ["?"], into=tmp_path)) == first and len(runs) == 6, "two samples"


@pytest.mark.parametrize("stream", [False, True])
def test_a_state_that_moves_slowly_is_reset_before_each_batch(stream, rng):
    class Balancing(nn.Module):
        """The bias of a router moves a little with every batch."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.router, self.experts = nn.Linear(6, 4), nn.Parameter(torch.randn(4, 6, 3))
            self.register_buffer("bias", torch.zeros(4))

        def forward(self, x):
            which = (self.router(x) + self.bias).argmax(-1)
            load = torch.bincount(which, minlength=4).float()
            self.bias += 1e-3 * torch.sign(load.mean() - load)
            return torch.einsum("bi,bio->bo", x, self.experts[which])

    module, data = Balancing(), rng.normal(size=(600, 6)).astype(np.float32)
    want = torch.cat([module_row(module, row) for row in torch.from_numpy(data)])
    if stream:
        other = rs.load_model(nn.Linear(6, 3), name="other")
        table = rs.stream(
            rs.load_model(module, name="m"), other, data, (["output"], ["output"]), batch_size=20, progress=False
        )
        right = rs.compare(
            rs.measures.CKA(batch_size=20),
            {"m": want.numpy()},
            {"o": rec(other, data, "output")["output"]},
            progress=False,
        )
        assert np.allclose(table.values, right.values, atol=1e-5)
    else:
        np.testing.assert_allclose(rec(rs.load_model(module, name="m"), data, batch_size=20)["output"], want, atol=1e-5)
    assert module.bias.tolist() == [0] * 4 and not any(part._forward_hooks for part in module.modules())


def module_row(module, row):
    with torch.no_grad():
        out = module(row[None])
        module.bias.zero_()
    return out
