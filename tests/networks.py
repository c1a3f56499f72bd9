"""Models for the tests of recording: their inputs, the layout of each layer's output, and models that mix samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

N, T, WIDTH = 23, 6, 5  # samples, padded length, features of an input
LETTERS = 20


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def lengths_of(n: int, longest: int = T, seed: int = 0) -> Tensor:
    """Random lengths from 1 to `longest`; at least one sample has the longest."""
    lengths = torch.randint(1, longest + 1, (n,), generator=seeded(seed))
    lengths[n // 2] = longest
    return lengths


def real_of(lengths: Tensor, longest: int = T) -> Tensor:
    """(n, longest) booleans: true for tokens, false for the padding on the right."""
    return torch.arange(longest) < lengths[:, None]


@dataclass(frozen=True)
class Form:
    """The layout of a layer's output.

    kind: "row" (n, p), "tokens" (n, t, p), "channels" (n, p, t), "picture" (n, p, h, w), or "heads" (n, heads, t, p).
    real: function from the columns to (n, t) booleans, true for real tokens; None if there is no padding.
    known: an argument with a usual name marks the tokens that are real. Otherwise the padding must be found.
    """

    kind: str
    real: Callable[[dict[str, Tensor]], Tensor] | None = None
    known: bool = True


ROW, TOKENS, CHANNELS, PICTURE = Form("row"), Form("tokens"), Form("channels"), Form("picture")


@dataclass(frozen=True)
class Network:
    """A model and what is right for it.

    make: creates the module.  columns: its inputs, n samples, by the names of its arguments.
    layers: the layers whose rows are samples, by the names under which they are recorded; no other layer may be
    recorded.
    prepare: preprocessing from strings to columns.  close: tolerance, relative to the largest value.  trained: it can
    be trained.
    """

    make: Callable[[], nn.Module]
    columns: Callable[[int], dict[str, Tensor]]
    layers: dict[str, Form]
    prepare: Callable[[list[str]], dict[str, Tensor]] | None = None
    close: float = 1e-5
    trained: bool = True
    precision: torch.dtype = torch.float32


def strings(n: int, seed: int = 0) -> list[str]:
    """Texts of letters, with the lengths of `lengths_of`."""
    letters = torch.randint(0, LETTERS, (n, T), generator=seeded(seed + 1))
    return [
        " ".join(chr(97 + letter) for letter in row[:length].tolist())
        for row, length in zip(letters, lengths_of(n, seed=seed), strict=True)
    ]


def ids_and_mask(texts: list[str]) -> tuple[Tensor, Tensor]:
    """Ids of the letters, from 1, padded with 0 to the longest of these texts; and which are real."""
    rows = [[ord(letter) - 96 for letter in text.split()] for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return ids, ids > 0


def vectors(ids: Tensor) -> Tensor:
    """A vector for each letter, (n, t, WIDTH), zero at padding."""
    table = normal(LETTERS + 1, WIDTH, seed=9)
    table[0] = 0
    return table[ids]


# -- plain chains


class Steps(nn.Module):
    """A chain of named modules."""

    def __init__(self, **steps: nn.Module) -> None:
        super().__init__()
        for name, step in steps.items():
            self.add_module(name, step)

    def forward(self, x):
        for step in self.children():
            x = step(x)
        return x


def mlp(precision: torch.dtype = torch.float32) -> nn.Module:
    return Steps(
        first=nn.Linear(WIDTH, 8), act=nn.ReLU(), second=nn.Linear(8, 6), gelu=nn.GELU(), head=nn.Linear(6, 3)
    ).to(precision)


MLP_LAYERS = dict.fromkeys(["first", "act", "second", "head", "output"], ROW)


def cnn() -> nn.Module:
    norm = nn.BatchNorm2d(4)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return Steps(
        conv=nn.Conv2d(2, 4, 3),
        norm=norm,
        act=nn.ReLU(),
        conv2=nn.Conv2d(4, 5, 2),
        flat=nn.Flatten(),
        head=nn.Linear(45, 3),
    )


def inplace_cnn() -> nn.Module:
    """The first layer writes into its input."""
    return Steps(
        rectify=nn.ReLU(inplace=True),
        conv=nn.Conv2d(2, 4, 3),
        act=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(4, 5, 2),
        act2=nn.Hardtanh(inplace=True),
        flat=nn.Flatten(),
        head=nn.Linear(45, 3),
    )


def series() -> nn.Module:
    return Steps(
        conv=nn.Conv1d(3, 7, 3),
        act=nn.ReLU(),
        pool=nn.MaxPool1d(2),
        conv2=nn.Conv1d(7, 4, 2),
        flat=nn.Flatten(),
        head=nn.Linear(16, 3),
    )


class Counting(nn.Module):
    """A buffer and an attribute count the forward passes; the output does not depend on them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head, self.passes, self.sizes = nn.Linear(WIDTH, 8), nn.Linear(8, 3), 0, []
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        self.passes += 1
        self.sizes.append(len(x))
        return self.head(self.first(x).relu())


