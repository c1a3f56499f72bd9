"""Models of sentence_transformers: the whole chain from a sentence to its embedding, from a module or from a folder."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim_nb.support.errors import join_names, warn_user

from .huggingface import encoder_kind, from_folder, import_transformers, load_transformers, read_config, silence
from .layers import default_layers
from .libraries import (
    check_weights,
    first_line,
    import_models,
    make_card,
    name_model,
    offline,
    read_settings,
    seeded,
    weights_only,
)
from .model import Model
from .preparing import to_tensor
from .running import OUTPUT

LIBRARY = "sentence_transformers"
EMBEDDING = "sentence_embedding"
MODULES = "modules.json"  # the file of a folder that lists its modules in order
WHOLE = ("SentenceTransformer", "SparseEncoder")  # kinds of models that give an embedding
TRANSFORMERS = (".Transformer", ".CLIPModel", ".MLMTransformer")  # modules that contain a model of transformers


class SentenceEmbedder(nn.Module):
    """A SentenceTransformer that takes the columns of a batch by name and returns the sentence embedding.

    The embedding is that of `encode`. It has the same parts under the same names. The wrapped module is not changed.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self._modules = encoder._modules
        self.encoder: Any
        self.__dict__["encoder"] = encoder  # not registered as a part: it would be put before all names
        self.truncate_dim = getattr(encoder, "truncate_dim", None)

    def forward(self, **columns: Any) -> Tensor:
        """Compute the embeddings (n, p) of the sentences."""
        out = self.encoder(columns)
        if EMBEDDING not in out:
            raise ValueError(
                f"the modules return no {EMBEDDING}, but {join_names(out)}. A module that pools the tokens is missing."
            )
        return out[EMBEDDING] if self.truncate_dim is None else out[EMBEDDING][..., : self.truncate_dim]


