"""Representations of several networks: which network and which layer each is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .. import measures
from ..comparison import axis_of
from ..errors import listed
from ..measures import Measure

Measures = str | Measure | Sequence[str | Measure] | Mapping[str, str | Measure]


def axis(representations: Mapping[Any, Any], *fields: str) -> pd.Index:
    """The labels as an index; ValueError where they lack one of the fields."""
    if not isinstance(representations, Mapping) or not representations:
        raise TypeError(f"representations come by key, as rs.record returns them; got {'none' if isinstance(representations, Mapping) else type(representations).__name__}")
    index = axis_of(representations)
    lacking = [field for field in fields if field not in index.names]
    if lacking:
        plain = list(index.names) == ["label"]
        raise ValueError(f"representations are told apart by the fields {listed(fields)} of their labels; "
                         + ("labels here are plain text: rs.from_arrays({'network/layer': array}) makes keys of them" if plain else f"here are {listed(index.names)}"))
    return index


def exact(representations: Mapping[Any, Any]) -> dict[Any, np.ndarray]:
    """As float64: in single precision near ties among distances change their ranks."""
    found = {}
    for label in representations:
        x = representations[label]
        x = x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)
        found[label] = x.astype(float, copy=False)
    return found


def by_name(wanted: Measures) -> dict[str, Measure]:
    """{name: measure} of one, several, or such a dict."""
    if isinstance(wanted, Mapping):
        found = {str(name): measures.get(measure) for name, measure in wanted.items()}
    else:
        several = [measures.get(one) for one in ([wanted] if isinstance(wanted, (str, Measure)) else wanted)]
        found = {measures.short_name(one): one for one in several}
    if not found:
        raise ValueError("there is no measure to ask: name one, such as 'cka'")
    for name, measure in found.items():
        if measure.of != "activations":
            raise ValueError(f"'{name}' compares outputs, not what layers hold; take one of {listed(measures.REPRESENTATIONAL, 30)}")
    return found


def resamples(many: int, n_bootstrap: int, seed: int) -> np.ndarray:
    """Numbers 0 to many - 1 drawn with replacement (n_bootstrap, many); a draw of one network alone is drawn again."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(many, size=(n_bootstrap, many))
    while len(again := np.flatnonzero([len(set(draw)) < 2 for draw in draws])):
        draws[again] = rng.integers(many, size=(len(again), many))
    return draws


def check_bootstrap(n_bootstrap: int) -> None:
    if not isinstance(n_bootstrap, (int, np.integer)) or isinstance(n_bootstrap, bool) or n_bootstrap < 1:
        raise ValueError(f"n_bootstrap is a whole number from 1, 999 or more for an interval that does not jump with the seed; got {n_bootstrap!r}")
