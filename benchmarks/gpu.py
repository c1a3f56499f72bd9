"""The same numbers and the speed on an accelerator: `python -m benchmarks.gpu [--device cuda] [--fast]` writes GPU.md.

Values on the device are compared with those of the processor; tables and models with pytorch-cka on the same device, if
it is installed; nuclear norms with torch's batched singular values. Less than eight minutes on a large card. Without a
card it runs on the processor: `--device cpu --fast` takes a minute.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import repsim_nb as rs
from repsim_nb.measures.polar import polar_nuclear_norms

from . import data

PAGE = Path(__file__).with_name("GPU.md")
TOLERANCE = 1e-5
TABLE = {"count": 24, "n": 2000, "p": 768}
MODELS = {"n": 10_000, "width": 192, "batch": 250}
NORMS = {"number": 64, "p": 768}
FAST = {
    "table": {"count": 4, "n": 200, "p": 64},
    "models": {"n": 200, "width": 16, "batch": 50},
    "norms": {"number": 4, "p": 96},
}
LEAST = {"table": 2.0, "models": 2.0, "norms": 5.0}  # times faster than the other side, on a card
ROWS = {
    "table": "Debiased CKA, all pairs of {count} × ({n}, {p}), next to pytorch-cka",
    "models": "Minibatch CKA of two transformers of 12 blocks, n = {n}, width {width}, next to pytorch-cka",
    "norms": "Nuclear norms of {number} matrices ({p}, {p}), next to torch.linalg.svdvals",
}


class Patches(nn.Module):
    """Images (n, 1, 28, 28) as 16 tokens of 7 × 7 pixels, with a place each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project, self.places = nn.Conv2d(1, width, 7, 7), nn.Parameter(torch.randn(16, width) / 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(x).flatten(2).mT + self.places


def transformer(seed: int, width: int) -> data.Net:
    """Return an untrained transformer of 12 blocks with the layers of `data.LAYERS`."""
    torch.manual_seed(seed)
    blocks: list[nn.Module] = [
        nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        for _ in data.LAYERS
    ]
    return data.Net([nn.Sequential(Patches(width), blocks[0]), *blocks[1:]]).eval()


def timed(call: Callable[[], Any], device: str, times: int = 3) -> tuple[Any, float]:
    """Return what it returns, and the median of its seconds after one call that does not count."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        value = call()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return value, statistics.median(seconds[1:])


def differences(device: str) -> dict[str, float]:
    """Return the largest difference between this device and the processor, for each measure and for a stream."""
    given = data.activations(3, 120, 40)
    functional = {label: np.abs(x[:, :10]) for label, x in given.items()}
    found = {}
    for name, measure in rs.measures.ALL.items():
        xs = functional if measure.compares == "outputs" else given
        here = rs.compare(measure, xs, on_undefined="mask").values.to_numpy()
        there = rs.compare(measure, xs, on_undefined="mask", device=device).values.to_numpy()
        found[name] = float(np.nanmax(np.abs(there - here)))
        if not np.array_equal(np.isnan(here), np.isnan(there)):
            found[name] = float("inf")
    sides, images = [rs.load_model(transformer(seed, 16), name=f"model {seed}") for seed in (0, 1)], data.pictures(100)
    streams = [
        rs.stream(*sides, images, data.LAYERS, batch_size=25, progress=False, device=one).values
        for one in ("cpu", device)
    ]
    found["stream"] = float(np.abs(streams[0].to_numpy() - streams[1].to_numpy()).max())
    return found


def time_table(device: str, count: int, n: int, p: int) -> tuple[float, float | None, float]:
    """Return our seconds, those of pytorch-cka, and the largest difference."""
    xs = {label: torch.from_numpy(x).to(device) for label, x in data.activations(count, n, p).items()}
    ours, seconds = timed(lambda: rs.compare("cka_debiased", xs, device=device).values.to_numpy(), device)
    try:
        from cka import cka_from_features
    except ImportError:
        return seconds, None, float("nan")
    theirs, other = timed(lambda: cka_from_features(list(xs.values()), list(xs.values())), device)
    return seconds, other, float(np.abs(theirs.double().cpu().numpy() - ours).max())


def time_models(device: str, n: int, width: int, batch: int) -> tuple[float, float | None, float]:
    """Return our seconds, those of pytorch-cka, and the largest difference; forward passes included."""
    a, b = (transformer(seed, width).to(device) for seed in (0, 1))
    images, sides = data.pictures(n), [rs.load_model(model, name=name) for model, name in ((a, "a"), (b, "b"))]

    def stream() -> np.ndarray:
        options = {"batch_size": batch, "progress": False, "device": device}
        return rs.stream(*sides, images, data.LAYERS, **options).values.to_numpy()

    ours, seconds = timed(stream, device, times=1)
    try:
        from cka import compute_cka
    except ImportError:
        return seconds, None, float("nan")
    from .peers import loader

    options = {"layers": list(data.LAYERS), "device": device, "progress": False}
    theirs, other = timed(lambda: compute_cka(a, b, loader(images, batch), **options)[0], device, times=1)
    return seconds, other, float(np.abs(theirs.double().cpu().numpy() - ours).max())


def time_norms(device: str, number: int, p: int) -> tuple[float, float | None, float]:
    """Return our seconds, those of torch's singular values, and the largest relative difference."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(number, 2 * p, p, generator=generator, dtype=torch.float64).to(device) for _ in "xy")
    products = (x.mT @ (x + y)).to(torch.float32)
    ours, seconds = timed(lambda: polar_nuclear_norms(products), device)
    _, other = timed(lambda: torch.linalg.svdvals(products).sum(-1), device)
    exact = torch.linalg.svdvals(products.to(torch.float64)).sum(-1)
    return seconds, other, float(((ours - exact) / exact).abs().max())


def write(page: Path, command: str, name: str, wrong: dict[str, float], rows: list[tuple[str, str, Any]]) -> str:
    """Write the page; return it."""
    lines = [
        "# On an accelerator",
        "",
        f"`{command}` on {name}; torch {torch.__version__}, Python {platform.python_version()}.",
        "",
    ]
    if "--device cpu" in command:
        lines += ["**Not run on a card.** These are the figures of a processor, which show that the script runs.", ""]
        lines += [
            "Nothing about a card follows from them: at small sizes, most of the time is spent around the products.",
            "",
        ]
    worst = max(wrong, key=lambda one: wrong[one])
    lines += [
        f"Values on the device differ from those of the processor by {wrong[worst]:.1e} at most ({worst}); {len(wrong)}"
        f" rows: every measure, and a stream. Allowed: {TOLERANCE:.0e}.",
        "",
        "| what | seconds | other side | times faster | on a card, at least | difference |",
        "|---|---|---|---|---|---|",
    ]
    for key, title, (ours, theirs, difference) in rows:
        other = "not installed" if theirs is None else f"{theirs:.3f}"
        faster = "" if theirs is None else f"{theirs / ours:.1f}"
        apart = "" if np.isnan(difference) else f"{difference:.1e}"
        lines.append(f"| {title} | {ours:.3f} | {other} | {faster} | {LEAST[key]:g} | {apart} |")
    text = "\n".join([*lines, ""])
    page.write_text(text)
    return text


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the page, and return 1 if a value is wrong or, on a card, a row is too slow."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--fast", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write")
    given = parser.parse_args(arguments)
    sizes = FAST if given.fast else {"table": TABLE, "models": MODELS, "norms": NORMS}
    name = (
        f"a {platform.machine()} processor, {torch.get_num_threads()} thread"
        if given.device == "cpu"
        else torch.cuda.get_device_name()
    )
    wrong = differences(given.device)
    calls = {"table": time_table, "models": time_models, "norms": time_norms}
    rows = [(key, ROWS[key].format(**sizes[key]), call(given.device, **sizes[key])) for key, call in calls.items()]
    command = f"python -m benchmarks.gpu --device {given.device}" + (" --fast" if given.fast else "")
    print(write(given.out, command, name, wrong, rows))
    slow = given.device != "cpu" and not given.fast
    late = [key for key, _, (ours, theirs, _) in rows if slow and theirs and theirs / ours < LEAST[key]]
    bad = {key: value for key, value in wrong.items() if not value <= TOLERANCE}
    for key, value in bad.items():
        print(f"wrong: {key} differs by {value:.1e}")
    for key in late:
        print(f"too slow: {ROWS[key].format(**sizes[key])}")
    return 1 if bad or late else 0


if __name__ == "__main__":
    raise SystemExit(main())