class Twice(nn.Module):
    """Two modules that each run twice in a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.act, self.head = nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 3)

    def forward(self, x):
        for _ in range(2):
            x = self.act(self.step(x))
        return self.head(x)


def quantised() -> nn.Module:
    """Dynamic int8: the scale of the activations is that of the whole batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces another package
        return torch.ao.quantization.quantize_dynamic(mlp().eval(), {nn.Linear}, dtype=torch.qint8)


# -- sequences


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lift, self.lstm, self.head = nn.Linear(WIDTH, 6), nn.LSTM(6, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.lstm(self.lift(x))[0][:, -1])


class Packed(nn.Module):
    """A GRU over sequences that are packed inside; the head reads the last step of each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.gru, self.norm, self.head = (
            nn.Linear(WIDTH, 6),
            nn.GRU(6, 7, batch_first=True),
            nn.LayerNorm(7),
            nn.Linear(7, 3),
        )

    def forward(self, x, lengths):
        packed = pack_padded_sequence(self.lift(x), lengths.cpu(), batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=x.shape[1])
        return self.head(self.norm(h[torch.arange(len(x)), lengths - 1]))


class Sorting(nn.Module):
    """Sorts the samples by length for one layer, and puts them back in order."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.head = nn.Linear(WIDTH, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x, lengths):
        order = lengths.argsort(descending=True, stable=True)
        inner = self.inner(x.sum(1)[order])
        back = torch.empty_like(inner)
        back[order] = inner
        return self.head(self.norm(back))


def sequences(n: int) -> dict[str, Tensor]:
    lengths = lengths_of(n)
    return {"x": normal(n, T, WIDTH) * real_of(lengths)[..., None], "lengths": lengths}


def sequences_of_strings(texts: list[str]) -> dict[str, Tensor]:
    ids, real = ids_and_mask(texts)
    return {"x": vectors(ids), "lengths": real.sum(1)}


def real_by_length(columns: dict[str, Tensor]) -> Tensor:
    return real_of(columns["lengths"], columns["x"].shape[1])


class Experts(nn.Module):
    """A mixture of experts for tokens, without a capacity."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.router, self.experts, self.norm = (
            nn.Linear(WIDTH, 8),
            nn.Linear(8, 3),
            nn.ModuleList([nn.Linear(8, 8) for _ in range(3)]),
            nn.LayerNorm(8),
        )

    def forward(self, x):
        h = self.lift(x)
        which, out = self.router(h).argmax(-1), h.clone()
        for number, expert in enumerate(self.experts):
            if (which == number).any():
                out[which == number] = expert(h[which == number])
        return self.norm(out)


class Split(nn.Module):
    """(n, t, p) -> (n, heads, t, p / heads)"""

    def forward(self, x):
        return x.unflatten(-1, (2, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Attention of `x` to the real tokens of `seen`."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, seen, real):
        scores = self.query(x) @ self.key(seen).mT / 3
        return self.mix(scores.masked_fill(~real[:, None], -torch.inf).softmax(-1) @ self.value(seen))


class Text(nn.Module):
    """A text encoder with its own attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attend, self.norm = nn.Embedding(LETTERS + 1, 8), Attention(), nn.LayerNorm(8)
        self.split, self.conv, self.head = Split(), nn.Conv1d(8, 10, 1), nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask):
        real = attention_mask.bool()
        h = self.embed(input_ids)
        h = self.norm(h + self.attend(h, h, real))
        h = h + self.split(h).transpose(1, 2).flatten(2).tanh() + self.conv(h.mT).mean(1)[..., None]
        return self.head((h * real[..., None]).sum(1) / real.sum(1, keepdim=True))


