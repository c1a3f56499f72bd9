"""Seeds of random numbers: checked, and as generators."""

from __future__ import annotations

from typing import Any

import numpy as np

from repsim_nb.support.errors import show_value
from repsim_nb.support.validation import is_integer


def check_seed(seed: Any) -> int:
    """Check a seed, an integer >= 0 of any size, and return it as int.

    Examples
    --------
    >>> check_seed(np.int64(3))
    3
    """
    if is_integer(seed) and seed >= 0:
        return int(seed)
    raise ValueError(f"seed must be an integer >= 0; got {show_value(seed)}")


def generator_of(seed: Any) -> np.random.Generator:
    """Return the random generator of a checked seed."""
    return np.random.default_rng(check_seed(seed))
