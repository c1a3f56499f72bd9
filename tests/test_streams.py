"""Modules that return several representations in a tuple: each is a layer of its own, never the first for all."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from networks import normal
from torch import nn

import repsim_nb as rs

WORDS, PATCHES, WIDTH = 5, 9, 8


def rec(module, data, layers=None, **options):
    return rs.record(rs.load_model(module.eval(), name="m"), data, layers, progress=False, **options)


class Joint(nn.Module):
    """A block with a stream of text and one of patches that see each other. The last one gives no text, as in SD3."""

    def __init__(self, last=False):
        super().__init__()
        self.attend, self.text, self.image, self.last = (
            nn.MultiheadAttention(WIDTH, 2, batch_first=True),
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(WIDTH, WIDTH),
            last,
        )

    def forward(self, text, image):
        both = torch.cat([text, image], 1)
        both = both + self.attend(both, both, both)[0]
        return None if self.last else self.text(both[:, : text.shape[1]]), self.image(both[:, text.shape[1] :])


class Streams(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.patch = nn.Embedding(20, WIDTH), nn.Linear(3, WIDTH)
        self.blocks = nn.ModuleList([Joint(), Joint(), Joint(last=True)])
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, ids, patches):
        text, image = self.words(ids), self.patch(patches)
        for block in self.blocks:
            text, image = block(text, image)
        return self.head(image)


@pytest.fixture
def streams():
    torch.manual_seed(0)
    module, data = Streams().eval(), {"ids": torch.randint(0, 20, (30, WORDS)), "patches": normal(30, PATCHES, 3)}
    outputs = {}
    handles = [
        block.register_forward_hook(lambda _m, _i, out, number=number: outputs.setdefault(number, out))
        for number, block in enumerate(module.blocks)
    ]
    with torch.no_grad():
        module(**data)
    for handle in handles:
        handle.remove()
    return module, data, outputs


@pytest.mark.parametrize("pool", ["flatten", "mean", "last"])
def test_both_streams_are_recorded_by_name(streams, pool):
    module, data, outputs = streams
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = rec(module, data, pool=pool)
    blocks = [key.layer for key in got if "blocks" in key.layer]
    assert blocks == ["blocks.0[0]", "blocks.0[1]", "blocks.1[0]", "blocks.1[1]", "blocks.2[1]"]
    take = {"flatten": lambda x: x.flatten(1), "mean": lambda x: x.mean(1), "last": lambda x: x[:, -1]}[pool]
    for name in blocks:
        np.testing.assert_allclose(got[name], take(outputs[int(name[7])][int(name[9])]), atol=1e-5)
    assert [key.layer for key in rec(module, data, ["blocks.?"], pool=pool)] == blocks
    assert [key.layer for key in rec(module, data, "blocks.1", pool=pool)] == ["blocks.1[0]", "blocks.1[1]"]
    assert [key.layer for key in rec(module, data, "blocks.1[1]", pool=pool)] == ["blocks.1[1]"]


def test_streams_in_a_store_in_a_table_and_in_stream(streams, tmp_path):
    module, data, _ = streams
    first = rec(module, data, pool="mean", into=tmp_path / "s")
    again = rec(module, data, pool="mean", into=tmp_path / "s")
    assert list(first) == list(again) and all(np.array_equal(first[key], again[key]) for key in first)
    table = rs.compare("cka", first, progress=False)
    assert np.isfinite(table.values.to_numpy()).all()
    large = {"ids": torch.randint(0, 20, (300, WORDS)), "patches": normal(300, PATCHES, 3)}
    model = rs.load_model(module, name="m")
    want = rs.compare(rs.measures.CKA(batch_size=100), rec(module, large, pool="mean"), progress=False).values
    got = rs.stream(model, model, large, pool="mean", batch_size=100, progress=False).values
    assert list(got.index) == list(want.index)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_describe_lists_parts(streams):
    module, data, _ = streams
    table = rs.load_model(module, name="m").describe(
        {name: column[:2] for name, column in data.items()}, ["blocks.0[0]", "blocks.0[1]"]
    )
    assert list(table["shape"]) == [(WORDS, WIDTH), (PATCHES, WIDTH)]


def test_a_part_that_is_not_there_is_named(streams):
    module, data, _ = streams
    with pytest.raises(ValueError, match=r"layer 'blocks.0\[4\]' of 'm' returns 2 parts, so there is no part \[4\]"):
        rec(module, data, "blocks.0[4]")
    with pytest.raises(ValueError, match="unknown layer 'bloks.0"):
        rec(module, data, "bloks.0[1]")
    with pytest.raises(ValueError, match="layer 'output.logits' of 'm' returns Tensor, which has no part 'logits'"):
        rec(module, data, "output.logits")


class Twice(nn.Module):
    """A block that runs twice and gives two streams each time."""

    def __init__(self):
        super().__init__()
        self.block, self.words = Joint(), nn.Embedding(20, WIDTH)

    def forward(self, ids, patches):
        return self.block(*self.block(self.words(ids), patches))


def test_parts_of_calls():
    torch.manual_seed(0)
    module, data = Twice().eval(), {"ids": torch.randint(0, 20, (20, WORDS)), "patches": normal(20, PATCHES, WIDTH)}
    got = rec(module, data, ["block", "output"], pool="mean")
    assert [key.layer for key in got] == [
        "block#1[0]",
        "block#1[1]",
        "block#2[0]",
        "block#2[1]",
        "output[0]",
        "output[1]",
    ]
    with torch.no_grad():
        first = module.block(module.words(data["ids"]), data["patches"])
        second = module.block(*first)
    np.testing.assert_allclose(got["block#1[1]"], first[1].mean(1), atol=1e-5)
    np.testing.assert_allclose(got["block#2[0]"], second[0].mean(1), atol=1e-5)
    np.testing.assert_allclose(rec(module, data, "block#2[1]", pool="mean")["block#2[1]"], second[1].mean(1), atol=1e-5)


class Pyramid(nn.Module):
    """A backbone that returns a list of maps, the earliest first."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 2, 1)])

    def forward(self, x):
        maps = []
        for stage in self.stages:
            x = torch.relu(stage(x))
            maps.append(x)
        return maps


