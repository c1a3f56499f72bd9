"""The order of the names in a file of HDF5."""

from __future__ import annotations

from typing import Any

from repsim_nb.support.files import sort_naturally


def names_in(group: Any, h5py: Any) -> list[str]:
    """Return the names in a group: as they were written if the file keeps this order, else in natural order.

    The fields of a struct of MATLAB have the order that MATLAB wrote next to them.
    """
    names = list(group)
    if "MATLAB_fields" in group.attrs:
        fields = [b"".join(letters).decode() for letters in group.attrs["MATLAB_fields"]]
        return fields if set(fields) == set(names) else sort_naturally(names)
    here = h5py.h5g.open(group.id, b".")  # of a file, its first group
    if here.get_create_plist().get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED:
        return names  # h5py has them in this order
    return sort_naturally(names)
