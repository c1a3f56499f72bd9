"""Load a folder with an adapter of peft: the base model that the adapter names, with the adapter in it."""

from __future__ import annotations

import importlib.util
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
from .libraries import first_line, import_models, offline, read_settings, weights_only
from .model import Model
from .preprocessors import has_tokenizer

ADAPTER = "adapter_config.json"  # a folder with this file has an adapter
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
    """Load the base model of an adapter with the adapter in it; layers have their names in the base model.

    As for other folders, a head for classification is kept and other heads are left off. No code of a folder runs.
    """
    config = read_settings(folder / ADAPTER)
    if not isinstance(config, dict):
        raise ValueError(f"{folder / ADAPTER} is damaged (it has no settings by name). Nothing was read.")
    base, kind = config.get("base_model_name_or_path"), config.get("peft_type", "adapter")
    base_folder = Path(str(base)).expanduser() if base else None
    task = AUTO.get(str(config.get("task_type")), "AutoModel")
    both = (
        f"module = peft.PeftModel.from_pretrained(transformers.{task}.from_pretrained('{base or 'BASE'}'), '{folder}');"
        " load_model(module)"
    )
    merged = (
        "save the merged model once, module.merge_and_unload().save_pretrained(new_folder), and load"
        " 'transformers:NEW_FOLDER'"
    )
    what = f"the folder {folder} has an adapter ({kind}) of the base model '{base}'"
    whole = [file.name for file in [*folder.glob("model*.safetensors"), *folder.glob("pytorch_model*.bin")]]
    if weights == "random":
        raise ValueError(
            f"{what}, and an adapter has no untrained twin. Load the untrained base model,"
            " load_model('transformers:FOLDER_OF_THE_BASE', weights='random')."
        )
    if whole and (base_folder is None or base_folder.resolve() != folder.resolve()):
        raise ValueError(
            f"{what}, and next to it a whole model ({join_names(whole, 2)}). It is not clear which one is meant. Move"
            f" {ADAPTER} to another folder to load the whole model, or load both yourself, {both}."
        )
    if base_folder is None or not (base_folder / "config.json").is_file():
        is_path = base and (str(base).startswith(("/", ".", "~")) or str(base).count("/") > 1)
        moved = (
            f" If the folder of the base model was moved, write its new path into {ADAPTER}, base_model_name_or_path."
            if is_path
            else ""
        )
        raise ValueError(
            f"{what}, which is no folder of transformers on this machine. Load both and pass the module: {both}. Or"
            f" {merged}.{moved}"
        )
    if importlib.util.find_spec("peft") is None:
        raise ValueError(
            f"{what}, and peft, which puts it into the base model, is not installed: pip install peft. Or, on a machine"
            f" that has peft, {merged}."
        )
    transformers, peft = import_transformers(), import_models("peft")
    tensors = _read_weights(folder)
    names = {name.removeprefix(INSIDE) for name in tensors}
    options = {**_count_classes(config, tensors), **options}

    with silence(transformers), offline(), weights_only():
        around = _is_around(peft, folder)

        def may_lack(module: nn.Module, name: str) -> bool:
            """Return whether the adapter has this weight, or it is in a head that is left off."""
            return name in names or not (
                around or _keeps_head(module) or name.startswith(f"{module.base_model_prefix}.")
            )

        module = from_folder(
            transformers, base_folder, spec, options, _base_class(transformers, config, base_folder, spec), may_lack
        )
        module = _put_in(peft, module, folder, tensors, spec)
        if not around:
            module = _drop_head(transformers, module.get_base_model())
        origin = str(folder if has_tokenizer(folder) else base_folder)
        model = make_model(module, folder.resolve().name, spec, "pretrained", 0, origin)
    return replace(model, card={**model.card, "adapter": kind, "base": base_folder.resolve().name})


def _read_weights(folder: Path) -> Mapping[str, Tensor]:
    """Return the weights of the adapter by their names in its file."""
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise ValueError(
            f"the folder {folder} has an {ADAPTER} and no weights of an adapter ({WEIGHTS[0]}); it contains"
            f" {join_names(sorted(file.name for file in folder.iterdir()))}."
        )
    return read_checkpoint(file)[0]


def _count_classes(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Count the classes of the head that came with the adapter; the configuration of the base model lacks them."""
    heads = [
        tensor
        for name, tensor in tensors.items()
        if re.search(r"\.(score|classifier|out_proj)\.weight$", name) and tensor.ndim == 2
    ]
    return {"num_labels": len(heads[-1])} if heads and config.get("task_type") == "SEQ_CLS" else {}


def _base_class(transformers: ModuleType, config: Mapping[str, Any], base: Path, spec: str) -> Any:
    """Return the class of the base model; the names of the weights in an adapter depend on it."""
    if config.get("task_type") in AUTO:
        return getattr(transformers, AUTO[config["task_type"]])
    mapping = config.get("auto_mapping") or {}
    kind = getattr(transformers, str(mapping.get("base_model_class")), None)
    if isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel):
        return kind
    return encoder_kind(transformers, read_config(transformers, str(base), spec))


def _put_in(peft: ModuleType, module: nn.Module, folder: Path, tensors: Mapping[str, Tensor], spec: str) -> Any:
    """Put the adapter into the base model. ValueError if a weight has no place, or a place has no weight."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = peft.PeftModel.from_pretrained(module, str(folder), torch_device="cpu")
            there = peft.get_peft_model_state_dict(model, save_embedding_layers=True)
    except Exception as error:
        raise ValueError(
            f"the adapter of '{spec}' could not be put into a {type(module).__name__}: {first_line(error)}."
        ) from error
    lacking = [str(one.message) for one in caught if "missing adapter keys" in str(one.message)]
    for one in caught:
        if not issubclass(one.category, (FutureWarning, DeprecationWarning)) and str(one.message) not in lacking:
            warn_user(f"peft reported about the adapter of '{spec}': {one.message}")
    strange = sorted(name for name, tensor in tensors.items() if name not in there or there[name].shape != tensor.shape)
    if lacking or strange:
        why = f"it has no place for {join_names(strange, 4)}" if strange else first_line(ValueError(lacking[0]))
        raise ValueError(
            f"the adapter of '{spec}' does not fit the {type(module).__name__} in {module.name_or_path}: {why}."
        )
    return model.eval()


def _is_around(peft: ModuleType, folder: Path) -> bool:
    """Return whether the adapter works around the base model and not inside it.

    It then puts positions before the tokens, or chooses among adapters.
    """
    try:
        config = peft.PeftConfig.from_pretrained(str(folder))
    except Exception as error:
        raise ValueError(
            f"{folder / ADAPTER} was not understood by peft {peft.__version__}: {first_line(error)}."
        ) from error
    chooses = type(config).__name__ in ("XLoraConfig", "PolyConfig") or bool(
        getattr(config, "alora_invocation_tokens", None)
    )
    return config.is_prompt_learning or chooses


def _keeps_head(module: nn.Module) -> bool:
    return type(module).__name__.endswith(HEADS)


def _drop_head(transformers: ModuleType, module: Any) -> Any:
    """Return the base model as other folders give it.

    A head for classification stays, other heads are left off, and only the encoder of T5 is taken.
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