def test_each_map_of_a_pyramid_is_an_output():
    torch.manual_seed(0)
    module, x = Pyramid().eval(), normal(20, 3, 16, 16)
    got = rec(module, x, "output", pool="mean")
    assert [key.layer for key in got] == ["output[0]", "output[1]", "output[2]"]
    with torch.no_grad():
        for number, one in enumerate(module(x)):
            np.testing.assert_allclose(got[f"output[{number}]"], one.mean((2, 3)), atol=1e-5)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.fc = kind(4, WIDTH, batch_first=True), nn.Linear(WIDTH, 2)

    def forward(self, x):
        return self.fc(self.rnn(x)[0])


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_states_and_weights_of_torch_s_own_layers_are_no_streams(kind):
    torch.manual_seed(0)
    got = rec(Recurrent(kind), normal(20, WIDTH, 4), pool="mean")
    assert {key.layer for key in got} == {"rnn", "output"}
    attend = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
    assert [key.layer for key in rec(nn.Sequential(attend), normal(20, WIDTH, WIDTH), "0.self_attn", pool="mean")] == [
        "0.self_attn"
    ]


@dataclasses.dataclass
class Detected:
    logits: torch.Tensor | None = None
    boxes: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.queries, self.classes, self.boxes = (
            nn.Linear(3, WIDTH),
            nn.Parameter(torch.randn(6, WIDTH)),
            nn.Linear(WIDTH, 5),
            nn.Linear(WIDTH, 4),
        )

    def forward(self, x):
        h = self.body(x)[:, None] * self.queries
        return Detected(self.classes(h), self.boxes(h), h)


def test_fields_of_an_output_are_layers():
    torch.manual_seed(0)
    module, x = Detector().eval(), normal(20, 3)
    with torch.no_grad():
        want = module(x)
    got = rec(module, x, ["output", "output.boxes", "output.last_hidden_state", "output.logits"], pool="flatten")
    np.testing.assert_allclose(got["output"], want.logits.flatten(1), atol=1e-5)
    for field in ("logits", "boxes", "last_hidden_state"):
        np.testing.assert_allclose(got[f"output.{field}"], getattr(want, field).flatten(1), atol=1e-5)
    with pytest.raises(
        ValueError, match=r"returns Detected, which has no part 'scores'; it has 'logits', 'boxes', 'last_hidden_state'"
    ):
        rec(module, x, "output.scores")


class Mixed(nn.Module):
    """A block whose tuple cannot be cut, since nothing shows the features of its second item."""

    def __init__(self, first):
        super().__init__()
        self.fc, self.first = nn.Linear(WIDTH, WIDTH), first

    def forward(self, text, image):
        used, other = (text, image) if self.first else (image, text)
        return self.fc(used), torch.from_numpy(other.numpy().copy())


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Mixed(True), Mixed(False)])

    def forward(self, text, image):
        for block in self.blocks:
            out = block(text, image)
        return out[0]


