"""Which axis of a layer's output holds features: the operations show it, never a coincidence of sizes; where nothing
shows it, the user is asked.
"""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import normal
from sizes import sized
from torch import nn
from torch.nn import functional as F

import repsim_nb as rs
from repsim_nb.inputs.models.axes import FEATURES, PLACES, find_features
from repsim_nb.inputs.models.tracing import Trace


def rec(module, data, layers=None, **options):
    return rs.record(rs.load_model(module.eval(), name="m"), data, layers, progress=False, **options)


# -- channels first, with a length that equals a width


class Inception(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(width, 8, k, padding=k // 2) for k in (3, 5, 7)])

    def forward(self, x):
        return torch.relu(torch.cat([conv(x) for conv in self.convs], 1))


class Dense(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm1d(width), nn.Conv1d(width, 24 - width, 3, padding=1)

    def forward(self, x):
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


class Maxout(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv1d(width, 48, 3, padding=1)

    def forward(self, x):
        x = self.conv(x)
        return x.view(x.shape[0], 24, 2, x.shape[2]).max(2).values


class Squeeze(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.down, self.up = nn.Conv1d(width, 24, 3, padding=1), nn.Linear(24, 4), nn.Linear(4, 24)

    def forward(self, x):
        x = self.conv(x)
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean(-1))))).unsqueeze(-1)


class Conformer(nn.Module):
    """The convolution module of a conformer, in and out as (n, time, features)."""

    def __init__(self, width):
        super().__init__()
        self.first, self.norm = nn.Linear(width, 24), nn.LayerNorm(24)
        self.point, self.depth, self.last = (
            nn.Conv1d(24, 48, 1),
            nn.Conv1d(24, 24, 3, padding=1, groups=24),
            nn.Conv1d(24, 24, 1),
        )

    def forward(self, x):
        x = self.first(x.transpose(1, 2))
        x = F.glu(self.point(self.norm(x).transpose(1, 2)), dim=1)
        return self.last(F.silu(self.depth(x))).transpose(1, 2)


class Recurrent(nn.Module):
    """As an audio codec has it: channels first outside, time first inside."""

    def __init__(self, width):
        super().__init__()
        self.conv, self.lstm = nn.Conv1d(width, 24, 3, padding=1), nn.LSTM(24, 24)

    def forward(self, x):
        x = self.conv(x).permute(2, 0, 1)
        return (self.lstm(x)[0] + x).permute(1, 2, 0)


FIRST = {
    "inception": Inception,
    "dense": Dense,
    "maxout": Maxout,
    "squeeze and excite": Squeeze,
    "recurrent": Recurrent,
    "glu": lambda width: nn.Sequential(nn.Conv1d(width, 48, 3, padding=1), nn.GLU(1)),
    "gelu": lambda width: nn.Sequential(nn.Conv1d(width, 24, 3, padding=1), nn.GELU()),
    "normed": lambda width: nn.Sequential(nn.Conv1d(width, 24, 3, padding=1), nn.GroupNorm(2, 24), nn.Identity()),
    "down and up": lambda width: nn.Sequential(nn.Conv1d(width, 8, 2, 2), nn.ConvTranspose1d(8, 24, 2, 2)),
}


@pytest.mark.parametrize("length", [24, 8, 3, 50])
@pytest.mark.parametrize("name", FIRST)
def test_series_with_channels_first_are_averaged_over_time(name, length):
    torch.manual_seed(0)
    module = nn.Sequential(FIRST[name](3), nn.Conv1d(24, 5, 1)).eval()
    x = normal(40, 3, length)
    with torch.no_grad():
        want = module[0](x).mean(-1)
        out = module(x).mean(-1)
    got = rec(module, x, pool="mean")
    blocks = [key.layer for key in got if key.layer.startswith("0")]
    assert blocks and got["output"].shape == (40, 5)
    np.testing.assert_allclose(rec(module, x, "0", pool="mean")["0"], want, atol=1e-5)
    np.testing.assert_allclose(got["output"], out, atol=1e-5)
    tokens = rec(module, x, "0", pool="tokens")["0"]
    np.testing.assert_allclose(np.asarray(tokens).reshape(40, -1, 24).mean(1), want, atol=1e-5)


@pytest.mark.parametrize("length", [24, 16, 7])
def test_a_conformer_gives_time_first(length):
    torch.manual_seed(0)
    module, x = nn.Sequential(Conformer(3), nn.Linear(24, 2)).eval(), normal(30, 3, length)
    with torch.no_grad():
        want = module[0](x)
    np.testing.assert_allclose(rec(module, x, "0", pool="mean")["0"], want.mean(1), atol=1e-5)
    np.testing.assert_allclose(rec(module, x, "0", pool="last")["0"], want[:, -1], atol=1e-5)
    np.testing.assert_allclose(
        rec(module, x, "0.depth", pool="mean")["0.depth"],
        module[0]
        .depth(F.glu(module[0].point(module[0].norm(module[0].first(x.transpose(1, 2))).transpose(1, 2)), dim=1))
        .mean(-1)
        .detach(),
        atol=1e-5,
    )


class DensePicture(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(8, 4), nn.Linear(4, 8)

    def forward(self, x):
        x = torch.cat([x, self.conv(x)], 1)  # (n, 8, 8, 8)
        return x * self.up(F.relu(self.down(x.mean((2, 3)))))[:, :, None, None]


class Window(nn.Module):
    """Pictures with channels last, as Swin has them."""

    def __init__(self):
        super().__init__()
        self.patch, self.norm, self.mlp = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x):
        x = self.patch(x).permute(0, 2, 3, 1)
        return x + self.mlp(self.norm(torch.roll(x, (-1, -1), (1, 2))))


class Mixer(nn.Module):
    def __init__(self, tokens):
        super().__init__()
        self.norm, self.time, self.channels = nn.LayerNorm(8), nn.Linear(tokens, tokens), nn.Linear(8, 8)

    def forward(self, x):
        x = x + self.time(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(x)


class Heads(nn.Module):
    """Attention written by hand."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, 2, 4).permute(2, 0, 3, 1, 4)
        x = torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v
        return self.out(x.transpose(1, 2).reshape(n, t, 8))


PICTURES = {
    "dense with squeeze and excite": (DensePicture, normal(30, 3, 8, 8), (2, 3)),
    "channels last": (Window, normal(30, 3, 16, 16), (1, 2)),
    "mixer": (lambda: nn.Sequential(nn.Linear(5, 8), Mixer(8)), normal(30, 8, 5), (1,)),
    "mixer of patches": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), Turn(), Mixer(16)),
        normal(30, 3, 16, 16),
        (1,),
    ),
    "attention by hand": (lambda: nn.Sequential(nn.Linear(5, 8), Heads()), normal(30, 8, 5), (1,)),
}


class Turn(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


@pytest.mark.parametrize("name", PICTURES)
def test_places_are_averaged(name):
    make, x, places = PICTURES[name]
    torch.manual_seed(0)
    module = make().eval()
    with torch.no_grad():
        want = module(x).mean(places)
    np.testing.assert_allclose(rec(module, x, "output", pool="mean")["output"], want, atol=1e-5)


# -- where nothing shows it


class Softened(nn.Module):
    """(n, 6, 6) by operations of which none shows where features lie."""

    def forward(self, x):
        return torch.softmax(x * 2, -1)


def test_an_axis_that_nothing_shows_is_asked_for():
    module, x = nn.Sequential(Softened(), nn.Flatten(), nn.Linear(36, 3)).eval(), normal(30, 6, 6)
    with pytest.raises(
        ValueError,
        match=(
            r"layer '0' of 'm' gave \(8, 6, 6\), and it is not certain which axis contains its features"
            ".*axis=1 .*axis=-1"
        ),
    ):
        rec(module, x, "0", pool="mean")
    with pytest.warns(UserWarning, match="1 layer of 'm' is left out: '0' gave .* not certain") as caught:
        got = rs.record(rs.load_model(module, name="m", layers=["0", "2"]), x, pool="mean", progress=False)
    assert [key.layer for key in got] == ["output"] and len(caught) == 1
    want = module[0](x)
    for axis, mean in ((1, want.mean(2)), (-1, want.mean(1)), ({"0": 2}, want.mean(1)), ({"?": 1}, want.mean(2))):
        np.testing.assert_allclose(rec(module, x, "0", pool="mean", axis=axis)["0"], mean, atol=1e-6)
    np.testing.assert_allclose(
        rec(module, x, "0")["0"], want.flatten(1), atol=1e-6
    )  # to keep everything no axis is needed
    np.testing.assert_allclose(rec(module, x, "0", pool=lambda out: out.amax(1))["0"], want.amax(1), atol=1e-6)


def test_what_is_no_axis_is_refused():
    module, x = nn.Sequential(nn.Conv1d(3, 6, 1), nn.Flatten()).eval(), normal(20, 3, 6)
    for axis, why in (
        (0, "axis 0 contains the samples"),
        ("channels", "integer"),
        (True, "integer"),
        ({"0": 1.0}, "integer"),
        ({"nothing": 1}, "unknown layer 'nothing'"),
    ):
        with pytest.raises(ValueError, match=why):
            rec(module, x, "0", pool="mean", axis=axis)
    for axis in (3, -4):
        with pytest.raises(ValueError, match=f"has no axis {axis}"):
            rec(module, x, "0", pool="mean", axis=axis)
    with pytest.raises(ValueError, match="axis 0 contains the samples"):
        rec(module, x, "0", pool="mean", axis=-3)


def test_the_axis_is_part_of_a_recording_s_address(tmp_path):
    module, x = nn.Sequential(Softened(), nn.Flatten()).eval(), normal(20, 6, 6)
    first = rec(module, x, "0", pool="mean", axis=1, into=tmp_path / "s")["0"]
    np.testing.assert_array_equal(rec(module, x, "0", pool="mean", axis=1, into=tmp_path / "s")["0"], first)
    with pytest.raises(ValueError, match="recorded with other axis. Give the model another name, or the axis"):
        rec(module, x, "0", pool="mean", axis=-1, into=tmp_path / "s")


def test_the_axis_of_one_layer_leaves_the_recordings_of_others_alone(tmp_path):
    module, x = (
        nn.Sequential(Softened(), nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 2)).eval(),
        normal(20, 6, 6),
    )
    with pytest.warns(UserWarning, match="'0' gave"):
        rec(module, x, "*", pool="mean", into=tmp_path / "s")
    got = rec(module, x, "*", pool="mean", axis={"0": -1}, into=tmp_path / "s")
    np.testing.assert_allclose(got["0"], module[0](x).mean(1), atol=1e-6)


def test_stream_takes_an_axis():
    module, x = nn.Sequential(Softened(), nn.Flatten(), nn.Linear(36, 3)).eval(), normal(300, 6, 6)
    model = rs.load_model(module, name="m")
    by_time = rs.record(model, x, ["0", "output"], pool="mean", axis=1, progress=False)
    want = rs.compare(rs.measures.CKA(batch_size=100), by_time, progress=False).values
    got = rs.stream(model, model, x, ["0", "output"], pool="mean", axis=1, batch_size=100, progress=False).values
    np.testing.assert_allclose(got, want, atol=1e-5)


class NormedTime(nn.Module):
    """A batch normalisation over time, (n, time, p): normalisations alone do not show where features lie."""

    def __init__(self):
        super().__init__()
        self.norm, self.fc = nn.BatchNorm1d(6), nn.Linear(6, 6)

    def forward(self, x):
        return self.fc(self.norm(x))


def test_a_normalisation_that_speaks_against_the_weights_is_asked_about():
    torch.manual_seed(0)
    module, x = NormedTime().eval(), normal(30, 6, 6)
    with pytest.raises(ValueError, match="not certain which axis contains its features"):
        rec(module, x, "output", pool="mean")
    np.testing.assert_allclose(
        rec(module, x, "output", pool="mean", axis=-1)["output"], module(x).mean(1).detach(), atol=1e-5
    )


class TextConvolution(nn.Module):
    """A convolution over (words, features), as in Kim's model for sentences."""

    def __init__(self):
        super().__init__()
        self.embed, self.conv, self.fc = nn.Embedding(50, 16), nn.Conv2d(1, 10, (3, 16)), nn.Linear(10, 2)

    def forward(self, x):
        return self.fc(self.conv(self.embed(x)[:, None]).squeeze(3).amax(2))


class Filterbank(nn.Module):
    """A convolution over (time, learned features)."""

    def __init__(self):
        super().__init__()
        self.bank, self.conv, self.fc = nn.Linear(33, 20), nn.Conv2d(1, 8, 3, padding=1), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.conv(self.bank(x)[:, None]).mean((2, 3)))


class TimeFirstMixer(nn.Module):
    """A mixer on the input itself, (n, time, variables), that begins with time."""

    def __init__(self):
        super().__init__()
        self.time, self.up, self.down = nn.Linear(24, 24), nn.Linear(7, 32), nn.Linear(32, 7)

    def forward(self, x):
        x = x + torch.relu(self.time(x.transpose(1, 2))).transpose(1, 2)
        return x + self.down(torch.relu(self.up(x)))


def test_a_convolution_over_features_has_channels_of_its_own():
    torch.manual_seed(0)
    module, ids = TextConvolution().eval(), torch.randint(0, 50, (20, 12))
    want = module.conv(module.embed(ids)[:, None]).mean(2)[..., 0].detach()
    np.testing.assert_allclose(rec(module, ids, "conv", pool="mean")["conv"], want, atol=1e-5)
    module, x = Filterbank().eval(), normal(20, 30, 33)
    with pytest.raises(ValueError, match="not certain which axis contains its features"):
        rec(module, x, "conv", pool="mean")
    np.testing.assert_allclose(
        rec(module, x, "conv", pool="mean", axis=1)["conv"],
        module.conv(module.bank(x)[:, None]).mean((2, 3)).detach(),
        atol=1e-5,
    )


def test_a_mixer_on_the_input_itself_is_asked_about():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="not certain which axis contains its features"):
        rec(nn.Sequential(TimeFirstMixer(), TimeFirstMixer()), normal(20, 24, 7), "1", pool="mean")


