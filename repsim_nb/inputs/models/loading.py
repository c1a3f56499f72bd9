"""`load_model(spec)`: names of models that ship are checked before torch is imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim_nb.support.errors import check_name, explain_missing

from .shipped_names import zoo_names

if TYPE_CHECKING:
    from torch import nn

    from .model import Model


def load_model(spec: str | Path | nn.Module | Model | Any, **options: Any) -> Model:
    """Load a model by its spec, or wrap a module of your own.

    Parameters
    ----------
    spec : nn.Module, str, Path, Model, SentenceTransformer, pipeline of transformers, or agent of stable-baselines3
        A module is wrapped as it is; the "output" of a SentenceTransformer is the embedding of its `encode`, that of a
        policy or an algorithm of stable-baselines3 the logits of its actions. A string is one of these:

        - "zoo:NAME": a model that ships with the package (`models.zoo()` lists them)
        - "pretrained:NAME": a trained model from an installed package (`models.pretrained()` lists them)
        - "timm:NAME", "torchvision:NAME": a model of that library; needs weights=
        - "transformers:FOLDER": a folder with config.json and weights. A head for classification stays, and its logits
          are "output"; for all others "output" is the last hidden state. A folder of sentence_transformers gives all
          its modules, a folder with an adapter of peft the base model with the adapter
        - "transformers:KIND" ("bert", "vit") with weights="random", or a name on the hub with weights="pretrained"
        - "checkpoint:PATH", or a path to .safetensors, .pt, .pth, .ckpt or .bin: weights; needs architecture= unless
          the file has a card. For weights in shards, the path of their index (.index.json) or of one shard
        - a path to a .zip that an algorithm of stable-baselines3 saved; unusual policies need architecture=
        - "MINE:NAME": a source of your own, after `models.SOURCES["MINE"] = function`. The function takes NAME and its
          keyword options, and returns a module or a Model
    **options
        For every spec:

        - name : str. The name of the model in recordings; by default the spec's or the class's
        - preprocess : callable. Function from a batch of raw inputs to the inputs of the module
        - layers : sequence of str. The layers that `record` takes by default; by default one a block

        For some specs:

        - weights : {"pretrained", "random"}. "pretrained" asks a hub over the internet (not for "pretrained:NAME" and
          folders, where it is the default); "random" creates the untrained model
        - seed : int. Seed of random weights, 0 by default
        - options : dict. Options for the library that creates the model, options={"num_classes": 10}
        - architecture : nn.Module, callable or str. The module of the weights in a checkpoint, a function or class that
          creates it, or its spec
        - key : str. The name of one of several state dicts in a checkpoint, key="ema"

    Returns
    -------
    Model
        With a name, a module, a preprocess and default layers.

    Raises
    ------
    ValueError
        For an unknown spec or option (with the nearest names), a hub that cannot be reached, a damaged file, weights
        that do not fit the module, or a file that could run code.
    ModuleNotFoundError
        If the library of the model is not installed; the message names what to install.
    TypeError
        For an object that is no model, with what to do instead.
    FileNotFoundError
        If there is no checkpoint file at the path.

    See Also
    --------
    record : Record activations of the model.

    Notes
    -----
    Models of libraries take uint8 pictures (n, h, w) or (n, h, w, 3), which are resized and cropped at the centre as in
    the tests of that library (`models.Pictures`), or sentences or ids (`models.Texts`). No code from a file or a hub
    runs: weights are read as tensors only.

    Examples
    --------
    >>> import repsim_nb as rs
    >>> rs.load_model("zoo:mnist-cnn-0")
    Model(name='mnist-cnn-0', layers=('conv1', 'conv2', 'conv3', 'fc', 'output'))

    A module of your own:

    >>> from torch import nn
    >>> rs.load_model(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), name="mine")
    Model(name='mine', layers=('1', '2', 'output'))
    """
    source, _, name = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    # once it was imported, `SOURCES` may have another zoo
    if source == "zoo" and name and f"{__package__}.sources" not in sys.modules:
        check_name("zoo model", name, zoo_names())
    with explain_missing("load_model"):
        from .sources import load_spec
    return load_spec(spec, options)
