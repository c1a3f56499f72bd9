"""Models of transformers: from a folder, by their kind with random weights, or by a name on the hub."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from repsim_nb.support.errors import check_name, join_names, unknown_name, warn_user

from .layers import default_layers
from .libraries import (
    check_weights,
    fetch_weights,
    first_line,
    import_models,
    make_card,
    make_untrained,
    name_model,
    offline,
    seeded,
)
from .model import Model, images
from .preparing import Texts
from .preprocessors import find_padding, find_tokenizer, make_pictures, read_first_json, read_json
from .unsupported import describe_other_file

# these stay: their logits are the model's output; other heads are left off
HEADS = ("ForSequenceClassification", "ForImageClassification")


MayLack = Callable[[nn.Module, str], bool]


def import_transformers() -> ModuleType:
    """Import transformers; a torchvision that cannot be imported is hidden from it, since it works without one."""
    try:
        if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is not None:
            importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError, AttributeError):  # built for another torch
        # Python takes None for "not installed"; transformers caches the answer
        sys.modules["torchvision"] = None  # type: ignore[assignment]
        try:
            found = import_models("transformers")
            checks = importlib.import_module("transformers.utils.import_utils")
            for check in (checks.is_torchvision_available, checks.is_torchvision_v2_available):
                check.cache_clear()
                check()
            return found
        finally:
            del sys.modules["torchvision"]
    return import_models("transformers")


def is_local(name: str, weights: str | None) -> bool:
    """Return whether a name is one of a folder; "bert" with random weights is a kind of model next to any folder."""
    folder = Path(name).expanduser()
    return folder.is_dir() and ((folder / "config.json").is_file() or "/" in name or weights != "random")


def load_transformers(
    name: str, *, weights: str | None = None, seed: int = 0, options: Mapping[str, Any] | None = None
) -> Model:
    """Load a model of transformers.

    name: a folder (its weights are loaded unless weights="random"), a kind of model ("bert", "vit"; random weights
    only), or a name on the hub.
    options: of its configuration (num_hidden_layers=2).  No code of a folder or of the hub runs; weights are read as
    tensors only, as float32.
    """
    spec, options, folder = f"transformers:{name}", dict(options or {}), Path(name).expanduser()
    local = is_local(name, weights)
    if local and not (folder / "config.json").is_file():
        raise ValueError(
            f"the folder {folder} has no config.json, so it was not saved by transformers"
            " (model.save_pretrained(folder))."
        )
    if not local and (
        name.startswith(("/", "./", "../", "~"))
        or name.count("/") > 1
        or (weights is None and "/" in name and folder.parent.is_dir())
    ):
        raise ValueError(f"there is no folder {folder.absolute()}.")
    transformers = import_transformers()
    if not local and weights is None and "/" not in name and name not in transformers.CONFIG_MAPPING:
        raise unknown_name(
            "kind of transformers model",
            name,
            transformers.CONFIG_MAPPING,
            f"There is no folder '{name}' either; a model on the hub takes weights='pretrained'.",
        )
    no_folder = f" There is no folder {name}." if "/" in name else ""
    weights = check_weights(spec, weights or ("pretrained" if local else None), no_folder)
    origin = str(folder) if local else name if name not in transformers.CONFIG_MAPPING else None
    called = folder.resolve().name if local else name
    hub = weights == "pretrained" and not local
    with silence(transformers, bars=hub), seeded(seed):
        if hub:

            def fetch() -> tuple[Model, Any]:
                module = _load_weights(transformers, name, options, spec, use_safetensors=True)
                return make_model(module, called, spec, weights, seed, origin), read_json(origin, "modules.json")

            model, modules = fetch_weights(spec, fetch, options)
            if isinstance(modules, list) and len(modules) > 1:
                others = join_names(str(one.get("type")).rpartition(".")[2] for one in modules[1:])
                warn_user(
                    f"only the transformer of '{spec}' was loaded, without {others}, so \"output\" is the states of its"
                    " tokens and not the sentence embedding. To record all modules, pass"
                    f" SentenceTransformer('{name}')."
                )
            return model
        with offline():
            if local and weights == "pretrained":
                module = from_folder(transformers, folder, spec, options)
            else:
                config = _config(transformers, str(folder) if local else name, spec, options)
                module = make_untrained(
                    spec, lambda: _auto_class(transformers, config).from_config(config), options, seed
                )
            return make_model(module, called, spec, weights, seed, origin)


def make_model(
    module: Any, name: str, spec: str, weights: str, seed: int, origin: str | None, length: int | None = None
) -> Model:
    """Create the Model of a module of transformers.

    origin: the folder, or the name on the hub, of its tokenizer or of the sizes of its pictures.
    """
    prepare: Any = images
    more: dict[str, Any] = {}
    entrance, name = getattr(module, "main_input_name", ""), name_model(name, weights, seed)
    if entrance == "pixel_values":
        prepare = make_pictures(
            module.config, read_first_json(origin, ("preprocessor_config.json", "processor_config.json"))
        )
        more = {"input_shape": (*prepare.size, prepare.channels)} if prepare.size else {}
    elif entrance == "input_ids":
        tokenizer, most = find_tokenizer(module.config, origin, length)
        prepare = Texts(tokenizer, most, name, find_padding(tokenizer))
        more = {"tokenizer": prepare.fingerprint()}
    return Model(
        name,
        module.eval(),
        prepare,
        default_layers(module),
        make_card(spec, module, weights, seed, architecture=module.config.model_type, **more),
    )


def _config(transformers: ModuleType, name: str, spec: str, options: Mapping[str, Any]) -> Any:
    """Read the configuration of a folder, a kind of model, or a name in the hub's cache; the hub is not asked."""
    if not Path(name).is_dir() and name in transformers.CONFIG_MAPPING:
        kind = transformers.CONFIG_MAPPING[name]
        _check_options(spec, kind(), options)
        try:
            return kind(**options)  # sizes that follow from others are computed there
        except Exception as error:
            raise ValueError(
                f"'{spec}' cannot be configured with options={dict(options)}: {first_line(error)}."
            ) from error
    try:
        return _apply_options(spec, read_config(transformers, name, spec), options)
    except OSError as error:
        raise unknown_name(
            "kind of transformers model",
            name,
            transformers.CONFIG_MAPPING,
            f"Random weights need no hub, so '{spec}' must be a kind of model (its sizes by options=), a folder with a"
            " config.json, or a model in the hub's cache on this machine.",
        ) from error


