"""Explorers: controls beside a picture that redraws itself. `explore` makes one of any function; the others are ready-made."""

from .base import Explorer, explore
from .comparing import comparison

__all__ = ["Explorer", "comparison", "explore"]