def texts_columns(n: int) -> dict[str, Tensor]:
    return texts_of_strings(strings(n))


def texts_of_strings(texts: list[str]) -> dict[str, Tensor]:
    ids, real = ids_and_mask(texts)
    return {"input_ids": ids, "attention_mask": real.long()}


def real_by_mask(columns: dict[str, Tensor]) -> Tensor:
    return columns["attention_mask"].bool()


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2)


def padded_vectors(ids: Tensor, real: Tensor) -> dict[str, Tensor]:
    table = normal(LETTERS + 1, 8, seed=8)
    return {"src": table[ids], "src_key_padding_mask": ~real}


def real_by_padding(columns: dict[str, Tensor]) -> Tensor:
    return ~columns["src_key_padding_mask"]


class Half(nn.Module):
    """One half of an encoder-decoder; its name does not say which one."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.embed, self.own, self.other, self.norm = (
            nn.Embedding(LETTERS + 1, 8),
            Attention(),
            Attention() if both else None,
            nn.LayerNorm(8),
        )

    def forward(self, ids, real, seen=None, seen_real=None):
        h = self.embed(ids)
        h = h + self.own(h, h, real)
        if self.other is not None:
            h = h + self.other(h, seen, seen_real)
        return self.norm(h)


class TwoHalves(nn.Module):
    """An encoder-decoder with two masks; the names of its parts say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Half(both=False), Half(both=True)

    def forward(self, input_ids, attention_mask, decoder_input_ids, decoder_attention_mask):
        seen = self.a(input_ids, attention_mask.bool())
        return self.b(decoder_input_ids, decoder_attention_mask.bool(), seen, attention_mask.bool())


def two_texts(n: int) -> dict[str, Tensor]:
    """Both sides have the same padded length; most samples have different lengths on the two sides."""
    one, other = texts_of_strings(strings(n)), texts_of_strings(strings(n, seed=5)[::-1])
    return {**one, "decoder_input_ids": other["input_ids"], "decoder_attention_mask": other["attention_mask"]}


def real_by_decoder(columns: dict[str, Tensor]) -> Tensor:
    return columns["decoder_attention_mask"].bool()


class Towers(nn.Module):
    """Pictures and texts, with as many patches as tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.p_norm, self.p_head = nn.Conv2d(2, 8, 2, 2), nn.LayerNorm(8), nn.Linear(8, 3)
        self.t, self.t_norm, self.t_head = nn.Embedding(LETTERS + 1, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, pixel_values, input_ids, attention_mask):
        patches = self.p_norm(self.p(pixel_values).flatten(2).mT)
        words = self.t_norm(self.t(input_ids)) * attention_mask[..., None]
        return torch.cat(
            [self.p_head(patches.mean(1)), self.t_head(words.sum(1) / attention_mask.sum(1, keepdim=True))], 1
        )


def pictures_and_texts(n: int) -> dict[str, Tensor]:
    return {"pixel_values": normal(n, 2, 4, 6), **texts_columns(n)}


class Graph(nn.Module):
    """A graph network on dense adjacency matrices with padded nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.mix, self.head = nn.Linear(WIDTH, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x, adjacency, node_mask):
        h = self.lift(x).relu()
        h = self.mix(adjacency @ h / adjacency.sum(-1, keepdim=True).clamp(1)).relu()
        return self.head((h * node_mask[..., None]).sum(1) / node_mask.sum(1, keepdim=True))


