"""Shared by all rooms: real models and data, loaded once; which tests are slow, and in what order files run."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # test files run side by side in two processes

import signal
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch

import repsim_nb as rs

HERE = Path(__file__).parent
SLOW = HERE / "slow.txt"
SECONDS = 0.25
FIRST = ("test_notebooks.py", "browser", "test_subtasks.py", "test_readme.py", "test_recipes.py", "test_reports.py")


def pytest_addoption(parser):
    parser.addoption(
        "--write-slow", action="store_true", help=f"list the functions that took {SECONDS} s or more in {SLOW.name}"
    )


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.write_slow and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Timing())


class Timing:
    def __init__(self):
        self.seconds = {}

    def pytest_runtest_logreport(self, report):
        case = report.nodeid.partition("@")[0]
        self.seconds[case] = self.seconds.get(case, 0) + report.duration

    def pytest_sessionfinish(self):
        slow = {function_of(case) for case, seconds in self.seconds.items() if seconds >= SECONDS}
        SLOW.write_text("".join(f"{name}\n" for name in sorted(slow)))


def function_of(case):
    """A test function, as slow.txt writes it: file::function, below tests/."""
    return case.partition("[")[0].removeprefix("tests/")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Functions of slow.txt are marked `slow`. A file stays in one process, with what it shares; each lesson is a unit
    of its own, and the longest files come first.
    """
    slow = set(SLOW.read_text().split())
    for item in items:
        name = function_of(item.nodeid)
        if name in slow:
            item.add_marker("slow")
        if getattr(config.option, "loadgroup", False):
            item.add_marker(pytest.mark.xdist_group(unit_of(item)))
    items.sort(key=lambda item: min((k for k, name in enumerate(FIRST) if name in item.nodeid), default=len(FIRST)))


def unit_of(item):
    file, _, test = item.nodeid.removeprefix("tests/").partition("::")
    if file.startswith("browser/"):
        return "browser"  # one JupyterLab
    if test.startswith("test_it_runs[") and not any(lesson in test for lesson in SUBTASKS):
        return test
    return "test_subtasks.py" if test.startswith("test_it_runs[") else file


SUBTASKS = ("03_", "09_", "10_")  # lessons on what test_subtasks.py trains


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
