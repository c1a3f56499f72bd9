"""Explorers: controls next to a picture that is drawn again when a control changes.

`explore` makes an explorer for any function that draws; the others are ready-made.
"""

from .base import Explorer
from .confusions import dataset_bias
from .functions import explore
from .model_maps import embedding_map
from .model_pairs import model_pair
from .recorded_tables import comparison
from .sample_explorer import samples

__all__ = ["Explorer", "comparison", "dataset_bias", "embedding_map", "explore", "model_pair", "samples"]
