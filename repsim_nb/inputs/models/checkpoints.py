"""Read weights from files of safetensors, in one file or in shards, or of torch.save, with weights_only.

No code of a file ever runs.
"""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from repsim_nb.support.errors import as_clause, join_names
from repsim_nb.support.workers import SharedContext

from .state_dicts import choose_state_dict, hash_weights
from .unsupported import ARRAYS, TORCH_TAR, describe_other_file, is_zip

PICKLES = (".pkl", ".pickle", ".joblib")
INDEX = ".index.json"  # the end of the name of a file that lists the shards of a checkpoint
SHARD = re.compile(r"-\d+-of-\d+\.")


class Discarded:
    """A stand-in for a plain object that was saved next to the weights; it takes any arguments and drops them."""

    def __new__(cls, *_: Any, **__: Any) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Drop the state."""


def _make_empty(*_: Any) -> OrderedDict[Any, Any]:
    return OrderedDict()


# Settings that people save next to the weights, by the names under which a pickle asks for their classes. No code of
# these classes runs when the file is read: in place of each of them torch's reader calls `Discarded`, or creates an
# empty dictionary, which drop their arguments. It looks names up in its own list only and imports nothing. Any other
# name is refused, so a file cannot call a function of its choice.
_MODULES = {
    "argparse": ["Namespace"],
    "types": ["SimpleNamespace"],
    "typing": ["Any"],
    "datetime": ["datetime", "date", "timedelta"],
    "builtins": ["list", "dict", "tuple", "int", "float", "str", "bool", "range", "slice", "frozenset", "Ellipsis"],
    "numpy": ["dtype", "ndarray"],
    "omegaconf.dictconfig": ["DictConfig"],
    "omegaconf.listconfig": ["ListConfig"],
    "omegaconf.base": ["ContainerMetadata", "Metadata"],
    "omegaconf.nodes": [
        f"{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean", "Bytes", "Path", "Enum")
    ],
    "pathlib": ["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"],
    "pathlib._local": ["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"],
    "numpy.core.multiarray": ["scalar", "_reconstruct"],
    "numpy._core.multiarray": ["scalar", "_reconstruct"],
}


_PLAIN = [f"{module}.{name}" for module, names in _MODULES.items() for name in names]
_DICTS = [
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
    "fvcore.common.config.CfgNode",
    "ml_collections.config_dict.config_dict.ConfigDict",
    "easydict.EasyDict",
    "addict.addict.Dict",
    "munch.Munch",
]


_STAND_INS = [
    *((Discarded, name) for name in _PLAIN),
    *((OrderedDict, name) for name in _DICTS),
    (_make_empty, "collections.defaultdict"),
]


def _allow(allowed: list[Any]) -> None:
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(allowed)


@contextmanager
def _allow_stand_ins() -> Iterator[None]:
    """Put the stand-ins on torch's list of safe classes, as the only ones of their names.

    The list is one for the whole process. torch_geometric puts list, dict and defaultdict there, and torch takes
    either of two classes with one name.
    """
    names = {name for _, name in _STAND_INS}
    before = torch.serialization.get_safe_globals()
    same_name = [
        one for one in before if (one[1] if isinstance(one, tuple) else f"{one.__module__}.{one.__qualname__}") in names
    ]
    _allow([*(one for one in before if one not in same_name), *_STAND_INS])
    try:
        yield
    finally:
        _allow([*(one for one in torch.serialization.get_safe_globals() if one not in _STAND_INS), *same_name])


_stand_ins = SharedContext(_allow_stand_ins)


def read_checkpoint(file: Path, key: str | None = None) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """Read the weights of a file and its card, {} if it has none.

    file: also the index of a checkpoint in shards, or one of these shards; then all shards are read.
    key: the name of a state dict inside the file, or the begin of the names of one of several models in a state dict.
    Errors: FileNotFoundError; ValueError: damaged, refused, no state dict, several of them and no key.
    """
    if why := describe_other_file(file):
        raise ValueError(f"{why}.")
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint file {file.absolute()}.")
    index = _find_index(file)
    content, card = _read_content(file) if index is None else (_read_shards(index), {})
    weights = choose_state_dict(content, key, file)
    if any(map(_holds_discarded, weights.values())):
        raise ValueError(_explain_refusal(file))
    return weights, card


def name_checkpoint(file: Path) -> str:
    """Return the name of a model whose weights are in this file."""
    name = (_find_index(file) or file).name.removesuffix(INDEX)
    return Path(name.removesuffix(".tar") if name.endswith(TORCH_TAR) else name).stem


def _read_content(file: Path) -> tuple[Any, dict[str, Any]]:
    """Return the content of one file, and its card."""
    if file.stat().st_size == 0:
        raise ValueError(f"the file {file} is damaged: it is empty.")
    if file.suffix in PICKLES and not is_zip(file):  # torch.save writes a zip, whatever its name
        raise ValueError(_explain_refusal(file))
    return _read_safetensors(file) if file.suffix == ".safetensors" else (_read_torch(file), {})


def _explain_refusal(file: Path) -> str:
    what = "it is a pickle" if file.suffix in PICKLES else "it contains Python objects and not only tensors"
    objects: list[str] = []
    # only files in the present format list them; an error of a damaged file does not matter here
    with suppress(Exception), _stand_ins:
        objects = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    which = f" ({join_names(objects, 4)})" if objects else ""
    how = "pickle.load or joblib.load" if file.suffix in PICKLES else "torch.load(file, weights_only=False)"
    how = "MyModule.load_from_checkpoint(file) if Lightning wrote it" if file.suffix == ".ckpt" else how
    more = f". For a model of scikit-learn: {ARRAYS}" if file.suffix in PICKLES else ""
    return (
        f"the checkpoint {file} is refused: {what}{which}, so reading it could run code. If you trust it, open it"
        f" yourself, {how}. Then pass the module, load_model(module), or save the weights alone,"
        f" torch.save(module.state_dict(), 'mine.pt') or safetensors, and pass architecture={more}."
    )


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
            weights = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118  # it is no dict
        if "digest" in metadata and metadata["digest"] != hash_weights(weights):
            raise ValueError("the weights differ from those that were written")
        return weights, json.loads(metadata.get("card", "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(
            f"the file {file} is damaged or not in safetensors format ({as_clause(error)}). Nothing was read."
        ) from error


def _read_torch(file: Path) -> Any:
    try:
        return _load_torch(file)
    except pickle.UnpicklingError as error:
        with suppress(Exception), _stand_ins:
            return _load_torch(file)
        raise ValueError(_explain_refusal(file)) from error
    except Exception as error:  # damaged bytes can raise anything
        raise ValueError(
            f"the checkpoint {file} is damaged or was not written by torch.save ({as_clause(error)}). Nothing was read."
        ) from error


def _load_torch(file: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickles; a refusal is reported in an error
        return torch.load(file, map_location="cpu", weights_only=True)


def _find_index(file: Path) -> Path | None:
    """Return the index of a checkpoint in shards: this file, or one that lists it; None if it is no shard."""
    if file.name.endswith(INDEX):
        return file
    indexes = sorted(file.parent.glob(f"*{INDEX}")) if SHARD.search(file.name) else ()
    return next((index for index in indexes if file.name in _read_index(index).values()), None)


def _read_index(index: Path) -> dict[str, str]:
    """Return the file of each weight, as listed in an index."""
    try:
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not files or not all(isinstance(name, str) and Path(name).name == name for name in files.values()):
            raise ValueError("its weight_map must give, for each weight, the name of a file in the same folder")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        what = "it has no 'weight_map'" if isinstance(error, KeyError) else error
        raise ValueError(f"the index {index} is damaged or lists no shards ({what}). Nothing was read.") from error
    return files


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Read the weights in all shards of an index.

    ValueError names a shard that is missing, damaged, or not the one that was listed.
    """
    listing = _read_index(index)
    shards = sorted(set(listing.values()))
    missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    if missing:
        raise ValueError(
            f"the index {index} lists {len(shards)} shards, and its folder lacks {join_names(missing, 4)}. Nothing was"
            " read."
        )
    weights: dict[str, Tensor] = {}
    for shard in shards:
        file = index.parent / shard
        content = choose_state_dict(_read_content(file)[0], None, file)
        if odd := {name for name, place in listing.items() if place == shard} ^ content.keys():
            raise ValueError(
                f"the shard {file} is not the one that {index.name} lists: only one of them has"
                f" {join_names(sorted(odd), 4)}. Nothing was read."
            )
        weights.update(content)
    return weights


def _holds_discarded(value: Any) -> bool:
    """Return whether a stand-in is inside: a module would get another object than it saved."""
    if isinstance(value, (Mapping, list, tuple)):
        return any(map(_holds_discarded, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, Discarded)
