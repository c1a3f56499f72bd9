"""Containers that name their samples: by which index or dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

SAMPLES = frozenset(
    {
        "sample",
        "stimulus",
        "presentation",
        "image",
        "picture",
        "item",
        "observation",
        "obs",
        "example",
        "instance",
        "trial",
        "text",
        "sentence",
        "condition",
        "row",
        "dim_0",
    }
)
FEATURES = frozenset(
    {
        "feature",
        "neuroid",
        "neuron",
        "unit",
        "channel",
        "voxel",
        "electrode",
        "sensor",
        "vertex",
        "cell",
        "class",
        "column",
        "component",
        "hidden",
        "embedding",
        "logit",
        "height",
        "width",
        "x",
        "y",
        "z",
        "dim_1",
        "dim_2",
        "dim_3",
        "dim_4",
    }
)


def is_of(x: Any, library: str, *names: str) -> bool:
    """Return whether its type, or a base of it, is of this library (and has one of these names)."""
    return any(
        base.__module__.partition(".")[0] == library and (not names or base.__name__ in names)
        for base in type(x).__mro__
    )


def has_method(x: Any, method: str, *libraries: str) -> bool:
    """Return whether it has this method and is of one of these libraries."""
    return hasattr(x, method) and any(is_of(x, library) for library in libraries)


def sample_index(x: Any) -> pd.Index | None:
    """Return the names of the samples: the index of a frame, or the coordinate of xarray along its samples.

    None if the container does not name its samples.
    """
    if isinstance(x, (pd.DataFrame, pd.Series)):
        return x.index
    if is_of(x, "xarray", "DataArray") and x.ndim:
        dimension = sample_dimension(x)
        index = x.indexes.get(dimension)
        several = isinstance(index, pd.MultiIndex)  # as BrainIO has it; one of its levels names the stimuli
        if index is not None and not several:
            return index
        names = [
            str(name)
            for name, c in x.coords.items()
            if c.dims == (dimension,)
            and str(name).lower().split("_")[-1] in ("id", "ids")
            and pd.Index(c.values).is_unique
        ]
        return pd.Index(x.coords[names[0]].values) if len(names) == 1 else index
    if is_of(x, "pyarrow", "Table") and x.schema.pandas_metadata:
        return x.to_pandas().index
    if has_method(x, "to_pandas", "cudf", "pyspark"):
        return x.to_pandas().index
    if is_of(x, "modin"):
        return x._to_pandas().index
    if is_of(x, "dask") and hasattr(x, "index"):
        return x.index.compute()
    return None


def feature_names(x: Any) -> list[Any] | None:
    """Return the names of the features: the columns of a frame, or the coordinate of a two-dimensional DataArray.

    None if the container does not name its features, or only counts them.
    """
    if is_of(x, "xarray", "DataArray"):
        rest = [name for name in x.dims if name != sample_dimension(x)] if x.ndim == 2 else []
        index = x.indexes.get(rest[0]) if rest else None
    elif is_of(x, "pyarrow", "Table", "RecordBatch"):
        index = list(x.schema.names)
    else:
        index = getattr(x, "columns", None)
    if index is None or isinstance(index, pd.RangeIndex):
        return None
    return list(index)


def sample_dimension(x: Any) -> str:
    """Return the sample dimension of an xarray DataArray by its name; ValueError if names do not show it.

    It is the one called "sample"; else the only one with another usual name of samples; else the only one without a
    usual name of features.
    """
    if (found := choose_dimension(x.dims)) is not None:
        return found
    shown = ", ".join(map(repr, x.dims))
    raise ValueError(
        f"the samples of an xarray DataArray are read by the name of a dimension, and of ({shown}) it is not clear"
        f" which are the samples. Name that dimension 'sample', x.rename({{{x.dims[0]!r}: 'sample'}}), or pass the"
        f" plain array, samples first: x.transpose({shown}).values."
    )


def choose_dimension(dimensions: Sequence[Any]) -> Any:
    """Return the sample dimension among these names, by the rule of `sample_dimension`; None if it is not clear."""
    names = {dimension: _singular(str(dimension)) for dimension in dimensions}
    for fits in (lambda name: name == "sample", lambda name: name in SAMPLES):
        found = [dimension for dimension, name in names.items() if fits(name)]
        if found:
            return found[0] if len(found) == 1 else None
    others = [dimension for dimension, name in names.items() if name not in FEATURES]
    return others[0] if len(others) == 1 else None


def is_feature_name(name: str) -> bool:
    """Return whether a name is a usual one of features: "neuron", "unit_ids", "voxels"."""
    return _singular(name) in FEATURES


def is_sample_name(name: str) -> bool:
    """Return whether a name is a usual one of samples: "image", "stimulus_id"."""
    return _singular(name) in SAMPLES


def check_dimensions(first: Any, other: Any, names: tuple[str, str]) -> None:
    """Raise ValueError if two DataArrays name their samples differently, or their other dimensions are reordered."""
    if not all(is_of(x, "xarray", "DataArray") and x.ndim > 1 for x in (first, other)):
        return
    one, two = sample_dimension(first), sample_dimension(other)
    if one != two:
        raise ValueError(
            f"the samples of '{names[0]}' are its dimension {one!r}, those of '{names[1]}' its dimension {two!r}. If"
            f" these are the same samples, give them one name, y.rename({{{two!r}: {one!r}}}); else transpose one of"
            " them, y.transpose(...)."
        )
    rest, others = ([d for d in x.dims if d != one] for x in (first, other))
    if rest != others and sorted(map(str, rest)) == sorted(map(str, others)):
        raise ValueError(
            f"'{names[0]}' and '{names[1]}' have the same dimensions in another order, {tuple(rest)} and"
            f" {tuple(others)}, so features would be compared with others. Use"
            f" y.transpose({', '.join(map(repr, [one, *rest]))})."
        )


def _singular(name: str) -> str:
    """Return a dimension name in lower case, in the singular and without an ending such as _id."""
    name = name.lower()
    for end in ("_id", "_ids", "_index", "_idx", "_number", "_name"):
        name = name.removesuffix(end)
    return {"stimuli": "stimulus", "images": "image", "classes": "class", "vertices": "vertex"}.get(
        name, name[:-1] if name.endswith("s") and name not in ("obs", "class", "stimulus") else name
    )