@pytest.mark.parametrize("named", [True, False])
def test_windows_are_features_of_the_next_layer(named):
    class Windows(nn.Module):
        def forward(self, x):
            return x.unfold(dimension=1, size=8, step=4) if named else x.unfold(1, 8, 4)

    torch.manual_seed(0)
    module, x = nn.Sequential(Windows(), nn.Linear(8, 16)).eval(), normal(20, 48)
    np.testing.assert_allclose(rec(module, x, "output", pool="mean")["output"], module(x).mean(1).detach(), atol=1e-5)


# -- samples along the second axis


class TimeFirst(nn.Module):
    """Blocks that give (tokens, n, p), as XLNet's do."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0) for _ in range(3)])
        self.head = nn.Linear(6, 4)

    def forward(self, input_ids, attention_mask=None):
        x = self.embed(input_ids).transpose(0, 1)
        for block in self.blocks:
            x = block(x, src_key_padding_mask=None if attention_mask is None else attention_mask == 0)
        return self.head(x.transpose(0, 1))


@pytest.mark.parametrize("tokens", [7, 8, 6])  # 8 is the probe's batch, 6 the width
@pytest.mark.parametrize("masked", [False, True])
def test_blocks_with_samples_along_the_second_axis_are_recorded(tokens, masked):
    torch.manual_seed(0)
    module = TimeFirst().eval()
    mask = (torch.arange(tokens) < torch.randint(2, tokens + 1, (30, 1))).long()
    mask[0] = 1
    data = {"input_ids": torch.randint(1, 20, (30, tokens)), **({"attention_mask": mask} if masked else {})}
    seen = []
    handle = module.blocks[1].register_forward_hook(lambda _m, _i, out: seen.append(out.transpose(0, 1)))
    with torch.no_grad():
        module(**data)
    handle.remove()
    weights = (mask if masked else torch.ones_like(mask))[..., None].float()
    want = (seen[0] * weights).sum(1) / weights.sum(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = rec(module, data, pool="mean")
    assert [key.layer for key in got if "blocks" in key.layer] == ["blocks.0", "blocks.1", "blocks.2"]
    np.testing.assert_allclose(got["blocks.1"], want, atol=1e-5)
    if not masked:
        np.testing.assert_allclose(rec(module, data, "blocks.1")["blocks.1"], seen[0].flatten(1), atol=1e-5)


# -- masks and places that are not the input's tokens


class Latents(nn.Module):
    """A Perceiver: `tokens` latents read the text."""

    def __init__(self, latents):
        super().__init__()
        self.embed, self.latents = nn.Embedding(20, 8), nn.Parameter(torch.randn(latents, 8))
        self.cross, self.after = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 8)

    def forward(self, input_ids, attention_mask):
        x = self.embed(input_ids)
        latents = self.latents.expand(len(x), -1, -1)
        read, _ = self.cross(latents, x, x, key_padding_mask=attention_mask == 0)
        return self.after(latents + read)


@pytest.mark.parametrize("latents", [7, 5, 8])
def test_latents_are_no_tokens_even_if_there_are_as_many(latents):
    torch.manual_seed(0)
    module = Latents(latents).eval()
    mask = (torch.arange(7) < torch.randint(2, 8, (30, 1))).long()
    data = {"input_ids": torch.randint(1, 20, (30, 7)), "attention_mask": mask}
    with torch.no_grad():
        want = module(**data)
    for pool, rows in (("mean", want.mean(1)), ("last", want[:, -1]), ("flatten", want.flatten(1))):
        np.testing.assert_allclose(rec(module, data, "output", pool=pool)["output"], rows, atol=1e-5)


class Shared(nn.Module):
    """Text and picture that share one table of positions."""

    def __init__(self):
        super().__init__()
        self.embed, self.patch, self.positions = (
            nn.Embedding(20, 6),
            nn.Conv2d(3, 6, 4, 4),
            nn.Parameter(torch.randn(1, 7, 6)),
        )
        self.text, self.picture, self.fc = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(12, 2)

    def forward(self, input_ids, attention_mask, pixel_values):
        text, weights = self.text(self.embed(input_ids) + self.positions), attention_mask[..., None]
        picture = self.picture(self.patch(pixel_values).flatten(2).transpose(1, 2) + self.positions)
        return self.fc(torch.cat([(text * weights).sum(1) / weights.sum(1), picture.mean(1)], 1))


def test_a_table_of_positions_that_two_inputs_share_does_not_share_the_mask():
    torch.manual_seed(0)
    module = Shared().eval()
    mask = (torch.arange(7) < torch.randint(2, 8, (30, 1))).long()
    data = {
        "input_ids": torch.randint(1, 20, (30, 7)) * mask,
        "attention_mask": mask,
        "pixel_values": normal(30, 3, 4, 28),
    }
    picture = (
        module.picture(module.patch(data["pixel_values"]).flatten(2).transpose(1, 2) + module.positions)
        .mean(1)
        .detach()
    )
    text = module.text(module.embed(data["input_ids"]) + module.positions) * mask[..., None]
    got = rec(module, data, ["picture", "text"], pool="mean")
    np.testing.assert_allclose(got["picture"], picture, atol=1e-5)
    np.testing.assert_allclose(got["text"], (text.sum(1) / mask.sum(1, keepdim=True)).detach(), atol=1e-5)


class Rolled(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.fc = nn.Embedding(20, 6), nn.Linear(6, 6)

    def forward(self, input_ids, attention_mask):
        return self.fc(self.embed(input_ids).roll(-1, 1)) + 0 * attention_mask.sum()


def test_tokens_that_were_moved_do_not_keep_the_mask():
    torch.manual_seed(0)
    mask = (torch.arange(7) < torch.randint(2, 7, (30, 1))).long()
    data = {"input_ids": torch.randint(1, 20, (30, 7)) * mask, "attention_mask": mask}
    with pytest.raises(ValueError, match="layer 'output' of 'm' "):
        rec(Rolled(), data, "output", pool="last")


class Adding(nn.Module):
    """A text model that adds places: padding to a multiple of 8, or three tokens of its own in front."""

    def __init__(self, how):
        super().__init__()
        self.how, self.embed, self.prompt = how, nn.Embedding(20, 8, padding_idx=0), nn.Parameter(torch.randn(3, 8))
        self.block, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, input_ids, attention_mask=None):
        tokens = input_ids.shape[1]
        if self.how == "padding":
            input_ids = F.pad(input_ids, (0, -tokens % 8))
        x = self.embed(input_ids)
        if self.how == "joining":
            x = torch.cat([self.prompt.expand(len(x), -1, -1), x], 1)
        x = torch.tanh(self.block(x))
        x = x[:, :tokens] if self.how == "padding" else x[:, 3:]
        return self.head(x)


@pytest.mark.parametrize("pool", ["mean", "first", "last", "tokens"])
@pytest.mark.parametrize(
    ("how", "places", "added"), [("padding", 16, "6 at the end"), ("joining", 13, "3 at the beginning")]
)
@pytest.mark.parametrize("masked", [True, False])
def test_places_that_the_model_adds_are_said(how, places, added, pool, masked):
    torch.manual_seed(0)
    module, ids = Adding(how).eval(), torch.randint(1, 20, (30, 10))
    data = {"input_ids": ids, **({"attention_mask": torch.ones_like(ids)} if masked else {})}
    with pytest.raises(
        ValueError,
        match=(
            rf"layer 'block' of 'm' has {places} places where its input has 10 tokens: the model adds others by {how}"
            rf" \({added}"
        ),
    ):
        rec(module, data, "block", pool=pool)
    own = rec(module, data, "block", pool=lambda out: out[:, :10].mean(1) if how == "padding" else out[:, 3:].mean(1))[
        "block"
    ]
    with torch.no_grad():
        np.testing.assert_allclose(own, module.block(module.embed(ids)).mean(1), atol=1e-5)
        want = module(**data)
    np.testing.assert_allclose(
        rec(module, data, "output", pool="last")["output"], want[:, -1], atol=1e-5
    )  # what was added is gone there


class Dropping(nn.Module):
    """Keeps the tokens whose score is above 0, moved to the front and padded to the most of the batch."""

    def __init__(self):
        super().__init__()
        self.embed, self.score, self.block = nn.Embedding(40, 8), nn.Linear(8, 1), nn.Linear(8, 8)

    def forward(self, input_ids, attention_mask):
        x = self.embed(input_ids)
        keep = (self.score(x)[..., 0] > -0.8) & attention_mask.bool()
        return self.block(
            nn.utils.rnn.pad_sequence([row[kept] for row, kept in zip(x, keep, strict=True)], batch_first=True)
        )


@pytest.mark.parametrize("seed", range(20))
def test_dropped_tokens_are_never_taken_for_those_of_the_mask(seed):
    torch.manual_seed(seed)
    module = Dropping().eval()
    mask = (torch.arange(7) < torch.randint(3, 8, (30, 1))).long()
    mask[0] = 1
    data = {"input_ids": torch.randint(1, 40, (30, 7)), "attention_mask": mask}
    with pytest.raises(ValueError, match="layer 'output' of 'm' "):
        rec(module, data, "output", pool="mean")


# -- pool functions of one's own


def test_a_pool_function_gets_the_mask_if_it_takes_two_arguments():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(20, 6))
    mask = (torch.arange(7) < torch.randint(2, 8, (30, 1))).long()
    data = {"input": torch.randint(1, 20, (30, 7)), "attention_mask": mask}

    class Takes(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = module[0]

        def forward(self, input, attention_mask):
            return self.embed(input)

    def masked_max(out, mask):
        return out.masked_fill(~mask[..., None], -torch.inf).amax(1)

    want = module[0](data["input"]).masked_fill(mask[..., None] == 0, -torch.inf).amax(1).detach()
    np.testing.assert_allclose(rec(Takes(), data, "embed", pool=masked_max)["embed"], want, atol=1e-6)
    np.testing.assert_allclose(
        rec(
            nn.Sequential(nn.Linear(4, 3)),
            normal(20, 5, 4),
            "0",
            pool=lambda out, mask: out.sum(1) if mask is None else None,
        )["0"].shape,
        (20, 3),
    )
    both = {"input": data["input"], "attention_mask": mask, "other_mask": torch.ones_like(mask)}

    class TakesBoth(Takes):
        def forward(self, input, attention_mask, other_mask):
            return self.embed(input)

    rows = rec(TakesBoth(), both, "embed", pool=lambda out, mask: masked_max(out, mask["attention_mask"]))["embed"]
    np.testing.assert_allclose(rows, want, atol=1e-6)


def test_a_pool_function_may_take_samples_along_any_axis():
    torch.manual_seed(0)
    module, ids = TimeFirst().eval(), torch.randint(1, 20, (30, 7))
    got = rec(module, {"input_ids": ids}, "blocks.2", pool=lambda out: out.transpose(0, 1)[:, 0])["blocks.2"]
    np.testing.assert_allclose(got, rec(module, {"input_ids": ids}, "blocks.2", pool="first")["blocks.2"], atol=1e-5)


# -- constants


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.positions, self.block = nn.Embedding(20, 6), nn.Embedding(10, 6), nn.Linear(6, 6)

    def forward(self, input_ids):
        where = torch.arange(input_ids.shape[1]).expand(input_ids.shape)
        return self.block(self.embed(input_ids) + self.positions(where))


def test_layers_that_are_the_same_for_all_samples_are_no_default():
    torch.manual_seed(0)
    module, ids = Positions().eval(), torch.randint(0, 20, (30, 5))
    with pytest.warns(UserWarning, match="1 layer of 'm' is left out: 'positions' is constant") as caught:
        got = rec(module, {"input_ids": ids}, pool="mean")
    assert {key.layer for key in got} == {"embed", "output"} and len(caught) == 1
    assert np.isfinite(rs.compare("cka", got, progress=False).values.to_numpy()).all()
    named = np.asarray(rec(module, {"input_ids": ids}, "positions", pool="mean")["positions"])
    assert (named == named[0]).all()  # who asks for it gets it


def test_if_all_samples_are_the_same_nothing_is_left_out():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(rec(module, torch.ones(20, 4))) == 2


# -- the trace itself

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["swap", "permute", "move", "new", "drop", "slice", "add", "pad", "cat", "flip", "roll", "sum"]
        ),
        st.integers(0, 10),
        st.integers(0, 10),
    ),
    max_size=7,
)


def walk(x, steps):
    for step, a, b in steps:
        n = x.ndim
        a, b = a % n, b % n
        if step == "swap":
            x = x.transpose(a, b)
        elif step == "permute":
            x = x.permute([(at + a) % n for at in range(n)])
        elif step == "move":
            x = x.movedim(a, b)
        elif step == "new":
            x = x.unsqueeze(a)
        elif step == "drop" and x.shape[a] == 1 and n > 3:
            x = x[(slice(None),) * a + (0,)]
        elif step == "slice" and x.shape[a] > 3:
            x = x[(slice(None),) * a + (slice(1, None),)]
        elif step == "add":
            x = x + torch.ones(x.shape[b:])
        elif step == "pad":
            x = F.pad(x, (1, 0))
        elif step == "cat":
            x = torch.cat([x, x], a)
        elif step == "flip":
            x = x.flip(a)
        elif step == "roll":
            x = x.roll(1, a)
        elif step == "sum" and n > 3 and x.shape[a] == 1:
            x = x.sum(a)
    return x


@settings(max_examples=sized(60, 200), deadline=None)
@given(steps=STEPS)
def test_axes_are_followed_whatever_their_sizes(steps):
    """If one size is far larger than the others, the axes can be read off the result; with equal sizes the trace must
    say the same.
    """
    different, equal = torch.zeros(1, 3000, 4), torch.zeros(1, 4, 4)
    roles = []
    for x in (different, equal):
        trace = Trace()
        with trace:
            axes = trace.axes(x)
            axes[1].show(FEATURES)
            axes[2].show(PLACES)
            out = walk(x, steps)
            roles.append([axis.role for axis in trace.axes(out)])
    big = [size > 2000 for size in walk(different, steps).shape]
    assert roles[0] == roles[1]
    assert [role == FEATURES for role in roles[0]] == big


def test_unknown_operations_show_nothing_and_change_nothing():
    x = normal(1, 6, 6)
    trace = Trace()
    with trace:
        hidden = F.linear(x, torch.eye(6))
        out = torch.from_numpy(hidden.numpy().transpose(0, 2, 1).copy())
    assert torch.equal(out, x.transpose(1, 2))
    assert find_features(trace.axes(hidden), hidden.shape) == (2,) and find_features(trace.axes(out), out.shape) is None


class Tabular(nn.Module):
    """A token for each number of a table, and one of the model's own in front, as transformers for tables have it."""

    def __init__(self):
        super().__init__()
        self.weights, self.own, self.block = (
            nn.Parameter(torch.randn(10, 8)),
            nn.Parameter(torch.randn(1, 1, 8)),
            nn.Linear(8, 8),
        )

    def forward(self, x):
        x = x[..., None] * self.weights
        return self.block(torch.cat([self.own.expand(len(x), -1, -1), x], 1))


def test_numbers_of_a_table_are_no_text():
    torch.manual_seed(0)
    module, x = Tabular().eval(), normal(30, 10)
    with torch.no_grad():
        want = module(x)
    np.testing.assert_allclose(rec(module, x, "output", pool="first")["output"], want[:, 0], atol=1e-5)
    np.testing.assert_allclose(rec(module, x, "output", pool="mean")["output"], want.mean(1), atol=1e-5)
