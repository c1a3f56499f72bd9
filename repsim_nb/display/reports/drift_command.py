"""`python -m repsim_nb drift OLD NEW DATA`: a table, a page and an exit code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repsim_nb.inputs.datasets import Dataset
    from repsim_nb.results.releases import Drift

NOT_CARRIED_OUT = 2  # also argparse's code for a wrong call
CODES = """exit codes:
  0  same: for every layer the lower end of the interval is at or above the threshold
  1  changed: for one layer or more the upper end is below the threshold, or it is constant in one release only
  2  nothing was compared: a wrong call, an unknown model, data that could not be read
  3  undecided: no layer changed, but an interval contains the threshold, or a layer has no partner"""


def main(arguments: list[str]) -> int:
    """Run the command, and return the exit code; an error of any kind is 2, so that it is not taken for a change."""
    try:
        asked = _parser().parse_args(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        found = _compare(asked)
        print(found)
        out = Path(asked.out).expanduser()
        out.mkdir(parents=True, exist_ok=True)
        saved = found.save(out / "drift.json")
    except Exception as error:
        print(f"drift: {str(error) or type(error).__name__}", file=sys.stderr)
        return NOT_CARRIED_OUT
    print(f"\n{saved}")
    if not asked.no_page:
        _write_page(out, saved)
    return found.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m repsim_nb drift",
        description="Did a new release of a model change its representations? Prints a table with a verdict on each"
        " layer, writes one HTML page, and returns an exit code.",
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("old", metavar="OLD", help="the old release, as rs.load_model takes it: zoo:NAME, transformers:FOLDER, a file")
    add("new", metavar="NEW", help="the new release")
    add("data", metavar="DATA", help="a data set (mnist, mnist/train), a folder of images, .npy, or .txt of sentences")
    add("--measure", nargs="+", action="extend", metavar="NAME", help="similarities (cka_debiased)")
    add("--at-least", type=float, default=0.98, metavar="VALUE", help="the threshold (0.98)")
    add("--layers", nargs="+", action="extend", metavar="LAYER", help="names, patterns, numbers (the default layers)")
    add("--rename", nargs="+", action="extend", metavar="OLD=NEW", help="layers with another name in the new release")
    add("--n", type=int, default=500, metavar="N", help="the number of samples, drawn at random (500)")
    add("--level", type=float, default=0.95, help="the level of all intervals together (0.95)")
    add("--pool", default="flatten", help="how the output of a layer becomes rows (flatten)")
    add("--architecture", help="the architecture of files that contain weights alone: a name or a spec of load_model")
    add("--weights", choices=("pretrained", "random"), help="for timm: and torchvision:")
    add("--seed", type=int, default=0, help="draws the samples, and the parts of the intervals (0)")
    add("--out", default="drift", metavar="FOLDER", help="where drift.json and the page are written (drift)")
    add("--no-page", action="store_true", help="write no HTML page")
    return parser


def _compare(asked: argparse.Namespace) -> Drift:
    """Load both models and the data, and compare them."""
    from repsim_nb.results.releases import drift  # torch, and so the models, are heavy

    rename = {}
    for word in asked.rename or []:
        before, equals, after = word.partition("=")
        if not (before and equals and after):
            raise ValueError(f"--rename takes OLD=NEW, such as fc=head; got '{word}'.")
        rename[before] = after
    old, new = (_load(spec, asked) for spec in (asked.old, asked.new))
    return drift(
        old,
        new,
        read_data(asked.data, asked.n, asked.seed),
        [int(layer) if layer.lstrip("-").isdigit() else layer for layer in asked.layers] if asked.layers else None,
        measure=asked.measure or "cka_debiased",
        at_least=asked.at_least,
        rename=rename,
        pool=asked.pool,
        level=asked.level,
        seed=asked.seed,
        progress=sys.stderr.isatty(),
    )


def _load(spec: str, asked: argparse.Namespace) -> Any:
    """Load a model, with the options that its kind of spec takes."""
    from repsim_nb.inputs.models import load_model
    from repsim_nb.inputs.models.sources import FILES

    options = {}
    if asked.architecture and (spec.startswith("checkpoint:") or spec.endswith(FILES)):
        options["architecture"] = asked.architecture
    if asked.weights and spec.startswith(("timm:", "torchvision:", "transformers:")):
        options["weights"] = asked.weights
    return load_model(spec, **options)


def read_data(text: str, n: int, seed: int) -> Dataset:
    """Return a data set by its name (with a split), a folder of images, or a file of arrays or sentences; n samples.

    All samples if there are fewer than n.
    """
    import numpy as np

    from repsim_nb.inputs.datasets import DATASETS, Dataset, load_dataset
    from repsim_nb.inputs.datasets.sources import random_subset
    from repsim_nb.support.errors import unknown_name
    from repsim_nb.support.seeds import check_seed
    from repsim_nb.support.validation import check_integer

    check_integer(n, "n", minimum=1)
    check_seed(seed)
    name, _, split = text.partition("/")
    path = Path(text).expanduser()
    if name in DATASETS and (not split or not path.exists()):
        whole = load_dataset(name, split or "test")
    elif path.is_dir():
        whole = Dataset(path.name, str(path))
    elif path.is_file() and path.suffix == ".npy":
        whole = Dataset(path.stem, np.load(path, allow_pickle=False))
    elif path.is_file() and path.suffix == ".txt":
        whole = Dataset(path.stem, [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()])
    else:
        hint = "Or give a folder of images, an array in a .npy file, or sentences in a .txt file, one a line."
        raise unknown_name("data set", text, DATASETS, hint)
    return whole if n >= len(whole) else random_subset(whole, n, seed)


def _write_page(out: Path, saved: Path) -> None:
    """Write the page, or the reason why there is none; the exit code is that of the verdict either way."""
    from .running import run

    try:
        print(run("report_drift", out, saved=str(saved.resolve())))
    except (ModuleNotFoundError, RuntimeError, OSError, ValueError) as error:
        print(f"drift: the page could not be written: {error}", file=sys.stderr)