def graphs(n: int) -> dict[str, Tensor]:
    real = real_of(lengths_of(n))
    edges = (torch.rand(n, T, T, generator=seeded(3)) < 0.5) & real[:, None] & real[..., None]
    return {"x": normal(n, T, WIDTH) * real[..., None], "adjacency": (edges | edges.mT).float(), "node_mask": real}


def real_nodes(columns: dict[str, Tensor]) -> Tensor:
    return columns["node_mask"]


class Tied(nn.Module):
    """A language model whose head shares the weights of the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.block, self.head = (
            nn.Embedding(12, 8),
            nn.Sequential(nn.Linear(8, 8), nn.Tanh()),
            nn.Linear(8, 12, bias=False),
        )
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.block(self.embed(x)))


def _vectors(n: int) -> dict[str, Tensor]:
    return {"x": normal(n, WIDTH)}


def _pictures(n: int) -> dict[str, Tensor]:
    return {"x": normal(n, 2, 6, 6)}


MASKED, PADDED, MEASURED = (
    Form("tokens", real_by_mask),
    Form("tokens", real_by_padding),
    Form("tokens", real_by_length, known=False),
)
DECODED, NODES = Form("tokens", real_by_decoder), Form("tokens", real_nodes, known=False)


def forms(**layers: str) -> dict[str, Form]:
    """Layers by their form, names separated by spaces."""
    named = {
        "row": ROW,
        "tokens": TOKENS,
        "channels": CHANNELS,
        "picture": PICTURE,
        "masked": MASKED,
        "padded": PADDED,
        "measured": MEASURED,
        "decoded": DECODED,
        "nodes": NODES,
        "heads": Form("heads", real_by_mask),
        "masked_channels": Form("channels", real_by_mask),
    }
    return {layer: named[form] for form, names in layers.items() for layer in names.split()}


NETWORKS: dict[str, Network] = {
    "mlp": Network(mlp, _vectors, MLP_LAYERS),
    "cnn with batch norm": Network(cnn, _pictures, forms(picture="conv norm act conv2", row="head output")),
    "in-place cnn": Network(inplace_cnn, _pictures, forms(picture="rectify conv act conv2 act2", row="head output")),
    "lstm": Network(Recurrent, lambda n: {"x": normal(n, T, WIDTH)}, forms(tokens="lift lstm", row="head output")),
    "packed gru": Network(Packed, sequences, forms(measured="lift", row="norm head output"), sequences_of_strings),
    "series": Network(
        series, lambda n: {"x": normal(n, 3, 12)}, forms(channels="conv act pool conv2", row="head output")
    ),
    "text": Network(
        Text,
        texts_columns,
        forms(masked="embed attend.value attend norm", heads="split", masked_channels="conv", row="head output"),
        texts_of_strings,
    ),
    "torch encoder": Network(
        encoder,
        lambda n: padded_vectors(*ids_and_mask(strings(n))),
        forms(padded="layers.0 layers.0.linear1 layers.1 output"),
        lambda texts: padded_vectors(*ids_and_mask(texts)),
    ),
    "encoder and decoder": Network(
        TwoHalves,
        two_texts,
        forms(masked="a.embed a b.other.key", decoded="b.embed b.own b.other.query b.other b output"),
    ),
    "two towers": Network(
        Towers, pictures_and_texts, forms(picture="p", tokens="p_norm", masked="t t_norm", row="p_head t_head output")
    ),
    "sorting": Network(Sorting, sequences, forms(row="norm head output"), sequences_of_strings),
    "experts": Network(Experts, lambda n: {"x": normal(n, T, WIDTH)}, forms(tokens="lift router norm output")),
    "graph": Network(Graph, graphs, forms(nodes="lift mix", row="head output")),
    "twice": Network(Twice, _vectors, forms(row="step#1 act#1 step#2 act#2 head output")),
    "tied": Network(
        Tied,
        lambda n: {"x": torch.randint(0, 12, (n, T), generator=seeded())},
        forms(tokens="embed block block.1 head output"),
    ),
    "counting": Network(Counting, _vectors, forms(row="first head output")),
    "int8": Network(quantised, _vectors, MLP_LAYERS, close=0.06, trained=False),
    "float64": Network(lambda: mlp(torch.float64), _vectors, MLP_LAYERS, close=1e-13, precision=torch.float64),
    "bfloat16": Network(lambda: mlp(torch.bfloat16), _vectors, MLP_LAYERS, close=0.02, precision=torch.bfloat16),
}


def built(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NETWORKS[name].make().eval()


# -- models with layers whose rows are not samples


@dataclass(frozen=True)
class Fault:
    """A model with a fault.

    make: creates the module.  columns: function from a seed to its inputs.
    bad: layers that must be refused, with a pattern for the message.  good: layers whose rows are samples.
    reset: the fault is a state in the module; if recording resets it, the rows are right and nothing need be refused.
    quiet: the layer is the same for all samples, so it may be left out of the default layers without a warning.
    """

    make: Callable[[], nn.Module]
    columns: Callable[[int], dict[str, Tensor]]
    bad: dict[str, str]
    good: tuple[str, ...]
    reset: bool = False
    quiet: bool = False
    batch_size: int | None = None


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def with_mixing(function: Callable[[Tensor], Tensor] | nn.Module) -> nn.Module:
    return Steps(
        embed=nn.Linear(WIDTH, 8),
        act=nn.Tanh(),
        mix=function if isinstance(function, nn.Module) else Apply(function),
        fc=nn.Linear(8, 3),
    )


def attends(to: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Attention of samples to samples. to: function from a matrix of ones to the allowed pairs."""

    def attend(h):
        seen = to(torch.ones(len(h), len(h))).bool()
        return (h @ h.T).masked_fill(~seen, -torch.inf).softmax(-1) @ h

    return attend


