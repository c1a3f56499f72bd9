"""Weights in a file: safetensors, in one file or in shards, or what torch.save wrote, read with weights_only.

No code of a file ever runs.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from repsim_nb.support.errors import join_names, unknown_name
from repsim_nb.support.workers import SharedContext

from .unsupported import ARRAYS, TORCH_TAR, other_file

PICKLES = (".pkl", ".pickle", ".joblib")
INDEX = ".index.json"  # how the name of a file ends that lists the shards of a checkpoint
SHARD = re.compile(r"-\d+-of-\d+\.")
WRAPPERS = {
    "_orig_mod",
    "_checkpoint_wrapped_module",
    "_fsdp_wrapped_module",
}  # parts of names that torch.compile and others put in
ASIDE = {
    "hyper_parameters",
    "datamodule_hyper_parameters",
    "callbacks",
    "loops",
}  # what Lightning writes next to the weights
NO_TENSORS = {
    "_extra_state",
    "_packed_params",
}  # parts of names under which modules, also quantized ones, save other things


class Aside:
    """What is put in place of a plain object that was saved next to the weights: it takes whatever it is given and
    keeps nothing.
    """

    def __new__(cls, *_: Any, **__: Any) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Forget it."""


def _nothing(*_: Any) -> OrderedDict[Any, Any]:
    return OrderedDict()


# Settings that people save next to the weights, by the names under which a pickle asks for their classes. Reading such
# a file runs no code
# of these classes: in place of each of them torch's reader calls `Aside`, or makes an empty dictionary, which drop what
# they are given. It
# looks names up in its own list only and imports nothing. Any other name is refused as before, so a file cannot bring a
# function of its choice.
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
    *((Aside, name) for name in _PLAIN),
    *((OrderedDict, name) for name in _DICTS),
    (_nothing, "collections.defaultdict"),
]


def _allow(allowed: list[Any]) -> None:
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(allowed)


@contextmanager
def _standing_in() -> Iterator[None]:
    """The stand-ins on torch's list, which is one for the whole process, and alone under their names: torch_geometric
    puts list, dict and
    defaultdict there, and which of two classes of one name torch takes is left to chance."""
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


_plain_objects = SharedContext(_standing_in)


