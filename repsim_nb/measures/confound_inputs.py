"""The inputs of a deconfounded measure: read, hashed, and prepared as the representations are."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import array_api_compat
import numpy as np

from repsim_nb.support.containers import Array, to_array, type_name
from repsim_nb.support.ids import names_of
from repsim_nb.support.rdms import RDM
from repsim_nb.support.validation import to_numpy

from .arrays import centred_unit, fingerprint_array, reduce_features
from .base import Measure

_WIDE = 2**27  # numbers up to which wide inputs are reduced in float64


class ConfoundInputs:
    """The inputs of a deconfounded measure; two are equal if their numbers are.

    Parameters
    ----------
    values : array (n, p)
        The inputs.
    ids : array (n,), optional
        The ids of the samples.
    """

    def __init__(self, values: Any, ids: np.ndarray | None = None) -> None:
        self.values, self.ids = values, ids
        self._prepared: tuple[Any, Any] | None = None

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of dtype, shape and numbers, 32 hex digits."""
        return fingerprint_array(self.values.values if isinstance(self.values, RDM) else self.values)

    @functools.cached_property
    def narrow(self) -> Any:
        """At most n features that give the same inner products of centred samples; an RDM as it is."""
        if isinstance(self.values, RDM):
            return self.values
        n, p = self.values.shape
        if p <= n:
            return self.values
        values = self.values.astype(np.float64, copy=False) if n * p <= _WIDE else self.values
        return reduce_features(centred_unit(values))

    def prepare(self, base: Measure, like: Array, values: np.ndarray) -> Any:
        """Return what `base` prepares of `values`, in library, device and precision of `like`; the last is cached."""
        key = base, str(like.dtype), str(array_api_compat.device(like)), type(like).__module__
        last = self._prepared
        if last is None or last[0] != key:
            last = self._prepared = key, base.prepare(convert_like(values, like, like.dtype))
        return last[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ConfoundInputs) and (self is other or self.fingerprint == other.fingerprint)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __deepcopy__(self, memo: dict[int, Any]) -> ConfoundInputs:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_prepared": None}

    def __repr__(self) -> str:
        return f"ConfoundInputs({self.values.shape[0]} × {self.values.shape[1]}, {self.fingerprint[:8]})"


class InputSide(dict[str, Any]):
    """The inputs as a side of a comparison, with the ids of their samples."""

    def __init__(self, inputs: ConfoundInputs) -> None:
        super().__init__(inputs=inputs.values)
        self.ids = {} if inputs.ids is None else {"inputs": inputs.ids}


def convert_like(values: Any, like: Array, dtype: Any) -> Array:
    """Return values in the library and on the device of `like`, with this dtype; an RDM stays one."""
    if isinstance(values, RDM):
        return values.astype(dtype)
    if isinstance(like, (np.ndarray, RDM)):
        return values.astype(dtype, copy=False)
    return array_api_compat.array_namespace(like).asarray(values, dtype=dtype, device=array_api_compat.device(like))


def read_inputs(inputs: Any) -> tuple[Array, np.ndarray | None]:
    """Return the inputs as an array, and their ids."""
    if isinstance(inputs, Mapping):
        raise ValueError(
            "inputs of deconfounded must be one array (n, ...) or a Dataset; got several arrays by name. Give one of"
            " them."
        )
    if not (hasattr(inputs, "batches") and hasattr(inputs, "inputs")):
        names = names_of(inputs)
        ids = names.names if names is not None and names.kind == "ids" else None
        return _small_integers_to_floats(to_array(inputs)), ids
    parts = [batch for _, _, batch in inputs.batches()]
    if not all(hasattr(part, "shape") and part.ndim > 1 for part in parts):
        raise ValueError(
            "inputs of deconfounded must be numbers with one row for each sample; those of the dataset"
            f" '{inputs.name}' are {type_name(parts[0])}. Give an array, such as counts of words or an embedding."
        )
    return np.concatenate([to_numpy(_small_integers_to_floats(to_array(part))) for part in parts]), inputs.ids


def _small_integers_to_floats(x: Array) -> Array:
    """Return small integers, such as pictures, as float32, which represents them exactly; an RDM as it is."""
    if isinstance(x, RDM):
        return x
    xp = array_api_compat.array_namespace(x)
    small = xp.isdtype(x.dtype, "integral") and x.dtype.itemsize <= 2
    return xp.astype(x, xp.float32) if small else x
