"""Models of sentence_transformers: the whole chain from a sentence to its embedding, from a module or from a folder."""

from __future__ import annotations

import importlib
import importlib.util
import json
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
from .libraries import check_weights, first_line, import_library, make_card, name_model, offline, seeded, weights_only
from .model import Model
from .preparing import to_tensor
from .running import OUTPUT

LIBRARY = "sentence_transformers"
EMBEDDING = "sentence_embedding"
MODULES = "modules.json"  # how a folder says which modules follow each other
WHOLE = ("SentenceTransformer", "SparseEncoder")  # kinds of models that give an embedding
TRANSFORMERS = (".Transformer", ".CLIPModel", ".MLMTransformer")  # modules that hold a model of transformers


class SentenceEmbedder(nn.Module):
    """A SentenceTransformer that takes the columns of a batch by their names and returns the sentence embedding, as
    `encode` does.

    It has the same parts under the same names. The module that it was made of is not changed.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self._modules = encoder._modules
        self.encoder: Any
        self.__dict__["encoder"] = encoder  # no part of its own: it would come before all names
        self.truncate_dim = getattr(encoder, "truncate_dim", None)

    def forward(self, **columns: Any) -> Tensor:
        """The embedding (n, p) of each sentence."""
        out = self.encoder(columns)
        if EMBEDDING not in out:
            raise ValueError(
                f"the modules give no {EMBEDDING}, but {join_names(out)}: a module that pools the tokens is missing"
            )
        return out[EMBEDDING] if self.truncate_dim is None else out[EMBEDDING][..., : self.truncate_dim]


@dataclass(frozen=True)
class Sentences:
    """Sentences, a list of str -> the columns that a SentenceTransformer takes, padded on the right to the longest of
    the batch.

    encoder: the SentenceTransformer; its default prompt is put before each sentence, as `encode` does.  name: the
    model's, for errors. A mapping holds columns that it made before, encoder.preprocess(sentences).
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
                f"'{self.name}' reads sentences: it takes a list of str, or a dict of the columns that "
                f"model.preprocess(sentences) gives; it got {got}. For inputs that are no text record "
                "the transformer inside it, rs.record(model[0].auto_model, {'pixel_values': ...})"
            )
        left = getattr(getattr(self.encoder, "tokenizer", None), "padding_side", "right") == "left"
        texts = [str(text) for text in texts]
        columns = _drop_modality(
            self._joined([self._columns([text]) for text in texts]) if left else self._columns(texts)
        )
        if "cu_seq_lens_q" in columns:
            raise ValueError(
                f"'{self.name}' joins the sentences of a batch into one row, so no layer has a row a sentence: set "
                "model[0].unpad_inputs = False"
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
        """On the right, whatever side the tokenizer prefers: there positions count from the first word."""
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
        """A small batch."""
        return ["One sentence.", "Another sentence, a little longer."]


def _drop_modality(columns: dict[str, Any]) -> dict[str, Any]:
    """The columns without the word that they are text, which is taken where nothing is said."""
    return {
        name: column
        for name, column in columns.items()
        if not (name == "modality" and isinstance(column, str) and column == "text")
    }


def is_of_library(module: nn.Module) -> bool:
    return any((base.__module__ or "").partition(".")[0] == LIBRARY for base in type(module).__mro__)


def make_sentence_model(encoder: nn.Module, name: str | None = None, known: Mapping[str, Any] | None = None) -> Model:
    """The Model of a module of sentence_transformers. TypeError for modules whose samples are no sentences."""
    kinds = {base.__name__ for base in type(encoder).__mro__}
    inside = "model[0].auto_model" if isinstance(encoder, nn.Sequential) else "model.model"
    if "CrossEncoder" in kinds:
        raise TypeError(
            f"a {type(encoder).__name__} takes pairs of sentences. Record the transformer inside it, with the pairs as"
            f" its tokenizer makes them: rs.record({inside}, dict(model.tokenizer(firsts, seconds, padding=True,"
            " truncation=True, return_tensors='pt')))"
        )
    if "MultiVectorEncoder" in kinds:
        raise TypeError(
            f"a {type(encoder).__name__} gives several vectors a sentence and no embedding. Record the transformer"
            f" inside it: rs.record({inside}, dict(model.tokenizer(sentences, padding=True, truncation=True,"
            " return_tensors='pt')))"
        )
    if not kinds & set(WHOLE):
        raise TypeError(
            f"a {type(encoder).__name__} is one module of a SentenceTransformer, and takes a dict that the modules"
            " before it made. Pass SentenceTransformer(modules=[...]); its layers include this module"
        )
    name, module = name or type(encoder).__name__, SentenceEmbedder(encoder)
    return Model(name, module, Sentences(encoder, name), _list_layers(module), dict(known or {}))


def _list_layers(module: SentenceEmbedder) -> tuple[str, ...]:
    """The blocks of the transformer, then each module after it; a pooler that the embedding does not come from is left
    out.
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
    """The model in a folder that sentence_transformers saved: all its modules, or, if these cannot be had, its
    transformer and a warning.

    Modules that are no part of the library are refused, since their code would come from the folder. Weights are read
    as tensors only.
    """
    listing, weights = _read_listing(folder), check_weights(spec, weights or "pretrained")
    first, *others = ((one["type"].rpartition(".")[2], one["path"]) for one in listing)
    written_by = _json(folder / "config_sentence_transformers.json").get("model_type", "SentenceTransformer")
    why = "" if written_by in WHOLE else f"a {written_by} gives no embedding of a sentence"
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
            f'so "output" is the states of its tokens or its own head, not what the whole model gives: {why}'
        )
    return replace(model, name=name_model(folder.resolve().name, weights, seed))


def _read_listing(folder: Path) -> list[dict[str, str]]:
    """The modules of a folder, in their order."""
    listing = _json(folder / MODULES)
    if not isinstance(listing, list) or not listing or not all(map(_names_module, listing)):
        raise ValueError(
            f"{folder / MODULES} is damaged or was not written by sentence_transformers (it lists no modules with a"
            " type and a path): nothing was read"
        )
    outside = [one["path"] for one in listing if Path(one["path"]).is_absolute() or ".." in Path(one["path"]).parts]
    if outside:
        raise ValueError(f"{folder / MODULES} names folders outside, {join_names(outside)}: nothing was read")
    return listing


def _names_module(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("type"), str) and isinstance(one.get("path"), str)


def _json(file: Path) -> Any:
    """What is in a file, {} if there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} is damaged ({first_line(error)}): nothing was read") from error


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
    transformers, found = import_transformers(), import_library(LIBRARY, "transformers")
    inside = folder / listing[0]["path"]
    reading = {"use_safetensors": any(inside.glob("*.safetensors")), "weights_only": True, "dtype": torch.float32}
    with silence(transformers), seeded(seed), offline(), weights_only():
        if (inside / "config.json").is_file() and listing[0]["type"].endswith(TRANSFORMERS):
            task = (
                "fill-mask"
                if listing[0]["type"].endswith("MLMTransformer")
                else _json(inside / "sentence_bert_config.json").get("transformer_task")
            )
            masked, plain = (
                transformers.AutoModelForMaskedLM,
                encoder_kind(transformers, read_config(transformers, str(inside), spec)),
            )
            # for its checks alone: the library draws what a folder lacks, and does not say so
            from_folder(transformers, inside, spec, options, masked if task == "fill-mask" else plain)
        elif options:
            raise ValueError(
                f"options={dict(options)} are for the configuration of a transformer, and '{spec}' has none"
            )
        try:
            settings = {"model_kwargs": reading, "config_kwargs": dict(options) or None}
            encoder = getattr(found, kind)(
                str(folder), device="cpu", trust_remote_code=False, local_files_only=True, **settings
            )
        except Exception as error:
            raise ValueError(
                f"'{spec}' could not be loaded by sentence_transformers {found.__version__}: {first_line(error)}. Or"
                " make the model yourself and pass it, load_model(model)"
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
    """ValueError if loading or running the model would call what the folder names."""
    strange = [one["type"] for one in listing if not re.fullmatch(rf"{LIBRARY}(\.\w+)*", one["type"])]
    for one in listing:
        for file in sorted((folder / one["path"]).glob("*config.json")):
            content = _json(file)
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
            " folder names is not run: make the model yourself and pass it, load_model(model)"
        )


def _draw_weights(encoder: nn.Module) -> None:
    """Random weights in every module, as they are before training."""
    done: set[nn.Module] = set()
    for part in list(encoder.modules()):
        if part not in done and hasattr(part, "init_weights") and hasattr(part, "config"):  # a model of transformers
            part.load_state_dict(type(part)(part.config).state_dict())
            done |= set(part.modules())
    for part in encoder.modules():
        if part not in done and callable(reset := getattr(part, "reset_parameters", None)):
            reset()