def read_config(transformers: ModuleType, name: str, spec: str) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        if isinstance(error, OSError) and not Path(name).is_dir():
            raise
        why = (
            "it comes with Python code of its own, which is not run. Create the model yourself and pass it,"
            " load_model(module)"
            if "trust_remote_code" in str(error)
            else first_line(error)
        )
        raise ValueError(f"the configuration of '{spec}', config.json, could not be read: {why}.") from error


def _apply_options(spec: str, config: Any, options: Mapping[str, Any]) -> Any:
    _check_options(spec, config, options)
    for option, value in options.items():
        setattr(config, option, value)
    return config


def _check_options(spec: str, config: Any, options: Mapping[str, Any]) -> None:
    known = {**config.to_dict(), **dict.fromkeys(config.attribute_map), "num_labels": None}
    for option in options:
        check_name(f"option of '{spec}'", option, known)


def _auto_class(transformers: ModuleType, config: Any) -> Any:
    """Return the Auto class of the model, with a head only if the configuration names one for classification."""
    kinds = (config.architectures or [""])[0]
    if kinds.endswith(HEADS):
        return getattr(transformers, "AutoModel" + next(head for head in HEADS if kinds.endswith(head)))
    return encoder_kind(transformers, config)


def encoder_kind(transformers: ModuleType, config: Any) -> Any:
    """Return the Auto class of the model without a head; for some with a decoder, of the encoder alone."""
    text = transformers.models.auto.modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING
    # of T5, for instance, the encoder
    return (
        transformers.AutoModelForTextEncoding
        if config.is_encoder_decoder and type(config) in text
        else transformers.AutoModel
    )


