"""Files of other libraries: `read_file` finds their arrays, the axes of their samples and the ids."""

from .content import NamedArrays, orient
from .lazy import LazyArray, OnDisk
from .reading import read_file
from .writing import Written, write_file

__all__ = ["LazyArray", "NamedArrays", "OnDisk", "Written", "orient", "read_file", "write_file"]
