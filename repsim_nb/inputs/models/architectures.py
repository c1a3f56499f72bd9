"""The five small models of the zoo: 28×28 grey image in, ten logits out.

Each lists in `layers` the submodules to record, in forward order; `head` computes the logits, recorded as "output".
A layer is a whole step (convolution, normalisation, ReLU, pooling), so its activations are the inputs of the next
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim_nb.support.validation import check_integer, is_integer


class _Chain(nn.Module):
    """Steps one after the other, named in the order in which they run; the last is the head."""

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.named_children() if name != "head")

    def forward(self, x: Tensor) -> Tensor:
        for step in self.children():
            x = step(x)
        return x


def _checked(widths: Sequence[int], what: str, most: int) -> list[int]:
    if not 1 <= len(widths) <= most or not all(is_integer(width) and width > 0 for width in widths):
        raise ValueError(f"widths are the numbers of {what}: 1 to {most} integers >= 1; got {widths!r}")
    return list(widths)


class MLP(_Chain):
    """Fully connected layers, as many as there are widths: fc1, fc2, ..."""

    def __init__(self, widths: Sequence[int] = (128, 96, 64), classes: int = 10) -> None:
        super().__init__()
        sizes = [28 * 28, *_checked(widths, "units of the fully connected layers", 100)]
        for number, (p, q) in enumerate(pairwise(sizes), 1):
            self.add_module(f"fc{number}", nn.Sequential(nn.Linear(p, q), nn.ReLU()))
        self.head = nn.Linear(sizes[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


def _conv(inputs: int, outputs: int, *, stride: int = 1, groups: int = 1, kernel: int = 3) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)]


class CNN(_Chain):
    """One to four convolutions with pooling, then one fully connected layer.

    The convolutions are conv1, conv2, ...; 28 pixels become 14, 7, 3, 1.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 48), classes: int = 10) -> None:
        super().__init__()
        sizes = [1, *_checked(widths, "channels of the convolutions", 4)]
        for number, (p, q) in enumerate(pairwise(sizes), 1):
            self.add_module(f"conv{number}", nn.Sequential(*_conv(p, q), nn.ReLU(), nn.MaxPool2d(2)))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(sizes[-1] * (28 >> len(widths)) ** 2, 64), nn.ReLU())
        self.head = nn.Linear(64, classes)


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(inputs, outputs, stride=stride), nn.ReLU(), *_conv(outputs, outputs))
        self.skip = (
            nn.Identity()
            if inputs == outputs and stride == 1
            else nn.Sequential(*_conv(inputs, outputs, stride=stride, kernel=1))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class _Pooled(nn.Module):
    """The mean over height and width, the usual features before a head."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class ResNet(nn.Module):
    """A stem and three residual blocks."""

    layers = ("stem", "block1", "block2", "block3", "pool")

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 64), classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv(1, widths[0], stride=2), nn.ReLU())
        self.block1 = _Residual(widths[0], widths[0], 1)
        self.block2 = _Residual(widths[0], widths[1], 2)
        self.block3 = _Residual(widths[1], widths[2], 2)
        self.pool = _Pooled()
        self.head = nn.Linear(widths[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.block3(self.block2(self.block1(self.stem(x))))))


class Depthwise(nn.Module):
    """A stem and three depthwise-separable blocks (one filter a channel, then a 1×1 mix)."""

    layers = ("stem", "block1", "block2", "block3", "pool")

    def __init__(self, widths: tuple[int, int, int, int] = (16, 32, 64, 96), classes: int = 10) -> None:
        super().__init__()

        def block(inputs: int, outputs: int, stride: int) -> nn.Module:
            return nn.Sequential(
                *_conv(inputs, inputs, stride=stride, groups=inputs),
                nn.ReLU(),
                *_conv(inputs, outputs, kernel=1),
                nn.ReLU(),
            )

        self.stem = nn.Sequential(*_conv(1, widths[0], stride=2), nn.ReLU())
        self.block1 = block(widths[0], widths[1], 1)
        self.block2 = block(widths[1], widths[2], 2)
        self.block3 = block(widths[2], widths[3], 2)
        self.pool = _Pooled()
        self.head = nn.Linear(widths[3], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.block3(self.block2(self.block1(self.stem(x))))))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.mix = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.mix(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), _Attention(width, heads))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.mlp(x)


class ViT(_Chain):
    """A vision transformer: 7×7 patches (16 tokens), blocks (block1, block2, ...), the mean token."""

    def __init__(self, width: int = 64, heads: int = 4, classes: int = 10, depth: int = 4) -> None:
        super().__init__()
        check_integer(depth, "depth", minimum=1, maximum=100, hint="the number of blocks of the transformer")
        self.embed = _Patches(width)
        for number in range(1, depth + 1):
            self.add_module(f"block{number}", _Block(width, heads))
        self.pool = _MeanToken(width)
        self.head = nn.Linear(width, classes)


class _Patches(nn.Module):
    def __init__(self, width: int, size: int = 7) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, width, size, size)
        self.position = nn.Parameter(torch.randn(1, (28 // size) ** 2, width) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return self.patch(x).flatten(2).transpose(1, 2) + self.position


class _MeanToken(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x).mean(1)


ARCHITECTURES: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
    "depthwise": Depthwise,
    "vit": ViT,
}