def from_folder(
    transformers: ModuleType,
    folder: Path,
    spec: str,
    options: Mapping[str, Any],
    kind: Any = None,
    may_lack: MayLack | None = None,
) -> nn.Module:
    """Load the model of a folder with its trained weights, read as tensors only.

    kind: its class; None: the one that its configuration asks for.
    may_lack: (model, name of a weight) -> whether the folder may lack it. ValueError if any other weight is missing.
    """
    tensors, pickled = (
        sorted(file.name for file in folder.glob(pattern)) for pattern in ("*.safetensors", "pytorch_model*.bin")
    )
    if not tensors and not pickled:
        others = next(
            filter(None, (describe_other_file(file) for file in sorted(folder.iterdir()) if file.suffix != ".json")), ""
        )
        raise ValueError(
            f"the folder {folder} has a configuration and no weights (model.safetensors); weights='random' creates the"
            f" untrained model. It contains {join_names(sorted(file.name for file in folder.iterdir()))}"
            + (f"; {others}." if others else ".")
        )
    try:
        return _load_weights(transformers, str(folder), options, spec, kind, may_lack, use_safetensors=bool(tensors))
    except ValueError:
        raise
    except Exception as error:
        refused = "Weights only" in str(error) or "weights_only" in str(error) or "Unpickling" in type(error).__name__
        why = (
            "they contain Python objects and not only tensors, so reading them could run code"
            if refused
            else f"they are damaged ({first_line(error)})"
        )
        raise ValueError(
            f"the weights in {folder} were not read: {why}. Save them as safetensors, model.save_pretrained(folder)."
        ) from error


def _load_weights(
    transformers: ModuleType,
    name: str,
    options: Mapping[str, Any],
    spec: str,
    kind: Any = None,
    may_lack: MayLack | None = None,
    **where: Any,
) -> nn.Module:
    """Load the model with all its trained weights as float32; a pooler that the file lacks is left off."""
    config = _apply_options(spec, read_config(transformers, name, spec), options)
    kind = kind or _auto_class(transformers, config)
    read = {
        "config": config,
        "dtype": torch.float32,
        "weights_only": True,
        "trust_remote_code": False,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
        **where,
    }
    module, report = kind.from_pretrained(name, **read)
    if report["missing_keys"] and all(key.split(".")[0] == "pooler" for key in report["missing_keys"]):
        module, report = kind.from_pretrained(name, add_pooling_layer=False, **read)
    if report["mismatched_keys"]:
        other = [f"{key} {tuple(file)} for {tuple(ours)}" for key, file, ours in sorted(report["mismatched_keys"])]
        raise ValueError(
            f"the weights of '{spec}' do not fit the {type(module).__name__} of its"
            f" config.json{' and of options=' if options else ''}; other shapes: {join_names(other, 4)}."
        )
    if lacking := sorted(key for key in report["missing_keys"] if not (may_lack and may_lack(module, key))):
        raise ValueError(
            f"the weights of '{spec}' do not fill {type(module).__name__}: they lack {join_names(lacking, 4)}, which"
            " would be random."
        )
    return module


@contextmanager
def silence(transformers: ModuleType, bars: bool = False) -> Iterator[None]:
    """Keep transformers from printing reports, and progress bars unless asked; our errors report what matters."""
    logs = transformers.utils.logging
    level, quiet = logs.get_verbosity(), logs.is_progress_bar_enabled() and not bars
    logs.set_verbosity_error()
    if quiet:
        logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(level)
        if quiet:
            logs.enable_progress_bar()
