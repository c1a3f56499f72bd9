"""Files of other libraries: `read_file` finds their arrays, the axes of their samples and the ids."""

from .content import NamedArrays, orient
from .lazy import LazyArray, OnDisk
from .reading import read_file

__all__ = ["LazyArray", "NamedArrays", "OnDisk", "orient", "read_file"]
