"""Shared by all rooms: real networks and data, loaded once."""

import os

os.environ.setdefault(
    "OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
)  # test files run side by side in two processes

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch

import repsim_nb as rs


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def one_thread():
    """As in the processes that train: more threads add in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def mnist():
    return rs.load_dataset("mnist", n=200)


@pytest.fixture(scope="session")
def recorded(mnist):
    """All layers of two CNNs that differ by their seed, and of an MLP, on 200 images."""
    return rs.record(["zoo:mnist-cnn-0", "zoo:mnist-cnn-1", "zoo:mnist-mlp-0"], mnist, progress=False)