def placed(at: slice, of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Rows at some positions are replaced by a function of these rows."""

    def place(h):
        out = h.clone()
        out[at] = of(h[at])
        return out

    return place


class Capacity(nn.Module):
    """Experts that take a limited number of samples of each batch, first come, first served; the others skip them."""

    def __init__(self, capacity: Callable[[int], int]) -> None:
        super().__init__()
        self.capacity, self.router, self.experts = (
            capacity,
            nn.Linear(8, 2),
            nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]),
        )

    def forward(self, h):
        which, out = self.router(h).argmax(-1), h.clone()
        for number, expert in enumerate(self.experts):
            taken = (which == number).nonzero().flatten()[: self.capacity(len(h))]
            out[taken] = expert(h[taken])
        return out


class TimeFirst(nn.Module):
    """A recurrent or attention layer over the first axis, with inputs (n, t, features)."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        made = {
            "lstm": lambda: nn.LSTM(8, 8),
            "gru": lambda: nn.GRU(8, 8),
            "attention": lambda: nn.TransformerEncoderLayer(8, 2, 8),
        }
        self.embed, self.core, self.fc = nn.Linear(WIDTH, 8), made[kind](), nn.Linear(8, 3)

    def forward(self, x):
        h = self.core(self.embed(x))
        return self.fc((h[0] if isinstance(h, tuple) else h)[:, -1])


class SortedOnly(nn.Module):
    """One layer sees the samples sorted by length; with `back` the next layers see them in order again."""

    def __init__(self, back: bool) -> None:
        super().__init__()
        self.embed, self.inner, self.fc, self.back = nn.Linear(WIDTH, 8), nn.Linear(8, 6), nn.Linear(6, 3), back

    def forward(self, x, lengths):
        order = lengths.argsort(descending=True, stable=True)
        h = self.inner(self.embed(x)[order])
        return self.fc(h[order.argsort()] if self.back else h)


class Remembering(nn.Module):
    """The output for a batch depends on the batch before."""

    def __init__(self) -> None:
        super().__init__()
        self.last = None

    def forward(self, h):
        if self.last is not None:
            h = h + 0.5 * self.last.mean(0)
        self.last = h.detach()
        return h


class RunningMean(nn.Module):
    """Subtracts a running mean that is updated in evaluation mode too, before or after the subtraction."""

    def __init__(self, before: bool) -> None:
        super().__init__()
        self.before = before
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, h):
        old = self.mean.clone()
        self.mean.mul_(0.9).add_(0.1 * h.mean(0).detach())
        return h - (self.mean if self.before else old)


