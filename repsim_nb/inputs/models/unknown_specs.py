"""The error for a string that names no model."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from repsim_nb.support.errors import join_names

from .folders import describe_other_folder
from .packages import PACKAGES
from .shipped_names import zoo_names
from .unsupported import describe_other_file

ENDINGS = "in .safetensors, .pt, .pth, .ckpt or .bin"


def explain_no_spec(spec: str, sources: Collection[str]) -> ValueError:
    """Return the error for a string without a colon.

    sources: the words that may stand before one.
    """
    if spec and Path(spec).is_dir() and (why := describe_other_folder(Path(spec))):
        return ValueError(why)
    if spec and (why := describe_other_file(Path(spec))):
        return ValueError(f"{why}.")
    if spec and Path(spec).is_dir():
        return ValueError(
            f"'{spec}' is a folder. If transformers saved it, give 'transformers:{spec}'. A checkpoint is a file that"
            f" ends {ENDINGS}."
        )
    if spec and (Path(spec).exists() or Path(spec).suffix or "/" in spec):
        return ValueError(
            f"a checkpoint must be a file that ends {ENDINGS}; got '{spec}'. To read a file with another name, give"
            f" 'checkpoint:{spec}'."
        )
    ours = [*(f"zoo:{name}" for name in zoo_names()), *(f"pretrained:{name}" for name in PACKAGES)]
    near = [f"{spec}:NAME"] if spec in sources else difflib.get_close_matches(spec, ours, n=3, cutoff=0.6)
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return ValueError(
        f"'{spec}' is no model.{meant} A spec is SOURCE:NAME, with SOURCE one of {join_names(sources)}:"
        " 'timm:resnet18', 'zoo:mnist-cnn-0' (models.zoo() and models.pretrained() list the models on this machine)."
        " For a model of your own: load_model(module, name=...)."
    )
