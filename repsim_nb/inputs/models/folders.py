"""Find out what a folder contains: a model of transformers or sentence_transformers, an adapter, or other things."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from repsim_nb.support.errors import join_names

from .adapters import ADAPTER, load_adapter
from .huggingface import is_local, load_transformers
from .libraries import read_settings
from .model import Model
from .sentences import MODULES, load_sentences
from .unsupported import describe_other_file

CONFIG = "config.json"
SETTINGS = (".json", ".yaml", ".yml", ".toml")  # files without weights
CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def load_folder(
    name: str, *, weights: str | None = None, seed: int = 0, options: Mapping[str, Any] | None = None
) -> Model:
    """Load a model of transformers from a folder, by a kind of model, or from the hub; see `load_transformers`.

    A folder of sentence_transformers gives all its modules, and one with an adapter of peft the base model with the
    adapter in it.
    """
    folder, spec, options = Path(name).expanduser(), f"transformers:{name}", dict(options or {})
    if (folder / MODULES).is_file():
        return load_sentences(folder, spec, weights=weights, seed=seed, options=options)
    if (folder / ADAPTER).is_file():
        return load_adapter(folder, spec, weights=weights, options=options)
    if is_local(name, weights) and (why := describe_other_folder(folder)):
        raise ValueError(why)
    return load_transformers(name, weights=weights, seed=seed, options=options)


def describe_other_folder(folder: Path) -> str:
    """Return what a folder without a model of transformers contains and what to do with it; "" if it has one."""
    config = _read_settings(folder / CONFIG)
    if "model_type" in config:
        return ""
    if "_class_name" in config:
        return (
            f"the folder {folder} contains a {config['_class_name']} of diffusers. Load it there, module ="
            f" diffusers.{config['_class_name']}.from_pretrained('{folder}'), and pass it, load_model(module)."
        )
    if "architecture" in config:
        files = [*sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.bin")), folder / "model.safetensors"]
        classes = config.get("num_classes")
        options = f", options={{'num_classes': {classes}}}" if isinstance(classes, int) else ""
        return (
            f"the folder {folder} contains a model of timm: load_model('{files[0]}',"
            f" architecture='timm:{config['architecture']}'{options})."
        )
    if (folder / CONFIG).is_file():
        return ""  # an error in it is reported when it is loaded
    found = next(
        filter(
            None,
            (
                look(folder)
                for look in (
                    _describe_checkpoints,
                    _describe_pipeline,
                    _describe_parts,
                    _describe_cache,
                    _describe_lightning,
                    _describe_files,
                    _describe_subfolders,
                )
            ),
        ),
        "",
    )
    return (
        f"the folder {folder} has no config.json, so it was not saved by transformers"
        f" (model.save_pretrained(folder)).{f' {found}.' if found else ''}"
    )


def describe_folder_of(file: Path) -> str:
    """Return what to do with a file of weights if its folder names their model; "" if it does not."""
    folder = file.parent
    config = _read_settings(folder / CONFIG)
    if (folder / ADAPTER).is_file() or (folder / MODULES).is_file() or "model_type" in config:
        return f"load its folder, load_model('transformers:{folder}'), which names the model that they are for."
    return describe_other_folder(folder) if "architecture" in config else ""


def _read_settings(file: Path) -> dict[str, Any]:
    """Read a configuration, {} if there is none or it is damaged, which is reported when it is loaded."""
    with suppress(ValueError):
        content = read_settings(file)
        return content if isinstance(content, dict) else {}
    return {}


def _list_specs(folders: Iterable[Path]) -> str:
    return join_names((f"transformers:{folder}" for folder in folders), 4)


def _describe_checkpoints(folder: Path) -> str:
    """Describe a folder of a Trainer: its checkpoints, newest first."""
    steps = {
        int(found[1]): inside
        for inside in folder.iterdir()
        if inside.is_dir() and (found := CHECKPOINT.fullmatch(inside.name))
    }
    newest = [steps[step] for step in sorted(steps, reverse=True)]
    loadable = [inside for inside in newest if any((inside / file).is_file() for file in (CONFIG, ADAPTER, MODULES))]
    if loadable:
        return f"It contains the checkpoints of a Trainer, newest first: {_list_specs(loadable)}. Load one of these"
    weights = [
        inside / file
        for inside in newest
        for file in ("model.safetensors", "pytorch_model.bin")
        if (inside / file).is_file()
    ]
    if not weights:
        return ""
    return (
        f"It contains the checkpoints of a Trainer, newest first: {join_names(weights, 4)}. Load one of these, with"
        " architecture= the module"
    )


def _describe_pipeline(folder: Path) -> str:
    if not (folder / "model_index.json").is_file():
        return ""
    parts = {
        inside.name: _read_settings(inside / CONFIG)
        for inside in sorted(folder.iterdir())
        if (inside / CONFIG).is_file()
    }
    ours = [folder / name for name, config in parts.items() if "model_type" in config]
    others = {
        name: config["_class_name"]
        for name, config in parts.items()
        if "_class_name" in config and "model_type" not in config
    }
    theirs = [f"diffusers.{kind}.from_pretrained('{folder / name}')" for name, kind in others.items()]
    texts = [
        f"load {_list_specs(ours)}" if ours else "",
        f"create a module and pass it, load_model(module): {join_names(theirs, 4)}" if theirs else "",
    ]
    return f"It is a pipeline of diffusers, which is several models: {'; or '.join(filter(None, texts))}"


def _describe_parts(folder: Path) -> str:
    """Describe checkpoints that several processes wrote."""
    if (folder / "zero_to_fp32.py").is_file() or any(folder.glob("global_step*")):
        return (
            "DeepSpeed wrote it in parts. Join them,"
            f" deepspeed.utils.zero_to_fp32.get_fp32_state_dict_from_zero_checkpoint('{folder}'), save that with"
            " torch.save, and load the file with architecture="
        )
    if any(folder.glob("*.distcp")):
        return (
            "It is a distributed checkpoint. Join its parts,"
            f" torch.distributed.checkpoint.format_utils.dcp_to_torch_save('{folder}', 'mine.pt'), and load 'mine.pt'"
            " with architecture="
        )
    return ""


def _describe_cache(folder: Path) -> str:
    inside = sorted(found for found in folder.glob("snapshots/*") if (found / CONFIG).is_file())
    return f"It is a folder of the hub's cache; the model is in {_list_specs(inside)}" if inside else ""


def _describe_lightning(folder: Path) -> str:
    places = ("", "checkpoints/", "version_*/checkpoints/", "lightning_logs/version_*/checkpoints/")
    found = [file for place in places for file in folder.glob(f"{place}*.ckpt")]
    newest = sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)
    advice = (
        f"It contains checkpoints of Lightning, newest first: {join_names(newest, 4)}. Load one of these with"
        " architecture= your module"
    )
    return advice if newest else ""


def _describe_files(folder: Path) -> str:
    weights = [file for ending in ("safetensors", "pt", "pth", "bin") for file in sorted(folder.glob(f"*.{ending}"))]
    if weights:
        return (
            f"It contains weights alone, {join_names(weights, 4)}. Load the file, with architecture= the module or the"
            " spec that the weights belong to"
        )
    if (folder / "saved_model.pb").is_file():
        return f"It is a model of TensorFlow: {describe_other_file(folder / 'saved_model.pb')}"
    others = (
        describe_other_file(file) for file in sorted(folder.iterdir()) if file.is_file() and file.suffix not in SETTINGS
    )
    advice = next(filter(None, others), "")
    return f"It contains other files: {advice}" if advice else ""


def _describe_subfolders(folder: Path) -> str:
    inside = sorted(
        found for found in folder.iterdir() if found.is_dir() and "model_type" in _read_settings(found / CONFIG)
    )
    return f"Folders in it contain models: {_list_specs(inside)}" if inside else ""