class ThirdCall(nn.Module):
    """Noise in every third forward call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, h):
        self.calls += 1
        return h + torch.randn_like(h) if self.calls % 3 == 0 else h


def outside(step: Callable[[Tensor, list], Tensor]) -> Callable[[Tensor], Tensor]:
    """The state is not part of the module, so it cannot be reset."""
    memory: list = []
    return lambda h: step(h, memory)


def third_call(h: Tensor, memory: list) -> Tensor:
    memory.append(0)
    return h + torch.randn_like(h) if len(memory) % 3 == 0 else h


def remembers(h: Tensor, memory: list) -> Tensor:
    out = h + 0.5 * memory[-1] if memory else h
    memory.append(h.mean(0))
    return out


class Positions(nn.Module):
    """Position embeddings, the same for all samples: (t, p), or (1, t, p)."""

    def __init__(self, t: int, leading: bool) -> None:
        super().__init__()
        self.table, self.leading = nn.Embedding(t, 8), leading

    def forward(self):
        h = self.table(torch.arange(self.table.num_embeddings))
        return h[None] if self.leading else h


class Placed(nn.Module):
    def __init__(self, t: int, leading: bool) -> None:
        super().__init__()
        self.embed, self.positions, self.fc = nn.Linear(WIDTH, 8), Positions(t, leading), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.embed(x) + self.positions())


class Contrast(nn.Module):
    """Scores of every sample against every other sample of the batch, (n, n)."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8)

    def forward(self, x):
        return self.one(x) @ self.other(x).T


class States(nn.Module):
    """A recurrent model of several layers; its last states (layers, n, h) pass through a module."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.lstm, self.state, self.fc = (
            nn.LSTM(WIDTH, 6, num_layers=layers, batch_first=True),
            nn.Identity(),
            nn.Linear(6, 3),
        )

    def forward(self, x):
        return self.fc(self.state(self.lstm(x)[1][0])[-1])


class SampleExperts(nn.Module):
    """A mixture of experts for samples: each expert sees some samples only."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.router = (
            nn.Linear(WIDTH, 8, bias=False),
            nn.Linear(8, 2, bias=False),
        )  # about as many samples for each expert
        self.experts, self.fc = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]), nn.Linear(8, 3)

    def forward(self, x):
        h = self.embed(x)
        which, out = self.router(h).argmax(-1), h.clone()
        for number, expert in enumerate(self.experts):
            if (which == number).any():
                out[which == number] = expert(h[which == number])
        return self.fc(out)


def reshaped(h: Tensor) -> Tensor:
    """A reshape that was meant as a transpose."""
    return h.T.contiguous().reshape(h.shape)


def random_vectors(n: int = 60) -> Callable[[int], dict[str, Tensor]]:
    return lambda seed: {"x": normal(n, WIDTH, seed=100 + seed)}


def random_series(t: int, n: int = 60) -> Callable[[int], dict[str, Tensor]]:
    return lambda seed: {"x": normal(n, t, WIDTH, seed=100 + seed)}


def as_many_or_more(t: int) -> Callable[[int], dict[str, Tensor]]:
    """40 samples, or as many as there are tokens for odd seeds."""
    return lambda seed: {"x": normal(t if seed % 2 else 40, t, WIDTH, seed=100 + seed)}


def with_lengths(seed: int) -> dict[str, Tensor]:
    """The first two samples are the longest, so sorting leaves them in place."""
    lengths = torch.randint(1, 11, (60,), generator=seeded(100 + seed))
    lengths[:2] = torch.tensor([13, 12])
    return {"x": normal(60, WIDTH, seed=100 + seed), "lengths": lengths}


def _mixing(
    function: Callable[[], Callable[[Tensor], Tensor] | nn.Module], words: str = "mixes samples", **options
) -> Fault:
    """The layer `mix` and the layers after it are bad; `embed` and `act` before it are good."""
    return Fault(
        lambda: with_mixing(function()),
        random_vectors(),
        dict.fromkeys(["mix", "fc", "output"], words),
        ("embed", "act"),
        **options,
    )


