"""Fair timing: each side in a process of its own, all on one core with one thread, called in turn; memory above the
inputs; failures are reported.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")
STATUS = Path("/proc/self/status")
SAMPLE_SECONDS = (
    8.0  # of a pairwise peer whose whole table would take longer than the limit, so many seconds are measured
)


def one_core() -> None:
    """One thread and, where the system can, one core: for this process and all that it starts.

    Call it before NumPy does any work.
    """
    os.environ.update(dict.fromkeys(THREADS, "1"), TQDM_DISABLE="1")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class Peak:
    """Peak memory of this process above what it held when made, in bytes; None where the system does not tell."""

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
            self.resettable = True
        except OSError:
            self.resettable = False
        self.before = self._read("VmRSS" if self.resettable else "VmHWM")

    @staticmethod
    def _read(name: str) -> int | None:
        if not STATUS.exists():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        line = next((line for line in STATUS.read_text().splitlines() if line.startswith(name)), None)
        return int(line.split()[1]) * 1024 if line else None

    def read(self) -> int | None:
        after = self._read("VmHWM")
        return None if after is None or self.before is None else max(after - self.before, 0)


class Own:
    """While open, samples the memory that is this process's own (anonymous), without pages of mapped files, which the
    system may drop at will.
    """

    def __enter__(self) -> Self:
        self.before = self.peak_seen = self._read()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.005):
            self.peak_seen = max(self.peak_seen, self._read())

    @staticmethod
    def _read() -> int:
        return Peak._read("RssAnon") or 0

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    @property
    def peak(self) -> int:
        return self.peak_seen - self.before


def bound_memory(fraction: float = 0.6) -> None:
    """Bound the memory of this process to a fraction of all memory, so that it fails and not the machine."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (int(all_memory() * fraction),) * 2)


def all_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class Side:
    """A process that holds its inputs and answers calls. make() -> call() -> dict is run there; a dict with "error" is
    a failure that is reported.
    """

    def __init__(self, make: Callable[..., Callable[..., dict[str, Any]]], *arguments: Any) -> None:
        server = multiprocessing.get_context(
            "forkserver"
        )  # one that has imported what all need, and computed nothing yet
        server.set_forkserver_preload(["benchmarks.cases"])
        self.here, there = server.Pipe()
        self.process = server.Process(target=_serve, args=(there, make, arguments), daemon=True)
        self.process.start()
        there.close()

    def answer(self, limit: float) -> dict[str, Any]:
        self.busy = True
        try:
            if self.here.poll(limit):
                self.busy = False
                return self.here.recv()
        except EOFError:
            self.process.join(5)
            return {
                "error": f"the process ended with code {self.process.exitcode} (-9: killed, most likely for its memory)"
            }
        self.close()
        return {"error": f"cut off after {limit:.0f} s"}

    def call(self, limit: float, *arguments: Any) -> dict[str, Any]:
        try:
            self.here.send(arguments)
        except OSError:
            return {"error": "the process has ended"}
        return self.answer(limit)

    def close(self) -> None:
        """Let it end; end it where it is still at work."""
        self.here.close()
        self.process.join(0 if self.busy else 10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(pipe: Any, make: Callable[..., Callable[..., dict[str, Any]]], arguments: tuple[Any, ...]) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # peers print
    try:
        import torch

        torch.set_num_threads(1)
        bound_memory()
        call = make(*arguments)
        pipe.send({})
    except BaseException as error:
        pipe.send({"error": told(error)})
        return
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(call(*asked))
        except BaseException as error:
            pipe.send({"error": told(error)})


def told(error: BaseException) -> str:
    """An exception as its class and first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def timed(function: Callable[[], Any], now: Callable[[], float] = time.process_time) -> tuple[Any, float, int | None]:
    """Call -> the result, seconds of the processor (or by another clock, `now`), peak memory."""
    peak = Peak()
    start = now()
    result = function()
    return result, now() - start, peak.read()


def in_cpu_time(work: Callable[[], Any]) -> dict[str, Any]:
    """Seconds of the processor and peak memory of a call, with its value."""
    peak, start = Peak(), time.process_time()
    value = work()
    return {"seconds": time.process_time() - start, "peak": peak.read(), "value": value}


def both_in_turn(sides: Mapping[str, Side], what: str) -> dict[str, dict[str, Any]]:
    """Call sides that can all be made in turn, three rounds, and close them."""
    if errors := [reply["error"] for side in sides.values() if "error" in (reply := side.answer(600))]:
        raise RuntimeError(f"{what} could not be measured: {errors[0]}")
    found = in_turn(sides, rounds=3, limit=600, say=lambda line: print(line, flush=True))
    for side in sides.values():
        side.close()
    return found


def over_pairs(
    pair: Callable[[Any, Any], float], xs: list[Any], ys: list[Any] | None, symmetric: bool, limit: float
) -> tuple[np.ndarray, float, int, int]:
    """A pairwise function over a table -> (values, NaN where not done; seconds for the whole table; pairs done; pairs
    in all).

    Each pair once, without the diagonal where there is one. A table that would take longer than `limit` is measured on
    as many pairs as fit into SAMPLE_SECONDS, at least one, and scaled.
    """
    square = ys is None
    columns = xs if ys is None else ys
    cells = [
        (i, j) for i in range(len(xs)) for j in range(len(columns)) if not square or i < j or (not symmetric and i != j)
    ]
    cells = [cells[k] for k in np.random.default_rng(0).permutation(len(cells))]  # a sample must be of all widths
    values = np.full((len(xs), len(columns)), np.nan)
    start = time.process_time()
    done, spent = 0, 0.0
    for done, (i, j) in enumerate(cells, 1):
        values[i, j] = pair(xs[i], columns[j])
        if square and symmetric:
            values[j, i] = values[i, j]
        spent = time.process_time() - start
        if spent > SAMPLE_SECONDS and spent / done * len(cells) > limit:
            break
    return values, spent * len(cells) / done, done, len(cells)


def in_turn(
    sides: Mapping[str, Side], *, rounds: int, limit: float, say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Call the sides one after the other, round after round -> for each its seconds (all calls), peak, values, and what
    happened.

    A first call warms up and counts only where it is the only one; a side that took over 10 s is called once, over 3 s
    three times.
    """
    out: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            known = out[name]
            calls = len(known["seconds"])
            enough = calls >= 1 and (
                known["seconds"][0] > 10 or calls > rounds or (known["seconds"][0] > 3 and calls > 2)
            )
            if "error" in known or enough:
                continue
            reply = side.call(limit)
            if "error" in reply:
                known["error"] = reply["error"]
                say(f"    {name}: {reply['error']}")
                continue
            known["seconds"].append(reply["seconds"])
            if number == 0:
                known.update({key: value for key, value in reply.items() if key != "seconds"})
                say(f"    {name}: {reply['seconds']:.3g} s")
    for known in out.values():
        known["seconds"] = known["seconds"][1:] or known["seconds"]
    return out


def middle(seconds: list[float]) -> float:
    return statistics.median(seconds) if seconds else math.nan
