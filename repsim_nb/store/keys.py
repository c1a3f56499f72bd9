"""`Key`, the address of a recording; how a short name finds one, and the name of its files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import MissingRecording, listed, unknown


class Key(NamedTuple):
    """The address of a recording: which model, which layer, on which data, at which step of training, pooled how."""

    model: str
    layer: str
    dataset: str = ""
    step: int | str = 0
    pool: str = "flatten"

    @property
    def by_token(self) -> bool:
        """Whether a row is a token (or a place of a picture), so that a sample is several rows."""
        return str(self.pool).startswith("tokens")

    def __str__(self) -> str:
        number = isinstance(self.step, str) and re.fullmatch(r"-?\d+", self.step)  # '5' is not 5
        shown = self._replace(step=repr(self.step)) if number else self
        rest = [str(value) for value, usual in zip(shown[2:], ("", 0, "flatten"), strict=True) if value != usual]
        return f"{self.model}/{self.layer}" + (f" ({', '.join(rest)})" if rest else "")


def resolve(key: object, keys: Mapping[Key, Any]) -> Key:
    """The one key that is meant, by itself or by a name short enough to fit only one; MissingRecording where none or several fit."""
    if isinstance(key, tuple):
        if key in keys:
            return Key(*key)
        raise MissingRecording(f"no recording has the key {tuple(key)}; there are {listed(keys)}")
    fits = [k for k in keys if key in (k.layer, f"{k.model}/{k.layer}", str(k))]
    if len(fits) == 1:
        return fits[0]
    if not fits:
        raise MissingRecording(str(unknown("recording", key, dict.fromkeys([*(k.layer for k in keys), *(str(k) for k in keys)]))))
    raise MissingRecording(f"'{key}' fits {len(fits)} recordings: {listed(fits)}. Say which: x['model/layer'] or x.where(model=...)")


def stem(key: Key) -> str:
    """A file name that a person can read and that no two keys share."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{key.model}.{key.layer}")[:80]
    return f"{readable}.{hashlib.blake2b(json.dumps(list(key._replace(step=_whole(key.step))), default=repr).encode(), digest_size=6).hexdigest()}"


def checked_step(step: Any) -> int | str:
    """A step of training as keys have it: a whole number, as int, or a name; ValueError for anything else."""
    step = _whole(step)
    if isinstance(step, int) or (isinstance(step, str) and step.strip()):
        return step
    raise ValueError(f"a step of training is a whole number or a name, as step=5000 or step='last' (0 where it is not said); got {step!r}")


def _whole(step: Any) -> Any:
    """1, True and 1.0 make equal keys, so they make one."""
    step = step.item() if getattr(step, "ndim", None) == 0 else step
    return int(step) if isinstance(step, int) or (isinstance(step, float) and step.is_integer()) else step


def group(record: Mapping[str, Any]) -> str:
    """All but the layer of a recording's key."""
    model, _, *rest = record["key"]
    return json.dumps([model, *rest])
