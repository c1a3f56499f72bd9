"""Maps: points whose distances approximate dissimilarities."""

from .maps import mds, tsne
from .results import Embedding

__all__ = ["Embedding", "mds", "tsne"]
