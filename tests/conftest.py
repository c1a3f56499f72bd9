"""Shared by all rooms: real models and data, loaded once; which tests are slow, and in what order files run."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # test files run side by side in four processes

import collections
import functools
import signal
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
import torch

import repsim_nb as rs

gc.disable()  # until all tests are collected: see `pytest_collection_finish`
HERE = Path(__file__).parent
SLOW = HERE / "slow.txt"
SECONDS = 0.25
FIRST = (
    "browser",  # one process waits for pages most of the time, while the others compute
    "test_notebooks.py",
    "test_subtasks.py",
    "test_readme.py",
    "test_docs.py",
    "test_recipes.py",
    "test_reports.py",
)


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
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    def pytest_sessionfinish(self):
        slow = {function_of(case) for case, seconds in self.seconds.items() if seconds >= SECONDS}
        SLOW.write_text("".join(f"{name}\n" for name in sorted(slow)))


def function_of(case):
    """A test function, as slow.txt writes it: file::function, below tests/."""
    return case.partition("[")[0].removeprefix("tests/")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Each process begins with other files, so that together they compile each file of a fresh clone once."""
    report = yield
    if isinstance(collector, pytest.Dir) and report.result:
        processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
        process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        first = len(report.result) * process // processes
        report.result = [*report.result[first:], *report.result[:first]]
    return report


def pytest_itemcollected(item):
    """Functions of slow.txt are marked `slow`."""
    if function_of(item.nodeid) in slow_functions():
        item.add_marker("slow")


@functools.cache
def slow_functions():
    return set(SLOW.read_text().split())


def pytest_collection_modifyitems(items):
    """The longest files come first, then those with most slow functions; all processes need the same order."""
    slow = collections.Counter(name.partition("::")[0] for name in slow_functions())

    def place(item):
        file = function_of(item.nodeid).partition("::")[0]
        return next((k for k, name in enumerate(FIRST) if name in file), len(FIRST)), -slow[file], file

    items.sort(key=place)


def pytest_collection_finish():
    """The garbage collector never looks at the imported modules and the collected tests: a fifth of the CPU time."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file stays in one process, with what it shares; each lesson is a unit of its own."""
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return unit_of(nodeid)

    return Units(config, log) if config.option.dist == "loadfile" else None


def unit_of(case):
    file, _, test = case.removeprefix("tests/").partition("::")
    if file.startswith("browser/"):
        return "browser"  # one JupyterLab
    if test.startswith("test_it_runs["):
        return "test_subtasks.py" if any(lesson in test for lesson in SUBTASKS) else test
    return file


SUBTASKS = ("03_", "09_", "10_")  # lessons on what test_subtasks.py trains


@pytest.fixture(autouse=True)
def close_figures():
    """Close the figures of each test: matplotlib warns from 21 on, and warnings of the package are errors."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


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
