"""Architectures that people use, as data: how a small random one is made, what goes in, and which layers are right.

Nothing here asks the package that is tested: which axis holds the features of a layer is written down for each
architecture, and `reference` computes every row with plain torch hooks from a forward pass of that sample alone.
"""

from shims import vision  # noqa: F401 - timm asks for torchvision, and transformers where it is there

from . import diffusion, images, libraries, plain, sequences, texts
from .kinds import Architecture, Form

ARCHITECTURES: dict[str, Architecture] = {
    one.name: one for part in (texts, sequences, images, diffusion, libraries, plain) for one in part.ARCHITECTURES
}

__all__ = ["ARCHITECTURES", "Architecture", "Form"]