def read(file: Path, key: str | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of a file and its card, {} if it has none.

    file: also the index of a checkpoint in shards, or one of these shards; then all shards are read.
    key: the name of a state dict inside the file, or how the names of one of several models in a state dict begin.
    Errors: FileNotFoundError; ValueError: damaged, refused, no state dict, several of them and no key.
    """
    if why := other_file(file):
        raise ValueError(why)
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint file {file.absolute()}")
    index = _index_of(file)
    content, card = _content(file) if index is None else (_sharded(index), {})
    weights = _chosen(content, key, file)
    if any(map(_holds_aside, weights.values())):
        raise ValueError(_refused(file))
    return weights, card


def name_of(file: Path) -> str:
    """The name of a model whose weights are in this file."""
    name = (_index_of(file) or file).name.removesuffix(INDEX)
    return Path(name.removesuffix(".tar") if name.endswith(TORCH_TAR) else name).stem


def _content(file: Path) -> tuple[Any, dict[str, Any]]:
    """What is in one file, and its card."""
    if file.stat().st_size == 0:
        raise ValueError(f"the file {file} is damaged: it is empty")
    if file.suffix in PICKLES and not zipfile.is_zipfile(file):  # torch.save writes a zip, whatever its name
        raise ValueError(_refused(file))
    return _read_safetensors(file) if file.suffix == ".safetensors" else (_read_torch(file), {})


def digest(weights: Mapping[str, Tensor]) -> str:
    """What a file's weights are held against: a hash of their names, types, shapes and bytes."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        whole.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()


def _refused(file: Path) -> str:
    what = "it is a pickle" if file.suffix in PICKLES else "it holds Python objects and not only tensors"
    objects: list[str] = []
    with (
        suppress(Exception),
        _plain_objects,
    ):  # only a file in today's format says it; what a damaged one holds does not matter here
        objects = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    which = f" ({join_names(objects, 4)})" if objects else ""
    how = "pickle.load or joblib.load" if file.suffix in PICKLES else "torch.load(file, weights_only=False)"
    how = "MyModule.load_from_checkpoint(file) if Lightning wrote it" if file.suffix == ".ckpt" else how
    more = f". For a model of scikit-learn: {ARRAYS}" if file.suffix in PICKLES else ""
    return (
        f"the checkpoint {file} is refused: {what}{which}, so reading it could run code. Where you trust it, open it"
        f" yourself, {how}. Then pass the module, load_model(module), or save the weights alone,"
        f" torch.save(module.state_dict(), 'mine.pt') or safetensors, and pass architecture={more}"
    )


def _read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(file, framework="pt") as content:
            said = content.metadata() or {}
            weights = {key: content.get_tensor(key) for key in content.keys()}
        if "digest" in said and said["digest"] != digest(weights):
            raise ValueError("the weights are not those that were written")
        return weights, json.loads(said.get("card", "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(
            f"the file {file} is damaged or not in safetensors format ({error}): nothing of it was read"
        ) from error


def _read_torch(file: Path) -> Any:
    try:
        return _loaded(file)
    except pickle.UnpicklingError as error:
        with suppress(Exception), _plain_objects:
            return _loaded(file)
        raise ValueError(_refused(file)) from error
    except Exception as error:  # of damaged bytes anything can come
        raise ValueError(
            f"the checkpoint {file} is damaged or was not written by torch.save ({error}): nothing of it was read"
        ) from error


def _loaded(file: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickles: what is refused is said elsewhere
        return torch.load(file, map_location="cpu", weights_only=True)


# -- shards
# ------------------------------------------------------------------------------------------------------------------


def _index_of(file: Path) -> Path | None:
    """The index of a checkpoint in shards: this file, or one next to it that lists this file; None if it is no
    shard.
    """
    if file.name.endswith(INDEX):
        return file
    beside = sorted(file.parent.glob(f"*{INDEX}")) if SHARD.search(file.name) else ()
    return next((index for index in beside if file.name in _listing(index).values()), None)


def _listing(index: Path) -> dict[str, str]:
    """The file that holds each weight, as an index says."""
    try:
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        if not files or not all(isinstance(name, str) and Path(name).name == name for name in files.values()):
            raise ValueError("its weight_map must give, for each weight, the name of a file in the same folder")
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        what = "it has no 'weight_map'" if isinstance(error, KeyError) else error
        raise ValueError(f"the index {index} is damaged or lists no shards ({what}): nothing was read") from error
    return files


def _sharded(index: Path) -> dict[str, Tensor]:
    """The weights in all shards of an index.

    ValueError names a shard that is missing, damaged, or not the one that was listed.
    """
    listing = _listing(index)
    shards = sorted(set(listing.values()))
    missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    if missing:
        raise ValueError(
            f"the index {index} lists {len(shards)} shards, and its folder lacks {join_names(missing, 4)}: nothing was read"
        )
    weights: dict[str, Tensor] = {}
    for shard in shards:
        file = index.parent / shard
        content = _chosen(_content(file)[0], None, file)
        if odd := {name for name, place in listing.items() if place == shard} ^ content.keys():
            raise ValueError(
                f"the shard {file} is not the one that {index.name} lists: only one of them has "
                f"{join_names(sorted(odd), 4)}. Nothing was read"
            )
        weights.update(content)
    return weights


# -- the state dict in a file
# ------------------------------------------------------------------------------------------------


def _chosen(content: Any, key: str | None, file: Path) -> Mapping[str, Tensor]:
    """The state dict that is meant: the only one, or the one that `key` names."""
    every = dict(_state_dicts(content))
    found = {name: weights for name, weights in every.items() if any(map(_is_weight, weights.values()))} or every
    if not found:
        inside = f" with {join_names(content, 6)}" if isinstance(content, Mapping) and content else ""
        raise ValueError(
            f"the checkpoint {file} is not a state dict (names -> tensors), and none is inside; "
            f"it holds {type(content).__name__}{inside}"
        )
    first, *others = found.values()
    if key is None and not others:
        return first
    if key is None:
        raise ValueError(
            f"the checkpoint {file} has {len(found)} state dicts inside, {join_names(found)}: "
            f"say which one, load_model(..., key='{next(iter(found))}')"
        )
    if key in every:
        return every[key]
    if not others and any(name.startswith(f"{key}.") for name in first):
        return _below(first, f"{key}.")
    begins = () if others else dict.fromkeys(name.partition(".")[0] for name in first)
    raise unknown_name(f"state dict in the checkpoint {file}:", key, [name for name in (*found, *begins) if name])


def _state_dicts(content: Any, name: str = "") -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """(name in the file, state dict) for each state dict of a model, "" for the whole file.

    What an optimizer saves is none.
    """
    if isinstance(content, Mapping) and _is_state_dict(content):
        yield name, content
    elif isinstance(content, (Mapping, list, tuple)) and "param_groups" not in content:
        for part, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            if part not in ASIDE:
                yield from _state_dicts(value, f"{name}.{part}" if name else str(part))


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    tensors = {name: isinstance(value, Tensor) for name, value in content.items()}
    known = all(
        isinstance(name, str) and (is_one or NO_TENSORS & set(name.split("."))) for name, is_one in tensors.items()
    )
    return known and any(tensors.values())


def _holds_aside(value: Any) -> bool:
    """Whether an object that was not read stands in it: a module would be given another one than it saved."""
    if isinstance(value, (Mapping, list, tuple)):
        return any(map(_holds_aside, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, Aside)


def _is_weight(value: Any) -> bool:
    """Whether it cannot be a loss, a count or a random state, which are saved next to weights."""
    return not isinstance(value, Tensor) or (
        value.ndim > 0 and (value.is_floating_point() or value.is_complex() or value.is_quantized)
    )


def _below(weights: Mapping[str, Tensor], begin: str) -> Mapping[str, Tensor]:
    """The weights whose names begin so, without the beginning."""
    return _renamed(weights, lambda path: f"{path}."[len(begin) : -1] if f"{path}.".startswith(begin) else None)


def _renamed(weights: Mapping[str, Tensor], rename: Callable[[str], str | None]) -> Mapping[str, Tensor]:
    """Weights under other names (None leaves them out), and with them the versions of modules that torch keeps in
    `_metadata`.
    """
    renamed = OrderedDict((new, value) for name, value in weights.items() if (new := rename(name)))
    if hasattr(weights, "_metadata"):
        paths = ((rename(path), about) for path, about in weights._metadata.items())
        renamed._metadata = OrderedDict((path, about) for path, about in paths if path is not None)
    return renamed


# -- into a module
# -----------------------------------------------------------------------------------------------------------


def fill(module: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Load every weight into its place; a weight too many, too few or of another shape is an error.

    torch's `load_state_dict` decides, with all hooks of the module. What it misses is forgiven only if that cannot
    change an output: a weight that shares its memory with one that was loaded, and the number of batches that a batch
    normalization has seen. What it finds besides is forgiven if the module has that buffer, with these values, and does
    not save it.
    """
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise ValueError(
            f"the architecture {type(module).__name__} is on the device 'meta', where weights have no values: "
            "make it on the CPU"
        )
    weights = _fitting(weights, module)
    missing: list[str] = []
    besides: list[str] = []

    def note(_: nn.Module, keys: Any) -> None:
        missing[:], besides[:] = keys.missing_keys, keys.unexpected_keys

    trouble, hook = "", module.register_load_state_dict_post_hook(note)
    try:
        module.load_state_dict(weights, strict=False)
    except Exception as error:  # hooks can raise anything
        trouble = " ".join(str(error).split()) or type(error).__name__
    finally:
        hook.remove()
    own = {name: value for name, value in module.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    other = [name for name in own if name in weights and f"size mismatch for {name}:" in trouble]
    problems = {
        "it lacks": [name for name in missing if not _is_harmless(name, module, own, own.keys() - set(missing))],
        "it has besides": [name for name in besides if not _has_buffer(module, name, weights.get(name))],
        "other shapes:": [f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}" for name in other],
        "other values under names that are one tensor here:": _torn(own, weights),
        "torch said:": [trouble] if trouble and not other else [],
    }
    if any(problems.values()):
        said = "; ".join(f"{word} {join_names(names, 4)}" for word, names in problems.items() if names)
        raise ValueError(f"the checkpoint {file} does not fit {type(module).__name__}: {said}")


def _fitting(weights: Mapping[str, Tensor], module: nn.Module) -> Mapping[str, Tensor]:
    """The weights without what wrappers put into all names ("module.", "_orig_mod.", "model."), if more of the names
    fit without it.
    """
    own, owners = set(module.state_dict()), {name for name, _ in module.named_modules(remove_duplicate=False)}

    def fit(
        names: Mapping[str, Tensor],
    ) -> tuple[int, int]:  # owners too: hooks can change the last part, as from old to new weight_norm
        return sum(name in own for name in names), sum(name.rpartition(".")[0] in owners for name in names)

    plain = _renamed(weights, lambda path: ".".join(part for part in path.split(".") if part not in WRAPPERS))
    return max(
        (*_stripped(weights), *(_stripped(plain) if len(plain) == len(weights) else ())), key=fit
    )  # the first of the best


def _stripped(weights: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """The weights as they are, and without the first part of their names as long as all share it."""
    while True:
        yield weights
        names = [name for name in weights if name != "n_averaged"]  # AveragedModel puts it next to "module."
        begins = {name.partition(".")[0] for name in names}
        if (
            len(begins) != 1
            or not all("." in name for name in names)
            or (len(names) < len(weights) and begins != {"module"})
        ):
            return
        weights = _below(weights, f"{begins.pop()}.")


def _is_harmless(name: str, module: nn.Module, own: Mapping[str, Tensor], loaded: set[str]) -> bool:
    """Whether a weight that the file lacks cannot change an output."""
    owner, _, last = name.rpartition(".")
    if last == "num_batches_tracked" and isinstance(
        dict(module.named_modules(remove_duplicate=False)).get(owner), _NormBase
    ):
        return True  # it counts, and only in training
    return name in own and any(_covers(own[other], own[name]) for other in loaded)


def _covers(whole: Tensor, part: Tensor) -> bool:
    """Whether each value of one tensor lies in the memory of another, and this one fills all of its memory."""
    if any(nn.parameter.is_lazy(t) or t.layout != torch.strided or t.numel() == 0 for t in (whole, part)):
        return False
    (start, end), (first, last) = _span(whole), _span(part)
    dense = whole.permute(sorted(range(whole.ndim), key=whole.stride, reverse=True)).is_contiguous()
    return dense and whole.device == part.device and start <= first and last <= end


def _span(tensor: Tensor) -> tuple[int, int]:
    """Where the first value of a tensor begins, and where its last one ends."""
    values = 1 + sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + values * tensor.element_size()


def _has_buffer(module: nn.Module, name: str, value: Any) -> bool:
    buffer = dict(module.named_buffers(remove_duplicate=False)).get(name)
    if buffer is None or not isinstance(value, Tensor) or buffer.shape != value.shape:
        return False
    return torch.equal(buffer, value.to(buffer)) and torch.equal(value, buffer.to(value))


def _torn(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Pairs of names that are one tensor in the module and have different values in the file; only the last would be in
    the module.
    """
    first: dict[Any, str] = {}
    torn = []
    for name, value in own.items():
        if (
            isinstance(weights.get(name), Tensor)
            and not nn.parameter.is_lazy(value)
            and value.layout == torch.strided
            and value.numel()
        ):
            other = first.setdefault((value.data_ptr(), value.shape, value.stride()), name)
            a, b = (weights[which].to(value.dtype) for which in (other, name))
            if other != name and not torch.equal(a, b) and digest({"": a}) != digest({"": b}):
                torn.append(f"{other} and {name}")
    return torn


def unwrapped(module: nn.Module) -> nn.Module:
    """The network itself: out of nn.DataParallel, DistributedDataParallel and torch.compile, which put a prefix before
    all names.
    """
    while True:
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module
