"""Load a folder with an adapter of peft: the base that the adapter names, with the adapter put into it."""

from __future__ import annotations

import importlib.util
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from repsim_nb.support.errors import join_names, warn_user

from .checkpoints import read_checkpoint
from .huggingface import HEADS, encoder_kind, from_folder, import_transformers, make_model, read_config, silence
from .libraries import first_line, import_library, offline, weights_only
from .model import Model

ADAPTER = "adapter_config.json"  # how a folder says that it holds an adapter
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
INSIDE = "base_model.model."  # what peft puts before the names of the base
AUTO = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
}


def load_adapter(folder: Path, spec: str, *, weights: str | None, options: Mapping[str, Any]) -> Model:
    """The base of an adapter with the adapter in it; layers have the names that they have in the base.

    As for other folders a head for classification is kept and other heads are left off. No code of a folder runs.
    """
    config = _read_config(folder)
    base, kind = config.get("base_model_name_or_path"), config.get("peft_type", "adapter")
    here = Path(str(base)).expanduser() if base else None
    task = AUTO.get(str(config.get("task_type")), "AutoModel")
    both = (
        f"module = peft.PeftModel.from_pretrained(transformers.{task}.from_pretrained('{base or 'BASE'}'), '{folder}');"
        " load_model(module)"
    )
    merged = (
        "save the merged model once, module.merge_and_unload().save_pretrained(new_folder), and load"
        " 'transformers:NEW_FOLDER'"
    )
    says = f"the folder {folder} holds an adapter ({kind}) of the base '{base}'"
    whole = [file.name for file in [*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")]]
    if weights == "random":
        raise ValueError(
            f"{says}, and an adapter has no untrained twin: load the untrained base, "
            "load_model('transformers:FOLDER_OF_THE_BASE', weights='random')"
        )
    if whole and (here is None or here.resolve() != folder.resolve()):
        raise ValueError(
            f"{says}, and next to it a whole model ({join_names(whole, 2)}). Which is meant is not known: move"
            f" {ADAPTER} elsewhere to load the whole model, or load both yourself, {both}"
        )
    if here is None or not (here / "config.json").is_file():
        is_path = base and (str(base).startswith(("/", ".", "~")) or str(base).count("/") > 1)
        moved = (
            f" If it is a folder that was moved, write its place into {ADAPTER}, base_model_name_or_path."
            if is_path
            else ""
        )
        raise ValueError(
            f"{says}, which is no folder of transformers here. Load both and pass the module: {both}. Or"
            f" {merged}.{moved}"
        )
    if importlib.util.find_spec("peft") is None:
        raise ValueError(
            f"{says}, and peft, which puts it into the base, is not installed: pip install peft. Or, where it is,"
            f" {merged}"
        )
    transformers, peft = import_transformers(), import_library("peft", "transformers")
    tensors = _read_weights(folder)
    names = {name.removeprefix(INSIDE) for name in tensors}
    options = {**_count_classes(config, tensors), **options}

    with silence(transformers), offline(), weights_only():
        around = _is_around(peft, folder)

        def may_lack(module: nn.Module, name: str) -> bool:
            """The adapter brings it, or it is in a head that is left off."""
            return name in names or not (
                around or _keeps_head(module) or name.startswith(f"{module.base_model_prefix}.")
            )

        module = from_folder(transformers, here, spec, options, _base_class(transformers, config, here, spec), may_lack)
        module = _put_in(peft, module, folder, tensors, spec)
        if not around:
            module = _drop_head(transformers, module.get_base_model())
        own = any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"))
        model = make_model(module, folder.resolve().name, spec, "pretrained", 0, str(folder if own else here))
    return replace(model, card={**model.card, "adapter": kind, "base": here.resolve().name})


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it holds no settings by name")
    except (ValueError, OSError) as error:
        raise ValueError(f"{folder / ADAPTER} is damaged ({first_line(error)}): nothing was read") from error
    return config


def _read_weights(folder: Path) -> Mapping[str, Tensor]:
    """The weights of the adapter by the names that they have in its file."""
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise ValueError(
            f"the folder {folder} has an {ADAPTER} and no weights of an adapter ({WEIGHTS[0]}); it holds "
            f"{join_names(sorted(file.name for file in folder.iterdir()))}"
        )
    return read_checkpoint(file)[0]


def _count_classes(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """How many classes the head has that came with the adapter: the configuration of the base does not know them."""
    heads = [
        tensor
        for name, tensor in tensors.items()
        if re.search(r"\.(score|classifier|out_proj)\.weight$", name) and tensor.ndim == 2
    ]
    return {"num_labels": len(heads[-1])} if heads and config.get("task_type") == "SEQ_CLS" else {}


def _base_class(transformers: ModuleType, config: Mapping[str, Any], base: Path, spec: str) -> Any:
    """The class of the base, on which the names of the weights in an adapter depend."""
    if config.get("task_type") in AUTO:
        return getattr(transformers, AUTO[config["task_type"]])
    mapping = config.get("auto_mapping") or {}
    kind = getattr(transformers, str(mapping.get("base_model_class")), None)
    if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel):
        return kind
    return encoder_kind(transformers, read_config(transformers, str(base), spec))


def _put_in(peft: ModuleType, module: nn.Module, folder: Path, tensors: Mapping[str, Tensor], spec: str) -> Any:
    """The base with the adapter in it. ValueError if a weight of the adapter has no place, or a place has no weight."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = peft.PeftModel.from_pretrained(module, str(folder), torch_device="cpu")
            there = peft.get_peft_model_state_dict(model, save_embedding_layers=True)
    except Exception as error:
        raise ValueError(
            f"the adapter of '{spec}' could not be put into a {type(module).__name__}: {first_line(error)}"
        ) from error
    lacking = [str(one.message) for one in caught if "missing adapter keys" in str(one.message)]
    for one in caught:
        if not issubclass(one.category, (FutureWarning, DeprecationWarning)) and str(one.message) not in lacking:
            warn_user(f"peft said of the adapter of '{spec}': {one.message}")
    strange = sorted(name for name, tensor in tensors.items() if name not in there or there[name].shape != tensor.shape)
    if lacking or strange:
        why = f"it has no place for {join_names(strange, 4)}" if strange else first_line(ValueError(lacking[0]))
        raise ValueError(
            f"the adapter of '{spec}' does not fit the {type(module).__name__} in {module.name_or_path}: {why}"
        )
    return model.eval()


def _is_around(peft: ModuleType, folder: Path) -> bool:
    """Whether the adapter works around the base and not inside it: it puts places before the tokens, or chooses among
    adapters.
    """
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
    except Exception as error:
        raise ValueError(
            f"{folder / ADAPTER} was not understood by peft {peft.__version__}: {first_line(error)}"
        ) from error
    chooses = type(config).__name__ in ("XLoraConfig", "PolyConfig") or bool(
        getattr(config, "alora_invocation_tokens", None)
    )
    return config.is_prompt_learning or chooses


def _keeps_head(module: nn.Module) -> bool:
    return type(module).__name__.endswith(HEADS)


def _drop_head(transformers: ModuleType, module: Any) -> Any:
    """The base as other folders give it: with a head for classification, else without a head, and of T5 the encoder
    alone.
    """
    if _keeps_head(module):
        return module
    kind = encoder_kind(transformers, module.config)
    if kind is transformers.AutoModel:
        return module.base_model
    encoder = kind.from_config(module.config)
    for name, _ in list(encoder.named_children()):
        setattr(encoder, name, getattr(module, name))
    return encoder
