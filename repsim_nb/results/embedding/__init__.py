"""Maps: points whose distances stand for dissimilarities."""

from .maps import mds, tsne
from .results import Embedding

__all__ = ["Embedding", "mds", "tsne"]
