"""HDF5 files of rsatoolbox: datasets, and RDMs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from repsim_nb.support.errors import add_context
from repsim_nb.support.rdms import RDM

from .content import Content, Entry, is_unique, to_labels
from .hdf5_files import lazy

# dissimilarities of rsatoolbox that are squared distances, besides those that are called squared; the symmetrised
# divergence of Poisson rates is one for small differences
_SQUARED = ("crossnobis", "correlation", "cosine", "poisson", "poisson_cv")


def read_rsatoolbox(path: Path, file: Any) -> Content | None:
    """Return the measurements of a dataset, or one RDM for each row of RDMs; None for a file that has other arrays."""
    content = Content(path)
    if "measurements" in file and "obs_descriptors" in file:
        entry = Entry(lazy(path, file["measurements"]), labels=_labels(file["obs_descriptors"]), rows=True, names=True)
        content.entries["measurements"] = entry
        return content
    if "dissimilarities" not in file or "pattern_descriptors" not in file:
        return None
    labels = _labels(file["pattern_descriptors"])
    measure = str(file.attrs.get("dissimilarity_measure", ""))
    squared = measure.startswith("squared") or measure in _SQUARED
    rows = file["dissimilarities"][()]
    names = [values for values in _labels(file["rdm_descriptors"]).values() if is_unique(values)]
    titles = names[0].tolist() if len(names) == 1 and len(names[0]) == len(rows) else range(len(rows))
    for title, values in zip(titles, rows, strict=True):
        absent = np.isnan(values)
        with add_context(f"RDM '{title}' in {path}", ValueError):
            rdm = RDM(values, missing=absent if absent.any() else None, squared=squared)
        content.entries[str(title)] = Entry(rdm, labels=labels, rows=True, names=True)
    return content


def _labels(group: Any) -> dict[str, np.ndarray]:
    """Return the descriptors of rows. `index` only counts them; lists can be groups of single values."""
    found = {}
    for name, item in group.items():
        if name != "index" and getattr(item, "shape", None) is not None and item.ndim == 1:
            found[name] = to_labels(item[()])
    for name, values in group.attrs.items():  # tuples of text
        if np.ndim(values) == 1:
            found[name] = to_labels(values)
    return found
