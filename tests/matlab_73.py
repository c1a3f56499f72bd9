"""Files of MATLAB 7.3 as MATLAB writes them: a user block, reversed axes, classes, cells in #refs#."""

import h5py
import numpy as np


def write_matlab_73(path, variables, **options):
    """Write variables: arrays in the shape that MATLAB shows, text, lists (cells), dicts (structs)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        for name, value in variables.items():
            _write(file, name, value, refs, options)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Nov 30 12:00:00 2026 HDF5 schema 1.00 ."
    with open(path, "r+b") as file:
        file.write(head.ljust(124) + b"\x00\x02IM")
    return path


def _write(group, name, value, refs, options):
    if isinstance(value, dict):
        struct = group.create_group(name)
        struct.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, its in value.items():
            _write(struct, field, its, refs, options)
        return
    if isinstance(value, str):
        item = group.create_dataset(name, data=np.frombuffer(value.encode("utf-16-le"), "<u2")[:, None])
        item.attrs["MATLAB_class"], item.attrs["MATLAB_int_decode"] = np.bytes_("char"), np.int32(2)
    elif isinstance(value, list):  # a cell of size (n, 1)
        for cell in value:
            _write(refs, f"c{len(refs)}", cell, refs, options)
        pointers = [refs[f"c{i}"].ref for i in range(len(refs) - len(value), len(refs))]
        item = group.create_dataset(name, (1, len(value)), h5py.ref_dtype)
        item[0] = pointers
        item.attrs["MATLAB_class"] = np.bytes_("cell")
    else:
        kinds = {"b1": "logical", "f8": "double", "f4": "single", "i8": "int64", "u2": "uint16"}
        kind = kinds[value.dtype.str[1:]]
        stored = value.T.astype(np.uint8) if kind == "logical" else value.T
        item = group.create_dataset(name, data=stored, **(options if value.size > 100 else {}))
        item.attrs["MATLAB_class"] = np.bytes_(kind)
