"""Explorers: controls beside a picture that redraws itself.

`explore` makes one of any function; the others are ready-made.
"""

from .base import Explorer
from .biased import bias
from .comparing import comparison
from .exploring import explore
from .mapping import maps
from .pairing import pair

__all__ = ["Explorer", "bias", "comparison", "explore", "maps", "pair"]
