"""`Exported`: recordings that can be written to a file of another library."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim_nb.inputs.formats import Written, write_file
from repsim_nb.support.labels import Key
from repsim_nb.support.rdms import RDM

from .entries import dtype_of, pieces
from .idsfile import to_json

if TYPE_CHECKING:
    from .activations import Activations


class Exported(Mapping[Key, Any]):
    """The method that `Activations` and `Store` have for other libraries."""

    def export(self: Activations, path: str | Path, format: str | None = None) -> Path:  # type: ignore[misc]
        """Write the recordings to a file of another library, with ids, groups and facts; `rs.from_arrays` reads it.

        Parameters
        ----------
        path : str or Path
            The file: .h5, .zarr (a folder), .nc or .safetensors. A file that is there is replaced in one step.
        format : {"hdf5", "zarr", "netcdf", "safetensors"}, optional
            The format, if the ending of the path does not show it.

        Returns
        -------
        Path
            The path.

        Raises
        ------
        ValueError
            If the format is unknown, a recording is an RDM, or netCDF cannot have recordings of different samples.
        FileExistsError
            If a folder of Zarr is there already.
        ModuleNotFoundError
            If the library of the format is not installed.

        Notes
        -----
        The name of an array is "model/layer". It is written some rows at a time, so that memory does not limit it.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> import repsim_nb as rs
        >>> x = rs.from_arrays({"net/fc": np.eye(3)}, ids=["cat", "dog", "owl"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = rs.from_arrays(x.export(folder + "/x.safetensors"))
        ...     print(again["net/fc"].tolist() == np.eye(3).tolist(), again["fc"].ids)
        True ['cat' 'dog' 'owl']
        """
        arrays = []
        for key, entry in self._entries().items():
            if isinstance(entry, RDM):
                raise ValueError(f"export writes arrays (samples, features); '{key}' is an RDM: use rdm.to_frame().")
            arrays.append(
                Written(
                    Key(*key),
                    tuple(entry.shape),
                    dtype_of(entry),
                    partial(pieces, entry),
                    self._ids_of(key, entry),
                    self._groups_of(key, entry),
                )
            )
        return write_file(Path(path), format, arrays, to_json(self.facts))
