"""Train the zoo: `python -m repsim_nb.studies.zoo [names] [--out FOLDER]` ('make zoo').

The name of a model is its data set, its architecture and its seed: mnist-cnn-0. "untrained" is the same model before
its first step (the twin of the MNIST model of that seed); "shuffled" is trained to fit MNIST images
with permuted labels.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from repsim_nb.support.errors import unknown_name
from repsim_nb.support.files import shipped_folder

from .classifier import train
from .training import save

_EPOCHS = {"mlp": 8, "cnn": 5, "resnet": 5, "depthwise": 8, "vit": 14}
_RATES = {"mlp": 3e-3, "cnn": 4e-3, "resnet": 4e-3, "depthwise": 8e-3, "vit": 1.5e-3}


def _recipes(data: str, architecture: str, seeds: range, **changes: Any) -> dict[str, dict[str, Any]]:
    options = {
        "architecture": architecture,
        "data": data,
        "epochs": _EPOCHS[architecture],
        "learning_rate": _RATES[architecture],
    }
    return {f"{data}-{architecture}-{seed}": {**options, **changes, "seed": seed} for seed in seeds}


def _twins(prefix: str, recipes: dict[str, dict[str, Any]], **changes: Any) -> dict[str, dict[str, Any]]:
    return {name.replace("mnist", prefix, 1): {**recipe, **changes} for name, recipe in recipes.items()}


ZOO: dict[str, dict[str, Any]] = {
    **_recipes("mnist", "cnn", range(3)),
    **_recipes("mnist", "mlp", range(3)),
    **_recipes("mnist", "resnet", range(3)),
    **_recipes("mnist", "depthwise", range(2)),
    **_recipes("mnist", "vit", range(2)),
    **_recipes("fashion", "cnn", range(3), epochs=8),
    **_recipes("animals", "cnn", range(2), epochs=12),
    **_twins("untrained", _recipes("mnist", "cnn", range(3)), epochs=0),
    **_twins("untrained", _recipes("mnist", "mlp", range(1)), epochs=0),
    **_twins("untrained", _recipes("mnist", "resnet", range(1)), epochs=0),
    **_twins("untrained", _recipes("mnist", "vit", range(1)), epochs=0),
    **_twins("shuffled", _recipes("mnist", "cnn", range(1)), epochs=60, labels="shuffled"),
}


def build(name: str, out: Path) -> dict[str, Any]:
    """Train one model of the zoo and write it, card inside, to out/NAME.safetensors."""
    torch.set_num_threads(1)
    module, card = train(**ZOO[name])
    save(out / f"{name}.safetensors", name, module, card)
    return card


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m repsim_nb.studies.zoo", description="Train the models that ship with the package."
    )
    parser.add_argument("names", nargs="*", default=list(ZOO), help="which ones (all)")
    parser.add_argument(
        "--out", type=Path, default=shipped_folder("data") / "zoo", help="the folder to write to (%(default)s)"
    )
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in ZOO:
            parser.error(str(unknown_name("zoo model", name, ZOO)))
    start = time.perf_counter()
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(arguments.names))) as pool:
        for name, card in zip(
            arguments.names, pool.map(build, arguments.names, [arguments.out] * len(arguments.names)), strict=True
        ):
            print(
                f"{name:20} train {card['train_accuracy']:.3f}  test {card['test_accuracy']:.3f} "
                f" ({time.perf_counter() - start:.0f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
