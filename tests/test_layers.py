"""Which layers of a model are its blocks, and how others are selected."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.inputs.models.layers import find_blocks


def step(p, q):
    return nn.Sequential(nn.Conv2d(p, q, 3, padding=1), nn.BatchNorm2d(q), nn.ReLU())


class Residual(nn.Module):
    """As in a residual network: two convolutions, and a third where the width changes."""

    def __init__(self, p, q):
        super().__init__()
        self.conv1, self.conv2, self.skip = (
            nn.Conv2d(p, q, 3, padding=1),
            nn.Conv2d(q, q, 3, padding=1),
            nn.Conv2d(p, q, 1) if p != q else nn.Identity(),
        )

    def forward(self, x):
        return (self.conv2(self.conv1(x).relu()) + self.skip(x)).relu()


class Stage(nn.Module):
    def __init__(self, p, q, depth):
        super().__init__()
        self.down, self.blocks = nn.Conv2d(p, q, 2, 2), nn.Sequential(*(Residual(q, q) for _ in range(depth)))

    def forward(self, x):
        return self.blocks(self.down(x))


class Experts(nn.Module):
    """A transformer's layer with a row of alike parts inside."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)) for _ in range(3))

    def forward(self, x):
        return sum(expert(self.attention(x, x, x)[0]) for expert in self.experts)


class Wrapper(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        for part in self.children():
            x = part(x)
        return x


def chain(*modules):
    return nn.Sequential(*modules)


@pytest.mark.parametrize(
    "module, expected",
    [
        (chain(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2)), ["2", "4"]),
        (
            chain(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3), nn.Flatten()),
            ["3", "4"],
        ),
        (
            Wrapper(features=chain(step(1, 2), nn.MaxPool2d(2), step(2, 2)), head=nn.Linear(2, 2)),
            ["features.1", "features.2", "head"],
        ),
        (
            Wrapper(
                stem=step(1, 2),
                layer1=chain(Residual(2, 2), Residual(2, 2)),
                layer2=chain(Residual(2, 4), Residual(4, 4)),
                fc=nn.Linear(4, 2),
            ),
            ["stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "fc"],
        ),
        (
            Wrapper(
                backbone=Wrapper(stages=chain(Stage(1, 2, 2), Stage(2, 4, 3))),
                head=chain(nn.Flatten(), nn.Linear(4, 2)),
            ),
            [
                "backbone.stages.0.down",
                "backbone.stages.0.blocks.0",
                "backbone.stages.0.blocks.1",
                "backbone.stages.1.down",
                "backbone.stages.1.blocks.0",
                "backbone.stages.1.blocks.1",
                "backbone.stages.1.blocks.2",
                "head",
            ],
        ),
        (
            Wrapper(embed=nn.Linear(4, 4), layers=nn.ModuleList(Experts() for _ in range(6))),
            ["embed", *(f"layers.{k}" for k in range(6))],
        ),
        (
            Wrapper(
                encoder=nn.TransformerEncoder(
                    nn.TransformerEncoderLayer(4, 2, batch_first=True), 2, enable_nested_tensor=False
                ),
                head=nn.Linear(4, 2),
            ),
            ["encoder.layers.0", "encoder.layers.1", "head"],
        ),
        (Wrapper(groups=nn.ModuleList([nn.ModuleList([Residual(2, 2)])])), ["groups.0.0"]),
        (
            nn.Sequential(
                OrderedDict(
                    a=chain(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)),
                    b=chain(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)),
                )
            ),
            ["a", "b"],
        ),
        (nn.Linear(4, 2), []),
        (nn.ReLU(), []),
    ],
    ids=[
        "chain",
        "convolutions",
        "steps in a part",
        "residual",
        "stages",
        "experts",
        "transformer",
        "a row of one",
        "a row of chains",
        "a leaf",
        "nothing",
    ],
)
def test_blocks(module, expected):
    assert list(find_blocks(module)) == expected
    assert rs.load_model(module, name="m").layers == (*expected, "output")


def test_blocks_can_be_recorded(rng):
    torch.manual_seed(0)
    module = Wrapper(
        backbone=Wrapper(stages=chain(Stage(1, 2, 2), Stage(2, 4, 3))), head=chain(nn.Flatten(), nn.Linear(16, 2))
    )
    x = rs.record(rs.load_model(module, name="m"), rng.normal(size=(6, 1, 8, 8)).astype(np.float32), progress=False)
    assert [k.layer for k in x] == [*find_blocks(module)[:-1], "output"], (
        "the head gives the output, which is recorded once"
    )
    assert (
        list(
            rs.record(
                rs.load_model(module, name="m"),
                rng.normal(size=(6, 1, 8, 8)).astype(np.float32),
                "auto",
                progress=False,
            )
        )[-1].layer
        == "output"
    )


def test_names_patterns_and_numbers():
    model = rs.load_model(
        Wrapper(stem=step(1, 2), layer1=chain(Residual(2, 2), Residual(2, 2)), fc=nn.Linear(4, 2)), name="m"
    )
    assert model.check_layers("layer1.*.conv1") == ("layer1.0.conv1", "layer1.1.conv1")
    assert model.check_layers("layer1.*") == ("layer1.0", "layer1.1") and model.check_layers("*") == (
        "stem",
        "layer1",
        "fc",
        "output",
    )
    assert model.check_layers("**.conv?") == ("layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2")
    assert model.check_layers(["fc", "**.conv1", "layer1.0.*"]) == (
        "fc",
        "layer1.0.conv1",
        "layer1.1.conv1",
        "layer1.0.conv2",
        "layer1.0.skip",
    )
    assert model.check_layers("auto") == model.layers == (
        "stem",
        "layer1.0",
        "layer1.1",
        "fc",
        "output",
    ) and model.check_layers(-2) == ("fc",)
    assert model.by_name(["fc", -1, "layer1.*", "auto"]) == {"fc", "output"} and model.by_name(None) == frozenset()
    assert rs.load_model(model, layers="layer1.*").layers == ("layer1.0", "layer1.1", "output")
    with pytest.raises(
        ValueError, match=r"no layer of 'm' matches the pattern 'layer2.\*' .* The layers are 'stem', 'stem.0'"
    ):
        model.check_layers("layer2.*")
    with pytest.raises(ValueError, match="unknown layer 'layer1.0.conv3'. Did you mean 'layer1.0.conv"):
        model.check_layers("layer1.0.conv3")
    with pytest.raises(ValueError, match="all different"):
        model.check_layers(["fc", -2])
    with pytest.raises(ValueError, match="unknown layer 'fd#2'"):
        model.check_layers("fd#2")


def test_a_table_of_layers_in_forward_order():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.act, self.first, self.never = nn.Linear(5, 3), nn.ReLU(), nn.Linear(4, 5), nn.Linear(1, 1)

        def forward(self, x):
            return self.last(self.act(self.first(x)))

    table = rs.load_model(Backwards(), name="b").describe(torch.zeros(2, 4))
    assert list(table.index) == ["first", "last", "output", "never"] and list(table["shape"]) == [
        (5,),
        (3,),
        (3,),
        None,
    ]
    every = rs.load_model(Backwards(), name="b").describe(torch.zeros(2, 4), layers="**")
    assert list(every.index) == ["first", "act", "last", "output", "never"] and every.loc["act", "parameters"] == 0
