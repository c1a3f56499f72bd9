"""Modules that people write themselves, in plain torch, at sizes at which two axes have one length."""

from __future__ import annotations

import torch
from torch import nn

from .kinds import Architecture, Columns, column, lengths, normal, seeded

LIBRARY = "plain torch"


class Inception(nn.Module):
    """Three convolutions side by side, 24 channels together."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv1d(width, 8, k, padding=k // 2) for k in (3, 5, 7)])

    def forward(self, x):
        return torch.relu(torch.cat([conv(x) for conv in self.convs], 1))


class DenseBlock(nn.Module):
    """Each layer sees what all before it gave, along the channels."""

    def __init__(self, width: int, growth: int = 6, conv: type[nn.Module] = nn.Conv1d) -> None:
        super().__init__()
        self.steps = nn.ModuleList([conv(width + growth * k, growth, 3, padding=1) for k in range(3)])

    def forward(self, x):
        for step in self.steps:
            x = torch.cat([x, step(x).relu()], 1)
        return x


class SqueezeExcite(nn.Module):
    """A weight for each channel, from the mean over its places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 4), nn.Linear(4, width)

    def forward(self, x):
        scale = self.up(self.down(x.flatten(2).mean(-1)).relu()).sigmoid()
        return x * scale.view(*scale.shape, *[1] * (x.ndim - 2))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm, self.conv2, self.excite = (
            nn.Conv1d(width, width, 3, padding=1),
            nn.BatchNorm1d(width),
            nn.Conv1d(width, width, 3, padding=1),
            SqueezeExcite(width),
        )

    def forward(self, x):
        return (x + self.excite(self.conv2(self.norm(self.conv1(x)).relu()))).relu()


class Maxout(nn.Module):
    """The largest of two features."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, 2 * out, 3, padding=1)

    def forward(self, x):
        return self.conv(x).unflatten(1, (-1, 2)).amax(2)


class Gated(nn.Module):
    """GLU over the channels after a convolution, GELU behind it."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv, self.glu, self.gelu = nn.Conv1d(width, 2 * out, 3, padding=1), nn.GLU(dim=1), nn.GELU()

    def forward(self, x):
        return self.gelu(self.glu(self.conv(x)))


class Conformer(nn.Module):
    """Attention, then a convolution over time: (n, time, width) in and out, channels first inside."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.norm1, self.attend, self.norm2 = (
            nn.LayerNorm(width),
            nn.MultiheadAttention(width, 2, batch_first=True),
            nn.LayerNorm(width),
        )
        self.wide, self.glu, self.depth, self.narrow = (
            nn.Conv1d(width, 2 * width, 1),
            nn.GLU(dim=1),
            nn.Conv1d(width, width, 3, padding=1, groups=width),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attend(h, h, h, need_weights=False)[0]
        return x + self.narrow(self.depth(self.glu(self.wide(self.norm2(x).mT))).relu()).mT


class Mixer(nn.Module):
    """An MLP over the tokens, an MLP over the features."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.over_tokens = nn.Sequential(nn.Linear(tokens, 12), nn.GELU(), nn.Linear(12, tokens))
        self.over_features = nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))

    def forward(self, x):
        x = x + self.over_tokens(self.norm1(x).mT).mT
        return x + self.over_features(self.norm2(x))