def _time_first(kind: str) -> Fault:
    words = "mixes samples.*batch_first"
    return Fault(
        lambda: TimeFirst(kind),
        random_series(T),
        {"core": words, "fc": "mixes samples", "output": "mixes samples"},
        ("embed",),
    )


STATE = "state|random|mixes samples"
EXPERT = "sample axis|mixes samples|did not run"
FAULTS: dict[str, Fault] = {
    "lstm over samples": _time_first("lstm"),
    "gru over samples": _time_first("gru"),
    "attention over samples": _time_first("attention"),
    "causal attention over samples": _mixing(lambda: attends(torch.tril)),
    "attention to later samples": _mixing(lambda: attends(torch.triu)),
    "even positions": _mixing(lambda: placed(slice(0, None, 2), lambda h: h.roll(1, 0))),
    "even positions but the first": _mixing(lambda: placed(slice(2, None, 2), lambda h: h.roll(1, 0))),
    "odd positions": _mixing(lambda: placed(slice(1, None, 2), lambda h: h + h.sum(0))),
    "the last two": _mixing(lambda: placed(slice(-2, None), lambda h: h.flip(0))),
    "a capacity of half the batch": _mixing(lambda: Capacity(lambda n: max(2, n // 2))),
    "a capacity that large batches reach": _mixing(lambda: Capacity(lambda n: 4 + n // 8)),
    "batch norm without running statistics": _mixing(
        lambda: nn.BatchNorm1d(8, track_running_stats=False), "batch norm|running statistics|mixes samples"
    ),
    "mean of the batch": _mixing(lambda: lambda h: h - h.mean(0)),
    "scale of the batch": _mixing(lambda: lambda h: h / h.abs().max()),
    "softmax over samples": _mixing(lambda: nn.Softmax(0)),
    "reshaped for transposed": _mixing(lambda: reshaped),
    "reversed in large batches": _mixing(lambda: lambda h: h.flip(0) if len(h) > 8 else h),
    "sorted and not put back": Fault(
        lambda: SortedOnly(back=False),
        with_lengths,
        dict.fromkeys(["inner", "fc", "output"], "mixes samples|order"),
        ("embed",),
    ),
    "sorted for one layer": Fault(
        lambda: SortedOnly(back=True), with_lengths, {"inner": "mixes samples|order"}, ("embed", "fc", "output")
    ),
    "state kept": _mixing(Remembering, STATE, reset=True, batch_size=16),
    "state kept outside": _mixing(lambda: outside(remembers), STATE, batch_size=16),
    "running mean taken off later": _mixing(lambda: RunningMean(before=False), STATE, reset=True, batch_size=16),
    "running mean taken off at once": _mixing(lambda: RunningMean(before=True), STATE),
    "dropout that is always on": _mixing(lambda: lambda h: F.dropout(h, 0.1, training=True), "is random"),
    "noise": _mixing(lambda: lambda h: h + 0.01 * torch.randn_like(h), "is random"),
    "noise in every third call": _mixing(ThirdCall, STATE, reset=True),
    "noise in every third call, counted outside": _mixing(lambda: outside(third_call), STATE),
    "every sample against every other": Fault(
        Contrast, random_vectors(), {"output": "mixes samples|no sample axis"}, ("one", "other")
    ),
    "experts for samples": Fault(
        SampleExperts, random_vectors(), {"experts.0": EXPERT, "experts.1": EXPERT}, ("embed", "router", "fc", "output")
    ),
}
for _t in range(2, 9):
    for _leading in (False, True):
        FAULTS[f"{_t} positions{', one for all' if _leading else ''}"] = Fault(
            lambda t=_t, leading=_leading: Placed(t, leading),
            as_many_or_more(_t),
            {"positions": "no sample axis|same for all samples"},
            ("embed", "fc", "output"),
            quiet=True,
        )
    FAULTS[f"states of {_t} layers"] = Fault(
        lambda layers=_t: States(layers),
        as_many_or_more(_t),
        {"state": "no sample axis|mixes samples"},
        ("lstm", "fc", "output"),
    )
