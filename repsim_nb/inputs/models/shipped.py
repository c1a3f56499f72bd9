"""The models that ship with the package, and those of installed packages, as tables and lists."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .checkpoints import read_checkpoint
from .model import tabulate_cards
from .packages import pretrained
from .shipped_names import zoo_folder, zoo_names


def zoo() -> pd.DataFrame:
    """List the models that ship with the package, one row each.

    Returns
    -------
    DataFrame
        Indexed by name. Columns: architecture, data and labels (of training), seed, epochs, learning_rate,
        train_accuracy, test_accuracy (fractions), parameters (their number).

    Examples
    --------
    >>> from repsim_nb import models
    >>> models.zoo().loc["mnist-cnn-0", ["architecture", "data"]].tolist()
    ['cnn', 'mnist']
    """
    columns = [
        "architecture",
        "data",
        "labels",
        "seed",
        "epochs",
        "learning_rate",
        "train_accuracy",
        "test_accuracy",
        "parameters",
    ]
    return tabulate_cards((name, read_checkpoint(zoo_folder() / f"{name}.safetensors")[1]) for name in zoo_names())[
        columns
    ].rename_axis("name")


def available(inputs: Any) -> list[str]:
    """List the specs of the installed models that take inputs of a kind.

    Parameters
    ----------
    inputs : list of str, or array (n, h, w) or (n, h, w, c)
        Sentences or pictures. Models of the zoo are listed for grey pictures of 28×28.

    Returns
    -------
    list of str
        Specs for `load_model`; empty for other inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from repsim_nb import models
    >>> models.available(np.zeros((2, 28, 28), np.uint8))[:2]
    ['zoo:animals-cnn-0', 'zoo:animals-cnn-1']
    """
    shape = getattr(inputs, "shape", None)
    kind = "pictures" if shape is not None and len(shape) in (3, 4) else "text" if isinstance(inputs, list) else None
    ours = [f"zoo:{name}" for name in zoo_names()] if shape is not None and shape[1:] == (28, 28) else []
    packages = pretrained()
    return ours + [f"pretrained:{name}" for name in packages.index[packages.installed & (packages.kind == kind)]]