class Chain(nn.Module):
    """Named parts one after the other; the mean over the places, and a head."""

    def __init__(self, head: int, *, over: int = -1, **parts: nn.Module) -> None:
        super().__init__()
        self.over = over
        for name, part in parts.items():
            self.add_module(name, part)
        self.head = nn.Linear(head, 3)

    def forward(self, x):
        for name, part in self.named_children():
            if name != "head":
                x = part(x)
        return self.head(x.flatten(2).mean(-1) if self.over == -1 else x.mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lift, self.lstm, self.head = (
            nn.Linear(5, 16),
            nn.LSTM(16, 8, num_layers=2, batch_first=True, bidirectional=True),
            nn.Linear(16, 3),
        )

    def forward(self, x):
        return self.head(self.lstm(self.lift(x))[0][:, -1])


class Translator(nn.Module):
    """nn.Transformer with embeddings in front."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.core, self.head = (
            nn.Linear(5, 16),
            nn.Transformer(16, 2, 2, 2, 32, batch_first=True),
            nn.Linear(16, 3),
        )

    def forward(self, src, tgt, src_key_padding_mask=None):
        h = self.core(
            self.embed(src),
            self.embed(tgt),
            src_key_padding_mask=src_key_padding_mask,
            memory_key_padding_mask=src_key_padding_mask,
        )
        return self.head(h)


class Dropping(nn.Module):
    """Tokens below the mean of their sample are dropped; what is left is padded to the longest of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.block, self.head = nn.Linear(5, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        h = self.lift(x)
        rows = [one[one[:, 0] >= one[:, 0].mean()] for one in h]
        real = torch.arange(max(map(len, rows))) < torch.tensor([len(one) for one in rows])[:, None]
        h = self.block(nn.utils.rnn.pad_sequence(rows, batch_first=True)).tanh()
        return self.head((h * real[..., None]).sum(1))


class Labelled(nn.Module):
    """A generator that reads a class for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.first, self.second, self.last = (
            nn.Embedding(10, 8),
            nn.Linear(8, 16),
            nn.Linear(16, 16),
            nn.Linear(16, 6),
        )

    def forward(self, z, labels=None):
        z = z if labels is None else z + self.embed(labels)
        return self.last(self.second(self.first(z).relu()).relu())


def labelled(n: int) -> Columns:
    return {"z": normal(n, 8), "labels": torch.arange(n) % 10}


def pairs(n: int) -> Columns:
    return {"src": normal(n, 7, 5), "tgt": normal(n, 6, 5, seed=1)}


def padded_pairs(n: int) -> Columns:
    padding = torch.arange(7) >= lengths(n, 7)[:, None]
    return {
        "src": normal(n, 7, 5).masked_fill(padding[..., None], 0),
        "tgt": normal(n, 6, 5, seed=1),
        "src_key_padding_mask": padding,
    }


def without_its_padding(columns: Columns, i: int) -> Columns:
    last = int((~columns["src_key_padding_mask"][i]).sum())
    return {
        "src": columns["src"][i : i + 1, :last],
        "tgt": columns["tgt"][i : i + 1],
        "src_key_padding_mask": columns["src_key_padding_mask"][i : i + 1, :last],
    }


def series(
    name: str, parts, layers: dict[str, str], head: int, time: int, size: str = "", channels: int = 3, **more
) -> Architecture:
    """A model of channels-first series, (n, channels, time)."""
    return Architecture(
        name,
        LIBRARY,
        seeded(lambda: Chain(head, **parts())),
        column("x", channels, time),
        layers | {"output": "row"},
        {"*.convs.*": "channels", "*.steps.*": "channels", "head": "row"},
        size=size,
        **more,
    )


def inception():
    return {"one": Inception(3), "two": Inception(24)}


def dense():
    return {"stem": nn.Conv1d(3, 6, 3, padding=1), "one": DenseBlock(6), "two": DenseBlock(24)}


def residual():
    return {"stem": nn.Conv1d(3, 16, 3, padding=1), "one": Residual(16), "two": Residual(16)}


ARCHITECTURES = [
    series("Inception 1-D", inception, {"one": "channels", "two": "channels"}, 24, 50, quick=True),
    series(
        "Inception 1-D, time = channels",
        inception,
        {"one": "channels", "two": "channels"},
        24,
        24,
        "24 steps, 24 channels",
        quick=True,
    ),
    series("DenseNet 1-D", dense, {"stem": "channels", "one": "channels", "two": "channels"}, 42, 50, quick=True),
    series(
        "DenseNet 1-D, time = channels",
        dense,
        {"stem": "channels", "one": "channels", "two": "channels"},
        42,
        24,
        "24 steps, 24 channels after the first block",
        quick=True,
    ),
    series("SE-ResNet 1-D", residual, {"stem": "channels", "one": "channels", "two": "channels"}, 16, 50, quick=True),
    series(
        "SE-ResNet 1-D, time = channels",
        residual,
        {"stem": "channels", "one": "channels", "two": "channels"},
        16,
        16,
        "16 steps, 16 channels",
        quick=True,
    ),
    series(
        "SE-ResNet 1-D, time = bottleneck",
        residual,
        {"stem": "channels", "one": "channels", "two": "channels"},
        16,
        4,
        "4 steps; 4 features inside the gate",
    ),
    series(
        "Maxout 1-D",
        lambda: {"one": Maxout(3, 12), "two": Maxout(12, 12)},
        {"one": "channels", "two": "channels"},
        12,
        24,
        "24 steps; 24 channels before the maximum",
        quick=True,
    ),
    series(
        "GLU after Conv1d",
        lambda: {"one": Gated(3, 12), "two": Gated(12, 12)},
        {"one": "channels", "two": "channels"},
        12,
        24,
        "24 steps; 24 channels before the GLU",
        quick=True,
    ),
    Architecture(
        "Conv1d chain with GELU",
        LIBRARY,
        seeded(
            lambda: nn.Sequential(
                nn.Conv1d(3, 12, 3, padding=1),
                nn.GELU(),
                nn.Conv1d(12, 12, 3, padding=1),
                nn.GELU(),
                nn.Flatten(),
                nn.Linear(144, 3),
            )
        ),
        lambda n: {"": normal(n, 3, 12)},
        {"1": "channels", "3": "channels", "output": "row"},
        {"4": "row"},
        quick=True,
        size="12 steps, 12 channels",
    ),
    Architecture(
        "Conformer",
        LIBRARY,
        seeded(lambda: Chain(16, over=1, one=Conformer(), two=Conformer())),
        column("x", 10, 16),
        {"one": "tokens", "two": "tokens", "output": "row"},
    ),
    Architecture(
        "Conformer, time = width",
        LIBRARY,
        seeded(lambda: Chain(16, over=1, one=Conformer(), two=Conformer())),
        column("x", 16, 16),
        {"one": "tokens", "two": "tokens", "output": "row"},
        quick=True,
        size="16 steps, width 16",
    ),
    Architecture(
        "MLP-Mixer, tokens = width",
        LIBRARY,
        seeded(lambda: Chain(16, over=1, one=Mixer(16, 16), two=Mixer(16, 16))),
        column("x", 16, 16),
        {"one": "tokens", "two": "tokens", "output": "row"},
        {"*.over_tokens*": "channels", "*.over_features*": "tokens", "*.norm*": "tokens"},
        refused=("one", "two"),
        quick=True,
        size="16 tokens, width 16",
    ),
    Architecture(
        "Dense block 2-D with SE",
        LIBRARY,
        seeded(
            lambda: Chain(
                26, stem=nn.Conv2d(3, 8, 3, padding=1), dense=DenseBlock(8, conv=nn.Conv2d), excite=SqueezeExcite(26)
            )
        ),
        column("x", 3, 8, 8),
        {"stem": "channels", "dense": "channels", "excite": "channels", "output": "row"},
        {"dense.steps.*": "channels"},
        quick=True,
        size="8 x 8 places; 8 channels, 26 after the block",
    ),
    Architecture(
        "Dense block 2-D with SE, height = channels",
        LIBRARY,
        seeded(
            lambda: Chain(
                26, stem=nn.Conv2d(3, 8, 3, padding=1), dense=DenseBlock(8, conv=nn.Conv2d), excite=SqueezeExcite(26)
            )
        ),
        column("x", 3, 8, 26),
        {"stem": "channels", "dense": "channels", "excite": "channels", "output": "row"},
        {"dense.steps.*": "channels"},
        size="8 x 26 places, 26 channels",
    ),
    Architecture(
        "LSTM",
        LIBRARY,
        seeded(Recurrent),
        column("x", 8, 5),
        {"lift": "tokens", "lstm": "tokens", "output": "row"},
        {"head": "row"},
        quick=True,
    ),
    Architecture(
        "LSTM, time = width",
        LIBRARY,
        seeded(Recurrent),
        column("x", 16, 5),
        {"lift": "tokens", "lstm": "tokens", "output": "row"},
        {"head": "row"},
        quick=True,
        size="16 steps, width 16",
    ),
    Architecture(
        "nn.Transformer",
        LIBRARY,
        seeded(Translator),
        pairs,
        {"core.encoder.layers.{0..1}": "tokens", "core.decoder.layers.{0..1}": "tokens", "output": "tokens"},
        {"embed#1": "tokens", "embed#2": "tokens", "core*": "tokens", "head": "tokens"},
        padded=padded_pairs,
        cut=without_its_padding,
        quick=True,
    ),
    Architecture(
        "Token dropping",
        LIBRARY,
        seeded(Dropping),
        column("x", 9, 5),
        {"lift": "tokens", "block": "tokens", "output": "row"},
        {"head": "row"},
        refused=("block",),
        quick=True,
        size="a batch is padded to its longest sample inside",
    ),
    Architecture(
        "Generator with labels",
        LIBRARY,
        seeded(Labelled),
        labelled,
        {"first": "row", "second": "row", "output": "row"},
        {"embed": "row", "last": "row"},
        quick=True,
    ),
]
