"""The names and the folder of the models that ship with the package."""

from __future__ import annotations

from pathlib import Path

from repsim_nb.support.files import shipped_folder


def zoo_folder() -> Path:
    """Return the folder of the models that ship."""
    return shipped_folder("data") / "zoo"


def zoo_names() -> list[str]:
    """List the names of the models that ship with the package.

    Returns
    -------
    list of str
        `load_model("zoo:NAME")` loads one.

    Examples
    --------
    >>> from repsim_nb import models
    >>> models.zoo_names()[:2]
    ['animals-cnn-0', 'animals-cnn-1']
    """
    return sorted(path.stem for path in zoo_folder().glob("*.safetensors"))
