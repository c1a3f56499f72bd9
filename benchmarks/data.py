"""What is compared: synthetic activations with a decaying spectrum, and two plain models of twelve layers.

All from fixed seeds.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

import repsim_nb as rs

LAYERS = [f"layer{i}" for i in range(12)]


def activations(count: int, n: int, p: int, seed: int = 0) -> dict[str, np.ndarray]:
    """-> {label: float32 (n, p)}: related representations, features correlated, the sd of component j falling as
    j**-0.75, means not 0.

    Each shares between .9 and .4 of its components with all others, so that values spread over the range. The features
    are mixed by reflections, which cost n·p and not n·p² as a full rotation would.
    """
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n, p), dtype=np.float32)
    falling = (np.arange(1, p + 1) ** -0.75).astype(np.float32)
    made = {}
    for i, share in enumerate(np.linspace(0.9, 0.4, count)):
        x = rng.standard_normal((n, p), dtype=np.float32)
        x *= np.float32(np.sqrt(1 - share**2))
        x += np.float32(share) * shared
        x *= falling
        for _ in range(3):
            v = rng.standard_normal(p, dtype=np.float32)
            v /= np.linalg.norm(v)
            x -= 2 * (x @ v)[:, None] * v
        x += (
            np.float32(0.5) * x.std(0) * rng.standard_normal(p, dtype=np.float32)
        )  # a layer's features are rarely centred
        made[f"{i:02d}"] = x
    return made


def zoo_activations(n: int) -> dict[str, np.ndarray]:
    """-> all layers of three trained CNNs of the zoo on MNIST's test images, flattened: widths from 10 to 3,136, most
    of them after a ReLU.
    """
    recorded = rs.record([f"zoo:mnist-cnn-{i}" for i in range(3)], rs.load_dataset("mnist", n=n), progress=False)
    return {f"{key.model}/{key.layer}": recorded[key] for key in recorded}


class Net(nn.Module):
    """Twelve blocks in a row.

    Behind each a tap that no one else hears: its output as (1, n, p), the only shape that one peer can read.
    """

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        for name, block in zip(LAYERS, blocks, strict=True):
            self.add_module(name, block)
            self.add_module(f"tap_{name}", Tap())

    def forward(self, x: Tensor) -> Tensor:
        for name in LAYERS:
            x = getattr(self, name)(x)
            getattr(self, f"tap_{name}")(x)
        return x


class Tap(nn.Module):
    """(n, ...) → (1, n, p)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).unsqueeze(0)


def _started(blocks: list[nn.Module]) -> Net:
    """He's initialisation: with torch's default the signal of a deep plain model dies, and there is nothing left to
    compare.
    """
    for block in blocks:
        for m in block.modules():
            if isinstance(m, (nn.Linear, nn.Conv2d)):
                nn.init.kaiming_normal_(m.weight)
                nn.init.zeros_(m.bias)
    return Net(blocks).eval()


def mlp(seed: int, width: int = 512) -> Net:
    """784 → width, eleven times width → width, with ReLU."""
    torch.manual_seed(seed)
    sizes = [784] + [width] * 12
    first, *rest = [nn.Sequential(nn.Linear(p, q), nn.ReLU()) for p, q in itertools.pairwise(sizes)]
    return _started([nn.Sequential(nn.Flatten(), *first), *rest])


def cnn(seed: int, width: int = 8) -> Net:
    """Twelve 3×3 convolutions with ReLU, 28×28 down to 7×7; layers of 6,272 to 784 activations at width 8."""
    torch.manual_seed(seed)
    widths = [1] + [width] * 4 + [2 * width] * 8
    strides = [1] * 4 + [2] + [1] * 3 + [2] + [1] * 3
    return _started(
        [
            nn.Sequential(nn.Conv2d(p, q, 3, s, 1), nn.ReLU())
            for p, q, s in zip(widths, widths[1:], strides, strict=False)
        ]
    )


def pictures(n: int) -> Tensor:
    """-> MNIST training images as float32 (n, 1, 28, 28) in [0, 1]."""
    return torch.from_numpy(rs.load_dataset("mnist", split="train", n=n).inputs).float().unsqueeze(1) / 255
