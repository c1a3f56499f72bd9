"""Activations that do not fit into memory: 10 GB recorded into a Store, then compared from there, each by a process
that has 2 GB.
"""

from __future__ import annotations

import mmap
import os
import resource
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from . import clock, data

LIMIT = 2 * 10**9  # bytes of its own; the system refuses the process what goes beyond
PAGES = 10**9  # bytes of mapped files that may be in memory at a time
MEASURE = "cka_debiased"
SIZE = {"n": 4000, "width": 64, "depth": 13}
FAST = {"n": 40, "width": 2, "depth": 3}


def build_model(width: int, depth: int) -> nn.Module:
    """3×3 convolutions with ReLU that keep all 28×28 positions: a layer has 784 values a channel for each image.

    Random weights (He's).
    """
    torch.manual_seed(0)
    net = nn.Sequential(
        *(nn.Sequential(nn.Conv2d(1 if k == 0 else width, width, 3, padding=1), nn.ReLU()) for k in range(depth))
    )
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net.eval()


class Scarce:
    """While open, mapped files lose their pages as soon as these pass PAGES, in this process and in the system's cache:
    they are read from the disk again.

    So a system does that has no room for them; one with much room keeps all, and nothing would be shown.
    """

    def __init__(self, arrays: list[np.memmap]) -> None:
        self.arrays, self.times, self.done = arrays, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if clock.STATUS.exists() and hasattr(os, "posix_fadvise"):
            self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.002):
            if (clock.Peak._read("RssFile") or 0) > PAGES:
                self.drop()

    def drop(self) -> None:
        self.times += 1
        for array in self.arrays:
            array._mmap.madvise(mmap.MADV_DONTNEED)  # a shared, read-only map: the numbers stay in the file
            file = os.open(array.filename, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        if self.thread.is_alive():
            self.thread.join()


def taken(n: int, width: int, depth: int) -> int:
    return 4 * n * 784 * width * depth


def _limited_side(what: str, folder: str, size: dict[str, int]) -> Any:
    import repsim_nb as rs

    if sys.platform == "linux":  # elsewhere it is measured, and not refused
        resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))

    def record() -> dict[str, Any]:
        model = rs.load_model(build_model(size["width"], size["depth"]), name="wide")
        layers = [str(k) for k in range(size["depth"])]
        rs.record(model, data.pictures(size["n"]), layers, into=folder, batch_size=100, progress=False)
        return {"disk": rs.Store(folder).size}

    def compare() -> dict[str, Any]:
        store = rs.Store(folder)
        arrays = {key: store[key] for key in store}
        with Scarce(list(arrays.values())) as scarce:
            scarce.drop()
            values = rs.compare(MEASURE, arrays).values.to_numpy()
        return {
            "layers": len(values),
            "dropped": scarce.times - 1,
            "lowest": float(values.min()),
            "highest": float(values.max()),
        }

    def call() -> dict[str, Any]:
        with clock.Own() as own:
            result, seconds, _ = clock.timed({"record": record, "compare": compare}[what], time.perf_counter)
        return {
            **result,
            "seconds": seconds,
            "own": own.peak_seen,
            "all": clock.Peak._read("VmHWM"),
            "load": os.getloadavg()[1],
        }  # imports too

    return call


def measure(*, fast: bool, out: Path) -> dict[str, Any]:
    """Return sizes, and what each of the two processes reported.

    If the disk has no room nothing is measured, and "error" says so.
    """
    size = FAST if fast else SIZE
    found: dict[str, Any] = {"size": size, "bytes": taken(**size), "limit": LIMIT}
    with tempfile.TemporaryDirectory() as folder:
        room = shutil.disk_usage(folder).free
        if room < 1.2 * found["bytes"]:
            found["error"] = (
                f"not measured: it takes {1.2 * found['bytes'] / 1e9:.0f} GB on the disk of temporary files (TMPDIR"
                f" moves that), and {room / 1e9:.0f} GB are free"
            )
            print(f"    {found['error']}", flush=True)
            return found
        for what in ("record", "compare"):
            side = clock.Side(_limited_side, what, folder, size)
            reply = side.answer(600)
            found[what] = reply if "error" in reply else side.call(7200)
            side.close()
            print(f"    {what}: {found[what]}", flush=True)
            if "error" in found[what]:
                break
    return found
