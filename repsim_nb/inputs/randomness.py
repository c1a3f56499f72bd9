"""The global random generators of torch, NumPy and Python: preserve their states, find out which were used."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

GENERATORS = ("torch", "NumPy", "Python")
SEEDS_AT_MOST = 4  # for DataLoaders inside DataLoaders
States = tuple[Any, ...]  # one state a generator, in that order; they can be compared


@contextmanager
def preserve_random_states(gpus: Sequence[int] = ()) -> Iterator[None]:
    """Restore the random states of torch (also of these GPUs), NumPy and Python afterwards."""
    before = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])


def seed_generators(seed: int) -> States:
    """Seed the three generators (torch's of the CPU only), and return their states.

    Use it inside `preserve_random_states`.
    """
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    return read_generator_states()


def read_generator_states() -> States:
    """Return the present states."""
    kind, key, *rest = np.random.get_state(legacy=True)
    state = kind, np.asarray(key).tobytes(), *rest
    return torch.random.get_rng_state().numpy().tobytes(), state, random.getstate()


def find_used_generators(first: tuple[States, States], second: tuple[States, States]) -> tuple[str, ...]:
    """Return those of GENERATORS from which numbers were drawn.

    first, second: the states before and after the same work, started with different states. If the state after depends
    on the state before, numbers were drawn. A generator that the work sets to a fixed state gives the same numbers each
    time.
    """
    found = zip(GENERATORS, *first, *second, strict=True)
    return tuple(
        name for name, a, after_a, b, after_b in found if after_a != after_b and (after_a != a or after_b != b)
    )


def drew_only_seeds(seed: int, after: States) -> bool:
    """Return whether torch's generator, set by this seed, gave just a few seeds until this state.

    A DataLoader draws one seed when it is read.
    """
    seed_generators(seed)
    for _ in range(SEEDS_AT_MOST):
        torch.empty((), dtype=torch.int64).random_()  # as torch.utils.data does it
        if read_generator_states()[0] == after[0]:
            return True
    return False