@dataclass(frozen=True)
class Sentences:
    """The `preprocess` from sentences to the columns that a SentenceTransformer takes, padded on the right.

    encoder: the SentenceTransformer; its default prompt is put before each sentence, as `encode` does.  name: the
    model's, for errors. Columns of encoder.preprocess(sentences) may be passed as a mapping.
    """

    encoder: Any = field(repr=False, compare=False)
    name: str = ""

    def __call__(self, batch: Any) -> dict[str, Any]:
        if isinstance(batch, Mapping):
            return _drop_modality({name: to_tensor(column) for name, column in batch.items()})
        texts = list(batch) if isinstance(batch, (list, tuple, np.ndarray)) else []
        if not texts or not all(isinstance(text, str) for text in texts):
            got = f"{tuple(batch.shape)} {batch.dtype}" if hasattr(batch, "shape") else type(batch).__name__
            raise ValueError(
                f"'{self.name}' reads sentences: inputs must be a list of str, or a dict of the columns of"
                f" model.preprocess(sentences); got {got}. For inputs that are no text record the transformer inside"
                " it, rs.record(model[0].auto_model, {'pixel_values': ...})."
            )
        left = getattr(getattr(self.encoder, "tokenizer", None), "padding_side", "right") == "left"
        texts = [str(text) for text in texts]
        columns = _drop_modality(
            self._joined([self._columns([text]) for text in texts]) if left else self._columns(texts)
        )
        if "cu_seq_lens_q" in columns:
            raise ValueError(
                f"'{self.name}' joins the sentences of a batch into one row, so no layer has a row for each sentence."
                " Set model[0].unpad_inputs = False."
            )
        return columns

    def _columns(self, texts: list[str]) -> dict[str, Any]:
        default = getattr(self.encoder, "default_prompt_name", None)
        prompt = self.encoder.prompts.get(default) if default else None
        if hasattr(self.encoder, "preprocess"):
            return dict(self.encoder.preprocess(texts, prompt=prompt))
        columns = dict(self.encoder.tokenize([(prompt or "") + text for text in texts]))  # before version 5.3
        if prompt:
            columns["prompt_length"] = self.encoder.tokenize([prompt])["input_ids"].shape[-1] - 1
        return columns

    def _joined(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Join rows, padded on the right, whatever side the tokenizer prefers: positions count from the first word."""
        columns: dict[str, Any] = {}
        for name, first in rows[0].items():
            parts = [row[name] for row in rows]
            if isinstance(first, Tensor) and first.ndim:
                longest = max(part.shape[-1] for part in parts)
                fill = (self.encoder.tokenizer.pad_token_id or 0) if name == "input_ids" else 0
                filled = (
                    F.pad(part, (0, longest - part.shape[-1]), value=fill) if first.ndim == 2 else part
                    for part in parts
                )
                columns[name] = torch.cat(list(filled))
            else:
                columns[name] = first
        return columns

    def example(self) -> list[str]:
        """Return a small batch."""
        return ["One sentence.", "Another sentence, a little longer."]


def _drop_modality(columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns without modality="text", which is the default."""
    return {
        name: column
        for name, column in columns.items()
        if not (name == "modality" and isinstance(column, str) and column == "text")
    }


def make_sentence_model(encoder: nn.Module, name: str | None = None, known: Mapping[str, Any] | None = None) -> Model:
    """Create the Model of a module of sentence_transformers. TypeError if its samples are no sentences."""
    kinds = {base.__name__ for base in type(encoder).__mro__}
    inside = "model[0].auto_model" if isinstance(encoder, nn.Sequential) else "model.model"
    if "CrossEncoder" in kinds:
        raise TypeError(
            f"a {type(encoder).__name__} takes pairs of sentences. Record the transformer inside it, with the pairs"
            f" from its tokenizer: rs.record({inside}, dict(model.tokenizer(firsts, seconds, padding=True,"
            " truncation=True, return_tensors='pt')))."
        )
    if "MultiVectorEncoder" in kinds:
        raise TypeError(
            f"a {type(encoder).__name__} returns several vectors for each sentence and no embedding. Record the"
            f" transformer inside it: rs.record({inside}, dict(model.tokenizer(sentences, padding=True,"
            " truncation=True, return_tensors='pt')))."
        )
    if not kinds & set(WHOLE):
        raise TypeError(
            f"a {type(encoder).__name__} is one module of a SentenceTransformer, and takes a dict from the modules"
            " before it. Pass SentenceTransformer(modules=[...]); its layers include this module."
        )
    name, module = name or type(encoder).__name__, SentenceEmbedder(encoder)
    return Model(name, module, Sentences(encoder, name), _list_layers(module), dict(known or {}))


def _list_layers(module: SentenceEmbedder) -> tuple[str, ...]:
    """List the blocks of the transformer, then each module after it.

    A pooler is left out if the embedding does not come from it.
    """
    first, *others = module._modules
    unused = "pooler_output" not in str(getattr(module._modules[first], "modality_config", ""))
    blocks = [
        name
        for name in default_layers(module)
        if name.startswith(f"{first}.") and not (unused and "pooler" in name.split("."))
    ]
    return (*blocks, *others, OUTPUT)


# -- folders


def load_sentences(folder: Path, spec: str, *, weights: str | None, seed: int, options: Mapping[str, Any]) -> Model:
    """Load the model in a folder of sentence_transformers: all its modules, or its transformer with a warning.

    The warning comes if the library is not installed or the model has no sentence embedding. Modules that are no part
    of the library are refused, since their code would come from the folder. Weights are read as tensors only.
    """
    listing, weights = _read_listing(folder), check_weights(spec, weights or "pretrained")
    first, *others = ((one["type"].rpartition(".")[2], one["path"]) for one in listing)
    written_by = read_settings(folder / "config_sentence_transformers.json").get("model_type", "SentenceTransformer")
    why = "" if written_by in WHOLE else f"a {written_by} returns no embedding of a sentence"
    if not why and importlib.util.find_spec(LIBRARY) is None:
        why = "sentence_transformers is not installed. To load all modules: pip install sentence-transformers"
    if not why:
        return _load_with_library(folder, listing, written_by, spec, weights, seed, options)
    model = load_transformers(str(folder / first[1]), weights=weights, seed=seed, options=options)
    if others:
        kinds = [kind for kind, _ in others]
        warn_user(
            f"only the transformer of '{spec}' was loaded, and {join_names(kinds)}"
            f" {'are' if len(kinds) > 1 else 'is'} not applied, "
            f'so "output" is the states of its tokens or its own head, not the output of the whole model: {why}.'
        )
    return replace(model, name=name_model(folder.resolve().name, weights, seed))


def _read_listing(folder: Path) -> list[dict[str, str]]:
    """Read the list of the modules of a folder, in their order."""
    listing = read_settings(folder / MODULES)
    if not (
        isinstance(listing, list)
        and listing
        and all(
            isinstance(one, dict) and isinstance(one.get("type"), str) and isinstance(one.get("path"), str)
            for one in listing
        )
    ):
        raise ValueError(
            f"{folder / MODULES} is damaged or was not written by sentence_transformers (it lists no modules with a"
            " type and a path). Nothing was read."
        )
    outside = [one["path"] for one in listing if Path(one["path"]).is_absolute() or ".." in Path(one["path"]).parts]
    if outside:
        raise ValueError(
            f"{folder / MODULES} lists folders outside of its own, {join_names(outside)}. Nothing was read."
        )
    return listing


def _load_with_library(
    folder: Path,
    listing: Sequence[Mapping[str, str]],
    kind: str,
    spec: str,
    weights: str,
    seed: int,
    options: Mapping[str, Any],
) -> Model:
    _check_harmless(folder, listing, spec)
    transformers, found = import_transformers(), import_models(LIBRARY)
    inside = folder / listing[0]["path"]
    reading = {"use_safetensors": any(inside.glob("*.safetensors")), "weights_only": True, "dtype": torch.float32}
    with silence(transformers), seeded(seed), offline(), weights_only():
        if (inside / "config.json").is_file() and listing[0]["type"].endswith(TRANSFORMERS):
            task = (
                "fill-mask"
                if listing[0]["type"].endswith("MLMTransformer")
                else read_settings(inside / "sentence_bert_config.json").get("transformer_task")
            )
            masked, plain = (
                transformers.AutoModelForMaskedLM,
                encoder_kind(transformers, read_config(transformers, str(inside), spec)),
            )
            # for its checks alone: the library draws missing weights without a warning
            from_folder(transformers, inside, spec, options, masked if task == "fill-mask" else plain)
        elif options:
            raise ValueError(
                f"options={dict(options)} are for the configuration of a transformer, and '{spec}' has no transformer."
            )
        try:
            settings = {"model_kwargs": reading, "config_kwargs": dict(options) or None}
            encoder = getattr(found, kind)(
                str(folder), device="cpu", trust_remote_code=False, local_files_only=True, **settings
            )
        except Exception as error:
            raise ValueError(
                f"'{spec}' could not be loaded by sentence_transformers {found.__version__}: {first_line(error)}. You"
                " can create the model yourself and pass it, load_model(model)."
            ) from error
        if weights == "random":
            _draw_weights(encoder)
    kinds = ", ".join(one["type"].rpartition(".")[2] for one in listing)
    inner = next(
        (part.config.model_type for part in encoder.modules() if hasattr(getattr(part, "config", None), "model_type")),
        kinds,
    )
    known = make_card(spec, encoder, weights, seed, architecture=inner, modules=kinds)
    return make_sentence_model(encoder.eval(), name_model(folder.resolve().name, weights, seed), known)


def _check_harmless(folder: Path, listing: Sequence[Mapping[str, str]], spec: str) -> None:
    """Raise a ValueError if loading or running the model would call code that the folder names."""
    strange = [one["type"] for one in listing if not re.fullmatch(rf"{LIBRARY}(\.\w+)*", one["type"])]
    for one in listing:
        for file in sorted((folder / one["path"]).glob("*config.json")):
            content = read_settings(file)
            activation = content.get("activation_function") if isinstance(content, dict) else None
            foreign = (
                isinstance(activation, str) and "." in activation and not re.fullmatch(r"torch\.nn(\.\w+)*", activation)
            )
            strange += [str(activation)] if foreign else []
            modes = content.get("modality_config") if isinstance(content, dict) else None
            methods = (
                [mode.get("method") for mode in modes.values() if isinstance(mode, dict)]
                if isinstance(modes, dict)
                else []
            )
            strange += [str(one) for one in methods if not re.fullmatch(r"forward|get_\w+_features", str(one))]
    if strange:
        raise ValueError(
            f"'{spec}' asks for {join_names(strange)}, which is no part of sentence_transformers, and code that a"
            " folder names is not run. Create the model yourself and pass it, load_model(model)."
        )


def _draw_weights(encoder: nn.Module) -> None:
    """Draw random weights for every module, as before training."""
    done: set[nn.Module] = set()
    for part in list(encoder.modules()):
        if part not in done and hasattr(part, "init_weights") and hasattr(part, "config"):  # a model of transformers
            part.load_state_dict(type(part)(part.config).state_dict())
            done |= set(part.modules())
    for part in encoder.modules():
        if part not in done and callable(reset := getattr(part, "reset_parameters", None)):
            reset()
