"""Recordings: `Key`, their address, `Activations`, a mapping from keys to arrays, and `Store`, the same in a folder.

In the folder a recording is two files: STEM.npy with the rows, and STEM.json, its record. The record is written last
and by rename, so a recording without one does not exist for a reader. While a recording runs, its rows are in
STEM.part.npy, and STEM.part.json has the number of rows that are written. Both records contain checksums of the rows,
which show if a file has changed since. Ids of samples are in samples.HASH.ids, one file for all recordings on the same
samples, and groups of rows, such as the sample that each token is from, in rows.HASH.groups; records refer to these
files by hash.
"""

from repsim_nb.support.labels import Key, check_step

from .activations import Activations
from .aligning import align
from .arrays import from_arrays
from .averaging import average_conditions
from .entries import merge_facts
from .store import Store
from .writer import Writer

__all__ = [
    "Activations",
    "Key",
    "Store",
    "Writer",
    "align",
    "average_conditions",
    "check_step",
    "from_arrays",
    "merge_facts",
]
