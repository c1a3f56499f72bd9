"""Models of transformers that a user passes as objects: a pipeline with its preprocessor, or a module alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from torch import nn

from .layers import default_layers
from .model import Model, images
from .preparing import Texts
from .preprocessors import find_most_tokens, find_padding, make_pictures
from .state_dicts import unwrap


def make_pipeline_model(pipe: Any) -> Model:
    """Create the Model of a pipeline: sentences go through its tokenizer, pictures through its image processor.

    TypeError for other pipelines, with what to pass.
    """
    module: Any = unwrap(pipe.model)
    name, entrance = type(module).__name__, getattr(module, "main_input_name", "")
    tokenizer, pictures = getattr(pipe, "tokenizer", None), getattr(pipe, "image_processor", None)
    alone = isinstance(module, nn.Module) and not getattr(module.config, "is_encoder_decoder", False)
    if alone and entrance == "input_ids" and tokenizer is not None and pictures is None:
        most = min(
            (some for some in (find_most_tokens(module.config), tokenizer.model_max_length) if some), default=None
        )
        prepare: Any = Texts(tokenizer, most, name, find_padding(tokenizer))
    elif alone and entrance == "pixel_values" and pictures is not None and tokenizer is None:
        prepare = make_pictures(module.config, json.loads(pictures.to_json_string()))
    else:
        known = ("processor", "tokenizer", "image_processor", "feature_extractor")
        makers = [maker for maker in known if getattr(pipe, maker, None) is not None]
        raise TypeError(
            f"the {type(pipe).__name__} prepares its inputs in a way of its own. Record its model with prepared inputs:"
            f" rs.record(pipe.model, dict(pipe.{makers[0] if makers else 'preprocess'}(..., return_tensors='pt')))."
        )
    return Model(name, module, prepare, default_layers(module), {"architecture": module.config.model_type})


@dataclass(frozen=True)
class WithoutTokenizer:
    """The `preprocess` of a module without a tokenizer: ids pass, sentences are a ValueError with what to do.

    name: the model's, for errors.
    """

    name: str = ""

    def __call__(self, batch: Any) -> Any:
        if isinstance(batch, list) and batch and all(isinstance(one, str) for one in batch):
            raise ValueError(
                f"'{self.name}' came without its tokenizer, so it cannot read sentences. Give the ids from its"
                " tokenizer, rs.record(model, dict(tokenizer(sentences, padding=True, truncation=True,"
                " return_tensors='pt'))); or load both from their folder, rs.load_model('transformers:FOLDER')."
            )
        return images(batch)


def takes_ids(module: nn.Module) -> bool:
    """Return whether it is a model of transformers, also with an adapter in it, that reads texts as ids."""
    config = getattr(module, "config", None)
    return getattr(module, "main_input_name", None) == "input_ids" and hasattr(config, "model_type")
