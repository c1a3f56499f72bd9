"""Activations and their addresses: `Key`, the mapping `Activations` (in memory), and `Store` (on disk, memory-mapped).

On disk a recording is two files, STEM.npy and STEM.json. The second is written last and by rename, so a recording
without it does not exist for a reader. While a recording runs its rows are in STEM.part.npy, and STEM.part.json says
how many of them are good. Both say the checksums of the rows, by which a file that is not what was written is known.
The ids of samples, where they are known, are in samples.HASH.ids, one file for all recordings on the same samples, and
both name it by its hash. So are the groups of rows, the sample that each token is from, in rows.HASH.groups.
"""

from repsim_nb.support.labels import Key, check_step

from .activations import Activations, merge_facts
from .aligning import align
from .arrays import from_arrays
from .store import Store
from .writer import Writer

__all__ = ["Activations", "Key", "Store", "Writer", "align", "check_step", "from_arrays", "merge_facts"]