def test_a_row_of_blocks_that_changes_its_size_is_announced():
    torch.manual_seed(0)
    data = {"text": normal(20, WORDS, WIDTH), "image": normal(20, PATCHES, WIDTH)}
    with pytest.warns(
        UserWarning,
        match=r"Blocks of 'm' change their size: 'blocks.0' gives \(8, 5, 8\) and 'blocks.1', .*record the items",
    ):
        rec(Mixing(), data, ["blocks.*"])


# -- what measures of outputs may compare


class Spans(nn.Module):
    """Two fields of logits over the tokens, as a head for questions has."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 12)

    def forward(self, x):
        start, end = self.fc(x).chunk(2, 1)
        return {"start_logits": start, "end_logits": end}


class States(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 6)

    def forward(self, x):
        return {"last_hidden_state": self.fc(x), "attentions": None}


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)

    def forward(self, x):
        return self.conv(x)


def two(make, x, layers="output", **options):
    torch.manual_seed(0)
    models = [rs.load_model(make().eval(), name=name) for name in "ab"]
    return rs.record(models, x, layers, progress=False, **options)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("make", "x", "why"),
    [
        (Detector, normal(30, 3), r"it has the shape \(samples, 6, 5\), with logits for each position"),
        (
            Spans,
            normal(30, 3),
            (
                r"it is the start_logits of dict, which has no logits\. Record the field of the logits, one of"
                r" 'output.start_logits', 'output.end_logits'"
            ),
        ),
        (States, normal(30, 3), "it is the last_hidden_state of dict, which has no logits"),
        (Pixels, normal(30, 3, 4, 4), r"it has the shape \(samples, 5, 4, 4\), with logits for each position"),
    ],
)
def test_an_output_that_is_no_matrix_of_logits_is_not_compared_as_one(make, x, why, stored, tmp_path):
    options = {"into": tmp_path / "s"} if stored else {}
    for _ in range(1 + stored):
        got = two(make, x, **options)
        with pytest.raises(
            ValueError, match=rf"jsd compares logits \(samples, classes\); 'a/output.*' is something else: {why}"
        ):
            rs.compare("jsd", got, progress=False)
        with pytest.raises(ValueError, match="is something else"):
            rs.compare("jsd", got.where(model="a") | got.where(model="b"), progress=False)
        assert np.isfinite(rs.compare("cka", got, progress=False).values.to_numpy()).all()


def test_logits_that_were_chosen_are_compared():
    x = normal(30, 3)
    fields = two(Spans, x, "output.start_logits")
    table = rs.compare("jsd", fields, progress=False).values.to_numpy()
    assert 0 < table[0, 1] < np.log(2)
    places = two(Pixels, normal(30, 3, 4, 4), pool="tokens")
    assert rs.compare("jsd", places, progress=False).values.shape == (2, 2)
    own = two(Detector, x, pool=lambda out: out[:, 0])
    assert rs.compare("jsd", own, progress=False).values.to_numpy()[0, 1] > 0
    with pytest.raises(ValueError, match="is a hidden layer"):
        rs.compare("jsd", two(Spans, x, "fc"), progress=False)


class Hooked(nn.Module):
    """Puts hooks on its blocks at its first call, notes that it did, and counts its calls, as transformers does to give
    hidden states.
    """

    def __init__(self):
        super().__init__()
        self.blocks, self.hooked, self.calls, self.states = (
            nn.ModuleList([nn.Linear(3, 3) for _ in range(3)]),
            False,
            0,
            [],
        )

    def forward(self, x):
        if not self.hooked:
            for block in self.blocks:
                block.register_forward_hook(lambda _m, _i, out: self.states.append(out))
            self.hooked = True
        self.states.clear()
        self.calls += 1
        for block in self.blocks:
            x = torch.tanh(block(x))
        assert len(self.states) == len(self.blocks)
        return self.states[1]


def test_hooks_that_a_model_puts_on_itself_are_not_put_on_twice():
    torch.manual_seed(0)
    module, x = Hooked().eval(), normal(40, 3)
    got = rec(module, x, batch_size=8)
    assert not module.hooked and module.calls == 0 and not module.blocks[0]._forward_hooks
    with torch.no_grad():
        np.testing.assert_allclose(got["output"], module(x), atol=1e-5)
