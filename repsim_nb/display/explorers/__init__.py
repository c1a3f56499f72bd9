"""Explorers: controls next to a picture that redraws itself.

`explore` makes one of any function; the others are ready-made.
"""

from .base import Explorer
from .comparison import comparison
from .dataset_bias import dataset_bias
from .embedding_map import embedding_map
from .explore import explore
from .model_pair import model_pair

__all__ = ["Explorer", "comparison", "dataset_bias", "embedding_map", "explore", "model_pair"]
